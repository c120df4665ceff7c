/* SPDX-License-Identifier: Apache-2.0 */
/* What sync knows of streams: who watches each, and the recent frames of those that moved last. All
 * rings together are bounded: the stream that has not moved for the longest time loses its frames
 * first. Pure. */
#ifndef TASKWIRE_RECENT_H
#define TASKWIRE_RECENT_H

#include "actors/idmap.h"
#include "actors/links.h"
#include "actors/ring.h"

typedef uint32_t gateway_set_t; /* bit G for gateway G */

/* A stream that moved lately or is watched. */
typedef struct {
    idnode_t node; /* by stream id */
    link_t lru; /* alone while it has no frames */
    ring_t ring;
    gateway_set_t watchers;
    gateway_set_t missed; /* watchers that must be told anew where the stream is */
    frame_t *
        *outgoing; /* to be sent to the watchers, in order; whatever the ring drops meanwhile */
    size_t n_outgoing;
    size_t max_outgoing;
    link_t is_outgoing; /* among the streams that have any */
} recent_stream_t;

typedef struct {
    idmap_t streams;
    link_t lru; /* the first moved longest ago */
    link_t outgoing; /* streams with something to send */
    size_t n_bytes;
    size_t max_bytes;
    const ring_limits_t *limits;
} recent_t;

void recent_init(recent_t *self, const ring_limits_t *limits, size_t max_bytes);
void recent_fini(recent_t *self);

/* What is known of the stream; NULL: nothing. */
recent_stream_t *recent_find(const recent_t *self, const uuid_t *stream);
/* The same, and remembers it if nothing is known: until it is watched or has frames, for this call
 * only. */
recent_stream_t *recent_get(recent_t *self, const uuid_t *stream);
/* Walks all as idmap_walk does. */
recent_stream_t *recent_walk(const recent_t *self, const recent_stream_t *stream);

/* Adds a frame to its stream, for its watchers too, and drops what is then too much anywhere.
 * Unless it is watched the stream must not be used afterwards. */
ring_put_t recent_put(recent_t *self, recent_stream_t *stream, frame_t *frame);

/* The first stream with something to send, or NULL; sent says that it is done with. */
recent_stream_t *recent_outgoing(recent_t *self);
void recent_sent(recent_stream_t *stream);

/* The gateway begins or ends to watch. */
void recent_watch(recent_t *self, recent_stream_t *stream, uint32_t gateway);
/* Forgets the stream if nothing else keeps it. */
void recent_unwatch(recent_t *self, recent_stream_t *stream, uint32_t gateway);

/* Drops the frames of a stream, of which nothing else changes; it must not be used afterwards
 * unless it is watched. */
void recent_drop(recent_t *self, recent_stream_t *stream);

/* Another history: drops all frames and revs. Who watches what stays. */
void recent_forget(recent_t *self);

#endif
