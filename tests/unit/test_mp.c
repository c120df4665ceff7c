/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack: the shortest form of everything, a cursor that believes nothing, and the check of what
 * is canonical. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "schema/buf.h"
#include "schema/instant.h"
#include "schema/limits.h"
#include "schema/mp.h"

#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int64_t random_int(void)
{
    uint64_t bits = 0;
    for (int i = 0; i < 5; i++)
        bits = bits << 15 ^ (uint64_t)random();
    return (int64_t)(bits >> (random() % 64));
}

static void assert_bytes(buf_t *buf, slice_t expected)
{
    assert_int_equal(buf->n_bytes, expected.n_bytes);
    assert_memory_equal(buf->data, expected.data, expected.n_bytes);
    buf_fini(buf);
}

/* `n` bytes of the letter a. */
static slice_t letters(size_t n)
{
    static char text[70000];
    memset(text, 'a', sizeof text);
    assert_true(n <= sizeof text);
    return slice_of(text, n);
}

/* A map of n keys, each with nil. `n_double`: that many end keys are written a second time. */
static void put_keys(buf_t *buf, size_t n, size_t n_double)
{
    mp_put_map(buf, n + n_double);
    for (size_t i = 0; i < n + n_double; i++) {
        char key[24];
        snprintf(key, sizeof key, "key-%zu", i < n ? i : i - n_double);
        mp_put_cstr(buf, key);
        mp_put_nil(buf);
    }
}

static void put_nested(buf_t *buf, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        mp_put_array(buf, 1);
    mp_put_nil(buf);
}

/* --- writing --- */

