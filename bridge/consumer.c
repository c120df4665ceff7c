/* SPDX-License-Identifier: Apache-2.0 */
/* The group and the terms. A rebalance ends the term of the dispatch and begins another one with
 * the positions of the shards that come by the new partitions, read anew: whoever had them before
 * may have handled more. Nothing is waited for when partitions are given up: who gets them begins
 * at what was saved, and drops or repeats the rest.
 *
 * A process that was frozen past its session timeout finds its partitions lost and joins again.
 * What it still says under its former membership may cost it the new one, as if another process had
 * joined under its name; only who loses the name twice goes on without it. */
#include "bridge/consumer_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/lineage.h"

#define INBOX_LIMIT 256
/* From one small batch to the next: each costs every actor a transaction. */
#define GATHER_US INT64_C(10000)
/* Small batches wait while so many are under way, and become larger. */
#define MAX_SMALL 2
#define SERVE_US INT64_C(1000000)
#define JOIN_RETRY_US INT64_C(2000000)
#define CLOSE_US INT64_C(1000000)
/* Who loses its name within so long again has lost it to another process. */
#define FENCE_US INT64_C(60000000)
#define REFRESH_MS 500
/* Records in one turn of the loop, at least: then acknowledgements are looked at. */
#define TURN_RECORDS 4096

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- offsets --- */

/* Stores what all actors have acknowledged. */
static void settle(consumer_t *self)
{
    const ticket_t done = {dispatch_done(self->dispatch), letters_done(self->letters)};
    for (size_t i = 0; i < self->n_lanes; i++) {
        lane_t *lane = &self->lanes[i];
        if (offsets_settle(&lane->offsets, done))
            (void)kafka_reader_store(self->reader, lane->partition, lane->offsets.done);
    }
}

/* --- partitions --- */

static void clear_lanes(consumer_t *self)
{
    for (size_t i = 0; i < self->n_lanes; i++) {
        metric_set(self->lanes[i].lag, 0);
        consumer_lane_release(&self->lanes[i]);
    }
    free(self->lanes);
    self->lanes = NULL;
    self->n_lanes = 0;
    self->shards = 0;
    self->is_term_due = true;
    metric_set(self->metrics.partitions, 0);
}

static void on_revoked(void *arg, bool is_lost)
{
    consumer_t *self = arg;
    if (self->n_lanes == 0)
        return;
    metric_add(self->metrics.rebalances, 1);
    if (is_lost)
        log_line(LOG_WARN, "consumer", "the partitions are lost to others", "n=%zu", self->n_lanes);
    else
        settle(self);
    clear_lanes(self);
    dispatch_end(self->dispatch);
}

static metric_t *lag_metric(const consumer_t *self, int32_t partition)
{
    char label[40];
    snprintf(label, sizeof label, "partition=\"%d\"", (int)partition);
    return metrics_gauge(self->network->metrics, "taskwire_consumer_lag_records", label,
                         "Records of a partition that this process has still to take");
}

static void on_assigned(void *arg, const int32_t *partitions, size_t n)
{
    consumer_t *self = arg;
    clear_lanes(self);
    self->lanes = calloc(n + 1, sizeof *self->lanes);
    if (self->lanes == NULL)
        abort();
    self->n_lanes = n;
    for (size_t i = 0; i < n; i++)
        self->lanes[i] =
            (lane_t){.partition = partitions[i], .lag = lag_metric(self, partitions[i])};
    metric_set(self->metrics.partitions, (int64_t)n);
    log_line(LOG_INFO, "consumer", "partitions assigned", "n=%zu", n);
}

/* The shards whose records go to our partitions. */
static shard_set_t own_shards(const consumer_t *self)
{
    shard_set_t shards = 0;
    for (unsigned shard = 0; shard < N_SHARDS && self->n_partitions > 0; shard++) {
        for (size_t i = 0; i < self->n_lanes; i++) {
            if ((int32_t)shard % self->n_partitions == self->lanes[i].partition)
                shards |= (shard_set_t)1 << shard;
        }
    }
    return shards;
}

