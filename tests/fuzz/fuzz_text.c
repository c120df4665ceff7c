/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an instant, a due date, a duration, a rule, a zone's name, an order key, a
 * traceparent: nothing is read beyond its end, and what is accepted and written again reads the
 * same. */
#include <stdlib.h>

#include "schema/instant.h"
#include "schema/json.h"
#include "schema/limits.h"
#include "schema/position.h"
#include "schema/rule.h"
#include "schema/trace.h"
#include "schema/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static bool same_local(const local_t *a, const local_t *b)
{
    return local_as_utc_us(a) == local_as_utc_us(b);
}

static void try_instant(slice_t text)
{
    int64_t at_us = 0;
    if (!instant_parse(text, &at_us))
        return;
    must(at_us >= INSTANT_MIN && at_us <= INSTANT_MAX);
    char written[INSTANT_TEXT_CHARS + 1];
    size_t n_chars = instant_format(at_us, written);
    int64_t again_us = 0;
    must(instant_parse(slice_of(written, n_chars), &again_us) && again_us == at_us);
    local_t local = {0};
    local_from_utc_us(at_us, &local);
    must(local_as_utc_us(&local) == at_us);
}

static void try_due(slice_t text)
{
    local_t local = {0};
    local_t again = {0};
    char written[INSTANT_TEXT_CHARS + 1];
    due_kind_t kind = due_parse(text, &local);
    if (kind != DUE_DATE && kind != DUE_LOCAL)
        return;
    size_t n_chars =
        kind == DUE_DATE ? local_format_date(&local, written) : local_format(&local, written);
    must(due_parse(slice_of(written, n_chars), &again) == kind && same_local(&local, &again));
}

static void try_duration(slice_t text)
{
    int64_t us = 0;
    if (duration_parse(text, &us))
        must(us % US_PER_S == 0 && llabs(us) <= 366 * US_PER_DAY);
}

static void try_next(const rule_t *rule)
{
    int64_t start = 0;
    int64_t day = days_from_date(2026, 1, 31);
    rule_search_t search = rule_start(rule, day, &start);
    must(search != RULE_FOUND || start >= day);
    for (int i = 0; i < 10 && search == RULE_FOUND; i++) {
        int64_t next = 0;
        search = rule_after(rule, start, day, &next);
        must(search != RULE_FOUND || next > day);
        day = next;
    }
}

static void try_rule(slice_t text, arena_t *arena)
{
    rule_t rule = {0};
    slice_t why = slice_none();
    if (!rule_parse(text, &rule, arena, &why)) {
        must(why.n_bytes > 0 && why.n_bytes < 200 && utf8_is_text(why));
        return;
    }
    slice_t written = rule_format(&rule, arena);
    rule_t again = {0};
    must(written.n_bytes <= LIMIT_RULE_BYTES && rule_parse(written, &again, arena, &why));
    must(slice_eq(rule_format(&again, arena), written));
    try_next(&rule);
}

static void try_zone(slice_t text)
{
    if (!zone_is_known(text))
        return;
    must(text.n_bytes <= 64 && utf8_is_text(text));
    local_t local = {.year = 2026, .month = 11, .day = 23, .hour = 9};
    local_t back = {0};
    zone_fit_t fit = ZONE_PLAIN;
    int64_t at_us = zone_to_utc(text, &local, &fit);
    zone_to_local(text, at_us, &back);
    must(fit != ZONE_PLAIN || same_local(&local, &back));
    must(zone_end_of_day(text, &local) >= at_us);
}

static void try_position(slice_t text, arena_t *arena)
{
    slice_t after = position_after(text, arena);
    if (!position_is_valid(text) && text.n_bytes > 0) {
        must(after.data == NULL);
        return;
    }
    if (after.data != NULL)
        must(position_is_valid(after) && slice_cmp(after, text) > 0);
    else
        must(text.n_bytes == LIMIT_POSITION_CHARS);
}

static void put_digits(char *out, const uint8_t *bytes, size_t n_bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static void try_trace(slice_t text)
{
    static const uint8_t zeros[TRACE_ID_BYTES];
    char written[] = "00-00000000000000000000000000000000-0000000000000000-00";
    trace_t trace, again;
    must(trace_parse(text, &trace) != trace_is_none(&trace));
    if (trace_is_none(&trace))
        return;
    must(memcmp(trace.bytes + TRACE_ID_BYTES, zeros, TRACE_SPAN_BYTES) != 0);
    put_digits(written + 3, trace.bytes, TRACE_ID_BYTES);
    put_digits(written + 36, trace.bytes + TRACE_ID_BYTES, TRACE_SPAN_BYTES);
    put_digits(written + 53, trace.bytes + TRACE_BYTES - 1, 1);
    must(trace_parse(slice_of(written, TRACE_PARENT_CHARS), &again));
    must(memcmp(&trace, &again, sizeof trace) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    slice_t text = slice_of(data, n_bytes);
    arena_t *arena = arena_new();
    try_instant(text);
    try_due(text);
    try_duration(text);
    try_rule(text, arena);
    try_zone(text);
    try_position(text, arena);
    try_trace(text);
    arena_destroy(&arena);
    return 0;
}
