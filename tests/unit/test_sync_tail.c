/* SPDX-License-Identifier: Apache-2.0 */
/* What the sync actor makes of the events that Kafka brings: in order, twice, late, of another
 * epoch, or not at all. The log of live_world.h has everything, and is read when sync asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/live_world.h"

static port_t *to_sync;
static message_t last;
static bool has_last;

/* --- the gateway's side --- */

static message_kind_t receive(mp_reader_t *content)
{
    if (has_last)
        message_fini(&last);
    has_last = mailbox_recv(w.inbox, &last);
    if (!has_last)
        return MESSAGE_UNKNOWN;
    return message_kind(message_bytes(&last), content);
}

static void assert_nothing(void)
{
    mp_reader_t content;
    assert_int_equal(receive(&content), MESSAGE_UNKNOWN);
}

static void assert_frames(const w_stream_t *stream, int64_t first, int64_t last_rev)
{
    mp_reader_t content;
    assert_int_equal(receive(&content), MESSAGE_FRAMES);
    slice_t bytes = message_bytes(&last);
    assert_int_equal(frames_count(bytes), last_rev - first + 1);
    for (int64_t rev = first; rev <= last_rev; rev++) {
        const frame_t *frame = frames_at(bytes, (size_t)(rev - first));
        assert_true(uuid_eq(frame_stream(frame), &stream->id));
        assert_int_equal(frame_rev(frame), rev);
    }
}

static int64_t count(const char *fate)
{
    char labels[40];
    snprintf(labels, sizeof labels, "fate=\"%s\"", fate);
    return metric_value(
        metrics_counter(w.network.metrics, "taskwire_sync_kafka_events_total", labels, ""));
}

/* --- driving it --- */

static void turn(void)
{
    w_touch(1000);
    w_step_sync();
}

/* Answers everything that it asks, until it asks no more. */
static void run(void)
{
    for (int i = 0; i < 20; i++) {
        turn();
        while (w.asks != NULL)
            w_answer_sync(PG_OK);
    }
}

static void watch(const w_stream_t *stream)
{
    mp_reader_t content;
    watch_t wanted = {0, stream->id, true};
    message_t message;
    watch_encode(&wanted, &message);
    assert_int_equal(port_send(to_sync, &message), ERR_OK);
    turn();
    assert_int_equal(receive(&content), MESSAGE_WATCHED);
}

static int64_t id_before(const w_stream_t *stream, int64_t id)
{
    int64_t found = 0;
    for (int i = 0; i < W_STREAMS; i++) {
        const w_stream_t *other = &w.streams[i];
        for (int at = 0; at < other->n_events; at++) {
            if (shard_of(&other->id) == shard_of(&stream->id) && other->events[at].id < id &&
                other->events[at].id > found)
                found = other->events[at].id;
        }
    }
    return found;
}

static void put(batch_t *batch, const w_stream_t *stream, int64_t rev)
{
    const w_event_t *event = &stream->events[rev - 1];
    log_event_t out = {.id = event->id,
                       .shard = (uint8_t)shard_of(&stream->id),
                       .stream = stream->id,
                       .rev = rev,
                       .type = event->type,
                       .stored_type = (int16_t)event->type,
                       .at_us = w.now.wall_us,
                       .body = buf_slice(&event->body)};
    memcpy(out.epoch, w.epoch, EPOCH_CHARS);
    tail_begin(batch);
    tail_put(batch, &out, id_before(stream, event->id));
}

static void send(batch_t *batch)
{
    message_t message;
    batch_finish(batch, &message);
    assert_int_equal(port_send(to_sync, &message), ERR_OK);
    turn();
}

/* Kafka brings the events FIRST … LAST of a stream. */
static void bring(const w_stream_t *stream, int64_t first, int64_t last_rev)
{
    batch_t batch = {0};
    for (int64_t rev = first; rev <= last_rev; rev++)
        put(&batch, stream, rev);
    send(&batch);
}

/* Another process writes. */
static void append(w_stream_t *stream, int n)
{
    while (n-- > 0)
        w_append(stream, EVENT_TASK_UPDATED, -1);
}

static int setup(void **state)
{
    (void)state;
    w_begin_fed(16);
    to_sync = network_port(&w.network, ADDRESS_SYNC);
    run();
    watch(w_list(0));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (has_last)
        message_fini(&last);
    has_last = false;
    port_destroy(&to_sync);
    w_end();
    return 0;
}

/* --- the cases --- */

static void what_is_next_is_shown_without_a_look_at_the_log(void **state)
{
    (void)state;
    append(w_list(0), 3);
    bring(w_list(0), 1, 2);
    assert_frames(w_list(0), 1, 2);
    bring(w_list(0), 3, 3);
    assert_frames(w_list(0), 3, 3);
    assert_null(w.asks);
    assert_int_equal(count("taken"), 3);
}

static void what_comes_again_is_dropped(void **state)
{
    (void)state;
    append(w_list(0), 2);
    bring(w_list(0), 1, 2);
    assert_frames(w_list(0), 1, 2);
    bring(w_list(0), 1, 2);
    bring(w_list(0), 2, 2);
    assert_nothing();
    assert_null(w.asks);
    assert_int_equal(count("known"), 3);
}

