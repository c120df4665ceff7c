/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP as clients meet it: a real loop, real sockets. */
#include "server_fixture.h"

#include "schema/limits.h"

#define HOST "Host: a\r\n"

static fixture_t *fixture;

static int start(void **unused)
{
    (void)unused;
    fixture = fixture_start(1, &usual_limits);
    return 0;
}

/* With deadlines that a test can wait for. */
static int start_impatient(void **unused)
{
    (void)unused;
    server_limits_t limits = usual_limits;
    limits.headers_us = 300000;
    limits.body_us = 300000;
    limits.keepalive_us = 300000;
    limits.max_connections = 20;
    fixture = fixture_start(1, &limits);
    return 0;
}

static int stop(void **unused)
{
    (void)unused;
    fixture_stop(fixture);
    return 0;
}

static void a_request_is_answered(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    answer_in_t answer =
        client_ask(&client, "GET /a/b?c=%20 HTTP/1.1\r\n" HOST "Cookie: x\r\nCookie: y\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_true(answer_has(&answer, "0 /a/b?c=%20 [x; y] tag=0 peer=127.0.0.1 "));
    assert_non_null(strstr(answer.head, "\r\nContent-Type: text/plain\r\n"));
    assert_non_null(strstr(answer.head, "\r\nX-More: yes\r\n"));
    assert_non_null(strstr(answer.head, "\r\nDate: "));
    assert_null(strstr(answer.head, "\r\nConnection:"));
    client_close(&client);
}

static void a_connection_serves_a_thousand_requests(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    for (int i = 0; i < 1000; i++) {
        char text[128];
        char expected[32];
        snprintf(text, sizeof text, "%s /n?%d HTTP/1.1\r\n" HOST "%s\r\n",
                 i % 3 == 0 ? "POST" : "GET", i, i % 3 == 0 ? "Content-Length: 0\r\n" : "");
        snprintf(expected, sizeof expected, "/n?%d ", i);
        answer_in_t answer = client_ask(&client, text);
        assert_int_equal(answer.status, 200);
        assert_true(answer_has(&answer, expected));
    }
    client_close(&client);
}

static void bodies_arrive_whole_with_every_method(void **unused)
{
    (void)unused;
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"};
    client_t client = client_connect(fixture->port);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "%s /b HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello world", methods[i]);
        answer_in_t answer = client_ask(&client, text);
        assert_int_equal(answer.status, 200);
        assert_true(answer_has(&answer, "peer=127.0.0.1 hello world"));
        snprintf(text, sizeof text, "%s /b HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
                 methods[i]);
        assert_int_equal(client_ask(&client, text).status, 200);
        snprintf(text, sizeof text, "%s /b HTTP/1.1\r\n" HOST "\r\n", methods[i]);
        assert_int_equal(client_ask(&client, text).status, 200);
    }
    client_close(&client);
}

static void a_body_may_come_byte_by_byte(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    const char *text = "\r\nPATCH /slowly HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    for (size_t i = 0; i < strlen(text); i++)
        assert_true(client_send_bytes(&client, text + i, 1));
    answer_in_t answer = client_read(&client);
    assert_int_equal(answer.status, 200);
    assert_true(answer_has(&answer, "hello"));
    client_close(&client);
}

static void a_body_of_a_mebibyte_is_taken_and_no_more(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    char head[128];
    snprintf(head, sizeof head, "PUT /large HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
             LIMIT_BODY_BYTES);
    assert_true(client_send(&client, head));
    char *body = malloc(LIMIT_BODY_BYTES);
    for (int i = 0; i < LIMIT_BODY_BYTES; i++)
        body[i] = (char)('a' + i % 23);
    assert_true(client_send_bytes(&client, body, LIMIT_BODY_BYTES));
    answer_in_t answer = client_read(&client);
    assert_int_equal(answer.status, 200);
    assert_memory_equal(answer.body.data + answer.body.n_bytes - LIMIT_BODY_BYTES, body,
                        LIMIT_BODY_BYTES);
    snprintf(head, sizeof head, "PUT /larger HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
             LIMIT_BODY_BYTES + 1);
    assert_true(client_send(&client, head));
    /* Who sends on regardless still reads why. */
    client_send_bytes(&client, body, LIMIT_BODY_BYTES / 4);
    answer = client_read(&client);
    assert_int_equal(answer.status, 413);
    assert_true(answer_has(&answer, "\"code\":\"too_large\""));
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    free(body);
    client_close(&client);
}

