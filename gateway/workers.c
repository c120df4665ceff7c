/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes in front of the threads, because the queue of libuv's pool has no bound and the pool more
 * threads than a gateway's passwords may have memory. A job owns copies of all that its thread
 * touches, so the client may vanish meanwhile.
 *
 * The pool's few threads serve all loops of the process. So it is for passwords only, which take
 * milliseconds: verifying takes so long that a few at once would leave no thread to log in by, and
 * gets a thread of its own. */
#include "gateway/workers.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <uv.h>

#include "actors/password.h"

typedef enum { LANE_PASSWORDS, LANE_VERIFIES, LANE_COUNT } lane_id_t;

typedef struct job {
    uv_work_t work; /* in the pool */
    uv_thread_t thread; /* of its own, if there is one */
    bool has_thread;
    atomic_bool has_ended; /* what runs outside the pool */
    workers_t *workers;
    lane_id_t lane;
    struct job *next; /* in its lane's queue, or among those that run */
    void (*run)(struct job *job); /* in a thread */
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
    void (*start)(job_t *job);
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
    uv_async_t ended; /* a thread outside the pool; keeps the loop alive while there is one */
    bool is_stopped;
};

static void start_in_pool(job_t *job);
static void start_in_thread(job_t *job);
static void on_thread_ended(uv_async_t *ended);

static void lane_init(lane_t *self, void (*start)(job_t *job), size_t max_running,
                      size_t max_waiting)
{
    self->start = start;
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
    lane_init(&self->lanes[LANE_PASSWORDS], start_in_pool, WORKERS_PASSWORDS_AT_ONCE,
              WORKERS_PASSWORDS_WAITING);
    lane_init(&self->lanes[LANE_VERIFIES], start_in_thread, WORKERS_VERIFIES_AT_ONCE,
              WORKERS_VERIFIES_WAITING);
    if (uv_async_init(loop, &self->ended, on_thread_ended) != 0)
        abort(); /* the loop has its descriptor already */
    self->ended.data = self;
    uv_unref((uv_handle_t *)&self->ended);
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

static void start_jobs(lane_t *lane)
{
    while (lane->n_running < lane->max_running && lane->n_waiting > 0) {
        job_t *job = take_waiting(lane);
        job->next = lane->running;
        lane->running = job;
        lane->n_running++;
        lane->start(job);
    }
}

static void end_job(job_t *job, err_t err)
{
    lane_t *lane = &job->workers->lanes[job->lane];
    take_running(lane, job);
    job->tell(job, err);
    job_destroy(job);
    start_jobs(lane);
}

/* --- in the pool --- */

static void run_in_pool(uv_work_t *work)
{
    job_t *job = work->data;
    job->run(job);
}

static void on_work_done(uv_work_t *work, int status)
{
    job_t *job = work->data;
    end_job(job, status == 0 ? job->err : ERR_UNAVAILABLE);
}

static void start_in_pool(job_t *job)
{
    int rc = uv_queue_work(job->workers->loop, &job->work, run_in_pool, on_work_done);
    assert(rc == 0); /* fails only without a function to run */
    (void)rc;
}

/* --- in a thread of its own --- */

static void say_ended(job_t *job)
{
    atomic_store(&job->has_ended, true);
    uv_async_send(&job->workers->ended);
}

static void run_in_thread(void *arg)
{
    job_t *job = arg;
    pthread_setname_np(pthread_self(), "verify");
    job->run(job);
    say_ended(job);
}

static void start_in_thread(job_t *job)
{
    uv_ref((uv_handle_t *)&job->workers->ended);
    job->has_thread = uv_thread_create(&job->thread, run_in_thread, job) == 0;
    if (job->has_thread)
        return;
    job->err = ERR_OVERLOADED;
    say_ended(job);
}

static job_t *find_ended(const lane_t *self)
{
    job_t *job = self->running;
    while (job != NULL && !atomic_load(&job->has_ended))
        job = job->next;
    return job;
}

/* Nothing may run any more when it is closed: the threads use it. */
static void close_if_over(workers_t *self)
{
    uv_handle_t *ended = (uv_handle_t *)&self->ended;
    if (self->lanes[LANE_VERIFIES].n_running > 0)
        return;
    uv_unref(ended);
    if (self->is_stopped && !uv_is_closing(ended))
        uv_close(ended, NULL);
}

static void on_thread_ended(uv_async_t *ended)
{
    workers_t *self = ended->data;
    job_t *job;
    while ((job = find_ended(&self->lanes[LANE_VERIFIES])) != NULL) {
        if (job->has_thread)
            uv_thread_join(&job->thread);
        end_job(job, job->err);
    }
    close_if_over(self);
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
    start_jobs(lane);
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
    close_if_over(self);
}
