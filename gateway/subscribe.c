/* SPDX-License-Identifier: Apache-2.0 */
/* How a subscription begins and ends. It first waits until its stream is being followed, so that no
 * event can slip between what is looked up next and what comes live; then access, head and whether
 * the position can be resumed are looked up in one statement. A position that cannot be resumed
 * gets a snapshot, whose own statement looks access up. */
#include "gateway/subscribe.h"

#include <stdlib.h>

#include "gateway/ws_reply.h"

/* A position further back than this is checked for purged events piece by piece: the reader of the
 * log meets those behind it, resets, and the client's next try begins closer. */
#define PURGE_WINDOW "10000"
/* Sync does not answer while the database is away. */
#define FOLLOW_LIMIT_US (10 * US_PER_S)
/* No stream will ever get there; keeps the sum with the window inside of bigint. */
#define AFTER_MAX (INT64_C(1) << 60)

static const pg_stmt_t select_head = {
    "SELECT s.head, e.epoch,"
    " EXISTS (SELECT 1 FROM event v WHERE v.stream = s.id AND v.rev > $3::bigint"
    " AND v.rev <= $3::bigint + " PURGE_WINDOW " AND v.body IS NULL)"
    " FROM stream s CROSS JOIN log_epoch e"
    " WHERE s.id = $1::uuid AND " SUBSCRIBE_MAY_READ};

const uuid_t *subscription_stream(const subscription_t *self)
{
    return &self->followed->node.id;
}

bool subscription_is_account(const subscription_t *self)
{
    return uuid_eq(subscription_stream(self), &self->ws->by_account.id);
}

bool subscription_is_showing(const subscription_t *self)
{
    return self->phase == SUB_FLOWING || (self->phase == SUB_SHOWING && snapshot_has_begun(self));
}

/* --- end --- */

static void free_opening(subscription_t *self)
{
    if (self->opening == NULL)
        return;
    free(self->opening->ref);
    free(self->opening);
    self->opening = NULL;
}

void subscription_end(subscription_t *self)
{
    if (self->ask != NULL)
        self->ask->asker = NULL;
    link_leave(&self->ready);
    link_leave(&self->waiting);
    link_leave(&self->of_socket);
    self->ws->n_subscriptions--;
    backfill_drop(self);
    snapshot_drop(self);
    hub_leave(self->ws->hub, self);
    free_opening(self);
    free(self);
}

/* Begins a message about the stream. */
static size_t begin(subscription_t *self, const char *op)
{
    slice_t ref = slice_none();
    if (self->opening != NULL && self->opening->ref != NULL)
        ref = slice_str(self->opening->ref);
    size_t place = ws_begin(self->ws);
    ws_put_op(&self->ws->outbox, op, ref);
    ws_put_id(&self->ws->outbox, "stream", subscription_stream(self));
    return place;
}

void subscription_refuse(subscription_t *self, err_t err, const char *detail)
{
    if (err == ERR_NOT_FOUND && self->is_of_all) {
        subscription_remove(self); /* nobody asked for it by name */
        return;
    }
    if (subscription_is_account(self))
        roster_account_refused(self->ws);
    problem_t problem = {.err = err, .detail = detail ? slice_str(detail) : slice_none()};
    if (self->ws->encoding == ENCODING_SSE) {
        sse_refuse(self, &problem);
        return;
    }
    size_t place = begin(self, "error");
    ws_put_key(&self->ws->outbox, "problem");
    problem_put_json(&problem, slice_none(), &self->ws->outbox);
    ws_end(self->ws, place);
    ws_t *ws = self->ws;
    uuid_t stream = *subscription_stream(self);
    subscription_end(self);
    if (err == ERR_NOT_FOUND)
        roster_lost(ws, &stream);
}

void subscription_reset(subscription_t *self, const char *reason)
{
    metric_add(self->ws->hub->n_resets, 1);
    if (self->ws->encoding == ENCODING_SSE) {
        sse_reset(self, reason);
        return;
    }
    size_t place = begin(self, "reset");
    ws_put_text(&self->ws->outbox, "reason", slice_str(reason));
    ws_end(self->ws, place);
    subscription_end(self);
}

void subscription_remove(subscription_t *self)
{
    ws_t *ws = self->ws;
    uuid_t stream = *subscription_stream(self);
    if (ws->encoding == ENCODING_SSE) {
        sse_remove(self);
        return;
    }
    ws_end(ws, begin(self, "removed"));
    subscription_end(self);
    roster_lost(ws, &stream);
}

