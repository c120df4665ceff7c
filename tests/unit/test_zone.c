/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: clock changes of every sort, with values computed by another implementation (Python's
 * zoneinfo), and names that must not be zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/log.h"
#include "schema/zone.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static local_t local_of(const char *text)
{
    local_t local = {0};
    assert_int_not_equal(due_parse(slice_str(text), &local), DUE_NONE);
    return local;
}

static void assert_instant(int64_t at_us, const char *expected, const char *zone)
{
    char text[INSTANT_TEXT_CHARS + 1];
    instant_format(at_us, text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s and not %s", zone, text, expected);
}

typedef struct {
    const char *zone;
    const char *local;
    const char *utc;
    zone_fit_t fit;
} to_utc_t;

static const to_utc_t to_utc[] = {
    {"Europe/Zurich", "2026-11-23T09:00:00", "2026-11-23T08:00:00Z", ZONE_PLAIN},
    {"Europe/Zurich", "2026-07-01T09:00:00", "2026-07-01T07:00:00Z", ZONE_PLAIN},
    {"Europe/Zurich", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z", ZONE_PLAIN},
    {"Europe/Zurich", "2026-03-29T02:00:00", "2026-03-29T01:00:00Z", ZONE_GAP},
    {"Europe/Zurich", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z", ZONE_GAP},
    {"Europe/Zurich", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z", ZONE_PLAIN},
    {"Europe/Zurich", "2026-10-25T01:59:59", "2026-10-24T23:59:59Z", ZONE_PLAIN},
    {"Europe/Zurich", "2026-10-25T02:00:00", "2026-10-25T00:00:00Z", ZONE_OVERLAP},
    {"Europe/Zurich", "2026-10-25T02:59:59", "2026-10-25T00:59:59Z", ZONE_OVERLAP},
    {"Europe/Zurich", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z", ZONE_PLAIN},
    {"America/New_York", "2026-03-08T02:30:00", "2026-03-08T07:30:00Z", ZONE_GAP},
    {"America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z", ZONE_OVERLAP},
    {"Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45:00Z", ZONE_OVERLAP},
    {"Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:45:00Z", ZONE_GAP},
    {"Australia/Lord_Howe", "2026-01-15T12:00:00", "2026-01-15T01:00:00Z", ZONE_PLAIN},
    {"Australia/Lord_Howe", "2026-06-15T12:00:00", "2026-06-15T01:30:00Z", ZONE_PLAIN},
    {"Pacific/Apia", "2011-12-29T23:59:59", "2011-12-30T09:59:59Z", ZONE_PLAIN},
    {"Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z", ZONE_GAP},
    {"Pacific/Apia", "2011-12-31T00:00:00", "2011-12-30T10:00:00Z", ZONE_PLAIN},
    {"Asia/Kathmandu", "2026-11-23T09:00:00", "2026-11-23T03:15:00Z", ZONE_PLAIN},
    {"Asia/Kathmandu", "1985-12-31T12:00:00", "1985-12-31T06:30:00Z", ZONE_PLAIN},
    {"Asia/Kathmandu", "1986-01-01T00:05:00", "1985-12-31T18:35:00Z", ZONE_GAP},
    {"Europe/Dublin", "2026-01-15T12:00:00", "2026-01-15T12:00:00Z", ZONE_PLAIN},
    {"Europe/Dublin", "2026-07-15T12:00:00", "2026-07-15T11:00:00Z", ZONE_PLAIN},
    {"Europe/Dublin", "2026-03-29T01:30:00", "2026-03-29T01:30:00Z", ZONE_GAP},
    {"Europe/Dublin", "2026-10-25T01:30:00", "2026-10-25T00:30:00Z", ZONE_OVERLAP},
    {"America/Sao_Paulo", "2018-11-04T00:30:00", "2018-11-04T03:30:00Z", ZONE_GAP},
    {"Asia/Kolkata", "2026-11-23T00:00:00", "2026-11-22T18:30:00Z", ZONE_PLAIN},
    {"America/St_Johns", "2026-06-01T12:00:00", "2026-06-01T14:30:00Z", ZONE_PLAIN},
    {"Etc/GMT-14", "2026-01-01T00:00:00", "2025-12-31T10:00:00Z", ZONE_PLAIN},
    {"UTC", "2026-11-23T09:00:00", "2026-11-23T09:00:00Z", ZONE_PLAIN},
    {"Europe/Zurich", "2099-07-01T09:00:00", "2099-07-01T07:00:00Z", ZONE_PLAIN},
};

static void a_local_time_becomes_its_first_instant_or_goes_by_the_offset_before(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COUNT_OF(to_utc); i++) {
        const to_utc_t *row = &to_utc[i];
        local_t local = local_of(row->local);
        zone_fit_t fit = ZONE_PLAIN;
        assert_instant(zone_to_utc(slice_str(row->zone), &local, &fit), row->utc, row->zone);
        assert_int_equal(fit, row->fit);
    }
}

static void a_fraction_of_a_second_is_kept(void **unused)
{
    (void)unused;
    slice_t zone = slice_str("Asia/Kathmandu");
    local_t local = local_of("1969-12-31T23:59:59");
    local.us = 123456;
    zone_fit_t fit = ZONE_PLAIN;
    int64_t at_us = zone_to_utc(zone, &local, &fit);
    assert_instant(at_us, "1969-12-31T18:29:59.123456Z", "Asia/Kathmandu");
    local_t back = {0};
    zone_to_local(zone, at_us, &back);
    assert_int_equal(back.us, 123456);
    assert_int_equal(back.second, 59);
}

static void an_instant_becomes_what_the_clock_shows(void **unused)
{
    (void)unused;
    static const char *const rows[][3] = {
        {"Europe/Zurich", "2026-03-29T00:59:59Z", "2026-03-29T01:59:59"},
        {"Europe/Zurich", "2026-03-29T01:00:00Z", "2026-03-29T03:00"},
        {"Europe/Zurich", "2026-10-25T00:30:00Z", "2026-10-25T02:30"},
        {"Europe/Zurich", "2026-10-25T01:30:00Z", "2026-10-25T02:30"},
        {"Asia/Kathmandu", "2026-11-23T08:00:00Z", "2026-11-23T13:45"},
        {"Australia/Lord_Howe", "2026-04-04T15:00:00Z", "2026-04-05T01:30"},
        {"Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T23:59:59"},
        {"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T00:00"},
        {"Europe/Dublin", "1969-06-01T12:00:00Z", "1969-06-01T13:00"},
        {"America/St_Johns", "1940-01-01T00:00:00Z", "1939-12-31T20:30"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t at_us = 0;
        local_t local = {0};
        char text[INSTANT_TEXT_CHARS + 1];
        assert_true(instant_parse(slice_str(rows[i][1]), &at_us));
        zone_to_local(slice_str(rows[i][0]), at_us, &local);
        local_format(&local, text);
        assert_string_equal(text, rows[i][2]);
    }
}

static void a_day_ends_when_its_date_is_last_shown(void **unused)
{
    (void)unused;
    static const char *const rows[][3] = {
        {"Europe/Zurich", "2026-11-23", "2026-11-23T22:59:59.999999Z"},
        {"Europe/Zurich", "2026-03-29", "2026-03-29T21:59:59.999999Z"},
        {"Europe/Zurich", "2026-10-25", "2026-10-25T22:59:59.999999Z"},
        {"Asia/Kathmandu", "2026-11-23", "2026-11-23T18:14:59.999999Z"},
        /* the clock goes on at midnight */
        {"America/Sao_Paulo", "2018-11-03", "2018-11-04T02:59:59.999999Z"},
        {"America/Havana", "2026-03-07", "2026-03-08T04:59:59.999999Z"},
        {"Asia/Beirut", "2026-03-28", "2026-03-28T21:59:59.999999Z"},
        /* … shortly before midnight, beyond it */
        {"America/Toronto", "1919-03-30", "1919-03-31T04:29:59.999999Z"},
        /* it goes back to midnight, from midnight, and from 00:01 to 23:01 */
        {"America/Havana", "2026-10-31", "2026-11-01T03:59:59.999999Z"},
        {"America/Sao_Paulo", "2019-02-16", "2019-02-17T02:59:59.999999Z"},
        {"America/Goose_Bay", "2010-11-06", "2010-11-07T03:59:59.999999Z"},
        {"America/Goose_Bay", "2010-11-07", "2010-11-08T03:59:59.999999Z"},
        /* a day that never was, and its neighbours */
        {"Pacific/Apia", "2011-12-29", "2011-12-30T09:59:59.999999Z"},
        {"Pacific/Apia", "2011-12-30", "2011-12-30T09:59:59.999999Z"},
        {"Pacific/Apia", "2011-12-31", "2011-12-31T09:59:59.999999Z"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        local_t date = local_of(rows[i][1]);
        assert_instant(zone_end_of_day(slice_str(rows[i][0]), &date), rows[i][2], rows[i][0]);
    }
}

static void the_ends_of_time_stay_what_text_can_say(void **unused)
{
    (void)unused;
    local_t first = local_of("0001-01-01T00:00");
    local_t last = local_of("9999-12-31T23:59:59");
    zone_fit_t fit = ZONE_PLAIN;
    assert_int_equal(zone_to_utc(slice_str("Asia/Tokyo"), &first, &fit), INSTANT_MIN);
    assert_int_equal(zone_to_utc(slice_str("Pacific/Honolulu"), &last, &fit), INSTANT_MAX);
    assert_int_equal(zone_end_of_day(slice_str("UTC"), &last), INSTANT_MAX);
    local_t local = {0};
    zone_to_local(slice_str("Asia/Tokyo"), INSTANT_MAX, &local);
    assert_int_equal(local.year, 9999);
    zone_to_local(slice_str("Pacific/Honolulu"), INSTANT_MIN, &local);
    assert_int_equal(local.year, 1);
    zone_to_local(slice_str("UTC"), INT64_MAX, &local);
    assert_int_equal(local.year, 9999);
}

static void zones_of_tzdata_are_known(void **unused)
{
    (void)unused;
    static const char *const names[] = {
        "UTC",
        "Europe/Zurich",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+12",
        "Etc/GMT-14",
        "America/Port-au-Prince",
        "America/New_York",
    };
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            if (!zone_is_known(slice_str(names[i])))
                fail_msg("not known: %s", names[i]);
        }
    }
}

static void other_names_are_not_known(void **unused)
{
    (void)unused;
    static const char *const names[] = {
        "",
        "Mars/Olympus",
        "europe/zurich",
        "Europe",
        "Europe/",
        "/Europe/Zurich",
        "/usr/share/zoneinfo/Europe/Zurich",
        "Europe//Zurich",
        "Europe/./Zurich",
        "../zoneinfo/Europe/Zurich",
        "Europe/../Asia/Tokyo",
        "Europe/Zurich ",
        " Europe/Zurich",
        "Europe/Zurich\n",
        "localtime",
        "libc:localtime",
        "libc:UTC",
        ":Europe/Zurich",
        "file:Europe/Zurich",
        "posixrules",
        "Factory",
        "posix/Europe/Zurich",
        "right/Europe/Zurich",
        "Fixed/UTC+01:00:00",
        "UTC+1",
        "+01:00",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "tzdata.zi",
        "zone.tab",
        "leapseconds",
        "Europe/Z\xc3\xbcrich",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (zone_is_known(slice_str(names[i])))
            fail_msg("known: %s", names[i]);
    }
    assert_false(zone_is_known(slice_none()));
    assert_false(zone_is_known(slice_of("UTC\0", 4)));
    assert_false(zone_is_known(slice_of("Europe/Zurich\0/x", 16)));
    char many[3000];
    memset(many, 'A', sizeof many);
    assert_false(zone_is_known(slice_of(many, sizeof many)));
}

static void an_unknown_zone_counts_as_utc(void **unused)
{
    (void)unused;
    local_t local = local_of("2026-11-23T09:00");
    zone_fit_t fit = ZONE_GAP;
    assert_instant(zone_to_utc(slice_str("Mars/Olympus"), &local, &fit), "2026-11-23T09:00:00Z",
                   "unknown");
    assert_int_equal(fit, ZONE_PLAIN);
}

static void bogus_names_leave_nothing_behind(void **unused)
{
    (void)unused;
    char name[32];
    size_t n_before = 0;
    for (int i = 0; i < 20000; i++) {
        if (i == 1000)
            n_before = mallinfo2().uordblks;
        snprintf(name, sizeof name, "Nowhere/Town_%d", i);
        assert_false(zone_is_known(slice_str(name)));
    }
    size_t n_after = mallinfo2().uordblks;
    assert_true(n_after < n_before + 16384);
}

static void *look_up_many(void *failed_p)
{
    bool *failed = failed_p;
    for (int i = 0; i < 2000; i++) {
        const to_utc_t *row = &to_utc[(size_t)i % COUNT_OF(to_utc)];
        local_t local = {0};
        zone_fit_t fit = ZONE_PLAIN;
        int64_t expected_us = 0;
        due_parse(slice_str(row->local), &local);
        instant_parse(slice_str(row->utc), &expected_us);
        if (zone_to_utc(slice_str(row->zone), &local, &fit) != expected_us || fit != row->fit)
            *failed = true;
    }
    return NULL;
}

static void threads_may_ask_at_once(void **unused)
{
    (void)unused;
    pthread_t threads[4];
    bool failed[4] = {false};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_many, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(failed[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_may_ask_at_once),
        cmocka_unit_test(a_local_time_becomes_its_first_instant_or_goes_by_the_offset_before),
        cmocka_unit_test(a_fraction_of_a_second_is_kept),
        cmocka_unit_test(an_instant_becomes_what_the_clock_shows),
        cmocka_unit_test(a_day_ends_when_its_date_is_last_shown),
        cmocka_unit_test(the_ends_of_time_stay_what_text_can_say),
        cmocka_unit_test(zones_of_tzdata_are_known),
        cmocka_unit_test(other_names_are_not_known),
        cmocka_unit_test(an_unknown_zone_counts_as_utc),
        cmocka_unit_test(bogus_names_leave_nothing_behind),
    };
    log_configure(LOG_WARN, false); /* its file says what the thread sanitizer is not to look at */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
