/* SPDX-License-Identifier: Apache-2.0 */
/* The fd of a connection changes when it connects anew, so what is watched is compared once per
 * turn. The callback has nothing to do: that the loop woke is enough, since `due` steps the
 * connection. */
#include "actors/pg_loop.h"

static void woken(void *arg, short events, now_t now)
{
    (void)arg;
    (void)events;
    (void)now;
}

void pg_loop_init(pg_loop_t *self, actor_t *actor, pg_t *pg)
{
    self->actor = actor;
    self->pg = pg;
    self->fd = -1;
}

void pg_loop_fini(pg_loop_t *self)
{
    if (self->fd >= 0)
        actor_watch(self->actor, self->fd, 0, NULL, NULL);
    self->fd = -1;
}

int64_t pg_loop_turn(pg_loop_t *self, now_t now)
{
    int before = pg_fd(self->pg);
    pg_step(self->pg, now);
    int fd = pg_fd(self->pg);
    /* A closed fd's number may have been given out again at once: forget the old one in any case.
     */
    if (self->fd >= 0 && (self->fd != fd || before != fd))
        pg_loop_fini(self);
    if (fd >= 0)
        actor_watch(self->actor, fd, pg_events(self->pg), woken, NULL);
    self->fd = fd;
    return pg_timeout_us(self->pg, now);
}
