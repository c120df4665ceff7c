/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/arrival.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(PEER_CHARS == INET6_ADDRSTRLEN, "it holds any address");

/* IPv4 that comes mapped into IPv6 is IPv4. */
static void name_peer(int fd, char out[PEER_CHARS])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } address = {0};
    socklen_t n_bytes = sizeof address;
    const void *from = NULL;
    int family = AF_INET;
    strcpy(out, "unix");
    if (getpeername(fd, &address.any, &n_bytes) != 0)
        return;
    if (address.any.sa_family == AF_INET) {
        from = &address.v4.sin_addr;
    } else if (address.any.sa_family == AF_INET6) {
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr);
        family = is_mapped ? AF_INET : AF_INET6;
        from = &address.v6.sin6_addr.s6_addr[is_mapped ? 12 : 0];
    }
    if (from != NULL)
        inet_ntop(family, from, out, PEER_CHARS);
}

void arrival_init(arrival_t *self, int fd, int tag)
{
    *self = (arrival_t){.fd = fd, .tag = tag};
    name_peer(fd, self->peer);
}
