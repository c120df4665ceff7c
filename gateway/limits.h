/* SPDX-License-Identifier: Apache-2.0 */
/* How often a client may ask, how often it may guess, how many connections it may have: one count
 * for the whole process, whichever gateway a connection went to. Owned by the listeners, lent to
 * every gateway. */
#ifndef TASKWIRE_GATEWAY_LIMITS_H
#define TASKWIRE_GATEWAY_LIMITS_H

#include "actors/config.h"
#include "gateway/crowd.h"
#include "gateway/login_limit.h"
#include "gateway/rate.h"

typedef struct {
    rate_t *tokens; /* by id of the token */
    rate_t *addresses; /* of those without a token, by origin_address_key */
    login_limit_t *logins;
    crowd_t *crowd; /* connections, by origin_address_key */
} limits_t;

void limits_init(limits_t *self, const config_t *config);
void limits_fini(limits_t *self);

#endif
