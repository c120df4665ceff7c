/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines: never early, never late, and gone when they are cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "actors/wheel.h"

#define S INT64_C(1000000)
#define TICK_US INT64_C(1000)
#define N_TIMERS 500

typedef struct {
    wheel_timer_t timer;
    int64_t fired_us; /* 0: not yet */
} deadline_t;

static wheel_t *wheel;
static int64_t now_us;
static deadline_t all[N_TIMERS];

static int start(void **unused)
{
    (void)unused;
    now_us = 1000 * S + 12345;
    wheel = wheel_new(now_us, TICK_US, &wheel);
    return 0;
}

static int stop(void **unused)
{
    (void)unused;
    wheel_destroy(&wheel);
    return 0;
}

static void note(wheel_timer_t *timer, void *arg)
{
    assert_ptr_equal(arg, &wheel);
    ((deadline_t *)timer)->fired_us = now_us;
}

static void turn_to(int64_t to_us)
{
    now_us = to_us;
    wheel_turn(wheel, now_us);
}

static void a_deadline_fires_once_and_not_early(void **unused)
{
    (void)unused;
    int64_t due_us = now_us + 5 * S;
    deadline_t one = {.timer.fire = note};
    wheel_set(wheel, &one.timer, due_us);
    assert_int_equal(wheel_count(wheel), 1);
    turn_to(due_us - 1);
    assert_int_equal(one.fired_us, 0);
    turn_to(due_us);
    assert_int_equal(one.fired_us, due_us);
    assert_int_equal(wheel_count(wheel), 0);
    one.fired_us = 0;
    turn_to(due_us + 1000 * S);
    assert_int_equal(one.fired_us, 0);
}

static void a_deadline_that_has_passed_fires_at_the_next_turn(void **unused)
{
    (void)unused;
    deadline_t one = {.timer.fire = note};
    wheel_set(wheel, &one.timer, now_us - 5 * S);
    assert_true(wheel_next_us(wheel) <= now_us);
    turn_to(now_us);
    assert_int_equal(one.fired_us, now_us);
}

static void a_deadline_can_be_moved_and_cancelled(void **unused)
{
    (void)unused;
    deadline_t one = {.timer.fire = note};
    int64_t start_us = now_us;
    wheel_cancel(wheel, &one.timer);
    wheel_set(wheel, &one.timer, start_us + S);
    wheel_set(wheel, &one.timer, start_us + 3 * S);
    assert_int_equal(wheel_count(wheel), 1);
    turn_to(start_us + 2 * S);
    assert_int_equal(one.fired_us, 0);
    wheel_cancel(wheel, &one.timer);
    wheel_cancel(wheel, &one.timer);
    assert_int_equal(wheel_count(wheel), 0);
    turn_to(start_us + 10 * S);
    assert_int_equal(one.fired_us, 0);
}

static void far_deadlines_and_long_sleeps_are_right_too(void **unused)
{
    (void)unused;
    int64_t start_us = now_us;
    deadline_t near = {.timer.fire = note};
    deadline_t far = {.timer.fire = note};
    wheel_set(wheel, &near.timer, start_us + S);
    wheel_set(wheel, &far.timer, start_us + 3600 * S);
    turn_to(start_us + 3000 * S);
    assert_int_equal(near.fired_us, now_us);
    assert_int_equal(far.fired_us, 0);
    for (int64_t to_us = now_us; to_us < start_us + 3600 * S; to_us += 7 * S)
        turn_to(to_us);
    assert_int_equal(far.fired_us, 0);
    turn_to(start_us + 3600 * S - 1);
    assert_int_equal(far.fired_us, 0);
    turn_to(start_us + 3600 * S);
    assert_int_equal(far.fired_us, now_us);
}

/* From one deadline to the next, as a sleeper would. */
static void every_distance_is_slept_through_in_few_steps(void **unused)
{
    (void)unused;
    static const int64_t distances[] = {1,
                                        999,
                                        1000,
                                        63999,
                                        64000,
                                        64 * 64000,
                                        3600 * S,
                                        86400 * S,
                                        366 * 86400 * S,
                                        INT64_C(250000000000000),
                                        INT64_MAX / 2};
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
        deadline_t one = {.timer.fire = note};
        int64_t due_us = now_us + distances[i];
        int n_steps = 0;
        wheel_set(wheel, &one.timer, due_us);
        for (; one.fired_us == 0; n_steps++) {
            int64_t next_us = wheel_next_us(wheel);
            assert_true(next_us <= due_us);
            assert_true(n_steps < 16);
            turn_to(next_us > now_us ? next_us : now_us);
        }
        assert_int_equal(one.fired_us, due_us);
        assert_true(wheel_next_us(wheel) == INT64_MAX);
        now_us = 1000 * S + 12345;
        wheel_destroy(&wheel);
        wheel = wheel_new(now_us, TICK_US, &wheel);
    }
}

