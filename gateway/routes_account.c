/* SPDX-License-Identifier: Apache-2.0 */
/* Registering, logging in and out. A login that fails says neither in words nor by the time it
 * takes whether the account exists: an unknown address is compared with nobody's password.
 *
 * A registration has no author yet, so the new account's id is drawn from the command id and the
 * e-mail address: a repeat finds the same account. It must still prove that it knows the password
 * before it is given a session, and that is not part of the fingerprint, because fingerprints are
 * stored and fast to try. */
#include "gateway/http.h"
#include "gateway/logins.h"
#include "gateway/object.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/limits.h"

/* --- POST /v1/accounts --- */

static const uuid_t account_space = {
    {0x74, 0x61, 0x73, 0x6b, 0x77, 0x69, 0x72, 0x65, 0x80, 'a', 'c', 'c', 'o', 'u', 'n', 't'}};

/* Only a glance, which spares hashing: of two first accounts at the same instant both may find
 * none. The writer decides. */
static const pg_stmt_t select_registration = {
    "SELECT EXISTS (SELECT 1 FROM account),"
    " EXISTS (SELECT 1 FROM event WHERE by = $1::uuid AND command = $2::uuid AND is_answer),"
    " (SELECT password_hash FROM account WHERE id = $1::uuid), lower($3::text)"};

typedef struct {
    command_t command;
    slice_t email;
    slice_t password;
    slice_t name; /* as it was sent; absent: it was not */
    slice_t time_zone; /* the same */
    bool is_only_first; /* to be made only if there is no other */
} registration_t;

static bool read_registration(call_t *call, slice_t body, registration_t *out)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        if (data_need(&map, "email", &value))
            data_line(&value, 3, LIMIT_EMAIL_BYTES, &out->email);
        if (data_need(&map, "password", &value))
            logins_read_new_password(&value, &out->password);
        if (data_get(&map, "name", &value) != DATA_ABSENT)
            out->name = value.raw;
        if (data_get(&map, "time_zone", &value) != DATA_ABSENT)
            out->time_zone = value.raw;
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static slice_t encode_registration(call_t *call, const registration_t *registration,
                                   const char *hash)
{
    bool has_name = registration->name.data != NULL;
    bool has_hash = hash != NULL;
    bool is_only_first = registration->is_only_first;
    buf_t buf = {0};
    mp_put_map(&buf, 2 + (size_t)has_name + has_hash + is_only_first);
    object_text(&buf, "email", registration->email);
    mp_put_cstr(&buf, "time_zone");
    if (registration->time_zone.data == NULL)
        mp_put_cstr(&buf, "UTC");
    else
        mp_put_raw(&buf, registration->time_zone);
    if (has_name) {
        mp_put_cstr(&buf, "name");
        mp_put_raw(&buf, registration->name);
    }
    if (has_hash)
        object_text(&buf, "password_hash", slice_str(hash));
    if (is_only_first) {
        mp_put_cstr(&buf, "first");
        mp_put_bool(&buf, true);
    }
    slice_t data = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

static uuid_t draw_account(const uuid_t *command, slice_t email)
{
    uuid_t space = uuid_derive(&account_space, slice_of(command->bytes, UUID_BYTES));
    return write_stamp_id(uuid_derive(&space, email), command);
}

static void on_account_made(call_t *call, const result_t *result)
{
    const registration_t *registration = call->state;
    if (!call_succeeded(call, result))
        return;
    uuid_t account = registration->command.author;
    reply_header(call, "Location", slice_str("/v1/me"));
    logins_open_session(call, &account, result->outcome.is_replay);
}

static void submit_registration(call_t *call, const char *hash)
{
    registration_t *registration = call->state;
    registration->command.data = encode_registration(call, registration, hash);
    call_submit(call, &registration->command, on_account_made);
}

/* The same person again: the writer will find the command, and not look at the hash. */
static void on_repeat_matched(call_t *call, bool is_match)
{
    const registration_t *registration = call->state;
    if (!is_match) {
        reply_err(call, ERR_IDEMPOTENCY_MISMATCH, NULL);
        return;
    }
    logins_succeed(call, registration->email);
    submit_registration(call, "");
}

static void on_registration(call_t *call, const pg_result_t *result)
{
    registration_t *registration = call->state;
    bool is_first = !pg_bool(result, 0, 0);
    bool is_repeat = pg_bool(result, 0, 1);
    bool is_open = call->gateway->network->config->is_registration_open;
    if (!is_first && !is_repeat && !is_open) {
        reply_err(call, ERR_FORBIDDEN, "Registration is closed.");
        return;
    }
    if (!is_repeat) {
        registration->is_only_first = !is_open;
        call_hash(call, registration->password, submit_registration);
        return;
    }
    registration->email = arena_copy(call->arena, pg_bytes(result, 0, 3));
    if (logins_begin(call, registration->email))
        call_match(call, registration->password, pg_bytes(result, 0, 2), on_repeat_matched);
}

void route_accounts_post(call_t *call)
{
    registration_t *registration = arena_alloc(call->arena, sizeof *registration);
    command_t *command = &registration->command;
    slice_t body;
    if (!write_begin(call, OP_ACCOUNT_CREATE, command) || !write_read_body(call, true, &body) ||
        !read_registration(call, body, registration))
        return;
    command->author = draw_account(&command->id, registration->email);
    command->list = command->author;
    command->data = encode_registration(call, registration, NULL);
    command_fingerprint(command);
    call->state = registration;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &command->author);
    pg_put_uuid(params, &command->id);
    pg_put_text(params, registration->email);
    call_read(call, &select_registration, params, on_registration);
}

