/* SPDX-License-Identifier: Apache-2.0 */
/* The table of paths. What is asked for most stands first. */
#include "gateway/routes.h"

#define LIST "/v1/lists/{list}"
#define TASK "/v1/tasks/{task}"
#define SERIES "/v1/series/{series}"

const route_t routes[] = {
    {METHOD_GET, TASK, ROUTE_FOR_READERS, route_task_get, NULL},
    {METHOD_PATCH, TASK, ROUTE_FOR_WRITERS, route_task_patch, NULL},
    {METHOD_DELETE, TASK, ROUTE_FOR_WRITERS, route_task_delete, route_task_delete_params},
    {METHOD_POST, TASK "/complete", ROUTE_FOR_WRITERS, route_task_complete, NULL},
    {METHOD_POST, TASK "/reopen", ROUTE_FOR_WRITERS, route_task_reopen, NULL},
    {METHOD_POST, TASK "/move", ROUTE_FOR_WRITERS, route_task_move, NULL},
    {METHOD_POST, TASK "/snooze", ROUTE_FOR_WRITERS, route_task_snooze, NULL},
    {METHOD_POST, TASK "/restore", ROUTE_FOR_WRITERS, route_task_restore, NULL},
    {METHOD_POST, TASK "/reminders/{reminder}/dismiss", ROUTE_FOR_WRITERS, route_reminder_dismiss,
     NULL},
    {METHOD_GET, "/v1/reminders", ROUTE_FOR_READERS, route_reminders_get, route_reminders_params},
    {METHOD_GET, TASK "/history", ROUTE_FOR_READERS, route_task_history, route_page_params},
    {METHOD_GET, "/v1/tasks", ROUTE_FOR_READERS, route_tasks_get, route_tasks_params},
    {METHOD_GET, LIST "/tasks", ROUTE_FOR_READERS, route_list_tasks_get, route_list_tasks_params},
    {METHOD_POST, LIST "/tasks", ROUTE_FOR_WRITERS, route_tasks_post, NULL},
    {METHOD_GET, LIST "/events", ROUTE_FOR_READERS, route_list_events, route_list_events_params},
    {METHOD_GET, LIST, ROUTE_FOR_READERS, route_list_get, route_min_rev_params},
    {METHOD_PATCH, LIST, ROUTE_FOR_WRITERS, route_list_patch, NULL},
    {METHOD_DELETE, LIST, ROUTE_FOR_WRITERS, route_list_delete, NULL},
    {METHOD_POST, LIST "/restore", ROUTE_FOR_WRITERS, route_list_restore, NULL},
    {METHOD_GET, LIST "/members", ROUTE_FOR_READERS, route_members_get, route_list_page_params},
    {METHOD_POST, LIST "/members", ROUTE_FOR_WRITERS, route_members_post, NULL},
    {METHOD_PATCH, LIST "/members/{account}", ROUTE_FOR_WRITERS, route_member_patch, NULL},
    {METHOD_DELETE, LIST "/members/{account}", ROUTE_FOR_WRITERS, route_member_delete, NULL},
    {METHOD_GET, "/v1/lists", ROUTE_FOR_READERS, route_lists_get, route_lists_params},
    {METHOD_POST, "/v1/lists", ROUTE_FOR_WRITERS, route_lists_post, NULL},
    {METHOD_POST, "/v1/accounts", ROUTE_FOR_ANYONE, route_accounts_post, NULL},
    {METHOD_POST, "/v1/sessions", ROUTE_FOR_ANYONE, route_sessions_post, NULL},
    {METHOD_DELETE, "/v1/sessions/current", ROUTE_FOR_SESSIONS, route_session_delete, NULL},
    {METHOD_GET, "/v1/me", ROUTE_FOR_READERS, route_me_get, NULL},
    {METHOD_PATCH, "/v1/me", ROUTE_FOR_SESSIONS, route_me_patch, NULL},
    {METHOD_DELETE, "/v1/me", ROUTE_FOR_SESSIONS, route_me_delete, NULL},
    {METHOD_GET, "/v1/me/events", ROUTE_FOR_READERS, route_me_events, route_events_params},
    {METHOD_GET, "/v1/tokens", ROUTE_FOR_SESSIONS, route_tokens_get, route_page_params},
    {METHOD_POST, "/v1/tokens", ROUTE_FOR_SESSIONS, route_tokens_post, NULL},
    {METHOD_DELETE, "/v1/tokens/{token}", ROUTE_FOR_SESSIONS, route_token_delete, NULL},
    {METHOD_POST, "/v1/commands", ROUTE_FOR_WRITERS, route_commands_post, NULL},
    {METHOD_GET, SERIES, ROUTE_FOR_READERS, route_series_get, route_series_params},
    {METHOD_PATCH, SERIES, ROUTE_FOR_WRITERS, route_series_patch, NULL},
    {METHOD_DELETE, SERIES, ROUTE_FOR_WRITERS, route_series_delete, NULL},
    {METHOD_POST, "/v1/recurrence/preview", ROUTE_FOR_READERS, route_recurrence_preview, NULL},
    {METHOD_GET, "/v1/audit/{list}/verify", ROUTE_FOR_READERS, route_audit_verify, NULL},
    {METHOD_GET, "/v1/ws", ROUTE_FOR_ANYONE, route_ws_plain, NULL},
    {METHOD_GET, "/openapi.yaml", ROUTE_FOR_ANYONE, route_openapi, NULL},
    {METHOD_GET, "/asyncapi.yaml", ROUTE_FOR_ANYONE, route_asyncapi, NULL},
    {METHOD_GET, "/healthz", ROUTE_FOR_PROBES, route_healthz, NULL},
    {METHOD_GET, "/readyz", ROUTE_FOR_PROBES, route_readyz, NULL},
    {METHOD_GET, "/metrics", ROUTE_FOR_ADMIN, route_metrics, NULL},
    {METHOD_GET, "/actors", ROUTE_FOR_ADMIN, route_actors, NULL},
};

const size_t n_routes = sizeof routes / sizeof *routes;

_Static_assert(sizeof routes / sizeof *routes <= ROUTES_MAX, "metrics have a row per route");
