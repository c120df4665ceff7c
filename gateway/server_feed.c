/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without an end (text/event-stream): after the head the owner is asked for bytes whenever
 * it wants to write and the kernel takes some. In HTTP/1.1 they go out in chunks, in HTTP/1.0 as
 * they are; either way the connection ends with them. What the client sends meanwhile is read, so
 * that its end is noticed, and dropped.
 *
 * Not more than one piece waits for a client. One that takes nothing of it for the time that a body
 * may take is given up; so is one that has vanished without a word, because its kernel confirms
 * nothing of the owner's heartbeats. */
#include "gateway/server_conn.h"

#include <assert.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define PIECE_BYTES ((size_t)64 * 1024)
#define WRITES_A_TURN 4
#define CHUNK_HEAD_CHARS 10 /* eight digits and a line end */
#define LAST_CHUNK "0\r\n\r\n"

static void want_turn(conn_t *conn)
{
    server_t *server = conn->server;
    if (conn->feed.is_feeder)
        return;
    TAILQ_INSERT_TAIL(&server->feeders, conn, feed.of_feeders);
    conn->feed.is_feeder = true;
    server_wake(server);
}

static void leave_turn(conn_t *conn)
{
    if (conn->feed.is_feeder)
        TAILQ_REMOVE(&conn->server->feeders, conn, feed.of_feeders);
    conn->feed.is_feeder = false;
}

feed_t *request_feed(request_t *self, const char *content_type, slice_t headers, void *user)
{
    conn_t *conn = self->conn;
    server_t *server = conn->server;
    assert(conn->state == CONN_ASKED && conn->request == self);
    answer_t answer = {.status = 200,
                       .content_type = content_type,
                       .headers = headers,
                       .is_last = true,
                       .is_endless = true,
                       .is_chunked = !self->head.is_http_10};
    answer_put_head(server, &answer, &conn->out);
    conn->state = CONN_FEEDING;
    conn->ends = true;
    conn->n_sent = 0;
    conn->feed = (feed_state_t){.user = user, .is_chunked = answer.is_chunked};
    conn->request = NULL;
    buf_fini(&self->pieces);
    server_give_arena(server, self->arena);
    if (!conn->is_reading) /* else the reader drops what it goes through */
        buf_fini(&conn->in);
    server_set_timer(server, &conn->timer, server->limits.body_us);
    want_turn(conn);
    return conn;
}

/* --- writing --- */

bool feed_is_stuck(const conn_t *conn)
{
    return conn->n_sent < conn->out.n_bytes;
}

/* Asks the owner for a piece, which becomes one chunk. */
static void gather(conn_t *conn)
{
    server_t *server = conn->server;
    buf_t *out = &conn->out;
    char head[CHUNK_HEAD_CHARS + 1];
    size_t n_head = conn->feed.is_chunked ? CHUNK_HEAD_CHARS : 0;
    buf_reset(out);
    conn->n_sent = 0;
    buf_reserve(out, n_head);
    out->n_bytes = n_head;
    conn->feed.wants_write = false;
    bool has_more = server->handler.on_feed_writable(server->arg, conn, out, PIECE_BYTES);
    conn->feed.wants_write = conn->feed.wants_write || has_more;
    size_t n_bytes = out->n_bytes - n_head;
    if (n_bytes == 0) {
        buf_fini(out);
    } else if (n_head > 0) {
        snprintf(head, sizeof head, "%08x\r\n", (unsigned)n_bytes);
        memcpy(out->data, head, n_head);
        buf_append_str(out, "\r\n");
    }
}

/* The next bytes; false: there are none now. */
static bool next_piece(conn_t *conn)
{
    if (conn->feed.wants_write) {
        gather(conn);
        if (conn->out.n_bytes > 0)
            return true;
    }
    if (!conn->feed.is_ending || conn->feed.wants_write || conn->feed.has_ended)
        return false;
    conn->feed.has_ended = true;
    if (conn->feed.is_chunked)
        buf_append_str(&conn->out, LAST_CHUNK);
    return conn->feed.is_chunked;
}

/* False: the connection is closed. */
static bool send_piece(conn_t *conn)
{
    size_t n_sent;
    slice_t rest = slice_of(conn->out.data + conn->n_sent, conn->out.n_bytes - conn->n_sent);
    if (!conn_send_parts(conn, rest, slice_none(), &n_sent)) {
        conn_close(conn);
        return false;
    }
    conn->n_sent += n_sent;
    conn->feed.n_handed += (int64_t)n_sent;
    if (!feed_is_stuck(conn)) {
        buf_fini(&conn->out); /* an idle feed holds nothing */
        conn->n_sent = 0;
    }
    return true;
}

/* Writes until the kernel has enough, the owner has no more or others have waited long enough. */
void feed_write(conn_t *conn)
{
    int i = 0;
    leave_turn(conn);
    while (i < WRITES_A_TURN && (feed_is_stuck(conn) || next_piece(conn))) {
        if (!send_piece(conn))
            return;
        if (feed_is_stuck(conn))
            break;
        i++;
    }
    bool is_over = conn->feed.has_ended && !feed_is_stuck(conn);
    if (is_over) {
        feed_forget(conn);
        conn_linger(conn);
    } else if ((i == WRITES_A_TURN || conn->feed.wants_write) && !feed_is_stuck(conn)) {
        want_turn(conn);
    }
    conn_watch(conn);
}

void feed_flush(server_t *server)
{
    for (size_t n = server->n_conns; n > 0 && !TAILQ_EMPTY(&server->feeders); n--)
        feed_write(TAILQ_FIRST(&server->feeders));
}

/* --- its end --- */

void feed_forget(conn_t *conn)
{
    server_t *server = conn->server;
    leave_turn(conn);
    server->handler.on_feed_gone(server->arg, conn);
}

void feed_look(conn_t *conn)
{
    int n_queued = 0;
    (void)ioctl(conn->from.fd, SIOCOUTQ, &n_queued);
    int64_t n_arrived = conn->feed.n_handed - n_queued;
    bool waits = n_queued > 0 || feed_is_stuck(conn);
    if (waits && n_arrived <= conn->feed.n_arrived) {
        conn_close(conn);
        return;
    }
    conn->feed.n_arrived = n_arrived;
    server_set_timer(conn->server, &conn->timer, conn->server->limits.body_us);
}

/* --- what the owner does with it --- */

void *feed_user(const feed_t *self)
{
    return self->feed.user;
}

void feed_want_write(feed_t *self)
{
    self->feed.wants_write = true;
    if (!feed_is_stuck(self))
        want_turn(self);
}

void feed_end(feed_t *self)
{
    self->feed.is_ending = true;
    if (!feed_is_stuck(self))
        want_turn(self);
}
