/* SPDX-License-Identifier: Apache-2.0 */
/* A broker refuses a whole batch for one record in it. So after a refusal events are published one
 * at a time until all that were under way then have passed: who is refused alone is the one. */
#include "bridge/publisher_private.h"

#include "actors/lineage.h"
#include "actors/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS_OF_EVENT 3

static const pg_stmt_t insert_dead_letter = {
    "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts)"
    " VALUES ($1::text, $2::bigint, $3::uuid, $4::bigint, $5::text, 1) ON CONFLICT DO NOTHING"};

/* --- records --- */

static int32_t partition_of(const publisher_t *self, kafka_topic_t topic, unsigned shard)
{
    int32_t n = topics_partitions(self->network->topics, topic);
    return n > 0 ? (int32_t)shard % n : 0;
}

void publisher_close_producer(publisher_t *self, int64_t deadline_mono_us)
{
    if (self->producer != NULL)
        actor_watch(self->actor, kafka_producer_fd(self->producer), 0, NULL, NULL);
    (void)kafka_producer_destroy(&self->producer, deadline_mono_us);
}

void publisher_begin_run(publisher_t *self)
{
    if (self->producer != NULL)
        metric_add(self->broken_total, 1);
    publisher_close_producer(self,
                             0); /* it may take its time: what it still delivers comes again */
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        self->taken[shard] = progress_position(self->progress, shard);
    shard_set_t moved = progress_take_moved(self->progress);
    progress_reset(self->progress, self->taken);
    progress_give_back(self->progress, moved); /* what has arrived is still to be saved */
    self->look = LOOK_NONE;
    self->broken_mono_us = 0;
    self->run++;
}

err_t publisher_give(publisher_t *self, kafka_topic_t topic, unsigned shard, const record_t *record,
                     uint32_t ticket)
{
    err_t err = kafka_producer_send(self->producer, topic, partition_of(self, topic, shard), record,
                                    ticket);
    if (err == ERR_OK && ticket != NO_TICKET)
        progress_hold(self->progress, ticket);
    return err;
}

static void note_refused(publisher_t *self, uint32_t ticket, const char *why)
{
    self->is_refused = true;
    if (self->is_careful)
        self->refused_id = progress_id(self->progress, ticket);
    snprintf(self->refused_why, sizeof self->refused_why, "Kafka refuses it: %s", why);
}

static void on_delivered(void *arg, uint64_t tag, delivery_t fate, const char *why)
{
    publisher_t *self = arg;
    switch (fate) {
    case DELIVERY_DONE:
        metric_add(self->acknowledged_total, 1);
        if (tag != NO_TICKET)
            progress_release(self->progress, (uint32_t)tag);
        return;
    case DELIVERY_REFUSED:
        if (tag != NO_TICKET)
            note_refused(self, (uint32_t)tag, why);
        break;
    case DELIVERY_LOST:
        break;
    }
    metric_add(self->failed_total, 1);
}

/* --- events --- */

bool publisher_has_topics(const publisher_t *self)
{
    return topics_partitions(self->network->topics, KAFKA_TASK_EVENTS) > 0 &&
           topics_partitions(self->network->topics, KAFKA_REMINDERS) > 0 &&
           topics_partitions(self->network->topics, KAFKA_TASK_UPDATES) > 0;
}

bool publisher_has_room(const publisher_t *self)
{
    return self->term == TERM_ON && self->producer != NULL && self->look == LOOK_NONE &&
           self->is_prepared && !self->is_mending && publisher_has_topics(self) &&
           progress_has_room(self->progress) &&
           kafka_producer_has_room(self->producer, RECORDS_OF_EVENT) &&
           !kafka_producer_is_broken(self->producer, NULL) &&
           (!self->is_careful || progress_n(self->progress) == 0);
}

static void on_buried(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    (void)result;
    if (publisher_is_current(asked) && fate == PG_OK) {
        metric_add(self->dead_total, 1);
        progress_release(self->progress, asked->ticket);
    } else if (publisher_is_current(asked)) {
        publisher_begin_run(self); /* it is refused again, then */
    }
    free(asked);
}

