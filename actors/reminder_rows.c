/* SPDX-License-Identifier: Apache-2.0 */
/* An instant that is past when it is set never fires: such a row is born ended. But a row that
 * waits, fired, or was missed, keeps its state when a later event names the same instant again,
 * however late that event is; and when other time zone data moves it, whatever the instant. */
#include "actors/reminder_rows.h"

#include <stdlib.h>

#define STORE_TIMEOUT_US INT64_C(10000000)
#define ROUND_TASKS 256
#define MP_EMPTY_ARRAY 0x90

/* Events of a history that is gone must change no row. */
#define SAME(n) "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $" #n "::text FOR SHARE) "
#define IS_SAME "EXISTS (SELECT 1 FROM same)"

/* States: 0 pending, 1 fired, 2 ended, 3 missed, 4 ended because its command was refused. */
#define UPSERT(state)                                                                              \
    {                                                                                              \
        SAME(10)                                                                                   \
        "INSERT INTO reminder (task, reminder, list, event_id, state, fire_at, whom, account,"     \
        " trace)"                                                                                  \
        " SELECT task, reminder, list, event_id, CASE WHEN fire_at <= at THEN 2 ELSE 0 END,"       \
        " fire_at, whom, account, trace FROM (SELECT unnest($1::uuid[]) AS task, "                 \
        "unnest($2::uuid[]) AS"                                                                    \
        " reminder, unnest($3::uuid[]) AS list, unnest($4::bigint[]) AS event_id,"                 \
        " unnest($5::timestamptz[]) AS fire_at, unnest($6::timestamptz[]) AS at,"                  \
        " unnest($7::smallint[]) AS whom, unnest($8::uuid[]) AS account,"                          \
        " unnest($9::bytea[]) AS trace) k WHERE " IS_SAME                                          \
        " ON CONFLICT (task, reminder) DO UPDATE SET list = excluded.list, event_id ="             \
        " excluded.event_id, whom = excluded.whom, account = excluded.account,"                    \
        " trace = excluded.trace, fire_at = excluded.fire_at, state = CASE " state                 \
        " END WHERE reminder.event_id < excluded.event_id"                                         \
    }

static const pg_stmt_t upsert_rows =
    UPSERT("WHEN reminder.fire_at = excluded.fire_at AND reminder.state NOT IN (2, 4)"
           " THEN reminder.state ELSE excluded.state");
/* Other time zone data moves what waits, and what was refused because it had moved already, even to
 * an instant that is past by now: nobody set it so late. What fired does not come again. */
static const pg_stmt_t move_rows =
    UPSERT("reminder.state WHEN 2 THEN excluded.state WHEN 4 THEN 0 ELSE reminder.state");
/* After the upsert: what still has an older event is no longer wanted. The sum keeps the indexes of
 * pending rows out: they don't begin with the task, and the planner would read the whole of one for
 * each. */
static const pg_stmt_t end_rows = {
    SAME(3) "UPDATE reminder r SET state = 2, event_id = k.event_id"
            " FROM (SELECT unnest($1::uuid[]) AS task, unnest($2::bigint[]) AS event_id) k"
            " WHERE r.task = k.task AND r.event_id < k.event_id AND r.state + 0 = 0 AND " IS_SAME};
/* One that was taken for missed fired after all. */
static const pg_stmt_t mark_fired = {
    SAME(8) ", k AS (SELECT unnest($1::uuid[]) AS task, unnest($2::uuid[]) AS reminder,"
            " unnest($3::uuid[]) AS list, unnest($4::timestamptz[]) AS fire_at,"
            " unnest($5::timestamptz[]) AS at, unnest($6::smallint[]) AS whom,"
            " unnest($7::uuid[]) AS account),"
            " past AS (INSERT INTO reminder_past (list, fire_at, task, reminder, whom, account, "
            "fired_at) SELECT list, fire_at, task, reminder, whom, account, at FROM k"
            " WHERE " IS_SAME " ON CONFLICT (list, fire_at, task, reminder)"
            " DO UPDATE SET fired_at = excluded.fired_at WHERE reminder_past.fired_at IS NULL)"
            " UPDATE reminder r SET state = 1, fired_at = k.at FROM k"
            " WHERE r.task = k.task AND r.reminder = k.reminder AND "
            "r.fire_at = k.fire_at AND r.state <> 1 AND " IS_SAME};
