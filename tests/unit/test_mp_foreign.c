/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack from outside: what is taken comes out canonical, what is not is refused with its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "schema/json.h"
#include "schema/limits.h"
#include "schema/mp.h"
#include "schema/mp_foreign.h"

static arena_t *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static void assert_becomes(const char *bytes, size_t n_bytes, const char *json)
{
    problem_t problem = {0};
    buf_t map = {0};
    buf_t text = {0};
    buf_append_str(&map, "!");
    assert_int_equal(mp_from_foreign(slice_of(bytes, n_bytes), &map, arena, &problem), ERR_OK);
    slice_t value = slice_of(map.data + 1, map.n_bytes - 1);
    assert_true(mp_is_canonical(value));
    assert_true(json_from_mp(value, &text));
    assert_true(slice_is(buf_slice(&text), json));
    buf_fini(&map);
    buf_fini(&text);
}

static problem_t refused(slice_t bytes)
{
    problem_t problem = {0};
    buf_t map = {0};
    buf_append_str(&map, "kept");
    err_t err = mp_from_foreign(bytes, &map, arena, &problem);
    assert_int_not_equal(err, ERR_OK);
    assert_int_equal(err, problem.err);
    assert_true(slice_is(buf_slice(&map), "kept"));
    buf_fini(&map);
    return problem;
}

static void assert_malformed(const char *bytes, size_t n_bytes)
{
    problem_t problem = refused(slice_of(bytes, n_bytes));
    assert_int_equal(problem.err, ERR_MALFORMED);
    assert_true(problem.detail.n_bytes > 0);
}

static void assert_invalid(const char *bytes, size_t n_bytes, const char *pointer)
{
    problem_t problem = refused(slice_of(bytes, n_bytes));
    assert_int_equal(problem.err, ERR_INVALID);
    assert_int_equal(problem.n_fields, 1);
    assert_true(slice_is(problem.fields[0].pointer, pointer));
}

#define BYTES(text) text, sizeof(text) - 1

static void every_form_of_a_value_becomes_the_shortest(void **state)
{
    (void)state;
    assert_becomes(BYTES("\x01"), "1");
    assert_becomes(BYTES("\xcf\0\0\0\0\0\0\0\x05"), "5");
    assert_becomes(BYTES("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"), "-1");
    assert_becomes(BYTES("\xdb\0\0\0\x02hi"), "\"hi\"");
    assert_becomes(BYTES("\xdd\0\0\0\x02\xc0\xc3"), "[null,true]");
    assert_becomes(BYTES("\xdf\0\0\0\x01\xd9\x01k\xde\0\x01\xa1n\xdc\0\0"), "{\"k\":{\"n\":[]}}");
}

static void what_is_cut_off_or_no_msgpack_is_malformed(void **state)
{
    static const char whole[] = "\x82\xa1k\x93\xc0\xcd\x01\x02\xa2hi\xa1l\x81\xa1m\xc3";
    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_malformed(whole, n);
    assert_becomes(BYTES(whole), "{\"k\":[null,258,\"hi\"],\"l\":{\"m\":true}}");
    assert_malformed(BYTES("\xc1"));
    assert_malformed(BYTES("\xc0\xc0"));
    assert_malformed(BYTES("\x81\x01\x01"));
    assert_malformed(BYTES("\x82\xa1k\x01\xa1k\x02"));
    assert_malformed(BYTES("\xa2\xc3\x28"));
    assert_malformed(BYTES("\x81\xa1\xff\x01"));
    assert_malformed(BYTES("\xdb\xff\xff\xff\xffx"));
    assert_malformed(BYTES("\xdd\xff\xff\xff\xff"));
    assert_malformed(BYTES("\xdf\xff\xff\xff\xff\xc0"));
}

static void what_json_cannot_hold_is_invalid_at_its_place(void **state)
{
    (void)state;
    assert_invalid(BYTES("\x81\xa1k\xca\0\0\0\0"), "/k");
    assert_invalid(BYTES("\x81\xa1k\x93\x01\x90\xcb\0\0\0\0\0\0\0\0"), "/k/2");
    assert_invalid(BYTES("\x81\xa1k\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "/k");
    assert_invalid(BYTES("\x81\xa1k\xc4\x01x"), "/k");
    assert_invalid(BYTES("\x81\xa1k\xd4\x01x"), "/k");
    assert_invalid(BYTES("\x81\xa1k\xc7\0\x01"), "/k");
    assert_invalid(BYTES("\x82\xa1j\x81\xa1x\xc0\xa3"
                         "a/b\x81\xa1n\xa1\0"),
                   "/a~1b/n");
}

static void depth_number_and_length_are_bounded(void **state)
{
    buf_t bytes = {0};
    problem_t problem = {0};
    buf_t out = {0};
    (void)state;
    for (int i = 0; i < LIMIT_DEPTH; i++)
        mp_put_array(&bytes, 1);
    size_t place = bytes.n_bytes;
    mp_put_nil(&bytes);
    assert_int_equal(mp_from_foreign(buf_slice(&bytes), &out, arena, &problem), ERR_OK);
    bytes.n_bytes = place;
    mp_put_array(&bytes, 0);
    assert_int_equal(refused(buf_slice(&bytes)).err, ERR_INVALID);
    buf_reset(&bytes);
    mp_put_array(&bytes, 2);
    for (int i = 0; i < 2; i++) {
        mp_put_array(&bytes, LIMIT_ELEMENTS / 2);
        for (int n = 0; n < LIMIT_ELEMENTS / 2; n++)
            mp_put_nil(&bytes);
    }
    assert_int_equal(refused(buf_slice(&bytes)).err, ERR_INVALID);
    buf_reset(&bytes);
    char *text = calloc(1, LIMIT_STRING_BYTES + 1);
    memset(text, 'x', LIMIT_STRING_BYTES + 1);
    mp_put_str(&bytes, slice_of(text, LIMIT_STRING_BYTES));
    assert_int_equal(mp_from_foreign(buf_slice(&bytes), &out, arena, &problem), ERR_OK);
    buf_reset(&bytes);
    mp_put_str(&bytes, slice_of(text, LIMIT_STRING_BYTES + 1));
    assert_int_equal(refused(buf_slice(&bytes)).err, ERR_INVALID);
    free(text);
    buf_fini(&bytes);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_form_of_a_value_becomes_the_shortest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_off_or_no_msgpack_is_malformed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_json_cannot_hold_is_invalid_at_its_place, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(depth_number_and_length_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
