/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of those that have a connection; there are at most as many as files may be open. The
 * hash is keyed, so that nobody can choose addresses that meet in one place. */
#include "gateway/crowd.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define N_PLACES 4096 /* a power of two */

typedef struct member {
    struct member *next;
    int64_t n;
    uint8_t key[CROWD_KEY_BYTES];
} member_t;

struct crowd {
    pthread_mutex_t mutex;
    int64_t most;
    int64_t n_refused;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    member_t *places[N_PLACES];
};

crowd_t *crowd_new(int64_t most)
{
    crowd_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->most = most;
    pthread_mutex_init(&self->mutex, NULL);
    randombytes_buf(self->hash_key, sizeof self->hash_key);
    return self;
}

void crowd_destroy(crowd_t **self_p)
{
    crowd_t *self = *self_p;
    if (self == NULL)
        return;
    for (size_t i = 0; i < N_PLACES; i++) {
        for (member_t *next, *at = self->places[i]; at != NULL; at = next) {
            next = at->next;
            free(at);
        }
    }
    pthread_mutex_destroy(&self->mutex);
    free(self);
    *self_p = NULL;
}

/* Where the pointer to the member is, or would be. */
static member_t **find(crowd_t *self, const uint8_t *key)
{
    uint8_t bytes[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(bytes, key, CROWD_KEY_BYTES, self->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    member_t **at = &self->places[hash & (N_PLACES - 1)];
    while (*at != NULL && memcmp((*at)->key, key, CROWD_KEY_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static member_t *add(member_t **at, const uint8_t *key)
{
    *at = calloc(1, sizeof **at);
    if (*at == NULL)
        abort();
    memcpy((*at)->key, key, CROWD_KEY_BYTES);
    return *at;
}

bool crowd_enter(crowd_t *self, const uint8_t key[CROWD_KEY_BYTES])
{
    if (self->most == 0)
        return true;
    pthread_mutex_lock(&self->mutex);
    member_t **at = find(self, key);
    bool has_room = *at == NULL || (*at)->n < self->most;
    if (has_room)
        (*at == NULL ? add(at, key) : *at)->n++;
    else
        self->n_refused++;
    pthread_mutex_unlock(&self->mutex);
    return has_room;
}

void crowd_leave(crowd_t *self, const uint8_t key[CROWD_KEY_BYTES])
{
    if (self->most == 0)
        return;
    pthread_mutex_lock(&self->mutex);
    member_t **at = find(self, key);
    member_t *member = *at;
    if (member != NULL && --member->n == 0) {
        *at = member->next;
        free(member);
    }
    pthread_mutex_unlock(&self->mutex);
}

int64_t crowd_n_refused(crowd_t *self)
{
    pthread_mutex_lock(&self->mutex);
    int64_t n_refused = self->n_refused;
    pthread_mutex_unlock(&self->mutex);
    return n_refused;
}
