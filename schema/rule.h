/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrence rules: the part of RFC 5545 RRULE that taskwire promises. Here FREQ=DAILY, WEEKLY,
 * MONTHLY, YEARLY with INTERVAL 1–999 and COUNT 1–1000 or UNTIL; the words daily, weekly, monthly,
 * yearly stand for rules. Any other part is refused with a sentence that names it. Local times
 * only: zones and instants are the caller's. Source: RFC 5545 §3.3.10. */
#ifndef TASKWIRE_RULE_H
#define TASKWIRE_RULE_H

#include "schema/arena.h"
#include "schema/instant.h"

typedef enum { RULE_DAILY, RULE_WEEKLY, RULE_MONTHLY, RULE_YEARLY } rule_freq_t;

typedef struct {
    rule_freq_t freq;
    int interval;
    int64_t count; /* 0: no COUNT */
    bool has_until;
    due_kind_t until_kind; /* DUE_DATE, DUE_LOCAL or DUE_INSTANT (UTC) */
    local_t until;
} rule_t;

/* Reads a rule or a word. False, with a sentence for the client in `why`, if it is not one that we
 * promise. */
bool rule_parse(slice_t text, rule_t *out, arena_t *arena, slice_t *why);

/* The rule as it is stored: parts in the order FREQ, INTERVAL, COUNT, UNTIL, defaults left out,
 * upper case. */
slice_t rule_format(const rule_t *rule, arena_t *arena);

/* The first local time of the rule strictly after `from`, which is one itself; hour, minute and
 * second stay. A month or year without that day is skipped, as the RFC says. COUNT and UNTIL are
 * not looked at. False past year 9999. */
bool rule_next(const rule_t *rule, const local_t *from, local_t *out);

/* Whether an occurrence may exist: number `occurrence` (from 1) at local time `at`, whose instant
 * is `at_us`. */
bool rule_allows(const rule_t *rule, int64_t occurrence, const local_t *at, int64_t at_us);

#endif
