/* SPDX-License-Identifier: Apache-2.0 */
/* Keys are compared one by one while a map is small and sorted when it is not, so that a map of
 * 65,536 keys costs a sort and not two billion comparisons. Sorting rather than hashing: no choice
 * of keys makes it slow. */
#include "schema/keys.h"

#include <stdlib.h>

#define MAX_COMPARED 32

static int compare_keys(const void *a, const void *b)
{
    return slice_cmp(*(const slice_t *)a, *(const slice_t *)b);
}

static bool is_among(slice_t key, const slice_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(key, keys[i]))
            return true;
    }
    return false;
}

/* One of 64 bits for a key: two keys with different bits cannot be equal, which spares most
 * comparisons. */
static uint64_t key_bit(slice_t key)
{
    if (key.n_bytes == 0)
        return 1;
    unsigned sum = key.data[0] * 7u + key.data[key.n_bytes - 1] * 3u + key.data[key.n_bytes / 2];
    return (uint64_t)1 << ((sum + key.n_bytes) & 63);
}

static bool has_equal_pair(const slice_t *keys, size_t n)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bit = key_bit(keys[i]);
        if ((seen & bit) != 0 && is_among(keys[i], keys, i))
            return true;
        seen |= bit;
    }
    return false;
}

/* May change the order of the keys. */
static bool has_duplicate(slice_t *keys, size_t n)
{
    if (n <= MAX_COMPARED)
        return has_equal_pair(keys, n);
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++) {
        if (slice_eq(keys[i - 1], keys[i]))
            return true;
    }
    return false;
}

void keys_init(keys_t *self)
{
    self->at = self->inline_keys;
    self->n = 0;
    self->capacity = KEYS_INLINE;
}

void keys_fini(keys_t *self)
{
    if (self->at != self->inline_keys)
        free(self->at);
}

void keys_push(keys_t *self, slice_t key)
{
    if (self->n == self->capacity) {
        bool is_inline = self->at == self->inline_keys;
        slice_t *more = realloc(is_inline ? NULL : self->at, self->capacity * 2 * sizeof *more);
        if (more == NULL)
            abort();
        if (is_inline)
            memcpy(more, self->inline_keys, sizeof self->inline_keys);
        self->at = more;
        self->capacity *= 2;
    }
    self->at[self->n++] = key;
}

bool keys_close(keys_t *self, size_t first)
{
    bool is_fine = !has_duplicate(self->at + first, self->n - first);
    self->n = first;
    return is_fine;
}
