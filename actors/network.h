/* SPDX-License-Identifier: Apache-2.0 */
/* The network as it runs: which actors there are and how to reach them. Built by main before any
 * thread starts, read-only afterwards; every actor gets it and makes its own ports. */
#ifndef TASKWIRE_NETWORK_H
#define TASKWIRE_NETWORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/actor.h"
#include "actors/config.h"
#include "actors/metrics.h"
#include "schema/shard.h"

#define NETWORK_MAX_GATEWAYS 16
#define NETWORK_WHY_CHARS 256

/* Addresses of inboxes: what command_t.reply_to and WATCH name. */
typedef enum {
    ADDRESS_WRITER,
    ADDRESS_RELAY,
    ADDRESS_CONSUMER, /* in Kafka mode only */
    ADDRESS_TAIL, /* in Kafka mode only */
    ADDRESS_RECURRENCE,
    ADDRESS_REMINDER,
    ADDRESS_AUDIT,
    ADDRESS_SYNC,
    ADDRESS_PEERS,
    ADDRESS_ERASER,
    ADDRESS_RETIME,
    ADDRESS_TOPICS, /* in Kafka mode only */
    ADDRESS_GATEWAY, /* the first; gateway G has ADDRESS_GATEWAY + G */
    ADDRESS_COUNT = ADDRESS_GATEWAY + NETWORK_MAX_GATEWAYS,
} address_t;

/* What may be wrong while the program can still do its work for clients. */
typedef enum {
    DEGRADED_KAFKA, /* it is away */
    DEGRADED_TOPICS, /* one is missing */
    DEGRADED_RELAY, /* events do not get into Kafka */
    DEGRADED_COUNT,
} degraded_t;

typedef struct {
    const config_t *config;
    metrics_t *metrics;
    struct lineage *lineage; /* NULL: databases are taken as they are (tests) */
    post_t *post;
    struct topics *topics; /* NULL: local mode */
    actor_t *actors[ADDRESS_COUNT]; /* NULL: not part of this program (tests leave some out) */
    uint32_t n_gateways;

    /* Whether the program can do its work; see network_set_ready. All zero: not yet, without a
     * reason. */
    atomic_bool is_ready;
    atomic_uint blind_gateways; /* bit G: gateway G; see network_set_blind */
    pthread_mutex_t ready_lock;
    char ready_why[NETWORK_WHY_CHARS];
    char degraded[DEGRADED_COUNT][NETWORK_WHY_CHARS]; /* "": it is not */
    doorbell_t *ready_bell; /* rung when it changes; NULL: nobody waits */
} network_t;

/* A port to the inbox at the address; NULL if there is no such actor. Thread: it belongs to the
 * caller's. */
port_t *network_port(const network_t *self, uint32_t address);

/* A port to whoever hands events to the actors and takes their ACKs: the consumer if there is one,
 * else the relay. As network_port. */
port_t *network_ack_port(const network_t *self);

/* This process has written to the log in these shards: wakes the relay and sync, and peers, who
 * tells other processes. Thread: any. */
void network_log_grew(const network_t *self, shard_set_t shards);

/* Another process has: wakes the relay, and sync; in Kafka mode tail in its place, which knows
 * whether the events come by themselves. Thread: any. */
void network_peer_grew(const network_t *self, shard_set_t shards);

/* Appends the network as JSON: {"actors":[…]}. Thread: any. */
void network_describe(const network_t *self, buf_t *out);

/* Whether the program can do its work, for /readyz. The writer keeps it. Thread: any. */
void network_set_ready(network_t *self, bool is_ready, const char *why);

/* Whether a gateway cannot read from the database: the program is not ready while there is one that
 * cannot. Thread: the gateway's, or before it starts. */
void network_set_blind(network_t *self, uint32_t gateway, bool is_blind);

/* Says what is wrong, or, with NULL, that it is not any more. Thread: any. */
void network_set_degraded(network_t *self, degraded_t what, const char *why);

/* Whether something is wrong while the program is ready; `why` gets the first reason, as below.
 * Thread: any. */
bool network_is_degraded(const network_t *self, char *why, size_t size);

/* The answer to /readyz; `why` (may be NULL) gets the reason as a C string, "" if there is none.
 * Thread: any. */
bool network_is_ready(const network_t *self, char *why, size_t size);

#endif
