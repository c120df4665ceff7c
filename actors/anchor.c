/* SPDX-License-Identifier: Apache-2.0 */
/* The file is opened for each append and looked at first, so that another process that writes to
 * it, a disk that was full, or somebody who moved it away need no care elsewhere; only if it is not
 * as it was left is it read anew. */
#include "actors/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/anchor_file.h"
#include "schema/instant.h"

#define FILE_NAME "anchors"
#define KEY_NAME "anchor.key"
#define PUB_NAME "anchor.pub"
#define SEED_BYTES 32

_Static_assert(ANCHOR_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(SEED_BYTES == crypto_sign_SEEDBYTES, "Ed25519");
_Static_assert(ANCHOR_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519");

struct anchor {
    int dir_fd;
    uint8_t public_key[ANCHOR_KEY_BYTES];
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];

    /* The file as it was left; `end` is -1 while that is not known. */
    dev_t device;
    ino_t inode;
    int64_t end;
    char previous[ANCHOR_SIGNATURE_CHARS + 1];
    int64_t last_us;
};

/* Always false, so that a failing function can return it. */
static bool trouble(const char *name, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", name, strerror(errno));
    return false;
}

static bool refuse(const char *words, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s", words);
    return false;
}

static bool write_at(int fd, slice_t bytes, int64_t offset)
{
    while (bytes.n_bytes > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.n_bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        offset += n;
        bytes = slice_of(bytes.data + n, bytes.n_bytes - (size_t)n);
    }
    return true;
}

/* --- keys --- */

/* Reads a line of hexadecimal digits. False with errno 0: it is none. */
static bool read_hex_file(int dir_fd, const char *name, uint8_t *out, size_t n_bytes)
{
    char text[2 * ANCHOR_KEY_BYTES + 2];
    size_t n = 0;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n_read = read(fd, text, sizeof text);
    close(fd);
    errno = n_read < 0 ? errno : 0;
    bool is_good = n_read == (ssize_t)(2 * n_bytes + 1) && text[2 * n_bytes] == '\n' &&
                   sodium_hex2bin(out, n_bytes, text, 2 * n_bytes, NULL, &n, NULL) == 0 &&
                   n == n_bytes;
    sodium_memzero(text, sizeof text);
    return is_good;
}

/* Makes the file whole or not at all. */
static bool write_hex_file(int dir_fd, const char *name, const uint8_t *bytes, size_t n_bytes,
                           mode_t mode)
{
    char new_name[32];
    char text[2 * ANCHOR_KEY_BYTES + 2];
    snprintf(new_name, sizeof new_name, "%s.new", name);
    sodium_bin2hex(text, sizeof text, bytes, n_bytes);
    text[2 * n_bytes] = '\n';
    if (unlinkat(dir_fd, new_name, 0) != 0 && errno != ENOENT)
        return false;
    int fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return false;
    bool is_written = write_at(fd, slice_of(text, 2 * n_bytes + 1), 0) && fsync(fd) == 0;
    sodium_memzero(text, sizeof text);
    close(fd);
    return is_written && renameat(dir_fd, new_name, dir_fd, name) == 0 && fsync(dir_fd) == 0;
}

static bool has_blocks(int dir_fd)
{
    struct stat info;
    return fstatat(dir_fd, FILE_NAME, &info, 0) == 0 && info.st_size > 0;
}

static bool make_seed(int dir_fd, uint8_t seed[SEED_BYTES], char *error, size_t error_size)
{
    if (has_blocks(dir_fd))
        return refuse(KEY_NAME " is missing, and " FILE_NAME
                               " is signed with it: put it back, or move both away",
                      error, error_size);
    randombytes_buf(seed, SEED_BYTES);
    return write_hex_file(dir_fd, KEY_NAME, seed, SEED_BYTES, 0600) ||
           trouble(KEY_NAME, error, error_size);
}

static bool load_seed(int dir_fd, uint8_t seed[SEED_BYTES], char *error, size_t error_size)
{
    if (read_hex_file(dir_fd, KEY_NAME, seed, SEED_BYTES))
        return true;
    if (errno == 0)
        return refuse(KEY_NAME " is no key", error, error_size);
    if (errno != ENOENT)
        return trouble(KEY_NAME, error, error_size);
    return make_seed(dir_fd, seed, error, error_size);
}

static bool load_public_key(const anchor_t *self, char *error, size_t error_size)
{
    uint8_t stored[ANCHOR_KEY_BYTES];
    bool is_there = read_hex_file(self->dir_fd, PUB_NAME, stored, sizeof stored);
    if (is_there && memcmp(stored, self->public_key, sizeof stored) == 0)
        return true;
    if (is_there || errno == 0)
        return refuse(PUB_NAME " does not belong to " KEY_NAME, error, error_size);
    if (errno != ENOENT)
        return trouble(PUB_NAME, error, error_size);
    return write_hex_file(self->dir_fd, PUB_NAME, self->public_key, sizeof self->public_key,
                          0644) ||
           trouble(PUB_NAME, error, error_size);
}

/* Under a lock on the directory, so that two processes that start at once have one key. */
static bool load_keys(anchor_t *self, char *error, size_t error_size)
{
    uint8_t seed[SEED_BYTES];
    if (!anchor_file_lock(self->dir_fd, LOCK_EX))
        return trouble("the directory's lock", error, error_size);
    bool is_good = load_seed(self->dir_fd, seed, error, error_size);
    if (is_good) {
        crypto_sign_seed_keypair(self->public_key, self->secret_key, seed);
        is_good = load_public_key(self, error, error_size);
    }
    sodium_memzero(seed, sizeof seed);
    flock(self->dir_fd, LOCK_UN);
    return is_good;
}

bool anchor_read_public_key(const char *dir, uint8_t out[ANCHOR_KEY_BYTES])
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return false;
    bool is_there = read_hex_file(dir_fd, PUB_NAME, out, ANCHOR_KEY_BYTES);
    close(dir_fd);
    return is_there;
}

