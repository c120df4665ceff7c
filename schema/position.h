/* SPDX-License-Identifier: Apache-2.0 */
/* Order keys: strings of letters and digits, compared as bytes, between any two of which there is
 * room for another. Source: the "fractional indexing" scheme (D. Greenspan, "Implementing
 * Fractional Indexing"). */
#ifndef TASKWIRE_POSITION_H
#define TASKWIRE_POSITION_H

#include "schema/arena.h"

/* Whether a client may set this key: 1 to 64 letters and digits. */
bool position_is_valid(slice_t key);

/* A short key behind `tail` (any valid key, or empty for the first: "a0"). After n appended keys it
 * has O(log n) characters; behind a key of 64 highest characters there is no room and the answer is
 * absent. */
slice_t position_after(slice_t tail, arena_t *arena);

#endif
