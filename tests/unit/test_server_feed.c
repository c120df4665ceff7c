/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without an end, as clients meet them: a real loop, real sockets. */
#include "server_fixture.h"

#define REQUEST(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

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
    limits.body_us = 300000;
    fixture = fixture_start(1, &limits);
    return 0;
}

static int stop(void **unused)
{
    (void)unused;
    fixture_stop(fixture);
    return 0;
}

/* Reads to the connection's end. */
static void read_to_end(client_t *client)
{
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = client_recv(client, bytes, sizeof bytes)) > 0)
        buf_append(&client->in, bytes, (size_t)n);
    assert_int_equal(n, 0);
    buf_append_byte(&client->in, '\0');
}

static void read_until(client_t *client, const char *part)
{
    uint8_t bytes[4096];
    while (client->in.n_bytes == 0 ||
           memmem(client->in.data, client->in.n_bytes, part, strlen(part)) == NULL) {
        ssize_t n = client_recv(client, bytes, sizeof bytes);
        assert_true(n > 0);
        buf_append(&client->in, bytes, (size_t)n);
    }
}

static const char *body_of(client_t *client)
{
    const char *end = strstr((const char *)client->in.data, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

/* Takes the chunks apart; the last one is empty and nothing is behind it. */
static buf_t dechunk(const char *at)
{
    buf_t out = {0};
    for (;;) {
        char *line;
        size_t n_bytes = strtoul(at, &line, 16);
        assert_memory_equal(line, "\r\n", 2);
        at = line + 2;
        if (n_bytes == 0)
            break;
        buf_append(&out, at, n_bytes);
        at += n_bytes;
        assert_memory_equal(at, "\r\n", 2);
        at += 2;
    }
    assert_string_equal(at, "\r\n");
    return out;
}

static void assert_pieces(const char *bytes, size_t n_bytes, int n_pieces)
{
    assert_int_equal(n_bytes, (size_t)n_pieces * FLOOD_PAYLOAD);
    for (int i = 0; i < n_pieces; i++) {
        char last[8] = {0};
        memcpy(last, bytes + (size_t)(i + 1) * FLOOD_PAYLOAD - 7, 7);
        assert_int_equal(atoi(last), i);
    }
}

static void it_comes_in_chunks_and_ends_with_its_connection(void **unused)
{
    (void)unused;
    static const int sizes[] = {0, 1, 64, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[64];
        client_t client = client_connect(fixture->port);
        snprintf(text, sizeof text, "GET /feed?%d HTTP/1.1\r\nHost: a\r\n\r\n", sizes[i]);
        assert_true(client_send(&client, text));
        read_to_end(&client);
        const char *head = (const char *)client.in.data;
        assert_memory_equal(head, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(head, "\r\nTransfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(head, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(head, "\r\nX-Feed: yes\r\n"));
        assert_null(strstr(head, "Content-Length"));
        buf_t body = dechunk(body_of(&client));
        assert_pieces((const char *)body.data, body.n_bytes, sizes[i]);
        buf_fini(&body);
        client_close(&client);
    }
}

static void to_http_1_0_it_comes_as_it_is(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, "GET /feed?100 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    read_to_end(&client);
    assert_null(strstr((const char *)client.in.data, "Transfer-Encoding"));
    const char *body = body_of(&client);
    assert_pieces(body, strlen(body), 100);
    client_close(&client);
}

static size_t ask_counter(const char *name)
{
    client_t client = client_connect(fixture->port);
    size_t value = counter(&client, name);
    client_close(&client);
    return value;
}

static void wait_until_gone(int n)
{
    char text[32];
    snprintf(text, sizeof text, "feeds_gone=%d ", n);
    wait_for_counter(fixture->port, text);
}

static void a_client_that_goes_is_noticed(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, REQUEST("/feed?-1")));
    read_until(&client, "\r\n\r\n");
    assert_int_equal(fixture->owners[0].n_feeds_gone, 0);
    client_close(&client);
    wait_until_gone(1);
}

/* It was sent ahead, and waited until the answer before it was out. */
static void it_may_be_asked_for_ahead(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    client_t other = client_connect(fixture->port);
    assert_true(client_send(&client, REQUEST("/later") REQUEST("/feed?2") REQUEST("/a")));
    wait_for_counter(fixture->port, "later=1");
    (void)client_ask(&other, REQUEST("/release"));
    read_to_end(&client);
    const char *second = strstr(body_of(&client), "HTTP/1.1 200 OK\r\n");
    assert_non_null(second);
    buf_t body = dechunk(strstr(second, "\r\n\r\n") + 4);
    assert_pieces((const char *)body.data, body.n_bytes, 2);
    buf_fini(&body);
    client_close(&other);
    client_close(&client);
}

static void what_the_client_sends_meanwhile_is_dropped(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, REQUEST("/feed?-2") REQUEST("/a")));
    read_until(&client, "0000001\r\n");
    assert_true(client_send(&client, REQUEST("/b")));
    int n_served = fixture->owners[0].n_served;
    (void)ask_counter("gone=");
    assert_int_equal(fixture->owners[0].n_served, n_served + 1);
    assert_int_equal(fixture->owners[0].n_feeds_gone, 0);
    client_close(&client);
    wait_until_gone(1);
}

/* A hundred megabytes that nobody reads: not more than the kernels take, and a piece. */
static void a_client_that_does_not_read_holds_one_piece_and_is_given_up(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, REQUEST("/feed?-100000")));
    wait_until_gone(1);
    assert_true(ask_counter("handed=") < 20 * 1000 * 1000);
    client_close(&client);
}

/* One that has nothing to read is not given up, however long it waits. */
static void a_silent_one_is_not_given_up(void **unused)
{
    (void)unused;
    client_t client = client_connect(fixture->port);
    assert_true(client_send(&client, REQUEST("/feed?-1")));
    read_until(&client, "\r\n\r\n");
    client_t slow = client_connect(fixture->port);
    assert_true(client_send(&slow, REQUEST("/feed?-100000")));
    wait_until_gone(1); /* so much time has gone by */
    assert_int_equal(fixture->owners[0].n_feeds_gone, 1);
    client_close(&slow);
    client_close(&client);
    wait_until_gone(2);
}

static void the_server_ends_with_them_open(void **unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        client_t client = client_connect(fixture->port);
        assert_true(client_send(&client, REQUEST("/feed?-1")));
        read_until(&client, "\r\n\r\n");
        buf_fini(&client.in); /* its fd stays open until the program ends */
    }
}

#define TEST(claim) cmocka_unit_test_setup_teardown(claim, start, stop)
#define IMPATIENT_TEST(claim) cmocka_unit_test_setup_teardown(claim, start_impatient, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_comes_in_chunks_and_ends_with_its_connection),
        TEST(to_http_1_0_it_comes_as_it_is),
        TEST(a_client_that_goes_is_noticed),
        TEST(it_may_be_asked_for_ahead),
        TEST(what_the_client_sends_meanwhile_is_dropped),
        IMPATIENT_TEST(a_client_that_does_not_read_holds_one_piece_and_is_given_up),
        IMPATIENT_TEST(a_silent_one_is_not_given_up),
        TEST(the_server_ends_with_them_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