/* --- the file --- */

/* Reads the whole file, to know where to go on. */
static bool learn(anchor_t *self, int fd, char *error, size_t error_size)
{
    anchor_reader_t reader;
    FILE *file = fdopen(dup(fd), "r");
    if (file == NULL)
        return trouble(FILE_NAME, error, error_size);
    rewind(file);
    anchor_reader_init(&reader, file, INT64_MAX);
    anchor_step_t step = ANCHOR_BLOCK;
    while (step == ANCHOR_BLOCK)
        step = anchor_reader_next(&reader);
    bool is_good = true;
    if (ferror(file))
        is_good = trouble(FILE_NAME, error, error_size);
    else if (step == ANCHOR_WRONG)
        is_good = refuse("", error, error_size),
        snprintf(error, error_size, FILE_NAME ": %s", reader.why);
    else if (reader.has_header &&
             memcmp(reader.public_key, self->public_key, ANCHOR_KEY_BYTES) != 0)
        is_good = refuse(FILE_NAME " is signed with another key than " KEY_NAME, error, error_size);
    else if (step == ANCHOR_TORN && ftruncate(fd, reader.end) != 0)
        is_good = trouble(FILE_NAME, error, error_size);
    if (is_good) {
        self->end = reader.end;
        self->last_us = reader.last_us;
        memcpy(self->previous, reader.previous, sizeof self->previous);
    }
    anchor_reader_fini(&reader);
    fclose(file);
    return is_good;
}

/* Makes sure that what is known of the file is so. */
static bool look(anchor_t *self, int fd, char *error, size_t error_size)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return trouble(FILE_NAME, error, error_size);
    if (!S_ISREG(info.st_mode))
        return refuse(FILE_NAME " is no file", error, error_size);
    if (self->end == info.st_size && self->device == info.st_dev && self->inode == info.st_ino)
        return true;
    self->end = -1;
    self->device = info.st_dev;
    self->inode = info.st_ino;
    return learn(self, fd, error, error_size);
}

/* Opens the file with its lock held. -1: no. */
static int open_file(anchor_t *self, int flags, char *error, size_t error_size)
{
    int fd = openat(self->dir_fd, FILE_NAME, O_RDWR | O_CLOEXEC | flags, 0644);
    if (fd < 0) {
        trouble(FILE_NAME, error, error_size);
        return -1;
    }
    if (anchor_file_lock(fd, LOCK_EX) ? look(self, fd, error, error_size)
                                      : trouble(FILE_NAME, error, error_size))
        return fd;
    close(fd);
    return -1;
}

