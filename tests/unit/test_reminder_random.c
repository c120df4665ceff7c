/* SPDX-License-Identifier: Apache-2.0 */
/* Reminders over years of a clock that is made up: the real core and the real reading of its
 * events, with a table of rows in memory and two processes that fire, crash, fall behind and act on
 * what is old. Whatever happens in whatever order, what fires is what a model says that knows
 * nothing of rows, wheels or commands. */
#include "core_test.h"

#include <time.h>

#include "actors/reminder_near.h"
#include "actors/reminder_rows.h"

#define N_TASKS 5
#define N_STEPS 8000
#define MAX_ROWS 4000
#define MAX_LATE_US (3 * US_PER_DAY)
#define MINUTE_US (60 * US_PER_S)
#define HOUR_US (60 * MINUTE_US)

typedef enum { WAITS, FIRED, OVER, REFUSED } fate_t;

/* Of a reminder of a task; the model has the same without `event_id`. */
typedef struct {
    near_key_t key;
    fate_t fate;
    int64_t event_id;
} row_t;

typedef struct {
    row_t rows[MAX_ROWS];
    size_t n;
} table_t;

typedef struct {
    near_t *near;
    size_t handled; /* events of the log */
    int64_t turned_us;
} process_t;

static table_t table; /* what PostgreSQL would have */
static table_t model;
static process_t processes[2];
static size_t n_checked; /* events that were held against the model */

static bool is_same(const near_key_t *a, const near_key_t *b)
{
    return uuid_eq(&a->task, &b->task) && uuid_eq(&a->reminder, &b->reminder);
}

static row_t *find(table_t *self, const near_key_t *key)
{
    for (size_t i = 0; i < self->n; i++) {
        if (is_same(&self->rows[i].key, key))
            return &self->rows[i];
    }
    return NULL;
}

static row_t *find_or_add(table_t *self, const near_key_t *key, bool *is_new)
{
    row_t *row = find(self, key);
    *is_new = row == NULL;
    if (row != NULL)
        return row;
    assert_true(self->n < MAX_ROWS);
    self->rows[self->n] = (row_t){.key = *key};
    return &self->rows[self->n++];
}

/* --- the model: what should be --- */

/* After a change of a task: what it wants by now. An instant that is past never fires; one that is
 * named again stays what it is. */
static void model_follow(core_t *core, const task_t *task)
{
    for (size_t i = 0; i < model.n; i++) {
        row_t *row = &model.rows[i];
        bool is_wanted = false;
        for (uint32_t r = 0; task_is_live(task) && r < task->n_reminders; r++)
            is_wanted = is_wanted || uuid_eq(&task->reminders[r].id, &row->key.reminder);
        if (uuid_eq(&row->key.task, &task->id) && !is_wanted && row->fate == WAITS)
            row->fate = OVER;
    }
    for (uint32_t r = 0; task_is_live(task) && r < task->n_reminders; r++) {
        bool is_new;
        near_key_t key = {
            task->id, task->reminders[r].id, task_reminder_at(task, &task->reminders[r]), {{0}}};
        row_t *row = find_or_add(&model, &key, &is_new);
        if (is_new || row->key.fire_at_us != key.fire_at_us || row->fate == OVER)
            row->fate = key.fire_at_us > core->now_us ? WAITS : OVER;
        row->key = key;
    }
}

/* Other time zone data moves what waits, even into the past, and nothing that fired. */
static void model_move(core_t *core, const task_t *task)
{
    for (uint32_t r = 0; r < task->n_reminders; r++) {
        near_key_t key = {.task = task->id,
                          .reminder = task->reminders[r].id,
                          .fire_at_us = task_reminder_at(task, &task->reminders[r])};
        row_t *row = find(&model, &key);
        assert_non_null(row);
        if (row->fate == OVER && key.fire_at_us > core->now_us)
            row->fate = WAITS;
        row->key = key;
    }
}

/* What fires between what was checked and now is due by the model, and fires once. */
static void model_check(core_t *core)
{
    for (; n_checked < state_n_events(core->state); n_checked++) {
        const event_t *event = &state_event_at(core->state, n_checked)->event;
        if (event->type != EVENT_REMINDER_DUE)
            continue;
        slice_t id, at;
        near_key_t key = {.task = event->task};
        assert_true(mp_map_find(event->reminder, "id", &id));
        assert_true(mp_map_find(event->reminder, "at", &at));
        mp_reader_t reader = mp_reader(id);
        assert_true(mp_get_uuid(&reader, &key.reminder));
        reader = mp_reader(at);
        assert_true(mp_get_instant(&reader, &key.fire_at_us));
        row_t *row = find(&model, &key);
        assert_non_null(row);
        assert_true(row->fate == WAITS);
        assert_true(row->key.fire_at_us == key.fire_at_us);
        assert_true(key.fire_at_us <= event->at_us);
        row->fate = FIRED;
    }
}

