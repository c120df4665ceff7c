/* SPDX-License-Identifier: Apache-2.0 */
/* Each step is one group of statements, so one transaction: the lock of the shard first, as for
 * everybody who writes. A step changes so few rows that nobody waits for the lock for long, and a
 * walk over a stream or a task remembers how far it has come. Rows of tasks go only when nobody can
 * reach them: the lock keeps them from being restored meanwhile. Processes that run are told what
 * to drop from their memory by a row of `purged`: under a lock that all shards have in common,
 * taken last and so held shortly, because whoever asks for what is new must miss no number. */
#include "actors/purge.h"

#include <stdio.h>
#include <sysexits.h>

#include "schema/instant.h"
#include "schema/shard.h"

#define CONNECT_US (10 * US_PER_S)
#define TIMEOUT_US (30 * US_PER_S)
#define STEP_EVENTS 500
#define STEP_TASKS 200
#define MAX_STREAMS 1000

static const pg_stmt_t lock_shard = {"SELECT pg_advisory_xact_lock(7461, $1::integer)"};

/* Both ends of a stream, and whether it is a list that is deleted, or an account that is erased. */
static const pg_stmt_t select_stream = {
    "SELECT s.head, s.is_account, CASE WHEN s.is_account"
    " THEN NOT EXISTS (SELECT 1 FROM account a WHERE a.id = s.id)"
    " ELSE EXISTS (SELECT 1 FROM list l WHERE l.id = s.id AND l.deleted_at IS NOT NULL) END"
    " FROM stream s WHERE s.id = $1::uuid"};
static const pg_stmt_t purge_events = {
    "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL"
    " WHERE stream = $1::uuid AND rev > $2::bigint AND rev <= $3::bigint AND body IS NOT NULL"};
static const pg_stmt_t delete_letters = {
    "DELETE FROM dead_letter WHERE stream = $1::uuid AND rev > $2::bigint AND rev <= $3::bigint"};
/* Records from Kafka that could not be handled may be about anything, or forged: those that name
 * the id anywhere go. It stands in key and value as text, whatever the encoding. There are
 * eleven thousand of them at most. */
static const pg_stmt_t delete_records = {
    "DELETE FROM dead_letter WHERE topic IS NOT NULL"
    " AND (position(convert_to($1::text, 'UTF8') IN coalesce(record_key, '')) > 0"
    " OR position(convert_to($1::text, 'UTF8') IN coalesce(value, '')) > 0)"};

static const pg_stmt_t lock_purged = {"SELECT pg_advisory_xact_lock(7463, 0)"};
static const pg_stmt_t note_purged = {
    "INSERT INTO purged (stream, n) VALUES ($1::uuid, nextval('purged_n'))"
    " ON CONFLICT (stream) DO UPDATE SET n = excluded.n"};

/* --- what is left of a deleted list --- */

#define OF_DELETED_LIST                                                                            \
    "list = $1::uuid AND EXISTS (SELECT 1 FROM list l WHERE l.id = $1::uuid AND l.deleted_at IS "  \
    "NOT NULL)"
/* Each row is in exactly one of the two indexes. */
static const pg_stmt_t delete_tasks = {
    "WITH these AS (SELECT id FROM (SELECT id FROM task WHERE status < 2 AND deleted_at IS NULL "
    "AND " OF_DELETED_LIST
    " UNION ALL SELECT id FROM task WHERE NOT (status < 2 AND deleted_at IS NULL)"
    " AND " OF_DELETED_LIST ") t LIMIT $2::bigint),"
    " reminders AS (DELETE FROM reminder r USING these WHERE r.task = these.id),"
    " past AS (DELETE FROM reminder_past p USING these WHERE p.list = $1::uuid"
    " AND p.task = these.id),"
    " dismissed AS (DELETE FROM reminder_dismissed d USING these WHERE d.task = these.id)"
    " DELETE FROM task t USING these WHERE t.id = these.id"};
/* From then on nobody can restore it. Its members stay until the end: what is cut short is found
 * again by them. */
