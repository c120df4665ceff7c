/* SPDX-License-Identifier: Apache-2.0 */
/* If the database has another epoch than what is known, that is either a later one, and ours is
 * among its past epochs, or the database is from before ours began.
 *
 * Ending an epoch is one transaction, a group of statements in which each looks at the epoch
 * afresh: they do nothing if somebody else was faster. Then the session is compared again. */
#include "actors/lineage_private.h"

#include "actors/log.h"

#include <sodium.h>
#include <stdlib.h>

#define ROUNDS 3
#define KEY_BYTES 32
/* What is skipped of the ids that were given out before, so that none is given out twice. */
#define ID_GAP INT64_C(1000)
#define TOP "(SELECT max(id) FROM event WHERE shard = s)"
#define IS_OURS " EXISTS (SELECT 1 FROM log_epoch WHERE epoch = $1::text)"

/* Where the database is. The control file names the timeline of the last checkpoint only. */
#define HOME                                                                                       \
    "(SELECT system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline, " \
    "'event'::regclass::oid AS log_table FROM pg_control_system())"

/* $1 to $3 the last event of each shard, of epoch $4; $5 and $6 anchored events, of epoch $7. */
static const pg_stmt_t compare = {
    "SELECT e.epoch, e.system_identifier IS NULL,"
    " (e.system_identifier, e.timeline, e.log_table) IS DISTINCT FROM"
    " (h.system_identifier, h.timeline, h.log_table),"
    " CASE WHEN $4::text IS NULL THEN false WHEN $4::text = e.epoch THEN EXISTS (SELECT 1 FROM "
    "unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS k(shard, id, digest) WHERE NOT EXISTS "
    "(SELECT 1 FROM event v WHERE v.shard = k.shard AND v.id = k.id AND v.digest = k.digest))"
    " ELSE NOT EXISTS (SELECT 1 FROM past_epoch p WHERE p.epoch = $4::text) END,"
    " CASE WHEN $7::text IS NULL THEN false WHEN $7::text = e.epoch THEN EXISTS (SELECT 1 FROM "
    "unnest($5::uuid[], $6::bigint[]) AS k(stream, rev) WHERE NOT EXISTS (SELECT 1 FROM event v "
    "WHERE v.stream = k.stream AND v.rev = k.rev))"
    " ELSE NOT EXISTS (SELECT 1 FROM past_epoch p WHERE p.epoch = $7::text) END"
    " FROM log_epoch e CROSS JOIN " HOME " h"};
static const pg_stmt_t settle = {
    "UPDATE log_epoch e SET system_identifier = h.system_identifier, timeline = h.timeline, "
    "log_table = h.log_table FROM " HOME " h WHERE e.epoch = $1::text AND e.system_identifier IS "
    "NULL"};
static const pg_stmt_t select_tops = {
    "SELECT e.epoch, t.shard, t.id, t.digest FROM log_epoch e CROSS JOIN generate_series(0, 63) s "
    "CROSS JOIN LATERAL (SELECT shard, id, digest FROM event WHERE shard = s ORDER BY id DESC "
    "LIMIT 1) t"};

/* --- the end of an epoch; $1 is the new one --- */

static const pg_stmt_t lock_all = {
    "SELECT count(pg_advisory_xact_lock(7461, shard)) FROM generate_series(0, 63) shard"};
static const pg_stmt_t begin_epoch = {
    "UPDATE log_epoch e SET epoch = $1::text, mac_key = $3::bytea, created_at = now(), "
    "system_identifier = h.system_identifier, timeline = h.timeline, log_table = h.log_table "
    "FROM " HOME " h WHERE e.epoch = $2::text"};
static const pg_stmt_t keep_past = {
    "INSERT INTO past_epoch (epoch, reason) SELECT DISTINCT k.epoch, $3::text FROM "
    "unnest($2::text[]) AS k(epoch) WHERE k.epoch IS NOT NULL AND" IS_OURS " ON CONFLICT DO "
    "NOTHING"};
/* A backup has none of the next two kinds; whoever wrote to the copy before it was found out may
 * have. The reminder actor makes its rows again from the log. */
static const pg_stmt_t clamp_positions = {
    "UPDATE relay_position p SET id = coalesce(t.top, 0) FROM (SELECT s, " TOP " AS top FROM "
    "generate_series(0, 63) s) t WHERE p.shard = t.s AND p.id > coalesce(t.top, 0) AND" IS_OURS};
static const pg_stmt_t drop_reminders = {
    "WITH gone AS (DELETE FROM reminder r WHERE r.event_id > (SELECT coalesce(max(" TOP
    "), 0) FROM generate_series(0, 63) s) AND" IS_OURS " RETURNING 1)"
    " DELETE FROM relay_position WHERE actor = 'reminder' AND EXISTS (SELECT 1 FROM gone)"};
static const pg_stmt_t skip_ids = {
    "SELECT setval('event_id', greatest((SELECT last_value FROM event_id), $2::bigint) + "
    "$3::bigint) WHERE" IS_OURS};
