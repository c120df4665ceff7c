/* SPDX-License-Identifier: Apache-2.0 */
/* What is vouched for is laid out so that it can be divided in one way only: a word for the kind of
 * topic, the form of the value, the length of each part, then the parts, of the value its own MAC.
 * The keys are made of the database's, so that no other use of that one can be turned into records.
 *
 * The MAC is SipHash-2-4 with 128 bits: keyed BLAKE2b takes three times as long, which would be a
 * quarter of all that a record costs. Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast
 * short-input PRF".
 *
 * Reading believes nothing before the MAC but what it takes to find it: the form (by the rules of
 * CloudEvents), the headers of ours, and the epoch, which says whose key it is. */
#include "bridge/record.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "bridge/cloud_event.h"

#define MAC_BYTES crypto_shorthash_siphashx24_BYTES
#define MAC_CHARS (2 * MAC_BYTES)
#define KEY_BYTES crypto_shorthash_siphashx24_KEYBYTES
#define DIGEST_CHARS (2 * DIGEST_BYTES)
#define MAX_KEY_BYTES (2 * UUID_TEXT_CHARS + 1)
#define MAX_POSITION_CHARS (EPOCH_CHARS + 2 * 20 + 8)
#define DOMAIN_BYTES 16

static const char domain_event[DOMAIN_BYTES] = "taskwire event";
static const char domain_update[DOMAIN_BYTES] = "taskwire update";
static const char key_purpose[] = "taskwire record 1";

/* What a value is. The numbers are part of what is vouched for. */
typedef enum { FORM_NONE = 0, FORM_JSON = 1, FORM_MSGPACK = 2, FORM_UNKNOWN = 3 } form_t;

/* The headers that we look for, each of which may come once. */
typedef enum {
    HEADER_CONTENT_TYPE,
    HEADER_SPECVERSION,
    HEADER_POSITION,
    HEADER_DIGEST,
    HEADER_RELAY,
    HEADER_TRACEPARENT,
    HEADER_MAC,
    N_HEADERS
} header_t;

static const char *const header_names[N_HEADERS] = {
    RECORD_CONTENT_TYPE, "ce_specversion",   RECORD_POSITION, RECORD_DIGEST,
    RECORD_RELAY,        RECORD_TRACEPARENT, RECORD_MAC};

struct record_coder {
    record_encoding_t encoding;
    bool has_key;
    char epoch[EPOCH_CHARS];
    uint8_t keys[2][KEY_BYTES]; /* of the value, and of all */
    char (*past)[EPOCH_CHARS];
    size_t n_past;
    size_t header_chars[N_HEADERS];
    buf_t value; /* scratch of what goes out, and of the msgpack made of what came in */
    arena_t *arena;
    cloud_event_text_t text;
    char key_text[MAX_KEY_BYTES + 1];
    char position[MAX_POSITION_CHARS + 1];
    char digest[DIGEST_CHARS + 1];
    char mac[MAC_CHARS + 1];
    uint8_t digest_read[DIGEST_BYTES];
    uint8_t trace_read[TRACE_BYTES];
};

/* --- records --- */

void record_begin(record_t *self, slice_t key, slice_t value)
{
    self->key = key;
    self->value = value;
    self->n_headers = 0;
    self->has_more = false;
}

void record_add(record_t *self, slice_t name, slice_t value)
{
    if (self->n_headers == RECORD_MAX_HEADERS)
        self->has_more = true;
    else
        self->headers[self->n_headers++] = (record_header_t){name, value};
}

bool record_find(const record_t *self, const char *name, slice_t *out)
{
    for (size_t i = 0; i < self->n_headers; i++) {
        if (slice_is(self->headers[i].name, name)) {
            *out = self->headers[i].value;
            return true;
        }
    }
    return false;
}

/* --- the coder --- */

record_coder_t *record_coder_new(record_encoding_t encoding)
{
    record_coder_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->encoding = encoding;
    self->arena = arena_new();
    for (int i = 0; i < N_HEADERS; i++)
        self->header_chars[i] = strlen(header_names[i]);
    return self;
}

