/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's queue: commands come in, are located (which list is the task in?), wait in order, go
 * into the next batch, and are answered. One batch is under way at a time and takes what waits from
 * the front, so that everybody's commands are applied in the order in which they came. */
#include "actors/writer.h"
#include "actors/lineage.h"
#include "actors/message.h"
#include "actors/writer_batch.h"
#include "actors/writer_locate.h"

#include <stdlib.h>

/* A busy gateway sends hundreds of small messages while a large batch is applied and encoded. */
#define INBOX_LIMIT 1024
#define MAX_TOKENS_A_BATCH 100
/* Commands that look at subtasks, of which there may be many. */
#define MAX_TREES_A_BATCH 200
/* Of the commands' data; what they make of it is a few times as much. */
#define MAX_BATCH_BYTES ((size_t)4 * 1024 * 1024)
#define LOCK_WAIT_US INT64_C(2000000)
#define REPLY_TIMEOUT_US INT64_C(10000000)
#define FLUSH_BYTES (64 * 1024)
/* Commands that make very many events, or read very many rows. */
#define MAX_WIDE_A_BATCH 8
/* A command that was put back so often goes on with the locks of all shards. */
#define MAX_MOVES 2
/* An asker's inbox was full: look again soon. */
#define UNSENT_US INT64_C(5000)

static const char lane_options[] =
    "-c synchronous_commit=on -c idle_in_transaction_session_timeout=1500 -c "
    "statement_timeout=30000"
    /* Every statement finds its rows by key; whatever the planner thinks of arrays of unknown
       length. */
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off -c "
    "plan_cache_mode=force_generic_plan";

