/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: the header of RFC 6455 at each of its three lengths, and who owns what of a message of
 * frames. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/frame.h"
#include "schema/json.h"

static const uuid_t stream = {{1, 2, 3}};

static void assert_header(size_t n_payload, const uint8_t *header, size_t n_header)
{
    buf_t payload = {0};
    buf_t out = {0};
    memset(buf_reserve(&payload, n_payload + 1), 'x', n_payload);
    payload.n_bytes = n_payload;
    frame_put(&out, FRAME_TEXT, buf_slice(&payload));
    assert_int_equal(out.n_bytes, n_header + n_payload);
    assert_memory_equal(out.data, header, n_header);
    if (n_payload > 0)
        assert_memory_equal(out.data + n_header, payload.data, n_payload);
    buf_fini(&payload);
    buf_fini(&out);
}

static void a_frame_has_the_shortest_length(void **state)
{
    (void)state;
    assert_header(0, (const uint8_t[]){0x81, 0}, 2);
    assert_header(125, (const uint8_t[]){0x81, 125}, 2);
    assert_header(126, (const uint8_t[]){0x81, 126, 0, 126}, 4);
    assert_header(65535, (const uint8_t[]){0x81, 126, 0xff, 0xff}, 4);
    assert_header(65536, (const uint8_t[]){0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10);
}

static void a_frame_written_in_place_has_the_same_bytes(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 70000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        buf_t payload = {0};
        buf_t expected = {0};
        buf_t out = {0};
        memset(buf_reserve(&payload, sizes[i] + 1), 'y', sizes[i] + 1);
        payload.n_bytes = sizes[i];
        frame_put(&expected, FRAME_TEXT, slice_str("before"));
        frame_put(&expected, FRAME_BINARY, buf_slice(&payload));
        frame_put(&out, FRAME_TEXT, slice_str("before"));
        size_t place = frame_open(&out);
        buf_append_slice(&out, buf_slice(&payload));
        frame_close(&out, place, FRAME_BINARY);
        assert_true(slice_eq(buf_slice(&out), buf_slice(&expected)));
        buf_fini(&payload);
        buf_fini(&expected);
        buf_fini(&out);
    }
}

static void the_size_of_a_frame_is_read_from_its_header(void **state)
{
    static const size_t sizes[] = {0, 125, 126, 65536};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        buf_t payload = {0};
        buf_t out = {0};
        memset(buf_reserve(&payload, sizes[i] + 1), 'z', sizes[i] + 1);
        payload.n_bytes = sizes[i];
        frame_put(&out, FRAME_TEXT, buf_slice(&payload));
        size_t n_bytes = out.n_bytes;
        frame_put(&out, FRAME_TEXT, slice_str("behind"));
        assert_int_equal(frame_size(buf_slice(&out)), n_bytes);
        for (size_t cut = 0; cut < n_bytes; cut += cut < 16 ? 1 : 997)
            assert_int_equal(frame_size(slice_of(out.data, cut)), 0);
        buf_fini(&payload);
        buf_fini(&out);
    }
}

static void a_shared_frame_knows_its_place_and_its_bytes(void **state)
{
    (void)state;
    frame_t *frame = frame_new(&stream, 7, 1234, slice_str("{}"));
    frame_t *other = frame_share(frame);
    frame_release(&frame);
    assert_null(frame);
    assert_true(uuid_eq(frame_stream(other), &stream));
    assert_int_equal(frame_rev(other), 7);
    assert_int_equal(frame_at_us(other), 1234);
    assert_true(slice_eq(frame_bytes(other), slice_of("\x81\x02{}", 4)));
    assert_true(frame_cost(other) > 4);
    frame_release(&other);
    frame_release(&other);
}

#define EVENT_PAIRS                                                                                \
    "\"stream\":\"s\",\"rev\":12,\"epoch\":\"abc\",\"type\":\"task.updated\",\"set\":{\"notes\":"  \
    "\"a\\nb\"}"

static void each_encoding_is_made_once_of_the_same_event(void **state)
{
    static const char sse[] = "id: abc:12\nevent: task.updated\ndata: {" EVENT_PAIRS "}\n\n";
    (void)state;
    frame_t *frame = frame_new(&stream, 12, 0, slice_str("{\"op\":\"event\"," EVENT_PAIRS "}"));
    assert_true(slice_eq(frame_in(frame, ENCODING_JSON), frame_bytes(frame)));
    slice_t binary = frame_in(frame, ENCODING_MSGPACK);
    assert_int_equal(binary.data[0], 0x82);
    assert_int_equal(frame_size(binary), binary.n_bytes);
    slice_t map = slice_of(binary.data + 2, binary.n_bytes - 2);
    buf_t json = {0};
    assert_true(mp_is_canonical(map));
    assert_true(json_from_mp(map, &json));
    assert_true(slice_is(buf_slice(&json), "{\"op\":\"event\"," EVENT_PAIRS "}"));
    buf_fini(&json);
    assert_ptr_equal(frame_in(frame, ENCODING_MSGPACK).data, binary.data);
    assert_true(slice_is(frame_in(frame, ENCODING_SSE), sse));
    frame_release(&frame);
}

