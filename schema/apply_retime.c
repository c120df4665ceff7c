/* SPDX-License-Identifier: Apache-2.0 */
/* task.retime: what a due date means by the time zone data that is there now. It is computed here,
 * under the lock, so that a command that comes late or twice, or from a process with older data,
 * finds nothing to do. */
#include "schema/apply_op.h"
#include "schema/due.h"

static bool find_open(apply_t *self)
{
    self->task = state_task(self->state, &self->task_id);
    if (self->task == NULL || !uuid_eq(&self->task->task.list, &self->list_id))
        return apply_refuse(self, ERR_NOT_FOUND, "There is no such task in this list.");
    if (!task_is_live(&self->task->task))
        return apply_refuse(self, ERR_CONFLICT, "The task is closed.");
    return true;
}

static void retime(apply_t *self)
{
    due_t due;
    if (!apply_enter_list(self, ROLE_NONE) || !find_open(self) || !apply_expect_none(self) ||
        !apply_open_data(self) || !apply_close_data(self))
        return;
    task_t task = self->task->task;
    if (task.due.data == NULL || !zone_is_known(task.time_zone) ||
        !due_resolve(task.due, task.time_zone, self->arena, &due) || due.at_us == task.due_at_us) {
        apply_refuse(self, ERR_CONFLICT, "The task is due when it says.");
        return;
    }
    task.due_at_us = due.at_us;
    apply_commit_task(self, EVENT_TASK_UPDATED, &task);
}

const apply_row_t apply_retime_rows[APPLY_RETIME_ROWS] = {
    {OP_TASK_RETIME, retime},
};
