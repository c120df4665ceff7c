/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text, by hand: libc's functions depend on locale and TZ, accept too much and cannot say
 * where they stopped. Parsing walks a cursor over the client's bytes; every reader takes what it
 * can and says whether it could. The calendar arithmetic counts years from March, so that the leap
 * day is the last of a year. Source: RFC 3339, RFC 5545 §3.3.6; H. Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms". */
#include "schema/instant.h"

#include <assert.h>

#define DAYS_PER_ERA 146097 /* 400 years */
#define DAYS_TO_1970 719468 /* from 0000-03-01 */
#define MAX_DURATION_S (INT64_C(366) * 86400)
#define MAX_DURATION_DIGITS 8
#define FRACTION_DIGITS 6

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} cursor_t;

/* An absent slice has no address to add to. */
static cursor_t cursor_over(slice_t text)
{
    const uint8_t *start = text.data == NULL ? (const uint8_t *)"" : text.data;
    return (cursor_t){start, start + text.n_bytes};
}

static bool take(cursor_t *self, char c)
{
    if (self->at == self->end || *self->at != (uint8_t)c)
        return false;
    self->at++;
    return true;
}

static bool take_digit(cursor_t *self, int *out)
{
    if (self->at == self->end || *self->at < '0' || *self->at > '9')
        return false;
    *out = *self->at++ - '0';
    return true;
}