/* --- the rows, as the statements keep them --- */

static fate_t fate_after(const row_t *row, const near_key_t *key, reminder_tells_t tells,
                         int64_t at_us)
{
    bool is_ended = row->fate == OVER || row->fate == REFUSED;
    if (tells == TELLS_MOVED && row->fate != OVER)
        return row->fate == REFUSED ? WAITS : row->fate;
    if (tells == TELLS_WANTED && row->key.fire_at_us == key->fire_at_us && !is_ended)
        return row->fate;
    return key->fire_at_us <= at_us ? OVER : WAITS;
}

static void store_wanted(const reminder_news_t *news, reminder_tells_t tells)
{
    for (uint32_t i = 0; i < news->n_wanted; i++) {
        bool is_new;
        near_key_t key = {news->task, news->wanted[i].id, news->wanted[i].fire_at_us, news->trace};
        row_t *row = find_or_add(&table, &key, &is_new);
        if (!is_new && row->event_id >= news->event_id)
            continue;
        if (is_new)
            row->fate = OVER;
        row->fate = fate_after(row, &key, tells, news->at_us);
        row->key = key;
        row->event_id = news->event_id;
    }
    for (size_t i = 0; i < table.n; i++) {
        row_t *row = &table.rows[i];
        if (uuid_eq(&row->key.task, &news->task) && row->event_id < news->event_id &&
            row->fate == WAITS) {
            row->fate = OVER;
            row->event_id = news->event_id;
        }
    }
}

static void store_fired(const reminder_news_t *news)
{
    near_key_t key = {news->task, news->fired.id, news->fired.fire_at_us, news->trace};
    row_t *row = find(&table, &key);
    if (row != NULL && row->key.fire_at_us == key.fire_at_us)
        row->fate = FIRED;
}

static void handle_one(core_t *core, process_t *self)
{
    const state_event_t *stored = state_event_at(core->state, self->handled++);
    reminder_news_t news;
    log_event_t row = {.id = (int64_t)self->handled,
                       .stream = stored->event.stream,
                       .rev = stored->event.rev,
                       .type = stored->event.type,
                       .task = stored->event.task,
                       .at_us = stored->event.at_us,
                       .body = stored->body};
    reminder_tells_t tells = reminder_read(&row, core->arena, &news);
    assert_int_not_equal(tells, TELLS_WRONG);
    if (tells == TELLS_FIRED)
        store_fired(&news);
    if (tells != TELLS_WANTED && tells != TELLS_MOVED)
        return;
    store_wanted(&news, tells);
    if (tells == TELLS_MOVED)
        near_reset(self->near, core->now_us, core->now_us - MAX_LATE_US);
    for (uint32_t i = 0; tells == TELLS_WANTED && i < news.n_wanted; i++) {
        near_key_t key = {news.task, news.wanted[i].id, news.wanted[i].fire_at_us, news.trace};
        if (key.fire_at_us > core->now_us) /* else the rows know whether it still waits */
            near_offer(self->near, &key);
    }
}

/* --- a process --- */

static int by_key(const void *a, const void *b)
{
    const near_key_t *x = a, *y = b;
    if (x->fire_at_us != y->fire_at_us)
        return x->fire_at_us < y->fire_at_us ? -1 : 1;
    int order = memcmp(x->task.bytes, y->task.bytes, UUID_BYTES);
    return order != 0 ? order : memcmp(x->reminder.bytes, y->reminder.bytes, UUID_BYTES);
}

static void load(core_t *core, process_t *self)
{
    static near_key_t keys[MAX_ROWS];
    near_page_t page;
    while (near_wants(self->near, core->now_us, &page)) {
        size_t n = 0;
        for (size_t i = 0; i < table.n; i++) {
            const near_key_t *key = &table.rows[i].key;
            if (table.rows[i].fate == WAITS && by_key(key, &page.after) > 0 &&
                key->fire_at_us <= page.until_us)
                keys[n++] = *key;
        }
        qsort(keys, n, sizeof *keys, by_key);
        near_load(self->near, &page, keys, n < page.limit ? n : page.limit);
    }
}

