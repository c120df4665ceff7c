/* SPDX-License-Identifier: Apache-2.0 */
/* How answers begin, and the refusals of requests that no handler ever sees. */
#include "gateway/server_private.h"

#include "actors/clock.h"
#include "schema/json.h"
#include "schema/uuid.h"

#include <stdio.h>
#include <time.h>

#define NO_CONTENT 204
#define NOT_MODIFIED 304
#define US_PER_SECOND 1000000

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

/* The phrase is for people only; a status without one is as good (RFC 9112 §4). */
static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "";
}

bool answer_has_body(int status)
{
    return status != NO_CONTENT && status != NOT_MODIFIED;
}

/* Made once a second, however many answers carry it. */
static const char *date_line(server_t *server)
{
    time_t now = (time_t)(clock_now().wall_us / US_PER_SECOND);
    if (now != (time_t)server->date_s) {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(server->date, sizeof server->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
        server->date_s = now;
    }
    return server->date;
}

static void put_number(buf_t *out, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_append(out, digits + at, sizeof digits - at);
}

void answer_put_head(server_t *server, const answer_t *answer, buf_t *out)
{
    buf_append_str(out, "HTTP/1.1 ");
    put_number(out, (size_t)answer->status);
    buf_append_byte(out, ' ');
    buf_append_str(out, reason_of(answer->status));
    buf_append_str(out, "\r\n");
    buf_append_str(out, date_line(server));
    if (answer->content_type != NULL) {
        buf_append_str(out, "Content-Type: ");
        buf_append_str(out, answer->content_type);
        buf_append_str(out, "\r\n");
    }
    if (answer->is_chunked) {
        buf_append_str(out, "Transfer-Encoding: chunked\r\n");
    } else if (!answer->is_endless && answer_has_body(answer->status)) {
        buf_append_str(out, "Content-Length: ");
        put_number(out, answer->n_body);
        buf_append_str(out, "\r\n");
    }
    if (answer->is_last)
        buf_append_str(out, "Connection: close\r\n");
    else if (answer->says_keep_alive)
        buf_append_str(out, "Connection: keep-alive\r\n");
    buf_append_slice(out, answer->headers);
    buf_append_str(out, "\r\n");
}

static void put_fault(const fault_t *fault, slice_t request_id, buf_t *out)
{
    const char *code = err_code(fault->err);
    buf_format(out, "{\"type\":\"urn:taskwire:problem:%s\",\"title\":", code);
    json_put_str(out, slice_str(err_title(fault->err)));
    buf_format(out, ",\"status\":%d", fault->status);
    buf_append_str(out, ",\"detail\":");
    json_put_str(out, slice_str(fault->detail != NULL ? fault->detail : err_title(fault->err)));
    buf_format(out, ",\"code\":\"%s\",\"instance\":\"urn:taskwire:request:%.*s\"}", code,
               (int)request_id.n_bytes, (const char *)request_id.data);
}

/* What a client can do about it, where there is a header that says so. */
static const char *remedy_of(int status)
{
    if (status == 401)
        return "WWW-Authenticate: Bearer realm=\"taskwire\"\r\n";
    if (status == 426)
        return "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    if (status == 429 || status == 503)
        return "Retry-After: 1\r\n";
    return "";
}

void answer_put_fault(server_t *server, const fault_t *fault, buf_t *head, buf_t *body)
{
    char id[UUID_TEXT_CHARS];
    uuid_t drawn = uuid_v7(clock_now().wall_us);
    uuid_format(&drawn, id);
    put_fault(fault, slice_of(id, sizeof id), body);
    char lines[256];
    int n_lines = snprintf(lines, sizeof lines, "Request-Id: %.*s\r\nCache-Control: no-store\r\n%s",
                           (int)sizeof id, id, remedy_of(fault->status));
    answer_t answer = {.status = fault->status,
                       .content_type = "application/problem+json",
                       .headers = slice_of(lines, (size_t)n_lines),
                       .n_body = body->n_bytes,
                       .is_last = true};
    answer_put_head(server, &answer, head);
}
