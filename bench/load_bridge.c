/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the program by themselves, as they are linked into it, so that one way can be measured
 * without the others: the relay alone (`publish`), or the consumer with the actors behind it
 * (`consume`). There the audit's place is taken by an actor that makes the same chain of the same
 * messages and acknowledges them, but keeps the heads in memory; everything else is the program's,
 * and the consumer saves its positions as ever. Settings are those of the program, by the same
 * environment. */
#include "bench/load.h"

#include <malloc.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/chain.h"
#include "actors/config.h"
#include "actors/idmap.h"
#include "actors/intray.h"
#include "actors/links.h"
#include "actors/recurrence.h"
#include "actors/reminder.h"
#include "bridge/consumer.h"
#include "bridge/kafka.h"
#include "bridge/relay.h"
#include "bridge/topics.h"

#define INBOX_LIMIT 256
#define STEP_MS 2
#define STOP_US INT64_C(30000000)
#define START_LIMIT_US INT64_C(60000000)

static const char usage[] =
    "usage: load_bridge publish RECORDS | consume EVENTS\n"
    "\n"
    "Runs the relay alone until Kafka has acknowledged so many records, or the consumer with the "
    "actors\n"
    "but without the audit's database until they have acknowledged so many events. TASKWIRE_… as "
    "for\n"
    "the program. Prints one line of JSON.\n";

/* --- the audit without a database --- */

typedef struct {
    idnode_t node;
    int64_t rev;
    chain_link_t link;
} head_t;

typedef struct {
    actor_t *actor;
    const network_t *network;
    intray_t *intray;
    idmap_t heads;
    metric_t *events_total;
} chainer_t;

static head_t *head_of(chainer_t *self, const uuid_t *stream)
{
    idnode_t *node = idmap_find(&self->heads, stream);
    if (node != NULL)
        return LINK_OWNER(node, head_t, node);
    head_t *head = calloc(1, sizeof *head);
    if (head == NULL)
        abort();
    head->link = LINK_GENESIS;
    idmap_put(&self->heads, &head->node, stream);
    return head;
}

static err_t chain(void *arg, mp_reader_t *content, uint32_t n_events)
{
    chainer_t *self = arg;
    log_event_t event;
    for (uint32_t i = 0; i < n_events && events_next(content, &event); i++) {
        head_t *head = head_of(self, &event.stream);
        if (event.rev <= head->rev)
            continue;
        if (event.rev != head->rev + 1)
            load_die("rev %lld follows rev %lld", (long long)event.rev, (long long)head->rev);
        head->link = chain_link(&head->link, &event);
        head->rev = event.rev;
        metric_add(self->events_total, 1);
    }
    return ERR_OK;
}

static err_t chainer_open(void *arg, actor_t *actor)
{
    chainer_t *self = arg;
    (void)actor;
    self->intray = intray_new(self->network, ADDRESS_AUDIT);
    idmap_init(&self->heads);
    return ERR_OK;
}

static void chainer_receive(void *arg, slice_t bytes, now_t now)
{
    chainer_t *self = arg;
    mp_reader_t content;
    message_kind_t kind = message_kind(bytes, &content);
    (void)now;
    if (kind == MESSAGE_EVENTS)
        intray_receive(self->intray, self->actor);
    else if (kind == MESSAGE_TERM)
        intray_clear(self->intray);
}

static int64_t chainer_due(void *arg, now_t now)
{
    chainer_t *self = arg;
    return intray_turn(self->intray, now, chain, self);
}

static void chainer_close(void *arg)
{
    chainer_t *self = arg;
    idnode_t *node;
    while ((node = idmap_walk(&self->heads, NULL)) != NULL) {
        idmap_remove(&self->heads, node);
        free(LINK_OWNER(node, head_t, node));
    }
    idmap_fini(&self->heads);
    intray_destroy(&self->intray);
}

static const actor_ops_t chainer_ops = {
    .name = "audit",
    .open = chainer_open,
    .receive = chainer_receive,
    .due = chainer_due,
    .close = chainer_close,
};

/* --- the network --- */

typedef struct {
    network_t network;
    int64_t n_wanted;
    topics_t *topics;
    relay_t *relay;
    consumer_t *consumer;
    recurrence_t *recurrence;
    reminder_actor_t *reminder;
    chainer_t chainer;
    int64_t start_us; /* when the first had passed */
    int64_t start_cpu_us;
    int64_t n_at_start;
} load_t;

static const address_t order[] = {ADDRESS_TOPICS,   ADDRESS_AUDIT,    ADDRESS_RECURRENCE,
                                  ADDRESS_REMINDER, ADDRESS_CONSUMER, ADDRESS_RELAY};
#define N_ORDER (sizeof order / sizeof *order)

