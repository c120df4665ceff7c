/* SPDX-License-Identifier: Apache-2.0 */
/* When a recurring task is due next, and the command that its closing calls for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/recurrence.h"
#include "schema/next_due.h"
#include "schema/task.h"
#include "schema/zone.h"

static arena_t *arena;

static int set_up(void **unused)
{
    (void)unused;
    arena = arena_new();
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    arena_destroy(&arena);
    return 0;
}

static int64_t instant(const char *text)
{
    int64_t at_us = 0;
    assert_true(instant_parse(slice_str(text), &at_us));
    return at_us;
}

/* A closed occurrence, number 1 of its series. */
static task_t closed_task(const char *due, const char *zone, const char *rule,
                          const char *closed_at)
{
    task_t task = {.title = slice_str("T"),
                   .status = STATUS_DONE,
                   .due = slice_str(due),
                   .time_zone = slice_str(zone),
                   .rule = slice_str(rule),
                   .occurrence = 1,
                   .position = slice_str("a0"),
                   .created_at_us = 0,
                   .updated_at_us = 0,
                   .completed_at_us = instant(closed_at),
                   .closed_rev = 7,
                   .deleted_at_us = INSTANT_NONE};
    local_t local;
    zone_fit_t fit;
    task.id.bytes[0] = task.series.bytes[0] = 1;
    task.list.bytes[0] = 2;
    task.due_kind = due_parse(task.due, &local);
    if (task.due_kind == DUE_INSTANT)
        task.due_at_us = local_as_utc_us(&local);
    else if (task.due_kind == DUE_DATE)
        task.due_at_us = zone_end_of_day(task.time_zone, &local);
    else
        task.due_at_us = zone_to_utc(task.time_zone, &local, &fit);
    return task;
}

static void next_is(const task_t *task, const char *expected)
{
    next_due_t next = {0};
    slice_t why = slice_none();
    bool is_there = next_due(task, arena, &next, &why);
    slice_t due = next.due.text;
    if (expected == NULL) {
        assert_false(is_there);
        assert_null(why.data);
        return;
    }
    if (!is_there)
        fail_msg("no next due: %.*s", (int)why.n_bytes, (const char *)why.data);
    if (!slice_is(due, expected))
        fail_msg("%.*s instead of %s", (int)due.n_bytes, (const char *)due.data, expected);
}

