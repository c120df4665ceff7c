/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts and their tokens. Their events say that something changed, and of secrets, names and
 * e-mail addresses nothing but that: the log is for ever and is read by many. What is secret (a
 * password, a token) arrives here as a hash that the gateway has made. */
#include "schema/apply_op.h"
#include "schema/zone.h"

#define MAX_HASH_CHARS 256
#define TOKEN_HASH_BYTES 32
#define MAX_ZONE_BYTES 64
#define MAX_TIME_BYTES 16

/* An account is entered by itself only; to others it is not there. */
static bool enter_account(apply_t *self)
{
    const uuid_t *id = &self->list_id;
    self->stream = state_stream(self->state, id);
    if (!uuid_eq(id, &self->command->author) || self->stream == NULL ||
        state_account(self->state, id) == NULL)
        return apply_refuse(self, ERR_NOT_FOUND, "There is no such account.");
    if (apply_is_restricted(self))
        return apply_refuse(self, ERR_FORBIDDEN, "This token is only for some lists.");
    return apply_may_write(self);
}

static void commit_event(apply_t *self, event_type_t type, slice_t set, slice_t was)
{
    event_t event = {.type = type, .set = set, .was = was};
    apply_emit(self, self->stream, event);
    apply_answer(self, self->stream, NULL, slice_none());
}

/* --- the fields of an account --- */

/* Plausible: something, one @, something, without spaces. Whether it works only a mail can tell. */
static bool is_email(slice_t text)
{
    size_t n_ats = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] == ' ')
            return false;
        n_ats += text.data[i] == '@';
    }
    return n_ats == 1 && text.n_bytes <= LIMIT_EMAIL_BYTES && text.data[0] != '@' &&
           text.data[text.n_bytes - 1] != '@';
}

static void read_email(apply_t *self, account_t *account)
{
    data_value_t value;
    if (!data_need(&self->data, "email", &value) ||
        !data_line(&value, 3, LIMIT_EMAIL_BYTES, &account->email))
        return;
    if (!is_email(account->email))
        data_refuse(&value, "this must be an e-mail address");
}

static void read_name(apply_t *self, account_t *account)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "name", &value);
    if (is == DATA_GIVEN)
        data_line(&value, 0, LIMIT_NAME_CHARS, &account->name);
    else if (is == DATA_NULL)
        account->name = slice_str("");
}

static void read_zone(apply_t *self, account_t *account, bool is_needed)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "time_zone", &value);
    if (is == DATA_NULL || (is == DATA_ABSENT && is_needed))
        data_refuse(&value, "an account has a time zone");
    if (is != DATA_GIVEN || !data_str(&value, MAX_ZONE_BYTES, &account->time_zone))
        return;
    if (!zone_is_known(account->time_zone))
        data_refuse(&value, "this must be the name of a time zone like Europe/Zurich");
}

static void read_all_day_time(apply_t *self, account_t *account)
{
    data_value_t value;
    int minutes = 0;
    data_is_t is = data_get(&self->data, "all_day_reminder_time", &value);
    if (is == DATA_NULL)
        data_refuse(&value, "an account has a time for all-day reminders");
    if (is != DATA_GIVEN || !data_str(&value, MAX_TIME_BYTES, &account->all_day_time))
        return;
    if (!time_of_day_parse(account->all_day_time, &minutes))
        data_refuse(&value, "this must be a time of day like 09:00");
}

static void read_password_hash(apply_t *self, account_t *account, bool is_needed)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "password_hash", &value);
    if (is == DATA_NULL || (is == DATA_ABSENT && is_needed))
        data_refuse(&value, "an account has a password");
    if (is == DATA_GIVEN)
        data_line(&value, 1, MAX_HASH_CHARS, &account->password_hash);
}

static void put_text(buf_t *out, const char *key, slice_t text)
{
    mp_put_cstr(out, key);
    mp_put_str(out, text);
}

/* What the log says of an account's fields, those of the flags. */
static void put_fields(buf_t *out, const account_t *account, bool has_zone, bool has_time)
{
    if (has_zone)
        put_text(out, "time_zone", account->time_zone);
    if (has_time)
        put_text(out, "all_day_reminder_time", account->all_day_time);
}

