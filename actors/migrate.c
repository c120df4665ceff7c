/* SPDX-License-Identifier: Apache-2.0 */
/* One session holds an advisory lock for as long as it takes, while each script runs on a
 * connection of its own (a script is many statements, which a pipeline does not take). Should the
 * lock's session be lost in the middle, nothing is applied twice all the same: a script begins by
 * adding its row of schema_version, and only one can. */
#include "actors/migrate.h"

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/log.h"
#include "actors/pg.h"
#include "schema/embedded.h"
#include "schema/event.h"

#define WHO "migrate"
#define CONNECT_TIMEOUT_US (5 * US_PER_S)
#define QUERY_TIMEOUT_US (30 * US_PER_S)
/* Another program's migration may be building an index over the whole log, or be frozen: who called
 * decides how long to go on waiting. */
#define LOCK_TIMEOUT_US (5 * US_PER_S)
#define LOCK_PAUSE_MS 50
#define MAC_KEY_BYTES 32

/* Limits that an administrator has given the login are not meant for this session. */
#define SESSION_OPTIONS                                                                            \
    "-c idle_session_timeout=0 -c statement_timeout=0 -c lock_timeout=0 -c "                       \
    "client_min_messages=warning"

static const pg_stmt_t try_lock = {"SELECT pg_try_advisory_lock(7460, 0)::integer"};
static const pg_stmt_t still_there = {"SELECT 1"};
static const pg_stmt_t has_versions = {
    "SELECT (to_regclass('schema_version') IS NOT NULL)::integer"};
static const pg_stmt_t latest_version = {"SELECT coalesce(max(version), 0) FROM schema_version"};
static const pg_stmt_t insert_epoch = {
    "INSERT INTO log_epoch (epoch, mac_key) VALUES ($1::text, $2::bytea) ON CONFLICT DO NOTHING"};
/* 2: a superuser, whom nothing stops; 1: the owner, who can switch the triggers off; 0: neither. */
static const pg_stmt_t power_over_log = {
    "SELECT CASE WHEN r.rolsuper THEN 2 WHEN EXISTS (SELECT 1 FROM pg_class c WHERE c.oid IN "
    "('event'::regclass,"
    " 'audit'::regclass) AND pg_has_role(c.relowner, 'USAGE')) THEN 1 ELSE 0 END FROM pg_roles r"
    " WHERE r.rolname = current_user"};

/* What a statement answered: its first number, or why it failed. */
typedef struct {
    int64_t number;
    char words[300];
} answer_t;

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    answer_t *answer = arg;
    if (fate == PG_OK)
        answer->number = pg_int(result, 0, 0);
    else
        snprintf(answer->words, sizeof answer->words, "%s", pg_message(result));
}

typedef struct {
    const char *url;
    int64_t deadline_us; /* of the monotonic clock */
    pg_t *pg;
    char *error;
    size_t error_size;
} migrate_t;

/* What a failure means, with its words put where the caller wants them. */
static migrate_result_t fail(migrate_t *self, pg_fate_t fate, const char *words)
{
    if (words[0] == '\0')
        words =
            pg_trouble(self->pg)[0] != '\0' ? pg_trouble(self->pg) : "the database does not answer";
    snprintf(self->error, self->error_size, "%s", words);
    return fate == PG_LOST || fate == PG_RETRY ? MIGRATE_UNREACHABLE : MIGRATE_FAILED;
}

/* What is left of so much time. */
static int64_t at_most(const migrate_t *self, int64_t timeout_us)
{
    int64_t left_us = self->deadline_us - clock_now().mono_us;
    return left_us < 0 ? 0 : left_us < timeout_us ? left_us : timeout_us;
}

static migrate_result_t ask(migrate_t *self, const pg_stmt_t *stmt, const pg_params_t *params,
                            int64_t *number)
{
    answer_t answer = {0};
    int64_t timeout_us = at_most(self, QUERY_TIMEOUT_US);
    pg_fate_t fate = pg_run(self->pg, stmt, params, on_answer, &answer, timeout_us);
    if (number != NULL)
        *number = answer.number;
    return fate == PG_OK ? MIGRATE_OK : fail(self, fate, answer.words);
}

/* 0001_heart.sql is version 1, named heart. False for files that are no migrations. */
static bool read_name(const char *file, int64_t *version, slice_t *name)
{
    char *end;
    const char *dot = strrchr(file, '.');
    *version = strtoll(file, &end, 10);
    if (dot == NULL || strcmp(dot, ".sql") != 0 || end == file || *end != '_' || *version <= 0)
        return false;
    *name = slice_of(end + 1, (size_t)(dot - end - 1));
    return true;
}

static int64_t newest_known(void)
{
    int64_t newest = 0;
    for (const embedded_t *file = embedded_files; file->name != NULL; file++) {
        int64_t version;
        slice_t name;
        if (read_name(file->name, &version, &name) && version > newest)
            newest = version;
    }
    return newest;
}

static migrate_result_t find_version(migrate_t *self, int64_t *version)
{
    int64_t is_there;
    *version = 0;
    migrate_result_t result = ask(self, &has_versions, NULL, &is_there);
    if (result != MIGRATE_OK || is_there == 0)
        return result;
    return ask(self, &latest_version, NULL, version);
}