static const pg_stmt_t mark_dismissed = {
    SAME(5) "INSERT INTO reminder_dismissed (task, reminder, account, until)"
            " SELECT task, reminder, account, until FROM unnest($1::uuid[], $2::uuid[], "
            "$3::uuid[], $4::timestamptz[]) AS k(task, reminder, account, until) WHERE " IS_SAME
            " ON CONFLICT (task, reminder, account) DO UPDATE SET until = excluded.until"
            " WHERE reminder_dismissed.until < excluded.until"};

/* --- the pure step --- */

static bool concerns_reminders(const log_event_t *row, const event_t *event)
{
    static const char *const keys[] = {"due_at", "reminders",  "status",
                                       "list",   "deleted_at", "assignee"};
    if (row->type == EVENT_UNKNOWN || uuid_is_nil(&row->task) || event->after.data == NULL)
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        slice_t value;
        if (mp_map_find(event->set, keys[i], &value))
            return true;
    }
    return false;
}

static bool read_reminder(const event_t *event, wanted_t *out)
{
    slice_t id, at;
    if (!mp_map_find(event->reminder, "id", &id) || !mp_map_find(event->reminder, "at", &at))
        return false;
    mp_reader_t id_reader = mp_reader(id), at_reader = mp_reader(at);
    return mp_get_uuid(&id_reader, &out->id) && mp_get_instant(&at_reader, &out->fire_at_us);
}

/* For the assignee: whoever that was when it fired. */
static bool read_whom(const event_t *event, wanted_t *out)
{
    slice_t whom, word, assignee;
    if (!mp_map_find(event->reminder, "for", &whom))
        return false;
    mp_reader_t reader = mp_reader(whom);
    if (!mp_get_str(&reader, &word))
        return false;
    if (slice_is(word, "all")) {
        out->whom = FOR_ALL;
        return true;
    }
    out->whom = FOR_ACCOUNT;
    if (!slice_is(word, "assignee"))
        return uuid_parse(word, &out->account);
    out->whom = FOR_ASSIGNEE;
    if (event->after.data == NULL || !mp_map_find(event->after, "assignee", &assignee))
        return true;
    reader = mp_reader(assignee);
    return mp_get_uuid(&reader, &out->account);
}

static reminder_tells_t read_fired(const event_t *event, reminder_news_t *out)
{
    bool is_read = read_reminder(event, &out->fired) && read_whom(event, &out->fired);
    return is_read ? TELLS_FIRED : TELLS_WRONG;
}

/* In an account's stream. */
static reminder_tells_t read_dismissed(const event_t *event, reminder_news_t *out)
{
    out->fired.account = event->stream;
    return read_reminder(event, &out->fired) ? TELLS_DISMISSED : TELLS_WRONG;
}

static wanted_t wanted_of(const task_t *task, const reminder_t *reminder, int64_t fire_at_us)
{
    wanted_t wanted = {.id = reminder->id, .fire_at_us = fire_at_us, .whom = reminder->whom};
    if (reminder->whom == FOR_ACCOUNT)
        wanted.account = reminder->account;
    else if (reminder->whom == FOR_ASSIGNEE)
        wanted.account = task->assignee;
    return wanted;
}

static void collect_wanted(const task_t *task, reminder_news_t *out)
{
    if (!task_is_live(task))
        return;
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        int64_t fire_at_us = task_reminder_at(task, &task->reminders[i]);
        if (fire_at_us != INSTANT_NONE)
            out->wanted[out->n_wanted++] = wanted_of(task, &task->reminders[i], fire_at_us);
    }
}

/* A task that neither has reminders nor had any before this event has no rows. What a task had that
 * moved in, the event does not say. */
static bool never_had_any(const event_t *event, const task_t *task)
{
    slice_t was;
    return task->n_reminders == 0 && event->type != EVENT_TASK_MOVED_IN &&
           !mp_map_find(event->was, "reminders", &was);
}