static slice_t encode_fields(apply_t *self, const account_t *account, bool has_zone, bool has_time)
{
    mp_put_map(&self->scratch, (size_t)has_zone + has_time);
    put_fields(&self->scratch, account, has_zone, has_time);
    return apply_keep(self);
}

/* --- account.create --- */

static bool may_register(apply_t *self)
{
    const uuid_t *id = &self->list_id;
    if (!uuid_eq(id, &self->command->author))
        return apply_refuse(self, ERR_NOT_FOUND, "There is no such account.");
    if (state_account(self->state, id) != NULL || state_stream(self->state, id) != NULL)
        return apply_refuse(self, ERR_EXISTS, "There is an account of this id already.");
    return apply_expect_none(self);
}

/* `first` asks for an account only if it is the first one, whoever else asks at the same instant:
 * all shards are locked meanwhile. */
static bool is_first_if_asked(apply_t *self)
{
    data_value_t value;
    bool is_asked = false;
    if (data_get(&self->data, "first", &value) != DATA_GIVEN)
        return true;
    mp_reader_t reader = mp_reader(value.raw);
    if (!mp_get_bool(&reader, &is_asked))
        data_refuse(&value, "this must be true or false");
    return !is_asked || !state_has_any_account(self->state) ||
           apply_refuse(self, ERR_FORBIDDEN, "Registration is closed.");
}

static void commit_account(apply_t *self, account_t *account)
{
    stream_t stream = {.id = self->list_id, .is_new = true, .is_account = true};
    account->rev = apply_next_rev(&stream);
    self->stream = state_put_stream(self->state, &stream);
    state_put_account(self->state, account);
    slice_t set = encode_fields(self, account, true, true);
    commit_event(self, EVENT_ACCOUNT_CREATED, set, apply_empty_map());
}

/* Needs no scope: there is no token yet. */
static void create_account(apply_t *self)
{
    if (!may_register(self) || !apply_open_data(self) || !is_first_if_asked(self))
        return;
    account_t account = {
        .id = self->list_id,
        .is_new = true,
        .is_dirty = true,
        .name = slice_str(""),
        .all_day_time = slice_str(ALL_DAY_TIME),
        .created_at_us = self->now_us,
        .updated_at_us = self->now_us,
    };
    read_email(self, &account);
    read_name(self, &account);
    read_zone(self, &account, true);
    read_all_day_time(self, &account);
    read_password_hash(self, &account, true);
    if (apply_close_data(self))
        commit_account(self, &account);
}

/* --- account.patch --- */

static bool expect_account(apply_t *self, const account_t *account)
{
    if (self->command->expect == 0 || self->command->expect == account->rev)
        return true;
    if (apply_may_read(self)) {
        buf_t *out = &self->scratch;
        mp_put_map(out, 6);
        mp_put_cstr(out, "id");
        mp_put_uuid(out, &account->id);
        mp_put_cstr(out, "rev");
        mp_put_int(out, account->rev);
        put_text(out, "email", account->email);
        put_text(out, "name", account->name);
        put_fields(out, account, true, true);
        self->problem->current = apply_keep(self);
    }
    return apply_refuse(self, ERR_PRECONDITION_FAILED, "The account has another revision.");
}

/* {"time_zone": …, "all_day_reminder_time": …, "changed": ["name", "password"]}, each if there is
 * something to say. */
static slice_t encode_account_set(apply_t *self, const account_t *before, const account_t *after)
{
    buf_t *out = &self->scratch;
    bool has_zone = !slice_eq(before->time_zone, after->time_zone);
    bool has_time = !slice_eq(before->all_day_time, after->all_day_time);
    bool has_name = !slice_eq(before->name, after->name);
    bool has_password = !slice_eq(before->password_hash, after->password_hash);
    mp_put_map(out, (size_t)has_zone + has_time + (has_name || has_password));
    put_fields(out, after, has_zone, has_time);
    if (has_name || has_password) {
        mp_put_cstr(out, "changed");
        mp_put_array(out, (size_t)has_name + has_password);
    }
    if (has_name)
        mp_put_cstr(out, "name");
    if (has_password)
        mp_put_cstr(out, "password");
    return apply_keep(self);
}

