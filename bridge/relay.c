/* SPDX-License-Identifier: Apache-2.0 */
/* A term begins when the lease is won: the positions of all consumers are read, reading starts at
 * the lowest of them in each shard (an actor that was ahead sees some events again), and ends when
 * the lease is lost: what was under way is forgotten, late acknowledgements name another term.
 *
 * Everything that touches the database goes through one pipelined connection: reading the log,
 * saving positions, dead letters. An acknowledgement with dead letters counts only when their rows
 * are durable. */
#include "bridge/relay.h"

#include "actors/eventlog.h"
#include "actors/lineage.h"
#include "actors/message.h"
#include "actors/pg_loop.h"
#include "bridge/lease.h"
#include "bridge/ledger.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define READ_EVENTS 512
#define MAX_BATCH_BYTES (256 * 1024)
#define POLL_US INT64_C(1000000)
#define SAVE_US INT64_C(1000000)
/* From one reading to the next. Each costs every actor a transaction, and nobody waits for them as
 * clients wait for sync; what the writer commits meanwhile comes with the next. */
#define GATHER_US INT64_C(10000)
/* What could not be read is read again. */
#define RETRY_US INT64_C(100000)
/* Of what an actor may have in its inbox from former terms when another begins. */
#define MAX_LEFT_OVER (INBOX_LIMIT / 4)

static const uint32_t consumer_addresses[] = {ADDRESS_RECURRENCE, ADDRESS_REMINDER, ADDRESS_AUDIT};
static const char *const consumer_names[] = {"recurrence", "reminder", "audit"};
#define N_CONSUMERS (sizeof consumer_addresses / sizeof *consumer_addresses)

static const pg_stmt_t select_positions = {
    "SELECT e.epoch, p.actor, p.shard, p.id FROM log_epoch e LEFT JOIN relay_position p ON true"};
/* A former relay that wakes up must not turn a position back, nor one of another epoch set any. */
static const pg_stmt_t save_positions = {
    "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $4::text FOR SHARE)"
    " INSERT INTO relay_position (actor, shard, id)"
    " SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[]) WHERE EXISTS (SELECT 1 FROM "
    "same)"
    " ON CONFLICT (actor, shard) DO UPDATE SET id = excluded.id WHERE relay_position.id < "
    "excluded.id"};
static const pg_stmt_t insert_dead_letters = {
    "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts)"
    " SELECT $1::text, event_id, stream, rev, reason, 1"
    " FROM unnest($2::bigint[], $3::uuid[], $4::bigint[], $5::text[])"
    " AS k(event_id, stream, rev, reason) ON CONFLICT (actor, event_id) DO NOTHING"};

typedef enum { TERM_NONE, TERM_STARTING, TERM_LEADING } term_t;

/* An acknowledgement whose dead letters are being stored. */
typedef struct burial {
    struct burial *next;
    relay_t *owner;
    message_t message;
    unsigned consumer;
    uint64_t seq;
    size_t n_open;
    bool has_failed;
    int64_t retry_mono_us;
} burial_t;

struct relay {
    network_t *network;
    actor_t *actor;
    lease_t lease;
    pg_t *pg;
    pg_loop_t loop;
    term_t term;
    uint64_t n_terms;
    char epoch[EPOCH_CHARS]; /* of the term: in another history its positions mean nothing */
    uint32_t n_batches; /* the low half of their numbers; comes round */
    port_t *ports[N_CONSUMERS];
    ledger_t ledger;
    int64_t read_to[N_SHARDS]; /* handed out up to here */
    shard_set_t grown; /* may have more to read */
    shard_set_t passed_over; /* of them, that the last reading left out: they come first */
    bool is_reading;
    bool is_saving;
    batch_t batch; /* being filled */
    ledger_batch_t *entry;
    int64_t read_mono_us; /* the next reading: not before */
    int64_t poll_mono_us;
    int64_t save_mono_us;
    burial_t *burials;
    metric_t *events_total;
    metric_t *lag_seconds;
    metric_t *dead_total;
    metric_t *leading;
};

/* --- handing out --- */

