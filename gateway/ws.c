/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's life: who it is, the messages that it takes, the answers that it gets, and its end.
 * How it is let in is said in ws_upgrade.c; what it is subscribed to is the business of
 * subscribe.c; what it commands, of ws_command.c.
 *
 * Answers wait in a small outbox, in order; it goes out before any event does, so that an answer
 * always stands before what follows from it. Messages that come while it is not known who sends
 * them, or whether they still may, are held in order, within bounds. */
#include "gateway/live.h"

#include <stdlib.h>

#include "actors/frame.h"
#include "gateway/ws_reply.h"
#include "schema/limits.h"

#define LOGIN_LIMIT_US (5 * US_PER_S)
#define DRAIN_LIMIT_US (2 * US_PER_S)
#define HELD_BYTES ((size_t)64 * 1024)

#define CLOSE_RESTARTING 1012
#define CLOSE_UNSUPPORTED 1003
#define CLOSE_TOO_LARGE 1009
#define CLOSE_OVERLOADED 1013
#define CLOSE_LOGGED_OUT 4001
#define CLOSE_TOO_SLOW 4008

static void handle(ws_t *self, slice_t message);

/* --- beginning and end --- */

ws_t *ws_new(gateway_t *gateway, encoding_t encoding)
{
    ws_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->gateway = gateway;
    self->hub = gateway->hub;
    self->encoding = encoding;
    self->expires_at_us = INSTANT_NONE;
    self->deadline_us = gateway->now.mono_us + LOGIN_LIMIT_US;
    link_init(&self->of_hub);
    link_init(&self->suspect);
    link_init(&self->subscriptions);
    link_init(&self->ready);
    link_init(&self->commands);
    link_append(&self->hub->sockets, &self->of_hub);
    return self;
}

static bool is_logged_in(const ws_t *self)
{
    return !uuid_is_nil(&self->by_account.id);
}

void ws_drop_outbox(ws_t *self)
{
    self->hub->n_outbox_bytes -= self->outbox.n_bytes;
    buf_fini(&self->outbox);
    self->outbox_at = 0;
}

void ws_destroy(ws_t *self)
{
    roster_drop(self);
    while (!link_is_alone(&self->subscriptions))
        subscription_end(LINK_OWNER(self->subscriptions.next, subscription_t, of_socket));
    ws_command_forget_all(self);
    if (self->ask != NULL)
        self->ask->asker = NULL;
    if (is_logged_in(self))
        idmap_remove(&self->hub->accounts, &self->by_account);
    if (self->encoding == ENCODING_SSE) {
        self->hub->n_feeds--;
        metric_add(self->hub->n_event_streams, -1);
    }
    link_leave(&self->suspect);
    link_leave(&self->of_hub);
    ws_drop_outbox(self);
    buf_fini(&self->held);
    free(self->hello_ref);
    free(self->lists);
    free(self);
}

void ws_close(ws_t *self, int code, const char *reason)
{
    if (self->state == WS_CLOSING)
        return;
    if (self->encoding == ENCODING_SSE) {
        sse_close(self, code, reason);
        return;
    }
    self->state = WS_CLOSING;
    self->close_code = code;
    ws_drop_outbox(self);
    if (self->socket != NULL)
        socket_close(self->socket, code, reason);
}

/* --- answers --- */

void ws_wake(ws_t *self)
{
    bool is_open = self->socket != NULL || self->feed != NULL;
    if (self->is_writing || self->state == WS_CLOSING || !is_open)
        return;
    self->is_writing = true;
    if (self->feed != NULL)
        feed_want_write(self->feed);
    else
        socket_want_write(self->socket);
}

size_t ws_begin(ws_t *self)
{
    return frame_open(&self->outbox);
}

void ws_end(ws_t *self, size_t place)
{
    buf_append_byte(&self->outbox, '}');
    if (self->state == WS_CLOSING) {
        self->outbox.n_bytes = place;
        return;
    }
    (void)frame_finish(&self->outbox, place, self->encoding);
    self->hub->n_outbox_bytes += self->outbox.n_bytes - place;
    size_t n_waiting = self->outbox.n_bytes - self->outbox_at;
    if (n_waiting > WS_OUTBOX_BYTES &&
        (n_waiting > WS_OUTBOX_MAX_BYTES || self->hub->n_outbox_bytes > HUB_OUTBOX_BYTES))
        ws_close(self, CLOSE_TOO_SLOW, "too slow");
    else
        ws_wake(self);
}

