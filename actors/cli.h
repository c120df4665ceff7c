/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#ifndef TASKWIRE_CLI_H
#define TASKWIRE_CLI_H

#include "schema/buf.h"

typedef enum {
    CLI_SERVE,
    CLI_MIGRATE,
    CLI_VERIFY,
    CLI_CONFIG,
    CLI_USER_ADD,
    CLI_PURGE,
    CLI_DEAD_LETTER_LIST,
    CLI_DEAD_LETTER_SHOW,
    CLI_VERSION,
    CLI_HELP,
} cli_command_t;

/* What was asked for; the texts are argv's. */
typedef struct {
    cli_command_t command;
    const char *config_file; /* --config FILE; NULL: none */
    const char *anchors; /* verify --anchors FILE; NULL: none */
    const char *restored; /* verify --restored EPOCH; NULL: none */
    const char *email; /* of user add */
    const char *time_zone; /* user add --time-zone ZONE; UTC */
    const char *stream; /* purge --stream ID, --task ID or --account ID: one of them, NULL else */
    const char *task;
    const char *account;
    const char *limit; /* dead-letter list --limit N; NULL: none */
    const char *letter; /* of dead-letter show */
} cli_t;

/* Reads the arguments; nothing at all means serve. False, with a sentence in `error`, for anything
 * not understood. */
bool cli_parse(int argc, char **argv, cli_t *out, char *error, size_t error_size);

/* Appends what --help says. */
void cli_help(buf_t *out);

#endif