anchor_t *anchor_open(const char *dir, char *error, size_t error_size)
{
    anchor_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->end = -1;
    self->last_us = INSTANT_NONE;
    self->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_good =
        self->dir_fd >= 0 ? load_keys(self, error, error_size) : trouble(dir, error, error_size);
    if (is_good && has_blocks(self->dir_fd)) {
        int fd = open_file(self, 0, error, error_size);
        is_good = fd >= 0;
        if (is_good)
            close(fd);
    }
    if (!is_good)
        anchor_close(&self);
    return self;
}

void anchor_close(anchor_t **self_p)
{
    anchor_t *self = *self_p;
    if (self == NULL)
        return;
    if (self->dir_fd >= 0)
        close(self->dir_fd);
    sodium_memzero(self->secret_key, sizeof self->secret_key);
    free(self);
    *self_p = NULL;
}

int64_t anchor_last_us(const anchor_t *self)
{
    return self->last_us;
}

/* --- appending --- */

static void put_hex(buf_t *out, const uint8_t *bytes, size_t n_bytes)
{
    char *at = (char *)buf_reserve(out, 2 * n_bytes + 1);
    sodium_bin2hex(at, 2 * n_bytes + 1, bytes, n_bytes);
    out->n_bytes += 2 * n_bytes;
}

static void put_header(const anchor_t *self, buf_t *out)
{
    buf_append_str(out, "taskwire-anchors 1 ");
    put_hex(out, self->public_key, sizeof self->public_key);
    buf_append_byte(out, '\n');
}

static void put_block(const anchor_t *self, const anchor_block_t *block, buf_t *out,
                      char previous[])
{
    char time[INSTANT_TEXT_CHARS + 1];
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
    size_t start = out->n_bytes;
    instant_format(block->at_us, time);
    buf_format(out, "%s %s %.*s %zu %s\n", block->is_part ? "part" : "block", time, EPOCH_CHARS,
               block->epoch, block->n_heads, self->end == 0 ? "-" : self->previous);
    for (size_t i = 0; i < block->n_heads; i++) {
        char id[UUID_TEXT_CHARS];
        uuid_format(&block->heads[i].stream, id);
        buf_append(out, id, sizeof id);
        buf_format(out, " %lld ", (long long)block->heads[i].rev);
        put_hex(out, block->heads[i].link.bytes, LINK_BYTES);
        buf_append_byte(out, '\n');
    }
    crypto_sign_detached(signature, NULL, out->data + start, out->n_bytes - start,
                         self->secret_key);
    buf_append_str(out, "signature ");
    sodium_bin2hex(previous, ANCHOR_SIGNATURE_CHARS + 1, signature, sizeof signature);
    buf_append_str(out, previous);
    buf_append_byte(out, '\n');
}

/* Writes behind the end; what could not be written whole is taken back. */
static bool store(anchor_t *self, int fd, slice_t text)
{
    bool is_new = self->end == 0;
    if (write_at(fd, text, self->end) && fsync(fd) == 0 && (!is_new || fsync(self->dir_fd) == 0)) {
        self->end += (int64_t)text.n_bytes;
        return true;
    }
    int cause = errno;
    if (ftruncate(fd, self->end) != 0 || fsync(fd) != 0)
        self->end = -1; /* what is torn is found and cut next time */
    errno = cause;
    return false;
}

bool anchor_append(anchor_t *self, const anchor_block_t *block, char *error, size_t error_size)
{
    buf_t text = {0};
    char previous[ANCHOR_SIGNATURE_CHARS + 1];
    for (size_t i = 0; i < EPOCH_CHARS; i++) {
        if (block->epoch[i] <= ' ' || block->epoch[i] > '~')
            return refuse("the epoch is no word", error, error_size);
    }
    int fd = open_file(self, O_CREAT, error, error_size);
    if (fd < 0)
        return false;
    if (self->end == 0)
        put_header(self, &text);
    put_block(self, block, &text, previous);
    bool is_stored = store(self, fd, buf_slice(&text)) || trouble(FILE_NAME, error, error_size);
    if (is_stored) {
        memcpy(self->previous, previous, sizeof previous);
        self->last_us = block->is_part ? self->last_us : block->at_us;
    }
    buf_fini(&text);
    close(fd);
    return is_stored;
}
