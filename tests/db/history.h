/* SPDX-License-Identifier: Apache-2.0 */
/* A log to be audited: streams with events as the writer stores them, and what a superuser may do
 * to them afterwards. For test_audit.c and test_verify.c. */
#ifndef TASKWIRE_TEST_HISTORY_H
#define TASKWIRE_TEST_HISTORY_H

#include "tests/db/database.h"

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/audit_batch.h"
#include "actors/eventlog.h"
#include "actors/migrate.h"
#include "schema/event.h"

#define H_EPOCH "0123456789abcdef"

/* In which the chain is made. */
static const char *h_epoch = H_EPOCH;
#define H_START_US (INT64_C(20600) * US_PER_DAY)

static database_t database;
static pg_t *pg;
static char data_dir[64];
static network_t lone_network; /* of nobody else */

static inline void h_make_dir(void)
{
    snprintf(data_dir, sizeof data_dir, "/tmp/taskwire-audit-XXXXXX");
    assert_non_null(mkdtemp(data_dir));
}

static inline void h_empty_dir(void)
{
    DIR *dir = opendir(data_dir);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL)
        closedir(dir);
}

static inline void h_begin(const char *word)
{
    char error[400];
    database_create(&database, word);
    assert_int_equal(migrate_run(database.url, INT64_MAX, error, sizeof error), MIGRATE_OK);
    script(database.url, "UPDATE log_epoch SET epoch = '" H_EPOCH "'");
    pg = connect_to(database.url, "-c enable_seqscan=off -c jit=off");
    script(database.url, "UPDATE log_epoch SET epoch = '" H_EPOCH "'");
    h_make_dir();
}

static inline void h_end(void)
{
    pg_destroy(&pg);
    database_drop(&database);
    h_empty_dir();
    rmdir(data_dir);
}

/* --- streams --- */

static inline uuid_t h_stream(int number)
{
    uuid_t id = UUID_NIL;
    id.bytes[0] = 7;
    id.bytes[12] = (uint8_t)(number >> 16);
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

/* As SQL writes it. A few at a time. */
static inline const char *h_text(const uuid_t *id)
{
    static char texts[8][UUID_TEXT_CHARS + 1];
    static size_t next;
    char *text = texts[next++ % 8];
    uuid_format(id, text);
    text[UUID_TEXT_CHARS] = '\0';
    return text;
}

static const pg_stmt_t h_insert_event = {
    "INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, "
    "salt, body) VALUES"
    " ($1::smallint, $2::uuid, $3::bigint, $4::smallint, $5::uuid, $6::uuid, $7::uuid, true, "
    "$8::timestamptz, $9::text,"
    " $10::bytea, $11::bytea, $12::bytea)"};
static const pg_stmt_t h_upsert_stream = {
    "INSERT INTO stream (id, shard, is_account, head, tail, n_open) VALUES ($1::uuid, "
    "$2::smallint, false, $3::bigint,"
    " '', 0) ON CONFLICT (id) DO UPDATE SET head = excluded.head"};

static inline event_t h_event(const uuid_t *stream, int64_t rev)
{
    event_t event = {.stream = *stream,
                     .rev = rev,
                     .type = EVENT_TASK_UPDATED,
                     .task = h_stream((int)rev + 1),
                     .by = h_stream(77),
                     .command = uuid_v7(H_START_US),
                     .at_us = H_START_US + rev};
    memcpy(event.epoch, H_EPOCH, EPOCH_CHARS);
    return event;
}

/* Queues a row; `stored_type` may be another than the body's. */
static inline void h_put_event(const event_t *event, slice_t body, int16_t stored_type)
{
    uint8_t salt[SALT_BYTES];
    uint8_t digest[DIGEST_BYTES];
    pg_params_t params = {0};
    randombytes_buf(salt, sizeof salt);
    event_digest(body, salt, digest);
    pg_put_i16(&params, (int16_t)shard_of(&event->stream));
    pg_put_uuid(&params, &event->stream);
    pg_put_i64(&params, event->rev);
    pg_put_i16(&params, stored_type);
    pg_put_uuid(&params, &event->task);
    pg_put_uuid(&params, &event->command);
    pg_put_uuid(&params, &event->by);
    pg_put_instant(&params, event->at_us);
    pg_put_text(&params, slice_of(event->epoch, EPOCH_CHARS));
    pg_put_bytea(&params, slice_of(digest, sizeof digest));
    pg_put_bytea(&params, slice_of(salt, sizeof salt));
    pg_put_bytea(&params, body);
    assert_int_equal(pg_query(pg, &h_insert_event, &params, NULL, NULL), ERR_OK);
    pg_params_fini(&params);
}

static inline void h_set_head(const uuid_t *stream, int64_t rev)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, stream);
    pg_put_i16(&params, (int16_t)shard_of(stream));
    pg_put_i64(&params, rev);
    assert_int_equal(pg_run(pg, &h_upsert_stream, &params, NULL, NULL, LONG_US), PG_OK);
    pg_params_fini(&params);
}

