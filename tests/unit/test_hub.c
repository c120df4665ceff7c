/* SPDX-License-Identifier: Apache-2.0 */
/* What a WebSocket client sees, case by case: login, subscriptions, hand-over, access, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schema/limits.h"
#include "tests/unit/live_world.h"

/* --- looking at what came --- */

static const char *nth(const socket_t *socket, size_t n)
{
    const char *at = (const char *)socket->received.data;
    if (n >= socket->n_received)
        return "";
    while (n-- > 0)
        at += strlen(at) + 1;
    return at;
}

static int count(const socket_t *socket, const char *part)
{
    int n = 0;
    for (size_t i = 0; i < socket->n_received; i++)
        n += strstr(nth(socket, i), part) != NULL;
    return n;
}

static bool got(const socket_t *socket, const char *part)
{
    return count(socket, part) > 0;
}

static void assert_got(const socket_t *socket, const char *part)
{
    for (size_t i = 0; !got(socket, part) && i < socket->n_received && i < 5; i++)
        printf("  got: %s\n", nth(socket, i));
    if (!got(socket, part))
        fail_msg("no message with %s", part);
}

/* The events of a socket are just these revs, in order. */
static void assert_revs(const socket_t *socket, int64_t first, int64_t last)
{
    int64_t next = first;
    for (size_t i = 0; i < socket->n_received; i++) {
        const char *rev = strstr(nth(socket, i), "\"rev\":");
        if (strstr(nth(socket, i), "\"op\":\"event\"") == NULL)
            continue;
        assert_non_null(rev);
        assert_int_equal(atoll(rev + 6), next++);
    }
    assert_int_equal(next, last + 1);
}

/* --- talking --- */

static const char *id_text(const uuid_t *id)
{
    static char text[UUID_TEXT_CHARS + 1];
    uuid_format(id, text);
    return text;
}

static void subscribe_to(socket_t *socket, const uuid_t *stream, const char *more)
{
    buf_t json = {0};
    buf_format(&json, "{\"op\":\"subscribe\",\"stream\":\"%s\"%s}", id_text(stream), more);
    buf_append_byte(&json, '\0');
    w_send(socket, (const char *)json.data);
    buf_fini(&json);
}

static void resume(socket_t *socket, const uuid_t *stream, int64_t after)
{
    buf_t more = {0};
    buf_format(&more, ",\"after\":%lld,\"epoch\":\"" W_EPOCHS "\"", (long long)after);
    buf_append_byte(&more, '\0');
    subscribe_to(socket, stream, (const char *)more.data);
    buf_fini(&more);
}

static void change_list(int list, int n)
{
    while (n-- > 0)
        w_change(list);
}

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

/* --- login --- */

static void who_logged_in_by_header_is_welcomed(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 2);
    w_run();
    assert_int_equal(socket->n_received, 1);
    assert_string_equal(nth(socket, 0), "{\"op\":\"welcome\",\"account\":\"a0000000-0000-0000-0000-"
                                        "000000000003\",\"heartbeat_s\":30}");
    assert_int_equal(socket->limit, LIMIT_WS_MESSAGE_BYTES);
}

static socket_t *open_anonymous(void)
{
    request_t request = {.path = slice_str("/v1/ws")};
    assert_int_equal(w_upgrade(&w.sockets[0], &request), ERR_OK);
    assert_int_equal(w.sockets[0].limit, LIMIT_WS_ANONYMOUS_BYTES);
    return &w.sockets[0];
}

