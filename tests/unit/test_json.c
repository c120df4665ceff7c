/* SPDX-License-Identifier: Apache-2.0 */
/* JSON and msgpack are the same values: both ways, what is refused and where, and what is escaped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "schema/json.h"
#include "schema/limits.h"
#include "schema/mp.h"

#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Text that may hold NUL, from a literal. */
#define LITERAL(text) slice_of(text, sizeof(text) - 1)

#define REPLACED "\xef\xbf\xbd"

static arena_t *arena;

static int set_up(void **unused)
{
    (void)unused;
    arena = arena_new();
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    arena_destroy(&arena);
    return 0;
}

/* Parses and expects success; the caller frees. */
static buf_t packed(slice_t json)
{
    buf_t out = {0};
    problem_t problem = {.err = ERR_OK};
    assert_int_equal(json_to_mp(json, &out, arena, &problem), ERR_OK);
    assert_int_equal(problem.err, ERR_OK);
    assert_true(mp_is_canonical(buf_slice(&out)));
    return out;
}

static void assert_packed(const char *json, slice_t expected)
{
    buf_t out = packed(slice_str(json));
    assert_int_equal(out.n_bytes, expected.n_bytes);
    assert_memory_equal(out.data, expected.data, expected.n_bytes);
    buf_fini(&out);
}

/* Whether the JSON is written again as `expected`. */
static void assert_rewritten(slice_t json, slice_t expected)
{
    buf_t value = packed(json);
    buf_t text = {0};
    assert_true(json_from_mp(buf_slice(&value), &text));
    assert_int_equal(text.n_bytes, expected.n_bytes);
    assert_memory_equal(text.data, expected.data, expected.n_bytes);
    buf_fini(&text);
    buf_fini(&value);
}

static void assert_same(const char *json)
{
    assert_rewritten(slice_str(json), slice_str(json));
}

static void assert_written(slice_t value, const char *expected)
{
    buf_t text = {0};
    assert_true(json_from_mp(value, &text));
    assert_int_equal(text.n_bytes, strlen(expected));
    assert_memory_equal(text.data, expected, text.n_bytes);
    buf_fini(&text);
}

static problem_t refused(slice_t json, err_t err)
{
    buf_t out = {0};
    buf_append_str(&out, "before");
    problem_t problem = {.err = ERR_OK};
    assert_int_equal(json_to_mp(json, &out, arena, &problem), err);
    assert_int_equal(problem.err, err);
    assert_true(slice_is(buf_slice(&out), "before"));
    buf_fini(&out);
    return problem;
}

static void assert_malformed(slice_t json)
{
    problem_t problem = refused(json, ERR_MALFORMED);
    assert_true(problem.detail.n_bytes > 0 && utf8_is_valid(problem.detail));
    assert_int_equal(problem.n_fields, 0);
}

static void assert_invalid(slice_t json, const char *pointer, const char *words)
{
    problem_t problem = refused(json, ERR_INVALID);
    assert_int_equal(problem.n_fields, 1);
    slice_t detail = problem.fields[0].detail;
    assert_non_null(memmem(detail.data, detail.n_bytes, words, strlen(words)));
    slice_t got = problem.fields[0].pointer;
    assert_non_null(got.data);
    assert_int_equal(got.n_bytes, strlen(pointer));
    assert_memory_equal(got.data, pointer, got.n_bytes);
}

static void assert_invalid_text(const char *json, const char *pointer, const char *words)
{
    assert_invalid(slice_str(json), pointer, words);
}

/* --- JSON to msgpack --- */

static void each_kind_of_value_has_its_msgpack_form(void **unused)
{
    (void)unused;
    assert_packed("null", BYTES(0xc0));
    assert_packed("true", BYTES(0xc3));
    assert_packed("false", BYTES(0xc2));
    assert_packed("0", BYTES(0x00));
    assert_packed("-0", BYTES(0x00));
    assert_packed("-1", BYTES(0xff));
    assert_packed("9223372036854775807", BYTES(0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 255));
    assert_packed("-9223372036854775808", BYTES(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0));
    assert_packed("\"\"", BYTES(0xa0));
    assert_packed(" [ 1 , \"a\" ] ", BYTES(0x92, 0x01, 0xa1, 'a'));
    assert_packed("{\"b\":1,\"a\":[]}", BYTES(0x82, 0xa1, 'b', 0x01, 0xa1, 'a', 0x90));
    assert_packed("\t{}\r\n", BYTES(0x80));
}

