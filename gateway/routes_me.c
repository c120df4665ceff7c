/* SPDX-License-Identifier: Apache-2.0 */
/* My account. A new password needs the old one, and ends all other logins: their tokens are deleted
 * one by one, each by a command whose id follows from this one's, so that a repeat of the request
 * finishes what a crash may have cut short. */
#include "gateway/http.h"
#include "gateway/logins.h"
#include "gateway/object.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"

/* --- reading --- */

/* A token for some lists sees nothing else of its account. */
static bool is_whole(call_t *call)
{
    if (call->identity.n_lists == 0)
        return true;
    reply_err(call, ERR_FORBIDDEN, "This token is only for some lists.");
    return false;
}

static void show_me(call_t *call, const pg_result_t *result)
{
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such account.");
        return;
    }
    buf_t buf = {0};
    logins_put_account(result, &buf);
    reply_mp(call, 200, buf_slice(&buf));
    buf_fini(&buf);
}

void route_me_get(call_t *call)
{
    if (is_whole(call))
        logins_read_account(call, &call->identity.account, show_me);
}

/* --- changing --- */

typedef struct {
    command_t command;
    slice_t name; /* as it was sent; absent: it was not */
    slice_t time_zone; /* the same */
    slice_t all_day_time; /* the same */
    slice_t password; /* absent: stays */
    slice_t old_password;
    slice_t email; /* in lower case */
    uuid_t *sessions; /* others of mine that end */
    int n_sessions;
} patch_t;

static bool read_patch(call_t *call, slice_t body, patch_t *out)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        if (data_get(&map, "name", &value) != DATA_ABSENT)
            out->name = value.raw;
        if (data_get(&map, "time_zone", &value) != DATA_ABSENT)
            out->time_zone = value.raw;
        if (data_get(&map, "all_day_reminder_time", &value) != DATA_ABSENT)
            out->all_day_time = value.raw;
        if (data_get(&map, "password", &value) != DATA_ABSENT)
            logins_read_new_password(&value, &out->password);
        if (data_get(&map, "old_password", &value) != DATA_ABSENT)
            logins_read_password(&value, &out->old_password);
        else if (out->password.data != NULL)
            data_refuse(&value, "a new password needs the old one");
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static void put_optional(buf_t *out, const char *key, slice_t raw, size_t *n_pairs)
{
    if (raw.data == NULL)
        return;
    mp_put_cstr(out, key);
    mp_put_raw(out, raw);
    ++*n_pairs;
}

/* Without a hash the password is only mentioned: that is what the fingerprint is of, for it is
 * stored and fast to try. */
