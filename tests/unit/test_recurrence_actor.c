/* SPDX-License-Identifier: Apache-2.0 */
/* The recurrence actor between a relay and a writer that only receive: what it acknowledges, and
 * what it forgets when another term begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/message.h"
#include "actors/recurrence.h"
#include "schema/task.h"

typedef struct {
    network_t network;
    actor_t *relay;
    actor_t *writer;
    recurrence_t *recurrence;
    port_t *port;
    arena_t *arena;
    now_t now;
    op_t newest_op; /* that the writer was asked for */
    uuid_t newest_id;
} fixture_t;

static const actor_ops_t receiver = {.name = "receiver"};

static actor_t *add_receiver(fixture_t *self, address_t address, const char *name)
{
    actor_t *actor = actor_new(&receiver, self, self->network.post, name, 64);
    self->network.actors[address] = actor;
    assert_int_equal(mailbox_open(actor_inbox(actor)), ERR_OK);
    return actor;
}

static int set_up(void **state)
{
    static fixture_t self;
    self = (fixture_t){.arena = arena_new(), .now = {.mono_us = US_PER_S}};
    self.network.metrics = metrics_new();
    self.network.post = post_new();
    self.relay = add_receiver(&self, ADDRESS_RELAY, "relay");
    self.writer = add_receiver(&self, ADDRESS_WRITER, "writer");
    self.recurrence = recurrence_new(&self.network);
    self.port = network_port(&self.network, ADDRESS_RECURRENCE);
    (void)actor_step(recurrence_actor(self.recurrence), self.now);
    *state = &self;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *self = *state;
    port_destroy(&self->port);
    recurrence_destroy(&self->recurrence);
    mailbox_close(actor_inbox(self->relay));
    mailbox_close(actor_inbox(self->writer));
    actor_destroy(&self->relay);
    actor_destroy(&self->writer);
    post_destroy(&self->network.post);
    metrics_destroy(&self->network.metrics);
    arena_destroy(&self->arena);
    return 0;
}

static void hand_over(fixture_t *self, message_t *message)
{
    assert_int_equal(port_send(self->port, message), ERR_OK);
    self->now.mono_us += 1000;
    (void)actor_step(recurrence_actor(self->recurrence), self->now);
}

static void begin_term(fixture_t *self)
{
    message_t message;
    term_encode(true, "0123456789abcdef", &message);
    hand_over(self, &message);
}

/* A daily task, just closed. */
static slice_t closing(fixture_t *self, const uuid_t *stream)
{
    buf_t after = {0}, body = {0};
    task_t task = {.title = slice_str("T"),
                   .list = *stream,
                   .status = STATUS_DONE,
                   .due = slice_str("2026-11-23"),
                   .due_kind = DUE_DATE,
                   .time_zone = slice_str("UTC"),
                   .rule = slice_str("FREQ=DAILY"),
                   .occurrence = 1,
                   .position = slice_str("a0"),
                   .completed_at_us = INT64_C(1795424400000000),
                   .closed_rev = 2,
                   .deleted_at_us = INSTANT_NONE};
    task.id.bytes[0] = task.series.bytes[0] = 1;
    task_encode(&task, &after);
    event_t event = {.stream = *stream,
                     .rev = 2,
                     .type = EVENT_TASK_COMPLETED,
                     .task = task.id,
                     .command = task.id,
                     .by = task.id,
                     .after = buf_slice(&after)};
    memcpy(event.epoch, "0123456789abcdef", EPOCH_CHARS);
    event_encode(&event, &body);
    slice_t bytes = arena_copy(self->arena, buf_slice(&body));
    buf_fini(&after);
    buf_fini(&body);
    return bytes;
}

/* Somebody was removed from the list. */
static slice_t removing(fixture_t *self, const uuid_t *stream)
{
    buf_t set = {0}, body = {0};
    uuid_t leaver = {{5}};
    mp_put_map(&set, 1);
    mp_put_cstr(&set, "account");
    mp_put_uuid(&set, &leaver);
    event_t event = {.stream = *stream,
                     .rev = 2,
                     .type = EVENT_MEMBER_REMOVED,
                     .command = leaver,
                     .by = leaver,
                     .set = buf_slice(&set)};
    memcpy(event.epoch, "0123456789abcdef", EPOCH_CHARS);
    event_encode(&event, &body);
    slice_t bytes = arena_copy(self->arena, buf_slice(&body));
    buf_fini(&set);
    buf_fini(&body);
    return bytes;
}

static void hand_out_of(fixture_t *self, uint64_t seq, event_type_t type)
{
    static const uint8_t digest[DIGEST_BYTES];
    batch_t batch = {0};
    message_t message;
    log_event_t row = {.id = 7,
                       .rev = 2,
                       .type = type,
                       .stored_type = (int16_t)type,
                       .digest = slice_of(digest, sizeof digest)};
    row.stream.bytes[0] = 9;
    row.body =
        type == EVENT_MEMBER_REMOVED ? removing(self, &row.stream) : closing(self, &row.stream);
    events_begin(&batch, seq);
    events_put(&batch, &row);
    batch_finish(&batch, &message);
    hand_over(self, &message);
}

