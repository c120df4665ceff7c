/* SPDX-License-Identifier: Apache-2.0 */
/* Many commands in one request, each with its own result. They travel to the writer as one message,
 * so that a bulk costs about what one of its batches costs; that an atomic one is done wholly or
 * not at all is the writer's business.
 *
 * Results come one by one and are encoded at once, because they borrow. From the sending on a bulk
 * lives until the last is here, also when the client has gone. */
#include <stdlib.h>

#include "gateway/by_email.h"
#include "gateway/http.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/submit.h"
#include "gateway/write.h"
#include "schema/data.h"
#include "schema/json.h"
#include "schema/limits.h"

/* Tasks are left out of the results behind this. */
#define MAX_TASK_BYTES ((size_t)4 * 1024 * 1024)

/* A command as it was read, in the request's arena. */
typedef struct {
    command_t command;
    problem_t problem; /* why it cannot be sent */
    bool is_by_email;
} draft_t;

typedef struct {
    draft_t *items;
    uint32_t n_items;
    bool is_atomic;
} drafts_t;

typedef struct bulk bulk_t;

typedef struct {
    bulk_t *bulk;
    uint32_t index;
    uuid_t id; /* nil: it could not be read */
    bool is_by_email;
    buf_t result; /* JSON; empty: not there yet */
} item_t;

struct bulk {
    call_t *call;
    size_t n_waiting; /* results that are to come */
    size_t n_task_bytes;
    uint32_t n_items;
    item_t items[];
};

static const pg_stmt_t select_accounts_of = {
    "SELECT k.i::integer - 1, a.id FROM unnest($1::text[]) WITH ORDINALITY AS k(email, i)"
    " JOIN account a ON lower(a.email) = lower(k.email)"};

/* --- results --- */

static void begin_result(item_t *self, bool is_ok)
{
    char id[UUID_TEXT_CHARS];
    uuid_format(&self->id, id);
    if (uuid_is_nil(&self->id))
        buf_append_str(&self->result, "{\"id\":null");
    else
        buf_format(&self->result, "{\"id\":\"%.*s\"", UUID_TEXT_CHARS, id);
    buf_format(&self->result, ",\"ok\":%s", is_ok ? "true" : "false");
}

static void put_task(item_t *self, slice_t body)
{
    size_t before = self->result.n_bytes;
    if (body.data == NULL || self->bulk->n_task_bytes > MAX_TASK_BYTES)
        return;
    buf_append_str(&self->result, ",\"task\":");
    if (!json_from_mp(body, &self->result))
        self->result.n_bytes = before;
    self->bulk->n_task_bytes += self->result.n_bytes - before;
}

static void put_success(item_t *self, const outcome_t *outcome)
{
    char stream[UUID_TEXT_CHARS];
    uuid_format(&outcome->stream, stream);
    begin_result(self, true);
    buf_format(&self->result, ",\"stream\":\"%.*s\",\"rev\":%lld", UUID_TEXT_CHARS, stream,
               (long long)outcome->rev);
    if (!uuid_is_nil(&outcome->kept)) {
        char kept[UUID_TEXT_CHARS];
        uuid_format(&outcome->kept, kept);
        buf_format(&self->result, ",\"successor_kept\":\"%.*s\"", UUID_TEXT_CHARS, kept);
    }
    put_task(self, outcome->body);
    buf_append_byte(&self->result, '}');
}

/* `inside` is the part of the command that the problem's pointers begin in. */
static void put_refusal(item_t *self, const problem_t *problem, const char *inside)
{
    problem_t shown = *problem;
    for (size_t i = 0; i < shown.n_fields; i++) {
        slice_t pointer = shown.fields[i].pointer;
        shown.fields[i].pointer = arena_format(
            self->bulk->call->arena, "/commands/%u%s%.*s", self->index, inside,
            (int)pointer.n_bytes, pointer.n_bytes > 0 ? (const char *)pointer.data : "");
    }
    begin_result(self, false);
    buf_append_str(&self->result, ",\"problem\":");
    problem_put_json(&shown, slice_none(), &self->result);
    buf_append_byte(&self->result, '}');
}

/* --- the life of a bulk --- */

static bulk_t *bulk_new(call_t *call, const drafts_t *drafts)
{
    bulk_t *self = calloc(1, sizeof *self + drafts->n_items * sizeof *self->items);
    if (self == NULL)
        abort();
    self->call = call;
    self->n_items = drafts->n_items;
    for (uint32_t i = 0; i < self->n_items; i++) {
        self->items[i].bulk = self;
        self->items[i].index = i;
        self->items[i].id = drafts->items[i].command.id;
        self->items[i].is_by_email = drafts->items[i].is_by_email;
    }
    call->n_refs++;
    return self;
}

static void bulk_destroy(bulk_t *self)
{
    call_t *call = self->call;
    for (uint32_t i = 0; i < self->n_items; i++)
        buf_fini(&self->items[i].result);
    free(self);
    call_release(call);
}

static void answer(bulk_t *self)
{
    buf_t *out = reply_buffer(self->call);
    buf_append_str(out, "{\"results\":[");
    for (uint32_t i = 0; i < self->n_items; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        buf_append_slice(out, buf_slice(&self->items[i].result));
    }
    buf_append_str(out, "]}");
    reply_json(self->call, 200, buf_slice(out));
}

static void finish(bulk_t *self)
{
    if (self->call->request != NULL)
        answer(self);
    bulk_destroy(self);
}

