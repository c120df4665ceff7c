/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's question for metadata is one that waits, so this is an actor whose thread may wait.
 * The same answer tells whether Kafka is there at all.
 *
 * `task-updates` is compacted by key, and keys are spread by shard modulo partitions: with another
 * number a key would go on in another partition, and what the old one has of it would stand for
 * ever. So its number is written down in the database when it is first seen, and nothing goes to
 * Kafka before it has been compared. */
#include "bridge/topics.h"

#include "actors/pg_loop.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define INBOX_LIMIT 16
#define LOOK_US INT64_C(2000000)
#define LOOK_AGAIN_US INT64_C(300000) /* while something is wrong */
/* The database is given that long before the first look, which waits while Kafka is away. */
#define PATIENCE_US INT64_C(1000000)
#define ANSWER_MS 1000
#define CREATE_MS 5000
#define END_US INT64_C(1000000)

static const pg_stmt_t insert_topic = {
    "INSERT INTO kafka_topic (name, partitions) VALUES ($1::text, $2::int) ON CONFLICT DO NOTHING"};
static const pg_stmt_t select_topic = {"SELECT partitions FROM kafka_topic WHERE name = $1::text"};

/* Who finds it missing says so before it is made: then all of it is written again. */
static const pg_stmt_t forget_topic = {"UPDATE kafka_topic SET epoch = NULL WHERE name = $1::text"};

typedef struct {
    char name[KAFKA_NAME_CHARS];
    rd_kafka_topic_t *handle; /* so that questions for metadata include it */
    atomic_int n_partitions; /* for others; 0: unknown or missing */
    bool is_missing;
} topic_t;

struct topics {
    network_t *network;
    actor_t *actor;
    rd_kafka_t *handle;
    pg_t *pg;
    pg_loop_t loop;
    topic_t topics[KAFKA_N_TOPICS];
    atomic_bool is_there;
    int64_t n_recorded; /* partitions of task-updates, in the database; 0: none or not known */
    bool is_asked; /* the database has said that it has none */
    bool is_asking;
    bool is_checked; /* and they are right */
    bool is_forgetting; /* the database is told that task-updates is missing */
    bool is_forgotten; /* and knows */
    int64_t look_mono_us;
    log_once_t away;
    log_once_t trouble;
    metric_t *up;
};

/* --- what others see --- */

int32_t topics_partitions(const topics_t *self, kafka_topic_t topic)
{
    return atomic_load(&self->topics[topic].n_partitions);
}

bool topics_are_there(const topics_t *self)
{
    return atomic_load(&self->is_there);
}

static void wake(topics_t *self, address_t address)
{
    if (self->network->actors[address] != NULL)
        doorbell_ring(actor_bell(self->network->actors[address]), 0);
}

static void set_partitions(topics_t *self, kafka_topic_t topic, int32_t n)
{
    topic_t *it = &self->topics[topic];
    int32_t former = atomic_exchange(&it->n_partitions, n);
    if (former == n)
        return;
    log_line(LOG_INFO, "topics", n == 0 ? "a topic is missing" : "a topic is there",
             "topic=%s partitions=%d before=%d", it->name, (int)n, (int)former);
    wake(self, ADDRESS_RELAY);
    wake(self, ADDRESS_CONSUMER);
    wake(self, ADDRESS_TAIL);
}

static void set_there(topics_t *self, const char *why)
{
    bool is_there = why == NULL;
    char reason[NETWORK_WHY_CHARS];
    snprintf(reason, sizeof reason, "Kafka is away: %s", is_there ? "" : why);
    if (atomic_exchange(&self->is_there, is_there) != is_there)
        wake(self, ADDRESS_TAIL);
    metric_set(self->up, is_there);
    network_set_degraded(self->network, DEGRADED_KAFKA, is_there ? NULL : reason);
    if (!is_there && log_once(&self->away))
        log_line(LOG_WARN, "topics", "Kafka is away; events wait in the database", "why=\"%s\"",
                 why);
    if (is_there && log_clear(&self->away))
        log_line(LOG_INFO, "topics", "Kafka is there again", NULL);
}

/* --- the number that must not change --- */

/* Whether it may be used; false while that is not known. Ends the program if it may not. */
static bool is_right(topics_t *self, int64_t n)
{
    const config_t *config = self->network->config;
    int64_t n_wanted = config->kafka_task_updates_partitions;
    const char *key = config_key(config, "KAFKA_TASK_UPDATES_PARTITIONS");
    const char *name = self->topics[KAFKA_TASK_UPDATES].name;
    if (self->n_recorded != 0 && self->n_recorded != n_wanted)
        log_line(LOG_ERROR, "topics", "the number of partitions of a compacted topic never changes",
                 "setting=%s value=%lld topic=%s it_had=%lld", key, (long long)n_wanted, name,
                 (long long)self->n_recorded);
    else if (n != 0 && n != n_wanted)
        log_line(LOG_ERROR, "topics", "a topic has another number of partitions than the settings",
                 "setting=%s value=%lld topic=%s it_has=%lld", key, (long long)n_wanted, name,
                 (long long)n);
    else
        return self->n_recorded != 0;
    actor_fail(self->actor, ERR_INVALID, "the partitions of task-updates are not what they were");
    return false;
}

