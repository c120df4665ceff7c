/* SPDX-License-Identifier: Apache-2.0 */
/* Commands under way, with a writer that is only an inbox: batches, answers, who is gone, limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/submit.h"
#include "schema/limits.h"

#define INBOX_LIMIT 4

static network_t network;
static const actor_ops_t no_ops;
static submits_t *submits;
static mailbox_t *writer;

typedef struct {
    int n_results;
    err_t err;
    uuid_t command;
} asker_t;

static void on_result(void *arg, const result_t *result)
{
    asker_t *self = arg;
    self->n_results++;
    self->err = result->outcome.problem.err;
    self->command = result->command;
}

static int set_up(void **state)
{
    (void)state;
    network = (network_t){.post = post_new()};
    network.actors[ADDRESS_WRITER] = actor_new(&no_ops, NULL, network.post, "writer", INBOX_LIMIT);
    writer = actor_inbox(network.actors[ADDRESS_WRITER]);
    assert_int_equal(mailbox_open(writer), ERR_OK);
    submits = submits_new(&network, ADDRESS_GATEWAY + 3);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    submits_destroy(&submits);
    mailbox_close(writer);
    actor_destroy(&network.actors[ADDRESS_WRITER]);
    post_destroy(&network.post);
    return 0;
}

static err_t submit(asker_t *asker, uint64_t *handle)
{
    command_t command = {.id = uuid_v7(1), .author = uuid_v7(2), .op = OP_TASK_CREATE};
    return submit_command(submits, &command, on_result, asker, handle);
}

/* Receives one message and reads its commands. */
static uint32_t receive(command_t *commands, uint32_t max, arena_t *arena)
{
    message_t message;
    mp_reader_t content;
    uint32_t n_items;
    assert_true(mailbox_recv(writer, &message));
    slice_t bytes = arena_copy(arena, message_bytes(&message));
    message_fini(&message);
    assert_int_equal(message_kind(bytes, &content), MESSAGE_COMMANDS);
    assert_true(batch_open(&content, &n_items));
    assert_true(n_items <= max);
    for (uint32_t i = 0; i < n_items; i++)
        assert_true(command_decode(&content, arena, &commands[i]));
    return n_items;
}

static void answer(const command_t *command, err_t err)
{
    batch_t batch = {0};
    result_t result = {.tag = command->tag, .command = command->id, .op = command->op};
    result.outcome.problem.err = err;
    batch_begin(&batch, MESSAGE_RESULTS);
    result_encode(&result, &batch.buf);
    batch.n_items = 1;
    message_t message;
    mp_reader_t content;
    batch_finish(&batch, &message);
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_RESULTS);
    submits_receive(submits, &content);
    message_fini(&message);
}

static void commands_of_one_turn_travel_together(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t commands[8];
    message_t none;
    asker_t asker = {0};
    uint64_t handle;
    for (int i = 0; i < 5; i++)
        assert_int_equal(submit(&asker, &handle), ERR_OK);
    assert_false(mailbox_recv(writer, &none));
    submits_flush(submits);
    assert_int_equal(receive(commands, 8, arena), 5);
    assert_int_equal(commands[0].reply_to, ADDRESS_GATEWAY + 3);
    submits_flush(submits);
    assert_false(mailbox_recv(writer, &none));
    arena_destroy(&arena);
}

static void each_result_finds_who_asked(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t commands[2];
    asker_t askers[2] = {0};
    uint64_t handle;
    submit(&askers[0], &handle);
    submit(&askers[1], &handle);
    submits_flush(submits);
    assert_int_equal(receive(commands, 2, arena), 2);
    answer(&commands[1], ERR_CONFLICT);
    assert_int_equal(askers[0].n_results, 0);
    assert_int_equal(askers[1].n_results, 1);
    assert_int_equal(askers[1].err, ERR_CONFLICT);
    answer(&commands[0], ERR_OK);
    assert_int_equal(askers[0].n_results, 1);
    assert_true(uuid_eq(&askers[0].command, &commands[0].id));
    assert_int_equal(submits_under_way(submits), 0);
    arena_destroy(&arena);
}

static void who_has_gone_hears_nothing(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t command;
    asker_t asker = {0};
    uint64_t handle;
    submit(&asker, &handle);
    submit_forget(submits, handle);
    submits_flush(submits);
    assert_int_equal(submits_under_way(submits), 1);
    receive(&command, 1, arena);
    answer(&command, ERR_OK);
    assert_int_equal(asker.n_results, 0);
    assert_int_equal(submits_under_way(submits), 0);
    arena_destroy(&arena);
}

static void a_result_that_comes_twice_finds_nobody(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t command;
    asker_t first = {0};
    asker_t second = {0};
    uint64_t handle;
    submit(&first, &handle);
    submits_flush(submits);
    receive(&command, 1, arena);
    answer(&command, ERR_OK);
    submit(&second, &handle); /* takes the place that is free again */
    answer(&command, ERR_OK);
    submit_forget(submits, command.tag);
    assert_int_equal(first.n_results, 1);
    assert_int_equal(second.n_results, 0);
    assert_int_equal(submits_under_way(submits), 1);
    arena_destroy(&arena);
}

static void a_full_inbox_refuses_at_once(void **unused)
{
    (void)unused;
    asker_t asker = {0};
    uint64_t handle;
    int n_sent = 0;
    while (submit(&asker, &handle) == ERR_OK) {
        submits_flush(submits);
        assert_true(++n_sent <= INBOX_LIMIT);
    }
    assert_int_equal(n_sent, INBOX_LIMIT);
    assert_int_equal(handle, 0);
    assert_int_equal(asker.n_results, 0);
}

