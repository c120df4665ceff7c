/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the reminder actor under replays, old batches and what was set too late. */
#include "tests/db/database.h"

#include <stdio.h>

#include "actors/migrate.h"
#include "actors/reminder_load.h"
#include "actors/reminder_rows.h"

#define NOW_US INT64_C(1800000000000000)
#define EPOCH "0123456789abcdef"
#define HOUR_US (3600 * US_PER_S)

typedef enum { PENDING, FIRED, ENDED, MISSED, REFUSED } row_state_t;

static const network_t lone_network; /* of nobody */
static database_t database;
static pg_t *pg;
static unsigned n_tasks;

static int begin(void **unused)
{
    char error[400];
    (void)unused;
    database_create(&database, "reminder");
    assert_int_equal(migrate_run(database.url, INT64_MAX, error, sizeof error), MIGRATE_OK);
    script(database.url, "UPDATE log_epoch SET epoch = '" EPOCH "'");
    pg = connect_to(database.url, "-c enable_seqscan=off -c jit=off");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    pg_destroy(&pg);
    database_drop(&database);
    return 0;
}

/* --- tasks and events --- */

static void name_reminder(reminder_t *reminder, int64_t at_us)
{
    *reminder = (reminder_t){.at_us = at_us, .whom = FOR_ALL};
    reminder->id.bytes[0] = 3;
}

/* A task that no other test has, with a reminder at that instant. */
static task_t a_task(int64_t at_us)
{
    task_t task = {.title = slice_str("T"),
                   .position = slice_str("a0"),
                   .due_at_us = INSTANT_NONE,
                   .completed_at_us = INSTANT_NONE,
                   .deleted_at_us = INSTANT_NONE};
    task.id.bytes[0] = 1;
    task.id.bytes[15] = (uint8_t)++n_tasks;
    task.list.bytes[0] = 2;
    task.n_reminders = 1;
    name_reminder(&task.reminders[0], at_us);
    return task;
}

/* Adds an event of that id about the task to the batch. */
static void put(batch_t *batch, int64_t id, event_t event, const task_t *task)
{
    buf_t set = {0}, after = {0}, body = {0};
    task_encode_fields(task, TASK_FIELDS_ALL, &set);
    task_encode(task, &after);
    event.stream = task->list;
    event.rev = id;
    event.task = event.command = task->id;
    if (uuid_is_nil(&event.by))
        event.by = task->id;
    event.set = event.was = buf_slice(&set);
    event.after = buf_slice(&after);
    memcpy(event.epoch, EPOCH, EPOCH_CHARS);
    event_encode(&event, &body);
    uint8_t digest[DIGEST_BYTES] = {0};
    log_event_t row = {.id = id,
                       .stream = event.stream,
                       .rev = id,
                       .type = event.type,
                       .stored_type = (int16_t)event.type,
                       .task = event.task,
                       .command = event.command,
                       .by = event.by,
                       .at_us = event.at_us,
                       .digest = slice_of(digest, sizeof digest),
                       .body = buf_slice(&body)};
    memcpy(row.epoch, event.epoch, EPOCH_CHARS);
    events_begin(batch, 1);
    events_put(batch, &row);
    buf_fini(&set);
    buf_fini(&after);
    buf_fini(&body);
}

/* The task as it is since that event, which happened at `at_us`. */
static void put_task(batch_t *batch, int64_t id, int64_t at_us, const task_t *task)
{
    put(batch, id, (event_t){.type = EVENT_TASK_UPDATED, .at_us = at_us}, task);
}

/* That the task's reminder fired, said by that event. */
static void put_fired(batch_t *batch, int64_t id, const task_t *task)
{
    const reminder_t *reminder = &task->reminders[0];
    buf_t fired = {0};
    mp_put_map(&fired, 3);
    mp_put_cstr(&fired, "id");
    mp_put_uuid(&fired, &reminder->id);
    mp_put_cstr(&fired, "at");
    mp_put_instant(&fired, reminder->at_us);
    mp_put_cstr(&fired, "for");
    mp_put_cstr(&fired, "all");
    event_t event = {
        .type = EVENT_REMINDER_DUE, .at_us = reminder->at_us, .reminder = buf_slice(&fired)};
    put(batch, id, event, task);
    buf_fini(&fired);
}

