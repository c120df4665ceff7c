/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/cloud_event.h"
#include "record_sample.h"
#include "schema/json.h"

#define STREAM "01935700-0000-7000-8000-0000000000b1"
#define TASK "01935700-0000-7000-8000-0000000000f1"
#define BY "01935700-0000-7000-8000-0000000000a1"
#define COMMAND "01935700-0000-7000-8000-0000000000c1"
#define AT_US INT64_C(1795420800500000) /* 2026-11-23T08:00:00.5Z */
#define AFTER "{\"id\":\"" TASK "\",\"title\":\"Milk \\\"fresh\\\" \xc3\xa4\",\"rev\":7}"
#define RELAY "term-17"

typedef struct {
    arena_t *arena;
    record_coder_t *coder[2]; /* by encoding */
    event_t event;
    buf_t body;
    log_event_t row;
} fixture_t;

static uuid_t id_of(const char *text)
{
    uuid_t id;
    assert_true(uuid_parse(slice_str(text), &id));
    return id;
}

static slice_t map_of(fixture_t *self, const char *json)
{
    buf_t out = {0};
    problem_t problem = {0};
    assert_int_equal(json_to_mp(slice_str(json), &out, self->arena, &problem), ERR_OK);
    slice_t copy = arena_copy(self->arena, buf_slice(&out));
    buf_fini(&out);
    return copy;
}

/* The row that the event makes now. */
static void encode(fixture_t *self)
{
    buf_reset(&self->body);
    event_encode(&self->event, &self->body);
    self->row = sample_row(&self->event, buf_slice(&self->body), 4711);
}

static int setup(void **state)
{
    static fixture_t fixture;
    fixture_t *self = &fixture;
    *self = (fixture_t){.arena = arena_new()};
    self->coder[RECORD_JSON] = sample_coder(RECORD_JSON);
    self->coder[RECORD_MSGPACK] = sample_coder(RECORD_MSGPACK);
    self->event = (event_t){
        .stream = id_of(STREAM),
        .rev = 7,
        .type = EVENT_TASK_UPDATED,
        .task = id_of(TASK),
        .command = id_of(COMMAND),
        .by = id_of(BY),
        .at_us = AT_US,
    };
    memcpy(self->event.epoch, SAMPLE_EPOCH, EPOCH_CHARS);
    self->event.set = map_of(self, "{\"title\":\"Milk \\\"fresh\\\" \xc3\xa4\"}");
    self->event.was = map_of(self, "{\"title\":\"Milk\"}");
    self->event.after = map_of(self, AFTER);
    encode(self);
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    fixture_t *self = *state;
    record_coder_destroy(&self->coder[RECORD_JSON]);
    record_coder_destroy(&self->coder[RECORD_MSGPACK]);
    buf_fini(&self->body);
    arena_destroy(&self->arena);
    return 0;
}

static const char *header(const record_t *record, const char *name)
{
    static char text[256];
    slice_t value;
    if (!record_find(record, name, &value))
        return NULL;
    assert_true(value.n_bytes < sizeof text);
    memcpy(text, value.data, value.n_bytes);
    text[value.n_bytes] = '\0';
    return text;
}

#define ASSERT_SLICE(actual, expected) assert_true(slice_is(actual, expected))

/* What becomes of a record, by a coder that has written nothing of it. */
static record_verdict_t read_by(record_coder_t *coder, const record_t *record, log_event_t *event)
{
    record_position_t place;
    const char *why = NULL;
    record_verdict_t verdict = record_read(coder, record, &place, event, &why);
    assert_true((verdict == RECORD_POISON || verdict == RECORD_FORGED) == (why != NULL));
    return verdict == RECORD_FORGED ? RECORD_POISON : verdict; /* see a_forgery_is_told_from… */
}

static record_verdict_t verdict_of(const record_t *record)
{
    log_event_t event;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    record_verdict_t verdict = read_by(coder, record, &event);
    record_coder_destroy(&coder);
    return verdict;
}

/* --- what is written --- */

