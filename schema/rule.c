/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrence rules on plain dates. A rule is a list of parts; one table says of each part of RFC
 * 5545 who reads it, or that it is not supported, so that every refusal names the part and says
 * what would be accepted. What names a part in a sentence has been checked to be ASCII letters: the
 * sentence goes to the client as it is. */
#include "schema/rule.h"

#include "schema/limits.h"

#define MAX_INTERVAL 999
#define MAX_COUNT 1000
#define MAX_YEAR 9999
#define NAME_CHARS 16
#define SUPPORTED "FREQ (DAILY, WEEKLY, MONTHLY or YEARLY), INTERVAL, COUNT and UNTIL are"

static const char *const freq_names[] = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"};

#define N_FREQS (sizeof freq_names / sizeof freq_names[0])

/* --- text --- */

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

/* Whether the text is this word, which is in upper case. */
static bool is_word(slice_t text, const char *word)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (upper(text.data[i]) != (uint8_t)word[i] || word[i] == '\0')
            return false;
    }
    return word[text.n_bytes] == '\0';
}

static bool is_name(slice_t text)
{
    if (text.n_bytes == 0 || text.n_bytes > NAME_CHARS)
        return false;
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = upper(text.data[i]);
        if ((c < 'A' || c > 'Z') && c != '-')
            return false;
    }
    return true;
}

/* A name in upper case and with a NUL, for a sentence. */
static const char *name_for_sentence(slice_t name, arena_t *arena)
{
    char *out = arena_alloc(arena, name.n_bytes + 1);
    for (size_t i = 0; i < name.n_bytes; i++)
        out[i] = (char)upper(name.data[i]);
    return out;
}

/* Takes what stands before the separator; the rest, without it, stays. False: there was no
 * separator. */
static bool take_until(slice_t *rest, uint8_t separator, slice_t *out)
{
    const uint8_t *found = rest->n_bytes == 0 ? NULL : memchr(rest->data, separator, rest->n_bytes);
    size_t n_bytes = found == NULL ? rest->n_bytes : (size_t)(found - rest->data);
    *out = slice_of(rest->data, n_bytes);
    size_t n_taken = n_bytes + (found == NULL ? 0 : 1);
    if (n_taken > 0)
        *rest = slice_of(rest->data + n_taken, rest->n_bytes - n_taken);
    return found != NULL;
}

static bool read_number(slice_t text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
        if (value > max)
            return false;
    }
    *out = value;
    return text.n_bytes > 0 && value >= min;
}

/* --- the parts --- */

typedef struct {
    rule_t *rule;
    arena_t *arena;
    slice_t why;
    uint32_t seen; /* bit I for row I of the table */
} parse_t;

static bool refuse(parse_t *self, const char *sentence)
{
    self->why = slice_str(sentence);
    return false;
}

static bool read_freq(parse_t *self, slice_t value)
{
    for (size_t i = 0; i < N_FREQS; i++) {
        if (is_word(value, freq_names[i])) {
            self->rule->freq = (rule_freq_t)i;
            return true;
        }
    }
    if (!is_name(value))
        return refuse(self, "FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY.");
    self->why = arena_format(self->arena,
                             "FREQ=%s is not supported; DAILY, WEEKLY, MONTHLY and YEARLY are.",
                             name_for_sentence(value, self->arena));
    return false;
}

static bool read_interval(parse_t *self, slice_t value)
{
    int64_t interval = 0;
    if (!read_number(value, 1, MAX_INTERVAL, &interval))
        return refuse(self, "INTERVAL must be a whole number from 1 to 999.");
    self->rule->interval = (int)interval;
    return true;
}

static bool read_count(parse_t *self, slice_t value)
{
    if (!read_number(value, 1, MAX_COUNT, &self->rule->count))
        return refuse(self, "COUNT must be a whole number from 1 to 1000.");
    return true;
}

/* Two or four digits at a place. */
static bool read_digits(slice_t text, size_t at, size_t n_digits, int64_t min, int64_t max,
                        int64_t *out)
{
    return text.n_bytes >= at + n_digits &&
           read_number(slice_of(text.data + at, n_digits), min, max, out);
}

static bool read_basic_date(slice_t text, local_t *out)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    if (!read_digits(text, 0, 4, 1, MAX_YEAR, &year) || !read_digits(text, 4, 2, 1, 12, &month) ||
        !read_digits(text, 6, 2, 1, days_in_month((int32_t)year, (int)month), &day))
        return false;
    out->year = (int32_t)year;
    out->month = (int8_t)month;
    out->day = (int8_t)day;
    return true;
}

