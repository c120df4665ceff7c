/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of every command whatever it was: a refusal changes nothing, and of what was
 * accepted the events tell everything. Free of any test framework, so that unit tests and fuzzers
 * share it: a check answers NULL, or what is wrong. A snapshot is taken before the command, the
 * check made after it. */
#ifndef TASKWIRE_TESTS_CORE_CHECK_H
#define TASKWIRE_TESTS_CORE_CHECK_H

#include "schema/apply.h"

typedef struct {
    buf_t bytes; /* all that is in the state */
    arena_t *arena; /* of what follows */
    state_t *state; /* streams, lists and encoded tasks as they were */
    slice_t *tasks; /* in the order of state_task_at */
    size_t n_tasks;
    size_t n_events;
} snapshot_t;

static inline void put_bytes(buf_t *out, slice_t bytes)
{
    buf_format(out, "%zu:", bytes.data == NULL ? SIZE_MAX : bytes.n_bytes);
    buf_append_slice(out, bytes);
}

/* Structs are written field by field: padding has no value. */
static inline void dump_rows(state_t *state, buf_t *out)
{
    const stream_t *stream;
    for (size_t i = 0; (stream = state_stream_at(state, i)) != NULL; i++) {
        put_bytes(out, slice_of(stream->id.bytes, UUID_BYTES));
        buf_format(out, "stream %d%d%d %lld %lld", stream->is_new, stream->is_dirty,
                   stream->is_account, (long long)stream->head, (long long)stream->n_open);
        put_bytes(out, stream->tail);
    }
    const list_t *list;
    for (size_t i = 0; (list = state_list_at(state, i)) != NULL; i++) {
        put_bytes(out, slice_of(list->id.bytes, UUID_BYTES));
        buf_format(out, "list %d%d%d %lld %lld %lld %lld %lld %lld", list->is_new, list->is_dirty,
                   list->is_archived, (long long)list->rev, (long long)list->n_owners,
                   (long long)list->n_members, (long long)list->created_at_us,
                   (long long)list->updated_at_us, (long long)list->deleted_at_us);
        put_bytes(out, list->title);
    }
    const member_t *member;
    for (size_t i = 0; (member = state_member_at(state, i)) != NULL; i++) {
        put_bytes(out, slice_of(&member->key, sizeof member->key));
        buf_format(out, "member %d %d %lld", member->is_dirty, member->role,
                   (long long)member->since_us);
    }
}

static inline void dump_accounts(state_t *state, buf_t *out)
{
    const account_t *account;
    for (size_t i = 0; (account = state_account_at(state, i)) != NULL; i++) {
        put_bytes(out, slice_of(account->id.bytes, UUID_BYTES));
        buf_format(out, "account %d%d %lld %lld", account->is_new, account->is_dirty,
                   (long long)account->rev, (long long)account->updated_at_us);
        put_bytes(out, account->email);
        put_bytes(out, account->name);
        put_bytes(out, account->time_zone);
        put_bytes(out, account->password_hash);
    }
    const token_t *token;
    for (size_t i = 0; (token = state_token_at(state, i)) != NULL; i++) {
        put_bytes(out, slice_of(token->id.bytes, UUID_BYTES));
        buf_format(out, "token %d%d %d %u %lld", token->is_new, token->is_deleted, token->kind,
                   token->scopes, (long long)token->expires_at_us);
        put_bytes(out, token->name);
        put_bytes(out, token->hash);
    }
}

/* Everything in the state that can be walked. */
static inline void dump_state(state_t *state, buf_t *out)
{
    dump_rows(state, out);
    dump_accounts(state, out);
    const state_task_t *task;
    for (size_t i = 0; (task = state_task_at(state, i)) != NULL; i++) {
        buf_format(out, "task %d%d", task->is_new, task->is_dirty);
        task_encode(&task->task, out);
        if (!uuid_is_nil(&task->task.series))
            buf_format(out, "%d",
                       state_has_occurrence(state, &task->task.series, task->task.occurrence));
    }
    buf_format(out, "%zu events", state_n_events(state));
}

