/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a task takes its subtasks along, restoring it brings those back that went with it, and
 * no others. A task that is there is never under one that is not. */
#include "schema/apply_op.h"

/* --- places --- */

/* What is stored may be damaged: nothing is so deep. */
#define MAX_LEVELS (4 * LIMIT_TASK_LEVELS)

size_t apply_levels_up(const node_t *node, const node_t *to)
{
    size_t n_levels = 0;
    for (; node != to && node != NULL && n_levels < MAX_LEVELS; node = node->parent)
        n_levels++;
    return n_levels;
}

static node_t *topmost(node_t *node)
{
    for (size_t i = 0; node->parent != NULL && i < MAX_LEVELS; i++)
        node = node->parent;
    return node;
}

static bool is_under(const node_t *node, const node_t *top)
{
    while (node != NULL && node != top)
        node = node->parent;
    return node == top;
}

const char *apply_refuse_place(const apply_t *self, node_t *parent, size_t n_more, size_t n_levels)
{
    static const char too_many[] = "a task has at most 1000 subtasks at all levels together";
    static const char too_deep[] = "tasks have at most 8 levels";
    _Static_assert(LIMIT_SUBTASKS == 1000 && LIMIT_TASK_LEVELS == 8, "as the words say");
    node_t *top = topmost(parent);
    const node_t *node = state_node(self->state, &self->task_id);
    bool is_there = node != NULL && !node->is_deleted && is_under(node, top);
    if (apply_levels_up(parent, NULL) + 1 + n_levels > LIMIT_TASK_LEVELS)
        return too_deep;
    if (!is_there && state_subtasks(self->state, top).n_items + 1 + n_more > LIMIT_SUBTASKS)
        return too_many;
    return NULL;
}

bool apply_load_tasks(apply_t *self, const nodes_t *nodes, const task_t ***out)
{
    const task_t **tasks = arena_alloc(self->arena, nodes->n_items * sizeof(task_t *));
    for (size_t i = 0; i < nodes->n_items; i++) {
        const state_task_t *found = state_task(self->state, &nodes->items[i]->id);
        if (found == NULL)
            return apply_put_off(self);
        tasks[i] = &found->task;
    }
    *out = tasks;
    return true;
}

typedef enum { MEMBER_NO, MEMBER_YES, MEMBER_UNKNOWN } membership_t;

static membership_t membership(apply_t *self, const uuid_t *list, const uuid_t *account)
{
    const member_t *member = state_member(self->state, list, account);
    if (member == NULL)
        return MEMBER_UNKNOWN;
    return member->role == ROLE_NONE ? MEMBER_NO : MEMBER_YES;
}

bool apply_drop_strangers(apply_t *self, task_t *task)
{
    membership_t is = MEMBER_YES;
    uint32_t n_reminders = 0;
    if (!uuid_is_nil(&task->assignee))
        is = membership(self, &task->list, &task->assignee);
    if (is == MEMBER_UNKNOWN)
        return apply_put_off(self);
    if (is == MEMBER_NO)
        task->assignee = UUID_NIL;
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        const reminder_t *reminder = &task->reminders[i];
        is = MEMBER_YES;
        if (reminder->whom == FOR_ACCOUNT)
            is = membership(self, &task->list, &reminder->account);
        if (is == MEMBER_UNKNOWN)
            return apply_put_off(self);
        if (is == MEMBER_YES)
            task->reminders[n_reminders++] = *reminder;
    }
    task->n_reminders = n_reminders;
    return true;
}

bool apply_find_subtasks(apply_t *self, nodes_t *out)
{
    node_t *node = state_node(self->state, &self->task_id);
    if (node == NULL)
        return apply_put_off(self);
    *out = state_subtasks(self->state, node);
    return true;
}

/* --- delete --- */

typedef enum { SERIES_THIS, SERIES_ALL } of_series_t;

static int read_of_series(apply_t *self)
{
    static const char *const words[] = {"this", "all", NULL};
    data_value_t value;
    int word = SERIES_THIS;
    if (data_get(&self->data, "series", &value) == DATA_GIVEN)
        data_word(&value, words, &word);
    return word;
}

/* An open occurrence that is deleted by itself is closed by that, so that the next one comes. Of a
 * series that ends an open one keeps its rule, for whoever restores it. */
static void leave_series(apply_t *self, int of_series, task_t *task)
{
    bool is_open = task_is_live(&self->task->task);
    if (task->rule.data == NULL)
        return;
    if (of_series == SERIES_THIS && is_open)
        task->closed_rev = apply_next_rev(self->stream);
    if (of_series == SERIES_ALL && !is_open)
        apply_clear_recurrence(task);
}

