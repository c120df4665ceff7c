/* SPDX-License-Identifier: Apache-2.0 */
/* A stream is kept as long as somebody watches it, because only then is it sure that no event of it
 * went by unnoticed, or as long as it has frames. So memory is bounded by what gateways watch,
 * which they bound, and by the bytes of all frames. */
#include "actors/recent.h"

#include <stdlib.h>

void recent_init(recent_t *self, const ring_limits_t *limits, size_t max_bytes)
{
    *self = (recent_t){.limits = limits, .max_bytes = max_bytes};
    idmap_init(&self->streams);
    link_init(&self->lru);
    link_init(&self->outgoing);
}

/* Frees a stream that nothing keeps. */
static void release(recent_t *self, recent_stream_t *stream)
{
    if (stream->watchers != 0 || stream->ring.n > 0)
        return;
    self->n_bytes -= sizeof *stream;
    link_leave(&stream->lru);
    recent_sent(stream);
    idmap_remove(&self->streams, &stream->node);
    free(stream);
}

/* Drops the frames of a stream; it must not be used afterwards unless it is watched. */
static void empty(recent_t *self, recent_stream_t *stream, int64_t next)
{
    self->n_bytes -= stream->ring.n_bytes;
    ring_drop(&stream->ring, next);
    link_leave(&stream->lru);
    release(self, stream);
}

recent_stream_t *recent_walk(const recent_t *self, const recent_stream_t *stream)
{
    idnode_t *node = idmap_walk(&self->streams, stream != NULL ? &stream->node : NULL);
    return node == NULL ? NULL : LINK_OWNER(node, recent_stream_t, node);
}

void recent_drop(recent_t *self, recent_stream_t *stream)
{
    empty(self, stream, stream->ring.next);
}

void recent_forget(recent_t *self)
{
    recent_stream_t *next;
    for (recent_stream_t *stream = recent_walk(self, NULL); stream != NULL; stream = next) {
        next = recent_walk(self, stream);
        recent_sent(stream);
        empty(self, stream, 0);
    }
}

void recent_fini(recent_t *self)
{
    recent_stream_t *next;
    for (recent_stream_t *stream = recent_walk(self, NULL); stream != NULL; stream = next) {
        next = recent_walk(self, stream);
        stream->watchers = 0;
        empty(self, stream, 0);
    }
    idmap_fini(&self->streams);
}

recent_stream_t *recent_find(const recent_t *self, const uuid_t *id)
{
    idnode_t *node = idmap_find(&self->streams, id);
    return node == NULL ? NULL : LINK_OWNER(node, recent_stream_t, node);
}

recent_stream_t *recent_get(recent_t *self, const uuid_t *id)
{
    recent_stream_t *stream = recent_find(self, id);
    if (stream != NULL)
        return stream;
    stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        abort();
    link_init(&stream->lru);
    link_init(&stream->is_outgoing);
    ring_init(&stream->ring, self->limits);
    idmap_put(&self->streams, &stream->node, id);
    self->n_bytes += sizeof *stream;
    return stream;
}

static void shrink(recent_t *self)
{
    link_t *oldest;
    while (self->n_bytes > self->max_bytes && (oldest = link_first(&self->lru)) != NULL) {
        recent_stream_t *stream = LINK_OWNER(oldest, recent_stream_t, lru);
        empty(self, stream, stream->ring.next);
    }
}

static void add_outgoing(recent_t *self, recent_stream_t *stream, frame_t *frame)
{
    if (stream->n_outgoing == stream->max_outgoing) {
        stream->max_outgoing = stream->max_outgoing == 0 ? 4 : stream->max_outgoing * 2;
        size_t n_bytes = stream->max_outgoing * sizeof(frame_t *);
        stream->outgoing = realloc(stream->outgoing, n_bytes);
        if (stream->outgoing == NULL)
            abort();
    }
    stream->outgoing[stream->n_outgoing++] = frame_share(frame);
    link_append(&self->outgoing, &stream->is_outgoing);
}

ring_put_t recent_put(recent_t *self, recent_stream_t *stream, frame_t *frame)
{
    size_t before = stream->ring.n_bytes;
    ring_put_t verdict = ring_put(&stream->ring, frame);
    self->n_bytes += stream->ring.n_bytes - before;
    if (verdict == RING_DUPLICATE) {
        release(self, stream);
        return verdict;
    }
    if (stream->watchers != 0)
        add_outgoing(self, stream, frame);
    link_append(&self->lru, &stream->lru);
    shrink(self);
    return verdict;
}

recent_stream_t *recent_outgoing(recent_t *self)
{
    link_t *link = link_first(&self->outgoing);
    return link == NULL ? NULL : LINK_OWNER(link, recent_stream_t, is_outgoing);
}

void recent_sent(recent_stream_t *stream)
{
    for (size_t i = 0; i < stream->n_outgoing; i++)
        frame_release(&stream->outgoing[i]);
    free(stream->outgoing);
    stream->outgoing = NULL;
    stream->n_outgoing = 0;
    stream->max_outgoing = 0;
    link_leave(&stream->is_outgoing);
}

void recent_watch(recent_t *self, recent_stream_t *stream, uint32_t gateway)
{
    (void)self;
    stream->watchers |= (gateway_set_t)1 << gateway;
}

void recent_unwatch(recent_t *self, recent_stream_t *stream, uint32_t gateway)
{
    stream->watchers &= ~((gateway_set_t)1 << gateway);
    stream->missed &= stream->watchers;
    release(self, stream);
}
