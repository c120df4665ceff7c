/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/db/database.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/migrate.h"
#include "actors/purge.h"
#include "bridge/dead_letter.h"

#define STREAM "01935700-0000-7000-8000-0000000000b1"
#define OTHER "01935700-0000-7000-8000-0000000000b2"

static database_t database;
static pg_t *pg;

static void on_stored(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    assert_int_equal(fate, PG_OK);
    *(int64_t *)arg = pg_changed(result);
}

/* How many rows it made. */
static int64_t store(int64_t offset, const record_t *record)
{
    const dead_letter_t letter = {.topic = "x.task-events",
                                  .partition = 2,
                                  .offset = offset,
                                  .record = record,
                                  .actor = "consumer",
                                  .reason = "it is not ours",
                                  .attempts = 1};
    int64_t n = -1;
    assert_int_equal(dead_letter_store(pg, &letter, on_stored, &n), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    return n;
}

static record_t record_of(const char *key, const char *value)
{
    record_t record;
    record_begin(&record, key == NULL ? slice_none() : slice_str(key),
                 value == NULL ? slice_none() : slice_str(value));
    return record;
}

static int64_t count(const char *where)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM dead_letter WHERE %s", where);
    return number_of(database.url, sql);
}

static void a_record_is_stored_once(void **state)
{
    (void)state;
    record_t record = record_of("key", "value");
    record_add(&record, slice_str("content-type"), slice_str("text/plain"));
    record_add(&record, slice_of("\xff\x00", 2), slice_none());
    assert_int_equal(store(7, &record), 1);
    assert_int_equal(store(7, &record), 0);
    assert_int_equal(count("topic = 'x.task-events' AND partition = 2 AND record_offset = 7 AND "
                           "record_key = 'key' AND value = 'value' AND value_bytes = 5 AND actor = "
                           "'consumer' AND reason = 'it is not ours' AND attempts = 1 AND event_id "
                           "IS NULL"),
                     1);
    assert_int_equal(count("position('content-type' IN headers) > 0"), 1);
}

static void a_topic_made_anew_has_the_same_offsets_again(void **state)
{
    (void)state;
    record_t record = record_of("key", "another value");
    assert_int_equal(store(7, &record), 1);
    record = record_of("keyvalue", "");
    assert_int_equal(store(7, &record), 1);
}

static void no_value_is_told_from_an_empty_one(void **state)
{
    (void)state;
    record_t record = record_of(NULL, NULL);
    assert_int_equal(store(8, &record), 1);
    record = record_of("", "");
    assert_int_equal(store(9, &record), 1);
    assert_int_equal(count("record_offset = 8 AND record_key IS NULL AND value IS NULL AND "
                           "value_bytes IS NULL"),
                     1);
    assert_int_equal(count("record_offset = 9 AND value = '' AND value_bytes = 0"), 1);
}

static void a_large_record_is_whole_until_it_is_published_unless_many_wait(void **state)
{
    (void)state;
    enum { SIZE = 1024 * 1024 };
    uint8_t *bytes = calloc(1, SIZE);
    record_t record;
    assert_non_null(bytes);
    record_begin(&record, slice_of(bytes, SIZE), slice_of(bytes, SIZE));
    for (int i = 0; i < 4; i++)
        record_add(&record, slice_str("x"), slice_of(bytes, SIZE / 100));
    assert_int_equal(store(10, &record), 1);
    assert_int_equal(count("record_offset = 10 AND octet_length(value) = 1048576 AND value_bytes = "
                           "1048576 AND octet_length(record_key) = 1048576 AND "
                           "octet_length(headers) BETWEEN 10000 AND 20000"),
                     1);
    script(database.url,
           "INSERT INTO dead_letter (actor, topic, partition, record_offset, digest, reason, "
           "attempts) SELECT 'x', 't', 1, i + 100000, '', 'x', 1 FROM generate_series(1, 256) i");
    record_begin(&record, slice_of(bytes, SIZE), slice_of(bytes, SIZE));
    assert_int_equal(store(12, &record), 1);
    assert_int_equal(count("record_offset = 12 AND octet_length(value) = 65536 AND value_bytes = "
                           "1048576 AND octet_length(record_key) = 4096"),
                     1);
    free(bytes);
}

