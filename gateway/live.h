/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of live sync share: a socket has subscriptions, a subscription has a place in a
 * stream, a stream that is followed has a ring of frames and its subscriptions. There is no queue
 * per client: what a client is to get next is found by its subscriptions' cursors at the moment
 * when its socket takes more. Thread: the gateway's.
 *
 *   hub.c        streams: following them, their rings, waking subscriptions
 *   ws_upgrade.c who may have a socket, in which subprotocol
 *   ws.c         sockets: login, messages, answers, closing
 *   subscribe.c  subscriptions: their beginning and their end
 *   roster.c     sockets that follow all of their account's streams
 *   deliver.c    what is written when a socket takes more
 *   backfill.c   events read from the log for who is behind the ring
 *   snapshot.c   the state of a stream for who cannot resume
 *   sse.c        event streams: readers of one stream each, over HTTP
 *   recheck.c    access that changed
 *   ws_command.c commands */
#ifndef TASKWIRE_LIVE_H
#define TASKWIRE_LIVE_H

#include "actors/idmap.h"
#include "actors/links.h"
#include "gateway/cursor.h"
#include "gateway/hub.h"
#include "gateway/ws_request.h"

#define WS_MAX_SUBSCRIPTIONS 1000
#define WS_MAX_COMMANDS 256
#define WS_OUTBOX_BUSY_BYTES ((size_t)1024 * 1024) /* with more waiting no command is taken */
#define WS_OUTBOX_BYTES                                                                            \
    ((size_t)256 * 1024) /* answers that a socket may leave waiting in any case */
#define WS_OUTBOX_MAX_BYTES                                                                        \
    ((size_t)16 * 1024 * 1024) /* … and as long as all together leave less than that: */
#define SSE_MAX 16384 /* event streams of a gateway, and of an account on it: */
#define SSE_MAX_OF_ACCOUNT 1000
#define HUB_OUTBOX_BYTES ((size_t)32 * 1024 * 1024)

typedef struct ws ws_t;
typedef struct followed followed_t;
typedef struct subscription subscription_t;
typedef struct page page_t; /* backfill.c */
typedef struct snapshot snapshot_t; /* snapshot.c */
typedef struct roster roster_t; /* roster.c */
typedef struct call call_t; /* gateway/call.h */

/* A question that is under way for somebody who may be gone when the answer comes. */
typedef struct {
    hub_t *hub;
    void *asker; /* NULL: gone */
} ask_t;

/* --- a stream that somebody here is subscribed to --- */

struct followed {
    idnode_t node; /* by stream id, in hub.followed */
    link_t subscriptions;
    link_t lru; /* in hub.lru while it has frames */
    link_t unsaid; /* in hub.unsaid while sync has not been told what is wanted */
    link_t recheck; /* in hub.rechecks while memberships have to be looked up */
    ring_t ring;
    bool is_asked; /* WATCH was sent */
    bool is_watched; /* WATCHED came: from then on no frame is missed */
    bool is_rechecking;
    bool must_recheck_again;
};

/* --- a client's place in a stream --- */

typedef enum {
    SUB_FOLLOWING, /* until the stream is being followed, in the history that the database has */
    SUB_CHECKING, /* access and head are being looked up */
    SUB_SHOWING, /* a snapshot waits, is loaded or goes out */
    SUB_FLOWING, /* events go out */
} phase_t;

/* What the client asked; gone when it has been answered. */
typedef struct {
    char *ref; /* as JSON; NULL: none */
    bool can_resume; /* it named a position: */
    int64_t after; /* of an event stream also SSE_FROM_HEAD */
    char epoch[EPOCH_CHARS]; /* of an event stream all 0 if any will do */
    bool closed;
    int64_t deadline_us; /* for the stream to be followed; monotonic */
} opening_t;

struct subscription {
    link_t of_stream; /* in followed.subscriptions */
    link_t of_socket; /* in ws.subscriptions */
    link_t ready; /* in ws.ready while there may be something to write */
    link_t waiting; /* in a queue of subscribe.c, backfill.c or snapshot.c */
    followed_t *followed;
    ws_t *ws;
    opening_t *opening;
    cursor_t cursor;
    ask_t *ask; /* what is under way for it; one at a time */
    page_t *page;
    snapshot_t *snapshot;
    phase_t phase;
    bool is_of_all; /* the client did not name the stream */
    bool is_suspended; /* its access is being looked up again: nothing goes out */
    bool is_allowed; /* while that is evaluated */
    bool must_check_again; /* access changed while `ask` was under way */
};

/* --- a socket, or who reads an event stream --- */

typedef enum {
    WS_ANONYMOUS, /* has not said who it is */
    WS_IDENTIFYING, /* its secret is being looked up */
    WS_OPEN,
    WS_CLOSING, /* nothing is taken any more */
} ws_state_t;

