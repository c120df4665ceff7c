/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that speak HTTP/1.1, on bare sockets. It is not libwebsockets' HTTP that is used: its
 * parser decodes the path before anyone sees it, takes two lengths and blanks before a colon,
 * answers what it does not like with a page of its own or not at all, reads nothing (and so spins,
 * and notices no client that left) while an answer is being worked out, and opens other protocols
 * on request.
 *
 * A connection is a small state machine: a head, a body, the owner is asked, the answer goes out,
 * and from the start. What a client sends ahead waits, up to a bound, and is looked at when the
 * answer is out. After the last answer our side is shut and what still arrives is read and dropped
 * for a moment: closing at once would reset the connection, and the client would never read why. */
#include "gateway/server_conn.h"

#include "actors/clock.h"
#include "schema/limits.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_US INT64_C(2000000)
#define BODY_RESERVE_BYTES ((size_t)64 * 1024)
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

/* --- a connection's end --- */

static void on_conn_closed(uv_handle_t *handle)
{
    conn_t *conn = handle->data;
    server_t *server = conn->server;
    buf_fini(&conn->in);
    buf_fini(&conn->out);
    free(conn);
    server_handle_closed(server);
}

static void end_request(conn_t *conn)
{
    request_t *request = conn->request;
    conn->request = NULL;
    buf_fini(&request->pieces);
    server_give_arena(conn->server, request->arena);
}

/* Takes the connection out of everything; its memory stays until libuv lets go, so whoever is
 * further up the stack may still look at its state and at the bytes that came. The fd is the
 * caller's. */
static void conn_leave(conn_t *conn)
{
    server_t *server = conn->server;
    conn->state = CONN_GONE;
    wheel_cancel(server->wheel, &conn->timer);
    LIST_REMOVE(conn, of_server);
    if (conn->is_ready)
        TAILQ_REMOVE(&server->ready, conn, of_ready);
    server->n_conns--;
    uv_poll_stop(&conn->poll);
    uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
}

void conn_close(conn_t *conn)
{
    if (conn->state == CONN_GONE)
        return;
    server_t *server = conn->server;
    if (conn->state == CONN_ASKED && conn->request != NULL)
        server->handler.on_gone(server->arg, conn->request);
    if (conn->state == CONN_FEEDING)
        feed_forget(conn);
    if (conn->request != NULL)
        end_request(conn);
    conn_leave(conn);
    close(conn->from.fd);
    server->handler.on_end(server->arg, conn->from.tag, conn->from.peer);
}

void conn_linger(conn_t *conn)
{
    conn->state = CONN_LINGER;
    buf_reset(&conn->in);
    shutdown(conn->from.fd, SHUT_WR);
    server_set_timer(conn->server, &conn->timer, LINGER_US);
}

/* --- sending --- */

/* The answer is out. */
static void conn_rest(conn_t *conn)
{
    server_t *server = conn->server;
    buf_fini(&conn->out);
    conn->n_sent = 0;
    if (conn->ends || server->is_draining) {
        conn_linger(conn);
        return;
    }
    conn->state = CONN_HEAD;
    conn->is_first = false;
    conn->is_partial = false;
    server_set_timer(server, &conn->timer, server->limits.keepalive_us);
    if (conn->in.n_bytes == 0 || conn->is_reading)
        return;
    TAILQ_INSERT_TAIL(&server->ready, conn, of_ready);
    conn->is_ready = true;
    server_wake(server);
}

/* Hands bytes to the kernel. False: the connection is broken. */
bool conn_send_parts(const conn_t *conn, slice_t first, slice_t second, size_t *n_sent)
{
    struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)first.data, .iov_len = first.n_bytes},
        {.iov_base = (void *)(uintptr_t)second.data, .iov_len = second.n_bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = second.n_bytes > 0 ? 2 : 1};
    ssize_t n = sendmsg(conn->from.fd, &message, MSG_NOSIGNAL);
    *n_sent = n > 0 ? (size_t)n : 0;
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static slice_t after(slice_t bytes, size_t n_used)
{
    return n_used < bytes.n_bytes ? slice_of(bytes.data + n_used, bytes.n_bytes - n_used)
                                  : slice_none();
}

static void conn_send(conn_t *conn, slice_t head, slice_t body)
{
    size_t n_sent;
    if (!conn_send_parts(conn, head, body, &n_sent)) {
        conn_close(conn);
        return;
    }
    if (n_sent == head.n_bytes + body.n_bytes) {
        conn_rest(conn);
        return;
    }
    conn->state = CONN_SENDING;
    conn->n_queued = 0;
    buf_append_slice(&conn->out, after(head, n_sent));
    buf_append_slice(&conn->out, after(body, n_sent > head.n_bytes ? n_sent - head.n_bytes : 0));
    server_set_timer(conn->server, &conn->timer, conn->server->limits.body_us);
}

