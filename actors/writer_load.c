/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a batch needs: a constant number of statements whatever its size, by arrays of keys.
 * Each finds its rows through a primary or unique index. They run under the shard locks, so nothing
 * they return can change until commit. */
#include "actors/writer_batch.h"

static const pg_stmt_t select_epoch = {"SELECT epoch FROM log_epoch"};
static const pg_stmt_t select_streams = {
    "SELECT id, is_account, head, tail, n_open FROM stream WHERE id = ANY($1::uuid[])"};
static const pg_stmt_t select_lists = {
    "SELECT id, rev, title, is_archived, n_owners, created_at, created_by, updated_at, deleted_at,"
    " n_members FROM list WHERE id = ANY($1::uuid[])"};
static const pg_stmt_t select_members = {
    "SELECT m.list, m.account, m.role, m.since FROM (SELECT unnest($1::uuid[]) AS list,"
    " unnest($2::uuid[]) AS account) k"
    " JOIN member m ON m.list = k.list AND m.account = k.account"};
/* Of whole lists: their members, and the streams in which those are told. Streams in shards that
 * are not locked may change before the commit; apply leaves those alone. */
static const pg_stmt_t select_all_members = {
    "SELECT list, account, role, since FROM member WHERE list = ANY($1::uuid[])"};
static const pg_stmt_t select_member_streams = {
    "SELECT s.id, s.is_account, s.head, s.tail, s.n_open FROM member m JOIN stream s ON s.id = "
    "m.account WHERE m.list = ANY($1::uuid[])"};
static const pg_stmt_t select_accounts = {
    "SELECT id, rev, email, name, time_zone, password_hash, created_at, updated_at, "
    "all_day_reminder_time FROM account WHERE id = ANY($1::uuid[])"};
static const pg_stmt_t select_any_account = {"SELECT EXISTS (SELECT 1 FROM account)"};
static const pg_stmt_t select_tasks = {
    "SELECT body, deleted_with FROM task WHERE id = ANY($1::uuid[])"};
/* Memberships as above, accounts before lists. */
static const pg_stmt_t select_newcomers = {
    "SELECT m.list, m.account, m.role, m.since FROM unnest($1::uuid[], $2::uuid[]) AS k(account, "
    "list)"
    " JOIN member m ON m.list = k.list AND m.account = k.account"};
static const pg_stmt_t select_lists_left = {
    "SELECT k.id, (SELECT count(*) FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS "
    "NULL WHERE m.account = k.id) FROM unnest($1::uuid[]) AS k(id)"};
/* The tasks of a list that name an account, as assignee or, by these bytes, in a reminder that is
 * for it: open ones first, and only so many. */
#define FOR_ACCOUNT_BYTES "'\\xa3666f72d924'::bytea || convert_to(k.account::text, 'UTF8')"
#define CONCERNED(closed, which)                                                                   \
    "SELECT " closed " AS closed, position, id, body FROM task WHERE list = k.list AND " which     \
    " AND (assignee = k.account OR position(" FOR_ACCOUNT_BYTES " IN body) > 0)"
#define CONCERNED_LIVE CONCERNED("false", "status < 2 AND deleted_at IS NULL")
#define CONCERNED_CLOSED                                                                           \
    CONCERNED("true", "NOT (status < 2 AND deleted_at IS NULL) AND deleted_at IS NULL")
static const pg_stmt_t select_concerned = {
    "SELECT u.body, NULL::uuid FROM unnest($1::uuid[], $2::uuid[]) AS k(list, account) CROSS JOIN "
    "LATERAL ("
    "SELECT body, sum(octet_length(body)) OVER (ORDER BY closed, position, id"
    " ROWS UNBOUNDED PRECEDING) AS total FROM (" CONCERNED_LIVE " UNION ALL " CONCERNED_CLOSED
    ") r ORDER BY closed, position, id LIMIT $3::bigint) u WHERE u.total <= $4::bigint"};
static const pg_stmt_t select_tokens = {
    "SELECT id, account, kind, name, scopes, lists, created_at, expires_at"
    " FROM token WHERE id = ANY($1::uuid[])"};
static const pg_stmt_t select_occurrences = {
    "SELECT t.series, t.occurrence FROM unnest($1::uuid[]) AS k(id),"
    " LATERAL (SELECT series, occurrence FROM task WHERE id = k.id OFFSET 0) p,"
    " LATERAL (SELECT series, occurrence FROM task WHERE series = p.series"
    " AND occurrence > p.occurrence AND deleted_at IS NULL ORDER BY occurrence DESC LIMIT 4) t"};
