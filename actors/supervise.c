/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which actors stop follows the way of the work: gateways first, which take no more in
 * but still wait for answers; then the relay, so that no more events come; then those that act on
 * events, each waiting for what it has under way; the writer, because all of them wait for it; and
 * peers last, who tells other processes what the writer wrote.
 * An actor that takes too long does not keep the others from being asked. What is left undone at
 * the end is safe: everything acknowledged is in the database. */
#include "actors/supervise.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#define DRAIN_US INT64_C(9500000)
#define DRAIN_FAILED_US INT64_C(2000000) /* after a failure answers may never come */
#define GATEWAYS_SHARE_US INT64_C(4000000)
#define SHARE_US INT64_C(1500000)

struct supervisor {
    int signal_fd;
    doorbell_t *bell; /* an actor has ended, or readiness has changed */
    bool is_asked; /* by a signal */
    bool is_clean;
    network_t *network;

    pthread_mutex_t lock; /* for what follows */
    void (*aside)(void *arg); /* what runs in a thread of its own */
    void *aside_arg;
    bool is_aside_over;
    bool is_stopping;
    const char *ended; /* the first that ended unasked; NULL: none */
    err_t reason;
};

/* --- signals --- */

/* An ignored SIGHUP (nohup) is not even heard of: then the kernel does not queue it. */
static void fill_signals(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
}

supervisor_t *supervisor_new(void)
{
    supervisor_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    sigset_t signals;
    fill_signals(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    self->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (self->signal_fd < 0)
        abort();
    self->bell = doorbell_new();
    self->is_clean = true;
    pthread_mutex_init(&self->lock, NULL);
    return self;
}

void supervisor_destroy(supervisor_t **self_p)
{
    supervisor_t *self = *self_p;
    if (self == NULL)
        return;
    close(self->signal_fd);
    doorbell_destroy(&self->bell);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}

/* A service does not end with the terminal that it was started from, nor by the signal that means
 * "read your settings again" to so many others. */
static void take_signals(supervisor_t *self)
{
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            log_line(LOG_INFO, "main",
                     "certificates are always read when they change, settings at the start only",
                     "signal=HUP");
            continue;
        }
        if (!self->is_asked)
            log_line(LOG_INFO, "main", "asked to stop", "signal=%s",
                     sigabbrev_np((int)info.ssi_signo));
        self->is_asked = true;
    }
}

/* Waits for a signal or the bell until the deadline. False: the time is up. */
static bool await_news(supervisor_t *self, int64_t deadline_mono_us)
{
    int64_t left_us = deadline_mono_us - clock_now().mono_us;
    if (left_us < 0)
        left_us = 0;
    struct timespec timeout = {left_us / 1000000, left_us % 1000000 * 1000};
    struct pollfd fds[] = {{self->signal_fd, POLLIN, 0}, {doorbell_fd(self->bell), POLLIN, 0}};
    int n = ppoll(fds, 2, &timeout, NULL);
    take_signals(self);
    doorbell_take(self->bell);
    return n != 0;
}

bool supervisor_pause(supervisor_t *self, int64_t timeout_us)
{
    int64_t deadline = clock_now().mono_us + timeout_us;
    while (!self->is_asked && await_news(self, deadline))
        ;
    return self->is_asked;
}

/* --- beside the network --- */

static void *run_aside(void *arg)
{
    supervisor_t *self = arg;
    self->aside(self->aside_arg);
    pthread_mutex_lock(&self->lock);
    self->is_aside_over = true;
    pthread_mutex_unlock(&self->lock);
    doorbell_ring(self->bell, 0);
    return NULL;
}

static bool is_aside_over(supervisor_t *self)
{
    pthread_mutex_lock(&self->lock);
    bool is_over = self->is_aside_over;
    pthread_mutex_unlock(&self->lock);
    return is_over;
}

bool supervisor_await(supervisor_t *self, void (*run)(void *arg), void *arg)
{
    pthread_t thread;
    self->aside = run;
    self->aside_arg = arg;
    self->is_aside_over = false;
    if (pthread_create(&thread, NULL, run_aside, self) != 0)
        abort();
    while (!self->is_asked && !is_aside_over(self))
        await_news(self, clock_now().mono_us + ACTOR_SLEEP_MAX_US);
    self->is_clean = is_aside_over(self);
    if (self->is_clean)
        pthread_join(thread, NULL);
    return self->is_clean;
}

/* --- starting --- */

/* Called by each actor's thread at its end. */
static void on_end(void *arg, actor_t *actor, err_t reason)
{
    supervisor_t *self = arg;
    pthread_mutex_lock(&self->lock);
    if (!self->is_stopping && self->ended == NULL) {
        self->ended = actor_name(actor);
        self->reason = reason;
    }
    pthread_mutex_unlock(&self->lock);
    if (reason != ERR_OK)
        log_line(LOG_ERROR, actor_name(actor), "ended", "reason=%s", err_code(reason));
    doorbell_ring(self->bell, 0);
}

/* The exit code if an actor has ended unasked, else EX_OK. */
static int early_end(supervisor_t *self)
{
    pthread_mutex_lock(&self->lock);
    const char *ended = self->ended;
    err_t reason = self->reason;
    pthread_mutex_unlock(&self->lock);
    if (ended == NULL)
        return EX_OK;
    log_line(LOG_ERROR, "main", "stopping because an actor ended", "actor=%s reason=%s", ended,
             err_code(reason));
    if (reason == ERR_INVALID)
        return EX_CONFIG; /* a setting that turned out wrong only in use */
    return reason == ERR_UNAVAILABLE ? EX_UNAVAILABLE : EX_SOFTWARE;
}

