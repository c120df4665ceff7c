/* SPDX-License-Identifier: Apache-2.0 */
/* Which instants "today", "week" and the limits of due dates are, also on days with a clock change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/due_range.h"

#define HOUR_US (INT64_C(3600) * US_PER_S)

static const due_range_t all = {INSTANT_NONE, INSTANT_NONE, false};

static int64_t at(const char *text)
{
    int64_t at_us = 0;
    assert_true(instant_parse(slice_str(text), &at_us));
    return at_us;
}

static due_range_t of_word(due_word_t word, const char *zone, const char *now)
{
    due_range_t range = all;
    due_range_add_word(&range, word, slice_str(zone), at(now));
    return range;
}

static void assert_days(due_word_t word, const char *zone, const char *now, const char *from,
                        const char *next)
{
    due_range_t range = of_word(word, zone, now);
    assert_int_equal(range.from_us, at(from));
    assert_int_equal(range.to_us, at(next) - 1);
    assert_false(range.is_none);
}

static void today_is_the_day_of_the_zone(void **unused)
{
    (void)unused;
    assert_days(DUE_TODAY, "Europe/Zurich", "2026-11-23T08:00:00Z", "2026-11-22T23:00:00Z",
                "2026-11-23T23:00:00Z");
    assert_days(DUE_TODAY, "Europe/Zurich", "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z",
                "2026-11-23T23:00:00Z");
    assert_days(DUE_TODAY, "Europe/Zurich", "2026-11-22T22:59:59.999999Z", "2026-11-21T23:00:00Z",
                "2026-11-22T23:00:00Z");
    assert_days(DUE_TODAY, "Pacific/Kiritimati", "2026-12-31T10:00:00Z", "2026-12-31T10:00:00Z",
                "2027-01-01T10:00:00Z");
    assert_days(DUE_TODAY, "Nowhere/Atall", "2026-11-23T08:00:00Z", "2026-11-23T00:00:00Z",
                "2026-11-24T00:00:00Z");
}

static void a_day_with_a_clock_change_has_another_length(void **unused)
{
    (void)unused;
    due_range_t spring = of_word(DUE_TODAY, "Europe/Zurich", "2026-03-29T12:00:00Z");
    due_range_t autumn = of_word(DUE_TODAY, "Europe/Zurich", "2026-10-25T12:00:00Z");
    assert_int_equal(spring.to_us - spring.from_us + 1, 23 * HOUR_US);
    assert_int_equal(autumn.to_us - autumn.from_us + 1, 25 * HOUR_US);
    /* Here the clock went from 0:00 to 1:00. */
    assert_days(DUE_TODAY, "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z",
                "2018-11-05T02:00:00Z");
}

static void a_week_is_today_and_six_days_more(void **unused)
{
    (void)unused;
    assert_days(DUE_WEEK, "Europe/Zurich", "2026-03-26T12:00:00Z", "2026-03-25T23:00:00Z",
                "2026-04-01T22:00:00Z");
    assert_days(DUE_WEEK, "UTC", "2026-12-29T00:00:00Z", "2026-12-29T00:00:00Z",
                "2027-01-05T00:00:00Z");
}

static void what_is_due_now_is_not_overdue_yet(void **unused)
{
    (void)unused;
    due_range_t range = of_word(DUE_OVERDUE, "Europe/Zurich", "2026-11-23T08:00:00Z");
    assert_int_equal(range.from_us, INSTANT_NONE);
    assert_int_equal(range.to_us, at("2026-11-23T08:00:00Z") - 1);
    assert_true(of_word(DUE_NOT_SET, "UTC", "2026-11-23T08:00:00Z").is_none);
}

static void limits_are_dates_local_times_or_instants(void **unused)
{
    (void)unused;
    slice_t zone = slice_str("Europe/Zurich");
    due_range_t range = all;
    assert_true(due_range_add_from(&range, slice_str("2026-11-23"), zone));
    assert_true(due_range_add_to(&range, slice_str("2026-11-23"), zone));
    assert_int_equal(range.from_us, at("2026-11-22T23:00:00Z"));
    assert_int_equal(range.to_us, at("2026-11-23T23:00:00Z") - 1);
    range = all;
    assert_true(due_range_add_from(&range, slice_str("2026-07-01T09:00"), zone));
    assert_true(due_range_add_to(&range, slice_str("2026-07-01T09:00:00+05:30"), zone));
    assert_int_equal(range.from_us, at("2026-07-01T07:00:00Z"));
    assert_int_equal(range.to_us, at("2026-07-01T03:30:00Z"));
    const char *const wrong[] = {"", "tomorrow", "2026-02-30", "2026-11-23T25:00", "20261123", "1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(due_range_add_from(&range, slice_str(wrong[i]), zone));
        assert_false(due_range_add_to(&range, slice_str(wrong[i]), zone));
    }
}

static void of_several_limits_the_narrowest_counts(void **unused)
{
    (void)unused;
    slice_t zone = slice_str("UTC");
    due_range_t range = of_word(DUE_WEEK, "UTC", "2026-11-23T08:00:00Z");
    assert_true(due_range_add_from(&range, slice_str("2026-11-01"), zone));
    assert_true(due_range_add_to(&range, slice_str("2026-11-24"), zone));
    assert_int_equal(range.from_us, at("2026-11-23T00:00:00Z"));
    assert_int_equal(range.to_us, at("2026-11-25T00:00:00Z") - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(today_is_the_day_of_the_zone),
        cmocka_unit_test(a_day_with_a_clock_change_has_another_length),
        cmocka_unit_test(a_week_is_today_and_six_days_more),
        cmocka_unit_test(what_is_due_now_is_not_overdue_yet),
        cmocka_unit_test(limits_are_dates_local_times_or_instants),
        cmocka_unit_test(of_several_limits_the_narrowest_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
