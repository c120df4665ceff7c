/* SPDX-License-Identifier: Apache-2.0 */
/* The newest block of a file of anchors, without reading the years before it. */
#ifndef TASKWIRE_ANCHOR_NEWEST_H
#define TASKWIRE_ANCHOR_NEWEST_H

#include "actors/anchor.h"

typedef struct {
    anchor_head_t *heads;
    size_t n_heads; /* 0: there is no block */
    char epoch[EPOCH_CHARS];
} anchor_newest_t;

/* Reads the last whole block of DIR/anchors, checking its signature by the key that the file names.
 * No file, or one without a block, is an answer too: no heads. False, with a sentence in `error`:
 * what is there is no file of anchors. Blocks. */
bool anchor_newest_read(const char *dir, anchor_newest_t *out, char *error, size_t error_size);
void anchor_newest_fini(anchor_newest_t *self);

#endif
