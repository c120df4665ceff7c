/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator over a short list of blocks. What one batch or one request makes has one end, so
 * that a thousand small frees become one. Blocks grow, so that a big batch needs few of them; one
 * of moderate size is kept over a reset, so that the usual batch needs no malloc at all and an idle
 * arena holds little. Under AddressSanitizer what is not handed out is poisoned: a view that
 * outlives its batch is then found at its first use. */
#include "schema/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif

#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define GAP_BYTES 16 /* so that running over the end of one piece does not land in the next */

/* Not inlined: else gcc takes the parameter (const void *) for a read of memory that was never
 * written. */
__attribute__((noinline)) static void hide(uint8_t *at, size_t n_bytes)
{
    __asan_poison_memory_region(at, n_bytes);
}

static void show(uint8_t *at, size_t n_bytes)
{
    __asan_unpoison_memory_region(at, n_bytes);
}
#else
#define GAP_BYTES 0

static void hide(uint8_t *at, size_t n_bytes)
{
    (void)at;
    (void)n_bytes;
}

static void show(uint8_t *at, size_t n_bytes)
{
    (void)at;
    (void)n_bytes;
}
#endif

#define ALIGN_BYTES _Alignof(max_align_t)
#define BLOCK_MIN_BYTES ((size_t)8 * 1024)
#define BLOCK_MAX_BYTES ((size_t)256 * 1024)
#define BLOCK_KEPT_BYTES ((size_t)64 * 1024)

typedef struct block block_t;

struct block {
    block_t *next;
    size_t capacity;
    size_t n_used;
    _Alignas(max_align_t) uint8_t data[];
};

struct arena {
    block_t *blocks; /* the first one is being filled */
    size_t n_bytes;
};

static block_t *block_new(arena_t *self, size_t capacity)
{
    block_t *block = malloc(sizeof *block + capacity);
    if (block == NULL)
        abort();
    block->next = NULL;
    block->capacity = capacity;
    block->n_used = 0;
    self->n_bytes += capacity;
    hide(block->data, capacity);
    return block;
}

static void block_free(arena_t *self, block_t *block)
{
    show(block->data, block->capacity);
    self->n_bytes -= block->capacity;
    free(block);
}

/* A piece that would waste most of a block gets one of its own, behind the one that is being
 * filled. */
static block_t *block_for(arena_t *self, size_t n_bytes)
{
    block_t *first = self->blocks;
    if (first != NULL && first->capacity - first->n_used >= n_bytes)
        return first;
    size_t capacity = first == NULL ? BLOCK_MIN_BYTES : first->capacity * 2;
    if (capacity > BLOCK_MAX_BYTES)
        capacity = BLOCK_MAX_BYTES;
    if (first != NULL && n_bytes > capacity / 4) {
        block_t *own = block_new(self, n_bytes);
        own->next = first->next;
        first->next = own;
        return own;
    }
    block_t *block = block_new(self, n_bytes > capacity ? n_bytes : capacity);
    block->next = first;
    self->blocks = block;
    return block;
}

static void *take(arena_t *self, size_t n_bytes)
{
    if (n_bytes > SIZE_MAX / 2)
        abort();
    size_t n_whole = (n_bytes + GAP_BYTES + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (n_whole == 0)
        n_whole = ALIGN_BYTES;
    block_t *block = block_for(self, n_whole);
    uint8_t *at = block->data + block->n_used;
    block->n_used += n_whole;
    show(at, n_bytes);
    return at;
}

arena_t *arena_new(void)
{
    arena_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    return self;
}

void arena_destroy(arena_t **self_p)
{
    if (self_p == NULL || *self_p == NULL)
        return;
    arena_t *self = *self_p;
    for (block_t *block = self->blocks, *next; block != NULL; block = next) {
        next = block->next;
        block_free(self, block);
    }
    free(self);
    *self_p = NULL;
}

void arena_reset(arena_t *self)
{
    block_t *kept = NULL;
    for (block_t *block = self->blocks, *next; block != NULL; block = next) {
        next = block->next;
        bool is_better = block->capacity <= BLOCK_KEPT_BYTES &&
                         (kept == NULL || block->capacity > kept->capacity);
        block_t *unwanted = is_better ? kept : block;
        if (is_better)
            kept = block;
        if (unwanted != NULL)
            block_free(self, unwanted);
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->n_used = 0;
        hide(kept->data, kept->capacity);
    }
    self->blocks = kept;
}

void *arena_alloc(arena_t *self, size_t n_bytes)
{
    void *at = take(self, n_bytes);
    memset(at, 0, n_bytes);
    return at;
}

slice_t arena_copy(arena_t *self, slice_t bytes)
{
    if (bytes.data == NULL)
        return slice_none();
    uint8_t *at = take(self, bytes.n_bytes + 1);
    memcpy(at, bytes.data, bytes.n_bytes);
    at[bytes.n_bytes] = '\0';
    return slice_of(at, bytes.n_bytes);
}

slice_t arena_format(arena_t *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n_chars = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n_chars < 0)
        abort();
    char *at = take(self, (size_t)n_chars + 1);
    vsnprintf(at, (size_t)n_chars + 1, format, again);
    va_end(again);
    return slice_of(at, (size_t)n_chars);
}

size_t arena_bytes(const arena_t *self)
{
    return self->n_bytes;
}
