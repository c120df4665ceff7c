/* SPDX-License-Identifier: Apache-2.0 */
/* How an actor commands: each command has one final result, and what passes is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/commander.h"

/* A writer that only receives. */
typedef struct {
    network_t network;
    actor_t *writer;
    commander_t *commander;
    arena_t *arena;
    int n_done;
    err_t last;
    int64_t mono_us;
} fixture_t;

static const actor_ops_t writer_ops = {.name = "writer"};

static int set_up(void **state)
{
    static fixture_t self;
    self = (fixture_t){.arena = arena_new()};
    self.network.post = post_new();
    self.writer = actor_new(&writer_ops, &self, self.network.post, "writer", 4);
    self.network.actors[ADDRESS_WRITER] = self.writer;
    assert_int_equal(mailbox_open(actor_inbox(self.writer)), ERR_OK);
    self.commander = commander_new(&self.network, ADDRESS_REMINDER);
    *state = &self;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *self = *state;
    commander_destroy(&self->commander);
    mailbox_close(actor_inbox(self->writer));
    actor_destroy(&self->writer);
    post_destroy(&self->network.post);
    arena_destroy(&self->arena);
    return 0;
}

static void on_done(void *arg, const result_t *result)
{
    fixture_t *self = arg;
    self->n_done++;
    self->last = result->outcome.problem.err;
}

static now_t at(fixture_t *self, int64_t later_us)
{
    self->mono_us += later_us;
    return (now_t){.mono_us = self->mono_us};
}

static void send_one(fixture_t *self, uint8_t id)
{
    command_t command = {.op = OP_TASK_REMIND};
    command.id.bytes[0] = id;
    commander_send(self->commander, &command, on_done, self);
}

/* What the writer has received, as commands; tags into `tags`. */
static uint32_t receive(fixture_t *self, uint64_t *tags, uint32_t max)
{
    message_t message;
    uint32_t n = 0;
    while (mailbox_recv(actor_inbox(self->writer), &message)) {
        mp_reader_t content;
        uint32_t n_items;
        assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_COMMANDS);
        assert_true(batch_open(&content, &n_items));
        for (uint32_t i = 0; i < n_items && n < max; i++) {
            command_t command;
            assert_true(command_decode(&content, self->arena, &command));
            assert_true(command.is_actor);
            assert_int_equal(command.reply_to, ADDRESS_REMINDER);
            tags[n++] = command.tag;
        }
        message_fini(&message);
    }
    return n;
}

static void answer(fixture_t *self, uint64_t tag, err_t err)
{
    batch_t batch = {0};
    message_t message;
    mp_reader_t content;
    result_t result = {.tag = tag, .op = OP_TASK_REMIND, .outcome.problem.err = err};
    batch_begin(&batch, MESSAGE_RESULTS);
    result_encode(&result, &batch.buf);
    batch.n_items = 1;
    batch_finish(&batch, &message);
    (void)message_kind(message_bytes(&message), &content);
    commander_receive(self->commander, &content, at(self, 0));
    message_fini(&message);
}

static void commands_of_one_turn_travel_together(void **state)
{
    fixture_t *self = *state;
    uint64_t tags[8];
    for (uint8_t i = 0; i < 5; i++)
        send_one(self, i);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(mailbox_depth(actor_inbox(self->writer)), 1);
    assert_int_equal(receive(self, tags, 8), 5);
    for (int i = 0; i < 5; i++)
        answer(self, tags[i], ERR_OK);
    assert_int_equal(self->n_done, 5);
    assert_int_equal(commander_n_under_way(self->commander), 0);
}

static void a_refusal_that_passes_is_tried_again_and_told_once(void **state)
{
    fixture_t *self = *state;
    uint64_t tags[8];
    send_one(self, 1);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, tags, 8), 1);
    answer(self, tags[0], ERR_UNAVAILABLE);
    assert_int_equal(self->n_done, 0);
    int64_t wait_us = commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, tags, 8), 0);
    (void)commander_turn(self->commander, at(self, wait_us));
    assert_int_equal(receive(self, tags, 8), 1);
    answer(self, tags[0], ERR_CONFLICT);
    answer(self, tags[0], ERR_OK); /* a late one of the same command */
    assert_int_equal(self->n_done, 1);
    assert_int_equal(self->last, ERR_CONFLICT);
}

static void a_full_writer_loses_nothing(void **state)
{
    fixture_t *self = *state;
    uint64_t tags[64];
    for (uint8_t i = 0; i < 20; i++) {
        send_one(self, i);
        (void)commander_turn(self->commander, at(self, 1));
    }
    uint32_t n = receive(self, tags, 64);
    assert_in_range(n, 1, 19);
    for (int i = 0; i < 4 && n < 20; i++) {
        (void)commander_turn(self->commander, at(self, 1000000));
        n += receive(self, tags + n, 64 - n);
    }
    assert_int_equal(n, 20);
}

static void a_result_of_an_earlier_use_of_a_slot_is_told_apart(void **state)
{
    fixture_t *self = *state;
    uint64_t first[1], second[1];
    send_one(self, 1);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, first, 1), 1);
    answer(self, first[0], ERR_OK);
    send_one(self, 2);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, second, 1), 1);
    answer(self, first[0], ERR_OK);
    assert_int_equal(self->n_done, 1);
    answer(self, second[0], ERR_OK);
    assert_int_equal(self->n_done, 2);
}

static void what_is_forgotten_is_neither_sent_again_nor_told(void **state)
{
    fixture_t *self = *state;
    uint64_t tags[8];
    for (uint8_t i = 0; i < 3; i++)
        send_one(self, i);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, tags, 8), 3);
    answer(self, tags[0], ERR_UNAVAILABLE);
    send_one(self, 4);
    commander_clear(self->commander);
    assert_int_equal(commander_n_under_way(self->commander), 0);
    (void)commander_turn(self->commander, at(self, US_PER_S));
    assert_int_equal(receive(self, tags + 3, 5), 0);
    for (uint8_t i = 5; i < 9; i++)
        send_one(self, i);
    for (int i = 0; i < 3; i++)
        answer(self, tags[i], ERR_OK);
    assert_int_equal(self->n_done, 0);
    (void)commander_turn(self->commander, at(self, 1));
    assert_int_equal(receive(self, tags, 8), 4);
    for (int i = 0; i < 4; i++)
        answer(self, tags[i], ERR_OK);
    assert_int_equal(self->n_done, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_of_one_turn_travel_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_that_passes_is_tried_again_and_told_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_writer_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_result_of_an_earlier_use_of_a_slot_is_told_apart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_forgotten_is_neither_sent_again_nor_told, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
