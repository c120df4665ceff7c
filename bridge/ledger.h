/* SPDX-License-Identifier: Apache-2.0 */
/* What has been handed out of each shard, which batches are under way, and which consumer has
 * acknowledged which. A consumer's position is the end of the contiguous run of batches that it has
 * acknowledged, per shard: it never passes what is not durable. Pure. */
#ifndef TASKWIRE_LEDGER_H
#define TASKWIRE_LEDGER_H

#include "schema/shard.h"

#define LEDGER_MAX_CONSUMERS 8
/* Under backlog the actors take what has gathered at once: many events of a stream become one row
 * of the audit. */
#define LEDGER_MAX_BATCHES 64

typedef struct {
    uint64_t seq;
    shard_set_t shards; /* of its events */
    int64_t last[N_SHARDS]; /* the last id in it of each of them */
    uint32_t acknowledged; /* bit per consumer */
    int64_t oldest_at_us; /* of its first event, for the lag */
} ledger_batch_t;

/* What an event is to who hands them out. */
typedef enum {
    LEDGER_NEXT,
    LEDGER_DUPLICATE, /* it has been handed out */
    LEDGER_GAP, /* something before it has not */
    LEDGER_FOREIGN, /* nothing is known of its shard */
} ledger_place_t;

typedef struct {
    unsigned n_consumers;
    shard_set_t shards; /* whose positions are known; of others nothing is handed out */
    int64_t handed[N_SHARDS]; /* out, up to here */
    uint64_t done; /* the last batch that everybody has acknowledged, with all before it; 0: none */
    ledger_batch_t batches[LEDGER_MAX_BATCHES];
    unsigned first;
    unsigned n;
    int64_t positions[LEDGER_MAX_CONSUMERS][N_SHARDS];
    shard_set_t dirty[LEDGER_MAX_CONSUMERS]; /* positions that moved and were not saved yet */
} ledger_t;

/* An empty ledger without shards, all positions 0. */
void ledger_init(ledger_t *self, unsigned n_consumers);

/* These shards are known from now on: their positions have been filled in. Handing out begins at
 * the lowest of them (a consumer that was ahead sees some events again). */
void ledger_own(ledger_t *self, shard_set_t shards);

/* What the event `id` of this shard is, whose predecessor there is `before`. */
ledger_place_t ledger_place(const ledger_t *self, unsigned shard, int64_t id, int64_t before);

/* Whether another batch may be opened. */
bool ledger_has_room(const ledger_t *self);

/* Opens a batch, whose number is larger than those before; its events are added one by one. */
ledger_batch_t *ledger_open(ledger_t *self, uint64_t seq);
void ledger_add(ledger_t *self, ledger_batch_t *batch, unsigned shard, int64_t id, int64_t at_us);

/* A consumer has handled a batch. Moves its positions as far as they may go, and forgets batches
 * that everybody has handled. False: there is no such batch (an earlier term's). */
bool ledger_acknowledge(ledger_t *self, unsigned consumer, uint64_t seq);

/* Whether this consumer has acknowledged that batch, or there is no such batch. */
bool ledger_is_acknowledged(const ledger_t *self, unsigned consumer, uint64_t seq);

/* When the oldest event under way happened, or 0 if none is. */
int64_t ledger_oldest_us(const ledger_t *self);

#endif
