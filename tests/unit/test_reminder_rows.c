/* SPDX-License-Identifier: Apache-2.0 */
/* What an event says about reminders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/reminder_rows.h"

#define AT_US INT64_C(1800000000000000)

static arena_t *arena;
static uuid_t author; /* of the next event; nil: any */

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

static task_t a_task(void)
{
    task_t task = {.title = slice_str("T"),
                   .position = slice_str("a0"),
                   .due = slice_str("2027-01-15T08:00:00Z"),
                   .due_kind = DUE_INSTANT,
                   .time_zone = slice_str("UTC"),
                   .due_at_us = AT_US,
                   .completed_at_us = INSTANT_NONE,
                   .deleted_at_us = INSTANT_NONE};
    task.id.bytes[0] = 1;
    task.list.bytes[0] = 2;
    task.n_reminders = 2;
    task.reminders[0] = (reminder_t){.before = slice_str("PT15M"),
                                     .before_us = 15 * 60 * US_PER_S,
                                     .at_us = INSTANT_NONE,
                                     .whom = FOR_ALL};
    task.reminders[0].id.bytes[0] = 3;
    task.reminders[1] = (reminder_t){.at_us = AT_US + 5, .whom = FOR_ASSIGNEE};
    task.reminders[1].id.bytes[0] = 4;
    return task;
}

/* The row of an event about this task, whose `set` and `was` name these fields. */
static log_event_t row_of(event_type_t type, const task_t *task, task_fields_t fields)
{
    buf_t set = {0}, after = {0}, body = {0};
    task_encode_fields(task, fields, &set);
    task_encode(task, &after);
    event_t event = {.stream = task->list,
                     .rev = 3,
                     .type = type,
                     .task = task->id,
                     .command = task->id,
                     .by = uuid_is_nil(&author) ? task->id : author,
                     .at_us = AT_US,
                     .set = buf_slice(&set),
                     .was = buf_slice(&set),
                     .after = buf_slice(&after)};
    memcpy(event.epoch, "0123456789abcdef", EPOCH_CHARS);
    event_encode(&event, &body);
    log_event_t row = {.id = 9,
                       .stream = task->list,
                       .rev = 3,
                       .type = type,
                       .task = task->id,
                       .at_us = AT_US,
                       .body = arena_copy(arena, buf_slice(&body))};
    buf_fini(&set);
    buf_fini(&after);
    buf_fini(&body);
    return row;
}

#define BIT(field) ((task_fields_t)1 << (field))

static void a_changed_due_date_tells_all_instants(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    log_event_t row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_DUE) | BIT(TASK_DUE_AT));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 2);
    assert_true(news.wanted[0].fire_at_us == AT_US - 15 * 60 * US_PER_S);
    assert_true(news.wanted[1].fire_at_us == AT_US + 5);
    assert_int_equal(news.event_id, 9);
}

static void what_other_zone_data_moves_is_told_apart(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    author = author_retime;
    log_event_t row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_DUE_AT));
    author = UUID_NIL;
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_MOVED);
    assert_int_equal(news.n_wanted, 2);
}

static void what_does_not_concern_them_tells_nothing(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    log_event_t row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_TITLE));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_NOTHING);
    row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_STATUS));
    row.body = slice_none(); /* purged */
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_NOTHING);
    task.n_reminders = 0;
    row = row_of(EVENT_TASK_CREATED, &task, BIT(TASK_STATUS) | BIT(TASK_DUE_AT));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_NOTHING);
}

static void text_that_looks_like_reminders_hides_none(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    task.title = slice_str("\xc3\xa9"
                           "reminders\xc2\x90");
    log_event_t row = row_of(EVENT_TASK_CREATED, &task, BIT(TASK_STATUS));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    task.n_reminders = 0;
    row = row_of(EVENT_TASK_CREATED, &task, BIT(TASK_STATUS));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_NOTHING);
}

static void a_closed_or_deleted_task_wants_none(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    task.status = STATUS_DONE;
    log_event_t row = row_of(EVENT_TASK_COMPLETED, &task, BIT(TASK_STATUS));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 0);
    task = a_task();
    task.deleted_at_us = AT_US;
    row = row_of(EVENT_TASK_DELETED, &task, BIT(TASK_DELETED_AT));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 0);
}

static void removed_reminders_are_told_of(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    task.n_reminders = 0;
    log_event_t row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_REMINDERS));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 0);
}

/* Its event does not say what it had in the list that it comes from. */
static void a_task_that_moved_in_tells_all_that_it_has(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    log_event_t row = row_of(EVENT_TASK_MOVED_IN, &task, BIT(TASK_LIST));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 2);
    task.n_reminders = 0;
    row = row_of(EVENT_TASK_MOVED_IN, &task, BIT(TASK_LIST));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WANTED);
    assert_int_equal(news.n_wanted, 0);
}

static void bytes_that_are_no_event_are_wrong(void **state)
{
    (void)state;
    reminder_news_t news;
    task_t task = a_task();
    log_event_t row = row_of(EVENT_TASK_UPDATED, &task, BIT(TASK_STATUS));
    row.body.n_bytes--;
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WRONG);
    row = row_of(EVENT_REMINDER_DUE, &task, BIT(TASK_STATUS));
    assert_int_equal(reminder_read(&row, arena, &news), TELLS_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_due_date_tells_all_instants),
        cmocka_unit_test(what_other_zone_data_moves_is_told_apart),
        cmocka_unit_test(what_does_not_concern_them_tells_nothing),
        cmocka_unit_test(text_that_looks_like_reminders_hides_none),
        cmocka_unit_test(a_closed_or_deleted_task_wants_none),
        cmocka_unit_test(removed_reminders_are_told_of),
        cmocka_unit_test(a_task_that_moved_in_tells_all_that_it_has),
        cmocka_unit_test(bytes_that_are_no_event_are_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
