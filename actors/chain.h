/* SPDX-License-Identifier: Apache-2.0 */
/* The audit chain: each event of a stream is bound to all before it by a hash over its header, the
 * digest of its body and the hash before. The body itself is not in it, so that it can be purged
 * and the chain still verifies. Pure. */
#ifndef TASKWIRE_CHAIN_H
#define TASKWIRE_CHAIN_H

#include "actors/message.h"

#define LINK_BYTES 32

typedef struct {
    uint8_t bytes[LINK_BYTES];
} chain_link_t;

/* Before the first event of a stream. */
#define LINK_GENESIS ((chain_link_t){{0}})

/* The link after this event, given the one before it. The event needs its header and digest only.
 * Source: BLAKE2b (RFC 7693) over fixed-width fields, numbers in network order, with a domain tag
 * in front. */
chain_link_t chain_link(const chain_link_t *before, const log_event_t *event);

static inline bool link_eq(const chain_link_t *a, const chain_link_t *b)
{
    return memcmp(a->bytes, b->bytes, LINK_BYTES) == 0;
}

#endif
