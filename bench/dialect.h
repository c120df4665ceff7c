/* SPDX-License-Identifier: Apache-2.0 */
/* What is said over a WebSocket: to taskwire, and to the servers that it is measured beside, by the
 * same load generator. */
#ifndef TASKWIRE_BENCH_DIALECT_H
#define TASKWIRE_BENCH_DIALECT_H

#include "bench/ws.h"
#include "schema/uuid.h"

/* What a follower follows, and from where on. */
typedef struct {
    char id[UUID_TEXT_CHARS + 1];
    char epoch[64];
    int64_t rev;
} stream_t;

typedef enum {
    SAID_NOTHING, /* what needs no answer */
    SAID_WELCOME, /* to who is logged in, and follows nothing yet */
    SAID_LIVE, /* to who follows now */
    SAID_EVENT,
    SAID_DONE, /* to the writer */
    SAID_REFUSED,
    SAID_RESET, /* to who was too slow, and has to enter again */
    SAID_PING, /* which wants `pong` */
    SAID_ODD,
} said_t;

/* One thing that a server says; borrows. */
typedef struct {
    said_t what;
    slice_t text;
    int64_t rev; /* of an event */
} message_t;

typedef struct {
    const char *name;
    const char *path;
    const char *protocol; /* NULL: none */
    ws_opcode_t opcode; /* of what is sent */
    bool has_welcome; /* else who follows nothing is there with the handshake */
    bool has_answers; /* to writes */
    const char *pong; /* NULL: none is wanted */
    /* Appends what follows the stream, with all after that rev. */
    void (*enter)(buf_t *out, const stream_t *stream, int64_t after);
    /* Appends the write of this number (from 1) to the stream, whose event carries the stamp.
     * `target` is a line of the file of targets. */
    void (*write)(buf_t *out, const stream_t *stream, const char *target, int64_t number,
                  int64_t wall_us);
    /* Reads the first message in the bytes of one or more frames. The length that it takes, 0 if
     * more must come. */
    size_t (*read)(slice_t bytes, message_t *message);
} dialect_t;

/* The dialect of that name; NULL if there is none. */
const dialect_t *dialect_find(const char *name);

#endif
