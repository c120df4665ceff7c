/* SPDX-License-Identifier: Apache-2.0 */
/* Positions are saved seldom and never ahead of what is acknowledged; a save that fails only means
 * that the next term sees some events again. Answers that belong to a former term are told by its
 * number. */
#include "bridge/dispatch.h"

#include "actors/lineage.h"
#include "actors/log.h"
#include "bridge/burial.h"

#include <stdlib.h>

#define MAX_BATCH_BYTES (512 * 1024)
#define SAVE_US INT64_C(1000000)
/* Of what an actor may have in its inbox from former terms when another begins. */
#define MAX_LEFT_OVER 64

static const uint32_t consumer_addresses[] = {ADDRESS_RECURRENCE, ADDRESS_REMINDER, ADDRESS_AUDIT};
static const char *const consumer_names[] = {"recurrence", "reminder", "audit"};
#define N_CONSUMERS (sizeof consumer_addresses / sizeof *consumer_addresses)

static const pg_stmt_t select_positions = {
    "SELECT e.epoch, p.actor, p.shard, p.id FROM log_epoch e LEFT JOIN relay_position p ON true"};
/* A former owner of a shard that wakes up must not turn a position back, nor one of another epoch
 * set any. */
static const pg_stmt_t save_positions = {
    "WITH same AS (SELECT 1 FROM log_epoch WHERE epoch = $4::text FOR SHARE)"
    " INSERT INTO relay_position (actor, shard, id)"
    " SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[]) WHERE EXISTS (SELECT 1 FROM "
    "same)"
    " ON CONFLICT (actor, shard) DO UPDATE SET id = excluded.id WHERE relay_position.id < "
    "excluded.id"};

typedef enum { TERM_OFF, TERM_LOADING, TERM_ON } term_t;

struct dispatch {
    network_t *network;
    actor_t *actor;
    pg_t *pg;
    port_t *ports[N_CONSUMERS];
    term_t term;
    uint64_t n_terms;
    char epoch[EPOCH_CHARS]; /* of the term: in another history its positions mean nothing */
    shard_set_t loading; /* shards whose positions are asked for */
    ledger_t ledger;
    uint64_t n_batches; /* of all terms: their numbers */
    batch_t batch; /* being filled */
    ledger_batch_t *entry;
    bool is_saving;
    int64_t save_mono_us;
    burials_t *burials;
    metric_t *events_total;
};

/* Positions that were asked for. Lives until the answer. */
typedef struct {
    dispatch_t *owner;
    uint64_t term;
    shard_set_t shards;
} load_t;

/* --- handing out --- */

static void send_to_all(dispatch_t *self, message_t *message)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        message_t copy;
        if (self->ports[i] == NULL)
            continue;
        message_share(&copy, message);
        if (port_send(self->ports[i], &copy) != ERR_OK)
            actor_fail(self->actor, ERR_INTERNAL,
                       "an actor's inbox is smaller than what may be under way");
    }
    message_fini(message);
}

void dispatch_flush(dispatch_t *self)
{
    if (self->entry == NULL)
        return;
    message_t message;
    uint64_t seq = self->entry->seq;
    self->entry = NULL;
    batch_finish(&self->batch, &message);
    send_to_all(self, &message);
    for (unsigned i = 0; i < N_CONSUMERS; i++) {
        if (self->ports[i] == NULL)
            (void)ledger_acknowledge(&self->ledger, i, seq); /* a program without that actor */
    }
}

dispatch_answer_t dispatch_place(const dispatch_t *self, unsigned shard, int64_t id, int64_t before)
{
    if (self->term != TERM_ON)
        return DISPATCH_NO_ROOM;
    switch (ledger_place(&self->ledger, shard, id, before)) {
    case LEDGER_NEXT:
        return DISPATCH_TAKEN;
    case LEDGER_DUPLICATE:
        return DISPATCH_DUPLICATE;
    case LEDGER_GAP:
        return DISPATCH_GAP;
    case LEDGER_FOREIGN:
        return DISPATCH_FOREIGN;
    }
    abort();
}

dispatch_answer_t dispatch_offer(dispatch_t *self, const log_event_t *event, int64_t before)
{
    dispatch_answer_t answer = dispatch_place(self, event->shard, event->id, before);
    if (answer != DISPATCH_TAKEN)
        return answer;
    if (!dispatch_has_room(self))
        return DISPATCH_NO_ROOM;
    if (self->entry == NULL) {
        events_begin(&self->batch, ++self->n_batches);
        self->entry = ledger_open(&self->ledger, self->n_batches);
    }
    lineage_note(self->network->lineage, event);
    events_put(&self->batch, event);
    ledger_add(&self->ledger, self->entry, event->shard, event->id, event->at_us);
    metric_add(self->events_total, 1);
    if (self->batch.buf.n_bytes >= MAX_BATCH_BYTES)
        dispatch_flush(self);
    return DISPATCH_TAKEN;
}

