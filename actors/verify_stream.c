/* SPDX-License-Identifier: Apache-2.0 */
/* Events and the rows of the chain are two cursors that move forward together, a page of bounded
 * size each. What was the end of both is fixed by one statement at the beginning, so that a log
 * that grows meanwhile looks no different. Only the first thing that is wrong is told: behind it
 * nothing can be believed. */
#include "actors/verify.h"

#include <stdio.h>

#include "actors/chain.h"
#include "actors/clock.h"
#include "schema/event.h"
#include "schema/instant.h"

#define TIMEOUT_US INT64_C(30000000)
#define PAGE_ROWS 500
#define PAGE_BYTES INT64_C(4194304)

static const pg_stmt_t select_ends = {
    "SELECT s.head, h.rev, h.hash, (SELECT max(rev) FROM event WHERE stream = $1::uuid),"
    " (SELECT max(last_rev) FROM audit WHERE stream = $1::uuid), (SELECT min(rev) FROM event WHERE "
    "stream = $1::uuid), (SELECT epoch FROM log_epoch)"
    " FROM (SELECT 1) one LEFT JOIN stream s ON s.id = $1::uuid LEFT JOIN audit_head h ON h.stream "
    "= $1::uuid"};
/* Pages of rows in order; the row that fills a page's bytes is its last. */
static const pg_stmt_t select_events = {
    "SELECT id, shard, rev, type, task, command, by, at, epoch, digest, salt, body FROM"
    " (SELECT c.*, sum(coalesce(octet_length(c.body), 0)) OVER (ORDER BY c.rev ROWS BETWEEN "
    "UNBOUNDED PRECEDING AND 1"
    " PRECEDING) AS n_before FROM (SELECT * FROM event WHERE stream = $1::uuid AND rev > $2::bigint"
    " AND rev <= $3::bigint ORDER BY rev LIMIT $4::bigint) c) w"
    " WHERE coalesce(n_before, 0) < $5::bigint ORDER BY rev"};
static const pg_stmt_t select_links = {
    "SELECT first_rev, last_rev, links FROM"
    " (SELECT c.*, sum(octet_length(c.links)) OVER (ORDER BY c.last_rev ROWS BETWEEN UNBOUNDED "
    "PRECEDING AND 1"
    " PRECEDING) AS n_before FROM (SELECT * FROM audit WHERE stream = $1::uuid AND last_rev > "
    "$2::bigint"
    " AND last_rev <= $3::bigint ORDER BY last_rev LIMIT $4::bigint) c) w"
    " WHERE coalesce(n_before, 0) < $5::bigint ORDER BY last_rev"};

typedef struct {
    pg_t *pg;
    const verify_limit_t *limit;
    const uuid_t *stream;
    verify_report_t *report;

    /* Where everything ends; 0: there is nothing. */
    int64_t stream_head;
    int64_t event_start;
    int64_t event_end;
    int64_t link_end;
    int64_t audit_head;
    bool has_audit_head;
    chain_link_t audit_hash; /* all zero if it is no hash */

    int64_t rev; /* the last event that was read */
    chain_link_t link; /* after it, made anew */
    int n_rows; /* of the last page */

    /* The chain's links of the revisions behind `links_before`. */
    buf_t links;
    int64_t links_before;

    char epoch[EPOCH_CHARS]; /* in which the log is now */
    const anchors_t *all_anchors; /* NULL: none */
    const anchor_head_t *anchors; /* not reached yet */
    size_t n_anchors;
} check_t;

/* --- what is wrong --- */

static void blame(check_t *self, int64_t rev, const char *why)
{
    verify_report_t *report = self->report;
    if (!report->ok && report->first_bad.rev <= rev)
        return;
    report->ok = false;
    report->first_bad.rev = rev;
    snprintf(report->first_bad.why, sizeof report->first_bad.why, "%s", why);
}

static bool is_over(const check_t *self)
{
    const verify_limit_t *limit = self->limit;
    return limit != NULL && (clock_now().mono_us >= limit->deadline_mono_us ||
                             (limit->is_cancelled != NULL && atomic_load(limit->is_cancelled)));
}

