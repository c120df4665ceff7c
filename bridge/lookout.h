/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for records of task-updates that the active relay did not write: what a former one still
 * sent when it woke up, what is left of another epoch. They name keys whose newest record may not
 * be how the task is; who reads the keys publishes those tasks again.
 *
 * It goes by the header with the relay's id: records of ours are passed over without a look at the
 * rest. Thread: one, for all functions. */
#ifndef TASKWIRE_LOOKOUT_H
#define TASKWIRE_LOOKOUT_H

#include "bridge/kafka_reader.h"

/* At its limit it takes no more records until some are dropped. */
#define LOOKOUT_MAX_KEYS 200

typedef struct {
    uuid_t list;
    uuid_t task;
    bool is_tombstone; /* the record that named it */
} lookout_key_t;

typedef struct lookout lookout_t;

/* From the start of the topic or from what comes now. NULL: `error` has a sentence. */
lookout_t *lookout_new(const config_t *config, kafka_from_t from, int32_t n_partitions, char *error,
                       size_t size);
void lookout_destroy(lookout_t **self_p, int64_t deadline_mono_us);
/* Readable when there may be something to take; for actor_watch. */
int lookout_fd(const lookout_t *self);

/* Whether it will never take anything again; `why` as kafka_reader_is_broken. */
bool lookout_is_broken(const lookout_t *self, const char **why);

/* Takes what there is; `relay` is the id of ours. */
void lookout_take(lookout_t *self, slice_t relay);

/* The keys that were found. */
const lookout_key_t *lookout_keys(const lookout_t *self, size_t *n);
/* The first `n` of them are done with; others may have come behind. */
void lookout_drop(lookout_t *self, size_t n);

/* Whether everything has been taken that was there, and no key is left. */
bool lookout_is_at_end(const lookout_t *self);

#endif