static void json_is_appended_behind_what_is_there(void **unused)
{
    (void)unused;
    buf_t out = {0};
    problem_t problem = {.err = ERR_OK};
    buf_append_str(&out, "x");
    assert_int_equal(json_to_mp(slice_str("[1]"), &out, arena, &problem), ERR_OK);
    assert_true(slice_eq(buf_slice(&out), BYTES('x', 0x91, 0x01)));
    assert_true(json_from_mp(BYTES(0x91, 0x01), &out));
    assert_true(slice_eq(buf_slice(&out), BYTES('x', 0x91, 0x01, '[', '1', ']')));
    buf_fini(&out);
}

static void the_order_of_keys_is_kept(void **unused)
{
    (void)unused;
    assert_same("{\"z\":1,\"a\":2,\"m\":{\"y\":3,\"b\":4},\"\":5}");
}

static void escapes_are_understood(void **unused)
{
    (void)unused;
    assert_rewritten(slice_str("\"\\u0041\\/\\u00e4\\ud83d\\ude00\""),
                     slice_str("\"A/\xc3\xa4\xf0\x9f\x98\x80\""));
    assert_same("\"\\b\\f\\n\\r\\t\\\"\\\\\\u0001\\u001f\x7f\"");
}

static void what_is_no_json_is_malformed(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        " ",
        "nul",
        "tru",
        "True",
        "undefined",
        "NaN",
        "[",
        "]",
        "{",
        "}",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{1:2}",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "\"a",
        "'a'",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "01",
        "+1",
        "1.",
        ".5",
        "-",
        "1e",
        "0x10",
        "1 1",
        "{}{}",
        "{} x",
        "[1]]",
        "/*c*/ 1",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\t\"",
        "-Infinity",
        "\\",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_malformed(slice_str(wrong[i]));
    assert_malformed(slice_none());
    assert_malformed(LITERAL("{}\0"));
    assert_malformed(LITERAL("\0{}"));
    assert_malformed(LITERAL("[1,\0 2]"));
}

static void a_byte_order_mark_is_malformed(void **unused)
{
    (void)unused;
    static const char *const marked[] = {"\xef\xbb\xbf", "\xef\xbb\xbf{}",
                                         "\xef\xbb\xbf{\"a\":1} "};
    for (size_t i = 0; i < sizeof marked / sizeof marked[0]; i++) {
        problem_t problem = refused(slice_str(marked[i]), ERR_MALFORMED);
        assert_true(slice_is(problem.detail, "The text begins with a byte order mark."));
    }
    assert_same("\"\xef\xbb\xbf\""); /* within a string it is a character */
    assert_malformed(slice_str("\xef\xbb"));
    assert_malformed(slice_str("[1,\xef\xbb\xbf 2]"));
}

static void a_key_twice_is_malformed(void **unused)
{
    (void)unused;
    assert_malformed(slice_str("{\"a\":1,\"a\":1}"));
    assert_malformed(slice_str("{\"a\":1,\"b\":2,\"\\u0061\":3}"));
    assert_malformed(slice_str("[{\"x\":{\"a\":1,\"a\":null}}]"));
}

static void bytes_that_are_no_utf8_are_malformed(void **unused)
{
    (void)unused;
    assert_malformed(LITERAL("\"\xff\""));
    assert_malformed(LITERAL("\"\xc3\""));
    assert_malformed(LITERAL("\"\xc0\x80\""));
    assert_malformed(LITERAL("\"\xed\xa0\x80\""));
    assert_malformed(LITERAL("\"\xf4\x90\x80\x80\""));
    assert_malformed(LITERAL("{\"\xe4\":1}"));
    assert_malformed(LITERAL("\xff"));
}