static void commit_patch(apply_t *self, const account_t *before, account_t *after)
{
    slice_t set = encode_account_set(self, before, after);
    slice_t was = encode_fields(self, before, !slice_eq(before->time_zone, after->time_zone),
                                !slice_eq(before->all_day_time, after->all_day_time));
    if (!slice_eq(set, apply_empty_map())) {
        after->is_dirty = true;
        after->rev = apply_next_rev(self->stream);
        after->updated_at_us = self->now_us;
        state_put_account(self->state, after);
    }
    commit_event(self, EVENT_ACCOUNT_UPDATED, set, was);
}

static void patch_account(apply_t *self)
{
    if (!enter_account(self))
        return;
    const account_t *before = state_account(self->state, &self->list_id);
    if (!expect_account(self, before) || !apply_open_data(self))
        return;
    account_t after = *before;
    read_name(self, &after);
    read_zone(self, &after, false);
    read_all_day_time(self, &after);
    read_password_hash(self, &after, false);
    if (apply_close_data(self))
        commit_patch(self, before, &after);
}

/* --- account.delete --- */

/* Lists are left, or deleted, by commands of their own before. */
static bool is_in_a_list(apply_t *self, const account_t *account)
{
    const member_t *member;
    bool is_in = account->n_lists > 0;
    for (size_t i = 0; (member = state_member_at(self->state, i)) != NULL; i++) {
        const list_t *list = state_list(self->state, &member->key.list);
        is_in = is_in || (member->role != ROLE_NONE && list != NULL &&
                          uuid_eq(&member->key.account, &account->id) &&
                          list->deleted_at_us == INSTANT_NONE);
    }
    return is_in;
}

static void forget_tokens(apply_t *self)
{
    token_t *token;
    for (size_t i = 0; (token = state_token_at(self->state, i)) != NULL; i++) {
        if (uuid_eq(&token->account, &self->list_id))
            token->is_deleted = true;
    }
}

static void delete_account(apply_t *self)
{
    if (!enter_account(self) || !apply_expect_none(self) || !apply_open_data(self) ||
        !apply_close_data(self))
        return;
    account_t account = *state_account(self->state, &self->list_id);
    if (is_in_a_list(self, &account)) {
        apply_refuse(self, ERR_CONFLICT, "The account is still a member of a list.");
        return;
    }
    account.is_deleted = true;
    account.is_dirty = true;
    state_put_account(self->state, &account);
    forget_tokens(self);
    commit_event(self, EVENT_ACCOUNT_DELETED, apply_empty_map(), apply_empty_map());
}

/* --- token.create --- */

static const char *const kind_words[] = {"session", "api", NULL};
static const char *const scope_words[] = {"read", "write", NULL};
static const uint32_t scope_bits[] = {SCOPE_READ, SCOPE_WRITE};

static void read_kind(apply_t *self, token_t *token)
{
    data_value_t value;
    int word = TOKEN_SESSION;
    if (data_need(&self->data, "kind", &value) && data_word(&value, kind_words, &word))
        token->kind = word == 0 ? TOKEN_SESSION : TOKEN_API;
}

static void read_scopes(apply_t *self, token_t *token)
{
    data_value_t value;
    data_value_t item;
    data_array_t array;
    int word = 0;
    if (!data_need(&self->data, "scopes", &value) || !data_array(&value, LIMIT_TOKEN_LISTS, &array))
        return;
    while (data_next(&array, &item)) {
        if (data_word(&item, scope_words, &word))
            token->scopes |= scope_bits[word];
    }
    if (array.n_items == 0)
        data_refuse(&value, "a token has at least one scope");
}

static void read_lists(apply_t *self, token_t *token)
{
    data_value_t value;
    data_value_t item;
    data_array_t array;
    if (data_get(&self->data, "lists", &value) != DATA_GIVEN ||
        !data_array(&value, LIMIT_TOKEN_LISTS, &array))
        return;
    /* None would read as all. */
    if (array.n_items == 0)
        data_refuse(&value, "name at least one list, or leave this out");
    uuid_t *lists = arena_alloc(self->arena, array.n_items * sizeof *lists);
    while (data_next(&array, &item))
        data_uuid(&item, &lists[token->n_lists++]);
    token->lists = lists;
}

