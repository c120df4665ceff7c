/* SPDX-License-Identifier: Apache-2.0 */
/* A connection has an outer end, the client's socket, and an inner one, ours of the pair. Whatever
 * happens, both directions are moved on as far as they go (pump), and from what is left in the way
 * follows what libuv has to watch. What one direction could not hand on is kept, at most a record;
 * meanwhile nothing more is read for it.
 *
 * The server decides when a connection ends: it shuts or closes its end after the last answer. Then
 * what is left is sent, TLS is ended properly, and what still arrives is dropped for a moment, for
 * the same reason as in server_http.c. A client that has ended its side is told to the server,
 * which ends the connection in its turn. */
#include "gateway/tls.h"

#include "actors/wheel.h"
#include "schema/buf.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define RECORD_BYTES ((size_t)16 * 1024)
#define MAX_CONNECTIONS 65536
#define TICK_MS 100
#define SHAKES_A_TURN 16
#define HANDSHAKE_US INT64_C(10000000)
#define FLUSH_US INT64_C(30000000)
#define LINGER_US INT64_C(2000000)
/* The first byte of a TLS connection: a record of the handshake. */
#define HANDSHAKE_RECORD 22

static const char not_tls[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n"
    "Connection: close\r\n\r\nThis address speaks HTTPS.\n";

typedef enum {
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_CLOSING, /* all was sent but the end of TLS itself */
    TLS_LINGER, /* our side is shut; what arrives is dropped */
    TLS_GONE, /* only memory, until libuv has closed the handles */
} tls_state_t;

typedef struct tls_conn {
    uv_poll_t outer;
    uv_poll_t inner;
    LIST_ENTRY(tls_conn) of_tls;
    wheel_timer_t timer;
    tls_t *tls;
    SSL *ssl;
    arrival_t from;
    int inner_fd; /* -1: there is none */
    int n_handles; /* not closed yet */
    int outer_events; /* what libuv watches */
    int inner_events;
    tls_state_t state;
    bool is_first; /* no byte has been looked at */
    bool wants_to_write; /* what the handshake waits for; else it is to read */
    bool outer_ended; /* the client will send no more */
    bool inner_ended; /* nor will the server */
    buf_t to_outer; /* what could not be handed on yet */
    buf_t to_inner;
} tls_conn_t;

struct tls {
    struct uv_loop_s *loop;
    uint64_t shaken_at; /* uv_now of the turn in which handshakes were last gone on with, */
    unsigned n_shaken; /* and how often in it */
    certificate_t *certificate;
    int tag;
    tls_handler_t handler;
    void *arg;
    uv_timer_t ticker;
    wheel_t *wheel;
    LIST_HEAD(, tls_conn) conns;
    size_t n_conns;
    uint8_t scratch[RECORD_BYTES];
};

static void on_outer(uv_poll_t *poll, int status, int events);
static void on_inner(uv_poll_t *poll, int status, int events);

/* --- deadlines --- */

static int64_t now_us(const tls_t *self)
{
    return (int64_t)uv_now(self->loop) * 1000;
}

static void on_tick(uv_timer_t *ticker)
{
    tls_t *self = ticker->data;
    wheel_turn(self->wheel, now_us(self));
    if (wheel_count(self->wheel) == 0)
        uv_timer_stop(ticker);
}

static void set_deadline(tls_conn_t *conn, int64_t after_us)
{
    tls_t *self = conn->tls;
    wheel_set(self->wheel, &conn->timer, now_us(self) + after_us);
    if (!uv_is_active((uv_handle_t *)&self->ticker))
        uv_timer_start(&self->ticker, on_tick, TICK_MS, TICK_MS);
}

/* --- a connection's end --- */

static void on_handle_closed(uv_handle_t *handle)
{
    tls_conn_t *conn = handle->data;
    if (--conn->n_handles > 0)
        return;
    buf_fini(&conn->to_outer);
    buf_fini(&conn->to_inner);
    free(conn);
}

static void close_inner(tls_conn_t *conn)
{
    if (conn->inner_fd < 0)
        return;
    uv_poll_stop(&conn->inner);
    uv_close((uv_handle_t *)&conn->inner, on_handle_closed);
    close(conn->inner_fd);
    conn->inner_fd = -1;
}

static void conn_close(tls_conn_t *conn)
{
    if (conn->state == TLS_GONE)
        return;
    tls_t *self = conn->tls;
    conn->state = TLS_GONE;
    wheel_cancel(self->wheel, &conn->timer);
    LIST_REMOVE(conn, of_tls);
    self->n_conns--;
    close_inner(conn);
    uv_poll_stop(&conn->outer);
    uv_close((uv_handle_t *)&conn->outer, on_handle_closed);
    close(conn->from.fd);
    SSL_free(conn->ssl);
    conn->ssl = NULL;
    self->handler.on_end(self->arg, conn->from.peer);
}

static void on_deadline(wheel_timer_t *timer, void *arg)
{
    (void)arg;
    conn_close((tls_conn_t *)((uint8_t *)timer - offsetof(tls_conn_t, timer)));
}

static void conn_linger(tls_conn_t *conn)
{
    conn->state = TLS_LINGER;
    close_inner(conn);
    shutdown(conn->from.fd, SHUT_WR);
    set_deadline(conn, LINGER_US);
}

/* Says that TLS ends here, so that the client knows nothing was cut off. */
static void conn_say_end(tls_conn_t *conn)
{
    ERR_clear_error();
    int n = SSL_shutdown(conn->ssl);
    if (n < 0 && SSL_get_error(conn->ssl, n) == SSL_ERROR_WANT_WRITE)
        return;
    conn_linger(conn);
}

static void conn_drop_input(tls_conn_t *conn)
{
    ssize_t n = recv(conn->from.fd, conn->tls->scratch, RECORD_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(conn);
}

/* --- from the client to the server --- */

static void drop_front(buf_t *buf, size_t n_bytes)
{
    buf->n_bytes -= n_bytes;
    if (buf->n_bytes == 0)
        buf_fini(buf);
    else
        memmove(buf->data, buf->data + n_bytes, buf->n_bytes);
}

/* How many the server's side took. Once that has ended, all is dropped. */
static size_t send_inner(tls_conn_t *conn, const uint8_t *bytes, size_t n_bytes)
{
    if (conn->inner_ended)
        return n_bytes;
    ssize_t n = send(conn->inner_fd, bytes, n_bytes, MSG_NOSIGNAL);
    if (n >= 0)
        return (size_t)n;
    return errno == EAGAIN || errno == EINTR ? 0 : n_bytes;
}

/* OpenSSL does not go on: for now, for ever in one direction, or at all. */
static void conn_stuck(tls_conn_t *conn, int n)
{
    switch (SSL_get_error(conn->ssl, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return;
    case SSL_ERROR_ZERO_RETURN:
        conn->outer_ended = true;
        if (conn->inner_fd >= 0)
            shutdown(conn->inner_fd, SHUT_WR);
        return;
    }
    conn_close(conn);
}

static void pump_in(tls_conn_t *conn)
{
    uint8_t *scratch = conn->tls->scratch;
    if (conn->to_inner.n_bytes > 0)
        drop_front(&conn->to_inner, send_inner(conn, conn->to_inner.data, conn->to_inner.n_bytes));
    while (conn->state == TLS_OPEN && !conn->outer_ended && !conn->inner_ended &&
           conn->to_inner.n_bytes == 0) {
        ERR_clear_error();
        int n = SSL_read(conn->ssl, scratch, (int)RECORD_BYTES);
        if (n <= 0) {
            conn_stuck(conn, n);
            return;
        }
        size_t n_sent = send_inner(conn, scratch, (size_t)n);
        if (n_sent < (size_t)n)
            buf_append(&conn->to_inner, scratch + n_sent, (size_t)n - n_sent);
    }
}

/* --- from the server to the client --- */

/* How many the client's side took. */
static size_t send_outer(tls_conn_t *conn, const uint8_t *bytes, size_t n_bytes)
{
    size_t n_all = 0;
    while (n_all < n_bytes) {
        ERR_clear_error();
        int n = SSL_write(conn->ssl, bytes + n_all, (int)(n_bytes - n_all));
        if (n <= 0) {
            conn_stuck(conn, n);
            break;
        }
        n_all += (size_t)n;
    }
    if (n_all > 0 && conn->inner_ended && conn->state == TLS_OPEN)
        set_deadline(conn, FLUSH_US);
    return n_all;
}

/* The server has said all. The client has time while he goes on taking it. */
static void end_inner(tls_conn_t *conn)
{
    if (conn->inner_ended)
        return;
    conn->inner_ended = true;
    buf_fini(&conn->to_inner);
    set_deadline(conn, FLUSH_US);
}

static void pump_out(tls_conn_t *conn)
{
    uint8_t *scratch = conn->tls->scratch;
    if (conn->to_outer.n_bytes > 0)
        drop_front(&conn->to_outer, send_outer(conn, conn->to_outer.data, conn->to_outer.n_bytes));
    while (conn->state == TLS_OPEN && conn->to_outer.n_bytes == 0) {
        ssize_t n = recv(conn->inner_fd, scratch, RECORD_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR) && !conn->inner_ended)
            return;
        if (n <= 0) {
            end_inner(conn);
            conn->state = TLS_CLOSING;
            return;
        }
        size_t n_sent = send_outer(conn, scratch, (size_t)n);
        if (n_sent < (size_t)n && conn->state == TLS_OPEN)
            buf_append(&conn->to_outer, scratch + n_sent, (size_t)n - n_sent);
    }
}

/* --- the handshake --- */

/* The server gets the other end. */
static void conn_open(tls_conn_t *conn)
{
    tls_t *self = conn->tls;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        conn_close(conn);
        return;
    }
    arrival_t plain = conn->from;
    plain.fd = pair[1];
    plain.tag = self->tag;
    conn->inner_fd = pair[0];
    if (uv_poll_init(self->loop, &conn->inner, pair[0]) != 0) {
        conn->inner_fd = -1;
        close(pair[0]);
        close(pair[1]);
        conn_close(conn);
        return;
    }
    conn->inner.data = conn;
    conn->n_handles++;
    wheel_cancel(self->wheel, &conn->timer);
    conn->state = TLS_OPEN;
    if (!self->handler.on_plain(self->arg, &plain))
        conn_close(conn);
}

/* Whether the client speaks TLS at all; who speaks HTTP is told what is wrong. */
static bool conn_check_first(tls_conn_t *conn)
{
    uint8_t first = 0;
    ssize_t n = recv(conn->from.fd, &first, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    conn->is_first = false;
    if (n == 1 && first == HANDSHAKE_RECORD)
        return true;
    if (n == 1 && first >= 'A' && first <= 'Z') {
        (void)send(conn->from.fd, not_tls, sizeof not_tls - 1, MSG_NOSIGNAL);
        conn_linger(conn);
    } else {
        conn_close(conn);
    }
    return false;
}

/* A handshake is most of a millisecond's work, and a thousand clients may want one in the same turn
 * of the loop. Those beyond the bound come in the next turn, because their sockets stay readable;
 * in between whoever is connected already is served. Turns within a millisecond count as one. */
static bool may_shake(tls_t *self)
{
    if (self->shaken_at != uv_now(self->loop))
        self->n_shaken = 0;
    self->shaken_at = uv_now(self->loop);
    return self->n_shaken++ < SHAKES_A_TURN;
}

static void conn_shake(tls_conn_t *conn)
{
    if (!may_shake(conn->tls))
        return;
    if (conn->is_first && !conn_check_first(conn))
        return;
    ERR_clear_error();
    int n = SSL_accept(conn->ssl);
    if (n == 1) {
        conn_open(conn);
        return;
    }
    int why = SSL_get_error(conn->ssl, n);
    conn->wants_to_write = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return;
    /* An alert may be on its way to the client, which a reset would take back. */
    conn_linger(conn);
}

/* --- libuv --- */

static void pump(tls_conn_t *conn)
{
    if (conn->state == TLS_HANDSHAKE)
        conn_shake(conn);
    if (conn->state == TLS_OPEN)
        pump_in(conn);
    if (conn->state == TLS_OPEN)
        pump_out(conn);
    if (conn->state == TLS_CLOSING)
        conn_say_end(conn);
}

static int wanted_outer(const tls_conn_t *conn)
{
    switch (conn->state) {
    case TLS_HANDSHAKE:
        return conn->wants_to_write ? UV_WRITABLE : UV_READABLE;
    case TLS_OPEN:
        break;
    case TLS_CLOSING:
        return UV_WRITABLE;
    case TLS_LINGER:
        return UV_READABLE;
    case TLS_GONE:
        return 0;
    }
    int events = conn->to_outer.n_bytes > 0 ? UV_WRITABLE : 0;
    if (conn->outer_ended || conn->inner_ended)
        return events;
    return events | (conn->to_inner.n_bytes == 0 ? UV_READABLE : UV_DISCONNECT);
}

/* While nothing is read from the server its end is watched for: it may lose patience. */
static int wanted_inner(const tls_conn_t *conn)
{
    if (conn->state != TLS_OPEN || conn->inner_ended)
        return 0;
    int events = conn->to_inner.n_bytes > 0 ? UV_WRITABLE : 0;
    return events | (conn->to_outer.n_bytes == 0 ? UV_READABLE : UV_DISCONNECT);
}

static void conn_watch(tls_conn_t *conn)
{
    if (conn->state == TLS_GONE)
        return;
    int outer = wanted_outer(conn);
    if (outer != conn->outer_events)
        uv_poll_start(&conn->outer, outer, on_outer);
    conn->outer_events = outer;
    if (conn->inner_fd < 0)
        return;
    int inner = wanted_inner(conn);
    if (inner != conn->inner_events)
        uv_poll_start(&conn->inner, inner, on_inner);
    conn->inner_events = inner;
}

static void on_outer(uv_poll_t *poll, int status, int events)
{
    tls_conn_t *conn = poll->data;
    bool is_cut = (events & UV_DISCONNECT) != 0 && conn->to_inner.n_bytes > 0;
    if (status < 0 || is_cut)
        conn_close(conn);
    else if (conn->state == TLS_LINGER)
        conn_drop_input(conn);
    else
        pump(conn);
    conn_watch(conn);
}

static void on_inner(uv_poll_t *poll, int status, int events)
{
    tls_conn_t *conn = poll->data;
    if (status < 0)
        conn->inner_events = 0; /* libuv has stopped it */
    if (status < 0 || (events & UV_DISCONNECT) != 0)
        end_inner(conn);
    pump(conn);
    conn_watch(conn);
}

/* --- from outside --- */

tls_t *tls_new(struct uv_loop_s *loop, certificate_t *certificate, int tag,
               const tls_handler_t *handler, void *arg)
{
    tls_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->loop = loop;
    self->certificate = certificate;
    self->tag = tag;
    self->handler = *handler;
    self->arg = arg;
    LIST_INIT(&self->conns);
    uv_update_time(loop);
    self->wheel = wheel_new(now_us(self), TICK_MS * 1000, NULL);
    uv_timer_init(loop, &self->ticker);
    self->ticker.data = self;
    return self;
}

void tls_stop(tls_t *self)
{
    if (self == NULL)
        return;
    while (!LIST_EMPTY(&self->conns))
        conn_close(LIST_FIRST(&self->conns));
    uv_close((uv_handle_t *)&self->ticker, NULL);
}

void tls_destroy(tls_t **self_p)
{
    if (*self_p == NULL)
        return;
    wheel_destroy(&(*self_p)->wheel);
    free(*self_p);
    *self_p = NULL;
}

static SSL *new_session(tls_t *self, int fd)
{
    SSL_CTX *context = certificate_take(self->certificate);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        abort();
    return ssl;
}

bool tls_adopt(tls_t *self, const arrival_t *arrival)
{
    tls_conn_t *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    if (self->n_conns >= MAX_CONNECTIONS ||
        uv_poll_init(self->loop, &conn->outer, arrival->fd) != 0) {
        close(arrival->fd);
        free(conn);
        return false;
    }
    conn->tls = self;
    conn->from = *arrival;
    conn->inner_fd = -1;
    conn->n_handles = 1;
    conn->is_first = true;
    conn->outer.data = conn;
    conn->timer.fire = on_deadline;
    conn->ssl = new_session(self, arrival->fd);
    LIST_INSERT_HEAD(&self->conns, conn, of_tls);
    self->n_conns++;
    set_deadline(conn, HANDSHAKE_US);
    conn_watch(conn);
    return true;
}

size_t tls_n_connections(const tls_t *self)
{
    return self == NULL ? 0 : self->n_conns;
}
