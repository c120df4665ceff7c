/* SPDX-License-Identifier: Apache-2.0 */
/* The tail: in Kafka mode, what brings this process's clients the events that others write. It
 * reads all partitions of task-events from the end, in no group, and gives what it can verify to
 * sync, which drops, takes or looks up. It remembers nothing and acts upon nothing: whatever it
 * misses is in the log.
 *
 * takes: the doorbell: shards in which another process has written (by PostgreSQL's NOTIFY), or
 * nothing: the topics have changed. emits: TAIL to sync, and sync's doorbell.
 *
 * A notice is kept for a moment, and only if Kafka brings nothing of the shard meanwhile is sync
 * told to read the log: where Kafka works nobody reads what it has brought, and where it does not,
 * or the relay has stopped, clients wait for that moment longer. While Kafka is known to be away
 * notices go on at once, as in local mode.
 *
 * A record that cannot be verified or read is passed over and counted; it is the consumer that
 * keeps dead letters. While sync is busy no more is taken from the partitions' queues, which are
 * bounded. */
#ifndef TASKWIRE_TAIL_H
#define TASKWIRE_TAIL_H

#include "actors/network.h"

typedef struct tail tail_t;

tail_t *tail_new(network_t *network);
actor_t *tail_actor(tail_t *self);
void tail_destroy(tail_t **self_p);

#endif
