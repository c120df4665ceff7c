/* SPDX-License-Identifier: Apache-2.0 */
/* The sync actor alone: what it says to a gateway, message by message, as the log grows, the
 * database answers or does not, and inboxes run full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/live_world.h"

static port_t *to_sync;

static int setup(void **state)
{
    (void)state;
    w_begin(16);
    to_sync = network_port(&w.network, ADDRESS_SYNC);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    port_destroy(&to_sync);
    w_end();
    return 0;
}

/* --- what the gateway receives --- */

static message_t last;

static message_kind_t receive(mp_reader_t *content)
{
    static bool has_last;
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

static void assert_watched(const w_stream_t *stream, int64_t first, int64_t next)
{
    mp_reader_t content;
    watched_t watched;
    assert_int_equal(receive(&content), MESSAGE_WATCHED);
    assert_true(watched_decode(&content, &watched));
    assert_true(uuid_eq(&watched.stream, &stream->id));
    assert_memory_equal(watched.epoch, w.epoch, EPOCH_CHARS);
    assert_int_equal(watched.first, first);
    assert_int_equal(watched.next, next);
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

static void assert_access(const uuid_t *account, const uuid_t *list, const uuid_t *token)
{
    mp_reader_t content;
    access_t access;
    assert_int_equal(receive(&content), MESSAGE_ACCESS);
    assert_true(access_decode(&content, &access));
    assert_true(uuid_eq(&access.account, account));
    assert_true(uuid_eq(&access.list, list));
    assert_true(uuid_eq(&access.token, token));
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

static void watch(const w_stream_t *stream, bool on)
{
    watch_t message_in = {0, stream->id, on};
    message_t message;
    watch_encode(&message_in, &message);
    assert_int_equal(port_send(to_sync, &message), ERR_OK);
    turn();
}

/* --- the cases --- */

static void a_watch_is_answered_with_where_the_stream_is(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    w_change(0);
    w_change(0);
    run();
    assert_frames(w_list(0), 1, 2);
    assert_nothing();
}

static void a_watch_waits_until_it_is_known_where_the_log_ends(void **state)
{
    (void)state;
    w_change(0);
    watch(w_list(0), true);
    assert_nothing();
    w_answer_sync(PG_OK); /* the epoch */
    turn();
    assert_nothing();
    w_answer_sync(PG_OK); /* the heads */
    turn();
    assert_watched(w_list(0), 0, 0);
    run();
    assert_nothing(); /* what was there before is nobody's news */
}

static void who_watches_later_gets_the_frames_that_are_there(void **state)
{
    (void)state;
    run();
    for (int i = 0; i < 3; i++)
        w_change(0);
    run();
    assert_nothing();
    watch(w_list(0), true);
    assert_watched(w_list(0), 1, 4);
    assert_frames(w_list(0), 1, 3);
}

static void who_does_not_watch_any_more_gets_nothing(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    watch(w_list(0), false);
    w_change(0);
    run();
    assert_nothing();
}

static void a_frame_is_the_event_as_clients_get_it(void **state)
{
    mp_reader_t content;
    (void)state;
    run();
    watch(w_list(0), true);
    receive(&content);
    w_change(0);
    run();
    assert_int_equal(receive(&content), MESSAGE_FRAMES);
    slice_t bytes = frame_bytes(frames_at(message_bytes(&last), 0));
    assert_int_equal(frame_size(bytes), bytes.n_bytes);
    static const char start[] =
        "{\"op\":\"event\",\"stream\":\"b0000000-0000-0000-0000-000000000005\",\"rev\":1,";
    assert_memory_equal(bytes.data + 4, start, sizeof start - 1);
}

static void a_purged_event_keeps_its_place(void **state)
{
    mp_reader_t content;
    (void)state;
    run();
    watch(w_list(0), true);
    receive(&content);
    for (int i = 0; i < 3; i++)
        w_change(0);
    w_purge(w_list(0), 2);
    run();
    assert_int_equal(receive(&content), MESSAGE_FRAMES);
    assert_int_equal(frames_count(message_bytes(&last)), 3);
    assert_int_equal(frame_bytes(frames_at(message_bytes(&last), 1)).n_bytes, 0);
    assert_true(frame_bytes(frames_at(message_bytes(&last), 2)).n_bytes > 0);
}

static void access_is_told_before_the_frames_and_to_all(void **state)
{
    mp_reader_t content;
    uuid_t account = w_account(2);
    uuid_t token = w_token_id(2);
    (void)state;
    run();
    watch(w_list(0), true);
    receive(&content);
    w_change(0);
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 2);
    w_commit(w_list(1), EVENT_MEMBER_ADDED, 2);
    run();
    uuid_t first = w_list(0)->id;
    uuid_t second = w_list(1)->id;
    bool is_swapped = shard_of(&first) > shard_of(&second);
    assert_access(&account, is_swapped ? &second : &first, &UUID_NIL);
    assert_access(&account, is_swapped ? &first : &second, &UUID_NIL);
    assert_frames(w_list(0), 1, 2);
    w_delete_token(2);
    run();
    assert_access(&account, &UUID_NIL, &token);
    w_commit(&w.streams[2], EVENT_ACCOUNT_UPDATED, -1);
    run();
    assert_access(&account, &UUID_NIL, &UUID_NIL);
    assert_nothing();
}

static void a_membership_that_cannot_be_read_concerns_the_whole_list(void **state)
{
    (void)state;
    run();
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 2);
    w_purge(w_list(0), 1);
    run();
    assert_access(&UUID_NIL, &w_list(0)->id, &UUID_NIL);
}

static void a_role_that_stays_the_same_concerns_nobody(void **state)
{
    (void)state;
    run();
    w_stream_t *list = w_list(0);
    w_commit(list, EVENT_MEMBER_CHANGED, 2);
    event_t event;
    buf_t *body = &list->events[0].body;
    assert_true(event_decode(buf_slice(body), &event));
    buf_t changed = {0};
    event.set = slice_of("\x80", 1);
    event_encode(&event, &changed);
    buf_fini(body);
    *body = changed;
    run();
    assert_nothing();
}

static void a_failed_read_is_made_again_and_nothing_comes_twice(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    w_change(0);
    turn();
    while (w.asks != NULL)
        w_answer_sync(PG_LOST);
    w_change(0);
    w_touch(600000);
    run();
    assert_frames(w_list(0), 1, 2);
    assert_nothing();
}

static void without_a_bell_the_log_is_polled(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    w_append(w_list(0), EVENT_TASK_UPDATED, -1); /* by another process */
    w_touch(400000);
    run();
    assert_nothing();
    w_touch(200000);
    run();
    assert_frames(w_list(0), 1, 1);
}

/* Fills the gateway's inbox with watches that are answered. */
static void fill_inbox(void)
{
    for (int i = 0; i < 40; i++)
        watch(w_list(1 + i % 2), true);
}

static int drain_inbox(message_kind_t kind)
{
    mp_reader_t content;
    message_kind_t got;
    int n = 0;
    while ((got = receive(&content)) != MESSAGE_UNKNOWN)
        n += got == kind;
    return n;
}

static void a_gateway_that_lagged_is_told_anew(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    fill_inbox();
    assert_int_equal(
        metric_value(metrics_counter(w.network.metrics, "taskwire_sync_lags_total", NULL, "")), 1);
    w_change(0);
    w_change(0);
    run();
    assert_true(drain_inbox(MESSAGE_WATCHED) > 0);
    w_touch(10000);
    run();
    /* Those that were never answered, and the one that moved. */
    mp_reader_t content;
    message_kind_t kind;
    bool has_frames = false;
    while ((kind = receive(&content)) != MESSAGE_UNKNOWN) {
        if (kind == MESSAGE_FRAMES)
            has_frames = frames_count(message_bytes(&last)) == 2;
    }
    assert_true(has_frames);
    w_change(0);
    run();
    assert_frames(w_list(0), 3, 3);
    assert_nothing();
}

static void a_lost_change_of_access_becomes_one_of_everything(void **state)
{
    (void)state;
    run();
    fill_inbox();
    w_commit(w_list(0), EVENT_MEMBER_REMOVED, 2);
    w_commit(w_list(0), EVENT_MEMBER_ADDED, 3);
    run();
    assert_int_equal(drain_inbox(MESSAGE_ACCESS), 0);
    w_touch(10000);
    run();
    assert_access(&UUID_NIL, &UUID_NIL, &UUID_NIL);
    assert_int_equal(drain_inbox(MESSAGE_ACCESS), 0);
}

static void another_epoch_is_told_before_anything_of_it(void **state)
{
    mp_reader_t content;
    char epoch[EPOCH_CHARS];
    (void)state;
    run();
    watch(w_list(0), true);
    w_change(0);
    run();
    assert_watched(w_list(0), 0, 0);
    assert_frames(w_list(0), 1, 1);
    w.epoch[15] = '7';
    w_change(0); /* is of the new one: read, and seen to be */
    run();
    w_touch(600000);
    run();
    assert_int_equal(receive(&content), MESSAGE_EPOCH);
    assert_true(epoch_decode(&content, epoch));
    assert_memory_equal(epoch, w.epoch, EPOCH_CHARS);
    assert_access(&UUID_NIL, &UUID_NIL, &UUID_NIL); /* everybody's is looked up again */
    assert_nothing();
    w_change(0);
    run();
    assert_frames(w_list(0), 3, 3);
    watch(w_list(0), true);
    assert_watched(w_list(0), 3, 4);
}

static void an_epoch_that_changes_in_silence_is_noticed(void **state)
{
    mp_reader_t content;
    (void)state;
    run();
    w.epoch[15] = '8';
    w_touch(600000);
    run();
    w_touch(200000);
    run();
    assert_int_equal(receive(&content), MESSAGE_EPOCH);
}

static void assert_purged(const uuid_t *stream)
{
    mp_reader_t content;
    uuid_t id;
    assert_int_equal(receive(&content), MESSAGE_PURGED);
    assert_true(purged_decode(&content, &id));
    assert_true(uuid_eq(&id, stream));
}

static void what_was_purged_is_dropped_and_told_to_be_dropped(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    watch(w_list(1), true);
    w_change(0);
    w_change(0);
    run();
    w_change(1);
    run();
    assert_watched(w_list(0), 0, 0);
    assert_watched(w_list(1), 0, 0);
    assert_frames(w_list(0), 1, 2);
    assert_frames(w_list(1), 1, 1);
    w_purge(w_list(0), 1);
    w_touch(600000);
    run();
    assert_purged(&w_list(0)->id);
    assert_nothing();
    watch(w_list(0), true);
    assert_watched(w_list(0), 3, 3);
    assert_nothing();
    watch(w_list(1), true);
    assert_watched(w_list(1), 1, 2);
    assert_frames(w_list(1), 1, 1);
    w_change(0);
    run();
    assert_frames(w_list(0), 3, 3);
    w_touch(600000);
    run();
    assert_nothing(); /* once is enough */
    w_purge(w_list(0), 2); /* again, in the same place of the table */
    w_purge(w_list(1), 1);
    w_touch(600000);
    run();
    assert_purged(&w_list(0)->id);
    assert_purged(&w_list(1)->id);
    assert_nothing();
}

static void what_was_purged_before_the_start_concerns_nobody(void **state)
{
    (void)state;
    w_change(0);
    w_purge(w_list(0), 1);
    run();
    w_touch(600000);
    run();
    assert_nothing();
}

static void a_purge_that_a_full_inbox_lost_becomes_one_of_everything(void **state)
{
    (void)state;
    run();
    fill_inbox();
    w_purge(&w.streams[0], 1);
    w_touch(600000);
    run();
    assert_int_equal(drain_inbox(MESSAGE_PURGED), 0);
    w_touch(10000);
    run();
    assert_purged(&UUID_NIL);
    assert_int_equal(drain_inbox(MESSAGE_PURGED), 0);
}

static void a_gap_in_the_log_is_counted(void **state)
{
    (void)state;
    run();
    watch(w_list(0), true);
    assert_watched(w_list(0), 0, 0);
    w_change(0);
    run();
    assert_frames(w_list(0), 1, 1);
    w_list(0)->events[w_list(0)->n_events++] = (w_event_t){0}; /* rev 2 never comes */
    w_change(0);
    run();
    assert_frames(w_list(0), 3, 3);
    assert_int_equal(
        metric_value(metrics_counter(w.network.metrics, "taskwire_sync_gaps_total", NULL, "")), 1);
}

static void a_broken_message_is_dropped(void **state)
{
    message_t message;
    watch_t far = {99, w_list(0)->id, true};
    (void)state;
    run();
    message_init(&message, slice_str("\x93garbage"));
    port_send(to_sync, &message);
    watch_encode(&far, &message);
    port_send(to_sync, &message);
    turn();
    assert_nothing();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_watch_is_answered_with_where_the_stream_is),
        TEST(a_watch_waits_until_it_is_known_where_the_log_ends),
        TEST(who_watches_later_gets_the_frames_that_are_there),
        TEST(who_does_not_watch_any_more_gets_nothing),
        TEST(a_frame_is_the_event_as_clients_get_it),
        TEST(a_purged_event_keeps_its_place),
        TEST(access_is_told_before_the_frames_and_to_all),
        TEST(a_membership_that_cannot_be_read_concerns_the_whole_list),
        TEST(a_role_that_stays_the_same_concerns_nobody),
        TEST(a_failed_read_is_made_again_and_nothing_comes_twice),
        TEST(without_a_bell_the_log_is_polled),
        TEST(a_gateway_that_lagged_is_told_anew),
        TEST(a_lost_change_of_access_becomes_one_of_everything),
        TEST(another_epoch_is_told_before_anything_of_it),
        TEST(an_epoch_that_changes_in_silence_is_noticed),
        TEST(what_was_purged_is_dropped_and_told_to_be_dropped),
        TEST(what_was_purged_before_the_start_concerns_nobody),
        TEST(a_purge_that_a_full_inbox_lost_becomes_one_of_everything),
        TEST(a_gap_in_the_log_is_counted),
        TEST(a_broken_message_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
