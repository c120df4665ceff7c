/* SPDX-License-Identifier: Apache-2.0 */
/* A key is never replaced: what it has signed could not be checked any more. Each file is made
 * whole or not at all. */
#include "actors/anchor_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "actors/anchor_file.h"

#define KEY_NAME "anchor.key"
#define PUB_NAME "anchor.pub"
#define SEED_BYTES 32

_Static_assert(ANCHOR_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(SEED_BYTES == crypto_sign_SEEDBYTES, "Ed25519");

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
    bool is_written =
        write(fd, text, 2 * n_bytes + 1) == (ssize_t)(2 * n_bytes + 1) && fsync(fd) == 0;
    sodium_memzero(text, sizeof text);
    close(fd);
    return is_written && renameat(dir_fd, new_name, dir_fd, name) == 0 && fsync(dir_fd) == 0;
}

static bool make_seed(int dir_fd, bool is_in_use, uint8_t seed[SEED_BYTES], char *error,
                      size_t error_size)
{
    if (is_in_use)
        return refuse(KEY_NAME " is missing, and "
                               "anchors"
                               " is signed with it: put it back, or move both away",
                      error, error_size);
    randombytes_buf(seed, SEED_BYTES);
    return write_hex_file(dir_fd, KEY_NAME, seed, SEED_BYTES, 0600) ||
           trouble(KEY_NAME, error, error_size);
}

static bool load_seed(int dir_fd, bool is_in_use, uint8_t seed[SEED_BYTES], char *error,
                      size_t error_size)
{
    if (read_hex_file(dir_fd, KEY_NAME, seed, SEED_BYTES))
        return true;
    if (errno == 0)
        return refuse(KEY_NAME " is no key", error, error_size);
    if (errno != ENOENT)
        return trouble(KEY_NAME, error, error_size);
    return make_seed(dir_fd, is_in_use, seed, error, error_size);
}

static bool load_public_key(const anchor_key_t *self, int dir_fd, char *error, size_t error_size)
{
    uint8_t stored[ANCHOR_KEY_BYTES];
    bool is_there = read_hex_file(dir_fd, PUB_NAME, stored, sizeof stored);
    if (is_there && memcmp(stored, self->public_key, sizeof stored) == 0)
        return true;
    if (is_there || errno == 0)
        return refuse(PUB_NAME " does not belong to " KEY_NAME, error, error_size);
    if (errno != ENOENT)
        return trouble(PUB_NAME, error, error_size);
    return write_hex_file(dir_fd, PUB_NAME, self->public_key, sizeof self->public_key, 0644) ||
           trouble(PUB_NAME, error, error_size);
}

/* Under a lock on the directory, so that two processes that start at once have one key. */
bool anchor_key_load(anchor_key_t *self, int dir_fd, bool is_in_use, char *error, size_t error_size)
{
    uint8_t seed[SEED_BYTES];
    if (!anchor_file_lock(dir_fd, LOCK_EX))
        return trouble("the directory's lock", error, error_size);
    bool is_good = load_seed(dir_fd, is_in_use, seed, error, error_size);
    if (is_good) {
        crypto_sign_seed_keypair(self->public_key, self->secret_key, seed);
        is_good = load_public_key(self, dir_fd, error, error_size);
    }
    sodium_memzero(seed, sizeof seed);
    flock(dir_fd, LOCK_UN);
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
