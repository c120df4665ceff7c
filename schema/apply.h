/* SPDX-License-Identifier: Apache-2.0 */
/* The pure core: (command, state, now) → changed state and events, or a refusal that changes
 * nothing. All rules of the domain live behind this one function; it does no I/O and reads no
 * clock, so everything about it can be tested and fuzzed without a database. An op is a file-local
 * function and a row in the table at the bottom of its apply_*.c; what it needs loaded is said by
 * command_refs.
 *
 * Order of checks, the same for each op: a repeat (same author and command id: the first answer
 * again, or IDEMPOTENCY_MISMATCH), existence as this author may see it (NOT_FOUND), role and scope
 * (FORBIDDEN), expected revision (PRECONDITION_FAILED with the current state), values (INVALID with
 * pointers). */
#ifndef TASKWIRE_APPLY_H
#define TASKWIRE_APPLY_H

#include "schema/err.h"
#include "schema/state.h"

/* Of a task that is not there and of one that its author may not see: the same words, wherever that
 * is found out. */
#define APPLY_NO_TASK "There is no such task, or you may not see it."

typedef struct {
    problem_t problem; /* problem.err is ERR_OK: applied, or a repeat */
    bool is_unready; /* neither: what it needs to know of other tasks is not loaded, as commands
                        before it in the batch have changed what that is; UNAVAILABLE until it is
                        run again */
    bool is_replay; /* it was applied before; nothing happened now */
    shard_set_t missing; /* none: nothing happened, because the locks of these are needed too: apply
                            it again with them, and with what command_refs says loaded anew */
    uuid_t stream;
    int64_t rev; /* of the command's last event in `stream` */
    uuid_t task; /* nil: none */
    uuid_t kept; /* the next occurrence of a task that was opened again, where it stays because
                    somebody has changed it; nil: there is none, or it was taken back */
    slice_t body; /* the task as it reads now, encoded; absent if there is none or the author may
                     not read it */
} outcome_t;

/* Applies one command. Everything in `out` borrows from the state's arena. Units: now in
 * microseconds since 1970. */
void apply(const command_t *command, state_t *state, int64_t now_us, outcome_t *out);

#endif
