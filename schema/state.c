/* SPDX-License-Identifier: Apache-2.0 */
/* The state is a handful of tables in one arena. A table keeps its values one by one, so that a
 * pointer to one stays valid while the table grows, in the order in which they came, which is the
 * order in which the writer stores them; beside them lies an open-addressing index over their keys.
 * A key is a pair of ids; where one is enough the second is nil. Nothing is ever taken out. */
#include "schema/state.h"

#include <assert.h>

#define MIN_SLOTS 16

typedef struct {
    uuid_t first;
    uuid_t second;
} table_key_t;

typedef struct {
    table_key_t key;
    void *value;
} entry_t;

typedef struct {
    entry_t *entries;
    size_t n_entries;
    uint32_t *slots; /* the number of an entry, from 1; 0: free */
    size_t n_slots; /* a power of two, at least twice the entries; 0: none yet */
} table_t;

/* Whether an occurrence exists. */
typedef struct occurrence {
    int64_t number;
    bool is_there;
    struct occurrence *next; /* of the same series */
} occurrence_t;

typedef struct {
    state_task_t *first;
    state_task_t **end; /* where the next one is linked */
    occurrence_t *occurrences; /* in no order */
} series_t;

struct state {
    arena_t *arena;
    char epoch[EPOCH_CHARS];
    shard_set_t held;
    table_t streams;
    table_t lists;
    table_t members;
    table_t accounts;
    bool has_any_account; /* loaded or not */
    table_t tokens;
    table_t tasks;
    table_t nodes;
    table_t seen;
    table_t occurrences;
    table_t series;
    state_event_t **events;
    size_t n_events;
    size_t max_events;
};

static const char *const role_names[] = {"none", "viewer", "editor", "owner"};

const char *role_name(role_t role)
{
    assert((unsigned)role <= ROLE_OWNER);
    return role_names[role];
}

role_t role_of(slice_t name)
{
    for (int role = ROLE_VIEWER; role <= ROLE_OWNER; role++) {
        if (slice_is(name, role_names[role]))
            return (role_t)role;
    }
    return ROLE_NONE;
}

/* --- tables --- */

static table_key_t key_of(const uuid_t *first)
{
    return (table_key_t){*first, UUID_NIL};
}

static table_key_t key_of_pair(const uuid_t *first, const uuid_t *second)
{
    return (table_key_t){*first, *second};
}

static uint64_t hash_of(const table_key_t *key)
{
    uint64_t second = uuid_hash(&key->second);
    return uuid_hash(&key->first) ^ (second << 31 | second >> 33);
}

