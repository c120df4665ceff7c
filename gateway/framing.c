/* SPDX-License-Identifier: Apache-2.0 */
/* A head is first found (so that half of one costs nothing but the look for its end), then read
 * line by line. What is refused here is what smuggles requests past a proxy: a length given twice,
 * with a sign or beside a transfer coding, a blank before a colon, a folded line, a lone CR or LF.
 * Chunked bodies are refused too: every client of ours knows how long its body is. */
#include "gateway/framing.h"

#include "schema/limits.h"

#include <strings.h>

#define CR_LF_BYTES 2
#define WEBSOCKET_KEY_CHARS 24

/* What a head says beside what handlers may ask for. */
typedef enum {
    FIELD_CONTENT_LENGTH = HEADER_COUNT,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONNECTION,
    FIELD_UPGRADE,
    FIELD_EXPECT,
    FIELD_WEBSOCKET_KEY,
    FIELD_WEBSOCKET_VERSION,
    FIELD_COUNT, /* also: one that nobody asks for */
} field_t;

static const struct {
    uint8_t n_chars;
    const char *name;
} fields[FIELD_COUNT] = {
#define FIELD(id, text) [id] = {sizeof(text) - 1, text}
    FIELD(HEADER_AUTHORIZATION, "authorization"),
    FIELD(HEADER_COOKIE, "cookie"),
    FIELD(HEADER_ORIGIN, "origin"),
    FIELD(HEADER_HOST, "host"),
    FIELD(HEADER_ACCEPT, "accept"),
    FIELD(HEADER_CONTENT_TYPE, "content-type"),
    FIELD(HEADER_IF_MATCH, "if-match"),
    FIELD(HEADER_IF_NONE_MATCH, "if-none-match"),
    FIELD(HEADER_IDEMPOTENCY_KEY, "idempotency-key"),
    FIELD(HEADER_TRACEPARENT, "traceparent"),
    FIELD(HEADER_X_FORWARDED_FOR, "x-forwarded-for"),
    FIELD(HEADER_X_FORWARDED_PROTO, "x-forwarded-proto"),
    FIELD(HEADER_LAST_EVENT_ID, "last-event-id"),
    FIELD(HEADER_ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method"),
    FIELD(HEADER_SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol"),
    FIELD(FIELD_CONTENT_LENGTH, "content-length"),
    FIELD(FIELD_TRANSFER_ENCODING, "transfer-encoding"),
    FIELD(FIELD_CONNECTION, "connection"),
    FIELD(FIELD_UPGRADE, "upgrade"),
    FIELD(FIELD_EXPECT, "expect"),
    FIELD(FIELD_WEBSOCKET_KEY, "sec-websocket-key"),
    FIELD(FIELD_WEBSOCKET_VERSION, "sec-websocket-version"),
#undef FIELD
};

static const struct {
    const char *name;
    method_t method;
} methods[] = {
    {"GET", METHOD_GET},         {"HEAD", METHOD_HEAD},   {"POST", METHOD_POST},
    {"PUT", METHOD_PUT},         {"PATCH", METHOD_PATCH}, {"DELETE", METHOD_DELETE},
    {"OPTIONS", METHOD_OPTIONS},
};

static bool refuse(fault_t *fault, int status, err_t err, const char *detail)
{
    *fault = (fault_t){status, err, detail};
    return false;
}

static bool malformed(fault_t *fault, const char *detail)
{
    return refuse(fault, 400, ERR_MALFORMED, detail);
}

/* --- bytes --- */

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A character of a method or a header's name (RFC 9110 §5.6.2). */
static bool is_token_char(uint8_t c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(slice_t text)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (!is_token_char(text.data[i]))
            return false;
    }
    return text.n_bytes > 0;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_same(slice_t a, const char *text, size_t n_chars)
{
    return a.n_bytes == n_chars && strncasecmp((const char *)a.data, text, n_chars) == 0;
}

/* The bytes from `from` up to `to`; never without `data`, so that empty stays different from
 * absent. */
static slice_t part(slice_t bytes, size_t from, size_t to)
{
    return slice_of(bytes.data + from, to - from);
}

static slice_t trim(slice_t text)
{
    while (text.n_bytes > 0 && is_blank(text.data[0]))
        text = part(text, 1, text.n_bytes);
    while (text.n_bytes > 0 && is_blank(text.data[text.n_bytes - 1]))
        text.n_bytes--;
    return text;
}

/* Takes the next item off a comma-separated list; false at its end. Empty items are passed over. */
bool framing_next_item(slice_t *list, slice_t *item)
{
    while (list->n_bytes > 0) {
        const uint8_t *comma = memchr(list->data, ',', list->n_bytes);
        size_t n_item = comma == NULL ? list->n_bytes : (size_t)(comma - list->data);
        *item = trim(part(*list, 0, n_item));
        *list = part(*list, comma == NULL ? n_item : n_item + 1, list->n_bytes);
        if (item->n_bytes > 0)
            return true;
    }
    return false;
}

static bool list_has(slice_t list, const char *word)
{
    slice_t item;
    while (framing_next_item(&list, &item)) {
        if (is_same(item, word, strlen(word)))
            return true;
    }
    return false;
}

/* --- the end of the head --- */

size_t framing_blank(slice_t bytes)
{
    bool is_blank_line =
        bytes.n_bytes >= CR_LF_BYTES && memcmp(bytes.data, "\r\n", CR_LF_BYTES) == 0;
    return is_blank_line ? CR_LF_BYTES : 0;
}

scan_t framing_scan(slice_t bytes, size_t *line, size_t *n_head)
{
    while (*line < bytes.n_bytes) {
        const uint8_t *start = bytes.data + *line;
        const uint8_t *end = memchr(start, '\n', bytes.n_bytes - *line);
        if (end == NULL)
            return SCAN_MORE;
        size_t n_line = (size_t)(end - start) + 1;
        bool is_request_line = *line == 0;
        if (n_line < CR_LF_BYTES || end[-1] != '\r' || (is_request_line && n_line == CR_LF_BYTES))
            return SCAN_BROKEN;
        *line += n_line;
        if (n_line == CR_LF_BYTES) {
            *n_head = *line;
            return SCAN_WHOLE;
        }
    }
    return SCAN_MORE;
}

/* Takes the next line, without its end, off the head; false at the end of the bytes, or where a
 * line has another CR, which some would take for its end. */
static bool next_line(slice_t *rest, slice_t *line)
{
    const uint8_t *end = rest->n_bytes == 0 ? NULL : memchr(rest->data, '\n', rest->n_bytes);
    if (end == NULL || end == rest->data || end[-1] != '\r')
        return false;
    size_t n_line = (size_t)(end - rest->data) - 1;
    *line = part(*rest, 0, n_line);
    *rest = part(*rest, n_line + CR_LF_BYTES, rest->n_bytes);
    return n_line == 0 || memchr(line->data, '\r', n_line) == NULL;
}

/* --- the request line --- */

static method_t method_of(slice_t name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_is(name, methods[i].name))
            return methods[i].method;
    }
    return METHOD_OTHER;
}