/* As reminder.c does: refused for good, or fired before, ends the row. */
static void fire(core_t *core, const near_key_t *key)
{
    const state_task_t *task = state_task(core->state, &key->task);
    core->in = task->task.list; /* where the writer finds it */
    char at[INSTANT_TEXT_CHARS + 1];
    char json[160];
    uuid_t space = uuid_derive(&key->task, slice_of(key->reminder.bytes, UUID_BYTES));
    instant_format(key->fire_at_us, at);
    core->id = uuid_derive(&space, slice_of((const uint8_t *)&key->fire_at_us, 8));
    snprintf(json, sizeof json, "{'reminder':'%s','at':'%s'}", core_text(core, &key->reminder), at);
    err_t err = core_do(core, &author_reminder, "task.remind", &key->task, json);
    row_t *row = find(&table, key);
    if (err == ERR_OK && !core->out.is_replay)
        return;
    if (err != ERR_PRECONDITION_FAILED && row != NULL && row->fate == WAITS &&
        row->key.fire_at_us == key->fire_at_us)
        row->fate = REFUSED;
}

static void miss(core_t *core)
{
    for (size_t i = 0; i < table.n; i++) {
        if (table.rows[i].fate == WAITS &&
            table.rows[i].key.fire_at_us < core->now_us - MAX_LATE_US)
            table.rows[i].fate = FIRED; /* it stays so when it is named again, as one that fired */
    }
    for (size_t i = 0; i < model.n; i++) {
        if (model.rows[i].fate == WAITS &&
            model.rows[i].key.fire_at_us < core->now_us - MAX_LATE_US)
            model.rows[i].fate = FIRED;
    }
}

/* Some of what there is to fire; all if nothing stops it. */
static void fire_some(core_t *core, process_t *self, size_t max)
{
    const near_key_t *key;
    if (self->turned_us != core->now_us) /* it was frozen */
        near_reset(self->near, core->now_us, core->now_us - MAX_LATE_US);
    self->turned_us = core->now_us;
    load(core, self);
    near_turn(self->near, core->now_us);
    for (; (key = near_first(self->near)) != NULL && max > 0; near_shift(self->near), max--)
        fire(core, key);
}

/* What the process knew is gone; it reads the log again from a position that was saved before. */
static void crash(core_t *core, process_t *self)
{
    self->handled -= (size_t)random() % (self->handled < 20 ? self->handled + 1 : 20);
    near_reset(self->near, core->now_us, core->now_us - MAX_LATE_US);
}

/* One of the two catches up and leads, the other may be anywhere. Everything that should have fired
 * by now has. */
static void catch_up(core_t *core)
{
    process_t *leader = &processes[random() % 2];
    process_t *other = leader == &processes[0] ? &processes[1] : &processes[0];
    while (leader->handled < state_n_events(core->state))
        handle_one(core, leader);
    miss(core);
    if (random() % 3 == 0)
        fire_some(core, other, (size_t)random() % 4);
    near_reset(leader->near, core->now_us, core->now_us - MAX_LATE_US);
    fire_some(core, leader, SIZE_MAX);
    model_check(core);
    for (size_t i = 0; i < model.n; i++)
        assert_false(model.rows[i].fate == WAITS && model.rows[i].key.fire_at_us <= core->now_us);
}

/* --- what clients do --- */

static int64_t some_span(void)
{
    static const int64_t spans[] = {MINUTE_US, HOUR_US, US_PER_DAY, 40 * US_PER_DAY};
    return ((int64_t)random() << 31 | random()) % spans[random() % 4];
}

static const char *some_reminders(void)
{
    static const char *const some[] = {
        "[{'before':'PT15M'}]",
        "[{'before':'PT15M'},{'before':'-PT10M','for':'all'}]",
        "[{'before':'P1D','for':'assignee'},{'before':'PT0S'}]",
        "[]",
    };
    return some[random() % 4];
}

static void some_due(core_t *core, char *out, size_t size)
{
    char text[INSTANT_TEXT_CHARS + 1];
    local_t local;
    int64_t at_us = core->now_us + some_span() - (random() % 8 == 0 ? some_span() : 0);
    local_from_utc_us(at_us, &local);
    if (random() % 2 == 0)
        instant_format(at_us, text);
    else if (random() % 2 == 0)
        local_format(&local, text);
    else
        local_format_date(&local, text);
    snprintf(out, size, "%s", text);
}

/* Moves to the other list, or back; says that a reminder was seen. Neither is a reason to fire or
 * not to. */
static void move_or_dismiss(core_t *core, const uuid_t *author, const task_t *task)
{
    char json[160];
    core->in = task->list;
    if (random() % 2 == 0) {
        bool is_away = uuid_eq(&task->list, &core->other);
        snprintf(json, sizeof json, "{'list':'%s'}",
                 core_text(core, is_away ? &core->list : &core->other));
        (void)core_do(core, author, "task.move", &task->id, json);
    } else if (task->n_reminders > 0) {
        const reminder_t *reminder = &task->reminders[(unsigned)random() % task->n_reminders];
        snprintf(json, sizeof json, "{'reminder':'%s'}", core_text(core, &reminder->id));
        assert_int_equal(core_do(core, author, "reminder.dismiss", &task->id, json), ERR_OK);
    }
}

