/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: the only code that changes `task`, `stream` (with `list`, `member`, `account`,
 * `token`) and `event`. Group commit by draining: what queued up while the last transaction ran is
 * the next batch, so no timer is needed.
 *
 * takes: COMMANDS from gateways and actors. emits: RESULTS to each command's reply_to, one per
 * command; wakes whoever reads the log after each commit.
 *
 * At its limits: a command beyond the queue is answered OVERLOADED; one that waited too long for
 * the database UNAVAILABLE, or OUTCOME_UNKNOWN if its COMMIT was sent and the database has not come
 * back to tell. */
#ifndef TASKWIRE_WRITER_H
#define TASKWIRE_WRITER_H

#include "actors/network.h"

#define WRITER_MAX_QUEUE 16384
/* Of the messages that waiting commands came in. */
#define WRITER_MAX_QUEUE_BYTES ((size_t)64 * 1024 * 1024)
#define WRITER_MAX_BATCH 1000

typedef struct writer writer_t;

writer_t *writer_new(network_t *network);
actor_t *writer_actor(writer_t *self);
void writer_destroy(writer_t **self_p);

#endif
