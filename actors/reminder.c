/* SPDX-License-Identifier: Apache-2.0 */
/* The near horizon is the result of one query, sorted by instant: an array and how far it has
 * fired. It is replaced by a fresh one every second, after each change to the rows, and when it has
 * run out while there was more. Firings are found by their task, which has few of them, so that
 * thousands that are due at once cost no more than each by itself. */
#include "actors/reminder.h"

#include "actors/commander.h"
#include "actors/idmap.h"
#include "actors/lineage.h"
#include "actors/links.h"
#include "actors/reminder_rows.h"

#include <stdlib.h>

#define INBOX_LIMIT 256
#define RELOAD_US INT64_C(1000000)
/* What is loaded ahead: a few reloads, so that one that comes late does no harm. */
#define HORIZON_US INT64_C(5000000)
#define MAX_NEAR 10000
/* Between two looks for more: what was fired just now may still be among it. */
#define RUN_OUT_US INT64_C(50000)
#define MAX_UNDER_WAY 4096
/* How long the row of a firing that is over may take to say so. */
#define OVER_US INT64_C(60000000)
#define QUERY_TIMEOUT_US INT64_C(5000000)

static const pg_stmt_t select_near = {"SELECT task, reminder, fire_at FROM reminder WHERE "
                                      "state = 0 AND fire_at <= $1::timestamptz"
                                      " ORDER BY fire_at, task, reminder LIMIT $2::bigint"};
/* What a firing came to: fired is said by the event itself; refused for good ends the row it was
 * about. */
static const pg_stmt_t end_row = {"UPDATE reminder SET state = 2 WHERE task = $1::uuid AND "
                                  "reminder = $2::uuid AND fire_at = $3::timestamptz"
                                  " AND state = 0"};

typedef struct {
    uuid_t task;
    uuid_t reminder;
    int64_t fire_at_us;
} near_t;

/* A command under way. */
typedef struct {
    idnode_t node; /* by task */
    struct reminder_actor *owner;
    near_t near;
    bool is_over; /* the result is there; kept until the rows agree, lest it be sent again */
    int64_t over_mono_us; /* since when */
    bool is_refused;
    bool is_pending; /* by its row, while those are compared */
} firing_t;

struct reminder_actor {
    network_t *network;
    actor_t *actor;
    intray_t *intray;
    commander_t *commander;
    pg_t *pg;
    bool is_leading;
    char term_epoch[EPOCH_CHARS]; /* of the batches that come */
    near_t *near;
    size_t n_near;
    size_t next_near; /* the first that has not been sent */
    int64_t loaded_mono_us;
    int64_t reload_mono_us;
    bool must_reload;
    idmap_t firings;
    metric_t *fired_total;
    metric_t *late_seconds;
};

/* --- firing --- */

static firing_t *firing_of(idnode_t *node)
{
    return node == NULL ? NULL : LINK_OWNER(node, firing_t, node);
}

