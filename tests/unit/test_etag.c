/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags: what If-Match expects and what If-None-Match knows, however the headers are written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/etag.h"

static const char epoch[] = "abcdefghijklmnop";
static const char other_epoch[] = "abcdefghijklmnoq";
static uuid_t list_id;
static uuid_t task_id;
static arena_t *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    list_id = uuid_v7(1795420800000000);
    task_id = uuid_v7(1795420800000001);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static const char *tag_of(int64_t rev)
{
    task_tag_t tag = {list_id, task_id, rev};
    return (const char *)etag_of_task(epoch, &tag, arena).data;
}

static const char *list_tag_of(int64_t rev, int64_t head)
{
    list_tag_t tag = {.list = list_id, .rev = rev, .head = head, .n_open = 3, .role = 2};
    return (const char *)etag_of_list(epoch, &tag, arena).data;
}

static int64_t expected(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int64_t expected(const char *format, ...)
{
    char header[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(header, sizeof header, format, args);
    va_end(args);
    return etag_expected_task(slice_str(header), epoch, &task_id);
}

static void a_tag_of_the_task_expects_its_rev(void **unused)
{
    (void)unused;
    assert_int_equal(expected("%s", tag_of(17)), 17);
    assert_int_equal(expected(" %s ", tag_of(1)), 1);
    assert_int_equal(expected("%s", tag_of(999999999999)), 999999999999);
}

static void a_star_expects_any(void **unused)
{
    (void)unused;
    assert_int_equal(expected("*"), 0);
    assert_int_equal(expected(" * "), 0);
}

static void of_several_the_newest_counts(void **unused)
{
    (void)unused;
    assert_int_equal(expected("%s, %s,%s", tag_of(3), tag_of(12), tag_of(5)), 12);
    assert_int_equal(expected("\"other\", %s", tag_of(3)), 3);
    assert_int_equal(expected(",, %s ,", tag_of(3)), 3);
    assert_int_equal(expected("W/%s, %s", tag_of(9), tag_of(3)), 3);
}

static void a_weak_tag_never_matches(void **unused)
{
    (void)unused;
    assert_int_equal(expected("W/%s", tag_of(17)), ETAG_NEVER);
}

static void what_is_malformed_never_matches(void **unused)
{
    (void)unused;
    assert_int_equal(expected("%s", ""), ETAG_NEVER);
    assert_int_equal(expected("17"), ETAG_NEVER);
    assert_int_equal(expected("\""), ETAG_NEVER);
    assert_int_equal(expected("W/"), ETAG_NEVER);
    assert_int_equal(expected("\"\""), ETAG_NEVER);
    assert_int_equal(expected("%s x", tag_of(3)), ETAG_NEVER);
    assert_int_equal(expected("%s %s", tag_of(3), tag_of(3)), ETAG_NEVER);
    assert_int_equal(expected("*, %s", tag_of(3)), ETAG_NEVER);
    assert_int_equal(expected("%.*s", (int)strlen(tag_of(3)) - 1, tag_of(3)), ETAG_NEVER);
}

static void a_changed_tag_never_matches_another_rev(void **unused)
{
    (void)unused;
    const char *tag = tag_of(17);
    size_t n_list = strlen("\"t-") + EPOCH_CHARS + 1;
    for (size_t i = 0; tag[i] != '\0'; i++) {
        char copy[200];
        snprintf(copy, sizeof copy, "%s", tag);
        copy[i] = copy[i] == 'x' ? 'y' : 'x';
        bool is_in_list = i >= n_list && i < n_list + 22;
        assert_int_equal(expected("%s", copy), is_in_list ? 17 : ETAG_NEVER);
    }
}

static void a_tag_of_something_else_never_matches(void **unused)
{
    (void)unused;
    task_tag_t tag = {list_id, list_id, 17};
    assert_int_equal(expected("%s", (const char *)etag_of_task(epoch, &tag, arena).data),
                     ETAG_NEVER);
    tag.task = task_id;
    assert_int_equal(expected("%s", (const char *)etag_of_task(other_epoch, &tag, arena).data),
                     ETAG_NEVER);
    assert_int_equal(expected("%s", list_tag_of(17, 20)), ETAG_NEVER);
}

static void a_rev_that_is_none_never_matches(void **unused)
{
    (void)unused;
    assert_int_equal(expected("%s", tag_of(0)), ETAG_NEVER);
    assert_int_equal(expected("%s", tag_of(-5)), ETAG_NEVER);
    assert_int_equal(expected("%s", tag_of(INT64_MAX)), ETAG_NEVER);
}

static void of_a_list_only_its_own_rev_is_expected(void **unused)
{
    (void)unused;
    assert_int_equal(etag_expected_list(slice_str(list_tag_of(4, 9)), epoch, &list_id), 4);
    assert_int_equal(etag_expected_list(slice_str(list_tag_of(4, 10)), epoch, &list_id), 4);
    assert_int_equal(etag_expected_list(slice_str(list_tag_of(4, 9)), epoch, &task_id), ETAG_NEVER);
    assert_int_equal(etag_expected_list(slice_str(list_tag_of(4, 9)), other_epoch, &list_id),
                     ETAG_NEVER);
    assert_int_equal(etag_expected_list(slice_str(tag_of(4)), epoch, &list_id), ETAG_NEVER);
}

static bool is_known(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool is_known(const char *format, ...)
{
    char header[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(header, sizeof header, format, args);
    va_end(args);
    return etag_is_known(slice_str(header), slice_str(tag_of(17)));
}

static void the_very_tag_is_known_weak_or_not(void **unused)
{
    (void)unused;
    assert_true(is_known("%s", tag_of(17)));
    assert_true(is_known("W/%s", tag_of(17)));
    assert_true(is_known("\"a\", \"b,c\", %s", tag_of(17)));
    assert_true(is_known("*"));
    assert_false(is_known("%s", tag_of(18)));
    assert_false(is_known("%s", ""));
    assert_false(is_known("%s x", tag_of(17)));
    assert_false(etag_is_known(slice_none(), slice_str(tag_of(17))));
}

static void all_that_is_shown_of_a_list_is_in_its_tag(void **unused)
{
    (void)unused;
    list_tag_t tag = {.list = list_id, .rev = 1, .head = 2, .n_open = 3, .role = 2};
    slice_t before = etag_of_list(epoch, &tag, arena);
    list_tag_t others[] = {tag, tag, tag, tag};
    others[0].rev++;
    others[1].head++;
    others[2].n_open++;
    others[3].role++;
    for (size_t i = 0; i < 4; i++)
        assert_false(slice_eq(before, etag_of_list(epoch, &others[i], arena)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(a_tag_of_the_task_expects_its_rev),
        TEST(a_star_expects_any),
        TEST(of_several_the_newest_counts),
        TEST(a_weak_tag_never_matches),
        TEST(what_is_malformed_never_matches),
        TEST(a_changed_tag_never_matches_another_rev),
        TEST(a_tag_of_something_else_never_matches),
        TEST(a_rev_that_is_none_never_matches),
        TEST(of_a_list_only_its_own_rev_is_expected),
        TEST(the_very_tag_is_known_weak_or_not),
        TEST(all_that_is_shown_of_a_list_is_in_its_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
