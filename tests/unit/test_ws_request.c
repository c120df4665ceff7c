/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over a WebSocket: what each op takes, and what is refused with which pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/ws_reply.h"
#include "gateway/ws_request.h"
#include "schema/instant.h"

#define STREAM "\"b0000000-0000-0000-0000-000000000005\""

static arena_t *arena;
static problem_t problem;
static ws_request_t request;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static err_t read(const char *json)
{
    problem = (problem_t){0};
    return ws_request_read_json(slice_str(json), arena, &request, &problem);
}

static void assert_refused(const char *json, const char *pointer)
{
    assert_int_equal(read(json), ERR_INVALID);
    assert_true(problem.n_fields > 0);
    assert_true(slice_is(problem.fields[0].pointer, pointer));
}

static void each_op_is_read(void **state)
{
    (void)state;
    assert_int_equal(read("{\"op\":\"hello\",\"token\":\"secret\"}"), ERR_OK);
    assert_int_equal(request.op, WS_OP_HELLO);
    assert_true(slice_is(request.token, "secret"));
    assert_int_equal(read("{\"op\":\"ping\"}"), ERR_OK);
    assert_int_equal(request.op, WS_OP_PING);
    assert_int_equal(read("{\"op\":\"unsubscribe\",\"stream\":" STREAM "}"), ERR_OK);
    assert_int_equal(request.op, WS_OP_UNSUBSCRIBE);
    assert_int_equal(request.stream.bytes[15], 5);
    assert_int_equal(read("{\"op\":\"command\",\"command\":{}}"), ERR_OK);
    assert_int_equal(request.op, WS_OP_COMMAND);
    assert_true(slice_eq(request.command, slice_of("\x80", 1)));
}

static void a_position_is_optional(void **state)
{
    (void)state;
    assert_int_equal(read("{\"op\":\"subscribe\",\"stream\":" STREAM "}"), ERR_OK);
    assert_false(request.has_after);
    assert_null(request.epoch.data);
    assert_false(request.closed);
    assert_int_equal(read("{\"op\":\"subscribe\",\"stream\":" STREAM
                          ",\"after\":null,\"epoch\":null,\"closed\":null}"),
                     ERR_OK);
    assert_false(request.has_after);
    assert_int_equal(read("{\"op\":\"subscribe\",\"stream\":" STREAM
                          ",\"after\":0,\"epoch\":\"e\",\"closed\":true}"),
                     ERR_OK);
    assert_true(request.has_after);
    assert_int_equal(request.after, 0);
    assert_true(slice_is(request.epoch, "e"));
    assert_true(request.closed);
}

static void everything_may_be_followed_at_once(void **state)
{
    (void)state;
    assert_int_equal(
        read("{\"op\":\"subscribe\",\"all\":true,\"after\":{" STREAM ":3},\"epoch\":\"e\"}"),
        ERR_OK);
    assert_true(request.is_all);
    assert_non_null(request.afters.data);
    assert_refused("{\"op\":\"subscribe\",\"all\":true,\"after\":3}", "/after");
    assert_refused("{\"op\":\"subscribe\",\"all\":true,\"after\":{\"x\":3}}", "/after/x");
    assert_refused("{\"op\":\"subscribe\",\"all\":true,\"after\":{" STREAM ":-1}}",
                   "/after/b0000000-0000-0000-0000-000000000005");
    assert_int_equal(read("{\"op\":\"unsubscribe\",\"all\":true}"), ERR_OK);
    assert_true(request.is_all);
    assert_refused("{\"op\":\"unsubscribe\",\"all\":false}", "/stream");
    assert_refused("{\"op\":\"subscribe\",\"all\":true,\"stream\":" STREAM "}", "/stream");
}

static void a_thousand_positions_may_be_named_and_no_more(void **state)
{
    (void)state;
    for (int n = WS_MAX_AFTERS; n <= WS_MAX_AFTERS + 1; n++) {
        buf_t json = {0};
        buf_append_str(&json, "{\"op\":\"subscribe\",\"all\":true,\"after\":{");
        for (int i = 0; i < n; i++)
            buf_format(&json, "%s\"b0000000-0000-0000-0000-%012d\":%d", i > 0 ? "," : "", i, i);
        buf_append_str(&json, "}}");
        buf_append_byte(&json, '\0');
        assert_int_equal(read((const char *)json.data), n > WS_MAX_AFTERS ? ERR_INVALID : ERR_OK);
        buf_fini(&json);
    }
}

