/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets, by libwebsockets, which this file alone knows. It is given a connection only after
 * the handshake was checked, together with a handshake that we wrote ourselves: so its HTTP parser
 * never sees a client's bytes, and the subprotocol is the one that the owner chose. What it gets
 * wrong in the version of Debian 12 (4.1.6) and how that is met:
 *
 * - It finds subprotocols by the names in its table. The table has one row, whose name is written
 *   anew for each handshake.
 * - Its timers are one sorted list, walked on every change. None is left running on a WebSocket;
 *   pings and deadlines are the wheel's.
 * - A write that the socket does not take is copied and kept, without a limit. So nothing is
 * written while something is kept, and not more at once than asked for.
 * - Its frames go out one by one. Ours are whole frames already, many together, passed through as
 * if they were HTTP (LWS_WRITE_HTTP).
 * - A frame may be as long as it likes: bytes are counted here, those announced included. Its check
 *   of UTF-8 misses a character that an empty last fragment cuts off: whole messages are checked
 * here.
 * - An empty pong is not reported: our pings have a payload.
 * - It answers a ping when the loop next says that the socket can be written. So what answers a
 *   message that came in this turn waits for that too, or it would go before the pong of a ping
 * that came before. Of several pings that came together the first only is answered (RFC
 * 6455, 5.5.3, would have the last): who measures by pings one at a time sees no difference.
 * - After a frame that breaks the protocol, whose rest it has not read, it takes the client's close
 *   for that rest, and hangs up 5 s later unless the client does. What answers the messages before
 *   goes out before its own close, and nothing behind that.
 * - Frames that are not masked, for which RFC 6455 (5.1) wants the connection failed, are taken and
 *   not reported: it reads the socket itself, and what its callbacks are given is unmasked. To know
 *   we would have to peek at every byte before it does, and follow its frames. Masks protect caches
 *   between a browser's page and us; pages cannot leave them out, and who can needs no cache.
 * - Asked to end a connection with something unsent it waits for it to be sent: the socket is shut
 *   first. */
#include "gateway/server_private.h"

#include "actors/frame.h"
#include "actors/log.h"
#include "schema/json.h"
#include "schema/limits.h"

#include <libwebsockets.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#define WRITE_BYTES ((size_t)64 * 1024)
#define WRITES_A_TURN 4
/* What a WebSocket holds while nothing happens; also how much is read at once. */
#define RX_BYTES 2048
#define SERVICE_BYTES 8192
#define HANDSHAKE_BYTES 1024
#define SUBPROTOCOL_CHARS 63
#define REASON_BYTES 123
#define KEEP_BYTES ((size_t)4096)
#define CLOSE_US INT64_C(2000000)
#define MISSED_HEARTBEATS 3
#define HANDLES_BEFORE 256

#define CODE_TOO_LARGE 1009
#define CODE_PROTOCOL 1002
#define CODE_NOT_UTF8 1007
#define CODE_NONE 1005
#define CODE_END 5000
#define CODE_ABNORMAL 1006
#define CODE_GOING_AWAY 1001

struct lws_part {
    struct lws_context *context; /* libwebsockets makes it NULL when it is freed */
    struct lws_vhost *vhost;
    struct uv_loop_s *loop;
    char subprotocol[SUBPROTOCOL_CHARS + 1];
    struct lws_protocols protocols[2];
    lws_retry_bo_t no_pings;
    void *loops[1];
    socket_t *arriving; /* whose handshake is under way */
    bool is_ending;
};

typedef enum {
    SOCKET_OPEN,
    SOCKET_CLOSING, /* the owner wants it closed; the frame is not out yet */
    SOCKET_SAID, /* our close frame is out */
    SOCKET_ANSWERING, /* the client closed, libwebsockets answers */
} socket_state_t;

struct socket_s {
    LIST_ENTRY(socket_s) of_server;
    TAILQ_ENTRY(socket_s) of_writers;
    wheel_timer_t timer;
    server_t *server;
    struct lws *wsi;
    void *user;
    socket_state_t state;
    bool is_writer; /* in server.writers */
    bool is_opened; /* on_open was called */
    bool wants_write;
    bool wants_ping;
    bool was_pinged; /* and has not been heard of since */
    int code; /* of closing */
    int64_t heard_us;
    uint64_t heard_turn; /* of the loop, in which the last message came */
    size_t limit;
    size_t n_handed; /* of the last write */
    buf_t in; /* the fragments of a message so far */
    arrival_t from; /* the fd is libwebsockets' */
    uint8_t n_reason;
    char reason[REASON_BYTES];
};

