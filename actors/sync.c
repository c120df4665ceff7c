/* SPDX-License-Identifier: Apache-2.0 */
/* Events are read in the order of the log, shard by shard, from where the log ended at the start:
 * what is older is the business of who reads the log itself. What one read brings is collected per
 * stream and sent as one message per stream to each gateway that watches it.
 *
 * What Kafka brings goes through the same door. It moves a shard's position only from one event to
 * the very next, so a reading of the log that is under way meanwhile is none the worse: of what it
 * brings the part behind the position is taken.
 *
 * How gateways are told is in outlets.c. */
#include "actors/sync.h"

#include <stdlib.h>

#include "actors/eventlog.h"
#include "actors/lineage.h"
#include "actors/log.h"
#include "actors/message.h"
#include "actors/outlets.h"
#include "actors/pg_loop.h"

#define INBOX_LIMIT 1024
#define READ_EVENTS 512
#define POLL_US INT64_C(500000)
/* Of the log, where Kafka brings what is new: for what was lost there without a trace. */
#define POLL_FED_US INT64_C(1000000)
#define ASK_US INT64_C(100000)
#define REPLY_LIMIT_US (5 * US_PER_S)
#define RINGS_MAX_BYTES ((size_t)32 * 1024 * 1024)

static const ring_limits_t ring_limits = {OUTLETS_MAX_FRAMES, (size_t)256 * 1024};

static const pg_stmt_t select_epoch = {
    "SELECT epoch, (SELECT coalesce(max(n), 0) FROM purged) FROM log_epoch"};
static const pg_stmt_t select_purged = {
    "SELECT stream, n FROM purged WHERE n > $1::bigint ORDER BY n LIMIT 256"};

typedef enum {
    SYNC_UNSURE, /* which history this is, or where the log ends, has to be read */
    SYNC_ASKING, /* is being read */
    SYNC_READING, /* the log is followed */
} sync_state_t;

struct sync {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    pg_loop_t loop;
    int64_t session; /* in which the epoch was asked for last */
    sync_state_t state;
    bool is_asking_epoch;
    bool is_reading;
    bool has_begun; /* gateways were told something */
    char epoch[EPOCH_CHARS];
    int64_t purged_n; /* what was purged up to here is in no ring */
    int64_t newest_purged_n; /* in the database, when we last looked */
    bool is_asking_purged;
    int64_t positions[N_SHARDS];
    shard_set_t grown; /* may have more to read */
    bool is_fed; /* Kafka brings events too */
    shard_set_t behind; /* nothing that it brings is taken before the log has been read */
    shard_set_t catching_up; /* of them, by the reading that is under way */
    int64_t ask_mono_us; /* not before */
    int64_t epoch_mono_us;
    int64_t poll_mono_us;
    recent_t recent;
    outlets_t outlets;
    buf_t text; /* scratch */
    log_once_t unreadable;
    metric_t *n_events;
    metric_t *n_gaps;
    metric_t *n_purged;
    metric_t *n_taken;
    metric_t *n_known;
    metric_t *n_unfit;
};

/* --- events --- */

