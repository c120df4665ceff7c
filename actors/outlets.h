/* SPDX-License-Identifier: Apache-2.0 */
/* The ways from sync to the gateways: what each is told of access, purges and streams, and what
 * becomes of one whose inbox is full. Nothing here waits for it: it is left out until there is
 * room, and then told the most that it may have missed, and anew where each of its streams is.
 * Thread: sync's. */
#ifndef TASKWIRE_OUTLETS_H
#define TASKWIRE_OUTLETS_H

#include "actors/message.h"
#include "actors/network.h"
#include "actors/recent.h"

/* At most so many frames of a stream may be kept: what it takes to tell where it is. */
#define OUTLETS_MAX_FRAMES 256

/* The way to a gateway. */
typedef struct {
    port_t *port; /* NULL: there is no such gateway */
    bool is_lagging; /* something could not be sent; nothing is until that is repaired */
    bool lost_access;
    bool lost_epoch;
    bool lost_purge;
} outlet_t;

typedef struct {
    network_t *network;
    recent_t *recent;
    const char *epoch;
    outlet_t outlets[NETWORK_MAX_GATEWAYS];
    int64_t recover_mono_us; /* the next try for who lags: not before */
    metric_t *n_lags;
} outlets_t;

/* Borrows all three; the frames to be sent are those of `recent`, and the epoch may change. */
void outlets_init(outlets_t *self, network_t *network, recent_t *recent, const char *epoch);

/* Connects to the gateways. */
void outlets_open(outlets_t *self);

void outlets_close(outlets_t *self);

/* Tells all gateways who may no longer see what they saw. */
void outlets_access(outlets_t *self, const access_t *access);

/* Tells all gateways that the stream was purged. */
void outlets_purged(outlets_t *self, const uuid_t *stream);

/* Sends the frames that were collected to who watches their streams. */
void outlets_flush(outlets_t *self);

/* A gateway watches a stream, or no longer. The answer waits until it is known where the log is. */
void outlets_watch(outlets_t *self, const watch_t *watch, bool is_known);

/* From here on is another history, or one of which something was skipped: what was told so far does
 * not count, and nobody may still be who they were. Who lags is told so by outlets_repair. */
void outlets_forget(outlets_t *self);

/* Tells who lags what it has missed, if it is known where the log is and time for it. Answers how
 * long there is nothing to do; INT64_MAX: nobody lags. */
int64_t outlets_repair(outlets_t *self, bool is_known, now_t now);

#endif