static void who_says_hello_is_welcomed_and_what_came_meanwhile_is_done(void **state)
{
    (void)state;
    socket_t *socket = open_anonymous();
    w.is_login_slow = true;
    w_send(socket, "{\"op\":\"hello\",\"token\":\"1\",\"ref\":\"r\"}");
    w_send(socket, "{\"op\":\"ping\",\"ref\":1}");
    w_send(socket, "{\"op\":\"ping\",\"ref\":2}");
    w_run();
    assert_int_equal(socket->n_received, 0);
    w_answer_logins();
    w_run();
    assert_int_equal(socket->n_received, 3);
    assert_non_null(strstr(nth(socket, 0), "{\"op\":\"welcome\",\"ref\":\"r\""));
    assert_string_equal(nth(socket, 1), "{\"op\":\"pong\",\"ref\":1}");
    assert_string_equal(nth(socket, 2), "{\"op\":\"pong\",\"ref\":2}");
}

static void a_wrong_token_closes(void **state)
{
    (void)state;
    socket_t *socket = open_anonymous();
    w_send(socket, "{\"op\":\"hello\",\"token\":\"9\"}");
    assert_int_equal(socket->close_code, 4001);
    w_run();
    socket = w_open(1, 7);
    assert_int_equal(socket->close_code, 4001);
}

static void who_asks_before_login_is_closed(void **state)
{
    (void)state;
    socket_t *socket = open_anonymous();
    w_send(socket, "{\"op\":\"ping\"}");
    assert_int_equal(socket->close_code, 4001);
}

static void who_says_nothing_for_five_seconds_is_closed(void **state)
{
    (void)state;
    socket_t *socket = open_anonymous();
    for (int i = 0; i < 4; i++)
        w_tick();
    assert_int_equal(socket->close_code, 0);
    w_tick();
    w_tick();
    assert_int_equal(socket->close_code, 4001);
}

static void what_is_held_before_login_is_bounded(void **state)
{
    static char big[4001];
    (void)state;
    socket_t *socket = open_anonymous();
    w.is_login_slow = true;
    memset(big, ' ', sizeof big - 1);
    w_send(socket, "{\"op\":\"hello\",\"token\":\"1\"}");
    for (int i = 0; i < 17; i++)
        w_send(socket, big);
    assert_int_equal(socket->close_code, 1009);
}

static void a_socket_that_goes_while_it_is_identified_leaves_nothing(void **state)
{
    (void)state;
    socket_t *socket = open_anonymous();
    w.is_login_slow = true;
    w_send(socket, "{\"op\":\"hello\",\"token\":\"1\",\"ref\":5}");
    w_finish_close(socket);
    w_answer_logins();
    assert_true(link_is_alone(&w.gateway.hub->sockets));
}

static err_t try_upgrade(request_t request)
{
    err_t err = w_upgrade(&w.sockets[5], &request);
    if (err == ERR_OK)
        w_finish_close(&w.sockets[5]);
    return err;
}

static void an_upgrade_is_checked(void **state)
{
    slice_t path = slice_str("/v1/ws");
    (void)state;
    assert_int_equal(try_upgrade((request_t){.path = path}), ERR_OK);
    assert_int_equal(try_upgrade((request_t){.path = slice_str("/v1/wss")}), ERR_NOT_FOUND);
    assert_int_equal(try_upgrade((request_t){.path = path, .query = slice_str("token=1")}),
                     ERR_MALFORMED);
    assert_int_equal(try_upgrade((request_t){.path = path, .is_foreign = true}), ERR_FORBIDDEN);
    assert_int_equal(
        try_upgrade((request_t){.path = path, .protocol = slice_str("x, taskwire.v1.json")}),
        ERR_OK);
    assert_int_equal(
        try_upgrade((request_t){.path = path, .protocol = slice_str("taskwire.v1.msgpack")}),
        ERR_NOT_IMPLEMENTED);
}

static void a_token_that_expires_closes(void **state)
{
    (void)state;
    w.tokens[1].expires_at_us = w.now.wall_us + 3000000;
    socket_t *socket = w_open(0, 1);
    w_tick();
    assert_int_equal(socket->close_code, 0);
    for (int i = 0; i < 3; i++)
        w_tick();
    assert_int_equal(socket->close_code, 4001);
}

/* --- messages --- */

