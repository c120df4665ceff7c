/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket frame, encoded once with its header and shared by everyone that it goes to, and the
 * messages that carry frames from sync to the gateways: arrays of references, because frames never
 * leave the process. Every message of the server is written as JSON first; who speaks another
 * encoding gets it turned into that: a shared frame once, for all of them. Source: RFC 6455 §5.2;
 * the HTML standard, "Server-sent events". */
#ifndef TASKWIRE_FRAME_H
#define TASKWIRE_FRAME_H

#include "actors/message.h"

#define FRAME_HEADER_MAX 10

typedef enum {
    FRAME_TEXT = 1,
    FRAME_BINARY = 2,
    FRAME_CLOSE = 8,
    FRAME_PING = 9,
    FRAME_PONG = 10
} frame_op_t;

/* What a client gets its messages in. */
typedef enum {
    ENCODING_JSON, /* text frames */
    ENCODING_MSGPACK, /* binary frames: the same maps, canonical */
    ENCODING_SSE, /* no frames: an event of a text/event-stream, with its id and type */
    ENCODING_COUNT
} encoding_t;

typedef struct frame frame_t;

/* Appends a frame (final, unmasked) with this payload. */
void frame_put(buf_t *out, frame_op_t op, slice_t payload);

/* The same for a payload that is written in place: open reserves the longest header, what is
 * appended then is the payload, close writes the header and moves the payload up to it. Returns the
 * place to hand to close. */
size_t frame_open(buf_t *out);
void frame_close(buf_t *out, size_t place, frame_op_t op);

/* Ends in the same way a message that was written as JSON, in the encoding that its reader gets;
 * for SSE it must be an event. False, and nothing of it is left, if it is no JSON of ours. */
bool frame_finish(buf_t *out, size_t place, encoding_t encoding);

/* The size of the first frame of these bytes, header and payload; 0 if it is not all there. */
size_t frame_size(slice_t bytes);

/* A shared frame of one event, as JSON: its bytes with the header. An absent payload makes one
 * without bytes, which stands for an event that cannot be shown (it was purged). Owns: the caller
 * has the first reference. Thread: any. */
frame_t *frame_new(const uuid_t *stream, int64_t rev, int64_t at_us, slice_t payload);
frame_t *frame_share(frame_t *self);
void frame_release(frame_t **self_p);
const uuid_t *frame_stream(const frame_t *self);
int64_t frame_rev(const frame_t *self);
int64_t frame_at_us(const frame_t *self); /* when the event happened, for the latency metric */
slice_t frame_bytes(const frame_t *self); /* as JSON */
/* Its bytes in that encoding, made when they are first asked for and kept as long as the frame;
 * none if it cannot be shown. Thread: any. */
slice_t frame_in(frame_t *self, encoding_t encoding);
/* The memory that it takes as JSON, in bytes. Each other encoding that was asked for takes about as
 * much again at most. */
size_t frame_cost(const frame_t *self);

/* A message of frames of one stream with consecutive revs; it has references of its own. */
void frames_message(frame_t *const *frames, size_t n_frames, message_t *out);
/* How many frames are in the message's bytes (the mark included), and the one at a place, borrowed
 * from it. */
size_t frames_count(slice_t bytes);
frame_t *frames_at(slice_t bytes, size_t i);

#endif
