/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing is accepted that is not a task: cut off, of wrong types, beyond a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "schema/json.h"
#include "schema/task.h"
#include "tests/unit/task_sample.h"

static slice_t str_of(const char *pattern, size_t n_times)
{
    buf_t text = {0};
    buf_t out = {0};
    for (size_t i = 0; i < n_times; i++)
        buf_append_str(&text, pattern);
    mp_put_str(&out, buf_slice(&text));
    slice_t copy = arena_copy(arena, buf_slice(&out));
    buf_fini(&text);
    buf_fini(&out);
    return copy;
}

static slice_t array_of(slice_t item, size_t n_items)
{
    buf_t out = {0};
    mp_put_array(&out, n_items);
    for (size_t i = 0; i < n_items; i++)
        mp_put_raw(&out, item);
    slice_t copy = arena_copy(arena, buf_slice(&out));
    buf_fini(&out);
    return copy;
}

/* In a block of its own size, so that reading beyond the end is seen. */
static bool decodes_from_own_block(slice_t bytes)
{
    uint8_t *block = malloc(bytes.n_bytes + 1);
    assert_non_null(block);
    uint8_t *start = block + 1; /* the end of the block is the end of the bytes */
    memcpy(start, bytes.data, bytes.n_bytes);
    task_t task;
    bool ok = task_decode(slice_of(start, bytes.n_bytes), arena, &task);
    free(block);
    return ok;
}

static void truncated_tasks_are_refused_at_every_length(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    assert_true(decodes_from_own_block(bytes));
    for (size_t n_bytes = 0; n_bytes < bytes.n_bytes; n_bytes++)
        assert_false(decodes_from_own_block(slice_of(bytes.data, n_bytes)));
    buf_t longer = {0};
    buf_append_slice(&longer, bytes);
    mp_put_nil(&longer);
    assert_false(decodes_from_own_block(buf_slice(&longer)));
    buf_fini(&longer);
}

static void a_changed_byte_never_does_harm(void **unused)
{
    (void)unused;
    seed_random();
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    uint8_t *changed = arena_alloc(arena, bytes.n_bytes);
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        memcpy(changed, bytes.data, bytes.n_bytes);
        changed[i] ^= (uint8_t)(1 + below(255));
        decodes_from_own_block(slice_of(changed, bytes.n_bytes));
    }
}

static void keys_may_come_in_any_order_but_only_once(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    slice_t without = with_value(bytes, "id", slice_none());
    slice_t moved = with_value(without, "id", mp_of("\"01000000-0000-0000-0000-000000000000\""));
    task_t back = decoded(moved);
    assert_true(slice_eq(encoded(&back), bytes));

    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_pairs = 0;
    buf_t twice = {0};
    assert_true(mp_get_map(&reader, &n_pairs));
    mp_put_map(&twice, n_pairs + 1);
    buf_append(&twice, reader.at, (size_t)(reader.end - reader.at));
    mp_put_cstr(&twice, "title");
    mp_put_cstr(&twice, "another");
    assert_false(task_decode(buf_slice(&twice), arena, &back));
    buf_fini(&twice);
}

static void assert_refused(slice_t bytes, const char *key, const char *why)
{
    task_t task;
    if (task_decode(bytes, arena, &task))
        fail_msg("accepted: %s %s", key, why);
}

static void wrong_types_and_words_are_refused(void **unused)
{
    (void)unused;
    static const char *const rows[][2] = {
        {"id", "null"},
        {"id", "1"},
        {"id", "\"x\""},
        {"list", "null"},
        {"list", "[]"},
        {"rev", "\"1\""},
        {"rev", "-1"},
        {"rev", "null"},
        {"title", "null"},
        {"title", "7"},
        {"notes", "null"},
        {"notes", "{}"},
        {"status", "\"closed\""},
        {"status", "0"},
        {"priority", "\"Low\""},
        {"priority", "null"},
        {"tags", "null"},
        {"tags", "\"home\""},
        {"tags", "[1]"},
        {"tags", "[null]"},
        {"due", "\"\""},
        {"due", "\"tomorrow\""},
        {"due", "\"2026-02-30\""},
        {"due", "false"},
        {"time_zone", "\"\""},
        {"time_zone", "3600"},
        {"due_at", "\"2026-11-23\""},
        {"due_at", "1795420800"},
        {"recurrence", "\"FREQ=DAILY\""},
        {"recurrence", "{}"},
        {"recurrence", "{\"rule\":\"\"}"},
        {"recurrence", "{\"rule\":null}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"from\":\"now\"}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"missed\":true}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"start\":\"soon\"}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"start\":\"2026-11-23T09:00:00Z\"}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"planned\":\"2026-11-23T09:00\"}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"skip\":\"2026-11-23\"}"},
        {"recurrence", "{\"rule\":\"FREQ=DAILY\",\"skip\":[\"2026-02-30\"]}"},
        {"series", "\"nil\""},
        {"occurrence", "0"},
        {"occurrence", "-3"},
        {"occurrence", "\"3\""},
        {"reminders", "null"},
        {"reminders", "{}"},
        {"reminders", "[null]"},
        {"assignee", "\"me\""},
        {"parent", "0"},
        {"position", "\"a-0\""},
        {"position", "null"},
        {"created_at", "\"yesterday\""},
        {"created_by", "true"},
        {"updated_at", "\"\""},
        {"completed_at", "false"},
        {"closed_rev", "0"},
        {"deleted_at", "true"},
    };
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_refused(with_value(bytes, rows[i][0], mp_of(rows[i][1])), rows[i][0], rows[i][1]);
    assert_refused(with_value(bytes, "id", slice_none()), "id", "missing");
    assert_refused(with_value(bytes, "list", slice_none()), "list", "missing");
    assert_refused(mp_of("[]"), "all", "array");
    assert_refused(mp_of("null"), "all", "null");
    assert_refused(slice_none(), "all", "nothing");
}

