/* SPDX-License-Identifier: Apache-2.0 */
/* What the pipeline promises of statements, groups and answers, against a real server that behaves.
 */
#include "tests/db/database.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static database_t database;

/* What the callbacks of a test heard, in order. */
typedef struct {
    int n;
    pg_fate_t fates[4096];
    int64_t numbers[4096];
    char sqlstate[6];
    char constraint[64];
} heard_t;

static heard_t heard;

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    heard_t *self = arg;
    assert_true(self->n < 4096);
    self->fates[self->n] = fate;
    self->numbers[self->n++] = pg_int(result, 0, 0);
    if (fate != PG_OK && fate != PG_SKIPPED) {
        snprintf(self->sqlstate, sizeof self->sqlstate, "%s", pg_sqlstate(result));
        snprintf(self->constraint, sizeof self->constraint, "%s", pg_constraint(result));
    }
}

static void queue(pg_t *pg, const pg_stmt_t *stmt, const pg_params_t *params)
{
    assert_int_equal(pg_query(pg, stmt, params, on_answer, &heard), ERR_OK);
}

static void sync_and_wait(pg_t *pg)
{
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
}

static pg_t *fresh(void)
{
    heard = (heard_t){0};
    return connect_to(database.url, NULL);
}

static const pg_stmt_t one = {"SELECT 1"};
static const pg_stmt_t bad = {"SELECT nothing_of_that_name"};
static const pg_stmt_t insert = {"INSERT INTO thing (id) VALUES ($1::bigint)"};
static const pg_stmt_t begin = {"BEGIN"};
static const pg_stmt_t commit = {"COMMIT"};
static const pg_stmt_t rollback = {"ROLLBACK"};

static void queue_insert(pg_t *pg, int64_t id)
{
    pg_params_t params = {0};
    pg_put_i64(&params, id);
    queue(pg, &insert, &params);
    pg_params_fini(&params);
}

/* --- values --- */

static const uuid_t some_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
#define SOME_INSTANT INT64_C(1795424400123456) /* 2026-11-23T09:00:00.123456Z */

static void check_values(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    *(bool *)arg = true;
    assert_int_equal(fate, PG_OK);
    assert_int_equal(pg_rows(result), 1);
    assert_true(pg_bool(result, 0, 0));
    assert_int_equal(pg_int(result, 0, 1), -7);
    assert_int_equal(pg_int(result, 0, 2), INT32_MIN);
    assert_int_equal(pg_int(result, 0, 3), INT64_MAX);
    uuid_t id = pg_uuid(result, 0, 4);
    assert_true(uuid_eq(&id, &some_id));
    assert_true(slice_is(pg_bytes(result, 0, 5), "Grüße"));
    assert_true(slice_eq(pg_bytes(result, 0, 6), slice_of("\0\1\377", 3)));
    assert_int_equal(pg_instant(result, 0, 7), SOME_INSTANT);
    assert_true(slice_is(pg_bytes(result, 0, 8), "2026-11-23 09:00:00.123456"));
    assert_true(pg_bytes(result, 0, 9).data != NULL);
    assert_int_equal(pg_bytes(result, 0, 9).n_bytes, 0);
}

static void values_of_every_type_come_back_as_they_went(void **state)
{
    (void)state;
    static const pg_stmt_t stmt = {"SELECT $1::boolean, $2::smallint, $3::integer, $4::bigint, "
                                   "$5::uuid, $6::text, $7::bytea, $8::timestamptz,"
                                   " ($8::timestamptz AT TIME ZONE 'UTC')::text, $9::text"};
    pg_t *pg = fresh();
    pg_params_t params = {0};
    pg_put_bool(&params, true);
    pg_put_i16(&params, -7);
    pg_put_i32(&params, INT32_MIN);
    pg_put_i64(&params, INT64_MAX);
    pg_put_uuid(&params, &some_id);
    pg_put_text(&params, slice_str("Grüße"));
    pg_put_bytea(&params, slice_of("\0\1\377", 3));
    pg_put_instant(&params, SOME_INSTANT);
    pg_put_text(&params, slice_str(""));
    bool was_called = false;
    assert_int_equal(pg_run(pg, &stmt, &params, check_values, &was_called, LONG_US), PG_OK);
    assert_true(was_called);
    pg_params_fini(&params);
    pg_destroy(&pg);
}

