/* SPDX-License-Identifier: Apache-2.0 */
/* What the statements of live sync say in the same way: who may read a stream. */
#ifndef TASKWIRE_SUBSCRIBE_H
#define TASKWIRE_SUBSCRIBE_H

#include "gateway/live.h"

#define SUBSCRIBE_NOT_FOUND "There is no such stream, or you may not follow it."

/* SQL: the account may read the stream of this row: its own, or a list that it is a member of. */
#define SUBSCRIBE_MAY_READ(stream, account)                                                                            \
    "(CASE WHEN " stream ".is_account THEN " stream ".id = " account                                                   \
    " ELSE EXISTS (SELECT 1 FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"                       \
    " WHERE m.list = " stream ".id AND m.account = " account ") END)"

#endif
