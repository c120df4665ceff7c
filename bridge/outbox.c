/* SPDX-License-Identifier: Apache-2.0 */
/* A page is read, sent, waited for and marked; then comes the next one. What was not reported of as
 * delivered is not marked, and so is read again.
 *
 * A broker refuses a whole batch for one record in it. So after a refusal as many letters as the
 * page had go one at a time: who is refused alone is the one. */
#include "bridge/outbox.h"

#include <poll.h>
#include <stdlib.h>

#include "actors/eventlog.h"
#include "actors/log.h"
#include "bridge/dead_letter.h"
#include "bridge/kafka_producer.h"
#include "bridge/topics.h"

#define PAGE_LETTERS 64
#define PAGE_BYTES (4 * 1024 * 1024)
#define POLL_US INT64_C(1000000)
/* After something went wrong. */
#define RETRY_US INT64_C(5000000)
/* A producer that nobody needed for so long is closed. */
#define IDLE_US INT64_C(30000000)
#define REPORT_US INT64_C(250000)
#define END_US INT64_C(1000000)

/* The event's columns come first (eventlog.h). */
static const pg_stmt_t select_waiting = {
    "SELECT e.*, (SELECT max(p.id) FROM event p WHERE p.shard = e.shard AND p.id < e.id), d.id,"
    " d.actor, d.reason, d.attempts, d.topic, d.partition, d.record_offset, d.record_key, d.value,"
    " d.value_bytes, d.headers, d.stream, g.epoch, g.mac_key FROM log_epoch g CROSS JOIN"
    " (SELECT * FROM (SELECT l.*, sum(coalesce(octet_length(l.value), 0)) OVER (ORDER BY l.id)"
    " - coalesce(octet_length(l.value), 0) AS before FROM (SELECT * FROM dead_letter"
    " WHERE published IS NULL ORDER BY id LIMIT $1::bigint) l) w WHERE w.before < $2::bigint) d"
    " LEFT JOIN LATERAL (SELECT " EVENTLOG_COLUMNS " FROM event WHERE stream = d.stream"
    " AND rev = d.rev) e ON true ORDER BY d.id"};
/* Published, a row is for people: its beginning is enough. */
static const pg_stmt_t mark_published = {
    "UPDATE dead_letter d SET published = k.how,"
    " record_key = substring(d.record_key FOR $3::integer),"
    " value = substring(d.value FOR $4::integer)"
    " FROM unnest($1::bigint[], $2::text[]) AS k(id, how) WHERE d.id = k.id"};

enum {
    COL_BEFORE = EVENTLOG_N_COLUMNS,
    COL_ID,
    COL_ACTOR,
    COL_REASON,
    COL_ATTEMPTS,
    COL_TOPIC,
    COL_PARTITION,
    COL_OFFSET,
    COL_KEY,
    COL_VALUE,
    COL_VALUE_BYTES,
    COL_HEADERS,
    COL_STREAM,
    COL_EPOCH,
    COL_MAC_KEY
};

typedef enum { OUTBOX_IDLE, OUTBOX_READING, OUTBOX_SENDING, OUTBOX_MARKING } outbox_state_t;

typedef struct {
    int64_t id;
    const char *how; /* what it is to be marked with; NULL: it is not where it should be yet */
    bool is_open; /* given to the producer and not reported of */
} sent_t;

struct outbox {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    record_coder_t *coder;
    kafka_producer_t *producer; /* NULL: none now */
    outbox_state_t state;
    uint64_t n_terms;
    sent_t page[PAGE_LETTERS];
    int n_page;
    int n_rows; /* of the answer that it was made of */
    int n_single; /* so many go one at a time */
    int64_t bare_id; /* goes without its value */
    bool is_refused; /* one of the page was, or all for one */
    bool has_failed; /* for another reason */
    int64_t due_mono_us; /* the next page: not before */
    int64_t used_mono_us; /* the producer, last */
    int64_t broken_mono_us; /* since when it is; 0: it is not */
    log_once_t trouble;
    metric_t *published_total;
};

/* What an answer of the database belongs to. */
typedef struct {
    outbox_t *owner;
    uint64_t term;
} asked_t;

static asked_t *asked_new(outbox_t *self)
{
    asked_t *asked = malloc(sizeof *asked);
    if (asked == NULL)
        abort();
    *asked = (asked_t){self, self->n_terms};
    return asked;
}

/* Frees it. NULL: nobody waits for the answer any more. */
static outbox_t *owner_of(asked_t *asked)
{
    outbox_t *self = asked->term == asked->owner->n_terms ? asked->owner : NULL;
    free(asked);
    return self;
}

