/* SPDX-License-Identifier: Apache-2.0 */
/* Writing what apply changed: one statement per kind of row and of change, by arrays that unnest
 * makes rows of, and none for what a batch did not touch. `shard` and the columns beside `body` are
 * made here and nowhere else. */
#include "actors/writer_batch.h"

#include <sodium.h>

#include "schema/words.h"

static const pg_stmt_t insert_streams = {
    "INSERT INTO stream (id, shard, is_account, head, tail, n_open)"
    " SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::bigint[], $5::text[], "
    "$6::bigint[])"};
static const pg_stmt_t update_streams = {
    "UPDATE stream s SET head = k.head, tail = k.tail, n_open = k.n_open"
    " FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[]) AS k(id, head, tail, n_open) "
    "WHERE s.id = k.id"};
static const pg_stmt_t upsert_lists = {
    "INSERT INTO list (id, rev, title, is_archived, n_owners, created_at, created_by, updated_at, "
    "deleted_at, n_members)"
    " SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::boolean[], $5::integer[], "
    "$6::timestamptz[],"
    " $7::uuid[], $8::timestamptz[], $9::timestamptz[], $10::integer[])"
    " ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, title = excluded.title, is_archived = "
    "excluded.is_archived,"
    " n_owners = excluded.n_owners, updated_at = excluded.updated_at, deleted_at = "
    "excluded.deleted_at, n_members = excluded.n_members"};
static const pg_stmt_t upsert_members = {
    "INSERT INTO member (list, account, role, since)"
    " SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::timestamptz[])"
    " ON CONFLICT (list, account) DO UPDATE SET role = excluded.role"};
static const pg_stmt_t delete_members = {
    "DELETE FROM member m USING unnest($1::uuid[], $2::uuid[]) AS k(list, account)"
    " WHERE m.list = k.list AND m.account = k.account"};
static const pg_stmt_t upsert_accounts = {
    "INSERT INTO account (id, rev, email, name, time_zone, password_hash, created_at, updated_at,"
    " all_day_reminder_time)"
    " SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], "
    "$6::text[],"
    " $7::timestamptz[], $8::timestamptz[], $9::text[])"
    " ON CONFLICT (id) DO UPDATE SET rev = excluded.rev, email = excluded.email, name = "
    "excluded.name,"
    " time_zone = excluded.time_zone, password_hash = excluded.password_hash, updated_at = "
    "excluded.updated_at, all_day_reminder_time = excluded.all_day_reminder_time"};
static const pg_stmt_t delete_accounts = {"DELETE FROM account WHERE id = ANY($1::uuid[])"};
static const pg_stmt_t delete_tokens_of = {"DELETE FROM token WHERE account = ANY($1::uuid[])"};
static const pg_stmt_t insert_erasures = {
    "INSERT INTO erasure (account, at) SELECT id, now() FROM unnest($1::uuid[]) AS k(id)"
    " ON CONFLICT DO NOTHING"};
static const pg_stmt_t insert_token = {
    "INSERT INTO token (id, account, kind, name, hash, scopes, lists, created_at, expires_at)"
    " VALUES ($1::uuid, $2::uuid, $3::smallint, $4::text, $5::bytea, $6::integer, $7::uuid[], "
    "$8::timestamptz,"
    " $9::timestamptz)"};
static const pg_stmt_t delete_tokens = {"DELETE FROM token WHERE id = ANY($1::uuid[])"};

/* Rows out of arrays in a SELECT's own list: PostgreSQL makes them one by one there, while it keeps
 * all that unnest() in FROM gives of each array first, which cost five times as much. */
#define TASK_ROWS                                                                                  \
    "(SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS list, unnest($3::bigint[]) AS rev,"   \
    " unnest($4::smallint[]) AS status, unnest($5::smallint[]) AS priority,"                       \
    " unnest($6::text[]) AS title, unnest($7::text[]) AS tags,"                                    \
    " unnest($8::timestamptz[]) AS due_at, unnest($9::text[]) AS position,"                        \
    " unnest($10::uuid[]) AS assignee, unnest($11::uuid[]) AS parent,"                             \
    " unnest($12::uuid[]) AS series, unnest($13::bigint[]) AS occurrence,"                         \
    " unnest($14::timestamptz[]) AS created_at, unnest($15::timestamptz[]) AS updated_at,"         \
    " unnest($16::timestamptz[]) AS deleted_at, unnest($17::bytea[]) AS body,"                     \
    " unnest($18::boolean[]) AS is_recurring, unnest($19::text[]) AS words,"                       \
    " unnest($20::text[]) AS sort_title, unnest($21::uuid[]) AS deleted_with) k"
