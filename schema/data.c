/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers are only put together when something is refused: a value carries the pointer of its
 * container and its own name or place there. The bytes come from outside; that they are well-formed
 * msgpack has been checked by the gateway, and is checked here again by the reader. */
#include "schema/data.h"

#include <stdarg.h>
#include <stdio.h>

#include "schema/instant.h"
#include "schema/json.h"

#define MAX_DETAIL_BYTES 256

static data_value_t value_at(const data_map_t *map, slice_t key, slice_t raw)
{
    return (data_value_t){map->arena, map->problem, map->path, key, 0, raw};
}

/* "/" and the name with ~ and / escaped, behind the path. */
static slice_t pointer_of_key(const data_value_t *self)
{
    size_t n_most = self->path.n_bytes + 1 + 2 * self->key.n_bytes;
    uint8_t *text = arena_alloc(self->arena, n_most);
    uint8_t *at = text;
    if (self->path.n_bytes > 0)
        memcpy(at, self->path.data, self->path.n_bytes);
    at += self->path.n_bytes;
    *at++ = '/';
    for (size_t i = 0; i < self->key.n_bytes; i++) {
        uint8_t c = self->key.data[i];
        if (c == '~' || c == '/') {
            *at++ = '~';
            *at++ = c == '~' ? '0' : '1';
        } else {
            *at++ = c;
        }
    }
    return slice_of(text, (size_t)(at - text));
}

slice_t data_pointer(const data_value_t *self)
{
    if (self->key.data != NULL)
        return pointer_of_key(self);
    return arena_format(self->arena, "%.*s/%u", (int)self->path.n_bytes,
                        self->path.n_bytes == 0 ? "" : (const char *)self->path.data, self->index);
}

void data_refuse(const data_value_t *self, const char *detail)
{
    if (self->problem->n_fields == LIMIT_PROBLEM_FIELDS)
        return;
    problem_add_field(self->problem, data_pointer(self), slice_str(detail));
}

void data_refuse_format(const data_value_t *self, const char *format, ...)
{
    char text[MAX_DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n_bytes = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    slice_t detail = arena_copy(self->arena, slice_of(text, n_bytes));
    if (self->problem->n_fields < LIMIT_PROBLEM_FIELDS)
        problem_add_field(self->problem, data_pointer(self), detail);
}

/* --- maps --- */

static bool refuse_map(data_map_t *self, const char *detail)
{
    self->n_fields = 0;
    problem_add_field(self->problem, self->path, slice_str(detail));
    return false;
}

static bool has_key(const data_map_t *self, slice_t key)
{
    for (uint32_t i = 0; i < self->n_fields; i++) {
        if (slice_eq(self->fields[i].key, key))
            return true;
    }
    return false;
}

static bool read_fields(data_map_t *self, mp_reader_t *reader, uint32_t n_pairs)
{
    self->fields = arena_alloc(self->arena, n_pairs * sizeof *self->fields);
    for (uint32_t i = 0; i < n_pairs; i++) {
        data_field_t field = {0};
        if (!mp_get_str(reader, &field.key) || !utf8_is_text(field.key) ||
            !mp_get_raw(reader, &field.raw))
            return refuse_map(self, "this cannot be read");
        if (has_key(self, field.key))
            return refuse_map(self, "there is a field twice");
        self->fields[self->n_fields++] = field;
    }
    return true;
}

static bool open_map(data_map_t *self, slice_t bytes)
{
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_pairs = 0;
    if (!mp_get_map(&reader, &n_pairs))
        return refuse_map(self, "this must be an object");
    if (n_pairs > DATA_MAX_FIELDS)
        return refuse_map(self, "there are too many fields");
    return read_fields(self, &reader, n_pairs);
}

bool data_open(data_map_t *self, slice_t bytes, arena_t *arena, problem_t *problem)
{
    *self = (data_map_t){.arena = arena, .problem = problem};
    self->path = slice_of("", 0);
    return bytes.data == NULL || open_map(self, bytes);
}

void data_close(const data_map_t *self)
{
    for (uint32_t i = 0; i < self->n_fields; i++) {
        if (self->fields[i].is_read)
            continue;
        data_value_t value = value_at(self, self->fields[i].key, self->fields[i].raw);
        data_refuse(&value, "there is no such field");
    }
}

static bool is_nil(slice_t raw)
{
    mp_reader_t reader = mp_reader(raw);
    return mp_peek(&reader) == MP_NIL;
}

data_is_t data_get(data_map_t *self, const char *key, data_value_t *out)
{
    slice_t name = slice_str(key);
    *out = value_at(self, name, slice_none());
    for (uint32_t i = 0; i < self->n_fields; i++) {
        data_field_t *field = &self->fields[i];
        if (!slice_eq(field->key, name))
            continue;
        field->is_read = true;
        out->raw = field->raw;
        return is_nil(field->raw) ? DATA_NULL : DATA_GIVEN;
    }
    return DATA_ABSENT;
}

bool data_need(data_map_t *self, const char *key, data_value_t *out)
{
    if (data_get(self, key, out) == DATA_GIVEN)
        return true;
    data_refuse(out, "this is needed");
    return false;
}

/* --- values --- */

/* Notes what was expected; the getters end with it. */
static bool wanted(const data_value_t *self, const char *detail)
{
    data_refuse(self, detail);
    return false;
}

static bool get_text(const data_value_t *self, slice_t *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    if (!mp_get_str(&reader, out))
        return wanted(self, "this must be text");
    if (!utf8_is_text(*out))
        return wanted(self, "this must be text in UTF-8 without NUL");
    return true;
}

bool data_str(const data_value_t *self, size_t max_bytes, slice_t *out)
{
    slice_t text = slice_none();
    if (!get_text(self, &text))
        return false;
    if (text.n_bytes > max_bytes) {
        data_refuse_format(self, "this must have at most %zu bytes", max_bytes);
        return false;
    }
    *out = text;
    return true;
}

/* U+0000 to U+001F, U+007F, U+0080 to U+009F, in valid UTF-8. */
static bool has_control_character(slice_t text)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = text.data[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && text.data[i + 1] < 0xa0))
            return true;
    }
    return false;
}

