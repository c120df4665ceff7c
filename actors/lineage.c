/* SPDX-License-Identifier: Apache-2.0 */
/* What is known. The last event of each shard stands for all before it: a history that has it has
 * those too. All of it is of one epoch. */
#include "actors/lineage_private.h"

#include "actors/log.h"

#include <pthread.h>
#include <stdlib.h>

struct lineage {
    anchor_newest_t anchor;
    pthread_mutex_t lock; /* for what follows */
    lineage_known_t known;
};

static void keep(lineage_mark_t *mark, int64_t id, const uint8_t digest[DIGEST_BYTES])
{
    if (id <= mark->id)
        return;
    mark->id = id;
    memcpy(mark->digest, digest, DIGEST_BYTES);
}

void lineage_note(lineage_t *self, const log_event_t *event)
{
    if (self == NULL || event->digest.n_bytes != DIGEST_BYTES)
        return;
    pthread_mutex_lock(&self->lock);
    if (lineage_is_of(&self->known, event->epoch))
        keep(&self->known.marks[event->shard], event->id, event->digest.data);
    pthread_mutex_unlock(&self->lock);
}

bool lineage_is_of(const lineage_known_t *known, const char epoch[EPOCH_CHARS])
{
    return known->is_known && memcmp(known->epoch, epoch, EPOCH_CHARS) == 0;
}

void lineage_get(lineage_t *self, lineage_known_t *out)
{
    pthread_mutex_lock(&self->lock);
    *out = self->known;
    pthread_mutex_unlock(&self->lock);
}

void lineage_learn(lineage_t *self, const lineage_known_t *tops)
{
    pthread_mutex_lock(&self->lock);
    if (!lineage_is_of(&self->known, tops->epoch))
        self->known = *tops;
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        keep(&self->known.marks[shard], tops->marks[shard].id, tops->marks[shard].digest);
    pthread_mutex_unlock(&self->lock);
}

const anchor_newest_t *lineage_anchor(const lineage_t *self)
{
    return &self->anchor;
}

lineage_t *lineage_new(const char *data_dir)
{
    char error[200] = "";
    lineage_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    pthread_mutex_init(&self->lock, NULL);
    bool has_dir = data_dir != NULL && data_dir[0] != '\0';
    if (has_dir && !anchor_newest_read(data_dir, &self->anchor, error, sizeof error))
        log_line(LOG_WARN, "lineage", "the anchors cannot be compared with the database",
                 "why=\"%s\"", error);
    return self;
}

void lineage_destroy(lineage_t **self_p)
{
    lineage_t *self = *self_p;
    if (self == NULL)
        return;
    anchor_newest_fini(&self->anchor);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}
