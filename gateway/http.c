/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request: its route; for paths that need a token, whose it is; how often he may ask;
 * whether the browser page it comes from may act for him; the query; the handler. Who has no token,
 * or a wrong one, is counted by address. */
#include "gateway/http.h"

#include <sodium.h>
#include <stdlib.h>
#include <uv.h>

#include "gateway/acceptor.h"
#include "gateway/auth.h"
#include "gateway/live.h"
#include "gateway/origin.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

#define HOLD_MS 20
#define N_CLASSES 6 /* of statuses: 1xx to 5xx */

struct http_metrics {
    metric_t *requests[ROUTES_MAX + 1][N_CLASSES];
    metric_t *seconds[ROUTES_MAX + 1];
};

/* --- making --- */

http_t *http_new(gateway_t *gateway)
{
    http_t *self = calloc(1, sizeof *self);
    uint8_t random[8];
    if (self == NULL)
        abort();
    self->gateway = gateway;
    self->limits = listeners_limits(gateway->listeners);
    self->metrics = calloc(1, sizeof *self->metrics);
    self->wait_timer = calloc(1, sizeof *self->wait_timer);
    if (self->metrics == NULL || self->wait_timer == NULL)
        abort();
    uv_timer_init(gateway->loop, self->wait_timer);
    self->wait_timer->data = self;
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(self->id_prefix, sizeof self->id_prefix, random, sizeof random);
    history_init(&self->history, gateway);
    return self;
}

static void wake_waiting(http_t *self)
{
    call_t *call = self->waiting;
    self->waiting = NULL;
    while (call != NULL) {
        call_t *next = call->next_waiting;
        call_wake(call);
        call = next;
    }
}

static void on_wait_timer(uv_timer_t *timer)
{
    http_t *self = timer->data;
    self->gateway->now = clock_now();
    wake_waiting(self);
}

void http_stop(http_t *self)
{
    if (self == NULL)
        return;
    uv_close((uv_handle_t *)self->wait_timer, NULL);
    wake_waiting(self);
}

void http_destroy(http_t **self_p)
{
    http_t *self = *self_p;
    if (self == NULL)
        return;
    pg_params_fini(&self->params);
    buf_fini(&self->body);
    buf_fini(&self->headers);
    free(self->metrics);
    free(self->wait_timer);
    free(self);
    *self_p = NULL;
}

/* --- counting --- */

/* Where the metrics of a route stand; those of no route at the end. */
static size_t row_of(const route_t *route)
{
    return route == NULL ? ROUTES_MAX : (size_t)(route - routes);
}

