/* SPDX-License-Identifier: Apache-2.0 */
/* How an actor commands: sends commands to the writer, keeps each until its final result is there,
 * and sends it again with the same id when the cause of a refusal passes (the writer overloaded,
 * the database away). */
#ifndef TASKWIRE_COMMANDER_H
#define TASKWIRE_COMMANDER_H

#include "actors/message.h"
#include "actors/network.h"

/* The final result: applied, a repeat, or refused for good. Borrows from a message that lives for
 * this call. */
typedef void commander_done_f(void *arg, const result_t *result);

typedef struct commander commander_t;

/* For the actor at `address`. Thread: the actor's. */
commander_t *commander_new(const network_t *network, uint32_t address);
void commander_destroy(commander_t **self_p);

/* Takes a command on; author, id and fingerprint are set by the caller, the rest of the envelope
 * here. It is copied. */
void commander_send(commander_t *self, command_t *command, commander_done_f *done, void *arg);

/* Takes RESULTS. */
void commander_receive(commander_t *self, mp_reader_t *content, now_t now);

/* Sends what is new or due again; answers how long nothing will be to do. */
int64_t commander_turn(commander_t *self, now_t now);

/* Forgets all commands: nobody is called back any more. What was sent may still be applied. */
void commander_clear(commander_t *self);

/* Commands without a final result. */
size_t commander_n_under_way(const commander_t *self);

#endif
