/* SPDX-License-Identifier: Apache-2.0 */
/* When time zone data has changed, the instants of due dates change with it. At its start the
 * program compares the data that is there with what the database says it was; if it is other data,
 * this actor looks through all open tasks, and sends a command for each of which the instant is not
 * right any more. So every client, and the reminders, learn of it as of any other change. Then it
 * notes the data in the database, and is done until the next start.
 *
 * Several processes may do so at once: the command's id comes from the task, its rev and the data.
 * A process that is killed midway begins again.
 *
 * takes: RESULTS from the writer. emits: COMMANDS (task.retime). */
#ifndef TASKWIRE_RETIME_H
#define TASKWIRE_RETIME_H

#include "actors/network.h"
#include "schema/command.h"
#include "schema/task.h"

typedef struct retime retime_t;

retime_t *retime_new(network_t *network);
actor_t *retime_actor(retime_t *self);
void retime_destroy(retime_t **self_p);

/* The pure step: whether the task's instant is another one by the zones as they are now, and the
 * command that says so. `digest` names the zone data. */
bool retime_step(const task_t *task, const char *digest, arena_t *arena, command_t *out);

#endif
