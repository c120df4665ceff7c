/* SPDX-License-Identifier: Apache-2.0 */
/* The server itself. What its connections want at the end of a turn of the loop (the next request
 * that was pipelined, frames that became due for a thousand sockets) is collected and done once
 * before the loop waits again: so nobody's callback runs inside another's, and many small writes to
 * one socket become one. */
#include "gateway/server_private.h"

#include "actors/clock.h"
#include "actors/log.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS 100
#define REAP_MS 5
#define MAX_REAPS 1000
#define FILES_WANTED 65536
/* libwebsockets keeps a table with an entry per file that may be open, and falls back to 2,560
 * above ten million. */
#define FILES_MOST 1000000

static void *new_zeroed(size_t n_bytes)
{
    void *at = calloc(1, n_bytes);
    if (at == NULL)
        abort();
    return at;
}

/* --- for the other files --- */

int64_t server_now_us(const server_t *self)
{
    return (int64_t)uv_now(self->loop) * 1000;
}

static void on_tick(uv_timer_t *ticker)
{
    server_t *self = ticker->data;
    wheel_turn(self->wheel, server_now_us(self));
    if (wheel_count(self->wheel) == 0)
        uv_timer_stop(ticker);
}

void server_set_timer(server_t *self, wheel_timer_t *timer, int64_t after_us)
{
    wheel_set(self->wheel, timer, server_now_us(self) + after_us);
    if (!uv_is_active((uv_handle_t *)&self->ticker))
        uv_timer_start(&self->ticker, on_tick, TICK_MS, TICK_MS);
}

/* Being active is all that it is for. */
static void on_wake(uv_idle_t *waker)
{
    (void)waker;
}

void server_wake(server_t *self)
{
    uv_idle_start(&self->waker, on_wake);
}

static void on_turn(uv_prepare_t *flusher)
{
    server_t *self = flusher->data;
    uv_idle_stop(&self->waker);
    http_flush(self);
    feed_flush(self);
    ws_flush(self);
    self->turn++;
    if (!TAILQ_EMPTY(&self->ready) || !TAILQ_EMPTY(&self->feeders) || !TAILQ_EMPTY(&self->writers))
        server_wake(self);
}

arena_t *server_take_arena(server_t *self)
{
    return self->n_spare > 0 ? self->spare[--self->n_spare] : arena_new();
}

void server_give_arena(server_t *self, arena_t *arena)
{
    if (self->n_spare == SERVER_SPARE_ARENAS) {
        arena_destroy(&arena);
        return;
    }
    arena_reset(arena);
    self->spare[self->n_spare++] = arena;
}

/* --- beginning --- */

/* Before the context is made, which takes the size of its tables from it. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = limit.rlim_cur;
    if (wanted < FILES_WANTED)
        wanted = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
    if (wanted > FILES_MOST)
        wanted = FILES_MOST;
    if (wanted == limit.rlim_cur)
        return;
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line(LOG_WARN, "gateway", "the limit of open files stays as it is", NULL);
}

static void open_handles(server_t *self)
{
    uv_timer_init(self->loop, &self->ticker);
    uv_prepare_init(self->loop, &self->flusher);
    uv_idle_init(self->loop, &self->waker);
    self->ticker.data = self;
    self->flusher.data = self;
    self->waker.data = self;
    self->n_handles = 3;
    uv_prepare_start(&self->flusher, on_turn);
}

server_t *server_new(struct uv_loop_s *loop, const char *name, const server_limits_t *limits,
                     const server_handler_t *handler, void *arg)
{
    server_t *self = new_zeroed(sizeof *self);
    self->loop = loop;
    strncpy(self->name, name, SERVER_NAME_CHARS);
    self->limits = *limits;
    self->turn = 1;
    self->handler = *handler;
    self->arg = arg;
    LIST_INIT(&self->conns);
    TAILQ_INIT(&self->ready);
    TAILQ_INIT(&self->feeders);
    LIST_INIT(&self->sockets);
    TAILQ_INIT(&self->writers);
    raise_file_limit();
    self->lws = ws_part_new(self);
    if (self->lws == NULL) {
        free(self);
        return NULL;
    }
    uv_update_time(loop);
    self->wheel = wheel_new(server_now_us(self), TICK_MS * 1000, NULL);
    self->rx = new_zeroed(SERVER_READ_BYTES);
    open_handles(self);
    return self;
}

/* --- end --- */

static void finish(server_t *self)
{
    wheel_destroy(&self->wheel);
    while (self->n_spare > 0)
        arena_destroy(&self->spare[--self->n_spare]);
    buf_fini(&self->head);
    buf_fini(&self->body);
    buf_fini(&self->frames);
    free(self->rx);
    free(self);
}

void server_handle_closed(server_t *self)
{
    if (--self->n_handles == 0)
        finish(self);
}

static void on_handle_closed(uv_handle_t *handle)
{
    server_handle_closed(handle->data);
}

/* libwebsockets does not say when its handles on a loop that is not its own have closed: it has to
 * be asked until they have. */
static void on_reap(uv_timer_t *ticker)
{
    server_t *self = ticker->data;
    if (!ws_part_end(&self->lws) && ++self->n_reaps < MAX_REAPS)
        return;
    if (self->lws != NULL)
        log_line(LOG_WARN, self->name, "libwebsockets does not end", NULL);
    uv_timer_stop(ticker);
    uv_close((uv_handle_t *)ticker, on_handle_closed);
}

void server_close(server_t *self)
{
    if (self == NULL || self->is_closing)
        return;
    self->is_closing = true;
    http_close_all(self);
    ws_close_all(self);
    uv_timer_stop(&self->ticker);
    uv_close((uv_handle_t *)&self->flusher, on_handle_closed);
    uv_close((uv_handle_t *)&self->waker, on_handle_closed);
}

void server_destroy(server_t **self_p)
{
    if (self_p == NULL || *self_p == NULL)
        return;
    server_t *self = *self_p;
    *self_p = NULL;
    server_close(self);
    ws_part_end(&self->lws);
    uv_timer_start(&self->ticker, on_reap, REAP_MS, REAP_MS);
}

/* --- connections --- */

bool server_adopt(server_t *self, const arrival_t *arrival)
{
    if (self->is_closing || server_n_connections(self) >= self->limits.max_connections) {
        close(arrival->fd);
        return false;
    }
    return http_adopt(self, arrival);
}

void server_drain(server_t *self)
{
    self->is_draining = true;
}

void server_close_idle(server_t *self)
{
    http_close_idle(self);
}

size_t server_n_connections(const server_t *self)
{
    return self->n_conns + self->n_sockets;
}

size_t server_n_sockets(const server_t *self)
{
    return self->n_sockets;
}
