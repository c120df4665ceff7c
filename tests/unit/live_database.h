/* SPDX-License-Identifier: Apache-2.0 */
/* The database of live_world.h: answers to the questions that the gateway and sync ask, when the
 * test says so. Questions are told apart by a piece of their SQL. */
#ifndef TASKWIRE_LIVE_DATABASE_H
#define TASKWIRE_LIVE_DATABASE_H

#include "tests/unit/live_streams.h"

/* --- the gateway's reads --- */

static inline bool w_has_purged(const w_stream_t *stream, int64_t after)
{
    for (int64_t rev = after + 1; rev <= stream->n_events; rev++) {
        if (stream->events[rev - 1].is_purged)
            return true;
    }
    return false;
}

static inline void w_run_head(const pg_params_t *params, pg_result_t *out)
{
    uuid_t id = w_param_id(params, 0);
    uuid_t account = w_param_id(params, 1);
    const w_stream_t *stream = w_find(&id);
    if (stream == NULL || !w_may_read(stream, w_account_index(&account)))
        return;
    w_cell_t *row = w_row(out);
    w_put_int(&row[0], stream->n_events);
    w_put_bytes(out, &row[1], slice_of(w.epoch, EPOCH_CHARS));
    w_put_int(&row[2], w_has_purged(stream, w_param_int(params, 2)));
}

static inline void w_run_page(const pg_params_t *params, pg_result_t *out)
{
    uuid_t id = w_param_id(params, 0);
    uuid_t account = w_param_id(params, 1);
    int64_t from = w_param_int(params, 2);
    const w_stream_t *stream = w_find(&id);
    if (stream == NULL || !w_may_read(stream, w_account_index(&account)))
        return;
    if (from > stream->n_events)
        w_put_bytes(out, &w_row(out)[2], slice_of(w.epoch, EPOCH_CHARS));
    for (int64_t rev = from; rev <= stream->n_events && rev < from + 16; rev++) {
        w_cell_t *row = w_row(out);
        w_put_int(&row[0], rev);
        w_put_bytes(out, &row[2], slice_of(w.epoch, EPOCH_CHARS));
        if (!stream->events[rev - 1].is_purged)
            w_put_bytes(out, &row[1], buf_slice(&stream->events[rev - 1].body));
    }
}

/* A list has as many tasks as events, up to 1000. */
static inline void w_run_tasks(const pg_params_t *params, pg_result_t *out)
{
    uuid_t id = w_param_id(params, 0);
    uuid_t account = w_param_id(params, 1);
    const w_stream_t *stream = w_find(&id);
    if (stream == NULL || !w_may_read(stream, w_account_index(&account)))
        return;
    int n_tasks = stream->n_events < 1000 ? stream->n_events : 1000;
    for (int i = 0; i < (n_tasks == 0 ? 1 : n_tasks); i++) {
        w_cell_t *row = w_row(out);
        w_put_int(&row[0], stream->n_events);
        w_put_bytes(out, &row[1], slice_of(w.epoch, EPOCH_CHARS));
        if (n_tasks == 0)
            break;
        buf_t body = {0};
        mp_put_map(&body, 1);
        mp_put_cstr(&body, "rev");
        mp_put_int(&body, i + 1);
        w_put_bytes(out, &row[2], buf_slice(&body));
        w_put_int(&row[3], 0);
        buf_fini(&body);
    }
}

static inline void w_put_account_row(pg_result_t *out, const w_stream_t *account,
                                     const w_stream_t *list)
{
    w_cell_t *row = w_row(out);
    w_put_int(&row[0], account->n_events);
    w_put_bytes(out, &row[1], slice_of(w.epoch, EPOCH_CHARS));
    w_put_int(&row[2], 1);
    for (int i = 3; i <= 5; i++)
        w_put_bytes(out, &row[i], slice_str("text"));
    w_put_int(&row[6], 0);
    w_put_int(&row[7], 0);
    w_put_bytes(out, &row[18], slice_str("text"));
    if (list == NULL)
        return;
    for (int i = 8; i < 18; i++)
        w_put_int(&row[i], 0);
    row[8].id = list->id;
    row[16].id = account->id;
    w_put_bytes(out, &row[9], slice_str("a \"title\""));
    w_put_int(&row[11], list->n_events);
    w_put_int(&row[12], 3);
}

