/* SPDX-License-Identifier: Apache-2.0 */
/* The actor around the parts of a gateway: their beginning, the libuv loop that they share, what
 * wakes it (messages, the bell), what happens once a turn and once a second, and their end.
 *
 * The end has an order. First nobody new comes in, requests under way are answered, further ones
 * refused and sockets told to go; then connections are closed, which makes whoever waits forget;
 * then reads and passwords under way come to nothing; and only when the loop has closed every
 * handle is memory freed. What libwebsockets has goes when all actors have ended (server_destroy).
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "actors/log.h"
#include "gateway/acceptor.h"
#include "gateway/auth.h"
#include "gateway/http.h"
#include "gateway/hub.h"
#include "gateway/reads.h"
#include "gateway/task_reads.h"
#include "gateway/submit.h"
#include "gateway/tls.h"
#include "gateway/workers.h"

#define INBOX_LIMIT 256
#define RECEIVE_MAX 256
#define TICK_MS 1000
#define DRAIN_LOOK_MS 20
#define DRAIN_MAX_US (8 * US_PER_S)
/* For answers that are on their way out when nothing else is left. */
#define DRAIN_FLUSH_US (US_PER_S / 2)
/* For requests that are on their way in: who is refused can ask somebody else, who is cut off does
 * not know. */
#define DRAIN_LISTEN_US (US_PER_S / 4)
#define MAX_CONNECTIONS 65536
#define NAME_CHARS 24

typedef struct {
    gateway_t gateway; /* first: a gateway_t is one of these */
    char name[NAME_CHARS];
    char reads_name[NAME_CHARS];
    uv_loop_t loop;
    uv_async_t wake; /* messages have come */
    uv_prepare_t before_sleep;
    uv_poll_t bell;
    uv_timer_t tick;
    uv_timer_t drain_look;
    acceptor_t *acceptor; /* only the first gateway's */
    inlet_t *inlet;
    tls_t *tls; /* NULL: no TLS */
    bool has_handles;
    bool is_draining;
    int64_t drain_listen_us; /* connections without a request are left open until then */
    int64_t drain_until_us;
    int64_t idle_since_us; /* in draining; 0: not yet */
    metric_t *n_connections;
    metric_t *n_sockets;
    metric_t *n_refused; /* only the first gateway's */
} full_t;

static full_t *full_of(gateway_t *self)
{
    return (full_t *)(void *)self;
}

static void touch(gateway_t *self)
{
    self->now = clock_now();
}

/* --- what the server reports --- */

static void on_request(void *arg, request_t *request)
{
    touch(arg);
    http_on_request(arg, request);
}

static void on_gone(void *arg, request_t *request)
{
    http_on_gone(arg, request);
}

static err_t on_upgrade(void *arg, request_t *request, const char **subprotocol, void **user)
{
    touch(arg);
    return ws_on_upgrade(arg, request, subprotocol, user);
}

static void on_open(void *arg, socket_t *socket)
{
    ws_on_open(arg, socket);
}

static void on_message(void *arg, socket_t *socket, slice_t message, bool is_binary)
{
    touch(arg);
    ws_on_message(arg, socket, message, is_binary);
}

static bool on_writable(void *arg, socket_t *socket, buf_t *out, size_t room)
{
    return ws_on_writable(arg, socket, out, room);
}

static void on_close(void *arg, socket_t *socket, int code)
{
    ws_on_close(arg, socket, code);
}

static void on_end(void *arg, int tag, const char *peer)
{
    gateway_t *self = arg;
    listeners_dismiss(self->listeners, tag, peer);
}

static bool on_feed_writable(void *arg, feed_t *feed, buf_t *out, size_t room)
{
    return sse_on_writable(arg, feed, out, room);
}

static void on_feed_gone(void *arg, feed_t *feed)
{
    sse_on_gone(arg, feed);
}

static const server_handler_t handler = {
    .on_request = on_request,
    .on_gone = on_gone,
    .on_upgrade = on_upgrade,
    .on_open = on_open,
    .on_message = on_message,
    .on_writable = on_writable,
    .on_close = on_close,
    .on_end = on_end,
    .on_feed_writable = on_feed_writable,
    .on_feed_gone = on_feed_gone,
};

