/* SPDX-License-Identifier: Apache-2.0 */
/* One ring of slots, a tick each, with a list of timers per slot. What is further away than a round
 * waits in the last slot of the round and is put forward when that comes: rare, because no deadline
 * of a connection is far away. A slot's timers are moved to a list of their own before they fire,
 * so that whatever they set or cancel meets whole lists. */
#include "gateway/wheel.h"

#include <stdlib.h>

#define SLOTS 1024

struct wheel {
    int64_t tick; /* the last one that was turned to */
    size_t n_set;
    wheel_timer_t slots[SLOTS]; /* heads of rings */
};

static void ring_init(wheel_timer_t *head)
{
    head->next = head;
    head->prev = head;
}

static void ring_put(wheel_timer_t *head, wheel_timer_t *timer)
{
    timer->prev = head->prev;
    timer->next = head;
    head->prev->next = timer;
    head->prev = timer;
}

static void ring_take(wheel_timer_t *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = NULL;
    timer->prev = NULL;
}

wheel_t *wheel_new(int64_t now_us)
{
    wheel_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->tick = now_us / WHEEL_TICK_US;
    for (size_t i = 0; i < SLOTS; i++)
        ring_init(&self->slots[i]);
    return self;
}

void wheel_destroy(wheel_t **self_p)
{
    if (self_p == NULL)
        return;
    free(*self_p);
    *self_p = NULL;
}

/* Rounds up: a timer never fires early. */
static void put(wheel_t *self, wheel_timer_t *timer)
{
    int64_t tick = timer->due_us / WHEEL_TICK_US + 1;
    if (tick <= self->tick)
        tick = self->tick + 1;
    if (tick >= self->tick + SLOTS)
        tick = self->tick + SLOTS - 1;
    ring_put(&self->slots[tick % SLOTS], timer);
    self->n_set++;
}

void wheel_set(wheel_t *self, wheel_timer_t *timer, int64_t due_us)
{
    wheel_cancel(self, timer);
    timer->due_us = due_us;
    put(self, timer);
}

void wheel_cancel(wheel_t *self, wheel_timer_t *timer)
{
    if (timer->next == NULL)
        return;
    ring_take(timer);
    self->n_set--;
}

static void turn_slot(wheel_t *self, wheel_timer_t *slot, int64_t now_us)
{
    if (slot->next == slot)
        return;
    wheel_timer_t due = *slot;
    due.next->prev = &due;
    due.prev->next = &due;
    ring_init(slot);
    while (due.next != &due) {
        wheel_timer_t *timer = due.next;
        wheel_cancel(self, timer);
        if (timer->due_us > now_us)
            put(self, timer);
        else
            timer->fire(timer);
    }
}

void wheel_turn(wheel_t *self, int64_t now_us)
{
    int64_t target = now_us / WHEEL_TICK_US;
    /* After a long sleep each slot needs to be looked at once only. */
    if (target - self->tick > SLOTS)
        self->tick = target - SLOTS;
    while (self->tick < target) {
        self->tick++;
        turn_slot(self, &self->slots[self->tick % SLOTS], now_us);
    }
}

size_t wheel_count(const wheel_t *self)
{
    return self->n_set;
}
