/* SPDX-License-Identifier: Apache-2.0 */
/* Mailboxes are PULL sockets, ports PUSH sockets, over inproc: the one pattern of ZeroMQ that
 * blocks instead of dropping when it is full. A pipe holds what both ends allow together, so each
 * end gets half of the limit.
 *
 * Every hand-over between threads is in this file because the thread sanitizer cannot see through
 * the packaged libzmq: the release before each send and the acquire after each receive tell it what
 * libzmq does guarantee. The bytes of a message that is shared are freed by whoever closes it last,
 * so closing is such a hand-over too. */
#include "actors/mailbox.h"

#include <assert.h>
#include <czmq.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define HAND_OVER(address) __tsan_release((void *)(address))
#define TAKE_OVER(address) __tsan_acquire((void *)(address))
#else
#define HAND_OVER(address) (void)(address)
#define TAKE_OVER(address) (void)(address)
#endif

/* What libzmq keeps inside the message itself. */
#define SMALL_BYTES 32
#define ENDPOINT_CHARS 96

static_assert(sizeof(message_t) == sizeof(zmq_msg_t), "message_t is a zmq_msg_t");
static_assert(_Alignof(message_t) >= _Alignof(zmq_msg_t), "message_t is a zmq_msg_t");

/* czmq has one context for the whole program; a post is a space of names in it. */
struct post {
    atomic_int n_open;
};

struct mailbox {
    post_t *post;
    char *name;
    int limit;
    zsock_t *socket; /* the receiver's */
    atomic_int_least64_t depth;
    void (*wake)(void *arg);
    void *wake_arg;
};

struct port {
    mailbox_t *to;
    zsock_t *socket;
};

struct doorbell {
    int fd;
    atomic_bool is_rung; /* the fd is readable, or about to be */
    _Atomic uint64_t bits;
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* --- messages --- */

static zmq_msg_t *msg(message_t *self)
{
    return (zmq_msg_t *)(void *)self;
}

static void free_bytes(void *data, void *hint)
{
    (void)hint;
    TAKE_OVER(data);
    free(data);
}

static void free_refs(void *data, void *hint)
{
    void (*release)(void *bytes) = (void (*)(void *))hint;
    TAKE_OVER(data);
    release(data);
    free(data);
}

void message_init(message_t *self, slice_t bytes)
{
    if (bytes.n_bytes > SMALL_BYTES) {
        buf_t copy = {0};
        buf_append_slice(&copy, bytes);
        message_take(self, &copy);
        return;
    }
    if (zmq_msg_init_size(msg(self), bytes.n_bytes) != 0)
        abort();
    if (bytes.n_bytes > 0)
        memcpy(zmq_msg_data(msg(self)), bytes.data, bytes.n_bytes);
}

void message_take(message_t *self, buf_t *buf)
{
    int rc = buf->n_bytes == 0
                 ? zmq_msg_init(msg(self))
                 : zmq_msg_init_data(msg(self), buf->data, buf->n_bytes, free_bytes, NULL);
    if (rc != 0)
        abort();
    if (buf->n_bytes > 0)
        *buf = (buf_t){0};
    buf_fini(buf);
}

void message_take_refs(message_t *self, buf_t *buf, void (*release)(void *bytes))
{
    assert(buf->n_bytes > 0);
    if (zmq_msg_init_data(msg(self), buf->data, buf->n_bytes, free_refs, (void *)release) != 0)
        abort();
    *buf = (buf_t){0};
}

void message_share(message_t *self, message_t *from)
{
    zmq_msg_init(msg(self));
    if (zmq_msg_copy(msg(self), msg(from)) != 0)
        abort();
}

slice_t message_bytes(message_t *self)
{
    return slice_of(zmq_msg_data(msg(self)), zmq_msg_size(msg(self)));
}

void message_fini(message_t *self)
{
    HAND_OVER(zmq_msg_data(msg(self)));
    zmq_msg_close(msg(self));
}

/* --- the post --- */

/* czmq's own handlers would end every poller before its actor has drained; and inproc needs no
 * thread for input and output. Both can only be said before the first socket. */
static void configure_czmq(void)
{
    zsys_handler_set(NULL);
    zsys_set_io_threads(0);
}

post_t *post_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_czmq);
    return must(calloc(1, sizeof(post_t)));
}

