/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a WebSocket: any bytes. What is refused says why; what is accepted keeps to its
 * limits and has what its op needs; a ref comes back as the very JSON that it was. What is a
 * command is read as one. */
#include <stdlib.h>

#include "gateway/ws_request.h"
#include "schema/command.h"
#include "schema/json.h"
#include "schema/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_ref(const ws_request_t *request, arena_t *arena)
{
    buf_t again = {0};
    problem_t problem = {0};
    if (request->ref.data == NULL)
        return;
    must(json_to_mp(request->ref, &again, arena, &problem) == ERR_OK);
    mp_reader_t reader = mp_reader(buf_slice(&again));
    mp_type_t type = mp_peek(&reader);
    must(type == MP_STR || type == MP_INT);
    must(again.n_bytes <= WS_REF_MAX_BYTES);
    buf_fini(&again);
}

static void check_problem(err_t err, const problem_t *problem)
{
    must(err == ERR_MALFORMED || err == ERR_INVALID);
    must(problem->err == err);
    must(problem->detail.n_bytes > 0 || problem->n_fields > 0);
    for (size_t i = 0; i < problem->n_fields; i++)
        must(utf8_is_text(problem->fields[i].pointer) && utf8_is_text(problem->fields[i].detail));
}

static void check_command(slice_t map, arena_t *arena)
{
    command_t command;
    problem_t problem;
    mp_reader_t reader = mp_reader(map);
    must(mp_peek(&reader) == MP_MAP);
    if (command_from_client(map, arena, &command, &problem) == ERR_OK)
        must(!uuid_is_nil(&command.id) && op_from(command.op) == OP_FROM_CLIENT);
}

static void check_request(const ws_request_t *request, arena_t *arena)
{
    switch (request->op) {
    case WS_OP_NONE:
        must(false);
        break;
    case WS_OP_HELLO:
        must(request->token.data != NULL && request->token.n_bytes <= WS_TOKEN_MAX_BYTES);
        break;
    case WS_OP_SUBSCRIBE:
        must(request->is_all == uuid_is_nil(&request->stream));
        must(!request->has_after || request->after >= 0);
        break;
    case WS_OP_UNSUBSCRIBE:
        must(request->is_all == uuid_is_nil(&request->stream));
        break;
    case WS_OP_COMMAND:
        check_command(request->command, arena);
        break;
    case WS_OP_PING:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    arena_t *arena = arena_new();
    problem_t problem = {0};
    ws_request_t request;
    err_t err = ws_request_read_json(slice_of(data, n_bytes), arena, &request, &problem);
    check_ref(&request, arena);
    if (err == ERR_OK)
        check_request(&request, arena);
    else
        check_problem(err, &problem);
    arena_destroy(&arena);
    return 0;
}
