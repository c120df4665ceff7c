/* SPDX-License-Identifier: Apache-2.0 */
/* Heads are gathered in a table until the next anchor. When a term begins, those that
 * moved since its last block are read from the chain's rows, page by page between batches, so that
 * a crash between chain and anchor leaves none out. Anchors never hold the chain up: if they cannot
 * be written, the table waits. */
#include "actors/audit.h"

#include "actors/audit_batch.h"
#include "actors/lineage.h"
#include "schema/instant.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define CONNECT_US INT64_C(200000)
#define TIMEOUT_US INT64_C(10000000)
#define RETRY_US INT64_C(1000000)
/* Rows are stamped when their transaction began: some from shortly before the last block may have
 * come after it. */
#define OVERLAP_US INT64_C(60000000)
#define MAX_HEADS ANCHOR_MAX_HEADS
#define MIN_HEADS 64
#define PAGE_ROWS 20000
#define ERROR_CHARS 256

/* Before all streams. A condition with OR would be no key of an index in a plan for any parameter.
 */
#define NIL "'00000000-0000-0000-0000-000000000000'"

static const pg_stmt_t select_history = {"SELECT epoch, clock_timestamp() FROM log_epoch"};
static const pg_stmt_t select_all_heads = {
    "SELECT stream, rev, hash FROM audit_head WHERE stream > coalesce($1::uuid, " NIL ") ORDER BY "
    "stream LIMIT $2::bigint"};
/* Materialized, so that the rows come by their index on `at` and not by streams through the whole
 * table. */
static const pg_stmt_t select_moved_heads = {
    "WITH moved AS MATERIALIZED (SELECT stream FROM audit WHERE at >= $3::timestamptz),"
    " m AS (SELECT DISTINCT stream FROM moved WHERE stream > coalesce($1::uuid, " NIL ") ORDER BY "
    "stream"
    " LIMIT $2::bigint)"
    " SELECT m.stream, h.rev, h.hash FROM m LEFT JOIN audit_head h ON h.stream = m.stream ORDER BY "
    "m.stream"};

/* Looking up what moved before this term. */
typedef enum { CATCH_UP_DONE, CATCH_UP_DUE, CATCH_UP_UNDER_WAY } catch_up_t;

struct audit {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    intray_t *intray;
    anchor_t *anchor; /* NULL: no term, or it cannot be opened */
    bool is_on; /* a term */
    char term_epoch[EPOCH_CHARS]; /* of the batches that come */

    /* Of streams that moved since the last block. One may be there several times: the highest rev
     * counts. */
    anchor_head_t *heads;
    size_t n_heads;
    size_t capacity;
    int64_t oldest_us; /* since when the first of them waits */
    int64_t anchor_mono_us; /* when the next block is due */

    catch_up_t catch_up;
    int64_t since_us; /* by the database's clock; INSTANT_NONE: everything */
    bool has_all; /* nothing was written since everything began to be looked up */
    uuid_t after; /* streams up to this one have been looked up */
    char epoch[EPOCH_CHARS + 1];
    int64_t skew_us; /* the database's clock is ahead of ours by this */

    log_once_t chain_trouble;
    log_once_t anchor_trouble;
    metric_t *events_total;
    metric_t *retries_total;
    metric_t *anchor_age;
    metric_t *anchor_damages;
};

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- anchors --- */

static void tell_trouble(audit_t *self, const char *error)
{
    if (log_once(&self->anchor_trouble))
        log_line(LOG_WARN, "audit", "anchors cannot be written; they wait until they can",
                 "dir=\"%s\" why=\"%s\"", self->network->config->data_dir, error);
}

/* Tells of a file that was set aside. The new one lacks what was in it: see write_block. */
static void tell_finding(audit_t *self)
{
    anchor_finding_t finding;
    if (!anchor_take_finding(self->anchor, &finding))
        return;
    if (finding.is_damaged) {
        metric_add(self->anchor_damages, 1);
        log_line(LOG_ERROR, "audit", "the file of anchors was damaged; a new one begins",
                 "dir=\"%s\" why=\"%s\"", self->network->config->data_dir, finding.words);
    } else {
        log_line(LOG_WARN, "audit", "a new file of anchors begins", "dir=\"%s\" why=\"%s\"",
                 self->network->config->data_dir, finding.words);
    }
}

