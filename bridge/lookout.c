/* SPDX-License-Identifier: Apache-2.0 */
/* Keys come in the order of a partition; the same one may be named several times. */
#include "bridge/lookout.h"

#include <stdlib.h>

#define TAKE_RECORDS 256

struct lookout {
    kafka_reader_t *reader;
    int32_t n_partitions;
    lookout_key_t keys[LOOKOUT_MAX_KEYS];
    size_t n_keys;
};

lookout_t *lookout_new(const config_t *config, kafka_from_t from, int32_t n_partitions, char *error,
                       size_t size)
{
    kafka_reader_t *reader = kafka_reader_new(config, KAFKA_TASK_UPDATES, from, error, size);
    if (reader == NULL)
        return NULL;
    lookout_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->reader = reader;
    self->n_partitions = n_partitions;
    kafka_reader_assign(reader, n_partitions);
    return self;
}

void lookout_destroy(lookout_t **self_p, int64_t deadline_mono_us)
{
    lookout_t *self = *self_p;
    if (self == NULL)
        return;
    (void)kafka_reader_destroy(&self->reader, deadline_mono_us);
    free(self);
    *self_p = NULL;
}

int lookout_fd(const lookout_t *self)
{
    return kafka_reader_fd(self->reader);
}

bool lookout_is_broken(const lookout_t *self, const char **why)
{
    bool is_fenced;
    return kafka_reader_is_broken(self->reader, &is_fenced, why);
}

static bool is_of(const record_t *record, slice_t relay)
{
    slice_t found;
    return record_find(record, RECORD_RELAY, &found) && slice_eq(found, relay);
}

/* LIST/TASK. What has another key is none of ours, and nobody will look for it. */
static bool read_key(slice_t key, lookout_key_t *out)
{
    if (key.n_bytes != 2 * UUID_TEXT_CHARS + 1 || key.data[UUID_TEXT_CHARS] != '/')
        return false;
    return uuid_parse(slice_of(key.data, UUID_TEXT_CHARS), &out->list) &&
           uuid_parse(slice_of(key.data + UUID_TEXT_CHARS + 1, UUID_TEXT_CHARS), &out->task);
}

static void take_record(lookout_t *self, const record_t *record, slice_t relay)
{
    lookout_key_t *key = &self->keys[self->n_keys];
    if (is_of(record, relay) || !read_key(record->key, key))
        return;
    key->is_tombstone = record->value.data == NULL;
    self->n_keys++;
}

/* False: the partition has no more, or there is no room. */
static bool take_some(lookout_t *self, int32_t partition, slice_t relay)
{
    kafka_message_t messages[TAKE_RECORDS];
    size_t room = LOOKOUT_MAX_KEYS - self->n_keys;
    if (room == 0)
        return false;
    size_t n = kafka_reader_take(self->reader, partition, messages,
                                 room < TAKE_RECORDS ? room : TAKE_RECORDS);
    for (size_t i = 0; i < n; i++) {
        record_t record;
        kafka_message_record(&messages[i], &record);
        take_record(self, &record, relay);
        kafka_message_release(&messages[i]);
    }
    return n > 0;
}

void lookout_take(lookout_t *self, slice_t relay)
{
    kafka_reader_serve(self->reader);
    for (int32_t partition = 0; partition < self->n_partitions; partition++) {
        while (take_some(self, partition, relay))
            ;
    }
}

const lookout_key_t *lookout_keys(const lookout_t *self, size_t *n)
{
    *n = self->n_keys;
    return self->keys;
}

void lookout_drop(lookout_t *self, size_t n)
{
    self->n_keys -= n;
    memmove(self->keys, self->keys + n, self->n_keys * sizeof *self->keys);
}

bool lookout_is_at_end(const lookout_t *self)
{
    int32_t partition = 0;
    while (partition < self->n_partitions && kafka_reader_is_at_end(self->reader, partition))
        partition++;
    return partition == self->n_partitions && self->n_keys == 0;
}
