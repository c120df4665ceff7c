/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: the same bytes after any journey, and what differs between two of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "schema/json.h"
#include "schema/task.h"
#include "tests/unit/task_sample.h"

static void a_task_has_the_keys_of_its_json_in_order(void **unused)
{
    (void)unused;
    task_t task = full_task();
    buf_t json = {0};
    assert_true(json_from_mp(encoded(&task), &json));
    static const char expected[] =
        "{\"id\":\"01000000-0000-0000-0000-000000000000\","
        "\"list\":\"02000000-0000-0000-0000-000000000000\",\"rev\":17,"
        "\"title\":\"Water the plants\",\"notes\":\"all of them\",\"status\":\"open\","
        "\"priority\":\"medium\",\"tags\":[\"home\"],\"due\":\"2026-11-23T09:00\","
        "\"time_zone\":\"Europe/Zurich\",\"due_at\":\"2026-11-23T08:00:00Z\","
        "\"recurrence\":{\"rule\":\"FREQ=WEEKLY\",\"from\":\"due\",\"missed\":\"next\","
        "\"start\":\"2026-11-16T09:00\"},"
        "\"series\":\"03000000-0000-0000-0000-000000000000\",\"occurrence\":3,"
        "\"reminders\":[{\"id\":\"07000000-0000-0000-0000-000000000000\",\"before\":\"PT15M\","
        "\"for\":\"04000000-0000-0000-0000-000000000000\"},"
        "{\"id\":\"08000000-0000-0000-0000-000000000000\",\"at\":\"1970-01-01T00:00:05Z\","
        "\"for\":\"all\"}],"
        "\"assignee\":\"04000000-0000-0000-0000-000000000000\","
        "\"parent\":\"05000000-0000-0000-0000-000000000000\",\"position\":\"a0\","
        "\"created_at\":\"1970-01-01T00:00:00Z\","
        "\"created_by\":\"06000000-0000-0000-0000-000000000000\","
        "\"updated_at\":\"1970-01-01T00:00:00.000001Z\","
        "\"completed_at\":\"1970-01-01T00:00:00.000002Z\",\"closed_rev\":16,\"deleted_at\":null}";
    buf_append_byte(&json, '\0');
    assert_string_equal((const char *)json.data, expected);
    buf_fini(&json);
}

static void an_empty_task_still_has_every_key(void **unused)
{
    (void)unused;
    task_t task = decoded(mp_of("{\"id\":\"01000000-0000-0000-0000-000000000000\","
                                "\"list\":\"02000000-0000-0000-0000-000000000000\"}"));
    assert_true(task_is_live(&task));
    assert_int_equal(task.created_at_us, INSTANT_NONE);
    mp_reader_t reader = mp_reader(encoded(&task));
    uint32_t n_pairs = 0;
    assert_true(mp_get_map(&reader, &n_pairs));
    assert_int_equal(n_pairs, TASK_N_FIELDS + 2);
}

static void random_tasks_come_back_with_the_same_bytes(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 1000; i++) {
        task_t task = random_task();
        slice_t bytes = encoded(&task);
        assert_true(mp_is_canonical(bytes));
        assert_true(bytes.n_bytes * 3 < LIMIT_EVENT_BYTES);
        task_t back = decoded(bytes);
        assert_int_equal(task_diff(&task, &back), 0);
        assert_int_equal(back.due_kind, task.due_kind);
        assert_true(slice_eq(encoded(&back), bytes));
        arena_reset(arena);
    }
}

static void random_tasks_travel_as_json(void **unused)
{
    (void)unused;
    seed_random();
    buf_t json = {0};
    buf_t back = {0};
    for (int i = 0; i < 300; i++) {
        task_t task = random_task();
        slice_t bytes = encoded(&task);
        problem_t problem = {0};
        buf_reset(&json);
        buf_reset(&back);
        assert_true(json_from_mp(bytes, &json));
        assert_int_equal(json_to_mp(buf_slice(&json), &back, arena, &problem), ERR_OK);
        assert_true(slice_eq(buf_slice(&back), bytes));
        arena_reset(arena);
    }
    buf_fini(&json);
    buf_fini(&back);
}

