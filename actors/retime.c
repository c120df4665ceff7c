/* SPDX-License-Identifier: Apache-2.0 */
/* A page of tasks at a time, in the order of their ids; the next one is read when all commands of
 * the last have their results. What fails begins again from the first page: that is rare, and what
 * has been done needs no command any more. */
#include "actors/retime.h"

#include "actors/commander.h"
#include "actors/lineage.h"
#include "actors/log.h"
#include "actors/pg_loop.h"
#include "schema/due.h"
#include "schema/zone_data.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define PAGE 500
#define RETRY_US (2 * US_PER_S)

typedef enum {
    RETIME_ASKING, /* which data was it */
    RETIME_READING, /* a page of tasks */
    RETIME_WAITING, /* for the results of its commands */
    RETIME_NOTING, /* the data in the database */
    RETIME_DONE,
} retime_state_t;

struct retime {
    network_t *network;
    actor_t *actor;
    commander_t *commander;
    pg_t *pg;
    pg_loop_t loop;
    pg_params_t params;
    retime_state_t state;
    bool is_under_way; /* a statement */
    int64_t retry_mono_us;
    char digest[ZONE_DATA_CHARS + 1];
    uuid_t last; /* task that was looked at */
    bool is_last_page;
    int64_t n_changed;
};

/* Nil would be NULL. */
static const uuid_t before_all = {{[UUID_BYTES - 1] = 1}};

static const pg_stmt_t select_digest = {"SELECT digest FROM zone_data"};
static const pg_stmt_t select_tasks = {
    "SELECT id, body FROM task WHERE id > $1::uuid AND status < 2 AND deleted_at IS NULL"
    " AND due_at IS NOT NULL ORDER BY id LIMIT 500"};
static const pg_stmt_t upsert_digest = {
    "INSERT INTO zone_data (digest) VALUES ($1::text) ON CONFLICT (only_row) DO UPDATE"
    " SET digest = excluded.digest, since = now()"};

bool retime_step(const task_t *task, const char *digest, arena_t *arena, command_t *out)
{
    due_t due;
    if (!task_is_live(task) || task->due.data == NULL || !zone_is_known(task->time_zone) ||
        !due_resolve(task->due, task->time_zone, arena, &due) || due.at_us == task->due_at_us)
        return false;
    *out = (command_t){
        .author = author_retime, .is_actor = true, .op = OP_TASK_RETIME, .task = task->id};
    out->id =
        uuid_derive(&task->id, arena_format(arena, "retime:%lld:%s", (long long)task->rev, digest));
    command_fingerprint(out);
    return true;
}

/* --- steps --- */

static void fail(retime_t *self)
{
    self->state = RETIME_ASKING;
    self->retry_mono_us = clock_now().mono_us + RETRY_US;
}

static void begin_reading(retime_t *self)
{
    self->state = RETIME_READING;
    self->last = before_all;
    self->is_last_page = false;
    self->n_changed = 0;
}

static void on_digest(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    retime_t *self = arg;
    self->is_under_way = false;
    if (fate != PG_OK)
        fail(self);
    else if (pg_rows(result) == 1 && slice_is(pg_bytes(result, 0, 0), self->digest))
        self->state = RETIME_DONE;
    else
        begin_reading(self);
}

static void on_result(void *arg, const result_t *result)
{
    retime_t *self = arg;
    self->n_changed += result->outcome.problem.err == ERR_OK && !result->outcome.is_replay;
}

static void handle_task(retime_t *self, slice_t body, arena_t *arena)
{
    task_t *task = arena_alloc(arena, sizeof *task);
    command_t command;
    if (task_decode(body, arena, task) && retime_step(task, self->digest, arena, &command))
        commander_send(self->commander, &command, on_result, self);
}

static void on_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    retime_t *self = arg;
    self->is_under_way = false;
    if (fate != PG_OK) {
        fail(self);
        return;
    }
    arena_t *arena = arena_new();
    int n_rows = pg_rows(result);
    for (int row = 0; row < n_rows; row++) {
        handle_task(self, pg_bytes(result, row, 1), arena);
        self->last = pg_uuid(result, row, 0);
        arena_reset(arena);
    }
    arena_destroy(&arena);
    self->is_last_page = n_rows < PAGE;
    self->state = RETIME_WAITING;
}

