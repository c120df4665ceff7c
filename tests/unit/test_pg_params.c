/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "actors/pg.h"

#define ONE_SECOND_BEFORE_2000 (INT64_C(946684799) * US_PER_S)

static const uuid_t some_id = {{0x01, 0x8f, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}};

static void check(const pg_params_t *params, int index, const void *bytes, int n_bytes)
{
    assert_true(index < params->n_params);
    assert_int_equal(params->params[index].n_bytes, n_bytes);
    if (n_bytes > 0)
        assert_memory_equal(params->bytes.data + params->params[index].at, bytes, (size_t)n_bytes);
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_put_bool(&params, true);
    pg_put_bool(&params, false);
    pg_put_i16(&params, -2);
    pg_put_i32(&params, 0x01020304);
    pg_put_i64(&params, INT64_MIN + 1);
    assert_int_equal(params.n_params, 5);
    check(&params, 0, "\x01", 1);
    check(&params, 1, "\x00", 1);
    check(&params, 2, "\xff\xfe", 2);
    check(&params, 3, "\x01\x02\x03\x04", 4);
    check(&params, 4, "\x80\x00\x00\x00\x00\x00\x00\x01", 8);
    pg_params_fini(&params);
}

static void bytes_go_as_they_are(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_put_text(&params, slice_str("Milch"));
    pg_put_bytea(&params, slice_of("\0\xff", 2));
    pg_put_uuid(&params, &some_id);
    check(&params, 0, "Milch", 5);
    check(&params, 1, "\0\xff", 2);
    check(&params, 2, some_id.bytes, UUID_BYTES);
    pg_params_fini(&params);
}

static void what_is_absent_is_null_and_what_is_empty_is_not(void **state)
{
    (void)state;
    pg_params_t params = {0};
    uuid_t nil = UUID_NIL;
    pg_put_null(&params);
    pg_put_text(&params, slice_none());
    pg_put_bytea(&params, slice_none());
    pg_put_uuid(&params, &nil);
    pg_put_instant(&params, INSTANT_NONE);
    pg_put_text(&params, slice_str(""));
    for (int i = 0; i < 5; i++)
        check(&params, i, NULL, -1);
    check(&params, 5, "", 0);
    pg_params_fini(&params);
}

static void instants_count_from_2000(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_put_instant(&params, ONE_SECOND_BEFORE_2000);
    pg_put_instant(&params, ONE_SECOND_BEFORE_2000 + US_PER_S);
    check(&params, 0, "\xff\xff\xff\xff\xff\xf0\xbd\xc0", 8);
    check(&params, 1, "\0\0\0\0\0\0\0\0", 8);
    pg_params_fini(&params);
}

static void instants_beyond_all_text_are_the_nearest_inside(void **state)
{
    (void)state;
    pg_params_t far = {0};
    pg_params_t inside = {0};
    pg_put_instant(&far, INT64_MAX);
    pg_put_instant(&far, INT64_MIN + 1);
    pg_put_instant(&inside, INSTANT_MAX);
    pg_put_instant(&inside, INSTANT_MIN);
    assert_true(slice_eq(buf_slice(&far.bytes), buf_slice(&inside.bytes)));
    pg_params_fini(&far);
    pg_params_fini(&inside);
}

static void an_array_has_a_head_and_items_with_their_lengths(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_I64);
    pg_array_i64(&params, 5);
    pg_array_i64(&params, -1);
    pg_array_end(&params);
    check(&params, 0,
          "\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0\x02\0\0\0\x01"
          "\0\0\0\x08\0\0\0\0\0\0\0\x05"
          "\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff",
          44);
    pg_params_fini(&params);
}

static void an_array_with_a_null_says_so_in_its_flags(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_TEXT);
    pg_array_text(&params, slice_str("a"));
    pg_array_text(&params, slice_none());
    pg_array_text(&params, slice_str(""));
    pg_array_end(&params);
    check(&params, 0,
          "\0\0\0\x01\0\0\0\x01\0\0\0\x19\0\0\0\x03\0\0\0\x01"
          "\0\0\0\x01"
          "a\xff\xff\xff\xff\0\0\0\0",
          33);
    pg_params_fini(&params);
}

