/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of tasks: of one list, or over all lists that the account is a member of. The items are the
 * stored bodies as they are. */
#include "gateway/due_range.h"
#include "gateway/http.h"
#include "gateway/page.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/task_page.h"
#include "schema/json.h"
#include "schema/limits.h"
#include "schema/task.h"
#include "schema/words.h"

#define FILTER_PARAMS                                                                              \
    {"status", PARAM_REPEATS}, {"priority", PARAM_REPEATS}, {"tag", PARAM_REPEATS},                \
        {"assignee", PARAM_REPEATS}, {"due_from", PARAM_ONCE}, {"due_to", PARAM_ONCE},             \
        {"due", PARAM_ONCE}, {"recurring", PARAM_ONCE}, {"deleted", PARAM_ONCE},                   \
        {"q", PARAM_ONCE}, {"sort", PARAM_ONCE}, {"limit", PARAM_ONCE},                            \
    {                                                                                              \
        "cursor", PARAM_ONCE                                                                       \
    }

const param_t route_tasks_params[] = {
    FILTER_PARAMS,
    {"list", PARAM_REPEATS},
    {NULL, PARAM_ONCE},
};
const param_t route_list_tasks_params[] = {
    FILTER_PARAMS,
    {"min_rev", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};

/* --- what is asked for --- */

typedef struct {
    uuid_t list; /* nil: all of mine */
    task_sort_t sort;
    bool is_descending;
    int64_t limit;
    int statuses[STATUS_COUNT];
    size_t n_statuses;
    int priorities[PRIORITY_COUNT];
    size_t n_priorities;
    uuid_t lists[QUERY_MAX_ITEMS];
    size_t n_lists;
    uuid_t assignees[QUERY_MAX_ITEMS];
    size_t n_assignees;
    bool wants_unassigned;
    int due_word; /* due_word_t, or none: -1 */
    due_range_t due;
    int recurring; /* 0 or 1, or -1: either */
    bool is_deleted;
    slice_t words; /* a tsquery; absent: any */
    slice_t purpose; /* of its cursor */
    task_place_t place;
} wish_t;

static const int open_statuses[] = {STATUS_OPEN, STATUS_IN_PROGRESS};
static const char *const yes_or_no[] = {"false", "true", NULL};

static bool read_sort(call_t *call, wish_t *wish, problem_t *problem)
{
    slice_t text = query_get(&call->query, "sort");
    if (text.data == NULL) {
        wish->sort = uuid_is_nil(&wish->list) ? SORT_DUE : SORT_POSITION;
        return true;
    }
    wish->is_descending = text.n_bytes > 0 && text.data[0] == '-';
    slice_t name = wish->is_descending ? slice_of(text.data + 1, text.n_bytes - 1) : text;
    for (int i = 0; i < SORT_COUNT; i++) {
        if (slice_is(name, task_sort_names[i])) {
            wish->sort = (task_sort_t)i;
            return true;
        }
    }
    return query_refuse("sort",
                        "must be one of: due, priority, position, created_at, updated_at, title, "
                        "perhaps with a '-' before it",
                        call->arena, problem);
}

/* Accounts, "me" for oneself, "none" for nobody. */
static bool read_assignees(call_t *call, wish_t *wish, problem_t *problem)
{
    size_t n = query_count(&call->query, "assignee");
    for (size_t i = 0; i < n; i++) {
        slice_t text = query_get_at(&call->query, "assignee", i);
        uuid_t *id = &wish->assignees[wish->n_assignees];
        if (slice_is(text, "none")) {
            wish->wants_unassigned = true;
            continue;
        }
        if (slice_is(text, "me"))
            *id = call->identity.account;
        else if (!uuid_parse(text, id))
            return query_refuse("assignee", "must be a UUID, or one of: me, none", call->arena,
                                problem);
        wish->n_assignees++;
    }
    return true;
}

/* A parameter that is one of some words, or not there: then `out` stays as it is. */
static bool read_word(call_t *call, const char *name, const char *const *words, int *out,
                      problem_t *problem)
{
    size_t n = 0;
    return query_words(&call->query, name, words, 1, out, &n, call->arena, problem);
}

static void read_words(call_t *call, wish_t *wish)
{
    slice_t text = query_get(&call->query, "q");
    buf_t buf = {0};
    if (text.data != NULL && words_put_query(text, &buf))
        wish->words = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
}

static bool read_filters(call_t *call, wish_t *wish, problem_t *problem)
{
    const query_t *query = &call->query;
    arena_t *arena = call->arena;
    int is_deleted = 0;
    wish->due_word = -1;
    wish->recurring = -1;
    bool ok =
        query_words(query, "status", task_status_names, STATUS_COUNT, wish->statuses,
                    &wish->n_statuses, arena, problem) &&
        query_words(query, "priority", task_priority_names, PRIORITY_COUNT, wish->priorities,
                    &wish->n_priorities, arena, problem) &&
        query_uuids(query, "list", QUERY_MAX_ITEMS, wish->lists, &wish->n_lists, arena, problem) &&
        read_assignees(call, wish, problem) &&
        read_word(call, "due", due_words, &wish->due_word, problem) &&
        read_word(call, "recurring", yes_or_no, &wish->recurring, problem) &&
        read_word(call, "deleted", yes_or_no, &is_deleted, problem);
    wish->is_deleted = is_deleted;
    read_words(call, wish);
    return ok;
}

static slice_t purpose_of(call_t *call, const wish_t *wish)
{
    char list[UUID_TEXT_CHARS];
    uuid_format(&wish->list, list);
    return arena_format(call->arena, "tasks %.*s %s%s", UUID_TEXT_CHARS, list,
                        wish->is_descending ? "-" : "", task_sort_names[wish->sort]);
}

static bool read_place(call_t *call, wish_t *wish)
{
    slice_t place;
    wish->purpose = purpose_of(call, wish);
    if (!page_read_cursor(call, wish->purpose, &place))
        return false;
    if (place.data == NULL)
        task_place_first(wish->sort, wish->is_descending, call->arena, &wish->place);
    else if (!task_place_decode(wish->sort, place, &wish->place))
        return page_refuse_cursor(call);
    if (place.data == NULL)
        wish->place.asked_at_us = call->gateway->now.wall_us;
    return true;
}

static bool read_wish(call_t *call, wish_t *wish)
{
    problem_t problem = {0};
    if (read_sort(call, wish, &problem) && read_filters(call, wish, &problem))
        return page_read_limit(call, &wish->limit) && read_place(call, wish);
    reply_problem(call, &problem);
    return false;
}

/* Due dates are days and hours of the account's time zone. */
static bool read_due(call_t *call, wish_t *wish, slice_t zone)
{
    problem_t problem = {0};
    slice_t from = query_get(&call->query, "due_from");
    slice_t to = query_get(&call->query, "due_to");
    const char *wrong = NULL;
    wish->due = (due_range_t){INSTANT_NONE, INSTANT_NONE, false};
    if (wish->due_word >= 0)
        due_range_add_word(&wish->due, (due_word_t)wish->due_word, zone, wish->place.asked_at_us);
    if (from.data != NULL && !due_range_add_from(&wish->due, from, zone))
        wrong = "due_from";
    else if (to.data != NULL && !due_range_add_to(&wish->due, to, zone))
        wrong = "due_to";
    if (wrong == NULL)
        return true;
    query_refuse(wrong, "must be a date, a local time, or an instant with Z or an offset",
                 call->arena, &problem);
    reply_problem(call, &problem);
    return false;
}

/* --- asking --- */

const pg_stmt_t select_time_zone = {"SELECT time_zone FROM account WHERE id = $1::uuid"};

static void put_numbers(pg_params_t *params, const int *numbers, size_t n)
{
    if (n == 0) {
        pg_put_null(params);
        return;
    }
    pg_array_begin(params, PG_I16);
    for (size_t i = 0; i < n; i++)
        pg_array_i16(params, (int16_t)numbers[i]);
    pg_array_end(params);
}

static void put_uuids(pg_params_t *params, const uuid_t *ids, size_t n)
{
    if (n == 0) {
        pg_put_null(params);
        return;
    }
    pg_array_begin(params, PG_UUID);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(params, &ids[i]);
    pg_array_end(params);
}

static void put_tags(const query_t *query, pg_params_t *params)
{
    size_t n = query_count(query, "tag");
    if (n == 0) {
        pg_put_null(params);
        return;
    }
    pg_array_begin(params, PG_TEXT);
    for (size_t i = 0; i < n; i++)
        pg_array_text(params, query_get_at(query, "tag", i));
    pg_array_end(params);
}

/* Nobody, as the only assignee, is an empty array. */
static void put_assignees(const wish_t *wish, pg_params_t *params)
{
    if (wish->n_assignees > 0 || !wish->wants_unassigned) {
        put_uuids(params, wish->assignees, wish->n_assignees);
        return;
    }
    pg_array_begin(params, PG_UUID);
    pg_array_end(params);
}

/* What has no due date is in no range that has a limit. */
static void put_due(const wish_t *wish, pg_params_t *params)
{
    bool has_from = wish->due.from_us != INSTANT_NONE;
    bool has_to = wish->due.to_us != INSTANT_NONE;
    pg_put_instant(params, has_from ? wish->due.from_us : INSTANT_MIN);
    pg_put_instant(params, has_to || !has_from ? wish->due.to_us : INSTANT_MAX);
}

static void put_params(call_t *call, const wish_t *wish, pg_params_t *params)
{
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &wish->list);
    call_put_lists(call, params);
    if (wish->n_statuses == 0 && wish->is_deleted)
        put_numbers(params, open_statuses, 2);
    else
        put_numbers(params, wish->statuses, wish->n_statuses);
    put_numbers(params, wish->priorities, wish->n_priorities);
    put_tags(&call->query, params);
    put_uuids(params, wish->lists, wish->n_lists);
    put_assignees(wish, params);
    task_place_put(wish->sort, &wish->place, params);
    pg_put_i64(params, wish->limit + 1);
    pg_put_bool(params, wish->wants_unassigned);
    put_due(wish, params);
    pg_put_bool(params, wish->due.is_none);
    if (wish->recurring < 0)
        pg_put_null(params);
    else
        pg_put_bool(params, wish->recurring);
    pg_put_text(params, wish->words);
}

