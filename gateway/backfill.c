/* SPDX-License-Identifier: Apache-2.0 */
/* Events for who is behind the ring, from the log, page by page: a page is read when the socket has
 * taken the one before it. So however far behind and however slow a client is, it holds one page;
 * and of pages there are only so many. Who holds one and does not read while others wait loses it
 * again, and reads it anew when its socket takes something.
 *
 * Each page looks access up as well: between a removal's commit and the moment when we hear of it
 * the log already holds what the removed member must not see. */
#include "gateway/subscribe.h"

#include <stdlib.h>

#include "actors/frame.h"
#include "actors/log.h"

#define MAX_PAGES 16
#define PAGE_EVENTS "256"
#define PAGE_BYTES "262144"
#define STALL_US (2 * US_PER_S)

struct page {
    buf_t frames; /* length and bytes of each */
    size_t at;
    int64_t touched_us; /* when the socket took something of it; monotonic */
};

/* Revs are dense, so a range of them bounds the page. One row with nulls if access is there and the
 * log has nothing more; none without access. */
static const pg_stmt_t select_page = {
    "SELECT p.rev, p.body, e.epoch FROM stream s CROSS JOIN log_epoch e LEFT JOIN LATERAL ("
    "SELECT v.rev, v.body FROM (SELECT rev, body, sum(coalesce(octet_length(body), 0)) OVER"
    " (ORDER BY rev) - coalesce(octet_length(body), 0) AS before FROM event"
    " WHERE stream = $1::uuid AND rev >= $3::bigint AND rev < $3::bigint + " PAGE_EVENTS ") v"
    " WHERE v.before < " PAGE_BYTES ") p ON true"
    " WHERE s.id = $1::uuid AND " SUBSCRIBE_MAY_READ " ORDER BY p.rev"};

static void on_page(void *arg, pg_fate_t fate, const pg_result_t *result);

static err_t ask_page(subscription_t *self)
{
    hub_t *hub = self->ws->hub;
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, subscription_stream(self));
    pg_put_uuid(&hub->params, &self->ws->by_account.id);
    pg_put_i64(&hub->params, self->cursor.next);
    ask_t *ask = ask_new(hub, self);
    err_t err = reads_query(hub->gateway->reads, &select_page, &hub->params, on_page, ask);
    if (err != ERR_OK) {
        free(ask);
        return err;
    }
    self->ask = ask;
    hub->n_pages++;
    link_leave(&self->waiting);
    return ERR_OK;
}

/* What the database does not take now is tried again with the next page, or in a second. */
static void pump(hub_t *hub)
{
    while (hub->n_pages < MAX_PAGES && !link_is_alone(&hub->pages)) {
        if (ask_page(LINK_OWNER(hub->pages.next, subscription_t, waiting)) != ERR_OK)
            return;
    }
}

void backfill_want(subscription_t *self)
{
    if (self->ask != NULL || !link_is_alone(&self->waiting))
        return;
    link_append(&self->ws->hub->pages, &self->waiting);
    pump(self->ws->hub);
}

/* --- a page --- */

/* Appends the event as the client gets it, behind its length. */
static bool put_event(slice_t body, encoding_t encoding, buf_t *out)
{
    event_t event;
    size_t start = out->n_bytes;
    uint32_t n_bytes = 0;
    if (!event_decode(body, &event))
        return false;
    buf_append(out, &n_bytes, sizeof n_bytes);
    size_t place = frame_open(out);
    buf_append_str(out, "{\"op\":\"event\",");
    event_put_client_json(&event, out);
    buf_append_byte(out, '}');
    if (!frame_finish(out, place, encoding)) {
        out->n_bytes = start;
        return false;
    }
    n_bytes = (uint32_t)(out->n_bytes - place);
    memcpy(out->data + start, &n_bytes, sizeof n_bytes);
    return true;
}