void dispatch_skip(dispatch_t *self, unsigned shard, int64_t id)
{
    if (id > self->ledger.handed[shard])
        self->ledger.handed[shard] = id;
}

bool dispatch_has_room(const dispatch_t *self)
{
    return self->entry != NULL || ledger_has_room(&self->ledger);
}

unsigned dispatch_n_under_way(const dispatch_t *self)
{
    return self->ledger.n - (self->entry != NULL ? 1 : 0);
}

size_t dispatch_n_waiting(const dispatch_t *self)
{
    return self->entry != NULL ? self->batch.buf.n_bytes : 0;
}

int64_t dispatch_oldest_us(const dispatch_t *self)
{
    return ledger_oldest_us(&self->ledger);
}

const int64_t *dispatch_handed(const dispatch_t *self)
{
    return self->ledger.handed;
}

void dispatch_handled(const dispatch_t *self, int64_t out[N_SHARDS])
{
    memcpy(out, self->ledger.handed, sizeof self->ledger.handed);
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        for (unsigned shard = 0; self->ports[i] != NULL && shard < N_SHARDS; shard++) {
            int64_t position = self->ledger.positions[i][shard];
            out[shard] = position < out[shard] ? position : out[shard];
        }
    }
}

uint64_t dispatch_newest(const dispatch_t *self)
{
    return self->n_batches;
}

uint64_t dispatch_done(const dispatch_t *self)
{
    return self->ledger.n == 0 ? self->n_batches : self->ledger.done;
}

/* --- positions --- */

static void on_saved(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    dispatch_t *self = arg;
    (void)result;
    self->is_saving = false;
    /* Not saved is only not remembered: the next start sees some events again. */
    for (size_t i = 0; fate != PG_OK && i < N_CONSUMERS; i++)
        self->ledger.dirty[i] = self->ledger.shards;
}

#define EACH_DIRTY(type, put)                                                                      \
    do {                                                                                           \
        pg_array_begin(params, type);                                                              \
        for (size_t i = 0; i < N_CONSUMERS; i++) {                                                 \
            for (int16_t shard = 0; shard < N_SHARDS; shard++) {                                   \
                if (self->ledger.dirty[i] >> shard & 1)                                            \
                    put;                                                                           \
            }                                                                                      \
        }                                                                                          \
        pg_array_end(params);                                                                      \
    } while (0)

static void put_positions(const dispatch_t *self, pg_params_t *params)
{
    EACH_DIRTY(PG_TEXT, pg_array_text(params, slice_str(consumer_names[i])));
    EACH_DIRTY(PG_I16, pg_array_i16(params, shard));
    EACH_DIRTY(PG_I64, pg_array_i64(params, self->ledger.positions[i][shard]));
    pg_put_text(params, slice_of(self->epoch, EPOCH_CHARS));
}

static bool has_unsaved(const dispatch_t *self)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        if (self->ledger.dirty[i] != 0)
            return true;
    }
    return false;
}

static void save(dispatch_t *self, now_t now)
{
    if (self->term != TERM_ON || self->is_saving || !has_unsaved(self) || !pg_is_ready(self->pg))
        return;
    self->save_mono_us = now.mono_us + SAVE_US;
    pg_params_t params = {0};
    put_positions(self, &params);
    if (pg_query(self->pg, &save_positions, &params, on_saved, self) == ERR_OK) {
        (void)pg_sync(self->pg);
        self->is_saving = true;
        for (size_t i = 0; i < N_CONSUMERS; i++)
            self->ledger.dirty[i] = 0;
    }
    pg_params_fini(&params);
}

/* --- acknowledgements --- */

static void on_buried(void *arg, unsigned consumer, uint64_t seq)
{
    dispatch_t *self = arg;
    (void)ledger_acknowledge(&self->ledger, consumer, seq);
}

void dispatch_acknowledge(dispatch_t *self, slice_t bytes, mp_reader_t *content)
{
    uint32_t address, n_rejects;
    uint64_t seq;
    unsigned consumer = 0;
    if (self->term != TERM_ON || !ack_open(content, &address, &seq, &n_rejects))
        return;
    while (consumer < N_CONSUMERS && consumer_addresses[consumer] != address)
        consumer++;
    if (consumer == N_CONSUMERS || ledger_is_acknowledged(&self->ledger, consumer, seq))
        return; /* of a former term */
    if (n_rejects == 0)
        (void)ledger_acknowledge(&self->ledger, consumer, seq);
    else
        burials_add(self->burials, consumer_names[consumer], consumer, seq, bytes);
}

/* --- terms --- */

static void tell_term(dispatch_t *self, bool is_on)
{
    message_t message;
    term_encode(is_on, self->epoch, &message);
    send_to_all(self, &message);
}

