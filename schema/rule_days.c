/* SPDX-License-Identifier: Apache-2.0 */
/* The days of a rule. FREQ and INTERVAL choose periods: days, weeks, months or years; within one
 * every day is looked at that the BY parts may allow, so that there is one way of reading them, not
 * one for each combination. A search begins with the period that it asks about, wherever the rule
 * started, and looks at a bounded number of days. */
#include "schema/rule.h"

#define MAX_YEAR 9999
#define LAST_DAY (INSTANT_MAX / US_PER_DAY)
/* Days and months that a search looks at: of rules that fall on every day some 80 years, of those
 * of a few months or on the 29 February much more. */
#define MAX_STEPS 30000
#define MAX_DAYS_OF_PERIOD 366

/* --- a day and where it stands --- */

typedef struct {
    int64_t number;
    int year;
    int month;
    int day;
    int n_days; /* of the month */
    int year_day; /* from 1 */
    int n_year_days;
    int weekday;
} day_t;

static int weekday_of(int64_t number)
{
    int64_t weekday = (number + 3) % RULE_WEEKDAYS; /* 1970 began with a Thursday */
    return (int)(weekday < 0 ? weekday + RULE_WEEKDAYS : weekday);
}

static day_t day_of(int64_t number)
{
    local_t date = {0};
    date_from_days(number, &date);
    int64_t new_year = days_from_date(date.year, 1, 1);
    return (day_t){
        .number = number,
        .year = date.year,
        .month = date.month,
        .day = date.day,
        .n_days = days_in_month(date.year, date.month),
        .year_day = (int)(number - new_year) + 1,
        .n_year_days = days_in_month(date.year, 2) == 29 ? 366 : 365,
        .weekday = weekday_of(number),
    };
}

/* On to another day of the same month, or to the first of the next one. */
static void move_on(day_t *self, int n_days)
{
    if (self->day + n_days > self->n_days) {
        *self = day_of(self->number + self->n_days - self->day + 1);
        return;
    }
    self->number += n_days;
    self->day += n_days;
    self->year_day += n_days;
    self->weekday = (self->weekday + n_days) % RULE_WEEKDAYS;
}

/* --- what the BY parts allow --- */

static bool is_month_day(const rule_t *rule, const day_t *at)
{
    if ((rule->month_days >> at->day & 1) != 0 ||
        (rule->last_days >> (at->n_days - at->day + 1) & 1) != 0)
        return true;
    /* A day that the month is too short for falls on its last. */
    return rule->is_clamped && at->day == at->n_days && rule->month_days >> at->day > 1;
}

static bool has_item(const rule_list_t *list, int item)
{
    for (uint32_t i = 0; i < list->n_items; i++) {
        if (list->items[i] == item)
            return true;
    }
    return false;
}

static bool is_year_day(const rule_t *rule, const day_t *at)
{
    return has_item(&rule->year_days, at->year_day) ||
           has_item(&rule->year_days, at->year_day - at->n_year_days - 1);
}

/* Numbers before weekdays count within the month, unless the rule is about whole years. */
static bool is_nth(const rule_t *rule, const day_t *at)
{
    bool is_in_year = rule->freq == RULE_YEARLY && rule->months == 0;
    int before = (is_in_year ? at->year_day : at->day) - 1;
    int behind = is_in_year ? at->n_year_days - at->year_day : at->n_days - at->day;
    return (rule->nths[at->weekday] >> (before / RULE_WEEKDAYS + 1) & 1) != 0 ||
           (rule->last_nths[at->weekday] >> (behind / RULE_WEEKDAYS + 1) & 1) != 0;
}

static bool is_in_months(const rule_t *rule, const day_t *at)
{
    return rule->months == 0 || (rule->months >> at->month & 1) != 0;
}

static bool has_month_days(const rule_t *rule)
{
    return (rule->month_days | rule->last_days) != 0;
}

static bool is_allowed(const rule_t *rule, const day_t *at)
{
    return is_in_months(rule, at) && (!has_month_days(rule) || is_month_day(rule, at)) &&
           (rule->year_days.n_items == 0 || is_year_day(rule, at)) &&
           (rule->weekdays == 0 || (rule->weekdays >> at->weekday & 1) != 0) &&
           (!rule->has_nths || is_nth(rule, at));
}

/* What the rule leaves open is as on the day on which it starts. */
static rule_t completed(const rule_t *rule, const day_t *start)
{
    rule_t out = *rule;
    bool has_days = has_month_days(rule) || rule->weekdays != 0 || rule->has_nths ||
                    rule->year_days.n_items > 0;
    if (has_days || rule->freq == RULE_DAILY)
        return out;
    if (rule->freq == RULE_WEEKLY) {
        out.weekdays = UINT32_C(1) << start->weekday;
        return out;
    }
    out.month_days = UINT32_C(1) << start->day;
    if (rule->freq == RULE_YEARLY && rule->months == 0)
        out.months = UINT32_C(1) << start->month;
    return out;
}

/* --- periods --- */

