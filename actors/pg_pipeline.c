/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline of one session. What libpq demands to be told apart is kept in a ring, in the order
 * in which it was sent: PREPARE, QUERY and SYNC. libpq's quirks are all handled in take_answer: the
 * answers to a statement end with a NULL, a SYNC has none behind it; a statement behind a failed
 * one answers ABORTED; and a commit can fail as late as at the SYNC, after every statement was
 * answered well. Because of that last one, answers are kept until the SYNC of their group has
 * arrived: a callback that hears PG_OK can rely on it.
 *
 * A PREPARE that is skipped because of an earlier failure in its group leaves its statement
 * unprepared. So until the PREPARE is answered, only its own group may use the name; others send
 * the SQL along (the unnamed statement). */
#include "actors/pg_private.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_CHARS 16

typedef enum { ENTRY_PREPARE, ENTRY_QUERY, ENTRY_SYNC } entry_kind_t;

/* Something sent whose answer is awaited, or kept until its group is complete. */
typedef struct pg_entry {
    entry_kind_t kind;
    bool was_prepared; /* the name it used was known to be good */
    const pg_stmt_t *stmt;
    pg_done_f *done;
    void *arg;
    PGresult *answer;
} entry_t;

typedef enum { NAME_ABSENT, NAME_PENDING, NAME_READY } name_state_t;

/* What this session knows of a statement. */
typedef struct pg_name {
    const pg_stmt_t *stmt;
    uint32_t number;
    name_state_t state;
    uint64_t group; /* of the PREPARE that is pending */
    log_once_t complaint;
} name_t;

/* --- the ring --- */

static entry_t *entry_at(pg_pipeline_t *self, uint64_t index)
{
    return &self->entries[index & (self->capacity - 1)];
}

static void ring_grow(pg_pipeline_t *self)
{
    size_t capacity = self->capacity == 0 ? 16 : self->capacity * 2;
    entry_t *entries = calloc(capacity, sizeof *entries);
    if (entries == NULL)
        abort();
    for (uint64_t i = self->head; i != self->tail; i++)
        entries[i & (capacity - 1)] = *entry_at(self, i);
    free(self->entries);
    self->entries = entries;
    self->capacity = capacity;
}

static void ring_push(pg_pipeline_t *self, entry_t entry)
{
    if (self->tail - self->head == self->capacity)
        ring_grow(self);
    *entry_at(self, self->tail) = entry;
    self->tail++;
    self->n_queries += entry.kind == ENTRY_QUERY;
    self->n_syncs += entry.kind == ENTRY_SYNC;
}

/* Takes the oldest out. Owns: its answer is the caller's. */
static entry_t ring_pop(pg_pipeline_t *self)
{
    entry_t entry = *entry_at(self, self->head);
    self->head++;
    if (self->cursor < self->head)
        self->cursor = self->head;
    self->n_queries -= entry.kind == ENTRY_QUERY;
    self->n_syncs -= entry.kind == ENTRY_SYNC;
    return entry;
}

/* --- names of prepared statements --- */

static name_t *name_slot(name_t *names, size_t capacity, const pg_stmt_t *stmt)
{
    size_t at =
        ((uintptr_t)stmt / sizeof(void *) * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (capacity - 1);
    while (names[at].stmt != NULL && names[at].stmt != stmt)
        at = (at + 1) & (capacity - 1);
    return &names[at];
}

static void names_grow(pg_pipeline_t *self)
{
    size_t capacity = self->names_capacity == 0 ? 32 : self->names_capacity * 2;
    name_t *names = calloc(capacity, sizeof *names);
    if (names == NULL)
        abort();
    for (size_t i = 0; i < self->names_capacity; i++) {
        if (self->names[i].stmt != NULL)
            *name_slot(names, capacity, self->names[i].stmt) = self->names[i];
    }
    free(self->names);
    self->names = names;
    self->names_capacity = capacity;
}

/* What is known of the statement. The pointer holds until the next call. */
static name_t *name_of(pg_pipeline_t *self, const pg_stmt_t *stmt)
{
    if (self->n_names * 2 >= self->names_capacity)
        names_grow(self);
    name_t *name = name_slot(self->names, self->names_capacity, stmt);
    if (name->stmt == NULL) {
        name->stmt = stmt;
        self->n_names++;
    }
    return name;
}

static void names_forget(pg_pipeline_t *self)
{
    if (self->names_capacity > 0)
        memset(self->names, 0, self->names_capacity * sizeof *self->names);
    self->n_names = 0;
    self->last_number = 0;
}

/* --- calling back --- */

static void call(pg_pipeline_t *self, const entry_t *entry, pg_fate_t fate,
                 const pg_result_t *result)
{
    if (entry->done == NULL)
        return;
    bool was_calling = self->is_calling;
    self->is_calling = true;
    entry->done(entry->arg, fate, result);
    self->is_calling = was_calling;
}

/* A COMMIT in a transaction that had failed is answered well, by rolling back. */
static bool is_commit_refused(const entry_t *entry)
{
    return strncasecmp(entry->stmt->sql, "COMMIT", 6) == 0 &&
           strcmp(PQcmdStatus(entry->answer), "ROLLBACK") == 0;
}

/* A plan that no longer fits the tables, or a statement that the session has lost, is prepared anew
 * the next time. */
static bool is_stale(const entry_t *entry, const char *sqlstate)
{
    return entry->was_prepared &&
           (strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "26000") == 0);
}

