/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from PostgreSQL in a libuv loop: a small pool of pipelined connections that cannot write.
 * The function to use is reads_query in inner.h. Thread: the loop's. */
#ifndef TASKWIRE_READS_H
#define TASKWIRE_READS_H

#include "gateway/inner.h"

#define READS_CONNECTIONS 2

/* Makes the pool on the gateway's loop and starts connecting. `who` names it in logs and in
 * pg_stat_activity. */
reads_t *reads_new(gateway_t *gateway, const char *who);
/* Breaks all connections: whoever waits hears PG_LOST. The loop must run until the handles are
 * closed, then reads_destroy frees. */
void reads_stop(reads_t *self);
void reads_destroy(reads_t **self_p);

/* Before the loop sleeps: sees to it that it wakes for what was queued. */
void reads_before_sleep(reads_t *self);

/* What to answer to who waits for a read: UNAVAILABLE when trying again helps, INTERNAL when the
 * database refused. */
err_t reads_err(pg_fate_t fate);

/* Reads under way, over all connections. */
int reads_in_flight(const reads_t *self);

#endif
