/* SPDX-License-Identifier: Apache-2.0 */
/* One statement stores a letter and makes room for it. What is poison may come in any number, so
 * the table is bounded in both directions; the topic, whose retention Kafka keeps, has the rest.
 * Until a letter is there its row has all of it. */
#include "bridge/dead_letter.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#define LETTER_HEADERS 7
#define DIGEST_OF_RECORD_BYTES 16
/* Of names and values together, so that a row stays small; what is over is left out. */
#define MAX_HEADERS_BYTES ((size_t)16 * 1024)

static const pg_stmt_t insert_record = {
    "WITH room AS (DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter"
    " WHERE topic IS NOT NULL AND published IS NOT NULL ORDER BY id DESC OFFSET $12::bigint)"
    " OR id IN (SELECT id FROM (SELECT id, topic FROM dead_letter WHERE published IS NULL"
    " ORDER BY id DESC OFFSET $13::bigint) w WHERE topic IS NOT NULL)),"
    " waiting AS (SELECT count(*) AS n FROM (SELECT FROM dead_letter WHERE published IS NULL"
    " LIMIT $14::bigint) w)"
    " INSERT INTO dead_letter (actor, reason, attempts, topic, partition, record_offset, digest,"
    " record_key, value, value_bytes, headers) SELECT $1::text, $2::text, $3::integer, $4::text,"
    " $5::integer, $6::bigint, $7::bytea, CASE WHEN n < $14::bigint THEN $8::bytea"
    " ELSE substring($8::bytea FOR $15::integer) END, CASE WHEN n < $14::bigint THEN $9::bytea"
    " ELSE substring($9::bytea FOR $16::integer) END, $10::integer, $11::bytea FROM waiting"
    " ON CONFLICT (topic, partition, record_offset, digest) WHERE topic IS NOT NULL DO NOTHING"};

static const char *const own_names[LETTER_HEADERS] = {
    "reason",   "origin-topic", "origin-partition", "origin-offset",
    "attempts", "actor",        "value-bytes"};

/* A length stands between the two, so that no byte passes from one to the other. */
static void digest_record(const record_t *record, uint8_t out[DIGEST_OF_RECORD_BYTES])
{
    uint64_t n_key = record->key.n_bytes;
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, DIGEST_OF_RECORD_BYTES);
    crypto_generichash_update(&hash, (const uint8_t *)&n_key, sizeof n_key);
    crypto_generichash_update(&hash, record->key.data, record->key.n_bytes);
    crypto_generichash_update(&hash, record->value.data, record->value.n_bytes);
    crypto_generichash_final(&hash, out, DIGEST_OF_RECORD_BYTES);
}

static void put_headers(const record_t *record, buf_t *out)
{
    size_t n = 0;
    size_t n_bytes = 0;
    size_t place = mp_open(out);
    for (size_t i = 0; i < record->n_headers; i++) {
        const record_header_t *header = &record->headers[i];
        n_bytes += header->name.n_bytes + header->value.n_bytes;
        if (n_bytes > MAX_HEADERS_BYTES)
            break;
        mp_put_array(out, 2);
        mp_put_bin(out, header->name);
        if (header->value.data == NULL)
            mp_put_nil(out);
        else
            mp_put_bin(out, header->value);
        n++;
    }
    mp_close_array(out, place, n);
}

static void put_value(pg_params_t *params, slice_t value)
{
    pg_put_bytea(params, value);
    if (value.data == NULL)
        pg_put_null(params);
    else
        pg_put_i32(params, (int32_t)(value.n_bytes < INT32_MAX ? value.n_bytes : INT32_MAX));
}

err_t dead_letter_store(pg_t *pg, const dead_letter_t *self, pg_done_f *done, void *arg)
{
    uint8_t digest[DIGEST_OF_RECORD_BYTES];
    buf_t headers = {0};
    pg_params_t params = {0};
    digest_record(self->record, digest);
    put_headers(self->record, &headers);
    pg_put_text(&params, slice_str(self->actor));
    pg_put_text(&params, slice_str(self->reason));
    pg_put_i32(&params, self->attempts);
    pg_put_text(&params, slice_str(self->topic));
    pg_put_i32(&params, self->partition);
    pg_put_i64(&params, self->offset);
    pg_put_bytea(&params, slice_of(digest, sizeof digest));
    pg_put_bytea(&params, self->record->key);
    put_value(&params, self->record->value);
    pg_put_bytea(&params, buf_slice(&headers));
    pg_put_i64(&params, DEAD_LETTER_MAX_ROWS - 1);
    pg_put_i64(&params, DEAD_LETTER_MAX_WAITING - 1);
    pg_put_i64(&params, DEAD_LETTER_MAX_WHOLE);
    pg_put_i32(&params, DEAD_LETTER_MAX_KEY_BYTES);
    pg_put_i32(&params, DEAD_LETTER_MAX_VALUE_BYTES);
    err_t err = pg_query(pg, &insert_record, &params, done, arg);
    pg_params_fini(&params);
    buf_fini(&headers);
    return err;
}

/* A letter that was sent once more and failed again says of itself where it was last. */
static bool is_own(slice_t name)
{
    for (int i = 0; i < LETTER_HEADERS; i++) {
        if (slice_is(name, own_names[i]))
            return true;
    }
    return false;
}

void dead_letter_record(const dead_letter_t *self, dead_letter_text_t *text, record_t *out)
{
    const record_t *record = self->record;
    snprintf(text->partition, sizeof text->partition, "%" PRId32, self->partition);
    snprintf(text->offset, sizeof text->offset, "%" PRId64, self->offset);
    snprintf(text->attempts, sizeof text->attempts, "%" PRId32, self->attempts);
    snprintf(text->value_bytes, sizeof text->value_bytes, "%" PRId64, self->value_bytes);
    const char *const values[LETTER_HEADERS] = {self->reason,     self->topic,    text->partition,
                                                text->offset,     text->attempts, self->actor,
                                                text->value_bytes};
    record_begin(out, record->key, record->value);
    for (int i = 0; i < LETTER_HEADERS - (self->value_bytes == 0); i++)
        record_add(out, slice_str(own_names[i]), slice_str(values[i]));
    for (size_t i = 0; i < record->n_headers; i++) {
        if (!is_own(record->headers[i].name))
            record_add(out, record->headers[i].name, record->headers[i].value);
    }
    out->has_more = out->has_more || record->has_more;
}
