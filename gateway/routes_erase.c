/* SPDX-License-Identifier: Apache-2.0 */
/* Erasing my account. The lists come first: those that nobody else is in are deleted, the others
 * are left, each by a command whose id follows from this one's, so that a repeat finishes what was
 * cut short; the writer refuses to delete an account that is in a list. Who would leave a shared
 * list without an owner is told before anything has happened. */
#include "gateway/logins.h"
#include "gateway/object.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"

/* Somebody may add me to a list meanwhile: then it is left too, but not for ever. */
#define MAX_ROUNDS 200
#define PAGE "100"
#define ONLY_OWNER                                                                                 \
    "You are the only owner of a list with other members: make somebody else an owner, or delete " \
    "the list."

/* Those that hold me back come first. */
static const pg_stmt_t select_lists = {
    "SELECT m.list, l.n_members = 1 AS is_mine, m.role = 3 AND l.n_owners = 1 AND l.n_members > 1"
    " AS is_held FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.account = $1::uuid ORDER BY is_held DESC, m.list LIMIT " PAGE};

typedef struct {
    uuid_t id;
    bool is_mine; /* nobody else is in it */
} mine_t;

typedef struct {
    command_t command;
    mine_t *lists;
    int n_lists;
    int n_rounds; /* in which the lists were looked up */
} erasure_t;

static void read_lists(call_t *call);

static void on_erased(call_t *call, const result_t *result)
{
    const erasure_t *erasure = call->state;
    bool is_in_a_list = result->outcome.problem.err == ERR_CONFLICT;
    if (is_in_a_list && erasure->n_rounds < MAX_ROUNDS) {
        read_lists(call);
        return;
    }
    if (!call_succeeded(call, result))
        return;
    access_t access = {.account = call->identity.account};
    auth_forget(call->gateway->auth, &access);
    write_put_headers(call, result);
    logins_put_cookie(call, slice_none());
    reply_empty(call, 204);
}

static void leave_next_list(call_t *call);

/* One that is gone already is as good as left. */
static void on_left(call_t *call, const result_t *result)
{
    const problem_t *problem = &result->outcome.problem;
    erasure_t *erasure = call->state;
    if (problem->err == ERR_CONFLICT) {
        reply_err(call, ERR_CONFLICT, ONLY_OWNER);
        return;
    }
    /* Somebody joined or left meanwhile: it is looked at again. */
    if (problem->err != ERR_OK && err_action(problem->err) != ERR_DO_REJECT) {
        reply_problem(call, problem);
        return;
    }
    erasure->n_lists--;
    leave_next_list(call);
}

/* Another one for each way of leaving it. */
static uuid_t id_of(const erasure_t *erasure, const mine_t *mine)
{
    uint8_t name[UUID_BYTES + 1];
    memcpy(name, mine->id.bytes, UUID_BYTES);
    name[UUID_BYTES] = mine->is_mine;
    return uuid_derive(&erasure->command.id, slice_of(name, sizeof name));
}

static void leave_next_list(call_t *call)
{
    erasure_t *erasure = call->state;
    if (erasure->n_lists == 0) {
        read_lists(call);
        return;
    }
    const mine_t *mine = &erasure->lists[erasure->n_lists - 1];
    command_t command = erasure->command;
    buf_t data = {0};
    command.op = mine->is_mine ? OP_LIST_DELETE : OP_MEMBER_REMOVE;
    command.id = id_of(erasure, mine);
    command.list = mine->id;
    if (!mine->is_mine) {
        mp_put_map(&data, 1);
        object_uuid(&data, "account", &call->identity.account);
        command.data = buf_slice(&data);
    }
    command_fingerprint(&command);
    call_submit(call, &command, on_left);
    buf_fini(&data);
}

static void on_lists(call_t *call, const pg_result_t *result)
{
    erasure_t *erasure = call->state;
    if (pg_rows(result) == 0) {
        command_fingerprint(&erasure->command);
        call_submit(call, &erasure->command, on_erased);
        return;
    }
    if (pg_bool(result, 0, 2)) {
        reply_err(call, ERR_CONFLICT, ONLY_OWNER);
        return;
    }
    erasure->n_lists = pg_rows(result);
    erasure->lists = arena_alloc(call->arena, (size_t)erasure->n_lists * sizeof *erasure->lists);
    for (int row = 0; row < erasure->n_lists; row++)
        erasure->lists[row] = (mine_t){pg_uuid(result, row, 0), pg_bool(result, row, 1)};
    leave_next_list(call);
}

static void read_lists(call_t *call)
{
    erasure_t *erasure = call->state;
    if (++erasure->n_rounds > MAX_ROUNDS) {
        reply_err(call, ERR_UNAVAILABLE, "There are lists left; send it again.");
        return;
    }
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    call_read(call, &select_lists, params, on_lists);
}

void route_me_delete(call_t *call)
{
    erasure_t *erasure = arena_alloc(call->arena, sizeof *erasure);
    if (!write_begin(call, OP_ACCOUNT_DELETE, &erasure->command))
        return;
    erasure->command.list = call->identity.account;
    if (!write_expect_list(call, &erasure->command))
        return;
    call->state = erasure;
    read_lists(call);
}