#define TASK_NAMES                                                                                 \
    "id, list, rev, status, priority, title, tags, due_at, position, assignee, parent, series, "   \
    "occurrence,"                                                                                  \
    " created_at, updated_at, deleted_at, body, is_recurring, words, sort_title, deleted_with"

/* Arrays of arrays cannot be ragged: tags travel as one text, split by a character that no tag may
 * hold. */
#define TAG_SEPARATOR 0x1f

static const pg_stmt_t insert_tasks = {
    "INSERT INTO task (" TASK_NAMES
    ") SELECT id, list, rev, status, priority, title, string_to_array(tags, E'\\x1f'),"
    " due_at, position, assignee, parent, series, occurrence, created_at, updated_at, deleted_at, "
    "body, is_recurring, words::tsvector, sort_title, deleted_with"
    " FROM " TASK_ROWS};
static const pg_stmt_t update_tasks = {
    "UPDATE task t SET list = k.list, rev = k.rev, status = k.status, priority = k.priority, title "
    "= k.title,"
    " tags = string_to_array(k.tags, E'\\x1f'), due_at = k.due_at, position = k.position, assignee "
    "= k.assignee,"
    " parent = k.parent, series = k.series, occurrence = k.occurrence, updated_at = k.updated_at,"
    " deleted_at = k.deleted_at, body = k.body, is_recurring = k.is_recurring,"
    /* NULL: its words are the same as before */
    " words = coalesce(k.words::tsvector, t.words), sort_title = coalesce(k.sort_title, "
    "t.sort_title), deleted_with = k.deleted_with"
    " FROM " TASK_ROWS " WHERE t.id = k.id"};
static const pg_stmt_t insert_events = {
    "INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, "
    "salt, fingerprint, body, trace)"
    " SELECT unnest($1::smallint[]), unnest($2::uuid[]), unnest($3::bigint[]), "
    "unnest($4::smallint[]), unnest($5::uuid[]), unnest($6::uuid[]), unnest($7::uuid[]),"
    " unnest($8::boolean[]), unnest($10::timestamptz[]), $9::text, unnest($11::bytea[]), "
    "unnest($12::bytea[]), unnest($13::bytea[]), unnest($14::bytea[]), "
    "unnest($15::bytea[])"};

static void on_stored(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_note_fate(arg, fate, result);
}

static pg_params_t *fresh(lane_t *self)
{
    pg_params_reset(&self->params);
    return &self->params;
}

static void queue(lane_t *self, const pg_stmt_t *stmt)
{
    /* A connection that breaks meanwhile is noticed by the statement that was queued last. */
    (void)pg_query(self->pg, stmt, &self->params, on_stored, self);
}

/* One array parameter over the rows that `test` lets through: `type`, the walk, and how a row's
 * value is put. */
#define COLUMN(params, type, row_t, walk, test, put)                                               \
    do {                                                                                           \
        pg_array_begin(params, type);                                                              \
        row_t *row;                                                                                \
        for (size_t i_ = 0; (row = walk(self->loaded, i_)) != NULL; i_++) {                        \
            if (test)                                                                              \
                put;                                                                               \
        }                                                                                          \
        pg_array_end(params);                                                                      \
    } while (0)

#define STREAMS(type, put)                                                                         \
    COLUMN(params, type, stream_t, state_stream_at, row->is_dirty && row->is_new == is_new, put)

static size_t count_streams(const lane_t *self, bool is_new)
{
    size_t n = 0;
    const stream_t *stream;
    for (size_t i = 0; (stream = state_stream_at(self->loaded, i)) != NULL; i++)
        n += stream->is_dirty && stream->is_new == is_new;
    return n;
}

static void store_streams(lane_t *self, bool is_new)
{
    if (count_streams(self, is_new) == 0)
        return;
    pg_params_t *params = fresh(self);
    STREAMS(PG_UUID, pg_array_uuid(params, &row->id));
    if (is_new) {
        STREAMS(PG_I16, pg_array_i16(params, (int16_t)shard_of(&row->id)));
        STREAMS(PG_BOOL, pg_array_bool(params, row->is_account));
    }
    STREAMS(PG_I64, pg_array_i64(params, row->head));
    STREAMS(PG_TEXT, pg_array_text(params, row->tail.n_bytes == 0 ? slice_str("") : row->tail));
    STREAMS(PG_I64, pg_array_i64(params, row->n_open));
    queue(self, is_new ? &insert_streams : &update_streams);
}

