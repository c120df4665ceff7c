/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions as a client sees them, case by case: snapshots, resuming, hand-over to live,
 * access, slow clients, outages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schema/limits.h"
#include "tests/unit/live_look.h"

static int setup(void **state)
{
    (void)state;
    w_begin(64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    w_end();
    return 0;
}

/* --- subscriptions --- */

static void without_a_position_comes_a_snapshot_and_then_what_happens(void **state)
{
    (void)state;
    change_list(0, 3);
    socket_t *socket = w_open(0, 0);
    subscribe_to(socket, &w_list(0)->id, ",\"ref\":3");
    w_run();
    assert_string_equal(
        nth(socket, 1),
        "{\"op\":\"snapshot\",\"ref\":3,\"stream\":\"b0000000-0000-0000-0000-000000000005\","
        "\"epoch\":\"" W_EPOCHS "\",\"rev\":3,\"tasks\":[{\"rev\":1},{\"rev\":2},{\"rev\":3}],"
        "\"more\":false}");
    change_list(0, 2);
    w_run();
    assert_revs(socket, 4, 5);
    assert_int_equal(metric_value(w.gateway.hub->n_subscribers), 1);
    assert_int_equal(metric_value(w.gateway.hub->n_frames_sent), 2);
}

static void a_large_snapshot_comes_in_pages_of_one_rev(void **state)
{
    (void)state;
    change_list(0, 450);
    socket_t *socket = w_open(0, 0);
    subscribe_to(socket, &w_list(0)->id, "");
    w_step_sync();
    w_answer_sync(PG_OK);
    w_answer_sync(PG_OK);
    w_step_sync();
    w_receive();
    w_answer(0, PG_OK);
    change_list(0, 1); /* while it is being sent */
    w_run();
    assert_int_equal(count(socket, "\"op\":\"snapshot\""), 3);
    assert_int_equal(count(socket, "\"rev\":450,\"tasks\""), 3);
    assert_int_equal(count(socket, "\"more\":true"), 2);
    assert_non_null(strstr(nth(socket, 3), "\"more\":false"));
    assert_revs(socket, 451, 451);
}

static void an_accounts_snapshot_has_its_lists(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    uuid_t account = w_account(0);
    subscribe_to(socket, &account, "");
    w_run();
    assert_non_null(strstr(nth(socket, 1), ",\"account\":{\"id\":\"a0000000-"));
    assert_non_null(strstr(nth(socket, 1), "\"lists\":[{\"id\":\"b0000000-"));
    assert_non_null(strstr(nth(socket, 1), "\"title\":\"a \\\"title\\\"\""));
    assert_non_null(strstr(nth(socket, 1), "\"role\":\"owner\""));
    assert_non_null(strstr(nth(socket, 1), "],\"tasks\":[],\"more\":false}"));
}

static void a_position_is_resumed_from_the_log(void **state)
{
    (void)state;
    change_list(0, 100);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 30);
    w_run();
    assert_non_null(strstr(nth(socket, 1), "{\"op\":\"subscribed\",\"stream\":"));
    assert_non_null(strstr(nth(socket, 1), "\"epoch\":\"" W_EPOCHS "\",\"rev\":100}"));
    assert_revs(socket, 31, 100);
    change_list(0, 2);
    w_run();
    assert_revs(socket, 31, 102);
}

static void a_position_at_the_head_is_resumed_without_an_event(void **state)
{
    (void)state;
    change_list(0, 5);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 5);
    w_run();
    assert_int_equal(socket->n_received, 2);
    change_list(0, 1);
    w_run();
    assert_revs(socket, 6, 6);
}

static void a_second_client_is_served_from_the_ring(void **state)
{
    (void)state;
    socket_t *first = w_open(0, 0);
    resume(first, &w_list(0)->id, 0);
    w_run();
    change_list(0, 50);
    w_run();
    assert_revs(first, 1, 50);
    socket_t *second = w_open(1, 0);
    resume(second, &w_list(0)->id, 10);
    w_answer(0, PG_OK); /* the head; no page is read */
    assert_null(w.reads);
    w_run();
    assert_revs(second, 11, 50);
}

