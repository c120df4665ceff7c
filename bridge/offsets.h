/* SPDX-License-Identifier: Apache-2.0 */
/* How far a partition has been handled: the offset before which every record rests on nothing that
 * is still under way. Records rest on tickets: on batches that the actors have not all
 * acknowledged, and on dead letters that are not durable yet. Pure. */
#ifndef TASKWIRE_OFFSETS_H
#define TASKWIRE_OFFSETS_H

#include <stdbool.h>
#include <stdint.h>

/* Beyond these the last mark stands for more: what is done is then found out later. */
#define OFFSETS_MAX_MARKS 128

/* What a record rests on: everything up to these numbers. 0: on nothing. */
typedef struct {
    uint64_t batch;
    uint64_t letter;
} ticket_t;

typedef struct {
    ticket_t ticket;
    int64_t end; /* the offset behind the last record that rests on it */
} offsets_mark_t;

/* Zero-initialised: nothing was taken. */
typedef struct {
    offsets_mark_t marks[OFFSETS_MAX_MARKS];
    unsigned first;
    unsigned n;
    int64_t done; /* everything before this offset is handled; 0: nothing is known */
} offsets_t;

/* The record at this offset was taken; offsets grow. */
void offsets_take(offsets_t *self, int64_t offset, ticket_t ticket);

/* Everything up to this ticket is done. True: `done` has moved. */
bool offsets_settle(offsets_t *self, ticket_t done);

/* Batches that were under way are void: what rests on them rests on nothing. */
void offsets_void(offsets_t *self);

/* Whether something that was taken is not done. */
bool offsets_is_waiting(const offsets_t *self);

#endif
