/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes are put together by hand and appended as they are: none of them holds anything
 * that JSON would escape, and each record passes through here, often twice. `data` comes last, so
 * that the attributes can be read without it. */
#include "bridge/cloud_event.h"

#include <sodium.h>
#include <strings.h>

#include "schema/instant.h"
#include "schema/json.h"

#define STRUCTURED "application/cloudevents"
#define SPECVERSION "1.0"
#define DATA_TYPE "application/json"
#define DATA_BEGINS ",\"datacontenttype\":\"" DATA_TYPE "\",\"data\":"

#define TYPE_PREFIX "taskwire.v1."
#define TYPE_NAME(id, name) TYPE_PREFIX name,
static const char *const type_names[EVENT_TYPE_COUNT] = {TYPE_PREFIX "unknown",
                                                         EVENT_TYPE_LIST(TYPE_NAME)};
#undef TYPE_NAME

static char *put_uuid(char *at, const uuid_t *id)
{
    uuid_format(id, at);
    return at + UUID_TEXT_CHARS;
}

static char *put_number(char *at, int64_t number)
{
    char digits[20];
    size_t n = sizeof digits;
    uint64_t rest = number < 0 ? 0 : (uint64_t)number;
    do {
        digits[--n] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    memcpy(at, digits + n, sizeof digits - n);
    return at + sizeof digits - n;
}

static slice_t up_to(const char *start, const char *end)
{
    return slice_of(start, (size_t)(end - start));
}

static slice_t put_trace(slice_t trace, char *text)
{
    if (trace.n_bytes != TRACE_BYTES)
        return slice_none();
    memcpy(text, "00-", 3);
    sodium_bin2hex(text + 3, 33, trace.data, 16);
    text[35] = '-';
    sodium_bin2hex(text + 36, 17, trace.data + 16, 8);
    text[52] = '-';
    sodium_bin2hex(text + 53, 3, trace.data + 24, 1);
    return slice_of(text, CLOUD_EVENT_TRACE_CHARS);
}

static bool is_plain(slice_t text)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = text.data[i];
        if ((c < 'a' || c > 'z') && c != '.' && c != '_')
            return false;
    }
    return text.n_bytes > 0;
}

/* A type of a newer program is told by the event alone. */
static slice_t type_of(const log_event_t *event, cloud_event_text_t *text)
{
    const size_t n_prefix = sizeof TYPE_PREFIX - 1;
    slice_t value, name;
    if (event->type != EVENT_UNKNOWN || event->body.data == NULL ||
        !mp_map_find(event->body, "type", &value))
        return slice_str(type_names[event->type]);
    mp_reader_t reader = mp_reader(value);
    if (!mp_get_str(&reader, &name) || name.n_bytes > sizeof text->type - n_prefix ||
        !is_plain(name))
        return slice_str(type_names[EVENT_UNKNOWN]);
    memcpy(text->type, TYPE_PREFIX, n_prefix);
    memcpy(text->type + n_prefix, name.data, name.n_bytes);
    return slice_of(text->type, n_prefix + name.n_bytes);
}

void cloud_event_of(const log_event_t *event, const uuid_t *task, cloud_event_text_t *text,
                    cloud_event_t *out)
{
    static const char source[] = "taskwire/";
    const uuid_t *about = task != NULL ? task : &event->task;
    char *at = put_uuid(text->partition_key, &event->stream);
    out->partition_key = up_to(text->partition_key, at);
    out->sequence = up_to(text->sequence, put_number(text->sequence, event->rev));
    at = put_uuid(text->subject, uuid_is_nil(about) ? &event->stream : about);
    out->subject = up_to(text->subject, at);
    memcpy(text->id, text->partition_key, UUID_TEXT_CHARS);
    at = text->id + UUID_TEXT_CHARS;
    *at++ = '/';
    at = put_number(at, event->rev);
    if (task != NULL) {
        *at++ = '/';
        at = put_uuid(at, task);
    }
    out->id = up_to(text->id, at);
    memcpy(text->source, source, sizeof source - 1);
    memcpy(text->source + sizeof source - 1, event->epoch, EPOCH_CHARS);
    out->source = slice_of(text->source, sizeof source - 1 + EPOCH_CHARS);
    out->type = type_of(event, text);
    out->time = slice_of(text->time, instant_format(event->at_us, text->time));
    out->trace = put_trace(event->trace, text->trace);
}

/* --- out --- */

/* Whether JSON brings the value back as it is: bytes would become text, and an integer or a length
 * would be written in the shortest form. What else JSON cannot say json_from_mp refuses, or is
 * refused when it is read. */
static bool comes_back(slice_t data)
{
    mp_reader_t reader = mp_reader(data);
    mp_item_t item;
    while (mp_next(&reader, &item)) {
        if (!item.is_shortest || item.type == MP_BIN)
            return false;
    }
    return !reader.is_wrong;
}

#define PUT(out, text) buf_append(out, text, sizeof(text) - 1)