static inline void snapshot_take(snapshot_t *self, state_t *state)
{
    *self = (snapshot_t){.arena = arena_new(), .n_events = state_n_events(state)};
    dump_state(state, &self->bytes);
    self->state = state_new(self->arena, state_epoch(state));
    const stream_t *stream;
    for (size_t i = 0; (stream = state_stream_at(state, i)) != NULL; i++)
        state_put_stream(self->state, stream);
    while (state_task_at(state, self->n_tasks) != NULL)
        self->n_tasks++;
    self->tasks = arena_alloc(self->arena, (self->n_tasks + 1) * sizeof *self->tasks);
    for (size_t i = 0; i < self->n_tasks; i++) {
        const task_t *task = &state_task_at(state, i)->task;
        buf_t bytes = {0};
        task_encode(task, &bytes);
        self->tasks[i] = arena_copy(self->arena, buf_slice(&bytes));
        buf_fini(&bytes);
        state_put_task(self->state, task, false, false);
    }
}

static inline void snapshot_drop(snapshot_t *self)
{
    buf_fini(&self->bytes);
    arena_destroy(&self->arena);
}

/* The encoded task as it was; absent: it was not there. */
static inline slice_t snapshot_task(const snapshot_t *self, const uuid_t *id)
{
    for (size_t i = 0; i < self->n_tasks; i++) {
        if (uuid_eq(&state_task_at(self->state, i)->task.id, id))
            return self->tasks[i];
    }
    return slice_none();
}

static inline bool is_unchanged(const snapshot_t *before, state_t *state)
{
    buf_t now = {0};
    dump_state(state, &now);
    bool is_equal = slice_eq(buf_slice(&now), buf_slice(&before->bytes));
    buf_fini(&now);
    return is_equal;
}

static inline uint32_t count_pairs(slice_t map)
{
    mp_reader_t reader = mp_reader(map);
    uint32_t n_pairs = 0;
    return mp_get_map(&reader, &n_pairs) ? n_pairs : UINT32_MAX;
}

static inline bool has_value(slice_t map, const char *key, slice_t wanted)
{
    slice_t value = slice_none();
    return mp_map_find(map, key, &value) && slice_eq(value, wanted);
}

static inline bool has_int(slice_t map, const char *key, int64_t wanted)
{
    buf_t value = {0};
    mp_put_int(&value, wanted);
    bool is_equal = has_value(map, key, buf_slice(&value));
    buf_fini(&value);
    return is_equal;
}

static inline bool has_instant(slice_t map, const char *key, int64_t wanted)
{
    buf_t value = {0};
    mp_put_instant(&value, wanted);
    bool is_equal = has_value(map, key, buf_slice(&value));
    buf_fini(&value);
    return is_equal;
}

/* One field of a task: `set` laid over what was gives what is, and `was` has what was. */
static inline const char *check_field(const event_t *event, slice_t before, const char *name)
{
    slice_t now = slice_none();
    slice_t new_value = slice_none();
    slice_t former = slice_none();
    slice_t old_value = slice_none();
    mp_map_find(event->after, name, &now);
    bool is_set = mp_map_find(event->set, name, &new_value);
    bool was_there = before.data != NULL && mp_map_find(before, name, &former);
    bool is_different = !was_there || !slice_eq(former, now);
    if (!slice_eq(is_set ? new_value : former, now))
        return "`set` over the task before is not the task after";
    if (is_different && !is_set)
        return "`set` lacks a field that changed";
    if (mp_map_find(event->was, name, &old_value) != (was_there && is_different))
        return "`was` has other fields than those that changed";
    if (old_value.data != NULL && !slice_eq(old_value, former))
        return "`was` has another value than the task had";
    return NULL;
}

