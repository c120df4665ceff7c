/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets as clients meet them: handshake, messages, limits, closing, readers that are slow. */
#include "server_fixture.h"

#define HOST "Host: a\r\n"
#define FINAL 0x80
#define CONTINUATION 0
#define TEXT 1
#define BINARY 2
#define CLOSE 8
#define PING 9
#define PONG 10

static fixture_t *fixture;

static int start(void **unused)
{
    (void)unused;
    fixture = fixture_start(1, &usual_limits);
    return 0;
}

static int start_impatient(void **unused)
{
    (void)unused;
    server_limits_t limits = usual_limits;
    limits.heartbeat_us = 200000;
    fixture = fixture_start(1, &limits);
    return 0;
}

static int stop(void **unused)
{
    (void)unused;
    fixture_stop(fixture);
    return 0;
}

/* --- a client --- */

static answer_in_t shake_hands(client_t *client, const char *path, const char *lines)
{
    char text[1024];
    snprintf(text, sizeof text,
             "GET %s HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
             path, lines);
    return client_ask(client, text);
}

static client_t ws_connect(void)
{
    client_t client = client_connect(fixture->port);
    assert_int_equal(
        shake_hands(&client, "/ws", "Sec-WebSocket-Protocol: taskwire.v1.json\r\n").status, 101);
    return client;
}

/* Any frame, well-formed or not: `length` is what it says of itself. */
static bool ws_send_frame(const client_t *client, int first, uint64_t length, const void *payload,
                          size_t n_bytes)
{
    static const uint8_t mask[4] = {0x11, 0x52, 0xa3, 0xc4};
    buf_t out = {0};
    buf_append_byte(&out, (uint8_t)first);
    int n_length = length < 126 ? 0 : length < 65536 ? 2 : 8;
    buf_append_byte(&out, (uint8_t)(0x80 | (n_length == 0   ? (int)length
                                            : n_length == 2 ? 126
                                                            : 127)));
    for (int i = n_length - 1; i >= 0; i--)
        buf_append_byte(&out, (uint8_t)(length >> (8 * i)));
    buf_append(&out, mask, 4);
    for (size_t i = 0; i < n_bytes; i++)
        buf_append_byte(&out, ((const uint8_t *)payload)[i] ^ mask[i % 4]);
    bool is_sent = client_send_bytes(client, out.data, out.n_bytes);
    buf_fini(&out);
    return is_sent;
}

static bool ws_send(const client_t *client, int op, const char *text)
{
    return ws_send_frame(client, FINAL | op, strlen(text), text, strlen(text));
}

/* The op of the next frame, or -1 at the end; its payload lives until the next one is read. */
static int ws_read(client_t *client, slice_t *payload)
{
    if (!client_fill(client, 2))
        return -1;
    int op = client->in.data[0];
    assert_int_equal(op & 0xf0, FINAL);
    size_t length = client->in.data[1];
    assert_true(length < 128);
    size_t n_more = length == 126 ? 2 : length == 127 ? 8 : 0;
    assert_true(client_fill(client, 2 + n_more));
    if (n_more > 0)
        length = 0;
    for (size_t i = 0; i < n_more; i++)
        length = length << 8 | client->in.data[2 + i];
    client_drop(client, 2 + n_more);
    assert_true(client_fill(client, length));
    static buf_t kept;
    buf_reset(&kept);
    buf_append(&kept, client->in.data, length);
    buf_append_byte(&kept, '\0');
    client_drop(client, length);
    *payload = slice_of(kept.data, length);
    return op & 0xf;
}

static void assert_next(client_t *client, int op, const char *text)
{
    slice_t payload;
    assert_int_equal(ws_read(client, &payload), op);
    assert_string_equal((const char *)payload.data, text);
}

/* Reads up to the close frame, answers it, and asserts that the connection ends. */
static void assert_closes(client_t *client, int code)
{
    slice_t payload;
    int op;
    while ((op = ws_read(client, &payload)) != CLOSE)
        assert_true(op >= 0);
    assert_true(payload.n_bytes >= 2);
    assert_int_equal(payload.data[0] << 8 | payload.data[1], code);
    ws_send_frame(client, FINAL | CLOSE, 2, payload.data, 2);
    assert_true(client_is_closed(client));
}