static void check_nulls(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    *(bool *)arg = true;
    assert_int_equal(fate, PG_OK);
    for (int col = 0; col < 3; col++)
        assert_true(pg_is_null(result, 0, col));
    uuid_t id = pg_uuid(result, 0, 0);
    assert_true(uuid_is_nil(&id));
    assert_true(pg_bytes(result, 0, 1).data == NULL);
    assert_int_equal(pg_instant(result, 0, 2), INSTANT_NONE);
    assert_int_equal(pg_instant(result, 0, 3), INSTANT_MAX);
    assert_int_equal(pg_instant(result, 0, 4), INSTANT_MIN);
    /* Beyond the end there is nothing to read. */
    assert_true(pg_is_null(result, 1, 0));
    assert_true(pg_is_null(result, 0, 99));
    assert_int_equal(pg_int(result, -1, -1), 0);
}

static void nulls_and_infinities_have_their_own_values(void **state)
{
    (void)state;
    static const pg_stmt_t stmt = {
        "SELECT $1::uuid, $2::text, $3::timestamptz, 'infinity'::timestamptz,"
        " '-infinity'::timestamptz"};
    pg_t *pg = fresh();
    pg_params_t params = {0};
    uuid_t nil = UUID_NIL;
    pg_put_uuid(&params, &nil);
    pg_put_text(&params, slice_none());
    pg_put_instant(&params, INSTANT_NONE);
    bool was_called = false;
    assert_int_equal(pg_run(pg, &stmt, &params, check_nulls, &was_called, LONG_US), PG_OK);
    assert_true(was_called);
    pg_params_fini(&params);
    pg_destroy(&pg);
}

static void check_arrays(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    *(bool *)arg = true;
    if (fate != PG_OK)
        fail_msg("%s", pg_message(result));
    static const char *const texts[] = {"{t,f}",
                                        "{-1,2}",
                                        "{}",
                                        "{9223372036854775807}",
                                        "{a,NULL,\"\"}",
                                        "{\"\\\\x00ff\"}",
                                        "{NULL,\"2026-11-23 09:00:00.123456+00\"}"};
    for (int col = 0; col < 7; col++)
        assert_true(slice_is(pg_bytes(result, 0, col), texts[col]));
    uuid_t ids[2] = {UUID_NIL, UUID_NIL};
    assert_int_equal(pg_uuid_array(result, 0, 7, ids, 1), 2);
    assert_true(uuid_eq(&ids[0], &some_id));
    assert_true(uuid_is_nil(&ids[1]));
    assert_int_equal(pg_uuid_array(result, 0, 8, ids, 2), 0);
    /* Of another type or NULL: nothing, and nothing beyond its end. */
    assert_int_equal(pg_uuid_array(result, 0, 0, ids, 2), 0);
    assert_int_equal(pg_uuid_array(result, 0, 9, ids, 2), 0);
    assert_int_equal(pg_uuid_array(result, 0, 10, ids, 2), 0);
}

static void arrays_of_every_type_arrive(void **state)
{
    (void)state;
    static const pg_stmt_t stmt = {"SELECT $1::boolean[]::text, $2::smallint[]::text, "
                                   "$3::integer[]::text, $4::bigint[]::text, $5::text[]::text,"
                                   " $6::bytea[]::text, $7::timestamptz[]::text, $8::uuid[], "
                                   "'{}'::uuid[], '{1,2,3}'::bigint[], NULL::uuid[]"};
    pg_t *pg = connect_to(database.url, "-c timezone=UTC");
    pg_params_t params = {0};
    pg_array_begin(&params, PG_BOOL);
    pg_array_bool(&params, true);
    pg_array_bool(&params, false);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I16);
    pg_array_i16(&params, -1);
    pg_array_i16(&params, 2);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I32);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I64);
    pg_array_i64(&params, INT64_MAX);
    pg_array_end(&params);
    pg_array_begin(&params, PG_TEXT);
    pg_array_text(&params, slice_str("a"));
    pg_array_text(&params, slice_none());
    pg_array_text(&params, slice_str(""));
    pg_array_end(&params);
    pg_array_begin(&params, PG_BYTEA);
    pg_array_text(&params, slice_of("\0\377", 2));
    pg_array_end(&params);
    pg_array_begin(&params, PG_INSTANT);
    pg_array_instant(&params, INSTANT_NONE);
    pg_array_instant(&params, SOME_INSTANT);
    pg_array_end(&params);
    pg_array_begin(&params, PG_UUID);
    pg_array_uuid(&params, &some_id);
    pg_array_uuid(&params, &some_id);
    pg_array_end(&params);
    bool was_called = false;
    assert_int_equal(pg_run(pg, &stmt, &params, check_arrays, &was_called, LONG_US), PG_OK);
    assert_true(was_called);
    pg_params_fini(&params);
    pg_destroy(&pg);
}

