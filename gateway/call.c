/* SPDX-License-Identifier: Apache-2.0 */
/* A call is counted: the request holds it, and so does each thing under way, because reads and
 * passwords cannot be called back. When the client goes, only the request's reference goes, and the
 * answer that comes later finds a call without a request. */
#include "gateway/call.h"

#include <stdlib.h>

#include "gateway/http.h"
#include "gateway/reads.h"
#include "gateway/reply.h"

#define MAX_HOLD_US (5 * US_PER_S)

call_t *call_new(gateway_t *gateway, request_t *request)
{
    call_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->gateway = gateway;
    self->request = request;
    self->arena = request_arena(request);
    self->n_refs = 1;
    request_set_user(request, self);
    gateway->http->n_open++;
    return self;
}

void call_release(call_t *self)
{
    if (--self->n_refs > 0)
        return;
    buf_fini(&self->headers);
    free(self);
}

void call_detach(call_t *self)
{
    self->request = NULL;
    self->arena = NULL;
    self->gateway->http->n_open--;
    if (self->on_gone != NULL)
        self->on_gone(self->on_gone_arg);
    if (self->on_verify != NULL)
        workers_cancel(self->gateway->workers, self);
    uint64_t submitted = self->submitted;
    self->submitted = 0;
    submit_forget(self->gateway->submits, submitted);
    if (submitted != 0)
        call_release(self);
    call_release(self);
}

/* --- reads --- */

pg_params_t *call_params(call_t *self)
{
    pg_params_t *params = &self->gateway->http->params;
    pg_params_reset(params);
    return params;
}

void call_put_lists(const call_t *self, pg_params_t *params)
{
    if (self->identity.n_lists == 0) {
        pg_put_null(params);
        return;
    }
    pg_array_begin(params, PG_UUID);
    for (uint32_t i = 0; i < self->identity.n_lists; i++)
        pg_array_uuid(params, &self->identity.lists[i]);
    pg_array_end(params);
}

static void refuse_read(call_t *self, err_t err)
{
    reply_err(self, err, err == ERR_INTERNAL ? "The database refused to answer this." : NULL);
}

static void on_rows(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    call_t *self = arg;
    if (self->request != NULL && fate == PG_OK)
        self->on_read(self, result);
    else if (self->request != NULL)
        refuse_read(self, reads_err(fate));
    call_release(self);
}

void call_read(call_t *self, const pg_stmt_t *stmt, const pg_params_t *params, call_read_f *next)
{
    self->on_read = next;
    err_t err = reads_query(self->gateway->reads, stmt, params, on_rows, self);
    if (err == ERR_OK)
        self->n_refs++;
    else
        reply_err(self, err, NULL);
}

static bool is_in_scope(const identity_t *identity, const uuid_t *list)
{
    for (uint32_t i = 0; i < identity->n_lists; i++) {
        if (uuid_eq(&identity->lists[i], list))
            return true;
    }
    return identity->n_lists == 0;
}

static void on_task(void *arg, err_t err, const task_read_t *task)
{
    call_t *self = arg;
    if (self->request != NULL && err != ERR_OK)
        refuse_read(self, err);
    else if (self->request != NULL)
        self->on_task(self,
                      task != NULL && is_in_scope(&self->identity, &task->list) ? task : NULL);
    call_release(self);
}

void call_read_task(call_t *self, const uuid_t *task, call_task_f *next)
{
    self->on_task = next;
    self->n_refs++;
    task_reads_ask(self->gateway->task_reads, task, &self->identity.account, on_task, self);
}

/* --- commands --- */

static void on_result(void *arg, const result_t *result)
{
    call_t *self = arg;
    self->submitted = 0;
    if (self->request != NULL)
        self->on_result(self, result);
    call_release(self);
}

void call_trace(const call_t *self, command_t *command)
{
    trace_t trace;
    if (self->request != NULL &&
        trace_parse(request_header(self->request, HEADER_TRACEPARENT), &trace))
        command->trace = trace_child(&trace, &command->id);
}

void call_submit(call_t *self, command_t *command, call_result_f *next)
{
    self->on_result = next;
    call_trace(self, command);
    err_t err = submit_command(self->gateway->submits, command, on_result, self, &self->submitted);
    if (err == ERR_OK)
        self->n_refs++;
    else
        reply_err(self, err, NULL);
}

bool call_succeeded(call_t *self, const result_t *result)
{
    if (result->outcome.problem.err == ERR_OK)
        return true;
    reply_problem(self, &result->outcome.problem);
    return false;
}

/* --- passwords --- */

static void on_hash(void *arg, err_t err, const char *hash)
{
    call_t *self = arg;
    if (self->request != NULL && err == ERR_OK)
        self->on_hash(self, hash);
    else if (self->request != NULL)
        reply_err(self, err, NULL);
    call_release(self);
}

void call_hash(call_t *self, slice_t password, call_hash_f *next)
{
    self->on_hash = next;
    err_t err = workers_hash(self->gateway->workers, password, on_hash, self);
    if (err == ERR_OK)
        self->n_refs++;
    else
        reply_err(self, err, NULL);
}

static void on_match(void *arg, err_t err, bool is_match)
{
    call_t *self = arg;
    if (self->request != NULL && err == ERR_OK)
        self->on_match(self, is_match);
    else if (self->request != NULL)
        reply_err(self, err, NULL);
    call_release(self);
}

void call_match(call_t *self, slice_t password, slice_t hash, call_match_f *next)
{
    self->on_match = next;
    err_t err = workers_match(self->gateway->workers, password, hash, on_match, self);
    if (err == ERR_OK)
        self->n_refs++;
    else
        reply_err(self, err, NULL);
}

/* --- the audit chain --- */

static void on_verified(void *arg, err_t err, const verify_report_t *report)
{
    call_t *self = arg;
    call_verify_f *next = self->on_verify;
    self->on_verify = NULL;
    if (self->request != NULL && err == ERR_OK)
        next(self, report);
    else if (self->request != NULL)
        reply_err(self, err, NULL);
    call_release(self);
}

void call_verify(call_t *self, const uuid_t *list, call_verify_f *next)
{
    const config_t *config = self->gateway->network->config;
    self->on_verify = next;
    err_t err = workers_verify(self->gateway->workers, config, list, on_verified, self);
    if (err == ERR_OK)
        self->n_refs++;
    else
        reply_err(self, err, NULL);
}

/* --- being held back --- */

void call_hold(call_t *self, const char *why)
{
    int64_t now_us = self->gateway->now.mono_us;
    if (self->wait_until_us == 0)
        self->wait_until_us = now_us + MAX_HOLD_US;
    if (now_us >= self->wait_until_us) {
        reply_err(self, ERR_UNAVAILABLE, why);
        return;
    }
    self->n_refs++;
    http_hold(self->gateway->http, self);
}

bool call_must_wait(call_t *self, int64_t head)
{
    if (head >= self->min_rev)
        return false;
    call_hold(self, "That revision is not visible here yet.");
    return true;
}

void call_wake(call_t *self)
{
    if (self->request != NULL)
        http_run(self);
    call_release(self);
}
