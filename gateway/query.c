/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values are decoded once, into the arena; what is refused is repeated to the client only
 * as far as it is printable. */
#include "gateway/query.h"

#include <stdarg.h>
#include <stdio.h>

#include "schema/json.h"

#define SHOWN_CHARS 40
#define MAX_DIGITS 18

static err_t refuse(problem_t *problem, err_t err, slice_t detail)
{
    problem->err = err;
    problem->detail = detail;
    return err;
}

/* A name as an error may show it. */
static const char *shown(slice_t name, char out[SHOWN_CHARS + 1])
{
    size_t n = name.n_bytes < SHOWN_CHARS ? name.n_bytes : SHOWN_CHARS;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = name.data[i];
        out[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    out[n] = '\0';
    return out;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* False for an escape that is none, and for what is no text. */
static bool decode(slice_t text, arena_t *arena, slice_t *out)
{
    uint8_t *bytes = arena_alloc(arena, text.n_bytes + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.n_bytes ? hex_value(text.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(text.data[i + 2]);
            if (low < 0)
                return false;
            bytes[n++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            bytes[n++] = c == '+' ? ' ' : c;
        }
    }
    *out = slice_of(bytes, n);
    return utf8_is_text(*out);
}

static const param_t *find(const param_t *known, slice_t name)
{
    for (; known != NULL && known->name != NULL; known++) {
        if (slice_is(name, known->name))
            return known;
    }
    return NULL;
}

static err_t check_name(const query_t *self, const param_t *param, slice_t name, arena_t *arena,
                        problem_t *problem)
{
    char text[SHOWN_CHARS + 1];
    if (param == NULL)
        return refuse(
            problem, ERR_MALFORMED,
            arena_format(arena, "This path knows no query parameter '%s'.", shown(name, text)));
    if (param->kind == PARAM_ONCE && query_count(self, param->name) > 0)
        return refuse(problem, ERR_MALFORMED,
                      arena_format(arena, "The query parameter '%s' is there twice.", param->name));
    if (self->n_items == QUERY_MAX_ITEMS)
        return refuse(problem, ERR_MALFORMED, slice_str("There are too many query parameters."));
    return ERR_OK;
}

static err_t parse_pair(slice_t pair, const param_t *known, arena_t *arena, query_t *out,
                        problem_t *problem)
{
    const uint8_t *equals = memchr(pair.data, '=', pair.n_bytes);
    size_t n_name = equals == NULL ? pair.n_bytes : (size_t)(equals - pair.data);
    slice_t value = equals == NULL ? slice_of(pair.data + n_name, 0)
                                   : slice_of(equals + 1, pair.n_bytes - n_name - 1);
    slice_t name = slice_of(pair.data, n_name);
    char text[SHOWN_CHARS + 1];
    slice_t decoded_name;
    if (!decode(name, arena, &decoded_name))
        return refuse(problem, ERR_MALFORMED,
                      slice_str("The name of a query parameter is not UTF-8 in percent-encoding."));
    const param_t *param = find(known, decoded_name);
    err_t err = check_name(out, param, decoded_name, arena, problem);
    if (err != ERR_OK)
        return err;
    query_item_t item = {.param = param};
    if (!decode(value, arena, &item.value))
        return refuse(problem, ERR_MALFORMED,
                      arena_format(arena,
                                   "The query parameter '%s' is not UTF-8 in percent-encoding.",
                                   shown(decoded_name, text)));
    out->items[out->n_items++] = item;
    return ERR_OK;
}

err_t query_parse(slice_t text, const param_t *known, arena_t *arena, query_t *out,
                  problem_t *problem)
{
    out->n_items = 0;
    *problem = (problem_t){0};
    const uint8_t *at = text.data;
    const uint8_t *end = text.n_bytes == 0 ? at : at + text.n_bytes;
    while (at < end) {
        const uint8_t *ampersand = memchr(at, '&', (size_t)(end - at));
        const uint8_t *stop = ampersand == NULL ? end : ampersand;
        err_t err = stop == at
                        ? ERR_OK
                        : parse_pair(slice_of(at, (size_t)(stop - at)), known, arena, out, problem);
        if (err != ERR_OK)
            return err;
        at = ampersand == NULL ? end : ampersand + 1;
    }
    return ERR_OK;
}

/* --- values --- */

slice_t query_get_at(const query_t *self, const char *name, size_t i)
{
    for (size_t k = 0; k < self->n_items; k++) {
        if (strcmp(self->items[k].param->name, name) == 0 && i-- == 0)
            return self->items[k].value;
    }
    return slice_none();
}

slice_t query_get(const query_t *self, const char *name)
{
    return query_get_at(self, name, 0);
}

size_t query_count(const query_t *self, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < self->n_items; i++)
        n += strcmp(self->items[i].param->name, name) == 0;
    return n;
}

bool query_refuse(const char *name, const char *why, arena_t *arena, problem_t *problem)
{
    refuse(problem, ERR_MALFORMED, arena_format(arena, "The query parameter '%s' %s.", name, why));
    return false;
}

static bool refuse_with(const char *name, arena_t *arena, problem_t *problem, const char *format,
                        ...) __attribute__((format(printf, 4, 5)));

static bool refuse_with(const char *name, arena_t *arena, problem_t *problem, const char *format,
                        ...)
{
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return query_refuse(name, why, arena, problem);
}

static bool parse_int(slice_t text, int64_t *out)
{
    if (text.n_bytes == 0 || text.n_bytes > MAX_DIGITS)
        return false;
    *out = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (text.data[i] - '0');
    }
    return true;
}

bool query_int(const query_t *self, const char *name, int64_t min, int64_t max, int64_t *out,
               arena_t *arena, problem_t *problem)
{
    slice_t text = query_get(self, name);
    int64_t value;
    if (text.data == NULL)
        return true;
    if (!parse_int(text, &value) || value < min || value > max)
        return refuse_with(name, arena, problem, "must be a number from %lld to %lld",
                           (long long)min, (long long)max);
    *out = value;
    return true;
}

bool query_uuids(const query_t *self, const char *name, size_t max, uuid_t *out, size_t *n_out,
                 arena_t *arena, problem_t *problem)
{
    *n_out = query_count(self, name);
    if (*n_out > max)
        return refuse_with(name, arena, problem, "is there more than %zu times", max);
    for (size_t i = 0; i < *n_out; i++) {
        if (!uuid_parse(query_get_at(self, name, i), &out[i]))
            return query_refuse(name, "must be a UUID", arena, problem);
    }
    return true;
}

static bool parse_word(slice_t text, const char *const *words, int *out)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (slice_is(text, words[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool refuse_word(const char *name, const char *const *words, arena_t *arena,
                        problem_t *problem)
{
    char list[160] = "";
    size_t n = 0;
    for (size_t i = 0; words[i] != NULL && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i == 0 ? "" : ", ", words[i]);
    return refuse_with(name, arena, problem, "must be one of: %s", list);
}

bool query_words(const query_t *self, const char *name, const char *const *words, size_t max,
                 int *out, size_t *n_out, arena_t *arena, problem_t *problem)
{
    *n_out = query_count(self, name);
    if (*n_out > max)
        return refuse_with(name, arena, problem, "is there more than %zu times", max);
    for (size_t i = 0; i < *n_out; i++) {
        if (!parse_word(query_get_at(self, name, i), words, &out[i]))
            return refuse_word(name, words, arena, problem);
    }
    return true;
}