static void remove_task(apply_t *self)
{
    const task_t **subtasks;
    if (!apply_enter_task(self, true) || !apply_expect_task(self) || !apply_open_data(self))
        return;
    int of_series = read_of_series(self);
    if (!apply_close_data(self))
        return;
    nodes_t nodes;
    if (!apply_find_subtasks(self, &nodes) || !apply_load_tasks(self, &nodes, &subtasks) ||
        (of_series == SERIES_ALL && !apply_end_series(self, &self->task->task)))
        return;
    for (size_t i = 0; i < nodes.n_items; i++) {
        task_t subtask = *subtasks[i];
        subtask.deleted_at_us = self->now_us;
        apply_change_task(self, subtasks[i], EVENT_TASK_DELETED, &subtask, &self->task_id);
    }
    task_t task = self->task->task;
    task.deleted_at_us = self->now_us;
    leave_series(self, of_series, &task);
    apply_commit_task(self, EVENT_TASK_DELETED, &task);
}

/* --- restore --- */

static bool has_free_number(apply_t *self, const task_t *task)
{
    if (uuid_is_nil(&task->series) ||
        !state_has_occurrence(self->state, &task->series, task->occurrence))
        return true;
    return apply_refuse(self, ERR_CONFLICT, "This occurrence of the series is there again.");
}

/* Where a restored task belongs. What it was under may have gone to another list meanwhile: then it
 * is under nothing. */
static bool find_place(apply_t *self, node_t *node, const nodes_t *taken, task_t *task)
{
    node_t *parent = node->parent;
    if (parent == NULL || !parent->is_there || !uuid_eq(&parent->list, &task->list)) {
        task->parent = UUID_NIL;
        return true;
    }
    if (parent->is_deleted)
        return apply_refuse(self, ERR_CONFLICT, "What it is under is deleted: restore that first.");
    size_t n_levels = 0;
    for (size_t i = 0; i < taken->n_items; i++) {
        size_t levels = apply_levels_up(taken->items[i], node);
        n_levels = levels > n_levels ? levels : n_levels;
    }
    const char *why = apply_refuse_place(self, parent, taken->n_items, n_levels);
    return why == NULL || apply_refuse(self, ERR_CONFLICT, why);
}

/* As they were, but for whoever has left the list meanwhile. NULL: put off. */
static task_t *restored(apply_t *self, const task_t **subtasks, size_t n_subtasks)
{
    task_t *afters = arena_alloc(self->arena, n_subtasks * sizeof *afters);
    for (size_t i = 0; i < n_subtasks; i++) {
        afters[i] = *subtasks[i];
        afters[i].deleted_at_us = INSTANT_NONE;
        if (!apply_drop_strangers(self, &afters[i]))
            return NULL;
    }
    return afters;
}

/* An open occurrence that was closed by being deleted is open again, as if it were reopened. */
static bool return_to_series(apply_t *self, task_t *task, take_back_t *next)
{
    if (!task_is_live(task) || task->closed_rev == 0)
        return true;
    task->closed_rev = 0;
    return apply_find_next(self, task, next);
}

static void commit_restored(apply_t *self, const task_t **subtasks, size_t n_subtasks, task_t *task)
{
    task_t *afters = restored(self, subtasks, n_subtasks);
    take_back_t next = {0};
    task->deleted_at_us = INSTANT_NONE;
    if (afters == NULL || !apply_drop_strangers(self, task) || !return_to_series(self, task, &next))
        return;
    apply_take_back(self, &next);
    for (size_t i = 0; i < n_subtasks; i++)
        apply_change_task(self, subtasks[i], EVENT_TASK_RESTORED, &afters[i], &UUID_NIL);
    apply_commit_task(self, EVENT_TASK_RESTORED, task);
}

/* Restoring what is there is like any other change that changes nothing. */
static void restore_task(apply_t *self)
{
    const task_t **subtasks;
    if (!apply_enter_deleted(self) || !apply_expect_task(self) || !apply_open_data(self) ||
        !apply_close_data(self))
        return;
    task_t task = self->task->task;
    if (task.deleted_at_us == INSTANT_NONE) {
        apply_commit_task(self, EVENT_TASK_RESTORED, &task);
        return;
    }
    node_t *node = state_node(self->state, &task.id);
    if (node == NULL) {
        apply_put_off(self);
        return;
    }
    nodes_t taken = state_taken(self->state, node);
    if (!find_place(self, node, &taken, &task) || !apply_load_tasks(self, &taken, &subtasks))
        return;
    bool is_free = has_free_number(self, &task);
    for (size_t i = 0; is_free && i < taken.n_items; i++)
        is_free = has_free_number(self, subtasks[i]);
    if (is_free)
        commit_restored(self, subtasks, taken.n_items, &task);
}

const apply_row_t apply_tree_rows[APPLY_TREE_ROWS] = {
    {OP_TASK_DELETE, remove_task},
    {OP_TASK_RESTORE, restore_task},
};
