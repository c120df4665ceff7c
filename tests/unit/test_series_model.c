/* SPDX-License-Identifier: Apache-2.0 */
/* A series over years, by a fake clock: any order of completing, reopening, changing, deleting and
 * restoring its occurrences, with an actor that acts late, twice and on old events, leads to the
 * occurrences that a simple model says. The seed is printed; TASKWIRE_SEED repeats a run. */
#include "core_test.h"

#include <time.h>

#include "actors/recurrence.h"

#define N_ROUNDS 40
#define N_STEPS 60
#define N_NUMBERS (N_STEPS + 3)

/* What became of a number of the series. */
typedef enum { ABSENT, OPEN, CLOSED, DELETED } fate_t;

typedef struct {
    fate_t fate;
    bool is_touched;
    int64_t due_day; /* by the model */
    uuid_t task;
} occurrence_t;

typedef struct {
    core_t *core;
    occurrence_t items[N_NUMBERS];
    int closings[N_STEPS]; /* numbers that the actor has yet to act on, in order; 0: opened again */
    int n_closings;
    int last; /* the highest number that there ever was */
    size_t n_acted; /* events of which the actor has seen all */
    int step_days; /* of the rule */
} run_t;

static int pick(int n)
{
    return (int)(random() % n);
}

static err_t act(run_t *run, const char *op, int number, const char *json)
{
    run->core->now_us += (1 + pick(86400)) * US_PER_S;
    if (getenv("TRACE"))
        fprintf(stderr, "%s %d %s\n", op, number, json ? json : "");
    return core_do(run->core, &run->core->anna, op, &run->items[number].task, json);
}

/* --- the model --- */

static void close_number(run_t *run, int number, fate_t fate)
{
    run->items[number].fate = fate;
    run->closings[run->n_closings++] = number;
}

/* The next one goes if nobody has touched it; else it stays. */
static void open_number(run_t *run, int number)
{
    occurrence_t *next = &run->items[number + 1];
    run->items[number].fate = OPEN;
    run->items[number].is_touched = true;
    for (int i = 0; i < run->n_closings; i++)
        run->closings[i] = run->closings[i] == number ? 0 : run->closings[i];
    if (next->fate == OPEN && !next->is_touched)
        next->fate = ABSENT;
}

static void succeed_all(run_t *run)
{
    for (int i = 0; i < run->n_closings; i++) {
        int number = run->closings[i];
        occurrence_t *next = &run->items[number + 1];
        if (number == 0 || next->fate == OPEN || next->fate == CLOSED)
            continue;
        int64_t due_day = run->items[number].due_day + run->step_days;
        *next = (occurrence_t){.fate = OPEN, .due_day = due_day};
        run->last = number + 1 > run->last ? number + 1 : run->last;
    }
    run->n_closings = 0;
}

/* --- the actor --- */

/* As the log would hand it to it. */
static void act_on(run_t *run, size_t i)
{
    core_t *core = run->core;
    slice_t why;
    event_t event = state_event_at(core->state, i)->event;
    if (recurrence_step(&event, core->arena, &core->command, &why) != SUCCESSION_NEXT)
        return;
    core->command.list = core->list;
    err_t err = core_apply(core);
    if (getenv("TRACE"))
        fprintf(stderr, "  actor on event %zu type %d of task occurrence: err %d replay %d\n", i,
                (int)event.type, (int)err, core->out.is_replay);
}

/* Some of what it has acted on before comes again. */
static void run_actor(run_t *run)
{
    size_t from = run->n_acted - (run->n_acted == 0 ? 0 : (size_t)pick((int)run->n_acted));
    for (size_t i = pick(4) == 0 ? from : run->n_acted; i < state_n_events(run->core->state); i++)
        act_on(run, i);
    run->n_acted = state_n_events(run->core->state);
    succeed_all(run);
}

/* --- comparing --- */

static const task_t *find(run_t *run, int number)
{
    const task_t *found = NULL;
    const state_task_t *task;
    for (size_t i = 0; (task = state_task_at(run->core->state, i)) != NULL; i++) {
        if (task->task.occurrence != number || task->task.deleted_at_us != INSTANT_NONE)
            continue;
        assert_null(found); /* one of each number */
        found = &task->task;
    }
    return found;
}

static int64_t due_day_of(const task_t *task)
{
    local_t at;
    assert_int_equal(due_parse(task->due, &at), DUE_DATE);
    return days_from_date(at.year, at.month, at.day);
}

static void compare(run_t *run)
{
    for (int i = 1; i < N_NUMBERS; i++) {
        occurrence_t *item = &run->items[i];
        const task_t *task = find(run, i);
        bool is_there = item->fate == OPEN || item->fate == CLOSED;
        if (is_there != (task != NULL))
            fail_msg("number %d: %s there", i, is_there ? "is not" : "is");
        if (task == NULL)
            continue;
        assert_int_equal(task_is_live(task), item->fate == OPEN);
        assert_int_equal(due_day_of(task), item->due_day);
        item->task = task->id;
    }
}

/* --- steps --- */

static void change(run_t *run, int number)
{
    occurrence_t *item = &run->items[number];
    static const char *const notes[] = {"{'notes':'a'}", "{'notes':'b'}", "{'notes':'c'}"};
    size_t n_events = state_n_events(run->core->state);
    assert_int_equal(act(run, "task.patch", number, notes[pick(3)]), ERR_OK);
    if (count_pairs(state_event_at(run->core->state, n_events)->event.set) > 0)
        item->is_touched = true;
}

static void step(run_t *run)
{
    int number = 1 + pick(run->last);
    occurrence_t *item = &run->items[number];
    int what = pick(8);
    if (item->fate == OPEN && what < 4) {
        assert_int_equal(act(run, "task.complete", number, NULL), ERR_OK);
        close_number(run, number, CLOSED);
    } else if (item->fate == OPEN && what == 4) {
        assert_int_equal(act(run, "task.delete", number, NULL), ERR_OK);
        close_number(run, number, DELETED);
    } else if (item->fate == CLOSED && what < 2) {
        assert_int_equal(act(run, "task.reopen", number, NULL), ERR_OK);
        open_number(run, number);
    } else if (item->fate == DELETED && what < 2) {
        assert_int_equal(act(run, "task.restore", number, NULL), ERR_OK);
        open_number(run, number);
    } else if (item->fate == OPEN || item->fate == CLOSED) {
        change(run, number);
    }
}

static void run_round(core_t *core)
{
    run_t run = {.core = core, .last = 1, .step_days = 1 + pick(40)};
    char json[160];
    snprintf(json, sizeof json,
             "{'title':'x','due':'2026-11-23','recurrence':{'rule':'FREQ=DAILY;INTERVAL=%d',"
             "'missed':'keep'}}",
             run.step_days);
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, json), ERR_OK);
    run.items[1] = (occurrence_t){OPEN, true, days_from_date(2026, 11, 23), T1};
    for (int i = 0; i < N_STEPS; i++) {
        step(&run);
        if (pick(3) == 0) {
            run_actor(&run);
            compare(&run);
        }
    }
    run_actor(&run);
    compare(&run);
}

static void any_order_of_changes_leads_to_what_a_simple_model_says(void **unused)
{
    (void)unused;
    const char *given = getenv("TASKWIRE_SEED");
    unsigned seed = given == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(given, NULL, 10);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < N_ROUNDS; i++) {
        core_t core;
        core_init(&core);
        run_round(&core);
        core_fini(&core);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_changes_leads_to_what_a_simple_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