/* --- POST /v1/sessions --- */

static const pg_stmt_t select_login = {
    "SELECT lower($1::text), a.id, a.password_hash FROM (SELECT 1) one"
    " LEFT JOIN account a ON lower(a.email) = lower($1::text)"};

typedef struct {
    slice_t email;
    slice_t password;
    uuid_t account; /* nil: there is none */
} login_t;

static bool read_login(call_t *call, slice_t body, login_t *out)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        if (data_need(&map, "email", &value))
            data_str(&value, LIMIT_EMAIL_BYTES, &out->email);
        if (data_need(&map, "password", &value))
            logins_read_password(&value, &out->password);
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

static void on_login_matched(call_t *call, bool is_match)
{
    const login_t *login = call->state;
    if (!is_match || uuid_is_nil(&login->account)) {
        reply_err(call, ERR_UNAUTHENTICATED, "There is no account with that address and password.");
        return;
    }
    uuid_t account = login->account;
    logins_succeed(call, login->email);
    reply_header(call, "Location", slice_str("/v1/sessions/current"));
    logins_open_session(call, &account, false);
}

static void on_login(call_t *call, const pg_result_t *result)
{
    login_t *login = call->state;
    slice_t hash = pg_bytes(result, 0, 2);
    login->email = arena_copy(call->arena, pg_bytes(result, 0, 0));
    login->account = pg_uuid(result, 0, 1);
    if (logins_begin(call, login->email))
        call_match(call, login->password, hash.data == NULL ? slice_str("") : hash,
                   on_login_matched);
}

void route_sessions_post(call_t *call)
{
    login_t *login = arena_alloc(call->arena, sizeof *login);
    slice_t body;
    if (!write_read_body(call, true, &body) || !read_login(call, body, login))
        return;
    call->state = login;
    pg_params_t *params = call_params(call);
    pg_put_text(params, login->email);
    call_read(call, &select_login, params, on_login);
}

/* --- DELETE /v1/sessions/current --- */

static void on_session_deleted(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    access_t access = {.account = call->identity.account, .token = call->identity.token};
    auth_forget(call->gateway->auth, &access);
    write_put_headers(call, result);
    logins_put_cookie(call, slice_none());
    reply_empty(call, 204);
}

void route_session_delete(call_t *call)
{
    command_t command;
    buf_t data = {0};
    if (!write_begin(call, OP_TOKEN_DELETE, &command))
        return;
    mp_put_map(&data, 1);
    object_uuid(&data, "token", &call->identity.token);
    command.list = call->identity.account;
    command.data = buf_slice(&data);
    command_fingerprint(&command);
    call_submit(call, &command, on_session_deleted);
    buf_fini(&data);
}
