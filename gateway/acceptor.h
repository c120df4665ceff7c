/* SPDX-License-Identifier: Apache-2.0 */
/* How connections come in: one gateway's loop accepts them all and hands them round; each gateway
 * has an inlet, where sockets wait until its own loop takes them. */
#ifndef TASKWIRE_GATEWAY_ACCEPTOR_H
#define TASKWIRE_GATEWAY_ACCEPTOR_H

#include "gateway/arrival.h"
#include "gateway/certificate.h"
#include "gateway/gateway.h"
#include "gateway/limits.h"

struct uv_loop_s;

/* Which address a connection came to: the tag of its requests. */
typedef enum { LISTENER_PUBLIC, LISTENER_ADMIN, LISTENER_COUNT } listener_t;

/* The tag of what came to LISTENER_PUBLIC by TLS, which was ended here. */
#define TAG_SECURE ((int)LISTENER_COUNT)

#define INLET_MAX_WAITING 1024
#define LISTENERS_MAX_INLETS 64

/* --- inlets --- */

typedef struct inlet inlet_t;

/* Takes over a connected socket, e.g. server_adopt: the fd is its own in every case. Thread: of the
 * inlet's loop. */
typedef bool inlet_take_f(void *arg, const arrival_t *arrival);

/* Makes an inlet on a loop. NULL if libuv refuses. Thread: of the loop, or before it runs. */
inlet_t *inlet_new(struct uv_loop_s *loop, inlet_take_f *take, void *arg);
/* Closes what waits in it. Nobody may push any more (listeners_leave). The loop must still run a
 * little. */
void inlet_destroy(inlet_t **self_p);
/* Puts a connected socket in. False: it is full; the fd stays the caller's. Thread: any. */
bool inlet_push(inlet_t *self, const arrival_t *arrival);

/* --- what listeners_t (gateway.h) offers here --- */

/* The listening socket; it stays the listeners'. */
int listeners_fd(const listeners_t *self, listener_t which);
/* The limits that all gateways count by. Thread: any. */
const limits_t *listeners_limits(const listeners_t *self);
/* From now on the inlet gets its share of connections. False: there are LISTENERS_MAX_INLETS
 * already. Thread: any. */
bool listeners_join(listeners_t *self, inlet_t *inlet);
/* From its return on nothing is pushed into the inlet. Thread: any. */
void listeners_leave(listeners_t *self, inlet_t *inlet);
/* What TLS is spoken with on LISTENER_PUBLIC; NULL: it is not. */
certificate_t *listeners_certificate(const listeners_t *self);
/* Gives a connected socket to the next inlet that has room. False: none has, or its address has as
 * many connections as it may; the fd is closed then. Thread: any. */
bool listeners_hand_over(listeners_t *self, const arrival_t *arrival);
/* A connection that was handed over with this tag and peer has ended. Thread: any. */
void listeners_dismiss(listeners_t *self, int tag, const char *peer);

/* --- the acceptor --- */

typedef struct acceptor acceptor_t;

/* Accepts on every listener, in this loop, and hands over. NULL if libuv refuses. The listeners
 * must outlive it. */
acceptor_t *acceptor_new(struct uv_loop_s *loop, listeners_t *listeners);
/* Accepts no more. The loop must still run a little for its handles to close. */
void acceptor_destroy(acceptor_t **self_p);

#endif