bool ws_admit(ws_t *self, problem_t *problem)
{
    int64_t retry_us = 0;
    if (http_admit(self->gateway, &self->token, slice_str(self->address), &retry_us))
        return true;
    *problem = (problem_t){.err = ERR_RATE_LIMITED,
                           .detail = arena_format(self->hub->arena, "Try again in %lld ms.",
                                                  (long long)(retry_us / 1000 + 1))};
    return false;
}

void ws_charge(ws_t *self)
{
    int64_t retry_us = 0;
    (void)http_admit(self->gateway, &self->token, slice_str(self->address), &retry_us);
}

void ws_refuse(ws_t *self, slice_t ref, const problem_t *problem)
{
    size_t place = ws_begin(self);
    ws_put_op(&self->outbox, "error", ref);
    ws_put_key(&self->outbox, "problem");
    problem_put_json(problem, slice_none(), &self->outbox);
    ws_end(self, place);
}

/* Moves whole frames of the outbox to `out`. */
static void flush(ws_t *self, buf_t *out, size_t room)
{
    while (self->outbox_at < self->outbox.n_bytes && out->n_bytes < room) {
        slice_t rest =
            slice_of(self->outbox.data + self->outbox_at, self->outbox.n_bytes - self->outbox_at);
        size_t n_bytes = frame_size(rest);
        buf_append(out, rest.data, n_bytes);
        self->outbox_at += n_bytes;
    }
    if (self->outbox_at == self->outbox.n_bytes)
        ws_drop_outbox(self);
}

/* Whether it has been told all that it asked for, where that must come before its end. */
static bool has_nothing_left(const ws_t *self)
{
    return self->n_commands == 0 && self->outbox.n_bytes == 0;
}

static void end_if_answered(ws_t *self)
{
    if (self->is_ending && has_nothing_left(self))
        ws_close(self, CLOSE_RESTARTING, "restarting");
}

bool ws_on_writable(gateway_t *gateway, socket_t *socket, buf_t *out, size_t room)
{
    (void)gateway;
    ws_t *self = socket_user(socket);
    if (self == NULL || self->state == WS_CLOSING)
        return false;
    size_t start = out->n_bytes;
    size_t end = start + room;
    self->is_writing = true; /* what is said meanwhile need not ask for this call again */
    flush(self, out, end);
    bool has_more = false;
    if (self->outbox.n_bytes == 0 && self->state == WS_OPEN && !self->is_suspended)
        has_more = deliver(self, out, end);
    if (out->n_bytes == start)
        end_if_answered(self);
    /* The end waits until what was appended now is out. */
    has_more = has_more || self->outbox.n_bytes > 0 || (self->is_ending && self->n_commands == 0);
    self->is_writing = has_more && self->state != WS_CLOSING;
    return self->is_writing;
}

void ws_settled(ws_t *self)
{
    self->n_commands--;
    if (self->is_ending)
        ws_wake(self);
}

/* --- messages --- */

static bool must_wait(const ws_t *self)
{
    return self->state == WS_IDENTIFYING || self->is_suspended || self->socket == NULL;
}

static void hold(ws_t *self, slice_t message)
{
    bool is_known = self->state == WS_OPEN;
    size_t max_bytes = is_known ? LIMIT_WS_MESSAGE_BYTES : HELD_BYTES;
    uint32_t n_bytes = (uint32_t)message.n_bytes;
    if (self->held.n_bytes + n_bytes > max_bytes) {
        ws_close(self, is_known ? CLOSE_OVERLOADED : CLOSE_TOO_LARGE, "too much at once");
        return;
    }
    buf_append(&self->held, &n_bytes, sizeof n_bytes);
    buf_append_slice(&self->held, message);
}

