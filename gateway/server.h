/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 and WebSocket on one libuv loop. HTTP is read here (framing.h), strictly; WebSockets are
 * libwebsockets', which nothing else knows, with what it gets wrong put right (server_ws.c). The
 * server knows nothing of tasks: a whole request comes out, a whole answer goes in; of a WebSocket,
 * whole messages come out and framed bytes go in.
 *
 * A server does not listen: whoever accepts a connection hands over its fd (server_adopt), so that
 * several servers, each in a thread of its own, can share a port. Thread: all of it belongs to the
 * thread of the loop. */
#ifndef TASKWIRE_SERVER_H
#define TASKWIRE_SERVER_H

#include "gateway/arrival.h"
#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/err.h"

struct uv_loop_s;

typedef struct server server_t;
typedef struct request request_t; /* one HTTP request, until it is answered or gone */
typedef struct socket_s socket_t; /* one WebSocket */
typedef struct conn feed_t; /* one answer without an end */

typedef enum {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER
} method_t;

typedef enum {
    HEADER_AUTHORIZATION,
    HEADER_COOKIE,
    HEADER_ORIGIN,
    HEADER_HOST,
    HEADER_ACCEPT,
    HEADER_CONTENT_TYPE,
    HEADER_IF_MATCH,
    HEADER_IF_NONE_MATCH,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_TRACEPARENT,
    HEADER_X_FORWARDED_FOR,
    HEADER_X_FORWARDED_PROTO,
    HEADER_LAST_EVENT_ID,
    HEADER_ACCESS_CONTROL_REQUEST_METHOD,
    HEADER_SEC_WEBSOCKET_PROTOCOL,
    HEADER_COUNT,
} header_t;

/* What the owner of a server does. All are called in the loop's thread. */
typedef struct {
    /* A whole, well-framed request (body read, limits kept). Must be answered by request_reply, now
     * or later. */
    void (*on_request)(void *arg, request_t *request);
    /* The client of an unanswered request went away: forget it; the pointer is dead afterwards. */
    void (*on_gone)(void *arg, request_t *request);
    /* Somebody wants a WebSocket. Answer ERR_OK to accept with the subprotocol (a literal; NULL:
     * none), which opens a socket whose user pointer is what `user` was set to; else the request is
     * refused with that error's status. The request lives for this call only. */
    err_t (*on_upgrade)(void *arg, request_t *request, const char **subprotocol, void **user);
    void (*on_open)(void *arg, socket_t *socket);
    /* A whole message, in UTF-8 if it is text, within the socket's limit. The bytes live for this
     * call only. */
    void (*on_message)(void *arg, socket_t *socket, slice_t message, bool is_binary);
    /* The socket takes more bytes: append whole frames (actors/frame.h) to `out`, together at most
     * about `room` bytes. True: there is more, ask again when these are out. */
    bool (*on_writable)(void *arg, socket_t *socket, buf_t *out, size_t room);
    /* The socket is gone; the pointer is dead afterwards. `code`: the close code that came or was
     * sent, 1006 if none. */
    void (*on_close)(void *arg, socket_t *socket, int code);
    /* A connection that was adopted has ended, whatever it spoke at last. */
    void (*on_end)(void *arg, int tag, const char *peer);
    /* The client of a long answer takes more bytes: append them, together at most about `room`.
     * True: there is more, ask again when these are out. */
    bool (*on_feed_writable)(void *arg, feed_t *feed, buf_t *out, size_t room);
    /* The long answer has ended, or its client went away; the pointer is dead afterwards. */
    void (*on_feed_gone)(void *arg, feed_t *feed);
} server_handler_t;

typedef struct {
    int64_t keepalive_us; /* an idle HTTP connection is closed after this */
    int64_t
        headers_us; /* from accept, or the first byte of a further request, to complete headers */
    int64_t body_us; /* from complete headers to complete body */
    int64_t heartbeat_us; /* a WebSocket without traffic gets a ping; without an answer for another
                             two it is closed */
    size_t max_connections; /* further ones are closed at once */
} server_limits_t;

