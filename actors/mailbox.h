/* SPDX-License-Identifier: Apache-2.0 */
/* How threads hand things to each other: bounded mailboxes of messages over ZeroMQ inproc sockets,
 * and doorbells. This is the only file that knows ZeroMQ.
 *
 * A message is a run of bytes with a reference count: written once, then only shared or closed.
 * Sending takes it away from the sender, whether it succeeds or not. A mailbox has one receiver and
 * one port per sender; each port holds a bounded number of messages, and the sender decides what to
 * do when it is full. */
#ifndef TASKWIRE_MAILBOX_H
#define TASKWIRE_MAILBOX_H

#include <poll.h>

#include "schema/buf.h"
#include "schema/err.h"

/* --- messages --- */

typedef struct {
    uint64_t opaque[8]; /* a zmq_msg_t */
} message_t;

/* A message with a copy of these bytes. */
void message_init(message_t *self, slice_t bytes);
/* A message that takes over the buffer's memory; the buffer is empty afterwards. Cheaper from a few
 * KiB on. */
void message_take(message_t *self, buf_t *buf);
/* The same for bytes that hold references: `release` is called with them before they are freed, in
 * the thread of whoever closes the message last. There is at least one byte. */
void message_take_refs(message_t *self, buf_t *buf, void (*release)(void *bytes));
/* Another reference to the same bytes. */
void message_share(message_t *self, message_t *from);
slice_t message_bytes(message_t *self);
void message_fini(message_t *self);

/* --- mailboxes --- */

typedef struct mailbox mailbox_t;
typedef struct port port_t;

/* The hub of all mailboxes of a program (a ZeroMQ context). czmq's signal handlers are switched
 * off. */
typedef struct post post_t;
post_t *post_new(void);
/* All mailboxes and ports must be closed before. */
void post_destroy(post_t **self_p);

/* Makes a mailbox; `name` must be unique in the post. Each port to it holds `limit` messages. To be
 * opened by mailbox_open in the receiver's thread; senders may connect and send before that. */
mailbox_t *mailbox_new(post_t *post, const char *name, int limit);
void mailbox_destroy(mailbox_t **self_p);
const char *mailbox_name(const mailbox_t *self);
int mailbox_limit(const mailbox_t *self);
/* Messages sent and not yet received, over all ports. Thread: any. */
int64_t mailbox_depth(const mailbox_t *self);

/* Opens and closes the receiving end. Thread: the receiver. */
err_t mailbox_open(mailbox_t *self);
void mailbox_close(mailbox_t *self);
/* The ZeroMQ socket for polling by the loop; receivers with a loop of another kind use
 * mailbox_on_wake instead. */
void *mailbox_socket(mailbox_t *self);
/* Has `wake` called after every send, in the sender's thread (e.g. uv_async_send). To be set before
 * senders exist. */
void mailbox_on_wake(mailbox_t *self, void (*wake)(void *arg), void *arg);
/* Waits until there is a message, one of the fds is ready or the time is up, and fills in their
 * revents. True: there is a message. May wake for nothing. Units: microseconds; 0 only looks.
 * Thread: the receiver. Blocks. */
#define MAILBOX_POLL_MAX_FDS 32
bool mailbox_poll(mailbox_t *self, struct pollfd *fds, size_t n_fds, int64_t timeout_us);
/* Takes the next message, not waiting. False: there is none now. Owns: the caller closes it by
 * message_fini. */
bool mailbox_recv(mailbox_t *self, message_t *out);

/* A sender's end. Thread: only the one that made it. */
port_t *port_new(mailbox_t *to);
void port_destroy(port_t **self_p);
/* Sends, not waiting. Owns: the message is gone either way. Errors: OVERLOADED: the port is full.
 */
err_t port_send(port_t *self, message_t *message);
/* Whether a send would succeed now. */
bool port_has_room(port_t *self);

/* --- doorbells: "something is new", with a set of bits that add up until they are taken. Thread:
 * any --- */

typedef struct doorbell doorbell_t;
doorbell_t *doorbell_new(void);
void doorbell_destroy(doorbell_t **self_p);
/* Adds the bits and wakes whoever waits on the fd. Ringing with 0 only wakes. */
void doorbell_ring(doorbell_t *self, uint64_t bits);
/* Takes all bits and quiets the fd. */
uint64_t doorbell_take(doorbell_t *self);
/* Whether it was rung since bits were last taken. */
bool doorbell_is_rung(const doorbell_t *self);
int doorbell_fd(const doorbell_t *self);

#endif