void record_coder_destroy(record_coder_t **self_p)
{
    record_coder_t *self = *self_p;
    if (self == NULL)
        return;
    buf_fini(&self->value);
    arena_destroy(&self->arena);
    sodium_memzero(self->keys, sizeof self->keys);
    free(self->past);
    free(self);
    *self_p = NULL;
}

void record_coder_key(record_coder_t *self, const char epoch[EPOCH_CHARS], slice_t mac_key)
{
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, sizeof self->keys);
    crypto_generichash_update(&hash, (const uint8_t *)key_purpose, sizeof key_purpose);
    crypto_generichash_update(&hash, mac_key.data, mac_key.n_bytes);
    crypto_generichash_final(&hash, self->keys[0], sizeof self->keys);
    memcpy(self->epoch, epoch, EPOCH_CHARS);
    self->has_key = true;
    self->n_past = 0;
}

void record_coder_past(record_coder_t *self, const char epoch[EPOCH_CHARS])
{
    char(*past)[EPOCH_CHARS] = realloc(self->past, (self->n_past + 1) * sizeof *past);
    if (past == NULL)
        abort();
    self->past = past;
    memcpy(past[self->n_past++], epoch, EPOCH_CHARS);
}

static bool is_past(const record_coder_t *self, const char epoch[EPOCH_CHARS])
{
    for (size_t i = 0; i < self->n_past; i++) {
        if (memcmp(self->past[i], epoch, EPOCH_CHARS) == 0)
            return true;
    }
    return false;
}

/* --- what is vouched for --- */

typedef struct {
    const char *domain; /* DOMAIN_BYTES */
    form_t form;
    slice_t key;
    slice_t position;
    slice_t digest;
    slice_t trace;
    slice_t relay;
    slice_t value; /* comes last; the others are small */
} vouched_t;

#define N_PARTS 6
#define MAX_SMALL_BYTES                                                                            \
    (DOMAIN_BYTES + 1 + N_PARTS * 4 + MAX_KEY_BYTES + MAX_POSITION_CHARS + DIGEST_CHARS +          \
     CLOUD_EVENT_TRACE_CHARS + RECORD_MAX_RELAY_BYTES + MAC_BYTES)

static uint8_t *put_length(uint8_t *at, slice_t part)
{
    uint32_t n = part.data == NULL ? UINT32_MAX : (uint32_t)part.n_bytes;
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(n >> 8 * i);
    return at;
}

static uint8_t *put_part(uint8_t *at, slice_t part)
{
    if (part.n_bytes > 0)
        memcpy(at, part.data, part.n_bytes);
    return at + part.n_bytes;
}

static void make_mac(const record_coder_t *self, const vouched_t *parts, uint8_t out[MAC_BYTES])
{
    uint8_t small[MAX_SMALL_BYTES];
    uint8_t *at = small;
    memcpy(at, parts->domain, DOMAIN_BYTES);
    at += DOMAIN_BYTES;
    *at++ = (uint8_t)parts->form;
    at = put_length(at, parts->key);
    at = put_length(at, parts->position);
    at = put_length(at, parts->digest);
    at = put_length(at, parts->trace);
    at = put_length(at, parts->relay);
    at = put_length(at, parts->value);
    at = put_part(at, parts->key);
    at = put_part(at, parts->position);
    at = put_part(at, parts->digest);
    at = put_part(at, parts->trace);
    at = put_part(at, parts->relay);
    crypto_shorthash_siphashx24(at, parts->value.data, parts->value.n_bytes, self->keys[0]);
    at += MAC_BYTES;
    crypto_shorthash_siphashx24(out, small, (unsigned long long)(at - small), self->keys[1]);
}

/* --- out --- */

