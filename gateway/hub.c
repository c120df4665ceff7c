/* SPDX-License-Identifier: Apache-2.0 */
/* Streams are followed as long as somebody is subscribed. What sync has been told and what is
 * wanted are compared in one place (settle); a stream is given up only after sync has answered, so
 * that at any time at most one WATCH of it is unanswered and WATCHED is never of an earlier time.
 *
 * Frames are kept in a ring per stream, which the rings of sync share: a subscription that can read
 * from it costs nothing but a number. All rings together are bounded; the stream that has not moved
 * for the longest time loses its frames first, and who still needed them is told to resume. */
#include "gateway/live.h"

#include <stdlib.h>

#include "actors/log.h"
#include "gateway/auth.h"

#define RING_MAX_FRAMES 2048
#define RING_MAX_BYTES ((size_t)1024 * 1024)
#define RINGS_MAX_BYTES ((size_t)64 * 1024 * 1024)

static const ring_limits_t ring_limits = {RING_MAX_FRAMES, RING_MAX_BYTES};

ask_t *ask_new(hub_t *hub, void *asker)
{
    ask_t *ask = calloc(1, sizeof *ask);
    if (ask == NULL)
        abort();
    *ask = (ask_t){hub, asker};
    return ask;
}

static void init_links(hub_t *self)
{
    link_init(&self->sockets);
    link_init(&self->lru);
    link_init(&self->unsaid);
    link_init(&self->rechecks);
    link_init(&self->suspects);
    link_init(&self->followers);
    link_init(&self->checks);
    link_init(&self->pages);
    link_init(&self->held_pages);
    link_init(&self->snapshots);
    link_init(&self->rosters);
    link_init(&self->unread_rosters);
    link_init(&self->held_snapshots);
}

hub_t *hub_new(gateway_t *gateway)
{
    hub_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    metrics_t *metrics = gateway->network->metrics;
    self->gateway = gateway;
    self->sync = network_port(gateway->network, ADDRESS_SYNC);
    idmap_init(&self->followed);
    idmap_init(&self->accounts);
    init_links(self);
    self->arena = arena_new();
    self->n_subscribers =
        metrics_gauge(metrics, "taskwire_subscribers", NULL, "Subscriptions of clients to streams");
    self->n_frames_sent = metrics_counter(metrics, "taskwire_frames_sent_total", NULL,
                                          "Events delivered to clients that follow");
    self->n_resets = metrics_counter(metrics, "taskwire_resets_total", NULL,
                                     "Subscriptions that were told to resume");
    self->n_event_streams = metrics_gauge(metrics, "taskwire_event_streams", NULL,
                                          "Clients that read server-sent events");
    self->commit_to_frame =
        metrics_duration(metrics, "taskwire_commit_to_frame_seconds", NULL,
                         "From the time of an event until it is written to a socket");
    return self;
}

static void free_followed(hub_t *self, followed_t *followed)
{
    self->n_ring_bytes -= followed->ring.n_bytes;
    ring_fini(&followed->ring);
    link_leave(&followed->lru);
    link_leave(&followed->unsaid);
    link_leave(&followed->recheck);
    idmap_remove(&self->followed, &followed->node);
    free(followed);
}

void hub_destroy(hub_t **self_p)
{
    hub_t *self = *self_p;
    if (self == NULL)
        return;
    idnode_t *next;
    for (idnode_t *node = idmap_walk(&self->followed, NULL); node != NULL; node = next) {
        next = idmap_walk(&self->followed, node);
        free_followed(self, LINK_OWNER(node, followed_t, node));
    }
    idmap_fini(&self->followed);
    idmap_fini(&self->accounts);
    port_destroy(&self->sync);
    arena_destroy(&self->arena);
    pg_params_fini(&self->params);
    free(self);
    *self_p = NULL;
}

size_t hub_n_streams(const hub_t *self)
{
    return self->followed.n;
}

/* --- what sync is told --- */

static bool tell(hub_t *self, const followed_t *followed, bool on)
{
    if (self->sync == NULL || !port_has_room(self->sync))
        return false;
    watch_t watch = {self->gateway->index, followed->node.id, on};
    message_t message;
    watch_encode(&watch, &message);
    return port_send(self->sync, &message) == ERR_OK;
}

