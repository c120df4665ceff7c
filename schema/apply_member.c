/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what in a list. These ops concern two streams: the list's, which its members follow,
 * and that of the account which comes or goes. */
#include "schema/apply_op.h"

#define ONE_OWNER "A list keeps at least one owner."
#define NO_MEMBER "The list has no such member."
#define RESTRICTED "This token is only for what is in its lists."

static void put_id(buf_t *out, const char *key, const uuid_t *id)
{
    mp_put_cstr(out, key);
    mp_put_uuid(out, id);
}

static void put_role(buf_t *out, role_t role)
{
    mp_put_cstr(out, "role");
    mp_put_cstr(out, role_name(role));
}

/* --- what the other ops need of it --- */

/* The title only where the account cannot have been told it by the list's own stream. */
static slice_t encode_joined(apply_t *self, role_t role, slice_t title)
{
    buf_t *out = &self->scratch;
    mp_put_map(out, title.data == NULL ? 2 : 3);
    put_id(out, "list", &self->list_id);
    put_role(out, role);
    if (title.data != NULL) {
        mp_put_cstr(out, "title");
        mp_put_str(out, title);
    }
    return apply_keep(self);
}

void apply_emit_joined(apply_t *self, const uuid_t *account, role_t role, slice_t title)
{
    event_t event = {.type = EVENT_LIST_JOINED};
    event.set = encode_joined(self, role, title);
    event.was = apply_empty_map();
    apply_emit(self, state_stream(self->state, account), event);
}

static slice_t encode_role(apply_t *self, role_t role)
{
    mp_put_map(&self->scratch, 1);
    put_role(&self->scratch, role);
    return apply_keep(self);
}

void apply_emit_left(apply_t *self, const uuid_t *account, role_t was)
{
    event_t event = {.type = EVENT_LIST_LEFT};
    mp_put_map(&self->scratch, 1);
    put_id(&self->scratch, "list", &self->list_id);
    event.set = apply_keep(self);
    event.was = encode_role(self, was);
    apply_emit(self, state_stream(self->state, account), event);
}

void apply_put_member(apply_t *self, const uuid_t *account, role_t role)
{
    const member_t *before = state_member(self->state, &self->list_id, account);
    role_t former = before == NULL ? ROLE_NONE : before->role;
    member_t member = {
        .key = {self->list_id, *account},
        .is_dirty = true,
        .role = role,
        .since_us = former == ROLE_NONE ? self->now_us : before->since_us,
    };
    state_put_member(self->state, &member);
    self->list->n_owners += (role == ROLE_OWNER) - (former == ROLE_OWNER);
    self->list->n_members += (role != ROLE_NONE) - (former != ROLE_NONE);
    self->list->is_dirty = true;
}

/* --- both ops --- */

typedef struct {
    uuid_t account;
    role_t before;
    role_t role;
    bool may_add; /* else only who is a member already gets another role */
} membership_t;

static role_t role_of_member(apply_t *self, const uuid_t *account)
{
    const member_t *member = state_member(self->state, &self->list_id, account);
    return member == NULL ? ROLE_NONE : member->role;
}

static bool leaves_an_owner(apply_t *self, const membership_t *change)
{
    if (change->before != ROLE_OWNER || change->role == ROLE_OWNER || self->list->n_owners > 1)
        return true;
    return apply_refuse(self, ERR_CONFLICT, ONE_OWNER);
}

static void read_account(apply_t *self, membership_t *out)
{
    data_value_t value;
    if (!data_need(&self->data, "account", &value) || !data_uuid(&value, &out->account) ||
        !out->may_add)
        return;
    if (state_account(self->state, &out->account) == NULL ||
        state_stream(self->state, &out->account) == NULL)
        data_refuse(&value, "there is no such account");
}

/* --- member.put --- */

static void read_add(apply_t *self, membership_t *out)
{
    data_value_t value;
    if (data_get(&self->data, "add", &value) == DATA_ABSENT)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (!mp_get_bool(&reader, &out->may_add))
        data_refuse(&value, "this must be true or false");
}

static bool read_membership(apply_t *self, membership_t *out)
{
    static const char *const words[] = {"viewer", "editor", "owner", NULL};
    data_value_t value;
    int word = 0;
    *out = (membership_t){.may_add = true};
    if (!apply_open_data(self))
        return false;
    read_add(self, out);
    read_account(self, out);
    if (data_need(&self->data, "role", &value))
        data_word(&value, words, &word);
    out->role = role_of(slice_str(words[word]));
    out->before = role_of_member(self, &out->account);
    return apply_close_data(self) && (out->may_add || out->before != ROLE_NONE ||
                                      apply_refuse(self, ERR_NOT_FOUND, NO_MEMBER));
}

static bool has_room(apply_t *self, const membership_t *change)
{
    if (change->before != ROLE_NONE || self->list->n_members < LIMIT_MEMBERS)
        return true;
    return apply_refuse(self, ERR_CONFLICT, "This list has as many members as a list can have.");
}

static slice_t encode_membership(apply_t *self, const membership_t *change)
{
    mp_put_map(&self->scratch, 2);
    put_id(&self->scratch, "account", &change->account);
    put_role(&self->scratch, change->role);
    return apply_keep(self);
}