static void a_number_that_is_no_64_bit_integer_is_invalid(void **unused)
{
    (void)unused;
    assert_invalid_text("1.5", "", "integer");
    assert_invalid_text("{\"a\":1.0}", "/a", "integer");
    assert_invalid_text("{\"a\":[0,1e3]}", "/a/1", "integer");
    assert_invalid_text("9223372036854775808", "", "integer");
    assert_invalid_text("-9223372036854775809", "", "integer");
    assert_invalid_text("{\"x\":[],\"a\":[0,{\"b\":99999999999999999999}]}", "/a/1/b", "integer");
    assert_invalid_text("[[1,2],[3,4],[5, 1e999]]", "/2/1", "integer");
    assert_invalid_text("{\"a,]\":1,\"d/e~\xc3\xa4\":[{}, 1e999]}", "/d~1e~0\xc3\xa4/1", "integer");
    assert_invalid_text("{\"a,]\":1,\"c\\\"d/e~\\u00e4\":[{}, 1.5]}", "/c\"d~1e~0\xc3\xa4/1",
                        "integer");
    assert_invalid_text("[-0.0]", "/0", "integer");
    assert_invalid_text("[true, 18446744073709551615]", "/1", "integer");
    assert_invalid_text("[null, 18446744073709551616 ]", "/1", "integer");
    assert_malformed(slice_str("[1e]"));
    assert_malformed(slice_str("[1e999, 01"));
}

/* The pointer to a number that is too large to be parsed ends before a key with an escape in it. */
static void a_pointer_to_a_huge_number_does_not_unescape(void **unused)
{
    (void)unused;
    assert_invalid_text("{\"a\":{\"b\\n\":[1e999]}}", "/a", "integer");
}

static void nul_in_a_string_is_invalid(void **unused)
{
    (void)unused;
    assert_invalid_text("\"\\u0000\"", "", "NUL");
    assert_invalid_text("{\"data\":{\"tags\":[\"a\",\"b\\u0000c\"]}}", "/data/tags/1", "NUL");
    assert_invalid_text("{\"a\":{\"b\\u0000\":1}}", "/a", "NUL");
    assert_malformed(LITERAL("\"a\0b\""));
}

static void every_wrong_value_is_told(void **unused)
{
    (void)unused;
    problem_t problem = refused(slice_str("{\"a\":1.5,\"b\":[\"\\u0000\",2,0.1]}"), ERR_INVALID);
    assert_int_equal(problem.n_fields, 3);
    assert_true(slice_is(problem.fields[0].pointer, "/a"));
    assert_true(slice_is(problem.fields[1].pointer, "/b/0"));
    assert_true(slice_is(problem.fields[2].pointer, "/b/2"));
}

/* A pointer stays short whatever the keys are, so that an answer cannot be made larger than the
 * request. */
static void a_pointer_ends_before_a_huge_key(void **unused)
{
    (void)unused;
    buf_t json = {0};
    buf_append_str(&json, "{\"a\":{\"");
    for (int i = 0; i < 5000; i++)
        buf_append_byte(&json, 'k');
    buf_append_str(&json, "\":1.5}}");
    assert_invalid(buf_slice(&json), "/a", "integer");
    buf_fini(&json);
}

static void put_nested(buf_t *json, size_t depth, const char *open, const char *close)
{
    for (size_t i = 0; i < depth; i++)
        buf_append_str(json, open);
    buf_append_str(json, "1");
    for (size_t i = 0; i < depth; i++)
        buf_append_str(json, close);
}

static void depth_is_limited(void **unused)
{
    (void)unused;
    buf_t json = {0};
    put_nested(&json, LIMIT_DEPTH, "[", "]");
    assert_rewritten(buf_slice(&json), buf_slice(&json));
    buf_reset(&json);
    put_nested(&json, LIMIT_DEPTH, "{\"a\":", "}");
    assert_rewritten(buf_slice(&json), buf_slice(&json));
    buf_reset(&json);
    put_nested(&json, LIMIT_DEPTH + 1, "[", "]");
    assert_invalid(buf_slice(&json), "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0", "deep");
    buf_reset(&json);
    put_nested(&json, LIMIT_DEPTH + 1, "{\"a\":", "}");
    assert_invalid(buf_slice(&json), "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", "deep");
    buf_fini(&json);
}

static void a_hundred_thousand_brackets_are_refused_at_once(void **unused)
{
    (void)unused;
    buf_t json = {0};
    for (int i = 0; i < 100000; i++)
        buf_append_byte(&json, '[');
    refused(buf_slice(&json), ERR_INVALID);
    buf_reset(&json);
    for (int i = 0; i < 100000; i++)
        buf_append_str(&json, "{\"a\":");
    refused(buf_slice(&json), ERR_INVALID);
    buf_reset(&json);
    for (int i = 0; i < 100000; i++)
        buf_append_byte(&json, ']');
    refused(buf_slice(&json), ERR_MALFORMED);
    buf_fini(&json);
}