/* Handles what was held, in order; some of it may have to wait again. */
static void handle_held(ws_t *self)
{
    buf_t held = self->held;
    size_t at = 0;
    self->held = (buf_t){0};
    while (at < held.n_bytes) {
        uint32_t n_bytes;
        memcpy(&n_bytes, held.data + at, sizeof n_bytes);
        at += sizeof n_bytes;
        handle(self, slice_of(held.data + at, n_bytes));
        at += n_bytes;
    }
    buf_fini(&held);
}

/* --- login --- */

void ws_keep_identity(ws_t *self, const identity_t *identity)
{
    self->token = identity->token;
    self->is_session = identity->is_session;
    self->scopes = identity->scopes;
    self->expires_at_us = identity->expires_at_us;
    self->n_lists = identity->n_lists;
    if (identity->n_lists > 0) {
        size_t n_bytes = identity->n_lists * sizeof *self->lists;
        self->lists = malloc(n_bytes);
        if (self->lists == NULL)
            abort();
        memcpy(self->lists, identity->lists, n_bytes);
    }
    idmap_put(&self->hub->accounts, &self->by_account, &identity->account);
}

/* It is known who it is, and the socket is open. */
static void enter(ws_t *self)
{
    socket_set_limit(self->socket, LIMIT_WS_MESSAGE_BYTES);
    size_t place = ws_begin(self);
    slice_t ref = self->hello_ref != NULL ? slice_str(self->hello_ref) : slice_none();
    ws_put_op(&self->outbox, "welcome", ref);
    ws_put_id(&self->outbox, "account", &self->by_account.id);
    ws_put_int(&self->outbox, "heartbeat_s", WS_HEARTBEAT_US / US_PER_S);
    ws_end(self, place);
    free(self->hello_ref);
    self->hello_ref = NULL;
    handle_held(self);
}

static void on_identified(void *arg, err_t err, const identity_t *identity)
{
    ask_t *ask = arg;
    ws_t *self = ask->asker;
    free(ask);
    if (self == NULL)
        return;
    self->ask = NULL;
    if (self->state != WS_IDENTIFYING)
        return;
    if (err != ERR_OK) {
        bool is_refused = err == ERR_UNAUTHENTICATED;
        ws_close(self, is_refused ? CLOSE_LOGGED_OUT : CLOSE_OVERLOADED,
                 is_refused ? "not logged in" : err_code(err));
        return;
    }
    self->state = WS_OPEN;
    ws_keep_identity(self, identity);
    if (self->socket != NULL)
        enter(self);
}

void ws_identify(ws_t *self, slice_t secret)
{
    self->state = WS_IDENTIFYING;
    self->ask = ask_new(self->hub, self);
    auth_identify(self->gateway->auth, secret, on_identified, self->ask);
}

static void say_hello(ws_t *self, const ws_request_t *request)
{
    if (request->ref.data != NULL) {
        self->hello_ref = strndup((const char *)request->ref.data, request->ref.n_bytes);
        if (self->hello_ref == NULL)
            abort();
    }
    ws_identify(self, request->token);
}

/* --- dispatch --- */

static void refuse_hello(ws_t *self, const ws_request_t *request)
{
    problem_t problem = {.err = ERR_CONFLICT, .detail = slice_str("You are logged in already.")};
    ws_refuse(self, request->ref, &problem);
}

static void ping(ws_t *self, const ws_request_t *request)
{
    size_t place = ws_begin(self);
    ws_put_op(&self->outbox, "pong", request->ref);
    ws_end(self, place);
}

static void dispatch(ws_t *self, const ws_request_t *request)
{
    switch (request->op) {
    case WS_OP_NONE:
        break;
    case WS_OP_HELLO:
        refuse_hello(self, request);
        break;
    case WS_OP_SUBSCRIBE:
        (request->is_all ? subscribe_all : subscribe)(self, request);
        break;
    case WS_OP_UNSUBSCRIBE:
        (request->is_all ? unsubscribe_all : unsubscribe)(self, request);
        break;
    case WS_OP_COMMAND:
        ws_command(self, request);
        break;
    case WS_OP_PING:
        ping(self, request);
        break;
    }
}

