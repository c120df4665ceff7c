/* SPDX-License-Identifier: Apache-2.0 */
/* What accounts, logins and the password of /v1/me have in common: fields about passwords, the
 * session that a login gets, the account as clients see it. Functions that return false have
 * answered. */
#ifndef TASKWIRE_LOGINS_H
#define TASKWIRE_LOGINS_H

#include "gateway/auth.h"
#include "gateway/call.h"
#include "schema/data.h"

/* Reads a password that is to be set, or one that is only to be compared; notes what is wrong with
 * it. */
bool logins_read_new_password(const data_value_t *value, slice_t *out);
bool logins_read_password(const data_value_t *value, slice_t *out);

/* Counts a try against the limit, for this address in lower case, before the password is compared;
 * and forgives all tries, when it was right. Errors: RATE_LIMITED; OVERLOADED: no password can be
 * compared now, nothing was counted. */
bool logins_begin(call_t *call, slice_t email);
void logins_succeed(call_t *call, slice_t email);

/* Makes a session for the account and answers 201 {account, token} with the cookie; for a call
 * without identity. `is_replay`: the account was made by an earlier request. */
void logins_open_session(call_t *call, const uuid_t *account, bool is_replay);

/* Appends the account as a msgpack map from a row of LOGINS_ACCOUNT_COLUMNS, and reads such a row.
 */
#define LOGINS_ACCOUNT_COLUMNS                                                                     \
    "a.id, a.rev, a.email, a.name, a.time_zone, a.created_at, a.updated_at, "                      \
    "a.all_day_reminder_time"
void logins_put_account(const pg_result_t *result, buf_t *out);
void logins_read_account(call_t *call, const uuid_t *account, call_read_f *next);

/* Adds a Set-Cookie header; an absent secret makes the browser forget it. */
void logins_put_cookie(call_t *call, slice_t secret);

#endif