struct ws {
    gateway_t *gateway;
    hub_t *hub;
    socket_t *socket; /* NULL until it is open, and of an event stream; that has */
    call_t *call; /* its request until it is answered, then */
    feed_t *feed; /* the answer */
    int64_t written_us; /* when something went out; of an event stream only; monotonic */
    char address[PEER_CHARS]; /* the client's, behind proxies too */
    link_t of_hub;
    link_t suspect; /* in hub.suspects while its token is looked up again */
    idnode_t by_account; /* in hub.accounts while it is logged in; the id is the account's */
    uuid_t token;
    uuid_t *lists; /* the only ones that it may touch; none: all */
    uint32_t n_lists;
    uint32_t scopes;
    int64_t expires_at_us;
    int64_t deadline_us; /* monotonic: of the login, later of draining */
    link_t subscriptions;
    link_t ready;
    link_t commands; /* under way */
    roster_t *roster; /* NULL: it follows what it has named */
    uint32_t n_subscriptions;
    uint32_t n_commands;
    ask_t *ask; /* who it is */
    buf_t outbox;
    size_t outbox_at; /* what of it has gone out */
    buf_t held; /* messages that came too early: length and bytes each */
    char *hello_ref; /* JSON; NULL: none */
    ws_state_t state;
    int close_code; /* while closing before it was open */
    encoding_t encoding;
    bool is_session;
    bool is_writing; /* on_writable will be called */
    bool is_suspended; /* its token is being looked up again */
    bool must_suspect_again;
    bool is_ending; /* close with 1012 when everything has been answered */
};

/* --- the hub --- */

struct hub {
    gateway_t *gateway;
    port_t *sync;
    idmap_t followed;
    idmap_t accounts; /* sockets that are logged in */
    link_t sockets; /* all */
    char epoch[EPOCH_CHARS]; /* the history that sync follows */
    link_t lru; /* streams with frames; the first moved longest ago */
    link_t unsaid;
    size_t n_ring_bytes;
    size_t n_outbox_bytes;
    link_t rechecks;
    link_t suspects;
    ask_t *suspects_ask;
    link_t followers; /* subscriptions that wait until their stream is followed */
    link_t checks; /* subscriptions that wait until they can be looked up */
    link_t pages; /* subscriptions that wait to read the log */
    link_t held_pages; /* those that hold a page; the first has held it for the longest time without
                          a write */
    uint32_t n_pages; /* being read or held */
    link_t snapshots; /* subscriptions that wait to load one */
    link_t held_snapshots;
    link_t rosters; /* of sockets that follow all of their account's streams */
    link_t unread_rosters;
    uint32_t n_reading_rosters;
    uint32_t n_feeds; /* event streams, those that have not begun included */
    uint32_t n_loading;
    size_t n_snapshot_bytes;
    arena_t *arena; /* of the message being handled */
    pg_params_t params; /* for one statement at a time */
    bool is_draining;
    metric_t *n_subscribers;
    metric_t *n_frames_sent;
    metric_t *n_resets;
    metric_t *n_event_streams;
    metric_t *commit_to_frame;
};

/* --- hub.c --- */

/* Ties the subscription to its stream, which is followed from then on; subscription_followed is
 * called when it is, perhaps at once. */
void hub_join(hub_t *self, subscription_t *subscription, const uuid_t *stream);
void hub_leave(hub_t *self, subscription_t *subscription);
/* Settles what has been left: streams that nobody wants any more, and what sync has not been told
 * because its inbox was full. Called once a second, and after each message. */
void hub_tick(hub_t *self);
/* Has the stream settled, at a moment when nobody walks its subscriptions. */
void hub_settle_later(hub_t *self, followed_t *followed);
/* Whether this is the history that sync follows. If not, one of the two has not heard of the other
 * yet. */
bool hub_is_epoch(const hub_t *self, slice_t epoch);
/* A question for `asker`, to be freed by who gets the answer. */
ask_t *ask_new(hub_t *hub, void *asker);

/* --- ws.c --- */

/* A socket that is about to open. */
ws_t *ws_new(gateway_t *gateway, encoding_t encoding);
/* Ends all that it follows and frees it. */
void ws_destroy(ws_t *self);
/* It is this account's from here on. */
void ws_keep_identity(ws_t *self, const identity_t *identity);
/* What was to be said is not said. */
void ws_drop_outbox(ws_t *self);
/* Finds out whose secret that is; what comes meanwhile is held. */
void ws_identify(ws_t *self, slice_t secret);
/* Begins an answer in the outbox, and ends it; between them the JSON is appended to `outbox`. */
size_t ws_begin(ws_t *self);
void ws_end(ws_t *self, size_t place);
/* Whether one more request that costs something may be served now; else `problem` says why not. */
bool ws_admit(ws_t *self, problem_t *problem);
/* Counts one more request that is not refused: it is a part of one that was admitted. */
void ws_charge(ws_t *self);
/* Answers a request with a problem. */
void ws_refuse(ws_t *self, slice_t ref, const problem_t *problem);
/* Sees to it that on_writable is called. */
void ws_wake(ws_t *self);
/* Closes at once; what was not written is dropped. */
void ws_close(ws_t *self, int code, const char *reason);
/* Its token was looked up again: it goes on, or is closed. */
void ws_cleared(ws_t *self, bool is_valid);
/* One command less is under way. */
void ws_settled(ws_t *self);

/* --- subscribe.c --- */

