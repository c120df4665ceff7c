/* SPDX-License-Identifier: Apache-2.0 */
/* What a due text means in a zone: its kind, what clocks there show, the instant. The text alone is
 * read by instant.h, zones by zone.h; here they meet, for the core and for whoever computes the
 * next occurrence. */
#ifndef TASKWIRE_DUE_H
#define TASKWIRE_DUE_H

#include "schema/arena.h"
#include "schema/instant.h"
#include "schema/rule.h"
#include "schema/zone.h"

typedef struct {
    due_kind_t kind;
    slice_t text; /* as it is stored: as it was written, instants in UTC */
    local_t local; /* what a clock in the zone shows; midnight for a date */
    int64_t at_us; /* when it is overdue; for a date the end of that day. Never beyond what text can
                      say */
} due_t;

/* Reads a due text. The zone must be known. False: it is no date, local time or instant. Owns:
 * `text` is borrowed, or in the arena for an instant. */
bool due_resolve(slice_t text, slice_t zone, arena_t *arena, due_t *out);

/* What a clock reading in the zone is as a due date of that kind, its text in the arena. `fit` says
 * what a clock change did to it; to a date never anything. */
void due_of_local(due_kind_t kind, const local_t *local, slice_t zone, arena_t *arena, due_t *out,
                  zone_fit_t *fit);

/* Whether the rule (as it is stored) has room for the occurrence of that number (from 1) at that
 * due. */
bool due_is_in_rule(const due_t *due, slice_t rule, int64_t occurrence, arena_t *arena);

#endif