static inline void w_run_account(const pg_params_t *params, pg_result_t *out)
{
    uuid_t id = w_param_id(params, 0);
    int account = w_account_index(&id);
    if (account < 0)
        return;
    for (int i = 0; i < W_LISTS; i++) {
        if (w_list(i)->is_member[account])
            w_put_account_row(out, &w.streams[account], w_list(i));
    }
    if (out->n_rows == 0)
        w_put_account_row(out, &w.streams[account], NULL);
}

static inline void w_run_members(const pg_params_t *params, pg_result_t *out)
{
    uuid_t list = w_param_id(params, 0);
    const w_stream_t *stream = w_find(&list);
    for (int i = 0; i < W_ACCOUNTS; i++) {
        uuid_t account = w_account(i);
        if (stream->is_member[i] && w_param_has(params, 1, &account))
            w_row(out)[0].id = account;
    }
}

static inline void w_run_accounts_of(const pg_params_t *params, pg_result_t *out)
{
    uuid_t list = w_param_id(params, 0);
    const w_stream_t *stream = w_find(&list);
    for (int i = 0; i < W_ACCOUNTS; i++) {
        if (stream->is_member[i])
            w_row(out)[0].id = w_account(i);
    }
}

static inline void w_run_lists_of(const pg_params_t *params, pg_result_t *out)
{
    uuid_t id = w_param_id(params, 0);
    int account = w_account_index(&id);
    bool is_restricted = w_param(params, 1).data != NULL;
    for (int i = 0; i < W_LISTS; i++) {
        if (w_list(i)->is_member[account] &&
            (!is_restricted || w_param_has(params, 1, &w_list(i)->id)))
            w_row(out)[0].id = w_list(i)->id;
    }
    for (int i = 0; i < out->n_rows; i++)
        w_put_int(&out->cells[i * W_COLS + 1], out->n_rows + w.n_lists_beyond);
}

static inline void w_run_tokens(const pg_params_t *params, pg_result_t *out)
{
    for (int i = 0; i < W_ACCOUNTS; i++) {
        uuid_t token = w_token_id(i);
        if (w.tokens[i].is_valid && w_param_has(params, 0, &token))
            w_row(out)[0].id = token;
    }
}

static inline void w_run_email(const pg_params_t *params, pg_result_t *out)
{
    if (slice_is(w_param(params, 0), "three@example.org"))
        w_row(out)[0].id = w_account(3);
}

static inline pg_result_t *w_execute(const char *sql, const pg_params_t *params)
{
    static const struct {
        const char *mark;
        void (*run)(const pg_params_t *params, pg_result_t *out);
    } rows[] = {
        {"EXISTS (SELECT 1 FROM event v", w_run_head},
        {"SELECT p.rev, p.body", w_run_page},
        {"a.email, a.name", w_run_account},
        {"UNBOUNDED PRECEDING", w_run_tasks},
        {"SELECT m.list, count(*)", w_run_lists_of},
        {"WHERE m.list = $1::uuid AND m.account = ANY", w_run_members},
        {"SELECT m.account FROM member m", w_run_accounts_of},
        {"FROM token t", w_run_tokens},
        {"FROM account WHERE lower", w_run_email},
    };
    pg_result_t *result = w_result_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strstr(sql, rows[i].mark) != NULL) {
            rows[i].run(params, result);
            return result;
        }
    }
    assert(!"a statement that this world does not know");
    return result;
}