static void read_expiry(apply_t *self, token_t *token)
{
    data_value_t value;
    if (data_get(&self->data, "expires_at", &value) != DATA_GIVEN ||
        !data_instant(&value, &token->expires_at_us))
        return;
    if (token->expires_at_us <= self->now_us)
        data_refuse(&value, "this is past");
}

static bool read_token(apply_t *self, token_t *token)
{
    data_value_t value;
    if (data_need(&self->data, "id", &value))
        data_uuid(&value, &token->id);
    if (data_need(&self->data, "name", &value))
        data_line(&value, 0, LIMIT_NAME_CHARS, &token->name);
    if (data_need(&self->data, "hash", &value))
        data_bin(&value, TOKEN_HASH_BYTES, &token->hash);
    read_kind(self, token);
    read_scopes(self, token);
    read_lists(self, token);
    read_expiry(self, token);
    return apply_close_data(self);
}

static void put_scopes(buf_t *out, uint32_t scopes)
{
    mp_put_array(out, (size_t)__builtin_popcount(scopes));
    for (size_t i = 0; scope_words[i] != NULL; i++) {
        if ((scopes & scope_bits[i]) != 0)
            mp_put_cstr(out, scope_words[i]);
    }
}

static void put_lists(buf_t *out, const token_t *token)
{
    if (token->n_lists == 0) {
        mp_put_nil(out);
        return;
    }
    mp_put_array(out, token->n_lists);
    for (uint32_t i = 0; i < token->n_lists; i++)
        mp_put_uuid(out, &token->lists[i]);
}

static slice_t encode_token(apply_t *self, const token_t *token)
{
    buf_t *out = &self->scratch;
    mp_put_map(out, 6);
    mp_put_cstr(out, "token");
    mp_put_uuid(out, &token->id);
    put_text(out, "name", token->name);
    put_text(out, "kind", slice_str(kind_words[token->kind == TOKEN_SESSION ? 0 : 1]));
    mp_put_cstr(out, "scopes");
    put_scopes(out, token->scopes);
    mp_put_cstr(out, "lists");
    put_lists(out, token);
    mp_put_cstr(out, "expires_at");
    mp_put_instant(out, token->expires_at_us);
    return apply_keep(self);
}

static void create_token(apply_t *self)
{
    if (!enter_account(self) || !apply_expect_none(self) || !apply_open_data(self))
        return;
    token_t token = {
        .account = self->list_id,
        .is_new = true,
        .created_at_us = self->now_us,
        .expires_at_us = INSTANT_NONE,
    };
    if (!read_token(self, &token))
        return;
    if (state_token(self->state, &token.id) != NULL) {
        apply_refuse(self, ERR_EXISTS, "There is a token of this id already.");
        return;
    }
    state_put_token(self->state, &token);
    slice_t set = encode_token(self, &token);
    commit_event(self, EVENT_TOKEN_CREATED, set, apply_empty_map());
}

/* --- token.delete --- */

static slice_t encode_token_id(apply_t *self, const uuid_t *id)
{
    mp_put_map(&self->scratch, 1);
    mp_put_cstr(&self->scratch, "token");
    mp_put_uuid(&self->scratch, id);
    return apply_keep(self);
}

static void delete_token(apply_t *self)
{
    data_value_t value;
    uuid_t id = UUID_NIL;
    if (!enter_account(self) || !apply_expect_none(self) || !apply_open_data(self))
        return;
    if (data_need(&self->data, "token", &value))
        data_uuid(&value, &id);
    if (!apply_close_data(self))
        return;
    token_t *token = state_token(self->state, &id);
    if (token == NULL || token->is_deleted || !uuid_eq(&token->account, &self->list_id)) {
        apply_refuse(self, ERR_NOT_FOUND, "You have no such token.");
        return;
    }
    token->is_deleted = true;
    commit_event(self, EVENT_TOKEN_DELETED, encode_token_id(self, &id), apply_empty_map());
}

const apply_row_t apply_account_rows[APPLY_ACCOUNT_ROWS] = {
    {OP_ACCOUNT_CREATE, create_account}, {OP_ACCOUNT_PATCH, patch_account},
    {OP_ACCOUNT_DELETE, delete_account}, {OP_TOKEN_CREATE, create_token},
    {OP_TOKEN_DELETE, delete_token},
};