static void an_event_is_a_structured_cloud_event(void **state)
{
    fixture_t *self = *state;
    record_t record;
    self->row.trace = slice_of(sample_trace, TRACE_BYTES);
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    ASSERT_SLICE(record.key, STREAM);
    ASSERT_SLICE(
        record.value,
        "{\"specversion\":\"1.0\",\"id\":\"" STREAM "/7\",\"source\":\"taskwire/" SAMPLE_EPOCH
        "\",\"type\":\"taskwire.v1.task.updated\",\"subject\":\"" TASK
        "\",\"time\":\"2026-11-23T08:00:00.5Z\",\"partitionkey\":\"" STREAM "\",\"sequence\":\"7\","
        "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
        "\"traceid\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
        "\"datacontenttype\":\"application/json\",\"data\":{\"v\":1,\"stream\":\"" STREAM
        "\",\"rev\":7,\"epoch\":\"" SAMPLE_EPOCH "\",\"type\":\"task.updated\",\"task\":\"" TASK
        "\",\"command\":\"" COMMAND "\",\"by\":\"" BY
        "\",\"at\":\"2026-11-23T08:00:00.5Z\",\"set\":{\"title\":\"Milk \\\"fresh\\\" \xc3\xa4\"},"
        "\"was\":{\"title\":\"Milk\"},\"after\":" AFTER "}}");
    assert_string_equal(header(&record, "content-type"),
                        "application/cloudevents+json; charset=UTF-8");
    assert_string_equal(header(&record, "traceparent"),
                        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_string_equal(header(&record, "traceid"),
                        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
}

static void a_record_says_its_place_in_the_log(void **state)
{
    fixture_t *self = *state;
    record_t record;
    char expected[64];
    for (int encoding = 0; encoding < 2; encoding++) {
        record_of_event(self->coder[encoding], &self->row, 4700, &record);
        snprintf(expected, sizeof expected, SAMPLE_EPOCH ":%u:4711:4700", self->row.shard);
        assert_string_equal(header(&record, "taskwire-position"), expected);
        assert_string_equal(header(&record, "taskwire-digest"),
                            "6120646967657374206f66207468697274792d74776f206279746573202e2e2e");
    }
}

static void msgpack_is_the_stored_bytes_with_attributes_as_headers(void **state)
{
    fixture_t *self = *state;
    record_t record;
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &record);
    ASSERT_SLICE(record.key, STREAM);
    assert_true(slice_eq(record.value, buf_slice(&self->body)));
    assert_string_equal(header(&record, "content-type"), "application/msgpack");
    assert_string_equal(header(&record, "ce_specversion"), "1.0");
    assert_string_equal(header(&record, "ce_id"), STREAM "/7");
    assert_string_equal(header(&record, "ce_source"), "taskwire/" SAMPLE_EPOCH);
    assert_string_equal(header(&record, "ce_type"), "taskwire.v1.task.updated");
    assert_string_equal(header(&record, "ce_subject"), TASK);
    assert_string_equal(header(&record, "ce_time"), "2026-11-23T08:00:00.5Z");
    assert_string_equal(header(&record, "ce_partitionkey"), STREAM);
    assert_string_equal(header(&record, "ce_sequence"), "7");
    assert_null(header(&record, "traceparent"));
    assert_null(header(&record, "ce_traceparent"));
}

static void an_event_without_a_task_has_its_stream_as_subject(void **state)
{
    fixture_t *self = *state;
    record_t record;
    self->event.task = UUID_NIL;
    self->event.type = EVENT_LIST_UPDATED;
    encode(self);
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &record);
    assert_string_equal(header(&record, "ce_subject"), STREAM);
    assert_int_equal(verdict_of(&record), RECORD_EVENT);
}

/* --- what is read --- */

static void both_encodings_are_read_whatever_the_own_one_is(void **state)
{
    fixture_t *self = *state;
    record_t record;
    log_event_t event;
    self->row.trace = slice_of(sample_trace, TRACE_BYTES);
    for (int out = 0; out < 2; out++) {
        record_of_event(self->coder[out], &self->row, 4700, &record);
        record_coder_t *in = sample_coder(out == 0 ? RECORD_MSGPACK : RECORD_JSON);
        assert_int_equal(read_by(in, &record, &event), RECORD_EVENT);
        assert_true(sample_same(&self->row, &event));
        record_coder_destroy(&in);
    }
}

