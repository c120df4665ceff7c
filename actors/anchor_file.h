/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file of anchors block by block, as it is checked: for who appends to one and for who
 * reads one. */
#ifndef TASKWIRE_ANCHOR_FILE_H
#define TASKWIRE_ANCHOR_FILE_H

#include <stdio.h>

#include "actors/anchor.h"
#include "schema/buf.h"

#define ANCHOR_SIGNATURE_BYTES 64
#define ANCHOR_SIGNATURE_CHARS (2 * ANCHOR_SIGNATURE_BYTES)
#define ANCHOR_KEY_CHARS (2 * ANCHOR_KEY_BYTES)
#define ANCHOR_WHY_CHARS 120

typedef enum {
    ANCHOR_BLOCK, /* one more that is right */
    ANCHOR_END, /* the file ends behind a right block, or is empty */
    ANCHOR_TORN, /* what is left is an unfinished block, or an unfinished first line */
    ANCHOR_WRONG, /* what follows is not what it says; `why` has a sentence */
} anchor_step_t;

typedef struct {
    FILE *file;
    int64_t n_left; /* bytes of it that are to be read */
    bool has_header;
    uint8_t public_key[ANCHOR_KEY_BYTES];
    char previous[ANCHOR_SIGNATURE_CHARS + 1]; /* of the last right block; "-" before the first */
    int64_t end; /* where the last right block ends, or the first line */
    int64_t last_us; /* of the last block that is no part, or INSTANT_NONE */
    size_t n_blocks;
    size_t n_lines;

    /* The last block. */
    char epoch[EPOCH_CHARS + 1];
    buf_t text; /* what is signed */
    anchor_head_t *heads;
    size_t n_heads;
    size_t capacity;
    int64_t at_us;
    bool is_part;

    char why[ANCHOR_WHY_CHARS];
} anchor_reader_t;

/* Begins at the place where the file stands; it is taken to end after so many bytes. Owns: the file
 * stays the caller's. */
void anchor_reader_init(anchor_reader_t *self, FILE *file, int64_t n_bytes);
void anchor_reader_fini(anchor_reader_t *self);

/* Reads and checks the next block. After another answer than ANCHOR_BLOCK there is no next. */
anchor_step_t anchor_reader_next(anchor_reader_t *self);

/* As anchors_read, of a file that is open, from where it stands and so far. Owns: the file stays
 * the caller's. */
anchors_t *anchor_file_read(FILE *file, int64_t n_bytes, const anchors_want_t *want, char *error,
                            size_t error_size);

/* Locks the file (LOCK_SH or LOCK_EX), waiting a moment at most: who holds it longer is frozen. A
 * file system without locks has none to respect. False, with errno: it is not to be had. Blocks. */
bool anchor_file_lock(int fd, int kind);

#endif
