/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a command: is it a repeat, who sent it, then its op. Here are the checks and the ways
 * of changing the state that the ops share; the ops themselves stand in apply_task.c,
 * apply_series.c, apply_list.c, apply_member.c and apply_account.c. What somebody may not see is
 * refused in the same words as what is not there. */
#include "schema/apply.h"

#include <assert.h>

#include "schema/apply_op.h"

#define NO_LIST "There is no such list, or you are no member of it."

bool apply_refuse(apply_t *self, err_t err, const char *detail)
{
    self->problem->err = err;
    self->problem->detail = slice_str(detail);
    return false;
}

bool apply_put_off(apply_t *self)
{
    self->out->is_unready = true;
    self->problem->err = ERR_UNAVAILABLE;
    return false;
}

/* --- entering --- */

static bool token_allows(const command_t *command, const uuid_t *list)
{
    if (command->is_actor || command->n_lists == 0)
        return true;
    for (uint32_t i = 0; i < command->n_lists; i++) {
        if (uuid_eq(&command->lists[i], list))
            return true;
    }
    return false;
}

static role_t role_in(apply_t *self, const uuid_t *list, const uuid_t *account)
{
    const member_t *member = state_member(self->state, list, account);
    return member == NULL ? ROLE_NONE : member->role;
}

/* Whether the author may see this list at all. */
static bool sees_list(apply_t *self, const uuid_t *id)
{
    const list_t *list = state_list(self->state, id);
    if (list == NULL || list->deleted_at_us != INSTANT_NONE)
        return false;
    return self->command->is_actor || (token_allows(self->command, id) &&
                                       role_in(self, id, &self->command->author) != ROLE_NONE);
}

static bool find_list(apply_t *self, const char *otherwise)
{
    self->list = state_list(self->state, &self->list_id);
    self->stream = state_stream(self->state, &self->list_id);
    if (self->stream == NULL || !sees_list(self, &self->list_id))
        return apply_refuse(self, ERR_NOT_FOUND, otherwise);
    return true;
}

static bool find_task(apply_t *self, bool even_deleted)
{
    self->task = state_task(self->state, &self->task_id);
    if (self->task == NULL || !uuid_eq(&self->task->task.list, &self->list_id) ||
        (self->task->task.deleted_at_us != INSTANT_NONE && !even_deleted))
        return apply_refuse(self, ERR_NOT_FOUND, APPLY_NO_TASK);
    return true;
}

bool apply_may_write(apply_t *self)
{
    if (self->command->is_actor || (self->command->scopes & SCOPE_WRITE) != 0)
        return true;
    return apply_refuse(self, ERR_FORBIDDEN, "This token may not write.");
}

static bool has_role_in(apply_t *self, const uuid_t *list, role_t least)
{
    if (self->command->is_actor)
        return true;
    if (role_in(self, list, &self->command->author) >= least)
        return true;
    return apply_refuse(self, ERR_FORBIDDEN,
                        least == ROLE_OWNER ? "Only an owner of this list may do that."
                                            : "A viewer may not change this list.");
}

bool apply_is_owner(apply_t *self)
{
    return self->command->is_actor ||
           (token_allows(self->command, &self->list_id) &&
            role_in(self, &self->list_id, &self->command->author) == ROLE_OWNER);
}

bool apply_holds(apply_t *self, const uuid_t *stream)
{
    shard_set_t missing = shard_bit(stream) & ~state_held(self->state);
    self->out->missing |= missing;
    return missing == 0;
}

bool apply_enter_list(apply_t *self, role_t least)
{
    return find_list(self, NO_LIST) && apply_may_write(self) &&
           has_role_in(self, &self->list_id, least);
}

static bool may_edit(apply_t *self, const list_t *list)
{
    if (!apply_may_write(self) || !has_role_in(self, &list->id, ROLE_EDITOR))
        return false;
    if (list->is_archived)
        return apply_refuse(self, ERR_CONFLICT, "This list is archived.");
    return true;
}

