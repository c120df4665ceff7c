/* SPDX-License-Identifier: Apache-2.0 */
/* A table of places, each with the callback that waits there. A command's tag is its place together
 * with how often that place has been used, so that a late result finds nobody rather than somebody
 * else. A place stays taken until its result is here, even if nobody wants it any more: this is
 * what bounds the commands under way. */
#include "gateway/submit.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/log.h"
#include "schema/limits.h"

#define MAX_BATCH_COMMANDS 512
/* A bulk is not divided. */
#define MAX_MESSAGE_COMMANDS LIMIT_BULK_COMMANDS
#define MAX_BATCH_BYTES ((size_t)1024 * 1024)

typedef struct {
    uint64_t tag; /* 0: free */
    submit_done_f *done; /* NULL: nobody waits */
    void *arg;
    uuid_t command;
    op_t op;
    uint32_t next_free;
} place_t;

struct submits {
    network_t *network;
    port_t *writer;
    uint32_t address;
    batch_t batch;
    uint64_t batch_tags[MAX_MESSAGE_COMMANDS];
    place_t *places; /* place 0 is never used, so that no tag is 0 */
    uint32_t free; /* the first of the free ones; 0: none */
    uint64_t n_used; /* in all time */
    size_t n_under_way;
};

submits_t *submits_new(network_t *network, uint32_t address)
{
    submits_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->address = address;
    self->writer = network_port(network, ADDRESS_WRITER);
    self->places = calloc(SUBMIT_MAX_UNDER_WAY + 1, sizeof *self->places);
    if (self->places == NULL)
        abort();
    for (uint32_t i = SUBMIT_MAX_UNDER_WAY; i > 0; i--) {
        self->places[i].next_free = self->free;
        self->free = i;
    }
    return self;
}

void submits_destroy(submits_t **self_p)
{
    submits_t *self = *self_p;
    if (self == NULL)
        return;
    batch_fini(&self->batch);
    port_destroy(&self->writer);
    free(self->places);
    free(self);
    *self_p = NULL;
}

size_t submits_under_way(const submits_t *self)
{
    return self->n_under_way;
}

static place_t *place_of(submits_t *self, uint64_t tag)
{
    uint64_t i = tag % (SUBMIT_MAX_UNDER_WAY + 1);
    return self->places[i].tag == tag && tag != 0 ? &self->places[i] : NULL;
}

static uint64_t take_place(submits_t *self)
{
    uint32_t i = self->free;
    place_t *place = &self->places[i];
    self->free = place->next_free;
    self->n_under_way++;
    place->tag = ++self->n_used * (SUBMIT_MAX_UNDER_WAY + 1) + i;
    return place->tag;
}

/* The place is free before the callback runs, which may submit again. */
static void end(submits_t *self, uint64_t tag, const result_t *result)
{
    place_t *place = place_of(self, tag);
    if (place == NULL)
        return;
    place_t ended = *place;
    *place = (place_t){.next_free = self->free};
    self->free = (uint32_t)(tag % (SUBMIT_MAX_UNDER_WAY + 1));
    self->n_under_way--;
    if (ended.done != NULL)
        ended.done(ended.arg, result);
}

/* The writer took none of them. */
static void refuse_batch(submits_t *self, size_t n_commands)
{
    uint64_t tags[MAX_MESSAGE_COMMANDS];
    memcpy(tags, self->batch_tags, n_commands * sizeof *tags);
    for (size_t i = 0; i < n_commands; i++) {
        const place_t *place = place_of(self, tags[i]);
        if (place == NULL)
            continue;
        result_t result = {.tag = tags[i], .command = place->command, .op = place->op};
        result.outcome.problem.err = ERR_OVERLOADED;
        end(self, tags[i], &result);
    }
}

void submits_flush(submits_t *self)
{
    size_t n_commands = self->batch.n_items;
    if (n_commands == 0)
        return;
    message_t message;
    batch_finish(&self->batch, &message);
    if (port_send(self->writer, &message) != ERR_OK)
        refuse_batch(self, n_commands);
}

/* Takes a place for the command and appends it to the batch. */
static uint64_t append(submits_t *self, command_t *command, submit_done_f *done, void *arg)
{
    uint64_t tag = take_place(self);
    place_t *place = place_of(self, tag);
    place->done = done;
    place->arg = arg;
    place->command = command->id;
    place->op = command->op;
    command->reply_to = self->address;
    command->tag = tag;
    batch_begin(&self->batch, MESSAGE_COMMANDS);
    self->batch_tags[self->batch.n_items++] = tag;
    command_encode(command, &self->batch.buf);
    return tag;
}

err_t submit_command(submits_t *self, command_t *command, submit_done_f *done, void *arg,
                     uint64_t *handle)
{
    *handle = 0;
    if (self->writer == NULL)
        return ERR_UNAVAILABLE;
    if (self->batch.n_items == MAX_BATCH_COMMANDS || self->batch.buf.n_bytes >= MAX_BATCH_BYTES)
        submits_flush(self);
    if (self->free == 0 || (self->batch.n_items == 0 && !port_has_room(self->writer)))
        return ERR_OVERLOADED;
    *handle = append(self, command, done, arg);
    return ERR_OK;
}

err_t submit_bulk(submits_t *self, command_t *commands, size_t n_commands, bool is_atomic,
                  submit_done_f *done, void *const *items)
{
    assert(n_commands <= MAX_MESSAGE_COMMANDS);
    if (self->writer == NULL)
        return ERR_UNAVAILABLE;
    submits_flush(self);
    if (n_commands > SUBMIT_MAX_UNDER_WAY - self->n_under_way || !port_has_room(self->writer))
        return ERR_OVERLOADED;
    for (size_t i = 0; i < n_commands; i++) {
        commands[i].n_bulk = is_atomic && i == 0 ? (uint32_t)n_commands : 0;
        append(self, &commands[i], done, items[i]);
    }
    submits_flush(self);
    return ERR_OK;
}

void submit_forget(submits_t *self, uint64_t handle)
{
    place_t *place = place_of(self, handle);
    if (place != NULL)
        place->done = NULL;
}

void submits_receive(submits_t *self, mp_reader_t *content)
{
    uint32_t n_items;
    if (!batch_open(content, &n_items))
        return;
    for (uint32_t i = 0; i < n_items; i++) {
        result_t result;
        if (!result_decode(content, &result)) {
            log_line(LOG_ERROR, "gateway", "a message from the writer could not be read", NULL);
            return;
        }
        end(self, result.tag, &result);
    }
}