static char *put_number(char *at, int64_t number)
{
    char digits[20];
    size_t n = sizeof digits;
    uint64_t rest = (uint64_t)number;
    do {
        digits[--n] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    memcpy(at, digits + n, sizeof digits - n);
    return at + sizeof digits - n;
}

static slice_t put_position(record_coder_t *self, const log_event_t *event, int64_t before)
{
    char *at = self->position;
    memcpy(at, self->epoch, EPOCH_CHARS);
    at += EPOCH_CHARS;
    *at++ = ':';
    at = put_number(at, event->shard);
    *at++ = ':';
    at = put_number(at, event->id);
    *at++ = ':';
    at = put_number(at, before);
    return slice_of(self->position, (size_t)(at - self->position));
}

/* Adds the headers that are ours to those of the CloudEvent. */
static void finish(record_coder_t *self, vouched_t *parts, record_t *out)
{
    uint8_t mac[MAC_BYTES];
    parts->key = out->key;
    parts->value = out->value;
    make_mac(self, parts, mac);
    sodium_bin2hex(self->mac, sizeof self->mac, mac, MAC_BYTES);
    record_add(out, slice_str(RECORD_POSITION), parts->position);
    record_add(out, slice_str(RECORD_DIGEST), parts->digest);
    if (parts->relay.data != NULL)
        record_add(out, slice_str(RECORD_RELAY), parts->relay);
    if (parts->trace.data != NULL) {
        record_add(out, slice_str(RECORD_TRACEPARENT), parts->trace);
        record_add(out, slice_str(RECORD_TRACEID), parts->trace);
    }
    record_add(out, slice_str(RECORD_MAC), slice_of(self->mac, MAC_CHARS));
}

/* The value as JSON; without data if that is too much for a record or JSON cannot say it. */
static slice_t put_json(record_coder_t *self, const cloud_event_t *cloud, slice_t data)
{
    buf_reset(&self->value);
    bool is_put = cloud_event_put_json(cloud, data, &self->value);
    if (!is_put || self->value.n_bytes > RECORD_MAX_VALUE_BYTES) {
        buf_reset(&self->value);
        (void)cloud_event_put_json(cloud, slice_none(), &self->value);
    }
    return buf_slice(&self->value);
}

/* Nothing as a value: null would be a tombstone. */
static slice_t put_msgpack(slice_t data)
{
    return data.data == NULL || data.n_bytes > RECORD_MAX_VALUE_BYTES ? slice_str("") : data;
}

static form_t put_value(record_coder_t *self, const cloud_event_t *cloud, slice_t data,
                        record_t *out)
{
    bool is_json = self->encoding == RECORD_JSON;
    out->value = is_json ? put_json(self, cloud, data) : put_msgpack(data);
    record_add(out, slice_str(RECORD_CONTENT_TYPE),
               slice_str(is_json ? CLOUD_EVENT_JSON : CLOUD_EVENT_MSGPACK));
    if (!is_json)
        cloud_event_put_headers(cloud, out);
    return is_json ? FORM_JSON : FORM_MSGPACK;
}

static vouched_t vouch_for(record_coder_t *self, const log_event_t *event, int64_t before,
                           const char *domain, slice_t trace)
{
    assert(self->has_key);
    assert(event->digest.n_bytes == DIGEST_BYTES);
    sodium_bin2hex(self->digest, sizeof self->digest, event->digest.data, DIGEST_BYTES);
    return (vouched_t){
        .domain = domain,
        .form = FORM_NONE,
        .position = put_position(self, event, before),
        .digest = slice_of(self->digest, DIGEST_CHARS),
        .trace = trace,
    };
}

void record_of_event(record_coder_t *self, const log_event_t *event, int64_t before, record_t *out)
{
    cloud_event_t cloud;
    cloud_event_of(event, NULL, &self->text, &cloud);
    record_begin(out, cloud.partition_key, slice_none());
    vouched_t parts = vouch_for(self, event, before, domain_event, cloud.trace);
    parts.form = put_value(self, &cloud, event->body, out);
    finish(self, &parts, out);
}

void record_of_task(record_coder_t *self, const log_event_t *event, int64_t before,
                    const uuid_t *task, slice_t body, slice_t relay, record_t *out)
{
    cloud_event_t cloud;
    assert(relay.data != NULL && relay.n_bytes <= RECORD_MAX_RELAY_BYTES);
    cloud_event_of(event, task, &self->text, &cloud);
    memcpy(self->key_text, cloud.partition_key.data, UUID_TEXT_CHARS);
    self->key_text[UUID_TEXT_CHARS] = '/';
    uuid_format(task, self->key_text + UUID_TEXT_CHARS + 1);
    record_begin(out, slice_of(self->key_text, MAX_KEY_BYTES), slice_none());
    vouched_t parts = vouch_for(self, event, before, domain_update, cloud.trace);
    parts.relay = relay;
    if (body.data != NULL)
        parts.form = put_value(self, &cloud, body, out);
    finish(self, &parts, out);
}

/* The task as the event left it, absent if it is gone; false if that cannot be told by the event.
 * Of one that was deleted before it is still told that it has its successor. */
static bool find_after(const log_event_t *event, slice_t *out)
{
    event_t decoded;
    slice_t deleted_at = slice_none();
    *out = slice_none();
    if (event->type == EVENT_TASK_DELETED || event->type == EVENT_TASK_MOVED_OUT)
        return true;
    if (event->body.data == NULL || !event_decode(event->body, &decoded) ||
        decoded.after.data == NULL)
        return false;
    bool has_it = mp_map_find(decoded.after, "deleted_at", &deleted_at);
    mp_reader_t value = mp_reader(deleted_at);
    if (!has_it || mp_get_nil(&value))
        *out = decoded.after;
    return true;
}

static record_update_t update_of(const log_event_t *event)
{
    switch (event->type) {
    case EVENT_TASK_CREATED:
    case EVENT_TASK_UPDATED:
    case EVENT_TASK_COMPLETED:
    case EVENT_TASK_CANCELLED:
    case EVENT_TASK_REOPENED:
    case EVENT_TASK_DELETED:
    case EVENT_TASK_RESTORED:
    case EVENT_TASK_MOVED_OUT:
    case EVENT_TASK_MOVED_IN:
    case EVENT_TASK_SNOOZED:
        return UPDATE_TASK;
    case EVENT_LIST_DELETED:
    case EVENT_LIST_RESTORED:
        return UPDATE_READ_LIST;
    case EVENT_UNKNOWN:
        return uuid_is_nil(&event->task) ? UPDATE_NONE : UPDATE_READ_TASK;
    case EVENT_REMINDER_DUE:
    case EVENT_REMINDER_DISMISSED:
    case EVENT_LIST_CREATED:
    case EVENT_LIST_UPDATED:
    case EVENT_MEMBER_ADDED:
    case EVENT_MEMBER_CHANGED:
    case EVENT_MEMBER_REMOVED:
    case EVENT_ACCOUNT_CREATED:
    case EVENT_ACCOUNT_UPDATED:
    case EVENT_TOKEN_CREATED:
    case EVENT_TOKEN_DELETED:
    case EVENT_LIST_JOINED:
    case EVENT_LIST_LEFT:
    case EVENT_ACCOUNT_DELETED:
    case EVENT_TYPE_COUNT:
        break;
    }
    return UPDATE_NONE;
}

record_update_t record_of_update(record_coder_t *self, const log_event_t *event, int64_t before,
                                 slice_t relay, record_t *out)
{
    record_update_t update = update_of(event);
    slice_t after = slice_none();
    if (update != UPDATE_TASK)
        return update;
    if (!find_after(event, &after))
        return UPDATE_READ_TASK;
    record_of_task(self, event, before, &event->task, after, relay, out);
    return UPDATE_TASK;
}

/* --- in --- */

typedef struct {
    slice_t of[N_HEADERS]; /* absent: not there */
} headers_t;

/* False: one of them stands there twice, so that two readers might believe different ones. */
static bool find_headers(const record_coder_t *self, const record_t *record, headers_t *out)
{
    *out = (headers_t){0};
    for (size_t i = 0; i < record->n_headers; i++) {
        const record_header_t *header = &record->headers[i];
        for (int k = 0; k < N_HEADERS; k++) {
            if (header->name.n_bytes != self->header_chars[k] ||
                memcmp(header->name.data, header_names[k], header->name.n_bytes) != 0)
                continue;
            if (out->of[k].data != NULL)
                return false;
            out->of[k] = header->value.data != NULL ? header->value : slice_str("");
        }
    }
    return true;
}

/* By the rules of CloudEvents' Kafka binding, and as Dapr writes: a structured value without any
 * header. */
static form_t form_of(const headers_t *headers, slice_t value)
{
    slice_t type = headers->of[HEADER_CONTENT_TYPE];
    if (value.data == NULL)
        return FORM_NONE;
    if (cloud_event_is_structured(type))
        return FORM_JSON;
    if (slice_is(type, CLOUD_EVENT_MSGPACK))
        return FORM_MSGPACK;
    if (headers->of[HEADER_SPECVERSION].data != NULL)
        return FORM_UNKNOWN; /* binary, of a type that we never write */
    return value.n_bytes > 0 && value.data[0] == '{' ? FORM_JSON : FORM_UNKNOWN;
}

static bool take_number(slice_t *text, int64_t *out)
{
    int64_t number = 0;
    size_t n = 0;
    while (n < text->n_bytes && text->data[n] >= '0' && text->data[n] <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text->data[n] - '0', &number))
            return false;
        n++;
    }
    if (n == 0 || (n > 1 && text->data[0] == '0'))
        return false;
    *text = slice_of(text->data + n, text->n_bytes - n);
    *out = number;
    return true;
}

