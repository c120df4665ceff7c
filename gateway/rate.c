/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket is one number: the instant at which it will be full again. The table is cut into small
 * sets, as a processor's cache is; a key can stand only in the set that a keyed hash of it names,
 * so that nobody can choose whom he pushes out. */
#include "gateway/rate.h"

#include <sodium.h>
#include <stdlib.h>

#define N_WAYS 4
#define NS_PER_US INT64_C(1000)
#define NS_PER_S INT64_C(1000000000)

typedef struct {
    uint8_t key[RATE_KEY_BYTES];
    int64_t
        full_at_ns; /* of the monotonic clock; in the past: the bucket is full, the place free */
} bucket_t;

struct rate {
    int64_t interval_ns; /* of one; 0: no limit */
    size_t n_sets; /* a power of two */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    bucket_t (*sets)[N_WAYS];
};

rate_t *rate_new(int64_t per_s, size_t max_keys)
{
    rate_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->n_sets = 1;
    while (self->n_sets * N_WAYS * 2 <= max_keys)
        self->n_sets *= 2;
    self->interval_ns = per_s <= 0 ? 0 : per_s >= NS_PER_S ? 1 : NS_PER_S / per_s;
    self->sets = calloc(self->n_sets, sizeof *self->sets);
    if (self->sets == NULL)
        abort();
    randombytes_buf(self->hash_key, sizeof self->hash_key);
    return self;
}

void rate_destroy(rate_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->sets);
    free(*self_p);
    *self_p = NULL;
}

static bucket_t *set_of(rate_t *self, const uint8_t *key)
{
    uint8_t bytes[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(bytes, key, RATE_KEY_BYTES, self->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return self->sets[hash & (self->n_sets - 1)];
}

/* The bucket of the key: the one there is, or the place of the fullest of the others. */
static bucket_t *bucket_of(rate_t *self, const uint8_t *key)
{
    bucket_t *set = set_of(self, key);
    bucket_t *fullest = &set[0];
    for (size_t i = 0; i < N_WAYS; i++) {
        if (memcmp(set[i].key, key, RATE_KEY_BYTES) == 0)
            return &set[i];
        if (set[i].full_at_ns < fullest->full_at_ns)
            fullest = &set[i];
    }
    memcpy(fullest->key, key, RATE_KEY_BYTES);
    fullest->full_at_ns = 0;
    return fullest;
}

bool rate_take(rate_t *self, const uint8_t key[RATE_KEY_BYTES], int64_t mono_us, int64_t *retry_us)
{
    *retry_us = 0;
    if (self->interval_ns == 0)
        return true;
    int64_t now_ns = mono_us * NS_PER_US;
    bucket_t *bucket = bucket_of(self, key);
    int64_t full_at_ns = bucket->full_at_ns > now_ns ? bucket->full_at_ns : now_ns;
    int64_t wait_ns = full_at_ns + self->interval_ns - now_ns - RATE_BURST_S * NS_PER_S;
    if (wait_ns > 0) {
        *retry_us = (wait_ns + NS_PER_US - 1) / NS_PER_US;
        return false;
    }
    bucket->full_at_ns = full_at_ns + self->interval_ns;
    return true;
}
