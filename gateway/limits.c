/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/limits.h"

#define MAX_TOKENS 16384
#define MAX_ADDRESSES 65536
#define MAX_LOGINS 65536

void limits_init(limits_t *self, const config_t *config)
{
    self->tokens = rate_new(config->rate_limit, MAX_TOKENS);
    self->addresses = rate_new(config->rate_limit_anonymous, MAX_ADDRESSES);
    self->logins = login_limit_new(MAX_LOGINS);
    self->crowd = crowd_new(config->connection_limit);
}

void limits_fini(limits_t *self)
{
    rate_destroy(&self->tokens);
    rate_destroy(&self->addresses);
    login_limit_destroy(&self->logins);
    crowd_destroy(&self->crowd);
}