/* To those who see only this list the task is gone, and nothing more is said. */
static inline const char *check_moved_out(const event_t *event, state_t *state)
{
    const state_task_t *stored = state_task(state, &event->task);
    if (count_pairs(event->set) != 0 || count_pairs(event->was) != 0 || event->after.data != NULL)
        return "what moved out says more than that";
    return stored == NULL || uuid_eq(&stored->task.list, &event->stream)
               ? "what moved out is still there"
               : NULL;
}

static inline bool is_full_event(event_type_t type)
{
    return type == EVENT_TASK_CREATED || type == EVENT_TASK_REOPENED ||
           type == EVENT_TASK_RESTORED || type == EVENT_TASK_MOVED_IN;
}

/* In an account's stream: it is of no task's making, and says nothing of how the task is. */
static inline const char *check_dismissed(const event_t *event)
{
    if (!uuid_eq(&event->stream, &event->by))
        return "a dismissal is not in the stream of who dismissed";
    if (count_pairs(event->set) != 0 || count_pairs(event->was) != 0 || event->after.data != NULL ||
        count_pairs(event->reminder) != 2)
        return "a dismissal says more than that";
    return NULL;
}

static inline const char *check_task_event(const event_t *event, slice_t before, state_t *state)
{
    bool is_full = is_full_event(event->type);
    if (event->type == EVENT_REMINDER_DISMISSED)
        return check_dismissed(event);
    if (event->type == EVENT_TASK_MOVED_OUT)
        return check_moved_out(event, state);
    if (event->type == EVENT_TASK_MOVED_IN)
        before = slice_none(); /* in this list it was not there */
    for (task_field_t field = 0; field < TASK_N_FIELDS; field++) {
        const char *wrong = check_field(event, before, task_field_name(field));
        if (wrong != NULL)
            return wrong;
    }
    uint32_t n_set = count_pairs(event->set);
    if (is_full && n_set != TASK_N_FIELDS)
        return "an event that shows all fields does not";
    bool is_quiet = n_set == 0;
    if (is_quiet && !slice_eq(before, event->after))
        return "an empty `set` changed the task";
    if (is_quiet && event->type != EVENT_TASK_UPDATED && event->type != EVENT_REMINDER_DUE)
        return "an empty `set` has the type of a change";
    if (!is_quiet && (!has_int(event->after, "rev", event->rev) ||
                      !has_instant(event->after, "updated_at", event->at_us)))
        return "rev and updated_at are not the event's";
    const state_task_t *stored = state_task(state, &event->task);
    buf_t now = {0};
    if (stored != NULL)
        task_encode(&stored->task, &now);
    bool is_stored = slice_eq(buf_slice(&now), event->after);
    buf_fini(&now);
    return is_stored ? NULL : "the task in the state is not the event's";
}

static inline const char *check_body(const state_event_t *stored, arena_t *arena)
{
    event_t event;
    task_t task;
    buf_t again = {0};
    if (!mp_is_canonical(stored->body) || !event_decode(stored->body, &event))
        return "the body is no event";
    event_encode(&event, &again);
    bool is_same = slice_eq(buf_slice(&again), stored->body);
    buf_reset(&again);
    if (event.after.data != NULL && task_decode(event.after, arena, &task)) {
        task_encode(&task, &again);
        is_same = is_same && slice_eq(buf_slice(&again), event.after);
    }
    buf_fini(&again);
    return is_same ? NULL : "the body is another once it was decoded";
}