static void the_next_due_is_of_the_same_kind(void **state)
{
    (void)state;
    task_t task = closed_task("2026-11-23", "Europe/Zurich", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-24");
    task = closed_task("2026-11-23T09:00", "Europe/Zurich", "FREQ=WEEKLY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-30T09:00");
    task =
        closed_task("2026-11-23T09:00:00Z", "Europe/Zurich", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-24T09:00:00Z");
}

static void the_wall_clock_stays_over_a_change_of_clocks(void **state)
{
    (void)state;
    task_t task = closed_task("2026-03-28T09:00:00+01:00", "Europe/Zurich", "FREQ=DAILY",
                              "2026-03-28T09:00:00Z");
    task.due = slice_str("2026-03-28T08:00:00Z");
    next_is(&task, "2026-03-29T07:00:00Z");
}

static void closing_early_gives_the_date_after_the_due_date(void **state)
{
    (void)state;
    task_t task = closed_task("2026-11-30", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-12-01");
}

static void missed_occurrences_are_skipped_unless_they_are_kept(void **state)
{
    (void)state;
    task_t task = closed_task("2026-11-01T09:00", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-24T09:00");
    task.completed_at_us = instant("2026-11-23T08:59:59Z");
    next_is(&task, "2026-11-23T09:00");
    task.completed_at_us = instant("2026-11-23T09:00:00Z");
    next_is(&task, "2026-11-24T09:00");
    task.missed = MISSED_KEEP;
    next_is(&task, "2026-11-02T09:00");
    task.missed = MISSED_EACH;
    next_is(&task, "2026-11-02T09:00");
    /* A day is ahead as long as it lasts. */
    task = closed_task("2026-11-01", "UTC", "FREQ=DAILY", "2026-11-23T23:59:59Z");
    next_is(&task, "2026-11-23");
}

/* One occurrence after the other, as they come if none is missed. */
static slice_t counted(task_t task, slice_t first_ahead)
{
    next_due_t next;
    slice_t why = slice_none();
    task.missed = MISSED_KEEP;
    do {
        if (!next_due(&task, arena, &next, &why))
            return slice_none();
        task.due = next.due.text;
        task.rule_start = next.start;
        task.occurrence = 1;
    } while (slice_cmp(task.due, first_ahead) < 0);
    return task.due;
}

static void what_is_skipped_at_once_is_what_would_be_counted(void **state)
{
    (void)state;
    static const char *const rules[] = {"FREQ=DAILY", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY",
                                        "FREQ=WEEKLY;INTERVAL=5", "monthly"};
    uint32_t seed = randombytes_random();
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 200; i++) {
        char text[16], closed_at[32];
        snprintf(text, sizeof text, "20%02ld-%02ld-%02ld", random() % 20, random() % 12 + 1,
                 random() % 28 + 1);
        snprintf(closed_at, sizeof closed_at, "20%02ld-%02ld-%02ldT12:00:00Z", random() % 30,
                 random() % 12 + 1, random() % 28 + 1);
        task_t task = closed_task(text, "UTC", rules[i % 5], closed_at);
        next_due_t next;
        slice_t why = slice_none();
        slice_t expected = counted(task, slice_of(closed_at, 10));
        assert_true(next_due(&task, arena, &next, &why));
        slice_t due = next.due.text;
        if (!slice_eq(due, expected))
            fail_msg("%s %s %s: %.*s instead of %.*s", text, rules[i % 5], closed_at,
                     (int)due.n_bytes, (const char *)due.data, (int)expected.n_bytes,
                     (const char *)expected.data);
    }
}

static void from_completion_counts_from_the_day_it_was_closed(void **state)
{
    (void)state;
    task_t task = closed_task("2026-11-01T09:00", "Europe/Zurich", "FREQ=DAILY;INTERVAL=3",
                              "2026-11-23T23:30:00Z");
    task.from = FROM_COMPLETION;
    /* It was the 24th in Zurich by then. */
    next_is(&task, "2026-11-27T09:00");
}

static void a_series_ends_by_count_and_until(void **state)
{
    (void)state;
    task_t task = closed_task("2026-11-23", "UTC", "FREQ=DAILY;COUNT=2", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-24");
    task.occurrence = 2;
    next_is(&task, NULL);
    task = closed_task("2026-11-23", "UTC", "FREQ=DAILY;UNTIL=20261124", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-24");
    task = closed_task("2026-11-24", "UTC", "FREQ=DAILY;UNTIL=20261124", "2026-11-24T10:00:00Z");
    next_is(&task, NULL);
}

static void a_date_far_behind_takes_no_time_to_speak_of(void **state)
{
    (void)state;
    task_t task = closed_task("0001-01-01", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    next_is(&task, "2026-11-23");
}

/* --- the actor's step --- */

static slice_t encoded(const task_t *task)
{
    buf_t buf = {0};
    task_encode(task, &buf);
    slice_t bytes = arena_copy(arena, buf_slice(&buf));
    buf_fini(&buf);
    return bytes;
}

static event_t closing(event_type_t type, const task_t *task)
{
    return (event_t){
        .stream = task->list, .rev = 7, .type = type, .task = task->id, .after = encoded(task)};
}

static void the_same_event_calls_for_the_same_command(void **state)
{
    (void)state;
    command_t one, again, other;
    slice_t why;
    task_t task = closed_task("2026-11-23", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    event_t event = closing(EVENT_TASK_COMPLETED, &task);
    assert_int_equal(recurrence_step(&event, arena, &one, &why), SUCCESSION_NEXT);
    assert_int_equal(recurrence_step(&event, arena, &again, &why), SUCCESSION_NEXT);
    assert_true(uuid_eq(&one.id, &again.id) && uuid_eq(&one.task, &again.task));
    assert_memory_equal(one.fingerprint, again.fingerprint, FINGERPRINT_BYTES);
    task.closed_rev = 8;
    event = closing(EVENT_TASK_COMPLETED, &task);
    assert_int_equal(recurrence_step(&event, arena, &other, &why), SUCCESSION_NEXT);
    assert_false(uuid_eq(&one.id, &other.id));
    assert_true(one.is_actor && uuid_eq(&one.author, &author_recurrence));
    assert_true(uuid_is_nil(&one.list));
    uuid_t place = command_place(&one);
    assert_true(uuid_eq(&place, &task.id));
}

static void a_closed_task_that_is_restored_has_its_successor_still(void **state)
{
    (void)state;
    command_t one, again;
    slice_t why;
    task_t task = closed_task("2026-11-23", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    event_t event = closing(EVENT_TASK_COMPLETED, &task);
    assert_int_equal(recurrence_step(&event, arena, &one, &why), SUCCESSION_NEXT);
    event.type = EVENT_TASK_RESTORED;
    event.rev = 9;
    assert_int_equal(recurrence_step(&event, arena, &again, &why), SUCCESSION_NEXT);
    assert_true(uuid_eq(&one.id, &again.id));
    assert_memory_equal(one.fingerprint, again.fingerprint, FINGERPRINT_BYTES);
    task.status = STATUS_OPEN;
    event = closing(EVENT_TASK_RESTORED, &task);
    assert_int_equal(recurrence_step(&event, arena, &again, &why), SUCCESSION_NONE);
}

static void only_the_closing_of_a_recurring_task_has_a_successor(void **state)
{
    (void)state;
    command_t command;
    slice_t why;
    task_t task = closed_task("2026-11-23", "UTC", "FREQ=DAILY", "2026-11-23T10:00:00Z");
    event_t event = closing(EVENT_TASK_CANCELLED, &task);
    assert_int_equal(recurrence_step(&event, arena, &command, &why), SUCCESSION_NEXT);
    event.type = EVENT_TASK_UPDATED;
    assert_int_equal(recurrence_step(&event, arena, &command, &why), SUCCESSION_NONE);
    task.rule = slice_none();
    event = closing(EVENT_TASK_COMPLETED, &task);
    assert_int_equal(recurrence_step(&event, arena, &command, &why), SUCCESSION_NONE);
}

static void what_cannot_be_read_is_said(void **state)
{
    (void)state;
    command_t command;
    slice_t why;
    task_t task = closed_task("2026-11-23", "UTC", "FREQ=HOURLY", "2026-11-23T10:00:00Z");
    event_t event = closing(EVENT_TASK_COMPLETED, &task);
    assert_int_equal(recurrence_step(&event, arena, &command, &why), SUCCESSION_WRONG);
    assert_true(why.n_bytes > 0);
    event.after = slice_str("nonsense");
    assert_int_equal(recurrence_step(&event, arena, &command, &why), SUCCESSION_WRONG);
    assert_true(why.n_bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_due_is_of_the_same_kind),
        cmocka_unit_test(the_wall_clock_stays_over_a_change_of_clocks),
        cmocka_unit_test(closing_early_gives_the_date_after_the_due_date),
        cmocka_unit_test(missed_occurrences_are_skipped_unless_they_are_kept),
        cmocka_unit_test(what_is_skipped_at_once_is_what_would_be_counted),
        cmocka_unit_test(from_completion_counts_from_the_day_it_was_closed),
        cmocka_unit_test(a_series_ends_by_count_and_until),
        cmocka_unit_test(a_date_far_behind_takes_no_time_to_speak_of),
        cmocka_unit_test(the_same_event_calls_for_the_same_command),
        cmocka_unit_test(a_closed_task_that_is_restored_has_its_successor_still),
        cmocka_unit_test(only_the_closing_of_a_recurring_task_has_a_successor),
        cmocka_unit_test(what_cannot_be_read_is_said),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
