/* SPDX-License-Identifier: Apache-2.0 */
/* When a task is due, how it recurs, whom it reminds. These hang together: a rule and a reminder
 * "before" need a due date, a due date needs a zone; so they are read in that order, and what does
 * not fit is refused at the field that the client has sent. How it recurs is in apply_recurrence.c.
 */
#include "schema/apply_schedule.h"

#define MAX_TEXT_BYTES 64 /* of due dates, zones and durations */

/* --- due date and zone --- */

static slice_t zone_of_author(const schedule_t *self)
{
    const account_t *account = state_account(self->apply->state, &self->apply->command->author);
    if (account == NULL || account->time_zone.n_bytes == 0)
        return slice_str("UTC");
    return account->time_zone;
}

static bool read_zone(const data_value_t *value, slice_t *out)
{
    slice_t name = slice_none();
    if (!data_str(value, MAX_TEXT_BYTES, &name))
        return false;
    if (!zone_is_known(name)) {
        data_refuse(value, "this must be the name of a time zone like Europe/Zurich");
        return false;
    }
    *out = name;
    return true;
}

static void clear_due(task_t *task)
{
    task->due = slice_none();
    task->due_kind = DUE_NONE;
    task->time_zone = slice_none();
    task->due_at_us = INSTANT_NONE;
}

static void set_due(schedule_t *self, slice_t text, slice_t zone)
{
    due_t due;
    if (!due_resolve(text, zone, self->apply->arena, &due)) {
        data_refuse(&self->due, "this must be a date (2026-11-23), a local time "
                                "(2026-11-23T09:00) or an instant (2026-11-23T08:00:00Z)");
        self->is_due_wrong = true;
        return;
    }
    self->task->due = due.text;
    self->task->due_kind = due.kind;
    self->task->due_at_us = due.at_us;
    self->task->time_zone = zone;
}

static void read_due(schedule_t *self)
{
    data_value_t zone_value;
    data_is_t is_due = data_get(&self->apply->data, "due", &self->due);
    data_is_t is_zone = data_get(&self->apply->data, "time_zone", &zone_value);
    self->is_due_given = is_due != DATA_ABSENT;
    slice_t text = is_due == DATA_NULL ? slice_none() : self->task->due;
    slice_t zone = self->task->time_zone;
    if (is_due == DATA_ABSENT && is_zone == DATA_ABSENT)
        return;
    if (is_due == DATA_GIVEN && !data_str(&self->due, MAX_TEXT_BYTES, &text)) {
        self->is_due_wrong = true;
        return;
    }
    if (text.data == NULL) {
        clear_due(self->task);
        if (is_zone == DATA_GIVEN)
            data_refuse(&zone_value, "a time zone needs a due date");
        return;
    }
    if (is_zone == DATA_NULL || zone.data == NULL)
        zone = zone_of_author(self);
    if (is_zone == DATA_GIVEN && !read_zone(&zone_value, &zone))
        self->is_due_wrong = true;
    set_due(self, text, zone);
}

/* --- reminders --- */

/* A list of reminders as it is read. */
typedef struct {
    reminder_t items[LIMIT_REMINDERS]; /* an id that is nil is not known yet */
    data_value_t values[LIMIT_REMINDERS];
    uint32_t n_items;
} reminders_t;

static bool is_same_value(const reminder_t *a, const reminder_t *b)
{
    bool is_relative = a->before.data != NULL;
    if (is_relative != (b->before.data != NULL) || a->whom != b->whom ||
        a->is_snooze != b->is_snooze)
        return false;
    if (is_relative ? a->before_us != b->before_us : a->at_us != b->at_us)
        return false;
    /* Without a time it is any: a task may have been of another kind. */
    if (a->time.data != NULL && b->time.data != NULL && !slice_eq(a->time, b->time))
        return false;
    return a->whom != FOR_ACCOUNT || uuid_eq(&a->account, &b->account);
}

