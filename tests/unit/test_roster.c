/* SPDX-License-Identifier: Apache-2.0 */
/* Following all of an account's streams with one request. */
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

#define ALL "{\"op\":\"subscribe\",\"all\":true"

static const char *about(const char *op, const uuid_t *stream)
{
    static char text[4][128];
    static int at;
    at = (at + 1) % 4;
    snprintf(text[at], sizeof text[at], "{\"op\":\"%s\",\"stream\":\"%s\"", op, id_text(stream));
    return text[at];
}

static void forget(void)
{
    for (int i = 0; i < W_SOCKETS; i++)
        w_forget_received(&w.sockets[i]);
}

/* Account 1 is in lists 0 and 2. */
static socket_t *follow_all(const char *more)
{
    char json[512];
    w_list(0)->is_member[1] = true;
    w_list(2)->is_member[1] = true;
    socket_t *socket = w_open(0, 1);
    snprintf(json, sizeof json, ALL "%s}", more);
    w_send(socket, json);
    w_run();
    return socket;
}

static void the_account_and_each_list_are_answered_with_the_ref(void **state)
{
    (void)state;
    change_list(2, 3);
    socket_t *socket = follow_all(",\"ref\":\"r\"");
    assert_int_equal(w.n_admitted, 3); /* itself, and each list */
    assert_int_equal(count(socket, "\"op\":\"snapshot\",\"ref\":\"r\""), 3);
    assert_int_equal(count(socket, id_text(&w_list(1)->id)), 0);
    forget();
    change_list(0, 1);
    change_list(1, 1);
    change_list(2, 2);
    w_run();
    assert_int_equal(count(socket, "\"op\":\"event\""), 3);
}

static void positions_are_resumed_and_those_of_other_streams_are_removed(void **state)
{
    char more[400];
    (void)state;
    change_list(0, 3);
    change_list(2, 3);
    int n = snprintf(more, sizeof more, ",\"ref\":1,\"epoch\":\"" W_EPOCHS "\",\"after\":{\"%s\":1",
                     id_text(&w_list(0)->id));
    n += snprintf(more + n, sizeof more - (size_t)n, ",\"%s\":1", id_text(&w_list(1)->id));
    snprintf(more + n, sizeof more - (size_t)n, ",\"%s\":0}", id_text(&w.streams[1].id));
    socket_t *socket = follow_all(more);
    assert_int_equal(count(socket, "\"op\":\"subscribed\",\"ref\":1"), 2);
    assert_int_equal(count(socket, "\"op\":\"snapshot\",\"ref\":1"), 1);
    assert_int_equal(count(socket, "\"op\":\"removed\",\"ref\":1"), 1);
    assert_int_equal(count(socket, "\"op\":\"event\""), 2);
}

static void a_list_that_is_joined_appears_and_one_that_is_left_is_removed(void **state)
{
    (void)state;
    socket_t *socket = follow_all(",\"closed\":true,\"ref\":1");
    forget();
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_run();
    assert_got(socket, about("snapshot", &w_list(1)->id));
    change_list(1, 1);
    w_run();
    assert_got(socket, about("event", &w_list(1)->id));
    w_commit(w_list(1), EVENT_MEMBER_REMOVED, 1);
    w_run();
    assert_got(socket, about("removed", &w_list(1)->id));
    forget();
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_run();
    assert_got(socket, about("snapshot", &w_list(1)->id));
    assert_int_equal(socket->n_received, 1);
}

static void a_list_that_is_made_or_restored_appears(void **state)
{
    (void)state;
    w_list(0)->is_member[0] = false;
    w_list(3)->is_member[0] = false;
    socket_t *socket = w_open(0, 0);
    w_send(socket, ALL "}");
    w_run();
    forget();
    w_list(3)->is_member[0] = true;
    w_commit(w_list(3), EVENT_LIST_CREATED, -1); /* by account 0 */
    w_run();
    assert_got(socket, about("snapshot", &w_list(3)->id));
    w_list(0)->is_member[0] = true;
    w_commit(w_list(0), EVENT_LIST_RESTORED, -1);
    w_run();
    assert_got(socket, about("snapshot", &w_list(0)->id));
}

/* The membership is there after the lists were read, and told before their answer comes. */
static void a_list_that_is_joined_while_they_are_read_is_not_missed(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 1);
    w_send(socket, ALL "}");
    for (int i = 0; w.reads == NULL || strstr(w.reads->sql, "count(*)") == NULL; i++) {
        assert_true(i < 100);
        w_touch(1000);
        w_step_sync();
        if (w.asks != NULL)
            w_answer_sync(PG_OK);
        while (w_receive())
            ;
        while (w.reads != NULL && strstr(w.reads->sql, "count(*)") == NULL)
            w_answer(0, PG_OK);
    }
    w.reads->result = w_execute(w.reads->sql, &w.reads->params);
    w_commit(w_list(4), EVENT_MEMBER_ADDED, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_run();
    assert_got(socket, about("snapshot", &w_list(4)->id));
}

/* Nothing is read before sync reads the log. */
static void the_lists_are_read_only_when_the_account_is_followed(void **state)
{
    (void)state;
    w_list(0)->is_member[1] = true;
    socket_t *socket = w_open(0, 1);
    w_send(socket, ALL "}");
    assert_null(w.reads);
    w_commit(w_list(3), EVENT_MEMBER_ADDED, 1); /* sync begins behind it */
    w_run();
    assert_got(socket, about("snapshot", &w_list(3)->id));
}

