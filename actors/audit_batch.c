/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a batch are taken stream by stream: those behind the head are dropped, what is missing
 * in between is read from the log, and each stream becomes one row. Whose head has been moved by
 * somebody else is told by the rows that were not inserted; then everything is looked at afresh. */
#include "actors/audit_batch.h"

#include "actors/eventlog.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_US INT64_C(10000000)
#define ROUNDS 5
#define GAP_EVENTS 1000
/* New links in one statement, of all streams: what bounds memory when a gap is long. */
#define MAX_LINKS 65536

static const pg_stmt_t select_heads = {
    "SELECT stream, rev, hash FROM audit_head WHERE stream = ANY($1::uuid[])"};
/* A stream's row is inserted only if its head moved from where we saw it. A row that stands there
 * already was made by nobody of us: `verify` will tell, and nobody else has to wait for it. The
 * update brings along what the row is made of, and IS TRUE has the new heads looked up in a hash:
 * a join of the batch with itself could become one of each row with all others. */
static const pg_stmt_t store = {
    "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $6::text FOR SHARE),"
    " k AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], "
    "$5::bytea[])"
    " AS k(stream, before, rev, hash, links) WHERE EXISTS (SELECT 1 FROM same)),"
    " moved AS (UPDATE audit_head h SET rev = k.rev, hash = k.hash FROM k"
    " WHERE h.stream = k.stream AND h.rev = k.before"
    " RETURNING k.stream, k.before, k.rev, k.links),"
    " born AS (INSERT INTO audit_head (stream, rev, hash) SELECT stream, rev, hash FROM k WHERE "
    "before = 0"
    " ON CONFLICT (stream) DO NOTHING RETURNING stream)"
    " INSERT INTO audit (stream, first_rev, last_rev, links)"
    " SELECT stream, before + 1, rev, links FROM moved UNION ALL"
    " SELECT stream, 1, rev, links FROM k WHERE before = 0"
    " AND (stream IN (SELECT b.stream FROM born b)) IS TRUE"
    " ON CONFLICT (stream, last_rev) DO NOTHING RETURNING stream"};

/* A stream of the batch. */
typedef struct {
    uuid_t stream;
    int64_t before; /* the head that was read */
    int64_t rev; /* after the events so far */
    chain_link_t link;
    buf_t links; /* one link per new event */
    bool has_moved;
    const char *fault; /* why nothing can follow `rev`; NULL: something can */
} strand_t;

typedef struct {
    pg_t *pg;
    const char *epoch;
    strand_t *strands;
    size_t n_strands;
    pg_fate_t fate;
    size_t room; /* for further links */
    bool is_full; /* the rest must wait for another round */
    strand_t *filling; /* the stream whose gap is being read */
    audit_batch_result_t *result;
} work_t;

