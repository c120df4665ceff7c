/* SPDX-License-Identifier: Apache-2.0 */
/* The subtasks of the next occurrence: what was under the closed one, open again, each under the
 * copy of what it was under. A due date is as many days later as that of the occurrence itself. A
 * subtask that recurs begins a series of its own; its closed occurrences, and what is under them,
 * are not copied. */
#include "schema/apply_op.h"
#include "schema/recur.h"

#define MIN_DAY (INSTANT_MIN / US_PER_DAY)
#define MAX_DAY (INSTANT_MAX / US_PER_DAY)

static uuid_t id_of_copy(const task_t *next, const uuid_t *subtask)
{
    return uuid_derive(&next->id, slice_of(subtask->bytes, UUID_BYTES));
}

static int64_t day_of(const task_t *task, arena_t *arena)
{
    due_t due;
    return due_resolve(task->due, task->time_zone, arena, &due) ? recur_day(&due.local) : 0;
}

static void move_due(apply_t *self, int64_t n_days, task_t *task)
{
    due_t due;
    zone_fit_t fit;
    if (task->due.data == NULL || !due_resolve(task->due, task->time_zone, self->arena, &due))
        return;
    int64_t day = recur_day(&due.local) + n_days;
    if (day < MIN_DAY || day > MAX_DAY)
        return;
    date_from_days(day, &due.local);
    due_of_local(due.kind, &due.local, task->time_zone, self->arena, &due, &fit);
    task->due = due.text;
    task->due_at_us = due.at_us;
}

static void begin_series(apply_t *self, task_t *task)
{
    rule_t rule;
    due_t due;
    slice_t why;
    task->series = UUID_NIL;
    task->occurrence = 0;
    task->planned = slice_none();
    if (task->rule.data == NULL)
        return;
    task->series = task->id;
    task->occurrence = 1;
    if (rule_parse(task->rule, &rule, self->arena, &why) &&
        due_resolve(task->due, task->time_zone, self->arena, &due))
        task->rule_start = recur_start(&rule, &due, self->arena, &why);
}

static task_t copy_of(apply_t *self, const task_t *subtask, const task_t *next, int64_t n_days)
{
    task_t copy = *subtask;
    copy.id = id_of_copy(next, &subtask->id);
    copy.status = STATUS_OPEN;
    copy.created_at_us = self->now_us;
    copy.completed_at_us = INSTANT_NONE;
    copy.deleted_at_us = INSTANT_NONE;
    copy.closed_rev = 0;
    move_due(self, n_days, &copy);
    begin_series(self, &copy);
    apply_inherit_reminders(subtask, &copy);
    return copy;
}

static bool is_open(const task_t *task)
{
    return task->status == STATUS_OPEN || task->status == STATUS_IN_PROGRESS;
}

/* Whether a subtask is copied: neither it, nor what it is under, is a closed occurrence. */
static bool is_copied(apply_t *self, node_t *node, const node_t *top)
{
    for (; node != top && node != NULL; node = node->parent) {
        const task_t *task = &state_task(self->state, &node->id)->task;
        if (!uuid_is_nil(&task->series) && !is_open(task))
            return false;
    }
    return true;
}

/* What is under an occurrence; what went with it, if that is deleted. */
static nodes_t nodes_of(apply_t *self, const task_t *task, node_t *top)
{
    return task->deleted_at_us == INSTANT_NONE ? state_subtasks(self->state, top)
                                               : state_taken(self->state, top);
}

bool apply_count_copied(apply_t *self, const task_t *before, int64_t until_us, size_t *out)
{
    const task_t **tasks;
    node_t *top = state_node(self->state, &before->id);
    *out = 0;
    if (top == NULL)
        return apply_put_off(self);
    nodes_t nodes = nodes_of(self, before, top);
    if (!apply_load_tasks(self, &nodes, &tasks))
        return false;
    for (size_t i = 0; i < nodes.n_items; i++)
        *out += tasks[i]->created_at_us < until_us && is_copied(self, nodes.items[i], top);
    return true;
}

bool apply_copy_subtasks(apply_t *self, const task_t *before, const task_t *next, copies_t *out)
{
    const task_t **tasks;
    node_t *top = state_node(self->state, &before->id);
    *out = (copies_t){0};
    if (top == NULL)
        return apply_put_off(self);
    nodes_t nodes = nodes_of(self, before, top);
    if (!apply_load_tasks(self, &nodes, &tasks))
        return false;
    int64_t n_days = day_of(next, self->arena) - day_of(before, self->arena);
    out->items = arena_alloc(self->arena, nodes.n_items * sizeof *out->items);
    for (size_t i = 0; i < nodes.n_items; i++) {
        node_t *node = nodes.items[i];
        if (!is_copied(self, node, top))
            continue;
        task_t *copy = &out->items[out->n_items++];
        *copy = copy_of(self, tasks[i], next, n_days);
        copy->parent = uuid_eq(&tasks[i]->parent, &before->id)
                           ? next->id
                           : id_of_copy(next, &tasks[i]->parent);
        if (!apply_drop_strangers(self, copy))
            return false;
        size_t n_levels = apply_levels_up(node, top);
        out->n_levels = n_levels > out->n_levels ? n_levels : out->n_levels;
    }
    return true;
}
