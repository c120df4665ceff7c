/* SPDX-License-Identifier: Apache-2.0 */
/* What the program's own actors do with tasks: the next occurrence of a recurring one, and saying
 * that a reminder is due. They act on events that may be old by now, or that another process has
 * acted on already, and may do so twice; so everything that their command assumes about the task is
 * checked here against the task as it is, and what is out of date is refused with CONFLICT. */
#include "schema/apply_op.h"
#include "schema/next_due.h"

/* A reminder that fires later than so is marked. */
#define LATE_US US_PER_S

/* --- the next occurrence --- */

typedef struct {
    uuid_t succeeds;
    int64_t closed_rev;
} succeed_t;

static bool read_succeed(apply_t *self, succeed_t *out)
{
    data_value_t value;
    *out = (succeed_t){0};
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "succeeds", &value))
        data_uuid(&value, &out->succeeds);
    if (data_need(&self->data, "closed_rev", &value))
        data_int(&value, &out->closed_rev);
    return apply_close_data(self);
}

/* Closed by the very event that the actor acts on: a task that was reopened and closed again has
 * another successor to come, or none. */
static bool is_still_closed(apply_t *self, const task_t *task, int64_t closed_rev)
{
    if (!uuid_eq(&task->list, &self->list_id))
        return apply_refuse(self, ERR_CONFLICT, "The task before is no longer in this list.");
    if (!uuid_is_nil(&state_task(self->state, &task->id)->deleted_with))
        return apply_refuse(self, ERR_CONFLICT, "The task before went with what it was under.");
    if (task_is_live(task) || task->closed_rev != closed_rev || closed_rev == 0)
        return apply_refuse(self, ERR_CONFLICT, "The task before was closed by another event.");
    if (task->rule.data == NULL)
        return apply_refuse(self, ERR_CONFLICT, "The task before does not recur any more.");
    return true;
}

static bool is_free(apply_t *self)
{
    if (state_task(self->state, &self->task_id) == NULL)
        return true;
    return apply_refuse(self, ERR_EXISTS, "There is a task of this id already.");
}

/* Whether the next one was there and is over, by being deleted too: what was taken back was open.
 */
static bool was_closed(apply_t *self, const task_t *before)
{
    const state_task_t *found = state_series(self->state, &before->series);
    while (found != NULL &&
           (found->task.occurrence != before->occurrence + 1 || found->task.closed_rev == 0))
        found = found->next_of_series;
    return found != NULL;
}

/* The number is taken, or the series has gone on: there is nothing to make, and that is what is
 * remembered. A refusal would not be, and the same event, coming again when that occurrence was
 * deleted meanwhile, would make it anew. */
static bool has_successor(apply_t *self, const task_t *before)
{
    if (!was_closed(self, before) &&
        !state_has_occurrence_after(self->state, &before->series, before->occurrence))
        return false;
    task_t same = *before;
    self->task = state_task(self->state, &before->id);
    apply_commit_task(self, EVENT_TASK_UPDATED, &same);
    return true;
}

/* The due date is computed here, from the task as it is now: what the actor has seen of it may be
 * out of date. */
static bool has_room(apply_t *self, const task_t *before, next_due_t *next)
{
    slice_t why;
    return next_due(before, self->arena, next, &why) ||
           apply_refuse(self, ERR_CONFLICT, "The rule ends before that occurrence.");
}

/* Those with an instant of their own were for the former occurrence. */
void apply_inherit_reminders(const task_t *before, task_t *task)
{
    task->n_reminders = 0;
    for (uint32_t i = 0; i < before->n_reminders; i++) {
        reminder_t reminder = before->reminders[i];
        if (reminder.before.data == NULL)
            continue;
        reminder.id = uuid_derive(&task->id, slice_of(reminder.id.bytes, UUID_BYTES));
        task->reminders[task->n_reminders++] = reminder;
    }
}

/* The successor is under what its predecessor is under, while there is room for all of it. That may
 * have gone to another list, and left behind what was deleted before. */
static bool has_place(apply_t *self, const task_t *before, const copies_t *copies)
{
    node_t *parent = state_node(self->state, &before->parent);
    return parent != NULL && parent->is_there && !parent->is_deleted &&
           uuid_eq(&parent->list, &before->list) &&
           apply_refuse_place(self, parent, copies->n_items, copies->n_levels) == NULL;
}

/* Dates that are past need not be skipped any more. */
static void inherit_rule(const task_t *before, const next_due_t *next, task_t *task)
{
    char text[INSTANT_TEXT_CHARS + 1];
    slice_t date = slice_of(text, local_format_date(&next->due.local, text));
    task->rule_start = next->start;
    task->planned = slice_none();
    while (task->n_skips > 0 && slice_cmp(task->skips[0], date) < 0) {
        task->skips++;
        task->n_skips--;
    }
    task->due = next->due.text;
    task->due_kind = next->due.kind;
    task->due_at_us = next->due.at_us;
    task->occurrence = before->occurrence + 1;
}

static task_t next_occurrence(apply_t *self, const task_t *before, const next_due_t *next)
{
    task_t task = *before;
    task.id = self->task_id;
    task.status = STATUS_OPEN;
    inherit_rule(before, next, &task);
    task.created_at_us = self->now_us;
    task.completed_at_us = INSTANT_NONE;
    task.deleted_at_us = INSTANT_NONE;
    task.closed_rev = 0;
    apply_inherit_reminders(before, &task);
    return task;
}

