/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors of pages: what we made comes back, and nothing else is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/page_token.h"

static const uint8_t key[PAGE_TOKEN_KEY_BYTES] = "a key of thirty-two bytes, or so";

static slice_t encode(arena_t *arena, const char *purpose, const char *place)
{
    return page_token_encode(key, slice_str(purpose), slice_str(place), arena);
}

static void a_place_comes_back_for_its_purpose(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    slice_t place;
    slice_t token = encode(arena, "tasks due", "somewhere");
    assert_true(page_token_decode(key, slice_str("tasks due"), token, arena, &place));
    assert_true(slice_is(place, "somewhere"));
    token = encode(arena, "tasks due", "");
    assert_true(page_token_decode(key, slice_str("tasks due"), token, arena, &place));
    assert_int_equal(place.n_bytes, 0);
    arena_destroy(&arena);
}

static void a_token_is_good_for_one_purpose_and_one_key(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    slice_t place;
    uint8_t other[PAGE_TOKEN_KEY_BYTES] = {1};
    slice_t token = encode(arena, "ab", "c");
    assert_false(page_token_decode(key, slice_str("a"), token, arena, &place));
    assert_false(page_token_decode(key, slice_str("abc"), token, arena, &place));
    assert_false(page_token_decode(key, slice_str(""), token, arena, &place));
    assert_false(page_token_decode(other, slice_str("ab"), token, arena, &place));
    arena_destroy(&arena);
}

static void one_changed_character_is_noticed(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    slice_t place;
    slice_t token = encode(arena, "p", "a place of some length");
    for (size_t i = 0; i < token.n_bytes; i++) {
        uint8_t *copy = (uint8_t *)(uintptr_t)arena_copy(arena, token).data;
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_false(
            page_token_decode(key, slice_str("p"), slice_of(copy, token.n_bytes), arena, &place));
    }
    for (size_t n = 0; n < token.n_bytes; n++)
        assert_false(
            page_token_decode(key, slice_str("p"), slice_of(token.data, n), arena, &place));
    arena_destroy(&arena);
}

static void what_was_never_a_token_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {"", "a", "====", "!!!!", "AAAA", "AA AA", "\xff\xff"};
    arena_t *arena = arena_new();
    slice_t place;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(page_token_decode(key, slice_str("p"), slice_str(wrong[i]), arena, &place));
    char *large = arena_alloc(arena, 1000000);
    memset(large, 'A', 1000000);
    assert_false(page_token_decode(key, slice_str("p"), slice_of(large, 1000000), arena, &place));
    arena_destroy(&arena);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_comes_back_for_its_purpose),
        cmocka_unit_test(a_token_is_good_for_one_purpose_and_one_key),
        cmocka_unit_test(one_changed_character_is_noticed),
        cmocka_unit_test(what_was_never_a_token_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
