/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks to test with: one with every value, and random ones; and their encodings with a piece
 * exchanged. */
#ifndef TASKWIRE_TESTS_TASK_SAMPLE_H
#define TASKWIRE_TESTS_TASK_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "schema/json.h"
#include "schema/task.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* Of the test program; random tests reset it between their rounds. */
static arena_t *arena;

static inline int set_up(void **unused)
{
    (void)unused;
    arena = arena_new();
    return 0;
}

static inline int tear_down(void **unused)
{
    (void)unused;
    arena_destroy(&arena);
    return 0;
}

static inline void seed_random(void)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
}

/* --- random tasks: values from small pools, so that two tasks often agree in a field --- */

static inline uint32_t below(uint32_t n)
{
    return (uint32_t)random() % n;
}

static inline uuid_t random_uuid(void)
{
    uuid_t id = {{(uint8_t)(1 + below(3)), 0xab, 0xcd}};
    return id;
}

static inline uuid_t random_uuid_or_nil(void)
{
    return below(3) == 0 ? UUID_NIL : random_uuid();
}

static inline int64_t random_instant(void)
{
    static const int64_t pool[] = {0, -1, INSTANT_MIN, INSTANT_MAX, INT64_C(1795420800123456)};
    return pool[below(COUNT_OF(pool))];
}

static inline int64_t random_instant_or_none(void)
{
    return below(3) == 0 ? INSTANT_NONE : random_instant();
}

static inline slice_t random_text(uint32_t max_chars)
{
    static const char *const pool[] = {
        "a", "Z", " ", "\"", "\\", "/", "\n", "\x01", "\x7f", "é", "水", "🌱", "\xe2\x80\xa8",
    };
    buf_t text = {0};
    for (uint32_t n = below(3) == 0 ? max_chars : below(max_chars + 1); n > 0; n--)
        buf_append_str(&text, pool[below(COUNT_OF(pool))]);
    slice_t copy = text.n_bytes == 0 ? slice_str("") : arena_copy(arena, buf_slice(&text));
    buf_fini(&text);
    return copy;
}

static inline slice_t random_short_text(void)
{
    static const char *const pool[] = {"", "Water the plants", "水 \"🌱\""};
    return slice_str(pool[below(COUNT_OF(pool))]);
}

static inline void add_tags(task_t *task)
{
    slice_t *tags = arena_alloc(arena, LIMIT_TAGS * sizeof *tags);
    task->n_tags = below(4) == 0 ? LIMIT_TAGS : below(3);
    for (uint32_t i = 0; i < task->n_tags; i++)
        tags[i] = below(4) == 0 ? random_text(LIMIT_TAG_CHARS) : random_short_text();
    task->tags = tags;
}

static inline void add_due(task_t *task)
{
    static const char *const pool[] = {
        "2026-11-23",
        "2026-11-23T09:00",
        "2026-11-23T09:00:30",
        "2026-11-23T08:00:00.5Z",
    };
    static const due_kind_t kinds[] = {DUE_DATE, DUE_LOCAL, DUE_LOCAL, DUE_INSTANT};
    uint32_t i = below(COUNT_OF(pool));
    task->due = slice_str(pool[i]);
    task->due_kind = kinds[i];
    task->time_zone = slice_str(below(2) == 0 ? "Europe/Zurich" : "UTC");
    task->due_at_us = random_instant();
}

static inline void add_recurrence(task_t *task)
{
    static const slice_t skips[] = {{(const uint8_t *)"2026-12-24", 10},
                                    {(const uint8_t *)"2026-12-25", 10}};
    task->rule = slice_str(below(2) == 0 ? "FREQ=DAILY" : "FREQ=WEEKLY;INTERVAL=2;COUNT=7");
    if (below(2) == 0)
        task->rule_start = slice_str(below(2) == 0 ? "2026-11-23" : "2026-11-23T09:00");
    if (below(2) == 0)
        task->planned = slice_str("2026-11-30");
    task->n_skips = below(3);
    task->skips = task->n_skips == 0 ? NULL : skips;
    task->from = (recurrence_from_t)below(2);
    task->missed = (recurrence_missed_t)below(3);
    task->series = random_uuid();
    task->occurrence = below(2) == 0 ? 1 : 70000;
}

static inline void random_reminder(reminder_t *out)
{
    *out = (reminder_t){.id = random_uuid(), .at_us = INSTANT_NONE};
    if (below(2) == 0) {
        out->before = slice_str(below(2) == 0 ? "PT15M" : "-P1DT1H");
        assert_true(duration_parse(out->before, &out->before_us));
    } else {
        out->at_us = random_instant();
    }
    out->whom = (reminder_for_t)below(3);
    if (out->whom == FOR_ACCOUNT)
        out->account = random_uuid();
}