static void conn_send_more(conn_t *conn)
{
    size_t n_sent;
    if (!conn_send_parts(conn, after(buf_slice(&conn->out), conn->n_sent), slice_none(), &n_sent)) {
        conn_close(conn);
        return;
    }
    conn->n_sent += n_sent;
    conn->n_queued = 0;
    if (conn->n_sent == conn->out.n_bytes)
        conn_rest(conn);
    else
        server_set_timer(conn->server, &conn->timer, conn->server->limits.body_us);
}

/* --- answering --- */

static void conn_refuse(conn_t *conn, const fault_t *fault)
{
    server_t *server = conn->server;
    bool is_head = conn->request != NULL && conn->request->head.method == METHOD_HEAD;
    if (conn->request != NULL)
        end_request(conn);
    conn->ends = true;
    buf_reset(&server->head);
    buf_reset(&server->body);
    answer_put_fault(server, fault, &server->head, &server->body);
    conn_send(conn, buf_slice(&server->head), is_head ? slice_none() : buf_slice(&server->body));
}

void request_reply(request_t *self, int status, const char *content_type, slice_t headers,
                   slice_t body)
{
    conn_t *conn = self->conn;
    server_t *server = conn->server;
    assert(conn->state == CONN_ASKED && conn->request == self);
    conn->ends = !self->head.keeps_alive || server->is_draining;
    answer_t answer = {.status = status,
                       .content_type = content_type,
                       .headers = headers,
                       .n_body = body.n_bytes,
                       .is_last = conn->ends,
                       .says_keep_alive = self->head.is_http_10};
    buf_reset(&server->head);
    answer_put_head(server, &answer, &server->head);
    if (self->head.method == METHOD_HEAD || !answer_has_body(status))
        body = slice_none();
    /* The body may be in the request's arena, so that goes back only when it was sent or copied. */
    conn->request = NULL;
    conn_send(conn, buf_slice(&server->head), body);
    buf_fini(&self->pieces);
    server_give_arena(server, self->arena);
    if (conn->state != CONN_GONE && !conn->is_reading)
        conn_watch(conn);
}

/* --- a request comes in --- */

static void conn_ask(conn_t *conn)
{
    conn->state = CONN_ASKED;
    wheel_cancel(conn->server->wheel, &conn->timer);
    conn->server->handler.on_request(conn->server->arg, conn->request);
}

/* A WebSocket is asked for: the owner decides; then the socket leaves us. What follows the head
 * goes with it. */
static void conn_upgrade(conn_t *conn, slice_t early)
{
    server_t *server = conn->server;
    request_t *request = conn->request;
    fault_t fault;
    const char *subprotocol = NULL;
    void *user = NULL;
    err_t err = ERR_OK;
    if (framing_check_websocket(&request->head, &fault))
        err = server->handler.on_upgrade(server->arg, request, &subprotocol, &user);
    if (err != ERR_OK)
        fault = (fault_t){err_status(err), err, NULL};
    if (fault.status != 0) {
        conn_refuse(conn, &fault);
        return;
    }
    assert(subprotocol == NULL ||
           framing_offers(request->head.headers[HEADER_SEC_WEBSOCKET_PROTOCOL], subprotocol));
    conn_leave(conn);
    ws_adopt(server, &conn->from, request->head.websocket_key, subprotocol, early, user);
    end_request(conn);
}

static void conn_begin_body(conn_t *conn)
{
    conn->state = CONN_BODY;
    server_set_timer(conn->server, &conn->timer, conn->server->limits.body_us);
    if (!conn->request->head.expects_continue)
        return;
    size_t n_sent;
    bool is_sent = conn_send_parts(conn, slice_str(CONTINUE), slice_none(), &n_sent);
    if (!is_sent || n_sent < strlen(CONTINUE))
        conn_close(conn);
}

