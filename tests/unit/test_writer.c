/* SPDX-License-Identifier: Apache-2.0 */
/* The writer without a database, with a clock of the tests' own: what waits is bounded, in number
 * and in time, and everybody is answered once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "actors/log.h"
#include "actors/message.h"
#include "actors/writer.h"

#define BATCH_COMMANDS 512
#define TIMEOUT_US (10 * US_PER_S)

typedef struct {
    config_t config;
    network_t network;
    writer_t *writer;
    actor_t *gateway; /* only receives */
    port_t *port;
    now_t now;
    uint64_t n_sent;
    uint64_t n_answered;
    uint64_t n_of[ERR_COUNT];
    uint64_t newest_waiting; /* the highest tag that was not refused as too much */
} fixture_t;

static const actor_ops_t gateway_ops = {.name = "gateway"};

static int set_up(void **state)
{
    static fixture_t self;
    self = (fixture_t){.now = {.wall_us = INT64_C(1800000000000000), .mono_us = US_PER_S}};
    self.config.database_url = "postgresql://nobody@/none?host=/nowhere/at/all";
    self.config.outcome_timeout_us = TIMEOUT_US;
    self.network.config = &self.config;
    self.network.metrics = metrics_new();
    self.network.post = post_new();
    pthread_mutex_init(&self.network.ready_lock, NULL);
    self.gateway = actor_new(&gateway_ops, &self, self.network.post, "gateway", 4096);
    self.network.actors[ADDRESS_GATEWAY] = self.gateway;
    assert_int_equal(mailbox_open(actor_inbox(self.gateway)), ERR_OK);
    self.writer = writer_new(&self.network);
    self.port = network_port(&self.network, ADDRESS_WRITER);
    (void)actor_step(writer_actor(self.writer), self.now); /* opens it */
    *state = &self;
    return 0;
}

static void receive_results(fixture_t *self);

static int tear_down(void **state)
{
    fixture_t *self = *state;
    port_destroy(&self->port);
    writer_destroy(&self->writer);
    receive_results(self);
    assert_int_equal(self->n_answered, self->n_sent);
    mailbox_close(actor_inbox(self->gateway));
    actor_destroy(&self->gateway);
    post_destroy(&self->network.post);
    metrics_destroy(&self->network.metrics);
    pthread_mutex_destroy(&self->network.ready_lock);
    return 0;
}

/* One message of commands, with tags that count on. */
static void send(fixture_t *self, size_t n_commands, bool has_list)
{
    batch_t batch = {0};
    message_t message;
    batch_begin(&batch, MESSAGE_COMMANDS);
    for (size_t i = 0; i < n_commands; i++) {
        uint64_t tag = ++self->n_sent;
        command_t command = {.op = OP_TASK_COMPLETE, .reply_to = ADDRESS_GATEWAY, .tag = tag};
        memcpy(command.id.bytes, &tag, sizeof tag);
        memcpy(command.task.bytes, &tag, sizeof tag);
        command.author.bytes[0] = 1;
        command.list.bytes[0] = has_list ? (uint8_t)tag | 1 : 0;
        command_encode(&command, &batch.buf);
        batch.n_items++;
    }
    batch_finish(&batch, &message);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
}

static void note(fixture_t *self, const result_t *result)
{
    err_t err = result->outcome.problem.err;
    self->n_answered++;
    self->n_of[err]++;
    if (err != ERR_OVERLOADED && result->tag > self->newest_waiting)
        self->newest_waiting = result->tag;
}

static void receive_results(fixture_t *self)
{
    message_t message;
    while (mailbox_recv(actor_inbox(self->gateway), &message)) {
        mp_reader_t content;
        uint32_t n_items;
        assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_RESULTS);
        assert_true(batch_open(&content, &n_items));
        for (uint32_t i = 0; i < n_items; i++) {
            result_t result;
            assert_true(result_decode(&content, &result));
            note(self, &result);
        }
        message_fini(&message);
    }
}

