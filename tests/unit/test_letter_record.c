/* SPDX-License-Identifier: Apache-2.0 */
/* What taskwire-dead-letter gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/dead_letter.h"

static dead_letter_text_t text;

static void make(const record_t *record, record_t *out)
{
    const dead_letter_t letter = {.topic = "x.task-events",
                                  .partition = 2,
                                  .offset = INT64_MAX,
                                  .record = record,
                                  .actor = "consumer",
                                  .reason = "it is not ours",
                                  .attempts = 3};
    dead_letter_record(&letter, &text, out);
}

static void assert_header(const record_t *record, const char *name, const char *value)
{
    slice_t found;
    assert_true(record_find(record, name, &found));
    assert_true(slice_is(found, value));
}

static void a_letter_is_the_record_and_where_it_was(void **state)
{
    (void)state;
    record_t record, letter;
    record_begin(&record, slice_str("key"), slice_of("\xff\x00", 2));
    record_add(&record, slice_str("content-type"), slice_str("text/plain"));
    make(&record, &letter);
    assert_true(slice_eq(letter.key, record.key));
    assert_true(slice_eq(letter.value, record.value));
    assert_header(&letter, "content-type", "text/plain");
    assert_header(&letter, "reason", "it is not ours");
    assert_header(&letter, "origin-topic", "x.task-events");
    assert_header(&letter, "origin-partition", "2");
    assert_header(&letter, "origin-offset", "9223372036854775807");
    assert_header(&letter, "attempts", "3");
    assert_header(&letter, "actor", "consumer");
    assert_int_equal(letter.n_headers, 7);
}

static void one_that_is_cut_says_how_large_it_was(void **state)
{
    (void)state;
    record_t record, out;
    record_begin(&record, slice_str("key"), slice_str("val"));
    record_add(&record, slice_str("value-bytes"), slice_str("7"));
    const dead_letter_t letter = {
        .topic = "t", .record = &record, .actor = "a", .reason = "r", .value_bytes = 5};
    dead_letter_record(&letter, &text, &out);
    assert_header(&out, "value-bytes", "5");
    assert_int_equal(out.n_headers, 7);
}

static void a_tombstone_stays_one(void **state)
{
    (void)state;
    record_t record, letter;
    record_begin(&record, slice_none(), slice_none());
    make(&record, &letter);
    assert_null(letter.key.data);
    assert_null(letter.value.data);
}

static void a_letter_of_a_letter_says_where_it_was_last(void **state)
{
    (void)state;
    record_t record, letter;
    record_begin(&record, slice_str("key"), slice_str("value"));
    record_add(&record, slice_str("reason"), slice_str("an old one"));
    record_add(&record, slice_str("origin-offset"), slice_str("1"));
    make(&record, &letter);
    assert_header(&letter, "reason", "it is not ours");
    assert_int_equal(letter.n_headers, 6);
}

static void its_own_headers_come_first_however_many_there_were(void **state)
{
    (void)state;
    record_t record, letter;
    record_begin(&record, slice_str("key"), slice_str("value"));
    for (int i = 0; i < RECORD_MAX_HEADERS; i++)
        record_add(&record, slice_str("x"), slice_none());
    make(&record, &letter);
    assert_header(&letter, "actor", "consumer");
    assert_int_equal(letter.n_headers, RECORD_MAX_HEADERS);
    assert_true(letter.has_more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_is_the_record_and_where_it_was),
        cmocka_unit_test(one_that_is_cut_says_how_large_it_was),
        cmocka_unit_test(a_tombstone_stays_one),
        cmocka_unit_test(a_letter_of_a_letter_says_where_it_was_last),
        cmocka_unit_test(its_own_headers_come_first_however_many_there_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