/* Makes a server on the loop. `name` is for logs. NULL if libwebsockets refuses (said in the log).
 * Raises the process's soft limit of open files where it is low. Thread: the loop's, or before it
 * runs; one server is made at a time. */
server_t *server_new(struct uv_loop_s *loop, const char *name, const server_limits_t *limits,
                     const server_handler_t *handler, void *arg);
/* Closes every connection at once; on_gone and on_close are called before it returns, nothing
 * afterwards. The loop must still run for the handles to close, and what is left of the server does
 * not keep it running. Not to be called from one of the handler's functions. */
void server_close(server_t *self);
/* Frees what is left, after closing it if need be; the loop must run once more, until nothing keeps
 * it. Only when no other thread of the process opens files any more: libwebsockets closes one of
 * its descriptors twice, and the second time it may be somebody else's (ws_part_end). */
void server_destroy(server_t **self_p);

/* Takes over a connected socket. Its tag is handed to requests (e.g. which listener).
 * False: the server is full or closing; the fd is closed then too, and on_end is not called. */
bool server_adopt(server_t *self, const arrival_t *arrival);

/* Stops keep-alive: connections close after their next answer. WebSockets are the owner's to close.
 */
void server_drain(server_t *self);
/* Closes the connections that have no request under way. */
void server_close_idle(server_t *self);

size_t server_n_connections(const server_t *self);
size_t server_n_sockets(const server_t *self);

/* --- a request; slices live as long as it does --- */

method_t request_method(const request_t *self);
slice_t request_path(const request_t *self); /* as sent, percent-encoded, without query */
slice_t request_query(const request_t *self); /* as sent, without '?'; absent if there is none */
slice_t request_header(
    const request_t *self,
    header_t header); /* absent if it was not sent; several joined by ", " (cookies: "; ") */
slice_t request_body(const request_t *self);
slice_t request_peer(
    const request_t *self); /* the address of the other end as text, "unix" for a Unix socket */
int request_tag(const request_t *self);
arena_t *request_arena(request_t *self); /* for whatever belongs to this request */
/* One pointer of the owner's. */
void request_set_user(request_t *self, void *user);
void *request_user(const request_t *self);
int64_t request_started_us(const request_t *self); /* monotonic */

/* Answers, and ends the request: the pointer is dead afterwards. `headers` is raw further lines
 * ("Name: value\r\n"...), may be absent; Content-Length, Date, Connection are added. Everything is
 * copied. For HEAD the body is left out. */
void request_reply(request_t *self, int status, const char *content_type, slice_t headers,
                   slice_t body);

/* --- an answer without an end, and without a length --- */

/* Begins one with status 200 in place of request_reply, and ends the request: its pointer is dead
 * afterwards. In HTTP/1.1 it goes out in chunks. A client that takes nothing of what waits for it
 * for body_us loses its connection. The feed lives until on_feed_gone. */
feed_t *request_feed(request_t *self, const char *content_type, slice_t headers, void *user);
void *feed_user(const feed_t *self);
/* Asks for on_feed_writable. */
void feed_want_write(feed_t *self);
/* Ends the answer, after what the owner still wants to write, and closes the connection.
 * on_feed_gone follows, never from within. */
void feed_end(feed_t *self);

/* --- a WebSocket --- */

void *socket_user(const socket_t *self);
void socket_set_user(socket_t *self, void *user);
slice_t socket_peer(const socket_t *self);
/* The largest message that is taken; a longer one closes with 1009. */
void socket_set_limit(socket_t *self, size_t max_message_bytes);
/* Asks for on_writable. */
void socket_want_write(socket_t *self);
/* Sends a close frame with the code and a short reason after what was already handed over, and
 * closes; the client has 2 s to answer. on_close follows, never from within. If socket_want_write
 * was asked before, on_writable is called once more, for last words; on_message is not called any
 * more. */
void socket_close(socket_t *self, int code, const char *reason);
/* Bytes handed over and not yet taken by the kernel: at most so many. */
size_t socket_unsent(const socket_t *self);

#endif
