/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a topic, of the cluster that librdkafka plays itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/clock.h"
#include "bridge/kafka_reader.h"

#define TOPIC "task-events"
#define LIMIT_US INT64_C(30000000)

typedef struct {
    rd_kafka_t *handle; /* a producer */
    rd_kafka_mock_cluster_t *cluster;
    config_t *config;
    int32_t assigned[8];
    size_t n_assigned;
    int n_revoked;
} world_t;

static int setup(void **state)
{
    char error[KAFKA_ERROR_CHARS], brokers[600], config_error[CONFIG_ERROR_CHARS];
    static world_t world;
    world = (world_t){0};
    world.handle = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    world.cluster = rd_kafka_mock_cluster_new(world.handle, 1);
    assert_int_equal(rd_kafka_mock_topic_create(world.cluster, TOPIC, 3, 1), 0);
    (void)rd_kafka_brokers_add(world.handle, rd_kafka_mock_cluster_bootstraps(world.cluster));
    snprintf(brokers, sizeof brokers, "TASKWIRE_KAFKA_BROKERS=%s",
             rd_kafka_mock_cluster_bootstraps(world.cluster));
    char *env[] = {brokers, NULL};
    world.config = config_new(env, NULL, 0, config_error);
    assert_non_null(world.config);
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    world_t *world = *state;
    config_destroy(&world->config);
    rd_kafka_mock_cluster_destroy(world->cluster);
    rd_kafka_destroy(world->handle);
    return 0;
}

static void produce(world_t *world, int32_t partition, int from, int to)
{
    for (int i = from; i <= to; i++) {
        char value[20], header[20];
        int n = snprintf(value, sizeof value, "value %d", i);
        int n_header = snprintf(header, sizeof header, "%d", i);
        assert_int_equal(
            rd_kafka_producev(world->handle, RD_KAFKA_V_TOPIC(TOPIC),
                              RD_KAFKA_V_PARTITION(partition),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY("key", 3),
                              RD_KAFKA_V_VALUE(value, (size_t)n),
                              RD_KAFKA_V_HEADER("number", header, n_header), RD_KAFKA_V_END),
            0);
    }
    assert_int_equal(rd_kafka_flush(world->handle, 10000), 0);
}

static void wait_a_little(kafka_reader_t *reader)
{
    struct pollfd fd = {kafka_reader_fd(reader), POLLIN, 0};
    (void)poll(&fd, 1, 100);
    kafka_reader_serve(reader);
}

/* Takes so many records of a partition; they are in order, and whole. */
static void expect(kafka_reader_t *reader, int32_t partition, int from, int to)
{
    int64_t deadline = clock_now().mono_us + LIMIT_US;
    while (from <= to) {
        kafka_message_t messages[7];
        size_t n_left = (size_t)(to - from + 1);
        size_t n = kafka_reader_take(reader, partition, messages, n_left < 7 ? n_left : 7);
        for (size_t i = 0; i < n; i++, from++) {
            record_t record;
            char value[20];
            slice_t header;
            kafka_message_record(&messages[i], &record);
            snprintf(value, sizeof value, "value %d", from);
            if (!slice_is(record.value, value))
                fail_msg("%.*s in place of %s", (int)record.value.n_bytes,
                         (const char *)record.value.data, value);
            assert_true(slice_is(record.key, "key"));
            assert_true(record_find(&record, "number", &header));
            assert_true(slice_is(header, value + 6));
            kafka_message_release(&messages[i]);
        }
        if (n == 0)
            wait_a_little(reader);
        assert_true(clock_now().mono_us < deadline);
    }
}

static void expect_end(kafka_reader_t *reader, int32_t partition)
{
    int64_t deadline = clock_now().mono_us + LIMIT_US;
    kafka_message_t message;
    while (!kafka_reader_is_at_end(reader, partition)) {
        assert_int_equal(kafka_reader_take(reader, partition, &message, 1), 0);
        wait_a_little(reader);
        assert_true(clock_now().mono_us < deadline);
    }
}

static void end(kafka_reader_t **reader)
{
    assert_true(kafka_reader_destroy(reader, clock_now().mono_us + LIMIT_US));
    assert_null(*reader);
}

static kafka_reader_t *read_all(world_t *world, kafka_from_t from)
{
    char error[KAFKA_ERROR_CHARS] = "";
    kafka_reader_t *reader =
        kafka_reader_new(world->config, KAFKA_TASK_EVENTS, from, error, sizeof error);
    assert_string_equal(error, "");
    return reader;
}