void post_destroy(post_t **self_p)
{
    if (*self_p == NULL)
        return;
    assert(atomic_load(&(*self_p)->n_open) == 0);
    free(*self_p);
    *self_p = NULL;
}

static void format_endpoint(const mailbox_t *mailbox, char out[ENDPOINT_CHARS])
{
    int n = snprintf(out, ENDPOINT_CHARS, "inproc://%p/%s", (void *)mailbox->post, mailbox->name);
    assert(n > 0 && n < ENDPOINT_CHARS);
    (void)n;
}

static zsock_t *open_socket(post_t *post, int type)
{
    zsock_t *socket = must(zsock_new(type));
    zsock_set_linger(socket, 0);
    atomic_fetch_add(&post->n_open, 1);
    return socket;
}

static void close_socket(post_t *post, zsock_t **socket_p)
{
    if (*socket_p == NULL)
        return;
    zsock_destroy(socket_p);
    atomic_fetch_sub(&post->n_open, 1);
}

/* --- mailboxes --- */

mailbox_t *mailbox_new(post_t *post, const char *name, int limit)
{
    assert(limit >= 2); /* each end holds one at least, and 0 would mean no limit to ZeroMQ */
    mailbox_t *self = must(calloc(1, sizeof *self));
    self->post = post;
    self->name = must(strdup(name));
    self->limit = limit;
    return self;
}

void mailbox_destroy(mailbox_t **self_p)
{
    mailbox_t *self = *self_p;
    if (self == NULL)
        return;
    mailbox_close(self);
    free(self->name);
    free(self);
    *self_p = NULL;
}

const char *mailbox_name(const mailbox_t *self)
{
    return self->name;
}

int mailbox_limit(const mailbox_t *self)
{
    return self->limit;
}

int64_t mailbox_depth(const mailbox_t *self)
{
    return atomic_load_explicit(&self->depth, memory_order_relaxed);
}

err_t mailbox_open(mailbox_t *self)
{
    char endpoint[ENDPOINT_CHARS];
    format_endpoint(self, endpoint);
    self->socket = open_socket(self->post, ZMQ_PULL);
    zsock_set_rcvhwm(self->socket, self->limit - self->limit / 2);
    if (zmq_bind(zsock_resolve(self->socket), endpoint) != 0) {
        close_socket(self->post, &self->socket);
        return ERR_INTERNAL; /* two mailboxes of one name */
    }
    return ERR_OK;
}

void mailbox_close(mailbox_t *self)
{
    message_t left;
    if (self->socket == NULL)
        return;
    /* The socket itself is closed a little later by a thread of libzmq; the name is free at once.
     */
    char endpoint[ENDPOINT_CHARS];
    format_endpoint(self, endpoint);
    zmq_unbind(zsock_resolve(self->socket), endpoint);
    while (mailbox_recv(self, &left))
        message_fini(&left);
    close_socket(self->post, &self->socket);
}

void *mailbox_socket(mailbox_t *self)
{
    return zsock_resolve(self->socket);
}

void mailbox_on_wake(mailbox_t *self, void (*wake)(void *arg), void *arg)
{
    self->wake = wake;
    self->wake_arg = arg;
}

