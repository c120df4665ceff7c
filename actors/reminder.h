/* SPDX-License-Identifier: Apache-2.0 */
/* The reminder actor: keeps a row per reminder from the events, holds the near ones in memory, and
 * fires each at its instant as a command. PostgreSQL is the truth: the rows that are due are read
 * every second besides, so that whoever takes over misses none. The command's id comes from the
 * reminder and its instant, so firing twice is firing once; and apply refuses a reminder that the
 * task no longer has.
 *
 * takes: EVENTS and TERM from the relay or the consumer, LEAD from the relay (only
 * the leading process fires), RESULTS from the writer.
 * emits: COMMANDS (task.remind), ACK when the rows of a batch are durable. */
#ifndef TASKWIRE_REMINDER_H
#define TASKWIRE_REMINDER_H

#include "actors/network.h"

typedef struct reminder_actor reminder_actor_t;

reminder_actor_t *reminder_new(network_t *network);
actor_t *reminder_actor(reminder_actor_t *self);
void reminder_destroy(reminder_actor_t **self_p);

#endif
