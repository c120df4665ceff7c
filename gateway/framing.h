/* SPDX-License-Identifier: Apache-2.0 */
/* The frame around an HTTP/1.1 request: where its head ends, what it says, how long its body is.
 * Pure functions on bytes, strict where two programs could read the same bytes differently (a proxy
 * in front and we behind it). Source: RFC 9110, RFC 9112; RFC 6455 §4.2 for the WebSocket
 * handshake. */
#ifndef TASKWIRE_FRAMING_H
#define TASKWIRE_FRAMING_H

#include "gateway/server.h"

#define FRAMING_MAX_HEADERS 100

/* What is wrong with a request, and with which status to refuse it; status 0: nothing. */
typedef struct {
    int status;
    err_t err; /* whose code and title go with it */
    const char *detail; /* a sentence */
} fault_t;

typedef struct {
    method_t method;
    slice_t path;
    slice_t query;
    slice_t headers[HEADER_COUNT]; /* absent if not sent; several joined by ", " (cookies: "; ") */
    size_t body_bytes; /* at most LIMIT_BODY_BYTES */
    bool is_http_10;
    bool keeps_alive;
    bool expects_continue;
    bool wants_websocket; /* asks for an upgrade to it; any other upgrade is ignored, as RFC 9110
                             §7.8 allows */
    slice_t websocket_key;
    slice_t websocket_version;
} head_t;

/* How many bytes of an empty line stand here. One in front of a request is a relic to pass over
 * (RFC 9112 §2.2). */
size_t framing_blank(slice_t bytes);

typedef enum {
    SCAN_MORE, /* the head has not ended yet */
    SCAN_WHOLE, /* it ends after *n_head bytes */
    SCAN_BROKEN, /* these bytes never become a head: a line does not end with CR LF */
} scan_t;

/* Looks for the empty line that ends a head. *line is where the line under way begins: 0 at first,
 * kept by the caller while more bytes are appended, so that no byte before it is looked at again.
 */
scan_t framing_scan(slice_t bytes, size_t *line, size_t *n_head);

/* Reads a whole head. Slices in `out` borrow from the bytes, or are in the arena where lines were
 * joined. False, with the reason in `fault`, if it must be refused; the connection cannot be used
 * any further then. */
bool framing_parse(slice_t bytes, arena_t *arena, head_t *out, fault_t *fault);

/* Whether a head that wants a WebSocket may have one; else false, with the reason. */
bool framing_check_websocket(const head_t *head, fault_t *fault);

/* Takes the next item of a comma-separated list; false at its end. */
bool framing_next_item(slice_t *list, slice_t *item);

/* Whether the list of a Sec-WebSocket-Protocol header offers this one. */
bool framing_offers(slice_t list, const char *subprotocol);

#endif
