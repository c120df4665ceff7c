/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown comes from who knows where: nothing that a terminal would obey is ever printed. */
#include "bridge/dead_letter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "schema/instant.h"
#include "schema/json.h"

#define CONNECT_US (10 * US_PER_S)
#define TIMEOUT_US (20 * US_PER_S)
#define DEFAULT_LIMIT 50
#define MAX_LIMIT 10000
#define HEX_ROW_BYTES 16

static const pg_stmt_t select_letters = {
    "SELECT id, at, actor, attempts, reason, topic, partition, record_offset, event_id, stream, rev"
    " FROM dead_letter ORDER BY id DESC LIMIT $1::bigint"};
static const pg_stmt_t select_letter = {
    "SELECT d.id, d.at, d.actor, d.attempts, d.reason, d.topic, d.partition, d.record_offset,"
    " d.event_id, d.stream, d.rev, d.record_key, d.value, d.value_bytes, d.headers, e.body,"
    " d.published"
    " FROM dead_letter d LEFT JOIN event e ON e.stream = d.stream AND e.rev = d.rev"
    " WHERE d.id = $1::bigint"};

enum {
    COL_ID,
    COL_AT,
    COL_ACTOR,
    COL_ATTEMPTS,
    COL_REASON,
    COL_TOPIC,
    COL_PARTITION,
    COL_OFFSET,
    COL_EVENT_ID,
    COL_STREAM,
    COL_REV,
    COL_KEY,
    COL_VALUE,
    COL_VALUE_BYTES,
    COL_HEADERS,
    COL_BODY,
    COL_PUBLISHED
};

/* --- bytes for people --- */

/* Text that a terminal shows and does not obey. */
static bool is_plain(slice_t bytes)
{
    if (!utf8_is_text(bytes))
        return false;
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        uint8_t c = bytes.data[i];
        bool is_c1 = c == 0xc2 && bytes.data[i + 1] < 0xa0;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || is_c1)
            return false;
    }
    return true;
}

static void put_hex(slice_t bytes, buf_t *out)
{
    for (size_t row = 0; row < bytes.n_bytes; row += HEX_ROW_BYTES) {
        size_t n = bytes.n_bytes - row < HEX_ROW_BYTES ? bytes.n_bytes - row : HEX_ROW_BYTES;
        buf_format(out, "%08zx ", row);
        for (size_t i = 0; i < HEX_ROW_BYTES; i++) {
            if (i < n)
                buf_format(out, " %02x", bytes.data[row + i]);
            else
                buf_append_str(out, "   ");
        }
        buf_append_str(out, "  ");
        for (size_t i = 0; i < n; i++) {
            uint8_t c = bytes.data[row + i];
            buf_append_byte(out, c < 0x20 || c > 0x7e ? '.' : c);
        }
        buf_append_byte(out, '\n');
    }
}

static bool put_msgpack(slice_t bytes, buf_t *out)
{
    mp_reader_t reader = mp_reader(bytes);
    size_t start = out->n_bytes;
    if (mp_peek(&reader) == MP_MAP && mp_is_canonical(bytes) && json_from_mp(bytes, out) &&
        is_plain(slice_of(out->data + start, out->n_bytes - start))) {
        buf_append_byte(out, '\n');
        return true;
    }
    out->n_bytes = start;
    return false;
}

/* As text, msgpack as JSON, all else as hexadecimal digits. */
static void put_value(slice_t bytes, buf_t *out)
{
    if (is_plain(bytes)) {
        buf_append_slice(out, bytes);
        buf_append_byte(out, '\n');
    } else if (!put_msgpack(bytes, out)) {
        put_hex(bytes, out);
    }
}

/* On a line: text with its quotes, or digits. */
static void put_short(slice_t bytes, buf_t *out)
{
    if (bytes.data == NULL) {
        buf_append_str(out, "none");
    } else if (is_plain(bytes)) {
        json_put_str(out, bytes);
    } else {
        buf_append_str(out, "0x");
        for (size_t i = 0; i < bytes.n_bytes; i++)
            buf_format(out, "%02x", bytes.data[i]);
    }
}