static void change_something(core_t *core)
{
    static const char *const ops[] = {"task.complete", "task.reopen", "task.delete",
                                      "task.restore"};
    char json[300], due[40];
    uuid_t task = core_id(0x900 + (unsigned)(random() % N_TASKS));
    const uuid_t *author = random() % 2 == 0 ? &core->anna : &core->ben;
    const state_task_t *there = state_task(core->state, &task);
    some_due(core, due, sizeof due);
    if (there != NULL)
        core->in = there->task.list;
    if (there == NULL) {
        snprintf(json, sizeof json, "{'title':'x','due':'%s','reminders':%s}", due,
                 some_reminders());
        (void)core_do(core, author, "task.create", &task, json);
    } else if (random() % 6 == 0 && there->task.deleted_at_us == INSTANT_NONE) {
        move_or_dismiss(core, author, &there->task);
    } else if (random() % 8 == 0) {
        snprintf(json, sizeof json, "{'due':'%s','recurrence':{'rule':'%s'}}", due,
                 random() % 2 == 0 ? "daily" : "FREQ=WEEKLY;INTERVAL=2");
        (void)core_do(core, author, "task.patch", &task, json);
    } else if (random() % 5 == 0) {
        (void)core_do(core, author, ops[random() % 4], &task, NULL);
    } else if (random() % 4 == 0) {
        snprintf(json, sizeof json, "{'for':'PT%dM'}", 1 + (int)(random() % 2000));
        (void)core_do(core, author, "task.snooze", &task, json);
    } else if (random() % 2 == 0) {
        snprintf(json, sizeof json, "{'due':'%s'}", due);
        (void)core_do(core, author, "task.patch", &task, json);
    } else {
        snprintf(json, sizeof json, "{'reminders':%s}", some_reminders());
        (void)core_do(core, author, "task.patch", &task, json);
    }
    const state_task_t *found = state_task(core->state, &task);
    if (found != NULL && core->out.problem.err == ERR_OK)
        model_follow(core, &found->task);
}

/* Other time zone data: as if the task's zone had got the rules of that one. */
static void retime_something(core_t *core)
{
    static const char *const zones[] = {"Europe/Zurich", "America/New_York", "UTC", "Asia/Tokyo"};
    uuid_t id = core_id(0x900 + (unsigned)(random() % N_TASKS));
    state_task_t *found = state_task(core->state, &id);
    if (found == NULL || found->task.time_zone.data == NULL)
        return;
    found->task.time_zone = slice_str(zones[random() % 4]);
    core->in = found->task.list;
    if (core_do(core, &author_retime, "task.retime", &id, NULL) == ERR_OK)
        model_move(core, &found->task);
}

static void each_instant_fires_once_whatever_happens(void **state)
{
    core_t *core = *state;
    size_t n_fired = 0;
    const char *wanted = getenv("TASKWIRE_SEED");
    unsigned seed = wanted == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(wanted, NULL, 10);
    print_message("TASKWIRE_SEED=%u\n", seed);
    srandom(seed);
    core_add_member(core, &core->other, &core->anna, ROLE_EDITOR);
    core_add_member(core, &core->other, &core->ben, ROLE_EDITOR);
    for (size_t i = 0; i < 2; i++) {
        processes[i] = (process_t){.near = near_new(256, 10 * MINUTE_US)};
        near_reset(processes[i].near, core->now_us, core->now_us);
    }
    for (int step = 0; step < N_STEPS; step++) {
        process_t *one = &processes[random() % 2];
        int dice = (int)(random() % 10);
        if (random() % 40 == 0)
            retime_something(core);
        else if (dice < 4)
            change_something(core);
        else if (dice < 5)
            crash(core, one);
        else if (dice < 6 && one->handled < state_n_events(core->state))
            handle_one(core, one);
        else if (dice < 8)
            core->now_us += some_span() / (random() % 4 == 0 ? 2 : 20);
        else
            catch_up(core);
    }
    catch_up(core);
    for (size_t i = 0; i < state_n_events(core->state); i++)
        n_fired += state_event_at(core->state, i)->event.type == EVENT_REMINDER_DUE;
    print_message("%zu fired, to %.1f years later\n", n_fired,
                  (double)(core->now_us - CORE_NOW_US) / (365.25 * (double)US_PER_DAY));
    assert_true(n_fired > 20);
    for (size_t i = 0; i < 2; i++)
        near_destroy(&processes[i].near);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_instant_fires_once_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
