/* SPDX-License-Identifier: Apache-2.0 */
/* What tail tells sync of a topic that is as it should be, or is not, and of notices: against a
 * real database, and the cluster that librdkafka plays itself. Sync is the test's. */
#include "tests/db/history.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "bridge/record.h"
#include "bridge/tail.h"
#include "bridge/topics.h"

#define LIMIT_US INT64_C(30000000)
#define MAC_KEY "the key of this database, 32 byt"
#define NEXT_EPOCH "fedcba9876543210"
#define MAX_TOLD 100
/* Longer than a notice is kept for the record. */
#define QUIET_US INT64_C(200000)

typedef struct {
    int64_t id;
    int64_t before;
    int64_t rev;
    uuid_t stream;
} told_t;

static struct {
    rd_kafka_t *producer;
    rd_kafka_mock_cluster_t *cluster;
    network_t network;
    config_t *config;
    topics_t *topics;
    tail_t *tail;
    actor_t *sync; /* never runs */
    record_coder_t *coder;
    told_t told[MAX_TOLD];
    size_t n_told;
    uint64_t rung; /* at sync, since it was last looked at */
    int64_t before[N_SHARDS]; /* of what is sent next */
    int next_stream;
} world;

static int64_t count(const char *name)
{
    return metric_value(metrics_counter(world.network.metrics, name, NULL, ""));
}

/* --- sending --- */

static bool is_forged; /* what is sent next */
static bool is_unsent;

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
    (void)arg;
    int64_t before = world.before[event->shard];
    world.before[event->shard] = event->id;
    record_of_event(world.coder, event, before, &record);
    if (is_forged)
        record.key = slice_of(record.key.data, record.key.n_bytes - 1);
    if (!is_unsent)
        send_record(&record, event->shard % 3);
}

/* Adds the events 1 … N of a new stream to the log, and to the topic; its shard. */
static unsigned add(int64_t n)
{
    uuid_t id = h_stream(++world.next_stream);
    const eventlog_reader_t reader = {send_event, h_on_end, NULL};
    h_add(&id, 1, n, 100);
    assert_int_equal(eventlog_read_stream(pg, &id, 0, (int)n, &reader), ERR_OK);
    assert_true(pg_await(pg, LONG_US));
    is_forged = is_unsent = false;
    return shard_of(&id);
}

/* --- being told --- */

static void take_message(slice_t bytes)
{
    mp_reader_t content;
    uint32_t n;
    log_event_t event;
    assert_int_equal(message_kind(bytes, &content), MESSAGE_TAIL);
    assert_true(batch_open(&content, &n));
    for (uint32_t i = 0; i < n; i++) {
        int64_t before;
        assert_true(tail_next(&content, &event, &before));
        assert_true(world.n_told < MAX_TOLD && event.body.data != NULL);
        world.told[world.n_told++] = (told_t){event.id, before, event.rev, event.stream};
    }
}

