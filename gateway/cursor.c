/* SPDX-License-Identifier: Apache-2.0 */
/* Each rev once and in order follows from `next` alone: it only ever grows by one, for an event
 * that was handed over. So the question is only where to look. */
#include "gateway/cursor.h"

void cursor_init(cursor_t *self, int64_t after, int64_t head)
{
    *self = (cursor_t){.next = after + 1, .goal = head};
}

/* Behind what the ring holds, or the ring has never held anything. */
static cursor_where_t look_behind(cursor_t *self)
{
    return self->is_live ? CURSOR_LOST : CURSOR_LOG;
}

cursor_where_t cursor_look(cursor_t *self, const ring_t *ring)
{
    if (ring->next != 0 && self->next < ring_first(ring))
        return look_behind(self);
    if (self->next < ring->next)
        return CURSOR_RING;
    if (self->next > self->goal) {
        self->is_live = true;
        return CURSOR_WAIT;
    }
    /* Not all that was there at the beginning has been had. If the ring is alive it will come by
     * itself; but the log has it now. */
    return look_behind(self);
}

void cursor_relapse(cursor_t *self, const ring_t *ring)
{
    if (self->next < ring_first(ring))
        self->is_live = false;
}
