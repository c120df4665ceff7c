/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may say about a task, field by field, the same for a new task and for a patch
 * (RFC 7396: null takes a value away). A function reads one field and touches nothing else; a field
 * that none of them asks for, such as one that the server keeps, is refused when the data is
 * closed. */
#include "schema/apply_op.h"
#include "schema/position.h"

static void read_title(apply_t *self, const task_t *before, task_t *task)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "title", &value);
    if (is == DATA_GIVEN)
        data_line(&value, 1, LIMIT_TITLE_CHARS, &task->title);
    else if (is == DATA_NULL || before == NULL)
        data_refuse(&value, "a task needs a title");
}

static void read_notes(apply_t *self, task_t *task)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "notes", &value);
    if (is == DATA_GIVEN)
        data_str(&value, LIMIT_NOTES_BYTES, &task->notes);
    else if (is == DATA_NULL)
        task->notes = slice_str("");
}

/* What a status means beyond the word (the instant, the event) is up to the op. */
static void read_status(apply_t *self, const task_t *before, task_t *task)
{
    static const char *const of_new[] = {"open", "in_progress", NULL};
    data_value_t value;
    int status = STATUS_OPEN;
    data_is_t is = data_get(&self->data, "status", &value);
    if (is == DATA_GIVEN && data_word(&value, before == NULL ? of_new : task_status_names, &status))
        task->status = (task_status_t)status;
    if (is == DATA_NULL && before != NULL)
        data_refuse(&value, "a task has a status");
}

static void read_priority(apply_t *self, task_t *task)
{
    data_value_t value;
    int priority = PRIORITY_MEDIUM;
    data_is_t is = data_get(&self->data, "priority", &value);
    if (is == DATA_NULL || (is == DATA_GIVEN && data_word(&value, task_priority_names, &priority)))
        task->priority = (task_priority_t)priority;
}

/* --- tags --- */

typedef struct {
    slice_t items[2 * LIMIT_TAGS];
    uint32_t n_items;
} tags_t;

/* The place of a tag, or n_items. */
static uint32_t tags_find(const tags_t *self, slice_t tag)
{
    uint32_t i = 0;
    while (i < self->n_items && !slice_eq(self->items[i], tag))
        i++;
    return i;
}

static void tags_remove(tags_t *self, uint32_t place)
{
    self->n_items--;
    for (uint32_t i = place; i < self->n_items; i++)
        self->items[i] = self->items[i + 1];
}

typedef enum { TAGS_REPLACE, TAGS_ADD, TAGS_REMOVE } tags_how_t;

static void read_tag(const data_value_t *value, tags_how_t how, tags_t *tags)
{
    slice_t tag = slice_none();
    if (!data_line(value, 1, LIMIT_TAG_CHARS, &tag))
        return;
    uint32_t place = tags_find(tags, tag);
    bool is_there = place < tags->n_items;
    if (how == TAGS_REPLACE && is_there)
        data_refuse(value, "this tag is there twice");
    else if (how == TAGS_REMOVE && is_there)
        tags_remove(tags, place);
    else if (how != TAGS_REMOVE && !is_there)
        tags->items[tags->n_items++] = tag;
}

static void read_tag_array(const data_value_t *value, tags_how_t how, tags_t *tags)
{
    data_array_t array;
    data_value_t item;
    if (!data_array(value, LIMIT_TAGS, &array))
        return;
    while (data_next(&array, &item))
        read_tag(&item, how, tags);
}

/* {"remove": […], "add": […]}, in that order. */
static void read_tag_changes(const data_value_t *value, const task_t *before, tags_t *tags)
{
    data_map_t map;
    data_value_t part;
    if (!data_map(value, &map))
        return;
    for (uint32_t i = 0; i < before->n_tags; i++)
        tags->items[tags->n_items++] = before->tags[i];
    if (data_get(&map, "remove", &part) == DATA_GIVEN)
        read_tag_array(&part, TAGS_REMOVE, tags);
    if (data_get(&map, "add", &part) == DATA_GIVEN)
        read_tag_array(&part, TAGS_ADD, tags);
    data_close(&map);
    if (tags->n_items > LIMIT_TAGS)
        data_refuse_format(value, "a task has at most %d tags", LIMIT_TAGS);
}

