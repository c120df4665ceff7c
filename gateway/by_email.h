/* SPDX-License-Identifier: Apache-2.0 */
/* member.put by e-mail address: clients know people by that, the writer by account. Between the two
 * whoever sends the command looks the account up. */
#ifndef TASKWIRE_BY_EMAIL_H
#define TASKWIRE_BY_EMAIL_H

#include "schema/command.h"

/* Whether this is a member.put that names somebody by address; `out` borrows from its data. */
bool by_email_find(const command_t *command, slice_t *out);

/* Appends the data with the account in place of the address; with neither if it is nil. */
void by_email_put_account(slice_t data, const uuid_t *account, buf_t *out);

/* Says of an address what the writer said of the account. */
void by_email_name(problem_t *problem);

#endif
