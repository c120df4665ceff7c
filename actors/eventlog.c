/* SPDX-License-Identifier: Apache-2.0 */
/* Each shard is read by its index on (shard, id), a stream by its key; the LIMIT stands inside of
 * the LATERAL, so that no shard costs more than what it brings. A running sum of the bodies' sizes
 * stops a reading early: an event can be half a megabyte, and libpq holds the whole answer in
 * memory. That sum takes in the event that reaches the budget, so the reader can tell from what it
 * got that there may be more. */
#include "actors/eventlog.h"

#include <stdlib.h>

#include "actors/log.h"

/* Rows of the sub-query, in its order, as long as the bodies before them are within the budget. */
#define WITHIN(budget, key, rows)                                                                  \
    " (SELECT * FROM (SELECT c.*, sum(coalesce(octet_length(c.body), 0)) OVER (ORDER BY c." key    \
    " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - coalesce(octet_length(c.body), 0) AS "   \
    "before FROM (" rows ") c) w WHERE w.before < " budget ") e"

static const pg_stmt_t select_shards = {
    "SELECT e.* FROM unnest($1::smallint[], $2::bigint[]) AS p(shard, after) CROSS JOIN "
    "LATERAL" WITHIN(
        "$4::bigint", "id",
        "SELECT " EVENTLOG_COLUMNS
        " FROM event WHERE shard = p.shard AND id > p.after ORDER BY id LIMIT $3::bigint")};
static const pg_stmt_t select_stream = {"SELECT e.* FROM" WITHIN(
    "$4::bigint", "rev",
    "SELECT " EVENTLOG_COLUMNS
    " FROM event WHERE stream = $1::uuid AND rev > $2::bigint ORDER BY rev LIMIT $3::bigint")};
static const pg_stmt_t select_heads = {"SELECT p.shard, (SELECT max(id) FROM event WHERE shard = "
                                       "p.shard) FROM unnest($1::smallint[]) AS p(shard)"};

/* A reading under way. Lives until its answer. */
typedef struct {
    eventlog_reader_t reader;
    int64_t limit;
    int64_t budget; /* of bytes in each shard */
    int64_t n_rows[N_SHARDS];
    int64_t n_skipped[N_SHARDS]; /* of them, that are no events */
    int64_t n_bytes[N_SHARDS];
    size_t n_events;
    int64_t last[N_SHARDS]; /* id, or rev of the stream */
    bool is_by_rev;
} reading_t;

static event_type_t type_of(int64_t number)
{
    return number > 0 && number < EVENT_TYPE_COUNT ? (event_type_t)number : EVENT_UNKNOWN;
}

bool eventlog_row(const pg_result_t *result, int row, log_event_t *out)
{
    int64_t shard = pg_int(result, row, 1);
    slice_t epoch = pg_bytes(result, row, 9);
    *out = (log_event_t){
        .id = pg_int(result, row, 0),
        .stream = pg_uuid(result, row, 2),
        .rev = pg_int(result, row, 3),
        .type = type_of(pg_int(result, row, 4)),
        .stored_type = (int16_t)pg_int(result, row, 4),
        .task = pg_uuid(result, row, 5),
        .command = pg_uuid(result, row, 6),
        .by = pg_uuid(result, row, 7),
        .at_us = pg_instant(result, row, 8),
        .digest = pg_bytes(result, row, 10),
        .body = pg_bytes(result, row, 11),
        .trace = pg_bytes(result, row, 12),
    };
    if (out->trace.n_bytes != TRACE_BYTES)
        out->trace = slice_none(); /* who reads on need not ask */
    out->shard = (uint8_t)(shard & (N_SHARDS - 1));
    if (shard < 0 || shard >= N_SHARDS || epoch.n_bytes != EPOCH_CHARS ||
        out->digest.n_bytes != DIGEST_BYTES)
        return false;
    memcpy(out->epoch, epoch.data, EPOCH_CHARS);
    return true;
}

/* Order comes out of the plan, not out of a sort: it is checked rather than believed. */
static bool is_in_order(reading_t *self, const log_event_t *event)
{
    int64_t *last = &self->last[event->shard];
    int64_t next = self->is_by_rev ? event->rev : event->id;
    bool is_next = next > *last;
    *last = next;
    return is_next;
}

static shard_set_t unfinished(const reading_t *self)
{
    shard_set_t more = 0;
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        bool is_cut = self->n_rows[shard] >= self->limit || self->n_bytes[shard] >= self->budget;
        /* Where nothing was told another reading would bring the same. */
        if (is_cut && self->n_rows[shard] > self->n_skipped[shard])
            more |= (shard_set_t)1 << shard;
    }
    return more;
}

