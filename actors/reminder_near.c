/* SPDX-License-Identifier: Apache-2.0 */
/* The items lie in one array that is used as far as it was ever needed; a wheel ties those that
 * wait, a queue has those that are due. Half of the room is kept free of pages for what is offered.
 */
#include "actors/reminder_near.h"

#include <stdlib.h>
#include <string.h>

#include "actors/wheel.h"

/* A page keeps the actor from firing while it is loaded. */
#define PAGE_ROWS 4096
#define TICK_US INT64_C(1000)

typedef struct item {
    wheel_timer_t timer;
    near_key_t key;
    struct item *next_free;
} item_t;

struct near {
    size_t limit;
    int64_t horizon_us;
    wheel_t *wheel;
    item_t *items;
    size_t n_items; /* ever used */
    item_t *free;
    item_t **due; /* in the order in which they are to fire; room for the limit, and as many gone */
    size_t n_due;
    size_t next_due;
    near_key_t loaded; /* everything pending up to here is in memory */
    bool is_cut; /* the last page was full: there may be more behind it */
    int64_t from_us; /* nothing before is loaded */
    int64_t turned_us; /* the newest instant that it was told */
};

static void *zeroed(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (memory == NULL)
        abort();
    return memory;
}

/* Behind all keys of that instant. */
static near_key_t end_of(int64_t at_us)
{
    near_key_t key = {.fire_at_us = at_us};
    memset(key.task.bytes, 0xff, sizeof key.task.bytes);
    memset(key.reminder.bytes, 0xff, sizeof key.reminder.bytes);
    return key;
}

near_t *near_new(size_t limit, int64_t horizon_us)
{
    near_t *self = zeroed(1, sizeof *self);
    self->limit = limit;
    self->horizon_us = horizon_us;
    self->items = zeroed(limit, sizeof *self->items);
    self->due = zeroed(2 * limit, sizeof(item_t *));
    near_reset(self, 0, 0);
    return self;
}

void near_destroy(near_t **self_p)
{
    near_t *self = *self_p;
    if (self == NULL)
        return;
    wheel_destroy(&self->wheel);
    free(self->items);
    free(self->due);
    free(self);
    *self_p = NULL;
}

/* --- what is here --- */

static void on_due(wheel_timer_t *timer, void *arg)
{
    near_t *self = arg;
    self->due[self->n_due++] = (item_t *)(void *)timer;
}

void near_reset(near_t *self, int64_t now_us, int64_t from_us)
{
    wheel_destroy(&self->wheel);
    self->wheel = wheel_new(now_us, TICK_US, self);
    self->from_us = from_us;
    self->turned_us = now_us;
    self->n_items = 0;
    self->free = NULL;
    self->n_due = 0;
    self->next_due = 0;
    self->loaded = end_of(from_us - 1);
    self->is_cut = true;
}

static item_t *take_item(near_t *self)
{
    item_t *item = self->free;
    if (item != NULL)
        self->free = item->next_free;
    else if (self->n_items < self->limit)
        item = &self->items[self->n_items++];
    return item;
}

static bool put(near_t *self, const near_key_t *key)
{
    item_t *item = take_item(self);
    if (item == NULL)
        return false;
    *item = (item_t){.timer.fire = on_due, .key = *key};
    wheel_set(self->wheel, &item->timer, key->fire_at_us);
    return true;
}

size_t near_count(const near_t *self)
{
    return wheel_count(self->wheel) + self->n_due - self->next_due;
}

/* --- loading --- */

/* Reads on at once behind a page that was full; else when half of what was loaded is over. */
bool near_wants(const near_t *self, int64_t now_us, near_page_t *out)
{
    bool is_short = self->loaded.fire_at_us < now_us + self->horizon_us / 2;
    int64_t until_us = now_us + self->horizon_us;
    *out = (near_page_t){.after = self->loaded, .until_us = until_us, .limit = PAGE_ROWS};
    if (out->limit > self->limit / 4)
        out->limit = self->limit / 4;
    return (self->is_cut || is_short) && self->loaded.fire_at_us <= until_us &&
           near_count(self) + out->limit <= self->limit / 2;
}

void near_load(near_t *self, const near_page_t *page, const near_key_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)put(self, &rows[i]); /* near_wants has seen that there is room */
    self->is_cut = n == page->limit;
    self->loaded = self->is_cut ? rows[n - 1] : end_of(page->until_us);
}

void near_offer(near_t *self, const near_key_t *key)
{
    if (key->fire_at_us > self->loaded.fire_at_us)
        return;
    /* Without room nothing is here, and nothing loaded: the rows are read again from the first. */
    if (!put(self, key))
        near_reset(self, self->turned_us, self->from_us);
}

/* --- firing --- */

static int by_instant(const void *a, const void *b)
{
    const item_t *x = *(item_t *const *)a, *y = *(item_t *const *)b;
    return (x->key.fire_at_us > y->key.fire_at_us) - (x->key.fire_at_us < y->key.fire_at_us);
}

void near_turn(near_t *self, int64_t now_us)
{
    /* Closed up when half of them have gone: many that wait for room are not to be moved each turn.
     */
    if (self->next_due > 0 && self->next_due >= self->n_due - self->next_due) {
        self->n_due -= self->next_due;
        memmove(self->due, self->due + self->next_due, self->n_due * sizeof(item_t *));
        self->next_due = 0;
    }
    self->turned_us = now_us;
    size_t n_before = self->n_due;
    wheel_turn(self->wheel, now_us);
    qsort(self->due + n_before, self->n_due - n_before, sizeof(item_t *), by_instant);
}

const near_key_t *near_first(const near_t *self)
{
    return self->next_due < self->n_due ? &self->due[self->next_due]->key : NULL;
}

void near_shift(near_t *self)
{
    item_t *item = self->due[self->next_due++];
    item->next_free = self->free;
    self->free = item;
}

int64_t near_next_us(const near_t *self)
{
    return wheel_next_us(self->wheel);
}
