/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of pg.h share: only they know libpq. */
#ifndef TASKWIRE_PG_PRIVATE_H
#define TASKWIRE_PG_PRIVATE_H

#include <libpq-fe.h>

#include "actors/log.h"
#include "actors/pg.h"

/* Microseconds from 1970 to 2000, where PostgreSQL counts from. */
#define PG_EPOCH_US INT64_C(946684800000000)

#define PG_WORDS_CHARS 400

/* The answer to one statement while its callback runs. */
struct pg_result {
    const PGresult *answer;
    const char *sqlstate; /* in place of the answer's own; NULL: none */
    const char *message;
};

/* Whether the statement was done. */
bool pg_answer_is_good(const PGresult *answer);

/* The five characters of a failure, "" if the server gave none: then it is the connection that
 * failed. */
const char *pg_answer_sqlstate(const PGresult *answer);

/* What a SQLSTATE means. `is_known` tells whether the header lists its class. */
pg_fate_t pg_fate_of(const char *sqlstate, bool *is_known);

/* Copies libpq's words as one line without double quotes, so that they fit into a log line. */
void pg_words(char out[PG_WORDS_CHARS], const char *text);

/* Starts connecting without waiting (but for names that DNS must resolve). NULL: the URL
 * cannot be read, which `words` then says. */
PGconn *pg_connect_start(const pg_options_t *options, char words[PG_WORDS_CHARS]);

/* Why this attempt to connect failed, for logs. True: the server answered, and what the URL names
 * does not exist or may not come in; false: it may yet come. */
bool pg_connect_failure(const PGconn *conn, char words[PG_WORDS_CHARS]);

/* What is under way on a session, and what it has prepared. Zero-initialised is empty; without a
 * connection nothing may be sent. */
typedef struct {
    PGconn *conn; /* borrowed; NULL between sessions */
    const char *who;
    bool is_calling; /* a callback runs */
    bool is_group_open; /* statements were queued since the last SYNC */
    int n_queries; /* not yet called back */
    int n_syncs; /* not yet answered */
    uint64_t n_answers;
    uint64_t n_groups_done;
    char farewell[PG_WORDS_CHARS]; /* the server's last words, "" if none */

    /* Ring: [head, cursor) is answered, [cursor, tail) awaits answers; index modulo capacity. */
    struct pg_entry *entries;
    size_t capacity;
    uint64_t head;
    uint64_t cursor;
    uint64_t tail;
    uint64_t group; /* the one being filled */

    struct pg_name *names; /* hash table by address */
    size_t names_capacity;
    size_t n_names;
    uint32_t last_number;
} pg_pipeline_t;

void pg_pipeline_open(pg_pipeline_t *self, PGconn *conn);
/* The session has ended; what was under way stays to be failed. */
void pg_pipeline_close(pg_pipeline_t *self);
/* Calls back everything that is under way with PG_LOST. */
void pg_pipeline_fail(pg_pipeline_t *self);
void pg_pipeline_fini(pg_pipeline_t *self);

/* Queues a statement; ends a group. False: the connection is broken. */
bool pg_pipeline_query(pg_pipeline_t *self, const pg_stmt_t *stmt, const pg_params_t *params,
                       pg_done_f *done, void *arg);
bool pg_pipeline_sync(pg_pipeline_t *self);

/* Takes in all answers that have arrived and calls back. False: the connection is broken. */
bool pg_pipeline_take(pg_pipeline_t *self);
/* Whether answers have been read and not been taken in. */
bool pg_pipeline_has_answers(const pg_pipeline_t *self);

/* Has the type of libpq's notice receiver; `arg` is the pipeline. */
void pg_pipeline_on_notice(void *arg, const PGresult *notice);

#endif
