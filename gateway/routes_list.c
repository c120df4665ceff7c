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
#define DELETED_PURPOSE "deleted lists"

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

#define LIST_COLUMNS(which)                                                                        \
    "SELECT l.id, l.title, l.rev, s.head, m.role, s.n_open, l.is_archived, l.created_at,"          \
    " l.created_by, l.updated_at, e.epoch, l.deleted_at"                                           \
    " FROM member m JOIN list l ON l.id = m.list AND " which                                       \
    " JOIN stream s ON s.id = m.list CROSS JOIN log_epoch e"
#define THERE "l.deleted_at IS NULL"
#define DELETED "l.deleted_at IS NOT NULL AND m.role = 3"

static const pg_stmt_t select_list = {
    LIST_COLUMNS(THERE) " WHERE m.account = $1::uuid AND m.list = $2::uuid"
                        " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"};

static void put_list(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    (void)call;
    uuid_t id = pg_uuid(result, row, 0);
    uuid_t created_by = pg_uuid(result, row, 8);
    bool is_deleted = !pg_is_null(result, row, 11);
    mp_put_map(out, 10 + (size_t)is_deleted);
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
    if (is_deleted)
        object_instant(out, "deleted_at", pg_instant(result, row, 11));
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

#define PAGE                                                                                       \
    " WHERE m.account = $1::uuid"                                                                  \
    " AND m.list > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')"                     \
    " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"                                        \
    " ORDER BY m.list LIMIT $4::bigint"

static const pg_stmt_t select_lists = {LIST_COLUMNS(THERE) PAGE};
/* Those that I may restore. */
static const pg_stmt_t select_deleted = {LIST_COLUMNS(DELETED) PAGE};

const param_t route_lists_params[] = {
    {"deleted", PARAM_ONCE},
    {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};

static bool read_deleted(call_t *call, bool *is_deleted)
{
    static const char *const words[] = {"false", "true", NULL};
    problem_t problem = {0};
    int word = 0;
    size_t n = 0;
    bool ok = query_words(&call->query, "deleted", words, 1, &word, &n, call->arena, &problem);
    *is_deleted = word == 1;
    if (!ok)
        reply_problem(call, &problem);
    return ok;
}

static slice_t purpose_of(bool is_deleted)
{
    return slice_str(is_deleted ? DELETED_PURPOSE : LISTS_PURPOSE);
}

static void show_lists(call_t *call, const pg_result_t *result)
{
    int64_t limit = LIMIT_PAGE_DEFAULT;
    bool is_deleted;
    if (page_read_limit(call, &limit) && read_deleted(call, &is_deleted))
        page_reply_by_id(call, result, purpose_of(is_deleted), limit, 0, put_list);
}

void route_lists_get(call_t *call)
{
    int64_t limit;
    uuid_t after;
    bool is_deleted;
    if (!page_read_limit(call, &limit) || !read_deleted(call, &is_deleted) ||
        !page_read_cursor_id(call, purpose_of(is_deleted), &after))
        return;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &after);
    call_put_lists(call, params);
    pg_put_i64(params, limit + 1);
    call_read(call, is_deleted ? &select_deleted : &select_lists, params, show_lists);
}

/* --- making one --- */

/* To who may write but not read: only the id. */
static void reply_id(call_t *call, int status, const uuid_t *id, int64_t rev)
{
    buf_t buf = {0};
    mp_put_map(&buf, 2);
    object_uuid(&buf, "id", id);
    object_int(&buf, "rev", rev);
    reply_mp(call, status, buf_slice(&buf));
    buf_fini(&buf);
}

/* What a command made or changed. */
typedef struct {
    uuid_t id;
    int64_t rev;
    int status;
} written_t;

/* On a repeat the list may be gone by now. */
static void show_written(call_t *call, const pg_result_t *result)
{
    const written_t *written = call->state;
    if (pg_rows(result) == 0) {
        reply_id(call, written->status, &written->id, written->rev);
        return;
    }
    reply_header(call, "ETag", etag_of_row(call, result));
    reply_list(call, result, written->status);
}

static bool may_read(const call_t *call)
{
    return (call->identity.scopes & SCOPE_READ) != 0;
}

/* Keeps what the result names; it does not live as long as the read that follows. */
static void answer_written(call_t *call, const result_t *result, int status)
{
    written_t *written = arena_alloc(call->arena, sizeof *written);
    *written = (written_t){result->outcome.stream, result->outcome.rev, status};
    call->state = written;
    write_put_headers(call, result);
    if (may_read(call))
        read_list(call, &written->id, show_written);
    else
        reply_id(call, status, &written->id, written->rev);
}

static void on_list_made(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    write_put_location(call, "/v1/lists/", &result->outcome.stream);
    answer_written(call, result, 201);
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

/* --- changing one, deleting and restoring it --- */

static void on_list_changed(call_t *call, const result_t *result)
{
    if (call_succeeded(call, result))
        answer_written(call, result, 200);
}

static void on_list_deleted(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    write_put_headers(call, result);
    reply_empty(call, 204);
}

static void change(call_t *call, op_t op, bool takes_body, call_result_f *next)
{
    command_t command;
    bool needs_body = op == OP_LIST_PATCH;
    if (!write_begin(call, op, &command))
        return;
    command.list = call->ids[0];
    if (!write_expect_list(call, &command) ||
        (takes_body && !write_read_body(call, needs_body, &command.data)))
        return;
    command_fingerprint(&command);
    call_submit(call, &command, next);
}

void route_list_patch(call_t *call)
{
    change(call, OP_LIST_PATCH, true, on_list_changed);
}

void route_list_delete(call_t *call)
{
    change(call, OP_LIST_DELETE, false, on_list_deleted);
}

void route_list_restore(call_t *call)
{
    change(call, OP_LIST_RESTORE, true, on_list_changed);
}
