/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log: shard by shard, or one stream, always in order and never all at once. Each
 * function queues one statement; who calls ends the group with pg_sync. */
#ifndef TASKWIRE_EVENTLOG_H
#define TASKWIRE_EVENTLOG_H

#include "actors/message.h"
#include "actors/pg.h"
#include "schema/shard.h"

/* What one reading brings at most, beside the first event of each shard. Units: bytes of bodies. */
#define EVENTLOG_READ_BYTES (8 * 1024 * 1024)

/* The columns of an event, for statements of others: they must be the first ones, in this order. */
#define EVENTLOG_COLUMNS                                                                           \
    "id, shard, stream, rev, type, task, command, by, at, epoch, digest, body, trace"
#define EVENTLOG_N_COLUMNS 13

/* Reads them; the event borrows from the result. False: no row that the writer could have made; the
 * shard is filled in all the same if it is one. */
bool eventlog_row(const pg_result_t *result, int row, log_event_t *out);

/* How a reading ended. */
typedef struct {
    pg_fate_t fate; /* unless it is PG_OK nothing else holds, and the events told so far may be
                       incomplete */
    size_t n_events;
    shard_set_t more; /* shards that were not read to their end, because of a limit */
} eventlog_end_t;

/* Who is told. Callbacks run where those of pg.h run: `event` for each in order within its shard
 * (the event borrows until it returns), then `end` exactly once. */
typedef struct {
    void (*event)(void *arg, const log_event_t *event);
    void (*end)(void *arg, const eventlog_end_t *end);
    void *arg;
} eventlog_reader_t;

/* Reads in each of the shards at most `limit` events whose id is greater than positions[shard].
 * What is no event there, since no writer of ours wrote it, is left out.
 * Errors: as pg_query; then nothing is called. */
err_t eventlog_read(pg_t *pg, const int64_t positions[N_SHARDS], shard_set_t shards, int limit,
                    const eventlog_reader_t *reader);

/* Reads at most `limit` events of a stream, in order of rev, from `after_rev` + 1. `more` then
 * holds the stream's shard or nothing. What is no event ends the reading with PG_REJECTED. Errors:
 * as pg_query; then nothing is called. */
err_t eventlog_read_stream(pg_t *pg, const uuid_t *stream, int64_t after_rev, int limit,
                           const eventlog_reader_t *reader);

/* Tells the largest id of each shard, 0 for an empty one; `heads` is NULL unless the fate is PG_OK.
 */
typedef void eventlog_heads_f(void *arg, pg_fate_t fate, const int64_t *heads);

/* Finds the largest id of each shard. Errors: as pg_query; then `done` is not called. */
err_t eventlog_heads(pg_t *pg, eventlog_heads_f *done, void *arg);

#endif