static void step(void)
{
    message_t message;
    (void)actor_step(topics_actor(world.topics), clock_now());
    (void)actor_step(tail_actor(world.tail), clock_now());
    while (mailbox_recv(actor_inbox(world.sync), &message)) {
        take_message(message_bytes(&message));
        message_fini(&message);
    }
    world.rung |= doorbell_take(actor_bell(world.sync));
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

static void look_away(void)
{
    step();
    world.n_told = 0;
    world.rung = 0;
}

static void let_pass(int64_t us)
{
    int64_t end = clock_now().mono_us + us;
    while (clock_now().mono_us < end)
        step();
}

static uint64_t bit(unsigned shard)
{
    return (uint64_t)1 << shard;
}

static bool is_on(void)
{
    return metric_value(metrics_gauge(world.network.metrics, "taskwire_tail_on", NULL, "")) == 1;
}

/* --- the world --- */

static int setup(void **state)
{
    static const struct {
        const char *name;
        int n;
    } all[] = {
        {"task-events", 3}, {"reminders", 1}, {"task-updates", 3}, {"taskwire-dead-letter", 1}};
    static const actor_ops_t nothing = {.name = "nothing"};
    char error[600], brokers[600], url[700], dir[100];
    (void)state;
    h_begin("tail");
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
    world.sync = actor_new(&nothing, NULL, world.network.post, "sync", 1024);
    world.network.actors[ADDRESS_SYNC] = world.sync;
    assert_int_equal(mailbox_open(actor_inbox(world.sync)), ERR_OK);
    world.topics = topics_new(&world.network);
    world.network.topics = world.topics;
    world.tail = tail_new(&world.network);
    AWAIT(is_on());
    look_away();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tail_destroy(&world.tail);
    topics_destroy(&world.topics);
    mailbox_close(actor_inbox(world.sync));
    actor_destroy(&world.sync);
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

static void events_are_told_in_order_with_the_one_before_each(void **state)
{
    (void)state;
    look_away();
    add(3);
    AWAIT(world.n_told == 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world.told[i].rev, i + 1);
        if (i > 0)
            assert_int_equal(world.told[i].before, world.told[i - 1].id);
    }
    assert_int_equal(world.rung, 0);
}

static void a_forged_record_is_told_to_nobody(void **state)
{
    (void)state;
    look_away();
    is_forged = true;
    add(1);
    add(1);
    AWAIT(world.n_told == 1);
    AWAIT(count("taskwire_tail_mac_errors_total") == 1);
    assert_int_equal(count("taskwire_tail_decode_errors_total"), 0);
    uuid_t second = h_stream(world.next_stream);
    assert_true(uuid_eq(&world.told[0].stream, &second));
}

static void what_is_no_record_of_ours_is_counted_apart(void **state)
{
    record_t record;
    (void)state;
    look_away();
    record_begin(&record, slice_str("x"), slice_str("nonsense"));
    send_record(&record, 1);
    AWAIT(count("taskwire_tail_decode_errors_total") == 1);
    assert_int_equal(world.n_told, 0);
}

static void of_an_event_without_a_body_the_log_is_pointed_to(void **state)
{
    record_t record;
    (void)state;
    look_away();
    uuid_t id = h_stream(++world.next_stream);
    log_event_t event = {.id = 1000000,
                         .shard = (uint8_t)shard_of(&id),
                         .stream = id,
                         .rev = 1,
                         .type = EVENT_TASK_UPDATED,
                         .stored_type = EVENT_TASK_UPDATED,
                         .digest = slice_str("0123456789abcdef0123456789abcdef")};
    memcpy(event.epoch, H_EPOCH, EPOCH_CHARS);
    record_of_event(world.coder, &event, 999999, &record);
    send_record(&record, event.shard % 3);
    AWAIT(world.rung == bit(event.shard));
    assert_int_equal(world.n_told, 0);
}

static void a_notice_of_what_kafka_brings_is_not_passed_on(void **state)
{
    (void)state;
    look_away();
    int64_t n = count("taskwire_tail_fallbacks_total");
    unsigned shard = add(1);
    AWAIT(world.n_told == 1);
    doorbell_ring(actor_bell(tail_actor(world.tail)), bit(shard)); /* notices are often later */
    let_pass(QUIET_US);
    assert_int_equal(world.rung, 0);
    assert_int_equal(count("taskwire_tail_fallbacks_total"), n);
}

static void a_notice_of_what_kafka_does_not_bring_is_passed_on_in_a_while(void **state)
{
    (void)state;
    look_away();
    is_unsent = true;
    let_pass(QUIET_US);
    unsigned shard = add(1);
    int64_t started = clock_now().mono_us;
    doorbell_ring(actor_bell(tail_actor(world.tail)), bit(shard));
    step();
    assert_int_equal(world.rung, 0);
    AWAIT(world.rung == bit(shard));
    assert_true(clock_now().mono_us - started >= 50000);
}

static void while_kafka_is_away_notices_are_passed_on_at_once(void **state)
{
    (void)state;
    rd_kafka_mock_broker_set_down(world.cluster, 1);
    AWAIT(!is_on());
    assert_true(world.rung == SHARDS_ALL); /* what was on its way */
    look_away();
    doorbell_ring(actor_bell(tail_actor(world.tail)), 5);
    (void)actor_step(tail_actor(world.tail), clock_now());
    assert_int_equal(doorbell_take(actor_bell(world.sync)), 5);
    rd_kafka_mock_broker_set_up(world.cluster, 1);
    AWAIT(is_on());
    look_away();
    add(2);
    AWAIT(world.n_told >= 1 && world.told[world.n_told - 1].rev == 2);
}

static void another_epoch_is_followed_and_the_one_before_passed_over(void **state)
{
    (void)state;
    script(database.url, "INSERT INTO past_epoch (epoch, reason) SELECT epoch, 'a test' FROM "
                         "log_epoch; UPDATE log_epoch SET epoch = '" NEXT_EPOCH "', mac_key = "
                         "'another key of that database ...'");
    look_away();
    record_coder_key(world.coder, NEXT_EPOCH, slice_str("another key of that database ..."));
    add(1); /* of an epoch that tail has not heard of */
    AWAIT(count("taskwire_tail_strange_total") == 1);
    AWAIT(world.rung == SHARDS_ALL); /* it is in the log */
    assert_int_equal(world.n_told, 0);
    add(1);
    AWAIT(world.n_told == 1);
    look_away();
    record_coder_key(world.coder, H_EPOCH, slice_str(MAC_KEY));
    add(2);
    AWAIT(count("taskwire_tail_stale_total") == 2);
    assert_int_equal(world.n_told, 0);
    assert_int_equal(count("taskwire_tail_mac_errors_total"), 1); /* that of the case above */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_told_in_order_with_the_one_before_each),
        cmocka_unit_test(a_forged_record_is_told_to_nobody),
        cmocka_unit_test(what_is_no_record_of_ours_is_counted_apart),
        cmocka_unit_test(of_an_event_without_a_body_the_log_is_pointed_to),
        cmocka_unit_test(a_notice_of_what_kafka_brings_is_not_passed_on),
        cmocka_unit_test(a_notice_of_what_kafka_does_not_bring_is_passed_on_in_a_while),
        cmocka_unit_test(while_kafka_is_away_notices_are_passed_on_at_once),
        cmocka_unit_test(another_epoch_is_followed_and_the_one_before_passed_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
