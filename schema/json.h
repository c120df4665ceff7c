/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text ↔ msgpack, value by value: the data model of both is the same (ids and instants are
 * text in either), so that nothing needs a schema to travel from one to the other, and what went
 * through JSON has the same bytes again. Parsing is simdjson's; writing is our own because every
 * answer and frame passes through it. Source: RFC 8259, RFC 6901. */
#ifndef TASKWIRE_JSON_H
#define TASKWIRE_JSON_H

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/err.h"

/* Parses JSON text and appends it as canonical msgpack.
 * Errors: MALFORMED (no JSON, not UTF-8, a key twice, bytes behind the value) with a sentence in
 * `problem->detail`; INVALID (NUL in a string, a number that is no 64-bit integer, deeper than
 * LIMIT_DEPTH, more than LIMIT_ELEMENTS, a string over LIMIT_STRING_BYTES) with the pointer. `out`
 * is then as it was. */
err_t json_to_mp(slice_t json, buf_t *out, arena_t *arena, problem_t *problem);

/* Appends one msgpack value as JSON text: no white space, only what must be is escaped. False if
 * the bytes are no whole value of ours; `out` then holds garbage behind its former end. Binary is
 * written as base64url. */
bool json_from_mp(slice_t value, buf_t *out);

/* Appends text as a JSON string with its quotes. */
void json_put_str(buf_t *out, slice_t text);

/* Whether the bytes are valid UTF-8 (RFC 3629). */
bool utf8_is_valid(slice_t text);

/* Whether the bytes are valid UTF-8 without NUL: what a string of ours may hold. */
bool utf8_is_text(slice_t text);

/* The bytes of the character at the start of the text; 0 if it is empty or does not start with a
 * valid one. */
size_t utf8_char_bytes(slice_t text);

/* The number of characters (code points) of valid UTF-8. */
size_t utf8_count(slice_t text);

#endif