/* The next one, if it was deleted. */
static const pg_stmt_t select_gone = {
    "SELECT t.body, t.deleted_with FROM unnest($1::uuid[]) AS k(id),"
    " LATERAL (SELECT series, occurrence FROM task WHERE id = k.id OFFSET 0) p,"
    " LATERAL (SELECT body, deleted_with FROM task WHERE series = p.series"
    " AND occurrence = p.occurrence + 1 AND deleted_at IS NOT NULL"
    " ORDER BY deleted_at DESC LIMIT 1) t"};
/* Of a series: the next occurrence, open ones, the last. A list is not looked at: one of them may
 * have moved, which apply then sees. */
static const pg_stmt_t select_mates = {
    "SELECT t.body, t.deleted_with FROM unnest($1::uuid[]) AS k(id),"
    " LATERAL (SELECT series, occurrence FROM task WHERE id = k.id OFFSET 0) p,"
    " LATERAL ((SELECT id, body, deleted_with FROM task WHERE series = p.series AND deleted_at IS "
    "NULL"
    " AND (occurrence = p.occurrence + 1 OR status < 2) ORDER BY occurrence DESC LIMIT 64)"
    " UNION ALL (SELECT id, body, deleted_with FROM task WHERE series = p.series AND deleted_at IS "
    "NULL"
    " ORDER BY occurrence DESC LIMIT 1)) t"};
static const pg_stmt_t select_seen = {
    "SELECT e.by, e.command, e.stream, e.rev, e.task, e.type, e.fingerprint, e.salt"
    " FROM (SELECT unnest($1::uuid[]) AS by, unnest($2::uuid[]) AS command) k"
    " JOIN event e ON e.by = k.by AND e.command = k.command AND e.is_answer"};

static void on_epoch(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || pg_rows(result) != 1)
        return;
    slice_t epoch = pg_bytes(result, 0, 0);
    if (epoch.n_bytes != EPOCH_CHARS)
        return;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    self->has_epoch = true;
    self->loaded = state_new(self->arena, self->epoch);
    state_hold(self->loaded, self->shards);
}

static void on_streams(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        stream_t stream = {.id = pg_uuid(result, row, 0),
                           .is_account = pg_bool(result, row, 1),
                           .head = pg_int(result, row, 2),
                           .tail = arena_copy(self->arena, pg_bytes(result, row, 3)),
                           .n_open = pg_int(result, row, 4)};
        state_put_stream(self->loaded, &stream);
    }
}

static void on_lists(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        list_t list = {.id = pg_uuid(result, row, 0),
                       .rev = pg_int(result, row, 1),
                       .title = arena_copy(self->arena, pg_bytes(result, row, 2)),
                       .is_archived = pg_bool(result, row, 3),
                       .n_owners = pg_int(result, row, 4),
                       .created_at_us = pg_instant(result, row, 5),
                       .created_by = pg_uuid(result, row, 6),
                       .updated_at_us = pg_instant(result, row, 7),
                       .deleted_at_us = pg_instant(result, row, 8),
                       .n_members = pg_int(result, row, 9)};
        state_put_list(self->loaded, &list);
    }
}

static void on_members(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        member_t member = {.key = {pg_uuid(result, row, 0), pg_uuid(result, row, 1)},
                           .role = (role_t)pg_int(result, row, 2),
                           .since_us = pg_instant(result, row, 3)};
        state_put_member(self->loaded, &member);
    }
}

static void on_accounts(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        account_t account = {.id = pg_uuid(result, row, 0),
                             .rev = pg_int(result, row, 1),
                             .email = arena_copy(self->arena, pg_bytes(result, row, 2)),
                             .name = arena_copy(self->arena, pg_bytes(result, row, 3)),
                             .time_zone = arena_copy(self->arena, pg_bytes(result, row, 4)),
                             .password_hash = arena_copy(self->arena, pg_bytes(result, row, 5)),
                             .created_at_us = pg_instant(result, row, 6),
                             .updated_at_us = pg_instant(result, row, 7),
                             .all_day_time = arena_copy(self->arena, pg_bytes(result, row, 8))};
        state_put_account(self->loaded, &account);
    }
}

