/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters on their way into their topic: against a real database, and the cluster that
 * librdkafka plays itself. */
#include "tests/db/history.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "actors/pg_loop.h"
#include "bridge/dead_letter.h"
#include "bridge/kafka_reader.h"
#include "bridge/outbox.h"
#include "bridge/topics.h"

#define LIMIT_US INT64_C(30000000)
#define MAC_KEY "the key of this database, 32 byt"
#define MAX_SEEN 512
#define PRODUCE 0 /* the request, in the protocol */

/* What a record of the topic said. */
typedef struct {
    char reason[64];
    char origin[64]; /* topic/partition@offset */
    char value_bytes[24]; /* "" without that header */
    size_t n_value;
    bool is_null;
    bool has_position;
} shown_t;

static struct {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    network_t network;
    config_t *config;
    topics_t *topics;
    kafka_reader_t *reader;
    shown_t seen[MAX_SEEN];
    int n_seen;
    actor_t *actor; /* who drives the outbox */
    pg_t *actors_pg;
    pg_loop_t loop;
    outbox_t *outbox;
    bool is_on;
    int64_t next_offset;
} world;

/* --- the actor --- */

static err_t open_outbox(void *arg, actor_t *actor)
{
    static const pg_options_t none = {.who = "the test's outbox"};
    pg_options_t options = none;
    (void)arg;
    options.url = database.url;
    world.actors_pg = pg_new(&options);
    pg_loop_init(&world.loop, actor, world.actors_pg);
    world.outbox = outbox_new(&world.network, actor, world.actors_pg);
    return ERR_OK;
}

static int64_t outbox_due(void *arg, now_t now)
{
    (void)arg;
    (void)pg_loop_turn(&world.loop, now);
    (void)outbox_turn(world.outbox, world.is_on, now);
    (void)pg_loop_turn(&world.loop, now);
    return 0;
}

static void close_outbox(void *arg)
{
    (void)arg;
    pg_loop_fini(&world.loop);
    pg_destroy(&world.actors_pg);
    outbox_destroy(&world.outbox);
}

static void start_actor(void)
{
    static const actor_ops_t ops = {
        .name = "outbox", .open = open_outbox, .due = outbox_due, .close = close_outbox};
    world.is_on = true;
    world.actor = actor_new(&ops, NULL, world.network.post, "outbox", 16);
}

/* --- the topic --- */

static void copy_header(const record_t *record, const char *name, char *out, size_t size)
{
    slice_t value = slice_none();
    (void)record_find(record, name, &value);
    snprintf(out, size, "%.*s", (int)value.n_bytes,
             value.data == NULL ? "" : (const char *)value.data);
}

static void see(const record_t *record)
{
    shown_t *seen = &world.seen[world.n_seen++];
    char topic[30], partition[12], offset[20];
    slice_t position;
    assert_true(world.n_seen < MAX_SEEN);
    copy_header(record, "reason", seen->reason, sizeof seen->reason);
    copy_header(record, "origin-topic", topic, sizeof topic);
    copy_header(record, "origin-partition", partition, sizeof partition);
    copy_header(record, "origin-offset", offset, sizeof offset);
    snprintf(seen->origin, sizeof seen->origin, "%s/%s@%s", topic, partition, offset);
    copy_header(record, "value-bytes", seen->value_bytes, sizeof seen->value_bytes);
    seen->n_value = record->value.n_bytes;
    seen->is_null = record->value.data == NULL;
    seen->has_position = record_find(record, RECORD_POSITION, &position);
}

static void step(void)
{
    kafka_message_t message;
    record_t record;
    (void)actor_step(world.actor, clock_now());
    kafka_reader_serve(world.reader);
    while (kafka_reader_take(world.reader, 0, &message, 1) == 1) {
        kafka_message_record(&message, &record);
        see(&record);
        kafka_message_release(&message);
    }
    (void)poll(NULL, 0, 1);
}

#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        int64_t deadline = clock_now().mono_us + LIMIT_US;                                         \
        while (!(condition)) {                                                                     \
            step();                                                                                \
            if (clock_now().mono_us > deadline)                                                    \
                fail_msg("waited too long for " #condition);                                       \
        }                                                                                          \
    } while (0)

static const shown_t *find(const char *reason)
{
    for (int i = 0; i < world.n_seen; i++) {
        if (strcmp(world.seen[i].reason, reason) == 0)
            return &world.seen[i];
    }
    return NULL;
}

/* --- the table --- */

