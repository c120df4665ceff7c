/* SPDX-License-Identifier: Apache-2.0 */
/* What is near lies in memory (reminder_near.h), loaded from the rows page by page and told of by
 * events. It may be out of date or incomplete, so nothing rests on it but being on time: a command
 * that has no reason any more is refused, and every second the rows themselves are asked for what
 * is due and has not been sent (`sweep`). Firings are found by their task, which has few of them,
 * so that thousands that are due at once cost no more than each by itself. */
#include "actors/reminder.h"

#include "actors/commander.h"
#include "actors/idmap.h"
#include "actors/lineage.h"
#include "actors/links.h"
#include "actors/reminder_load.h"
#include "actors/reminder_rows.h"
#include "actors/wall_timer.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define SWEEP_US INT64_C(1000000)
#define HORIZON_US (10 * 60 * US_PER_S)
#define MAX_NEAR 131072
#define MAX_UNDER_WAY 4096
/* Under way, or over without the rows saying so yet. */
#define MAX_FIRINGS 65536
/* How long the row of a firing that is over may take to say so. */
#define OVER_US INT64_C(60000000)
/* With Kafka the rows are written by whoever has the partition: what was set a moment ago is looked
 * for so far ahead. */
#define AHEAD_US (SWEEP_US + SWEEP_US / 2)
/* Who slept for so long without meaning to believes nothing that lies in memory: what is due there
 * may have been moved away and back since, and is past now for whoever moved it. */
#define FROZEN_US (5 * US_PER_S)
/* Until the database is asked again that did not answer. */
#define RETRY_US INT64_C(200000)
#define QUERY_TIMEOUT_US INT64_C(5000000)

/* A command under way, or over. */
typedef struct {
    idnode_t node; /* by task */
    struct reminder_actor *owner;
    near_key_t key;
    bool is_over; /* the result is there; kept until the rows agree, lest it be sent again */
    bool is_refused; /* its row is to be ended here */
    bool is_pending; /* by its row, while those are looked at */
    int64_t over_mono_us; /* since when */
} firing_t;

struct reminder_actor {
    network_t *network;
    actor_t *actor;
    intray_t *intray;
    commander_t *commander;
    pg_t *pg;
    wall_timer_t *timer;
    bool is_leading;
    char term_epoch[EPOCH_CHARS]; /* of the batches that come */
    now_t now; /* of this turn */
    int64_t turned_mono_us; /* of the last turn */
    char rows_epoch[EPOCH_CHARS]; /* of the rows that were read */
    near_t *near;
    bool must_reset;
    int64_t load_mono_us; /* not before */
    int64_t sweep_mono_us;
    bool must_sweep;
    idmap_t firings;
    size_t n_refused; /* of them */
    near_key_t *fired; /* that the events of the batch being handled tell of */
    size_t n_fired;
    size_t max_fired;
    metric_t *fired_total;
    metric_t *missed_total;
    metric_t *late_seconds;
};

/* --- firings --- */

static firing_t *firing_of(idnode_t *node)
{
    return node == NULL ? NULL : LINK_OWNER(node, firing_t, node);
}

static firing_t *find_firing(const reminder_actor_t *self, const near_key_t *key)
{
    idnode_t *node = idmap_find(&self->firings, &key->task);
    for (; node != NULL; node = idmap_find_next(node)) {
        const near_key_t *of = &firing_of(node)->key;
        if (uuid_eq(&of->reminder, &key->reminder) && of->fire_at_us == key->fire_at_us)
            break;
    }
    return firing_of(node);
}

/* Walks all of them: NULL gives the first. */
static firing_t *next_firing(const reminder_actor_t *self, firing_t *firing)
{
    return firing_of(idmap_walk(&self->firings, firing == NULL ? NULL : &firing->node));
}

static void forget_firing(reminder_actor_t *self, firing_t *firing)
{
    self->n_refused -= firing->is_refused;
    idmap_remove(&self->firings, &firing->node);
    free(firing);
}

/* Forgets what was over before this instant, whatever the rows say: it is sent again if they still
 * wait for it. That does no harm, since its command has the same id; to wait for ever would: a row
 * of a restored database may wait for what was done in a history that is gone. */
static void forget_over(reminder_actor_t *self, int64_t before_mono_us)
{
    firing_t *next;
    for (firing_t *f = next_firing(self, NULL); f != NULL; f = next) {
        next = next_firing(self, f);
        if (f->is_over && f->over_mono_us < before_mono_us)
            forget_firing(self, f);
    }
}

