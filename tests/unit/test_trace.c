/* SPDX-License-Identifier: Apache-2.0 */
/* Which `traceparent` is one, and what the next hop says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "schema/command.h"

#define ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static trace_t trace_from(const char *text)
{
    trace_t trace;
    assert_true(trace_parse(slice_str(text), &trace));
    assert_false(trace_is_none(&trace));
    return trace;
}

static void what_the_standard_shows_is_read(void **state)
{
    static const uint8_t id[] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
    static const uint8_t span[] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};
    (void)state;
    trace_t trace = trace_from("00-" ID "-" SPAN "-01");
    assert_memory_equal(trace.bytes, id, sizeof id);
    assert_memory_equal(trace.bytes + TRACE_ID_BYTES, span, sizeof span);
    assert_int_equal(trace.bytes[TRACE_BYTES - 1], 1);
}

static void what_is_malformed_is_none(void **state)
{
    static const char *const texts[] = {
        "",
        "00",
        "nonsense",
        "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-011",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "00-" ID "-" SPAN "-01, 00-" ID "-" SPAN "-01",
        " 00-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "_01",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "ff-" ID "-" SPAN "-01",
        "FF-" ID "-" SPAN "-01",
        "0g-" ID "-" SPAN "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
        "00-" ID "-B7AD6B7169203331-01",
        "00-" ID "-" SPAN "-0A",
        "00-0af7651916cd43dd8448eb211c80319 -" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "01-" ID "-" SPAN "-01more",
        "01-" ID "-" SPAN "-01, 01-" ID "-" SPAN "-01",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        trace_t trace;
        memset(&trace, 0xff, sizeof trace);
        if (trace_parse(slice_str(texts[i]), &trace))
            fail_msg("%s", texts[i]);
        assert_true(trace_is_none(&trace));
        assert_null(trace_slice(&trace).data);
    }
    trace_t trace;
    assert_false(trace_parse(slice_none(), &trace));
}

static void of_a_later_version_what_is_known_is_read(void **state)
{
    (void)state;
    trace_t trace = trace_from("00-" ID "-" SPAN "-01");
    trace_t later = trace_from("cc-" ID "-" SPAN "-01");
    trace_t longer = trace_from("01-" ID "-" SPAN "-01-what the future will be like");
    assert_memory_equal(&trace, &later, sizeof trace);
    assert_memory_equal(&trace, &longer, sizeof trace);
}

static void flags_that_are_not_known_are_not_handed_on(void **state)
{
    (void)state;
    assert_int_equal(trace_from("00-" ID "-" SPAN "-ff").bytes[TRACE_BYTES - 1], 3);
    assert_int_equal(trace_from("00-" ID "-" SPAN "-00").bytes[TRACE_BYTES - 1], 0);
}

static void a_hop_keeps_trace_and_flags_and_is_a_span_of_its_own(void **state)
{
    uuid_t one = {{1}}, other = {{2}};
    (void)state;
    trace_t trace = trace_from("00-" ID "-" SPAN "-01");
    trace_t child = trace_child(&trace, &one);
    trace_t again = trace_child(&trace, &one);
    trace_t sibling = trace_child(&trace, &other);
    trace_t grandchild = trace_child(&child, &one);
    assert_memory_equal(child.bytes, trace.bytes, TRACE_ID_BYTES);
    assert_int_equal(child.bytes[TRACE_BYTES - 1], 1);
    assert_memory_equal(&child, &again, sizeof child);
    assert_memory_not_equal(child.bytes + TRACE_ID_BYTES, trace.bytes + TRACE_ID_BYTES,
                            TRACE_SPAN_BYTES);
    assert_memory_not_equal(sibling.bytes + TRACE_ID_BYTES, child.bytes + TRACE_ID_BYTES,
                            TRACE_SPAN_BYTES);
    assert_memory_not_equal(grandchild.bytes + TRACE_ID_BYTES, child.bytes + TRACE_ID_BYTES,
                            TRACE_SPAN_BYTES);
}

static void of_none_comes_none(void **state)
{
    uuid_t id = {{1}};
    trace_t none = {{0}};
    (void)state;
    trace_t child = trace_child(&none, &id);
    assert_true(trace_is_none(&child));
    assert_null(trace_slice(&child).data);
}

static void what_is_stored_is_read_and_other_lengths_are_none(void **state)
{
    (void)state;
    trace_t trace = trace_from("00-" ID "-" SPAN "-01");
    trace_t back = trace_of(trace_slice(&trace));
    assert_memory_equal(&trace, &back, sizeof trace);
    back = trace_of(slice_of(trace.bytes, TRACE_BYTES - 1));
    assert_true(trace_is_none(&back));
    back = trace_of(slice_none());
    assert_true(trace_is_none(&back));
}

static void a_command_keeps_its_trace_on_the_way_to_the_writer(void **state)
{
    arena_t *arena = arena_new();
    buf_t bytes = {0};
    command_t command = {.op = OP_TASK_PATCH}, back;
    (void)state;
    command.trace = trace_from("00-" ID "-" SPAN "-01");
    command_encode(&command, &bytes);
    mp_reader_t reader = mp_reader(buf_slice(&bytes));
    assert_true(command_decode(&reader, arena, &back));
    assert_memory_equal(&command.trace, &back.trace, sizeof back.trace);
    buf_reset(&bytes);
    command.trace = (trace_t){{0}};
    command_encode(&command, &bytes);
    reader = mp_reader(buf_slice(&bytes));
    assert_true(command_decode(&reader, arena, &back));
    assert_true(trace_is_none(&back.trace));
    buf_fini(&bytes);
    arena_destroy(&arena);
}

static void a_trace_makes_no_other_request(void **state)
{
    command_t with = {.op = OP_TASK_PATCH}, without = {.op = OP_TASK_PATCH};
    (void)state;
    with.trace = trace_from("00-" ID "-" SPAN "-01");
    command_fingerprint(&with);
    command_fingerprint(&without);
    assert_memory_equal(with.fingerprint, without.fingerprint, FINGERPRINT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_standard_shows_is_read),
        cmocka_unit_test(what_is_malformed_is_none),
        cmocka_unit_test(of_a_later_version_what_is_known_is_read),
        cmocka_unit_test(flags_that_are_not_known_are_not_handed_on),
        cmocka_unit_test(a_hop_keeps_trace_and_flags_and_is_a_span_of_its_own),
        cmocka_unit_test(of_none_comes_none),
        cmocka_unit_test(what_is_stored_is_read_and_other_lengths_are_none),
        cmocka_unit_test(a_command_keeps_its_trace_on_the_way_to_the_writer),
        cmocka_unit_test(a_trace_makes_no_other_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
