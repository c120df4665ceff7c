/* SPDX-License-Identifier: Apache-2.0 */
/* Commands under way are in an array of slots; a slot's number and how often it was used make the
 * tag, so that a late result of an earlier use is told apart. Commands are kept encoded, as they
 * are sent. Those to be sent stand in a queue, so that they go in the order in which they came,
 * whatever slots they have. */
#include "actors/commander.h"

#include <stdlib.h>

#define RETRY_US INT64_C(200000)
/* The writer's inbox was full: look again soon. */
#define FULL_US INT64_C(20000)
#define FLUSH_BYTES (64 * 1024)

typedef enum { SLOT_FREE, SLOT_NEW, SLOT_BATCHED, SLOT_SENT, SLOT_WAITING } slot_state_t;

typedef struct {
    slot_state_t state;
    uint32_t n_uses;
    buf_t encoded;
    int64_t retry_mono_us;
    commander_done_f *done;
    void *arg;
} slot_t;

struct commander {
    const network_t *network;
    uint32_t address;
    port_t *writer;
    slot_t *slots;
    uint32_t n_slots;
    uint32_t *free_slots; /* a stack of their numbers */
    uint32_t n_free;
    size_t n_under_way;
    uint32_t *queue; /* slots to send, those that wait to be sent again among them */
    size_t n_queued;
    uint32_t *batched; /* slots whose commands are in `batch` */
    size_t n_batched;
    batch_t batch;
};

commander_t *commander_new(const network_t *network, uint32_t address)
{
    commander_t *self = calloc(1, sizeof *self);
    self->network = network;
    self->address = address;
    self->writer = network_port(network, ADDRESS_WRITER);
    return self;
}

void commander_destroy(commander_t **self_p)
{
    commander_t *self = *self_p;
    if (self == NULL)
        return;
    for (uint32_t i = 0; i < self->n_slots; i++)
        buf_fini(&self->slots[i].encoded);
    free(self->slots);
    free(self->free_slots);
    free(self->queue);
    free(self->batched);
    batch_fini(&self->batch);
    port_destroy(&self->writer);
    free(self);
    *self_p = NULL;
}

static void *resized(void *memory, size_t n, size_t size)
{
    memory = realloc(memory, n * size);
    if (memory == NULL)
        abort();
    return memory;
}

static uint32_t take_slot(commander_t *self)
{
    if (self->n_free > 0)
        return self->free_slots[--self->n_free];
    uint32_t n_slots = self->n_slots == 0 ? 64 : self->n_slots * 2;
    self->slots = resized(self->slots, n_slots, sizeof *self->slots);
    self->free_slots = resized(self->free_slots, n_slots, sizeof *self->free_slots);
    self->queue = resized(self->queue, n_slots, sizeof *self->queue);
    self->batched = resized(self->batched, n_slots, sizeof *self->batched);
    memset(self->slots + self->n_slots, 0, (n_slots - self->n_slots) * sizeof *self->slots);
    for (uint32_t i = n_slots; i > self->n_slots + 1; i--)
        self->free_slots[self->n_free++] = i - 1;
    uint32_t slot = self->n_slots;
    self->n_slots = n_slots;
    return slot;
}

void commander_send(commander_t *self, command_t *command, commander_done_f *done, void *arg)
{
    uint32_t number = take_slot(self);
    slot_t *slot = &self->slots[number];
    slot->n_uses++;
    slot->state = SLOT_NEW;
    slot->done = done;
    slot->arg = arg;
    slot->retry_mono_us = 0;
    command->is_actor = true;
    command->reply_to = self->address;
    command->tag = (uint64_t)slot->n_uses << 32 | number;
    buf_reset(&slot->encoded);
    command_encode(command, &slot->encoded);
    self->n_under_way++;
    self->queue[self->n_queued++] = number;
}