static void the_oldest_records_make_room_and_events_stay(void **state)
{
    (void)state;
    script(database.url, "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts) "
                         "VALUES ('audit', 1, gen_random_uuid(), 1, 'x', 1)");
    script(database.url,
           "INSERT INTO dead_letter (actor, topic, partition, record_offset, digest, reason, "
           "attempts, published) SELECT 'x', 't', 0, i, '', 'x', 1, 'whole' FROM "
           "generate_series(1, 1200) i");
    int64_t n_waiting = count("topic IS NOT NULL AND published IS NULL");
    record_t record = record_of("key", "the newest");
    assert_int_equal(store(11, &record), 1);
    assert_int_equal(count("published IS NOT NULL"), DEAD_LETTER_MAX_ROWS - 1);
    assert_int_equal(count("topic IS NOT NULL AND published IS NULL"), n_waiting + 1);
    assert_int_equal(count("value = 'the newest'"), 1);
    assert_int_equal(count("topic = 't' AND record_offset = 1200"), 1);
    assert_int_equal(count("topic = 't' AND record_offset = 1"), 0);
    assert_int_equal(count("event_id = 1"), 1);
}

static void of_those_that_wait_ten_thousand_are_kept(void **state)
{
    (void)state;
    script(database.url,
           "INSERT INTO dead_letter (actor, topic, partition, record_offset, digest, reason, "
           "attempts) SELECT 'x', 'u', 0, i + 200000, '', 'x', 1 FROM generate_series(1, %d) i",
           DEAD_LETTER_MAX_WAITING);
    record_t record = record_of("key", "newer");
    assert_int_equal(store(13, &record), 1);
    assert_int_equal(count("topic IS NOT NULL AND published IS NULL"), DEAD_LETTER_MAX_WAITING);
    assert_int_equal(count("topic = 'u' AND record_offset = 200001"), 0);
    assert_int_equal(count("value = 'newer'"), 1);
    assert_int_equal(count("event_id = 1"), 1);
}

static void purging_takes_the_records_that_name_what_is_purged(void **state)
{
    (void)state;
    const purge_limit_t limit = {.timeout_us = LONG_US};
    purge_report_t report;
    uuid_t id;
    record_t record = record_of(STREAM, "\x81\xa1x\xc0");
    assert_int_equal(store(20, &record), 1);
    record = record_of(NULL, "{\"data\":{\"stream\":\"" STREAM "\"}}");
    assert_int_equal(store(21, &record), 1);
    record = record_of(OTHER "/" STREAM, NULL);
    assert_int_equal(store(22, &record), 1);
    record = record_of(OTHER, "{}");
    assert_int_equal(store(23, &record), 1);
    assert_true(uuid_parse(slice_str(STREAM), &id));
    assert_int_equal(purge(pg, PURGE_STREAM, &id, &limit, &report), ERR_OK);
    assert_int_equal(count("record_offset IN (20, 21, 22)"), 0);
    assert_int_equal(count("record_offset = 23"), 1);
    assert_true(uuid_parse(slice_str(OTHER), &id));
    assert_int_equal(purge(pg, PURGE_TASK, &id, &limit, &report), ERR_OK);
    assert_int_equal(count("record_offset = 23"), 0);
}

static int set_up(void **state)
{
    char error[300];
    (void)state;
    database_create(&database, "letter");
    if (migrate_run(database.url, INT64_MAX, error, sizeof error) != MIGRATE_OK)
        return -1;
    pg = connect_to(database.url, PURGE_SESSION_OPTIONS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pg_destroy(&pg);
    database_drop(&database);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_stored_once),
        cmocka_unit_test(a_topic_made_anew_has_the_same_offsets_again),
        cmocka_unit_test(no_value_is_told_from_an_empty_one),
        cmocka_unit_test(a_large_record_is_whole_until_it_is_published_unless_many_wait),
        cmocka_unit_test(the_oldest_records_make_room_and_events_stay),
        cmocka_unit_test(of_those_that_wait_ten_thousand_are_kept),
        cmocka_unit_test(purging_takes_the_records_that_name_what_is_purged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
