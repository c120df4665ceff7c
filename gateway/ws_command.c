/* SPDX-License-Identifier: Apache-2.0 */
/* Commands over a WebSocket. The command's id makes a repeat harmless, so one whose answer was lost
 * is simply sent again. How many are under way per socket is bounded, and none is taken while
 * answers pile up because the client does not read them. */
#include <stdlib.h>

#include "gateway/by_email.h"
#include "gateway/live.h"
#include "gateway/ws_reply.h"
#include "schema/json.h"
#include "schema/limits.h"

typedef struct {
    link_t of_socket;
    ws_t *ws;
    uint64_t handle; /* 0: not at the writer yet */
    ask_t *ask; /* whose e-mail address it is */
    bool is_by_email;
    char *ref; /* JSON; NULL: none */
    command_t command;
    buf_t data; /* what the command's data borrows from, if it waits for a read */
} errand_t;

static const pg_stmt_t select_account_of = {
    "SELECT id FROM account WHERE lower(email) = lower($1::text)"};

/* --- answers --- */

static slice_t ref_of(const errand_t *self)
{
    return self->ref != NULL ? slice_str(self->ref) : slice_none();
}

/* Pointers start at the message that the client sent, not at the part that was looked at. */
static void put_prefix(problem_t *problem, const char *prefix, arena_t *arena)
{
    for (size_t i = 0; i < problem->n_fields; i++) {
        slice_t pointer = problem->fields[i].pointer;
        problem->fields[i].pointer =
            arena_format(arena, "%s%.*s", prefix, (int)pointer.n_bytes,
                         pointer.n_bytes > 0 ? (const char *)pointer.data : "");
    }
}

static size_t begin_result(ws_t *ws, slice_t ref, const uuid_t *id, bool is_ok)
{
    size_t place = ws_begin(ws);
    ws_put_op(&ws->outbox, "result", ref);
    ws_put_id(&ws->outbox, "id", id);
    ws_put_bool(&ws->outbox, "ok", is_ok);
    return place;
}

/* A command without a readable id is a bad message; one with an id has a result. The problem's
 * pointers begin in the command. */
static void refuse(ws_t *ws, slice_t ref, const uuid_t *id, problem_t *problem)
{
    put_prefix(problem, "/command", ws->hub->arena);
    if (uuid_is_nil(id)) {
        ws_refuse(ws, ref, problem);
        return;
    }
    size_t place = begin_result(ws, ref, id, false);
    ws_put_key(&ws->outbox, "problem");
    problem_put_json(problem, slice_none(), &ws->outbox);
    ws_end(ws, place);
}

static void put_success(errand_t *self, const outcome_t *outcome)
{
    buf_t *out = &self->ws->outbox;
    size_t place = begin_result(self->ws, ref_of(self), &self->command.id, true);
    ws_put_id(out, "stream", &outcome->stream);
    ws_put_int(out, "rev", outcome->rev);
    if (!uuid_is_nil(&outcome->kept))
        ws_put_id(out, "successor_kept", &outcome->kept);
    size_t before = out->n_bytes;
    if (outcome->body.data != NULL) {
        ws_put_key(out, "task");
        if (!json_from_mp(outcome->body, out))
            out->n_bytes = before;
    }
    ws_end(self->ws, place);
}

static void put_refusal(errand_t *self, const problem_t *problem)
{
    problem_t shown = *problem;
    arena_reset(self->ws->hub->arena);
    if (self->is_by_email)
        by_email_name(&shown);
    put_prefix(&shown, "/data", self->ws->hub->arena);
    refuse(self->ws, ref_of(self), &self->command.id, &shown);
}

/* --- an errand --- */

static errand_t *errand_new(ws_t *ws, const ws_request_t *request, const command_t *command)
{
    errand_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    link_init(&self->of_socket);
    self->ws = ws;
    self->command = *command;
    if (request->ref.data != NULL) {
        self->ref = strndup((const char *)request->ref.data, request->ref.n_bytes);
        if (self->ref == NULL)
            abort();
    }
    link_append(&ws->commands, &self->of_socket);
    ws->n_commands++;
    return self;
}

