/* SPDX-License-Identifier: Apache-2.0 */
/* What an actor has been given: handled in order, as much at once as is there, acknowledged batch
 * by batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/intray.h"

static struct {
    network_t network;
    actor_t *actor; /* whose intray it is */
    actor_t *giver; /* takes the acknowledgements */
    port_t *port;
    intray_t *intray;
    now_t now;
    err_t says; /* of the handler */
    int64_t rejects; /* the event of this id */
    int64_t handled[64]; /* ids, in the order in which they came */
    size_t n_handled;
    int n_calls;
} world;

static void receive(void *self, slice_t bytes, now_t now)
{
    (void)self;
    (void)bytes;
    (void)now;
    intray_receive(world.intray, world.actor);
}

static int setup(void **state)
{
    static const actor_ops_t ops = {.name = "audit", .receive = receive};
    static const actor_ops_t nothing = {.name = "relay"};
    (void)state;
    memset(&world, 0, sizeof world);
    world.network.post = post_new();
    world.actor = actor_new(&ops, NULL, world.network.post, "audit", 64);
    world.giver = actor_new(&nothing, NULL, world.network.post, "relay", 64);
    world.network.actors[ADDRESS_AUDIT] = world.actor;
    world.network.actors[ADDRESS_RELAY] = world.giver;
    assert_int_equal(mailbox_open(actor_inbox(world.giver)), ERR_OK);
    world.intray = intray_new(&world.network, ADDRESS_AUDIT);
    world.port = network_port(&world.network, ADDRESS_AUDIT);
    world.now.mono_us = 1000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    port_destroy(&world.port);
    intray_destroy(&world.intray);
    mailbox_close(actor_inbox(world.giver));
    actor_destroy(&world.giver);
    actor_destroy(&world.actor);
    post_destroy(&world.network.post);
    return 0;
}

/* A batch of the events with these ids. */
static void give(uint64_t seq, int64_t first, int64_t last)
{
    static const uint8_t digest[DIGEST_BYTES];
    batch_t batch = {0};
    message_t message;
    events_begin(&batch, seq);
    for (int64_t id = first; id <= last; id++) {
        const log_event_t event = {.id = id, .rev = id, .digest = slice_of(digest, DIGEST_BYTES)};
        events_put(&batch, &event);
    }
    batch_finish(&batch, &message);
    assert_int_equal(port_send(world.port, &message), ERR_OK);
    (void)actor_step(world.actor, world.now);
}

static err_t handle(void *arg, mp_reader_t *content, uint32_t n_events)
{
    log_event_t event;
    (void)arg;
    world.n_calls++;
    if (world.says != ERR_OK)
        return world.says;
    for (uint32_t i = 0; i < n_events; i++) {
        assert_true(events_next(content, &event));
        world.handled[world.n_handled++] = event.id;
        if (event.id == world.rejects)
            intray_reject(world.intray, &event, slice_str("no"));
    }
    return ERR_OK;
}

static void turn(void)
{
    world.now.mono_us += 1000000;
    (void)intray_turn(world.intray, world.now, handle, NULL);
}

/* Takes an acknowledgement; returns its batch, 0 if there is none. */
static uint64_t take_ack(uint32_t *n_rejects, reject_t *first)
{
    message_t message;
    mp_reader_t content;
    uint32_t actor;
    uint64_t seq = 0;
    if (!mailbox_recv(actor_inbox(world.giver), &message))
        return 0;
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_ACK);
    assert_true(ack_open(&content, &actor, &seq, n_rejects));
    assert_int_equal(actor, ADDRESS_AUDIT);
    if (*n_rejects > 0)
        assert_true(ack_next(&content, first));
    message_fini(&message);
    return seq;
}

static void what_has_gathered_is_handled_at_once_and_in_order(void **state)
{
    uint32_t n_rejects;
    reject_t reject;
    (void)state;
    give(7, 1, 3);
    give(8, 4, 4);
    give(9, 5, 6);
    turn();
    assert_int_equal(world.n_calls, 1);
    assert_int_equal(world.n_handled, 6);
    for (int64_t id = 1; id <= 6; id++)
        assert_int_equal(world.handled[id - 1], id);
    for (uint64_t seq = 7; seq <= 9; seq++)
        assert_int_equal(take_ack(&n_rejects, &reject), seq);
    assert_int_equal(take_ack(&n_rejects, &reject), 0);
    assert_int_equal(intray_n_waiting(world.intray), 0);
}

/* A position never passes an event whose dead letter is not durable, and it moves batch by batch.
 */
static void what_is_rejected_of_a_later_batch_holds_up_the_first(void **state)
{
    uint32_t n_rejects;
    reject_t reject;
    (void)state;
    world.rejects = 4;
    give(7, 1, 3);
    give(8, 4, 4);
    turn();
    assert_int_equal(take_ack(&n_rejects, &reject), 7);
    assert_int_equal(n_rejects, 1);
    assert_int_equal(reject.event_id, 4);
    assert_int_equal(take_ack(&n_rejects, &reject), 8);
    assert_int_equal(n_rejects, 0);
}

static void what_could_not_be_stored_comes_again_with_what_came_since(void **state)
{
    uint32_t n_rejects;
    reject_t reject;
    (void)state;
    give(7, 1, 2);
    world.says = ERR_UNAVAILABLE;
    turn();
    assert_int_equal(take_ack(&n_rejects, &reject), 0);
    give(8, 3, 3);
    world.says = ERR_OK;
    turn();
    assert_int_equal(world.n_handled, 3);
    assert_int_equal(take_ack(&n_rejects, &reject), 7);
    assert_int_equal(take_ack(&n_rejects, &reject), 8);
}

static void what_can_never_be_stored_is_rejected_event_by_event(void **state)
{
    uint32_t n_rejects;
    reject_t reject;
    (void)state;
    for (uint64_t seq = 1; seq <= 3; seq++)
        give(seq, 20 * (int64_t)seq, 20 * (int64_t)seq + 19);
    world.says = ERR_INTERNAL;
    turn();
    assert_int_equal(take_ack(&n_rejects, &reject), 1);
    assert_int_equal(n_rejects, 60);
    assert_int_equal(reject.event_id, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_has_gathered_is_handled_at_once_and_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_rejected_of_a_later_batch_holds_up_the_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_could_not_be_stored_comes_again_with_what_came_since,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_can_never_be_stored_is_rejected_event_by_event, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