static void what_cannot_be_resumed_gets_a_snapshot(void **state)
{
    (void)state;
    change_list(0, 5);
    w_purge(w_list(0), 3);
    socket_t *socket = w_open(0, 0);
    static const char *const mores[] = {
        ",\"after\":2,\"epoch\":\"" W_EPOCHS "\"", /* across a purged event */
        ",\"after\":9,\"epoch\":\"" W_EPOCHS "\"", /* beyond the head */
        ",\"after\":4,\"epoch\":\"epoch-1111111111\"", /* another epoch */
        ",\"after\":4,\"epoch\":\"short\"", /* none of ours */
        ",\"after\":4", /* no epoch */
        ",\"after\":9223372036854775807,\"epoch\":\"" W_EPOCHS "\"",
    };
    for (int i = 0; i < 6; i++) {
        w_forget_received(socket);
        subscribe_to(socket, &w_list(0)->id, mores[i]);
        w_run();
        assert_int_equal(count(socket, "\"op\":\"snapshot\""), 1);
    }
    w_forget_received(socket);
    resume(socket, &w_list(0)->id, 3);
    w_run();
    assert_revs(socket, 4, 5);
}

static void what_one_may_not_see_is_not_there(void **state)
{
    uuid_t other = w_account(0);
    uuid_t nowhere = {{0xcc}};
    (void)state;
    socket_t *socket = w_open(0, 1);
    subscribe_to(socket, &w_list(0)->id, "");
    resume(socket, &w_list(1)->id, 0);
    subscribe_to(socket, &other, "");
    subscribe_to(socket, &nowhere, "");
    w_run();
    assert_int_equal(count(socket, "\"code\":\"not_found\""), 4);
    assert_int_equal(socket->n_received, 5);
    w_tick();
    assert_int_equal(hub_n_streams(w.gateway.hub), 0);
}

static void a_restricted_token_follows_only_its_lists(void **state)
{
    uuid_t account = w_account(0);
    (void)state;
    w.tokens[0].lists[0] = w_list(2)->id;
    w.tokens[0].n_lists = 1;
    socket_t *socket = w_open(0, 0);
    subscribe_to(socket, &w_list(0)->id, "");
    subscribe_to(socket, &account, "");
    w_run();
    assert_int_equal(count(socket, "\"code\":\"not_found\""), 2);
    subscribe_to(socket, &w_list(2)->id, "");
    w_run();
    assert_got(socket, "\"op\":\"snapshot\"");
}

static void a_token_that_may_not_read_follows_nothing(void **state)
{
    (void)state;
    w.tokens[0].scopes = SCOPE_WRITE;
    socket_t *socket = w_open(0, 0);
    subscribe_to(socket, &w_list(0)->id, "");
    w_run();
    assert_got(socket, "\"code\":\"forbidden\"");
}

static void who_asks_too_often_is_told(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w.is_limited = true;
    subscribe_to(socket, &w_list(0)->id, "");
    w_run();
    assert_got(socket, "\"code\":\"rate_limited\"");
}

static void who_unsubscribes_gets_nothing_more(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    w_forget_received(socket);
    w_send(socket, "{\"op\":\"unsubscribe\",\"stream\":\"b0000000-0000-0000-0000-000000000005\"}");
    change_list(0, 1);
    w_run();
    assert_int_equal(socket->n_received, 1);
    assert_string_equal(
        nth(socket, 0),
        "{\"op\":\"unsubscribed\",\"stream\":\"b0000000-0000-0000-0000-000000000005\"}");
    w_tick();
    assert_int_equal(hub_n_streams(w.gateway.hub), 0);
}

static void a_second_subscription_to_a_stream_replaces_the_first(void **state)
{
    (void)state;
    change_list(0, 5);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    w_forget_received(socket);
    resume(socket, &w_list(0)->id, 3);
    w_run();
    assert_revs(socket, 4, 5);
    change_list(0, 1);
    w_run();
    assert_revs(socket, 4, 6);
}

static void subscriptions_of_a_socket_are_bounded(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    for (unsigned i = 0; i < WS_MAX_SUBSCRIPTIONS; i++) {
        uuid_t id = {{0xcc}};
        id.bytes[14] = (uint8_t)(i >> 8);
        id.bytes[15] = (uint8_t)i;
        subscribe_to(socket, &id, "");
    }
    subscribe_to(socket, &w_list(0)->id, ",\"ref\":1");
    w_write(socket, 65536);
    assert_got(socket, "\"ref\":1,\"problem\"");
    assert_got(socket, "\"code\":\"overloaded\"");
}

