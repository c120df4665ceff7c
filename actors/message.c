/* SPDX-License-Identifier: Apache-2.0 */
/* The codec of what travels between actors. Messages never leave the process, so it takes liberties
 * that events may not: ids are 16 raw bytes, and an array whose size is known only at its end has a
 * long header that is filled in without moving what follows. Readers check all the same; a message
 * that does not read is a bug and is dropped by its receiver, not believed. */
#include "actors/message.h"

#include <assert.h>

#define LONG_ARRAY_BYTES 5

/* The next value as a number of a range. */
static bool get_number(mp_reader_t *reader, int64_t min, int64_t max, int64_t *out)
{
    return mp_get_int(reader, out) && *out >= min && *out <= max;
}

static bool get_u32(mp_reader_t *reader, uint32_t *out)
{
    int64_t value = 0;
    if (!get_number(reader, 0, UINT32_MAX, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* Any 64 bits, also those above INT64_MAX, travel as the signed number of the same bits. */
static void put_u64(buf_t *out, uint64_t value)
{
    mp_put_int(out, (int64_t)value);
}

static bool get_u64(mp_reader_t *reader, uint64_t *out)
{
    int64_t value = 0;
    if (!mp_get_int(reader, &value))
        return false;
    *out = (uint64_t)value;
    return true;
}

/* Bytes or nil. */
static void put_bytes(buf_t *out, slice_t bytes)
{
    if (bytes.data == NULL)
        mp_put_nil(out);
    else
        mp_put_bin(out, bytes);
}

static bool get_bytes(mp_reader_t *reader, slice_t *out)
{
    *out = slice_none();
    return mp_peek(reader) == MP_NIL ? mp_get_nil(reader) : mp_get_bin(reader, out);
}

/* An id or nil. */
static void put_id(buf_t *out, const uuid_t *id)
{
    put_bytes(out, uuid_is_nil(id) ? slice_none() : slice_of(id->bytes, UUID_BYTES));
}

static bool get_id(mp_reader_t *reader, uuid_t *out)
{
    slice_t bytes;
    *out = UUID_NIL;
    if (!get_bytes(reader, &bytes) || (bytes.data != NULL && bytes.n_bytes != UUID_BYTES))
        return false;
    if (bytes.data != NULL)
        memcpy(out->bytes, bytes.data, UUID_BYTES);
    return true;
}

static void put_epoch(buf_t *out, const char epoch[EPOCH_CHARS])
{
    mp_put_str(out, slice_of(epoch, EPOCH_CHARS));
}

static bool get_epoch(mp_reader_t *reader, char out[EPOCH_CHARS])
{
    slice_t text;
    if (!mp_get_str(reader, &text) || text.n_bytes != EPOCH_CHARS)
        return false;
    memcpy(out, text.data, EPOCH_CHARS);
    return true;
}

/* The next value as an array of exactly so many items. */
static bool get_tuple(mp_reader_t *reader, uint32_t n_items)
{
    uint32_t n = 0;
    return mp_get_array(reader, &n) && n == n_items;
}

/* --- the envelope --- */

/* Begins a message of a kind with so many parts behind it. */
static void put_kind(buf_t *out, message_kind_t kind, size_t n_parts)
{
    mp_put_array(out, 1 + n_parts);
    mp_put_int(out, kind);
}

message_kind_t message_kind(slice_t bytes, mp_reader_t *content)
{
    *content = mp_reader(bytes);
    if (bytes.n_bytes > 0 && bytes.data[0] == MESSAGE_FRAMES_MARK) {
        content->at++;
        return MESSAGE_FRAMES;
    }
    uint32_t n_parts = 0;
    int64_t kind = 0;
    if (!mp_get_array(content, &n_parts) || !get_number(content, 0, MESSAGE_PURGED, &kind))
        return MESSAGE_UNKNOWN;
    return (message_kind_t)kind;
}

/* Reserves the header of an array and returns its place. */
static size_t open_array(buf_t *out)
{
    size_t place = out->n_bytes;
    static const uint8_t header[LONG_ARRAY_BYTES] = {0xdd};
    buf_append(out, header, sizeof header);
    return place;
}

static void close_array(buf_t *out, size_t place, size_t n_items)
{
    assert(n_items <= UINT32_MAX);
    uint8_t *header = out->data + place;
    for (int i = 1; i < LONG_ARRAY_BYTES; i++)
        header[i] = (uint8_t)(n_items >> 8 * (LONG_ARRAY_BYTES - 1 - i));
}

void batch_begin(batch_t *self, message_kind_t kind)
{
    if (self->buf.n_bytes > 0)
        return;
    put_kind(&self->buf, kind, 1);
    self->place = open_array(&self->buf);
}

void batch_finish(batch_t *self, message_t *out)
{
    assert(self->buf.n_bytes > 0);
    close_array(&self->buf, self->place, self->n_items);
    message_take(out, &self->buf);
    *self = (batch_t){0};
}

void batch_fini(batch_t *self)
{
    buf_fini(&self->buf);
    *self = (batch_t){0};
}

bool batch_open(mp_reader_t *content, uint32_t *n_items)
{
    return mp_get_array(content, n_items);
}

/* --- RESULTS --- */

#define RESULT_PARTS 13

static void put_problem(buf_t *out, const problem_t *problem)
{
    mp_put_cstr(out, err_code(problem->err));
    put_bytes(out, problem->detail);
    mp_put_array(out, 2 * problem->n_fields);
    for (size_t i = 0; i < problem->n_fields; i++) {
        mp_put_bin(out, problem->fields[i].pointer);
        mp_put_bin(out, problem->fields[i].detail);
    }
    put_bytes(out, problem->current);
}

void result_encode(const result_t *result, buf_t *out)
{
    const outcome_t *outcome = &result->outcome;
    mp_put_array(out, RESULT_PARTS);
    put_u64(out, result->tag);
    put_id(out, &result->command);
    mp_put_int(out, result->op);
    put_problem(out, &outcome->problem);
    mp_put_bool(out, outcome->is_replay);
    put_id(out, &outcome->stream);
    mp_put_int(out, outcome->rev);
    put_id(out, &outcome->task);
    put_id(out, &outcome->kept);
    put_bytes(out, outcome->body);
}

static bool get_err(mp_reader_t *reader, err_t *out)
{
    slice_t code;
    if (!mp_get_str(reader, &code))
        return false;
    for (int err = 0; err < ERR_COUNT; err++) {
        if (slice_is(code, err_code((err_t)err))) {
            *out = (err_t)err;
            return true;
        }
    }
    return false;
}

static bool get_fields(mp_reader_t *reader, problem_t *out)
{
    uint32_t n = 0;
    if (!mp_get_array(reader, &n) || n % 2 != 0 || n / 2 > LIMIT_PROBLEM_FIELDS)
        return false;
    for (size_t i = 0; i < n / 2; i++) {
        err_field_t *field = &out->fields[i];
        if (!mp_get_bin(reader, &field->pointer) || !mp_get_bin(reader, &field->detail))
            return false;
    }
    out->n_fields = n / 2;
    return true;
}

static bool get_problem(mp_reader_t *reader, problem_t *out)
{
    return get_err(reader, &out->err) && get_bytes(reader, &out->detail) &&
           get_fields(reader, out) && get_bytes(reader, &out->current);
}

static bool get_outcome(mp_reader_t *reader, outcome_t *out)
{
    return get_problem(reader, &out->problem) && mp_get_bool(reader, &out->is_replay) &&
           get_id(reader, &out->stream) && mp_get_int(reader, &out->rev) &&
           get_id(reader, &out->task) && get_id(reader, &out->kept) &&
           get_bytes(reader, &out->body);
}

bool result_decode(mp_reader_t *reader, result_t *out)
{
    *out = (result_t){0};
    int64_t op = 0;
    if (!get_tuple(reader, RESULT_PARTS) || !get_u64(reader, &out->tag) ||
        !get_id(reader, &out->command) || !get_number(reader, 0, OP_COUNT, &op))
        return false;
    out->op = (op_t)op;
    return get_outcome(reader, &out->outcome);
}

/* --- EVENTS --- */

/* Every actor reads every event: so they do not travel as values that are taken apart one by one,
 * but as what has a fixed size, then digest, trace and body. */
typedef struct {
    int64_t id;
    int64_t rev;
    int64_t at_us;
    uuid_t stream;
    uuid_t task;
    uuid_t command;
    uuid_t by;
    char epoch[EPOCH_CHARS];
    uint32_t n_digest; /* bytes; ABSENT: there is none */
    uint32_t n_trace;
    uint32_t n_body;
    int16_t stored_type;
    uint16_t shard;
} event_head_t;

#define ABSENT UINT32_MAX

void events_begin(batch_t *self, uint64_t seq)
{
    if (self->buf.n_bytes > 0)
        return;
    put_kind(&self->buf, MESSAGE_EVENTS, 2);
    put_u64(&self->buf, seq);
    self->place = open_array(&self->buf);
}

static uint32_t size_of(slice_t bytes)
{
    assert(bytes.n_bytes < ABSENT);
    return bytes.data == NULL ? ABSENT : (uint32_t)bytes.n_bytes;
}

void events_put(batch_t *self, const log_event_t *event)
{
    const event_head_t head = {
        .id = event->id,
        .rev = event->rev,
        .at_us = event->at_us,
        .stream = event->stream,
        .task = event->task,
        .command = event->command,
        .by = event->by,
        .n_digest = size_of(event->digest),
        .n_trace = size_of(event->trace),
        .n_body = size_of(event->body),
        .stored_type = event->stored_type,
        .shard = event->shard,
    };
    buf_t *out = &self->buf;
    size_t place = out->n_bytes;
    buf_append(out, &head, sizeof head);
    memcpy(out->data + place + offsetof(event_head_t, epoch), event->epoch, EPOCH_CHARS);
    buf_append_slice(out, event->digest);
    buf_append_slice(out, event->trace);
    buf_append_slice(out, event->body);
    self->n_items++;
}

bool events_open(mp_reader_t *content, uint64_t *seq, uint32_t *n_events)
{
    return get_u64(content, seq) && mp_get_array(content, n_events);
}

/* The next bytes, if so many are left. */
static bool take_bytes(mp_reader_t *reader, uint32_t n, slice_t *out)
{
    *out = slice_none();
    if (n == ABSENT)
        return true;
    if (n > (size_t)(reader->end - reader->at))
        return false;
    *out = slice_of(reader->at, n);
    reader->at += n;
    return true;
}

/* A type that this program does not know is followed for its rev, else skipped. */
bool events_next(mp_reader_t *content, log_event_t *out)
{
    event_head_t head;
    if ((size_t)(content->end - content->at) < sizeof head)
        return false;
    memcpy(&head, content->at, sizeof head);
    content->at += sizeof head;
    int16_t type = head.stored_type;
    *out = (log_event_t){
        .id = head.id,
        .shard = (uint8_t)head.shard,
        .stream = head.stream,
        .rev = head.rev,
        .type = type > 0 && type < EVENT_TYPE_COUNT ? (event_type_t)type : EVENT_UNKNOWN,
        .stored_type = type,
        .task = head.task,
        .command = head.command,
        .by = head.by,
        .at_us = head.at_us,
    };
    memcpy(out->epoch, head.epoch, EPOCH_CHARS);
    return head.shard < N_SHARDS && take_bytes(content, head.n_digest, &out->digest) &&
           take_bytes(content, head.n_trace, &out->trace) &&
           take_bytes(content, head.n_body, &out->body);
}

/* --- ACK --- */

#define REJECT_PARTS 4

void ack_encode(uint32_t actor, uint64_t seq, const reject_t *rejects, size_t n_rejects,
                message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_ACK, 3);
    mp_put_int(&buf, actor);
    put_u64(&buf, seq);
    mp_put_array(&buf, n_rejects);
    for (size_t i = 0; i < n_rejects; i++) {
        mp_put_array(&buf, REJECT_PARTS);
        mp_put_int(&buf, rejects[i].event_id);
        put_id(&buf, &rejects[i].stream);
        mp_put_int(&buf, rejects[i].rev);
        put_bytes(&buf, rejects[i].reason);
    }
    message_take(out, &buf);
}

bool ack_open(mp_reader_t *content, uint32_t *actor, uint64_t *seq, uint32_t *n_rejects)
{
    return get_u32(content, actor) && get_u64(content, seq) && mp_get_array(content, n_rejects);
}

bool ack_next(mp_reader_t *content, reject_t *out)
{
    *out = (reject_t){0};
    return get_tuple(content, REJECT_PARTS) && mp_get_int(content, &out->event_id) &&
           get_id(content, &out->stream) && mp_get_int(content, &out->rev) &&
           get_bytes(content, &out->reason);
}

/* --- TERM, LEAD --- */

void term_encode(bool is_on, const char epoch[EPOCH_CHARS], message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_TERM, 2);
    mp_put_bool(&buf, is_on);
    put_epoch(&buf, epoch);
    message_take(out, &buf);
}

bool term_decode(mp_reader_t *content, bool *is_on, char epoch[EPOCH_CHARS])
{
    return mp_get_bool(content, is_on) && get_epoch(content, epoch);
}

void lead_encode(bool is_leading, message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_LEAD, 1);
    mp_put_bool(&buf, is_leading);
    message_take(out, &buf);
}

