/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of errors: what clients see of each (code, HTTP status) and what the program does
 * with it. */
#ifndef TASKWIRE_ERR_H
#define TASKWIRE_ERR_H

#include "schema/slice.h"

/* What to do with the thing that failed. */
typedef enum {
    ERR_DO_NOTHING, /* it succeeded */
    ERR_DO_RETRY, /* the cause is outside and passes: backpressure, 503 */
    ERR_DO_REJECT, /* it will fail again: refuse it, dead letter */
    ERR_DO_FATAL, /* a bug or a broken installation: stop, and say why */
} err_action_t;

/* id, code as clients see it, HTTP status, action, title */
#define ERR_LIST(X)                                                                                \
    X(OK, "ok", 200, NOTHING, "Fine")                                                              \
    X(MALFORMED, "malformed", 400, REJECT, "The request could not be read")                        \
    X(UNAUTHENTICATED, "unauthenticated", 401, REJECT, "A valid token is needed")                  \
    X(FORBIDDEN, "forbidden", 403, REJECT, "This is not allowed")                                  \
    X(NOT_FOUND, "not_found", 404, REJECT, "There is no such thing")                               \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, REJECT,                                       \
      "This path does not know that method")                                                       \
    X(EXISTS, "exists", 409, REJECT, "It exists already")                                          \
    X(IDEMPOTENCY_MISMATCH, "idempotency_mismatch", 409, REJECT,                                   \
      "This command id was used with other content")                                               \
    X(CONFLICT, "conflict", 409, REJECT, "The state does not allow it")                            \
    X(ABORTED, "aborted", 409, REJECT, "Another command of the bulk was refused")                  \
    X(RESYNC_REQUIRED, "resync_required", 410, REJECT, "That position cannot be resumed")          \
    X(LENGTH_REQUIRED, "malformed", 411, REJECT, "The request needs a Content-Length")             \
    X(PRECONDITION_FAILED, "precondition_failed", 412, REJECT, "It has changed meanwhile")         \
    X(TOO_LARGE, "too_large", 413, REJECT, "The request is too large")                             \
    X(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, REJECT, "The body must be JSON")      \
    X(INVALID, "invalid", 422, REJECT, "Some values are not valid")                                \
    X(RATE_LIMITED, "rate_limited", 429, RETRY, "Too many requests")                               \
    X(INTERNAL, "internal", 500, FATAL, "A bug in taskwire")                                       \
    X(NOT_IMPLEMENTED, "not_implemented", 501, REJECT, "This is not there yet")                    \
    X(OVERLOADED, "overloaded", 503, RETRY, "Too much to do at the moment")                        \
    X(UNAVAILABLE, "unavailable", 503, RETRY, "This cannot be answered now")                       \
    X(OUTCOME_UNKNOWN, "outcome_unknown", 503, RETRY, "Whether it was done is not known")

typedef enum {
#define ERR_ENUM(id, code, status, action, title) ERR_##id,
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
} err_t;

/* The code that clients see. */
const char *err_code(err_t err);

/* The HTTP status that belongs to it. */
int err_status(err_t err);

/* One sentence for people. */
const char *err_title(err_t err);

/* What to do with what failed so. */
err_action_t err_action(err_t err);

/* One wrong value of a request. */
typedef struct {
    slice_t pointer; /* RFC 6901, from the root of the request's data; empty for the whole */
    slice_t detail; /* a sentence */
} err_field_t;

#define LIMIT_PROBLEM_FIELDS 16

/* Why a request was refused, in full. Everything borrowed from an arena or static. */
typedef struct {
    err_t err;
    slice_t detail; /* a sentence for this case, or absent */
    err_field_t fields[LIMIT_PROBLEM_FIELDS];
    size_t n_fields; /* further ones are dropped */
    slice_t current; /* the current state as a msgpack map, for PRECONDITION_FAILED; else absent */
} problem_t;

/* Notes one more wrong value and makes the problem INVALID if it was OK. Owns: the slices stay the
 * caller's. */
void problem_add_field(problem_t *self, slice_t pointer, slice_t detail);

#endif