/* Refused as too early, it was the clock that was set back since it was sent: it comes again. */
static void on_result(void *arg, const result_t *result)
{
    firing_t *firing = arg;
    reminder_actor_t *self = firing->owner;
    err_t err = result->outcome.problem.err;
    if (err == ERR_PRECONDITION_FAILED) {
        forget_firing(self, firing);
        self->must_reset = true;
        return;
    }
    firing->is_over = true;
    firing->over_mono_us = self->now.mono_us;
    /* One that fired before has its event, which may have been handled before the row came to wait
     * for that instant again. */
    firing->is_refused = err != ERR_OK || result->outcome.is_replay;
    self->n_refused += firing->is_refused;
    if (err == ERR_OK && !result->outcome.is_replay) {
        metric_add(self->fired_total, 1);
        metric_observe(self->late_seconds, self->now.wall_us - firing->key.fire_at_us);
    }
}

static void fire(reminder_actor_t *self, const near_key_t *key, arena_t *arena)
{
    firing_t *firing = calloc(1, sizeof *firing);
    if (firing == NULL)
        abort();
    firing->owner = self;
    firing->key = *key;
    idmap_put(&self->firings, &firing->node, &key->task);
    buf_t data = {0};
    mp_put_map(&data, 2);
    mp_put_cstr(&data, "reminder");
    mp_put_uuid(&data, &key->reminder);
    mp_put_cstr(&data, "at");
    mp_put_instant(&data, key->fire_at_us);
    /* In the list where the task is by then. */
    command_t command = {.author = author_reminder, .op = OP_TASK_REMIND, .task = key->task};
    /* Reminder ids are the client's choice and unique only within a task. */
    uuid_t space = uuid_derive(&key->task, slice_of(key->reminder.bytes, UUID_BYTES));
    command.id =
        uuid_derive(&space, arena_format(arena, "remind:%lld", (long long)key->fire_at_us));
    command.data = buf_slice(&data);
    command.trace = trace_child(&key->trace, &command.id);
    command_fingerprint(&command);
    commander_send(self->commander, &command, on_result, firing);
    buf_fini(&data);
}

static bool has_room(const reminder_actor_t *self)
{
    return commander_n_under_way(self->commander) < MAX_UNDER_WAY && self->firings.n < MAX_FIRINGS;
}

/* Sends what is due, in order, as far as there is room. */
static void fire_due(reminder_actor_t *self)
{
    const near_key_t *key;
    arena_t *arena = NULL;
    near_turn(self->near, self->now.wall_us);
    while ((key = near_first(self->near)) != NULL && has_room(self)) {
        if (arena == NULL)
            arena = arena_new();
        if (find_firing(self, key) == NULL)
            fire(self, key, arena);
        near_shift(self->near);
    }
    arena_destroy(&arena);
}

/* --- the rows --- */

static int64_t oldest_us(const reminder_actor_t *self)
{
    return instant_clamp(self->now.wall_us - self->network->config->reminder_max_late_us);
}

static bool begin_loading(reminder_actor_t *self)
{
    near_reset(self->near, self->now.wall_us, oldest_us(self));
    self->must_reset = !reminder_load_epoch(self->pg, self->rows_epoch);
    return !self->must_reset;
}

/* Reads one page, if any is wanted. */
static void load(reminder_actor_t *self)
{
    near_page_t page;
    bool is_done = true;
    if (self->now.mono_us < self->load_mono_us)
        return;
    if (self->must_reset)
        is_done = begin_loading(self);
    if (is_done && near_wants(self->near, self->now.wall_us, &page))
        is_done = reminder_load_page(self->pg, &page, self->near);
    if (!is_done)
        self->load_mono_us = self->now.mono_us + RETRY_US;
}

/* That it fired is said by the event itself; no event comes of what was refused for good, and
 * perhaps none of what fired before: these end their rows here. */
static void end_refused(reminder_actor_t *self)
{
    if (self->n_refused == 0)
        return;
    near_key_t *keys = calloc(self->n_refused, sizeof *keys);
    if (keys == NULL)
        abort();
    size_t n = 0;
    firing_t *next;
    for (firing_t *f = next_firing(self, NULL); f != NULL; f = next_firing(self, f)) {
        if (f->is_refused)
            keys[n++] = f->key;
    }
    bool is_done = reminder_load_end(self->pg, self->rows_epoch, keys, n);
    free(keys);
    for (firing_t *f = next_firing(self, NULL); is_done && f != NULL; f = next) {
        next = next_firing(self, f);
        if (f->is_refused)
            forget_firing(self, f);
    }
}

static void miss(reminder_actor_t *self)
{
    int64_t n = 0;
    if (!reminder_load_miss(self->pg, self->rows_epoch, oldest_us(self), &n) || n == 0)
        return;
    metric_add(self->missed_total, n);
    self->must_sweep = true; /* there may be more */
    log_line(LOG_WARN, "reminder", "reminders were missed: nothing fired them for too long",
             "n=%lld", (long long)n);
}

/* Of the firings that are over, those up to `last` (NULL: all) whose rows are not among these are
 * done with. */
