/* SPDX-License-Identifier: Apache-2.0 */
/* Handing the log's events to the actors that read it (recurrence, reminder, audit), whoever brings
 * them: the relay in local mode, the consumer in Kafka mode. Keeps what each actor has acknowledged
 * of each shard, and saves it in relay_position, which is the truth of what is handled in both
 * modes.
 *
 * Events are handed out in terms. A term is of one epoch and begins with reading the positions of
 * its shards; in each shard it hands out what comes after the lowest of them. When it ends what was
 * under way is forgotten: the next term, here or in another process, hands it out again.
 *
 * emits: TERM and EVENTS to the actors. takes: ACK from them, by dispatch_acknowledge. Refused
 * events become rows of dead_letter before their acknowledgement counts.
 *
 * At its limit (batches under way) it takes no event: whoever brings them waits. */
#ifndef TASKWIRE_DISPATCH_H
#define TASKWIRE_DISPATCH_H

#include "actors/message.h"
#include "actors/network.h"
#include "actors/pg.h"
#include "bridge/ledger.h"

typedef struct dispatch dispatch_t;

/* For an actor, whose connection this is and who drives it. Thread: the actor's, for all functions.
 */
dispatch_t *dispatch_new(network_t *network, actor_t *actor, pg_t *pg);
/* The connection must have been destroyed before. */
void dispatch_destroy(dispatch_t **self_p);

/* Begins a term, if there is none and an actor has not too much left of former ones. Nothing can be
 * handed out until the positions are there (dispatch_is_on); if they cannot be read, or the log is
 * in another epoch, there is no term again (dispatch_is_off). True: it is beginning. */
bool dispatch_begin(dispatch_t *self, slice_t epoch, shard_set_t shards);

/* Reads the positions of further shards in the same term; what fails is asked for again. */
void dispatch_adopt(dispatch_t *self, shard_set_t shards);

/* Ends the term, if there is one. */
void dispatch_end(dispatch_t *self);

bool dispatch_is_on(const dispatch_t *self);
bool dispatch_is_off(const dispatch_t *self);

/* The epoch of the term. Borrows. */
slice_t dispatch_epoch(const dispatch_t *self);

typedef enum {
    DISPATCH_TAKEN,
    DISPATCH_DUPLICATE, /* it was handed out before */
    DISPATCH_GAP, /* something before it was not: to be read from the log first */
    DISPATCH_FOREIGN, /* the positions of its shard are not known: see dispatch_adopt */
    DISPATCH_NO_ROOM, /* or no term: to be offered again */
} dispatch_answer_t;

/* Offers an event whose predecessor in its shard is `before`. */
dispatch_answer_t dispatch_offer(dispatch_t *self, const log_event_t *event, int64_t before);

/* The same without the event, as if there were room. */
dispatch_answer_t dispatch_place(const dispatch_t *self, unsigned shard, int64_t id,
                                 int64_t before);

/* There is nothing up to this id that could be handed out: the log has been asked. */
void dispatch_skip(dispatch_t *self, unsigned shard, int64_t id);

/* Sends what was taken. */
void dispatch_flush(dispatch_t *self);

bool dispatch_has_room(const dispatch_t *self);
/* Batches sent and not acknowledged by all. */
unsigned dispatch_n_under_way(const dispatch_t *self);
/* Bytes taken and not sent. */
size_t dispatch_n_waiting(const dispatch_t *self);
/* When the oldest event under way happened; 0: none is. */
int64_t dispatch_oldest_us(const dispatch_t *self);

/* The last id handed out of each shard. Borrows. */
const int64_t *dispatch_handed(const dispatch_t *self);

/* Up to where every actor has handled each shard. */
void dispatch_handled(const dispatch_t *self, int64_t out[N_SHARDS]);

/* Tickets of the term: whatever was handed out until now rests on the newest one or on one before;
 * all that rests on one up to `done` has been acknowledged by every actor. */
uint64_t dispatch_newest(const dispatch_t *self);
uint64_t dispatch_done(const dispatch_t *self);

/* An ACK message of an actor. */
void dispatch_acknowledge(dispatch_t *self, slice_t bytes, mp_reader_t *content);

/* Does what is due; answers how long nothing will be. */
int64_t dispatch_turn(dispatch_t *self, now_t now);

/* Saves positions now; true: they are saved. For the way out, called repeatedly. */
bool dispatch_drain(dispatch_t *self, now_t now);

#endif
