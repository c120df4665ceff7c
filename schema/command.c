/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on their way: the form in which our own threads hand them on, the form in which clients
 * write them, what makes two of them the same request, and what must be loaded for each. The
 * fingerprint is taken of what the client asked, with the fields of every map in the order of their
 * names: an object that was written down again is still the same request. */
#include "schema/command.h"

#include <assert.h>
#include <sodium.h>

#include "schema/data.h"
#include "schema/limits.h"

#define N_ENCODED_FIELDS 15
#define MAX_SORTED_FIELDS 32
#define MAX_FINGERPRINT_DEPTH 16

#define OP_NAME(id, name, from) name,
static const char *const op_names[OP_COUNT] = {OP_LIST(OP_NAME)};
#undef OP_NAME

#define OP_FROM(id, name, from) OP_FROM_##from,
static const op_from_t op_froms[OP_COUNT] = {OP_LIST(OP_FROM)};
#undef OP_FROM

const uuid_t author_recurrence = {
    {0x74, 0x61, 0x73, 0x6b, 0x77, 0x69, 0x82, 0x65, 0x80, 0, 0, 0, 0, 0, 0, 0x01}};
const uuid_t author_reminder = {
    {0x74, 0x61, 0x73, 0x6b, 0x77, 0x69, 0x82, 0x65, 0x80, 0, 0, 0, 0, 0, 0, 0x02}};

const uuid_t author_retime = {
    {0x74, 0x61, 0x73, 0x6b, 0x77, 0x69, 0x82, 0x65, 0x80, 0, 0, 0, 0, 0, 0, 0x03}};

const char *op_name(op_t op)
{
    assert((unsigned)op < OP_COUNT);
    return op_names[op];
}

op_from_t op_from(op_t op)
{
    assert((unsigned)op < OP_COUNT);
    return op_froms[op];
}

op_t op_of(slice_t name)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (slice_is(name, op_names[op]))
            return (op_t)op;
    }
    return OP_COUNT;
}

/* --- between our own threads --- */

static void put_id(buf_t *out, const uuid_t *id)
{
    mp_put_bin(out, slice_of(id->bytes, UUID_BYTES));
}

void command_encode(const command_t *command, buf_t *out)
{
    mp_put_array(out, N_ENCODED_FIELDS);
    put_id(out, &command->id);
    put_id(out, &command->author);
    mp_put_bool(out, command->is_actor);
    mp_put_int(out, command->op);
    put_id(out, &command->list);
    put_id(out, &command->task);
    mp_put_int(out, command->expect);
    mp_put_int(out, command->scopes);
    mp_put_bin(out, slice_of(command->lists, command->n_lists * sizeof *command->lists));
    mp_put_bin(out, slice_of(command->fingerprint, FINGERPRINT_BYTES));
    if (command->data.data == NULL)
        mp_put_nil(out);
    else
        mp_put_raw(out, command->data);
    if (trace_is_none(&command->trace))
        mp_put_nil(out);
    else
        mp_put_bin(out, trace_slice(&command->trace));
    mp_put_int(out, command->n_bulk);
    mp_put_int(out, command->reply_to);
    mp_put_int(out, (int64_t)command->tag);
}

static bool get_bytes(mp_reader_t *reader, void *out, size_t n_bytes)
{
    slice_t bytes = slice_none();
    if (!mp_get_bin(reader, &bytes) || bytes.n_bytes != n_bytes)
        return false;
    memcpy(out, bytes.data, n_bytes);
    return true;
}

static bool get_id(mp_reader_t *reader, uuid_t *out)
{
    return get_bytes(reader, out->bytes, UUID_BYTES);
}

