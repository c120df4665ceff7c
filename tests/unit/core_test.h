/* SPDX-License-Identifier: Apache-2.0 */
/* core.h for tests with cmocka: each test begins with a world of its own. */
#ifndef TASKWIRE_TESTS_CORE_TEST_H
#define TASKWIRE_TESTS_CORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CORE_FAIL(text) fail_msg("%s", text)
#include "core.h"

/* Ids of tasks. */
static const uuid_t T1 = {{1, 1, 1, 1, 1, 1, 0x71, 1, 0x81, 1, 1, 1, 1, 1, 1, 1}};
static const uuid_t T2 = {{2, 2, 2, 2, 2, 2, 0x72, 2, 0x82, 2, 2, 2, 2, 2, 2, 2}};

static inline int core_setup(void **state)
{
    static core_t core;
    core_init(&core);
    *state = &core;
    return 0;
}

static inline int core_teardown(void **state)
{
    core_fini(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)

#define ASSERT_TEXT(actual, expected)                                                              \
    do {                                                                                           \
        slice_t text_ = (actual);                                                                  \
        assert_int_equal(text_.n_bytes, strlen(expected));                                         \
        assert_memory_equal(text_.data, expected, text_.n_bytes);                                  \
    } while (0)

/* The instant that a text means. */
static inline int64_t instant_at(const char *text)
{
    int64_t at_us = INSTANT_NONE;
    assert_true(instant_parse(slice_str(text), &at_us));
    return at_us;
}

/* Creates T1 in `list` as Anna. */
static inline void make(core_t *core, const char *json)
{
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, json), ERR_OK);
}

/* Patches T1 as Anna. */
static inline err_t patch(core_t *core, const char *json)
{
    return core_do(core, &core->anna, "task.patch", &T1, json);
}

#endif
