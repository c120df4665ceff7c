/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections each address has: so that one client cannot take all that there are. Thread:
 * any. */
#ifndef TASKWIRE_GATEWAY_CROWD_H
#define TASKWIRE_GATEWAY_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define CROWD_KEY_BYTES 16

typedef struct crowd crowd_t;

/* Allows `most` at once of each key; 0: any number. */
crowd_t *crowd_new(int64_t most);
void crowd_destroy(crowd_t **self_p);

/* One more comes. False, and not counted: there are as many as may be. */
bool crowd_enter(crowd_t *self, const uint8_t key[CROWD_KEY_BYTES]);
/* One that was counted has gone. */
void crowd_leave(crowd_t *self, const uint8_t key[CROWD_KEY_BYTES]);
/* How many were turned away so far. */
int64_t crowd_n_refused(crowd_t *self);

#endif
