/* SPDX-License-Identifier: Apache-2.0 */
/* What clients do with a task by itself. Each op makes the task as it will be and hands it over
 * together with the event that it would be; a status decides which event a patch is, so that
 * whoever waits for a task to be done need not know by which op it was. */
#include "schema/apply_op.h"

/* Clocks of clients may be ahead of ours by so much. */
#define MAX_AHEAD_US (5 * 60 * US_PER_S)

static bool is_closed(task_status_t status)
{
    return status == STATUS_DONE || status == STATUS_CANCELLED;
}

static void close_task(apply_t *self, task_t *task, int64_t at_us)
{
    task->completed_at_us = at_us;
    task->closed_rev = apply_next_rev(self->stream);
}

static void open_task(task_t *task)
{
    task->completed_at_us = INSTANT_NONE;
    task->closed_rev = 0;
}

/* --- create --- */

static task_t new_task(apply_t *self)
{
    return (task_t){
        .id = self->task_id,
        .list = self->list_id,
        .notes = slice_str(""),
        .status = STATUS_OPEN,
        .priority = PRIORITY_MEDIUM,
        .due_at_us = INSTANT_NONE,
        .created_at_us = self->now_us,
        .created_by = self->command->author,
        .completed_at_us = INSTANT_NONE,
        .deleted_at_us = INSTANT_NONE,
    };
}

static void create_task(apply_t *self)
{
    if (!apply_enter_task(self, false))
        return;
    if (state_task(self->state, &self->task_id) != NULL) {
        apply_refuse(self, ERR_EXISTS, "There is a task of this id already.");
        return;
    }
    if (!apply_expect_none(self) || !apply_open_data(self))
        return;
    task_t task = new_task(self);
    apply_read_task(self, NULL, &task);
    if (apply_close_data(self))
        apply_commit_task(self, EVENT_TASK_CREATED, &task);
}

/* --- patch --- */

/* What a change of status brings with it, and the event that it is. */
static event_type_t follow_status(apply_t *self, task_status_t before, task_t *task)
{
    if (task->status == before)
        return EVENT_TASK_UPDATED;
    switch (task->status) {
    case STATUS_DONE:
        close_task(self, task, self->now_us);
        return EVENT_TASK_COMPLETED;
    case STATUS_CANCELLED:
        close_task(self, task, self->now_us);
        return EVENT_TASK_CANCELLED;
    case STATUS_OPEN:
    case STATUS_IN_PROGRESS:
        open_task(task);
        return is_closed(before) ? EVENT_TASK_REOPENED : EVENT_TASK_UPDATED;
    case STATUS_COUNT:
        break;
    }
    return EVENT_TASK_UPDATED;
}

static void patch_task(apply_t *self)
{
    if (!apply_enter_task(self, true) || !apply_expect_task(self) || !apply_open_data(self))
        return;
    const task_t *before = &self->task->task;
    task_t task = *before;
    apply_read_task(self, before, &task);
    if (!apply_close_data(self))
        return;
    event_type_t type = follow_status(self, before->status, &task);
    take_back_t next = {0};
    if (type == EVENT_TASK_REOPENED && !apply_find_next(self, before, &next))
        return;
    apply_take_back(self, &next);
    apply_commit_task(self, type, &task);
}

/* --- complete, reopen --- */

static int64_t read_completed_at(apply_t *self)
{
    data_value_t value;
    int64_t at_us = self->now_us;
    if (data_get(&self->data, "at", &value) == DATA_GIVEN && data_instant(&value, &at_us) &&
        at_us - MAX_AHEAD_US > self->now_us)
        data_refuse(&value, "this is in the future");
    return at_us;
}

static void complete_task(apply_t *self)
{
    if (!apply_enter_task(self, true) || !apply_expect_task(self))
        return;
    task_t task = self->task->task;
    if (task.status == STATUS_CANCELLED) {
        apply_refuse(self, ERR_CONFLICT, "The task was cancelled; reopen it first.");
        return;
    }
    if (!apply_open_data(self))
        return;
    int64_t at_us = read_completed_at(self);
    if (!apply_close_data(self))
        return;
    if (task.status != STATUS_DONE) {
        task.status = STATUS_DONE;
        close_task(self, &task, at_us);
    }
    apply_commit_task(self, EVENT_TASK_COMPLETED, &task);
}

static void reopen_task(apply_t *self)
{
    if (!apply_enter_task(self, true) || !apply_expect_task(self) || !apply_open_data(self) ||
        !apply_close_data(self))
        return;
    task_t task = self->task->task;
    take_back_t next = {0};
    if (is_closed(task.status)) {
        if (!apply_find_next(self, &self->task->task, &next))
            return;
        task.status = STATUS_OPEN;
        open_task(&task);
    }
    apply_take_back(self, &next);
    apply_commit_task(self, EVENT_TASK_REOPENED, &task);
}

const apply_row_t apply_task_rows[APPLY_TASK_ROWS] = {
    {OP_TASK_CREATE, create_task},
    {OP_TASK_PATCH, patch_task},
    {OP_TASK_COMPLETE, complete_task},
    {OP_TASK_REOPEN, reopen_task},
};