/* A whole head came, and `rest` behind it. Returns how much of the rest was used. */
static size_t conn_begin(conn_t *conn, slice_t head, slice_t rest)
{
    server_t *server = conn->server;
    arena_t *arena = server_take_arena(server);
    request_t *request = arena_alloc(arena, sizeof *request);
    *request = (request_t){.conn = conn,
                           .arena = arena,
                           .peer = slice_str(conn->from.peer),
                           .tag = conn->from.tag,
                           .started_us = clock_now().mono_us};
    conn->request = request;
    fault_t fault;
    if (!framing_parse(arena_copy(arena, head), arena, &request->head, &fault)) {
        conn_refuse(conn, &fault);
        return rest.n_bytes;
    }
    if (request->head.wants_websocket) {
        conn_upgrade(conn, rest);
        return rest.n_bytes;
    }
    size_t n_body = request->head.body_bytes;
    if (rest.n_bytes < n_body) {
        conn_begin_body(conn);
        return 0;
    }
    if (n_body > 0)
        request->body = arena_copy(arena, slice_of(rest.data, n_body));
    conn_ask(conn);
    return n_body;
}

static const fault_t head_too_large = {431, ERR_TOO_LARGE,
                                       "The request's head is larger than 16 KiB."};
static const fault_t head_broken = {400, ERR_MALFORMED, "The request's lines must end with CR LF."};
static const fault_t too_slow = {408, ERR_MALFORMED, "The request took too long to arrive."};

static size_t conn_wait_for_head(conn_t *conn, slice_t bytes)
{
    if (bytes.n_bytes > LIMIT_HEADER_BYTES) {
        conn_refuse(conn, &head_too_large);
        return bytes.n_bytes;
    }
    if (!conn->is_partial && !conn->is_first)
        server_set_timer(conn->server, &conn->timer, conn->server->limits.headers_us);
    conn->is_partial = true;
    return 0;
}

static size_t conn_take_head(conn_t *conn, slice_t bytes)
{
    if (conn->line == 0 && framing_blank(bytes) > 0)
        return framing_blank(bytes);
    size_t n_head = 0;
    scan_t scan = framing_scan(bytes, &conn->line, &n_head);
    if (scan == SCAN_MORE)
        return conn_wait_for_head(conn, bytes);
    conn->line = 0;
    if (scan == SCAN_BROKEN || n_head > LIMIT_HEADER_BYTES) {
        conn_refuse(conn, scan == SCAN_BROKEN ? &head_broken : &head_too_large);
        return bytes.n_bytes;
    }
    slice_t rest = after(bytes, n_head);
    return n_head + conn_begin(conn, slice_of(bytes.data, n_head), rest);
}

static size_t conn_take_body(conn_t *conn, slice_t bytes)
{
    request_t *request = conn->request;
    size_t n_left = request->head.body_bytes - request->pieces.n_bytes;
    size_t n_used = bytes.n_bytes < n_left ? bytes.n_bytes : n_left;
    if (request->pieces.data == NULL)
        buf_reserve(&request->pieces, n_left < BODY_RESERVE_BYTES ? n_left : BODY_RESERVE_BYTES);
    buf_append(&request->pieces, bytes.data, n_used);
    if (n_used == n_left) {
        request->body = buf_slice(&request->pieces);
        conn_ask(conn);
    }
    return n_used;
}

static size_t conn_take(conn_t *conn, slice_t bytes)
{
    switch (conn->state) {
    case CONN_HEAD:
        return conn_take_head(conn, bytes);
    case CONN_BODY:
        return conn_take_body(conn, bytes);
    case CONN_ASKED:
    case CONN_SENDING:
        return 0;
    case CONN_FEEDING:
    case CONN_LINGER:
    case CONN_GONE:
        return bytes.n_bytes;
    }
    return 0;
}

/* Goes through the bytes; returns how many were used. */
static size_t conn_read(conn_t *conn, slice_t bytes)
{
    size_t n_used = 0;
    conn->is_reading = true;
    while (n_used < bytes.n_bytes) {
        size_t n = conn_take(conn, after(bytes, n_used));
        if (n == 0)
            break;
        n_used += n;
    }
    conn->is_reading = false;
    return n_used;
}

static void drop_front(buf_t *buf, size_t n_bytes)
{
    if (n_bytes == 0)
        return;
    buf->n_bytes -= n_bytes;
    if (buf->n_bytes == 0)
        buf_fini(buf);
    else
        memmove(buf->data, buf->data + n_bytes, buf->n_bytes);
}

/* Goes through what waits in `in`; at the connection's end there is nothing left to drop. */
static void conn_read_waiting(conn_t *conn)
{
    size_t n_used = conn_read(conn, buf_slice(&conn->in));
    if (conn->state != CONN_GONE && conn->state != CONN_LINGER)
        drop_front(&conn->in, n_used);
}

static void conn_take_bytes(conn_t *conn, slice_t bytes)
{
    if (conn->in.n_bytes > 0) {
        buf_append_slice(&conn->in, bytes);
        conn_read_waiting(conn);
        return;
    }
    size_t n_used = conn_read(conn, bytes);
    if (conn->state != CONN_GONE && conn->state != CONN_LINGER)
        buf_append_slice(&conn->in, after(bytes, n_used));
}

