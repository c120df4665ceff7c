/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON value we are, and a first look at its text. For json_parse.cc only. */
#ifndef TASKWIRE_JSON_SCAN_H
#define TASKWIRE_JSON_SCAN_H

#include "schema/arena.h"
#include "schema/limits.h"

typedef struct {
    bool is_object;
    bool has_key; /* in an object: whether `key` is that of the value at hand */
    size_t index; /* in an array */
    slice_t key;
} json_level_t;

/* The containers around the value at hand, the outermost first. */
typedef struct {
    json_level_t levels[LIMIT_DEPTH];
    size_t depth;
    bool is_raw; /* keys are still as in the text: escaped and unchecked */
} json_path_t;

/* The pointer (RFC 6901) to the value at hand, in the arena. It ends where a key would make it very
 * long, or is no plain text, so that it can always be shown. */
slice_t json_path_pointer(const json_path_t *path, arena_t *arena);

typedef enum {
    JSON_SCAN_FINE,
    JSON_SCAN_DEEP, /* a container deeper than LIMIT_DEPTH */
    JSON_SCAN_MANY, /* more than LIMIT_ELEMENTS values */
    JSON_SCAN_NUMBER, /* a well-formed number that is no 64-bit integer */
} json_scan_t;

/* Goes over the text up to the first value that breaks a limit and sets the path to it. It counts
 * exactly in any JSON text; what is no JSON it passes over. Numbers are only looked at if
 * `numbers_too`. */
json_scan_t json_scan(slice_t text, bool numbers_too, json_path_t *path);

#endif
