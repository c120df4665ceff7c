/* SPDX-License-Identifier: Apache-2.0 */
/* The recent frames of one stream, consecutive revs without a gap, bounded by count and bytes: what
 * is beyond drops out at the old end, but the newest always stays. Pure. */
#ifndef TASKWIRE_RING_H
#define TASKWIRE_RING_H

#include "actors/frame.h"

typedef struct {
    uint32_t max_frames; /* a power of two */
    size_t max_bytes; /* as frame_cost counts */
} ring_limits_t;

typedef struct {
    const ring_limits_t *limits;
    frame_t **slots; /* grows as it fills */
    uint32_t capacity;
    uint32_t at; /* the slot of the oldest */
    uint32_t n;
    size_t n_bytes;
    int64_t next; /* the rev behind the newest; 0: nothing is known of the stream yet */
} ring_t;

typedef enum {
    RING_ADDED,
    RING_DUPLICATE, /* below next: nothing changed */
    RING_RESTARTED, /* above next: what was there is dropped, the frame is all that is there */
} ring_put_t;

/* Makes an empty ring that knows nothing. Owns: the limits are static. */
void ring_init(ring_t *self, const ring_limits_t *limits);
void ring_fini(ring_t *self);

/* Adds a frame; takes a reference of its own if it keeps it. */
ring_put_t ring_put(ring_t *self, frame_t *frame);

/* The frame of that rev, borrowed; NULL if it is not there. */
frame_t *ring_at(const ring_t *self, int64_t rev);

/* The rev of the oldest frame; `next` if there is none. */
static inline int64_t ring_first(const ring_t *self)
{
    return self->next - self->n;
}

/* Drops all frames; `next` says which rev comes next, 0: unknown. */
void ring_drop(ring_t *self, int64_t next);

#endif
