/* SPDX-License-Identifier: Apache-2.0 */
/* The table of known places holds a few tasks for each hash; who has not been heard of for longest
 * goes. With one for each, two tasks that are changed in turn would push each other out, and every
 * such change would wait for a read. A wrong place does no harm, it only costs another turn. */
#include "actors/writer_locate.h"

#include <assert.h>
#include <stdlib.h>

static const pg_stmt_t select_places = {"SELECT id, list FROM task WHERE id = ANY($1::uuid[])"};

/* The places of tasks with this hash. */
static place_t *set_of(const locator_t *self, const uuid_t *task)
{
    return &self->known[uuid_hash(task) % LOCATOR_SETS * LOCATOR_WAYS];
}

static void remember(locator_t *self, const uuid_t *task, const uuid_t *list)
{
    place_t *set = set_of(self, task);
    size_t n_newer = 0;
    while (n_newer < LOCATOR_WAYS - 1 && !uuid_eq(&set[n_newer].task, task))
        n_newer++;
    memmove(set + 1, set, n_newer * sizeof *set);
    set[0] = (place_t){*task, *list};
}

static const uuid_t *recall(const locator_t *self, uuid_t task)
{
    const place_t *set = set_of(self, &task);
    for (size_t i = 0; i < LOCATOR_WAYS; i++) {
        if (uuid_eq(&set[i].task, &task))
            return &set[i].list;
    }
    return NULL;
}

void locator_init(locator_t *self, pg_t *pg, locator_done_f *located, locator_done_f *not_found,
                  void *arg)
{
    *self = (locator_t){.pg = pg, .located = located, .not_found = not_found, .arg = arg};
    self->known = calloc((size_t)LOCATOR_SETS * LOCATOR_WAYS, sizeof *self->known);
    self->n_held = calloc(LOCATOR_AUTHORS, sizeof *self->n_held);
}

void locator_fini(locator_t *self)
{
    assert(self->waiting.n == 0 && self->asked.n == 0);
    free(self->known);
    free(self->n_held);
    self->known = NULL;
    self->n_held = NULL;
}

static uint32_t *n_held_of(const locator_t *self, const pending_t *pending)
{
    return &self->n_held[uuid_hash(&pending->command.author) % LOCATOR_AUTHORS];
}

/* Whether the command's list is known, filling it in. */
static bool is_located(const locator_t *self, pending_t *pending)
{
    if (!uuid_is_nil(&pending->command.list))
        return true;
    const uuid_t *list = recall(self, command_place(&pending->command));
    if (list == NULL)
        return false;
    pending->command.list = *list;
    pending->is_located = true;
    return true;
}

void locator_find(locator_t *self, pending_t *pending)
{
    if (*n_held_of(self, pending) == 0 && is_located(self, pending)) {
        self->located(self->arg, pending);
        return;
    }
    ++*n_held_of(self, pending);
    pending_append(&self->waiting, pending);
}

/* Takes the first of a list out, to be handed on. */
static pending_t *take(locator_t *self, pending_list_t *list)
{
    pending_t *pending = pending_pop(list);
    if (pending != NULL)
        --*n_held_of(self, pending);
    return pending;
}

/* The list of a task among the rows: only for one that others of the same read have pushed
 * out. */
static bool find_row(const pg_result_t *result, uuid_t task, uuid_t *list)
{
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t id = pg_uuid(result, row, 0);
        if (uuid_eq(&id, &task)) {
            *list = pg_uuid(result, row, 1);
            return true;
        }
    }
    return false;
}

/* Hands on what was asked about, now that it is known; or all of it waits as before. */
static void settle(locator_t *self, bool is_answered, const pg_result_t *result)
{
    pending_list_t asked = self->asked;
    self->asked = (pending_list_t){0};
    if (!is_answered) {
        pending_join(&asked, &self->waiting);
        self->waiting = asked;
        return;
    }
    for (pending_t *p; (p = take(self, &asked)) != NULL;) {
        uuid_t list;
        bool is_there = is_located(self, p);
        if (!is_there && find_row(result, command_place(&p->command), &list)) {
            p->command.list = list;
            p->is_located = is_there = true;
        }
        if (is_there)
            self->located(self->arg, p);
        else
            self->not_found(self->arg, p);
    }
}

static void on_places(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    locator_t *self = arg;
    for (int row = 0; fate == PG_OK && row < pg_rows(result); row++) {
        uuid_t task = pg_uuid(result, row, 0), list = pg_uuid(result, row, 1);
        remember(self, &task, &list);
    }
    settle(self, fate == PG_OK, result);
}

void locator_turn(locator_t *self)
{
    size_t n_unknown = 0;
    if (self->waiting.n == 0 || self->asked.n > 0 || !pg_is_ready(self->pg))
        return;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_UUID);
    for (pending_t *p;
         self->asked.n < WRITER_MAX_BATCH && (p = pending_pop(&self->waiting)) != NULL;) {
        if (!is_located(self, p)) {
            uuid_t task = command_place(&p->command);
            pg_array_uuid(&params, &task);
            n_unknown++;
        }
        pending_append(&self->asked, p);
    }
    pg_array_end(&params);
    if (n_unknown == 0)
        settle(self, true, NULL);
    else if (pg_query(self->pg, &select_places, &params, on_places, self) == ERR_OK)
        (void)pg_sync(self->pg);
    else
        settle(self, false, NULL);
    pg_params_fini(&params);
}

pending_t *locator_expired(locator_t *self, now_t now)
{
    if (self->waiting.first == NULL || now.mono_us < self->waiting.first->deadline_mono_us)
        return NULL;
    return take(self, &self->waiting);
}

pending_t *locator_take(locator_t *self)
{
    return take(self, self->asked.n > 0 ? &self->asked : &self->waiting);
}

size_t locator_n_waiting(const locator_t *self)
{
    return self->waiting.n + self->asked.n;
}

void locator_learn(locator_t *self, const outcome_t *outcome, const command_t *command)
{
    if (outcome->problem.err != ERR_OK || uuid_is_nil(&outcome->task))
        return;
    const uuid_t *list = outcome->is_replay ? &command->list : &outcome->stream;
    if (!uuid_is_nil(list))
        remember(self, &outcome->task, list);
}
