/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection has a poll handle for its socket, made anew whenever the socket is another one,
 * and a timer for what must happen while the socket is quiet.
 *
 * What is asked for in one turn of the loop goes out as one group: one send, and one transaction
 * for the server to begin and end, which at many clients is a good part of what a small read costs.
 * So that a failing statement harms nobody else, each read is kept with its parameters until it is
 * answered, and one that was skipped because of another is asked again in a group of its own. */
#include "gateway/reads.h"

#include <stdlib.h>
#include <uv.h>

#define REPLY_LIMIT_US (10 * US_PER_S)
/* A statement gives up before the connection is given up for it. */
#define SESSION_OPTIONS                                                                            \
    "-c default_transaction_read_only=on -c statement_timeout=8000 -c jit=off -c "                 \
    "application_name=taskwire-read"

#define MAX_GROUP 32
#define MAX_SPARE 256

/* One statement under way. */
typedef struct read {
    struct read *next; /* while it is spare */
    struct conn *conn;
    bool is_alone; /* in a group of its own */
    const pg_stmt_t *stmt;
    pg_params_t params;
    pg_done_f *done;
    void *arg;
} read_t;

typedef struct conn {
    reads_t *pool;
    pg_t *pg;
    int n_in_group; /* of the group that is open */
    uv_poll_t *poll; /* NULL: no socket is watched */
    int64_t serial; /* of the socket that is */
    int events;
    uv_timer_t timer;
    bool is_touched; /* something was queued since the loop last slept */
} conn_t;

struct reads {
    gateway_t *gateway;
    conn_t conns[READS_CONNECTIONS];
    bool is_stopped;
    bool is_up; /* there is a connection */
    read_t *spare;
    size_t n_spare;
};