static bool get_u32(mp_reader_t *reader, uint32_t *out)
{
    int64_t value = 0;
    if (!mp_get_int(reader, &value) || value < 0 || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

static bool get_op(mp_reader_t *reader, op_t *out)
{
    uint32_t value = 0;
    if (!get_u32(reader, &value) || value >= OP_COUNT)
        return false;
    *out = (op_t)value;
    return true;
}

static bool get_lists(mp_reader_t *reader, arena_t *arena, command_t *out)
{
    slice_t bytes = slice_none();
    if (!mp_get_bin(reader, &bytes) || bytes.n_bytes % UUID_BYTES != 0)
        return false;
    out->n_lists = (uint32_t)(bytes.n_bytes / UUID_BYTES);
    if (out->n_lists > 0) {
        uuid_t *lists = arena_alloc(arena, bytes.n_bytes);
        memcpy(lists, bytes.data, bytes.n_bytes);
        out->lists = lists;
    }
    return true;
}

static bool get_data(mp_reader_t *reader, slice_t *out)
{
    return mp_peek(reader) == MP_NIL ? mp_get_nil(reader) : mp_get_raw(reader, out);
}

static bool get_trace(mp_reader_t *reader, trace_t *out)
{
    return mp_peek(reader) == MP_NIL ? mp_get_nil(reader)
                                     : get_bytes(reader, out->bytes, TRACE_BYTES);
}

bool command_decode(mp_reader_t *reader, arena_t *arena, command_t *out)
{
    *out = (command_t){0};
    uint32_t n_fields = 0;
    int64_t tag = 0;
    bool ok = mp_get_array(reader, &n_fields) && n_fields == N_ENCODED_FIELDS &&
              get_id(reader, &out->id) && get_id(reader, &out->author) &&
              mp_get_bool(reader, &out->is_actor) && get_op(reader, &out->op) &&
              get_id(reader, &out->list) && get_id(reader, &out->task) &&
              mp_get_int(reader, &out->expect) && get_u32(reader, &out->scopes) &&
              get_lists(reader, arena, out) &&
              get_bytes(reader, out->fingerprint, FINGERPRINT_BYTES) &&
              get_data(reader, &out->data) && get_trace(reader, &out->trace) &&
              get_u32(reader, &out->n_bulk) && get_u32(reader, &out->reply_to) &&
              mp_get_int(reader, &tag);
    out->tag = (uint64_t)tag;
    return ok;
}

/* --- the fingerprint --- */

typedef struct {
    slice_t key;
    slice_t value;
} pair_t;

typedef crypto_generichash_state hash_t;

static void hash_value(hash_t *hash, slice_t value, int depth);

/* With its length first, so that two values beside each other cannot be read as two others. */
static void hash_bytes(hash_t *hash, slice_t bytes)
{
    uint64_t n_bytes = bytes.n_bytes;
    crypto_generichash_update(hash, (const uint8_t *)&n_bytes, sizeof n_bytes);
    crypto_generichash_update(hash, bytes.data, bytes.n_bytes);
}

static void insert_pair(pair_t *pairs, uint32_t n_pairs, pair_t pair)
{
    uint32_t i = n_pairs;
    for (; i > 0 && slice_cmp(pairs[i - 1].key, pair.key) > 0; i--)
        pairs[i] = pairs[i - 1];
    pairs[i] = pair;
}

static bool hash_map(hash_t *hash, mp_reader_t reader, int depth)
{
    uint32_t n_pairs = 0;
    pair_t pairs[MAX_SORTED_FIELDS];
    if (!mp_get_map(&reader, &n_pairs) || n_pairs > MAX_SORTED_FIELDS)
        return false;
    for (uint32_t i = 0; i < n_pairs; i++) {
        pair_t pair;
        if (!mp_get_str(&reader, &pair.key) || !mp_get_raw(&reader, &pair.value))
            return false;
        insert_pair(pairs, i, pair);
    }
    hash_bytes(hash, slice_str("map"));
    hash_bytes(hash, slice_of(&n_pairs, sizeof n_pairs));
    for (uint32_t i = 0; i < n_pairs; i++) {
        hash_bytes(hash, pairs[i].key);
        hash_value(hash, pairs[i].value, depth + 1);
    }
    return true;
}

static bool hash_array(hash_t *hash, mp_reader_t reader, int depth)
{
    uint32_t n_items = 0;
    mp_reader_t check = reader;
    if (!mp_skip(&check) || !mp_get_array(&reader, &n_items))
        return false;
    hash_bytes(hash, slice_str("array"));
    hash_bytes(hash, slice_of(&n_items, sizeof n_items));
    for (uint32_t i = 0; i < n_items; i++) {
        slice_t item = slice_none();
        mp_get_raw(&reader, &item);
        hash_value(hash, item, depth + 1);
    }
    return true;
}

/* Whatever is no map or array of reasonable size counts by its bytes. */
static void hash_value(hash_t *hash, slice_t value, int depth)
{
    mp_reader_t reader = mp_reader(value);
    mp_type_t type = depth > MAX_FINGERPRINT_DEPTH ? MP_WRONG : mp_peek(&reader);
    if (type == MP_MAP && hash_map(hash, reader, depth))
        return;
    if (type == MP_ARRAY && hash_array(hash, reader, depth))
        return;
    hash_bytes(hash, value);
}

void command_fingerprint(command_t *command)
{
    hash_t hash;
    crypto_generichash_init(&hash, NULL, 0, FINGERPRINT_BYTES);
    hash_bytes(&hash, slice_str(op_name(command->op)));
    hash_bytes(&hash, slice_of(command->list.bytes, UUID_BYTES));
    hash_bytes(&hash, slice_of(command->task.bytes, UUID_BYTES));
    hash_bytes(&hash, slice_of(&command->expect, sizeof command->expect));
    hash_value(&hash, command->data, 0);
    crypto_generichash_final(&hash, command->fingerprint, FINGERPRINT_BYTES);
}

void command_seal_fingerprint(const uint8_t fingerprint[FINGERPRINT_BYTES],
                              const uint8_t salt[SALT_BYTES], uint8_t out[FINGERPRINT_BYTES])
{
    crypto_generichash(out, FINGERPRINT_BYTES, fingerprint, FINGERPRINT_BYTES, salt, SALT_BYTES);
}

/* --- from clients --- */

static void read_op(data_map_t *map, command_t *out)
{
    data_value_t value;
    slice_t name = slice_none();
    if (!data_need(map, "op", &value) || !data_str(&value, LIMIT_STRING_BYTES, &name))
        return;
    out->op = op_of(name);
    if (out->op == OP_COUNT || op_from(out->op) != OP_FROM_CLIENT)
        data_refuse(&value, "there is no such op");
}

static void read_optional_id(data_map_t *map, const char *key, uuid_t *out)
{
    data_value_t value;
    if (data_get(map, key, &value) == DATA_GIVEN)
        data_uuid(&value, out);
}

static void read_expect(data_map_t *map, command_t *out)
{
    data_value_t value;
    if (data_get(map, "expect", &value) != DATA_GIVEN || !data_int(&value, &out->expect))
        return;
    if (out->expect < 1)
        data_refuse(&value, "revisions begin with 1");
}

/* Only what the gateway has hashed may be stored as the hash of a password. */
static void refuse_password_hash(const data_value_t *data)
{
    data_map_t map;
    data_value_t value;
    if (!data_map(data, &map))
        return;
    if (data_get(&map, "password_hash", &value) != DATA_ABSENT)
        data_refuse(&value, "there is no such field");
}

static void read_data(data_map_t *map, command_t *out)
{
    data_value_t value;
    if (data_get(map, "data", &value) != DATA_GIVEN)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (mp_peek(&reader) != MP_MAP) {
        data_refuse(&value, "this must be an object");
        return;
    }
    out->data = value.raw;
    if (out->op == OP_ACCOUNT_PATCH)
        refuse_password_hash(&value);
}

/* Whether the op is for a list that is there. */
static bool is_about_list(op_t op)
{
    return op == OP_LIST_PATCH || op == OP_LIST_DELETE || op == OP_LIST_RESTORE ||
           op == OP_MEMBER_PUT || op == OP_MEMBER_REMOVE;
}

static bool is_about_task(op_t op)
{
    static const op_t ops[] = {OP_TASK_CREATE, OP_TASK_PATCH,  OP_TASK_COMPLETE,
                               OP_TASK_REOPEN, OP_TASK_DELETE, OP_TASK_RESTORE,
                               OP_TASK_MOVE,   OP_TASK_SNOOZE, OP_REMINDER_DISMISS};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (ops[i] == op)
            return true;
    }
    return false;
}

/* Which of `list` and `task` an op cannot do without, and which `task` means nothing to. */
static void check_targets(data_map_t *map, const command_t *command)
{
    bool has_list = !uuid_is_nil(&command->list);
    bool has_task = !uuid_is_nil(&command->task);
    bool is_create = command->op == OP_TASK_CREATE;
    bool is_task = is_about_task(command->op);
    data_value_t list;
    data_value_t task;
    data_get(map, "list", &list);
    data_get(map, "task", &task);
    if (!has_list && (is_create || is_about_list(command->op)))
        data_refuse(&list, "this is needed");
    if (!has_task && is_task && !is_create)
        data_refuse(&task, "this is needed");
    if (has_task && !is_task)
        data_refuse(&task, "this op is not about a task");
}

err_t command_from_client(slice_t bytes, arena_t *arena, command_t *out, problem_t *problem)
{
    *out = (command_t){.op = OP_COUNT};
    *problem = (problem_t){0};
    data_map_t map;
    data_value_t id;
    if (bytes.data == NULL)
        bytes = slice_of("", 0);
    if (!data_open(&map, bytes, arena, problem))
        return problem->err;
    if (data_need(&map, "id", &id))
        data_uuid(&id, &out->id);
    read_op(&map, out);
    read_optional_id(&map, "list", &out->list);
    read_optional_id(&map, "task", &out->task);
    read_expect(&map, out);
    read_data(&map, out);
    data_close(&map);
    if (problem->err == ERR_OK)
        check_targets(&map, out);
    if (problem->err == ERR_OK)
        command_fingerprint(out);
    return problem->err;
}

/* --- ids that the server draws --- */

/* Ids of the same author and command differ by what they are for. A command id of version 7 lends
 * its time, so that new rows still lie beside each other. */
static uuid_t draw_id(const command_t *command, const char *what)
{
    uint8_t name[UUID_BYTES + 8] = {0};
    size_t n_what = strlen(what);
    assert(n_what <= 8);
    memcpy(name, command->id.bytes, UUID_BYTES);
    memcpy(name + UUID_BYTES, what, n_what);
    uuid_t id = uuid_derive(&command->author, slice_of(name, UUID_BYTES + n_what));
    if (command->id.bytes[6] >> 4 == 7)
        memcpy(id.bytes, command->id.bytes, 6);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x70);
    return id;
}

uuid_t command_task(const command_t *command)
{
    if (uuid_is_nil(&command->task) && command->op == OP_TASK_CREATE)
        return draw_id(command, "task");
    return command->task;
}

uuid_t command_list(const command_t *command)
{
    if (!uuid_is_nil(&command->list))
        return command->list;
    switch (command->op) {
    case OP_LIST_CREATE:
        return draw_id(command, "list");
    case OP_ACCOUNT_CREATE:
    case OP_ACCOUNT_PATCH:
    case OP_ACCOUNT_DELETE:
    case OP_TOKEN_CREATE:
    case OP_TOKEN_DELETE:
        return command->author;
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
    case OP_LIST_PATCH:
    case OP_LIST_DELETE:
    case OP_LIST_RESTORE:
    case OP_MEMBER_PUT:
    case OP_MEMBER_REMOVE:
    case OP_MEMBER_RELEASE:
    case OP_COUNT:
        return UUID_NIL;
    }
    return UUID_NIL;
}