static void handle(ws_t *self, slice_t message)
{
    if (self->state == WS_CLOSING)
        return;
    if (must_wait(self)) {
        hold(self, message);
        return;
    }
    problem_t problem = {0};
    ws_request_t request;
    arena_reset(self->hub->arena);
    err_t err = self->encoding == ENCODING_MSGPACK
                    ? ws_request_read_msgpack(message, self->hub->arena, &request, &problem)
                    : ws_request_read_json(message, self->hub->arena, &request, &problem);
    if (err != ERR_OK)
        ws_refuse(self, request.ref, &problem);
    else if (self->state == WS_OPEN)
        dispatch(self, &request);
    else if (request.op == WS_OP_HELLO)
        say_hello(self, &request);
    else
        ws_close(self, CLOSE_LOGGED_OUT, "log in first");
}

void ws_on_message(gateway_t *gateway, socket_t *socket, slice_t message, bool is_binary)
{
    (void)gateway;
    ws_t *self = socket_user(socket);
    if (self == NULL)
        return;
    if (is_binary == (self->encoding == ENCODING_MSGPACK))
        handle(self, message);
    else
        ws_close(self, CLOSE_UNSUPPORTED,
                 is_binary ? "this subprotocol is text" : "this subprotocol is binary");
}

void ws_cleared(ws_t *self, bool is_valid)
{
    self->is_suspended = false;
    if (!is_valid) {
        ws_close(self, CLOSE_LOGGED_OUT, "logged out");
        return;
    }
    handle_held(self);
    if (self->outbox.n_bytes > 0 || !link_is_alone(&self->ready))
        ws_wake(self);
}

/* --- opening and closing --- */

void ws_on_open(gateway_t *gateway, socket_t *socket)
{
    (void)gateway;
    ws_t *self = socket_user(socket);
    self->socket = socket;
    socket_set_limit(socket, LIMIT_WS_ANONYMOUS_BYTES);
    if (self->state == WS_CLOSING)
        socket_close(socket, self->close_code, "");
    else if (self->state == WS_OPEN)
        enter(self);
}

void ws_on_close(gateway_t *gateway, socket_t *socket, int code)
{
    (void)gateway;
    (void)code;
    ws_t *self = socket_user(socket);
    socket_set_user(socket, NULL);
    if (self != NULL)
        ws_destroy(self);
}

/* --- time --- */

static void tick(ws_t *self, now_t now)
{
    bool is_late = now.mono_us >= self->deadline_us;
    if (self->state == WS_ANONYMOUS && is_late)
        ws_close(self, CLOSE_LOGGED_OUT, "log in first");
    else if (self->state == WS_IDENTIFYING && is_late)
        ws_close(self, CLOSE_OVERLOADED, "overloaded");
    else if (self->state == WS_OPEN && self->expires_at_us != INSTANT_NONE &&
             now.wall_us >= self->expires_at_us)
        ws_close(self, CLOSE_LOGGED_OUT, "the token has expired");
    else if (self->is_ending && is_late)
        ws_close(self, CLOSE_RESTARTING, "restarting");
    else if (self->feed != NULL)
        sse_tick(self);
}

void ws_on_tick(gateway_t *gateway)
{
    hub_t *hub = gateway->hub;
    link_t *next;
    for (link_t *link = hub->sockets.next; link != &hub->sockets; link = next) {
        next = link->next;
        tick(LINK_OWNER(link, ws_t, of_hub), gateway->now);
    }
    recheck_tick(hub);
    subscription_tick(hub);
    roster_tick(hub);
    backfill_tick(hub);
    snapshot_tick(hub);
    hub_tick(hub);
}

static void end_soon(ws_t *self, now_t now)
{
    if (self->is_ending)
        return;
    self->is_ending = true;
    self->deadline_us = now.mono_us + DRAIN_LIMIT_US;
    bool is_at_once = self->state != WS_OPEN || self->encoding == ENCODING_SSE;
    if (is_at_once || has_nothing_left(self))
        ws_close(self, CLOSE_RESTARTING, "restarting");
}

void ws_drain(gateway_t *gateway)
{
    hub_t *hub = gateway->hub;
    link_t *next;
    hub->is_draining = true;
    for (link_t *link = hub->sockets.next; link != &hub->sockets; link = next) {
        next = link->next;
        end_soon(LINK_OWNER(link, ws_t, of_hub), gateway->now);
    }
}