void subscribe(ws_t *ws, const ws_request_t *request);
void unsubscribe(ws_t *ws, const ws_request_t *request);
/* What stands against it that can be said without asking the database; the former without counting
 * it as one more request. */
problem_t subscribe_check_stream(const ws_t *ws, const ws_request_t *request);
problem_t subscribe_check(ws_t *ws, const ws_request_t *request);
/* Subscribes to a stream; one of the same stream begins anew. `is_of_all`: the client did not name
 * it, so if it may not read it, that is `removed`. */
void subscription_begin(ws_t *ws, const ws_request_t *request, bool is_of_all);
/* The socket's subscription to a stream, or NULL. */
subscription_t *subscription_find(ws_t *ws, const uuid_t *stream);
/* Its stream is followed from here on. */
void subscription_followed(subscription_t *self);
/* Looks access and head up (again), as soon as the database takes the question. */
void subscription_check(subscription_t *self);
void subscription_tick(hub_t *hub);
/* The database has gone on to another history than sync: begins anew when sync has followed. */
void subscription_await_epoch(subscription_t *self);
/* Goes on with events behind `after`, of a stream with that head. */
void subscription_flow(subscription_t *self, int64_t after, int64_t head);
/* Ends it without a word. */
void subscription_end(subscription_t *self);
/* Ends it with a problem, reset or removed. */
void subscription_refuse(subscription_t *self, err_t err, const char *detail);
void subscription_reset(subscription_t *self, const char *reason);
void subscription_remove(subscription_t *self);
/* Whether it has been answered, so that a change of access concerns it at once. */
bool subscription_is_showing(const subscription_t *self);
/* It has not been answered: what was looked up so far does not count any more. */
void subscription_ask_again(subscription_t *self);
const uuid_t *subscription_stream(const subscription_t *self);
bool subscription_is_account(const subscription_t *self);

/* --- roster.c --- */

void subscribe_all(ws_t *ws, const ws_request_t *request);
void unsubscribe_all(ws_t *ws, const ws_request_t *request);
/* Ends following all; the subscriptions stay. */
void roster_drop(ws_t *ws);
/* A subscription of the socket to this stream has ended because access had. */
void roster_lost(ws_t *ws, const uuid_t *stream);
/* The account's own stream is followed from here on, or it cannot be. */
void roster_account_followed(ws_t *ws);
void roster_account_refused(ws_t *ws);
/* Somebody's access changed: the lists of whom it concerns are read again. */
void roster_access(hub_t *hub, const access_t *access);
void roster_tick(hub_t *hub);

/* --- deliver.c --- */

/* The subscription may have something to write. */
void deliver_later(subscription_t *subscription);
/* Appends what is due to the socket until `out` holds about `end` bytes. True: there is more. */
bool deliver(ws_t *ws, buf_t *out, size_t end);

/* --- backfill.c --- */

/* Reads the next events of the subscription from the log, as soon as it is its turn. */
void backfill_want(subscription_t *subscription);
/* Appends frames of the page that was read until `out` holds `end` bytes; drops a page that has
 * gone out. Always true: there may be more elsewhere. */
bool backfill_put(subscription_t *subscription, buf_t *out, size_t end);
void backfill_drop(subscription_t *subscription);
void backfill_tick(hub_t *hub);

/* --- snapshot.c --- */

/* Loads the state of the stream, as soon as it is its turn. */
void snapshot_want(subscription_t *subscription);
/* Appends the next message of it; the last one makes the subscription flow. Always true: there is
 * more to do. */
bool snapshot_put(subscription_t *subscription, buf_t *out);
void snapshot_drop(subscription_t *subscription);
/* Whether a message of it has gone out. */
bool snapshot_has_begun(const subscription_t *subscription);
void snapshot_tick(hub_t *hub);

/* --- sse.c --- */

#define SSE_FROM_HEAD INT64_C(-1)

/* The position that a client of an event stream has. */
typedef struct {
    int64_t after; /* SSE_FROM_HEAD: none, it wants what comes from now on */
    slice_t epoch; /* absent: any */
} sse_place_t;

/* Answers the call with an event stream, or with a problem. */
void sse_open(call_t *call, const uuid_t *stream, const sse_place_t *place);
/* Its access and this head were looked up: it begins, or has to read the state anew. */
void sse_answer(subscription_t *self, const pg_result_t *result);
/* What ends it; the subscription is gone afterwards, the reader soon, or at once if it has not
 * begun. */
void sse_refuse(subscription_t *self, const problem_t *problem);
void sse_reset(subscription_t *self, const char *reason);
void sse_remove(subscription_t *self);
void sse_close(ws_t *self, int code, const char *reason);
/* Once a second. */
void sse_tick(ws_t *self);

/* --- recheck.c --- */

/* Somebody's access changed: nothing goes out to whom it concerns before it has been looked up
 * again. */
void recheck_access(hub_t *hub, const access_t *access);
void recheck_tick(hub_t *hub);

/* --- ws_command.c --- */

void ws_command(ws_t *ws, const ws_request_t *request);
/* The socket is gone: its commands go on, nobody hears of them. */
void ws_command_forget_all(ws_t *ws);

#endif
