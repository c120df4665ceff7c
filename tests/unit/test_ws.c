/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket from its login to its end: messages, commands, limits. */
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
    assert_int_equal(try_upgrade((request_t){.path = path, .protocol = slice_str("taskwire.v2")}),
                     ERR_NOT_IMPLEMENTED);
}

static void the_subprotocol_is_the_first_of_the_clients_that_is_spoken(void **state)
{
    static const struct {
        const char *offered;
        const char *taken;
        encoding_t encoding;
    } rows[] = {
        {"taskwire.v1.json, taskwire.v1.msgpack", "taskwire.v1.json", ENCODING_JSON},
        {"taskwire.v1.msgpack, taskwire.v1.json", "taskwire.v1.msgpack", ENCODING_MSGPACK},
        {"x,taskwire.v1.msgpack", "taskwire.v1.msgpack", ENCODING_MSGPACK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        request_t request = {.path = slice_str("/v1/ws"), .protocol = slice_str(rows[i].offered)};
        const char *taken = NULL;
        void *user = NULL;
        assert_int_equal(ws_on_upgrade(&w.gateway, &request, &taken, &user), ERR_OK);
        assert_string_equal(taken, rows[i].taken);
        assert_int_equal(((ws_t *)user)->encoding, rows[i].encoding);
        socket_t *socket = &w.sockets[i];
        socket->user = user;
        socket->is_open = true;
    }
}

/* --- msgpack --- */

static socket_t *open_msgpack(int at, int account)
{
    w.sockets[at].speaks_msgpack = true;
    return w_open(at, account);
}

/* The test's socket turns what it sends and gets from and into JSON. */
static void in_msgpack_the_same_maps_go_to_and_fro(void **state)
{
    (void)state;
    change_list(0, 3);
    socket_t *text = w_open(0, 0);
    socket_t *binary = open_msgpack(1, 0);
    for (int i = 0; i < 2; i++) {
        socket_t *socket = i == 0 ? text : binary;
        subscribe_to(socket, &w_list(0)->id, ",\"ref\":7");
        subscribe_to(socket, &w.streams[0].id, "");
        resume(socket, &w_list(1)->id, 0);
        w_send(socket, "{\"op\":\"ping\",\"ref\":\"\xc3\xa9 \\\"\"}");
        w_send(socket, "{\"op\":\"fly\"}");
        w_run();
    }
    change_list(0, 2); /* from the ring */
    change_list(1, 1);
    w_run();
    assert_true(text->n_received > 8);
    assert_int_equal(binary->n_received, text->n_received);
    for (size_t i = 0; i < text->n_received; i++)
        assert_int_equal(count(binary, nth(text, i)), count(text, nth(text, i)));
    resume(binary, &w_list(0)->id, 0); /* from the log */
    w_run();
    assert_got(binary, "\"rev\":1,");
}

static void a_frame_of_the_other_kind_closes(void **state)
{
    (void)state;
    socket_t *socket = open_msgpack(0, 0);
    w_run();
    ws_on_message(&w.gateway, socket, slice_str("{\"op\":\"ping\"}"), false);
    assert_int_equal(socket->close_code, 1003);
}

static void bad_msgpack_is_answered_and_the_connection_stays(void **state)
{
    static const struct {
        const char *bytes;
        size_t n_bytes;
        const char *code;
    } rows[] = {
        {"", 0, "malformed"},
        {"\xc1", 1, "malformed"},
        {"\x81\xa2op", 4, "malformed"},
        {"\x81\xa2op\xa4ping\xc0", 10, "malformed"},
        {"\x82\xa2op\xa4ping\xa2op\xa4ping", 17, "malformed"},
        {"\x81\x01\x01", 3, "malformed"},
        {"\x81\xa2op\xa1\xff", 6, "malformed"},
        {"\x81\xa2op\xca\x00\x00\x00\x00", 9, "invalid"},
        {"\x81\xa2op\xc4\x01x", 7, "invalid"},
        {"\x81\xa2op\xd4\x01x", 7, "invalid"},
        {"\x90", 1, "invalid"},
        {"\xdf\xff\xff\xff\xff", 5, "malformed"},
        {"\xdb\xff\xff\xff\xff", 5, "malformed"},
    };
    (void)state;
    socket_t *socket = open_msgpack(0, 0);
    w_run();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        w_forget_received(socket);
        ws_on_message(&w.gateway, socket, slice_of(rows[i].bytes, rows[i].n_bytes), true);
        w_run();
        assert_int_equal(socket->n_received, 1);
        assert_got(socket, "\"op\":\"error\"");
        assert_got(socket, rows[i].code);
    }
    assert_int_equal(socket->close_code, 0);
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
    assert_got(socket, "\"pointer\":\"/command/data/title\"");
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
    assert_non_null(strstr(nth(socket, 2), "\"pointer\":\"/command/op\""));
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
    assert_got(socket, "\"pointer\":\"/command/data/email\"");
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
    for (int i = 0; i < 6; i++)
        w_send(socket, COMMAND);
    w_answer_commands(&outcome);
    assert_int_equal(socket->close_code, 0);
    w_send(socket, COMMAND); /* refused: 1.2 MB wait already */
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
        TEST(the_subprotocol_is_the_first_of_the_clients_that_is_spoken),
        TEST(in_msgpack_the_same_maps_go_to_and_fro),
        TEST(a_frame_of_the_other_kind_closes),
        TEST(bad_msgpack_is_answered_and_the_connection_stays),
        TEST(a_token_that_expires_closes),
        TEST(a_bad_message_is_answered_and_the_connection_stays),
        TEST(binary_messages_are_not_spoken),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
