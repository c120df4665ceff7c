/* SPDX-License-Identifier: Apache-2.0 */
/* The fingerprint of a command is taken by the routes, of what the client wrote: before an id is
 * resolved or a password hashed. */
#include "gateway/write.h"

#include <strings.h>

#include "gateway/etag.h"
#include "gateway/http.h"
#include "gateway/reply.h"
#include "schema/json.h"

bool write_take_id(call_t *call)
{
    slice_t key = request_header(call->request, HEADER_IDEMPOTENCY_KEY);
    if (key.data == NULL) {
        call->command = uuid_v7(call->gateway->now.wall_us);
        return true;
    }
    if (uuid_parse(key, &call->command))
        return true;
    reply_err(call, ERR_MALFORMED, "Idempotency-Key must be a UUID.");
    return false;
}

bool write_begin(call_t *call, op_t op, command_t *out)
{
    if (!write_take_id(call))
        return false;
    *out = (command_t){
        .id = call->command,
        .author = call->identity.account,
        .op = op,
        .scopes = call->identity.scopes,
        .lists = call->identity.lists,
        .n_lists = call->identity.n_lists,
    };
    return true;
}

uuid_t write_stamp_id(uuid_t id, const uuid_t *command)
{
    if (command->bytes[6] >> 4 == 7)
        memcpy(id.bytes, command->bytes, 6);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x70);
    return id;
}

/* --- the body --- */

/* Without parameters, or with charset=utf-8, which JSON has anyway. */
static bool is_type(slice_t header, const char *type)
{
    size_t n = strlen(type);
    if (header.n_bytes < n || strncasecmp((const char *)header.data, type, n) != 0)
        return false;
    while (n < header.n_bytes && (header.data[n] == ' ' || header.data[n] == '\t'))
        n++;
    return n == header.n_bytes || header.data[n] == ';';
}

static bool check_type(call_t *call)
{
    slice_t header = request_header(call->request, HEADER_CONTENT_TYPE);
    bool is_patch = request_method(call->request) == METHOD_PATCH;
    if (is_type(header, "application/json") ||
        (is_patch && is_type(header, "application/merge-patch+json")))
        return true;
    reply_err(call, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json.");
    return false;
}

static bool refuse_empty(call_t *call)
{
    reply_err(call, ERR_MALFORMED, "The request needs a body.");
    return false;
}

/* Nil above all must not pass: further on it would stand for no body at all. */
static bool is_object(slice_t value)
{
    mp_reader_t reader = mp_reader(value);
    return mp_peek(&reader) == MP_MAP;
}

bool write_read_body(call_t *call, bool is_needed, slice_t *out)
{
    slice_t body = request_body(call->request);
    problem_t problem = {0};
    buf_t buf = {0};
    *out = slice_none();
    if (body.n_bytes == 0)
        return !is_needed || refuse_empty(call);
    if (!check_type(call))
        return false;
    err_t err = json_to_mp(body, &buf, call->arena, &problem);
    if (err == ERR_OK && !is_object(buf_slice(&buf))) {
        problem_add_field(&problem, slice_str(""), slice_str("this must be an object"));
        err = problem.err;
    }
    if (err == ERR_OK)
        *out = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    if (err == ERR_OK)
        return true;
    problem.err = err;
    reply_problem(call, &problem);
    return false;
}

static bool copy_without_id(slice_t body, slice_t *id, buf_t *out)
{
    mp_reader_t reader = mp_reader(body);
    uint32_t n_pairs;
    if (!mp_get_map(&reader, &n_pairs))
        return false;
    mp_put_map(out, n_pairs - 1);
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t key;
        slice_t value;
        if (!mp_get_str(&reader, &key) || !mp_get_raw(&reader, &value))
            return false;
        if (slice_is(key, "id")) {
            *id = value;
            continue;
        }
        mp_put_str(out, key);
        mp_put_raw(out, value);
    }
    return true;
}

static bool refuse_id(call_t *call)
{
    problem_t problem = {0};
    problem_add_field(&problem, slice_str("/id"), slice_str("this must be a UUID"));
    reply_problem(call, &problem);
    return false;
}

bool write_split_id(call_t *call, slice_t body, uuid_t *id, slice_t *rest)
{
    slice_t value;
    buf_t buf = {0};
    *id = UUID_NIL;
    *rest = body;
    if (body.data == NULL || !mp_map_find(body, "id", &value))
        return true;
    if (copy_without_id(body, &value, &buf))
        *rest = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    mp_reader_t reader = mp_reader(value);
    if (mp_peek(&reader) != MP_STR || !mp_get_uuid(&reader, id))
        return refuse_id(call);
    return true;
}

/* --- If-Match --- */

static bool find_epoch(call_t *call)
{
    if (call->gateway->http->history.is_known)
        return true;
    reply_err(call, ERR_UNAVAILABLE, NULL);
    return false;
}

bool write_expect_task(call_t *call, command_t *command)
{
    slice_t if_match = request_header(call->request, HEADER_IF_MATCH);
    if (if_match.data == NULL)
        return true;
    if (!find_epoch(call))
        return false;
    command->expect =
        etag_expected_task(if_match, call->gateway->http->history.epoch, &command->task);
    return true;
}

bool write_expect_list(call_t *call, command_t *command)
{
    slice_t if_match = request_header(call->request, HEADER_IF_MATCH);
    if (if_match.data == NULL)
        return true;
    if (!find_epoch(call))
        return false;
    command->expect =
        etag_expected_list(if_match, call->gateway->http->history.epoch, &command->list);
    return true;
}

/* --- the answer --- */

void write_put_headers(call_t *call, const result_t *result)
{
    reply_header(call, "Command-Rev",
                 arena_format(call->arena, "%lld", (long long)result->outcome.rev));
    if (result->outcome.is_replay)
        reply_header(call, "Idempotent-Replay", slice_str("true"));
    if (uuid_is_nil(&result->outcome.kept))
        return;
    char kept[UUID_TEXT_CHARS];
    uuid_format(&result->outcome.kept, kept);
    reply_header(call, "Successor-Kept", arena_copy(call->arena, slice_of(kept, sizeof kept)));
}

void write_put_location(call_t *call, const char *path, const uuid_t *id)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    reply_header(call, "Location",
                 arena_format(call->arena, "%s%.*s", path, UUID_TEXT_CHARS, text));
}