static void unknown_keys_are_skipped(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    slice_t more = with_value(bytes, "colour", mp_of("{\"r\":[1,2,{\"deep\":null}],\"g\":\"x\"}"));
    more = with_value(more, "recurrence",
                      mp_of("{\"later\":[1],\"rule\":\"FREQ=WEEKLY\",\"from\":\"due\","
                            "\"missed\":\"next\",\"start\":\"2026-11-16T09:00\"}"));
    more = with_value(more, "reminders",
                      mp_of("[{\"sound\":\"bell\",\"id\":\"07000000-0000-0000-0000-000000000000\","
                            "\"before\":\"PT15M\",\"for\":\"04000000-0000-0000-0000-000000000000\"}"
                            ",{\"id\":\"08000000-0000-0000-0000-000000000000\","
                            "\"at\":\"1970-01-01T00:00:05Z\",\"for\":\"all\",\"x\":{}}]"));
    assert_false(slice_eq(more, bytes));
    task_t back = decoded(more);
    assert_true(slice_eq(encoded(&back), bytes));
}

static slice_t encoded_fields(const task_t *task, task_fields_t fields)
{
    buf_t bytes = {0};
    task_encode_fields(task, fields, &bytes);
    slice_t copy = arena_copy(arena, buf_slice(&bytes));
    buf_fini(&bytes);
    return copy;
}

static void the_diff_names_just_the_fields_whose_encoding_differs(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 300; i++) {
        task_t before = random_task();
        task_t after = random_task();
        task_fields_t fields = task_diff(&before, &after);
        for (task_field_t field = 0; field < TASK_N_FIELDS; field++) {
            task_fields_t bit = (task_fields_t)1 << field;
            bool same = slice_eq(encoded_fields(&before, bit), encoded_fields(&after, bit));
            if (same == ((fields & bit) != 0))
                fail_msg("%s", task_field_name(field));
        }
        assert_int_equal(task_diff(&before, &before), 0);
        arena_reset(arena);
    }
}

static void the_diff_laid_over_the_former_task_gives_the_latter(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 300; i++) {
        task_t before = random_task();
        task_t after = random_task();
        slice_t result = encoded(&before);
        mp_reader_t set = mp_reader(encoded_fields(&after, task_diff(&before, &after)));
        uint32_t n_pairs = 0;
        assert_true(mp_get_map(&set, &n_pairs));
        for (; n_pairs > 0; n_pairs--) {
            slice_t key;
            slice_t value;
            assert_true(mp_get_str(&set, &key) && mp_get_raw(&set, &value));
            result = with_value(result, (const char *)arena_copy(arena, key).data, value);
        }
        after.rev = before.rev; /* these two follow from the event */
        after.updated_at_us = before.updated_at_us;
        assert_true(slice_eq(result, encoded(&after)));
        arena_reset(arena);
    }
}

static void all_fields_are_the_task_without_what_the_event_says(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t expected = encoded(&task);
    expected = with_value(expected, "rev", slice_none());
    expected = with_value(expected, "updated_at", slice_none());
    assert_true(slice_eq(encoded_fields(&task, TASK_FIELDS_ALL), expected));
    assert_true(slice_eq(encoded_fields(&task, 0), mp_of("{}")));
}

static void a_copy_outlives_the_bytes(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 100; i++) {
        task_t task = random_task();
        slice_t bytes = encoded(&task);
        uint8_t *block = malloc(bytes.n_bytes);
        assert_non_null(block);
        memcpy(block, bytes.data, bytes.n_bytes);
        arena_t *brief = arena_new();
        task_t borrowed;
        task_t copy;
        assert_true(task_decode(slice_of(block, bytes.n_bytes), brief, &borrowed));
        task_copy(&borrowed, arena, &copy);
        free(block);
        arena_destroy(&brief);
        assert_true(slice_eq(encoded(&copy), bytes));
        arena_reset(arena);
    }
}

