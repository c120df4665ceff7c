/* SPDX-License-Identifier: Apache-2.0 */
/* Which process's relay is the active one: whoever holds an advisory lock on a database session of
 * its own. The session ends by itself when it is not heard of for 1.5 s, so that a frozen process
 * loses the lease without being asked; it is kept alive by a ping every 0.3 s. */
#ifndef TASKWIRE_LEASE_H
#define TASKWIRE_LEASE_H

#include "actors/pg_loop.h"
#include "schema/event.h"

typedef struct {
    pg_t *pg;
    pg_loop_t loop;
    int64_t held_session; /* of pg, in which the lock was taken; 0: not held */
    char epoch[EPOCH_CHARS]; /* of the log, at the last answer */
    int64_t ping_mono_us;
    bool is_asking;
} lease_t;

void lease_open(lease_t *self, actor_t *actor, const char *database_url);
void lease_close(lease_t *self);

/* Asks for the lock or keeps it; answers how long nothing will be to do. */
int64_t lease_turn(lease_t *self, now_t now);

/* Whether it is held, as far as is known here. */
bool lease_is_held(const lease_t *self);

/* The log's epoch, as far as is known here. Borrows. */
slice_t lease_epoch(const lease_t *self);

#endif
