/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch has loaded under its shard locks, and what its commands make of it: the state that
 * apply works on. It lives in the batch's arena. Everything put here by loading is clean; what
 * apply puts is dirty, and the writer stores just that. */
#ifndef TASKWIRE_STATE_H
#define TASKWIRE_STATE_H

#include "schema/command.h"
#include "schema/event.h"
#include "schema/task.h"

typedef enum { ROLE_NONE, ROLE_VIEWER, ROLE_EDITOR, ROLE_OWNER } role_t;

/* The word for a role; ROLE_NONE has "none". role_of: ROLE_NONE if the word is no role. */
const char *role_name(role_t role);
role_t role_of(slice_t name);

typedef struct {
    uuid_t id;
    bool is_new;
    bool is_dirty;
    bool is_account; /* else a list */
    int64_t head; /* the newest rev; 0: none yet */
    slice_t tail; /* the highest position ever given in it; empty: none */
    int64_t n_open; /* live tasks in it */
} stream_t;

typedef struct {
    uuid_t id;
    bool is_new;
    bool is_dirty;
    int64_t rev; /* of the last event that changed the list itself */
    slice_t title;
    bool is_archived;
    int64_t n_owners; /* members with that role; one stays */
    int64_t n_members;
    int64_t created_at_us;
    uuid_t created_by;
    int64_t updated_at_us;
    int64_t deleted_at_us;
} list_t;

typedef struct {
    member_key_t key;
    bool is_dirty;
    role_t role; /* ROLE_NONE: is no member (any more) */
    int64_t since_us;
} member_t;

typedef struct {
    uuid_t id;
    bool is_new;
    bool is_dirty;
    int64_t rev;
    slice_t email; /* as given; compared in lower case */
    slice_t name; /* may be empty */
    slice_t time_zone;
    slice_t all_day_time; /* when all-day tasks remind, HH:MM */
    slice_t password_hash; /* argon2id in PHC form */
    int64_t created_at_us;
    int64_t updated_at_us;
    int64_t n_lists; /* that it is in, for account.delete; as they were before this batch */
    bool is_deleted; /* by this batch: it is not found any more */
} account_t;

typedef enum { TOKEN_SESSION, TOKEN_API } token_kind_t;

typedef struct {
    uuid_t id;
    uuid_t account;
    bool is_new;
    bool is_deleted; /* by this batch */
    token_kind_t kind;
    slice_t name;
    slice_t hash; /* 32 bytes: BLAKE2b of the secret */
    uint32_t scopes;
    const uuid_t *lists;
    uint32_t n_lists;
    int64_t created_at_us;
    int64_t expires_at_us; /* INSTANT_NONE: never */
} token_t;

/* A stored task and what became of it in this batch. */
typedef struct state_task {
    task_t task;
    bool is_new;
    bool is_dirty;
    bool is_reworded; /* its title, notes or tags are not what is stored */
    uuid_t deleted_with; /* the task that took it along when that was deleted; nil: none did */
    struct state_task *next_of_series; /* the one that was put after it; see state_series */
} state_task_t;

/* A task's place among others, known without the task itself. A node has the subtasks that are not
 * deleted, and, once it is deleted, those that it took along. */
typedef struct node {
    uuid_t id;
    bool is_there; /* else only another one's parent, not loaded */
    bool is_deleted;
    uuid_t list;
    size_t n_bytes; /* of the stored task */
    struct node *parent; /* NULL: none */
    struct node *first_child; /* not deleted … */
    struct node *first_taken; /* … and deleted with it */
    struct node *next; /* of the same parent, or taken along by the same task */
    struct node **link; /* what points here; NULL: it is in neither of those lists */
} node_t;

/* Some nodes. */
typedef struct {
    node_t **items;
    size_t n_items;
} nodes_t;

/* A command that was applied before: the first answer. */
typedef struct {
    uuid_t author;
    uuid_t command;
    uuid_t stream;
    int64_t rev; /* of its last event in that stream */
    uuid_t task; /* nil: none */
    event_type_t type; /* of that event */
    uint8_t fingerprint[FINGERPRINT_BYTES]; /* all zero: purged, matches anything */
    bool is_sealed; /* the fingerprint is as it is stored, with this salt: */
    uint8_t salt[SALT_BYTES];
} seen_t;

