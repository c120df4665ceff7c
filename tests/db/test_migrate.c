/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations, and what each kind of login may do to the log afterwards. Roles belong to a whole
 * server, so this has a cluster of its own. */
#include "tests/db/database.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/migrate.h"
#include "schema/embedded.h"
#include "schema/task.h"

static cluster_t cluster;

/* The URL of a new database that the login owns. */
static void make_database(char url[DATABASE_URL_CHARS], const char *name, const char *login)
{
    char with_name[DATABASE_URL_CHARS];
    char setting[60];
    script(cluster.url, "CREATE DATABASE %s OWNER %s", name, login);
    snprintf(setting, sizeof setting, "dbname=%s", name);
    url_with(with_name, cluster.url, setting);
    snprintf(setting, sizeof setting, "user=%s", login);
    url_with(url, with_name, setting);
}

static void migrate(const char *url)
{
    char error[400] = "";
    if (migrate_run(url, INT64_MAX, error, sizeof error) != MIGRATE_OK)
        fail_msg("%s", error);
}

static void refused(const char *url, const char *sql)
{
    char error[400];
    if (pg_script(url, sql, error, sizeof error))
        fail_msg("was not refused: %s", sql);
    if (strstr(error, "append-only") == NULL && strstr(error, "permission denied") == NULL &&
        strstr(error, "must be owner") == NULL && strstr(error, "must have admin option") == NULL)
        fail_msg("refused for another reason: %s: %s", sql, error);
}

#define EVENT_COLUMNS                                                                              \
    "INSERT INTO event (shard, stream, rev, type, command, by, is_answer, at, epoch, digest, "     \
    "salt, fingerprint, body)"

static void add_events(const char *url)
{
    script(url, EVENT_COLUMNS
           " SELECT 5, '00000000-0000-7000-8000-000000000001', g, 1, gen_random_uuid(),"
           " gen_random_uuid(), true, now(), '0123456789abcdef', '\\x00', '\\x01', '\\x02', '\\x03'"
           " FROM generate_series(1, 3) AS g;"
           "INSERT INTO audit (stream, first_rev, last_rev, links)"
           " VALUES ('00000000-0000-7000-8000-000000000001', 1, 3, '\\x00')");
}

static int64_t log_checksum(const char *url)
{
    return number_of(
        url, "SELECT hashtextextended(string_agg(e::text, ',' ORDER BY rev), 0) FROM event e");
}

/* --- what is made --- */

static void an_empty_database_gets_the_schema_and_an_epoch(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "fresh", "postgres");
    migrate(url);
    assert_int_equal(number_of(url, "SELECT version FROM schema_version WHERE name = 'heart'"), 1);
    assert_int_equal(number_of(url, "SELECT count(*) FROM log_epoch WHERE epoch ~ '^[0-9a-f]{16}$'"
                                    " AND octet_length(mac_key) = 32"),
                     1);
    add_events(url);
}

static void a_second_run_changes_nothing(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "twice", "postgres");
    migrate(url);
    static const char checksum[] = "SELECT hashtextextended(e::text || v::text, 0) FROM log_epoch "
                                   "e, schema_version v ORDER BY version LIMIT 1";
    int64_t before = number_of(url, checksum);
    migrate(url);
    assert_int_equal(number_of(url, checksum), before);
}

/* The database as it was before this version. */
static void migrate_before(const char *url, const char *version)
{
    buf_t sql = {0};
    buf_append_str(&sql, "CREATE TABLE schema_version (version integer PRIMARY KEY, name text NOT "
                         "NULL, applied_at timestamptz NOT NULL DEFAULT now());");
    for (const embedded_t *file = embedded_files; file->name != NULL; file++) {
        if (strstr(file->name, ".sql") == NULL || strcmp(file->name, version) >= 0)
            continue;
        buf_append(&sql, file->bytes, file->n_bytes);
        buf_format(&sql, "INSERT INTO schema_version (version, name) VALUES (%d, 'x');",
                   atoi(file->name));
    }
    buf_append_byte(&sql, '\0');
    char error[400];
    if (!pg_script(url, (const char *)sql.data, error, sizeof error))
        fail_msg("%s", error);
    buf_fini(&sql);
}