static inline const char *check_event(const snapshot_t *before, state_t *state, size_t i,
                                      const command_t *command, const outcome_t *out,
                                      int64_t now_us)
{
    const state_event_t *stored = state_event_at(state, i);
    const event_t *event = &stored->event;
    const stream_t *was = state_stream(before->state, &event->stream);
    int64_t rev = was == NULL ? 1 : was->head + 1;
    for (size_t j = before->n_events; j < i; j++)
        rev += uuid_eq(&state_event_at(state, j)->event.stream, &event->stream);
    bool has_more = false;
    for (size_t j = i + 1; j < state_n_events(state); j++)
        has_more = has_more || uuid_eq(&state_event_at(state, j)->event.stream, &event->stream);
    if (event->rev != rev)
        return "a rev is not the next one";
    if (event->more != has_more)
        return "`more` is wrong";
    if (stored->is_answer != (uuid_eq(&event->stream, &out->stream) && event->rev == out->rev))
        return "another event than the one that was answered calls itself so";
    if (!uuid_eq(&event->by, &command->author) || !uuid_eq(&event->command, &command->id) ||
        event->at_us != now_us || memcmp(event->epoch, state_epoch(state), EPOCH_CHARS) != 0 ||
        memcmp(stored->fingerprint, command->fingerprint, FINGERPRINT_BYTES) != 0)
        return "the event is not of this command";
    if (!uuid_is_nil(&event->task)) {
        const char *wrong = check_task_event(event, snapshot_task(before, &event->task), state);
        if (wrong != NULL)
            return wrong;
    }
    return check_body(stored, before->arena);
}

/* What a list says of its tasks and members must be what can be counted. The state has all of them.
 */
static inline const char *check_list(state_t *state, const list_t *list)
{
    const stream_t *stream = state_stream(state, &list->id);
    int64_t n_open = 0;
    int64_t n_owners = 0;
    int64_t n_members = 0;
    const state_task_t *task;
    const member_t *member;
    for (size_t i = 0; (task = state_task_at(state, i)) != NULL; i++) {
        if (!uuid_eq(&task->task.list, &list->id))
            continue;
        n_open += task_is_live(&task->task);
        if (slice_cmp(task->task.position, stream->tail) > 0)
            return "a task lies behind the tail";
    }
    for (size_t i = 0; (member = state_member_at(state, i)) != NULL; i++) {
        n_owners += uuid_eq(&member->key.list, &list->id) && member->role == ROLE_OWNER;
        n_members += uuid_eq(&member->key.list, &list->id) && member->role != ROLE_NONE;
    }
    if (stream->n_open != n_open)
        return "n_open is not the number of live tasks";
    if (list->n_owners != n_owners || n_owners == 0)
        return "n_owners is not the number of owners";
    if (list->n_members != n_members)
        return "n_members is not the number of members";
    return NULL;
}

/* A task that is there is under one that is there, in the same list and not too deep; and the state
 * knows the place of each. */
static inline const char *check_place(state_t *state, const task_t *task)
{
    const node_t *node = state_node(state, &task->id);
    int n_levels = 1;
    if (node == NULL || !node->is_there || !uuid_eq(&node->list, &task->list) ||
        node->is_deleted != (task->deleted_at_us != INSTANT_NONE) ||
        !uuid_eq(node->parent == NULL ? &UUID_NIL : &node->parent->id, &task->parent))
        return "the place of a task is not what the task says";
    if (task->deleted_at_us != INSTANT_NONE)
        return NULL;
    for (const task_t *t = task; !uuid_is_nil(&t->parent); n_levels++) {
        const state_task_t *parent = state_task(state, &t->parent);
        if (parent == NULL || parent->task.deleted_at_us != INSTANT_NONE ||
            !uuid_eq(&parent->task.list, &task->list))
            return "a task is under one that is not there";
        if (n_levels == LIMIT_TASK_LEVELS)
            return "a task is too deep, or under itself";
        t = &parent->task;
    }
    return NULL;
}

