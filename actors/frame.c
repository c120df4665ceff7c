/* SPDX-License-Identifier: Apache-2.0 */
/* A frame is one allocation: a count of references, what its readers ask for, and the bytes as they
 * go out on every socket. Server frames are never masked, so a frame depends only on its payload.
 * JSON is what nearly everybody reads; another encoding hangs at the frame from the moment when
 * somebody asks for it. Gateways that do so at the same time make it twice, and one of the two is
 * thrown away.
 *
 * FRAMES carries pointers behind the mark, the last one NULL. Their references belong to the
 * message and go when it is closed, whether it was received or not. */
#include "actors/frame.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FINAL 0x80
#define LENGTH_16 126
#define LENGTH_64 127

/* The bytes in another encoding. */
typedef struct {
    uint32_t n_bytes;
    uint8_t bytes[];
} form_t;

struct frame {
    atomic_uint n_refs;
    uint32_t n_bytes;
    uint32_t n_header; /* of them, before the payload */
    _Atomic(form_t *) forms[ENCODING_COUNT]; /* NULL: not asked for; JSON's never is */
    uuid_t stream;
    int64_t rev;
    int64_t at_us;
    uint8_t bytes[];
};

/* Writes the header and returns its length. */
static size_t write_header(uint8_t out[FRAME_HEADER_MAX], frame_op_t op, uint64_t n_payload)
{
    out[0] = (uint8_t)(FINAL | op);
    if (n_payload < LENGTH_16) {
        out[1] = (uint8_t)n_payload;
        return 2;
    }
    size_t n_length = n_payload <= UINT16_MAX ? 2 : 8;
    out[1] = n_length == 2 ? LENGTH_16 : LENGTH_64;
    for (size_t i = 0; i < n_length; i++)
        out[2 + i] = (uint8_t)(n_payload >> (8 * (n_length - 1 - i)));
    return 2 + n_length;
}

void frame_put(buf_t *out, frame_op_t op, slice_t payload)
{
    uint8_t header[FRAME_HEADER_MAX];
    buf_append(out, header, write_header(header, op, payload.n_bytes));
    buf_append_slice(out, payload);
}

size_t frame_open(buf_t *out)
{
    size_t place = out->n_bytes;
    buf_reserve(out, FRAME_HEADER_MAX);
    out->n_bytes += FRAME_HEADER_MAX;
    return place;
}

void frame_close(buf_t *out, size_t place, frame_op_t op)
{
    uint8_t header[FRAME_HEADER_MAX];
    size_t n_payload = out->n_bytes - place - FRAME_HEADER_MAX;
    size_t n_header = write_header(header, op, n_payload);
    uint8_t *at = out->data + place;
    if (n_header < FRAME_HEADER_MAX)
        memmove(at + n_header, at + FRAME_HEADER_MAX, n_payload);
    memcpy(at, header, n_header);
    out->n_bytes = place + n_header + n_payload;
}

size_t frame_size(slice_t bytes)
{
    if (bytes.n_bytes < 2)
        return 0;
    size_t n_length = bytes.data[1] == LENGTH_16 ? 2 : bytes.data[1] == LENGTH_64 ? 8 : 0;
    if (bytes.n_bytes < 2 + n_length)
        return 0;
    uint64_t n_payload = n_length == 0 ? bytes.data[1] : 0;
    for (size_t i = 0; i < n_length; i++)
        n_payload = n_payload << 8 | bytes.data[2 + i];
    if (n_payload > bytes.n_bytes - 2 - n_length)
        return 0;
    return 2 + n_length + (size_t)n_payload;
}

