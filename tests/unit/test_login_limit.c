/* SPDX-License-Identifier: Apache-2.0 */
/* Failed logins: ten are free, each further one waits twice as long, by account and by address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/login_limit.h"

#define START_US INT64_C(5000000000)
#define SECOND_US INT64_C(1000000)

static bool try_at(login_limit_t *limit, const char *email, const char *address, int64_t now_us,
                   int64_t *retry_us)
{
    return login_limit_begin(limit, slice_str(email), slice_str(address), now_us, retry_us);
}

static void fail_ten_times(login_limit_t *limit, const char *email, const char *address)
{
    int64_t retry_us;
    for (int i = 0; i < LOGIN_LIMIT_FREE; i++)
        assert_true(try_at(limit, email, address, START_US, &retry_us));
}

static void after_ten_in_a_row_one_must_wait(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    fail_ten_times(limit, "a", "1");
    assert_false(try_at(limit, "a", "1", START_US, &retry_us));
    assert_int_equal(retry_us, SECOND_US);
    login_limit_destroy(&limit);
}

static void each_wait_is_twice_the_last_up_to_a_limit(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    int64_t now_us = START_US;
    int64_t expected_us = SECOND_US;
    fail_ten_times(limit, "a", "1");
    for (int i = 0; i < 40; i++) {
        assert_false(try_at(limit, "a", "1", now_us, &retry_us));
        assert_int_equal(retry_us, expected_us);
        now_us += retry_us;
        assert_true(try_at(limit, "a", "1", now_us, &retry_us));
        expected_us =
            expected_us * 2 > LOGIN_LIMIT_MAX_WAIT_US ? LOGIN_LIMIT_MAX_WAIT_US : expected_us * 2;
    }
    login_limit_destroy(&limit);
}

static void an_account_is_closed_to_all_addresses(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(1024);
    int64_t retry_us;
    for (int i = 0; i < LOGIN_LIMIT_FREE; i++) {
        char address[16];
        snprintf(address, sizeof address, "%d", i);
        assert_true(try_at(limit, "a", address, START_US, &retry_us));
    }
    assert_false(try_at(limit, "a", "another", START_US, &retry_us));
    assert_true(try_at(limit, "b", "another", START_US, &retry_us));
    login_limit_destroy(&limit);
}

static void an_address_is_closed_to_all_accounts(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(1024);
    int64_t retry_us;
    for (int i = 0; i < LOGIN_LIMIT_FREE; i++) {
        char email[16];
        snprintf(email, sizeof email, "%d", i);
        assert_true(try_at(limit, email, "1", START_US, &retry_us));
    }
    assert_false(try_at(limit, "another", "1", START_US, &retry_us));
    assert_true(try_at(limit, "another", "2", START_US, &retry_us));
    login_limit_destroy(&limit);
}

static void a_right_password_begins_the_count_anew(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < LOGIN_LIMIT_FREE - 1; i++)
            assert_true(try_at(limit, "a", "1", START_US, &retry_us));
        assert_true(try_at(limit, "a", "1", START_US, &retry_us));
        login_limit_succeed(limit, slice_str("a"), slice_str("1"));
    }
    login_limit_destroy(&limit);
}

static void an_email_and_an_address_of_the_same_text_are_two(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    fail_ten_times(limit, "x", "y");
    assert_true(try_at(limit, "y", "x", START_US, &retry_us));
    login_limit_destroy(&limit);
}

static void an_hour_without_failures_is_forgiven(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    fail_ten_times(limit, "a", "1");
    int64_t later_us = START_US + LOGIN_LIMIT_FORGET_US + 1;
    for (int i = 0; i < LOGIN_LIMIT_FREE; i++)
        assert_true(try_at(limit, "a", "1", later_us, &retry_us));
    assert_false(try_at(limit, "a", "1", later_us, &retry_us));
    login_limit_destroy(&limit);
}

/* A flood of names that failed once does not push out those that failed often. */
static void a_flood_keeps_the_worst(void **unused)
{
    (void)unused;
    login_limit_t *limit = login_limit_new(64);
    int64_t retry_us;
    fail_ten_times(limit, "a", "1");
    for (int i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_true(try_at(limit, name, name, START_US, &retry_us));
    }
    assert_false(try_at(limit, "a", "2", START_US, &retry_us));
    login_limit_destroy(&limit);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_ten_in_a_row_one_must_wait),
        cmocka_unit_test(each_wait_is_twice_the_last_up_to_a_limit),
        cmocka_unit_test(an_account_is_closed_to_all_addresses),
        cmocka_unit_test(an_address_is_closed_to_all_accounts),
        cmocka_unit_test(a_right_password_begins_the_count_anew),
        cmocka_unit_test(an_email_and_an_address_of_the_same_text_are_two),
        cmocka_unit_test(an_hour_without_failures_is_forgiven),
        cmocka_unit_test(a_flood_keeps_the_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