static bool find_id(slice_t map, const char *key, uuid_t *out)
{
    slice_t value;
    if (map.data == NULL || !mp_map_find(map, key, &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_uuid(&reader, out);
}

/* Whose membership it was; nil if that cannot be told. False: it changed nothing. */
static bool find_member(const log_event_t *from, const event_t *event, uuid_t *out)
{
    *out = UUID_NIL;
    if (event == NULL || find_id(event->set, "account", out) || find_id(event->was, "account", out))
        return true;
    mp_reader_t reader = mp_reader(event->set);
    uint32_t n_pairs = 1;
    return from->type != EVENT_MEMBER_CHANGED || !mp_get_map(&reader, &n_pairs) || n_pairs > 0;
}

/* `event` is NULL if it cannot be read: then the most is assumed. */
static void tell_access(sync_t *self, const log_event_t *from, const event_t *event)
{
    access_t access = {UUID_NIL, UUID_NIL, UUID_NIL};
    bool is_member = from->type == EVENT_MEMBER_ADDED || from->type == EVENT_MEMBER_CHANGED ||
                     from->type == EVENT_MEMBER_REMOVED;
    bool is_new = from->type == EVENT_LIST_CREATED;
    bool is_list = from->type == EVENT_LIST_DELETED || from->type == EVENT_LIST_RESTORED;
    bool is_token = from->type == EVENT_TOKEN_DELETED;
    if (is_member && !find_member(from, event, &access.account))
        return;
    if (is_new && event != NULL)
        access.account = event->by; /* its owner */
    if (is_member || is_list || is_new)
        access.list = from->stream;
    else if (is_token || from->type == EVENT_ACCOUNT_UPDATED || from->type == EVENT_ACCOUNT_DELETED)
        access.account = from->stream;
    else
        return;
    if (is_token && event != NULL)
        (void)find_id(event->set, "token", &access.token);
    outlets_access(&self->outlets, &access);
}

/* What cannot be shown keeps its place without bytes: its followers must take a snapshot. */
static frame_t *encode(sync_t *self, const log_event_t *from, const event_t *event)
{
    slice_t payload = slice_none();
    if (event != NULL) {
        buf_reset(&self->text);
        buf_append_str(&self->text, "{\"op\":\"event\",");
        event_put_client_json(event, &self->text);
        buf_append_byte(&self->text, '}');
        payload = buf_slice(&self->text);
    } else if (from->body.data != NULL && log_once(&self->unreadable)) {
        log_line(LOG_ERROR, "sync", "an event in the log cannot be read", "id=%lld",
                 (long long)from->id);
    }
    return frame_new(&from->stream, from->rev, from->at_us, payload);
}

static void publish(sync_t *self, frame_t *frame)
{
    recent_stream_t *stream = recent_get(&self->recent, frame_stream(frame));
    bool is_known = stream->ring.next != 0;
    ring_put_t verdict = recent_put(&self->recent, stream, frame);
    if (verdict != RING_RESTARTED || !is_known)
        return;
    metric_add(self->n_gaps, 1);
    log_line(LOG_WARN, "sync", "the log has a gap", "rev=%lld", (long long)frame_rev(frame));
}

static bool is_of_our_epoch(const sync_t *self, const log_event_t *from)
{
    return memcmp(from->epoch, self->epoch, EPOCH_CHARS) == 0;
}

static void take(sync_t *self, const log_event_t *from)
{
    event_t event;
    self->positions[from->shard] = from->id;
    lineage_note(self->network->lineage, from);
    bool is_readable = from->body.data != NULL && event_decode(from->body, &event);
    frame_t *frame = encode(self, from, is_readable ? &event : NULL);
    tell_access(self, from, is_readable ? &event : NULL);
    publish(self, frame);
    frame_release(&frame);
    metric_add(self->n_events, 1);
}

static shard_set_t bit(unsigned shard)
{
    return (shard_set_t)1 << shard;
}

/* --- what Kafka brings --- */

/* The shard's log has to be read up to its end before anything of it is taken from Kafka again. */
static void fall_behind(sync_t *self, unsigned shard)
{
    self->behind |= bit(shard);
    self->grown |= bit(shard);
}

/* Whether nothing is missing before it, in its shard and in its stream. */
static bool is_next(const sync_t *self, const log_event_t *from, int64_t before)
{
    const recent_stream_t *stream = recent_find(&self->recent, &from->stream);
    int64_t rev = stream != NULL ? stream->ring.next : 0;
    return before <= self->positions[from->shard] && (rev == 0 || rev == from->rev);
}

static void on_brought(sync_t *self, const log_event_t *from, int64_t before)
{
    if (self->state != SYNC_READING || from->shard >= N_SHARDS)
        return;
    if (!is_of_our_epoch(self, from)) {
        self->epoch_mono_us = 0; /* one of us does not know yet: the database does */
        return;
    }
    if (from->id <= self->positions[from->shard]) {
        metric_add(self->n_known, 1);
    } else if (self->behind & bit(from->shard)) {
        self->grown |= bit(from->shard); /* also if it was committed since that reading */
    } else if (!is_next(self, from, before)) {
        metric_add(self->n_unfit, 1);
        fall_behind(self, from->shard);
    } else {
        metric_add(self->n_taken, 1);
        take(self, from);
    }
}

static void on_tail(sync_t *self, mp_reader_t *content)
{
    log_event_t event;
    int64_t before;
    uint32_t n_events = 0;
    if (!batch_open(content, &n_events))
        return;
    while (n_events-- > 0 && tail_next(content, &event, &before))
        on_brought(self, &event, before);
    outlets_flush(&self->outlets);
}

/* --- reading --- */

static void on_event(void *arg, const log_event_t *from)
{
    sync_t *self = arg;
    if (self->state != SYNC_READING || from->id <= self->positions[from->shard])
        return;
    if (!is_of_our_epoch(self, from)) {
        self->state = SYNC_UNSURE;
        return;
    }
    take(self, from);
}

static void on_end(void *arg, const eventlog_end_t *end)
{
    sync_t *self = arg;
    self->is_reading = false;
    outlets_flush(&self->outlets);
    /* After a failure the poll tries again. */
    if (end->fate != PG_OK)
        return;
    self->grown |= end->more;
    self->behind &= ~(self->catching_up & ~end->more);
}

static void read_on(sync_t *self, now_t now)
{
    const eventlog_reader_t reader = {on_event, on_end, self};
    if (now.mono_us >= self->poll_mono_us) {
        self->poll_mono_us = now.mono_us + (self->is_fed ? POLL_FED_US : POLL_US);
        self->grown = SHARDS_ALL;
    }
    if (self->state != SYNC_READING || self->is_reading || self->grown == 0 ||
        !pg_is_ready(self->pg))
        return;
    if (eventlog_read(self->pg, self->positions, self->grown, READ_EVENTS, &reader) != ERR_OK)
        return;
    (void)pg_sync(self->pg);
    self->catching_up = self->behind & self->grown;
    self->grown = 0;
    self->is_reading = true;
}

/* --- what was purged --- */

/* Whatever was read of the log before this answer was asked for is in the rings by now, because one
 * connection answers in order; what is read later is what the purge has left. */
static void on_purged(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    sync_t *self = arg;
    self->is_asking_purged = false;
    for (int row = 0; fate == PG_OK && row < pg_rows(result); row++) {
        uuid_t id = pg_uuid(result, row, 0);
        recent_stream_t *stream = recent_find(&self->recent, &id);
        if (stream != NULL)
            recent_drop(&self->recent, stream);
        outlets_purged(&self->outlets, &id);
        /* Kafka still has what was purged: nothing up to the end of the log comes from there. */
        if (self->is_fed)
            fall_behind(self, shard_of(&id));
        self->purged_n = pg_int(result, row, 1);
        metric_add(self->n_purged, 1);
    }
}

static void ask_purged(sync_t *self)
{
    pg_params_t params = {0};
    if (self->state != SYNC_READING || self->is_asking_purged ||
        self->newest_purged_n <= self->purged_n || !pg_is_ready(self->pg))
        return;
    pg_put_i64(&params, self->purged_n);
    self->is_asking_purged = pg_query(self->pg, &select_purged, &params, on_purged, self) == ERR_OK;
    pg_params_fini(&params);
    (void)pg_sync(self->pg);
}

/* --- which history this is --- */

/* Only now may gateways be told anything, because only now is it known from where on nothing is
 * missed. */
static void on_heads(void *arg, pg_fate_t fate, const int64_t *heads)
{
    sync_t *self = arg;
    if (self->state != SYNC_ASKING)
        return;
    self->state = fate == PG_OK ? SYNC_READING : SYNC_UNSURE;
    if (fate != PG_OK)
        return;
    if (self->has_begun)
        outlets_forget(&self->outlets);
    self->has_begun = true;
    self->grown = SHARDS_ALL;
    self->behind = self->catching_up = 0;
    memcpy(self->positions, heads, sizeof self->positions);
}

/* Another one than so far: everything begins anew. */
static void on_epoch(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    sync_t *self = arg;
    self->is_asking_epoch = false;
    slice_t epoch = fate == PG_OK && pg_rows(result) == 1 ? pg_bytes(result, 0, 0) : slice_none();
    if (epoch.n_bytes != EPOCH_CHARS) {
        self->session = 0; /* ask again */
        if (self->state == SYNC_ASKING)
            self->state = SYNC_UNSURE;
        return;
    }
    self->newest_purged_n = pg_int(result, 0, 1);
    if (self->state != SYNC_READING)
        self->purged_n = self->newest_purged_n; /* nothing that is in a ring now will stay there */
    if (slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS)))
        return;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    if (self->state == SYNC_READING)
        self->state = SYNC_UNSURE;
}