static void on_any_account(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (lane_note_fate(self, fate, result) && self->loaded != NULL && pg_bool(result, 0, 0))
        state_put_any_account(self->loaded);
}

static void on_lists_left(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t id = pg_uuid(result, row, 0);
        account_t *account = state_account(self->loaded, &id);
        if (account != NULL)
            account->n_lists = pg_int(result, row, 1);
    }
}

static void on_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        task_t task;
        slice_t body = arena_copy(self->arena, pg_bytes(result, row, 0));
        if (task_decode(body, self->arena, &task)) {
            state_put_task(self->loaded, &task, false, false)->deleted_with =
                pg_uuid(result, row, 1);
        } else {
            log_line(LOG_ERROR, "writer", "a stored task cannot be read", NULL);
        }
    }
}

static void on_tokens(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        token_t token = {.id = pg_uuid(result, row, 0),
                         .account = pg_uuid(result, row, 1),
                         .kind = (token_kind_t)pg_int(result, row, 2),
                         .name = arena_copy(self->arena, pg_bytes(result, row, 3)),
                         .scopes = (uint32_t)pg_int(result, row, 4),
                         .created_at_us = pg_instant(result, row, 6),
                         .expires_at_us = pg_instant(result, row, 7)};
        uuid_t *lists = arena_alloc(self->arena, sizeof *lists * LIMIT_TOKEN_LISTS);
        token.n_lists = (uint32_t)pg_uuid_array(result, row, 5, lists, LIMIT_TOKEN_LISTS);
        token.lists = lists;
        state_put_token(self->loaded, &token);
    }
}

static void on_occurrences(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t series = pg_uuid(result, row, 0);
        state_put_occurrence(self->loaded, &series, pg_int(result, row, 1));
    }
}

static void on_seen(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    bool is_usable = lane_note_fate(self, fate, result) && self->loaded != NULL;
    for (int row = 0; is_usable && row < pg_rows(result); row++) {
        seen_t seen = {.author = pg_uuid(result, row, 0),
                       .command = pg_uuid(result, row, 1),
                       .stream = pg_uuid(result, row, 2),
                       .rev = pg_int(result, row, 3),
                       .task = pg_uuid(result, row, 4),
                       .type = (event_type_t)pg_int(result, row, 5)};
        slice_t fingerprint = pg_bytes(result, row, 6);
        slice_t salt = pg_bytes(result, row, 7);
        seen.is_sealed = fingerprint.n_bytes == FINGERPRINT_BYTES && salt.n_bytes == SALT_BYTES;
        if (seen.is_sealed) {
            memcpy(seen.fingerprint, fingerprint.data, FINGERPRINT_BYTES);
            memcpy(seen.salt, salt.data, SALT_BYTES);
        }
        state_put_seen(self->loaded, &seen);
    }
    self->on_loaded(self, fate, result);
}

/* Each of these appends the keys of one kind over the whole batch as one array parameter. */

static void put_streams(const lane_t *self, pg_params_t *params)
{
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        for (uint32_t i = 0; i < p->refs.n_streams; i++)
            pg_array_uuid(params, &p->refs.streams[i]);
    }
    pg_array_end(params);
}

static size_t put_tasks(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        for (uint32_t i = 0; i < p->refs.n_tasks; i++, n++)
            pg_array_uuid(params, &p->refs.tasks[i]);
    }
    pg_array_end(params);
    return n;
}

static void put_accounts(const lane_t *self, pg_params_t *params)
{
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        for (uint32_t i = 0; i < p->refs.n_accounts; i++)
            pg_array_uuid(params, &p->refs.accounts[i]);
    }
    pg_array_end(params);
}

/* The next membership of the batch behind that place, which moves on; NULL: there is none. Those of
 * one author's commands, one behind the other, are one. */
static const member_key_t *next_member(const pending_t **p, uint32_t *i, const member_key_t *last)
{
    for (; *p != NULL; *p = (*p)->next, *i = 0) {
        while (*i < (*p)->refs.n_members) {
            const member_key_t *key = &(*p)->refs.members[(*i)++];
            if (last == NULL || !uuid_eq(&key->list, &last->list) ||
                !uuid_eq(&key->account, &last->account))
                return key;
        }
    }
    return NULL;
}

