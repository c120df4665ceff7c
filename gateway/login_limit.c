/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts and addresses share one table, cut into small sets like a processor's cache; a keyed
 * hash says in which set a name may stand, so that nobody can choose whom he pushes out. When a set
 * is full, the one with the fewest failures makes room. One lock for all: beside what comparing a
 * password costs, it is nothing. */
#include "gateway/login_limit.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define N_WAYS 8
#define KEY_BYTES 16
#define FIRST_WAIT_US INT64_C(1000000)
#define MAX_DOUBLINGS 20

typedef struct {
    uint8_t key[KEY_BYTES];
    int64_t n_failed; /* in a row; 0: the place is free */
    int64_t last_us;
    int64_t closed_until_us;
} slate_t;

struct login_limit {
    pthread_mutex_t mutex;
    size_t n_sets; /* a power of two */
    uint8_t hash_key[crypto_generichash_KEYBYTES];
    slate_t (*sets)[N_WAYS];
};

login_limit_t *login_limit_new(size_t max_keys)
{
    login_limit_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    pthread_mutex_init(&self->mutex, NULL);
    self->n_sets = 1;
    while (self->n_sets * N_WAYS * 2 <= max_keys)
        self->n_sets *= 2;
    self->sets = calloc(self->n_sets, sizeof *self->sets);
    if (self->sets == NULL)
        abort();
    randombytes_buf(self->hash_key, sizeof self->hash_key);
    return self;
}

void login_limit_destroy(login_limit_t **self_p)
{
    if (*self_p == NULL)
        return;
    pthread_mutex_destroy(&(*self_p)->mutex);
    free((*self_p)->sets);
    free(*self_p);
    *self_p = NULL;
}

static void make_key(const login_limit_t *self, char kind, slice_t name, uint8_t out[KEY_BYTES])
{
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, self->hash_key, sizeof self->hash_key, KEY_BYTES);
    crypto_generichash_update(&hash, (const uint8_t *)&kind, 1);
    crypto_generichash_update(&hash, name.data, name.n_bytes);
    crypto_generichash_final(&hash, out, KEY_BYTES);
}

static slate_t *set_of(login_limit_t *self, const uint8_t *key)
{
    uint64_t hash;
    memcpy(&hash, key, sizeof hash);
    return self->sets[hash & (self->n_sets - 1)];
}

static slate_t *find(login_limit_t *self, const uint8_t *key)
{
    slate_t *set = set_of(self, key);
    for (size_t i = 0; i < N_WAYS; i++) {
        if (set[i].n_failed > 0 && memcmp(set[i].key, key, KEY_BYTES) == 0)
            return &set[i];
    }
    return NULL;
}

static slate_t *find_or_add(login_limit_t *self, const uint8_t *key)
{
    slate_t *found = find(self, key);
    if (found != NULL)
        return found;
    slate_t *set = set_of(self, key);
    slate_t *place = &set[0];
    for (size_t i = 1; i < N_WAYS; i++) {
        if (set[i].n_failed < place->n_failed)
            place = &set[i];
    }
    *place = (slate_t){0};
    memcpy(place->key, key, KEY_BYTES);
    return place;
}

static int64_t wait_after(int64_t n_failed)
{
    int64_t doublings = n_failed - LOGIN_LIMIT_FREE;
    if (doublings < 0)
        return 0;
    int64_t wait_us = FIRST_WAIT_US << (doublings < MAX_DOUBLINGS ? doublings : MAX_DOUBLINGS);
    return wait_us < LOGIN_LIMIT_MAX_WAIT_US ? wait_us : LOGIN_LIMIT_MAX_WAIT_US;
}

static int64_t time_to_wait(login_limit_t *self, const uint8_t *key, int64_t mono_us)
{
    const slate_t *slate = find(self, key);
    return slate == NULL || slate->closed_until_us <= mono_us ? 0
                                                              : slate->closed_until_us - mono_us;
}

static void count(login_limit_t *self, const uint8_t *key, int64_t mono_us)
{
    slate_t *slate = find_or_add(self, key);
    if (mono_us - slate->last_us > LOGIN_LIMIT_FORGET_US)
        slate->n_failed = 0;
    slate->n_failed++;
    slate->last_us = mono_us;
    slate->closed_until_us = mono_us + wait_after(slate->n_failed);
}

bool login_limit_begin(login_limit_t *self, slice_t email, slice_t address, int64_t mono_us,
                       int64_t *retry_us)
{
    uint8_t keys[2][KEY_BYTES];
    make_key(self, 'e', email, keys[0]);
    make_key(self, 'a', address, keys[1]);
    pthread_mutex_lock(&self->mutex);
    int64_t by_email_us = time_to_wait(self, keys[0], mono_us);
    int64_t by_address_us = time_to_wait(self, keys[1], mono_us);
    *retry_us = by_email_us > by_address_us ? by_email_us : by_address_us;
    bool may_try = *retry_us <= 0;
    if (may_try) {
        count(self, keys[0], mono_us);
        count(self, keys[1], mono_us);
    }
    pthread_mutex_unlock(&self->mutex);
    return may_try;
}

static void clear(login_limit_t *self, char kind, slice_t name)
{
    uint8_t key[KEY_BYTES];
    make_key(self, kind, name, key);
    slate_t *slate = find(self, key);
    if (slate != NULL)
        *slate = (slate_t){0};
}

void login_limit_succeed(login_limit_t *self, slice_t email, slice_t address)
{
    pthread_mutex_lock(&self->mutex);
    clear(self, 'e', email);
    clear(self, 'a', address);
    pthread_mutex_unlock(&self->mutex);
}
