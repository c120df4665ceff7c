/* SPDX-License-Identifier: Apache-2.0 */
/* The near horizon over a table in memory: whatever is added, ended and forgotten, each pending row
 * is due once its instant has come, and none before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "actors/reminder_near.h"

#define MINUTE_US (60 * US_PER_S)
#define HORIZON_US (10 * MINUTE_US)
#define MAX_ROWS 4000
#define LIMIT 512

typedef struct {
    near_key_t key;
    bool is_pending;
    int n_fired;
} row_t;

static row_t rows[MAX_ROWS];
static size_t n_rows;
static near_t *near;
static int64_t now_us;

static int start(void **unused)
{
    (void)unused;
    n_rows = 0;
    now_us = INT64_C(1800000000000000);
    near = near_new(LIMIT, HORIZON_US);
    near_reset(near, now_us, now_us - MINUTE_US);
    return 0;
}

static int stop(void **unused)
{
    (void)unused;
    near_destroy(&near);
    return 0;
}

/* --- the table --- */

static row_t *add_row(int64_t fire_at_us)
{
    assert_true(n_rows < MAX_ROWS);
    row_t *row = &rows[n_rows++];
    *row = (row_t){.key.fire_at_us = fire_at_us, .is_pending = true};
    memcpy(row->key.task.bytes, &n_rows, sizeof n_rows);
    for (size_t i = 0; i < sizeof n_rows; i++) /* in any order */
        row->key.reminder.bytes[i] = (uint8_t)random();
    return row;
}

static int compare_keys(const near_key_t *a, const near_key_t *b)
{
    if (a->fire_at_us != b->fire_at_us)
        return a->fire_at_us < b->fire_at_us ? -1 : 1;
    int by_task = memcmp(a->task.bytes, b->task.bytes, sizeof a->task.bytes);
    return by_task != 0 ? by_task
                        : memcmp(a->reminder.bytes, b->reminder.bytes, sizeof a->reminder.bytes);
}

static int by_key(const void *a, const void *b)
{
    return compare_keys(a, b);
}

/* As the statement reads it. */
static size_t read_page(const near_page_t *page, near_key_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].is_pending && compare_keys(&rows[i].key, &page->after) > 0 &&
            rows[i].key.fire_at_us <= page->until_us)
            out[n++] = rows[i].key;
    }
    qsort(out, n, sizeof *out, by_key);
    return n < page->limit ? n : page->limit;
}

static void load_all(void)
{
    static near_key_t keys[MAX_ROWS];
    near_page_t page;
    for (int i = 0; near_wants(near, now_us, &page); i++) {
        assert_true(i < 100);
        assert_true(page.limit > 0);
        near_load(near, &page, keys, read_page(&page, keys));
    }
}

static row_t *row_of(const near_key_t *key)
{
    size_t n = 0;
    memcpy(&n, key->task.bytes, sizeof n);
    return &rows[n - 1];
}

/* Fires what is due; it stays pending no longer. */
static size_t turn(void)
{
    const near_key_t *key;
    size_t n = 0;
    int64_t last_us = INSTANT_NONE;
    near_turn(near, now_us);
    for (; (key = near_first(near)) != NULL; near_shift(near)) {
        row_t *row = row_of(key);
        assert_true(key->fire_at_us <= now_us);
        assert_true(key->fire_at_us >= last_us);
        last_us = key->fire_at_us;
        if (row->is_pending && compare_keys(key, &row->key) == 0) {
            row->is_pending = false;
            row->n_fired++;
            n++;
        }
    }
    return n;
}

static void pass(int64_t us)
{
    now_us += us;
    load_all();
    (void)turn();
}

/* --- the tests --- */

static void only_what_is_near_is_loaded(void **unused)
{
    (void)unused;
    add_row(now_us + MINUTE_US);
    add_row(now_us + HORIZON_US);
    add_row(now_us + HORIZON_US + 1);
    load_all();
    assert_int_equal(near_count(near), 2);
    assert_true(near_next_us(near) <= now_us + MINUTE_US);
    pass(HORIZON_US / 2 + 1);
    assert_int_equal(near_count(near), 2); /* one fired, another one came near */
}

static void it_fires_at_the_instant_and_says_until_when_to_sleep(void **unused)
{
    (void)unused;
    int64_t due_us = now_us + 3 * MINUTE_US + 17;
    row_t *row = add_row(due_us);
    int n_steps = 0;
    load_all();
    for (; row->is_pending; n_steps++) {
        int64_t next_us = near_next_us(near);
        assert_true(next_us <= due_us && next_us > now_us);
        assert_true(n_steps < 10);
        now_us = next_us;
        (void)turn();
    }
    assert_true(now_us == due_us);
    assert_int_equal(near_count(near), 0);
    assert_true(near_next_us(near) == INT64_MAX);
}

