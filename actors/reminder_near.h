/* SPDX-License-Identifier: Apache-2.0 */
/* The near horizon of the reminder actor: pending reminders in memory, as far ahead as they have
 * been loaded, and what of them is due. Pure: it reads no clock and no database, but says what it
 * wants to be loaded.
 *
 * The rows are loaded page by page in the order of their keys (instant first), so that everything
 * pending up to the last key loaded is here; what becomes pending later is offered. What is here
 * may be out of date, or here twice: whoever fires must find that harmless. When there is no room,
 * everything is forgotten and loaded again, which comes less far. */
#ifndef TASKWIRE_REMINDER_NEAR_H
#define TASKWIRE_REMINDER_NEAR_H

#include "schema/instant.h"
#include "schema/trace.h"
#include "schema/uuid.h"

/* One firing: of this reminder of this task at this instant. */
typedef struct {
    uuid_t task;
    uuid_t reminder; /* unique within its task only */
    int64_t fire_at_us;
    trace_t trace; /* no part of what it is: of the event that set it */
} near_key_t;

/* Which rows are to be loaded: the first `limit` in the order of (instant, task, reminder) that are
 * behind `after` and not later than `until_us`. */
typedef struct {
    near_key_t after;
    int64_t until_us;
    size_t limit;
} near_page_t;

typedef struct near near_t;

/* Holds at most `limit`, of what is due within `horizon_us`. Nothing is loaded. */
near_t *near_new(size_t limit, int64_t horizon_us);
void near_destroy(near_t **self_p);

/* Forgets everything: loading begins anew, with what is due from that instant on. */
void near_reset(near_t *self, int64_t now_us, int64_t from_us);

/* Whether something is to be loaded now, and what. */
bool near_wants(const near_t *self, int64_t now_us, near_page_t *out);
/* It was: `n` rows in that order; less than the page's limit if there are no more. */
void near_load(near_t *self, const near_page_t *page, const near_key_t *rows, size_t n);
/* This has become pending. */
void near_offer(near_t *self, const near_key_t *key);

/* Finds out what is due. */
void near_turn(near_t *self, int64_t now_us);
/* What has been due longest and was not shifted out yet; NULL: nothing. */
const near_key_t *near_first(const near_t *self);
void near_shift(near_t *self);

/* Until when nothing will be to do, as the wall clock goes; INT64_MAX: as long as nothing is
 * offered. */
int64_t near_next_us(const near_t *self);

/* How many are here, those that are due included. */
size_t near_count(const near_t *self);

#endif
