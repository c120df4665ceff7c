/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrence rules: what is read and how it is stored, what is refused and with which words, and
 * the dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "schema/limits.h"
#include "schema/rule.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static int set_up(void **arena_p)
{
    *arena_p = arena_new();
    return 0;
}

static int tear_down(void **arena_p)
{
    arena_t *arena = *arena_p;
    arena_destroy(&arena);
    return 0;
}

static rule_t rule_of(const char *text, arena_t *arena)
{
    rule_t rule = {0};
    slice_t why = slice_none();
    if (!rule_parse(slice_str(text), &rule, arena, &why))
        fail_msg("%s: %.*s", text, (int)why.n_bytes, (const char *)why.data);
    return rule;
}

static local_t local_of(const char *text)
{
    local_t local = {0};
    assert_int_not_equal(due_parse(slice_str(text), &local), DUE_NONE);
    return local;
}

static void a_rule_is_stored_in_one_form(void **state)
{
    static const char *const rows[][2] = {
        {"daily", "FREQ=DAILY"},
        {"Weekly", "FREQ=WEEKLY"},
        {"MONTHLY", "FREQ=MONTHLY"},
        {"yearly", "FREQ=YEARLY"},
        {"FREQ=DAILY", "FREQ=DAILY"},
        {"freq=weekly;interval=2", "FREQ=WEEKLY;INTERVAL=2"},
        {"FREQ=DAILY;INTERVAL=1", "FREQ=DAILY"},
        {"INTERVAL=03;FREQ=YEARLY", "FREQ=YEARLY;INTERVAL=3"},
        {"COUNT=10;FREQ=DAILY;INTERVAL=999", "FREQ=DAILY;INTERVAL=999;COUNT=10"},
        {"FREQ=DAILY;COUNT=1000", "FREQ=DAILY;COUNT=1000"},
        {"FREQ=DAILY;UNTIL=20261231", "FREQ=DAILY;UNTIL=20261231"},
        {"UNTIL=20261231t235959;FREQ=DAILY", "FREQ=DAILY;UNTIL=20261231T235959"},
        {"FREQ=DAILY;UNTIL=20280229T000000z", "FREQ=DAILY;UNTIL=20280229T000000Z"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rule_t rule = rule_of(rows[i][0], *state);
        slice_t text = rule_format(&rule, *state);
        if (!slice_is(text, rows[i][1]))
            fail_msg("%s: %.*s", rows[i][0], (int)text.n_bytes, (const char *)text.data);
        rule_t again = rule_of(rows[i][1], *state);
        assert_true(slice_eq(rule_format(&again, *state), text));
    }
}

/* The rule, and a piece of the sentence that must name the trouble. */
static const char *const refused[][2] = {
    {"", "The rule is empty"},
    {"weekdays", "BYDAY"},
    {"Weekdays", "not supported yet"},
    {"hourly", "A rule is made of parts"},
    {"RRULE:FREQ=DAILY", "Leave out RRULE:"},
    {"rrule:FREQ=DAILY", "Leave out RRULE:"},
    {"FREQ=HOURLY", "FREQ=HOURLY is not supported; DAILY, WEEKLY, MONTHLY and YEARLY are."},
    {"FREQ=secondly", "FREQ=SECONDLY is not supported"},
    {"FREQ=\xff", "FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY"},
    {"FREQ=DAILY WEEKLY", "FREQ must be"},
    {"FREQ=", "FREQ has no value"},
    {"FREQ", "A rule is made of parts"},
    {"=DAILY", "A rule is made of parts"},
    {"FREQ=DAILY;", "empty part"},
    {";FREQ=DAILY", "empty part"},
    {"FREQ=DAILY;;COUNT=2", "empty part"},
    {"FREQ=DAILY;FREQ=DAILY", "FREQ is there more than once"},
    {"FREQ=DAILY;COUNT=2;count=2", "COUNT is there more than once"},
    {"INTERVAL=2", "FREQ is missing"},
    {"FREQ=DAILY;COUNT=2;UNTIL=20261231", "COUNT and UNTIL exclude each other"},
    {"FREQ=DAILY;INTERVAL=0", "INTERVAL must be a whole number from 1 to 999"},
    {"FREQ=DAILY;INTERVAL=1000", "INTERVAL must be"},
    {"FREQ=DAILY;INTERVAL=-1", "INTERVAL must be"},
    {"FREQ=DAILY;INTERVAL=+1", "INTERVAL must be"},
    {"FREQ=DAILY;INTERVAL=1.5", "INTERVAL must be"},
    {"FREQ=DAILY;INTERVAL=99999999999999999999999", "INTERVAL must be"},
    {"FREQ=DAILY;COUNT=0", "COUNT must be a whole number from 1 to 1000"},
    {"FREQ=DAILY;COUNT=1001", "COUNT must be"},
    {"FREQ=DAILY;COUNT= 2", "COUNT must be"},
    {"FREQ=DAILY;COUNT=", "COUNT has no value"},
    {"FREQ=DAILY;UNTIL=", "UNTIL has no value"},
    {"FREQ=DAILY;UNTIL=2026-12-31", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20260229", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261301", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T2359", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T235960Z", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T240000", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T235959ZZ", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231T235959+01", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=20261231Z", "UNTIL must be"},
    {"FREQ=DAILY;UNTIL=00000101", "UNTIL must be"},
    {"FREQ=WEEKLY;BYDAY=MO", "BYDAY is not supported yet; FREQ (DAILY, WEEKLY, MONTHLY"},
    {"FREQ=MONTHLY;byday=1MO", "BYDAY is not supported yet"},
    {"FREQ=MONTHLY;BYMONTHDAY=1", "BYMONTHDAY is not supported yet"},
    {"FREQ=YEARLY;BYMONTH=1", "BYMONTH is not supported yet"},
    {"FREQ=YEARLY;BYYEARDAY=1", "BYYEARDAY is not supported yet"},
    {"FREQ=YEARLY;BYWEEKNO=1", "BYWEEKNO is not supported yet"},
    {"FREQ=MONTHLY;BYSETPOS=-1", "BYSETPOS is not supported yet"},
    {"FREQ=DAILY;BYHOUR=9", "BYHOUR is not supported yet"},
    {"FREQ=DAILY;BYMINUTE=9", "BYMINUTE is not supported yet"},
    {"FREQ=DAILY;BYSECOND=9", "BYSECOND is not supported yet"},
    {"FREQ=WEEKLY;WKST=SU", "WKST is not supported yet"},
    {"FREQ=WEEKLY;SKIP=FORWARD", "SKIP is not supported yet"},
    {"FREQ=DAILY;DTSTART=20260101", "DTSTART is no part of a recurrence rule"},
    {"FREQ=DAILY;x-mine=1", "X-MINE is no part of a recurrence rule"},
    {"FREQ=DAILY;\"<script>=1", "A rule is made of parts"},
    {" FREQ=DAILY", "A rule is made of parts"},
    {"FREQ=DAILY\n", "FREQ must be"},
    {"every other tuesday", "A rule is made of parts"},
};

static void what_is_not_promised_is_refused_by_name(void **state)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        rule_t rule = {.interval = 77};
        slice_t why = slice_none();
        if (rule_parse(slice_str(refused[i][0]), &rule, *state, &why))
            fail_msg("accepted: %s", refused[i][0]);
        if (memmem(why.data, why.n_bytes, refused[i][1], strlen(refused[i][1])) == NULL)
            fail_msg("%s: %.*s", refused[i][0], (int)why.n_bytes, (const char *)why.data);
        assert_int_equal(rule.interval, 77);
        assert_int_equal(why.data[why.n_bytes - 1], '.');
    }
}

