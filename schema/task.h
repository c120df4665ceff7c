/* SPDX-License-Identifier: Apache-2.0 */
/* A task, the same in memory, in msgpack and in JSON. Its encoding is the truth that PostgreSQL
 * stores (task.body) and that events carry as `after`; columns beside it are only there to search
 * by. */
#ifndef TASKWIRE_TASK_H
#define TASKWIRE_TASK_H

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/instant.h"
#include "schema/limits.h"
#include "schema/mp.h"

typedef enum {
    STATUS_OPEN,
    STATUS_IN_PROGRESS,
    STATUS_DONE,
    STATUS_CANCELLED,
    STATUS_COUNT
} task_status_t;
typedef enum {
    PRIORITY_LOW,
    PRIORITY_MEDIUM,
    PRIORITY_HIGH,
    PRIORITY_URGENT,
    PRIORITY_COUNT
} task_priority_t;
typedef enum { FROM_DUE, FROM_COMPLETION } recurrence_from_t;
typedef enum { MISSED_NEXT, MISSED_EACH, MISSED_KEEP } recurrence_missed_t;
/* When all-day tasks remind unless their account says otherwise. */
#define ALL_DAY_TIME "09:00"

typedef enum { FOR_ACCOUNT, FOR_ASSIGNEE, FOR_ALL } reminder_for_t;

/* The words for them, as clients see them; NULL beyond the last. */
extern const char *const task_status_names[STATUS_COUNT + 1];
extern const char *const task_priority_names[PRIORITY_COUNT + 1];

typedef struct {
    uuid_t id;
    slice_t before; /* an ISO duration before the due instant as the client wrote it; absent:
                       `at_us` counts */
    int64_t before_us;
    int64_t at_us; /* INSTANT_NONE unless absolute */
    reminder_for_t whom;
    uuid_t account; /* for FOR_ACCOUNT */
    slice_t time; /* HH:MM that `before` counts from, in an all-day task; absent: ALL_DAY_TIME */
    bool is_snooze; /* made by task.snooze: the next one of the same account takes its place */
} reminder_t;

typedef struct {
    uuid_t id;
    uuid_t list;
    int64_t rev;
    slice_t title;
    slice_t notes;
    task_status_t status;
    task_priority_t priority;
    const slice_t *tags;
    uint32_t n_tags;
    slice_t due; /* absent: none. As the client wrote it; instants in UTC */
    due_kind_t due_kind;
    slice_t time_zone; /* absent unless due is set */
    int64_t due_at_us;
    slice_t rule; /* absent: does not recur. As rule_format writes it */
    recurrence_from_t from;
    recurrence_missed_t missed;
    slice_t rule_start; /* the date or local time from which the rule counts; absent: due */
    slice_t planned; /* the date that the rule gave this occurrence; absent: that of due */
    const slice_t *skips; /* dates of the rule that have no occurrence, ascending */
    uint32_t n_skips;
    uuid_t series; /* nil unless it recurs or did */
    int64_t occurrence; /* from 1; 0 without series */
    reminder_t reminders[LIMIT_REMINDERS];
    uint32_t n_reminders;
    uuid_t assignee;
    uuid_t parent;
    slice_t position;
    int64_t created_at_us;
    uuid_t created_by;
    int64_t updated_at_us;
    int64_t completed_at_us; /* when it was done or cancelled; INSTANT_NONE while it is open */
    int64_t closed_rev; /* the rev of the event that did so; 0 while it is open */
    int64_t deleted_at_us;
} task_t;

/* The fields that an event's `set` and `was` can name, in the order of the encoding. `rev` and
 * `updated_at` are not among them: they follow from the event. */
typedef enum {
    TASK_ID,
    TASK_LIST,
    TASK_TITLE,
    TASK_NOTES,
    TASK_STATUS,
    TASK_PRIORITY,
    TASK_TAGS,
    TASK_DUE,
    TASK_TIME_ZONE,
    TASK_DUE_AT,
    TASK_RECURRENCE,
    TASK_SERIES,
    TASK_OCCURRENCE,
    TASK_REMINDERS,
    TASK_ASSIGNEE,
    TASK_PARENT,
    TASK_POSITION,
    TASK_CREATED_AT,
    TASK_CREATED_BY,
    TASK_COMPLETED_AT,
    TASK_CLOSED_REV,
    TASK_DELETED_AT,
    TASK_N_FIELDS,
} task_field_t;

typedef uint32_t task_fields_t; /* bit F for field F */

#define TASK_FIELDS_ALL (((task_fields_t)1 << TASK_N_FIELDS) - 1)

/* The name of the field in JSON and msgpack. */
const char *task_field_name(task_field_t field);

/* The fields in which the two differ. */
task_fields_t task_diff(const task_t *before, const task_t *after);

/* Appends the whole task as a msgpack map: id, list, rev, then as in API order, updated_at before
 * completed_at. Absent values are nil, so that the map always has the same keys. */
void task_encode(const task_t *task, buf_t *out);

/* Appends a map of the given fields only. */
void task_encode_fields(const task_t *task, task_fields_t fields, buf_t *out);

/* Reads an encoded task; unknown keys are skipped, absent ones keep their zero. Text borrows from
 * `bytes`; tags are in the arena. False if it is no task: id or list missing, a wrong type, a limit
 * exceeded. */
bool task_decode(slice_t bytes, arena_t *arena, task_t *out);

/* Copies everything that the task borrows into the arena. */
void task_copy(const task_t *task, arena_t *arena, task_t *out);

/* When a reminder of this task fires, or INSTANT_NONE when it has no instant now (no due date). In
 * an all-day task `before` is counted on the clock of its zone, so that a day before is the same
 * time of the day before, whatever clocks do in between. */
int64_t task_reminder_at(const task_t *task, const reminder_t *reminder);

/* Whether work on it is still to be done: open or in progress, and not deleted. */
static inline bool task_is_live(const task_t *task)
{
    return task->deleted_at_us == INSTANT_NONE &&
           (task->status == STATUS_OPEN || task->status == STATUS_IN_PROGRESS);
}

#endif