/* Stores what is in the batch, which is empty afterwards. */
static void store(batch_t *batch)
{
    message_t message;
    mp_reader_t content;
    uint64_t seq;
    uint32_t n_events;
    intray_t *intray = intray_new(&lone_network, ADDRESS_REMINDER);
    batch_finish(batch, &message);
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_EVENTS);
    assert_true(events_open(&content, &seq, &n_events));
    assert_int_equal(reminder_rows_store(pg, EPOCH, intray, &content, n_events, NULL, NULL),
                     ERR_OK);
    intray_destroy(&intray);
    message_fini(&message);
}

static void store_task(int64_t id, int64_t at_us, const task_t *task)
{
    batch_t batch = {0};
    put_task(&batch, id, at_us, task);
    store(&batch);
}

/* The same, because other time zone data says so. */
static void store_moved(int64_t id, int64_t at_us, task_t *task, int64_t to_us)
{
    batch_t batch = {0};
    name_reminder(&task->reminders[0], to_us);
    put(&batch, id, (event_t){.type = EVENT_TASK_UPDATED, .at_us = at_us, .by = author_retime},
        task);
    store(&batch);
}

/* Its command was refused. */
static void end_refused(const task_t *task)
{
    const reminder_t *reminder = &task->reminders[0];
    near_key_t key = {.task = task->id, .reminder = reminder->id, .fire_at_us = reminder->at_us};
    assert_true(reminder_load_end(pg, EPOCH, &key, 1));
}

/* --- rows --- */

typedef struct {
    row_state_t state;
    int64_t fire_at_us;
    int64_t event_id;
} row_t;

static void on_row(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    row_t *row = arg;
    assert_int_equal(fate, PG_OK);
    assert_int_equal(pg_rows(result), 1);
    *row =
        (row_t){(row_state_t)pg_int(result, 0, 0), pg_instant(result, 0, 1), pg_int(result, 0, 2)};
}

static void assert_row(const task_t *task, row_state_t state, int64_t fire_at_us, int64_t event_id)
{
    static const pg_stmt_t select_row = {
        "SELECT state, fire_at, event_id FROM reminder WHERE task = $1::uuid"};
    row_t row;
    pg_params_t params = {0};
    pg_put_uuid(&params, &task->id);
    assert_int_equal(pg_run(pg, &select_row, &params, on_row, &row, LONG_US), PG_OK);
    pg_params_fini(&params);
    assert_int_equal(row.state, state);
    assert_true(row.fire_at_us == fire_at_us);
    assert_true(row.event_id == event_id);
}

/* What is kept of it: how many rows, and how many microseconds after its instant it fired, -1 for
 * one that was missed. */
static void assert_past(const task_t *task, int64_t n, int64_t late_us)
{
    char sql[300], id[UUID_TEXT_CHARS + 1];
    uuid_format(&task->id, id);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM reminder_past WHERE task = '%.36s'", id);
    assert_true(number_of(database.url, sql) == n);
    snprintf(sql, sizeof sql,
             "SELECT coalesce(max((extract(epoch FROM fired_at - fire_at) * 1000000)::bigint), -1)"
             " FROM reminder_past WHERE task = '%.36s'",
             id);
    assert_true(number_of(database.url, sql) == late_us);
}

/* --- the tests --- */

static void a_newer_event_moves_a_reminder(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    assert_row(&task, PENDING, NOW_US + HOUR_US, 10);
    name_reminder(&task.reminders[0], NOW_US + 2 * HOUR_US);
    store_task(20, NOW_US + 1, &task);
    assert_row(&task, PENDING, NOW_US + 2 * HOUR_US, 20);
}