static void take_positions(dispatch_t *self, shard_set_t shards, const pg_result_t *result)
{
    for (int row = 0; row < pg_rows(result); row++) {
        int64_t shard = pg_is_null(result, row, 2) ? -1 : pg_int(result, row, 2);
        if (shard < 0 || shard >= N_SHARDS || !(shards >> shard & 1))
            continue;
        for (size_t i = 0; i < N_CONSUMERS; i++) {
            if (slice_is(pg_bytes(result, row, 1), consumer_names[i]))
                self->ledger.positions[i][shard] = pg_int(result, row, 3);
        }
    }
    ledger_own(&self->ledger, shards);
}

static void on_positions(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    load_t asked = *(load_t *)arg;
    dispatch_t *self = asked.owner;
    free(arg);
    if (asked.term != self->n_terms || self->term == TERM_OFF)
        return;
    self->loading &= ~asked.shards;
    slice_t epoch = fate == PG_OK ? pg_bytes(result, 0, 0) : slice_none();
    bool is_good = slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS));
    if (is_good)
        take_positions(self, asked.shards, result);
    if (self->term == TERM_LOADING) {
        self->term = is_good ? TERM_ON : TERM_OFF;
        if (is_good)
            tell_term(self, true);
    }
}

static bool load(dispatch_t *self, shard_set_t shards)
{
    load_t *asked = malloc(sizeof *asked);
    if (asked == NULL)
        abort();
    *asked = (load_t){self, self->n_terms, shards};
    if (pg_query(self->pg, &select_positions, NULL, on_positions, asked) != ERR_OK) {
        free(asked);
        return false;
    }
    self->loading |= shards;
    (void)pg_sync(self->pg); /* if the connection broke the answer says so */
    return true;
}

/* An actor that takes nothing from its inbox must not be given term after term. */
static bool have_room(const dispatch_t *self)
{
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        actor_t *actor = self->network->actors[consumer_addresses[i]];
        if (actor != NULL && mailbox_depth(actor_inbox(actor)) > MAX_LEFT_OVER)
            return false;
    }
    return true;
}

bool dispatch_begin(dispatch_t *self, slice_t epoch, shard_set_t shards)
{
    if (self->term != TERM_OFF || epoch.n_bytes != EPOCH_CHARS || !have_room(self))
        return false;
    self->n_terms++;
    self->loading = 0;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    ledger_init(&self->ledger, N_CONSUMERS);
    if (load(self, shards))
        self->term = TERM_LOADING;
    return self->term == TERM_LOADING;
}

void dispatch_adopt(dispatch_t *self, shard_set_t shards)
{
    shards &= ~(self->ledger.shards | self->loading);
    if (self->term == TERM_ON && shards != 0)
        (void)load(self, shards);
}

void dispatch_end(dispatch_t *self)
{
    bool was_on = self->term == TERM_ON;
    save(self, clock_now()); /* so that the next one has less to look at again */
    self->term = TERM_OFF;
    self->entry = NULL;
    batch_fini(&self->batch);
    burials_clear(self->burials);
    ledger_init(&self->ledger, N_CONSUMERS);
    if (was_on)
        tell_term(self, false);
}

bool dispatch_is_on(const dispatch_t *self)
{
    return self->term == TERM_ON;
}

bool dispatch_is_off(const dispatch_t *self)
{
    return self->term == TERM_OFF;
}

slice_t dispatch_epoch(const dispatch_t *self)
{
    return slice_of(self->epoch, EPOCH_CHARS);
}

/* --- turns --- */

int64_t dispatch_turn(dispatch_t *self, now_t now)
{
    int64_t sleep_us = burials_turn(self->burials, now);
    if (now.mono_us >= self->save_mono_us)
        save(self, now);
    return sleep_us < SAVE_US ? sleep_us : SAVE_US;
}

bool dispatch_drain(dispatch_t *self, now_t now)
{
    if (self->term != TERM_ON || !pg_is_ready(self->pg))
        return true;
    if (has_unsaved(self))
        save(self, now);
    return !self->is_saving && !has_unsaved(self);
}

dispatch_t *dispatch_new(network_t *network, actor_t *actor, pg_t *pg)
{
    dispatch_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    *self = (dispatch_t){.network = network, .actor = actor, .pg = pg};
    for (size_t i = 0; i < N_CONSUMERS; i++)
        self->ports[i] = network_port(network, consumer_addresses[i]);
    ledger_init(&self->ledger, N_CONSUMERS);
    self->burials = burials_new(pg, network->metrics, on_buried, self);
    self->events_total = metrics_counter(network->metrics, "taskwire_relay_events_total", NULL,
                                         "Events handed to the actors");
    return self;
}

void dispatch_destroy(dispatch_t **self_p)
{
    dispatch_t *self = *self_p;
    if (self == NULL)
        return;
    burials_destroy(&self->burials);
    batch_fini(&self->batch);
    for (size_t i = 0; i < N_CONSUMERS; i++)
        port_destroy(&self->ports[i]);
    free(self);
    *self_p = NULL;
}
