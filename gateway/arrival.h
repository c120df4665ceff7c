/* SPDX-License-Identifier: Apache-2.0 */
/* A connected socket on its way to whoever serves it. */
#ifndef TASKWIRE_GATEWAY_ARRIVAL_H
#define TASKWIRE_GATEWAY_ARRIVAL_H

#define PEER_CHARS 46 /* those of the longest IPv6 address, with its NUL */

typedef struct {
    int fd;
    int tag; /* which address it came to, and how: see acceptor.h */
    char peer[PEER_CHARS]; /* the address of the other end as text; "unix" of a Unix socket */
} arrival_t;

/* Names the peer of the socket. */
void arrival_init(arrival_t *self, int fd, int tag);

#endif
