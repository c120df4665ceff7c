/* SPDX-License-Identifier: Apache-2.0 */
/* `taskwire user add`: an account made by who runs the program, whatever REGISTRATION says. */
#ifndef TASKWIRE_USER_ADD_H
#define TASKWIRE_USER_ADD_H

#include "actors/config.h"

/* Asks for the password on a terminal, else reads it as a line of stdin; makes one up and prints it
 * if that is empty. Sends one account.create through a writer of its own and says what became of
 * it. Returns the exit code: 0; 1 if it was refused; 69 if the database is away. If the writer's
 * thread does not end, `is_clean` is false and nothing that it may touch can be destroyed: only
 * _exit is left. Blocks. */
int user_add_run(const config_t *config, const char *email, const char *time_zone, bool *is_clean);

#endif