bool apply_enter_task(apply_t *self, bool is_there)
{
    return find_list(self, is_there ? APPLY_NO_TASK : NO_LIST) &&
           (!is_there || find_task(self, false)) && may_edit(self, self->list);
}

bool apply_enter_task_to_read(apply_t *self)
{
    return find_list(self, APPLY_NO_TASK) && find_task(self, false) && apply_may_write(self);
}

bool apply_enter_deleted(apply_t *self)
{
    return find_list(self, APPLY_NO_TASK) && find_task(self, true) && may_edit(self, self->list);
}

bool apply_enter_target(apply_t *self, const uuid_t *id)
{
    if (state_stream(self->state, id) == NULL || !sees_list(self, id))
        return apply_refuse(self, ERR_NOT_FOUND, NO_LIST);
    return may_edit(self, state_list(self->state, id));
}

bool apply_is_member(apply_t *self, const uuid_t *account)
{
    return role_in(self, &self->list_id, account) != ROLE_NONE;
}

/* --- the expected revision --- */

bool apply_expect_task(apply_t *self)
{
    if (self->command->expect == 0 || self->command->expect == self->task->task.rev)
        return true;
    if (apply_may_read(self)) {
        task_encode(&self->task->task, &self->scratch);
        self->problem->current = apply_keep(self);
    }
    return apply_refuse(self, ERR_PRECONDITION_FAILED, "The task has another revision.");
}

bool apply_expect_none(apply_t *self)
{
    if (self->command->expect == 0)
        return true;
    return apply_refuse(self, ERR_INVALID, "This op takes no expected revision.");
}

/* --- values --- */

bool apply_open_data(apply_t *self)
{
    /* What is kept of it must live as long as the state. */
    slice_t data = arena_copy(self->arena, self->command->data);
    return data_open(&self->data, data, self->arena, self->problem);
}

bool apply_close_data(apply_t *self)
{
    data_close(&self->data);
    return apply_is_fine(self);
}

/* --- changing --- */

slice_t apply_keep(apply_t *self)
{
    slice_t kept = arena_copy(self->arena, buf_slice(&self->scratch));
    buf_reset(&self->scratch);
    return kept;
}

slice_t apply_empty_map(void)
{
    static const uint8_t empty_map[] = {0x80};
    return slice_of(empty_map, sizeof empty_map);
}

void apply_emit(apply_t *self, stream_t *stream, event_t event)
{
    event.stream = stream->id;
    event.rev = apply_next_rev(stream);
    memcpy(event.epoch, state_epoch(self->state), EPOCH_CHARS);
    event.command = self->command->id;
    event.by = self->command->author;
    event.at_us = self->now_us;
    state_event_t stored = {.event = event, .trace = self->command->trace};
    memcpy(stored.fingerprint, self->command->fingerprint, FINGERPRINT_BYTES);
    state_put_event(self->state, &stored);
    stream->head = event.rev;
    stream->is_dirty = true;
}

/* A number of a series is taken by a task that is not deleted. */
static bool takes_number(const task_t *task)
{
    return task != NULL && task->deleted_at_us == INSTANT_NONE && !uuid_is_nil(&task->series);
}

static void follow_series(state_t *state, const task_t *before, const task_t *after)
{
    bool took = takes_number(before);
    bool takes = takes_number(after);
    if (took && takes && uuid_eq(&before->series, &after->series) &&
        before->occurrence == after->occurrence)
        return;
    if (took)
        state_drop_occurrence(state, &before->series, before->occurrence);
    if (takes)
        state_put_occurrence(state, &after->series, after->occurrence);
}

static void follow_stream(stream_t *stream, const task_t *before, const task_t *after)
{
    bool was_live = before != NULL && task_is_live(before);
    stream->n_open += (int64_t)task_is_live(after) - (int64_t)was_live;
    if (slice_cmp(after->position, stream->tail) > 0)
        stream->tail = after->position;
}

static bool shows_all_fields(event_type_t type)
{
    return type == EVENT_TASK_CREATED || type == EVENT_TASK_REOPENED ||
           type == EVENT_TASK_RESTORED || type == EVENT_TASK_MOVED_IN;
}

