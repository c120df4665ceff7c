/* SPDX-License-Identifier: Apache-2.0 */
/* Whose secret is this? Secrets are random; only their hash is stored, and is what they are looked
 * up by. What was found is believed for AUTH_KNOWN_US, that there is no such token for
 * AUTH_UNKNOWN_US; both caches are bounded. The functions that others use are in inner.h. Thread:
 * the loop's. */
#ifndef TASKWIRE_AUTH_H
#define TASKWIRE_AUTH_H

#include "gateway/inner.h"

#define AUTH_SECRET_CHARS 46 /* tw_ and 43 characters of base64url */
#define AUTH_HASH_BYTES 32
#define AUTH_COOKIE "taskwire_session"
#define AUTH_KNOWN_US INT64_C(5000000)
#define AUTH_UNKNOWN_US INT64_C(1000000)
#define AUTH_MAX_KNOWN 16384
#define AUTH_MAX_UNKNOWN 4096

auth_t *auth_new(gateway_t *gateway);
/* All lookups must have ended: reads_stop sees to that. */
void auth_destroy(auth_t **self_p);

/* Forgets what is too old; once a second. */
void auth_on_tick(auth_t *self);
/* Forgets everything. */
void auth_forget_all(auth_t *self);

/* A new random secret, and the hash that is stored of one. */
void auth_make_secret(char out[AUTH_SECRET_CHARS + 1]);
void auth_hash_secret(slice_t secret, uint8_t out[AUTH_HASH_BYTES]);

#endif