static void what_is_offered_beyond_what_was_loaded_is_left_to_the_rows(void **unused)
{
    (void)unused;
    load_all();
    near_offer(near, &add_row(now_us + MINUTE_US)->key);
    near_offer(near, &add_row(now_us + 2 * HORIZON_US)->key);
    assert_int_equal(near_count(near), 1);
    pass(2 * HORIZON_US - 1);
    assert_int_equal(rows[0].n_fired, 1);
    assert_int_equal(rows[1].n_fired, 0);
    pass(1);
    assert_int_equal(rows[1].n_fired, 1);
}

static void many_of_one_instant_fire_all(void **unused)
{
    (void)unused;
    for (int i = 0; i < MAX_ROWS; i++)
        add_row(now_us + MINUTE_US);
    load_all();
    assert_true(near_count(near) <= LIMIT);
    pass(MINUTE_US);
    for (int i = 0; i < 100; i++)
        pass(1);
    for (int i = 0; i < MAX_ROWS; i++)
        assert_int_equal(rows[i].n_fired, 1);
}

static void what_waits_for_room_comes_in_order_and_is_not_lost(void **unused)
{
    (void)unused;
    const near_key_t *key;
    int64_t last_us = INSTANT_NONE;
    size_t n_fired = 0;
    load_all();
    for (; n_fired < MAX_ROWS; now_us += 500) {
        while (n_rows < MAX_ROWS && near_count(near) < LIMIT)
            near_offer(near, &add_row(++now_us)->key);
        near_turn(near, now_us);
        for (int room = 1 + (int)(now_us % 7); room > 0 && (key = near_first(near)) != NULL;
             room--) {
            assert_true(key->fire_at_us > last_us && key->fire_at_us <= now_us);
            last_us = key->fire_at_us;
            near_shift(near);
            n_fired++;
        }
    }
    assert_int_equal(near_count(near), 0);
}

static void without_room_all_is_loaded_anew(void **unused)
{
    (void)unused;
    load_all();
    for (int i = 0; i < 2 * LIMIT; i++)
        near_offer(near, &add_row(now_us + MINUTE_US + random() % MINUTE_US)->key);
    assert_true(near_count(near) <= LIMIT);
    for (int i = 0; i < 200; i++)
        pass(US_PER_S);
    for (int i = 0; i < 2 * LIMIT; i++)
        assert_int_equal(rows[i].n_fired, 1);
}

static void what_is_before_the_beginning_is_not_loaded(void **unused)
{
    (void)unused;
    add_row(now_us - MINUTE_US - 1);
    add_row(now_us - MINUTE_US);
    pass(0);
    assert_int_equal(rows[0].n_fired, 0);
    assert_int_equal(rows[1].n_fired, 1);
}

/* --- years at random --- */

static int64_t some_time(void)
{
    static const int64_t spans[] = {1000,       US_PER_S,   MINUTE_US,
                                    HORIZON_US, US_PER_DAY, 90 * US_PER_DAY};
    return ((int64_t)random() << 31 | random()) % spans[random() % 6];
}

/* One of those that wait moves to another instant, as a row whose task was changed does: what is in
 * memory of the former one is stale. */
static void move_one(void)
{
    row_t *row = &rows[(size_t)random() % n_rows];
    if (!row->is_pending)
        return;
    row->key.fire_at_us = now_us + 1 + some_time();
    near_offer(near, &row->key);
}

static void check_all(void)
{
    for (size_t i = 0; i < n_rows; i++) {
        const row_t *row = &rows[i];
        assert_false(row->is_pending && row->key.fire_at_us <= now_us);
        assert_true(row->n_fired <= 1);
    }
}

static void each_instant_of_years_fires_once(void **unused)
{
    (void)unused;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    int64_t start_us = now_us;
    while (n_rows < MAX_ROWS || now_us < start_us + 3 * 366 * US_PER_DAY) {
        int dice = (int)(random() % 100);
        if (dice < 40 && n_rows < MAX_ROWS)
            near_offer(near, &add_row(now_us + 1 + some_time())->key);
        else if (dice < 60 && n_rows > 0)
            move_one();
        else if (dice < 62) /* a crash, or a clock that was set */
            near_reset(near, now_us, now_us - US_PER_DAY);
        else if (dice < 64) /* rows that nobody offers are read with their page, or after a crash */
            pass(HORIZON_US);
        else if (dice < 90)
            pass(some_time() % US_PER_S);
        else
            pass(some_time());
        load_all();
        (void)turn();
        check_all();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_near_is_loaded),
        TEST(it_fires_at_the_instant_and_says_until_when_to_sleep),
        TEST(what_is_offered_beyond_what_was_loaded_is_left_to_the_rows),
        TEST(many_of_one_instant_fire_all),
        TEST(what_waits_for_room_comes_in_order_and_is_not_lost),
        TEST(without_room_all_is_loaded_anew),
        TEST(what_is_before_the_beginning_is_not_loaded),
        TEST(each_instant_of_years_fires_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