static bool ask(check_t *self, const pg_stmt_t *stmt, pg_params_t *params, pg_done_f *done)
{
    int64_t timeout_us = TIMEOUT_US;
    if (self->limit != NULL && self->limit->deadline_mono_us - clock_now().mono_us < timeout_us)
        timeout_us = self->limit->deadline_mono_us - clock_now().mono_us;
    bool is_good =
        !is_over(self) && pg_run(self->pg, stmt, params, done, self, timeout_us) == PG_OK;
    pg_params_fini(params);
    return is_good;
}

/* --- where everything ends --- */

static void on_ends(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    check_t *self = arg;
    if (fate != PG_OK || pg_rows(result) != 1)
        return;
    self->stream_head = pg_is_null(result, 0, 0) ? 0 : pg_int(result, 0, 0);
    self->has_audit_head = !pg_is_null(result, 0, 1);
    self->audit_head = self->has_audit_head ? pg_int(result, 0, 1) : 0;
    self->event_end = pg_is_null(result, 0, 3) ? 0 : pg_int(result, 0, 3);
    self->link_end = pg_is_null(result, 0, 4) ? 0 : pg_int(result, 0, 4);
    self->event_start = pg_is_null(result, 0, 5) ? 1 : pg_int(result, 0, 5);
    slice_t epoch = pg_bytes(result, 0, 6);
    if (epoch.n_bytes == EPOCH_CHARS)
        memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    slice_t hash = pg_bytes(result, 0, 2);
    if (hash.n_bytes == LINK_BYTES)
        memcpy(self->audit_hash.bytes, hash.data, LINK_BYTES);
}

static bool read_ends(check_t *self)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, self->stream);
    if (!ask(self, &select_ends, &params, on_ends))
        return false;
    if (self->has_audit_head && self->audit_head < 1) {
        blame(self, 1, "the head of the chain is none");
        self->audit_head = 0;
    }
    self->report->head = self->audit_head;
    if (self->event_start < 1)
        blame(self, self->event_start, "there is no such revision");
    return true;
}

static bool is_anchored_in(const check_t *self, const anchor_head_t *anchor, const char *epoch)
{
    return memcmp(self->all_anchors->epochs[anchor->epoch], epoch, EPOCH_CHARS) == 0;
}

/* An anchored head that this history has not, since it has left that epoch. */
static void note_other_epoch(check_t *self, const anchor_head_t *anchor)
{
    const char *left = self->all_anchors->left_epoch;
    const char *epoch = self->all_anchors->epochs[anchor->epoch];
    self->report->of_other_epochs += left == NULL || strcmp(epoch, left) != 0;
}

/* Passes over anchors behind the end that were made before a restore. */
static void skip_other_epochs(check_t *self, int64_t end)
{
    while (self->n_anchors > 0 &&
           (self->anchors[0].rev <= end || !is_anchored_in(self, &self->anchors[0], self->epoch))) {
        if (self->anchors[0].rev > end)
            note_other_epoch(self, &self->anchors[0]);
        self->anchors++;
        self->n_anchors--;
    }
}

/* What the ends say about each other, as far as the events that were read have not told. */
static void judge_ends(check_t *self)
{
    if (self->event_end > self->stream_head)
        blame(self, self->stream_head + 1, "the stream's own head is before this event");
    if (self->rev < self->stream_head)
        blame(self, self->rev + 1, "the event is missing: the stream was shortened");
    if (self->rev < self->audit_head)
        blame(self, self->rev + 1, "the event is missing: the chain goes beyond it");
    if (self->link_end < self->audit_head)
        blame(self, self->link_end + 1, "the chain's row is missing");
    if (self->link_end > self->audit_head)
        blame(self, self->audit_head + 1, "the head of the chain is before this event");
    skip_other_epochs(self, self->audit_head < self->rev ? self->audit_head : self->rev);
    if (self->n_anchors > 0 && self->anchors[0].rev > self->rev)
        blame(self, self->rev + 1,
              "the event is missing: the stream was shortened, a later one was anchored");
    else if (self->n_anchors > 0 && self->anchors[0].rev > self->audit_head)
        blame(self, self->audit_head + 1, "the chain was shortened, a later event was anchored");
}

/* --- the links that are stored --- */

