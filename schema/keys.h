/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the maps that are open while a value is walked, those of the innermost last: to find
 * one that stands twice in a map. For the codecs only. */
#ifndef TASKWIRE_KEYS_H
#define TASKWIRE_KEYS_H

#include "schema/slice.h"

/* So many keys need no memory of their own; the largest usual value, an event, has about a hundred.
 */
#define KEYS_INLINE 128

typedef struct {
    slice_t *at;
    size_t n;
    size_t capacity;
    slice_t inline_keys[KEYS_INLINE];
} keys_t;

/* No keys. Not to be copied afterwards: it may point into itself. */
void keys_init(keys_t *self);

/* Frees what it took. */
void keys_fini(keys_t *self);

/* Adds a key of the innermost map. Owns: the bytes stay the caller's. */
void keys_push(keys_t *self, slice_t key);

/* Ends the innermost map, whose first key was number `first`, and forgets its keys. False if one
 * stood twice. */
bool keys_close(keys_t *self, size_t first);

#endif
