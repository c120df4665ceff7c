/* SPDX-License-Identifier: Apache-2.0 */
/* When a new epoch begins and when not, and what becomes of what the old one has left. */
#include "tests/db/history.h"

#include "actors/lineage.h"

static lineage_t *lineage;

/* A session that writes; it can be used when this returns. */
static pg_t *greeted(lineage_t *by)
{
    pg_options_t options = {.url = database.url, .who = "test"};
    lineage_guard(by, &options);
    pg_t *session = pg_new(&options);
    assert_true(pg_await(session, LONG_US));
    return session;
}

static void greet(lineage_t *by)
{
    pg_t *session = greeted(by);
    pg_destroy(&session);
}

static int64_t n_epochs(void)
{
    return 1 + h_number("SELECT count(*) FROM past_epoch");
}

static bool is_epoch(const char *epoch)
{
    return h_number("SELECT count(*) FROM log_epoch WHERE epoch = '%s'", epoch) == 1;
}

static bool is_past(const char *epoch)
{
    return h_number("SELECT count(*) FROM past_epoch WHERE epoch = '%s'", epoch) == 1;
}

/* A stream of four events, in an epoch that is known to nobody; a lineage without anchors. */
static int begin_test(void **state)
{
    uuid_t stream = h_stream(1);
    (void)state;
    h_tamper("DELETE FROM event");
    script(database.url, "DELETE FROM stream; DELETE FROM past_epoch; DELETE FROM relay_position;"
                         "DELETE FROM reminder; UPDATE log_epoch SET epoch = '" H_EPOCH
                         "', mac_key = 'key', system_identifier = NULL, timeline = NULL, log_table "
                         "= NULL");
    h_add(&stream, 1, 4, 10);
    h_empty_dir();
    lineage = lineage_new(data_dir);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    lineage_destroy(&lineage);
    return 0;
}

static void lose_events_after(int64_t rev)
{
    h_tamper("DELETE FROM event WHERE rev > %lld", (long long)rev);
}

/* --- */

static void a_database_that_nobody_has_seen_is_taken_as_it_is(void **state)
{
    (void)state;
    greet(lineage);
    greet(lineage);
    assert_true(is_epoch(H_EPOCH));
    assert_int_equal(n_epochs(), 1);
    assert_int_equal(h_number("SELECT count(*) FROM log_epoch l, pg_control_system() s WHERE "
                              "l.system_identifier = s.system_identifier AND l.timeline ~ "
                              "'^[0-9A-F]{8}$' AND l.log_table = 'event'::regclass"),
                     1);
}

static void a_log_that_has_grown_is_the_same(void **state)
{
    (void)state;
    uuid_t stream = h_stream(1), other = h_stream(2);
    greet(lineage);
    h_add(&stream, 5, 9, 10);
    h_add(&other, 1, 2, 10);
    greet(lineage);
    assert_int_equal(n_epochs(), 1);
}

static void a_log_that_has_lost_its_end_begins_a_new_epoch_with_a_new_key(void **state)
{
    (void)state;
    greet(lineage);
    lose_events_after(3);
    greet(lineage);
    assert_false(is_epoch(H_EPOCH));
    assert_true(is_past(H_EPOCH));
    assert_int_equal(n_epochs(), 2);
    assert_int_equal(h_number("SELECT count(*) FROM log_epoch WHERE mac_key <> 'key' AND "
                              "length(mac_key) = 32 AND length(epoch) = 16"),
                     1);
    greet(lineage);
    assert_int_equal(n_epochs(), 2);
}

static void note(void *arg, const log_event_t *event)
{
    lineage_note(arg, event);
}

