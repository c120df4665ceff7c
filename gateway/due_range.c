/* SPDX-License-Identifier: Apache-2.0 */
/* A day begins at the instant of its midnight, or where a clock change skips that, at the first
 * that there is; it ends one microsecond before the next day. */
#include "gateway/due_range.h"

#include "schema/zone.h"

#define DAYS_OF_WEEK 7

const char *const due_words[DUE_WORD_COUNT + 1] = {"today", "overdue", "week", "none", NULL};

static void narrow_from(due_range_t *self, int64_t from_us)
{
    if (self->from_us == INSTANT_NONE || from_us > self->from_us)
        self->from_us = from_us;
}

static void narrow_to(due_range_t *self, int64_t to_us)
{
    if (self->to_us == INSTANT_NONE || to_us < self->to_us)
        self->to_us = to_us;
}

static int64_t start_of_day(slice_t zone, const local_t *date)
{
    local_t midnight = {.year = date->year, .month = date->month, .day = date->day};
    zone_fit_t fit;
    return zone_to_utc(zone, &midnight, &fit);
}

static void add_days(due_range_t *self, slice_t zone, int64_t now_us, int n_days)
{
    local_t today;
    zone_to_local(zone, now_us, &today);
    local_t last = today;
    date_from_days(days_from_date(today.year, today.month, today.day) + n_days - 1, &last);
    narrow_from(self, start_of_day(zone, &today));
    narrow_to(self, zone_end_of_day(zone, &last));
}

void due_range_add_word(due_range_t *self, due_word_t word, slice_t zone, int64_t now_us)
{
    switch (word) {
    case DUE_TODAY:
        add_days(self, zone, now_us, 1);
        break;
    case DUE_OVERDUE:
        narrow_to(self, now_us - 1);
        break;
    case DUE_WEEK:
        add_days(self, zone, now_us, DAYS_OF_WEEK);
        break;
    case DUE_NOT_SET:
        self->is_none = true;
        break;
    case DUE_WORD_COUNT:
        break;
    }
}

static bool read_limit(slice_t text, slice_t zone, bool is_end, int64_t *out)
{
    local_t local;
    zone_fit_t fit;
    switch (due_parse(text, &local)) {
    case DUE_NONE:
        return false;
    case DUE_DATE:
        *out = is_end ? zone_end_of_day(zone, &local) : start_of_day(zone, &local);
        return true;
    case DUE_LOCAL:
        *out = zone_to_utc(zone, &local, &fit);
        return true;
    case DUE_INSTANT:
        *out = local_as_utc_us(&local);
        return true;
    }
    return false;
}

bool due_range_add_from(due_range_t *self, slice_t text, slice_t zone)
{
    int64_t from_us;
    if (!read_limit(text, zone, false, &from_us))
        return false;
    narrow_from(self, from_us);
    return true;
}

bool due_range_add_to(due_range_t *self, slice_t text, slice_t zone)
{
    int64_t to_us;
    if (!read_limit(text, zone, true, &to_us))
        return false;
    narrow_to(self, to_us);
    return true;
}
