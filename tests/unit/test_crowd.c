/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections an address may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/crowd.h"

#define MANY 20000

static const uint8_t *key(uint32_t n)
{
    static uint8_t bytes[CROWD_KEY_BYTES];
    memcpy(bytes, &n, sizeof n);
    return bytes;
}

static void so_many_may_come_and_no_more(void **unused)
{
    (void)unused;
    crowd_t *crowd = crowd_new(3);
    for (int i = 0; i < 3; i++)
        assert_true(crowd_enter(crowd, key(1)));
    assert_false(crowd_enter(crowd, key(1)));
    assert_true(crowd_enter(crowd, key(2)));
    crowd_leave(crowd, key(1));
    assert_true(crowd_enter(crowd, key(1)));
    assert_int_equal(crowd_n_refused(crowd), 1);
    assert_false(crowd_enter(crowd, key(1)));
    assert_int_equal(crowd_n_refused(crowd), 2);
    crowd_destroy(&crowd);
    assert_null(crowd);
}

static void each_of_many_is_counted_for_itself(void **unused)
{
    (void)unused;
    crowd_t *crowd = crowd_new(2);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < MANY; i++)
            assert_true(crowd_enter(crowd, key(i)));
    }
    for (uint32_t i = 0; i < MANY; i++)
        assert_false(crowd_enter(crowd, key(i)));
    for (uint32_t i = 0; i < MANY; i += 2) {
        crowd_leave(crowd, key(i));
        crowd_leave(crowd, key(i));
    }
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(crowd_enter(crowd, key(i)), i % 2 == 0);
    crowd_destroy(&crowd);
}

static void without_a_limit_nobody_is_counted(void **unused)
{
    (void)unused;
    crowd_t *crowd = crowd_new(0);
    for (int i = 0; i < 1000; i++)
        assert_true(crowd_enter(crowd, key(1)));
    crowd_leave(crowd, key(2));
    crowd_destroy(&crowd);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_may_come_and_no_more),
        cmocka_unit_test(each_of_many_is_counted_for_itself),
        cmocka_unit_test(without_a_limit_nobody_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