static void store(const char *reason, size_t n_value)
{
    record_t record;
    uint8_t *value = malloc(n_value + 1);
    assert_non_null(value);
    memset(value, 'x', n_value);
    record_begin(&record, slice_str("key"), slice_of(value, n_value));
    record_add(&record, slice_str("content-type"), slice_str("text/plain"));
    const dead_letter_t letter = {.topic = "task-events",
                                  .partition = 2,
                                  .offset = world.next_offset++,
                                  .record = &record,
                                  .actor = "consumer",
                                  .reason = reason,
                                  .attempts = 1};
    assert_int_equal(dead_letter_store(pg, &letter, NULL, NULL), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    free(value);
}

static int64_t count(const char *where)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM dead_letter WHERE %s", where);
    return number_of(database.url, sql);
}

/* --- the world --- */

static int setup(void **state)
{
    static const int n_partitions[KAFKA_N_TOPICS] = {3, 1, 3, 1};
    char error[CONFIG_ERROR_CHARS], brokers[300], url[700], dir[100];
    (void)state;
    memset(&world, 0, sizeof world);
    h_begin("outbox");
    script(database.url, "UPDATE log_epoch SET mac_key = '" MAC_KEY "'");
    world.host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    world.cluster = rd_kafka_mock_cluster_new(world.host, 1);
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++)
        rd_kafka_mock_topic_create(world.cluster, kafka_topic_names[i], n_partitions[i], 1);
    snprintf(brokers, sizeof brokers, "TASKWIRE_KAFKA_BROKERS=%s",
             rd_kafka_mock_cluster_bootstraps(world.cluster));
    snprintf(url, sizeof url, "TASKWIRE_DATABASE_URL=%s", database.url);
    snprintf(dir, sizeof dir, "TASKWIRE_DATA_DIR=%s", data_dir);
    char *env[] = {brokers, url, dir, NULL};
    world.config = config_new(env, NULL, 0, error);
    assert_non_null(world.config);
    world.network.config = world.config;
    world.network.metrics = metrics_new();
    world.network.post = post_new();
    world.topics = topics_new(&world.network);
    world.network.topics = world.topics;
    while (topics_partitions(world.topics, KAFKA_DEAD_LETTER) == 0)
        (void)actor_step(topics_actor(world.topics), clock_now());
    world.reader =
        kafka_reader_new(world.config, KAFKA_DEAD_LETTER, KAFKA_FROM_START, error, sizeof error);
    assert_non_null(world.reader);
    kafka_reader_assign(world.reader, 1);
    start_actor();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    actor_destroy(&world.actor);
    assert_true(kafka_reader_destroy(&world.reader, clock_now().mono_us + LIMIT_US));
    topics_destroy(&world.topics);
    post_destroy(&world.network.post);
    metrics_destroy(&world.network.metrics);
    config_destroy(&world.config);
    rd_kafka_mock_cluster_destroy(world.cluster);
    rd_kafka_destroy(world.host);
    h_end();
    return 0;
}

/* --- claims --- */

static void a_letter_goes_to_the_topic_whole_and_the_table_keeps_its_beginning(void **state)
{
    (void)state;
    store("small", 5);
    store("large", 300000);
    AWAIT(count("published = 'whole'") == 2 && world.n_seen == 2);
    assert_string_equal(find("small")->origin, "task-events/2@0");
    assert_int_equal(find("small")->n_value, 5);
    assert_int_equal(find("large")->n_value, 300000);
    assert_string_equal(find("large")->value_bytes, "");
    assert_int_equal(count("octet_length(value) = 65536 AND value_bytes = 300000"), 1);
}

static void an_event_that_an_actor_refused_goes_as_its_record(void **state)
{
    uuid_t id = h_stream(1);
    (void)state;
    h_add(&id, 1, 2, 1000);
    h_add(&id, 3, 3, 1000);
    script(database.url,
           "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts) SELECT "
           "'audit', id, stream, rev, 'rev ' || rev, 1 FROM event");
    h_tamper("UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE rev = 3");
    script(database.url, "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts) "
                         "VALUES ('audit', 999, gen_random_uuid(), 7, 'gone', 1)");
    AWAIT(world.n_seen == 4);
    assert_true(find("rev 2")->has_position);
    assert_true(find("rev 2")->n_value > 1000);
    assert_true(find("rev 3")->has_position);
    assert_true(find("rev 3")->n_value < 1000);
    assert_non_null(strstr(find("rev 2")->origin, "@-1"));
    assert_true(find("gone")->is_null);
    AWAIT(count("published = 'whole'") == 4);
}

