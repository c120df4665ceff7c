/* SPDX-License-Identifier: Apache-2.0 */
/* One function per kind of due text. Which instant a local time in a gap or an overlap is, is the
 * zone's business. */
#include "schema/due.h"

#include "schema/zone.h"

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

bool due_is_in_rule(const due_t *due, slice_t rule_text, int64_t occurrence, arena_t *arena)
{
    rule_t rule;
    slice_t why = slice_none();
    return rule_parse(rule_text, &rule, arena, &why) &&
           rule_allows(&rule, occurrence, &due->local, due->at_us);
}
