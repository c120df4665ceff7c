/* SPDX-License-Identifier: Apache-2.0 */
/* A series: its occurrences, the newest first, and the due dates that follow the open one. Changes
 * are commands on one occurrence, the open one, which is looked up first; if it is another one by
 * the time the command is applied, it is looked up again. */
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/json.h"
#include "schema/next_due.h"

#define MAX_UPCOMING 500
#define DEFAULT_UPCOMING 5
#define TRIES 3
#define NEVER (-1) /* a revision */
#define NO_SERIES "There is no such series, or you may not see it."

const param_t route_series_params[] = {
    {"upcoming", PARAM_ONCE},
    {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};

/* $1 account, $2 series, $3 the lists of the token. The open occurrence, else the last one. */
#define OCCURRENCES                                                                                \
    " FROM task t JOIN member m ON m.list = t.list AND m.account = $1::uuid"                       \
    " JOIN list l ON l.id = t.list AND l.deleted_at IS NULL"                                       \
    " WHERE t.series = $2::uuid AND t.deleted_at IS NULL"                                          \
    " AND ($3::uuid[] IS NULL OR t.list = ANY($3::uuid[]))"
static const pg_stmt_t select_open = {"SELECT t.body" OCCURRENCES
                                      " ORDER BY (t.status < 2) DESC, t.occurrence DESC LIMIT 1"};
/* As many as are not too large for a page; `n` tells whether there are more. */
static const pg_stmt_t select_occurrences = {
    "SELECT q.occurrence, q.body, q.n FROM (SELECT c.*, count(*) OVER () AS n,"
    " sum(octet_length(c.body)) OVER (ORDER BY c.occurrence DESC"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM ("
    "SELECT t.occurrence, t.body" OCCURRENCES
    " AND t.occurrence < $4::bigint ORDER BY t.occurrence DESC LIMIT $5::bigint) c) q"
    " WHERE coalesce(q.before, 0) < " PAGE_MAX_BYTES_SQL " ORDER BY q.occurrence DESC"};

typedef struct {
    task_t task; /* the open occurrence, else the last one */
    int64_t n_upcoming;
    int64_t limit;
    int64_t before; /* only occurrences with smaller numbers */
    command_t command;
    int n_tries;
} series_t;

static pg_params_t *params_of(call_t *call)
{
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    return params;
}

/* Reads what select_open found. False: answered. */
static bool read_open(call_t *call, const pg_result_t *result)
{
    series_t *self = call->state;
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, NO_SERIES);
        return false;
    }
    slice_t body = arena_copy(call->arena, pg_bytes(result, 0, 0));
    if (task_decode(body, call->arena, &self->task))
        return true;
    reply_err(call, ERR_INTERNAL, "What is stored cannot be read.");
    return false;
}

/* --- reading --- */

/* What follows the open occurrence, if each is closed in time. */
static void put_upcoming(call_t *call, const series_t *self, buf_t *out)
{
    recur_t recur;
    slice_t why;
    due_t due;
    zone_fit_t fit;
    char at[INSTANT_TEXT_CHARS + 1];
    buf_append_str(out, "\"upcoming\":[");
    bool is_open = task_is_live(&self->task) && self->task.rule.data != NULL &&
                   recur_open_task(&self->task, call->arena, &recur, &why);
    for (int64_t i = 1; is_open && i <= self->n_upcoming; i++) {
        if (recur_next(&recur, call->arena, &due, &fit) != RULE_FOUND ||
            !rule_allows(&recur.rule, self->task.occurrence + i, &due.local, due.at_us))
            break;
        buf_append_str(out, i == 1 ? "{\"due\":" : ",{\"due\":");
        json_put_str(out, due.text);
        buf_format(out, ",\"due_at\":\"%.*s\"}", (int)instant_format(due.at_us, at), at);
    }
    buf_append_str(out, "],");
}

static slice_t purpose_of(call_t *call)
{
    char series[UUID_TEXT_CHARS];
    uuid_format(&call->ids[0], series);
    return arena_format(call->arena, "series %.*s", UUID_TEXT_CHARS, series);
}

static bool put_occurrences(const pg_result_t *result, int n_items, buf_t *out)
{
    buf_append_str(out, "\"items\":[");
    for (int row = 0; row < n_items; row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        if (!json_from_mp(pg_bytes(result, row, 1), out))
            return false;
    }
    return true;
}

static void show_series(call_t *call, const pg_result_t *result)
{
    const series_t *self = call->state;
    buf_t *out = reply_buffer(call);
    char series[UUID_TEXT_CHARS];
    int n_items = pg_rows(result) > self->limit ? (int)self->limit : pg_rows(result);
    bool has_more = n_items > 0 && pg_int(result, 0, 2) > n_items;
    uuid_format(&call->ids[0], series);
    buf_format(out, "{\"series\":\"%.*s\",", UUID_TEXT_CHARS, series);
    put_upcoming(call, self, out);
    if (!put_occurrences(result, n_items, out)) {
        reply_err(call, ERR_INTERNAL, "What is stored cannot be shown.");
        return;
    }
    slice_t place =
        has_more ? page_place_of_number(call, pg_int(result, n_items - 1, 0)) : slice_none();
    if (page_put_next(call, out, purpose_of(call), place))
        reply_json(call, 200, buf_slice(out));
}

