/* SPDX-License-Identifier: Apache-2.0 */
/* The topics: made if they are missing, looked at every two seconds. Who writes to them or reads
 * them asks here how many partitions they have; they may get more while we run, but for those of
 * `task-updates`, where a key must stay in its partition: another number than the settings and the
 * database say stops the program (exit code 78).
 *
 * Also where it is noticed that Kafka is away, for /readyz.
 *
 * takes: nothing. emits: the doorbell of relay, consumer and tail when a number has changed.
 * Blocks: its own thread, for a second while Kafka is away. */
#ifndef TASKWIRE_TOPICS_H
#define TASKWIRE_TOPICS_H

#include "actors/network.h"
#include "bridge/kafka.h"

typedef struct topics topics_t;

topics_t *topics_new(network_t *network);
actor_t *topics_actor(topics_t *self);
void topics_destroy(topics_t **self_p);

/* How many partitions it has; 0: not known yet, or it is missing. Thread: any. */
int32_t topics_partitions(const topics_t *self, kafka_topic_t topic);

/* Whether Kafka answered when it was last asked. Thread: any. */
bool topics_are_there(const topics_t *self);

#endif
