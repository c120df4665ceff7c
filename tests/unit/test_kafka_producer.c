/* SPDX-License-Identifier: Apache-2.0 */
/* The producer against librdkafka's own mock of a cluster. */
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
#include "bridge/kafka_producer.h"

#define WAIT_US INT64_C(20000000)
#define N_RECORDS 500
#define PRODUCE 0 /* the request, in the protocol */

typedef struct {
    rd_kafka_t *host; /* the mock lives in a handle */
    rd_kafka_mock_cluster_t *cluster;
    config_t *config;
    kafka_producer_t *producer;
    unsigned n[DELIVERY_LOST + 1];
    uint64_t last_done;
    bool is_in_order;
} world_t;

static int setup(void **state)
{
    char error[CONFIG_ERROR_CHARS], brokers[256];
    world_t *self = calloc(1, sizeof *self);
    self->host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    self->cluster = rd_kafka_mock_cluster_new(self->host, 1);
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++)
        rd_kafka_mock_topic_create(self->cluster, kafka_topic_names[i], 3, 1);
    snprintf(brokers, sizeof brokers, "TASKWIRE_KAFKA_BROKERS=%s",
             rd_kafka_mock_cluster_bootstraps(self->cluster));
    char *environment[] = {brokers, "TASKWIRE_KAFKA_LINGER_MS=0", NULL};
    self->config = config_new(environment, NULL, 0, error);
    assert_non_null(self->config);
    self->producer = kafka_producer_new(self->config, error, sizeof error);
    if (self->producer == NULL)
        fail_msg("%s", error);
    self->is_in_order = true;
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    world_t *self = *state;
    assert_true(kafka_producer_destroy(&self->producer, clock_now().mono_us + WAIT_US));
    config_destroy(&self->config);
    rd_kafka_mock_cluster_destroy(self->cluster);
    rd_kafka_destroy(self->host);
    free(self);
    return 0;
}

static void on_delivered(void *arg, uint64_t tag, delivery_t fate, const char *why)
{
    world_t *self = arg;
    assert_non_null(why);
    self->n[fate]++;
    if (fate == DELIVERY_DONE) {
        self->is_in_order &= tag > self->last_done;
        self->last_done = tag;
    }
}

/* Serves until as many are reported of. */
static void await(world_t *self, unsigned n)
{
    int64_t deadline = clock_now().mono_us + WAIT_US;
    while (self->n[DELIVERY_DONE] + self->n[DELIVERY_REFUSED] + self->n[DELIVERY_LOST] < n) {
        struct pollfd fd = {kafka_producer_fd(self->producer), POLLIN, 0};
        assert_true(clock_now().mono_us < deadline);
        (void)poll(&fd, 1, 100);
        kafka_producer_serve(self->producer, on_delivered, self);
    }
}

static err_t send_one(world_t *self, int32_t partition, uint64_t tag, size_t n_bytes)
{
    record_t record;
    char *value = calloc(1, n_bytes + 1);
    record_begin(&record, slice_str("key"), slice_of(value, n_bytes));
    record_add(&record, slice_str("name"), slice_str("value"));
    err_t err = kafka_producer_send(self->producer, KAFKA_TASK_EVENTS, partition, &record, tag);
    free(value); /* it was copied */
    return err;
}

static void each_record_is_reported_of_once_and_in_order(void **state)
{
    world_t *self = *state;
    for (uint64_t tag = 1; tag <= N_RECORDS; tag++)
        assert_int_equal(send_one(self, 1, tag, 100), ERR_OK);
    await(self, N_RECORDS);
    assert_int_equal(self->n[DELIVERY_DONE], N_RECORDS);
    assert_true(self->is_in_order);
    assert_int_equal(kafka_producer_depth(self->producer), 0);
    assert_false(kafka_producer_is_broken(self->producer, NULL));
}

static void a_refused_record_ends_it_and_nothing_comes_behind(void **state)
{
    world_t *self = *state;
    const char *why;
    rd_kafka_mock_push_request_errors(self->cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    assert_int_equal(send_one(self, 0, 1, 10), ERR_OK);
    await(self, 1);
    assert_int_equal(self->n[DELIVERY_REFUSED], 1);
    assert_true(kafka_producer_is_broken(self->producer, &why));
    assert_non_null(strstr(why, "too large"));
    assert_int_equal(send_one(self, 0, 2, 10), ERR_UNAVAILABLE);
}

static void a_passing_error_of_the_broker_is_tried_again(void **state)
{
    world_t *self = *state;
    rd_kafka_mock_push_request_errors(self->cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    for (uint64_t tag = 1; tag <= 20; tag++)
        assert_int_equal(send_one(self, 2, tag, 10), ERR_OK);
    await(self, 20);
    assert_int_equal(self->n[DELIVERY_DONE], 20);
    assert_true(self->is_in_order);
}

static void a_fatal_error_ends_it(void **state)
{
    world_t *self = *state;
    kafka_producer_break(self->producer);
    int64_t deadline = clock_now().mono_us + WAIT_US;
    while (!kafka_producer_is_broken(self->producer, NULL)) {
        struct pollfd fd = {kafka_producer_fd(self->producer), POLLIN, 0};
        assert_true(clock_now().mono_us < deadline);
        (void)poll(&fd, 1, 100);
        kafka_producer_serve(self->producer, on_delivered, self);
    }
    assert_int_equal(send_one(self, 0, 1, 10), ERR_UNAVAILABLE);
}

static void what_is_larger_than_any_record_is_not_taken(void **state)
{
    world_t *self = *state;
    assert_int_equal(send_one(self, 0, 1, KAFKA_MAX_RECORD_BYTES + 1), ERR_TOO_LARGE);
    assert_false(kafka_producer_is_broken(self->producer, NULL));
}

static void it_has_room_up_to_its_bound(void **state)
{
    world_t *self = *state;
    uint64_t tag = 0;
    rd_kafka_mock_broker_set_down(self->cluster, 1);
    assert_true(kafka_producer_has_room(self->producer, 3));
    while (kafka_producer_has_room(self->producer, 1)) {
        tag++;
        assert_int_equal(send_one(self, 0, tag, 500 * 1000), ERR_OK);
    }
    assert_true(tag >= 100);
    rd_kafka_mock_broker_set_up(self->cluster, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_record_is_reported_of_once_and_in_order),
        TEST(a_refused_record_ends_it_and_nothing_comes_behind),
        TEST(a_passing_error_of_the_broker_is_tried_again),
        TEST(a_fatal_error_ends_it),
        TEST(what_is_larger_than_any_record_is_not_taken),
        TEST(it_has_room_up_to_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
