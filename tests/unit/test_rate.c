/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: how many at once, how many a second, and what happens when there are many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>

#include "gateway/rate.h"

#define START_US INT64_C(5000000000)
#define SECOND_US INT64_C(1000000)

static const uint8_t *key_of(uint32_t i)
{
    static _Thread_local uint8_t key[RATE_KEY_BYTES];
    memcpy(key, &i, sizeof i);
    return key;
}

static int take_all(rate_t *rate, uint32_t key, int64_t now_us)
{
    int64_t retry_us;
    int n = 0;
    while (n < 100000 && rate_take(rate, key_of(key), now_us, &retry_us))
        n++;
    return n;
}

static void two_seconds_worth_may_come_at_once(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(50, 64);
    assert_int_equal(take_all(rate, 1, START_US), 100);
    assert_int_equal(take_all(rate, 1, START_US), 0);
    assert_int_equal(take_all(rate, 1, START_US + SECOND_US), 50);
    assert_int_equal(take_all(rate, 1, START_US + 100 * SECOND_US), 100);
    rate_destroy(&rate);
}

static void who_is_refused_is_told_when_and_then_served(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(10, 64);
    int64_t retry_us;
    take_all(rate, 1, START_US);
    assert_false(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_int_equal(retry_us, SECOND_US / 10);
    assert_false(rate_take(rate, key_of(1), START_US + retry_us - 1, &retry_us));
    assert_true(rate_take(rate, key_of(1), START_US + SECOND_US / 10, &retry_us));
    assert_int_equal(retry_us, 0);
    rate_destroy(&rate);
}

static void refused_tries_cost_nothing(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(1, 64);
    int64_t retry_us;
    take_all(rate, 1, START_US);
    for (int i = 0; i < 1000; i++)
        assert_false(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_true(rate_take(rate, key_of(1), START_US + SECOND_US, &retry_us));
    rate_destroy(&rate);
}

static void what_counts_as_many_takes_many(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(50, 64);
    int64_t retry_us;
    assert_true(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_true(rate_take_more(rate, key_of(1), 69, START_US, &retry_us));
    assert_true(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_false(rate_take_more(rate, key_of(1), 39, START_US, &retry_us));
    assert_int_equal(take_all(rate, 1, START_US), 29);
    rate_destroy(&rate);
}

static void who_comes_when_he_was_told_is_granted_all_of_it(void **unused)
{
    (void)unused;
    for (int64_t n_more = 1; n_more < 3000; n_more += 7) {
        rate_t *rate = rate_new(500, 64);
        int64_t retry_us;
        take_all(rate, 1, START_US);
        assert_true(rate_take(rate, key_of(1), START_US + SECOND_US / 100, &retry_us));
        assert_false(
            rate_take_more(rate, key_of(1), n_more + 4, START_US + SECOND_US / 100, &retry_us));
        int64_t then_us = START_US + SECOND_US / 100 + retry_us;
        assert_true(rate_take(rate, key_of(1), then_us, &retry_us));
        assert_true(rate_take_more(rate, key_of(1), n_more + 4, then_us, &retry_us));
        rate_destroy(&rate);
    }
}

static void more_than_a_burst_needs_a_full_one_and_is_paid_off_later(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(10, 64);
    int64_t retry_us;
    assert_true(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_true(rate_take_more(rate, key_of(1), 999, START_US, &retry_us));
    assert_false(rate_take(rate, key_of(1), START_US, &retry_us));
    assert_int_equal(retry_us, 98 * SECOND_US + SECOND_US / 10);
    assert_false(rate_take(rate, key_of(1), START_US + retry_us - 1, &retry_us));
    assert_int_equal(take_all(rate, 1, START_US + 99 * SECOND_US), 10);
    rate_destroy(&rate);
}

static void keys_do_not_share(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(5, 4096);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(take_all(rate, i, START_US), 10);
    rate_destroy(&rate);
}

static void zero_is_no_limit(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(0, 64);
    assert_int_equal(take_all(rate, 1, START_US), 100000);
    rate_destroy(&rate);
}

static void one_a_second_over_a_long_time_is_never_refused(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(1, 64);
    int64_t retry_us;
    for (int64_t i = 0; i < 100000; i++)
        assert_true(rate_take(rate, key_of(1), START_US + i * SECOND_US, &retry_us));
    rate_destroy(&rate);
}

/* With more keys than places the limit becomes milder, and nobody is refused for another's sake. */
static void too_many_keys_harm_nobody(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(1, 16);
    int64_t retry_us;
    for (uint32_t i = 0; i < 10000; i++)
        assert_true(rate_take(rate, key_of(i), START_US, &retry_us));
    rate_destroy(&rate);
}

typedef struct {
    rate_t *rate;
    int n_taken;
} taker_t;

static void *take_in_thread(void *arg)
{
    taker_t *taker = arg;
    taker->n_taken = take_all(taker->rate, 1, START_US);
    return NULL;
}

static void threads_take_from_one_bucket(void **unused)
{
    (void)unused;
    rate_t *rate = rate_new(10000, 64);
    taker_t takers[4];
    pthread_t threads[4];
    int n_taken = 0;
    for (int i = 0; i < 4; i++) {
        takers[i] = (taker_t){.rate = rate};
        assert_int_equal(pthread_create(&threads[i], NULL, take_in_thread, &takers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        n_taken += takers[i].n_taken;
    }
    assert_int_equal(n_taken, 20000);
    rate_destroy(&rate);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_take_from_one_bucket),
        cmocka_unit_test(two_seconds_worth_may_come_at_once),
        cmocka_unit_test(who_is_refused_is_told_when_and_then_served),
        cmocka_unit_test(refused_tries_cost_nothing),
        cmocka_unit_test(what_counts_as_many_takes_many),
        cmocka_unit_test(who_comes_when_he_was_told_is_granted_all_of_it),
        cmocka_unit_test(more_than_a_burst_needs_a_full_one_and_is_paid_off_later),
        cmocka_unit_test(keys_do_not_share),
        cmocka_unit_test(zero_is_no_limit),
        cmocka_unit_test(one_a_second_over_a_long_time_is_never_refused),
        cmocka_unit_test(too_many_keys_harm_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
