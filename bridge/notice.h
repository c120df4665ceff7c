/* SPDX-License-Identifier: Apache-2.0 */
/* What one process tells the others of the log, and how often: "these shards have grown", at most
 * once in 20 ms; what grows meanwhile goes with the next one. Pure. */
#ifndef TASKWIRE_NOTICE_H
#define TASKWIRE_NOTICE_H

#include "schema/shard.h"

#include <stdbool.h>

/* As text: 16 digits of hexadecimal for the process, a space, 16 for the shards. */
#define NOTICE_CHARS 33
#define NOTICE_PAUSE_US INT64_C(20000)

typedef struct {
    uint64_t process; /* drawn at random by each */
    shard_set_t shards;
} notice_t;

void notice_format(const notice_t *self, char out[NOTICE_CHARS + 1]);

/* False: it is none of ours. */
bool notice_parse(const char *text, notice_t *out);

/* What is to be told. Zero-initialised: nothing. */
typedef struct {
    shard_set_t waiting;
    shard_set_t under_way; /* sent, and not known to have arrived */
    int64_t next_mono_us; /* not before */
} notice_pace_t;

/* These have grown. */
void notice_pace_add(notice_pace_t *self, shard_set_t shards);

/* What may be told now, and is under way from then on; 0: nothing. */
shard_set_t notice_pace_take(notice_pace_t *self, int64_t mono_us);

/* What was under way has arrived, or must be told again, not before `retry_us` from now. */
void notice_pace_arrived(notice_pace_t *self);
void notice_pace_failed(notice_pace_t *self, int64_t mono_us, int64_t retry_us);

/* How long nothing will be to tell, whatever does not grow; INT64_MAX: nothing waits. */
int64_t notice_pace_wait_us(const notice_pace_t *self, int64_t mono_us);

#endif
