/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of a partition's offsets: what is stored never passes what something still rests on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bridge/offsets.h"

static ticket_t batch(uint64_t n)
{
    return (ticket_t){.batch = n};
}

static ticket_t letter(uint64_t n)
{
    return (ticket_t){.letter = n};
}

static void an_offset_moves_when_its_batch_is_done(void **state)
{
    (void)state;
    offsets_t offsets = {0};
    offsets_take(&offsets, 7, batch(1));
    offsets_take(&offsets, 8, batch(1));
    offsets_take(&offsets, 9, batch(2));
    assert_false(offsets_settle(&offsets, batch(0)));
    assert_true(offsets_is_waiting(&offsets));
    assert_true(offsets_settle(&offsets, batch(1)));
    assert_int_equal(offsets.done, 9);
    assert_false(offsets_settle(&offsets, batch(1)));
    assert_true(offsets_settle(&offsets, batch(5)));
    assert_int_equal(offsets.done, 10);
    assert_false(offsets_is_waiting(&offsets));
}

static void what_rests_on_nothing_waits_for_what_is_before_it(void **state)
{
    (void)state;
    offsets_t offsets = {0};
    offsets_take(&offsets, 1, batch(0));
    assert_true(offsets_settle(&offsets, batch(0)));
    assert_int_equal(offsets.done, 2);
    offsets_take(&offsets, 2, batch(3));
    offsets_take(&offsets, 3, batch(0));
    assert_false(offsets_settle(&offsets, batch(2)));
    assert_true(offsets_settle(&offsets, batch(3)));
    assert_int_equal(offsets.done, 4);
}

static void a_dead_letter_holds_up_what_is_behind_it(void **state)
{
    (void)state;
    offsets_t offsets = {0};
    offsets_take(&offsets, 1, batch(1));
    offsets_take(&offsets, 2, letter(1));
    offsets_take(&offsets, 3, batch(2));
    assert_true(offsets_settle(&offsets, batch(2)));
    assert_int_equal(offsets.done, 2);
    assert_true(offsets_settle(&offsets, (ticket_t){2, 1}));
    assert_int_equal(offsets.done, 4);
}

static void batches_that_are_void_hold_up_nothing_but_letters_do(void **state)
{
    (void)state;
    offsets_t offsets = {0};
    offsets_take(&offsets, 1, batch(1));
    offsets_take(&offsets, 2, letter(1));
    offsets_take(&offsets, 3, batch(2));
    offsets_void(&offsets);
    assert_true(offsets_settle(&offsets, batch(0)));
    assert_int_equal(offsets.done, 2);
    assert_true(offsets_settle(&offsets, letter(1)));
    assert_int_equal(offsets.done, 4);
}

/* More marks than there is room for become one: done later, never earlier. */
static void no_offset_is_ever_passed_that_is_not_done(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < 200; round++) {
        enum { N = 3 * OFFSETS_MAX_MARKS };
        offsets_t offsets = {0};
        ticket_t of[N], newest = {0, 0}, done = {0, 0};
        for (int i = 0; i < N; i++) {
            newest.batch += random() % 3 == 0;
            bool is_letter = random() % 4 == 0;
            newest.letter += is_letter;
            of[i] = is_letter ? letter(newest.letter) : batch(random() % 5 == 0 ? 0 : newest.batch);
            offsets_take(&offsets, i, of[i]);
            if (random() % 3 == 0 && done.batch < newest.batch)
                done.batch++;
            if (random() % 5 == 0 && done.letter < newest.letter)
                done.letter++;
            (void)offsets_settle(&offsets, done);
            for (int j = 0; j < offsets.done; j++)
                assert_true(of[j].batch <= done.batch && of[j].letter <= done.letter);
        }
        (void)offsets_settle(&offsets, newest);
        assert_int_equal(offsets.done, N);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offset_moves_when_its_batch_is_done),
        cmocka_unit_test(what_rests_on_nothing_waits_for_what_is_before_it),
        cmocka_unit_test(a_dead_letter_holds_up_what_is_behind_it),
        cmocka_unit_test(batches_that_are_void_hold_up_nothing_but_letters_do),
        cmocka_unit_test(no_offset_is_ever_passed_that_is_not_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
