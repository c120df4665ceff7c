/* SPDX-License-Identifier: Apache-2.0 */
/* Problems as JSON: always whole, whatever they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/inner.h"
#include "schema/json.h"

static void assert_json(const problem_t *problem, const char *request_id, const char *expected)
{
    buf_t out = {0};
    problem_put_json(problem, request_id == NULL ? slice_none() : slice_str(request_id), &out);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void a_problem_says_what_it_is(void **unused)
{
    (void)unused;
    problem_t problem = {.err = ERR_NOT_FOUND};
    assert_json(&problem, NULL,
                "{\"type\":\"urn:taskwire:problem:not_found\",\"title\":\"There is no such thing\","
                "\"status\":404,\"detail\":\"There is no such thing.\",\"code\":\"not_found\"}");
}

static void without_a_detail_of_its_own_it_tells_that_of_the_first_field(void **unused)
{
    (void)unused;
    static const struct {
        const char *pointer;
        const char *detail;
    } cases[] = {{"/title", "/title: too \\\"long\\\""}, {"", "too \\\"long\\\""}};
    for (size_t i = 0; i < 2; i++) {
        char expected[400];
        problem_t problem = {0};
        problem_add_field(&problem, slice_str(cases[i].pointer), slice_str("too \"long\""));
        snprintf(expected, sizeof expected,
                 "{\"type\":\"urn:taskwire:problem:invalid\",\"title\":\"Some values are not "
                 "valid\",\"status\":422,\"detail\":\"%s\",\"code\":\"invalid\",\"errors\":[{"
                 "\"pointer\":\"%s\",\"detail\":\"too \\\"long\\\"\"}]}",
                 cases[i].detail, cases[i].pointer);
        assert_json(&problem, NULL, expected);
    }
}

static void instance_and_fields_are_there_when_there_are_any(void **unused)
{
    (void)unused;
    problem_t problem = {.detail = slice_str("a \"b\"")};
    problem_add_field(&problem, slice_str("/a~1b"), slice_str("wrong"));
    problem_add_field(&problem, slice_str(""), slice_str("too"));
    assert_json(&problem, "r-1",
                "{\"type\":\"urn:taskwire:problem:invalid\",\"title\":\"Some values are not "
                "valid\",\"status\":422,\"detail\":\"a \\\"b\\\"\",\"code\":\"invalid\","
                "\"instance\":\"urn:taskwire:request:r-1\",\"errors\":[{\"pointer\":\"/"
                "a~1b\",\"detail\":\"wrong\"},{\"pointer\":\"\",\"detail\":\"too\"}]}");
}

static void the_current_state_comes_along(void **unused)
{
    (void)unused;
    static const uint8_t map[] = {0x81, 0xa3, 'r', 'e', 'v', 0x05};
    problem_t problem = {.err = ERR_PRECONDITION_FAILED, .current = slice_of(map, sizeof map)};
    assert_json(&problem, NULL,
                "{\"type\":\"urn:taskwire:problem:precondition_failed\",\"title\":\"It has changed "
                "meanwhile\",\"status\":412,\"detail\":\"It has changed "
                "meanwhile.\",\"code\":\"precondition_failed\",\"current\":{\"rev\":"
                "5}}");
}

static void a_state_that_cannot_be_shown_is_left_out(void **unused)
{
    (void)unused;
    static const uint8_t broken[] = {0x81, 0xa3, 'r'};
    problem_t problem = {.err = ERR_CONFLICT, .current = slice_of(broken, sizeof broken)};
    assert_json(
        &problem, NULL,
        "{\"type\":\"urn:taskwire:problem:conflict\",\"title\":\"The state does not allow "
        "it\",\"status\":409,\"detail\":\"The state does not allow it.\",\"code\":\"conflict\"}");
}

static void every_error_gives_json(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    for (int err = ERR_OK; err < ERR_COUNT; err++) {
        problem_t problem = {.err = (err_t)err, .detail = slice_str("\xff broken \x01")};
        problem_t wrong = {0};
        buf_t json = {0};
        buf_t mp = {0};
        problem_put_json(&problem, slice_str("x"), &json);
        assert_int_equal(json_to_mp(buf_slice(&json), &mp, arena, &wrong), ERR_OK);
        buf_fini(&json);
        buf_fini(&mp);
    }
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_says_what_it_is),
        cmocka_unit_test(without_a_detail_of_its_own_it_tells_that_of_the_first_field),
        cmocka_unit_test(instance_and_fields_are_there_when_there_are_any),
        cmocka_unit_test(the_current_state_comes_along),
        cmocka_unit_test(a_state_that_cannot_be_shown_is_left_out),
        cmocka_unit_test(every_error_gives_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
