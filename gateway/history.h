/* SPDX-License-Identifier: Apache-2.0 */
/* Which history of the log this gateway believes to be on: its epoch, of which entity tags are
 * made, and a key for page tokens, derived from the epoch's. Read from PostgreSQL, and again when
 * another epoch shows up. Thread: the loop's. */
#ifndef TASKWIRE_HISTORY_H
#define TASKWIRE_HISTORY_H

#include "gateway/inner.h"
#include "gateway/page_token.h"

typedef struct {
    gateway_t *gateway;
    bool is_known;
    bool is_loading;
    char epoch[EPOCH_CHARS];
    uint8_t page_key[PAGE_TOKEN_KEY_BYTES];
} history_t;

void history_init(history_t *self, gateway_t *gateway);
/* Starts reading it, if it is not known. Fails quietly: to be called again, once a second. */
void history_load(history_t *self);
/* Forgets it and starts reading it anew. */
void history_forget(history_t *self);
/* A read has shown this epoch: if it is another one, what is known is out of date. */
void history_note(history_t *self, slice_t epoch);

#endif
