/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/trace.h"

#include <sodium.h>
#include <string.h>

/* Flags that are known: sampled, random. Others are not handed on. */
#define KNOWN_FLAGS 0x03
#define VERSION_WRONG 0xff

static const trace_t none;

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower case only, as it must be. */
static bool read_hex(const uint8_t *text, uint8_t *out, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool trace_is_none(const trace_t *self)
{
    return memcmp(self->bytes, none.bytes, TRACE_ID_BYTES) == 0;
}

/* VERSION-TRACE-PARENT-FLAGS; a later version may have more behind another dash. */
static bool read(slice_t text, trace_t *out)
{
    const uint8_t *at = text.data;
    uint8_t version = 0;
    if (text.n_bytes < TRACE_PARENT_CHARS || !read_hex(at, &version, 1) ||
        version == VERSION_WRONG || at[2] != '-' || at[35] != '-' || at[52] != '-')
        return false;
    if (text.n_bytes > TRACE_PARENT_CHARS && (version == 0 || at[TRACE_PARENT_CHARS] != '-'))
        return false;
    uint8_t *bytes = out->bytes;
    if (!read_hex(at + 3, bytes, TRACE_ID_BYTES) ||
        !read_hex(at + 36, bytes + TRACE_ID_BYTES, TRACE_SPAN_BYTES) ||
        !read_hex(at + 53, bytes + TRACE_BYTES - 1, 1))
        return false;
    bytes[TRACE_BYTES - 1] &= KNOWN_FLAGS;
    return !trace_is_none(out) && memcmp(bytes + TRACE_ID_BYTES, none.bytes, TRACE_SPAN_BYTES) != 0;
}

bool trace_parse(slice_t text, trace_t *out)
{
    bool is_read = read(text, out);
    if (!is_read)
        *out = none;
    return is_read;
}

trace_t trace_of(slice_t bytes)
{
    trace_t self = none;
    if (bytes.n_bytes == TRACE_BYTES)
        memcpy(self.bytes, bytes.data, TRACE_BYTES);
    return self;
}

slice_t trace_slice(const trace_t *self)
{
    return trace_is_none(self) ? slice_none() : slice_of(self->bytes, TRACE_BYTES);
}

trace_t trace_child(const trace_t *self, const uuid_t *command)
{
    uint8_t hash[crypto_generichash_BYTES_MIN];
    trace_t child = *self;
    uint8_t *span = child.bytes + TRACE_ID_BYTES;
    if (trace_is_none(self))
        return none;
    crypto_generichash(hash, sizeof hash, self->bytes, TRACE_BYTES, command->bytes, UUID_BYTES);
    memcpy(span, hash, TRACE_SPAN_BYTES);
    /* Zero is no id. */
    span[TRACE_SPAN_BYTES - 1] = (uint8_t)(span[TRACE_SPAN_BYTES - 1] | 1);
    return child;
}