/* --- what TLS reports --- */

static bool on_plain(void *arg, const arrival_t *arrival)
{
    gateway_t *self = arg;
    return server_adopt(self->server, arrival);
}

static void on_tls_end(void *arg, const char *peer)
{
    on_end(arg, (int)LISTENER_PUBLIC, peer);
}

static const tls_handler_t tls_handler = {on_plain, on_tls_end};

/* --- messages --- */

static void on_access(gateway_t *self, mp_reader_t content)
{
    access_t access;
    if (access_decode(&content, &access))
        auth_forget(self->auth, &access);
}

static void receive(gateway_t *self, slice_t message)
{
    mp_reader_t content;
    message_kind_t kind = message_kind(message, &content);
    switch (kind) {
    case MESSAGE_RESULTS:
        submits_receive(self->submits, &content);
        break;
    case MESSAGE_ACCESS:
        on_access(self, content);
        hub_receive(self->hub, kind, &content, message);
        break;
    case MESSAGE_EPOCH:
        auth_forget_all(self->auth);
        http_on_epoch(self->http);
        hub_receive(self->hub, kind, &content, message);
        break;
    case MESSAGE_WATCHED:
    case MESSAGE_FRAMES:
    case MESSAGE_PURGED:
        hub_receive(self->hub, kind, &content, message);
        break;
    case MESSAGE_UNKNOWN:
    case MESSAGE_COMMANDS:
    case MESSAGE_EVENTS:
    case MESSAGE_TERM:
    case MESSAGE_ACK:
    case MESSAGE_LEAD:
    case MESSAGE_TAIL:
    case MESSAGE_WATCH:
        log_line(LOG_ERROR, actor_name(self->actor), "a message that is not for a gateway",
                 "kind=%d", (int)kind);
        break;
    }
}

/* A bounded number, so that a flood of frames does not keep sockets from being served. */
static void on_wake(uv_async_t *wake)
{
    full_t *full = wake->data;
    gateway_t *self = &full->gateway;
    mailbox_t *inbox = actor_inbox(self->actor);
    message_t message;
    touch(self);
    for (int n = 0; n < RECEIVE_MAX; n++) {
        if (!mailbox_recv(inbox, &message))
            return;
        receive(self, message_bytes(&message));
        message_fini(&message);
    }
    uv_async_send(wake);
}

/* In the thread of whoever sends. */
static void on_mail(void *arg)
{
    full_t *full = arg;
    uv_async_send(&full->wake);
}

/* --- once a turn, once a second --- */

static void on_before_sleep(uv_prepare_t *prepare)
{
    full_t *full = prepare->data;
    submits_flush(full->gateway.submits);
    task_reads_flush(full->gateway.task_reads);
    reads_before_sleep(full->gateway.reads);
    actor_beat(full->gateway.actor);
}

static void publish(full_t *full)
{
    gateway_t *self = &full->gateway;
    actor_t *actor = self->actor;
    actor_note(actor, "requests", (int64_t)http_n_open(self->http));
    actor_note(actor, "commands", (int64_t)submits_under_way(self->submits));
    actor_note(actor, "reads", reads_in_flight(self->reads));
    actor_note(actor, "connections", (int64_t)server_n_connections(self->server));
    actor_note(actor, "sockets", (int64_t)server_n_sockets(self->server));
    actor_note(actor, "streams", (int64_t)hub_n_streams(self->hub));
    metric_set(full->n_connections, (int64_t)server_n_connections(self->server));
    metric_set(full->n_sockets, (int64_t)server_n_sockets(self->server));
    if (full->n_refused != NULL)
        metric_set(full->n_refused, crowd_n_refused(listeners_limits(self->listeners)->crowd));
}

static void on_tick(uv_timer_t *timer)
{
    full_t *full = timer->data;
    gateway_t *self = &full->gateway;
    touch(self);
    auth_on_tick(self->auth);
    http_on_tick(self->http);
    ws_on_tick(self);
    if (full->tls != NULL && self->index == 0)
        certificate_look(listeners_certificate(self->listeners));
    publish(full);
}

/* --- the end --- */

