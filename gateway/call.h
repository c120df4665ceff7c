/* SPDX-License-Identifier: Apache-2.0 */
/* A call: one HTTP request on its way through a handler, which goes in steps: each starts one thing
 * (a read, a command, a password) and names the function that goes on with its answer. Whatever
 * fails on the way is answered here, and if the client has gone, the next step is never taken. So a
 * step may rely on a living request, and on everything in its arena. A call ends with a reply
 * (reply.h). Thread: the loop's. */
#ifndef TASKWIRE_CALL_H
#define TASKWIRE_CALL_H

#include "gateway/inner.h"
#include "gateway/router.h"
#include "gateway/task_reads.h"
#include "gateway/workers.h"

typedef void call_read_f(call_t *call, const pg_result_t *result);
typedef void call_task_f(call_t *call, const task_read_t *task);
typedef void call_result_f(call_t *call, const result_t *result);
typedef void call_hash_f(call_t *call, const char *hash);
typedef void call_match_f(call_t *call, bool is_match);
typedef void call_verify_f(call_t *call, const verify_report_t *report);

struct call {
    gateway_t *gateway;
    request_t *request; /* NULL: answered, or its client is gone */
    arena_t *arena; /* the request's */
    const route_t *route; /* NULL: none fits */
    uuid_t ids[ROUTE_MAX_IDS]; /* of the path, in order */
    query_t query;
    slice_t request_id;
    slice_t address; /* the client's */
    bool is_by_cookie;
    identity_t identity; /* all zero: nobody's */
    uuid_t command; /* the id of the command that it became; nil: none */
    int64_t retry_us; /* for Retry-After; 0: the usual */
    buf_t headers; /* further lines of the reply */
    void *state; /* the handler's, in the arena */

    /* Of call.c: */
    uint32_t n_refs;
    int64_t min_rev;
    int64_t wait_until_us; /* 0: has not waited yet */
    call_t *next_waiting;
    uint64_t submitted; /* handle of the command under way */
    call_read_f *on_read;
    call_task_f *on_task;
    call_result_f *on_result;
    call_hash_f *on_hash;
    call_match_f *on_match;
    call_verify_f *on_verify; /* NULL: nothing is being verified */
    void (*on_gone)(void *arg); /* whom to tell that the client went away; NULL: nobody */
    void *on_gone_arg;
};

/* Makes the call of a request; it has one reference, the request's. */
call_t *call_new(gateway_t *gateway, request_t *request);
void call_release(call_t *self);
/* The request is answered or gone: takes its reference away. */
void call_detach(call_t *self);

/* Parameters for the next read, empty. */
pg_params_t *call_params(call_t *self);
/* Puts the lists that the token is restricted to, or NULL, as a uuid[]. */
void call_put_lists(const call_t *self, pg_params_t *params);

/* Reads; `next` gets the rows. A failure is answered. */
void call_read(call_t *self, const pg_stmt_t *stmt, const pg_params_t *params, call_read_f *next);
/* Reads a task that the caller and his token may see; `next` gets it, or NULL. A failure is
 * answered. */
void call_read_task(call_t *self, const uuid_t *task, call_task_f *next);
/* Has the command go back to what the request goes back to, if that says so by a traceparent. */
void call_trace(const call_t *self, command_t *command);
/* Sends a command, traced so; `next` gets the result, which may be a refusal (call_succeeded). */
void call_submit(call_t *self, command_t *command, call_result_f *next);
/* Whether the command was applied, now or before; else the refusal is answered. */
bool call_succeeded(call_t *self, const result_t *result);
/* Hashes or checks a password. */
void call_hash(call_t *self, slice_t password, call_hash_f *next);
void call_match(call_t *self, slice_t password, slice_t hash, call_match_f *next);
/* Verifies the audit chain of a list. */
void call_verify(call_t *self, const uuid_t *list, call_verify_f *next);

/* Whether the stream's head is still behind the min_rev that was asked for. Then the handler will
 * be run anew in a little while, or 503 is answered when the client has waited long enough; the
 * step just returns. */
bool call_must_wait(call_t *self, int64_t head);

/* Has the handler run anew in a little while, up to some seconds in all; then UNAVAILABLE is
 * answered with this sentence, which may be NULL. */
void call_hold(call_t *self, const char *why);

/* --- for http.c --- */

/* Goes on with one that was held back, and gives its reference up. */
void call_wake(call_t *self);

#endif