bool data_line(const data_value_t *self, size_t min_chars, size_t max_chars, slice_t *out)
{
    slice_t text = slice_none();
    if (!get_text(self, &text))
        return false;
    size_t n_chars = utf8_count(text);
    if (n_chars < min_chars || n_chars > max_chars) {
        data_refuse_format(self, "this must have %zu to %zu characters", min_chars, max_chars);
        return false;
    }
    if (has_control_character(text))
        return wanted(self, "this must be one line without control characters");
    *out = text;
    return true;
}

static bool refuse_word(const data_value_t *self, const char *const *words)
{
    char list[MAX_DETAIL_BYTES] = "";
    size_t n = 0;
    for (size_t i = 0; words[i] != NULL && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i == 0 ? "" : ", ", words[i]);
    data_refuse_format(self, "this must be one of: %s", list);
    return false;
}

bool data_word(const data_value_t *self, const char *const *words, int *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    slice_t text = slice_none();
    if (!mp_get_str(&reader, &text))
        return refuse_word(self, words);
    for (int i = 0; words[i] != NULL; i++) {
        if (slice_is(text, words[i])) {
            *out = i;
            return true;
        }
    }
    return refuse_word(self, words);
}

bool data_bool(const data_value_t *self, bool *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    return mp_get_bool(&reader, out) || wanted(self, "this must be true or false");
}

bool data_int(const data_value_t *self, int64_t *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    return mp_get_int(&reader, out) || wanted(self, "this must be a whole number");
}

bool data_uuid(const data_value_t *self, uuid_t *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    slice_t text = slice_none();
    if (!mp_get_str(&reader, &text))
        return wanted(self, "this must be a UUID");
    uuid_t id = UUID_NIL;
    if (!uuid_parse(text, &id))
        return wanted(self, "this must be a UUID");
    *out = id;
    return true;
}

bool data_instant(const data_value_t *self, int64_t *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    slice_t text = slice_none();
    int64_t at_us = 0;
    if (!mp_get_str(&reader, &text) || !instant_parse(text, &at_us))
        return wanted(self, "this must be an instant like 2026-11-23T08:00:00Z");
    *out = at_us;
    return true;
}

bool data_bin(const data_value_t *self, size_t n_bytes, slice_t *out)
{
    mp_reader_t reader = mp_reader(self->raw);
    slice_t bytes = slice_none();
    if (!mp_get_bin(&reader, &bytes) || bytes.n_bytes != n_bytes) {
        data_refuse_format(self, "this must be %zu bytes", n_bytes);
        return false;
    }
    *out = bytes;
    return true;
}

bool data_map(const data_value_t *self, data_map_t *out)
{
    *out = (data_map_t){.arena = self->arena, .problem = self->problem};
    out->path = data_pointer(self);
    return open_map(out, self->raw);
}

bool data_array(const data_value_t *self, uint32_t max_items, data_array_t *out)
{
    *out = (data_array_t){.reader = mp_reader(self->raw)};
    if (!mp_get_array(&out->reader, &out->n_items))
        return wanted(self, "this must be an array");
    if (out->n_items > max_items) {
        data_refuse_format(self, "there must be at most %u", max_items);
        return false;
    }
    out->item = (data_value_t){.arena = self->arena, .problem = self->problem};
    out->item.path = data_pointer(self);
    return true;
}

bool data_next(data_array_t *self, data_value_t *out)
{
    if (self->item.index == self->n_items)
        return false;
    *out = self->item;
    self->item.index++;
    if (mp_get_raw(&self->reader, &out->raw))
        return true;
    self->item.index = self->n_items;
    data_refuse(out, "this cannot be read");
    return false;
}
