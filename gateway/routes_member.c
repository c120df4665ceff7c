/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a list. Clients name a new one by e-mail address, commands by account. Whether an
 * address belongs to an account is only told by the writer's refusal, which comes after it has made
 * sure that an owner asks; the lookup before it tells nobody anything. */
#include "gateway/by_email.h"
#include "gateway/object.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/data.h"
#include "schema/limits.h"

/* --- reading --- */

#define MEMBER_COLUMNS "x.account, x.role, x.since, a.name, a.email"
#define MAY_SEE_LIST                                                                               \
    " FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"                         \
    " JOIN stream s ON s.id = m.list"
#define IS_MEMBER                                                                                  \
    " WHERE m.account = $1::uuid AND m.list = $2::uuid"                                            \
    " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"

static const pg_stmt_t select_members = {
    "SELECT p.account, p.role, p.since, p.name, p.email, s.head" MAY_SEE_LIST
    " LEFT JOIN LATERAL (SELECT " MEMBER_COLUMNS
    " FROM member x JOIN account a ON a.id = x.account WHERE x.list = m.list"
    " AND x.account > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')"
    " ORDER BY x.account LIMIT $5::bigint) p ON true" IS_MEMBER " ORDER BY p.account"};

static void put_member(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    (void)call;
    uuid_t account = pg_uuid(result, row, 0);
    mp_put_map(out, 5);
    object_uuid(out, "account", &account);
    object_text(out, "role", slice_str(role_name((role_t)pg_int(result, row, 1))));
    object_text(out, "name", pg_bytes(result, row, 3));
    object_text(out, "email", pg_bytes(result, row, 4));
    object_instant(out, "since", pg_instant(result, row, 2));
}

static slice_t purpose_of(const call_t *call)
{
    char list[UUID_TEXT_CHARS];
    uuid_format(&call->ids[0], list);
    return arena_format(call->arena, "members %.*s", UUID_TEXT_CHARS, list);
}

static void show_members(call_t *call, const pg_result_t *result)
{
    int64_t limit;
    if (pg_rows(result) == 0)
        reply_err(call, ERR_NOT_FOUND, "There is no such list, or you are no member of it.");
    else if (!call_must_wait(call, pg_int(result, 0, 5)) && page_read_limit(call, &limit))
        page_reply_by_id(call, result, purpose_of(call), limit, 0, put_member);
}

void route_members_get(call_t *call)
{
    int64_t limit;
    uuid_t after;
    if (!page_read_limit(call, &limit) || !page_read_cursor_id(call, purpose_of(call), &after))
        return;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    pg_put_uuid(params, &after);
    pg_put_i64(params, limit + 1);
    call_read(call, &select_members, params, show_members);
}

/* --- adding one --- */

static const pg_stmt_t select_account_of = {
    "SELECT id FROM account WHERE lower(email) = lower($1::text)"};
static const pg_stmt_t select_member = {"SELECT " MEMBER_COLUMNS MAY_SEE_LIST
                                        " JOIN member x ON x.list = m.list AND x.account = $4::uuid"
                                        " JOIN account a ON a.id = x.account" IS_MEMBER};

typedef struct {
    command_t command;
    slice_t role; /* as it was sent; absent: it was not */
    uuid_t account;
    int64_t rev;
    int status;
} adding_t;

