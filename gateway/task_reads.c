/* SPDX-License-Identifier: Apache-2.0 */
/* Most of what a small read costs, here and in the server, is the statement and not the row: to
 * bind it, to start and end it, to tell about it. Membership is part of the statement, so that it
 * and the task are of one moment. The LIMIT keeps the inner query from being joined by anything but
 * keys, whatever the planner thinks of arrays of unknown length. */
#include "gateway/task_reads.h"

#include <stdlib.h>

#include "gateway/reads.h"

#define MAX_TASKS 64

static const pg_stmt_t select_tasks = {
    "SELECT k.n, t.body, t.list, t.rev, (SELECT epoch FROM log_epoch)"
    " FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k(task, account, n)"
    " CROSS JOIN LATERAL (SELECT t.body, t.list, t.rev FROM task t"
    " JOIN member m ON m.list = t.list AND m.account = k.account"
    " JOIN list l ON l.id = t.list AND l.deleted_at IS NULL"
    " WHERE t.id = k.task AND t.deleted_at IS NULL LIMIT 1) t"};

typedef struct {
    uuid_t task;
    uuid_t account;
    task_reads_f *done; /* NULL: was told */
    void *arg;
} question_t;

/* What one statement asks. */
typedef struct {
    size_t n;
    question_t questions[MAX_TASKS];
} round_t;

struct task_reads {
    reads_t *reads;
    round_t *round; /* being filled; NULL: nothing was asked */
    pg_params_t params; /* scratch */
};

static round_t *round_new(void)
{
    round_t *self = malloc(sizeof *self);
    if (self == NULL)
        abort();
    self->n = 0;
    return self;
}

static void tell(question_t *question, err_t err, const task_read_t *task)
{
    task_reads_f *done = question->done;
    question->done = NULL;
    if (done != NULL)
        done(question->arg, err, task);
}

/* Tells those that have not been told, and frees. */
static void finish(round_t *round, err_t err)
{
    for (size_t i = 0; i < round->n; i++)
        tell(&round->questions[i], err, NULL);
    free(round);
}

static void on_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    round_t *round = arg;
    for (int row = 0; fate == PG_OK && row < pg_rows(result); row++) {
        int64_t n = pg_int(result, row, 0);
        task_read_t task = {.body = pg_bytes(result, row, 1),
                            .list = pg_uuid(result, row, 2),
                            .rev = pg_int(result, row, 3),
                            .epoch = pg_bytes(result, row, 4)};
        if (n >= 1 && (size_t)n <= round->n && task.epoch.n_bytes == EPOCH_CHARS)
            tell(&round->questions[n - 1], ERR_OK, &task);
    }
    finish(round, reads_err(fate));
}

task_reads_t *task_reads_new(reads_t *reads)
{
    task_reads_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->reads = reads;
    return self;
}

void task_reads_destroy(task_reads_t **self_p)
{
    task_reads_t *self = *self_p;
    if (self == NULL)
        return;
    pg_params_fini(&self->params);
    free(self);
    *self_p = NULL;
}

void task_reads_ask(task_reads_t *self, const uuid_t *task, const uuid_t *account,
                    task_reads_f *done, void *arg)
{
    if (self->round != NULL && self->round->n == MAX_TASKS)
        task_reads_flush(self);
    if (self->round == NULL)
        self->round = round_new();
    self->round->questions[self->round->n++] = (question_t){*task, *account, done, arg};
}

void task_reads_flush(task_reads_t *self)
{
    if (self == NULL || self->round == NULL)
        return;
    round_t *round = self->round;
    self->round = NULL;
    pg_params_reset(&self->params);
    pg_array_begin(&self->params, PG_UUID);
    for (size_t i = 0; i < round->n; i++)
        pg_array_uuid(&self->params, &round->questions[i].task);
    pg_array_end(&self->params);
    pg_array_begin(&self->params, PG_UUID);
    for (size_t i = 0; i < round->n; i++)
        pg_array_uuid(&self->params, &round->questions[i].account);
    pg_array_end(&self->params);
    err_t err = reads_query(self->reads, &select_tasks, &self->params, on_tasks, round);
    if (err != ERR_OK)
        finish(round, err);
}
