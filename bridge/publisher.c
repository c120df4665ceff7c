/* SPDX-License-Identifier: Apache-2.0 */
/* A record is reported of once, in any order; progress.h makes positions of that.
 *
 * Some events do not say what becomes of a task (its body was purged, or it is a whole list that
 * was deleted or restored): then the tasks are read. Until their records are given to the producer
 * no other event is: so nothing that happened after the reading comes before it in the topic.
 *
 * A broker refuses a whole batch for one record in it. So after a refusal events are published one
 * at a time until all that were under way then have passed: who is refused alone is the one. */
#include "bridge/publisher.h"

#include "actors/lineage.h"
#include "actors/log.h"
#include "bridge/kafka_producer.h"
#include "bridge/progress.h"
#include "bridge/topics.h"
#include "bridge/lookout.h"

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS_OF_EVENT 3
#define SAVE_US INT64_C(500000)
#define RETRY_US INT64_C(250000)
#define STUCK_US INT64_C(10000000)
#define END_US INT64_C(2000000)
#define PAGE_REVS 200
/* Room for so many of the largest records is enough for a page of tasks, which are smaller. */
#define PAGE_RECORDS 64
#define RELAY_ID_BYTES 8
#define NO_TICKET UINT32_MAX /* of records that no event waits for */

static const char actor_name_of_positions[] = "kafka";

static const pg_stmt_t select_positions = {
    "SELECT e.epoch, e.mac_key, p.shard, p.id FROM log_epoch e LEFT JOIN relay_position p ON "
    "p.actor = 'kafka'"};
/* As in dispatch.c: a former relay must not turn a position back. */
static const pg_stmt_t save_positions = {
    "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $4::text FOR SHARE)"
    " INSERT INTO relay_position (actor, shard, id)"
    " SELECT $1::text, * FROM unnest($2::smallint[], $3::bigint[]) WHERE EXISTS (SELECT 1 FROM "
    "same)"
    " ON CONFLICT (actor, shard) DO UPDATE SET id = excluded.id WHERE relay_position.id < "
    "excluded.id"};
static const pg_stmt_t insert_dead_letter = {
    "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts)"
    " VALUES ($1::text, $2::bigint, $3::uuid, $4::bigint, $5::text, 1) ON CONFLICT DO NOTHING"};
/* The tasks that events of a list are about, page by page of its revisions: also those that have no
 * row any more. A task that is in another list now, or deleted, or in a deleted list, has no body.
 */
static const pg_stmt_t select_tasks = {
    "SELECT DISTINCT ON (p.task) p.task, b.body, max(p.rev) OVER (), count(*) OVER () FROM (SELECT"
    " e.task, e.rev FROM event e WHERE e.stream = $1::uuid AND e.rev > $2::bigint ORDER BY e.rev"
    " LIMIT $3::bigint) p LEFT JOIN LATERAL (SELECT t.body FROM task t JOIN list l ON l.id = t.list"
    " WHERE t.id = p.task AND t.list = $1::uuid AND t.deleted_at IS NULL AND l.deleted_at IS NULL) "
    "b"
    " ON true ORDER BY p.task"};
static const pg_stmt_t select_task = {
    "SELECT k.id, (SELECT t.body FROM task t JOIN list l ON l.id = t.list WHERE t.id = k.id AND"
    " t.list = $1::uuid AND t.deleted_at IS NULL AND l.deleted_at IS NULL) FROM (SELECT $2::uuid)"
    " AS k(id)"};

/* A topic that was never written in full, since it or its name is new, gets all of the log. */
static const pg_stmt_t forget_positions = {
    "DELETE FROM relay_position WHERE actor = 'kafka' AND EXISTS (SELECT 1 FROM kafka_topic WHERE "
    "name = $1::text AND epoch IS NULL)"};
static const pg_stmt_t select_written = {"SELECT epoch FROM kafka_topic WHERE name = $1::text"};
static const pg_stmt_t set_written = {
    "UPDATE kafka_topic SET epoch = $2::text WHERE name = $1::text AND EXISTS (SELECT 1 FROM "
    "log_epoch WHERE epoch = $2::text)"};
