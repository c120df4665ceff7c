/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a recurrence rule. A rule is a list of parts; one table says of each part of RFC 5545 who
 * reads it, or what to use in its place, so that every refusal names the part and says what would
 * be accepted. What they are together is looked at when all are read (rule_check.c). What names a
 * part in a sentence has been checked to be ASCII letters: the sentence goes to the client as it
 * is. */
#include "schema/rule.h"

#include "schema/limits.h"

#define MAX_INTERVAL 999
#define MAX_COUNT 1000
#define MAX_YEAR 9999
#define NAME_CHARS 16
#define WORKDAYS 0x1fu /* Monday to Friday */
#define SUPPORTED                                                                                  \
    "FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYYEARDAY, BYDAY, BYSETPOS, WKST and "     \
    "SKIP are"

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
    bool has_rscale;
    bool has_skip;
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

/* --- parts that are lists --- */

static bool read_months(parse_t *self, slice_t value)
{
    bool has_more = true;
    while (has_more) {
        slice_t item;
        int64_t month = 0;
        has_more = take_until(&value, ',', &item);
        if (!read_number(item, 1, 12, &month))
            return refuse(self, "BYMONTH must be numbers from 1 to 12, separated by commas.");
        self->rule->months |= UINT32_C(1) << month;
    }
    return true;
}

/* A number other than 0, perhaps with a sign. */
static bool read_signed(slice_t text, int64_t max, int64_t *out)
{
    bool has_sign = text.n_bytes > 0 && (text.data[0] == '-' || text.data[0] == '+');
    bool is_negative = has_sign && text.data[0] == '-';
    if (has_sign)
        text = slice_of(text.data + 1, text.n_bytes - 1);
    if (!read_number(text, 1, max, out))
        return false;
    if (is_negative)
        *out = -*out;
    return true;
}

static bool read_month_days(parse_t *self, slice_t value)
{
    bool has_more = true;
    while (has_more) {
        slice_t item;
        int64_t day = 0;
        has_more = take_until(&value, ',', &item);
        if (!read_signed(item, 31, &day))
            return refuse(self,
                          "BYMONTHDAY must be numbers from 1 to 31, or from -1 (the last day) "
                          "to -31, separated by commas.");
        if (day > 0)
            self->rule->month_days |= UINT32_C(1) << day;
        else
            self->rule->last_days |= UINT32_C(1) << -day;
    }
    return true;
}

/* Keeps the list ascending. False: it is full. */
static bool add_item(rule_list_t *list, int item)
{
    uint32_t i = 0;
    while (i < list->n_items && list->items[i] < item)
        i++;
    if (i < list->n_items && list->items[i] == item)
        return true;
    if (list->n_items == RULE_LIST_MAX)
        return false;
    for (uint32_t k = list->n_items++; k > i; k--)
        list->items[k] = list->items[k - 1];
    list->items[i] = (int16_t)item;
    return true;
}

static bool read_list(parse_t *self, slice_t value, rule_list_t *list, const char *name)
{
    bool has_more = true;
    while (has_more) {
        slice_t item;
        int64_t number = 0;
        has_more = take_until(&value, ',', &item);
        if (read_signed(item, 366, &number) && add_item(list, (int)number))
            continue;
        self->why = arena_format(self->arena,
                                 "%s must be at most %d numbers from 1 to 366, or from -1 (the "
                                 "last) to -366, separated by commas.",
                                 name, RULE_LIST_MAX);
        return false;
    }
    return true;
}

static bool read_year_days(parse_t *self, slice_t value)
{
    return read_list(self, value, &self->rule->year_days, "BYYEARDAY");
}

static bool read_positions(parse_t *self, slice_t value)
{
    return read_list(self, value, &self->rule->positions, "BYSETPOS");
}

/* Two letters; -1: they name no day. */
static int read_weekday(slice_t text)
{
    static const char *const names[] = {"MO", "TU", "WE", "TH", "FR", "SA", "SU"};
    for (int i = 0; i < RULE_WEEKDAYS; i++) {
        if (is_word(text, names[i]))
            return i;
    }
    return -1;
}

/* MO, 2MO, -1MO. */
static bool read_day(rule_t *rule, slice_t item)
{
    int64_t nth = 0;
    if (item.n_bytes < 2)
        return false;
    slice_t number = slice_of(item.data, item.n_bytes - 2);
    int weekday = read_weekday(slice_of(item.data + number.n_bytes, 2));
    if (weekday < 0 || (number.n_bytes > 0 && !read_signed(number, 53, &nth)))
        return false;
    if (nth == 0)
        rule->weekdays |= UINT32_C(1) << weekday;
    else if (nth > 0)
        rule->nths[weekday] |= UINT64_C(1) << nth;
    else
        rule->last_nths[weekday] |= UINT64_C(1) << -nth;
    rule->has_nths = rule->has_nths || nth != 0;
    return true;
}

static bool read_days(parse_t *self, slice_t value)
{
    bool has_more = true;
    while (has_more) {
        slice_t item;
        has_more = take_until(&value, ',', &item);
        if (!read_day(self->rule, item))
            return refuse(self, "BYDAY must be days (MO, TU, WE, TH, FR, SA, SU), perhaps with a "
                                "number before them (2MO, -1FR), separated by commas.");
    }
    return true;
}