static void the_number_of_values_is_limited(void **unused)
{
    (void)unused;
    buf_t json = {0};
    buf_append_str(&json, "[{}");
    for (int i = 2; i < LIMIT_ELEMENTS; i++)
        buf_append_str(&json, i % 2 == 0 ? ",\"a,]\"" : ",7");
    size_t n_almost = json.n_bytes;
    buf_append_str(&json, "]");
    buf_t value = packed(buf_slice(&json));
    buf_fini(&value);
    json.n_bytes = n_almost;
    buf_append_str(&json, ", null]");
    assert_invalid(buf_slice(&json), "/65535", "65536");
    buf_fini(&json);
}

static void the_size_of_a_string_is_limited(void **unused)
{
    (void)unused;
    buf_t json = {0};
    buf_append_str(&json, "[\"");
    for (int i = 0; i < LIMIT_STRING_BYTES; i++)
        buf_append_byte(&json, 'a');
    size_t n_almost = json.n_bytes;
    buf_append_str(&json, "\"]");
    assert_rewritten(buf_slice(&json), buf_slice(&json));
    json.n_bytes = n_almost;
    buf_append_str(&json, "a\"]");
    assert_invalid(buf_slice(&json), "/0", "262144");
    buf_fini(&json);
}

/* --- msgpack to JSON --- */

static void values_are_written_without_space(void **unused)
{
    (void)unused;
    assert_same("{\"a\":[1,-2,null,true,false,\"x\",{},[],[[]],{\"b\":{\"c\":0}}],\"d\":\"\"}");
    assert_same("-9223372036854775808");
    assert_same("[9223372036854775807,10,99,100]");
}

static void binary_is_written_as_base64url(void **unused)
{
    (void)unused;
    assert_written(BYTES(0xc4, 0), "\"\"");
    assert_written(BYTES(0xc4, 1, 0xfb), "\"-w\"");
    assert_written(BYTES(0xc4, 2, 0xfb, 0xff), "\"-_8\"");
    assert_written(BYTES(0xc4, 3, 0xfb, 0xff, 0xbf), "\"-_-_\"");
    assert_written(BYTES(0xc4, 6, 'f', 'o', 'o', 'b', 'a', 'r'), "\"Zm9vYmFy\"");
    assert_written(BYTES(0xc4, 4, 'f', 'o', 'o', 'b'), "\"Zm9vYg\"");
}

static void only_what_must_be_is_escaped(void **unused)
{
    (void)unused;
    for (int byte = 0; byte < 128; byte++) {
        char expected[16];
        char c = (char)byte;
        buf_t text = {0};
        json_put_str(&text, slice_of(&c, 1));
        if (byte == '"' || byte == '\\')
            snprintf(expected, sizeof expected, "\"\\%c\"", byte);
        else if (byte < 0x20 && strchr("\b\t\n\f\r", byte) != NULL && byte != 0)
            snprintf(expected, sizeof expected, "\"\\%c\"", "btn?fr"[byte - '\b']);
        else if (byte < 0x20)
            snprintf(expected, sizeof expected, "\"\\u%04x\"", byte);
        else
            snprintf(expected, sizeof expected, "\"%c\"", byte);
        assert_true(slice_is(buf_slice(&text), expected));
        buf_fini(&text);
    }
}

/* `middle` behind the first `place` of `n` plain characters. */
static void put_amid(buf_t *out, const char *middle, size_t place, size_t n)
{
    static const char plain[] = "!#~[]^ 0123456789abcdefghijklmnopqrstuvw";
    buf_append(out, plain, place);
    buf_append_str(out, middle);
    buf_append(out, plain, n - place);
}

static void assert_escaped_at(size_t place, size_t n, const char *special, const char *written)
{
    buf_t text = {0};
    buf_t expected = {0};
    buf_t out = {0};
    put_amid(&text, special, place, n);
    buf_append_byte(&expected, '"');
    put_amid(&expected, written, place, n);
    buf_append_byte(&expected, '"');
    json_put_str(&out, buf_slice(&text));
    assert_true(slice_eq(buf_slice(&out), buf_slice(&expected)));
    buf_fini(&text);
    buf_fini(&expected);
    buf_fini(&out);
}

