/* SPDX-License-Identifier: Apache-2.0 */
/* A batch's way through its transaction. Two round trips: locks and reads in the first, writes and
 * COMMIT in the second; between them one or two more where a task takes others along. The locks
 * come before anything that draws a transaction id or an event id, so that within a shard the order
 * of ids is the order in which transactions become visible.
 *
 * A connection that breaks after COMMIT was sent leaves the outcome open. The batch is then simply
 * run again: taking the same locks waits for the end of the old transaction, and a command that it
 * had committed is found by its id and answered as the repeat that it is. */
#include "actors/writer_batch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES 3
#define BACK_OFF_US INT64_C(50000)
/* In a transaction: one command more may come on top. */
#define MAX_EVENTS 4096

static const pg_stmt_t begin = {"BEGIN ISOLATION LEVEL READ COMMITTED"};
static const pg_stmt_t commit = {"COMMIT"};
static const pg_stmt_t rollback = {"ROLLBACK"};
/* Ascending, in the order of the array: no two batches can wait for each other. 7461 names our
 * locks among others. */
static const pg_stmt_t lock_shards = {
    "SELECT count(pg_advisory_xact_lock(7461, shard)) FROM unnest($1::integer[]) AS k(shard)"};

/* --- pending commands --- */

void pending_append(pending_list_t *list, pending_t *pending)
{
    pending->next = NULL;
    if (list->end == NULL)
        list->end = &list->first;
    *list->end = pending;
    list->end = &pending->next;
    list->n++;
}

pending_t *pending_pop(pending_list_t *list)
{
    pending_t *pending = list->first;
    if (pending == NULL)
        return NULL;
    list->first = pending->next;
    if (list->first == NULL)
        list->end = NULL;
    pending->next = NULL;
    list->n--;
    return pending;
}

void pending_join(pending_list_t *front, pending_list_t *back)
{
    if (back->n == 0)
        return;
    if (front->n == 0) {
        *front = *back;
    } else {
        *front->end = back->first;
        front->end = back->end;
        front->n += back->n;
    }
    *back = (pending_list_t){0};
}

void pending_destroy(pending_t *pending)
{
    intake_release(pending->intake);
    free(pending);
}

intake_t *intake_new(slice_t bytes, size_t *held)
{
    intake_t *self = calloc(1, sizeof *self);
    message_init(&self->message, bytes);
    self->arena = arena_new();
    self->n_users = 1;
    self->n_bytes = bytes.n_bytes;
    self->held = held;
    *held += bytes.n_bytes;
    return self;
}

void intake_release(intake_t *intake)
{
    if (--intake->n_users > 0)
        return;
    *intake->held -= intake->n_bytes;
    message_fini(&intake->message);
    arena_destroy(&intake->arena);
    free(intake);
}

/* --- the transaction --- */

bool lane_note_fate(lane_t *self, pg_fate_t fate, const pg_result_t *result)
{
    if (fate == PG_OK)
        return true;
    if (fate == PG_SKIPPED || self->fate != PG_OK)
        return false;
    self->fate = fate;
    if (result != NULL) {
        snprintf(self->constraint, sizeof self->constraint, "%s", pg_constraint(result));
        log_line(LOG_DEBUG, "writer", "statement failed",
                 "sqlstate=%s constraint=%s message=\"%s\"", pg_sqlstate(result), self->constraint,
                 pg_message(result));
    }
    return false;
}

static void on_step(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_note_fate(arg, fate, result);
}

static void back_off(lane_t *self)
{
    self->state = LANE_BACKING_OFF;
    self->retry_mono_us = self->started_mono_us + BACK_OFF_US;
}

/* What is to be done about the failure, now that no transaction is open any more. */
static void decide(lane_t *self)
{
    if (self->fate == PG_REJECTED)
        self->state = LANE_REJECTED;
    else if (self->fate == PG_RETRY && ++self->n_tries >= TRIES)
        self->state = LANE_GIVEN_UP;
    else
        back_off(self);
}

static void on_rolled_back(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    (void)result;
    if (fate == PG_LOST)
        self->fate = PG_LOST;
    decide(self);
}

static void fail(lane_t *self)
{
    if (self->fate == PG_LOST) {
        decide(self);
        return;
    }
    self->state = LANE_ROLLING_BACK;
    if (pg_query(self->pg, &rollback, NULL, on_rolled_back, self) != ERR_OK ||
        pg_sync(self->pg) != ERR_OK)
        decide(self);
}

/* Whether this run changed something for the command: neither refused nor found to be a repeat. */
static bool was_applied(const pending_t *p)
{
    return !p->is_put_back && p->outcome.problem.err == ERR_OK && !p->outcome.is_replay;
}

