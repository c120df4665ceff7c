/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text: what is read, what is refused, and that what is written reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "schema/instant.h"

/* 2026-11-23T08:00:00Z */
#define MORNING_US (INT64_C(1795420800) * US_PER_S)

static int64_t parsed(const char *text)
{
    int64_t at_us = INSTANT_NONE;
    return instant_parse(slice_str(text), &at_us) ? at_us : INSTANT_NONE;
}

static void assert_written(int64_t at_us, const char *expected)
{
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n_chars = instant_format(at_us, text);
    assert_string_equal(text, expected);
    assert_int_equal(n_chars, strlen(expected));
}

static void an_instant_is_read_in_any_offset(void **unused)
{
    (void)unused;
    assert_int_equal(parsed("2026-11-23T08:00:00Z"), MORNING_US);
    assert_int_equal(parsed("2026-11-23t08:00:00z"), MORNING_US);
    assert_int_equal(parsed("2026-11-23T09:00:00+01:00"), MORNING_US);
    assert_int_equal(parsed("2026-11-22T22:30:00-09:30"), MORNING_US);
    assert_int_equal(parsed("2026-11-23T08:00:00-00:00"), MORNING_US);
    assert_int_equal(parsed("2026-11-23T08:00:00.5Z"), MORNING_US + 500000);
    assert_int_equal(parsed("2026-11-23T08:00:00.000001Z"), MORNING_US + 1);
    assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("1969-12-31T23:59:59.999999Z"), -1);
    assert_int_equal(parsed("0001-01-01T00:00:00Z"), INSTANT_MIN);
    assert_int_equal(parsed("9999-12-31T23:59:59.999999Z"), INSTANT_MAX);
}

static void what_is_no_instant_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "2026",
        "2026-11-23",
        "2026-11-23T08:00:00",
        "2026-11-23T08:00Z",
        "2026-11-23 08:00:00Z",
        "2026-11-23T08:00:00Z ",
        " 2026-11-23T08:00:00Z",
        "2026-11-23T08:00:00.Z",
        "2026-11-23T08:00:00.1234567Z",
        "2026-11-23T08:00:00,5Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T08:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-02-29T08:00:00Z",
        "2026-00-10T08:00:00Z",
        "2026-13-10T08:00:00Z",
        "2026-11-31T08:00:00Z",
        "2026-11-00T08:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "2026-11-23T08:00:00+1:00",
        "2026-11-23T08:00:00+0100",
        "2026-11-23T08:00:00+24:00",
        "2026-11-23T08:00:00+01:60",
        "2026-11-23T08:00:00+01:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-1-23T08:00:00Z",
        "+2026-11-23T08:00:00Z",
        "\xd9\xa2"
        "026-11-23T08:00:00Z",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (parsed(wrong[i]) != INSTANT_NONE)
            fail_msg("read as an instant: %s", wrong[i]);
    }
    int64_t kept = 7;
    assert_false(instant_parse(slice_none(), &kept));
    assert_int_equal(kept, 7);
}

static void an_instant_is_written_with_the_shortest_fraction(void **unused)
{
    (void)unused;
    assert_written(MORNING_US, "2026-11-23T08:00:00Z");
    assert_written(MORNING_US + 500000, "2026-11-23T08:00:00.5Z");
    assert_written(MORNING_US + 120, "2026-11-23T08:00:00.00012Z");
    assert_written(MORNING_US + 123456, "2026-11-23T08:00:00.123456Z");
    assert_written(-1, "1969-12-31T23:59:59.999999Z");
    assert_written(INSTANT_MIN, "0001-01-01T00:00:00Z");
    assert_written(INSTANT_MAX, "9999-12-31T23:59:59.999999Z");
    assert_written(INSTANT_MIN - 1, "0001-01-01T00:00:00Z");
    assert_written(INT64_MAX, "9999-12-31T23:59:59.999999Z");
}

static int64_t random_instant(void)
{
    uint64_t bits = ((uint64_t)(uint32_t)random() << 31) ^ (uint64_t)(uint32_t)random();
    int64_t at_us = INSTANT_MIN + (int64_t)(bits % (uint64_t)(INSTANT_MAX - INSTANT_MIN + 1));
    int kind = (int)(random() % 3);
    if (kind == 0)
        return at_us;
    return at_us - at_us % (kind == 1 ? 1000 : US_PER_S);
}

static void random_instants_read_back_as_written(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 100000; i++) {
        int64_t at_us = random_instant();
        char text[INSTANT_TEXT_CHARS + 1];
        size_t n_chars = instant_format(at_us, text);
        int64_t back_us = 0;
        assert_true(instant_parse(slice_of(text, n_chars), &back_us));
        assert_int_equal(back_us, at_us);
    }
}

static void every_day_of_ten_thousand_years_converts_and_comes_back(void **unused)
{
    (void)unused;
    int64_t days = days_from_date(1, 1, 1);
    assert_int_equal(days, -719162);
    for (int year = 1; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= days_in_month(year, month); day++, days++) {
                local_t back = {0};
                date_from_days(days, &back);
                if (days_from_date(year, month, day) != days || back.year != year ||
                    back.month != month || back.day != day)
                    fail_msg("%d-%d-%d", year, month, day);
            }
        }
    }
    assert_int_equal(days, 2932897);
}

