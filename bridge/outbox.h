/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters on their way from the table to the topic `taskwire-dead-letter`: whoever makes one
 * (consumer, actors, publisher) has it stored, and the active relay sends each row that is not
 * marked as published, the oldest first, page by page, and marks it when Kafka has it. So none is
 * lost by a crash or while Kafka is away, and one may come twice.
 *
 * A producer of its own, for a letter that Kafka refuses ends it, which must not hold up events.
 * Such a letter is sent once more without its value, and if that is refused too, marked so. */
#ifndef TASKWIRE_OUTBOX_H
#define TASKWIRE_OUTBOX_H

#include "actors/network.h"
#include "actors/pg.h"

typedef struct outbox outbox_t;

/* For an actor, whose connection this is and who drives it. Thread: the actor's, for all functions.
 */
outbox_t *outbox_new(network_t *network, actor_t *actor, pg_t *pg);
/* The connection must have been destroyed before. */
void outbox_destroy(outbox_t **self_p);

/* Does what is due while `is_on`, else drops what is under way; answers how long nothing will be.
 */
int64_t outbox_turn(outbox_t *self, bool is_on, now_t now);

#endif
