/* SPDX-License-Identifier: Apache-2.0 */
/* Is the log what was written? A stream's events are read from the first to the last; digests and
 * links are made anew and compared with the chain, with the heads, and with what was anchored
 * outside the database. */
#ifndef TASKWIRE_VERIFY_H
#define TASKWIRE_VERIFY_H

#include <stdatomic.h>

#include "actors/anchor.h"
#include "actors/config.h"
#include "actors/pg.h"

#define VERIFY_WHY_CHARS 160

typedef struct {
    bool ok;
    int64_t events; /* that were read */
    int64_t purged; /* of them, without body */
    int64_t head; /* up to here the chain vouches for them */
    int64_t not_yet; /* of them, newer than that */
    int64_t of_other_epochs; /* anchored heads of an epoch that this history left before them, but
                                for the one that it is known to have left */
    struct {
        int64_t rev; /* 0: it is not about one event */
        char why[VERIFY_WHY_CHARS];
    } first_bad; /* unless ok */
} verify_report_t;

/* Until when, and whether it is still wanted. */
typedef struct {
    int64_t deadline_mono_us;
    const atomic_bool *is_cancelled; /* NULL: it always is wanted */
} verify_limit_t;

/* Checks one stream; `anchors` and `limit` may be NULL. Blocks; takes a constant amount of memory.
 * Errors: UNAVAILABLE: the database is away or refuses, the time is up, or nobody wants to know any
 * more; the report then holds nothing. */
err_t verify_stream(pg_t *pg, const anchors_t *anchors, const uuid_t *stream,
                    const verify_limit_t *limit, verify_report_t *out);

/* Checks one list on a connection of its own, with the anchors in DATA_DIR, within 30 s.
 * Blocks. Errors: as verify_stream. */
err_t verify_list(const config_t *config, const uuid_t *list, const atomic_bool *is_cancelled,
                  verify_report_t *out);

/* What to hold the log against. */
typedef struct {
    const char *anchors; /* an earlier copy of a file of anchors; NULL: those in DATA_DIR */
    const char *restored; /* the epoch that the database was in before it was restored; NULL */
} verify_ask_t;

/* Checks all streams and the anchors; prints a line for each that is bad and a summary. Heads of
 * another epoch that this history has not are a note in DATA_DIR, where the program sets them aside
 * after a restore; in a copy they are wrong unless `restored` names their epoch, for whoever
 * rewrites a history could give it a new one. Returns the exit code: 0: all is well, 1: something
 * is not, 69: the database is away, 78: it refuses what DATABASE_URL names. */
int verify_run(const config_t *config, const verify_ask_t *ask);

#endif
