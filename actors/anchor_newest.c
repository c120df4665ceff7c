/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the file, as long as the largest block, is looked through from behind for lines that
 * begin a block; the last one behind which a whole block stands is it. A torn end is passed over.
 * That the block follows the one before it is not checked here. */
#include "actors/anchor_newest.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/anchor_file.h"

#define PATH_CHARS 4096
/* Two of the largest blocks: the last one may be torn. A head's line has under 130 characters. */
#define TAIL_BYTES ((size_t)2 * ANCHOR_MAX_HEADS * 130)

/* Where the line at or before `at` begins that begins a block; -1: nowhere. */
static int64_t find_opening(const buf_t *tail, int64_t at)
{
    for (; at >= 0; at--) {
        slice_t rest = slice_of(tail->data + at, tail->n_bytes - (size_t)at);
        bool is_start = at == 0 || tail->data[at - 1] == '\n';
        if (is_start && ((rest.n_bytes > 6 && memcmp(rest.data, "block ", 6) == 0) ||
                         (rest.n_bytes > 5 && memcmp(rest.data, "part ", 5) == 0)))
            return at;
    }
    return -1;
}

/* The n-th word of a line, from 0; empty if there is none. */
static slice_t word_of(slice_t line, int n)
{
    const uint8_t *end = memchr(line.data, '\n', line.n_bytes);
    size_t left = end == NULL ? line.n_bytes : (size_t)(end - line.data);
    const uint8_t *at = line.data;
    for (;; n--) {
        const uint8_t *space = memchr(at, ' ', left);
        size_t n_word = space == NULL ? left : (size_t)(space - at);
        if (n == 0)
            return slice_of(at, n_word);
        if (space == NULL)
            return slice_of(at, 0);
        left -= n_word + 1;
        at = space + 1;
    }
}

/* Reads the block at this place. False: there is no whole one. */
static bool read_block(FILE *file, const anchor_reader_t *first, slice_t text, int64_t offset,
                       anchor_newest_t *out)
{
    anchor_reader_t reader;
    slice_t epoch = word_of(text, 2), previous = word_of(text, 4);
    if (epoch.n_bytes != EPOCH_CHARS || previous.n_bytes > ANCHOR_SIGNATURE_CHARS ||
        fseeko(file, offset, SEEK_SET) != 0)
        return false;
    anchor_reader_init(&reader, file, (int64_t)text.n_bytes);
    reader.has_header = true;
    memcpy(reader.public_key, first->public_key, sizeof reader.public_key);
    memcpy(reader.previous, previous.data, previous.n_bytes);
    reader.previous[previous.n_bytes] = '\0';
    bool is_whole = anchor_reader_next(&reader) == ANCHOR_BLOCK;
    if (is_whole) {
        memcpy(out->epoch, epoch.data, EPOCH_CHARS);
        out->heads = reader.heads;
        out->n_heads = reader.n_heads;
        reader.heads = NULL;
    }
    anchor_reader_fini(&reader);
    return is_whole;
}

static bool read_tail(FILE *file, int64_t n_bytes, int64_t *start, buf_t *out)
{
    *start = n_bytes > (int64_t)TAIL_BYTES ? n_bytes - (int64_t)TAIL_BYTES : 0;
    size_t wanted = (size_t)(n_bytes - *start);
    uint8_t *at = buf_reserve(out, wanted);
    if (fseeko(file, *start, SEEK_SET) != 0)
        return false;
    out->n_bytes = fread(at, 1, wanted, file);
    return !ferror(file);
}

static bool find_last(FILE *file, int64_t n_bytes, anchor_newest_t *out, char *error, size_t size)
{
    anchor_reader_t first;
    buf_t tail = {0};
    int64_t start = 0;
    anchor_reader_init(&first, file, n_bytes);
    anchor_step_t step = anchor_reader_next(&first);
    bool is_good = step != ANCHOR_WRONG;
    if (!is_good)
        snprintf(error, size, "anchors: %s", first.why);
    if (step == ANCHOR_BLOCK && read_tail(file, n_bytes, &start, &tail)) {
        int64_t at = (int64_t)tail.n_bytes - 1;
        while ((at = find_opening(&tail, at)) >= 0 && out->n_heads == 0) {
            slice_t text = slice_of(tail.data + at, tail.n_bytes - (size_t)at);
            (void)read_block(file, &first, text, start + at, out);
            at--;
        }
    }
    buf_fini(&tail);
    anchor_reader_fini(&first);
    return is_good;
}

bool anchor_newest_read(const char *dir, anchor_newest_t *out, char *error, size_t error_size)
{
    char path[PATH_CHARS];
    struct stat info;
    *out = (anchor_newest_t){0};
    snprintf(path, sizeof path, "%s/anchors", dir);
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT)
        return true;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        snprintf(error, error_size, "anchors: %s", strerror(errno));
        if (file != NULL)
            fclose(file);
        return false;
    }
    /* As in anchors_read: without the lock the end may be just being written. */
    if (anchor_file_lock(fileno(file), LOCK_SH)) {
        (void)fstat(fileno(file), &info);
        flock(fileno(file), LOCK_UN);
    }
    bool is_good = find_last(file, info.st_size, out, error, error_size);
    fclose(file);
    return is_good;
}

void anchor_newest_fini(anchor_newest_t *self)
{
    free(self->heads);
    *self = (anchor_newest_t){0};
}
