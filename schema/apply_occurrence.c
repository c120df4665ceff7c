/* SPDX-License-Identifier: Apache-2.0 */
/* What an op on one occurrence does to the others of its series, as far as they are in the state,
 * where whatever was loaded or made in this batch is. Only those in the command's own list are
 * touched, because only that one is locked. */
#include "schema/apply_op.h"

static bool is_mate(apply_t *self, const task_t *task, const task_t *other)
{
    return !uuid_eq(&other->id, &task->id) && other->deleted_at_us == INSTANT_NONE &&
           uuid_eq(&other->list, &self->list_id);
}

/* --- taking back --- */

static const task_t *find_next(apply_t *self, const task_t *task)
{
    const state_task_t *found = state_series(self->state, &task->series);
    for (; found != NULL; found = found->next_of_series) {
        if (is_mate(self, task, &found->task) && found->task.occurrence == task->occurrence + 1)
            return &found->task;
    }
    return NULL;
}

/* As the actor made it. */
static bool is_untouched(const task_t *task)
{
    return task_is_live(task) && task->updated_at_us == task->created_at_us;
}

static bool are_untouched(const task_t **subtasks, size_t n, const task_t *task)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_untouched(subtasks[i]) || subtasks[i]->created_at_us != task->created_at_us)
            return false;
    }
    return true;
}

bool apply_find_next(apply_t *self, const task_t *task, take_back_t *out)
{
    nodes_t nodes;
    size_t n_copied = 0;
    const task_t *next = uuid_is_nil(&task->series) ? NULL : find_next(self, task);
    *out = (take_back_t){0};
    if (next == NULL)
        return true;
    node_t *node = state_node(self->state, &next->id);
    if (node == NULL)
        return apply_put_off(self);
    nodes = state_subtasks(self->state, node);
    if (!apply_load_tasks(self, &nodes, &out->subtasks) ||
        !apply_count_copied(self, task, next->created_at_us, &n_copied))
        return false;
    out->n_subtasks = nodes.n_items;
    /* One that was copied and is not there any more somebody has deleted, or moved away. */
    if (is_untouched(next) && out->n_subtasks >= n_copied &&
        are_untouched(out->subtasks, out->n_subtasks, next))
        out->task = next;
    else
        self->out->kept = next->id;
    return true;
}

static void delete_with_subtasks(apply_t *self, const take_back_t *of)
{
    task_t after;
    for (size_t i = 0; i < of->n_subtasks; i++) {
        after = *of->subtasks[i];
        after.deleted_at_us = self->now_us;
        apply_change_task(self, of->subtasks[i], EVENT_TASK_DELETED, &after, &of->task->id);
    }
    after = *of->task;
    after.deleted_at_us = self->now_us;
    apply_change_task(self, of->task, EVENT_TASK_DELETED, &after, &UUID_NIL);
}

void apply_take_back(apply_t *self, const take_back_t *next)
{
    if (next->task != NULL)
        delete_with_subtasks(self, next);
}

/* --- ending --- */

typedef struct {
    take_back_t *open; /* to be deleted */
    size_t n_open;
    const task_t *last; /* of all, the command's own among them */
} mates_t;

static bool add_open(apply_t *self, const task_t *task, mates_t *out)
{
    take_back_t *mate = &out->open[out->n_open++];
    node_t *node = state_node(self->state, &task->id);
    if (node == NULL)
        return apply_put_off(self);
    nodes_t nodes = state_subtasks(self->state, node);
    mate->task = task;
    mate->n_subtasks = nodes.n_items;
    return apply_load_tasks(self, &nodes, &mate->subtasks);
}

static bool find_mates(apply_t *self, const task_t *task, mates_t *out)
{
    state_task_t *first = state_series(self->state, &task->series);
    const state_task_t *found;
    size_t n_mates = 0;
    for (found = first; found != NULL; found = found->next_of_series)
        n_mates += is_mate(self, task, &found->task);
    *out = (mates_t){.last = task};
    out->open = arena_alloc(self->arena, (n_mates + 1) * sizeof *out->open);
    for (found = first; found != NULL; found = found->next_of_series) {
        const task_t *mate = &found->task;
        if (!is_mate(self, task, mate))
            continue;
        if (task_is_live(mate) && !add_open(self, mate, out))
            return false;
        if (mate->occurrence > out->last->occurrence)
            out->last = mate;
    }
    return true;
}

/* Whether an open occurrence is under another one that goes, so that it went with that. */
static bool is_gone(apply_t *self, const task_t *task)
{
    const state_task_t *now = state_task(self->state, &task->id);
    return now->task.deleted_at_us != INSTANT_NONE;
}

bool apply_end_series(apply_t *self, const task_t *task)
{
    mates_t mates;
    if (uuid_is_nil(&task->series))
        return true;
    if (!find_mates(self, task, &mates))
        return false;
    for (size_t i = 0; i < mates.n_open; i++) {
        if (!is_gone(self, mates.open[i].task))
            delete_with_subtasks(self, &mates.open[i]);
    }
    /* Its successor may be on its way; those before it have had theirs. */
    if (mates.last != task && !is_gone(self, mates.last) && mates.last->rule.data != NULL) {
        task_t after = *mates.last;
        apply_clear_recurrence(&after);
        apply_change_task(self, mates.last, EVENT_TASK_UPDATED, &after, &UUID_NIL);
    }
    return true;
}
