/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters of actors: what one of them refuses becomes rows of dead_letter, and only when these
 * are durable does its acknowledgement count. */
#ifndef TASKWIRE_BURIAL_H
#define TASKWIRE_BURIAL_H

#include "actors/message.h"
#include "actors/metrics.h"
#include "actors/pg.h"

typedef struct burials burials_t;

/* All dead letters of an acknowledgement are durable: `consumer` and `seq` as they were given. */
typedef void buried_f(void *arg, unsigned consumer, uint64_t seq);

/* For the owner of this connection, who drives it. `done` is called inside burials_turn. */
burials_t *burials_new(pg_t *pg, metrics_t *metrics, buried_f *done, void *arg);
/* The connection must have been destroyed before. */
void burials_destroy(burials_t **self_p);

/* Takes on an ACK (the whole message) with rejects, of the actor of this name, which is a literal.
 */
void burials_add(burials_t *self, const char *actor, unsigned consumer, uint64_t seq,
                 slice_t bytes);

/* Tells what is done, tries again what failed; answers how long nothing will be to do. */
int64_t burials_turn(burials_t *self, now_t now);

/* Another term begins: nobody is told any more. What is under way may still be stored. */
void burials_clear(burials_t *self);

#endif