/* Dapr writes no content type. */
static void a_structured_value_needs_no_content_type(void **state)
{
    fixture_t *self = *state;
    record_t record;
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    assert_true(slice_is(record.headers[0].name, "content-type"));
    record.headers[0] = record.headers[--record.n_headers];
    assert_int_equal(verdict_of(&record), RECORD_EVENT);
    record_add(&record, slice_str("content-type"), slice_str("APPLICATION/CloudEvents+JSON"));
    assert_int_equal(verdict_of(&record), RECORD_EVENT);
}

static void a_purged_event_is_a_place_and_no_tombstone(void **state)
{
    fixture_t *self = *state;
    record_t record;
    self->row.body = slice_none();
    for (int encoding = 0; encoding < 2; encoding++) {
        record_of_event(self->coder[encoding], &self->row, 4700, &record);
        assert_non_null(record.value.data);
        assert_null(memmem(record.value.data, record.value.n_bytes, "data\"", 5));
        assert_int_equal(verdict_of(&record), RECORD_PLACE);
    }
}

static void an_event_that_is_too_large_as_json_is_a_place(void **state)
{
    fixture_t *self = *state;
    record_t record;
    buf_t text = {0};
    buf_append_str(&text, "{\"notes\":\"");
    for (int i = 0; i < 200 * 1024; i++)
        buf_append_str(&text, "\\u0001");
    buf_append_str(&text, "\"}");
    buf_append_byte(&text, 0);
    self->event.after = map_of(self, (const char *)text.data);
    encode(self);
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    assert_true(record.value.n_bytes < 1024);
    assert_int_equal(verdict_of(&record), RECORD_PLACE);
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &record);
    assert_int_equal(verdict_of(&record), RECORD_EVENT);
    buf_fini(&text);
}

/* Bytes would come back as text, a long form in the shortest. */
static void what_json_would_change_is_a_place(void **state)
{
    fixture_t *self = *state;
    static const uint8_t maps[][5] = {{0x81, 0xa1, 'x', 0xc4, 0x00}, {0x81, 0xa1, 'x', 0xcc, 0x05}};
    record_t record;
    for (int i = 0; i < 2; i++) {
        self->event.after = slice_of(maps[i], sizeof maps[i]);
        encode(self);
        record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
        assert_int_equal(verdict_of(&record), RECORD_PLACE);
        record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &record);
        assert_int_equal(verdict_of(&record), RECORD_EVENT);
    }
}

static void an_event_of_a_newer_program_is_a_place(void **state)
{
    fixture_t *self = *state;
    static const char old_name[] = "task.updated";
    record_t record;
    slice_t cloud_type;
    uint8_t *name = memmem(self->body.data, self->body.n_bytes, old_name, sizeof old_name - 1);
    memcpy(name, "task.painted", sizeof old_name - 1);
    self->row.type = EVENT_UNKNOWN;
    self->row.stored_type = 99;
    for (int encoding = 0; encoding < 2; encoding++) {
        record_of_event(self->coder[encoding], &self->row, 4700, &record);
        assert_int_equal(verdict_of(&record), RECORD_PLACE);
    }
    assert_true(record_find(&record, "ce_type", &cloud_type));
    ASSERT_SLICE(cloud_type, "taskwire.v1.task.painted");
}

static void a_record_of_another_epoch_is_told_from_poison(void **state)
{
    fixture_t *self = *state;
    record_t record;
    log_event_t event;
    record_coder_t *other = record_coder_new(RECORD_JSON);
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    assert_int_equal(read_by(other, &record, &event), RECORD_STRANGE);
    record_coder_key(other, "another epoch 16", slice_str("another key"));
    assert_int_equal(read_by(other, &record, &event), RECORD_STRANGE);
    record_coder_past(other, "an epoch in 2025");
    record_coder_past(other, SAMPLE_EPOCH);
    assert_int_equal(read_by(other, &record, &event), RECORD_STALE);
    record_coder_key(other, SAMPLE_EPOCH, slice_str("another key"));
    assert_int_equal(read_by(other, &record, &event), RECORD_POISON);
    record_coder_key(other, SAMPLE_EPOCH, slice_str(SAMPLE_KEY));
    assert_int_equal(read_by(other, &record, &event), RECORD_EVENT);
    record_coder_destroy(&other);
}