/* The event that was refused alone: it has passed when its dead letter is durable. */
static void bury(publisher_t *self, const log_event_t *event, uint32_t ticket)
{
    pg_params_t params = {0};
    asked_t *asked = publisher_asked(self, ticket);
    log_line(LOG_WARN, "relay", "Kafka does not take an event", "event=%lld why=\"%s\"",
             (long long)event->id, self->refused_why);
    pg_put_text(&params, slice_str(PUBLISHER_ACTOR));
    pg_put_i64(&params, event->id);
    pg_put_uuid(&params, &event->stream);
    pg_put_i64(&params, event->rev);
    pg_put_text(&params, slice_str(self->refused_why));
    if (pg_query(self->pg, &insert_dead_letter, &params, on_buried, asked) != ERR_OK) {
        free(asked);
        publisher_begin_run(self);
    } else {
        self->refused_id = 0;
    }
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* Whether all records of it were given, or are being read. */
static bool publish(publisher_t *self, const log_event_t *event, uint32_t ticket)
{
    record_t record;
    int64_t before = self->taken[event->shard];
    record_of_event(self->coder, event, before, &record);
    if (publisher_give(self, KAFKA_TASK_EVENTS, event->shard, &record, ticket) != ERR_OK ||
        (event->type == EVENT_REMINDER_DUE &&
         publisher_give(self, KAFKA_REMINDERS, event->shard, &record, ticket) != ERR_OK))
        return false;
    record_update_t update =
        record_of_update(self->coder, event, before, slice_str(self->relay), &record);
    switch (update) {
    case UPDATE_NONE:
        return true;
    case UPDATE_TASK:
        return publisher_give(self, KAFKA_TASK_UPDATES, event->shard, &record, ticket) == ERR_OK;
    case UPDATE_READ_TASK:
    case UPDATE_READ_LIST:
        publisher_look(self, update, event, ticket);
        return true;
    }
    abort();
}

bool publisher_offer(publisher_t *self, const log_event_t *event)
{
    if (!publisher_has_room(self))
        return false;
    if (event->id <= self->taken[event->shard])
        return true;
    lineage_note(self->network->lineage, event);
    uint32_t ticket = progress_open(self->progress, event->shard, event->id, event->at_us);
    if (event->id == self->refused_id) {
        self->taken[event->shard] = event->id;
        bury(self, event, ticket);
        return true;
    }
    if (!publish(self, event, ticket)) {
        publisher_begin_run(self);
        self->retry_mono_us = clock_now().mono_us + RETRY_US;
        return false;
    }
    self->taken[event->shard] = event->id;
    progress_release(self->progress, ticket);
    return true;
}

/* --- the producer --- */

static void on_ready(void *arg, short events, now_t now)
{
    publisher_t *self = arg;
    (void)events;
    (void)now;
    if (self->producer != NULL)
        kafka_producer_serve(self->producer, on_delivered, self);
}

static void open_producer(publisher_t *self, now_t now)
{
    char why[KAFKA_ERROR_CHARS] = "";
    if (self->producer != NULL || now.mono_us < self->retry_mono_us || !publisher_has_topics(self))
        return;
    self->producer = kafka_producer_new(self->network->config, why, sizeof why);
    if (self->producer == NULL) {
        self->retry_mono_us = now.mono_us + RETRY_US;
        if (log_once(&self->trouble))
            log_line(LOG_ERROR, "relay", "no producer can be made", "why=\"%s\"", why);
        return;
    }
    (void)log_clear(&self->trouble);
    actor_watch(self->actor, kafka_producer_fd(self->producer), POLLIN, on_ready, self);
}

/* Up to where events go one at a time from now on: over all that were under way. */
static void become_careful(publisher_t *self)
{
    self->is_careful = true;
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if (self->taken[shard] > self->careful_to[shard])
            self->careful_to[shard] = self->taken[shard];
    }
}

static void follow_care(publisher_t *self)
{
    unsigned shard = 0;
    while (shard < N_SHARDS && progress_position(self->progress, shard) >= self->careful_to[shard])
        shard++;
    self->is_careful = self->is_careful && shard < N_SHARDS;
}

/* That a producer has broken may be known before what was refused is reported of. */
static bool is_reported(publisher_t *self, now_t now)
{
    if (self->broken_mono_us == 0)
        self->broken_mono_us = now.mono_us;
    return kafka_producer_depth(self->producer) == 0 || self->is_refused ||
           now.mono_us - self->broken_mono_us >= RETRY_US;
}

static void mind_producer(publisher_t *self, now_t now)
{
    const char *why = "";
    open_producer(self, now);
    if (self->producer == NULL)
        return;
    kafka_producer_serve(self->producer, on_delivered, self);
    if (!kafka_producer_is_broken(self->producer, &why) || !is_reported(self, now))
        return;
    log_line(LOG_WARN, "relay", "the producer has ended; another one goes on from what has arrived",
             "why=\"%s\" under_way=%u", why, (unsigned)progress_n(self->progress));
    if (self->is_refused && !self->is_careful)
        become_careful(self);
    self->is_refused = false;
    publisher_begin_run(self);
    self->retry_mono_us = now.mono_us + RETRY_US;
}

void publisher_send_turn(publisher_t *self, now_t now)
{
    mind_producer(self, now);
    follow_care(self);
}
