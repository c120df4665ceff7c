/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have a WebSocket, and in which subprotocol. */
#include <stdio.h>

#include "gateway/framing.h"
#include "gateway/live.h"

#define PATH "/v1/ws"

static const struct {
    const char *name;
    encoding_t encoding;
} subprotocols[] = {
    {"taskwire.v1.json", ENCODING_JSON},
    {"taskwire.v1.msgpack", ENCODING_MSGPACK},
};

/* The first that the client names and we speak. One that names none gets JSON. */
static err_t choose_subprotocol(const request_t *request, const char **out, encoding_t *encoding)
{
    slice_t offered = request_header(request, HEADER_SEC_WEBSOCKET_PROTOCOL);
    slice_t name;
    *out = NULL;
    *encoding = ENCODING_JSON;
    if (offered.data == NULL)
        return ERR_OK;
    while (framing_next_item(&offered, &name)) {
        for (size_t i = 0; i < sizeof subprotocols / sizeof *subprotocols; i++) {
            if (!slice_is(name, subprotocols[i].name))
                continue;
            *out = subprotocols[i].name;
            *encoding = subprotocols[i].encoding;
            return ERR_OK;
        }
    }
    return ERR_NOT_IMPLEMENTED;
}

/* A secret in an address would end up in logs: there is no query at all. */
static err_t check_upgrade(gateway_t *gateway, request_t *request)
{
    if (!slice_is(request_path(request), PATH))
        return ERR_NOT_FOUND;
    if (request_method(request) != METHOD_GET)
        return ERR_METHOD_NOT_ALLOWED;
    if (request_query(request).n_bytes > 0)
        return ERR_MALFORMED;
    if (!http_origin_is_allowed(gateway, request))
        return ERR_FORBIDDEN;
    return gateway->hub->is_draining ? ERR_UNAVAILABLE : ERR_OK;
}

err_t ws_on_upgrade(gateway_t *gateway, request_t *request, const char **subprotocol, void **user)
{
    encoding_t encoding;
    err_t err = check_upgrade(gateway, request);
    if (err == ERR_OK)
        err = choose_subprotocol(request, subprotocol, &encoding);
    if (err != ERR_OK)
        return err;
    ws_t *self = ws_new(gateway, encoding);
    slice_t address = http_client_address(gateway, request);
    snprintf(self->address, sizeof self->address, "%.*s", (int)address.n_bytes,
             (const char *)address.data);
    slice_t secret = auth_secret_of(request);
    if (secret.data != NULL)
        ws_identify(self, secret);
    *user = self;
    return ERR_OK;
}
