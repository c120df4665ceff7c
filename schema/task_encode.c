/* SPDX-License-Identifier: Apache-2.0 */
/* A task as a msgpack map, by the table of its fields. */
#include "schema/task_row.h"

static void put_optional_text(buf_t *out, slice_t text)
{
    if (text.data == NULL)
        mp_put_nil(out);
    else
        mp_put_str(out, text);
}

static void put_count(buf_t *out, int64_t count)
{
    if (count == 0)
        mp_put_nil(out);
    else
        mp_put_int(out, count);
}

static void put_tags(buf_t *out, const task_t *task)
{
    mp_put_array(out, task->n_tags);
    for (uint32_t i = 0; i < task->n_tags; i++)
        mp_put_str(out, task->tags[i]);
}

static void put_text_pair(buf_t *out, const char *key, slice_t text)
{
    mp_put_cstr(out, key);
    mp_put_str(out, text);
}

static void put_skips(buf_t *out, const task_t *task)
{
    mp_put_cstr(out, "skip");
    mp_put_array(out, task->n_skips);
    for (uint32_t i = 0; i < task->n_skips; i++)
        mp_put_str(out, task->skips[i]);
}

static void put_recurrence(buf_t *out, const task_t *task)
{
    if (task->rule.data == NULL) {
        mp_put_nil(out);
        return;
    }
    bool has_start = task->rule_start.data != NULL;
    bool is_moved = task->planned.data != NULL;
    mp_put_map(out, 3 + (size_t)has_start + (size_t)is_moved + (size_t)(task->n_skips > 0));
    mp_put_cstr(out, "rule");
    mp_put_str(out, task->rule);
    mp_put_cstr(out, "from");
    mp_put_cstr(out, task_from_names[task->from]);
    mp_put_cstr(out, "missed");
    mp_put_cstr(out, task_missed_names[task->missed]);
    if (has_start)
        put_text_pair(out, "start", task->rule_start);
    if (is_moved)
        put_text_pair(out, "planned", task->planned);
    if (task->n_skips > 0)
        put_skips(out, task);
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

static void put_reminder(buf_t *out, const reminder_t *reminder)
{
    bool has_time = reminder->time.data != NULL;
    mp_put_map(out, (size_t)3 + reminder->is_snooze + has_time);
    mp_put_cstr(out, "id");
    mp_put_uuid(out, &reminder->id);
    if (reminder->before.data != NULL) {
        mp_put_cstr(out, "before");
        mp_put_str(out, reminder->before);
    } else {
        mp_put_cstr(out, "at");
        mp_put_instant(out, reminder->at_us);
    }
    mp_put_cstr(out, "for");
    put_whom(out, reminder);
    if (reminder->is_snooze) {
        mp_put_cstr(out, "snooze");
        mp_put_bool(out, true);
    }
    if (has_time) {
        mp_put_cstr(out, "time");
        mp_put_str(out, reminder->time);
    }
}

static void put_reminders(buf_t *out, const task_t *task)
{
    mp_put_array(out, task->n_reminders);
    for (uint32_t i = 0; i < task->n_reminders; i++)
        put_reminder(out, &task->reminders[i]);
}

static void put_value(buf_t *out, const task_t *task, const task_row_t *row)
{
    const void *value = task_value_of(task, row);
    switch (row->kind) {
    case KIND_UUID:
        mp_put_uuid(out, value);
        break;
    case KIND_REV:
        mp_put_int(out, *(const int64_t *)value);
        break;
    case KIND_COUNT:
        put_count(out, *(const int64_t *)value);
        break;
    case KIND_INSTANT:
        mp_put_instant(out, *(const int64_t *)value);
        break;
    case KIND_TEXT:
        mp_put_str(out, *(const slice_t *)value);
        break;
    case KIND_OPTIONAL_TEXT:
        put_optional_text(out, *(const slice_t *)value);
        break;
    case KIND_STATUS:
        mp_put_cstr(out, task_status_names[task->status]);
        break;
    case KIND_PRIORITY:
        mp_put_cstr(out, task_priority_names[task->priority]);
        break;
    case KIND_TAGS:
        put_tags(out, task);
        break;
    case KIND_RECURRENCE:
        put_recurrence(out, task);
        break;
    case KIND_REMINDERS:
        put_reminders(out, task);
        break;
    }
}

static void put_pair(buf_t *out, const task_t *task, const task_row_t *row)
{
    mp_put_cstr(out, row->name);
    put_value(out, task, row);
}

void task_encode(const task_t *task, buf_t *out)
{
    mp_put_map(out, TASK_N_ROWS);
    for (size_t i = 0; i < TASK_N_ROWS; i++)
        put_pair(out, task, &task_rows[i]);
}

void task_encode_fields(const task_t *task, task_fields_t fields, buf_t *out)
{
    fields &= TASK_FIELDS_ALL;
    mp_put_map(out, (size_t)__builtin_popcount(fields));
    for (size_t i = 0; i < TASK_N_ROWS; i++) {
        if (task_rows[i].field != TASK_N_FIELDS && (fields >> task_rows[i].field & 1) != 0)
            put_pair(out, task, &task_rows[i]);
    }
}
