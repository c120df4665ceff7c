/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: arenas, growing buffers, and the error list that sits beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/err.h"

static void arena_memory_is_zeroed_and_aligned(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    for (int round = 0; round < 3; round++) {
        for (size_t n_bytes = 0; n_bytes < 3000; n_bytes += 7) {
            uint8_t *at = arena_alloc(arena, n_bytes);
            assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < n_bytes; i++)
                assert_int_equal(at[i], 0);
            memset(at, 0xff, n_bytes);
        }
        arena_reset(arena);
    }
    arena_destroy(&arena);
}

static void pieces_of_an_arena_do_not_overlap(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    uint8_t *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(arena, i * 37);
        memset(pieces[i], (int)i, i * 37);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i * 37; j++)
            assert_int_equal(pieces[i][j], i);
    }
    arena_destroy(&arena);
}

static void a_large_piece_does_not_end_the_block_being_filled(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    arena_alloc(arena, 16);
    size_t n_first = arena_bytes(arena);
    memset(arena_alloc(arena, 1000000), 1, 1000000);
    size_t n_both = arena_bytes(arena);
    assert_in_range(n_both - n_first, 1000000, 1000100);
    arena_alloc(arena, 16);
    assert_int_equal(arena_bytes(arena), n_both);
    arena_destroy(&arena);
}

static void a_reset_arena_keeps_one_moderate_block(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    assert_int_equal(arena_bytes(arena), 0);
    for (int i = 0; i < 10000; i++)
        arena_alloc(arena, 100);
    assert_true(arena_bytes(arena) > 1000000);
    arena_reset(arena);
    size_t n_kept = arena_bytes(arena);
    assert_in_range(n_kept, 1, 64 * 1024);
    arena_alloc(arena, 100);
    assert_int_equal(arena_bytes(arena), n_kept);
    arena_destroy(&arena);
    assert_null(arena);
}

static void a_reset_arena_does_not_keep_a_huge_block(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    arena_alloc(arena, 10000000);
    arena_reset(arena);
    assert_int_equal(arena_bytes(arena), 0);
    arena_destroy(&arena);
}

static void no_arena_can_be_destroyed(void **unused)
{
    (void)unused;
    arena_t *none = NULL;
    arena_destroy(&none);
    arena_destroy(NULL);
}

static void a_copy_ends_in_nul_and_absence_stays_absence(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    slice_t copy = arena_copy(arena, slice_of("plants", 5));
    assert_string_equal((const char *)copy.data, "plant");
    assert_int_equal(copy.n_bytes, 5);
    slice_t empty = arena_copy(arena, slice_str(""));
    assert_non_null(empty.data);
    assert_int_equal(empty.n_bytes, 0);
    assert_null(arena_copy(arena, slice_none()).data);
    arena_destroy(&arena);
}

static void formatted_text_has_any_length(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    slice_t text = arena_format(arena, "%s/%d", "rev", 17);
    assert_true(slice_is(text, "rev/17"));
    slice_t wide = arena_format(arena, "%20000d", 5);
    assert_int_equal(wide.n_bytes, 20000);
    assert_int_equal(wide.data[19999], '5');
    assert_int_equal(wide.data[20000], '\0');
    assert_true(slice_is(arena_format(arena, "%s", ""), ""));
    arena_destroy(&arena);
}

static void a_buffer_holds_what_was_appended(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    for (int i = 0; i < 100000; i++)
        buf_append_byte(&buf, (uint8_t)i);
    buf_append_str(&buf, "text");
    buf_append_slice(&buf, slice_none());
    buf_append(&buf, NULL, 0);
    buf_format(&buf, "%05d|%s", 42, "x");
    assert_int_equal(buf.n_bytes, 100000 + 4 + 7);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], (uint8_t)i);
    assert_memory_equal(buf.data + 100000, "text00042|x", 11);
    buf_fini(&buf);
    assert_null(buf.data);
    assert_int_equal(buf_slice(&buf).n_bytes, 0);
}

static void reserved_room_is_there_and_not_yet_content(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    assert_non_null(buf_reserve(&buf, 0));
    buf_append_str(&buf, "abc");
    uint8_t *room = buf_reserve(&buf, 100000);
    memset(room, 'x', 100000);
    assert_int_equal(buf.n_bytes, 3);
    assert_true(slice_is(buf_slice(&buf), "abc"));
    assert_true(buf.capacity >= 100003);
    buf_fini(&buf);
}

static void an_emptied_buffer_keeps_its_memory(void **unused)
{
    (void)unused;
    buf_t buf = {0};
    buf_append_str(&buf, "something");
    const uint8_t *data = buf.data;
    buf_reset(&buf);
    assert_int_equal(buf.n_bytes, 0);
    buf_append_str(&buf, "else");
    assert_ptr_equal(buf.data, data);
    buf_fini(&buf);
    buf_fini(&buf);
}

static void every_error_has_code_status_and_title(void **unused)
{
    (void)unused;
    for (int err = ERR_OK; err < ERR_COUNT; err++) {
        assert_true(strlen(err_code((err_t)err)) > 0);
        assert_true(strlen(err_title((err_t)err)) > 0);
        assert_in_range(err_status((err_t)err), 200, 599);
        assert_int_equal(err_action((err_t)err) == ERR_DO_NOTHING, err == ERR_OK);
        bool may_retry = err_status((err_t)err) == 503 || err_status((err_t)err) == 429;
        assert_int_equal(err_action((err_t)err) == ERR_DO_RETRY, may_retry);
    }
    assert_string_equal(err_code(ERR_PRECONDITION_FAILED), "precondition_failed");
    assert_int_equal(err_status(ERR_PRECONDITION_FAILED), 412);
}

static void an_unknown_error_is_shown_as_a_bug(void **unused)
{
    (void)unused;
    assert_string_equal(err_code((err_t)999), "internal");
    assert_int_equal(err_action(ERR_COUNT), ERR_DO_FATAL);
}

static void a_problem_keeps_its_first_fields_and_its_error(void **unused)
{
    (void)unused;
    problem_t problem = {.err = ERR_OK};
    for (int i = 0; i < LIMIT_PROBLEM_FIELDS + 5; i++)
        problem_add_field(&problem, slice_str("/title"), slice_str("It is too long."));
    assert_int_equal(problem.err, ERR_INVALID);
    assert_int_equal(problem.n_fields, LIMIT_PROBLEM_FIELDS);
    assert_true(slice_is(problem.fields[15].pointer, "/title"));
    problem_t malformed = {.err = ERR_MALFORMED};
    problem_add_field(&malformed, slice_str(""), slice_str("It is not JSON."));
    assert_int_equal(malformed.err, ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(pieces_of_an_arena_do_not_overlap),
        cmocka_unit_test(a_large_piece_does_not_end_the_block_being_filled),
        cmocka_unit_test(a_reset_arena_keeps_one_moderate_block),
        cmocka_unit_test(a_reset_arena_does_not_keep_a_huge_block),
        cmocka_unit_test(no_arena_can_be_destroyed),
        cmocka_unit_test(a_copy_ends_in_nul_and_absence_stays_absence),
        cmocka_unit_test(formatted_text_has_any_length),
        cmocka_unit_test(a_buffer_holds_what_was_appended),
        cmocka_unit_test(reserved_room_is_there_and_not_yet_content),
        cmocka_unit_test(an_emptied_buffer_keeps_its_memory),
        cmocka_unit_test(every_error_has_code_status_and_title),
        cmocka_unit_test(an_unknown_error_is_shown_as_a_bug),
        cmocka_unit_test(a_problem_keeps_its_first_fields_and_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