static int64_t week_of(const rule_t *rule, int64_t number)
{
    return number - (weekday_of(number) - rule->week_start + RULE_WEEKDAYS) % RULE_WEEKDAYS;
}

/* How many periods a day is away from that of the start. */
static int64_t period_of(const rule_t *rule, const day_t *start, int64_t number)
{
    local_t date = {0};
    date_from_days(number, &date);
    int64_t n_years = date.year - start->year;
    switch (rule->freq) {
    case RULE_DAILY:
        return number - start->number;
    case RULE_WEEKLY:
        return (week_of(rule, number) - week_of(rule, start->number)) / RULE_WEEKDAYS;
    case RULE_MONTHLY:
        return n_years * 12 + date.month - start->month;
    case RULE_YEARLY:
        return n_years;
    }
    return 0;
}

typedef struct {
    int64_t first;
    int64_t last;
} period_t;

/* The days of a period. False: it is after year 9999. */
static bool open_period(const rule_t *rule, const day_t *start, int64_t index, period_t *out)
{
    int64_t months = (int64_t)start->year * 12 + start->month - 1 + index;
    int64_t year = rule->freq == RULE_MONTHLY ? months / 12 : start->year + index;
    int month = (int)(months % 12) + 1;
    switch (rule->freq) {
    case RULE_DAILY:
        out->first = out->last = start->number + index;
        break;
    case RULE_WEEKLY:
        out->first = week_of(rule, start->number) + index * RULE_WEEKDAYS;
        out->last = out->first + RULE_WEEKDAYS - 1;
        break;
    case RULE_MONTHLY:
        if (year > MAX_YEAR)
            return false;
        out->first = days_from_date((int32_t)year, month, 1);
        out->last = out->first + days_in_month((int32_t)year, month) - 1;
        break;
    case RULE_YEARLY:
        if (year > MAX_YEAR)
            return false;
        out->first = days_from_date((int32_t)year, 1, 1);
        out->last = days_from_date((int32_t)year, 12, 31);
        break;
    }
    if (out->last > LAST_DAY)
        out->last = LAST_DAY;
    return out->first <= LAST_DAY;
}

/* --- the search --- */

typedef struct {
    rule_t rule;
    day_t start;
    int n_steps;
} search_t;

/* The next allowed day of a period from `at` on. */
static bool find_allowed(search_t *self, const period_t *period, day_t *at)
{
    while (at->number <= period->last) {
        self->n_steps++;
        if (is_allowed(&self->rule, at))
            return true;
        move_on(at, is_in_months(&self->rule, at) ? 1 : at->n_days - at->day + 1);
    }
    return false;
}

static bool find_first(search_t *self, const period_t *period, int64_t from, int64_t *out)
{
    day_t at = day_of(period->first > from ? period->first : from);
    if (!find_allowed(self, period, &at))
        return false;
    *out = at.number;
    return true;
}

/* BYSETPOS chooses among all days of the period, also those before the start. */
static bool find_by_position(search_t *self, const period_t *period, int64_t from, int64_t *out)
{
    int64_t days[MAX_DAYS_OF_PERIOD];
    int n_days = 0;
    day_t at = day_of(period->first);
    while (find_allowed(self, period, &at)) {
        days[n_days++] = at.number;
        move_on(&at, 1);
    }
    for (int i = 0; i < n_days; i++) {
        if (days[i] >= from && (has_item(&self->rule.positions, i + 1) ||
                                has_item(&self->rule.positions, i - n_days))) {
            *out = days[i];
            return true;
        }
    }
    return false;
}

rule_search_t rule_after(const rule_t *rule, int64_t start, int64_t after, int64_t *out)
{
    search_t self = {.start = day_of(start)};
    period_t period;
    int64_t from = after < start ? start : after + 1;
    self.rule = completed(rule, &self.start);
    if (from > LAST_DAY)
        return RULE_OVER;
    int64_t index = period_of(rule, &self.start, from);
    index = (index + rule->interval - 1) / rule->interval * rule->interval;
    for (; self.n_steps < MAX_STEPS; index += rule->interval) {
        if (!open_period(rule, &self.start, index, &period))
            return RULE_OVER;
        if (rule->positions.n_items == 0 ? find_first(&self, &period, from, out)
                                         : find_by_position(&self, &period, from, out))
            return RULE_FOUND;
        self.n_steps++;
    }
    return RULE_RARE;
}

rule_search_t rule_start(const rule_t *rule, int64_t day, int64_t *out)
{
    rule_t any = *rule;
    any.interval = 1;
    return rule_after(&any, day, day - 1, out);
}

bool rule_allows(const rule_t *rule, int64_t occurrence, const local_t *at, int64_t at_us)
{
    if (rule->count > 0 && occurrence > rule->count)
        return false;
    if (!rule->has_until)
        return true;
    int64_t until_us = local_as_utc_us(&rule->until);
    if (rule->until_kind == DUE_DATE)
        return local_as_utc_us(at) < until_us + US_PER_DAY;
    return (rule->until_kind == DUE_INSTANT ? at_us : local_as_utc_us(at)) <= until_us;
}
