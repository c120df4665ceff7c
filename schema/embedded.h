/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the program carries inside itself: SQL migrations and the descriptions of its
 * interface. */
#ifndef TASKWIRE_EMBEDDED_H
#define TASKWIRE_EMBEDDED_H

#include <stddef.h>

typedef struct {
    const char *name; /* without a folder; NULL ends the table */
    const unsigned char *bytes;
    size_t n_bytes;
} embedded_t;

/* In the order of their names. */
extern const embedded_t embedded_files[];

#endif
