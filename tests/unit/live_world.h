/* SPDX-License-Identifier: Apache-2.0 */
/* A small world for live sync, without threads, sockets or PostgreSQL: the real sync actor and the
 * real hub with all that stands behind a WebSocket, between a database of arrays and sockets of
 * buffers. What the code asks of its surroundings (reads_query, socket_…, eventlog_…) is defined
 * here, so the linker takes none of the real ones. Nothing happens by itself: a test says when the
 * database answers, when messages arrive and when a socket takes more. Included by one test program
 * each. */
#ifndef TASKWIRE_LIVE_WORLD_H
#define TASKWIRE_LIVE_WORLD_H

#include "gateway/reply.h"
#include "tests/unit/live_database.h"

/* In place of libsodium's: what the tables are keyed by follows from the test's seed too. */
void randombytes_buf(void *const buf, const size_t n_bytes);
void randombytes_buf(void *const buf, const size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        ((uint8_t *)buf)[i] = (uint8_t)rand();
}

/* --- logins, commands, requests --- */

static inline void w_identify(const w_login_t *login)
{
    int account = login->text[0] - '0';
    bool is_known = account >= 0 && account < W_ACCOUNTS && w.tokens[account].is_valid;
    if (!is_known) {
        login->done(login->arg, ERR_UNAUTHENTICATED, NULL);
        return;
    }
    const w_token_t *token = &w.tokens[account];
    identity_t identity = {
        .account = w_account(account),
        .token = w_token_id(account),
        .is_session = true,
        .scopes = token->scopes,
        .lists = token->lists,
        .n_lists = token->n_lists,
        .expires_at_us = token->expires_at_us,
    };
    login->done(login->arg, ERR_OK, &identity);
}

static inline void w_answer_logins(void)
{
    while (w.logins != NULL) {
        w_login_t *login = w.logins;
        w.logins = login->next;
        w_identify(login);
        free(login);
    }
}

void auth_identify(auth_t *self, slice_t secret, auth_done_f *done, void *arg)
{
    (void)self;
    w_login_t *login = w_new(sizeof *login);
    login->done = done;
    login->arg = arg;
    memcpy(login->text, secret.data, secret.n_bytes < 31 ? secret.n_bytes : 31);
    login->next = w.logins;
    w.logins = login;
    if (!w.is_login_slow)
        w_answer_logins();
}
void auth_forget_all(auth_t *self)
{
    (void)self;
}
slice_t auth_secret_of(const request_t *request)
{
    return request->secret;
}
bool http_admit(gateway_t *gateway, const uuid_t *token, slice_t address, int64_t *retry_us)
{
    (void)gateway;
    (void)token;
    (void)address;
    *retry_us = 5000;
    w.n_admitted++;
    return !w.is_limited;
}
slice_t http_client_address(gateway_t *gateway, request_t *request)
{
    (void)gateway;
    (void)request;
    return slice_str("192.0.2.1");
}
bool http_origin_is_allowed(gateway_t *gateway, const request_t *request)
{
    (void)gateway;
    return !request->is_foreign;
}
method_t request_method(const request_t *self)
{
    (void)self;
    return METHOD_GET;
}
slice_t request_path(const request_t *self)
{
    return self->path;
}
slice_t request_query(const request_t *self)
{
    return self->query;
}
slice_t request_header(const request_t *self, header_t header)
{
    return header == HEADER_SEC_WEBSOCKET_PROTOCOL ? self->protocol : slice_none();
}

err_t submit_command(submits_t *self, command_t *command, submit_done_f *done, void *arg,
                     uint64_t *handle)
{
    (void)self;
    if (w.submit_says != ERR_OK) {
        *handle = 0;
        return w.submit_says;
    }
    w_command_t *at = &w.commands[w.n_commands++];
    *at = (w_command_t){.done = done, .arg = arg, .command = *command};
    buf_append_slice(&at->data, command->data);
    at->command.data = buf_slice(&at->data);
    *handle = (uint64_t)w.n_commands;
    return ERR_OK;
}
void submit_forget(submits_t *self, uint64_t handle)
{
    (void)self;
    w.commands[handle - 1].done = NULL;
}