/* --- groups --- */

static void a_statement_is_prepared_once_in_a_session(void **state)
{
    (void)state;
    static const pg_stmt_t count = {
        "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 1'"};
    pg_t *pg = fresh();
    for (int i = 0; i < 50; i++) {
        queue(pg, &one, NULL);
        queue(pg, &one, NULL);
        assert_int_equal(pg_sync(pg), ERR_OK);
    }
    sync_and_wait(pg);
    queue(pg, &one, NULL);
    sync_and_wait(pg);
    heard.n = 0;
    queue(pg, &count, NULL);
    sync_and_wait(pg);
    assert_int_equal(heard.numbers[0], 1);
    pg_destroy(&pg);
}

static void a_failure_skips_the_rest_of_its_group_and_only_that(void **state)
{
    (void)state;
    static const pg_stmt_t two = {"SELECT 2"};
    pg_t *pg = fresh();
    queue(pg, &one, NULL);
    queue(pg, &bad, NULL);
    queue(pg, &one, NULL);
    queue(pg, &two, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    /* Its PREPARE above will be skipped, which is not known yet. */
    queue(pg, &two, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &two, NULL);
    sync_and_wait(pg);
    static const pg_fate_t expected[] = {PG_OK, PG_REJECTED, PG_SKIPPED, PG_SKIPPED, PG_OK, PG_OK};
    assert_int_equal(heard.n, 6);
    assert_memory_equal(heard.fates, expected, sizeof expected);
    assert_string_equal(heard.sqlstate, "42703");
    assert_int_equal(heard.numbers[4], 2);
    heard.n = 0;
    queue(pg, &two, NULL);
    queue(pg, &bad, NULL);
    sync_and_wait(pg);
    assert_int_equal(heard.numbers[0], 2);
    assert_int_equal(heard.fates[1], PG_REJECTED);
    pg_destroy(&pg);
}

static void a_group_outside_a_transaction_is_done_wholly_or_not_at_all(void **state)
{
    (void)state;
    pg_t *pg = fresh();
    queue_insert(pg, 100);
    queue_insert(pg, 101);
    queue_insert(pg, 100);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue_insert(pg, 102);
    sync_and_wait(pg);
    assert_int_equal(heard.fates[2], PG_REJECTED);
    assert_string_equal(heard.sqlstate, "23505");
    assert_string_equal(heard.constraint, "thing_pkey");
    assert_int_equal(heard.fates[3], PG_OK);
    assert_int_equal(number_of(database.url, "SELECT sum(id)::bigint FROM thing WHERE id >= 100"),
                     102);
    pg_destroy(&pg);
}

static void a_commit_that_fails_is_told_to_the_last_statement(void **state)
{
    (void)state;
    static const pg_stmt_t late = {"INSERT INTO late (id) VALUES (7)"};
    pg_t *pg = fresh();
    queue(pg, &late, NULL);
    queue(pg, &late, NULL);
    queue(pg, &one, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &one, NULL);
    sync_and_wait(pg);
    static const pg_fate_t expected[] = {PG_OK, PG_OK, PG_REJECTED, PG_OK};
    assert_int_equal(heard.n, 4);
    assert_memory_equal(heard.fates, expected, sizeof expected);
    assert_string_equal(heard.constraint, "late_once");
    assert_int_equal(number_of(database.url, "SELECT count(*) FROM late"), 0);
    pg_destroy(&pg);
}

static void a_transaction_that_failed_cannot_be_committed(void **state)
{
    (void)state;
    pg_t *pg = fresh();
    queue(pg, &begin, NULL);
    queue_insert(pg, 200);
    queue_insert(pg, 200);
    queue(pg, &commit, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &one, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &commit, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &rollback, NULL);
    assert_int_equal(pg_sync(pg), ERR_OK);
    queue(pg, &one, NULL);
    sync_and_wait(pg);
    static const pg_fate_t expected[] = {PG_OK,       PG_OK,       PG_REJECTED, PG_SKIPPED,
                                         PG_REJECTED, PG_REJECTED, PG_OK,       PG_OK};
    assert_int_equal(heard.n, 8);
    assert_memory_equal(heard.fates, expected, sizeof expected);
    assert_string_equal(heard.sqlstate, "25P02");
    assert_int_equal(number_of(database.url, "SELECT count(*) FROM thing WHERE id = 200"), 0);
    pg_destroy(&pg);
}

static void fate_is(pg_t *pg, const pg_stmt_t *stmt, pg_fate_t fate, const char *sqlstate)
{
    heard = (heard_t){0};
    assert_int_equal(pg_run(pg, stmt, NULL, on_answer, &heard, LONG_US), fate);
    assert_string_equal(heard.sqlstate, sqlstate);
}

static void a_sqlstate_decides_whether_to_try_again(void **state)
{
    (void)state;
    static const struct {
        pg_stmt_t stmt;
        pg_fate_t fate;
        const char *sqlstate;
    } cases[] = {
        {{"SELECT 1/0"}, PG_REJECTED, "22012"},
        {{"SELECT 'x'::uuid"}, PG_REJECTED, "22P02"},
        {{"INSERT INTO thing VALUES (NULL)"}, PG_REJECTED, "23502"},
        {{"SELECT count(*) FROM late"}, PG_RETRY, "55P03"},
        {{"SELECT pg_sleep(10)"}, PG_RETRY, "57014"},
        {{"SELECT FROM no_such_table"}, PG_REJECTED, "42P01"},
        {{"DO $$BEGIN RAISE 'full' USING ERRCODE = '53100'; END$$"}, PG_RETRY, "53100"},
        {{"DO $$BEGIN RAISE 'again' USING ERRCODE = '40001'; END$$"}, PG_RETRY, "40001"},
    };
    static const pg_stmt_t lock = {"LOCK TABLE late"};
    static const pg_stmt_t write = {"INSERT INTO thing VALUES (300)"};
    pg_t *pg = fresh();
    pg_t *other = connect_to(database.url, "-c lock_timeout=50ms -c statement_timeout=200ms");
    queue(pg, &begin, NULL);
    queue(pg, &lock, NULL);
    sync_and_wait(pg);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        fate_is(other, &cases[i].stmt, cases[i].fate, cases[i].sqlstate);
    pg_destroy(&other);
    other = connect_to(database.url, "-c default_transaction_read_only=on");
    fate_is(other, &write, PG_RETRY, "25006");
    pg_destroy(&other);
    pg_destroy(&pg);
}

static void a_plan_that_no_longer_fits_is_made_anew(void **state)
{
    (void)state;
    static const pg_stmt_t all = {"SELECT * FROM changing"};
    pg_t *pg = fresh();
    assert_int_equal(pg_run(pg, &all, NULL, on_answer, &heard, LONG_US), PG_OK);
    script(database.url, "ALTER TABLE changing ADD COLUMN more text");
    assert_int_equal(pg_run(pg, &all, NULL, on_answer, &heard, LONG_US), PG_RETRY);
    assert_int_equal(pg_run(pg, &all, NULL, on_answer, &heard, LONG_US), PG_OK);
    script(database.url, "ALTER TABLE changing DROP COLUMN more");
    static const pg_stmt_t deallocate = {"DEALLOCATE ALL"};
    assert_int_equal(pg_run(pg, &deallocate, NULL, NULL, NULL, LONG_US), PG_OK);
    assert_int_equal(pg_run(pg, &all, NULL, on_answer, &heard, LONG_US), PG_RETRY);
    assert_int_equal(pg_run(pg, &all, NULL, on_answer, &heard, LONG_US), PG_OK);
    pg_destroy(&pg);
}

/* --- volume --- */

#define N_BIG 2000
#define BIG_BYTES 100000

typedef struct {
    pg_t *pg;
    int n_queued;
    int n_answered;
} flood_t;

static void on_big(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    flood_t *self = arg;
    assert_int_equal(fate, PG_OK);
    assert_int_equal(pg_int(result, 0, 0), self->n_answered);
    assert_int_equal(pg_bytes(result, 0, 1).n_bytes, BIG_BYTES);
    self->n_answered++;
}

static void queue_flood(flood_t *self, pg_params_t *params, slice_t big)
{
    static const pg_stmt_t echo = {"SELECT $1::bigint, $2::bytea"};
    while (self->n_queued < N_BIG && pg_is_ready(self->pg)) {
        pg_params_reset(params);
        pg_put_i64(params, self->n_queued);
        pg_put_bytea(params, big);
        assert_int_equal(pg_query(self->pg, &echo, params, on_big, self), ERR_OK);
        self->n_queued++;
        if (self->n_queued % 7 == 0)
            assert_int_equal(pg_sync(self->pg), ERR_OK);
    }
    assert_int_equal(pg_sync(self->pg), ERR_OK);
}

/* Far more than the sockets hold, both ways: a side that only wrote would wait for ever. Driven as
 * a loop does it. */
static void both_directions_may_be_full(void **state)
{
    (void)state;
    flood_t flood = {.pg = fresh()};
    pg_params_t params = {0};
    uint8_t *big = calloc(1, BIG_BYTES);
    int64_t deadline_us = clock_now().mono_us + 3 * LONG_US;
    while (flood.n_answered < N_BIG) {
        assert_true(clock_now().mono_us < deadline_us);
        queue_flood(&flood, &params, slice_of(big, BIG_BYTES));
        int64_t timeout_us = pg_timeout_us(flood.pg, clock_now());
        struct pollfd fd = {.fd = pg_fd(flood.pg), .events = pg_events(flood.pg)};
        (void)poll(&fd, 1, timeout_us > US_PER_S ? 1000 : (int)(timeout_us / 1000));
        pg_step(flood.pg, clock_now());
    }
    assert_int_equal(pg_in_flight(flood.pg), 0);
    assert_int_equal(pg_session(flood.pg), 1);
    free(big);
    pg_params_fini(&params);
    pg_destroy(&flood.pg);
}

static void what_is_in_flight_has_a_limit(void **state)
{
    (void)state;
    pg_t *pg = fresh();
    for (int i = 0; i < PG_MAX_IN_FLIGHT; i++)
        queue(pg, &one, NULL);
    assert_false(pg_is_ready(pg));
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &heard), ERR_UNAVAILABLE);
    assert_int_equal(pg_in_flight(pg), PG_MAX_IN_FLIGHT);
    sync_and_wait(pg);
    assert_int_equal(heard.n, PG_MAX_IN_FLIGHT);
    assert_true(pg_is_ready(pg));
    pg_destroy(&pg);
}