/* Before 1970 too, and over it. */
static void instants_may_be_negative(void **unused)
{
    (void)unused;
    wheel_destroy(&wheel);
    wheel = wheel_new(-5 * S - 1, TICK_US, &wheel);
    deadline_t before = {.timer.fire = note};
    deadline_t after = {.timer.fire = note};
    wheel_set(wheel, &before.timer, -S);
    wheel_set(wheel, &after.timer, S);
    turn_to(-S - 1);
    assert_int_equal(before.fired_us, 0);
    turn_to(-S);
    assert_int_equal(before.fired_us, -S);
    assert_int_equal(after.fired_us, 0);
    turn_to(S);
    assert_int_equal(after.fired_us, S);
}

static void after_a_clock_was_set_back_nothing_is_early(void **unused)
{
    (void)unused;
    int64_t start_us = now_us;
    deadline_t one = {.timer.fire = note};
    turn_to(start_us + 3600 * S);
    turn_to(start_us);
    wheel_set(wheel, &one.timer, start_us + 10 * S);
    assert_true(wheel_next_us(wheel) == start_us + 10 * S);
    turn_to(start_us + 10 * S - 1);
    assert_int_equal(one.fired_us, 0);
    turn_to(start_us + 10 * S);
    assert_int_equal(one.fired_us, now_us);
}

/* The first of two that are due together cancels the second and sets itself again. */
static void cancel_the_other(wheel_timer_t *timer, void *arg)
{
    note(timer, arg);
    wheel_cancel(wheel, &all[1].timer);
    wheel_set(wheel, timer, now_us);
}

static void firing_may_set_and_cancel(void **unused)
{
    (void)unused;
    all[0] = (deadline_t){.timer.fire = cancel_the_other};
    all[1] = (deadline_t){.timer.fire = note};
    wheel_set(wheel, &all[0].timer, now_us + S);
    wheel_set(wheel, &all[1].timer, now_us + S);
    turn_to(now_us + 2 * S);
    assert_int_equal(all[0].fired_us, now_us);
    assert_int_equal(all[1].fired_us, 0);
    assert_true(wheel_count(wheel) <= 1);
    wheel_cancel(wheel, &all[0].timer);
}

static int64_t wide_random(void)
{
    return (int64_t)random() << 31 | random();
}

/* What is set is not due, what is due is not set: against a list of all. */
static void random_deadlines_fire_at_their_instant(void **unused)
{
    (void)unused;
    static const int64_t spans[] = {TICK_US, 100 * TICK_US, 200 * S, 86400 * S, 366 * 86400 * S};
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < N_TIMERS; i++)
        all[i] = (deadline_t){.timer.fire = note};
    for (int round = 0; round < 20000; round++) {
        deadline_t *one = &all[random() % N_TIMERS];
        int64_t before_us = now_us;
        if (random() % 4 == 0) {
            wheel_cancel(wheel, &one->timer);
        } else {
            one->fired_us = 0;
            wheel_set(wheel, &one->timer, now_us + wide_random() % spans[random() % 5]);
        }
        int64_t next_us = wheel_next_us(wheel);
        turn_to(now_us + wide_random() % spans[random() % 3] * (random() % 100 == 0 ? 10000 : 1));
        size_t n_set = 0;
        for (int i = 0; i < N_TIMERS; i++) {
            bool is_set = all[i].timer.next != NULL;
            n_set += is_set;
            assert_false(is_set && all[i].timer.due_us <= now_us);
            if (!is_set && all[i].fired_us > before_us)
                assert_true(all[i].timer.due_us <= now_us && all[i].timer.due_us >= next_us);
        }
        assert_int_equal(wheel_count(wheel), n_set);
    }
    for (int i = 0; i < N_TIMERS; i++)
        wheel_cancel(wheel, &all[i].timer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_deadline_fires_once_and_not_early),
        TEST(a_deadline_that_has_passed_fires_at_the_next_turn),
        TEST(a_deadline_can_be_moved_and_cancelled),
        TEST(far_deadlines_and_long_sleeps_are_right_too),
        TEST(firing_may_set_and_cancel),
        TEST(every_distance_is_slept_through_in_few_steps),
        TEST(instants_may_be_negative),
        TEST(after_a_clock_was_set_back_nothing_is_early),
        TEST(random_deadlines_fire_at_their_instant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