static slice_t encode_patch(call_t *call, const patch_t *patch, const char *hash)
{
    buf_t buf = {0};
    size_t n_pairs = 0;
    size_t place = mp_open(&buf);
    put_optional(&buf, "name", patch->name, &n_pairs);
    put_optional(&buf, "time_zone", patch->time_zone, &n_pairs);
    put_optional(&buf, "all_day_reminder_time", patch->all_day_time, &n_pairs);
    if (patch->password.data != NULL) {
        object_text(&buf, "password_hash", slice_str(hash == NULL ? "" : hash));
        n_pairs++;
    }
    mp_close_map(&buf, place, n_pairs);
    slice_t data = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

/* --- ending other logins --- */

static const pg_stmt_t select_sessions = {
    "SELECT id FROM token WHERE account = $1::uuid AND kind = 0 AND id <> $2::uuid"
    " ORDER BY id LIMIT 1000"};

static void end_next_session(call_t *call);

/* One that is gone already is as good as ended. */
static void on_session_ended(call_t *call, const result_t *result)
{
    err_t err = result->outcome.problem.err;
    patch_t *patch = call->state;
    if (err != ERR_OK && err_action(err) == ERR_DO_RETRY) {
        reply_problem(call, &result->outcome.problem);
        return;
    }
    access_t access = {call->identity.account, UUID_NIL, patch->sessions[patch->n_sessions - 1]};
    auth_forget(call->gateway->auth, &access);
    patch->n_sessions--;
    end_next_session(call);
}

static void end_next_session(call_t *call)
{
    patch_t *patch = call->state;
    if (patch->n_sessions == 0) {
        logins_read_account(call, &call->identity.account, show_me);
        return;
    }
    const uuid_t *session = &patch->sessions[patch->n_sessions - 1];
    buf_t data = {0};
    mp_put_map(&data, 1);
    object_uuid(&data, "token", session);
    command_t command = patch->command;
    command.id = uuid_derive(&patch->command.id, slice_of(session->bytes, UUID_BYTES));
    command.op = OP_TOKEN_DELETE;
    command.expect = 0;
    command.data = buf_slice(&data);
    command_fingerprint(&command);
    call_submit(call, &command, on_session_ended);
    buf_fini(&data);
}

static void on_sessions(call_t *call, const pg_result_t *result)
{
    patch_t *patch = call->state;
    patch->n_sessions = pg_rows(result);
    patch->sessions = arena_alloc(call->arena, (size_t)pg_rows(result) * sizeof(uuid_t));
    for (int row = 0; row < pg_rows(result); row++)
        patch->sessions[row] = pg_uuid(result, row, 0);
    end_next_session(call);
}

/* --- the way of a patch --- */

static void on_patched(call_t *call, const result_t *result)
{
    const patch_t *patch = call->state;
    if (!call_succeeded(call, result))
        return;
    write_put_headers(call, result);
    if (patch->password.data == NULL) {
        logins_read_account(call, &call->identity.account, show_me);
        return;
    }
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->identity.token);
    call_read(call, &select_sessions, params, on_sessions);
}

static void submit_patch(call_t *call, const char *hash)
{
    patch_t *patch = call->state;
    patch->command.data = encode_patch(call, patch, hash);
    call_submit(call, &patch->command, on_patched);
}

static void on_old_password(call_t *call, bool is_match)
{
    const patch_t *patch = call->state;
    problem_t problem = {0};
    if (is_match) {
        logins_succeed(call, patch->email);
        call_hash(call, patch->password, submit_patch);
        return;
    }
    problem_add_field(&problem, slice_str("/old_password"), slice_str("this is not the password"));
    reply_problem(call, &problem);
}

/* `seen`: this very command was applied before. By then the old password is no longer what it was,
 * and nothing of this one will be stored. */
static const pg_stmt_t select_password = {
    "SELECT lower(email), password_hash,"
    " EXISTS (SELECT 1 FROM event WHERE by = $1::uuid AND command = $2::uuid AND is_answer)"
    " FROM account WHERE id = $1::uuid"};

static void on_password(call_t *call, const pg_result_t *result)
{
    patch_t *patch = call->state;
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such account.");
        return;
    }
    patch->email = arena_copy(call->arena, pg_bytes(result, 0, 0));
    if (pg_bool(result, 0, 2))
        submit_patch(call, "");
    else if (logins_begin(call, patch->email))
        call_match(call, patch->old_password, pg_bytes(result, 0, 1), on_old_password);
}

void route_me_patch(call_t *call)
{
    patch_t *patch = arena_alloc(call->arena, sizeof *patch);
    command_t *command = &patch->command;
    slice_t body;
    if (!write_begin(call, OP_ACCOUNT_PATCH, command) || !write_read_body(call, true, &body) ||
        !read_patch(call, body, patch) || !write_expect_list(call, command))
        return;
    call->state = patch;
    command->list = call->identity.account;
    command->data = encode_patch(call, patch, NULL);
    command_fingerprint(command);
    if (patch->password.data == NULL) {
        submit_patch(call, NULL);
        return;
    }
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &command->id);
    call_read(call, &select_password, params, on_password);
}