static const pg_stmt_t select_epoch = {"SELECT epoch FROM log_epoch"};

/* A session that is being looked at. */
typedef struct {
    lineage_t *owner;
    pg_t *pg;
    int n_rounds;
    lineage_known_t known; /* what it is compared with */
    char epoch[EPOCH_CHARS]; /* the database's */
    char next[EPOCH_CHARS + 1]; /* the one that we would begin */
    const char *why;
} greeting_t;

static slice_t epoch_slice(const char epoch[EPOCH_CHARS])
{
    return slice_of(epoch, EPOCH_CHARS);
}

/* --- what is known, as parameters --- */

static void put_marks(const lineage_known_t *known, pg_params_t *params)
{
    pg_array_begin(params, PG_I16);
    for (int16_t shard = 0; shard < N_SHARDS; shard++) {
        if (known->marks[shard].id != 0)
            pg_array_i16(params, shard);
    }
    pg_array_end(params);
    pg_array_begin(params, PG_I64);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (known->marks[shard].id != 0)
            pg_array_i64(params, known->marks[shard].id);
    }
    pg_array_end(params);
    pg_array_begin(params, PG_BYTEA);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (known->marks[shard].id != 0)
            pg_array_text(params, slice_of(known->marks[shard].digest, DIGEST_BYTES));
    }
    pg_array_end(params);
    pg_put_text(params, known->is_known ? epoch_slice(known->epoch) : slice_none());
}

static void put_anchors(const anchor_newest_t *anchor, bool is_wanted, pg_params_t *params)
{
    size_t n_heads = is_wanted ? anchor->n_heads : 0;
    pg_array_begin(params, PG_UUID);
    for (size_t i = 0; i < n_heads; i++)
        pg_array_uuid(params, &anchor->heads[i].stream);
    pg_array_end(params);
    pg_array_begin(params, PG_I64);
    for (size_t i = 0; i < n_heads; i++)
        pg_array_i64(params, anchor->heads[i].rev);
    pg_array_end(params);
    pg_put_text(params, n_heads > 0 ? epoch_slice(anchor->epoch) : slice_none());
}

static int64_t highest_id(const lineage_known_t *known)
{
    int64_t highest = 0;
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (known->marks[shard].id > highest)
            highest = known->marks[shard].id;
    }
    return highest;
}

/* --- greeting --- */

/* A lost connection has nothing to be broken any more. */
static void give_up(greeting_t *self, pg_fate_t fate, const char *why)
{
    pg_t *pg = self->pg;
    free(self);
    if (fate != PG_LOST)
        pg_break(pg, why);
}

static const char *words_of(pg_fate_t fate, const pg_result_t *result)
{
    return fate == PG_OK || result == NULL ? "the database cannot be compared with what is known"
                                           : pg_message(result);
}

static void be_done(greeting_t *self)
{
    pg_greeted(self->pg);
    free(self);
}

static void learn(const greeting_t *self, const pg_result_t *result)
{
    lineage_known_t tops = {.is_known = true};
    memcpy(tops.epoch, self->epoch, EPOCH_CHARS);
    for (int row = 0; row < pg_rows(result); row++) {
        lineage_mark_t *mark = &tops.marks[pg_int(result, row, 1) & (N_SHARDS - 1)];
        slice_t digest = pg_bytes(result, row, 3);
        if (digest.n_bytes != DIGEST_BYTES)
            continue;
        mark->id = pg_int(result, row, 2);
        memcpy(mark->digest, digest.data, DIGEST_BYTES);
    }
    lineage_learn(self->owner, &tops);
}

static void on_tops(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    greeting_t *self = arg;
    if (fate != PG_OK) {
        give_up(self, fate, words_of(fate, result));
        return;
    }
    bool is_same =
        pg_rows(result) == 0 || slice_eq(pg_bytes(result, 0, 0), epoch_slice(self->epoch));
    if (!is_same) {
        give_up(self, fate, "another epoch has just begun");
        return;
    }
    learn(self, result);
    be_done(self);
}

/* Nothing contradicts what is known. */
static void accept(greeting_t *self, bool is_settled)
{
    pg_params_t params = {0};
    err_t err = ERR_OK;
    if (is_settled && lineage_is_of(&self->known, self->epoch)) {
        be_done(self);
        return;
    }
    pg_put_text(&params, epoch_slice(self->epoch));
    if (!is_settled)
        err = pg_greet_query(self->pg, &settle, &params, NULL, NULL);
    pg_params_fini(&params);
    if (err != ERR_OK || pg_greet_query(self->pg, &select_tops, NULL, on_tops, self) != ERR_OK)
        give_up(self, PG_RETRY, "the session broke");
    else
        (void)pg_greet_sync(self->pg);
}

static void start_comparing(greeting_t *self);

static void on_begun(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    greeting_t *self = arg;
    if (fate != PG_OK) {
        give_up(self, fate, words_of(fate, result));
        return;
    }
    if (pg_rows(result) == 1 && slice_is(pg_bytes(result, 0, 0), self->next))
        log_line(LOG_WARN, "lineage", "a new epoch begins: this is not the database as it was",
                 "why=\"%s\" before=%.*s now=%s", self->why, EPOCH_CHARS, self->epoch, self->next);
    start_comparing(self);
}

