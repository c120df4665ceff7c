/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what belongs to a task beside itself: its place among others, and the tasks and
 * memberships that a command needs because of it. Places come with the first round trip; only they
 * tell which further tasks must be read, and only those tell whose memberships. A batch without
 * such a command, or whose tasks have no subtasks, needs none of these further rounds.
 *
 * Tasks may be large. What would make a batch hold too much is not read, and apply puts off the
 * commands that miss it; the first command gets all it needs. */
#include "actors/writer_batch.h"

#define MAX_ALONG_BYTES ((size_t)16 * 1024 * 1024)

/* Up to the topmost, deleted or not, and down again to all that is not deleted. The subqueries that
 * OFFSET 0 keeps apart can only go by the key that they are given: planned while the table is
 * empty, a plain join would walk a whole index for ever after. */
static const pg_stmt_t select_trees = {
    "WITH RECURSIVE up AS (SELECT id, parent FROM task WHERE id = ANY($1::uuid[])"
    " UNION SELECT t.id, t.parent FROM up,"
    " LATERAL (SELECT id, parent FROM task WHERE id = up.parent OFFSET 0) t),"
    " tree AS (SELECT id FROM up"
    " UNION SELECT t.id FROM tree,"
    " LATERAL (SELECT id FROM task WHERE parent = tree.id AND deleted_at IS NULL OFFSET 0) t)"
    " SELECT t.id, t.list, t.parent, t.deleted_at, t.deleted_with, t.n_bytes FROM tree,"
    " LATERAL (SELECT id, list, parent, deleted_at, deleted_with, octet_length(body) AS n_bytes"
    " FROM task WHERE id = tree.id OFFSET 0) t"};
static const pg_stmt_t select_taken = {
    "SELECT id, list, parent, deleted_at, deleted_with, octet_length(body)"
    " FROM task WHERE deleted_with = ANY($1::uuid[])"};
/* What is under the others of a series (see select_mates). */
static const pg_stmt_t select_mates_trees = {
    "WITH RECURSIVE mate AS (SELECT t.id FROM unnest($1::uuid[]) AS k(id),"
    " LATERAL (SELECT series, occurrence FROM task WHERE id = k.id OFFSET 0) p,"
    " LATERAL (SELECT id FROM task WHERE series = p.series AND deleted_at IS NULL"
    " AND (occurrence = p.occurrence + 1 OR status < 2) ORDER BY occurrence DESC LIMIT 64) t),"
    " tree AS (SELECT id FROM mate UNION SELECT t.id FROM tree,"
    " LATERAL (SELECT id FROM task WHERE parent = tree.id AND deleted_at IS NULL OFFSET 0) t)"
    " SELECT t.id, t.list, t.parent, t.deleted_at, t.deleted_with, t.n_bytes FROM tree,"
    " LATERAL (SELECT id, list, parent, deleted_at, deleted_with, octet_length(body) AS n_bytes"
    " FROM task WHERE id = tree.id OFFSET 0) t"};
/* Numbers that are taken again: of the tasks, and of those that they took along. */
static const pg_stmt_t select_numbers = {
    "SELECT t.series, t.occurrence FROM (SELECT series, occurrence FROM task WHERE id = "
    "ANY($1::uuid[])"
    " UNION SELECT series, occurrence FROM task WHERE deleted_with = ANY($1::uuid[])) k,"
    " LATERAL (SELECT series, occurrence FROM task WHERE series = k.series"
    " AND occurrence = k.occurrence AND deleted_at IS NULL OFFSET 0) t"};

/* --- places --- */

static void on_places(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        task_t task = {.id = pg_uuid(result, row, 0),
                       .list = pg_uuid(result, row, 1),
                       .parent = pg_uuid(result, row, 2),
                       .deleted_at_us = pg_instant(result, row, 3)};
        uuid_t with = pg_uuid(result, row, 4);
        state_put_node(self->loaded, &task, &with)->n_bytes = (size_t)pg_int(result, row, 5);
    }
}

static void on_numbers(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lane_t *self = arg;
    if (!lane_note_fate(self, fate, result) || self->loaded == NULL)
        return;
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t series = pg_uuid(result, row, 0);
        state_put_occurrence(self->loaded, &series, pg_int(result, row, 1));
    }
}

static pg_params_t *fresh(lane_t *self)
{
    pg_params_reset(&self->params);
    return &self->params;
}

static size_t put_trees(lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        for (uint32_t i = 0; i < p->refs.n_trees; i++, n++)
            pg_array_uuid(params, &p->refs.trees[i]);
    }
    pg_array_end(params);
    return n;
}

