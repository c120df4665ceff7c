/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to PostgreSQL: the only file pair that knows libpq. Non-blocking and pipelined;
 * statements are prepared when first used on a connection; parameters and results are binary. It
 * connects by itself, and again after a loss, with a growing delay.
 *
 * Statements are queued by pg_query; pg_sync ends a group. In a group the first error skips the
 * rest (each still gets its callback). Outside BEGIN…COMMIT a group is one transaction. Callbacks
 * run inside pg_step or pg_await, in the order of the statements, exactly once each; they may queue
 * further statements, but neither wait nor destroy the connection. They run when the whole group is
 * answered and, outside BEGIN…COMMIT, committed: if the commit itself fails, the last statement of
 * the group is told. What ends the session (a FATAL of the server) is PG_LOST. The result is NULL
 * for PG_SKIPPED and PG_LOST; every reading function takes NULL for an empty result.
 *
 * To be driven either by a loop (pg_fd, pg_events, pg_step, pg_timeout_us) or by pg_await. Thread:
 * one owner. */
#ifndef TASKWIRE_PG_H
#define TASKWIRE_PG_H

#include "actors/clock.h"
#include "schema/buf.h"
#include "schema/err.h"
#include "schema/instant.h"
#include "schema/uuid.h"

#define PG_MAX_PARAMS 32
#define PG_MAX_IN_FLIGHT 1024

typedef struct pg pg_t;
typedef struct pg_result pg_result_t;

/* A prepared statement: literals only. The address is its identity. */
typedef struct {
    const char *sql;
} pg_stmt_t;

/* --- parameters, filled in order $1, $2, …; SQL says their types by casts --- */

typedef struct {
    buf_t bytes;
    struct {
        size_t at;
        int n_bytes; /* -1: NULL */
    } params[PG_MAX_PARAMS];
    int n_params;
    size_t array_at; /* of the array being filled */
    int32_t array_n;
} pg_params_t;

void pg_params_reset(pg_params_t *self);
void pg_params_fini(pg_params_t *self);
void pg_put_null(pg_params_t *self);
void pg_put_bool(pg_params_t *self, bool value);
void pg_put_i16(pg_params_t *self, int16_t value);
void pg_put_i32(pg_params_t *self, int32_t value);
void pg_put_i64(pg_params_t *self, int64_t value);
void pg_put_uuid(pg_params_t *self, const uuid_t *value); /* nil: NULL */
void pg_put_text(pg_params_t *self, slice_t value); /* absent: NULL */
void pg_put_bytea(pg_params_t *self, slice_t value); /* absent: NULL */
void pg_put_instant(pg_params_t *self, int64_t at_us); /* timestamptz; INSTANT_NONE: NULL */

typedef enum { PG_BOOL, PG_I16, PG_I32, PG_I64, PG_UUID, PG_TEXT, PG_BYTEA, PG_INSTANT } pg_type_t;

/* An array parameter: begin, any number of items of that type, end. */
void pg_array_begin(pg_params_t *self, pg_type_t type);
void pg_array_bool(pg_params_t *self, bool value);
void pg_array_i16(pg_params_t *self, int16_t value);
void pg_array_i32(pg_params_t *self, int32_t value);
void pg_array_i64(pg_params_t *self, int64_t value);
void pg_array_uuid(pg_params_t *self, const uuid_t *value); /* nil: NULL */
void pg_array_text(pg_params_t *self, slice_t value); /* absent: NULL; PG_TEXT and PG_BYTEA */
void pg_array_instant(pg_params_t *self, int64_t at_us); /* INSTANT_NONE: NULL */
void pg_array_end(pg_params_t *self);

/* --- results: rows and columns from 0; slices borrow from the result, which lives as long as the
 * callback --- */

int pg_rows(const pg_result_t *self);
bool pg_is_null(const pg_result_t *self, int row, int col);
bool pg_bool(const pg_result_t *self, int row, int col);
int64_t pg_int(const pg_result_t *self, int row, int col); /* of int2, int4 or int8 */
uuid_t pg_uuid(const pg_result_t *self, int row, int col); /* NULL: nil */
slice_t pg_bytes(const pg_result_t *self, int row, int col); /* text, bytea; NULL: absent */
int64_t pg_instant(const pg_result_t *self, int row, int col); /* NULL: INSTANT_NONE */
/* The items of a uuid[]; returns how many, at most `max` are written. */
size_t pg_uuid_array(const pg_result_t *self, int row, int col, uuid_t *out, size_t max);
/* Rows changed by INSERT, UPDATE, DELETE. */
int64_t pg_changed(const pg_result_t *self);
/* Of a failed statement: five characters, the server's words, the constraint ("" if none). */
const char *pg_sqlstate(const pg_result_t *self);
const char *pg_message(const pg_result_t *self);
const char *pg_constraint(const pg_result_t *self);

