/* SPDX-License-Identifier: Apache-2.0 */
/* Brings a database to the schema that this program knows: the embedded schema/sql/NNNN_name.sql in
 * order, each in one transaction with its row of schema_version. Several programs may start at
 * once: they wait for each other. */
#ifndef TASKWIRE_MIGRATE_H
#define TASKWIRE_MIGRATE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    MIGRATE_OK,
    MIGRATE_UNREACHABLE, /* no connection within a few seconds, it broke, or another program is at
                            it: worth another try */
    MIGRATE_REFUSED, /* the URL names a login, password or database that the server does not know,
                        or it cannot be read */
    MIGRATE_NEWER, /* the database was made by a newer program */
    MIGRATE_FAILED, /* the server refuses: it would again */
} migrate_result_t;

/* Migrates, and makes the epoch and key of the log if there are none. `error` gets a sentence
 * unless it is OK. Says in the log if nothing protects the log's tables from the login. Blocks: a
 * few seconds for a connection, a few while another program migrates, neither beyond the deadline;
 * and as long as the statements of a migration take. */
migrate_result_t migrate_run(const char *database_url, int64_t deadline_mono_us, char *error,
                             size_t error_size);

#endif
