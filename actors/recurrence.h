/* SPDX-License-Identifier: Apache-2.0 */
/* The recurrence actor: a closed occurrence of a series gets its successor, in the list where it is
 * by then. Its subtasks stay with it. It keeps nothing: the
 * command's id comes from the closing event's (stream, rev), so that the same event, however often
 * it comes, makes the same command; and apply refuses what is out of date.
 *
 * And what a large removal of a member leaves for later, tasks that still name him, is released in
 * the same way.
 *
 * takes: EVENTS and TERM from the relay or the consumer, RESULTS from the writer. emits: COMMANDS
 * (task.succeed, member.release), ACK when all successors of a batch are durable. */
#ifndef TASKWIRE_RECURRENCE_H
#define TASKWIRE_RECURRENCE_H

#include "actors/network.h"
#include "schema/command.h"
#include "schema/event.h"

typedef struct recurrence recurrence_t;

recurrence_t *recurrence_new(network_t *network);
actor_t *recurrence_actor(recurrence_t *self);
void recurrence_destroy(recurrence_t **self_p);

typedef enum { SUCCESSION_NONE, SUCCESSION_NEXT, SUCCESSION_WRONG } succession_t;

/* The pure step: the command that this event calls for, if any. `out` borrows from the arena.
 * WRONG: a rule or date that cannot be read, with a sentence in `why`. */
succession_t recurrence_step(const event_t *event, arena_t *arena, command_t *out, slice_t *why);

/* The `n`th command (from 1) that releases tasks of the account that `rev` of this list removed. It
 * is refused with CONFLICT when none is left. `out` borrows from the arena. */
void recurrence_release(const uuid_t *list, int64_t rev, const uuid_t *account, int64_t n,
                        arena_t *arena, command_t *out);

#endif