/* Whether that can be seen without decoding: most events are of tasks without reminders, and there
 * are many of them. The task after the event says so, and `set` and `was` say nothing of them. Text
 * that happens to look like that pair only costs a decoding. */
static bool shows_none(const log_event_t *row)
{
    static const char key[] = "\xa9reminders"; /* as a msgpack string */
    const size_t n_key = sizeof key - 1;
    const uint8_t *at = row->body.data, *end = at + row->body.n_bytes;
    size_t n_found = 0;
    if (row->type == EVENT_TASK_MOVED_IN || row->type == EVENT_REMINDER_DUE)
        return false;
    while ((at = memmem(at, (size_t)(end - at), key, n_key)) != NULL) {
        at += n_key;
        if (at == end || *at != MP_EMPTY_ARRAY)
            return false;
        n_found++;
    }
    return n_found == 1;
}

reminder_tells_t reminder_read(const log_event_t *row, arena_t *arena, reminder_news_t *out)
{
    event_t event;
    *out = (reminder_news_t){.task = row->task,
                             .list = row->stream,
                             .event_id = row->id,
                             .at_us = row->at_us,
                             .trace = trace_of(row->trace)};
    if (row->body.data == NULL || uuid_is_nil(&row->task) || shows_none(row))
        return TELLS_NOTHING;
    if (!event_decode(row->body, &event))
        return TELLS_WRONG;
    if (row->type == EVENT_REMINDER_DUE)
        return read_fired(&event, out);
    if (row->type == EVENT_REMINDER_DISMISSED)
        return read_dismissed(&event, out);
    if (!concerns_reminders(row, &event))
        return TELLS_NOTHING;
    task_t *task = arena_alloc(arena, sizeof *task);
    if (!task_decode(event.after, arena, task))
        return TELLS_WRONG;
    if (never_had_any(&event, task))
        return TELLS_NOTHING;
    collect_wanted(task, out);
    out->is_new = row->type == EVENT_TASK_CREATED;
    return uuid_eq(&event.by, &author_retime) ? TELLS_MOVED : TELLS_WANTED;
}

/* --- rounds --- */

typedef struct {
    pg_t *pg;
    const char *epoch; /* that the events are of */
    reminder_news_t news[ROUND_TASKS];
    reminder_tells_t tells[ROUND_TASKS];
    size_t n;
    size_t n_telling[TELLS_WRONG]; /* so, of them */
    size_t n_ending; /* of them, after which rows may have to end */
    pg_params_t params;
    pg_fate_t fate;
    reminder_news_f *told;
    void *told_arg;
} round_t;

static void on_done(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    round_t *self = arg;
    if (fate == PG_OK || fate == PG_SKIPPED)
        return;
    self->fate = fate;
    if (result != NULL)
        log_line(LOG_WARN, "reminder", "rows could not be stored", "why=\"%s\"",
                 pg_message(result));
}

static void queue(round_t *self, const pg_stmt_t *stmt)
{
    pg_put_text(&self->params, slice_of(self->epoch, EPOCH_CHARS));
    if (pg_query(self->pg, stmt, &self->params, on_done, self) != ERR_OK)
        self->fate = PG_LOST;
    pg_params_reset(&self->params);
}

/* One array parameter over the wanted reminders of the round's events that tell that. */
#define EACH_WANTED(what, type, put)                                                               \
    do {                                                                                           \
        pg_array_begin(&self->params, type);                                                       \
        for (size_t i = 0; i < self->n; i++) {                                                     \
            const reminder_news_t *news = &self->news[i];                                          \
            for (uint32_t w = 0; self->tells[i] == (what) && w < news->n_wanted; w++)              \
                put;                                                                               \
        }                                                                                          \
        pg_array_end(&self->params);                                                               \
    } while (0)

/* The same over the events that this is true of. */
#define EACH_IF(test, type, put)                                                                   \
    do {                                                                                           \
        pg_array_begin(&self->params, type);                                                       \
        for (size_t i = 0; i < self->n; i++) {                                                     \
            const reminder_news_t *news = &self->news[i];                                          \
            if (test)                                                                              \
                put;                                                                               \
        }                                                                                          \
        pg_array_end(&self->params);                                                               \
    } while (0)

