/* SPDX-License-Identifier: Apache-2.0 */
/* A batch of events is acknowledged when the last of its commands has its final result. A refusal
 * because the world went on (the task reopened, deleted, moved, the successor there) is a fine
 * result. */
#include "actors/recurrence.h"

#include "actors/commander.h"
#include "schema/next_due.h"

#include <stdlib.h>

/* Per port: batches of the relay's, results of the writer's. */
#define INBOX_LIMIT 256

typedef struct recurrence_batch {
    struct recurrence_batch *next;
    recurrence_t *owner;
    uint64_t seq;
    size_t n_open; /* commands without result, and one while it is being read */
    arena_t *arena;
    reject_t *rejects;
    size_t n_rejects;
} recurrence_batch_t;

/* What a command was sent for. */
typedef struct {
    recurrence_batch_t *batch;
    int64_t event_id;
    uuid_t stream;
    int64_t rev;
    trace_t trace; /* of the event */
    uuid_t successor; /* that it would make */
    uuid_t leaver; /* who was removed; */
    int64_t n_releases; /* commands sent about his tasks */
} cause_t;

struct recurrence {
    network_t *network;
    actor_t *actor;
    commander_t *commander;
    port_t *acks;
    recurrence_batch_t *batches; /* not acknowledged yet */
    size_t n_batches;
    metric_t *successors_total;
};

/* --- the pure step --- */

static slice_t encode_data(const task_t *closed, arena_t *arena)
{
    buf_t buf = {0};
    mp_put_map(&buf, 2);
    mp_put_cstr(&buf, "succeeds");
    mp_put_uuid(&buf, &closed->id);
    mp_put_cstr(&buf, "closed_rev");
    mp_put_int(&buf, closed->closed_rev);
    slice_t data = arena_copy(arena, buf_slice(&buf));
    buf_fini(&buf);
    return data;
}

/* Restored after it was closed: had it been deleted before its successor was made, that is still
 * missing. */
static bool may_close(event_type_t type)
{
    return type == EVENT_TASK_COMPLETED || type == EVENT_TASK_CANCELLED ||
           type == EVENT_TASK_RESTORED || type == EVENT_TASK_DELETED;
}

/* Of a deletion only that by which an open occurrence was closed counts. */
static bool is_closed_by(const event_t *event, const task_t *task)
{
    if (event->type == EVENT_TASK_DELETED)
        return task->closed_rev == event->rev;
    return !task_is_live(task);
}

/* The list only tells commands apart: the successor goes where the task before is by then. */
static void address(const event_t *event, command_t *command)
{
    command->list = event->stream;
    command_fingerprint(command);
    command->list = UUID_NIL;
}

succession_t recurrence_step(const event_t *event, arena_t *arena, command_t *out, slice_t *why)
{
    task_t *closed = arena_alloc(arena, sizeof *closed);
    next_due_t next;
    *why = slice_none();
    if (!may_close(event->type))
        return SUCCESSION_NONE;
    if (!task_decode(event->after, arena, closed)) {
        *why = slice_str("the event holds no task");
        return SUCCESSION_WRONG;
    }
    if (closed->rule.n_bytes == 0 || !is_closed_by(event, closed))
        return SUCCESSION_NONE;
    if (!next_due(closed, arena, &next, why))
        return why->data == NULL ? SUCCESSION_NONE : SUCCESSION_WRONG;
    memset(out, 0, sizeof *out);
    out->author = author_recurrence;
    out->is_actor = true;
    out->op = OP_TASK_SUCCEED;
    out->id = uuid_derive(&event->stream,
                          arena_format(arena, "succeed:%lld", (long long)closed->closed_rev));
    out->task = uuid_derive(&out->id, slice_str("task"));
    out->data = encode_data(closed, arena);
    address(event, out);
    return SUCCESSION_NEXT;
}

void recurrence_release(const uuid_t *list, int64_t rev, const uuid_t *account, int64_t n,
                        arena_t *arena, command_t *out)
{
    buf_t buf = {0};
    mp_put_map(&buf, 1);
    mp_put_cstr(&buf, "account");
    mp_put_uuid(&buf, account);
    memset(out, 0, sizeof *out);
    out->author = author_recurrence;
    out->is_actor = true;
    out->op = OP_MEMBER_RELEASE;
    out->id =
        uuid_derive(list, arena_format(arena, "release:%lld:%lld", (long long)rev, (long long)n));
    out->list = *list;
    out->data = arena_copy(arena, buf_slice(&buf));
    buf_fini(&buf);
    command_fingerprint(out);
}