static void a_bad_message_is_answered_and_the_connection_stays(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, "{\"op\":");
    w_send(socket, "[]");
    w_send(socket, "{\"op\":\"fly\",\"ref\":7}");
    w_send(socket, "{\"op\":\"subscribe\",\"stream\":\"x\",\"ref\":\"eight\"}");
    w_send(socket, "{\"op\":\"ping\",\"colour\":1}");
    w_send(socket, "{\"op\":\"hello\",\"token\":\"0\",\"ref\":9}");
    w_run();
    assert_int_equal(socket->n_received, 7);
    assert_non_null(strstr(nth(socket, 1), "\"code\":\"malformed\""));
    assert_non_null(strstr(nth(socket, 2), "\"code\":\"invalid\""));
    assert_non_null(strstr(nth(socket, 3), "{\"op\":\"error\",\"ref\":7,\"problem\":"));
    assert_non_null(strstr(nth(socket, 3), "\"pointer\":\"/op\""));
    assert_non_null(strstr(nth(socket, 4), "\"ref\":\"eight\""));
    assert_non_null(strstr(nth(socket, 4), "\"pointer\":\"/stream\""));
    assert_non_null(strstr(nth(socket, 5), "\"pointer\":\"/colour\""));
    assert_non_null(strstr(nth(socket, 6), "\"code\":\"conflict\""));
    assert_int_equal(socket->close_code, 0);
}

static void binary_messages_are_not_spoken(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    ws_on_message(&w.gateway, socket, slice_str("x"), true);
    assert_int_equal(socket->close_code, 1003);
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

static void following_everything_is_not_there_yet(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, "{\"op\":\"subscribe\",\"all\":true,\"after\":{},\"ref\":1}");
    w_run();
    assert_got(socket, "\"code\":\"not_implemented\"");
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

/* --- commands --- */

#define COMMAND                                                                                    \
    "{\"op\":\"command\",\"ref\":\"c\",\"command\":{\"id\":\"00000000-0000-7000-8000-"             \
    "000000000001\","                                                                              \
    "\"op\":\"task.create\",\"list\":\"b0000000-0000-0000-0000-000000000005\",\"data\":{"          \
    "\"title\":\"T\"}}}"

static void a_command_has_a_result(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 3);
    w_send(socket, COMMAND);
    assert_int_equal(w.n_commands, 1);
    const command_t *command = &w.commands[0].command;
    uuid_t author = w_account(3);
    assert_true(uuid_eq(&command->author, &author));
    assert_int_equal(command->scopes, SCOPE_READ | SCOPE_WRITE);
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 8, .body = slice_of("\x81\xa1x\x01", 4)};
    w_answer_commands(&outcome);
    w_run();
    assert_string_equal(
        nth(socket, 1),
        "{\"op\":\"result\",\"ref\":\"c\",\"id\":\"00000000-0000-7000-8000-000000000001\",\"ok\":"
        "true,"
        "\"stream\":\"b0000000-0000-0000-0000-000000000005\",\"rev\":8,\"task\":{\"x\":1}}");
}

static void a_refused_command_has_a_problem(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, COMMAND);
    outcome_t outcome = {0};
    problem_add_field(&outcome.problem, slice_str("/title"), slice_str("too short"));
    w_answer_commands(&outcome);
    w_run();
    assert_got(socket, "\"ok\":false,\"problem\":{");
    assert_got(socket, "\"pointer\":\"/data/title\"");
}

static void a_command_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, "{\"op\":\"command\",\"command\":{\"id\":\"x\"},\"ref\":1}");
    w_send(socket, "{\"op\":\"command\",\"command\":{\"id\":\"00000000-0000-7000-8000-"
                   "000000000001\",\"op\":\"x\"}}");
    w_send(socket, "{\"op\":\"command\",\"command\":7}");
    w_run();
    assert_non_null(strstr(nth(socket, 1), "{\"op\":\"error\",\"ref\":1"));
    assert_non_null(strstr(nth(socket, 1), "\"pointer\":\"/command/id\""));
    assert_non_null(strstr(nth(socket, 2), "{\"op\":\"result\",\"id\":"));
    assert_non_null(strstr(nth(socket, 2), "\"pointer\":\"/op\""));
    assert_non_null(strstr(nth(socket, 3), "\"pointer\":\"/command\""));
}

