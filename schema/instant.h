/* SPDX-License-Identifier: Apache-2.0 */
/* Instants, local times and durations as text. Wall clock everywhere in UTC microseconds since
 * 1970. Source: RFC 3339, RFC 5545 §3.3.6 (durations). */
#ifndef TASKWIRE_INSTANT_H
#define TASKWIRE_INSTANT_H

#include "schema/slice.h"

/* "No instant." */
#define INSTANT_NONE INT64_MIN

#define US_PER_S INT64_C(1000000)
#define US_PER_DAY (INT64_C(86400) * US_PER_S)

/* The first instant of year 1 and the last of year 9999: what text can say. */
#define INSTANT_MIN (INT64_C(-719162) * US_PER_DAY)
#define INSTANT_MAX (INT64_C(2932897) * US_PER_DAY - 1)

/* The nearest instant that text can say. */
static inline int64_t instant_clamp(int64_t at_us)
{
    return at_us < INSTANT_MIN ? INSTANT_MIN : at_us > INSTANT_MAX ? INSTANT_MAX : at_us;
}

/* The longest text is 2026-11-23T08:00:00.123456Z. */
#define INSTANT_TEXT_CHARS 27

/* A wall clock reading somewhere, without saying where. Years 1 to 9999. */
typedef struct {
    int32_t year;
    int8_t month; /* 1 to 12 */
    int8_t day;
    int8_t hour;
    int8_t minute;
    int8_t second; /* 0 to 59: leap seconds do not exist here */
    int32_t us;
} local_t;

/* Reads an RFC 3339 date-time with Z or an offset, years 1 to 9999, at most six digits of fraction.
 */
bool instant_parse(slice_t text, int64_t *out_us);

/* Writes it with Z, the fraction only as long as it must be (.5, not .500000). Instants outside of
 * years 1 to 9999 are written as the nearest inside. Returns the number of characters. */
size_t instant_format(int64_t at_us, char out[INSTANT_TEXT_CHARS + 1]);

/* What a task's `due` may be. */
typedef enum {
    DUE_NONE,
    DUE_DATE, /* 2026-11-23: all day */
    DUE_LOCAL, /* 2026-11-23T09:00 or with seconds: a wall clock in the task's zone */
    DUE_INSTANT, /* with Z or an offset */
} due_kind_t;

/* Says which of them the text is and reads it; for DUE_INSTANT `out` is in UTC. DUE_NONE: it is
 * none of them. */
due_kind_t due_parse(slice_t text, local_t *out);

/* Writes a date (2026-11-23) or a local time (2026-11-23T09:00, seconds only if not zero, never a
 * fraction). The year must be 1 to 9999. Returns the characters. */
size_t local_format_date(const local_t *local, char out[INSTANT_TEXT_CHARS + 1]);
size_t local_format(const local_t *local, char out[INSTANT_TEXT_CHARS + 1]);

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (sets year, month, day only). */
int64_t days_from_date(int32_t year, int month, int day);
void date_from_days(int64_t days, local_t *out);

/* The number of days of a month. */
int days_in_month(int32_t year, int month);

/* As if the wall clock were in UTC, and back. */
int64_t local_as_utc_us(const local_t *local);
void local_from_utc_us(int64_t at_us, local_t *out);

/* Reads a time of day, HH:MM, in minutes since midnight. False for anything else. */
bool time_of_day_parse(slice_t text, int *out_minutes);

/* Reads an ISO 8601 duration of weeks, days, hours, minutes, seconds (P1W, P1DT12H, PT15M, -PT5M;
 * at most 366 days either way). A day is 24 hours here. False for anything else; months and years
 * have no fixed length. */
bool duration_parse(slice_t text, int64_t *out_us);

#endif