#define LISTS(type, put) COLUMN(params, type, list_t, state_list_at, row->is_dirty, put)

static void store_lists(lane_t *self)
{
    size_t n = 0;
    const list_t *list;
    for (size_t i = 0; (list = state_list_at(self->loaded, i)) != NULL; i++)
        n += list->is_dirty;
    if (n == 0)
        return;
    pg_params_t *params = fresh(self);
    LISTS(PG_UUID, pg_array_uuid(params, &row->id));
    LISTS(PG_I64, pg_array_i64(params, row->rev));
    LISTS(PG_TEXT, pg_array_text(params, row->title));
    LISTS(PG_BOOL, pg_array_bool(params, row->is_archived));
    LISTS(PG_I32, pg_array_i32(params, (int32_t)row->n_owners));
    LISTS(PG_INSTANT, pg_array_instant(params, row->created_at_us));
    LISTS(PG_UUID, pg_array_uuid(params, &row->created_by));
    LISTS(PG_INSTANT, pg_array_instant(params, row->updated_at_us));
    LISTS(PG_INSTANT, pg_array_instant(params, row->deleted_at_us));
    LISTS(PG_I32, pg_array_i32(params, (int32_t)row->n_members));
    queue(self, &upsert_lists);
}

#define MEMBERS(type, put)                                                                         \
    COLUMN(params, type, member_t, state_member_at,                                                \
           row->is_dirty && (row->role != ROLE_NONE) == is_member, put)

static void store_members(lane_t *self, bool is_member)
{
    size_t n = 0;
    const member_t *member;
    for (size_t i = 0; (member = state_member_at(self->loaded, i)) != NULL; i++)
        n += member->is_dirty && (member->role != ROLE_NONE) == is_member;
    if (n == 0)
        return;
    pg_params_t *params = fresh(self);
    MEMBERS(PG_UUID, pg_array_uuid(params, &row->key.list));
    MEMBERS(PG_UUID, pg_array_uuid(params, &row->key.account));
    if (is_member) {
        MEMBERS(PG_I16, pg_array_i16(params, (int16_t)row->role));
        MEMBERS(PG_INSTANT, pg_array_instant(params, row->since_us));
    }
    queue(self, is_member ? &upsert_members : &delete_members);
}

#define ACCOUNTS(type, put)                                                                        \
    COLUMN(params, type, account_t, state_account_at, row->is_dirty && !row->is_deleted, put)

static void store_accounts(lane_t *self)
{
    size_t n = 0;
    const account_t *account;
    for (size_t i = 0; (account = state_account_at(self->loaded, i)) != NULL; i++)
        n += account->is_dirty && !account->is_deleted;
    if (n == 0)
        return;
    pg_params_t *params = fresh(self);
    ACCOUNTS(PG_UUID, pg_array_uuid(params, &row->id));
    ACCOUNTS(PG_I64, pg_array_i64(params, row->rev));
    ACCOUNTS(PG_TEXT, pg_array_text(params, row->email));
    ACCOUNTS(PG_TEXT, pg_array_text(params, row->name.n_bytes == 0 ? slice_str("") : row->name));
    ACCOUNTS(PG_TEXT, pg_array_text(params, row->time_zone));
    ACCOUNTS(PG_TEXT, pg_array_text(params, row->password_hash));
    ACCOUNTS(PG_INSTANT, pg_array_instant(params, row->created_at_us));
    ACCOUNTS(PG_INSTANT, pg_array_instant(params, row->updated_at_us));
    ACCOUNTS(PG_TEXT, pg_array_text(params, row->all_day_time));
    queue(self, &upsert_accounts);
}

static void store_new_token(lane_t *self, const token_t *token)
{
    pg_params_t *params = fresh(self);
    pg_put_uuid(params, &token->id);
    pg_put_uuid(params, &token->account);
    pg_put_i16(params, (int16_t)token->kind);
    pg_put_text(params, token->name.n_bytes == 0 ? slice_str("") : token->name);
    pg_put_bytea(params, token->hash);
    pg_put_i32(params, (int32_t)token->scopes);
    pg_array_begin(params, PG_UUID);
    for (uint32_t i = 0; i < token->n_lists; i++)
        pg_array_uuid(params, &token->lists[i]);
    pg_array_end(params);
    pg_put_instant(params, token->created_at_us);
    pg_put_instant(params, token->expires_at_us);
    queue(self, &insert_token);
}

