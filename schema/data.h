/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a request holds, field by field. A map is opened, each field is asked for by its
 * name, and closing the map refuses whatever nobody asked for; so the code that reads an op's data
 * is also the list of what it takes. Every refusal lands in the problem with the JSON pointer of
 * the value, and reading goes on, so that a client hears of all its mistakes at once. Nothing is
 * allocated for a value that is right.
 *
 * The getters return false when the value is wrong; it has been noted by then. Values borrow from
 * the bytes. Source: RFC 6901 (pointers). */
#ifndef TASKWIRE_DATA_H
#define TASKWIRE_DATA_H

#include "schema/arena.h"
#include "schema/err.h"
#include "schema/mp.h"

/* No request of ours has a map with more fields. */
#define DATA_MAX_FIELDS 64

/* A value and where it stands. */
typedef struct {
    arena_t *arena;
    problem_t *problem;
    slice_t path; /* the pointer of what it is in */
    slice_t key; /* its name there; absent: an item of an array */
    uint32_t index; /* its place there, for an item */
    slice_t raw;
} data_value_t;

typedef struct {
    slice_t key;
    slice_t raw;
    bool is_read;
} data_field_t;

/* An opened map. */
typedef struct {
    arena_t *arena;
    problem_t *problem;
    slice_t path;
    data_field_t *fields;
    uint32_t n_fields;
} data_map_t;

/* An opened array. */
typedef struct {
    data_value_t item; /* the next item, apart from `raw` */
    mp_reader_t reader;
    uint32_t n_items;
} data_array_t;

/* Opens the outermost map; absent bytes are a map without fields. Errors go to `problem`, texts
 * into the arena. False: it is no map of ours (too many fields, one twice), and is then empty. */
bool data_open(data_map_t *self, slice_t bytes, arena_t *arena, problem_t *problem);

/* Refuses every field that nobody asked for. */
void data_close(const data_map_t *self);

typedef enum { DATA_ABSENT, DATA_NULL, DATA_GIVEN } data_is_t;

/* Looks a field up, and remembers that somebody asked for it. `out` is set in every case, so that
 * an absent field can be refused too. */
data_is_t data_get(data_map_t *self, const char *key, data_value_t *out);

/* The same for a field that must be there: absent and null are refused. */
bool data_need(data_map_t *self, const char *key, data_value_t *out);

/* Notes that the value is wrong; `detail` is a sentence that lives as long as the problem. */
void data_refuse(const data_value_t *self, const char *detail);

/* Notes with printf that the value is wrong. */
void data_refuse_format(const data_value_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The JSON pointer of the value, in the arena. */
slice_t data_pointer(const data_value_t *self);

/* Text of at most `max_bytes`, with any characters but NUL. */
bool data_str(const data_value_t *self, size_t max_bytes, slice_t *out);

/* Text of min to max characters without control characters: one line. */
bool data_line(const data_value_t *self, size_t min_chars, size_t max_chars, slice_t *out);

/* One of the words of a table that ends with NULL; `out` is its place there. */
bool data_word(const data_value_t *self, const char *const *words, int *out);

bool data_bool(const data_value_t *self, bool *out);
bool data_int(const data_value_t *self, int64_t *out);
bool data_uuid(const data_value_t *self, uuid_t *out);
bool data_instant(const data_value_t *self, int64_t *out);
/* Exactly so many bytes. */
bool data_bin(const data_value_t *self, size_t n_bytes, slice_t *out);
/* A map inside; to be closed like the outermost. */
bool data_map(const data_value_t *self, data_map_t *out);
/* An array of at most `max_items`. */
bool data_array(const data_value_t *self, uint32_t max_items, data_array_t *out);
/* The next item of an array; false at the end. Nulls are items like others. */
bool data_next(data_array_t *self, data_value_t *out);

#endif