/* Draws the new epoch and its key; both go with the first statement. */
static void put_beginning(greeting_t *self, pg_params_t *params)
{
    uint8_t seed[EPOCH_CHARS / 2];
    uint8_t key[KEY_BYTES];
    randombytes_buf(seed, sizeof seed);
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(self->next, sizeof self->next, seed, sizeof seed);
    pg_put_text(params, slice_str(self->next));
    pg_put_text(params, epoch_slice(self->epoch));
    pg_put_bytea(params, slice_of(key, sizeof key));
    sodium_memzero(key, sizeof key);
}

/* All that was an epoch until now: the database's, ours, the anchors'. */
static void put_past(greeting_t *self, pg_params_t *params)
{
    const anchor_newest_t *anchor = lineage_anchor(self->owner);
    pg_params_reset(params);
    pg_put_text(params, slice_str(self->next));
    pg_array_begin(params, PG_TEXT);
    pg_array_text(params, epoch_slice(self->epoch));
    if (self->known.is_known)
        pg_array_text(params, epoch_slice(self->known.epoch));
    if (anchor->n_heads > 0)
        pg_array_text(params, epoch_slice(anchor->epoch));
    pg_array_end(params);
    pg_put_text(params, slice_str(self->why));
}

static err_t queue_end_of_epoch(greeting_t *self, pg_params_t *params)
{
    pg_t *pg = self->pg;
    put_beginning(self, params);
    err_t err = pg_greet_query(pg, &lock_all, NULL, NULL, NULL);
    if (err == ERR_OK)
        err = pg_greet_query(pg, &begin_epoch, params, NULL, NULL);
    sodium_memzero(params->bytes.data, params->bytes.n_bytes);
    put_past(self, params);
    if (err == ERR_OK)
        err = pg_greet_query(pg, &keep_past, params, NULL, NULL);
    pg_params_reset(params);
    pg_put_text(params, slice_str(self->next));
    if (err == ERR_OK)
        err = pg_greet_query(pg, &clamp_positions, params, NULL, NULL);
    if (err == ERR_OK)
        err = pg_greet_query(pg, &drop_reminders, params, NULL, NULL);
    pg_put_i64(params, highest_id(&self->known));
    pg_put_i64(params, ID_GAP);
    if (err == ERR_OK)
        err = pg_greet_query(pg, &skip_ids, params, NULL, NULL);
    if (err == ERR_OK)
        err = pg_greet_query(pg, &select_epoch, NULL, on_begun, self);
    return err;
}

static void end_epoch(greeting_t *self, const char *why)
{
    pg_params_t params = {0};
    self->why = why;
    err_t err = queue_end_of_epoch(self, &params);
    pg_params_fini(&params);
    if (err != ERR_OK)
        give_up(self, PG_RETRY, "the session broke");
    else
        (void)pg_greet_sync(self->pg);
}

/* Why the history is not the one that is known; NULL: it is. */
static const char *difference(const pg_result_t *result)
{
    bool is_settled = !pg_bool(result, 0, 1);
    if (is_settled && pg_bool(result, 0, 2))
        return "it is on another server, timeline or table";
    if (pg_bool(result, 0, 3))
        return "events that were read before are missing";
    if (pg_bool(result, 0, 4))
        return "events that were anchored are missing";
    return NULL;
}

static void on_compared(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    greeting_t *self = arg;
    bool is_good =
        fate == PG_OK && pg_rows(result) == 1 && pg_bytes(result, 0, 0).n_bytes == EPOCH_CHARS;
    if (!is_good || self->n_rounds > ROUNDS) {
        give_up(self, fate, words_of(fate, result));
        return;
    }
    memcpy(self->epoch, pg_bytes(result, 0, 0).data, EPOCH_CHARS);
    const char *why = difference(result);
    if (why == NULL)
        accept(self, !pg_bool(result, 0, 1));
    else
        end_epoch(self, why);
}

static void start_comparing(greeting_t *self)
{
    pg_params_t params = {0};
    self->n_rounds++;
    /* Once something was read here, the anchors have been compared. */
    lineage_get(self->owner, &self->known);
    put_marks(&self->known, &params);
    put_anchors(lineage_anchor(self->owner), !self->known.is_known, &params);
    err_t err = pg_greet_query(self->pg, &compare, &params, on_compared, self);
    pg_params_fini(&params);
    if (err != ERR_OK)
        give_up(self, PG_RETRY, "the session broke");
    else
        (void)pg_greet_sync(self->pg);
}

void lineage_greet(void *arg, pg_t *pg)
{
    greeting_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->owner = arg;
    self->pg = pg;
    start_comparing(self);
}

void lineage_guard(lineage_t *self, pg_options_t *options)
{
    if (self == NULL)
        return;
    options->greet = lineage_greet;
    options->greet_arg = self;
}
