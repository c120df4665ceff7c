/* SPDX-License-Identifier: Apache-2.0 */
/* CloudEvents: the attributes of an event or a task, as a structured JSON value or as headers.
 * Source: CloudEvents 1.0.2, its JSON format and Kafka protocol binding; extensions partitioning,
 * sequence and distributed tracing. */
#ifndef TASKWIRE_CLOUD_EVENT_H
#define TASKWIRE_CLOUD_EVENT_H

#include "bridge/record.h"

#define CLOUD_EVENT_JSON "application/cloudevents+json; charset=UTF-8"
#define CLOUD_EVENT_MSGPACK "application/msgpack"
#define CLOUD_EVENT_TRACE_CHARS 55 /* 00-, 32 digits, -, 16 digits, -, 2 digits */

/* Long enough for each attribute. */
typedef struct {
    char id[2 * UUID_TEXT_CHARS + 24];
    char source[EPOCH_CHARS + 16];
    char type[64];
    char subject[UUID_TEXT_CHARS + 1];
    char time[INSTANT_TEXT_CHARS + 1];
    char partition_key[UUID_TEXT_CHARS + 1];
    char sequence[24];
    char trace[CLOUD_EVENT_TRACE_CHARS + 1];
} cloud_event_text_t;

/* Borrows. */
typedef struct {
    slice_t id; /* STREAM/REV, with /TASK behind it for a task */
    slice_t source; /* taskwire/EPOCH */
    slice_t type; /* taskwire.v1.task.created */
    slice_t subject; /* the task, or the stream */
    slice_t time;
    slice_t partition_key; /* the stream */
    slice_t sequence; /* its rev */
    slice_t trace; /* traceparent; absent: none */
} cloud_event_t;

/* Makes the attributes of an event, or, unless `task` is NULL, of what it made of a task. They
 * borrow from `text`. */
void cloud_event_of(const log_event_t *event, const uuid_t *task, cloud_event_text_t *text,
                    cloud_event_t *out);

/* Appends a structured JSON value. `data` is msgpack; absent: without data. False: data that JSON
 * cannot say, so that it would not come back as it is; `out` is then as it was. */
bool cloud_event_put_json(const cloud_event_t *self, slice_t data, buf_t *out);

/* Adds the attributes to a record as ce_ headers. */
void cloud_event_put_headers(const cloud_event_t *self, record_t *out);

/* Reads a structured JSON value: `data` as msgpack, absent if there is none. It borrows from
 * `scratch`, which is emptied first, as is the arena. False: it is no CloudEvent 1.x. */
bool cloud_event_read_json(slice_t json, buf_t *scratch, arena_t *arena, slice_t *data);

/* The same of a value that is known to be ours: reads little more than its data. */
bool cloud_event_read_own(slice_t json, buf_t *scratch, arena_t *arena, slice_t *data);

/* Whether a content type says that the value is a structured CloudEvent. */
bool cloud_event_is_structured(slice_t content_type);

#endif