typedef struct {
    pg_t *pg;
    int n_left;
} chain_t;

static void on_link(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    chain_t *self = arg;
    (void)result;
    assert_int_equal(fate, PG_OK);
    if (self->n_left-- == 0)
        return;
    assert_int_equal(pg_query(self->pg, &one, NULL, on_link, self), ERR_OK);
    assert_int_equal(pg_sync(self->pg), ERR_OK);
}

static void a_callback_may_queue_more(void **state)
{
    (void)state;
    chain_t chain = {.pg = fresh(), .n_left = 100};
    assert_int_equal(pg_query(chain.pg, &one, NULL, on_link, &chain), ERR_OK);
    assert_true(pg_await(chain.pg, LONG_US));
    assert_int_equal(chain.n_left, -1);
    pg_destroy(&chain.pg);
}

/* --- options --- */

static void keep_text(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    assert_int_equal(fate, PG_OK);
    slice_t text = pg_bytes(result, 0, 0);
    snprintf(arg, 80, "%.*s", (int)text.n_bytes, (const char *)text.data);
}

static void setting_is(pg_t *pg, const char *name, const char *value)
{
    static const pg_stmt_t show = {"SELECT current_setting($1::text)"};
    char text[80] = "";
    pg_params_t params = {0};
    pg_put_text(&params, slice_str(name));
    assert_int_equal(pg_run(pg, &show, &params, keep_text, text, LONG_US), PG_OK);
    pg_params_fini(&params);
    assert_string_equal(text, value);
}

