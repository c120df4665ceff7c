/* SPDX-License-Identifier: Apache-2.0 */
/* The log as clients read it: the events of a stream behind a revision, and the history of a task.
 * Who follows a stream must miss nothing, so there a gap (another history, a purged event) is 410;
 * a history shows of a purged event what is left, its header. */
#include "gateway/http.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

const param_t route_events_params[] = {
    {"after", PARAM_ONCE},  {"epoch", PARAM_ONCE}, {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE}, {NULL, PARAM_ONCE},
};
const param_t route_list_events_params[] = {
    {"after", PARAM_ONCE},  {"epoch", PARAM_ONCE},   {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE}, {"min_rev", PARAM_ONCE}, {NULL, PARAM_ONCE},
};

/* Of the candidates `c`, in the order of `key`, those that fit into a page; n: how many candidates
 * there are. */
#define UP_TO_PAGE_BYTES(columns, key, candidates)                                                 \
    "SELECT " columns ", q.n FROM (SELECT c.*, count(*) OVER () AS n,"                             \
    " sum(octet_length(c.body)) OVER (ORDER BY c." key                                             \
    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (" candidates               \
    ") c) q WHERE coalesce(q.before, 0) < " PAGE_MAX_BYTES_SQL

/* --- the events of a stream --- */

#define STREAM_EVENTS                                                                              \
    " LEFT JOIN LATERAL (" UP_TO_PAGE_BYTES(                                                       \
        "q.rev, q.body", "rev",                                                                    \
        "SELECT v.rev, v.body FROM event v WHERE v.stream = s.id AND v.rev > $4::bigint"           \
        " ORDER BY v.rev LIMIT $5::bigint") ") p ON true"
#define EVENT_COLUMNS "SELECT s.head, e.epoch, p.rev, p.body, p.n FROM"

static const pg_stmt_t select_list_events = {
    EVENT_COLUMNS " member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
                  " JOIN stream s ON s.id = m.list CROSS JOIN log_epoch e" STREAM_EVENTS
                  " WHERE m.account = $1::uuid AND m.list = $2::uuid"
                  " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[])) ORDER BY p.rev"};
static const pg_stmt_t select_my_events = {
    EVENT_COLUMNS " stream s CROSS JOIN log_epoch e" STREAM_EVENTS
                  " WHERE s.id = $1::uuid AND s.id = $2::uuid AND s.is_account"
                  " AND $3::uuid[] IS NULL ORDER BY p.rev"};

typedef struct {
    uuid_t stream;
    int64_t after;
    int64_t limit;
    const pg_stmt_t *stmt;
} events_t;

static slice_t purpose_of(const call_t *call, const char *what, const uuid_t *id)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    return arena_format(call->arena, "%s %.*s", what, UUID_TEXT_CHARS, text);
}

/* Why one cannot go on from there; NULL: one can. */
static const char *why_lost(const call_t *call, const events_t *events, const pg_result_t *result)
{
    slice_t epoch = query_get(&call->query, "epoch");
    if (epoch.data != NULL && !slice_eq(epoch, pg_bytes(result, 0, 1)))
        return "The epoch is another one.";
    if (events->after > pg_int(result, 0, 0))
        return "That revision is beyond the stream's head.";
    for (int row = 0; row < pg_rows(result); row++) {
        if (!pg_is_null(result, row, 2) && pg_is_null(result, row, 3))
            return "An event behind that revision was purged.";
    }
    return NULL;
}

static bool put_event(const pg_result_t *result, int row, int col, buf_t *out)
{
    event_t event;
    if (!event_decode(pg_bytes(result, row, col), &event))
        return false;
    event_put_json(&event, out);
    return true;
}

static bool put_events(const pg_result_t *result, int n_items, buf_t *out)
{
    slice_t epoch = pg_bytes(result, 0, 1);
    buf_format(out, "{\"epoch\":\"%.*s\",\"head\":%lld,\"items\":[", (int)epoch.n_bytes,
               (const char *)epoch.data, (long long)pg_int(result, 0, 0));
    for (int row = 0; row < n_items; row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        if (!put_event(result, row, 3, out))
            return false;
    }
    return true;
}

/* How many of the rows are shown, and whether there are more behind them. */
static int count_items(const pg_result_t *result, int key_col, int n_col, int64_t limit, bool *more)
{
    *more = false;
    if (pg_rows(result) == 0 || pg_is_null(result, 0, key_col))
        return 0;
    int n_items = pg_rows(result) > limit ? (int)limit : pg_rows(result);
    *more = pg_int(result, 0, n_col) > n_items;
    return n_items;
}

static void reply_events(call_t *call, const events_t *events, const pg_result_t *result)
{
    bool more;
    buf_t *out = reply_buffer(call);
    int n_items = count_items(result, 2, 4, events->limit, &more);
    slice_t place =
        more ? page_place_of_number(call, pg_int(result, n_items - 1, 2)) : slice_none();
    if (!put_events(result, n_items, out))
        reply_err(call, ERR_INTERNAL, "What is stored cannot be shown.");
    else if (page_put_next(call, out, purpose_of(call, "events", &events->stream), place))
        reply_json(call, 200, buf_slice(out));
}