#define EACH_NEWS(what, type, put) EACH_IF(self->tells[i] == (what), type, put)

/* Whether rows of older events may be there that are not wanted: a task that was just created has
 * none. */
static bool may_end(reminder_tells_t tells, const reminder_news_t *news)
{
    return (tells == TELLS_WANTED || tells == TELLS_MOVED) && !news->is_new;
}

static void queue_wanted(round_t *self, reminder_tells_t what, const pg_stmt_t *upsert)
{
    EACH_WANTED(what, PG_UUID, pg_array_uuid(&self->params, &news->task));
    EACH_WANTED(what, PG_UUID, pg_array_uuid(&self->params, &news->wanted[w].id));
    EACH_WANTED(what, PG_UUID, pg_array_uuid(&self->params, &news->list));
    EACH_WANTED(what, PG_I64, pg_array_i64(&self->params, news->event_id));
    EACH_WANTED(what, PG_INSTANT, pg_array_instant(&self->params, news->wanted[w].fire_at_us));
    EACH_WANTED(what, PG_INSTANT, pg_array_instant(&self->params, news->at_us));
    EACH_WANTED(what, PG_I16, pg_array_i16(&self->params, (int16_t)news->wanted[w].whom));
    EACH_WANTED(what, PG_UUID, pg_array_uuid(&self->params, &news->wanted[w].account));
    EACH_WANTED(what, PG_BYTEA, pg_array_text(&self->params, trace_slice(&news->trace)));
    queue(self, upsert);
}

static void queue_ends(round_t *self)
{
    EACH_IF(may_end(self->tells[i], news), PG_UUID, pg_array_uuid(&self->params, &news->task));
    EACH_IF(may_end(self->tells[i], news), PG_I64, pg_array_i64(&self->params, news->event_id));
    queue(self, &end_rows);
}

static void queue_fired(round_t *self)
{
    EACH_NEWS(TELLS_FIRED, PG_UUID, pg_array_uuid(&self->params, &news->task));
    EACH_NEWS(TELLS_FIRED, PG_UUID, pg_array_uuid(&self->params, &news->fired.id));
    EACH_NEWS(TELLS_FIRED, PG_UUID, pg_array_uuid(&self->params, &news->list));
    EACH_NEWS(TELLS_FIRED, PG_INSTANT, pg_array_instant(&self->params, news->fired.fire_at_us));
    EACH_NEWS(TELLS_FIRED, PG_INSTANT, pg_array_instant(&self->params, news->at_us));
    EACH_NEWS(TELLS_FIRED, PG_I16, pg_array_i16(&self->params, (int16_t)news->fired.whom));
    EACH_NEWS(TELLS_FIRED, PG_UUID, pg_array_uuid(&self->params, &news->fired.account));
    queue(self, &mark_fired);
}

static void queue_dismissed(round_t *self)
{
    EACH_NEWS(TELLS_DISMISSED, PG_UUID, pg_array_uuid(&self->params, &news->task));
    EACH_NEWS(TELLS_DISMISSED, PG_UUID, pg_array_uuid(&self->params, &news->fired.id));
    EACH_NEWS(TELLS_DISMISSED, PG_UUID, pg_array_uuid(&self->params, &news->fired.account));
    EACH_NEWS(TELLS_DISMISSED, PG_INSTANT, pg_array_instant(&self->params, news->fired.fire_at_us));
    queue(self, &mark_dismissed);
}

static void queue_round(round_t *self)
{
    if (self->n_telling[TELLS_WANTED] > 0)
        queue_wanted(self, TELLS_WANTED, &upsert_rows);
    if (self->n_telling[TELLS_MOVED] > 0)
        queue_wanted(self, TELLS_MOVED, &move_rows);
    if (self->n_ending > 0)
        queue_ends(self);
    if (self->n_telling[TELLS_FIRED] > 0)
        queue_fired(self);
    if (self->n_telling[TELLS_DISMISSED] > 0)
        queue_dismissed(self);
    memset(self->n_telling, 0, sizeof self->n_telling);
    self->n_ending = 0;
    self->n = 0;
}