static slice_t encode_fields(apply_t *self, const task_t *task, task_fields_t fields)
{
    task_encode_fields(task, fields, &self->scratch);
    return apply_keep(self);
}

/* A node is needed only where a place changes. */
static void follow_place(state_t *state, const task_t *before, const task_t *after,
                         const uuid_t *with)
{
    bool is_same = before != NULL && uuid_eq(&before->list, &after->list) &&
                   uuid_eq(&before->parent, &after->parent) &&
                   before->deleted_at_us == after->deleted_at_us;
    if (!is_same)
        state_put_node(state, after, with);
}

void apply_follow_task(apply_t *self, const task_t *before, const task_t *after, const uuid_t *with)
{
    follow_series(self->state, before, after);
    follow_place(self->state, before, after, with);
}

slice_t apply_change_task(apply_t *self, const task_t *before, event_type_t type, task_t *after,
                          const uuid_t *with)
{
    task_fields_t changed = before == NULL ? TASK_FIELDS_ALL : task_diff(before, after);
    event_t event = {.type = changed == 0 ? EVENT_TASK_UPDATED : type, .task = after->id};
    if (changed != 0) {
        after->rev = apply_next_rev(self->stream);
        after->updated_at_us = self->now_us;
    }
    event.set =
        encode_fields(self, after, shows_all_fields(event.type) ? TASK_FIELDS_ALL : changed);
    event.was = before == NULL ? apply_empty_map() : encode_fields(self, before, changed);
    task_encode(after, &self->scratch);
    event.after = apply_keep(self);
    apply_emit(self, self->stream, event);
    if (changed != 0) {
        const state_task_t *stored = state_task(self->state, &after->id);
        bool is_new = stored == NULL || stored->is_new;
        apply_follow_task(self, before, after, with);
        follow_stream(self->stream, before, after);
        state_put_task(self->state, after, is_new, true)->deleted_with = *with;
    }
    return event.after;
}

void apply_commit_task(apply_t *self, event_type_t type, task_t *after)
{
    const task_t *before = self->task == NULL ? NULL : &self->task->task;
    slice_t body = apply_change_task(self, before, type, after, &UUID_NIL);
    self->task = state_task(self->state, &after->id);
    apply_answer(self, self->stream, &after->id, body);
}

void apply_answer(apply_t *self, const stream_t *stream, const uuid_t *task, slice_t body)
{
    self->out->stream = stream->id;
    self->out->rev = stream->head;
    if (task == NULL)
        return;
    self->out->task = *task;
    if (apply_may_read(self))
        self->out->body = body;
}

/* --- the way of a command --- */

static bool is_same_request(const command_t *command, const seen_t *seen)
{
    static const uint8_t purged[FINGERPRINT_BYTES] = {0};
    uint8_t asked[FINGERPRINT_BYTES];
    memcpy(asked, command->fingerprint, FINGERPRINT_BYTES);
    if (seen->is_sealed)
        command_seal_fingerprint(command->fingerprint, seen->salt, asked);
    return memcmp(seen->fingerprint, purged, FINGERPRINT_BYTES) == 0 ||
           memcmp(seen->fingerprint, asked, FINGERPRINT_BYTES) == 0;
}

/* The first answer again, with the task as it reads now to whoever may still read it. */
static void answer_repeat(apply_t *self, const seen_t *seen)
{
    if (!is_same_request(self->command, seen)) {
        apply_refuse(self, ERR_IDEMPOTENCY_MISMATCH,
                     "You have used this command id for another request.");
        return;
    }
    self->out->is_replay = true;
    self->out->stream = seen->stream;
    self->out->rev = seen->rev;
    self->out->task = seen->task;
    const state_task_t *found = state_task(self->state, &seen->task);
    if (found == NULL || !apply_may_read(self) || !sees_list(self, &found->task.list))
        return;
    task_encode(&found->task, &self->scratch);
    self->out->body = apply_keep(self);
}

