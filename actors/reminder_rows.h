/* SPDX-License-Identifier: Apache-2.0 */
/* From events to `reminder` rows. Each event says what reminders its task has from then on; a row
 * changes only for a newer event than the one it has, so replays and old batches change nothing.
 *
 * Events of different tasks go into one round of statements. Two of the same task must not, because
 * the first one decides whether an instant was still ahead when it was set: they go into rounds of
 * their own, in order. */
#ifndef TASKWIRE_REMINDER_ROWS_H
#define TASKWIRE_REMINDER_ROWS_H

#include "actors/intray.h"
#include "actors/pg.h"
#include "schema/task.h"

/* What an event says about reminders. */
typedef enum {
    TELLS_NOTHING,
    TELLS_WANTED, /* the reminders that the task has now, none if it is not live */
    TELLS_MOVED, /* the same, but only other time zone data has moved them */
    TELLS_FIRED, /* that one fired */
    TELLS_DISMISSED, /* that an account has seen one */
    TELLS_WRONG, /* it cannot be read */
} reminder_tells_t;

/* One reminder that a task wants, or wanted. */
typedef struct {
    uuid_t id;
    int64_t fire_at_us;
    reminder_for_t whom;
    uuid_t account; /* the one it is for, or the assignee; nil: nobody, or all */
} wanted_t;

/* What one event says; borrows nothing. */
typedef struct {
    uuid_t task;
    uuid_t list;
    int64_t event_id;
    int64_t at_us;
    bool is_new; /* for TELLS_WANTED: the task was created, there was none before */
    trace_t trace;
    wanted_t wanted[LIMIT_REMINDERS];
    uint32_t n_wanted;
    wanted_t fired; /* for TELLS_FIRED, and TELLS_DISMISSED: by `account`, up to that instant */
} reminder_news_t;

/* The pure step. `arena` is for decoding only. */
reminder_tells_t reminder_read(const log_event_t *row, arena_t *arena, reminder_news_t *out);

/* Gets what an event says, in order, before it is stored; perhaps again, or for nothing. */
typedef void reminder_news_f(void *arg, reminder_tells_t tells, const reminder_news_t *news);

/* Queues the statements that bring the rows up to the events, as one group, and waits. Blocks.
 * Events that cannot be read, or that the database refuses, are rejected in the intray. `told` may
 * be NULL. Errors: UNAVAILABLE: it must be done again. */
err_t reminder_rows_store(pg_t *pg, const char epoch[EPOCH_CHARS], intray_t *intray,
                          mp_reader_t *content, uint32_t n_events, reminder_news_f *told,
                          void *arg);

#endif