err_t reads_query(reads_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                  void *arg)
{
    (void)self;
    if (w.is_down)
        return ERR_UNAVAILABLE;
    if (w.n_reads >= w.reads_limit)
        return ERR_OVERLOADED;
    w_read_t *read = w_new(sizeof *read);
    w_read_t **end = &w.reads;
    *read = (w_read_t){.sql = stmt->sql, .params = *params, .done = done, .arg = arg};
    read->params.bytes = (buf_t){0};
    buf_append_slice(&read->params.bytes, buf_slice(&params->bytes));
    while (*end != NULL)
        end = &(*end)->next;
    *end = read;
    w.n_reads++;
    return ERR_OK;
}

/* Answers the read at this place of those under way. */
static inline void w_answer(int at, pg_fate_t fate)
{
    w_read_t **link = &w.reads;
    while (at-- > 0)
        link = &(*link)->next;
    w_read_t *read = *link;
    *link = read->next;
    w.n_reads--;
    if (fate == PG_OK && read->result == NULL)
        read->result = w_execute(read->sql, &read->params);
    read->done(read->arg, fate, fate == PG_OK ? read->result : NULL);
    if (read->result != NULL)
        w_result_destroy(read->result);
    buf_fini(&read->params.bytes);
    free(read);
}

/* --- sync's connection --- */

pg_t *pg_new(const pg_options_t *options)
{
    (void)options;
    return &w.pg;
}
void pg_destroy(pg_t **self_p)
{
    *self_p = NULL;
}
bool pg_is_ready(const pg_t *self)
{
    (void)self;
    return !w.is_down;
}
int64_t pg_session(const pg_t *self)
{
    (void)self;
    return w.session;
}
err_t pg_sync(pg_t *self)
{
    (void)self;
    return ERR_OK;
}
void pg_loop_init(pg_loop_t *self, actor_t *actor, pg_t *pg)
{
    *self = (pg_loop_t){.actor = actor, .pg = pg};
}
void pg_loop_fini(pg_loop_t *self)
{
    (void)self;
}
/* Answers come when the test says so: w_answer_sync. */
int64_t pg_loop_turn(pg_loop_t *self, now_t now)
{
    (void)self;
    (void)now;
    return 1000;
}

static inline w_ask_t *w_ask(w_ask_kind_t kind, void *arg)
{
    w_ask_t *ask = w_new(sizeof *ask);
    w_ask_t **end = &w.asks;
    ask->kind = kind;
    ask->arg = arg;
    while (*end != NULL)
        end = &(*end)->next;
    *end = ask;
    return ask;
}

err_t pg_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
               void *arg)
{
    (void)self;
    bool is_epoch = strstr(stmt->sql, "log_epoch") != NULL;
    assert(is_epoch || strstr(stmt->sql, "SELECT stream, n FROM purged") != NULL);
    w_ask_t *ask = w_ask(is_epoch ? W_ASK_EPOCH : W_ASK_PURGED, arg);
    ask->done = done;
    if (!is_epoch)
        ask->after = w_param_int(params, 0);
    return ERR_OK;
}

err_t eventlog_heads(pg_t *pg, eventlog_heads_f *done, void *arg)
{
    (void)pg;
    w_ask(W_ASK_HEADS, arg)->on_heads = done;
    return ERR_OK;
}

err_t eventlog_read(pg_t *pg, const int64_t positions[N_SHARDS], shard_set_t shards, int limit,
                    const eventlog_reader_t *reader)
{
    (void)pg;
    w_ask_t *ask = w_ask(W_ASK_EVENTS, reader->arg);
    ask->reader = *reader;
    ask->shards = shards;
    ask->limit = limit;
    memcpy(ask->positions, positions, sizeof ask->positions);
    return ERR_OK;
}

static inline void w_answer_epoch(const w_ask_t *ask, pg_fate_t fate)
{
    pg_result_t *result = w_result_new();
    w_cell_t *row = w_row(result);
    w_put_bytes(result, &row[0], slice_of(w.epoch, EPOCH_CHARS));
    w_put_int(&row[1], w.n_purges);
    ask->done(ask->arg, fate, result);
    w_result_destroy(result);
}