static void commands_under_way_are_bounded(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    for (int i = 0; i < WS_MAX_COMMANDS + 2; i++)
        w_send(socket, COMMAND);
    assert_int_equal(w.n_commands, WS_MAX_COMMANDS);
    w_run();
    assert_int_equal(count(socket, "\"code\":\"overloaded\""), 2);
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 8};
    w_answer_commands(&outcome);
    w_send(socket, COMMAND);
    assert_int_equal(w.n_commands, 1);
}

static void a_busy_writer_and_a_rate_limit_are_told(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w.submit_says = ERR_OVERLOADED;
    w_send(socket, COMMAND);
    w.is_limited = true;
    w_send(socket, COMMAND);
    w_run();
    assert_got(socket, "\"code\":\"overloaded\"");
    assert_got(socket, "\"code\":\"rate_limited\"");
}

#define PUT_MEMBER(email)                                                                          \
    "{\"op\":\"command\",\"command\":{\"id\":\"00000000-0000-7000-8000-000000000001\","            \
    "\"op\":\"member.put\",\"list\":\"b0000000-0000-0000-0000-000000000005\","                     \
    "\"data\":{\"email\":\"" email "\",\"role\":\"viewer\"}}}"

static void a_member_is_named_by_address(void **state)
{
    slice_t value;
    uuid_t id;
    uuid_t three = w_account(3);
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, PUT_MEMBER("three@example.org"));
    w_run();
    assert_int_equal(w.n_commands, 1);
    assert_true(mp_map_find(w.commands[0].command.data, "account", &value));
    mp_reader_t reader = mp_reader(value);
    assert_true(mp_get_uuid(&reader, &id) && uuid_eq(&id, &three));
    assert_false(mp_map_find(w.commands[0].command.data, "email", &value));
    assert_true(mp_map_find(w.commands[0].command.data, "role", &value));
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 1};
    w_answer_commands(&outcome);
    w_run();
    assert_got(socket, "\"ok\":true");
}

static void an_address_that_nobody_has_is_refused_as_such(void **state)
{
    slice_t value;
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, PUT_MEMBER("nobody@example.org"));
    w_run();
    assert_int_equal(w.n_commands, 1);
    assert_false(mp_map_find(w.commands[0].command.data, "account", &value));
    outcome_t outcome = {0};
    problem_add_field(&outcome.problem, slice_str("/account"), slice_str("needed"));
    w_answer_commands(&outcome);
    w_run();
    assert_got(socket, "\"pointer\":\"/data/email\"");
}

static void who_goes_while_commands_are_under_way_is_forgotten(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    w_send(socket, COMMAND);
    w_send(socket, PUT_MEMBER("three@example.org"));
    w_finish_close(socket);
    w_run();
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 1};
    assert_int_equal(w.n_commands, 1);
    w_answer_commands(&outcome);
}

static void answers_that_nobody_reads_close(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 0);
    buf_t body = {0};
    mp_put_map(&body, 1);
    mp_put_cstr(&body, "notes");
    size_t n_notes = 200000;
    char *notes = w_new(n_notes);
    memset(notes, 'x', n_notes);
    mp_put_str(&body, slice_of(notes, n_notes));
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 1, .body = buf_slice(&body)};
    for (int i = 0; i < 3; i++)
        w_send(socket, COMMAND);
    w_answer_commands(&outcome);
    assert_int_equal(socket->close_code, 0);
    w_send(socket, COMMAND); /* refused: 600 KB wait already */
    assert_int_equal(w.n_commands, 0);
    for (int i = 0; i < 200000 && socket->close_code == 0; i++)
        w_send(socket,
               "{\"op\":\"ping\",\"ref\":"
               "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}");
    assert_int_equal(socket->close_code, 4008);
    assert_int_equal(w.gateway.hub->n_outbox_bytes, 0);
    buf_fini(&body);
    free(notes);
}