/* --- writing --- */

static void want_turn(socket_t *self)
{
    if (self->is_writer)
        return;
    TAILQ_INSERT_TAIL(&self->server->writers, self, of_writers);
    self->is_writer = true;
    server_wake(self->server);
}

static void put_close(socket_t *self, buf_t *out)
{
    uint8_t payload[2 + REASON_BYTES];
    payload[0] = (uint8_t)(self->code >> 8);
    payload[1] = (uint8_t)self->code;
    memcpy(payload + 2, self->reason, self->n_reason);
    frame_put(out, FRAME_CLOSE, slice_of(payload, 2u + self->n_reason));
    self->state = SOCKET_SAID;
}

/* Collects what goes out now. An owner that closes a socket is asked for the last time, so that it
 * can say why. */
static void gather(socket_t *self, buf_t *out)
{
    server_t *server = self->server;
    if (self->wants_ping)
        frame_put(out, FRAME_PING, slice_str(server->name));
    self->wants_ping = false;
    bool may_speak = self->state == SOCKET_OPEN || self->state == SOCKET_CLOSING;
    if (self->wants_write && may_speak) {
        self->wants_write = false;
        bool has_more = server->handler.on_writable(server->arg, self, out, WRITE_BYTES);
        self->wants_write = self->wants_write || has_more;
    }
    if (self->state == SOCKET_CLOSING)
        put_close(self, out);
}

/* False: the connection is broken. */
static bool write_once(socket_t *self)
{
    buf_t *out = &self->server->frames;
    buf_reset(out);
    buf_reserve(out, LWS_PRE);
    out->n_bytes = LWS_PRE;
    gather(self, out);
    self->n_handed = out->n_bytes - LWS_PRE;
    if (self->n_handed == 0)
        return true;
    return lws_write(self->wsi, out->data + LWS_PRE, self->n_handed, LWS_WRITE_HTTP) >= 0;
}

static bool has_something(const socket_t *self)
{
    if (self->state == SOCKET_OPEN)
        return self->wants_write || self->wants_ping;
    return self->state == SOCKET_CLOSING;
}

/* A message came in this turn of the loop. */
static bool is_heard_now(const socket_t *self)
{
    return self->heard_turn == self->server->turn;
}

/* Libwebsockets closes by itself; its close goes out when the loop next says that it can. */
static bool has_failed(const socket_t *self)
{
    return lws_get_close_length(self->wsi) > 0;
}

/* Writes until the kernel has enough, the owner has no more or others have waited long enough. */
static bool write_some(socket_t *self)
{
    if (has_failed(self) && !is_heard_now(self))
        return true;
    for (int i = 0; i < WRITES_A_TURN && has_something(self); i++) {
        if (lws_partial_buffered(self->wsi))
            return true; /* libwebsockets will say when it is out */
        if (!write_once(self))
            return false;
        if (self->n_handed == 0)
            break; /* there is more, but not now */
    }
    if (has_something(self) && !lws_partial_buffered(self->wsi))
        lws_callback_on_writable(self->wsi);
    return true;
}

/* --- a socket's end --- */

/* The owner is told and the socket freed; what is left of it in libwebsockets knows no one any
 * more. */
static void forget(socket_t *self, int code)
{
    server_t *server = self->server;
    if (!self->is_opened)
        server->handler.on_open(server->arg, self);
    self->is_opened = true;
    server->handler.on_close(server->arg, self, code);
    server->handler.on_end(server->arg, self->from.tag, self->from.peer);
    if (self->wsi != NULL)
        lws_set_opaque_user_data(self->wsi, NULL);
    if (server->lws->arriving == self)
        server->lws->arriving = NULL;
    wheel_cancel(server->wheel, &self->timer);
    if (self->is_writer)
        TAILQ_REMOVE(&server->writers, self, of_writers);
    LIST_REMOVE(self, of_server);
    server->n_sockets--;
    buf_fini(&self->in);
    free(self);
}