static void complain(const pg_result_t *result, int row)
{
    log_line(LOG_ERROR, "eventlog", "a row of the log is not as it was written", "id=%lld",
             (long long)pg_int(result, row, 0));
}

/* Tells all rows. A row that no writer of ours wrote is as good as none to who reads shards, for it
 * must not hold up everybody; a stream ends before it. False: it did, or the order is wrong. */
static bool tell_rows(reading_t *self, const pg_result_t *result)
{
    int n_rows = pg_rows(result);
    for (int row = 0; row < n_rows; row++) {
        log_event_t event;
        bool is_event = eventlog_row(result, row, &event);
        bool is_next = is_in_order(self, &event);
        if (!is_event || !is_next)
            complain(result, row);
        if (!is_next || (!is_event && self->is_by_rev))
            return false;
        self->n_rows[event.shard]++;
        self->n_skipped[event.shard] += !is_event;
        self->n_bytes[event.shard] += (int64_t)event.body.n_bytes;
        self->n_events += is_event;
        if (is_event)
            self->reader.event(self->reader.arg, &event);
    }
    return true;
}

static void on_rows(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    reading_t *self = arg;
    eventlog_end_t end = {.fate = fate};
    if (fate == PG_OK && !tell_rows(self, result))
        end.fate = PG_REJECTED;
    if (end.fate == PG_OK) {
        end.n_events = self->n_events;
        end.more = unfinished(self);
    }
    self->reader.end(self->reader.arg, &end);
    free(self);
}

static reading_t *reading_new(int limit, int64_t budget, const eventlog_reader_t *reader)
{
    reading_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->reader = *reader;
    self->limit = limit < 1 ? 1 : limit;
    self->budget = budget;
    return self;
}

/* Adds the limits and queues. Owns: takes the reading and the parameters. */
static err_t queue(pg_t *pg, const pg_stmt_t *stmt, pg_params_t *params, reading_t *reading)
{
    pg_put_i64(params, reading->limit);
    pg_put_i64(params, reading->budget);
    err_t err = pg_query(pg, stmt, params, on_rows, reading);
    pg_params_fini(params);
    if (err != ERR_OK)
        free(reading);
    return err;
}

static void put_shards(pg_params_t *params, shard_set_t shards)
{
    pg_array_begin(params, PG_I16);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if ((shards >> shard & 1) != 0)
            pg_array_i16(params, (int16_t)shard);
    }
    pg_array_end(params);
}

err_t eventlog_read(pg_t *pg, const int64_t positions[N_SHARDS], shard_set_t shards, int limit,
                    const eventlog_reader_t *reader)
{
    int n_shards = __builtin_popcountll(shards);
    reading_t *reading =
        reading_new(limit, EVENTLOG_READ_BYTES / (n_shards > 0 ? n_shards : 1), reader);
    memcpy(reading->last, positions, sizeof reading->last);
    pg_params_t params = {0};
    put_shards(&params, shards);
    pg_array_begin(&params, PG_I64);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if ((shards >> shard & 1) != 0)
            pg_array_i64(&params, positions[shard]);
    }
    pg_array_end(&params);
    return queue(pg, &select_shards, &params, reading);
}

err_t eventlog_read_stream(pg_t *pg, const uuid_t *stream, int64_t after_rev, int limit,
                           const eventlog_reader_t *reader)
{
    reading_t *reading = reading_new(limit, EVENTLOG_READ_BYTES, reader);
    reading->is_by_rev = true;
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        reading->last[shard] = after_rev;
    pg_params_t params = {0};
    pg_put_uuid(&params, stream);
    pg_put_i64(&params, after_rev);
    return queue(pg, &select_stream, &params, reading);
}

typedef struct {
    eventlog_heads_f *done;
    void *arg;
} heads_t;

static void on_heads(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    heads_t *self = arg;
    int64_t heads[N_SHARDS] = {0};
    for (int row = 0; row < pg_rows(result); row++)
        heads[pg_int(result, row, 0) & (N_SHARDS - 1)] = pg_int(result, row, 1);
    self->done(self->arg, fate, fate == PG_OK ? heads : NULL);
    free(self);
}

err_t eventlog_heads(pg_t *pg, eventlog_heads_f *done, void *arg)
{
    heads_t *self = malloc(sizeof *self);
    if (self == NULL)
        abort();
    *self = (heads_t){done, arg};
    pg_params_t params = {0};
    put_shards(&params, SHARDS_ALL);
    err_t err = pg_query(pg, &select_heads, &params, on_heads, self);
    pg_params_fini(&params);
    if (err != ERR_OK)
        free(self);
    return err;
}