static bool read_adding(call_t *call, slice_t body, adding_t *out, slice_t *email)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        if (data_need(&map, "email", &value))
            data_line(&value, 1, LIMIT_EMAIL_BYTES, email);
        if (data_get(&map, "role", &value) != DATA_ABSENT)
            out->role = value.raw;
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static slice_t encode_adding(call_t *call, const adding_t *adding)
{
    bool has_account = !uuid_is_nil(&adding->account);
    bool has_role = adding->role.data != NULL;
    buf_t buf = {0};
    mp_put_map(&buf, (size_t)has_account + has_role);
    if (has_account)
        object_uuid(&buf, "account", &adding->account);
    if (has_role) {
        mp_put_cstr(&buf, "role");
        mp_put_raw(&buf, adding->role);
    }
    slice_t data = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

static void refuse(call_t *call, const problem_t *problem)
{
    problem_t shown = *problem;
    by_email_name(&shown);
    reply_problem(call, &shown);
}

static void reply_adding(call_t *call, const adding_t *adding)
{
    buf_t buf = {0};
    mp_put_map(&buf, 2);
    object_uuid(&buf, "account", &adding->account);
    object_int(&buf, "rev", adding->rev);
    reply_mp(call, adding->status, buf_slice(&buf));
    buf_fini(&buf);
}

/* On a repeat the member may be gone by now. */
static void show_added(call_t *call, const pg_result_t *result)
{
    const adding_t *adding = call->state;
    if (pg_rows(result) == 0) {
        reply_adding(call, adding);
        return;
    }
    buf_t buf = {0};
    put_member(call, result, 0, &buf);
    reply_mp(call, adding->status, buf_slice(&buf));
    buf_fini(&buf);
}

static void put_location(call_t *call, const adding_t *adding)
{
    char list[UUID_TEXT_CHARS];
    uuid_format(&call->ids[0], list);
    slice_t path = arena_format(call->arena, "/v1/lists/%.*s/members/", UUID_TEXT_CHARS, list);
    write_put_location(call, (const char *)path.data, &adding->account);
}

static void answer(call_t *call, adding_t *adding, const result_t *result, int status)
{
    adding->rev = result->outcome.rev;
    adding->status = status;
    write_put_headers(call, result);
    if ((call->identity.scopes & SCOPE_READ) == 0) {
        reply_adding(call, adding);
        return;
    }
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    pg_put_uuid(params, &adding->account);
    call_read(call, &select_member, params, show_added);
}

static void on_added(call_t *call, const result_t *result)
{
    adding_t *adding = call->state;
    if (result->outcome.problem.err != ERR_OK) {
        refuse(call, &result->outcome.problem);
        return;
    }
    put_location(call, adding);
    answer(call, adding, result, 201);
}

static void on_account(call_t *call, const pg_result_t *result)
{
    adding_t *adding = call->state;
    if (pg_rows(result) > 0)
        adding->account = pg_uuid(result, 0, 0);
    adding->command.data = encode_adding(call, adding);
    call_submit(call, &adding->command, on_added);
}

void route_members_post(call_t *call)
{
    adding_t *adding = arena_alloc(call->arena, sizeof *adding);
    slice_t body;
    slice_t email = slice_none();
    if (!write_begin(call, OP_MEMBER_PUT, &adding->command) ||
        !write_read_body(call, true, &body) || !read_adding(call, body, adding, &email))
        return;
    adding->command.list = call->ids[0];
    if (!write_expect_list(call, &adding->command))
        return;
    adding->command.data = body;
    command_fingerprint(&adding->command);
    call->state = adding;
    pg_params_t *params = call_params(call);
    pg_put_text(params, email);
    call_read(call, &select_account_of, params, on_account);
}

/* --- giving one another role --- */

static bool read_role(call_t *call, slice_t body, slice_t *role)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        if (data_need(&map, "role", &value))
            *role = value.raw;
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static void on_changed(call_t *call, const result_t *result)
{
    if (call_succeeded(call, result))
        answer(call, call->state, result, 200);
}

/* Whoever left meanwhile is not added again. */
static void put_change(const adding_t *adding, buf_t *data)
{
    mp_put_map(data, 3);
    object_uuid(data, "account", &adding->account);
    mp_put_cstr(data, "role");
    mp_put_raw(data, adding->role);
    object_bool(data, "add", false);
}

void route_member_patch(call_t *call)
{
    adding_t *adding = arena_alloc(call->arena, sizeof *adding);
    command_t *command = &adding->command;
    slice_t body;
    if (!write_begin(call, OP_MEMBER_PUT, command) || !write_read_body(call, true, &body) ||
        !read_role(call, body, &adding->role))
        return;
    command->list = call->ids[0];
    adding->account = call->ids[1];
    if (!write_expect_list(call, command))
        return;
    buf_t data = {0};
    put_change(adding, &data);
    command->data = buf_slice(&data);
    command_fingerprint(command);
    call->state = adding;
    call_submit(call, command, on_changed);
    buf_fini(&data);
}

/* --- taking one out, or leaving --- */

static void on_removed(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    write_put_headers(call, result);
    reply_empty(call, 204);
}

void route_member_delete(call_t *call)
{
    command_t command;
    buf_t data = {0};
    if (!write_begin(call, OP_MEMBER_REMOVE, &command))
        return;
    command.list = call->ids[0];
    if (!write_expect_list(call, &command))
        return;
    mp_put_map(&data, 1);
    object_uuid(&data, "account", &call->ids[1]);
    command.data = buf_slice(&data);
    command_fingerprint(&command);
    call_submit(call, &command, on_removed);
    buf_fini(&data);
}
