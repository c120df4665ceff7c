/* SPDX-License-Identifier: Apache-2.0 */
/* Against guessing passwords: failed logins in a row are counted by account and by address, and
 * after LOGIN_LIMIT_FREE of them each further one must wait, twice as long each time. A try is
 * counted when it begins, so that many at once are no way around, and forgiven when it turns out
 * right. Bounded memory; no clock of its own. Thread: any. */
#ifndef TASKWIRE_LOGIN_LIMIT_H
#define TASKWIRE_LOGIN_LIMIT_H

#include "schema/slice.h"

#define LOGIN_LIMIT_FREE 10
#define LOGIN_LIMIT_MAX_WAIT_US (INT64_C(900) * 1000000)
#define LOGIN_LIMIT_FORGET_US (INT64_C(3600) * 1000000)

typedef struct login_limit login_limit_t;

/* Keeps at most about `max_keys` accounts and addresses that failed. */
login_limit_t *login_limit_new(size_t max_keys);
void login_limit_destroy(login_limit_t **self_p);

/* Counts a try for this account (its e-mail address in lower case, whether it exists or not) from
 * this address. False, and not counted: it is too early, `retry_us` says by how much. Units:
 * `mono_us` of the monotonic clock. */
bool login_limit_begin(login_limit_t *self, slice_t email, slice_t address, int64_t mono_us,
                       int64_t *retry_us);
/* The try was right: both have a clean slate. */
void login_limit_succeed(login_limit_t *self, slice_t email, slice_t address);

#endif
