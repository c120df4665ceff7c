/* SPDX-License-Identifier: Apache-2.0 */
/* The statements behind pages of tasks: one for each order, direction, scope and set of statuses,
 * so that each has a plan of its own; a page in the order of positions in one list then comes
 * straight out of an index.
 *
 * Parameters: $1 account, $2 list (of one list, else NULL), $3 lists of the token, $4 statuses, $5
 * priorities, $6 tags, $7 lists, $8 assignees (each any of; NULL: all), $9 sort key and $10 id
 * behind which the page begins, $11 how many rows, $12 whether also those that nobody is to do ($8
 * is not NULL), $13 the first due date, $14 the last (NULL: also none), $15 whether only those
 * without one, $16 whether recurring, $17 the tsquery of their words (NULL: all). Columns: head (of
 * one list), epoch, id, key, body, n (rows that there are, up to $11); in one list there is always
 * a row for a member, with NULLs if the page is empty. */
#ifndef TASKWIRE_TASK_PAGE_H
#define TASKWIRE_TASK_PAGE_H

#include "actors/pg.h"
#include "schema/arena.h"

typedef enum {
    SORT_DUE,
    SORT_PRIORITY,
    SORT_POSITION,
    SORT_CREATED_AT,
    SORT_UPDATED_AT,
    SORT_TITLE,
    SORT_COUNT,
} task_sort_t;

/* Which tasks a page is of: by status, or the deleted ones, which are in none of the others. */
typedef enum { TASKS_LIVE, TASKS_CLOSED, TASKS_ANY, TASKS_DELETED, TASKS_SETS } task_set_t;

/* The words for them; "-" before one turns it round. */
extern const char *const task_sort_names[SORT_COUNT + 1];

const pg_stmt_t *task_page_statement(task_sort_t sort, bool is_descending, bool is_one_list,
                                     task_set_t set);

/* Where a page begins or ended: the key of the kind that the order has, and the id. What counts
 * from now ("overdue") counts on later pages from when the first was asked for. */
typedef struct {
    slice_t text; /* position, title (without case and accents) */
    int64_t number; /* priority; microseconds, INSTANT_NONE: no due date, which comes last */
    uuid_t id;
    int64_t asked_at_us;
} task_place_t;

/* Before the first of all. */
void task_place_first(task_sort_t sort, bool is_descending, arena_t *arena, task_place_t *out);
/* Reads the columns `key` and `id` of a row. */
void task_place_of_row(task_sort_t sort, const pg_result_t *result, int row, task_place_t *out);
/* Puts $9 and $10. */
void task_place_put(task_sort_t sort, const task_place_t *place, pg_params_t *params);
void task_place_encode(task_sort_t sort, const task_place_t *place, buf_t *out);
/* False: it is no place of this order. */
bool task_place_decode(task_sort_t sort, slice_t bytes, task_place_t *out);

#endif
