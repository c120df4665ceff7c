/* SPDX-License-Identifier: Apache-2.0 */
/* Order keys: what is appended is larger and stays short, whatever key a client put last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "schema/limits.h"
#include "schema/position.h"

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void assert_after(arena_t *arena, const char *tail, const char *expected)
{
    slice_t key = position_after(slice_str(tail), arena);
    if (!slice_is(key, expected))
        fail_msg("behind %s: %.*s", tail, (int)key.n_bytes, (const char *)key.data);
}

static void a_key_is_letters_and_digits(void **unused)
{
    (void)unused;
    char key[LIMIT_POSITION_CHARS + 1];
    memset(key, 'z', sizeof key);
    assert_true(position_is_valid(slice_str("a0")));
    assert_true(position_is_valid(slice_str("Z9x")));
    assert_true(position_is_valid(slice_of(key, LIMIT_POSITION_CHARS)));
    assert_false(position_is_valid(slice_of(key, LIMIT_POSITION_CHARS + 1)));
    assert_false(position_is_valid(slice_none()));
    assert_false(position_is_valid(slice_str("")));
    assert_false(position_is_valid(slice_str("a-0")));
    assert_false(position_is_valid(slice_str("a0 ")));
    assert_false(position_is_valid(slice_of("a\0", 2)));
    assert_false(position_is_valid(slice_str("\xc3\xa9")));
}

static void keys_count_up(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    assert_after(arena, "", "a0");
    assert_after(arena, "a0", "a1");
    assert_after(arena, "a9", "aA");
    assert_after(arena, "aZ", "aa");
    assert_after(arena, "az", "b00");
    assert_after(arena, "bzz", "c000");
    assert_after(arena, "a0V", "a1");
    assert_after(arena, "c1", "c101");
    assert_after(arena, "Zz", "a0");
    assert_after(arena, "5", "a0");
    assert_after(arena, "zzzzzzzzzzzzzzzzzzzzzzzzzzz", "zzzzzzzzzzzzzzzzzzzzzzzzzzza0");
    arena_destroy(&arena);
}

static void appended_keys_stay_in_order_and_short(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    uint8_t tail[LIMIT_POSITION_CHARS];
    size_t n_chars = 0;
    for (int i = 0; i < 100000; i++) {
        slice_t key = position_after(slice_of(tail, n_chars), arena);
        assert_true(position_is_valid(key));
        assert_true(slice_cmp(key, slice_of(tail, n_chars)) > 0);
        assert_true(key.n_bytes <= 4);
        n_chars = key.n_bytes;
        memcpy(tail, key.data, n_chars);
        if (i % 1000 == 0)
            arena_reset(arena);
    }
    arena_destroy(&arena);
}

/* Mostly high characters, so that carries and full keys are met. */
static size_t random_key(uint8_t key[LIMIT_POSITION_CHARS])
{
    size_t n_chars = 1 + (size_t)(random() % LIMIT_POSITION_CHARS);
    int high = (int)(random() % 4);
    for (size_t i = 0; i < n_chars; i++)
        key[i] = random() % 4 < high ? 'z' : (uint8_t)letters[random() % 62];
    return n_chars;
}

static bool is_highest(slice_t key)
{
    for (size_t i = 0; i < key.n_bytes; i++) {
        if (key.data[i] != 'z')
            return false;
    }
    return key.n_bytes == LIMIT_POSITION_CHARS;
}

static void behind_any_key_there_is_a_larger_one_where_there_is_room(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    arena_t *arena = arena_new();
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[LIMIT_POSITION_CHARS];
        slice_t tail = slice_of(bytes, random_key(bytes));
        for (int step = 0; step < 3; step++) {
            slice_t key = position_after(tail, arena);
            assert_int_equal(key.data == NULL, is_highest(tail));
            if (key.data == NULL)
                break;
            assert_true(position_is_valid(key));
            assert_true(slice_cmp(key, tail) > 0);
            tail = key;
        }
        arena_reset(arena);
    }
    arena_destroy(&arena);
}

static void keys_of_highest_characters_leave_room_to_the_last(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    char key[LIMIT_POSITION_CHARS];
    memset(key, 'z', sizeof key);
    for (size_t n_chars = 1; n_chars < LIMIT_POSITION_CHARS; n_chars++) {
        slice_t tail = slice_of(key, n_chars);
        slice_t after = position_after(tail, arena);
        assert_true(position_is_valid(after));
        assert_true(slice_cmp(after, tail) > 0);
    }
    assert_null(position_after(slice_of(key, sizeof key), arena).data);
    key[sizeof key - 1] = 'y';
    slice_t last = position_after(slice_of(key, sizeof key), arena);
    assert_true(is_highest(last));
    arena_destroy(&arena);
}

static void behind_no_key_there_is_none(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    assert_null(position_after(slice_str("a-"), arena).data);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_letters_and_digits),
        cmocka_unit_test(keys_count_up),
        cmocka_unit_test(appended_keys_stay_in_order_and_short),
        cmocka_unit_test(behind_any_key_there_is_a_larger_one_where_there_is_room),
        cmocka_unit_test(keys_of_highest_characters_leave_room_to_the_last),
        cmocka_unit_test(behind_no_key_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