static void on_links(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    check_t *self = arg;
    int64_t last = self->links_before;
    for (int row = 0; fate == PG_OK && row < pg_rows(result); row++) {
        slice_t links = pg_bytes(result, row, 2);
        int64_t n_links = (int64_t)(links.n_bytes / LINK_BYTES);
        /* Rows that do not join are left out: what they stand for is found missing. */
        if (pg_int(result, row, 0) != last + 1 || links.n_bytes % LINK_BYTES != 0 ||
            pg_int(result, row, 1) != last + n_links)
            return;
        buf_append_slice(&self->links, links);
        last += n_links;
    }
}

static bool read_links(check_t *self)
{
    pg_params_t params = {0};
    self->links_before = self->rev;
    buf_reset(&self->links);
    pg_put_uuid(&params, self->stream);
    pg_put_i64(&params, self->rev);
    pg_put_i64(&params, self->link_end);
    pg_put_i64(&params, PAGE_ROWS);
    pg_put_i64(&params, PAGE_BYTES);
    return ask(self, &select_links, &params, on_links);
}

static const uint8_t *stored_link(const check_t *self, int64_t rev)
{
    int64_t at = rev - self->links_before - 1;
    return at < 0 || at >= (int64_t)(self->links.n_bytes / LINK_BYTES)
               ? NULL
               : self->links.data + at * LINK_BYTES;
}

static int64_t links_end(const check_t *self)
{
    return self->links_before + (int64_t)(self->links.n_bytes / LINK_BYTES);
}

/* --- events --- */

/* A row of the log, with what only the check looks at. */
typedef struct {
    log_event_t event;
    slice_t salt;
    bool is_sound; /* of the shape that every writer makes */
} row_t;

static row_t row_of(const check_t *self, const pg_result_t *result, int n)
{
    int64_t shard = pg_int(result, n, 1);
    slice_t epoch = pg_bytes(result, n, 8);
    row_t row = {.event = {.id = pg_int(result, n, 0),
                           .stream = *self->stream,
                           .rev = pg_int(result, n, 2),
                           .stored_type = (int16_t)pg_int(result, n, 3),
                           .task = pg_uuid(result, n, 4),
                           .command = pg_uuid(result, n, 5),
                           .by = pg_uuid(result, n, 6),
                           .at_us = pg_instant(result, n, 7),
                           .digest = pg_bytes(result, n, 9),
                           .body = pg_bytes(result, n, 11)},
                 .salt = pg_bytes(result, n, 10)};
    row.is_sound = shard == shard_of(self->stream) && epoch.n_bytes == EPOCH_CHARS &&
                   row.event.digest.n_bytes == DIGEST_BYTES;
    row.event.shard = (uint8_t)shard;
    if (epoch.n_bytes == EPOCH_CHARS)
        memcpy(row.event.epoch, epoch.data, EPOCH_CHARS);
    return row;
}

static bool has_right_digest(const row_t *row)
{
    uint8_t digest[DIGEST_BYTES];
    if (row->salt.n_bytes != SALT_BYTES)
        return false;
    event_digest(row->event.body, row->salt.data, digest);
    return memcmp(digest, row->event.digest.data, DIGEST_BYTES) == 0;
}

/* Types that only a newer program knows have a number here and a name there, and nothing to
 * compare. */
static bool is_same_type(int16_t stored, event_type_t type)
{
    if (type != EVENT_UNKNOWN)
        return stored == (int16_t)type;
    return stored >= EVENT_TYPE_COUNT;
}

static bool says_the_same(const log_event_t *row)
{
    event_t event;
    return event_decode(row->body, &event) && uuid_eq(&event.stream, &row->stream) &&
           event.rev == row->rev && memcmp(event.epoch, row->epoch, EPOCH_CHARS) == 0 &&
           is_same_type(row->stored_type, event.type) && uuid_eq(&event.task, &row->task) &&
           uuid_eq(&event.command, &row->command) && uuid_eq(&event.by, &row->by) &&
           event.at_us == row->at_us;
}

/* What is wrong with the row by itself; NULL: nothing. */
static const char *fault_of_row(const row_t *row)
{
    if (!row->is_sound)
        return "the event's row was written by no writer";
    if (row->event.body.data == NULL)
        return NULL;
    if (!has_right_digest(row))
        return "the event's body is not the one that was written";
    if (!says_the_same(&row->event))
        return "the event's body and its columns say different things";
    return NULL;
}

