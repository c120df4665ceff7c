/* SPDX-License-Identifier: Apache-2.0 */
/* What the consumer makes of a topic that is not as it should be: against a real database, and the
 * cluster that librdkafka plays itself. The actors are the test's. */
#include "tests/db/history.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "bridge/consumer.h"
#include "bridge/record.h"
#include "bridge/topics.h"

#define LIMIT_US INT64_C(30000000)
#define N_ACTORS 3
#define MAX_STREAMS 100
#define MAC_KEY "the key of this database, 32 byt"

typedef struct {
    uint32_t address;
    const char *name;
    actor_t *actor; /* never runs: its inbox is read by the test */
    int64_t next[MAX_STREAMS]; /* the rev that comes next; 0 is as 1 */
    int64_t n_again;
    int64_t n_terms;
    port_t *acks;
} reader_t;

static struct {
    rd_kafka_t *producer;
    rd_kafka_mock_cluster_t *cluster;
    network_t network;
    config_t *config;
    topics_t *topics;
    consumer_t *consumer;
    reader_t members[N_ACTORS];
    bool is_silent; /* the actors acknowledge nothing */
    record_coder_t *coder;
    int64_t before[N_SHARDS]; /* of what is sent next */
    int next_stream;
} world;

/* --- sending --- */

typedef struct {
    shard_set_t lacking; /* of revs, which are not sent */
    bool is_forged;
    bool is_twice;
} how_t;

static how_t how;

static void send_record(const record_t *record, int32_t partition)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(RECORD_MAX_HEADERS);
    for (size_t i = 0; i < record->n_headers; i++)
        rd_kafka_header_add(headers, (const char *)record->headers[i].name.data,
                            (ssize_t)record->headers[i].name.n_bytes, record->headers[i].value.data,
                            (ssize_t)record->headers[i].value.n_bytes);
    assert_int_equal(rd_kafka_producev(world.producer, RD_KAFKA_V_TOPIC("task-events"),
                                       RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                       RD_KAFKA_V_KEY(record->key.data, record->key.n_bytes),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data,
                                                        record->value.n_bytes),
                                       RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(world.producer, 10000), 0);
}

static void send_event(void *arg, const log_event_t *event)
{
    record_t record;
    char forged[] = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"x\",\"type\":\"y\"}";
    (void)arg;
    int64_t before = world.before[event->shard];
    world.before[event->shard] = event->id;
    if (how.lacking >> event->rev & 1)
        return;
    record_of_event(world.coder, event, before, &record);
    if (how.is_forged)
        record.value = slice_str(forged);
    for (int i = 0; i < 1 + how.is_twice; i++)
        send_record(&record, event->shard % 3);
}

