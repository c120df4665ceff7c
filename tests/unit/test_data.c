/* SPDX-License-Identifier: Apache-2.0 */
/* Reading requests: every mistake is told with its pointer, and nothing that nobody asked for gets
 * through. */
#include "core_test.h"
#include "schema/data.h"

typedef struct {
    arena_t *arena;
    problem_t problem;
    data_map_t map;
} request_t;

/* Opens a request; its text is from the world of the test. */
static bool open_request(core_t *core, request_t *request, const char *json)
{
    *request = (request_t){.arena = core->arena};
    return data_open(&request->map, core_json(core, json), core->arena, &request->problem);
}

static void assert_problem(const request_t *request, size_t i, const char *pointer,
                           const char *detail)
{
    assert_true(i < request->problem.n_fields);
    ASSERT_TEXT(request->problem.fields[i].pointer, pointer);
    ASSERT_TEXT(request->problem.fields[i].detail, detail);
}

static void fields_that_nobody_asked_for_are_refused(void **state)
{
    request_t r;
    data_value_t value;
    assert_true(open_request(*state, &r, "{'a':1,'b/~c':2,'d':{'e':3},'f':null}"));
    assert_int_equal(data_get(&r.map, "a", &value), DATA_GIVEN);
    assert_int_equal(data_get(&r.map, "f", &value), DATA_NULL);
    assert_int_equal(data_get(&r.map, "z", &value), DATA_ABSENT);
    assert_int_equal(data_get(&r.map, "d", &value), DATA_GIVEN);
    data_map_t inner;
    assert_true(data_map(&value, &inner));
    data_close(&inner);
    data_close(&r.map);
    assert_int_equal(r.problem.err, ERR_INVALID);
    assert_int_equal(r.problem.n_fields, 2);
    assert_problem(&r, 0, "/d/e", "there is no such field");
    assert_problem(&r, 1, "/b~1~0c", "there is no such field");
}

static void absent_bytes_are_a_map_without_fields(void **state)
{
    core_t *core = *state;
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    assert_true(data_open(&map, slice_none(), core->arena, &problem));
    assert_false(data_need(&map, "a", &value));
    data_close(&map);
    assert_int_equal(problem.n_fields, 1);
    ASSERT_TEXT(problem.fields[0].pointer, "/a");
}

static void what_is_needed_is_neither_absent_nor_null(void **state)
{
    request_t r;
    data_value_t value;
    open_request(*state, &r, "{'a':null,'b':0}");
    assert_false(data_need(&r.map, "a", &value));
    assert_true(data_need(&r.map, "b", &value));
    assert_false(data_need(&r.map, "c", &value));
    assert_int_equal(r.problem.n_fields, 2);
}

static void what_is_no_map_of_ours_is_refused_whole(void **state)
{
    core_t *core = *state;
    request_t r;
    static const uint8_t twice[] = {0x82, 0xa1, 'a', 1, 0xa1, 'a', 2};
    static const uint8_t number_as_key[] = {0x81, 1, 1};
    static const uint8_t no_utf8[] = {0x81, 0xa1, 0xff, 1};
    static const uint8_t cut[] = {0x82, 0xa1, 'a', 1, 0xa1};
    const slice_t wrong[] = {
        slice_of(twice, sizeof twice),
        slice_of(number_as_key, sizeof number_as_key),
        slice_of(no_utf8, sizeof no_utf8),
        slice_of(cut, sizeof cut),
        core_json(core, "[]"),
        core_json(core, "'a'"),
        core_json(core, "null"),
        slice_of("", 0),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        r = (request_t){0};
        assert_false(data_open(&r.map, wrong[i], core->arena, &r.problem));
        assert_int_equal(r.problem.n_fields, 1);
        ASSERT_TEXT(r.problem.fields[0].pointer, "");
        data_close(&r.map);
        assert_int_equal(r.problem.n_fields, 1);
    }
}

static void a_map_has_at_most_64_fields(void **state)
{
    core_t *core = *state;
    for (int n = DATA_MAX_FIELDS; n <= DATA_MAX_FIELDS + 1; n++) {
        problem_t problem = {0};
        data_map_t map;
        buf_t bytes = {0};
        mp_put_map(&bytes, (size_t)n);
        for (int i = 0; i < n; i++) {
            slice_t key = arena_format(core->arena, "%d", i);
            mp_put_str(&bytes, key);
            mp_put_nil(&bytes);
        }
        assert_int_equal(data_open(&map, buf_slice(&bytes), core->arena, &problem),
                         n == DATA_MAX_FIELDS);
        buf_fini(&bytes);
    }
}

static void values_have_the_type_that_is_asked_for(void **state)
{
    request_t r;
    data_value_t value;
    slice_t text = slice_none();
    uuid_t id = UUID_NIL;
    int64_t number = 0;
    data_map_t map;
    data_array_t array;
    static const char *const all =
        "{'int':7,'text':'x','uuid':'01930000-0000-7000-8000-00000000000a',"
        "'instant':'2026-11-23T08:00:00Z','map':{},'array':[],'no':false}";
    static const char *const keys[] = {"int", "text", "uuid", "instant", "map", "array", "no"};
    static const size_t n_wrong[] = {5, 5, 4, 4, 5, 5, 6}; /* ids and instants are text too */
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        open_request(*state, &r, all);
        assert_int_equal(data_get(&r.map, keys[i], &value), DATA_GIVEN);
        assert_int_equal(data_int(&value, &number), i == 0);
        assert_int_equal(data_str(&value, 99, &text), i >= 1 && i <= 3);
        assert_int_equal(data_uuid(&value, &id), i == 2);
        assert_int_equal(data_instant(&value, &number), i == 3);
        assert_int_equal(data_map(&value, &map), i == 4);
        assert_int_equal(data_array(&value, 9, &array), i == 5);
        assert_int_equal(r.problem.n_fields, n_wrong[i]);
    }
}

