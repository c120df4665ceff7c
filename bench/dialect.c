/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/dialect.h"

#include <stdlib.h>

#include "bench/load.h"

#define HEAD_SHOWN 200

static bool starts_with(slice_t text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.n_bytes >= n && memcmp(text.data, prefix, n) == 0;
}

/* The number behind a key near the front; -1 if there is none. */
static int64_t number_behind(slice_t text, const char *key)
{
    size_t n_shown = text.n_bytes < HEAD_SHOWN ? text.n_bytes : HEAD_SHOWN;
    const uint8_t *at = memmem(text.data, n_shown, key, strlen(key));
    const uint8_t *end = text.data + text.n_bytes;
    if (at == NULL)
        return -1;
    int64_t number = 0;
    for (at += strlen(key); at < end && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return number;
}

/* --- taskwire --- */

static void taskwire_enter(buf_t *out, const stream_t *stream, int64_t after)
{
    buf_format(out, "{\"op\":\"subscribe\",\"stream\":\"%s\",\"epoch\":\"%s\",\"after\":%lld}",
               stream->id, stream->epoch, (long long)after);
}

static void taskwire_write(buf_t *out, const stream_t *stream, const char *target, int64_t number,
                           int64_t wall_us)
{
    char id[UUID_TEXT_CHARS];
    uuid_t command = uuid_v7(load_wall_us());
    (void)stream;
    (void)number;
    uuid_format(&command, id);
    buf_format(out, "{\"op\":\"command\",\"command\":{\"id\":\"%.*s\",\"op\":\"task.patch\"",
               UUID_TEXT_CHARS, id);
    buf_format(out, ",\"list\":\"%.*s\",\"task\":\"%.*s\",\"data\":{\"title\":\"", UUID_TEXT_CHARS,
               target, UUID_TEXT_CHARS, target + UUID_TEXT_CHARS + 1);
    stamp_put(out, wall_us);
    buf_append_str(out, "\"}}}");
}

/* A message is a frame. */
static size_t taskwire_read(slice_t bytes, message_t *message)
{
    static const struct {
        const char *prefix;
        said_t what;
    } known[] = {
        {"{\"op\":\"event\"", SAID_EVENT},     {"{\"op\":\"welcome\"", SAID_WELCOME},
        {"{\"op\":\"subscribed\"", SAID_LIVE}, {"{\"op\":\"result\"", SAID_DONE},
        {"{\"op\":\"reset\"", SAID_RESET},
    };
    *message = (message_t){.what = SAID_ODD, .text = bytes};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (starts_with(bytes, known[i].prefix))
            message->what = known[i].what;
    }
    if (message->what == SAID_EVENT)
        message->rev = number_behind(bytes, "\"rev\":");
    if (message->what == SAID_DONE && memmem(bytes.data, bytes.n_bytes, "\"ok\":true", 9) == NULL)
        message->what = SAID_REFUSED;
    return bytes.n_bytes;
}

/* --- what others are to pass on: as much as an event of taskwire --- */

static void put_event(buf_t *out, const stream_t *stream, int64_t number, int64_t wall_us)
{
    buf_format(out, "{\"op\":\"event\",\"stream\":\"%s\",\"rev\":%lld,\"epoch\":\"%s\"", stream->id,
               (long long)number, stream->epoch);
    buf_format(out, ",\"type\":\"task.updated\",\"task\":\"%s\",\"command\":\"%s\",\"by\":\"%s\"",
               stream->id, stream->id, stream->id);
    buf_append_str(out, ",\"at\":\"2026-11-23T12:14:32.001012Z\",\"set\":{\"title\":\"");
    stamp_put(out, wall_us);
    buf_append_str(out, "\"}}");
}

/* --- rooms: subscribe and publish in JSON, as such servers are mostly written --- */

static void rooms_enter(buf_t *out, const stream_t *stream, int64_t after)
{
    (void)after; /* they keep nothing */
    buf_format(out, "{\"op\":\"subscribe\",\"stream\":\"%s\"}", stream->id);
}

static void rooms_write(buf_t *out, const stream_t *stream, const char *target, int64_t number,
                        int64_t wall_us)
{
    (void)target;
    buf_format(out, "{\"op\":\"publish\",\"stream\":\"%s\",\"event\":", stream->id);
    put_event(out, stream, number, wall_us);
    buf_append_byte(out, '}');
}

/* --- NATS: its text protocol in frames, cut anywhere --- */

static void nats_enter(buf_t *out, const stream_t *stream, int64_t after)
{
    (void)after;
    buf_format(out, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB %s 1\r\nPING\r\n",
               stream->id);
}

static void nats_write(buf_t *out, const stream_t *stream, const char *target, int64_t number,
                       int64_t wall_us)
{
    buf_t event = {0};
    (void)target;
    put_event(&event, stream, number, wall_us);
    buf_format(out, "PUB %s %zu\r\n", stream->id, event.n_bytes);
    buf_append_slice(out, buf_slice(&event));
    buf_append_str(out, "\r\n");
    buf_fini(&event);
}

static size_t nats_read(slice_t bytes, message_t *message)
{
    const uint8_t *end = memmem(bytes.data, bytes.n_bytes, "\r\n", 2);
    if (end == NULL)
        return 0;
    slice_t line = slice_of(bytes.data, (size_t)(end - bytes.data));
    size_t n_line = line.n_bytes + 2;
    *message = (message_t){.what = SAID_ODD, .text = line};
    if (starts_with(line, "MSG ")) {
        const uint8_t *space = memrchr(line.data, ' ', line.n_bytes);
        size_t n_payload = strtoul((const char *)space, NULL, 10); /* the line's end stops it */
        if (bytes.n_bytes < n_line + n_payload + 2)
            return 0;
        message->what = SAID_EVENT;
        message->text = slice_of(bytes.data + n_line, n_payload);
        message->rev = number_behind(message->text, "\"rev\":");
        return n_line + n_payload + 2;
    }
    if (starts_with(line, "PONG"))
        message->what = SAID_LIVE;
    else if (starts_with(line, "PING"))
        message->what = SAID_PING;
    else if (starts_with(line, "INFO ") || starts_with(line, "+OK"))
        message->what = SAID_NOTHING;
    return n_line;
}

static const dialect_t dialects[] = {
    {.name = "taskwire",
     .path = "/v1/ws",
     .protocol = "taskwire.v1.json",
     .opcode = WS_TEXT,
     .has_welcome = true,
     .has_answers = true,
     .enter = taskwire_enter,
     .write = taskwire_write,
     .read = taskwire_read},
    {.name = "rooms",
     .path = "/",
     .opcode = WS_TEXT,
     .enter = rooms_enter,
     .write = rooms_write,
     .read = taskwire_read},
    {.name = "nats",
     .path = "/",
     .opcode = WS_BINARY,
     .pong = "PONG\r\n",
     .enter = nats_enter,
     .write = nats_write,
     .read = nats_read},
};

const dialect_t *dialect_find(const char *name)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        if (strcmp(dialects[i].name, name) == 0)
            return &dialects[i];
    }
    return NULL;
}