/* Whether a path or a query may look so: no blanks, no NUL, whole escapes only, so that no two
 * programs make different things of what passes. In queries clients leave more characters as they
 * are; hence `forbidden`. */
static bool is_target_text(slice_t text, const char *forbidden)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c >= 0x7f || strchr(forbidden, c) != NULL)
            return false;
        if (c != '%')
            continue;
        if (text.n_bytes - i < 3 || !is_hex(text.data[i + 1]) || !is_hex(text.data[i + 2]))
            return false;
        if (text.data[i + 1] == '0' && text.data[i + 2] == '0')
            return false;
        i += 2;
    }
    return true;
}

/* Takes scheme and authority off a target in absolute form, which clients send to proxies and every
 * server must take (RFC 9112 §3.2.2). */
static slice_t without_authority(slice_t target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t at = strlen(schemes[i]);
        if (target.n_bytes < at || strncasecmp((const char *)target.data, schemes[i], at) != 0)
            continue;
        while (at < target.n_bytes && target.data[at] != '/' && target.data[at] != '?')
            at++;
        return part(target, at, target.n_bytes);
    }
    return target;
}

static bool parse_target(slice_t target, head_t *out, fault_t *fault)
{
    slice_t local = without_authority(target);
    const uint8_t *mark = local.n_bytes == 0 ? NULL : memchr(local.data, '?', local.n_bytes);
    size_t n_path = mark == NULL ? local.n_bytes : (size_t)(mark - local.data);
    out->path = part(local, 0, n_path);
    out->query = mark == NULL ? slice_none() : part(local, n_path + 1, local.n_bytes);
    if (n_path == 0 && local.n_bytes != target.n_bytes)
        out->path = slice_str("/");
    bool is_rooted = out->path.n_bytes > 0 && out->path.data[0] == '/';
    bool is_star = out->method == METHOD_OPTIONS && slice_is(target, "*");
    if (!is_rooted && !is_star)
        return malformed(fault, "The request's target must be a path.");
    if (!is_target_text(out->path, "#\"<>\\^`{|}") || !is_target_text(out->query, "#\"<>"))
        return malformed(
            fault, "The request's target has characters that must be escaped, or a broken escape.");
    return true;
}

