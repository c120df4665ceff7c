/* SPDX-License-Identifier: Apache-2.0 */
/* The table of fields, and what goes by it or by a field alone: comparing, copying, when a reminder
 * fires. The codec is in task_encode.c and task_decode.c. */
#include "schema/task_row.h"

#include <assert.h>

#include "schema/zone.h"

const char *const task_status_names[STATUS_COUNT + 1] = {
    "open", "in_progress", "done", "cancelled", NULL,
};
const char *const task_priority_names[PRIORITY_COUNT + 1] = {
    "low", "medium", "high", "urgent", NULL,
};
const char *const task_from_names[] = {"due", "completion", NULL};
const char *const task_missed_names[] = {"next", "each", "keep", NULL};

const task_row_t task_rows[TASK_N_ROWS] = {
    {"id", TASK_ID, KIND_UUID, offsetof(task_t, id)},
    {"list", TASK_LIST, KIND_UUID, offsetof(task_t, list)},
    {"rev", TASK_N_FIELDS, KIND_REV, offsetof(task_t, rev)},
    {"title", TASK_TITLE, KIND_TEXT, offsetof(task_t, title)},
    {"notes", TASK_NOTES, KIND_TEXT, offsetof(task_t, notes)},
    {"status", TASK_STATUS, KIND_STATUS, offsetof(task_t, status)},
    {"priority", TASK_PRIORITY, KIND_PRIORITY, offsetof(task_t, priority)},
    {"tags", TASK_TAGS, KIND_TAGS, offsetof(task_t, tags)},
    {"due", TASK_DUE, KIND_OPTIONAL_TEXT, offsetof(task_t, due)},
    {"time_zone", TASK_TIME_ZONE, KIND_OPTIONAL_TEXT, offsetof(task_t, time_zone)},
    {"due_at", TASK_DUE_AT, KIND_INSTANT, offsetof(task_t, due_at_us)},
    {"recurrence", TASK_RECURRENCE, KIND_RECURRENCE, offsetof(task_t, rule)},
    {"series", TASK_SERIES, KIND_UUID, offsetof(task_t, series)},
    {"occurrence", TASK_OCCURRENCE, KIND_COUNT, offsetof(task_t, occurrence)},
    {"reminders", TASK_REMINDERS, KIND_REMINDERS, offsetof(task_t, reminders)},
    {"assignee", TASK_ASSIGNEE, KIND_UUID, offsetof(task_t, assignee)},
    {"parent", TASK_PARENT, KIND_UUID, offsetof(task_t, parent)},
    {"position", TASK_POSITION, KIND_TEXT, offsetof(task_t, position)},
    {"created_at", TASK_CREATED_AT, KIND_INSTANT, offsetof(task_t, created_at_us)},
    {"created_by", TASK_CREATED_BY, KIND_UUID, offsetof(task_t, created_by)},
    {"updated_at", TASK_N_FIELDS, KIND_INSTANT, offsetof(task_t, updated_at_us)},
    {"completed_at", TASK_COMPLETED_AT, KIND_INSTANT, offsetof(task_t, completed_at_us)},
    {"closed_rev", TASK_CLOSED_REV, KIND_COUNT, offsetof(task_t, closed_rev)},
    {"deleted_at", TASK_DELETED_AT, KIND_INSTANT, offsetof(task_t, deleted_at_us)},
};

const char *task_field_name(task_field_t field)
{
    for (size_t i = 0; i < TASK_N_ROWS; i++) {
        if (task_rows[i].field == field)
            return task_rows[i].name;
    }
    assert(false && "no such field");
    return NULL;
}

/* --- comparing --- */

static bool same_text(slice_t a, slice_t b)
{
    return (a.data == NULL) == (b.data == NULL) && slice_eq(a, b);
}

static bool same_tags(const task_t *a, const task_t *b)
{
    if (a->n_tags != b->n_tags)
        return false;
    for (uint32_t i = 0; i < a->n_tags; i++) {
        if (!slice_eq(a->tags[i], b->tags[i]))
            return false;
    }
    return true;
}

static bool same_skips(const task_t *a, const task_t *b)
{
    if (a->n_skips != b->n_skips)
        return false;
    for (uint32_t i = 0; i < a->n_skips; i++) {
        if (!slice_eq(a->skips[i], b->skips[i]))
            return false;
    }
    return true;
}

static bool same_recurrence(const task_t *a, const task_t *b)
{
    if (!same_text(a->rule, b->rule))
        return false;
    return a->rule.data == NULL || (a->from == b->from && a->missed == b->missed &&
                                    same_text(a->rule_start, b->rule_start) &&
                                    same_text(a->planned, b->planned) && same_skips(a, b));
}

