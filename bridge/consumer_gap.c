/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of the log what Kafka did not bring. Every event goes through the same door as those of
 * records, so whatever comes twice is dropped there.
 *
 * What was published and never comes cannot be told from what is on its way; so a shard is read
 * only if its partition is at the end, it is behind what was published when it was last looked at,
 * and has not moved since. To read it too early does no harm. */
#include "actors/eventlog.h"
#include "actors/log.h"
#include "bridge/consumer_private.h"

#define READ_EVENTS 512
#define RETRY_US INT64_C(200000)
#define ASK_US INT64_C(2000000)

static const pg_stmt_t select_published = {
    "SELECT e.epoch, p.shard, p.id FROM log_epoch e LEFT JOIN relay_position p ON p.actor = "
    "'kafka'"};

static shard_set_t bit(unsigned shard)
{
    return (shard_set_t)1 << shard;
}

void gaps_want(consumer_t *self, unsigned shard, int64_t id)
{
    gaps_t *gaps = &self->gaps;
    if (!(gaps->shards & bit(shard)))
        metric_add(self->metrics.gaps, 1);
    gaps->shards |= bit(shard);
    if (id > gaps->wanted[shard])
        gaps->wanted[shard] = id;
}

void gaps_clear(consumer_t *self)
{
    gaps_t *gaps = &self->gaps;
    gaps->shards = gaps->reading = 0;
    memset(gaps->wanted, 0, sizeof gaps->wanted);
    memset(gaps->published, 0, sizeof gaps->published);
}

/* --- reading the log --- */

static void on_event(void *arg, const log_event_t *event)
{
    consumer_t *self = arg;
    int64_t before = dispatch_handed(self->dispatch)[event->shard];
    /* What is behind one that found no room must not overtake it. */
    if (!(self->gaps.reading & ~self->gaps.blocked & bit(event->shard)))
        return;
    switch (dispatch_offer(self->dispatch, event, before)) {
    case DISPATCH_TAKEN:
        metric_add(self->metrics.repaired, 1);
        break;
    case DISPATCH_NO_ROOM:
        self->gaps.blocked |= bit(event->shard);
        break;
    case DISPATCH_DUPLICATE:
    case DISPATCH_GAP:
    case DISPATCH_FOREIGN:
        break;
    }
}

/* The log has no more of a shard. If there is something missing still, nobody has it: it was a row
 * that no writer wrote. */
static void finish_shard(consumer_t *self, unsigned shard)
{
    int64_t wanted = self->gaps.wanted[shard];
    if (dispatch_handed(self->dispatch)[shard] < wanted) {
        log_line(LOG_ERROR, "consumer", "the log lacks an event that Kafka has",
                 "shard=%u event=%lld", shard, (long long)wanted);
        dispatch_skip(self->dispatch, shard, wanted);
    }
}

static void on_end(void *arg, const eventlog_end_t *end)
{
    consumer_t *self = arg;
    gaps_t *gaps = &self->gaps;
    gaps->is_reading = false;
    if (end->fate != PG_OK) {
        gaps->retry_mono_us = clock_now().mono_us + RETRY_US;
        return;
    }
    const int64_t *handed = dispatch_handed(self->dispatch);
    for (unsigned shard = 0; shard < N_SHARDS; shard++) {
        bool was_read = gaps->reading & bit(shard) & gaps->shards;
        if (was_read && !((end->more | gaps->blocked) & bit(shard)))
            finish_shard(self, shard);
        if (handed[shard] >= gaps->wanted[shard])
            gaps->shards &= ~bit(shard);
    }
}

static void read_log(consumer_t *self, now_t now)
{
    gaps_t *gaps = &self->gaps;
    const eventlog_reader_t reader = {on_event, on_end, self};
    if (gaps->shards == 0 || gaps->is_reading || now.mono_us < gaps->retry_mono_us ||
        !dispatch_is_on(self->dispatch) || !dispatch_has_room(self->dispatch) ||
        !pg_is_ready(self->pg))
        return;
    gaps->blocked = 0;
    gaps->reading = gaps->shards;
    if (eventlog_read(self->pg, dispatch_handed(self->dispatch), gaps->shards, READ_EVENTS,
                      &reader) != ERR_OK)
        return;
    gaps->is_reading = true;
    (void)pg_sync(self->pg);
}

/* --- what never came --- */

static bool is_at_end(const consumer_t *self, unsigned shard)
{
    for (size_t i = 0; i < self->n_lanes; i++) {
        const lane_t *lane = &self->lanes[i];
        if ((int32_t)shard % self->n_partitions == lane->partition)
            return lane->n == 0 && kafka_reader_is_at_end(self->reader, lane->partition);
    }
    return false;
}

static void compare(consumer_t *self, unsigned shard, int64_t published)
{
    gaps_t *gaps = &self->gaps;
    int64_t handed = dispatch_handed(self->dispatch)[shard];
    if (handed < gaps->published[shard] && handed == gaps->handed[shard] && is_at_end(self, shard))
        gaps_want(self, shard, gaps->published[shard]);
    gaps->published[shard] = published;
    gaps->handed[shard] = handed;
}

static void on_published(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    consumer_t *self = arg;
    self->gaps.is_asking = false;
    if (fate != PG_OK || !dispatch_is_on(self->dispatch))
        return;
    if (!slice_eq(pg_bytes(result, 0, 0), dispatch_epoch(self->dispatch))) {
        keyring_ask(&self->keyring);
        return;
    }
    for (int row = 0; row < pg_rows(result); row++) {
        int64_t shard = pg_is_null(result, row, 1) ? -1 : pg_int(result, row, 1);
        if (shard >= 0 && shard < N_SHARDS && (self->shards & bit((unsigned)shard)))
            compare(self, (unsigned)shard, pg_int(result, row, 2));
    }
}

static void ask(consumer_t *self, now_t now)
{
    gaps_t *gaps = &self->gaps;
    if (gaps->is_asking || now.mono_us < gaps->ask_mono_us || !dispatch_is_on(self->dispatch) ||
        !pg_is_ready(self->pg))
        return;
    gaps->ask_mono_us = now.mono_us + ASK_US;
    gaps->is_asking = pg_query(self->pg, &select_published, NULL, on_published, self) == ERR_OK;
    (void)pg_sync(self->pg);
}

int64_t gaps_turn(consumer_t *self, now_t now)
{
    ask(self, now);
    read_log(self, now);
    return self->gaps.shards != 0 ? RETRY_US : ASK_US;
}
