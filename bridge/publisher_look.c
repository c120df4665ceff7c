/* SPDX-License-Identifier: Apache-2.0 */
/* Some events do not say what becomes of a task (its body was purged, or it is a whole list that
 * was deleted or restored): then the tasks are read. Until their records are given to the producer
 * no other event is: so nothing that happened after the reading comes before it in the topic. */
#include "bridge/publisher_private.h"

#include <stdlib.h>

#define PAGE_REVS 200

/* The tasks that events of a list are about, page by page of its revisions: also those that have no
 * row any more. A task that is in another list now, or deleted, or in a deleted list, has no body.
 */
static const pg_stmt_t select_tasks = {
    "SELECT DISTINCT ON (p.task) p.task, b.body, max(p.rev) OVER (), count(*) OVER () FROM (SELECT"
    " e.task, e.rev FROM event e WHERE e.stream = $1::uuid AND e.rev > $2::bigint ORDER BY e.rev"
    " LIMIT $3::bigint) p LEFT JOIN LATERAL (SELECT t.body FROM task t JOIN list l ON l.id = t.list"
    " WHERE t.id = p.task AND t.list = $1::uuid AND t.deleted_at IS NULL AND l.deleted_at IS NULL) "
    "b"
    " ON true ORDER BY p.task"};
static const pg_stmt_t select_task = {
    "SELECT k.id, (SELECT t.body FROM task t JOIN list l ON l.id = t.list WHERE t.id = k.id AND"
    " t.list = $1::uuid AND t.deleted_at IS NULL AND l.deleted_at IS NULL) FROM (SELECT $2::uuid)"
    " AS k(id)"};

void publisher_look(publisher_t *self, record_update_t update, const log_event_t *event,
                    uint32_t ticket)
{
    self->look = update == UPDATE_READ_LIST ? LOOK_LIST : LOOK_TASK;
    self->look_event = *event;
    size_t n = event->digest.n_bytes < DIGEST_BYTES ? event->digest.n_bytes : DIGEST_BYTES;
    memcpy(self->look_digest, event->digest.data, n);
    self->look_event.digest = slice_of(self->look_digest, n);
    self->look_event.body = slice_none();
    self->look_event.trace = slice_none();
    self->look_before = self->taken[event->shard];
    self->look_rev = 0;
    self->look_ticket = ticket;
    progress_hold(self->progress, ticket);
}

static void end_look(publisher_t *self)
{
    self->look = LOOK_NONE;
    progress_release(self->progress, self->look_ticket);
}

/* False: the producer does not take it; everything comes again. */
static bool tell_task(publisher_t *self, const uuid_t *task, slice_t body)
{
    record_t record;
    if (uuid_is_nil(task))
        return true;
    record_of_task(self->coder, &self->look_event, self->look_before, task, body,
                   slice_str(self->relay), &record);
    return publisher_give(self, KAFKA_TASK_UPDATES, self->look_event.shard, &record,
                          self->look_ticket) == ERR_OK;
}

static void on_tasks(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asked_t *asked = arg;
    publisher_t *self = asked->owner;
    int n_rows = pg_rows(result);
    bool is_good = publisher_is_current(asked);
    free(asked);
    if (!is_good)
        return;
    self->look = self->look_wanted;
    if (fate != PG_OK) {
        self->retry_mono_us = clock_now().mono_us + RETRY_US;
        return;
    }
    for (int row = 0; row < n_rows && is_good; row++) {
        uuid_t task = pg_uuid(result, row, 0);
        is_good = tell_task(self, &task, pg_bytes(result, row, 1));
    }
    if (!is_good)
        publisher_begin_run(self);
    else if (self->look == LOOK_LIST && n_rows > 0 && pg_int(result, 0, 3) == PAGE_REVS)
        self->look_rev = pg_int(result, 0, 2);
    else
        end_look(self);
}

void publisher_look_turn(publisher_t *self, now_t now)
{
    if ((self->look != LOOK_TASK && self->look != LOOK_LIST) || !pg_is_ready(self->pg) ||
        now.mono_us < self->retry_mono_us || !kafka_producer_has_room(self->producer, PAGE_RECORDS))
        return;
    pg_params_t params = {0};
    asked_t *asked = publisher_asked(self, self->look_ticket);
    const pg_stmt_t *stmt = self->look == LOOK_LIST ? &select_tasks : &select_task;
    pg_put_uuid(&params, &self->look_event.stream);
    if (self->look == LOOK_LIST) {
        pg_put_i64(&params, self->look_rev);
        pg_put_i64(&params, PAGE_REVS);
    } else {
        pg_put_uuid(&params, &self->look_event.task);
    }
    self->look_wanted = self->look;
    if (pg_query(self->pg, stmt, &params, on_tasks, asked) == ERR_OK)
        self->look = LOOK_ASKED;
    else
        free(asked);
    (void)pg_sync(self->pg);
    pg_params_fini(&params);
}