static void step(fixture_t *self, int64_t later_us)
{
    self->now.wall_us += later_us;
    self->now.mono_us += later_us;
    (void)actor_step(writer_actor(self->writer), self->now);
    receive_results(self);
}

static void a_full_queue_refuses_what_is_too_much_and_keeps_what_came_before(void **state)
{
    fixture_t *self = *state;
    while (self->n_sent < WRITER_MAX_QUEUE) {
        send(self, BATCH_COMMANDS, true);
        step(self, 1000);
    }
    assert_int_equal(self->n_answered, 0);
    send(self, 3, true);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 3);
    assert_int_equal(self->n_answered, 3);
    step(self, TIMEOUT_US);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE], WRITER_MAX_QUEUE);
    assert_int_equal(self->newest_waiting, WRITER_MAX_QUEUE);
    send(self, 1, true);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 3);
}

/* One command with so much data. */
static void send_large(fixture_t *self, size_t n_bytes)
{
    batch_t batch = {0};
    buf_t data = {0};
    message_t message;
    uint64_t tag = ++self->n_sent;
    command_t command = {.op = OP_TASK_PATCH, .reply_to = ADDRESS_GATEWAY, .tag = tag};
    memcpy(command.id.bytes, &tag, sizeof tag);
    command.task.bytes[0] = command.author.bytes[0] = command.list.bytes[0] = 1;
    void *bytes = calloc(1, n_bytes);
    mp_put_bin(&data, slice_of(bytes, n_bytes));
    command.data = buf_slice(&data);
    batch_begin(&batch, MESSAGE_COMMANDS);
    command_encode(&command, &batch.buf);
    batch.n_items++;
    batch_finish(&batch, &message);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
    buf_fini(&data);
    free(bytes);
}

static void what_waits_is_bounded_in_bytes_as_well(void **state)
{
    fixture_t *self = *state;
    const size_t n_bytes = 1024 * 1024;
    while (self->n_sent < WRITER_MAX_QUEUE_BYTES / n_bytes - 1) {
        send_large(self, n_bytes);
        step(self, 1000);
    }
    uint64_t n_waiting = self->n_sent;
    assert_int_equal(self->n_answered, 0);
    send_large(self, n_bytes);
    send_large(self, n_bytes);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 2);
    send(self, 1, true);
    step(self, TIMEOUT_US);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE], n_waiting);
    send_large(self, n_bytes);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 2);
}

static void what_has_to_be_located_counts_as_well(void **state)
{
    fixture_t *self = *state;
    while (self->n_sent < WRITER_MAX_QUEUE) {
        send(self, BATCH_COMMANDS, self->n_sent % (BATCH_COMMANDS * 2) == 0);
        step(self, 1000);
    }
    send(self, 1, false);
    send(self, 1, true);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 2);
    step(self, TIMEOUT_US);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE], WRITER_MAX_QUEUE);
}

static void a_command_waits_for_the_database_until_its_deadline(void **state)
{
    fixture_t *self = *state;
    send(self, 1, true);
    send(self, 1, false);
    step(self, 1000);
    step(self, TIMEOUT_US - 1);
    assert_int_equal(self->n_answered, 0);
    step(self, 1);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE], 2);
}

static void what_cannot_be_located_any_more_is_not_said_to_be_missing(void **state)
{
    fixture_t *self = *state;
    send(self, 3, false);
    step(self, 1000);
    port_destroy(&self->port);
    writer_destroy(&self->writer);
    receive_results(self);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE], 3);
}

static void whoever_waits_when_it_ends_is_answered(void **state)
{
    fixture_t *self = *state;
    send(self, BATCH_COMMANDS, true);
    send(self, 1, false);
    step(self, 1000);
    assert_int_equal(self->n_answered, 0);
}

