/* SPDX-License-Identifier: Apache-2.0 */
/* The audit actor: a hash chain per stream over every event, and signed anchors of its heads
 * outside the database.
 *
 * A stream's head moves by compare-and-set from the revision before, so that of two actors that
 * handle the same events only one adds them, whoever was frozen meanwhile. A gap before a batch is
 * filled from the log first. It looks at headers and digests only and never decodes a body, so
 * nothing that an event holds can keep it out of the chain.
 *
 * takes: EVENTS and TERM from the relay or the consumer (anchors what moves in its
 * terms). emits: ACK when the
 * chain of a batch is durable. */
#ifndef TASKWIRE_AUDIT_H
#define TASKWIRE_AUDIT_H

#include "actors/network.h"

typedef struct audit audit_t;

audit_t *audit_new(network_t *network);
actor_t *audit_actor(audit_t *self);
void audit_destroy(audit_t **self_p);

#endif
