/* SPDX-License-Identifier: Apache-2.0 */
/* What is on its way to Kafka: positions move over what has arrived, never past what has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "bridge/progress.h"

static int setup(void **state)
{
    *state = progress_new();
    return 0;
}

static int teardown(void **state)
{
    progress_t *self = *state;
    progress_destroy(&self);
    return 0;
}

static void a_position_moves_over_the_contiguous_run_only(void **state)
{
    progress_t *self = *state;
    uint32_t a = progress_open(self, 3, 10, 100);
    uint32_t b = progress_open(self, 3, 12, 101);
    uint32_t c = progress_open(self, 3, 19, 102);
    progress_release(self, b);
    assert_int_equal(progress_position(self, 3), 0);
    assert_false(progress_has_moved(self));
    progress_release(self, a);
    assert_int_equal(progress_position(self, 3), 12);
    assert_int_equal(progress_take_moved(self), 1u << 3);
    progress_release(self, c);
    assert_int_equal(progress_position(self, 3), 19);
    assert_int_equal(progress_n(self), 0);
}

static void an_event_has_arrived_when_all_its_records_have(void **state)
{
    progress_t *self = *state;
    uint32_t a = progress_open(self, 0, 1, 1);
    progress_hold(self, a);
    progress_hold(self, a);
    progress_release(self, a);
    progress_release(self, a);
    assert_int_equal(progress_position(self, 0), 0);
    progress_release(self, a);
    assert_int_equal(progress_position(self, 0), 1);
}

static void shards_do_not_wait_for_each_other(void **state)
{
    progress_t *self = *state;
    uint32_t a = progress_open(self, 0, 5, 1);
    uint32_t b = progress_open(self, 63, 6, 2);
    progress_release(self, b);
    assert_int_equal(progress_position(self, 63), 6);
    assert_int_equal(progress_position(self, 0), 0);
    assert_int_equal(progress_oldest_us(self), 1);
    assert_int_equal(progress_id(self, a), 5);
    assert_int_equal(progress_shard(self, a), 0);
    progress_release(self, a);
    assert_int_equal(progress_oldest_us(self), 0);
}

static void what_was_not_saved_counts_as_moved_again(void **state)
{
    progress_t *self = *state;
    progress_release(self, progress_open(self, 7, 1, 1));
    shard_set_t moved = progress_take_moved(self);
    assert_false(progress_has_moved(self));
    progress_give_back(self, moved);
    assert_int_equal(progress_take_moved(self), (shard_set_t)1 << 7);
}

static void a_reset_forgets_and_begins_where_it_is_told(void **state)
{
    progress_t *self = *state;
    int64_t positions[N_SHARDS] = {[2] = 40};
    (void)progress_open(self, 2, 50, 1);
    progress_reset(self, positions);
    assert_int_equal(progress_n(self), 0);
    assert_int_equal(progress_position(self, 2), 40);
    progress_release(self, progress_open(self, 2, 50, 1));
    assert_int_equal(progress_position(self, 2), 50);
}

static void it_is_full_at_its_bound_and_has_room_again(void **state)
{
    progress_t *self = *state;
    uint32_t first = progress_open(self, 0, 1, 1);
    for (int64_t id = 2; id <= PROGRESS_MAX_EVENTS; id++)
        (void)progress_open(self, (unsigned)id % N_SHARDS, id, id);
    assert_false(progress_has_room(self));
    progress_release(self, first);
    assert_true(progress_has_room(self));
}

/* Against a model: all ids of each shard in order, and which have arrived. */
static void random_reports_agree_with_a_model(void **state)
{
    enum { N = 4000 };
    progress_t *self = *state;
    static uint32_t tickets[N];
    static unsigned shards[N];
    static int left[N];
    unsigned seed = getenv("TASKWIRE_SEED") != NULL
                        ? (unsigned)strtoul(getenv("TASKWIRE_SEED"), NULL, 10)
                        : (unsigned)(uintptr_t)&seed ^ (unsigned)(uintptr_t)self;
    printf("TASKWIRE_SEED=%u\n", seed);
    int n_open = 0;
    for (int step = 0; step < 6 * N; step++) {
        if (n_open < N && rand_r(&seed) % 3 == 0) {
            shards[n_open] = (unsigned)rand_r(&seed) % 5;
            tickets[n_open] = progress_open(self, shards[n_open], n_open + 1, n_open + 1);
            left[n_open] = 1 + rand_r(&seed) % 3;
            for (int i = 1; i < left[n_open]; i++)
                progress_hold(self, tickets[n_open]);
            n_open++;
        }
        int which = n_open > 0 ? rand_r(&seed) % n_open : 0;
        if (n_open > 0 && left[which] > 0) {
            left[which]--;
            progress_release(self, tickets[which]);
        }
        int64_t expected[5] = {0};
        bool is_stopped[5] = {false};
        for (int i = 0; i < n_open && step % 97 == 0; i++) {
            is_stopped[shards[i]] |= left[i] > 0;
            if (!is_stopped[shards[i]])
                expected[shards[i]] = i + 1;
        }
        for (unsigned shard = 0; shard < 5 && step % 97 == 0; shard++)
            assert_int_equal(progress_position(self, shard), expected[shard]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_position_moves_over_the_contiguous_run_only),
        TEST(an_event_has_arrived_when_all_its_records_have),
        TEST(shards_do_not_wait_for_each_other),
        TEST(what_was_not_saved_counts_as_moved_again),
        TEST(a_reset_forgets_and_begins_where_it_is_told),
        TEST(it_is_full_at_its_bound_and_has_room_again),
        TEST(random_reports_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
