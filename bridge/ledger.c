/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of batches, oldest first. Consumers may acknowledge in any order; what moves is always the
 * contiguous run. */
#include "bridge/ledger.h"

#include <assert.h>

void ledger_init(ledger_t *self, unsigned n_consumers)
{
    assert(n_consumers <= LEDGER_MAX_CONSUMERS);
    memset(self, 0, sizeof *self);
    self->n_consumers = n_consumers;
}

void ledger_own(ledger_t *self, shard_set_t shards)
{
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (!(shards >> shard & 1))
            continue;
        self->handed[shard] = self->positions[0][shard];
        for (unsigned i = 1; i < self->n_consumers; i++) {
            if (self->positions[i][shard] < self->handed[shard])
                self->handed[shard] = self->positions[i][shard];
        }
    }
    self->shards |= shards;
}

ledger_place_t ledger_place(const ledger_t *self, unsigned shard, int64_t id, int64_t before)
{
    if (!(self->shards >> shard & 1))
        return LEDGER_FOREIGN;
    if (id <= self->handed[shard])
        return LEDGER_DUPLICATE;
    return before > self->handed[shard] ? LEDGER_GAP : LEDGER_NEXT;
}

bool ledger_has_room(const ledger_t *self)
{
    return self->n < LEDGER_MAX_BATCHES;
}

ledger_batch_t *ledger_open(ledger_t *self, uint64_t seq)
{
    assert(ledger_has_room(self));
    ledger_batch_t *batch = &self->batches[(self->first + self->n++) % LEDGER_MAX_BATCHES];
    *batch = (ledger_batch_t){.seq = seq};
    return batch;
}

void ledger_add(ledger_t *self, ledger_batch_t *batch, unsigned shard, int64_t id, int64_t at_us)
{
    self->handed[shard] = id;
    if (batch->oldest_at_us == 0 || at_us < batch->oldest_at_us)
        batch->oldest_at_us = at_us;
    batch->shards |= (shard_set_t)1 << shard;
    batch->last[shard] = id;
}

static const ledger_batch_t *batch_at(const ledger_t *self, unsigned i)
{
    return &self->batches[(self->first + i) % LEDGER_MAX_BATCHES];
}

static ledger_batch_t *find(ledger_t *self, uint64_t seq)
{
    for (unsigned i = 0; i < self->n; i++) {
        ledger_batch_t *batch = &self->batches[(self->first + i) % LEDGER_MAX_BATCHES];
        if (batch->seq == seq)
            return batch;
    }
    return NULL;
}

static void advance(ledger_t *self, unsigned consumer)
{
    for (unsigned i = 0; i < self->n; i++) {
        const ledger_batch_t *batch = batch_at(self, i);
        if (!(batch->acknowledged >> consumer & 1))
            return;
        for (unsigned shard = 0; shard < N_SHARDS; shard++) {
            if (!(batch->shards >> shard & 1) ||
                batch->last[shard] <= self->positions[consumer][shard])
                continue;
            self->positions[consumer][shard] = batch->last[shard];
            self->dirty[consumer] |= (shard_set_t)1 << shard;
        }
    }
}

bool ledger_acknowledge(ledger_t *self, unsigned consumer, uint64_t seq)
{
    ledger_batch_t *batch = find(self, seq);
    if (batch == NULL || consumer >= self->n_consumers)
        return false;
    batch->acknowledged |= 1u << consumer;
    advance(self, consumer);
    uint32_t all = (1u << self->n_consumers) - 1;
    while (self->n > 0 && batch_at(self, 0)->acknowledged == all) {
        self->done = batch_at(self, 0)->seq;
        self->first = (self->first + 1) % LEDGER_MAX_BATCHES;
        self->n--;
    }
    return true;
}

bool ledger_is_acknowledged(const ledger_t *self, unsigned consumer, uint64_t seq)
{
    for (unsigned i = 0; i < self->n; i++) {
        if (batch_at(self, i)->seq == seq)
            return batch_at(self, i)->acknowledged >> consumer & 1;
    }
    return true;
}

int64_t ledger_oldest_us(const ledger_t *self)
{
    return self->n == 0 ? 0 : batch_at(self, 0)->oldest_at_us;
}
