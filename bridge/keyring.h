/* SPDX-License-Identifier: Apache-2.0 */
/* Which epoch the database is in and with which key it vouches for records: what a coder that reads
 * them goes by. Asked for in each new session, which may be one of another history, and when
 * something does not fit what is known. Thread: one. */
#ifndef TASKWIRE_KEYRING_H
#define TASKWIRE_KEYRING_H

#include "actors/pg.h"
#include "bridge/record.h"

typedef struct {
    pg_t *pg;
    record_coder_t *coder;
    char epoch[EPOCH_CHARS];
    int64_t session; /* of the connection, in which it was asked; 0: it is not known */
    bool is_wanted; /* to be asked again */
    bool is_asking;
    int64_t sent_mono_us;
    int64_t asked_mono_us; /* when the question was sent that was answered last */
    bool has_changed; /* another epoch than so far; the owner sets it back */
} keyring_t;

/* Nothing is known yet. Owns: neither; the connection must be destroyed first. */
void keyring_init(keyring_t *self, pg_t *pg, record_coder_t *coder);

/* Has the database asked again. */
void keyring_ask(keyring_t *self);

/* Asks if it is to be asked; the answer goes into the coder. */
void keyring_turn(keyring_t *self);

/* Whether the connection is still the one that was asked. */
bool keyring_is_known(const keyring_t *self);

#endif
