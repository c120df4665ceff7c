/* SPDX-License-Identifier: Apache-2.0 */
/* The check reads every event of a list, on a connection of its own and in a thread of its own. The client may be gone
 * before it has ended; what the thread touches is therefore not the call's. */
#include <stdlib.h>

#include "actors/verify.h"
#include "gateway/object.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/workers.h"

static const pg_stmt_t select_membership = {
    "SELECT 1 FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"
    " WHERE m.account = $1::uuid AND m.list = $2::uuid AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"};

typedef struct {
    call_t *call;
    const config_t *config;
    uuid_t list;
    err_t err;
    verify_report_t report;
} check_t;

/* In its thread. */
static void run_check(void *arg, const atomic_bool *is_cancelled)
{
    check_t *check = arg;
    check->err = verify_list(check->config, &check->list, is_cancelled, &check->report);
}

static void reply_report(call_t *call, const verify_report_t *report)
{
    buf_t out = {0};
    mp_put_map(&out, report->ok ? 4 : 5);
    object_bool(&out, "ok", report->ok);
    object_int(&out, "events", report->events);
    object_int(&out, "purged", report->purged);
    object_int(&out, "head", report->head);
    if (!report->ok) {
        mp_put_cstr(&out, "first_bad");
        mp_put_map(&out, 2);
        object_int(&out, "rev", report->first_bad.rev);
        object_text(&out, "why", slice_str(report->first_bad.why));
    }
    reply_mp(call, 200, buf_slice(&out));
    buf_fini(&out);
}

static void on_checked(void *arg, err_t err)
{
    check_t *check = arg;
    call_t *call = check->call;
    if (err == ERR_OK)
        err = check->err;
    if (call->request != NULL && err == ERR_OK)
        reply_report(call, &check->report);
    else if (call->request != NULL)
        reply_err(call, err, NULL);
    call_release(call);
    free(check);
}

static void start_check(call_t *call, const pg_result_t *result)
{
    if (pg_rows(result) == 0) {
        reply_err(call, ERR_NOT_FOUND, "There is no such list, or you are no member of it.");
        return;
    }
    check_t *check = calloc(1, sizeof *check);
    if (check == NULL)
        abort();
    check->call = call;
    check->config = call->gateway->network->config;
    check->list = call->ids[0];
    call->n_refs++;
    err_t err = workers_run(call->gateway->workers, run_check, on_checked, check);
    if (err == ERR_OK)
        return;
    free(check);
    reply_err(call, err, "Too many lists are being checked at the moment.");
    call_release(call);
}

void route_audit_verify(call_t *call)
{
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    pg_put_uuid(params, &call->ids[0]);
    call_put_lists(call, params);
    call_read(call, &select_membership, params, start_check);
}
