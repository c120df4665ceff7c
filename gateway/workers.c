/* SPDX-License-Identifier: Apache-2.0 */
/* A queue in front of libuv's thread pool, because the pool's own has no bound and the pool more
 * threads than passwords may have memory. A job owns copies of all that its thread touches, so the
 * client may vanish meanwhile. Errands have a queue and a thread of their own: those of all gateways
 * together could fill the pool. */
#include "gateway/workers.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <uv.h>

#include "actors/password.h"

typedef struct job {
    uv_work_t work;
    workers_t *workers;
    struct job *next;
    buf_t password;
    buf_t hash_to_match; /* of a match */
    worker_hash_f *on_hash; /* NULL: it is a match */
    worker_match_f *on_match;
    void *arg;

    /* What the thread found out. */
    char hash[PASSWORD_HASH_CHARS];
    bool is_good;
} job_t;

typedef struct {
    workers_t *workers;
    worker_run_f *run;
    worker_done_f *done;
    void *arg;
    uv_thread_t thread;
    uv_async_t end; /* rung by the thread as its last act */
} errand_t;

struct workers {
    uv_loop_t *loop;
    job_t *first; /* of those that wait */
    job_t **last;
    size_t n_waiting;
    size_t n_running;
    errand_t *errands[WORKERS_ERRANDS + 1]; /* the first of them runs */
    size_t n_errands;
    atomic_bool is_cancelled;
    bool is_stopped;
};

workers_t *workers_new(struct uv_loop_s *loop)
{
    workers_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->loop = loop;
    self->last = &self->first;
    return self;
}

void workers_destroy(workers_t **self_p)
{
    if (*self_p == NULL)
        return;
    assert(workers_is_idle(*self_p));
    free(*self_p);
    *self_p = NULL;
}

bool workers_is_idle(const workers_t *self)
{
    return self->n_running == 0 && self->n_waiting == 0 && self->n_errands == 0;
}

static void job_destroy(job_t *job)
{
    if (job->password.n_bytes > 0)
        sodium_memzero(job->password.data, job->password.n_bytes);
    buf_fini(&job->password);
    buf_fini(&job->hash_to_match);
    free(job);
}

/* In a thread of the pool. */
static void run_job(uv_work_t *work)
{
    job_t *job = work->data;
    slice_t password = buf_slice(&job->password);
    job->is_good = job->on_hash != NULL
                       ? password_hash(password, job->hash)
                       : password_matches(password, buf_slice(&job->hash_to_match));
}

static void tell(const job_t *job, err_t err)
{
    if (job->on_match != NULL)
        job->on_match(job->arg, err, err == ERR_OK && job->is_good);
    else if (err == ERR_OK && !job->is_good)
        job->on_hash(job->arg, ERR_OVERLOADED, NULL);
    else
        job->on_hash(job->arg, err, err == ERR_OK ? job->hash : NULL);
}

static job_t *take_waiting(workers_t *self)
{
    job_t *job = self->first;
    self->first = job->next;
    if (self->first == NULL)
        self->last = &self->first;
    self->n_waiting--;
    return job;
}

static void start_jobs(workers_t *self);

static void on_job_done(uv_work_t *work, int status)
{
    job_t *job = work->data;
    workers_t *self = job->workers;
    self->n_running--;
    tell(job, status == 0 ? ERR_OK : ERR_UNAVAILABLE);
    job_destroy(job);
    start_jobs(self);
}

static void start_jobs(workers_t *self)
{
    while (self->n_running < WORKERS_AT_ONCE && self->n_waiting > 0) {
        job_t *job = take_waiting(self);
        self->n_running++;
        int rc = uv_queue_work(self->loop, &job->work, run_job, on_job_done);
        assert(rc == 0); /* fails only without a function to run */
        (void)rc;
    }
}