static void put_attributes(const cloud_event_t *self, buf_t *out)
{
    PUT(out, "{\"specversion\":\"" SPECVERSION "\",\"id\":\"");
    buf_append_slice(out, self->id);
    PUT(out, "\",\"source\":\"");
    buf_append_slice(out, self->source);
    PUT(out, "\",\"type\":\"");
    buf_append_slice(out, self->type);
    PUT(out, "\",\"subject\":\"");
    buf_append_slice(out, self->subject);
    PUT(out, "\",\"time\":\"");
    buf_append_slice(out, self->time);
    PUT(out, "\",\"partitionkey\":\"");
    buf_append_slice(out, self->partition_key);
    PUT(out, "\",\"sequence\":\"");
    buf_append_slice(out, self->sequence);
    if (self->trace.data != NULL) {
        PUT(out, "\",\"traceparent\":\"");
        buf_append_slice(out, self->trace);
        PUT(out, "\",\"traceid\":\"");
        buf_append_slice(out, self->trace);
    }
    PUT(out, "\"");
}

bool cloud_event_put_json(const cloud_event_t *self, slice_t data, buf_t *out)
{
    size_t start = out->n_bytes;
    put_attributes(self, out);
    if (data.data != NULL) {
        PUT(out, DATA_BEGINS);
        if (!comes_back(data) || !json_from_mp(data, out)) {
            out->n_bytes = start;
            return false;
        }
    }
    PUT(out, "}");
    return true;
}

void cloud_event_put_headers(const cloud_event_t *self, record_t *out)
{
    record_add(out, slice_str("ce_specversion"), slice_str(SPECVERSION));
    record_add(out, slice_str("ce_id"), self->id);
    record_add(out, slice_str("ce_source"), self->source);
    record_add(out, slice_str("ce_type"), self->type);
    record_add(out, slice_str("ce_subject"), self->subject);
    record_add(out, slice_str("ce_time"), self->time);
    record_add(out, slice_str("ce_partitionkey"), self->partition_key);
    record_add(out, slice_str("ce_sequence"), self->sequence);
    if (self->trace.data == NULL)
        return;
    record_add(out, slice_str("ce_traceparent"), self->trace);
    record_add(out, slice_str("ce_traceid"), self->trace);
}

/* --- in --- */

bool cloud_event_is_structured(slice_t content_type)
{
    size_t n = sizeof STRUCTURED - 1;
    return content_type.n_bytes >= n &&
           strncasecmp((const char *)content_type.data, STRUCTURED, n) == 0;
}

/* Of the required attributes, bit by bit. */
enum { HAS_VERSION = 1, HAS_ID = 2, HAS_SOURCE = 4, HAS_TYPE = 8, HAS_ALL = 15 };

static unsigned required(slice_t name, slice_t value)
{
    mp_reader_t reader = mp_reader(value);
    slice_t text;
    if (!mp_get_str(&reader, &text) || text.n_bytes == 0)
        return 0;
    if (slice_is(name, "specversion"))
        return text.n_bytes > 1 && memcmp(text.data, "1.", 2) == 0 ? HAS_VERSION : 0;
    return slice_is(name, "id")       ? HAS_ID
           : slice_is(name, "source") ? HAS_SOURCE
           : slice_is(name, "type")   ? HAS_TYPE
                                      : 0;
}

/* The data of a value that we wrote, without looking at the rest of it: attributes hold no quotes,
 * so the first such words are those before the data, which come last. */
static slice_t find_own_data(slice_t json)
{
    static const char begin[] = DATA_BEGINS;
    const size_t n = sizeof begin - 1;
    const uint8_t *found = memmem(json.data, json.n_bytes, begin, n);
    if (found == NULL || json.data[json.n_bytes - 1] != '}')
        return slice_none();
    return slice_of(found + n, (size_t)(json.data + json.n_bytes - 1 - (found + n)));
}

bool cloud_event_read_own(slice_t json, buf_t *scratch, arena_t *arena, slice_t *data)
{
    problem_t problem = {0};
    slice_t text = json.n_bytes == 0 ? slice_none() : find_own_data(json);
    buf_reset(scratch);
    arena_reset(arena);
    if (text.data == NULL || json_to_mp(text, scratch, arena, &problem) != ERR_OK)
        return cloud_event_read_json(json, scratch, arena, data);
    *data = buf_slice(scratch);
    return true;
}

bool cloud_event_read_json(slice_t json, buf_t *scratch, arena_t *arena, slice_t *data)
{
    problem_t problem = {0};
    uint32_t n_pairs;
    unsigned has = 0;
    *data = slice_none();
    buf_reset(scratch);
    arena_reset(arena);
    if (json_to_mp(json, scratch, arena, &problem) != ERR_OK)
        return false;
    mp_reader_t reader = mp_reader(buf_slice(scratch));
    if (!mp_get_map(&reader, &n_pairs))
        return false;
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t name, value;
        if (!mp_get_str(&reader, &name) || !mp_get_raw(&reader, &value))
            return false;
        if (slice_is(name, "data"))
            *data = value;
        else
            has |= required(name, value);
    }
    return has == HAS_ALL;
}
