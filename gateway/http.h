/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side of a gateway: what happens to a request before its handler runs (routing, limits,
 * whose token, which origin), and what all calls share. Thread: the loop's. */
#ifndef TASKWIRE_HTTP_H
#define TASKWIRE_HTTP_H

#include "gateway/call.h"
#include "gateway/history.h"
#include "gateway/limits.h"

struct uv_timer_s;

struct http {
    gateway_t *gateway;
    const limits_t *limits; /* shared with the other gateways */
    history_t history;

    pg_params_t params; /* scratch, each for one use at a time */
    buf_t body;
    buf_t headers;

    call_t *waiting; /* for a min_rev */
    struct uv_timer_s *wait_timer;
    size_t n_open; /* requests not yet answered */
    char id_prefix[17]; /* of request ids: random, one per gateway */
    uint64_t n_requests;
    struct http_metrics *metrics;
};

http_t *http_new(gateway_t *gateway);
/* Closes its handles; the loop must run a little, then http_destroy frees. No call may be open. */
void http_stop(http_t *self);
void http_destroy(http_t **self_p);

void http_on_request(gateway_t *gateway, request_t *request);
void http_on_gone(gateway_t *gateway, request_t *request);
/* Once a second. */
void http_on_tick(http_t *self);
/* Another history: forgets epoch and keys. */
void http_on_epoch(http_t *self);

/* Requests not yet answered. */
size_t http_n_open(const http_t *self);

/* --- for call.c and reply.c --- */

/* Runs the handler of a call that has come that far. */
void http_run(call_t *call);
/* Holds a call back for a moment; takes a reference over. */
void http_hold(http_t *self, call_t *call);
/* Whether a request with so many commands may be carried out now; if not, it has been answered. The
 * request itself was admitted as one. */
bool http_admit_bulk(call_t *call, size_t n_commands);
/* Counts an answer. */
void http_count(http_t *self, const call_t *call, int status);
/* Appends the headers that let a page of the request's Origin see the answer. */
void http_put_cors(const call_t *call, buf_t *out);

#endif