/* --- what is not ours --- */

/* Whether the MAC vouches for the header; the others say nothing that is believed. */
static bool is_vouched_for(slice_t name)
{
    return slice_is(name, "taskwire-position") || slice_is(name, "taskwire-digest") ||
           slice_is(name, "taskwire-mac") || slice_is(name, "taskwire-relay") ||
           slice_is(name, "traceparent");
}

/* Changes each byte in turn, each bit of it. */
static void tamper(const record_t *record, slice_t bytes, record_coder_t *coder)
{
    for (size_t i = 0; i < bytes.n_bytes * 8; i++) {
        log_event_t event;
        uint8_t *byte = (uint8_t *)bytes.data + i / 8;
        *byte ^= (uint8_t)(1u << i % 8);
        record_verdict_t verdict = read_by(coder, record, &event);
        assert_true(verdict == RECORD_POISON || verdict == RECORD_STRANGE);
        *byte ^= (uint8_t)(1u << i % 8);
    }
}

/* What nothing vouches for may be changed, and changes nothing. */
static void tamper_in_vain(const record_t *record, slice_t bytes, record_coder_t *coder,
                           const log_event_t *row)
{
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        log_event_t event;
        uint8_t *byte = (uint8_t *)bytes.data + i;
        *byte ^= 1;
        if (read_by(coder, record, &event) == RECORD_EVENT)
            assert_true(sample_same(row, &event));
        *byte ^= 1;
    }
}

static void a_change_of_any_bit_is_noticed(void **state)
{
    fixture_t *self = *state;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    self->row.trace = slice_of(sample_trace, TRACE_BYTES);
    for (int encoding = 0; encoding < 2; encoding++) {
        record_t record, copy;
        record_of_event(self->coder[encoding], &self->row, 4700, &record);
        sample_take(&copy, &record);
        tamper(&copy, copy.key, coder);
        tamper(&copy, copy.value, coder);
        for (size_t i = 0; i < copy.n_headers; i++) {
            if (is_vouched_for(copy.headers[i].name))
                tamper(&copy, copy.headers[i].value, coder);
            else
                tamper_in_vain(&copy, copy.headers[i].value, coder, &self->row);
            tamper_in_vain(&copy, copy.headers[i].name, coder, &self->row);
        }
        assert_int_equal(verdict_of(&copy), RECORD_EVENT);
        sample_drop(&copy);
    }
    record_coder_destroy(&coder);
}

static void a_part_that_is_missing_cut_or_longer_is_noticed(void **state)
{
    fixture_t *self = *state;
    record_t whole, record;
    self->row.trace = slice_of(sample_trace, TRACE_BYTES);
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &whole);
    for (size_t n = 0; n < whole.value.n_bytes; n += 7) {
        record = whole;
        record.value = slice_of(whole.value.data, n);
        assert_int_equal(verdict_of(&record), RECORD_POISON);
    }
    record = whole;
    record.value = slice_none();
    assert_int_equal(verdict_of(&record), RECORD_POISON);
    record = whole;
    record.key = slice_of(whole.key.data, whole.key.n_bytes - 1);
    assert_int_equal(verdict_of(&record), RECORD_POISON);
    record.key = slice_none();
    assert_int_equal(verdict_of(&record), RECORD_POISON);
    for (size_t i = 0; i < whole.n_headers; i++) {
        if (!is_vouched_for(whole.headers[i].name))
            continue;
        record = whole;
        record.headers[i] = record.headers[--record.n_headers];
        assert_int_equal(verdict_of(&record), RECORD_POISON);
        record = whole;
        record.headers[i].value.n_bytes--;
        assert_int_equal(verdict_of(&record), RECORD_POISON);
    }
}

/* Else one reader could believe the first and another the last. */
static void a_header_that_stands_twice_is_refused(void **state)
{
    fixture_t *self = *state;
    record_t record;
    slice_t position;
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    assert_true(record_find(&record, "taskwire-position", &position));
    record_add(&record, slice_str("taskwire-position"), position);
    assert_int_equal(verdict_of(&record), RECORD_POISON);
}

