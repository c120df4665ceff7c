/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks over a WebSocket: one message, read into a struct. Pure. */
#ifndef TASKWIRE_WS_REQUEST_H
#define TASKWIRE_WS_REQUEST_H

#include "schema/arena.h"
#include "schema/err.h"
#include "schema/uuid.h"

#define WS_REF_MAX_BYTES 128
#define WS_TOKEN_MAX_BYTES 512
#define WS_MAX_AFTERS 1000 /* positions of a `subscribe` to all */

typedef enum {
    WS_OP_NONE, /* could not be read */
    WS_OP_HELLO,
    WS_OP_SUBSCRIBE,
    WS_OP_UNSUBSCRIBE,
    WS_OP_COMMAND,
    WS_OP_PING,
} ws_op_t;

/* Everything is in the arena. */
typedef struct {
    ws_op_t op;
    slice_t ref; /* as JSON, to be repeated in the answer; absent: none */
    slice_t token; /* hello */
    uuid_t stream; /* subscribe, unsubscribe; nil with `all` */
    bool is_all;
    bool has_after;
    int64_t after;
    slice_t afters; /* with `all`: a msgpack map of stream → rev (ids in lower case), or absent */
    slice_t epoch; /* absent: none */
    bool closed;
    slice_t command; /* a msgpack map, or absent */
} ws_request_t;

/* Reads a JSON message. `ref` is set as soon as it can be read, whatever else is wrong.
 * Errors: MALFORMED: no JSON. INVALID: with pointers. */
err_t ws_request_read_json(slice_t text, arena_t *arena, ws_request_t *out, problem_t *problem);

/* The same for a message in msgpack, as others write it. */
err_t ws_request_read_msgpack(slice_t bytes, arena_t *arena, ws_request_t *out, problem_t *problem);

/* The same for canonical msgpack, which either is turned into. */
err_t ws_request_read(slice_t map, arena_t *arena, ws_request_t *out, problem_t *problem);

#endif
