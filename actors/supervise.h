/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, watching and stopping the network: actors start in an order in which each finds what it
 * needs, one that ends unasked stops the program with its reason, and a signal drains them in the
 * other direction, within 10 seconds. Thread: the main one. */
#ifndef TASKWIRE_SUPERVISE_H
#define TASKWIRE_SUPERVISE_H

#include "actors/network.h"

typedef struct supervisor supervisor_t;

/* Takes SIGTERM, SIGINT and SIGHUP over, of which the first two ask to stop and the last does
 * nothing: to be made before any thread, which must not get them. */
supervisor_t *supervisor_new(void);
void supervisor_destroy(supervisor_t **self_p);

/* Waits so long, or until a signal asks to stop: true, also if one did before. Blocks. */
bool supervisor_pause(supervisor_t *self, int64_t timeout_us);

/* Runs a function in a thread of its own and waits until it has ended: true; or until a signal asks
 * to stop, also if one did before: false. Then the function may still run, whatever it waits for:
 * what it uses must not be destroyed, and only _exit is left. Blocks. */
bool supervisor_await(supervisor_t *self, void (*run)(void *arg), void *arg);

/* Starts the network's actors, calls `on_ready` when the network says that it is, and stops them
 * when it is time. Not being ready at the deadline ends it too. Returns the exit code: 0 after a
 * signal, 69 if a needed service stayed away, 70 if an actor ended for another reason. Blocks. */
int supervisor_run(supervisor_t *self, network_t *network, int64_t ready_deadline_mono_us,
                   void (*on_ready)(void *arg), void *arg);

/* Whether all threads have ended. If not, nothing that they may touch can be destroyed: only _exit
 * is left. */
bool supervisor_is_clean(const supervisor_t *self);

#endif