static void the_users_options_stand_beside_ours(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    url_with(url, database.url,
             "options=-c%20work_mem%3D5MB%20-c%20jit%3Don%20-c%20lock_timeout%3D1s");
    char named[DATABASE_URL_CHARS];
    url_with(named, url, "application_name=somebody");
    pg_t *pg = connect_to(named, "-c lock_timeout=7s -c statement_timeout=9s");
    setting_is(pg, "work_mem", "5MB");
    setting_is(pg, "jit", "on");
    setting_is(pg, "lock_timeout", "7s");
    setting_is(pg, "statement_timeout", "9s");
    setting_is(pg, "application_name", "test");
    setting_is(pg, "client_encoding", "UTF8");
    setting_is(pg, "enable_seqscan", "off");
    pg_destroy(&pg);
}

static void a_keyword_string_is_as_good_as_a_url(void **state)
{
    (void)state;
    if (getenv("TASKWIRE_TEST_DATABASE_URL")[0] != 'p' || strstr(database.url, "?host=") == NULL)
        skip();
    char keywords[DATABASE_URL_CHARS];
    char host[DATABASE_URL_CHARS];
    snprintf(host, sizeof host, "%s", strstr(database.url, "?host=") + strlen("?host="));
    host[strcspn(host, "&")] = '\0';
    snprintf(keywords, sizeof keywords,
             "host=%.200s port=5432 user=postgres options='-c work_mem=6MB'", host);
    char named[DATABASE_URL_CHARS];
    char setting[60];
    snprintf(setting, sizeof setting, "dbname=%s", database.name);
    url_with(named, keywords, setting);
    pg_t *pg = connect_to(named, NULL);
    setting_is(pg, "work_mem", "6MB");
    pg_destroy(&pg);
}

