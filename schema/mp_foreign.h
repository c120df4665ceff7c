/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack that others wrote. It may hold what JSON can hold, within the same limits, and is written
 * anew in our canonical form; so nobody behind this can tell in which of the two a request came. */
#ifndef TASKWIRE_MP_FOREIGN_H
#define TASKWIRE_MP_FOREIGN_H

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/err.h"

/* Appends the one value that these bytes are as canonical msgpack. Integers and lengths may have
 * any of their forms. Errors: MALFORMED (cut off, bytes behind the value, text that is not UTF-8, a
 * key that is no text or stands twice) with a sentence in `problem->detail`; INVALID (NUL in a
 * text, a number that is no 64-bit integer, binary, extensions, deeper than LIMIT_DEPTH, more than
 * LIMIT_ELEMENTS, a text over LIMIT_STRING_BYTES) with the pointer. `out` is then as it was. */
err_t mp_from_foreign(slice_t bytes, buf_t *out, arena_t *arena, problem_t *problem);

#endif