#define N_THREADS 4
#define N_FRAMES 200

typedef struct {
    frame_t **frames;
    slice_t got[N_FRAMES];
} asker_t;

static void *ask_for_all(void *arg)
{
    asker_t *self = arg;
    for (int i = 0; i < N_FRAMES; i++)
        self->got[i] = frame_in(self->frames[i], i % 2 ? ENCODING_SSE : ENCODING_MSGPACK);
    return NULL;
}

/* As two gateways do that share a frame. */
static void who_asks_at_the_same_time_gets_the_same_bytes(void **state)
{
    frame_t *frames[N_FRAMES];
    static asker_t askers[N_THREADS];
    pthread_t threads[N_THREADS];
    (void)state;
    for (int i = 0; i < N_FRAMES; i++)
        frames[i] = frame_new(&stream, 12, 0, slice_str("{\"op\":\"event\"," EVENT_PAIRS "}"));
    for (int i = 0; i < N_THREADS; i++) {
        askers[i].frames = frames;
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_all, &askers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_FRAMES; i++) {
        assert_true(askers[0].got[i].n_bytes > 0);
        for (int n = 1; n < N_THREADS; n++)
            assert_ptr_equal(askers[n].got[i].data, askers[0].got[i].data);
        frame_release(&frames[i]);
    }
}

static void what_is_no_message_of_ours_has_no_other_encoding(void **state)
{
    buf_t out = {0};
    (void)state;
    frame_t *frame = frame_new(&stream, 12, 0, slice_str("{\"op\":"));
    assert_int_equal(frame_in(frame, ENCODING_MSGPACK).n_bytes, 0);
    assert_int_equal(frame_in(frame, ENCODING_SSE).n_bytes, 0);
    frame_release(&frame);
    buf_append_str(&out, "before");
    size_t place = frame_open(&out);
    buf_append_str(&out, "{\"op\":\"pong\"}");
    assert_false(frame_finish(&out, place, ENCODING_SSE));
    assert_true(slice_is(buf_slice(&out), "before"));
    buf_fini(&out);
}

static void an_event_that_cannot_be_shown_has_a_frame_without_bytes(void **state)
{
    (void)state;
    frame_t *frame = frame_new(&stream, 7, 1234, slice_none());
    assert_int_equal(frame_bytes(frame).n_bytes, 0);
    assert_int_equal(frame_in(frame, ENCODING_MSGPACK).n_bytes, 0);
    assert_int_equal(frame_rev(frame), 7);
    frame_release(&frame);
}

static void a_message_of_frames_has_references_of_its_own(void **state)
{
    frame_t *frames[3];
    message_t message;
    message_t copy;
    mp_reader_t content;
    (void)state;
    for (int i = 0; i < 3; i++)
        frames[i] = frame_new(&stream, 10 + i, 0, slice_str("{}"));
    frames_message(frames, 3, &message);
    for (int i = 0; i < 3; i++)
        frame_release(&frames[i]);
    message_share(&copy, &message);
    message_fini(&message);
    assert_int_equal(message_kind(message_bytes(&copy), &content), MESSAGE_FRAMES);
    assert_int_equal(frames_count(message_bytes(&copy)), 3);
    frame_t *kept = frame_share(frames_at(message_bytes(&copy), 1));
    message_fini(&copy); /* nobody took them out: a leak would be reported */
    assert_int_equal(frame_rev(kept), 11);
    frame_release(&kept);
}

static void a_broken_message_holds_no_frames(void **state)
{
    (void)state;
    assert_int_equal(frames_count(slice_of("", 0)), 0);
    assert_int_equal(frames_count(slice_of("\xc1", 1)), 0);
    assert_int_equal(frames_count(slice_of("\xc1\0\0\0\0\0\0\0\0", 9)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_has_the_shortest_length),
        cmocka_unit_test(a_frame_written_in_place_has_the_same_bytes),
        cmocka_unit_test(the_size_of_a_frame_is_read_from_its_header),
        cmocka_unit_test(a_shared_frame_knows_its_place_and_its_bytes),
        cmocka_unit_test(each_encoding_is_made_once_of_the_same_event),
        cmocka_unit_test(who_asks_at_the_same_time_gets_the_same_bytes),
        cmocka_unit_test(what_is_no_message_of_ours_has_no_other_encoding),
        cmocka_unit_test(an_event_that_cannot_be_shown_has_a_frame_without_bytes),
        cmocka_unit_test(a_message_of_frames_has_references_of_its_own),
        cmocka_unit_test(a_broken_message_holds_no_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
