/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table by id of structs that belong to somebody else. Several may have the same id. Clients
 * choose ids, so the hash has a random key per table: nobody can make all of theirs collide. */
#ifndef TASKWIRE_IDMAP_H
#define TASKWIRE_IDMAP_H

#include "schema/uuid.h"

/* To be embedded in what the table holds. */
typedef struct idnode {
    struct idnode *next;
    uuid_t id;
} idnode_t;

typedef struct {
    idnode_t **buckets;
    size_t n_buckets; /* a power of two */
    size_t n;
    uint64_t key[2];
} idmap_t;

void idmap_init(idmap_t *self);
/* Frees the table, not what it held. */
void idmap_fini(idmap_t *self);

/* Adds the node under this id. */
void idmap_put(idmap_t *self, idnode_t *node, const uuid_t *id);
/* Takes out a node that is in it. */
void idmap_remove(idmap_t *self, idnode_t *node);

/* A node with this id, or NULL; and the next one with the same id. */
idnode_t *idmap_find(const idmap_t *self, const uuid_t *id);
idnode_t *idmap_find_next(const idnode_t *node);

/* Walks all nodes in no order: NULL gives the first, NULL is answered behind the last. Nothing may
 * be put meanwhile; a node may be removed once the one behind it is known. */
idnode_t *idmap_walk(const idmap_t *self, const idnode_t *node);

#endif
