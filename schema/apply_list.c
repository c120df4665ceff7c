/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: made, renamed, archived, deleted and restored. What makes a list appear or disappear for
 * somebody is also told in that account's own stream, by which its clients learn which lists there
 * are to follow. A deleted list keeps its members and tasks: nobody reaches them, and all of it is
 * there again when an owner restores it. */
#include "schema/apply_op.h"

static void put_text(buf_t *out, const char *key, slice_t text)
{
    mp_put_cstr(out, key);
    mp_put_str(out, text);
}

static void put_bool(buf_t *out, const char *key, bool value)
{
    mp_put_cstr(out, key);
    mp_put_bool(out, value);
}

static void put_int(buf_t *out, const char *key, int64_t value)
{
    mp_put_cstr(out, key);
    mp_put_int(out, value);
}

static void put_instant(buf_t *out, const char *key, int64_t at_us)
{
    mp_put_cstr(out, key);
    mp_put_instant(out, at_us);
}

static void put_id(buf_t *out, const char *key, const uuid_t *id)
{
    mp_put_cstr(out, key);
    mp_put_uuid(out, id);
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
    put_text(out, "title", list->title);
    put_bool(out, "archived", list->is_archived);
    put_instant(out, "created_at", list->created_at_us);
    put_id(out, "created_by", &list->created_by);
    put_id(out, "owner", &list->created_by);
    return apply_keep(self);
}

static void emit(apply_t *self, event_type_t type, slice_t set, slice_t was)
{
    event_t event = {.type = type, .set = set, .was = was};
    apply_emit(self, self->stream, event);
    apply_answer(self, self->stream, NULL, slice_none());
}

static void commit_new_list(apply_t *self, slice_t title)
{
    stream_t stream = {.id = self->list_id, .is_new = true};
    list_t list = {
        .id = self->list_id,
        .is_new = true,
        .is_dirty = true,
        .rev = apply_next_rev(&stream),
        .title = title,
        .created_at_us = self->now_us,
        .created_by = self->command->author,
        .updated_at_us = self->now_us,
        .deleted_at_us = INSTANT_NONE,
    };
    self->stream = state_put_stream(self->state, &stream);
    self->list = state_put_list(self->state, &list);
    apply_put_member(self, &self->command->author, ROLE_OWNER);
    emit(self, EVENT_LIST_CREATED, encode_created(self, &list), apply_empty_map());
    apply_emit_joined(self, &self->command->author, ROLE_OWNER, title);
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
        commit_new_list(self, title);
}

/* --- the expected revision: of the list itself, whatever else happened in its stream --- */

static slice_t encode_list(apply_t *self)
{
    const list_t *list = self->list;
    const member_t *member = state_member(self->state, &list->id, &self->command->author);
    buf_t *out = &self->scratch;
    mp_put_map(out, 10);
    put_id(out, "id", &list->id);
    put_text(out, "title", list->title);
    put_int(out, "rev", list->rev);
    put_int(out, "head", self->stream->head);
    put_text(out, "role", slice_str(role_name(member == NULL ? ROLE_NONE : member->role)));
    put_int(out, "open", self->stream->n_open);
    put_bool(out, "archived", list->is_archived);
    put_instant(out, "created_at", list->created_at_us);
    put_id(out, "created_by", &list->created_by);
    put_instant(out, "updated_at", list->updated_at_us);
    return apply_keep(self);
}

static bool expect_list(apply_t *self)
{
    if (self->command->expect == 0 || self->command->expect == self->list->rev)
        return true;
    if (apply_may_read(self))
        self->problem->current = encode_list(self);
    return apply_refuse(self, ERR_PRECONDITION_FAILED, "The list has another revision.");
}

/* --- list.patch --- */

static void read_title(apply_t *self, slice_t *title)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "title", &value);
    if (is == DATA_NULL)
        data_refuse(&value, "a list has a title");
    else if (is == DATA_GIVEN)
        data_line(&value, 1, LIMIT_TITLE_CHARS, title);
}

static void read_archived(apply_t *self, bool *is_archived)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "archived", &value);
    if (is == DATA_ABSENT)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (!mp_get_bool(&reader, is_archived))
        data_refuse(&value, "this must be true or false");
}

/* Of `list`, the fields in which it differs from `other`. */
static slice_t encode_difference(apply_t *self, const list_t *list, const list_t *other)
{
    bool has_title = !slice_eq(list->title, other->title);
    bool has_archived = list->is_archived != other->is_archived;
    mp_put_map(&self->scratch, (size_t)has_title + has_archived);
    if (has_title)
        put_text(&self->scratch, "title", list->title);
    if (has_archived)
        put_bool(&self->scratch, "archived", list->is_archived);
    return apply_keep(self);
}

/* The list is `after` from this command's event on. */
static void change_list(apply_t *self, list_t *after)
{
    after->is_dirty = true;
    after->rev = apply_next_rev(self->stream);
    after->updated_at_us = self->now_us;
    *self->list = *after;
}