/* The writer answers all commands with this outcome. */
static inline void w_answer_commands(const outcome_t *outcome)
{
    for (int i = 0; i < w.n_commands; i++) {
        result_t result = {.command = w.commands[i].command.id, .outcome = *outcome};
        if (w.commands[i].done != NULL)
            w.commands[i].done(w.commands[i].arg, &result);
        buf_fini(&w.commands[i].data);
    }
    w.n_commands = 0;
}

/* --- sockets --- */

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
    (void)self;
    return slice_str("127.0.0.1");
}
void socket_set_limit(socket_t *self, size_t max_message_bytes)
{
    self->limit = max_message_bytes;
}
void socket_want_write(socket_t *self)
{
    self->wants_write = true;
}
void socket_close(socket_t *self, int code, const char *reason)
{
    (void)reason;
    if (self->close_code == 0)
        self->close_code = code;
}

/* One message of the server, as JSON text. */
static inline void w_take_message(socket_t *self, slice_t payload)
{
    if (self->speaks_msgpack) {
        bool is_json = mp_is_canonical(payload) && json_from_mp(payload, &self->received);
        assert(is_json);
        (void)is_json;
    } else {
        buf_append_slice(&self->received, payload);
    }
    buf_append_byte(&self->received, '\0');
    self->n_received++;
}

static inline void w_take_frames(socket_t *self, slice_t bytes)
{
    while (bytes.n_bytes > 0) {
        size_t n_bytes = frame_size(bytes);
        size_t n_header = bytes.data[1] < 126 ? 2 : bytes.data[1] == 126 ? 4 : 10;
        assert(n_bytes > 0 && bytes.data[0] == (self->speaks_msgpack ? 0x82 : 0x81));
        w_take_message(self, slice_of(bytes.data + n_header, n_bytes - n_header));
        bytes = slice_of(bytes.data + n_bytes, bytes.n_bytes - n_bytes);
    }
}

static inline void w_forget_received(socket_t *self)
{
    buf_fini(&self->received);
    self->n_received = 0;
}

/* --- event streams: a socket of the world stands for the connection --- */

struct conn {
    socket_t *socket;
};

static struct conn w_feeds[W_SOCKETS];

feed_t *reply_feed(call_t *call, const char *content_type, void *user)
{
    socket_t *socket = request_user(call->request);
    (void)content_type;
    socket->status = 200;
    socket->user = user;
    return &w_feeds[socket - w.sockets];
}
void reply_problem(call_t *call, const problem_t *problem)
{
    socket_t *socket = request_user(call->request);
    socket->status = err_status(problem->err);
}
void *request_user(const request_t *self)
{
    return self->socket;
}
void *feed_user(const feed_t *self)
{
    return self->socket->user;
}
void feed_want_write(feed_t *self)
{
    self->socket->wants_write = true;
}
void feed_end(feed_t *self)
{
    self->socket->wants_write = true;
    self->socket->close_code = 1;
}

/* The socket asks for an event stream. */
static inline socket_t *w_open_feed(int at, int account, const uuid_t *stream,
                                    const sse_place_t *place)
{
    socket_t *self = &w.sockets[at];
    const w_token_t *token = &w.tokens[account];
    w_forget_received(self);
    *self = (struct socket_s){.account = account, .is_feed = true};
    self->request.socket = self;
    self->call = (call_t){
        .gateway = &w.gateway,
        .request = &self->request,
        .identity = {.account = w_account(account),
                     .token = w_token_id(account),
                     .scopes = token->scopes,
                     .lists = token->lists,
                     .n_lists = token->n_lists,
                     .expires_at_us = token->expires_at_us},
    };
    w_feeds[at].socket = self;
    sse_open(&self->call, stream, place);
    return self;
}

/* Its client goes away. */
static inline void w_close_feed(socket_t *self)
{
    if (self->status == 200)
        sse_on_gone(&w.gateway, &w_feeds[self - w.sockets]);
    else if (self->status == 0)
        self->call.on_gone(self->call.on_gone_arg);
    *self = (struct socket_s){.received = self->received, .n_received = self->n_received};
}

