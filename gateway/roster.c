/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that follows everything that its account may read: its own stream, and each of its
 * lists. Which lists those are is read from PostgreSQL, and again whenever a membership of the
 * account has changed; what is new then is subscribed to like any other stream. What is lost needs
 * nothing here: recheck.c ends it, as it ends every subscription whose access is gone.
 *
 * Nothing is missed: the lists are read for the first time only when the account's stream is being
 * followed, that is, when sync reads the log; so each later change of a membership is told by
 * ACCESS, and one that is told while the lists are being read has them read once more. A token that
 * is for some lists only follows just those of them that the account has: they are tried one by
 * one, and each is followed before it is looked up.
 *
 * A stream that the client has let go of, or that was reset, is the client's to ask for again. */
#include "gateway/subscribe.h"

#include <stdlib.h>

#include "gateway/ws_reply.h"

#define MAX_READING 32 /* at once, of a gateway */
#define MAX_LISTS "1000" /* as many as a socket can be subscribed to */

/* In the order of their ids; n: how many there are, those beyond the limit included. */
static const pg_stmt_t select_lists = {
    "SELECT m.list, count(*) OVER () AS n"
    " FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.account = $1::uuid AND ($2::uuid[] IS NULL OR m.list = ANY($2::uuid[]))"
    " ORDER BY m.list LIMIT " MAX_LISTS};

static const pg_stmt_t select_accounts = {
    "SELECT m.account FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.list = $1::uuid"};

/* What the client has of a stream. */
typedef struct {
    uuid_t stream;
    int64_t rev;
} place_t;

struct roster {
    link_t of_hub; /* in hub.rosters */
    link_t waiting; /* in hub.unread_rosters until it can be read */
    ws_t *ws;
    ask_t *ask; /* while it is read */
    bool must_read_again;
    bool is_gated; /* until the account's stream is followed */
    bool has_read; /* the request is answered: nothing of it counts any more */
    bool closed;
    char *ref; /* JSON; NULL: none */
    place_t *places; /* by stream */
    uint32_t n_places;
    buf_t epoch; /* empty: none */
    uuid_t *known; /* the lists as they were when they were read last, in order */
    uint32_t n_known;
    int64_t n_left_out; /* as the client was told */
};

/* --- known lists --- */

