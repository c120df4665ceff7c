/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting is cheap beside serving, so one loop does it for all; several listening sockets on one
 * port would share out connections less evenly, and libwebsockets cannot share a port at all. When
 * no file may be opened any more, a spare one is given up for a moment, so that who waits is turned
 * away instead of waiting for nothing, and accepting pauses. */
#include "gateway/acceptor.h"

#include "actors/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define ACCEPTS_A_TURN 64
#define PAUSE_MS 100

struct inlet {
    uv_async_t bell;
    inlet_take_f *take;
    void *arg;
    uv_mutex_t mutex; /* guards what follows */
    arrival_t waiting[INLET_MAX_WAITING];
    size_t first;
    size_t n_waiting;
};

/* --- inlets --- */

static bool inlet_pop(inlet_t *self, arrival_t *out)
{
    uv_mutex_lock(&self->mutex);
    bool has_one = self->n_waiting > 0;
    if (has_one) {
        *out = self->waiting[self->first];
        self->first = (self->first + 1) % INLET_MAX_WAITING;
        self->n_waiting--;
    }
    uv_mutex_unlock(&self->mutex);
    return has_one;
}

static void on_bell(uv_async_t *bell)
{
    inlet_t *self = bell->data;
    arrival_t arrival;
    while (inlet_pop(self, &arrival))
        self->take(self->arg, &arrival);
}

inlet_t *inlet_new(struct uv_loop_s *loop, inlet_take_f *take, void *arg)
{
    inlet_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->take = take;
    self->arg = arg;
    if (uv_mutex_init(&self->mutex) != 0)
        abort();
    if (uv_async_init(loop, &self->bell, on_bell) != 0) {
        uv_mutex_destroy(&self->mutex);
        free(self);
        return NULL;
    }
    self->bell.data = self;
    return self;
}

static void on_inlet_closed(uv_handle_t *bell)
{
    inlet_t *self = bell->data;
    uv_mutex_destroy(&self->mutex);
    free(self);
}

void inlet_destroy(inlet_t **self_p)
{
    if (self_p == NULL || *self_p == NULL)
        return;
    inlet_t *self = *self_p;
    *self_p = NULL;
    arrival_t arrival;
    while (inlet_pop(self, &arrival))
        close(arrival.fd);
    uv_close((uv_handle_t *)&self->bell, on_inlet_closed);
}

bool inlet_push(inlet_t *self, const arrival_t *arrival)
{
    uv_mutex_lock(&self->mutex);
    bool has_room = self->n_waiting < INLET_MAX_WAITING;
    if (has_room) {
        size_t at = (self->first + self->n_waiting++) % INLET_MAX_WAITING;
        self->waiting[at] = *arrival;
    }
    uv_mutex_unlock(&self->mutex);
    if (has_room)
        uv_async_send(&self->bell);
    return has_room;
}

/* --- the acceptor --- */

typedef struct {
    uv_poll_t poll;
    acceptor_t *acceptor;
    int fd;
    listener_t which;
} door_t;

struct acceptor {
    listeners_t *listeners;
    door_t doors[LISTENER_COUNT];
    uv_timer_t pause;
    size_t n_handles;
    int spare_fd;
    log_once_t exhausted;
};

static void on_arrival(uv_poll_t *poll, int status, int events);

static void watch_doors(acceptor_t *self)
{
    for (size_t i = 0; i < LISTENER_COUNT; i++)
        uv_poll_start(&self->doors[i].poll, UV_READABLE, on_arrival);
}

static void on_pause_over(uv_timer_t *pause)
{
    watch_doors(pause->data);
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* No file may be opened. Those in the queue are turned away; who comes later waits until the pause
 * is over. */
static void turn_away(acceptor_t *self, int listening)
{
    if (log_once(&self->exhausted))
        log_line(LOG_WARN, "gateway", "no more connections: too many open files", NULL);
    if (self->spare_fd >= 0)
        close(self->spare_fd);
    int fd;
    for (int i = 0; i < ACCEPTS_A_TURN && (fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0;
         i++)
        close(fd);
    self->spare_fd = open_spare();
    for (size_t i = 0; i < LISTENER_COUNT; i++)
        uv_poll_stop(&self->doors[i].poll);
    uv_timer_start(&self->pause, on_pause_over, PAUSE_MS, 0);
}

/* An answer is written whole: waiting to put more into its packet only delays it. Fails on a Unix
 * socket, which does not wait. */
static void send_at_once(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* True: there may be another one. */
static bool accept_one(door_t *door)
{
    acceptor_t *self = door->acceptor;
    int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (log_clear(&self->exhausted))
            log_line(LOG_INFO, "gateway", "connections are accepted again", NULL);
        send_at_once(fd);
        arrival_t arrival;
        arrival_init(&arrival, fd, (int)door->which);
        listeners_hand_over(self->listeners, &arrival);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        turn_away(self, door->fd);
        return false;
    }
    /* Anything else is about the connection, which is gone by now (accept(2)). */
    return errno != EAGAIN && errno != EWOULDBLOCK;
}

static void on_arrival(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(poll->data); i++)
        continue;
}

static void on_closed(uv_handle_t *handle)
{
    acceptor_t *self = handle->type == UV_TIMER ? handle->data : ((door_t *)handle->data)->acceptor;
    if (--self->n_handles > 0)
        return;
    if (self->spare_fd >= 0)
        close(self->spare_fd);
    free(self);
}

acceptor_t *acceptor_new(struct uv_loop_s *loop, listeners_t *listeners)
{
    acceptor_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->listeners = listeners;
    self->spare_fd = open_spare();
    uv_timer_init(loop, &self->pause);
    self->pause.data = self;
    self->n_handles = 1;
    for (size_t i = 0; i < LISTENER_COUNT; i++) {
        door_t *door = &self->doors[i];
        *door = (door_t){.acceptor = self, .which = (listener_t)i};
        door->fd = listeners_fd(listeners, door->which);
        if (uv_poll_init(loop, &door->poll, door->fd) != 0) {
            acceptor_destroy(&self);
            return NULL;
        }
        door->poll.data = door;
        self->n_handles++;
    }
    watch_doors(self);
    return self;
}

void acceptor_destroy(acceptor_t **self_p)
{
    if (self_p == NULL || *self_p == NULL)
        return;
    acceptor_t *self = *self_p;
    *self_p = NULL;
    uv_close((uv_handle_t *)&self->pause, on_closed);
    for (size_t i = 0; i + 1 < self->n_handles; i++)
        uv_close((uv_handle_t *)&self->doors[i].poll, on_closed);
}