static void on_recorded(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    topics_t *self = arg;
    self->is_asking = false;
    if (fate == PG_OK && !self->is_asked)
        self->look_mono_us = 0;
    self->is_asked |= fate == PG_OK;
    if (fate == PG_OK && pg_rows(result) == 1) {
        self->n_recorded = pg_int(result, 0, 0);
        self->look_mono_us = 0;
        (void)is_right(self, 0);
    }
}

/* Asks for the number that is written down, and writes it down before if it is seen for the first
 * time. */
static void ask_recorded(topics_t *self, int64_t n_seen)
{
    pg_params_t params = {0};
    if (self->is_asking || self->n_recorded != 0 || (self->is_asked && n_seen == 0) ||
        !pg_is_ready(self->pg))
        return;
    pg_put_text(&params, slice_str(self->topics[KAFKA_TASK_UPDATES].name));
    bool is_queued = true;
    if (n_seen > 0) {
        pg_put_i32(&params, (int32_t)n_seen);
        is_queued = pg_query(self->pg, &insert_topic, &params, NULL, NULL) == ERR_OK;
        pg_params_reset(&params);
        pg_put_text(&params, slice_str(self->topics[KAFKA_TASK_UPDATES].name));
    }
    if (is_queued && pg_query(self->pg, &select_topic, &params, on_recorded, self) == ERR_OK)
        self->is_asking = true;
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- what was in it --- */

static void on_forgotten(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    topics_t *self = arg;
    (void)result;
    self->is_forgetting = false;
    self->is_forgotten = fate == PG_OK;
    if (self->is_forgotten)
        self->look_mono_us = 0;
}

static void forget(topics_t *self)
{
    pg_params_t params = {0};
    if (self->is_forgetting || self->is_forgotten || !pg_is_ready(self->pg))
        return;
    pg_put_text(&params, slice_str(self->topics[KAFKA_TASK_UPDATES].name));
    self->is_forgetting = pg_query(self->pg, &forget_topic, &params, on_forgotten, self) == ERR_OK;
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- looking --- */

static void take_topic(topics_t *self, kafka_topic_t topic, const rd_kafka_metadata_topic_t *seen)
{
    topic_t *it = &self->topics[topic];
    it->is_missing = seen->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (it->is_missing) {
        set_partitions(self, topic, 0);
        if (topic == KAFKA_TASK_UPDATES)
            forget(self);
        return;
    }
    if (seen->err != RD_KAFKA_RESP_ERR_NO_ERROR || seen->partition_cnt == 0)
        return; /* between two leaders, or not allowed: what was known stays */
    if (topic == KAFKA_TASK_UPDATES) {
        self->is_forgotten = false;
        int64_t n = seen->partition_cnt;
        /* Wrong ones are not written down. */
        ask_recorded(self, n == self->network->config->kafka_task_updates_partitions ? n : 0);
        self->is_checked = is_right(self, n);
        if (!self->is_checked)
            return;
    }
    set_partitions(self, topic, seen->partition_cnt);
}

static bool ask_metadata(topics_t *self)
{
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(self->handle, 0, NULL, &metadata, ANSWER_MS);
    set_there(self, code == RD_KAFKA_RESP_ERR_NO_ERROR ? NULL : rd_kafka_err2str(code));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        for (unsigned topic = 0; topic < KAFKA_N_TOPICS; topic++) {
            if (strcmp(metadata->topics[i].topic, self->topics[topic].name) == 0)
                take_topic(self, topic, &metadata->topics[i]);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* --- making them --- */

static int n_wanted(const topics_t *self, kafka_topic_t topic)
{
    const config_t *config = self->network->config;
    switch (topic) {
    case KAFKA_TASK_EVENTS:
        return (int)config->kafka_task_events_partitions;
    case KAFKA_REMINDERS:
        return (int)config->kafka_reminders_partitions;
    case KAFKA_TASK_UPDATES:
        return (int)config->kafka_task_updates_partitions;
    case KAFKA_DEAD_LETTER:
    case KAFKA_N_TOPICS:
        break;
    }
    return 1;
}

static rd_kafka_NewTopic_t *new_topic(const topics_t *self, kafka_topic_t topic)
{
    char why[KAFKA_ERROR_CHARS];
    char most[24];
    rd_kafka_NewTopic_t *wanted =
        rd_kafka_NewTopic_new(self->topics[topic].name, n_wanted(self, topic),
                              (int)self->network->config->kafka_replication, why, sizeof why);
    if (wanted == NULL)
        return NULL;
    snprintf(most, sizeof most, "%d", KAFKA_MAX_RECORD_BYTES);
    rd_kafka_NewTopic_set_config(wanted, "max.message.bytes", most);
    if (topic == KAFKA_TASK_UPDATES)
        rd_kafka_NewTopic_set_config(wanted, "cleanup.policy", "compact");
    return wanted;
}

static void complain(topics_t *self, const char *topic, const char *why)
{
    char reason[NETWORK_WHY_CHARS];
    snprintf(reason, sizeof reason, "the topic %s is missing and cannot be made: %s", topic, why);
    network_set_degraded(self->network, DEGRADED_TOPICS, reason);
    if (log_once(&self->trouble))
        log_line(LOG_WARN, "topics", "a topic is missing and cannot be made", "topic=%s why=\"%s\"",
                 topic, why);
}

/* True: all were made. Another process may have been faster. */
static bool take_created(topics_t *self, rd_kafka_event_t *event)
{
    size_t n = 0;
    bool is_good = true;
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        complain(self, "?", event == NULL ? "no answer" : rd_kafka_event_error_string(event));
        return false;
    }
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        const char *why = rd_kafka_topic_result_error_string(results[i]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            continue;
        complain(self, rd_kafka_topic_result_name(results[i]),
                 why != NULL ? why : rd_kafka_err2str(code));
        is_good = false;
    }
    return is_good;
}

static bool create(topics_t *self, rd_kafka_NewTopic_t **wanted, size_t n)
{
    char why[KAFKA_ERROR_CHARS];
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(self->handle, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, why, sizeof why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(self->handle);
    rd_kafka_CreateTopics(self->handle, wanted, n, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CREATE_MS + ANSWER_MS);
    bool is_good = take_created(self, event);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return is_good;
}

/* False: some are still missing. */
static bool create_missing(topics_t *self)
{
    rd_kafka_NewTopic_t *wanted[KAFKA_N_TOPICS];
    size_t n = 0;
    bool is_any_missing = false;
    for (unsigned topic = 0; topic < KAFKA_N_TOPICS; topic++) {
        bool is_missing = self->topics[topic].is_missing;
        bool may_be_made = topic != KAFKA_TASK_UPDATES || self->is_forgotten;
        is_any_missing |= is_missing;
        if (is_missing && may_be_made && (wanted[n] = new_topic(self, topic)) != NULL)
            n++;
    }
    if (!is_any_missing) {
        network_set_degraded(self->network, DEGRADED_TOPICS, NULL);
        (void)log_clear(&self->trouble);
        return true;
    }
    if (n > 0)
        (void)create(self, wanted, n);
    rd_kafka_NewTopic_destroy_array(wanted, n);
    return false;
}

/* --- the actor --- */

static int64_t topics_due(void *arg, now_t now)
{
    topics_t *self = arg;
    int64_t sleep_us = pg_loop_turn(&self->loop, now);
    ask_recorded(self, 0);
    bool is_time = now.mono_us >= self->look_mono_us;
    if (is_time && !actor_is_stopping(self->actor)) {
        bool is_good = ask_metadata(self) && create_missing(self) && self->is_checked;
        self->look_mono_us = clock_now().mono_us + (is_good ? LOOK_US : LOOK_AGAIN_US);
        actor_note(self->actor, "there", topics_are_there(self));
        sleep_us = pg_loop_turn(&self->loop, clock_now());
    }
    int64_t left_us = self->look_mono_us - now.mono_us;
    if (left_us < 0)
        left_us = 0;
    return sleep_us < left_us ? sleep_us : left_us;
}

static err_t topics_open(void *arg, actor_t *actor)
{
    topics_t *self = arg;
    network_t *network = self->network;
    char why[KAFKA_ERROR_CHARS];
    const pg_options_t options = {.url = network->config->database_url,
                                  .who = "taskwire topics",
                                  .options = "-c statement_timeout=5000",
                                  .reply_timeout_us = 10000000};
    self->up = metrics_gauge(network->metrics, "taskwire_kafka_up", NULL,
                             "Whether Kafka answered when it was last asked");
    self->look_mono_us = clock_now().mono_us + PATIENCE_US;
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    rd_kafka_conf_t *conf = kafka_conf_new(network->config, KAFKA_ADMIN, why, sizeof why);
    self->handle = conf == NULL ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (self->handle == NULL) {
        if (conf != NULL)
            rd_kafka_conf_destroy(conf);
        log_line(LOG_ERROR, "topics", "no handle of librdkafka's can be made", "why=\"%s\"", why);
        return ERR_INTERNAL;
    }
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++)
        self->topics[i].handle = rd_kafka_topic_new(self->handle, self->topics[i].name, NULL);
    return ERR_OK;
}

static void topics_close(void *arg)
{
    topics_t *self = arg;
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++) {
        if (self->topics[i].handle != NULL)
            rd_kafka_topic_destroy(self->topics[i].handle);
    }
    (void)kafka_end(&self->handle, clock_now().mono_us + END_US);
}

static const actor_ops_t topics_ops = {
    .name = "topics",
    .open = topics_open,
    .due = topics_due,
    .close = topics_close,
};

topics_t *topics_new(network_t *network)
{
    topics_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++)
        kafka_topic_name(network->config, kafka_topic_names[i], self->topics[i].name);
    self->actor = actor_new(&topics_ops, self, network->post, "topics", INBOX_LIMIT);
    network->actors[ADDRESS_TOPICS] = self->actor;
    return self;
}

actor_t *topics_actor(topics_t *self)
{
    return self->actor;
}

void topics_destroy(topics_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
