/* SPDX-License-Identifier: Apache-2.0 */
/* What the owner of a server sees of a request. */
#include "gateway/server_private.h"

method_t request_method(const request_t *self)
{
    return self->head.method;
}

slice_t request_path(const request_t *self)
{
    return self->head.path;
}

slice_t request_query(const request_t *self)
{
    return self->head.query;
}

slice_t request_header(const request_t *self, header_t header)
{
    return self->head.headers[header];
}

slice_t request_body(const request_t *self)
{
    return self->body;
}

slice_t request_peer(const request_t *self)
{
    return self->peer;
}

int request_tag(const request_t *self)
{
    return self->tag;
}

arena_t *request_arena(request_t *self)
{
    return self->arena;
}

void request_set_user(request_t *self, void *user)
{
    self->user = user;
}

void *request_user(const request_t *self)
{
    return self->user;
}

int64_t request_started_us(const request_t *self)
{
    return self->started_us;
}
