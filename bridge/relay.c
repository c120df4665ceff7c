/* SPDX-License-Identifier: Apache-2.0 */
/* A term of the dispatch, or in Kafka mode of the publisher, begins when the lease is won and ends
 * when it is lost. Everything that touches the database goes through one pipelined connection:
 * reading the log, saving positions, dead letters. */
#include "bridge/relay.h"

#include "actors/eventlog.h"
#include "actors/lineage.h"
#include "actors/log.h"
#include "actors/pg_loop.h"
#include "bridge/dispatch.h"
#include "bridge/lag.h"
#include "bridge/lease.h"
#include "bridge/outbox.h"
#include "bridge/progress.h"
#include "bridge/publisher.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define READ_EVENTS 512 /* of a shard */
#define READ_EVENTS_MIN 64
#define POLL_US INT64_C(1000000)
/* From one reading to the next. Each costs every actor a transaction, and nobody waits for them as
 * clients wait for sync; what the writer commits meanwhile comes with the next. */
#define GATHER_US INT64_C(10000)
/* In Kafka mode they do wait, and a reading costs nobody else anything. */
#define GATHER_KAFKA_US INT64_C(1000)
#define READ_EVENTS_KAFKA 4096
/* What an event takes, as far as is known at first. */
#define EVENT_BYTES 512
/* What could not be read is read again. */
#define RETRY_US INT64_C(100000)

struct relay {
    network_t *network;
    actor_t *actor;
    lease_t lease;
    pg_t *pg;
    pg_loop_t loop;
    dispatch_t *dispatch; /* NULL in Kafka mode */
    publisher_t *publisher; /* NULL in local mode */
    outbox_t *outbox; /* the same */
    port_t *reminder;
    bool is_leading; /* and told so */
    shard_set_t grown; /* may have more to read */
    shard_set_t passed_over; /* of them, that the last reading left out: they come first */
    bool is_reading;
    uint64_t read_run; /* of the publisher, when the reading began */
    int64_t read_mono_us; /* the next reading: not before */
    int64_t n_events; /* of this reading */
    int64_t n_bytes; /* of their bodies */
    int64_t event_bytes; /* of one, by the last reading that brought some */
    int64_t poll_mono_us;
    lag_t lag;
    metric_t *lag_seconds;
    metric_t *lag_events;
    metric_t *leading;
};

/* --- where events go --- */

static bool is_on(const relay_t *self)
{
    return self->publisher != NULL ? publisher_is_on(self->publisher)
                                   : dispatch_is_on(self->dispatch);
}

static slice_t term_epoch(const relay_t *self)
{
    return self->publisher != NULL ? publisher_epoch(self->publisher)
                                   : dispatch_epoch(self->dispatch);
}

static void begin_term(relay_t *self, slice_t epoch)
{
    if (self->publisher != NULL)
        publisher_begin(self->publisher, epoch);
    else if (dispatch_is_off(self->dispatch))
        (void)dispatch_begin(self->dispatch, epoch, SHARDS_ALL);
}

static void end_term(relay_t *self)
{
    if (self->publisher != NULL)
        publisher_end(self->publisher);
    else
        dispatch_end(self->dispatch);
}

static bool has_room(const relay_t *self)
{
    return self->publisher != NULL ? publisher_has_room(self->publisher)
                                   : dispatch_has_room(self->dispatch);
}

/* The last id of each shard that has gone there. */
static const int64_t *gone(const relay_t *self)
{
    return self->publisher != NULL ? publisher_taken(self->publisher)
                                   : dispatch_handed(self->dispatch);
}

static uint64_t run_of(const relay_t *self)
{
    return self->publisher != NULL ? publisher_run(self->publisher) : 0;
}

/* False: there is no room. */
static bool offer(relay_t *self, const log_event_t *event)
{
    if (self->publisher != NULL)
        return publisher_offer(self->publisher, event);
    int64_t before = dispatch_handed(self->dispatch)[event->shard];
    return dispatch_offer(self->dispatch, event, before) != DISPATCH_NO_ROOM;
}

