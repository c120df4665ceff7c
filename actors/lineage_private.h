/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of lineage.h share: lineage.c knows, lineage_greet.c asks the database. */
#ifndef TASKWIRE_LINEAGE_PRIVATE_H
#define TASKWIRE_LINEAGE_PRIVATE_H

#include "actors/anchor_newest.h"
#include "actors/lineage.h"
#include "schema/shard.h"

typedef struct {
    int64_t id; /* 0: no event is known */
    uint8_t digest[DIGEST_BYTES];
} lineage_mark_t;

/* The last event of each shard that this process has read. */
typedef struct {
    bool is_known; /* else nothing else holds */
    char epoch[EPOCH_CHARS];
    lineage_mark_t marks[N_SHARDS];
} lineage_known_t;

/* Whether this is known of that epoch. */
bool lineage_is_of(const lineage_known_t *known, const char epoch[EPOCH_CHARS]);

/* A copy of what is known. Thread: any. */
void lineage_get(lineage_t *self, lineage_known_t *out);

/* These events are in the database. If they are of another epoch, what was known so far is
 * forgotten. Thread: any. */
void lineage_learn(lineage_t *self, const lineage_known_t *tops);

/* The newest anchors as they were at the start. Borrows. */
const anchor_newest_t *lineage_anchor(const lineage_t *self);

#endif
