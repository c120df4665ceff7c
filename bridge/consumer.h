/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer: in Kafka mode, what hands the log's events to the actors. It shares the partitions
 * of task-events with the other processes of its group, and hands each record's event out if it is
 * the next one of its shard.
 *
 * Which events are handled is kept by shard in relay_position, as in local mode; Kafka's offsets
 * only say where to go on reading. A record names its event's place in the log and the one before:
 * a duplicate is dropped, and before one that has a gap before it the log is read. What was
 * published and never comes (an offset moved, a topic made anew) is found when a partition is at
 * its end and its shards are still behind what the relay has published.
 *
 * takes: ACK from the actors, the doorbell (the topics have changed). emits: TERM and EVENTS to the
 * actors (see bridge/dispatch.h).
 *
 * A partition is taken from as long as there is room under way; then it is left in its queue, which
 * is bounded. A record that cannot be verified or read becomes a dead letter and is passed over;
 * while the database is away nothing is, and nothing is taken. */
#ifndef TASKWIRE_CONSUMER_H
#define TASKWIRE_CONSUMER_H

#include "actors/network.h"

typedef struct consumer consumer_t;

consumer_t *consumer_new(network_t *network);
actor_t *consumer_actor(consumer_t *self);
void consumer_destroy(consumer_t **self_p);

#endif
