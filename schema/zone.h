/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: cctz behind a few C functions, over the system's tzdata (TZDIR, else
 * /usr/share/zoneinfo). Zones are loaded once and kept. A zone that is not known, which one that
 * was stored may become when tzdata changes, counts as UTC. Instants stay between INSTANT_MIN and
 * INSTANT_MAX, dates in years 1 to 9999. Thread: any. Blocks: for the reading of a file when a zone
 * is named for the first time, or is not known. */
#ifndef TASKWIRE_ZONE_H
#define TASKWIRE_ZONE_H

#include "schema/instant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether this is the name of an IANA zone that the system knows: no path, no "localtime", no POSIX
 * rule. */
bool zone_is_known(slice_t name);

/* The folder that zones are read from. */
const char *zone_folder(void);

/* What a clock change did to a local time. */
typedef enum {
    ZONE_PLAIN,
    ZONE_GAP, /* no clock showed it: the offset before the gap was taken */
    ZONE_OVERLAP, /* clocks showed it twice: the first instant was taken */
} zone_fit_t;

/* The instant at which a clock in the zone shows this local time (RFC 5545 §3.3.5). */
int64_t zone_to_utc(slice_t zone, const local_t *local, zone_fit_t *fit);

/* What a clock in the zone shows at the instant. */
void zone_to_local(slice_t zone, int64_t at_us, local_t *out);

/* The last microsecond of that date in the zone, at which an all-day task becomes overdue. */
int64_t zone_end_of_day(slice_t zone, const local_t *date);

#ifdef __cplusplus
}
#endif

#endif
