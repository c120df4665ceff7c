/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask, and the descriptions of the interface. */
#include <stdio.h>

#include "gateway/live.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "schema/embedded.h"
#include "schema/json.h"

static void note_depths(const network_t *network)
{
    for (size_t i = 0; i < ADDRESS_COUNT; i++) {
        actor_t *actor = network->actors[i];
        char labels[64];
        if (actor == NULL)
            continue;
        snprintf(labels, sizeof labels, "actor=\"%s\"", actor_name(actor));
        metric_set(metrics_gauge(network->metrics, "taskwire_inbox_messages", labels,
                                 "Messages sent to an actor and not yet received"),
                   mailbox_depth(actor_inbox(actor)));
    }
}

void route_metrics(call_t *call)
{
    buf_t *out = reply_buffer(call);
    note_depths(call->gateway->network);
    metrics_write(call->gateway->network->metrics, out);
    reply_bytes(call, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(out));
}

void route_actors(call_t *call)
{
    buf_t *out = reply_buffer(call);
    network_describe(call->gateway->network, out);
    reply_json(call, 200, buf_slice(out));
}

void route_healthz(call_t *call)
{
    reply_json(call, 200, slice_str("{\"status\":\"ok\",\"version\":\"" TASKWIRE_VERSION "\"}"));
}

void route_readyz(call_t *call)
{
    char why[NETWORK_WHY_CHARS];
    bool is_ready = network_is_ready(call->gateway->network, why, sizeof why);
    if (call->gateway->hub->is_draining) {
        is_ready = false;
        snprintf(why, sizeof why, "it is being stopped");
    }
    bool is_degraded = is_ready && network_is_degraded(call->gateway->network, why, sizeof why);
    buf_t *out = reply_buffer(call);
    buf_append_str(out, is_degraded ? "{\"status\":\"degraded\""
                        : is_ready  ? "{\"status\":\"ready\""
                                    : "{\"status\":\"unavailable\"");
    if (why[0] != '\0') {
        buf_append_str(out, ",\"reason\":");
        json_put_str(out, slice_str(why));
    }
    buf_append_byte(out, '}');
    reply_json(call, is_ready ? 200 : 503, buf_slice(out));
}

static void show_embedded(call_t *call, const char *name)
{
    const embedded_t *file = embedded_files;
    while (file->name != NULL && strcmp(file->name, name) != 0)
        file++;
    if (file->name == NULL)
        reply_err(call, ERR_NOT_FOUND, NULL);
    else
        reply_bytes(call, 200, "application/yaml", slice_of(file->bytes, file->n_bytes));
}

void route_openapi(call_t *call)
{
    show_embedded(call, "openapi.yaml");
}

void route_asyncapi(call_t *call)
{
    show_embedded(call, "asyncapi.yaml");
}

void route_ws_plain(call_t *call)
{
    reply_err(call, ERR_MALFORMED, "This path takes WebSocket connections only.");
}
