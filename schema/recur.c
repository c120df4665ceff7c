/* SPDX-License-Identifier: Apache-2.0 */
/* Everything is iterated on local dates in the task's zone, because that is what people mean by
 * "every Monday at nine"; instants come in only where a date is finished. */
#include "schema/recur.h"

int64_t recur_day(const local_t *at)
{
    return days_from_date(at->year, at->month, at->day);
}

slice_t recur_start(const rule_t *rule, const due_t *due, arena_t *arena, slice_t *why)
{
    char text[INSTANT_TEXT_CHARS + 1];
    int64_t day = 0;
    local_t at = due->local;
    switch (rule_start(rule, recur_day(&at), &day)) {
    case RULE_FOUND:
        break;
    case RULE_OVER:
        *why = slice_str("The rule matches no date up to the year 9999.");
        return slice_none();
    case RULE_RARE:
        *why = slice_str("The rule never matches, or so seldom that no date was found.");
        return slice_none();
    }
    date_from_days(day, &at);
    at.us = 0;
    size_t n = due->kind == DUE_DATE ? local_format_date(&at, text) : local_format(&at, text);
    return arena_copy(arena, slice_of(text, n));
}

/* All-day or not is as at the start; a time is an instant if the due date is one. */
static due_kind_t kind_of(due_kind_t start, due_kind_t due)
{
    if (start == DUE_DATE)
        return DUE_DATE;
    return due == DUE_INSTANT ? DUE_INSTANT : DUE_LOCAL;
}

bool recur_open(const rule_t *rule, const due_t *due, slice_t zone, slice_t start, recur_t *out)
{
    int64_t day = recur_day(&due->local);
    *out = (recur_t){.rule = *rule, .zone = zone, .kind = due->kind, .clock = due->local};
    out->start = out->last = day;
    if (start.data != NULL) {
        due_kind_t kind = due_parse(start, &out->clock);
        out->kind = kind_of(kind, due->kind);
        out->clock.us = due->local.us; /* text has whole seconds, an instant may have less */
        out->start = recur_day(&out->clock);
        return kind == DUE_DATE || kind == DUE_LOCAL;
    }
    return rule_start(rule, day, &out->start) == RULE_FOUND;
}

bool recur_has_day(const recur_t *self, int64_t day)
{
    int64_t found = 0;
    return rule_after(&self->rule, self->start, day - 1, &found) == RULE_FOUND && found == day;
}

static bool is_skipped(const recur_t *self, const local_t *date)
{
    char text[INSTANT_TEXT_CHARS + 1];
    slice_t written = slice_of(text, local_format_date(date, text));
    for (uint32_t i = 0; i < self->n_skips; i++) {
        if (slice_eq(self->skips[i], written))
            return true;
    }
    return false;
}

rule_search_t recur_next(recur_t *self, arena_t *arena, due_t *out, zone_fit_t *fit)
{
    local_t at = self->clock;
    do {
        int64_t day = 0;
        rule_search_t search = rule_after(&self->rule, self->start, self->last, &day);
        if (search != RULE_FOUND)
            return search;
        self->last = day;
        date_from_days(day, &at);
    } while (is_skipped(self, &at));
    due_of_local(self->kind, &at, self->zone, arena, out, fit);
    return RULE_FOUND;
}

int64_t recur_day_of_task(const task_t *task, const due_t *due)
{
    local_t planned;
    return due_parse(task->planned, &planned) == DUE_DATE ? recur_day(&planned)
                                                          : recur_day(&due->local);
}

bool recur_open_task(const task_t *task, arena_t *arena, recur_t *out, slice_t *why)
{
    rule_t rule;
    due_t due;
    *why = slice_none();
    if (!rule_parse(task->rule, &rule, arena, why))
        return false;
    if (!zone_is_known(task->time_zone) || !due_resolve(task->due, task->time_zone, arena, &due)) {
        *why = slice_str("the task has no due date, or no time zone, that can be read");
        return false;
    }
    if (!recur_open(&rule, &due, task->time_zone, task->rule_start, out)) {
        *why = slice_str("the rule gives no date");
        return false;
    }
    out->last = recur_day_of_task(task, &due);
    out->skips = task->skips;
    out->n_skips = task->n_skips;
    return true;
}
