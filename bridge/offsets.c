/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of marks, oldest first. Tickets never fall from one mark to the next, so that the first
 * one that is not done holds up all behind it. */
#include "bridge/offsets.h"

#include <stddef.h>

static offsets_mark_t *mark_at(offsets_t *self, unsigned i)
{
    return &self->marks[(self->first + i) % OFFSETS_MAX_MARKS];
}

static bool covers(ticket_t larger, ticket_t smaller)
{
    return larger.batch >= smaller.batch && larger.letter >= smaller.letter;
}

static ticket_t both(ticket_t a, ticket_t b)
{
    return (ticket_t){a.batch > b.batch ? a.batch : b.batch,
                      a.letter > b.letter ? a.letter : b.letter};
}

void offsets_take(offsets_t *self, int64_t offset, ticket_t ticket)
{
    offsets_mark_t *last = self->n > 0 ? mark_at(self, self->n - 1) : NULL;
    if (last != NULL)
        ticket = both(ticket, last->ticket); /* what rests on nothing still stands behind others */
    if (last != NULL && (covers(last->ticket, ticket) || self->n == OFFSETS_MAX_MARKS)) {
        last->ticket = ticket;
        last->end = offset + 1;
        return;
    }
    self->n++;
    *mark_at(self, self->n - 1) = (offsets_mark_t){ticket, offset + 1};
}

bool offsets_settle(offsets_t *self, ticket_t done)
{
    int64_t before = self->done;
    while (self->n > 0 && covers(done, mark_at(self, 0)->ticket)) {
        self->done = mark_at(self, 0)->end;
        self->first = (self->first + 1) % OFFSETS_MAX_MARKS;
        self->n--;
    }
    return self->done != before;
}

void offsets_void(offsets_t *self)
{
    for (unsigned i = 0; i < self->n; i++)
        mark_at(self, i)->ticket.batch = 0;
}

bool offsets_is_waiting(const offsets_t *self)
{
    return self->n > 0;
}
