/* SPDX-License-Identifier: Apache-2.0 */
/* What the connection promises when the server dies, hangs, refuses or throws it out. These tests
 * stop and freeze servers, so they make a cluster of their own. */
#include "tests/db/database.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static cluster_t cluster;

#define MAX_HEARD 4096

typedef struct {
    int n;
    int64_t ids[MAX_HEARD];
    pg_fate_t fates[MAX_HEARD];
} heard_t;

static heard_t heard;

typedef struct {
    int64_t id;
    pg_t *breaks; /* broken by the callback */
} asked_t;

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    const asked_t *asked = arg;
    (void)result;
    assert_true(heard.n < MAX_HEARD);
    heard.ids[heard.n] = asked->id;
    heard.fates[heard.n++] = fate;
    if (asked->breaks != NULL)
        pg_break(asked->breaks, "a test wants it so");
}

static const pg_stmt_t one = {"SELECT 1"};
static const pg_stmt_t insert = {"INSERT INTO thing (id) VALUES ($1::bigint)"};
static const pg_stmt_t sleep_long = {"SELECT pg_sleep(60)"};

static asked_t asked[MAX_HEARD];

static void queue_insert(pg_t *pg, int64_t id)
{
    pg_params_t params = {0};
    asked[id] = (asked_t){.id = id};
    pg_put_i64(&params, id);
    assert_int_equal(pg_query(pg, &insert, &params, on_answer, &asked[id]), ERR_OK);
    pg_params_fini(&params);
}

static void step_once(pg_t *pg)
{
    int64_t timeout_us = pg_timeout_us(pg, clock_now());
    struct pollfd fd = {.fd = pg_fd(pg), .events = pg_events(pg)};
    (void)poll(&fd, fd.fd < 0 ? 0 : 1, timeout_us > 50000 ? 50 : (int)(timeout_us / 1000));
    pg_step(pg, clock_now());
}