static void a_partition_is_read_in_order_and_its_end_is_told(void **state)
{
    world_t *world = *state;
    produce(world, 1, 1, 1000);
    produce(world, 2, 5, 6);
    kafka_reader_t *reader = read_all(world, KAFKA_FROM_START);
    kafka_reader_assign(reader, 3);
    expect(reader, 1, 1, 1000);
    expect_end(reader, 1);
    assert_int_equal(kafka_reader_lag(reader, 1), 0);
    produce(world, 1, 1001, 1001);
    expect(reader, 1, 1001, 1001);
    assert_false(kafka_reader_is_at_end(reader, 1));
    expect(reader, 2, 5, 6);
    end(&reader);
}

static void from_the_end_only_what_is_new_comes(void **state)
{
    world_t *world = *state;
    produce(world, 0, 1, 10);
    kafka_reader_t *reader = read_all(world, KAFKA_FROM_END);
    kafka_reader_assign(reader, 3);
    expect_end(reader, 0);
    produce(world, 0, 11, 20);
    expect(reader, 0, 11, 20);
    end(&reader);
}

static void further_partitions_come_without_loss_in_those_before(void **state)
{
    world_t *world = *state;
    produce(world, 0, 1, 100);
    produce(world, 2, 1, 3);
    kafka_reader_t *reader = read_all(world, KAFKA_FROM_START);
    kafka_reader_assign(reader, 1);
    expect(reader, 0, 1, 42);
    kafka_reader_assign(reader, 3);
    expect(reader, 0, 43, 100);
    expect(reader, 2, 1, 3);
    end(&reader);
}

/* The library asserts that what it is told to read is not just being stopped. */
static void partitions_may_be_assigned_one_upon_the_other(void **state)
{
    world_t *world = *state;
    produce(world, 0, 1, 100);
    produce(world, 1, 1, 100);
    produce(world, 2, 1, 100);
    kafka_reader_t *reader = read_all(world, KAFKA_FROM_START);
    kafka_reader_assign(reader, 3);
    expect(reader, 0, 1, 10);
    for (int i = 0; i < 20; i++)
        kafka_reader_assign(reader, 1 + i % 3);
    kafka_reader_assign(reader, 3);
    expect(reader, 0, 11, 100);
    expect(reader, 1, 1, 100);
    expect(reader, 2, 1, 100);
    expect_end(reader, 2);
    produce(world, 2, 101, 110);
    expect(reader, 2, 101, 110);
    end(&reader);
}

static void on_assigned(void *arg, const int32_t *partitions, size_t n)
{
    world_t *world = arg;
    assert_true(n <= 8);
    memcpy(world->assigned, partitions, n * sizeof *partitions);
    world->n_assigned = n;
}

static void on_revoked(void *arg, bool is_lost)
{
    world_t *world = arg;
    assert_false(is_lost);
    world->n_assigned = 0;
    world->n_revoked++;
}

static kafka_reader_t *join(world_t *world)
{
    char error[KAFKA_ERROR_CHARS] = "";
    const kafka_listener_t listener = {on_assigned, on_revoked, world};
    kafka_reader_t *reader =
        kafka_reader_join(world->config, KAFKA_TASK_EVENTS, "one", &listener, error, sizeof error);
    assert_string_equal(error, "");
    int64_t deadline = clock_now().mono_us + LIMIT_US;
    while (world->n_assigned == 0) {
        wait_a_little(reader);
        assert_true(clock_now().mono_us < deadline);
    }
    assert_int_equal(world->n_assigned, 3);
    return reader;
}

static void a_member_begins_at_the_start_where_no_offset_is_stored(void **state)
{
    world_t *world = *state;
    produce(world, 0, 1, 50);
    produce(world, 1, 1, 50);
    kafka_reader_t *reader = join(world);
    expect(reader, 0, 1, 50);
    expect(reader, 1, 1, 50);
    assert_true(kafka_reader_store(reader, 0, 30));
    assert_false(kafka_reader_store(reader, 7, 30));
    end(&reader);
    assert_int_equal(world->n_revoked, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_partition_is_read_in_order_and_its_end_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(from_the_end_only_what_is_new_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(further_partitions_come_without_loss_in_those_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(partitions_may_be_assigned_one_upon_the_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_member_begins_at_the_start_where_no_offset_is_stored,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
