/* SPDX-License-Identifier: Apache-2.0 */
/* A small ring of messages. It cannot overflow: fewer batches are under way than it holds. */
#include "actors/intray.h"

#include <assert.h>
#include <stdlib.h>

#define RETRY_US INT64_C(200000)
#define MIN_REJECTS 16
/* What is handled at once, and a batch more at most. */
#define GATHER_BYTES ((size_t)16 * 1024 * 1024)

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
    size_t max_rejects;
    buf_t gathered;
};

static message_t *message_at(intray_t *self, size_t i)
{
    return &self->waiting[(self->first + i) % INTRAY_LIMIT];
}

intray_t *intray_new(const network_t *network, uint32_t address)
{
    intray_t *self = calloc(1, sizeof *self);
    self->address = address;
    self->acks = network_ack_port(network);
    self->arena = arena_new();
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
    buf_fini(&self->gathered);
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

void intray_receive(intray_t *self, actor_t *actor)
{
    assert(self->n < INTRAY_LIMIT);
    actor_share(actor, message_at(self, self->n));
    self->n++;
}

void intray_reject(intray_t *self, const log_event_t *event, slice_t why)
{
    if (self->n_rejects == self->max_rejects) {
        self->max_rejects = self->max_rejects == 0 ? MIN_REJECTS : 2 * self->max_rejects;
        self->rejects = realloc(self->rejects, self->max_rejects * sizeof *self->rejects);
        if (self->rejects == NULL)
            abort();
    }
    self->rejects[self->n_rejects++] =
        (reject_t){event->id, event->stream, event->rev, arena_copy(self->arena, why)};
}

static void reject_all(intray_t *self, mp_reader_t content, uint32_t n_events, err_t err)
{
    log_event_t event;
    for (uint32_t i = 0; i < n_events && events_next(&content, &event); i++)
        intray_reject(self, &event, slice_str(err_title(err)));
}

static bool open_batch(message_t *message, mp_reader_t *content, uint64_t *seq, uint32_t *n_events)
{
    return message_kind(message_bytes(message), content) == MESSAGE_EVENTS &&
           events_open(content, seq, n_events);
}

/* Puts the events of the first batches one behind the other. Returns how many batches; the content
 * of a single one is where it was. */
static size_t gather(intray_t *self, mp_reader_t *content, uint32_t *n_events)
{
    size_t n = 0;
    uint64_t seq;
    *n_events = 0;
    buf_reset(&self->gathered);
    while (n < self->n && self->gathered.n_bytes < GATHER_BYTES) {
        mp_reader_t one;
        uint32_t n_more = 0;
        if (open_batch(message_at(self, n), &one, &seq, &n_more)) {
            *content = one;
            *n_events += n_more;
            if (self->n > 1)
                buf_append(&self->gathered, one.at, (size_t)(one.end - one.at));
        }
        n++;
    }
    if (n > 1)
        *content = mp_reader(buf_slice(&self->gathered));
    return n;
}

/* What was rejected goes with the first of them: no position passes that one before the dead
 * letters are durable. */
static void acknowledge_first(intray_t *self)
{
    mp_reader_t content;
    uint64_t seq;
    uint32_t n_events;
    message_t ack;
    if (open_batch(message_at(self, 0), &content, &seq, &n_events)) {
        ack_encode(self->address, seq, self->rejects, self->n_rejects, &ack);
        self->n_rejects = 0;
        if (self->acks == NULL)
            message_fini(&ack);
        else
            (void)port_send(self->acks, &ack); /* has room for more than can be under way */
    }
    message_fini(message_at(self, 0));
    self->first = (self->first + 1) % INTRAY_LIMIT;
    self->n--;
}

/* Handles the first batches. False: they must come again. */
static bool handle_first(intray_t *self, intray_handle_f *handle, void *arg)
{
    mp_reader_t content = {0};
    uint32_t n_events;
    arena_reset(self->arena);
    self->n_rejects = 0;
    size_t n = gather(self, &content, &n_events);
    mp_reader_t again = content;
    err_t err = n_events == 0 ? ERR_OK : handle(arg, &content, n_events);
    if (err_action(err) == ERR_DO_RETRY)
        return false;
    if (err != ERR_OK)
        reject_all(self, again, n_events, err);
    for (; n > 0; n--)
        acknowledge_first(self);
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
