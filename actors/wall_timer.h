/* SPDX-License-Identifier: Apache-2.0 */
/* Wakes an actor at an instant of the wall clock, and at once when that clock is set. Sleeping for
 * so long would do neither: a clock that is put forward would make it late. Source: timerfd(2),
 * TFD_TIMER_CANCEL_ON_SET. */
#ifndef TASKWIRE_WALL_TIMER_H
#define TASKWIRE_WALL_TIMER_H

#include "actors/actor.h"

typedef struct wall_timer wall_timer_t;

/* Watches for the actor from now on. Thread: the actor's. */
wall_timer_t *wall_timer_new(actor_t *actor);
void wall_timer_destroy(wall_timer_t **self_p);

/* Wakes the actor at that instant, instead of any former one. */
void wall_timer_set(wall_timer_t *self, int64_t at_us);

/* Whether the clock jumped since this was asked last: it was set, or went another way than the
 * monotonic one, as it does while the machine sleeps. */
bool wall_timer_has_jumped(wall_timer_t *self, now_t now);

#endif