static void a_ref_is_kept_as_it_was(void **state)
{
    (void)state;
    read("{\"op\":\"ping\",\"ref\":-5}");
    assert_true(slice_is(request.ref, "-5"));
    read("{\"op\":\"ping\",\"ref\":\"a\\\"b\"}");
    assert_true(slice_is(request.ref, "\"a\\\"b\""));
    read("{\"op\":\"ping\"}");
    assert_null(request.ref.data);
    assert_refused("{\"op\":\"ping\",\"ref\":[1]}", "/ref");
    assert_refused("{\"op\":\"ping\",\"ref\":true}", "/ref");
}

static void a_ref_survives_whatever_else_is_wrong(void **state)
{
    (void)state;
    assert_refused("{\"op\":\"fly\",\"ref\":1}", "/op");
    assert_true(slice_is(request.ref, "1"));
    assert_int_equal(request.op, WS_OP_NONE);
    assert_refused("{\"ref\":2}", "/op");
    assert_true(slice_is(request.ref, "2"));
    assert_refused("{\"op\":\"unsubscribe\",\"ref\":3}", "/stream");
    assert_true(slice_is(request.ref, "3"));
}

static void wrong_values_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("{\"op\":\"subscribe\",\"stream\":\"x\"}", "/stream");
    assert_refused("{\"op\":\"subscribe\",\"stream\":" STREAM ",\"after\":-1}", "/after");
    assert_refused("{\"op\":\"subscribe\",\"stream\":" STREAM ",\"after\":\"1\"}", "/after");
    assert_refused("{\"op\":\"subscribe\",\"stream\":" STREAM ",\"closed\":1}", "/closed");
    assert_refused("{\"op\":\"subscribe\",\"stream\":" STREAM ",\"epoch\":1}", "/epoch");
    assert_refused("{\"op\":\"command\",\"command\":[]}", "/command");
    assert_refused("{\"op\":\"command\"}", "/command");
    assert_refused("{\"op\":\"hello\"}", "/token");
    assert_refused("{\"op\":\"ping\",\"more\":1}", "/more");
    assert_refused("[]", "");
    assert_refused("7", "");
}

static void what_is_no_json_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(read(""), ERR_MALFORMED);
    assert_int_equal(read("{\"op\":\"ping\"} x"), ERR_MALFORMED);
    assert_int_equal(read("{\"op\":\"ping\",\"op\":\"ping\"}"), ERR_MALFORMED);
    assert_int_equal(request.op, WS_OP_NONE);
    assert_null(request.ref.data);
}

static void answers_are_put_together_piece_by_piece(void **state)
{
    uuid_t id = {{0xb0}};
    buf_t out = {0};
    (void)state;
    ws_put_op(&out, "x", slice_str("1"));
    ws_put_id(&out, "id", &id);
    ws_put_id(&out, "none", &UUID_NIL);
    ws_put_text(&out, "text", slice_str("a\"b"));
    ws_put_int(&out, "int", -7);
    ws_put_bool(&out, "bool", false);
    ws_put_instant(&out, "at", 0);
    ws_put_instant(&out, "never", INSTANT_NONE);
    assert_true(slice_is(
        buf_slice(&out),
        "{\"op\":\"x\",\"ref\":1,\"id\":\"b0000000-0000-0000-0000-000000000000\",\"none\":null,"
        "\"text\":\"a\\\"b\",\"int\":-7,\"bool\":false,\"at\":\"1970-01-01T00:00:00Z\","
        "\"never\":null"));
    buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_op_is_read),
        TEST(a_position_is_optional),
        TEST(everything_may_be_followed_at_once),
        TEST(a_thousand_positions_may_be_named_and_no_more),
        TEST(a_ref_is_kept_as_it_was),
        TEST(a_ref_survives_whatever_else_is_wrong),
        TEST(wrong_values_are_refused_by_name),
        TEST(what_is_no_json_is_malformed),
        TEST(answers_are_put_together_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
