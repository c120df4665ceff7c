/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request comes from: which web origin (RFC 6454) and which address. Pure. */
#ifndef TASKWIRE_ORIGIN_H
#define TASKWIRE_ORIGIN_H

#include "schema/arena.h"

/* Whether an Origin header names an origin of this list, which is separated by commas. */
bool origin_is_in(slice_t origin, const char *origins);
/* Whether it names the very server that the request went to by its Host header. Browsers set both,
 * so a foreign page cannot make them agree. */
bool origin_is_host(slice_t origin, slice_t host);

/* The client behind trusted proxies (IP addresses separated by commas): the last address of
 * X-Forwarded-For that is none of them; the peer itself if it is not trusted or the header makes no
 * sense. In the arena, or one of the given. */
slice_t origin_client_address(slice_t peer, slice_t forwarded_for, const char *trusted,
                              arena_t *arena);
/* Whether this peer is one of the trusted proxies. */
bool origin_is_trusted(slice_t peer, const char *trusted);

#define ORIGIN_KEY_BYTES 16

/* What limits are counted by: the address; of IPv6 only the /64, since one client has a whole one.
 */
void origin_address_key(slice_t address, uint8_t out[ORIGIN_KEY_BYTES]);

#endif
