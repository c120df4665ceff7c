/* SPDX-License-Identifier: Apache-2.0 */
/* How a task recurs, as clients say it. A rule that is set starts at the due date, or on the first
 * day behind it that the rule allows. A due date that is moved by itself moves this occurrence
 * only: where the rule had it stays known as `planned`, and the next one comes as if nothing had
 * happened. */
#include "schema/apply_schedule.h"

#define MAX_DATE_BYTES 32

void apply_clear_recurrence(task_t *task)
{
    task->rule = slice_none();
    task->from = FROM_DUE;
    task->missed = MISSED_NEXT;
    task->rule_start = slice_none();
    task->planned = slice_none();
    task->skips = NULL;
    task->n_skips = 0;
}

/* --- the parts --- */

static data_is_t read_rule(schedule_t *self, data_map_t *map)
{
    data_value_t value;
    slice_t text = slice_none();
    slice_t why = slice_none();
    rule_t rule;
    data_is_t is = data_get(map, "rule", &value);
    if (is == DATA_NULL || (is == DATA_ABSENT && self->task->rule.data == NULL))
        data_refuse(&value, "this is needed");
    if (is != DATA_GIVEN || !data_str(&value, LIMIT_RULE_BYTES, &text))
        return is;
    if (rule_parse(text, &rule, self->apply->arena, &why))
        self->task->rule = rule_format(&rule, self->apply->arena);
    else
        problem_add_field(self->apply->problem, data_pointer(&value), why);
    return is;
}

static void read_from_and_missed(schedule_t *self, data_map_t *map)
{
    static const char *const froms[] = {"due", "completion", NULL};
    static const char *const misseds[] = {"next", "each", "keep", NULL};
    data_value_t value;
    int from = FROM_DUE;
    int missed = MISSED_NEXT;
    data_is_t is = data_get(map, "from", &value);
    if (is == DATA_NULL || (is == DATA_GIVEN && data_word(&value, froms, &from)))
        self->task->from = (recurrence_from_t)from;
    is = data_get(map, "missed", &value);
    if (is == DATA_NULL || (is == DATA_GIVEN && data_word(&value, misseds, &missed)))
        self->task->missed = (recurrence_missed_t)missed;
}

/* Text of one of the kinds in the form in which it is stored. */
static bool read_date(schedule_t *self, const data_value_t *value, bool may_be_local, slice_t *out)
{
    char text[INSTANT_TEXT_CHARS + 1];
    slice_t given = slice_none();
    local_t at;
    if (!data_str(value, MAX_DATE_BYTES, &given))
        return false;
    due_kind_t kind = due_parse(given, &at);
    at.us = 0;
    if (kind == DUE_DATE) {
        *out = arena_copy(self->apply->arena, slice_of(text, local_format_date(&at, text)));
    } else if (kind == DUE_LOCAL && may_be_local) {
        *out = arena_copy(self->apply->arena, slice_of(text, local_format(&at, text)));
    } else {
        data_refuse(value, may_be_local ? "this must be a date (2026-11-23) or a local time "
                                          "(2026-11-23T09:00)"
                                        : "this must be a date (2026-11-23)");
        return false;
    }
    return true;
}

/* What a client has read it may send back. */
static void read_planned(schedule_t *self, data_map_t *map)
{
    data_value_t value;
    data_is_t is = data_get(map, "planned", &value);
    if (is == DATA_NULL)
        self->task->planned = slice_none();
    if (is == DATA_GIVEN)
        read_date(self, &value, false, &self->task->planned);
}

/* Keeps the dates ascending, each once. */
static void add_skip(slice_t *skips, uint32_t *n_skips, slice_t date)
{
    uint32_t i = 0;
    while (i < *n_skips && slice_cmp(skips[i], date) < 0)
        i++;
    if (i < *n_skips && slice_eq(skips[i], date))
        return;
    for (uint32_t k = (*n_skips)++; k > i; k--)
        skips[k] = skips[k - 1];
    skips[i] = date;
}

static void read_skips(schedule_t *self, data_map_t *map)
{
    data_value_t value;
    data_value_t item;
    data_array_t array;
    data_is_t is = data_get(map, "skip", &value);
    if (is == DATA_NULL)
        self->task->n_skips = 0;
    if (is != DATA_GIVEN || !data_array(&value, LIMIT_SKIPS, &array))
        return;
    slice_t *skips = arena_alloc(self->apply->arena, LIMIT_SKIPS * sizeof *skips);
    self->task->n_skips = 0;
    self->task->skips = skips;
    while (data_next(&array, &item)) {
        slice_t date;
        if (read_date(self, &item, false, &date))
            add_skip(skips, &self->task->n_skips, date);
    }
}

/* --- where the rule starts --- */

static void start_series(task_t *task)
{
    if (!uuid_is_nil(&task->series))
        return;
    task->series = task->id;
    task->occurrence = 1;
}

/* Whether the rule as it was goes on as it did: the same rule, and the due date is one of its days.
 */
