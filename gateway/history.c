/* SPDX-License-Identifier: Apache-2.0 */
/* The key of the epoch vouches for records of the log and for page tokens alike, so each use
 * derives a key of its own from it. */
#include "gateway/history.h"

#include <sodium.h>

#define PAGE_KEY_LABEL "taskwire page token"

static const pg_stmt_t select_epoch = {"SELECT epoch, mac_key FROM log_epoch"};

void history_init(history_t *self, gateway_t *gateway)
{
    *self = (history_t){.gateway = gateway};
}

static void derive_page_key(slice_t mac_key, uint8_t out[PAGE_TOKEN_KEY_BYTES])
{
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, PAGE_TOKEN_KEY_BYTES);
    crypto_generichash_update(&hash, (const uint8_t *)PAGE_KEY_LABEL, strlen(PAGE_KEY_LABEL));
    crypto_generichash_update(&hash, mac_key.data, mac_key.n_bytes);
    crypto_generichash_final(&hash, out, PAGE_TOKEN_KEY_BYTES);
}

static void on_epoch(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    history_t *self = arg;
    self->is_loading = false;
    if (fate != PG_OK || pg_rows(result) != 1 || pg_bytes(result, 0, 0).n_bytes != EPOCH_CHARS)
        return;
    memcpy(self->epoch, pg_bytes(result, 0, 0).data, EPOCH_CHARS);
    derive_page_key(pg_bytes(result, 0, 1), self->page_key);
    self->is_known = true;
}

void history_load(history_t *self)
{
    if (self->is_known || self->is_loading)
        return;
    err_t err = reads_query(self->gateway->reads, &select_epoch, NULL, on_epoch, self);
    self->is_loading = err == ERR_OK;
}

/* One that is being read may be the old one; then the next row that is read will say so. */
void history_forget(history_t *self)
{
    self->is_known = false;
    history_load(self);
}

void history_note(history_t *self, slice_t epoch)
{
    if (self->is_known && !slice_eq(epoch, slice_of(self->epoch, EPOCH_CHARS)))
        history_forget(self);
}