/* --- the end --- */

static void a_restart_tells_everybody(void **state)
{
    (void)state;
    socket_t *idle = w_open(0, 0);
    socket_t *busy = w_open(1, 0);
    w_run();
    w_send(busy, COMMAND);
    ws_drain(&w.gateway);
    assert_int_equal(idle->close_code, 1012);
    assert_int_equal(busy->close_code, 0);
    outcome_t outcome = {.stream = w_list(0)->id, .rev = 1};
    w_answer_commands(&outcome);
    w_run();
    assert_got(busy, "\"ok\":true");
    assert_int_equal(busy->close_code, 1012);
    request_t request = {.path = slice_str("/v1/ws")};
    assert_int_equal(w_upgrade(&w.sockets[2], &request), ERR_UNAVAILABLE);
}

static void a_restart_does_not_wait_long_for_an_answer(void **state)
{
    (void)state;
    socket_t *busy = w_open(1, 0);
    w_run();
    w_send(busy, COMMAND);
    ws_drain(&w.gateway);
    for (int i = 0; i < 3; i++)
        w_tick();
    assert_int_equal(busy->close_code, 1012);
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
        TEST(who_logged_in_by_header_is_welcomed),
        TEST(who_says_hello_is_welcomed_and_what_came_meanwhile_is_done),
        TEST(a_wrong_token_closes),
        TEST(who_asks_before_login_is_closed),
        TEST(who_says_nothing_for_five_seconds_is_closed),
        TEST(what_is_held_before_login_is_bounded),
        TEST(a_socket_that_goes_while_it_is_identified_leaves_nothing),
        TEST(an_upgrade_is_checked),
        TEST(a_token_that_expires_closes),
        TEST(a_bad_message_is_answered_and_the_connection_stays),
        TEST(binary_messages_are_not_spoken),
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
        TEST(following_everything_is_not_there_yet),
        TEST(who_unsubscribes_gets_nothing_more),
        TEST(a_second_subscription_to_a_stream_replaces_the_first),
        TEST(subscriptions_of_a_socket_are_bounded),
        TEST(who_does_not_read_is_reset_and_can_resume),
        TEST(a_socket_takes_no_more_at_once_than_it_has_room_for),
        TEST(a_quiet_stream_is_not_starved_by_a_busy_one),
        TEST(who_is_far_behind_holds_one_page_only),
        TEST(a_removed_member_gets_nothing_of_what_follows),
        TEST(nothing_goes_out_while_access_is_being_looked_up),
        TEST(a_removal_while_access_is_first_looked_up_is_seen),
        TEST(a_deleted_token_closes_and_holds_what_came_meanwhile),
        TEST(a_change_of_the_account_is_survived_by_a_valid_token),
        TEST(a_purged_event_in_the_ring_resets),
        TEST(another_history_resets_everybody),
        TEST(without_a_database_a_subscription_is_refused_in_time),
        TEST(a_database_that_is_busy_is_waited_for),
        TEST(frames_lost_to_a_full_inbox_are_made_up_for),
        TEST(a_command_has_a_result),
        TEST(a_refused_command_has_a_problem),
        TEST(a_command_that_cannot_be_read_is_refused),
        TEST(commands_under_way_are_bounded),
        TEST(a_busy_writer_and_a_rate_limit_are_told),
        TEST(a_member_is_named_by_address),
        TEST(an_address_that_nobody_has_is_refused_as_such),
        TEST(who_goes_while_commands_are_under_way_is_forgotten),
        TEST(answers_that_nobody_reads_close),
        TEST(a_restart_tells_everybody),
        TEST(a_restart_does_not_wait_long_for_an_answer),
        TEST(an_idle_subscriber_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
