/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as PostgreSQL's binary format wants them: big-endian numbers, instants as microseconds
 * since 2000, arrays as a header and items each with its length. Everything goes into one growing
 * buffer, so that a batch of hundreds of rows allocates nothing once it has reached its size; only
 * offsets are kept, for the buffer may move. Source: PostgreSQL's array_recv, timestamptz_recv. */
#include "actors/pg_private.h"

#include <assert.h>
#include <limits.h>

/* dimensions, flags, type of the items, then per dimension its length and lower bound */
#define ARRAY_HEAD_BYTES 20
#define ARRAY_EMPTY_BYTES 12
#define ARRAY_FLAGS_AT 4
#define ARRAY_LENGTH_AT 12

#define ITEM_IS_NULL UINT32_MAX

/* Fixed in PostgreSQL for ever (pg_type.dat). */
static const uint32_t oid_of[] = {
    [PG_BOOL] = 16,   [PG_I16] = 21,  [PG_I32] = 23,   [PG_I64] = 20,
    [PG_UUID] = 2950, [PG_TEXT] = 25, [PG_BYTEA] = 17, [PG_INSTANT] = 1184,
};

static void write_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* The low `n_bytes` bytes, most significant first. */
static void append_number(buf_t *out, uint64_t value, int n_bytes)
{
    uint8_t bytes[8];
    for (int i = 0; i < n_bytes; i++)
        bytes[i] = (uint8_t)(value >> (8 * (n_bytes - 1 - i)));
    buf_append(out, bytes, (size_t)n_bytes);
}

static uint64_t instant_bits(int64_t at_us)
{
    return (uint64_t)(instant_clamp(at_us) - PG_EPOCH_US);
}

void pg_params_reset(pg_params_t *self)
{
    buf_reset(&self->bytes);
    self->n_params = 0;
}

void pg_params_fini(pg_params_t *self)
{
    buf_fini(&self->bytes);
    self->n_params = 0;
}

/* Takes the next place for a value of that length, which is to be appended; -1 is NULL. */
static void next_param(pg_params_t *self, int n_bytes)
{
    assert(self->n_params < PG_MAX_PARAMS);
    self->params[self->n_params].at = self->bytes.n_bytes;
    self->params[self->n_params].n_bytes = n_bytes;
    self->n_params++;
}

static void put_number(pg_params_t *self, uint64_t value, int n_bytes)
{
    next_param(self, n_bytes);
    append_number(&self->bytes, value, n_bytes);
}

void pg_put_null(pg_params_t *self)
{
    next_param(self, -1);
}

void pg_put_bool(pg_params_t *self, bool value)
{
    put_number(self, value, 1);
}

void pg_put_i16(pg_params_t *self, int16_t value)
{
    put_number(self, (uint64_t)value, 2);
}

void pg_put_i32(pg_params_t *self, int32_t value)
{
    put_number(self, (uint64_t)value, 4);
}

void pg_put_i64(pg_params_t *self, int64_t value)
{
    put_number(self, (uint64_t)value, 8);
}

void pg_put_uuid(pg_params_t *self, const uuid_t *value)
{
    pg_put_bytea(self, uuid_is_nil(value) ? slice_none() : slice_of(value->bytes, UUID_BYTES));
}

void pg_put_text(pg_params_t *self, slice_t value)
{
    pg_put_bytea(self, value);
}

void pg_put_bytea(pg_params_t *self, slice_t value)
{
    assert(value.n_bytes <= INT_MAX);
    next_param(self, value.data == NULL ? -1 : (int)value.n_bytes);
    buf_append_slice(&self->bytes, value);
}

void pg_put_instant(pg_params_t *self, int64_t at_us)
{
    if (at_us == INSTANT_NONE)
        pg_put_null(self);
    else
        put_number(self, instant_bits(at_us), 8);
}

void pg_array_begin(pg_params_t *self, pg_type_t type)
{
    next_param(self, 0);
    self->array_at = self->bytes.n_bytes;
    self->array_n = 0;
    append_number(&self->bytes, 1, 4);
    append_number(&self->bytes, 0, 4);
    append_number(&self->bytes, oid_of[type], 4);
    append_number(&self->bytes, 0, 4);
    append_number(&self->bytes, 1, 4);
}

/* The head of an item: its length, or that it is NULL. */
static void next_item(pg_params_t *self, uint32_t n_bytes)
{
    assert(self->array_n < INT32_MAX);
    self->array_n++;
    append_number(&self->bytes, n_bytes, 4);
    if (n_bytes == ITEM_IS_NULL)
        write_u32(self->bytes.data + self->array_at + ARRAY_FLAGS_AT, 1);
}

static void item_number(pg_params_t *self, uint64_t value, int n_bytes)
{
    next_item(self, (uint32_t)n_bytes);
    append_number(&self->bytes, value, n_bytes);
}

void pg_array_bool(pg_params_t *self, bool value)
{
    item_number(self, value, 1);
}

void pg_array_i16(pg_params_t *self, int16_t value)
{
    item_number(self, (uint64_t)value, 2);
}

void pg_array_i32(pg_params_t *self, int32_t value)
{
    item_number(self, (uint64_t)value, 4);
}

void pg_array_i64(pg_params_t *self, int64_t value)
{
    item_number(self, (uint64_t)value, 8);
}

void pg_array_uuid(pg_params_t *self, const uuid_t *value)
{
    pg_array_text(self, uuid_is_nil(value) ? slice_none() : slice_of(value->bytes, UUID_BYTES));
}

void pg_array_text(pg_params_t *self, slice_t value)
{
    assert(value.n_bytes <= INT_MAX);
    next_item(self, value.data == NULL ? ITEM_IS_NULL : (uint32_t)value.n_bytes);
    buf_append_slice(&self->bytes, value);
}

void pg_array_instant(pg_params_t *self, int64_t at_us)
{
    if (at_us == INSTANT_NONE)
        next_item(self, ITEM_IS_NULL);
    else
        item_number(self, instant_bits(at_us), 8);
}

void pg_array_end(pg_params_t *self)
{
    uint8_t *head = self->bytes.data + self->array_at;
    if (self->array_n == 0) {
        write_u32(head, 0);
        self->bytes.n_bytes = self->array_at + ARRAY_EMPTY_BYTES;
    } else {
        write_u32(head + ARRAY_LENGTH_AT, (uint32_t)self->array_n);
    }
    size_t n_bytes = self->bytes.n_bytes - self->array_at;
    assert(n_bytes <= INT_MAX);
    self->params[self->n_params - 1].n_bytes = (int)n_bytes;
}