/* Begins again, at once or later. */
static void rest(outbox_t *self, int64_t pause_us)
{
    self->state = OUTBOX_IDLE;
    self->n_page = 0;
    self->due_mono_us = clock_now().mono_us + pause_us;
}

static void complain(outbox_t *self, const char *why)
{
    if (log_once(&self->trouble))
        log_line(LOG_WARN, "relay", "dead letters wait to get into their topic", "why=\"%s\"", why);
}

static void close_producer(outbox_t *self, int64_t deadline_mono_us)
{
    if (self->producer != NULL)
        actor_watch(self->actor, kafka_producer_fd(self->producer), 0, NULL, NULL);
    (void)kafka_producer_destroy(&self->producer, deadline_mono_us);
    self->broken_mono_us = 0;
}

/* --- records --- */

/* The texts of a letter, for as long as its record is made. */
typedef struct {
    buf_t bytes;
    dead_letter_text_t numbers;
    char topic[KAFKA_NAME_CHARS];
    char stream[UUID_TEXT_CHARS];
    record_t origin;
} scratch_t;

static const char *put_text(buf_t *bytes, slice_t text)
{
    const char *at = (const char *)bytes->data + bytes->n_bytes;
    buf_append_slice(bytes, text);
    buf_append_byte(bytes, '\0');
    return at;
}

static void add_headers(slice_t bytes, record_t *out)
{
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_headers, n_parts;
    if (bytes.data == NULL || !mp_get_array(&reader, &n_headers))
        return;
    for (uint32_t i = 0; i < n_headers; i++) {
        slice_t name, value = slice_none();
        if (!mp_get_array(&reader, &n_parts) || n_parts != 2 || !mp_get_bin(&reader, &name))
            return;
        if (mp_peek(&reader) == MP_NIL ? !mp_get_nil(&reader) : !mp_get_bin(&reader, &value))
            return;
        record_add(out, name, value);
    }
}

/* A record from Kafka, as it was. */
static void take_record(const pg_result_t *result, int row, scratch_t *scratch, dead_letter_t *out)
{
    slice_t value = pg_bytes(result, row, COL_VALUE);
    out->topic = put_text(&scratch->bytes, pg_bytes(result, row, COL_TOPIC));
    out->partition = (int32_t)pg_int(result, row, COL_PARTITION);
    out->offset = pg_int(result, row, COL_OFFSET);
    record_begin(&scratch->origin, pg_bytes(result, row, COL_KEY), value);
    add_headers(pg_bytes(result, row, COL_HEADERS), &scratch->origin);
    if (pg_int(result, row, COL_VALUE_BYTES) > (int64_t)value.n_bytes)
        out->value_bytes = pg_int(result, row, COL_VALUE_BYTES);
}

/* An event out of the log, as task-events has it, or would have it. */
static void take_event(outbox_t *self, const pg_result_t *result, int row, scratch_t *scratch,
                       dead_letter_t *out)
{
    log_event_t event;
    uuid_t id = pg_uuid(result, row, COL_STREAM);
    int32_t n = topics_partitions(self->network->topics, KAFKA_TASK_EVENTS);
    kafka_topic_name(self->network->config, kafka_topic_names[KAFKA_TASK_EVENTS], scratch->topic);
    out->topic = scratch->topic;
    out->partition = n > 0 ? (int32_t)shard_of(&id) % n : 0;
    out->offset = -1;
    if (eventlog_row(result, row, &event)) {
        record_of_event(self->coder, &event, pg_int(result, row, COL_BEFORE), &scratch->origin);
        return;
    }
    uuid_format(&id, scratch->stream);
    record_begin(&scratch->origin, slice_of(scratch->stream, UUID_TEXT_CHARS), slice_none());
}

/* Gives a letter to the producer. */
static err_t send_letter(outbox_t *self, const pg_result_t *result, int row, uint64_t tag)
{
    scratch_t scratch = {0};
    record_t record;
    dead_letter_t letter = {.record = &scratch.origin,
                            .attempts = (int32_t)pg_int(result, row, COL_ATTEMPTS)};
    slice_t actor = pg_bytes(result, row, COL_ACTOR), reason = pg_bytes(result, row, COL_REASON);
    int32_t n = topics_partitions(self->network->topics, KAFKA_DEAD_LETTER);
    /* All at once: what points into it must stay. */
    (void)buf_reserve(&scratch.bytes, actor.n_bytes + reason.n_bytes +
                                          pg_bytes(result, row, COL_TOPIC).n_bytes + 3);
    letter.actor = put_text(&scratch.bytes, actor);
    letter.reason = put_text(&scratch.bytes, reason);
    if (pg_is_null(result, row, COL_TOPIC))
        take_event(self, result, row, &scratch, &letter);
    else
        take_record(result, row, &scratch, &letter);
    if (pg_int(result, row, COL_ID) == self->bare_id) {
        if (letter.value_bytes == 0)
            letter.value_bytes = (int64_t)scratch.origin.value.n_bytes;
        scratch.origin.value = slice_none();
    }
    dead_letter_record(&letter, &scratch.numbers, &record);
    err_t err = kafka_producer_send(self->producer, KAFKA_DEAD_LETTER,
                                    n > 0 ? letter.partition % n : 0, &record, tag);
    buf_fini(&scratch.bytes);
    return err;
}

