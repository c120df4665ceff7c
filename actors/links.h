/* SPDX-License-Identifier: Apache-2.0 */
/* Doubly linked rings through the structs that they tie together: entering and leaving costs
 * nothing and allocates nothing. A link that is in no ring points to itself; so does the head of an
 * empty one. */
#ifndef TASKWIRE_LINKS_H
#define TASKWIRE_LINKS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct link {
    struct link *prev;
    struct link *next;
} link_t;

/* The struct of `type` whose `field` is at `link`. */
#define LINK_OWNER(link, type, field) ((type *)(void *)((char *)(link)-offsetof(type, field)))

/* Makes an empty ring, or a link that is in none. */
static inline void link_init(link_t *self)
{
    self->prev = self;
    self->next = self;
}

/* Whether the ring is empty, or the link in none. */
static inline bool link_is_alone(const link_t *self)
{
    return self->next == self;
}

/* Takes the link out of whatever ring it is in. */
static inline void link_leave(link_t *self)
{
    self->prev->next = self->next;
    self->next->prev = self->prev;
    link_init(self);
}

/* Moves the link to the end of the ring with this head. */
static inline void link_append(link_t *head, link_t *self)
{
    link_leave(self);
    self->prev = head->prev;
    self->next = head;
    head->prev->next = self;
    head->prev = self;
}

/* The first of the ring; NULL if it is empty. */
static inline link_t *link_first(link_t *head)
{
    return link_is_alone(head) ? NULL : head->next;
}

#endif
