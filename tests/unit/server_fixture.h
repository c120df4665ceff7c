/* SPDX-License-Identifier: Apache-2.0 */
/* A real server, or several behind one acceptor, in threads of their own, with an owner that does
 * what the paths and messages tell it; and clients on bare sockets. */
#ifndef TASKWIRE_SERVER_FIXTURE_H
#define TASKWIRE_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "actors/frame.h"
#include "gateway/acceptor.h"
#include "gateway/server.h"

#define FIXTURE_MAX_SERVERS 4
#define FIXTURE_MAX_LATER 256
#define FIXTURE_MAX_FILES 64
#define PATIENCE_S 20
#define FLOOD_PAYLOAD 1000

/* --- the owner: echoes --- */

typedef struct {
    uv_loop_t loop;
    uv_async_t stop;
    uv_thread_t thread;
    server_t *server;
    inlet_t *inlet;
    acceptor_t *acceptor; /* of the first one */
    listeners_t *listeners;
    request_t *later[FIXTURE_MAX_LATER]; /* asked for /later, answered by /release */
    size_t n_later;
    atomic_int n_gone;
    atomic_int n_open;
    atomic_int n_closed;
    atomic_int n_ended;
    atomic_int last_code;
    atomic_size_t n_handed; /* bytes that on_writable appended */
    atomic_int n_served;
    bool is_stopped;
    int files[FIXTURE_MAX_FILES]; /* opened as soon as the server is closed */
    int n_files; /* so many, if that is wanted */
    atomic_int n_feeds;
    atomic_int n_feeds_gone;
} owner_t;

typedef struct {
    buf_t out;
    int64_t n_flood; /* frames still to be made */
    int64_t n_flooded;
} client_state_t;

typedef struct {
    listeners_t *listeners;
    owner_t owners[FIXTURE_MAX_SERVERS];
    int n_owners;
    int port;
} fixture_t;

static const server_limits_t usual_limits = {.keepalive_us = 60000000,
                                             .headers_us = 30000000,
                                             .body_us = 30000000,
                                             .heartbeat_us = 25000000,
                                             .max_connections = 5000};

/* In the servers' threads, where cmocka's assertions do not reach. */
static inline void must(bool is_so)
{
    if (!is_so)
        abort();
}

static inline int64_t number_in(slice_t query)
{
    char text[32] = {0};
    memcpy(text, query.data, query.n_bytes < sizeof text - 1 ? query.n_bytes : sizeof text - 1);
    return atoll(text);
}

static inline void reply_echo(request_t *request)
{
    buf_t out = {0};
    slice_t query = request_query(request);
    slice_t cookie = request_header(request, HEADER_COOKIE);
    buf_format(&out, "%d %.*s?%.*s [%.*s] tag=%d peer=%.*s ", (int)request_method(request),
               (int)request_path(request).n_bytes, (const char *)request_path(request).data,
               (int)query.n_bytes, (const char *)query.data, (int)cookie.n_bytes,
               (const char *)cookie.data, request_tag(request), (int)request_peer(request).n_bytes,
               (const char *)request_peer(request).data);
    buf_append_slice(&out, request_body(request));
    request_reply(request, 200, "text/plain", slice_str("X-More: yes\r\n"), buf_slice(&out));
    buf_fini(&out);
}

static inline void reply_counters(owner_t *owner, request_t *request)
{
    slice_t text = arena_format(
        request_arena(request),
        "gone=%d later=%zu open=%d closed=%d code=%d handed=%zu feeds_gone=%d connections=%zu",
        owner->n_gone, owner->n_later, owner->n_open, owner->n_closed, owner->last_code,
        (size_t)owner->n_handed, owner->n_feeds_gone, server_n_connections(owner->server));
    request_reply(request, 200, "text/plain", slice_none(), text);
}

/* /feed?N: so many pieces, then its end; -N: N pieces and no end. */
typedef struct {
    int64_t n_left;
    int64_t n_written;
    bool is_endless;
} feeding_t;

