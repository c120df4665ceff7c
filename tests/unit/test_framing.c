/* SPDX-License-Identifier: Apache-2.0 */
/* The frame around a request: what is read, and what is refused because two programs could read it
 * differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "gateway/framing.h"
#include "schema/limits.h"

#define HOST "Host: example.org\r\n"

static arena_t *arena;
static head_t head;
static fault_t fault;

static int make_arena(void **unused)
{
    (void)unused;
    arena = arena_new();
    return 0;
}

static int drop_arena(void **unused)
{
    (void)unused;
    arena_destroy(&arena);
    return 0;
}

static bool parses_bytes(slice_t bytes)
{
    arena_reset(arena);
    /* A copy of exactly this size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(bytes.n_bytes + 1);
    memcpy(copy, bytes.data, bytes.n_bytes);
    slice_t kept = arena_copy(arena, bytes);
    bool is_good = framing_parse(kept, arena, &head, &fault);
    head_t other;
    fault_t other_fault;
    assert_int_equal(framing_parse(slice_of(copy, bytes.n_bytes), arena, &other, &other_fault),
                     is_good);
    free(copy);
    assert_int_equal(fault.status == 0, is_good);
    return is_good;
}

static bool parses(const char *text)
{
    return parses_bytes(slice_str(text));
}

static void assert_refused(const char *text, int status)
{
    if (parses(text) || fault.status != status)
        fail_msg("status %d, not %d, for: %s", fault.status, status, text);
}

static void assert_text(slice_t text, const char *expected)
{
    if (!slice_is(text, expected))
        fail_msg("'%.*s' is not '%s'", (int)text.n_bytes, (const char *)text.data, expected);
}

static void a_request_is_taken_apart(void **unused)
{
    (void)unused;
    assert_true(parses("PATCH /v1/tasks/a%20b?x=1&y=%26 HTTP/1.1\r\n" HOST
                       "Content-Type:application/json\r\nif-MATCH: \t \"abc\" \t\r\n"
                       "Content-Length: 42\r\nX-Unknown: whatever\r\n\r\n"));
    assert_int_equal(head.method, METHOD_PATCH);
    assert_text(head.path, "/v1/tasks/a%20b");
    assert_text(head.query, "x=1&y=%26");
    assert_text(head.headers[HEADER_HOST], "example.org");
    assert_text(head.headers[HEADER_CONTENT_TYPE], "application/json");
    assert_text(head.headers[HEADER_IF_MATCH], "\"abc\"");
    assert_null(head.headers[HEADER_COOKIE].data);
    assert_int_equal(head.body_bytes, 42);
    assert_true(head.keeps_alive);
    assert_false(head.expects_continue);
    assert_false(head.wants_websocket);
}

static void methods_are_known_by_their_exact_names(void **unused)
{
    (void)unused;
    static const struct {
        const char *line;
        method_t method;
    } known[] = {
        {"GET / HTTP/1.1\r\n", METHOD_GET},         {"HEAD / HTTP/1.1\r\n", METHOD_HEAD},
        {"POST / HTTP/1.1\r\n", METHOD_POST},       {"PUT / HTTP/1.1\r\n", METHOD_PUT},
        {"DELETE / HTTP/1.1\r\n", METHOD_DELETE},   {"OPTIONS / HTTP/1.1\r\n", METHOD_OPTIONS},
        {"OPTIONS * HTTP/1.1\r\n", METHOD_OPTIONS}, {"TRACE / HTTP/1.1\r\n", METHOD_OTHER},
        {"get / HTTP/1.1\r\n", METHOD_OTHER},       {"GETS / HTTP/1.1\r\n", METHOD_OTHER},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s" HOST "\r\n", known[i].line);
        assert_true(parses(text));
        assert_int_equal(head.method, known[i].method);
    }
}

static void an_absent_query_differs_from_an_empty_one(void **unused)
{
    (void)unused;
    assert_true(parses("GET /a HTTP/1.1\r\n" HOST "\r\n"));
    assert_null(head.query.data);
    assert_true(parses("GET /a? HTTP/1.1\r\n" HOST "\r\n"));
    assert_non_null(head.query.data);
    assert_int_equal(head.query.n_bytes, 0);
    assert_true(parses("GET /a??b HTTP/1.1\r\n" HOST "\r\n"));
    assert_text(head.query, "?b");
}

static void a_target_in_absolute_form_is_read_as_its_path(void **unused)
{
    (void)unused;
    assert_true(parses("GET http://example.org/a?b HTTP/1.1\r\n" HOST "\r\n"));
    assert_text(head.path, "/a");
    assert_text(head.query, "b");
    assert_true(parses("GET HTTPS://example.org HTTP/1.1\r\n" HOST "\r\n"));
    assert_text(head.path, "/");
    assert_true(parses("GET http://example.org?b HTTP/1.1\r\n" HOST "\r\n"));
    assert_text(head.path, "/");
    assert_text(head.query, "b");
}

static void a_request_line_that_is_none_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *line;
        int status;
    } wrong[] = {
        {"GET / HTTP/2.0\r\n", 505},
        {"PRI * HTTP/2.0\r\n", 505},
        {"GET / HTTP/0.9\r\n", 505},
        {"GET /\r\n", 400},
        {"GET\r\n", 400},
        {" GET / HTTP/1.1\r\n", 400},
        {"GET  / HTTP/1.1\r\n", 400},
        {"GET / HTTP/1.1 \r\n", 400},
        {"GET / http/1.1\r\n", 400},
        {"GET / HTTP/1\r\n", 400},
        {"GET / HTTP/1.x\r\n", 400},
        {"GET / HTTP/11.1\r\n", 400},
        {"GET\t/\tHTTP/1.1\r\n", 400},
        {"G(T / HTTP/1.1\r\n", 400},
        {"GET a HTTP/1.1\r\n", 400},
        {"GET * HTTP/1.1\r\n", 400},
        {"CONNECT example.org:443 HTTP/1.1\r\n", 400},
        {"GET ftp://example.org/ HTTP/1.1\r\n", 400},
        {"GET /a b HTTP/1.1\r\n", 400},
        {"GET /a#b HTTP/1.1\r\n", 400},
        {"GET /a?b#c HTTP/1.1\r\n", 400},
        {"GET /a\tb HTTP/1.1\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\n", 400},
        {"GET /?\xc3\xa4 HTTP/1.1\r\n", 400},
        {"GET /% HTTP/1.1\r\n", 400},
        {"GET /%4 HTTP/1.1\r\n", 400},
        {"GET /%4g HTTP/1.1\r\n", 400},
        {"GET /%00 HTTP/1.1\r\n", 400},
        {"GET /?a=%00 HTTP/1.1\r\n", 400},
        {"GET /<b> HTTP/1.1\r\n", 400},
        {"GET /a\rb HTTP/1.1\r\n", 400},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s" HOST "\r\n", wrong[i].line);
        assert_refused(text, wrong[i].status);
    }
    assert_refused("", 400);
    assert_refused("\r\n", 400);
}

static void a_header_line_that_is_none_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " folded: yes\r\n",
        "A: b\r\n folded\r\n",
        "A: b\r\n\tfolded\r\n",
        "no colon\r\n",
        ": nameless\r\n",
        "A b: c\r\n",
        "A: b\x01\r\n",
        "A: b\x7f\r\n",
        "A: b\rX: c\r\n",
        "\xc3\xa4: b\r\n",
        "A(b): c\r\n",
        "A: b\r\r\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "%s\r\n", wrong[i]);
        assert_refused(text, 400);
    }
    assert_false(parses_bytes(slice_of("GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n", 46)));
    assert_int_equal(fault.status, 400);
    assert_refused("GET / HTTP/1.1\r\n" HOST, 400);
    assert_refused("GET / HTTP/1.1\r\n" HOST "\r\nX", 400);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Accept: caf\xe9 \xc3\xa9\r\n\r\n"));
}

static void a_header_sent_several_times_is_joined(void **unused)
{
    (void)unused;
    assert_true(
        parses("GET / HTTP/1.1\r\n" HOST "Cookie: a=1\r\nX-Forwarded-For: 10.0.0.1\r\n"
               "cookie: b=2\r\nX-forwarded-for:10.0.0.2\r\nCookie: c=3\r\nAccept:\r\n\r\n"));
    assert_text(head.headers[HEADER_COOKIE], "a=1; b=2; c=3");
    assert_text(head.headers[HEADER_X_FORWARDED_FOR], "10.0.0.1, 10.0.0.2");
    assert_non_null(head.headers[HEADER_ACCEPT].data);
    assert_int_equal(head.headers[HEADER_ACCEPT].n_bytes, 0);
}

static void a_body_has_exactly_one_length(void **unused)
{
    (void)unused;
    static const struct {
        const char *lines;
        int status;
    } wrong[] = {
        {"Content-Length: -1\r\n", 400},
        {"Content-Length: +1\r\n", 400},
        {"Content-Length: 0x10\r\n", 400},
        {"Content-Length: 1 2\r\n", 400},
        {"Content-Length: 5, 5\r\n", 400},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
        {"Content-Length: 5\r\ncontent-length: 6\r\n", 400},
        {"Content-Length:\r\n", 400},
        {"Content-Length: 1.0\r\n", 400},
        {"Content-Length: 1e3\r\n", 400},
        {"Content-Length: 1048577\r\n", 413},
        {"Content-Length: 18446744073709551617\r\n", 413},
        {"Content-Length: 99999999999999999999999999999999999999999\r\n", 413},
        {"Transfer-Encoding: chunked\r\n", 411},
        {"Transfer-Encoding: identity\r\n", 411},
        {"Transfer-Encoding:\r\n", 411},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Expect: nothing\r\n", 417},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" HOST "%s\r\n", wrong[i].lines);
        assert_refused(text, wrong[i].status);
    }
    assert_true(parses("POST / HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n"));
    assert_int_equal(head.body_bytes, LIMIT_BODY_BYTES);
    assert_true(
        parses("POST / HTTP/1.1\r\n" HOST "Content-Length: 0000000000000000000007\r\n\r\n"));
    assert_int_equal(head.body_bytes, 7);
    assert_true(parses("POST / HTTP/1.1\r\n" HOST "\r\n"));
    assert_int_equal(head.body_bytes, 0);
}

static void a_request_names_one_host(void **unused)
{
    (void)unused;
    assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400);
    assert_true(parses("GET / HTTP/1.0\r\n\r\n"));
    assert_true(parses("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"));
    assert_true(parses("GET / HTTP/1.1\r\nHost:\r\n\r\n"));
}

static void the_connection_lives_as_the_version_and_the_header_say(void **unused)
{
    (void)unused;
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"));
    assert_false(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Connection: TE , CLOSE\r\n\r\n"));
    assert_false(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Connection: TE\r\nConnection: Close\r\n\r\n"));
    assert_false(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Connection: not-close\r\n\r\n"));
    assert_true(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.0\r\n\r\n"));
    assert_false(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert_true(head.keeps_alive);
    assert_true(parses("GET / HTTP/1.7\r\n" HOST "\r\n"));
    assert_true(head.keeps_alive);
}

static void only_websocket_is_an_upgrade(void **unused)
{
    (void)unused;
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: foobar\r\n\r\n"));
    assert_false(head.wants_websocket);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST
                       "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                       "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"));
    assert_false(head.wants_websocket);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n"));
    assert_false(head.wants_websocket);
    assert_true(parses("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert_false(head.wants_websocket);
    assert_true(parses("GET / HTTP/1.1\r\n" HOST
                       "Connection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n"));
    assert_true(head.wants_websocket);
}

static int websocket_status(const char *method, const char *lines)
{
    char text[1024];
    snprintf(text, sizeof text,
             "%s / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n", method,
             lines);
    assert_true(parses(text) && head.wants_websocket);
    bool is_good = framing_check_websocket(&head, &fault);
    assert_int_equal(fault.status == 0, is_good);
    return fault.status;
}

static void a_websocket_handshake_is_whole(void **unused)
{
    (void)unused;
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
    assert_int_equal(websocket_status("GET", KEY VERSION), 0);
    assert_int_equal(websocket_status("GET", KEY VERSION "Sec-WebSocket-Protocol: a, b.c\r\n"), 0);
    assert_int_equal(websocket_status("POST", KEY VERSION), 400);
    assert_int_equal(websocket_status("GET", KEY VERSION "Content-Length: 3\r\n"), 400);
    assert_int_equal(websocket_status("GET", KEY), 426);
    assert_int_equal(websocket_status("GET", KEY "Sec-WebSocket-Version: 8\r\n"), 426);
    assert_int_equal(websocket_status("GET", KEY VERSION VERSION), 426);
    assert_int_equal(websocket_status("GET", VERSION), 400);
    assert_int_equal(websocket_status("GET", KEY KEY VERSION), 400);
    assert_int_equal(
        websocket_status("GET", VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), 400);
    assert_int_equal(
        websocket_status("GET", VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n"), 400);
    assert_int_equal(
        websocket_status("GET", VERSION "Sec-WebSocket-Key: dGhlIHNh XBsZSBub25jZQ==\r\n"), 400);
    assert_int_equal(websocket_status("GET", KEY VERSION "Sec-WebSocket-Protocol: a b\r\n"), 400);
}

static void a_subprotocol_is_offered_by_its_exact_name(void **unused)
{
    (void)unused;
    slice_t list = slice_str(" foo,taskwire.v1.json ,, bar");
    assert_true(framing_offers(list, "taskwire.v1.json"));
    assert_true(framing_offers(list, "bar"));
    assert_false(framing_offers(list, "taskwire.v1"));
    assert_false(framing_offers(list, "Taskwire.v1.json"));
    assert_false(framing_offers(list, "taskwire.v1.json.more"));
    assert_false(framing_offers(slice_none(), "foo"));
}

static void a_hundred_headers_are_enough(void **unused)
{
    (void)unused;
    buf_t text = {0};
    buf_append_str(&text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < FRAMING_MAX_HEADERS; i++)
        buf_append_str(&text, "A: b\r\n");
    size_t n_bytes = text.n_bytes;
    buf_append_str(&text, "\r\n");
    assert_true(parses_bytes(buf_slice(&text)));
    text.n_bytes = n_bytes;
    buf_append_str(&text, "A: b\r\n\r\n");
    assert_false(parses_bytes(buf_slice(&text)));
    assert_int_equal(fault.status, 431);
    buf_fini(&text);
}

static void the_end_of_a_head_is_found_wherever_it_is_cut(void **unused)
{
    (void)unused;
    const char *text = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\nand a body";
    slice_t whole = slice_str(text);
    size_t expected = (size_t)(strstr(text, "and") - text);
    for (size_t cut = 0; cut < expected; cut++) {
        size_t line = 0;
        size_t n_head = 0;
        assert_int_equal(framing_scan(slice_of(whole.data, cut), &line, &n_head), SCAN_MORE);
        assert_true(line <= cut);
        assert_int_equal(framing_scan(whole, &line, &n_head), SCAN_WHOLE);
        assert_int_equal(n_head, expected);
    }
}

static void a_line_that_ends_otherwise_is_noticed_at_once(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {"GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\n", "\n",
                                        "\r\n", "GET / HTTP/1.1\r\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t line = 0;
        size_t n_head = 0;
        assert_int_equal(framing_scan(slice_str(wrong[i]), &line, &n_head), SCAN_BROKEN);
    }
    assert_int_equal(framing_blank(slice_str("\r\nGET")), 2);
    assert_int_equal(framing_blank(slice_str("\r")), 0);
    assert_int_equal(framing_blank(slice_str("GET")), 0);
}

/* One byte changed, dropped or doubled somewhere in a good request: it is read or refused, never
 * half. */
