/* SPDX-License-Identifier: Apache-2.0 */
/* Chained buckets, doubled as they fill. The hash is one multiplication of 64 × 64 bits, both
 * halves of the product folded, after each half of the id was mixed with the table's key. Source:
 * the mixing step of wyhash (public domain). */
#include "actors/idmap.h"

#include <sodium.h>
#include <stdlib.h>

#define FIRST_BUCKETS 16

static size_t bucket_of(const idmap_t *self, const uuid_t *id)
{
    uint64_t halves[2];
    memcpy(halves, id->bytes, sizeof halves);
    __uint128_t product = (__uint128_t)(halves[0] ^ self->key[0]) * (halves[1] ^ self->key[1]);
    return (size_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & (self->n_buckets - 1);
}

static idnode_t **new_buckets(size_t n)
{
    idnode_t **buckets = calloc(n, sizeof *buckets);
    if (buckets == NULL)
        abort();
    return buckets;
}

void idmap_init(idmap_t *self)
{
    *self = (idmap_t){.buckets = new_buckets(FIRST_BUCKETS), .n_buckets = FIRST_BUCKETS};
    randombytes_buf(self->key, sizeof self->key);
}

void idmap_fini(idmap_t *self)
{
    free(self->buckets);
    *self = (idmap_t){0};
}

static void insert(idmap_t *self, idnode_t *node)
{
    idnode_t **bucket = &self->buckets[bucket_of(self, &node->id)];
    node->next = *bucket;
    *bucket = node;
}

static void grow(idmap_t *self)
{
    idnode_t **before = self->buckets;
    size_t n_before = self->n_buckets;
    self->n_buckets *= 2;
    self->buckets = new_buckets(self->n_buckets);
    for (size_t i = 0; i < n_before; i++) {
        for (idnode_t *node = before[i]; node != NULL;) {
            idnode_t *next = node->next;
            insert(self, node);
            node = next;
        }
    }
    free(before);
}

void idmap_put(idmap_t *self, idnode_t *node, const uuid_t *id)
{
    if (self->n >= self->n_buckets)
        grow(self);
    node->id = *id;
    insert(self, node);
    self->n++;
}

void idmap_remove(idmap_t *self, idnode_t *node)
{
    idnode_t **at = &self->buckets[bucket_of(self, &node->id)];
    while (*at != NULL && *at != node)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = node->next;
    node->next = NULL;
    self->n--;
}

static idnode_t *first_with(idnode_t *node, const uuid_t *id)
{
    while (node != NULL && !uuid_eq(&node->id, id))
        node = node->next;
    return node;
}

idnode_t *idmap_find(const idmap_t *self, const uuid_t *id)
{
    return first_with(self->buckets[bucket_of(self, id)], id);
}

idnode_t *idmap_find_next(const idnode_t *node)
{
    return first_with(node->next, &node->id);
}

idnode_t *idmap_walk(const idmap_t *self, const idnode_t *node)
{
    if (node != NULL && node->next != NULL)
        return node->next;
    size_t i = node == NULL ? 0 : bucket_of(self, &node->id) + 1;
    while (i < self->n_buckets && self->buckets[i] == NULL)
        i++;
    return i < self->n_buckets ? self->buckets[i] : NULL;
}