/* HTTP/1.x with x over 1 is answered as 1.1. */
static bool parse_version(slice_t version, head_t *out, fault_t *fault)
{
    if (version.n_bytes != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.')
        return malformed(fault, "The request line is not one of HTTP.");
    uint8_t major = version.data[5];
    uint8_t minor = version.data[7];
    if (major < '0' || major > '9' || minor < '0' || minor > '9')
        return malformed(fault, "The request line is not one of HTTP.");
    if (major != '1')
        return refuse(fault, 505, ERR_MALFORMED, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    out->is_http_10 = minor == '0';
    return true;
}

static bool parse_request_line(slice_t line, head_t *out, fault_t *fault)
{
    const uint8_t *first = line.n_bytes == 0 ? NULL : memchr(line.data, ' ', line.n_bytes);
    const uint8_t *last = line.n_bytes == 0 ? NULL : memrchr(line.data, ' ', line.n_bytes);
    if (first == NULL || first == last)
        return malformed(fault, "The request line is not one of HTTP.");
    slice_t method = part(line, 0, (size_t)(first - line.data));
    if (!is_token(method))
        return malformed(fault, "The request's method is not one.");
    out->method = method_of(method);
    if (!parse_version(part(line, (size_t)(last - line.data) + 1, line.n_bytes), out, fault))
        return false;
    slice_t target = part(line, (size_t)(first - line.data) + 1, (size_t)(last - line.data));
    return parse_target(target, out, fault);
}

/* --- the headers --- */

static field_t field_of(slice_t name)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (is_same(name, fields[i].name, fields[i].n_chars))
            return (field_t)i;
    }
    return FIELD_COUNT;
}

static bool is_value(slice_t text)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        uint8_t c = text.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static slice_t join(slice_t a, slice_t b, field_t field, arena_t *arena)
{
    const char *between = field == (field_t)HEADER_COOKIE ? "; " : ", ";
    return arena_format(arena, "%.*s%s%.*s", (int)a.n_bytes, (const char *)a.data, between,
                        (int)b.n_bytes, (const char *)b.data);
}

static bool parse_header(slice_t line, slice_t values[FIELD_COUNT], arena_t *arena, fault_t *fault)
{
    const uint8_t *colon = memchr(line.data, ':', line.n_bytes);
    if (colon == NULL || !is_token(part(line, 0, (size_t)(colon - line.data))))
        return malformed(fault, "A header line is not of the form Name: value.");
    size_t n_name = (size_t)(colon - line.data);
    slice_t value = trim(part(line, n_name + 1, line.n_bytes));
    if (!is_value(value))
        return malformed(fault, "A header has control characters in its value.");
    field_t field = field_of(part(line, 0, n_name));
    if (field == FIELD_COUNT)
        return true;
    if (values[field].data != NULL)
        value = join(values[field], value, field, arena);
    values[field] = value;
    return true;
}

static bool parse_headers(slice_t rest, slice_t values[FIELD_COUNT], arena_t *arena, fault_t *fault)
{
    slice_t line;
    for (int i = 0; next_line(&rest, &line); i++) {
        if (line.n_bytes == 0)
            return rest.n_bytes == 0 || malformed(fault, "The request's head has no end.");
        if (i == FRAMING_MAX_HEADERS)
            return refuse(fault, 431, ERR_TOO_LARGE, "There are too many headers.");
        if (!parse_header(line, values, arena, fault))
            return false;
    }
    return malformed(fault, "A header line does not end as it must.");
}

/* --- what follows from them --- */

/* A length given twice arrives here as "5, 5" and is no number. */
static bool parse_length(slice_t text, head_t *out, fault_t *fault)
{
    if (text.data == NULL)
        return true;
    uint64_t n = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return malformed(fault, "Content-Length must be one number.");
        if (n <= LIMIT_BODY_BYTES)
            n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (text.n_bytes == 0)
        return malformed(fault, "Content-Length must be one number.");
    if (n > LIMIT_BODY_BYTES)
        return refuse(fault, 413, ERR_TOO_LARGE, "The body is larger than 1 MiB.");
    out->body_bytes = (size_t)n;
    return true;
}