/* Brings what sync knows in line with what is wanted; frees the stream if nobody wants it. */
static void settle(hub_t *self, followed_t *followed)
{
    bool is_wanted = !link_is_alone(&followed->subscriptions);
    link_leave(&followed->unsaid);
    if (is_wanted && !followed->is_asked)
        followed->is_asked = tell(self, followed, true);
    else if (!is_wanted && followed->is_watched)
        followed->is_asked = !tell(self, followed, false);
    if (is_wanted ? !followed->is_asked : followed->is_watched && followed->is_asked)
        link_append(&self->unsaid, &followed->unsaid); /* sync's inbox is full */
    else if (!is_wanted && !followed->is_asked && !followed->is_rechecking)
        free_followed(self, followed);
}

/* Each once: those that cannot be settled now go to the end of the list. */
void hub_tick(hub_t *self)
{
    const link_t *last = self->unsaid.prev;
    const link_t *link = NULL;
    while (link != last && !link_is_alone(&self->unsaid)) {
        link = self->unsaid.next;
        settle(self, LINK_OWNER(self->unsaid.next, followed_t, unsaid));
    }
}

void hub_settle_later(hub_t *self, followed_t *followed)
{
    link_append(&self->unsaid, &followed->unsaid);
}

bool hub_is_epoch(const hub_t *self, slice_t epoch)
{
    return slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS));
}

static followed_t *find(const hub_t *self, const uuid_t *stream)
{
    idnode_t *node = idmap_find(&self->followed, stream);
    return node == NULL ? NULL : LINK_OWNER(node, followed_t, node);
}

static followed_t *follow(hub_t *self, const uuid_t *stream)
{
    followed_t *followed = calloc(1, sizeof *followed);
    if (followed == NULL)
        abort();
    link_init(&followed->subscriptions);
    link_init(&followed->lru);
    link_init(&followed->unsaid);
    link_init(&followed->recheck);
    ring_init(&followed->ring, &ring_limits);
    idmap_put(&self->followed, &followed->node, stream);
    return followed;
}

void hub_join(hub_t *self, subscription_t *subscription, const uuid_t *stream)
{
    followed_t *followed = find(self, stream);
    if (followed == NULL)
        followed = follow(self, stream);
    subscription->followed = followed;
    link_append(&followed->subscriptions, &subscription->of_stream);
    metric_add(self->n_subscribers, 1);
    settle(self, followed);
    if (followed->is_watched)
        subscription_followed(subscription);
}

void hub_leave(hub_t *self, subscription_t *subscription)
{
    followed_t *followed = subscription->followed;
    link_leave(&subscription->of_stream);
    subscription->followed = NULL;
    metric_add(self->n_subscribers, -1);
    /* Not now: the caller may be walking the stream's subscriptions. */
    if (link_is_alone(&followed->subscriptions))
        hub_settle_later(self, followed);
}

/* --- what sync says --- */

/* Calls `f` with each subscription of the stream; `f` may end the one that it is given. */
static void for_each(followed_t *followed, void (*f)(subscription_t *subscription))
{
    link_t *next;
    for (link_t *link = followed->subscriptions.next; link != &followed->subscriptions;
         link = next) {
        next = link->next;
        f(LINK_OWNER(link, subscription_t, of_stream));
    }
}

static void relapse(subscription_t *subscription)
{
    cursor_relapse(&subscription->cursor, &subscription->followed->ring);
}

static void tell_followed(subscription_t *subscription)
{
    if (subscription->phase == SUB_FOLLOWING)
        subscription_followed(subscription);
}

static void deliver_if_flowing(subscription_t *subscription)
{
    if (subscription->phase == SUB_FLOWING)
        deliver_later(subscription);
}

static void drop_ring(hub_t *self, followed_t *followed, int64_t next)
{
    self->n_ring_bytes -= followed->ring.n_bytes;
    ring_drop(&followed->ring, next);
    link_leave(&followed->lru);
}

/* For a stream that is followed already: frames were missed because our inbox was full. Those that
 * sync still has come right behind this. */
static void repair(hub_t *self, followed_t *followed, const watched_t *watched)
{
    if (watched->first <= followed->ring.next)
        return;
    drop_ring(self, followed, watched->first);
    for_each(followed, relapse);
    for_each(followed, deliver_if_flowing);
}

static void on_watched(hub_t *self, mp_reader_t *content)
{
    watched_t watched;
    if (!watched_decode(content, &watched))
        return;
    followed_t *followed = find(self, &watched.stream);
    memcpy(self->epoch, watched.epoch, EPOCH_CHARS);
    if (followed == NULL)
        return;
    if (followed->is_watched) {
        repair(self, followed, &watched);
        return;
    }
    followed->is_watched = true;
    drop_ring(self, followed, watched.next == 0 ? 0 : watched.first);
    for_each(followed, tell_followed);
    hub_settle_later(self, followed);
}

