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
        {"MONTHLY", "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD"},
        {"yearly", "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=BACKWARD"},
        {"Weekdays", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"},
        {"FREQ=MONTHLY", "FREQ=MONTHLY"},
        {"skip=backward;freq=monthly;rscale=gregorian;bymonthday=31",
         "RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=31;SKIP=BACKWARD"},
        {"RSCALE=GREGORIAN;FREQ=DAILY", "FREQ=DAILY"},
        {"RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=OMIT", "FREQ=MONTHLY"},
        {"FREQ=WEEKLY;WKST=SU;BYDAY=SU,MO,su", "FREQ=WEEKLY;BYDAY=MO,SU;WKST=SU"},
        {"FREQ=WEEKLY;WKST=MO", "FREQ=WEEKLY"},
        {"FREQ=MONTHLY;BYDAY=+2TU,-1FR,2MO", "FREQ=MONTHLY;BYDAY=-1FR,2MO,2TU"},
        {"FREQ=MONTHLY;BYMONTHDAY=31,-1,1,+2,-2;BYMONTH=12,1,02",
         "FREQ=MONTHLY;BYMONTH=1,2,12;BYMONTHDAY=-2,-1,1,2,31"},
        {"FREQ=MONTHLY;BYSETPOS=2,-1,2;BYDAY=MO,TU", "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1,2"},
        {"FREQ=YEARLY;BYYEARDAY=-1,366,1", "FREQ=YEARLY;BYYEARDAY=-1,1,366"},
        {"FREQ=YEARLY;BYDAY=-53MO,53SU", "FREQ=YEARLY;BYDAY=-53MO,53SU"},
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
    {"FREQ=YEARLY;BYWEEKNO=1", "BYWEEKNO is not supported; use BYMONTH, BYYEARDAY, or BYDAY"},
    {"FREQ=DAILY;BYHOUR=9", "BYHOUR is not supported; the time of day is that of the due date"},
    {"FREQ=DAILY;BYMINUTE=9", "BYMINUTE is not supported"},
    {"FREQ=DAILY;BYSECOND=9", "BYSECOND is not supported"},
    {"FREQ=MONTHLY;BYMONTH=0", "BYMONTH must be numbers from 1 to 12"},
    {"FREQ=MONTHLY;BYMONTH=13", "BYMONTH must be"},
    {"FREQ=MONTHLY;BYMONTH=-1", "BYMONTH must be"},
    {"FREQ=MONTHLY;BYMONTH=1,", "BYMONTH must be"},
    {"FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY must be numbers from 1 to 31"},
    {"FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY must be"},
    {"FREQ=MONTHLY;BYMONTHDAY=-32", "BYMONTHDAY must be"},
    {"FREQ=MONTHLY;BYMONTHDAY=--1", "BYMONTHDAY must be"},
    {"FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY is nothing for FREQ=WEEKLY; use FREQ=DAILY"},
    {"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never matches"},
    {"FREQ=DAILY;BYMONTH=4,6;BYMONTHDAY=31", "never matches"},
    {"FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=-30,-31", "never matches"},
    {"FREQ=MONTHLY;BYYEARDAY=1", "BYYEARDAY needs FREQ=YEARLY"},
    {"FREQ=YEARLY;BYYEARDAY=367", "BYYEARDAY must be at most 16 numbers from 1 to 366"},
    {"FREQ=YEARLY;BYYEARDAY=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "BYYEARDAY must be"},
    {"FREQ=YEARLY;BYYEARDAY=1;BYMONTH=1", "use the one or the others"},
    {"FREQ=WEEKLY;BYDAY=XX", "BYDAY must be days (MO, TU"},
    {"FREQ=WEEKLY;BYDAY=M", "BYDAY must be"},
    {"FREQ=MONTHLY;BYDAY=0MO", "BYDAY must be"},
    {"FREQ=YEARLY;BYDAY=54MO", "BYDAY must be"},
    {"FREQ=MONTHLY;BYDAY=1 MO", "BYDAY must be"},
    {"FREQ=WEEKLY;BYDAY=1MO", "A number before a day (2MO) needs FREQ=MONTHLY or YEARLY"},
    {"FREQ=DAILY;BYDAY=-1MO", "A number before a day"},
    {"FREQ=MONTHLY;BYDAY=MO,-1TU", "with and without numbers"},
    {"FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=1", "leave the number out"},
    {"FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=1", "leave the number out"},
    {"FREQ=MONTHLY;BYDAY=6MO", "at most five of each day"},
    {"FREQ=YEARLY;BYMONTH=1;BYDAY=-6MO", "at most five of each day"},
    {"FREQ=WEEKLY;BYDAY=MO;BYSETPOS=1", "BYSETPOS needs FREQ=MONTHLY or YEARLY"},
    {"FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS needs BYDAY"},
    {"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "BYSETPOS must be"},
    {"FREQ=WEEKLY;WKST=1", "WKST must be one of"},
    {"RSCALE=CHINESE;FREQ=MONTHLY", "Another RSCALE than GREGORIAN is not supported"},
    {"FREQ=MONTHLY;SKIP=BACKWARD", "SKIP needs RSCALE=GREGORIAN"},
    {"RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD", "use SKIP=BACKWARD"},
    {"RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=NEVER", "SKIP must be"},
    {"RSCALE=GREGORIAN;FREQ=WEEKLY;SKIP=BACKWARD", "needs FREQ=MONTHLY or YEARLY"},
    {"RSCALE=GREGORIAN;FREQ=MONTHLY;BYDAY=MO;SKIP=BACKWARD", "leave it out"},
    {"RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=-1;SKIP=BACKWARD", "leave it out"},
    {"FREQ=DAILY;EXDATE=20260101", "EXDATE is no part of a recurrence rule; name those dates in"},
    {"FREQ=DAILY;RDATE=20260101", "RDATE is no part"},
    {"FREQ=DAILY;DTSTART=20260101", "DTSTART is no part of a recurrence rule; a rule starts at"},
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

/* --- dates --- */

static int64_t day_of(const char *text)
{
    local_t at = local_of(text);
    return days_from_date(at.year, at.month, at.day);
}

/* Up to `n` dates of the rule, the first at or after `from`, with blanks between them. */
static const char *dates_of(const char *text, const char *from, int n, arena_t *arena)
{
    rule_t rule = rule_of(text, arena);
    slice_t out = slice_str("");
    int64_t start = 0;
    if (rule_start(&rule, day_of(from), &start) != RULE_FOUND)
        return "never";
    int64_t day = start - 1;
    for (int i = 0; i < n && rule_after(&rule, start, day, &day) == RULE_FOUND; i++) {
        local_t at = {0};
        date_from_days(day, &at);
        out = arena_format(arena, "%s%s%04d-%02d-%02d", (const char *)out.data, i == 0 ? "" : " ",
                           at.year, at.month, at.day);
    }
    return (const char *)out.data;
}

static void dates_follow_the_calendar(void **state)
{
    static const char *const rows[][3] = {
        {"daily", "2026-12-31", "2026-12-31 2027-01-01"},
        {"daily", "2028-02-28", "2028-02-28 2028-02-29 2028-03-01"},
        {"FREQ=DAILY;INTERVAL=999", "2026-11-23", "2026-11-23 2029-08-18"},
        {"weekly", "2026-12-28", "2026-12-28 2027-01-04"},
        {"weekdays", "2026-11-27", "2026-11-27 2026-11-30 2026-12-01"},
        {"weekdays", "2026-11-28", "2026-11-30 2026-12-01"},
        {"monthly", "2026-12-31", "2026-12-31 2027-01-31 2027-02-28 2027-03-31 2027-04-30"},
        {"monthly", "2028-01-30", "2028-01-30 2028-02-29 2028-03-30"},
        {"yearly", "2028-02-29", "2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29"},
        {"FREQ=MONTHLY", "2026-01-31", "2026-01-31 2026-03-31 2026-05-31 2026-07-31"},
        {"FREQ=MONTHLY;INTERVAL=3", "2026-08-31", "2026-08-31 2027-05-31"},
        {"FREQ=YEARLY", "2096-02-29", "2096-02-29 2104-02-29"},
        {"FREQ=YEARLY;INTERVAL=100", "2000-02-29", "2000-02-29 2400-02-29"},
        {"FREQ=YEARLY;INTERVAL=999", "2026-11-23", "2026-11-23 3025-11-23"},
        {"FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", "2026-01-31 2026-02-28 2026-03-31"},
        {"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1", "2026-11-23", "2026-11-30 2026-12-28"},
        {"FREQ=YEARLY;BYYEARDAY=-1", "2026-01-01", "2026-12-31 2027-12-31"},
        {"FREQ=YEARLY;BYYEARDAY=366", "2026-01-01", "2028-12-31 2032-12-31"},
        {"FREQ=YEARLY;BYDAY=53MO", "2026-01-01", "2029-12-31 2035-12-31"},
        {"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2026-01-01", "2044-02-29 2072-02-29"},
        /* Before the due date the rule is not in force; INTERVAL counts from its first day. */
        {"FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "2026-11-27", "2026-11-30 2026-12-14"},
        {"FREQ=MONTHLY;INTERVAL=12;BYMONTH=3", "2026-11-15", "2027-03-15 2028-03-15"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int n = 1;
        for (const char *c = rows[i][2]; *c != '\0'; c++)
            n += *c == ' ';
        const char *dates = dates_of(rows[i][0], rows[i][1], n, *state);
        if (strcmp(dates, rows[i][2]) != 0)
            fail_msg("%s from %s: %s", rows[i][0], rows[i][1], dates);
    }
}

/* Source: RFC 5545 §3.8.5.3, those that are in the subset, with their dates as they stand there. */
static void the_examples_of_the_rfc_give_the_dates_that_it_names(void **state)
{
    static const struct {
        const char *rule;
        const char *start;
        const char *dates;
    } rows[] = {
        {"FREQ=DAILY;INTERVAL=2", "1997-09-02", "1997-09-02 1997-09-04 1997-09-06 1997-09-08"},
        {"FREQ=DAILY;INTERVAL=10", "1997-09-02", "1997-09-02 1997-09-12 1997-09-22 1997-10-02"},
        {"FREQ=YEARLY;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "1998-01-30",
         "1998-01-30 1998-01-31 1999-01-01 1999-01-02"},
        {"FREQ=DAILY;BYMONTH=1", "1998-01-30", "1998-01-30 1998-01-31 1999-01-01 1999-01-02"},
        {"FREQ=WEEKLY;INTERVAL=2;WKST=SU", "1997-09-02",
         "1997-09-02 1997-09-16 1997-09-30 1997-10-14 1997-10-28"},
        {"FREQ=WEEKLY;WKST=SU;BYDAY=TU,TH", "1997-09-02",
         "1997-09-02 1997-09-04 1997-09-09 1997-09-11 1997-09-16"},
        {"FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=MO,WE,FR", "1997-09-01",
         "1997-09-01 1997-09-03 1997-09-05 1997-09-15 1997-09-17 1997-09-19 1997-09-29"},
        {"FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH", "1997-09-02",
         "1997-09-02 1997-09-04 1997-09-16 1997-09-18 1997-09-30 1997-10-02 1997-10-14"},
        {"FREQ=MONTHLY;BYDAY=1FR", "1997-09-05", "1997-09-05 1997-10-03 1997-11-07 1997-12-05"},
        {"FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU", "1997-09-07",
         "1997-09-07 1997-09-28 1997-11-02 1997-11-30 1998-01-04 1998-01-25 1998-03-01 1998-03-29"},
        {"FREQ=MONTHLY;BYDAY=-2MO", "1997-09-22",
         "1997-09-22 1997-10-20 1997-11-17 1997-12-22 1998-01-19 1998-02-16"},
        {"FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28",
         "1997-09-28 1997-10-29 1997-11-28 1997-12-29 1998-01-29 1998-02-26"},
        {"FREQ=MONTHLY;BYMONTHDAY=2,15", "1997-09-02",
         "1997-09-02 1997-09-15 1997-10-02 1997-10-15 1997-11-02"},
        {"FREQ=MONTHLY;BYMONTHDAY=1,-1", "1997-09-30",
         "1997-09-30 1997-10-01 1997-10-31 1997-11-01 1997-11-30 1997-12-01 1997-12-31 1998-01-01"},
        {"FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10,11,12,13,14,15", "1997-09-10",
         "1997-09-10 1997-09-11 1997-09-12 1997-09-13 1997-09-14 1997-09-15 1999-03-10 1999-03-11"},
        {"FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "1997-09-02",
         "1997-09-02 1997-09-09 1997-09-16 1997-09-23 1997-09-30 1997-11-04 1997-11-11"},
        {"FREQ=YEARLY;BYMONTH=6,7", "1997-06-10",
         "1997-06-10 1997-07-10 1998-06-10 1998-07-10 1999-06-10"},
        {"FREQ=YEARLY;INTERVAL=2;BYMONTH=1,2,3", "1997-03-10",
         "1997-03-10 1999-01-10 1999-02-10 1999-03-10 2001-01-10"},
        {"FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", "1997-01-01",
         "1997-01-01 1997-04-10 1997-07-19 2000-01-01 2000-04-09 2000-07-18 2003-01-01"},
        {"FREQ=YEARLY;BYDAY=20MO", "1997-05-19", "1997-05-19 1998-05-18 1999-05-17"},
        {"FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13",
         "1997-03-13 1997-03-20 1997-03-27 1998-03-05 1998-03-12 1998-03-19 1998-03-26 1999-03-04"},
        {"FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "1997-06-05",
         "1997-06-05 1997-06-12 1997-06-19 1997-06-26 1997-07-03"},
        {"FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998-02-13",
         "1998-02-13 1998-03-13 1998-11-13 1999-08-13 2000-10-13"},
        {"FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997-09-13",
         "1997-09-13 1997-10-11 1997-11-08 1997-12-13 1998-01-10"},
        {"FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05",
         "1996-11-05 2000-11-07 2004-11-02"},
        {"FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04",
         "1997-09-04 1997-10-07 1997-11-06"},
        {"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29",
         "1997-09-29 1997-10-30 1997-11-27 1997-12-30 1998-01-29 1998-02-26"},
        {"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05",
         "1997-08-05 1997-08-10 1997-08-19 1997-08-24"},
        {"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05",
         "1997-08-05 1997-08-17 1997-08-19 1997-08-31"},
        {"FREQ=MONTHLY;BYMONTHDAY=15,30", "2007-01-15",
         "2007-01-15 2007-01-30 2007-02-15 2007-03-15 2007-03-30"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int n = 1;
        for (const char *c = rows[i].dates; *c != '\0'; c++)
            n += *c == ' ';
        const char *dates = dates_of(rows[i].rule, rows[i].start, n, *state);
        if (strcmp(dates, rows[i].dates) != 0)
            fail_msg("%s from %s: %s", rows[i].rule, rows[i].start, dates);
    }
}

static void nothing_comes_after_the_year_9999(void **state)
{
    static const char *const rows[][2] = {
        {"daily", "9999-12-31"},    {"weekly", "9999-12-25"},
        {"monthly", "9999-12-01"},  {"yearly", "9999-01-01"},
        {"yearly", "9996-02-29"},   {"FREQ=YEARLY;INTERVAL=999", "9500-01-01"},
        {"weekdays", "9999-12-31"}, {"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1", "9999-12-27"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rule_t rule = rule_of(rows[i][0], *state);
        int64_t start = day_of(rows[i][1]);
        int64_t day = 7;
        if (i == 4)
            start += 3 * 365; /* 28 February 9999 */
        assert_int_equal(rule_after(&rule, start, start, &day), RULE_OVER);
        assert_int_equal(day, 7);
    }
    assert_string_equal(dates_of("daily", "9999-12-30", 5, *state), "9999-12-30 9999-12-31");
}

static void a_rule_that_hardly_ever_matches_ends_the_search(void **state)
{
    static const char *const rows[][2] = {
        {"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6", "2026-01-01"},
        {"FREQ=YEARLY;BYDAY=MO;BYSETPOS=54", "2026-01-01"},
        {"FREQ=YEARLY;BYMONTH=2", "2026-01-31"},
        {"FREQ=MONTHLY;BYMONTHDAY=1;BYDAY=MO;BYSETPOS=2", "2026-01-01"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rule_t rule = rule_of(rows[i][0], *state);
        int64_t day = 0;
        assert_int_not_equal(rule_start(&rule, day_of(rows[i][1]), &day), RULE_FOUND);
    }
}

/* --- random rules, said another way --- */

static int random_up_to(int n)
{
    return (int)(random() % n) + 1;
}

static rule_t random_rule(void)
{
    rule_t rule = {.freq = (rule_freq_t)(random() % 4), .interval = random_up_to(4)};
    rule.week_start = random_up_to(7) - 1;
    if (random() % 3 == 0)
        rule.months = (uint32_t)(random() & 0x1ffe);
    if (random() % 2 == 0)
        rule.weekdays = (uint32_t)(random() & 0x7f);
    if (rule.freq != RULE_WEEKLY && random() % 2 == 0)
        rule.month_days = (uint32_t)(random() & 0x7ffffffe);
    return rule;
}

/* Whether the rule has an occurrence on a day, without the arithmetic under test: by counting. */
static bool falls_on(const rule_t *rule, int64_t start_day, int64_t day)
{
    local_t start = {0};
    local_t at = {0};
    date_from_days(start_day, &start);
    date_from_days(day, &at);
    int64_t n_weeks = 0;
    for (int64_t i = start_day; i < day; i++)
        n_weeks += (i + 1 + 3) % 7 == rule->week_start;
    int64_t n_months = (at.year - start.year) * 12 + at.month - start.month;
    const int64_t n_periods[] = {day - start_day, n_weeks, n_months, at.year - start.year};
    bool is_open = rule->weekdays == 0 && rule->month_days == 0 && rule->freq != RULE_DAILY;
    uint32_t weekdays = rule->weekdays;
    uint32_t month_days = rule->month_days;
    uint32_t months = rule->months;
    if (is_open && rule->freq == RULE_WEEKLY)
        weekdays = UINT32_C(1) << (start_day + 3) % 7;
    else if (is_open)
        month_days = UINT32_C(1) << start.day;
    if (is_open && rule->freq == RULE_YEARLY && months == 0)
        months = UINT32_C(1) << start.month;
    return n_periods[rule->freq] % rule->interval == 0 &&
           (months == 0 || (months >> at.month & 1) != 0) &&
           (month_days == 0 || (month_days >> at.day & 1) != 0) &&
           (weekdays == 0 || (weekdays >> (day + 3) % 7 & 1) != 0);
}

static void the_next_date_is_the_first_day_that_fits(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 1000; i++) {
        rule_t rule = random_rule();
        int64_t start = days_from_date(1999, 1, 1) + random() % 20000;
        int64_t after = start + random() % 400;
        int64_t walked = after + 1;
        int64_t found = 0;
        while (walked < after + 3000 && !falls_on(&rule, start, walked))
            walked++;
        rule_search_t search = rule_after(&rule, start, after, &found);
        if (walked < after + 3000) {
            assert_int_equal(search, RULE_FOUND);
            assert_int_equal(found, walked);
        } else if (search == RULE_FOUND) {
            assert_true(found >= walked);
        }
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
        cmocka_unit_test_setup_teardown(dates_follow_the_calendar, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_examples_of_the_rfc_give_the_dates_that_it_names,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_comes_after_the_year_9999, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rule_that_hardly_ever_matches_ends_the_search, set_up,
                                        tear_down),
        cmocka_unit_test(the_next_date_is_the_first_day_that_fits),
        cmocka_unit_test_setup_teardown(count_bounds_the_number_of_occurrences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(until_is_the_last_date_or_time_that_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(until_in_utc_is_compared_with_the_instant, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
