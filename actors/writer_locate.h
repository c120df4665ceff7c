/* SPDX-License-Identifier: Apache-2.0 */
/* Which list is a task in? Commands that name only the task (command_place) are located before
 * their shard can be locked: from what earlier commands taught, else by one read for all that wait.
 * The answer may be out of date by the time the lock is held; the lane notices.
 *
 * Everybody's commands leave in the order in which they came: while one waits here, the later ones
 * of its author wait too, whether or not they have to be located. */
#ifndef TASKWIRE_WRITER_LOCATE_H
#define TASKWIRE_WRITER_LOCATE_H

#include "actors/writer_batch.h"

#define LOCATOR_SETS 16384
#define LOCATOR_WAYS 4
#define LOCATOR_AUTHORS 1024

typedef struct {
    uuid_t task;
    uuid_t list;
} place_t;

typedef void locator_done_f(void *arg, pending_t *pending);

typedef struct {
    pg_t *pg;
    place_t *known; /* LOCATOR_SETS by hash of the task, each of LOCATOR_WAYS, latest first */
    uint32_t *n_held; /* LOCATOR_AUTHORS, by hash of the author: commands in the lists below */
    pending_list_t waiting;
    pending_list_t asked; /* in the read under way */
    locator_done_f *located;
    locator_done_f *not_found;
    void *arg;
} locator_t;

/* `pg` is borrowed. `not_found`: the task is not in the database. Owns: pending commands belong to
 * the locator until one of the callbacks gets them. */
void locator_init(locator_t *self, pg_t *pg, locator_done_f *located, locator_done_f *not_found,
                  void *arg);
/* Nothing may wait any more. */
void locator_fini(locator_t *self);
/* Fills the command's list in, unless it has one, and calls back: now if that is known and no
 * earlier command of the author waits, else later. */
void locator_find(locator_t *self, pending_t *pending);
/* Starts a read if commands wait and none is under way. */
void locator_turn(locator_t *self);
/* Takes a command out that waited past its deadline; NULL if there is none. */
pending_t *locator_expired(locator_t *self, now_t now);
/* Takes any command out; NULL if there is none. */
pending_t *locator_take(locator_t *self);
size_t locator_n_waiting(const locator_t *self);
/* Remembers where the task of an applied command is. */
void locator_learn(locator_t *self, const outcome_t *outcome, const command_t *command);

#endif
