/* SPDX-License-Identifier: Apache-2.0 */
/* The hub of a gateway: the streams that it follows for its sockets, with their recent frames, and
 * who gets them.
 *
 * takes: WATCHED, FRAMES, ACCESS, EPOCH, PURGED (hub_receive in inner.h). emits: WATCH. */
#ifndef TASKWIRE_HUB_H
#define TASKWIRE_HUB_H

#include "gateway/inner.h"

/* Makes the hub of a gateway, with a port to sync. The gateway's other parts need not be there yet.
 * Thread: the gateway's. */
hub_t *hub_new(gateway_t *gateway);
/* To be called when every socket is closed (server_close) and no read is under way (reads_stop).
 */
void hub_destroy(hub_t **self_p);

/* Streams followed now. */
size_t hub_n_streams(const hub_t *self);

#endif