static bool check_sender(apply_t *self)
{
    bool is_for_actors = op_from(self->command->op) == OP_FROM_ACTOR;
    if (is_for_actors == self->command->is_actor)
        return true;
    return apply_refuse(self, ERR_FORBIDDEN,
                        is_for_actors ? "Only taskwire itself does that."
                                      : "Actors do not do that.");
}

static const apply_row_t *find_row(const apply_row_t *rows, size_t n_rows, op_t op)
{
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].op == op)
            return &rows[i];
    }
    return NULL;
}

static void run_op(apply_t *self)
{
    op_t op = self->command->op;
    const apply_row_t *row = find_row(apply_task_rows, APPLY_TASK_ROWS, op);
    if (row == NULL)
        row = find_row(apply_tree_rows, APPLY_TREE_ROWS, op);
    if (row == NULL)
        row = find_row(apply_move_rows, APPLY_MOVE_ROWS, op);
    if (row == NULL)
        row = find_row(apply_snooze_rows, APPLY_SNOOZE_ROWS, op);
    if (row == NULL)
        row = find_row(apply_series_rows, APPLY_SERIES_ROWS, op);
    if (row == NULL)
        row = find_row(apply_retime_rows, APPLY_RETIME_ROWS, op);
    if (row == NULL)
        row = find_row(apply_list_rows, APPLY_LIST_ROWS, op);
    if (row == NULL)
        row = find_row(apply_member_rows, APPLY_MEMBER_ROWS, op);
    if (row == NULL)
        row = find_row(apply_account_rows, APPLY_ACCOUNT_ROWS, op);
    if (row == NULL)
        apply_refuse(self, ERR_NOT_IMPLEMENTED, "There is no such op.");
    else if (check_sender(self))
        row->run(self);
}

/* Of one command the events in a stream follow each other, so those that do not reach its head yet
 * have more behind them. */
static void seal_event(apply_t *self, state_event_t *stored)
{
    event_t *event = &stored->event;
    event->more = event->rev < state_stream(self->state, &event->stream)->head;
    event_encode(event, &self->scratch);
    stored->body = apply_keep(self);
    stored->is_answer = uuid_eq(&event->stream, &self->out->stream) && event->rev == self->out->rev;
}

/* Encodes what the op has made, now that all of it is there. The event that the answer names. */
static const state_event_t *seal_events(apply_t *self, size_t n_before)
{
    const state_event_t *answer = NULL;
    for (size_t i = n_before; i < state_n_events(self->state); i++) {
        state_event_t *stored = state_event_at(self->state, i);
        seal_event(self, stored);
        if (stored->is_answer)
            answer = stored;
    }
    assert(answer != NULL && !answer->event.more);
    return answer;
}

/* A repeat in the same batch meets the command here, a later one in the log. */
static void remember(apply_t *self, const state_event_t *answer)
{
    const command_t *command = self->command;
    seen_t seen = {
        .author = command->author,
        .command = command->id,
        .stream = self->out->stream,
        .rev = self->out->rev,
        .task = self->out->task,
        .type = answer->event.type,
    };
    memcpy(seen.fingerprint, command->fingerprint, FINGERPRINT_BYTES);
    state_put_seen(self->state, &seen);
}

void apply(const command_t *command, state_t *state, int64_t now_us, outcome_t *out)
{
    *out = (outcome_t){0};
    apply_t self = {
        .command = command,
        .state = state,
        .arena = state_arena(state),
        .now_us = now_us,
        .out = out,
        .problem = &out->problem,
        .list_id = command_list(command),
        .task_id = command_task(command),
    };
    size_t n_before = state_n_events(state);
    const seen_t *seen = state_seen(state, &command->author, &command->id);
    if (seen != NULL) {
        answer_repeat(&self, seen);
    } else {
        run_op(&self);
        if (apply_is_fine(&self) && out->missing == 0)
            remember(&self, seal_events(&self, n_before));
    }
    buf_fini(&self.scratch);
}
