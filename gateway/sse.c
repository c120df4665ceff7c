/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams (text/event-stream): one stream, read over HTTP. Behind it stands what stands
 * behind a WebSocket with a single subscription, so access, order, history and slowness are met in
 * the same way; only there is no snapshot: a position that cannot be resumed is 410 before the
 * stream begins, and an event `reset` at its end if that turns out later. Whatever ends the stream
 * says so in an event of its own, which has no id, so that a client resumes from the last event
 * that it had.
 *
 * The request waits for its answer until the stream is being followed and access and head are known
 * (WATCHED before the head is read). Source: the HTML standard, "Server-sent events". */
#include <sodium.h>

#include "gateway/reply.h"
#include "gateway/subscribe.h"
#include "gateway/ws_reply.h"

#define HEARTBEAT_US (15 * US_PER_S)
#define CONTENT_TYPE "text/event-stream"
#define CODE_LOGGED_OUT 4001
/* When clients come back after an end: not all at once. */
#define RETRY_MIN_MS 1000
#define RETRY_SPREAD_MS 4000

/* --- beginning --- */

static void on_client_gone(void *arg)
{
    ws_t *self = arg;
    self->call = NULL;
    ws_destroy(self);
}

/* The call is answered next: it has nobody to tell any more. */
static call_t *take_call(ws_t *self)
{
    call_t *call = self->call;
    self->call = NULL;
    call->on_gone = NULL;
    return call;
}

static uint32_t count_of_account(const hub_t *hub, const uuid_t *account)
{
    uint32_t n = 0;
    for (idnode_t *node = idmap_find(&hub->accounts, account); node != NULL;
         node = idmap_find_next(node))
        n += LINK_OWNER(node, ws_t, by_account)->encoding == ENCODING_SSE;
    return n;
}

/* What stands against it that can be said without asking the database. */
static problem_t check(call_t *call, ws_t *self, const ws_request_t *request)
{
    const hub_t *hub = call->gateway->hub;
    if (hub->is_draining)
        return (problem_t){.err = ERR_UNAVAILABLE, .detail = slice_str("The server restarts.")};
    if (hub->n_feeds > SSE_MAX ||
        count_of_account(hub, &call->identity.account) > SSE_MAX_OF_ACCOUNT)
        return (problem_t){.err = ERR_OVERLOADED, .detail = slice_str("Too many event streams.")};
    return subscribe_check_stream(self, request);
}

void sse_open(call_t *call, const uuid_t *stream, const sse_place_t *place)
{
    ws_request_t request = {.op = WS_OP_SUBSCRIBE,
                            .stream = *stream,
                            .has_after = true,
                            .after = place->after,
                            .epoch = place->epoch};
    ws_t *self = ws_new(call->gateway, ENCODING_SSE);
    self->hub->n_feeds++;
    metric_add(self->hub->n_event_streams, 1);
    self->state = WS_OPEN;
    ws_keep_identity(self, &call->identity);
    problem_t problem = check(call, self, &request);
    if (problem.err != ERR_OK) {
        ws_destroy(self);
        reply_problem(call, &problem);
        return;
    }
    self->call = call;
    call->on_gone = on_client_gone;
    call->on_gone_arg = self;
    subscription_begin(self, &request, false);
}

/* --- what is written --- */

/* The text between them goes out as it is. */
static size_t begin(const ws_t *self)
{
    return self->outbox.n_bytes;
}

static void end(ws_t *self, size_t place)
{
    self->hub->n_outbox_bytes += self->outbox.n_bytes - place;
    ws_wake(self);
}

static unsigned retry_ms(void)
{
    return RETRY_MIN_MS + randombytes_uniform(RETRY_SPREAD_MS);
}

/* Ends the stream behind what has been written. */
static void finish(ws_t *self, size_t place)
{
    end(self, place);
    self->state = WS_CLOSING;
    feed_end(self->feed);
}

/* Refuses what has not begun. */
static void refuse(ws_t *self, const problem_t *problem)
{
    call_t *call = take_call(self);
    ws_destroy(self);
    reply_problem(call, problem);
}

/* --- access and head --- */

static const char *why_lost(const opening_t *opening, const pg_result_t *result)
{
    static const char any[EPOCH_CHARS];
    bool is_any = memcmp(opening->epoch, any, EPOCH_CHARS) == 0;
    if (!is_any && !slice_eq(slice_of(opening->epoch, EPOCH_CHARS), pg_bytes(result, 0, 1)))
        return "The epoch is another one.";
    if (opening->after > pg_int(result, 0, 0))
        return "That revision is beyond the stream's head.";
    if (pg_bool(result, 0, 2))
        return "An event behind that revision was purged.";
    return NULL;
}