static void forget_done(reminder_actor_t *self, const near_key_t *keys, size_t n,
                        const near_key_t *last)
{
    firing_t *next;
    for (size_t i = 0; i < n; i++) {
        firing_t *f = find_firing(self, &keys[i]);
        if (f != NULL)
            f->is_pending = true;
    }
    for (firing_t *f = next_firing(self, NULL); f != NULL; f = next) {
        next = next_firing(self, f);
        bool is_within = last == NULL || f->key.fire_at_us < last->fire_at_us;
        if (f->is_over && !f->is_refused && !f->is_pending && is_within)
            forget_firing(self, f);
        else
            f->is_pending = false;
    }
}

static int64_t look_until_us(const reminder_actor_t *self)
{
    bool is_alone = self->network->config->kafka_brokers == NULL ||
                    self->network->config->kafka_brokers[0] == '\0';
    return self->now.wall_us + (is_alone ? 0 : AHEAD_US);
}

/* Sends what is due by its row and was not sent: what came too late for the pages that were loaded,
 * or what another process has left. */
static void sweep(reminder_actor_t *self)
{
    size_t n = 0;
    self->must_sweep = false;
    self->sweep_mono_us = self->now.mono_us + SWEEP_US;
    if (self->must_reset)
        return; /* it is not known yet of which history the rows are */
    forget_over(self, self->now.mono_us - OVER_US);
    end_refused(self);
    miss(self);
    near_key_t *keys = calloc(LOAD_MAX_OVERDUE, sizeof *keys);
    if (keys == NULL)
        abort();
    if (reminder_load_overdue(self->pg, oldest_us(self), look_until_us(self), keys, &n))
        forget_done(self, keys, n, n == LOAD_MAX_OVERDUE ? &keys[n - 1] : NULL);
    /* What waits for room is due already and was not sent, so it would be taken for forgotten. */
    for (size_t i = 0; i < n && near_first(self->near) == NULL; i++) {
        if (find_firing(self, &keys[i]) == NULL)
            near_offer(self->near, &keys[i]);
    }
    free(keys);
}

/* --- events --- */

static void note_fired(reminder_actor_t *self, const near_key_t *key)
{
    if (self->n_fired == self->max_fired) {
        self->max_fired = self->max_fired == 0 ? 256 : self->max_fired * 2;
        self->fired = realloc(self->fired, self->max_fired * sizeof *self->fired);
        if (self->fired == NULL)
            abort();
    }
    self->fired[self->n_fired++] = *key;
}

/* What is due already is left to the rows: when the log is read again, most of that has fired. So
 * is what other time zone data moves, since it may have fired at its former instant. */
static void on_news(void *arg, reminder_tells_t tells, const reminder_news_t *news)
{
    reminder_actor_t *self = arg;
    if (tells == TELLS_FIRED) {
        near_key_t key = {news->task, news->fired.id, news->fired.fire_at_us, news->trace};
        note_fired(self, &key);
    }
    if (tells == TELLS_MOVED)
        self->must_reset = self->must_sweep = true;
    for (uint32_t i = 0; tells == TELLS_WANTED && i < news->n_wanted; i++) {
        near_key_t key = {news->task, news->wanted[i].id, news->wanted[i].fire_at_us, news->trace};
        if (key.fire_at_us > self->now.wall_us && self->is_leading)
            near_offer(self->near, &key);
        else if (key.fire_at_us > news->at_us)
            self->must_sweep = true;
    }
}

static err_t handle(void *arg, mp_reader_t *content, uint32_t n_events)
{
    reminder_actor_t *self = arg;
    self->n_fired = 0;
    err_t err = reminder_rows_store(self->pg, self->term_epoch, self->intray, content, n_events,
                                    on_news, self);
    for (size_t i = 0; err == ERR_OK && i < self->n_fired; i++) {
        firing_t *firing = find_firing(self, &self->fired[i]);
        if (firing != NULL && firing->is_over)
            forget_firing(self, firing);
    }
    return err;
}

/* What this process knows of firings that are over may be of another history. */
static void look_anew(reminder_actor_t *self)
{
    forget_over(self, INT64_MAX);
    self->must_reset = true;
    self->must_sweep = true;
}

static void follow_term(reminder_actor_t *self, mp_reader_t *content)
{
    bool is_on = false;
    if (!term_decode(content, &is_on, self->term_epoch))
        return;
    intray_clear(self->intray);
    look_anew(self);
}

/* --- the actor --- */