static bool read_basic_time(slice_t text, local_t *out)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    if (text.n_bytes < 9 || upper(text.data[8]) != 'T' || !read_digits(text, 9, 2, 0, 23, &hour) ||
        !read_digits(text, 11, 2, 0, 59, &minute) || !read_digits(text, 13, 2, 0, 59, &second))
        return false;
    out->hour = (int8_t)hour;
    out->minute = (int8_t)minute;
    out->second = (int8_t)second;
    return true;
}

static due_kind_t read_basic(slice_t text, local_t *out)
{
    *out = (local_t){0};
    if (!read_basic_date(text, out))
        return DUE_NONE;
    if (text.n_bytes == 8)
        return DUE_DATE;
    if (!read_basic_time(text, out))
        return DUE_NONE;
    if (text.n_bytes == 15)
        return DUE_LOCAL;
    return text.n_bytes == 16 && upper(text.data[15]) == 'Z' ? DUE_INSTANT : DUE_NONE;
}

static bool read_until(parse_t *self, slice_t value)
{
    rule_t *rule = self->rule;
    rule->until_kind = read_basic(value, &rule->until);
    rule->has_until = rule->until_kind != DUE_NONE;
    if (!rule->has_until)
        return refuse(self, "UNTIL must be a date or time that exists, written as 20261231, "
                            "20261231T235959 or 20261231T235959Z.");
    return true;
}

typedef struct {
    const char *name;
    bool (*read)(parse_t *self, slice_t value); /* NULL: not supported */
} part_t;

static const part_t parts[] = {
    {"FREQ", read_freq},   {"INTERVAL", read_interval},
    {"COUNT", read_count}, {"UNTIL", read_until},
    {"BYSECOND", NULL},    {"BYMINUTE", NULL},
    {"BYHOUR", NULL},      {"BYDAY", NULL},
    {"BYMONTHDAY", NULL},  {"BYYEARDAY", NULL},
    {"BYWEEKNO", NULL},    {"BYMONTH", NULL},
    {"BYSETPOS", NULL},    {"WKST", NULL},
    {"RSCALE", NULL}, /* RFC 7529 */
    {"SKIP", NULL},
};

#define N_PARTS (sizeof parts / sizeof parts[0])

static bool read_known_part(parse_t *self, size_t i, slice_t value)
{
    const part_t *part = &parts[i];
    const char *problem = NULL;
    if (part->read == NULL)
        problem = "is not supported yet; " SUPPORTED ".";
    else if ((self->seen >> i & 1) != 0)
        problem = "is there more than once.";
    else if (value.n_bytes == 0)
        problem = "has no value.";
    self->seen |= UINT32_C(1) << i;
    if (problem == NULL)
        return part->read(self, value);
    self->why = arena_format(self->arena, "%s %s", part->name, problem);
    return false;
}

static bool read_part(parse_t *self, slice_t part)
{
    slice_t value = part;
    slice_t name;
    if (part.n_bytes == 0)
        return refuse(self, "The rule has an empty part; parts are separated by one semicolon.");
    if (!take_until(&value, '=', &name) || !is_name(name))
        return refuse(self, "A rule is made of parts such as FREQ=WEEKLY;INTERVAL=2, or is one of "
                            "the words daily, weekly, monthly and yearly.");
    for (size_t i = 0; i < N_PARTS; i++) {
        if (is_word(name, parts[i].name))
            return read_known_part(self, i, value);
    }
    self->why = arena_format(self->arena, "%s is no part of a recurrence rule; " SUPPORTED ".",
                             name_for_sentence(name, self->arena));
    return false;
}

static bool read_parts(parse_t *self, slice_t text)
{
    bool has_more = true;
    while (has_more) {
        slice_t part;
        has_more = take_until(&text, ';', &part);
        if (!read_part(self, part))
            return false;
    }
    if ((self->seen & 1) == 0)
        return refuse(self, "FREQ is missing: a rule needs one of FREQ=DAILY, WEEKLY, MONTHLY or "
                            "YEARLY.");
    if (self->rule->count > 0 && self->rule->has_until)
        return refuse(self, "COUNT and UNTIL exclude each other; leave one of them out.");
    return true;
}

