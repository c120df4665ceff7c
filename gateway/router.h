/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler a request goes to: a table of methods and paths. In a pattern {name} stands for a
 * UUID. */
#ifndef TASKWIRE_ROUTER_H
#define TASKWIRE_ROUTER_H

#include "gateway/query.h"
#include "gateway/server.h"

#define ROUTE_MAX_IDS 2
#define ROUTE_MAX_PATH 256

typedef struct call call_t;

/* Who may come through. */
typedef enum {
    ROUTE_FOR_ANYONE,
    ROUTE_FOR_READERS, /* a token with the scope `read` */
    ROUTE_FOR_WRITERS, /* a token with the scope `write` */
    ROUTE_FOR_SESSIONS, /* a login's own token */
    ROUTE_FOR_ADMIN, /* only at ADMIN_LISTEN, where nobody is asked for a token */
    ROUTE_FOR_PROBES, /* at both addresses, never limited */
} route_for_t;

typedef struct {
    method_t method;
    const char *pattern; /* a literal */
    route_for_t whom;
    void (*handle)(call_t *call); /* NULL: part of the interface, but not there yet */
    const param_t *params; /* of the query; NULL: none */
} route_t;

typedef struct {
    const route_t *route; /* NULL: none for this path and method */
    unsigned methods; /* bit M for method_t M: what this path knows; 0: no such path */
    uuid_t ids[ROUTE_MAX_IDS];
} route_match_t;

/* Looks a path up, as it was sent (percent-encoded, without query), among the routes that are not
 * hidden (bit W for route_for_t W). HEAD goes where GET does. What stands in place of an id but is
 * none matches nothing. */
void router_match(const route_t *routes, size_t n_routes, unsigned hidden, method_t method,
                  slice_t path, route_match_t *out);

/* Appends the methods as an Allow header lists them. */
void router_put_methods(unsigned methods, buf_t *out);

#endif
