/* SPDX-License-Identifier: Apache-2.0 */
/* The same statement asks and pings: a session that has the lock already gets it again, which is
 * released with the session all the same. So there is nothing to keep in step. */
#include "bridge/lease.h"

#define PING_US INT64_C(300000)

static const pg_stmt_t try_lock = {
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = "
    "pg_backend_pid()"
    " AND classid = 7462 AND granted) THEN true ELSE pg_try_advisory_lock(7462, 0) END, epoch FROM "
    "log_epoch"};

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lease_t *self = arg;
    self->is_asking = false;
    self->held_session = 0;
    if (fate != PG_OK || pg_rows(result) != 1 || pg_bytes(result, 0, 1).n_bytes != EPOCH_CHARS)
        return;
    memcpy(self->epoch, pg_bytes(result, 0, 1).data, EPOCH_CHARS);
    if (pg_bool(result, 0, 0))
        self->held_session = pg_session(self->pg);
}

void lease_open(lease_t *self, actor_t *actor, const char *database_url)
{
    const pg_options_t options = {.url = database_url,
                                  .who = "taskwire relay's lease",
                                  .options =
                                      "-c idle_session_timeout=1500 -c statement_timeout=1500",
                                  .reply_timeout_us = 1500000};
    *self = (lease_t){.pg = pg_new(&options)};
    pg_loop_init(&self->loop, actor, self->pg);
}

void lease_close(lease_t *self)
{
    if (self->pg == NULL)
        return;
    pg_loop_fini(&self->loop);
    pg_destroy(&self->pg);
}

int64_t lease_turn(lease_t *self, now_t now)
{
    int64_t wait_us = pg_loop_turn(&self->loop, now);
    if (!self->is_asking && now.mono_us >= self->ping_mono_us && pg_is_ready(self->pg)) {
        self->ping_mono_us = now.mono_us + PING_US;
        if (pg_query(self->pg, &try_lock, NULL, on_answer, self) == ERR_OK &&
            pg_sync(self->pg) == ERR_OK)
            self->is_asking = true;
        wait_us = pg_loop_turn(&self->loop, now);
    }
    int64_t ping_us = self->ping_mono_us - now.mono_us;
    if (ping_us < 0 || ping_us > PING_US)
        ping_us = PING_US;
    return ping_us < wait_us ? ping_us : wait_us;
}

bool lease_is_held(const lease_t *self)
{
    return self->held_session != 0 && self->held_session == pg_session(self->pg) &&
           pg_is_connected(self->pg);
}

slice_t lease_epoch(const lease_t *self)
{
    return slice_of(self->epoch, EPOCH_CHARS);
}
