/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the server, piece by piece: the op with the ref that it answers, then pairs, then
 * the closing brace. What is text in JSON is given as text, so that another encoding can stand
 * behind the same calls. Pure. */
#ifndef TASKWIRE_WS_REPLY_H
#define TASKWIRE_WS_REPLY_H

#include "schema/buf.h"
#include "schema/uuid.h"

/* {"op":OP and, unless it is absent, "ref":REF (as JSON). */
void ws_put_op(buf_t *out, const char *op, slice_t ref);
/* ,"KEY":"ID"; nil: null. */
void ws_put_id(buf_t *out, const char *key, const uuid_t *id);
void ws_put_text(buf_t *out, const char *key, slice_t text);
void ws_put_int(buf_t *out, const char *key, int64_t value);
void ws_put_bool(buf_t *out, const char *key, bool value);
/* An instant as RFC 3339; INSTANT_NONE: null. Units: microseconds since 1970. */
void ws_put_instant(buf_t *out, const char *key, int64_t at_us);
/* ,"KEY": for a value that is appended next. */
void ws_put_key(buf_t *out, const char *key);

#endif