/* Tasks of keys, with the newest event of each in that list. */
static const pg_stmt_t select_keys = {
    "SELECT k.list, k.task, k.gone, e.id, e.rev, e.type, e.at, e.digest, b.body FROM"
    " unnest($1::uuid[], $2::uuid[], $3::boolean[]) AS k(list, task, gone) LEFT JOIN LATERAL"
    " (SELECT id, rev, type, at, digest FROM event WHERE task = k.task AND stream = k.list"
    " ORDER BY id DESC LIMIT 1) e ON true LEFT JOIN LATERAL (SELECT t.body FROM task t JOIN list l"
    " ON l.id = t.list WHERE t.id = k.task AND t.list = k.list AND t.deleted_at IS NULL AND"
    " l.deleted_at IS NULL) b ON true"};

typedef enum { TERM_OFF, TERM_LOADING, TERM_ON } term_t;

/* Tasks being read for task-updates. */
typedef enum { LOOK_NONE, LOOK_TASK, LOOK_LIST, LOOK_ASKED } look_t;

struct publisher {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    record_coder_t *coder;
    kafka_producer_t *producer; /* NULL: none now */
    progress_t *progress;
    term_t term;
    uint64_t n_terms;
    uint64_t run; /* of producers */
    char epoch[EPOCH_CHARS];
    char relay[2 * RELAY_ID_BYTES + 1]; /* of the term, in task-updates */
    int64_t taken[N_SHARDS];

    bool is_preparing;
    bool is_prepared; /* the positions are those of these topics */
    bool is_rewriting; /* task-updates is read from its start */
    lookout_t *lookout; /* for records of other relays; NULL: none yet */
    bool is_mending; /* keys that it found are being read */

    look_t look;
    look_t look_wanted; /* what is to be asked when LOOK_ASKED fails */
    log_event_t look_event; /* without body and trace; its digest is the next */
    uint8_t look_digest[DIGEST_BYTES];
    int64_t look_before;
    int64_t look_rev; /* of a list: read up to here */
    uint32_t look_ticket;

    int64_t careful_to[N_SHARDS]; /* one at a time up to here */
    bool is_careful;
    bool is_refused; /* an event has been, since the producer began */
    int64_t refused_id; /* alone: to become a dead letter */
    char refused_why[128];

    bool is_saving;
    shard_set_t saving;
    int64_t save_mono_us;
    int64_t retry_mono_us; /* no producer before */
    int64_t broken_mono_us; /* since when the producer is; 0: it is not */
    log_once_t trouble;
    bool is_stuck;
    metric_t *acknowledged_total;
    metric_t *failed_total;
    metric_t *dead_total;
    metric_t *mended_total;
    metric_t *queue;
};

/* What an answer of the database belongs to. */
typedef struct {
    publisher_t *owner;
    uint64_t term;
    uint64_t run;
    uint32_t ticket; /* or the number of keys */
} asked_t;

static asked_t *asked_new(publisher_t *self, uint32_t ticket)
{
    asked_t *asked = malloc(sizeof *asked);
    if (asked == NULL)
        abort();
    *asked = (asked_t){self, self->n_terms, self->run, ticket};
    return asked;
}

static bool is_current(const asked_t *asked)
{
    return asked->term == asked->owner->n_terms && asked->run == asked->owner->run;
}

/* --- records --- */

static int32_t partition_of(const publisher_t *self, kafka_topic_t topic, unsigned shard)
{
    int32_t n = topics_partitions(self->network->topics, topic);
    return n > 0 ? (int32_t)shard % n : 0;
}

static void close_producer(publisher_t *self, int64_t deadline_mono_us)
{
    if (self->producer != NULL)
        actor_watch(self->actor, kafka_producer_fd(self->producer), 0, NULL, NULL);
    (void)kafka_producer_destroy(&self->producer, deadline_mono_us);
}

/* Nothing can be done with this producer: begin again from what has arrived. */
static void begin_run(publisher_t *self)
{
    close_producer(self, 0); /* it may take its time: what it still delivers comes again */
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        self->taken[shard] = progress_position(self->progress, shard);
    shard_set_t moved = progress_take_moved(self->progress);
    progress_reset(self->progress, self->taken);
    progress_give_back(self->progress, moved); /* what has arrived is still to be saved */
    self->look = LOOK_NONE;
    self->broken_mono_us = 0;
    self->run++;
}

