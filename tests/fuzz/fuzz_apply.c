/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences of commands against a small world; what must hold of each is in core_check.h. An input
 * is a text, a command a line: one character each for author, op, list, task, expected revision and
 * command id, then its data as JSON; a line that begins with ! is a client's command in JSON as it
 * is. An input that begins with a zero byte is tried as msgpack data with every op, as if nobody
 * had looked at it before. */
#include "tests/unit/core.h"

#define MAX_LINES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const uuid_t *author_of(const core_t *core, uint8_t c)
{
    switch (c) {
    case 'b':
        return &core->ben;
    case 'v':
        return &core->vera;
    case 's':
        return &core->stan;
    case 'r':
        return &author_recurrence;
    case 'm':
        return &author_reminder;
    default:
        return &core->anna;
    }
}

static uuid_t list_of(const core_t *core, uint8_t c)
{
    switch (c) {
    case 'o':
        return core->other;
    case 'a':
        return core->anna;
    case 'n':
        return core_id(0x2000);
    default:
        return core->list;
    }
}

/* Applies the command, checks it, and lets time go on so that reminders become due. */
static void run(core_t *core)
{
    core_apply(core);
    core->now_us += 600 * US_PER_S;
}

/* Data that is no JSON is no data. */
static slice_t read_json(core_t *core, slice_t json)
{
    buf_t bytes = {0};
    problem_t problem = {0};
    slice_t value = slice_none();
    if (json_to_mp(json, &bytes, core->arena, &problem) == ERR_OK)
        value = arena_copy(core->arena, buf_slice(&bytes));
    buf_fini(&bytes);
    return value;
}

static void run_client_line(core_t *core, slice_t json)
{
    problem_t problem;
    slice_t value = read_json(core, json);
    if (command_from_client(value, core->arena, &core->command, &problem) != ERR_OK)
        return;
    core->command.author = core->anna;
    core->command.scopes = SCOPE_READ | SCOPE_WRITE;
    run(core);
}

static void run_line(core_t *core, const uint8_t *line, size_t n_bytes)
{
    if (n_bytes > 0 && line[0] == '!') {
        run_client_line(core, slice_of(line + 1, n_bytes - 1));
        return;
    }
    if (n_bytes < 6)
        return;
    uuid_t task = core_id(0x1000u + (line[3] & 7));
    core->in = list_of(core, line[2]);
    core->expect = line[4] == '0' ? 0 : (int64_t)line[4] - '0';
    core->id = line[5] == '0' ? UUID_NIL : core_id(0xc0000u + line[5]);
    op_t op = (op_t)(line[1] % OP_COUNT);
    slice_t data = read_json(core, slice_of(line + 6, n_bytes - 6));
    core_make(core, author_of(core, line[0]), op_name(op), line[3] == '-' ? NULL : &task, data);
    run(core);
}

static void run_text(core_t *core, const uint8_t *data, size_t n_bytes)
{
    for (int i = 0; i < MAX_LINES && n_bytes > 0; i++) {
        const uint8_t *end = memchr(data, '\n', n_bytes);
        size_t n_line = end == NULL ? n_bytes : (size_t)(end - data);
        run_line(core, data, n_line);
        size_t n_taken = end == NULL ? n_line : n_line + 1;
        data += n_taken;
        n_bytes -= n_taken;
    }
}

static void run_raw(core_t *core, slice_t data)
{
    problem_t problem;
    command_from_client(data, core->arena, &core->command, &problem);
    for (int op = 0; op < OP_COUNT; op++) {
        uuid_t task = core_id(0x1000);
        const uuid_t *author =
            op_from((op_t)op) == OP_FROM_ACTOR ? &author_recurrence : &core->anna;
        core_make(core, author, op_name((op_t)op), &task, data);
        command_refs_t refs;
        command_refs(&core->command, &refs);
        outcome_t out;
        apply(&core->command, core->state, core->now_us, &out);
        core_next(core);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    core_t core;
    core_init(&core);
    if (n_bytes > 0 && data[0] == 0)
        run_raw(&core, slice_of(data + 1, n_bytes - 1));
    else
        run_text(&core, data, n_bytes);
    core_fini(&core);
    return 0;
}