/* The epoch is asked for with each poll, in a new session and when an event is of another one;
 * heads whenever it is not known where to read. In this order: heads are never of an older history
 * than the epoch.
 */
static void ask(sync_t *self, now_t now)
{
    bool is_new_session = self->session != pg_session(self->pg);
    bool is_unsure = self->state == SYNC_UNSURE;
    bool is_due = now.mono_us >= self->epoch_mono_us;
    if (!pg_is_ready(self->pg) || self->is_asking_epoch || now.mono_us < self->ask_mono_us ||
        (!is_new_session && !is_unsure && !is_due))
        return;
    self->ask_mono_us = now.mono_us + ASK_US;
    self->epoch_mono_us = now.mono_us + POLL_US;
    if (pg_query(self->pg, &select_epoch, NULL, on_epoch, self) != ERR_OK)
        return;
    self->is_asking_epoch = true;
    self->session = pg_session(self->pg);
    if (is_unsure && eventlog_heads(self->pg, on_heads, self) == ERR_OK)
        self->state = SYNC_ASKING;
    (void)pg_sync(self->pg);
}

/* --- the actor --- */

static void sync_receive(void *arg, slice_t bytes, now_t now)
{
    sync_t *self = arg;
    mp_reader_t content;
    watch_t watch;
    message_kind_t kind = message_kind(bytes, &content);
    (void)now;
    if (kind == MESSAGE_WATCH && watch_decode(&content, &watch))
        outlets_watch(&self->outlets, &watch, self->state == SYNC_READING);
    else if (kind == MESSAGE_TAIL)
        on_tail(self, &content);
}