/* Without a word about status: the open ones. */
static task_set_t set_of(const wish_t *wish)
{
    if (wish->is_deleted)
        return TASKS_DELETED;
    bool has_live = wish->n_statuses == 0;
    bool has_closed = false;
    for (size_t i = 0; i < wish->n_statuses; i++) {
        bool is_closed = wish->statuses[i] >= STATUS_DONE;
        has_live = has_live || !is_closed;
        has_closed = has_closed || is_closed;
    }
    return has_live && has_closed ? TASKS_ANY : has_closed ? TASKS_CLOSED : TASKS_LIVE;
}

/* --- answering --- */

static slice_t place_of_last(call_t *call, const wish_t *wish, const pg_result_t *result, int row)
{
    task_place_t place;
    buf_t buf = {0};
    task_place_of_row(wish->sort, result, row, &place);
    place.asked_at_us = wish->place.asked_at_us;
    task_place_encode(wish->sort, &place, &buf);
    slice_t encoded = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return encoded;
}

static void reply_page(call_t *call, const wish_t *wish, const pg_result_t *result)
{
    bool is_empty = pg_rows(result) == 0 || pg_is_null(result, 0, 2);
    int n_items = is_empty ? 0 : pg_rows(result) > wish->limit ? (int)wish->limit : pg_rows(result);
    bool has_next = !is_empty && pg_int(result, 0, 5) > n_items;
    buf_t *out = reply_buffer(call);
    buf_append_str(out, "{\"items\":[");
    for (int row = 0; row < n_items; row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        if (!json_from_mp(pg_bytes(result, row, 4), out)) {
            reply_err(call, ERR_INTERNAL, "What is stored cannot be shown.");
            return;
        }
    }
    slice_t place = has_next ? place_of_last(call, wish, result, n_items - 1) : slice_none();
    if (page_put_next(call, out, wish->purpose, place))
        reply_json(call, 200, buf_slice(out));
}

