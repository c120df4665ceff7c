/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack, canonical: maps in the order in which we write them, the shortest form of every integer
 * and length, no floats, no extensions, text as str. Writing uses msgpack-c's packer; reading is a
 * cursor over borrowed bytes that checks every length against what is there before it is believed
 * and never allocates. Source: the msgpack specification. */
#ifndef TASKWIRE_MP_H
#define TASKWIRE_MP_H

#include "schema/buf.h"
#include "schema/uuid.h"

/* --- writing: appends one value to the buffer --- */

void mp_put_nil(buf_t *out);
void mp_put_bool(buf_t *out, bool value);
void mp_put_int(buf_t *out, int64_t value);
void mp_put_uint(buf_t *out, uint64_t value);
void mp_put_str(buf_t *out, slice_t text);
void mp_put_cstr(buf_t *out, const char *text);
void mp_put_bin(buf_t *out, slice_t bytes);
/* A uuid as its 36 characters; nil as nil. */
void mp_put_uuid(buf_t *out, const uuid_t *id);
/* An instant as RFC 3339 text (instant.h); INSTANT_NONE as nil. Units: microseconds since 1970. */
void mp_put_instant(buf_t *out, int64_t at_us);
void mp_put_array(buf_t *out, size_t n_items);
void mp_put_map(buf_t *out, size_t n_pairs);
/* An already encoded value. */
void mp_put_raw(buf_t *out, slice_t value);

/* A map or array whose size is known only afterwards: open reserves one header byte, close writes
 * the size and moves the content when the size needs more. Returns the place to hand to close. */
size_t mp_open(buf_t *out);
void mp_close_map(buf_t *out, size_t place, size_t n_pairs);
void mp_close_array(buf_t *out, size_t place, size_t n_items);

/* --- reading --- */

typedef enum {
    MP_END, /* nothing left */
    MP_WRONG, /* truncated, or a type that we never write */
    MP_NIL,
    MP_BOOL,
    MP_INT,
    MP_STR,
    MP_BIN,
    MP_ARRAY,
    MP_MAP,
} mp_type_t;

/* A cursor. Copy it to come back. Once something was wrong, `is_wrong` stays and every call fails.
 */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool is_wrong;
} mp_reader_t;

/* A cursor at the first value of these bytes. */
mp_reader_t mp_reader(slice_t bytes);

/* The type of the next value, without taking it. Integers above INT64_MAX are MP_WRONG. */
mp_type_t mp_peek(const mp_reader_t *self);

/* Each takes the next value if it has that type; else false, the cursor is wrong and `out` is not
 * touched. */
bool mp_get_nil(mp_reader_t *self);
bool mp_get_bool(mp_reader_t *self, bool *out);
bool mp_get_int(mp_reader_t *self, int64_t *out);
bool mp_get_str(mp_reader_t *self, slice_t *out);
bool mp_get_bin(mp_reader_t *self, slice_t *out);
bool mp_get_array(mp_reader_t *self, uint32_t *n_items);
bool mp_get_map(mp_reader_t *self, uint32_t *n_pairs);
/* A uuid written as text; nil as UUID_NIL. */
bool mp_get_uuid(mp_reader_t *self, uuid_t *out);
/* An instant written as text; nil as INSTANT_NONE. */
bool mp_get_instant(mp_reader_t *self, int64_t *out);
/* Takes any value whole (depth at most LIMIT_DEPTH) and says which bytes it was. */
bool mp_get_raw(mp_reader_t *self, slice_t *out);
/* Takes any value whole. */
bool mp_skip(mp_reader_t *self);

/* One value, or the head of a container, as it stands. */
typedef struct {
    mp_type_t type;
    bool is_shortest; /* written in the shortest form */
    uint32_t n; /* items or pairs that follow */
    int64_t value; /* of MP_INT and MP_BOOL */
    slice_t bytes; /* of MP_STR and MP_BIN */
} mp_item_t;

/* Takes a scalar whole or the head of an array or map, whatever comes; the items are then to be
 * taken one by one. False at the end and if it is wrong. */
bool mp_next(mp_reader_t *self, mp_item_t *out);

/* Looks a key up in an encoded map; the first one counts. False if it is no map or has no such key.
 */
bool mp_map_find(slice_t map, const char *key, slice_t *value);

/* Whether the bytes are exactly one value within the limits (depth, elements, string size), text in
 * UTF-8 without NUL, map keys text and not twice, in shortest form throughout. */
bool mp_is_canonical(slice_t bytes);

#endif