static void show_events(call_t *call, const pg_result_t *result)
{
    const events_t *events = call->state;
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such stream, or you may not see it.");
        return;
    }
    if (call_must_wait(call, pg_int(result, 0, 0)))
        return;
    const char *why = why_lost(call, events, result);
    history_note(&call->gateway->http->history, pg_bytes(result, 0, 1));
    if (why != NULL)
        reply_err(call, ERR_RESYNC_REQUIRED, why);
    else
        reply_events(call, events, result);
}

static bool read_events_query(call_t *call, events_t *events)
{
    problem_t problem = {0};
    if (!query_int(&call->query, "after", 0, QUERY_INT_MAX, &events->after, call->arena,
                   &problem)) {
        reply_problem(call, &problem);
        return false;
    }
    return page_read_limit(call, &events->limit) &&
           page_read_cursor_number(call, purpose_of(call, "events", &events->stream),
                                   &events->after);
}

static void read_events(call_t *call, const uuid_t *stream, const pg_stmt_t *stmt)
{
    if (route_wants_feed(call)) {
        route_feed(call, stream);
        return;
    }
    events_t *events = arena_alloc(call->arena, sizeof *events);
    *events = (events_t){.stream = *stream, .stmt = stmt};
    if (!read_events_query(call, events))
        return;
    call->state = events;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, stream);
    call_put_lists(call, params);
    pg_put_i64(params, events->after);
    pg_put_i64(params, events->limit + 1);
    call_read(call, stmt, params, show_events);
}

void route_list_events(call_t *call)
{
    read_events(call, &call->ids[0], &select_list_events);
}

void route_me_events(call_t *call)
{
    if (call->identity.n_lists > 0)
        reply_err(call, ERR_FORBIDDEN, "This token is only for some lists.");
    else
        read_events(call, &call->identity.account, &select_my_events);
}

/* --- the history of a task --- */

static const pg_stmt_t select_history = {UP_TO_PAGE_BYTES(
    "q.id, q.body, q.stream, q.rev, q.epoch, q.type, q.task, q.command, q.by, q.at", "id",
    "SELECT v.* FROM event v JOIN member m ON m.list = v.stream AND m.account = $1::uuid"
    " JOIN list l ON l.id = v.stream AND l.deleted_at IS NULL"
    " WHERE v.task = $2::uuid AND ($3::uuid[] IS NULL OR v.stream = ANY($3::uuid[]))"
    " AND v.id > $4::bigint ORDER BY v.id LIMIT $5::bigint") " ORDER BY q.id"};

/* What a purge leaves. */
static bool put_header(const pg_result_t *result, int row, buf_t *out)
{
    event_t event = {
        .stream = pg_uuid(result, row, 2),
        .rev = pg_int(result, row, 3),
        .type = (event_type_t)pg_int(result, row, 5),
        .task = pg_uuid(result, row, 6),
        .command = pg_uuid(result, row, 7),
        .by = pg_uuid(result, row, 8),
        .at_us = pg_instant(result, row, 9),
    };
    slice_t epoch = pg_bytes(result, row, 4);
    if (epoch.n_bytes != EPOCH_CHARS || (unsigned)event.type >= EVENT_TYPE_COUNT)
        return false;
    memcpy(event.epoch, epoch.data, EPOCH_CHARS);
    event_put_json(&event, out);
    return true;
}

static bool put_history(const pg_result_t *result, int n_items, buf_t *out)
{
    buf_append_str(out, "{\"items\":[");
    for (int row = 0; row < n_items; row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        bool is_put = pg_is_null(result, row, 1) ? put_header(result, row, out)
                                                 : put_event(result, row, 1, out);
        if (!is_put)
            return false;
    }
    return true;
}

static void show_history(call_t *call, const pg_result_t *result)
{
    bool more;
    int64_t limit;
    if (!page_read_limit(call, &limit))
        return;
    if (pg_rows(result) == 0 && query_get(&call->query, "cursor").data == NULL) {
        reply_err(call, ERR_NOT_FOUND, "There is no such task, or you may not see it.");
        return;
    }
    buf_t *out = reply_buffer(call);
    int n_items = count_items(result, 0, 10, limit, &more);
    slice_t place =
        more ? page_place_of_number(call, pg_int(result, n_items - 1, 0)) : slice_none();
    if (!put_history(result, n_items, out))
        reply_err(call, ERR_INTERNAL, "What is stored cannot be shown.");
    else if (page_put_next(call, out, purpose_of(call, "history", &call->ids[0]), place))
        reply_json(call, 200, buf_slice(out));
}

void route_task_history(call_t *call)
{
    int64_t limit;
    int64_t after = 0;
    if (!page_read_limit(call, &limit) ||
        !page_read_cursor_number(call, purpose_of(call, "history", &call->ids[0]), &after))
        return;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    pg_put_i64(params, after);
    pg_put_i64(params, limit + 1);
    call_read(call, &select_history, params, show_history);
}