static const pg_stmt_t disown_members = {
    "UPDATE member m SET role = 1 FROM list l WHERE m.list = $1::uuid AND l.id = m.list"
    " AND l.deleted_at IS NOT NULL AND m.role <> 1"};
static const pg_stmt_t disown_list = {
    "UPDATE list SET title = '', n_owners = 0 WHERE id = $1::uuid AND deleted_at IS NOT NULL"};
static const pg_stmt_t forget_members = {
    "WITH gone AS (DELETE FROM member m USING list l WHERE m.list = $1::uuid AND l.id = m.list"
    " AND l.deleted_at IS NOT NULL AND l.n_owners = 0 RETURNING 1)"
    " UPDATE list SET n_members = 0 FROM gone WHERE id = $1::uuid"};
static const pg_stmt_t forget_stream = {
    "UPDATE stream s SET n_open = 0, tail = '' FROM list l WHERE s.id = $1::uuid AND l.id = s.id"
    " AND l.deleted_at IS NOT NULL"};

/* --- a task --- */

static const pg_stmt_t select_task_streams = {
    "SELECT DISTINCT stream FROM event WHERE task = $1::uuid LIMIT $2::bigint"};
/* Of one stream, so that its lock is the one that is held. */
static const pg_stmt_t purge_task_events = {
    "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE task = $1::uuid"
    " AND stream = $2::uuid AND id = ANY(ARRAY(SELECT id FROM event WHERE task = $1::uuid"
    " AND stream = $2::uuid AND body IS NOT NULL ORDER BY id LIMIT $3::bigint))"};
static const pg_stmt_t delete_task_letters = {
    "DELETE FROM dead_letter d USING event e WHERE e.task = $1::uuid AND e.stream = $2::uuid"
    " AND d.event_id = e.id"};
static const pg_stmt_t delete_task = {
    "WITH gone AS (DELETE FROM task t USING list l WHERE t.id = $1::uuid AND t.list = $2::uuid"
    " AND l.id = t.list AND (t.deleted_at IS NOT NULL OR l.deleted_at IS NOT NULL) RETURNING t.id),"
    " past AS (DELETE FROM reminder_past p USING gone WHERE p.list = $2::uuid"
    " AND p.task = gone.id),"
    " dismissed AS (DELETE FROM reminder_dismissed d USING gone WHERE d.task = gone.id)"
    " DELETE FROM reminder r USING gone WHERE r.task = gone.id"};
static const pg_stmt_t has_task = {"SELECT 1 FROM task WHERE id = $1::uuid"};

/* --- an account that was erased --- */

static const pg_stmt_t select_lists_of = {
    "SELECT m.list FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NOT NULL"
    " WHERE m.account = $1::uuid LIMIT $2::bigint"};
static const pg_stmt_t leave_list = {
    "WITH gone AS (DELETE FROM member m USING list l WHERE m.list = $1::uuid"
    " AND m.account = $2::uuid AND l.id = m.list AND l.deleted_at IS NOT NULL RETURNING m.role)"
    " UPDATE list l SET n_members = n_members - 1, n_owners = n_owners - (gone.role = 3)::integer"
    " FROM gone WHERE l.id = $1::uuid"};
static const pg_stmt_t select_other_owners = {
    "SELECT 1 FROM list l WHERE l.id = $1::uuid AND (l.deleted_at IS NULL OR EXISTS (SELECT 1 FROM "
    "member m WHERE m.list = l.id AND m.role = 3 AND m.account <> $2::uuid))"};
static const pg_stmt_t end_erasure = {
    "WITH dismissed AS (DELETE FROM reminder_dismissed WHERE account = $1::uuid)"
    " DELETE FROM erasure WHERE account = $1::uuid"};

typedef struct {
    pg_t *pg;
    const purge_limit_t *limit;
    purge_report_t *report;
} run_t;

/* --- steps --- */

typedef struct {
    int64_t n_changed; /* rows, by the statement that is told to count */
    bool has_failed;
} step_t;