static bool open_anchor(audit_t *self)
{
    char error[ERROR_CHARS] = "";
    if (self->anchor == NULL)
        self->anchor = anchor_open(self->network->config->data_dir, error, sizeof error);
    if (self->anchor == NULL)
        tell_trouble(self, error);
    else
        tell_finding(self);
    return self->anchor != NULL;
}

/* What is anchored from now on is of the epoch that was read. */
static bool enter_epoch(audit_t *self)
{
    char error[ERROR_CHARS] = "";
    bool is_good = anchor_enter(self->anchor, self->epoch, error, sizeof error);
    if (!is_good)
        tell_trouble(self, error);
    tell_finding(self);
    return is_good;
}

static int by_stream_and_rev(const void *a, const void *b)
{
    const anchor_head_t *one = a, *other = b;
    int order = memcmp(one->stream.bytes, other->stream.bytes, UUID_BYTES);
    if (order != 0)
        return order;
    return one->rev < other->rev ? -1 : one->rev > other->rev;
}

/* Keeps the newest head of each stream. */
static void compact(audit_t *self)
{
    size_t n = 0;
    if (self->n_heads > 0)
        qsort(self->heads, self->n_heads, sizeof *self->heads, by_stream_and_rev);
    for (size_t i = 0; i < self->n_heads; i++) {
        if (n > 0 && uuid_eq(&self->heads[n - 1].stream, &self->heads[i].stream))
            n--;
        self->heads[n++] = self->heads[i];
    }
    self->n_heads = n;
}

/* Writes what is in the table. As long as others are still to be looked up the block is only a
 * part; and so it is if it begins a file, because somebody moved the last one away or it was
 * damaged: then everything is looked up again. */
static bool write_block(audit_t *self)
{
    char error[ERROR_CHARS] = "";
    if (self->n_heads == 0)
        return true;
    if (self->epoch[0] == '\0' || !open_anchor(self))
        return false;
    compact(self);
    const anchor_block_t block = {.heads = self->heads,
                                  .n_heads = self->n_heads,
                                  .epoch = self->epoch,
                                  .at_us = clock_now().wall_us,
                                  .is_part = self->catch_up != CATCH_UP_DONE,
                                  .is_of_moved = !self->has_all};
    bool is_written = anchor_append(self->anchor, &block, error, sizeof error);
    tell_finding(self);
    if (!is_written) {
        tell_trouble(self, error);
        return false;
    }
    self->n_heads = 0;
    self->has_all = false;
    if (self->catch_up == CATCH_UP_DONE && anchor_last_us(self->anchor) == INSTANT_NONE)
        self->catch_up = CATCH_UP_DUE;
    if (log_clear(&self->anchor_trouble))
        log_line(LOG_INFO, "audit", "anchors are written again", NULL);
    return true;
}

static void grow(audit_t *self)
{
    self->capacity = self->capacity == 0 ? MIN_HEADS : self->capacity * 2;
    self->heads = realloc(self->heads, self->capacity * sizeof *self->heads);
    if (self->heads == NULL)
        abort();
}

/* Makes room for one more. More streams than the table holds are anchored early; if that fails,
 * they are looked up again when it works. */
static bool make_room(audit_t *self)
{
    if (self->n_heads < self->capacity)
        return true;
    compact(self);
    if (self->n_heads >= self->capacity / 2 && self->capacity < MAX_HEADS)
        grow(self);
    if (self->n_heads < self->capacity || write_block(self))
        return true;
    self->catch_up = CATCH_UP_DUE;
    return false;
}

static void on_head(void *arg, const anchor_head_t *head)
{
    audit_t *self = arg;
    if (!self->is_on || !make_room(self))
        return;
    if (self->n_heads == 0)
        self->oldest_us = clock_now().wall_us;
    self->heads[self->n_heads++] = *head;
}

/* --- catching up --- */

static void on_history(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    audit_t *self = arg;
    if (fate != PG_OK || pg_rows(result) != 1 || pg_bytes(result, 0, 0).n_bytes != EPOCH_CHARS)
        return;
    memcpy(self->epoch, pg_bytes(result, 0, 0).data, EPOCH_CHARS);
    self->skew_us = pg_instant(result, 0, 1) - clock_now().wall_us;
}