static bool take_colon(slice_t *text)
{
    if (text->n_bytes == 0 || text->data[0] != ':')
        return false;
    *text = slice_of(text->data + 1, text->n_bytes - 1);
    return true;
}

static bool read_position(slice_t text, record_position_t *out)
{
    int64_t shard = 0;
    if (text.n_bytes < EPOCH_CHARS || text.n_bytes > MAX_POSITION_CHARS)
        return false;
    memcpy(out->epoch, text.data, EPOCH_CHARS);
    text = slice_of(text.data + EPOCH_CHARS, text.n_bytes - EPOCH_CHARS);
    if (!take_colon(&text) || !take_number(&text, &shard) || shard >= N_SHARDS ||
        !take_colon(&text) || !take_number(&text, &out->id) || !take_colon(&text) ||
        !take_number(&text, &out->before))
        return false;
    out->shard = (uint8_t)shard;
    return text.n_bytes == 0 && out->before < out->id;
}

/* The value of a lower case digit; `*wrong` tells of any other character. */
static uint8_t digit_of(uint8_t c, unsigned *wrong)
{
    *wrong |= (unsigned)((uint8_t)(c - '0') > 9) & (unsigned)((uint8_t)(c - 'a') > 5);
    return (uint8_t)((c & 15) + 9 * (c >> 6));
}

