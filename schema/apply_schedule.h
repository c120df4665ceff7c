/* SPDX-License-Identifier: Apache-2.0 */
/* What apply_schedule.c and apply_recurrence.c share: the schedule of a task as it is read. */
#ifndef TASKWIRE_APPLY_SCHEDULE_H
#define TASKWIRE_APPLY_SCHEDULE_H

#include "schema/apply_op.h"
#include "schema/recur.h"

typedef struct {
    apply_t *apply;
    const task_t *before; /* NULL: a new task */
    task_t *task;
    data_value_t due;
    bool is_due_wrong;
    bool is_due_given; /* the due date may be another than before */
} schedule_t;

/* Reads how the task recurs, its due date having been read; what follows from a due date that was
 * moved follows here. Notes what is wrong. */
void apply_read_recurrence(schedule_t *self);

#endif
