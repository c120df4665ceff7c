/* SPDX-License-Identifier: Apache-2.0 */
/* What processes tell each other of the log: how it is written, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bridge/notice.h"

static void a_notice_is_read_as_it_was_written(void **state)
{
    (void)state;
    static const notice_t samples[] = {
        {0, 0}, {1, SHARDS_ALL}, {UINT64_C(0xfedcba9876543210), UINT64_C(0x8000000000000001)}};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char text[NOTICE_CHARS + 1];
        notice_t read = {0};
        notice_format(&samples[i], text);
        assert_int_equal(strlen(text), NOTICE_CHARS);
        assert_true(notice_parse(text, &read));
        assert_true(read.process == samples[i].process && read.shards == samples[i].shards);
    }
}

static void what_somebody_else_notifies_is_no_notice(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "hello",
        "0123456789abcdef",
        "0123456789abcdef ",
        "0123456789abcdef 0123456789abcde",
        "0123456789abcdef 0123456789abcdef ",
        "0123456789abcdef-0123456789abcdef",
        "0123456789abcdeF 0123456789abcdef",
        "0123456789abcdef 0123456789abcdeg",
        "-123456789abcdef 0123456789abcdef",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        notice_t read;
        assert_false(notice_parse(others[i], &read));
    }
}

static void the_first_growth_is_told_at_once_and_the_next_after_the_pause(void **state)
{
    (void)state;
    notice_pace_t pace = {0};
    assert_int_equal(notice_pace_take(&pace, 1000), 0);
    assert_true(notice_pace_wait_us(&pace, 1000) == INT64_MAX);
    notice_pace_add(&pace, 4);
    assert_int_equal(notice_pace_wait_us(&pace, 1000), 0);
    assert_int_equal(notice_pace_take(&pace, 1000), 4);
    notice_pace_arrived(&pace);
    notice_pace_add(&pace, 1);
    notice_pace_add(&pace, 8);
    assert_int_equal(notice_pace_wait_us(&pace, 1500), NOTICE_PAUSE_US - 500);
    assert_int_equal(notice_pace_take(&pace, 1000 + NOTICE_PAUSE_US - 1), 0);
    assert_int_equal(notice_pace_take(&pace, 1000 + NOTICE_PAUSE_US), 9);
}

static void one_notice_is_under_way_at_a_time(void **state)
{
    (void)state;
    notice_pace_t pace = {0};
    notice_pace_add(&pace, 2);
    assert_int_equal(notice_pace_take(&pace, 0), 2);
    notice_pace_add(&pace, 4);
    assert_int_equal(notice_pace_take(&pace, 10 * NOTICE_PAUSE_US), 0);
    assert_true(notice_pace_wait_us(&pace, 10 * NOTICE_PAUSE_US) == INT64_MAX);
    notice_pace_arrived(&pace);
    assert_int_equal(notice_pace_take(&pace, 10 * NOTICE_PAUSE_US), 4);
}

static void what_did_not_arrive_is_told_again_with_what_has_grown_since(void **state)
{
    (void)state;
    notice_pace_t pace = {0};
    notice_pace_add(&pace, 2);
    assert_int_equal(notice_pace_take(&pace, 0), 2);
    notice_pace_add(&pace, 16);
    notice_pace_failed(&pace, 5000, 1000000);
    assert_int_equal(notice_pace_take(&pace, 1004999), 0);
    assert_int_equal(notice_pace_wait_us(&pace, 5000), 1000000);
    assert_int_equal(notice_pace_take(&pace, 1005000), 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_is_read_as_it_was_written),
        cmocka_unit_test(what_somebody_else_notifies_is_no_notice),
        cmocka_unit_test(the_first_growth_is_told_at_once_and_the_next_after_the_pause),
        cmocka_unit_test(one_notice_is_under_way_at_a_time),
        cmocka_unit_test(what_did_not_arrive_is_told_again_with_what_has_grown_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
