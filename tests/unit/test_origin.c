/* SPDX-License-Identifier: Apache-2.0 */
/* Which web origin and which address a request comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/origin.h"

static bool is_in(const char *origin, const char *origins)
{
    return origin_is_in(slice_str(origin), origins);
}

static void an_origin_is_in_a_list_as_a_whole(void **unused)
{
    (void)unused;
    const char *list = "https://a.example, https://b.example:8443";
    assert_true(is_in("https://a.example", list));
    assert_true(is_in("https://B.example:8443", list));
    assert_false(is_in("https://b.example", list));
    assert_false(is_in("http://a.example", list));
    assert_false(is_in("https://a.example.evil", list));
    assert_false(is_in("https://evil-a.example", list));
    assert_false(is_in("null", list));
    assert_false(is_in("", list));
    assert_false(is_in("", ""));
    assert_false(is_in("https://a.example", ""));
}

static bool is_host(const char *origin, const char *host)
{
    return origin_is_host(slice_str(origin), slice_str(host), false);
}

static void our_own_origin_is_where_the_request_went(void **unused)
{
    (void)unused;
    assert_true(is_host("http://localhost:8080", "localhost:8080"));
    assert_true(is_host("https://Tasks.example", "tasks.example"));
    assert_false(is_host("http://localhost:8081", "localhost:8080"));
    assert_false(is_host("http://evil", "localhost:8080"));
    assert_false(is_host("ftp://localhost:8080", "localhost:8080"));
    assert_false(is_host("localhost:8080", "localhost:8080"));
    assert_false(is_host("http://", ""));
    assert_false(is_host("", ""));
    assert_false(is_host("null", "null"));
}

static void a_page_that_came_by_http_is_not_ours_over_https(void **unused)
{
    (void)unused;
    slice_t host = slice_str("tasks.example");
    assert_true(origin_is_host(slice_str("https://tasks.example"), host, true));
    assert_false(origin_is_host(slice_str("http://tasks.example"), host, true));
}

static void assert_client(const char *peer, const char *forwarded, const char *trusted,
                          const char *expected)
{
    arena_t *arena = arena_new();
    slice_t header = forwarded == NULL ? slice_none() : slice_str(forwarded);
    slice_t client = origin_client_address(slice_str(peer), header, trusted, arena);
    assert_true(slice_is(client, expected));
    arena_destroy(&arena);
}

static void only_a_trusted_peer_may_name_the_client(void **unused)
{
    (void)unused;
    assert_client("1.2.3.4", "9.9.9.9", "", "1.2.3.4");
    assert_client("1.2.3.4", "9.9.9.9", "1.2.3.5", "1.2.3.4");
    assert_client("1.2.3.4", "9.9.9.9", "1.2.3.5, 1.2.3.4", "9.9.9.9");
    assert_client("1.2.3.4", NULL, "1.2.3.4", "1.2.3.4");
    assert_client("::ffff:1.2.3.4", "9.9.9.9", "1.2.3.4", "9.9.9.9");
    assert_client("unix", "9.9.9.9", "unix", "9.9.9.9");
}

static bool is_trusted(const char *peer, const char *trusted)
{
    return origin_is_trusted(slice_str(peer), trusted);
}

static void a_range_covers_the_addresses_that_begin_like_it(void **unused)
{
    (void)unused;
    assert_true(is_trusted("10.1.2.3", "10.0.0.0/8"));
    assert_false(is_trusted("11.1.2.3", "10.0.0.0/8"));
    assert_true(is_trusted("10.1.2.3", "10.9.9.9/8"));
    assert_true(is_trusted("172.31.255.255", "172.16.0.0/12"));
    assert_false(is_trusted("172.32.0.0", "172.16.0.0/12"));
    assert_true(is_trusted("1.2.3.4", "1.2.3.4/32"));
    assert_false(is_trusted("1.2.3.5", "1.2.3.4/32"));
    assert_true(is_trusted("9.9.9.9", "::1, 0.0.0.0/0"));
    assert_false(is_trusted("9.9.9.9", "::/0"));
    assert_true(is_trusted("fd12::1", "fd00::/8"));
    assert_false(is_trusted("fe80::1", "fd00::/8"));
    assert_true(is_trusted("2001:db8:0:7fff::1", "2001:db8::/49"));
    assert_false(is_trusted("2001:db8:0:8000::1", "2001:db8::/49"));
    assert_true(is_trusted("::ffff:10.1.2.3", "10.0.0.0/8"));
    assert_true(is_trusted("10.1.2.3", "::ffff:10.0.0.0/104"));
    assert_false(is_trusted("11.1.2.3", "::ffff:10.0.0.0/104"));
    assert_client("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.7.2", "10.0.0.0/16", "9.9.9.9");
}

static void the_nearest_proxy_says_whether_it_was_https(void **unused)
{
    (void)unused;
    assert_true(origin_is_forwarded_https(slice_str("https")));
    assert_true(origin_is_forwarded_https(slice_str("http, HTTPS ")));
    assert_false(origin_is_forwarded_https(slice_str("https, http")));
    assert_false(origin_is_forwarded_https(slice_str("httpsx")));
    assert_false(origin_is_forwarded_https(slice_str("")));
    assert_false(origin_is_forwarded_https(slice_none()));
}

static void the_last_untrusted_address_is_the_client(void **unused)
{
    (void)unused;
    assert_client("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "10.0.0.1,10.0.0.2", "9.9.9.9");
    assert_client("10.0.0.1", "10.0.0.2", "10.0.0.1,10.0.0.2", "10.0.0.2");
    assert_client("10.0.0.1", "2001:db8::1 ,10.0.0.2", "10.0.0.1,10.0.0.2", "2001:db8::1");
}

static void a_header_that_makes_no_sense_is_not_believed(void **unused)
{
    (void)unused;
    assert_client("10.0.0.1", "", "10.0.0.1", "10.0.0.1");
    assert_client("10.0.0.1", ",", "10.0.0.1", "10.0.0.1");
    assert_client("10.0.0.1", "9.9.9.9, evil", "10.0.0.1", "10.0.0.1");
    assert_client("10.0.0.1", "9.9.9.9:80", "10.0.0.1", "10.0.0.1");
}

static bool share_a_key(const char *a, const char *b)
{
    uint8_t x[ORIGIN_KEY_BYTES];
    uint8_t y[ORIGIN_KEY_BYTES];
    origin_address_key(slice_str(a), x);
    origin_address_key(slice_str(b), y);
    return memcmp(x, y, sizeof x) == 0;
}

static void a_whole_64_of_ipv6_counts_as_one(void **unused)
{
    (void)unused;
    assert_true(share_a_key("2001:db8::1", "2001:db8::ffff:1"));
    assert_false(share_a_key("2001:db8::1", "2001:db8:0:1::1"));
    assert_true(share_a_key("::ffff:1.2.3.4", "1.2.3.4"));
    assert_false(share_a_key("1.2.3.4", "1.2.3.5"));
    assert_false(share_a_key("unix", "1.2.3.5"));
    assert_true(share_a_key("unix", "unix"));
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_in_a_list_as_a_whole),
        cmocka_unit_test(our_own_origin_is_where_the_request_went),
        cmocka_unit_test(a_page_that_came_by_http_is_not_ours_over_https),
        cmocka_unit_test(a_range_covers_the_addresses_that_begin_like_it),
        cmocka_unit_test(the_nearest_proxy_says_whether_it_was_https),
        cmocka_unit_test(only_a_trusted_peer_may_name_the_client),
        cmocka_unit_test(the_last_untrusted_address_is_the_client),
        cmocka_unit_test(a_header_that_makes_no_sense_is_not_believed),
        cmocka_unit_test(a_whole_64_of_ipv6_counts_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
