/* SPDX-License-Identifier: Apache-2.0 */
/* Access that changed. Sync says so before it sends the events that follow from the change; from
 * that moment on nothing goes out to whom it may concern, until PostgreSQL has said that they may
 * still read. If it cannot be asked they stay without events, and it is asked again every second.
 *
 * A change of a list is looked up for all who are concerned in one statement; a change of an
 * account is looked up by the tokens of its sockets, many in one statement. */
#include "gateway/subscribe.h"

#include <stdlib.h>

#define TOKENS_AT_ONCE 500

static const pg_stmt_t select_members = {
    "SELECT m.account FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.list = $1::uuid AND m.account = ANY($2::uuid[])"};

static const pg_stmt_t select_tokens = {"SELECT t.id FROM token t WHERE t.id = ANY($1::uuid[])"
                                        " AND (t.expires_at IS NULL OR t.expires_at > now())"};

/* --- lists --- */

typedef struct {
    hub_t *hub;
    followed_t *followed;
} recheck_t;

static void on_members(void *arg, pg_fate_t fate, const pg_result_t *result);

static bool put_accounts(const followed_t *followed, pg_params_t *params)
{
    bool has_any = false;
    pg_array_begin(params, PG_UUID);
    for (const link_t *link = followed->subscriptions.next; link != &followed->subscriptions;
         link = link->next) {
        const subscription_t *self = LINK_OWNER(link, subscription_t, of_stream);
        if (!self->is_suspended)
            continue;
        pg_array_uuid(params, &self->ws->by_account.id);
        has_any = true;
    }
    pg_array_end(params);
    return has_any;
}

/* Asks who of those that are suspended is still a member. False: the database does not take it now.
 */
static bool ask_members(hub_t *hub, followed_t *followed)
{
    pg_params_reset(&hub->params);
    pg_put_uuid(&hub->params, &followed->node.id);
    if (!put_accounts(followed, &hub->params)) {
        link_leave(&followed->recheck);
        return true;
    }
    recheck_t *recheck = calloc(1, sizeof *recheck);
    if (recheck == NULL)
        abort();
    *recheck = (recheck_t){hub, followed};
    err_t err =
        reads_query(hub->gateway->reads, &select_members, &hub->params, on_members, recheck);
    if (err != ERR_OK) {
        free(recheck);
        return false;
    }
    link_leave(&followed->recheck);
    followed->is_rechecking = true;
    followed->must_recheck_again = false;
    return true;
}

static void pump_members(hub_t *hub)
{
    while (!link_is_alone(&hub->rechecks)) {
        if (!ask_members(hub, LINK_OWNER(hub->rechecks.next, followed_t, recheck)))
            return;
    }
}

static void want_members(hub_t *hub, followed_t *followed)
{
    if (followed->is_rechecking)
        followed->must_recheck_again = true;
    else
        link_append(&hub->rechecks, &followed->recheck);
}

/* Marks the subscriptions of an account to the stream. */
static void allow(hub_t *hub, const followed_t *followed, const uuid_t *account)
{
    for (idnode_t *node = idmap_find(&hub->accounts, account); node != NULL;
         node = idmap_find_next(node)) {
        ws_t *ws = LINK_OWNER(node, ws_t, by_account);
        for (link_t *link = ws->subscriptions.next; link != &ws->subscriptions; link = link->next) {
            subscription_t *self = LINK_OWNER(link, subscription_t, of_socket);
            if (self->followed == followed)
                self->is_allowed = true;
        }
    }
}

static void resume(subscription_t *self)
{
    self->is_suspended = false;
    self->is_allowed = false;
    deliver_later(self);
}

static void evaluate(hub_t *hub, followed_t *followed, const pg_result_t *result)
{
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t account = pg_uuid(result, row, 0);
        allow(hub, followed, &account);
    }
    link_t *next;
    for (link_t *link = followed->subscriptions.next; link != &followed->subscriptions;
         link = next) {
        subscription_t *self = LINK_OWNER(link, subscription_t, of_stream);
        next = link->next;
        if (!self->is_suspended)
            self->is_allowed = false;
        else if (self->is_allowed)
            resume(self);
        else
            subscription_remove(self);
    }
}

static void on_members(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    recheck_t recheck = *(recheck_t *)arg;
    followed_t *followed = recheck.followed;
    free(arg);
    followed->is_rechecking = false;
    if (fate == PG_OK && !followed->must_recheck_again)
        evaluate(recheck.hub, followed, result);
    else
        link_append(&recheck.hub->rechecks, &followed->recheck);
    if (link_is_alone(&followed->subscriptions)) /* it was kept for this call */
        hub_settle_later(recheck.hub, followed);
    if (fate == PG_OK)
        pump_members(recheck.hub);
}

