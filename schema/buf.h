/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes with one owner: what is being encoded. Zero-initialised is empty and
 * valid. */
#ifndef TASKWIRE_BUF_H
#define TASKWIRE_BUF_H

#include "schema/slice.h"

typedef struct {
    uint8_t *data;
    size_t n_bytes;
    size_t capacity;
} buf_t;

/* Frees the bytes; the buffer is empty and valid afterwards. */
void buf_fini(buf_t *self);

/* Empties the buffer and keeps its memory. */
static inline void buf_reset(buf_t *self)
{
    self->n_bytes = 0;
}

/* Makes the memory larger, so that `n_more` bytes fit behind what is there. For buf_reserve. */
void buf_grow(buf_t *self, size_t n_more);

/* Makes room for `n_more` bytes and returns where they go; n_bytes is not moved. */
static inline uint8_t *buf_reserve(buf_t *self, size_t n_more)
{
    if (self->capacity - self->n_bytes < n_more || self->data == NULL)
        buf_grow(self, n_more);
    return self->data + self->n_bytes;
}

/* Appends bytes. */
static inline void buf_append(buf_t *self, const void *data, size_t n_bytes)
{
    if (n_bytes == 0)
        return;
    memcpy(buf_reserve(self, n_bytes), data, n_bytes);
    self->n_bytes += n_bytes;
}

/* Appends what the slice holds. */
static inline void buf_append_slice(buf_t *self, slice_t bytes)
{
    buf_append(self, bytes.data, bytes.n_bytes);
}

/* Appends a C string without its NUL. */
void buf_append_str(buf_t *self, const char *text);

/* Appends one byte. */
static inline void buf_append_byte(buf_t *self, uint8_t byte)
{
    *buf_reserve(self, 1) = byte;
    self->n_bytes++;
}

/* printf at the end; the NUL does not count. */
void buf_format(buf_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the buffer holds, borrowed until it next grows. */
static inline slice_t buf_slice(const buf_t *self)
{
    return slice_of(self->data, self->n_bytes);
}

#endif