static void turn(conn_t *self);

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void stop_poll(conn_t *self)
{
    if (self->poll == NULL)
        return;
    uv_poll_stop(self->poll);
    uv_close((uv_handle_t *)self->poll, free_handle);
    self->poll = NULL;
    self->events = 0;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status; /* an error is a reason to look too */
    (void)events;
    turn(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    turn(handle->data);
}

/* A socket that cannot be watched is found out by its reply timeout; that takes a loop without
 * memory or descriptors. */
static void start_poll(conn_t *self, int fd)
{
    uv_poll_t *poll = calloc(1, sizeof *poll);
    if (poll == NULL)
        abort();
    if (uv_poll_init(self->pool->gateway->loop, poll, fd) != 0) {
        free(poll);
        return;
    }
    poll->data = self;
    self->poll = poll;
    self->serial = pg_fd_serial(self->pg);
}

static int uv_events_of(short events)
{
    return ((events & POLLIN) != 0 ? UV_READABLE : 0) | ((events & POLLOUT) != 0 ? UV_WRITABLE : 0);
}

static void watch_socket(conn_t *self)
{
    int fd = pg_fd(self->pg);
    if (self->poll != NULL && (fd < 0 || self->serial != pg_fd_serial(self->pg)))
        stop_poll(self);
    if (self->poll == NULL && fd >= 0)
        start_poll(self, fd);
    int events = uv_events_of(pg_events(self->pg));
    if (self->poll == NULL || events == self->events)
        return;
    uv_poll_start(self->poll, events, on_poll);
    self->events = events;
}

static void watch(conn_t *self)
{
    watch_socket(self);
    int64_t timeout_us = pg_timeout_us(self->pg, self->pool->gateway->now);
    if (timeout_us > US_PER_S)
        timeout_us = US_PER_S;
    uv_timer_start(&self->timer, on_timer, (uint64_t)(timeout_us + 999) / 1000, 0);
}

static void note_sight(reads_t *self)
{
    bool is_up = false;
    for (size_t i = 0; i < READS_CONNECTIONS; i++)
        is_up = is_up || (self->conns[i].pg != NULL && pg_is_connected(self->conns[i].pg));
    if (is_up != self->is_up)
        network_set_blind(self->gateway->network, self->gateway->index, !is_up);
    self->is_up = is_up;
}

static void turn(conn_t *self)
{
    if (self->pool->is_stopped)
        return;
    self->pool->gateway->now = clock_now();
    pg_step(self->pg, self->pool->gateway->now);
    watch(self);
    note_sight(self->pool);
}

reads_t *reads_new(gateway_t *gateway, const char *who)
{
    reads_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->gateway = gateway;
    pg_options_t options = {
        .url = gateway->network->config->database_url,
        .who = who,
        .options = SESSION_OPTIONS,
        .reply_timeout_us = REPLY_LIMIT_US,
    };
    for (size_t i = 0; i < READS_CONNECTIONS; i++) {
        conn_t *conn = &self->conns[i];
        conn->pool = self;
        conn->pg = pg_new(&options);
        uv_timer_init(gateway->loop, &conn->timer);
        conn->timer.data = conn;
        turn(conn);
    }
    return self;
}

void reads_stop(reads_t *self)
{
    if (self == NULL || self->is_stopped)
        return;
    self->is_stopped = true;
    for (size_t i = 0; i < READS_CONNECTIONS; i++) {
        conn_t *conn = &self->conns[i];
        stop_poll(conn);
        uv_close((uv_handle_t *)&conn->timer, NULL);
        pg_destroy(&conn->pg);
    }
}

static void read_free(read_t *read)
{
    pg_params_fini(&read->params);
    free(read);
}

void reads_destroy(reads_t **self_p)
{
    reads_t *self = *self_p;
    if (self == NULL)
        return;
    while (self->spare != NULL) {
        read_t *read = self->spare;
        self->spare = read->next;
        read_free(read);
    }
    free(self);
    *self_p = NULL;
}

/* If it cannot be sent, the next step finds the connection broken: PG_LOST. */
static void end_group(conn_t *self)
{
    self->n_in_group = 0;
    (void)pg_sync(self->pg);
}

void reads_before_sleep(reads_t *self)
{
    for (size_t i = 0; i < READS_CONNECTIONS && !self->is_stopped; i++) {
        if (!self->conns[i].is_touched)
            continue;
        self->conns[i].is_touched = false;
        end_group(&self->conns[i]);
        watch(&self->conns[i]);
    }
}

err_t reads_err(pg_fate_t fate)
{
    switch (fate) {
    case PG_OK:
        return ERR_OK;
    case PG_REJECTED:
        return ERR_INTERNAL;
    case PG_SKIPPED:
    case PG_RETRY:
    case PG_LOST:
        break;
    }
    return ERR_UNAVAILABLE;
}

int reads_in_flight(const reads_t *self)
{
    int n = 0;
    for (size_t i = 0; i < READS_CONNECTIONS && !self->is_stopped; i++)
        n += pg_in_flight(self->conns[i].pg);
    return n;
}

/* The least busy of those that take a statement now. */
static conn_t *pick(reads_t *self)
{
    conn_t *best = NULL;
    for (size_t i = 0; i < READS_CONNECTIONS; i++) {
        conn_t *conn = &self->conns[i];
        if (pg_is_ready(conn->pg) &&
            (best == NULL || pg_in_flight(conn->pg) < pg_in_flight(best->pg)))
            best = conn;
    }
    return best;
}

static bool is_full(const reads_t *self)
{
    for (size_t i = 0; i < READS_CONNECTIONS; i++) {
        if (pg_in_flight(self->conns[i].pg) >= PG_MAX_IN_FLIGHT)
            return true;
    }
    return false;
}

static read_t *take_read(reads_t *self)
{
    read_t *read = self->spare;
    if (read == NULL) {
        read = calloc(1, sizeof *read);
        if (read == NULL)
            abort();
        return read;
    }
    self->spare = read->next;
    self->n_spare--;
    return read;
}

static void give_read(reads_t *self, read_t *read)
{
    if (self->n_spare == MAX_SPARE) {
        read_free(read);
        return;
    }
    read->next = self->spare;
    self->spare = read;
    self->n_spare++;
}

static void copy_params(pg_params_t *to, const pg_params_t *from)
{
    pg_params_reset(to);
    if (from == NULL)
        return;
    buf_append_slice(&to->bytes, buf_slice(&from->bytes));
    to->n_params = from->n_params;
    memcpy(to->params, from->params, (size_t)from->n_params * sizeof *from->params);
}

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result);

static err_t ask(read_t *read)
{
    conn_t *conn = read->conn;
    conn->is_touched = true;
    return pg_query(conn->pg, read->stmt, &read->params, on_answer, read);
}

/* Another statement of its group has failed. */
static bool ask_alone(read_t *read)
{
    end_group(read->conn);
    read->is_alone = true;
    if (ask(read) != ERR_OK)
        return false;
    end_group(read->conn);
    return true;
}

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    read_t *read = arg;
    if (fate == PG_SKIPPED && !read->is_alone && ask_alone(read))
        return;
    read->done(read->arg, fate, result);
    give_read(read->conn->pool, read);
}

err_t reads_query(reads_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                  void *arg)
{
    if (self->is_stopped)
        return ERR_UNAVAILABLE;
    conn_t *conn = pick(self);
    if (conn == NULL)
        return is_full(self) ? ERR_OVERLOADED : ERR_UNAVAILABLE;
    read_t *read = take_read(self);
    read->conn = conn;
    read->is_alone = false;
    read->stmt = stmt;
    read->done = done;
    read->arg = arg;
    copy_params(&read->params, params);
    err_t err = ask(read);
    if (err != ERR_OK)
        give_read(self, read);
    else if (++conn->n_in_group == MAX_GROUP)
        end_group(conn);
    return err;
}