/* --- batches --- */

static void reject(recurrence_batch_t *batch, const cause_t *cause, slice_t why)
{
    batch->rejects = realloc(batch->rejects, (batch->n_rejects + 1) * sizeof *batch->rejects);
    if (batch->rejects == NULL)
        abort();
    batch->rejects[batch->n_rejects++] =
        (reject_t){cause->event_id, cause->stream, cause->rev, arena_copy(batch->arena, why)};
}

static void destroy_batch(recurrence_batch_t *batch)
{
    recurrence_batch_t **link = &batch->owner->batches;
    while (*link != batch)
        link = &(*link)->next;
    *link = batch->next;
    batch->owner->n_batches--;
    arena_destroy(&batch->arena);
    free(batch->rejects);
    free(batch);
}

static void close_one(recurrence_batch_t *batch)
{
    if (--batch->n_open > 0)
        return;
    recurrence_t *self = batch->owner;
    message_t ack;
    ack_encode(ADDRESS_RECURRENCE, batch->seq, batch->rejects, batch->n_rejects, &ack);
    if (self->acks == NULL)
        message_fini(&ack);
    else
        (void)port_send(self->acks, &ack); /* has room for more than can be under way */
    destroy_batch(batch);
}

/* A mismatch: the successor was made, when the task before was not yet as it was restored. */
static bool is_out_of_date(err_t err)
{
    return err == ERR_CONFLICT || err == ERR_EXISTS || err == ERR_NOT_FOUND ||
           err == ERR_PRECONDITION_FAILED || err == ERR_IDEMPOTENCY_MISMATCH;
}

static void on_result(void *arg, const result_t *result)
{
    cause_t *cause = arg;
    const problem_t *problem = &result->outcome.problem;
    if (problem->err == ERR_OK && !result->outcome.is_replay &&
        uuid_eq(&result->outcome.task, &cause->successor))
        metric_add(cause->batch->owner->successors_total, 1);
    if (problem->err != ERR_OK && !is_out_of_date(problem->err)) {
        slice_t why = problem->n_fields > 0 ? problem->fields[0].detail : problem->detail;
        reject(cause->batch, cause, why.n_bytes > 0 ? why : slice_str(err_title(problem->err)));
    }
    close_one(cause->batch);
}

/* --- tasks that name who was removed --- */

static void release_more(cause_t *cause);

static void on_released(void *arg, const result_t *result)
{
    cause_t *cause = arg;
    const problem_t *problem = &result->outcome.problem;
    if (problem->err == ERR_OK) {
        release_more(cause);
        return;
    }
    if (!is_out_of_date(problem->err))
        reject(cause->batch, cause, slice_str(err_title(problem->err)));
    close_one(cause->batch);
}

/* One removal releases so many tasks at most, the first ones at once. The others follow command by
 * command, until one is refused because none is left. */
static void release_more(cause_t *cause)
{
    command_t command;
    recurrence_release(&cause->stream, cause->rev, &cause->leaver, ++cause->n_releases,
                       cause->batch->arena, &command);
    command.trace = trace_child(&cause->trace, &command.id);
    commander_send(cause->batch->owner->commander, &command, on_released, cause);
}

static cause_t cause_of(recurrence_batch_t *batch, const log_event_t *row)
{
    return (cause_t){.batch = batch,
                     .event_id = row->id,
                     .stream = row->stream,
                     .rev = row->rev,
                     .trace = trace_of(row->trace)};
}

static void handle_removal(recurrence_batch_t *batch, const log_event_t *row)
{
    event_t event;
    slice_t account;
    cause_t *cause = arena_alloc(batch->arena, sizeof *cause);
    *cause = cause_of(batch, row);
    if (row->body.data == NULL)
        return; /* purged: nobody knows who it was */
    mp_reader_t reader = mp_reader(slice_none());
    if (event_decode(row->body, &event) && mp_map_find(event.set, "account", &account))
        reader = mp_reader(account);
    if (!mp_get_uuid(&reader, &cause->leaver)) {
        reject(batch, cause, slice_str("the event cannot be read"));
        return;
    }
    batch->n_open++;
    release_more(cause);
}