/* --- what became of it --- */

/* If it was alone it is what Kafka does not want. */
static void refuse(outbox_t *self, sent_t *sent, const char *why)
{
    self->is_refused = true;
    if (self->n_rows > 1) {
        self->n_single = self->n_rows;
    } else if (sent->id == self->bare_id) {
        sent->how = "refused";
        log_line(LOG_ERROR, "relay", "Kafka does not take a dead letter; it is in the table only",
                 "letter=%lld why=\"%s\"", (long long)sent->id, why);
    } else {
        self->bare_id = sent->id;
    }
}

static void on_delivered(void *arg, uint64_t tag, delivery_t fate, const char *why)
{
    outbox_t *self = arg;
    sent_t *sent = &self->page[tag];
    sent->is_open = false;
    switch (fate) {
    case DELIVERY_DONE:
        sent->how = sent->id == self->bare_id ? "cut" : "whole";
        return;
    case DELIVERY_REFUSED:
        refuse(self, sent, why);
        return;
    case DELIVERY_LOST:
        self->has_failed = true;
        complain(self, why);
        return;
    }
}

static bool is_all_reported(const outbox_t *self)
{
    int i = 0;
    while (i < self->n_page && !self->page[i].is_open)
        i++;
    return i == self->n_page;
}

/* --- the producer --- */

static void on_ready(void *arg, short events, now_t now)
{
    outbox_t *self = arg;
    (void)events;
    (void)now;
    if (self->producer != NULL)
        kafka_producer_serve(self->producer, on_delivered, self);
}

static bool open_producer(outbox_t *self)
{
    char why[KAFKA_ERROR_CHARS] = "";
    if (self->producer != NULL)
        return true;
    self->producer = kafka_producer_new(self->network->config, why, sizeof why);
    if (self->producer == NULL) {
        complain(self, why);
        return false;
    }
    self->used_mono_us = clock_now().mono_us;
    actor_watch(self->actor, kafka_producer_fd(self->producer), POLLIN, on_ready, self);
    return true;
}

/* Whether a broken producer has said all that it will. */
static bool is_at_end(outbox_t *self, now_t now)
{
    if (!kafka_producer_is_broken(self->producer, NULL))
        return false;
    if (self->broken_mono_us == 0)
        self->broken_mono_us = now.mono_us;
    return now.mono_us - self->broken_mono_us >= REPORT_US;
}

/* --- pages --- */

static void on_marked(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    outbox_t *self = owner_of(arg);
    (void)result;
    if (self == NULL)
        return;
    if (fate == PG_OK && !self->has_failed)
        (void)log_clear(&self->trouble);
    rest(self, fate == PG_OK && !self->has_failed ? 0 : RETRY_US);
}

/* Marks what is there, or given up. */
static void mark(outbox_t *self)
{
    pg_params_t params = {0};
    int n = 0;
    pg_array_begin(&params, PG_I64);
    for (int i = 0; i < self->n_page; i++) {
        if (self->page[i].how != NULL)
            pg_array_i64(&params, self->page[i].id);
    }
    pg_array_end(&params);
    pg_array_begin(&params, PG_TEXT);
    for (int i = 0; i < self->n_page; i++) {
        if (self->page[i].how != NULL)
            pg_array_text(&params, slice_str(self->page[i].how));
        n += self->page[i].how != NULL;
    }
    pg_array_end(&params);
    pg_put_i32(&params, DEAD_LETTER_MAX_KEY_BYTES);
    pg_put_i32(&params, DEAD_LETTER_MAX_VALUE_BYTES);
    asked_t *asked = n > 0 ? asked_new(self) : NULL;
    if (n == 0) {
        rest(self, self->has_failed ? RETRY_US : 0);
    } else if (pg_query(self->pg, &mark_published, &params, on_marked, asked) == ERR_OK) {
        self->state = OUTBOX_MARKING;
        metric_add(self->published_total, n);
        (void)pg_sync(self->pg);
    } else {
        free(asked);
        rest(self, RETRY_US);
    }
    pg_params_fini(&params);
}