static void reminders_must_be_whole(void **unused)
{
    (void)unused;
#define ID "\"id\":\"07000000-0000-0000-0000-000000000000\""
    static const char *const wrong[] = {
        "[{" ID ",\"before\":\"PT15M\"}]",
        "[{" ID ",\"for\":\"all\"}]",
        "[{\"before\":\"PT15M\",\"for\":\"all\"}]",
        "[{" ID ",\"before\":\"PT15M\",\"at\":\"2026-11-23T06:00:00Z\",\"for\":\"all\"}]",
        "[{" ID ",\"at\":null,\"for\":\"all\"}]",
        "[{" ID ",\"before\":\"soon\",\"for\":\"all\"}]",
        "[{" ID ",\"before\":\"P1M\",\"for\":\"all\"}]",
        "[{" ID ",\"before\":900,\"for\":\"all\"}]",
        "[{" ID ",\"at\":\"06:00\",\"for\":\"all\"}]",
        "[{" ID ",\"before\":\"PT15M\",\"for\":\"me\"}]",
        "[{" ID ",\"before\":\"PT15M\",\"for\":null}]",
        "[{\"id\":null,\"before\":\"PT15M\",\"for\":\"all\"}]",
    };
#undef ID
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_refused(with_value(bytes, "reminders", mp_of(wrong[i])), "reminders", wrong[i]);
}

static void limits_hold_to_the_last_character(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    slice_t reminder = mp_of("{\"id\":\"07000000-0000-0000-0000-000000000000\","
                             "\"before\":\"PT15M\",\"for\":\"all\"}");
    const struct {
        const char *key;
        slice_t last;
        slice_t first_beyond;
    } rows[] = {
        {"title", str_of("水", LIMIT_TITLE_CHARS), str_of("x", LIMIT_TITLE_CHARS + 1)},
        {"notes", str_of("x", LIMIT_NOTES_BYTES), str_of("x", LIMIT_NOTES_BYTES + 1)},
        {"notes", str_of("é", LIMIT_NOTES_BYTES / 2), str_of("é", LIMIT_NOTES_BYTES / 2 + 1)},
        {"position", str_of("z", LIMIT_POSITION_CHARS), str_of("z", LIMIT_POSITION_CHARS + 1)},
        {"tags", array_of(str_of("x", 1), LIMIT_TAGS), array_of(str_of("x", 1), LIMIT_TAGS + 1)},
        {"tags", array_of(str_of("🌱", LIMIT_TAG_CHARS), 2),
         array_of(str_of("x", LIMIT_TAG_CHARS + 1), 1)},
        {"reminders", array_of(reminder, LIMIT_REMINDERS), array_of(reminder, LIMIT_REMINDERS + 1)},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        decoded(with_value(bytes, rows[i].key, rows[i].last));
        assert_refused(with_value(bytes, rows[i].key, rows[i].first_beyond), rows[i].key, "limit");
    }
}

static void text_that_is_no_text_is_refused(void **unused)
{
    (void)unused;
    task_t task = full_task();
    slice_t bytes = encoded(&task);
    static const char *const keys[] = {"title", "notes", "time_zone", "due", "position", "status"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_refused(with_value(bytes, keys[i], str_of("\xff", 1)), keys[i], "not UTF-8");
        assert_refused(with_value(bytes, keys[i], str_of("a\xc3", 1)), keys[i], "cut off");
        assert_refused(with_value(bytes, keys[i], slice_of("\xa1\0", 2)), keys[i], "NUL");
    }
    assert_refused(with_value(bytes, "tags", array_of(slice_of("\xa1\0", 2), 1)), "tags", "NUL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_tasks_are_refused_at_every_length),
        cmocka_unit_test(a_changed_byte_never_does_harm),
        cmocka_unit_test(keys_may_come_in_any_order_but_only_once),
        cmocka_unit_test(wrong_types_and_words_are_refused),
        cmocka_unit_test(reminders_must_be_whole),
        cmocka_unit_test(limits_hold_to_the_last_character),
        cmocka_unit_test(text_that_is_no_text_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