static void integers_take_their_shortest_form(void **unused)
{
    (void)unused;
    static const struct {
        int64_t value;
        size_t n_bytes;
        uint8_t lead;
    } cases[] = {
        {0, 1, 0x00},
        {127, 1, 0x7f},
        {128, 2, 0xcc},
        {255, 2, 0xcc},
        {256, 3, 0xcd},
        {65535, 3, 0xcd},
        {65536, 5, 0xce},
        {UINT32_MAX, 5, 0xce},
        {INT64_C(4294967296), 9, 0xcf},
        {INT64_MAX, 9, 0xcf},
        {-1, 1, 0xff},
        {-32, 1, 0xe0},
        {-33, 2, 0xd0},
        {-128, 2, 0xd0},
        {-129, 3, 0xd1},
        {-32768, 3, 0xd1},
        {-32769, 5, 0xd2},
        {INT32_MIN, 5, 0xd2},
        {INT32_MIN - INT64_C(1), 9, 0xd3},
        {INT64_MIN, 9, 0xd3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_t buf = {0};
        mp_put_int(&buf, cases[i].value);
        assert_int_equal(buf.n_bytes, cases[i].n_bytes);
        assert_int_equal(buf.data[0], cases[i].lead);
        assert_true(mp_is_canonical(buf_slice(&buf)));
        mp_reader_t reader = mp_reader(buf_slice(&buf));
        int64_t value;
        assert_true(mp_get_int(&reader, &value));
        assert_true(value == cases[i].value);
        if (value >= 0) {
            buf_t same = {0};
            mp_put_uint(&same, (uint64_t)value);
            assert_bytes(&same, buf_slice(&buf));
        }
        buf_fini(&buf);
    }
}

static void any_integer_reads_back(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    buf_t buf = {0};
    for (int i = 0; i < 100000; i++) {
        int64_t value = random_int();
        int64_t again = 0;
        buf_reset(&buf);
        mp_put_int(&buf, value);
        mp_reader_t reader = mp_reader(buf_slice(&buf));
        assert_true(mp_get_int(&reader, &again) && mp_peek(&reader) == MP_END);
        assert_true(again == value);
        assert_true(mp_is_canonical(buf_slice(&buf)));
    }
    buf_fini(&buf);
}

static void text_and_binary_take_their_shortest_head(void **unused)
{
    (void)unused;
    static const struct {
        size_t n_bytes;
        size_t n_str_head;
        uint8_t str_lead;
        size_t n_bin_head;
        uint8_t bin_lead;
    } cases[] = {
        {0, 1, 0xa0, 2, 0xc4},     {31, 1, 0xbf, 2, 0xc4},  {32, 2, 0xd9, 2, 0xc4},
        {255, 2, 0xd9, 2, 0xc4},   {256, 3, 0xda, 3, 0xc5}, {65535, 3, 0xda, 3, 0xc5},
        {65536, 5, 0xdb, 5, 0xc6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_t buf = {0};
        mp_put_str(&buf, letters(cases[i].n_bytes));
        assert_int_equal(buf.n_bytes, cases[i].n_bytes + cases[i].n_str_head);
        assert_int_equal(buf.data[0], cases[i].str_lead);
        assert_true(mp_is_canonical(buf_slice(&buf)));
        mp_reader_t reader = mp_reader(buf_slice(&buf));
        slice_t text;
        assert_true(mp_get_str(&reader, &text) && slice_eq(text, letters(cases[i].n_bytes)));
        buf_reset(&buf);
        mp_put_bin(&buf, letters(cases[i].n_bytes));
        assert_int_equal(buf.n_bytes, cases[i].n_bytes + cases[i].n_bin_head);
        assert_int_equal(buf.data[0], cases[i].bin_lead);
        assert_true(mp_is_canonical(buf_slice(&buf)));
        reader = mp_reader(buf_slice(&buf));
        assert_true(mp_get_bin(&reader, &text) && slice_eq(text, letters(cases[i].n_bytes)));
        buf_fini(&buf);
    }
}

static void containers_take_their_shortest_head(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_array(&buf, 15);
    mp_put_array(&buf, 16);
    mp_put_array(&buf, 65536);
    mp_put_map(&buf, 15);
    mp_put_map(&buf, 16);
    mp_put_map(&buf, 65536);
    assert_bytes(&buf,
                 BYTES(0x9f, 0xdc, 0, 16, 0xdd, 0, 1, 0, 0, 0x8f, 0xde, 0, 16, 0xdf, 0, 1, 0, 0));
}

static void nil_and_booleans_are_one_byte(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_nil(&buf);
    mp_put_bool(&buf, false);
    mp_put_bool(&buf, true);
    mp_put_raw(&buf, BYTES(0x81, 0xa1, 'a', 0x01));
    assert_bytes(&buf, BYTES(0xc0, 0xc2, 0xc3, 0x81, 0xa1, 'a', 0x01));
}

/* What was opened has the same bytes as what was announced, at any size and with other values
 * around it. */
static void an_opened_container_is_closed_with_the_same_bytes(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 65535, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        buf_t opened = {0};
        buf_t announced = {0};
        mp_put_cstr(&opened, "before");
        mp_put_cstr(&announced, "before");
        size_t place = mp_open(&opened);
        mp_put_array(&announced, sizes[i]);
        size_t map_place = mp_open(&opened);
        mp_put_map(&announced, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            mp_put_uint(&opened, j);
            mp_put_uint(&announced, j);
        }
        mp_close_map(&opened, map_place, sizes[i]);
        mp_close_array(&opened, place, sizes[i]);
        mp_put_cstr(&opened, "behind");
        mp_put_cstr(&announced, "behind");
        assert_bytes(&opened, buf_slice(&announced));
        buf_fini(&announced);
    }
}

static void ids_and_instants_are_text_and_their_absence_nil(void **unused)
{
    (void)unused;
    uuid_t id;
    assert_true(uuid_parse(slice_str("0198f3a1-7c2e-7b4d-8a55-0123456789ab"), &id));
    buf_t buf = {0};
    mp_put_uuid(&buf, &id);
    mp_put_uuid(&buf, &UUID_NIL);
    mp_put_instant(&buf, INT64_C(1795420800000000));
    mp_put_instant(&buf, INSTANT_NONE);
    mp_reader_t reader = mp_reader(buf_slice(&buf));
    mp_reader_t as_text = reader;
    slice_t text;
    assert_true(mp_get_str(&as_text, &text));
    assert_true(slice_is(text, "0198f3a1-7c2e-7b4d-8a55-0123456789ab"));
    assert_true(mp_get_nil(&as_text) && mp_get_str(&as_text, &text));
    assert_true(slice_is(text, "2026-11-23T08:00:00Z"));
    uuid_t again = UUID_NIL;
    uuid_t none = id;
    int64_t at_us = 0;
    int64_t never_us = 0;
    assert_true(mp_get_uuid(&reader, &again) && mp_get_uuid(&reader, &none));
    assert_true(mp_get_instant(&reader, &at_us) && mp_get_instant(&reader, &never_us));
    assert_true(uuid_eq(&again, &id) && uuid_is_nil(&none));
    assert_true(at_us == INT64_C(1795420800000000) && never_us == INSTANT_NONE);
    assert_int_equal(mp_peek(&reader), MP_END);
    buf_fini(&buf);
}

/* --- reading --- */

static void the_next_type_is_told_without_taking_it(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_nil(&buf);
    mp_put_bool(&buf, true);
    mp_put_int(&buf, -7);
    mp_put_cstr(&buf, "x");
    mp_put_bin(&buf, slice_str("y"));
    mp_put_array(&buf, 0);
    mp_put_map(&buf, 0);
    static const mp_type_t types[] = {MP_NIL, MP_BOOL,  MP_INT, MP_STR,
                                      MP_BIN, MP_ARRAY, MP_MAP, MP_END};
    mp_reader_t reader = mp_reader(buf_slice(&buf));
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(mp_peek(&reader), types[i]);
        assert_int_equal(mp_peek(&reader), types[i]);
        assert_int_equal(mp_skip(&reader), types[i] != MP_END);
    }
    buf_fini(&buf);
}

