/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the log on its way into Kafka when the broker is in trouble: the relay against a
 * real database, and the cluster that librdkafka plays itself. */
#include "tests/db/history.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "bridge/kafka_reader.h"
#include "bridge/record.h"
#include "bridge/relay.h"
#include "bridge/topics.h"

#define LIMIT_US INT64_C(40000000)
#define END_US INT64_C(10000000)
#define MAX_STREAMS 100
#define N_PARTITIONS 3
#define PRODUCE 0 /* the request, in the protocol */
#define MAC_KEY "the key of this database, 32 byt"

static struct {
    rd_kafka_t *host; /* the mock lives in a handle */
    rd_kafka_mock_cluster_t *cluster;
    network_t network;
    config_t *config;
    topics_t *topics;
    relay_t *relay;
    kafka_reader_t *reader;
    record_coder_t *coder;
    int64_t next[MAX_STREAMS]; /* the rev that comes next; 0 is as 1 */
    int64_t n_again;
    int n_terms; /* of the relay */
    bool is_leading;
} world;

/* --- the log, and the topic --- */

/* Events that change no task, so that each is one record. */
static void add(int stream, int64_t first, int64_t last)
{
    uuid_t id = h_stream(stream);
    for (int64_t rev = first; rev <= last; rev++) {
        buf_t body = {0};
        event_t event = h_event(&id, rev);
        event.type = EVENT_LIST_UPDATED;
        event.task = UUID_NIL;
        h_encode(&event, 100, &body);
        h_put_event(&event, buf_slice(&body), (int16_t)event.type);
        buf_fini(&body);
        if (pg_in_flight(pg) > PG_MAX_IN_FLIGHT / 2)
            assert_true(pg_await(pg, LONG_US));
    }
    assert_true(pg_await(pg, LONG_US));
    h_set_head(&id, last);
}

static void take(const kafka_message_t *message)
{
    record_t record;
    record_position_t place;
    log_event_t event;
    const char *why = "";
    kafka_message_record(message, &record);
    if (record_read(world.coder, &record, &place, &event, &why) != RECORD_EVENT)
        fail_msg("a record that is none: %s", why);
    int64_t *next = &world.next[event.stream.bytes[14] << 8 | event.stream.bytes[15]];
    int64_t rev = *next == 0 ? 1 : *next;
    if (event.rev > rev)
        fail_msg("revision %lld in place of %lld", (long long)event.rev, (long long)rev);
    if (event.rev < rev)
        world.n_again++;
    else
        *next = rev + 1;
}

static void read_topic(void)
{
    kafka_message_t messages[100];
    kafka_reader_serve(world.reader);
    for (int32_t partition = 0; partition < N_PARTITIONS; partition++) {
        size_t n = kafka_reader_take(world.reader, partition, messages, 100);
        for (size_t i = 0; i < n; i++) {
            take(&messages[i]);
            kafka_message_release(&messages[i]);
        }
    }
}

static int64_t gauge(const char *name)
{
    return metric_value(metrics_gauge(world.network.metrics, name, NULL, ""));
}