static void send_to_all(relay_t *self, message_t *message)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        message_t copy;
        if (self->ports[i] == NULL)
            continue;
        message_share(&copy, message);
        if (port_send(self->ports[i], &copy) != ERR_OK)
            actor_fail(self->actor, ERR_INTERNAL,
                       "an actor's inbox is smaller than what may be under way");
    }
    message_fini(message);
}

static void flush(relay_t *self)
{
    if (self->entry == NULL)
        return;
    message_t message;
    uint64_t seq = self->entry->seq;
    self->entry = NULL;
    batch_finish(&self->batch, &message);
    send_to_all(self, &message);
    for (unsigned i = 0; i < N_CONSUMERS; i++) {
        if (self->ports[i] == NULL)
            (void)ledger_acknowledge(&self->ledger, i, seq); /* a program without that actor */
    }
}

static void on_event(void *arg, const log_event_t *event)
{
    relay_t *self = arg;
    if (self->term != TERM_LEADING || event->id <= self->read_to[event->shard])
        return;
    if (self->entry == NULL) {
        if (!ledger_has_room(&self->ledger)) {
            /* The rest is read again when there is room. */
            self->passed_over |= (shard_set_t)1 << event->shard;
            self->grown |= self->passed_over;
            return;
        }
        uint64_t seq = self->n_terms << 32 | ++self->n_batches;
        events_begin(&self->batch, seq);
        self->entry = ledger_open(&self->ledger, seq);
    }
    lineage_note(self->network->lineage, event);
    events_put(&self->batch, event);
    ledger_add(self->entry, event->shard, event->id, event->at_us);
    self->read_to[event->shard] = event->id;
    metric_add(self->events_total, 1);
    if (self->batch.buf.n_bytes >= MAX_BATCH_BYTES)
        flush(self);
}

static void on_read(void *arg, const eventlog_end_t *end)
{
    relay_t *self = arg;
    self->is_reading = false;
    flush(self);
    if (end->fate == PG_OK)
        self->grown |= end->more;
    if (self->grown & (end->more | self->passed_over))
        self->read_mono_us = 0; /* there is enough to read */
    if (end->fate != PG_OK)
        self->poll_mono_us = clock_now().mono_us + RETRY_US;
}

static bool can_read(const relay_t *self, now_t now)
{
    return now.mono_us >= self->read_mono_us && self->term == TERM_LEADING && !self->is_reading &&
           self->grown != 0 && ledger_has_room(&self->ledger) && pg_is_ready(self->pg);
}

static void read_on(relay_t *self, now_t now)
{
    if (now.mono_us >= self->poll_mono_us) {
        self->poll_mono_us = now.mono_us + POLL_US;
        self->grown = SHARDS_ALL;
    }
    if (!can_read(self, now))
        return;
    shard_set_t shards = self->passed_over != 0 ? self->passed_over : self->grown;
    self->passed_over = 0;
    self->grown &= ~shards;
    const eventlog_reader_t reader = {on_event, on_read, self};
    if (eventlog_read(self->pg, self->read_to, shards, READ_EVENTS, &reader) != ERR_OK) {
        self->grown |= shards;
        return;
    }
    self->is_reading = true;
    self->read_mono_us = now.mono_us + GATHER_US;
    (void)pg_sync(self->pg);
}

/* --- positions --- */

static void on_saved(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    relay_t *self = arg;
    (void)result;
    self->is_saving = false;
    /* Not saved is only not remembered: the next start sees some events again. */
    for (size_t i = 0; fate != PG_OK && i < N_CONSUMERS; i++)
        self->ledger.dirty[i] = SHARDS_ALL;
}

static void put_positions(relay_t *self, pg_params_t *params)
{
    pg_array_begin(params, PG_TEXT);
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        for (unsigned shard = 0; shard < N_SHARDS; shard++) {
            if (self->ledger.dirty[i] >> shard & 1)
                pg_array_text(params, slice_str(consumer_names[i]));
        }
    }
    pg_array_end(params);
    pg_array_begin(params, PG_I16);
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        for (int16_t shard = 0; shard < N_SHARDS; shard++) {
            if (self->ledger.dirty[i] >> shard & 1)
                pg_array_i16(params, shard);
        }
    }
    pg_array_end(params);
    pg_array_begin(params, PG_I64);
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        for (unsigned shard = 0; shard < N_SHARDS; shard++) {
            if (self->ledger.dirty[i] >> shard & 1)
                pg_array_i64(params, self->ledger.positions[i][shard]);
        }
    }
    pg_array_end(params);
    pg_put_text(params, slice_of(self->epoch, EPOCH_CHARS));
}