static void hand_out(fixture_t *self, uint64_t seq)
{
    hand_out_of(self, seq, EVENT_TASK_COMPLETED);
}

/* The tags of what the writer was asked meanwhile; returns how many. */
static size_t asked(fixture_t *self, uint64_t *tags, size_t max)
{
    message_t message;
    size_t n = 0;
    while (mailbox_recv(actor_inbox(self->writer), &message)) {
        mp_reader_t content;
        uint32_t n_items;
        command_t command;
        assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_COMMANDS);
        assert_true(batch_open(&content, &n_items));
        for (uint32_t i = 0; i < n_items && n < max; i++) {
            assert_true(command_decode(&content, self->arena, &command));
            self->newest_op = command.op;
            self->newest_id = command.id;
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
    result_t result = {.tag = tag, .op = OP_TASK_SUCCEED, .outcome.problem.err = err};
    batch_begin(&batch, MESSAGE_RESULTS);
    result_encode(&result, &batch.buf);
    batch.n_items = 1;
    batch_finish(&batch, &message);
    hand_over(self, &message);
}

/* The batch that was acknowledged meanwhile, 0 for none. */
static uint64_t acknowledged(fixture_t *self)
{
    message_t message;
    mp_reader_t content;
    uint32_t address, n_rejects;
    uint64_t seq = 0;
    if (!mailbox_recv(actor_inbox(self->relay), &message))
        return 0;
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_ACK);
    assert_true(ack_open(&content, &address, &seq, &n_rejects));
    assert_int_equal(address, ADDRESS_RECURRENCE);
    assert_int_equal(n_rejects, 0);
    message_fini(&message);
    return seq;
}

static void a_batch_is_acknowledged_when_its_successors_are_durable(void **state)
{
    fixture_t *self = *state;
    uint64_t tag;
    begin_term(self);
    hand_out(self, 5);
    assert_int_equal(asked(self, &tag, 1), 1);
    assert_int_equal(self->newest_op, OP_TASK_SUCCEED);
    assert_int_equal(acknowledged(self), 0);
    answer(self, tag, ERR_UNAVAILABLE);
    assert_int_equal(acknowledged(self), 0);
    self->now.mono_us += US_PER_S;
    (void)actor_step(recurrence_actor(self->recurrence), self->now);
    assert_int_equal(asked(self, &tag, 1), 1);
    answer(self, tag, ERR_EXISTS);
    assert_int_equal(acknowledged(self), 5);
}

static void what_is_under_way_of_former_terms_does_not_add_up(void **state)
{
    fixture_t *self = *state;
    uint64_t tags[4];
    for (uint64_t term = 1; term <= 3; term++) {
        begin_term(self);
        hand_out(self, term << 32);
        assert_int_equal(asked(self, &tags[term], 1), 1);
        answer(self, tags[term], ERR_UNAVAILABLE);
    }
    self->now.mono_us += US_PER_S;
    (void)actor_step(recurrence_actor(self->recurrence), self->now);
    assert_int_equal(asked(self, tags, 4), 1);
    answer(self, tags[0], ERR_OK);
    assert_int_equal(acknowledged(self), UINT64_C(3) << 32);
    assert_int_equal(acknowledged(self), 0);
}

static void tasks_of_who_was_removed_are_released_until_none_is_left(void **state)
{
    fixture_t *self = *state;
    uuid_t ids[3];
    uint64_t tag;
    for (uint64_t term = 1; term <= 2; term++) { /* what was not acknowledged comes again */
        begin_term(self);
        hand_out_of(self, term << 32 | 5, EVENT_MEMBER_REMOVED);
        for (int n = 0; n < 3; n++) {
            assert_int_equal(asked(self, &tag, 1), 1);
            assert_int_equal(self->newest_op, OP_MEMBER_RELEASE);
            if (term == 1)
                ids[n] = self->newest_id;
            assert_true(uuid_eq(&ids[n], &self->newest_id));
            assert_true(n == 0 || !uuid_eq(&ids[n], &ids[n - 1]));
            assert_int_equal(acknowledged(self), 0);
            if (n < 2)
                answer(self, tag, ERR_OK);
        }
    }
    answer(self, tag, ERR_CONFLICT);
    assert_int_equal(asked(self, &tag, 1), 0);
    assert_int_equal(acknowledged(self), UINT64_C(2) << 32 | 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_is_acknowledged_when_its_successors_are_durable,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(tasks_of_who_was_removed_are_released_until_none_is_left,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_under_way_of_former_terms_does_not_add_up, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