/* What is wrong with the row's place in the chain; NULL: nothing. */
static const char *fault_of_link(const check_t *self, int64_t rev)
{
    const uint8_t *stored = stored_link(self, rev);
    if (stored == NULL)
        return "the chain's row is missing";
    if (memcmp(stored, self->link.bytes, LINK_BYTES) != 0)
        return "the event does not fit into the chain";
    if (rev == self->audit_head && !link_eq(&self->audit_hash, &self->link))
        return "the head of the chain has another hash";
    return NULL;
}

/* What was anchored at this revision, if anything. One revision may have been anchored several
 * times, and before a restore as another event, which was of another epoch. */
static const char *fault_of_anchor(check_t *self, const log_event_t *event)
{
    const char *fault = NULL;
    int64_t rev = event->rev;
    while (self->n_anchors > 0 && self->anchors[0].rev <= rev) {
        bool is_other =
            self->anchors[0].rev == rev && !link_eq(&self->anchors[0].link, &self->link);
        if (is_other && is_anchored_in(self, &self->anchors[0], event->epoch))
            fault = "the history up to this event is not the one that was anchored";
        else if (is_other)
            note_other_epoch(self, &self->anchors[0]);
        self->anchors++;
        self->n_anchors--;
    }
    return fault;
}

static void check_row(check_t *self, const row_t *row)
{
    const log_event_t *event = &row->event;
    const char *fault = fault_of_row(row);
    if (fault == NULL && event->rev <= self->audit_head) {
        self->link = chain_link(&self->link, event);
        fault = fault_of_link(self, event->rev);
        if (fault == NULL)
            fault = fault_of_anchor(self, event);
    }
    if (fault != NULL)
        blame(self, event->rev, fault);
}

static void on_events(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    check_t *self = arg;
    self->n_rows = fate == PG_OK ? pg_rows(result) : 0;
    for (int n = 0; n < self->n_rows; n++) {
        row_t row = row_of(self, result, n);
        if (row.event.rev != self->rev + 1)
            blame(self, self->rev + 1, "the event is missing");
        if (self->report->ok)
            check_row(self, &row);
        self->report->events++;
        self->report->purged += row.event.body.data == NULL;
        self->report->not_yet += row.event.rev > self->audit_head;
        self->rev = row.event.rev;
    }
}

static bool read_events(check_t *self, int64_t last_rev)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, self->stream);
    pg_put_i64(&params, self->rev);
    pg_put_i64(&params, last_rev);
    pg_put_i64(&params, PAGE_ROWS);
    pg_put_i64(&params, PAGE_BYTES);
    if (!ask(self, &select_events, &params, on_events))
        return false;
    if (self->n_rows == 0) {
        blame(self, self->rev + 1, "the event is missing");
        self->rev = last_rev;
    }
    return true;
}

/* One page: as far as the links go that are there, so that both cursors stay together. */
static bool read_on(check_t *self)
{
    int64_t last_rev = self->event_end;
    if (self->rev < self->audit_head && self->report->ok) {
        if (links_end(self) <= self->rev && !read_links(self))
            return false;
        if (links_end(self) > self->rev && links_end(self) < last_rev)
            last_rev = links_end(self);
    }
    return read_events(self, last_rev);
}

err_t verify_stream(pg_t *pg, const anchors_t *anchors, const uuid_t *stream,
                    const verify_limit_t *limit, verify_report_t *out)
{
    *out = (verify_report_t){.ok = true};
    check_t check = {
        .pg = pg, .limit = limit, .stream = stream, .report = out, .link = LINK_GENESIS};
    check.all_anchors = anchors;
    if (anchors != NULL)
        check.anchors = anchors_of(anchors, stream, &check.n_anchors);
    bool is_good = read_ends(&check);
    while (is_good && check.rev < check.event_end)
        is_good = read_on(&check);
    if (is_good)
        judge_ends(&check);
    buf_fini(&check.links);
    return is_good ? ERR_OK : ERR_UNAVAILABLE;
}
