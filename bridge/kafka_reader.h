/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one topic: as a member of the group, which shares the partitions with other processes, or
 * all partitions that it is told, without a group.
 *
 * Each partition is a queue of its own. One that is not taken from fills to its bound and is then
 * no longer fetched, while the others go on: that is the backpressure. Records are borrowed from
 * the library, in batches, in order of offset.
 *
 * Offsets are stored by hand and committed once a second, and when a partition is given up. Where
 * none is stored, or the one that is stored no longer exists, reading begins at the start of the
 * partition (the end, for who began there): what was read before comes again.
 *
 * Thread: one, for all functions. */
#ifndef TASKWIRE_KAFKA_READER_H
#define TASKWIRE_KAFKA_READER_H

#include "bridge/kafka.h"
#include "bridge/record.h"

struct rd_kafka_message_s;

typedef struct kafka_reader kafka_reader_t;

/* Called inside kafka_reader_serve and kafka_reader_destroy. */
typedef struct {
    /* These partitions are read from now on, and no others. */
    void (*assigned)(void *arg, const int32_t *partitions, size_t n);
    /* None is, and records of theirs that are still held are to be released before this returns.
     * `is_lost`: somebody else may have them already, and offsets are not committed. */
    void (*revoked)(void *arg, bool is_lost);
    void *arg;
} kafka_listener_t;

/* Joins the group, as `instance` (static membership; NULL: as nobody in particular). NULL: `error`
 * has a sentence. */
kafka_reader_t *kafka_reader_join(const config_t *config, kafka_topic_t topic, const char *instance,
                                  const kafka_listener_t *listener, char *error, size_t size);

typedef enum { KAFKA_FROM_START, KAFKA_FROM_END } kafka_from_t;

/* Reads without a group; nothing until it is told which partitions. */
kafka_reader_t *kafka_reader_new(const config_t *config, kafka_topic_t topic, kafka_from_t from,
                                 char *error, size_t size);

/* Of one without a group: reads the partitions 0 to n-1. Those that it reads already go on where
 * they are. Soon after another one it takes effect with kafka_reader_serve, within two seconds. */
void kafka_reader_assign(kafka_reader_t *self, int32_t n_partitions);

/* Ends it: leaves what it has to the next one (a member of the group keeps its place there until
 * the session timeout), commits what is stored. All records must have been released, or are by
 * `revoked`. False: librdkafka has not ended until the deadline of the monotonic clock. */
bool kafka_reader_destroy(kafka_reader_t **self_p, int64_t deadline_mono_us);

/* Readable when there may be something to serve or to take; for actor_watch. */
int kafka_reader_fd(const kafka_reader_t *self);

/* Quiets the fd and does what the library wants done here: rebalances, errors. To be called when
 * the fd is readable, and once a second. */
void kafka_reader_serve(kafka_reader_t *self);

/* Whether it reads no more and never will again; `is_fenced`: because another process has joined
 * the group under the same instance name. `why` gets a few words, which live as long as the reader.
 */
bool kafka_reader_is_broken(const kafka_reader_t *self, bool *is_fenced, const char **why);

/* Asks the broker anew for the partitions of the topic, so that those that are new are noticed (by
 * a rebalance) now. Blocks: at most this long. */
void kafka_reader_refresh(kafka_reader_t *self, int timeout_ms);

/* --- records --- */

typedef struct {
    struct rd_kafka_message_s *raw;
    int64_t offset;
    int64_t at_ms; /* its timestamp; -1: none */
    size_t n_bytes; /* of key and value */
} kafka_message_t;

/* Takes at most `max` records of a partition, not waiting. Owns: each is to be given to
 * kafka_message_release. 0: there are none now, and the fd tells of the next. */
size_t kafka_reader_take(kafka_reader_t *self, int32_t partition, kafka_message_t *out, size_t max);

/* The record; borrows from the message. */
void kafka_message_record(const kafka_message_t *message, record_t *out);
void kafka_message_release(kafka_message_t *message);

/* Whether everything that there was in the partition has been taken, when it was last fetched. */
bool kafka_reader_is_at_end(const kafka_reader_t *self, int32_t partition);

/* Records behind the last one taken, as far as is known; -1: it is not. */
int64_t kafka_reader_lag(const kafka_reader_t *self, int32_t partition);

/* Everything before this offset is handled. False: the partition is no longer ours. */
bool kafka_reader_store(kafka_reader_t *self, int32_t partition, int64_t offset);

#endif