/* One may remind oneself, and leave alone what others have set for themselves. */
static bool may_remind(const schedule_t *self, const uuid_t *account)
{
    if (uuid_eq(account, &self->apply->command->author))
        return true;
    for (uint32_t i = 0; self->before != NULL && i < self->before->n_reminders; i++) {
        const reminder_t *old = &self->before->reminders[i];
        if (old->whom == FOR_ACCOUNT && uuid_eq(&old->account, account))
            return true;
    }
    return false;
}

static void read_whom(schedule_t *self, data_map_t *map, reminder_t *out)
{
    data_value_t value;
    slice_t word = slice_str("me");
    if (data_get(map, "for", &value) == DATA_GIVEN && !data_str(&value, MAX_TEXT_BYTES, &word))
        return;
    if (slice_is(word, "assignee")) {
        out->whom = FOR_ASSIGNEE;
    } else if (slice_is(word, "all")) {
        out->whom = FOR_ALL;
    } else if (slice_is(word, "me")) {
        out->account = self->apply->command->author;
    } else if (!uuid_parse(word, &out->account) || !may_remind(self, &out->account)) {
        data_refuse(&value, "this must be me, assignee or all");
    }
}

static void read_before(schedule_t *self, const data_value_t *value, reminder_t *out)
{
    if (!data_str(value, MAX_TEXT_BYTES, &out->before))
        return;
    if (!duration_parse(out->before, &out->before_us))
        data_refuse(value, "this must be a duration like PT15M or P1D, of at most 366 days");
    else if (self->task->due.data == NULL && !self->is_due_wrong)
        data_refuse(value, "this needs a due date");
}

static void read_when(schedule_t *self, const data_value_t *item, data_map_t *map, reminder_t *out)
{
    data_value_t before;
    data_value_t at;
    bool is_relative = data_get(map, "before", &before) == DATA_GIVEN;
    bool is_absolute = data_get(map, "at", &at) == DATA_GIVEN;
    if (is_relative == is_absolute)
        data_refuse(item, "a reminder has either `before` or `at`");
    else if (is_relative)
        read_before(self, &before, out);
    else
        data_instant(&at, &out->at_us);
}

/* The author's, for those who say nothing themselves. */
static slice_t all_day_time(const schedule_t *self)
{
    const account_t *account = state_account(self->apply->state, &self->apply->command->author);
    if (account == NULL || account->all_day_time.n_bytes == 0)
        return slice_str(ALL_DAY_TIME);
    return account->all_day_time;
}

/* Only what is relative in an all-day task has a time of day; elsewhere it means nothing, and is
 * dropped. */
static void settle_time(const schedule_t *self, reminder_t *reminder)
{
    if (self->task->due_kind != DUE_DATE || reminder->before.data == NULL)
        reminder->time = slice_none();
    else if (reminder->time.data == NULL)
        reminder->time = all_day_time(self);
}

static void read_time(data_map_t *map, reminder_t *out)
{
    data_value_t value;
    int minutes = 0;
    if (data_get(map, "time", &value) == DATA_GIVEN &&
        data_str(&value, MAX_TEXT_BYTES, &out->time) && !time_of_day_parse(out->time, &minutes))
        data_refuse(&value, "this must be a time of day like 09:00");
}

/* A client may send back what it has read. */
static void read_snooze(data_map_t *map, reminder_t *out)
{
    data_value_t value;
    if (data_get(map, "snooze", &value) == DATA_GIVEN && data_bool(&value, &out->is_snooze) &&
        out->is_snooze && (out->before.data != NULL || out->whom != FOR_ACCOUNT))
        data_refuse(&value, "a snooze is `at` an instant, for one account");
}

static bool read_reminder(schedule_t *self, const data_value_t *item, reminder_t *out)
{
    data_map_t map;
    data_value_t value;
    *out = (reminder_t){.at_us = INSTANT_NONE};
    if (!data_map(item, &map))
        return false;
    if (data_get(&map, "id", &value) == DATA_GIVEN)
        data_uuid(&value, &out->id);
    read_when(self, item, &map, out);
    read_whom(self, &map, out);
    read_snooze(&map, out);
    read_time(&map, out);
    settle_time(self, out);
    data_close(&map);
    return apply_is_fine(self->apply);
}

