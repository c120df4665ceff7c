/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscription is in its stream, and where its next event is to be had: from the ring of
 * recent frames, or from the log in PostgreSQL. The hand-over between the two is decided here and
 * nowhere else. Pure.
 *
 * What it rests on: the stream was being followed before `goal`, the stream's head, was looked up.
 * So every event above `goal` comes to the ring, sooner or later, and what the ring does not hold
 * of those up to `goal` is in the log. */
#ifndef TASKWIRE_CURSOR_H
#define TASKWIRE_CURSOR_H

#include "actors/ring.h"

typedef struct {
    int64_t next; /* the rev that the client needs next */
    int64_t goal; /* the head of the stream when the subscription began */
    bool is_live; /* it has caught up at least once: from now on it is the client that must keep up
                   */
} cursor_t;

typedef enum {
    CURSOR_WAIT, /* nothing is missing */
    CURSOR_RING, /* `next` is in the ring */
    CURSOR_LOG, /* `next` must be read from the log */
    CURSOR_LOST, /* the ring no longer has it, because the client was too slow */
} cursor_where_t;

/* A cursor behind rev `after` of a stream with this head. */
void cursor_init(cursor_t *self, int64_t after, int64_t head);

/* Where the next event is. Notes when the cursor becomes live. */
cursor_where_t cursor_look(cursor_t *self, const ring_t *ring);

/* The ring began anew, which was not the client's fault: a cursor behind it catches up from the
 * log. */
void cursor_relapse(cursor_t *self, const ring_t *ring);

#endif
