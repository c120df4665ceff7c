/* SPDX-License-Identifier: Apache-2.0 */
/* The statements behind pages of tasks, and the places at which pages end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/task_page.h"

#include "schema/instant.h"
#include "schema/limits.h"

static void there_is_a_statement_for_each_page_and_no_two_are_the_same(void **unused)
{
    (void)unused;
    const char *seen[SORT_COUNT * 2 * 2 * TASKS_SETS];
    size_t n_seen = 0;
    for (int i = 0; i < SORT_COUNT * 2 * 2 * TASKS_SETS; i++) {
        const pg_stmt_t *stmt =
            task_page_statement((task_sort_t)(i / 16), i / 8 % 2, i / 4 % 2, (task_set_t)(i % 4));
        assert_non_null(stmt->sql);
        assert_non_null(strstr(stmt->sql, "$11"));
        for (size_t k = 0; k < n_seen; k++)
            assert_string_not_equal(stmt->sql, seen[k]);
        seen[n_seen++] = stmt->sql;
    }
}

static void assert_same_place(task_sort_t sort, const task_place_t *place)
{
    buf_t buf = {0};
    task_place_t again;
    task_place_encode(sort, place, &buf);
    assert_true(task_place_decode(sort, buf_slice(&buf), &again));
    assert_true(slice_eq(again.text, place->text));
    assert_int_equal(again.number, place->number);
    assert_true(uuid_eq(&again.id, &place->id));
    assert_int_equal(again.asked_at_us, place->asked_at_us);
    buf_fini(&buf);
}

static void a_place_reads_back(void **unused)
{
    (void)unused;
    task_place_t place = {.id = uuid_v7(5), .asked_at_us = 1764000000000000};
    assert_same_place(SORT_PRIORITY, &place);
    place.number = INSTANT_NONE;
    assert_same_place(SORT_DUE, &place);
    place.number = INSTANT_MAX;
    assert_same_place(SORT_CREATED_AT, &place);
    place.number = 0;
    place.text = slice_str("milk");
    assert_same_place(SORT_TITLE, &place);
}

static void a_place_of_another_kind_is_none(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    task_place_t place = {.text = slice_str("a0"), .id = uuid_v7(5)};
    task_place_t again;
    task_place_encode(SORT_POSITION, &place, &buf);
    assert_false(task_place_decode(SORT_DUE, buf_slice(&buf), &again));
    buf_reset(&buf);
    place.number = INT64_C(1) << 40;
    task_place_encode(SORT_DUE, &place, &buf);
    assert_true(task_place_decode(SORT_DUE, buf_slice(&buf), &again));
    assert_false(task_place_decode(SORT_PRIORITY, buf_slice(&buf), &again));
    assert_false(task_place_decode(SORT_TITLE, buf_slice(&buf), &again));
    for (size_t n = 0; n < buf.n_bytes; n++)
        assert_false(task_place_decode(SORT_DUE, slice_of(buf.data, n), &again));
    buf_fini(&buf);
}

static void the_first_place_is_before_everything(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    task_place_t place;
    task_place_first(SORT_DUE, false, arena, &place);
    assert_true(place.number < INSTANT_MIN && place.number != INSTANT_NONE);
    task_place_first(SORT_DUE, true, arena, &place);
    assert_true(place.number > INSTANT_MAX);
    task_place_first(SORT_TITLE, false, arena, &place);
    assert_int_equal(place.text.n_bytes, 0);
    task_place_first(SORT_TITLE, true, arena, &place);
    assert_true(place.text.n_bytes > LIMIT_TITLE_CHARS * 4);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_a_statement_for_each_page_and_no_two_are_the_same),
        cmocka_unit_test(a_place_reads_back),
        cmocka_unit_test(a_place_of_another_kind_is_none),
        cmocka_unit_test(the_first_place_is_before_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
