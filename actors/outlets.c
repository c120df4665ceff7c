/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/outlets.h"

#define RECOVER_US INT64_C(5000)

void outlets_init(outlets_t *self, network_t *network, recent_t *recent, const char *epoch)
{
    *self = (outlets_t){.network = network, .recent = recent, .epoch = epoch};
    self->n_lags = metrics_counter(network->metrics, "taskwire_sync_lags_total", NULL,
                                   "Times that a gateway's inbox was full");
}

void outlets_open(outlets_t *self)
{
    for (uint32_t i = 0; i < self->network->n_gateways; i++)
        self->outlets[i].port = network_port(self->network, ADDRESS_GATEWAY + i);
}

void outlets_close(outlets_t *self)
{
    for (uint32_t i = 0; i < NETWORK_MAX_GATEWAYS; i++)
        port_destroy(&self->outlets[i].port);
}

/* --- sending --- */

/* False: the inbox is full; the outlet lags from now on. */
static bool send(outlets_t *self, outlet_t *outlet, message_t *message)
{
    if (port_send(outlet->port, message) == ERR_OK)
        return true;
    if (!outlet->is_lagging)
        metric_add(self->n_lags, 1);
    outlet->is_lagging = true;
    return false;
}

void outlets_access(outlets_t *self, const access_t *access)
{
    for (uint32_t i = 0; i < self->network->n_gateways; i++) {
        outlet_t *outlet = &self->outlets[i];
        message_t message;
        if (outlet->port == NULL)
            continue;
        access_encode(access, &message);
        if (outlet->is_lagging)
            message_fini(&message);
        if (outlet->is_lagging || !send(self, outlet, &message))
            outlet->lost_access = true;
    }
}

void outlets_purged(outlets_t *self, const uuid_t *stream)
{
    for (uint32_t i = 0; i < self->network->n_gateways; i++) {
        outlet_t *outlet = &self->outlets[i];
        message_t message;
        if (outlet->port == NULL)
            continue;
        purged_encode(stream, &message);
        if (outlet->is_lagging)
            message_fini(&message);
        if (outlet->is_lagging || !send(self, outlet, &message))
            outlet->lost_purge = true;
    }
}

/* Where the stream is, and the frames that are there. */
static bool send_state(outlets_t *self, recent_stream_t *stream, uint32_t gateway)
{
    outlet_t *outlet = &self->outlets[gateway];
    const ring_t *ring = &stream->ring;
    watched_t watched = {.stream = stream->node.id, .first = ring_first(ring), .next = ring->next};
    frame_t *frames[OUTLETS_MAX_FRAMES];
    message_t message;
    memcpy(watched.epoch, self->epoch, EPOCH_CHARS);
    watched_encode(&watched, &message);
    if (!send(self, outlet, &message))
        return false;
    for (uint32_t i = 0; i < ring->n; i++)
        frames[i] = ring_at(ring, ring_first(ring) + i);
    if (ring->n == 0)
        return true;
    frames_message(frames, ring->n, &message);
    return send(self, outlet, &message);
}

static void send_outgoing(outlets_t *self, recent_stream_t *stream)
{
    message_t message;
    frames_message(stream->outgoing, stream->n_outgoing, &message);
    for (uint32_t i = 0; i < self->network->n_gateways; i++) {
        gateway_set_t bit = (gateway_set_t)1 << i;
        outlet_t *outlet = &self->outlets[i];
        message_t copy;
        if ((stream->watchers & bit) == 0)
            continue;
        message_share(&copy, &message);
        if (outlet->is_lagging)
            message_fini(&copy);
        if (outlet->is_lagging || !send(self, outlet, &copy))
            stream->missed |= bit;
    }
    message_fini(&message);
}

void outlets_flush(outlets_t *self)
{
    recent_stream_t *stream;
    while ((stream = recent_outgoing(self->recent)) != NULL) {
        send_outgoing(self, stream);
        recent_sent(stream);
    }
}

/* --- gateways that lag --- */

static bool repair_streams(outlets_t *self, uint32_t gateway)
{
    gateway_set_t bit = (gateway_set_t)1 << gateway;
    for (recent_stream_t *stream = recent_walk(self->recent, NULL); stream != NULL;
         stream = recent_walk(self->recent, stream)) {
        if ((stream->missed & bit) == 0)
            continue;
        if (!send_state(self, stream, gateway))
            return false;
        stream->missed &= ~bit;
    }
    return true;
}

/* Epoch and access first: frames must not come to whom they are no longer for. */
static bool repair(outlets_t *self, uint32_t gateway)
{
    outlet_t *outlet = &self->outlets[gateway];
    const access_t everything = {UUID_NIL, UUID_NIL, UUID_NIL};
    message_t message;
    if (outlet->lost_epoch) {
        epoch_encode(self->epoch, &message);
        if (!send(self, outlet, &message))
            return false;
        outlet->lost_epoch = false;
    }
    if (outlet->lost_access) {
        access_encode(&everything, &message);
        if (!send(self, outlet, &message))
            return false;
        outlet->lost_access = false;
    }
    if (outlet->lost_purge) {
        purged_encode(&UUID_NIL, &message);
        if (!send(self, outlet, &message))
            return false;
        outlet->lost_purge = false;
    }
    return repair_streams(self, gateway);
}

int64_t outlets_repair(outlets_t *self, bool is_known, now_t now)
{
    bool is_any_lagging = false;
    bool is_due = is_known && now.mono_us >= self->recover_mono_us;
    for (uint32_t i = 0; i < self->network->n_gateways; i++) {
        outlet_t *outlet = &self->outlets[i];
        if (!outlet->is_lagging)
            continue;
        if (is_due && port_has_room(outlet->port))
            outlet->is_lagging = !repair(self, i);
        is_any_lagging |= outlet->is_lagging;
    }
    if (is_due && is_any_lagging)
        self->recover_mono_us = now.mono_us + RECOVER_US;
    return is_any_lagging ? RECOVER_US : INT64_MAX;
}

/* --- what gateways follow --- */

void outlets_watch(outlets_t *self, const watch_t *watch, bool is_known)
{
    if (watch->gateway >= self->network->n_gateways || self->outlets[watch->gateway].port == NULL)
        return;
    outlet_t *outlet = &self->outlets[watch->gateway];
    gateway_set_t bit = (gateway_set_t)1 << watch->gateway;
    if (!watch->on) {
        recent_stream_t *stream = recent_find(self->recent, &watch->stream);
        if (stream != NULL)
            recent_unwatch(self->recent, stream, watch->gateway);
        return;
    }
    recent_stream_t *stream = recent_get(self->recent, &watch->stream);
    recent_watch(self->recent, stream, watch->gateway);
    if (!is_known)
        outlet->is_lagging = true;
    if (outlet->is_lagging || !send_state(self, stream, watch->gateway))
        stream->missed |= bit;
}

void outlets_forget(outlets_t *self)
{
    recent_forget(self->recent);
    for (uint32_t i = 0; i < self->network->n_gateways; i++) {
        outlet_t *outlet = &self->outlets[i];
        outlet->lost_epoch = outlet->lost_access = outlet->is_lagging = outlet->port != NULL;
    }
}
