/* SPDX-License-Identifier: Apache-2.0 */
/* The codec of events. The bytes that the writer makes are stored, relayed, hashed and shown as
 * they are, so decoding insists on the one form that encoding gives: keys in their order, the
 * shortest form of every header, ids in lower case, instants as we write them. What lies inside
 * `set`, `was`, `after` and `reminder` is passed on untouched and only walked for its length, which
 * keeps decoding cheap for the actors that look at every event.
 *
 * Keys that we do not know come from a newer program; they may stand anywhere and are skipped. */
#include "schema/event.h"

#include <assert.h>
#include <sodium.h>

#include "schema/instant.h"
#include "schema/json.h"
#include "schema/limits.h"

#define EVENT_NAME(id, name) name,
static const char *const type_names[EVENT_TYPE_COUNT] = {"unknown", EVENT_TYPE_LIST(EVENT_NAME)};
#undef EVENT_NAME
#define EVENT_NAME_CHARS(id, name) sizeof(name) - 1,
static const uint8_t type_chars[EVENT_TYPE_COUNT] = {0, EVENT_TYPE_LIST(EVENT_NAME_CHARS)};
#undef EVENT_NAME_CHARS

typedef enum {
    KEY_V,
    KEY_STREAM,
    KEY_REV,
    KEY_EPOCH,
    KEY_TYPE,
    KEY_TASK,
    KEY_COMMAND,
    KEY_BY,
    KEY_AT,
    KEY_MORE,
    KEY_SET,
    KEY_WAS,
    KEY_AFTER,
    KEY_REMINDER,
    N_KEYS,
} event_key_t;

static const char *const key_names[N_KEYS] = {
    "v",  "stream", "rev",  "epoch", "type", "task",  "command",
    "by", "at",     "more", "set",   "was",  "after", "reminder",
};
static const uint8_t key_chars[N_KEYS] = {1, 6, 3, 5, 4, 4, 7, 2, 2, 4, 3, 3, 5, 8};

typedef uint32_t keys_t; /* bit K for key K */

#define BIT(key) ((keys_t)1 << (key))
#define KEYS_ALWAYS                                                                                \
    (BIT(KEY_V) | BIT(KEY_STREAM) | BIT(KEY_REV) | BIT(KEY_EPOCH) | BIT(KEY_TYPE) |                \
     BIT(KEY_COMMAND) | BIT(KEY_BY) | BIT(KEY_AT))

const char *event_type_name(event_type_t type)
{
    assert((unsigned)type < EVENT_TYPE_COUNT);
    return type_names[type];
}

event_type_t event_type_of(slice_t name)
{
    for (int type = EVENT_UNKNOWN + 1; type < EVENT_TYPE_COUNT; type++) {
        if (name.n_bytes == type_chars[type] &&
            memcmp(name.data, type_names[type], name.n_bytes) == 0)
            return (event_type_t)type;
    }
    return EVENT_UNKNOWN;
}

/* The keys that this event has. */
static keys_t keys_of(const event_t *event)
{
    keys_t keys = KEYS_ALWAYS;
    keys |= uuid_is_nil(&event->task) ? 0 : BIT(KEY_TASK);
    keys |= event->more ? BIT(KEY_MORE) : 0;
    keys |= event->set.data == NULL ? 0 : BIT(KEY_SET);
    keys |= event->was.data == NULL ? 0 : BIT(KEY_WAS);
    keys |= event->after.data == NULL ? 0 : BIT(KEY_AFTER);
    keys |= event->reminder.data == NULL ? 0 : BIT(KEY_REMINDER);
    return keys;
}

static void put_value(const event_t *event, event_key_t key, buf_t *out)
{
    switch (key) {
    case KEY_V:
        mp_put_int(out, EVENT_VERSION);
        break;
    case KEY_STREAM:
        mp_put_uuid(out, &event->stream);
        break;
    case KEY_REV:
        mp_put_int(out, event->rev);
        break;
    case KEY_EPOCH:
        mp_put_str(out, slice_of(event->epoch, EPOCH_CHARS));
        break;
    case KEY_TYPE:
        mp_put_cstr(out, event_type_name(event->type));
        break;
    case KEY_TASK:
        mp_put_uuid(out, &event->task);
        break;
    case KEY_COMMAND:
        mp_put_uuid(out, &event->command);
        break;
    case KEY_BY:
        mp_put_uuid(out, &event->by);
        break;
    case KEY_AT:
        mp_put_instant(out, event->at_us);
        break;
    case KEY_MORE:
        mp_put_bool(out, true);
        break;
    case KEY_SET:
        mp_put_raw(out, event->set);
        break;
    case KEY_WAS:
        mp_put_raw(out, event->was);
        break;
    case KEY_AFTER:
        mp_put_raw(out, event->after);
        break;
    case KEY_REMINDER:
        mp_put_raw(out, event->reminder);
        break;
    case N_KEYS:
        assert(false && "no key");
    }
}

