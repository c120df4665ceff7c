/* SPDX-License-Identifier: Apache-2.0 */
/* A small world for tests of the core: four accounts, two lists, and commands written as JSON.
 * Every command is checked (core_check.h) however it ends. Define CORE_FAIL(text) before including
 * this to end a test in another way than by abort(). */
#ifndef TASKWIRE_TESTS_CORE_H
#define TASKWIRE_TESTS_CORE_H

#include <stdio.h>
#include <stdlib.h>

#include "core_check.h"
#include "schema/json.h"

#ifndef CORE_FAIL
#define CORE_FAIL(text) (fprintf(stderr, "%s\n", text), abort())
#endif

#define CORE_EPOCH "0123456789abcdef"

/* 2026-11-23T08:00:00Z, a Monday */
#define CORE_NOW_US (INT64_C(1795420800) * US_PER_S)

/* Whoever is needed: an owner, an editor and a viewer of `list`, and a stranger, who owns `other`.
 */
typedef struct {
    arena_t *arena;
    state_t *state;
    int64_t now_us;
    uuid_t anna;
    uuid_t ben;
    uuid_t vera;
    uuid_t stan;
    uuid_t list;
    uuid_t other;

    /* For the next command only. */
    uuid_t id; /* nil: a new one */
    uuid_t in; /* nil: `list` */
    int64_t expect;
    uint32_t scopes;
    const uuid_t *lists;
    uint32_t n_lists;

    unsigned n_commands;
    command_t command; /* the last one, */
    outcome_t out; /* and what became of it */
} core_t;

/* The id of that number, different for each. */
static inline uuid_t core_id(unsigned number)
{
    uuid_t id = {{0x01, 0x93, 0x57, 0, 0, 0, 0x70, 0, 0x80}};
    for (size_t i = 0; i < 4; i++)
        id.bytes[15 - i] = (uint8_t)(number >> 8 * i);
    return id;
}

/* An id as text, for JSON. */
static inline const char *core_text(core_t *self, const uuid_t *id)
{
    char *text = arena_alloc(self->arena, UUID_TEXT_CHARS + 1);
    uuid_format(id, text);
    return text;
}

static inline void core_add_account(core_t *self, uuid_t *id, unsigned number, const char *zone)
{
    *id = core_id(number);
    stream_t stream = {.id = *id, .is_account = true, .head = 1};
    account_t account = {
        .id = *id,
        .rev = 1,
        .email = arena_format(self->arena, "%u@example.org", number),
        .name = slice_str("Somebody"),
        .time_zone = slice_str(zone),
        .all_day_time = slice_str("09:00"),
        .password_hash = slice_str("$argon2id$hash"),
        .created_at_us = CORE_NOW_US - US_PER_DAY,
        .updated_at_us = CORE_NOW_US - US_PER_DAY,
    };
    state_put_stream(self->state, &stream);
    state_put_account(self->state, &account);
}

static inline void core_add_member(core_t *self, const uuid_t *list, const uuid_t *account,
                                   role_t role)
{
    const member_t *before = state_member(self->state, list, account);
    role_t former = before == NULL ? ROLE_NONE : before->role;
    member_t member = {.key = {*list, *account}, .role = role, .since_us = CORE_NOW_US};
    state_put_member(self->state, &member);
    list_t *there = state_list(self->state, list);
    there->n_owners += (role == ROLE_OWNER) - (former == ROLE_OWNER);
    there->n_members += (role != ROLE_NONE) - (former != ROLE_NONE);
}

static inline void core_add_list(core_t *self, uuid_t *id, unsigned number, const uuid_t *owner)
{
    *id = core_id(number);
    stream_t stream = {.id = *id, .head = 1};
    list_t list = {
        .id = *id,
        .rev = 1,
        .title = slice_str("Home"),
        .created_at_us = CORE_NOW_US - US_PER_DAY,
        .created_by = *owner,
        .updated_at_us = CORE_NOW_US - US_PER_DAY,
        .deleted_at_us = INSTANT_NONE,
    };
    state_put_stream(self->state, &stream);
    state_put_list(self->state, &list);
    core_add_member(self, id, owner, ROLE_OWNER);
}

static inline void core_next(core_t *self)
{
    self->id = UUID_NIL;
    self->in = UUID_NIL;
    self->expect = 0;
    self->scopes = SCOPE_READ | SCOPE_WRITE;
    self->lists = NULL;
    self->n_lists = 0;
}