static void the_calendar_agrees_with_libc(void **unused)
{
    (void)unused;
    for (int64_t s = INT64_C(-62135596800); s < INT64_C(253402300800); s += 86400 * 97 + 12345) {
        time_t at = (time_t)s;
        struct tm tm;
        assert_non_null(gmtime_r(&at, &tm));
        local_t local = {0};
        local_from_utc_us(s * US_PER_S, &local);
        assert_int_equal(local.year, tm.tm_year + 1900);
        assert_int_equal(local.month, tm.tm_mon + 1);
        assert_int_equal(local.day, tm.tm_mday);
        assert_int_equal(local.hour, tm.tm_hour);
        assert_int_equal(local.minute, tm.tm_min);
        assert_int_equal(local.second, tm.tm_sec);
        assert_int_equal(local_as_utc_us(&local), s * US_PER_S);
    }
}

static void a_month_has_its_days_in_leap_years_too(void **unused)
{
    (void)unused;
    assert_int_equal(days_in_month(2026, 2), 28);
    assert_int_equal(days_in_month(2028, 2), 29);
    assert_int_equal(days_in_month(1900, 2), 28);
    assert_int_equal(days_in_month(2000, 2), 29);
    assert_int_equal(days_in_month(2000, 4), 30);
    assert_int_equal(days_in_month(2000, 12), 31);
}

static void a_due_date_says_which_kind_it_is(void **unused)
{
    (void)unused;
    local_t local = {0};
    char text[INSTANT_TEXT_CHARS + 1];
    assert_int_equal(due_parse(slice_str("2026-11-23"), &local), DUE_DATE);
    local_format_date(&local, text);
    assert_string_equal(text, "2026-11-23");
    assert_int_equal(due_parse(slice_str("2026-11-23T09:05"), &local), DUE_LOCAL);
    assert_int_equal(local_format(&local, text), 16);
    assert_string_equal(text, "2026-11-23T09:05");
    assert_int_equal(due_parse(slice_str("2026-11-23T09:05:07"), &local), DUE_LOCAL);
    assert_int_equal(local_format(&local, text), 19);
    assert_string_equal(text, "2026-11-23T09:05:07");
    assert_int_equal(due_parse(slice_str("2026-11-23T00:30:00.25+02:00"), &local), DUE_INSTANT);
    assert_int_equal(local.day, 22);
    assert_int_equal(local.hour, 22);
    assert_int_equal(local.us, 250000);
}

static void what_is_no_due_date_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "tomorrow",
        "2026-02-30",
        "2026-11-23T",
        "2026-11-23T09",
        "2026-11-23T9:00",
        "2026-11-23 09:00",
        "2026-11-23T09:00:",
        "2026-11-23T09:00:00.5",
        "2026-11-23T09:00Z",
        "2026-11-23T09:00[Europe/Zurich]",
        "20261123",
        "2026-11-23\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        local_t local = {0};
        if (due_parse(slice_str(wrong[i]), &local) != DUE_NONE)
            fail_msg("read as a due date: %s", wrong[i]);
    }
}

static void durations_are_read_in_seconds(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int64_t s;
    } right[] = {
        {"PT15M", 900},        {"-PT5M", -300},   {"+PT5M", 300},      {"P1W", 604800},
        {"P1DT12H", 129600},   {"P1W2D", 777600}, {"PT0S", 0},         {"P0D", 0},
        {"PT1H30S", 3630},     {"PT90M", 5400},   {"P366D", 31622400}, {"PT31622400S", 31622400},
        {"-P366D", -31622400},
    };
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        int64_t us = INSTANT_NONE;
        if (!duration_parse(slice_str(right[i].text), &us) || us != right[i].s * US_PER_S)
            fail_msg("%s", right[i].text);
    }
}

static void what_is_no_duration_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",       "P",          "PT",     "-P",    "P1",          "1D",
        "P1DT",   "PT1D",       "P1H",    "P1M",   "P1Y",         "PT1.5S",
        "P1D2W",  "PT1M1H",     "PT1M1M", "P1D1D", "P367D",       "PT31622401S",
        "P-1D",   "--P1D",      "P1D ",   "p1d",   "P366DT1S",    "PT99999999999999999999S",
        "P52W3D", "PT5M extra", "P1TT1H", "T5M",   "P000000001D",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t us = 5;
        if (duration_parse(slice_str(wrong[i]), &us) || us != 5)
            fail_msg("read as a duration: %s", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instant_is_read_in_any_offset),
        cmocka_unit_test(what_is_no_instant_is_refused),
        cmocka_unit_test(an_instant_is_written_with_the_shortest_fraction),
        cmocka_unit_test(random_instants_read_back_as_written),
        cmocka_unit_test(every_day_of_ten_thousand_years_converts_and_comes_back),
        cmocka_unit_test(the_calendar_agrees_with_libc),
        cmocka_unit_test(a_month_has_its_days_in_leap_years_too),
        cmocka_unit_test(a_due_date_says_which_kind_it_is),
        cmocka_unit_test(what_is_no_due_date_is_refused),
        cmocka_unit_test(durations_are_read_in_seconds),
        cmocka_unit_test(what_is_no_duration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