/* A list that was archived meanwhile gets its successor all the same: nobody would make it later.
 */
static void succeed_task(apply_t *self)
{
    succeed_t asked;
    next_due_t next;
    if (!apply_enter_list(self, ROLE_NONE) || !apply_expect_none(self) ||
        !read_succeed(self, &asked))
        return;
    if (uuid_is_nil(&self->task_id)) {
        apply_refuse(self, ERR_INVALID, "The next occurrence needs an id.");
        return;
    }
    const state_task_t *found = state_task(self->state, &asked.succeeds);
    if (found == NULL) {
        apply_refuse(self, ERR_CONFLICT, "The task before is not there.");
        return;
    }
    const task_t *before = &found->task;
    if (!is_still_closed(self, before, asked.closed_rev) || has_successor(self, before) ||
        !is_free(self) || !has_room(self, before, &next))
        return;
    task_t task = next_occurrence(self, before, &next);
    copies_t copies;
    if (!apply_drop_strangers(self, &task) || !apply_copy_subtasks(self, before, &task, &copies))
        return;
    if (!has_place(self, before, &copies))
        task.parent = UUID_NIL;
    for (size_t i = 0; i < copies.n_items; i++)
        apply_change_task(self, NULL, EVENT_TASK_CREATED, &copies.items[i], &UUID_NIL);
    apply_commit_task(self, EVENT_TASK_CREATED, &task);
}

/* --- a reminder is due --- */

static const reminder_t *find_reminder(const task_t *task, const uuid_t *id)
{
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        if (uuid_eq(&task->reminders[i].id, id))
            return &task->reminders[i];
    }
    return NULL;
}

/* Neither early, nor for a task or at an instant that it no longer has. Early has an error of its
 * own: it is the only one that passes. */
static bool is_due(apply_t *self, const task_t *task, const reminder_t *reminder, int64_t at_us)
{
    if (self->list->is_archived)
        return apply_refuse(self, ERR_CONFLICT, "This list is archived.");
    if (!task_is_live(task))
        return apply_refuse(self, ERR_CONFLICT, "The task is closed.");
    if (reminder == NULL || task_reminder_at(task, reminder) != at_us)
        return apply_refuse(self, ERR_CONFLICT, "The task has no such reminder at that instant.");
    if (self->now_us < at_us)
        return apply_refuse(self, ERR_PRECONDITION_FAILED, "The reminder is not due yet.");
    return true;
}

static void put_whom(buf_t *out, const reminder_t *reminder)
{
    switch (reminder->whom) {
    case FOR_ACCOUNT:
        mp_put_uuid(out, &reminder->account);
        break;
    case FOR_ASSIGNEE:
        mp_put_cstr(out, "assignee");
        break;
    case FOR_ALL:
        mp_put_cstr(out, "all");
        break;
    }
}

static slice_t encode_reminder(apply_t *self, const reminder_t *reminder, int64_t at_us)
{
    bool is_late = self->now_us - at_us > LATE_US;
    mp_put_map(&self->scratch, is_late ? 4 : 3);
    mp_put_cstr(&self->scratch, "id");
    mp_put_uuid(&self->scratch, &reminder->id);
    mp_put_cstr(&self->scratch, "at");
    mp_put_instant(&self->scratch, at_us);
    mp_put_cstr(&self->scratch, "for");
    put_whom(&self->scratch, reminder);
    if (is_late) {
        mp_put_cstr(&self->scratch, "late");
        mp_put_bool(&self->scratch, true);
    }
    return apply_keep(self);
}

static bool read_remind(apply_t *self, uuid_t *id, int64_t *at_us)
{
    data_value_t value;
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "reminder", &value))
        data_uuid(&value, id);
    if (data_need(&self->data, "at", &value))
        data_instant(&value, at_us);
    return apply_close_data(self);
}

/* The task stays as it is, its rev too: that a reminder fired is no change of it. */
static void commit_reminder(apply_t *self, const task_t *task, const reminder_t *reminder,
                            int64_t at_us)
{
    event_t event = {.type = EVENT_REMINDER_DUE, .task = task->id};
    event.set = apply_empty_map();
    event.was = apply_empty_map();
    task_encode(task, &self->scratch);
    event.after = apply_keep(self);
    event.reminder = encode_reminder(self, reminder, at_us);
    apply_emit(self, self->stream, event);
    apply_answer(self, self->stream, &task->id, event.after);
}

static void remind(apply_t *self)
{
    uuid_t id = UUID_NIL;
    int64_t at_us = INSTANT_NONE;
    if (!apply_enter_list(self, ROLE_NONE))
        return;
    const state_task_t *found = state_task(self->state, &self->task_id);
    if (found == NULL || !uuid_eq(&found->task.list, &self->list_id)) {
        apply_refuse(self, ERR_NOT_FOUND, "There is no such task in this list.");
        return;
    }
    if (!apply_expect_none(self) || !read_remind(self, &id, &at_us))
        return;
    const reminder_t *reminder = find_reminder(&found->task, &id);
    if (is_due(self, &found->task, reminder, at_us))
        commit_reminder(self, &found->task, reminder, at_us);
}

const apply_row_t apply_series_rows[APPLY_SERIES_ROWS] = {
    {OP_TASK_SUCCEED, succeed_task},
    {OP_TASK_REMIND, remind},
};
