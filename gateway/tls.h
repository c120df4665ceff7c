/* SPDX-License-Identifier: Apache-2.0 */
/* Ends TLS for the connections of a loop: behind each stands a plain one, a socket pair, whose
 * other end the server gets as if a client had connected without TLS. So HTTP and WebSockets are
 * read and written in one way only. What passes through is held in the two kernel buffers of the
 * pair and of the client's socket, and at most one record between them: who does not take what is
 * sent to him stops the other side. Thread: the loop's. */
#ifndef TASKWIRE_GATEWAY_TLS_H
#define TASKWIRE_GATEWAY_TLS_H

#include "gateway/arrival.h"
#include "gateway/certificate.h"

struct uv_loop_s;

typedef struct tls tls_t;

typedef struct {
    /* The handshake is done: takes the plain end over, in every case; the peer is the client's.
     * False: it was closed. */
    bool (*on_plain)(void *arg, const arrival_t *arrival);
    /* A connection that was adopted has ended. */
    void (*on_end)(void *arg, const char *peer);
} tls_handler_t;

/* What comes out has this tag. The certificate must outlive it. */
tls_t *tls_new(struct uv_loop_s *loop, certificate_t *certificate, int tag,
               const tls_handler_t *handler, void *arg);
/* Ends every connection at once. The loop must run a little, then tls_destroy frees. */
void tls_stop(tls_t *self);
void tls_destroy(tls_t **self_p);

/* Takes over a connected socket. False: there is no room; it was closed, and on_end is not called.
 */
bool tls_adopt(tls_t *self, const arrival_t *arrival);
size_t tls_n_connections(const tls_t *self);

#endif