/* Gives a record to the producer; the event waits for it. */
static err_t give(publisher_t *self, kafka_topic_t topic, unsigned shard, const record_t *record,
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

/* --- tasks that an event does not show --- */

static void begin_look(publisher_t *self, record_update_t update, const log_event_t *event,
                       uint32_t ticket)
{
    self->look = update == UPDATE_READ_LIST ? LOOK_LIST : LOOK_TASK;
    self->look_event = *event;
    size_t n = event->digest.n_bytes < DIGEST_BYTES ? event->digest.n_bytes : DIGEST_BYTES;
    memcpy(self->look_digest, event->digest.data, n);
    self->look_event.digest = slice_of(self->look_digest, n);
    self->look_event.body = slice_none();
    self->look_event.trace = slice_none();
    self->look_before = self->taken[event->shard];
    self->look_rev = 0;
    self->look_ticket = ticket;
    progress_hold(self->progress, ticket);
}

static void end_look(publisher_t *self)
{
    self->look = LOOK_NONE;
    progress_release(self->progress, self->look_ticket);
}

/* False: the producer does not take it; everything comes again. */
static bool tell_task(publisher_t *self, const uuid_t *task, slice_t body)
{
    record_t record;
    if (uuid_is_nil(task))
        return true;
    record_of_task(self->coder, &self->look_event, self->look_before, task, body,
                   slice_str(self->relay), &record);
    return give(self, KAFKA_TASK_UPDATES, self->look_event.shard, &record, self->look_ticket) ==
           ERR_OK;
}

static void on_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    int n_rows = pg_rows(result);
    bool is_good = is_current(asked);
    free(asked);
    if (!is_good)
        return;
    self->look = self->look_wanted;
    if (fate != PG_OK) {
        self->retry_mono_us = clock_now().mono_us + RETRY_US;
        return;
    }
    for (int row = 0; row < n_rows && is_good; row++) {
        uuid_t task = pg_uuid(result, row, 0);
        is_good = tell_task(self, &task, pg_bytes(result, row, 1));
    }
    if (!is_good)
        begin_run(self);
    else if (self->look == LOOK_LIST && n_rows > 0 && pg_int(result, 0, 3) == PAGE_REVS)
        self->look_rev = pg_int(result, 0, 2);
    else
        end_look(self);
}

