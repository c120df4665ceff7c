/* SPDX-License-Identifier: Apache-2.0 */
/* Every field has a fixed width, so that no two headers can have the same bytes. Stored chains
 * depend on this layout: it never changes; another one would get another tag. */
#include "actors/chain.h"

#include <sodium.h>

static const char tag[16] = "taskwire-link-1";

static uint8_t *put(uint8_t *at, const void *bytes, size_t n_bytes)
{
    memcpy(at, bytes, n_bytes);
    return at + n_bytes;
}

static uint8_t *put_i64(uint8_t *at, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(bits >> shift);
    return at;
}

chain_link_t chain_link(const chain_link_t *before, const log_event_t *event)
{
    uint8_t header[16 + LINK_BYTES + 4 * UUID_BYTES + 5 * 8 + EPOCH_CHARS + DIGEST_BYTES];
    uint8_t digest[DIGEST_BYTES] = {0};
    chain_link_t link;
    if (event->digest.n_bytes == DIGEST_BYTES)
        memcpy(digest, event->digest.data, DIGEST_BYTES);
    uint8_t *at = put(header, tag, sizeof tag);
    at = put(at, before->bytes, LINK_BYTES);
    at = put(at, event->stream.bytes, UUID_BYTES);
    at = put_i64(at, event->rev);
    at = put_i64(at, event->id);
    at = put_i64(at, event->shard);
    at = put_i64(at, event->stored_type);
    at = put(at, event->task.bytes, UUID_BYTES);
    at = put(at, event->command.bytes, UUID_BYTES);
    at = put(at, event->by.bytes, UUID_BYTES);
    at = put_i64(at, event->at_us);
    at = put(at, event->epoch, EPOCH_CHARS);
    at = put(at, digest, DIGEST_BYTES);
    crypto_generichash(link.bytes, LINK_BYTES, header, (unsigned long long)(at - header), NULL, 0);
    return link;
}
