/* SPDX-License-Identifier: Apache-2.0 */
/* What apply.c and the ops share: the command under way, the checks that come in the same order for
 * every op, and the few ways in which the state changes. An op first makes its changed copies; from
 * the first apply_commit_… or apply_emit on nothing may fail any more, so that a refusal has
 * changed nothing. Only apply*.c include this. */
#ifndef TASKWIRE_APPLY_OP_H
#define TASKWIRE_APPLY_OP_H

#include "schema/apply.h"
#include "schema/data.h"

/* A command under way. */
typedef struct {
    const command_t *command;
    state_t *state;
    arena_t *arena;
    int64_t now_us;
    outcome_t *out;
    problem_t *problem; /* of the outcome */
    data_map_t data; /* opened by apply_open_data */
    buf_t scratch; /* for encoding; empty between calls */
    uuid_t list_id;
    uuid_t task_id;
    stream_t *stream; /* set by the entering checks */
    list_t *list;
    state_task_t *task;
} apply_t;

/* An op and what does it. */
typedef struct {
    op_t op;
    void (*run)(apply_t *self);
} apply_row_t;

#define APPLY_TASK_ROWS 4
#define APPLY_TREE_ROWS 2
#define APPLY_MOVE_ROWS 1
#define APPLY_SNOOZE_ROWS 2
#define APPLY_SERIES_ROWS 2
#define APPLY_RETIME_ROWS 1
#define APPLY_LIST_ROWS 4
#define APPLY_MEMBER_ROWS 3
#define APPLY_ACCOUNT_ROWS 5

extern const apply_row_t apply_task_rows[APPLY_TASK_ROWS];
extern const apply_row_t apply_tree_rows[APPLY_TREE_ROWS];
extern const apply_row_t apply_move_rows[APPLY_MOVE_ROWS];
extern const apply_row_t apply_snooze_rows[APPLY_SNOOZE_ROWS];
extern const apply_row_t apply_series_rows[APPLY_SERIES_ROWS];
extern const apply_row_t apply_retime_rows[APPLY_RETIME_ROWS];
extern const apply_row_t apply_list_rows[APPLY_LIST_ROWS];
extern const apply_row_t apply_member_rows[APPLY_MEMBER_ROWS];
extern const apply_row_t apply_account_rows[APPLY_ACCOUNT_ROWS];

/* --- refusing --- */

/* Refuses the command. Always false, so that a check can end with it. */
bool apply_refuse(apply_t *self, err_t err, const char *detail);

/* Puts the command off until the state has what it needs. Always false. */
bool apply_put_off(apply_t *self);

/* Whether no value has been refused so far. */
static inline bool apply_is_fine(const apply_t *self)
{
    return self->problem->err == ERR_OK;
}

/* --- entering: existence as the author may see it, then role and scope --- */

/* The list of the command, for a member of at least that role. Sets list and stream.
 * Errors: NOT_FOUND, FORBIDDEN. */
bool apply_enter_list(apply_t *self, role_t least);

/* The same for work on tasks: an editor, a list that is not archived, and, unless the op makes it,
 * a task of that list that is not deleted. Sets task as well. Errors: NOT_FOUND, FORBIDDEN,
 * CONFLICT. */
bool apply_enter_task(apply_t *self, bool is_there);

/* The same for what every member may do with a task, archived lists included, and changes nothing
 * in it: a viewer suffices, but the token must be one that writes. Errors: NOT_FOUND, FORBIDDEN. */
bool apply_enter_task_to_read(apply_t *self);

/* The same for a task that may be deleted. */
bool apply_enter_deleted(apply_t *self);

/* Another list, for an editor of it too. Errors: NOT_FOUND, FORBIDDEN, CONFLICT. */
bool apply_enter_target(apply_t *self, const uuid_t *id);

/* Whether the token has the scope that writing needs; actors have it. Errors: FORBIDDEN. */
bool apply_may_write(apply_t *self);

/* Whether the author owns the command's list, or is one of the program's actors. */
bool apply_is_owner(apply_t *self);

/* Whether the batch has the lock of this stream's shard. If not it is noted as missing: the op must
 * end without having changed anything, and will be run again. */
bool apply_holds(apply_t *self, const uuid_t *stream);

/* Whether the token is restricted to some lists. */
static inline bool apply_is_restricted(const apply_t *self)
{
    return !self->command->is_actor && self->command->n_lists > 0;
}

/* Whether the outcome may show what the command is about, when it may be entered. */
static inline bool apply_may_read(const apply_t *self)
{
    return self->command->is_actor || (self->command->scopes & SCOPE_READ) != 0;
}

/* --- the expected revision --- */

/* Whether the task is as the author saw it. Errors: PRECONDITION_FAILED with the task. */
bool apply_expect_task(apply_t *self);

/* For ops that change nothing which has a revision of its own. Errors: INVALID. */
bool apply_expect_none(apply_t *self);

/* --- values --- */

/* Opens the command's data. Errors: INVALID. */
bool apply_open_data(apply_t *self);

/* For ops without data, or at the end of reading. Errors: INVALID, also for what was noted before.
 */
bool apply_close_data(apply_t *self);

/* --- changing --- */

