/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of events per shard, in order of id, linked through one table of slots. Reports come in
 * any order; what has arrived leaves its queue only from the front. */
#include "bridge/progress.h"

#include <assert.h>
#include <stdlib.h>

#define NONE UINT32_MAX

typedef struct {
    int64_t id;
    int64_t at_us;
    uint32_t next; /* of the same shard, or of the free ones */
    uint32_t n_holds;
    uint8_t shard;
} slot_t;

typedef struct {
    uint32_t first;
    uint32_t last;
    int64_t position;
} queue_t;

struct progress {
    slot_t slots[PROGRESS_MAX_EVENTS];
    queue_t queues[N_SHARDS];
    uint32_t free;
    uint32_t n;
    shard_set_t moved;
};

void progress_reset(progress_t *self, const int64_t positions[N_SHARDS])
{
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        self->queues[shard] = (queue_t){NONE, NONE, positions[shard]};
    for (uint32_t i = 0; i < PROGRESS_MAX_EVENTS; i++)
        self->slots[i] = (slot_t){.next = i + 1 < PROGRESS_MAX_EVENTS ? i + 1 : NONE};
    self->free = 0;
    self->n = 0;
    self->moved = 0;
}

progress_t *progress_new(void)
{
    static const int64_t zero[N_SHARDS];
    progress_t *self = malloc(sizeof *self);
    if (self == NULL)
        abort();
    progress_reset(self, zero);
    return self;
}

void progress_destroy(progress_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

bool progress_has_room(const progress_t *self)
{
    return self->free != NONE;
}

uint32_t progress_open(progress_t *self, unsigned shard, int64_t id, int64_t at_us)
{
    uint32_t ticket = self->free;
    assert(ticket != NONE);
    slot_t *slot = &self->slots[ticket];
    queue_t *queue = &self->queues[shard];
    self->free = slot->next;
    *slot = (slot_t){.id = id, .at_us = at_us, .next = NONE, .n_holds = 1, .shard = (uint8_t)shard};
    if (queue->first == NONE)
        queue->first = ticket;
    else
        self->slots[queue->last].next = ticket;
    queue->last = ticket;
    self->n++;
    return ticket;
}

void progress_hold(progress_t *self, uint32_t ticket)
{
    self->slots[ticket].n_holds++;
}

/* Moves the shard's position over what has arrived. */
static void advance(progress_t *self, unsigned shard)
{
    queue_t *queue = &self->queues[shard];
    while (queue->first != NONE && self->slots[queue->first].n_holds == 0) {
        uint32_t ticket = queue->first;
        slot_t *slot = &self->slots[ticket];
        queue->position = slot->id;
        queue->first = slot->next;
        slot->next = self->free;
        self->free = ticket;
        self->n--;
        self->moved |= (shard_set_t)1 << shard;
    }
}

void progress_release(progress_t *self, uint32_t ticket)
{
    slot_t *slot = &self->slots[ticket];
    assert(slot->n_holds > 0);
    slot->n_holds--;
    if (slot->n_holds == 0)
        advance(self, slot->shard);
}

int64_t progress_id(const progress_t *self, uint32_t ticket)
{
    return self->slots[ticket].id;
}

unsigned progress_shard(const progress_t *self, uint32_t ticket)
{
    return self->slots[ticket].shard;
}

int64_t progress_position(const progress_t *self, unsigned shard)
{
    return self->queues[shard].position;
}

shard_set_t progress_take_moved(progress_t *self)
{
    shard_set_t moved = self->moved;
    self->moved = 0;
    return moved;
}

void progress_give_back(progress_t *self, shard_set_t shards)
{
    self->moved |= shards;
}

bool progress_has_moved(const progress_t *self)
{
    return self->moved != 0;
}

uint32_t progress_n(const progress_t *self)
{
    return self->n;
}

int64_t progress_oldest_us(const progress_t *self)
{
    int64_t oldest_us = 0;
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        uint32_t first = self->queues[shard].first;
        if (first != NONE && (oldest_us == 0 || self->slots[first].at_us < oldest_us))
            oldest_us = self->slots[first].at_us;
    }
    return oldest_us;
}
