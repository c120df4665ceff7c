/* SPDX-License-Identifier: Apache-2.0 */
/* The `cursor` of a page: where the next one begins, in a form that clients hand back and cannot
 * make. It holds the sort key and id of the last row shown, vouched for by a MAC with a key of the
 * database, and is good for one purpose only (which path, which order). Source: keyed BLAKE2b (RFC
 * 7693). */
#ifndef TASKWIRE_PAGE_TOKEN_H
#define TASKWIRE_PAGE_TOKEN_H

#include "schema/arena.h"
#include "schema/buf.h"

#define PAGE_TOKEN_KEY_BYTES 32
#define PAGE_TOKEN_MAX_PLACE 4096

/* The place as text, in the arena. `purpose` is what it is good for; it is not in the token itself.
 */
slice_t page_token_encode(const uint8_t key[PAGE_TOKEN_KEY_BYTES], slice_t purpose, slice_t place,
                          arena_t *arena);

/* The place that was put into a token of this purpose, in the arena. False: it is not one that we
 * made for it. */
bool page_token_decode(const uint8_t key[PAGE_TOKEN_KEY_BYTES], slice_t purpose, slice_t token,
                       arena_t *arena, slice_t *place);

#endif
