/* SPDX-License-Identifier: Apache-2.0 */
/* A timing wheel: very many deadlines, nearly all of which are moved before they come. Setting,
 * moving and cancelling cost the same however many there are. It reads no clock. */
#ifndef TASKWIRE_GATEWAY_WHEEL_H
#define TASKWIRE_GATEWAY_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A deadline may fire up to this much late. */
#define WHEEL_TICK_US INT64_C(100000)

typedef struct wheel wheel_t;
typedef struct wheel_timer wheel_timer_t;

/* Part of what has the deadline; zero-initialised, but for `fire`, it is not set. */
struct wheel_timer {
    wheel_timer_t *next; /* NULL: not set */
    wheel_timer_t *prev;
    int64_t due_us;
    void (*fire)(wheel_timer_t *self); /* the timer is not set any more by then, and may be set anew
                                          or freed */
};

/* Units: microseconds of the monotonic clock. */
wheel_t *wheel_new(int64_t now_us);
/* Timers that are still set are forgotten: none of them may be touched through the wheel
 * afterwards. */
void wheel_destroy(wheel_t **self_p);

/* Sets the timer, or moves it. */
void wheel_set(wheel_t *self, wheel_timer_t *timer, int64_t due_us);
/* Harmless for a timer that is not set. */
void wheel_cancel(wheel_t *self, wheel_timer_t *timer);

/* Fires what is due. Timers may be set and cancelled, any of them, while it does. */
void wheel_turn(wheel_t *self, int64_t now_us);

/* How many are set. */
size_t wheel_count(const wheel_t *self);

#endif