static void what_we_never_write_is_wrong(void **unused)
{
    (void)unused;
    static const uint8_t leads[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xcb,
                                    0xd4, 0xd5, 0xd6, 0xd7, 0xd8};
    for (size_t i = 0; i < sizeof leads; i++) {
        uint8_t bytes[32] = {leads[i], 0};
        mp_reader_t reader = mp_reader(slice_of(bytes, sizeof bytes));
        assert_int_equal(mp_peek(&reader), MP_WRONG);
        assert_false(mp_skip(&reader));
        assert_true(reader.is_wrong);
    }
    slice_t too_big = BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0);
    mp_reader_t reader = mp_reader(too_big);
    assert_int_equal(mp_peek(&reader), MP_WRONG);
}

static void a_wrong_type_leaves_the_cursor_wrong_and_out_untouched(void **unused)
{
    (void)unused;
    slice_t one = BYTES(0x01, 0x02);
    mp_reader_t reader = mp_reader(one);
    slice_t text = slice_str("untouched");
    assert_false(mp_get_str(&reader, &text));
    assert_true(slice_is(text, "untouched"));
    assert_true(reader.is_wrong);
    int64_t value = 99;
    assert_false(mp_get_int(&reader, &value));
    assert_int_equal(value, 99);
    assert_int_equal(mp_peek(&reader), MP_WRONG);
    uuid_t id = {{1, 2, 3}};
    uuid_t same = id;
    mp_reader_t at_text = mp_reader(BYTES(0xa2, 'h', 'i'));
    assert_false(mp_get_uuid(&at_text, &id));
    assert_true(at_text.is_wrong && uuid_eq(&id, &same));
    mp_reader_t no_instant = mp_reader(BYTES(0xa2, 'h', 'i'));
    assert_false(mp_get_instant(&no_instant, &value));
    assert_true(no_instant.is_wrong && value == 99);
}

/* Every prefix of a value is refused, and nothing behind it is looked at (AddressSanitizer sees to
 * that). */
static void a_truncated_value_is_refused(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_map(&buf, 6);
    mp_put_cstr(&buf, "int");
    mp_put_int(&buf, INT64_MIN);
    mp_put_cstr(&buf, "text");
    mp_put_str(&buf, letters(300));
    mp_put_cstr(&buf, "bin");
    mp_put_bin(&buf, letters(20));
    mp_put_cstr(&buf, "array");
    mp_put_array(&buf, 17);
    for (int i = 0; i < 17; i++)
        mp_put_int(&buf, i * 1000);
    mp_put_cstr(&buf, "map");
    put_keys(&buf, 20, 0);
    mp_put_cstr(&buf, "nil");
    mp_put_nil(&buf);
    assert_true(mp_is_canonical(buf_slice(&buf)));
    for (size_t n = 0; n < buf.n_bytes; n++) {
        uint8_t *prefix = malloc(n + 1);
        assert_non_null(prefix);
        memcpy(prefix + 1, buf.data, n);
        slice_t bytes = slice_of(prefix + 1, n);
        mp_reader_t reader = mp_reader(bytes);
        assert_false(mp_skip(&reader));
        assert_false(mp_is_canonical(bytes));
        free(prefix);
    }
    buf_fini(&buf);
}