static void an_event_that_was_noted_is_missed_too(void **state)
{
    (void)state;
    uuid_t stream = h_stream(1);
    greet(lineage);
    h_add(&stream, 5, 5, 10);
    const eventlog_reader_t reader = {note, h_on_end, lineage};
    assert_int_equal(eventlog_read_stream(pg, &stream, 4, 1, &reader), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    lose_events_after(4);
    greet(lineage);
    assert_int_equal(n_epochs(), 2);
}

static void another_event_in_the_place_of_the_last_one_is_missed_as_well(void **state)
{
    (void)state;
    greet(lineage);
    h_tamper("UPDATE event SET digest = decode(repeat('00', 32), 'hex') WHERE rev = 4");
    greet(lineage);
    assert_int_equal(n_epochs(), 2);
}

static void another_server_timeline_or_table_begins_a_new_epoch(void **state)
{
    static const char *const changes[] = {"system_identifier = system_identifier + 1",
                                          "timeline = '000000FF'", "log_table = 1"};
    (void)state;
    greet(lineage);
    for (int i = 0; i < 3; i++) {
        script(database.url, "UPDATE log_epoch SET %s", changes[i]);
        greet(lineage);
        assert_int_equal(n_epochs(), i + 2);
    }
    greet(lineage);
    assert_int_equal(n_epochs(), 4);
}

/* --- what others know --- */

static void an_epoch_that_another_process_began_is_followed(void **state)
{
    (void)state;
    lineage_t *other = lineage_new(data_dir);
    greet(lineage);
    greet(other);
    lose_events_after(2);
    greet(other);
    assert_int_equal(n_epochs(), 2);
    greet(lineage);
    greet(other);
    assert_int_equal(n_epochs(), 2);
    lineage_destroy(&other);
}

static void a_database_from_before_our_epoch_begins_a_third(void **state)
{
    (void)state;
    greet(lineage);
    lose_events_after(3);
    greet(lineage);
    script(database.url, "DELETE FROM past_epoch; UPDATE log_epoch SET epoch = '" H_EPOCH "'");
    greet(lineage);
    assert_false(is_epoch(H_EPOCH));
    assert_int_equal(n_epochs(), 3);
}

static void of_many_sessions_one_begins_the_epoch(void **state)
{
    (void)state;
    pg_t *sessions[8];
    pg_options_t options = {.url = database.url, .who = "test"};
    greet(lineage);
    lose_events_after(3);
    lineage_guard(lineage, &options);
    for (int i = 0; i < 8; i++)
        sessions[i] = pg_new(&options);
    for (int64_t until = clock_now().mono_us + LONG_US; clock_now().mono_us < until;) {
        int n_ready = 0;
        for (int i = 0; i < 8; i++) {
            pg_step(sessions[i], clock_now());
            n_ready += pg_is_ready(sessions[i]);
        }
        if (n_ready == 8)
            break;
    }
    for (int i = 0; i < 8; i++) {
        assert_true(pg_is_ready(sessions[i]));
        pg_destroy(&sessions[i]);
    }
    assert_int_equal(n_epochs(), 2);
}

static void no_session_can_be_used_before_it_was_compared(void **state)
{
    (void)state;
    greet(lineage);
    lose_events_after(3);
    pg_t *writer = connect_to(database.url, NULL);
    static const pg_stmt_t hold = {"SELECT pg_advisory_lock(7461, 17)"};
    assert_int_equal(pg_run(writer, &hold, NULL, NULL, NULL, LONG_US), PG_OK);
    pg_options_t options = {.url = database.url, .who = "test"};
    lineage_guard(lineage, &options);
    pg_t *session = pg_new(&options);
    assert_false(pg_await(session, 300000));
    assert_false(pg_is_ready(session));
    assert_false(pg_is_connected(session));
    assert_int_equal(n_epochs(), 1);
    pg_destroy(&writer);
    assert_true(pg_await(session, LONG_US));
    assert_true(pg_is_ready(session));
    assert_int_equal(n_epochs(), 2);
    pg_destroy(&session);
}

/* --- anchors --- */

static void write_anchor(int64_t rev, const char *epoch)
{
    char error[200] = "";
    anchor_t *anchor = anchor_open(data_dir, error, sizeof error);
    assert_non_null(anchor);
    const anchor_head_t head = {.stream = h_stream(1), .rev = rev};
    const anchor_block_t block = {
        .heads = &head, .n_heads = 1, .epoch = epoch, .at_us = H_START_US};
    assert_true(anchor_append(anchor, &block, error, sizeof error));
    anchor_close(&anchor);
}

static void learn_anchors(void)
{
    lineage_destroy(&lineage);
    lineage = lineage_new(data_dir);
    greet(lineage);
}

static void anchors_within_the_log_are_no_contradiction(void **state)
{
    (void)state;
    for (int64_t rev = 1; rev <= 4; rev++)
        write_anchor(rev, H_EPOCH);
    learn_anchors();
    assert_int_equal(n_epochs(), 1);
}

static void an_anchor_beyond_a_head_begins_a_new_epoch_once(void **state)
{
    (void)state;
    write_anchor(4, H_EPOCH);
    write_anchor(5, H_EPOCH);
    learn_anchors();
    assert_true(is_past(H_EPOCH));
    assert_int_equal(n_epochs(), 2);
    learn_anchors();
    assert_int_equal(n_epochs(), 2);
}

static void without_a_directory_there_are_no_anchors(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        lineage_t *homeless = lineage_new(i == 0 ? NULL : "");
        greet(homeless);
        lineage_destroy(&homeless);
    }
    assert_int_equal(n_epochs(), 1);
}

