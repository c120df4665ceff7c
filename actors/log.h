/* SPDX-License-Identifier: Apache-2.0 */
/* One line per event on stderr, for people (text) or programs (json): time, level, who, words, then
 * key=value. Thread: any; a line is written by one write(2). The level and format are the program's
 * only mutable globals. */
#ifndef TASKWIRE_LOG_H
#define TASKWIRE_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;

/* Sets what is written and how. To be called once, before other threads exist. */
void log_configure(log_level_t level, bool as_json);

/* Writes one line. `fields` is a printf format of `key=value` pairs separated by spaces ("shard=%d
 * batch=%zu"), or NULL; values with spaces are given in double quotes. Never put secrets, titles or
 * notes here. */
void log_line(log_level_t level, const char *who, const char *words, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));

/* A warning that repeats speaks once until its cause is gone. Zero-initialised is quiet. */
typedef struct {
    bool is_on;
    int64_t n_times;
} log_once_t;

/* Whether the line should be written now: true the first time after log_clear. */
bool log_once(log_once_t *self);

/* The cause is gone; true if it had been there, so that this can be said. */
bool log_clear(log_once_t *self);

#endif
