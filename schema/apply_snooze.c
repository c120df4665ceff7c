/* SPDX-License-Identifier: Apache-2.0 */
/* Snoozing: whoever does it is reminded once more, at an instant of their own choice. The due date
 * stays as it is, and so do all other reminders; only an earlier snooze of the same account makes
 * room. Dismissing says to one's own devices that one has seen it: an event in the account's
 * stream, of which the task knows nothing. */
#include "schema/apply_op.h"

#define MAX_TEXT_BYTES 64

static bool read_until(apply_t *self, const data_value_t *value, int64_t *out_us)
{
    if (!data_instant(value, out_us))
        return false;
    if (*out_us <= self->now_us)
        data_refuse(value, "this must be in the future");
    return apply_is_fine(self);
}

static bool read_for(apply_t *self, const data_value_t *value, int64_t *out_us)
{
    slice_t text;
    int64_t duration_us = 0;
    if (!data_str(value, MAX_TEXT_BYTES, &text))
        return false;
    if (!duration_parse(text, &duration_us) || duration_us <= 0)
        data_refuse(value, "this must be a duration like PT15M or P1D, of at most 366 days");
    *out_us = instant_clamp(self->now_us + duration_us);
    return apply_is_fine(self);
}

/* The instant that the data says: `until` or `for`. */
static bool read_instant(apply_t *self, int64_t *out_us)
{
    data_value_t until;
    data_value_t duration;
    if (!apply_open_data(self))
        return false;
    bool has_until = data_get(&self->data, "until", &until) == DATA_GIVEN;
    bool has_for = data_get(&self->data, "for", &duration) == DATA_GIVEN;
    if (has_until == has_for)
        data_refuse(&until, "either `until` or `for` is needed");
    else if (has_until)
        read_until(self, &until, out_us);
    else
        read_for(self, &duration, out_us);
    return apply_close_data(self);
}

static bool is_own_snooze(const apply_t *self, const reminder_t *reminder)
{
    return reminder->is_snooze && uuid_eq(&reminder->account, &self->command->author);
}

/* Whether that very snooze is there. */
static bool has_snooze(const apply_t *self, const task_t *task, int64_t at_us)
{
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        if (is_own_snooze(self, &task->reminders[i]) && task->reminders[i].at_us == at_us)
            return true;
    }
    return false;
}

static void drop_snoozes(const apply_t *self, task_t *task)
{
    uint32_t n_reminders = 0;
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        if (!is_own_snooze(self, &task->reminders[i]))
            task->reminders[n_reminders++] = task->reminders[i];
    }
    task->n_reminders = n_reminders;
}

static bool add_snooze(apply_t *self, task_t *task, int64_t at_us)
{
    if (task->n_reminders == LIMIT_REMINDERS)
        return apply_refuse(self, ERR_CONFLICT, "The task has 16 reminders; remove one first.");
    uint8_t name[2 * UUID_BYTES];
    memcpy(name, self->command->author.bytes, UUID_BYTES);
    memcpy(name + UUID_BYTES, self->command->id.bytes, UUID_BYTES);
    task->reminders[task->n_reminders++] = (reminder_t){
        .id = uuid_derive(&task->id, slice_of(name, sizeof name)),
        .at_us = at_us,
        .whom = FOR_ACCOUNT,
        .account = self->command->author,
        .is_snooze = true,
    };
    return true;
}

static void snooze_task(apply_t *self)
{
    int64_t at_us = INSTANT_NONE;
    if (!apply_enter_task(self, true) || !apply_expect_task(self))
        return;
    task_t task = self->task->task;
    if (!task_is_live(&task)) {
        apply_refuse(self, ERR_CONFLICT, "The task is closed.");
        return;
    }
    if (!read_instant(self, &at_us))
        return;
    if (!has_snooze(self, &task, at_us)) {
        drop_snoozes(self, &task);
        if (!add_snooze(self, &task, at_us))
            return;
    }
    apply_commit_task(self, EVENT_TASK_SNOOZED, &task);
}

/* --- dismissing --- */

typedef struct {
    uuid_t reminder;
    int64_t at_us;
} dismiss_t;

/* Without `at`: whatever of it has fired until now. */
static bool read_dismiss(apply_t *self, dismiss_t *out)
{
    data_value_t value;
    *out = (dismiss_t){.at_us = self->now_us};
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "reminder", &value))
        data_uuid(&value, &out->reminder);
    if (data_get(&self->data, "at", &value) == DATA_GIVEN)
        data_instant(&value, &out->at_us);
    return apply_close_data(self);
}

static slice_t encode_dismissed(apply_t *self, const dismiss_t *asked)
{
    mp_put_map(&self->scratch, 2);
    mp_put_cstr(&self->scratch, "id");
    mp_put_uuid(&self->scratch, &asked->reminder);
    mp_put_cstr(&self->scratch, "at");
    mp_put_instant(&self->scratch, asked->at_us);
    return apply_keep(self);
}

/* The task may no longer have that reminder: it may have fired before, which is known elsewhere. So
 * it is not looked for; what never fired cannot be shown, and saying that it was seen harms nobody.
 */
static void dismiss_reminder(apply_t *self)
{
    dismiss_t asked;
    if (!apply_enter_task_to_read(self) || !apply_expect_none(self) || !read_dismiss(self, &asked))
        return;
    if (asked.at_us > self->now_us) {
        apply_refuse(self, ERR_CONFLICT, "That instant has not come yet.");
        return;
    }
    stream_t *account = state_stream(self->state, &self->command->author);
    if (account == NULL) {
        apply_refuse(self, ERR_NOT_FOUND, "There is no such account.");
        return;
    }
    event_t event = {.type = EVENT_REMINDER_DISMISSED, .task = self->task_id};
    event.set = apply_empty_map();
    event.was = apply_empty_map();
    event.reminder = encode_dismissed(self, &asked);
    apply_emit(self, account, event);
    task_encode(&self->task->task, &self->scratch);
    apply_answer(self, account, &self->task_id, apply_keep(self));
}

const apply_row_t apply_snooze_rows[APPLY_SNOOZE_ROWS] = {
    {OP_TASK_SNOOZE, snooze_task},
    {OP_REMINDER_DISMISS, dismiss_reminder},
};
