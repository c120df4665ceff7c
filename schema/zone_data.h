/* SPDX-License-Identifier: Apache-2.0 */
/* Which time zone data this is. Governments change their clocks, and tzdata follows; what was
 * computed by the one before is then to be computed again. */
#ifndef TASKWIRE_ZONE_DATA_H
#define TASKWIRE_ZONE_DATA_H

#include <stdbool.h>

#define ZONE_DATA_CHARS 32

/* A digest over the names and contents of all zones that are there, with a NUL: two machines with
 * the same data have the same one, whatever packages call it. False: the folder cannot be read.
 * Blocks: for the reading of some 600 small files. */
bool zone_data_digest(char out[ZONE_DATA_CHARS + 1]);

#endif
