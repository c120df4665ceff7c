/* SPDX-License-Identifier: Apache-2.0 */
/* How many events of the log are behind what has been handled: counted by the database every two
 * seconds, up to a limit, since nobody else knows how many there are. */
#ifndef TASKWIRE_LAG_H
#define TASKWIRE_LAG_H

#include "actors/clock.h"
#include "actors/pg.h"
#include "schema/shard.h"

/* More are counted as so many. */
#define LAG_MAX_EVENTS 100000

/* Zero-initialised: nothing is known yet. */
typedef struct {
    bool is_asking;
    int64_t ask_mono_us; /* not before */
    int64_t n_events; /* when they were counted last; 0: none, or not known */
} lag_t;

bool lag_is_due(const lag_t *self, now_t now);

/* Counts what is behind these positions. The answer comes later, into `n_events`. */
void lag_ask(lag_t *self, pg_t *pg, const int64_t positions[N_SHARDS], now_t now);

#endif