/* --- the group --- */

static void leave(consumer_t *self)
{
    if (self->reader == NULL)
        return;
    actor_watch(self->actor, kafka_reader_fd(self->reader), 0, NULL, NULL);
    if (!kafka_reader_destroy(&self->reader, clock_now().mono_us + CLOSE_US))
        log_line(LOG_WARN, "consumer", "librdkafka does not end", NULL);
    clear_lanes(self); /* if it did not tell */
    dispatch_end(self->dispatch);
}

static void on_readable(void *arg, short events, now_t now)
{
    consumer_t *self = arg;
    (void)events;
    self->serve_mono_us = now.mono_us;
}

static void join(consumer_t *self, now_t now)
{
    char error[KAFKA_ERROR_CHARS] = "";
    const kafka_listener_t listener = {on_assigned, on_revoked, self};
    const char *instance = self->is_nameless ? NULL : self->instance;
    self->join_mono_us = now.mono_us + JOIN_RETRY_US;
    self->reader = kafka_reader_join(self->network->config, KAFKA_TASK_EVENTS, instance, &listener,
                                     error, sizeof error);
    if (self->reader == NULL) {
        log_line(LOG_ERROR, "consumer", "the group cannot be joined", "why=\"%s\"", error);
        return;
    }
    self->serve_mono_us = now.mono_us;
    actor_watch(self->actor, kafka_reader_fd(self->reader), POLLIN, on_readable, self);
}

/* Two processes of one name would take it from each other for ever: one of them goes on without. */
static void start_over(consumer_t *self, bool is_fenced, const char *why, now_t now)
{
    bool is_again = self->fenced_mono_us != 0 && now.mono_us - self->fenced_mono_us < FENCE_US;
    self->join_mono_us = now.mono_us + JOIN_RETRY_US;
    if (is_fenced)
        self->fenced_mono_us = now.mono_us;
    if (is_fenced && is_again) {
        self->is_nameless = true;
        metric_set(self->metrics.fenced, 1);
        log_line(LOG_ERROR, "consumer",
                 "another process joins Kafka's group under the name of this one; it goes on "
                 "without a name. Give each process a KAFKA_INSTANCE or a DATA_DIR of its own",
                 "name=\"%s\"", self->instance);
    } else {
        log_line(is_fenced ? LOG_WARN : LOG_ERROR, "consumer",
                 "reading from Kafka has to begin anew", "why=\"%s\"", why);
    }
    leave(self);
}

static void follow_group(consumer_t *self, now_t now)
{
    bool is_fenced;
    const char *why;
    int32_t n = topics_partitions(self->network->topics, KAFKA_TASK_EVENTS);
    if (self->reader == NULL && n > 0 && now.mono_us >= self->join_mono_us)
        join(self, now);
    if (self->reader == NULL)
        return;
    if (n > 0 && n != self->n_partitions) {
        if (self->n_partitions > 0)
            kafka_reader_refresh(self->reader, REFRESH_MS);
        self->n_partitions = n;
        self->is_term_due = true;
    }
    if (now.mono_us < self->serve_mono_us)
        return;
    self->serve_mono_us = now.mono_us + SERVE_US;
    kafka_reader_serve(self->reader);
    if (kafka_reader_is_broken(self->reader, &is_fenced, &why))
        start_over(self, is_fenced, why, now);
}

/* --- terms --- */

/* The offsets go on: where they are ahead of what is handled, the positions tell. */
static void end_term(consumer_t *self)
{
    self->is_term_due = false;
    self->keyring.has_changed = false;
    settle(self);
    dispatch_end(self->dispatch);
    gaps_clear(self);
    for (size_t i = 0; i < self->n_lanes; i++)
        offsets_void(&self->lanes[i].offsets);
}