/* What says the same as an earlier one is the same. */
static void add_reminder(reminders_t *list, const data_value_t *value, const reminder_t *reminder)
{
    for (uint32_t i = 0; i < list->n_items; i++) {
        if (!is_same_value(&list->items[i], reminder))
            continue;
        if (uuid_is_nil(&list->items[i].id))
            list->items[i].id = reminder->id;
        return;
    }
    list->values[list->n_items] = *value;
    list->items[list->n_items++] = *reminder;
}

static bool has_id(const reminders_t *list, const uuid_t *id)
{
    for (uint32_t i = 0; i < list->n_items; i++) {
        if (uuid_eq(&list->items[i].id, id))
            return true;
    }
    return false;
}

/* The id of a stored reminder that says the same, so that ids stay; else one that a repeat of the
 * command would draw again. */
static uuid_t id_for(const schedule_t *self, const reminders_t *list, const reminder_t *reminder,
                     uint32_t index)
{
    for (uint32_t i = 0; self->before != NULL && i < self->before->n_reminders; i++) {
        const reminder_t *old = &self->before->reminders[i];
        if (is_same_value(old, reminder) && !has_id(list, &old->id))
            return old->id;
    }
    const command_t *command = self->apply->command;
    uint8_t name[2 * UUID_BYTES + 1];
    memcpy(name, command->author.bytes, UUID_BYTES);
    memcpy(name + UUID_BYTES, command->id.bytes, UUID_BYTES);
    name[2 * UUID_BYTES] = (uint8_t)index;
    return uuid_derive(&self->task->id, slice_of(name, sizeof name));
}

static void refuse_equal_ids(const reminders_t *list)
{
    for (uint32_t i = 1; i < list->n_items; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (uuid_eq(&list->items[i].id, &list->items[j].id))
                data_refuse(&list->values[i], "another reminder has this id");
        }
    }
}

static void replace_reminders(schedule_t *self, const data_value_t *value)
{
    data_array_t array;
    data_value_t item;
    reminder_t reminder;
    reminders_t list = {.n_items = 0};
    if (!data_array(value, LIMIT_REMINDERS, &array))
        return;
    while (data_next(&array, &item)) {
        if (read_reminder(self, &item, &reminder))
            add_reminder(&list, &item, &reminder);
    }
    for (uint32_t i = 0; i < list.n_items; i++) {
        if (uuid_is_nil(&list.items[i].id))
            list.items[i].id = id_for(self, &list, &list.items[i], list.values[i].index);
    }
    refuse_equal_ids(&list);
    memcpy(self->task->reminders, list.items, sizeof list.items);
    self->task->n_reminders = list.n_items;
}

static bool has_relative_reminder(const task_t *task)
{
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        if (task->reminders[i].before.data != NULL)
            return true;
    }
    return false;
}

static void read_reminders(schedule_t *self)
{
    data_value_t value;
    data_is_t is = data_get(&self->apply->data, "reminders", &value);
    if (is == DATA_NULL)
        self->task->n_reminders = 0;
    else if (is == DATA_GIVEN)
        replace_reminders(self, &value);
    else if (self->task->due.data == NULL && has_relative_reminder(self->task))
        data_refuse(&self->due, "the task has reminders before its due date; remove them with it");
    for (uint32_t i = 0; self->is_due_given && i < self->task->n_reminders; i++)
        settle_time(self, &self->task->reminders[i]);
}

void apply_read_schedule(apply_t *self, const task_t *before, task_t *task)
{
    schedule_t schedule = {.apply = self, .before = before, .task = task};
    read_due(&schedule);
    apply_read_recurrence(&schedule);
    read_reminders(&schedule);
}