static void a_rule_that_is_too_long_or_has_nul_is_refused(void **state)
{
    rule_t rule;
    slice_t why = slice_none();
    char text[LIMIT_RULE_BYTES + 1];
    memset(text, '0', sizeof text);
    memcpy(text, "FREQ=DAILY;COUNT=", 17);
    text[LIMIT_RULE_BYTES - 1] = '7';
    assert_true(rule_parse(slice_of(text, LIMIT_RULE_BYTES), &rule, *state, &why));
    assert_int_equal(rule.count, 7);
    assert_false(rule_parse(slice_of(text, sizeof text), &rule, *state, &why));
    assert_true(slice_is(why, "The rule is too long."));
    assert_false(rule_parse(slice_none(), &rule, *state, &why));
    assert_false(rule_parse(slice_of("DAILY\0", 6), &rule, *state, &why));
    assert_false(rule_parse(slice_of("FREQ=DAILY\0", 11), &rule, *state, &why));
}

static void the_next_date_follows_the_calendar(void **state)
{
    static const char *const rows[][3] = {
        {"daily", "2026-11-23T09:00", "2026-11-24T09:00"},
        {"daily", "2026-12-31T23:59:58", "2027-01-01T23:59:58"},
        {"daily", "2028-02-28T00:00", "2028-02-29T00:00"},
        {"FREQ=DAILY;INTERVAL=999", "2026-11-23T09:00", "2029-08-18T09:00"},
        {"weekly", "2026-11-23T09:00", "2026-11-30T09:00"},
        {"FREQ=WEEKLY;INTERVAL=2", "2026-12-28T09:00", "2027-01-11T09:00"},
        {"monthly", "2026-11-23T09:00", "2026-12-23T09:00"},
        {"monthly", "2026-12-23T09:00", "2027-01-23T09:00"},
        {"monthly", "2026-01-31T09:00", "2026-03-31T09:00"},
        {"monthly", "2026-01-30T09:00", "2026-03-30T09:00"},
        {"monthly", "2028-01-29T09:00", "2028-02-29T09:00"},
        {"FREQ=MONTHLY;INTERVAL=3", "2026-08-31T09:00", "2027-05-31T09:00"},
        {"FREQ=MONTHLY;INTERVAL=18", "2026-11-23T09:00", "2028-05-23T09:00"},
        {"yearly", "2026-11-23T09:00", "2027-11-23T09:00"},
        {"yearly", "2028-02-29T09:00", "2032-02-29T09:00"},
        {"yearly", "2096-02-29T09:00", "2104-02-29T09:00"},
        {"FREQ=YEARLY;INTERVAL=100", "2000-02-29T09:00", "2400-02-29T09:00"},
        {"FREQ=YEARLY;INTERVAL=999", "2026-11-23T09:00", "3025-11-23T09:00"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rule_t rule = rule_of(rows[i][0], *state);
        local_t from = local_of(rows[i][1]);
        local_t next = {0};
        char text[INSTANT_TEXT_CHARS + 1];
        assert_true(rule_next(&rule, &from, &next));
        local_format(&next, text);
        if (strcmp(text, rows[i][2]) != 0)
            fail_msg("%s from %s: %s", rows[i][0], rows[i][1], text);
    }
}

static void nothing_comes_after_the_year_9999(void **state)
{
    static const char *const rows[][2] = {
        {"daily", "9999-12-31T09:00"},   {"weekly", "9999-12-25T09:00"},
        {"monthly", "9999-12-01T09:00"}, {"yearly", "9999-01-01T09:00"},
        {"yearly", "9996-02-29T09:00"},  {"FREQ=YEARLY;INTERVAL=999", "9500-01-01T09:00"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rule_t rule = rule_of(rows[i][0], *state);
        local_t from = local_of(rows[i][1]);
        local_t next = {.year = 7};
        assert_false(rule_next(&rule, &from, &next));
        assert_int_equal(next.year, 7);
    }
    rule_t rule = rule_of("daily", *state);
    local_t from = local_of("9999-12-30T09:00");
    local_t next = {0};
    assert_true(rule_next(&rule, &from, &next));
    assert_int_equal(next.day, 31);
}

/* Whether the rule has an occurrence on a day, said without the arithmetic under test: by counting
 * the days or the months between. */
static bool falls_on(const rule_t *rule, const local_t *start, const local_t *day)
{
    int64_t n_days = days_from_date(day->year, day->month, day->day) -
                     days_from_date(start->year, start->month, start->day);
    int64_t n_months = (day->year - start->year) * INT64_C(12) + day->month - start->month;
    switch (rule->freq) {
    case RULE_DAILY:
        return n_days % rule->interval == 0;
    case RULE_WEEKLY:
        return n_days % (rule->interval * INT64_C(7)) == 0;
    case RULE_MONTHLY:
        return day->day == start->day && n_months % rule->interval == 0;
    case RULE_YEARLY:
        return day->day == start->day && n_months % (rule->interval * INT64_C(12)) == 0;
    }
    return false;
}

static void the_next_date_is_the_first_day_that_fits(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 2000; i++) {
        rule_t rule = {.freq = (rule_freq_t)(random() % 4), .interval = 1 + (int)(random() % 5)};
        local_t start = {.hour = (int8_t)(random() % 24), .us = (int32_t)(random() % US_PER_S)};
        int64_t day = days_from_date(1999, 1, 1) + random() % 20000;
        date_from_days(day, &start);
        local_t next = {0};
        assert_true(rule_next(&rule, &start, &next));
        local_t walked = start;
        do
            date_from_days(++day, &walked);
        while (!falls_on(&rule, &start, &walked));
        assert_int_equal(local_as_utc_us(&next), local_as_utc_us(&walked));
        assert_int_equal(next.hour, start.hour);
        assert_int_equal(next.us, start.us);
    }
}

static void count_bounds_the_number_of_occurrences(void **state)
{
    rule_t rule = rule_of("FREQ=DAILY;COUNT=3", *state);
    local_t at = local_of("2026-11-23T09:00");
    assert_true(rule_allows(&rule, 1, &at, 0));
    assert_true(rule_allows(&rule, 3, &at, 0));
    assert_false(rule_allows(&rule, 4, &at, 0));
    rule_t endless = rule_of("daily", *state);
    assert_true(rule_allows(&endless, 1000000, &at, INT64_MAX));
}

static bool allows_local(const char *rule_text, const char *at_text, arena_t *arena)
{
    rule_t rule = rule_of(rule_text, arena);
    local_t at = local_of(at_text);
    return rule_allows(&rule, 1, &at, INT64_MAX);
}

static void until_is_the_last_date_or_time_that_counts(void **state)
{
    const char *date = "FREQ=DAILY;UNTIL=20261231";
    assert_true(allows_local(date, "2026-12-31T00:00", *state));
    assert_true(allows_local(date, "2026-12-31T23:59:59", *state));
    assert_true(allows_local(date, "2026-12-31", *state));
    assert_false(allows_local(date, "2027-01-01T00:00", *state));
    const char *local = "FREQ=DAILY;UNTIL=20261231T090000";
    assert_true(allows_local(local, "2026-12-31T09:00", *state));
    assert_false(allows_local(local, "2026-12-31T09:00:01", *state));
    assert_false(allows_local("FREQ=DAILY;UNTIL=20261231T090000Z", "2026-12-31T09:00", *state));
}

static void until_in_utc_is_compared_with_the_instant(void **state)
{
    rule_t rule = rule_of("FREQ=DAILY;UNTIL=20261231T090000Z", *state);
    local_t at = local_of("2027-01-01T00:00");
    int64_t until_us = 0;
    assert_true(instant_parse(slice_str("2026-12-31T09:00:00Z"), &until_us));
    assert_true(rule_allows(&rule, 1, &at, until_us));
    assert_false(rule_allows(&rule, 1, &at, until_us + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rule_is_stored_in_one_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_promised_is_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rule_that_is_too_long_or_has_nul_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_next_date_follows_the_calendar, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_comes_after_the_year_9999, set_up, tear_down),
        cmocka_unit_test(the_next_date_is_the_first_day_that_fits),
        cmocka_unit_test_setup_teardown(count_bounds_the_number_of_occurrences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(until_is_the_last_date_or_time_that_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(until_in_utc_is_compared_with_the_instant, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