static bool start_one(supervisor_t *self, address_t address)
{
    actor_t *actor = self->network->actors[address];
    if (actor == NULL || actor_start(actor, on_end, self) == ERR_OK)
        return true;
    log_line(LOG_ERROR, "main", "a thread could not be started", "actor=%s", actor_name(actor));
    return false;
}

static bool start_all(supervisor_t *self)
{
    static const address_t order[] = {ADDRESS_WRITER,     ADDRESS_SYNC,     ADDRESS_AUDIT,
                                      ADDRESS_RECURRENCE, ADDRESS_REMINDER, ADDRESS_RELAY,
                                      ADDRESS_CONSUMER,   ADDRESS_TAIL,     ADDRESS_PEERS,
                                      ADDRESS_ERASER,     ADDRESS_RETIME,   ADDRESS_TOPICS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!start_one(self, order[i]))
            return false;
    }
    for (uint32_t i = 0; i < NETWORK_MAX_GATEWAYS; i++) {
        if (!start_one(self, (address_t)(ADDRESS_GATEWAY + i)))
            return false;
    }
    return true;
}

/* Waits until the network is ready. Returns the exit code, EX_OK also if asked to stop meanwhile.
 */
static int await_ready(supervisor_t *self, int64_t deadline_mono_us)
{
    char why[NETWORK_WHY_CHARS];
    int code = EX_OK;
    while (!network_is_ready(self->network, why, sizeof why) && !self->is_asked) {
        if ((code = early_end(self)) != EX_OK)
            return code;
        if (await_news(self, deadline_mono_us))
            continue;
        log_line(LOG_ERROR, "main", "not ready in time", "why=\"%s\"", why);
        return EX_UNAVAILABLE;
    }
    return EX_OK;
}

/* Waits until it is time to stop. Returns the exit code. */
static int await_end(supervisor_t *self)
{
    int code = EX_OK;
    while (!self->is_asked && (code = early_end(self)) == EX_OK)
        await_news(self, clock_now().mono_us + ACTOR_SLEEP_MAX_US);
    return code;
}

/* --- stopping --- */

/* Asks the actors of a range of addresses to stop and waits for them, at most their share. */
static void stop_group(supervisor_t *self, uint32_t first, uint32_t last, int64_t deadline_mono_us)
{
    int64_t share_us = first == ADDRESS_GATEWAY ? GATEWAYS_SHARE_US : SHARE_US;
    int64_t own_deadline = clock_now().mono_us + share_us;
    if (own_deadline > deadline_mono_us)
        own_deadline = deadline_mono_us;
    actor_t *const *actors = self->network->actors;
    for (uint32_t i = first; i <= last; i++) {
        if (actors[i] != NULL)
            actor_stop(actors[i]);
    }
    for (uint32_t i = first; i <= last; i++) {
        if (actors[i] != NULL && !actor_join(actors[i], own_deadline))
            log_line(LOG_WARN, "main", "still draining", "actor=%s", actor_name(actors[i]));
    }
}

/* Gives those that are late what is left of the time. True: all have ended. */
static bool join_all(supervisor_t *self, int64_t deadline_mono_us)
{
    bool is_clean = true;
    for (uint32_t i = 0; i < ADDRESS_COUNT; i++) {
        actor_t *actor = self->network->actors[i];
        if (actor == NULL || actor_join(actor, deadline_mono_us))
            continue;
        log_line(LOG_ERROR, "main", "did not end in time", "actor=%s", actor_name(actor));
        is_clean = false;
    }
    return is_clean;
}

static void stop_all(supervisor_t *self, int64_t drain_us)
{
    int64_t deadline = clock_now().mono_us + drain_us;
    pthread_mutex_lock(&self->lock);
    self->is_stopping = true;
    pthread_mutex_unlock(&self->lock);
    stop_group(self, ADDRESS_GATEWAY, ADDRESS_COUNT - 1, deadline);
    stop_group(self, ADDRESS_RELAY, ADDRESS_TAIL, deadline);
    stop_group(self, ADDRESS_RECURRENCE, ADDRESS_AUDIT, deadline);
    stop_group(self, ADDRESS_SYNC, ADDRESS_SYNC, deadline);
    stop_group(self, ADDRESS_WRITER, ADDRESS_WRITER, deadline);
    stop_group(self, ADDRESS_PEERS, ADDRESS_TOPICS, deadline);
    self->is_clean = join_all(self, deadline);
}

int supervisor_run(supervisor_t *self, network_t *network, int64_t ready_deadline_mono_us,
                   void (*on_ready)(void *arg), void *arg)
{
    self->network = network;
    network->ready_bell = self->bell;
    int code = start_all(self) ? await_ready(self, ready_deadline_mono_us) : EX_OSERR;
    if (code == EX_OK && !self->is_asked) {
        on_ready(arg);
        code = await_end(self);
    }
    stop_all(self, code == EX_OK ? DRAIN_US : DRAIN_FAILED_US);
    network->ready_bell = self->is_clean ? NULL : self->bell;
    return code;
}

bool supervisor_is_clean(const supervisor_t *self)
{
    return self->is_clean;
}
