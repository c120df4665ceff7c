/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of 64 slots, each a ring of timers, with a word per level that says which slots hold any.
 * A deadline is in ticks. A timer waits at the level of the highest six bits in which its tick
 * differs from the wheel's, in the slot that those six bits of its own name. When the wheel comes
 * to the first tick of a slot above level 0, the slot's timers are put anew and fall to lower
 * levels. Eleven levels cover all 64 bits, so that nothing is too far away. What is in the tick
 * that the wheel has come to, or before, is `current` and is looked at in every turn.
 *
 * Ticks without timers cost nothing: the words say which tick is next, however far it is. */
#include "actors/wheel.h"

#include <assert.h>
#include <stdlib.h>

#define SLOT_BITS 6
#define SLOTS 64
#define LEVELS 11
/* Makes the order of ticks that of unsigned numbers. */
#define BIAS (UINT64_C(1) << 63)

struct wheel {
    int64_t tick_us;
    uint64_t tick; /* the one that it has come to */
    void *arg;
    size_t n_set;
    uint64_t taken[LEVELS]; /* bit S: slot S holds a timer */
    wheel_timer_t slots[LEVELS][SLOTS]; /* heads of rings */
    wheel_timer_t current;
};

/* --- rings --- */

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

/* Moves all of the ring `from` to the empty ring `to`. */
static void ring_move(wheel_timer_t *from, wheel_timer_t *to)
{
    ring_init(to);
    if (from->next == from)
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    ring_init(from);
}

/* --- ticks --- */

static uint64_t tick_of(const wheel_t *self, int64_t at_us)
{
    int64_t tick = at_us / self->tick_us - (at_us % self->tick_us < 0);
    return (uint64_t)tick ^ BIAS;
}

/* The first instant of a tick. */
static int64_t start_of(const wheel_t *self, uint64_t tick)
{
    int64_t start_us;
    if (__builtin_mul_overflow((int64_t)(tick ^ BIAS), self->tick_us, &start_us))
        return INT64_MIN;
    return start_us;
}

static unsigned slot_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * SLOT_BITS)) & (SLOTS - 1);
}

static void put(wheel_t *self, wheel_timer_t *timer)
{
    uint64_t tick = tick_of(self, timer->due_us);
    if (tick <= self->tick) {
        ring_put(&self->current, timer);
        return;
    }
    unsigned level = (63 - (unsigned)__builtin_clzll(tick ^ self->tick)) / SLOT_BITS;
    unsigned slot = slot_of(tick, level);
    ring_put(&self->slots[level][slot], timer);
    self->taken[level] |= UINT64_C(1) << slot;
}

/* The first tick after the wheel's that has a slot with timers at this level; false: none. Since
 * such a slot is always ahead within its round, that is found among the higher bits of the word. A
 * slot that was emptied by cancelling is still marked until the wheel comes by. */
static bool next_at(const wheel_t *self, unsigned level, uint64_t *tick)
{
    unsigned slot = slot_of(self->tick, level);
    uint64_t ahead = slot == SLOTS - 1 ? 0 : self->taken[level] >> (slot + 1) << (slot + 1);
    if (ahead == 0)
        return false;
    unsigned bits = level * SLOT_BITS;
    uint64_t round = bits + SLOT_BITS >= 64 ? 0 : self->tick >> (bits + SLOT_BITS) << SLOT_BITS;
    *tick = (round | (unsigned)__builtin_ctzll(ahead)) << bits;
    return true;
}

/* The lower the level, the sooner. */
static bool next_tick(const wheel_t *self, unsigned *level, uint64_t *tick)
{
    for (*level = 0; *level < LEVELS; (*level)++) {
        if (next_at(self, *level, tick))
            return true;
    }
    return false;
}

/* Empties a slot that the wheel has come to: its timers fall to where they belong now. */
static void open_slot(wheel_t *self, unsigned level, unsigned slot)
{
    wheel_timer_t all;
    ring_move(&self->slots[level][slot], &all);
    self->taken[level] &= ~(UINT64_C(1) << slot);
    while (all.next != &all) {
        wheel_timer_t *timer = all.next;
        ring_take(timer);
        put(self, timer);
    }
}

/* --- the wheel --- */

wheel_t *wheel_new(int64_t now_us, int64_t tick_us, void *arg)
{
    wheel_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    assert(tick_us > 0);
    self->tick_us = tick_us;
    self->arg = arg;
    self->tick = tick_of(self, now_us);
    for (size_t level = 0; level < LEVELS; level++) {
        for (size_t slot = 0; slot < SLOTS; slot++)
            ring_init(&self->slots[level][slot]);
    }
    ring_init(&self->current);
    return self;
}

void wheel_destroy(wheel_t **self_p)
{
    if (self_p == NULL)
        return;
    free(*self_p);
    *self_p = NULL;
}

void wheel_set(wheel_t *self, wheel_timer_t *timer, int64_t due_us)
{
    wheel_cancel(self, timer);
    timer->due_us = due_us;
    put(self, timer);
    self->n_set++;
}

void wheel_cancel(wheel_t *self, wheel_timer_t *timer)
{
    if (timer->next == NULL)
        return;
    ring_take(timer);
    self->n_set--;
}

void wheel_turn(wheel_t *self, int64_t now_us)
{
    uint64_t target = tick_of(self, now_us);
    uint64_t tick;
    unsigned level;
    while (next_tick(self, &level, &tick) && tick <= target) {
        self->tick = tick;
        open_slot(self, level, slot_of(tick, level));
    }
    if (self->tick < target)
        self->tick = target;
    /* Whatever they set meanwhile comes into whole rings. */
    wheel_timer_t due;
    ring_move(&self->current, &due);
    while (due.next != &due) {
        wheel_timer_t *timer = due.next;
        ring_take(timer);
        if (timer->due_us > now_us) {
            put(self, timer);
        } else {
            self->n_set--;
            timer->fire(timer, self->arg);
        }
    }
}

int64_t wheel_next_us(const wheel_t *self)
{
    uint64_t tick;
    unsigned level;
    int64_t next_us = INT64_MAX;
    for (const wheel_timer_t *timer = self->current.next; timer != &self->current;
         timer = timer->next)
        next_us = timer->due_us < next_us ? timer->due_us : next_us;
    if (next_us == INT64_MAX && next_tick(self, &level, &tick))
        next_us = start_of(self, tick);
    return next_us;
}

size_t wheel_count(const wheel_t *self)
{
    return self->n_set;
}
