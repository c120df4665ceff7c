/* SPDX-License-Identifier: Apache-2.0 */
/* All paths of the interface, and the functions that serve them. */
#ifndef TASKWIRE_ROUTES_H
#define TASKWIRE_ROUTES_H

#include "gateway/call.h"

#define ROUTES_MAX 64

extern const route_t routes[];
extern const size_t n_routes;

/* --- routes_admin.c --- */
void route_metrics(call_t *call);
void route_actors(call_t *call);
void route_healthz(call_t *call);
void route_readyz(call_t *call);
void route_openapi(call_t *call);
void route_asyncapi(call_t *call);
void route_ws_plain(call_t *call);

/* --- routes_account.c --- */
void route_accounts_post(call_t *call);
void route_sessions_post(call_t *call);
void route_session_delete(call_t *call);

/* --- routes_me.c --- */
extern const param_t route_events_params[];
void route_me_get(call_t *call);
void route_me_patch(call_t *call);

/* --- routes_erase.c --- */
void route_me_delete(call_t *call);

/* --- routes_token.c --- */
extern const param_t route_page_params[];
void route_tokens_get(call_t *call);
void route_tokens_post(call_t *call);
void route_token_delete(call_t *call);

/* --- routes_list.c --- */
extern const param_t route_min_rev_params[];
extern const param_t route_list_page_params[];
void route_lists_get(call_t *call);
void route_lists_post(call_t *call);
extern const param_t route_lists_params[];
void route_list_get(call_t *call);
void route_list_patch(call_t *call);
void route_list_delete(call_t *call);
void route_list_restore(call_t *call);

/* --- routes_member.c --- */
void route_members_get(call_t *call);
void route_members_post(call_t *call);
void route_member_patch(call_t *call);
void route_member_delete(call_t *call);

/* --- routes_event.c --- */
extern const param_t route_list_events_params[];
void route_list_events(call_t *call);
void route_me_events(call_t *call);
/* Whether the client asks for the events as they come, and the answer to that (routes_feed.c). */
bool route_wants_feed(const call_t *call);
void route_feed(call_t *call, const uuid_t *stream);
void route_task_history(call_t *call);

/* --- routes_task.c --- */
void route_task_get(call_t *call);
void route_tasks_post(call_t *call);
void route_task_patch(call_t *call);
void route_task_delete(call_t *call);
void route_task_complete(call_t *call);
void route_task_reopen(call_t *call);
void route_task_move(call_t *call);
void route_task_snooze(call_t *call);
void route_task_restore(call_t *call);
void route_reminder_dismiss(call_t *call);

/* --- routes_reminder.c --- */
extern const param_t route_reminders_params[];
void route_reminders_get(call_t *call);

/* Answers a task with its headers: the result of a command that changed it. */
void route_task_answer(call_t *call, const result_t *result, int status);
extern const param_t route_task_delete_params[];

/* --- routes_series.c --- */
extern const param_t route_series_params[];
void route_series_get(call_t *call);
void route_series_patch(call_t *call);
void route_series_delete(call_t *call);

/* --- routes_tasks.c --- */
/* $1: account. Column: its time zone. */
extern const pg_stmt_t select_time_zone;
extern const param_t route_tasks_params[];
extern const param_t route_list_tasks_params[];
void route_tasks_get(call_t *call);
void route_list_tasks_get(call_t *call);

/* --- routes_commands.c --- */
void route_commands_post(call_t *call);

/* --- routes_recurrence.c --- */
void route_recurrence_preview(call_t *call);

/* --- routes_audit.c --- */
void route_audit_verify(call_t *call);

#endif
