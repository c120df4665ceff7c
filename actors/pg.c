/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection: connecting, stepping, waiting, loss. A lost one comes back by itself,
 * later each time until a group of statements has gone well. Only pg_step may find the connection
 * broken, because finding it calls back; what fails while sending is marked and found by the next
 * step. */
#include "actors/pg_private.h"

#include <assert.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_LIMIT_US (10 * US_PER_S)
#define REPLY_LIMIT_US (30 * US_PER_S)
#define DELAY_MIN_US INT64_C(50000)
#define DELAY_MAX_US (2 * US_PER_S)
/* While the wait for an answer has not yet begun to be counted, since only a step has a clock. */
#define FIRST_LOOK_US INT64_C(100000)
#define OLDEST_SERVER 150000

typedef enum {
    STATE_WAITING, /* for the time to connect (again) */
    STATE_CONNECTING,
    STATE_UP,
} state_t;

struct pg {
    pg_options_t options;
    PGconn *conn;
    state_t state;
    short connect_events; /* what PQconnectPoll waits for */
    bool wants_write;
    bool is_greeting; /* the session is new and being looked at */
    bool is_refused; /* the last attempt to connect, for good reasons */
    bool is_doomed; /* found broken where callbacks may not run: the next step breaks it */
    int64_t session;
    int64_t fd_serial;

    int64_t now_us; /* of the latest step */
    int64_t retry_at_us;
    int64_t delay_us;
    int64_t deadline_us; /* of connecting */
    int64_t waiting_since_us; /* for the next answer; 0: not counted yet */

    pg_notified_f *notified; /* NULL: nobody wants to know */
    void *notified_arg;

    pg_pipeline_t pipe;
    log_once_t complaint;
    char trouble[PG_WORDS_CHARS];
};

/* --- loss --- */

static void close_connection(pg_t *self)
{
    PQfinish(self->conn);
    self->conn = NULL;
    self->fd_serial++;
    self->state = STATE_WAITING;
    self->is_greeting = false;
    self->is_doomed = false;
    self->wants_write = false;
    self->waiting_since_us = 0;
    pg_pipeline_close(&self->pipe);
}

/* Between three and five quarters of the delay, so that many connections do not come back in step.
 */
static void schedule_retry(pg_t *self)
{
    int64_t spread_us = (int64_t)randombytes_uniform((uint32_t)self->delay_us / 2 + 1);
    self->retry_at_us = self->now_us + self->delay_us * 3 / 4 + spread_us;
    self->delay_us = self->delay_us * 2 > DELAY_MAX_US ? DELAY_MAX_US : self->delay_us * 2;
}

static void lose(pg_t *self, const char *why)
{
    bool was_up = self->state == STATE_UP;
    char words[PG_WORDS_CHARS];
    pg_words(words, why);
    memcpy(self->trouble, words, sizeof words);
    if (log_once(&self->complaint))
        log_line(LOG_WARN, self->options.who,
                 was_up ? "lost the database" : "cannot reach the database", "reason=\"%s\"",
                 self->trouble);
    close_connection(self);
    schedule_retry(self);
    pg_pipeline_fail(&self->pipe);
}

/* The server's own last words say more than that the connection is gone. */
static void lose_broken(pg_t *self)
{
    char why[PG_WORDS_CHARS];
    snprintf(why, sizeof why, "%s",
             self->pipe.farewell[0] != '\0' ? self->pipe.farewell : PQerrorMessage(self->conn));
    lose(self, why);
}

/* --- connecting --- */

/* The attempt to connect ends with the server's words, or libpq's. */
static void lose_attempt(pg_t *self)
{
    char why[PG_WORDS_CHARS];
    self->is_refused = pg_connect_failure(self->conn, why);
    lose(self, why);
}

/* What was found would be found again. */
static void refuse(pg_t *self, const char *why)
{
    self->is_refused = true;
    lose(self, why);
}