static bool check_body(const slice_t values[FIELD_COUNT], head_t *out, fault_t *fault)
{
    bool has_coding = values[FIELD_TRANSFER_ENCODING].data != NULL;
    if (has_coding && values[FIELD_CONTENT_LENGTH].data != NULL)
        return malformed(fault, "Content-Length and Transfer-Encoding exclude each other.");
    if (has_coding)
        return refuse(fault, 411, ERR_LENGTH_REQUIRED,
                      "Send the body with Content-Length; transfer codings are not taken.");
    return parse_length(values[FIELD_CONTENT_LENGTH], out, fault);
}

static bool check_host(const slice_t values[FIELD_COUNT], const head_t *head, fault_t *fault)
{
    slice_t host = values[HEADER_HOST];
    if (host.data == NULL)
        return head->is_http_10 || malformed(fault, "The header Host is missing.");
    for (size_t i = 0; i < host.n_bytes; i++) {
        if (!is_alnum(host.data[i]) && strchr("-._~%!$&'()*+;=:[]", host.data[i]) == NULL)
            return malformed(fault, "The header Host must name one host.");
    }
    return true;
}

static bool check_expect(slice_t expect, head_t *out, fault_t *fault)
{
    if (expect.data == NULL)
        return true;
    if (!is_same(expect, "100-continue", strlen("100-continue")))
        return refuse(fault, 417, ERR_MALFORMED,
                      "The only expectation that can be met is 100-continue.");
    out->expects_continue = !out->is_http_10;
    return true;
}

static void take_values(const slice_t values[FIELD_COUNT], head_t *out)
{
    memcpy(out->headers, values, sizeof out->headers);
    slice_t connection = values[FIELD_CONNECTION];
    out->keeps_alive =
        out->is_http_10 ? list_has(connection, "keep-alive") : !list_has(connection, "close");
    out->wants_websocket = !out->is_http_10 && list_has(connection, "upgrade") &&
                           list_has(values[FIELD_UPGRADE], "websocket");
    out->websocket_key = values[FIELD_WEBSOCKET_KEY];
    out->websocket_version = values[FIELD_WEBSOCKET_VERSION];
}

bool framing_parse(slice_t bytes, arena_t *arena, head_t *out, fault_t *fault)
{
    *out = (head_t){0};
    *fault = (fault_t){0};
    slice_t values[FIELD_COUNT] = {0};
    slice_t line;
    if (!next_line(&bytes, &line))
        return malformed(fault, "The request line does not end as it must.");
    if (!parse_request_line(line, out, fault) || !parse_headers(bytes, values, arena, fault))
        return false;
    if (!check_host(values, out, fault) || !check_body(values, out, fault) ||
        !check_expect(values[FIELD_EXPECT], out, fault))
        return false;
    take_values(values, out);
    return true;
}

/* --- WebSocket --- */

/* 16 bytes in base64. */
static bool is_websocket_key(slice_t key)
{
    if (key.n_bytes != WEBSOCKET_KEY_CHARS || memcmp(key.data + 22, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < 22; i++) {
        if (!is_alnum(key.data[i]) && key.data[i] != '+' && key.data[i] != '/')
            return false;
    }
    return strchr("AQgw", key.data[21]) != NULL;
}

bool framing_check_websocket(const head_t *head, fault_t *fault)
{
    *fault = (fault_t){0};
    if (head->method != METHOD_GET || head->body_bytes > 0)
        return malformed(fault, "A WebSocket begins with a GET without a body.");
    if (!slice_is(head->websocket_version, "13"))
        return refuse(fault, 426, ERR_MALFORMED, "Sec-WebSocket-Version must be 13.");
    if (!is_websocket_key(head->websocket_key))
        return malformed(fault, "Sec-WebSocket-Key must be 16 bytes in base64.");
    slice_t list = head->headers[HEADER_SEC_WEBSOCKET_PROTOCOL];
    slice_t item;
    while (framing_next_item(&list, &item)) {
        if (!is_token(item))
            return malformed(fault, "Sec-WebSocket-Protocol must be a list of names.");
    }
    return true;
}

bool framing_offers(slice_t list, const char *subprotocol)
{
    slice_t item;
    while (framing_next_item(&list, &item)) {
        if (slice_is(item, subprotocol))
            return true;
    }
    return false;
}