static job_t *job_new(workers_t *self, slice_t password, void *arg)
{
    job_t *job = calloc(1, sizeof *job);
    if (job == NULL)
        abort();
    job->workers = self;
    job->work.data = job;
    job->arg = arg;
    buf_append_slice(&job->password, password);
    return job;
}

bool workers_has_room(const workers_t *self)
{
    return !self->is_stopped && self->n_waiting < WORKERS_QUEUE;
}

static void enqueue(workers_t *self, job_t *job)
{
    *self->last = job;
    self->last = &job->next;
    self->n_waiting++;
    start_jobs(self);
}

err_t workers_hash(workers_t *self, slice_t password, worker_hash_f *done, void *arg)
{
    if (!workers_has_room(self))
        return ERR_OVERLOADED;
    job_t *job = job_new(self, password, arg);
    job->on_hash = done;
    enqueue(self, job);
    return ERR_OK;
}

err_t workers_match(workers_t *self, slice_t password, slice_t hash, worker_match_f *done,
                    void *arg)
{
    if (!workers_has_room(self))
        return ERR_OVERLOADED;
    job_t *job = job_new(self, password, arg);
    job->on_match = done;
    buf_append_slice(&job->hash_to_match, hash);
    enqueue(self, job);
    return ERR_OK;
}

/* --- errands --- */

static void run_errand(void *arg)
{
    errand_t *errand = arg;
    errand->run(errand->arg, &errand->workers->is_cancelled);
    uv_async_send(&errand->end);
}

static void free_errand(uv_handle_t *handle)
{
    free(handle->data);
}

/* Takes an errand out of the queue and tells its asker. */
static void end_errand(errand_t *errand, size_t place, err_t err)
{
    workers_t *self = errand->workers;
    self->n_errands--;
    for (size_t i = place; i < self->n_errands; i++)
        self->errands[i] = self->errands[i + 1];
    errand->done(errand->arg, err);
}

static void start_errand(workers_t *self);

static void on_errand_end(uv_async_t *handle)
{
    errand_t *errand = handle->data;
    workers_t *self = errand->workers;
    uv_thread_join(&errand->thread);
    end_errand(errand, 0, ERR_OK);
    uv_close((uv_handle_t *)handle, free_errand);
    start_errand(self);
}

/* Starts the first. */
static void start_errand(workers_t *self)
{
    while (self->n_errands > 0) {
        errand_t *errand = self->errands[0];
        errand->end.data = errand;
        if (uv_async_init(self->loop, &errand->end, on_errand_end) != 0) {
            end_errand(errand, 0, ERR_OVERLOADED);
            free(errand);
            continue;
        }
        if (uv_thread_create(&errand->thread, run_errand, errand) == 0)
            return;
        end_errand(errand, 0, ERR_OVERLOADED);
        uv_close((uv_handle_t *)&errand->end, free_errand);
    }
}

err_t workers_run(workers_t *self, worker_run_f *run, worker_done_f *done, void *arg)
{
    if (self->is_stopped || self->n_errands > WORKERS_ERRANDS)
        return ERR_OVERLOADED;
    errand_t *errand = calloc(1, sizeof *errand);
    if (errand == NULL)
        abort();
    *errand = (errand_t){.workers = self, .run = run, .done = done, .arg = arg};
    self->errands[self->n_errands++] = errand;
    if (self->n_errands == 1)
        start_errand(self);
    return ERR_OK;
}

static void stop_errands(workers_t *self)
{
    atomic_store(&self->is_cancelled, true);
    while (self->n_errands > 1) {
        errand_t *errand = self->errands[1];
        end_errand(errand, 1, ERR_UNAVAILABLE);
        free(errand);
    }
}

void workers_stop(workers_t *self)
{
    self->is_stopped = true;
    while (self->n_waiting > 0) {
        job_t *job = take_waiting(self);
        tell(job, ERR_UNAVAILABLE);
        job_destroy(job);
    }
    stop_errands(self);
}