static inline void begin_feed(owner_t *owner, request_t *request)
{
    feeding_t *feeding = calloc(1, sizeof *feeding);
    int64_t n = number_in(request_query(request));
    must(feeding != NULL);
    feeding->is_endless = n < 0;
    feeding->n_left = n < 0 ? -n : n;
    owner->n_feeds++;
    feed_want_write(request_feed(request, "text/plain", slice_str("X-Feed: yes\r\n"), feeding));
}

static inline bool on_feed_writable(void *arg, feed_t *feed, buf_t *out, size_t room)
{
    owner_t *owner = arg;
    feeding_t *feeding = feed_user(feed);
    size_t n_before = out->n_bytes;
    while (feeding->n_left > 0 && out->n_bytes - n_before + FLOOD_PAYLOAD < room) {
        buf_format(out, "%0*lld", FLOOD_PAYLOAD, (long long)feeding->n_written++);
        feeding->n_left--;
    }
    owner->n_handed += out->n_bytes - n_before;
    if (feeding->n_left == 0 && !feeding->is_endless)
        feed_end(feed);
    return feeding->n_left > 0;
}

static inline void on_feed_gone(void *arg, feed_t *feed)
{
    owner_t *owner = arg;
    free(feed_user(feed));
    owner->n_feeds_gone++;
}

static inline void on_request(void *arg, request_t *request)
{
    owner_t *owner = arg;
    slice_t path = request_path(request);
    owner->n_served++;
    if (slice_is(path, "/later")) {
        must(owner->n_later < FIXTURE_MAX_LATER);
        owner->later[owner->n_later++] = request;
    } else if (slice_is(path, "/release")) {
        while (owner->n_later > 0)
            reply_echo(owner->later[--owner->n_later]);
        reply_echo(request);
    } else if (slice_is(path, "/big")) {
        size_t n_bytes = (size_t)number_in(request_query(request));
        uint8_t *bytes = arena_alloc(request_arena(request), n_bytes);
        memset(bytes, 'x', n_bytes);
        request_reply(request, 200, "text/plain", slice_none(), slice_of(bytes, n_bytes));
    } else if (slice_is(path, "/feed")) {
        begin_feed(owner, request);
    } else if (slice_is(path, "/status")) {
        request_reply(request, (int)number_in(request_query(request)), NULL, slice_none(),
                      slice_none());
    } else if (slice_is(path, "/counters")) {
        reply_counters(owner, request);
    } else if (slice_is(path, "/drain")) {
        server_drain(owner->server);
        reply_echo(request);
    } else if (slice_is(path, "/close_idle")) {
        server_close_idle(owner->server);
        reply_echo(request);
    } else {
        reply_echo(request);
    }
}

static inline void on_gone(void *arg, request_t *request)
{
    owner_t *owner = arg;
    size_t n_left = 0;
    for (size_t i = 0; i < owner->n_later; i++) {
        if (owner->later[i] != request)
            owner->later[n_left++] = owner->later[i];
    }
    must(n_left + 1 == owner->n_later);
    owner->n_later = n_left;
    owner->n_gone++;
}

static inline err_t on_upgrade(void *arg, request_t *request, const char **subprotocol, void **user)
{
    (void)arg;
    if (slice_is(request_path(request), "/denied"))
        return ERR_UNAUTHENTICATED;
    char offered[256] = {0};
    slice_t list = request_header(request, HEADER_SEC_WEBSOCKET_PROTOCOL);
    if (list.n_bytes < sizeof offered && list.n_bytes > 0)
        memcpy(offered, list.data, list.n_bytes);
    if (strstr(offered, "taskwire.v1.json") != NULL)
        *subprotocol = "taskwire.v1.json";
    else if (strstr(offered, "taskwire.v1.msgpack") != NULL)
        *subprotocol = "taskwire.v1.msgpack";
    *user = calloc(1, sizeof(client_state_t));
    return ERR_OK;
}