static void sync_rung(void *arg, uint64_t bits, now_t now)
{
    sync_t *self = arg;
    (void)now;
    self->grown |= bits;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t sync_due(void *arg, now_t now)
{
    sync_t *self = arg;
    int64_t wait_us = POLL_US;
    ask(self, now);
    ask_purged(self);
    read_on(self, now);
    wait_us = least(wait_us, pg_loop_turn(&self->loop, now));
    /* What the answers made possible. */
    ask(self, now);
    ask_purged(self);
    read_on(self, now);
    if (self->state != SYNC_READING)
        wait_us = least(wait_us, ASK_US);
    wait_us = least(wait_us, outlets_repair(&self->outlets, self->state == SYNC_READING, now));
    actor_note(self->actor, "streams", (int64_t)self->recent.streams.n);
    actor_note(self->actor, "ring_bytes", (int64_t)self->recent.n_bytes);
    return least(wait_us, pg_loop_turn(&self->loop, now));
}

static err_t sync_open(void *arg, actor_t *actor)
{
    sync_t *self = arg;
    self->is_fed = self->network->actors[ADDRESS_TAIL] != NULL;
    outlets_open(&self->outlets);
    const pg_options_t options = {
        .url = self->network->config->database_url,
        .who = "taskwire sync",
        .options = "-c default_transaction_read_only=on",
        .reply_timeout_us = REPLY_LIMIT_US,
    };
    recent_init(&self->recent, &ring_limits, RINGS_MAX_BYTES);
    self->pg = pg_new(&options);
    pg_loop_init(&self->loop, actor, self->pg);
    return ERR_OK;
}

static void sync_close(void *arg)
{
    sync_t *self = arg;
    pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
    recent_fini(&self->recent);
    outlets_close(&self->outlets);
    buf_fini(&self->text);
}

/* Nothing needs finishing. */
static const actor_ops_t sync_ops = {
    .name = "sync",
    .open = sync_open,
    .receive = sync_receive,
    .rung = sync_rung,
    .due = sync_due,
    .close = sync_close,
};

static void open_tail_metrics(sync_t *self)
{
    static const char name[] = "taskwire_sync_kafka_events_total";
    static const char help[] = "What became of events that Kafka brought for clients: taken, known "
                               "already, or behind a gap, for which the log was read";
    metrics_t *metrics = self->network->metrics;
    self->n_taken = metrics_counter(metrics, name, "fate=\"taken\"", help);
    self->n_known = metrics_counter(metrics, name, "fate=\"known\"", help);
    self->n_unfit = metrics_counter(metrics, name, "fate=\"gap\"", help);
}

sync_t *sync_new(network_t *network)
{
    sync_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    metrics_t *metrics = network->metrics;
    self->network = network;
    self->n_events = metrics_counter(metrics, "taskwire_sync_events_total", NULL,
                                     "Events encoded for WebSocket clients");
    self->n_gaps = metrics_counter(metrics, "taskwire_sync_gaps_total", NULL,
                                   "Revisions of a stream that did not follow each other");
    self->n_purged = metrics_counter(metrics, "taskwire_sync_purged_total", NULL,
                                     "Streams dropped from memory because they were purged");
    open_tail_metrics(self);
    outlets_init(&self->outlets, network, &self->recent, self->epoch);
    self->actor = actor_new(&sync_ops, self, network->post, "sync", INBOX_LIMIT);
    return self;
}

actor_t *sync_actor(sync_t *self)
{
    return self->actor;
}

void sync_destroy(sync_t **self_p)
{
    sync_t *self = *self_p;
    if (self == NULL)
        return;
    actor_destroy(&self->actor);
    free(self);
    *self_p = NULL;
}
