/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes that somebody else owns: text, a msgpack value, a blob. Never NUL-terminated by
 * promise, never stored beyond the life of what it points into; what is kept is copied by name
 * (arena_copy, buf_append). */
#ifndef TASKWIRE_SLICE_H
#define TASKWIRE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *data;
    size_t n_bytes;
} slice_t;

/* A slice over `n_bytes` at `data`. */
static inline slice_t slice_of(const void *data, size_t n_bytes)
{
    return (slice_t){(const uint8_t *)data, n_bytes};
}

/* A slice over a C string, without its NUL. */
static inline slice_t slice_str(const char *text)
{
    return slice_of(text, strlen(text));
}

/* The empty slice; `data` is NULL, which no other slice has. Stands for "absent" where that is
 * possible. */
static inline slice_t slice_none(void)
{
    return (slice_t){NULL, 0};
}

/* Whether both hold the same bytes. */
static inline bool slice_eq(slice_t a, slice_t b)
{
    return a.n_bytes == b.n_bytes && (a.n_bytes == 0 || memcmp(a.data, b.data, a.n_bytes) == 0);
}

/* Whether the slice holds exactly this C string. */
static inline bool slice_is(slice_t a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

/* Order by bytes, a prefix first: negative, zero or positive as with memcmp. */
static inline int slice_cmp(slice_t a, slice_t b)
{
    size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (order != 0)
        return order;
    return a.n_bytes < b.n_bytes ? -1 : a.n_bytes > b.n_bytes;
}

#endif
