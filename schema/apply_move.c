/* SPDX-License-Identifier: Apache-2.0 */
/* A task goes to another list, and its subtasks with it. To those who see only the list that it
 * leaves, the event there says no more than that it left; to those of the other list it is a task
 * that was not there before. So the one event shows nothing, the other one all, and neither says
 * what was. */
#include "schema/apply_op.h"
#include "schema/position.h"

#include <stdlib.h>

typedef struct {
    apply_t *apply;
    uuid_t target;
    stream_t *stream; /* of the target */
    slice_t tail; /* the last position there so far */
    const task_t **befores; /* the subtasks, and the task itself at the end */
    task_t *afters;
    size_t n_tasks;
} move_t;

/* --- where they go --- */

/* Behind the last one; where there is no room behind it, beside it. */
static slice_t next_position(move_t *self)
{
    slice_t position = position_after(self->tail, self->apply->arena);
    if (position.data != NULL)
        self->tail = position;
    return self->tail;
}

static int compare_positions(const void *a, const void *b)
{
    const task_t *x = *(task_t *const *)a;
    const task_t *y = *(task_t *const *)b;
    int order = slice_cmp(x->position, y->position);
    return order != 0 ? order : memcmp(x->id.bytes, y->id.bytes, UUID_BYTES);
}

/* At the end of the target: the task first, its subtasks behind it in the order that they had. */
static void give_positions(move_t *self)
{
    size_t n_subtasks = self->n_tasks - 1;
    task_t **sorted = arena_alloc(self->apply->arena, self->n_tasks * sizeof(task_t *));
    for (size_t i = 0; i < n_subtasks; i++)
        sorted[i] = &self->afters[i];
    if (n_subtasks > 0)
        qsort(sorted, n_subtasks, sizeof(task_t *), compare_positions);
    self->afters[n_subtasks].position = next_position(self);
    for (size_t i = 0; i < n_subtasks; i++)
        sorted[i]->position = next_position(self);
}

static bool prepare(move_t *self)
{
    apply_t *apply = self->apply;
    nodes_t nodes;
    const task_t **subtasks;
    if (!apply_find_subtasks(apply, &nodes) || !apply_load_tasks(apply, &nodes, &subtasks))
        return false;
    self->n_tasks = nodes.n_items + 1;
    self->befores = arena_alloc(apply->arena, self->n_tasks * sizeof(task_t *));
    self->afters = arena_alloc(apply->arena, self->n_tasks * sizeof *self->afters);
    if (nodes.n_items > 0)
        memcpy(self->befores, subtasks, nodes.n_items * sizeof(task_t *));
    self->befores[nodes.n_items] = &apply->task->task;
    for (size_t i = 0; i < self->n_tasks; i++) {
        self->afters[i] = *self->befores[i];
        self->afters[i].list = self->target;
        if (!apply_drop_strangers(apply, &self->afters[i]))
            return false;
    }
    self->afters[nodes.n_items].parent = UUID_NIL;
    give_positions(self);
    return true;
}

/* --- events --- */

static void emit_out(move_t *self, const task_t *before)
{
    apply_t *apply = self->apply;
    event_t event = {.type = EVENT_TASK_MOVED_OUT, .task = before->id};
    event.set = apply_empty_map();
    event.was = apply_empty_map();
    apply_emit(apply, apply->stream, event);
    apply->stream->n_open -= task_is_live(before);
}

/* Answers the task encoded. */
static slice_t emit_in(move_t *self, task_t *after)
{
    apply_t *apply = self->apply;
    event_t event = {.type = EVENT_TASK_MOVED_IN, .task = after->id};
    after->rev = apply_next_rev(self->stream);
    after->updated_at_us = apply->now_us;
    task_encode_fields(after, TASK_FIELDS_ALL, &apply->scratch);
    event.set = apply_keep(apply);
    event.was = apply_empty_map();
    task_encode(after, &apply->scratch);
    event.after = apply_keep(apply);
    apply_emit(apply, self->stream, event);
    self->stream->n_open += task_is_live(after);
    if (slice_cmp(after->position, self->stream->tail) > 0)
        self->stream->tail = after->position;
    return event.after;
}

/* Out before in: of two events of a task the later one has the larger id. */
static slice_t commit_one(move_t *self, size_t i)
{
    state_t *state = self->apply->state;
    const task_t *before = self->befores[i];
    task_t *after = &self->afters[i];
    emit_out(self, before);
    slice_t body = emit_in(self, after);
    apply_follow_task(self->apply, before, after, &UUID_NIL);
    state_put_task(state, after, state_task(state, &after->id)->is_new, true);
    return body;
}

static void commit_move(move_t *self)
{
    slice_t body = slice_none();
    for (size_t i = 0; i < self->n_tasks; i++)
        body = commit_one(self, i);
    apply_answer(self->apply, self->stream, &self->apply->task_id, body);
}

/* --- task.move --- */

static bool read_target(apply_t *self, uuid_t *out)
{
    data_value_t value;
    if (!apply_open_data(self))
        return false;
    return data_need(&self->data, "list", &value) && data_uuid(&value, out) &&
           apply_close_data(self);
}

/* Into the list where it is: nothing changes. */
static void stay(apply_t *self)
{
    task_t task = self->task->task;
    apply_commit_task(self, EVENT_TASK_UPDATED, &task);
}

/* The target is looked at before the revision: whether it is there at all comes first. */
static void move_task(apply_t *self)
{
    move_t move = {.apply = self};
    if (!apply_enter_task(self, true) || !read_target(self, &move.target) ||
        !apply_enter_target(self, &move.target) || !apply_expect_task(self))
        return;
    if (uuid_eq(&move.target, &self->list_id)) {
        stay(self);
        return;
    }
    move.stream = state_stream(self->state, &move.target);
    move.tail = move.stream->tail;
    if (prepare(&move))
        commit_move(&move);
}

const apply_row_t apply_move_rows[APPLY_MOVE_ROWS] = {
    {OP_TASK_MOVE, move_task},
};