static void a_reminder_fires_before_the_due_instant_or_at_its_own(void **unused)
{
    (void)unused;
    task_t task = full_task();
    const reminder_t *relative = &task.reminders[0];
    const reminder_t *absolute = &task.reminders[1];
    assert_int_equal(task_reminder_at(&task, relative), task.due_at_us - 900 * US_PER_S);
    assert_int_equal(task_reminder_at(&task, absolute), 5 * US_PER_S);
    task.due_at_us = INSTANT_MIN;
    assert_int_equal(task_reminder_at(&task, relative), INSTANT_MIN);
    task.due_at_us = INSTANT_NONE;
    assert_int_equal(task_reminder_at(&task, relative), INSTANT_NONE);
    assert_int_equal(task_reminder_at(&task, absolute), 5 * US_PER_S);
}

/* On the clock of the zone, so across the change of 29 March 2026 too. */
static void in_an_all_day_task_a_reminder_counts_from_a_time_of_the_day(void **unused)
{
    (void)unused;
    static const struct {
        int64_t before_us;
        const char *time;
        const char *at;
    } cases[] = {
        {0, "09:00", "2026-03-29T07:00:00Z"},
        {0, NULL, "2026-03-29T07:00:00Z"},
        {US_PER_DAY, "09:00", "2026-03-28T08:00:00Z"},
        {15 * 60 * US_PER_S, "09:00", "2026-03-29T06:45:00Z"},
        {-US_PER_DAY, "00:00", "2026-03-29T22:00:00Z"},
        {0, "02:30", "2026-03-29T01:30:00Z"}, /* no clock showed it: the offset before */
        {366 * US_PER_DAY, "23:59", "2025-03-28T22:59:00Z"},
    };
    task_t task = full_task();
    reminder_t reminder = {.before = slice_str("P0D"), .at_us = INSTANT_NONE, .whom = FOR_ALL};
    task.due = slice_str("2026-03-29");
    task.due_kind = DUE_DATE;
    task.time_zone = slice_str("Europe/Zurich");
    task.due_at_us = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t at_us = 0;
        assert_true(instant_parse(slice_str(cases[i].at), &at_us));
        reminder.before_us = cases[i].before_us;
        reminder.time = cases[i].time == NULL ? slice_none() : slice_str(cases[i].time);
        assert_true(task_reminder_at(&task, &reminder) == at_us);
    }
    task.due = slice_str("0001-01-01");
    reminder.before_us = 366 * US_PER_DAY;
    assert_true(task_reminder_at(&task, &reminder) == INSTANT_MIN);
    task.due = slice_str("2028-03-01"); /* the day before is the 29th of February */
    reminder.before_us = US_PER_DAY;
    reminder.time = slice_str("09:00");
    int64_t leap_us = 0;
    assert_true(instant_parse(slice_str("2028-02-29T08:00:00Z"), &leap_us));
    assert_true(task_reminder_at(&task, &reminder) == leap_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_has_the_keys_of_its_json_in_order),
        cmocka_unit_test(an_empty_task_still_has_every_key),
        cmocka_unit_test(random_tasks_come_back_with_the_same_bytes),
        cmocka_unit_test(random_tasks_travel_as_json),
        cmocka_unit_test(unknown_keys_are_skipped),
        cmocka_unit_test(the_diff_names_just_the_fields_whose_encoding_differs),
        cmocka_unit_test(the_diff_laid_over_the_former_task_gives_the_latter),
        cmocka_unit_test(all_fields_are_the_task_without_what_the_event_says),
        cmocka_unit_test(a_copy_outlives_the_bytes),
        cmocka_unit_test(a_reminder_fires_before_the_due_instant_or_at_its_own),
        cmocka_unit_test(in_an_all_day_task_a_reminder_counts_from_a_time_of_the_day),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
