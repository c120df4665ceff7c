/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and their members. A list's own events say what changed; what is shown here is read after
 * the commit, so an answer may already know more than the command did. */
#include "gateway/etag.h"
#include "gateway/http.h"
#include "gateway/object.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"

#define LISTS_PURPOSE "lists"

const param_t route_page_params[] = {
    {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};
const param_t route_min_rev_params[] = {
    {"min_rev", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};
const param_t route_list_page_params[] = {
    {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE},
    {"min_rev", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};

/* --- one list --- */

#define LIST_COLUMNS                                                                               \
    "SELECT l.id, l.title, l.rev, s.head, m.role, s.n_open, l.is_archived, l.created_at,"          \
    " l.created_by, l.updated_at, e.epoch"                                                         \
    " FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"                         \
    " JOIN stream s ON s.id = m.list CROSS JOIN log_epoch e"

static const pg_stmt_t select_list = {LIST_COLUMNS
                                      " WHERE m.account = $1::uuid AND m.list = $2::uuid"
                                      " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"};

static void put_list(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    (void)call;
    uuid_t id = pg_uuid(result, row, 0);
    uuid_t created_by = pg_uuid(result, row, 8);
    mp_put_map(out, 10);
    object_uuid(out, "id", &id);
    object_text(out, "title", pg_bytes(result, row, 1));
    object_int(out, "rev", pg_int(result, row, 2));
    object_int(out, "head", pg_int(result, row, 3));
    object_text(out, "role", slice_str(role_name((role_t)pg_int(result, row, 4))));
    object_int(out, "open", pg_int(result, row, 5));
    object_bool(out, "archived", pg_bool(result, row, 6));
    object_instant(out, "created_at", pg_instant(result, row, 7));
    object_uuid(out, "created_by", &created_by);
    object_instant(out, "updated_at", pg_instant(result, row, 9));
}

static slice_t etag_of_row(call_t *call, const pg_result_t *result)
{
    list_tag_t tag = {
        .list = pg_uuid(result, 0, 0),
        .rev = pg_int(result, 0, 2),
        .head = pg_int(result, 0, 3),
        .n_open = pg_int(result, 0, 5),
        .role = (int)pg_int(result, 0, 4),
    };
    slice_t epoch = pg_bytes(result, 0, 10);
    history_note(&call->gateway->http->history, epoch);
    return etag_of_list((const char *)epoch.data, &tag, call->arena);
}

static void reply_list(call_t *call, const pg_result_t *result, int status)
{
    buf_t item = {0};
    put_list(call, result, 0, &item);
    reply_mp(call, status, buf_slice(&item));
    buf_fini(&item);
}

static bool find_list(call_t *call, const pg_result_t *result)
{
    if (pg_rows(result) > 0)
        return true;
    reply_err(call, ERR_NOT_FOUND, "There is no such list, or you are no member of it.");
    return false;
}

static void show_list(call_t *call, const pg_result_t *result)
{
    if (!find_list(call, result) || call_must_wait(call, pg_int(result, 0, 3)))
        return;
    if (!reply_etag(call, etag_of_row(call, result)))
        reply_list(call, result, 200);
}

static void read_list(call_t *call, const uuid_t *list, call_read_f *next)
{
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, list);
    call_put_lists(call, params);
    call_read(call, &select_list, params, next);
}

void route_list_get(call_t *call)
{
    read_list(call, &call->ids[0], show_list);
}

/* --- all my lists --- */

static const pg_stmt_t select_lists = {
    LIST_COLUMNS " WHERE m.account = $1::uuid"
                 " AND m.list > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')"
                 " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"
                 " ORDER BY m.list LIMIT $4::bigint"};

static void show_lists(call_t *call, const pg_result_t *result)
{
    int64_t limit = LIMIT_PAGE_DEFAULT;
    if (page_read_limit(call, &limit))
        page_reply_by_id(call, result, slice_str(LISTS_PURPOSE), limit, 0, put_list);
}

void route_lists_get(call_t *call)
{
    int64_t limit;
    uuid_t after;
    if (!page_read_limit(call, &limit) ||
        !page_read_cursor_id(call, slice_str(LISTS_PURPOSE), &after))
        return;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &after);
    call_put_lists(call, params);
    pg_put_i64(params, limit + 1);
    call_read(call, &select_lists, params, show_lists);
}

/* --- making one --- */

/* To who may write but not read: only the id. */
static void reply_id(call_t *call, const uuid_t *id, int64_t rev)
{
    buf_t buf = {0};
    mp_put_map(&buf, 2);
    object_uuid(&buf, "id", id);
    object_int(&buf, "rev", rev);
    reply_mp(call, 201, buf_slice(&buf));
    buf_fini(&buf);
}

typedef struct {
    uuid_t id;
    int64_t rev;
} made_t;

static void show_made_list(call_t *call, const pg_result_t *result)
{
    const made_t *made = call->state;
    if (pg_rows(result) == 0) {
        reply_id(call, &made->id, made->rev);
        return;
    }
    reply_header(call, "ETag", etag_of_row(call, result));
    reply_list(call, result, 201);
}

/* Keeps what the result names; it does not live as long as the read that follows. */
static const made_t *keep_made(call_t *call, const result_t *result)
{
    made_t *made = arena_alloc(call->arena, sizeof *made);
    *made = (made_t){result->outcome.stream, result->outcome.rev};
    call->state = made;
    return made;
}

static bool may_read(const call_t *call)
{
    return (call->identity.scopes & SCOPE_READ) != 0;
}

static void on_list_made(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    const made_t *made = keep_made(call, result);
    write_put_headers(call, result);
    write_put_location(call, "/v1/lists/", &made->id);
    if (may_read(call))
        read_list(call, &made->id, show_made_list);
    else
        reply_id(call, &made->id, made->rev);
}

void route_lists_post(call_t *call)
{
    command_t command;
    slice_t body;
    if (!write_begin(call, OP_LIST_CREATE, &command) || !write_read_body(call, true, &body) ||
        !write_split_id(call, body, &command.list, &command.data) ||
        !write_expect_list(call, &command))
        return;
    command_fingerprint(&command);
    command.list = command_list(&command);
    call_submit(call, &command, on_list_made);
}