static void name_series(const route_t *route, int status, char *out, size_t size)
{
    static const char *const methods[] = {
        [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
        [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
    };
    const char *method = route == NULL ? "any" : methods[route->method];
    const char *pattern = route == NULL ? "none" : route->pattern;
    int n = snprintf(out, size, "route=\"%s %s\"", method, pattern);
    if (status > 0)
        snprintf(out + n, size - (size_t)n, ",status=\"%dxx\"", status / 100);
}

void http_count(http_t *self, const call_t *call, int status)
{
    char labels[160];
    metrics_t *metrics = self->gateway->network->metrics;
    size_t row = row_of(call->route);
    metric_t **count = &self->metrics->requests[row][status / 100 % N_CLASSES];
    metric_t **seconds = &self->metrics->seconds[row];
    if (*count == NULL) {
        name_series(call->route, status, labels, sizeof labels);
        *count = metrics_counter(metrics, "taskwire_http_requests_total", labels,
                                 "Requests answered, by route and class of status");
    }
    if (*seconds == NULL) {
        name_series(call->route, 0, labels, sizeof labels);
        *seconds = metrics_duration(metrics, "taskwire_http_request_seconds", labels,
                                    "From the first byte of a request to its answer");
    }
    metric_add(*count, 1);
    metric_observe(*seconds, self->gateway->now.mono_us - request_started_us(call->request));
}

size_t http_n_open(const http_t *self)
{
    return self->n_open;
}

/* --- calls that wait --- */

void http_hold(http_t *self, call_t *call)
{
    call->next_waiting = self->waiting;
    self->waiting = call;
    if (!uv_is_active((uv_handle_t *)self->wait_timer))
        uv_timer_start(self->wait_timer, on_wait_timer, HOLD_MS, 0);
}

/* --- limits --- */

bool http_admit(gateway_t *gateway, const uuid_t *token, slice_t address, int64_t *retry_us)
{
    http_t *self = gateway->http;
    int64_t now_us = gateway->now.mono_us;
    uint8_t key[ORIGIN_KEY_BYTES];
    if (!uuid_is_nil(token))
        return rate_take(self->limits->tokens, token->bytes, now_us, retry_us);
    origin_address_key(address, key);
    return rate_take(self->limits->addresses, key, now_us, retry_us);
}

/* By the call's token, or its address while it has none. */
static bool admit(call_t *call)
{
    if (http_admit(call->gateway, &call->identity.token, call->address, &call->retry_us))
        return true;
    reply_err(call, ERR_RATE_LIMITED, NULL);
    return false;
}

bool http_admit_bulk(call_t *call, size_t n_commands)
{
    http_t *self = call->gateway->http;
    if (n_commands <= 1 ||
        rate_take_more(self->limits->tokens, call->identity.token.bytes, (int64_t)n_commands - 1,
                       call->gateway->now.mono_us, &call->retry_us))
        return true;
    reply_err(call, ERR_RATE_LIMITED, "Each command of a bulk counts as a request.");
    return false;
}

/* --- origins --- */

slice_t http_client_address(gateway_t *gateway, request_t *request)
{
    return origin_client_address(request_peer(request),
                                 request_header(request, HEADER_X_FORWARDED_FOR),
                                 gateway->network->config->trusted_proxies, request_arena(request));
}

bool http_is_secure(gateway_t *gateway, const request_t *request)
{
    const char *trusted = gateway->network->config->trusted_proxies;
    return request_tag(request) == TAG_SECURE ||
           (origin_is_trusted(request_peer(request), trusted) &&
            origin_is_forwarded_https(request_header(request, HEADER_X_FORWARDED_PROTO)));
}

bool http_origin_is_allowed(gateway_t *gateway, const request_t *request)
{
    const config_t *config = gateway->network->config;
    slice_t origin = request_header(request, HEADER_ORIGIN);
    if (origin.data == NULL)
        return true;
    return origin_is_host(origin, request_header(request, HEADER_HOST),
                          http_is_secure(gateway, request)) ||
           origin_is_in(origin, config->public_url) ||
           origin_is_in(origin, config->allowed_origins);
}

void http_put_cors(const call_t *call, buf_t *out)
{
    slice_t origin = request_header(call->request, HEADER_ORIGIN);
    if (origin.data == NULL)
        return;
    buf_append_str(out, "Vary: Origin\r\n");
    if (!http_origin_is_allowed(call->gateway, call->request))
        return;
    buf_append_str(out, "Access-Control-Allow-Origin: ");
    buf_append_slice(out, origin);
    buf_append_str(out, "\r\nAccess-Control-Allow-Credentials: true\r\n"
                        "Access-Control-Expose-Headers: Command-Id, Command-Rev, ETag, "
                        "Idempotent-Replay, Location, Request-Id, Retry-After, "
                        "Successor-Kept\r\n");
}

/* A cookie comes along with whatever page makes the browser ask, so a page must say who it is. */
static bool check_origin(call_t *call)
{
    method_t method = request_method(call->request);
    if (!call->is_by_cookie || method == METHOD_GET || method == METHOD_HEAD)
        return true;
    if (request_header(call->request, HEADER_ORIGIN).data != NULL &&
        http_origin_is_allowed(call->gateway, call->request))
        return true;
    reply_err(call, ERR_FORBIDDEN, "With a cookie, a change needs an Origin that is allowed.");
    return false;
}

/* --- the last steps: the query, the handler --- */

static bool read_query(call_t *call)
{
    problem_t problem;
    slice_t query = request_query(call->request);
    if (query_parse(query, call->route->params, call->arena, &call->query, &problem) != ERR_OK ||
        !query_int(&call->query, "min_rev", 1, QUERY_INT_MAX, &call->min_rev, call->arena,
                   &problem)) {
        reply_problem(call, &problem);
        return false;
    }
    return true;
}

/* Entity tags and cursors are made of the epoch: nearly always it is known. */
static bool needs_history(const call_t *call)
{
    route_for_t whom = call->route->whom;
    return (whom == ROUTE_FOR_READERS || whom == ROUTE_FOR_WRITERS || whom == ROUTE_FOR_SESSIONS) &&
           !call->gateway->http->history.is_known;
}

void http_run(call_t *call)
{
    if (needs_history(call)) {
        history_load(&call->gateway->http->history);
        call_hold(call, NULL);
    } else if (read_query(call)) {
        call->route->handle(call);
    }
}

/* --- whose token --- */

static bool may_enter(const identity_t *identity, route_for_t whom, const char **why)
{
    switch (whom) {
    case ROUTE_FOR_READERS:
        *why = "This token may not read.";
        return (identity->scopes & SCOPE_READ) != 0;
    case ROUTE_FOR_WRITERS:
        *why = "This token may not write.";
        return (identity->scopes & SCOPE_WRITE) != 0;
    case ROUTE_FOR_SESSIONS:
        *why = "Only a login's own token may do that.";
        return identity->is_session;
    case ROUTE_FOR_ANYONE:
    case ROUTE_FOR_ADMIN:
    case ROUTE_FOR_PROBES:
        break;
    }
    return true;
}

static void keep_identity(call_t *call, const identity_t *identity)
{
    call->identity = *identity;
    if (identity->n_lists == 0)
        return;
    size_t n_bytes = identity->n_lists * sizeof *identity->lists;
    call->identity.lists =
        (const uuid_t *)(const void *)arena_copy(call->arena, slice_of(identity->lists, n_bytes))
            .data;
}

static void enter(call_t *call, const identity_t *identity)
{
    const char *why = NULL;
    keep_identity(call, identity);
    if (!admit(call))
        return;
    if (!may_enter(identity, call->route->whom, &why))
        reply_err(call, ERR_FORBIDDEN, why);
    else if (check_origin(call))
        http_run(call);
}

static void on_identity(void *arg, err_t err, const identity_t *identity)
{
    call_t *call = arg;
    if (call->request == NULL)
        ; /* the client has gone */
    else if (err == ERR_OK)
        enter(call, identity);
    else if (err != ERR_UNAUTHENTICATED)
        reply_err(call, err, NULL);
    else if (admit(call))
        reply_err(call, err, "This token is not valid, or not any more.");
    call_release(call);
}

static void identify(call_t *call)
{
    slice_t secret = auth_secret_of(call->request);
    call->is_by_cookie = request_header(call->request, HEADER_AUTHORIZATION).data == NULL;
    if (secret.data != NULL) {
        call->n_refs++;
        auth_identify(call->gateway->auth, secret, on_identity, call);
    } else if (admit(call)) {
        reply_err(call, ERR_UNAUTHENTICATED, NULL);
    }
}

/* Operators are answered to the end. */
static bool comes_too_late(const call_t *call)
{
    route_for_t whom = call->route->whom;
    return call->gateway->hub->is_draining && whom != ROUTE_FOR_ADMIN && whom != ROUTE_FOR_PROBES;
}

static void go(call_t *call)
{
    if (comes_too_late(call)) {
        reply_err(call, ERR_UNAVAILABLE, "This server is being stopped; ask again.");
        return;
    }
    switch (call->route->whom) {
    case ROUTE_FOR_ADMIN:
    case ROUTE_FOR_PROBES:
        http_run(call);
        break;
    case ROUTE_FOR_ANYONE:
        if (admit(call))
            http_run(call);
        break;
    case ROUTE_FOR_READERS:
    case ROUTE_FOR_WRITERS:
    case ROUTE_FOR_SESSIONS:
        identify(call);
        break;
    }
}

/* --- the route --- */

/* Each address has paths of its own; the probes are at both. */
static unsigned hidden_at(int tag)
{
    const unsigned admin = 1u << ROUTE_FOR_ADMIN;
    return tag == LISTENER_ADMIN ? ~(admin | 1u << ROUTE_FOR_PROBES) : admin;
}

static void answer_options(call_t *call, unsigned methods)
{
    buf_t *out = &call->headers;
    buf_append_str(out, "Allow: ");
    router_put_methods(methods, out);
    buf_append_str(out, "\r\n");
    if (request_header(call->request, HEADER_ACCESS_CONTROL_REQUEST_METHOD).data != NULL &&
        http_origin_is_allowed(call->gateway, call->request)) {
        buf_append_str(out, "Access-Control-Allow-Methods: ");
        router_put_methods(methods, out);
        buf_append_str(out, "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, "
                            "Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, traceparent, "
                            "tracestate\r\n"
                            "Access-Control-Max-Age: 600\r\n");
    }
    reply_empty(call, 204);
}

static void refuse_route(call_t *call, unsigned methods)
{
    if (!admit(call))
        return;
    if (methods == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such path.");
        return;
    }
    if (request_method(call->request) == METHOD_OPTIONS) {
        answer_options(call, methods);
        return;
    }
    buf_append_str(&call->headers, "Allow: ");
    router_put_methods(methods, &call->headers);
    buf_append_str(&call->headers, "\r\n");
    reply_err(call, ERR_METHOD_NOT_ALLOWED, NULL);
}

void http_on_request(gateway_t *gateway, request_t *request)
{
    http_t *self = gateway->http;
    call_t *call = call_new(gateway, request);
    call->request_id = arena_format(call->arena, "%s-%llx", self->id_prefix,
                                    (unsigned long long)++self->n_requests);
    call->address = http_client_address(gateway, request);
    route_match_t match;
    router_match(routes, n_routes, hidden_at(request_tag(request)), request_method(request),
                 request_path(request), &match);
    if (match.route == NULL) {
        refuse_route(call, match.methods);
        return;
    }
    call->route = match.route;
    memcpy(call->ids, match.ids, sizeof match.ids);
    go(call);
}

void http_on_gone(gateway_t *gateway, request_t *request)
{
    (void)gateway;
    call_t *call = request_user(request);
    if (call != NULL)
        call_detach(call);
}

void http_on_tick(http_t *self)
{
    history_load(&self->history);
}

void http_on_epoch(http_t *self)
{
    history_forget(&self->history);
}