/* False: it must be tried again. */
static bool begin_catch_up(audit_t *self)
{
    memset(self->epoch, 0, sizeof self->epoch);
    if (!open_anchor(self) ||
        pg_run(self->pg, &select_history, NULL, on_history, self, TIMEOUT_US) != PG_OK ||
        self->epoch[0] == '\0' || !enter_epoch(self))
        return false;
    int64_t last_us = anchor_last_us(self->anchor);
    self->since_us = last_us == INSTANT_NONE ? INSTANT_NONE : last_us + self->skew_us - OVERLAP_US;
    self->has_all = self->since_us == INSTANT_NONE;
    self->after = UUID_NIL;
    self->catch_up = CATCH_UP_UNDER_WAY;
    return true;
}

typedef struct {
    audit_t *owner;
    int n_rows;
} page_t;

static void on_page(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    page_t *page = arg;
    audit_t *self = page->owner;
    page->n_rows = fate == PG_OK ? pg_rows(result) : -1;
    for (int row = 0; row < page->n_rows && self->catch_up == CATCH_UP_UNDER_WAY; row++) {
        anchor_head_t head = {.stream = pg_uuid(result, row, 0), .rev = pg_int(result, row, 1)};
        slice_t hash = pg_bytes(result, row, 2);
        if (hash.n_bytes == LINK_BYTES && head.rev > 0) {
            memcpy(head.link.bytes, hash.data, LINK_BYTES);
            on_head(self, &head);
        }
        self->after = head.stream;
    }
}

/* Reads one page. False: it must be tried again. */
static bool read_page(audit_t *self)
{
    page_t page = {.owner = self, .n_rows = -1};
    pg_params_t params = {0};
    bool is_all = self->since_us == INSTANT_NONE;
    pg_put_uuid(&params, &self->after);
    pg_put_i64(&params, PAGE_ROWS);
    if (!is_all)
        pg_put_instant(&params, self->since_us);
    (void)pg_run(self->pg, is_all ? &select_all_heads : &select_moved_heads, &params, on_page,
                 &page, TIMEOUT_US);
    pg_params_fini(&params);
    if (page.n_rows >= 0 && page.n_rows < PAGE_ROWS && self->catch_up == CATCH_UP_UNDER_WAY)
        self->catch_up = CATCH_UP_DONE;
    if (page.n_rows < 0)
        self->since_us =
            INSTANT_NONE; /* too much since then, perhaps: a page of everything costs little */
    return page.n_rows >= 0;
}

/* --- the actor --- */

static bool is_connected(audit_t *self)
{
    return pg_is_ready(self->pg) || pg_await(self->pg, CONNECT_US);
}

static err_t handle(void *arg, mp_reader_t *content, uint32_t n_events)
{
    audit_t *self = arg;
    audit_batch_result_t result;
    if (!is_connected(self))
        return ERR_UNAVAILABLE;
    err_t err = audit_batch_store(self->pg, self->term_epoch, self->intray, content, n_events,
                                  on_head, self, &result);
    metric_add(self->events_total, (int64_t)result.n_events);
    metric_add(self->retries_total, (int64_t)result.n_retries);
    if (result.why[0] != '\0' && log_once(&self->chain_trouble))
        log_line(LOG_ERROR, "audit", "the database refuses the chain", "why=\"%s\"", result.why);
    if (err == ERR_OK && log_clear(&self->chain_trouble))
        log_line(LOG_INFO, "audit", "the chain goes on", NULL);
    return err;
}

/* What another process anchors in its own directory is its own affair: nothing is kept for it, and
 * all is looked up again at the next term. */
static void follow_term(audit_t *self, bool is_on)
{
    self->is_on = is_on;
    self->n_heads = 0;
    self->catch_up = is_on ? CATCH_UP_DUE : CATCH_UP_DONE;
    self->anchor_mono_us = 0;
    if (!is_on)
        anchor_close(&self->anchor);
}

static void audit_receive(void *arg, slice_t bytes, now_t now)
{
    audit_t *self = arg;
    mp_reader_t content;
    message_kind_t kind = message_kind(bytes, &content);
    bool is_on = false;
    (void)now;
    if (kind == MESSAGE_EVENTS)
        intray_receive(self->intray, self->actor);
    else if (kind == MESSAGE_TERM && term_decode(&content, &is_on, self->term_epoch)) {
        intray_clear(self->intray);
        follow_term(self, is_on);
    }
}