/* Exactly n digits, at most four, with a value of min to max. */
static bool take_number(cursor_t *self, int n_digits, int min, int max, int *out)
{
    int value = 0;
    for (int i = 0; i < n_digits; i++) {
        int digit = 0;
        if (!take_digit(self, &digit))
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return value >= min && value <= max;
}

static bool take_date(cursor_t *self, local_t *out)
{
    int year = 0;
    int month = 0;
    int day = 0;
    if (!take_number(self, 4, 1, 9999, &year) || !take(self, '-') ||
        !take_number(self, 2, 1, 12, &month) || !take(self, '-') ||
        !take_number(self, 2, 1, days_in_month(year, month), &day))
        return false;
    out->year = year;
    out->month = (int8_t)month;
    out->day = (int8_t)day;
    return true;
}

static bool take_hour_minute(cursor_t *self, local_t *out)
{
    int hour = 0;
    int minute = 0;
    if (!take_number(self, 2, 0, 23, &hour) || !take(self, ':') ||
        !take_number(self, 2, 0, 59, &minute))
        return false;
    out->hour = (int8_t)hour;
    out->minute = (int8_t)minute;
    return true;
}

static bool take_second(cursor_t *self, local_t *out)
{
    int second = 0;
    if (!take(self, ':') || !take_number(self, 2, 0, 59, &second))
        return false;
    out->second = (int8_t)second;
    return true;
}

/* One to six digits behind a point that was taken. */
static bool take_fraction(cursor_t *self, local_t *out)
{
    int us = 0;
    int n_digits = 0;
    for (int digit = 0; n_digits < FRACTION_DIGITS && take_digit(self, &digit); n_digits++)
        us = us * 10 + digit;
    if (n_digits == 0)
        return false;
    for (; n_digits < FRACTION_DIGITS; n_digits++)
        us *= 10;
    out->us = us;
    return true;
}

/* Z, or an offset as hours and minutes. */
static bool take_offset(cursor_t *self, int64_t *out_us)
{
    *out_us = 0;
    if (take(self, 'Z') || take(self, 'z'))
        return true;
    bool is_west = take(self, '-');
    local_t offset = {0};
    if ((!is_west && !take(self, '+')) || !take_hour_minute(self, &offset))
        return false;
    int64_t us = (offset.hour * INT64_C(60) + offset.minute) * 60 * US_PER_S;
    *out_us = is_west ? -us : us;
    return true;
}

bool instant_parse(slice_t text, int64_t *out_us)
{
    cursor_t cursor = cursor_over(text);
    local_t local = {0};
    int64_t offset_us = 0;
    if (!take_date(&cursor, &local) || (!take(&cursor, 'T') && !take(&cursor, 't')) ||
        !take_hour_minute(&cursor, &local) || !take_second(&cursor, &local))
        return false;
    if (take(&cursor, '.') && !take_fraction(&cursor, &local))
        return false;
    if (!take_offset(&cursor, &offset_us) || cursor.at != cursor.end)
        return false;
    int64_t at_us = local_as_utc_us(&local) - offset_us;
    if (at_us < INSTANT_MIN || at_us > INSTANT_MAX)
        return false;
    *out_us = at_us;
    return true;
}

static char *put_number(char *at, int n_digits, int32_t value)
{
    for (int i = n_digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + n_digits;
}

static char *put_date(char *at, const local_t *local)
{
    assert(local->year >= 1 && local->year <= 9999);
    at = put_number(at, 4, local->year);
    *at++ = '-';
    at = put_number(at, 2, local->month);
    *at++ = '-';
    return put_number(at, 2, local->day);
}

static char *put_hour_minute(char *at, const local_t *local)
{
    *at++ = 'T';
    at = put_number(at, 2, local->hour);
    *at++ = ':';
    return put_number(at, 2, local->minute);
}

static char *put_second(char *at, const local_t *local)
{
    *at++ = ':';
    return put_number(at, 2, local->second);
}

static char *put_fraction(char *at, int32_t us)
{
    *at++ = '.';
    at = put_number(at, FRACTION_DIGITS, us);
    while (at[-1] == '0')
        at--;
    return at;
}

static size_t finish(const char *start, char *at)
{
    *at = '\0';
    return (size_t)(at - start);
}

size_t instant_format(int64_t at_us, char out[INSTANT_TEXT_CHARS + 1])
{
    local_t local = {0};
    local_from_utc_us(instant_clamp(at_us), &local);
    char *at = put_second(put_hour_minute(put_date(out, &local), &local), &local);
    if (local.us != 0)
        at = put_fraction(at, local.us);
    *at++ = 'Z';
    return finish(out, at);
}

static due_kind_t parse_without_offset(slice_t text, local_t *out)
{
    cursor_t cursor = cursor_over(text);
    local_t local = {0};
    if (!take_date(&cursor, &local))
        return DUE_NONE;
    due_kind_t kind = DUE_DATE;
    if (take(&cursor, 'T')) {
        kind = DUE_LOCAL;
        if (!take_hour_minute(&cursor, &local))
            return DUE_NONE;
        if (cursor.at != cursor.end && !take_second(&cursor, &local))
            return DUE_NONE;
    }
    if (cursor.at != cursor.end)
        return DUE_NONE;
    *out = local;
    return kind;
}

due_kind_t due_parse(slice_t text, local_t *out)
{
    int64_t at_us = 0;
    if (!instant_parse(text, &at_us))
        return parse_without_offset(text, out);
    local_from_utc_us(at_us, out);
    return DUE_INSTANT;
}

size_t local_format_date(const local_t *local, char out[INSTANT_TEXT_CHARS + 1])
{
    return finish(out, put_date(out, local));
}

size_t local_format(const local_t *local, char out[INSTANT_TEXT_CHARS + 1])
{
    char *at = put_hour_minute(put_date(out, local), local);
    if (local->second != 0)
        at = put_second(at, local);
    return finish(out, at);
}

static int64_t div_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t days_from_date(int32_t year, int month, int day)
{
    int64_t y = year - (month <= 2 ? INT64_C(1) : 0);
    int64_t era = div_floor(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

void date_from_days(int64_t days, local_t *out)
{
    int64_t since = days + DAYS_TO_1970;
    int64_t era = div_floor(since, DAYS_PER_ERA);
    int64_t day_of_era = since - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    out->day = (int8_t)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    out->month = (int8_t)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    out->year = (int32_t)(year_of_era + era * 400 + (out->month <= 2));
}

int days_in_month(int32_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    assert(month >= 1 && month <= 12);
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

int64_t local_as_utc_us(const local_t *local)
{
    int64_t days = days_from_date(local->year, local->month, local->day);
    int64_t seconds = (local->hour * INT64_C(60) + local->minute) * 60 + local->second;
    return days * US_PER_DAY + seconds * US_PER_S + local->us;
}

void local_from_utc_us(int64_t at_us, local_t *out)
{
    int64_t days = div_floor(at_us, US_PER_DAY);
    int64_t rest_us = at_us - days * US_PER_DAY;
    date_from_days(days, out);
    out->us = (int32_t)(rest_us % US_PER_S);
    int64_t seconds = rest_us / US_PER_S;
    out->second = (int8_t)(seconds % 60);
    out->minute = (int8_t)(seconds / 60 % 60);
    out->hour = (int8_t)(seconds / 3600);
}

/* One number of a duration with its unit; units come in a falling order, each once. */
static bool take_part(cursor_t *self, const char *units, const int64_t *unit_s, size_t *unit_p,
                      int64_t *total_s)
{
    int64_t value = 0;
    int n_digits = 0;
    for (int digit = 0; take_digit(self, &digit); n_digits++) {
        if (n_digits == MAX_DURATION_DIGITS)
            return false;
        value = value * 10 + digit;
    }
    if (n_digits == 0)
        return false;
    while (units[*unit_p] != '\0' && !take(self, units[*unit_p]))
        (*unit_p)++;
    if (units[*unit_p] == '\0')
        return false;
    *total_s += value * unit_s[(*unit_p)++];
    return *total_s <= MAX_DURATION_S;
}

bool duration_parse(slice_t text, int64_t *out_us)
{
    static const int64_t date_s[] = {7 * 86400, 86400};
    static const int64_t time_s[] = {3600, 60, 1};
    cursor_t cursor = cursor_over(text);
    bool is_negative = take(&cursor, '-');
    if (!is_negative)
        take(&cursor, '+');
    if (!take(&cursor, 'P') || cursor.at == cursor.end)
        return false;
    int64_t total_s = 0;
    size_t unit = 0;
    while (cursor.at != cursor.end && *cursor.at != 'T') {
        if (!take_part(&cursor, "WD", date_s, &unit, &total_s))
            return false;
    }
    if (take(&cursor, 'T')) {
        unit = 0;
        do {
            if (!take_part(&cursor, "HMS", time_s, &unit, &total_s))
                return false;
        } while (cursor.at != cursor.end);
    }
    *out_us = (is_negative ? -total_s : total_s) * US_PER_S;
    return true;
}

bool time_of_day_parse(slice_t text, int *out_minutes)
{
    if (text.n_bytes != 5 || text.data[2] != ':')
        return false;
    for (size_t i = 0; i < 5; i++) {
        if (i != 2 && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    }
    int hour = (text.data[0] - '0') * 10 + text.data[1] - '0';
    int minute = (text.data[3] - '0') * 10 + text.data[4] - '0';
    *out_minutes = hour * 60 + minute;
    return hour < 24 && minute < 60;
}
