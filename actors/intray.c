/* SPDX-License-Identifier: Apache-2.0 */
/* A small ring of messages. It cannot overflow: fewer batches are under way than it holds. */
#include "actors/intray.h"

#include <assert.h>
#include <stdlib.h>

#define RETRY_US INT64_C(200000)
#define MAX_REJECTS 4096

struct intray {
    uint32_t address;
    port_t *acks;
    message_t waiting[INTRAY_LIMIT];
    size_t first;
    size_t n;
    int64_t retry_mono_us;
    arena_t *arena; /* of the rejects of one batch */
    reject_t *rejects;
    size_t n_rejects;
};

intray_t *intray_new(const network_t *network, uint32_t address)
{
    intray_t *self = calloc(1, sizeof *self);
    self->address = address;
    self->acks = network_ack_port(network);
    self->arena = arena_new();
    self->rejects = calloc(MAX_REJECTS, sizeof *self->rejects);
    return self;
}

void intray_destroy(intray_t **self_p)
{
    intray_t *self = *self_p;
    if (self == NULL)
        return;
    intray_clear(self);
    port_destroy(&self->acks);
    arena_destroy(&self->arena);
    free(self->rejects);
    free(self);
    *self_p = NULL;
}

void intray_clear(intray_t *self)
{
    for (; self->n > 0; self->n--) {
        message_fini(&self->waiting[self->first]);
        self->first = (self->first + 1) % INTRAY_LIMIT;
    }
}

void intray_receive(intray_t *self, slice_t bytes)
{
    assert(self->n < INTRAY_LIMIT);
    message_init(&self->waiting[(self->first + self->n) % INTRAY_LIMIT], bytes);
    self->n++;
}

void intray_reject(intray_t *self, const log_event_t *event, slice_t why)
{
    if (self->n_rejects == MAX_REJECTS)
        return;
    self->rejects[self->n_rejects++] =
        (reject_t){event->id, event->stream, event->rev, arena_copy(self->arena, why)};
}

static void reject_all(intray_t *self, mp_reader_t content, uint32_t n_events, err_t err)
{
    log_event_t event;
    for (uint32_t i = 0; i < n_events && events_next(&content, &event); i++)
        intray_reject(self, &event, slice_str(err_title(err)));
}

/* Handles the first message. False: it must come again. */
static bool handle_first(intray_t *self, intray_handle_f *handle, void *arg)
{
    mp_reader_t content;
    uint64_t seq;
    uint32_t n_events;
    slice_t bytes = message_bytes(&self->waiting[self->first]);
    arena_reset(self->arena);
    self->n_rejects = 0;
    if (message_kind(bytes, &content) == MESSAGE_EVENTS && events_open(&content, &seq, &n_events)) {
        mp_reader_t again = content;
        err_t err = handle(arg, &content, n_events);
        if (err_action(err) == ERR_DO_RETRY)
            return false;
        if (err != ERR_OK)
            reject_all(self, again, n_events, err);
        message_t ack;
        ack_encode(self->address, seq, self->rejects, self->n_rejects, &ack);
        if (self->acks == NULL)
            message_fini(&ack);
        else
            (void)port_send(self->acks, &ack); /* has room for more than can be under way */
    }
    message_fini(&self->waiting[self->first]);
    self->first = (self->first + 1) % INTRAY_LIMIT;
    self->n--;
    return true;
}

int64_t intray_turn(intray_t *self, now_t now, intray_handle_f *handle, void *arg)
{
    if (self->n == 0)
        return ACTOR_SLEEP_MAX_US;
    if (now.mono_us < self->retry_mono_us)
        return self->retry_mono_us - now.mono_us;
    if (!handle_first(self, handle, arg)) {
        self->retry_mono_us = now.mono_us + RETRY_US;
        return RETRY_US;
    }
    return self->n > 0 ? 0 : ACTOR_SLEEP_MAX_US;
}

size_t intray_n_waiting(const intray_t *self)
{
    return self->n;
}