static bool has_prefix(slice_t text)
{
    return text.n_bytes >= 6 && is_word(slice_of(text.data, 6), "RRULE:");
}

static bool read_text(parse_t *self, slice_t text)
{
    for (size_t i = 0; i < N_FREQS; i++) {
        if (is_word(text, freq_names[i])) {
            self->rule->freq = (rule_freq_t)i;
            return true;
        }
    }
    if (text.n_bytes == 0)
        return refuse(self, "The rule is empty.");
    if (text.n_bytes > LIMIT_RULE_BYTES)
        return refuse(self, "The rule is too long.");
    if (is_word(text, "WEEKDAYS"))
        return refuse(self, "The word weekdays is not supported yet, because it needs BYDAY; "
                            "daily, weekly, monthly and yearly are.");
    if (has_prefix(text))
        return refuse(self, "Leave out RRULE: and write the rule alone, such as "
                            "FREQ=WEEKLY;INTERVAL=2.");
    return read_parts(self, text);
}

bool rule_parse(slice_t text, rule_t *out, arena_t *arena, slice_t *why)
{
    rule_t rule = {.interval = 1};
    parse_t parse = {.rule = &rule, .arena = arena};
    if (!read_text(&parse, text)) {
        *why = parse.why;
        return false;
    }
    *out = rule;
    return true;
}

/* --- writing --- */

static slice_t format_until(const rule_t *rule, arena_t *arena)
{
    const local_t *at = &rule->until;
    slice_t date = arena_format(arena, "%04d%02d%02d", at->year, at->month, at->day);
    if (rule->until_kind == DUE_DATE)
        return date;
    return arena_format(arena, "%.*sT%02d%02d%02d%s", (int)date.n_bytes, (const char *)date.data,
                        at->hour, at->minute, at->second,
                        rule->until_kind == DUE_INSTANT ? "Z" : "");
}

slice_t rule_format(const rule_t *rule, arena_t *arena)
{
    slice_t text = arena_format(arena, "FREQ=%s", freq_names[rule->freq]);
    if (rule->interval != 1)
        text = arena_format(arena, "%.*s;INTERVAL=%d", (int)text.n_bytes, (const char *)text.data,
                            rule->interval);
    if (rule->count > 0)
        text = arena_format(arena, "%.*s;COUNT=%lld", (int)text.n_bytes, (const char *)text.data,
                            (long long)rule->count);
    if (!rule->has_until)
        return text;
    slice_t until = format_until(rule, arena);
    return arena_format(arena, "%.*s;UNTIL=%.*s", (int)text.n_bytes, (const char *)text.data,
                        (int)until.n_bytes, (const char *)until.data);
}

/* --- dates --- */

static bool next_by_days(int64_t n_days, const local_t *from, local_t *out)
{
    date_from_days(days_from_date(from->year, from->month, from->day) + n_days, out);
    return out->year <= MAX_YEAR;
}

static bool next_by_months(int n_months, const local_t *from, local_t *out)
{
    int month = from->month - 1;
    int32_t year = from->year;
    do {
        month += n_months;
        year += month / 12;
        month %= 12;
        if (year > MAX_YEAR)
            return false;
    } while (from->day > days_in_month(year, month + 1));
    out->year = year;
    out->month = (int8_t)(month + 1);
    return true;
}

bool rule_next(const rule_t *rule, const local_t *from, local_t *out)
{
    local_t next = *from;
    bool is_there = false;
    switch (rule->freq) {
    case RULE_DAILY:
        is_there = next_by_days(rule->interval, from, &next);
        break;
    case RULE_WEEKLY:
        is_there = next_by_days(rule->interval * INT64_C(7), from, &next);
        break;
    case RULE_MONTHLY:
        is_there = next_by_months(rule->interval, from, &next);
        break;
    case RULE_YEARLY:
        is_there = next_by_months(rule->interval * 12, from, &next);
        break;
    }
    if (is_there)
        *out = next;
    return is_there;
}

bool rule_allows(const rule_t *rule, int64_t occurrence, const local_t *at, int64_t at_us)
{
    if (rule->count > 0 && occurrence > rule->count)
        return false;
    if (!rule->has_until)
        return true;
    int64_t until_us = local_as_utc_us(&rule->until);
    if (rule->until_kind == DUE_DATE)
        return local_as_utc_us(at) < until_us + US_PER_DAY;
    return (rule->until_kind == DUE_INSTANT ? at_us : local_as_utc_us(at)) <= until_us;
}
