/* SPDX-License-Identifier: Apache-2.0 */
/* Everything is iterated on local times in the task's zone, because that is what people mean by
 * "every Monday at nine"; only the end (UNTIL) and an instant's text need the zone again. */
#include "schema/next_due.h"

#include "schema/rule.h"
#include "schema/zone.h"

static bool is_same_day_or_later(const local_t *a, const local_t *b)
{
    return days_from_date(a->year, a->month, a->day) >= days_from_date(b->year, b->month, b->day);
}

/* Whether an occurrence at this local time is still ahead at `now`: an all-day one is until its day
 * is over. */
static bool is_ahead(due_kind_t kind, const local_t *at, const local_t *now)
{
    if (kind == DUE_DATE)
        return is_same_day_or_later(at, now);
    return local_as_utc_us(at) > local_as_utc_us(now);
}

static int64_t instant_of(due_kind_t kind, slice_t zone, const local_t *at)
{
    zone_fit_t fit;
    return kind == DUE_DATE ? zone_end_of_day(zone, at) : zone_to_utc(zone, at, &fit);
}

static slice_t text_of(due_kind_t kind, const local_t *at, int64_t at_us, arena_t *arena)
{
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n = 0;
    switch (kind) {
    case DUE_DATE:
        n = local_format_date(at, text);
        break;
    case DUE_LOCAL:
        n = local_format(at, text);
        break;
    case DUE_INSTANT:
        n = instant_format(at_us, text);
        break;
    case DUE_NONE:
        break;
    }
    return arena_copy(arena, slice_of(text, n));
}

/* Where counting starts: at the due time, or at the same time of day on the day it was closed. */
static bool starting_point(const task_t *closed, const local_t *closed_local, local_t *out)
{
    due_kind_t kind = due_parse(closed->due, out);
    if (kind == DUE_NONE || !zone_is_known(closed->time_zone))
        return false;
    if (kind == DUE_INSTANT)
        zone_to_local(closed->time_zone, closed->due_at_us, out);
    if (closed->from == FROM_COMPLETION) {
        out->year = closed_local->year;
        out->month = closed_local->month;
        out->day = closed_local->day;
    }
    return true;
}

/* Passes over what is long past in one step, so that it does not matter how far back a due date is:
 * of rules in days there can be hundreds of thousands of occurrences in between. At least one of
 * them is left. */
static void skip_past(const rule_t *rule, const local_t *now, local_t *at)
{
    if (rule->freq != RULE_DAILY && rule->freq != RULE_WEEKLY)
        return;
    int64_t step = rule->interval * (rule->freq == RULE_WEEKLY ? INT64_C(7) : INT64_C(1));
    int64_t day = days_from_date(at->year, at->month, at->day);
    int64_t n_steps = (days_from_date(now->year, now->month, now->day) - day) / step - 1;
    if (n_steps > 0)
        date_from_days(day + n_steps * step, at);
}

bool next_due(const task_t *closed, arena_t *arena, slice_t *due, slice_t *why)
{
    rule_t rule;
    local_t at, closed_local;
    *why = slice_none();
    if (!rule_parse(closed->rule, &rule, arena, why))
        return false;
    if (closed->completed_at_us == INSTANT_NONE || !zone_is_known(closed->time_zone)) {
        *why = slice_str("the closed task has no time of closing or no known time zone");
        return false;
    }
    zone_to_local(closed->time_zone, closed->completed_at_us, &closed_local);
    if (!starting_point(closed, &closed_local, &at)) {
        *why = slice_str("the closed task has no due date that can be read");
        return false;
    }
    if (closed->missed == MISSED_NEXT)
        skip_past(&rule, &closed_local, &at);
    do {
        if (!rule_next(&rule, &at, &at))
            return false;
    } while (closed->missed == MISSED_NEXT && !is_ahead(closed->due_kind, &at, &closed_local));
    int64_t at_us = instant_of(closed->due_kind, closed->time_zone, &at);
    if (!rule_allows(&rule, closed->occurrence + 1, &at, at_us))
        return false;
    *due = text_of(closed->due_kind, &at, at_us, arena);
    return true;
}
