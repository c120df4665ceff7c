/* SPDX-License-Identifier: Apache-2.0 */
/* What the log is spread by. A stream lives for ever in one shard, so neither the count nor the
 * hash may ever change. */
#ifndef TASKWIRE_SHARD_H
#define TASKWIRE_SHARD_H

#include "schema/uuid.h"

#define N_SHARDS 64

/* A set of shards, bit S for shard S. */
typedef uint64_t shard_set_t;

#define SHARDS_ALL (~(shard_set_t)0)

/* The shard of a stream, 0 to 63. */
static inline unsigned shard_of(const uuid_t *stream)
{
    return (unsigned)(uuid_hash(stream) % N_SHARDS);
}

/* The set that holds only the shard of this stream. */
static inline shard_set_t shard_bit(const uuid_t *stream)
{
    return (shard_set_t)1 << shard_of(stream);
}

#endif
