/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway: an actor with a libuv loop that serves HTTP and WebSocket clients. Any number run
 * beside each other; the first one accepts connections and hands them round.
 *
 * takes: RESULTS from the writer, WATCHED, FRAMES, ACCESS, EPOCH from sync. emits: COMMANDS, WATCH.
 */
#ifndef TASKWIRE_GATEWAY_H
#define TASKWIRE_GATEWAY_H

#include "actors/network.h"

typedef struct gateway gateway_t;

/* What the gateways share: the sockets that the program listens on, opened before any thread
 * starts, and how much clients have asked. */
typedef struct listeners listeners_t;

/* Opens LISTEN and ADMIN_LISTEN. NULL, with a sentence that names the setting as it was written in
 * `error`, if that fails. */
listeners_t *listeners_new(const config_t *config, char *error, size_t error_size);
void listeners_destroy(listeners_t **self_p);
/* Where clients reach it, with the port that was picked: http://127.0.0.1:8080 */
const char *listeners_url(const listeners_t *self);
const char *listeners_admin_url(const listeners_t *self);

/* Gateway `index` of network->n_gateways. The listeners must outlive it. */
gateway_t *gateway_new(network_t *network, listeners_t *listeners, uint32_t index);
actor_t *gateway_actor(gateway_t *self);
void gateway_destroy(gateway_t **self_p);

#endif