/* An id without data is no event, but from then on the client has a position to resume. */
static void put_start(ws_t *self, slice_t epoch, int64_t after)
{
    size_t place = begin(self);
    buf_format(&self->outbox, "retry: %u\nid: %.*s:%lld\n\n", retry_ms(), (int)epoch.n_bytes,
               (const char *)epoch.data, (long long)after);
    end(self, place);
}

void sse_answer(subscription_t *subscription, const pg_result_t *result)
{
    ws_t *self = subscription->ws;
    int64_t head = pg_int(result, 0, 0);
    int64_t after = subscription->opening->after;
    const char *why = why_lost(subscription->opening, result);
    if (why != NULL) {
        subscription_refuse(subscription, ERR_RESYNC_REQUIRED, why);
        return;
    }
    if (after == SSE_FROM_HEAD)
        after = head;
    self->feed = reply_feed(take_call(self), CONTENT_TYPE, self);
    self->written_us = self->gateway->now.mono_us;
    put_start(self, pg_bytes(result, 0, 1), after);
    subscription_flow(subscription, after, head);
}

/* --- ends --- */

static void put_event(ws_t *self, const char *type)
{
    buf_format(&self->outbox, "event: %s\ndata: ", type);
}

void sse_refuse(subscription_t *subscription, const problem_t *problem)
{
    ws_t *self = subscription->ws;
    if (self->feed == NULL) {
        refuse(self, problem);
        return;
    }
    size_t place = begin(self);
    put_event(self, "problem");
    problem_put_json(problem, slice_none(), &self->outbox);
    buf_append_str(&self->outbox, "\n\n");
    subscription_end(subscription);
    finish(self, place);
}

static void put_stream(ws_t *self, const uuid_t *stream)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(stream, text);
    buf_format(&self->outbox, "{\"stream\":\"%.*s\"", UUID_TEXT_CHARS, text);
}

void sse_reset(subscription_t *subscription, const char *reason)
{
    ws_t *self = subscription->ws;
    size_t place = begin(self);
    put_event(self, "reset");
    put_stream(self, subscription_stream(subscription));
    ws_put_text(&self->outbox, "reason", slice_str(reason));
    buf_append_str(&self->outbox, "}\n\n");
    subscription_end(subscription);
    finish(self, place);
}

void sse_remove(subscription_t *subscription)
{
    ws_t *self = subscription->ws;
    size_t place = begin(self);
    put_event(self, "removed");
    put_stream(self, subscription_stream(subscription));
    buf_append_str(&self->outbox, "}\n\n");
    subscription_end(subscription);
    finish(self, place);
}

/* As a WebSocket would be closed, with its code. */
void sse_close(ws_t *self, int code, const char *reason)
{
    problem_t problem = {.err = code == CODE_LOGGED_OUT ? ERR_UNAUTHENTICATED : ERR_UNAVAILABLE,
                         .detail = slice_str(reason)};
    if (self->feed == NULL) {
        refuse(self, &problem);
        return;
    }
    size_t place = begin(self);
    if (code != CODE_LOGGED_OUT)
        buf_format(&self->outbox, "retry: %u\n", retry_ms());
    put_event(self, "closed");
    buf_format(&self->outbox, "{\"code\":%d", code);
    ws_put_text(&self->outbox, "reason", slice_str(reason));
    buf_append_str(&self->outbox, "}\n\n");
    finish(self, place);
}

/* --- time --- */

/* A comment, for proxies that close what is silent, and to notice clients that vanished. */
void sse_tick(ws_t *self)
{
    if (self->gateway->now.mono_us - self->written_us < HEARTBEAT_US || self->outbox.n_bytes > 0)
        return;
    size_t place = begin(self);
    buf_append_str(&self->outbox, ":\n\n");
    end(self, place);
}

/* --- for the server --- */

bool sse_on_writable(gateway_t *gateway, feed_t *feed, buf_t *out, size_t room)
{
    ws_t *self = feed_user(feed);
    size_t start = out->n_bytes;
    bool has_more = false;
    self->is_writing = true; /* what is said meanwhile need not ask for this call again */
    buf_append_slice(out, buf_slice(&self->outbox));
    ws_drop_outbox(self);
    if (self->state == WS_OPEN && !self->is_suspended)
        has_more = deliver(self, out, start + room);
    if (out->n_bytes > start)
        self->written_us = gateway->now.mono_us;
    self->is_writing = has_more || self->outbox.n_bytes > 0;
    return self->is_writing;
}

void sse_on_gone(gateway_t *gateway, feed_t *feed)
{
    (void)gateway;
    ws_destroy(feed_user(feed));
}
