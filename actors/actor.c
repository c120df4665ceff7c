/* SPDX-License-Identifier: Apache-2.0 */
/* The one loop of all actors. A turn is: receive what is there, take the bell, do what is due; then
 * sleep until a message, the bell, a watched fd or the time that `due` named. The bound on messages
 * per turn keeps a busy inbox from starving what is due.
 *
 * The thread's end is announced by a condition variable and not found out by joining, so that
 * actor_join can have a deadline. */
#include "actors/actor.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/log.h"
#include "schema/json.h"

#define RECEIVE_MAX 64
#define NAME_CHARS 32
#define THREAD_NAME_CHARS 16

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES ((size_t)8 * 1024 * 1024)
#else
#define STACK_BYTES ((size_t)1024 * 1024)
#endif

static_assert(ACTOR_MAX_FDS < MAILBOX_POLL_MAX_FDS, "the bell is polled too");

typedef struct {
    int fd;
    short events;
    void (*on_ready)(void *arg, short events, now_t now);
    void *arg;
} lookout_t;

typedef struct {
    const char *key;
    atomic_int_least64_t value;
} note_t;

struct actor {
    const actor_ops_t *ops;
    void *self;
    char name[NAME_CHARS];
    mailbox_t *inbox;
    doorbell_t *bell;

    /* The actor's thread only. */
    lookout_t lookouts[ACTOR_MAX_FDS];
    size_t n_lookouts;
    message_t *message; /* being received */
    bool is_open;
    bool is_done; /* drained, or failed */
    err_t reason;

    /* Anybody's. */
    note_t notes[ACTOR_MAX_NOTES];
    atomic_size_t n_notes;
    atomic_int_least64_t n_beats;
    atomic_bool is_stopping;

    pthread_t thread;
    bool is_started; /* and not yet joined; the parent's */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended; /* under the lock */
    void (*on_end)(void *arg, actor_t *actor, err_t reason);
    void *on_end_arg;
};