/* As it was stored then; `title` and `tags` in SQL. */
static void insert_old_task(const char *url, const task_t *task, const char *title,
                            const char *tags)
{
    buf_t body = {0};
    buf_t hex = {0};
    task_encode(task, &body);
    for (size_t i = 0; i < body.n_bytes; i++)
        buf_format(&hex, "%02x", body.data[i]);
    buf_append_byte(&hex, '\0');
    script(url,
           "INSERT INTO task (id, list, rev, status, priority, title, tags, position, created_at,"
           " updated_at, body) VALUES (gen_random_uuid(), gen_random_uuid(), 1, 0, 1, '%s', '%s',"
           " 'a', now(), now(), '\\x%s')",
           title, tags, (const char *)hex.data);
    buf_fini(&body);
    buf_fini(&hex);
}

static void tasks_from_before_the_search_are_found(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "before_search", "postgres");
    migrate_before(url, "0003");
    char notes[400];
    memset(notes, 'n', sizeof notes - 1);
    notes[sizeof notes - 1] = '\0';
    memcpy(notes, "\xc3\x84pfel ", 7);
    slice_t tags[] = {slice_str("B\xc3\xbcro")};
    task_t task = {.id = uuid_v7(5),
                   .list = uuid_v7(5),
                   .rev = 1000,
                   .title = slice_str("Milk \xc2\xa5notes & Br\xc3\xb6tchen"),
                   .notes = slice_str(notes),
                   .tags = tags,
                   .n_tags = 1,
                   .position = slice_str("a")};
    insert_old_task(url, &task, "Milk \xc2\xa5notes & Br\xc3\xb6tchen", "{B\xc3\xbcro}");
    task.title = slice_str("a title of more than thirty-one bytes: short of 256");
    task.notes = slice_str("");
    task.rule = slice_str("FREQ=WEEKLY");
    insert_old_task(url, &task, "a title of more than thirty-one bytes: short of 256", "{}");
    migrate(url);
    assert_int_equal(number_of(url, "SELECT count(*) FROM task WHERE words @@ 'milk & notes & "
                                    "brotchen & buro & apfel' AND NOT is_recurring AND sort_title "
                                    "LIKE 'milk %brotchen'"),
                     1);
    assert_int_equal(
        number_of(url, "SELECT count(*) FROM task WHERE words @@ 'thirty & 256' AND is_recurring"),
        1);
}

static void *migrate_in_thread(void *url)
{
    migrate(url);
    return NULL;
}

static void programs_that_start_at_once_wait_for_each_other(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    pthread_t threads[4];
    make_database(url, "contended", "postgres");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_in_thread, url), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(number_of(url, "SELECT count(*) FROM log_epoch"), 1);
    assert_true(number_of(url, "SELECT count(*) FROM schema_version") >= 1);
}

/* The owner of the log is a role of the whole server. */
static void who_finds_another_at_it_for_long_says_so_and_may_try_again(void **state)
{
    (void)state;
    static const pg_stmt_t lock = {"SELECT pg_advisory_lock(7460, 0)"};
    char url[DATABASE_URL_CHARS];
    char error[400] = "";
    make_database(url, "held", "postgres");
    pg_t *frozen = connect_to(url, NULL);
    assert_int_equal(pg_run(frozen, &lock, NULL, NULL, NULL, LONG_US), PG_OK);
    assert_int_equal(migrate_run(url, INT64_MAX, error, sizeof error), MIGRATE_UNREACHABLE);
    assert_string_equal(error, "another program is migrating the database");
    pg_destroy(&frozen);
    migrate(url);
}