static void headers_of_others_do_no_harm_unless_they_are_too_many(void **state)
{
    fixture_t *self = *state;
    record_t record;
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    while (record.n_headers < RECORD_MAX_HEADERS)
        record_add(&record, slice_str("x"), slice_none());
    assert_int_equal(verdict_of(&record), RECORD_EVENT);
    record_add(&record, slice_str("x"), slice_none());
    assert_true(record.has_more);
    assert_int_equal(verdict_of(&record), RECORD_POISON);
}

/* Of two records of ours nothing can be put together that is not one of them. */
static void parts_of_several_records_do_not_make_another(void **state)
{
    fixture_t *self = *state;
    record_t first, second;
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &first);
    sample_take(&second, &first);
    log_event_t next = self->row;
    next.id++;
    record_of_event(self->coder[RECORD_MSGPACK], &next, 4711, &first);
    for (size_t i = 0; i < first.n_headers; i++) {
        record_t mixed = first;
        mixed.headers[i] = second.headers[i];
        bool is_same = slice_eq(first.headers[i].value, second.headers[i].value);
        assert_int_equal(verdict_of(&mixed), is_same ? RECORD_EVENT : RECORD_POISON);
    }
    sample_drop(&second);
}

static void what_was_never_ours_is_poison(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *value;
    } others[] = {
        {NULL, ""},
        {NULL, "hello"},
        {NULL, "{}"},
        {NULL, "{\"a\":1}"},
        {"application/json", "{\"a\":1}"},
        {"application/cloudevents+json", "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"x\","
                                         "\"type\":\"taskwire.v1.task.created\",\"data\":{}}"},
        {"application/cloudevents+json", "[]"},
        {"application/cloudevents+json", "{"},
        {"application/msgpack", "\x81\xa1v"},
        {"application/msgpack", ""},
        {"text/plain", "\xff\xfe"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        record_t record;
        record_begin(&record, slice_str(STREAM), slice_str(others[i].value));
        if (others[i].type != NULL)
            record_add(&record, slice_str("content-type"), slice_str(others[i].type));
        assert_int_equal(verdict_of(&record), RECORD_POISON);
        record_add(&record, slice_str("taskwire-position"), slice_str(SAMPLE_EPOCH ":1:2:1"));
        record_add(&record, slice_str("taskwire-mac"),
                   slice_str("00000000000000000000000000000000"));
        assert_int_equal(verdict_of(&record), RECORD_POISON);
    }
}

static void a_forgery_is_told_from_what_was_never_ours(void **state)
{
    fixture_t *self = *state;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    record_t record;
    record_position_t place;
    log_event_t event;
    const char *why = NULL;
    record_of_event(self->coder[RECORD_JSON], &self->row, 4700, &record);
    record.key.n_bytes--;
    assert_int_equal(record_read(coder, &record, &place, &event, &why), RECORD_FORGED);
    assert_non_null(strstr(why, "vouch"));
    record.n_headers = 1;
    assert_int_equal(record_read(coder, &record, &place, &event, &why), RECORD_POISON);
    record_coder_destroy(&coder);
}

static void a_position_is_read_in_one_form_only(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        SAMPLE_EPOCH,
        SAMPLE_EPOCH ":1:2",
        SAMPLE_EPOCH ":1:2:",
        SAMPLE_EPOCH ":64:2:1",
        SAMPLE_EPOCH ":-1:2:1",
        SAMPLE_EPOCH ":1:2:2",
        SAMPLE_EPOCH ":1:0:0",
        SAMPLE_EPOCH ":1:02:1",
        SAMPLE_EPOCH ":1: 2:1",
        SAMPLE_EPOCH ":1:2:1 ",
        SAMPLE_EPOCH ":1:2:1:0",
        SAMPLE_EPOCH ":1:9223372036854775808:1",
        SAMPLE_EPOCH ":1:99999999999999999999999999999999999999:1",
        "0123456789abcde:1:2:1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        record_t record;
        record_position_t place;
        log_event_t event;
        const char *why = "";
        record_coder_t *coder = sample_coder(RECORD_JSON);
        record_begin(&record, slice_str(STREAM), slice_str("{}"));
        record_add(&record, slice_str("taskwire-position"), slice_str(wrong[i]));
        record_add(&record, slice_str("taskwire-mac"), slice_str("00"));
        assert_int_equal(record_read(coder, &record, &place, &event, &why), RECORD_POISON);
        assert_non_null(strstr(why, "taskwire-position"));
        record_coder_destroy(&coder);
    }
}