static void start_connecting(pg_t *self)
{
    char words[PG_WORDS_CHARS];
    self->is_refused = false;
    self->conn = pg_connect_start(&self->options, words);
    self->fd_serial++;
    if (self->conn == NULL) {
        refuse(self, words);
        return;
    }
    PQsetNoticeReceiver(self->conn, pg_pipeline_on_notice, &self->pipe);
    self->state = STATE_CONNECTING;
    self->connect_events = POLLOUT;
    self->deadline_us = self->now_us + CONNECT_LIMIT_US;
    if (PQstatus(self->conn) == CONNECTION_BAD)
        lose_attempt(self);
}

static void on_connected(pg_t *self)
{
    const char *encoding = PQparameterStatus(self->conn, "server_encoding");
    if (PQserverVersion(self->conn) < OLDEST_SERVER) {
        refuse(self, "the server is older than PostgreSQL 15");
        return;
    }
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        refuse(self, "the database's encoding is not UTF8");
        return;
    }
    if (PQsetnonblocking(self->conn, 1) != 0 || PQenterPipelineMode(self->conn) != 1) {
        lose_broken(self);
        return;
    }
    PQsetErrorVerbosity(self->conn, PQERRORS_DEFAULT);
    pg_pipeline_open(&self->pipe, self->conn);
    self->state = STATE_UP;
    self->session++;
    self->trouble[0] = '\0';
    bool is_again = log_clear(&self->complaint);
    log_line(is_again ? LOG_INFO : LOG_DEBUG, self->options.who, "connected to the database",
             "backend=%d", PQbackendPID(self->conn));
    self->is_greeting = self->options.greet != NULL;
    if (self->is_greeting)
        self->options.greet(self->options.greet_arg, self);
}

/* PQconnectPoll may only be called when the socket is ready: called too early it takes a connection
 * for made. */
static bool is_socket_ready(const pg_t *self)
{
    struct pollfd fd = {.fd = PQsocket(self->conn), .events = self->connect_events};
    return poll(&fd, 1, 0) != 0;
}

static void step_connecting(pg_t *self)
{
    if (is_socket_ready(self)) {
        /* It may go on to another address, by a new socket that can have the same number. */
        PostgresPollingStatusType wants = PQconnectPoll(self->conn);
        self->fd_serial++;
        self->connect_events = wants == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (wants == PGRES_POLLING_OK) {
            on_connected(self);
            return;
        }
        if (wants == PGRES_POLLING_FAILED) {
            lose_attempt(self);
            return;
        }
    }
    if (self->now_us >= self->deadline_us)
        lose(self, "the server does not answer");
}

static void check_patience(pg_t *self)
{
    int64_t limit_us = self->options.reply_timeout_us;
    if (self->pipe.n_syncs == 0)
        self->waiting_since_us = 0;
    else if (self->waiting_since_us == 0)
        self->waiting_since_us = self->now_us;
    else if (self->now_us - self->waiting_since_us > limit_us)
        lose(self, "no answer in time");
}

static void tell_notifications(pg_t *self)
{
    PGnotify *notification;
    while ((notification = PQnotifies(self->conn)) != NULL) {
        if (self->notified != NULL)
            self->notified(self->notified_arg, notification->extra);
        PQfreemem(notification);
    }
}

static void step_up(pg_t *self)
{
    uint64_t n_answers = self->pipe.n_answers;
    uint64_t n_groups_done = self->pipe.n_groups_done;
    /* Reads also what came before the end of a broken connection. */
    bool is_whole = PQconsumeInput(self->conn) == 1;
    bool is_fine = pg_pipeline_take(&self->pipe);
    if (self->pipe.n_groups_done != n_groups_done)
        self->delay_us = DELAY_MIN_US;
    if (self->state != STATE_UP)
        return;
    tell_notifications(self);
    if (self->pipe.n_answers != n_answers)
        self->waiting_since_us = self->now_us;
    int flushed = PQflush(self->conn);
    self->wants_write = flushed == 1;
    if (!is_whole || !is_fine || flushed < 0 || PQstatus(self->conn) == CONNECTION_BAD)
        lose_broken(self);
    else
        check_patience(self);
}

