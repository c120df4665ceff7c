/* SPDX-License-Identifier: Apache-2.0 */
/* What the statements of live sync say in the same way: who may read a stream. */
#ifndef TASKWIRE_SUBSCRIBE_H
#define TASKWIRE_SUBSCRIBE_H

#include "gateway/live.h"

#define SUBSCRIBE_NOT_FOUND "There is no such stream, or you may not follow it."

/* SQL: the account $2 may read the stream $1, which is the row `s`: its own, or a list that it is a
 * member of. */
#define SUBSCRIBE_MAY_READ                                                                         \
    "(CASE WHEN s.is_account THEN s.id = $2::uuid"                                                 \
    " ELSE EXISTS (SELECT 1 FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"   \
    " WHERE m.list = $1::uuid AND m.account = $2::uuid) END)"

#endif
