/* SPDX-License-Identifier: Apache-2.0 */
/* What will remind me and what has: of the lists that I am a member of, what is for me, for the
 * assignee that I am (or was when it fired), or for all. What is to come is read from the rows that
 * fire, what was from those that stay. In the order of their instants. */
#include "gateway/http.h"
#include "gateway/object.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "schema/json.h"
#include "schema/task.h"

#define STATE_PENDING 0

const param_t route_reminders_params[] = {
    {"from", PARAM_ONCE},   {"to", PARAM_ONCE}, {"limit", PARAM_ONCE},
    {"cursor", PARAM_ONCE}, {NULL, PARAM_ONCE},
};

/* $1 account, $2 lists of the token, $3 from, $4 to, $5 to $7 the last one shown, $8 how many. */
#define WITHIN                                                                                     \
    " WHERE r.list = m.list AND r.fire_at >= $3::timestamptz AND r.fire_at < $4::timestamptz"      \
    " AND (r.fire_at, r.task, r.reminder) > ($5::timestamptz, $6::uuid, $7::uuid)"                 \
    " AND (r.whom = 2 OR r.account = $1::uuid)"
#define IN_ORDER " ORDER BY fire_at, task, reminder LIMIT $8::bigint"

static const pg_stmt_t select_reminders = {
    "SELECT q.fire_at, q.task, q.reminder, q.list, q.whom, q.account, q.fired_at, q.state,"
    " ARRAY(SELECT d.account FROM reminder_dismissed d WHERE d.task = q.task"
    " AND d.reminder = q.reminder AND d.until >= q.fire_at AND q.state <> 0 ORDER BY d.account)"
    " FROM (SELECT c.* FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " CROSS JOIN LATERAL ("
    "(SELECT r.fire_at, r.task, r.reminder, r.list, r.whom, r.account,"
    " NULL::timestamptz AS fired_at, 0 AS state FROM reminder r" WITHIN " AND r.state = 0" IN_ORDER
    ") UNION ALL "
    "(SELECT r.fire_at, r.task, r.reminder, r.list, r.whom, r.account, r.fired_at,"
    " CASE WHEN r.fired_at IS NULL THEN 3 ELSE 1 END FROM reminder_past r" WITHIN IN_ORDER ")) c"
    " WHERE m.account = $1::uuid AND ($2::uuid[] IS NULL OR m.list = ANY($2::uuid[]))" IN_ORDER
    ") q ORDER BY q.fire_at, q.task, q.reminder"};

/* Where a page begins: behind this one. */
typedef struct {
    int64_t fire_at_us;
    uuid_t task;
    uuid_t reminder;
} place_t;

typedef struct {
    int64_t from_us;
    int64_t to_us;
    int64_t limit;
    place_t place;
} wish_t;

static const char purpose[] = "reminders";

/* --- what is asked for --- */

static bool read_instant(call_t *call, const char *name, int64_t *out)
{
    problem_t problem = {0};
    slice_t text = query_get(&call->query, name);
    if (text.data == NULL || instant_parse(text, out))
        return true;
    query_refuse(name, "must be an instant like 2026-11-23T08:00:00Z", call->arena, &problem);
    reply_problem(call, &problem);
    return false;
}

static bool decode_place(slice_t bytes, place_t *out)
{
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n = 0;
    return mp_get_array(&reader, &n) && n == 3 && mp_get_instant(&reader, &out->fire_at_us) &&
           mp_get_uuid(&reader, &out->task) && mp_get_uuid(&reader, &out->reminder);
}

static bool read_place(call_t *call, wish_t *wish)
{
    slice_t place;
    wish->place = (place_t){.fire_at_us = INSTANT_MIN};
    if (!page_read_cursor(call, slice_str(purpose), &place))
        return false;
    if (place.data == NULL || decode_place(place, &wish->place))
        return true;
    return page_refuse_cursor(call);
}

/* --- answering --- */

static void put_whom(const pg_result_t *result, int row, buf_t *out)
{
    uuid_t account = pg_uuid(result, row, 5);
    mp_put_cstr(out, "for");
    switch ((reminder_for_t)pg_int(result, row, 4)) {
    case FOR_ACCOUNT:
        mp_put_uuid(out, &account);
        break;
    case FOR_ASSIGNEE:
        mp_put_cstr(out, "assignee");
        break;
    case FOR_ALL:
        mp_put_cstr(out, "all");
        break;
    }
}

static const char *state_of(const pg_result_t *result, int row)
{
    if (pg_int(result, row, 7) == STATE_PENDING)
        return "pending";
    return pg_is_null(result, row, 6) ? "missed" : "fired";
}

/* Whole milliseconds, rounded down. */
static void put_lateness(const pg_result_t *result, int row, buf_t *out)
{
    int64_t fired_us = pg_instant(result, row, 6);
    mp_put_cstr(out, "late_ms");
    if (fired_us == INSTANT_NONE)
        mp_put_nil(out);
    else
        mp_put_int(out, (fired_us - pg_instant(result, row, 0)) / 1000);
}

static void put_dismissed(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    size_t n = pg_uuid_array(result, row, 8, NULL, 0);
    uuid_t *accounts = arena_alloc(call->arena, n * sizeof *accounts);
    pg_uuid_array(result, row, 8, accounts, n);
    mp_put_cstr(out, "dismissed_by");
    mp_put_array(out, n);
    for (size_t i = 0; i < n; i++)
        mp_put_uuid(out, &accounts[i]);
}

static void put_item(call_t *call, const pg_result_t *result, int row, buf_t *out)
{
    uuid_t task = pg_uuid(result, row, 1);
    uuid_t reminder = pg_uuid(result, row, 2);
    uuid_t list = pg_uuid(result, row, 3);
    mp_put_map(out, 9);
    object_uuid(out, "task", &task);
    object_uuid(out, "list", &list);
    object_uuid(out, "reminder", &reminder);
    object_instant(out, "at", pg_instant(result, row, 0));
    put_whom(result, row, out);
    object_text(out, "state", slice_str(state_of(result, row)));
    object_instant(out, "fired_at", pg_instant(result, row, 6));
    put_lateness(result, row, out);
    put_dismissed(call, result, row, out);
}

static slice_t place_of(call_t *call, const pg_result_t *result, int row)
{
    uuid_t task = pg_uuid(result, row, 1);
    uuid_t reminder = pg_uuid(result, row, 2);
    buf_t buf = {0};
    mp_put_array(&buf, 3);
    mp_put_instant(&buf, pg_instant(result, row, 0));
    mp_put_uuid(&buf, &task);
    mp_put_uuid(&buf, &reminder);
    slice_t place = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return place;
}

static void show_page(call_t *call, const pg_result_t *result)
{
    const wish_t *wish = call->state;
    bool has_next = pg_rows(result) > wish->limit;
    int n_items = has_next ? (int)wish->limit : pg_rows(result);
    buf_t *out = reply_buffer(call);
    buf_t item = {0};
    buf_append_str(out, "{\"items\":[");
    for (int row = 0; row < n_items; row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        buf_reset(&item);
        put_item(call, result, row, &item);
        (void)json_from_mp(buf_slice(&item), out);
    }
    buf_fini(&item);
    slice_t place = has_next ? place_of(call, result, n_items - 1) : slice_none();
    if (page_put_next(call, out, slice_str(purpose), place))
        reply_json(call, 200, buf_slice(out));
}

void route_reminders_get(call_t *call)
{
    wish_t *wish = arena_alloc(call->arena, sizeof *wish);
    *wish = (wish_t){.from_us = call->gateway->now.wall_us, .to_us = INSTANT_MAX};
    if (!read_instant(call, "from", &wish->from_us) || !read_instant(call, "to", &wish->to_us) ||
        !page_read_limit(call, &wish->limit) || !read_place(call, wish))
        return;
    call->state = wish;
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    call_put_lists(call, params);
    pg_put_instant(params, wish->from_us);
    pg_put_instant(params, wish->to_us);
    pg_put_instant(params, wish->place.fire_at_us);
    pg_put_uuid(params, &wish->place.task);
    pg_put_uuid(params, &wish->place.reminder);
    pg_put_i64(params, wish->limit + 1);
    call_read(call, &select_reminders, params, show_page);
}