static void no_more_are_under_way_than_there_are_places(void **unused)
{
    (void)unused;
    asker_t asker = {0};
    uint64_t handle;
    int n = 0;
    while (submit(&asker, &handle) == ERR_OK)
        n++;
    assert_true(n <= SUBMIT_MAX_UNDER_WAY);
    assert_int_equal(handle, 0);
}

static void a_place_is_taken_until_its_result_is_here(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t *commands = arena_alloc(arena, SUBMIT_MAX_UNDER_WAY * sizeof *commands);
    asker_t asker = {0};
    uint64_t handle;
    uint32_t n = 0;
    while (n < SUBMIT_MAX_UNDER_WAY) {
        assert_int_equal(submit(&asker, &handle), ERR_OK);
        submits_flush(submits);
        n += receive(commands + n, 1, arena);
    }
    assert_int_equal(submit(&asker, &handle), ERR_OVERLOADED);
    submit_forget(submits, commands[0].tag); /* it is under way all the same */
    assert_int_equal(submit(&asker, &handle), ERR_OVERLOADED);
    answer(&commands[0], ERR_OK);
    assert_int_equal(submit(&asker, &handle), ERR_OK);
    assert_int_equal(submit(&asker, &handle), ERR_OVERLOADED);
    assert_int_equal(submits_under_way(submits), SUBMIT_MAX_UNDER_WAY);
    arena_destroy(&arena);
}

static void without_a_writer_nothing_can_be_done(void **unused)
{
    (void)unused;
    network_t empty = {.post = network.post};
    asker_t asker = {0};
    uint64_t handle;
    submits_t *own = submits_new(&empty, ADDRESS_GATEWAY);
    command_t command = {.id = uuid_v7(1), .op = OP_TASK_CREATE};
    assert_int_equal(submit_command(own, &command, on_result, &asker, &handle), ERR_UNAVAILABLE);
    submits_destroy(&own);
}

static err_t submit_many(size_t n_commands, bool is_atomic, asker_t *asker)
{
    command_t *commands = calloc(n_commands, sizeof *commands);
    void **items = calloc(n_commands, sizeof *items);
    for (size_t i = 0; i < n_commands; i++) {
        commands[i] = (command_t){.id = uuid_v7(1), .author = uuid_v7(2), .op = OP_TASK_CREATE};
        items[i] = asker;
    }
    err_t err = submit_bulk(submits, commands, n_commands, is_atomic, on_result, items);
    free(commands);
    free(items);
    return err;
}

static void a_bulk_is_one_message(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t *commands = arena_alloc(arena, LIMIT_BULK_COMMANDS * sizeof *commands);
    asker_t asker = {0};
    uint64_t handle;
    assert_int_equal(submit(&asker, &handle), ERR_OK);
    assert_int_equal(submit_many(LIMIT_BULK_COMMANDS, true, &asker), ERR_OK);
    assert_int_equal(submit(&asker, &handle), ERR_OK);
    assert_int_equal(receive(commands, 1, arena), 1);
    assert_int_equal(commands[0].n_bulk, 0);
    assert_int_equal(receive(commands, LIMIT_BULK_COMMANDS, arena), LIMIT_BULK_COMMANDS);
    assert_int_equal(commands[0].n_bulk, LIMIT_BULK_COMMANDS);
    assert_int_equal(commands[1].n_bulk, 0);
    for (int i = 0; i < LIMIT_BULK_COMMANDS; i++)
        answer(&commands[i], ERR_OK);
    assert_int_equal(asker.n_results, LIMIT_BULK_COMMANDS);
    assert_int_equal(submit_many(2, false, &asker), ERR_OK);
    receive(commands, 1, arena);
    assert_int_equal(receive(commands, 2, arena), 2);
    assert_int_equal(commands[0].n_bulk, 0);
    arena_destroy(&arena);
}

static void a_bulk_is_sent_wholly_or_not_at_all(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    command_t *commands = arena_alloc(arena, LIMIT_BULK_COMMANDS * sizeof *commands);
    asker_t asker = {0};
    size_t n = 0;
    for (; n + LIMIT_BULK_COMMANDS <= SUBMIT_MAX_UNDER_WAY; n += LIMIT_BULK_COMMANDS) {
        assert_int_equal(submit_many(LIMIT_BULK_COMMANDS, true, &asker), ERR_OK);
        receive(commands, LIMIT_BULK_COMMANDS, arena);
    }
    assert_int_equal(submit_many(SUBMIT_MAX_UNDER_WAY - n + 1, true, &asker), ERR_OVERLOADED);
    assert_int_equal(submits_under_way(submits), n);
    assert_int_equal(submit_many(SUBMIT_MAX_UNDER_WAY - n, true, &asker), ERR_OK);
    assert_int_equal(asker.n_results, 0);
    arena_destroy(&arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(commands_of_one_turn_travel_together),
        TEST(each_result_finds_who_asked),
        TEST(who_has_gone_hears_nothing),
        TEST(a_result_that_comes_twice_finds_nobody),
        TEST(a_full_inbox_refuses_at_once),
        TEST(no_more_are_under_way_than_there_are_places),
        TEST(a_place_is_taken_until_its_result_is_here),
        TEST(without_a_writer_nothing_can_be_done),
        TEST(a_bulk_is_one_message),
        TEST(a_bulk_is_sent_wholly_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
