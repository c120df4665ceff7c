/* SPDX-License-Identifier: Apache-2.0 */
/* A command: somebody asks for a change. Every way in (HTTP, WebSocket, the actors) makes one of
 * these; the writer applies it (apply.h). `data` stays encoded until apply reads it, after it is
 * known who may ask. */
#ifndef TASKWIRE_COMMAND_H
#define TASKWIRE_COMMAND_H

#include "schema/arena.h"
#include "schema/buf.h"
#include "schema/err.h"
#include "schema/event.h"
#include "schema/mp.h"
#include "schema/shard.h"
#include "schema/trace.h"

#define FINGERPRINT_BYTES 16

/* id, name, who may send it. Names are what clients write. */
#define OP_LIST(X)                                                                                 \
    X(TASK_CREATE, "task.create", CLIENT)                                                          \
    X(TASK_PATCH, "task.patch", CLIENT)                                                            \
    X(TASK_COMPLETE, "task.complete", CLIENT)                                                      \
    X(TASK_REOPEN, "task.reopen", CLIENT)                                                          \
    X(TASK_DELETE, "task.delete", CLIENT)                                                          \
    X(TASK_RESTORE, "task.restore", CLIENT)                                                        \
    X(TASK_MOVE, "task.move", CLIENT)                                                              \
    X(TASK_SNOOZE, "task.snooze", CLIENT)                                                          \
    X(REMINDER_DISMISS, "reminder.dismiss", CLIENT)                                                \
    X(TASK_SUCCEED, "task.succeed", ACTOR)                                                         \
    X(TASK_REMIND, "task.remind", ACTOR)                                                           \
    X(TASK_RETIME, "task.retime", ACTOR)                                                           \
    X(LIST_CREATE, "list.create", CLIENT)                                                          \
    X(LIST_PATCH, "list.patch", CLIENT)                                                            \
    X(LIST_DELETE, "list.delete", CLIENT)                                                          \
    X(LIST_RESTORE, "list.restore", CLIENT)                                                        \
    X(MEMBER_PUT, "member.put", CLIENT)                                                            \
    X(MEMBER_REMOVE, "member.remove", CLIENT)                                                      \
    X(ACCOUNT_CREATE, "account.create", GATEWAY)                                                   \
    X(ACCOUNT_PATCH, "account.patch", CLIENT)                                                      \
    X(ACCOUNT_DELETE, "account.delete", GATEWAY)                                                   \
    X(TOKEN_CREATE, "token.create", GATEWAY)                                                       \
    X(TOKEN_DELETE, "token.delete", GATEWAY)                                                       \
    X(MEMBER_RELEASE, "member.release", ACTOR)

typedef enum {
#define OP_ENUM(id, name, from) OP_##id,
    OP_LIST(OP_ENUM)
#undef OP_ENUM
        OP_COUNT /* also: no such op */
} op_t;

/* Who may send an op: a client as a command, the gateway on a client's behalf (its data holds what
 * was hashed there), an actor. */
typedef enum { OP_FROM_CLIENT, OP_FROM_GATEWAY, OP_FROM_ACTOR } op_from_t;

const char *op_name(op_t op);
op_from_t op_from(op_t op);
/* The op of that name, or OP_COUNT. */
op_t op_of(slice_t name);

/* The actors as authors. No token can belong to these ids. */
extern const uuid_t author_recurrence;
extern const uuid_t author_reminder;
extern const uuid_t author_retime;

#define SCOPE_READ 1u
#define SCOPE_WRITE 2u

typedef struct {
    uuid_t id;
    uuid_t author;
    bool
        is_actor; /* the author is one of the program's actors: membership and scopes don't apply */
    op_t op;
    uuid_t list; /* the stream: a list, or an account for account.* and token.*; nil: the one that
                    `task` is in */
    uuid_t task; /* nil: none, or to be drawn (deterministically from author and id) */
    int64_t expect; /* the rev that the author saw; 0: none; negative: one that never was */
    uint32_t scopes;
    const uuid_t *lists; /* the only lists that the token may touch; none: all */
    uint32_t n_lists;
    uint8_t fingerprint[FINGERPRINT_BYTES]; /* of what the client asked; see command_fingerprint */
    slice_t data; /* a msgpack map, or absent */
    trace_t trace; /* of this hop: what its events carry on */
    uint32_t n_bulk; /* so many commands, this one and those behind it in the message, are done all
                        or none; 0: it stands for itself, or belongs to one before it */
    uint32_t reply_to; /* whose inbox takes the result (actors/network.h) */
    uint64_t tag; /* repeated in the result */
} command_t;