static bool has_task(const round_t *self, const uuid_t *task)
{
    for (size_t i = 0; i < self->n; i++) {
        if (uuid_eq(&self->news[i].task, task))
            return true;
    }
    return false;
}

static void add(round_t *self, reminder_tells_t tells, const reminder_news_t *news)
{
    if (self->told != NULL)
        self->told(self->told_arg, tells, news);
    if (self->n == ROUND_TASKS || has_task(self, &news->task))
        queue_round(self);
    self->news[self->n] = *news;
    self->tells[self->n++] = tells;
    self->n_telling[tells]++;
    self->n_ending += may_end(tells, news);
}

/* `intray` is NULL if what cannot be read has been rejected before. */
static void read_event(round_t *round, intray_t *intray, const log_event_t *row, arena_t *arena)
{
    reminder_news_t news;
    reminder_tells_t tells = reminder_read(row, arena, &news);
    switch (tells) {
    case TELLS_NOTHING:
        break;
    case TELLS_WRONG:
        if (intray != NULL)
            intray_reject(intray, row, slice_str("the event cannot be read"));
        break;
    case TELLS_WANTED:
    case TELLS_MOVED:
    case TELLS_FIRED:
    case TELLS_DISMISSED:
        add(round, tells, &news);
        break;
    }
}

static err_t err_of(pg_fate_t fate)
{
    switch (fate) {
    case PG_OK:
        return ERR_OK;
    case PG_REJECTED:
        return ERR_INTERNAL;
    case PG_SKIPPED:
    case PG_RETRY:
    case PG_LOST:
        return ERR_UNAVAILABLE;
    }
    return ERR_INTERNAL;
}

static err_t store(round_t *round, intray_t *intray, mp_reader_t *content, uint32_t n_events)
{
    pg_t *pg = round->pg;
    if (!pg_is_ready(pg) && !pg_await(pg, STORE_TIMEOUT_US))
        return ERR_UNAVAILABLE;
    arena_t *arena = arena_new();
    log_event_t row;
    round->fate = PG_OK;
    for (uint32_t i = 0; i < n_events && events_next(content, &row); i++) {
        arena_reset(arena);
        read_event(round, intray, &row, arena);
        /* Bounded in flight: a group may be cut anywhere, since each round guards itself. */
        if (pg_in_flight(pg) > PG_MAX_IN_FLIGHT / 2) {
            (void)pg_sync(pg);
            (void)pg_await(pg, STORE_TIMEOUT_US);
        }
    }
    queue_round(round);
    (void)pg_sync(pg);
    if (pg_in_flight(pg) > 0 && !pg_await(pg, STORE_TIMEOUT_US) && round->fate == PG_OK)
        round->fate = PG_LOST;
    arena_destroy(&arena);
    return err_of(round->fate);
}

/* What the database refuses of one event is not to be lost of the others. */
static err_t store_singly(round_t *round, intray_t *intray, mp_reader_t *content, uint32_t n_events)
{
    log_event_t row;
    round->told = NULL;
    for (uint32_t i = 0; i < n_events; i++) {
        mp_reader_t one = *content;
        if (!events_next(content, &row))
            break;
        err_t err = store(round, NULL, &one, 1);
        if (err == ERR_INTERNAL)
            intray_reject(intray, &row, slice_str("the database refuses what it says"));
        else if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

err_t reminder_rows_store(pg_t *pg, const char epoch[EPOCH_CHARS], intray_t *intray,
                          mp_reader_t *content, uint32_t n_events, reminder_news_f *told, void *arg)
{
    mp_reader_t again = *content;
    round_t *round = calloc(1, sizeof *round);
    if (round == NULL)
        abort();
    *round = (round_t){.pg = pg, .epoch = epoch, .told = told, .told_arg = arg};
    err_t err = store(round, intray, content, n_events);
    if (err == ERR_INTERNAL)
        err = store_singly(round, intray, &again, n_events);
    pg_params_fini(&round->params);
    free(round);
    return err;
}