static uint32_t place_of(const roster_t *self, const uuid_t *list)
{
    uint32_t first = 0;
    uint32_t end = self->n_known;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (memcmp(self->known[middle].bytes, list->bytes, UUID_BYTES) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static bool is_known(const roster_t *self, const uuid_t *list)
{
    uint32_t at = place_of(self, list);
    return at < self->n_known && uuid_eq(&self->known[at], list);
}

/* --- what the client had --- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(((const uuid_t *)a)->bytes, ((const uuid_t *)b)->bytes, UUID_BYTES);
}

/* `afters` is a map of stream → rev that was checked when the request was read. */
static void keep_places(roster_t *self, slice_t afters)
{
    mp_reader_t reader = mp_reader(afters);
    uint32_t n_pairs = 0;
    if (afters.data == NULL || !mp_get_map(&reader, &n_pairs) || n_pairs == 0)
        return;
    self->places = calloc(n_pairs, sizeof *self->places);
    if (self->places == NULL)
        abort();
    for (uint32_t i = 0; i < n_pairs; i++) {
        place_t *place = &self->places[self->n_places];
        if (!mp_get_uuid(&reader, &place->stream) || !mp_get_int(&reader, &place->rev))
            break;
        self->n_places++;
    }
    qsort(self->places, self->n_places, sizeof *self->places, compare_ids);
}

static bool find_after(const roster_t *self, const uuid_t *stream, int64_t *out)
{
    if (self->n_places == 0)
        return false;
    const place_t *place =
        bsearch(stream, self->places, self->n_places, sizeof *self->places, compare_ids);
    if (place != NULL)
        *out = place->rev;
    return place != NULL;
}

/* The request for one stream, as the client might have made it itself. */
static ws_request_t request_for(const roster_t *self, const uuid_t *stream)
{
    ws_request_t request = {.op = WS_OP_SUBSCRIBE, .stream = *stream, .closed = self->closed};
    if (self->has_read)
        return request;
    if (self->ref != NULL)
        request.ref = slice_str(self->ref);
    if (self->epoch.n_bytes > 0)
        request.epoch = buf_slice(&self->epoch);
    request.has_after = find_after(self, stream, &request.after);
    return request;
}

/* --- beginning and end --- */

static void free_request(roster_t *self)
{
    free(self->ref);
    self->ref = NULL;
    free(self->places);
    self->places = NULL;
    self->n_places = 0;
    buf_fini(&self->epoch);
}

void roster_drop(ws_t *ws)
{
    roster_t *self = ws->roster;
    if (self == NULL)
        return;
    ws->roster = NULL;
    if (self->ask != NULL)
        self->ask->asker = NULL;
    link_leave(&self->of_hub);
    link_leave(&self->waiting);
    free_request(self);
    free(self->known);
    free(self);
}

static roster_t *roster_new(ws_t *ws, const ws_request_t *request)
{
    roster_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    link_init(&self->of_hub);
    link_init(&self->waiting);
    self->ws = ws;
    self->closed = request->closed;
    if (request->ref.data != NULL) {
        self->ref = strndup((const char *)request->ref.data, request->ref.n_bytes);
        if (self->ref == NULL)
            abort();
    }
    keep_places(self, request->afters);
    buf_append_slice(&self->epoch, request->epoch);
    link_append(&ws->hub->rosters, &self->of_hub);
    return self;
}

static slice_t ref_of(const roster_t *self)
{
    return self->ref != NULL ? slice_str(self->ref) : slice_none();
}

/* --- what was read --- */

static void say_removed(roster_t *self, const uuid_t *stream)
{
    ws_t *ws = self->ws;
    size_t place = ws_begin(ws);
    ws_put_op(&ws->outbox, "removed", ref_of(self));
    ws_put_id(&ws->outbox, "stream", stream);
    ws_end(ws, place);
}

/* Positions of streams that are not the account's, or not any more. */
static void say_what_is_lost(roster_t *self)
{
    for (uint32_t i = 0; i < self->n_places; i++) {
        const uuid_t *stream = &self->places[i].stream;
        bool is_mine = self->ws->n_lists == 0 && uuid_eq(stream, &self->ws->by_account.id);
        if (!is_mine && !is_known(self, stream))
            say_removed(self, stream);
    }
}

/* Each time that there are more. */
static void say_what_is_left_out(roster_t *self, int64_t n_left_out)
{
    problem_t problem = {.err = ERR_OVERLOADED};
    if (n_left_out > self->n_left_out) {
        problem.detail = arena_format(self->ws->hub->arena,
                                      "A connection follows " MAX_LISTS
                                      " streams; %lld of your lists are left out.",
                                      (long long)n_left_out);
        ws_refuse(self->ws, ref_of(self), &problem);
    }
    self->n_left_out = n_left_out;
}

/* Follows a list, unless there is no room. One that the client has asked for by itself meanwhile
 * stays as it is. */
static bool take_list(roster_t *self, const uuid_t *list)
{
    bool is_there = subscription_find(self->ws, list) != NULL;
    if (is_known(self, list) || (is_there && self->has_read))
        return true;
    if (!is_there && self->ws->n_subscriptions >= WS_MAX_SUBSCRIPTIONS)
        return false;
    ws_request_t request = request_for(self, list);
    ws_charge(self->ws);
    subscription_begin(self->ws, &request, true);
    return true;
}

/* These are the lists now, in order; `n_all` with those beyond the limit. */
static void take_lists(roster_t *self, const uuid_t *lists, uint32_t n_lists, int64_t n_all)
{
    uuid_t *known = malloc((n_lists + 1) * sizeof *known);
    uint32_t n_known = 0;
    if (known == NULL)
        abort();
    for (uint32_t i = 0; i < n_lists; i++) {
        if (take_list(self, &lists[i]))
            known[n_known++] = lists[i];
    }
    free(self->known);
    self->known = known;
    self->n_known = n_known;
    if (!self->has_read)
        say_what_is_lost(self);
    say_what_is_left_out(self, n_all - n_known);
    self->has_read = true;
    free_request(self);
}

static void take(roster_t *self, const pg_result_t *result)
{
    uint32_t n_lists = (uint32_t)pg_rows(result);
    uuid_t *lists = malloc((n_lists + 1) * sizeof *lists);
    if (lists == NULL)
        abort();
    for (uint32_t i = 0; i < n_lists; i++)
        lists[i] = pg_uuid(result, (int)i, 0);
    take_lists(self, lists, n_lists, n_lists == 0 ? 0 : pg_int(result, 0, 1));
    free(lists);
}

/* --- reading --- */

static void on_lists(void *arg, pg_fate_t fate, const pg_result_t *result);

static err_t ask_lists(roster_t *self)
{
    hub_t *hub = self->ws->hub;
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, &self->ws->by_account.id);
    if (self->ws->n_lists == 0) {
        pg_put_null(&hub->params);
    } else {
        pg_array_begin(&hub->params, PG_UUID);
        for (uint32_t i = 0; i < self->ws->n_lists; i++)
            pg_array_uuid(&hub->params, &self->ws->lists[i]);
        pg_array_end(&hub->params);
    }
    ask_t *ask = ask_new(hub, self);
    err_t err = reads_query(hub->gateway->reads, &select_lists, &hub->params, on_lists, ask);
    if (err != ERR_OK) {
        free(ask);
        return err;
    }
    self->ask = ask;
    self->must_read_again = false;
    hub->n_reading_rosters++;
    link_leave(&self->waiting);
    return ERR_OK;
}

/* What the database does not take now is tried again with the next answer, or in a second. */
static void pump(hub_t *hub)
{
    link_t *link;
    while (hub->n_reading_rosters < MAX_READING &&
           (link = link_first(&hub->unread_rosters)) != NULL) {
        if (ask_lists(LINK_OWNER(link, roster_t, waiting)) != ERR_OK)
            return;
    }
}

static void want(roster_t *self)
{
    if (self->is_gated)
        return;
    if (self->ask != NULL)
        self->must_read_again = true;
    else
        link_append(&self->ws->hub->unread_rosters, &self->waiting);
}

/* Nobody has been answered yet, so it can be refused; later it is tried until it works. */
static void fail(roster_t *self, err_t err)
{
    problem_t problem = {.err = err};
    if (self->has_read) {
        want(self);
        return;
    }
    ws_refuse(self->ws, ref_of(self), &problem);
    roster_drop(self->ws);
}

static void on_lists(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    roster_t *self = ask->asker;
    hub_t *hub = ask->hub;
    free(ask);
    hub->n_reading_rosters--;
    if (self != NULL) {
        self->ask = NULL;
        if (fate != PG_OK)
            fail(self, fate == PG_REJECTED ? ERR_INTERNAL : ERR_UNAVAILABLE);
        else if (self->must_read_again)
            want(self);
        else
            take(self, result);
    }
    if (fate == PG_OK)
        pump(hub);
}

void roster_tick(hub_t *hub)
{
    pump(hub);
}

/* --- memberships that changed --- */

static void everybody(hub_t *hub)
{
    for (link_t *link = hub->rosters.next; link != &hub->rosters; link = link->next)
        want(LINK_OWNER(link, roster_t, of_hub));
}

static void those_of(hub_t *hub, const uuid_t *account)
{
    for (idnode_t *node = idmap_find(&hub->accounts, account); node != NULL;
         node = idmap_find_next(node)) {
        ws_t *ws = LINK_OWNER(node, ws_t, by_account);
        if (ws->roster != NULL)
            want(ws->roster);
    }
}

static void on_accounts(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    hub_t *hub = ask->hub;
    free(ask);
    if (fate != PG_OK)
        everybody(hub);
    for (int row = 0; fate == PG_OK && row < pg_rows(result); row++) {
        uuid_t account = pg_uuid(result, row, 0);
        those_of(hub, &account);
    }
    if (fate == PG_OK)
        pump(hub);
}

/* A list is there again, for whoever is a member. */
static void members_of(hub_t *hub, const uuid_t *list)
{
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, list);
    ask_t *ask = ask_new(hub, hub);
    err_t err = reads_query(hub->gateway->reads, &select_accounts, &hub->params, on_accounts, ask);
    if (err == ERR_OK)
        return;
    free(ask);
    everybody(hub);
}

