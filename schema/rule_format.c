/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a recurrence rule in the one form in which it is stored. */
#include "schema/buf.h"
#include "schema/rule.h"

static const char *const freq_names[] = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"};
static const char *const weekday_names[] = {"MO", "TU", "WE", "TH", "FR", "SA", "SU"};

/* The name of a list before its first item, a comma before the others. */
static void begin_item(buf_t *out, const char *name, int *n_items)
{
    buf_append_str(out, *n_items == 0 ? name : ",");
    (*n_items)++;
}

static void put_bits(buf_t *out, const char *name, uint32_t bits, uint32_t negative_bits)
{
    int n_items = 0;
    for (int i = 31; i > 0; i--) {
        if ((negative_bits >> i & 1) != 0) {
            begin_item(out, name, &n_items);
            buf_format(out, "%d", -i);
        }
    }
    for (int i = 1; i <= 31; i++) {
        if ((bits >> i & 1) != 0) {
            begin_item(out, name, &n_items);
            buf_format(out, "%d", i);
        }
    }
}

static void put_list(buf_t *out, const char *name, const rule_list_t *list)
{
    int n_items = 0;
    for (uint32_t i = 0; i < list->n_items; i++) {
        begin_item(out, name, &n_items);
        buf_format(out, "%d", list->items[i]);
    }
}

static void put_nths(buf_t *out, const char *name, const rule_t *rule, int *n_items)
{
    for (int nth = -53; nth <= 53; nth++) {
        for (int i = 0; i < RULE_WEEKDAYS; i++) {
            uint64_t bits = nth < 0 ? rule->last_nths[i] >> -nth : rule->nths[i] >> nth;
            if (nth == 0 || (bits & 1) == 0)
                continue;
            begin_item(out, name, n_items);
            buf_format(out, "%d%s", nth, weekday_names[i]);
        }
    }
}

static void put_days(buf_t *out, const char *name, const rule_t *rule)
{
    int n_items = 0;
    for (int i = 0; i < RULE_WEEKDAYS; i++) {
        if ((rule->weekdays >> i & 1) != 0) {
            begin_item(out, name, &n_items);
            buf_append_str(out, weekday_names[i]);
        }
    }
    put_nths(out, name, rule, &n_items);
}

static void put_until(buf_t *out, const rule_t *rule)
{
    const local_t *at = &rule->until;
    buf_format(out, ";UNTIL=%04d%02d%02d", at->year, at->month, at->day);
    if (rule->until_kind != DUE_DATE)
        buf_format(out, "T%02d%02d%02d%s", at->hour, at->minute, at->second,
                   rule->until_kind == DUE_INSTANT ? "Z" : "");
}

slice_t rule_format(const rule_t *rule, arena_t *arena)
{
    buf_t out = {0};
    buf_format(&out, "%sFREQ=%s", rule->is_clamped ? "RSCALE=GREGORIAN;" : "",
               freq_names[rule->freq]);
    if (rule->interval != 1)
        buf_format(&out, ";INTERVAL=%d", rule->interval);
    if (rule->count > 0)
        buf_format(&out, ";COUNT=%lld", (long long)rule->count);
    if (rule->has_until)
        put_until(&out, rule);
    put_bits(&out, ";BYMONTH=", rule->months, 0);
    put_bits(&out, ";BYMONTHDAY=", rule->month_days, rule->last_days);
    put_list(&out, ";BYYEARDAY=", &rule->year_days);
    put_days(&out, ";BYDAY=", rule);
    put_list(&out, ";BYSETPOS=", &rule->positions);
    if (rule->week_start != 0)
        buf_format(&out, ";WKST=%s", weekday_names[rule->week_start]);
    if (rule->is_clamped)
        buf_append_str(&out, ";SKIP=BACKWARD");
    slice_t text = arena_copy(arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}