/* Steps until the condition holds. */
#define STEP_UNTIL(pg, condition)                                                                  \
    do {                                                                                           \
        int64_t deadline_us = clock_now().mono_us + LONG_US;                                       \
        while (!(condition)) {                                                                     \
            if (clock_now().mono_us > deadline_us)                                                 \
                fail_msg("not in time: %s (%s)", #condition, pg_trouble(pg));                      \
            step_once(pg);                                                                         \
        }                                                                                          \
    } while (0)

/* --- death --- */

static void ids_are_heard_once_in_order(int n)
{
    assert_int_equal(heard.n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(heard.ids[i], i);
}

static void a_server_killed_in_mid_pipeline_loses_nothing_that_was_told(void **state)
{
    (void)state;
    heard = (heard_t){0};
    script(cluster.url, "CREATE TABLE thing (id bigint PRIMARY KEY)");
    pg_t *pg = connect_to(cluster.url, NULL);
    int n_queued = 0;
    while (heard.n < 300) {
        while (pg_is_ready(pg) && n_queued < MAX_HEARD && pg_in_flight(pg) < 900) {
            queue_insert(pg, n_queued++);
            if (n_queued % 3 == 0)
                (void)pg_sync(pg);
        }
        (void)pg_sync(pg);
        step_once(pg);
    }
    cluster_stop(&cluster, "immediate");
    STEP_UNTIL(pg, heard.n == n_queued);
    ids_are_heard_once_in_order(n_queued);
    assert_false(pg_is_connected(pg));
    assert_true(pg_trouble(pg)[0] != '\0');
    assert_int_equal(pg_query(pg, &one, NULL, NULL, NULL), ERR_UNAVAILABLE);
    int n_told = 0;
    int n_lost = 0;
    for (int i = 0; i < n_queued; i++) {
        n_told += heard.fates[i] == PG_OK;
        n_lost += heard.fates[i] == PG_LOST;
    }
    assert_int_equal(n_told + n_lost, n_queued);
    assert_true(n_told >= 300);
    assert_true(n_lost > 0);
    cluster_start(&cluster);
    STEP_UNTIL(pg, pg_is_ready(pg));
    assert_int_equal(pg_session(pg), 2);
    assert_string_equal(pg_trouble(pg), "");
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM thing WHERE id < %d", n_told);
    assert_int_equal(number_of(cluster.url, sql), n_told);
    assert_int_equal(number_of(cluster.url, "SELECT count(*) % 3 FROM thing"), 0);
    assert_int_equal(pg_run(pg, &one, NULL, NULL, NULL, LONG_US), PG_OK);
    pg_destroy(&pg);
    script(cluster.url, "DROP TABLE thing");
}

static void a_session_that_is_terminated_comes_back_as_another(void **state)
{
    (void)state;
    heard = (heard_t){0};
    pg_t *pg = connect_to(cluster.url, NULL);
    int pid = pg_backend_pid(pg);
    assert_true(pid > 0);
    asked_t slow = {.id = 1};
    asked_t after = {.id = 2};
    assert_int_equal(pg_query(pg, &sleep_long, NULL, on_answer, &slow), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &after), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    script(cluster.url, "SELECT pg_terminate_backend(%d)", pid);
    STEP_UNTIL(pg, heard.n == 2);
    assert_int_equal(heard.fates[0], PG_LOST);
    assert_int_equal(heard.fates[1], PG_LOST);
    assert_non_null(strstr(pg_trouble(pg), "administrator command"));
    STEP_UNTIL(pg, pg_is_ready(pg));
    assert_int_not_equal(pg_backend_pid(pg), pid);
    assert_int_equal(pg_session(pg), 2);
    pg_destroy(&pg);
}

static void an_idle_session_that_is_terminated_is_noticed(void **state)
{
    (void)state;
    pg_t *pg = connect_to(cluster.url, NULL);
    script(cluster.url, "SELECT pg_terminate_backend(%d)", pg_backend_pid(pg));
    STEP_UNTIL(pg, !pg_is_connected(pg));
    assert_non_null(strstr(pg_trouble(pg), "administrator command"));
    STEP_UNTIL(pg, pg_is_ready(pg));
    pg_destroy(&pg);
}

static void a_transaction_that_idles_too_long_is_lost(void **state)
{
    (void)state;
    static const pg_stmt_t begin = {"BEGIN"};
    pg_t *pg = connect_to(cluster.url, "-c idle_in_transaction_session_timeout=50ms");
    assert_int_equal(pg_run(pg, &begin, NULL, NULL, NULL, LONG_US), PG_OK);
    STEP_UNTIL(pg, !pg_is_connected(pg));
    assert_non_null(strstr(pg_trouble(pg), "idle-in-transaction"));
    pg_destroy(&pg);
}

/* --- hanging --- */

static void an_answer_that_takes_too_long_breaks_the_connection(void **state)
{
    (void)state;
    heard = (heard_t){0};
    pg_options_t options = {.url = cluster.url, .who = "test", .reply_timeout_us = 300000};
    pg_t *pg = pg_new(&options);
    assert_true(pg_await(pg, LONG_US));
    int pid = pg_backend_pid(pg);
    asked_t first = {.id = 1};
    asked_t second = {.id = 2};
    assert_int_equal(kill(pid, SIGSTOP), 0);
    int64_t start_us = clock_now().mono_us;
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &first), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &second), ERR_OK);
    STEP_UNTIL(pg, heard.n > 0);
    int64_t took_us = clock_now().mono_us - start_us;
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(heard.n, 2);
    assert_int_equal(heard.fates[0], PG_LOST);
    assert_int_equal(heard.fates[1], PG_LOST);
    assert_true(took_us >= 300000 && took_us < 5 * US_PER_S);
    assert_string_equal(pg_trouble(pg), "no answer in time");
    STEP_UNTIL(pg, pg_is_ready(pg));
    pg_destroy(&pg);
}

static void nothing_is_late_while_nothing_is_asked(void **state)
{
    (void)state;
    pg_options_t options = {.url = cluster.url, .who = "test", .reply_timeout_us = 300000};
    pg_t *pg = pg_new(&options);
    assert_true(pg_await(pg, LONG_US));
    now_t later = clock_now();
    later.mono_us += LONG_US;
    pg_step(pg, later);
    later.mono_us += LONG_US;
    /* Queued, but the group is open: the server has no reason to answer. */
    assert_int_equal(pg_query(pg, &one, NULL, NULL, NULL), ERR_OK);
    pg_step(pg, later);
    later.mono_us += LONG_US;
    pg_step(pg, later);
    assert_true(pg_is_connected(pg));
    assert_int_equal(pg_session(pg), 1);
    pg_destroy(&pg);
}