/* The rev that the next event of this stream gets. */
static inline int64_t apply_next_rev(const stream_t *stream)
{
    return stream->head + 1;
}

/* What has been encoded into `scratch`, in the arena; `scratch` is empty again. */
slice_t apply_keep(apply_t *self);

/* A map without pairs. */
slice_t apply_empty_map(void);

/* Appends an event to the stream. Of `event` type, task, set, was, after and reminder are used. An
 * op may make several events in several streams; in the stream that its answer names, the event
 * that is the command's own comes last. It is encoded, and told whether more follow, once the op is
 * through. */
void apply_emit(apply_t *self, stream_t *stream, event_t event);

/* Stores a task of the command's list, changed or new (`before` is NULL), and says so in an event:
 * of all fields where `type` wants them, else of those that differ from what is there; if none
 * differs, task.updated with an empty `set`, and the task stays as it is. `with`: the task that
 * takes this one along when it is deleted. The task encoded. */
slice_t apply_change_task(apply_t *self, const task_t *before, event_type_t type, task_t *after,
                          const uuid_t *with);

/* The same for the command's own task, and answers it. */
void apply_commit_task(apply_t *self, event_type_t type, task_t *after);

/* What follows from a task that is there now in place of `before`, NULL for none: numbers of its
 * series, and its place among others. */
void apply_follow_task(apply_t *self, const task_t *before, const task_t *after,
                       const uuid_t *with);

/* Who is no member of the list that the task is to be in is neither to do it nor to be reminded of
 * it. False, and put off: somebody's membership is not known. */
bool apply_drop_strangers(apply_t *self, task_t *task);

/* All subtasks of the command's task. False, and put off: they are not known. */
bool apply_find_subtasks(apply_t *self, nodes_t *out);

/* The tasks of these nodes, in their order. False, and put off: one is not loaded. */
bool apply_load_tasks(apply_t *self, const nodes_t *nodes, const task_t ***out);

/* Whether there is room under `parent` for a task with `n_more` others below it, of which the
 * deepest is `n_levels` below. What is wrong with it, or NULL. */
const char *apply_refuse_place(const apply_t *self, node_t *parent, size_t n_more, size_t n_levels);

/* How many levels lie between a node and one that is above it or the topmost. */
size_t apply_levels_up(const node_t *node, const node_t *to);

/* What the command's answer names: the stream with the rev of its last event so far, and the task,
 * NULL for none, with its encoding. That event is the one by which a repeat is recognised, so this
 * comes behind the last event in that stream. */
void apply_answer(apply_t *self, const stream_t *stream, const uuid_t *task, slice_t body);

/* Gives the account that role in the command's list, ROLE_NONE to take it away; the list's numbers
 * of owners and members follow. */
void apply_put_member(apply_t *self, const uuid_t *account, role_t role);

/* Tells the account, in its own stream, that it is in the command's list from now on, or no longer.
 * A title is left out if it is absent. */
void apply_emit_joined(apply_t *self, const uuid_t *account, role_t role, slice_t title);
void apply_emit_left(apply_t *self, const uuid_t *account, role_t was);

/* Lays the fields of the command's data over `task`, of which `before` is the stored form, NULL if
 * it is new. Computed fields follow, but for those that come with a change of status. Notes what is
 * wrong. */
void apply_read_task(apply_t *self, const task_t *before, task_t *task);

/* Takes away how a task recurs; it stays in its series. */
void apply_clear_recurrence(task_t *task);

/* The part of it about time: due date and zone, recurrence, reminders. */
void apply_read_schedule(apply_t *self, const task_t *before, task_t *task);

/* --- series (apply_occurrence.c) --- */

/* A next occurrence that is taken back, with its subtasks. */
typedef struct {
    const task_t *task; /* NULL: none */
    const task_t **subtasks;
    size_t n_subtasks;
} take_back_t;

/* The next occurrence of a task that is about to be open again: to be taken back if nobody has
 * touched it, else noted in the outcome. False, and put off: its subtasks are not known. */
bool apply_find_next(apply_t *self, const task_t *task, take_back_t *out);

/* Deletes it. */
void apply_take_back(apply_t *self, const take_back_t *next);

/* Ends the series of a task that is being deleted: its other open occurrences are deleted, and the
 * last one, if it is closed, recurs no more. False, and put off: not all is known. */
bool apply_end_series(apply_t *self, const task_t *task);

/* Open copies of what is under a closed occurrence. */
typedef struct {
    task_t *items; /* each before what it is under */
    size_t n_items;
    size_t n_levels; /* of them */
} copies_t;

/* The reminders of a task in one that is made after it: those before the due date, with ids of
 * their own. */
void apply_inherit_reminders(const task_t *before, task_t *task);

/* How many subtasks of an occurrence were to be copied before that instant. False, and put off: not
 * all is known. */
bool apply_count_copied(apply_t *self, const task_t *before, int64_t until_us, size_t *out);

/* Makes copies for the occurrence that follows `before`; due dates move as far as its own did.
 * False, and put off: not all is known. */
bool apply_copy_subtasks(apply_t *self, const task_t *before, const task_t *next, copies_t *out);

/* Whether the account is a member of the command's list now. */
bool apply_is_member(apply_t *self, const uuid_t *account);

#endif
