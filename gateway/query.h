/* SPDX-License-Identifier: Apache-2.0 */
/* The query part of a URL, read strictly: a parameter that the path does not know, one that is
 * there twice and may not be, an escape that is none: each is refused by name. Source:
 * application/x-www-form-urlencoded as in the URL standard; RFC 3986 §2.1. */
#ifndef TASKWIRE_QUERY_H
#define TASKWIRE_QUERY_H

#include "schema/arena.h"
#include "schema/err.h"
#include "schema/uuid.h"

#define QUERY_MAX_ITEMS 64
#define QUERY_INT_MAX INT64_C(999999999999999999) /* 18 digits never overflow */

typedef enum {
    PARAM_ONCE,
    PARAM_REPEATS, /* any of */
} param_kind_t;

/* A parameter that a path knows. Tables end with a NULL name. */
typedef struct {
    const char *name;
    param_kind_t kind;
} param_t;

typedef struct {
    const param_t *param;
    slice_t value; /* decoded */
} query_item_t;

typedef struct {
    query_item_t items[QUERY_MAX_ITEMS];
    size_t n_items;
} query_t;

/* Reads the text after the '?' (absent: no parameters) by a table of what is known (NULL: nothing
 * is). Errors, with a sentence in the problem: MALFORMED. */
err_t query_parse(slice_t text, const param_t *known, arena_t *arena, query_t *out,
                  problem_t *problem);

/* The value of a parameter, absent if it was not sent. */
slice_t query_get(const query_t *self, const char *name);

/* How often it was sent, and each value in turn: `i` from 0. */
size_t query_count(const query_t *self, const char *name);
slice_t query_get_at(const query_t *self, const char *name, size_t i);

/* The getters below leave `out` alone when the parameter was not sent. False: the value is wrong,
 * the problem is MALFORMED and names it. */

/* A decimal number from min to max, which is at most QUERY_INT_MAX. */
bool query_int(const query_t *self, const char *name, int64_t min, int64_t max, int64_t *out,
               arena_t *arena, problem_t *problem);
/* Ids, at most `max`; `n_out` is set. */
bool query_uuids(const query_t *self, const char *name, size_t max, uuid_t *out, size_t *n_out,
                 arena_t *arena, problem_t *problem);
/* Words of a table that ends with NULL, as their places there; `n_out` is set. */
bool query_words(const query_t *self, const char *name, const char *const *words, size_t max,
                 int *out, size_t *n_out, arena_t *arena, problem_t *problem);

/* Notes that the value of this parameter is wrong, with a reason like "must be a number". Always
 * false. */
bool query_refuse(const char *name, const char *why, arena_t *arena, problem_t *problem);

#endif
