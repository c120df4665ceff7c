/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords are kept as argon2id hashes only. Source: RFC 9106; the parameters are OWASP's (19 MiB,
 * 2 passes). */
#ifndef TASKWIRE_PASSWORD_H
#define TASKWIRE_PASSWORD_H

#include "schema/slice.h"

/* A hash as text with its parameters (PHC form), its NUL included. */
#define PASSWORD_HASH_CHARS 128

/* Characters of a password that is made up. */
#define PASSWORD_MADE_CHARS 20

/* Hashes with a fresh salt. False if memory is short. Takes some 30 ms and 19 MiB. Thread: any.
 * Blocks. */
bool password_hash(slice_t password, char out[PASSWORD_HASH_CHARS]);

/* Whether the hash is of this password. A text that is no hash matches nothing, after the same
 * time. Thread: any. Blocks. */
bool password_matches(slice_t password, slice_t hash);

/* Makes one up: letters and digits that are not easily confused, over 100 bits. */
void password_make(char out[PASSWORD_MADE_CHARS + 1]);

#endif