static inline const char *check_whole(state_t *state)
{
    const list_t *list;
    const state_task_t *task;
    for (size_t i = 0; (list = state_list_at(state, i)) != NULL; i++) {
        const char *wrong = check_list(state, list);
        if (wrong != NULL)
            return wrong;
    }
    for (size_t i = 0; (task = state_task_at(state, i)) != NULL; i++) {
        const task_t *t = &task->task;
        if (!uuid_is_nil(&t->series) && t->deleted_at_us == INSTANT_NONE &&
            !state_has_occurrence(state, &t->series, t->occurrence))
            return "a number of a series is not taken";
        if (task_is_live(t) != (t->deleted_at_us == INSTANT_NONE && t->closed_rev == 0))
            return "closed_rev does not fit the status";
        const char *wrong = check_place(state, t);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static inline const char *check_answer(state_t *state, const command_t *command,
                                       const outcome_t *out)
{
    const stream_t *stream = state_stream(state, &out->stream);
    const seen_t *seen = state_seen(state, &command->author, &command->id);
    if (stream == NULL || out->rev != stream->head)
        return "the answer's rev is not the head of its stream";
    if (seen == NULL || !uuid_eq(&seen->stream, &out->stream) || seen->rev != out->rev ||
        !uuid_eq(&seen->task, &out->task))
        return "the command is not remembered as it was answered";
    if (out->body.data == NULL)
        return NULL;
    buf_t task = {0};
    task_encode(&state_task(state, &out->task)->task, &task);
    bool is_same = slice_eq(buf_slice(&task), out->body);
    buf_fini(&task);
    return is_same ? NULL : "the answer's task is not the one in the state";
}

/* Sends the command again, and then another one of the same id. */
static inline const char *check_repeat(state_t *state, const command_t *command,
                                       const outcome_t *first, int64_t now_us)
{
    snapshot_t before;
    outcome_t again;
    outcome_t other;
    command_t changed = *command;
    changed.fingerprint[0] ^= 1;
    snapshot_take(&before, state);
    apply(command, state, now_us + 1, &again);
    apply(&changed, state, now_us + 1, &other);
    bool is_quiet = is_unchanged(&before, state);
    snapshot_drop(&before);
    if (!is_quiet)
        return "a repeat changed something";
    if (again.problem.err != ERR_OK || !again.is_replay || again.rev != first->rev ||
        !uuid_eq(&again.stream, &first->stream) || !uuid_eq(&again.task, &first->task))
        return "a repeat has another answer";
    if (!slice_eq(again.body, first->body))
        return "a repeat shows another task";
    if (other.problem.err != ERR_IDEMPOTENCY_MISMATCH)
        return "another request with the same id is taken for a repeat";
    return NULL;
}

static inline const char *check_refusal(const snapshot_t *before, state_t *state,
                                        const command_t *command, const outcome_t *out)
{
    if (!is_unchanged(before, state))
        return "a refusal changed the state";
    if (state_seen(state, &command->author, &command->id) != NULL &&
        out->problem.err != ERR_IDEMPOTENCY_MISMATCH)
        return "a refusal is remembered";
    if (err_action(out->problem.err) != ERR_DO_REJECT)
        return "a refusal has an error that is none";
    if (out->problem.err == ERR_INVALID && out->problem.n_fields == 0 &&
        out->problem.detail.data == NULL)
        return "a refusal does not say why";
    return NULL;
}

static inline const char *check_success(const snapshot_t *before, state_t *state,
                                        const command_t *command, const outcome_t *out,
                                        int64_t now_us)
{
    size_t n_events = state_n_events(state);
    if (n_events == before->n_events)
        return "a success made no event";
    for (size_t i = before->n_events; i < n_events; i++) {
        const char *wrong = check_event(before, state, i, command, out, now_us);
        if (wrong != NULL)
            return wrong;
    }
    const char *wrong = check_answer(state, command, out);
    if (wrong == NULL)
        wrong = check_whole(state);
    return wrong != NULL ? wrong : check_repeat(state, command, out, now_us);
}

/* What is wrong with what the command did, or NULL. */
static inline const char *check_outcome(const snapshot_t *before, state_t *state,
                                        const command_t *command, const outcome_t *out,
                                        int64_t now_us)
{
    if (out->problem.err != ERR_OK)
        return check_refusal(before, state, command, out);
    if (out->is_replay)
        return is_unchanged(before, state) ? NULL : "a repeat changed the state";
    if (out->missing != 0)
        return is_unchanged(before, state) ? NULL : "who lacks locks changed the state";
    return check_success(before, state, command, out, now_us);
}

#endif