/* --- slow clients --- */

static void who_does_not_read_is_reset_and_can_resume(void **state)
{
    (void)state;
    socket_t *slow = w_open(0, 0);
    socket_t *quick = w_open(1, 0);
    resume(slow, &w_list(0)->id, 0);
    resume(quick, &w_list(0)->id, 0);
    w_run();
    slow->is_stuck = true;
    for (int i = 0; i < 3000; i++) {
        w_change(0);
        if (i % 50 == 0)
            w_run();
    }
    slow->is_stuck = false;
    w_run();
    assert_revs(quick, 1, 3000);
    assert_got(slow, "\"op\":\"reset\"");
    assert_int_equal(metric_value(w.gateway.hub->n_resets), 1);
    int64_t seen = count(slow, "\"op\":\"event\"");
    assert_true(seen < 1000);
    resume(slow, &w_list(0)->id, seen);
    w_run();
    assert_revs(slow, 1, 3000);
}

static void a_socket_takes_no_more_at_once_than_it_has_room_for(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    change_list(0, 100);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_write(socket, 1000);
    int n = count(socket, "\"op\":\"event\"");
    assert_true(n > 0 && n < 20);
    assert_true(socket->wants_write);
    w_run();
    assert_revs(socket, 1, 100);
}

static void a_quiet_stream_is_not_starved_by_a_busy_one(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    resume(socket, &w_list(1)->id, 0);
    w_run();
    change_list(0, 400);
    change_list(1, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_write(socket, 65536);
    assert_int_equal(count(socket, "\"stream\":\"b0000000-0000-0000-0000-000000000006\""), 2);
    assert_true(count(socket, "\"op\":\"event\"") < 401);
}

static void who_is_far_behind_holds_one_page_only(void **state)
{
    (void)state;
    change_list(0, 500);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_step_sync();
    for (int i = 0; i < 3; i++) {
        w_answer_sync(PG_OK);
        w_step_sync();
        w_receive();
        if (w.asks == NULL)
            break;
    }
    w_answer(0, PG_OK);
    w_write(socket, 65536);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(w.n_reads, 1);
        w_answer(0, PG_OK);
        assert_null(w.reads); /* the next page waits until this one is out */
        w_write(socket, 65536);
    }
    w_run();
    assert_revs(socket, 1, 500);
}

/* Everything up to the first page's question; frames are still on their way. */
static socket_t *resume_until_page(int64_t after)
{
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, after);
    while (w.reads == NULL)
        w_receive();
    w_answer(0, PG_OK); /* the head */
    w_write(socket, 65536);
    assert_int_equal(w.n_reads, 1);
    return socket;
}

static void follow_and_commit(int n)
{
    socket_t *first = w_open(1, 0);
    resume(first, &w_list(0)->id, 0);
    w_run();
    change_list(0, n);
}

static void frames_that_overtake_a_page_do_no_harm(void **state)
{
    (void)state;
    follow_and_commit(10);
    socket_t *socket = resume_until_page(0);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_write(socket, 65536);
    w_run();
    assert_revs(socket, 1, 10);
    assert_false(got(socket, "reset"));
}

static void frames_that_come_while_a_page_is_waited_for_are_enough(void **state)
{
    (void)state;
    follow_and_commit(10);
    w.reads_limit = 1;
    socket_t *socket = resume_until_page(0);
    socket_t *other = w_open(2, 0);
    w.reads_limit = 2;
    resume(other, &w_list(0)->id, 0);
    w_answer(1, PG_OK); /* its head */
    w.reads_limit = 1;
    w_write(other, 65536); /* its page has to wait */
    assert_int_equal(w.n_reads, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_write(other, 65536);
    assert_revs(other, 1, 10);
    w_run();
    assert_int_equal(w.n_reads, 0);
    assert_revs(other, 1, 10);
    assert_revs(socket, 1, 10);
    assert_int_equal(metric_value(w.gateway.hub->n_resets), 0);
}

/* --- access --- */

static void a_removed_member_gets_nothing_of_what_follows(void **state)
{
    (void)state;
    w_list(0)->is_member[1] = true;
    socket_t *owner = w_open(0, 0);
    socket_t *member = w_open(1, 1);
    resume(owner, &w_list(0)->id, 0);
    resume(member, &w_list(0)->id, 0);
    w_run();
    change_list(0, 1);
    w_run();
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 1);
    change_list(0, 1);
    w_run();
    change_list(0, 1);
    w_run();
    assert_revs(owner, 1, 4);
    assert_revs(member, 1, 1);
    assert_int_equal(count(member, "\"op\":\"removed\""), 1);
    assert_false(got(owner, "\"op\":\"removed\""));
}