static void errand_destroy(errand_t *self)
{
    if (self->ask != NULL)
        self->ask->asker = NULL;
    link_leave(&self->of_socket);
    buf_fini(&self->data);
    free(self->ref);
    free(self);
}

/* It has been answered. */
static void finish(errand_t *self)
{
    ws_t *ws = self->ws;
    errand_destroy(self);
    ws_settled(ws);
}

static void fail(errand_t *self, err_t err)
{
    problem_t problem = {.err = err};
    put_refusal(self, &problem);
    finish(self);
}

static void on_result(void *arg, const result_t *result)
{
    errand_t *self = arg;
    self->handle = 0;
    if (result->outcome.problem.err == ERR_OK)
        put_success(self, &result->outcome);
    else
        put_refusal(self, &result->outcome.problem);
    finish(self);
}

static void submit(errand_t *self)
{
    err_t err =
        submit_command(self->ws->gateway->submits, &self->command, on_result, self, &self->handle);
    if (err != ERR_OK)
        fail(self, err);
}

void ws_command_forget_all(ws_t *ws)
{
    while (!link_is_alone(&ws->commands)) {
        errand_t *self = LINK_OWNER(ws->commands.next, errand_t, of_socket);
        if (self->handle != 0)
            submit_forget(ws->gateway->submits, self->handle);
        errand_destroy(self);
    }
}

/* --- member.put by e-mail address --- */

static void on_account(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    errand_t *self = ask->asker;
    free(ask);
    if (self == NULL)
        return;
    self->ask = NULL;
    if (fate != PG_OK) {
        fail(self, ERR_UNAVAILABLE);
        return;
    }
    uuid_t account = pg_rows(result) > 0 ? pg_uuid(result, 0, 0) : UUID_NIL;
    buf_t data = {0};
    by_email_put_account(self->command.data, &account, &data);
    buf_fini(&self->data);
    self->data = data;
    self->command.data = buf_slice(&self->data);
    submit(self);
}

static void resolve(errand_t *self, slice_t email)
{
    hub_t *hub = self->ws->hub;
    self->is_by_email = true;
    buf_append_slice(&self->data, self->command.data);
    self->command.data = buf_slice(&self->data);
    pg_params_reset(&hub->params);
    pg_put_text(&hub->params, email);
    ask_t *ask = ask_new(hub, self);
    err_t err = reads_query(hub->gateway->reads, &select_account_of, &hub->params, on_account, ask);
    if (err == ERR_OK) {
        self->ask = ask;
        return;
    }
    free(ask);
    fail(self, err);
}

/* --- the request --- */

/* What stands against taking one more command now. */
static problem_t may_command(ws_t *ws, const command_t *command)
{
    problem_t problem = {0};
    if (ws->is_ending)
        return (problem_t){.err = ERR_UNAVAILABLE, .detail = slice_str("The server restarts.")};
    if (ws->n_commands >= WS_MAX_COMMANDS || ws->outbox.n_bytes > WS_OUTBOX_BUSY_BYTES)
        return (problem_t){.err = ERR_OVERLOADED,
                           .detail = slice_str("Too many commands under way on one connection.")};
    if (!ws_admit(ws, &problem))
        return problem;
    if (command->op == OP_ACCOUNT_PATCH && !ws->is_session)
        return (problem_t){.err = ERR_FORBIDDEN,
                           .detail = slice_str("Only a login's own token may do this.")};
    return problem;
}

void ws_command(ws_t *ws, const ws_request_t *request)
{
    command_t command;
    problem_t problem;
    slice_t email;
    command_from_client(request->command, ws->hub->arena, &command, &problem);
    if (problem.err == ERR_OK)
        problem = may_command(ws, &command);
    if (problem.err != ERR_OK) {
        refuse(ws, request->ref, &command.id, &problem);
        return;
    }
    command.author = ws->by_account.id;
    command.scopes = ws->scopes;
    command.lists = ws->lists;
    command.n_lists = ws->n_lists;
    errand_t *errand = errand_new(ws, request, &command);
    if (by_email_find(&command, &email))
        resolve(errand, email);
    else
        submit(errand);
}
