/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON. What is taken is canonical and comes back to the same bytes from the JSON that
 * we write of it; what is refused leaves no trace and says why in words that can be shown. A
 * client's command is read from whatever was taken. */
#include <stdlib.h>

#include <sodium.h>

#include "schema/command.h"
#include "schema/json.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_refusal(const problem_t *problem, err_t err)
{
    must(problem->err == err && (err == ERR_MALFORMED || err == ERR_INVALID));
    must(problem->n_fields <= LIMIT_PROBLEM_FIELDS);
    must(err == ERR_MALFORMED ? problem->detail.n_bytes > 0 : problem->n_fields > 0);
    must(utf8_is_text(problem->detail));
    for (size_t i = 0; i < problem->n_fields; i++) {
        slice_t pointer = problem->fields[i].pointer;
        must(utf8_is_text(pointer) && pointer.n_bytes < 4096);
        must(pointer.n_bytes == 0 || pointer.data[0] == '/');
        must(problem->fields[i].detail.n_bytes > 0);
    }
}

static void check_value(slice_t value, arena_t *arena)
{
    buf_t text = {0};
    buf_t again = {0};
    problem_t problem = {.err = ERR_OK};
    must(mp_is_canonical(value));
    must(json_from_mp(value, &text) && utf8_is_valid(buf_slice(&text)));
    must(json_to_mp(buf_slice(&text), &again, arena, &problem) == ERR_OK);
    must(slice_eq(value, buf_slice(&again)));
    command_t command;
    err_t err = command_from_client(value, arena, &command, &problem);
    must(err == ERR_OK || problem.err == err);
    buf_fini(&text);
    buf_fini(&again);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    arena_t *arena = arena_new();
    buf_t out = {0};
    buf_append_str(&out, "before");
    problem_t problem = {.err = ERR_OK};
    err_t err = json_to_mp(slice_of(data, n_bytes), &out, arena, &problem);
    must(out.n_bytes >= 6 && memcmp(out.data, "before", 6) == 0);
    if (err == ERR_OK)
        check_value(slice_of(out.data + 6, out.n_bytes - 6), arena);
    else
        check_refusal(&problem, err);
    must(err == ERR_OK || out.n_bytes == 6);
    buf_fini(&out);
    arena_destroy(&arena);
    return 0;
}