static void nothing_goes_out_while_access_is_being_looked_up(void **state)
{
    (void)state;
    w_list(0)->is_member[1] = true;
    socket_t *member = w_open(1, 1);
    resume(member, &w_list(0)->id, 0);
    w_run();
    w_commit(w_list(0), EVENT_MEMBER_CHANGED, 1);
    change_list(0, 3);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    assert_int_equal(w.n_reads, 1);
    w_write(member, 65536);
    assert_revs(member, 1, 0);
    w_answer(0, PG_LOST); /* not known yet */
    w_write(member, 65536);
    assert_revs(member, 1, 0);
    w_tick();
    assert_revs(member, 1, 4);
    assert_false(got(member, "\"op\":\"removed\""));
}

static void a_removal_while_access_is_first_looked_up_is_seen(void **state)
{
    (void)state;
    w_list(0)->is_member[1] = true;
    change_list(0, 2);
    w_run();
    socket_t *owner = w_open(0, 0);
    resume(owner, &w_list(0)->id, 2);
    w_run();
    socket_t *member = w_open(1, 1);
    resume(member, &w_list(0)->id, 0);
    w.reads->result = w_execute(w.reads->sql, &w.reads->params); /* before the removal … */
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_run(); /* … answered after it */
    assert_false(got(member, "\"op\":\"subscribed\""));
    assert_got(member, "\"code\":\"not_found\"");
    assert_revs(member, 1, 0);
}