static void on_noted(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    retime_t *self = arg;
    (void)result;
    self->is_under_way = false;
    if (fate != PG_OK) {
        fail(self);
        return;
    }
    self->state = RETIME_DONE;
    log_line(LOG_INFO, "retime", "due dates are by the time zone data that is there",
             "data=%s changed=%lld", self->digest, (long long)self->n_changed);
}

static void ask(retime_t *self, const pg_stmt_t *stmt, pg_done_f *done)
{
    self->is_under_way = true;
    if (pg_query(self->pg, stmt, &self->params, done, self) == ERR_OK &&
        pg_sync(self->pg) == ERR_OK)
        return;
    self->is_under_way = false;
    fail(self);
}

static void go_on(retime_t *self, now_t now)
{
    if (self->state == RETIME_WAITING && commander_n_under_way(self->commander) == 0)
        self->state = self->is_last_page ? RETIME_NOTING : RETIME_READING;
    if (self->is_under_way || !pg_is_ready(self->pg) || now.mono_us < self->retry_mono_us)
        return;
    pg_params_reset(&self->params);
    switch (self->state) {
    case RETIME_ASKING:
        ask(self, &select_digest, on_digest);
        break;
    case RETIME_READING:
        pg_put_uuid(&self->params, &self->last);
        ask(self, &select_tasks, on_tasks);
        break;
    case RETIME_NOTING:
        pg_put_text(&self->params, slice_str(self->digest));
        ask(self, &upsert_digest, on_noted);
        break;
    case RETIME_WAITING:
    case RETIME_DONE:
        break;
    }
}

/* --- the actor --- */

static void retime_receive(void *arg, slice_t bytes, now_t now)
{
    retime_t *self = arg;
    mp_reader_t content;
    if (message_kind(bytes, &content) == MESSAGE_RESULTS)
        commander_receive(self->commander, &content, now);
}

static void hang_up(retime_t *self)
{
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
}

/* The connection is needed at the start only. */
static int64_t retime_due(void *arg, now_t now)
{
    retime_t *self = arg;
    if (self->state == RETIME_DONE) {
        hang_up(self);
        return ACTOR_SLEEP_MAX_US;
    }
    int64_t sleep_us = pg_loop_turn(&self->loop, now);
    go_on(self, now);
    int64_t loop_us = pg_loop_turn(&self->loop, now);
    int64_t commands_us = commander_turn(self->commander, now);
    actor_note(self->actor, "commands", (int64_t)commander_n_under_way(self->commander));
    sleep_us = loop_us < sleep_us ? loop_us : sleep_us;
    sleep_us = commands_us < sleep_us ? commands_us : sleep_us;
    if (self->state == RETIME_DONE)
        return 0;
    return sleep_us < RETRY_US ? sleep_us : RETRY_US;
}

static err_t retime_open(void *arg, actor_t *actor)
{
    retime_t *self = arg;
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire retime",
                            .options = "-c statement_timeout=10000 -c jit=off -c enable_seqscan=off"
                                       " -c plan_cache_mode=force_generic_plan",
                            .reply_timeout_us = 10 * US_PER_S};
    if (!zone_data_digest(self->digest)) {
        log_line(LOG_ERROR, "retime", "there is no time zone data", "folder=%s", zone_folder());
        self->state = RETIME_DONE;
    }
    self->commander = commander_new(self->network, ADDRESS_RETIME);
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    return ERR_OK;
}

static void retime_close(void *arg)
{
    retime_t *self = arg;
    hang_up(self);
    pg_params_fini(&self->params);
    commander_destroy(&self->commander);
}

static const actor_ops_t retime_ops = {
    .name = "retime",
    .open = retime_open,
    .receive = retime_receive,
    .due = retime_due,
    .close = retime_close,
};

retime_t *retime_new(network_t *network)
{
    retime_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&retime_ops, self, network->post, "retime", INBOX_LIMIT);
    network->actors[ADDRESS_RETIME] = self->actor;
    return self;
}

actor_t *retime_actor(retime_t *self)
{
    return self->actor;
}

void retime_destroy(retime_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