static firing_t *find_firing(const reminder_actor_t *self, const near_t *near)
{
    idnode_t *node = idmap_find(&self->firings, &near->task);
    for (; node != NULL; node = idmap_find_next(node)) {
        const near_t *of = &firing_of(node)->near;
        if (uuid_eq(&of->reminder, &near->reminder) && of->fire_at_us == near->fire_at_us)
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

static void on_result(void *arg, const result_t *result)
{
    firing_t *firing = arg;
    reminder_actor_t *self = firing->owner;
    const problem_t *problem = &result->outcome.problem;
    if (problem->err != ERR_OK && clock_now().wall_us < firing->near.fire_at_us) {
        forget_firing(self, firing); /* the clock was set back: it was early, and comes again */
        return;
    }
    firing->is_over = true;
    firing->over_mono_us = clock_now().mono_us;
    firing->is_refused = problem->err != ERR_OK;
    self->must_reload = self->must_reload || firing->is_refused;
    if (problem->err == ERR_OK && !result->outcome.is_replay) {
        metric_add(self->fired_total, 1);
        metric_observe(self->late_seconds, clock_now().wall_us - firing->near.fire_at_us);
    }
}

static void fire(reminder_actor_t *self, const near_t *near, arena_t *arena)
{
    firing_t *firing = calloc(1, sizeof *firing);
    firing->owner = self;
    firing->near = *near;
    idmap_put(&self->firings, &firing->node, &near->task);
    buf_t data = {0};
    mp_put_map(&data, 2);
    mp_put_cstr(&data, "reminder");
    mp_put_uuid(&data, &near->reminder);
    mp_put_cstr(&data, "at");
    mp_put_instant(&data, near->fire_at_us);
    /* In the list where the task is by then. */
    command_t command = {.author = author_reminder, .op = OP_TASK_REMIND, .task = near->task};
    /* Reminder ids are the client's choice and unique only within a task. */
    uuid_t space = uuid_derive(&near->task, slice_of(near->reminder.bytes, UUID_BYTES));
    command.id =
        uuid_derive(&space, arena_format(arena, "remind:%lld", (long long)near->fire_at_us));
    command.data = buf_slice(&data);
    command_fingerprint(&command);
    commander_send(self->commander, &command, on_result, firing);
    buf_fini(&data);
}

/* Sends what is due; answers how long until the next one. */
static int64_t fire_due(reminder_actor_t *self, now_t now)
{
    arena_t *arena = NULL;
    int64_t sleep_us = ACTOR_SLEEP_MAX_US;
    while (self->next_near < self->n_near) {
        const near_t *near = &self->near[self->next_near];
        if (near->fire_at_us > now.wall_us) {
            sleep_us = near->fire_at_us - now.wall_us;
            break;
        }
        if (commander_n_under_way(self->commander) >= MAX_UNDER_WAY)
            break;
        if (arena == NULL)
            arena = arena_new();
        if (find_firing(self, near) == NULL)
            fire(self, near, arena);
        self->next_near++;
    }
    arena_destroy(&arena);
    return sleep_us;
}

/* --- the horizon --- */

static void on_near(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    reminder_actor_t *self = arg;
    if (fate != PG_OK)
        return;
    self->n_near = (size_t)pg_rows(result);
    self->next_near = 0;
    for (size_t i = 0; i < self->n_near; i++) {
        int row = (int)i;
        self->near[i] =
            (near_t){pg_uuid(result, row, 0), pg_uuid(result, row, 1), pg_instant(result, row, 2)};
    }
}

static void end_refused(reminder_actor_t *self)
{
    for (firing_t *f = next_firing(self, NULL); f != NULL; f = next_firing(self, f)) {
        if (!f->is_over || !f->is_refused || pg_in_flight(self->pg) > PG_MAX_IN_FLIGHT / 2)
            continue;
        pg_params_t params = {0};
        pg_put_uuid(&params, &f->near.task);
        pg_put_uuid(&params, &f->near.reminder);
        pg_put_instant(&params, f->near.fire_at_us);
        (void)pg_query(self->pg, &end_row, &params, NULL, NULL);
        pg_params_fini(&params);
    }
}

/* A firing that is over is forgotten as soon as its row is no longer among the pending ones. */
static void forget_firings(reminder_actor_t *self)
{
    firing_t *next;
    for (size_t i = 0; i < self->n_near; i++) {
        firing_t *f = find_firing(self, &self->near[i]);
        if (f != NULL)
            f->is_pending = true;
    }
    for (firing_t *f = next_firing(self, NULL); f != NULL; f = next) {
        next = next_firing(self, f);
        if (f->is_over && !f->is_pending)
            forget_firing(self, f);
        else
            f->is_pending = false;
    }
}

static void reload(reminder_actor_t *self, now_t now)
{
    self->reload_mono_us = now.mono_us + RELOAD_US;
    if (!pg_is_ready(self->pg) && !pg_await(self->pg, QUERY_TIMEOUT_US))
        return;
    self->must_reload = false;
    pg_params_t params = {0};
    end_refused(self);
    pg_put_instant(&params, now.wall_us + HORIZON_US);
    pg_put_i64(&params, MAX_NEAR);
    pg_fate_t fate = pg_run(self->pg, &select_near, &params, on_near, self, QUERY_TIMEOUT_US);
    pg_params_fini(&params);
    self->loaded_mono_us = clock_now().mono_us;
    if (fate == PG_OK)
        forget_firings(self);
    forget_over(self, now.mono_us - OVER_US);
}

/* Everything that was loaded has been sent, and there may be more. */
static bool has_run_out(const reminder_actor_t *self)
{
    return self->n_near == MAX_NEAR && self->next_near == self->n_near;
}

/* --- the actor --- */

static err_t handle(void *arg, mp_reader_t *content, uint32_t n_events)
{
    reminder_actor_t *self = arg;
    bool has_changed = false;
    err_t err = reminder_rows_store(self->pg, self->term_epoch, self->intray, content, n_events,
                                    &has_changed);
    self->must_reload = self->must_reload || has_changed;
    return err;
}

/* What this process knows of firings that are over may be of another history. */
static void look_anew(reminder_actor_t *self)
{
    forget_over(self, INT64_MAX);
    self->must_reload = true;
}

static void follow_term(reminder_actor_t *self, mp_reader_t *content)
{
    bool is_on = false;
    if (!term_decode(content, &is_on, self->term_epoch))
        return;
    intray_clear(self->intray);
    look_anew(self);
}

static void reminder_receive(void *arg, slice_t bytes, now_t now)
{
    reminder_actor_t *self = arg;
    mp_reader_t content;
    message_kind_t kind = message_kind(bytes, &content);
    if (kind == MESSAGE_EVENTS)
        intray_receive(self->intray, bytes);
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

static int64_t reminder_due(void *arg, now_t now)
{
    reminder_actor_t *self = arg;
    int64_t sleep_us = intray_turn(self->intray, now, handle, self);
    if (self->is_leading) {
        if (has_run_out(self))
            self->reload_mono_us = shorter(self->reload_mono_us, self->loaded_mono_us + RUN_OUT_US);
        if (self->must_reload || now.mono_us >= self->reload_mono_us)
            reload(self, now);
        sleep_us = shorter(sleep_us, fire_due(self, clock_now()));
        sleep_us = shorter(sleep_us, self->reload_mono_us - now.mono_us);
        if (has_run_out(self))
            sleep_us = shorter(sleep_us, RUN_OUT_US);
    }
    actor_note(self->actor, "near", (int64_t)(self->n_near - self->next_near));
    actor_note(self->actor, "firing", (int64_t)commander_n_under_way(self->commander));
    actor_note(self->actor, "batches", (int64_t)intray_n_waiting(self->intray));
    return shorter(sleep_us, commander_turn(self->commander, now));
}

static err_t reminder_open(void *arg, actor_t *actor)
{
    reminder_actor_t *self = arg;
    (void)actor;
    pg_options_t options = {.url = self->network->config->database_url,
                            .who = "taskwire reminder",
                            .options =
                                "-c statement_timeout=10000 -c jit=off -c enable_seqscan=off",
                            .reply_timeout_us = QUERY_TIMEOUT_US * 2};
    lineage_guard(self->network->lineage, &options);
    self->pg = pg_new(&options);
    self->intray = intray_new(self->network, ADDRESS_REMINDER);
    self->commander = commander_new(self->network, ADDRESS_REMINDER);
    self->near = calloc(MAX_NEAR, sizeof *self->near);
    idmap_init(&self->firings);
    self->fired_total = metrics_counter(self->network->metrics, "taskwire_reminders_fired_total",
                                        NULL, "Reminders fired");
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
    free(self->near);
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