frame_t *frame_new(const uuid_t *stream, int64_t rev, int64_t at_us, slice_t payload)
{
    uint8_t header[FRAME_HEADER_MAX];
    size_t n_header = payload.data == NULL ? 0 : write_header(header, FRAME_TEXT, payload.n_bytes);
    assert(payload.n_bytes <= UINT32_MAX - FRAME_HEADER_MAX);
    frame_t *self = malloc(sizeof *self + n_header + payload.n_bytes);
    if (self == NULL)
        abort();
    atomic_init(&self->n_refs, 1);
    for (int i = 0; i < ENCODING_COUNT; i++)
        atomic_init(&self->forms[i], NULL);
    self->n_header = (uint32_t)n_header;
    self->n_bytes = (uint32_t)(n_header + payload.n_bytes);
    self->stream = *stream;
    self->rev = rev;
    self->at_us = at_us;
    if (n_header > 0) {
        memcpy(self->bytes, header, n_header);
        memcpy(self->bytes + n_header, payload.data, payload.n_bytes);
    }
    return self;
}

frame_t *frame_share(frame_t *self)
{
    atomic_fetch_add_explicit(&self->n_refs, 1, memory_order_relaxed);
    return self;
}

void frame_release(frame_t **self_p)
{
    frame_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL || atomic_fetch_sub_explicit(&self->n_refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < ENCODING_COUNT; i++)
        free(atomic_load_explicit(&self->forms[i], memory_order_relaxed));
    free(self);
}

const uuid_t *frame_stream(const frame_t *self)
{
    return &self->stream;
}

int64_t frame_rev(const frame_t *self)
{
    return self->rev;
}

int64_t frame_at_us(const frame_t *self)
{
    return self->at_us;
}

slice_t frame_bytes(const frame_t *self)
{
    return slice_of(self->bytes, self->n_bytes);
}

static form_t *new_form(const frame_t *self, encoding_t encoding)
{
    buf_t out = {0};
    size_t place = frame_open(&out);
    buf_append(&out, self->bytes + self->n_header, self->n_bytes - self->n_header);
    (void)frame_finish(&out, place, encoding);
    form_t *form = malloc(sizeof *form + out.n_bytes);
    if (form == NULL)
        abort();
    form->n_bytes = (uint32_t)out.n_bytes;
    if (out.n_bytes > 0)
        memcpy(form->bytes, out.data, out.n_bytes);
    buf_fini(&out);
    return form;
}

slice_t frame_in(frame_t *self, encoding_t encoding)
{
    if (encoding == ENCODING_JSON || self->n_bytes == 0)
        return frame_bytes(self);
    form_t *form = atomic_load_explicit(&self->forms[encoding], memory_order_acquire);
    if (form == NULL) {
        form_t *mine = new_form(self, encoding);
        if (atomic_compare_exchange_strong_explicit(&self->forms[encoding], &form, mine,
                                                    memory_order_acq_rel, memory_order_acquire))
            form = mine;
        else
            free(mine); /* `form` is now what another thread has made */
    }
    return slice_of(form->bytes, form->n_bytes);
}

size_t frame_cost(const frame_t *self)
{
    return sizeof *self + self->n_bytes;
}

static void release_all(void *bytes)
{
    const uint8_t *at = (const uint8_t *)bytes + 1;
    frame_t *frame;
    for (memcpy(&frame, at, sizeof frame); frame != NULL; memcpy(&frame, at, sizeof frame)) {
        at += sizeof frame;
        frame_release(&frame);
    }
}

void frames_message(frame_t *const *frames, size_t n_frames, message_t *out)
{
    static const frame_t *const end = NULL;
    buf_t bytes = {0};
    buf_reserve(&bytes, 1 + (n_frames + 1) * sizeof *frames);
    buf_append_byte(&bytes, MESSAGE_FRAMES_MARK);
    for (size_t i = 0; i < n_frames; i++) {
        frame_t *shared = frame_share(frames[i]);
        buf_append(&bytes, &shared, sizeof shared);
    }
    buf_append(&bytes, &end, sizeof end);
    message_take_refs(out, &bytes, release_all);
}

size_t frames_count(slice_t bytes)
{
    return bytes.n_bytes < 1 + sizeof(frame_t *) ? 0 : (bytes.n_bytes - 1) / sizeof(frame_t *) - 1;
}

frame_t *frames_at(slice_t bytes, size_t i)
{
    frame_t *frame;
    memcpy(&frame, bytes.data + 1 + i * sizeof frame, sizeof frame);
    return frame;
}