static pg_fate_t fate_of_failure(pg_pipeline_t *self, const entry_t *entry,
                                 const pg_result_t *result)
{
    const char *sqlstate = pg_sqlstate(result);
    name_t *name = name_of(self, entry->stmt);
    if (is_stale(entry, sqlstate)) {
        name->state = NAME_ABSENT;
        name->number = 0;
        return PG_RETRY;
    }
    bool is_known;
    pg_fate_t fate = pg_fate_of(sqlstate, &is_known);
    if (!is_known && log_once(&name->complaint)) {
        char words[PG_WORDS_CHARS];
        pg_words(words, pg_message(result));
        log_line(LOG_ERROR, self->who, "the database refuses a statement",
                 "sqlstate=%s message=\"%s\" sql=\"%.60s\"", sqlstate, words, entry->stmt->sql);
    }
    return fate;
}

static void tell(pg_pipeline_t *self, const entry_t *entry)
{
    pg_result_t result = {.answer = entry->answer};
    if (entry->answer == NULL || PQresultStatus(entry->answer) == PGRES_PIPELINE_ABORTED) {
        call(self, entry, PG_SKIPPED, NULL);
    } else if (!pg_answer_is_good(entry->answer)) {
        call(self, entry, fate_of_failure(self, entry, &result), &result);
    } else if (is_commit_refused(entry)) {
        result.sqlstate = "25P02";
        result.message = "the transaction had failed and was rolled back";
        call(self, entry, PG_REJECTED, &result);
    } else {
        call(self, entry, PG_OK, &result);
    }
}

/* The SYNC at `last` has arrived: everything up to it is decided. A callback may break the
 * connection, which empties the ring. */
static void tell_group(pg_pipeline_t *self, uint64_t last)
{
    self->n_groups_done++;
    while (self->head <= last) {
        entry_t entry = ring_pop(self);
        if (entry.kind == ENTRY_QUERY)
            tell(self, &entry);
        PQclear(entry.answer);
    }
}

/* --- answers --- */