static void what_was_sent_but_not_marked_is_sent_again_and_the_rest_is_not(void **state)
{
    (void)state;
    store("first", 1);
    AWAIT(count("published = 'whole'") == 1 && world.n_seen == 1);
    store("second", 1);
    AWAIT(world.n_seen == 2); /* it may be marked or not */
    actor_destroy(&world.actor);
    script(database.url, "UPDATE dead_letter SET published = NULL WHERE reason = 'second'");
    start_actor();
    AWAIT(count("published = 'whole'") == 2 && world.n_seen == 3);
    assert_string_equal(world.seen[2].reason, "second");
}

static void while_kafka_is_away_letters_wait(void **state)
{
    (void)state;
    store("before", 1);
    AWAIT(count("published = 'whole'") == 1);
    rd_kafka_mock_broker_set_down(world.cluster, 1);
    for (int i = 0; i < 200; i++)
        store("meanwhile", 1);
    for (int i = 0; i < 300; i++)
        step();
    assert_int_equal(count("published IS NULL"), 200);
    rd_kafka_mock_broker_set_up(world.cluster, 1);
    AWAIT(count("published = 'whole'") == 201);
    AWAIT(world.n_seen >= 201);
}

static void one_that_kafka_refuses_goes_without_its_value(void **state)
{
    (void)state;
    rd_kafka_mock_push_request_errors(world.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    store("refused", 1000);
    AWAIT(count("published = 'cut'") == 1 && world.n_seen == 1);
    assert_true(find("refused")->is_null);
    assert_string_equal(find("refused")->value_bytes, "1000");
    assert_int_equal(count("octet_length(value) = 1000"), 1);
    store("next", 1000);
    AWAIT(count("published = 'whole'") == 1 && find("next") != NULL);
    assert_int_equal(find("next")->n_value, 1000);
}

static void one_that_is_refused_all_the_same_stays_in_the_table_and_holds_up_nobody(void **state)
{
    (void)state;
    rd_kafka_mock_push_request_errors(world.cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    store("refused", 1000);
    store("next", 1000);
    AWAIT(count("published IS NULL") == 0);
    assert_int_equal(count("published = 'refused'") + count("published = 'cut'"), 1);
    AWAIT(find("next") != NULL);
}

static void of_many_the_one_that_is_refused_is_found(void **state)
{
    (void)state;
    world.is_on = false;
    step();
    for (int i = 0; i < 10; i++)
        store("good", 10);
    store("too large for any record", 5 * 1024 * 1024); /* the library itself refuses it */
    for (int i = 0; i < 10; i++)
        store("good", 10);
    world.is_on = true;
    AWAIT(count("published IS NULL") == 0);
    assert_int_equal(count("published = 'whole' AND reason = 'good'"), 20);
    assert_int_equal(count("published = 'cut'"), 1);
    AWAIT(find("too large for any record") != NULL);
    assert_string_equal(find("too large for any record")->value_bytes, "5242880");
}

static void one_that_had_to_be_cut_in_the_table_says_how_large_it_was(void **state)
{
    (void)state;
    world.is_on = false;
    step();
    script(database.url,
           "INSERT INTO dead_letter (actor, topic, partition, record_offset, digest, reason, "
           "attempts) SELECT 'x', 't', 0, i, '', 'x', 1 FROM generate_series(1, %d) i",
           DEAD_LETTER_MAX_WHOLE);
    store("cut", 70000);
    assert_int_equal(count("reason = 'cut' AND octet_length(value) = 65536"), 1);
    world.is_on = true;
    AWAIT(find("cut") != NULL);
    assert_int_equal(find("cut")->n_value, 65536);
    assert_string_equal(find("cut")->value_bytes, "70000");
}

static void who_does_not_lead_sends_nothing(void **state)
{
    (void)state;
    store("first", 1);
    AWAIT(count("published = 'whole'") == 1);
    world.is_on = false;
    store("second", 1);
    for (int i = 0; i < 1500; i++)
        step();
    assert_int_equal(count("published IS NULL"), 1);
    world.is_on = true;
    AWAIT(count("published = 'whole'") == 2);
}

int main(void)
{
#define TEST(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_letter_goes_to_the_topic_whole_and_the_table_keeps_its_beginning),
        TEST(an_event_that_an_actor_refused_goes_as_its_record),
        TEST(what_was_sent_but_not_marked_is_sent_again_and_the_rest_is_not),
        TEST(while_kafka_is_away_letters_wait),
        TEST(one_that_kafka_refuses_goes_without_its_value),
        TEST(one_that_is_refused_all_the_same_stays_in_the_table_and_holds_up_nobody),
        TEST(of_many_the_one_that_is_refused_is_found),
        TEST(one_that_had_to_be_cut_in_the_table_says_how_large_it_was),
        TEST(who_does_not_lead_sends_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