static void on_committed(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (lane_note_fate(self, fate, result)) {
        self->state = LANE_COMMITTED;
        metric_observe(self->commit_seconds, clock_now().mono_us - self->started_mono_us);
        return;
    }
    /* Anything but a broken connection tells for certain that nothing was committed. */
    bool is_uncertain = self->fate == PG_LOST;
    for (pending_t *p = self->batch.first; p != NULL; p = p->next)
        p->is_uncertain = p->is_uncertain || (is_uncertain && was_applied(p));
    fail(self);
}

/* The list that a task is in now, if it had moved there before the locks were taken: the command
 * must be run again under other locks. Else nil. A repeat changes nothing whatever list it names,
 * but the one where the task is now must be loaded to show it. */
static uuid_t moved_to(lane_t *self, const pending_t *p)
{
    uuid_t place = command_place(&p->command);
    const state_task_t *task = state_task(self->loaded, &place);
    if (task == NULL || uuid_eq(&task->task.list, &p->command.list))
        return UUID_NIL;
    bool is_repeat = state_seen(self->loaded, &p->command.author, &p->command.id) != NULL &&
                     state_list(self->loaded, &task->task.list) == NULL;
    return p->is_located || is_repeat ? task->task.list : UUID_NIL;
}

/* Whether one before it that was put back is of the same author, stream or task. */
static bool follows_one_put_back(const lane_t *self, const pending_t *p)
{
    for (const pending_t *q = self->batch.first; q != p; q = q->next) {
        if (q->is_put_back &&
            (uuid_eq(&q->command.author, &p->command.author) ||
             uuid_eq(&q->command.list, &p->command.list) ||
             (!uuid_is_nil(&p->command.task) && uuid_eq(&q->command.task, &p->command.task))))
            return true;
    }
    return false;
}

/* Something that the command needs is not loaded: it waits for the next batch. The first of a batch
 * has all it needs, or never will. */
static void put_off(lane_t *self, pending_t *p)
{
    bool is_first = p == self->batch.first;
    memset(&p->outcome, 0, sizeof p->outcome);
    p->is_put_back = !is_first;
    if (!is_first)
        return;
    log_line(LOG_ERROR, "writer", "a command lacks what it needs", "op=%s", op_name(p->command.op));
    p->outcome.problem.err = ERR_INTERNAL;
}

/* Whether the batch cannot apply it: its task is in a list that was not loaded for its author. */
static bool is_out_of_reach(lane_t *self, pending_t *p)
{
    p->moved_to = moved_to(self, p);
    if (uuid_is_nil(&p->moved_to))
        return false;
    if ((shard_bit(&p->moved_to) & ~self->shards) != 0 ||
        state_member(self->loaded, &p->moved_to, &p->command.author) == NULL)
        return true;
    /* One before it in the bulk has moved the task. */
    p->command.list = p->moved_to;
    p->moved_to = UUID_NIL;
    return false;
}

static void refuse_in_bulk(pending_t *p, err_t err, const char *detail)
{
    memset(&p->outcome, 0, sizeof p->outcome);
    p->outcome.problem.err = err;
    p->outcome.problem.detail = slice_str(detail);
}

/* Applies the commands until one is refused, or cannot be applied in this batch. NULL: none. */
static pending_t *apply_until_refused(lane_t *self, int64_t now_us)
{
    for (pending_t *p = self->batch.first; p != NULL; p = p->next) {
        p->is_put_back = is_out_of_reach(self, p);
        if (p->is_put_back)
            return p;
        apply(&p->command, self->loaded, now_us, &p->outcome);
        p->missing = p->outcome.missing;
        p->is_put_back = p->missing != 0;
        if (p->outcome.is_unready)
            refuse_in_bulk(p, ERR_CONFLICT,
                           "This cannot be done together with what stands before "
                           "it in the bulk.");
        else if (state_n_events(self->loaded) > MAX_EVENTS)
            refuse_in_bulk(p, ERR_TOO_LARGE, "The bulk changes too many tasks at once.");
        if (p->is_put_back || p->outcome.problem.err != ERR_OK)
            return p;
    }
    return NULL;
}

/* An atomic bulk has the batch for itself: if one of it is refused, nothing is stored of what the
 * others did to the state. */