static inline void core_init(core_t *self)
{
    *self = (core_t){.arena = arena_new(), .now_us = CORE_NOW_US};
    self->state = state_new(self->arena, CORE_EPOCH);
    core_add_account(self, &self->anna, 0xa1, "Europe/Zurich");
    core_add_account(self, &self->ben, 0xa2, "America/New_York");
    core_add_account(self, &self->vera, 0xa3, "UTC");
    core_add_account(self, &self->stan, 0xa4, "UTC");
    core_add_list(self, &self->list, 0xb1, &self->anna);
    core_add_list(self, &self->other, 0xb2, &self->stan);
    core_add_member(self, &self->list, &self->ben, ROLE_EDITOR);
    core_add_member(self, &self->list, &self->vera, ROLE_VIEWER);
    core_next(self);
}

static inline void core_fini(core_t *self)
{
    arena_destroy(&self->arena);
}

/* JSON as msgpack, in the arena; ' stands for ". */
static inline slice_t core_json(core_t *self, const char *json)
{
    slice_t text = arena_copy(self->arena, slice_str(json));
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (json[i] == '\'')
            ((uint8_t *)text.data)[i] = '"';
    }
    buf_t bytes = {0};
    problem_t problem = {0};
    if (json_to_mp(text, &bytes, self->arena, &problem) != ERR_OK)
        CORE_FAIL(json);
    slice_t value = arena_copy(self->arena, buf_slice(&bytes));
    buf_fini(&bytes);
    return value;
}

/* Who is no member of a list is known to be none, as if it had been looked up. */
static inline void core_load(core_t *self)
{
    const list_t *list;
    const account_t *account;
    for (size_t i = 0; (list = state_list_at(self->state, i)) != NULL; i++) {
        for (size_t k = 0; (account = state_account_at(self->state, k)) != NULL; k++) {
            if (state_member(self->state, &list->id, &account->id) == NULL)
                core_add_member(self, &list->id, &account->id, ROLE_NONE);
        }
    }
}

/* Applies `command` as it is, and checks what came of it. */
static inline err_t core_apply(core_t *self)
{
    snapshot_t before;
    core_load(self);
    snapshot_take(&before, self->state);
    apply(&self->command, self->state, self->now_us, &self->out);
    const char *wrong =
        check_outcome(&before, self->state, &self->command, &self->out, self->now_us);
    snapshot_drop(&before);
    if (wrong != NULL) {
        fprintf(stderr, "%s: ", op_name(self->command.op));
        CORE_FAIL(wrong);
    }
    core_next(self);
    return self->out.problem.err;
}

/* Makes `command`, with encoded data. A nil task is none. */
static inline void core_make(core_t *self, const uuid_t *author, const char *op, const uuid_t *task,
                             slice_t data)
{
    self->n_commands++;
    self->command = (command_t){
        .id = uuid_is_nil(&self->id) ? core_id(0xc0000 + self->n_commands) : self->id,
        .author = *author,
        .is_actor = uuid_eq(author, &author_recurrence) || uuid_eq(author, &author_reminder) ||
                    uuid_eq(author, &author_retime),
        .op = op_of(slice_str(op)),
        .list = uuid_is_nil(&self->in) ? self->list : self->in,
        .task = task == NULL ? UUID_NIL : *task,
        .expect = self->expect,
        .scopes = self->scopes,
        .lists = self->lists,
        .n_lists = self->n_lists,
        .data = data,
    };
    command_fingerprint(&self->command);
}

/* Sends a command with data in JSON, NULL for none. */
static inline err_t core_do(core_t *self, const uuid_t *author, const char *op, const uuid_t *task,
                            const char *json)
{
    core_make(self, author, op, task, json == NULL ? slice_none() : core_json(self, json));
    return core_apply(self);
}

/* The task as it is. */
static inline const task_t *core_task(core_t *self, const uuid_t *id)
{
    return &state_task(self->state, id)->task;
}

/* The newest event, or one before it. */
static inline const event_t *core_event(core_t *self, size_t back)
{
    return &state_event_at(self->state, state_n_events(self->state) - 1 - back)->event;
}

/* Whether an encoded map has that pair, its value in JSON. */
static inline bool core_has(core_t *self, slice_t map, const char *key, const char *json)
{
    return has_value(map, key, core_json(self, json));
}

/* The place of the only wrong value, "" for the whole data; another text if it is not alone. */
static inline const char *core_pointer(core_t *self)
{
    const problem_t *problem = &self->out.problem;
    if (problem->n_fields != 1)
        return problem->n_fields == 0 ? "(none)" : "(several)";
    slice_t pointer = problem->fields[0].pointer;
    return (const char *)arena_copy(self->arena, pointer).data;
}

#endif
