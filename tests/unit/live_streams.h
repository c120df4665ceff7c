/* SPDX-License-Identifier: Apache-2.0 */
/* What there is in live_world.h: streams of events in arrays, tokens, sockets of buffers; what can
 * happen to them; and results and parameters of statements as this world has them. */
#ifndef TASKWIRE_LIVE_STREAMS_H
#define TASKWIRE_LIVE_STREAMS_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/eventlog.h"
#include "actors/pg_loop.h"
#include "actors/sync.h"
#include "gateway/auth.h"
#include "gateway/call.h"
#include "gateway/live.h"
#include "schema/json.h"

#define W_ACCOUNTS 4
#define W_LISTS 5
#define W_STREAMS (W_ACCOUNTS + W_LISTS) /* the accounts first */
#define W_SOCKETS 16
#define W_MAX_EVENTS 20000
#define W_EPOCHS "epoch-0000000000"

/* --- what there is --- */

typedef struct {
    int64_t id;
    event_type_t type;
    bool is_purged;
    buf_t body;
} w_event_t;

typedef struct {
    uuid_t id;
    int n_events; /* the head */
    w_event_t events[W_MAX_EVENTS];
    bool is_member[W_ACCOUNTS];
    int64_t removed_rev[W_ACCOUNTS]; /* of the newest removal */
    int64_t purged_n; /* of the newest purge; 0: none */
} w_stream_t;

typedef struct {
    bool is_valid;
    uint32_t scopes;
    int64_t expires_at_us;
    uuid_t lists[1];
    uint32_t n_lists;
} w_token_t;

typedef struct {
    bool is_null;
    int64_t number;
    uuid_t id;
    slice_t bytes;
} w_cell_t;

struct pg_result {
    arena_t *arena;
    int n_rows;
    w_cell_t *cells; /* of rows of W_COLS */
};
#define W_COLS 19
#define W_ROWS_AT_ONCE 16

/* A question to the database. */
typedef struct w_read {
    struct w_read *next;
    const char *sql;
    pg_params_t params;
    pg_done_f *done;
    void *arg;
    pg_result_t *result; /* NULL: it is executed when it is answered */
} w_read_t;

typedef enum { W_ASK_EPOCH, W_ASK_HEADS, W_ASK_EVENTS, W_ASK_PURGED } w_ask_kind_t;

/* A question of sync's; its connection answers in order. */
typedef struct w_ask {
    struct w_ask *next;
    w_ask_kind_t kind;
    pg_done_f *done;
    eventlog_heads_f *on_heads;
    void *arg;
    eventlog_reader_t reader;
    int64_t positions[N_SHARDS];
    shard_set_t shards;
    int limit;
    int64_t after; /* of purges */
} w_ask_t;

struct pg {
    int unused;
};

struct request {
    slice_t path;
    slice_t query;
    slice_t secret;
    slice_t protocol;
    bool is_foreign;
    struct socket_s *socket; /* of a call that asks for an event stream */
};

struct socket_s {
    int account;
    bool is_feed; /* an event stream; then: */
    int status; /* 0: not answered yet */
    struct call call;
    struct request request;
    void *user;
    bool speaks_msgpack; /* what it sends and receives is turned from and into JSON */
    size_t limit;
    bool is_open;
    bool wants_write;
    bool is_stuck; /* takes nothing in w_run */
    int close_code; /* not 0: on_close is due */
    buf_t received; /* whole messages, each as text with a NUL */
    size_t n_received;
};

typedef struct w_login {
    struct w_login *next;
    slice_t secret;
    char text[32];
    auth_done_f *done;
    void *arg;
} w_login_t;

typedef struct {
    submit_done_f *done;
    void *arg;
    command_t command;
    buf_t data;
} w_command_t;

static struct {
    now_t now;
    char epoch[EPOCH_CHARS + 1];
    int64_t last_id;
    w_stream_t *streams;
    w_token_t tokens[W_ACCOUNTS];
    bool is_down;
    int64_t session;
    int reads_limit; /* under way at once; more are refused as OVERLOADED */
    int n_reads;
    int64_t n_purges;
    int n_lists_beyond; /* lists of everybody that do not fit into one connection */
    w_read_t *reads;
    w_ask_t *asks;
    struct pg pg;
    config_t config;
    network_t network;
    gateway_t gateway;
    sync_t *sync;
    mailbox_t *inbox; /* the gateway's */
    struct socket_s sockets[W_SOCKETS];
    w_login_t *logins;
    bool is_login_slow;
    bool is_limited;
    int n_admitted; /* requests that were counted */
    w_command_t commands[WS_MAX_COMMANDS + 8];
    int n_commands;
    err_t submit_says;
} w;

static inline uuid_t w_account(int i)
{
    return w.streams[i].id;
}

static inline uuid_t w_token_id(int account)
{
    uuid_t id = {{0x70}};
    id.bytes[15] = (uint8_t)(account + 1);
    return id;
}

static inline w_stream_t *w_list(int i)
{
    return &w.streams[W_ACCOUNTS + i];
}

static inline w_stream_t *w_find(const uuid_t *id)
{
    for (int i = 0; i < W_STREAMS; i++) {
        if (uuid_eq(&w.streams[i].id, id))
            return &w.streams[i];
    }
    return NULL;
}

static inline int w_account_index(const uuid_t *id)
{
    w_stream_t *stream = w_find(id);
    return stream == NULL || stream >= w.streams + W_ACCOUNTS ? -1 : (int)(stream - w.streams);
}

