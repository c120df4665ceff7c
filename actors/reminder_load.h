/* SPDX-License-Identifier: Apache-2.0 */
/* What the reminder actor reads of its rows, and what it ends in them by itself. All of it blocks,
 * and changes rows of its own history only (`epoch`). False: the database is away, or refused. */
#ifndef TASKWIRE_REMINDER_LOAD_H
#define TASKWIRE_REMINDER_LOAD_H

#include "actors/pg.h"
#include "actors/reminder_near.h"
#include "schema/event.h"

#define LOAD_MAX_OVERDUE 1000

/* The history that the rows are of. */
bool reminder_load_epoch(pg_t *pg, char out[EPOCH_CHARS]);

/* What is pending on that page. */
bool reminder_load_page(pg_t *pg, const near_page_t *page, near_t *near);

/* What is pending and due between these instants, the oldest LOAD_MAX_OVERDUE of it; `n` gets how
 * many. */
bool reminder_load_overdue(pg_t *pg, int64_t from_us, int64_t now_us,
                           near_key_t out[LOAD_MAX_OVERDUE], size_t *n);

/* Marks as missed what is pending since before that instant, some thousands at most; `n` gets how
 * many. */
bool reminder_load_miss(pg_t *pg, const char epoch[EPOCH_CHARS], int64_t before_us, int64_t *n);

/* Ends what was refused for good, where it is still pending at that instant; by a state of its own,
 * since other time zone data may be why (see reminder_rows.c). */
bool reminder_load_end(pg_t *pg, const char epoch[EPOCH_CHARS], const near_key_t *keys, size_t n);

#endif