static bool is_idle(full_t *full)
{
    gateway_t *self = &full->gateway;
    if (http_n_open(self->http) > 0 || server_n_sockets(self->server) > 0)
        return false;
    if (full->idle_since_us == 0)
        full->idle_since_us = self->now.mono_us;
    return server_n_connections(self->server) + tls_n_connections(full->tls) == 0 ||
           self->now.mono_us - full->idle_since_us >= DRAIN_FLUSH_US;
}

static void on_drain_look(uv_timer_t *timer)
{
    full_t *full = timer->data;
    touch(&full->gateway);
    if (full->gateway.now.mono_us >= full->drain_listen_us)
        server_close_idle(full->gateway.server);
    if (is_idle(full) || full->gateway.now.mono_us >= full->drain_until_us)
        uv_stop(&full->loop);
}

/* Nobody new comes in from now on. */
static void close_doors(full_t *full)
{
    acceptor_destroy(&full->acceptor);
    if (full->inlet != NULL)
        listeners_leave(full->gateway.listeners, full->inlet);
    inlet_destroy(&full->inlet);
}

static void begin_drain(full_t *full)
{
    gateway_t *self = &full->gateway;
    full->is_draining = true;
    full->drain_listen_us = self->now.mono_us + DRAIN_LISTEN_US;
    full->drain_until_us = self->now.mono_us + DRAIN_MAX_US;
    close_doors(full);
    server_drain(self->server);
    ws_drain(self);
    uv_timer_start(&full->drain_look, on_drain_look, 0, DRAIN_LOOK_MS);
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
    full_t *full = poll->data;
    (void)status;
    (void)events;
    touch(&full->gateway);
    doorbell_take(actor_bell(full->gateway.actor));
    if (actor_is_stopping(full->gateway.actor) && !full->is_draining)
        begin_drain(full);
}

/* --- the actor --- */

static void start_handles(full_t *full)
{
    uv_prepare_init(&full->loop, &full->before_sleep);
    uv_timer_init(&full->loop, &full->tick);
    uv_timer_init(&full->loop, &full->drain_look);
    uv_poll_init(&full->loop, &full->bell, doorbell_fd(actor_bell(full->gateway.actor)));
    full->before_sleep.data = full;
    full->tick.data = full;
    full->drain_look.data = full;
    full->bell.data = full;
    uv_prepare_start(&full->before_sleep, on_before_sleep);
    uv_timer_start(&full->tick, on_tick, TICK_MS, TICK_MS);
    uv_poll_start(&full->bell, UV_READABLE, on_bell);
    full->has_handles = true;
}

static void name_metrics(full_t *full)
{
    char labels[NAME_CHARS + 16];
    metrics_t *metrics = full->gateway.network->metrics;
    snprintf(labels, sizeof labels, "gateway=\"%u\"", full->gateway.index);
    full->n_connections = metrics_gauge(metrics, "taskwire_http_connections", labels,
                                        "Connections that speak HTTP or WebSocket");
    full->n_sockets = metrics_gauge(metrics, "taskwire_websocket_connections", labels,
                                    "Connections that speak WebSocket");
    if (full->gateway.index == 0)
        full->n_refused = metrics_counter(
            metrics, "taskwire_connections_refused_total", NULL,
            "Connections closed at once because their address had CONNECTION_LIMIT of them");
}

static bool take_connection(void *arg, const arrival_t *arrival)
{
    full_t *full = arg;
    gateway_t *self = &full->gateway;
    bool is_tls = full->tls != NULL && arrival->tag == (int)LISTENER_PUBLIC;
    bool is_taken = is_tls ? tls_adopt(full->tls, arrival) : server_adopt(self->server, arrival);
    if (!is_taken)
        listeners_dismiss(self->listeners, arrival->tag, arrival->peer);
    return is_taken;
}

static bool open_doors(full_t *full)
{
    gateway_t *self = &full->gateway;
    full->inlet = inlet_new(self->loop, take_connection, full);
    if (full->inlet == NULL || !listeners_join(self->listeners, full->inlet))
        return false;
    if (self->index > 0)
        return true;
    full->acceptor = acceptor_new(self->loop, self->listeners);
    return full->acceptor != NULL;
}