/* --- the handshake --- */

static void each_subprotocol_is_agreed_on(void **unused)
{
    (void)unused;
    static const struct {
        const char *offer;
        const char *agreed;
    } all[] = {
        {"Sec-WebSocket-Protocol: taskwire.v1.json\r\n",
         "\r\nSec-WebSocket-Protocol: taskwire.v1.json\r\n"},
        {"Sec-WebSocket-Protocol: taskwire.v1.msgpack\r\n",
         "\r\nSec-WebSocket-Protocol: taskwire.v1.msgpack\r\n"},
        {"Sec-WebSocket-Protocol: foo, taskwire.v1.msgpack,taskwire.v1.json\r\n",
         "\r\nSec-WebSocket-Protocol: taskwire.v1.json\r\n"},
        {"Sec-WebSocket-Protocol: foo\r\nSec-WebSocket-Protocol: taskwire.v1.msgpack\r\n",
         "\r\nSec-WebSocket-Protocol: taskwire.v1.msgpack\r\n"},
        {"Sec-WebSocket-Protocol: foo\r\n", NULL},
        {"", NULL},
        {"Sec-WebSocket-Extensions: permessage-deflate\r\n", NULL},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        client_t client = client_connect(fixture->port);
        answer_in_t answer = shake_hands(&client, "/ws", all[i].offer);
        assert_int_equal(answer.status, 101);
        assert_non_null(
            strstr(answer.head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_null(strstr(answer.head, "Sec-WebSocket-Extensions"));
        if (all[i].agreed != NULL)
            assert_non_null(strstr(answer.head, all[i].agreed));
        else
            assert_null(strstr(answer.head, "Sec-WebSocket-Protocol"));
        assert_true(ws_send(&client, TEXT, "hello"));
        assert_next(&client, TEXT, "hello");
        client_close(&client);
    }
}

static void a_refused_handshake_gets_a_status(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    answer_in_t answer = shake_hands(&client, "/denied", "");
    assert_int_equal(answer.status, 401);
    assert_true(answer_has(&answer, "\"code\":\"unauthenticated\""));
    assert_non_null(strstr(answer.head, "\r\nWWW-Authenticate: Bearer"));
    client_close(&client);
    assert_int_equal(status_of_last(fixture->port, "GET /ws HTTP/1.1\r\n" HOST
                                                   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                                   "Sec-WebSocket-Version: 13\r\n\r\n"),
                     400);
    client = client_connect(fixture->port);
    answer = client_ask(
        &client, "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n");
    assert_int_equal(answer.status, 426);
    assert_non_null(strstr(answer.head, "\r\nSec-WebSocket-Version: 13\r\n"));
    client_close(&client);
}

static void a_websocket_may_follow_requests(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_int_equal(client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    assert_int_equal(shake_hands(&client, "/ws", "").status, 101);
    assert_true(ws_send(&client, BINARY, "hello"));
    assert_next(&client, BINARY, "hello");
    client_close(&client);
    wait_for_counter(fixture->port, "closed=1 code=1006");
}

static void frames_may_come_with_the_handshake(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(
        &client, "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                 "\x81\x82\x01\x01\x01\x01\x69\x68\x81\x82\x01\x01\x01\x01\x69\x6e"));
    assert_int_equal(client_read(&client).status, 101);
    assert_next(&client, TEXT, "hi");
    assert_next(&client, TEXT, "ho");
    client_close(&client);
}

/* --- messages --- */

static void messages_of_all_sizes_come_back(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {0,    1,    125,   126,   127,    2047,
                                   2048, 2049, 65535, 65536, 300000, 1048576};
    client_t client = ws_connect();
    char *text = malloc(1048577);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            text[j] = (char)('a' + (i + j) % 26);
        text[sizes[i]] = '\0';
        assert_true(ws_send(&client, i % 2 == 0 ? TEXT : BINARY, text));
        assert_next(&client, i % 2 == 0 ? TEXT : BINARY, text);
    }
    free(text);
    client_close(&client);
}

static void many_messages_in_one_packet_come_one_by_one(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    for (int i = 0; i < 2000; i++) {
        char text[16];
        snprintf(text, sizeof text, "m%d", i);
        assert_true(ws_send(&client, TEXT, text));
    }
    for (int i = 0; i < 2000; i++) {
        char text[16];
        snprintf(text, sizeof text, "m%d", i);
        assert_next(&client, TEXT, text);
    }
    client_close(&client);
}

static void fragments_make_one_message(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    ws_send_frame(&client, TEXT, 5, "hello", 5);
    ws_send(&client, PING, "between");
    ws_send_frame(&client, CONTINUATION, 0, "", 0);
    ws_send_frame(&client, CONTINUATION, 2, ", ", 2);
    ws_send(&client, CONTINUATION, "world");
    /* The pong may overtake the message, or not. */
    bool has_pong = false;
    bool has_message = false;
    for (int i = 0; i < 2; i++) {
        slice_t payload;
        bool is_pong = ws_read(&client, &payload) == PONG;
        assert_string_equal((const char *)payload.data, is_pong ? "between" : "hello, world");
        has_pong = has_pong || is_pong;
        has_message = has_message || !is_pong;
    }
    assert_true(has_pong && has_message);
    ws_send_frame(&client, BINARY, 1, "x", 1);
    ws_send_frame(&client, FINAL | CONTINUATION, 0, "", 0);
    assert_next(&client, BINARY, "x");
    client_close(&client);
}

static void a_message_that_is_too_large_closes(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    /* The announcement is enough. */
    assert_true(ws_send_frame(&client, FINAL | BINARY, 1048577, "x", 1));
    assert_closes(&client, 1009);
    client_close(&client);
    client = ws_connect();
    assert_true(ws_send_frame(&client, FINAL | BINARY, UINT64_MAX / 2, "x", 1));
    assert_closes(&client, 1009);
    client_close(&client);
    client = ws_connect();
    char piece[1000] = {0};
    ws_send_frame(&client, BINARY, sizeof piece, piece, sizeof piece);
    for (int i = 1; i < 1049; i++)
        ws_send_frame(&client, CONTINUATION, sizeof piece, piece, sizeof piece);
    assert_closes(&client, 1009);
    client_close(&client);
    client = ws_connect();
    ws_send(&client, TEXT, "limit 20");
    assert_next(&client, TEXT, "limit 20");
    ws_send(&client, TEXT, "12345678901234567890");
    assert_next(&client, TEXT, "12345678901234567890");
    ws_send(&client, TEXT, "123456789012345678901");
    assert_closes(&client, 1009);
    client_close(&client);
    wait_for_counter(fixture->port, "closed=4 code=1009");
}

static void text_that_is_not_utf8_closes(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {"\xff", "\xc3", "a\xed\xa0\x80", "\xc0\xaf",
                                        "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        client_t client = ws_connect();
        ws_send(&client, TEXT, wrong[i]);
        assert_closes(&client, 1007);
        client_close(&client);
    }
    client_t client = ws_connect();
    ws_send_frame(&client, TEXT, 1, "\xc3", 1);
    ws_send_frame(&client, FINAL | CONTINUATION, 1, "\xa4", 1);
    assert_next(&client, TEXT, "\xc3\xa4");
    ws_send(&client, BINARY, "\xff");
    assert_next(&client, BINARY, "\xff");
    ws_send_frame(&client, TEXT, 1, "\xc3", 1);
    ws_send_frame(&client, FINAL | CONTINUATION, 0, "", 0);
    assert_closes(&client, 1007);
    client_close(&client);
}

static void frames_that_are_none_end_the_connection(void **unused)
{
    (void)unused;
    static const int wrong[] = {FINAL | 3, FINAL | 0xb,          FINAL | 0x40 | TEXT,
                                CLOSE,     FINAL | CONTINUATION, PING};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        client_t client = ws_connect();
        ws_send_frame(&client, wrong[i], 2, "\x03\xe8", 2);
        slice_t payload;
        int op;
        while ((op = ws_read(&client, &payload)) >= 0) {
            assert_int_equal(op, CLOSE);
            ws_send_frame(&client, FINAL | CLOSE, 2, payload.data, 2);
        }
        client_close(&client);
    }
    wait_for_counter(fixture->port, "closed=6");
}

/* --- closing --- */

static void a_client_may_close(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    ws_send_frame(&client, FINAL | CLOSE, 5,
                  "\x0f\xa0"
                  "bye",
                  5);
    slice_t payload;
    assert_int_equal(ws_read(&client, &payload), CLOSE);
    assert_memory_equal(payload.data, "\x0f\xa0", 2);
    assert_true(client_is_closed(&client));
    client_close(&client);
    wait_for_counter(fixture->port, "closed=1 code=4000");
    client = ws_connect();
    ws_send_frame(&client, FINAL | CLOSE, 0, "", 0);
    assert_int_equal(ws_read(&client, &payload), CLOSE);
    assert_true(client_is_closed(&client));
    client_close(&client);
    wait_for_counter(fixture->port, "closed=2 code=1005");
}

static void a_server_that_closes_says_why_last(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    ws_send(&client, TEXT, "close 4001 not logged in");
    ws_send(&client, TEXT, "not heard any more");
    assert_next(&client, TEXT, "last words");
    slice_t payload;
    assert_int_equal(ws_read(&client, &payload), CLOSE);
    assert_string_equal((const char *)payload.data, "\x0f\xa1"
                                                    "not logged in");
    ws_send_frame(&client, FINAL | CLOSE, 2, "\x0f\xa1", 2);
    assert_true(client_is_closed(&client));
    client_close(&client);
    wait_for_counter(fixture->port, "closed=1 code=4001");
}

static void a_close_that_is_not_answered_ends_anyway(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    ws_send(&client, TEXT, "close 4001 not logged in");
    assert_next(&client, TEXT, "last words");
    slice_t payload;
    assert_int_equal(ws_read(&client, &payload), CLOSE);
    assert_true(client_is_closed(&client));
    client_close(&client);
    wait_for_counter(fixture->port, "closed=1 code=4001");
}

static void a_reset_ends_a_websocket(void **unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        client_t client = ws_connect();
        ws_send(&client, TEXT, i % 2 == 0 ? "flood 100000" : "hello");
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        client_close(&client);
    }
    wait_for_counter(fixture->port, "open=20 closed=20 code=1006");
}

/* --- liveness --- */

static void a_quiet_client_is_pinged_and_lives_if_it_answers(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    for (int i = 0; i < 4; i++) {
        slice_t payload;
        assert_int_equal(ws_read(&client, &payload), PING);
        assert_true(payload.n_bytes > 0);
        assert_true(
            ws_send_frame(&client, FINAL | PONG, payload.n_bytes, payload.data, payload.n_bytes));
    }
    ws_send(&client, TEXT, "still here");
    assert_next(&client, TEXT, "still here");
    client_close(&client);
}

static void a_dead_client_is_noticed(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    slice_t payload;
    assert_int_equal(ws_read(&client, &payload), PING);
    assert_true(client_is_closed(&client));
    client_close(&client);
    wait_for_counter(fixture->port, "closed=1 code=1006");
}

/* --- slow readers --- */

static void a_slow_reader_costs_little_and_gets_everything(void **unused)
{
    (void)unused;
    const int n_frames = 30000;
    client_t client = ws_connect();
    char text[32];
    snprintf(text, sizeof text, "flood %d", n_frames);
    ws_send(&client, TEXT, text);
    client_t other = client_connect(fixture->port);
    size_t n_handed = 0;
    for (int n_same = 0; n_same < 200;) {
        size_t now = counter(&other, "handed=");
        n_same = now == n_handed && now > 0 ? n_same + 1 : 0;
        n_handed = now;
    }
    /* What two kernels hold, and one write. */
    assert_true(n_handed < 16 * 1024 * 1024);
    for (int i = 0; i < n_frames; i++) {
        slice_t payload;
        assert_int_equal(ws_read(&client, &payload), TEXT);
        assert_int_equal(payload.n_bytes, FLOOD_PAYLOAD);
        assert_int_equal(atoi((const char *)payload.data + FLOOD_PAYLOAD - 9), i);
    }
    ws_send(&client, TEXT, "done");
    assert_next(&client, TEXT, "done");
    client_close(&client);
    client_close(&other);
}

static void a_reader_that_stopped_can_be_closed(void **unused)
{
    (void)unused;
    client_t client = ws_connect();
    ws_send(&client, TEXT, "flood 100000");
    client_t other = client_connect(fixture->port);
    size_t n_handed = 0;
    for (int n_same = 0; n_same < 100;) {
        size_t now = counter(&other, "handed=");
        n_same = now == n_handed && now > 0 ? n_same + 1 : 0;
        n_handed = now;
    }
    ws_send(&client, TEXT, "close 4008 too slow");
    wait_for_counter(fixture->port, "closed=1 code=4008");
    wait_for_counter(fixture->port, "connections=2");
    client_close(&client);
    client_close(&other);
}

static void a_server_may_end_with_websockets_open(void **unused)
{
    (void)unused;
    client_t clients[20];
    for (int i = 0; i < 20; i++) {
        clients[i] = ws_connect();
        ws_send(&clients[i], TEXT, i % 2 == 0 ? "flood 100000" : "hello");
    }
    fixture_stop(fixture);
    for (int i = 0; i < 20; i++)
        client_close(&clients[i]);
    fixture = fixture_start(1, &usual_limits);
}

static void random_frames_never_end_the_server(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 150; i++) {
        client_t client = ws_connect();
        for (int n = (int)(random() % 10); n > 0; n--) {
            uint8_t bytes[300];
            for (size_t j = 0; j < sizeof bytes; j++)
                bytes[j] = (uint8_t)random();
            size_t n_bytes = (size_t)random() % sizeof bytes;
            bool is_sent = random() % 4 == 0
                               ? client_send_bytes(&client, bytes, n_bytes)
                               : ws_send_frame(&client, (int)random() & 0x8f, n_bytes, bytes,
                                               random() % 8 == 0 ? n_bytes / 2 : n_bytes);
            if (!is_sent)
                break;
        }
        client_close(&client);
    }
    wait_for_counter(fixture->port, "open=150 closed=150");
}