/* --- libuv --- */

/* The client has ended its side, or the connection is broken. Who still waits for an answer then is
 * taken to have gone; an answer that is on its way is sent to its end. */
static void conn_receive(conn_t *conn)
{
    server_t *server = conn->server;
    ssize_t n = recv(conn->from.fd, server->rx, SERVER_READ_BYTES, 0);
    if (n > 0)
        conn_take_bytes(conn, slice_of(server->rx, (size_t)n));
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        conn_close(conn);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    conn_t *conn = poll->data;
    if (status < 0 || (events & UV_DISCONNECT) != 0)
        conn_close(conn);
    if (conn->state == CONN_FEEDING && (events & UV_WRITABLE) != 0)
        feed_write(conn);
    if (conn->state == CONN_SENDING && (events & UV_WRITABLE) != 0)
        conn_send_more(conn);
    else if (conn->state != CONN_GONE && (events & UV_READABLE) != 0)
        conn_receive(conn);
    conn_watch(conn);
}

static int wanted_events(const conn_t *conn)
{
    switch (conn->state) {
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_LINGER:
        return UV_READABLE;
    case CONN_ASKED:
        return conn->in.n_bytes < SERVER_READ_BYTES ? UV_READABLE : UV_DISCONNECT;
    case CONN_SENDING:
        return UV_WRITABLE;
    case CONN_FEEDING:
        return feed_is_stuck(conn) ? UV_READABLE | UV_WRITABLE : UV_READABLE;
    case CONN_GONE:
        return 0;
    }
    return 0;
}

void conn_watch(conn_t *conn)
{
    int events = wanted_events(conn);
    if (conn->state == CONN_GONE || events == conn->events)
        return;
    conn->events = events;
    uv_poll_start(&conn->poll, events, on_event);
}

/* Whether the client has taken anything of the answer since the last deadline. It may read so
 * slowly that the kernel, with megabytes of its own to send first, asks us for nothing all the
 * while. */
static bool is_moving(conn_t *conn)
{
    int n_before = conn->n_queued;
    if (ioctl(conn->from.fd, SIOCOUTQ, &conn->n_queued) != 0)
        return false;
    return n_before == 0 || conn->n_queued < n_before;
}

static void on_deadline(wheel_timer_t *timer, void *arg)
{
    conn_t *conn = (conn_t *)((uint8_t *)timer - offsetof(conn_t, timer));
    (void)arg;
    if (conn->state == CONN_SENDING && is_moving(conn)) {
        server_set_timer(conn->server, timer, conn->server->limits.body_us);
        return;
    }
    if (conn->state == CONN_FEEDING) {
        feed_look(conn);
        return;
    }
    bool is_late = conn->state == CONN_BODY || (conn->state == CONN_HEAD && conn->is_partial);
    if (is_late)
        conn_refuse(conn, &too_slow);
    else
        conn_close(conn);
    conn_watch(conn);
}

/* --- for server.c --- */

bool http_adopt(server_t *server, const arrival_t *arrival)
{
    conn_t *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    *conn = (conn_t){.server = server, .from = *arrival, .is_first = true};
    conn->timer.fire = on_deadline;
    if (uv_poll_init(server->loop, &conn->poll, arrival->fd) != 0) {
        close(arrival->fd);
        free(conn);
        return false;
    }
    conn->poll.data = conn;
    server->n_handles++;
    server->n_conns++;
    LIST_INSERT_HEAD(&server->conns, conn, of_server);
    server_set_timer(server, &conn->timer, server->limits.headers_us);
    conn_watch(conn);
    return true;
}

void http_flush(server_t *server)
{
    for (size_t n = server->n_conns; n > 0 && !TAILQ_EMPTY(&server->ready); n--) {
        conn_t *conn = TAILQ_FIRST(&server->ready);
        TAILQ_REMOVE(&server->ready, conn, of_ready);
        conn->is_ready = false;
        conn_read_waiting(conn);
        conn_watch(conn);
    }
}

void http_close_idle(server_t *server)
{
    conn_t *next;
    for (conn_t *conn = LIST_FIRST(&server->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, of_server);
        if (conn->state == CONN_HEAD && !conn->is_partial && !conn->is_ready)
            conn_close(conn);
    }
}

void http_close_all(server_t *server)
{
    while (!LIST_EMPTY(&server->conns))
        conn_close(LIST_FIRST(&server->conns));
}
