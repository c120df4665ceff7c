/* SPDX-License-Identifier: Apache-2.0 */
/* Growth by doubling, so that appending byte by byte stays linear. Out of memory aborts: who
 * appends what came from outside has checked its size against a limit before. */
#include "schema/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY_MIN 256

void buf_fini(buf_t *self)
{
    free(self->data);
    *self = (buf_t){0};
}

void buf_grow(buf_t *self, size_t n_more)
{
    if (n_more > SIZE_MAX / 4 - self->n_bytes)
        abort();
    size_t capacity = self->capacity < CAPACITY_MIN ? CAPACITY_MIN : self->capacity;
    while (capacity - self->n_bytes < n_more)
        capacity *= 2;
    uint8_t *data = realloc(self->data, capacity);
    if (data == NULL)
        abort();
    self->data = data;
    self->capacity = capacity;
}

void buf_append_str(buf_t *self, const char *text)
{
    buf_append(self, text, strlen(text));
}

void buf_format(buf_t *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n_chars = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n_chars < 0)
        abort();
    char *at = (char *)buf_reserve(self, (size_t)n_chars + 1);
    vsnprintf(at, (size_t)n_chars + 1, format, again);
    va_end(again);
    self->n_bytes += (size_t)n_chars;
}