/* --- sending --- */

/* Whether there is a session that answers, greeted or not. */
static bool is_up(const pg_t *self)
{
    return self->state == STATE_UP && !self->is_doomed;
}

static err_t queue(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                   void *arg)
{
    if (!pg_pipeline_query(&self->pipe, stmt, params, done, arg)) {
        self->is_doomed = true;
        return ERR_UNAVAILABLE;
    }
    return ERR_OK;
}

err_t pg_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
               void *arg)
{
    return pg_is_ready(self) ? queue(self, stmt, params, done, arg) : ERR_UNAVAILABLE;
}

err_t pg_greet_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                     void *arg)
{
    return is_up(self) ? queue(self, stmt, params, done, arg) : ERR_UNAVAILABLE;
}

err_t pg_sync(pg_t *self)
{
    return pg_is_connected(self) ? pg_greet_sync(self) : ERR_UNAVAILABLE;
}

err_t pg_greet_sync(pg_t *self)
{
    if (!is_up(self))
        return ERR_UNAVAILABLE;
    if (!self->pipe.is_group_open)
        return ERR_OK;
    if (!pg_pipeline_sync(&self->pipe)) {
        self->is_doomed = true;
        return ERR_UNAVAILABLE;
    }
    self->wants_write = PQflush(self->conn) != 0;
    return ERR_OK;
}

/* --- the rest of the public functions, in the header's order --- */

pg_t *pg_new(const pg_options_t *options)
{
    pg_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->options = *options;
    self->pipe.who = options->who;
    if (self->options.reply_timeout_us == 0)
        self->options.reply_timeout_us = REPLY_LIMIT_US;
    self->delay_us = DELAY_MIN_US;
    self->retry_at_us = INT64_MIN;
    return self;
}

void pg_destroy(pg_t **self_p)
{
    pg_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL)
        return;
    assert(!self->pipe.is_calling);
    close_connection(self);
    pg_pipeline_fail(&self->pipe);
    pg_pipeline_fini(&self->pipe);
    free(self);
}

bool pg_is_ready(const pg_t *self)
{
    return pg_is_connected(self) && self->pipe.n_queries < PG_MAX_IN_FLIGHT;
}

bool pg_is_connected(const pg_t *self)
{
    return is_up(self) && !self->is_greeting;
}

int64_t pg_session(const pg_t *self)
{
    return self->session;
}

int pg_backend_pid(const pg_t *self)
{
    return self->state == STATE_UP ? PQbackendPID(self->conn) : 0;
}

int pg_in_flight(const pg_t *self)
{
    return self->pipe.n_queries;
}

const char *pg_trouble(const pg_t *self)
{
    return self->trouble;
}

bool pg_is_refused(const pg_t *self)
{
    return self->is_refused;
}

void pg_greeted(pg_t *self)
{
    self->is_greeting = false;
}

void pg_break(pg_t *self, const char *why)
{
    if (self->state != STATE_WAITING)
        lose(self, why);
}

void pg_on_notify(pg_t *self, pg_notified_f *told, void *arg)
{
    self->notified = told;
    self->notified_arg = arg;
}

int pg_fd(const pg_t *self)
{
    return self->state == STATE_WAITING ? -1 : PQsocket(self->conn);
}

int64_t pg_fd_serial(const pg_t *self)
{
    return self->fd_serial;
}

short pg_events(const pg_t *self)
{
    switch (self->state) {
    case STATE_CONNECTING:
        return self->connect_events;
    case STATE_UP:
        return self->wants_write ? POLLIN | POLLOUT : POLLIN;
    case STATE_WAITING:
        return 0;
    }
    return 0;
}

