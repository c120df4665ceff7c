/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes in front of libuv's thread pool, because the pool's own queue has no bound and the pool
 * more threads than passwords may have memory. A job owns copies of all that its thread touches, so
 * the client may vanish meanwhile. */
#include "gateway/workers.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <uv.h>

#include "actors/password.h"

typedef enum { LANE_PASSWORDS, LANE_VERIFIES, LANE_COUNT } lane_id_t;

typedef struct job {
    uv_work_t work;
    workers_t *workers;
    lane_id_t lane;
    struct job *next; /* in its lane's queue, or among those that run */
    void (*run)(struct job *job); /* in a thread of the pool */
    void (*tell)(const struct job *job, err_t err);
    atomic_bool is_cancelled;

    /* What it is given. */
    buf_t password;
    buf_t hash_to_match;
    const config_t *config;
    uuid_t list;

    /* What the thread found out. */
    char hash[PASSWORD_HASH_CHARS];
    bool is_good;
    err_t err;
    verify_report_t report;

    /* Who wants to know. */
    worker_hash_f *on_hash;
    worker_match_f *on_match;
    worker_verify_f *on_verify;
    void *arg;
} job_t;

typedef struct {
    size_t max_running;
    size_t max_waiting;
    job_t *first; /* of those that wait */
    job_t **last;
    size_t n_waiting;
    job_t *running;
    size_t n_running;
} lane_t;

struct workers {
    uv_loop_t *loop;
    lane_t lanes[LANE_COUNT];
    bool is_stopped;
};

static void lane_init(lane_t *self, size_t max_running, size_t max_waiting)
{
    self->max_running = max_running;
    self->max_waiting = max_waiting;
    self->last = &self->first;
}

workers_t *workers_new(struct uv_loop_s *loop)
{
    workers_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->loop = loop;
    lane_init(&self->lanes[LANE_PASSWORDS], WORKERS_PASSWORDS_AT_ONCE, WORKERS_PASSWORDS_WAITING);
    lane_init(&self->lanes[LANE_VERIFIES], WORKERS_VERIFIES_AT_ONCE, WORKERS_VERIFIES_WAITING);
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
    for (size_t i = 0; i < LANE_COUNT; i++) {
        if (self->lanes[i].n_running + self->lanes[i].n_waiting > 0)
            return false;
    }
    return true;
}

/* --- the way of a job --- */

static void job_destroy(job_t *job)
{
    if (job->password.n_bytes > 0)
        sodium_memzero(job->password.data, job->password.n_bytes);
    buf_fini(&job->password);
    buf_fini(&job->hash_to_match);
    free(job);
}

static job_t *take_waiting(lane_t *self)
{
    job_t *job = self->first;
    self->first = job->next;
    if (self->first == NULL)
        self->last = &self->first;
    self->n_waiting--;
    return job;
}

static void take_running(lane_t *self, job_t *job)
{
    job_t **at = &self->running;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    self->n_running--;
}

static void run_job(uv_work_t *work)
{
    job_t *job = work->data;
    job->run(job);
}

static void start_jobs(workers_t *self, lane_t *lane);

static void on_job_done(uv_work_t *work, int status)
{
    job_t *job = work->data;
    workers_t *self = job->workers;
    lane_t *lane = &self->lanes[job->lane];
    take_running(lane, job);
    job->tell(job, status == 0 ? job->err : ERR_UNAVAILABLE);
    job_destroy(job);
    start_jobs(self, lane);
}

static void start_jobs(workers_t *self, lane_t *lane)
{
    while (lane->n_running < lane->max_running && lane->n_waiting > 0) {
        job_t *job = take_waiting(lane);
        job->next = lane->running;
        lane->running = job;
        lane->n_running++;
        int rc = uv_queue_work(self->loop, &job->work, run_job, on_job_done);
        assert(rc == 0); /* fails only without a function to run */
        (void)rc;
    }
}

static bool has_room(const workers_t *self, lane_id_t lane)
{
    return !self->is_stopped && self->lanes[lane].n_waiting < self->lanes[lane].max_waiting;
}

