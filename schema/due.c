/* SPDX-License-Identifier: Apache-2.0 */
/* One function per kind of due text. Which instant a local time in a gap or an overlap is, is the
 * zone's business. */
#include "schema/due.h"

static void resolve_instant(slice_t zone, arena_t *arena, due_t *self)
{
    char text[INSTANT_TEXT_CHARS + 1];
    self->at_us = local_as_utc_us(&self->local);
    self->text = arena_copy(arena, slice_of(text, instant_format(self->at_us, text)));
    zone_to_local(zone, self->at_us, &self->local);
}

bool due_resolve(slice_t text, slice_t zone, arena_t *arena, due_t *out)
{
    zone_fit_t ignored;
    *out = (due_t){.text = text, .at_us = INSTANT_NONE};
    out->kind = due_parse(text, &out->local);
    switch (out->kind) {
    case DUE_NONE:
        return false;
    case DUE_DATE:
        out->at_us = instant_clamp(zone_end_of_day(zone, &out->local));
        break;
    case DUE_LOCAL:
        out->at_us = instant_clamp(zone_to_utc(zone, &out->local, &ignored));
        break;
    case DUE_INSTANT:
        resolve_instant(zone, arena, out);
        break;
    }
    return true;
}

void due_of_local(due_kind_t kind, const local_t *local, slice_t zone, arena_t *arena, due_t *out,
                  zone_fit_t *fit)
{
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n = 0;
    *out = (due_t){.kind = kind, .local = *local};
    *fit = ZONE_PLAIN;
    out->at_us = instant_clamp(kind == DUE_DATE ? zone_end_of_day(zone, local)
                                                : zone_to_utc(zone, local, fit));
    switch (kind) {
    case DUE_DATE:
        n = local_format_date(local, text);
        break;
    case DUE_LOCAL:
        n = local_format(local, text);
        break;
    case DUE_INSTANT:
        n = instant_format(out->at_us, text);
        break;
    case DUE_NONE:
        break;
    }
    out->text = arena_copy(arena, slice_of(text, n));
}

bool due_is_in_rule(const due_t *due, slice_t rule_text, int64_t occurrence, arena_t *arena)
{
    rule_t rule;
    slice_t why = slice_none();
    return rule_parse(rule_text, &rule, arena, &why) &&
           rule_allows(&rule, occurrence, &due->local, due->at_us);
}
