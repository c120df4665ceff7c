/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a task's fields: of every key where it lies in the struct and of what kind it is.
 * Encoding, decoding, comparing and copying walk it, so that none of them can forget a field. Its
 * order is the order of the encoding, which is canonical and therefore may never change; new keys
 * go to the end. For task*.c only. */
#ifndef TASKWIRE_TASK_ROW_H
#define TASKWIRE_TASK_ROW_H

#include "schema/task.h"

typedef enum {
    KIND_UUID, /* nil where there is none */
    KIND_REV, /* an integer from 0 */
    KIND_COUNT, /* an integer from 1, nil for 0 */
    KIND_INSTANT, /* nil where there is none */
    KIND_TEXT, /* perhaps empty */
    KIND_OPTIONAL_TEXT, /* nil when absent */
    KIND_STATUS,
    KIND_PRIORITY,
    KIND_TAGS,
    KIND_RECURRENCE,
    KIND_REMINDERS,
} kind_t;

typedef struct {
    const char *name;
    task_field_t field; /* TASK_N_FIELDS: none of those that `set` can name */
    kind_t kind;
    size_t offset; /* in task_t, of the kinds with one value */
} task_row_t;

#define TASK_N_ROWS 24

extern const task_row_t task_rows[TASK_N_ROWS];

/* Words, in the order of their enums, NULL at the end. */
extern const char *const task_from_names[];
extern const char *const task_missed_names[];

static inline const void *task_value_of(const task_t *task, const task_row_t *row)
{
    return (const char *)task + row->offset;
}

static inline void *task_place_of(task_t *task, const task_row_t *row)
{
    return (char *)task + row->offset;
}

#endif
