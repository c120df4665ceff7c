/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/db/database.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/eventlog.h"
#include "actors/migrate.h"

static database_t database;
static pg_t *pg;

#define N_STREAMS 200
#define N_REVS 30

/* Stream number N lies in shard N modulo 64 here: the tests choose the shards themselves. */
static uuid_t stream_id(int number)
{
    uuid_t id = UUID_NIL;
    id.bytes[0] = 1;
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

#define EVENTS                                                                                     \
    "INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, "       \
    "digest, salt, body) "

typedef struct {
    size_t n;
    size_t n_bytes;
    int64_t last[N_SHARDS];
    log_event_t event; /* the latest, without its slices */
    char body[8];
    bool is_body_absent;
    trace_t trace;
    int n_ends;
    eventlog_end_t end;
} heard_t;

static heard_t heard;

static void on_event(void *arg, const log_event_t *event)
{
    heard_t *self = arg;
    assert_int_equal(self->n_ends, 0);
    assert_true(event->id > self->last[event->shard]);
    self->last[event->shard] = event->id;
    self->n++;
    self->n_bytes += event->body.n_bytes;
    self->event = *event;
    self->is_body_absent = event->body.data == NULL;
    self->trace = trace_of(event->trace);
    assert_true(event->trace.data == NULL || event->trace.n_bytes == TRACE_BYTES);
    snprintf(self->body, sizeof self->body, "%.*s",
             event->body.n_bytes > 7 ? 7 : (int)event->body.n_bytes,
             (const char *)event->body.data);
    assert_int_equal(event->digest.n_bytes, DIGEST_BYTES);
    assert_memory_equal(event->epoch, "0123456789abcdef", EPOCH_CHARS);
}

static void on_end(void *arg, const eventlog_end_t *end)
{
    heard_t *self = arg;
    self->n_ends++;
    self->end = *end;
}

static const eventlog_reader_t reader = {on_event, on_end, &heard};

static void wait_for_end(void)
{
    assert_true(pg_await(pg, LONG_US));
    assert_int_equal(heard.n_ends, 1);
}

/* Reads on from `positions`, which it moves. Returns what was read. */
static size_t read_on(int64_t positions[N_SHARDS], shard_set_t shards, int limit)
{
    heard = (heard_t){0};
    memcpy(heard.last, positions, sizeof heard.last);
    assert_int_equal(eventlog_read(pg, positions, shards, limit, &reader), ERR_OK);
    wait_for_end();
    assert_int_equal(heard.end.fate, PG_OK);
    assert_int_equal(heard.end.n_events, heard.n);
    memcpy(positions, heard.last, sizeof heard.last);
    return heard.n;
}

static void each_shard_is_read_from_its_position_in_order(void **state)
{
    (void)state;
    int64_t positions[N_SHARDS] = {0};
    assert_int_equal(read_on(positions, SHARDS_ALL, 1000), N_STREAMS * N_REVS);
    assert_true(heard.end.more == 0);
    assert_int_equal(read_on(positions, SHARDS_ALL, 1000), 0);
    script(database.url, EVENTS
           "VALUES (9, '01000000-0000-0000-0000-000000000009', 31, 3, "
           "'0a000000-0000-0000-0000-000000000001',"
           " '0b000000-0000-0000-0000-000000000001', '0c000000-0000-0000-0000-000000000001', true,"
           " '2026-11-23 09:00:00.000001+00', '0123456789abcdef', decode(repeat('ab', 32), 'hex'), "
           "'\\x00',"
           " 'corpus')");
    assert_int_equal(read_on(positions, SHARDS_ALL, 1000), 1);
    uuid_t stream = stream_id(9);
    assert_int_equal(heard.event.shard, 9);
    assert_true(uuid_eq(&heard.event.stream, &stream));
    assert_int_equal(heard.event.rev, 31);
    assert_int_equal(heard.event.type, EVENT_TASK_COMPLETED);
    assert_int_equal(heard.event.stored_type, EVENT_TASK_COMPLETED);
    assert_int_equal(heard.event.task.bytes[0], 0x0a);
    assert_int_equal(heard.event.command.bytes[0], 0x0b);
    assert_int_equal(heard.event.by.bytes[0], 0x0c);
    assert_int_equal(heard.event.at_us, INT64_C(1795424400000001));
    assert_string_equal(heard.body, "corpus");
}

static void only_the_shards_asked_for_are_read(void **state)
{
    (void)state;
    int64_t positions[N_SHARDS] = {0};
    shard_set_t shards = (shard_set_t)1 << 3 | (shard_set_t)1 << 63;
    assert_int_equal(read_on(positions, shards, 1000), (4 + 3) * N_REVS);
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        assert_int_equal(positions[shard] > 0, shard == 3 || shard == 63);
    assert_int_equal(read_on(positions, 0, 1000), 0);
}

static void a_limit_says_where_there_is_more(void **state)
{
    (void)state;
    int64_t positions[N_SHARDS] = {0};
    shard_set_t shards = SHARDS_ALL;
    size_t n = 0;
    int n_reads = 0;
    while (shards != 0) {
        n += read_on(positions, shards, 7);
        assert_true(heard.n <= 7 * N_SHARDS);
        assert_true((heard.end.more & ~shards) == 0);
        shards = heard.end.more;
        n_reads++;
    }
    assert_int_equal(n, number_of(database.url, "SELECT count(*) FROM event"));
    assert_true(n_reads > 120 / 7);
}

static void large_events_come_in_portions(void **state)
{
    (void)state;
    script(
        database.url, EVENTS
        "SELECT 20 + g %% 2, ('02000000-0000-0000-0000-00000000000' || g %% 2)::uuid, g, 1, NULL,"
        " gen_random_uuid(), gen_random_uuid(), true, now(), '0123456789abcdef',"
        " decode(repeat('ab', 32), 'hex'), '\\x00', convert_to(repeat('x', 500000), 'UTF8')"
        " FROM generate_series(1, 60) AS g");
    int64_t positions[N_SHARDS] = {0};
    shard_set_t two = (shard_set_t)3 << 20;
    assert_true(read_on(positions, two, 100000) < 200);
    assert_true(heard.n_bytes <= EVENTLOG_READ_BYTES + 2 * 500000);
    assert_true(heard.end.more == two);
    size_t n = heard.n;
    while (heard.end.more != 0)
        n += read_on(positions, heard.end.more, 100000);
    assert_int_equal(n,
                     number_of(database.url, "SELECT count(*) FROM event WHERE shard IN (20, 21)"));
}

static void read_stream(const uuid_t *stream, int64_t after_rev, int limit)
{
    heard = (heard_t){0};
    assert_int_equal(eventlog_read_stream(pg, stream, after_rev, limit, &reader), ERR_OK);
    wait_for_end();
    assert_int_equal(heard.end.fate, PG_OK);
}

static void a_stream_is_read_behind_a_rev(void **state)
{
    (void)state;
    uuid_t stream = stream_id(70);
    read_stream(&stream, 0, 100);
    assert_int_equal(heard.n, N_REVS);
    assert_true(heard.end.more == 0);
    read_stream(&stream, 10, 5);
    assert_int_equal(heard.n, 5);
    assert_int_equal(heard.event.rev, 15);
    assert_int_equal(heard.event.shard, 6);
    assert_true(heard.end.more == (shard_set_t)1 << 6);
    read_stream(&stream, N_REVS, 5);
    assert_int_equal(heard.n, 0);
    stream = stream_id(N_STREAMS + 1);
    read_stream(&stream, 0, 5);
    assert_int_equal(heard.n, 0);
}

static void what_was_purged_has_no_body(void **state)
{
    (void)state;
    uuid_t stream = stream_id(80);
    script(database.url, "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL"
                         " WHERE stream = '01000000-0000-0000-0000-000000000050' AND rev = 4");
    read_stream(&stream, 3, 1);
    assert_int_equal(heard.event.rev, 4);
    assert_true(heard.is_body_absent);
    assert_true(uuid_is_nil(&heard.event.task));
    read_stream(&stream, 0, 100);
    assert_int_equal(heard.n, N_REVS);
    assert_false(heard.is_body_absent);
}

static void an_event_has_its_trace_and_what_is_none_is_left_out(void **state)
{
    (void)state;
    uuid_t stream = stream_id(310);
    script(database.url, EVENTS
           "SELECT 46, '01000000-0000-0000-0000-000000000136', rev, 2, NULL, gen_random_uuid(),"
           " gen_random_uuid(), false, now(), '0123456789abcdef', decode(repeat('11', 32), 'hex'),"
           " NULL, 'x' FROM generate_series(1, 3) rev");
    script(database.url,
           "ALTER TABLE event DISABLE TRIGGER USER; UPDATE event SET trace = decode(repeat('ab', "
           "CASE rev WHEN 1 THEN 25 ELSE 24 END), 'hex') WHERE rev < 3 AND stream = "
           "'01000000-0000-0000-0000-000000000136'; ALTER TABLE event ENABLE ALWAYS TRIGGER "
           "event_rows; ALTER TABLE event ENABLE ALWAYS TRIGGER event_truncate");
    read_stream(&stream, 0, 1);
    assert_int_equal(heard.trace.bytes[0], 0xab);
    assert_int_equal(heard.trace.bytes[TRACE_BYTES - 1], 0xab);
    for (int64_t rev = 1; rev < 3; rev++) {
        read_stream(&stream, rev, 1);
        assert_int_equal(heard.event.rev, rev + 1);
        assert_true(trace_is_none(&heard.trace));
    }
}

static void a_type_of_a_newer_program_is_unknown(void **state)
{
    (void)state;
    uuid_t stream = stream_id(300);
    script(database.url, EVENTS
           "SELECT 44, '01000000-0000-0000-0000-00000000012c', 1, 30000, NULL, gen_random_uuid(),"
           " gen_random_uuid(), true, now(), '0123456789abcdef',"
           " decode(repeat('ab', 32), 'hex'), '\\x00', 'new'");
    read_stream(&stream, 0, 10);
    assert_int_equal(heard.n, 1);
    assert_int_equal(heard.event.type, EVENT_UNKNOWN);
    assert_int_equal(heard.event.stored_type, 30000);
}

/* Three rows of a stream in shard 45, of which the second is no event. */
static void add_wrong_row(void)
{
    script(
        database.url, EVENTS
        "SELECT 45, '01000000-0000-0000-0000-00000000012d', g, 1, NULL, gen_random_uuid(),"
        " gen_random_uuid(), true, now(), CASE g WHEN 2 THEN 'short' ELSE '0123456789abcdef' END,"
        " decode(repeat('ab', 32), 'hex'), '\\x00', 'bad' FROM generate_series(1, 3) AS g");
}

static int64_t id_of_row(int rev)
{
    char sql[120];
    snprintf(sql, sizeof sql,
             "SELECT id FROM event WHERE stream = '01000000-0000-0000-0000-00000000012d' AND rev = "
             "%d",
             rev);
    return number_of(database.url, sql);
}

static void remove_wrong_row(void)
{
    script(database.url, "ALTER TABLE event DISABLE TRIGGER ALL; DELETE FROM event WHERE stream = "
                         "'01000000-0000-0000-0000-00000000012d';"
                         "ALTER TABLE event ENABLE ALWAYS TRIGGER event_rows;"
                         "ALTER TABLE event ENABLE ALWAYS TRIGGER event_truncate");
}

static void a_row_that_no_writer_wrote_ends_the_reading_of_its_stream(void **state)
{
    (void)state;
    uuid_t stream = stream_id(301);
    add_wrong_row();
    heard = (heard_t){0};
    assert_int_equal(eventlog_read_stream(pg, &stream, 0, 10, &reader), ERR_OK);
    wait_for_end();
    assert_int_equal(heard.n, 1);
    assert_int_equal(heard.end.fate, PG_REJECTED);
    remove_wrong_row();
}

static void a_row_that_no_writer_wrote_holds_up_no_shard(void **state)
{
    (void)state;
    int64_t positions[N_SHARDS] = {0};
    shard_set_t shards = (shard_set_t)1 << 45 | (shard_set_t)1 << 46;
    while (read_on(positions, shards, 1000) > 0)
        ;
    add_wrong_row();
    script(database.url, EVENTS
           "SELECT 46, '01000000-0000-0000-0000-00000000012e', 1, 1, NULL, gen_random_uuid(),"
           " gen_random_uuid(), true, now(), '0123456789abcdef',"
           " decode(repeat('ab', 32), 'hex'), '\\x00', 'good'");
    assert_int_equal(read_on(positions, shards, 1000), 3);
    assert_int_equal(positions[45], id_of_row(3));
    /* Alone it is nothing, and nothing more is to come. */
    positions[45] = id_of_row(1);
    assert_int_equal(read_on(positions, (shard_set_t)1 << 45, 1), 0);
    assert_int_equal(heard.end.more, 0);
    remove_wrong_row();
}

static void keep_heads(void *arg, pg_fate_t fate, const int64_t *heads)
{
    assert_int_equal(fate, PG_OK);
    memcpy(arg, heads, N_SHARDS * sizeof *heads);
}

static void heads_are_where_reading_ends(void **state)
{
    (void)state;
    int64_t heads[N_SHARDS] = {0};
    int64_t positions[N_SHARDS] = {0};
    assert_int_equal(eventlog_heads(pg, keep_heads, heads), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    shard_set_t shards = SHARDS_ALL;
    while (shards != 0) {
        (void)read_on(positions, shards, 500);
        shards = heard.end.more;
    }
    assert_memory_equal(heads, positions, sizeof heads);
}

static void a_lost_connection_ends_the_reading_once(void **state)
{
    (void)state;
    int64_t positions[N_SHARDS] = {0};
    heard = (heard_t){0};
    pg_t *other = connect_to(database.url, NULL);
    assert_int_equal(eventlog_read(other, positions, SHARDS_ALL, 10, &reader), ERR_OK);
    assert_int_equal(pg_sync(other), ERR_OK);
    pg_break(other, "a test wants it so");
    assert_int_equal(heard.n, 0);
    assert_int_equal(heard.n_ends, 1);
    assert_int_equal(heard.end.fate, PG_LOST);
    assert_int_equal(eventlog_read(other, positions, SHARDS_ALL, 10, &reader), ERR_UNAVAILABLE);
    assert_int_equal(eventlog_heads(other, keep_heads, NULL), ERR_UNAVAILABLE);
    assert_int_equal(heard.n_ends, 1);
    pg_destroy(&other);
}

/* How often something was scanned; sessions hand in their counts when they end. */
static int64_t scans_of(const char *name)
{
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT pg_stat_get_numscans('%s'::regclass)", name);
    return number_of(database.url, sql);
}

static void wait_for_scans(const char *name, int64_t n)
{
    int64_t deadline_us = clock_now().mono_us + LONG_US;
    while (scans_of(name) < n) {
        if (clock_now().mono_us > deadline_us)
            fail_msg("%s was scanned %lld times", name, (long long)scans_of(name));
        (void)poll(NULL, 0, 20);
    }
}

/* Prepared while the table was empty, used often enough for a plan that fits any parameters, and
 * then on a full one. */
static void every_reading_goes_by_an_index(void **state)
{
    (void)state;
    database_t young;
    char error[300];
    database_create(&young, "eventlog_young");
    assert_int_equal(migrate_run(young.url, INT64_MAX, error, sizeof error), MIGRATE_OK);
    database_t old = database;
    pg_t *old_pg = pg;
    database = young;
    pg = connect_to(young.url, NULL);
    /* Making an index counts as reading the whole table. */
    int64_t n_indexes =
        number_of(young.url, "SELECT count(*) FROM pg_index WHERE indrelid = 'event'::regclass");
    wait_for_scans("event", n_indexes);
    uuid_t stream = stream_id(1);
    for (int i = 0; i < 20; i++) {
        int64_t positions[N_SHARDS] = {0};
        int64_t heads[N_SHARDS];
        (void)read_on(positions, SHARDS_ALL, 10);
        read_stream(&stream, 1, 10);
        assert_int_equal(eventlog_heads(pg, keep_heads, heads), ERR_OK);
        assert_true(pg_await(pg, LONG_US));
        if (i == 10)
            script(young.url, EVENTS
                   "SELECT g %% 64, ('01000000-0000-0000-0000-' || lpad(to_hex(g %% 500), 12, "
                   "'0'))::uuid,"
                   " g / 500 + 1, 1, NULL, gen_random_uuid(), gen_random_uuid(), true, now(),"
                   " '0123456789abcdef', decode(repeat('ab', 32), 'hex'), '\\x00', 'young'"
                   " FROM generate_series(0, 19999) AS g");
    }
    pg_destroy(&pg);
    wait_for_scans("event_log", 20 * 2 * N_SHARDS);
    wait_for_scans("event_pkey", 20);
    assert_int_equal(scans_of("event"), n_indexes);
    database = old;
    pg = old_pg;
    database_drop(&young);
}

static int set_up(void **state)
{
    (void)state;
    char error[300];
    database_create(&database, "eventlog");
    if (migrate_run(database.url, INT64_MAX, error, sizeof error) != MIGRATE_OK)
        fail_msg("%s", error);
    script(database.url,
           EVENTS "SELECT s %% 64, ('01000000-0000-0000-0000-' || lpad(to_hex(s), 12, '0'))::uuid, "
                  "r, 1, NULL,"
                  " gen_random_uuid(), gen_random_uuid(), true, now(), '0123456789abcdef',"
                  " decode(repeat('ab', 32), 'hex'), '\\x00', convert_to(s || '.' || r, 'UTF8')"
                  " FROM generate_series(1, %d) AS r, generate_series(0, %d) AS s ORDER BY r, s",
           N_REVS, N_STREAMS - 1);
    pg = connect_to(database.url, NULL);
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
        cmocka_unit_test(each_shard_is_read_from_its_position_in_order),
        cmocka_unit_test(only_the_shards_asked_for_are_read),
        cmocka_unit_test(a_limit_says_where_there_is_more),
        cmocka_unit_test(large_events_come_in_portions),
        cmocka_unit_test(a_stream_is_read_behind_a_rev),
        cmocka_unit_test(what_was_purged_has_no_body),
        cmocka_unit_test(an_event_has_its_trace_and_what_is_none_is_left_out),
        cmocka_unit_test(a_type_of_a_newer_program_is_unknown),
        cmocka_unit_test(a_row_that_no_writer_wrote_ends_the_reading_of_its_stream),
        cmocka_unit_test(a_row_that_no_writer_wrote_holds_up_no_shard),
        cmocka_unit_test(heads_are_where_reading_ends),
        cmocka_unit_test(a_lost_connection_ends_the_reading_once),
        cmocka_unit_test(every_reading_goes_by_an_index),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