/* Connects to a postmaster that does nothing: the kernel takes the connection, nobody answers. */
static void a_server_that_hangs_while_connecting_is_given_up(void **state)
{
    (void)state;
    int pid = cluster_pid(&cluster);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    pg_options_t options = {.url = cluster.url, .who = "test"};
    pg_t *pg = pg_new(&options);
    now_t now = clock_now();
    pg_step(pg, now);
    pg_step(pg, now);
    assert_true(pg_fd(pg) >= 0);
    int64_t left_us = pg_timeout_us(pg, now);
    assert_true(left_us > 0 && left_us <= 10 * US_PER_S);
    assert_string_equal(pg_trouble(pg), "");
    now.mono_us += left_us;
    pg_step(pg, now);
    assert_string_equal(pg_trouble(pg), "the server does not answer");
    assert_int_equal(pg_fd(pg), -1);
    assert_int_equal(kill(pid, SIGCONT), 0);
    now.mono_us += LONG_US;
    pg_step(pg, now);
    STEP_UNTIL(pg, pg_is_ready(pg));
    pg_destroy(&pg);
}

static void waiting_has_an_end(void **state)
{
    (void)state;
    heard = (heard_t){0};
    pg_t *pg = connect_to(cluster.url, NULL);
    asked_t slow = {.id = 1};
    assert_int_equal(pg_run(pg, &sleep_long, NULL, on_answer, &slow, 100000), PG_LOST);
    assert_int_equal(heard.n, 1);
    assert_int_equal(heard.fates[0], PG_LOST);
    assert_int_equal(pg_run(pg, &one, NULL, NULL, NULL, LONG_US), PG_OK);
    assert_int_equal(pg_session(pg), 2);
    pg_destroy(&pg);
}

/* --- refusal --- */

static void a_server_that_is_not_there_is_tried_later_and_later(void **state)
{
    (void)state;
    cluster_stop(&cluster, "fast");
    pg_options_t options = {.url = cluster.url, .who = "test"};
    pg_t *pg = pg_new(&options);
    now_t now = clock_now();
    int64_t longest_us = 0;
    for (int i = 0; i < 12; i++) {
        pg_step(pg, now);
        STEP_UNTIL(pg, pg_fd(pg) == -1);
        assert_true(pg_trouble(pg)[0] != '\0');
        int64_t delay_us = pg_timeout_us(pg, now);
        assert_true(delay_us > 0 && delay_us <= 2500000);
        assert_true(i > 0 || delay_us <= 62500);
        longest_us = delay_us > longest_us ? delay_us : longest_us;
        now.mono_us += delay_us;
    }
    assert_true(longest_us >= 1500000);
    assert_int_equal(pg_run(pg, &one, NULL, on_answer, NULL, 1000), PG_RETRY);
    assert_int_equal(pg_session(pg), 0);
    cluster_start(&cluster);
    now.mono_us += LONG_US;
    pg_step(pg, now);
    STEP_UNTIL(pg, pg_is_ready(pg));
    assert_string_equal(pg_trouble(pg), "");
    pg_destroy(&pg);
}

static void a_wrong_password_is_said_and_a_right_one_works_later(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    char with_password[DATABASE_URL_CHARS];
    script(cluster.url,
           "CREATE ROLE taskwire_password; CREATE ROLE somebody LOGIN PASSWORD 'right' IN ROLE"
           " taskwire_password");
    url_with(url, cluster.url, "user=somebody");
    url_with(with_password, url, "password=tHeSeCrEt");
    pg_options_t options = {.url = with_password, .who = "test"};
    pg_t *pg = pg_new(&options);
    STEP_UNTIL(pg, pg_trouble(pg)[0] != '\0');
    assert_non_null(strstr(pg_trouble(pg), "password authentication failed"));
    assert_null(strstr(pg_trouble(pg), "tHeSeCrEt"));
    script(cluster.url, "ALTER ROLE somebody PASSWORD 'tHeSeCrEt'");
    STEP_UNTIL(pg, pg_is_ready(pg));
    pg_destroy(&pg);
}

