/* SPDX-License-Identifier: Apache-2.0 */
/* How a call ends. Every answer carries Request-Id; a refusal is a problem (RFC 9457). */
#ifndef TASKWIRE_REPLY_H
#define TASKWIRE_REPLY_H

#include "gateway/call.h"

/* Adds a header to the reply. The value must be free of control characters: only our own texts. */
void reply_header(call_t *call, const char *name, slice_t value);

void reply_json(call_t *call, int status, slice_t json);
/* A msgpack value as JSON. */
void reply_mp(call_t *call, int status, slice_t value);
void reply_bytes(call_t *call, int status, const char *content_type, slice_t bytes);
/* Without a body: 204, 304. */
void reply_empty(call_t *call, int status);

/* Begins an answer without an end. */
feed_t *reply_feed(call_t *call, const char *content_type, void *user);

void reply_problem(call_t *call, const problem_t *problem);
/* A problem with one sentence; NULL: only the title. */
void reply_err(call_t *call, err_t err, const char *detail);

/* The entity tag of what is shown. True: the client has just that, and 304 was answered. */
bool reply_etag(call_t *call, slice_t etag);

/* A buffer for the body, empty; it belongs to the gateway and is good until the reply. */
buf_t *reply_buffer(call_t *call);

#endif