/* Ends whoever has held one of these shards for longer than any batch takes: a frozen process. */
static const pg_stmt_t end_holders = {
    "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = "
    "l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 7461 AND l.objid = "
    "ANY($1::integer[]::oid[])"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND l.pid <> $2::integer AND a.xact_start < now() - interval '2 seconds'"};

typedef struct {
    batch_t batch;
    port_t *port; /* made when first needed */
} return_t;

struct writer {
    network_t *network;
    actor_t *actor;
    lane_t lane;
    pending_list_t queue;
    size_t held_bytes; /* of the messages that all commands here came in */
    uint32_t n_groups; /* that were ever made of batches that failed */
    locator_t locator;
    pg_t *warden;
    pg_loop_t warden_loop;
    int64_t warden_mono_us;
    return_t returns[ADDRESS_COUNT];
    size_t n_unsent; /* of them, that found no room */
    size_t n_in_bulks; /* commands that are held until others of their bulk are located */
    log_once_t away;
    metric_t *commands_total;
    metric_t *refused_total;
    metric_t *batch_size;
    metric_t *ended_total;
};

/* --- answering --- */

/* Sends the results that are ready. Those for whom there is no room stay, and are sent in a later
 * turn: their askers bound what they have under way. */
static void flush_returns(writer_t *self)
{
    self->n_unsent = 0;
    for (uint32_t address = 0; address < ADDRESS_COUNT; address++) {
        return_t *ret = &self->returns[address];
        if (ret->batch.n_items == 0)
            continue;
        if (ret->port == NULL)
            ret->port = network_port(self->network, address);
        if (ret->port == NULL) {
            batch_fini(&ret->batch); /* a program without that actor */
        } else if (!port_has_room(ret->port)) {
            self->n_unsent++;
        } else {
            message_t message;
            batch_finish(&ret->batch, &message);
            (void)port_send(ret->port, &message);
        }
    }
}

/* Queues the result of a command and gives the command's memory back. */
static void answer(writer_t *self, pending_t *pending)
{
    uint32_t address = pending->command.reply_to;
    metric_add(self->commands_total, 1);
    if (pending->outcome.problem.err != ERR_OK)
        metric_add(self->refused_total, 1);
    if (address < ADDRESS_COUNT) {
        return_t *ret = &self->returns[address];
        result_t result = {pending->command.tag, pending->command.id, pending->command.op,
                           pending->outcome};
        /* It was not applied "before": we only did not know that it was. */
        if (pending->is_uncertain)
            result.outcome.is_replay = false;
        batch_begin(&ret->batch, MESSAGE_RESULTS);
        result_encode(&result, &ret->batch.buf);
        ret->batch.n_items++;
        if (ret->batch.buf.n_bytes >= FLUSH_BYTES)
            flush_returns(self);
    }
    pending_destroy(pending);
}

static void join_bulk(writer_t *self, pending_t *pending);

static void refuse(writer_t *self, pending_t *pending, err_t err, const char *detail)
{
    memset(&pending->outcome, 0, sizeof pending->outcome);
    pending->outcome.problem.err = err;
    pending->outcome.problem.detail = detail == NULL ? slice_none() : slice_str(detail);
    if (pending->bulk != NULL)
        join_bulk(self, pending);
    else
        answer(self, pending);
}

static void refuse_away(writer_t *self, pending_t *pending)
{
    if (pending->is_uncertain)
        refuse(self, pending, ERR_OUTCOME_UNKNOWN,
               "The database went away while this was being committed; send it again with the same "
               "id");
    else
        refuse(self, pending, ERR_UNAVAILABLE, NULL);
}

/* --- the queue --- */

static void find_shards(pending_t *pending)
{
    command_refs(&pending->command, &pending->refs);
    pending->shards = pending->n_moves >= MAX_MOVES
                          ? SHARDS_ALL
                          : command_shards(&pending->refs) | pending->found;
}

static void enqueue(writer_t *self, pending_t *pending)
{
    find_shards(pending);
    pending_append(&self->queue, pending);
}

/* For commands that were taken out already: they came before what is in the queue. */
static void put_in_front(writer_t *self, pending_list_t *commands)
{
    pending_join(commands, &self->queue);
    self->queue = *commands;
    *commands = (pending_list_t){0};
}

static const char too_wide[] =
    "An atomic bulk holds at most 8 commands that concern all members or tasks of a list.";
_Static_assert(MAX_WIDE_A_BATCH == 8, "the sentence says so");

static bool is_wide(const command_refs_t *refs)
{
    return !uuid_is_nil(&refs->members_of) || !uuid_is_nil(&refs->concerns.list);
}

static void refuse_bulk(writer_t *self, pending_list_t *members)
{
    for (pending_t *p; (p = pending_pop(members)) != NULL;) {
        if (p->outcome.problem.err == ERR_OK)
            p->outcome.problem.err = ERR_ABORTED;
        answer(self, p);
    }
}

/* Commands that one batch has no room for cannot be done together. */
static bool fits_one_batch(const pending_list_t *members)
{
    size_t n_wide = 0;
    for (const pending_t *p = members->first; p != NULL; p = p->next) {
        command_refs_t refs;
        command_refs(&p->command, &refs);
        n_wide += is_wide(&refs);
    }
    return n_wide <= MAX_WIDE_A_BATCH;
}

/* Holds a command of an atomic bulk until all of it are located; then they go on one behind the
 * other, or, if one is refused, none does. */
static void join_bulk(writer_t *self, pending_t *pending)
{
    bulk_t *bulk = pending->bulk;
    pending->bulk = NULL;
    bulk->is_refused = bulk->is_refused || pending->outcome.problem.err != ERR_OK;
    pending_append(&bulk->members, pending);
    self->n_in_bulks++;
    if (--bulk->n_awaited > 0)
        return;
    self->n_in_bulks -= bulk->members.n;
    self->n_groups++;
    if (!bulk->is_refused && !fits_one_batch(&bulk->members)) {
        bulk->is_refused = true;
        bulk->members.first->outcome.problem.err = ERR_TOO_LARGE;
        bulk->members.first->outcome.problem.detail = slice_str(too_wide);
    }
    if (bulk->is_refused)
        refuse_bulk(self, &bulk->members);
    for (pending_t *p; (p = pending_pop(&bulk->members)) != NULL;) {
        p->group = self->n_groups;
        p->is_atomic = true;
        enqueue(self, p);
    }
    free(bulk);
}

static void on_located(void *arg, pending_t *pending)
{
    if (pending->bulk != NULL)
        join_bulk(arg, pending);
    else
        enqueue(arg, pending);
}

/* The list of the command that is going to make this task. NULL: there is none. */
static const uuid_t *find_maker(const pending_list_t *list, const uuid_t *task)
{
    for (const pending_t *p = list->first; p != NULL; p = p->next) {
        if (p->command.op == OP_TASK_CREATE && uuid_eq(&p->command.task, task))
            return &p->command.list;
    }
    return NULL;
}

/* A task that is not there yet may be about to be: then the command comes behind the one that makes
 * it. */
static void on_not_found(void *arg, pending_t *pending)
{
    writer_t *self = arg;
    uuid_t task = command_place(&pending->command);
    const uuid_t *list = find_maker(&self->queue, &task);
    if (list == NULL)
        list = find_maker(&self->lane.batch, &task);
    if (list == NULL && pending->bulk != NULL)
        list = find_maker(&pending->bulk->members, &task);
    if (list == NULL) {
        refuse(self, pending, ERR_NOT_FOUND, APPLY_NO_TASK);
        return;
    }
    pending->command.list = *list;
    pending->is_located = true;
    on_located(self, pending);
}

static size_t n_waiting(const writer_t *self)
{
    return self->queue.n + locator_n_waiting(&self->locator) + self->n_in_bulks;
}

static void take_command(writer_t *self, intake_t *intake, const command_t *command, bulk_t *bulk,
                         bool has_room, now_t now)
{
    pending_t *pending = calloc(1, sizeof *pending);
    pending->intake = intake;
    pending->command = *command;
    pending->command.list = command_list(command);
    pending->deadline_mono_us = now.mono_us + self->network->config->outcome_timeout_us;
    pending->bulk = bulk;
    intake->n_users++;
    if (bulk == NULL && n_waiting(self) >= WRITER_MAX_QUEUE)
        refuse(self, pending, ERR_OVERLOADED, NULL);
    else if (!has_room)
        refuse(self, pending, ERR_OVERLOADED, NULL);
    else if (uuid_is_nil(&pending->command.list) && uuid_is_nil(&command->task))
        refuse(self, pending, ERR_NOT_FOUND, NULL);
    else
        locator_find(&self->locator, pending);
}

/* The commands of a message, one after the other. */
typedef struct {
    intake_t *intake;
    bool has_room;
    bulk_t *bulk; /* that the next commands belong to */
    uint32_t n_of_bulk; /* how many of them do */
    bool bulk_has_room;
} reading_t;

static void take_next(writer_t *self, reading_t *reading, const command_t *command, now_t now)
{
    bulk_t *bulk = NULL;
    if (command->n_bulk > 0) {
        reading->bulk = calloc(1, sizeof *reading->bulk);
        reading->bulk->n_awaited = reading->n_of_bulk = command->n_bulk;
        reading->bulk_has_room = n_waiting(self) + command->n_bulk <= WRITER_MAX_QUEUE;
    }
    if (reading->n_of_bulk > 0) {
        reading->n_of_bulk--;
        bulk = reading->bulk;
    }
    bool has_room = reading->has_room && (bulk == NULL || reading->bulk_has_room);
    take_command(self, reading->intake, command, bulk, has_room, now);
}

static void writer_receive(void *arg, slice_t bytes, now_t now)
{
    writer_t *self = arg;
    mp_reader_t content;
    uint32_t n = 0;
    reading_t reading = {.has_room = self->held_bytes + bytes.n_bytes <= WRITER_MAX_QUEUE_BYTES};
    reading.intake = intake_new(bytes, &self->held_bytes);
    if (message_kind(message_bytes(&reading.intake->message), &content) == MESSAGE_COMMANDS &&
        batch_open(&content, &n)) {
        for (uint32_t i = 0; i < n; i++) {
            command_t command;
            if (!command_decode(&content, reading.intake->arena, &command)) {
                log_line(LOG_ERROR, "writer", "a command could not be read", NULL);
                break;
            }
            take_next(self, &reading, &command, now);
        }
    }
    intake_release(reading.intake);
}

/* --- batches --- */

/* Moves the commands that come next from the queue into `batch`. An atomic bulk is not divided. */
static void gather(writer_t *self, pending_list_t *batch)
{
    size_t n_tokens = 0, n_wide = 0, n_trees = 0, n_bytes = 0;
    while (self->queue.n > 0 && batch->n < WRITER_MAX_BATCH &&
           (self->queue.first->is_atomic ||
            (n_tokens < MAX_TOKENS_A_BATCH && n_wide < MAX_WIDE_A_BATCH &&
             n_trees < MAX_TREES_A_BATCH && n_bytes < MAX_BATCH_BYTES)) &&
           (batch->n == 0 || self->queue.first->group == batch->first->group)) {
        pending_t *p = pending_pop(&self->queue);
        n_tokens += p->command.op == OP_TOKEN_CREATE;
        n_wide += is_wide(&p->refs);
        n_trees += p->refs.n_trees > 0;
        n_bytes += p->command.data.n_bytes;
        pending_append(batch, p);
    }
}

static void start_batch(writer_t *self, now_t now)
{
    if (self->queue.n == 0 || self->lane.state != LANE_IDLE || !pg_is_ready(self->lane.pg))
        return;
    pending_list_t batch = {0};
    gather(self, &batch);
    metric_observe(self->batch_size, (int64_t)batch.n);
    lane_start(&self->lane, &batch, now);
}

static void answer_batch(writer_t *self)
{
    lane_t *lane = &self->lane;
    bool has_events = state_n_events(lane->loaded) > 0;
    shard_set_t shards = lane->shards;
    pending_list_t later = {0};
    for (pending_t *p; (p = pending_pop(&lane->batch)) != NULL;) {
        if (p->is_put_back) {
            if (!uuid_is_nil(&p->moved_to))
                p->command.list = p->moved_to;
            p->found |= p->missing;
            p->n_moves += !uuid_is_nil(&p->moved_to) || p->missing != 0;
            find_shards(p);
            pending_append(&later, p);
            continue;
        }
        locator_learn(&self->locator, &p->outcome, &p->command);
        answer(self, p);
    }
    put_in_front(self, &later);
    flush_returns(self);
    if (has_events)
        network_log_grew(self->network, shards);
}

/* What a constraint says to the author of the command that broke it. */
static void refuse_poison(writer_t *self, const lane_t *lane, pending_t *p)
{
    if (strcmp(lane->constraint, "account_email") == 0) {
        refuse(self, p, ERR_EXISTS, "There is an account with this e-mail address");
    } else if (strcmp(lane->constraint, "task_pkey") == 0 ||
               strcmp(lane->constraint, "stream_pkey") == 0 ||
               strcmp(lane->constraint, "task_occurrence") == 0) {
        refuse(self, p, ERR_EXISTS, NULL);
    } else if (strcmp(lane->constraint, "event_command") == 0) {
        refuse(self, p, ERR_CONFLICT, "Another command with this id is being applied");
    } else {
        log_line(LOG_ERROR, "writer", "the database refused a command", "op=%s constraint=%s",
                 op_name(p->command.op), lane->constraint);
        refuse(self, p, ERR_INTERNAL, NULL);
    }
}

/* Somebody else had the same command in a batch at the same time: run again, it is found in the
 * log.
 */
static bool may_be_repeat(const lane_t *lane)
{
    return lane->batch.first->group == 0 && strcmp(lane->constraint, "event_command") == 0;
}

/* One bad command must not spoil the others: what was refused runs again in halves, until the bad
 * one is by itself. What failed for a reason that passes is tried one by one. An atomic bulk is by
 * itself already, and is one. */
static void isolate(writer_t *self, now_t now)
{
    lane_t *lane = &self->lane;
    bool is_atomic = lane->batch.first->is_atomic;
    bool is_single = is_atomic || (lane->batch.n == 1 && !may_be_repeat(lane));
    size_t n_left = lane->state == LANE_REJECTED ? (lane->batch.n + 1) / 2 : 1;
    size_t n_group = n_left;
    pending_list_t again = {0};
    self->n_groups++;
    for (pending_t *p; (p = pending_pop(&lane->batch)) != NULL;) {
        if (now.mono_us >= p->deadline_mono_us || (is_single && lane->state == LANE_GIVEN_UP))
            refuse_away(self, p);
        else if (is_single)
            refuse_poison(self, lane, p);
        else {
            if (n_left == 0) {
                self->n_groups++;
                n_left = n_group;
            }
            n_left--;
            p->group = self->n_groups;
            pending_append(&again, p);
        }
    }
    put_in_front(self, &again);
    flush_returns(self);
}

static void settle_lane(writer_t *self, now_t now)
{
    lane_t *lane = &self->lane;
    switch (lane->state) {
    case LANE_COMMITTED:
        answer_batch(self);
        lane_finish(lane);
        break;
    case LANE_REJECTED:
    case LANE_GIVEN_UP:
        isolate(self, now);
        lane_finish(lane);
        break;
    case LANE_IDLE:
    case LANE_LOADING:
    case LANE_STORING:
    case LANE_ROLLING_BACK:
    case LANE_BACKING_OFF:
        break;
    }
}

/* --- the database away, and who is frozen --- */

static void expire_queue(writer_t *self, now_t now)
{
    while (self->queue.first != NULL && now.mono_us >= self->queue.first->deadline_mono_us)
        refuse_away(self, pending_pop(&self->queue));
    for (pending_t *p; (p = locator_expired(&self->locator, now)) != NULL;)
        refuse_away(self, p);
}

/* The connection that is missing: the one that writes, or the one that locates. NULL: none. */
static const pg_t *missing(const writer_t *self)
{
    if (!pg_is_connected(self->lane.pg))
        return self->lane.pg;
    return pg_is_connected(self->warden) ? NULL : self->warden;
}

static void note_readiness(writer_t *self)
{
    const pg_t *pg = missing(self);
    network_set_ready(self->network, pg == NULL, pg == NULL ? "" : pg_trouble(pg));
    if (pg == NULL) {
        if (log_clear(&self->away))
            log_line(LOG_INFO, "writer", "the database is there", NULL);
        return;
    }
    bool is_connecting = pg_session(pg) == 0 && pg_trouble(pg)[0] == '\0';
    if (!is_connecting && log_once(&self->away))
        log_line(LOG_WARN, "writer", "the database is away", "why=\"%s\"", pg_trouble(pg));
}

static void on_holders_ended(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    writer_t *self = arg;
    if (fate != PG_OK || pg_rows(result) != 1 || pg_int(result, 0, 0) == 0)
        return;
    metric_add(self->ended_total, pg_int(result, 0, 0));
    log_line(LOG_WARN, "writer", "ended sessions that held shards and did not go on", "sessions=%d",
             (int)pg_int(result, 0, 0));
}

static void watch_locks(writer_t *self, now_t now)
{
    const lane_t *lane = &self->lane;
    pg_params_t params = {0};
    if (now.mono_us - self->warden_mono_us < LOCK_WAIT_US / 4 || !pg_is_ready(self->warden) ||
        pg_in_flight(self->warden) > 0)
        return;
    if (lane->state != LANE_LOADING || now.mono_us - lane->started_mono_us <= LOCK_WAIT_US)
        return;
    self->warden_mono_us = now.mono_us;
    pg_array_begin(&params, PG_I32);
    for (int shard = 0; shard < N_SHARDS; shard++) {
        if (lane->shards >> shard & 1)
            pg_array_i32(&params, shard);
    }
    pg_array_end(&params);
    pg_put_i32(&params, pg_backend_pid(lane->pg));
    if (pg_query(self->warden, &end_holders, &params, on_holders_ended, self) == ERR_OK)
        (void)pg_sync(self->warden);
    pg_params_fini(&params);
}

/* --- the actor --- */

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long the lane needs no turn, whatever its connection does. */
static int64_t lane_sleep_us(const lane_t *lane)
{
    switch (lane->state) {
    case LANE_COMMITTED:
    case LANE_REJECTED:
    case LANE_GIVEN_UP:
        return 0;
    case LANE_BACKING_OFF:
        return INT64_C(20000);
    case LANE_IDLE:
    case LANE_LOADING:
    case LANE_STORING:
    case LANE_ROLLING_BACK:
        break;
    }
    return INT64_MAX;
}

static int64_t writer_due(void *arg, now_t now)
{
    writer_t *self = arg;
    int64_t sleep_us = INT64_C(250000);
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->lane.loop, now));
    lane_turn(&self->lane, now);
    settle_lane(self, now);
    watch_locks(self, now);
    locator_turn(&self->locator);
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->warden_loop, now));
    expire_queue(self, now);
    start_batch(self, now);
    flush_returns(self);
    note_readiness(self);
    /* What was queued just now is sent before we wait; that may also bring an answer. */
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->lane.loop, now));
    sleep_us = shorter(sleep_us, lane_sleep_us(&self->lane));
    if (self->n_unsent > 0)
        sleep_us = shorter(sleep_us, UNSENT_US);
    actor_note(self->actor, "queue", (int64_t)self->queue.n);
    actor_note(self->actor, "queue_limit", WRITER_MAX_QUEUE);
    actor_note(self->actor, "queue_bytes", (int64_t)self->held_bytes);
    return sleep_us;
}