static void send_row(outbox_t *self, const pg_result_t *result, int row)
{
    sent_t *sent = &self->page[self->n_page];
    *sent = (sent_t){.id = pg_int(result, row, COL_ID)};
    switch ((int)send_letter(self, result, row, (uint64_t)self->n_page)) {
    case ERR_OK:
        sent->is_open = true;
        break;
    case ERR_TOO_LARGE:
        refuse(self, sent, "too large");
        break;
    default:
        self->has_failed = true;
        complain(self, "the producer takes none");
        break;
    }
    self->n_page++;
}

static void send_page(outbox_t *self, const pg_result_t *result)
{
    self->n_rows = pg_rows(result) < PAGE_LETTERS ? pg_rows(result) : PAGE_LETTERS;
    self->state = OUTBOX_SENDING;
    self->is_refused = self->has_failed = false;
    self->used_mono_us = clock_now().mono_us;
    if (self->n_single > 0)
        self->n_single--;
    if (pg_int(result, 0, COL_ID) != self->bare_id)
        self->bare_id = 0; /* that one is done with, or gone */
    record_coder_key(self->coder, (const char *)pg_bytes(result, 0, COL_EPOCH).data,
                     pg_bytes(result, 0, COL_MAC_KEY));
    for (int row = 0; row < self->n_rows && !self->has_failed; row++)
        send_row(self, result, row);
}

static void on_page(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    outbox_t *self = owner_of(arg);
    if (self == NULL)
        return;
    if (fate == PG_OK && pg_rows(result) == 0)
        rest(self, POLL_US);
    else if (fate != PG_OK || pg_bytes(result, 0, COL_EPOCH).n_bytes != EPOCH_CHARS ||
             !open_producer(self))
        rest(self, RETRY_US);
    else
        send_page(self, result);
}

static void read_page(outbox_t *self)
{
    pg_params_t params = {0};
    if (!pg_is_ready(self->pg) || topics_partitions(self->network->topics, KAFKA_DEAD_LETTER) == 0)
        return;
    asked_t *asked = asked_new(self);
    bool is_single = self->n_single > 0 || self->bare_id != 0;
    pg_put_i64(&params, is_single ? 1 : PAGE_LETTERS);
    pg_put_i64(&params, PAGE_BYTES);
    if (pg_query(self->pg, &select_waiting, &params, on_page, asked) == ERR_OK)
        self->state = OUTBOX_READING;
    else
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- driving it --- */

static void drop(outbox_t *self)
{
    self->n_terms++;
    close_producer(self, 0);
    rest(self, 0);
}

static void mind_sending(outbox_t *self, now_t now)
{
    bool is_broken = is_at_end(self, now);
    if (!is_all_reported(self) && !is_broken)
        return;
    if (is_broken) {
        self->has_failed = self->has_failed && !self->is_refused;
        close_producer(self, 0);
    }
    mark(self);
}

int64_t outbox_turn(outbox_t *self, bool is_on, now_t now)
{
    if (!is_on) {
        if (self->state != OUTBOX_IDLE || self->producer != NULL)
            drop(self);
        return INT64_MAX;
    }
    if (self->producer != NULL)
        kafka_producer_serve(self->producer, on_delivered, self);
    if (self->state == OUTBOX_SENDING)
        mind_sending(self, now);
    if (self->state == OUTBOX_IDLE && self->producer != NULL &&
        (kafka_producer_is_broken(self->producer, NULL) ||
         now.mono_us - self->used_mono_us >= IDLE_US))
        close_producer(self, 0);
    if (self->state == OUTBOX_IDLE && now.mono_us >= self->due_mono_us)
        read_page(self);
    if (self->broken_mono_us != 0)
        return REPORT_US / 10;
    return self->state == OUTBOX_IDLE && self->due_mono_us > now.mono_us
               ? self->due_mono_us - now.mono_us
               : POLL_US;
}

outbox_t *outbox_new(network_t *network, actor_t *actor, pg_t *pg)
{
    outbox_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor;
    self->pg = pg;
    self->coder = record_coder_new(network->config->kafka_msgpack ? RECORD_MSGPACK : RECORD_JSON);
    self->published_total =
        metrics_counter(network->metrics, "taskwire_dead_letters_published_total", NULL,
                        "Dead letters that went to their topic, or that Kafka refused");
    return self;
}

void outbox_destroy(outbox_t **self_p)
{
    outbox_t *self = *self_p;
    if (self == NULL)
        return;
    close_producer(self, clock_now().mono_us + END_US);
    record_coder_destroy(&self->coder);
    free(self);
    *self_p = NULL;
}