/* --- rows --- */

static void put_text(const pg_result_t *result, int row, int col, buf_t *out)
{
    slice_t text = pg_bytes(result, row, col);
    if (is_plain(text))
        buf_append_slice(out, text);
    else
        put_short(text, out);
}

static void put_at(const pg_result_t *result, int row, buf_t *out)
{
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n_chars = instant_format(pg_instant(result, row, COL_AT) / US_PER_S * US_PER_S, text);
    buf_append(out, text, n_chars);
}

static void put_origin(const pg_result_t *result, int row, buf_t *out)
{
    char stream[UUID_TEXT_CHARS];
    if (!pg_is_null(result, row, COL_TOPIC)) {
        put_text(result, row, COL_TOPIC, out);
        buf_format(out, "/%" PRId64 "@%" PRId64, pg_int(result, row, COL_PARTITION),
                   pg_int(result, row, COL_OFFSET));
        return;
    }
    uuid_t id = pg_uuid(result, row, COL_STREAM);
    uuid_format(&id, stream);
    buf_format(out, "event %.*s/%" PRId64, UUID_TEXT_CHARS, stream, pg_int(result, row, COL_REV));
}

static void print_letters(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    buf_t out = {0};
    (void)arg;
    if (fate != PG_OK)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        buf_format(&out, "%-6" PRId64 "  ", pg_int(result, row, COL_ID));
        put_at(result, row, &out);
        buf_append_str(&out, "  ");
        put_text(result, row, COL_ACTOR, &out);
        buf_format(&out, "  %" PRId64 "  ", pg_int(result, row, COL_ATTEMPTS));
        put_origin(result, row, &out);
        buf_append_str(&out, "  ");
        put_text(result, row, COL_REASON, &out);
        buf_append_byte(&out, '\n');
    }
    if (out.n_bytes > 0)
        fwrite(out.data, 1, out.n_bytes, stdout);
    buf_fini(&out);
}

static void put_headers(slice_t bytes, buf_t *out)
{
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_headers;
    uint32_t n_parts;
    if (bytes.data == NULL || !mp_get_array(&reader, &n_headers))
        return;
    for (uint32_t i = 0; i < n_headers; i++) {
        slice_t name;
        slice_t value = slice_none();
        if (!mp_get_array(&reader, &n_parts) || n_parts != 2 || !mp_get_bin(&reader, &name))
            return;
        if (mp_peek(&reader) == MP_NIL ? !mp_get_nil(&reader) : !mp_get_bin(&reader, &value))
            return;
        buf_append_str(out, "header:    ");
        put_short(name, out);
        buf_append_str(out, " = ");
        put_short(value, out);
        buf_append_byte(out, '\n');
    }
}

static void put_record(const pg_result_t *result, buf_t *out)
{
    slice_t value = pg_bytes(result, 0, COL_VALUE);
    int64_t n_bytes = pg_int(result, 0, COL_VALUE_BYTES);
    buf_append_str(out, "key:       ");
    put_short(pg_bytes(result, 0, COL_KEY), out);
    buf_append_byte(out, '\n');
    put_headers(pg_bytes(result, 0, COL_HEADERS), out);
    if (pg_is_null(result, 0, COL_VALUE_BYTES)) {
        buf_append_str(out, "value:     none\n");
        return;
    }
    buf_format(out, "value:     %" PRId64 " bytes", n_bytes);
    if ((int64_t)value.n_bytes < n_bytes)
        buf_format(out, ", the first %zu of which are here", value.n_bytes);
    buf_append_str(out, "\n\n");
    put_value(value, out);
}

