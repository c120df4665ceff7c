/* SPDX-License-Identifier: Apache-2.0 */
/* What a socket gets when it takes more: its subscriptions in turn, each a share, so that a busy
 * stream does not starve a quiet one. From the ring this is one copy of bytes that are the same for
 * everybody; nothing is kept per client but the cursor. */
#include "gateway/live.h"

#define SHARE_BYTES ((size_t)16 * 1024)

void deliver_later(subscription_t *self)
{
    if (self->is_suspended || !link_is_alone(&self->ready))
        return;
    link_append(&self->ws->ready, &self->ready);
    ws_wake(self->ws);
}

/* Appends frames until `out` holds `end` bytes or there are no more. False: the subscription has
 * ended. */
static bool put_from_ring(subscription_t *self, buf_t *out, size_t end)
{
    const ring_t *ring = &self->followed->ring;
    const hub_t *hub = self->ws->hub;
    int64_t first = self->cursor.next;
    int64_t at_us = 0;
    while (self->cursor.next < ring->next && out->n_bytes < end) {
        frame_t *frame = ring_at(ring, self->cursor.next);
        slice_t bytes = frame_in(frame, self->ws->encoding);
        if (bytes.n_bytes == 0) {
            subscription_reset(self, "an event was purged");
            return false;
        }
        at_us = frame_at_us(frame);
        buf_append_slice(out, bytes);
        self->cursor.next++;
    }
    metric_add(hub->n_frames_sent, self->cursor.next - first);
    metric_observe(hub->commit_to_frame, hub->gateway->now.wall_us - at_us);
    return true;
}

/* One step; true if there may be another one. */
static bool step(subscription_t *self, buf_t *out, size_t end)
{
    if (self->phase == SUB_SHOWING) {
        if (self->snapshot == NULL)
            snapshot_want(self);
        else
            return snapshot_put(self, out);
        return false;
    }
    if (self->page != NULL)
        return backfill_put(self, out, end);
    if (self->ask != NULL)
        return false; /* a page is being read: it begins where the cursor stands */
    cursor_where_t where = cursor_look(&self->cursor, &self->followed->ring);
    if (where != CURSOR_LOG)
        link_leave(&self->waiting); /* the ring has caught up while a page was waited for */
    switch (where) {
    case CURSOR_WAIT:
        return false;
    case CURSOR_RING:
        return put_from_ring(self, out, end);
    case CURSOR_LOG:
        backfill_want(self);
        return false;
    case CURSOR_LOST:
        subscription_reset(self, "too slow");
        return false;
    }
    return false;
}

bool deliver(ws_t *ws, buf_t *out, size_t end)
{
    link_t *link;
    while (out->n_bytes < end && ws->state == WS_OPEN && (link = link_first(&ws->ready)) != NULL) {
        subscription_t *self = LINK_OWNER(link, subscription_t, ready);
        size_t share = out->n_bytes + SHARE_BYTES < end ? out->n_bytes + SHARE_BYTES : end;
        bool has_more = true;
        link_leave(&self->ready);
        while (has_more && out->n_bytes < share)
            has_more = step(self, out, share);
        if (has_more)
            link_append(&ws->ready, &self->ready);
    }
    return !link_is_alone(&ws->ready);
}
