/* SPDX-License-Identifier: Apache-2.0 */
/* What other relays have written to task-updates is looked up and published again. While it is read
 * no event is published: so nothing that happened after the reading comes before it in the topic.
 */
#include "bridge/publisher_private.h"

#include "actors/log.h"

#include <poll.h>
#include <stdlib.h>

#define OPEN_US INT64_C(2000000)

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
    return publisher_give(self, KAFKA_TASK_UPDATES, event.shard, &record, NO_TICKET) == ERR_OK;
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

static void mend(publisher_t *self, now_t now)
{
    size_t n;
    const lookout_key_t *keys = lookout_keys(self->lookout, &n);
    if (n == 0 || self->is_mending || self->look != LOOK_NONE || !pg_is_ready(self->pg) ||
        now.mono_us < self->retry_mono_us || self->producer == NULL ||
        !kafka_producer_has_room(self->producer, PAGE_RECORDS))
        return;
    pg_params_t params = {0};
    asked_t *asked = publisher_asked(self, (uint32_t)n);
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

void publisher_put_topic(const publisher_t *self, pg_params_t *params)
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
    publisher_put_topic(self, &params);
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

void publisher_mend_stop(publisher_t *self, int64_t deadline_mono_us)
{
    if (self->lookout != NULL)
        actor_watch(self->actor, lookout_fd(self->lookout), 0, NULL, NULL);
    lookout_destroy(&self->lookout, deadline_mono_us);
}

/* What comes before there is another one is not known: it looks through all of the topic. Keys that
 * are being read are read again. */
static void follow_lookout(publisher_t *self, now_t now)
{
    const char *why;
    if (self->lookout != NULL && !self->is_mending && lookout_is_broken(self->lookout, &why)) {
        log_line(LOG_WARN, "relay", "reading task-updates has to begin anew", "why=\"%s\"", why);
        publisher_mend_stop(self, 0);
        self->is_rewriting = true;
        self->open_mono_us = now.mono_us + OPEN_US;
    }
    if (now.mono_us >= self->open_mono_us)
        open_lookout(self);
}

void publisher_mend_turn(publisher_t *self, now_t now)
{
    follow_lookout(self, now);
    if (self->lookout == NULL)
        return;
    lookout_take(self->lookout, slice_str(self->relay));
    mend(self, now);
    end_rewriting(self);
}
