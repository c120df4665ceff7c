/* SPDX-License-Identifier: Apache-2.0 */
/* What is missed is passed over by beginning the search at the day of the closing, so that it does
 * not matter how far back a due date is. */
#include "schema/next_due.h"

/* Whether an occurrence is still ahead at `now`: an all-day one is until its day is over. */
static bool is_ahead(const due_t *due, const local_t *now)
{
    if (due->kind == DUE_DATE)
        return recur_day(&due->local) >= recur_day(now);
    return local_as_utc_us(&due->local) > local_as_utc_us(now);
}

/* The instant at which it was done, cancelled, or deleted by itself. */
static int64_t closed_at(const task_t *closed)
{
    return closed->completed_at_us != INSTANT_NONE ? closed->completed_at_us
                                                   : closed->deleted_at_us;
}

/* The rule anew, from the day on which the task was closed. */
static void start_at(recur_t *self, const local_t *now)
{
    self->start = self->last = recur_day(now);
}

static slice_t text_of_start(const recur_t *self, arena_t *arena)
{
    char text[INSTANT_TEXT_CHARS + 1];
    local_t at = self->clock;
    date_from_days(self->start, &at);
    at.us = 0;
    size_t n = self->kind == DUE_DATE ? local_format_date(&at, text) : local_format(&at, text);
    return arena_copy(arena, slice_of(text, n));
}

bool next_due(const task_t *closed, arena_t *arena, next_due_t *out, slice_t *why)
{
    recur_t recur;
    local_t now;
    zone_fit_t fit;
    if (!recur_open_task(closed, arena, &recur, why))
        return false;
    if (closed_at(closed) == INSTANT_NONE) {
        *why = slice_str("the closed task has no time of closing");
        return false;
    }
    zone_to_local(closed->time_zone, closed_at(closed), &now);
    if (closed->from == FROM_COMPLETION)
        start_at(&recur, &now);
    if (closed->missed == MISSED_NEXT && recur_day(&now) - 1 > recur.last)
        recur.last = recur_day(&now) - 1;
    do {
        if (recur_next(&recur, arena, &out->due, &fit) != RULE_FOUND)
            return false;
    } while (closed->missed == MISSED_NEXT && !is_ahead(&out->due, &now));
    out->start = text_of_start(&recur, arena);
    return rule_allows(&recur.rule, closed->occurrence + 1, &out->due.local, out->due.at_us);
}