/* Not to be called from within libwebsockets. */
static void kill_socket(socket_t *self, int code)
{
    struct lws *wsi = self->wsi;
    forget(self, code);
    if (wsi == NULL)
        return;
    shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

static void on_deadline(wheel_timer_t *timer, void *arg)
{
    socket_t *self = (socket_t *)((uint8_t *)timer - offsetof(socket_t, timer));
    server_t *server = self->server;
    int64_t heartbeat_us = server->limits.heartbeat_us;
    int64_t quiet_us = server_now_us(server) - self->heard_us;
    (void)arg;
    if (self->state != SOCKET_OPEN || quiet_us >= MISSED_HEARTBEATS * heartbeat_us) {
        kill_socket(self, self->code);
        return;
    }
    if (quiet_us < heartbeat_us) {
        server_set_timer(server, timer, heartbeat_us - quiet_us);
        return;
    }
    self->wants_ping = !self->was_pinged;
    self->was_pinged = true;
    want_turn(self);
    server_set_timer(server, timer, MISSED_HEARTBEATS * heartbeat_us - quiet_us);
}

/* The client lives. */
static void hear(socket_t *self)
{
    server_t *server = self->server;
    self->heard_us = server_now_us(server);
    if (!self->was_pinged || self->state != SOCKET_OPEN)
        return;
    self->was_pinged = false;
    server_set_timer(server, &self->timer, server->limits.heartbeat_us);
}

/* --- reading --- */

static void deliver(socket_t *self, slice_t message, bool is_binary)
{
    server_t *server = self->server;
    if (!is_binary && !utf8_is_valid(message))
        socket_close(self, CODE_NOT_UTF8, "a text message that is not UTF-8");
    else
        server->handler.on_message(server->arg, self, message, is_binary);
}

/* A frame comes in pieces, a message in frames. What is still announced of the frame counts as if
 * it were here. */
static void take_piece(socket_t *self, slice_t piece)
{
    hear(self);
    self->heard_turn = self->server->turn;
    if (self->state != SOCKET_OPEN)
        return;
    size_t n_announced = lws_remaining_packet_payload(self->wsi);
    size_t n_here = self->in.n_bytes + piece.n_bytes;
    if (n_announced > self->limit || n_here > self->limit - n_announced) {
        buf_fini(&self->in);
        socket_close(self, CODE_TOO_LARGE, "the message is too large");
        return;
    }
    bool is_last = lws_is_final_fragment(self->wsi) != 0;
    if (!is_last || self->in.n_bytes > 0)
        buf_append_slice(&self->in, piece);
    if (!is_last)
        return;
    bool is_whole = self->in.n_bytes == 0;
    deliver(self, is_whole ? piece : buf_slice(&self->in), lws_frame_is_binary(self->wsi) != 0);
    if (self->in.capacity > KEEP_BYTES)
        buf_fini(&self->in);
    buf_reset(&self->in);
}

/* --- what libwebsockets calls --- */

static void on_established(socket_t *self)
{
    server_t *server = self->server;
    lws_set_timeout(self->wsi, NO_PENDING_TIMEOUT, 0);
    self->heard_us = server_now_us(server);
    server_set_timer(server, &self->timer, server->limits.heartbeat_us);
    self->is_opened = true;
    server->handler.on_open(server->arg, self);
}

/* Whether a close says what may be said (RFC 6455, 7.4). libwebsockets knows of the codes that are
 * reserved, but takes half a code, codes beyond the last and reasons that are no text. */
static bool is_good_close(slice_t payload)
{
    if (payload.n_bytes < 2)
        return payload.n_bytes == 0;
    int code = payload.data[0] << 8 | payload.data[1];
    return code < CODE_END && utf8_is_valid(slice_of(payload.data + 2, payload.n_bytes - 2));
}

/* Nonzero: end the connection. Else libwebsockets repeats the frame to the client and ends it then.
 */
static int on_peer_close(socket_t *self, slice_t payload)
{
    if (self->state == SOCKET_SAID)
        return -1;
    if (!is_good_close(payload)) {
        /* libwebsockets would send the code and then wait for the close that has come. */
        self->code = CODE_PROTOCOL;
        self->state = SOCKET_CLOSING;
        self->wants_write = false;
        write_once(self);
        return -1;
    }
    const uint8_t *at = payload.data;
    self->code = payload.n_bytes >= 2 ? at[0] << 8 | at[1] : CODE_NONE;
    self->state = SOCKET_ANSWERING;
    server_set_timer(self->server, &self->timer, CLOSE_US);
    return 0;
}

static int on_event(socket_t *self, enum lws_callback_reasons reason, slice_t bytes)
{
    switch ((int)reason) {
    case LWS_CALLBACK_ESTABLISHED:
        on_established(self);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        take_piece(self, bytes);
        return 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        hear(self);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return write_some(self) ? 0 : -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(self, bytes);
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        forget(self, self->code);
        return 0;
    }
    return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t n_in)
{
    (void)user;
    if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED) {
        lws_part_t *part = lws_context_user(lws_get_context(wsi));
        lws_set_opaque_user_data(wsi, part->arriving);
        part->arriving->wsi = wsi;
        return 0;
    }
    /* Events that are nobody's (the context's own, those of a socket that was forgotten) come with
     * none. */
    socket_t *socket = wsi == NULL ? NULL : lws_get_opaque_user_data(wsi);
    if (socket != NULL)
        return on_event(socket, reason, slice_of(in, n_in));
    return reason == LWS_CALLBACK_RECEIVE || reason == LWS_CALLBACK_SERVER_WRITEABLE ? -1 : 0;
}

