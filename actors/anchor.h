/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors: the heads of the audit chain, written down outside the database and signed, so that a
 * history that was rewritten together with its chain is found by whoever kept an earlier copy of
 * the file.
 *
 * The file is text, made of blocks that are only ever appended:
 *
 *   taskwire-anchors 1 PUBLIC_KEY                    first line of the file
 *   block TIME EPOCH N PREVIOUS_SIGNATURE            TIME in RFC 3339; "-" in the first block
 *   STREAM REV HASH                                  N times
 *   signature SIGNATURE                              over the block's lines before it
 *
 * A block that does not hold all heads that had moved by its TIME begins with `part` in place of
 * `block`. Keys, hashes and signatures are hexadecimal. A block without its last line was torn by a
 * crash or a full disk: it is cut off before the next one is appended. The file may be moved away
 * at any time: the next block begins a new one. Source: Ed25519 (RFC 8032), by libsodium.
 *
 * Beside `anchors` in the directory there may be
 *
 *   anchors.1                the file before it. A file that has grown large is put there, in place
 *                            of the last one, and a new one begins with the newest head of each
 *                            stream, which by the chain vouches for all before it
 *   anchors.TIME-damaged     a file that was not what it says, as it was found
 *   anchors.TIME-epoch       the last file of an epoch that has ended: all blocks of a file are of
 *                            one epoch
 *
 * The latter two are kept until somebody moves them away. */
#ifndef TASKWIRE_ANCHOR_H
#define TASKWIRE_ANCHOR_H

#include "actors/chain.h"
#include "schema/event.h"

/* Heads in one block at most. */
#define ANCHOR_MAX_HEADS 65536
#define ANCHOR_KEY_BYTES 32

typedef struct {
    uuid_t stream;
    int64_t rev;
    chain_link_t link;
    uint64_t epoch; /* of anchors_t's, when read */
} anchor_head_t;

/* --- writing --- */

typedef struct anchor anchor_t;

/* Opens DIR/anchors for appending, with its key pair in DIR/anchor.key (mode 0600) and
 * DIR/anchor.pub; makes what is missing, cuts off a torn last block, sets a damaged file aside.
 * NULL, with a sentence in `error`, if that cannot be done; keys that are wrong, or a file of
 * another key, are left alone. Blocks. */
anchor_t *anchor_open(const char *dir, char *error, size_t error_size);
void anchor_close(anchor_t **self_p);

/* The time of the last block that is no part, or INSTANT_NONE if there is none. */
int64_t anchor_last_us(const anchor_t *self);

/* What comes is of this epoch: a file of another one is set aside. False, with a sentence, if that
 * cannot be done. Blocks. */
bool anchor_enter(anchor_t *self, const char *epoch, char *error, size_t error_size);

/* What became of a file that was set aside. */
typedef struct {
    bool is_damaged; /* else it is of another epoch */
    char words[400]; /* what was wrong, and its new name */
} anchor_finding_t;

/* What was found since this was last asked. False: nothing. */
bool anchor_take_finding(anchor_t *self, anchor_finding_t *out);

/* One block to be written. */
typedef struct {
    const anchor_head_t *heads;
    size_t n_heads; /* 1 to ANCHOR_MAX_HEADS */
    const char *epoch; /* EPOCH_CHARS */
    int64_t at_us;
    bool is_part;
    bool is_of_moved; /* it holds what moved since the last block: a part only, if there is none */
} anchor_block_t;

/* Appends a block and waits until it is on the disk. False: it is not, and `error` says why; what
 * was in the file before is as it was. Another process's blocks are respected. Begins a new file as
 * above. Blocks. */
bool anchor_append(anchor_t *self, const anchor_block_t *block, char *error, size_t error_size);

/* --- reading --- */

typedef struct {
    anchor_head_t *heads; /* sorted by stream, then rev */
    size_t n_heads;
    size_t n_blocks;
    char (*epochs)[EPOCH_CHARS + 1];
    size_t n_epochs;
    const char *left_epoch; /* the database was restored out of it, as one has been told; NULL */
    uint8_t public_key[ANCHOR_KEY_BYTES]; /* of the last file */
    bool is_torn; /* bytes of an unfinished block follow the last good one */
} anchors_t;

/* What of a file is wanted. All zero: everything. */
typedef struct {
    const uuid_t *only; /* the heads of this stream; NULL: of all */
    bool (*go_on)(void *arg); /* asked at each block; NULL: always */
    void *arg;
} anchors_want_t;

/* Reads a whole file, checking every signature and that each block names the one before. `want` may
 * be NULL. NULL, with a sentence in `error` that names the first wrong line and block, if the file
 * is not what it says, or was not read to its end. Blocks. */
anchors_t *anchors_read(const char *path, const anchors_want_t *want, char *error,
                        size_t error_size);
/* Reads `anchors` in the directory and all that is beside it. `bad` is told of each file of which
 * nothing can be used. NULL: there are none. Blocks. */
typedef void anchors_bad_f(void *arg, const char *path, const char *why);
anchors_t *anchors_read_dir(const char *dir, const anchors_want_t *want, anchors_bad_f *bad,
                            void *arg);
void anchors_destroy(anchors_t **self_p);

/* The anchored heads of a stream: the first of them, and how many; NULL if none. */
const anchor_head_t *anchors_of(const anchors_t *self, const uuid_t *stream, size_t *n_heads);

/* Reads the public key in DIR/anchor.pub. False: it is not there or none. */
bool anchor_read_public_key(const char *dir, uint8_t out[ANCHOR_KEY_BYTES]);

#endif