static bool is_fatal(const PGresult *answer)
{
    const char *severity = PQresultErrorField(answer, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

void pg_pipeline_on_notice(void *arg, const PGresult *notice)
{
    pg_pipeline_t *self = arg;
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    char words[PG_WORDS_CHARS];
    pg_words(words, message == NULL ? "" : message);
    if (is_fatal(notice))
        memcpy(self->farewell, words, sizeof words);
    log_line(LOG_DEBUG, self->who, "the database says", "words=\"%s\"", words);
}

/* Why a statement could not be prepared is told to the statement behind it, which waits for it. */
static void end_prepare(pg_pipeline_t *self, entry_t *prepare)
{
    bool is_good = pg_answer_is_good(prepare->answer);
    name_of(self, prepare->stmt)->state = is_good ? NAME_READY : NAME_ABSENT;
    if (!is_good && PQresultStatus(prepare->answer) != PGRES_PIPELINE_ABORTED) {
        entry_at(self, self->cursor + 1)->answer = prepare->answer;
        prepare->answer = NULL;
    }
}

static void keep_answer(entry_t *entry, PGresult *answer)
{
    bool is_worse = entry->answer == NULL || pg_answer_is_good(entry->answer);
    if (!is_worse) {
        PQclear(answer);
        return;
    }
    PQclear(entry->answer);
    entry->answer = answer;
}

/* The commit failed although all statements went well: the last one of the group is told. */
static void fail_commit(pg_pipeline_t *self, PGresult *answer)
{
    for (uint64_t i = self->cursor; i != self->head; i--) {
        entry_t *entry = entry_at(self, i - 1);
        if (entry->kind == ENTRY_QUERY) {
            keep_answer(entry, answer);
            return;
        }
    }
    PQclear(answer);
}

/* Files one answer. Owns: takes it. False: it is the connection that failed. */
static bool take_answer(pg_pipeline_t *self, PGresult *answer)
{
    entry_t *entry = entry_at(self, self->cursor);
    ExecStatusType status = PQresultStatus(answer);
    bool is_failure =
        answer != NULL && (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE);
    if (is_failure && pg_answer_sqlstate(answer)[0] == '\0') {
        PQclear(answer);
        return false;
    }
    if (entry->kind != ENTRY_SYNC) {
        if (answer != NULL) {
            keep_answer(entry, answer);
            return true;
        }
        if (entry->kind == ENTRY_PREPARE)
            end_prepare(self, entry);
        self->cursor++;
    } else if (status == PGRES_PIPELINE_SYNC) {
        PQclear(answer);
        tell_group(self, self->cursor++);
    } else if (answer != NULL) {
        fail_commit(self, answer);
    }
    return true;
}

/* Nothing instead of a SYNC: what a group leaves when it failed at its end, and, again and again,
 * what libpq 17 says of a session that has ended (that of 15 says that it has). */
static bool is_nothing(pg_pipeline_t *self, const PGresult *answer)
{
    return answer == NULL && entry_at(self, self->cursor)->kind == ENTRY_SYNC;
}

bool pg_pipeline_take(pg_pipeline_t *self)
{
    bool was_nothing = false;
    while (self->conn != NULL && self->cursor != self->tail && !PQisBusy(self->conn)) {
        PGresult *answer = PQgetResult(self->conn);
        if (was_nothing && is_nothing(self, answer))
            return false;
        was_nothing = is_nothing(self, answer);
        /* FATAL ends the session: what it decided about the transaction is not known, and no SYNC
         * will come. */
        if (is_fatal(answer))
            pg_pipeline_on_notice(self, answer);
        self->n_answers++;
        if (!take_answer(self, answer))
            return false;
    }
    /* With nothing asked for, the server may still say something: why it ends the session. */
    if (self->conn != NULL && self->cursor == self->tail)
        (void)PQisBusy(self->conn);
    return true;
}

bool pg_pipeline_has_answers(const pg_pipeline_t *self)
{
    return self->cursor != self->tail && !PQisBusy(self->conn);
}

/* --- sending --- */

typedef struct {
    int n;
    const char *values[PG_MAX_PARAMS];
    int lengths[PG_MAX_PARAMS];
    int formats[PG_MAX_PARAMS];
} sendable_t;

/* A pointer of NULL means NULL to libpq, also at length 0. */
static void make_sendable(const pg_params_t *params, sendable_t *out)
{
    out->n = params == NULL ? 0 : params->n_params;
    for (int i = 0; i < out->n; i++) {
        int n_bytes = params->params[i].n_bytes;
        const char *at =
            n_bytes == 0 ? "" : (const char *)params->bytes.data + params->params[i].at;
        out->values[i] = n_bytes < 0 ? NULL : at;
        out->lengths[i] = n_bytes < 0 ? 0 : n_bytes;
        out->formats[i] = 1;
    }
}

static void format_name(const name_t *name, char out[NAME_CHARS])
{
    snprintf(out, NAME_CHARS, "s%u", name->number);
}

static bool send_prepare(pg_pipeline_t *self, name_t *name)
{
    if (name->number == 0)
        name->number = ++self->last_number;
    char text[NAME_CHARS];
    format_name(name, text);
    if (PQsendPrepare(self->conn, text, name->stmt->sql, 0, NULL) != 1)
        return false;
    name->state = NAME_PENDING;
    name->group = self->group;
    ring_push(self, (entry_t){.kind = ENTRY_PREPARE, .stmt = name->stmt});
    return true;
}

static bool send_query(pg_pipeline_t *self, name_t *name, const sendable_t *in)
{
    if (name->state == NAME_PENDING && name->group != self->group)
        return PQsendQueryParams(self->conn, name->stmt->sql, in->n, NULL, in->values, in->lengths,
                                 in->formats, 1);
    char text[NAME_CHARS];
    format_name(name, text);
    return PQsendQueryPrepared(self->conn, text, in->n, in->values, in->lengths, in->formats, 1);
}

bool pg_pipeline_query(pg_pipeline_t *self, const pg_stmt_t *stmt, const pg_params_t *params,
                       pg_done_f *done, void *arg)
{
    name_t *name = name_of(self, stmt);
    bool was_prepared = name->state == NAME_READY;
    sendable_t in;
    make_sendable(params, &in);
    if ((name->state == NAME_ABSENT && !send_prepare(self, name)) || !send_query(self, name, &in))
        return false;
    self->is_group_open = true;
    ring_push(self, (entry_t){.kind = ENTRY_QUERY,
                              .was_prepared = was_prepared,
                              .stmt = stmt,
                              .done = done,
                              .arg = arg});
    return true;
}

bool pg_pipeline_sync(pg_pipeline_t *self)
{
    /* It also sends, as far as the socket takes it. */
    if (PQpipelineSync(self->conn) != 1)
        return false;
    ring_push(self, (entry_t){.kind = ENTRY_SYNC});
    self->group++;
    self->is_group_open = false;
    return true;
}

/* --- life --- */

void pg_pipeline_open(pg_pipeline_t *self, PGconn *conn)
{
    self->conn = conn;
}

void pg_pipeline_close(pg_pipeline_t *self)
{
    self->conn = NULL;
    self->is_group_open = false;
    self->farewell[0] = '\0';
    names_forget(self);
}

void pg_pipeline_fail(pg_pipeline_t *self)
{
    while (self->head != self->tail) {
        entry_t entry = ring_pop(self);
        PQclear(entry.answer);
        if (entry.kind == ENTRY_QUERY)
            call(self, &entry, PG_LOST, NULL);
    }
}

void pg_pipeline_fini(pg_pipeline_t *self)
{
    free(self->entries);
    free(self->names);
    self->entries = NULL;
    self->names = NULL;
}
