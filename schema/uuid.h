/* SPDX-License-Identifier: Apache-2.0 */
/* Universally unique ids. Source: RFC 9562. */
#ifndef TASKWIRE_UUID_H
#define TASKWIRE_UUID_H

#include "schema/slice.h"

#define UUID_BYTES 16
#define UUID_TEXT_CHARS 36

typedef struct {
    uint8_t bytes[UUID_BYTES];
} uuid_t;

/* All zero: stands for "no id" in structs; no client can name it. */
#define UUID_NIL ((uuid_t){{0}})

/* Whether both are the same id. */
static inline bool uuid_eq(const uuid_t *a, const uuid_t *b)
{
    return memcmp(a->bytes, b->bytes, UUID_BYTES) == 0;
}

/* Whether the id is "no id". */
static inline bool uuid_is_nil(const uuid_t *id)
{
    static const uint8_t zero[UUID_BYTES] = {0};
    return memcmp(id->bytes, zero, UUID_BYTES) == 0;
}

/* Reads 8-4-4-4-12 hexadecimal digits of either case. False, and `out` nil, for anything else and
 * for the nil id. */
bool uuid_parse(slice_t text, uuid_t *out);

/* Reads only what uuid_format writes: lower case. False, and `out` not touched, for anything else
 * and for the nil id. */
bool uuid_read(slice_t text, uuid_t *out);

/* Writes the 36 characters in lower case, without a NUL. */
void uuid_format(const uuid_t *id, char out[UUID_TEXT_CHARS]);

/* A version 7 id: the given instant in milliseconds, the rest random. Units: microseconds since
 * 1970. */
uuid_t uuid_v7(int64_t now_us);

/* A version 5 style id, the same for the same name in the same space: BLAKE2b in place of SHA-1, so
 * version 8. */
uuid_t uuid_derive(const uuid_t *space, slice_t name);

/* A well-spread hash of the id that stays the same for ever: shards are made of it. */
uint64_t uuid_hash(const uuid_t *id);

#endif
