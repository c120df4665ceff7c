/* SPDX-License-Identifier: Apache-2.0 */
/* One statement for all rejects of an acknowledgement. A burial lives as long as its statement is
 * under way; one that nobody waits for any more is kept until then and does no more. */
#include "bridge/burial.h"

#include "actors/log.h"

#include <stdlib.h>

#define RETRY_US INT64_C(250000)

static const pg_stmt_t insert_dead_letters = {
    "INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts)"
    " SELECT $1::text, event_id, stream, rev, reason, 1"
    " FROM unnest($2::bigint[], $3::uuid[], $4::bigint[], $5::text[])"
    " AS k(event_id, stream, rev, reason) ON CONFLICT (actor, event_id) DO NOTHING"};

/* An acknowledgement whose dead letters are being stored. */
typedef struct burial {
    struct burial *next;
    burials_t *owner;
    message_t message;
    const char *actor;
    unsigned consumer;
    uint64_t seq;
    bool is_under_way;
    bool has_failed;
    bool is_forgotten;
    int64_t retry_mono_us;
} burial_t;

struct burials {
    pg_t *pg;
    burial_t *first;
    buried_f *done;
    void *arg;
    metric_t *dead_total;
};

burials_t *burials_new(pg_t *pg, metrics_t *metrics, buried_f *done, void *arg)
{
    burials_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    *self = (burials_t){.pg = pg, .done = done, .arg = arg};
    self->dead_total = metrics_counter(metrics, "taskwire_dead_letters_total", NULL,
                                       "Events that an actor refused");
    return self;
}

/* Unties and frees; returns what follows. */
static burial_t *free_burial(burial_t *burial)
{
    burial_t *next = burial->next;
    message_fini(&burial->message);
    free(burial);
    return next;
}

void burials_destroy(burials_t **self_p)
{
    burials_t *self = *self_p;
    if (self == NULL)
        return;
    while (self->first != NULL)
        self->first = free_burial(self->first);
    free(self);
    *self_p = NULL;
}

void burials_clear(burials_t *self)
{
    for (burial_t *burial = self->first; burial != NULL; burial = burial->next)
        burial->is_forgotten = true;
}

static void on_buried(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    burial_t *burial = arg;
    burial->is_under_way = false;
    burial->has_failed = fate != PG_OK;
    if (fate == PG_OK)
        metric_add(burial->owner->dead_total, pg_changed(result));
}

/* One array parameter over the rejects behind `content`. */
#define EACH_REJECT(type, put)                                                                     \
    do {                                                                                           \
        mp_reader_t each = content;                                                                \
        pg_array_begin(&params, type);                                                             \
        for (uint32_t i = 0; i < n_rejects && ack_next(&each, &reject); i++)                       \
            put;                                                                                   \
        pg_array_end(&params);                                                                     \
    } while (0)

/* Queues the rows of an acknowledgement's dead letters, all or none. */
static void bury(burials_t *self, burial_t *burial)
{
    mp_reader_t content;
    uint32_t address, n_rejects;
    uint64_t seq;
    reject_t reject;
    pg_params_t params = {0};
    (void)message_kind(message_bytes(&burial->message), &content);
    if (!ack_open(&content, &address, &seq, &n_rejects))
        return;
    pg_put_text(&params, slice_str(burial->actor));
    EACH_REJECT(PG_I64, pg_array_i64(&params, reject.event_id));
    EACH_REJECT(PG_UUID, pg_array_uuid(&params, &reject.stream));
    EACH_REJECT(PG_I64, pg_array_i64(&params, reject.rev));
    EACH_REJECT(PG_TEXT, pg_array_text(&params, reject.reason));
    burial->is_under_way =
        pg_query(self->pg, &insert_dead_letters, &params, on_buried, burial) == ERR_OK;
    burial->has_failed = !burial->is_under_way;
    pg_params_fini(&params);
    (void)pg_sync(self->pg);
}

/* One line for a batch: what stands in the way of one of its events does so for others as well. */
static void complain(const char *actor, slice_t bytes)
{
    reject_t first;
    mp_reader_t content;
    uint32_t address, n_rejects;
    uint64_t seq;
    (void)message_kind(bytes, &content);
    if (!ack_open(&content, &address, &seq, &n_rejects) || !ack_next(&content, &first))
        return;
    log_line(LOG_WARN, "bridge", "an actor cannot handle an event",
             "actor=%s event=%lld reason=\"%.*s\" and_others=%u", actor, (long long)first.event_id,
             (int)first.reason.n_bytes, (const char *)first.reason.data, (unsigned)n_rejects - 1);
}

void burials_add(burials_t *self, const char *actor, unsigned consumer, uint64_t seq, slice_t bytes)
{
    burial_t *burial = calloc(1, sizeof *burial);
    if (burial == NULL)
        abort();
    *burial = (burial_t){.owner = self, .actor = actor, .consumer = consumer, .seq = seq};
    burial->next = self->first;
    self->first = burial;
    message_init(&burial->message, bytes);
    complain(actor, bytes);
    bury(self, burial);
}

int64_t burials_turn(burials_t *self, now_t now)
{
    for (burial_t **link = &self->first; *link != NULL;) {
        burial_t *burial = *link;
        if (!burial->is_under_way && burial->has_failed && !burial->is_forgotten &&
            now.mono_us >= burial->retry_mono_us) {
            burial->retry_mono_us = now.mono_us + RETRY_US;
            bury(self, burial);
        }
        if (burial->is_under_way || (burial->has_failed && !burial->is_forgotten)) {
            link = &burial->next;
            continue;
        }
        if (!burial->is_forgotten)
            self->done(self->arg, burial->consumer, burial->seq);
        *link = free_burial(burial);
    }
    return self->first != NULL ? RETRY_US : INT64_MAX;
}