static void a_deleted_token_closes_and_holds_what_came_meanwhile(void **state)
{
    (void)state;
    socket_t *socket = w_open(1, 1);
    socket_t *other = w_open(2, 2);
    w_run();
    w_delete_token(1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_send(socket, "{\"op\":\"ping\"}");
    w_write(socket, 65536);
    assert_false(got(socket, "pong"));
    w_run();
    assert_int_equal(socket->close_code, 4001);
    assert_false(got(socket, "pong"));
    w_send(other, "{\"op\":\"ping\"}");
    w_run();
    assert_got(other, "pong");
}

static void a_change_of_the_account_is_survived_by_a_valid_token(void **state)
{
    (void)state;
    uuid_t account = w_account(1);
    socket_t *socket = w_open(1, 1);
    resume(socket, &account, 0);
    w_run();
    w_commit(&w.streams[1], EVENT_ACCOUNT_UPDATED, -1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_send(socket, "{\"op\":\"ping\"}");
    w_run();
    assert_got(socket, "pong");
    assert_revs(socket, 1, 1);
    assert_int_equal(socket->close_code, 0);
}

static void a_purged_event_in_the_ring_resets(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    change_list(0, 3);
    w_purge(w_list(0), 2);
    w_run();
    assert_revs(socket, 1, 1);
    assert_got(socket, "\"op\":\"reset\"");
    resume(socket, &w_list(0)->id, 1);
    w_run();
    assert_got(socket, "\"op\":\"snapshot\"");
}

/* Three events are in the ring, and the socket has taken none of them. */
static socket_t *behind_a_ring(void)
{
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    socket->is_stuck = true;
    change_list(0, 3);
    w_run();
    return socket;
}

static void what_is_purged_is_not_shown_from_memory(void **state)
{
    (void)state;
    socket_t *socket = behind_a_ring();
    w_purge(w_list(0), 2);
    w_touch(600000);
    w_run();
    socket->is_stuck = false;
    w_run();
    assert_revs(socket, 1, 1);
    assert_got(socket, "an event was purged");
}

static void a_purge_of_what_a_client_has_had_does_not_disturb_it(void **state)
{
    (void)state;
    socket_t *other = w_open(1, 0);
    resume(other, &w_list(0)->id, 0);
    w_run();
    change_list(0, 2);
    w_run();
    assert_revs(other, 1, 2);
    w_purge(w_list(0), 1);
    w_touch(600000);
    w_run();
    change_list(0, 2);
    w_run();
    assert_revs(other, 1, 4);
    assert_false(got(other, "reset"));
}

static void who_is_behind_a_purge_of_nothing_that_he_needs_reads_on_in_the_log(void **state)
{
    (void)state;
    change_list(0, 1);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 1);
    w_run();
    socket->is_stuck = true;
    change_list(0, 3);
    w_run();
    w_purge(w_list(0), 1);
    w_touch(600000);
    w_run();
    socket->is_stuck = false;
    w_run();
    assert_revs(socket, 2, 4);
    assert_false(got(socket, "reset"));
}

static void another_history_resets_everybody(void **state)
{
    (void)state;
    change_list(0, 5);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    resume(socket, &w_list(1)->id, 0);
    w_run();
    w.epoch[15] = '9';
    w.session++;
    w_tick();
    w_tick();
    assert_int_equal(count(socket, "\"op\":\"reset\""), 2);
    assert_int_equal(socket->close_code, 0);
    resume(socket, &w_list(0)->id, 5);
    w_run();
    assert_got(socket, "\"op\":\"snapshot\"");
    assert_got(socket, "\"epoch\":\"epoch-0000000009\"");
    change_list(0, 1);
    w_run();
    assert_int_equal(count(socket, "\"rev\":6"), 1);
}

static void a_page_of_another_history_is_not_shown(void **state)
{
    (void)state;
    change_list(0, 40);
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    for (int i = 0; i < 3 && w.reads == NULL; i++) {
        w_step_sync();
        if (w.asks != NULL)
            w_answer_sync(PG_OK);
        w_step_sync();
        w_receive();
    }
    w_answer(0, PG_OK); /* the head */
    w_write(socket, 65536);
    assert_got(socket, "\"op\":\"subscribed\"");
    w.epoch[15] = '9';
    w_answer(0, PG_OK); /* the page */
    w_write(socket, 65536);
    assert_revs(socket, 1, 0);
    assert_got(socket, "\"op\":\"reset\"");
}

static void who_asks_between_two_histories_waits_for_the_newer(void **state)
{
    (void)state;
    change_list(0, 5);
    socket_t *first = w_open(0, 0);
    socket_t *second = w_open(1, 0);
    resume(first, &w_list(0)->id, 5);
    w_run();
    w.epoch[15] = '9'; /* sync has not heard of it */
    socket_t *third = w_open(2, 0);
    subscribe_to(second, &w_list(0)->id, "");
    subscribe_to(third, &w_list(0)->id, ",\"after\":5,\"epoch\":\"epoch-0000000009\"");
    while (w.reads != NULL)
        w_answer(0, PG_OK);
    w_write(second, 65536);
    assert_int_equal(count(second, "\"op\":\"snapshot\""), 0);
    w_tick();
    w_tick();
    assert_int_equal(count(second, "\"op\":\"snapshot\""), 1);
    assert_got(second, "\"epoch\":\"epoch-0000000009\"");
    assert_false(got(second, "\"op\":\"reset\""));
    assert_got(third, "\"op\":\"subscribed\"");
    assert_false(got(third, "\"op\":\"reset\""));
    assert_got(first, "\"op\":\"reset\"");
}

/* --- outages --- */

static void without_a_database_a_subscription_is_refused_in_time(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w.is_down = true;
    resume(socket, &w_list(0)->id, 0);
    for (int i = 0; i < 12; i++)
        w_tick();
    assert_got(socket, "\"code\":\"unavailable\"");
    w.is_down = false;
    w_run();
    resume(socket, &w_list(0)->id, 0);
    w_run();
    assert_got(socket, "\"op\":\"subscribed\"");
}

static void a_database_that_is_busy_is_waited_for(void **state)
{
    (void)state;
    change_list(0, 3);
    w.reads_limit = 1;
    for (int i = 0; i < 8; i++)
        resume(w_open(i, 0), &w_list(0)->id, 0);
    for (int i = 0; i < 3; i++)
        w_tick();
    for (int i = 0; i < 8; i++)
        assert_revs(&w.sockets[i], 1, 3);
}

static void frames_lost_to_a_full_inbox_are_made_up_for(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    for (int i = 0; i < W_LISTS; i++)
        resume(socket, &w_list(i)->id, 0);
    w_run();
    w_forget_received(socket);
    for (int i = 0; i < 500; i++) { /* the gateway receives nothing */
        w_change(i % 2);
        w_touch(1000000);
        w_step_sync();
        if (w.asks != NULL)
            w_answer_sync(PG_OK);
    }
    w_tick();
    w_tick();
    assert_int_equal(count(socket, "\"stream\":\"b0000000-0000-0000-0000-000000000005\""), 250);
    assert_int_equal(count(socket, "\"stream\":\"b0000000-0000-0000-0000-000000000006\""), 250);
    assert_false(got(socket, "reset"));
}

static void frames_that_sync_no_longer_has_are_read_from_the_log(void **state)
{
    mp_reader_t content;
    message_t message;
    (void)state;
    socket_t *socket = w_open(0, 0);
    resume(socket, &w_list(0)->id, 0);
    w_run();
    change_list(0, 3);
    w_run();
    for (int i = 0; i < 5; i++) /* sync has read and dropped these */
        w_append(w_list(0), EVENT_TASK_UPDATED, -1);
    watched_t watched = {.stream = w_list(0)->id, .first = 9, .next = 9};
    memcpy(watched.epoch, w.epoch, EPOCH_CHARS);
    watched_encode(&watched, &message);
    message_kind_t kind = message_kind(message_bytes(&message), &content);
    hub_receive(w.gateway.hub, kind, &content, message_bytes(&message));
    message_fini(&message);
    for (int i = 0; i < 3; i++) {
        w_write(socket, 65536);
        if (w.reads != NULL)
            w_answer(0, PG_OK);
    }
    assert_revs(socket, 1, 8);
    assert_false(got(socket, "reset"));
}

static void an_idle_subscriber_costs_little(void **state)
{
    (void)state;
    assert_true(sizeof(ws_t) + sizeof(subscription_t) + sizeof(followed_t) < 1200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_position_comes_a_snapshot_and_then_what_happens),
        TEST(a_large_snapshot_comes_in_pages_of_one_rev),
        TEST(an_accounts_snapshot_has_its_lists),
        TEST(a_position_is_resumed_from_the_log),
        TEST(a_position_at_the_head_is_resumed_without_an_event),
        TEST(a_second_client_is_served_from_the_ring),
        TEST(what_cannot_be_resumed_gets_a_snapshot),
        TEST(what_one_may_not_see_is_not_there),
        TEST(a_restricted_token_follows_only_its_lists),
        TEST(a_token_that_may_not_read_follows_nothing),
        TEST(who_asks_too_often_is_told),
        TEST(who_unsubscribes_gets_nothing_more),
        TEST(a_second_subscription_to_a_stream_replaces_the_first),
        TEST(subscriptions_of_a_socket_are_bounded),
        TEST(who_does_not_read_is_reset_and_can_resume),
        TEST(a_socket_takes_no_more_at_once_than_it_has_room_for),
        TEST(a_quiet_stream_is_not_starved_by_a_busy_one),
        TEST(who_is_far_behind_holds_one_page_only),
        TEST(frames_that_overtake_a_page_do_no_harm),
        TEST(frames_that_come_while_a_page_is_waited_for_are_enough),
        TEST(a_removed_member_gets_nothing_of_what_follows),
        TEST(nothing_goes_out_while_access_is_being_looked_up),
        TEST(a_removal_while_access_is_first_looked_up_is_seen),
        TEST(a_deleted_token_closes_and_holds_what_came_meanwhile),
        TEST(a_change_of_the_account_is_survived_by_a_valid_token),
        TEST(a_purged_event_in_the_ring_resets),
        TEST(what_is_purged_is_not_shown_from_memory),
        TEST(a_purge_of_what_a_client_has_had_does_not_disturb_it),
        TEST(who_is_behind_a_purge_of_nothing_that_he_needs_reads_on_in_the_log),
        TEST(another_history_resets_everybody),
        TEST(a_page_of_another_history_is_not_shown),
        TEST(who_asks_between_two_histories_waits_for_the_newer),
        TEST(without_a_database_a_subscription_is_refused_in_time),
        TEST(a_database_that_is_busy_is_waited_for),
        TEST(frames_lost_to_a_full_inbox_are_made_up_for),
        TEST(frames_that_sync_no_longer_has_are_read_from_the_log),
        TEST(an_idle_subscriber_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