static void commit_membership(apply_t *self, const membership_t *change)
{
    bool is_new = change->before == ROLE_NONE;
    bool is_same = change->before == change->role;
    event_t event = {.type = is_new ? EVENT_MEMBER_ADDED : EVENT_MEMBER_CHANGED};
    event.set = is_same ? apply_empty_map() : encode_membership(self, change);
    event.was = is_same || is_new ? apply_empty_map() : encode_role(self, change->before);
    if (!is_same)
        apply_put_member(self, &change->account, change->role);
    apply_emit(self, self->stream, event);
    if (is_new)
        apply_emit_joined(self, &change->account, change->role, slice_none());
    apply_answer(self, self->stream, NULL, slice_none());
}

static void put_membership(apply_t *self)
{
    membership_t change;
    if (!apply_enter_list(self, ROLE_OWNER))
        return;
    if (apply_is_restricted(self)) {
        apply_refuse(self, ERR_FORBIDDEN, RESTRICTED);
        return;
    }
    if (apply_expect_none(self) && read_membership(self, &change) &&
        leaves_an_owner(self, &change) && has_room(self, &change))
        commit_membership(self, &change);
}

/* --- member.remove --- */

/* Who is to go. Everybody may leave; owners remove others. */
static bool read_leaver(apply_t *self, membership_t *out)
{
    data_value_t value;
    *out = (membership_t){0};
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "account", &value))
        data_uuid(&value, &out->account);
    if (!apply_close_data(self))
        return false;
    out->before = role_of_member(self, &out->account);
    if (out->before == ROLE_NONE)
        return apply_refuse(self, ERR_NOT_FOUND, NO_MEMBER);
    if (!uuid_eq(&out->account, &self->command->author) && !apply_is_owner(self))
        return apply_refuse(self, ERR_FORBIDDEN, "Only an owner of this list may do that.");
    return leaves_an_owner(self, out);
}

static bool is_for(const reminder_t *reminder, const uuid_t *account)
{
    return reminder->whom == FOR_ACCOUNT && uuid_eq(&reminder->account, account);
}

static bool concerns(const task_t *task, const uuid_t *account)
{
    bool does = uuid_eq(&task->assignee, account);
    for (uint32_t i = 0; i < task->n_reminders; i++)
        does = does || is_for(&task->reminders[i], account);
    return does;
}

/* The task without whatever names the account. */
static void release_task(apply_t *self, const uuid_t *account)
{
    task_t task = self->task->task;
    if (uuid_eq(&task.assignee, account))
        task.assignee = UUID_NIL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < task.n_reminders; i++) {
        if (!is_for(&task.reminders[i], account))
            task.reminders[n++] = task.reminders[i];
    }
    task.n_reminders = n;
    apply_commit_task(self, EVENT_TASK_UPDATED, &task);
}

/* Closed ones too: they may be reopened. Beyond LIMIT_RELEASED_TASKS they were not loaded and keep
 * him for the moment (member.release): he must go at once, however many they are. Returns how many.
 */
static size_t release_tasks(apply_t *self, const uuid_t *account)
{
    size_t n_released = 0;
    for (size_t i = 0; (self->task = state_task_at(self->state, i)) != NULL; i++) {
        const task_t *task = &self->task->task;
        if (uuid_eq(&task->list, &self->list_id) && task->deleted_at_us == INSTANT_NONE &&
            concerns(task, account)) {
            release_task(self, account);
            n_released++;
        }
    }
    self->out->task = UUID_NIL;
    self->out->body = slice_none();
    return n_released;
}

static slice_t encode_leaver(apply_t *self, const membership_t *change)
{
    mp_put_map(&self->scratch, 1);
    put_id(&self->scratch, "account", &change->account);
    return apply_keep(self);
}

static void commit_removal(apply_t *self, const membership_t *change)
{
    event_t event = {.type = EVENT_MEMBER_REMOVED};
    (void)release_tasks(self, &change->account);
    event.set = encode_leaver(self, change);
    event.was = encode_role(self, change->before);
    apply_put_member(self, &change->account, ROLE_NONE);
    apply_emit(self, self->stream, event);
    apply_answer(self, self->stream, NULL, slice_none());
    if (state_stream(self->state, &change->account) != NULL)
        apply_emit_left(self, &change->account, change->before);
}

static void remove_member(apply_t *self)
{
    membership_t change;
    if (!apply_enter_list(self, ROLE_VIEWER))
        return;
    if (apply_is_restricted(self)) {
        apply_refuse(self, ERR_FORBIDDEN, RESTRICTED);
        return;
    }
    if (apply_expect_none(self) && read_leaver(self, &change))
        commit_removal(self, &change);
}

/* --- member.release: what one removal left --- */

static bool read_released(apply_t *self, uuid_t *account)
{
    data_value_t value;
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "account", &value))
        data_uuid(&value, account);
    return apply_close_data(self);
}

/* Its refusal is how the recurrence actor finds out that there is no more to do. */
static void release_member(apply_t *self)
{
    uuid_t account = UUID_NIL;
    if (!apply_enter_list(self, ROLE_NONE) || !read_released(self, &account))
        return;
    if (role_of_member(self, &account) != ROLE_NONE) {
        apply_refuse(self, ERR_CONFLICT, "This account is a member.");
        return;
    }
    if (release_tasks(self, &account) == 0) {
        apply_refuse(self, ERR_CONFLICT, "No task names this account.");
        return;
    }
    apply_answer(self, self->stream, NULL, slice_none());
}

const apply_row_t apply_member_rows[APPLY_MEMBER_ROWS] = {
    {OP_MEMBER_PUT, put_membership},
    {OP_MEMBER_REMOVE, remove_member},
    {OP_MEMBER_RELEASE, release_member},
};
