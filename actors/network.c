/* SPDX-License-Identifier: Apache-2.0 */
/* Only the readiness changes while threads run: flags that are cheap to ask, and the reason behind
 * a lock because it is text. */
#include "actors/network.h"

#include <stdio.h>

port_t *network_port(const network_t *self, uint32_t address)
{
    if (address >= ADDRESS_COUNT || self->actors[address] == NULL)
        return NULL;
    return port_new(actor_inbox(self->actors[address]));
}

port_t *network_ack_port(const network_t *self)
{
    bool has_consumer = self->actors[ADDRESS_CONSUMER] != NULL;
    return network_port(self, has_consumer ? ADDRESS_CONSUMER : ADDRESS_RELAY);
}

static void ring(const network_t *self, address_t address, shard_set_t shards)
{
    if (self->actors[address] != NULL)
        doorbell_ring(actor_bell(self->actors[address]), shards);
}

/* Sync reads what this process has written at the doorbell, in Kafka mode too: its clients then
 * have it in half the time that it takes by way of the topic, and the processor's share is the same
 * within what can be measured (8 against 17 ms at 100 writes a second on two busy cores). */
void network_log_grew(const network_t *self, shard_set_t shards)
{
    ring(self, ADDRESS_RELAY, shards);
    ring(self, ADDRESS_SYNC, shards);
    ring(self, ADDRESS_PEERS, shards);
}

void network_peer_grew(const network_t *self, shard_set_t shards)
{
    bool has_tail = self->actors[ADDRESS_TAIL] != NULL;
    ring(self, ADDRESS_RELAY, shards);
    ring(self, has_tail ? ADDRESS_TAIL : ADDRESS_SYNC, shards);
}

void network_describe(const network_t *self, buf_t *out)
{
    bool is_first = true;
    buf_append_str(out, "{\"actors\":[");
    for (size_t i = 0; i < ADDRESS_COUNT; i++) {
        if (self->actors[i] == NULL)
            continue;
        if (!is_first)
            buf_append_byte(out, ',');
        is_first = false;
        actor_describe(self->actors[i], out);
    }
    buf_append_str(out, "]}");
}

void network_set_ready(network_t *self, bool is_ready, const char *why)
{
    pthread_mutex_lock(&self->ready_lock);
    snprintf(self->ready_why, sizeof self->ready_why, "%s", why != NULL ? why : "");
    bool was_ready = atomic_exchange(&self->is_ready, is_ready);
    pthread_mutex_unlock(&self->ready_lock);
    if (was_ready != is_ready && self->ready_bell != NULL)
        doorbell_ring(self->ready_bell, 0);
}

void network_set_blind(network_t *self, uint32_t gateway, bool is_blind)
{
    unsigned bit = 1u << gateway;
    if (is_blind)
        atomic_fetch_or(&self->blind_gateways, bit);
    else
        atomic_fetch_and(&self->blind_gateways, ~bit);
    if (self->ready_bell != NULL)
        doorbell_ring(self->ready_bell, 0);
}

void network_set_degraded(network_t *self, degraded_t what, const char *why)
{
    pthread_mutex_lock(&self->ready_lock);
    snprintf(self->degraded[what], NETWORK_WHY_CHARS, "%s", why != NULL ? why : "");
    pthread_mutex_unlock(&self->ready_lock);
}

bool network_is_degraded(const network_t *self, char *why, size_t size)
{
    network_t *shared = (network_t *)(uintptr_t)self; /* for the lock only */
    unsigned what = 0;
    pthread_mutex_lock(&shared->ready_lock);
    while (what < DEGRADED_COUNT && shared->degraded[what][0] == '\0')
        what++;
    if (what < DEGRADED_COUNT && why != NULL && size > 0)
        snprintf(why, size, "%s", shared->degraded[what]);
    pthread_mutex_unlock(&shared->ready_lock);
    return what < DEGRADED_COUNT;
}

bool network_is_ready(const network_t *self, char *why, size_t size)
{
    network_t *shared = (network_t *)(uintptr_t)self; /* for the lock only */
    pthread_mutex_lock(&shared->ready_lock);
    bool is_ready = atomic_load(&shared->is_ready);
    bool is_blind = is_ready && atomic_load(&shared->blind_gateways) != 0;
    if (why != NULL && size > 0)
        snprintf(why, size, "%s",
                 is_blind ? "a gateway has no connection to the database" : shared->ready_why);
    pthread_mutex_unlock(&shared->ready_lock);
    return is_ready && !is_blind;
}