/* Appends the command as a msgpack array. */
void command_encode(const command_t *command, buf_t *out);

/* Reads one; `data` borrows from the reader's bytes, `lists` is in the arena. Only our own threads
 * write these. */
bool command_decode(mp_reader_t *reader, arena_t *arena, command_t *out);

/* Fills `fingerprint` from op, list, task, expect and data as they are now: to be called on what
 * the client asked, before the server draws or resolves anything. Two requests with the same
 * fingerprint are the same request. */
void command_fingerprint(command_t *command);

/* What is stored of a fingerprint, so that by itself it does not tell what was asked: salted as the
 * event is that it stands beside. Source: BLAKE2b (RFC 7693), keyed with the salt. */
void command_seal_fingerprint(const uint8_t fingerprint[FINGERPRINT_BYTES],
                              const uint8_t salt[SALT_BYTES], uint8_t out[FINGERPRINT_BYTES]);

/* Reads a client's command, the msgpack of {"id","op","list","task"?,"expect"?,"data"?}, into
 * everything but author, scopes and reply; takes its fingerprint. Errors: INVALID with pointers:
 * unknown fields, wrong types, no such op, an op that clients cannot send. */
err_t command_from_client(slice_t map, arena_t *arena, command_t *out, problem_t *problem);

/* The id of the task that the command makes or changes: `task`, or for task.create without one an
 * id of version 7 form that depends only on author and command id, so that a repeat names the same
 * task. */
uuid_t command_task(const command_t *command);

/* The task that tells in which list the command is to be applied if it names none: `task`, but the
 * one before for the next occurrence of a series. */
uuid_t command_place(const command_t *command);

/* The stream that the command is for: `list`, or drawn in the same way for list.create without one,
 * or the author for account.* and token.* without one; nil: the list that `task` is in. */
uuid_t command_list(const command_t *command);

/* --- what a command needs to be loaded before it can be applied --- */

#define COMMAND_MAX_STREAMS 2
#define COMMAND_MAX_MEMBERS 3
#define COMMAND_MAX_TASKS 2
#define COMMAND_MAX_TREES 2

/* Which other tasks go the way of the command's task: what is under it (or only if it recurs), what
 * it took along when it was deleted, or the latter if it is deleted, else the former. */
typedef enum {
    ALONG_NONE,
    ALONG_SUBTASKS,
    ALONG_SUBTASKS_OF_SERIES,
    ALONG_TAKEN,
    ALONG_EITHER,
} along_t;

typedef struct {
    uuid_t list;
    uuid_t account;
} member_key_t;

typedef struct {
    uuid_t streams[COMMAND_MAX_STREAMS]; /* these give the shards to lock */
    uint32_t n_streams;
    uuid_t tasks[COMMAND_MAX_TASKS];
    uint32_t n_tasks;
    member_key_t members[COMMAND_MAX_MEMBERS];
    uint32_t n_members;
    uuid_t accounts[COMMAND_MAX_MEMBERS];
    uint32_t n_accounts;
    uuid_t trees[COMMAND_MAX_TREES]; /* tasks whose place among their like must be known: what they
                                        are under, and all subtasks of the topmost */
    uint32_t n_trees;
    along_t along;
    uuid_t target; /* the list that a task moves or comes back to: of everybody it names the
                      membership there is looked for; nil: none */
    uuid_t token; /* nil: none */
    bool any_account; /* whether there is an account at all, which is true or false while all shards
                         are locked */
    uuid_t series_of; /* nil: none; else the task, among `tasks`, whose (series, occurrence + 1) is
                         looked for */
    uuid_t mates_of; /* nil: none; else the task of whose series the next occurrence, the open ones
                        and the last are loaded, with all their subtasks */
    uuid_t members_of; /* nil: none; else the list of which all members are loaded, and the streams
                          of their accounts */
    uuid_t leaving; /* nil: none; else the account of which it is counted in how many lists it is */
    member_key_t concerns; /* nil: none; else the tasks of this list that name this account, as
                              assignee or in a reminder */
} command_refs_t;

/* What applying this command will look at. `command->list` is known by now. Ids in `data` that
 * cannot be read are left out: apply will refuse them. */
void command_refs(const command_t *command, command_refs_t *out);

/* The shards of those streams, or all. */
shard_set_t command_shards(const command_refs_t *refs);

#endif