/* Our own statements stand on the script's first line, so that the lines that the server names are
 * the file's. */
static migrate_result_t apply(migrate_t *self, const embedded_t *file, int64_t version,
                              slice_t name)
{
    buf_t script = {0};
    buf_format(&script,
               "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, name text "
               "NOT NULL,"
               " applied_at timestamptz NOT NULL DEFAULT now());"
               " INSERT INTO schema_version (version, name) VALUES (%lld, '%.*s'); ",
               (long long)version, (int)name.n_bytes, (const char *)name.data);
    buf_append(&script, file->bytes, file->n_bytes);
    buf_append_byte(&script, '\0');
    char words[400];
    self->deadline_us = INT64_MAX; /* it is there, and what a script takes is no waiting for it */
    bool is_done = pg_script(self->url, (const char *)script.data, words, sizeof words);
    buf_fini(&script);
    if (is_done) {
        log_line(LOG_INFO, WHO, "migrated the database", "version=%lld name=%.*s",
                 (long long)version, (int)name.n_bytes, (const char *)name.data);
        return MIGRATE_OK;
    }
    migrate_result_t result = ask(self, &still_there, NULL, NULL);
    snprintf(self->error, self->error_size, "%s: %s", file->name, words);
    return result == MIGRATE_OK ? MIGRATE_FAILED : result;
}

static migrate_result_t apply_all(migrate_t *self, int64_t current)
{
    for (const embedded_t *file = embedded_files; file->name != NULL; file++) {
        int64_t version;
        slice_t name;
        if (!read_name(file->name, &version, &name) || version <= current)
            continue;
        migrate_result_t result = apply(self, file, version, name);
        if (result != MIGRATE_OK)
            return result;
    }
    return MIGRATE_OK;
}

static migrate_result_t ensure_epoch(migrate_t *self)
{
    uint8_t seed[EPOCH_CHARS / 2];
    uint8_t key[MAC_KEY_BYTES];
    char epoch[EPOCH_CHARS + 1];
    randombytes_buf(seed, sizeof seed);
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(epoch, sizeof epoch, seed, sizeof seed);
    pg_params_t params = {0};
    pg_put_text(&params, slice_str(epoch));
    pg_put_bytea(&params, slice_of(key, sizeof key));
    migrate_result_t result = ask(self, &insert_epoch, &params, NULL);
    sodium_memzero(key, sizeof key);
    sodium_memzero(params.bytes.data, params.bytes.n_bytes);
    pg_params_fini(&params);
    return result;
}

static migrate_result_t say_who_owns_the_log(migrate_t *self)
{
    int64_t power;
    migrate_result_t result = ask(self, &power_over_log, NULL, &power);
    if (result == MIGRATE_OK && power == 2)
        log_line(LOG_INFO, WHO,
                 "the database login is a superuser: the log's triggers do not bind it", NULL);
    if (result == MIGRATE_OK && power == 1)
        log_line(
            LOG_WARN, WHO,
            "the log's tables belong to the database login, or to a role that it has: it could "
            "switch their triggers off",
            NULL);
    return result;
}

static migrate_result_t take_lock(migrate_t *self)
{
    int64_t deadline_us = clock_now().mono_us + at_most(self, LOCK_TIMEOUT_US);
    int64_t is_taken = 0;
    for (;;) {
        migrate_result_t result = ask(self, &try_lock, NULL, &is_taken);
        if (result != MIGRATE_OK || is_taken != 0)
            return result;
        if (clock_now().mono_us >= deadline_us)
            return fail(self, PG_RETRY, "another program is migrating the database");
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
}

static migrate_result_t run(migrate_t *self)
{
    if (!pg_await_connection(self->pg, at_most(self, CONNECT_TIMEOUT_US))) {
        (void)fail(self, PG_LOST, "");
        return pg_is_refused(self->pg) ? MIGRATE_REFUSED : MIGRATE_UNREACHABLE;
    }
    int64_t current = 0;
    int64_t newest = newest_known();
    migrate_result_t result = take_lock(self);
    if (result == MIGRATE_OK)
        result = find_version(self, &current);
    if (result == MIGRATE_OK && current > newest) {
        snprintf(self->error, self->error_size,
                 "the database has version %lld, this program knows only %lld", (long long)current,
                 (long long)newest);
        return MIGRATE_NEWER;
    }
    if (result == MIGRATE_OK)
        result = apply_all(self, current);
    if (result == MIGRATE_OK)
        result = ensure_epoch(self);
    return result == MIGRATE_OK ? say_who_owns_the_log(self) : result;
}

migrate_result_t migrate_run(const char *database_url, int64_t deadline_mono_us, char *error,
                             size_t error_size)
{
    pg_options_t options = {.url = database_url,
                            .who = WHO,
                            .options = SESSION_OPTIONS,
                            .reply_timeout_us = QUERY_TIMEOUT_US};
    migrate_t self = {.url = database_url,
                      .deadline_us = deadline_mono_us,
                      .error = error,
                      .error_size = error_size};
    if (sodium_init() < 0)
        abort();
    self.pg = pg_new(&options);
    migrate_result_t result = run(&self);
    pg_destroy(&self.pg);
    return result;
}