/* Exactly so many bytes as lower case digits, which is how we write them. Without a branch per
 * character: every record has a hundred of them. */
static bool read_hex(slice_t text, uint8_t *out, size_t n_bytes)
{
    unsigned wrong = 0;
    if (text.n_bytes != 2 * n_bytes)
        return false;
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t high = digit_of(text.data[2 * i], &wrong);
        uint8_t low = digit_of(text.data[2 * i + 1], &wrong);
        out[i] = (uint8_t)(high << 4 | low);
    }
    return wrong == 0;
}

static slice_t read_trace(slice_t text, uint8_t out[TRACE_BYTES])
{
    if (text.n_bytes != CLOUD_EVENT_TRACE_CHARS || memcmp(text.data, "00-", 3) != 0 ||
        text.data[35] != '-' || text.data[52] != '-' ||
        !read_hex(slice_of(text.data + 3, 32), out, 16) ||
        !read_hex(slice_of(text.data + 36, 16), out + 16, 8) ||
        !read_hex(slice_of(text.data + 53, 2), out + 24, 1))
        return slice_none();
    return slice_of(out, TRACE_BYTES);
}

static record_verdict_t poison(const char **why, const char *words)
{
    *why = words;
    return RECORD_POISON;
}

/* Whose it is, before it is known whether it is theirs. RECORD_PLACE: this epoch's. */
static record_verdict_t check_epoch(const record_coder_t *self, const record_position_t *place)
{
    if (self->has_key && memcmp(place->epoch, self->epoch, EPOCH_CHARS) == 0)
        return RECORD_PLACE;
    return is_past(self, place->epoch) ? RECORD_STALE : RECORD_STRANGE;
}