static void pipelined_requests_are_answered_in_order(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    buf_t text = {0};
    for (int i = 0; i < 500; i++) {
        const char *path = i % 7 == 3 ? "/big" : "/n";
        buf_format(&text, "POST %s?%d HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n%03d", path, i,
                   i % 1000);
    }
    assert_true(client_send_bytes(&client, text.data, text.n_bytes));
    for (int i = 0; i < 500; i++) {
        answer_in_t answer = client_read(&client);
        assert_int_equal(answer.status, 200);
        char expected[32];
        snprintf(expected, sizeof expected, "/n?%d ", i);
        if (i % 7 == 3)
            assert_int_equal(answer.body.n_bytes, i);
        else
            assert_true(answer_has(&answer, expected));
    }
    buf_fini(&text);
    client_close(&client);
}

static void what_is_sent_ahead_of_a_late_answer_waits(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(
        &client, "GET /later?1 HTTP/1.1\r\n" HOST "\r\nGET /n?2 HTTP/1.1\r\n" HOST
                 "\r\nGET /later?3 HTTP/1.1\r\n" HOST "\r\nGET /n?4 HTTP/1.1\r\n" HOST "\r\n"));
    client_t other = client_connect(fixture->port);
    wait_for_counter(fixture->port, "later=1");
    client_ask(&other, "GET /release HTTP/1.1\r\n" HOST "\r\n");
    answer_in_t answer = client_read(&client);
    assert_true(answer_has(&answer, "/later?1 "));
    answer = client_read(&client);
    assert_true(answer_has(&answer, "/n?2 "));
    wait_for_counter(fixture->port, "later=1");
    client_ask(&other, "GET /release HTTP/1.1\r\n" HOST "\r\n");
    answer = client_read(&client);
    assert_true(answer_has(&answer, "/later?3 "));
    answer = client_read(&client);
    assert_true(answer_has(&answer, "/n?4 "));
    client_close(&client);
    client_close(&other);
}

/* More than the server keeps: it stops reading, and goes on where it was. */
static void a_flood_ahead_of_a_late_answer_is_not_kept(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "GET /later HTTP/1.1\r\n" HOST "\r\n"));
    wait_for_counter(fixture->port, "later=1");
    const char *request =
        "GET /n HTTP/1.1\r\n" HOST "X-Padding: 0123456789012345678901234567890123456789\r\n\r\n";
    size_t n_sent = 0;
    int n_requests = 0;
    for (;; n_sent += strlen(request), n_requests++) {
        ssize_t n = send(client.fd, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n == (ssize_t)strlen(request))
            continue;
        if (n > 0)
            assert_true(n < (ssize_t)strlen(request));
        n_sent = n > 0 ? (size_t)n : 0;
        break;
    }
    client_t other = client_connect(fixture->port);
    client_ask(&other, "GET /release HTTP/1.1\r\n" HOST "\r\n");
    assert_true(answer_has(&(answer_in_t){.body = client_read(&client).body}, "/later"));
    if (n_sent > 0) {
        assert_true(client_send(&client, request + n_sent));
        n_requests++;
    }
    for (int i = 0; i < n_requests; i++)
        assert_int_equal(client_read(&client).status, 200);
    client_close(&client);
    client_close(&other);
}

