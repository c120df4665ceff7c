/* SPDX-License-Identifier: Apache-2.0 */
/* Which due dates are asked for, as instants: "today" and the like are days of somebody's time
 * zone, which clock changes make longer or shorter. Pure. Units: microseconds since 1970. */
#ifndef TASKWIRE_DUE_RANGE_H
#define TASKWIRE_DUE_RANGE_H

#include "schema/instant.h"

typedef enum {
    DUE_TODAY,
    DUE_OVERDUE, /* before now */
    DUE_WEEK, /* today and the six days after it */
    DUE_NOT_SET, /* no due date */
    DUE_WORD_COUNT,
} due_word_t;

/* What clients write for them. */
extern const char *const due_words[DUE_WORD_COUNT + 1];

typedef struct {
    int64_t from_us; /* the first and the last that fits; INSTANT_NONE: no limit */
    int64_t to_us;
    bool is_none; /* only what has no due date */
} due_range_t;

/* Narrows the range to what the word means in that zone at that instant. */
void due_range_add_word(due_range_t *self, due_word_t word, slice_t zone, int64_t now_us);

/* Narrows it by `due_from` or `due_to`: a date, which counts with all of its day, a local time or
 * an instant, itself included. False: it is none of them. */
bool due_range_add_from(due_range_t *self, slice_t text, slice_t zone);
bool due_range_add_to(due_range_t *self, slice_t text, slice_t zone);

#endif
