/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the server share: server.c (the server itself, its turns and its end),
 * server_http.c (connections that speak HTTP), server_feed.c (answers without an end),
 * server_request.c (what the owner sees of a request), server_reply.c (what answers look like) and
 * server_ws.c (WebSockets, and with them all that knows libwebsockets). */
#ifndef TASKWIRE_SERVER_PRIVATE_H
#define TASKWIRE_SERVER_PRIVATE_H

#include "gateway/framing.h"
#include "gateway/server.h"
#include "actors/wheel.h"

#include <sys/queue.h>
#include <uv.h>

#define SERVER_READ_BYTES ((size_t)64 * 1024)
#define SERVER_SPARE_ARENAS 16
#define SERVER_NAME_CHARS 31
#define SERVER_DATE_CHARS 40

typedef struct conn conn_t;
typedef struct lws_part lws_part_t; /* server_ws.c: the context of libwebsockets */

struct request {
    conn_t *conn;
    arena_t *arena; /* this struct is in it too */
    head_t head;
    slice_t body;
    buf_t pieces; /* of a body that comes in pieces */
    slice_t peer;
    int tag;
    void *user;
    int64_t started_us;
};

struct server {
    struct uv_loop_s *loop;
    char name[SERVER_NAME_CHARS + 1];
    server_limits_t limits;
    server_handler_t handler;
    void *arg;
    bool is_draining;
    bool is_closing;
    size_t n_handles; /* of libuv's, ours, that are not closed yet: the server lives as long */
    uv_timer_t ticker;
    uv_prepare_t flusher; /* runs before the loop waits: what this turn left to do */
    uv_idle_t
        waker; /* runs only while there is still something left, so that the loop does not wait */
    uint64_t turn; /* of the loop, from 1 */
    int n_reaps;
    wheel_t *wheel;
    LIST_HEAD(, conn) conns;
    TAILQ_HEAD(, conn) ready; /* with bytes that came before the last answer went out */
    TAILQ_HEAD(, conn) feeders; /* long answers with something to write, or to end */
    size_t n_conns;
    LIST_HEAD(, socket_s) sockets;
    TAILQ_HEAD(, socket_s) writers; /* with something to write */
    size_t n_sockets;
    uint8_t *rx; /* where every read goes, of SERVER_READ_BYTES */
    buf_t head; /* the head of the answer that is being put together */
    buf_t body; /* the body of a refusal of ours */
    buf_t frames; /* what a WebSocket is about to write */
    arena_t *spare[SERVER_SPARE_ARENAS];
    size_t n_spare;
    char date[SERVER_DATE_CHARS]; /* of the second `date_s` */
    int64_t date_s;
    lws_part_t *lws;
};

/* --- server.c --- */

/* The time of this turn of the loop. Units: microseconds, monotonic. */
int64_t server_now_us(const server_t *self);
/* Sets a deadline `after_us` from now. */
void server_set_timer(server_t *self, wheel_timer_t *timer, int64_t after_us);
/* The loop must not wait: there is something in `ready`, `feeders` or `writers`. */
void server_wake(server_t *self);
/* Somebody's handle has been closed. */
void server_handle_closed(server_t *self);
/* An arena for a request, and its return. */
arena_t *server_take_arena(server_t *self);
void server_give_arena(server_t *self, arena_t *arena);

/* --- server_reply.c: how answers begin, and the refusals that are made here --- */

typedef struct {
    int status;
    const char *content_type; /* NULL: none */
    slice_t headers; /* further lines */
    size_t n_body; /* its bytes, which for HEAD do not follow */
    bool is_endless; /* the body has no length; */
    bool is_chunked; /* it comes in chunks, else until the connection closes */
    bool is_last; /* of its connection */
    bool says_keep_alive; /* which HTTP/1.0 wants to be told */
} answer_t;

/* Whether answers with that status can have a body. */
bool answer_has_body(int status);
/* Appends status line and headers, with the empty line. */
void answer_put_head(server_t *server, const answer_t *answer, buf_t *out);
/* Appends the answer to a request that is refused, the last one of its connection: a problem (RFC
 * 9457). */
void answer_put_fault(server_t *server, const fault_t *fault, buf_t *head, buf_t *body);

/* --- server_http.c --- */

bool http_adopt(server_t *server, const arrival_t *arrival);
/* Answers what is waiting in `ready`. */
void http_flush(server_t *server);
/* Closes the connections that have no request under way. */
void http_close_idle(server_t *server);
/* Closes every connection; who waits for an answer is told that it is gone. */
void http_close_all(server_t *server);

/* --- server_feed.c --- */

/* Writes for all long answers that want to. */
void feed_flush(server_t *server);

/* --- server_ws.c --- */

/* Makes the context, which does not keep the loop running. NULL, said in the log, if libwebsockets
 * refuses. */
lws_part_t *ws_part_new(server_t *server);
/* Starts its end; to be called again until it returns true: then nothing of it is left, and `self`
 * is freed. No other thread may open files meanwhile: libwebsockets 4.1 closes the eventfd by which
 * a context is woken at once, and the same number again when the loop has closed its handle. */
bool ws_part_end(lws_part_t **self_p);
/* Makes a WebSocket of a connection whose handshake was checked, and answers it. `early` is what
 * the client has sent behind its handshake. Owns: takes the fd. */
void ws_adopt(server_t *server, const arrival_t *arrival, slice_t key, const char *subprotocol,
              slice_t early, void *user);
/* Writes for all that want to. */
void ws_flush(server_t *server);
/* Ends every WebSocket; on_close is called for each. */
void ws_close_all(server_t *server);

#endif
