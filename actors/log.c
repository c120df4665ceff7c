/* SPDX-License-Identifier: Apache-2.0 */
/* A line is put together in memory and leaves by a single write(2), so that lines of several
 * threads never mix. What comes from outside (an error text of the database, say) must not be able
 * to forge a second line or to break the JSON: control characters become spaces, bytes that are no
 * UTF-8 become question marks. */
#include "actors/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/clock.h"
#include "schema/buf.h"
#include "schema/instant.h"
#include "schema/json.h"

#ifdef __SANITIZE_THREAD__
/* What libzmq's own threads do with its own file descriptors and memory is not looked at; nor what
 * librdkafka's do, whose atomic operations the sanitizer does not see, and what they have lz4 and
 * zstd do; nor how libcctz makes its lock at its first use, behind a check that it does not see
 * either. Here because every program has this file. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\nrace:librdkafka.so\n"
           "race:liblz4.so\nrace:libzstd.so\n"
           "race:cctz::time_zone::Impl::LoadTimeZone\n";
}
#endif

#define FIELDS_MAX_BYTES 2048
#define TIME_CHARS 64

static log_level_t min_level = LOG_INFO;
static bool is_json;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

void log_configure(log_level_t level, bool as_json)
{
    min_level = level;
    is_json = as_json;
}

/* Formats the fields and makes them one line of text. Returns what stands in `out`. */
static __attribute__((format(printf, 3, 0))) slice_t format_fields(char *out, size_t size,
                                                                   const char *fields, va_list args)
{
    if (fields == NULL)
        return slice_none();
    int n_chars = vsnprintf(out, size, fields, args);
    if (n_chars < 0)
        return slice_none();
    size_t n_bytes = (size_t)n_chars < size ? (size_t)n_chars : size - 1;
    for (size_t i = 0; i < n_bytes; i++) {
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
            out[i] = ' ';
    }
    if (!utf8_is_valid(slice_of(out, n_bytes))) {
        for (size_t i = 0; i < n_bytes; i++)
            out[i] = (out[i] & 0x80) != 0 ? '?' : out[i];
    }
    return slice_of(out, n_bytes);
}

static size_t key_chars(slice_t text)
{
    size_t n = 0;
    while (n < text.n_bytes && text.data[n] != '=' && text.data[n] != ' ')
        n++;
    return n;
}

/* Whether a field, or nothing, begins here: what a closing quote is followed by. */
static bool is_field_end(slice_t rest)
{
    if (rest.n_bytes == 0)
        return true;
    if (rest.data[0] != ' ')
        return false;
    slice_t next = slice_of(rest.data + 1, rest.n_bytes - 1);
    size_t n = key_chars(next);
    return n > 0 && n < next.n_bytes && next.data[n] == '=';
}

/* The length of the value at the start of the text, its quotes included. Quotes inside are not
 * escaped by those who log, so the closing one is known by what follows it. */
static size_t value_bytes(slice_t text)
{
    size_t n = 0;
    if (text.n_bytes == 0 || text.data[0] != '"') {
        while (n < text.n_bytes && text.data[n] != ' ')
            n++;
        return n;
    }
    for (n = 1; n < text.n_bytes; n++) {
        if (text.data[n] == '"' && is_field_end(slice_of(text.data + n + 1, text.n_bytes - n - 1)))
            return n + 1;
    }
    return n;
}

static bool is_number(slice_t value)
{
    size_t start = value.n_bytes > 0 && value.data[0] == '-';
    size_t n_digits = value.n_bytes - start;
    if (n_digits == 0 || n_digits > 15 || (n_digits > 1 && value.data[start] == '0'))
        return false;
    for (size_t i = start; i < value.n_bytes; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
    }
    return true;
}

static slice_t unquoted(slice_t value)
{
    if (value.n_bytes == 0 || value.data[0] != '"')
        return value;
    bool is_closed = value.n_bytes > 1 && value.data[value.n_bytes - 1] == '"';
    return slice_of(value.data + 1, value.n_bytes - (is_closed ? 2 : 1));
}

static void put_json_fields(buf_t *line, slice_t text)
{
    while (text.n_bytes > 0) {
        if (text.data[0] == ' ') {
            text = slice_of(text.data + 1, text.n_bytes - 1);
            continue;
        }
        slice_t key = slice_of(text.data, key_chars(text));
        size_t skip = key.n_bytes + (key.n_bytes < text.n_bytes && text.data[key.n_bytes] == '=');
        text = slice_of(text.data + skip, text.n_bytes - skip);
        slice_t value = slice_of(text.data, value_bytes(text));
        text = slice_of(text.data + value.n_bytes, text.n_bytes - value.n_bytes);
        buf_append_byte(line, ',');
        json_put_str(line, key);
        buf_append_byte(line, ':');
        if (is_number(value))
            buf_append_slice(line, value);
        else
            json_put_str(line, unquoted(value));
    }
}

static void put_json(buf_t *line, log_level_t level, const char *at, const char *who,
                     const char *words, slice_t fields)
{
    buf_format(line, "{\"time\":\"%s\",\"level\":\"%s\",\"actor\":", at, level_names[level]);
    json_put_str(line, slice_str(who));
    buf_append_str(line, ",\"message\":");
    json_put_str(line, slice_str(words));
    put_json_fields(line, fields);
    buf_append_byte(line, '}');
}

static void put_text(buf_t *line, log_level_t level, const char *at, const char *who,
                     const char *words, slice_t fields)
{
    buf_format(line, "%s %-5s %s: %s", at, level_names[level], who, words);
    if (fields.n_bytes > 0) {
        buf_append_byte(line, ' ');
        buf_append_slice(line, fields);
    }
}

/* RFC 3339 in UTC, always with microseconds, so that lines stand below each other. */
static void format_time(int64_t at_us, char out[TIME_CHARS])
{
    local_t at;
    local_from_utc_us(at_us, &at);
    snprintf(out, TIME_CHARS, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", at.year, at.month, at.day,
             at.hour, at.minute, at.second, at.us);
}

static void write_line(slice_t line)
{
    size_t n_done = 0;
    while (n_done < line.n_bytes) {
        ssize_t n = write(STDERR_FILENO, line.data + n_done, line.n_bytes - n_done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* there is nowhere left to complain */
        n_done += (size_t)n;
    }
}

void log_line(log_level_t level, const char *who, const char *words, const char *fields, ...)
{
    if (level < min_level)
        return;
    char text[FIELDS_MAX_BYTES];
    va_list args;
    va_start(args, fields);
    slice_t formatted = format_fields(text, sizeof text, fields, args);
    va_end(args);
    char at[TIME_CHARS];
    format_time(clock_now().wall_us, at);
    buf_t line = {0};
    if (is_json)
        put_json(&line, level, at, who, words, formatted);
    else
        put_text(&line, level, at, who, words, formatted);
    buf_append_byte(&line, '\n');
    write_line(buf_slice(&line));
    buf_fini(&line);
}

bool log_once(log_once_t *self)
{
    self->n_times++;
    if (self->is_on)
        return false;
    self->is_on = true;
    return true;
}

bool log_clear(log_once_t *self)
{
    bool was_on = self->is_on;
    *self = (log_once_t){0};
    return was_on;
}
