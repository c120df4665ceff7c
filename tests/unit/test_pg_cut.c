/* SPDX-License-Identifier: Apache-2.0 */
/* A session that is cut at a chosen byte of its answers. The server here speaks just enough of
 * PostgreSQL's protocol to say so much and no more; what a real one does is in tests/db. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/pg.h"

#define LONG_US (20 * US_PER_S)
#define ANSWER(text)                                                                               \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

typedef struct {
    int listener;
    slice_t answer; /* to the first group; after it the session is cut */
} server_t;

static bool read_all(int fd, void *out, size_t n_bytes)
{
    uint8_t *at = out;
    while (n_bytes > 0) {
        ssize_t n = read(fd, at, n_bytes);
        if (n <= 0)
            return false;
        at += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

static void say(int fd, slice_t words)
{
    if (write(fd, words.data, words.n_bytes) != (ssize_t)words.n_bytes)
        shutdown(fd, SHUT_RDWR); /* which the test will notice */
}

/* Reads messages up to and with the Sync of the first group. */
static bool read_group(int fd)
{
    uint8_t head[5] = {0};
    while (head[0] != 'S' && read_all(fd, head, sizeof head)) {
        uint8_t body[4096];
        uint32_t n_bytes;
        memcpy(&n_bytes, head + 1, sizeof n_bytes);
        n_bytes = ntohl(n_bytes) - 4;
        if (n_bytes > sizeof body || !read_all(fd, body, n_bytes))
            return false;
    }
    return head[0] == 'S';
}

static void *serve(void *arg)
{
    const server_t *self = arg;
    static const slice_t welcome = ANSWER("R\0\0\0\x08\0\0\0\0"
                                          "S\0\0\0\x19"
                                          "server_encoding\0UTF8\0"
                                          "S\0\0\0\x18"
                                          "server_version\00015.0\0"
                                          "K\0\0\0\x0c\0\0\0\x01\0\0\0\x01"
                                          "Z\0\0\0\x05I");
    int fd = accept(self->listener, NULL, NULL);
    uint32_t n_bytes;
    uint8_t start[4096];
    if (fd >= 0 && read_all(fd, &n_bytes, sizeof n_bytes) && ntohl(n_bytes) <= sizeof start &&
        read_all(fd, start, ntohl(n_bytes) - 4)) {
        say(fd, welcome);
        if (read_group(fd))
            say(fd, self->answer);
    }
    close(fd);
    return NULL;
}

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    (void)result;
    *(pg_fate_t *)arg = fate;
}

/* What becomes of a statement whose group is answered with this, and then no more. */
static pg_fate_t fate_after(slice_t answer)
{
    static const pg_stmt_t statement = {"SELECT 1"};
    server_t server = {.listener = socket(AF_INET, SOCK_STREAM, 0), .answer = answer};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n_bytes = sizeof address;
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, n_bytes), 0);
    assert_int_equal(listen(server.listener, 1), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &n_bytes), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    char url[120];
    snprintf(url, sizeof url, "postgresql://x@127.0.0.1:%d/x?sslmode=disable&gssencmode=disable",
             ntohs(address.sin_port));
    pg_options_t options = {.url = url, .who = "test"};
    pg_t *pg = pg_new(&options);
    assert_true(pg_await_connection(pg, LONG_US));
    pg_fate_t fate = PG_OK;
    assert_int_equal(pg_query(pg, &statement, NULL, on_answer, &fate), ERR_OK);
    assert_int_equal(pg_sync(pg), ERR_OK);
    (void)pg_await(pg, LONG_US);
    assert_false(pg_is_connected(pg));
    pthread_join(thread, NULL);
    close(server.listener);
    pg_destroy(&pg);
    return fate;
}

#define PARSED                                                                                     \
    "1\0\0\0\x04"                                                                                  \
    "2\0\0\0\x04"                                                                                  \
    "n\0\0\0\x04"
#define DONE "C\0\0\0\x0dSELECT 0\0"

static void a_session_cut_before_its_answer_is_lost(void **state)
{
    (void)state;
    assert_int_equal(fate_after((slice_t)ANSWER("")), PG_LOST);
    assert_int_equal(fate_after((slice_t)ANSWER(PARSED)), PG_LOST);
}

/* What was done and not committed, as far as anybody knows. */
static void a_session_cut_before_its_sync_is_lost(void **state)
{
    (void)state;
    assert_int_equal(fate_after((slice_t)ANSWER(PARSED DONE)), PG_LOST);
    assert_int_equal(fate_after((slice_t)ANSWER(PARSED DONE "Z\0\0\0")), PG_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_cut_before_its_answer_is_lost),
        cmocka_unit_test(a_session_cut_before_its_sync_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
