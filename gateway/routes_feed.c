/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a stream, live: the same paths as for pages of them, asked for by Accept. */
#include "gateway/http.h"
#include "gateway/live.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

#define STREAM_TYPE "text/event-stream"

bool route_wants_feed(const call_t *call)
{
    slice_t accept = request_header(call->request, HEADER_ACCEPT);
    return request_method(call->request) == METHOD_GET && accept.n_bytes > 0 &&
           memmem(accept.data, accept.n_bytes, STREAM_TYPE, strlen(STREAM_TYPE)) != NULL;
}

/* EPOCH:REV, as the ids of the events are. */
static bool read_last_event_id(slice_t text, sse_place_t *out)
{
    const uint8_t *colon = memrchr(text.data, ':', text.n_bytes);
    if (colon == NULL)
        return false;
    out->epoch = slice_of(text.data, (size_t)(colon - text.data));
    if (out->epoch.n_bytes != EPOCH_CHARS)
        return false;
    out->after = 0;
    const uint8_t *end = text.data + text.n_bytes;
    if (colon + 1 == end || end - colon > 19)
        return false;
    for (const uint8_t *at = colon + 1; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        out->after = out->after * 10 + (*at - '0');
    }
    return true;
}

/* What a browser sends when it comes back stands above the address, which is as it was at first. */
static bool read_place(call_t *call, sse_place_t *out, problem_t *problem)
{
    static const char *const of_pages[] = {"limit", "cursor", "min_rev"};
    slice_t last = request_header(call->request, HEADER_LAST_EVENT_ID);
    *out = (sse_place_t){.after = SSE_FROM_HEAD, .epoch = query_get(&call->query, "epoch")};
    for (size_t i = 0; i < sizeof of_pages / sizeof *of_pages; i++) {
        if (query_get(&call->query, of_pages[i]).data != NULL)
            return query_refuse(of_pages[i], "is for pages, not for a live stream", call->arena,
                                problem);
    }
    if (!query_int(&call->query, "after", 0, QUERY_INT_MAX, &out->after, call->arena, problem))
        return false;
    if (last.n_bytes == 0 || read_last_event_id(last, out))
        return true;
    *problem = (problem_t){.err = ERR_MALFORMED,
                           .detail = slice_str("Last-Event-ID must be EPOCH:REV, as it was sent.")};
    return false;
}

/* A cookie comes along with whatever page makes the browser ask. */
void route_feed(call_t *call, const uuid_t *stream)
{
    problem_t problem = {0};
    sse_place_t place;
    if (!http_origin_is_allowed(call->gateway, call->request))
        reply_err(call, ERR_FORBIDDEN, "Pages of this origin may not read event streams.");
    else if (!read_place(call, &place, &problem))
        reply_problem(call, &problem);
    else
        sse_open(call, stream, &place);
}