/* --- task-updates --- */

static record_update_t update(fixture_t *self, record_encoding_t encoding, record_t *out)
{
    return record_of_update(self->coder[encoding], &self->row, 4700, slice_str(RELAY), out);
}

static void a_change_of_a_task_is_the_task_under_its_key(void **state)
{
    fixture_t *self = *state;
    record_t record;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_TASK);
    ASSERT_SLICE(record.key, STREAM "/" TASK);
    ASSERT_SLICE(record.value,
                 "{\"specversion\":\"1.0\",\"id\":\"" STREAM "/7/" TASK
                 "\",\"source\":\"taskwire/" SAMPLE_EPOCH
                 "\",\"type\":\"taskwire.v1.task.updated\",\"subject\":\"" TASK
                 "\",\"time\":\"2026-11-23T08:00:00.5Z\",\"partitionkey\":\"" STREAM
                 "\",\"sequence\":\"7\",\"datacontenttype\":\"application/json\",\"data\":" AFTER
                 "}");
    assert_string_equal(header(&record, "taskwire-relay"), RELAY);
    assert_int_equal(update(self, RECORD_MSGPACK, &record), UPDATE_TASK);
    assert_true(slice_eq(record.value, self->event.after));
    assert_string_equal(header(&record, "ce_id"), STREAM "/7/" TASK);
}

static void a_task_that_is_gone_is_a_tombstone_with_headers(void **state)
{
    fixture_t *self = *state;
    static const event_type_t gone[] = {EVENT_TASK_DELETED, EVENT_TASK_MOVED_OUT};
    for (int i = 0; i < 2; i++) {
        record_t record;
        self->event.type = gone[i];
        encode(self);
        for (int encoding = 0; encoding < 2; encoding++) {
            assert_int_equal(update(self, encoding, &record), UPDATE_TASK);
            ASSERT_SLICE(record.key, STREAM "/" TASK);
            assert_null(record.value.data);
            assert_non_null(header(&record, "taskwire-position"));
            assert_non_null(header(&record, "taskwire-mac"));
        }
        self->row.body = slice_none(); /* purged, and gone all the same */
        assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_TASK);
    }
}

/* That it has its successor is told of a closed occurrence that was deleted meanwhile, too. */
static void a_change_of_a_task_that_was_deleted_before_is_a_tombstone(void **state)
{
    fixture_t *self = *state;
    record_t record;
    self->event.set = map_of(self, "{}");
    self->event.after =
        map_of(self, "{\"id\":\"" TASK "\",\"deleted_at\":\"2026-11-23T07:00:00Z\"}");
    encode(self);
    for (int encoding = 0; encoding < 2; encoding++) {
        assert_int_equal(update(self, encoding, &record), UPDATE_TASK);
        ASSERT_SLICE(record.key, STREAM "/" TASK);
        assert_null(record.value.data);
    }
    self->event.after = map_of(self, "{\"id\":\"" TASK "\",\"deleted_at\":null}");
    encode(self);
    assert_int_equal(update(self, RECORD_MSGPACK, &record), UPDATE_TASK);
    assert_true(slice_eq(record.value, self->event.after));
}

static void what_an_event_does_not_say_of_a_task_is_to_be_read(void **state)
{
    fixture_t *self = *state;
    record_t record;
    self->row.body = slice_none();
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_READ_TASK);
    self->row.type = EVENT_UNKNOWN;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_READ_TASK);
    self->row.type = EVENT_LIST_DELETED;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_READ_LIST);
    self->row.type = EVENT_LIST_RESTORED;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_READ_LIST);
    self->row.type = EVENT_REMINDER_DUE;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_NONE);
    self->row.type = EVENT_MEMBER_ADDED;
    assert_int_equal(update(self, RECORD_JSON, &record), UPDATE_NONE);
}

static record_verdict_t update_verdict(record_coder_t *coder, const record_t *record)
{
    record_position_t place;
    slice_t relay;
    const char *why;
    record_verdict_t verdict = record_read_update(coder, record, &place, &relay, &why);
    if (verdict == RECORD_PLACE) {
        ASSERT_SLICE(relay, RELAY);
        assert_int_equal(place.id, 4711);
    }
    return verdict;
}

