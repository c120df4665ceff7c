/* SPDX-License-Identifier: Apache-2.0 */
/* A message that was written as JSON, in the encoding of its reader. Both encodings have one data
 * model, so msgpack is the JSON parsed. An event of a text/event-stream repeats three of its fields
 * in lines of their own; the JSON itself has no line breaks. */
#include <assert.h>

#include "actors/frame.h"
#include "schema/json.h"

#define EVENT_START "{\"op\":\"event\","

static bool put_msgpack(slice_t json, buf_t *out)
{
    problem_t problem = {0};
    arena_t *arena = arena_new();
    err_t err = json_to_mp(json, out, arena, &problem);
    arena_destroy(&arena);
    return err == ERR_OK;
}

static bool find_str(slice_t map, const char *key, slice_t *out)
{
    slice_t value;
    if (!mp_map_find(map, key, &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_str(&reader, out);
}

static bool find_rev(slice_t map, int64_t *out)
{
    slice_t value;
    if (!mp_map_find(map, "rev", &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_int(&reader, out);
}

/* Writes what stands around the data; the data is the event without its `op`. */
static bool put_sse(slice_t json, buf_t *out)
{
    const size_t n_start = strlen(EVENT_START);
    buf_t map = {0};
    slice_t epoch;
    slice_t type;
    int64_t rev;
    bool is_event = json.n_bytes > n_start && memcmp(json.data, EVENT_START, n_start) == 0 &&
                    put_msgpack(json, &map) && find_str(buf_slice(&map), "epoch", &epoch) &&
                    find_str(buf_slice(&map), "type", &type) && find_rev(buf_slice(&map), &rev);
    if (is_event) {
        buf_format(out, "id: %.*s:%lld\nevent: %.*s\ndata: {", (int)epoch.n_bytes,
                   (const char *)epoch.data, (long long)rev, (int)type.n_bytes,
                   (const char *)type.data);
        buf_append(out, json.data + n_start, json.n_bytes - n_start);
        buf_append_str(out, "\n\n");
    }
    buf_fini(&map);
    return is_event;
}

bool frame_finish(buf_t *out, size_t place, encoding_t encoding)
{
    if (encoding == ENCODING_JSON) {
        frame_close(out, place, FRAME_TEXT);
        return true;
    }
    buf_t form = {0};
    size_t at = place + FRAME_HEADER_MAX;
    slice_t json = slice_of(out->data + at, out->n_bytes - at);
    bool is_sse = encoding == ENCODING_SSE;
    bool is_put = is_sse ? put_sse(json, &form) : put_msgpack(json, &form);
    out->n_bytes = place;
    if (is_put && is_sse)
        buf_append_slice(out, buf_slice(&form));
    else if (is_put)
        frame_put(out, FRAME_BINARY, buf_slice(&form));
    buf_fini(&form);
    return is_put;
}