static void text_is_bounded_and_clean(void **state)
{
    core_t *core = *state;
    request_t r;
    data_value_t value;
    slice_t text = slice_str("before");
    open_request(core, &r, "{'a':'äöü','b':'a\\tb','c':'','d':'a\\u009fb','e':'a\\u00a0b'}");
    data_get(&r.map, "a", &value);
    assert_false(data_str(&value, 5, &text));
    assert_false(data_line(&value, 0, 2, &text));
    assert_false(data_line(&value, 4, 9, &text));
    ASSERT_TEXT(text, "before");
    assert_true(data_line(&value, 3, 3, &text));
    assert_true(data_str(&value, 6, &text));
    data_get(&r.map, "b", &value);
    assert_true(data_str(&value, 9, &text));
    assert_false(data_line(&value, 0, 9, &text));
    data_get(&r.map, "c", &value);
    assert_true(data_line(&value, 0, 9, &text));
    assert_non_null(text.data);
    assert_false(data_line(&value, 1, 9, &text));
    data_get(&r.map, "d", &value);
    assert_false(data_line(&value, 0, 9, &text));
    data_get(&r.map, "e", &value);
    assert_true(data_line(&value, 0, 9, &text));
}

static void text_that_is_no_utf8_is_refused(void **state)
{
    core_t *core = *state;
    static const uint8_t bytes[] = {0x82, 0xa1, 'a', 0xa2, 0xc2, 'x', 0xa1, 'b', 0xa1, 0};
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    slice_t text = slice_none();
    assert_true(data_open(&map, slice_of(bytes, sizeof bytes), core->arena, &problem));
    data_get(&map, "a", &value);
    assert_false(data_str(&value, 9, &text));
    data_get(&map, "b", &value);
    assert_false(data_line(&value, 0, 9, &text));
    assert_int_equal(problem.n_fields, 2);
}

static void bytes_have_their_exact_length(void **state)
{
    core_t *core = *state;
    static const uint8_t bytes[] = {0x81, 0xa1, 'a', 0xc4, 3, 1, 2, 3};
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    slice_t found = slice_none();
    assert_true(data_open(&map, slice_of(bytes, sizeof bytes), core->arena, &problem));
    data_get(&map, "a", &value);
    assert_false(data_bin(&value, 2, &found));
    assert_true(data_bin(&value, 3, &found));
    assert_int_equal(found.data[2], 3);
}

static void a_word_is_one_of_those_that_are_told(void **state)
{
    request_t r;
    data_value_t value;
    int word = 7;
    static const char *const words[] = {"red", "green", NULL};
    open_request(*state, &r, "{'a':'green','b':'blue','c':1}");
    data_get(&r.map, "a", &value);
    assert_true(data_word(&value, words, &word));
    assert_int_equal(word, 1);
    data_get(&r.map, "b", &value);
    assert_false(data_word(&value, words, &word));
    data_get(&r.map, "c", &value);
    assert_false(data_word(&value, words, &word));
    assert_int_equal(word, 1);
    assert_problem(&r, 0, "/b", "this must be one of: red, green");
    assert_problem(&r, 1, "/c", "this must be one of: red, green");
}

static void items_are_told_by_their_number(void **state)
{
    request_t r;
    data_value_t value;
    data_value_t item;
    data_array_t array;
    data_map_t map;
    int64_t number = 0;
    open_request(*state, &r, "{'a':[1,'x',{'b':[null]}]}");
    data_get(&r.map, "a", &value);
    assert_false(data_array(&value, 2, &array));
    assert_true(data_array(&value, 3, &array));
    assert_true(data_next(&array, &item) && data_int(&item, &number));
    assert_true(data_next(&array, &item));
    assert_false(data_int(&item, &number));
    assert_true(data_next(&array, &item) && data_map(&item, &map));
    assert_false(data_next(&array, &item));
    data_get(&map, "b", &value);
    assert_true(data_array(&value, 1, &array) && data_next(&array, &item));
    assert_false(data_int(&item, &number));
    assert_problem(&r, 0, "/a", "there must be at most 2");
    assert_problem(&r, 1, "/a/1", "this must be a whole number");
    assert_problem(&r, 2, "/a/2/b/0", "this must be a whole number");
}

static void of_many_mistakes_the_first_ones_are_told(void **state)
{
    request_t r;
    data_value_t value;
    open_request(*state, &r, "{}");
    for (int i = 0; i < 100; i++)
        data_need(&r.map, "a", &value);
    assert_int_equal(r.problem.n_fields, LIMIT_PROBLEM_FIELDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fields_that_nobody_asked_for_are_refused),
        TEST(absent_bytes_are_a_map_without_fields),
        TEST(what_is_needed_is_neither_absent_nor_null),
        TEST(what_is_no_map_of_ours_is_refused_whole),
        TEST(a_map_has_at_most_64_fields),
        TEST(values_have_the_type_that_is_asked_for),
        TEST(text_is_bounded_and_clean),
        TEST(text_that_is_no_utf8_is_refused),
        TEST(bytes_have_their_exact_length),
        TEST(a_word_is_one_of_those_that_are_told),
        TEST(items_are_told_by_their_number),
        TEST(of_many_mistakes_the_first_ones_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
