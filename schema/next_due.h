/* SPDX-License-Identifier: Apache-2.0 */
/* When a recurring task is due next. Pure; the zone is the task's. */
#ifndef TASKWIRE_NEXT_DUE_H
#define TASKWIRE_NEXT_DUE_H

#include "schema/recur.h"

/* The occurrence after a closed one. */
typedef struct {
    due_t due; /* of the same kind (date, local time, instant) */
    slice_t start; /* where its rule starts */
} next_due_t;

/* The due date of the occurrence after this closed one. Counted from the due date that the rule
 * gave it, or from the day it was closed; with `missed` next, the first whose time is after the
 * closing. False: there is none, since COUNT or UNTIL ended the series, or its rule cannot be read
 * (then `why` says so, else it is absent). Owns: what is in `out` is in the arena, or borrows from
 * the task. */
bool next_due(const task_t *closed, arena_t *arena, next_due_t *out, slice_t *why);

#endif
