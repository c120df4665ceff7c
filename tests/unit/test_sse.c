/* SPDX-License-Identifier: Apache-2.0 */
/* An event stream from its request to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

/* What has come so far, as text. */
static const char *text_of(socket_t *socket)
{
    buf_append_byte(&socket->received, '\0');
    socket->received.n_bytes--;
    return (const char *)socket->received.data;
}

static bool has(socket_t *socket, const char *part)
{
    bool is_there = strstr(text_of(socket), part) != NULL;
    if (!is_there)
        printf("got: %s\n", text_of(socket));
    return is_there;
}

static int n_events(socket_t *socket)
{
    int n = 0;
    for (const char *at = text_of(socket); (at = strstr(at, "\ndata: {\"stream\"")) != NULL; at++)
        n++;
    return n;
}

static socket_t *read_from(int account, const uuid_t *stream, int64_t after, const char *epoch)
{
    sse_place_t place = {after, epoch == NULL ? slice_none() : slice_str(epoch)};
    socket_t *socket = w_open_feed(0, account, stream, &place);
    w_run();
    return socket;
}

static void it_resumes_behind_a_position_and_goes_on_live(void **state)
{
    (void)state;
    change_list(0, 5);
    socket_t *socket = read_from(0, &w_list(0)->id, 3, W_EPOCHS);
    assert_int_equal(socket->status, 200);
    assert_memory_equal(text_of(socket), "retry: ", 7);
    assert_true(has(socket, "\nid: " W_EPOCHS ":3\n\n"));
    assert_int_equal(n_events(socket), 2);
    change_list(0, 1);
    w_run();
    assert_true(has(socket, "id: " W_EPOCHS ":6\nevent: task.updated\ndata: {\"stream\":"));
    assert_int_equal(n_events(socket), 3);
    assert_null(strstr(text_of(socket), "\"op\""));
}

static void without_a_position_it_begins_at_the_head_and_says_where_that_is(void **state)
{
    (void)state;
    change_list(0, 5);
    w_purge(w_list(0), 2);
    socket_t *socket = read_from(0, &w_list(0)->id, SSE_FROM_HEAD, NULL);
    assert_true(has(socket, "\nid: " W_EPOCHS ":5\n\n"));
    change_list(0, 2);
    w_run();
    assert_int_equal(n_events(socket), 2);
}

static void an_account_reads_its_own(void **state)
{
    (void)state;
    w_commit(&w.streams[1], EVENT_ACCOUNT_UPDATED, -1);
    assert_int_equal(n_events(read_from(1, &w.streams[1].id, 0, NULL)), 1);
    w_close_feed(&w.sockets[0]);
    assert_int_equal(read_from(0, &w.streams[1].id, 0, NULL)->status, 404);
}

static void a_position_that_cannot_be_resumed_is_gone(void **state)
{
    (void)state;
    change_list(0, 5);
    change_list(1, 5);
    w_purge(w_list(1), 3);
    static const struct {
        int list;
        int64_t after;
        const char *epoch;
        int status;
    } rows[] = {
        {0, 5, W_EPOCHS, 200}, {0, 6, W_EPOCHS, 410},     {0, 3, "epoch-0000000001", 410},
        {0, 3, "x", 410},      {0, 3, "", 410},           {1, 2, W_EPOCHS, 410},
        {1, 3, W_EPOCHS, 200}, {0, INT64_MAX, NULL, 410},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        socket_t *socket = read_from(0, &w_list(rows[i].list)->id, rows[i].after, rows[i].epoch);
        assert_int_equal(socket->status, rows[i].status);
        w_close_feed(socket);
        w_forget_received(socket);
    }
    assert_int_equal(w.gateway.hub->n_feeds, 0);
}

static void who_may_not_read_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_from(1, &w_list(0)->id, 0, NULL)->status, 404);
    w_close_feed(&w.sockets[0]);
    w.tokens[0].scopes = SCOPE_WRITE;
    assert_int_equal(read_from(0, &w_list(0)->id, 0, NULL)->status, 403);
    w_close_feed(&w.sockets[0]);
    w.tokens[0] = (w_token_t){.is_valid = true, .scopes = SCOPE_READ, .n_lists = 1};
    w.tokens[0].expires_at_us = INSTANT_NONE;
    w.tokens[0].lists[0] = w_list(1)->id;
    assert_int_equal(read_from(0, &w_list(0)->id, 0, NULL)->status, 404);
    w_close_feed(&w.sockets[0]);
    assert_int_equal(read_from(0, &w_list(1)->id, 0, NULL)->status, 200);
}

static void access_that_ends_ends_the_stream_with_an_event(void **state)
{
    (void)state;
    w_list(0)->is_member[1] = true;
    socket_t *socket = read_from(1, &w_list(0)->id, 0, NULL);
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 1);
    change_list(0, 1);
    w_run();
    assert_true(has(socket, "event: removed\ndata: {\"stream\":\"b0000000"));
    assert_int_equal(n_events(socket), 1); /* `removed` itself */
    assert_false(socket->is_feed); /* it has ended */
}