/* --- access and head --- */

static bool can_resume(const opening_t *opening, const pg_result_t *result)
{
    slice_t epoch = pg_bytes(result, 0, 1);
    return slice_eq(slice_of(opening->epoch, EPOCH_CHARS), epoch) &&
           opening->after <= pg_int(result, 0, 0) && !pg_bool(result, 0, 2);
}

static void answer_subscribed(subscription_t *self, const pg_result_t *result)
{
    int64_t head = pg_int(result, 0, 0);
    size_t place = begin(self, "subscribed");
    ws_put_text(&self->ws->outbox, "epoch", pg_bytes(result, 0, 1));
    ws_put_int(&self->ws->outbox, "rev", head);
    ws_end(self->ws, place);
    subscription_flow(self, self->opening->after, head);
}

static void on_head(void *arg, pg_fate_t fate, const pg_result_t *result);

static err_t ask_head(subscription_t *self)
{
    hub_t *hub = self->ws->hub;
    int64_t after = self->opening->after;
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, subscription_stream(self));
    pg_put_uuid(&hub->params, &self->ws->by_account.id);
    pg_put_i64(&hub->params, after >= 0 && after < AFTER_MAX ? after : AFTER_MAX);
    ask_t *ask = ask_new(hub, self);
    err_t err = reads_query(hub->gateway->reads, &select_head, &hub->params, on_head, ask);
    if (err != ERR_OK) {
        free(ask);
        return err;
    }
    self->ask = ask;
    self->must_check_again = false;
    link_leave(&self->waiting);
    return ERR_OK;
}

/* When a thousand clients come back at once the database takes their questions in turn. */
static void pump(hub_t *hub)
{
    link_t *link;
    while ((link = link_first(&hub->checks)) != NULL) {
        subscription_t *self = LINK_OWNER(link, subscription_t, waiting);
        err_t err = ask_head(self);
        if (err == ERR_OVERLOADED)
            return;
        if (err != ERR_OK)
            subscription_refuse(self, err, NULL);
    }
}

void subscription_tick(hub_t *hub)
{
    pump(hub);
    while (!link_is_alone(&hub->followers)) {
        subscription_t *self = LINK_OWNER(hub->followers.next, subscription_t, waiting);
        if (self->opening->deadline_us > hub->gateway->now.mono_us)
            return;
        subscription_refuse(self, ERR_UNAVAILABLE, NULL);
    }
}

void subscription_check(subscription_t *self)
{
    hub_t *hub = self->ws->hub;
    self->phase = SUB_CHECKING;
    link_append(&hub->checks, &self->waiting);
    pump(hub);
}

static void go_on(subscription_t *self, pg_fate_t fate, const pg_result_t *result)
{
    if (fate != PG_OK)
        subscription_refuse(self, ERR_UNAVAILABLE, NULL);
    else if (self->must_check_again)
        subscription_check(self);
    else if (pg_rows(result) == 0)
        subscription_refuse(self, ERR_NOT_FOUND, SUBSCRIBE_NOT_FOUND);
    else if (!hub_is_epoch(self->ws->hub, pg_bytes(result, 0, 1)))
        subscription_await_epoch(self);
    else if (self->ws->encoding == ENCODING_SSE)
        sse_answer(self, result);
    else if (can_resume(self->opening, result))
        answer_subscribed(self, result);
    else
        snapshot_want(self);
}

static void on_head(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    subscription_t *self = ask->asker;
    hub_t *hub = ask->hub;
    free(ask);
    if (self != NULL) {
        self->ask = NULL;
        go_on(self, fate, result);
    }
    pump(hub);
}

void subscription_followed(subscription_t *self)
{
    link_leave(&self->waiting);
    if (subscription_is_account(self))
        roster_account_followed(self->ws);
    if (self->opening->can_resume)
        subscription_check(self);
    else
        snapshot_want(self);
}

void subscription_await_epoch(subscription_t *self)
{
    self->phase = SUB_FOLLOWING;
    self->opening->deadline_us = self->ws->gateway->now.mono_us + FOLLOW_LIMIT_US;
    link_append(&self->ws->hub->followers, &self->waiting);
}

void subscription_ask_again(subscription_t *self)
{
    if (self->ask != NULL)
        self->must_check_again = true;
    else if (self->snapshot != NULL) {
        snapshot_drop(self);
        snapshot_want(self);
    }
}

