/* SPDX-License-Identifier: Apache-2.0 */
/* A record as it travels through Kafka: the log's events to records and back. Pure: no librdkafka,
 * no clock, and no memory taken per record once the buffers have their size.
 *
 * | topic        | key         | value                                                         |
 * |--------------|-------------|---------------------------------------------------------------|
 * | task-events, | STREAM      | the event: a structured CloudEvent whose `data` it is, or its |
 * | reminders    |             | msgpack bytes with the CloudEvent's attributes as headers     |
 * | task-updates | STREAM/TASK | the task after it, in the same two forms; null: it is gone    |
 *
 * | header              | value                                                               |
 * |---------------------|---------------------------------------------------------------------|
 * | `content-type`      | of the value; a tombstone has none                                  |
 * | `ce_…`              | the CloudEvent's attributes, beside msgpack                         |
 * | `taskwire-position` | EPOCH:SHARD:ID:BEFORE, in decimal: event ID is in that shard of that  |
 * |                     | epoch's log, and the one before it there is BEFORE                  |
 * | `taskwire-digest`   | of the event, in hexadecimal digits                                 |
 * | `taskwire-relay`    | of task-updates only: which term of a relay has sent it             |
 * | `traceparent`       | of the request that it goes back to, if that had one                |
 * | `traceid`           | the same, under the name that Dapr looks for                        |
 * | `taskwire-mac`      | vouches for key, value, their form, and all of these but `traceid`  |
 *
 * An event whose body was purged, or is larger than a record may be, travels without it: then the
 * record only says where the event is. */
#ifndef TASKWIRE_RECORD_H
#define TASKWIRE_RECORD_H

#include "actors/message.h"

#define RECORD_MAX_HEADERS 32
/* A value of ours is never larger; Kafka takes 1 MiB by default, headers included. */
#define RECORD_MAX_VALUE_BYTES ((size_t)960 * 1024)
#define RECORD_MAX_RELAY_BYTES 64

#define RECORD_CONTENT_TYPE "content-type"
#define RECORD_POSITION "taskwire-position"
#define RECORD_DIGEST "taskwire-digest"
#define RECORD_RELAY "taskwire-relay"
#define RECORD_MAC "taskwire-mac"
#define RECORD_TRACEPARENT "traceparent"
#define RECORD_TRACEID "traceid"

typedef struct {
    slice_t name;
    slice_t value;
} record_header_t;

/* Borrows. A value without data is null, which is not the same as an empty one. */
typedef struct {
    slice_t key;
    slice_t value;
    record_header_t headers[RECORD_MAX_HEADERS];
    size_t n_headers;
    bool has_more; /* it came with more headers than fit */
} record_t;

/* Begins a record, appends a header to it (beyond RECORD_MAX_HEADERS only noted in `has_more`), and
 * finds the first of a name. */
void record_begin(record_t *self, slice_t key, slice_t value);
void record_add(record_t *self, slice_t name, slice_t value);
bool record_find(const record_t *self, const char *name, slice_t *out);

typedef enum { RECORD_JSON, RECORD_MSGPACK } record_encoding_t;

/* Where an event is: `before` is the id of the one before it in its shard, 0 for the first. */
typedef struct {
    char epoch[EPOCH_CHARS];
    uint8_t shard;
    int64_t id;
    int64_t before;
} record_position_t;

typedef struct record_coder record_coder_t;

/* Makes a coder that writes in this encoding; it reads both. It has no key yet. Never NULL.
 * Thread: one at a time. */
record_coder_t *record_coder_new(record_encoding_t encoding);
void record_coder_destroy(record_coder_t **self_p);

/* From now on records are of this epoch, and vouched for with this key of the database
 * (log_epoch.mac_key). Forgets what was said of past epochs. */
void record_coder_key(record_coder_t *self, const char epoch[EPOCH_CHARS], slice_t mac_key);
/* Says of an epoch that it has ended (table past_epoch). */
void record_coder_past(record_coder_t *self, const char epoch[EPOCH_CHARS]);

/* --- out: needs a key; what comes out borrows from the event and from the coder, until its next
 * call --- */

/* The record of an event, for task-events and reminders alike. */
void record_of_event(record_coder_t *self, const log_event_t *event, int64_t before, record_t *out);

/* What an event does to task-updates. */
typedef enum {
    UPDATE_NONE, /* nothing */
    UPDATE_TASK, /* this record */
    UPDATE_READ_TASK, /* the event does not say how its task is: to be read, then record_of_task */
    UPDATE_READ_LIST, /* the same of all tasks of the list that is the event's stream */
} record_update_t;

/* `relay` is the id of the term, at most RECORD_MAX_RELAY_BYTES. `out` is a record only with
 * UPDATE_TASK. */
record_update_t record_of_update(record_coder_t *self, const log_event_t *event, int64_t before,
                                 slice_t relay, record_t *out);
/* The record of a task in the list that is the event's stream: `body` is the task as it is, absent
 * for one that is gone. Its position is that of the event which led to it. */
void record_of_task(record_coder_t *self, const log_event_t *event, int64_t before,
                    const uuid_t *task, slice_t body, slice_t relay, record_t *out);

/* --- in --- */

typedef enum {
    RECORD_EVENT, /* an event, whole */
    RECORD_PLACE, /* authentic, says where the event is, and has none that can be used here: purged,
                     too large, or of a newer program. The log has it. */
    RECORD_STALE, /* of an epoch that has ended: to be passed over */
    RECORD_STRANGE, /* of an epoch that the coder does not know (or it has no key): poison, unless
                       the database has begun another since, so it is to be asked first */
    RECORD_POISON, /* has not the form of ours */
    RECORD_FORGED, /* has, and its MAC is not right: it is not as we wrote it */
} record_verdict_t;

/* Reads a record of task-events or reminders. `place` is set with EVENT and PLACE, `event` with
 * EVENT; it borrows from the record and the coder, until its next call. `why` is a few words for
 * people, set with POISON and FORGED. Never trusts a byte that the MAC does not vouch for. */
record_verdict_t record_read(record_coder_t *self, const record_t *record, record_position_t *place,
                             log_event_t *event, const char **why);

/* Reads where a record of task-updates comes from: EVENT or PLACE never, but RECORD_PLACE for one
 * that is authentic; `relay` borrows from the record. */
record_verdict_t record_read_update(record_coder_t *self, const record_t *record,
                                    record_position_t *place, slice_t *relay, const char **why);

#endif
