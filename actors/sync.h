/* SPDX-License-Identifier: Apache-2.0 */
/* sync: reads the log by itself, encodes each event once for all WebSocket clients and sends the
 * frames to the gateways that watch its stream. Every process has its own, whoever leads.
 *
 * takes: WATCH from gateways, TAIL in Kafka mode, the doorbell (the log grew in these shards).
 * emits: WATCHED, FRAMES, ACCESS, EPOCH, PURGED.
 *
 * In Kafka mode (there is an actor at ADDRESS_TAIL) events come from there too. One is taken if it
 * is the next of its shard and of its stream; what has come already is dropped; and before one that
 * does not fit the log is read, which has everything. So whatever Kafka loses, repeats or brings
 * late, clients get the log.
 *
 * What gateways can rely on:
 * - WATCHED is sent after sync has begun to read at a position that is not beyond what is visible
 * now. So of the events that a gateway does not find when it reads the log after WATCHED, every one
 * comes as a frame.
 * - ACCESS is sent before the frame of the event that changed it.
 * - PURGED comes within a second of a purge, whichever process purged. No frame that comes behind
 * it holds what was purged.
 * - A gateway whose inbox is full gets nothing more until there is room again; then it gets ACCESS
 * for everything if one was lost, PURGED for all streams likewise, and for each stream of which it
 * missed something WATCHED anew, with the frames that are still there. What is no longer there is
 * in the log. */
#ifndef TASKWIRE_SYNC_H
#define TASKWIRE_SYNC_H

#include "actors/network.h"

typedef struct sync sync_t;

sync_t *sync_new(network_t *network);
actor_t *sync_actor(sync_t *self);
void sync_destroy(sync_t **self_p);

#endif