static void read_tags(apply_t *self, const task_t *before, task_t *task)
{
    data_value_t value;
    tags_t tags = {.n_items = 0};
    data_is_t is = data_get(&self->data, "tags", &value);
    if (is == DATA_ABSENT)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (is == DATA_GIVEN && before != NULL && mp_peek(&reader) == MP_MAP)
        read_tag_changes(&value, before, &tags);
    else if (is == DATA_GIVEN)
        read_tag_array(&value, TAGS_REPLACE, &tags);
    slice_t *items = arena_alloc(self->arena, tags.n_items * sizeof *items);
    memcpy(items, tags.items, tags.n_items * sizeof *items);
    task->tags = items;
    task->n_tags = tags.n_items;
}

/* --- relations --- */

static void read_assignee(apply_t *self, task_t *task)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "assignee", &value);
    if (is == DATA_NULL)
        task->assignee = UUID_NIL;
    if (is != DATA_GIVEN || !data_uuid(&value, &task->assignee))
        return;
    if (!apply_is_member(self, &task->assignee))
        data_refuse(&value, "this account is no member of the list");
}

/* What is wrong with this task under that one, or NULL. */
static const char *refuse_parent(apply_t *self, const task_t *task, const uuid_t *id)
{
    node_t *parent = state_node(self->state, id);
    node_t *node = state_node(self->state, &task->id);
    if (parent == NULL || !parent->is_there || parent->is_deleted ||
        !uuid_eq(&parent->list, &self->list_id))
        return "there is no such task in this list";
    if (node == NULL)
        return apply_refuse_place(self, parent, 0, 0);
    nodes_t below = state_subtasks(self->state, node);
    size_t n_levels = 0;
    for (size_t i = 0; i < below.n_items; i++) {
        size_t levels = apply_levels_up(below.items[i], node);
        n_levels = levels > n_levels ? levels : n_levels;
    }
    for (const node_t *up = parent; up != NULL; up = up->parent) {
        if (up == node)
            return "a task cannot be under itself";
    }
    return apply_refuse_place(self, parent, below.n_items, n_levels);
}

static void read_parent(apply_t *self, task_t *task)
{
    data_value_t value;
    uuid_t parent = UUID_NIL;
    data_is_t is = data_get(&self->data, "parent", &value);
    if (is == DATA_NULL)
        task->parent = UUID_NIL;
    if (is != DATA_GIVEN || !data_uuid(&value, &parent) || uuid_eq(&parent, &task->parent))
        return;
    const char *why = refuse_parent(self, task, &parent);
    if (why != NULL)
        data_refuse(&value, why);
    else
        task->parent = parent;
}

/* Behind the last task. Where somebody has taken the highest key there is, beside it: tasks with
 * the same key are in the order of their ids. */
static slice_t position_at_end(apply_t *self)
{
    slice_t position = position_after(self->stream->tail, self->arena);
    return position.data == NULL ? self->stream->tail : position;
}

static void read_position(apply_t *self, const task_t *before, task_t *task)
{
    data_value_t value;
    data_is_t is = data_get(&self->data, "position", &value);
    if (is == DATA_NULL || (is == DATA_ABSENT && before == NULL))
        task->position = position_at_end(self);
    if (is != DATA_GIVEN || !data_str(&value, LIMIT_POSITION_CHARS, &task->position))
        return;
    if (!position_is_valid(task->position))
        data_refuse_format(&value, "this must be 1 to %d letters and digits", LIMIT_POSITION_CHARS);
}

void apply_read_task(apply_t *self, const task_t *before, task_t *task)
{
    read_title(self, before, task);
    read_notes(self, task);
    read_status(self, before, task);
    read_priority(self, task);
    read_tags(self, before, task);
    apply_read_schedule(self, before, task);
    read_assignee(self, task);
    read_parent(self, task);
    read_position(self, before, task);
}