static err_t open_gateway(void *arg, actor_t *actor)
{
    static const server_limits_t limits = {
        .keepalive_us = 75 * US_PER_S,
        .headers_us = 10 * US_PER_S,
        .body_us = 30 * US_PER_S,
        .heartbeat_us = WS_HEARTBEAT_US,
        .max_connections = MAX_CONNECTIONS,
    };
    full_t *full = arg;
    gateway_t *self = &full->gateway;
    touch(self);
    start_handles(full);
    name_metrics(full);
    self->reads = reads_new(self, full->reads_name);
    self->task_reads = task_reads_new(self->reads);
    self->submits = submits_new(self->network, ADDRESS_GATEWAY + self->index);
    self->auth = auth_new(self);
    self->workers = workers_new(self->loop);
    self->http = http_new(self);
    self->hub = hub_new(self);
    self->server = server_new(self->loop, actor_name(actor), &limits, &handler, self);
    certificate_t *certificate = listeners_certificate(self->listeners);
    if (certificate != NULL)
        full->tls = tls_new(self->loop, certificate, TAG_SECURE, &tls_handler, self);
    return self->server != NULL && open_doors(full) ? ERR_OK : ERR_INTERNAL;
}

static err_t run_gateway(void *arg, actor_t *actor)
{
    full_t *full = arg;
    (void)actor;
    uv_async_send(&full->wake); /* what came before the loop ran */
    on_bell(&full->bell, 0, 0);
    uv_run(&full->loop, UV_RUN_DEFAULT);
    return ERR_OK;
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_handles(full_t *full)
{
    if (!full->has_handles)
        return;
    uv_handle_t *handles[] = {
        (uv_handle_t *)&full->before_sleep,
        (uv_handle_t *)&full->tick,
        (uv_handle_t *)&full->drain_look,
        (uv_handle_t *)&full->bell,
    };
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        close_handle(handles[i]);
    full->has_handles = false;
}

static void close_gateway(void *arg)
{
    full_t *full = arg;
    gateway_t *self = &full->gateway;
    touch(self);
    close_doors(full);
    server_close(self->server);
    tls_stop(full->tls);
    task_reads_flush(self->task_reads);
    reads_stop(self->reads);
    workers_stop(self->workers);
    http_stop(self->http);
    close_handles(full);
    uv_unref((uv_handle_t *)&full->wake);
    uv_run(&full->loop, UV_RUN_DEFAULT);
    tls_destroy(&full->tls);
    hub_destroy(&self->hub);
    http_destroy(&self->http);
    workers_destroy(&self->workers);
    auth_destroy(&self->auth);
    submits_destroy(&self->submits);
    task_reads_destroy(&self->task_reads);
    reads_destroy(&self->reads);
}

static const actor_ops_t ops = {
    .name = "gateway",
    .open = open_gateway,
    .close = close_gateway,
    .run = run_gateway,
};

gateway_t *gateway_new(network_t *network, listeners_t *listeners, uint32_t index)
{
    full_t *full = calloc(1, sizeof *full);
    if (full == NULL || uv_loop_init(&full->loop) != 0 ||
        uv_async_init(&full->loop, &full->wake, on_wake) != 0)
        abort();
    full->wake.data = full;
    snprintf(full->name, sizeof full->name, "gateway-%u", index);
    snprintf(full->reads_name, sizeof full->reads_name, "gateway-%u-reads", index);
    gateway_t *self = &full->gateway;
    self->network = network;
    self->listeners = listeners;
    self->index = index;
    self->loop = &full->loop;
    network_set_blind(network, index, true); /* until its reads are connected */
    self->actor = actor_new(&ops, full, network->post, full->name, INBOX_LIMIT);
    mailbox_on_wake(actor_inbox(self->actor), on_mail, full);
    return self;
}

actor_t *gateway_actor(gateway_t *self)
{
    return self->actor;
}

void gateway_destroy(gateway_t **self_p)
{
    if (*self_p == NULL)
        return;
    full_t *full = full_of(*self_p);
    actor_destroy(&full->gateway.actor);
    server_destroy(&full->gateway.server); /* now that no other thread is left */
    close_handle((uv_handle_t *)&full->wake);
    uv_ref((uv_handle_t *)&full->wake);
    uv_run(&full->loop, UV_RUN_DEFAULT);
    uv_loop_close(&full->loop);
    free(full);
    *self_p = NULL;
}
