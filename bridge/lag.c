/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/lag.h"

#define ASK_US INT64_C(2000000)

/* By the index on (shard, id) alone; each shard has a limit of its own, so that one which is far
 * behind is not counted beyond it. */
static const pg_stmt_t count_events = {
    "SELECT count(*) FROM (SELECT 1 FROM unnest($1::smallint[], $2::bigint[]) AS p(shard, after)"
    " CROSS JOIN LATERAL (SELECT 1 FROM event WHERE shard = p.shard AND id > p.after LIMIT "
    "$3::bigint) e LIMIT $3::bigint) n"};

static void on_counted(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    lag_t *self = arg;
    self->is_asking = false;
    if (fate == PG_OK && pg_rows(result) == 1)
        self->n_events = pg_int(result, 0, 0);
}

bool lag_is_due(const lag_t *self, now_t now)
{
    return !self->is_asking && now.mono_us >= self->ask_mono_us;
}

void lag_ask(lag_t *self, pg_t *pg, const int64_t positions[N_SHARDS], now_t now)
{
    pg_params_t params = {0};
    if (!pg_is_ready(pg))
        return;
    self->ask_mono_us = now.mono_us + ASK_US;
    pg_array_begin(&params, PG_I16);
    for (int16_t shard = 0; shard < N_SHARDS; shard++)
        pg_array_i16(&params, shard);
    pg_array_end(&params);
    pg_array_begin(&params, PG_I64);
    for (unsigned shard = 0; shard < N_SHARDS; shard++)
        pg_array_i64(&params, positions[shard]);
    pg_array_end(&params);
    pg_put_i64(&params, LAG_MAX_EVENTS);
    self->is_asking = pg_query(pg, &count_events, &params, on_counted, self) == ERR_OK;
    (void)pg_sync(pg);
    pg_params_fini(&params);
}
