/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time comes from. Only the loop (actor.c) and the gateway's loop read a clock;
 * everything else is given `now`, so that tests put time where they want it. */
#ifndef TASKWIRE_CLOCK_H
#define TASKWIRE_CLOCK_H

#include <stdint.h>

typedef struct {
    int64_t wall_us; /* UTC since 1970; may jump. What messages and stored rows speak of */
    int64_t mono_us; /* never goes back; only for durations and deadlines inside the process */
} now_t;

/* The system's clocks, at this moment. */
now_t clock_now(void);

#endif
