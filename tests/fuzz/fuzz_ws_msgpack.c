/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a WebSocket in msgpack: any bytes. What is taken becomes canonical and is taken again
 * as it is, and as JSON it says the same; what is refused says why. The message that it is keeps to
 * its limits; what is a command is read as one. */
#include <stdlib.h>

#include "gateway/ws_request.h"
#include "schema/command.h"
#include "schema/json.h"
#include "schema/mp_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
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

/* Canonical bytes are taken as they are, and JSON does not change them. */
static void check_again(slice_t map, arena_t *arena)
{
    problem_t problem = {0};
    buf_t again = {0};
    buf_t json = {0};
    must(mp_is_canonical(map));
    must(mp_from_foreign(map, &again, arena, &problem) == ERR_OK);
    must(slice_eq(buf_slice(&again), map));
    buf_reset(&again);
    must(json_from_mp(map, &json));
    must(json_to_mp(buf_slice(&json), &again, arena, &problem) == ERR_OK);
    must(slice_eq(buf_slice(&again), map));
    buf_fini(&again);
    buf_fini(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    arena_t *arena = arena_new();
    problem_t problem = {0};
    ws_request_t request;
    buf_t map = {0};
    slice_t bytes = slice_of(data, n_bytes);
    err_t err = mp_from_foreign(bytes, &map, arena, &problem);
    if (err == ERR_OK)
        check_again(buf_slice(&map), arena);
    else
        check_problem(err, &problem);
    problem = (problem_t){0};
    err_t read = ws_request_read_msgpack(bytes, arena, &request, &problem);
    must(err == ERR_OK || read == err);
    if (read == ERR_OK && request.op == WS_OP_COMMAND)
        check_command(request.command, arena);
    else if (read != ERR_OK)
        check_problem(read, &problem);
    buf_fini(&map);
    arena_destroy(&arena);
    return 0;
}
