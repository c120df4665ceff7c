/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of events into the chain: heads read, gaps filled, links made, everything stored by one
 * statement. */
#ifndef TASKWIRE_AUDIT_BATCH_H
#define TASKWIRE_AUDIT_BATCH_H

#include "actors/anchor.h"
#include "actors/chain.h"
#include "actors/intray.h"
#include "actors/pg.h"

#define AUDIT_WHY_CHARS 200

/* Told of the head of each stream of the batch, as it is in the database now, whoever moved it. */
typedef void audit_head_f(void *arg, const anchor_head_t *head);

/* What became of a batch; also of one that failed. */
typedef struct {
    size_t n_events; /* newly in the chain */
    size_t n_retries; /* times that somebody else had moved a head */
    char why[AUDIT_WHY_CHARS]; /* the server's words if it refused something, else "" */
} audit_batch_result_t;

/* Adds the events to the chain. Blocks. An event behind a hole in the log itself, or behind a
 * damaged head, is rejected in the intray. Errors: UNAVAILABLE: the database is away, others keep
 * moving the heads, or more is missing than fits into one turn; nothing is lost by trying again. */
err_t audit_batch_store(pg_t *pg, const char epoch[EPOCH_CHARS], intray_t *intray,
                        mp_reader_t *content, uint32_t n_events, audit_head_f *tell, void *arg,
                        audit_batch_result_t *out);

#endif