bool mailbox_recv(mailbox_t *self, message_t *out)
{
    zmq_msg_init(msg(out));
    if (zmq_msg_recv(msg(out), zsock_resolve(self->socket), ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(msg(out));
        return false;
    }
    TAKE_OVER(self);
    atomic_fetch_sub_explicit(&self->depth, 1, memory_order_relaxed);
    return true;
}

/* What the socket can do now. Asking also makes it take note of what its peers did meanwhile, which
 * a send or receive does only about once in a millisecond. */
static bool socket_can(zsock_t *socket, int event)
{
    int events = 0;
    size_t size = sizeof events;
    zmq_getsockopt(zsock_resolve(socket), ZMQ_EVENTS, &events, &size);
    return (events & event) != 0;
}

static void wait_for_fds(struct pollfd *fds, size_t n_fds, int64_t timeout_us)
{
    struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
    for (size_t i = 0; i < n_fds; i++)
        fds[i].revents = 0;
    if (ppoll(fds, n_fds, &timeout, NULL) < 0) {
        assert(errno == EINTR || errno == ENOMEM);
        for (size_t i = 0; i < n_fds; i++)
            fds[i].revents = 0;
    }
}

bool mailbox_poll(mailbox_t *self, struct pollfd *fds, size_t n_fds, int64_t timeout_us)
{
    assert(n_fds <= MAILBOX_POLL_MAX_FDS && timeout_us >= 0);
    struct pollfd all[MAILBOX_POLL_MAX_FDS + 1];
    if (n_fds > 0)
        memcpy(all, fds, n_fds * sizeof *fds);
    /* ZeroMQ's fd tells of changes only: what is there already must be asked for before waiting. */
    bool has_mail = socket_can(self->socket, ZMQ_POLLIN);
    all[n_fds] = (struct pollfd){.fd = zsock_fd(self->socket), .events = POLLIN};
    wait_for_fds(all, n_fds + 1, has_mail ? 0 : timeout_us);
    for (size_t i = 0; i < n_fds; i++)
        fds[i].revents = all[i].revents;
    return has_mail || socket_can(self->socket, ZMQ_POLLIN);
}

/* --- ports --- */

port_t *port_new(mailbox_t *to)
{
    char endpoint[ENDPOINT_CHARS];
    format_endpoint(to, endpoint);
    port_t *self = must(calloc(1, sizeof *self));
    self->to = to;
    self->socket = open_socket(to->post, ZMQ_PUSH);
    zsock_set_sndhwm(self->socket, to->limit / 2);
    if (zmq_connect(zsock_resolve(self->socket), endpoint) != 0)
        abort(); /* over inproc only lack of memory or sockets */
    return self;
}

void port_destroy(port_t **self_p)
{
    port_t *self = *self_p;
    if (self == NULL)
        return;
    close_socket(self->to->post, &self->socket);
    free(self);
    *self_p = NULL;
}

static bool try_send(port_t *self, message_t *message)
{
    return zmq_msg_send(msg(message), zsock_resolve(self->socket), ZMQ_DONTWAIT) >= 0;
}

err_t port_send(port_t *self, message_t *message)
{
    HAND_OVER(self->to);
    atomic_fetch_add_explicit(&self->to->depth, 1, memory_order_relaxed);
    if (!try_send(self, message) && !(port_has_room(self) && try_send(self, message))) {
        atomic_fetch_sub_explicit(&self->to->depth, 1, memory_order_relaxed);
        message_fini(message);
        return ERR_OVERLOADED;
    }
    if (self->to->wake != NULL)
        self->to->wake(self->to->wake_arg);
    return ERR_OK;
}

bool port_has_room(port_t *self)
{
    return socket_can(self->socket, ZMQ_POLLOUT);
}

/* --- doorbells --- */

doorbell_t *doorbell_new(void)
{
    doorbell_t *self = must(calloc(1, sizeof *self));
    self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->fd < 0)
        abort();
    return self;
}

void doorbell_destroy(doorbell_t **self_p)
{
    if (*self_p == NULL)
        return;
    close((*self_p)->fd);
    free(*self_p);
    *self_p = NULL;
}

void doorbell_ring(doorbell_t *self, uint64_t bits)
{
    atomic_fetch_or(&self->bits, bits);
    if (!atomic_exchange(&self->is_rung, true))
        eventfd_write(self->fd, 1);
}

uint64_t doorbell_take(doorbell_t *self)
{
    /* The order matters: who rings after is_rung fell makes the fd readable again, and who rang
     * before had put its bits already. */
    eventfd_t n_rings;
    (void)eventfd_read(self->fd, &n_rings);
    atomic_store(&self->is_rung, false);
    return atomic_exchange(&self->bits, 0);
}

bool doorbell_is_rung(const doorbell_t *self)
{
    return atomic_load(&self->is_rung);
}

int doorbell_fd(const doorbell_t *self)
{
    return self->fd;
}