static void a_url_that_cannot_be_read_is_not_repeated(void **state)
{
    (void)state;
    static const char *const urls[] = {"postgresql://u:tHeSeCrEt%zz@h/d", "password=tHeSeCrEt oops",
                                       "postgresql://["};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        pg_options_t options = {.url = urls[i], .who = "test"};
        pg_t *pg = pg_new(&options);
        assert_false(pg_await(pg, 1000));
        assert_string_equal(pg_trouble(pg), "the database URL cannot be read");
        char error[200];
        assert_false(pg_script(urls[i], "SELECT 1", error, sizeof error));
        assert_null(strstr(error, "SeCrEt"));
        pg_destroy(&pg);
    }
}

static void a_database_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    char url[DATABASE_URL_CHARS];
    script(cluster.url,
           "CREATE DATABASE latin ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    url_with(url, cluster.url, "dbname=latin");
    pg_options_t options = {.url = url, .who = "test"};
    pg_t *pg = pg_new(&options);
    STEP_UNTIL(pg, pg_trouble(pg)[0] != '\0');
    assert_string_equal(pg_trouble(pg), "the database's encoding is not UTF8");
    pg_destroy(&pg);
}

/* --- breaking it ourselves --- */

static void a_callback_may_break_the_connection(void **state)
{
    (void)state;
    heard = (heard_t){0};
    pg_t *pg = connect_to(cluster.url, NULL);
    asked_t breaker = {.id = 0, .breaks = pg};
    asked_t same_group = {.id = 1};
    asked_t next_group = {.id = 2};
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &breaker), ERR_OK);
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &same_group), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &next_group), ERR_OK);
    assert_false(pg_await(pg, LONG_US));
    ids_are_heard_once_in_order(3);
    assert_int_equal(heard.fates[0], PG_OK);
    assert_int_equal(heard.fates[1], PG_LOST);
    assert_int_equal(heard.fates[2], PG_LOST);
    assert_true(pg_await(pg, LONG_US));
    pg_destroy(&pg);
}

static void who_is_destroyed_tells_what_was_under_way(void **state)
{
    (void)state;
    heard = (heard_t){0};
    pg_t *pg = connect_to(cluster.url, NULL);
    asked_t first = {.id = 0};
    asked_t second = {.id = 1};
    assert_int_equal(pg_query(pg, &sleep_long, NULL, on_answer, &first), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_int_equal(pg_query(pg, &one, NULL, on_answer, &second), ERR_OK);
    pg_destroy(&pg);
    assert_null(pg);
    ids_are_heard_once_in_order(2);
    assert_int_equal(heard.fates[0], PG_LOST);
    assert_int_equal(heard.fates[1], PG_LOST);
    pg_destroy(&pg);
}

static void another_socket_has_another_number(void **state)
{
    (void)state;
    pg_t *pg = connect_to(cluster.url, NULL);
    int64_t serial = pg_fd_serial(pg);
    assert_int_equal(pg_run(pg, &one, NULL, NULL, NULL, LONG_US), PG_OK);
    assert_int_equal(pg_fd_serial(pg), serial);
    pg_break(pg, "a test wants it so");
    assert_int_not_equal(pg_fd_serial(pg), serial);
    assert_true(pg_await(pg, LONG_US));
    assert_int_not_equal(pg_fd_serial(pg), serial);
    pg_destroy(&pg);
}

static int set_up(void **state)
{
    (void)state;
    cluster_make(&cluster);
    cluster_start(&cluster);
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
        cmocka_unit_test(a_server_killed_in_mid_pipeline_loses_nothing_that_was_told),
        cmocka_unit_test(a_session_that_is_terminated_comes_back_as_another),
        cmocka_unit_test(an_idle_session_that_is_terminated_is_noticed),
        cmocka_unit_test(a_transaction_that_idles_too_long_is_lost),
        cmocka_unit_test(an_answer_that_takes_too_long_breaks_the_connection),
        cmocka_unit_test(nothing_is_late_while_nothing_is_asked),
        cmocka_unit_test(a_server_that_hangs_while_connecting_is_given_up),
        cmocka_unit_test(waiting_has_an_end),
        cmocka_unit_test(a_server_that_is_not_there_is_tried_later_and_later),
        cmocka_unit_test(a_wrong_password_is_said_and_a_right_one_works_later),
        cmocka_unit_test(a_url_that_cannot_be_read_is_not_repeated),
        cmocka_unit_test(a_database_that_is_not_utf8_is_refused),
        cmocka_unit_test(a_callback_may_break_the_connection),
        cmocka_unit_test(who_is_destroyed_tells_what_was_under_way),
        cmocka_unit_test(another_socket_has_another_number),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
