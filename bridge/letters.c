/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of letters, each stored in a transaction of its own, without waiting for the one before:
 * what the database refuses of one must not harm another. A letter that it refuses for what it says
 * is told in the log and given up, for it must not hold up the partition. */
#include "bridge/letters.h"

#include "actors/log.h"

#include <stdlib.h>

#define MAX_LETTERS 256
#define MAX_BYTES ((size_t)8 * 1024 * 1024)
#define RETRY_US INT64_C(250000)

typedef enum { LETTER_NEW, LETTER_SENT, LETTER_STORED } letter_state_t;

typedef struct {
    letters_t *owner;
    letter_state_t state;
    dead_letter_t letter;
    record_t record;
    buf_t bytes; /* of the record */
} letter_t;

struct letters {
    pg_t *pg;
    letter_t *letters[MAX_LETTERS]; /* a ring */
    size_t first;
    size_t n;
    size_t n_bytes;
    int64_t retry_mono_us;
    uint64_t n_done;
    log_once_t trouble;
    metric_t *dead_total;
};

letters_t *letters_new(network_t *network, pg_t *pg)
{
    letters_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->pg = pg;
    self->dead_total = metrics_counter(network->metrics, "taskwire_dead_letters_total", NULL,
                                       "Events that an actor refused");
    return self;
}

static letter_t *letter_at(const letters_t *self, size_t i)
{
    return self->letters[(self->first + i) % MAX_LETTERS];
}

static void drop_first(letters_t *self)
{
    letter_t *letter = letter_at(self, 0);
    self->n_bytes -= letter->bytes.n_bytes;
    self->first = (self->first + 1) % MAX_LETTERS;
    self->n--;
    buf_fini(&letter->bytes);
    free(letter);
}

void letters_destroy(letters_t **self_p)
{
    letters_t *self = *self_p;
    if (self == NULL)
        return;
    while (self->n > 0)
        drop_first(self);
    free(self);
    *self_p = NULL;
}

/* --- a copy of a record --- */

static size_t size_of(const record_t *record)
{
    size_t n = record->key.n_bytes + record->value.n_bytes;
    for (size_t i = 0; i < record->n_headers; i++)
        n += record->headers[i].name.n_bytes + record->headers[i].value.n_bytes;
    return n;
}

/* There is room for it. What is null stays so. */
static void keep(buf_t *bytes, slice_t *slice)
{
    if (slice->data == NULL)
        return;
    const uint8_t *at = bytes->data + bytes->n_bytes;
    buf_append(bytes, slice->data, slice->n_bytes);
    slice->data = at;
}

static letter_t *copy(const dead_letter_t *from)
{
    letter_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->letter = *from;
    self->record = *from->record;
    self->letter.record = &self->record;
    (void)buf_reserve(&self->bytes, size_of(&self->record) + 1);
    keep(&self->bytes, &self->record.key);
    keep(&self->bytes, &self->record.value);
    for (size_t i = 0; i < self->record.n_headers; i++) {
        keep(&self->bytes, &self->record.headers[i].name);
        keep(&self->bytes, &self->record.headers[i].value);
    }
    return self;
}

uint64_t letters_add(letters_t *self, const dead_letter_t *letter)
{
    if (self->n == MAX_LETTERS || self->n_bytes > MAX_BYTES)
        return 0;
    if (log_once(&self->trouble))
        log_line(LOG_WARN, "consumer", "a record cannot be used; it becomes a dead letter",
                 "topic=%s partition=%d offset=%lld reason=\"%s\"", letter->topic,
                 (int)letter->partition, (long long)letter->offset, letter->reason);
    letter_t *kept = copy(letter);
    kept->owner = self;
    self->letters[(self->first + self->n) % MAX_LETTERS] = kept;
    self->n++;
    self->n_bytes += kept->bytes.n_bytes;
    return self->n_done + self->n;
}

uint64_t letters_done(const letters_t *self)
{
    return self->n_done;
}

/* --- storing --- */

static void on_stored(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    letter_t *letter = arg;
    letters_t *self = letter->owner;
    letter->state = LETTER_STORED;
    if (fate == PG_OK) {
        metric_add(self->dead_total, pg_changed(result));
    } else if (fate == PG_REJECTED) {
        log_line(LOG_ERROR, "consumer", "a dead letter cannot be stored", "offset=%lld why=\"%s\"",
                 (long long)letter->letter.offset, pg_message(result));
    } else {
        letter->state = LETTER_NEW;
        self->retry_mono_us = clock_now().mono_us + RETRY_US;
    }
}

int64_t letters_turn(letters_t *self, now_t now)
{
    while (self->n > 0 && letter_at(self, 0)->state == LETTER_STORED) {
        drop_first(self);
        self->n_done++;
    }
    if (self->n == 0) {
        (void)log_clear(&self->trouble);
        return INT64_MAX;
    }
    for (size_t i = 0; i < self->n && now.mono_us >= self->retry_mono_us; i++) {
        letter_t *letter = letter_at(self, i);
        if (letter->state != LETTER_NEW)
            continue;
        if (!pg_is_ready(self->pg) ||
            dead_letter_store(self->pg, &letter->letter, on_stored, letter) != ERR_OK)
            break;
        letter->state = LETTER_SENT;
        (void)pg_sync(self->pg);
    }
    return RETRY_US;
}