/* Stops what goes to a subscription; true if its access must be looked up for that. */
static bool suspend(subscription_t *self)
{
    if (subscription_is_showing(self)) {
        self->is_suspended = true;
        link_leave(&self->ready);
        return true;
    }
    subscription_ask_again(self);
    return false;
}

/* `account` nil: whoever is subscribed. */
static void recheck_stream(hub_t *hub, followed_t *followed, const uuid_t *account)
{
    bool is_concerned = false;
    for (link_t *link = followed->subscriptions.next; link != &followed->subscriptions;
         link = link->next) {
        subscription_t *self = LINK_OWNER(link, subscription_t, of_stream);
        bool is_meant = uuid_is_nil(account) || uuid_eq(account, &self->ws->by_account.id);
        if (is_meant && !subscription_is_account(self))
            is_concerned |= suspend(self);
    }
    if (is_concerned)
        want_members(hub, followed);
}

/* --- tokens --- */

static void on_tokens(void *arg, pg_fate_t fate, const pg_result_t *result);

static void pump_tokens(hub_t *hub)
{
    if (hub->suspects_ask != NULL || link_is_alone(&hub->suspects))
        return;
    size_t n = 0;
    pg_params_reset(&hub->params);
    pg_array_begin(&hub->params, PG_UUID);
    for (link_t *link = hub->suspects.next; link != &hub->suspects && n < TOKENS_AT_ONCE;
         link = link->next, n++) {
        ws_t *ws = LINK_OWNER(link, ws_t, suspect);
        pg_array_uuid(&hub->params, &ws->token);
        ws->must_suspect_again = false;
    }
    pg_array_end(&hub->params);
    ask_t *ask = ask_new(hub, hub);
    if (reads_query(hub->gateway->reads, &select_tokens, &hub->params, on_tokens, ask) == ERR_OK)
        hub->suspects_ask = ask;
    else
        free(ask);
}

static bool has_token(const pg_result_t *result, const uuid_t *token)
{
    for (int row = 0; row < pg_rows(result); row++) {
        uuid_t id = pg_uuid(result, row, 0);
        if (uuid_eq(&id, token))
            return true;
    }
    return false;
}

/* Of those that were asked for; who became suspect meanwhile is asked for with the next ones. */
static void clear(hub_t *hub, const pg_result_t *result)
{
    link_t *next;
    for (link_t *link = hub->suspects.next; link != &hub->suspects; link = next) {
        ws_t *ws = LINK_OWNER(link, ws_t, suspect);
        next = link->next;
        if (ws->must_suspect_again)
            continue;
        link_leave(&ws->suspect);
        ws_cleared(ws, has_token(result, &ws->token));
    }
}

static void on_tokens(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    ask_t *ask = arg;
    hub_t *hub = ask->hub;
    free(ask);
    hub->suspects_ask = NULL;
    if (fate != PG_OK)
        return;
    clear(hub, result);
    pump_tokens(hub);
}

static void suspect(hub_t *hub, ws_t *ws)
{
    if (ws->state != WS_OPEN)
        return;
    ws->is_suspended = true;
    ws->must_suspect_again = true;
    link_append(&hub->suspects, &ws->suspect);
}

/* --- both --- */

static void recheck_everything(hub_t *hub)
{
    for (idnode_t *node = idmap_walk(&hub->followed, NULL); node != NULL;
         node = idmap_walk(&hub->followed, node))
        recheck_stream(hub, LINK_OWNER(node, followed_t, node), &UUID_NIL);
    for (link_t *link = hub->sockets.next; link != &hub->sockets; link = link->next)
        suspect(hub, LINK_OWNER(link, ws_t, of_hub));
}

static void recheck_account(hub_t *hub, const access_t *access)
{
    for (idnode_t *node = idmap_find(&hub->accounts, &access->account); node != NULL;
         node = idmap_find_next(node)) {
        ws_t *ws = LINK_OWNER(node, ws_t, by_account);
        if (uuid_is_nil(&access->token) || uuid_eq(&access->token, &ws->token))
            suspect(hub, ws);
    }
}

void recheck_access(hub_t *hub, const access_t *access)
{
    idnode_t *node = NULL;
    if (!uuid_is_nil(&access->list))
        node = idmap_find(&hub->followed, &access->list);
    if (node != NULL)
        recheck_stream(hub, LINK_OWNER(node, followed_t, node), &access->account);
    else if (uuid_is_nil(&access->list) && !uuid_is_nil(&access->account))
        recheck_account(hub, access);
    else if (uuid_is_nil(&access->list))
        recheck_everything(hub);
    recheck_tick(hub);
    roster_access(hub, access);
}

void recheck_tick(hub_t *hub)
{
    pump_members(hub);
    pump_tokens(hub);
}