static void head_is_answered_like_get_without_the_body(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "HEAD /big?1000 HTTP/1.1\r\n" HOST "\r\n"));
    answer_in_t answer = client_read_for(&client, true);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 1000\r\n"));
    assert_int_equal(client_ask(&client, "GET /big?3 HTTP/1.1\r\n" HOST "\r\n").body.n_bytes, 3);
    client_close(&client);
}

static void answers_without_a_body_have_no_length(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    answer_in_t answer = client_ask(&client, "DELETE /status?204 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 204);
    assert_null(strstr(answer.head, "Content-Length"));
    answer = client_ask(&client, "GET /status?304 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 304);
    answer = client_ask(&client, "GET /status?404 HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 404);
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 0\r\n"));
    client_close(&client);
}

static void large_answers_go_out_whole(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    for (int i = 0; i < 3; i++) {
        answer_in_t answer = client_ask(&client, "GET /big?8000000 HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(answer.body.n_bytes, 8000000);
        assert_int_equal(answer.body.data[7999999], 'x');
    }
    client_close(&client);
}

static void an_old_client_is_served_once(void **unused)
{
    (void)unused;
    assert_int_equal(status_of_last(fixture->port, "GET / HTTP/1.0\r\n\r\n"), 200);
    assert_int_equal(
        status_of_last(fixture->port, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 200);
    client_t client = client_connect(fixture->port);
    answer_in_t answer = client_ask(&client, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_non_null(strstr(answer.head, "\r\nConnection: keep-alive\r\n"));
    assert_int_equal(client_ask(&client, "GET / HTTP/1.0\r\n\r\n").status, 200);
    assert_true(client_is_closed(&client));
    client_close(&client);
}

static void who_expects_to_be_told_to_continue_is(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    answer_in_t answer = client_ask(&client, "POST /e HTTP/1.1\r\n" HOST
                                             "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(answer.status, 100);
    answer = client_ask(&client, "hello");
    assert_int_equal(answer.status, 200);
    assert_true(answer_has(&answer, "hello"));
    answer = client_ask(&client, "POST /e HTTP/1.1\r\n" HOST
                                 "Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n");
    assert_int_equal(answer.status, 413);
    client_close(&client);
}

static void a_request_that_is_framed_wrongly_is_the_last_one(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int status;
    } wrong[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"FOO BAR\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET /%00 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"\x16\x03\x01\x02\x01\xfc\x03\x03\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nhello", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\nhello", 413},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         411},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 411},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
         400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello", 400},
        {"GET / HTTP/1.1\r\n" HOST "Expect: miracles\r\n\r\n", 417},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(status_of_last(fixture->port, wrong[i].text), wrong[i].status);
    wait_for_counter(fixture->port, "connections=1");
}

static void a_refusal_is_a_problem(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    answer_in_t answer =
        client_ask(&client, "POST / HTTP/1.1\r\n" HOST "Content-Length: x\r\n\r\n");
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(answer.head, "\r\nContent-Type: application/problem+json\r\n"));
    assert_non_null(strstr(answer.head, "\r\nRequest-Id: "));
    assert_true(answer_has(&answer, "{\"type\":\"urn:taskwire:problem:malformed\",\"title\":\""));
    assert_true(answer_has(&answer,
                           "\"status\":400,\"detail\":\"Content-Length must be one number.\","
                           "\"code\":\"malformed\",\"instance\":\"urn:taskwire:request:"));
    client_close(&client);
}

static void a_head_is_at_most_16_kib(void **unused)
{
    (void)unused;
    for (int n_excess = 0; n_excess < 2; n_excess++) {
        buf_t text = {0};
        buf_append_str(&text, "GET / HTTP/1.1\r\n" HOST "Cookie: ");
        while (text.n_bytes < LIMIT_HEADER_BYTES - 4 + (size_t)n_excess)
            buf_append_byte(&text, 'c');
        buf_append(&text, "\r\n\r\n", 5);
        client_t client = client_connect(fixture->port);
        answer_in_t answer = client_ask(&client, (const char *)text.data);
        assert_int_equal(answer.status, n_excess == 0 ? 200 : 431);
        client_close(&client);
        buf_fini(&text);
    }
    buf_t text = {0};
    buf_append_str(&text, "GET / HTTP/1.1\r\n" HOST "Cookie: ");
    while (text.n_bytes < (size_t)100000)
        buf_append_byte(&text, 'c');
    buf_append_byte(&text, '\0');
    assert_int_equal(status_of_last(fixture->port, (const char *)text.data), 431);
    buf_fini(&text);
}

/* CVE-2025-11677 is about the second of these on one connection. */
static void other_upgrades_are_ignored(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_ask(&client, "GET /1 HTTP/1.1\r\n" HOST "\r\n").status, 200);
        answer_in_t answer = client_ask(&client, "GET /2 HTTP/1.1\r\n" HOST
                                                 "Connection: Upgrade\r\nUpgrade: foobar\r\n\r\n");
        assert_int_equal(answer.status, 200);
        answer =
            client_ask(&client, "GET /3 HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\n"
                                "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
        assert_int_equal(answer.status, 200);
        assert_true(answer_has(&answer, "/3"));
    }
    client_close(&client);
}

static void a_client_that_leaves_is_gone(void **unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        client_t client = client_connect(fixture->port);
        assert_true(client_send(&client, "GET /later HTTP/1.1\r\n" HOST "\r\n"));
        wait_for_counter(fixture->port, "later=1");
        if (i % 2 == 0) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        client_close(&client);
        wait_for_counter(fixture->port, "later=0");
    }
    wait_for_counter(fixture->port, "gone=20 ");
    wait_for_counter(fixture->port, "connections=1");
}

static void a_client_that_leaves_with_more_on_the_way_is_gone(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "GET /later HTTP/1.1\r\n" HOST "\r\n"));
    wait_for_counter(fixture->port, "later=1");
    char *padding = calloc(1, 90000);
    memset(padding, 'x', 90000);
    send(client.fd, padding, 90000, MSG_DONTWAIT | MSG_NOSIGNAL);
    free(padding);
    client_close(&client);
    wait_for_counter(fixture->port, "gone=1 ");
}