static void on_result(void *arg, const result_t *result)
{
    item_t *item = arg;
    bulk_t *self = item->bulk;
    problem_t problem = result->outcome.problem;
    if (self->call->request != NULL && problem.err == ERR_OK) {
        put_success(item, &result->outcome);
    } else if (self->call->request != NULL) {
        if (item->is_by_email)
            by_email_name(&problem);
        put_refusal(item, &problem, "/data");
    }
    if (--self->n_waiting == 0)
        finish(self);
}

/* --- sending --- */

/* Of an atomic bulk nothing is sent if there is any that cannot be. */
static void abort_if_atomic(drafts_t *drafts)
{
    bool has_refused = false;
    for (uint32_t i = 0; i < drafts->n_items; i++)
        has_refused = has_refused || drafts->items[i].problem.err != ERR_OK;
    for (uint32_t i = 0; i < drafts->n_items && has_refused && drafts->is_atomic; i++) {
        if (drafts->items[i].problem.err == ERR_OK)
            drafts->items[i].problem.err = ERR_ABORTED;
    }
}

static void send(call_t *call, drafts_t *drafts)
{
    command_t *commands = arena_alloc(call->arena, (drafts->n_items + 1) * sizeof *commands);
    void **items = arena_alloc(call->arena, (drafts->n_items + 1) * sizeof *items);
    bulk_t *self = bulk_new(call, drafts);
    size_t n = 0;
    err_t err = ERR_OK;
    abort_if_atomic(drafts);
    for (uint32_t i = 0; i < self->n_items; i++) {
        if (drafts->items[i].problem.err != ERR_OK) {
            put_refusal(&self->items[i], &drafts->items[i].problem, "");
            continue;
        }
        commands[n] = drafts->items[i].command;
        call_trace(call, &commands[n]);
        items[n++] = &self->items[i];
    }
    self->n_waiting = n + 1; /* one is ours, so that it is still there below */
    if (n > 0)
        err = submit_bulk(call->gateway->submits, commands, n, drafts->is_atomic, on_result, items);
    if (err != ERR_OK) {
        reply_err(call, err, NULL);
        bulk_destroy(self);
    } else if (--self->n_waiting == 0) {
        finish(self);
    }
}

/* --- who is named by an e-mail address --- */

static void put_account(call_t *call, command_t *command, const uuid_t *account)
{
    buf_t data = {0};
    by_email_put_account(command->data, account, &data);
    command->data = arena_copy(call->arena, buf_slice(&data));
    buf_fini(&data);
}

static void go_on_with_accounts(call_t *call, const pg_result_t *result)
{
    drafts_t *drafts = call->state;
    int row = 0;
    int32_t n = 0;
    for (uint32_t i = 0; i < drafts->n_items; i++) {
        uuid_t account = UUID_NIL;
        if (!drafts->items[i].is_by_email)
            continue;
        if (row < pg_rows(result) && pg_int(result, row, 0) == n)
            account = pg_uuid(result, row++, 1);
        put_account(call, &drafts->items[i].command, &account);
        n++;
    }
    send(call, drafts);
}

static bool put_emails(drafts_t *drafts, pg_params_t *params)
{
    bool has_any = false;
    pg_array_begin(params, PG_TEXT);
    for (uint32_t i = 0; i < drafts->n_items; i++) {
        slice_t email;
        draft_t *draft = &drafts->items[i];
        if (draft->problem.err != ERR_OK || !by_email_find(&draft->command, &email))
            continue;
        draft->is_by_email = has_any = true;
        pg_array_text(params, email);
    }
    pg_array_end(params);
    return has_any;
}

/* --- the request --- */

static void read_command(call_t *call, slice_t map, draft_t *out)
{
    command_t *command = &out->command;
    command_from_client(map, call->arena, command, &out->problem);
    command->author = call->identity.account;
    command->scopes = call->identity.scopes;
    command->lists = call->identity.lists;
    command->n_lists = call->identity.n_lists;
    if (out->problem.err == ERR_OK && command->op == OP_ACCOUNT_PATCH && !call->identity.is_session)
        out->problem = (problem_t){.err = ERR_FORBIDDEN,
                                   .detail = slice_str("Only a login's own token may do this.")};
}

static void read_atomic(data_map_t *map, bool *out)
{
    data_value_t value;
    *out = false;
    if (data_get(map, "atomic", &value) != DATA_GIVEN)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (!mp_get_bool(&reader, out))
        data_refuse(&value, "this must be true or false");
}

static bool read_envelope(call_t *call, slice_t body, bool *is_atomic, data_array_t *commands)
{
    problem_t problem = {0};
    data_map_t map;
    data_value_t value;
    if (data_open(&map, body, call->arena, &problem)) {
        read_atomic(&map, is_atomic);
        if (data_need(&map, "commands", &value))
            data_array(&value, LIMIT_BULK_COMMANDS, commands);
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

void route_commands_post(call_t *call)
{
    slice_t body;
    data_array_t commands;
    data_value_t value;
    drafts_t *drafts = arena_alloc(call->arena, sizeof *drafts);
    if (!write_read_body(call, true, &body) ||
        !read_envelope(call, body, &drafts->is_atomic, &commands) ||
        !http_admit_bulk(call, commands.n_items))
        return;
    drafts->items = arena_alloc(call->arena, (commands.n_items + 1) * sizeof *drafts->items);
    for (; data_next(&commands, &value); drafts->n_items++)
        read_command(call, value.raw, &drafts->items[drafts->n_items]);
    call->state = drafts;
    pg_params_t *params = call_params(call);
    if (put_emails(drafts, params))
        call_read(call, &select_accounts_of, params, go_on_with_accounts);
    else
        send(call, drafts);
}