static void handle_event(recurrence_t *self, recurrence_batch_t *batch, const log_event_t *row)
{
    event_t event;
    command_t command;
    slice_t why;
    if (row->type == EVENT_MEMBER_REMOVED)
        handle_removal(batch, row);
    if (!may_close(row->type))
        return;
    if (row->body.data == NULL)
        return; /* purged: there is nothing left to repeat */
    cause_t *cause = arena_alloc(batch->arena, sizeof *cause);
    *cause = cause_of(batch, row);
    if (!event_decode(row->body, &event)) {
        reject(batch, cause, slice_str("the event cannot be read"));
        return;
    }
    switch (recurrence_step(&event, batch->arena, &command, &why)) {
    case SUCCESSION_NONE:
        break;
    case SUCCESSION_WRONG:
        reject(batch, cause, why);
        break;
    case SUCCESSION_NEXT:
        batch->n_open++;
        cause->successor = command.task;
        command.trace = trace_child(&cause->trace, &command.id);
        commander_send(self->commander, &command, on_result, cause);
        break;
    }
}

static void receive_events(recurrence_t *self, mp_reader_t *content)
{
    uint32_t n_events;
    recurrence_batch_t *batch = calloc(1, sizeof *batch);
    batch->owner = self;
    batch->n_open = 1;
    batch->arena = arena_new();
    batch->next = self->batches;
    self->batches = batch;
    self->n_batches++;
    if (events_open(content, &batch->seq, &n_events)) {
        log_event_t row;
        for (uint32_t i = 0; i < n_events && events_next(content, &row); i++)
            handle_event(self, batch, &row);
    }
    close_one(batch);
}

/* Another term hands out anew whatever was not acknowledged; what is under way of former terms must
 * not add up. */
static void forget_all(recurrence_t *self)
{
    commander_clear(self->commander);
    while (self->batches != NULL)
        destroy_batch(self->batches);
}

/* --- the actor --- */

static void recurrence_receive(void *arg, slice_t bytes, now_t now)
{
    recurrence_t *self = arg;
    mp_reader_t content;
    message_kind_t kind = message_kind(bytes, &content);
    if (kind == MESSAGE_EVENTS)
        receive_events(self, &content);
    else if (kind == MESSAGE_RESULTS)
        commander_receive(self->commander, &content, now);
    else if (kind == MESSAGE_TERM)
        forget_all(self);
}

static int64_t recurrence_due(void *arg, now_t now)
{
    recurrence_t *self = arg;
    actor_note(self->actor, "batches", (int64_t)self->n_batches);
    actor_note(self->actor, "commands", (int64_t)commander_n_under_way(self->commander));
    return commander_turn(self->commander, now);
}

static err_t recurrence_open(void *arg, actor_t *actor)
{
    recurrence_t *self = arg;
    (void)actor;
    self->commander = commander_new(self->network, ADDRESS_RECURRENCE);
    self->acks = network_ack_port(self->network);
    self->successors_total = metrics_counter(self->network->metrics, "taskwire_successors_total",
                                             NULL, "Occurrences created");
    return ERR_OK;
}

static void recurrence_close(void *arg)
{
    recurrence_t *self = arg;
    forget_all(self);
    commander_destroy(&self->commander);
    port_destroy(&self->acks);
}

/* Nothing needs finishing: what is not acknowledged comes again. */
static const actor_ops_t recurrence_ops = {
    .name = "recurrence",
    .open = recurrence_open,
    .receive = recurrence_receive,
    .due = recurrence_due,
    .close = recurrence_close,
};

recurrence_t *recurrence_new(network_t *network)
{
    recurrence_t *self = calloc(1, sizeof *self);
    self->network = network;
    self->actor = actor_new(&recurrence_ops, self, network->post, "recurrence", INBOX_LIMIT);
    network->actors[ADDRESS_RECURRENCE] = self->actor;
    return self;
}

actor_t *recurrence_actor(recurrence_t *self)
{
    return self->actor;
}

void recurrence_destroy(recurrence_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