static bool goes_on(const schedule_t *self, const rule_t *rule, const due_t *due)
{
    recur_t recur;
    return self->before != NULL && self->before->rule_start.data != NULL &&
           slice_eq(self->before->rule, self->task->rule) &&
           recur_open(rule, due, self->task->time_zone, self->before->rule_start, &recur) &&
           recur.kind == due->kind && recur_has_day(&recur, recur_day(&due->local));
}

/* A rule that is set starts at the due date, one that is sent again goes on. */
static bool start_rule(schedule_t *self, const rule_t *rule, const due_t *due, slice_t *why)
{
    task_t *task = self->task;
    if (goes_on(self, rule, due))
        return true;
    task->rule_start = recur_start(rule, due, self->apply->arena, why);
    task->planned = slice_none();
    return task->rule_start.data != NULL;
}

/* A start that the client gives: not behind the due date, and some day must follow. */
static const char *check_start(const schedule_t *self, const rule_t *rule, const due_t *due)
{
    recur_t recur;
    int64_t day = 0;
    if (!recur_open(rule, due, self->task->time_zone, self->task->rule_start, &recur))
        return "this must be a date or a local time";
    if (rule_after(rule, recur.start, recur.start - 1, &day) != RULE_FOUND)
        return "the rule gives no date from there on";
    return NULL;
}

/* A rule that the client sends must have room for the due date. A due date that is moved alone may
 * well lie behind the end of its series: it is the last one then. */
static void check_rule(schedule_t *self, const data_value_t *recurrence,
                       const data_value_t *start_value, bool is_new, bool has_start)
{
    task_t *task = self->task;
    arena_t *arena = self->apply->arena;
    slice_t why = slice_none();
    rule_t rule;
    due_t due;
    if (self->is_due_wrong || task->rule.data == NULL || !apply_is_fine(self->apply))
        return;
    if (task->due.data == NULL) {
        data_refuse(recurrence, "a recurring task needs a due date");
        return;
    }
    if (!rule_parse(task->rule, &rule, arena, &why) ||
        !due_resolve(task->due, task->time_zone, arena, &due))
        return;
    if (!rule_allows(&rule, task->occurrence, &due.local, due.at_us)) {
        data_refuse(recurrence, "the rule ends before this occurrence");
        return;
    }
    const char *wrong = has_start ? check_start(self, &rule, &due) : NULL;
    if (wrong != NULL)
        data_refuse(start_value, wrong);
    if (!has_start && is_new && !start_rule(self, &rule, &due, &why))
        problem_add_field(self->apply->problem, data_pointer(recurrence), why);
}

static void read_parts(schedule_t *self, const data_value_t *value, data_map_t *map)
{
    data_value_t start;
    data_is_t has_rule = read_rule(self, map);
    data_is_t has_start = data_get(map, "start", &start);
    read_from_and_missed(self, map);
    read_skips(self, map);
    read_planned(self, map);
    if (has_start == DATA_GIVEN)
        read_date(self, &start, true, &self->task->rule_start);
    data_close(map);
    start_series(self->task);
    check_rule(self, value, &start, has_rule == DATA_GIVEN || has_start == DATA_NULL,
               has_start == DATA_GIVEN);
}

/* --- a due date that was moved --- */

static slice_t date_of(const due_t *due, arena_t *arena)
{
    char text[INSTANT_TEXT_CHARS + 1];
    return arena_copy(arena, slice_of(text, local_format_date(&due->local, text)));
}

/* The due date that the rule had given stays known until the occurrence is back there. */
static void follow_due(schedule_t *self)
{
    const task_t *before = self->before;
    task_t *task = self->task;
    arena_t *arena = self->apply->arena;
    slice_t why;
    rule_t rule;
    due_t was;
    due_t is;
    if (before == NULL || slice_eq(before->due, task->due) ||
        !rule_parse(task->rule, &rule, arena, &why) ||
        !due_resolve(before->due, before->time_zone, arena, &was) ||
        !due_resolve(task->due, task->time_zone, arena, &is))
        return;
    if (task->rule_start.data == NULL)
        task->rule_start = recur_start(&rule, &was, arena, &why);
    if (task->planned.data == NULL)
        task->planned = date_of(&was, arena);
    if (slice_eq(task->planned, date_of(&is, arena)))
        task->planned = slice_none();
}

void apply_read_recurrence(schedule_t *self)
{
    data_value_t value;
    data_map_t map;
    data_is_t is = data_get(&self->apply->data, "recurrence", &value);
    if (is == DATA_NULL)
        apply_clear_recurrence(self->task);
    if (self->task->rule.data != NULL && self->task->due.data != NULL && !self->is_due_wrong)
        follow_due(self);
    if (is == DATA_GIVEN && data_map(&value, &map))
        read_parts(self, &value, &map);
    if (is == DATA_ABSENT && self->task->rule.data != NULL && self->task->due.data == NULL)
        data_refuse(&self->due, "the task recurs, so it needs a due date; remove both together");
}
