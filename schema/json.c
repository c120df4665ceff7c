/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack to JSON. Every answer and frame passes through here, so it goes over the bytes once,
 * allocates nothing of its own, and copies text in runs: eight bytes at a time are looked at for
 * one that needs care. */
#include "schema/json.h"

#include "schema/limits.h"
#include "schema/mp.h"

#define EACH_BYTE UINT64_C(0x0101010101010101)
#define HIGH_BITS (EACH_BYTE * 0x80)
#define INT_TEXT_CHARS 20
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* What a byte inside a string needs: 0 nothing, 'u' the form \u00XX, BEYOND a look at the UTF-8
 * character that it begins, any other the letter behind the backslash. */
#define BEYOND 1
#define ROW4(x) x, x, x, x
#define ROW16(x) ROW4(x), ROW4(x), ROW4(x), ROW4(x)
static const uint8_t escapes[256] = {
    [0x00] = 'u',  [0x01] = 'u',  [0x02] = 'u',  [0x03] = 'u',  [0x04] = 'u',
    [0x05] = 'u',  [0x06] = 'u',  [0x07] = 'u',  ['\b'] = 'b',  ['\t'] = 't',
    ['\n'] = 'n',  [0x0b] = 'u',  ['\f'] = 'f',  ['\r'] = 'r',  [0x0e] = 'u',
    [0x0f] = 'u',  [0x10] = 'u',  [0x11] = 'u',  [0x12] = 'u',  [0x13] = 'u',
    [0x14] = 'u',  [0x15] = 'u',  [0x16] = 'u',  [0x17] = 'u',  [0x18] = 'u',
    [0x19] = 'u',  [0x1a] = 'u',  [0x1b] = 'u',  [0x1c] = 'u',  [0x1d] = 'u',
    [0x1e] = 'u',  [0x1f] = 'u',  ['"'] = '"',   ['\\'] = '\\', [0x80] = ROW16(BEYOND),
    ROW16(BEYOND), ROW16(BEYOND), ROW16(BEYOND), ROW16(BEYOND), ROW16(BEYOND),
    ROW16(BEYOND), ROW16(BEYOND),
};

typedef struct {
    uint64_t n_left; /* values still to come; in a map every second one is a key */
    bool is_map;
    bool is_first;
} frame_t;

/* Whether any of the eight bytes is a control character, a quote, a backslash or beyond ASCII. A
 * borrow may make a byte look special that stands behind a special one, never hide one. */
static bool has_special(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    uint64_t quote = word ^ EACH_BYTE * '"';
    uint64_t backslash = word ^ EACH_BYTE * '\\';
    uint64_t found = word - EACH_BYTE * 0x20;
    found |= (quote - EACH_BYTE) | (backslash - EACH_BYTE) | word;
    return (found & HIGH_BITS) != 0;
}

/* The length of the run that can be copied as it is. Looks at bytes before `end` only. */
static size_t plain_bytes(const uint8_t *start, const uint8_t *end)
{
    const uint8_t *at = start;
    for (;;) {
        while (end - at >= 8 && !has_special(at))
            at += 8;
        while (at < end && escapes[*at] == 0)
            at++;
        if (at == end || escapes[*at] != BEYOND)
            break;
        size_t n_bytes = utf8_char_bytes(slice_of(at, (size_t)(end - at)));
        if (n_bytes == 0)
            break;
        at += n_bytes;
    }
    return (size_t)(at - start);
}

static void put_escape(buf_t *out, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *at = buf_reserve(out, 6);
    at[0] = '\\';
    at[1] = escapes[byte];
    if (at[1] != 'u') {
        out->n_bytes += 2;
        return;
    }
    at[2] = '0';
    at[3] = '0';
    at[4] = (uint8_t)digits[byte >> 4];
    at[5] = (uint8_t)digits[byte & 0x0f];
    out->n_bytes += 6;
}