static inline void w_answer_purged(const w_ask_t *ask, pg_fate_t fate)
{
    pg_result_t *result = w_result_new();
    for (int64_t n = ask->after + 1; n <= w.n_purges; n++) {
        for (int i = 0; i < W_STREAMS; i++) {
            if (w.streams[i].purged_n != n)
                continue;
            w_cell_t *row = w_row(result);
            row[0].id = w.streams[i].id;
            w_put_int(&row[1], n);
        }
    }
    ask->done(ask->arg, fate, result);
    w_result_destroy(result);
}

static inline void w_answer_heads(const w_ask_t *ask, pg_fate_t fate)
{
    int64_t heads[N_SHARDS] = {0};
    for (int i = 0; i < W_STREAMS; i++) {
        const w_stream_t *stream = &w.streams[i];
        int64_t *head = &heads[shard_of(&stream->id)];
        if (stream->n_events > 0 && stream->events[stream->n_events - 1].id > *head)
            *head = stream->events[stream->n_events - 1].id;
    }
    ask->on_heads(ask->arg, fate, fate == PG_OK ? heads : NULL);
}

static inline void w_tell_event(const w_ask_t *ask, const w_stream_t *stream, int64_t rev)
{
    const w_event_t *event = &stream->events[rev - 1];
    log_event_t from = {.id = event->id,
                        .shard = (uint8_t)shard_of(&stream->id),
                        .stream = stream->id,
                        .rev = rev,
                        .type = event->type,
                        .at_us = w.now.wall_us};
    memcpy(from.epoch, w.epoch, EPOCH_CHARS);
    from.body = event->is_purged ? slice_none() : buf_slice(&event->body);
    ask->reader.event(ask->reader.arg, &from);
}

/* The oldest event of a shard behind an id. */
static const w_stream_t *w_next_event(unsigned shard, int64_t after, int64_t *rev)
{
    const w_stream_t *found = NULL;
    for (int i = 0; i < W_STREAMS; i++) {
        const w_stream_t *stream = &w.streams[i];
        int at = 0;
        if (shard_of(&stream->id) != shard)
            continue;
        while (at < stream->n_events && stream->events[at].id <= after)
            at++;
        if (at < stream->n_events &&
            (found == NULL || stream->events[at].id < found->events[*rev - 1].id)) {
            found = stream;
            *rev = at + 1;
        }
    }
    return found;
}

static inline void w_answer_events(w_ask_t *ask, pg_fate_t fate)
{
    eventlog_end_t end = {.fate = fate};
    for (unsigned shard = 0; fate == PG_OK && shard < N_SHARDS; shard++) {
        int64_t rev;
        int n = 0;
        const w_stream_t *stream;
        if ((ask->shards >> shard & 1) == 0)
            continue;
        while (n < ask->limit &&
               (stream = w_next_event(shard, ask->positions[shard], &rev)) != NULL) {
            w_tell_event(ask, stream, rev);
            ask->positions[shard] = stream->events[rev - 1].id;
            n++;
        }
        if (n == ask->limit)
            end.more |= (shard_set_t)1 << shard;
    }
    ask->reader.end(ask->reader.arg, &end);
}

/* Answers the oldest of sync's questions. */
static inline void w_answer_sync(pg_fate_t fate)
{
    w_ask_t *ask = w.asks;
    w.asks = ask->next;
    if (ask->kind == W_ASK_EPOCH)
        w_answer_epoch(ask, fate);
    else if (ask->kind == W_ASK_HEADS)
        w_answer_heads(ask, fate);
    else if (ask->kind == W_ASK_PURGED)
        w_answer_purged(ask, fate);
    else
        w_answer_events(ask, fate);
    free(ask);
}

#endif