/* Logins are rare and their cost is the password's: new tokens go one by one. */
static void store_tokens(lane_t *self)
{
    token_t *token;
    size_t n_deleted = 0;
    for (size_t i = 0; (token = state_token_at(self->loaded, i)) != NULL; i++) {
        if (token->is_new && !token->is_deleted)
            store_new_token(self, token);
        n_deleted += token->is_deleted && !token->is_new;
    }
    if (n_deleted == 0)
        return;
    pg_params_t *params = fresh(self);
    COLUMN(params, PG_UUID, token_t, state_token_at, row->is_deleted && !row->is_new,
           pg_array_uuid(params, &row->id));
    queue(self, &delete_tokens);
}

/* Of an erased account nothing stays but its id, and what is in the log until that is purged. */
static void store_erased(lane_t *self)
{
    size_t n = 0;
    const account_t *account;
    for (size_t i = 0; (account = state_account_at(self->loaded, i)) != NULL; i++)
        n += account->is_deleted;
    if (n == 0)
        return;
    pg_params_t *params = fresh(self);
    COLUMN(params, PG_UUID, account_t, state_account_at, row->is_deleted,
           pg_array_uuid(params, &row->id));
    queue(self, &delete_accounts);
    queue(self, &delete_tokens_of);
    queue(self, &insert_erasures);
}

static slice_t joined_tags(lane_t *self, const task_t *task)
{
    if (task->n_tags == 0)
        return slice_str("");
    size_t n_bytes = task->n_tags - 1;
    for (uint32_t i = 0; i < task->n_tags; i++)
        n_bytes += task->tags[i].n_bytes;
    uint8_t *joined = arena_alloc(self->arena, n_bytes);
    size_t at = 0;
    for (uint32_t i = 0; i < task->n_tags; i++) {
        if (i > 0)
            joined[at++] = TAG_SEPARATOR;
        memcpy(joined + at, task->tags[i].data, task->tags[i].n_bytes);
        at += task->tags[i].n_bytes;
    }
    return slice_of(joined, n_bytes);
}

/* What the task is found by; absent if that is stored already. */
static slice_t words_of(lane_t *self, const state_task_t *row)
{
    buf_t buf = {0};
    if (!row->is_reworded)
        return slice_none();
    buf_append_byte(&buf, ' ');
    words_put_document(row->task.title, &buf);
    for (uint32_t i = 0; i < row->task.n_tags; i++)
        words_put_document(row->task.tags[i], &buf);
    words_put_document(row->task.notes, &buf);
    slice_t words = arena_copy(self->arena, buf_slice(&buf));
    buf_fini(&buf);
    return words;
}

static slice_t sort_title_of(lane_t *self, const state_task_t *row)
{
    buf_t buf = {0};
    if (!row->is_reworded)
        return slice_none();
    words_put_sort_key(row->task.title, &buf);
    slice_t key = buf.n_bytes == 0 ? slice_str("") : arena_copy(self->arena, buf_slice(&buf));
    buf_fini(&buf);
    return key;
}

static slice_t encoded_task(lane_t *self, const task_t *task)
{
    buf_t buf = {0};
    task_encode(task, &buf);
    slice_t body = arena_copy(self->arena, buf_slice(&buf));
    buf_fini(&buf);
    return body;
}

#define TASKS(type, put)                                                                           \
    COLUMN(params, type, state_task_t, state_task_at, row->is_dirty && row->is_new == is_new, put)