static int64_t oldest_us(const relay_t *self)
{
    return self->publisher != NULL ? publisher_oldest_us(self->publisher)
                                   : dispatch_oldest_us(self->dispatch);
}

/* --- handing out --- */

static void on_event(void *arg, const log_event_t *event)
{
    relay_t *self = arg;
    self->n_events++;
    self->n_bytes += (int64_t)event->body.n_bytes;
    /* Positions that have gone back since are none that this reading goes on from; and nothing
     * overtakes what there was no room for. */
    if (!self->is_leading || self->read_run != run_of(self) ||
        (self->passed_over >> event->shard & 1) != 0 || offer(self, event))
        return;
    /* The rest is read again when there is room. */
    self->passed_over |= (shard_set_t)1 << event->shard;
    self->grown |= self->passed_over;
}

static void on_read(void *arg, const eventlog_end_t *end)
{
    relay_t *self = arg;
    self->is_reading = false;
    if (self->n_events > 0)
        self->event_bytes = 1 + self->n_bytes / self->n_events;
    if (self->dispatch != NULL)
        dispatch_flush(self->dispatch);
    if (self->read_run != run_of(self))
        self->grown = SHARDS_ALL;
    if (end->fate == PG_OK)
        self->grown |= end->more;
    if (self->grown & (end->more | self->passed_over))
        self->read_mono_us = 0; /* there is enough to read */
    if (end->fate != PG_OK)
        self->poll_mono_us = clock_now().mono_us + RETRY_US;
}

static bool can_read(const relay_t *self, now_t now)
{
    return now.mono_us >= self->read_mono_us && self->is_leading && !self->is_reading &&
           self->grown != 0 && has_room(self) && pg_is_ready(self->pg);
}

/* Of a shard no more events than there will be bytes for: the database fetches them all before it
 * leaves out what is too much. */
static int read_limit(const relay_t *self, shard_set_t shards)
{
    int64_t most = self->publisher != NULL ? READ_EVENTS_KAFKA : READ_EVENTS;
    int64_t n = EVENTLOG_READ_BYTES / __builtin_popcountll(shards) / self->event_bytes + 1;
    return (int)(n > most ? most : n < READ_EVENTS_MIN ? READ_EVENTS_MIN : n);
}

static void read_on(relay_t *self, now_t now)
{
    if (now.mono_us >= self->poll_mono_us || self->read_run != run_of(self)) {
        self->poll_mono_us = now.mono_us + POLL_US;
        self->grown = SHARDS_ALL;
    }
    if (!can_read(self, now))
        return;
    shard_set_t shards = self->passed_over != 0 ? self->passed_over : self->grown;
    self->passed_over = 0;
    self->grown &= ~shards;
    const eventlog_reader_t reader = {on_event, on_read, self};
    self->read_run = run_of(self);
    self->n_events = self->n_bytes = 0;
    if (eventlog_read(self->pg, gone(self), shards, read_limit(self, shards), &reader) != ERR_OK) {
        self->grown |= shards;
        return;
    }
    self->is_reading = true;
    self->read_mono_us = now.mono_us + (self->publisher != NULL ? GATHER_KAFKA_US : GATHER_US);
    (void)pg_sync(self->pg);
}

static void relay_receive(void *arg, slice_t bytes, now_t now)
{
    relay_t *self = arg;
    mp_reader_t content;
    (void)now;
    if (message_kind(bytes, &content) == MESSAGE_ACK && self->dispatch != NULL)
        dispatch_acknowledge(self->dispatch, bytes, &content);
}

/* --- terms --- */

static void lead(relay_t *self, bool is_leading)
{
    message_t message;
    self->is_leading = is_leading;
    self->grown = SHARDS_ALL;
    self->passed_over = 0;
    lead_encode(is_leading, &message);
    if (self->reminder == NULL)
        message_fini(&message);
    else if (port_send(self->reminder, &message) != ERR_OK)
        actor_fail(self->actor, ERR_INTERNAL, "the inbox of the reminder actor is too small");
    metric_set(self->leading, is_leading);
    log_line(LOG_INFO, "relay", is_leading ? "leading" : "standing by", NULL);
}

