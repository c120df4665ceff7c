/* SPDX-License-Identifier: Apache-2.0 */
/* A program that sends every WebSocket message back, as conformance suites want it, with nothing
 * between the client and what it tests: the acceptor and the server of a gateway, as they are. Only
 * the owner differs: it asks for no token, agrees on no subprotocol and takes messages of 16 MiB.
 * `ws_echo 127.0.0.1:0` says "listening on URL" and ends at SIGTERM. */
#include "actors/frame.h"
#include "gateway/acceptor.h"
#include "gateway/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define MAX_MESSAGE_BYTES ((size_t)16 << 20)

typedef struct {
    uv_loop_t loop;
    uv_signal_t terminated;
    listeners_t *listeners;
    server_t *server;
    inlet_t *inlet;
    acceptor_t *acceptor;
} echo_t;

/* --- what a server's owner does --- */

static void on_request(void *arg, request_t *request)
{
    (void)arg;
    request_reply(request, 404, NULL, slice_none(), slice_none());
}

/* No request waits for its answer. */
static void on_gone(void *arg, request_t *request)
{
    (void)arg;
    (void)request;
    abort();
}

static err_t on_upgrade(void *arg, request_t *request, const char **subprotocol, void **user)
{
    (void)arg;
    (void)request;
    *subprotocol = NULL;
    *user = calloc(1, sizeof(buf_t)); /* what is to go back */
    return *user == NULL ? ERR_OVERLOADED : ERR_OK;
}

static void on_open(void *arg, socket_t *socket)
{
    (void)arg;
    socket_set_limit(socket, MAX_MESSAGE_BYTES);
}

static void on_message(void *arg, socket_t *socket, slice_t message, bool is_binary)
{
    (void)arg;
    frame_put(socket_user(socket), is_binary ? FRAME_BINARY : FRAME_TEXT, message);
    socket_want_write(socket);
}

static bool on_writable(void *arg, socket_t *socket, buf_t *out, size_t room)
{
    (void)arg;
    (void)room;
    buf_t *back = socket_user(socket);
    buf_append_slice(out, buf_slice(back));
    buf_fini(back);
    return false;
}

static void on_close(void *arg, socket_t *socket, int code)
{
    (void)arg;
    (void)code;
    buf_fini(socket_user(socket));
    free(socket_user(socket));
}

static void on_end(void *arg, int tag, const char *peer)
{
    echo_t *self = arg;
    listeners_dismiss(self->listeners, tag, peer);
}

/* No answer is without an end. */
static bool on_feed_writable(void *arg, feed_t *feed, buf_t *out, size_t room)
{
    (void)arg;
    (void)feed;
    (void)out;
    (void)room;
    abort();
}

static void on_feed_gone(void *arg, feed_t *feed)
{
    (void)arg;
    (void)feed;
    abort();
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

/* Those of the gateway, but for the heartbeat: pings of ours are not what a suite waits for. */
static const server_limits_t limits = {
    .keepalive_us = 75000000,
    .headers_us = 10000000,
    .body_us = 30000000,
    .heartbeat_us = 600000000,
    .max_connections = 1000,
};

/* --- beginning and end --- */

static bool take(void *arg, const arrival_t *arrival)
{
    echo_t *self = arg;
    bool is_taken = server_adopt(self->server, arrival);
    if (!is_taken)
        listeners_dismiss(self->listeners, arrival->tag, arrival->peer);
    return is_taken;
}

static void on_terminated(uv_signal_t *terminated, int number)
{
    (void)number;
    echo_t *self = terminated->data;
    acceptor_destroy(&self->acceptor);
    listeners_leave(self->listeners, self->inlet);
    inlet_destroy(&self->inlet);
    server_destroy(&self->server);
    uv_close((uv_handle_t *)terminated, NULL);
}

static bool start(echo_t *self, const char *address)
{
    config_t config = {.listen = address, .admin_listen = "127.0.0.1:0"};
    char error[CONFIG_ERROR_CHARS];
    self->listeners = listeners_new(&config, error, sizeof error);
    if (self->listeners == NULL) {
        fprintf(stderr, "%s\n", error);
        return false;
    }
    uv_loop_init(&self->loop);
    self->server = server_new(&self->loop, "echo", &limits, &handler, self);
    self->inlet = inlet_new(&self->loop, take, self);
    if (self->server == NULL || self->inlet == NULL)
        return false;
    listeners_join(self->listeners, self->inlet);
    self->acceptor = acceptor_new(&self->loop, self->listeners);
    uv_signal_init(&self->loop, &self->terminated);
    self->terminated.data = self;
    uv_signal_start(&self->terminated, on_terminated, SIGTERM);
    return self->acceptor != NULL;
}

int main(int n_args, char **args)
{
    static echo_t self;
    if (n_args != 2) {
        fprintf(stderr, "usage: ws_echo ADDRESS\n");
        return 64;
    }
    if (!start(&self, args[1]))
        return 78;
    printf("listening on %s\n", listeners_url(self.listeners));
    fflush(stdout);
    uv_run(&self.loop, UV_RUN_DEFAULT);
    uv_loop_close(&self.loop);
    listeners_destroy(&self.listeners);
    return 0;
}
