/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a record from Kafka, as an event to be sent, and as a CloudEvent. A record that is
 * taken for an event is one that we would write for that event; an event comes back with its very
 * bytes or not at all. The first six lines of the input are content type, position, digest, MAC,
 * traceparent and key, what follows is the value. */
#include <sodium.h>
#include <stdlib.h>

#include "../unit/record_sample.h"
#include "bridge/cloud_event.h"
#include "schema/limits.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static record_coder_t *readers[2];
static record_coder_t *writers[2];
static buf_t scratch;
static arena_t *arena;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    if (sodium_init() < 0)
        abort();
    arena = arena_new();
    for (int i = 0; i < 2; i++) {
        readers[i] = sample_coder((record_encoding_t)i);
        writers[i] = sample_coder((record_encoding_t)i);
        record_coder_past(readers[i], "an epoch in 2025");
    }
    return 0;
}

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static slice_t take_line(slice_t *rest)
{
    const uint8_t *end = rest->n_bytes == 0 ? NULL : memchr(rest->data, '\n', rest->n_bytes);
    size_t n = end == NULL ? rest->n_bytes : (size_t)(end - rest->data);
    slice_t line = slice_of(rest->data, n);
    *rest = end == NULL ? slice_of(rest->data + n, 0) : slice_of(end + 1, rest->n_bytes - n - 1);
    return line;
}

/* An empty line is no header. */
static void add_line(record_t *record, const char *name, slice_t *rest)
{
    slice_t line = take_line(rest);
    if (line.n_bytes > 0)
        record_add(record, slice_str(name), line);
}

static void try_record(slice_t bytes)
{
    record_t record, again;
    record_position_t place;
    log_event_t event;
    slice_t relay;
    const char *why = NULL;
    record_begin(&record, slice_none(), slice_none());
    add_line(&record, RECORD_CONTENT_TYPE, &bytes);
    add_line(&record, RECORD_POSITION, &bytes);
    add_line(&record, RECORD_DIGEST, &bytes);
    add_line(&record, RECORD_MAC, &bytes);
    add_line(&record, RECORD_TRACEPARENT, &bytes);
    record.key = take_line(&bytes);
    record.value = bytes;
    record_verdict_t verdict = record_read(readers[RECORD_JSON], &record, &place, &event, &why);
    must((verdict != RECORD_POISON && verdict != RECORD_FORGED) || why != NULL);
    (void)record_read_update(readers[RECORD_MSGPACK], &record, &place, &relay, &why);
    if (verdict != RECORD_EVENT)
        return;
    bool is_msgpack = record.value.n_bytes > 0 && record.value.data[0] != '{';
    record_of_event(writers[is_msgpack], &event, place.before, &again);
    must(slice_eq(record.key, again.key) && slice_eq(record.value, again.value));
}

static void try_event(slice_t body)
{
    event_t event;
    record_t record;
    record_position_t place;
    log_event_t back;
    const char *why = NULL;
    bool is_event = event_decode(body, &event);
    if (!is_event)
        event = (event_t){.rev = 1, .type = EVENT_TASK_CREATED, .epoch = "0123456789abcde"};
    log_event_t row = sample_row(&event, body, 10);
    for (int i = 0; i < 2; i++) {
        record_of_event(writers[i], &row, 9, &record);
        must(record.value.data != NULL && record.value.n_bytes <= RECORD_MAX_VALUE_BYTES);
        record_verdict_t verdict = record_read(readers[1 - i], &record, &place, &back, &why);
        must(verdict == RECORD_EVENT || verdict == RECORD_PLACE);
        must(place.id == 10 && place.before == 9);
        if (verdict == RECORD_EVENT)
            must(is_event && sample_same(&row, &back));
        else if (i == RECORD_MSGPACK)
            must(!is_event || event.type == EVENT_UNKNOWN);
        (void)record_of_update(writers[i], &row, 9, slice_str("relay"), &record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    slice_t bytes = slice_of(data, n_bytes);
    slice_t value;
    try_record(bytes);
    if (n_bytes <= LIMIT_EVENT_BYTES)
        try_event(bytes);
    (void)cloud_event_read_json(bytes, &scratch, arena, &value);
    (void)cloud_event_read_own(bytes, &scratch, arena, &value);
    return 0;
}