static void an_account_that_cannot_be_followed_ends_it(void **state)
{
    (void)state;
    w.is_down = true;
    socket_t *socket = w_open(0, 1);
    w_send(socket, ALL ",\"ref\":1}");
    for (int i = 0; i < 12; i++)
        w_tick();
    assert_int_equal(count(socket, "\"op\":\"error\",\"ref\":1"), 1);
    assert_true(link_is_alone(&w.gateway.hub->rosters));
}

static void what_was_unsubscribed_stays_so_until_it_is_joined_anew(void **state)
{
    char json[128];
    (void)state;
    socket_t *socket = follow_all("");
    snprintf(json, sizeof json, "{\"op\":\"unsubscribe\",\"stream\":\"%s\"}",
             id_text(&w_list(0)->id));
    w_send(socket, json);
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_run();
    forget();
    change_list(0, 1);
    w_run();
    assert_int_equal(socket->n_received, 0);
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 1);
    w_run();
    w_commit(w_list(0), EVENT_MEMBER_ADDED, 1);
    w_run();
    assert_got(socket, about("snapshot", &w_list(0)->id));
}

static void unsubscribing_all_ends_everything(void **state)
{
    (void)state;
    socket_t *socket = follow_all("");
    forget();
    w_send(socket, "{\"op\":\"unsubscribe\",\"all\":true,\"ref\":2}");
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    change_list(0, 1);
    w_run();
    assert_int_equal(socket->n_received, 1);
    assert_string_equal(nth(socket, 0), "{\"op\":\"unsubscribed\",\"ref\":2,\"all\":true}");
    w_tick();
    assert_int_equal(hub_n_streams(w.gateway.hub), 0);
}

static void a_restricted_token_follows_just_its_lists(void **state)
{
    (void)state;
    w.tokens[1].lists[0] = w_list(2)->id;
    w.tokens[1].n_lists = 1;
    socket_t *socket = follow_all("");
    assert_int_equal(count(socket, "\"op\":\"snapshot\""), 1);
    assert_got(socket, about("snapshot", &w_list(2)->id));
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_commit(w_list(2), EVENT_MEMBER_REMOVED, 1);
    w_run();
    assert_got(socket, about("removed", &w_list(2)->id));
    w_commit(w_list(2), EVENT_MEMBER_ADDED, 1);
    w_run();
    assert_int_equal(count(socket, "\"op\":\"snapshot\""), 2);
    assert_int_equal(count(socket, id_text(&w_list(1)->id)), 0);
}

static void lists_that_do_not_fit_are_told_of(void **state)
{
    (void)state;
    w.n_lists_beyond = 7;
    socket_t *socket = follow_all(",\"ref\":1");
    assert_int_equal(count(socket, "\"op\":\"snapshot\""), 3);
    assert_int_equal(count(socket, "\"op\":\"error\",\"ref\":1"), 1);
    assert_got(socket, "7 of your lists");
    forget();
    w_commit(w_list(0), EVENT_MEMBER_CHANGED, 1);
    w_run();
    assert_false(got(socket, "\"op\":\"error\"")); /* once */
    ws_t *ws = socket->user;
    ws->n_subscriptions += WS_MAX_SUBSCRIPTIONS;
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_run();
    ws->n_subscriptions -= WS_MAX_SUBSCRIPTIONS;
    assert_got(socket, "8 of your lists");
    assert_false(got(socket, about("snapshot", &w_list(1)->id)));
}

static void who_goes_meanwhile_leaves_nothing(void **state)
{
    (void)state;
    socket_t *socket = w_open(0, 1);
    w_send(socket, ALL ",\"ref\":1}");
    w_finish_close(socket);
    w_run();
    socket = follow_all("");
    w_commit(w_list(0), EVENT_MEMBER_CHANGED, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    w_finish_close(socket);
    w_run();
    assert_true(link_is_alone(&w.gateway.hub->rosters));
    assert_int_equal(w.gateway.hub->n_reading_rosters, 0);
}

static void lists_that_cannot_be_read_later_are_tried_again(void **state)
{
    (void)state;
    socket_t *socket = follow_all("");
    forget();
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 1);
    w_step_sync();
    w_answer_sync(PG_OK);
    while (w_receive())
        ;
    assert_non_null(w.reads);
    w_answer(0, PG_LOST);
    w_tick();
    assert_got(socket, about("snapshot", &w_list(1)->id));
}

#define TEST(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_account_and_each_list_are_answered_with_the_ref),
        TEST(positions_are_resumed_and_those_of_other_streams_are_removed),
        TEST(a_list_that_is_joined_appears_and_one_that_is_left_is_removed),
        TEST(a_list_that_is_made_or_restored_appears),
        TEST(a_list_that_is_joined_while_they_are_read_is_not_missed),
        TEST(the_lists_are_read_only_when_the_account_is_followed),
        TEST(an_account_that_cannot_be_followed_ends_it),
        TEST(what_was_unsubscribed_stays_so_until_it_is_joined_anew),
        TEST(unsubscribing_all_ends_everything),
        TEST(a_restricted_token_follows_just_its_lists),
        TEST(lists_that_do_not_fit_are_told_of),
        TEST(who_goes_meanwhile_leaves_nothing),
        TEST(lists_that_cannot_be_read_later_are_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