static void a_session_that_only_reads_finds_the_server_that_takes_writes(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    url_with(url, database.url, "target_session_attrs=read-write");
    pg_t *pg = connect_to(url, "-c default_transaction_read_only=on");
    setting_is(pg, "default_transaction_read_only", "on");
    pg_destroy(&pg);
}

/* --- notifications --- */

typedef struct {
    int n;
    char last[20];
} told_t;

static void on_notify(void *arg, const char *payload)
{
    told_t *self = arg;
    self->n++;
    snprintf(self->last, sizeof self->last, "%s", payload);
}

static void a_session_that_listens_is_told_and_one_that_does_not_is_not(void **state)
{
    (void)state;
    static const pg_stmt_t listen = {"LISTEN here"};
    static const pg_stmt_t tell = {"SELECT pg_notify('here', 'seven')"};
    static const pg_stmt_t elsewhere = {"SELECT pg_notify('there', 'eight')"};
    told_t told = {0}, deaf = {0};
    pg_t *listener = fresh(), *other = fresh();
    pg_on_notify(listener, on_notify, &told);
    pg_on_notify(other, on_notify, &deaf);
    queue(listener, &listen, NULL);
    sync_and_wait(listener);
    queue(other, &elsewhere, NULL);
    queue(other, &tell, NULL);
    sync_and_wait(other);
    for (int i = 0; i < 500 && told.n == 0; i++) {
        struct pollfd fd = {.fd = pg_fd(listener), .events = pg_events(listener)};
        (void)poll(&fd, 1, 10);
        pg_step(listener, clock_now());
    }
    assert_int_equal(told.n, 1);
    assert_string_equal(told.last, "seven");
    assert_int_equal(deaf.n, 0);
    pg_destroy(&listener);
    pg_destroy(&other);
}

static int set_up(void **state)
{
    (void)state;
    database_create(&database, "pg");
    script(
        database.url,
        "CREATE TABLE thing (id bigint PRIMARY KEY);"
        "CREATE TABLE late (id bigint CONSTRAINT late_once UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE changing (id bigint)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    database_drop(&database);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type_come_back_as_they_went),
        cmocka_unit_test(nulls_and_infinities_have_their_own_values),
        cmocka_unit_test(arrays_of_every_type_arrive),
        cmocka_unit_test(a_statement_is_prepared_once_in_a_session),
        cmocka_unit_test(a_failure_skips_the_rest_of_its_group_and_only_that),
        cmocka_unit_test(a_group_outside_a_transaction_is_done_wholly_or_not_at_all),
        cmocka_unit_test(a_commit_that_fails_is_told_to_the_last_statement),
        cmocka_unit_test(a_transaction_that_failed_cannot_be_committed),
        cmocka_unit_test(a_sqlstate_decides_whether_to_try_again),
        cmocka_unit_test(a_plan_that_no_longer_fits_is_made_anew),
        cmocka_unit_test(both_directions_may_be_full),
        cmocka_unit_test(what_is_in_flight_has_a_limit),
        cmocka_unit_test(a_callback_may_queue_more),
        cmocka_unit_test(the_users_options_stand_beside_ours),
        cmocka_unit_test(a_keyword_string_is_as_good_as_a_url),
        cmocka_unit_test(a_session_that_only_reads_finds_the_server_that_takes_writes),
        cmocka_unit_test(a_session_that_listens_is_told_and_one_that_does_not_is_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