static inline void h_encode(const event_t *from, size_t n_bytes, buf_t *out)
{
    event_t event = *from;
    buf_t set = {0};
    mp_put_map(&set, 1);
    mp_put_cstr(&set, "notes");
    buf_t text = {0};
    memset(buf_reserve(&text, n_bytes + 1), 'x', n_bytes + 1);
    text.n_bytes = n_bytes;
    mp_put_str(&set, buf_slice(&text));
    event.set = buf_slice(&set);
    event_encode(&event, out);
    buf_fini(&set);
    buf_fini(&text);
}

/* Adds the events FIRST … LAST to a stream, with notes of that size. */
static inline void h_add(const uuid_t *stream, int64_t first, int64_t last, size_t n_bytes)
{
    for (int64_t rev = first; rev <= last; rev++) {
        buf_t body = {0};
        event_t event = h_event(stream, rev);
        h_encode(&event, n_bytes, &body);
        h_put_event(&event, buf_slice(&body), (int16_t)event.type);
        buf_fini(&body);
        if (pg_in_flight(pg) > PG_MAX_IN_FLIGHT / 2)
            assert_true(pg_await(pg, LONG_US));
    }
    assert_true(pg_await(pg, LONG_US));
    h_set_head(stream, last);
}

/* Does what no login but a superuser's can. */
static inline void h_tamper(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void h_tamper(const char *format, ...)
{
    char sql[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    script(database.url,
           "ALTER TABLE event DISABLE TRIGGER USER; ALTER TABLE audit DISABLE TRIGGER USER; %s;"
           "ALTER TABLE event ENABLE ALWAYS TRIGGER event_rows; ALTER TABLE audit ENABLE ALWAYS "
           "TRIGGER audit_rows;"
           "ALTER TABLE event ENABLE ALWAYS TRIGGER event_truncate; ALTER TABLE audit ENABLE "
           "ALWAYS TRIGGER"
           " audit_truncate",
           sql);
}

/* --- batches --- */

static inline void h_on_event(void *arg, const log_event_t *event)
{
    events_put(arg, event);
}

static inline void h_on_end(void *arg, const eventlog_end_t *end)
{
    (void)arg;
    assert_int_equal(end->fate, PG_OK);
}

/* Appends the events FIRST … LAST of a stream, as far as they are there, to an EVENTS message. */
static inline void h_put_batch(batch_t *batch, const uuid_t *stream, int64_t first, int64_t last)
{
    const eventlog_reader_t reader = {h_on_event, h_on_end, batch};
    events_begin(batch, 1);
    assert_int_equal(eventlog_read_stream(pg, stream, first - 1, (int)(last - first + 1), &reader),
                     ERR_OK);
    assert_true(pg_await(pg, LONG_US));
}

typedef struct {
    pg_t *pg;
    intray_t *intray;
    size_t n_heads;
    audit_batch_result_t result;
} h_worker_t;

static inline void h_on_head(void *arg, const anchor_head_t *head)
{
    h_worker_t *worker = arg;
    assert_true(head->rev > 0);
    worker->n_heads++;
}

static inline err_t h_store(h_worker_t *self, slice_t bytes)
{
    mp_reader_t content;
    uint64_t seq;
    uint32_t n_events;
    self->n_heads = 0;
    assert_int_equal(message_kind(bytes, &content), MESSAGE_EVENTS);
    assert_true(events_open(&content, &seq, &n_events));
    return audit_batch_store(self->pg, h_epoch, self->intray, &content, n_events, h_on_head, self,
                             &self->result);
}

/* Adds what is in the batch to the chain; the batch is empty afterwards. */
static inline audit_batch_result_t h_audit_batch(batch_t *batch)
{
    message_t message;
    h_worker_t worker = {.pg = pg, .intray = intray_new(&lone_network, ADDRESS_AUDIT)};
    batch_finish(batch, &message);
    assert_int_equal(h_store(&worker, message_bytes(&message)), ERR_OK);
    message_fini(&message);
    intray_destroy(&worker.intray);
    return worker.result;
}

static inline audit_batch_result_t h_audit(const uuid_t *stream, int64_t first, int64_t last)
{
    batch_t batch = {0};
    h_put_batch(&batch, stream, first, last);
    return h_audit_batch(&batch);
}

/* --- looking --- */

static inline int64_t h_number(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int64_t h_number(const char *format, ...)
{
    char sql[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return number_of(database.url, sql);
}

#endif
