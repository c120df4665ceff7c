/* SPDX-License-Identifier: Apache-2.0 */
/* A session is a token like any other, with both scopes and an end. Its secret is in the one answer
 * that follows and nowhere else; what is stored and logged is a hash. */
#include "gateway/logins.h"

#include <sodium.h>

#include "gateway/http.h"
#include "gateway/object.h"
#include "gateway/origin.h"
#include "gateway/reply.h"
#include "gateway/workers.h"
#include "gateway/write.h"
#include "schema/json.h"
#include "schema/limits.h"

#define SESSION_DAYS 30

/* --- passwords --- */

bool logins_read_password(const data_value_t *value, slice_t *out)
{
    return data_str(value, LIMIT_PASSWORD_BYTES, out);
}

bool logins_read_new_password(const data_value_t *value, slice_t *out)
{
    if (!logins_read_password(value, out))
        return false;
    if (utf8_count(*out) >= LIMIT_PASSWORD_MIN_CHARS)
        return true;
    data_refuse_format(value, "a password has at least %d characters", LIMIT_PASSWORD_MIN_CHARS);
    return false;
}

bool logins_begin(call_t *call, slice_t email)
{
    gateway_t *gateway = call->gateway;
    uint8_t key[ORIGIN_KEY_BYTES];
    if (!workers_has_room(gateway->workers)) {
        reply_err(call, ERR_OVERLOADED, NULL);
        return false;
    }
    origin_address_key(call->address, key);
    if (login_limit_begin(gateway->http->limits->logins, email, slice_of(key, sizeof key),
                          gateway->now.mono_us, &call->retry_us))
        return true;
    reply_err(call, ERR_RATE_LIMITED, "Too many failed logins.");
    return false;
}

void logins_succeed(call_t *call, slice_t email)
{
    uint8_t key[ORIGIN_KEY_BYTES];
    origin_address_key(call->address, key);
    login_limit_succeed(call->gateway->http->limits->logins, email, slice_of(key, sizeof key));
}

/* --- the account as it is shown --- */

static const pg_stmt_t select_account = {"SELECT " LOGINS_ACCOUNT_COLUMNS
                                         " FROM account a WHERE a.id = $1::uuid"};

void logins_read_account(call_t *call, const uuid_t *account, call_read_f *next)
{
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, account);
    call_read(call, &select_account, params, next);
}

void logins_put_account(const pg_result_t *result, buf_t *out)
{
    uuid_t id = pg_uuid(result, 0, 0);
    mp_put_map(out, 8);
    object_uuid(out, "id", &id);
    object_int(out, "rev", pg_int(result, 0, 1));
    object_text(out, "email", pg_bytes(result, 0, 2));
    object_text(out, "name", pg_bytes(result, 0, 3));
    object_text(out, "time_zone", pg_bytes(result, 0, 4));
    object_text(out, "all_day_reminder_time", pg_bytes(result, 0, 7));
    object_instant(out, "created_at", pg_instant(result, 0, 5));
    object_instant(out, "updated_at", pg_instant(result, 0, 6));
}

/* --- the cookie --- */

static bool is_secure(call_t *call)
{
    const config_t *config = call->gateway->network->config;
    return strncmp(config->public_url, "https:", 6) == 0 ||
           http_is_secure(call->gateway, call->request);
}

void logins_put_cookie(call_t *call, slice_t secret)
{
    int64_t max_age_s = secret.data == NULL ? 0 : SESSION_DAYS * US_PER_DAY / US_PER_S;
    const char *value = secret.data == NULL ? "" : (const char *)secret.data;
    reply_header(call, "Set-Cookie",
                 arena_format(call->arena,
                              AUTH_COOKIE "=%.*s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Lax%s",
                              (int)secret.n_bytes, value, (long long)max_age_s,
                              is_secure(call) ? "; Secure" : ""));
}

/* --- sessions --- */

typedef struct {
    uuid_t account;
    char secret[AUTH_SECRET_CHARS + 1];
} session_t;

/* The data of token.create. */
static void put_session(const uuid_t *id, slice_t secret, int64_t now_us, buf_t *out)
{
    uint8_t hash[AUTH_HASH_BYTES];
    auth_hash_secret(secret, hash);
    mp_put_map(out, 6);
    object_uuid(out, "id", id);
    object_text(out, "kind", slice_str("session"));
    object_text(out, "name", slice_str(""));
    mp_put_cstr(out, "hash");
    mp_put_bin(out, slice_of(hash, sizeof hash));
    mp_put_cstr(out, "scopes");
    mp_put_array(out, 2);
    mp_put_cstr(out, "read");
    mp_put_cstr(out, "write");
    object_instant(out, "expires_at", now_us + SESSION_DAYS * US_PER_DAY);
}

static void show_session(call_t *call, const pg_result_t *result)
{
    const session_t *session = call->state;
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_UNAUTHENTICATED, "The account is gone.");
        return;
    }
    slice_t secret = slice_str(session->secret);
    buf_t buf = {0};
    mp_put_map(&buf, 2);
    mp_put_cstr(&buf, "account");
    logins_put_account(result, &buf);
    object_text(&buf, "token", secret);
    logins_put_cookie(call, secret);
    reply_mp(call, 201, buf_slice(&buf));
    buf_fini(&buf);
}

static void on_session(call_t *call, const result_t *result)
{
    const session_t *session = call->state;
    if (call_succeeded(call, result))
        logins_read_account(call, &session->account, show_session);
}

void logins_open_session(call_t *call, const uuid_t *account, bool is_replay)
{
    int64_t now_us = call->gateway->now.wall_us;
    session_t *session = arena_alloc(call->arena, sizeof *session);
    session->account = *account;
    auth_make_secret(session->secret);
    call->state = session;
    if (is_replay)
        reply_header(call, "Idempotent-Replay", slice_str("true"));
    uuid_t id = uuid_v7(now_us);
    buf_t data = {0};
    put_session(&id, slice_str(session->secret), now_us, &data);
    command_t command = {
        .id = uuid_v7(now_us),
        .author = *account,
        .op = OP_TOKEN_CREATE,
        .list = *account,
        .scopes = SCOPE_READ | SCOPE_WRITE,
        .data = buf_slice(&data),
    };
    if (uuid_is_nil(&call->command))
        call->command = command.id;
    command_fingerprint(&command);
    call_submit(call, &command, on_session);
    buf_fini(&data);
}