static void clients_that_leave_in_the_middle_harm_nobody(void **unused)
{
    (void)unused;
    static const char *const beginnings[] = {
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\nhalf",
        "GET /big?8000000 HTTP/1.1\r\n" HOST "\r\n",
    };
    for (int i = 0; i < 100; i++) {
        client_t client = client_connect(fixture->port);
        client_send(&client, beginnings[i % 5]);
        client_close(&client);
    }
    wait_for_counter(fixture->port, "connections=1");
}

static void half_sent_requests_hinder_nobody(void **unused)
{
    (void)unused;
    client_t half[300];
    for (int i = 0; i < 300; i++) {
        half[i] = client_connect(fixture->port);
        assert_true(client_send(&half[i], i % 2 == 0 ? "GET /half HTTP/1.1\r\nHost: a"
                                                     : "POST /half HTTP/1.1\r\n" HOST
                                                       "Content-Length: 500000\r\n\r\nhalf"));
    }
    client_t client = client_connect(fixture->port);
    for (int i = 0; i < 200; i++)
        assert_int_equal(client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    for (int i = 0; i < 300; i += 2) {
        assert_int_equal(client_ask(&half[i], "\r\n\r\n").status, 200);
    }
    for (int i = 0; i < 300; i++)
        client_close(&half[i]);
    client_close(&client);
    wait_for_counter(fixture->port, "connections=1");
}

static void whoever_is_slow_is_told_and_dropped(void **unused)
{
    (void)unused;
    assert_int_equal(status_of_last(fixture->port, "GET / HTTP/1.1\r\nHost:"), 408);
    assert_int_equal(
        status_of_last(fixture->port, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nhalf"),
        408);
    assert_int_equal(status_of_last(fixture->port, ""), 0);
    client_t client = client_connect(fixture->port);
    assert_int_equal(client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    assert_true(client_is_closed(&client));
    client_close(&client);
    client = client_connect(fixture->port);
    assert_int_equal(client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\nGET /second").status, 200);
    assert_int_equal(client_read(&client).status, 408);
    assert_true(client_is_closed(&client));
    client_close(&client);
}

/* A byte now and then does not keep a request alive. */
static void a_trickle_is_as_slow_as_silence(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n"));
    struct timeval short_wait = {.tv_usec = 20000};
    setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait);
    char byte;
    int n_sent = 0;
    while (recv(client.fd, &byte, 1, MSG_PEEK) < 0 && n_sent < 1000) {
        if (!client_send(&client, "x"))
            break;
        n_sent++;
    }
    assert_in_range(n_sent, 5, 50);
    assert_int_equal(client_read(&client).status, 408);
    client_close(&client);
}

static void who_does_not_read_the_answer_is_dropped(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "GET /big?30000000 HTTP/1.1\r\n" HOST "\r\n"));
    wait_for_counter(fixture->port, "connections=2");
    wait_for_counter(fixture->port, "connections=1");
    client_close(&client);
}

/* Until a connection is taken again. */
static void wait_for_room(int port)
{
    int status = 0;
    for (time_t until = time(NULL) + PATIENCE_S; status != 200 && time(NULL) < until;) {
        client_t client = client_connect(port);
        client_send(&client, "GET / HTTP/1.1\r\n" HOST "\r\n");
        status = client_read(&client).status;
        client_close(&client);
    }
    assert_int_equal(status, 200);
}

static void further_connections_are_closed_at_once(void **unused)
{
    (void)unused;
    client_t clients[20];
    for (int i = 0; i < 20; i++) {
        clients[i] = client_connect(fixture->port);
        assert_true(client_send(&clients[i], "GET /later HTTP/1.1\r\n" HOST "\r\n"));
    }
    client_t further = client_connect(fixture->port);
    assert_int_equal(client_read(&further).status, 0);
    client_close(&further);
    client_close(&clients[0]);
    wait_for_room(fixture->port);
    for (int i = 1; i < 20; i++)
        client_close(&clients[i]);
}

static void a_server_that_drains_ends_its_connections(void **unused)
{
    (void)unused;
    client_t idle = client_connect(fixture->port);
    assert_int_equal(client_ask(&idle, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    client_t busy = client_connect(fixture->port);
    assert_true(client_send(&busy, "GET /later HTTP/1.1\r\n" HOST "\r\n"));
    wait_for_counter(fixture->port, "later=1");
    client_t client = client_connect(fixture->port);
    answer_in_t answer = client_ask(&client, "GET /drain HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    assert_true(client_is_closed(&client));
    client_close(&client);
    client_t open = client_connect(fixture->port);
    answer = client_ask(&open, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    assert_true(client_is_closed(&open));
    client_close(&open);
    client = client_connect(fixture->port);
    client_ask(&client, "GET /close_idle HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_is_closed(&idle));
    client_close(&client);
    client = client_connect(fixture->port);
    client_ask(&client, "GET /release HTTP/1.1\r\n" HOST "\r\n");
    answer = client_read(&busy);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    assert_true(client_is_closed(&busy));
    client_close(&client);
    client_close(&busy);
    client_close(&idle);
}

static void a_server_may_end_with_requests_under_way(void **unused)
{
    (void)unused;
    fixture_t *own = fixture_start(1, &usual_limits);
    client_t clients[30];
    for (int i = 0; i < 30; i++) {
        clients[i] = client_connect(own->port);
        assert_true(client_send(&clients[i], i % 3 == 0   ? "GET /later HTTP/1.1\r\n" HOST "\r\n"
                                             : i % 3 == 1 ? "GET /n HTTP/1.1\r\n"
                                                          : "GET /big?8000000 HTTP/1.1\r\n" HOST
                                                            "\r\n"));
    }
    wait_for_counter(own->port, "later=10");
    fixture_stop(own);
    for (int i = 0; i < 30; i++)
        client_close(&clients[i]);
}

static void random_bytes_never_end_the_server(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    static const char *const pieces[] = {
        "GET / HTTP/1.1\r\n",
        HOST,
        "\r\n",
        "Content-Length: 3\r\n",
        "abc",
        "POST /later HTTP/1.1\r\n",
        "\n",
        "%",
        "Connection: close\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n",
        "HEAD /big?70000 HTTP/1.1\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        "\x81\x85\x01\x02\x03\x04",
    };
    for (int i = 0; i < 400; i++) {
        client_t client = client_connect(fixture->port);
        for (int n = (int)(random() % 12); n > 0; n--) {
            char noise[8] = {(char)random(), (char)random(), 0};
            bool is_noise = random() % 20 == 0;
            const char *piece = pieces[(size_t)random() % (sizeof pieces / sizeof pieces[0])];
            if (!client_send_bytes(&client, is_noise ? noise : piece, is_noise ? 2 : strlen(piece)))
                break;
        }
        client_close(&client);
    }
    client_t client = client_connect(fixture->port);
    client_ask(&client, "GET /release HTTP/1.1\r\n" HOST "\r\n");
    client_close(&client);
    wait_for_counter(fixture->port, "connections=1");
}

/* Files that are opened when the server has closed its own get their numbers: the lowest that are
 * free are always given. What the server then closes once more is somebody else's. */
static void a_server_that_closes_leaves_the_files_of_others_alone(void **unused)
{
    (void)unused;
    owner_t *owner = &fixture->owners[0];
    client_t client = client_connect(fixture->port);
    assert_int_equal(client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    owner->n_files = FIXTURE_MAX_FILES;
    stop_owner(owner);
    for (int i = 0; i < owner->n_files; i++)
        assert_int_equal(close(owner->files[i]), 0);
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define IMPATIENT_TEST(name) cmocka_unit_test_setup_teardown(name, start_impatient, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(a_connection_serves_a_thousand_requests),
        TEST(bodies_arrive_whole_with_every_method),
        TEST(a_body_may_come_byte_by_byte),
        TEST(a_body_of_a_mebibyte_is_taken_and_no_more),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(what_is_sent_ahead_of_a_late_answer_waits),
        TEST(a_flood_ahead_of_a_late_answer_is_not_kept),
        TEST(head_is_answered_like_get_without_the_body),
        TEST(answers_without_a_body_have_no_length),
        TEST(large_answers_go_out_whole),
        TEST(an_old_client_is_served_once),
        TEST(who_expects_to_be_told_to_continue_is),
        TEST(a_request_that_is_framed_wrongly_is_the_last_one),
        TEST(a_refusal_is_a_problem),
        TEST(a_head_is_at_most_16_kib),
        TEST(other_upgrades_are_ignored),
        TEST(a_client_that_leaves_is_gone),
        TEST(a_client_that_leaves_with_more_on_the_way_is_gone),
        TEST(clients_that_leave_in_the_middle_harm_nobody),
        TEST(half_sent_requests_hinder_nobody),
        IMPATIENT_TEST(whoever_is_slow_is_told_and_dropped),
        IMPATIENT_TEST(a_trickle_is_as_slow_as_silence),
        IMPATIENT_TEST(who_does_not_read_the_answer_is_dropped),
        IMPATIENT_TEST(further_connections_are_closed_at_once),
        TEST(a_server_that_drains_ends_its_connections),
        cmocka_unit_test(a_server_may_end_with_requests_under_way),
        TEST(a_server_that_closes_leaves_the_files_of_others_alone),
        TEST(random_bytes_never_end_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