static void settle(commander_t *self, slot_t *slot, uint32_t number, const result_t *result,
                   now_t now)
{
    if (err_action(result->outcome.problem.err) == ERR_DO_RETRY) {
        slot->state = SLOT_WAITING;
        slot->retry_mono_us = now.mono_us + RETRY_US;
        self->queue[self->n_queued++] = number;
        return;
    }
    commander_done_f *done = slot->done;
    void *arg = slot->arg;
    slot->state = SLOT_FREE;
    self->free_slots[self->n_free++] = number;
    self->n_under_way--;
    done(arg, result);
}

void commander_receive(commander_t *self, mp_reader_t *content, now_t now)
{
    uint32_t n = 0;
    if (!batch_open(content, &n))
        return;
    for (uint32_t i = 0; i < n; i++) {
        result_t result;
        if (!result_decode(content, &result))
            return;
        uint32_t number = (uint32_t)result.tag;
        if (number >= self->n_slots)
            continue;
        slot_t *slot = &self->slots[number];
        if (slot->state == SLOT_SENT && slot->n_uses == (uint32_t)(result.tag >> 32))
            settle(self, slot, number, &result, now);
    }
}

/* Sends the batch. False: the writer's inbox is full, and what is in the batch is new again. */
static bool flush(commander_t *self)
{
    if (self->n_batched == 0)
        return true;
    bool is_sent = false;
    if (self->writer != NULL && port_has_room(self->writer)) {
        message_t message;
        batch_finish(&self->batch, &message);
        is_sent = port_send(self->writer, &message) == ERR_OK;
    } else {
        batch_fini(&self->batch);
    }
    for (size_t i = 0; i < self->n_batched; i++)
        self->slots[self->batched[i]].state = is_sent ? SLOT_SENT : SLOT_NEW;
    if (is_sent)
        self->n_batched = 0;
    return is_sent;
}

static void put_in_batch(commander_t *self, uint32_t number)
{
    batch_begin(&self->batch, MESSAGE_COMMANDS);
    buf_append_slice(&self->batch.buf, buf_slice(&self->slots[number].encoded));
    self->batch.n_items++;
    self->slots[number].state = SLOT_BATCHED;
    self->batched[self->n_batched++] = number;
}

/* The queue again: the first `n_kept` of it, what could not be sent, and what is behind `end`. */
static void close_ranks(commander_t *self, size_t n_kept, size_t end)
{
    memcpy(self->queue + n_kept, self->batched, self->n_batched * sizeof *self->queue);
    n_kept += self->n_batched;
    self->n_batched = 0;
    memmove(self->queue + n_kept, self->queue + end, (self->n_queued - end) * sizeof *self->queue);
    self->n_queued -= end - n_kept;
}

int64_t commander_turn(commander_t *self, now_t now)
{
    int64_t sleep_us = ACTOR_SLEEP_MAX_US;
    size_t n_kept = 0;
    size_t i = 0;
    bool is_full = false;
    if (self->n_queued == 0)
        return sleep_us;
    for (; i < self->n_queued && !is_full; i++) {
        uint32_t number = self->queue[i];
        int64_t wait_us = self->slots[number].retry_mono_us - now.mono_us;
        if (wait_us > 0) {
            sleep_us = wait_us < sleep_us ? wait_us : sleep_us;
            self->queue[n_kept++] = number;
            continue;
        }
        put_in_batch(self, number);
        is_full = self->batch.buf.n_bytes >= FLUSH_BYTES && !flush(self);
    }
    is_full = is_full || !flush(self);
    close_ranks(self, n_kept, i);
    return is_full ? FULL_US : sleep_us;
}

void commander_clear(commander_t *self)
{
    for (uint32_t i = 0; i < self->n_slots; i++) {
        if (self->slots[i].state == SLOT_FREE)
            continue;
        self->slots[i].state = SLOT_FREE;
        self->free_slots[self->n_free++] = i;
    }
    self->n_under_way = 0;
    self->n_queued = 0;
}

size_t commander_n_under_way(const commander_t *self)
{
    return self->n_under_way;
}
