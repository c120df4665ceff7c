/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the log of a list is what was written: for its members, of which one statement makes sure
 * before the long reading begins in a thread of its own. */
#include "gateway/object.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

static const pg_stmt_t select_access = {
    "SELECT 1 FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.account = $1::uuid AND m.list = $2::uuid"
    " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"};

static void put_first_bad(const verify_report_t *report, buf_t *out)
{
    mp_put_cstr(out, "first_bad");
    mp_put_map(out, 2);
    mp_put_cstr(out, "rev");
    if (report->first_bad.rev > 0)
        mp_put_int(out, report->first_bad.rev);
    else
        mp_put_nil(out);
    object_text(out, "why", slice_str(report->first_bad.why));
}

static void show_report(call_t *call, const verify_report_t *report)
{
    buf_t buf = {0};
    mp_put_map(&buf, report->ok ? 5 : 6);
    object_bool(&buf, "ok", report->ok);
    object_int(&buf, "events", report->events);
    object_int(&buf, "purged", report->purged);
    object_int(&buf, "head", report->head);
    object_int(&buf, "not_yet", report->not_yet);
    if (!report->ok)
        put_first_bad(report, &buf);
    reply_mp(call, 200, buf_slice(&buf));
    buf_fini(&buf);
}

static void on_access(call_t *call, const pg_result_t *result)
{
    if (pg_rows(result) == 0)
        reply_err(call, ERR_NOT_FOUND, "There is no such list, or you are no member of it.");
    else
        call_verify(call, &call->ids[0], show_report);
}

void route_audit_verify(call_t *call)
{
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    call_read(call, &select_access, params, on_access);
}