static void follow_term(consumer_t *self)
{
    if (self->is_term_due || self->keyring.has_changed)
        end_term(self);
    if (!dispatch_is_off(self->dispatch) || self->n_lanes == 0 ||
        !keyring_is_known(&self->keyring) || !pg_is_ready(self->pg))
        return;
    self->shards = own_shards(self);
    (void)dispatch_begin(self->dispatch, slice_of(self->keyring.epoch, EPOCH_CHARS), self->shards);
}

/* --- records --- */

/* Lane by lane, so that none starves. True: there is more, and room for it. */
static bool serve_lanes(consumer_t *self, now_t now)
{
    size_t n_idle = 0, n_records = 0;
    while (self->n_lanes > 0 && n_idle < self->n_lanes && n_records < TURN_RECORDS) {
        self->next_lane = (self->next_lane + 1) % self->n_lanes;
        size_t n = consumer_lane_turn(self, &self->lanes[self->next_lane], now);
        n_idle = n > 0 ? 0 : n_idle + 1;
        n_records += n;
    }
    return n_records >= TURN_RECORDS;
}

/* Sends what was gathered, if it is time; answers how long it is not. */
static int64_t flush(consumer_t *self, now_t now)
{
    if (dispatch_n_waiting(self->dispatch) == 0 ||
        dispatch_n_under_way(self->dispatch) >= MAX_SMALL)
        return INT64_MAX;
    if (now.mono_us < self->flush_mono_us)
        return self->flush_mono_us - now.mono_us;
    dispatch_flush(self->dispatch);
    self->flush_mono_us = now.mono_us + GATHER_US;
    return INT64_MAX;
}

/* --- the actor --- */

static void publish(consumer_t *self)
{
    int64_t lag = 0;
    for (size_t i = 0; i < self->n_lanes; i++) {
        const lane_t *lane = &self->lanes[i];
        int64_t behind = kafka_reader_lag(self->reader, lane->partition);
        behind = (behind < 0 ? 0 : behind) + (int64_t)lane->n;
        metric_set(lane->lag, behind);
        lag += behind;
    }
    unsigned n = dispatch_n_under_way(self->dispatch);
    metric_set(self->metrics.in_flight, n);
    actor_note(self->actor, "partitions", (int64_t)self->n_lanes);
    actor_note(self->actor, "handing_out", dispatch_is_on(self->dispatch));
    actor_note(self->actor, "under_way", n);
    actor_note(self->actor, "under_way_limit", LEDGER_MAX_BATCHES);
    actor_note(self->actor, "lag", lag);
    actor_note(self->actor, "gaps", __builtin_popcountll(self->gaps.shards));
    actor_note(self->actor, "rebalances", metric_value(self->metrics.rebalances));
}

static void consumer_receive(void *arg, slice_t bytes, now_t now)
{
    consumer_t *self = arg;
    mp_reader_t content;
    (void)now;
    if (message_kind(bytes, &content) == MESSAGE_ACK)
        dispatch_acknowledge(self->dispatch, bytes, &content);
}

static int64_t consumer_due(void *arg, now_t now)
{
    consumer_t *self = arg;
    int64_t sleep_us = pg_loop_turn(&self->loop, now);
    keyring_turn(&self->keyring);
    follow_group(self, now);
    follow_term(self);
    bool has_more = dispatch_is_on(self->dispatch) && serve_lanes(self, now);
    sleep_us = shorter(sleep_us, gaps_turn(self, now));
    sleep_us = shorter(sleep_us, flush(self, now));
    sleep_us = shorter(sleep_us, dispatch_turn(self->dispatch, now));
    sleep_us = shorter(sleep_us, letters_turn(self->letters, now));
    settle(self);
    int n_queries = pg_in_flight(self->pg);
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->loop, now));
    publish(self);
    has_more = has_more || pg_in_flight(self->pg) < n_queries; /* an answer: it may go on */
    return has_more ? 0 : shorter(sleep_us, SERVE_US);
}