static inline bool w_may_read(const w_stream_t *stream, int account)
{
    return stream < w.streams + W_ACCOUNTS ? stream == &w.streams[account]
                                           : stream->is_member[account];
}

static inline void *w_new(size_t n_bytes)
{
    void *at = calloc(1, n_bytes);
    assert(at != NULL);
    return at;
}

/* --- what happens --- */

/* An event; `about` is an account (membership), -1: none. Nobody is told: see w_commit. */
static inline int64_t w_append(w_stream_t *stream, event_type_t type, int about)
{
    assert(stream->n_events < W_MAX_EVENTS);
    w_event_t *at = &stream->events[stream->n_events++];
    buf_t set = {0};
    event_t event = {
        .stream = stream->id, .rev = stream->n_events, .type = type, .at_us = w.now.wall_us};
    bool is_token = type == EVENT_TOKEN_DELETED;
    mp_put_map(&set, 1);
    mp_put_cstr(&set, is_token ? "token" : about >= 0 ? "account" : "n");
    if (about >= 0) {
        uuid_t id = is_token ? w_token_id(about) : w_account(about);
        mp_put_uuid(&set, &id);
    } else {
        mp_put_int(&set, stream->n_events);
    }
    event.command = w_token_id(1);
    event.by = w_account(0);
    event.set = buf_slice(&set);
    memcpy(event.epoch, w.epoch, EPOCH_CHARS);
    *at = (w_event_t){.id = ++w.last_id, .type = type};
    event_encode(&event, &at->body);
    buf_fini(&set);
    return stream->n_events;
}

static inline void w_commit(w_stream_t *stream, event_type_t type, int about)
{
    int64_t rev = w_append(stream, type, about);
    if (type == EVENT_MEMBER_ADDED)
        stream->is_member[about] = true;
    if (type == EVENT_MEMBER_REMOVED) {
        stream->is_member[about] = false;
        stream->removed_rev[about] = rev;
    }
    network_log_grew(&w.network, shard_bit(&stream->id));
}

static inline void w_change(int list)
{
    w_commit(w_list(list), EVENT_TASK_UPDATED, -1);
}

static inline void w_purge(w_stream_t *stream, int64_t rev)
{
    stream->events[rev - 1].is_purged = true;
    stream->purged_n = ++w.n_purges;
}

static inline void w_delete_token(int account)
{
    w.tokens[account].is_valid = false;
    w_commit(&w.streams[account], EVENT_TOKEN_DELETED, account);
}

/* --- results --- */

static inline pg_result_t *w_result_new(void)
{
    pg_result_t *self = w_new(sizeof *self);
    self->arena = arena_new();
    return self;
}

static inline void w_result_destroy(pg_result_t *self)
{
    arena_destroy(&self->arena);
    free(self->cells);
    free(self);
}

static inline w_cell_t *w_row(pg_result_t *self)
{
    if (self->n_rows % W_ROWS_AT_ONCE == 0) {
        size_t n_rows = (size_t)self->n_rows + W_ROWS_AT_ONCE;
        self->cells = realloc(self->cells, n_rows * W_COLS * sizeof *self->cells);
        assert(self->cells != NULL);
    }
    w_cell_t *row = &self->cells[self->n_rows++ * W_COLS];
    for (int i = 0; i < W_COLS; i++)
        row[i] = (w_cell_t){.is_null = true};
    return row;
}

static inline void w_put_int(w_cell_t *cell, int64_t number)
{
    *cell = (w_cell_t){.number = number};
}

static inline void w_put_bytes(pg_result_t *self, w_cell_t *cell, slice_t bytes)
{
    *cell = (w_cell_t){.bytes = arena_copy(self->arena, bytes)};
}

static const w_cell_t *w_cell(const pg_result_t *self, int row, int col)
{
    assert(row < self->n_rows && col < W_COLS);
    return &self->cells[row * W_COLS + col];
}

int pg_rows(const pg_result_t *self)
{
    return self->n_rows;
}
bool pg_is_null(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->is_null;
}
bool pg_bool(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->number != 0;
}
int64_t pg_int(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->number;
}
uuid_t pg_uuid(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->id;
}
slice_t pg_bytes(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->bytes;
}
int64_t pg_instant(const pg_result_t *self, int row, int col)
{
    return w_cell(self, row, col)->is_null ? INSTANT_NONE : w_cell(self, row, col)->number;
}

/* --- parameters --- */

static inline slice_t w_param(const pg_params_t *params, int i)
{
    assert(i < params->n_params);
    int n_bytes = params->params[i].n_bytes;
    return n_bytes < 0 ? slice_none()
                       : slice_of(params->bytes.data + params->params[i].at, (size_t)n_bytes);
}

static inline uuid_t w_param_id(const pg_params_t *params, int i)
{
    uuid_t id;
    memcpy(id.bytes, w_param(params, i).data, UUID_BYTES);
    return id;
}

static inline int64_t w_param_int(const pg_params_t *params, int i)
{
    slice_t bytes = w_param(params, i);
    uint64_t number = 0;
    for (size_t at = 0; at < bytes.n_bytes; at++)
        number = number << 8 | bytes.data[at];
    return (int64_t)number;
}

/* Whether the array of ids holds this one. */
static inline bool w_param_has(const pg_params_t *params, int i, const uuid_t *id)
{
    slice_t bytes = w_param(params, i);
    for (size_t at = 20; at + 4 + UUID_BYTES <= bytes.n_bytes; at += 4 + UUID_BYTES) {
        if (memcmp(bytes.data + at + 4, id->bytes, UUID_BYTES) == 0)
            return true;
    }
    return false;
}

#endif
