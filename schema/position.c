/* SPDX-License-Identifier: Apache-2.0 */
/* A key behind the last one is made by counting. A key begins with an integer whose first letter
 * says how many digits follow ('a': one, 'b': two, … 'z': 26), so that counting up from "a0" keeps
 * the order of bytes and needs O(log n) characters. Keys that clients made up need not have that
 * form; behind them the smallest change that is sure to be larger is looked for. Behind the highest
 * integer a second one begins, and where the 64 characters leave no room for it the key is counted
 * up as one long number. */
#include "schema/position.h"

#include "schema/limits.h"

#define LONGEST_INTEGER ((size_t)27) /* 'z' and 26 digits */
#define FIRST "a0"
#define FIRST_CHARS ((size_t)2)

static bool is_key_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool position_is_valid(slice_t key)
{
    if (key.n_bytes == 0 || key.n_bytes > LIMIT_POSITION_CHARS)
        return false;
    for (size_t i = 0; i < key.n_bytes; i++) {
        if (!is_key_char(key.data[i]))
            return false;
    }
    return true;
}

/* Counts the digits at `at` up by one. False if they were the highest; they are all '0' then. */
static bool count_up(uint8_t *at, size_t n_digits)
{
    while (n_digits > 0) {
        uint8_t *digit = &at[--n_digits];
        if (*digit != 'z') {
            *digit = *digit == '9' ? 'A' : *digit == 'Z' ? 'a' : (uint8_t)(*digit + 1);
            return true;
        }
        *digit = '0';
    }
    return false;
}

/* Where the last integer of the key begins: behind those that are the highest. */
static size_t last_integer(slice_t tail)
{
    static const uint8_t highest[] = "zzzzzzzzzzzzzzzzzzzzzzzzzzz";
    size_t start = 0;
    while (tail.n_bytes - start >= LONGEST_INTEGER &&
           start + LONGEST_INTEGER + FIRST_CHARS <= LIMIT_POSITION_CHARS &&
           memcmp(tail.data + start, highest, LONGEST_INTEGER) == 0)
        start += LONGEST_INTEGER;
    return start;
}

/* Counts up the integer at `start`; what followed it is dropped. `key` holds the tail, filled up
 * with '0'. Returns the length of the key, 0 if there is no room. */
static size_t next_integer(uint8_t key[LIMIT_POSITION_CHARS], size_t start)
{
    uint8_t head = key[start];
    if (head < 'a') {
        memcpy(key + start, FIRST, FIRST_CHARS);
        return start + FIRST_CHARS;
    }
    size_t n_digits = (size_t)(head - 'a') + 1;
    size_t end = start + 1 + n_digits;
    if (end > LIMIT_POSITION_CHARS)
        return 0;
    uint8_t digits[LIMIT_POSITION_CHARS];
    memcpy(digits, key + start + 1, n_digits);
    bool is_wider = !count_up(digits, n_digits);
    if (is_wider && (head == 'z' || end == LIMIT_POSITION_CHARS))
        return 0;
    memcpy(key + start + 1, digits, n_digits);
    if (!is_wider)
        return end;
    key[start]++;
    key[end] = '0';
    return end + 1;
}

slice_t position_after(slice_t tail, arena_t *arena)
{
    if (tail.n_bytes > 0 && !position_is_valid(tail))
        return slice_none();
    uint8_t key[LIMIT_POSITION_CHARS];
    memset(key, '0', sizeof key);
    if (tail.n_bytes > 0)
        memcpy(key, tail.data, tail.n_bytes);
    size_t n_chars = next_integer(key, last_integer(tail));
    if (n_chars == 0 && count_up(key, sizeof key))
        n_chars = sizeof key;
    return n_chars == 0 ? slice_none() : arena_copy(arena, slice_of(key, n_chars));
}