static void bound_rings(hub_t *self)
{
    link_t *oldest;
    while (self->n_ring_bytes > RINGS_MAX_BYTES && (oldest = link_first(&self->lru)) != NULL) {
        followed_t *followed = LINK_OWNER(oldest, followed_t, lru);
        drop_ring(self, followed, followed->ring.next);
    }
}

/* Adds the frames; true if the ring had to begin anew. */
static bool put_frames(hub_t *self, followed_t *followed, slice_t message)
{
    bool is_restarted = false;
    size_t before = followed->ring.n_bytes;
    for (size_t i = 0; i < frames_count(message); i++)
        is_restarted |= ring_put(&followed->ring, frames_at(message, i)) == RING_RESTARTED;
    self->n_ring_bytes += followed->ring.n_bytes - before;
    link_append(&self->lru, &followed->lru);
    bound_rings(self);
    return is_restarted;
}

/* Frames from before the stream was given up may still be under way when it is followed anew. */
static void on_frames(hub_t *self, slice_t message)
{
    if (frames_count(message) == 0)
        return;
    followed_t *followed = find(self, frame_stream(frames_at(message, 0)));
    if (followed == NULL || !followed->is_watched)
        return;
    if (put_frames(self, followed, message))
        for_each(followed, relapse);
    for_each(followed, deliver_if_flowing);
}

/* Of nobody: of everybody. */
static void on_access(hub_t *self, mp_reader_t *content)
{
    access_t access;
    if (!access_decode(content, &access))
        return;
    if (uuid_is_nil(&access.account) && uuid_is_nil(&access.list))
        auth_forget_all(self->gateway->auth);
    recheck_access(self, &access);
}

static void restart(subscription_t *subscription)
{
    if (subscription_is_showing(subscription))
        subscription_reset(subscription, "the history is another one");
    else if (subscription->phase == SUB_FOLLOWING)
        subscription_followed(subscription);
    else
        subscription_ask_again(subscription);
}

/* Who was shown something of the former history begins anew; who has not been answered yet is
 * checked again. And what is known of tokens and memberships was of the former history too. */
static void on_epoch(hub_t *self, mp_reader_t *content)
{
    char epoch[EPOCH_CHARS];
    if (!epoch_decode(content, epoch))
        return;
    log_line(LOG_WARN, "gateway", "the history is another one", "epoch=%.*s", EPOCH_CHARS, epoch);
    memcpy(self->epoch, epoch, EPOCH_CHARS);
    idnode_t *next;
    for (idnode_t *node = idmap_walk(&self->followed, NULL); node != NULL; node = next) {
        next = idmap_walk(&self->followed, node);
        followed_t *followed = LINK_OWNER(node, followed_t, node);
        drop_ring(self, followed, 0);
        if (followed->is_watched)
            for_each(followed, restart);
    }
    access_t everything = {UUID_NIL, UUID_NIL, UUID_NIL};
    recheck_access(self, &everything);
}

/* Nobody who follows has done anything wrong: who has not had all of it reads on in the log. */
static void forget_frames(hub_t *self, followed_t *followed)
{
    drop_ring(self, followed, followed->ring.next);
    for_each(followed, relapse);
    for_each(followed, deliver_if_flowing);
}

static void on_purged(hub_t *self, mp_reader_t *content)
{
    uuid_t stream;
    if (!purged_decode(content, &stream))
        return;
    followed_t *followed = find(self, &stream);
    if (followed != NULL)
        forget_frames(self, followed);
    if (!uuid_is_nil(&stream))
        return;
    idnode_t *next;
    for (idnode_t *node = idmap_walk(&self->followed, NULL); node != NULL; node = next) {
        next = idmap_walk(&self->followed, node);
        forget_frames(self, LINK_OWNER(node, followed_t, node));
    }
}

void hub_receive(hub_t *self, message_kind_t kind, mp_reader_t *content, slice_t message)
{
    if (kind == MESSAGE_FRAMES)
        on_frames(self, message);
    else if (kind == MESSAGE_WATCHED)
        on_watched(self, content);
    else if (kind == MESSAGE_ACCESS)
        on_access(self, content);
    else if (kind == MESSAGE_EPOCH)
        on_epoch(self, content);
    else if (kind == MESSAGE_PURGED)
        on_purged(self, content);
    hub_tick(self);
}
