/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a stream for a client that cannot resume. One statement reads membership, head and
 * tasks, so all of it is of one moment, and holds no transaction open while a slow client takes its
 * time: the tasks' stored bytes are kept here, and turned into JSON message by message as the
 * socket takes them.
 *
 * So memory is what must be bounded: few are loaded at once, none when those held are too much
 * already, and a single one has a largest size. Who holds one and does not read while others wait
 * loses it. */
#include "gateway/subscribe.h"

#include <stdlib.h>

#include "actors/frame.h"
#include "actors/log.h"
#include "gateway/ws_reply.h"
#include "schema/json.h"

#define MAX_LOADING 2
#define MAX_BYTES "67108864" /* of one */
#define HELD_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define PAGE_TASKS 200
#define PAGE_BYTES ((size_t)128 * 1024)
#define STALL_US (10 * US_PER_S)

struct snapshot {
    char epoch[EPOCH_CHARS];
    int64_t head;
    buf_t tasks; /* length and bytes of each */
    buf_t account; /* of an account's: the pairs "account" and "lists" as JSON */
    size_t at;
    bool has_begun;
    int64_t touched_us; /* when the socket took something of it; monotonic */
};

/* One row per task, one with nulls if there is none, none at all without access. The first task
 * beyond the largest size still comes, so that this can be told. */
#define SELECT_TASKS(from)                                                                         \
    "SELECT s.head, e.epoch, t.body, t.total > " MAX_BYTES                                         \
    " FROM stream s CROSS JOIN log_epoch e LEFT JOIN LATERAL ("                                    \
    "SELECT u.body, u.total FROM (SELECT body, sum(octet_length(body)) OVER"                       \
    " (ORDER BY position, id ROWS UNBOUNDED PRECEDING) AS total FROM (" from                       \
    ") r) u WHERE u.total - octet_length(u.body) <= " MAX_BYTES ") t ON true"                      \
    " WHERE s.id = $1::uuid AND " SUBSCRIBE_MAY_READ
#define LIVE_TASKS                                                                                 \
    "SELECT position, id, body FROM task"                                                          \
    " WHERE list = $1::uuid AND status < 2 AND deleted_at IS NULL"
#define CLOSED_TASKS                                                                               \
    "SELECT position, id, body FROM task WHERE list = $1::uuid"                                    \
    " AND NOT (status < 2 AND deleted_at IS NULL) AND deleted_at IS NULL"

static const pg_stmt_t select_live = {SELECT_TASKS(LIVE_TASKS)};
static const pg_stmt_t select_all = {SELECT_TASKS(LIVE_TASKS " UNION ALL " CLOSED_TASKS)};

static const pg_stmt_t select_account = {
    "SELECT s.head, e.epoch, a.rev, a.email, a.name, a.time_zone, a.created_at, a.updated_at,"
    " l.id, l.title, l.rev, ls.head, m.role, ls.n_open, l.is_archived, l.created_at, l.created_by,"
    " l.updated_at, a.all_day_reminder_time"
    " FROM stream s CROSS JOIN log_epoch e JOIN account a ON a.id = s.id"
    " LEFT JOIN (member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " JOIN stream ls ON ls.id = l.id) ON m.account = s.id"
    " WHERE s.id = $1::uuid AND s.id = $2::uuid AND s.is_account ORDER BY l.id"};

static void on_loaded(void *arg, pg_fate_t fate, const pg_result_t *result);

/* --- loading --- */

static err_t ask_state(subscription_t *self)
{
    hub_t *hub = self->ws->hub;
    const pg_stmt_t *stmt = subscription_is_account(self) ? &select_account
                            : self->opening->closed       ? &select_all
                                                          : &select_live;
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, subscription_stream(self));
    pg_put_uuid(&hub->params, &self->ws->by_account.id);
    ask_t *ask = ask_new(hub, self);
    err_t err = reads_query(hub->gateway->reads, stmt, &hub->params, on_loaded, ask);
    if (err != ERR_OK) {
        free(ask);
        return err;
    }
    self->ask = ask;
    self->must_check_again = false;
    hub->n_loading++;
    link_leave(&self->waiting);
    return ERR_OK;
}

static void pump(hub_t *hub)
{
    link_t *link;
    while (hub->n_loading < MAX_LOADING && hub->n_snapshot_bytes < HELD_MAX_BYTES &&
           (link = link_first(&hub->snapshots)) != NULL) {
        subscription_t *self = LINK_OWNER(link, subscription_t, waiting);
        err_t err = ask_state(self);
        if (err == ERR_OVERLOADED)
            return; /* again with the next one that is loaded, or in a second */
        if (err != ERR_OK)
            subscription_refuse(self, err, NULL);
    }
}

