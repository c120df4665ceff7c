/* SPDX-License-Identifier: Apache-2.0 */
/* The table of known places is direct-mapped: a task has one slot, and who comes later takes it. A
 * wrong place does no harm, it only costs another turn. */
#include "actors/writer_locate.h"

#include <stdlib.h>

static const pg_stmt_t select_places = {"SELECT id, list FROM task WHERE id = ANY($1::uuid[])"};

static place_t *slot_of(const locator_t *self, const uuid_t *task)
{
    return &self->known[uuid_hash(task) % LOCATOR_SLOTS];
}

static void remember(locator_t *self, const uuid_t *task, const uuid_t *list)
{
    *slot_of(self, task) = (place_t){*task, *list};
}

static const uuid_t *recall(const locator_t *self, const uuid_t *task)
{
    const place_t *place = slot_of(self, task);
    return uuid_eq(&place->task, task) ? &place->list : NULL;
}

void locator_init(locator_t *self, pg_t *pg, locator_done_f *located, locator_done_f *not_found,
                  void *arg)
{
    *self = (locator_t){.pg = pg, .located = located, .not_found = not_found, .arg = arg};
    self->known = calloc(LOCATOR_SLOTS, sizeof *self->known);
}

void locator_fini(locator_t *self)
{
    for (pending_t *p; (p = pending_pop(&self->waiting)) != NULL;)
        self->not_found(self->arg, p);
    for (pending_t *p; (p = pending_pop(&self->asked)) != NULL;)
        self->not_found(self->arg, p);
    free(self->known);
    self->known = NULL;
}

static void locate(locator_t *self, pending_t *pending, const uuid_t *list)
{
    pending->command.list = *list;
    pending->is_located = true;
    self->located(self->arg, pending);
}

void locator_find(locator_t *self, pending_t *pending)
{
    const uuid_t *list = recall(self, &pending->command.task);
    if (list != NULL)
        locate(self, pending, list);
    else
        pending_append(&self->waiting, pending);
}

/* The list of a task among the rows: only for one whose slot another of the same read has taken. */
static bool find_row(const pg_result_t *result, const uuid_t *task, uuid_t *list)
{
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t id = pg_uuid(result, row, 0);
        if (uuid_eq(&id, task)) {
            *list = pg_uuid(result, row, 1);
            return true;
        }
    }
    return false;
}

static void on_places(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    locator_t *self = arg;
    if (fate == PG_OK) {
        for (int row = 0; row < pg_rows(result); row++) {
            uuid_t task = pg_uuid(result, row, 0), list = pg_uuid(result, row, 1);
            remember(self, &task, &list);
        }
    }
    pending_list_t asked = self->asked;
    self->asked = (pending_list_t){0};
    for (pending_t *next, *p = asked.first; p != NULL; p = next) {
        next = p->next;
        const uuid_t *known = recall(self, &p->command.task);
        uuid_t list;
        if (known != NULL)
            locate(self, p, known);
        else if (fate != PG_OK)
            pending_append(&self->waiting, p);
        else if (find_row(result, &p->command.task, &list))
            locate(self, p, &list);
        else
            self->not_found(self->arg, p);
    }
}

void locator_turn(locator_t *self)
{
    if (self->waiting.n == 0 || self->asked.n > 0 || !pg_is_ready(self->pg))
        return;
    pg_params_t params = {0};
    pg_array_begin(&params, PG_UUID);
    for (pending_t *p;
         self->asked.n < WRITER_MAX_BATCH && (p = pending_pop(&self->waiting)) != NULL;) {
        pg_array_uuid(&params, &p->command.task);
        pending_append(&self->asked, p);
    }
    pg_array_end(&params);
    if (pg_query(self->pg, &select_places, &params, on_places, self) == ERR_OK)
        (void)pg_sync(self->pg);
    else
        on_places(self, PG_LOST, NULL);
    pg_params_fini(&params);
}

pending_t *locator_expired(locator_t *self, now_t now)
{
    if (self->waiting.first == NULL || now.mono_us < self->waiting.first->deadline_mono_us)
        return NULL;
    return pending_pop(&self->waiting);
}

size_t locator_n_waiting(const locator_t *self)
{
    return self->waiting.n + self->asked.n;
}

void locator_learn(locator_t *self, const outcome_t *outcome, const command_t *command)
{
    if (outcome->problem.err == ERR_OK && !uuid_is_nil(&outcome->task) &&
        !uuid_is_nil(&command->list))
        remember(self, &outcome->task, &command->list);
}
