/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's ledger: positions never pass what a consumer has not acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "bridge/ledger.h"

static void open_batch(ledger_t *ledger, uint64_t seq, unsigned shard, int64_t last)
{
    ledger_add(ledger, ledger_open(ledger, seq), shard, last, 1000 + last);
}

static void a_position_moves_when_its_batch_is_acknowledged(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 2);
    open_batch(&ledger, 1, 5, 10);
    assert_true(ledger_acknowledge(&ledger, 0, 1));
    assert_int_equal(ledger.positions[0][5], 10);
    assert_int_equal(ledger.positions[1][5], 0);
    assert_true(ledger.dirty[0] == (shard_set_t)1 << 5);
    assert_int_equal(ledger.dirty[1], 0);
}

static void a_position_waits_for_the_batches_before(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 1);
    open_batch(&ledger, 1, 5, 10);
    open_batch(&ledger, 2, 5, 20);
    open_batch(&ledger, 3, 6, 30);
    assert_true(ledger_acknowledge(&ledger, 0, 3));
    assert_true(ledger_acknowledge(&ledger, 0, 2));
    assert_int_equal(ledger.positions[0][5], 0);
    assert_int_equal(ledger.positions[0][6], 0);
    assert_true(ledger_acknowledge(&ledger, 0, 1));
    assert_int_equal(ledger.positions[0][5], 20);
    assert_int_equal(ledger.positions[0][6], 30);
}

static void a_batch_stays_until_everybody_has_it(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 2);
    for (uint64_t seq = 1; seq <= LEDGER_MAX_BATCHES; seq++)
        open_batch(&ledger, seq, 1, (int64_t)seq);
    assert_false(ledger_has_room(&ledger));
    assert_true(ledger_acknowledge(&ledger, 0, 1));
    assert_false(ledger_has_room(&ledger));
    assert_int_equal(ledger_oldest_us(&ledger), 1001);
    assert_true(ledger_acknowledge(&ledger, 1, 1));
    assert_true(ledger_has_room(&ledger));
    assert_int_equal(ledger_oldest_us(&ledger), 1002);
}

static void an_acknowledgement_of_another_term_counts_for_nothing(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 1);
    open_batch(&ledger, (uint64_t)2 << 32 | 1, 1, 7);
    assert_false(ledger_acknowledge(&ledger, 0, (uint64_t)1 << 32 | 1));
    assert_false(ledger_acknowledge(&ledger, 3, (uint64_t)2 << 32 | 1));
    assert_int_equal(ledger.positions[0][1], 0);
}

/* Whatever the order of acknowledgements: a position is never beyond an event that is not
 * acknowledged. */
static void positions_are_never_ahead_in_any_order(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < 2000; round++) {
        ledger_t ledger;
        bool has_acked[LEDGER_MAX_BATCHES + 1] = {false};
        ledger_init(&ledger, 1);
        for (uint64_t seq = 1; seq <= LEDGER_MAX_BATCHES; seq++)
            open_batch(&ledger, seq, 0, (int64_t)seq);
        for (int i = 0; i < 40; i++) {
            uint64_t seq = 1 + (uint64_t)random() % LEDGER_MAX_BATCHES;
            (void)ledger_acknowledge(&ledger, 0, seq);
            has_acked[seq] = true;
            int64_t prefix = 0;
            while (prefix < LEDGER_MAX_BATCHES && has_acked[prefix + 1])
                prefix++;
            assert_int_equal(ledger.positions[0][0], prefix);
        }
    }
}

static void what_is_handed_out_begins_where_the_last_consumer_is(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 3);
    ledger.positions[0][4] = 30;
    ledger.positions[1][4] = 10;
    ledger.positions[2][4] = 20;
    ledger_own(&ledger, (shard_set_t)1 << 4);
    assert_int_equal(ledger.handed[4], 10);
    assert_int_equal(ledger_place(&ledger, 4, 10, 5), LEDGER_DUPLICATE);
    assert_int_equal(ledger_place(&ledger, 4, 15, 10), LEDGER_NEXT);
    assert_int_equal(ledger_place(&ledger, 4, 15, 0), LEDGER_NEXT);
    assert_int_equal(ledger_place(&ledger, 4, 15, 11), LEDGER_GAP);
    assert_int_equal(ledger_place(&ledger, 5, 1, 0), LEDGER_FOREIGN);
}

static void what_is_under_way_is_a_duplicate(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 1);
    ledger_own(&ledger, SHARDS_ALL);
    open_batch(&ledger, 1, 5, 10);
    assert_int_equal(ledger_place(&ledger, 5, 10, 9), LEDGER_DUPLICATE);
    assert_int_equal(ledger_place(&ledger, 5, 12, 10), LEDGER_NEXT);
    assert_int_equal(ledger_place(&ledger, 5, 12, 11), LEDGER_GAP);
    assert_int_equal(ledger.positions[0][5], 0);
}

static void done_is_the_last_batch_of_which_nothing_before_is_missing(void **state)
{
    (void)state;
    ledger_t ledger;
    ledger_init(&ledger, 2);
    for (uint64_t seq = 7; seq <= 9; seq++)
        open_batch(&ledger, seq, 1, (int64_t)seq);
    for (unsigned consumer = 0; consumer < 2; consumer++)
        assert_true(ledger_acknowledge(&ledger, consumer, 8));
    assert_int_equal(ledger.done, 0);
    assert_true(ledger_acknowledge(&ledger, 0, 7));
    assert_int_equal(ledger.done, 0);
    assert_true(ledger_acknowledge(&ledger, 1, 7));
    assert_int_equal(ledger.done, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_moves_when_its_batch_is_acknowledged),
        cmocka_unit_test(a_position_waits_for_the_batches_before),
        cmocka_unit_test(a_batch_stays_until_everybody_has_it),
        cmocka_unit_test(an_acknowledgement_of_another_term_counts_for_nothing),
        cmocka_unit_test(positions_are_never_ahead_in_any_order),
        cmocka_unit_test(what_is_handed_out_begins_where_the_last_consumer_is),
        cmocka_unit_test(what_is_under_way_is_a_duplicate),
        cmocka_unit_test(done_is_the_last_batch_of_which_nothing_before_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
