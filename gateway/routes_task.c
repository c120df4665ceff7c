/* SPDX-License-Identifier: Apache-2.0 */
/* One task: reading it is one statement, membership included; each change is one command, whose
 * result already holds the task as it reads then. A task's path does not name its list: the writer
 * finds it. */
#include "gateway/etag.h"
#include "gateway/http.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/data.h"

/* --- reading --- */

static void show_task(call_t *call, const task_read_t *task)
{
    if (task == NULL) {
        reply_err(call, ERR_NOT_FOUND, "There is no such task, or you may not see it.");
        return;
    }
    task_tag_t tag = {task->list, call->ids[0], task->rev};
    history_note(&call->gateway->http->history, task->epoch);
    if (!reply_etag(call, etag_of_task((const char *)task->epoch.data, &tag, call->arena)))
        reply_mp(call, 200, task->body);
}

void route_task_get(call_t *call)
{
    call_read_task(call, &call->ids[0], show_task);
}

/* --- changing --- */

static bool find_id(slice_t body, const char *key, uuid_t *out)
{
    slice_t value;
    if (!mp_map_find(body, key, &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_uuid(&reader, out);
}

static bool find_rev(slice_t body, int64_t *out)
{
    slice_t value;
    if (!mp_map_find(body, "rev", &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_int(&reader, out);
}

static void put_etag(call_t *call, slice_t body)
{
    const history_t *history = &call->gateway->http->history;
    task_tag_t tag;
    if (history->is_known && find_id(body, "id", &tag.task) && find_id(body, "list", &tag.list) &&
        find_rev(body, &tag.rev))
        reply_header(call, "ETag", etag_of_task(history->epoch, &tag, call->arena));
}

/* To who may write but not read: where it went, and at which rev. */
static void answer_without_task(call_t *call, const outcome_t *outcome, int status)
{
    buf_t buf = {0};
    mp_put_map(&buf, 3);
    mp_put_cstr(&buf, "id");
    mp_put_uuid(&buf, &outcome->task);
    mp_put_cstr(&buf, "list");
    mp_put_uuid(&buf, &outcome->stream);
    mp_put_cstr(&buf, "rev");
    mp_put_int(&buf, outcome->rev);
    reply_mp(call, status, buf_slice(&buf));
    buf_fini(&buf);
}

void route_task_answer(call_t *call, const result_t *result, int status)
{
    const outcome_t *outcome = &result->outcome;
    write_put_headers(call, result);
    if (outcome->body.data == NULL) {
        answer_without_task(call, outcome, status);
        return;
    }
    put_etag(call, outcome->body);
    reply_mp(call, status, outcome->body);
}

static void on_created(call_t *call, const result_t *result)
{
    if (!call_succeeded(call, result))
        return;
    write_put_location(call, "/v1/tasks/", &result->outcome.task);
    route_task_answer(call, result, 201);
}

void route_tasks_post(call_t *call)
{
    command_t command;
    slice_t body;
    if (!write_begin(call, OP_TASK_CREATE, &command) || !write_read_body(call, true, &body) ||
        !write_split_id(call, body, &command.task, &command.data))
        return;
    command.list = call->ids[0];
    if (!write_expect_task(call, &command))
        return;
    command_fingerprint(&command);
    call_submit(call, &command, on_created);
}

static void on_changed(call_t *call, const result_t *result)
{
    if (call_succeeded(call, result))
        route_task_answer(call, result, 200);
}

static void change(call_t *call, op_t op, bool needs_body, bool takes_body)
{
    command_t command;
    if (!write_begin(call, op, &command))
        return;
    command.task = call->ids[0];
    if (!write_expect_task(call, &command) ||
        (takes_body && !write_read_body(call, needs_body, &command.data)))
        return;
    command_fingerprint(&command);
    call_submit(call, &command, on_changed);
}

void route_task_patch(call_t *call)
{
    change(call, OP_TASK_PATCH, true, true);
}

const param_t route_task_delete_params[] = {
    {"series", PARAM_ONCE},
    {NULL, PARAM_ONCE},
};

/* {"series": WORD}, or nothing where the parameter was not sent. */
static bool read_of_series(call_t *call, slice_t *out)
{
    static const char *const words[] = {"this", "all", NULL};
    problem_t problem = {0};
    buf_t buf = {0};
    int word = 0;
    size_t n = 0;
    if (!query_words(&call->query, "series", words, 1, &word, &n, call->arena, &problem)) {
        reply_problem(call, &problem);
        return false;
    }
    if (n == 0)
        return true;
    mp_put_map(&buf, 1);
    mp_put_cstr(&buf, "series");
    mp_put_cstr(&buf, words[word]);
    *out = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return true;
}

void route_task_delete(call_t *call)
{
    command_t command;
    if (!write_begin(call, OP_TASK_DELETE, &command))
        return;
    command.task = call->ids[0];
    if (!write_expect_task(call, &command) || !read_of_series(call, &command.data))
        return;
    command_fingerprint(&command);
    call_submit(call, &command, on_changed);
}

void route_task_complete(call_t *call)
{
    change(call, OP_TASK_COMPLETE, false, true);
}

void route_task_reopen(call_t *call)
{
    change(call, OP_TASK_REOPEN, false, true);
}

void route_task_move(call_t *call)
{
    change(call, OP_TASK_MOVE, true, true);
}

void route_task_snooze(call_t *call)
{
    change(call, OP_TASK_SNOOZE, true, true);
}

/* {"at"?} becomes {"reminder", "at"?}. */
static bool read_dismiss(call_t *call, slice_t body, slice_t *out)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t at = {0};
    bool has_at = false;
    if (body.data != NULL && data_open(&map, body, call->arena, &problem)) {
        has_at = data_get(&map, "at", &at) == DATA_GIVEN;
        data_close(&map);
    }
    if (problem.err != ERR_OK) {
        reply_problem(call, &problem);
        return false;
    }
    buf_t buf = {0};
    mp_put_map(&buf, has_at ? 2 : 1);
    mp_put_cstr(&buf, "reminder");
    mp_put_uuid(&buf, &call->ids[1]);
    if (has_at) {
        mp_put_cstr(&buf, "at");
        mp_put_raw(&buf, at.raw);
    }
    *out = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return true;
}

void route_reminder_dismiss(call_t *call)
{
    command_t command;
    slice_t body;
    if (!write_begin(call, OP_REMINDER_DISMISS, &command))
        return;
    command.task = call->ids[0];
    if (!write_expect_task(call, &command) || !write_read_body(call, false, &body) ||
        !read_dismiss(call, body, &command.data))
        return;
    command_fingerprint(&command);
    call_submit(call, &command, on_changed);
}

void route_task_restore(call_t *call)
{
    change(call, OP_TASK_RESTORE, false, true);
}