static inline void on_open(void *arg, socket_t *socket)
{
    owner_t *owner = arg;
    must(socket_user(socket) != NULL);
    owner->n_open++;
}

/* "close CODE REASON", "limit N", "flood N", "unsent"; anything else comes back. */
static inline void on_message(void *arg, socket_t *socket, slice_t message, bool is_binary)
{
    (void)arg;
    client_state_t *state = socket_user(socket);
    char text[64] = {0};
    memcpy(text, message.data,
           message.n_bytes < sizeof text - 1 ? message.n_bytes : sizeof text - 1);
    if (strncmp(text, "close ", 6) == 0) {
        frame_put(&state->out, FRAME_TEXT, slice_str("last words"));
        socket_want_write(socket);
        socket_close(socket, atoi(text + 6), text + 11);
        return;
    }
    if (strncmp(text, "limit ", 6) == 0)
        socket_set_limit(socket, (size_t)atoi(text + 6));
    if (strncmp(text, "flood ", 6) == 0)
        state->n_flood = atoll(text + 6);
    else
        frame_put(&state->out, is_binary ? FRAME_BINARY : FRAME_TEXT, message);
    socket_want_write(socket);
}

static inline bool on_writable(void *arg, socket_t *socket, buf_t *out, size_t room)
{
    owner_t *owner = arg;
    client_state_t *state = socket_user(socket);
    size_t n_before = out->n_bytes;
    buf_append_slice(out, buf_slice(&state->out));
    buf_fini(&state->out);
    while (state->n_flood > 0 && out->n_bytes - n_before + FLOOD_PAYLOAD < room) {
        char payload[FLOOD_PAYLOAD + 1];
        snprintf(payload, sizeof payload, "%0*lld", FLOOD_PAYLOAD, (long long)state->n_flooded++);
        frame_put(out, FRAME_TEXT, slice_of(payload, FLOOD_PAYLOAD));
        state->n_flood--;
    }
    owner->n_handed += out->n_bytes - n_before;
    return state->n_flood > 0;
}

static inline void on_close(void *arg, socket_t *socket, int code)
{
    owner_t *owner = arg;
    client_state_t *state = socket_user(socket);
    buf_fini(&state->out);
    free(state);
    owner->last_code = code;
    owner->n_closed++;
}

/* --- starting and stopping --- */

static inline void on_end(void *arg, int tag, const char *peer)
{
    owner_t *owner = arg;
    listeners_dismiss(owner->listeners, tag, peer);
    owner->n_ended++;
}

static inline bool take(void *arg, const arrival_t *arrival)
{
    owner_t *owner = arg;
    bool is_taken = server_adopt(owner->server, arrival);
    if (!is_taken)
        listeners_dismiss(owner->listeners, arrival->tag, arrival->peer);
    return is_taken;
}

static inline void on_stop(uv_async_t *stop)
{
    owner_t *owner = stop->data;
    acceptor_destroy(&owner->acceptor);
    listeners_leave(owner->listeners, owner->inlet);
    inlet_destroy(&owner->inlet);
    server_close(owner->server);
    for (int i = 0; i < owner->n_files; i++)
        owner->files[i] = dup(STDIN_FILENO);
    uv_close((uv_handle_t *)stop, NULL);
}

static inline void run_owner(void *arg)
{
    owner_t *owner = arg;
    uv_run(&owner->loop, UV_RUN_DEFAULT);
}

static inline void stop_owner(owner_t *owner)
{
    if (owner->is_stopped)
        return;
    owner->is_stopped = true;
    uv_async_send(&owner->stop);
    uv_thread_join(&owner->thread);
}

