/* SPDX-License-Identifier: Apache-2.0 */
/* A rule at work: the due dates that it gives one after the other, in a zone, from where it starts,
 * without the dates that are skipped. Pure.
 *
 * `start` is what RFC 5545 calls DTSTART: the date, or the local time, from which the rule counts.
 * It stays the same from one occurrence to the next, so that a month that was too short, a time
 * that clocks passed over or an occurrence that was moved has no effect on those that follow. */
#ifndef TASKWIRE_RECUR_H
#define TASKWIRE_RECUR_H

#include "schema/due.h"
#include "schema/task.h"

typedef struct {
    rule_t rule;
    slice_t zone;
    due_kind_t kind; /* of the due dates */
    local_t clock; /* the time of day of each; the date in it does not count */
    int64_t start; /* the day on which the rule starts */
    int64_t last; /* the day that was looked at last: the next one is after it */
    const slice_t *skips; /* dates */
    uint32_t n_skips;
} recur_t;

/* The day of a clock reading, from 1970-01-01. */
int64_t recur_day(const local_t *at);

/* Where a rule starts that is given to something due then, as text: there, if the rule allows that
 * day, else on the first day behind it. Absent: there is no such day, or hardly any, and `why` is a
 * sentence that says so. */
slice_t recur_start(const rule_t *rule, const due_t *due, arena_t *arena, slice_t *why);

/* Begins behind a due date, with a rule that starts at `start`, absent where that is the due date
 * itself. False: `start` is no date or local time. */
bool recur_open(const rule_t *rule, const due_t *due, slice_t zone, slice_t start, recur_t *out);

/* Whether the rule gives that day. */
bool recur_has_day(const recur_t *self, int64_t day);

/* The next due date, COUNT and UNTIL aside. `fit` says what a clock change did to it. */
rule_search_t recur_next(recur_t *self, arena_t *arena, due_t *out, zone_fit_t *fit);

/* The day that the open or closed occurrence has in its rule, wherever it was moved to. */
int64_t recur_day_of_task(const task_t *task, const due_t *due);

/* What the rule of a task gives after it, whenever it is closed. False, with a sentence in `why`:
 * the task has no rule or due date that can be read. */
bool recur_open_task(const task_t *task, arena_t *arena, recur_t *out, slice_t *why);

#endif
