/* SPDX-License-Identifier: Apache-2.0 */
/* Ids are 16 bytes inside and 36 characters outside. Version 7 ids begin with the time, so that
 * rows made one after the other lie beside each other in an index; derived ids (version 8) make a
 * repeated effect recognisable: the same cause gives the same id on any machine, for ever. */
#include "schema/uuid.h"

#include <sodium.h>

/* The value of a hexadecimal digit, -1 for any other character. */
static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    uint8_t lower = c | 0x20;
    if (lower >= 'a' && lower <= 'f')
        return lower - 'a' + 10;
    return -1;
}

/* Whether a dash stands before this byte of the id. */
static bool is_after_dash(size_t i)
{
    return i == 4 || i == 6 || i == 8 || i == 10;
}

static void set_version(uuid_t *id, unsigned version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | (version << 4));
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

bool uuid_parse(slice_t text, uuid_t *out)
{
    *out = UUID_NIL;
    if (text.n_bytes != UUID_TEXT_CHARS)
        return false;
    uuid_t id;
    const uint8_t *at = text.data;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_after_dash(i) && *at++ != '-')
            return false;
        int high = hex_value(at[0]);
        int low = hex_value(at[1]);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (uuid_is_nil(&id))
        return false;
    *out = id;
    return true;
}

/* The value of a lower case digit, with a bit that tells it from no digit at all. */
#define DIGIT(value) (0x80 | (value))
static const uint8_t lower_digits[256] = {
    ['0'] = DIGIT(0),  ['1'] = DIGIT(1),  ['2'] = DIGIT(2),  ['3'] = DIGIT(3),
    ['4'] = DIGIT(4),  ['5'] = DIGIT(5),  ['6'] = DIGIT(6),  ['7'] = DIGIT(7),
    ['8'] = DIGIT(8),  ['9'] = DIGIT(9),  ['a'] = DIGIT(10), ['b'] = DIGIT(11),
    ['c'] = DIGIT(12), ['d'] = DIGIT(13), ['e'] = DIGIT(14), ['f'] = DIGIT(15),
};

/* Every event has four of them, and every actor reads every event: no branch per character. */
bool uuid_read(slice_t text, uuid_t *out)
{
    static const uint8_t places[UUID_BYTES] = {0,  2,  4,  6,  9,  11, 14, 16,
                                               19, 21, 24, 26, 28, 30, 32, 34};
    const uint8_t *at = text.data;
    uuid_t id;
    uint8_t all = DIGIT(0);
    if (text.n_bytes != UUID_TEXT_CHARS || at[8] != '-' || at[13] != '-' || at[18] != '-' ||
        at[23] != '-')
        return false;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        uint8_t high = lower_digits[at[places[i]]];
        uint8_t low = lower_digits[at[places[i] + 1]];
        all &= high & low;
        id.bytes[i] = (uint8_t)(high << 4 | (low & 0x0f));
    }
    if (all != DIGIT(0) || uuid_is_nil(&id))
        return false;
    *out = id;
    return true;
}

void uuid_format(const uuid_t *id, char out[UUID_TEXT_CHARS])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_after_dash(i))
            *out++ = '-';
        *out++ = digits[id->bytes[i] >> 4];
        *out++ = digits[id->bytes[i] & 0x0f];
    }
}

uuid_t uuid_v7(int64_t now_us)
{
    uuid_t id;
    randombytes_buf(id.bytes + 6, sizeof id.bytes - 6);
    uint64_t ms = now_us < 0 ? 0 : (uint64_t)now_us / 1000;
    for (size_t i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    set_version(&id, 7);
    return id;
}

uuid_t uuid_derive(const uuid_t *space, slice_t name)
{
    uuid_t id;
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof id.bytes);
    crypto_generichash_update(&state, space->bytes, sizeof space->bytes);
    crypto_generichash_update(&state, name.data, name.n_bytes);
    crypto_generichash_final(&state, id.bytes, sizeof id.bytes);
    set_version(&id, 8);
    return id;
}

static uint64_t load_little_endian(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* The finalizer of MurmurHash3: each bit of the input changes each bit of the output half of the
 * time. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* mix(low half + mix(high half + 2^64 / golden ratio)), halves read as little-endian: half of a
 * version 7 id is its time and the other is random, so both must reach every bit. Rows are stored
 * by this: it may never change. */
uint64_t uuid_hash(const uuid_t *id)
{
    uint64_t high = load_little_endian(id->bytes + 8);
    uint64_t low = load_little_endian(id->bytes);
    return mix(low + mix(high + UINT64_C(0x9e3779b97f4a7c15)));
}