static void store_tasks(lane_t *self, bool is_new)
{
    size_t n = 0;
    const state_task_t *task;
    for (size_t i = 0; (task = state_task_at(self->loaded, i)) != NULL; i++)
        n += task->is_dirty && task->is_new == is_new;
    if (n == 0)
        return;
    pg_params_t *params = fresh(self);
    TASKS(PG_UUID, pg_array_uuid(params, &row->task.id));
    TASKS(PG_UUID, pg_array_uuid(params, &row->task.list));
    TASKS(PG_I64, pg_array_i64(params, row->task.rev));
    TASKS(PG_I16, pg_array_i16(params, (int16_t)row->task.status));
    TASKS(PG_I16, pg_array_i16(params, (int16_t)row->task.priority));
    TASKS(PG_TEXT, pg_array_text(params, row->task.title));
    TASKS(PG_TEXT, pg_array_text(params, joined_tags(self, &row->task)));
    TASKS(PG_INSTANT, pg_array_instant(params, row->task.due_at_us));
    TASKS(PG_TEXT, pg_array_text(params, row->task.position));
    TASKS(PG_UUID, pg_array_uuid(params, &row->task.assignee));
    TASKS(PG_UUID, pg_array_uuid(params, &row->task.parent));
    TASKS(PG_UUID, pg_array_uuid(params, &row->task.series));
    TASKS(PG_I64, pg_array_i64(params, row->task.occurrence));
    TASKS(PG_INSTANT, pg_array_instant(params, row->task.created_at_us));
    TASKS(PG_INSTANT, pg_array_instant(params, row->task.updated_at_us));
    TASKS(PG_INSTANT, pg_array_instant(params, row->task.deleted_at_us));
    TASKS(PG_BYTEA, pg_array_text(params, encoded_task(self, &row->task)));
    TASKS(PG_BOOL, pg_array_bool(params, row->task.rule.data != NULL));
    TASKS(PG_TEXT, pg_array_text(params, words_of(self, row)));
    TASKS(PG_TEXT, pg_array_text(params, sort_title_of(self, row)));
    TASKS(PG_UUID, pg_array_uuid(params, &row->deleted_with));
    queue(self, is_new ? &insert_tasks : &update_tasks);
}

typedef struct {
    const uint8_t *salt;
    uint8_t digest[DIGEST_BYTES];
    uint8_t fingerprint[FINGERPRINT_BYTES];
} seal_t;

static seal_t *seal_events(lane_t *self)
{
    size_t n = state_n_events(self->loaded);
    seal_t *seals = arena_alloc(self->arena, n * sizeof *seals);
    uint8_t *salts = arena_alloc(self->arena, n * SALT_BYTES);
    randombytes_buf(salts, n * SALT_BYTES); /* a system call, whatever it is asked for */
    for (size_t i = 0; i < n; i++) {
        seals[i].salt = salts + i * SALT_BYTES;
        const state_event_t *stored = state_event_at(self->loaded, i);
        event_digest(stored->body, seals[i].salt, seals[i].digest);
        command_seal_fingerprint(stored->fingerprint, seals[i].salt, seals[i].fingerprint);
    }
    return seals;
}

#define EVENTS(type, put) COLUMN(params, type, state_event_t, state_event_at, true, put)

static void store_events(lane_t *self)
{
    const seal_t *seals = seal_events(self);
    pg_params_t *params = fresh(self);
    EVENTS(PG_I16, pg_array_i16(params, (int16_t)shard_of(&row->event.stream)));
    EVENTS(PG_UUID, pg_array_uuid(params, &row->event.stream));
    EVENTS(PG_I64, pg_array_i64(params, row->event.rev));
    EVENTS(PG_I16, pg_array_i16(params, (int16_t)row->event.type));
    EVENTS(PG_UUID, pg_array_uuid(params, &row->event.task));
    EVENTS(PG_UUID, pg_array_uuid(params, &row->event.command));
    EVENTS(PG_UUID, pg_array_uuid(params, &row->event.by));
    EVENTS(PG_BOOL, pg_array_bool(params, row->is_answer));
    pg_put_text(params, slice_of(self->epoch, EPOCH_CHARS));
    EVENTS(PG_INSTANT, pg_array_instant(params, row->event.at_us));
    EVENTS(PG_BYTEA, pg_array_text(params, slice_of(seals[i_].digest, DIGEST_BYTES)));
    EVENTS(PG_BYTEA, pg_array_text(params, slice_of(seals[i_].salt, SALT_BYTES)));
    EVENTS(PG_BYTEA,
           pg_array_text(params, row->is_answer ? slice_of(seals[i_].fingerprint, FINGERPRINT_BYTES)
                                                : slice_none()));
    EVENTS(PG_BYTEA, pg_array_text(params, row->body));
    EVENTS(PG_BYTEA, pg_array_text(params, trace_slice(&row->trace)));
    queue(self, &insert_events);
}

void lane_queue_store(lane_t *self)
{
    store_streams(self, true);
    store_streams(self, false);
    store_lists(self);
    store_members(self, true);
    store_members(self, false);
    store_accounts(self);
    store_tokens(self);
    store_erased(self);
    /* Changes first: a deleted occurrence makes room for another of the same number. */
    store_tasks(self, false);
    store_tasks(self, true);
    store_events(self);
}