static void an_older_event_that_comes_late_changes_nothing(void **state)
{
    (void)state;
    task_t older = a_task(NOW_US + HOUR_US);
    task_t newer = older;
    name_reminder(&newer.reminders[0], NOW_US + 2 * HOUR_US);
    store_task(20, NOW_US + 1, &newer);
    store_task(10, NOW_US, &older);
    assert_row(&newer, PENDING, NOW_US + 2 * HOUR_US, 20);
    older.n_reminders = 0; /* then it would have ended it */
    store_task(15, NOW_US, &older);
    assert_row(&newer, PENDING, NOW_US + 2 * HOUR_US, 20);
}

static void a_reminder_that_the_task_no_longer_has_is_ended(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    task_t without = task;
    without.n_reminders = 0;
    store_task(20, NOW_US + 1, &without);
    assert_row(&task, ENDED, NOW_US + HOUR_US, 20);
}

static void an_instant_that_is_past_when_it_is_set_never_fires(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US - HOUR_US);
    store_task(10, NOW_US, &task);
    assert_row(&task, ENDED, NOW_US - HOUR_US, 10);
    /* Nor when it is named again, or in the same batch as what set it. */
    batch_t batch = {0};
    put_task(&batch, 20, NOW_US + 1, &task);
    put_task(&batch, 30, NOW_US + 2, &task);
    store(&batch);
    assert_row(&task, ENDED, NOW_US - HOUR_US, 30);
}

static void a_reminder_that_waits_goes_on_waiting_however_late_it_is_named_again(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    store_task(20, NOW_US + 2 * HOUR_US, &task);
    assert_row(&task, PENDING, NOW_US + HOUR_US, 20);
}

static void a_reminder_that_fired_does_not_fire_again_for_the_same_instant(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    batch_t batch = {0};
    put_task(&batch, 10, NOW_US, &task);
    put_fired(&batch, 20, &task);
    store(&batch);
    assert_row(&task, FIRED, NOW_US + HOUR_US, 10);
    store_task(30, NOW_US, &task);
    assert_row(&task, FIRED, NOW_US + HOUR_US, 30);
    name_reminder(&task.reminders[0], NOW_US + 3 * HOUR_US);
    store_task(40, NOW_US + 2 * HOUR_US, &task);
    assert_row(&task, PENDING, NOW_US + 3 * HOUR_US, 40);
}

static void each_instant_that_fired_is_kept(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    for (int round = 0; round < 2; round++) {
        name_reminder(&task.reminders[0], NOW_US + HOUR_US);
        batch_t batch = {0};
        put_task(&batch, 10, NOW_US, &task);
        put_fired(&batch, 20, &task);
        name_reminder(&task.reminders[0], NOW_US + 3 * HOUR_US);
        put_task(&batch, 30, NOW_US + 2 * HOUR_US, &task);
        put_fired(&batch, 40, &task);
        store(&batch);
        assert_past(&task, 2, 0);
    }
}

static void one_that_was_taken_for_missed_may_have_fired(void **state)
{
    (void)state;
    int64_t n = 0;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    assert_true(reminder_load_miss(pg, EPOCH, NOW_US + HOUR_US, &n));
    assert_row(&task, PENDING, NOW_US + HOUR_US, 10);
    assert_true(reminder_load_miss(pg, EPOCH, NOW_US + HOUR_US + 1, &n));
    assert_row(&task, MISSED, NOW_US + HOUR_US, 10);
    assert_past(&task, 1, -1);
    store_task(20, NOW_US + 2 * HOUR_US, &task); /* it stays missed */
    assert_row(&task, MISSED, NOW_US + HOUR_US, 20);
    batch_t batch = {0};
    put_fired(&batch, 30, &task);
    store(&batch);
    assert_row(&task, FIRED, NOW_US + HOUR_US, 20);
    assert_past(&task, 1, 0);
}

/* By the account whose stream the event is in. */
static void put_dismissed(batch_t *batch, int64_t id, const task_t *task, int64_t until_us)
{
    buf_t seen = {0};
    mp_put_map(&seen, 2);
    mp_put_cstr(&seen, "id");
    mp_put_uuid(&seen, &task->reminders[0].id);
    mp_put_cstr(&seen, "at");
    mp_put_instant(&seen, until_us);
    event_t event = {
        .type = EVENT_REMINDER_DISMISSED, .at_us = until_us, .reminder = buf_slice(&seen)};
    put(batch, id, event, task);
    buf_fini(&seen);
}

