/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that speaks HTTP, as server_http.c and server_feed.c share it. */
#ifndef TASKWIRE_SERVER_CONN_H
#define TASKWIRE_SERVER_CONN_H

#include "gateway/server_private.h"

typedef enum {
    CONN_HEAD, /* a request's head is awaited, or has come in part */
    CONN_BODY, /* its body */
    CONN_ASKED, /* the owner has the request */
    CONN_SENDING, /* the kernel did not take all of the answer */
    CONN_FEEDING, /* an answer without an end goes out: server_feed.c */
    CONN_LINGER, /* our side is shut */
    CONN_GONE, /* only memory, until libuv has closed the handle */
} conn_state_t;

/* Of a long answer. */
typedef struct {
    TAILQ_ENTRY(conn) of_feeders;
    void *user;
    int64_t n_handed; /* bytes that the kernel has taken so far */
    int64_t n_arrived; /* of these, what the client had when we last looked */
    bool is_feeder; /* in server.feeders */
    bool is_chunked;
    bool wants_write;
    bool is_ending; /* the owner has no more after what it wants to write now */
    bool has_ended; /* the last bytes are in `out` */
} feed_state_t;

struct conn {
    uv_poll_t poll;
    LIST_ENTRY(conn) of_server;
    TAILQ_ENTRY(conn) of_ready;
    wheel_timer_t timer;
    server_t *server;
    request_t *request; /* in CONN_BODY and CONN_ASKED */
    arrival_t from;
    int events; /* what libuv watches */
    conn_state_t state;
    bool is_ready; /* in server.ready */
    bool is_reading; /* what came is being gone through, further up the stack */
    bool is_partial; /* part of a head has come */
    bool is_first; /* no request yet */
    bool ends; /* the answer under way is the last one */
    buf_t in; /* what came and could not be used yet */
    size_t line; /* see framing_scan */
    buf_t out; /* what the kernel did not take */
    size_t n_sent;
    int n_queued; /* bytes in the kernel when we last looked */
    feed_state_t feed;
};

/* --- server_http.c --- */

/* Closes it at once; whoever waits for it is told. */
void conn_close(conn_t *conn);
/* Shuts our side, and waits a moment for the client's. */
void conn_linger(conn_t *conn);
/* Has libuv watch what its state asks for. */
void conn_watch(conn_t *conn);
/* Hands bytes to the kernel. False: the connection is broken. */
bool conn_send_parts(const conn_t *conn, slice_t first, slice_t second, size_t *n_sent);

/* --- server_feed.c --- */

/* The socket takes more. */
void feed_write(conn_t *conn);
/* Whether something waits for the kernel. */
bool feed_is_stuck(const conn_t *conn);
/* Closes a feed whose client has taken nothing of what waits since the last look. */
void feed_look(conn_t *conn);
/* The connection is being closed. */
void feed_forget(conn_t *conn);

#endif
