/* SPDX-License-Identifier: Apache-2.0 */
/* Op by op, what must be loaded, and so locked, before a command can be applied. */
#include "schema/command.h"

/* An id that the command's data names; nil if there is none that can be read. */
static uuid_t id_in_data(const command_t *command, const char *key)
{
    slice_t value = slice_none();
    uuid_t id = UUID_NIL;
    if (command->data.data == NULL || !mp_map_find(command->data, key, &value))
        return UUID_NIL;
    mp_reader_t reader = mp_reader(value);
    if (!mp_get_uuid(&reader, &id))
        return UUID_NIL;
    return id;
}

uuid_t command_place(const command_t *command)
{
    return command->op == OP_TASK_SUCCEED ? id_in_data(command, "succeeds") : command->task;
}

static bool is_true_in_data(const command_t *command, const char *key)
{
    slice_t value = slice_none();
    bool is_true = false;
    if (command->data.data == NULL || !mp_map_find(command->data, key, &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_bool(&reader, &is_true) && is_true;
}

static void add_id(uuid_t *ids, uint32_t *n_ids, const uuid_t *id)
{
    if (uuid_is_nil(id))
        return;
    for (uint32_t i = 0; i < *n_ids; i++) {
        if (uuid_eq(&ids[i], id))
            return;
    }
    ids[(*n_ids)++] = *id;
}

static void add_member(command_refs_t *refs, const uuid_t *list, const uuid_t *account)
{
    if (uuid_is_nil(list) || uuid_is_nil(account))
        return;
    for (uint32_t i = 0; i < refs->n_members; i++) {
        if (uuid_eq(&refs->members[i].list, list) && uuid_eq(&refs->members[i].account, account))
            return;
    }
    refs->members[refs->n_members++] = (member_key_t){*list, *account};
}

/* Actors are no accounts. */
static void add_author(command_refs_t *refs, const command_t *command, const uuid_t *list)
{
    if (command->is_actor)
        return;
    add_id(refs->accounts, &refs->n_accounts, &command->author);
    add_member(refs, list, &command->author);
}

static void add_other_account(command_refs_t *refs, const uuid_t *account)
{
    add_id(refs->streams, &refs->n_streams, account);
    add_id(refs->accounts, &refs->n_accounts, account);
}

static bool has_data(const command_t *command, const char *key)
{
    slice_t value;
    return command->data.data != NULL && mp_map_find(command->data, key, &value);
}

static void add_tree(command_refs_t *refs, const uuid_t *task)
{
    add_id(refs->trees, &refs->n_trees, task);
}

/* What a task is to be under, and what comes along with it. */
static void add_parent(command_refs_t *refs, const command_t *command, const uuid_t *task)
{
    if (!has_data(command, "parent"))
        return;
    uuid_t parent = id_in_data(command, "parent");
    add_tree(refs, task);
    add_tree(refs, &parent);
}

static void add_move(command_refs_t *refs, const command_t *command, const uuid_t *task)
{
    refs->target = id_in_data(command, "list");
    refs->along = ALONG_SUBTASKS;
    add_tree(refs, task);
    add_id(refs->streams, &refs->n_streams, &refs->target);
    add_member(refs, &refs->target, &command->author);
}

static bool has_word(const command_t *command, const char *key, const char *word)
{
    slice_t value = slice_none();
    slice_t text;
    if (command->data.data == NULL || !mp_map_find(command->data, key, &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_str(&reader, &text) && slice_is(text, word);
}

/* What is opened again takes back what came after it, if that still has what was copied. */
static void add_mates(command_refs_t *refs, const uuid_t *task)
{
    refs->mates_of = *task;
    add_tree(refs, task);
}

/* Those about a task, for an author who is a member. */
static void refer_to_task(const command_t *command, const uuid_t *list, const uuid_t *task,
                          command_refs_t *out)
{
    op_t op = command->op;
    add_author(out, command, list);
    if (op == OP_TASK_CREATE || op == OP_TASK_PATCH) {
        uuid_t assignee = id_in_data(command, "assignee");
        add_member(out, list, &assignee);
        add_parent(out, command, task);
        if (has_word(command, "status", "open") || has_word(command, "status", "in_progress")) {
            add_mates(out, task);
            out->along = ALONG_SUBTASKS_OF_SERIES;
        }
    } else if (op == OP_TASK_REOPEN) {
        add_mates(out, task);
        out->along = ALONG_SUBTASKS_OF_SERIES;
    } else if (op == OP_TASK_DELETE) {
        add_tree(out, task);
        out->along = ALONG_SUBTASKS;
        if (has_word(command, "series", "all"))
            add_mates(out, task);
    } else if (op == OP_TASK_RESTORE) {
        add_mates(out, task);
        out->along = ALONG_TAKEN;
        out->target = *list;
    } else if (op == OP_TASK_MOVE) {
        add_move(out, command, task);
    } else if (op == OP_REMINDER_DISMISS) {
        add_id(out->streams, &out->n_streams, &command->author);
    } else if (op == OP_TASK_SUCCEED) {
        out->series_of = id_in_data(command, "succeeds");
        out->along = ALONG_EITHER;
        out->target = *list;
        add_tree(out, &out->series_of);
        add_id(out->tasks, &out->n_tasks, &out->series_of);
    }
}

/* Those about a list or who is in it. */
static void refer_to_list(const command_t *command, const uuid_t *list, command_refs_t *out)
{
    op_t op = command->op;
    add_author(out, command, list);
    if (op == OP_LIST_CREATE) {
        add_id(out->streams, &out->n_streams, &command->author);
    } else if (op == OP_LIST_DELETE || op == OP_LIST_RESTORE) {
        out->members_of = *list;
    } else if (op == OP_MEMBER_PUT || op == OP_MEMBER_REMOVE) {
        uuid_t member = id_in_data(command, "account");
        add_other_account(out, &member);
        add_member(out, list, &member);
        if (op == OP_MEMBER_REMOVE)
            out->concerns = (member_key_t){*list, member};
    } else if (op == OP_MEMBER_RELEASE) {
        uuid_t member = id_in_data(command, "account");
        add_member(out, list, &member);
        out->concerns = (member_key_t){*list, member};
    }
}

/* Those about an account, whose stream is its own. */
static void refer_to_account(const command_t *command, const uuid_t *account, command_refs_t *out)
{
    add_id(out->accounts, &out->n_accounts, account);
    if (command->op == OP_ACCOUNT_CREATE)
        out->any_account = is_true_in_data(command, "first");
    else if (command->op == OP_ACCOUNT_DELETE)
        out->leaving = *account;
    else if (command->op == OP_TOKEN_CREATE)
        out->token = id_in_data(command, "id");
    else if (command->op == OP_TOKEN_DELETE)
        out->token = id_in_data(command, "token");
}

void command_refs(const command_t *command, command_refs_t *out)
{
    *out = (command_refs_t){0};
    uuid_t list = command_list(command);
    uuid_t task = command_task(command);
    add_id(out->streams, &out->n_streams, &list);
    add_id(out->tasks, &out->n_tasks, &task);
    switch (command->op) {
    case OP_TASK_CREATE:
    case OP_TASK_PATCH:
    case OP_TASK_COMPLETE:
    case OP_TASK_REOPEN:
    case OP_TASK_DELETE:
    case OP_TASK_RESTORE:
    case OP_TASK_MOVE:
    case OP_TASK_SNOOZE:
    case OP_REMINDER_DISMISS:
    case OP_TASK_SUCCEED:
    case OP_TASK_REMIND:
    case OP_TASK_RETIME:
        refer_to_task(command, &list, &task, out);
        break;
    case OP_LIST_CREATE:
    case OP_LIST_PATCH:
    case OP_LIST_DELETE:
    case OP_LIST_RESTORE:
    case OP_MEMBER_PUT:
    case OP_MEMBER_REMOVE:
    case OP_MEMBER_RELEASE:
        refer_to_list(command, &list, out);
        break;
    case OP_ACCOUNT_CREATE:
    case OP_ACCOUNT_PATCH:
    case OP_ACCOUNT_DELETE:
    case OP_TOKEN_CREATE:
    case OP_TOKEN_DELETE:
        refer_to_account(command, &list, out);
        break;
    case OP_COUNT:
        break;
    }
}

shard_set_t command_shards(const command_refs_t *refs)
{
    shard_set_t shards = refs->any_account ? SHARDS_ALL : 0;
    for (uint32_t i = 0; i < refs->n_streams; i++)
        shards |= shard_bit(&refs->streams[i]);
    return shards;
}