/* What a failure means. */
typedef enum {
    PG_OK,
    PG_SKIPPED, /* an earlier statement of the group failed */
    PG_REJECTED, /* classes 22 and 23 and other faults of the statement: it would fail again */
    PG_RETRY, /* 08, 40, 53, 55, 57, 58, 25P03, 25006: another time it may work */
    PG_LOST, /* the connection broke: what was under way may or may not have happened */
} pg_fate_t;

typedef void pg_done_f(void *arg, pg_fate_t fate, const pg_result_t *result);

/* --- the connection --- */

/* Looks at a session that is new, before anybody else can use it: queues statements by
 * pg_greet_query, and in the callback of the last one says pg_greeted, or pg_break. */
typedef void pg_greet_f(void *arg, pg_t *pg);

typedef struct {
    const char *url;
    const char *who; /* application_name and the log */
    const char *options; /* like "-c idle_in_transaction_session_timeout=1500"; NULL: none */
    int64_t reply_timeout_us; /* an answer that takes longer breaks the connection; 0: 30 s */
    pg_greet_f *greet; /* called inside pg_step with each new session; NULL: nobody looks first */
    void *greet_arg;
} pg_options_t;

/* A NOTIFY that arrived for a channel that the session listens to; the payload borrows. */
typedef void pg_notified_f(void *arg, const char *payload);

/* Makes a connection that starts connecting at the next step. Strings must outlive it. */
pg_t *pg_new(const pg_options_t *options);
/* Closes; outstanding callbacks get PG_LOST. */
void pg_destroy(pg_t **self_p);

/* Whether statements can be queued now: connected and greeted, and room in flight. */
bool pg_is_ready(const pg_t *self);
/* Whether there is a session, with room in flight or not. */
bool pg_is_connected(const pg_t *self);
/* Counts connections made: another number means another session. 0: never yet. */
int64_t pg_session(const pg_t *self);
/* The server's process id of this session. */
int pg_backend_pid(const pg_t *self);
/* Statements queued and not yet answered. */
int pg_in_flight(const pg_t *self);
/* The words of the last failure, for logs and /readyz; "" if none since it last connected. */
const char *pg_trouble(const pg_t *self);
/* Whether the last attempt to connect was refused for what the URL says: it cannot be read, no such
 * database or login, a wrong password, a server that is too old. It would be refused again. */
bool pg_is_refused(const pg_t *self);

/* Queues a statement. `params` may be NULL and is not kept. Errors: UNAVAILABLE: not ready; done is
 * then not called. */
err_t pg_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
               void *arg);
/* Ends the group and sends it; nothing if no statement was queued. Errors: UNAVAILABLE: not
 * connected. */
err_t pg_sync(pg_t *self);
/* For who greets: the same before the session is anybody's, and that it is from now on. */
err_t pg_greet_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                     void *arg);
err_t pg_greet_sync(pg_t *self);
void pg_greeted(pg_t *self);
/* Breaks the connection at once; outstanding callbacks get PG_LOST; it connects again. */
void pg_break(pg_t *self, const char *why);

/* Has `told` called, inside pg_step, for each NOTIFY that arrives. To be set before the first step;
 * what arrived while the connection was away is lost. */
void pg_on_notify(pg_t *self, pg_notified_f *told, void *arg);

int pg_fd(const pg_t *self); /* -1 while there is none */
/* Another number means another socket, even if the fd is the same: for loops that register fds once
 * (epoll, uv_poll). */
int64_t pg_fd_serial(const pg_t *self);
short pg_events(const pg_t *self);
/* Does what can be done now: connects, sends, reads, calls back. */
void pg_step(pg_t *self, now_t now);
/* When pg_step wants to be called even if the fd is quiet: microseconds from now. */
int64_t pg_timeout_us(const pg_t *self, now_t now);

/* --- for threads that may wait --- */

/* Steps until nothing is in flight or the time is up (then the connection is broken). Blocks.
 * False: time was up or it is not connected. With nothing in flight: waits until it is connected.
 * An open group is ended first. */
bool pg_await(pg_t *self, int64_t timeout_us);

/* Waits until it is connected. Blocks. False: time was up, or it was refused (pg_is_refused), which
 * is not waited for. */
bool pg_await_connection(pg_t *self, int64_t timeout_us);

/* Runs one statement as a group of its own and waits. `done` is called as ever and may be NULL.
 * Returns what done was told; PG_RETRY, and done is not called, if there was no connection in the
 * time. Blocks. */
pg_fate_t pg_run(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                 void *arg, int64_t timeout_us);

/* Runs a script of several statements (simple protocol, one transaction) on a connection of its
 * own: migrations. Blocks. False, with the server's words in `error`. */
bool pg_script(const char *url, const char *sql, char *error, size_t error_size);

#endif
