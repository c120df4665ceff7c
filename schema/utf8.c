/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Most text is
 * ASCII, and goes by eight bytes at a time. */
#include "schema/json.h"

#define EACH_BYTE UINT64_C(0x0101010101010101)

static uint64_t load8(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The bytes of the character that begins here, 0 if it is none. RFC 3629, section 4: only the
 * second byte has other bounds than a plain tail, and only behind E0, ED, F0 and F4. */
static size_t char_bytes(const uint8_t *at, size_t n_left)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4 || n_left < 2 || !is_tail(at[1]))
        return 0;
    if (lead < 0xe0)
        return 2;
    if (n_left < 3 || !is_tail(at[2]))
        return 0;
    if (lead < 0xf0) {
        bool is_overlong = lead == 0xe0 && at[1] < 0xa0;
        bool is_surrogate = lead == 0xed && at[1] > 0x9f;
        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (n_left < 4 || !is_tail(at[3]))
        return 0;
    bool is_overlong = lead == 0xf0 && at[1] < 0x90;
    bool is_beyond = lead == 0xf4 && at[1] > 0x8f;
    return is_overlong || is_beyond ? 0 : 4;
}

size_t utf8_char_bytes(slice_t text)
{
    return text.n_bytes == 0 ? 0 : char_bytes(text.data, text.n_bytes);
}

bool utf8_is_valid(slice_t text)
{
    const uint8_t *at = text.data;
    size_t n_left = text.n_bytes;
    while (n_left > 0) {
        if (n_left >= 8 && (load8(at) & EACH_BYTE * 0x80) == 0) {
            at += 8;
            n_left -= 8;
            continue;
        }
        size_t n_bytes = char_bytes(at, n_left);
        if (n_bytes == 0)
            return false;
        at += n_bytes;
        n_left -= n_bytes;
    }
    return true;
}

/* Whether all bytes are ASCII and none is NUL: taking 1 from a NUL sets its highest bit, as the
 * highest bit of what is beyond ASCII is set. */
static bool is_plain(const uint8_t *at, size_t n_bytes)
{
    uint64_t found = 0;
    for (; n_bytes >= 8; at += 8, n_bytes -= 8)
        found |= (load8(at) - EACH_BYTE) | load8(at);
    for (; n_bytes > 0; at++, n_bytes--)
        found |= (*at - UINT64_C(1)) | *at;
    return (found & EACH_BYTE * 0x80) == 0;
}

bool utf8_is_text(slice_t text)
{
    if (is_plain(text.data, text.n_bytes))
        return true;
    return utf8_is_valid(text) && memchr(text.data, '\0', text.n_bytes) == NULL;
}

size_t utf8_count(slice_t text)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < text.n_bytes; i++)
        n_chars += !is_tail(text.data[i]);
    return n_chars;
}
