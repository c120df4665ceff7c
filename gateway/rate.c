/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket is one number: the instant at which it will be full again. The table is cut into small
 * sets, as a processor's cache is; a key can stand only in the set that a keyed hash of it names,
 * so that nobody can choose whom he pushes out. Several sets share a lock, which is held for some
 * nanoseconds and seldom wanted by two. */
#include "gateway/rate.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define N_WAYS 4
#define N_LOCKS 64 /* a power of two */
#define LINE_BYTES 64 /* of the processor's cache */
#define NS_PER_US INT64_C(1000)
#define NS_PER_S INT64_C(1000000000)

typedef struct {
    uint8_t key[RATE_KEY_BYTES];
    int64_t
        full_at_ns; /* of the monotonic clock; in the past: the bucket is full, the place free */
} bucket_t;

/* On a line of its own, so that threads that take different locks do not disturb each other. */
typedef struct {
    _Alignas(LINE_BYTES) pthread_mutex_t mutex;
} lock_t;

struct rate {
    lock_t locks[N_LOCKS];
    int64_t interval_ns; /* of one; 0: no limit */
    size_t n_sets; /* a power of two */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    bucket_t (*sets)[N_WAYS];
};

rate_t *rate_new(int64_t per_s, size_t max_keys)
{
    rate_t *self = aligned_alloc(LINE_BYTES, sizeof *self);
    if (self == NULL)
        abort();
    memset(self, 0, sizeof *self);
    for (size_t i = 0; i < N_LOCKS; i++)
        pthread_mutex_init(&self->locks[i].mutex, NULL);
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
    for (size_t i = 0; i < N_LOCKS; i++)
        pthread_mutex_destroy(&(*self_p)->locks[i].mutex);
    free((*self_p)->sets);
    free(*self_p);
    *self_p = NULL;
}

static size_t set_of(const rate_t *self, const uint8_t *key)
{
    uint8_t bytes[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(bytes, key, RATE_KEY_BYTES, self->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return hash & (self->n_sets - 1);
}

/* The bucket of the key: the one there is, or the place of the fullest of the others. */
static bucket_t *bucket_of(bucket_t set[N_WAYS], const uint8_t *key)
{
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

/* Takes `n` from the bucket if `n_needed` are there; returns how long to wait for these, else 0 or
 * less. */
static int64_t take(const rate_t *self, bucket_t *bucket, int64_t n, int64_t n_needed,
                    int64_t now_ns)
{
    int64_t full_at_ns = bucket->full_at_ns > now_ns ? bucket->full_at_ns : now_ns;
    int64_t wait_ns = full_at_ns + n_needed * self->interval_ns - now_ns - RATE_BURST_S * NS_PER_S;
    if (wait_ns <= 0)
        bucket->full_at_ns = full_at_ns + n * self->interval_ns;
    return wait_ns;
}

static int64_t take_of(rate_t *self, const uint8_t *key, int64_t n, int64_t n_needed,
                       int64_t mono_us)
{
    size_t set = set_of(self, key);
    pthread_mutex_t *mutex = &self->locks[set & (N_LOCKS - 1)].mutex;
    pthread_mutex_lock(mutex);
    int64_t wait_ns = take(self, bucket_of(self->sets[set], key), n, n_needed, mono_us * NS_PER_US);
    pthread_mutex_unlock(mutex);
    return wait_ns;
}

bool rate_take(rate_t *self, const uint8_t key[RATE_KEY_BYTES], int64_t mono_us, int64_t *retry_us)
{
    *retry_us = 0;
    if (self->interval_ns == 0)
        return true;
    int64_t wait_ns = take_of(self, key, 1, 1, mono_us);
    if (wait_ns > 0)
        *retry_us = (wait_ns + NS_PER_US - 1) / NS_PER_US;
    return wait_ns <= 0;
}

bool rate_take_more(rate_t *self, const uint8_t key[RATE_KEY_BYTES], int64_t n_more,
                    int64_t mono_us, int64_t *retry_us)
{
    *retry_us = 0;
    if (self->interval_ns == 0)
        return true;
    int64_t n_at_most = RATE_BURST_S * NS_PER_S / self->interval_ns - 1;
    int64_t n_needed = n_more < n_at_most ? n_more : n_at_most;
    int64_t wait_ns = take_of(self, key, n_more, n_needed, mono_us);
    if (wait_ns > 0) /* and for the one */
        *retry_us = (wait_ns + self->interval_ns + NS_PER_US - 1) / NS_PER_US;
    return wait_ns <= 0;
}