static size_t put_mates(lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (!uuid_is_nil(&p->refs.mates_of)) {
            pg_array_uuid(params, &p->refs.mates_of);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

static size_t put_restored(lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (p->refs.along == ALONG_TAKEN || p->refs.along == ALONG_EITHER) {
            uuid_t place = command_place(&p->command);
            pg_array_uuid(params, &place);
            n++;
        }
    }
    pg_array_end(params);
    return n;
}

void lane_queue_trees(lane_t *self)
{
    if (put_trees(self, fresh(self)) > 0)
        pg_query(self->pg, &select_trees, &self->params, on_places, self);
    if (put_mates(self, fresh(self)) > 0)
        pg_query(self->pg, &select_mates_trees, &self->params, on_places, self);
    if (put_restored(self, fresh(self)) == 0)
        return;
    pg_query(self->pg, &select_taken, &self->params, on_places, self);
    pg_query(self->pg, &select_numbers, &self->params, on_numbers, self);
}

/* --- the tasks that go along --- */

/* Of the command's own task, or of the one that it makes the next occurrence of. */
static nodes_t own_nodes(lane_t *self, const pending_t *p)
{
    uuid_t place = command_place(&p->command);
    node_t *node = state_node(self->loaded, &place);
    if (node == NULL || p->refs.along == ALONG_NONE)
        return (nodes_t){0};
    const state_task_t *own = state_task(self->loaded, &place);
    if (p->refs.along == ALONG_SUBTASKS_OF_SERIES &&
        (own == NULL || uuid_is_nil(&own->task.series)))
        return (nodes_t){0};
    bool is_taken =
        p->refs.along == ALONG_TAKEN || (p->refs.along == ALONG_EITHER && node->is_deleted);
    return is_taken ? state_taken(self->loaded, node) : state_subtasks(self->loaded, node);
}

static void join(lane_t *self, nodes_t *nodes, const nodes_t *more)
{
    node_t **items = arena_alloc(self->arena, (nodes->n_items + more->n_items) * sizeof(node_t *));
    if (nodes->n_items > 0)
        memcpy(items, nodes->items, nodes->n_items * sizeof(node_t *));
    if (more->n_items > 0)
        memcpy(items + nodes->n_items, more->items, more->n_items * sizeof(node_t *));
    nodes->items = items;
    nodes->n_items += more->n_items;
}

static nodes_t nodes_along(lane_t *self, const pending_t *p)
{
    nodes_t nodes = own_nodes(self, p);
    const state_task_t *own = state_task(self->loaded, &p->refs.mates_of);
    const state_task_t *mate;
    if (own == NULL || uuid_is_nil(&own->task.series))
        return nodes;
    for (mate = state_series(self->loaded, &own->task.series); mate != NULL;
         mate = mate->next_of_series) {
        node_t *node = state_node(self->loaded, &mate->task.id);
        if (mate == own || node == NULL)
            continue;
        nodes_t more = state_subtasks(self->loaded, node);
        if (more.n_items > 0)
            join(self, &nodes, &more);
    }
    return nodes;
}

static size_t count_bytes(const nodes_t *nodes)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < nodes->n_items; i++)
        n_bytes += nodes->items[i]->n_bytes;
    return n_bytes;
}

static size_t put_along(lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    size_t n_bytes = 0;
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        nodes_t nodes = nodes_along(self, p);
        n_bytes += count_bytes(&nodes);
        if (n_bytes > MAX_ALONG_BYTES && n > 0)
            break;
        for (size_t i = 0; i < nodes.n_items; i++, n++)
            pg_array_uuid(params, &nodes.items[i]->id);
    }
    pg_array_end(params);
    return n;
}

/* --- who is a member of where they come to --- */

/* A pair that is asked for is known from then on, even if it is none. */
static size_t put_pair(lane_t *self, pg_params_t *params, const uuid_t *list, const uuid_t *account)
{
    if (uuid_is_nil(account) || state_member(self->loaded, list, account) != NULL)
        return 0;
    const member_t none = {.key = {*list, *account}, .role = ROLE_NONE};
    state_put_member(self->loaded, &none);
    pg_array_uuid(params, account);
    return 1;
}

static size_t put_people(lane_t *self, pg_params_t *params, const uuid_t *list, const uuid_t *id)
{
    const state_task_t *found = state_task(self->loaded, id);
    if (found == NULL)
        return 0;
    size_t n = put_pair(self, params, list, &found->task.assignee);
    for (uint32_t i = 0; i < found->task.n_reminders; i++) {
        if (found->task.reminders[i].whom == FOR_ACCOUNT)
            n += put_pair(self, params, list, &found->task.reminders[i].account);
    }
    return n;
}

static size_t put_people_of(lane_t *self, pg_params_t *params, const pending_t *p)
{
    nodes_t nodes = own_nodes(self, p);
    uuid_t place = command_place(&p->command);
    size_t n = put_people(self, params, &p->refs.target, &place);
    for (size_t i = 0; i < nodes.n_items; i++)
        n += put_people(self, params, &p->refs.target, &nodes.items[i]->id);
    return n;
}

/* Asks once for each list and each account that what moves or comes back brings together. */
static size_t put_newcomers(lane_t *self, pg_params_t *params)
{
    size_t n = 0;
    buf_t lists = {0};
    pg_array_begin(params, PG_UUID);
    for (const pending_t *p = self->batch.first; p != NULL; p = p->next) {
        if (uuid_is_nil(&p->refs.target))
            continue;
        size_t n_people = put_people_of(self, params, p);
        for (size_t i = 0; i < n_people; i++)
            buf_append(&lists, p->refs.target.bytes, UUID_BYTES);
        n += n_people;
    }
    pg_array_end(params);
    pg_array_begin(params, PG_UUID);
    for (size_t i = 0; i < n; i++) {
        uuid_t list;
        memcpy(list.bytes, lists.data + i * UUID_BYTES, UUID_BYTES);
        pg_array_uuid(params, &list);
    }
    pg_array_end(params);
    buf_fini(&lists);
    return n;
}

bool lane_queue_more(lane_t *self)
{
    if (self->n_rounds == 1) {
        self->n_rounds++;
        if (put_along(self, fresh(self)) > 0) {
            lane_queue_tasks(self);
            return true;
        }
    }
    if (self->n_rounds == 2) {
        self->n_rounds++;
        if (put_newcomers(self, fresh(self)) > 0) {
            lane_queue_newcomers(self);
            return true;
        }
    }
    return false;
}