void event_encode(const event_t *event, buf_t *out)
{
    assert(event->type != EVENT_UNKNOWN);
    keys_t keys = keys_of(event);
    mp_put_map(out, (size_t)__builtin_popcount(keys));
    for (event_key_t key = 0; key < N_KEYS; key++) {
        if ((keys & BIT(key)) == 0)
            continue;
        mp_put_cstr(out, key_names[key]);
        put_value(event, key, out);
    }
}

/* --- decoding --- */

/* Text with the shortest header. */
static bool get_str(mp_reader_t *reader, slice_t *out)
{
    const uint8_t *start = reader->at;
    if (!mp_get_str(reader, out))
        return false;
    size_t n = out->n_bytes;
    ptrdiff_t shortest = n < 32 ? 1 : n <= UINT8_MAX ? 2 : n <= UINT16_MAX ? 3 : 5;
    return out->data - start == shortest;
}

/* A positive integer in the shortest form, which its lead byte tells. */
static bool get_positive(mp_reader_t *reader, int64_t *out)
{
    const uint8_t *start = reader->at;
    if (!mp_get_int(reader, out) || *out < 1)
        return false;
    int64_t value = *out;
    int64_t lead = value <= INT8_MAX     ? value
                   : value <= UINT8_MAX  ? 0xcc
                   : value <= UINT16_MAX ? 0xcd
                   : value <= UINT32_MAX ? 0xce
                                         : 0xcf;
    return *start == lead;
}

static bool get_uuid(mp_reader_t *reader, uuid_t *out)
{
    slice_t text;
    return get_str(reader, &text) && uuid_read(text, out);
}

/* 2026-11-23T08:00:00Z, or .5Z: of all that instant_parse takes one form is ours. */
#define PLACE_OF_TIME 10
#define PLACE_OF_FRACTION 19

static bool get_instant(mp_reader_t *reader, int64_t *out)
{
    slice_t text;
    if (!get_str(reader, &text) || !instant_parse(text, out))
        return false;
    const uint8_t *last = text.data + text.n_bytes - 1;
    bool has_fraction = text.data[PLACE_OF_FRACTION] == '.';
    return text.data[PLACE_OF_TIME] == 'T' && *last == 'Z' && (!has_fraction || last[-1] != '0');
}

static bool get_version(mp_reader_t *reader)
{
    int64_t version = 0;
    return get_positive(reader, &version) && version == EVENT_VERSION;
}

static bool get_epoch(mp_reader_t *reader, event_t *out)
{
    slice_t text;
    if (!get_str(reader, &text) || text.n_bytes != EPOCH_CHARS)
        return false;
    memcpy(out->epoch, text.data, EPOCH_CHARS);
    return utf8_is_text(text);
}

static bool get_type(mp_reader_t *reader, event_t *out)
{
    slice_t text;
    if (!get_str(reader, &text))
        return false;
    out->type = event_type_of(text);
    return true;
}

/* False is never written. */
static bool get_more(mp_reader_t *reader, event_t *out)
{
    return mp_get_bool(reader, &out->more) && out->more;
}

static bool get_map(mp_reader_t *reader, slice_t *out)
{
    return mp_peek(reader) == MP_MAP && mp_get_raw(reader, out);
}

static bool get_value(mp_reader_t *reader, event_key_t key, event_t *out)
{
    switch (key) {
    case KEY_V:
        return get_version(reader);
    case KEY_STREAM:
        return get_uuid(reader, &out->stream);
    case KEY_REV:
        return get_positive(reader, &out->rev);
    case KEY_EPOCH:
        return get_epoch(reader, out);
    case KEY_TYPE:
        return get_type(reader, out);
    case KEY_TASK:
        return get_uuid(reader, &out->task);
    case KEY_COMMAND:
        return get_uuid(reader, &out->command);
    case KEY_BY:
        return get_uuid(reader, &out->by);
    case KEY_AT:
        return get_instant(reader, &out->at_us);
    case KEY_MORE:
        return get_more(reader, out);
    case KEY_SET:
        return get_map(reader, &out->set);
    case KEY_WAS:
        return get_map(reader, &out->was);
    case KEY_AFTER:
        return get_map(reader, &out->after);
    case KEY_REMINDER:
        return get_map(reader, &out->reminder);
    case N_KEYS:
        return mp_skip(reader);
    }
    return false;
}

/* The key of that name, looked for from where the order would have it; N_KEYS: one of a newer
 * program. */
static event_key_t key_of(slice_t name, event_key_t expected)
{
    for (unsigned i = 0; i < N_KEYS; i++) {
        event_key_t key = (event_key_t)((expected + i) % N_KEYS);
        if (name.n_bytes == key_chars[key] && memcmp(name.data, key_names[key], name.n_bytes) == 0)
            return key;
    }
    return N_KEYS;
}