static bool has_unsaved(const relay_t *self)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        if (self->ledger.dirty[i] != 0)
            return true;
    }
    return false;
}

static void save(relay_t *self, now_t now)
{
    if (self->term != TERM_LEADING || self->is_saving || !has_unsaved(self) ||
        !pg_is_ready(self->pg))
        return;
    self->save_mono_us = now.mono_us + SAVE_US;
    pg_params_t params = {0};
    put_positions(self, &params);
    if (pg_query(self->pg, &save_positions, &params, on_saved, self) == ERR_OK) {
        (void)pg_sync(self->pg);
        self->is_saving = true;
        for (size_t i = 0; i < N_CONSUMERS; i++)
            self->ledger.dirty[i] = 0;
    }
    pg_params_fini(&params);
}

/* --- acknowledgements and dead letters --- */

static void on_buried(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    burial_t *burial = arg;
    if (fate != PG_OK)
        burial->has_failed = true;
    else
        metric_add(burial->owner->dead_total, pg_changed(result));
    burial->n_open--;
}

/* One array parameter over the rejects behind `content`. */
#define EACH_REJECT(type, put)                                                                     \
    do {                                                                                           \
        mp_reader_t each = content;                                                                \
        pg_array_begin(&params, type);                                                             \
        for (uint32_t i = 0; i < n_rejects && ack_next(&each, &reject); i++)                       \
            put;                                                                                   \
        pg_array_end(&params);                                                                     \
    } while (0)

/* Queues the rows of an acknowledgement's dead letters, all or none. */
static void bury(relay_t *self, burial_t *burial)
{
    mp_reader_t content;
    uint32_t address, n_rejects;
    uint64_t seq;
    reject_t reject;
    pg_params_t params = {0};
    (void)message_kind(message_bytes(&burial->message), &content);
    if (!ack_open(&content, &address, &seq, &n_rejects))
        return;
    pg_put_text(&params, slice_str(consumer_names[burial->consumer]));
    EACH_REJECT(PG_I64, pg_array_i64(&params, reject.event_id));
    EACH_REJECT(PG_UUID, pg_array_uuid(&params, &reject.stream));
    EACH_REJECT(PG_I64, pg_array_i64(&params, reject.rev));
    EACH_REJECT(PG_TEXT, pg_array_text(&params, reject.reason));
    burial->has_failed =
        pg_query(self->pg, &insert_dead_letters, &params, on_buried, burial) != ERR_OK;
    burial->n_open += !burial->has_failed;
    pg_params_fini(&params);
    (void)pg_sync(self->pg);
}

/* One line for a batch: what stands in the way of one of its events does so for others as well. */
static void complain(const burial_t *burial, mp_reader_t content, uint32_t n_rejects)
{
    reject_t first;
    if (!ack_next(&content, &first))
        return;
    log_line(LOG_WARN, "relay", "an actor cannot handle an event",
             "actor=%s event=%lld reason=\"%.*s\" and_others=%u", consumer_names[burial->consumer],
             (long long)first.event_id, (int)first.reason.n_bytes, (const char *)first.reason.data,
             (unsigned)n_rejects - 1);
}

static void finish_burials(relay_t *self, now_t now)
{
    for (burial_t **link = &self->burials; *link != NULL;) {
        burial_t *burial = *link;
        if (burial->n_open == 0 && burial->has_failed && now.mono_us >= burial->retry_mono_us) {
            burial->retry_mono_us = now.mono_us + POLL_US / 4;
            bury(self, burial);
        }
        if (burial->n_open > 0 || burial->has_failed) {
            link = &burial->next;
            continue;
        }
        (void)ledger_acknowledge(&self->ledger, burial->consumer, burial->seq);
        *link = burial->next;
        message_fini(&burial->message);
        free(burial);
    }
}