bool workers_has_room(const workers_t *self)
{
    return has_room(self, LANE_PASSWORDS);
}

static job_t *job_new(workers_t *self, lane_id_t lane, void *arg)
{
    job_t *job = calloc(1, sizeof *job);
    if (job == NULL)
        abort();
    job->workers = self;
    job->lane = lane;
    job->work.data = job;
    job->arg = arg;
    return job;
}

static void enqueue(job_t *job)
{
    lane_t *lane = &job->workers->lanes[job->lane];
    *lane->last = job;
    lane->last = &job->next;
    lane->n_waiting++;
    start_jobs(job->workers, lane);
}

/* --- passwords --- */

static void run_hash(job_t *job)
{
    job->is_good = password_hash(buf_slice(&job->password), job->hash);
    job->err = job->is_good ? ERR_OK : ERR_OVERLOADED;
}

static void tell_hash(const job_t *job, err_t err)
{
    job->on_hash(job->arg, err, err == ERR_OK ? job->hash : NULL);
}

err_t workers_hash(workers_t *self, slice_t password, worker_hash_f *done, void *arg)
{
    if (!has_room(self, LANE_PASSWORDS))
        return ERR_OVERLOADED;
    job_t *job = job_new(self, LANE_PASSWORDS, arg);
    buf_append_slice(&job->password, password);
    job->run = run_hash;
    job->tell = tell_hash;
    job->on_hash = done;
    enqueue(job);
    return ERR_OK;
}

static void run_match(job_t *job)
{
    job->is_good = password_matches(buf_slice(&job->password), buf_slice(&job->hash_to_match));
}

static void tell_match(const job_t *job, err_t err)
{
    job->on_match(job->arg, err, err == ERR_OK && job->is_good);
}

err_t workers_match(workers_t *self, slice_t password, slice_t hash, worker_match_f *done,
                    void *arg)
{
    if (!has_room(self, LANE_PASSWORDS))
        return ERR_OVERLOADED;
    job_t *job = job_new(self, LANE_PASSWORDS, arg);
    buf_append_slice(&job->password, password);
    buf_append_slice(&job->hash_to_match, hash);
    job->run = run_match;
    job->tell = tell_match;
    job->on_match = done;
    enqueue(job);
    return ERR_OK;
}

/* --- verifying --- */

static void run_verify(job_t *job)
{
    job->err = verify_list(job->config, &job->list, &job->is_cancelled, &job->report);
}

static void tell_verify(const job_t *job, err_t err)
{
    job->on_verify(job->arg, err, err == ERR_OK ? &job->report : NULL);
}

err_t workers_verify(workers_t *self, const config_t *config, const uuid_t *list,
                     worker_verify_f *done, void *arg)
{
    if (!has_room(self, LANE_VERIFIES))
        return ERR_OVERLOADED;
    job_t *job = job_new(self, LANE_VERIFIES, arg);
    job->config = config;
    job->list = *list;
    job->run = run_verify;
    job->tell = tell_verify;
    job->on_verify = done;
    enqueue(job);
    return ERR_OK;
}

/* --- ending --- */

static void cancel_jobs(job_t *first, const void *arg)
{
    for (job_t *job = first; job != NULL; job = job->next) {
        if (arg == NULL || job->arg == arg)
            atomic_store(&job->is_cancelled, true);
    }
}

void workers_cancel(workers_t *self, const void *arg)
{
    for (size_t i = 0; i < LANE_COUNT; i++) {
        cancel_jobs(self->lanes[i].first, arg);
        cancel_jobs(self->lanes[i].running, arg);
    }
}

void workers_stop(workers_t *self)
{
    self->is_stopped = true;
    for (size_t i = 0; i < LANE_COUNT; i++) {
        cancel_jobs(self->lanes[i].running, NULL);
        while (self->lanes[i].n_waiting > 0) {
            job_t *job = take_waiting(&self->lanes[i]);
            job->tell(job, ERR_UNAVAILABLE);
            job_destroy(job);
        }
    }
}
