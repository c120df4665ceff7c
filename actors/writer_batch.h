/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of commands through one transaction: lock the shards and load, apply, store and commit.
 * A lane is a connection that carries one batch at a time. The lane knows nothing of queues: it is
 * given pending commands, and says in its state what became of them. */
#ifndef TASKWIRE_WRITER_BATCH_H
#define TASKWIRE_WRITER_BATCH_H

#include "actors/pg_loop.h"
#include "actors/writer.h"
#include "schema/apply.h"

/* What several commands of one message share: the bytes that they borrow from. */
typedef struct {
    message_t message;
    arena_t *arena;
    size_t n_users;
    size_t n_bytes;
    size_t *held; /* sum of the bytes of all intakes */
} intake_t;

/* Makes one of these bytes, for one user; counts it in `held`, which outlives it. */
intake_t *intake_new(slice_t bytes, size_t *held);
/* One user less; the last one's release frees it. */
void intake_release(intake_t *intake);

/* A command that waits for its result. */
typedef struct bulk bulk_t;
typedef struct pending {
    struct pending *next;
    intake_t *intake;
    command_t command;
    command_refs_t refs;
    shard_set_t shards;
    int64_t deadline_mono_us;
    int n_moves; /* how often it turned out under the locks that it needs others */
    bool is_put_back; /* not applied in this run, to be queued again */
    uuid_t moved_to; /* because its task is in this list now; else nil */
    shard_set_t missing; /* because it needs these as well. None and nil: it has to follow one that
                            is put back */
    shard_set_t found; /* all that were ever missing */
    bool is_located; /* the list was found by us, and may be out of date */
    uint32_t
        group; /* of a batch that failed, or an atomic bulk: to be run with no others; 0: none */
    bool is_atomic; /* all of the group are applied, or none */
    bulk_t *bulk; /* while the others of the bulk are awaited; else NULL */
    bool is_uncertain; /* it was applied, and the COMMIT was sent and not answered */
    outcome_t outcome; /* once applied; borrows from the lane's arena */
} pending_t;

/* A list of pending commands in order. */
typedef struct {
    pending_t *first;
    pending_t **end; /* where the next one goes; NULL while the list is empty */
    size_t n;
} pending_list_t;

/* An atomic bulk on its way into the queue. */
struct bulk {
    size_t n_awaited; /* commands that are not located yet */
    bool is_refused; /* one of them */
    pending_list_t members; /* those that are, or are refused */
};

void pending_append(pending_list_t *list, pending_t *pending);
pending_t *pending_pop(pending_list_t *list);
/* Moves all of `back` behind `front`. */
void pending_join(pending_list_t *front, pending_list_t *back);
/* Gives the command's memory back. */
void pending_destroy(pending_t *pending);

typedef enum {
    LANE_IDLE,
    LANE_LOADING, /* locks asked for, state being read */
    LANE_STORING, /* being written, COMMIT sent */
    LANE_ROLLING_BACK, /* it failed; the transaction is being ended */
    LANE_BACKING_OFF, /* it failed for a reason that passes; waits, then starts again */
    LANE_COMMITTED, /* outcomes are true: to be answered */
    LANE_REJECTED, /* a command of it is poison: to be run one by one, or refused if it is one */
    LANE_GIVEN_UP, /* three times failed, or past its deadline: as REJECTED, for the reason `fate`
                    */
} lane_state_t;

typedef struct {
    pg_t *pg;
    pg_loop_t loop;
    lane_state_t state;
    pending_list_t batch;
    shard_set_t shards;
    arena_t *arena;
    state_t *loaded;
    char epoch[EPOCH_CHARS];
    bool has_epoch;
    pg_params_t params;
    pg_done_f *on_loaded;
    int n_rounds; /* of reading, in this try */
    pg_fate_t fate; /* of the first statement that failed */
    char constraint[64]; /* that it violated, or "" */
    int n_tries;
    int64_t session; /* of pg, when the batch was sent */
    int64_t started_mono_us; /* of this try */
    int64_t retry_mono_us;
    metric_t *load_seconds;
    metric_t *commit_seconds;
} lane_t;

/* Starts a batch (the lane is idle, the connection ready): takes the commands over. */
void lane_start(lane_t *self, pending_list_t *commands, now_t now);
/* Moves on what waits for the connection or for time. */
void lane_turn(lane_t *self, now_t now);
/* Notes the first failure of a group; true if this statement succeeded. */
bool lane_note_fate(lane_t *self, pg_fate_t fate, const pg_result_t *result);
/* After it was answered: forgets the batch, is idle. The pending commands have been taken out
 * before. */
void lane_finish(lane_t *self);

/* --- writer_load.c --- */

/* Queues the statements that read what the batch needs; `self->loaded` is filled as answers come.
 * The last one's callback is `done`. */
void lane_queue_load(lane_t *self, pg_done_f *done);

/* Queue the last statement of a further round, for the keys in `params`: tasks, and memberships of
 * pairs of accounts and lists. */
void lane_queue_tasks(lane_t *self);
void lane_queue_newcomers(lane_t *self);

/* --- writer_tree.c --- */

/* Queues the statements that read the places of tasks, if any command needs them. */
void lane_queue_trees(lane_t *self);

/* Queues what only the answers so far have shown to be needed; `on_loaded` is called again. False:
 * that is all. */
bool lane_queue_more(lane_t *self);

/* --- writer_store.c --- */

/* Queues the statements that write what apply changed; their failures are noted in the lane. */
void lane_queue_store(lane_t *self);

#endif
