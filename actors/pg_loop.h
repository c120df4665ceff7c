/* SPDX-License-Identifier: Apache-2.0 */
/* A PostgreSQL connection in an actor's loop: watches whatever fd the connection has at the moment.
 */
#ifndef TASKWIRE_PG_LOOP_H
#define TASKWIRE_PG_LOOP_H

#include "actors/actor.h"
#include "actors/pg.h"

typedef struct {
    actor_t *actor;
    pg_t *pg;
    int fd; /* being watched, or -1 */
} pg_loop_t;

/* Binds the two. Owns: neither. */
void pg_loop_init(pg_loop_t *self, actor_t *actor, pg_t *pg);

/* Does what can be done and watches for more: to be called from the actor's `due`, once per turn.
 * Returns how long it can wait at most, in microseconds. */
int64_t pg_loop_turn(pg_loop_t *self, now_t now);

/* Stops watching; to be called before the connection is destroyed. */
void pg_loop_fini(pg_loop_t *self);

#endif