static void on_step(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    step_t *step = arg;
    (void)result;
    step->has_failed = step->has_failed || fate != PG_OK;
}

static void on_counted(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    step_t *step = arg;
    on_step(step, fate, result);
    if (fate == PG_OK)
        step->n_changed += pg_changed(result);
}

/* A step begins with the lock of this stream's shard. */
static void begin(run_t *self, step_t *step, const uuid_t *stream)
{
    pg_params_t params = {0};
    *step = (step_t){0};
    pg_put_i32(&params, (int32_t)shard_of(stream));
    step->has_failed = pg_query(self->pg, &lock_shard, &params, on_step, step) != ERR_OK;
    pg_params_fini(&params);
}

/* Owns: takes the parameters. */
static void add(run_t *self, step_t *step, const pg_stmt_t *stmt, pg_params_t *params,
                pg_done_f *done)
{
    if (!step->has_failed)
        step->has_failed = pg_query(self->pg, stmt, params, done, step) != ERR_OK;
    pg_params_fini(params);
}

static bool end(run_t *self, const step_t *step)
{
    const purge_limit_t *limit = self->limit;
    return pg_await(self->pg, limit->timeout_us) && !step->has_failed &&
           (limit->is_wanted == NULL || limit->is_wanted(limit->arg));
}

/* The last of a step that has purged events. */
static void note(run_t *self, step_t *step, const uuid_t *stream)
{
    pg_params_t params = {0};
    add(self, step, &lock_purged, &params, on_step);
    params = (pg_params_t){0};
    pg_put_uuid(&params, stream);
    add(self, step, &note_purged, &params, on_step);
}

/* One statement that reads. Owns: takes the parameters. */
static bool ask(run_t *self, const pg_stmt_t *stmt, pg_params_t *params, pg_done_f *done, void *arg)
{
    pg_fate_t fate = pg_run(self->pg, stmt, params, done, arg, self->limit->timeout_us);
    pg_params_fini(params);
    return fate == PG_OK;
}

/* The lock is not needed for it, but makes the step one like the others. */
static bool purge_records(run_t *self, const uuid_t *id)
{
    step_t step;
    pg_params_t params = {0};
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    begin(self, &step, id);
    pg_put_text(&params, slice_of(text, sizeof text));
    add(self, &step, &delete_records, &params, on_step);
    return end(self, &step);
}

typedef struct {
    uuid_t ids[MAX_STREAMS];
    int n;
} ids_t;

static void on_ids(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ids_t *self = arg;
    self->n = 0;
    for (int row = 0; fate == PG_OK && row < pg_rows(result) && row < MAX_STREAMS; row++)
        self->ids[self->n++] = pg_uuid(result, row, 0);
}

static bool ask_ids(run_t *self, const pg_stmt_t *stmt, const uuid_t *id, ids_t *out)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, id);
    pg_put_i64(&params, MAX_STREAMS);
    return ask(self, stmt, &params, on_ids, out);
}

static void on_found(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    *(bool *)arg = fate == PG_OK && pg_rows(result) > 0;
}

static bool ask_found(run_t *self, const pg_stmt_t *stmt, const uuid_t *id, bool *out)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, id);
    return ask(self, stmt, &params, on_found, out);
}

/* --- a stream --- */

typedef struct {
    bool is_there;
    int64_t head;
    bool is_account;
    bool is_gone; /* deleted, or erased */
} stream_facts_t;

static void on_stream(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    stream_facts_t *self = arg;
    if (fate != PG_OK || pg_rows(result) != 1)
        return;
    *self =
        (stream_facts_t){true, pg_int(result, 0, 0), pg_bool(result, 0, 1), pg_bool(result, 0, 2)};
}

static bool ask_stream(run_t *self, const uuid_t *id, stream_facts_t *out)
{
    pg_params_t params = {0};
    *out = (stream_facts_t){0};
    pg_put_uuid(&params, id);
    return ask(self, &select_stream, &params, on_stream, out);
}