static void follow_lease(relay_t *self)
{
    slice_t epoch = lease_epoch(&self->lease);
    bool is_held = lease_is_held(&self->lease);
    bool is_same = slice_eq(epoch, term_epoch(self));
    if (is_on(self) && (!is_held || !is_same)) {
        pg_break(self->pg, is_held ? "another epoch has begun" : "the lease is lost");
        end_term(self);
    }
    if (is_held && pg_is_ready(self->pg))
        begin_term(self, epoch);
    if (is_on(self) != self->is_leading)
        lead(self, !self->is_leading);
}

/* What is behind, in time and in events. */
static void measure_lag(relay_t *self, now_t now)
{
    int64_t positions[N_SHARDS];
    int64_t oldest = oldest_us(self);
    int64_t lag_us = oldest == 0 || oldest > now.wall_us ? 0 : now.wall_us - oldest;
    metric_set(self->lag_seconds, lag_us / US_PER_S);
    actor_note(self->actor, "lag_us", lag_us);
    metric_set(self->lag_events, self->is_leading ? self->lag.n_events : 0);
    if (!self->is_leading || !lag_is_due(&self->lag, now))
        return;
    if (self->publisher != NULL)
        publisher_arrived(self->publisher, positions);
    else
        dispatch_handled(self->dispatch, positions);
    lag_ask(&self->lag, self->pg, positions, now);
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
    sleep_us = shorter(sleep_us, self->publisher != NULL ? publisher_turn(self->publisher, now)
                                                         : dispatch_turn(self->dispatch, now));
    if (self->outbox != NULL)
        sleep_us = shorter(sleep_us, outbox_turn(self->outbox, is_on(self), now));
    read_on(self, now);
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->loop, now));
    if (can_read(self, now))
        sleep_us = 0; /* that has brought an answer, and there is more */
    else if (self->grown != 0 && now.mono_us < self->read_mono_us)
        sleep_us = shorter(sleep_us, self->read_mono_us - now.mono_us);
    measure_lag(self, now);
    actor_note(self->actor, "leading", self->is_leading);
    bool is_kafka = self->publisher != NULL;
    actor_note(self->actor, "under_way",
               is_kafka ? publisher_n_under_way(self->publisher)
                        : dispatch_n_under_way(self->dispatch));
    actor_note(self->actor, "under_way_limit", is_kafka ? PROGRESS_MAX_EVENTS : LEDGER_MAX_BATCHES);
    return shorter(sleep_us, POLL_US);
}

/* Positions are saved on the way out, so that the next start has less to look at again. */
static bool relay_drain(void *arg, now_t now)
{
    relay_t *self = arg;
    return self->publisher != NULL ? publisher_drain(self->publisher, now)
                                   : dispatch_drain(self->dispatch, now);
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
    self->reminder = network_port(self->network, ADDRESS_REMINDER);
    lease_open(&self->lease, actor, self->network->config->database_url);
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    if (self->network->topics != NULL) {
        self->publisher = publisher_new(self->network, actor, self->pg);
        self->outbox = outbox_new(self->network, actor, self->pg);
    } else {
        self->dispatch = dispatch_new(self->network, actor, self->pg);
    }
    self->lag_seconds = metrics_gauge(metrics, "taskwire_relay_lag_seconds", NULL,
                                      "Age of the oldest event that not every actor has handled");
    self->lag_events = metrics_gauge(metrics, "taskwire_relay_lag_events", NULL,
                                     "Events that not every actor has handled, or in Kafka mode "
                                     "that Kafka has not; counted up to 100000");
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
    dispatch_destroy(&self->dispatch);
    outbox_destroy(&self->outbox);
    publisher_destroy(&self->publisher);
    port_destroy(&self->reminder);
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
    self->event_bytes = EVENT_BYTES;
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