static void go_on_with_open(call_t *call, const pg_result_t *result)
{
    const series_t *self = call->state;
    if (!read_open(call, result))
        return;
    pg_params_t *params = params_of(call);
    pg_put_i64(params, self->before);
    pg_put_i64(params, self->limit + 1);
    call_read(call, &select_occurrences, params, show_series);
}

void route_series_get(call_t *call)
{
    problem_t problem = {0};
    series_t *self = arena_alloc(call->arena, sizeof *self);
    call->state = self;
    self->n_upcoming = DEFAULT_UPCOMING;
    self->before = INT64_MAX;
    if (!query_int(&call->query, "upcoming", 0, MAX_UPCOMING, &self->n_upcoming, call->arena,
                   &problem)) {
        reply_problem(call, &problem);
        return;
    }
    if (page_read_limit(call, &self->limit) &&
        page_read_cursor_number(call, purpose_of(call), &self->before))
        call_read(call, &select_open, params_of(call), go_on_with_open);
}

/* --- changing --- */

static void send_to_open(call_t *call, const pg_result_t *result);

/* The occurrence was closed meanwhile: the one after it is meant now. */
static void on_changed(call_t *call, const result_t *result)
{
    series_t *self = call->state;
    err_t err = result->outcome.problem.err;
    bool is_asked = request_header(call->request, HEADER_IF_MATCH).data != NULL;
    if (err == ERR_NOT_FOUND)
        reply_err(call, ERR_NOT_FOUND, NO_SERIES);
    else if (err == ERR_PRECONDITION_FAILED && !task_is_live(&self->task))
        reply_err(call, ERR_CONFLICT, "No occurrence of this series is open.");
    else if (err == ERR_PRECONDITION_FAILED && !is_asked && ++self->n_tries < TRIES)
        call_read(call, &select_open, params_of(call), send_to_open);
    else if (call_succeeded(call, result))
        route_task_answer(call, result, 200);
}

static slice_t data_with(call_t *call, const char *key, const char *word)
{
    buf_t buf = {0};
    mp_put_map(&buf, 1);
    mp_put_cstr(&buf, key);
    if (word == NULL)
        mp_put_nil(&buf);
    else
        mp_put_cstr(&buf, word);
    slice_t data = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

/* At the open occurrence as it was seen. A series without one ends by the last one recurring no
 * more; it cannot be changed otherwise, but by a repeat of what was done when there was one, which
 * is why the command is sent all the same, for a revision that never was. */
static bool aim(call_t *call, const series_t *self, command_t *command)
{
    command->task = self->task.id;
    if (!write_expect_task(call, command))
        return false;
    if (task_is_live(&self->task)) {
        command->expect = command->expect == 0 ? self->task.rev : command->expect;
    } else if (command->op == OP_TASK_DELETE) {
        command->op = OP_TASK_PATCH;
        command->data = data_with(call, "recurrence", NULL);
    } else {
        command->expect = NEVER;
    }
    return true;
}

/* Where all are gone, the first, which the series is named after, still tells a repeat. */
static void send_to_open(call_t *call, const pg_result_t *result)
{
    series_t *self = call->state;
    command_t command = self->command;
    if (pg_rows(result) == 0)
        command.task = call->ids[0];
    else if (!read_open(call, result) || !aim(call, self, &command))
        return;
    call_submit(call, &command, on_changed);
}

/* The fingerprint is of what was asked: a repeat may find another occurrence open. */
static void change(call_t *call, series_t *self)
{
    uuid_t series = call->ids[0];
    self->command.task = series;
    command_fingerprint(&self->command);
    call->state = self;
    call_read(call, &select_open, params_of(call), send_to_open);
}

/* A due date for the series is where its rule starts anew. */
static slice_t with_new_start(call_t *call, slice_t body)
{
    slice_t value;
    mp_reader_t reader = mp_reader(body);
    uint32_t n_pairs = 0;
    buf_t buf = {0};
    if (!mp_map_find(body, "due", &value) || mp_map_find(body, "recurrence", &value) ||
        !mp_get_map(&reader, &n_pairs))
        return body;
    mp_put_map(&buf, n_pairs + 1);
    buf_append(&buf, reader.at, (size_t)(reader.end - reader.at));
    mp_put_cstr(&buf, "recurrence");
    mp_put_raw(&buf, data_with(call, "start", NULL));
    slice_t data = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

void route_series_patch(call_t *call)
{
    slice_t body;
    series_t *self = arena_alloc(call->arena, sizeof *self);
    if (!write_begin(call, OP_TASK_PATCH, &self->command) || !write_read_body(call, true, &body))
        return;
    self->command.data = with_new_start(call, body);
    change(call, self);
}

void route_series_delete(call_t *call)
{
    series_t *self = arena_alloc(call->arena, sizeof *self);
    if (!write_begin(call, OP_TASK_DELETE, &self->command))
        return;
    self->command.data = data_with(call, "series", "all");
    change(call, self);
}
