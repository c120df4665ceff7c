/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the publisher share: publisher.c (terms and positions), publisher_send.c
 * (events to records to the producer, and what it says of them), publisher_look.c (tasks that an
 * event does not show), publisher_mend.c (records of other relays). */
#ifndef TASKWIRE_PUBLISHER_PRIVATE_H
#define TASKWIRE_PUBLISHER_PRIVATE_H

#include "bridge/kafka_producer.h"
#include "bridge/lookout.h"
#include "bridge/progress.h"
#include "bridge/publisher.h"
#include "bridge/topics.h"

#define RETRY_US INT64_C(250000)
/* Room for so many of the largest records is enough for a page of tasks, which are smaller. */
#define PAGE_RECORDS 64
#define RELAY_ID_BYTES 8
#define NO_TICKET UINT32_MAX /* of records that no event waits for */
#define PUBLISHER_ACTOR "kafka" /* whose positions they are, in relay_position */

typedef enum { TERM_OFF, TERM_LOADING, TERM_ON } term_t;

/* Tasks being read for task-updates. */
typedef enum { LOOK_NONE, LOOK_TASK, LOOK_LIST, LOOK_ASKED } look_t;

struct publisher {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    record_coder_t *coder;
    kafka_producer_t *producer; /* NULL: none now */
    progress_t *progress;
    term_t term;
    uint64_t n_terms;
    uint64_t run; /* of producers */
    char epoch[EPOCH_CHARS];
    char relay[2 * RELAY_ID_BYTES + 1]; /* of the term, in task-updates */
    int64_t taken[N_SHARDS];

    bool is_preparing;
    bool is_prepared; /* the positions are those of these topics */
    bool is_rewriting; /* task-updates is read from its start */
    bool is_void; /* the topic is no longer the one that was written to */
    int64_t look_mono_us; /* for that: not before */
    lookout_t *lookout; /* for records of other relays; NULL: none yet */
    int64_t open_mono_us; /* not before */
    bool is_mending; /* keys that it found are being read */

    look_t look;
    look_t look_wanted; /* what is to be asked when LOOK_ASKED fails */
    log_event_t look_event; /* without body and trace; its digest is the next */
    uint8_t look_digest[DIGEST_BYTES];
    int64_t look_before;
    int64_t look_rev; /* of a list: read up to here */
    uint32_t look_ticket;

    int64_t careful_to[N_SHARDS]; /* one at a time up to here */
    bool is_careful;
    bool is_refused; /* an event has been, since the producer began */
    int64_t refused_id; /* alone: to become a dead letter */
    char refused_why[128];

    bool is_saving;
    shard_set_t saving;
    int64_t save_mono_us;
    int64_t retry_mono_us; /* no producer before */
    int64_t broken_mono_us; /* since when the producer is; 0: it is not */
    log_once_t trouble;
    bool is_stuck;
    metric_t *acknowledged_total;
    metric_t *failed_total;
    metric_t *dead_total;
    metric_t *mended_total;
    metric_t *broken_total;
    metric_t *queue;
};

/* What an answer of the database belongs to. */
typedef struct {
    publisher_t *owner;
    uint64_t term;
    uint64_t run;
    uint32_t ticket; /* or the number of keys */
} asked_t;

asked_t *publisher_asked(publisher_t *self, uint32_t ticket);
/* Whether what an answer belongs to still stands. */
bool publisher_is_current(const asked_t *asked);

/* --- publisher_send.c --- */

/* Gives a record to the producer; the event of the ticket waits for it. */
err_t publisher_give(publisher_t *self, kafka_topic_t topic, unsigned shard, const record_t *record,
                     uint32_t ticket);
/* Nothing can be done with this producer: begin again from what has arrived. */
void publisher_begin_run(publisher_t *self);
void publisher_close_producer(publisher_t *self, int64_t deadline_mono_us);
bool publisher_has_topics(const publisher_t *self);
/* Minds the producer: makes one, hears what has arrived, goes on with another. */
void publisher_send_turn(publisher_t *self, now_t now);

/* --- publisher_look.c --- */

/* Reads what the event, which is of that ticket, does to task-updates. */
void publisher_look(publisher_t *self, record_update_t update, const log_event_t *event,
                    uint32_t ticket);
void publisher_look_turn(publisher_t *self, now_t now);

/* --- publisher_mend.c --- */

void publisher_mend_turn(publisher_t *self, now_t now);
void publisher_mend_stop(publisher_t *self, int64_t deadline_mono_us);
/* The name of task-updates, as a parameter. */
void publisher_put_topic(const publisher_t *self, pg_params_t *params);

#endif
