/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a rule are together: one function for each part that does not go with all
 * others. Sentences say what to use instead. */
#include "schema/rule.h"

#define NTHS_OF_MONTH UINT64_C(0x3e) /* 1 to 5 */

static bool has_month_days(const rule_t *rule)
{
    return (rule->month_days | rule->last_days) != 0;
}

static bool is_by_months_or_years(const rule_t *rule)
{
    return rule->freq == RULE_MONTHLY || rule->freq == RULE_YEARLY;
}

/* Whether any of the days exists in any of the months. */
static bool has_such_days(const rule_t *rule)
{
    uint32_t days = rule->month_days | rule->last_days;
    for (int month = 1; month <= 12; month++) {
        uint32_t of_month = (uint32_t)((UINT64_C(2) << days_in_month(2000, month)) - 1);
        if ((rule->months == 0 || (rule->months >> month & 1) != 0) && (days & of_month) != 0)
            return true;
    }
    return rule->is_clamped;
}

static const char *check_month_days(const rule_t *rule)
{
    if (!has_month_days(rule))
        return NULL;
    if (rule->freq == RULE_WEEKLY)
        return "BYMONTHDAY is nothing for FREQ=WEEKLY; use FREQ=DAILY or MONTHLY.";
    if (!has_such_days(rule))
        return "The rule never matches: no month of BYMONTH has a day of BYMONTHDAY.";
    return NULL;
}

static const char *check_year_days(const rule_t *rule)
{
    if (rule->year_days.n_items == 0)
        return NULL;
    if (rule->freq != RULE_YEARLY)
        return "BYYEARDAY needs FREQ=YEARLY.";
    if (rule->months != 0 || has_month_days(rule) || rule->weekdays != 0 || rule->has_nths)
        return "BYYEARDAY beside BYMONTH, BYMONTHDAY or BYDAY is not supported; use the one or the "
               "others.";
    return NULL;
}

static bool has_nths_beyond(const rule_t *rule, uint64_t known)
{
    for (int i = 0; i < RULE_WEEKDAYS; i++) {
        if (((rule->nths[i] | rule->last_nths[i]) & ~known) != 0)
            return true;
    }
    return false;
}

static const char *check_nths(const rule_t *rule)
{
    if (!rule->has_nths)
        return NULL;
    if (!is_by_months_or_years(rule))
        return "A number before a day (2MO) needs FREQ=MONTHLY or YEARLY.";
    if (rule->weekdays != 0)
        return "Days with and without numbers in one BYDAY are not supported; give all of them "
               "numbers, or use BYSETPOS.";
    if (has_month_days(rule) || rule->positions.n_items > 0)
        return "A number before a day (2MO) beside BYMONTHDAY or BYSETPOS is not supported; leave "
               "the number out.";
    if ((rule->freq == RULE_MONTHLY || rule->months != 0) && has_nths_beyond(rule, NTHS_OF_MONTH))
        return "The rule never matches: a month has at most five of each day.";
    return NULL;
}

static const char *check_positions(const rule_t *rule)
{
    if (rule->positions.n_items == 0)
        return NULL;
    if (!is_by_months_or_years(rule))
        return "BYSETPOS needs FREQ=MONTHLY or YEARLY.";
    if (rule->weekdays == 0 && !has_month_days(rule))
        return "BYSETPOS needs BYDAY, or BYMONTHDAY, to choose from.";
    return NULL;
}

static const char *check_skip(const rule_t *rule)
{
    if (!rule->is_clamped)
        return NULL;
    if (!is_by_months_or_years(rule))
        return "SKIP=BACKWARD needs FREQ=MONTHLY or YEARLY.";
    if (rule->last_days != 0 || rule->weekdays != 0 || rule->has_nths ||
        rule->year_days.n_items > 0 || rule->positions.n_items > 0)
        return "SKIP=BACKWARD is supported beside BYMONTH and BYMONTHDAY from 1 to 31 only; leave "
               "it out.";
    return NULL;
}

const char *rule_check(const rule_t *rule)
{
    static const char *(*const checks[])(const rule_t *rule) = {
        check_month_days, check_year_days, check_nths, check_positions, check_skip};
    if (rule->count > 0 && rule->has_until)
        return "COUNT and UNTIL exclude each other; leave one of them out.";
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const char *why = checks[i](rule);
        if (why != NULL)
            return why;
    }
    return NULL;
}