static bool is_authentic(const record_coder_t *self, const record_t *record, const char *domain,
                         form_t form, const headers_t *headers)
{
    uint8_t mac[MAC_BYTES];
    uint8_t right[MAC_BYTES];
    const vouched_t parts = {
        .domain = domain,
        .form = form,
        .key = record->key,
        .position = headers->of[HEADER_POSITION],
        .digest = headers->of[HEADER_DIGEST],
        .trace = headers->of[HEADER_TRACEPARENT],
        .relay = headers->of[HEADER_RELAY],
        .value = record->value,
    };
    /* Longer ones are not ours, and there is no room for them in what is vouched for. */
    if (parts.key.n_bytes > MAX_KEY_BYTES || parts.digest.n_bytes != DIGEST_CHARS ||
        parts.trace.n_bytes > CLOUD_EVENT_TRACE_CHARS ||
        parts.relay.n_bytes > RECORD_MAX_RELAY_BYTES || parts.value.n_bytes >= UINT32_MAX ||
        !read_hex(headers->of[HEADER_MAC], mac, MAC_BYTES))
        return false;
    make_mac(self, &parts, right);
    return sodium_memcmp(mac, right, MAC_BYTES) == 0;
}

/* RECORD_PLACE: it is ours, and of this epoch. */
static record_verdict_t authenticate(const record_coder_t *self, const record_t *record,
                                     const char *domain, headers_t *headers, form_t *form,
                                     record_position_t *place, const char **why)
{
    if (!find_headers(self, record, headers))
        return poison(why, "a header of taskwire stands there twice");
    if (record->has_more)
        return poison(why, "more headers than taskwire writes");
    *form = form_of(headers, record->value);
    if (*form == FORM_UNKNOWN)
        return poison(why, "neither a CloudEvent in JSON nor msgpack of taskwire");
    if (headers->of[HEADER_MAC].data == NULL)
        return poison(why, "no header taskwire-mac");
    if (!read_position(headers->of[HEADER_POSITION], place))
        return poison(why, "no header taskwire-position that says a place in the log");
    record_verdict_t whose = check_epoch(self, place);
    if (whose != RECORD_PLACE)
        return whose;
    if (is_authentic(self, record, domain, *form, headers))
        return RECORD_PLACE;
    *why = "taskwire-mac does not vouch for it";
    return RECORD_FORGED;
}

/* The event as the log has it; false: the record has none that can be used. What it holds behind
 * its head is as the writer wrote it, which the MAC says: it is not looked at. */
static bool read_event(record_coder_t *self, const record_t *record, slice_t body,
                       const headers_t *headers, const record_position_t *place, log_event_t *out)
{
    event_t event;
    char stream[UUID_TEXT_CHARS];
    if (!event_decode_head(body, &event) || event.type == EVENT_UNKNOWN ||
        !read_hex(headers->of[HEADER_DIGEST], self->digest_read, DIGEST_BYTES))
        return false;
    uuid_format(&event.stream, stream);
    if (!slice_eq(record->key, slice_of(stream, sizeof stream)) ||
        shard_of(&event.stream) != place->shard)
        return false;
    *out = (log_event_t){
        .id = place->id,
        .shard = place->shard,
        .stream = event.stream,
        .rev = event.rev,
        .type = event.type,
        .stored_type = (int16_t)event.type,
        .task = event.task,
        .command = event.command,
        .by = event.by,
        .at_us = event.at_us,
        .digest = slice_of(self->digest_read, DIGEST_BYTES),
        .body = body,
        .trace = read_trace(headers->of[HEADER_TRACEPARENT], self->trace_read),
    };
    memcpy(out->epoch, event.epoch, EPOCH_CHARS);
    return true;
}

record_verdict_t record_read(record_coder_t *self, const record_t *record, record_position_t *place,
                             log_event_t *event, const char **why)
{
    headers_t headers;
    form_t form;
    slice_t body = record->value;
    record_verdict_t verdict =
        authenticate(self, record, domain_event, &headers, &form, place, why);
    if (verdict != RECORD_PLACE)
        return verdict;
    if (form == FORM_JSON && !cloud_event_read_own(body, &self->value, self->arena, &body))
        return RECORD_PLACE;
    if (body.n_bytes == 0 || !read_event(self, record, body, &headers, place, event))
        return RECORD_PLACE;
    return RECORD_EVENT;
}

record_verdict_t record_read_update(record_coder_t *self, const record_t *record,
                                    record_position_t *place, slice_t *relay, const char **why)
{
    headers_t headers;
    form_t form;
    record_verdict_t verdict =
        authenticate(self, record, domain_update, &headers, &form, place, why);
    if (verdict == RECORD_PLACE)
        *relay = headers.of[HEADER_RELAY];
    return verdict;
}
