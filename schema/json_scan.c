/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over JSON text that knows only strings, brackets, commas and words: enough to count
 * values and depth before anything is built from the text, and to find the pointer of a number of
 * which the parser says only that there is one. It looks at each byte once and keeps no more than
 * the path. */
#include "schema/json_scan.h"

#include "schema/buf.h"
#include "schema/json.h"

#include <errno.h>
#include <stdlib.h>

/* A pointer is shown in the answer up to sixteen times. */
#define POINTER_MAX_BYTES 1024

/* The longest text of a 64-bit integer: more digits than that do not fit. */
#define INT_MAX_CHARS 20

#define EACH_BYTE UINT64_C(0x0101010101010101)

typedef struct {
    json_path_t *path;
    const uint8_t *at;
    const uint8_t *end;
    size_t n_values;
    bool numbers_too;
    json_scan_t result;
} scan_t;

/* --- pointers --- */

static void put_key(buf_t *out, slice_t key)
{
    buf_append_byte(out, '/');
    for (size_t i = 0; i < key.n_bytes; i++) {
        if (key.data[i] == '~')
            buf_append_str(out, "~0");
        else if (key.data[i] == '/')
            buf_append_str(out, "~1");
        else
            buf_append_byte(out, key.data[i]);
    }
}

/* A key of the text with an escape in it is not unescaped: the pointer then ends before it. */
static bool is_showable(const json_path_t *path, slice_t key)
{
    if (!utf8_is_text(key))
        return false;
    return !path->is_raw || key.n_bytes == 0 || memchr(key.data, '\\', key.n_bytes) == NULL;
}

static bool put_level(buf_t *out, const json_path_t *path, const json_level_t *level)
{
    if (!level->is_object) {
        buf_format(out, "/%zu", level->index);
        return true;
    }
    bool fits = out->n_bytes + level->key.n_bytes < POINTER_MAX_BYTES;
    if (!level->has_key || !fits || !is_showable(path, level->key))
        return false;
    put_key(out, level->key);
    return true;
}

slice_t json_path_pointer(const json_path_t *path, arena_t *arena)
{
    buf_t text = {0};
    size_t i = 0;
    while (i < path->depth && put_level(&text, path, &path->levels[i]))
        i++;
    slice_t pointer = text.n_bytes == 0 ? slice_str("") : arena_copy(arena, buf_slice(&text));
    buf_fini(&text);
    return pointer;
}

/* --- words --- */

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Whether the word is a number by the grammar of RFC 8259, section 6. */
static bool is_number(const uint8_t *at, const uint8_t *end)
{
    at += at < end && *at == '-';
    const uint8_t *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return false;
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return false;
    }
    return at == end;
}

/* Whether this number is an integer of 64 bits. */
static bool fits_int(const uint8_t *start, const uint8_t *end)
{
    char text[INT_MAX_CHARS + 1] = {0};
    size_t n_chars = (size_t)(end - start);
    const uint8_t *digits = start + (*start == '-');
    if (n_chars > INT_MAX_CHARS || skip_digits(digits, end) != end)
        return false;
    memcpy(text, start, n_chars);
    errno = 0;
    strtoll(text, NULL, 10);
    return errno == 0;
}

/* --- the pass --- */

/* Whether one of the eight bytes may be a quote or a backslash. */
static bool has_quote(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    uint64_t quote = word ^ EACH_BYTE * '"';
    uint64_t backslash = word ^ EACH_BYTE * '\\';
    uint64_t found = ((quote - EACH_BYTE) & ~quote) | ((backslash - EACH_BYTE) & ~backslash);
    return (found & EACH_BYTE * 0x80) != 0;
}

/* Behind the string that begins here, or the end of the text. */
static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
    at++;
    while (at < end) {
        while (end - at >= 8 && !has_quote(at))
            at += 8;
        while (at < end && *at != '"' && *at != '\\')
            at++;
        if (at < end && *at == '"')
            return at + 1;
        at += end - at > 1 ? 2 : end - at;
    }
    return end;
}

static bool is_delimiter(uint8_t byte)
{
    switch (byte) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
    case ',':
    case ':':
    case '[':
    case ']':
    case '{':
    case '}':
    case '"':
        return true;
    default:
        return false;
    }
}

static const uint8_t *skip_word(const uint8_t *at, const uint8_t *end)
{
    while (at < end && !is_delimiter(*at))
        at++;
    return at;
}

static void count(scan_t *self)
{
    if (++self->n_values > LIMIT_ELEMENTS)
        self->result = JSON_SCAN_MANY;
}

static void scan_word(scan_t *self)
{
    const uint8_t *start = self->at;
    self->at = skip_word(start, self->end);
    if (self->numbers_too && is_number(start, self->at) && !fits_int(start, self->at))
        self->result = JSON_SCAN_NUMBER;
    count(self);
}

static void scan_open(scan_t *self)
{
    json_path_t *path = self->path;
    count(self);
    if (path->depth == LIMIT_DEPTH)
        self->result = JSON_SCAN_DEEP;
    else if (self->result == JSON_SCAN_FINE)
        path->levels[path->depth++] = (json_level_t){.is_object = *self->at == '{'};
    self->at++;
}

static void scan_string(scan_t *self, json_level_t *top)
{
    const uint8_t *start = self->at;
    self->at = skip_string(start, self->end);
    if (top == NULL || !top->is_object || top->has_key) {
        count(self);
        return;
    }
    size_t n_chars = (size_t)(self->at - start) - 1;
    if (n_chars > 0 && self->at[-1] == '"')
        n_chars--;
    top->key = slice_of(start + 1, n_chars);
    top->has_key = true;
}

static void scan_comma(scan_t *self, json_level_t *top)
{
    self->at++;
    if (top == NULL)
        return;
    top->index++;
    top->has_key = false;
}

static void scan_next(scan_t *self)
{
    json_path_t *path = self->path;
    json_level_t *top = path->depth > 0 ? &path->levels[path->depth - 1] : NULL;
    switch (*self->at) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
    case ':':
        self->at++;
        break;
    case ',':
        scan_comma(self, top);
        break;
    case '"':
        scan_string(self, top);
        break;
    case '[':
    case '{':
        scan_open(self);
        break;
    case ']':
    case '}':
        path->depth -= path->depth > 0;
        self->at++;
        break;
    default:
        scan_word(self);
        break;
    }
}

json_scan_t json_scan(slice_t text, bool numbers_too, json_path_t *path)
{
    path->depth = 0;
    path->is_raw = true;
    scan_t scan = {
        .path = path,
        .at = text.data,
        .end = text.n_bytes == 0 ? text.data : text.data + text.n_bytes,
        .numbers_too = numbers_too,
        .result = JSON_SCAN_FINE,
    };
    while (scan.at < scan.end && scan.result == JSON_SCAN_FINE)
        scan_next(&scan);
    return scan.result;
}
