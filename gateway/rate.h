/* SPDX-License-Identifier: Apache-2.0 */
/* How often somebody may ask: a token bucket per key, in bounded memory, without a clock of its
 * own. A bucket that is full again is the same as none, so only those that asked within the last
 * burst need a place; when a place is short, who asked least loses his, which makes the limit
 * milder and never harder. Thread: any; several may take at once. Source: the generic cell rate
 * algorithm (ITU-T I.371). */
#ifndef TASKWIRE_RATE_H
#define TASKWIRE_RATE_H

#include "schema/slice.h"

#define RATE_KEY_BYTES 16
#define RATE_BURST_S 2

typedef struct rate rate_t;

/* Allows `per_s` a second, and RATE_BURST_S seconds' worth at once; 0: no limit. Keeps at most
 * about `max_keys`. */
rate_t *rate_new(int64_t per_s, size_t max_keys);
void rate_destroy(rate_t **self_p);

/* Takes one if there is one. Else false, with the time until there will be one in `retry_us`.
 * Units: `mono_us` of the monotonic clock. */
bool rate_take(rate_t *self, const uint8_t key[RATE_KEY_BYTES], int64_t mono_us, int64_t *retry_us);

/* For what counts as `n_more` beside the one that rate_take has taken. What is more than a whole
 * burst needs no more than one to be there, which is all that ever is, but is taken in full: who
 * comes next waits the longer. Else false, and nothing is taken, with the time until both would be
 * granted in `retry_us`. */
bool rate_take_more(rate_t *self, const uint8_t key[RATE_KEY_BYTES], int64_t n_more,
                    int64_t mono_us, int64_t *retry_us);

#endif
