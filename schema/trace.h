/* SPDX-License-Identifier: Apache-2.0 */
/* W3C trace context: which request, perhaps of another program, something goes back to. A request
 * brings `traceparent`; its command, the events of that, their records in Kafka and the commands
 * that actors send because of them are of the same trace. Each hop is a span of its own: what it
 * hands on names itself as the parent. Ids of spans are derived, not drawn, so that what is done
 * again says the same.
 *
 * Source: W3C Trace Context, level 1 (and the flag `random` of level 2). `tracestate` is not
 * carried. */
#ifndef TASKWIRE_TRACE_H
#define TASKWIRE_TRACE_H

#include "schema/slice.h"
#include "schema/uuid.h"

#define TRACE_ID_BYTES 16
#define TRACE_SPAN_BYTES 8
#define TRACE_BYTES (TRACE_ID_BYTES + TRACE_SPAN_BYTES + 1)
#define TRACE_PARENT_CHARS 55

/* Trace id, id of the parent span, flags. All zero: none. */
typedef struct {
    uint8_t bytes[TRACE_BYTES];
} trace_t;

bool trace_is_none(const trace_t *self);

/* Reads a `traceparent`. False, and `out` is none: it is malformed, or there is none; that is to be
 * taken as if nothing had been said. Of a later version what this one knows is read. */
bool trace_parse(slice_t text, trace_t *out);

/* TRACE_BYTES as they are stored; of any other length: none. */
trace_t trace_of(slice_t bytes);
/* Borrows; absent if it is none. */
slice_t trace_slice(const trace_t *self);

/* The span of a command that was caused by something of this trace: the same trace, an id of the
 * span that depends on the parent and the command's id only. Of none it is none. */
trace_t trace_child(const trace_t *self, const uuid_t *command);

#endif
