/* SPDX-License-Identifier: Apache-2.0 */
/* Query parameters: what is read, and that everything else is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/query.h"

static const param_t known[] = {
    {"limit", PARAM_ONCE},
    {"tag", PARAM_REPEATS},
    {"id", PARAM_REPEATS},
    {NULL, PARAM_ONCE},
};

typedef struct {
    arena_t *arena;
    query_t query;
    problem_t problem;
} fixture_t;

static int set_up(void **state)
{
    fixture_t *self = calloc(1, sizeof *self);
    self->arena = arena_new();
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *self = *state;
    arena_destroy(&self->arena);
    free(self);
    return 0;
}

static err_t parse(fixture_t *self, const char *text)
{
    return query_parse(slice_str(text), known, self->arena, &self->query, &self->problem);
}

static void assert_refused(fixture_t *self, const char *text, err_t err, const char *word)
{
    assert_int_equal(parse(self, text), err);
    assert_int_equal(self->problem.err, err);
    assert_non_null(strstr((const char *)self->problem.detail.data, word));
}

static void values_are_decoded(void **state)
{
    fixture_t *self = *state;
    assert_int_equal(parse(self, "tag=a%20b&limit=5&tag=c+d&tag=%C3%A9&tag="), ERR_OK);
    assert_true(slice_is(query_get(&self->query, "limit"), "5"));
    assert_int_equal(query_count(&self->query, "tag"), 4);
    assert_true(slice_is(query_get_at(&self->query, "tag", 0), "a b"));
    assert_true(slice_is(query_get_at(&self->query, "tag", 1), "c d"));
    assert_true(slice_is(query_get_at(&self->query, "tag", 2), "\xc3\xa9"));
    assert_true(slice_is(query_get_at(&self->query, "tag", 3), ""));
    assert_null(query_get_at(&self->query, "tag", 4).data);
    assert_null(query_get(&self->query, "id").data);
}

static void no_query_has_no_parameters(void **state)
{
    fixture_t *self = *state;
    assert_int_equal(query_parse(slice_none(), known, self->arena, &self->query, &self->problem),
                     ERR_OK);
    assert_int_equal(self->query.n_items, 0);
    assert_int_equal(parse(self, "&&"), ERR_OK);
    assert_int_equal(self->query.n_items, 0);
}

static void what_is_not_known_is_named(void **state)
{
    fixture_t *self = *state;
    assert_refused(self, "limit=1&colour=red", ERR_MALFORMED, "'colour'");
    assert_refused(self, "Limit=1", ERR_MALFORMED, "'Limit'");
    assert_refused(self, "limi=1", ERR_MALFORMED, "'limi'");
    assert_refused(self, "=1", ERR_MALFORMED, "''");
    assert_refused(self, "a%22%0Ab=1", ERR_MALFORMED, "'a\"?b'");
    assert_int_equal(
        query_parse(slice_str("limit=1"), NULL, self->arena, &self->query, &self->problem),
        ERR_MALFORMED);
}

static void only_what_may_repeat_repeats(void **state)
{
    fixture_t *self = *state;
    assert_refused(self, "limit=1&limit=1", ERR_MALFORMED, "'limit'");
    assert_int_equal(parse(self, "tag=a&tag=a"), ERR_OK);
}

static void broken_escapes_and_broken_text_are_refused(void **state)
{
    fixture_t *self = *state;
    static const char *const wrong[] = {"tag=%",   "tag=%4",   "tag=%g0", "tag=%C3",
                                        "tag=%00", "tag=\xff", "%C3=1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(parse(self, wrong[i]), ERR_MALFORMED);
}

static void there_is_a_limit_to_how_many(void **state)
{
    fixture_t *self = *state;
    char text[(QUERY_MAX_ITEMS + 1) * 6 + 1];
    size_t n = 0;
    for (int i = 0; i <= QUERY_MAX_ITEMS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "tag=x&");
    assert_refused(self, text, ERR_MALFORMED, "too many");
}

static void numbers_keep_to_their_range(void **state)
{
    fixture_t *self = *state;
    static const char *const wrong[] = {
        "limit=0",   "limit=11",   "limit=",
        "limit=+1",  "limit=-1",   "limit=1e",
        "limit=1.0", "limit=%201", "limit=99999999999999999999",
    };
    int64_t value = 7;
    assert_int_equal(parse(self, ""), ERR_OK);
    assert_true(query_int(&self->query, "limit", 1, 10, &value, self->arena, &self->problem));
    assert_int_equal(value, 7);
    assert_int_equal(parse(self, "limit=10"), ERR_OK);
    assert_true(query_int(&self->query, "limit", 1, 10, &value, self->arena, &self->problem));
    assert_int_equal(value, 10);
    int64_t largest = 0;
    assert_int_equal(parse(self, "limit=999999999999999999"), ERR_OK);
    assert_true(
        query_int(&self->query, "limit", 1, QUERY_INT_MAX, &largest, self->arena, &self->problem));
    assert_int_equal(largest, QUERY_INT_MAX);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(parse(self, wrong[i]), ERR_OK);
        assert_false(query_int(&self->query, "limit", 1, 10, &value, self->arena, &self->problem));
        assert_int_equal(self->problem.err, ERR_MALFORMED);
        assert_int_equal(value, 10);
    }
}

static void ids_and_words_are_checked_one_by_one(void **state)
{
    fixture_t *self = *state;
    static const char *const words[] = {"red", "green", NULL};
    uuid_t ids[2];
    int places[2];
    size_t n;
    assert_int_equal(parse(self, "id=0198f3a1-7c2e-7b4d-8a55-0123456789ab&tag=green&tag=red"),
                     ERR_OK);
    assert_true(query_uuids(&self->query, "id", 2, ids, &n, self->arena, &self->problem));
    assert_int_equal(n, 1);
    assert_true(
        query_words(&self->query, "tag", words, 2, places, &n, self->arena, &self->problem));
    assert_int_equal(n, 2);
    assert_int_equal(places[0], 1);
    assert_int_equal(places[1], 0);
    assert_int_equal(parse(self, "id=1&tag=blue"), ERR_OK);
    assert_false(query_uuids(&self->query, "id", 2, ids, &n, self->arena, &self->problem));
    assert_non_null(strstr((const char *)self->problem.detail.data, "'id'"));
    assert_false(
        query_words(&self->query, "tag", words, 2, places, &n, self->arena, &self->problem));
    assert_non_null(strstr((const char *)self->problem.detail.data, "red, green"));
}

static void more_than_there_is_room_for_is_refused(void **state)
{
    fixture_t *self = *state;
    static const char *const words[] = {"a", NULL};
    int places[1];
    size_t n;
    assert_int_equal(parse(self, "tag=a&tag=a"), ERR_OK);
    assert_false(
        query_words(&self->query, "tag", words, 1, places, &n, self->arena, &self->problem));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_are_decoded),
        TEST(no_query_has_no_parameters),
        TEST(what_is_not_known_is_named),
        TEST(only_what_may_repeat_repeats),
        TEST(broken_escapes_and_broken_text_are_refused),
        TEST(there_is_a_limit_to_how_many),
        TEST(numbers_keep_to_their_range),
        TEST(ids_and_words_are_checked_one_by_one),
        TEST(more_than_there_is_room_for_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
