/* SPDX-License-Identifier: Apache-2.0 */
/* Which events are on their way to Kafka, and up to where each shard has arrived. An event becomes
 * several records; it has arrived when all of them have. A shard's position is the end of the
 * contiguous run of events that have arrived: it never passes one that has not. Pure. */
#ifndef TASKWIRE_PROGRESS_H
#define TASKWIRE_PROGRESS_H

#include "schema/shard.h"

#include <stdbool.h>

/* Of events under way at once. */
#define PROGRESS_MAX_EVENTS 65536

typedef struct progress progress_t;

/* Nothing under way, all positions 0. Never NULL. */
progress_t *progress_new(void);
void progress_destroy(progress_t **self_p);

/* Forgets what is under way and begins at these positions. */
void progress_reset(progress_t *self, const int64_t positions[N_SHARDS]);

bool progress_has_room(const progress_t *self);

/* The next event of its shard sets out; ids ascend within a shard. Returns its ticket, with one
 * hold on it. There must be room. */
uint32_t progress_open(progress_t *self, unsigned shard, int64_t id, int64_t at_us);

/* One thing more, or one less, that the event waits for. Without holds it has arrived, and its
 * ticket may become another's. */
void progress_hold(progress_t *self, uint32_t ticket);
void progress_release(progress_t *self, uint32_t ticket);

/* Of an event under way. */
int64_t progress_id(const progress_t *self, uint32_t ticket);
unsigned progress_shard(const progress_t *self, uint32_t ticket);

/* Up to where the shard has arrived. */
int64_t progress_position(const progress_t *self, unsigned shard);

/* The shards whose position has moved since they were last taken. */
shard_set_t progress_take_moved(progress_t *self);
/* They were not saved: they count as moved again. */
void progress_give_back(progress_t *self, shard_set_t shards);
bool progress_has_moved(const progress_t *self);

/* Events under way, and when the oldest of them happened (0: none is). */
uint32_t progress_n(const progress_t *self);
int64_t progress_oldest_us(const progress_t *self);

#endif