static void patch_list(apply_t *self)
{
    if (!apply_enter_list(self, ROLE_OWNER) || !expect_list(self) || !apply_open_data(self))
        return;
    list_t before = *self->list;
    list_t after = before;
    read_title(self, &after.title);
    read_archived(self, &after.is_archived);
    if (!apply_close_data(self))
        return;
    slice_t set = encode_difference(self, &after, &before);
    if (!slice_eq(set, apply_empty_map()))
        change_list(self, &after);
    emit(self, EVENT_LIST_UPDATED, set, encode_difference(self, &before, &after));
}

/* --- list.delete, list.restore --- */

/* The next member of the list; `place` counts on from 0. NULL: there are no more. */
static const member_t *next_member(apply_t *self, size_t *place)
{
    const member_t *member;
    while ((member = state_member_at(self->state, (*place)++)) != NULL) {
        if (member->role != ROLE_NONE && uuid_eq(&member->key.list, &self->list_id) &&
            state_stream(self->state, &member->key.account) != NULL)
            return member;
    }
    return NULL;
}

/* Whether all members can be told now. Else nothing may change yet. */
static bool may_tell_members(apply_t *self)
{
    const member_t *member;
    bool may_tell = true;
    for (size_t i = 0; (member = next_member(self, &i)) != NULL;)
        may_tell = apply_holds(self, &member->key.account) && may_tell;
    return may_tell;
}

static slice_t encode_deleted_at(apply_t *self, int64_t at_us)
{
    mp_put_map(&self->scratch, 1);
    put_instant(&self->scratch, "deleted_at", at_us);
    return apply_keep(self);
}

/* A token for some lists is for what is in them. */
static bool is_for_whole_lists(apply_t *self)
{
    return !apply_is_restricted(self) ||
           apply_refuse(self, ERR_FORBIDDEN, "This token is only for what is in its lists.");
}

static bool read_nothing(apply_t *self)
{
    return apply_open_data(self) && apply_close_data(self);
}

static void delete_list(apply_t *self)
{
    if (!apply_enter_list(self, ROLE_OWNER) || !is_for_whole_lists(self) || !expect_list(self) ||
        !read_nothing(self) || !may_tell_members(self))
        return;
    list_t after = *self->list;
    after.deleted_at_us = self->now_us;
    change_list(self, &after);
    emit(self, EVENT_LIST_DELETED, encode_deleted_at(self, after.deleted_at_us),
         encode_deleted_at(self, INSTANT_NONE));
    const member_t *member;
    for (size_t i = 0; (member = next_member(self, &i)) != NULL;)
        apply_emit_left(self, &member->key.account, member->role);
}

/* A list that was deleted is there for its owners alone, and only to be restored. */
static bool enter_deleted(apply_t *self)
{
    const list_t *list = state_list(self->state, &self->list_id);
    if (list == NULL || list->deleted_at_us == INSTANT_NONE) {
        return apply_enter_list(self, ROLE_OWNER) &&
               apply_refuse(self, ERR_CONFLICT, "This list is not deleted.");
    }
    self->list = state_list(self->state, &self->list_id);
    self->stream = state_stream(self->state, &self->list_id);
    if (self->stream == NULL || !apply_is_owner(self))
        return apply_refuse(self, ERR_NOT_FOUND, "There is no such list, or you do not own it.");
    return apply_may_write(self);
}

static slice_t encode_restored(apply_t *self, const list_t *list)
{
    buf_t *out = &self->scratch;
    mp_put_map(out, 5);
    put_text(out, "title", list->title);
    put_bool(out, "archived", list->is_archived);
    put_instant(out, "created_at", list->created_at_us);
    put_id(out, "created_by", &list->created_by);
    put_instant(out, "deleted_at", INSTANT_NONE);
    return apply_keep(self);
}

static void restore_list(apply_t *self)
{
    if (!enter_deleted(self) || !is_for_whole_lists(self) || !expect_list(self) ||
        !read_nothing(self) || !may_tell_members(self))
        return;
    slice_t was = encode_deleted_at(self, self->list->deleted_at_us);
    list_t after = *self->list;
    after.deleted_at_us = INSTANT_NONE;
    change_list(self, &after);
    emit(self, EVENT_LIST_RESTORED, encode_restored(self, &after), was);
    const member_t *member;
    for (size_t i = 0; (member = next_member(self, &i)) != NULL;)
        apply_emit_joined(self, &member->key.account, member->role, after.title);
}

const apply_row_t apply_list_rows[APPLY_LIST_ROWS] = {
    {OP_LIST_CREATE, create_list},
    {OP_LIST_PATCH, patch_list},
    {OP_LIST_DELETE, delete_list},
    {OP_LIST_RESTORE, restore_list},
};