static void put_range(pg_params_t *params, const uuid_t *stream, int64_t after, int64_t up_to)
{
    *params = (pg_params_t){0};
    pg_put_uuid(params, stream);
    pg_put_i64(params, after);
    pg_put_i64(params, up_to);
}

static bool purge_stream_events(run_t *self, const uuid_t *stream, int64_t head)
{
    for (int64_t after = 0; after < head; after += STEP_EVENTS) {
        step_t step;
        pg_params_t params;
        int64_t up_to = after + STEP_EVENTS < head ? after + STEP_EVENTS : head;
        begin(self, &step, stream);
        put_range(&params, stream, after, up_to);
        add(self, &step, &purge_events, &params, on_counted);
        put_range(&params, stream, after, up_to);
        add(self, &step, &delete_letters, &params, on_step);
        note(self, &step, stream);
        if (!end(self, &step))
            return false;
        self->report->events += step.n_changed;
    }
    return purge_records(self, stream);
}

static void add_by_id(run_t *self, step_t *step, const pg_stmt_t *stmt, const uuid_t *id,
                      pg_done_f *done)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, id);
    add(self, step, stmt, &params, done);
}

static bool purge_tasks_of(run_t *self, const uuid_t *list)
{
    step_t step;
    do {
        pg_params_t params = {0};
        begin(self, &step, list);
        pg_put_uuid(&params, list);
        pg_put_i64(&params, STEP_TASKS);
        add(self, &step, &delete_tasks, &params, on_counted);
        if (!end(self, &step))
            return false;
        self->report->tasks += step.n_changed;
    } while (step.n_changed > 0);
    return true;
}

static bool disown(run_t *self, const uuid_t *list)
{
    step_t step;
    begin(self, &step, list);
    add_by_id(self, &step, &disown_members, list, on_step);
    add_by_id(self, &step, &disown_list, list, on_counted);
    add_by_id(self, &step, &forget_stream, list, on_step);
    if (!end(self, &step))
        return false;
    self->report->lists += step.n_changed > 0;
    return true;
}

static bool forget(run_t *self, const uuid_t *list)
{
    step_t step;
    begin(self, &step, list);
    add_by_id(self, &step, &forget_members, list, on_step);
    return end(self, &step);
}

static bool purge_stream(run_t *self, const uuid_t *id)
{
    stream_facts_t facts;
    if (!ask_stream(self, id, &facts))
        return false;
    self->report->is_known = self->report->is_known || facts.is_there;
    if (facts.is_account || !facts.is_gone)
        return purge_stream_events(self, id, facts.head);
    return disown(self, id) && purge_tasks_of(self, id) &&
           purge_stream_events(self, id, facts.head) && forget(self, id);
}

/* --- a task --- */

static bool purge_task_in(run_t *self, const uuid_t *task, const uuid_t *stream)
{
    step_t step;
    do {
        pg_params_t params = {0};
        begin(self, &step, stream);
        pg_put_uuid(&params, task);
        pg_put_uuid(&params, stream);
        pg_put_i64(&params, STEP_EVENTS);
        add(self, &step, &purge_task_events, &params, on_counted);
        params = (pg_params_t){0};
        pg_put_uuid(&params, task);
        pg_put_uuid(&params, stream);
        add(self, &step, &delete_task_letters, &params, on_step);
        params = (pg_params_t){0};
        pg_put_uuid(&params, task);
        pg_put_uuid(&params, stream);
        add(self, &step, &delete_task, &params, on_step);
        note(self, &step, stream);
        if (!end(self, &step))
            return false;
        self->report->events += step.n_changed;
    } while (step.n_changed > 0);
    return true;
}

static bool purge_task(run_t *self, const uuid_t *task)
{
    ids_t streams;
    bool was_there = false;
    bool is_there = false;
    if (!ask_found(self, &has_task, task, &was_there) ||
        !ask_ids(self, &select_task_streams, task, &streams))
        return false;
    self->report->is_known = streams.n > 0;
    for (int i = 0; i < streams.n; i++) {
        if (!purge_task_in(self, task, &streams.ids[i]))
            return false;
    }
    if (!purge_records(self, task) || !ask_found(self, &has_task, task, &is_there))
        return false;
    self->report->tasks += was_there && !is_there;
    return true;
}

