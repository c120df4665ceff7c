/* SPDX-License-Identifier: Apache-2.0 */
/* Commands under way to the writer. The functions to use are submit_command and submit_forget in
 * inner.h; these are for the gateway's loop. Thread: the loop's. */
#ifndef TASKWIRE_SUBMIT_H
#define TASKWIRE_SUBMIT_H

#include "gateway/inner.h"

/* Commands sent and not yet answered; one more is refused as OVERLOADED. */
#define SUBMIT_MAX_UNDER_WAY 8192

/* `address` is the inbox that results come to. */
submits_t *submits_new(network_t *network, uint32_t address);
void submits_destroy(submits_t **self_p);

/* Sends commands as one message, all or none of them; with `is_atomic` they are also applied all or
 * none. `done` gets items[i] with the result of commands[i]. At most LIMIT_BULK_COMMANDS. Errors,
 * with `done` not called: UNAVAILABLE, OVERLOADED. */
err_t submit_bulk(submits_t *self, command_t *commands, size_t n_commands, bool is_atomic,
                  submit_done_f *done, void *const *items);

/* Sends what was submitted since the last call as one message; to be called before the loop sleeps.
 */
void submits_flush(submits_t *self);
/* Takes the items of a RESULTS message and calls back. */
void submits_receive(submits_t *self, mp_reader_t *content);

size_t submits_under_way(const submits_t *self);

#endif