static inline void start_owner(fixture_t *self, owner_t *owner, const server_limits_t *limits)
{
    static const server_handler_t handler = {on_request,       on_gone,     on_upgrade, on_open,
                                             on_message,       on_writable, on_close,   on_end,
                                             on_feed_writable, on_feed_gone};
    assert_int_equal(uv_loop_init(&owner->loop), 0);
    owner->listeners = self->listeners;
    owner->server = server_new(&owner->loop, "test", limits, &handler, owner);
    assert_non_null(owner->server);
    owner->inlet = inlet_new(&owner->loop, take, owner);
    assert_non_null(owner->inlet);
    assert_true(listeners_join(self->listeners, owner->inlet));
    if (owner == &self->owners[0])
        owner->acceptor = acceptor_new(&owner->loop, self->listeners);
    uv_async_init(&owner->loop, &owner->stop, on_stop);
    owner->stop.data = owner;
}

static inline fixture_t *fixture_start(int n_owners, const server_limits_t *limits)
{
    fixture_t *self = calloc(1, sizeof *self);
    config_t config = {.listen = "127.0.0.1:0", .admin_listen = "127.0.0.1:0"};
    char error[CONFIG_ERROR_CHARS];
    self->listeners = listeners_new(&config, error, sizeof error);
    assert_non_null(self->listeners);
    self->port = atoi(strrchr(listeners_url(self->listeners), ':') + 1);
    self->n_owners = n_owners;
    for (int i = 0; i < n_owners; i++)
        start_owner(self, &self->owners[i], limits);
    for (int i = 0; i < n_owners; i++)
        uv_thread_create(&self->owners[i].thread, run_owner, &self->owners[i]);
    return self;
}

static inline void fixture_stop(fixture_t *self)
{
    for (int i = 0; i < self->n_owners; i++)
        stop_owner(&self->owners[i]);
    for (int i = 0; i < self->n_owners; i++) {
        server_destroy(&self->owners[i].server);
        uv_run(&self->owners[i].loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&self->owners[i].loop), 0);
        assert_int_equal(self->owners[i].n_open, self->owners[i].n_closed);
        assert_int_equal(self->owners[i].n_feeds, self->owners[i].n_feeds_gone);
    }
    listeners_destroy(&self->listeners);
    free(self);
}

/* --- clients --- */

typedef struct {
    int fd;
    buf_t in;
} client_t;

typedef struct {
    int status; /* 0: the connection ended before an answer */
    char head[4096];
    slice_t body; /* until the next answer is read */
} answer_in_t;