static void an_update_says_which_relay_has_sent_it(void **state)
{
    fixture_t *self = *state;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    record_t record, copy;
    record_of_task(self->coder[RECORD_JSON], &self->row, 4700, &self->row.task, slice_none(),
                   slice_str(RELAY), &record);
    assert_null(record.value.data);
    sample_take(&copy, &record);
    assert_int_equal(update_verdict(coder, &copy), RECORD_PLACE);
    for (size_t i = 0; i < copy.n_headers; i++) {
        uint8_t *byte = (uint8_t *)copy.headers[i].value.data;
        byte[1] ^= 1;
        assert_int_not_equal(update_verdict(coder, &copy), RECORD_PLACE);
        byte[1] ^= 1;
    }
    copy.value = slice_str("");
    assert_int_not_equal(update_verdict(coder, &copy), RECORD_PLACE);
    copy.value = slice_none();
    sample_drop(&copy);
    record_coder_destroy(&coder);
}

/* The same bytes one after the other, divided differently. */
static void no_byte_passes_from_one_part_to_the_next(void **state)
{
    fixture_t *self = *state;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    record_t record;
    self->row.trace = slice_of(sample_trace, TRACE_BYTES);
    assert_int_equal(update(self, RECORD_MSGPACK, &record), UPDATE_TASK);
    assert_int_equal(update_verdict(coder, &record), RECORD_PLACE);
    for (size_t i = 0; i < record.n_headers; i++) {
        slice_t *value = &record.headers[i].value;
        if (slice_is(record.headers[i].name, "traceparent"))
            value->n_bytes--;
        else if (slice_is(record.headers[i].name, "taskwire-relay"))
            *value = slice_str("1" RELAY); /* the digit that the other ends with */
    }
    assert_int_equal(update_verdict(coder, &record), RECORD_FORGED);
    record_coder_destroy(&coder);
}

static void an_update_is_no_event_and_an_event_no_update(void **state)
{
    fixture_t *self = *state;
    record_coder_t *coder = sample_coder(RECORD_JSON);
    record_t record;
    assert_int_equal(update(self, RECORD_MSGPACK, &record), UPDATE_TASK);
    assert_int_equal(verdict_of(&record), RECORD_POISON);
    record_of_event(self->coder[RECORD_MSGPACK], &self->row, 4700, &record);
    assert_int_equal(update_verdict(coder, &record), RECORD_FORGED);
    record_coder_destroy(&coder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_a_structured_cloud_event),
        TEST(a_record_says_its_place_in_the_log),
        TEST(msgpack_is_the_stored_bytes_with_attributes_as_headers),
        TEST(an_event_without_a_task_has_its_stream_as_subject),
        TEST(both_encodings_are_read_whatever_the_own_one_is),
        TEST(a_structured_value_needs_no_content_type),
        TEST(a_purged_event_is_a_place_and_no_tombstone),
        TEST(an_event_that_is_too_large_as_json_is_a_place),
        TEST(what_json_would_change_is_a_place),
        TEST(an_event_of_a_newer_program_is_a_place),
        TEST(a_record_of_another_epoch_is_told_from_poison),
        TEST(a_change_of_any_bit_is_noticed),
        TEST(a_part_that_is_missing_cut_or_longer_is_noticed),
        TEST(a_header_that_stands_twice_is_refused),
        TEST(headers_of_others_do_no_harm_unless_they_are_too_many),
        TEST(parts_of_several_records_do_not_make_another),
        TEST(what_was_never_ours_is_poison),
        TEST(a_forgery_is_told_from_what_was_never_ours),
        TEST(a_position_is_read_in_one_form_only),
        TEST(a_change_of_a_task_is_the_task_under_its_key),
        TEST(a_task_that_is_gone_is_a_tombstone_with_headers),
        TEST(a_change_of_a_task_that_was_deleted_before_is_a_tombstone),
        TEST(what_an_event_does_not_say_of_a_task_is_to_be_read),
        TEST(an_update_says_which_relay_has_sent_it),
        TEST(no_byte_passes_from_one_part_to_the_next),
        TEST(an_update_is_no_event_and_an_event_no_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