static void what_the_log_has_brought_is_dropped(void **state)
{
    (void)state;
    w_change(0); /* rings the bell: by this process */
    w_change(0);
    run();
    assert_frames(w_list(0), 1, 2);
    bring(w_list(0), 1, 2);
    assert_nothing();
    append(w_list(0), 1);
    bring(w_list(0), 3, 3);
    assert_frames(w_list(0), 3, 3);
}

static void before_one_that_does_not_fit_the_log_is_read(void **state)
{
    (void)state;
    append(w_list(0), 4);
    bring(w_list(0), 1, 1);
    assert_frames(w_list(0), 1, 1);
    bring(w_list(0), 3, 4);
    assert_nothing();
    assert_int_equal(count("gap"), 1);
    run();
    assert_frames(w_list(0), 2, 4);
    append(w_list(0), 1);
    bring(w_list(0), 5, 5);
    assert_frames(w_list(0), 5, 5);
}

static void a_gap_in_another_stream_of_the_shard_is_one(void **state)
{
    (void)state;
    while (shard_of(&w_list(1)->id) != shard_of(&w_list(0)->id))
        w_list(1)->id.bytes[1]++;
    watch(w_list(1));
    append(w_list(1), 1); /* is lost */
    append(w_list(0), 1);
    bring(w_list(0), 1, 1);
    assert_nothing();
    run();
    mp_reader_t content;
    int n = 0;
    while (receive(&content) == MESSAGE_FRAMES)
        n++;
    assert_int_equal(n, 2); /* of both */
}

/* Whatever its place in the shard says. */
static void a_revision_that_is_missing_is_read_from_the_log(void **state)
{
    (void)state;
    append(w_list(0), 1);
    bring(w_list(0), 1, 1);
    assert_frames(w_list(0), 1, 1);
    append(w_list(0), 2);
    batch_t batch = {0};
    put(&batch, w_list(0), 3);
    const w_event_t *third = &w_list(0)->events[2];
    batch_t wrong = {0};
    log_event_t out;
    int64_t before;
    uint32_t n;
    mp_reader_t content;
    message_t message;
    batch_finish(&batch, &message);
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_TAIL);
    assert_true(batch_open(&content, &n) && tail_next(&content, &out, &before));
    assert_int_equal(out.id, third->id);
    tail_begin(&wrong);
    tail_put(&wrong, &out, w_list(0)->events[0].id); /* says that it is the very next */
    message_fini(&message);
    send(&wrong);
    assert_nothing();
    run();
    assert_frames(w_list(0), 2, 3);
}

static void what_comes_while_the_log_is_read_is_not_lost(void **state)
{
    (void)state;
    append(w_list(0), 3);
    bring(w_list(0), 2, 2); /* a gap: the log is asked */
    append(w_list(0), 1);
    bring(w_list(0), 3, 4);
    assert_nothing();
    run();
    assert_frames(w_list(0), 1, 4);
    append(w_list(0), 1);
    bring(w_list(0), 5, 5);
    assert_frames(w_list(0), 5, 5);
}

static void a_reading_that_is_overtaken_brings_nothing_twice(void **state)
{
    (void)state;
    append(w_list(0), 2);
    w_touch(1100000);
    turn(); /* polls: asks for all shards from where it is */
    bring(w_list(0), 1, 1);
    assert_frames(w_list(0), 1, 1);
    run();
    assert_frames(w_list(0), 2, 2);
    assert_nothing();
}

static void a_stream_that_comes_by_another_partition_goes_on(void **state)
{
    batch_t batch = {0};
    (void)state;
    append(w_list(0), 4);
    /* The new partition is ahead of the old one. */
    bring(w_list(0), 3, 4);
    run();
    assert_frames(w_list(0), 1, 4);
    bring(w_list(0), 1, 2);
    assert_nothing();
    append(w_list(0), 1);
    put(&batch, w_list(0), 5);
    send(&batch);
    assert_frames(w_list(0), 5, 5);
}

static void what_is_of_another_epoch_is_not_shown_and_the_database_asked(void **state)
{
    char old[EPOCH_CHARS + 1];
    (void)state;
    memcpy(old, w.epoch, sizeof old);
    append(w_list(0), 1);
    w_touch(200000);
    memcpy(w.epoch, "epoch-0000000001", EPOCH_CHARS);
    bring(w_list(0), 1, 1);
    memcpy(w.epoch, old, EPOCH_CHARS);
    assert_nothing();
    assert_non_null(w.asks);
    assert_int_equal(w.asks->kind, W_ASK_EPOCH);
    run(); /* which says that it is the same: it was another database's, or is over */
    bring(w_list(0), 1, 1);
    assert_frames(w_list(0), 1, 1);
}