static void what_was_dismissed_last_counts_in_any_order(void **state)
{
    (void)state;
    char sql[300], id[UUID_TEXT_CHARS + 1];
    task_t task = a_task(NOW_US);
    batch_t batch = {0};
    put_dismissed(&batch, 20, &task, NOW_US + 7);
    put_dismissed(&batch, 10, &task, NOW_US + 3);
    store(&batch);
    uuid_format(&task.id, id);
    snprintf(sql, sizeof sql,
             "SELECT (extract(epoch FROM max(until)) * 1000000)::bigint * count(*)"
             " FROM reminder_dismissed WHERE task = '%.36s'",
             id);
    assert_true(number_of(database.url, sql) == NOW_US + 7);
}

static void a_firing_of_an_instant_that_moved_is_not_that_of_the_new_one(void **state)
{
    (void)state;
    task_t before = a_task(NOW_US + HOUR_US);
    task_t after = before;
    name_reminder(&after.reminders[0], NOW_US + 2 * HOUR_US);
    store_task(20, NOW_US + 1, &after);
    batch_t batch = {0};
    put_fired(&batch, 10, &before);
    store(&batch);
    assert_row(&after, PENDING, NOW_US + 2 * HOUR_US, 20);
}

static void other_zone_data_moves_what_waits_even_into_the_past(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    store_moved(20, NOW_US + 1, &task, NOW_US + 2 * HOUR_US);
    assert_row(&task, PENDING, NOW_US + 2 * HOUR_US, 20);
    store_moved(30, NOW_US + 2, &task, NOW_US - HOUR_US);
    assert_row(&task, PENDING, NOW_US - HOUR_US, 30);
    store_task(40, NOW_US + 3, &task); /* nor does it end when it is named again */
    assert_row(&task, PENDING, NOW_US - HOUR_US, 40);
}

static void other_zone_data_lets_nothing_fire_a_second_time(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    batch_t batch = {0};
    put_fired(&batch, 11, &task);
    store(&batch);
    store_moved(20, NOW_US + HOUR_US + 1, &task, NOW_US + 3 * HOUR_US);
    assert_row(&task, FIRED, NOW_US + 3 * HOUR_US, 20);
    store_task(30, NOW_US + HOUR_US + 2, &task);
    assert_row(&task, FIRED, NOW_US + 3 * HOUR_US, 30);
    assert_past(&task, 1, 0);
    name_reminder(&task.reminders[0], NOW_US + 4 * HOUR_US); /* moved by somebody it is new */
    store_task(40, NOW_US + HOUR_US + 3, &task);
    assert_row(&task, PENDING, NOW_US + 4 * HOUR_US, 40);
}

/* Its command may come after the task was moved and before the row is. */
static void what_was_refused_because_it_had_moved_waits_again(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    store_task(10, NOW_US, &task);
    end_refused(&task);
    assert_row(&task, REFUSED, NOW_US + HOUR_US, 10);
    store_task(15, NOW_US + 2 * HOUR_US, &task);
    assert_row(&task, ENDED, NOW_US + HOUR_US, 15);
    task_t other = a_task(NOW_US + HOUR_US);
    store_task(16, NOW_US, &other);
    end_refused(&other);
    store_moved(20, NOW_US + HOUR_US, &other, NOW_US - HOUR_US);
    assert_row(&other, PENDING, NOW_US - HOUR_US, 20);
}

static void what_was_past_when_it_was_set_stays_so_by_other_zone_data(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US - HOUR_US);
    store_task(10, NOW_US, &task);
    store_moved(20, NOW_US + 1, &task, NOW_US - HOUR_US / 2);
    assert_row(&task, ENDED, NOW_US - HOUR_US / 2, 20);
    store_moved(30, NOW_US + 2, &task, NOW_US + HOUR_US);
    assert_row(&task, PENDING, NOW_US + HOUR_US, 30);
}

