/* SPDX-License-Identifier: Apache-2.0 */
/* Where reading begins is known when a partition has told its end once. What was published before
 * that, and not brought, sync is told to read: so it is told whenever reading begins anew, and
 * when it ends. */
#include "bridge/tail.h"

#include <stdlib.h>

#include "actors/log.h"
#include "actors/message.h"
#include "actors/pg_loop.h"
#include "bridge/keyring.h"
#include "bridge/kafka_reader.h"
#include "bridge/topics.h"

#define INBOX_LIMIT 16
#define SERVE_US INT64_C(1000000)
#define RETRY_US INT64_C(2000000)
#define CLOSE_US INT64_C(1000000)
#define TAKE_RECORDS 256
/* One message to sync; and how many it may have before it. */
#define MESSAGE_BYTES ((size_t)128 * 1024)
#define MAX_WAITING 16
#define BUSY_US INT64_C(1000)
/* Records in one turn of the loop, at least. */
#define TURN_RECORDS 4096
/* A notice waits so long for the record, which may have come that much before it. */
#define GRACE_US INT64_C(50000)
#define BEFORE_US INT64_C(100000)
#define ASK_US INT64_C(1000000)

typedef struct {
    metric_t *records;
    metric_t *decode_errors;
    metric_t *mac_errors;
    metric_t *stale;
    metric_t *strange;
    metric_t *fallbacks;
    metric_t *on;
} tail_metrics_t;

struct tail {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    pg_loop_t loop;
    record_coder_t *coder;
    keyring_t keyring;
    port_t *sync;
    mailbox_t *inbox_of_sync;
    doorbell_t *bell_of_sync;
    batch_t batch;

    kafka_reader_t *reader; /* NULL: to be made, not before `open_mono_us` */
    int64_t open_mono_us;
    int64_t serve_mono_us;
    int64_t ask_mono_us; /* for the epoch of a strange record: not before */
    int32_t n_partitions; /* that are read */
    int32_t next; /* whose turn it is */
    bool has_begun; /* all of them */
    bool is_on; /* what is published from now on comes by here */

    shard_set_t noticed; /* where something was written that we have not seen come */
    int64_t noticed_mono_us[N_SHARDS];
    int64_t heard_mono_us[N_SHARDS]; /* when Kafka brought something of the shard */
    log_once_t trouble;
    tail_metrics_t metrics;
};