static inline client_t client_connect_fd(int fd, int port)
{
    client_t self = {.fd = fd};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(self.fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(self.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(self.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int on = 1;
    setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return self;
}

static inline client_t client_connect(int port)
{
    return client_connect_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port);
}

static inline void client_close(client_t *self)
{
    close(self->fd);
    buf_fini(&self->in);
}

/* Whether a call on a client's socket is to be made again. Calls on sockets with a timeout are
 * interrupted even where no signal comes: a loop of libuv's newer versions has an io_uring, and
 * Linux calls who made it away from whatever waits, a moment after it was closed. */
static inline bool is_interrupted(ssize_t n)
{
    return n < 0 && errno == EINTR;
}

/* False: the other end takes no more. */
static inline bool client_send_bytes(const client_t *self, const void *bytes, size_t n_bytes)
{
    for (size_t n_sent = 0; n_sent < n_bytes;) {
        ssize_t n = send(self->fd, (const char *)bytes + n_sent, n_bytes - n_sent, MSG_NOSIGNAL);
        if (is_interrupted(n))
            continue;
        if (n <= 0)
            return false;
        n_sent += (size_t)n;
    }
    return true;
}

static inline bool client_send(const client_t *self, const char *text)
{
    return client_send_bytes(self, text, strlen(text));
}

/* recv(2) that is not interrupted. */
static inline ssize_t client_recv(const client_t *self, void *bytes, size_t n_room)
{
    ssize_t n;
    do {
        n = recv(self->fd, bytes, n_room, 0);
    } while (is_interrupted(n));
    return n;
}

/* Reads until there are that many bytes. False: the connection ended before; failing: nothing came
 * for too long. */
static inline bool client_fill(client_t *self, size_t n_bytes)
{
    while (self->in.n_bytes < n_bytes) {
        ssize_t n = client_recv(self, buf_reserve(&self->in, 65536), 65536);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("nothing came for %d s", PATIENCE_S);
        if (n <= 0)
            return false;
        self->in.n_bytes += (size_t)n;
    }
    return true;
}

static inline void client_drop(client_t *self, size_t n_bytes)
{
    self->in.n_bytes -= n_bytes;
    memmove(self->in.data, self->in.data + n_bytes, self->in.n_bytes);
}

/* Whether the server has ended the connection (and sent nothing more). */
static inline bool client_is_closed(client_t *self)
{
    return !client_fill(self, self->in.n_bytes + 1);
}

static inline answer_in_t client_read_for(client_t *self, bool is_head_request)
{
    answer_in_t out = {0};
    const char *end = NULL;
    while (self->in.n_bytes == 0 ||
           (end = memmem(self->in.data, self->in.n_bytes, "\r\n\r\n", 4)) == NULL) {
        if (!client_fill(self, self->in.n_bytes + 1))
            return out;
    }
    size_t n_head = (size_t)(end - (const char *)self->in.data) + 4;
    assert_true(n_head < sizeof out.head);
    memcpy(out.head, self->in.data, n_head);
    client_drop(self, n_head);
    assert_int_equal(sscanf(out.head, "HTTP/1.1 %d ", &out.status), 1);
    const char *length = strstr(out.head, "\r\nContent-Length: ");
    size_t n_body = length == NULL || is_head_request ? 0 : (size_t)atoll(length + 18);
    assert_true(client_fill(self, n_body));
    static buf_t body;
    buf_reset(&body);
    buf_append(&body, self->in.data, n_body);
    buf_append_byte(&body, '\0');
    client_drop(self, n_body);
    out.body = slice_of(body.data, n_body);
    return out;
}

static inline answer_in_t client_read(client_t *self)
{
    return client_read_for(self, false);
}

static inline answer_in_t client_ask(client_t *self, const char *text)
{
    assert_true(client_send(self, text));
    return client_read(self);
}

/* The status that a request on a new connection gets; 0: none. Asserts that the connection ends
 * after it. */
static inline int status_of_last(int port, const char *text)
{
    client_t client = client_connect(port);
    client_send(&client, text);
    answer_in_t answer = client_read(&client);
    if (answer.status != 0 && strstr(answer.head, "\r\nConnection: close\r\n") == NULL)
        fail_msg("the connection stays open after: %s", answer.head);
    assert_true(client_is_closed(&client));
    client_close(&client);
    return answer.status;
}

static inline bool answer_has(const answer_in_t *answer, const char *text)
{
    return answer->body.n_bytes > 0 &&
           memmem(answer->body.data, answer->body.n_bytes, text, strlen(text)) != NULL;
}

/* Asks for the counters until they hold the text. */
static inline void wait_for_counter(int port, const char *text)
{
    client_t client = client_connect(port);
    time_t until = time(NULL) + PATIENCE_S;
    for (;;) {
        answer_in_t answer = client_ask(&client, "GET /counters HTTP/1.1\r\nHost: a\r\n\r\n");
        if (answer_has(&answer, text))
            break;
        if (time(NULL) > until)
            fail_msg("waited in vain for %s: %s", text, (const char *)answer.body.data);
    }
    client_close(&client);
}

static inline size_t counter(client_t *client, const char *name)
{
    answer_in_t answer = client_ask(client, "GET /counters HTTP/1.1\r\nHost: a\r\n\r\n");
    const char *at = strstr((const char *)answer.body.data, name);
    assert_non_null(at);
    return (size_t)atoll(at + strlen(name));
}

#endif
