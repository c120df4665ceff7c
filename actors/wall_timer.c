/* SPDX-License-Identifier: Apache-2.0 */
/* That the clock was set, the kernel tells by cancelling the timer. Not every change comes so (a
 * machine that slept, a clock that is made up), so the two clocks are held against each other too.
 */
#include "actors/wall_timer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* More than any slewing makes of a second's sleep. */
#define JUMP_US INT64_C(100000)

struct wall_timer {
    actor_t *actor;
    int fd;
    int64_t at_us; /* that it is set to */
    bool is_cancelled;
    bool has_asked;
    int64_t ahead_us; /* of the wall clock before the monotonic one, when that was asked last */
};

/* That it went off is all that the actor needs to know: its turn sees what is due. */
static void on_ready(void *arg, short events, now_t now)
{
    wall_timer_t *self = arg;
    uint64_t n_times;
    (void)events;
    (void)now;
    ssize_t n = read(self->fd, &n_times, sizeof n_times);
    self->is_cancelled = self->is_cancelled || (n < 0 && errno == ECANCELED);
    self->at_us = INT64_MAX; /* it is not set any more */
}

wall_timer_t *wall_timer_new(actor_t *actor)
{
    wall_timer_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->actor = actor;
    self->at_us = INT64_MAX;
    self->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self->fd >= 0)
        actor_watch(actor, self->fd, POLLIN, on_ready, self);
    return self;
}

void wall_timer_destroy(wall_timer_t **self_p)
{
    wall_timer_t *self = *self_p;
    if (self == NULL)
        return;
    if (self->fd >= 0) {
        actor_watch(self->actor, self->fd, 0, NULL, NULL);
        close(self->fd);
    }
    free(self);
    *self_p = NULL;
}

void wall_timer_set(wall_timer_t *self, int64_t at_us)
{
    if (self->fd < 0 || at_us == self->at_us)
        return;
    /* Zero would stop it. */
    int64_t set_us = at_us < 1 ? 1 : at_us;
    struct itimerspec spec = {.it_value = {set_us / 1000000, set_us % 1000000 * 1000}};
    int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    /* It may say here already that it was cancelled, and is set all the same. */
    if (timerfd_settime(self->fd, flags, &spec, NULL) < 0 && errno == ECANCELED)
        self->is_cancelled = true;
    self->at_us = at_us;
}

bool wall_timer_has_jumped(wall_timer_t *self, now_t now)
{
    int64_t ahead_us = now.wall_us - now.mono_us;
    bool has_jumped =
        self->is_cancelled || (self->has_asked && (ahead_us > self->ahead_us + JUMP_US ||
                                                   ahead_us < self->ahead_us - JUMP_US));
    self->is_cancelled = false;
    self->has_asked = true;
    self->ahead_us = ahead_us;
    return has_jumped;
}