static void random_damage_is_read_or_refused(void **unused)
{
    (void)unused;
    static const char good[] =
        "POST /v1/lists/0198c0de?after=1&x=%2F HTTP/1.1\r\n" HOST
        "Content-Length: 12\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: keep-alive\r\n"
        "Expect: 100-continue\r\nAuthorization: Bearer abc\r\n\r\n";
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 200000; i++) {
        char bytes[sizeof good + 1];
        memcpy(bytes, good, sizeof good);
        size_t n_bytes = sizeof good - 1;
        size_t at = (size_t)random() % n_bytes;
        int kind = (int)(random() % 3);
        if (kind == 0)
            bytes[at] = (char)random();
        else if (kind == 1)
            memmove(bytes + at, bytes + at + 1, --n_bytes - at);
        else
            memmove(bytes + at + 1, bytes + at, n_bytes++ - at);
        if (!parses_bytes(slice_of(bytes, n_bytes)))
            continue;
        assert_true(head.path.n_bytes > 0 && head.body_bytes <= LIMIT_BODY_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(methods_are_known_by_their_exact_names),
        cmocka_unit_test(an_absent_query_differs_from_an_empty_one),
        cmocka_unit_test(a_target_in_absolute_form_is_read_as_its_path),
        cmocka_unit_test(a_request_line_that_is_none_is_refused),
        cmocka_unit_test(a_header_line_that_is_none_is_refused),
        cmocka_unit_test(a_header_sent_several_times_is_joined),
        cmocka_unit_test(a_body_has_exactly_one_length),
        cmocka_unit_test(a_request_names_one_host),
        cmocka_unit_test(the_connection_lives_as_the_version_and_the_header_say),
        cmocka_unit_test(only_websocket_is_an_upgrade),
        cmocka_unit_test(a_websocket_handshake_is_whole),
        cmocka_unit_test(a_subprotocol_is_offered_by_its_exact_name),
        cmocka_unit_test(a_hundred_headers_are_enough),
        cmocka_unit_test(the_end_of_a_head_is_found_wherever_it_is_cut),
        cmocka_unit_test(a_line_that_ends_otherwise_is_noticed_at_once),
        cmocka_unit_test(random_damage_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, make_arena, drop_arena);
}