/* Encodes the events as far as they follow each other; returns how many. */
static int encode(const subscription_t *self, const pg_result_t *result, buf_t *out)
{
    int n = 0;
    while (n < pg_rows(result) && pg_int(result, n, 0) == self->cursor.next + n &&
           !pg_is_null(result, n, 1) && put_event(pg_bytes(result, n, 1), self->ws->encoding, out))
        n++;
    return n;
}

/* Why not even one event could be shown. */
static void explain(subscription_t *self, const pg_result_t *result)
{
    if (pg_is_null(result, 0, 0) || pg_int(result, 0, 0) != self->cursor.next) {
        subscription_reset(self, "the log has a gap");
    } else if (pg_is_null(result, 0, 1)) {
        subscription_reset(self, "an event was purged");
    } else {
        log_line(LOG_ERROR, "gateway", "an event in the log cannot be read", "rev=%lld",
                 (long long)self->cursor.next);
        subscription_refuse(self, ERR_INTERNAL, "An event of this stream cannot be read.");
    }
}

static void keep(subscription_t *self, buf_t *frames)
{
    hub_t *hub = self->ws->hub;
    self->page = calloc(1, sizeof *self->page);
    if (self->page == NULL)
        abort();
    self->page->frames = *frames;
    self->page->touched_us = hub->gateway->now.mono_us;
    hub->n_pages++;
    link_append(&hub->held_pages, &self->waiting);
    deliver_later(self);
}

static void take(subscription_t *self, const pg_result_t *result)
{
    if (pg_rows(result) == 0) {
        subscription_remove(self);
        return;
    }
    if (!hub_is_epoch(self->ws->hub, pg_bytes(result, 0, 2))) {
        subscription_reset(self, "the history is another one");
        return;
    }
    buf_t frames = {0};
    if (encode(self, result, &frames) > 0) {
        keep(self, &frames);
        return;
    }
    buf_fini(&frames);
    explain(self, result);
}

static void on_page(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    subscription_t *self = ask->asker;
    hub_t *hub = ask->hub;
    free(ask);
    hub->n_pages--;
    if (self != NULL) {
        self->ask = NULL;
        if (fate == PG_OK)
            take(self, result);
        else if (fate == PG_REJECTED)
            subscription_refuse(self, ERR_INTERNAL, NULL);
        else
            link_append(&hub->pages, &self->waiting);
    }
    if (fate == PG_OK)
        pump(hub);
}

/* --- writing --- */

static void free_page(subscription_t *self)
{
    buf_fini(&self->page->frames);
    free(self->page);
    self->page = NULL;
    self->ws->hub->n_pages--;
    link_leave(&self->waiting);
}

bool backfill_put(subscription_t *self, buf_t *out, size_t end)
{
    hub_t *hub = self->ws->hub;
    page_t *page = self->page;
    int64_t first = self->cursor.next;
    while (page->at < page->frames.n_bytes && out->n_bytes < end) {
        uint32_t n_bytes;
        memcpy(&n_bytes, page->frames.data + page->at, sizeof n_bytes);
        page->at += sizeof n_bytes;
        buf_append(out, page->frames.data + page->at, n_bytes);
        page->at += n_bytes;
        self->cursor.next++;
    }
    metric_add(hub->n_frames_sent, self->cursor.next - first);
    page->touched_us = hub->gateway->now.mono_us;
    link_append(&hub->held_pages, &self->waiting);
    if (page->at == page->frames.n_bytes)
        backfill_drop(self);
    return true;
}

void backfill_drop(subscription_t *self)
{
    if (self->page == NULL)
        return;
    free_page(self);
    pump(self->ws->hub);
}

/* Takes pages away from who does not read, as long as others wait. */
void backfill_tick(hub_t *hub)
{
    int64_t limit_us = hub->gateway->now.mono_us - STALL_US;
    pump(hub);
    while (!link_is_alone(&hub->pages) && !link_is_alone(&hub->held_pages)) {
        subscription_t *self = LINK_OWNER(hub->held_pages.next, subscription_t, waiting);
        if (self->page->touched_us > limit_us)
            return;
        backfill_drop(self);
    }
}
