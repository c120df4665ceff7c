/* SPDX-License-Identifier: Apache-2.0 */
/* An event: what happened. Encoded once by the writer; those bytes are what is stored, relayed,
 * hashed and shown. */
#ifndef TASKWIRE_EVENT_H
#define TASKWIRE_EVENT_H

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/mp.h"

#define EVENT_VERSION 1
#define EPOCH_CHARS 16
#define SALT_BYTES 16
#define DIGEST_BYTES 32

/* id, name. Numbers are stored, so only append. */
#define EVENT_TYPE_LIST(X)                                                                         \
    X(TASK_CREATED, "task.created")                                                                \
    X(TASK_UPDATED, "task.updated")                                                                \
    X(TASK_COMPLETED, "task.completed")                                                            \
    X(TASK_CANCELLED, "task.cancelled")                                                            \
    X(TASK_REOPENED, "task.reopened")                                                              \
    X(TASK_DELETED, "task.deleted")                                                                \
    X(TASK_RESTORED, "task.restored")                                                              \
    X(TASK_MOVED_OUT, "task.moved_out")                                                            \
    X(TASK_MOVED_IN, "task.moved_in")                                                              \
    X(TASK_SNOOZED, "task.snoozed")                                                                \
    X(REMINDER_DUE, "reminder.due")                                                                \
    X(LIST_CREATED, "list.created")                                                                \
    X(LIST_UPDATED, "list.updated")                                                                \
    X(LIST_DELETED, "list.deleted")                                                                \
    X(LIST_RESTORED, "list.restored")                                                              \
    X(MEMBER_ADDED, "member.added")                                                                \
    X(MEMBER_CHANGED, "member.changed")                                                            \
    X(MEMBER_REMOVED, "member.removed")                                                            \
    X(ACCOUNT_CREATED, "account.created")                                                          \
    X(ACCOUNT_UPDATED, "account.updated")                                                          \
    X(TOKEN_CREATED, "token.created")                                                              \
    X(TOKEN_DELETED, "token.deleted")                                                              \
    X(LIST_JOINED, "list.joined")                                                                  \
    X(LIST_LEFT, "list.left")                                                                      \
    X(ACCOUNT_DELETED, "account.deleted")                                                          \
    X(REMINDER_DISMISSED, "reminder.dismissed")

typedef enum {
    EVENT_UNKNOWN, /* of a newer program: followed for its rev, else skipped */
#define EVENT_ENUM(id, name) EVENT_##id,
    EVENT_TYPE_LIST(EVENT_ENUM)
#undef EVENT_ENUM
        EVENT_TYPE_COUNT
} event_type_t;

/* The name that clients see. */
const char *event_type_name(event_type_t type);

/* The type of that name, or EVENT_UNKNOWN. */
event_type_t event_type_of(slice_t name);

/* `set`, `was` and `after` are encoded msgpack maps, borrowed; an absent one is left out of the
 * encoding. */
typedef struct {
    uuid_t stream;
    int64_t rev;
    char epoch[EPOCH_CHARS];
    event_type_t type;
    uuid_t task; /* nil: none */
    uuid_t command; /* the id of the command that made it */
    uuid_t by; /* its author */
    int64_t at_us;
    bool more; /* the next event in this stream is of the same command */
    slice_t set;
    slice_t was;
    slice_t after;
    slice_t reminder; /* of reminder.due: {id, at, for, late?}; of reminder.dismissed: {id, at} */
} event_t;

/* Appends the event as a msgpack map: v, stream, rev, epoch, type, task?, command, by, at, more?,
 * set?, was?, after?, reminder?. */
void event_encode(const event_t *event, buf_t *out);

/* Reads an encoded event, borrowing from `bytes`; unknown keys are skipped. False if it is none: a
 * required key is missing or of a wrong type, or the bytes are not canonical. */
bool event_decode(slice_t bytes, event_t *out);

/* The same, but only the keys up to `at`, of an event that is known to be as it was written. */
bool event_decode_head(slice_t bytes, event_t *out);

/* Appends what clients of WebSocket and SSE get: the event without `v`, `was` and `after`, as JSON.
 * The pairs only, without braces, so that {"op":"event", can stand before them. */
void event_put_client_json(const event_t *event, buf_t *out);

/* Appends the whole event as a JSON object, without `v`: what /events and /history show. */
void event_put_json(const event_t *event, buf_t *out);

/* The salted digest of an event's body, which the audit chain vouches for in its place.
 * Source: BLAKE2b (RFC 7693), keyed with the salt. */
void event_digest(slice_t body, const uint8_t salt[SALT_BYTES], uint8_t out[DIGEST_BYTES]);

#endif