static void an_empty_array_has_no_dimension(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_put_i16(&params, 7);
    pg_array_begin(&params, PG_UUID);
    pg_array_end(&params);
    pg_put_i16(&params, 8);
    check(&params, 1, "\0\0\0\0\0\0\0\0\0\0\x0b\x86", 12);
    check(&params, 2, "\0\x08", 2);
    pg_params_fini(&params);
}

static void each_type_of_item_has_its_oid_and_length(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_BOOL);
    pg_array_bool(&params, true);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I16);
    pg_array_i16(&params, 258);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I32);
    pg_array_i32(&params, 1);
    pg_array_end(&params);
    pg_array_begin(&params, PG_BYTEA);
    pg_array_text(&params, slice_of("\0", 1));
    pg_array_end(&params);
    pg_array_begin(&params, PG_INSTANT);
    pg_array_instant(&params, ONE_SECOND_BEFORE_2000 + US_PER_S);
    pg_array_end(&params);
    check(&params, 0, "\0\0\0\x01\0\0\0\0\0\0\0\x10\0\0\0\x01\0\0\0\x01\0\0\0\x01\x01", 25);
    check(&params, 1, "\0\0\0\x01\0\0\0\0\0\0\0\x15\0\0\0\x01\0\0\0\x01\0\0\0\x02\x01\x02", 26);
    check(&params, 2, "\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x01", 28);
    check(&params, 3, "\0\0\0\x01\0\0\0\0\0\0\0\x11\0\0\0\x01\0\0\0\x01\0\0\0\x01\0", 25);
    check(&params, 4,
          "\0\0\0\x01\0\0\0\0\0\0\x04\xa0\0\0\0\x01\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\0\0", 32);
    pg_params_fini(&params);
}

static void items_that_are_no_id_and_no_instant_are_null(void **state)
{
    (void)state;
    pg_params_t params = {0};
    uuid_t nil = UUID_NIL;
    pg_array_begin(&params, PG_UUID);
    pg_array_uuid(&params, &some_id);
    pg_array_uuid(&params, &nil);
    pg_array_end(&params);
    pg_array_begin(&params, PG_INSTANT);
    pg_array_instant(&params, INSTANT_NONE);
    pg_array_end(&params);
    const uint8_t *ids = params.bytes.data + params.params[0].at;
    assert_int_equal(params.params[0].n_bytes, 20 + 20 + 4);
    assert_int_equal(ids[7], 1);
    assert_memory_equal(ids + 24, some_id.bytes, UUID_BYTES);
    check(&params, 1, "\0\0\0\x01\0\0\0\x01\0\0\x04\xa0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff", 24);
    pg_params_fini(&params);
}

static void a_reset_keeps_nothing_but_memory(void **state)
{
    (void)state;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_TEXT);
    for (int i = 0; i < 1000; i++)
        pg_array_text(&params, slice_str("a title"));
    pg_array_end(&params);
    size_t capacity = params.bytes.capacity;
    pg_params_reset(&params);
    pg_put_i16(&params, 1);
    assert_int_equal(params.n_params, 1);
    assert_int_equal(params.bytes.n_bytes, 2);
    assert_int_equal(params.bytes.capacity, capacity);
    check(&params, 0, "\0\x01", 2);
    pg_params_fini(&params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(bytes_go_as_they_are),
        cmocka_unit_test(what_is_absent_is_null_and_what_is_empty_is_not),
        cmocka_unit_test(instants_count_from_2000),
        cmocka_unit_test(instants_beyond_all_text_are_the_nearest_inside),
        cmocka_unit_test(an_array_has_a_head_and_items_with_their_lengths),
        cmocka_unit_test(an_array_with_a_null_says_so_in_its_flags),
        cmocka_unit_test(an_empty_array_has_no_dimension),
        cmocka_unit_test(each_type_of_item_has_its_oid_and_length),
        cmocka_unit_test(items_that_are_no_id_and_no_instant_are_null),
        cmocka_unit_test(a_reset_keeps_nothing_but_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