static shard_set_t bit(unsigned shard)
{
    return (shard_set_t)1 << shard;
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sync is to read the log. */
static void point_to_log(tail_t *self, shard_set_t shards)
{
    doorbell_ring(self->bell_of_sync, shards);
}

/* --- whether Kafka brings what is new --- */

static bool has_begun(const tail_t *self)
{
    int32_t partition = 0;
    while (partition < self->n_partitions && kafka_reader_lag(self->reader, partition) >= 0)
        partition++;
    return self->n_partitions > 0 && partition == self->n_partitions;
}

static void follow_kafka(tail_t *self)
{
    self->has_begun = self->reader != NULL && (self->has_begun || has_begun(self));
    bool is_on = self->has_begun && topics_are_there(self->network->topics) &&
                 keyring_is_known(&self->keyring);
    if (is_on == self->is_on)
        return;
    self->is_on = is_on;
    self->noticed = 0;
    metric_set(self->metrics.on, is_on);
    log_line(LOG_INFO, "tail",
             is_on ? "clients are told what Kafka brings" : "clients are told what the log brings",
             "partitions=%d", (int)self->n_partitions);
    point_to_log(self, SHARDS_ALL);
}

/* --- notices --- */

static void tail_rung(void *arg, uint64_t bits, now_t now)
{
    tail_t *self = arg;
    shard_set_t fresh = bits & ~self->noticed;
    if (!self->is_on) {
        if (bits != 0)
            point_to_log(self, bits);
        return;
    }
    self->noticed |= fresh;
    for (unsigned shard = 0; fresh != 0 && shard < N_SHARDS; shard++) {
        if (fresh & bit(shard))
            self->noticed_mono_us[shard] = now.mono_us;
    }
}

/* Answers how long none of them is due. */
static int64_t follow_notices(tail_t *self, now_t now)
{
    int64_t wait_us = SERVE_US;
    shard_set_t missed = 0;
    for (unsigned shard = 0; self->noticed != 0 && shard < N_SHARDS; shard++) {
        int64_t since_us = now.mono_us - self->noticed_mono_us[shard];
        if ((self->noticed & bit(shard)) == 0)
            continue;
        if (since_us < GRACE_US) {
            wait_us = shorter(wait_us, GRACE_US - since_us);
            continue;
        }
        self->noticed &= ~bit(shard);
        if (self->heard_mono_us[shard] < self->noticed_mono_us[shard] - BEFORE_US)
            missed |= bit(shard);
    }
    if (missed != 0) {
        metric_add(self->metrics.fallbacks, 1);
        point_to_log(self, missed);
    }
    return wait_us;
}

/* --- records --- */

/* What finds no room in sync's inbox is in the log. */
static void send_batch(tail_t *self)
{
    message_t message;
    if (self->batch.n_items == 0)
        return;
    batch_finish(&self->batch, &message);
    if (port_send(self->sync, &message) != ERR_OK)
        point_to_log(self, SHARDS_ALL);
}

/* Of an epoch that we have not heard of: it is in the log if it is in this database. */
static void take_strange(tail_t *self, now_t now)
{
    metric_add(self->metrics.strange, 1);
    if (now.mono_us < self->ask_mono_us)
        return;
    self->ask_mono_us = now.mono_us + ASK_US;
    keyring_ask(&self->keyring);
}

static void take_record(tail_t *self, const record_t *record, now_t now)
{
    record_position_t place;
    log_event_t event;
    const char *why = "";
    switch (record_read(self->coder, record, &place, &event, &why)) {
    case RECORD_EVENT:
        self->heard_mono_us[place.shard] = now.mono_us;
        tail_begin(&self->batch);
        tail_put(&self->batch, &event, place.before);
        break;
    case RECORD_PLACE:
        self->heard_mono_us[place.shard] = now.mono_us;
        point_to_log(self, bit(place.shard));
        break;
    case RECORD_STALE:
        metric_add(self->metrics.stale, 1);
        break;
    case RECORD_STRANGE:
        take_strange(self, now);
        break;
    case RECORD_POISON:
        metric_add(self->metrics.decode_errors, 1);
        break;
    case RECORD_FORGED:
        metric_add(self->metrics.mac_errors, 1);
        break;
    }
}

static size_t take_some(tail_t *self, int32_t partition, now_t now)
{
    kafka_message_t messages[TAKE_RECORDS];
    size_t n = kafka_reader_take(self->reader, partition, messages, TAKE_RECORDS);
    for (size_t i = 0; i < n; i++) {
        record_t record;
        kafka_message_record(&messages[i], &record);
        take_record(self, &record, now);
        kafka_message_release(&messages[i]);
        if (self->batch.buf.n_bytes >= MESSAGE_BYTES)
            send_batch(self);
    }
    metric_add(self->metrics.records, (int64_t)n);
    return n;
}

static bool is_sync_busy(const tail_t *self)
{
    return mailbox_depth(self->inbox_of_sync) >= MAX_WAITING;
}

/* Partition by partition, so that none starves. Answers how long there is nothing more to do. */
static int64_t take_records(tail_t *self, now_t now)
{
    int32_t n_idle = 0;
    size_t n_records = 0;
    while (self->reader != NULL && n_idle < self->n_partitions && n_records < TURN_RECORDS &&
           !is_sync_busy(self)) {
        size_t n = take_some(self, self->next, now);
        self->next = (self->next + 1) % self->n_partitions;
        n_idle = n > 0 ? 0 : n_idle + 1;
        n_records += n;
    }
    send_batch(self);
    if (self->reader == NULL || n_idle == self->n_partitions)
        return SERVE_US;
    return is_sync_busy(self) ? BUSY_US : 0;
}

/* --- the reader --- */

static void close_reader(tail_t *self)
{
    if (self->reader == NULL)
        return;
    actor_watch(self->actor, kafka_reader_fd(self->reader), 0, NULL, NULL);
    if (!kafka_reader_destroy(&self->reader, clock_now().mono_us + CLOSE_US))
        log_line(LOG_WARN, "tail", "librdkafka does not end", NULL);
    self->n_partitions = 0;
    self->next = 0;
}

static void on_readable(void *arg, short events, now_t now)
{
    tail_t *self = arg;
    (void)events;
    self->serve_mono_us = now.mono_us;
}

static void open_reader(tail_t *self, now_t now)
{
    char error[KAFKA_ERROR_CHARS] = "";
    self->open_mono_us = now.mono_us + RETRY_US;
    self->reader = kafka_reader_new(self->network->config, KAFKA_TASK_EVENTS, KAFKA_FROM_END, error,
                                    sizeof error);
    if (self->reader == NULL) {
        if (log_once(&self->trouble))
            log_line(LOG_ERROR, "tail", "task-events cannot be read", "why=\"%s\"", error);
        return;
    }
    (void)log_clear(&self->trouble);
    self->serve_mono_us = now.mono_us;
    actor_watch(self->actor, kafka_reader_fd(self->reader), POLLIN, on_readable, self);
}

/* How far behind the ends it is. */
static void publish(tail_t *self)
{
    int64_t lag = 0;
    for (int32_t i = 0; self->reader != NULL && i < self->n_partitions; i++) {
        int64_t behind = kafka_reader_lag(self->reader, i);
        lag += behind > 0 ? behind : 0;
    }
    actor_note(self->actor, "partitions", self->n_partitions);
    actor_note(self->actor, "lag", lag);
}

/* A topic that is missing, or was made anew, is read by another reader. */
static void follow_topic(tail_t *self, now_t now)
{
    bool is_fenced;
    const char *why;
    int32_t n = topics_partitions(self->network->topics, KAFKA_TASK_EVENTS);
    if (self->reader != NULL &&
        (n < self->n_partitions || kafka_reader_is_broken(self->reader, &is_fenced, &why)))
        close_reader(self);
    if (self->reader == NULL && n > 0 && now.mono_us >= self->open_mono_us)
        open_reader(self, now);
    if (self->reader == NULL)
        return;
    if (n > self->n_partitions) {
        kafka_reader_assign(self->reader, n);
        self->n_partitions = n;
        self->has_begun = false;
    }
    if (now.mono_us < self->serve_mono_us)
        return;
    self->serve_mono_us = now.mono_us + SERVE_US;
    kafka_reader_serve(self->reader);
    publish(self);
}

/* --- the actor --- */

static void follow_history(tail_t *self)
{
    keyring_turn(&self->keyring);
    if (!self->keyring.has_changed)
        return;
    self->keyring.has_changed = false;
    point_to_log(self, SHARDS_ALL); /* what was passed over as strange */
}

static int64_t tail_due(void *arg, now_t now)
{
    tail_t *self = arg;
    int64_t sleep_us = pg_loop_turn(&self->loop, now);
    follow_history(self);
    follow_topic(self, now);
    sleep_us = shorter(sleep_us, take_records(self, now));
    follow_kafka(self);
    actor_note(self->actor, "on", self->is_on);
    sleep_us = shorter(sleep_us, follow_notices(self, now));
    return shorter(sleep_us, pg_loop_turn(&self->loop, now));
}

static void open_metrics(tail_t *self)
{
    metrics_t *all = self->network->metrics;
    self->metrics = (tail_metrics_t){
        .records = metrics_counter(all, "taskwire_tail_records_total", NULL,
                                   "Records taken from Kafka for clients"),
        .decode_errors =
            metrics_counter(all, "taskwire_tail_decode_errors_total", NULL,
                            "Records for clients that have not the form of taskwire's"),
        .mac_errors = metrics_counter(all, "taskwire_tail_mac_errors_total", NULL,
                                      "Records for clients whose MAC is not right"),
        .stale = metrics_counter(all, "taskwire_tail_stale_total", NULL,
                                 "Records for clients of an epoch that has ended"),
        .strange = metrics_counter(all, "taskwire_tail_strange_total", NULL,
                                   "Records for clients of an epoch that is not known"),
        .fallbacks =
            metrics_counter(all, "taskwire_tail_fallbacks_total", NULL,
                            "Times that the log was read for what Kafka did not bring in time"),
        .on = metrics_gauge(all, "taskwire_tail_on", NULL,
                            "Whether Kafka brings clients what other processes write"),
    };
}

static err_t tail_open(void *arg, actor_t *actor)
{
    tail_t *self = arg;
    const config_t *config = self->network->config;
    const pg_options_t options = {.url = config->database_url,
                                  .who = "taskwire tail",
                                  .options = "-c default_transaction_read_only=on",
                                  .reply_timeout_us = 5000000};
    self->sync = network_port(self->network, ADDRESS_SYNC);
    self->inbox_of_sync = actor_inbox(self->network->actors[ADDRESS_SYNC]);
    self->bell_of_sync = actor_bell(self->network->actors[ADDRESS_SYNC]);
    open_metrics(self);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    self->coder = record_coder_new(config->kafka_msgpack ? RECORD_MSGPACK : RECORD_JSON);
    keyring_init(&self->keyring, self->pg, self->coder);
    return ERR_OK;
}

static void tail_close(void *arg)
{
    tail_t *self = arg;
    close_reader(self);
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
    record_coder_destroy(&self->coder);
    port_destroy(&self->sync);
    batch_fini(&self->batch);
}

/* Nothing needs finishing. */
static const actor_ops_t tail_ops = {
    .name = "tail",
    .open = tail_open,
    .rung = tail_rung,
    .due = tail_due,
    .close = tail_close,
};

tail_t *tail_new(network_t *network)
{
    tail_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&tail_ops, self, network->post, "tail", INBOX_LIMIT);
    network->actors[ADDRESS_TAIL] = self->actor;
    return self;
}

actor_t *tail_actor(tail_t *self)
{
    return self->actor;
}

void tail_destroy(tail_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
