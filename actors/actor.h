/* SPDX-License-Identifier: Apache-2.0 */
/* An actor: one thread, one inbox, one owner of each foreign handle. The loop is written once,
 * here: do what is due, learn how long to sleep, wait, handle one. An actor is a struct, a
 * constructor and a table of functions. */
#ifndef TASKWIRE_ACTOR_H
#define TASKWIRE_ACTOR_H

#include "actors/clock.h"
#include "actors/mailbox.h"

#define ACTOR_SLEEP_MAX_US INT64_C(1000000)
#define ACTOR_MAX_FDS 16
#define ACTOR_MAX_NOTES 16

typedef struct actor actor_t;

/* All functions run in the actor's thread; any may be NULL. */
typedef struct {
    const char *name;
    /* Opens ports, connections, projections. An error ends the program with it. */
    err_t (*open)(void *self, actor_t *actor);
    /* Handles one message. Owns: the loop closes the message afterwards. */
    void (*receive)(void *self, slice_t bytes, now_t now);
    /* The doorbell rang with these bits (0 is possible: just look). */
    void (*rung)(void *self, uint64_t bits, now_t now);
    /* Does what is due and answers how long nothing will be, in microseconds (at most
     * ACTOR_SLEEP_MAX_US is slept). */
    int64_t (*due)(void *self, now_t now);
    /* The program stops: finish what was taken on. True as soon as nothing is left. Called after
     * each step. */
    bool (*drain)(void *self, now_t now);
    /* Closes everything that open made. Also after a failed open. */
    void (*close)(void *self);
    /* Instead of the loop, for actors that live in a loop of another kind (libuv), between open and
     * close. Must return after actor_stop, which rings the bell. */
    err_t (*run)(void *self, actor_t *actor);
} actor_ops_t;

/* Makes an actor that will run `ops` on `self` with a mailbox of this name and limit. Owns: `self`
 * stays the caller's. */
actor_t *actor_new(const actor_ops_t *ops, void *self, post_t *post, const char *name,
                   int inbox_limit);
void actor_destroy(actor_t **self_p);

const char *actor_name(const actor_t *self);
mailbox_t *actor_inbox(actor_t *self);
doorbell_t *actor_bell(actor_t *self);

/* Starts the thread. `on_end` is called in it as its last act, with the reason: OK after a stop,
 * else what went wrong. */
err_t actor_start(actor_t *self, void (*on_end)(void *arg, actor_t *actor, err_t reason),
                  void *arg);

/* Asks it to drain and end. Thread: any. */
void actor_stop(actor_t *self);
bool actor_is_stopping(const actor_t *self);

/* Waits for the thread until the deadline of the monotonic clock. False: it still runs. */
bool actor_join(actor_t *self, int64_t deadline_mono_us);

/* Ends the actor from inside, with a reason: the program stops. Thread: the actor's. */
void actor_fail(actor_t *self, err_t reason, const char *words);

/* Has `on_ready` called when the fd is ready. `events` as poll(2), to be set anew by actor_watch
 * with the same fd; 0 forgets it. Thread: the actor's. */
void actor_watch(actor_t *self, int fd, short events,
                 void (*on_ready)(void *arg, short events, now_t now), void *arg);

/* Another reference to the message that `receive` has been called with: what is to be kept need not
 * be copied. Thread: the actor's, inside `receive`. */
void actor_share(actor_t *self, message_t *out);

/* Publishes a number for GET /actors under this key (a literal). Thread: the actor's. */
void actor_note(actor_t *self, const char *key, int64_t value);

/* Appends the actor as a JSON object: name, depth, limit, beats (loop turns), notes. Thread: any.
 */
void actor_describe(actor_t *self, buf_t *out);

/* One turn of the loop without waiting, for tests with a clock of their own: receives all, takes
 * the bell, does what is due; the first one opens it (and actor_destroy closes it), one after
 * actor_stop drains. Returns how long it would sleep. */
int64_t actor_step(actor_t *self, now_t now);

/* Whether it has failed or, after actor_stop, drained: the next step would do nothing. Thread: the
 * actor's. */
bool actor_is_done(const actor_t *self);

/* Counts a turn of the loop; only for actors with a `run` of their own. Thread: the actor's. */
void actor_beat(actor_t *self);

#endif