static void databases_of_one_server_may_be_migrated_at_once(void **state)
{
    (void)state;
    char urls[4][DATABASE_URL_CHARS];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        char name[20];
        snprintf(name, sizeof name, "beside%d", i);
        make_database(urls[i], name, i % 2 == 0 ? "maker" : "postgres");
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_in_thread, urls[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        add_events(urls[i]);
        refused(urls[i], "DELETE FROM event");
    }
}

/* --- what is refused --- */

static void a_database_newer_than_the_program_is_left_alone(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    char error[400] = "";
    make_database(url, "newer", "postgres");
    migrate(url);
    script(url, "INSERT INTO schema_version (version, name) VALUES (9999, 'future')");
    assert_int_equal(migrate_run(url, INT64_MAX, error, sizeof error), MIGRATE_NEWER);
    assert_non_null(strstr(error, "9999"));
}

static void a_migration_that_fails_leaves_nothing_behind(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    char error[400] = "";
    make_database(url, "occupied", "postgres");
    script(url, "CREATE TABLE stream (mine integer)");
    assert_int_equal(migrate_run(url, INT64_MAX, error, sizeof error), MIGRATE_FAILED);
    assert_non_null(strstr(error, "0001_heart.sql"));
    assert_non_null(strstr(error, "already exists"));
    assert_int_equal(number_of(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
                     1);
    script(url, "DROP TABLE stream");
    migrate(url);
}

static void a_script_is_done_wholly_or_not_at_all(void **state)
{
    (void)state;
    char error[200];
    char url[DATABASE_URL_CHARS];
    make_database(url, "scripted", "postgres");
    assert_false(pg_script(url,
                           "CREATE TABLE half (id int); SELECT 1/0; CREATE TABLE other (id int)",
                           error, sizeof error));
    assert_non_null(strstr(error, "division by zero"));
    assert_int_equal(number_of(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
                     0);
    script(url, "CREATE TABLE half (id int)");
    assert_false(pg_script(url, "COPY half FROM STDIN", error, sizeof error));
    assert_string_equal(error, "COPY is not possible here");
}

static void a_server_that_is_not_there_is_not_a_failure(void **state)
{
    (void)state;
    char error[400] = "";
    assert_int_equal(
        migrate_run("host=/nonexistent user=nobody dbname=none", INT64_MAX, error, sizeof error),
        MIGRATE_UNREACHABLE);
    assert_non_null(strstr(error, "/nonexistent"));
}

static void what_the_server_does_not_know_is_refused_at_once(void **state)
{
    (void)state;
    char error[400] = "";
    char url[DATABASE_URL_CHARS];
    char wrong[2 * DATABASE_URL_CHARS];
    make_database(url, "guarded", "postgres");
    int64_t started_us = clock_now().mono_us;
    assert_int_equal(migrate_run("postgres://u:secret@[", INT64_MAX, error, sizeof error),
                     MIGRATE_REFUSED);
    assert_null(strstr(error, "secret"));
    snprintf(wrong, sizeof wrong, "%s&sslmode=perhaps", url);
    assert_int_equal(migrate_run(wrong, INT64_MAX, error, sizeof error), MIGRATE_REFUSED);
    assert_non_null(strstr(error, "perhaps"));
    char *name = strstr(url, "guarded");
    assert_non_null(name);
    memcpy(name, "missing", 7);
    assert_int_equal(migrate_run(url, INT64_MAX, error, sizeof error), MIGRATE_REFUSED);
    assert_non_null(strstr(error, "'missing' does not exist"));
    assert_null(strstr(error, "LOCATION"));
    assert_true(clock_now().mono_us - started_us < 4 * US_PER_S);
}

static void nothing_is_waited_for_beyond_the_deadline(void **state)
{
    (void)state;
    static const pg_stmt_t lock = {"SELECT pg_advisory_lock(7460, 0)"};
    char url[DATABASE_URL_CHARS];
    char error[400] = "";
    int64_t started_us = clock_now().mono_us;
    assert_int_equal(
        migrate_run("host=/nonexistent", started_us + US_PER_S / 5, error, sizeof error),
        MIGRATE_UNREACHABLE);
    make_database(url, "late", "postgres");
    pg_t *holder = connect_to(url, NULL);
    assert_int_equal(pg_run(holder, &lock, NULL, NULL, NULL, LONG_US), PG_OK);
    started_us = clock_now().mono_us;
    assert_int_equal(migrate_run(url, started_us + US_PER_S, error, sizeof error),
                     MIGRATE_UNREACHABLE);
    pg_destroy(&holder);
    assert_true(clock_now().mono_us - started_us < 3 * US_PER_S);
}

/* --- logins --- */

/* What every login may do, and what the triggers keep from all of them. */
static void check_normal_work(const char *url)
{
    add_events(url);
    refused(url, "UPDATE event SET rev = rev + 10");
    refused(url, "UPDATE event SET body = NULL");
    refused(url, "UPDATE event SET body = '\\x09', salt = NULL, fingerprint = NULL");
    refused(url, "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL, type = 2");
    refused(url, "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL, task = by");
    refused(url, "DELETE FROM event");
    refused(url, "TRUNCATE event");
    refused(url, "UPDATE audit SET links = '\\x01'");
    refused(url, "DELETE FROM audit");
    refused(url, "TRUNCATE audit");
    int64_t before = log_checksum(url);
    script(url, "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE rev = 2");
    assert_int_not_equal(log_checksum(url), before);
    assert_int_equal(
        number_of(url, "SELECT count(*) FROM event WHERE body IS NULL AND salt IS NULL"), 1);
    refused(url, "UPDATE event SET body = '\\x09' WHERE rev = 2");
    script(url, "INSERT INTO stream VALUES (gen_random_uuid(), 1, false, 0, '', 0); UPDATE stream "
                "SET head = 1;"
                "DELETE FROM stream; INSERT INTO audit_head VALUES (gen_random_uuid(), 1, '\\x00');"
                "UPDATE audit_head SET rev = 2; SELECT nextval('event_id')");
}

static void a_superuser_can_do_normal_work(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "of_super", "postgres");
    migrate(url);
    check_normal_work(url);
    refused(url, "SET session_replication_role = replica; DELETE FROM event");
}

/* What a login could try that does not own the log. */
static void check_no_power(const char *url, const char *login)
{
    char take[100];
    int64_t before = log_checksum(url);
    snprintf(take, sizeof take, "ALTER TABLE event OWNER TO %s", login);
    refused(url, take);
    refused(url, "ALTER TABLE event DISABLE TRIGGER ALL");
    refused(url, "ALTER TABLE event DISABLE TRIGGER event_rows");
    refused(url, "DROP TRIGGER event_rows ON event");
    refused(url, "SET session_replication_role = replica");
    refused(url, "SET ROLE taskwire_log");
    refused(url,
            "CREATE OR REPLACE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NEW; END'");
    refused(url, "DELETE FROM event");
    refused(url, "TRUNCATE event");
    refused(url, "UPDATE event SET rev = 77");
    assert_int_equal(log_checksum(url), before);
    assert_int_equal(
        number_of(url, "SELECT has_schema_privilege('taskwire_log', 'public', 'CREATE')::integer"),
        0);
}

/* As README.md has it: what the login needed to migrate is taken from it afterwards. */
static void take_away(const char *url, const char *login)
{
    char take[100];
    script(cluster.url, "ALTER ROLE %s NOCREATEROLE; REVOKE taskwire_log FROM %s", login, login);
    snprintf(take, sizeof take, "GRANT taskwire_log TO %s", login);
    refused(url, take);
    migrate(url);
}

static void a_login_that_may_create_roles_has_no_power_over_the_log(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "of_maker", "maker");
    assert_int_equal(number_of(url, "SELECT count(*) FROM pg_roles WHERE rolname = 'taskwire_log'"),
                     0);
    migrate(url);
    check_normal_work(url);
    check_no_power(url, "maker");
    take_away(url, "maker");
    check_no_power(url, "maker");
}