/* --- an account --- */

/* What nobody else may restore goes; of what others own the account is no member any more. */
static bool leave(run_t *self, const uuid_t *list, const uuid_t *account)
{
    step_t step;
    pg_params_t params = {0};
    bool has_owner = false;
    pg_put_uuid(&params, list);
    pg_put_uuid(&params, account);
    if (!ask(self, &select_other_owners, &params, on_found, &has_owner))
        return false;
    if (!has_owner)
        return purge_stream(self, list);
    begin(self, &step, list);
    params = (pg_params_t){0};
    pg_put_uuid(&params, list);
    pg_put_uuid(&params, account);
    add(self, &step, &leave_list, &params, on_step);
    return end(self, &step);
}

/* Of an account that is still there nothing but its past. */
static bool purge_account(run_t *self, const uuid_t *account)
{
    stream_facts_t facts;
    ids_t lists = {.n = 0};
    step_t step;
    if (!ask_stream(self, account, &facts))
        return false;
    self->report->is_known = facts.is_there && facts.is_account;
    if (!self->report->is_known)
        return true;
    do {
        if (facts.is_gone && !ask_ids(self, &select_lists_of, account, &lists))
            return false;
        for (int i = 0; i < lists.n; i++) {
            if (!leave(self, &lists.ids[i], account))
                return false;
        }
    } while (lists.n == MAX_STREAMS);
    if (!purge_stream_events(self, account, facts.head))
        return false;
    begin(self, &step, account);
    if (facts.is_gone)
        add_by_id(self, &step, &end_erasure, account, on_step);
    return end(self, &step);
}

/* --- the whole --- */

err_t purge(pg_t *pg, purge_kind_t kind, const uuid_t *id, const purge_limit_t *limit,
            purge_report_t *out)
{
    run_t run = {pg, limit, out};
    bool is_done = false;
    *out = (purge_report_t){0};
    switch (kind) {
    case PURGE_STREAM:
        is_done = purge_stream(&run, id);
        break;
    case PURGE_TASK:
        is_done = purge_task(&run, id);
        break;
    case PURGE_ACCOUNT:
        is_done = purge_account(&run, id);
        break;
    }
    return is_done ? ERR_OK : ERR_UNAVAILABLE;
}

static int report_of(const purge_report_t *report)
{
    if (!report->is_known) {
        fprintf(stderr, "taskwire: there is no such thing\n");
        return 1;
    }
    printf("purged: events=%lld tasks=%lld lists=%lld\n", (long long)report->events,
           (long long)report->tasks, (long long)report->lists);
    fflush(stdout);
    return EX_OK;
}

int purge_run(const config_t *config, purge_kind_t kind, const char *text)
{
    const pg_options_t options = {.url = config->database_url,
                                  .who = "taskwire purge",
                                  .options = PURGE_SESSION_OPTIONS,
                                  .reply_timeout_us = TIMEOUT_US};
    const purge_limit_t limit = {.timeout_us = TIMEOUT_US};
    purge_report_t report;
    uuid_t id;
    if (!uuid_parse(slice_str(text), &id)) {
        fprintf(stderr, "taskwire: %s: this must be a UUID\n", text);
        return EX_USAGE;
    }
    pg_t *pg = pg_new(&options);
    int code = EX_UNAVAILABLE;
    if (pg_await_connection(pg, CONNECT_US) && purge(pg, kind, &id, &limit, &report) == ERR_OK)
        code = report_of(&report);
    else if (pg_is_refused(pg))
        code = EX_CONFIG;
    if (code == EX_UNAVAILABLE || code == EX_CONFIG)
        fprintf(stderr, "taskwire: %s: the database cannot be asked: %s\n",
                config_key(config, "DATABASE_URL"), pg_trouble(pg));
    pg_destroy(&pg);
    return code;
}
