/* SPDX-License-Identifier: Apache-2.0 */
/* A series over years, by a fake clock: any order of completing, reopening, changing, moving,
 * deleting and restoring its occurrences, of changing its rule and single due dates, with an actor
 * that acts late, twice and on old events, leads to the occurrences that a simple model says. The
 * seed is printed; TASKWIRE_SEED repeats a run. */
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
    int64_t planned_day; /* by the rule, as the model counts; */
    int64_t due_day; /* and where somebody has moved it */
    int step_days; /* of its rule */
    bool is_away; /* in the other list */
    uuid_t task;
} occurrence_t;

typedef struct {
    core_t *core;
    occurrence_t items[N_NUMBERS];
    int closings[N_STEPS]; /* numbers that the actor has yet to act on, in order; 0: opened again */
    int n_closings;
    int last; /* the highest number that there ever was */
    size_t n_acted; /* events of which the actor has seen all */
} run_t;

static int pick(int n)
{
    return (int)(random() % n);
}

static err_t act(run_t *run, const char *op, int number, const char *json)
{
    run->core->now_us += (1 + pick(86400)) * US_PER_S;
    run->core->in = run->items[number].is_away ? run->core->other : run->core->list;
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
    if (next->fate == OPEN && !next->is_touched && next->is_away == run->items[number].is_away)
        next->fate = ABSENT;
}

/* Whether the series has gone on behind that number. */
static bool has_later(const run_t *run, int number)
{
    for (int i = number + 1; i <= run->last; i++) {
        if (run->items[i].fate == OPEN || run->items[i].fate == CLOSED)
            return true;
    }
    return false;
}

static void succeed_all(run_t *run)
{
    for (int i = 0; i < run->n_closings; i++) {
        int number = run->closings[i];
        occurrence_t *next = &run->items[number + 1];
        if (number == 0 || next->fate == DELETED || has_later(run, number))
            continue;
        const occurrence_t *before = &run->items[number];
        int64_t day = before->planned_day + before->step_days;
        *next = (occurrence_t){.fate = OPEN,
                               .planned_day = day,
                               .due_day = day,
                               .step_days = before->step_days,
                               .is_away = before->is_away};
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
    slice_t before;
    uuid_t closed = UUID_NIL;
    assert_true(mp_map_find(core->command.data, "succeeds", &before));
    mp_reader_t reader = mp_reader(before);
    assert_true(mp_get_uuid(&reader, &closed));
    core->command.list = core_task(core, &closed)->list; /* where the writer finds it */
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
        assert_true(uuid_eq(&task->list, item->is_away ? &run->core->other : &run->core->list));
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

/* This occurrence only. */
static void move_due(run_t *run, int number)
{
    occurrence_t *item = &run->items[number];
    char date[INSTANT_TEXT_CHARS + 1];
    char json[80];
    local_t at = {0};
    int64_t day = item->planned_day + pick(9) - 4;
    date_from_days(day, &at);
    local_format_date(&at, date);
    snprintf(json, sizeof json, "{'due':'%s'}", date);
    assert_int_equal(act(run, "task.patch", number, json), ERR_OK);
    item->is_touched = item->is_touched || day != item->due_day;
    item->due_day = day;
}

/* From there on; the new rule starts where the occurrence is due. */
static void change_rule(run_t *run, int number)
{
    occurrence_t *item = &run->items[number];
    char json[80];
    item->step_days += 1 + pick(30);
    item->planned_day = item->due_day;
    item->is_touched = true;
    snprintf(json, sizeof json, "{'recurrence':{'rule':'FREQ=DAILY;INTERVAL=%d'}}",
             item->step_days);
    assert_int_equal(act(run, "task.patch", number, json), ERR_OK);
}

static void move(run_t *run, int number)
{
    occurrence_t *item = &run->items[number];
    core_t *core = run->core;
    char json[80];
    snprintf(json, sizeof json, "{'list':'%s'}",
             core_text(core, item->is_away ? &core->list : &core->other));
    assert_int_equal(act(run, "task.move", number, json), ERR_OK);
    item->is_away = !item->is_away;
    item->is_touched = true;
}

static void alter(run_t *run, int number)
{
    int what = pick(6);
    if (what == 0)
        move_due(run, number);
    else if (what == 1)
        change_rule(run, number);
    else if (what == 2)
        move(run, number);
    else
        change(run, number);
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
        alter(run, number);
    }
}

static void run_round(core_t *core)
{
    run_t run = {.core = core, .last = 1};
    int step_days = 1 + pick(40);
    int64_t day = days_from_date(2026, 11, 23);
    char json[160];
    core_add_member(core, &core->other, &core->anna, ROLE_EDITOR);
    snprintf(json, sizeof json,
             "{'title':'x','due':'2026-11-23','recurrence':{'rule':'FREQ=DAILY;INTERVAL=%d',"
             "'missed':'keep'}}",
             step_days);
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, json), ERR_OK);
    run.items[1] = (occurrence_t){OPEN, true, day, day, step_days, false, T1};
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
