/* SPDX-License-Identifier: Apache-2.0 */
/* The other processes on the same database. What this one has written it tells them by PostgreSQL's
 * NOTIFY, at most once in 20 ms and in a transaction of its own, after the commits: NOTIFY in the
 * writer's own transactions would make them wait for each other. What they tell rings the doorbells
 * of relay and sync.
 *
 * takes: the doorbell (shards that this process has written to). emits: network_peer_grew.
 *
 * Nothing rests on it: relay and sync look at the log by themselves every second or sooner. A
 * session that is away or frozen costs latency only; what it could not tell goes with the next
 * notice. */
#ifndef TASKWIRE_PEERS_H
#define TASKWIRE_PEERS_H

#include "actors/network.h"

typedef struct peers peers_t;

peers_t *peers_new(network_t *network);
actor_t *peers_actor(peers_t *self);
void peers_destroy(peers_t **self_p);

#endif
