/* SPDX-License-Identifier: Apache-2.0 */
/* Due dates in zones: the instant of each kind, over clock changes and at the ends of time, and the
 * end of a rule. */
#include "core_test.h"
#include "schema/due.h"

#define ZURICH slice_str("Europe/Zurich")

static due_t resolved(core_t *core, const char *text, const char *zone)
{
    due_t due;
    assert_true(due_resolve(slice_str(text), slice_str(zone), core->arena, &due));
    return due;
}

static void a_date_lasts_until_its_day_ends_in_the_zone(void **state)
{
    due_t due = resolved(*state, "2026-11-23", "Europe/Zurich");
    assert_int_equal(due.kind, DUE_DATE);
    ASSERT_TEXT(due.text, "2026-11-23");
    assert_int_equal(due.at_us, instant_at("2026-11-23T22:59:59.999999Z"));
    due = resolved(*state, "2026-03-29", "Europe/Zurich");
    assert_int_equal(due.at_us, instant_at("2026-03-29T21:59:59.999999Z"));
}

static void a_local_time_is_an_instant_in_the_zone(void **state)
{
    due_t due = resolved(*state, "2026-07-01T09:00", "Europe/Zurich");
    assert_int_equal(due.kind, DUE_LOCAL);
    assert_int_equal(due.at_us, instant_at("2026-07-01T07:00:00Z"));
    due = resolved(*state, "2026-03-29T02:30", "Europe/Zurich");
    assert_int_equal(due.at_us, instant_at("2026-03-29T01:30:00Z"));
    due = resolved(*state, "2026-10-25T02:30", "Europe/Zurich");
    assert_int_equal(due.at_us, instant_at("2026-10-25T00:30:00Z"));
}

static void an_instant_is_written_in_utc_and_read_on_local_clocks(void **state)
{
    due_t due = resolved(*state, "2026-11-23T00:30:00+02:00", "Asia/Tokyo");
    assert_int_equal(due.kind, DUE_INSTANT);
    ASSERT_TEXT(due.text, "2026-11-22T22:30:00Z");
    assert_int_equal(due.at_us, instant_at("2026-11-22T22:30:00Z"));
    assert_int_equal(due.local.day, 23);
    assert_int_equal(due.local.hour, 7);
}

static void the_ends_of_time_stay_within_what_text_can_say(void **state)
{
    static const char *const ends[] = {"0001-01-01", "0001-01-01T00:00", "9999-12-31",
                                       "9999-12-31T23:59:59"};
    static const char *const zones[] = {"Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        for (size_t j = 0; j < sizeof zones / sizeof zones[0]; j++) {
            due_t due = resolved(*state, ends[i], zones[j]);
            assert_in_range(due.at_us - INSTANT_MIN, 0, INSTANT_MAX - INSTANT_MIN);
        }
    }
}

static void what_is_no_due_date_is_refused(void **state)
{
    core_t *core = *state;
    static const char *const wrong[] = {"", "2026", "2026-13-01", "tomorrow", "2026-11-23 09:00"};
    due_t due;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(due_resolve(slice_str(wrong[i]), ZURICH, core->arena, &due));
    assert_false(due_resolve(slice_none(), ZURICH, core->arena, &due));
}

static void a_rule_has_room_until_its_end(void **state)
{
    core_t *core = *state;
    due_t due = resolved(core, "2026-11-23T09:00", "Europe/Zurich");
    static const struct {
        const char *rule;
        int64_t occurrence;
        bool is_in;
    } cases[] = {
        {"FREQ=DAILY", 1000000, true},
        {"FREQ=DAILY;COUNT=3", 3, true},
        {"FREQ=DAILY;COUNT=3", 4, false},
        {"FREQ=DAILY;UNTIL=20261123", 1, true},
        {"FREQ=DAILY;UNTIL=20261122", 1, false},
        {"FREQ=DAILY;UNTIL=20261123T090000", 1, true},
        {"FREQ=DAILY;UNTIL=20261123T085959", 1, false},
        {"FREQ=DAILY;UNTIL=20261123T080000Z", 1, true},
        {"FREQ=DAILY;UNTIL=20261123T075959Z", 1, false},
        {"FREQ=NEVER", 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            due_is_in_rule(&due, slice_str(cases[i].rule), cases[i].occurrence, core->arena),
            cases[i].is_in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_date_lasts_until_its_day_ends_in_the_zone),
        TEST(a_local_time_is_an_instant_in_the_zone),
        TEST(an_instant_is_written_in_utc_and_read_on_local_clocks),
        TEST(the_ends_of_time_stay_within_what_text_can_say),
        TEST(what_is_no_due_date_is_refused),
        TEST(a_rule_has_room_until_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
