/* SPDX-License-Identifier: Apache-2.0 */
/* An idempotent producer: records go out in the order in which they are given, partition by
 * partition, and each is reported of once. There is no gap in what a partition has: a record that
 * cannot be delivered ends the producer (is_broken), and whoever uses it begins again with another
 * one, from what is known to be there.
 *
 * Thread: one, for all functions. */
#ifndef TASKWIRE_KAFKA_PRODUCER_H
#define TASKWIRE_KAFKA_PRODUCER_H

#include "bridge/kafka.h"
#include "bridge/record.h"

typedef struct kafka_producer kafka_producer_t;

typedef enum {
    DELIVERY_DONE, /* every replica that must have it has it */
    DELIVERY_REFUSED, /* the broker does not want it, or one that travelled with it, for what it is
                         (too large); trying again would not help */
    DELIVERY_LOST, /* whether it is there is not known */
} delivery_t;

/* `tag` is that of the send; `why` a few words, static. */
typedef void kafka_delivered_f(void *arg, uint64_t tag, delivery_t fate, const char *why);

/* NULL: `error` has a sentence. */
kafka_producer_t *kafka_producer_new(const config_t *config, char *error, size_t size);

/* Hands a record over; it is copied. Errors: OVERLOADED: the queue is full, try when something has
 * been reported; TOO_LARGE: it will never go; UNAVAILABLE: not now (the partition is not known, or
 * the producer is broken). An error means that there is no report. */
err_t kafka_producer_send(kafka_producer_t *self, kafka_topic_t topic, int32_t partition,
                          const record_t *record, uint64_t tag);

/* Readable when there are reports; for actor_watch. */
int kafka_producer_fd(const kafka_producer_t *self);

/* Tells all reports that there are. */
void kafka_producer_serve(kafka_producer_t *self, kafka_delivered_f *delivered, void *arg);

/* Whether it can deliver no more; `why` (may be NULL) gets a few words. */
bool kafka_producer_is_broken(const kafka_producer_t *self, const char **why);

/* Whether this many more records of the largest size can be given now. */
bool kafka_producer_has_room(const kafka_producer_t *self, int64_t n_records);

/* Records given and not reported of. */
int64_t kafka_producer_depth(const kafka_producer_t *self);

/* Ends it; what is not delivered is lost. False: librdkafka has not ended until the deadline. */
bool kafka_producer_destroy(kafka_producer_t **self_p, int64_t deadline_mono_us);

/* For tests: as if the broker had brought about a fatal error. */
void kafka_producer_break(kafka_producer_t *self);

#endif
