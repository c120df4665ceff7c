/* SPDX-License-Identifier: Apache-2.0 */
/* Every reading goes by the index of pending rows, which is in the order of the keys. What is
 * looked for by its task adds 0 to the state, so that the planner does not take that index for it.
 */
#include "actors/reminder_load.h"

#include <stdlib.h>

#define TIMEOUT_US INT64_C(5000000)
#define MAX_MISSED 5000

/* See reminder_rows.c. */
#define SAME(n) "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $" #n "::text FOR SHARE)"

static const pg_stmt_t select_epoch = {"SELECT epoch FROM log_epoch"};
static const pg_stmt_t select_page = {
    "SELECT task, reminder, fire_at, trace FROM reminder WHERE state = 0 AND"
    " (fire_at, task, reminder) > ($1::timestamptz, $2::uuid, $3::uuid) AND"
    " fire_at <= $4::timestamptz ORDER BY fire_at, task, reminder LIMIT $5::bigint"};
static const pg_stmt_t select_overdue = {
    "SELECT task, reminder, fire_at, trace FROM reminder WHERE state = 0 AND"
    " fire_at >= $1::timestamptz"
    " AND fire_at <= $2::timestamptz ORDER BY fire_at, task, reminder LIMIT $3::bigint"};
static const pg_stmt_t mark_missed = {
    SAME(3) ", late AS MATERIALIZED (SELECT task, reminder FROM reminder WHERE state = 0 AND"
            " fire_at < $1::timestamptz ORDER BY fire_at, task, reminder LIMIT $2::bigint),"
            " missed AS (UPDATE reminder r SET state = 3 FROM late l WHERE r.task = l.task AND"
            " r.reminder = l.reminder AND r.state + 0 = 0 AND r.fire_at < $1::timestamptz AND"
            " EXISTS (SELECT 1 FROM same)"
            " RETURNING r.list, r.fire_at, r.task, r.reminder, r.whom, r.account)"
            " INSERT INTO reminder_past (list, fire_at, task, reminder, whom, account)"
            " SELECT * FROM missed ON CONFLICT DO NOTHING"};
static const pg_stmt_t end_refused = {
    SAME(4) " UPDATE reminder r SET state = 4 FROM unnest($1::uuid[], $2::uuid[],"
            " $3::timestamptz[]) AS k(task, reminder, fire_at) WHERE r.task = k.task AND"
            " r.reminder = k.reminder AND r.fire_at = k.fire_at AND r.state + 0 = 0 AND"
            " EXISTS (SELECT 1 FROM same)"};

typedef struct {
    near_key_t *keys;
    size_t n;
} keys_t;

static void on_keys(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    keys_t *found = arg;
    if (fate != PG_OK)
        return;
    found->n = (size_t)pg_rows(result);
    for (int row = 0; row < pg_rows(result); row++)
        found->keys[row] =
            (near_key_t){pg_uuid(result, row, 0), pg_uuid(result, row, 1),
                         pg_instant(result, row, 2), trace_of(pg_bytes(result, row, 3))};
}

static void on_changed(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    if (fate == PG_OK)
        *(int64_t *)arg = pg_changed(result);
}

static bool is_there(pg_t *pg)
{
    return pg_is_ready(pg) || pg_await(pg, TIMEOUT_US);
}

static bool run(pg_t *pg, const pg_stmt_t *stmt, pg_params_t *params, pg_done_f *done, void *arg)
{
    bool is_done = is_there(pg) && pg_run(pg, stmt, params, done, arg, TIMEOUT_US) == PG_OK;
    pg_params_fini(params);
    return is_done;
}

static void on_epoch(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    slice_t epoch = fate == PG_OK ? pg_bytes(result, 0, 0) : slice_none();
    if (epoch.n_bytes == EPOCH_CHARS)
        memcpy(arg, epoch.data, EPOCH_CHARS);
}

bool reminder_load_epoch(pg_t *pg, char out[EPOCH_CHARS])
{
    pg_params_t params = {0};
    return run(pg, &select_epoch, &params, on_epoch, out);
}

bool reminder_load_page(pg_t *pg, const near_page_t *page, near_t *near)
{
    pg_params_t params = {0};
    keys_t found = {.keys = calloc(page->limit, sizeof *found.keys)};
    if (found.keys == NULL)
        abort();
    pg_put_instant(&params, page->after.fire_at_us);
    pg_put_uuid(&params, &page->after.task);
    pg_put_uuid(&params, &page->after.reminder);
    pg_put_instant(&params, page->until_us);
    pg_put_i64(&params, (int64_t)page->limit);
    bool is_done = run(pg, &select_page, &params, on_keys, &found);
    if (is_done)
        near_load(near, page, found.keys, found.n);
    free(found.keys);
    return is_done;
}

bool reminder_load_overdue(pg_t *pg, int64_t from_us, int64_t now_us,
                           near_key_t out[LOAD_MAX_OVERDUE], size_t *n)
{
    pg_params_t params = {0};
    keys_t found = {.keys = out};
    pg_put_instant(&params, from_us);
    pg_put_instant(&params, now_us);
    pg_put_i64(&params, LOAD_MAX_OVERDUE);
    bool is_done = run(pg, &select_overdue, &params, on_keys, &found);
    *n = found.n;
    return is_done;
}

bool reminder_load_miss(pg_t *pg, const char epoch[EPOCH_CHARS], int64_t before_us, int64_t *n)
{
    pg_params_t params = {0};
    *n = 0;
    pg_put_instant(&params, before_us);
    pg_put_i64(&params, MAX_MISSED);
    pg_put_text(&params, slice_of(epoch, EPOCH_CHARS));
    return run(pg, &mark_missed, &params, on_changed, n);
}

bool reminder_load_end(pg_t *pg, const char epoch[EPOCH_CHARS], const near_key_t *keys, size_t n)
{
    pg_params_t params = {0};
    pg_array_begin(&params, PG_UUID);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(&params, &keys[i].task);
    pg_array_end(&params);
    pg_array_begin(&params, PG_UUID);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(&params, &keys[i].reminder);
    pg_array_end(&params);
    pg_array_begin(&params, PG_INSTANT);
    for (size_t i = 0; i < n; i++)
        pg_array_instant(&params, keys[i].fire_at_us);
    pg_array_end(&params);
    pg_put_text(&params, slice_of(epoch, EPOCH_CHARS));
    return run(pg, &end_refused, &params, NULL, NULL);
}