void pg_step(pg_t *self, now_t now)
{
    assert(!self->pipe.is_calling);
    self->now_us = now.mono_us;
    if (self->is_doomed)
        lose_broken(self);
    if (self->state == STATE_WAITING && self->now_us >= self->retry_at_us)
        start_connecting(self);
    if (self->state == STATE_CONNECTING)
        step_connecting(self);
    if (self->state == STATE_UP)
        step_up(self);
}

static int64_t due_us(const pg_t *self, now_t now)
{
    switch (self->state) {
    case STATE_WAITING:
        return self->retry_at_us;
    case STATE_CONNECTING:
        return self->deadline_us;
    case STATE_UP:
        break;
    }
    /* Sending may have read answers already; then the socket would stay quiet. */
    if (self->is_doomed || pg_pipeline_has_answers(&self->pipe))
        return now.mono_us;
    if (self->pipe.n_syncs == 0)
        return INT64_MAX;
    if (self->waiting_since_us == 0)
        return now.mono_us + FIRST_LOOK_US;
    return self->waiting_since_us + self->options.reply_timeout_us + 1;
}

int64_t pg_timeout_us(const pg_t *self, now_t now)
{
    int64_t due = due_us(self, now);
    return due <= now.mono_us ? 0 : due - now.mono_us;
}

/* --- for threads that may wait --- */

static void wait_for_event(pg_t *self, int64_t left_us)
{
    int64_t timeout_us = pg_timeout_us(self, clock_now());
    if (timeout_us > left_us)
        timeout_us = left_us;
    struct pollfd fd = {.fd = pg_fd(self), .events = pg_events(self)};
    int64_t timeout_ms = (timeout_us + 999) / 1000;
    (void)poll(&fd, fd.fd < 0 ? 0 : 1, timeout_ms > 60000 ? 60000 : (int)timeout_ms);
}

bool pg_await(pg_t *self, int64_t timeout_us)
{
    int64_t deadline_us = clock_now().mono_us + timeout_us;
    bool had_some = self->pipe.head != self->pipe.tail;
    for (;;) {
        (void)pg_sync(self);
        now_t now = clock_now();
        pg_step(self, now);
        bool is_connected = pg_is_connected(self);
        if (self->pipe.head == self->pipe.tail && (is_connected || had_some))
            return is_connected;
        if (now.mono_us >= deadline_us)
            break;
        wait_for_event(self, deadline_us - now.mono_us);
    }
    /* A session that is being greeted is nobody's yet, and may take its time. */
    if (self->pipe.head != self->pipe.tail && !self->is_greeting)
        pg_break(self, "no answer in time");
    return false;
}

bool pg_await_connection(pg_t *self, int64_t timeout_us)
{
    int64_t deadline_us = clock_now().mono_us + timeout_us;
    for (;;) {
        now_t now = clock_now();
        pg_step(self, now);
        if (pg_is_connected(self))
            return true;
        if (self->is_refused || now.mono_us >= deadline_us)
            return false;
        wait_for_event(self, deadline_us - now.mono_us);
    }
}

typedef struct {
    pg_done_f *done;
    void *arg;
    pg_fate_t fate;
} run_t;

static void on_run(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    run_t *run = arg;
    run->fate = fate;
    if (run->done != NULL)
        run->done(run->arg, fate, result);
}

pg_fate_t pg_run(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                 void *arg, int64_t timeout_us)
{
    int64_t deadline_us = clock_now().mono_us + timeout_us;
    run_t run = {.done = done, .arg = arg, .fate = PG_RETRY};
    if (!pg_is_ready(self) && !pg_await(self, timeout_us))
        return PG_RETRY;
    (void)pg_sync(self);
    if (pg_query(self, stmt, params, on_run, &run) != ERR_OK)
        return PG_RETRY;
    (void)pg_await(self, deadline_us - clock_now().mono_us);
    return run.fate;
}
