/* SPDX-License-Identifier: Apache-2.0 */
/* The key pair that anchors are signed with: the seed in DIR/anchor.key, which only its owner
 * reads, and the public key in DIR/anchor.pub, each a line of hexadecimal digits. */
#ifndef TASKWIRE_ANCHOR_KEY_H
#define TASKWIRE_ANCHOR_KEY_H

#include <sodium.h>

#include "actors/anchor.h"

typedef struct {
    uint8_t public_key[ANCHOR_KEY_BYTES];
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
} anchor_key_t;

/* Reads the key pair, or makes it, unless it is in use: then a missing key is an error. False, with
 * a sentence. Blocks. */
bool anchor_key_load(anchor_key_t *self, int dir_fd, bool is_in_use, char *error,
                     size_t error_size);

#endif