static bool writer_drain(void *arg, now_t now)
{
    writer_t *self = arg;
    (void)now;
    return self->queue.n == 0 && self->n_unsent == 0 && locator_n_waiting(&self->locator) == 0 &&
           self->lane.state == LANE_IDLE;
}

static void open_lane(writer_t *self, lane_t *lane)
{
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire writer",
                            .options = lane_options,
                            .reply_timeout_us = REPLY_TIMEOUT_US};
    lineage_guard(self->network->lineage, &options);
    lane->pg = pg_new(&options);
    lane->arena = arena_new();
    pg_loop_init(&lane->loop, self->actor, lane->pg);
    lane->load_seconds =
        metrics_duration(self->network->metrics, "taskwire_writer_load_seconds", NULL,
                         "Time to lock the shards and read what a batch needs");
    lane->commit_seconds =
        metrics_duration(self->network->metrics, "taskwire_writer_commit_seconds", NULL,
                         "Time of a batch from its start to its commit");
}

static err_t writer_open(void *arg, actor_t *actor)
{
    writer_t *self = arg;
    (void)actor;
    metrics_t *metrics = self->network->metrics;
    self->commands_total =
        metrics_counter(metrics, "taskwire_commands_total", NULL, "Commands answered");
    self->refused_total =
        metrics_counter(metrics, "taskwire_commands_refused_total", NULL, "Commands refused");
    self->batch_size =
        metrics_size(metrics, "taskwire_writer_batch_commands", NULL, "Commands in a batch");
    self->ended_total =
        metrics_counter(metrics, "taskwire_writer_sessions_ended_total", NULL,
                        "Sessions of frozen processes that were ended for holding shards");
    open_lane(self, &self->lane);
    const pg_options_t options = {.url = self->network->config->database_url,
                                  .who = "taskwire writer's warden",
                                  .options = "-c statement_timeout=5000",
                                  .reply_timeout_us = REPLY_TIMEOUT_US};
    self->warden = pg_new(&options);
    pg_loop_init(&self->warden_loop, self->actor, self->warden);
    locator_init(&self->locator, self->warden, on_located, on_not_found, self);
    return ERR_OK;
}

