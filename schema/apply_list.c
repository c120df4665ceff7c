/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and who may do what in them. Both ops here concern two streams: the list's, which its
 * members follow, and that of the account which becomes a member, by which its clients learn that
 * there is one more list to follow. */
#include "schema/apply_op.h"

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

/* --- list.create --- */

static bool may_create(apply_t *self)
{
    if (state_account(self->state, &self->command->author) == NULL ||
        state_stream(self->state, &self->command->author) == NULL)
        return apply_refuse(self, ERR_NOT_FOUND, "Your account is not there.");
    if (apply_is_restricted(self))
        return apply_refuse(self, ERR_FORBIDDEN, "This token is only for some lists.");
    if (!apply_may_write(self))
        return false;
    /* Accounts and lists share their ids: each is a stream. */
    if (state_stream(self->state, &self->list_id) != NULL ||
        state_list(self->state, &self->list_id) != NULL)
        return apply_refuse(self, ERR_EXISTS, "There is a list of this id already.");
    return true;
}

static slice_t encode_created(apply_t *self, const list_t *list)
{
    buf_t *out = &self->scratch;
    mp_put_map(out, 5);
    mp_put_cstr(out, "title");
    mp_put_str(out, list->title);
    mp_put_cstr(out, "archived");
    mp_put_bool(out, list->is_archived);
    mp_put_cstr(out, "created_at");
    mp_put_instant(out, list->created_at_us);
    put_id(out, "created_by", &list->created_by);
    put_id(out, "owner", &list->created_by);
    return apply_keep(self);
}

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

static void emit_joined(apply_t *self, const uuid_t *account, role_t role, slice_t title)
{
    event_t event = {.type = EVENT_LIST_JOINED};
    event.set = encode_joined(self, role, title);
    event.was = apply_empty_map();
    apply_emit(self, state_stream(self->state, account), event);
}

static void put_member(apply_t *self, const uuid_t *account, role_t role, int64_t since_us)
{
    member_t member = {
        .key = {self->list_id, *account},
        .is_dirty = true,
        .role = role,
        .since_us = since_us,
    };
    state_put_member(self->state, &member);
}

static void commit_list(apply_t *self, slice_t title)
{
    stream_t stream = {.id = self->list_id, .is_new = true};
    list_t list = {
        .id = self->list_id,
        .is_new = true,
        .is_dirty = true,
        .rev = apply_next_rev(&stream),
        .title = title,
        .n_owners = 1,
        .created_at_us = self->now_us,
        .created_by = self->command->author,
        .updated_at_us = self->now_us,
        .deleted_at_us = INSTANT_NONE,
    };
    self->stream = state_put_stream(self->state, &stream);
    self->list = state_put_list(self->state, &list);
    put_member(self, &self->command->author, ROLE_OWNER, self->now_us);
    event_t event = {.type = EVENT_LIST_CREATED};
    event.set = encode_created(self, &list);
    event.was = apply_empty_map();
    apply_emit(self, self->stream, event);
    emit_joined(self, &self->command->author, ROLE_OWNER, title);
    apply_answer(self, self->stream, NULL, slice_none());
}

static void create_list(apply_t *self)
{
    data_value_t value;
    slice_t title = slice_none();
    if (!may_create(self) || !apply_expect_none(self) || !apply_open_data(self))
        return;
    if (data_need(&self->data, "title", &value))
        data_line(&value, 1, LIMIT_TITLE_CHARS, &title);
    if (apply_close_data(self))
        commit_list(self, title);
}

/* --- member.put --- */

typedef struct {
    uuid_t account;
    role_t before;
    role_t role;
    int64_t since_us;
} membership_t;

static bool read_membership(apply_t *self, membership_t *out)
{
    static const char *const words[] = {"viewer", "editor", "owner", NULL};
    data_value_t value;
    int word = 0;
    *out = (membership_t){.since_us = self->now_us};
    if (!apply_open_data(self))
        return false;
    if (data_need(&self->data, "account", &value) && data_uuid(&value, &out->account) &&
        (state_account(self->state, &out->account) == NULL ||
         state_stream(self->state, &out->account) == NULL))
        data_refuse(&value, "there is no such account");
    if (data_need(&self->data, "role", &value))
        data_word(&value, words, &word);
    out->role = role_of(slice_str(words[word]));
    const member_t *member = state_member(self->state, &self->list_id, &out->account);
    if (member != NULL && member->role != ROLE_NONE) {
        out->before = member->role;
        out->since_us = member->since_us;
    }
    return apply_close_data(self);
}

static bool leaves_an_owner(apply_t *self, const membership_t *change)
{
    if (change->before != ROLE_OWNER || change->role == ROLE_OWNER || self->list->n_owners > 1)
        return true;
    return apply_refuse(self, ERR_CONFLICT, "A list keeps at least one owner.");
}

static slice_t encode_membership(apply_t *self, const membership_t *change)
{
    mp_put_map(&self->scratch, 2);
    put_id(&self->scratch, "account", &change->account);
    put_role(&self->scratch, change->role);
    return apply_keep(self);
}

static slice_t encode_former_role(apply_t *self, role_t role)
{
    mp_put_map(&self->scratch, 1);
    put_role(&self->scratch, role);
    return apply_keep(self);
}

static void store_membership(apply_t *self, const membership_t *change)
{
    put_member(self, &change->account, change->role, change->since_us);
    self->list->n_owners += (change->role == ROLE_OWNER) - (change->before == ROLE_OWNER);
    self->list->is_dirty = true;
}

static void commit_membership(apply_t *self, const membership_t *change)
{
    bool is_new = change->before == ROLE_NONE;
    bool is_same = change->before == change->role;
    event_t event = {.type = is_new ? EVENT_MEMBER_ADDED : EVENT_MEMBER_CHANGED};
    event.set = is_same ? apply_empty_map() : encode_membership(self, change);
    event.was = is_same || is_new ? apply_empty_map() : encode_former_role(self, change->before);
    if (!is_same)
        store_membership(self, change);
    apply_emit(self, self->stream, event);
    if (is_new)
        emit_joined(self, &change->account, change->role, slice_none());
    apply_answer(self, self->stream, NULL, slice_none());
}

static void put_membership(apply_t *self)
{
    membership_t change;
    if (!apply_enter_list(self, ROLE_OWNER))
        return;
    if (apply_is_restricted(self)) {
        apply_refuse(self, ERR_FORBIDDEN, "This token is only for what is in its lists.");
        return;
    }
    if (apply_expect_none(self) && read_membership(self, &change) && leaves_an_owner(self, &change))
        commit_membership(self, &change);
}

const apply_row_t apply_list_rows[APPLY_LIST_ROWS] = {
    {OP_LIST_CREATE, create_list},
    {OP_MEMBER_PUT, put_membership},
};
