/* SPDX-License-Identifier: Apache-2.0 */
/* Slow work off the loop: hashing and checking passwords, which takes some 30 ms and 19 MiB each,
 * on libuv's thread pool, and verifying an audit chain, which takes up to 30 s and a connection, in
 * a thread of its own. Each kind has a lane of its own, with bounds on how many run and how many
 * wait. Thread: the loop's. */
#ifndef TASKWIRE_WORKERS_H
#define TASKWIRE_WORKERS_H

#include "actors/verify.h"
#include "gateway/inner.h"

#define WORKERS_PASSWORDS_AT_ONCE 2
#define WORKERS_PASSWORDS_WAITING 64
#define WORKERS_VERIFIES_AT_ONCE 1
#define WORKERS_VERIFIES_WAITING 8

/* `err` is OK, OVERLOADED (no memory for it) or UNAVAILABLE (the program stops). */
typedef void worker_hash_f(void *arg, err_t err, const char *hash);
typedef void worker_match_f(void *arg, err_t err, bool is_match);
/* `err` as verify_list has it, or OVERLOADED: no thread can be had. */
typedef void worker_verify_f(void *arg, err_t err, const verify_report_t *report);

workers_t *workers_new(struct uv_loop_s *loop);
/* Answers UNAVAILABLE to what waits. What runs must end before workers_destroy, and the loop must
 * run until nothing keeps it: workers_is_idle tells. */
void workers_stop(workers_t *self);
bool workers_is_idle(const workers_t *self);
void workers_destroy(workers_t **self_p);

/* Whether one more password would be taken now. */
bool workers_has_room(const workers_t *self);

/* In each of these `done` is called exactly once, later, unless it fails. Errors: OVERLOADED: too
 * many wait. */

/* Hashes a password, which is copied, and wiped afterwards. */
err_t workers_hash(workers_t *self, slice_t password, worker_hash_f *done, void *arg);
/* Checks a password against a hash. */
err_t workers_match(workers_t *self, slice_t password, slice_t hash, worker_match_f *done,
                    void *arg);
/* Verifies the audit chain of a list. */
err_t workers_verify(workers_t *self, const config_t *config, const uuid_t *list,
                     worker_verify_f *done, void *arg);

/* Whoever asked with this `arg` no longer wants to know: what can be cut short is. `done` is still
 * called. */
void workers_cancel(workers_t *self, const void *arg);

#endif