static void the_whole_log_again_changes_nothing(void **state)
{
    (void)state;
    task_t first = a_task(NOW_US + HOUR_US);
    task_t second = first;
    name_reminder(&second.reminders[0], NOW_US + 2 * HOUR_US);
    task_t third = second;
    third.title = slice_str("U");
    for (int round = 0; round < 3; round++) {
        batch_t batch = {0};
        put_task(&batch, 10, NOW_US, &first);
        put_task(&batch, 20, NOW_US + 1, &second);
        put_fired(&batch, 30, &second);
        put_task(&batch, 40, NOW_US + 3 * HOUR_US, &third);
        store(&batch);
        assert_row(&first, FIRED, NOW_US + 2 * HOUR_US, 40);
    }
}

static void what_the_database_refuses_of_one_event_harms_no_other(void **state)
{
    (void)state;
    task_t tasks[3] = {a_task(NOW_US + HOUR_US), a_task(NOW_US + HOUR_US),
                       a_task(NOW_US + HOUR_US)};
    batch_t batch = {0};
    script(database.url,
           "ALTER TABLE reminder ADD CONSTRAINT wrong CHECK (event_id <> 20) NOT VALID");
    for (int i = 0; i < 3; i++)
        put_task(&batch, 10 * (i + 1), NOW_US, &tasks[i]);
    store(&batch);
    script(database.url, "ALTER TABLE reminder DROP CONSTRAINT wrong");
    assert_row(&tasks[0], PENDING, NOW_US + HOUR_US, 10);
    assert_row(&tasks[2], PENDING, NOW_US + HOUR_US, 30);
}

static void what_is_of_another_epoch_changes_no_row(void **state)
{
    (void)state;
    task_t task = a_task(NOW_US + HOUR_US);
    task_t moved = task;
    name_reminder(&moved.reminders[0], NOW_US + 2 * HOUR_US);
    task_t without = task;
    without.n_reminders = 0;
    batch_t batch = {0};
    put_task(&batch, 10, NOW_US, &task);
    store(&batch);
    script(database.url, "UPDATE log_epoch SET epoch = 'fedcba9876543210'");
    batch = (batch_t){0};
    put_task(&batch, 20, NOW_US + 1, &moved);
    put_fired(&batch, 30, &task);
    put_task(&batch, 40, NOW_US + 2, &without);
    store(&batch);
    script(database.url, "UPDATE log_epoch SET epoch = '" EPOCH "'");
    assert_row(&task, PENDING, NOW_US + HOUR_US, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_event_moves_a_reminder),
        cmocka_unit_test(an_older_event_that_comes_late_changes_nothing),
        cmocka_unit_test(a_reminder_that_the_task_no_longer_has_is_ended),
        cmocka_unit_test(an_instant_that_is_past_when_it_is_set_never_fires),
        cmocka_unit_test(a_reminder_that_waits_goes_on_waiting_however_late_it_is_named_again),
        cmocka_unit_test(a_reminder_that_fired_does_not_fire_again_for_the_same_instant),
        cmocka_unit_test(each_instant_that_fired_is_kept),
        cmocka_unit_test(one_that_was_taken_for_missed_may_have_fired),
        cmocka_unit_test(what_was_dismissed_last_counts_in_any_order),
        cmocka_unit_test(a_firing_of_an_instant_that_moved_is_not_that_of_the_new_one),
        cmocka_unit_test(other_zone_data_moves_what_waits_even_into_the_past),
        cmocka_unit_test(other_zone_data_lets_nothing_fire_a_second_time),
        cmocka_unit_test(what_was_refused_because_it_had_moved_waits_again),
        cmocka_unit_test(what_was_past_when_it_was_set_stays_so_by_other_zone_data),
        cmocka_unit_test(the_whole_log_again_changes_nothing),
        cmocka_unit_test(what_the_database_refuses_of_one_event_harms_no_other),
        cmocka_unit_test(what_is_of_another_epoch_changes_no_row),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
