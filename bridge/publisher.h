/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's way into Kafka: each event of the log becomes a record of task-events, one of
 * reminders if it is one, and what it does to task-updates. What has arrived is kept per shard, in
 * relay_position as actor 'kafka', and never passes what the broker has not acknowledged.
 *
 * Events are published in terms, as dispatch.h hands them out: a term is of one epoch and begins
 * with reading the positions. When the producer breaks, the term goes on with another one from
 * where everything has arrived: what came behind is published again.
 *
 * An event that the broker refuses for what it is becomes a row of dead_letter, and is passed over.
 *
 * At its limit (records under way), and while a task or a list is read for task-updates, it takes
 * no event: whoever brings them waits. */
#ifndef TASKWIRE_PUBLISHER_H
#define TASKWIRE_PUBLISHER_H

#include "actors/message.h"
#include "actors/network.h"
#include "actors/pg.h"

typedef struct publisher publisher_t;

/* For an actor, whose connection this is and who drives it. Thread: the actor's, for all functions.
 */
publisher_t *publisher_new(network_t *network, actor_t *actor, pg_t *pg);
/* The connection must have been destroyed before. */
void publisher_destroy(publisher_t **self_p);

/* Begins a term, if there is none. Nothing can be published until the positions are there
 * (publisher_is_on); if they cannot be read, or the log is in another epoch, there is no term again
 * (publisher_is_off). */
void publisher_begin(publisher_t *self, slice_t epoch);
void publisher_end(publisher_t *self);
bool publisher_is_on(const publisher_t *self);
bool publisher_is_off(const publisher_t *self);
/* The epoch of the term. Borrows. */
slice_t publisher_epoch(const publisher_t *self);

/* The last id of each shard that was taken: what comes next comes behind it. It goes back when a
 * producer has broken; each time publisher_run is another number. Borrows. */
const int64_t *publisher_taken(const publisher_t *self);
uint64_t publisher_run(const publisher_t *self);

/* Up to where each shard has arrived. */
void publisher_arrived(const publisher_t *self, int64_t out[N_SHARDS]);

bool publisher_has_room(const publisher_t *self);

/* Publishes the event that follows the last one taken of its shard. False: there is no room, it is
 * to be offered again, and none of its shard before it. */
bool publisher_offer(publisher_t *self, const log_event_t *event);

/* Events under way, and when the oldest of them happened (0: none is). */
uint32_t publisher_n_under_way(const publisher_t *self);
int64_t publisher_oldest_us(const publisher_t *self);

/* Does what is due; answers how long nothing will be. */
int64_t publisher_turn(publisher_t *self, now_t now);

/* Waits for what is under way and saves positions; true: that is done. For the way out, called
 * repeatedly. */
bool publisher_drain(publisher_t *self, now_t now);

#endif
