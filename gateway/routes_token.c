/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for programs, and the list of all tokens, sessions included. A secret is shown once, in
 * the answer that made it: a repeat of that request cannot show it again, because only its hash is
 * kept. */
#include "gateway/auth.h"
#include "gateway/object.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/data.h"
#include "schema/limits.h"

#define TOKENS_PURPOSE "tokens"

/* --- reading --- */

#define TOKEN_COLUMNS                                                                              \
    "SELECT t.id, t.kind, t.name, t.scopes, t.lists, t.created_at, t.expires_at FROM token t"

static const pg_stmt_t select_tokens = {
    TOKEN_COLUMNS " WHERE t.account = $1::uuid"
                  " AND t.id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')"
                  " AND (t.expires_at IS NULL OR t.expires_at > now())"
                  " ORDER BY t.id LIMIT $3::bigint"};
static const pg_stmt_t select_token = {TOKEN_COLUMNS
                                       " WHERE t.account = $1::uuid AND t.id = $2::uuid"};

static void put_scopes(int64_t scopes, buf_t *out)
{
    bool can_read = (scopes & SCOPE_READ) != 0;
    bool can_write = (scopes & SCOPE_WRITE) != 0;
    mp_put_cstr(out, "scopes");
    mp_put_array(out, (size_t)can_read + can_write);
    if (can_read)
        mp_put_cstr(out, "read");
    if (can_write)
        mp_put_cstr(out, "write");
}

/* None means all, and is shown as null. */
static void put_lists(const pg_result_t *result, int row, buf_t *out)
{
    uuid_t lists[LIMIT_TOKEN_LISTS];
    size_t n_lists = pg_uuid_array(result, row, 4, lists, LIMIT_TOKEN_LISTS);
    mp_put_cstr(out, "lists");
    if (n_lists == 0) {
        mp_put_nil(out);
        return;
    }
    mp_put_array(out, n_lists);
    for (size_t i = 0; i < n_lists; i++)
        mp_put_uuid(out, &lists[i]);
}

static void put_token(call_t *call, const pg_result_t *result, int row, slice_t secret, buf_t *out)
{
    uuid_t id = pg_uuid(result, row, 0);
    bool is_session = pg_int(result, row, 1) == TOKEN_SESSION;
    mp_put_map(out, secret.data == NULL ? 8 : 9);
    object_uuid(out, "id", &id);
    object_text(out, "kind", slice_str(is_session ? "session" : "api"));
    object_text(out, "name", pg_bytes(result, row, 2));
    put_scopes(pg_int(result, row, 3), out);
    put_lists(result, row, out);
    object_instant(out, "created_at", pg_instant(result, row, 5));
    object_instant(out, "expires_at", pg_instant(result, row, 6));
    object_bool(out, "current", uuid_eq(&id, &call->identity.token));
    if (secret.data != NULL)
        object_text(out, "token", secret);
}

static void put_item(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    put_token(call, result, row, slice_none(), out);
}

static void show_tokens(call_t *call, const pg_result_t *result)
{
    int64_t limit;
    if (page_read_limit(call, &limit))
        page_reply_by_id(call, result, slice_str(TOKENS_PURPOSE), limit, 0, put_item);
}

void route_tokens_get(call_t *call)
{
    int64_t limit;
    uuid_t after;
    if (!page_read_limit(call, &limit) ||
        !page_read_cursor_id(call, slice_str(TOKENS_PURPOSE), &after))
        return;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &after);
    pg_put_i64(params, limit + 1);
    call_read(call, &select_tokens, params, show_tokens);
}

/* --- making one --- */

typedef struct {
    uuid_t id;
    bool is_replay;
    char secret[AUTH_SECRET_CHARS + 1];
} made_t;

static void show_made(call_t *call, const pg_result_t *result)
{
    const made_t *made = call->state;
    buf_t buf = {0};
    if (pg_rows(result) == 0) {
        /* A repeat, and deleted meanwhile. */
        mp_put_map(&buf, 1);
        object_uuid(&buf, "id", &made->id);
    } else {
        put_token(call, result, 0, made->is_replay ? slice_none() : slice_str(made->secret), &buf);
    }
    reply_mp(call, 201, buf_slice(&buf));
    buf_fini(&buf);
}

static void on_made(call_t *call, const result_t *result)
{
    made_t *made = call->state;
    if (!call_succeeded(call, result))
        return;
    made->is_replay = result->outcome.is_replay;
    write_put_headers(call, result);
    write_put_location(call, "/v1/tokens/", &made->id);
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &made->id);
    call_read(call, &select_token, params, show_made);
}

/* The fields that clients may give go on as they are; the writer checks them. */
static const char *const client_fields[] = {"name", "scopes", "lists", "expires_at"};
#define N_CLIENT_FIELDS (sizeof client_fields / sizeof *client_fields)

static bool check_fields(call_t *call, slice_t body)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        for (size_t i = 0; i < N_CLIENT_FIELDS; i++)
            data_get(&map, client_fields[i], &value);
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static void put_data(slice_t body, const made_t *made, buf_t *out)
{
    slice_t value;
    size_t n_pairs = 3;
    uint8_t hash[AUTH_HASH_BYTES];
    size_t place = mp_open(out);
    auth_hash_secret(slice_str(made->secret), hash);
    object_uuid(out, "id", &made->id);
    object_text(out, "kind", slice_str("api"));
    mp_put_cstr(out, "hash");
    mp_put_bin(out, slice_of(hash, sizeof hash));
    for (size_t i = 0; i < N_CLIENT_FIELDS; i++) {
        if (!mp_map_find(body, client_fields[i], &value))
            continue;
        mp_put_cstr(out, client_fields[i]);
        mp_put_raw(out, value);
        n_pairs++;
    }
    mp_close_map(out, place, n_pairs);
}

/* The id is drawn from account and command, so that a repeat speaks of the same token. */
void route_tokens_post(call_t *call)
{
    command_t command;
    slice_t body;
    if (!write_begin(call, OP_TOKEN_CREATE, &command) || !write_read_body(call, true, &body) ||
        !check_fields(call, body))
        return;
    made_t *made = arena_alloc(call->arena, sizeof *made);
    made->id = write_stamp_id(uuid_derive(&command.author, slice_of(command.id.bytes, UUID_BYTES)),
                              &command.id);
    auth_make_secret(made->secret);
    call->state = made;
    command.list = command.author;
    command.data = body;
    command_fingerprint(&command);
    buf_t data = {0};
    put_data(body, made, &data);
    command.data = buf_slice(&data);
    call_submit(call, &command, on_made);
    buf_fini(&data);
}

/* --- deleting one --- */

static void on_deleted(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    access_t access = {.account = call->identity.account, .token = call->ids[0]};
    auth_forget(call->gateway->auth, &access);
    write_put_headers(call, result);
    reply_empty(call, 204);
}

void route_token_delete(call_t *call)
{
    command_t command;
    buf_t data = {0};
    if (!write_begin(call, OP_TOKEN_DELETE, &command))
        return;
    mp_put_map(&data, 1);
    object_uuid(&data, "token", &call->ids[0]);
    command.list = command.author;
    command.data = buf_slice(&data);
    command_fingerprint(&command);
    call_submit(call, &command, on_deleted);
    buf_fini(&data);
}
