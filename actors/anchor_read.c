/* SPDX-License-Identifier: Apache-2.0 */
/* A reader must not keep the appender waiting, so it holds the lock only to see how long the file
 * is, and reads so far: what is behind that is only ever added to. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "actors/anchor_file.h"

static int by_stream_and_rev(const void *a, const void *b)
{
    const anchor_head_t *one = a, *other = b;
    int order = memcmp(one->stream.bytes, other->stream.bytes, UUID_BYTES);
    if (order != 0)
        return order;
    return one->rev < other->rev ? -1 : one->rev > other->rev;
}

/* The number of the epoch among those that were met. */
static uint64_t number_of_epoch(anchors_t *self, const char *epoch)
{
    for (size_t i = self->n_epochs; i > 0; i--) {
        if (memcmp(self->epochs[i - 1], epoch, EPOCH_CHARS) == 0)
            return i - 1;
    }
    self->epochs = realloc(self->epochs, (self->n_epochs + 1) * sizeof *self->epochs);
    if (self->epochs == NULL)
        abort();
    memcpy(self->epochs[self->n_epochs], epoch, EPOCH_CHARS + 1);
    return self->n_epochs++;
}

static void keep_heads(anchors_t *self, size_t *capacity, const anchor_reader_t *reader,
                       const uuid_t *only)
{
    uint64_t epoch = number_of_epoch(self, reader->epoch);
    for (size_t i = 0; i < reader->n_heads; i++) {
        if (only != NULL && !uuid_eq(only, &reader->heads[i].stream))
            continue;
        if (self->n_heads == *capacity) {
            *capacity = *capacity == 0 ? 64 : *capacity * 2;
            self->heads = realloc(self->heads, *capacity * sizeof *self->heads);
            if (self->heads == NULL)
                abort();
        }
        self->heads[self->n_heads] = reader->heads[i];
        self->heads[self->n_heads++].epoch = epoch;
    }
}

static anchor_step_t read_blocks(anchors_t *self, anchor_reader_t *reader,
                                 const anchors_want_t *want)
{
    size_t capacity = 0;
    anchor_step_t step;
    while ((step = anchor_reader_next(reader)) == ANCHOR_BLOCK) {
        if (want->go_on != NULL && !want->go_on(want->arg)) {
            snprintf(reader->why, sizeof reader->why, "the reading was given up");
            return ANCHOR_WRONG;
        }
        keep_heads(self, &capacity, reader, want->only);
    }
    return step;
}

anchors_t *anchor_file_read(FILE *file, int64_t n_bytes, const anchors_want_t *want, char *error,
                            size_t error_size)
{
    anchors_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    anchor_reader_t reader;
    anchor_reader_init(&reader, file, n_bytes);
    anchor_step_t step = read_blocks(self, &reader, want);
    self->n_blocks = reader.n_blocks;
    self->is_torn = step == ANCHOR_TORN;
    memcpy(self->public_key, reader.public_key, sizeof self->public_key);
    if (self->n_heads > 0)
        qsort(self->heads, self->n_heads, sizeof *self->heads, by_stream_and_rev);
    if (ferror(file))
        snprintf(error, error_size, "it cannot be read");
    else if (step == ANCHOR_WRONG)
        snprintf(error, error_size, "%s", reader.why);
    anchor_reader_fini(&reader);
    if (ferror(file) || step == ANCHOR_WRONG)
        anchors_destroy(&self);
    return self;
}

anchors_t *anchors_read(const char *path, const anchors_want_t *want, char *error,
                        size_t error_size)
{
    static const anchors_want_t everything = {0};
    struct stat info;
    FILE *file = fopen(path, "re");
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        snprintf(error, error_size, "%s", strerror(errno));
        if (file != NULL)
            fclose(file);
        return NULL;
    }
    /* Without the lock the end may be a block that is just being written: it looks torn. */
    if (anchor_file_lock(fileno(file), LOCK_SH)) {
        (void)fstat(fileno(file), &info);
        flock(fileno(file), LOCK_UN);
    }
    anchors_t *self =
        anchor_file_read(file, info.st_size, want == NULL ? &everything : want, error, error_size);
    fclose(file);
    return self;
}

/* --- a directory --- */

/* Moves what is in `other` into `self`. */
static void join(anchors_t *self, anchors_t *other)
{
    if (other->n_heads > 0) {
        self->heads = realloc(self->heads, (self->n_heads + other->n_heads) * sizeof *self->heads);
        if (self->heads == NULL)
            abort();
    }
    for (size_t i = 0; i < other->n_heads; i++) {
        anchor_head_t *head = &self->heads[self->n_heads++];
        *head = other->heads[i];
        head->epoch = number_of_epoch(self, other->epochs[head->epoch]);
    }
    self->n_blocks += other->n_blocks;
    self->is_torn = self->is_torn || other->is_torn;
    memcpy(self->public_key, other->public_key, sizeof self->public_key);
}

static int is_of_anchors(const struct dirent *entry)
{
    return strcmp(entry->d_name, "anchors") == 0 || (strncmp(entry->d_name, "anchors.", 8) == 0 &&
                                                     strcmp(entry->d_name, "anchors.new") != 0);
}

anchors_t *anchors_read_dir(const char *dir, const anchors_want_t *want, anchors_bad_f *bad,
                            void *arg)
{
    char path[4096];
    char error[400];
    struct dirent **entries = NULL;
    anchors_t *self = NULL;
    int n = scandir(dir, &entries, is_of_anchors, alphasort);
    /* Backwards, so that `anchors` comes last. */
    for (int i = n - 1; i >= 0; i--) {
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        errno = 0;
        anchors_t *one = anchors_read(path, want, error, sizeof error);
        if (one == NULL && errno != ENOENT) /* that one has just been given another name */
            bad(arg, path, error);
        if (one != NULL && self != NULL)
            join(self, one);
        else if (one != NULL)
            self = one, one = NULL;
        anchors_destroy(&one);
        free(entries[i]);
    }
    free(entries);
    if (self != NULL && self->n_heads > 0)
        qsort(self->heads, self->n_heads, sizeof *self->heads, by_stream_and_rev);
    return self;
}

void anchors_destroy(anchors_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->heads);
    free((*self_p)->epochs);
    free(*self_p);
    *self_p = NULL;
}

const anchor_head_t *anchors_of(const anchors_t *self, const uuid_t *stream, size_t *n_heads)
{
    size_t low = 0, high = self->n_heads;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(self->heads[middle].stream.bytes, stream->bytes, UUID_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *n_heads = 0;
    while (low + *n_heads < self->n_heads && uuid_eq(&self->heads[low + *n_heads].stream, stream))
        ++*n_heads;
    return *n_heads == 0 ? NULL : &self->heads[low];
}