/* Does one step of what is to be done for the anchors; answers how long nothing will be. */
static int64_t anchor_turn(audit_t *self, now_t now)
{
    if (self->catch_up != CATCH_UP_DONE && now.mono_us >= self->anchor_mono_us) {
        bool is_good = is_connected(self) &&
                       (self->catch_up == CATCH_UP_UNDER_WAY || begin_catch_up(self)) &&
                       read_page(self);
        if (is_good && self->catch_up == CATCH_UP_UNDER_WAY)
            return 0;
        self->anchor_mono_us =
            is_good && self->catch_up == CATCH_UP_DONE ? 0 : now.mono_us + RETRY_US;
    }
    if (now.mono_us >= self->anchor_mono_us && self->n_heads > 0 &&
        self->catch_up == CATCH_UP_DONE) {
        bool is_good = write_block(self);
        self->anchor_mono_us =
            now.mono_us + (is_good ? self->network->config->anchor_interval_us : RETRY_US);
        if (is_good && self->catch_up == CATCH_UP_DUE)
            self->anchor_mono_us = 0;
    }
    if (self->catch_up == CATCH_UP_DUE && self->anchor_mono_us == 0)
        return 0;
    return self->anchor_mono_us > now.mono_us ? self->anchor_mono_us - now.mono_us
                                              : ACTOR_SLEEP_MAX_US;
}

static void publish(audit_t *self, now_t now)
{
    int64_t age_us = self->n_heads == 0 ? 0 : now.wall_us - self->oldest_us;
    metric_set(self->anchor_age, age_us < 0 ? 0 : age_us / US_PER_S);
    actor_note(self->actor, "not_anchored", (int64_t)self->n_heads);
    actor_note(self->actor, "catching_up", self->catch_up != CATCH_UP_DONE);
    actor_note(self->actor, "batches", (int64_t)intray_n_waiting(self->intray));
}

static int64_t audit_due(void *arg, now_t now)
{
    audit_t *self = arg;
    int64_t sleep_us = intray_turn(self->intray, now, handle, self);
    if (self->is_on)
        sleep_us = shorter(sleep_us, anchor_turn(self, now));
    publish(self, now);
    return sleep_us;
}

/* Batches that are not handled come again; heads that moved are anchored on the way out. */
static bool audit_drain(void *arg, now_t now)
{
    audit_t *self = arg;
    (void)now;
    if (self->is_on)
        (void)write_block(self);
    return true;
}

static err_t audit_open(void *arg, actor_t *actor)
{
    audit_t *self = arg;
    metrics_t *metrics = self->network->metrics;
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire audit",
                            /* What is anchored must not be gone after a crash. */
                            .options = "-c synchronous_commit=on -c statement_timeout=10000 "
                                       "-c jit=off -c enable_seqscan=off",
                            .reply_timeout_us = TIMEOUT_US};
    (void)actor;
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    self->intray = intray_new(self->network, ADDRESS_AUDIT);
    self->events_total = metrics_counter(metrics, "taskwire_audit_events_total", NULL,
                                         "Events added to the audit chain");
    self->retries_total =
        metrics_counter(metrics, "taskwire_audit_retries_total", NULL,
                        "Times that another process had moved a head of the chain");
    self->anchor_age =
        metrics_gauge(metrics, "taskwire_audit_anchor_age_seconds", NULL,
                      "How long the oldest head that is not anchored has been waiting");
    self->anchor_damages =
        metrics_counter(metrics, "taskwire_audit_anchor_damages_total", NULL,
                        "Files of anchors that were not what they say, and were set aside");
    return ERR_OK;
}

static void audit_close(void *arg)
{
    audit_t *self = arg;
    anchor_close(&self->anchor);
    intray_destroy(&self->intray);
    pg_destroy(&self->pg);
    free(self->heads);
    self->heads = NULL;
    self->n_heads = self->capacity = 0;
}

static const actor_ops_t audit_ops = {
    .name = "audit",
    .open = audit_open,
    .receive = audit_receive,
    .due = audit_due,
    .drain = audit_drain,
    .close = audit_close,
};

audit_t *audit_new(network_t *network)
{
    audit_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&audit_ops, self, network->post, "audit", INBOX_LIMIT);
    network->actors[ADDRESS_AUDIT] = self->actor;
    return self;
}

actor_t *audit_actor(audit_t *self)
{
    return self->actor;
}

void audit_destroy(audit_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
