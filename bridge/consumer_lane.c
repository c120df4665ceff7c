/* SPDX-License-Identifier: Apache-2.0 */
/* A record is read as often as it is offered: what cannot be handed out now stays the first of
 * those that are held. */
#include "bridge/consumer_private.h"

static ticket_t newest_ticket(const consumer_t *self)
{
    return (ticket_t){.batch = dispatch_newest(self->dispatch)};
}

/* The first record is dealt with. */
static void pass(lane_t *lane, ticket_t ticket)
{
    kafka_message_t *message = &lane->held[lane->first];
    offsets_take(&lane->offsets, message->offset, ticket);
    kafka_message_release(message);
    lane->first++;
    lane->n--;
}

static bool take_answer(consumer_t *self, lane_t *lane, dispatch_answer_t answer,
                        const record_position_t *place)
{
    switch (answer) {
    case DISPATCH_TAKEN:
        pass(lane, newest_ticket(self));
        return true;
    case DISPATCH_DUPLICATE:
        metric_add(self->metrics.duplicates, 1);
        pass(lane, newest_ticket(self));
        return true;
    case DISPATCH_GAP:
        gaps_want(self, place->shard, place->before);
        return false;
    case DISPATCH_FOREIGN:
        dispatch_adopt(self->dispatch, (shard_set_t)1 << place->shard);
        return false;
    case DISPATCH_NO_ROOM:
        return false;
    }
    return false;
}

/* A record without an event that could be used: the log has it. */
static bool take_place(consumer_t *self, lane_t *lane, const record_position_t *place)
{
    dispatch_answer_t answer =
        dispatch_place(self->dispatch, place->shard, place->id, place->before);
    if (answer != DISPATCH_TAKEN && answer != DISPATCH_GAP)
        return take_answer(self, lane, answer, place);
    gaps_want(self, place->shard, place->id);
    return false;
}

static bool bury(consumer_t *self, lane_t *lane, const record_t *record, const char *why)
{
    const kafka_message_t *message = &lane->held[lane->first];
    const dead_letter_t letter = {.topic = self->topic,
                                  .partition = lane->partition,
                                  .offset = message->offset,
                                  .record = record,
                                  .actor = "consumer",
                                  .reason = why,
                                  .attempts = 1};
    uint64_t ticket = letters_add(self->letters, &letter);
    if (ticket == 0)
        return false;
    metric_add(self->metrics.poison, 1);
    pass(lane, (ticket_t){.letter = ticket});
    return true;
}

static bool refuse(consumer_t *self, lane_t *lane, const record_t *record, const char *why,
                   metric_t *metric)
{
    if (!bury(self, lane, record, why))
        return false;
    metric_add(metric, 1);
    return true;
}

/* Of an epoch that is not known here. One that began since we last asked is no forgery; what was
 * taken before an answer was asked for is judged by it. */
static bool take_strange(consumer_t *self, lane_t *lane, const record_t *record)
{
    if (self->keyring.asked_mono_us > lane->taken_mono_us)
        return bury(self, lane, record, "of an epoch that is none of this database");
    keyring_ask(&self->keyring);
    return false;
}

/* Deals with the first record. False: not now. */
static bool take_first(consumer_t *self, lane_t *lane)
{
    record_t record;
    record_position_t place;
    log_event_t event;
    const char *why = "";
    kafka_message_record(&lane->held[lane->first], &record);
    switch (record_read(self->coder, &record, &place, &event, &why)) {
    case RECORD_EVENT:
        return take_answer(self, lane, dispatch_offer(self->dispatch, &event, place.before),
                           &place);
    case RECORD_PLACE:
        return take_place(self, lane, &place);
    case RECORD_STALE:
        metric_add(self->metrics.stale, 1);
        pass(lane, (ticket_t){0});
        return true;
    case RECORD_STRANGE:
        return take_strange(self, lane, &record);
    case RECORD_POISON:
        return refuse(self, lane, &record, why, self->metrics.decode_errors);
    case RECORD_FORGED:
        return refuse(self, lane, &record, why, self->metrics.mac_errors);
    }
    return false;
}

static void fill(consumer_t *self, lane_t *lane, now_t now)
{
    if (lane->n > 0)
        return;
    lane->first = 0;
    lane->n = kafka_reader_take(self->reader, lane->partition, lane->held, LANE_MESSAGES);
    lane->taken_mono_us = now.mono_us;
    metric_add(self->metrics.records, (int64_t)lane->n);
}

size_t consumer_lane_turn(consumer_t *self, lane_t *lane, now_t now)
{
    size_t n = 0;
    fill(self, lane, now);
    while (lane->n > 0 && take_first(self, lane))
        n++;
    return n;
}

void consumer_lane_release(lane_t *lane)
{
    for (; lane->n > 0; lane->n--)
        kafka_message_release(&lane->held[lane->first++]);
}