static void a_login_may_be_given_the_role_that_another_has_made(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    script(cluster.url, "CREATE ROLE heir LOGIN CREATEROLE;"
                        "GRANT taskwire_log TO heir WITH ADMIN OPTION");
    make_database(url, "of_heir", "heir");
    migrate(url);
    take_away(url, "heir");
    check_normal_work(url);
    check_no_power(url, "heir");
}

/* Since PostgreSQL 16 that is then nobody's but its maker's. */
static void a_login_that_may_not_have_the_role_of_another_works_all_the_same(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    script(cluster.url, "CREATE ROLE late LOGIN CREATEROLE");
    make_database(url, "of_late", "late");
    migrate(url);
    check_normal_work(url);
    refused(url, "SET session_replication_role = replica");
    assert_int_equal(number_of(url, "SELECT count(DISTINCT tableowner) FROM pg_tables WHERE "
                                    "tablename IN ('event', 'audit') AND tableowner IN "
                                    "('taskwire_log', 'late')"),
                     1);
}

static void a_plain_owner_works_behind_the_triggers_alone(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "of_owner", "owner");
    migrate(url);
    check_normal_work(url);
    refused(url, "SET session_replication_role = replica");
    assert_int_equal(
        number_of(url, "SELECT count(*) FROM pg_tables WHERE tablename IN ('event', 'audit')"
                       " AND tableowner = 'owner'"),
        2);
}

