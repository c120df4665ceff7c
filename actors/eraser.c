/* SPDX-License-Identifier: Apache-2.0 */
/* Erasures are rare and large: a thread of its own does one after the other, in steps that end soon
 * after it is asked to stop. Where one was cut short the row is still there. */
#include "actors/eraser.h"

#include <poll.h>
#include <stdlib.h>

#include "actors/log.h"
#include "actors/purge.h"
#include "schema/instant.h"

#define INBOX_LIMIT 2
#define POLL_MS 2000
#define REPLY_TIMEOUT_US (3 * US_PER_S)

static const pg_stmt_t select_next = {"SELECT account FROM erasure ORDER BY at LIMIT 1"};

struct eraser {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    uuid_t next; /* nil: none */
    metric_t *n_erased;
};

static void on_next(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    eraser_t *self = arg;
    self->next = fate == PG_OK && pg_rows(result) == 1 ? pg_uuid(result, 0, 0) : UUID_NIL;
}

static bool is_wanted(void *arg)
{
    const eraser_t *self = arg;
    return !actor_is_stopping(self->actor);
}

/* Erases one account. False: there is none, or it cannot be done now. */
static bool erase_next(eraser_t *self)
{
    const purge_limit_t limit = {is_wanted, self, REPLY_TIMEOUT_US};
    purge_report_t report;
    self->next = UUID_NIL;
    if (pg_run(self->pg, &select_next, NULL, on_next, self, REPLY_TIMEOUT_US) != PG_OK ||
        uuid_is_nil(&self->next) ||
        purge(self->pg, PURGE_ACCOUNT, &self->next, &limit, &report) != ERR_OK)
        return false;
    if (!report.is_known)
        return false;
    metric_add(self->n_erased, 1);
    log_line(LOG_INFO, "eraser", "an account was erased", "events=%lld tasks=%lld lists=%lld",
             (long long)report.events, (long long)report.tasks, (long long)report.lists);
    return true;
}

static void wait(eraser_t *self)
{
    struct pollfd fd = {doorbell_fd(actor_bell(self->actor)), POLLIN, 0};
    (void)poll(&fd, 1, POLL_MS);
    doorbell_take(actor_bell(self->actor));
}

static err_t eraser_run(void *arg, actor_t *actor)
{
    eraser_t *self = arg;
    while (!actor_is_stopping(actor)) {
        actor_beat(actor);
        if (!erase_next(self) && !actor_is_stopping(actor))
            wait(self);
    }
    return ERR_OK;
}

static err_t eraser_open(void *arg, actor_t *actor)
{
    eraser_t *self = arg;
    (void)actor;
    const pg_options_t options = {.url = self->network->config->database_url,
                                  .who = "taskwire eraser",
                                  .options = PURGE_SESSION_OPTIONS,
                                  .reply_timeout_us = REPLY_TIMEOUT_US};
    self->pg = pg_new(&options);
    self->n_erased = metrics_counter(self->network->metrics, "taskwire_accounts_erased_total", NULL,
                                     "Accounts of which the log was purged");
    return ERR_OK;
}

static void eraser_close(void *arg)
{
    eraser_t *self = arg;
    pg_destroy(&self->pg);
}

static const actor_ops_t eraser_ops = {
    .name = "eraser",
    .open = eraser_open,
    .close = eraser_close,
    .run = eraser_run,
};

eraser_t *eraser_new(network_t *network)
{
    eraser_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&eraser_ops, self, network->post, "eraser", INBOX_LIMIT);
    network->actors[ADDRESS_ERASER] = self->actor;
    return self;
}

actor_t *eraser_actor(eraser_t *self)
{
    return self->actor;
}

void eraser_destroy(eraser_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