/* An atomic bulk as one message; every `unlocated`th command names no list (0: all do). */
static void send_bulk(fixture_t *self, size_t n_commands, size_t unlocated)
{
    batch_t batch = {0};
    message_t message;
    batch_begin(&batch, MESSAGE_COMMANDS);
    for (size_t i = 0; i < n_commands; i++) {
        uint64_t tag = ++self->n_sent;
        command_t command = {.op = OP_TASK_COMPLETE, .reply_to = ADDRESS_GATEWAY, .tag = tag};
        command.n_bulk = i == 0 ? (uint32_t)n_commands : 0;
        memcpy(command.id.bytes, &tag, sizeof tag);
        memcpy(command.task.bytes, &tag, sizeof tag);
        command.author.bytes[0] = 1;
        command.list.bytes[0] = unlocated > 0 && i % unlocated == unlocated - 1 ? 0 : 1;
        command_encode(&command, &batch.buf);
        batch.n_items++;
    }
    batch_finish(&batch, &message);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
}

static void an_atomic_bulk_finds_room_as_a_whole_or_not_at_all(void **state)
{
    fixture_t *self = *state;
    while (self->n_sent < WRITER_MAX_QUEUE - BATCH_COMMANDS) {
        send(self, BATCH_COMMANDS, true);
        step(self, 1000);
    }
    send_bulk(self, BATCH_COMMANDS - 10, 2);
    send_bulk(self, 11, 0);
    send_bulk(self, 11, 3);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_OVERLOADED], 22);
    send_bulk(self, 10, 0);
    step(self, 1000);
    assert_int_equal(self->n_answered, 22);
    step(self, TIMEOUT_US);
    assert_int_equal(self->n_answered, self->n_sent);
    send_bulk(self, 5, 2);
    step(self, 1000);
    assert_int_equal(self->n_answered, self->n_sent - 5);
}

static void an_atomic_bulk_that_waits_is_answered_at_its_deadline(void **state)
{
    fixture_t *self = *state;
    send_bulk(self, 4, 0);
    send_bulk(self, 4, 2);
    step(self, 1000);
    step(self, TIMEOUT_US - 1);
    assert_int_equal(self->n_answered, 0);
    step(self, 1);
    assert_int_equal(self->n_answered, 8);
    assert_int_equal(self->n_of[ERR_UNAVAILABLE] + self->n_of[ERR_ABORTED], 8);
    assert_in_range(self->n_of[ERR_UNAVAILABLE], 6, 8);
}

static void one_that_names_nothing_aborts_the_others_of_its_bulk_alone(void **state)
{
    fixture_t *self = *state;
    batch_t batch = {0};
    message_t message;
    batch_begin(&batch, MESSAGE_COMMANDS);
    for (int i = 0; i < 4; i++) {
        command_t command = {
            .op = OP_TASK_COMPLETE, .reply_to = ADDRESS_GATEWAY, .tag = ++self->n_sent};
        command.author.bytes[0] = 1;
        command.n_bulk = i == 0 ? 3 : 0;
        command.list.bytes[0] = i != 1;
        command_encode(&command, &batch.buf);
        batch.n_items++;
    }
    batch_finish(&batch, &message);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
    step(self, 1000);
    assert_int_equal(self->n_of[ERR_NOT_FOUND], 1);
    assert_int_equal(self->n_of[ERR_ABORTED], 2);
    assert_int_equal(self->n_answered, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_queue_refuses_what_is_too_much_and_keeps_what_came_before),
        TEST(what_waits_is_bounded_in_bytes_as_well),
        TEST(what_has_to_be_located_counts_as_well),
        TEST(a_command_waits_for_the_database_until_its_deadline),
        TEST(what_cannot_be_located_any_more_is_not_said_to_be_missing),
        TEST(whoever_waits_when_it_ends_is_answered),
        TEST(an_atomic_bulk_finds_room_as_a_whole_or_not_at_all),
        TEST(an_atomic_bulk_that_waits_is_answered_at_its_deadline),
        TEST(one_that_names_nothing_aborts_the_others_of_its_bulk_alone),
    };
    log_configure(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
