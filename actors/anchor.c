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
#include "actors/anchor_key.h"
#include "actors/clock.h"
#include "schema/instant.h"

#define FILE_NAME "anchors"
#define OLD_NAME FILE_NAME ".1"
#define NEW_NAME FILE_NAME ".new"
#define NAME_CHARS 64
/* A file that is longer is put aside, if what it says in short is at most half as long. */
#define ROTATE_BYTES (INT64_C(16) * 1024 * 1024)
#define OPEN_TRIES 3

_Static_assert(ANCHOR_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519");

struct anchor {
    int dir_fd;
    anchor_key_t key;

    /* The file as it was left; `end` is -1 while that is not known. */
    dev_t device;
    ino_t inode;
    struct timespec changed;
    int64_t end;
    char previous[ANCHOR_SIGNATURE_CHARS + 1];
    char epoch[EPOCH_CHARS + 1]; /* of its blocks; empty: there are none */
    int64_t last_us;
    int64_t rotate_at; /* how long it may become */

    anchor_finding_t finding; /* empty words: none */
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

static bool has_blocks(int dir_fd)
{
    struct stat info;
    return fstatat(dir_fd, FILE_NAME, &info, 0) == 0 && info.st_size > 0;
}

/* --- files that are set aside --- */

static void forget_file(anchor_t *self)
{
    self->end = -1;
    self->last_us = INSTANT_NONE;
    self->epoch[0] = '\0';
    self->rotate_at = ROTATE_BYTES;
}

/* Never replaces a file, as far as the file system has a call for that (NFS has none). */
static bool rename_to_new(int dir_fd, const char *name)
{
    struct stat info;
    if (renameat2(dir_fd, FILE_NAME, dir_fd, name, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    errno = EEXIST;
    return fstatat(dir_fd, name, &info, 0) != 0 && renameat(dir_fd, FILE_NAME, dir_fd, name) == 0;
}

/* Gives the file another name, which nothing ever had; the next block begins a new one. */
static bool set_aside(anchor_t *self, bool is_damaged, const char *why, char *error,
                      size_t error_size)
{
    char time[INSTANT_TEXT_CHARS + 1];
    char name[NAME_CHARS];
    instant_format(clock_now().wall_us, time);
    snprintf(name, sizeof name, FILE_NAME ".%s-%s", time, is_damaged ? "damaged" : "epoch");
    if (!rename_to_new(self->dir_fd, name) || fsync(self->dir_fd) != 0)
        return trouble(name, error, error_size);
    forget_file(self);
    self->finding.is_damaged = is_damaged;
    snprintf(self->finding.words, sizeof self->finding.words, "%s; it is now %s", why, name);
    return true;
}

bool anchor_take_finding(anchor_t *self, anchor_finding_t *out)
{
    *out = self->finding;
    self->finding.words[0] = '\0';
    return out->words[0] != '\0';
}

/* --- the file --- */

typedef enum { FILE_GOOD, FILE_DAMAGED, FILE_TROUBLE } file_state_t;

static file_state_t file_trouble(const char *name, char *error, size_t error_size)
{
    (void)trouble(name, error, error_size);
    return FILE_TROUBLE;
}

static file_state_t file_refuse(const char *words, char *error, size_t error_size)
{
    (void)refuse(words, error, error_size);
    return FILE_TROUBLE;
}

/* Whether the file is what it should be, now that it was read as far as it is right. */
static file_state_t judge(anchor_t *self, const anchor_reader_t *reader, anchor_step_t step, int fd,
                          char *error, size_t error_size)
{
    if (ferror(reader->file))
        return file_trouble(FILE_NAME, error, error_size);
    if (step == ANCHOR_WRONG) {
        snprintf(error, error_size, FILE_NAME ": %s", reader->why);
        return FILE_DAMAGED;
    }
    if (reader->has_header &&
        memcmp(reader->public_key, self->key.public_key, ANCHOR_KEY_BYTES) != 0)
        return file_refuse(FILE_NAME " is signed with another key than anchor.key", error,
                           error_size);
    if (step == ANCHOR_TORN && ftruncate(fd, reader->end) != 0)
        return file_trouble(FILE_NAME, error, error_size);
    return FILE_GOOD;
}

/* Reads the whole file, to know where to go on. */
static file_state_t learn(anchor_t *self, int fd, char *error, size_t error_size)
{
    anchor_reader_t reader;
    FILE *file = fdopen(dup(fd), "r");
    if (file == NULL)
        return file_trouble(FILE_NAME, error, error_size);
    rewind(file);
    anchor_reader_init(&reader, file, INT64_MAX);
    anchor_step_t step = ANCHOR_BLOCK;
    while (step == ANCHOR_BLOCK)
        step = anchor_reader_next(&reader);
    file_state_t state = judge(self, &reader, step, fd, error, error_size);
    if (state == FILE_GOOD) {
        self->end = reader.end;
        self->last_us = reader.last_us;
        memcpy(self->previous, reader.previous, sizeof self->previous);
        memcpy(self->epoch, reader.epoch, sizeof self->epoch);
        if (reader.n_blocks == 0)
            self->epoch[0] = '\0';
    }
    anchor_reader_fini(&reader);
    fclose(file);
    return state;
}

/* Keeps by what it is told whether anybody else has touched the file since. */
static void remember(anchor_t *self, int fd)
{
    struct stat info = {0};
    (void)fstat(fd, &info);
    self->device = info.st_dev;
    self->inode = info.st_ino;
    self->changed = info.st_mtim;
}

/* Makes sure that what is known of the file is so. */
static file_state_t look(anchor_t *self, int fd, char *error, size_t error_size)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return file_trouble(FILE_NAME, error, error_size);
    if (!S_ISREG(info.st_mode))
        return file_refuse(FILE_NAME " is no file", error, error_size);
    if (self->end == info.st_size && self->device == info.st_dev && self->inode == info.st_ino &&
        memcmp(&self->changed, &info.st_mtim, sizeof self->changed) == 0)
        return FILE_GOOD;
    int64_t rotate_at = self->inode == info.st_ino ? self->rotate_at : ROTATE_BYTES;
    forget_file(self);
    self->rotate_at = rotate_at;
    file_state_t state = learn(self, fd, error, error_size);
    remember(self, fd);
    return state;
}

/* Whether the file still has its name: another process may have set it aside before we had its
 * lock. */
static bool has_its_name(const anchor_t *self, int fd)
{
    struct stat by_name, by_fd;
    return fstatat(self->dir_fd, FILE_NAME, &by_name, 0) == 0 && fstat(fd, &by_fd) == 0 &&
           by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

/* Opens the file, made if need be, with its lock held and all known of it. -1: no. */
static int open_file(anchor_t *self, char *error, size_t error_size)
{
    for (int try = 0; try < OPEN_TRIES; try++) {
        int fd = openat(self->dir_fd, FILE_NAME, O_RDWR | O_CLOEXEC | O_CREAT, 0644);
        if (fd < 0 || !anchor_file_lock(fd, LOCK_EX)) {
            (void)trouble(FILE_NAME, error, error_size);
            if (fd >= 0)
                close(fd);
            return -1;
        }
        bool is_named = has_its_name(self, fd);
        file_state_t state = is_named ? look(self, fd, error, error_size) : FILE_GOOD;
        if (is_named && state == FILE_GOOD)
            return fd;
        char why[ANCHOR_WHY_CHARS + NAME_CHARS];
        snprintf(why, sizeof why, "%s", error);
        bool may_go_on = state == FILE_GOOD ||
                         (state == FILE_DAMAGED && set_aside(self, true, why, error, error_size));
        close(fd);
        if (!may_go_on)
            return -1;
    }
    (void)refuse(FILE_NAME " is being moved about", error, error_size);
    return -1;
}

/* As open_file, and the file is of this epoch, or empty. */
static int open_of_epoch(anchor_t *self, const char *epoch, char *error, size_t error_size)
{
    int fd = open_file(self, error, error_size);
    if (fd < 0 || self->epoch[0] == '\0' || memcmp(self->epoch, epoch, EPOCH_CHARS) == 0)
        return fd;
    bool is_aside = set_aside(self, false, "the epoch has changed", error, error_size);
    close(fd);
    return is_aside ? open_file(self, error, error_size) : -1;
}

bool anchor_enter(anchor_t *self, const char *epoch, char *error, size_t error_size)
{
    if (!has_blocks(self->dir_fd)) {
        forget_file(self);
        return true;
    }
    int fd = open_of_epoch(self, epoch, error, error_size);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

anchor_t *anchor_open(const char *dir, char *error, size_t error_size)
{
    anchor_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    forget_file(self);
    self->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_good = self->dir_fd >= 0 ? anchor_key_load(&self->key, self->dir_fd,
                                                       has_blocks(self->dir_fd), error, error_size)
                                     : trouble(dir, error, error_size);
    if (is_good && has_blocks(self->dir_fd)) {
        int fd = open_file(self, error, error_size);
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
    sodium_memzero(self->key.secret_key, sizeof self->key.secret_key);
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
    put_hex(out, self->key.public_key, sizeof self->key.public_key);
    buf_append_byte(out, '\n');
}

/* `previous` is the signature before it, or "-", and becomes its own. */
static void put_block(const anchor_t *self, const anchor_block_t *block, buf_t *out,
                      char previous[ANCHOR_SIGNATURE_CHARS + 1])
{
    char time[INSTANT_TEXT_CHARS + 1];
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
    size_t start = out->n_bytes;
    instant_format(block->at_us, time);
    buf_format(out, "%s %s %.*s %zu %s\n", block->is_part ? "part" : "block", time, EPOCH_CHARS,
               block->epoch, block->n_heads, previous);
    for (size_t i = 0; i < block->n_heads; i++) {
        char id[UUID_TEXT_CHARS];
        uuid_format(&block->heads[i].stream, id);
        buf_append(out, id, sizeof id);
        buf_format(out, " %lld ", (long long)block->heads[i].rev);
        put_hex(out, block->heads[i].link.bytes, LINK_BYTES);
        buf_append_byte(out, '\n');
    }
    crypto_sign_detached(signature, NULL, out->data + start, out->n_bytes - start,
                         self->key.secret_key);
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
        remember(self, fd);
        return true;
    }
    int cause = errno;
    if (ftruncate(fd, self->end) != 0 || fsync(fd) != 0)
        self->end = -1; /* what is torn is found and cut next time */
    remember(self, fd);
    errno = cause;
    return false;
}

/* --- rotation --- */

/* Keeps the newest head of each stream; they are sorted. Of other epochs there are none, unless an
 * older program wrote them. */
static void keep_newest(const anchor_t *self, anchors_t *anchors)
{
    size_t n = 0;
    for (size_t i = 0; i < anchors->n_heads; i++) {
        if (memcmp(anchors->epochs[anchors->heads[i].epoch], self->epoch, EPOCH_CHARS) != 0)
            continue;
        if (n > 0 && uuid_eq(&anchors->heads[n - 1].stream, &anchors->heads[i].stream))
            n--;
        anchors->heads[n++] = anchors->heads[i];
    }
    anchors->n_heads = n;
}

/* A file that says the same in short. All was anchored that had moved by the last block; so it is
 * now. */
static void put_short(const anchor_t *self, const anchors_t *anchors, buf_t *out,
                      char previous[ANCHOR_SIGNATURE_CHARS + 1])
{
    bool has_all = self->last_us != INSTANT_NONE;
    strcpy(previous, "-");
    put_header(self, out);
    for (size_t i = 0; i < anchors->n_heads; i += ANCHOR_MAX_HEADS) {
        size_t n_left = anchors->n_heads - i;
        size_t n_heads = n_left < ANCHOR_MAX_HEADS ? n_left : ANCHOR_MAX_HEADS;
        const anchor_block_t block = {.heads = anchors->heads + i,
                                      .n_heads = n_heads,
                                      .epoch = self->epoch,
                                      .at_us = has_all ? self->last_us : clock_now().wall_us,
                                      .is_part = !has_all || n_heads < n_left};
        put_block(self, &block, out, previous);
    }
}

/* Writes a new file and gives it the name, the old one the other name. Between the two there is
 * none: then a crash leaves the old one, and all is anchored again. Returns the new one, locked;
 * -1: the old one stays. */
static int replace_file(anchor_t *self, slice_t text)
{
    struct stat info;
    if (unlinkat(self->dir_fd, NEW_NAME, 0) != 0 && errno != ENOENT)
        return -1;
    int fd = openat(self->dir_fd, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    if (anchor_file_lock(fd, LOCK_EX) && write_at(fd, text, 0) && fsync(fd) == 0 &&
        fstat(fd, &info) == 0 && renameat(self->dir_fd, FILE_NAME, self->dir_fd, OLD_NAME) == 0 &&
        renameat(self->dir_fd, NEW_NAME, self->dir_fd, FILE_NAME) == 0 &&
        fsync(self->dir_fd) == 0) {
        self->end = info.st_size;
        remember(self, fd);
        return fd;
    }
    close(fd);
    return -1;
}

/* Begins a new file if this one has grown too long. Returns the one to go on with. If that cannot
 * be done the old one is as good. */
static int rotate(anchor_t *self, int fd)
{
    char error[ANCHOR_WHY_CHARS];
    char previous[ANCHOR_SIGNATURE_CHARS + 1];
    const anchors_want_t everything = {0};
    buf_t text = {0};
    int new_fd = -1;
    FILE *file = fdopen(dup(fd), "r");
    if (file == NULL)
        return fd;
    rewind(file);
    anchors_t *anchors = anchor_file_read(file, self->end, &everything, error, sizeof error);
    fclose(file);
    self->rotate_at = self->end * 2; /* when it is next tried */
    if (anchors != NULL) {
        keep_newest(self, anchors);
        put_short(self, anchors, &text, previous);
        if ((int64_t)text.n_bytes <= self->end / 2)
            new_fd = replace_file(self, buf_slice(&text));
    }
    if (new_fd >= 0) {
        memcpy(self->previous, previous, sizeof previous);
        self->rotate_at = ROTATE_BYTES;
        close(fd);
    }
    anchors_destroy(&anchors);
    buf_fini(&text);
    return new_fd >= 0 ? new_fd : fd;
}

/* --- appending --- */

static bool is_word(const char *epoch)
{
    for (size_t i = 0; i < EPOCH_CHARS; i++) {
        if (epoch[i] <= ' ' || epoch[i] > '~')
            return false;
    }
    return true;
}

bool anchor_append(anchor_t *self, const anchor_block_t *given, char *error, size_t error_size)
{
    buf_t text = {0};
    char previous[ANCHOR_SIGNATURE_CHARS + 1] = "-";
    anchor_block_t block = *given;
    if (!is_word(block.epoch))
        return refuse("the epoch is no word", error, error_size);
    int fd = open_of_epoch(self, block.epoch, error, error_size);
    if (fd < 0)
        return false;
    if (self->end >= self->rotate_at)
        fd = rotate(self, fd);
    if (self->end == 0)
        put_header(self, &text);
    if (self->epoch[0] != '\0')
        memcpy(previous, self->previous, sizeof previous);
    block.is_part = block.is_part || (block.is_of_moved && self->epoch[0] == '\0');
    put_block(self, &block, &text, previous);
    bool is_stored = store(self, fd, buf_slice(&text)) || trouble(FILE_NAME, error, error_size);
    if (is_stored) {
        memcpy(self->previous, previous, sizeof previous);
        memcpy(self->epoch, block.epoch, EPOCH_CHARS);
        self->last_us = block.is_part ? self->last_us : block.at_us;
    }
    buf_fini(&text);
    close(fd);
    return is_stored;
}
