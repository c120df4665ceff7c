/* SPDX-License-Identifier: Apache-2.0 */
/* The eraser: finishes what DELETE /v1/me has begun. The writer deletes an account and its tokens,
 * and leaves a row in `erasure`; here what the log still says of it is purged (purge.h), and the
 * row goes. In every process: what is purged twice is purged once.
 * Takes and emits: nothing. Thread: its own; it waits for the database in it. */
#ifndef TASKWIRE_ERASER_H
#define TASKWIRE_ERASER_H

#include "actors/network.h"

typedef struct eraser eraser_t;

/* Makes the actor and puts it into the network. */
eraser_t *eraser_new(network_t *network);
actor_t *eraser_actor(eraser_t *self);
void eraser_destroy(eraser_t **self_p);

#endif