static inline task_t random_task(void)
{
    task_t task = {
        .id = random_uuid(),
        .list = random_uuid(),
        .rev = below(2) == 0 ? 1 : INT64_MAX,
        .title = below(2) == 0 ? random_text(LIMIT_TITLE_CHARS) : random_short_text(),
        .notes = below(8) == 0 ? random_text(LIMIT_NOTES_BYTES / 4) : random_short_text(),
        .status = (task_status_t)below(STATUS_COUNT),
        .priority = (task_priority_t)below(PRIORITY_COUNT),
        .due_at_us = INSTANT_NONE,
        .assignee = random_uuid_or_nil(),
        .parent = random_uuid_or_nil(),
        .position = slice_str(below(2) == 0 ? "a0" : "c1Zz"),
        .created_at_us = random_instant(),
        .created_by = random_uuid(),
        .updated_at_us = random_instant(),
        .completed_at_us = random_instant_or_none(),
        .closed_rev = below(3),
        .deleted_at_us = random_instant_or_none(),
    };
    add_tags(&task);
    if (below(3) != 0)
        add_due(&task);
    if (below(2) == 0)
        add_recurrence(&task);
    task.n_reminders = below(4) == 0 ? LIMIT_REMINDERS : below(3);
    for (uint32_t i = 0; i < task.n_reminders; i++)
        random_reminder(&task.reminders[i]);
    return task;
}

static inline slice_t encoded(const task_t *task)
{
    buf_t bytes = {0};
    task_encode(task, &bytes);
    slice_t copy = arena_copy(arena, buf_slice(&bytes));
    buf_fini(&bytes);
    return copy;
}

static inline task_t decoded(slice_t bytes)
{
    task_t task;
    assert_true(task_decode(bytes, arena, &task));
    return task;
}

/* The encoded map with one value put in the place of another, or with a pair added if the key is
 * new; a slice_none() removes the pair. */
static inline slice_t with_value(slice_t bytes, const char *key, slice_t value)
{
    buf_t out = {0};
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_pairs = 0;
    size_t n_put = 0;
    bool is_found = false;
    assert_true(mp_get_map(&reader, &n_pairs));
    size_t place = mp_open(&out);
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t name;
        slice_t old;
        assert_true(mp_get_str(&reader, &name) && mp_get_raw(&reader, &old));
        bool is_it = slice_is(name, key);
        is_found = is_found || is_it;
        if (is_it && value.data == NULL)
            continue;
        mp_put_str(&out, name);
        mp_put_raw(&out, is_it ? value : old);
        n_put++;
    }
    if (!is_found) {
        mp_put_cstr(&out, key);
        mp_put_raw(&out, value);
        n_put++;
    }
    mp_close_map(&out, place, n_put);
    slice_t copy = arena_copy(arena, buf_slice(&out));
    buf_fini(&out);
    return copy;
}

/* JSON text as msgpack. */
static inline slice_t mp_of(const char *json)
{
    buf_t out = {0};
    problem_t problem = {0};
    assert_int_equal(json_to_mp(slice_str(json), &out, arena, &problem), ERR_OK);
    slice_t copy = arena_copy(arena, buf_slice(&out));
    buf_fini(&out);
    return copy;
}

/* A task with every value present. */
static inline task_t full_task(void)
{
    task_t task = {
        .id = {{1}},
        .list = {{2}},
        .rev = 17,
        .title = slice_str("Water the plants"),
        .notes = slice_str("all of them"),
        .status = STATUS_OPEN,
        .priority = PRIORITY_MEDIUM,
        .due = slice_str("2026-11-23T09:00"),
        .due_kind = DUE_LOCAL,
        .time_zone = slice_str("Europe/Zurich"),
        .due_at_us = INT64_C(1795420800) * US_PER_S,
        .rule = slice_str("FREQ=WEEKLY"),
        .rule_start = slice_str("2026-11-16T09:00"),
        .series = {{3}},
        .occurrence = 3,
        .n_reminders = 2,
        .assignee = {{4}},
        .parent = {{5}},
        .position = slice_str("a0"),
        .created_at_us = 0,
        .created_by = {{6}},
        .updated_at_us = 1,
        .completed_at_us = 2,
        .closed_rev = 16,
        .deleted_at_us = INSTANT_NONE,
    };
    static const slice_t tags[] = {{(const uint8_t *)"home", 4}};
    task.tags = tags;
    task.n_tags = 1;
    task.reminders[0] = (reminder_t){
        .id = {{7}},
        .before = slice_str("PT15M"),
        .before_us = 900 * US_PER_S,
        .at_us = INSTANT_NONE,
        .whom = FOR_ACCOUNT,
        .account = {{4}},
    };
    task.reminders[1] = (reminder_t){.id = {{8}}, .at_us = 5 * US_PER_S, .whom = FOR_ALL};
    return task;
}

#endif