/* --- for server.c --- */

/* It says nothing: it writes its lines, one for every connection that is handed over among them,
 * into one static buffer, which contexts in several threads would do at once. What it does wrong
 * shows in what it returns and calls. The level is one for all contexts of a process. */
static pthread_once_t silence = PTHREAD_ONCE_INIT;

static void be_silent(void)
{
    lws_set_log_level(0, NULL);
}

/* The handles of a loop, before libwebsockets adds its own. */
typedef struct {
    uv_handle_t *all[HANDLES_BEFORE];
    size_t n;
} handles_t;

static void note_handle(uv_handle_t *handle, void *arg)
{
    handles_t *before = arg;
    if (before->n == HANDLES_BEFORE)
        abort(); /* a bug: a server is made first of all that is on its loop */
    before->all[before->n++] = handle;
}

static void unref_new_handle(uv_handle_t *handle, void *arg)
{
    const handles_t *before = arg;
    for (size_t i = 0; i < before->n; i++) {
        if (before->all[i] == handle)
            return;
    }
    uv_unref(handle);
}

static bool make_context(lws_part_t *self, const struct lws_context_creation_info *info)
{
    handles_t before = {0};
    uv_walk(self->loop, note_handle, &before);
    self->context = lws_create_context(info);
    uv_walk(self->loop, unref_new_handle, &before);
    return self->context != NULL;
}

lws_part_t *ws_part_new(server_t *server)
{
    lws_part_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->loop = server->loop;
    self->loops[0] = server->loop;
    strcpy(self->subprotocol, "none");
    self->protocols[0] = (struct lws_protocols){.name = self->subprotocol,
                                                .callback = on_lws,
                                                .rx_buffer_size = RX_BYTES,
                                                .tx_packet_size = WRITE_BYTES};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = self->protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .foreign_loops = self->loops,
        .pt_serv_buf_size = SERVICE_BYTES,
        .max_http_header_data = HANDSHAKE_BYTES,
        .retry_and_idle_policy = &self->no_pings,
        .pcontext = &self->context,
        .user = self,
        .vhost_name = server->name,
    };
    pthread_once(&silence, be_silent);
    if (!make_context(self, &info)) {
        log_line(LOG_ERROR, server->name,
                 "libwebsockets cannot be used (is its libuv part installed?)", NULL);
        free(self);
        return NULL;
    }
    self->vhost = lws_get_vhost_by_name(self->context, server->name);
    return self;
}

/* Its handles carry the context. */
static void find_handle(uv_handle_t *handle, void *arg)
{
    void **context_or_null = arg;
    if (handle->data != NULL && handle->data == *context_or_null)
        *context_or_null = NULL;
}