bool lead_decode(mp_reader_t *content, bool *is_leading)
{
    return mp_get_bool(content, is_leading);
}

/* --- TAIL --- */

void tail_begin(batch_t *self)
{
    batch_begin(self, MESSAGE_TAIL);
}

void tail_put(batch_t *self, const log_event_t *event, int64_t before)
{
    mp_put_array(&self->buf, 2);
    mp_put_int(&self->buf, before);
    events_put(self, event);
}

bool tail_next(mp_reader_t *content, log_event_t *out, int64_t *before)
{
    return get_tuple(content, 2) && mp_get_int(content, before) && events_next(content, out);
}

/* --- WATCH, WATCHED --- */

void watch_encode(const watch_t *watch, message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_WATCH, 3);
    mp_put_int(&buf, watch->gateway);
    put_id(&buf, &watch->stream);
    mp_put_bool(&buf, watch->on);
    message_take(out, &buf);
}

bool watch_decode(mp_reader_t *content, watch_t *out)
{
    return get_u32(content, &out->gateway) && get_id(content, &out->stream) &&
           mp_get_bool(content, &out->on);
}

void watched_encode(const watched_t *watched, message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_WATCHED, 4);
    put_id(&buf, &watched->stream);
    put_epoch(&buf, watched->epoch);
    mp_put_int(&buf, watched->first);
    mp_put_int(&buf, watched->next);
    message_take(out, &buf);
}

