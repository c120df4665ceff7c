/* SPDX-License-Identifier: Apache-2.0 */
/* libsodium does the work; here are only the parameters, in one place, so that the gateway and the
 * command line agree. Who must not learn by the time an answer takes whether an account exists asks
 * with an empty hash: that is compared with a hash of nothing anyone knows. */
#include "actors/password.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define PASSES 2
#define MEMORY_BYTES ((size_t)19 * 1024 * 1024)

static_assert(PASSWORD_HASH_CHARS == crypto_pwhash_argon2id_STRBYTES, "as libsodium has it");

/* Of a random password that was thrown away. */
static const char nobodys_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$upaEABYHEp0mRig/Nzy/cg$"
                                   "QtPdjyoSd5KmkBJx7GRA6SYQD8cebgDYPFE5P857Exw";

/* libsodium and the C library want an address even of nothing. */
static const char *characters(slice_t password)
{
    return password.n_bytes > 0 ? (const char *)password.data : "";
}

bool password_hash(slice_t password, char out[PASSWORD_HASH_CHARS])
{
    return crypto_pwhash_argon2id_str(out, characters(password), password.n_bytes, PASSES,
                                      MEMORY_BYTES) == 0;
}

/* libsodium wants a zero-terminated text in a buffer of full size. */
static bool verify(slice_t password, const char *hash)
{
    return crypto_pwhash_argon2id_str_verify(hash, characters(password), password.n_bytes) == 0;
}

bool password_matches(slice_t password, slice_t hash)
{
    char text[PASSWORD_HASH_CHARS] = {0};
    bool is_hash = hash.n_bytes < sizeof text;
    if (is_hash && hash.n_bytes > 0)
        memcpy(text, hash.data, hash.n_bytes);
    is_hash = is_hash && strncmp(text, crypto_pwhash_argon2id_STRPREFIX,
                                 strlen(crypto_pwhash_argon2id_STRPREFIX)) == 0;
    bool is_match = verify(password, is_hash ? text : nobodys_hash);
    return is_hash && is_match;
}

void password_make(char out[PASSWORD_MADE_CHARS + 1])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    for (size_t i = 0; i < PASSWORD_MADE_CHARS; i++)
        out[i] = letters[randombytes_uniform(sizeof letters - 1)];
    out[PASSWORD_MADE_CHARS] = '\0';
}