/* The slot where the key is, or the free one where it would go. */
static size_t slot_of(const table_t *self, const table_key_t *key)
{
    size_t mask = self->n_slots - 1;
    size_t slot = (size_t)hash_of(key) & mask;
    while (self->slots[slot] != 0) {
        const table_key_t *there = &self->entries[self->slots[slot] - 1].key;
        if (uuid_eq(&there->first, &key->first) && uuid_eq(&there->second, &key->second))
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void *table_find(const table_t *self, table_key_t key)
{
    if (self->n_slots == 0)
        return NULL;
    uint32_t number = self->slots[slot_of(self, &key)];
    return number == 0 ? NULL : self->entries[number - 1].value;
}

/* Doubling leaves the old arrays to the arena: in all no more than the last ones take. */
static void table_grow(table_t *self, arena_t *arena)
{
    size_t n_slots = self->n_slots == 0 ? MIN_SLOTS : self->n_slots * 2;
    entry_t *entries = arena_alloc(arena, n_slots / 2 * sizeof *entries);
    if (self->n_entries > 0)
        memcpy(entries, self->entries, self->n_entries * sizeof *entries);
    self->entries = entries;
    self->slots = arena_alloc(arena, n_slots * sizeof *self->slots);
    self->n_slots = n_slots;
    for (size_t i = 0; i < self->n_entries; i++)
        self->slots[slot_of(self, &entries[i].key)] = (uint32_t)(i + 1);
}

/* Where the value of this key lies, zeroed if the key is new. */
static void *table_place(table_t *self, arena_t *arena, table_key_t key, size_t n_bytes)
{
    if (self->n_entries == self->n_slots / 2)
        table_grow(self, arena);
    size_t slot = slot_of(self, &key);
    if (self->slots[slot] == 0) {
        self->entries[self->n_entries] = (entry_t){key, arena_alloc(arena, n_bytes)};
        self->slots[slot] = (uint32_t)++self->n_entries;
    }
    return self->entries[self->slots[slot] - 1].value;
}

static void *table_at(const table_t *self, size_t i)
{
    return i < self->n_entries ? self->entries[i].value : NULL;
}

static table_key_t key_of_occurrence(const uuid_t *series, int64_t occurrence)
{
    table_key_t key = key_of(series);
    memcpy(key.second.bytes, &occurrence, sizeof occurrence);
    return key;
}

/* --- the state --- */

state_t *state_new(arena_t *arena, const char *epoch)
{
    state_t *self = arena_alloc(arena, sizeof *self);
    self->arena = arena;
    self->held = SHARDS_ALL;
    memcpy(self->epoch, epoch, EPOCH_CHARS);
    return self;
}

void state_hold(state_t *self, shard_set_t shards)
{
    self->held = shards;
}

shard_set_t state_held(const state_t *self)
{
    return self->held;
}

arena_t *state_arena(state_t *self)
{
    return self->arena;
}

const char *state_epoch(const state_t *self)
{
    return self->epoch;
}

stream_t *state_stream(state_t *self, const uuid_t *id)
{
    return table_find(&self->streams, key_of(id));
}

list_t *state_list(state_t *self, const uuid_t *id)
{
    return table_find(&self->lists, key_of(id));
}

member_t *state_member(state_t *self, const uuid_t *list, const uuid_t *account)
{
    return table_find(&self->members, key_of_pair(list, account));
}

account_t *state_account(state_t *self, const uuid_t *id)
{
    account_t *account = table_find(&self->accounts, key_of(id));
    return account == NULL || account->is_deleted ? NULL : account;
}

bool state_has_any_account(const state_t *self)
{
    return self->has_any_account || self->accounts.n_entries > 0;
}

token_t *state_token(state_t *self, const uuid_t *id)
{
    return table_find(&self->tokens, key_of(id));
}

state_task_t *state_task(state_t *self, const uuid_t *id)
{
    return table_find(&self->tasks, key_of(id));
}

node_t *state_node(state_t *self, const uuid_t *id)
{
    return table_find(&self->nodes, key_of(id));
}

seen_t *state_seen(state_t *self, const uuid_t *author, const uuid_t *command)
{
    return table_find(&self->seen, key_of_pair(author, command));
}

bool state_has_occurrence(state_t *self, const uuid_t *series, int64_t occurrence)
{
    const occurrence_t *found =
        table_find(&self->occurrences, key_of_occurrence(series, occurrence));
    return found != NULL && found->is_there;
}

bool state_has_occurrence_after(state_t *self, const uuid_t *series, int64_t occurrence)
{
    const series_t *of = table_find(&self->series, key_of(series));
    const occurrence_t *found = of == NULL ? NULL : of->occurrences;
    while (found != NULL && (!found->is_there || found->number <= occurrence))
        found = found->next;
    return found != NULL;
}

state_task_t *state_series(state_t *self, const uuid_t *series)
{
    const series_t *found = table_find(&self->series, key_of(series));
    return found == NULL ? NULL : found->first;
}

stream_t *state_put_stream(state_t *self, const stream_t *stream)
{
    stream_t *place = table_place(&self->streams, self->arena, key_of(&stream->id), sizeof *place);
    *place = *stream;
    return place;
}

list_t *state_put_list(state_t *self, const list_t *list)
{
    list_t *place = table_place(&self->lists, self->arena, key_of(&list->id), sizeof *place);
    *place = *list;
    return place;
}

member_t *state_put_member(state_t *self, const member_t *member)
{
    table_key_t key = key_of_pair(&member->key.list, &member->key.account);
    member_t *place = table_place(&self->members, self->arena, key, sizeof *place);
    *place = *member;
    return place;
}

account_t *state_put_account(state_t *self, const account_t *account)
{
    account_t *place =
        table_place(&self->accounts, self->arena, key_of(&account->id), sizeof *place);
    *place = *account;
    return place;
}

void state_put_any_account(state_t *self)
{
    self->has_any_account = true;
}

token_t *state_put_token(state_t *self, const token_t *token)
{
    token_t *place = table_place(&self->tokens, self->arena, key_of(&token->id), sizeof *place);
    *place = *token;
    return place;
}

static bool has_same_words(const task_t *a, const task_t *b)
{
    if (!slice_eq(a->title, b->title) || !slice_eq(a->notes, b->notes) || a->n_tags != b->n_tags)
        return false;
    for (uint32_t i = 0; i < a->n_tags; i++) {
        if (!slice_eq(a->tags[i], b->tags[i]))
            return false;
    }
    return true;
}

static series_t *series_place(state_t *self, const uuid_t *id)
{
    return table_place(&self->series, self->arena, key_of(id), sizeof(series_t));
}

static void link_series(state_t *self, state_task_t *task, const uuid_t *id)
{
    series_t *series = series_place(self, id);
    if (series->first == NULL)
        series->end = &series->first;
    *series->end = task;
    series->end = &task->next_of_series;
}

state_task_t *state_put_task(state_t *self, const task_t *task, bool is_new, bool is_dirty)
{
    state_task_t *place = table_place(&self->tasks, self->arena, key_of(&task->id), sizeof *place);
    if (!uuid_is_nil(&task->series) && uuid_is_nil(&place->task.series))
        link_series(self, place, &task->series);
    bool is_reworded =
        is_dirty && (is_new || place->is_reworded || !has_same_words(&place->task, task));
    uuid_t with = task->deleted_at_us == INSTANT_NONE ? UUID_NIL : place->deleted_with;
    *place = (state_task_t){*task, is_new, is_dirty, is_reworded, with, place->next_of_series};
    return place;
}

/* --- nodes --- */

static node_t *node_place(state_t *self, const uuid_t *id)
{
    node_t *place = table_place(&self->nodes, self->arena, key_of(id), sizeof *place);
    place->id = *id;
    return place;
}

static void unlink_node(node_t *node)
{
    if (node->link == NULL)
        return;
    *node->link = node->next;
    if (node->next != NULL)
        node->next->link = node->link;
    node->link = NULL;
    node->next = NULL;
}

static void link_node(node_t *node, node_t **head)
{
    node->next = *head;
    if (node->next != NULL)
        node->next->link = &node->next;
    node->link = head;
    *head = node;
}

node_t *state_put_node(state_t *self, const task_t *task, const uuid_t *with)
{
    node_t *node = node_place(self, &task->id);
    unlink_node(node);
    node->is_there = true;
    node->is_deleted = task->deleted_at_us != INSTANT_NONE;
    node->list = task->list;
    node->parent = uuid_is_nil(&task->parent) ? NULL : node_place(self, &task->parent);
    if (!node->is_deleted && node->parent != NULL)
        link_node(node, &node->parent->first_child);
    else if (node->is_deleted && !uuid_is_nil(with))
        link_node(node, &node_place(self, with)->first_taken);
    return node;
}

static void nodes_add(nodes_t *self, size_t *max_items, node_t *node, arena_t *arena)
{
    if (self->n_items == *max_items) {
        *max_items = *max_items == 0 ? MIN_SLOTS : *max_items * 2;
        node_t **items = arena_alloc(arena, *max_items * sizeof(node_t *));
        if (self->n_items > 0)
            memcpy(items, self->items, self->n_items * sizeof(node_t *));
        self->items = items;
    }
    self->items[self->n_items++] = node;
}

static void turn_round(nodes_t *self)
{
    for (size_t i = 0; i < self->n_items / 2; i++) {
        node_t *node = self->items[i];
        self->items[i] = self->items[self->n_items - 1 - i];
        self->items[self->n_items - 1 - i] = node;
    }
}

/* Level by level, and then the other way round. Nothing can be under itself, but what is stored may
 * be damaged: then it ends where the limits do. */
nodes_t state_subtasks(state_t *self, node_t *node)
{
    nodes_t found = {0};
    size_t max_items = 0;
    size_t next = 0;
    do {
        for (node_t *child = node->first_child; child != NULL; child = child->next) {
            if (found.n_items <= LIMIT_SUBTASKS)
                nodes_add(&found, &max_items, child, self->arena);
        }
        node = next < found.n_items ? found.items[next] : NULL;
    } while (next++ < found.n_items);
    turn_round(&found);
    return found;
}

nodes_t state_taken(state_t *self, node_t *node)
{
    nodes_t found = {0};
    size_t max_items = 0;
    for (node_t *taken = node->first_taken; taken != NULL; taken = taken->next)
        nodes_add(&found, &max_items, taken, self->arena);
    return found;
}

seen_t *state_put_seen(state_t *self, const seen_t *seen)
{
    table_key_t key = key_of_pair(&seen->author, &seen->command);
    seen_t *place = table_place(&self->seen, self->arena, key, sizeof *place);
    *place = *seen;
    return place;
}

static void set_occurrence(state_t *self, const uuid_t *series, int64_t occurrence, bool is_there)
{
    occurrence_t *place = table_place(&self->occurrences, self->arena,
                                      key_of_occurrence(series, occurrence), sizeof *place);
    place->is_there = is_there;
    if (place->number == occurrence)
        return;
    series_t *of = series_place(self, series);
    place->number = occurrence;
    place->next = of->occurrences;
    of->occurrences = place;
}

void state_put_occurrence(state_t *self, const uuid_t *series, int64_t occurrence)
{
    set_occurrence(self, series, occurrence, true);
}

void state_drop_occurrence(state_t *self, const uuid_t *series, int64_t occurrence)
{
    set_occurrence(self, series, occurrence, false);
}

state_event_t *state_put_event(state_t *self, const state_event_t *event)
{
    if (self->n_events == self->max_events) {
        size_t max_events = self->max_events == 0 ? MIN_SLOTS : self->max_events * 2;
        state_event_t **events = arena_alloc(self->arena, max_events * sizeof(state_event_t *));
        if (self->n_events > 0)
            memcpy(events, self->events, self->n_events * sizeof(state_event_t *));
        self->events = events;
        self->max_events = max_events;
    }
    state_event_t *place = arena_alloc(self->arena, sizeof *place);
    *place = *event;
    self->events[self->n_events++] = place;
    return place;
}

stream_t *state_stream_at(state_t *self, size_t i)
{
    return table_at(&self->streams, i);
}

list_t *state_list_at(state_t *self, size_t i)
{
    return table_at(&self->lists, i);
}

member_t *state_member_at(state_t *self, size_t i)
{
    return table_at(&self->members, i);
}

account_t *state_account_at(state_t *self, size_t i)
{
    return table_at(&self->accounts, i);
}

token_t *state_token_at(state_t *self, size_t i)
{
    return table_at(&self->tokens, i);
}

state_task_t *state_task_at(state_t *self, size_t i)
{
    return table_at(&self->tasks, i);
}

state_event_t *state_event_at(state_t *self, size_t i)
{
    return i < self->n_events ? self->events[i] : NULL;
}

size_t state_n_events(const state_t *self)
{
    return self->n_events;
}