actor_t *actor_new(const actor_ops_t *ops, void *self, post_t *post, const char *name,
                   int inbox_limit)
{
    actor_t *actor = calloc(1, sizeof *actor);
    if (actor == NULL)
        abort();
    actor->ops = ops;
    actor->self = self;
    assert(strlen(name) < NAME_CHARS);
    snprintf(actor->name, sizeof actor->name, "%s", name);
    actor->inbox = mailbox_new(post, name, inbox_limit);
    actor->bell = doorbell_new();
    pthread_mutex_init(&actor->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&actor->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    return actor;
}

/* Opens the inbox and what the actor needs. */
static err_t open_all(actor_t *self)
{
    err_t err = mailbox_open(self->inbox);
    if (err != ERR_OK)
        return err;
    self->is_open = true;
    return self->ops->open != NULL ? self->ops->open(self->self, self) : ERR_OK;
}

static void close_all(actor_t *self)
{
    if (!self->is_open)
        return;
    if (self->ops->close != NULL)
        self->ops->close(self->self);
    self->is_open = false;
    self->n_lookouts = 0;
    mailbox_close(self->inbox);
}

void actor_destroy(actor_t **self_p)
{
    actor_t *self = *self_p;
    if (self == NULL)
        return;
    assert(!self->is_started);
    close_all(self); /* one that was driven by actor_step */
    mailbox_destroy(&self->inbox);
    doorbell_destroy(&self->bell);
    pthread_cond_destroy(&self->ended);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}

const char *actor_name(const actor_t *self)
{
    return self->name;
}

mailbox_t *actor_inbox(actor_t *self)
{
    return self->inbox;
}

doorbell_t *actor_bell(actor_t *self)
{
    return self->bell;
}

/* --- the loop --- */

static void receive_one(actor_t *self, message_t *message, now_t now)
{
    self->message = message;
    if (self->ops->receive != NULL)
        self->ops->receive(self->self, message_bytes(message), now);
    self->message = NULL;
    message_fini(message);
}

void actor_share(actor_t *self, message_t *out)
{
    message_share(out, self->message);
}

/* Receives at most `max` messages; true if it received any. */
static bool receive_some(actor_t *self, size_t max, now_t now)
{
    size_t n = 0;
    message_t message;
    while (n < max && !self->is_done && mailbox_recv(self->inbox, &message)) {
        receive_one(self, &message, now);
        n++;
    }
    return n > 0;
}

/* What comes after receiving: the bell, what is due, the end. Returns how long to sleep. */
static int64_t finish_turn(actor_t *self, now_t now)
{
    const actor_ops_t *ops = self->ops;
    if (!self->is_done && doorbell_is_rung(self->bell)) {
        uint64_t bits = doorbell_take(self->bell);
        if (ops->rung != NULL)
            ops->rung(self->self, bits, now);
    }
    int64_t sleep_us = ACTOR_SLEEP_MAX_US;
    if (!self->is_done && ops->due != NULL)
        sleep_us = ops->due(self->self, now);
    if (!self->is_done && actor_is_stopping(self))
        self->is_done = ops->drain == NULL || ops->drain(self->self, now);
    actor_beat(self);
    if (self->is_done || sleep_us < 0)
        return 0;
    return sleep_us < ACTOR_SLEEP_MAX_US ? sleep_us : ACTOR_SLEEP_MAX_US;
}

static lookout_t *find_lookout(actor_t *self, int fd)
{
    for (size_t i = 0; i < self->n_lookouts; i++) {
        if (self->lookouts[i].fd == fd)
            return &self->lookouts[i];
    }
    return NULL;
}

/* Sleeps at most so long; fills in which watched fds are ready and returns how many were watched.
 */
static size_t sleep_on_fds(actor_t *self, struct pollfd fds[ACTOR_MAX_FDS + 1], int64_t sleep_us)
{
    size_t n = self->n_lookouts;
    for (size_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){self->lookouts[i].fd, self->lookouts[i].events, 0};
    fds[n] = (struct pollfd){doorbell_fd(self->bell), POLLIN, 0};
    mailbox_poll(self->inbox, fds, n + 1, sleep_us);
    return n;
}

/* Tells those that watch. A callback may watch and forget as it likes, so each is looked up anew.
 */
static void tell_ready(actor_t *self, const struct pollfd *fds, size_t n_fds, now_t now)
{
    for (size_t i = 0; i < n_fds && !self->is_done; i++) {
        if (fds[i].revents == 0)
            continue;
        lookout_t *lookout = find_lookout(self, fds[i].fd);
        if (lookout != NULL)
            lookout->on_ready(lookout->arg, fds[i].revents, now);
    }
}

static void loop(actor_t *self)
{
    struct pollfd fds[ACTOR_MAX_FDS + 1];
    int64_t sleep_us = 0;
    while (!self->is_done) {
        size_t n_fds = sleep_on_fds(self, fds, sleep_us);
        now_t now = clock_now();
        tell_ready(self, fds, n_fds, now);
        receive_some(self, RECEIVE_MAX, now);
        sleep_us = finish_turn(self, now);
    }
}

int64_t actor_step(actor_t *self, now_t now)
{
    if (!self->is_open && !self->is_done) {
        err_t err = open_all(self);
        if (err != ERR_OK)
            actor_fail(self, err, "could not start");
    }
    if (self->is_done)
        return ACTOR_SLEEP_MAX_US;
    struct pollfd fds[ACTOR_MAX_FDS + 1];
    size_t n_fds = sleep_on_fds(self, fds, 0);
    tell_ready(self, fds, n_fds, now);
    while (receive_some(self, RECEIVE_MAX, now))
        ;
    return finish_turn(self, now);
}

bool actor_is_done(const actor_t *self)
{
    return self->is_done;
}

/* --- the thread --- */

static err_t live(actor_t *self)
{
    err_t err = open_all(self);
    if (err == ERR_OK && self->ops->run != NULL)
        err = self->ops->run(self->self, self);
    else if (err == ERR_OK)
        loop(self);
    if (self->reason != ERR_OK)
        err = self->reason; /* actor_fail knew better */
    close_all(self);
    /* Nobody asked it to end: that is a bug, whatever it says. */
    return err == ERR_OK && !actor_is_stopping(self) ? ERR_INTERNAL : err;
}

static void *thread_main(void *arg)
{
    actor_t *self = arg;
    char name[THREAD_NAME_CHARS];
    snprintf(name, sizeof name, "%.*s", THREAD_NAME_CHARS - 1, self->name);
    pthread_setname_np(pthread_self(), name);
    err_t reason = live(self);
    if (self->on_end != NULL)
        self->on_end(self->on_end_arg, self, reason);
    pthread_mutex_lock(&self->lock);
    self->has_ended = true;
    pthread_cond_broadcast(&self->ended);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* All signals but those that a fault of the thread itself raises: main takes them. */
static void fill_blocked(sigset_t *out)
{
    sigfillset(out);
    sigdelset(out, SIGSEGV);
    sigdelset(out, SIGBUS);
    sigdelset(out, SIGFPE);
    sigdelset(out, SIGILL);
    sigdelset(out, SIGABRT);
    sigdelset(out, SIGTRAP);
}

err_t actor_start(actor_t *self, void (*on_end)(void *arg, actor_t *actor, err_t reason), void *arg)
{
    assert(!self->is_started && !self->is_open);
    self->on_end = on_end;
    self->on_end_arg = arg;
    sigset_t blocked;
    sigset_t before;
    fill_blocked(&blocked);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_BLOCK, &blocked, &before); /* the thread is born with this mask */
    int rc = pthread_create(&self->thread, &attributes, thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    self->is_started = rc == 0;
    return rc == 0 ? ERR_OK : ERR_UNAVAILABLE;
}

void actor_stop(actor_t *self)
{
    atomic_store(&self->is_stopping, true);
    doorbell_ring(self->bell, 0);
}

bool actor_is_stopping(const actor_t *self)
{
    return atomic_load(&self->is_stopping);
}

bool actor_join(actor_t *self, int64_t deadline_mono_us)
{
    if (!self->is_started)
        return true;
    struct timespec deadline = {deadline_mono_us / 1000000, deadline_mono_us % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&self->lock);
    while (!self->has_ended && rc == 0)
        rc = pthread_cond_timedwait(&self->ended, &self->lock, &deadline);
    bool has_ended = self->has_ended;
    pthread_mutex_unlock(&self->lock);
    if (!has_ended)
        return false;
    pthread_join(self->thread, NULL);
    self->is_started = false;
    return true;
}

void actor_fail(actor_t *self, err_t reason, const char *words)
{
    log_line(LOG_ERROR, self->name, words, "reason=%s", err_code(reason));
    self->reason = reason;
    self->is_done = true;
}

void actor_watch(actor_t *self, int fd, short events,
                 void (*on_ready)(void *arg, short events, now_t now), void *arg)
{
    lookout_t *lookout = find_lookout(self, fd);
    if (events == 0) {
        if (lookout != NULL)
            *lookout = self->lookouts[--self->n_lookouts];
        return;
    }
    if (lookout == NULL) {
        assert(self->n_lookouts < ACTOR_MAX_FDS);
        lookout = &self->lookouts[self->n_lookouts++];
    }
    *lookout = (lookout_t){fd, events, on_ready, arg};
}

/* --- what others see --- */

void actor_beat(actor_t *self)
{
    atomic_fetch_add_explicit(&self->n_beats, 1, memory_order_relaxed);
}

void actor_note(actor_t *self, const char *key, int64_t value)
{
    size_t n = atomic_load_explicit(&self->n_notes, memory_order_relaxed);
    size_t i = 0;
    while (i < n && strcmp(self->notes[i].key, key) != 0)
        i++;
    assert(i < ACTOR_MAX_NOTES);
    atomic_store_explicit(&self->notes[i].value, value, memory_order_relaxed);
    if (i == n) {
        self->notes[i].key = key;
        atomic_store_explicit(&self->n_notes, n + 1, memory_order_release);
    }
}

void actor_describe(actor_t *self, buf_t *out)
{
    buf_append_str(out, "{\"name\":");
    json_put_str(out, slice_str(self->name));
    buf_format(out, ",\"depth\":%lld,\"limit\":%d,\"beats\":%lld,\"notes\":{",
               (long long)mailbox_depth(self->inbox), mailbox_limit(self->inbox),
               (long long)atomic_load_explicit(&self->n_beats, memory_order_relaxed));
    size_t n = atomic_load_explicit(&self->n_notes, memory_order_acquire);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        json_put_str(out, slice_str(self->notes[i].key));
        int64_t value = atomic_load_explicit(&self->notes[i].value, memory_order_relaxed);
        buf_format(out, ":%lld", (long long)value);
    }
    buf_append_str(out, "}}");
}
