/* SPDX-License-Identifier: Apache-2.0 */
/* The relay: reads the log shard by shard, in order of id, and hands every event to every actor. In
 * local mode the `event` table is the durable log and this is all of the bridge.
 *
 * One relay per database is active: the one that holds an advisory lock on a session of its own,
 * which a frozen process loses within 1.5 s. Two at once for a moment do no harm, since every
 * effect is guarded by what it is the effect of.
 *
 * takes: the doorbell (shards that grew), ACK from the actors. emits: TERM and EVENTS to the
 * actors (see bridge/dispatch.h), LEAD to the reminder actor.
 *
 * At its limit (batches under way) it stops reading: a slow actor holds everybody back, nothing is
 * dropped. What an actor refuses becomes a row of dead_letter before the position passes it. */
#ifndef TASKWIRE_RELAY_H
#define TASKWIRE_RELAY_H

#include "actors/network.h"

typedef struct relay relay_t;

relay_t *relay_new(network_t *network);
actor_t *relay_actor(relay_t *self);
void relay_destroy(relay_t **self_p);

#endif
