/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames as a client needs them (RFC 6455). */
#ifndef TASKWIRE_BENCH_WS_H
#define TASKWIRE_BENCH_WS_H

#include "schema/buf.h"

typedef enum { WS_MORE, WS_TEXT, WS_BINARY, WS_CLOSE = 8, WS_PING, WS_PONG } ws_opcode_t;

/* Appends a client's frame; payloads up to 65,535 bytes. */
void ws_put_frame(buf_t *out, ws_opcode_t op, slice_t payload);

/* The length of the whole frame of a server at the start of the bytes, 0 if more must come; what it
 * carries borrows from them. */
size_t ws_take_frame(slice_t bytes, ws_opcode_t *op, slice_t *payload);

/* Appends a client's handshake. `protocol` and `token` may be NULL. */
void ws_put_handshake(buf_t *out, const char *host, const char *port, const char *path,
                      const char *protocol, const char *token);

/* The length of the server's answer to it at the start of the bytes, 0 if more must come; ends the
 * program if it refuses. */
size_t ws_take_handshake(slice_t bytes);

#endif
