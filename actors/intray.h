/* SPDX-License-Identifier: Apache-2.0 */
/* What an actor has been given by the relay (or the consumer) and not yet handled: batches of
 * events, in order. What has gathered is handled whole, as if it were one batch, in one transaction
 * of the actor's and acknowledged after it, or tried again as long as the database is away: the
 * more there is to do, the larger the transactions. */
#ifndef TASKWIRE_INTRAY_H
#define TASKWIRE_INTRAY_H

#include "actors/message.h"
#include "actors/network.h"

/* More than is ever under way. */
#define INTRAY_LIMIT 128

typedef struct intray intray_t;

/* Handles the events behind `content` (events_next, n_events times). Errors that say RETRY: they
 * stay and come again, with others perhaps; nothing of it may be half done. Any other: every event
 * of it is rejected with that error's words. */
typedef err_t intray_handle_f(void *arg, mp_reader_t *content, uint32_t n_events);

/* For the actor at `address`. Thread: the actor's. */
intray_t *intray_new(const network_t *network, uint32_t address);
void intray_destroy(intray_t **self_p);

/* Forgets what is there: to be called on TERM, since another term hands everything out anew, and
 * what a slow actor has of former terms must not add up. */
void intray_clear(intray_t *self);

/* Keeps an EVENTS message that the actor is receiving. */
void intray_receive(intray_t *self, actor_t *actor);

/* To be called by the handler for an event that can never be handled: it becomes a dead letter.
 * `why` is copied. */
void intray_reject(intray_t *self, const log_event_t *event, slice_t why);

/* Handles what is there, some MiB of it at once; answers how long nothing will be to do. */
int64_t intray_turn(intray_t *self, now_t now, intray_handle_f *handle, void *arg);

/* Batches not handled yet. */
size_t intray_n_waiting(const intray_t *self);

#endif