/* Operators of another schema must not stand in for the real ones in the trigger. */
static void a_search_path_does_not_mislead_the_trigger(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    make_database(url, "misled", "postgres");
    migrate(url);
    add_events(url);
    script(url, "CREATE SCHEMA evil; CREATE FUNCTION evil.yes(event, event) RETURNS boolean "
                "LANGUAGE sql AS"
                " 'SELECT true'; CREATE OPERATOR evil.= (LEFTARG = event, RIGHTARG = event, "
                "FUNCTION = evil.yes)");
    refused(url,
            "SET search_path = evil, public, pg_catalog; UPDATE event SET body = NULL, salt = NULL,"
            " fingerprint = NULL, rev = rev + 10");
}

static int set_up(void **state)
{
    (void)state;
    cluster_make(&cluster);
    cluster_start(&cluster);
    script(cluster.url, "CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE owner LOGIN");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cluster_remove(&cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_of_one_server_may_be_migrated_at_once),
        cmocka_unit_test(an_empty_database_gets_the_schema_and_an_epoch),
        cmocka_unit_test(a_second_run_changes_nothing),
        cmocka_unit_test(tasks_from_before_the_search_are_found),
        cmocka_unit_test(programs_that_start_at_once_wait_for_each_other),
        cmocka_unit_test(who_finds_another_at_it_for_long_says_so_and_may_try_again),
        cmocka_unit_test(a_database_newer_than_the_program_is_left_alone),
        cmocka_unit_test(a_migration_that_fails_leaves_nothing_behind),
        cmocka_unit_test(a_script_is_done_wholly_or_not_at_all),
        cmocka_unit_test(a_server_that_is_not_there_is_not_a_failure),
        cmocka_unit_test(what_the_server_does_not_know_is_refused_at_once),
        cmocka_unit_test(nothing_is_waited_for_beyond_the_deadline),
        cmocka_unit_test(a_superuser_can_do_normal_work),
        cmocka_unit_test(a_search_path_does_not_mislead_the_trigger),
    };
    /* On a server where nobody has migrated yet. */
    const struct CMUnitTest logins[] = {
        cmocka_unit_test(a_login_that_may_create_roles_has_no_power_over_the_log),
        cmocka_unit_test(a_login_may_be_given_the_role_that_another_has_made),
        cmocka_unit_test(a_login_that_may_not_have_the_role_of_another_works_all_the_same),
        cmocka_unit_test(a_plain_owner_works_behind_the_triggers_alone),
    };
    int n_failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return n_failed + cmocka_run_group_tests(logins, set_up, tear_down);
}