void snapshot_want(subscription_t *self)
{
    hub_t *hub = self->ws->hub;
    self->phase = SUB_SHOWING;
    if (self->ask != NULL || !link_is_alone(&self->waiting))
        return;
    link_append(&hub->snapshots, &self->waiting);
    pump(hub);
}

static size_t cost(const snapshot_t *self)
{
    return sizeof *self + self->tasks.n_bytes + self->account.n_bytes;
}

static void put_list(const pg_result_t *result, int row, buf_t *out)
{
    uuid_t id = pg_uuid(result, row, 8);
    uuid_t created_by = pg_uuid(result, row, 16);
    char text[UUID_TEXT_CHARS];
    uuid_format(&id, text);
    buf_format(out, "{\"id\":\"%.*s\"", UUID_TEXT_CHARS, text);
    ws_put_text(out, "title", pg_bytes(result, row, 9));
    ws_put_int(out, "rev", pg_int(result, row, 10));
    ws_put_int(out, "head", pg_int(result, row, 11));
    ws_put_text(out, "role", slice_str(role_name((role_t)pg_int(result, row, 12))));
    ws_put_int(out, "open", pg_int(result, row, 13));
    ws_put_bool(out, "archived", pg_bool(result, row, 14));
    ws_put_instant(out, "created_at", pg_instant(result, row, 15));
    ws_put_id(out, "created_by", &created_by);
    ws_put_instant(out, "updated_at", pg_instant(result, row, 17));
    buf_append_byte(out, '}');
}

static void put_account(const subscription_t *self, const pg_result_t *result, buf_t *out)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(subscription_stream(self), text);
    ws_put_key(out, "account");
    buf_format(out, "{\"id\":\"%.*s\"", UUID_TEXT_CHARS, text);
    ws_put_int(out, "rev", pg_int(result, 0, 2));
    ws_put_text(out, "email", pg_bytes(result, 0, 3));
    ws_put_text(out, "name", pg_bytes(result, 0, 4));
    ws_put_text(out, "time_zone", pg_bytes(result, 0, 5));
    ws_put_text(out, "all_day_reminder_time", pg_bytes(result, 0, 18));
    ws_put_instant(out, "created_at", pg_instant(result, 0, 6));
    ws_put_instant(out, "updated_at", pg_instant(result, 0, 7));
    buf_append_byte(out, '}');
    ws_put_key(out, "lists");
    buf_append_byte(out, '[');
    for (int row = 0; row < pg_rows(result) && !pg_is_null(result, row, 8); row++) {
        if (row > 0)
            buf_append_byte(out, ',');
        put_list(result, row, out);
    }
    buf_append_byte(out, ']');
}

static void keep_tasks(const pg_result_t *result, buf_t *out)
{
    for (int row = 0; row < pg_rows(result); row++) {
        slice_t body = pg_bytes(result, row, 2);
        uint32_t n_bytes = (uint32_t)body.n_bytes;
        if (body.data == NULL)
            continue;
        buf_append(out, &n_bytes, sizeof n_bytes);
        buf_append_slice(out, body);
    }
}

static void keep(subscription_t *self, const pg_result_t *result)
{
    hub_t *hub = self->ws->hub;
    snapshot_t *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL)
        abort();
    slice_t epoch = pg_bytes(result, 0, 1);
    size_t n_epoch = epoch.n_bytes < EPOCH_CHARS ? epoch.n_bytes : EPOCH_CHARS;
    snapshot->head = pg_int(result, 0, 0);
    memcpy(snapshot->epoch, epoch.data, n_epoch);
    if (subscription_is_account(self))
        put_account(self, result, &snapshot->account);
    else
        keep_tasks(result, &snapshot->tasks);
    snapshot->touched_us = hub->gateway->now.mono_us;
    self->snapshot = snapshot;
    hub->n_snapshot_bytes += cost(snapshot);
    link_append(&hub->held_snapshots, &self->waiting);
    deliver_later(self);
}

static bool is_too_large(const subscription_t *self, const pg_result_t *result)
{
    if (subscription_is_account(self))
        return false;
    for (int row = 0; row < pg_rows(result); row++) {
        if (!pg_is_null(result, row, 3) && pg_bool(result, row, 3))
            return true;
    }
    return false;
}

