/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the gateway share: the gateway itself and the services of its loop. Thread: the
 * gateway's. */
#ifndef TASKWIRE_GATEWAY_INNER_H
#define TASKWIRE_GATEWAY_INNER_H

#include "actors/message.h"
#include "actors/network.h"
#include "actors/pg.h"
#include "gateway/gateway.h"
#include "gateway/server.h"

typedef struct reads reads_t;
typedef struct task_reads task_reads_t;
typedef struct submits submits_t;
typedef struct auth auth_t;
typedef struct hub hub_t;
typedef struct workers workers_t;
typedef struct http http_t;

struct gateway {
    network_t *network;
    listeners_t *listeners;
    uint32_t index;
    actor_t *actor;
    struct uv_loop_s *loop;
    server_t *server;
    reads_t *reads; /* gateway/reads.h: pooled connections for reading */
    task_reads_t *task_reads; /* gateway/task_reads.h: single tasks, many by one statement */
    submits_t *submits; /* gateway/submit.h: commands under way to the writer */
    auth_t *auth; /* gateway/auth.h: tokens known */
    hub_t *hub; /* gateway/hub.h: streams followed, with their recent frames */
    workers_t *workers; /* gateway/workers.h: slow work (argon2id) off the loop */
    http_t *http; /* gateway/http.h: requests under way, limits, the history's epoch and key */
    now_t now; /* of this turn of the loop */
};

/* --- reads.h --- */

/* Queues a read on the least busy connection, as a group of its own. Errors: UNAVAILABLE,
 * OVERLOADED: `done` is not called then. `done` gets PG_LOST when the connection broke: the caller
 * answers UNAVAILABLE. */
err_t reads_query(reads_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                  void *arg);

/* --- submit.h --- */

/* What became of a command. The result borrows from a message that lives for this call. */
typedef void submit_done_f(void *arg, const result_t *result);

/* Sends a command to the writer; reply_to and tag are filled in here. Commands of one turn of the
 * loop travel as one batch. Returns a handle for submit_forget. Errors, with *handle 0 and done not
 * called: OVERLOADED (too many under way, or the writer's inbox is full). */
err_t submit_command(submits_t *self, command_t *command, submit_done_f *done, void *arg,
                     uint64_t *handle);
/* The asker is gone: done will not be called. The command goes on. */
void submit_forget(submits_t *self, uint64_t handle);

/* --- auth.h --- */

typedef struct {
    uuid_t account;
    uuid_t token;
    bool is_session; /* a login's own token */
    uint32_t scopes;
    const uuid_t *lists; /* the only ones it may touch; none: all. Lives as long as the callback */
    uint32_t n_lists;
    int64_t expires_at_us; /* INSTANT_NONE: never */
} identity_t;

/* `identity` is NULL unless err is OK; else UNAUTHENTICATED, UNAVAILABLE or OVERLOADED. */
typedef void auth_done_f(void *arg, err_t err, const identity_t *identity);

/* Finds out whose secret this is, from the cache (at most 5 s old) or from PostgreSQL. May call
 * back at once. */
void auth_identify(auth_t *self, slice_t secret, auth_done_f *done, void *arg);
/* The secret of a request: Authorization: Bearer, or the session cookie; absent if there is none.
 */
slice_t auth_secret_of(const request_t *request);
/* Forgets what is cached of this account or token. */
void auth_forget(auth_t *self, const access_t *access);

/* --- http.h --- */

/* Whether one more request or socket command may be served now: of this token, or of this address
 * (as text) if the token is nil. Else `retry_us` says after how long. */
bool http_admit(gateway_t *gateway, const uuid_t *token, slice_t address, int64_t *retry_us);
/* The address of the client, as text in the request's arena: behind trusted proxies the one that
 * they name. */
slice_t http_client_address(gateway_t *gateway, request_t *request);
/* Whether the client came by HTTPS, as far as we are told: behind trusted proxies they know. */
bool http_is_secure(gateway_t *gateway, const request_t *request);
/* Whether a browser page of the request's Origin may talk to us: our own or an allowed one. True
 * without an Origin. */
bool http_origin_is_allowed(gateway_t *gateway, const request_t *request);

/* --- problem.c --- */

/* Appends a problem as a JSON object (RFC 9457): type, title, status, detail, code, errors,
 * current, instance. */
void problem_put_json(const problem_t *problem, slice_t request_id, buf_t *out);

/* --- hub.h --- */

/* Takes WATCHED, FRAMES, ACCESS and EPOCH. */
void hub_receive(hub_t *self, message_kind_t kind, mp_reader_t *content, slice_t message);

/* --- ws.c: the WebSocket protocol --- */

/* How often an idle socket is pinged: what welcome says and the server does. */
#define WS_HEARTBEAT_US INT64_C(30000000)

err_t ws_on_upgrade(gateway_t *gateway, request_t *request, const char **subprotocol, void **user);
void ws_on_open(gateway_t *gateway, socket_t *socket);
void ws_on_message(gateway_t *gateway, socket_t *socket, slice_t message, bool is_binary);
bool ws_on_writable(gateway_t *gateway, socket_t *socket, buf_t *out, size_t room);
void ws_on_close(gateway_t *gateway, socket_t *socket, int code);
/* Once a second: login deadlines, tokens that expired. */
void ws_on_tick(gateway_t *gateway);
/* The program stops: 1012 to everyone, event streams end. */
void ws_drain(gateway_t *gateway);

/* --- sse.c: event streams --- */

bool sse_on_writable(gateway_t *gateway, feed_t *feed, buf_t *out, size_t room);
void sse_on_gone(gateway_t *gateway, feed_t *feed);

#endif
