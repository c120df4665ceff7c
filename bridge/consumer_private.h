/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the consumer share: consumer.c (the actor, the group, terms), consumer_lane.c
 * (records of one partition), consumer_gap.c (what has to be read from the log). */
#ifndef TASKWIRE_CONSUMER_PRIVATE_H
#define TASKWIRE_CONSUMER_PRIVATE_H

#include "actors/pg_loop.h"
#include "bridge/consumer.h"
#include "bridge/dispatch.h"
#include "bridge/keyring.h"
#include "bridge/kafka_reader.h"
#include "bridge/letters.h"
#include "bridge/offsets.h"
#include "bridge/record.h"
#include "bridge/topics.h"

#define LANE_MESSAGES 256

/* --- a partition that is ours --- */

typedef struct {
    int32_t partition;
    offsets_t offsets;
    kafka_message_t held[LANE_MESSAGES]; /* taken from the queue and not handed out */
    size_t first;
    size_t n;
    int64_t taken_mono_us; /* when they were */
    metric_t *lag;
} lane_t;

/* --- what is missing --- */

typedef struct {
    int64_t
        wanted[N_SHARDS]; /* to be read from the log up to this id, if that was not handed out */
    shard_set_t shards; /* where that is so */
    shard_set_t
        reading; /* by the reading that is under way; none if another term has begun since */
    shard_set_t blocked; /* of them, that found no room */
    bool is_reading;
    int64_t retry_mono_us;
    int64_t published[N_SHARDS]; /* by the relay, when that was last looked at */
    int64_t handed[N_SHARDS]; /* out, then */
    bool is_asking;
    int64_t ask_mono_us;
} gaps_t;

typedef struct {
    metric_t *records;
    metric_t *duplicates;
    metric_t *stale;
    metric_t *poison;
    metric_t *decode_errors;
    metric_t *mac_errors;
    metric_t *gaps;
    metric_t *repaired;
    metric_t *rebalances;
    metric_t *in_flight;
    metric_t *partitions;
    metric_t *fenced;
} consumer_metrics_t;

struct consumer {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    pg_loop_t loop;
    dispatch_t *dispatch;
    letters_t *letters;
    record_coder_t *coder;

    kafka_reader_t *reader; /* NULL: to be made, not before `join_mono_us` */
    int64_t join_mono_us;
    int64_t serve_mono_us;
    char topic[KAFKA_NAME_CHARS];
    char instance[KAFKA_NAME_CHARS];
    int64_t fenced_mono_us; /* when our name was taken; 0: never */
    bool is_nameless; /* somebody else has it */
    int32_t n_partitions; /* of the topic, as far as is known */

    lane_t *lanes; /* the partitions that are ours */
    size_t n_lanes;
    size_t next_lane; /* whose turn it is */
    bool is_term_due; /* the partitions have changed: what is handed out so far is void */
    shard_set_t shards; /* that come by our partitions */

    keyring_t keyring;
    gaps_t gaps;
    int64_t flush_mono_us; /* the next small batch: not before */
    consumer_metrics_t metrics;
};

/* --- consumer_lane.c --- */

/* Deals with some records, as far as there is room for their events; returns how many. */
size_t consumer_lane_turn(consumer_t *self, lane_t *lane, now_t now);
/* Gives back what is held; nothing of it was handed out. */
void consumer_lane_release(lane_t *lane);

/* --- consumer_gap.c --- */

/* The log is to be read in this shard up to this id before anything else is handed out there. */
void gaps_want(consumer_t *self, unsigned shard, int64_t id);
/* Reads what is wanted, looks from time to time for what never came; answers how long nothing will
 * be to do. */
int64_t gaps_turn(consumer_t *self, now_t now);
/* Another term begins. */
void gaps_clear(consumer_t *self);

#endif
