/* SPDX-License-Identifier: Apache-2.0 */
/* What wakes the reminders. Nobody sets the machine's clock for a test: what the kernel says when
 * it is set comes from in here (read and timerfd_settime are wrapped), the rest from the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "actors/wall_timer.h"

ssize_t __real_read(int fd, void *out, size_t n);
ssize_t __wrap_read(int fd, void *out, size_t n);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *was);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *was);

static bool is_set; /* the clock, since the timer was */
static int flags_seen;
static int watched_fd;
static void (*watched)(void *arg, short events, now_t now);
static void *watched_arg;

ssize_t __wrap_read(int fd, void *out, size_t n)
{
    if (fd != watched_fd || !is_set)
        return __real_read(fd, out, n);
    is_set = false;
    errno = ECANCELED;
    return -1;
}

/* The kernel sets the timer even when it says so. */
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *was)
{
    flags_seen = flags;
    int done = __real_timerfd_settime(fd, flags, at, was);
    if (!is_set)
        return done;
    is_set = false;
    errno = ECANCELED;
    return -1;
}

/* Instead of the actor's. */
void actor_watch(actor_t *self, int fd, short events,
                 void (*on_ready)(void *arg, short events, now_t now), void *arg)
{
    (void)self;
    watched_fd = events == 0 ? -1 : fd;
    watched = on_ready;
    watched_arg = arg;
}

static int set_up(void **state)
{
    is_set = false;
    *state = wall_timer_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    wall_timer_t *timer = *state;
    wall_timer_destroy(&timer);
    return watched_fd == -1 ? 0 : -1;
}

static void wake(now_t now)
{
    watched(watched_arg, POLLIN, now);
}

static bool goes_off(int within_ms)
{
    struct pollfd fd = {.fd = watched_fd, .events = POLLIN};
    return poll(&fd, 1, within_ms) == 1;
}

static now_t at(int64_t wall_us, int64_t mono_us)
{
    return (now_t){.wall_us = wall_us, .mono_us = mono_us};
}

static void goes_off_at_its_instant_and_not_before(void **state)
{
    wall_timer_t *timer = *state;
    int64_t at_us = clock_now().wall_us + 30000;
    wall_timer_set(timer, at_us);
    assert_true(flags_seen & TFD_TIMER_ABSTIME);
    assert_true(flags_seen & TFD_TIMER_CANCEL_ON_SET);
    assert_true(goes_off(20000));
    now_t now = clock_now();
    assert_true(now.wall_us >= at_us);
    wake(now);
    assert_false(goes_off(0));
}

/* Each goes off once; the same instant may be set again afterwards. */
static void what_is_past_goes_off_at_once(void **state)
{
    static const int64_t past[] = {1, 1, 0, -5, INT64_MIN};
    wall_timer_t *timer = *state;
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        wall_timer_set(timer, past[i]);
        assert_true(goes_off(20000));
        wake(clock_now());
    }
}

static void the_kernel_tells_that_the_clock_was_set(void **state)
{
    wall_timer_t *timer = *state;
    now_t now = at(1000, 1000);
    assert_false(wall_timer_has_jumped(timer, now));
    wall_timer_set(timer, clock_now().wall_us + INT64_C(86400000000));
    is_set = true;
    wake(now);
    assert_true(wall_timer_has_jumped(timer, now));
    assert_false(wall_timer_has_jumped(timer, now));
    /* It has to be set anew, to the same instant too. */
    flags_seen = 0;
    wall_timer_set(timer, clock_now().wall_us + INT64_C(86400000000));
    assert_int_not_equal(flags_seen, 0);
}

static void it_may_say_so_when_the_timer_is_set(void **state)
{
    wall_timer_t *timer = *state;
    now_t now = at(1000, 1000);
    assert_false(wall_timer_has_jumped(timer, now));
    is_set = true;
    wall_timer_set(timer, clock_now().wall_us + 20000);
    assert_true(wall_timer_has_jumped(timer, now));
    assert_true(goes_off(20000)); /* it was set all the same */
}

static void clocks_that_part_are_a_jump_and_slewing_is_none(void **state)
{
    wall_timer_t *timer = *state;
    assert_false(wall_timer_has_jumped(timer, at(INT64_C(7000000), 0))); /* the first time */
    assert_false(wall_timer_has_jumped(timer, at(INT64_C(8000000), INT64_C(1000000))));
    assert_false(wall_timer_has_jumped(timer, at(INT64_C(9000500), INT64_C(2000000))));
    assert_true(wall_timer_has_jumped(timer, at(INT64_C(9000000), INT64_C(3000000))));
    assert_false(wall_timer_has_jumped(timer, at(INT64_C(9500000), INT64_C(3500000))));
    assert_true(wall_timer_has_jumped(timer, at(INT64_C(20000000), INT64_C(4000000))));
    assert_false(wall_timer_has_jumped(timer, at(INT64_C(80000000), INT64_C(64000000))));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(goes_off_at_its_instant_and_not_before),
        TEST(what_is_past_goes_off_at_once),
        TEST(the_kernel_tells_that_the_clock_was_set),
        TEST(it_may_say_so_when_the_timer_is_set),
        TEST(clocks_that_part_are_a_jump_and_slewing_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
