/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a log in memory, and records of them that can be changed: what a coder makes borrows
 * from it. */
#ifndef TASKWIRE_TESTS_RECORD_SAMPLE_H
#define TASKWIRE_TESTS_RECORD_SAMPLE_H

#include <stdlib.h>

#include "bridge/record.h"
#include "schema/shard.h"

#define SAMPLE_EPOCH "0123456789abcdef"
#define SAMPLE_KEY "the key of this database, 32 byt"

static const uint8_t sample_digest[DIGEST_BYTES] = "a digest of thirty-two bytes ...";
static const uint8_t sample_trace[TRACE_BYTES] = {
    0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c,
    0x80, 0x31, 0x9c, 0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31, 0x01};

/* The row of an event that is encoded as `body`. */
static inline log_event_t sample_row(const event_t *event, slice_t body, int64_t id)
{
    log_event_t row = {
        .id = id,
        .shard = (uint8_t)shard_of(&event->stream),
        .stream = event->stream,
        .rev = event->rev,
        .type = event->type,
        .stored_type = (int16_t)event->type,
        .task = event->task,
        .command = event->command,
        .by = event->by,
        .at_us = event->at_us,
        .digest = slice_of(sample_digest, DIGEST_BYTES),
        .body = body,
    };
    memcpy(row.epoch, event->epoch, EPOCH_CHARS);
    return row;
}

static inline bool sample_same(const log_event_t *a, const log_event_t *b)
{
    return a->id == b->id && a->shard == b->shard && uuid_eq(&a->stream, &b->stream) &&
           a->rev == b->rev && a->type == b->type && a->stored_type == b->stored_type &&
           uuid_eq(&a->task, &b->task) && uuid_eq(&a->command, &b->command) &&
           uuid_eq(&a->by, &b->by) && a->at_us == b->at_us &&
           memcmp(a->epoch, b->epoch, EPOCH_CHARS) == 0 && slice_eq(a->digest, b->digest) &&
           (a->body.data == NULL) == (b->body.data == NULL) && slice_eq(a->body, b->body) &&
           (a->trace.data == NULL) == (b->trace.data == NULL) && slice_eq(a->trace, b->trace);
}

static inline record_coder_t *sample_coder(record_encoding_t encoding)
{
    record_coder_t *coder = record_coder_new(encoding);
    record_coder_key(coder, SAMPLE_EPOCH, slice_str(SAMPLE_KEY));
    return coder;
}

/* A copy in memory of its own. */
static inline slice_t sample_copy(slice_t bytes)
{
    if (bytes.data == NULL)
        return bytes;
    uint8_t *copy = malloc(bytes.n_bytes + 1);
    if (copy == NULL)
        abort();
    if (bytes.n_bytes > 0)
        memcpy(copy, bytes.data, bytes.n_bytes);
    return slice_of(copy, bytes.n_bytes);
}

/* A copy of a record whose bytes may be changed. */
static inline void sample_take(record_t *self, const record_t *from)
{
    record_begin(self, sample_copy(from->key), sample_copy(from->value));
    for (size_t i = 0; i < from->n_headers; i++)
        record_add(self, sample_copy(from->headers[i].name), sample_copy(from->headers[i].value));
}

static inline void sample_drop(record_t *self)
{
    free((void *)self->key.data);
    free((void *)self->value.data);
    for (size_t i = 0; i < self->n_headers; i++) {
        free((void *)self->headers[i].name.data);
        free((void *)self->headers[i].value.data);
    }
}

#endif
