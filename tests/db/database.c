/* SPDX-License-Identifier: Apache-2.0 */
/* The clusters are those of tests/lib/postgres.sh, so that one place knows how to run a server as
 * root. */
#include "tests/db/database.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static const char *server_url(void)
{
    const char *url = getenv("TASKWIRE_TEST_DATABASE_URL");
    if (url == NULL || url[0] == '\0') {
        fprintf(stderr, "TASKWIRE_TEST_DATABASE_URL is not set: see tests/lib/postgres.sh\n");
        exit(77);
    }
    return url;
}

void url_with(char out[DATABASE_URL_CHARS], const char *url, const char *setting)
{
    char before[DATABASE_URL_CHARS];
    snprintf(before, sizeof before, "%s", url);
    const char *joint = strstr(before, "://") == NULL ? " "
                        : strchr(before, '?') != NULL ? "&"
                                                      : "?";
    int n_chars = snprintf(out, DATABASE_URL_CHARS, "%s%s%s", before, joint, setting);
    assert_true(n_chars > 0 && n_chars < DATABASE_URL_CHARS);
}

void script(const char *url, const char *format, ...)
{
    char sql[4000];
    char error[400];
    va_list args;
    va_start(args, format);
    int n_chars = vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    assert_true(n_chars >= 0 && (size_t)n_chars < sizeof sql);
    if (!pg_script(url, sql, error, sizeof error))
        fail_msg("%s: %s", sql, error);
}

void database_create(database_t *self, const char *word)
{
    assert_true(sodium_init() >= 0);
    snprintf(self->name, sizeof self->name, "taskwire_%s_%08x", word, randombytes_random());
    script(server_url(), "CREATE DATABASE %s", self->name);
    char setting[60];
    snprintf(setting, sizeof setting, "dbname=%s", self->name);
    url_with(self->url, server_url(), setting);
}

void database_drop(database_t *self)
{
    script(server_url(), "DROP DATABASE %s WITH (FORCE)", self->name);
}

pg_t *connect_to(const char *url, const char *options)
{
    pg_options_t all = {.url = url, .who = "test", .options = options};
    pg_t *pg = pg_new(&all);
    if (!pg_await(pg, LONG_US))
        fail_msg("%s", pg_trouble(pg));
    return pg;
}

static void keep_number(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    if (fate != PG_OK)
        fail_msg("fate %d: %s", fate, pg_message(result));
    *(int64_t *)arg = pg_int(result, 0, 0);
}

int64_t number_of(const char *url, const char *sql)
{
    pg_t *pg = connect_to(url, NULL);
    int64_t number = 0;
    pg_stmt_t stmt = {sql};
    assert_int_equal(pg_run(pg, &stmt, NULL, keep_number, &number, LONG_US), PG_OK);
    pg_destroy(&pg);
    return number;
}

/* Runs a function of postgres.sh on the directory and keeps the first line that it prints. */
static void shell(const cluster_t *self, const char *function, const char *option, char *line,
                  size_t line_size)
{
    char command[400];
    snprintf(command, sizeof command, "bash -c '. %s/tests/lib/postgres.sh && %s %s %s'",
             TASKWIRE_SOURCE_DIR, function, self->dir, option);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    char first[DATABASE_URL_CHARS] = "";
    char rest[200];
    if (fgets(first, sizeof first, out) != NULL)
        first[strcspn(first, "\n")] = '\0';
    while (fgets(rest, sizeof rest, out) != NULL)
        continue;
    if (pclose(out) != 0)
        fail_msg("%s failed", command);
    if (line != NULL)
        snprintf(line, line_size, "%s", first);
}

void cluster_make(cluster_t *self)
{
    snprintf(self->dir, sizeof self->dir, "/tmp/taskwire-test-XXXXXX");
    assert_non_null(mkdtemp(self->dir));
    shell(self, "pg_url", "", self->url, sizeof self->url);
}

void cluster_start(cluster_t *self)
{
    shell(self, "pg_start", "", self->url, sizeof self->url);
}

void cluster_stop(cluster_t *self, const char *mode)
{
    shell(self, "pg_stop", mode, NULL, 0);
}

void cluster_remove(cluster_t *self)
{
    shell(self, "pg_remove", "", NULL, 0);
}

int cluster_pid(const cluster_t *self)
{
    char line[40];
    shell(self, "pg_postmaster_pid", "", line, sizeof line);
    return atoi(line);
}
