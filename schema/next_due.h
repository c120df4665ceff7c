/* SPDX-License-Identifier: Apache-2.0 */
/* When a recurring task is due next. Pure; the zone is the task's. */
#ifndef TASKWIRE_NEXT_DUE_H
#define TASKWIRE_NEXT_DUE_H

#include "schema/task.h"

/* The due text of the occurrence after this closed one, of the same kind (date, local time,
 * instant). Counted from the due date, or from the day it was closed; with `missed` next, the first
 * whose time is after the closing. False: there is none, since COUNT or UNTIL ended the series, or
 * its rule cannot be read (then `why` says so, else it is absent). Owns: `due` is in the arena. */
bool next_due(const task_t *closed, arena_t *arena, slice_t *due, slice_t *why);

#endif