static bool same_reminder(const reminder_t *a, const reminder_t *b)
{
    if (!uuid_eq(&a->id, &b->id) || !same_text(a->before, b->before) || a->whom != b->whom)
        return false;
    if ((a->before.data == NULL && a->at_us != b->at_us) || a->is_snooze != b->is_snooze ||
        !same_text(a->time, b->time))
        return false;
    return a->whom != FOR_ACCOUNT || uuid_eq(&a->account, &b->account);
}

static bool same_reminders(const task_t *a, const task_t *b)
{
    if (a->n_reminders != b->n_reminders)
        return false;
    for (uint32_t i = 0; i < a->n_reminders; i++) {
        if (!same_reminder(&a->reminders[i], &b->reminders[i]))
            return false;
    }
    return true;
}

static bool same_value(const task_t *a, const task_t *b, const task_row_t *row)
{
    const void *x = task_value_of(a, row);
    const void *y = task_value_of(b, row);
    switch (row->kind) {
    case KIND_UUID:
        return uuid_eq(x, y);
    case KIND_REV:
    case KIND_COUNT:
    case KIND_INSTANT:
        return *(const int64_t *)x == *(const int64_t *)y;
    case KIND_TEXT:
        return slice_eq(*(const slice_t *)x, *(const slice_t *)y);
    case KIND_OPTIONAL_TEXT:
        return same_text(*(const slice_t *)x, *(const slice_t *)y);
    case KIND_STATUS:
        return a->status == b->status;
    case KIND_PRIORITY:
        return a->priority == b->priority;
    case KIND_TAGS:
        return same_tags(a, b);
    case KIND_RECURRENCE:
        return same_recurrence(a, b);
    case KIND_REMINDERS:
        return same_reminders(a, b);
    }
    return false;
}

task_fields_t task_diff(const task_t *before, const task_t *after)
{
    task_fields_t fields = 0;
    for (size_t i = 0; i < TASK_N_ROWS; i++) {
        if (task_rows[i].field != TASK_N_FIELDS && !same_value(before, after, &task_rows[i]))
            fields |= (task_fields_t)1 << task_rows[i].field;
    }
    return fields;
}

/* --- the rest --- */

void task_copy(const task_t *task, arena_t *arena, task_t *out)
{
    *out = *task;
    slice_t *tags = arena_alloc(arena, task->n_tags * sizeof *tags);
    for (uint32_t i = 0; i < task->n_tags; i++)
        tags[i] = arena_copy(arena, task->tags[i]);
    out->tags = tags;
    out->rule = arena_copy(arena, task->rule);
    out->rule_start = arena_copy(arena, task->rule_start);
    out->planned = arena_copy(arena, task->planned);
    slice_t *skips = arena_alloc(arena, task->n_skips * sizeof *skips);
    for (uint32_t i = 0; i < task->n_skips; i++)
        skips[i] = arena_copy(arena, task->skips[i]);
    out->skips = skips;
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        out->reminders[i].before = arena_copy(arena, task->reminders[i].before);
        out->reminders[i].time = arena_copy(arena, task->reminders[i].time);
    }
    for (size_t i = 0; i < TASK_N_ROWS; i++) {
        if (task_rows[i].kind != KIND_TEXT && task_rows[i].kind != KIND_OPTIONAL_TEXT)
            continue;
        slice_t *text = task_place_of(out, &task_rows[i]);
        *text = arena_copy(arena, *text);
    }
}

static int64_t all_day_reminder_at(const task_t *task, const reminder_t *reminder)
{
    local_t local;
    zone_fit_t fit;
    int minutes = 0;
    if (due_parse(task->due, &local) != DUE_DATE)
        return INSTANT_NONE;
    slice_t time = reminder->time.data == NULL ? slice_str(ALL_DAY_TIME) : reminder->time;
    (void)time_of_day_parse(time, &minutes);
    local_from_utc_us(
        instant_clamp(local_as_utc_us(&local) + minutes * 60 * US_PER_S - reminder->before_us),
        &local);
    return instant_clamp(zone_to_utc(task->time_zone, &local, &fit));
}

int64_t task_reminder_at(const task_t *task, const reminder_t *reminder)
{
    if (reminder->before.data == NULL)
        return reminder->at_us;
    if (task->due_at_us == INSTANT_NONE)
        return INSTANT_NONE;
    if (task->due_kind == DUE_DATE)
        return all_day_reminder_at(task, reminder);
    return instant_clamp(task->due_at_us - reminder->before_us);
}
