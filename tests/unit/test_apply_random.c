/* SPDX-License-Identifier: Apache-2.0 */
/* Random sequences of commands. What must hold of each is checked behind it (core_check.h); here it
 * is only made sure that each op has often enough succeeded and been refused. The seed is printed;
 * TASKWIRE_SEED repeats a run. */
#include "core_random.h"

#define N_ROUNDS 12
#define N_COMMANDS 400

static void every_command_leaves_a_state_that_its_events_tell(void **unused)
{
    (void)unused;
    run_t run = {.seed = first_seed()};
    for (int round = 0; round < N_ROUNDS; round++) {
        core_init(&run.core);
        for (int i = 0; i < N_COMMANDS; i++)
            step(&run);
        core_fini(&run.core);
    }
    for (int op = 0; op < OP_COUNT; op++) {
        if (op == OP_TOKEN_CREATE || op == OP_TOKEN_DELETE)
            continue;
        print_message("%s: %u accepted, %u refused\n", op_name((op_t)op), run.n_accepted[op],
                      run.n_refused[op]);
        assert_true(run.n_accepted[op] > 0);
        assert_true(run.n_refused[op] > 0);
    }
    buf_fini(&run.json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_leaves_a_state_that_its_events_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
