/* SPDX-License-Identifier: Apache-2.0 */
/* Taking out of the database what must not be kept (the law, or a user who wants it): of events
 * their body, salt and fingerprint, which is the one change that the log lets through, and with
 * them what was made of them. The header of an event stays, and its digest: revisions have no gap,
 * and the audit chain still verifies and counts what was purged.
 *
 * Processes that run drop what they have of it in memory within a second (`purged`).
 *
 * Of what is still in use only the past goes: the events of a list that is not deleted, but none of
 * its tasks. Of what was deleted everything goes, and it cannot be restored any more. */
#ifndef TASKWIRE_PURGE_H
#define TASKWIRE_PURGE_H

#include "actors/config.h"
#include "actors/pg.h"

typedef enum {
    PURGE_STREAM, /* a list, or an account's stream */
    PURGE_TASK, /* in all lists in which it ever was */
    PURGE_ACCOUNT, /* its stream, and what nobody but it could restore */
} purge_kind_t;

typedef struct {
    bool is_known; /* there was such a thing */
    int64_t events; /* that lost their body now */
    int64_t tasks; /* whose rows went */
    int64_t lists; /* that cannot be restored any more */
} purge_report_t;

/* Whether it is still wanted, asked after each step, and how long an answer may take. */
typedef struct {
    bool (*is_wanted)(void *arg); /* NULL: it always is */
    void *arg;
    int64_t timeout_us;
} purge_limit_t;

/* For the connection: no sequential scans, every statement finds its rows by key. */
#define PURGE_SESSION_OPTIONS                                                                      \
    "-c statement_timeout=20000 -c jit=off -c enable_seqscan=off -c "                              \
    "plan_cache_mode=force_generic_plan"

/* Purges in steps of bounded size, each a transaction under the lock of its shard. What is cut
 * short goes on when it is called again. Blocks. Errors: UNAVAILABLE: the database is away or
 * refuses, or it is not wanted any more; the report then holds what was done until then. */
err_t purge(pg_t *pg, purge_kind_t kind, const uuid_t *id, const purge_limit_t *limit,
            purge_report_t *out);

/* The command: connects, purges, prints a line. Returns the exit code: 0; 1: there is no such
 * thing; 64: the id is none; 69: the database is away; 78: it refuses what DATABASE_URL names. */
int purge_run(const config_t *config, purge_kind_t kind, const char *id);

#endif