static bool has_handles(const lws_part_t *self)
{
    void *context = self->context;
    uv_walk(self->loop, find_handle, &context);
    return context == NULL;
}

bool ws_part_end(lws_part_t **self_p)
{
    lws_part_t *self = *self_p;
    if (self == NULL)
        return true;
    if (self->context != NULL && (!self->is_ending || !has_handles(self))) {
        self->is_ending = true;
        lws_context_destroy(self->context);
    }
    if (self->context != NULL)
        return false;
    free(self);
    *self_p = NULL;
    return true;
}

/* The handshake as a client would have sent it that wants what was agreed. */
static void put_handshake(buf_t *out, slice_t key, const char *subprotocol, slice_t early)
{
    buf_append_str(
        out, "GET / HTTP/1.1\r\nHost: taskwire\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\n");
    buf_format(out, "Sec-WebSocket-Key: %.*s\r\n", (int)key.n_bytes, (const char *)key.data);
    if (subprotocol != NULL)
        buf_format(out, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    buf_append_str(out, "\r\n");
    buf_append_slice(out, early);
}

void ws_adopt(server_t *server, const arrival_t *arrival, slice_t key, const char *subprotocol,
              slice_t early, void *user)
{
    lws_part_t *part = server->lws;
    socket_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    *self = (socket_t){.server = server, .user = user, .code = CODE_ABNORMAL, .from = *arrival};
    self->limit = LIMIT_WS_MESSAGE_BYTES;
    self->timer.fire = on_deadline;
    LIST_INSERT_HEAD(&server->sockets, self, of_server);
    server->n_sockets++;
    strncpy(part->subprotocol, subprotocol == NULL ? "none" : subprotocol, SUBPROTOCOL_CHARS);
    buf_t handshake = {0};
    put_handshake(&handshake, key, subprotocol, early);
    part->arriving = self;
    struct lws *wsi = lws_adopt_socket_vhost_readbuf(
        part->vhost, arrival->fd, (const char *)handshake.data, handshake.n_bytes);
    buf_fini(&handshake);
    /* If it came to an end at once, it may have been forgotten already; or libwebsockets never took
     * it. */
    if (wsi == NULL && part->arriving == self && self->wsi == NULL)
        forget(self, CODE_ABNORMAL);
    part->arriving = NULL;
}

void ws_flush(server_t *server)
{
    for (size_t n = server->n_sockets; n > 0 && !TAILQ_EMPTY(&server->writers); n--) {
        socket_t *self = TAILQ_FIRST(&server->writers);
        TAILQ_REMOVE(&server->writers, self, of_writers);
        self->is_writer = false;
        if (is_heard_now(self) && !has_failed(self))
            lws_callback_on_writable(self->wsi); /* a pong may have to go first */
        else if (!write_some(self))
            kill_socket(self, self->code);
    }
}

void ws_close_all(server_t *server)
{
    while (!LIST_EMPTY(&server->sockets))
        kill_socket(LIST_FIRST(&server->sockets), CODE_GOING_AWAY);
}

/* --- what the owner does with a socket --- */

void *socket_user(const socket_t *self)
{
    return self->user;
}

void socket_set_user(socket_t *self, void *user)
{
    self->user = user;
}

slice_t socket_peer(const socket_t *self)
{
    return slice_str(self->from.peer);
}

void socket_set_limit(socket_t *self, size_t max_message_bytes)
{
    self->limit = max_message_bytes;
}

void socket_want_write(socket_t *self)
{
    self->wants_write = true;
    want_turn(self);
}

void socket_close(socket_t *self, int code, const char *reason)
{
    if (self->state != SOCKET_OPEN)
        return;
    self->state = SOCKET_CLOSING;
    self->code = code;
    self->n_reason = (uint8_t)strnlen(reason, REASON_BYTES);
    memcpy(self->reason, reason, self->n_reason);
    server_set_timer(self->server, &self->timer, CLOSE_US);
    want_turn(self);
}

size_t socket_unsent(const socket_t *self)
{
    return self->wsi != NULL && lws_partial_buffered(self->wsi) ? self->n_handed : 0;
}