static void writer_close(void *arg)
{
    writer_t *self = arg;
    lane_t *lane = &self->lane;
    pg_loop_fini(&lane->loop);
    pg_destroy(&lane->pg);
    for (pending_t *p; (p = pending_pop(&lane->batch)) != NULL;)
        refuse_away(self, p);
    arena_destroy(&lane->arena);
    pg_params_fini(&lane->params);
    pg_loop_fini(&self->warden_loop);
    pg_destroy(&self->warden);
    for (pending_t *p; (p = pending_pop(&self->queue)) != NULL;)
        refuse_away(self, p);
    for (pending_t *p; (p = locator_take(&self->locator)) != NULL;)
        refuse_away(self, p);
    locator_fini(&self->locator);
    flush_returns(self);
    for (uint32_t address = 0; address < ADDRESS_COUNT; address++) {
        port_destroy(&self->returns[address].port);
        batch_fini(&self->returns[address].batch);
    }
}

static const actor_ops_t writer_ops = {
    .name = "writer",
    .open = writer_open,
    .receive = writer_receive,
    .due = writer_due,
    .drain = writer_drain,
    .close = writer_close,
};

writer_t *writer_new(network_t *network)
{
    writer_t *self = calloc(1, sizeof *self);
    self->network = network;
    self->actor = actor_new(&writer_ops, self, network->post, "writer", INBOX_LIMIT);
    network->actors[ADDRESS_WRITER] = self->actor;
    return self;
}

actor_t *writer_actor(writer_t *self)
{
    return self->actor;
}

void writer_destroy(writer_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
