/* SPDX-License-Identifier: Apache-2.0 */
/* A record from Kafka that cannot be handled: as a row of dead_letter, beside those of events that
 * an actor refused (burial.h), and from there as a record of `taskwire-dead-letter` (outbox.h),
 * which gets all of its bytes. Then the table keeps the newest thousand records and 64 KiB of each
 * value. */
#ifndef TASKWIRE_DEAD_LETTER_H
#define TASKWIRE_DEAD_LETTER_H

#include "actors/config.h"
#include "actors/pg.h"
#include "bridge/record.h"

#define DEAD_LETTER_MAX_ROWS 1000 /* of records that were published */
#define DEAD_LETTER_MAX_WAITING 10000 /* of those that were not: beyond, the oldest go */
#define DEAD_LETTER_MAX_WHOLE 256 /* while so many wait, another one is cut at once */
#define DEAD_LETTER_MAX_KEY_BYTES ((size_t)4 * 1024)
#define DEAD_LETTER_MAX_VALUE_BYTES ((size_t)64 * 1024)

/* Borrows. */
typedef struct {
    const char *topic; /* where it was, the prefix included */
    int32_t partition;
    int64_t offset; /* -1: it came from the log */
    const record_t *record;
    const char *actor; /* who could not handle it */
    const char *reason; /* in words for people */
    int32_t attempts;
    int64_t value_bytes; /* what its value had, if the record has not all of that; else 0 */
} dead_letter_t;

/* Queues its row; who calls ends the group with pg_sync. One that is there already stays as it is
 * (pg_changed tells). Errors: as pg_query; then `done` is not called. */
err_t dead_letter_store(pg_t *pg, const dead_letter_t *self, pg_done_f *done, void *arg);

/* The numbers of its headers as text. */
typedef struct {
    char partition[12];
    char offset[24];
    char attempts[12];
    char value_bytes[24];
} dead_letter_text_t;

/* Makes the record for the topic: key, value and headers as they were, and the headers `reason`,
 * `origin-topic`, `origin-partition`, `origin-offset`, `attempts` and `actor` before them, and
 * `value-bytes` if the value is cut. What then does not fit into RECORD_MAX_HEADERS is left out.
 * Borrows from the letter and the text. */
void dead_letter_record(const dead_letter_t *self, dead_letter_text_t *text, record_t *out);

/* --- the commands. They connect, print, and return the exit code: 0; 1: there is no such letter;
 * 64: that is no number; 69: the database is away; 78: it refuses what DATABASE_URL names --- */

/* The newest ones, one a line; `limit` is text, NULL for 50. */
int dead_letter_list_run(const config_t *config, const char *limit);
/* One of them, as readable as it is. */
int dead_letter_show_run(const config_t *config, const char *id);

#endif