static void build(load_t *self, bool is_publisher)
{
    network_t *network = &self->network;
    network->metrics = metrics_new();
    network->post = post_new();
    network->topics = self->topics = topics_new(network);
    network->actors[ADDRESS_TOPICS] = topics_actor(self->topics);
    if (is_publisher) {
        self->relay = relay_new(network);
        return;
    }
    self->chainer.network = network;
    self->chainer.events_total =
        metrics_counter(network->metrics, "taskwire_audit_events_total", NULL, "Events chained");
    self->chainer.actor =
        actor_new(&chainer_ops, &self->chainer, network->post, "audit", INBOX_LIMIT);
    network->actors[ADDRESS_AUDIT] = self->chainer.actor;
    self->recurrence = recurrence_new(network);
    self->reminder = reminder_new(network);
    self->consumer = consumer_new(network);
}

static void on_end(void *arg, actor_t *actor, err_t reason)
{
    (void)arg;
    if (reason != ERR_OK)
        load_die("%s has ended: %s", actor_name(actor), err_code(reason));
}

static void start(load_t *self)
{
    for (size_t i = 0; i < N_ORDER; i++) {
        actor_t *actor = self->network.actors[order[i]];
        if (actor != NULL && actor_start(actor, on_end, NULL) != ERR_OK)
            load_die("no thread can be started");
    }
}

static void stop(load_t *self)
{
    int64_t deadline_us = clock_now().mono_us + STOP_US;
    for (size_t i = N_ORDER; i > 0; i--) {
        actor_t *actor = self->network.actors[order[i - 1]];
        if (actor == NULL)
            continue;
        actor_stop(actor);
        if (!actor_join(actor, deadline_us))
            load_die("%s does not end", actor_name(actor));
    }
}

static void unbuild(load_t *self)
{
    relay_destroy(&self->relay);
    consumer_destroy(&self->consumer);
    reminder_destroy(&self->reminder);
    recurrence_destroy(&self->recurrence);
    actor_destroy(&self->chainer.actor);
    topics_destroy(&self->topics);
    post_destroy(&self->network.post);
    metrics_destroy(&self->network.metrics);
}

/* --- measuring --- */

static int64_t counter(const load_t *self, const char *name)
{
    return metric_value(metrics_counter(self->network.metrics, name, NULL, ""));
}

/* What has passed: records, or events. */
static int64_t passed(const load_t *self)
{
    return counter(self, self->relay != NULL ? "taskwire_kafka_records_acknowledged_total"
                                             : "taskwire_audit_events_total");
}

/* Whether all actors have acknowledged what was handed out. */
static bool is_quiet(const load_t *self)
{
    return self->relay != NULL ||
           metric_value(metrics_gauge(self->network.metrics, "taskwire_consumer_batches_in_flight",
                                      NULL, "")) == 0;
}

static void measure(load_t *self)
{
    int64_t begun_us = load_mono_us();
    for (;;) {
        int64_t n = passed(self);
        if (n > 0 && self->start_us == 0) {
            self->start_us = load_mono_us();
            self->start_cpu_us = load_cpu_us();
            self->n_at_start = n;
        }
        if (n >= self->n_wanted && is_quiet(self))
            return;
        if (n == 0 && load_mono_us() - begun_us > START_LIMIT_US)
            load_die("nothing happens");
        (void)poll(NULL, 0, STEP_MS);
    }
}

static void report(const load_t *self)
{
    double seconds = (double)(load_mono_us() - self->start_us) / 1e6;
    double cpu_s = (double)(load_cpu_us() - self->start_cpu_us) / 1e6;
    int64_t n = self->n_wanted - self->n_at_start;
    printf("{\"n\":%lld,\"seconds\":%.3f,\"rate\":%.0f,\"cpu_s\":%.3f}\n", (long long)n, seconds,
           (double)n / seconds, cpu_s);
    fflush(stdout);
}

extern char **environ;

int main(int argc, char **argv)
{
    char error[CONFIG_ERROR_CHARS];
    load_t self = {0};
    bool is_publisher = argc == 3 && strcmp(argv[1], "publish") == 0;
    if (argc != 3 || (!is_publisher && strcmp(argv[1], "consume") != 0))
        load_die("%s", usage);
    self.n_wanted = load_number("EVENTS", argv[2], 1, INT64_MAX / 2);
    if (sodium_init() < 0)
        load_die("libsodium does not start");
    config_t *config =
        config_new(environ, NULL, CONFIG_NEEDS_DATABASE | CONFIG_NEEDS_DATA_DIR, error);
    if (config == NULL)
        load_die("%s", error);
    log_configure(config->log_level, config->log_json);
    mallopt(M_ARENA_MAX, 2); /* as the program does */
    kafka_tune_malloc();
    self.network.config = config;
    build(&self, is_publisher);
    start(&self);
    measure(&self);
    report(&self);
    stop(&self);
    unbuild(&self);
    config_destroy(&config);
    return 0;
}