static void ask_tasks(publisher_t *self, now_t now)
{
    if ((self->look != LOOK_TASK && self->look != LOOK_LIST) || !pg_is_ready(self->pg) ||
        now.mono_us < self->retry_mono_us || !kafka_producer_has_room(self->producer, PAGE_RECORDS))
        return;
    pg_params_t params = {0};
    asked_t *asked = asked_new(self, self->look_ticket);
    const pg_stmt_t *stmt = self->look == LOOK_LIST ? &select_tasks : &select_task;
    pg_put_uuid(&params, &self->look_event.stream);
    if (self->look == LOOK_LIST) {
        pg_put_i64(&params, self->look_rev);
        pg_put_i64(&params, PAGE_REVS);
    } else {
        pg_put_uuid(&params, &self->look_event.task);
    }
    self->look_wanted = self->look;
    if (pg_query(self->pg, stmt, &params, on_tasks, asked) == ERR_OK)
        self->look = LOOK_ASKED;
    else
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- events --- */

static bool has_topics(const publisher_t *self)
{
    return topics_partitions(self->network->topics, KAFKA_TASK_EVENTS) > 0 &&
           topics_partitions(self->network->topics, KAFKA_REMINDERS) > 0 &&
           topics_partitions(self->network->topics, KAFKA_TASK_UPDATES) > 0;
}

bool publisher_has_room(const publisher_t *self)
{
    return self->term == TERM_ON && self->producer != NULL && self->look == LOOK_NONE &&
           self->is_prepared && !self->is_mending && has_topics(self) &&
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
    if (is_current(asked) && fate == PG_OK) {
        metric_add(self->dead_total, 1);
        progress_release(self->progress, asked->ticket);
    } else if (is_current(asked)) {
        begin_run(self); /* it is refused again, then */
    }
    free(asked);
}

/* The event that was refused alone: it has passed when its dead letter is durable. */
static void bury(publisher_t *self, const log_event_t *event, uint32_t ticket)
{
    pg_params_t params = {0};
    asked_t *asked = asked_new(self, ticket);
    log_line(LOG_WARN, "relay", "Kafka does not take an event", "event=%lld why=\"%s\"",
             (long long)event->id, self->refused_why);
    pg_put_text(&params, slice_str(actor_name_of_positions));
    pg_put_i64(&params, event->id);
    pg_put_uuid(&params, &event->stream);
    pg_put_i64(&params, event->rev);
    pg_put_text(&params, slice_str(self->refused_why));
    if (pg_query(self->pg, &insert_dead_letter, &params, on_buried, asked) != ERR_OK) {
        free(asked);
        begin_run(self);
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
    if (give(self, KAFKA_TASK_EVENTS, event->shard, &record, ticket) != ERR_OK ||
        (event->type == EVENT_REMINDER_DUE &&
         give(self, KAFKA_REMINDERS, event->shard, &record, ticket) != ERR_OK))
        return false;
    record_update_t update =
        record_of_update(self->coder, event, before, slice_str(self->relay), &record);
    switch (update) {
    case UPDATE_NONE:
        return true;
    case UPDATE_TASK:
        return give(self, KAFKA_TASK_UPDATES, event->shard, &record, ticket) == ERR_OK;
    case UPDATE_READ_TASK:
    case UPDATE_READ_LIST:
        begin_look(self, update, event, ticket);
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
        begin_run(self);
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
    if (self->producer != NULL || now.mono_us < self->retry_mono_us || !has_topics(self))
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
    begin_run(self);
    self->retry_mono_us = now.mono_us + RETRY_US;
}

/* --- records of other relays --- */

/* One that no event tells of can only be gone. */
static void key_event(const publisher_t *self, const pg_result_t *result, int row, now_t now,
                      log_event_t *out)
{
    *out = (log_event_t){.stream = pg_uuid(result, row, 0),
                         .task = pg_uuid(result, row, 1),
                         .id = pg_int(result, row, 3),
                         .rev = pg_int(result, row, 4),
                         .type = EVENT_TASK_DELETED,
                         .stored_type = EVENT_TASK_DELETED,
                         .at_us = now.wall_us,
                         .digest = slice_of(self->look_digest, DIGEST_BYTES)};
    int64_t type = pg_int(result, row, 5);
    if (!pg_is_null(result, row, 3)) {
        out->type = type > 0 && type < EVENT_TYPE_COUNT ? (event_type_t)type : EVENT_UNKNOWN;
        out->stored_type = (int16_t)type;
        out->at_us = pg_instant(result, row, 6);
        out->digest = pg_bytes(result, row, 7);
    }
    out->shard = (uint8_t)shard_of(&out->stream);
    memcpy(out->epoch, self->epoch, EPOCH_CHARS);
}

static bool mend_key(publisher_t *self, const pg_result_t *result, int row, now_t now)
{
    log_event_t event;
    record_t record;
    slice_t body = pg_bytes(result, row, 8);
    if (body.data == NULL && pg_bool(result, row, 2))
        return true; /* a tombstone of what is gone: as it should be */
    key_event(self, result, row, now, &event);
    record_of_task(self->coder, &event, 0, &event.task, body, slice_str(self->relay), &record);
    return give(self, KAFKA_TASK_UPDATES, event.shard, &record, NO_TICKET) == ERR_OK;
}

static void on_keys(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    bool is_good = fate == PG_OK && asked->run == self->run && self->producer != NULL;
    bool is_mine = asked->term == self->n_terms;
    uint32_t n_keys = asked->ticket;
    free(asked);
    if (!is_mine)
        return;
    self->is_mending = false;
    for (int row = 0; row < pg_rows(result) && is_good; row++)
        is_good = mend_key(self, result, row, clock_now());
    if (is_good)
        lookout_drop(self->lookout, (size_t)n_keys); /* else they are read again */
    else
        self->retry_mono_us = clock_now().mono_us + RETRY_US;
}

static void put_keys(const lookout_key_t *keys, size_t n, pg_params_t *params)
{
    pg_array_begin(params, PG_UUID);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(params, &keys[i].list);
    pg_array_end(params);
    pg_array_begin(params, PG_UUID);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(params, &keys[i].task);
    pg_array_end(params);
    pg_array_begin(params, PG_BOOL);
    for (size_t i = 0; i < n; i++)
        pg_array_bool(params, keys[i].is_tombstone);
    pg_array_end(params);
}

/* While they are read no event is published: see the top of this file. */
static void mend(publisher_t *self, now_t now)
{
    size_t n;
    const lookout_key_t *keys = lookout_keys(self->lookout, &n);
    if (n == 0 || self->is_mending || self->look != LOOK_NONE || !pg_is_ready(self->pg) ||
        now.mono_us < self->retry_mono_us || self->producer == NULL ||
        !kafka_producer_has_room(self->producer, PAGE_RECORDS))
        return;
    pg_params_t params = {0};
    asked_t *asked = asked_new(self, (uint32_t)n);
    put_keys(keys, n, &params);
    if (pg_query(self->pg, &select_keys, &params, on_keys, asked) == ERR_OK) {
        self->is_mending = true;
        metric_add(self->mended_total, (int64_t)n);
    } else {
        free(asked);
    }
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

static void put_topic(const publisher_t *self, pg_params_t *params)
{
    char name[KAFKA_NAME_CHARS];
    kafka_topic_name(self->network->config, kafka_topic_names[KAFKA_TASK_UPDATES], name);
    pg_put_text(params, slice_str(name));
}

/* All that was in the topic has been looked at, and what came of it has arrived. */
static void end_rewriting(publisher_t *self)
{
    pg_params_t params = {0};
    if (!self->is_rewriting || !lookout_is_at_end(self->lookout) || self->producer == NULL ||
        kafka_producer_depth(self->producer) > 0 || !pg_is_ready(self->pg))
        return;
    put_topic(self, &params);
    pg_put_text(&params, slice_of(self->epoch, EPOCH_CHARS));
    /* Not known to be done, it is done again by the next relay. */
    self->is_rewriting = pg_query(self->pg, &set_written, &params, NULL, NULL) != ERR_OK;
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

static void on_lookout_ready(void *arg, short events, now_t now)
{
    publisher_t *self = arg;
    (void)events;
    (void)now;
    if (self->lookout != NULL)
        lookout_take(self->lookout, slice_str(self->relay));
}

static void open_lookout(publisher_t *self)
{
    char why[KAFKA_ERROR_CHARS] = "";
    int32_t n = topics_partitions(self->network->topics, KAFKA_TASK_UPDATES);
    if (self->lookout != NULL || n == 0)
        return;
    self->lookout =
        lookout_new(self->network->config, self->is_rewriting ? KAFKA_FROM_START : KAFKA_FROM_END,
                    n, why, sizeof why);
    if (self->lookout != NULL)
        actor_watch(self->actor, lookout_fd(self->lookout), POLLIN, on_lookout_ready, self);
    else if (log_once(&self->trouble))
        log_line(LOG_ERROR, "relay", "task-updates cannot be read", "why=\"%s\"", why);
}

static void close_lookout(publisher_t *self, int64_t deadline_mono_us)
{
    if (self->lookout != NULL)
        actor_watch(self->actor, lookout_fd(self->lookout), 0, NULL, NULL);
    lookout_destroy(&self->lookout, deadline_mono_us);
}

static void mind_lookout(publisher_t *self, now_t now)
{
    open_lookout(self);
    if (self->lookout == NULL)
        return;
    lookout_take(self->lookout, slice_str(self->relay));
    mend(self, now);
    end_rewriting(self);
}

/* --- positions --- */

static void on_saved(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    (void)result;
    self->is_saving = false;
    /* Not saved is only not remembered. */
    if (asked->term == self->n_terms && fate != PG_OK)
        progress_give_back(self->progress, self->saving);
    free(asked);
}

static void put_positions(publisher_t *self, shard_set_t shards, pg_params_t *params)
{
    pg_put_text(params, slice_str(actor_name_of_positions));
    pg_array_begin(params, PG_I16);
    for (int16_t shard = 0; shard < N_SHARDS; shard++) {
        if ((shards >> shard & 1) != 0)
            pg_array_i16(params, shard);
    }
    pg_array_end(params);
    pg_array_begin(params, PG_I64);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        if ((shards >> shard & 1) != 0)
            pg_array_i64(params, progress_position(self->progress, shard));
    }
    pg_array_end(params);
    pg_put_text(params, slice_of(self->epoch, EPOCH_CHARS));
}

static void save(publisher_t *self, now_t now)
{
    if (self->is_saving || !progress_has_moved(self->progress) || !pg_is_ready(self->pg))
        return;
    pg_params_t params = {0};
    asked_t *asked = asked_new(self, 0);
    self->save_mono_us = now.mono_us + SAVE_US;
    self->saving = progress_take_moved(self->progress);
    put_positions(self, self->saving, &params);
    if (pg_query(self->pg, &save_positions, &params, on_saved, asked) == ERR_OK) {
        self->is_saving = true;
    } else {
        progress_give_back(self->progress, self->saving);
        free(asked);
    }
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- terms --- */

static void take_positions(publisher_t *self, const pg_result_t *result)
{
    memset(self->taken, 0, sizeof self->taken);
    for (int row = 0; row < pg_rows(result); row++) {
        int64_t shard = pg_is_null(result, row, 2) ? -1 : pg_int(result, row, 2);
        if (shard >= 0 && shard < N_SHARDS)
            self->taken[shard] = pg_int(result, row, 3);
    }
    progress_reset(self->progress, self->taken);
}

static void on_positions(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    bool is_mine = asked->term == self->n_terms && self->term == TERM_LOADING;
    free(asked);
    if (!is_mine)
        return;
    slice_t epoch = fate == PG_OK ? pg_bytes(result, 0, 0) : slice_none();
    if (!slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS))) {
        self->term = TERM_OFF;
        return;
    }
    uint8_t id[RELAY_ID_BYTES];
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(self->relay, sizeof self->relay, id, sizeof id);
    record_coder_key(self->coder, self->epoch, pg_bytes(result, 0, 1));
    take_positions(self, result);
    self->term = TERM_ON;
}

static void on_written(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    publisher_t *self = arg;
    if (fate == PG_OK)
        self->is_rewriting = !slice_eq(pg_bytes(result, 0, 0), slice_of(self->epoch, EPOCH_CHARS));
}

static void on_prepared(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    bool is_mine = asked->term == self->n_terms;
    free(asked);
    if (!is_mine)
        return;
    self->is_preparing = false;
    if (fate != PG_OK)
        return;
    take_positions(self, result);
    self->run++;
    self->is_prepared = true;
    if (self->is_rewriting)
        log_line(LOG_INFO, "relay", "task-updates is looked through from its start", NULL);
}

/* When the topics are there it is asked what was written to them. */
static void prepare(publisher_t *self)
{
    pg_params_t params = {0};
    if (self->is_prepared || self->is_preparing || !has_topics(self) || !pg_is_ready(self->pg))
        return;
    asked_t *asked = asked_new(self, 0);
    put_topic(self, &params);
    bool is_queued = pg_query(self->pg, &forget_positions, &params, NULL, NULL) == ERR_OK &&
                     pg_query(self->pg, &select_written, &params, on_written, self) == ERR_OK &&
                     pg_query(self->pg, &select_positions, NULL, on_prepared, asked) == ERR_OK;
    self->is_preparing = is_queued;
    if (!is_queued)
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

void publisher_begin(publisher_t *self, slice_t epoch)
{
    if (self->term != TERM_OFF || epoch.n_bytes != EPOCH_CHARS || !pg_is_ready(self->pg))
        return;
    self->n_terms++;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    memset(self->careful_to, 0, sizeof self->careful_to);
    self->is_careful = self->is_refused = false;
    self->is_prepared = self->is_preparing = self->is_mending = false;
    self->refused_id = 0;
    asked_t *asked = asked_new(self, 0);
    if (pg_query(self->pg, &select_positions, NULL, on_positions, asked) == ERR_OK)
        self->term = TERM_LOADING;
    else
        free(asked);
    (void)pg_sync(self->pg);
}

void publisher_end(publisher_t *self)
{
    if (self->term == TERM_OFF)
        return;
    self->n_terms++;
    self->term = TERM_OFF;
    self->is_saving = false;
    close_lookout(self, 0);
    begin_run(self);
    network_set_degraded(self->network, DEGRADED_RELAY, NULL);
}

bool publisher_is_on(const publisher_t *self)
{
    return self->term == TERM_ON;
}

bool publisher_is_off(const publisher_t *self)
{
    return self->term == TERM_OFF;
}

slice_t publisher_epoch(const publisher_t *self)
{
    return slice_of(self->epoch, EPOCH_CHARS);
}

const int64_t *publisher_taken(const publisher_t *self)
{
    return self->taken;
}

uint64_t publisher_run(const publisher_t *self)
{
    return self->run;
}

uint32_t publisher_n_under_way(const publisher_t *self)
{
    return progress_n(self->progress);
}

int64_t publisher_oldest_us(const publisher_t *self)
{
    return progress_oldest_us(self->progress);
}

/* --- driving it --- */

static void tell_stuck(publisher_t *self, now_t now)
{
    int64_t oldest_us = progress_oldest_us(self->progress);
    bool is_stuck = oldest_us != 0 && now.wall_us - oldest_us > STUCK_US;
    if (is_stuck == self->is_stuck)
        return;
    self->is_stuck = is_stuck;
    network_set_degraded(self->network, DEGRADED_RELAY,
                         is_stuck ? "events wait to get into Kafka" : NULL);
}

int64_t publisher_turn(publisher_t *self, now_t now)
{
    if (self->term != TERM_ON)
        return SAVE_US;
    mind_producer(self, now);
    follow_care(self);
    prepare(self);
    if (self->producer != NULL)
        ask_tasks(self, now);
    if (self->is_prepared)
        mind_lookout(self, now);
    if (now.mono_us >= self->save_mono_us)
        save(self, now);
    tell_stuck(self, now);
    metric_set(self->queue, self->producer == NULL ? 0 : kafka_producer_depth(self->producer));
    actor_note(self->actor, "queued",
               self->producer == NULL ? 0 : kafka_producer_depth(self->producer));
    if (self->broken_mono_us != 0)
        return RETRY_US / 10;
    return self->producer == NULL || self->look != LOOK_NONE ? RETRY_US : SAVE_US;
}

bool publisher_drain(publisher_t *self, now_t now)
{
    if (self->term != TERM_ON || !pg_is_ready(self->pg) || self->producer == NULL ||
        !topics_are_there(self->network->topics))
        return true;
    if (progress_n(self->progress) > 0)
        return false;
    save(self, now);
    return !self->is_saving && !progress_has_moved(self->progress);
}

publisher_t *publisher_new(network_t *network, actor_t *actor, pg_t *pg)
{
    metrics_t *metrics = network->metrics;
    publisher_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor;
    self->pg = pg;
    self->coder = record_coder_new(network->config->kafka_msgpack ? RECORD_MSGPACK : RECORD_JSON);
    self->progress = progress_new();
    self->acknowledged_total = metrics_counter(metrics, "taskwire_kafka_records_acknowledged_total",
                                               NULL, "Records that Kafka has acknowledged");
    self->failed_total = metrics_counter(metrics, "taskwire_kafka_records_failed_total", NULL,
                                         "Records that were not delivered, and come again");
    self->dead_total = metrics_counter(metrics, "taskwire_kafka_events_refused_total", NULL,
                                       "Events that Kafka does not take: dead letters");
    self->mended_total =
        metrics_counter(metrics, "taskwire_kafka_updates_mended_total", NULL,
                        "Records of task-updates from other relays, that were looked up again");
    self->queue = metrics_gauge(metrics, "taskwire_kafka_producer_queue_records", NULL,
                                "Records given to the producer and not acknowledged");
    return self;
}

void publisher_destroy(publisher_t **self_p)
{
    publisher_t *self = *self_p;
    if (self == NULL)
        return;
    close_lookout(self, clock_now().mono_us + END_US);
    close_producer(self, clock_now().mono_us + END_US);
    record_coder_destroy(&self->coder);
    progress_destroy(&self->progress);
    free(self);
    *self_p = NULL;
}