static void a_length_is_not_believed(void **unused)
{
    (void)unused;
    static const uint8_t leads[] = {0xc6, 0xdb, 0xdd, 0xdf};
    for (size_t i = 0; i < sizeof leads; i++) {
        slice_t bytes = BYTES(leads[i], 0xff, 0xff, 0xff, 0xff, 0, 0, 0);
        mp_reader_t reader = mp_reader(bytes);
        assert_int_equal(mp_peek(&reader), MP_WRONG);
        assert_false(mp_skip(&reader));
    }
    mp_reader_t half_a_pair = mp_reader(BYTES(0x82, 0xa0, 0xc0, 0xa0));
    uint32_t n_pairs = 7;
    assert_false(mp_get_map(&half_a_pair, &n_pairs));
    assert_int_equal(n_pairs, 7);
}

static void the_end_of_the_bytes_is_no_value(void **unused)
{
    (void)unused;
    mp_reader_t reader = mp_reader(slice_none());
    int64_t value;
    mp_item_t item;
    assert_int_equal(mp_peek(&reader), MP_END);
    assert_false(mp_next(&reader, &item));
    assert_false(mp_get_int(&reader, &value));
    assert_true(reader.is_wrong);
    assert_false(mp_is_canonical(slice_none()));
}

static void a_raw_value_is_exactly_its_bytes(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    put_keys(&buf, 40, 0);
    size_t n_first = buf.n_bytes;
    mp_put_cstr(&buf, "next");
    mp_reader_t reader = mp_reader(buf_slice(&buf));
    slice_t raw;
    slice_t next;
    assert_true(mp_get_raw(&reader, &raw));
    assert_ptr_equal(raw.data, buf.data);
    assert_int_equal(raw.n_bytes, n_first);
    assert_true(mp_get_str(&reader, &next) && slice_is(next, "next"));
    buf_fini(&buf);
}

static void depth_is_limited_when_skipping_and_when_checking(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    put_nested(&buf, LIMIT_DEPTH);
    mp_reader_t reader = mp_reader(buf_slice(&buf));
    assert_true(mp_skip(&reader));
    assert_true(mp_is_canonical(buf_slice(&buf)));
    buf_reset(&buf);
    put_nested(&buf, LIMIT_DEPTH + 1);
    reader = mp_reader(buf_slice(&buf));
    assert_false(mp_skip(&reader));
    assert_false(mp_is_canonical(buf_slice(&buf)));
    buf_reset(&buf);
    put_nested(&buf, 1000000);
    reader = mp_reader(buf_slice(&buf));
    assert_false(mp_skip(&reader));
    buf_fini(&buf);
}

static void a_key_is_found_and_the_first_one_counts(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_map(&buf, 4);
    mp_put_cstr(&buf, "a");
    put_nested(&buf, 3);
    mp_put_cstr(&buf, "b");
    mp_put_int(&buf, 1);
    mp_put_cstr(&buf, "b");
    mp_put_int(&buf, 2);
    mp_put_cstr(&buf, "");
    mp_put_nil(&buf);
    slice_t value;
    assert_true(mp_map_find(buf_slice(&buf), "b", &value));
    assert_true(slice_eq(value, BYTES(0x01)));
    assert_true(mp_map_find(buf_slice(&buf), "a", &value));
    assert_true(slice_eq(value, BYTES(0x91, 0x91, 0x91, 0xc0)));
    assert_true(mp_map_find(buf_slice(&buf), "", &value));
    assert_false(mp_map_find(buf_slice(&buf), "c", &value));
    assert_false(mp_map_find(BYTES(0x91, 0xc0), "c", &value));
    assert_false(mp_map_find(BYTES(0x81, 0x01, 0x02), "c", &value));
    assert_false(mp_map_find(slice_none(), "c", &value));
    buf_fini(&buf);
}

static void items_come_one_by_one(void **unused)
{
    (void)unused;
    mp_reader_t reader = mp_reader(BYTES(0x82, 0xa1, 'a', 0xcd, 0x00, 0x05, 0xa1, 'b', 0xc3));
    mp_item_t item;
    assert_true(mp_next(&reader, &item) && item.type == MP_MAP && item.n == 2);
    assert_true(mp_next(&reader, &item) && item.type == MP_STR && slice_is(item.bytes, "a"));
    assert_true(mp_next(&reader, &item) && item.type == MP_INT && item.value == 5);
    assert_false(item.is_shortest);
    assert_true(mp_next(&reader, &item) && item.type == MP_STR && item.is_shortest);
    assert_true(mp_next(&reader, &item) && item.type == MP_BOOL && item.value == 1);
    assert_false(mp_next(&reader, &item));
    assert_false(reader.is_wrong);
}

/* --- what is canonical --- */

