/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a route: patterns, ids, methods, what is hidden; and the table of the interface itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/router.h"
#include "gateway/routes.h"

#define ID_A "0198f3a1-7c2e-7b4d-8a55-0123456789ab"
#define ID_B "0198f3a1-7c2e-7b4d-8a55-ba9876543210"

static const route_t table[] = {
    {METHOD_GET, "/v1/things", ROUTE_FOR_READERS, NULL, NULL},
    {METHOD_POST, "/v1/things", ROUTE_FOR_WRITERS, NULL, NULL},
    {METHOD_GET, "/v1/things/{thing}", ROUTE_FOR_READERS, NULL, NULL},
    {METHOD_PATCH, "/v1/things/{thing}/parts/{part}", ROUTE_FOR_WRITERS, NULL, NULL},
    {METHOD_GET, "/secret", ROUTE_FOR_ADMIN, NULL, NULL},
};

static route_match_t find(method_t method, const char *path)
{
    route_match_t match;
    router_match(table, sizeof table / sizeof *table, 1u << ROUTE_FOR_ADMIN, method,
                 slice_str(path), &match);
    return match;
}

static void assert_id(const uuid_t *id, const char *expected)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    assert_memory_equal(text, expected, sizeof text);
}

static void a_path_and_a_method_name_one_route(void **unused)
{
    (void)unused;
    assert_ptr_equal(find(METHOD_GET, "/v1/things").route, &table[0]);
    assert_ptr_equal(find(METHOD_POST, "/v1/things").route, &table[1]);
    assert_ptr_equal(find(METHOD_GET, "/v1/things/" ID_A).route, &table[2]);
}

static void head_goes_where_get_does(void **unused)
{
    (void)unused;
    assert_ptr_equal(find(METHOD_HEAD, "/v1/things").route, &table[0]);
    assert_null(find(METHOD_HEAD, "/v1/things/" ID_A "/parts/" ID_B).route);
}

static void ids_are_taken_in_order_and_in_either_case(void **unused)
{
    (void)unused;
    route_match_t match = find(METHOD_PATCH, "/v1/things/" ID_A "/parts/" ID_B);
    assert_ptr_equal(match.route, &table[3]);
    assert_id(&match.ids[0], ID_A);
    assert_id(&match.ids[1], ID_B);
    match = find(METHOD_GET, "/v1/things/0198F3A1-7C2E-7B4D-8A55-0123456789AB");
    assert_id(&match.ids[0], ID_A);
}

static void what_is_no_id_matches_nothing(void **unused)
{
    (void)unused;
    static const char *const paths[] = {
        "/v1/things/",
        "/v1/things/abc",
        "/v1/things/" ID_A "0",
        "/v1/things/0198f3a1-7c2e-7b4d-8a55-0123456789a",
        "/v1/things/00000000-0000-0000-0000-000000000000",
        "/v1/things/{thing}",
        "/v1/things/" ID_A "/",
        "/v1/things/" ID_A "/parts",
        "/v1/things/" ID_A "/parts/" ID_B "/more",
        "/v1/things/",
        "/v1/thing",
        "/v1/thingss",
        "",
        "/",
        "*",
        "//v1/things",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(find(METHOD_GET, paths[i]).methods, 0);
}

static void escapes_are_undone_but_not_into_slashes(void **unused)
{
    (void)unused;
    assert_ptr_equal(find(METHOD_GET, "/v1/%74hin%67s").route, &table[0]);
    assert_int_equal(find(METHOD_GET, "/v1%2Fthings").methods, 0);
    assert_int_equal(find(METHOD_GET, "/v1/things%").methods, 0);
    assert_int_equal(find(METHOD_GET, "/v1/things%4").methods, 0);
    assert_int_equal(find(METHOD_GET, "/v1/things%zz").methods, 0);
    assert_int_equal(find(METHOD_GET, "/v1/things%00").methods, 0);
}

static void a_path_longer_than_any_matches_nothing(void **unused)
{
    (void)unused;
    char path[5000];
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(find(METHOD_GET, path).methods, 0);
}

static void another_method_is_told_which_there_are(void **unused)
{
    (void)unused;
    buf_t out = {0};
    route_match_t match = find(METHOD_DELETE, "/v1/things");
    assert_null(match.route);
    router_put_methods(match.methods, &out);
    assert_true(slice_is(buf_slice(&out), "GET, HEAD, POST, OPTIONS"));
    buf_reset(&out);
    router_put_methods(find(METHOD_GET, "/v1/things/" ID_A "/parts/" ID_B).methods, &out);
    assert_true(slice_is(buf_slice(&out), "PATCH, OPTIONS"));
    buf_fini(&out);
}

static void hidden_routes_are_not_there(void **unused)
{
    (void)unused;
    route_match_t match;
    assert_int_equal(find(METHOD_GET, "/secret").methods, 0);
    router_match(table, 5, 0, METHOD_GET, slice_str("/secret"), &match);
    assert_ptr_equal(match.route, &table[4]);
}

/* A second row of the same path and method would never be reached. */
static void the_table_of_the_interface_has_no_row_twice(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < n_routes; i++) {
        for (size_t k = 0; k < i; k++)
            assert_false(routes[i].method == routes[k].method &&
                         strcmp(routes[i].pattern, routes[k].pattern) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_a_method_name_one_route),
        cmocka_unit_test(head_goes_where_get_does),
        cmocka_unit_test(ids_are_taken_in_order_and_in_either_case),
        cmocka_unit_test(what_is_no_id_matches_nothing),
        cmocka_unit_test(escapes_are_undone_but_not_into_slashes),
        cmocka_unit_test(a_path_longer_than_any_matches_nothing),
        cmocka_unit_test(another_method_is_told_which_there_are),
        cmocka_unit_test(hidden_routes_are_not_there),
        cmocka_unit_test(the_table_of_the_interface_has_no_row_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