static void apply_bulk(lane_t *self, int64_t now_us)
{
    for (pending_t *p = self->batch.first; p != NULL; p = p->next) {
        memset(&p->outcome, 0, sizeof p->outcome);
        p->moved_to = UUID_NIL;
        p->missing = 0;
        p->is_put_back = false;
    }
    const pending_t *refused = apply_until_refused(self, now_us);
    if (refused == NULL)
        return;
    self->loaded = state_new(self->arena, self->epoch);
    for (pending_t *p = self->batch.first; p != NULL; p = p->next) {
        p->is_put_back = refused->is_put_back;
        if (p == refused)
            continue;
        memset(&p->outcome, 0, sizeof p->outcome);
        p->outcome.problem.err = ERR_ABORTED;
    }
}

static void apply_all(lane_t *self, int64_t now_us)
{
    bool has_any = false;
    if (self->batch.first->is_atomic) {
        apply_bulk(self, now_us);
        return;
    }
    for (pending_t *p = self->batch.first; p != NULL; p = p->next) {
        memset(&p->outcome, 0, sizeof p->outcome);
        p->moved_to = moved_to(self, p);
        p->missing = 0;
        p->is_put_back = !uuid_is_nil(&p->moved_to) || state_n_events(self->loaded) > MAX_EVENTS ||
                         (has_any && follows_one_put_back(self, p));
        if (!p->is_put_back) {
            apply(&p->command, self->loaded, now_us, &p->outcome);
            p->missing = p->outcome.missing;
            p->is_put_back = p->missing != 0;
            if (p->outcome.is_unready)
                put_off(self, p);
        }
        has_any = has_any || p->is_put_back;
    }
}

static void on_loaded(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    lane_note_fate(self, fate, result);
    if (self->fate == PG_OK && self->loaded == NULL) {
        log_line(LOG_ERROR, "writer", "the database has no epoch", NULL);
        self->fate = PG_RETRY;
    }
    if (self->fate != PG_OK) {
        fail(self);
        return;
    }
    if (lane_queue_more(self)) {
        if (pg_sync(self->pg) == ERR_OK)
            return;
        self->fate = PG_LOST;
        fail(self);
        return;
    }
    now_t now = clock_now();
    metric_observe(self->load_seconds, now.mono_us - self->started_mono_us);
    apply_all(self, now.wall_us);
    self->state = LANE_STORING;
    if (state_n_events(self->loaded) > 0)
        lane_queue_store(self);
    if (pg_query(self->pg, &commit, NULL, on_committed, self) != ERR_OK ||
        pg_sync(self->pg) != ERR_OK) {
        self->fate = PG_LOST;
        fail(self);
    }
}

static void put_shards(lane_t *self)
{
    pg_params_reset(&self->params);
    pg_array_begin(&self->params, PG_I32);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (self->shards >> shard & 1)
            pg_array_i32(&self->params, (int32_t)shard);
    }
    pg_array_end(&self->params);
}

static void send(lane_t *self, now_t now)
{
    arena_reset(self->arena);
    self->loaded = NULL;
    self->fate = PG_OK;
    self->constraint[0] = '\0';
    self->session = pg_session(self->pg);
    self->started_mono_us = now.mono_us;
    self->state = LANE_LOADING;
    put_shards(self);
    (void)pg_query(self->pg, &begin, NULL, on_step, self);
    (void)pg_query(self->pg, &lock_shards, &self->params, on_step, self);
    lane_queue_load(self, on_loaded);
    (void)pg_sync(self->pg);
}

void lane_start(lane_t *self, pending_list_t *commands, now_t now)
{
    assert(self->state == LANE_IDLE && self->batch.n == 0);
    self->batch = *commands;
    *commands = (pending_list_t){0};
    self->n_tries = 0;
    self->shards = 0;
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next)
        self->shards |= p->shards;
    send(self, now);
}

static bool is_past_deadline(const lane_t *self, now_t now)
{
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (now.mono_us < p->deadline_mono_us)
            return false;
    }
    return true;
}

void lane_turn(lane_t *self, now_t now)
{
    bool is_under_way = self->state == LANE_LOADING || self->state == LANE_STORING ||
                        self->state == LANE_ROLLING_BACK;
    if (is_under_way && (pg_session(self->pg) != self->session || !pg_is_connected(self->pg))) {
        /* It broke while statements were being queued, so that no callback could tell. */
        self->fate = PG_LOST;
        decide(self);
    }
    if (self->state != LANE_BACKING_OFF)
        return;
    if (is_past_deadline(self, now))
        self->state = LANE_GIVEN_UP;
    else if (now.mono_us >= self->retry_mono_us && pg_is_ready(self->pg))
        send(self, now);
}

void lane_finish(lane_t *self)
{
    assert(self->batch.n == 0);
    self->state = LANE_IDLE;
    self->shards = 0;
    self->loaded = NULL;
    arena_reset(self->arena);
}