void subscription_flow(subscription_t *self, int64_t after, int64_t head)
{
    self->phase = SUB_FLOWING;
    cursor_init(&self->cursor, after, head);
    free_opening(self);
    deliver_later(self);
}

/* --- beginning --- */

subscription_t *subscription_find(ws_t *ws, const uuid_t *stream)
{
    for (link_t *link = ws->subscriptions.next; link != &ws->subscriptions; link = link->next) {
        subscription_t *self = LINK_OWNER(link, subscription_t, of_socket);
        if (uuid_eq(subscription_stream(self), stream))
            return self;
    }
    return NULL;
}

static bool is_restricted_from(const ws_t *ws, const uuid_t *stream)
{
    for (uint32_t i = 0; i < ws->n_lists; i++) {
        if (uuid_eq(&ws->lists[i], stream))
            return false;
    }
    return ws->n_lists > 0;
}

problem_t subscribe_check_stream(const ws_t *ws, const ws_request_t *request)
{
    if ((ws->scopes & SCOPE_READ) == 0)
        return (problem_t){.err = ERR_FORBIDDEN, .detail = slice_str("This token may not read.")};
    if (!request->is_all && is_restricted_from(ws, &request->stream))
        return (problem_t){.err = ERR_NOT_FOUND, .detail = slice_str(SUBSCRIBE_NOT_FOUND)};
    if (!request->is_all && ws->n_subscriptions >= WS_MAX_SUBSCRIPTIONS)
        return (problem_t){.err = ERR_OVERLOADED,
                           .detail = slice_str("Too many subscriptions on one connection.")};
    return (problem_t){0};
}

problem_t subscribe_check(ws_t *ws, const ws_request_t *request)
{
    problem_t problem = subscribe_check_stream(ws, request);
    if (problem.err == ERR_OK)
        (void)ws_admit(ws, &problem);
    return problem;
}

/* Of an event stream any position is looked up; an epoch of another form is no epoch. */
static void keep_epoch(opening_t *self, slice_t epoch, bool is_event_stream)
{
    bool is_whole = epoch.n_bytes == EPOCH_CHARS;
    self->can_resume = is_event_stream || (self->can_resume && is_whole);
    if (is_whole)
        memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    else if (epoch.data != NULL)
        self->epoch[0] = '?';
}

static opening_t *opening_new(const ws_request_t *request, bool is_event_stream)
{
    opening_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    if (request->ref.data != NULL) {
        self->ref = strndup((const char *)request->ref.data, request->ref.n_bytes);
        if (self->ref == NULL)
            abort();
    }
    self->closed = request->closed;
    self->after = request->after;
    self->can_resume = request->has_after;
    keep_epoch(self, request->epoch, is_event_stream);
    return self;
}

void subscription_begin(ws_t *ws, const ws_request_t *request, bool is_of_all)
{
    subscription_t *former = subscription_find(ws, &request->stream);
    if (former != NULL)
        subscription_end(former);
    subscription_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    link_init(&self->of_stream);
    link_init(&self->of_socket);
    link_init(&self->ready);
    link_init(&self->waiting);
    self->ws = ws;
    self->is_of_all = is_of_all;
    self->opening = opening_new(request, ws->encoding == ENCODING_SSE);
    link_append(&ws->subscriptions, &self->of_socket);
    ws->n_subscriptions++;
    subscription_await_epoch(self);
    hub_join(ws->hub, self, &request->stream);
}

void subscribe(ws_t *ws, const ws_request_t *request)
{
    /* One of the same stream begins anew, or ends: it was asked for in another way. */
    subscription_t *former = subscription_find(ws, &request->stream);
    if (former != NULL)
        subscription_end(former);
    problem_t problem = subscribe_check(ws, request);
    if (problem.err != ERR_OK)
        ws_refuse(ws, request->ref, &problem);
    else
        subscription_begin(ws, request, false);
}

void unsubscribe(ws_t *ws, const ws_request_t *request)
{
    subscription_t *self = subscription_find(ws, &request->stream);
    if (self != NULL && subscription_is_account(self))
        roster_account_refused(ws);
    if (self != NULL)
        subscription_end(self);
    size_t place = ws_begin(ws);
    ws_put_op(&ws->outbox, "unsubscribed", request->ref);
    ws_put_id(&ws->outbox, "stream", &request->stream);
    ws_end(ws, place);
}