static void a_longer_form_than_needed_is_readable_but_not_canonical(void **unused)
{
    (void)unused;
    const slice_t longer[] = {
        BYTES(0xcc, 0x7f),
        BYTES(0xcd, 0x00, 0xff),
        BYTES(0xce, 0x00, 0x00, 0xff, 0xff),
        BYTES(0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
        BYTES(0xd0, 0x00),
        BYTES(0xd0, 0x7f),
        BYTES(0xd0, 0xe0),
        BYTES(0xd1, 0xff, 0x80),
        BYTES(0xd1, 0x01, 0x00),
        BYTES(0xd2, 0xff, 0xff, 0x80, 0x00),
        BYTES(0xd3, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0),
        BYTES(0xd3, 0, 0, 0, 1, 0, 0, 0, 0),
        BYTES(0xd9, 0x01, 'a'),
        BYTES(0xda, 0x00, 0x01, 'a'),
        BYTES(0xdb, 0, 0, 0, 1, 'a'),
        BYTES(0xc5, 0x00, 0x01, 'a'),
        BYTES(0xc6, 0, 0, 0, 1, 'a'),
        BYTES(0xdc, 0x00, 0x01, 0xc0),
        BYTES(0xdd, 0, 0, 0, 1, 0xc0),
        BYTES(0xde, 0x00, 0x01, 0xa0, 0xc0),
        BYTES(0xdf, 0, 0, 0, 1, 0xa0, 0xc0),
        BYTES(0x81, 0xd9, 0x01, 'a', 0xc0),
    };
    for (size_t i = 0; i < sizeof longer / sizeof longer[0]; i++) {
        mp_reader_t reader = mp_reader(longer[i]);
        assert_true(mp_skip(&reader) && mp_peek(&reader) == MP_END);
        assert_false(mp_is_canonical(longer[i]));
    }
}

static void canonical_is_one_value_and_no_more(void **unused)
{
    (void)unused;
    assert_true(mp_is_canonical(BYTES(0xc0)));
    assert_false(mp_is_canonical(BYTES(0xc0, 0xc0)));
    assert_true(mp_is_canonical(BYTES(0x90)));
    assert_true(mp_is_canonical(BYTES(0x80)));
    assert_false(mp_is_canonical(BYTES(0x90, 0x00)));
}

static void canonical_keys_are_text(void **unused)
{
    (void)unused;
    assert_true(mp_is_canonical(BYTES(0x81, 0xa1, 'a', 0xc0)));
    assert_false(mp_is_canonical(BYTES(0x81, 0x01, 0xc0)));
    assert_false(mp_is_canonical(BYTES(0x81, 0xc4, 0x01, 'a', 0xc0)));
    assert_false(mp_is_canonical(BYTES(0x81, 0x90, 0xc0)));
    assert_false(mp_is_canonical(BYTES(0x81, 0xa1, 0xff, 0xc0)));
}

static void canonical_text_is_utf8_without_nul(void **unused)
{
    (void)unused;
    assert_true(mp_is_canonical(BYTES(0xa2, 0xc3, 0xa4)));
    assert_false(mp_is_canonical(BYTES(0xa1, 0xc3)));
    assert_false(mp_is_canonical(BYTES(0xa2, 0xc0, 0x80)));
    assert_false(mp_is_canonical(BYTES(0xa1, 0x00)));
    assert_false(mp_is_canonical(BYTES(0xab, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 0)));
    assert_true(mp_is_canonical(BYTES(0xc4, 0x02, 0x00, 0xff)));
}

/* Each key may be the repeated one, in small maps (compared) and large ones (sorted), nested too.
 */
static void a_key_stands_only_once_in_a_canonical_map(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {1, 2, 15, 16, 31, 32, 33, 100, 127, 128, 129, 1000, 30000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        buf_t buf = {0};
        mp_put_map(&buf, 2);
        mp_put_cstr(&buf, "key-0");
        put_keys(&buf, sizes[i], 0);
        mp_put_cstr(&buf, "key-1");
        put_keys(&buf, sizes[i], 0);
        assert_true(mp_is_canonical(buf_slice(&buf)));
        buf_reset(&buf);
        mp_put_map(&buf, 2);
        mp_put_cstr(&buf, "key-0");
        put_keys(&buf, sizes[i], 1);
        mp_put_cstr(&buf, "key-1");
        mp_put_nil(&buf);
        assert_false(mp_is_canonical(buf_slice(&buf)));
        buf_fini(&buf);
    }
}

/* A map's keys are compared with each other, not with those of the maps inside it. */
static void the_same_key_may_stand_at_each_level(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    for (int i = 0; i < LIMIT_DEPTH; i++) {
        mp_put_map(&buf, 1);
        mp_put_cstr(&buf, "a");
    }
    mp_put_nil(&buf);
    assert_true(mp_is_canonical(buf_slice(&buf)));
    slice_t late = BYTES(0x82, 0xa1, 'a', 0x81, 0xa1, 'b', 0xc0, 0xa1, 'a', 0xc0);
    assert_false(mp_is_canonical(late));
    buf_fini(&buf);
}

static void the_number_of_values_is_limited(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    mp_put_array(&buf, LIMIT_ELEMENTS - 1); /* and the array itself */
    for (int i = 1; i < LIMIT_ELEMENTS; i++)
        mp_put_nil(&buf);
    assert_true(mp_is_canonical(buf_slice(&buf)));
    buf_reset(&buf);
    mp_put_array(&buf, LIMIT_ELEMENTS);
    for (int i = 0; i < LIMIT_ELEMENTS; i++)
        mp_put_nil(&buf);
    assert_false(mp_is_canonical(buf_slice(&buf)));
    buf_fini(&buf);
}

static void the_size_of_text_is_limited(void **unused)
{
    (void)unused;
    char *text = malloc(LIMIT_STRING_BYTES + 1);
    assert_non_null(text);
    memset(text, 'a', LIMIT_STRING_BYTES + 1);
    buf_t buf = {0};
    mp_put_str(&buf, slice_of(text, LIMIT_STRING_BYTES));
    assert_true(mp_is_canonical(buf_slice(&buf)));
    buf_reset(&buf);
    mp_put_str(&buf, slice_of(text, LIMIT_STRING_BYTES + 1));
    assert_false(mp_is_canonical(buf_slice(&buf)));
    buf_reset(&buf);
    mp_put_bin(&buf, slice_of(text, LIMIT_STRING_BYTES + 1));
    assert_false(mp_is_canonical(buf_slice(&buf)));
    buf_fini(&buf);
    free(text);
}

/* A changed byte may still be canonical, but never makes the check run away. */
static void any_changed_byte_is_survived(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    put_keys(&buf, 5, 0);
    for (size_t i = 0; i < buf.n_bytes; i++) {
        uint8_t before = buf.data[i];
        for (int byte = 0; byte < 256; byte++) {
            buf.data[i] = (uint8_t)byte;
            mp_reader_t reader = mp_reader(buf_slice(&buf));
            bool is_whole = mp_skip(&reader) && mp_peek(&reader) == MP_END;
            assert_true(is_whole || !mp_is_canonical(buf_slice(&buf)));
        }
        buf.data[i] = before;
    }
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_their_shortest_form),
        cmocka_unit_test(any_integer_reads_back),
        cmocka_unit_test(text_and_binary_take_their_shortest_head),
        cmocka_unit_test(containers_take_their_shortest_head),
        cmocka_unit_test(nil_and_booleans_are_one_byte),
        cmocka_unit_test(an_opened_container_is_closed_with_the_same_bytes),
        cmocka_unit_test(ids_and_instants_are_text_and_their_absence_nil),
        cmocka_unit_test(the_next_type_is_told_without_taking_it),
        cmocka_unit_test(what_we_never_write_is_wrong),
        cmocka_unit_test(a_wrong_type_leaves_the_cursor_wrong_and_out_untouched),
        cmocka_unit_test(a_truncated_value_is_refused),
        cmocka_unit_test(a_length_is_not_believed),
        cmocka_unit_test(the_end_of_the_bytes_is_no_value),
        cmocka_unit_test(a_raw_value_is_exactly_its_bytes),
        cmocka_unit_test(depth_is_limited_when_skipping_and_when_checking),
        cmocka_unit_test(a_key_is_found_and_the_first_one_counts),
        cmocka_unit_test(items_come_one_by_one),
        cmocka_unit_test(a_longer_form_than_needed_is_readable_but_not_canonical),
        cmocka_unit_test(canonical_is_one_value_and_no_more),
        cmocka_unit_test(canonical_keys_are_text),
        cmocka_unit_test(canonical_text_is_utf8_without_nul),
        cmocka_unit_test(a_key_stands_only_once_in_a_canonical_map),
        cmocka_unit_test(the_same_key_may_stand_at_each_level),
        cmocka_unit_test(the_number_of_values_is_limited),
        cmocka_unit_test(the_size_of_text_is_limited),
        cmocka_unit_test(any_changed_byte_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