/* An event to be stored, already encoded. */
typedef struct {
    event_t event; /* its slices are in the arena */
    slice_t body; /* the canonical bytes */
    bool is_answer; /* the one that the command's answer names, and its id is found by */
    uint8_t fingerprint[FINGERPRINT_BYTES];
    trace_t trace; /* of its command */
} state_event_t;

typedef struct state state_t;

/* An empty state in this arena; it goes with the arena. `epoch` has EPOCH_CHARS characters. */
state_t *state_new(arena_t *arena, const char *epoch);

/* The shards whose locks the batch has; all of them unless something else is said. */
void state_hold(state_t *self, shard_set_t shards);
shard_set_t state_held(const state_t *self);

arena_t *state_arena(state_t *self);
const char *state_epoch(const state_t *self);

/* --- what is there; NULL if it is not. Pointers stay valid as long as the state. --- */

stream_t *state_stream(state_t *self, const uuid_t *id);
list_t *state_list(state_t *self, const uuid_t *id);
/* Also those with ROLE_NONE. */
member_t *state_member(state_t *self, const uuid_t *list, const uuid_t *account);
account_t *state_account(state_t *self, const uuid_t *id);
token_t *state_token(state_t *self, const uuid_t *id);
state_task_t *state_task(state_t *self, const uuid_t *id);
seen_t *state_seen(state_t *self, const uuid_t *author, const uuid_t *command);
/* Whether there is an account at all: any of these, or one that was said to be (see
 * state_put_any_account). */
bool state_has_any_account(const state_t *self);
node_t *state_node(state_t *self, const uuid_t *id);
/* The subtasks of a task at all depths, as far as they are not deleted, each before what it is
 * under. */
nodes_t state_subtasks(state_t *self, node_t *node);
/* Those that it took along when it was deleted, in no order. */
nodes_t state_taken(state_t *self, node_t *node);
/* The first of the tasks of a series, deleted or not, in the order in which they were put; the
 * others follow by `next_of_series`. NULL: there is none. A task keeps its series for ever. */
state_task_t *state_series(state_t *self, const uuid_t *series);
/* Whether a task of the series with that number exists and is not deleted. */
bool state_has_occurrence(state_t *self, const uuid_t *series, int64_t occurrence);
/* The same of any number behind that one. */
bool state_has_occurrence_after(state_t *self, const uuid_t *series, int64_t occurrence);

/* --- putting: the struct is copied (its slices are not), a former one of the same key replaced in
 * place --- */

stream_t *state_put_stream(state_t *self, const stream_t *stream);
list_t *state_put_list(state_t *self, const list_t *list);
member_t *state_put_member(state_t *self, const member_t *member);
account_t *state_put_account(state_t *self, const account_t *account);
/* There are accounts, which need not be loaded. */
void state_put_any_account(state_t *self);
token_t *state_put_token(state_t *self, const token_t *token);
/* Who took a deleted task along stays known until it is no longer deleted. */
state_task_t *state_put_task(state_t *self, const task_t *task, bool is_new, bool is_dirty);
/* Where a task is now. `with`: the task that took it along when it was deleted, nil for none. */
node_t *state_put_node(state_t *self, const task_t *task, const uuid_t *with);
seen_t *state_put_seen(state_t *self, const seen_t *seen);
void state_put_occurrence(state_t *self, const uuid_t *series, int64_t occurrence);
/* The task of that number was deleted: it may be made again. */
void state_drop_occurrence(state_t *self, const uuid_t *series, int64_t occurrence);
/* Appends to the events of this batch. */
state_event_t *state_put_event(state_t *self, const state_event_t *event);

/* --- walking what is there, in the order in which it was put: i from 0 while the answer is not
 * NULL --- */

stream_t *state_stream_at(state_t *self, size_t i);
list_t *state_list_at(state_t *self, size_t i);
member_t *state_member_at(state_t *self, size_t i);
account_t *state_account_at(state_t *self, size_t i);
token_t *state_token_at(state_t *self, size_t i);
state_task_t *state_task_at(state_t *self, size_t i);
state_event_t *state_event_at(state_t *self, size_t i);
size_t state_n_events(const state_t *self);

#endif
