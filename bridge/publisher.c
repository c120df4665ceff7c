/* SPDX-License-Identifier: Apache-2.0 */
/* A record is reported of once, in any order; progress.h makes positions of that. */
#include "bridge/publisher_private.h"

#include "actors/log.h"

#include <sodium.h>
#include <stdlib.h>

#define LOOK_US INT64_C(5000000)
#define SAVE_US INT64_C(500000)
#define STUCK_US INT64_C(10000000)
#define END_US INT64_C(2000000)

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
/* A topic that was never written in full, since it or its name is new, gets all of the log. */
static const pg_stmt_t forget_positions = {
    "DELETE FROM relay_position WHERE actor = 'kafka' AND EXISTS (SELECT 1 FROM kafka_topic WHERE "
    "name = $1::text AND epoch IS NULL)"};
static const pg_stmt_t select_written = {"SELECT epoch FROM kafka_topic WHERE name = $1::text"};

asked_t *publisher_asked(publisher_t *self, uint32_t ticket)
{
    asked_t *asked = malloc(sizeof *asked);
    if (asked == NULL)
        abort();
    *asked = (asked_t){self, self->n_terms, self->run, ticket};
    return asked;
}

bool publisher_is_current(const asked_t *asked)
{
    return asked->term == asked->owner->n_terms && asked->run == asked->owner->run;
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
    pg_put_text(params, slice_str(PUBLISHER_ACTOR));
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
    asked_t *asked = publisher_asked(self, 0);
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
    if (self->is_prepared || self->is_preparing || !publisher_has_topics(self) ||
        !pg_is_ready(self->pg))
        return;
    asked_t *asked = publisher_asked(self, 0);
    publisher_put_topic(self, &params);
    bool is_queued = pg_query(self->pg, &forget_positions, &params, NULL, NULL) == ERR_OK &&
                     pg_query(self->pg, &select_written, &params, on_written, self) == ERR_OK &&
                     pg_query(self->pg, &select_positions, NULL, on_prepared, asked) == ERR_OK;
    self->is_preparing = is_queued;
    if (!is_queued)
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* --- task-updates made anew --- */

static void on_looked(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    bool is_mine = asked->term == self->n_terms;
    free(asked);
    if (is_mine && fate == PG_OK && pg_rows(result) == 1 && pg_is_null(result, 0, 0) &&
        !self->is_rewriting)
        self->is_void = true;
}

/* Whether what was written to the topics is gone with one of them: whoever found it missing has
 * told the database. */
static void look_for_topic(publisher_t *self, now_t now)
{
    pg_params_t params = {0};
    if (topics_partitions(self->network->topics, KAFKA_TASK_UPDATES) == 0)
        self->is_void = true;
    if (self->is_rewriting || now.mono_us < self->look_mono_us || !pg_is_ready(self->pg))
        return;
    self->look_mono_us = now.mono_us + LOOK_US;
    asked_t *asked = publisher_asked(self, 0);
    publisher_put_topic(self, &params);
    if (pg_query(self->pg, &select_written, &params, on_looked, asked) != ERR_OK)
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

/* Then another term begins, which asks again what was written to them. True: this one is over. */
static bool follow_topic(publisher_t *self, now_t now)
{
    if (!self->is_prepared)
        return false;
    look_for_topic(self, now);
    if (!self->is_void || !publisher_has_topics(self))
        return false;
    log_line(LOG_WARN, "relay", "task-updates was made anew: the log is published again", NULL);
    publisher_end(self);
    return true;
}

void publisher_begin(publisher_t *self, slice_t epoch)
{
    if (self->term != TERM_OFF || epoch.n_bytes != EPOCH_CHARS || !pg_is_ready(self->pg))
        return;
    self->n_terms++;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    memset(self->careful_to, 0, sizeof self->careful_to);
    self->is_careful = self->is_refused = false;
    self->is_prepared = self->is_preparing = self->is_mending = self->is_void = false;
    self->refused_id = 0;
    asked_t *asked = publisher_asked(self, 0);
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
    publisher_mend_stop(self, 0);
    publisher_begin_run(self);
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

void publisher_arrived(const publisher_t *self, int64_t out[N_SHARDS])
{
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        out[shard] = progress_position(self->progress, shard);
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
    if (self->term != TERM_ON || follow_topic(self, now))
        return SAVE_US;
    publisher_send_turn(self, now);
    prepare(self);
    if (self->producer != NULL)
        publisher_look_turn(self, now);
    if (self->is_prepared)
        publisher_mend_turn(self, now);
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
    self->broken_total = metrics_counter(metrics, "taskwire_kafka_producers_ended_total", NULL,
                                         "Times that a producer was given up, for another one");
    self->queue = metrics_gauge(metrics, "taskwire_kafka_producer_queue_records", NULL,
                                "Records given to the producer and not acknowledged");
    return self;
}

void publisher_destroy(publisher_t **self_p)
{
    publisher_t *self = *self_p;
    if (self == NULL)
        return;
    publisher_mend_stop(self, clock_now().mono_us + END_US);
    publisher_close_producer(self, clock_now().mono_us + END_US);
    record_coder_destroy(&self->coder);
    progress_destroy(&self->progress);
    free(self);
    *self_p = NULL;
}
