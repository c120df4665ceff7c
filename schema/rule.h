/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrence rules: the part of RFC 5545 RRULE that taskwire promises, on plain dates. The time of
 * day, zones and instants are the caller's.
 *
 *   FREQ=DAILY    BYMONTH, BYMONTHDAY, BYDAY without numbers
 *   FREQ=WEEKLY   BYMONTH, BYDAY without numbers, WKST
 *   FREQ=MONTHLY  BYMONTH; BYMONTHDAY, BYDAY without numbers, both, or BYDAY with numbers
 *   FREQ=YEARLY   the same, or BYYEARDAY alone; numbers before days count in the months of BYMONTH,
 *                 without that in the year
 *
 * with INTERVAL 1–999 and COUNT 1–1000 or UNTIL; BYSETPOS with MONTHLY or YEARLY and BYDAY without
 * numbers or BYMONTHDAY; SKIP=BACKWARD (with RSCALE=GREGORIAN) for the last day of a month that is
 * too short. The words daily, weekdays, weekly, monthly, yearly stand for rules; the last two have
 * SKIP=BACKWARD. Any other part, and what can never be, is refused with a sentence that names it
 * and says what to use instead. Source: RFC 5545 §3.3.10, RFC 7529 §4 (SKIP). */
#ifndef TASKWIRE_RULE_H
#define TASKWIRE_RULE_H

#include "schema/arena.h"
#include "schema/instant.h"

#define RULE_LIST_MAX 16 /* values of BYYEARDAY and of BYSETPOS */
#define RULE_WEEKDAYS 7 /* Monday is 0 */

typedef enum { RULE_DAILY, RULE_WEEKLY, RULE_MONTHLY, RULE_YEARLY } rule_freq_t;

/* Whole numbers that may be negative, ascending, each once. */
typedef struct {
    int16_t items[RULE_LIST_MAX];
    uint32_t n_items;
} rule_list_t;

typedef struct {
    rule_freq_t freq;
    int interval;
    int64_t count; /* 0: no COUNT */
    bool has_until;
    due_kind_t until_kind; /* DUE_DATE, DUE_LOCAL or DUE_INSTANT (UTC) */
    local_t until;
    uint32_t months; /* bit M for month M; 0: no BYMONTH */
    uint32_t month_days; /* bit D for day D; and */
    uint32_t last_days; /* bit D for day -D; both 0: no BYMONTHDAY */
    rule_list_t year_days;
    uint32_t weekdays; /* bit W, without numbers; 0: no such BYDAY */
    uint64_t nths[RULE_WEEKDAYS]; /* bit N for that weekday's number N, and */
    uint64_t last_nths[RULE_WEEKDAYS]; /* for its number -N */
    bool has_nths;
    rule_list_t positions; /* BYSETPOS */
    int week_start; /* a weekday */
    bool is_clamped; /* SKIP=BACKWARD */
} rule_t;

/* Reads a rule or a word. False, with a sentence for the client in `why`, if it is not one that we
 * promise. */
bool rule_parse(slice_t text, rule_t *out, arena_t *arena, slice_t *why);

/* Why the parts of a rule do not go together, a sentence for the client; NULL: they do. */
const char *rule_check(const rule_t *rule);

/* The rule as it is stored: parts in one order, defaults left out, lists ascending, upper case.
 * Never longer than the rule that it was read from, but for words. */
slice_t rule_format(const rule_t *rule, arena_t *arena);

/* --- dates (rule_days.c). Days are counted from 1970-01-01 --- */

typedef enum {
    RULE_FOUND,
    RULE_OVER, /* no day before the end of year 9999 */
    RULE_RARE, /* none within the work that a search may take: none, or hardly any */
} rule_search_t;

/* The first day of the rule that is after `after`, counted from `start`, which is a day of the rule
 * (rule_start) and gives what the rule leaves open: weekday, day of the month, month; and which of
 * the days, weeks, months or years INTERVAL passes over. Any `after` takes the same time. COUNT and
 * UNTIL are not looked at. */
rule_search_t rule_after(const rule_t *rule, int64_t start, int64_t after, int64_t *out);

/* Where a rule starts that is given to something due on that day: that day if the rule allows it,
 * else the first one behind it that it allows, INTERVAL aside. */
rule_search_t rule_start(const rule_t *rule, int64_t day, int64_t *out);

/* Whether an occurrence may exist: number `occurrence` (from 1) at local time `at`, whose instant
 * is `at_us`. */
bool rule_allows(const rule_t *rule, int64_t occurrence, const local_t *at, int64_t at_us);

#endif
