/* SPDX-License-Identifier: Apache-2.0 */
/* Slow work off the loop. Hashing and checking passwords takes some 30 ms and 19 MiB each: only WORKERS_AT_ONCE run at a
 * time, on libuv's thread pool, and only WORKERS_QUEUE wait. An errand may take many seconds: one runs at a time, in a
 * thread of its own, so that no login waits for it, and only WORKERS_ERRANDS wait. Thread: the loop's. */
#ifndef TASKWIRE_WORKERS_H
#define TASKWIRE_WORKERS_H

#include <stdatomic.h>

#include "gateway/inner.h"

#define WORKERS_AT_ONCE 2
#define WORKERS_QUEUE 64
#define WORKERS_ERRANDS 8

/* `err` is OK, OVERLOADED (no memory for it) or UNAVAILABLE (the program stops). */
typedef void worker_hash_f(void *arg, err_t err, const char *hash);
typedef void worker_match_f(void *arg, err_t err, bool is_match);

workers_t *workers_new(struct uv_loop_s *loop);
/* Answers UNAVAILABLE to what waits. What runs must end before workers_destroy: workers_is_idle tells. */
void workers_stop(workers_t *self);
bool workers_is_idle(const workers_t *self);
void workers_destroy(workers_t **self_p);

/* Whether one more would be taken now. */
bool workers_has_room(const workers_t *self);
/* Hashes a password, which is copied, and wiped afterwards. `done` is called exactly once, later, unless this fails.
 * Errors: OVERLOADED: too many wait. */
err_t workers_hash(workers_t *self, slice_t password, worker_hash_f *done, void *arg);
/* Checks a password against a hash. Errors: OVERLOADED. */
err_t workers_match(workers_t *self, slice_t password, slice_t hash, worker_match_f *done, void *arg);

/* Runs in a thread of its own. Should end soon once `is_cancelled` is set: the program stops. */
typedef void worker_run_f(void *arg, const atomic_bool *is_cancelled);
/* `err` is OK (it has run), OVERLOADED (there is no thread for it) or UNAVAILABLE (it was not begun). */
typedef void worker_done_f(void *arg, err_t err);

/* Runs an errand. `done` is called exactly once, perhaps at once, unless this fails. Owns: `arg` stays the caller's until then.
 * Errors: OVERLOADED: too many wait. */
err_t workers_run(workers_t *self, worker_run_f *run, worker_done_f *done, void *arg);

#endif