static void receive_ack(relay_t *self, slice_t bytes, mp_reader_t *content)
{
    uint32_t address, n_rejects;
    uint64_t seq;
    unsigned consumer = 0;
    if (!ack_open(content, &address, &seq, &n_rejects))
        return;
    while (consumer < N_CONSUMERS && consumer_addresses[consumer] != address)
        consumer++;
    if (consumer == N_CONSUMERS || seq >> 32 != self->n_terms)
        return;
    if (n_rejects == 0) {
        (void)ledger_acknowledge(&self->ledger, consumer, seq);
        return;
    }
    burial_t *burial = calloc(1, sizeof *burial);
    burial->owner = self;
    burial->consumer = consumer;
    burial->seq = seq;
    burial->next = self->burials;
    self->burials = burial;
    message_init(&burial->message, bytes);
    complain(burial, *content, n_rejects);
    bury(self, burial);
}

static void relay_receive(void *arg, slice_t bytes, now_t now)
{
    mp_reader_t content;
    (void)now;
    if (message_kind(bytes, &content) == MESSAGE_ACK)
        receive_ack(arg, bytes, &content);
}

/* --- terms --- */

static void tell_leading(relay_t *self, bool is_leading)
{
    message_t message;
    lead_encode(is_leading, self->epoch, &message);
    send_to_all(self, &message);
    metric_set(self->leading, is_leading);
    log_line(LOG_INFO, "relay", is_leading ? "leading" : "standing by", NULL);
}

static void take_positions(relay_t *self, const pg_result_t *result)
{
    for (int row = 0; row < pg_rows(result); row++) {
        int64_t shard = pg_is_null(result, row, 2) ? -1 : pg_int(result, row, 2);
        for (size_t i = 0; i < N_CONSUMERS && shard >= 0 && shard < N_SHARDS; i++) {
            if (slice_is(pg_bytes(result, row, 1), consumer_names[i]))
                self->ledger.positions[i][shard] = pg_int(result, row, 3);
        }
    }
}

static void on_positions(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    relay_t *self = arg;
    if (self->term != TERM_STARTING)
        return;
    slice_t epoch = fate == PG_OK ? pg_bytes(result, 0, 0) : slice_none();
    if (epoch.n_bytes != EPOCH_CHARS || !slice_eq(epoch, lease_epoch(&self->lease))) {
        self->term = TERM_NONE;
        return;
    }
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    take_positions(self, result);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        self->read_to[shard] = self->ledger.positions[0][shard];
        for (size_t i = 1; i < N_CONSUMERS; i++) {
            if (self->ledger.positions[i][shard] < self->read_to[shard])
                self->read_to[shard] = self->ledger.positions[i][shard];
        }
    }
    self->term = TERM_LEADING;
    self->grown = SHARDS_ALL;
    tell_leading(self, true);
}

static void drop_burials(relay_t *self)
{
    /* Nothing of theirs is under way: the connection was broken before. */
    while (self->burials != NULL) {
        burial_t *burial = self->burials;
        self->burials = burial->next;
        message_fini(&burial->message);
        free(burial);
    }
}

/* An actor that takes nothing from its inbox must not be given term after term. */
static bool have_room(const relay_t *self)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        actor_t *actor = self->network->actors[consumer_addresses[i]];
        if (actor != NULL && mailbox_depth(actor_inbox(actor)) > MAX_LEFT_OVER)
            return false;
    }
    return true;
}

static void follow_lease(relay_t *self)
{
    bool is_held = lease_is_held(&self->lease);
    bool is_same = slice_eq(lease_epoch(&self->lease), slice_of(self->epoch, EPOCH_CHARS));
    if (self->term == TERM_LEADING && (!is_held || !is_same)) {
        self->term = TERM_NONE;
        pg_break(self->pg, is_held ? "another epoch has begun" : "the lease is lost");
        drop_burials(self);
        batch_fini(&self->batch);
        self->entry = NULL;
        tell_leading(self, false);
    }
    if (self->term == TERM_NONE && is_held && pg_is_ready(self->pg) && have_room(self)) {
        self->n_terms++;
        self->passed_over = 0;
        ledger_init(&self->ledger, N_CONSUMERS);
        self->term = TERM_STARTING;
        if (pg_query(self->pg, &select_positions, NULL, on_positions, self) != ERR_OK ||
            pg_sync(self->pg) != ERR_OK)
            self->term = TERM_NONE;
    }
}

