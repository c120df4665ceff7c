/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once: everything that one batch, or one request, decodes and
 * makes. */
#ifndef TASKWIRE_ARENA_H
#define TASKWIRE_ARENA_H

#include "schema/slice.h"

typedef struct arena arena_t;

/* Makes an empty arena; blocks are taken when they are needed. Never NULL (out of memory aborts).
 */
arena_t *arena_new(void);

/* Frees the arena and all that came from it. Accepts NULL and a pointer to NULL. */
void arena_destroy(arena_t **self_p);

/* Forgets all that came from the arena and keeps a first block for the next use. */
void arena_reset(arena_t *self);

/* Zeroed memory, aligned for any type, until the arena is reset or destroyed. */
void *arena_alloc(arena_t *self, size_t n_bytes);

/* A copy of the bytes, followed by a NUL that does not count. An absent slice stays absent. */
slice_t arena_copy(arena_t *self, slice_t bytes);

/* printf into the arena; the NUL does not count. */
slice_t arena_format(arena_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Bytes held now, for metrics. */
size_t arena_bytes(const arena_t *self);

#endif