#define TEST_OF(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define IMPATIENT_TEST(name) cmocka_unit_test_setup_teardown(name, start_impatient, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(each_subprotocol_is_agreed_on),
        TEST_OF(a_refused_handshake_gets_a_status),
        TEST_OF(a_websocket_may_follow_requests),
        TEST_OF(frames_may_come_with_the_handshake),
        TEST_OF(messages_of_all_sizes_come_back),
        TEST_OF(many_messages_in_one_packet_come_one_by_one),
        TEST_OF(fragments_make_one_message),
        TEST_OF(a_message_that_is_too_large_closes),
        TEST_OF(text_that_is_not_utf8_closes),
        TEST_OF(frames_that_are_none_end_the_connection),
        TEST_OF(a_client_may_close),
        TEST_OF(a_server_that_closes_says_why_last),
        TEST_OF(a_close_that_is_not_answered_ends_anyway),
        TEST_OF(a_reset_ends_a_websocket),
        IMPATIENT_TEST(a_quiet_client_is_pinged_and_lives_if_it_answers),
        IMPATIENT_TEST(a_dead_client_is_noticed),
        TEST_OF(a_slow_reader_costs_little_and_gets_everything),
        TEST_OF(a_reader_that_stopped_can_be_closed),
        TEST_OF(a_server_may_end_with_websockets_open),
        TEST_OF(random_frames_never_end_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