void roster_access(hub_t *hub, const access_t *access)
{
    bool is_about_list = !uuid_is_nil(&access->list);
    if (link_is_alone(&hub->rosters))
        return;
    if (is_about_list && uuid_is_nil(&access->account))
        members_of(hub, &access->list);
    else if (is_about_list)
        those_of(hub, &access->account);
    else if (uuid_is_nil(&access->account))
        everybody(hub);
    pump(hub);
}

/* --- the client's requests, and what becomes of its subscriptions --- */

void roster_lost(ws_t *ws, const uuid_t *stream)
{
    roster_t *self = ws->roster;
    if (self == NULL || !is_known(self, stream))
        return;
    uint32_t at = place_of(self, stream);
    self->n_known--;
    memmove(&self->known[at], &self->known[at + 1], (self->n_known - at) * sizeof *self->known);
    want(self);
}

void roster_account_followed(ws_t *ws)
{
    roster_t *self = ws->roster;
    if (self == NULL || !self->is_gated)
        return;
    self->is_gated = false;
    want(self);
    pump(ws->hub);
}

void roster_account_refused(ws_t *ws)
{
    if (ws->roster != NULL && ws->roster->is_gated)
        roster_drop(ws);
}

/* A restricted token: its lists are tried as if they had been read. */
static void try_lists(roster_t *self)
{
    ws_t *ws = self->ws;
    size_t n_bytes = ws->n_lists * sizeof *ws->lists;
    uuid_t *lists = malloc(n_bytes);
    if (lists == NULL)
        abort();
    memcpy(lists, ws->lists, n_bytes);
    qsort(lists, ws->n_lists, sizeof *lists, compare_ids);
    take_lists(self, lists, ws->n_lists, ws->n_lists);
    free(lists);
}

void subscribe_all(ws_t *ws, const ws_request_t *request)
{
    problem_t problem = subscribe_check(ws, request);
    roster_drop(ws);
    if (problem.err != ERR_OK) {
        ws_refuse(ws, request->ref, &problem);
        return;
    }
    roster_t *self = roster_new(ws, request);
    ws->roster = self;
    if (ws->n_lists > 0) {
        try_lists(self);
        return;
    }
    self->is_gated = true;
    ws_request_t mine = request_for(self, &ws->by_account.id);
    subscription_begin(ws, &mine, false);
}

void unsubscribe_all(ws_t *ws, const ws_request_t *request)
{
    roster_drop(ws);
    while (!link_is_alone(&ws->subscriptions))
        subscription_end(LINK_OWNER(ws->subscriptions.next, subscription_t, of_socket));
    size_t place = ws_begin(ws);
    ws_put_op(&ws->outbox, "unsubscribed", request->ref);
    ws_put_bool(&ws->outbox, "all", true);
    ws_end(ws, place);
}
