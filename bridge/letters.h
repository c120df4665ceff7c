/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters of the consumer: records of Kafka that cannot be verified or read. Each becomes a
 * row of dead_letter; only then may its offset be passed. Many are under way at once, so that a
 * flood of them holds the others up as little as can be. */
#ifndef TASKWIRE_LETTERS_H
#define TASKWIRE_LETTERS_H

#include "actors/network.h"
#include "bridge/dead_letter.h"

typedef struct letters letters_t;

/* For the owner of this connection, who drives it. */
letters_t *letters_new(network_t *network, pg_t *pg);
/* The connection must have been destroyed before. */
void letters_destroy(letters_t **self_p);

/* Takes a letter on; its record is copied, its texts are literals or live as long as this. Returns
 * its ticket; 0: there is no room now. */
uint64_t letters_add(letters_t *self, const dead_letter_t *letter);

/* All letters up to this ticket are durable. */
uint64_t letters_done(const letters_t *self);

/* Stores what there is; answers how long nothing will be to do. */
int64_t letters_turn(letters_t *self, now_t now);

#endif