/* A special byte is found at any place of runs of any length. */
static void an_escape_is_found_at_every_place(void **unused)
{
    (void)unused;
    for (size_t n = 0; n < 40; n++) {
        for (size_t place = 0; place <= n; place++) {
            assert_escaped_at(place, n, "\"", "\\\"");
            assert_escaped_at(place, n, "\\", "\\\\");
            assert_escaped_at(place, n, "\n", "\\n");
            assert_escaped_at(place, n, "\x01", "\\u0001");
            assert_escaped_at(place, n, "\xc3\xa4", "\xc3\xa4");
            assert_escaped_at(place, n, "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
            assert_escaped_at(place, n, "\xff", REPLACED);
        }
    }
}

/* Text from outside may reach a log line or an answer unchecked: what is written is JSON all the
 * same. */
static void broken_utf8_is_replaced_in_a_string(void **unused)
{
    (void)unused;
    buf_t out = {0};
    json_put_str(&out, LITERAL("a\xff\xc3\xa4\xe2\x82z\xed\xa0\x80"));
    assert_true(slice_is(buf_slice(&out), "\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbdz"
                                          "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""));
    assert_true(utf8_is_valid(buf_slice(&out)));
    buf_fini(&out);
}

static void what_is_no_value_of_ours_is_not_written(void **unused)
{
    (void)unused;
    const slice_t wrong[] = {
        slice_none(),
        BYTES(0xc1),
        BYTES(0xca, 0, 0, 0, 0),
        BYTES(0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0),
        BYTES(0x91),
        BYTES(0x81, 0xa1, 'a'),
        BYTES(0x81, 0x01, 0x02),
        BYTES(0x81, 0x90, 0x02),
        BYTES(0xa2, 'a'),
        BYTES(0xa1, 0xff),
        BYTES(0x81, 0xa1, 0xff, 0xc0),
        BYTES(0xc0, 0xc0),
        BYTES(0xdd, 0xff, 0xff, 0xff, 0xff),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        buf_t out = {0};
        assert_false(json_from_mp(wrong[i], &out));
        buf_fini(&out);
    }
    buf_t deep = {0};
    buf_t out = {0};
    for (int i = 0; i <= LIMIT_DEPTH; i++)
        mp_put_array(&deep, 1);
    mp_put_nil(&deep);
    assert_false(json_from_mp(buf_slice(&deep), &out));
    buf_fini(&deep);
    buf_fini(&out);
}

/* --- both ways --- */

static void put_random_text(buf_t *out)
{
    static const char *const pieces[] = {
        "a",    "Z",    " ", "\"",       "\\",           "\n",
        "\x1f", "\x7f", "/", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "key"};
    buf_t text = {0};
    for (long n = random() % 40; n > 0; n--)
        buf_append_str(&text, pieces[random() % 13]);
    mp_put_str(out, buf_slice(&text));
    buf_fini(&text);
}

static void put_random_value(buf_t *out, int depth)
{
    long kind = random() % (depth == 0 ? 5 : 7);
    long n = random() % 20;
    char key[24];
    if (kind == 0)
        mp_put_nil(out);
    else if (kind == 1)
        mp_put_bool(out, n % 2 == 0);
    else if (kind == 2)
        mp_put_int(out, (random() << 31 ^ random()) >> random() % 62);
    else if (kind == 3)
        mp_put_int(out, -random() >> random() % 31);
    else if (kind == 4)
        put_random_text(out);
    else if (kind == 5)
        mp_put_array(out, (size_t)n);
    else
        mp_put_map(out, (size_t)n);
    for (long i = 0; kind > 4 && i < n; i++) {
        snprintf(key, sizeof key, "k\"%ld", i);
        if (kind == 6)
            mp_put_cstr(out, key);
        put_random_value(out, depth - 1);
    }
}

static void any_value_keeps_its_bytes_through_json(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 2000; i++) {
        buf_t value = {0};
        buf_t text = {0};
        put_random_value(&value, 4);
        if (mp_is_canonical(buf_slice(&value))) {
            assert_true(json_from_mp(buf_slice(&value), &text));
            buf_t again = packed(buf_slice(&text));
            assert_true(slice_eq(buf_slice(&value), buf_slice(&again)));
            buf_fini(&again);
        }
        buf_fini(&value);
        buf_fini(&text);
        arena_reset(arena);
    }
}

/* --- UTF-8 --- */

static void utf8_is_what_rfc_3629_says(void **unused)
{
    (void)unused;
    static const char *const right[] = {
        "",
        "a",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "12345678\xc3\xa4 2345678",
    };
    static const char *const wrong[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x61",
        "\xe0\x9f\xbf",
        "\xe1\x80",
        "\xe1\x80\x61",
        "\xe1\x61\x80",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x90\x80",
        "\xf1\x80\x80\x61",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "1234567\xff",
        "12345678\xff",
        "12345678901234567890123\xc3",
    };
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(utf8_is_valid(slice_str(right[i])) && utf8_is_text(slice_str(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(utf8_is_valid(slice_str(wrong[i])) || utf8_is_text(slice_str(wrong[i])));
    assert_true(utf8_is_valid(LITERAL("a\0b")));
    assert_false(utf8_is_text(LITERAL("a\0b")));
    assert_true(utf8_is_valid(slice_none()) && utf8_is_text(slice_none()));
}

/* A decoder that is written differently. */
static bool decodes(const uint8_t *at, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < n;) {
        size_t n_char = at[i] < 0x80       ? 1
                        : at[i] >> 5 == 6  ? 2
                        : at[i] >> 4 == 14 ? 3
                        : at[i] >> 3 == 30 ? 4
                                           : 0;
        if (n_char == 0 || i + n_char > n)
            return false;
        uint32_t code = n_char == 1 ? at[i] : at[i] & (0x7fu >> n_char);
        for (size_t j = 1; j < n_char; j++) {
            if (at[i + j] >> 6 != 2)
                return false;
            code = code << 6 | (at[i + j] & 0x3f);
        }
        if (code < least[n_char] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        i += n_char;
    }
    return true;
}

/* Every third sequence of three bytes that begins beyond ASCII, and some of the others. */
static void utf8_agrees_with_a_plain_decoder(void **unused)
{
    (void)unused;
    for (uint32_t code = 0; code < 1u << 24; code += code < 0xc00000 ? 61 : 3) {
        uint8_t bytes[4] = {(uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code, 0x80};
        size_t n = bytes[0] >= 0xf0 ? 4 : 3;
        if (utf8_is_valid(slice_of(bytes, n)) != decodes(bytes, n))
            fail_msg("%02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3]);
    }
}

static void characters_are_counted_as_code_points(void **unused)
{
    (void)unused;
    assert_int_equal(utf8_count(slice_none()), 0);
    assert_int_equal(utf8_count(slice_str("abc")), 3);
    assert_int_equal(utf8_count(slice_str("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80x")), 4);
    assert_int_equal(utf8_char_bytes(slice_str("\xe2\x82\xacx")), 3);
    assert_int_equal(utf8_char_bytes(slice_str("\x82x")), 0);
    assert_int_equal(utf8_char_bytes(slice_none()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_value_has_its_msgpack_form),
        cmocka_unit_test(json_is_appended_behind_what_is_there),
        cmocka_unit_test(the_order_of_keys_is_kept),
        cmocka_unit_test(escapes_are_understood),
        cmocka_unit_test(what_is_no_json_is_malformed),
        cmocka_unit_test(a_byte_order_mark_is_malformed),
        cmocka_unit_test(a_key_twice_is_malformed),
        cmocka_unit_test(bytes_that_are_no_utf8_are_malformed),
        cmocka_unit_test(a_number_that_is_no_64_bit_integer_is_invalid),
        cmocka_unit_test(a_pointer_to_a_huge_number_does_not_unescape),
        cmocka_unit_test(nul_in_a_string_is_invalid),
        cmocka_unit_test(every_wrong_value_is_told),
        cmocka_unit_test(a_pointer_ends_before_a_huge_key),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(a_hundred_thousand_brackets_are_refused_at_once),
        cmocka_unit_test(the_number_of_values_is_limited),
        cmocka_unit_test(the_size_of_a_string_is_limited),
        cmocka_unit_test(values_are_written_without_space),
        cmocka_unit_test(binary_is_written_as_base64url),
        cmocka_unit_test(only_what_must_be_is_escaped),
        cmocka_unit_test(an_escape_is_found_at_every_place),
        cmocka_unit_test(broken_utf8_is_replaced_in_a_string),
        cmocka_unit_test(what_is_no_value_of_ours_is_not_written),
        cmocka_unit_test(any_value_keeps_its_bytes_through_json),
        cmocka_unit_test(utf8_is_what_rfc_3629_says),
        cmocka_unit_test(utf8_agrees_with_a_plain_decoder),
        cmocka_unit_test(characters_are_counted_as_code_points),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
