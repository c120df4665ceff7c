/* SPDX-License-Identifier: Apache-2.0 */
/* Reading single tasks: those that are asked for in one turn of the loop are read by one statement.
 * Thread: the loop's. */
#ifndef TASKWIRE_TASK_READS_H
#define TASKWIRE_TASK_READS_H

#include "gateway/inner.h"

/* A task as its reader may see it. Borrows from an answer that lives for the call. */
typedef struct {
    slice_t body;
    uuid_t list;
    int64_t rev;
    slice_t epoch; /* EPOCH_CHARS */
} task_read_t;

/* Tells what was read; NULL: there is no such task, or it is not for this account. Other errors
 * than OK are those of reads_err. */
typedef void task_reads_f(void *arg, err_t err, const task_read_t *task);

/* Borrows the pool, which outlives it. */
task_reads_t *task_reads_new(reads_t *reads);
/* Nothing may wait any more: after reads_stop and task_reads_flush. */
void task_reads_destroy(task_reads_t **self_p);

/* Asks for a task as a member of its list. `done` is called once, not before the flush. */
void task_reads_ask(task_reads_t *self, const uuid_t *task, const uuid_t *account,
                    task_reads_f *done, void *arg);
/* Sends what was asked for since, or tells why it cannot be. */
void task_reads_flush(task_reads_t *self);

#endif
