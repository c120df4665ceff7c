/* SPDX-License-Identifier: Apache-2.0 */
/* Keys are literals of ours and need no escaping. */
#include "gateway/ws_reply.h"

#include "schema/instant.h"
#include "schema/json.h"

void ws_put_key(buf_t *out, const char *key)
{
    buf_append_str(out, ",\"");
    buf_append_str(out, key);
    buf_append_str(out, "\":");
}

void ws_put_op(buf_t *out, const char *op, slice_t ref)
{
    buf_format(out, "{\"op\":\"%s\"", op);
    if (ref.data == NULL)
        return;
    ws_put_key(out, "ref");
    buf_append_slice(out, ref);
}

void ws_put_id(buf_t *out, const char *key, const uuid_t *id)
{
    char text[UUID_TEXT_CHARS];
    ws_put_key(out, key);
    if (uuid_is_nil(id)) {
        buf_append_str(out, "null");
        return;
    }
    uuid_format(id, text);
    buf_append_byte(out, '"');
    buf_append(out, text, sizeof text);
    buf_append_byte(out, '"');
}

void ws_put_text(buf_t *out, const char *key, slice_t text)
{
    ws_put_key(out, key);
    json_put_str(out, text);
}

void ws_put_int(buf_t *out, const char *key, int64_t value)
{
    ws_put_key(out, key);
    buf_format(out, "%lld", (long long)value);
}

void ws_put_bool(buf_t *out, const char *key, bool value)
{
    ws_put_key(out, key);
    buf_append_str(out, value ? "true" : "false");
}

void ws_put_instant(buf_t *out, const char *key, int64_t at_us)
{
    char text[INSTANT_TEXT_CHARS + 1];
    ws_put_key(out, key);
    if (at_us == INSTANT_NONE)
        buf_append_str(out, "null");
    else
        json_put_str(out, slice_of(text, instant_format(at_us, text)));
}
