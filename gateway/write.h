/* SPDX-License-Identifier: Apache-2.0 */
/* From a request that changes something to a command, and from its result to the headers of the
 * answer: what all writes have in common. Functions that return false have answered. */
#ifndef TASKWIRE_WRITE_H
#define TASKWIRE_WRITE_H

#include "gateway/call.h"

/* Takes the command's id from Idempotency-Key, or draws one. Errors: MALFORMED: it is no UUID. */
bool write_take_id(call_t *call);

/* Begins a command of the call's account with that id: author, scopes and lists of its token. */
bool write_begin(call_t *call, op_t op, command_t *out);

/* Makes a derived id look like one of version 7 with the time of the command's id, if that has one:
 * new rows then lie beside each other. */
uuid_t write_stamp_id(uuid_t id, const uuid_t *command);

/* Reads the body as msgpack, canonical, in the arena; absent if there is none, which `is_needed`
 * forbids. Errors: UNSUPPORTED_MEDIA_TYPE, MALFORMED, INVALID. */
bool write_read_body(call_t *call, bool is_needed, slice_t *out);

/* Takes the field `id`, which a client may choose, out of an object; what is left is in the arena.
 * Something that is no object is left to whoever reads it. Errors: INVALID: it is no UUID. */
bool write_split_id(call_t *call, slice_t body, uuid_t *id, slice_t *rest);

/* Fills `expect` from If-Match. Errors: UNAVAILABLE: the epoch is not known yet. */
bool write_expect_task(call_t *call, command_t *command);
bool write_expect_list(call_t *call, command_t *command);

/* Adds Command-Rev, Idempotent-Replay if it was one, and Successor-Kept if a next occurrence stays
 * beside the task that was opened again. */
void write_put_headers(call_t *call, const result_t *result);

/* Adds Location: a path that ends with a slash, and the id. */
void write_put_location(call_t *call, const char *path, const uuid_t *id);

#endif
