/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/keyring.h"

#include "actors/clock.h"

static const pg_stmt_t select_history = {
    "SELECT e.epoch, e.mac_key, p.epoch FROM log_epoch e LEFT JOIN past_epoch p ON true"};

void keyring_init(keyring_t *self, pg_t *pg, record_coder_t *coder)
{
    *self = (keyring_t){.pg = pg, .coder = coder};
}

void keyring_ask(keyring_t *self)
{
    self->is_wanted = true;
}

static void on_history(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    keyring_t *self = arg;
    slice_t epoch = fate == PG_OK ? pg_bytes(result, 0, 0) : slice_none();
    self->is_asking = false;
    if (epoch.n_bytes != EPOCH_CHARS) {
        self->is_wanted = true;
        return;
    }
    if (self->session == 0 || !slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS)))
        self->has_changed = true;
    memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    self->session = pg_session(self->pg);
    self->asked_mono_us = self->sent_mono_us;
    record_coder_key(self->coder, self->epoch, pg_bytes(result, 0, 1));
    for (int row = 0; row < pg_rows(result); row++) {
        slice_t past = pg_bytes(result, row, 2);
        if (past.n_bytes == EPOCH_CHARS)
            record_coder_past(self->coder, (const char *)past.data);
    }
}

void keyring_turn(keyring_t *self)
{
    bool is_due = self->is_wanted || self->session != pg_session(self->pg);
    if (!is_due || self->is_asking || !pg_is_ready(self->pg))
        return;
    self->sent_mono_us = clock_now().mono_us;
    if (pg_query(self->pg, &select_history, NULL, on_history, self) != ERR_OK)
        return;
    self->is_asking = true;
    self->is_wanted = false;
    (void)pg_sync(self->pg);
}

bool keyring_is_known(const keyring_t *self)
{
    return self->session != 0 && self->session == pg_session(self->pg);
}
