/* SPDX-License-Identifier: Apache-2.0 */
/* The message contract: everything that travels between actors, as msgpack arrays whose first
 * element is the kind. A batch is what travels: many commands, results or events in one message.
 *
 * | kind     | from → to               | content                                       |
 * |----------|-------------------------|-----------------------------------------------|
 * | COMMANDS | gateway, actors → writer | commands; each names where its result goes    |
 * | RESULTS  | writer → the sender      | one result per command                        |
 * | EVENTS   | relay → actors           | consecutive events of the log, by shard       |
 * | TERM     | relay → actors           | what was handed out before is void            |
 * | ACK      | actors → relay           | a batch of events is handled and durable      |
 * | LEAD     | relay → reminder         | this process is (not) the one that fires      |
 * | TAIL     | tail → sync              | events out of Kafka, as they come             |
 * | WATCH    | gateway → sync           | follow a stream, or no longer                 |
 * | WATCHED  | sync → gateway           | the answer: what follows comes from here      |
 * | FRAMES   | sync → gateways          | encoded frames of one stream                  |
 * | ACCESS   | sync → gateways          | somebody's access changed                     |
 * | EPOCH    | sync → gateways          | another history: drop everything              |
 * | PURGED   | sync → gateways          | drop the frames of a stream                   |
 *
 * In Kafka mode TERM and EVENTS come from the consumer, and ACK goes to it.
 */
#ifndef TASKWIRE_MESSAGE_H
#define TASKWIRE_MESSAGE_H

#include "actors/mailbox.h"
#include "schema/apply.h"

typedef enum {
    MESSAGE_UNKNOWN,
    MESSAGE_COMMANDS,
    MESSAGE_RESULTS,
    MESSAGE_EVENTS,
    MESSAGE_TERM,
    MESSAGE_ACK,
    MESSAGE_LEAD,
    MESSAGE_TAIL,
    MESSAGE_WATCH,
    MESSAGE_WATCHED,
    MESSAGE_FRAMES,
    MESSAGE_ACCESS,
    MESSAGE_EPOCH,
    MESSAGE_PURGED,
} message_kind_t;

/* The first byte of FRAMES, which no msgpack value begins with. */
#define MESSAGE_FRAMES_MARK 0xc1

/* The kind of a message; the reader stands behind it (for FRAMES, behind the mark). */
message_kind_t message_kind(slice_t bytes, mp_reader_t *content);

/* A batch under construction: a kind and a number of items appended one by one. Zero-initialised is
 * empty. */
typedef struct {
    buf_t buf;
    size_t place;
    size_t n_items;
} batch_t;

/* Begins a batch of this kind if it is empty. */
void batch_begin(batch_t *self, message_kind_t kind);
/* Ends it and makes the message; the batch is empty afterwards. */
void batch_finish(batch_t *self, message_t *out);
void batch_fini(batch_t *self);
/* Reads the number of items behind the kind. */
bool batch_open(mp_reader_t *content, uint32_t *n_items);

/* --- COMMANDS: items are command_encode's (schema/command.h) --- */

/* --- RESULTS --- */

typedef struct {
    uint64_t tag; /* the command's */
    uuid_t command;
    op_t op;
    outcome_t outcome;
} result_t;

void result_encode(const result_t *result, buf_t *out);
/* Borrows from the bytes. */
bool result_decode(mp_reader_t *reader, result_t *out);

/* --- EVENTS --- */

/* An event as the log has it: header and digest from the row, the body as it was written. */
typedef struct {
    int64_t id;
    uint8_t shard;
    uuid_t stream;
    int64_t rev;
    event_type_t type; /* what this program knows of the next */
    int16_t stored_type; /* the number in the row, also one of a newer program */
    uuid_t task;
    uuid_t command;
    uuid_t by;
    int64_t at_us;
    char epoch[EPOCH_CHARS];
    slice_t digest; /* DIGEST_BYTES */
    slice_t body; /* absent: purged */
    slice_t trace; /* TRACE_BYTES: of the request that it goes back to; absent: none */
} log_event_t;

/* EVENTS is [kind, seq, [event, …]]. */
void events_begin(batch_t *self, uint64_t seq);
void events_put(batch_t *self, const log_event_t *event);
bool events_open(mp_reader_t *content, uint64_t *seq, uint32_t *n_events);
bool events_next(mp_reader_t *content, log_event_t *out);

/* --- ACK: [kind, actor, seq, [[event id, stream, rev, reason], …]]: the events that could not be
 * handled --- */

typedef struct {
    int64_t event_id;
    uuid_t stream;
    int64_t rev;
    slice_t reason;
} reject_t;

void ack_encode(uint32_t actor, uint64_t seq, const reject_t *rejects, size_t n_rejects,
                message_t *out);
bool ack_open(mp_reader_t *content, uint32_t *actor, uint64_t *seq, uint32_t *n_rejects);
bool ack_next(mp_reader_t *content, reject_t *out);

/* --- TERM: [kind, bool, epoch]: batches from before are void; others of this epoch follow, or none
 * --- */

void term_encode(bool is_on, const char epoch[EPOCH_CHARS], message_t *out);
bool term_decode(mp_reader_t *content, bool *is_on, char epoch[EPOCH_CHARS]);

/* --- LEAD: [kind, bool] --- */

void lead_encode(bool is_leading, message_t *out);
bool lead_decode(mp_reader_t *content, bool *is_leading);

/* --- TAIL: [kind, [[before, event], …]]: `before` is the id of the event before it in its shard.
 * Any may be missing, come twice or late --- */

void tail_begin(batch_t *self);
void tail_put(batch_t *self, const log_event_t *event, int64_t before);
bool tail_next(mp_reader_t *content, log_event_t *out, int64_t *before);

/* --- WATCH: [kind, gateway, stream, bool on]; WATCHED: [kind, stream, epoch, first, next] ---
 * The frames FIRST … NEXT-1 come as FRAMES right behind WATCHED (none if equal); from NEXT on as
 * they happen. NEXT is 0 while sync has seen no event of the stream: then the first live frame says
 * where live begins. */

typedef struct {
    uint32_t gateway;
    uuid_t stream;
    bool on;
} watch_t;

void watch_encode(const watch_t *watch, message_t *out);
bool watch_decode(mp_reader_t *content, watch_t *out);

typedef struct {
    uuid_t stream;
    char epoch[EPOCH_CHARS];
    int64_t first;
    int64_t next;
} watched_t;

void watched_encode(const watched_t *watched, message_t *out);
bool watched_decode(mp_reader_t *content, watched_t *out);

/* --- FRAMES: raw, not msgpack, because they are the hottest path: see actors/frame.h --- */

/* --- ACCESS: [kind, account, list | nil, token | nil]: look up again what you know of it --- */

typedef struct {
    uuid_t account; /* nil: everybody */
    uuid_t
        list; /* nil: not about a list; with `account` nil: everything is to be looked up again */
    uuid_t token; /* nil: all of the account's */
} access_t;

void access_encode(const access_t *access, message_t *out);
bool access_decode(mp_reader_t *content, access_t *out);

/* --- EPOCH: [kind, epoch] --- */

void epoch_encode(const char epoch[EPOCH_CHARS], message_t *out);
bool epoch_decode(mp_reader_t *content, char out[EPOCH_CHARS]);

/* --- PURGED: [kind, stream | nil: all]: what it said may be gone from the log --- */

void purged_encode(const uuid_t *stream, message_t *out);
bool purged_decode(mp_reader_t *content, uuid_t *out);

#endif
