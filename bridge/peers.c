/* SPDX-License-Identifier: Apache-2.0 */
/* One session listens and notifies. It ends by itself when it is not heard of for three seconds:
 * PostgreSQL keeps every notice until all who listen have taken it, so a frozen process must not
 * listen for ever.
 *
 * What was told while nobody here listened is made up for by looking at all shards once. */
#include "bridge/peers.h"

#include "actors/log.h"
#include "actors/pg_loop.h"
#include "bridge/notice.h"

#include <sodium.h>
#include <stdlib.h>

#define INBOX_LIMIT 16
#define PING_US US_PER_S
#define RETRY_US US_PER_S
#define REPLY_TIMEOUT_US INT64_C(2000000)

static const pg_stmt_t listen = {"LISTEN taskwire_log"};
static const pg_stmt_t notify = {"SELECT pg_notify('taskwire_log', $1::text)"};
static const pg_stmt_t ping = {"SELECT 1"};

struct peers {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    pg_loop_t loop;
    uint64_t process;
    notice_pace_t pace;
    int64_t listening_session; /* of pg; 0: in none */
    int64_t asking_session; /* the one that was asked to listen last */
    int64_t listen_mono_us; /* not before */
    int64_t ping_mono_us;
    log_once_t trouble;
    metric_t *sent_total;
    metric_t *received_total;
};

static void complain(peers_t *self, const char *what, const pg_result_t *result)
{
    if (result != NULL && log_once(&self->trouble))
        log_line(LOG_WARN, "peers", what, "why=\"%s\"", pg_message(result));
}

/* --- listening --- */

static void on_notice(void *arg, const char *payload)
{
    peers_t *self = arg;
    notice_t notice;
    if (!notice_parse(payload, &notice) || notice.process == self->process)
        return;
    metric_add(self->received_total, 1);
    network_peer_grew(self->network, notice.shards);
}

static void on_listening(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    peers_t *self = arg;
    if (fate != PG_OK) {
        complain(self, "cannot listen to other processes; polling finds what they write", result);
        self->asking_session = 0;
        self->listen_mono_us = clock_now().mono_us + RETRY_US;
        return;
    }
    self->listening_session = self->asking_session;
    network_peer_grew(self->network, SHARDS_ALL);
}

/* True: nothing else is to be done before there is an answer. */
static bool start_listening(peers_t *self, now_t now)
{
    if (self->listening_session == pg_session(self->pg))
        return false;
    if (self->asking_session == pg_session(self->pg) || now.mono_us < self->listen_mono_us)
        return true;
    if (pg_query(self->pg, &listen, NULL, on_listening, self) == ERR_OK) {
        self->asking_session = pg_session(self->pg);
        (void)pg_sync(self->pg);
    }
    return true;
}

/* --- notifying --- */

static void on_sent(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    peers_t *self = arg;
    if (fate == PG_OK) {
        notice_pace_arrived(&self->pace);
        metric_add(self->sent_total, 1);
        if (log_clear(&self->trouble))
            log_line(LOG_INFO, "peers", "other processes are told again", NULL);
        return;
    }
    complain(self, "cannot tell other processes what was written; their polling finds it", result);
    notice_pace_failed(&self->pace, clock_now().mono_us, RETRY_US);
}

static void tell(peers_t *self, now_t now)
{
    notice_t notice = {self->process, notice_pace_take(&self->pace, now.mono_us)};
    if (notice.shards == 0)
        return;
    char text[NOTICE_CHARS + 1];
    pg_params_t params = {0};
    notice_format(&notice, text);
    pg_put_text(&params, slice_str(text));
    self->ping_mono_us = now.mono_us + PING_US;
    if (pg_query(self->pg, &notify, &params, on_sent, self) != ERR_OK)
        notice_pace_failed(&self->pace, now.mono_us, RETRY_US);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}

static void keep_alive(peers_t *self, now_t now)
{
    if (now.mono_us < self->ping_mono_us)
        return;
    self->ping_mono_us = now.mono_us + PING_US;
    if (pg_query(self->pg, &ping, NULL, NULL, NULL) == ERR_OK)
        (void)pg_sync(self->pg);
}

/* --- the actor --- */

static void peers_rung(void *arg, uint64_t bits, now_t now)
{
    peers_t *self = arg;
    (void)now;
    notice_pace_add(&self->pace, bits);
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t peers_due(void *arg, now_t now)
{
    peers_t *self = arg;
    int64_t sleep_us = pg_loop_turn(&self->loop, now);
    if (pg_is_ready(self->pg) && !start_listening(self, now)) {
        tell(self, now);
        keep_alive(self, now);
        sleep_us = shorter(sleep_us, notice_pace_wait_us(&self->pace, now.mono_us));
    }
    actor_note(self->actor, "listening",
               self->listening_session != 0 && pg_is_connected(self->pg) &&
                   self->listening_session == pg_session(self->pg));
    sleep_us = shorter(sleep_us, pg_loop_turn(&self->loop, now));
    return shorter(sleep_us, PING_US / 2);
}

/* The last commits are told, unless that cannot be done now. */
static bool peers_drain(void *arg, now_t now)
{
    peers_t *self = arg;
    (void)now;
    bool is_able = pg_is_connected(self->pg) && self->listening_session == pg_session(self->pg);
    bool has_nothing = self->pace.waiting == 0 && self->pace.under_way == 0;
    return !is_able || has_nothing || self->trouble.is_on;
}

static err_t peers_open(void *arg, actor_t *actor)
{
    peers_t *self = arg;
    metrics_t *metrics = self->network->metrics;
    /* A notice is not worth a wait for the disk: the commits that it tells of are there. */
    const pg_options_t options = {.url = self->network->config->database_url,
                                  .who = "taskwire peers",
                                  .options =
                                      "-c idle_session_timeout=3000 -c statement_timeout=1500 -c "
                                      "synchronous_commit=off",
                                  .reply_timeout_us = REPLY_TIMEOUT_US};
    self->pg = pg_new(&options);
    pg_on_notify(self->pg, on_notice, self);
    pg_loop_init(&self->loop, actor, self->pg);
    randombytes_buf(&self->process, sizeof self->process);
    self->sent_total = metrics_counter(metrics, "taskwire_peer_notices_sent_total", NULL,
                                       "Times that other processes were told of new events");
    self->received_total = metrics_counter(metrics, "taskwire_peer_notices_received_total", NULL,
                                           "Times that another process told of new events");
    return ERR_OK;
}

static void peers_close(void *arg)
{
    peers_t *self = arg;
    if (self->pg != NULL)
        pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
}

static const actor_ops_t peers_ops = {
    .name = "peers",
    .open = peers_open,
    .rung = peers_rung,
    .due = peers_due,
    .drain = peers_drain,
    .close = peers_close,
};

peers_t *peers_new(network_t *network)
{
    peers_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->network = network;
    self->actor = actor_new(&peers_ops, self, network->post, "peers", INBOX_LIMIT);
    network->actors[ADDRESS_PEERS] = self->actor;
    return self;
}

actor_t *peers_actor(peers_t *self)
{
    return self->actor;
}

void peers_destroy(peers_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