static void step(void)
{
    (void)actor_step(topics_actor(world.topics), clock_now());
    (void)actor_step(relay_actor(world.relay), clock_now());
    bool is_leading = gauge("taskwire_relay_leading") != 0;
    world.n_terms += is_leading && !world.is_leading;
    world.is_leading = is_leading;
    if (world.reader != NULL)
        read_topic();
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

static bool has_all(int first, int last, int64_t rev)
{
    for (int stream = first; stream <= last; stream++) {
        if (world.next[stream] != rev + 1)
            return false;
    }
    return true;
}

static int64_t count(const char *name)
{
    return metric_value(metrics_counter(world.network.metrics, name, NULL, ""));
}

static int64_t depth(void)
{
    return gauge("taskwire_kafka_producer_queue_records");
}

/* Shards whose newest event is so (">") to what is said to be in Kafka. */
static int64_t n_differing(const char *relation)
{
    return h_number("SELECT count(*) FROM (SELECT shard, max(id) AS top FROM event GROUP BY shard) "
                    "e LEFT JOIN relay_position p ON p.actor = 'kafka' AND p.shard = e.shard WHERE "
                    "e.top %s coalesce(p.id, 0)",
                    relation);
}

/* --- the world --- */

static int setup(void **state)
{
    static const int n_partitions[] = {[KAFKA_TASK_EVENTS] = N_PARTITIONS,
                                       [KAFKA_REMINDERS] = 1,
                                       [KAFKA_TASK_UPDATES] = 3,
                                       [KAFKA_DEAD_LETTER] = 1};
    char error[600], brokers[600], url[700], dir[100];
    (void)state;
    h_begin("publisher");
    script(database.url, "UPDATE log_epoch SET mac_key = '" MAC_KEY "'");
    world.host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    world.cluster = rd_kafka_mock_cluster_new(world.host, 1);
    for (int i = 0; i < KAFKA_N_TOPICS; i++)
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
    world.coder = record_coder_new(RECORD_JSON);
    record_coder_key(world.coder, H_EPOCH, slice_str(MAC_KEY));
    world.topics = topics_new(&world.network);
    world.network.topics = world.topics;
    world.relay = relay_new(&world.network);
    AWAIT(topics_partitions(world.topics, KAFKA_TASK_EVENTS) == N_PARTITIONS);
    world.reader =
        kafka_reader_new(world.config, KAFKA_TASK_EVENTS, KAFKA_FROM_START, error, sizeof error);
    assert_non_null(world.reader);
    kafka_reader_assign(world.reader, N_PARTITIONS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(kafka_reader_destroy(&world.reader, clock_now().mono_us + END_US));
    relay_destroy(&world.relay);
    topics_destroy(&world.topics);
    post_destroy(&world.network.post);
    metrics_destroy(&world.network.metrics);
    record_coder_destroy(&world.coder);
    config_destroy(&world.config);
    rd_kafka_mock_cluster_destroy(world.cluster);
    rd_kafka_destroy(world.host);
    h_end();
    return 0;
}

/* --- claims --- */

static void every_event_gets_into_the_topic_and_that_is_saved(void **state)
{
    (void)state;
    for (int stream = 1; stream <= 20; stream++)
        add(stream, 1, 10);
    AWAIT(has_all(1, 20, 10));
    AWAIT(n_differing("<>") == 0);
    if (world.n_terms > 1)
        return; /* so slow a machine that the lease was lost: another term sends again */
    assert_int_equal(world.n_again, 0);
    assert_int_equal(count("taskwire_kafka_producers_ended_total"), 0);
}

/* As when the broker does not know any more what it has got from us: what is under way may be there
 * or not. The library ends the producer. */
static void another_producer_goes_on_from_what_has_arrived(void **state)
{
    (void)state;
    int64_t n_ended = count("taskwire_kafka_producers_ended_total");
    for (int round = 0; round < 3; round++) {
        int first = 21 + round * 10;
        for (int stream = first; stream < first + 10; stream++)
            add(stream, 1, 20);
        rd_kafka_mock_push_request_errors(world.cluster, PRODUCE, 1,
                                          RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        AWAIT(has_all(first, first + 9, 20));
        AWAIT(count("taskwire_kafka_producers_ended_total") > n_ended);
        n_ended = count("taskwire_kafka_producers_ended_total");
        AWAIT(n_differing("<>") == 0);
    }
}

/* Another relay that leads meanwhile has got further than one that was frozen. */
static void a_position_is_not_turned_back(void **state)
{
    (void)state;
    uuid_t further = h_stream(80), other = h_stream(81);
    unsigned shard = shard_of(&further);
    assert_int_not_equal(shard, shard_of(&other));
    AWAIT(n_differing("<>") == 0);
    script(database.url,
           "INSERT INTO relay_position VALUES ('kafka', %u, 1000000) ON CONFLICT (actor, shard) "
           "DO UPDATE SET id = excluded.id",
           shard);
    add(80, 1, 5);
    AWAIT(has_all(80, 80, 5));
    add(81, 1, 5);
    AWAIT(has_all(81, 81, 5));
    AWAIT(n_differing(">") == 0);
    assert_int_equal(
        h_number("SELECT id FROM relay_position WHERE actor = 'kafka' AND shard = %u", shard),
        1000000);
    script(database.url,
           "UPDATE relay_position SET id = (SELECT max(id) FROM event WHERE shard = %u) WHERE "
           "actor = 'kafka' AND shard = %u",
           shard, shard);
}

/* Nothing is said to be in Kafka that is not; and the end does not wait for a broker that is gone.
 */
static void what_has_not_arrived_at_the_end_is_published_by_the_next(void **state)
{
    (void)state;
    rd_kafka_mock_broker_set_down(world.cluster, 1);
    for (int stream = 60; stream < 70; stream++)
        add(stream, 1, 20);
    AWAIT(depth() > 0);
    int64_t n_behind = n_differing(">");
    assert_true(n_behind > 0);
    int64_t started_us = clock_now().mono_us;
    relay_destroy(&world.relay);
    assert_true(clock_now().mono_us - started_us < END_US);
    assert_int_equal(n_differing(">"), n_behind);
    world.relay = relay_new(&world.network);
    rd_kafka_mock_broker_set_up(world.cluster, 1);
    AWAIT(has_all(60, 69, 20));
    AWAIT(n_differing("<>") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_gets_into_the_topic_and_that_is_saved),
        cmocka_unit_test(another_producer_goes_on_from_what_has_arrived),
        cmocka_unit_test(a_position_is_not_turned_back),
        cmocka_unit_test(what_has_not_arrived_at_the_end_is_published_by_the_next),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