/* It takes more; what was received so far is one text. */
static inline void w_write_feed(socket_t *self, size_t room)
{
    buf_t *text = &self->received;
    while (self->wants_write) {
        self->wants_write = false;
        size_t before = text->n_bytes;
        self->wants_write = sse_on_writable(&w.gateway, &w_feeds[self - w.sockets], text, room);
        if (text->n_bytes == before || room < SIZE_MAX)
            break;
    }
    if (self->close_code != 0 && !self->wants_write)
        w_close_feed(self);
}

/* The socket takes about so many bytes, if something is to be written. */
static inline void w_write(socket_t *self, size_t room)
{
    buf_t out = {0};
    if (!self->wants_write)
        return;
    if (self->is_feed) {
        w_write_feed(self, room);
        return;
    }
    self->wants_write = false;
    if (ws_on_writable(&w.gateway, self, &out, room))
        self->wants_write = true;
    w_take_frames(self, buf_slice(&out));
    buf_fini(&out);
}

static inline err_t w_upgrade(socket_t *self, request_t *request)
{
    const char *protocol = NULL;
    void *user = NULL;
    *self = (struct socket_s){.account = self->account, .speaks_msgpack = self->speaks_msgpack};
    err_t err = ws_on_upgrade(&w.gateway, request, &protocol, &user);
    if (err != ERR_OK)
        return err;
    self->user = user;
    self->is_open = true;
    ws_on_open(&w.gateway, self);
    return ERR_OK;
}

/* A socket of the account, logged in by header. */
static inline socket_t *w_open(int at, int account)
{
    char secret[2] = {(char)('0' + account), 0};
    request_t request = {.path = slice_str("/v1/ws"), .secret = slice_str(secret)};
    socket_t *self = &w.sockets[at];
    self->account = account;
    if (self->speaks_msgpack)
        request.protocol = slice_str("taskwire.v1.msgpack");
    err_t err = w_upgrade(self, &request);
    assert(err == ERR_OK);
    (void)err;
    return self;
}

static inline void w_finish_close(socket_t *self)
{
    int code = self->close_code;
    ws_on_close(&w.gateway, self, code);
    self->is_open = false;
    self->wants_write = false;
}

static inline void w_send(socket_t *self, const char *json)
{
    problem_t problem = {0};
    arena_t *arena = arena_new();
    buf_t map = {0};
    if (self->close_code == 0 && !self->speaks_msgpack)
        ws_on_message(&w.gateway, self, slice_str(json), false);
    else if (self->close_code == 0 && json_to_mp(slice_str(json), &map, arena, &problem) == ERR_OK)
        ws_on_message(&w.gateway, self, buf_slice(&map), true);
    buf_fini(&map);
    arena_destroy(&arena);
}

/* --- the whole --- */

static inline void w_touch(int64_t after_us)
{
    w.now.wall_us += after_us;
    w.now.mono_us += after_us;
    w.gateway.now = w.now;
}

/* Hands the gateway one message; false: there is none. */
static inline bool w_receive(void)
{
    message_t message;
    mp_reader_t content;
    if (!mailbox_recv(w.inbox, &message))
        return false;
    message_kind_t kind = message_kind(message_bytes(&message), &content);
    hub_receive(w.gateway.hub, kind, &content, message_bytes(&message));
    message_fini(&message);
    return true;
}

static inline void w_step_sync(void)
{
    actor_step(sync_actor(w.sync), w.now);
}

/* Lets everything happen that can, in the plainest order. */
static inline void w_run(void)
{
    bool is_busy = true;
    for (int turn = 0; is_busy && turn < 10000; turn++) {
        is_busy = false;
        w_touch(1000);
        w_step_sync();
        if (!w.is_down && w.asks != NULL) {
            is_busy = true;
            w_answer_sync(PG_OK);
        }
        while (w_receive())
            is_busy = true;
        while (w.reads != NULL) {
            is_busy = true;
            w_answer(0, PG_OK);
        }
        for (int i = 0; i < W_SOCKETS; i++) {
            if (!w.sockets[i].is_stuck) {
                is_busy |= w.sockets[i].wants_write;
                w_write(&w.sockets[i], 65536);
            }
            if (w.sockets[i].is_open && w.sockets[i].close_code != 0)
                w_finish_close(&w.sockets[i]);
        }
    }
}