/* What the actors have not acknowledged comes again, here or elsewhere. */
static bool consumer_drain(void *arg, now_t now)
{
    consumer_t *self = arg;
    settle(self);
    return dispatch_drain(self->dispatch, now);
}

static void open_metrics(consumer_t *self)
{
    metrics_t *all = self->network->metrics;
    self->metrics = (consumer_metrics_t){
        .records = metrics_counter(all, "taskwire_consumer_records_total", NULL,
                                   "Records taken from Kafka"),
        .duplicates = metrics_counter(all, "taskwire_consumer_duplicates_total", NULL,
                                      "Records of events that had been handed out before"),
        .stale = metrics_counter(all, "taskwire_consumer_stale_total", NULL,
                                 "Records of an epoch that has ended"),
        .poison = metrics_counter(all, "taskwire_consumer_poison_total", NULL,
                                  "Records that could not be verified or read"),
        .decode_errors = metrics_counter(all, "taskwire_consumer_decode_errors_total", NULL,
                                         "Of them, those that have not the form of taskwire's"),
        .mac_errors = metrics_counter(all, "taskwire_consumer_mac_errors_total", NULL,
                                      "Of them, those whose MAC is not right"),
        .gaps = metrics_counter(all, "taskwire_consumer_gaps_total", NULL,
                                "Times that the log was read for what Kafka did not bring"),
        .repaired = metrics_counter(all, "taskwire_consumer_repaired_total", NULL,
                                    "Events handed out from the log in place of Kafka"),
        .rebalances = metrics_counter(all, "taskwire_consumer_rebalances_total", NULL,
                                      "Times that partitions were given up or lost"),
        .in_flight = metrics_gauge(all, "taskwire_consumer_batches_in_flight", NULL,
                                   "Batches of events that not every actor has acknowledged"),
        .partitions = metrics_gauge(all, "taskwire_consumer_partitions", NULL,
                                    "Partitions of task-events that this process reads"),
        .fenced = metrics_gauge(all, "taskwire_consumer_fenced", NULL,
                                "Whether another process has taken this one's name in the group"),
    };
}

static err_t consumer_open(void *arg, actor_t *actor)
{
    consumer_t *self = arg;
    const config_t *config = self->network->config;
    pg_options_t options = {.url = config->database_url,
                            .who = "taskwire consumer",
                            .options = "-c statement_timeout=10000 -c jit=off -c enable_seqscan=off"
                                       " -c plan_cache_mode=force_generic_plan",
                            .reply_timeout_us = 10000000};
    kafka_topic_name(config, kafka_topic_names[KAFKA_TASK_EVENTS], self->topic);
    if (kafka_instance(config, self->instance) != ERR_OK)
        return ERR_INTERNAL;
    lineage_guard(self->network->lineage, &options);
    open_metrics(self);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    self->dispatch = dispatch_new(self->network, actor, self->pg);
    self->letters = letters_new(self->network, self->pg);
    self->coder = record_coder_new(config->kafka_msgpack ? RECORD_MSGPACK : RECORD_JSON);
    keyring_init(&self->keyring, self->pg, self->coder);
    return ERR_OK;
}

static void consumer_close(void *arg)
{
    consumer_t *self = arg;
    leave(self);
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
    letters_destroy(&self->letters);
    dispatch_destroy(&self->dispatch);
    record_coder_destroy(&self->coder);
}

static const actor_ops_t consumer_ops = {
    .name = "consumer",
    .open = consumer_open,
    .receive = consumer_receive,
    .due = consumer_due,
    .drain = consumer_drain,
    .close = consumer_close,
};

consumer_t *consumer_new(network_t *network)
{
    consumer_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&consumer_ops, self, network->post, "consumer", INBOX_LIMIT);
    network->actors[ADDRESS_CONSUMER] = self->actor;
    return self;
}

actor_t *consumer_actor(consumer_t *self)
{
    return self->actor;
}

void consumer_destroy(consumer_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
