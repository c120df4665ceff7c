/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timing wheel: very many deadlines, however near or far. Setting, moving and
 * cancelling cost the same however many there are, and so does what comes of each: it is put
 * forward a few times at most. It reads no clock; time may be the wall clock's or the monotonic
 * one's, as long as it goes forward (after a jump backward a wheel is still right, but slow).
 * Source: Varghese and Lauck, Hashed and Hierarchical Timing Wheels. */
#ifndef TASKWIRE_WHEEL_H
#define TASKWIRE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wheel wheel_t;
typedef struct wheel_timer wheel_timer_t;

/* Part of what has the deadline; zero-initialised, but for `fire`, it is not set. */
struct wheel_timer {
    wheel_timer_t *next; /* NULL: not set */
    wheel_timer_t *prev;
    int64_t due_us;
    void (*fire)(wheel_timer_t *self, void *arg); /* the timer is not set any more by then, and may
                                                     be set anew or freed */
};

/* Units: microseconds. `tick_us` says how finely deadlines are told apart while they wait; each
 * fires at the first turn that is not before it all the same. `arg` is what `fire` gets. */
wheel_t *wheel_new(int64_t now_us, int64_t tick_us, void *arg);
/* Timers that are still set are forgotten: none of them may be touched through the wheel
 * afterwards. */
void wheel_destroy(wheel_t **self_p);

/* Sets the timer, or moves it. */
void wheel_set(wheel_t *self, wheel_timer_t *timer, int64_t due_us);
/* Harmless for a timer that is not set. */
void wheel_cancel(wheel_t *self, wheel_timer_t *timer);

/* Fires what is due, never what is not; tick by tick, but in no order within a tick. Timers may be
 * set and cancelled, any of them, while it does: one that is set to what is due already fires at
 * the next turn. */
void wheel_turn(wheel_t *self, int64_t now_us);

/* Until when turning would do nothing: the next deadline, or an instant at most a tick before it,
 * or one at which those further away are put forward. INT64_MAX: nothing is set. */
int64_t wheel_next_us(const wheel_t *self);

/* How many are set. */
size_t wheel_count(const wheel_t *self);

#endif