static void in_a_new_epoch_events_go_on_from_where_its_log_ends(void **state)
{
    mp_reader_t content;
    (void)state;
    append(w_list(0), 2);
    bring(w_list(0), 1, 2);
    assert_frames(w_list(0), 1, 2);
    memcpy(w.epoch, "epoch-0000000001", EPOCH_CHARS);
    append(w_list(0), 1);
    w_touch(200000);
    bring(w_list(0), 3, 3); /* the database is asked now, and in a while for its heads */
    run();
    w_touch(110000);
    run();
    assert_int_equal(receive(&content), MESSAGE_EPOCH);
    while (receive(&content) != MESSAGE_UNKNOWN)
        ;
    append(w_list(0), 1);
    bring(w_list(0), 4, 4);
    assert_frames(w_list(0), 4, 4);
}

static void what_kafka_never_brings_is_found_by_looking(void **state)
{
    (void)state;
    append(w_list(0), 2);
    w_touch(900000);
    run();
    assert_nothing();
    w_touch(200000);
    run();
    assert_frames(w_list(0), 1, 2);
}

static void the_bell_brings_it_at_once(void **state)
{
    (void)state;
    append(w_list(0), 2);
    doorbell_ring(actor_bell(sync_actor(w.sync)), shard_bit(&w_list(0)->id));
    run();
    assert_frames(w_list(0), 1, 2);
}

static void clients_are_shown_what_kafka_brings_while_the_database_is_away(void **state)
{
    (void)state;
    append(w_list(0), 4);
    w.is_down = true;
    bring(w_list(0), 1, 2);
    assert_frames(w_list(0), 1, 2);
    bring(w_list(0), 4, 4);
    run();
    assert_nothing();
    w.is_down = false;
    run();
    assert_frames(w_list(0), 3, 4);
}

static void what_was_purged_does_not_come_back_from_kafka(void **state)
{
    mp_reader_t content;
    (void)state;
    append(w_list(0), 2);
    bring(w_list(0), 1, 1);
    assert_frames(w_list(0), 1, 1);
    w_purge(w_list(0), 2);
    w_touch(510000);
    message_kind_t kind = MESSAGE_UNKNOWN;
    for (int i = 0; i < 20 && kind != MESSAGE_PURGED; i++) {
        turn();
        if (w.asks != NULL)
            w_answer_sync(PG_OK);
        kind = receive(&content);
    }
    assert_int_equal(kind, MESSAGE_PURGED);
    bring(w_list(0), 2, 2); /* as it was written */
    assert_nothing();
    run();
    assert_frames(w_list(0), 2, 2);
    assert_int_equal(frame_bytes(frames_at(message_bytes(&last), 0)).n_bytes, 0);
    append(w_list(0), 1);
    bring(w_list(0), 3, 3);
    assert_frames(w_list(0), 3, 3);
}

static void before_it_is_known_where_the_log_ends_nothing_is_taken(void **state)
{
    (void)state;
    port_destroy(&to_sync);
    w_end();
    w_begin_fed(16);
    to_sync = network_port(&w.network, ADDRESS_SYNC);
    append(w_list(0), 2);
    bring(w_list(0), 2, 2);
    assert_int_equal(count("taken") + count("gap"), 0);
    run();
    watch(w_list(0));
    append(w_list(0), 1);
    bring(w_list(0), 3, 3);
    assert_frames(w_list(0), 3, 3);
}

static void a_broken_message_is_dropped(void **state)
{
    message_t message;
    batch_t batch = {0};
    (void)state;
    append(w_list(0), 2);
    put(&batch, w_list(0), 1);
    batch_finish(&batch, &message);
    slice_t bytes = message_bytes(&message);
    for (size_t n = 1; n < bytes.n_bytes; n++) {
        message_t cut;
        message_init(&cut, slice_of(bytes.data, n));
        assert_int_equal(port_send(to_sync, &cut), ERR_OK);
        turn();
    }
    message_fini(&message);
    assert_nothing();
    bring(w_list(0), 1, 2);
    assert_frames(w_list(0), 1, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_next_is_shown_without_a_look_at_the_log),
        TEST(what_comes_again_is_dropped),
        TEST(what_the_log_has_brought_is_dropped),
        TEST(before_one_that_does_not_fit_the_log_is_read),
        TEST(a_gap_in_another_stream_of_the_shard_is_one),
        TEST(a_revision_that_is_missing_is_read_from_the_log),
        TEST(what_comes_while_the_log_is_read_is_not_lost),
        TEST(a_reading_that_is_overtaken_brings_nothing_twice),
        TEST(a_stream_that_comes_by_another_partition_goes_on),
        TEST(what_is_of_another_epoch_is_not_shown_and_the_database_asked),
        TEST(in_a_new_epoch_events_go_on_from_where_its_log_ends),
        TEST(what_kafka_never_brings_is_found_by_looking),
        TEST(the_bell_brings_it_at_once),
        TEST(clients_are_shown_what_kafka_brings_while_the_database_is_away),
        TEST(what_was_purged_does_not_come_back_from_kafka),
        TEST(before_it_is_known_where_the_log_ends_nothing_is_taken),
        TEST(a_broken_message_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