/* Up to `last`. */
static bool get_pairs(mp_reader_t *reader, uint32_t n_pairs, event_key_t last, event_t *out)
{
    keys_t seen = 0;
    event_key_t expected = 0;
    for (uint32_t i = 0; i < n_pairs && expected <= last; i++) {
        slice_t name;
        if (!get_str(reader, &name))
            return false;
        event_key_t key = key_of(name, expected);
        bool is_known = key < N_KEYS;
        if ((is_known && key < expected) || !get_value(reader, key, out))
            return false;
        if (is_known) {
            seen |= BIT(key);
            expected = key + 1;
        }
    }
    return (seen & KEYS_ALWAYS) == KEYS_ALWAYS;
}

static bool open_pairs(slice_t bytes, mp_reader_t *reader, uint32_t *n_pairs, event_t *out)
{
    *out = (event_t){.at_us = INSTANT_NONE};
    *reader = mp_reader(bytes);
    const uint8_t *start = reader->at;
    if (bytes.n_bytes > LIMIT_EVENT_BYTES || !mp_get_map(reader, n_pairs))
        return false;
    return reader->at - start == (*n_pairs <= 15 ? 1 : *n_pairs <= UINT16_MAX ? 3 : 5);
}

bool event_decode(slice_t bytes, event_t *out)
{
    mp_reader_t reader;
    uint32_t n_pairs = 0;
    return open_pairs(bytes, &reader, &n_pairs, out) && get_pairs(&reader, n_pairs, N_KEYS, out) &&
           mp_peek(&reader) == MP_END;
}

bool event_decode_head(slice_t bytes, event_t *out)
{
    mp_reader_t reader;
    uint32_t n_pairs = 0;
    return open_pairs(bytes, &reader, &n_pairs, out) && get_pairs(&reader, n_pairs, KEY_AT, out);
}

/* --- JSON --- */

static void put_json_uuid(const uuid_t *id, buf_t *out)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    json_put_str(out, slice_of(text, sizeof text));
}

static void put_json_instant(int64_t at_us, buf_t *out)
{
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n_chars = instant_format(at_us, text);
    json_put_str(out, slice_of(text, n_chars));
}

/* Nested values were vouched for by their digest; should they be damaged all the same, the frame
 * around them must still be JSON. */
static void put_json_map(slice_t map, buf_t *out)
{
    size_t start = out->n_bytes;
    if (json_from_mp(map, out))
        return;
    out->n_bytes = start;
    buf_append_str(out, "null");
}

static void put_json_value(const event_t *event, event_key_t key, buf_t *out)
{
    switch (key) {
    case KEY_V:
        buf_format(out, "%d", EVENT_VERSION);
        break;
    case KEY_STREAM:
        put_json_uuid(&event->stream, out);
        break;
    case KEY_REV:
        buf_format(out, "%lld", (long long)event->rev);
        break;
    case KEY_EPOCH:
        json_put_str(out, slice_of(event->epoch, EPOCH_CHARS));
        break;
    case KEY_TYPE:
        json_put_str(out, slice_str(event_type_name(event->type)));
        break;
    case KEY_TASK:
        put_json_uuid(&event->task, out);
        break;
    case KEY_COMMAND:
        put_json_uuid(&event->command, out);
        break;
    case KEY_BY:
        put_json_uuid(&event->by, out);
        break;
    case KEY_AT:
        put_json_instant(event->at_us, out);
        break;
    case KEY_MORE:
        buf_append_str(out, "true");
        break;
    case KEY_SET:
        put_json_map(event->set, out);
        break;
    case KEY_WAS:
        put_json_map(event->was, out);
        break;
    case KEY_AFTER:
        put_json_map(event->after, out);
        break;
    case KEY_REMINDER:
        put_json_map(event->reminder, out);
        break;
    case N_KEYS:
        assert(false && "no key");
    }
}

static void put_json_pairs(const event_t *event, keys_t keys, buf_t *out)
{
    bool is_first = true;
    for (event_key_t key = 0; key < N_KEYS; key++) {
        if ((keys & BIT(key)) == 0)
            continue;
        if (!is_first)
            buf_append_byte(out, ',');
        is_first = false;
        json_put_str(out, slice_str(key_names[key]));
        buf_append_byte(out, ':');
        put_json_value(event, key, out);
    }
}

void event_put_client_json(const event_t *event, buf_t *out)
{
    put_json_pairs(event, keys_of(event) & ~(BIT(KEY_V) | BIT(KEY_WAS) | BIT(KEY_AFTER)), out);
}

void event_put_json(const event_t *event, buf_t *out)
{
    buf_append_byte(out, '{');
    put_json_pairs(event, keys_of(event) & ~BIT(KEY_V), out);
    buf_append_byte(out, '}');
}

void event_digest(slice_t body, const uint8_t salt[SALT_BYTES], uint8_t out[DIGEST_BYTES])
{
    crypto_generichash(out, DIGEST_BYTES, body.data, body.n_bytes, salt, SALT_BYTES);
}