/* Adds the events FIRST … LAST to the log and to the topic. */
static void add(int stream, int64_t first, int64_t last)
{
    uuid_t id = h_stream(stream);
    const eventlog_reader_t reader = {send_event, h_on_end, NULL};
    h_add(&id, first, last, 100);
    assert_int_equal(eventlog_read_stream(pg, &id, first - 1, (int)(last - first + 1), &reader),
                     ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    how = (how_t){0};
}

/* What the relay says of itself. */
static void publish_positions(void)
{
    for (int shard = 0; shard < N_SHARDS; shard++)
        script(
            database.url,
            "INSERT INTO relay_position VALUES ('kafka', %d, %lld) ON CONFLICT (actor, shard) DO "
            "UPDATE SET id = excluded.id",
            shard, (long long)world.before[shard]);
}

/* --- receiving --- */

static int number_of_stream(const uuid_t *stream)
{
    return stream->bytes[14] << 8 | stream->bytes[15];
}

static void take_event(reader_t *member, const log_event_t *event)
{
    int64_t *next = &member->next[number_of_stream(&event->stream)];
    int64_t rev = *next == 0 ? 1 : *next;
    if (event->rev > rev)
        fail_msg("%s: revision %lld in place of %lld", member->name, (long long)event->rev,
                 (long long)rev);
    if (event->rev < rev)
        member->n_again++;
    else
        *next = rev + 1;
}

static void take_message(reader_t *member, slice_t bytes)
{
    mp_reader_t content;
    uint64_t seq;
    uint32_t n;
    log_event_t event;
    message_t ack;
    message_kind_t kind = message_kind(bytes, &content);
    member->n_terms += kind == MESSAGE_TERM;
    if (kind != MESSAGE_EVENTS)
        return;
    assert_true(events_open(&content, &seq, &n));
    for (uint32_t i = 0; i < n; i++) {
        assert_true(events_next(&content, &event));
        take_event(member, &event);
    }
    if (world.is_silent)
        return;
    ack_encode(member->address, seq, NULL, 0, &ack);
    assert_int_equal(port_send(member->acks, &ack), ERR_OK);
}

static void step(void)
{
    message_t message;
    (void)actor_step(consumer_actor(world.consumer), clock_now());
    for (int i = 0; i < N_ACTORS; i++) {
        reader_t *member = &world.members[i];
        while (mailbox_recv(actor_inbox(member->actor), &message)) {
            take_message(member, message_bytes(&message));
            message_fini(&message);
        }
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

/* Whether every actor has been given everything of the stream up to there. */
static bool has_all(int stream, int64_t rev)
{
    for (int i = 0; i < N_ACTORS; i++) {
        if (world.members[i].next[stream] != rev + 1)
            return false;
    }
    return true;
}

static int64_t count(const char *name)
{
    return metric_value(metrics_counter(world.network.metrics, name, NULL, ""));
}

/* --- the world --- */

static void open_members(void)
{
    static const uint32_t addresses[] = {ADDRESS_RECURRENCE, ADDRESS_REMINDER, ADDRESS_AUDIT};
    static const char *const names[] = {"recurrence", "reminder", "audit"};
    static const actor_ops_t nothing = {.name = "nothing"};
    for (int i = 0; i < N_ACTORS; i++) {
        actor_t *actor = actor_new(&nothing, NULL, world.network.post, names[i], 256);
        world.members[i] = (reader_t){.address = addresses[i], .name = names[i], .actor = actor};
        world.network.actors[addresses[i]] = actor;
        assert_int_equal(mailbox_open(actor_inbox(actor)), ERR_OK);
    }
}

static void start_consumer(void)
{
    world.consumer = consumer_new(&world.network);
    for (int i = 0; i < N_ACTORS; i++)
        world.members[i].acks = network_ack_port(&world.network);
}

/* As a crash: nothing that was not acknowledged is. */
static void stop_consumer(void)
{
    for (int i = 0; i < N_ACTORS; i++)
        port_destroy(&world.members[i].acks);
    consumer_destroy(&world.consumer);
}

static int setup(void **state)
{
    static const struct {
        const char *name;
        int n;
    } all[] = {
        {"task-events", 3}, {"reminders", 1}, {"task-updates", 3}, {"taskwire-dead-letter", 1}};
    char error[600], brokers[600], url[700], dir[100];
    (void)state;
    h_begin("consumer");
    script(database.url, "UPDATE log_epoch SET mac_key = '" MAC_KEY "'");
    world.producer = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    world.cluster = rd_kafka_mock_cluster_new(world.producer, 1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(rd_kafka_mock_topic_create(world.cluster, all[i].name, all[i].n, 1), 0);
    (void)rd_kafka_brokers_add(world.producer, rd_kafka_mock_cluster_bootstraps(world.cluster));
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
    while (topics_partitions(world.topics, KAFKA_TASK_EVENTS) == 0)
        (void)actor_step(topics_actor(world.topics), clock_now());
    open_members();
    start_consumer();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop_consumer();
    topics_destroy(&world.topics);
    for (int i = 0; i < N_ACTORS; i++) {
        mailbox_close(actor_inbox(world.members[i].actor));
        actor_destroy(&world.members[i].actor);
    }
    post_destroy(&world.network.post);
    metrics_destroy(&world.network.metrics);
    record_coder_destroy(&world.coder);
    config_destroy(&world.config);
    rd_kafka_mock_cluster_destroy(world.cluster);
    rd_kafka_destroy(world.producer);
    h_end();
    return 0;
}

/* --- claims --- */

static void every_actor_is_given_every_event_in_order(void **state)
{
    (void)state;
    for (int i = 1; i <= 20; i++)
        add(i, 1, 5);
    for (int i = 1; i <= 20; i++)
        AWAIT(has_all(i, 5));
    assert_int_equal(world.members[0].n_again, 0);
    AWAIT(h_number("SELECT count(*) FROM relay_position WHERE actor = 'audit'") > 0);
}

static void what_comes_twice_is_handed_out_once(void **state)
{
    (void)state;
    int64_t n = count("taskwire_consumer_duplicates_total");
    how.is_twice = true;
    add(21, 1, 5);
    AWAIT(has_all(21, 5) && count("taskwire_consumer_duplicates_total") >= n + 5);
    assert_int_equal(world.members[0].n_again, 0);
}

static void what_is_missing_in_the_middle_is_read_from_the_log(void **state)
{
    (void)state;
    int64_t n = count("taskwire_consumer_repaired_total");
    how.lacking = 1 << 2 | 1 << 3;
    add(22, 1, 5);
    AWAIT(has_all(22, 5));
    assert_true(count("taskwire_consumer_repaired_total") >= n + 2);
    assert_int_equal(world.members[0].n_again, 0);
}

static void what_is_missing_at_the_end_is_read_from_the_log_when_it_was_published(void **state)
{
    (void)state;
    how.lacking = 1 << 4 | 1 << 5;
    add(23, 1, 5);
    AWAIT(has_all(23, 3));
    publish_positions();
    AWAIT(has_all(23, 5));
    assert_int_equal(world.members[0].n_again, 0);
}

static void a_forged_record_is_a_dead_letter_and_the_true_event_comes_from_the_log(void **state)
{
    (void)state;
    how.is_forged = true;
    add(24, 1, 1);
    add(24, 2, 2);
    AWAIT(has_all(24, 2));
    AWAIT(h_number("SELECT count(*) FROM dead_letter") == 1);
    assert_int_equal(count("taskwire_consumer_poison_total"), 1);
}

static int64_t position_of(const char *actor, unsigned shard)
{
    return h_number("SELECT coalesce(max(id), 0) FROM relay_position WHERE actor = '%s' AND shard "
                    "= %u",
                    actor, shard);
}

/* Whoever has the partition meanwhile has got further than a process that was frozen. */
static void a_position_is_not_turned_back(void **state)
{
    (void)state;
    uuid_t further = h_stream(30), other = h_stream(31);
    unsigned shard = shard_of(&further);
    assert_int_not_equal(shard, shard_of(&other));
    script(database.url,
           "INSERT INTO relay_position VALUES ('audit', %u, 1000000) ON CONFLICT (actor, shard) "
           "DO UPDATE SET id = excluded.id",
           shard);
    add(30, 1, 5);
    AWAIT(has_all(30, 5));
    AWAIT(position_of("recurrence", shard) == world.before[shard]);
    add(31, 1, 5);
    AWAIT(position_of("audit", shard_of(&other)) == world.before[shard_of(&other)]);
    assert_int_equal(position_of("audit", shard), 1000000);
    script(database.url, "UPDATE relay_position SET id = %lld WHERE actor = 'audit' AND shard = %u",
           (long long)world.before[shard], shard);
}

static void a_purged_event_is_handed_out_without_its_body(void **state)
{
    (void)state;
    uuid_t id = h_stream(25);
    h_add(&id, 1, 2, 100);
    h_tamper("UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE stream = '%s'",
             h_text(&id));
    const eventlog_reader_t reader = {send_event, h_on_end, NULL};
    assert_int_equal(eventlog_read_stream(pg, &id, 0, 2, &reader), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    AWAIT(has_all(25, 2));
}

static void what_nobody_acknowledges_holds_reading_up_and_is_not_lost(void **state)
{
    (void)state;
    world.is_silent = true;
    add(26, 1, 3);
    AWAIT(has_all(26, 3));
    stop_consumer();
    world.is_silent = false;
    int64_t n_terms = world.members[0].n_terms, n_again = world.members[2].n_again;
    start_consumer();
    AWAIT(world.members[2].n_again >= n_again + 3);
    assert_true(world.members[0].n_terms > n_terms);
    add(26, 4, 4);
    AWAIT(has_all(26, 4));
}

static void another_epoch_is_followed_and_records_of_the_one_before_are_passed_over(void **state)
{
    (void)state;
    int64_t n_poison = count("taskwire_consumer_poison_total");
    script(database.url, "INSERT INTO past_epoch (epoch, reason) SELECT epoch, 'a test' FROM "
                         "log_epoch; UPDATE log_epoch SET epoch = 'fedcba9876543210', mac_key = "
                         "'another key of that database ...'");
    record_coder_key(world.coder, "fedcba9876543210",
                     slice_str("another key of that database ..."));
    add(27, 1, 3); /* of an epoch that the consumer has not heard of */
    AWAIT(has_all(27, 3));
    assert_int_equal(count("taskwire_consumer_poison_total"), n_poison);
    record_coder_key(world.coder, H_EPOCH, slice_str(MAC_KEY));
    add(28, 1, 2);
    AWAIT(count("taskwire_consumer_stale_total") == 2);
    record_coder_key(world.coder, "fedcba9876543210",
                     slice_str("another key of that database ..."));
    add(28, 3, 3);
    AWAIT(has_all(28, 3));
    assert_int_equal(count("taskwire_consumer_poison_total"), n_poison);
}

static void a_record_of_an_epoch_that_nobody_knows_is_a_dead_letter(void **state)
{
    (void)state;
    int64_t n = h_number("SELECT count(*) FROM dead_letter");
    record_coder_key(world.coder, "0000000000000000", slice_str(MAC_KEY));
    add(29, 1, 1);
    AWAIT(h_number("SELECT count(*) FROM dead_letter") == n + 1);
    record_coder_key(world.coder, "fedcba9876543210",
                     slice_str("another key of that database ..."));
    add(29, 2, 2);
    AWAIT(has_all(29, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_actor_is_given_every_event_in_order),
        cmocka_unit_test(what_comes_twice_is_handed_out_once),
        cmocka_unit_test(what_is_missing_in_the_middle_is_read_from_the_log),
        cmocka_unit_test(what_is_missing_at_the_end_is_read_from_the_log_when_it_was_published),
        cmocka_unit_test(a_forged_record_is_a_dead_letter_and_the_true_event_comes_from_the_log),
        cmocka_unit_test(a_position_is_not_turned_back),
        cmocka_unit_test(a_purged_event_is_handed_out_without_its_body),
        cmocka_unit_test(what_nobody_acknowledges_holds_reading_up_and_is_not_lost),
        cmocka_unit_test(another_epoch_is_followed_and_records_of_the_one_before_are_passed_over),
        cmocka_unit_test(a_record_of_an_epoch_that_nobody_knows_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