static inline void w_tick(void)
{
    w_touch(1000000);
    ws_on_tick(&w.gateway);
    w_run();
}

static inline void w_init_streams(void)
{
    w.streams = w_new(W_STREAMS * sizeof *w.streams);
    for (int i = 0; i < W_STREAMS; i++) {
        w.streams[i].id = (uuid_t){{(uint8_t)(i < W_ACCOUNTS ? 0xa0 : 0xb0)}};
        w.streams[i].id.bytes[15] = (uint8_t)(i + 1);
    }
    for (int i = 0; i < W_LISTS; i++)
        w_list(i)->is_member[0] = true;
    for (int i = 0; i < W_ACCOUNTS; i++)
        w.tokens[i] = (w_token_t){
            .is_valid = true, .scopes = SCOPE_READ | SCOPE_WRITE, .expires_at_us = INSTANT_NONE};
}

static inline void w_begin_as(int inbox_limit, bool is_fed)
{
    static const actor_ops_t no_ops;
    memset(&w, 0, sizeof w);
    w.now = (now_t){INT64_C(1795000000000000), INT64_C(1000000000)};
    w.session = 1;
    w.reads_limit = 1000;
    memcpy(w.epoch, W_EPOCHS, sizeof w.epoch);
    w_init_streams();
    w.config.database_url = "";
    w.network.config = &w.config;
    w.network.metrics = metrics_new();
    w.network.post = post_new();
    w.network.n_gateways = 1;
    w.sync = sync_new(&w.network);
    w.network.actors[ADDRESS_SYNC] = sync_actor(w.sync);
    w.network.actors[ADDRESS_GATEWAY] =
        actor_new(&no_ops, NULL, w.network.post, "gateway-0", inbox_limit);
    w.inbox = actor_inbox(w.network.actors[ADDRESS_GATEWAY]);
    mailbox_open(w.inbox);
    w.gateway = (gateway_t){.network = &w.network, .now = w.now};
    if (is_fed)
        w.network.actors[ADDRESS_TAIL] = actor_new(&no_ops, NULL, w.network.post, "tail", 16);
    w_step_sync(); /* opens it */
    w.gateway.hub = hub_new(&w.gateway);
}

static inline void w_begin(int inbox_limit)
{
    w_begin_as(inbox_limit, false);
}

/* In Kafka mode: sync is given events by somebody, whom the test plays. */
static inline void w_begin_fed(int inbox_limit)
{
    w_begin_as(inbox_limit, true);
}

static inline void w_end(void)
{
    for (int i = 0; i < W_SOCKETS; i++) {
        if (w.sockets[i].is_open)
            w_finish_close(&w.sockets[i]);
        if (w.sockets[i].is_feed)
            w_close_feed(&w.sockets[i]);
        w_forget_received(&w.sockets[i]);
    }
    while (w.reads != NULL)
        w_answer(0, PG_LOST);
    w_answer_logins();
    while (w.asks != NULL)
        w_answer_sync(PG_LOST);
    for (int i = 0; i < w.n_commands; i++)
        buf_fini(&w.commands[i].data);
    mailbox_close(w.inbox);
    hub_destroy(&w.gateway.hub);
    sync_destroy(&w.sync);
    actor_destroy(&w.network.actors[ADDRESS_GATEWAY]);
    actor_destroy(&w.network.actors[ADDRESS_TAIL]);
    post_destroy(&w.network.post);
    metrics_destroy(&w.network.metrics);
    for (int i = 0; i < W_STREAMS; i++) {
        for (int at = 0; at < w.streams[i].n_events; at++)
            buf_fini(&w.streams[i].events[at].body);
    }
    free(w.streams);
}

#endif