static void show_page(call_t *call, const pg_result_t *result)
{
    const wish_t *wish = call->state;
    bool is_one_list = !uuid_is_nil(&wish->list);
    if (is_one_list && pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such list, or you are no member of it.");
        return;
    }
    if (!is_one_list || !call_must_wait(call, pg_int(result, 0, 0)))
        reply_page(call, wish, result);
}

static void ask(call_t *call, const wish_t *wish)
{
    pg_params_t *params = call_params(call);
    put_params(call, wish, params);
    call_read(call,
              task_page_statement(wish->sort, wish->is_descending, !uuid_is_nil(&wish->list),
                                  set_of(wish)),
              params, show_page);
}

static void go_on_with_zone(call_t *call, const pg_result_t *result)
{
    wish_t *wish = call->state;
    slice_t zone = pg_rows(result) > 0 ? pg_bytes(result, 0, 0) : slice_str("UTC");
    if (read_due(call, wish, zone))
        ask(call, wish);
}

static void serve(call_t *call, const uuid_t *list)
{
    wish_t *wish = arena_alloc(call->arena, sizeof *wish);
    wish->list = *list;
    if (!read_wish(call, wish))
        return;
    call->state = wish;
    bool needs_zone = query_count(&call->query, "due_from") > 0 ||
                      query_count(&call->query, "due_to") > 0 || wish->due_word == DUE_TODAY ||
                      wish->due_word == DUE_WEEK;
    if (needs_zone) {
        pg_params_t *params = call_params(call);
        pg_put_uuid(params, &call->identity.account);
        call_read(call, &select_time_zone, params, go_on_with_zone);
    } else if (read_due(call, wish, slice_str("UTC"))) {
        ask(call, wish);
    }
}

void route_tasks_get(call_t *call)
{
    serve(call, &(uuid_t){{0}});
}

void route_list_tasks_get(call_t *call)
{
    serve(call, &call->ids[0]);
}