static void put_members(const lane_t *self, pg_params_t *params)
{
    const member_key_t *key = NULL;
    const pending_t *p = self->batch.first;
    uint32_t i = 0;
    pg_array_begin(params, PG_UUID);
    while ((key = next_member(&p, &i, key)) != NULL)
        pg_array_uuid(params, &key->list);
    pg_array_end(params);
    p = self->batch.first;
    i = 0;
    pg_array_begin(params, PG_UUID);
    while ((key = next_member(&p, &i, key)) != NULL)
        pg_array_uuid(params, &key->account);
    pg_array_end(params);
}

static size_t put_whole_lists(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.members_of)) {
            pg_array_uuid(params, &p->refs.members_of);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static size_t put_concerns(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.concerns.list)) {
            pg_array_uuid(params, &p->refs.concerns.list);
            n++;
        }
    }
    pg_array_end(params);
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.concerns.list))
            pg_array_uuid(params, &p->refs.concerns.account);
    }
    pg_array_end(params);
    pg_put_i64(params, LIMIT_RELEASED_TASKS);
    pg_put_i64(params, LIMIT_RELEASED_BYTES);
    return n;
}

static size_t put_leaving(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.leaving)) {
            pg_array_uuid(params, &p->refs.leaving);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static size_t put_tokens(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.token)) {
            pg_array_uuid(params, &p->refs.token);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static bool wants_any_account(const lane_t *self)
{
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (p->refs.any_account)
            return true;
    }
    return false;
}

static size_t put_series(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.series_of)) {
            pg_array_uuid(params, &p->refs.series_of);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static size_t put_mates(const lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.mates_of)) {
            pg_array_uuid(params, &p->refs.mates_of);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static void put_ids(const lane_t *self, pg_params_t *params)
{
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next)
        pg_array_uuid(params, &p->command.author);
    pg_array_end(params);
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next)
        pg_array_uuid(params, &p->command.id);
    pg_array_end(params);
}

static void on_last_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    on_tasks(self, fate, result);
    self->on_loaded(self, fate, result);
}

static void on_last_members(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    on_members(self, fate, result);
    self->on_loaded(self, fate, result);
}

void lane_queue_tasks(lane_t *self)
{
    pg_query(self->pg, &select_tasks, &self->params, on_last_tasks, self);
}

void lane_queue_newcomers(lane_t *self)
{
    pg_query(self->pg, &select_newcomers, &self->params, on_last_members, self);
}

static pg_params_t *fresh(lane_t *self)
{
    pg_params_reset(&self->params);
    return &self->params;
}

void lane_queue_load(lane_t *self, pg_done_f *done)
{
    pg_params_t *params = &self->params;
    pg_query(self->pg, &select_epoch, NULL, on_epoch, self);
    put_streams(self, fresh(self));
    pg_query(self->pg, &select_streams, params, on_streams, self);
    pg_query(self->pg, &select_lists, params, on_lists, self);
    put_members(self, fresh(self));
    pg_query(self->pg, &select_members, params, on_members, self);
    if (put_whole_lists(self, fresh(self)) > 0) {
        pg_query(self->pg, &select_all_members, params, on_members, self);
        pg_query(self->pg, &select_member_streams, params, on_streams, self);
    }
    put_accounts(self, fresh(self));
    pg_query(self->pg, &select_accounts, params, on_accounts, self);
    if (wants_any_account(self))
        pg_query(self->pg, &select_any_account, NULL, on_any_account, self);
    if (put_tasks(self, fresh(self)) > 0)
        pg_query(self->pg, &select_tasks, params, on_tasks, self);
    if (put_leaving(self, fresh(self)) > 0)
        pg_query(self->pg, &select_lists_left, params, on_lists_left, self);
    if (put_concerns(self, fresh(self)) > 0)
        pg_query(self->pg, &select_concerned, params, on_tasks, self);
    if (put_tokens(self, fresh(self)) > 0)
        pg_query(self->pg, &select_tokens, params, on_tokens, self);
    if (put_series(self, fresh(self)) > 0)
        pg_query(self->pg, &select_occurrences, params, on_occurrences, self);
    if (put_series(self, fresh(self)) > 0)
        pg_query(self->pg, &select_gone, params, on_tasks, self);
    if (put_mates(self, fresh(self)) > 0)
        pg_query(self->pg, &select_mates, params, on_tasks, self);
    lane_queue_trees(self);
    put_ids(self, fresh(self));
    self->on_loaded = done;
    self->n_rounds = 1;
    pg_query(self->pg, &select_seen, params, on_seen, self);
}