static strand_t *strand_of(work_t *self, const uuid_t *stream)
{
    size_t low = 0, high = self->n_strands;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = memcmp(self->strands[middle].stream.bytes, stream->bytes, UUID_BYTES);
        if (order == 0)
            return &self->strands[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int by_stream(const void *a, const void *b)
{
    const strand_t *one = a, *other = b;
    return memcmp(one->stream.bytes, other->stream.bytes, UUID_BYTES);
}

/* One strand per stream of the batch, sorted. */
static void collect_streams(work_t *self, mp_reader_t content, uint32_t n_events)
{
    log_event_t event;
    self->strands = calloc(n_events == 0 ? 1 : n_events, sizeof *self->strands);
    if (self->strands == NULL)
        abort();
    for (uint32_t i = 0; i < n_events && events_next(&content, &event); i++)
        self->strands[self->n_strands++].stream = event.stream;
    qsort(self->strands, self->n_strands, sizeof *self->strands, by_stream);
    size_t n = 0;
    for (size_t i = 0; i < self->n_strands; i++) {
        if (n == 0 || by_stream(&self->strands[n - 1], &self->strands[i]) != 0)
            self->strands[n++].stream = self->strands[i].stream;
    }
    self->n_strands = n;
}

/* Keeps the server's words of a statement that was refused, for a line of the log. */
static bool is_ok(work_t *self, pg_fate_t fate, const pg_result_t *result)
{
    if (fate == PG_REJECTED) {
        snprintf(self->result->why, sizeof self->result->why, "%s", pg_message(result));
        for (char *at = self->result->why; (at = strchr(at, '"')) != NULL;)
            *at = '\'';
    }
    return fate == PG_OK;
}

static void on_heads(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    work_t *self = arg;
    if (!is_ok(self, fate, result))
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t stream = pg_uuid(result, row, 0);
        strand_t *strand = strand_of(self, &stream);
        slice_t hash = pg_bytes(result, row, 2);
        if (strand == NULL)
            continue;
        if (hash.n_bytes != LINK_BYTES || pg_int(result, row, 1) < 1) {
            strand->fault = "the head of this stream's chain is damaged";
            continue;
        }
        strand->before = strand->rev = pg_int(result, row, 1);
        memcpy(strand->link.bytes, hash.data, LINK_BYTES);
    }
}

static pg_fate_t read_heads(work_t *self)
{
    pg_params_t params = {0};
    for (size_t i = 0; i < self->n_strands; i++) {
        strand_t *strand = &self->strands[i];
        strand->before = strand->rev = 0;
        strand->link = LINK_GENESIS;
        strand->has_moved = false;
        strand->fault = NULL;
        buf_reset(&strand->links);
    }
    pg_array_begin(&params, PG_UUID);
    for (size_t i = 0; i < self->n_strands; i++)
        pg_array_uuid(&params, &self->strands[i].stream);
    pg_array_end(&params);
    pg_fate_t fate = pg_run(self->pg, &select_heads, &params, on_heads, self, TIMEOUT_US);
    pg_params_fini(&params);
    return fate;
}

/* --- links --- */

static void extend(work_t *self, strand_t *strand, const log_event_t *event)
{
    if (self->room == 0) {
        self->is_full = true;
        return;
    }
    self->room--;
    strand->link = chain_link(&strand->link, event);
    strand->rev = event->rev;
    buf_append(&strand->links, strand->link.bytes, LINK_BYTES);
}

static void on_gap_event(void *arg, const log_event_t *event)
{
    work_t *self = arg;
    if (event->rev == self->filling->rev + 1)
        extend(self, self->filling, event);
}

static void on_gap_end(void *arg, const eventlog_end_t *end)
{
    work_t *self = arg;
    self->fate = end->fate;
}

/* Reads what comes next in the stream. */
static pg_fate_t read_gap(work_t *self, strand_t *strand, int64_t n_missing)
{
    const eventlog_reader_t reader = {on_gap_event, on_gap_end, self};
    int limit = n_missing < GAP_EVENTS ? (int)n_missing : GAP_EVENTS;
    self->filling = strand;
    self->fate = PG_LOST;
    if (eventlog_read_stream(self->pg, &strand->stream, strand->rev, limit, &reader) == ERR_OK)
        (void)pg_await(self->pg, TIMEOUT_US);
    return self->fate;
}

/* Brings the strand up to the revision before `rev` from the log, or as far as there is room. */
static void fill_gap(work_t *self, strand_t *strand, int64_t rev)
{
    while (strand->rev < rev - 1 && !self->is_full && strand->fault == NULL) {
        int64_t from = strand->rev;
        pg_fate_t fate = read_gap(self, strand, rev - 1 - from);
        if (fate != PG_OK && fate != PG_REJECTED)
            return;
        self->fate = PG_OK; /* a row that no writer wrote is as good as none */
        if (strand->rev == from && !self->is_full)
            strand->fault = "the log has a hole before this event";
    }
}

static void add_event(work_t *self, const log_event_t *event)
{
    strand_t *strand = strand_of(self, &event->stream);
    if (strand == NULL || event->rev <= strand->rev || strand->fault != NULL)
        return;
    if (event->rev > strand->rev + 1)
        fill_gap(self, strand, event->rev);
    if (event->rev == strand->rev + 1 && self->fate == PG_OK)
        extend(self, strand, event);
}

/* --- storing --- */

static void on_stored(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    work_t *self = arg;
    if (!is_ok(self, fate, result))
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t stream = pg_uuid(result, row, 0);
        strand_t *strand = strand_of(self, &stream);
        if (strand != NULL)
            strand->has_moved = true;
    }
}