static void reminder_receive(void *arg, slice_t bytes, now_t now)
{
    reminder_actor_t *self = arg;
    mp_reader_t content;
    message_kind_t kind = message_kind(bytes, &content);
    self->now = now;
    if (kind == MESSAGE_EVENTS)
        intray_receive(self->intray, self->actor);
    else if (kind == MESSAGE_RESULTS)
        commander_receive(self->commander, &content, now);
    else if (kind == MESSAGE_TERM)
        follow_term(self, &content);
    else if (kind == MESSAGE_LEAD && lead_decode(&content, &self->is_leading))
        look_anew(self);
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Fires, keeps loaded what is near, and answers how long nothing will be to do. */
static int64_t lead(reminder_actor_t *self)
{
    near_page_t page;
    load(self);
    if (self->must_sweep || self->now.mono_us >= self->sweep_mono_us)
        sweep(self);
    fire_due(self);
    int64_t next_us = near_next_us(self->near);
    wall_timer_set(self->timer, next_us);
    int64_t sleep_us = shorter(ACTOR_SLEEP_MAX_US, self->sweep_mono_us - self->now.mono_us);
    if (next_us - ACTOR_SLEEP_MAX_US < self->now.wall_us)
        sleep_us = shorter(sleep_us, next_us - self->now.wall_us);
    if (self->must_reset || near_wants(self->near, self->now.wall_us, &page))
        sleep_us = shorter(sleep_us, self->load_mono_us - self->now.mono_us);
    return self->must_sweep ? 0 : sleep_us;
}

static int64_t reminder_due(void *arg, now_t now)
{
    reminder_actor_t *self = arg;
    bool was_frozen = now.mono_us > self->turned_mono_us + FROZEN_US;
    self->now = now;
    self->turned_mono_us = now.mono_us;
    if (wall_timer_has_jumped(self->timer, now) || was_frozen)
        self->must_reset = true;
    int64_t sleep_us = intray_turn(self->intray, now, handle, self);
    if (self->is_leading)
        sleep_us = shorter(sleep_us, lead(self));
    near_page_t page;
    bool is_loading =
        !self->is_leading || self->must_reset || near_wants(self->near, now.wall_us, &page);
    actor_note(self->actor, "loading", is_loading);
    actor_note(self->actor, "near", (int64_t)near_count(self->near));
    actor_note(self->actor, "firing", (int64_t)commander_n_under_way(self->commander));
    actor_note(self->actor, "fired", (int64_t)self->firings.n);
    actor_note(self->actor, "batches", (int64_t)intray_n_waiting(self->intray));
    return shorter(sleep_us, commander_turn(self->commander, now));
}

static err_t reminder_open(void *arg, actor_t *actor)
{
    reminder_actor_t *self = arg;
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire reminder",
                            .options =
                                "-c statement_timeout=10000 -c jit=off -c enable_seqscan=off",
                            .reply_timeout_us = QUERY_TIMEOUT_US * 2};
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    self->intray = intray_new(self->network, ADDRESS_REMINDER);
    self->commander = commander_new(self->network, ADDRESS_REMINDER);
    self->near = near_new(MAX_NEAR, HORIZON_US);
    self->timer = wall_timer_new(actor);
    idmap_init(&self->firings);
    self->fired_total = metrics_counter(self->network->metrics, "taskwire_reminders_fired_total",
                                        NULL, "Reminders fired");
    self->missed_total =
        metrics_counter(self->network->metrics, "taskwire_reminders_missed_total", NULL,
                        "Reminders that were due for so long that they no longer fire");
    self->late_seconds =
        metrics_duration(self->network->metrics, "taskwire_reminder_lateness_seconds", NULL,
                         "From a reminder's instant until it was durably fired");
    return ERR_OK;
}

static void reminder_close(void *arg)
{
    reminder_actor_t *self = arg;
    commander_destroy(&self->commander);
    intray_destroy(&self->intray);
    pg_destroy(&self->pg);
    for (firing_t *f; (f = next_firing(self, NULL)) != NULL;)
        forget_firing(self, f);
    idmap_fini(&self->firings);
    near_destroy(&self->near);
    wall_timer_destroy(&self->timer);
    free(self->fired);
}

/* Nothing needs finishing: what is not acknowledged comes again, what did not fire is a pending
 * row. */
static const actor_ops_t reminder_ops = {
    .name = "reminder",
    .open = reminder_open,
    .receive = reminder_receive,
    .due = reminder_due,
    .close = reminder_close,
};

reminder_actor_t *reminder_new(network_t *network)
{
    reminder_actor_t *self = calloc(1, sizeof *self);
    self->network = network;
    self->actor = actor_new(&reminder_ops, self, network->post, "reminder", INBOX_LIMIT);
    network->actors[ADDRESS_REMINDER] = self->actor;
    return self;
}

actor_t *reminder_actor(reminder_actor_t *self)
{
    return self->actor;
}

void reminder_destroy(reminder_actor_t **self_p)
{
    if (*self_p == NULL)
        return;
    actor_destroy(&(*self_p)->actor);
    free(*self_p);
    *self_p = NULL;
}
