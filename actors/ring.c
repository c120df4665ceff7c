/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of pointers used round and round. Most streams are idle, so the slots are few at first and
 * go when the frames go. */
#include "actors/ring.h"

#include <stdlib.h>

#define FIRST_CAPACITY 4

void ring_init(ring_t *self, const ring_limits_t *limits)
{
    *self = (ring_t){.limits = limits};
}

void ring_fini(ring_t *self)
{
    ring_drop(self, 0);
}

static frame_t **slot(const ring_t *self, uint32_t i)
{
    return &self->slots[(self->at + i) & (self->capacity - 1)];
}

static void drop_oldest(ring_t *self)
{
    frame_t **oldest = slot(self, 0);
    self->n_bytes -= frame_cost(*oldest);
    frame_release(oldest);
    self->at = (self->at + 1) & (self->capacity - 1);
    self->n--;
}

static void grow(ring_t *self)
{
    uint32_t capacity = self->capacity == 0 ? FIRST_CAPACITY : self->capacity * 2;
    frame_t **slots = calloc(capacity, sizeof(frame_t *));
    if (slots == NULL)
        abort();
    for (uint32_t i = 0; i < self->n; i++)
        slots[i] = *slot(self, i);
    free(self->slots);
    self->slots = slots;
    self->capacity = capacity;
    self->at = 0;
}

static void add(ring_t *self, frame_t *frame)
{
    while (self->n > 0 && (self->n >= self->limits->max_frames ||
                           self->n_bytes + frame_cost(frame) > self->limits->max_bytes))
        drop_oldest(self);
    if (self->n == self->capacity)
        grow(self);
    *slot(self, self->n) = frame_share(frame);
    self->n++;
    self->n_bytes += frame_cost(frame);
    self->next = frame_rev(frame) + 1;
}

ring_put_t ring_put(ring_t *self, frame_t *frame)
{
    int64_t rev = frame_rev(frame);
    if (rev < self->next)
        return RING_DUPLICATE;
    bool is_next = rev == self->next;
    if (!is_next)
        ring_drop(self, rev);
    add(self, frame);
    return is_next ? RING_ADDED : RING_RESTARTED;
}

frame_t *ring_at(const ring_t *self, int64_t rev)
{
    if (rev < ring_first(self) || rev >= self->next)
        return NULL;
    return *slot(self, (uint32_t)(rev - ring_first(self)));
}

void ring_drop(ring_t *self, int64_t next)
{
    while (self->n > 0)
        drop_oldest(self);
    free(self->slots);
    self->slots = NULL;
    self->capacity = 0;
    self->at = 0;
    self->next = next;
}