static void only_the_newest_anchors_count(void **state)
{
    (void)state;
    write_anchor(9, H_EPOCH);
    write_anchor(4, H_EPOCH);
    learn_anchors();
    assert_int_equal(n_epochs(), 1);
}

static void a_torn_block_of_anchors_is_passed_over(void **state)
{
    (void)state;
    char path[200];
    write_anchor(5, H_EPOCH);
    snprintf(path, sizeof path, "%s/anchors", data_dir);
    FILE *file = fopen(path, "a");
    fputs("block 2026-11-23T09:00:00Z " H_EPOCH " 3 abc\n01234567-", file);
    fclose(file);
    learn_anchors();
    assert_int_equal(n_epochs(), 2);
}

static void anchors_of_an_epoch_that_the_database_does_not_know_are_ahead_of_it(void **state)
{
    (void)state;
    write_anchor(2, "00000000000000aa");
    learn_anchors();
    assert_true(is_past("00000000000000aa") && is_past(H_EPOCH));
    learn_anchors();
    assert_int_equal(n_epochs(), 3);
}

static void a_file_that_is_none_of_anchors_ends_no_epoch(void **state)
{
    (void)state;
    char path[200];
    snprintf(path, sizeof path, "%s/anchors", data_dir);
    FILE *file = fopen(path, "w");
    fputs("block of wood\n", file);
    fclose(file);
    learn_anchors();
    assert_int_equal(n_epochs(), 1);
}

/* --- what is left --- */

static void positions_and_rows_beyond_the_log_are_not_beyond_it_any_more(void **state)
{
    (void)state;
    greet(lineage);
    int64_t id = h_number("SELECT max(id) FROM event WHERE rev = 3");
    int64_t shard = h_number("SELECT min(shard) FROM event");
    script(
        database.url,
        "INSERT INTO relay_position VALUES ('audit', %lld, 1000000), ('recurrence', %lld, 2),"
        " ('audit', %lld, 77), ('reminder', %lld, 2);"
        "INSERT INTO reminder SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), k, "
        "0, now() FROM unnest(ARRAY[1, 1000000]) k",
        (long long)shard, (long long)shard, (long long)(shard + 1) % 64, (long long)shard);
    lose_events_after(3);
    greet(lineage);
    assert_int_equal(n_epochs(), 2);
    assert_int_equal(h_number("SELECT id FROM relay_position WHERE actor = 'audit' AND shard = "
                              "%lld",
                              (long long)shard),
                     id);
    assert_int_equal(h_number("SELECT count(*) FROM relay_position WHERE id = 77"), 0);
    assert_int_equal(h_number("SELECT id FROM relay_position WHERE actor = 'recurrence'"), 2);
    assert_int_equal(h_number("SELECT count(*) FROM relay_position WHERE actor = 'reminder'"), 0);
    assert_int_equal(h_number("SELECT count(*) FROM reminder"), 1);
}

static void no_id_is_given_out_twice(void **state)
{
    (void)state;
    greet(lineage);
    int64_t last = h_number("SELECT max(id) FROM event");
    lose_events_after(1);
    script(database.url, "SELECT setval('event_id', 1)");
    greet(lineage);
    assert_true(h_number("SELECT nextval('event_id')") > last);
}

static int begin(void **state)
{
    (void)state;
    h_begin("lineage");
    return 0;
}

static int end(void **state)
{
    (void)state;
    h_end();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_database_that_nobody_has_seen_is_taken_as_it_is),
        TEST(a_log_that_has_grown_is_the_same),
        TEST(a_log_that_has_lost_its_end_begins_a_new_epoch_with_a_new_key),
        TEST(an_event_that_was_noted_is_missed_too),
        TEST(another_event_in_the_place_of_the_last_one_is_missed_as_well),
        TEST(another_server_timeline_or_table_begins_a_new_epoch),
        TEST(an_epoch_that_another_process_began_is_followed),
        TEST(a_database_from_before_our_epoch_begins_a_third),
        TEST(of_many_sessions_one_begins_the_epoch),
        TEST(no_session_can_be_used_before_it_was_compared),
        TEST(anchors_within_the_log_are_no_contradiction),
        TEST(an_anchor_beyond_a_head_begins_a_new_epoch_once),
        TEST(without_a_directory_there_are_no_anchors),
        TEST(only_the_newest_anchors_count),
        TEST(a_torn_block_of_anchors_is_passed_over),
        TEST(anchors_of_an_epoch_that_the_database_does_not_know_are_ahead_of_it),
        TEST(a_file_that_is_none_of_anchors_ends_no_epoch),
        TEST(positions_and_rows_beyond_the_log_are_not_beyond_it_any_more),
        TEST(no_id_is_given_out_twice),
    };
    log_configure(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, begin, end);
}