bool watched_decode(mp_reader_t *content, watched_t *out)
{
    return get_id(content, &out->stream) && get_epoch(content, out->epoch) &&
           mp_get_int(content, &out->first) && mp_get_int(content, &out->next);
}

/* --- ACCESS --- */

void access_encode(const access_t *access, message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_ACCESS, 3);
    put_id(&buf, &access->account);
    put_id(&buf, &access->list);
    put_id(&buf, &access->token);
    message_take(out, &buf);
}

bool access_decode(mp_reader_t *content, access_t *out)
{
    return get_id(content, &out->account) && get_id(content, &out->list) &&
           get_id(content, &out->token);
}

/* --- EPOCH --- */

void epoch_encode(const char epoch[EPOCH_CHARS], message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_EPOCH, 1);
    put_epoch(&buf, epoch);
    message_take(out, &buf);
}

bool epoch_decode(mp_reader_t *content, char out[EPOCH_CHARS])
{
    return get_epoch(content, out);
}

/* --- PURGED --- */

void purged_encode(const uuid_t *stream, message_t *out)
{
    buf_t buf = {0};
    put_kind(&buf, MESSAGE_PURGED, 1);
    put_id(&buf, stream);
    message_take(out, &buf);
}

bool purged_decode(mp_reader_t *content, uuid_t *out)
{
    return get_id(content, out);
}