static void put_event(const pg_result_t *result, buf_t *out)
{
    slice_t body = pg_bytes(result, 0, COL_BODY);
    buf_format(out, "event:     %" PRId64 "\n", pg_int(result, 0, COL_EVENT_ID));
    if (body.data == NULL) {
        buf_append_str(out, "value:     none: it was purged\n");
        return;
    }
    buf_append_byte(out, '\n');
    put_value(body, out);
}

/* Whether the topic has it. */
static const char *published(slice_t how)
{
    if (slice_is(how, "whole"))
        return "yes";
    if (slice_is(how, "cut"))
        return "yes, without its value, which Kafka does not take";
    return slice_is(how, "refused") ? "no: Kafka does not take it" : "not yet";
}

static void print_letter(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    buf_t out = {0};
    if (fate != PG_OK || pg_rows(result) != 1)
        return;
    *(bool *)arg = true;
    buf_format(&out, "letter:    %" PRId64 "\nat:        ", pg_int(result, 0, COL_ID));
    put_at(result, 0, &out);
    buf_append_str(&out, "\nactor:     ");
    put_text(result, 0, COL_ACTOR, &out);
    buf_append_str(&out, "\nreason:    ");
    put_text(result, 0, COL_REASON, &out);
    buf_format(&out, "\nattempts:  %" PRId64 "\norigin:    ", pg_int(result, 0, COL_ATTEMPTS));
    put_origin(result, 0, &out);
    buf_format(&out, "\npublished: %s\n", published(pg_bytes(result, 0, COL_PUBLISHED)));
    if (pg_is_null(result, 0, COL_TOPIC))
        put_event(result, &out);
    else
        put_record(result, &out);
    fwrite(out.data, 1, out.n_bytes, stdout);
    buf_fini(&out);
}

/* --- the commands --- */

static bool read_number(const char *text, int64_t max, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *out = number;
    return errno == 0 && end != text && *end == '\0' && number >= 1 && number <= max;
}

static int ask(const config_t *config, const pg_stmt_t *stmt, int64_t number, pg_done_f *done,
               void *arg)
{
    const pg_options_t options = {.url = config->database_url,
                                  .who = "taskwire dead-letter",
                                  .options = "-c default_transaction_read_only=on",
                                  .reply_timeout_us = TIMEOUT_US};
    pg_t *pg = pg_new(&options);
    pg_params_t params = {0};
    int code = EX_UNAVAILABLE;
    pg_put_i64(&params, number);
    if (pg_await_connection(pg, CONNECT_US) &&
        pg_run(pg, stmt, &params, done, arg, TIMEOUT_US) == PG_OK)
        code = EX_OK;
    else if (pg_is_refused(pg))
        code = EX_CONFIG;
    if (code != EX_OK)
        fprintf(stderr, "taskwire: %s: the database cannot be asked: %s\n",
                config_key(config, "DATABASE_URL"), pg_trouble(pg));
    pg_params_fini(&params);
    pg_destroy(&pg);
    fflush(stdout);
    return code;
}

int dead_letter_list_run(const config_t *config, const char *text)
{
    int64_t limit = DEFAULT_LIMIT;
    if (text != NULL && !read_number(text, MAX_LIMIT, &limit)) {
        fprintf(stderr, "taskwire: --limit: this must be a number from 1 to %d\n", MAX_LIMIT);
        return EX_USAGE;
    }
    return ask(config, &select_letters, limit, print_letters, NULL);
}

int dead_letter_show_run(const config_t *config, const char *text)
{
    int64_t id = 0;
    bool is_found = false;
    if (!read_number(text, INT64_MAX, &id)) {
        fprintf(stderr, "taskwire: dead-letter show: the id must be a number as `dead-letter list` "
                        "prints it\n");
        return EX_USAGE;
    }
    int code = ask(config, &select_letter, id, print_letter, &is_found);
    if (code != EX_OK || is_found)
        return code;
    fprintf(stderr, "taskwire: there is no such dead letter\n");
    return 1;
}