static bool read_week_start(parse_t *self, slice_t value)
{
    int weekday = read_weekday(value);
    if (weekday < 0)
        return refuse(self, "WKST must be one of MO, TU, WE, TH, FR, SA and SU.");
    self->rule->week_start = weekday;
    return true;
}

static bool read_rscale(parse_t *self, slice_t value)
{
    self->has_rscale = is_word(value, "GREGORIAN");
    return self->has_rscale ||
           refuse(self, "Another RSCALE than GREGORIAN is not supported; write the rule by the "
                        "Gregorian calendar.");
}

static bool read_skip(parse_t *self, slice_t value)
{
    self->has_skip = true;
    self->rule->is_clamped = is_word(value, "BACKWARD");
    if (self->rule->is_clamped || is_word(value, "OMIT"))
        return true;
    if (is_word(value, "FORWARD"))
        return refuse(self,
                      "SKIP=FORWARD is not supported; use SKIP=BACKWARD, which takes the last "
                      "day of a month that is too short.");
    return refuse(self, "SKIP must be BACKWARD or OMIT.");
}

/* --- all parts --- */

typedef struct {
    const char *name;
    bool (*read)(parse_t *self, slice_t value); /* NULL: not supported, */
    const char *instead; /* and why */
} part_t;

#define TIME_OF_DUE "is not supported; the time of day is that of the due date."

static const part_t parts[] = {
    {"FREQ", read_freq, NULL},
    {"INTERVAL", read_interval, NULL},
    {"COUNT", read_count, NULL},
    {"UNTIL", read_until, NULL},
    {"BYMONTH", read_months, NULL},
    {"BYMONTHDAY", read_month_days, NULL},
    {"BYYEARDAY", read_year_days, NULL},
    {"BYDAY", read_days, NULL},
    {"BYSETPOS", read_positions, NULL},
    {"WKST", read_week_start, NULL},
    {"RSCALE", read_rscale, NULL}, /* RFC 7529 */
    {"SKIP", read_skip, NULL},
    {"BYHOUR", NULL, TIME_OF_DUE},
    {"BYMINUTE", NULL, TIME_OF_DUE},
    {"BYSECOND", NULL, TIME_OF_DUE},
    {"BYWEEKNO", NULL,
     "is not supported; use BYMONTH, BYYEARDAY, or BYDAY with a number such as 20MO."},
    {"DTSTART", NULL, "is no part of a recurrence rule; a rule starts at the due date."},
    {"EXDATE", NULL, "is no part of a recurrence rule; name those dates in `skip` beside it."},
    {"RDATE", NULL, "is no part of a recurrence rule; make a task of its own for such a date."},
};

#define N_PARTS (sizeof parts / sizeof parts[0])
_Static_assert(N_PARTS <= 32, "parse_t keeps a bit per part");

static bool read_known_part(parse_t *self, size_t i, slice_t value)
{
    const part_t *part = &parts[i];
    const char *problem = NULL;
    if (part->read == NULL)
        problem = part->instead;
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
                            "the words daily, weekdays, weekly, monthly and yearly.");
    for (size_t i = 0; i < N_PARTS; i++) {
        if (is_word(name, parts[i].name))
            return read_known_part(self, i, value);
    }
    self->why = arena_format(self->arena, "%s is no part of a recurrence rule; " SUPPORTED ".",
                             name_for_sentence(name, self->arena));
    return false;
}

static bool check_together(parse_t *self)
{
    if ((self->seen & 1) == 0)
        return refuse(self, "FREQ is missing: a rule needs one of FREQ=DAILY, WEEKLY, MONTHLY or "
                            "YEARLY.");
    if (self->has_skip && !self->has_rscale)
        return refuse(self, "SKIP needs RSCALE=GREGORIAN beside it (RFC 7529).");
    const char *why = rule_check(self->rule);
    return why == NULL || refuse(self, why);
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
    return check_together(self);
}

/* --- the whole --- */

static bool has_prefix(slice_t text)
{
    return text.n_bytes >= 6 && is_word(slice_of(text.data, 6), "RRULE:");
}

/* People who say "monthly" on the 31st mean the end of the month. */
static bool read_rule_word(rule_t *rule, slice_t text)
{
    for (size_t i = 0; i < N_FREQS; i++) {
        if (is_word(text, freq_names[i])) {
            rule->freq = (rule_freq_t)i;
            rule->is_clamped = rule->freq == RULE_MONTHLY || rule->freq == RULE_YEARLY;
            return true;
        }
    }
    if (!is_word(text, "WEEKDAYS"))
        return false;
    rule->freq = RULE_WEEKLY;
    rule->weekdays = WORKDAYS;
    return true;
}

static bool read_text(parse_t *self, slice_t text)
{
    if (text.n_bytes == 0)
        return refuse(self, "The rule is empty.");
    if (text.n_bytes > LIMIT_RULE_BYTES)
        return refuse(self, "The rule is too long.");
    if (has_prefix(text))
        return refuse(self, "Leave out RRULE: and write the rule alone, such as "
                            "FREQ=WEEKLY;INTERVAL=2.");
    return read_rule_word(self->rule, text) || read_parts(self, text);
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
