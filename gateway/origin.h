/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request comes from: which web origin (RFC 6454) and which address. Pure. */
#ifndef TASKWIRE_ORIGIN_H
#define TASKWIRE_ORIGIN_H

#include "schema/arena.h"

/* Whether an Origin header names an origin of this list, which is separated by commas. */
bool origin_is_in(slice_t origin, const char *origins);
/* Whether it names the very server that the request went to by its Host header. Browsers set both,
 * so a foreign page cannot make them agree. What came by HTTPS is not from a page that came by
 * HTTP, which anybody on the way could have written. */
bool origin_is_host(slice_t origin, slice_t host, bool is_https);

/* The client behind trusted proxies (IP addresses and CIDR ranges, separated by commas): the last
 * of X-Forwarded-For that is none of them; the peer itself if it is not trusted. What stands before
 * an item that is no address is not believed. In the arena, or the one given. */
slice_t origin_client_address(slice_t peer, slice_t forwarded_for, const char *trusted,
                              arena_t *arena);
/* Whether this peer is one of the trusted proxies. */
bool origin_is_trusted(slice_t peer, const char *trusted);
/* Whether X-Forwarded-Proto says HTTPS. Of several, what the nearest proxy said. */
bool origin_is_forwarded_https(slice_t forwarded_proto);

#define ORIGIN_KEY_BYTES 16

/* What limits are counted by: the address; of IPv6 only the /64, since one client has a whole one.
 */
void origin_address_key(slice_t address, uint8_t out[ORIGIN_KEY_BYTES]);

#endif
