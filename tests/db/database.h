/* SPDX-License-Identifier: Apache-2.0 */
/* Databases and whole clusters for tests. A test program works in a database of its own on the
 * server that TASKWIRE_TEST_DATABASE_URL names (as superuser); what stops or freezes a server makes
 * a cluster of its own. */
#ifndef TASKWIRE_TEST_DATABASE_H
#define TASKWIRE_TEST_DATABASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "actors/pg.h"

#define DATABASE_URL_CHARS 600
#define LONG_US (20 * US_PER_S)

typedef struct {
    char name[40];
    char url[DATABASE_URL_CHARS];
} database_t;

/* Creates an empty database named taskwire_WORD_RANDOM; exits with 77 if no server is named. */
void database_create(database_t *self, const char *word);
void database_drop(database_t *self);

/* Adds settings to a URL or keyword string, each overriding what was there: "user=x", "password=y".
 */
void url_with(char out[DATABASE_URL_CHARS], const char *url, const char *setting);

/* Runs a script and expects it to work. */
void script(const char *url, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first number that a query answers. */
int64_t number_of(const char *url, const char *sql);

/* A connection with the default options. */
pg_t *connect_to(const char *url, const char *options);

typedef struct {
    char dir[64];
    char url[DATABASE_URL_CHARS];
} cluster_t;

/* A cluster of its own: made (but not started), started, stopped ("fast", "immediate"), removed. */
void cluster_make(cluster_t *self);
void cluster_start(cluster_t *self);
void cluster_stop(cluster_t *self, const char *mode);
void cluster_remove(cluster_t *self);
/* The process id of its postmaster. */
int cluster_pid(const cluster_t *self);

#endif
