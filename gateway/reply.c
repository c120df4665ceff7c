/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and body are put together in buffers of the gateway, which request_reply copies from. The
 * call lets go of its request before that: sending an answer may bring the next request in. */
#include "gateway/reply.h"

#include "gateway/etag.h"
#include "gateway/http.h"
#include "schema/json.h"

#define USUAL_RETRY_US US_PER_S
/* A buffer that a large page has made larger is given back. */
#define KEPT_BODY_BYTES ((size_t)256 * 1024)

static void put_line(buf_t *out, const char *name, slice_t value)
{
    buf_append_str(out, name);
    buf_append(out, ": ", 2);
    buf_append_slice(out, value);
    buf_append(out, "\r\n", 2);
}

void reply_header(call_t *call, const char *name, slice_t value)
{
    put_line(&call->headers, name, value);
}

buf_t *reply_buffer(call_t *call)
{
    buf_t *body = &call->gateway->http->body;
    buf_reset(body);
    return body;
}

/* In whole seconds, at least one. */
static void put_retry_after(const call_t *call, buf_t *out)
{
    int64_t retry_us = call->retry_us == 0 ? USUAL_RETRY_US : call->retry_us;
    buf_format(out, "Retry-After: %lld\r\n", (long long)((retry_us + US_PER_S - 1) / US_PER_S));
}

static slice_t make_headers(call_t *call, int status)
{
    buf_t *out = &call->gateway->http->headers;
    buf_reset(out);
    put_line(out, "Request-Id", call->request_id);
    buf_append_str(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (!uuid_is_nil(&call->command)) {
        char text[UUID_TEXT_CHARS];
        uuid_format(&call->command, text);
        put_line(out, "Command-Id", slice_of(text, sizeof text));
    }
    if (status == 401)
        buf_append_str(out, "WWW-Authenticate: Bearer realm=\"taskwire\"\r\n");
    if (status == 429 || status == 503)
        put_retry_after(call, out);
    http_put_cors(call, out);
    buf_append_slice(out, buf_slice(&call->headers));
    return buf_slice(out);
}

void reply_bytes(call_t *call, int status, const char *content_type, slice_t bytes)
{
    request_t *request = call->request;
    http_t *http = call->gateway->http;
    http_count(http, call, status);
    slice_t headers = make_headers(call, status);
    call_detach(call);
    request_reply(request, status, content_type, headers, bytes);
    if (http->body.capacity > KEPT_BODY_BYTES)
        buf_fini(&http->body);
}

feed_t *reply_feed(call_t *call, const char *content_type, void *user)
{
    request_t *request = call->request;
    http_count(call->gateway->http, call, 200);
    reply_header(call, "X-Accel-Buffering",
                 slice_str("no")); /* nginx in front passes it on at once */
    slice_t headers = make_headers(call, 200);
    call_detach(call);
    return request_feed(request, content_type, headers, user);
}

void reply_json(call_t *call, int status, slice_t json)
{
    reply_bytes(call, status, "application/json", json);
}

void reply_mp(call_t *call, int status, slice_t value)
{
    buf_t *body = reply_buffer(call);
    if (json_from_mp(value, body))
        reply_json(call, status, buf_slice(body));
    else
        reply_err(call, ERR_INTERNAL, "What is stored cannot be shown.");
}

void reply_empty(call_t *call, int status)
{
    reply_bytes(call, status, NULL, slice_none());
}

void reply_problem(call_t *call, const problem_t *problem)
{
    buf_t *body = reply_buffer(call);
    problem_put_json(problem, call->request_id, body);
    reply_bytes(call, err_status(problem->err), "application/problem+json", buf_slice(body));
}

void reply_err(call_t *call, err_t err, const char *detail)
{
    problem_t problem = {.err = err};
    if (detail != NULL)
        problem.detail = slice_str(detail);
    reply_problem(call, &problem);
}

bool reply_etag(call_t *call, slice_t etag)
{
    reply_header(call, "ETag", etag);
    if (!etag_is_known(request_header(call->request, HEADER_IF_NONE_MATCH), etag))
        return false;
    reply_empty(call, 304);
    return true;
}