static void a_token_that_ends_ends_the_stream(void **state)
{
    (void)state;
    w.tokens[1].expires_at_us = w.now.wall_us + 3 * US_PER_S;
    w_list(0)->is_member[1] = true;
    socket_t *socket = read_from(1, &w_list(0)->id, 0, NULL);
    for (int i = 0; i < 4; i++)
        w_tick();
    assert_true(has(socket, "event: closed\ndata: {\"code\":4001,"));
    assert_null(strstr(strstr(text_of(socket), "\n\n"), "retry:"));
    assert_false(socket->is_feed);
    w_delete_token(0);
    socket = read_from(0, &w_list(0)->id, 0, NULL);
    w_commit(&w.streams[0], EVENT_TOKEN_DELETED, 0);
    w_run();
    assert_true(has(socket, "event: closed\ndata: {\"code\":4001,"));
}

static void another_history_and_a_purged_event_reset_it(void **state)
{
    (void)state;
    socket_t *socket = read_from(0, &w_list(0)->id, 0, NULL);
    w_append(w_list(0), EVENT_TASK_UPDATED, -1);
    w_purge(w_list(0), 1);
    network_log_grew(&w.network, shard_bit(&w_list(0)->id));
    w_run();
    assert_true(has(socket, "event: reset\ndata: {\"stream\":\"b0000000"));
    assert_true(has(socket, "\"reason\":\"an event was purged\"}\n\n"));
    assert_false(socket->is_feed);
}

static void a_drain_ends_it_with_a_time_to_come_back(void **state)
{
    (void)state;
    socket_t *socket = read_from(0, &w_list(0)->id, 0, NULL);
    w_forget_received(socket);
    ws_drain(&w.gateway);
    w_run();
    assert_memory_equal(text_of(socket), "retry: ", 7);
    assert_true(has(socket, "event: closed\ndata: {\"code\":1012,"));
    assert_false(socket->is_feed);
    assert_int_equal(read_from(0, &w_list(0)->id, 0, NULL)->status, 503);
}

static void a_silent_stream_has_heartbeats(void **state)
{
    (void)state;
    socket_t *socket = read_from(0, &w_list(0)->id, 0, NULL);
    w_forget_received(socket);
    for (int i = 0; i < 14; i++)
        w_tick();
    assert_int_equal(socket->received.n_bytes, 0);
    for (int i = 0; i < 17; i++)
        w_tick();
    assert_string_equal(text_of(socket), ":\n\n:\n\n");
}

static void who_does_not_read_is_reset_and_can_resume(void **state)
{
    (void)state;
    socket_t *socket = read_from(0, &w_list(0)->id, 0, NULL);
    socket->is_stuck = true;
    for (int i = 0; i < 3; i++) {
        change_list(0, 1000);
        w_run();
    }
    socket->is_stuck = false;
    w_run();
    assert_true(has(socket, "event: reset\n"));
    assert_true(has(socket, "\"reason\":\"too slow\""));
    w_forget_received(socket);
    socket = read_from(0, &w_list(0)->id, 0, W_EPOCHS);
    assert_int_equal(n_events(socket), 3000);
}

static void who_goes_before_the_answer_leaves_nothing(void **state)
{
    (void)state;
    sse_place_t place = {.after = 0};
    socket_t *socket = w_open_feed(0, 0, &w_list(0)->id, &place);
    w_close_feed(socket);
    w_run();
    socket = w_open_feed(0, 0, &w_list(0)->id, &place);
    while (w.reads == NULL) {
        w_step_sync();
        if (w.asks != NULL)
            w_answer_sync(PG_OK);
        while (w_receive())
            ;
    }
    w_close_feed(socket);
    w_run();
    w_tick();
    assert_int_equal(w.gateway.hub->n_feeds, 0);
    assert_int_equal(hub_n_streams(w.gateway.hub), 0);
}

static void a_database_that_is_away_is_told(void **state)
{
    (void)state;
    w.is_down = true;
    socket_t *socket = read_from(0, &w_list(0)->id, 0, NULL);
    for (int i = 0; i < 12; i++)
        w_tick();
    assert_int_equal(socket->status, 503);
    assert_int_equal(w.gateway.hub->n_feeds, 0);
}

static void event_streams_are_bounded(void **state)
{
    (void)state;
    w.gateway.hub->n_feeds = SSE_MAX;
    assert_int_equal(read_from(0, &w_list(0)->id, 0, NULL)->status, 503);
    w.gateway.hub->n_feeds--;
    w_close_feed(&w.sockets[0]);
    assert_int_equal(read_from(0, &w_list(0)->id, 0, NULL)->status, 200);
    w_close_feed(&w.sockets[0]);
    w.gateway.hub->n_feeds = 0;
}

#define TEST(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_resumes_behind_a_position_and_goes_on_live),
        TEST(without_a_position_it_begins_at_the_head_and_says_where_that_is),
        TEST(an_account_reads_its_own),
        TEST(a_position_that_cannot_be_resumed_is_gone),
        TEST(who_may_not_read_is_refused),
        TEST(access_that_ends_ends_the_stream_with_an_event),
        TEST(a_token_that_ends_ends_the_stream),
        TEST(another_history_and_a_purged_event_reset_it),
        TEST(a_drain_ends_it_with_a_time_to_come_back),
        TEST(a_silent_stream_has_heartbeats),
        TEST(who_does_not_read_is_reset_and_can_resume),
        TEST(who_goes_before_the_answer_leaves_nothing),
        TEST(a_database_that_is_away_is_told),
        TEST(event_streams_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