#define EACH_NEW(type, put)                                                                        \
    do {                                                                                           \
        pg_array_begin(&params, type);                                                             \
        for (size_t i = 0; i < self->n_strands; i++) {                                             \
            const strand_t *strand = &self->strands[i];                                            \
            if (strand->rev > strand->before)                                                      \
                put;                                                                               \
        }                                                                                          \
        pg_array_end(&params);                                                                     \
    } while (0)

static pg_fate_t store_strands(work_t *self)
{
    pg_params_t params = {0};
    EACH_NEW(PG_UUID, pg_array_uuid(&params, &strand->stream));
    EACH_NEW(PG_I64, pg_array_i64(&params, strand->before));
    EACH_NEW(PG_I64, pg_array_i64(&params, strand->rev));
    EACH_NEW(PG_BYTEA, pg_array_text(&params, slice_of(strand->link.bytes, LINK_BYTES)));
    EACH_NEW(PG_BYTEA, pg_array_text(&params, buf_slice(&strand->links)));
    pg_put_text(&params, slice_of(self->epoch, EPOCH_CHARS));
    pg_fate_t fate = pg_run(self->pg, &store, &params, on_stored, self, TIMEOUT_US);
    pg_params_fini(&params);
    return fate;
}

/* Counts what is in the chain now. False: some heads had been moved by somebody else. */
static bool count(const work_t *self)
{
    bool is_complete = true;
    for (size_t i = 0; i < self->n_strands; i++) {
        const strand_t *strand = &self->strands[i];
        if (strand->has_moved)
            self->result->n_events += (size_t)(strand->rev - strand->before);
        else if (strand->rev > strand->before)
            is_complete = false;
    }
    return is_complete;
}

static bool has_new(const work_t *self)
{
    for (size_t i = 0; i < self->n_strands; i++) {
        if (self->strands[i].rev > self->strands[i].before)
            return true;
    }
    return false;
}

/* One look at everything with fresh heads. True: all is in the chain that can be. */
static bool try_round(work_t *self, mp_reader_t content, uint32_t n_events)
{
    log_event_t event;
    self->room = MAX_LINKS;
    self->is_full = false;
    self->fate = read_heads(self);
    for (uint32_t i = 0; i < n_events && self->fate == PG_OK && events_next(&content, &event); i++)
        add_event(self, &event);
    if (self->fate == PG_OK && has_new(self))
        self->fate = store_strands(self);
    if (self->fate != PG_OK)
        return false;
    bool is_complete = count(self);
    self->result->n_retries += is_complete ? 0 : 1;
    return is_complete && !self->is_full;
}

static void reject_hopeless(work_t *self, intray_t *intray, mp_reader_t content, uint32_t n_events)
{
    log_event_t event;
    for (uint32_t i = 0; i < n_events && events_next(&content, &event); i++) {
        const strand_t *strand = strand_of(self, &event.stream);
        if (strand != NULL && strand->fault != NULL && event.rev > strand->rev)
            intray_reject(intray, &event, slice_str(strand->fault));
    }
}

static void tell_heads(const work_t *self, audit_head_f *tell, void *arg)
{
    for (size_t i = 0; i < self->n_strands; i++) {
        const strand_t *strand = &self->strands[i];
        if (strand->rev > 0)
            tell(arg, &(anchor_head_t){
                          .stream = strand->stream, .rev = strand->rev, .link = strand->link});
    }
}

err_t audit_batch_store(pg_t *pg, const char epoch[EPOCH_CHARS], intray_t *intray,
                        mp_reader_t *content, uint32_t n_events, audit_head_f *tell, void *arg,
                        audit_batch_result_t *out)
{
    work_t work = {.pg = pg, .epoch = epoch, .result = out};
    bool is_done = false;
    *out = (audit_batch_result_t){0};
    collect_streams(&work, *content, n_events);
    for (int round = 0; round < ROUNDS && !is_done; round++) {
        is_done = try_round(&work, *content, n_events);
        if (work.fate != PG_OK)
            break;
    }
    if (is_done) {
        reject_hopeless(&work, intray, *content, n_events);
        tell_heads(&work, tell, arg);
    }
    for (size_t i = 0; i < work.n_strands; i++)
        buf_fini(&work.strands[i].links);
    free(work.strands);
    return is_done ? ERR_OK : ERR_UNAVAILABLE;
}