/* False if a byte was no UTF-8 and had to be replaced. */
static bool put_str(buf_t *out, slice_t text)
{
    bool is_text = true;
    const uint8_t *at = text.data;
    const uint8_t *end = text.n_bytes == 0 ? at : at + text.n_bytes;
    buf_reserve(out, text.n_bytes + 2);
    out->data[out->n_bytes++] = '"';
    while (at < end) {
        size_t n_plain = plain_bytes(at, end);
        buf_append(out, at, n_plain);
        at += n_plain;
        if (at == end)
            break;
        if (escapes[*at] == BEYOND) {
            buf_append_str(out, REPLACEMENT);
            is_text = false;
        } else {
            put_escape(out, *at);
        }
        at++;
    }
    buf_append_byte(out, '"');
    return is_text;
}

static void put_int(buf_t *out, int64_t value)
{
    uint8_t digits[INT_TEXT_CHARS];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    buf_append(out, digits + at, sizeof digits - at);
}

/* Base64 with the URL alphabet and without padding. Source: RFC 4648, section 5. */
static void put_bin(buf_t *out, slice_t bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t *at = buf_reserve(out, bytes.n_bytes / 3 * 4 + 6);
    const uint8_t *start = at;
    *at++ = '"';
    for (size_t i = 0; i < bytes.n_bytes; i += 3) {
        size_t n = bytes.n_bytes - i < 3 ? bytes.n_bytes - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= n > 2 ? bytes.data[i + 2] : 0;
        for (size_t j = 0; j <= n; j++)
            *at++ = (uint8_t)alphabet[group >> (18 - 6 * j) & 0x3f];
    }
    *at++ = '"';
    out->n_bytes += (size_t)(at - start);
}

static bool put_scalar(buf_t *out, const mp_item_t *item)
{
    switch (item->type) {
    case MP_NIL:
        buf_append(out, "null", 4);
        return true;
    case MP_BOOL:
        buf_append_str(out, item->value != 0 ? "true" : "false");
        return true;
    case MP_INT:
        put_int(out, item->value);
        return true;
    case MP_STR:
        return put_str(out, item->bytes);
    case MP_BIN:
        put_bin(out, item->bytes);
        return true;
    case MP_ARRAY:
    case MP_MAP:
    case MP_END:
    case MP_WRONG:
        break;
    }
    return false;
}

/* The comma or colon in front of the next value of a container. Returns whether that value must be
 * a key. */
static bool put_separator(buf_t *out, frame_t *frame)
{
    bool is_key = frame->is_map && frame->n_left % 2 == 0;
    if (frame->is_map && !is_key)
        buf_append_byte(out, ':');
    else if (!frame->is_first)
        buf_append_byte(out, ',');
    frame->is_first = false;
    frame->n_left--;
    return is_key;
}

bool json_from_mp(slice_t value, buf_t *out)
{
    frame_t frames[LIMIT_DEPTH + 1];
    frames[0] = (frame_t){1, false, true};
    size_t depth = 0;
    mp_reader_t reader = mp_reader(value);
    for (;;) {
        frame_t *frame = &frames[depth];
        if (frame->n_left == 0) {
            if (depth == 0)
                return reader.at == reader.end;
            buf_append_byte(out, frame->is_map ? '}' : ']');
            depth--;
            continue;
        }
        bool is_key = put_separator(out, frame);
        mp_item_t item;
        if (!mp_next(&reader, &item) || (is_key && item.type != MP_STR))
            return false;
        if (item.type != MP_ARRAY && item.type != MP_MAP) {
            if (!put_scalar(out, &item))
                return false;
            continue;
        }
        if (depth == LIMIT_DEPTH)
            return false;
        bool is_map = item.type == MP_MAP;
        buf_append_byte(out, is_map ? '{' : '[');
        frames[++depth] = (frame_t){is_map ? (uint64_t)item.n * 2 : item.n, is_map, true};
    }
}

void json_put_str(buf_t *out, slice_t text)
{
    put_str(out, text);
}