/* --- the actor --- */

static void relay_rung(void *arg, uint64_t bits, now_t now)
{
    relay_t *self = arg;
    (void)now;
    self->grown |= bits;
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t relay_due(void *arg, now_t now)
{
    relay_t *self = arg;
    int64_t sleep_us = shorter(lease_turn(&self->lease, now), pg_loop_turn(&self->loop, now));
    follow_lease(self);
    finish_burials(self, now);
    read_on(self, now);
    if (now.mono_us >= self->save_mono_us)
        save(self, now);
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->loop, now));
    if (can_read(self, now))
        sleep_us = 0; /* that has brought an answer, and there is more */
    else if (self->grown != 0 && now.mono_us < self->read_mono_us)
        sleep_us = shorter(sleep_us, self->read_mono_us - now.mono_us);
    int64_t oldest_us = ledger_oldest_us(&self->ledger);
    int64_t lag_us = oldest_us == 0 || oldest_us > now.wall_us ? 0 : now.wall_us - oldest_us;
    metric_set(self->lag_seconds, lag_us / US_PER_S);
    actor_note(self->actor, "leading", self->term == TERM_LEADING);
    actor_note(self->actor, "under_way", self->ledger.n);
    actor_note(self->actor, "under_way_limit", LEDGER_MAX_BATCHES);
    actor_note(self->actor, "lag_us", lag_us);
    return shorter(sleep_us, self->burials != NULL ? POLL_US / 4 : POLL_US);
}

/* Positions are saved on the way out, so that the next start has less to look at again. */
static bool relay_drain(void *arg, now_t now)
{
    relay_t *self = arg;
    if (self->term != TERM_LEADING || !pg_is_ready(self->pg))
        return true;
    if (has_unsaved(self))
        save(self, now);
    return !self->is_saving && !has_unsaved(self);
}

static err_t relay_open(void *arg, actor_t *actor)
{
    relay_t *self = arg;
    metrics_t *metrics = self->network->metrics;
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire relay",
                            .options = "-c statement_timeout=10000 -c jit=off -c enable_seqscan=off"
                                       " -c plan_cache_mode=force_generic_plan",
                            .reply_timeout_us = 10000000};
    for (size_t i = 0; i < N_CONSUMERS; i++)
        self->ports[i] = network_port(self->network, consumer_addresses[i]);
    ledger_init(&self->ledger, N_CONSUMERS);
    lease_open(&self->lease, actor, self->network->config->database_url);
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    self->events_total = metrics_counter(metrics, "taskwire_relay_events_total", NULL,
                                         "Events handed to the actors");
    self->lag_seconds = metrics_gauge(metrics, "taskwire_relay_lag_seconds", NULL,
                                      "Age of the oldest event that not every actor has handled");
    self->dead_total = metrics_counter(metrics, "taskwire_dead_letters_total", NULL,
                                       "Events that an actor refused");
    self->leading = metrics_gauge(metrics, "taskwire_relay_leading", NULL,
                                  "Whether this process's relay is active");
    return ERR_OK;
}

static void relay_close(void *arg)
{
    relay_t *self = arg;
    lease_close(&self->lease);
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
    drop_burials(self);
    batch_fini(&self->batch);
    for (size_t i = 0; i < N_CONSUMERS; i++)
        port_destroy(&self->ports[i]);
}

static const actor_ops_t relay_ops = {
    .name = "relay",
    .open = relay_open,
    .receive = relay_receive,
    .rung = relay_rung,
    .due = relay_due,
    .drain = relay_drain,
    .close = relay_close,
};

relay_t *relay_new(network_t *network)
{
    relay_t *self = calloc(1, sizeof *self);
    self->network = network;
    self->actor = actor_new(&relay_ops, self, network->post, "relay", INBOX_LIMIT);
    network->actors[ADDRESS_RELAY] = self->actor;
    return self;
}

actor_t *relay_actor(relay_t *self)
{
    return self->actor;
}

void relay_destroy(relay_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