static void take(subscription_t *self, pg_fate_t fate, const pg_result_t *result)
{
    if (fate == PG_REJECTED)
        subscription_refuse(self, ERR_INTERNAL, NULL);
    else if (fate != PG_OK)
        subscription_refuse(self, ERR_UNAVAILABLE, NULL);
    else if (self->must_check_again)
        snapshot_want(self);
    else if (pg_rows(result) == 0)
        subscription_refuse(self, ERR_NOT_FOUND, SUBSCRIBE_NOT_FOUND);
    else if (!hub_is_epoch(self->ws->hub, pg_bytes(result, 0, 1)))
        subscription_await_epoch(self);
    else if (is_too_large(self, result))
        subscription_refuse(self, ERR_TOO_LARGE, "Page through the tasks of this list instead.");
    else
        keep(self, result);
}

static void on_loaded(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    subscription_t *self = ask->asker;
    hub_t *hub = ask->hub;
    free(ask);
    hub->n_loading--;
    if (self != NULL) {
        self->ask = NULL;
        take(self, fate, result);
    }
    pump(hub);
}

/* --- writing --- */

/* Appends tasks as JSON: so many as make one message. */
static void put_tasks(snapshot_t *self, buf_t *out)
{
    size_t start = self->at;
    int n = 0;
    for (int i = 0; i < PAGE_TASKS && self->at < self->tasks.n_bytes; i++) {
        uint32_t n_bytes;
        memcpy(&n_bytes, self->tasks.data + self->at, sizeof n_bytes);
        if (i > 0 && self->at + n_bytes - start > PAGE_BYTES)
            return;
        slice_t body = slice_of(self->tasks.data + self->at + sizeof n_bytes, n_bytes);
        size_t before = out->n_bytes;
        if (n > 0)
            buf_append_byte(out, ',');
        if (json_from_mp(body, out)) {
            n++;
        } else {
            out->n_bytes = before;
            log_line(LOG_ERROR, "gateway", "a stored task cannot be read", NULL);
        }
        self->at += sizeof n_bytes + n_bytes;
    }
}

static void put_message(subscription_t *self, buf_t *out)
{
    snapshot_t *snapshot = self->snapshot;
    char *ref = self->opening->ref;
    size_t place = frame_open(out);
    ws_put_op(out, "snapshot", ref != NULL ? slice_str(ref) : slice_none());
    ws_put_id(out, "stream", subscription_stream(self));
    ws_put_text(out, "epoch", slice_of(snapshot->epoch, EPOCH_CHARS));
    ws_put_int(out, "rev", snapshot->head);
    buf_append_slice(out, buf_slice(&snapshot->account));
    ws_put_key(out, "tasks");
    buf_append_byte(out, '[');
    put_tasks(snapshot, out);
    buf_append_byte(out, ']');
    ws_put_bool(out, "more", snapshot->at < snapshot->tasks.n_bytes);
    buf_append_byte(out, '}');
    (void)frame_finish(out, place, self->ws->encoding);
    snapshot->has_begun = true;
}

bool snapshot_put(subscription_t *self, buf_t *out)
{
    hub_t *hub = self->ws->hub;
    put_message(self, out);
    self->snapshot->touched_us = hub->gateway->now.mono_us;
    link_append(&hub->held_snapshots, &self->waiting);
    if (self->snapshot->at < self->snapshot->tasks.n_bytes)
        return true;
    int64_t head = self->snapshot->head;
    snapshot_drop(self);
    subscription_flow(self, head, head);
    return true;
}

bool snapshot_has_begun(const subscription_t *self)
{
    return self->snapshot != NULL && self->snapshot->has_begun;
}

void snapshot_drop(subscription_t *self)
{
    snapshot_t *snapshot = self->snapshot;
    if (snapshot == NULL)
        return;
    self->ws->hub->n_snapshot_bytes -= cost(snapshot);
    self->snapshot = NULL;
    link_leave(&self->waiting);
    buf_fini(&snapshot->tasks);
    buf_fini(&snapshot->account);
    free(snapshot);
    pump(self->ws->hub);
}

/* One that has not begun to go out is loaded anew when its socket takes something. */
static void revoke(subscription_t *self)
{
    if (snapshot_has_begun(self))
        subscription_reset(self, "too slow");
    else
        snapshot_drop(self);
}

void snapshot_tick(hub_t *hub)
{
    int64_t limit_us = hub->gateway->now.mono_us - STALL_US;
    pump(hub);
    while (!link_is_alone(&hub->snapshots) && hub->n_snapshot_bytes >= HELD_MAX_BYTES &&
           !link_is_alone(&hub->held_snapshots)) {
        subscription_t *self = LINK_OWNER(hub->held_snapshots.next, subscription_t, waiting);
        if (self->snapshot->touched_us > limit_us)
            return;
        revoke(self);
    }
}
