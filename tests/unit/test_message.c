/* SPDX-License-Identifier: Apache-2.0 */
/* What travels between actors arrives as it was sent, and no cut of it is taken for a whole one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "actors/message.h"

static const char epoch[EPOCH_CHARS] = {'e', 'p', 'o', 'c', 'h', '-', '0', '1',
                                        '2', '3', '4', '5', '6', '7', '8', '9'};

static uuid_t id_of(uint8_t n)
{
    uuid_t id;
    memset(id.bytes, n, sizeof id.bytes);
    return id;
}

static void assert_same_id(uuid_t a, uuid_t b)
{
    assert_memory_equal(a.bytes, b.bytes, UUID_BYTES);
}

/* A reader of a message's content; it must be of this kind. */
static mp_reader_t content_of(slice_t bytes, message_kind_t kind)
{
    mp_reader_t content;
    assert_int_equal(message_kind(bytes, &content), kind);
    return content;
}

/* Reads a message whole; false if it is not a whole one. */
typedef bool read_all_f(slice_t bytes);

/* No cut of the message may be read: each is copied to memory of its own size, so that the
 * sanitizer sees a read beyond it. */
static void assert_cuts_are_refused(slice_t bytes, read_all_f *read_all)
{
    assert_true(read_all(bytes));
    for (size_t n = 0; n < bytes.n_bytes; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, bytes.data, n);
        assert_false(read_all(slice_of(cut, n)));
        free(cut);
    }
}

/* --- the envelope --- */

static void what_is_no_message_has_no_kind(void **state)
{
    (void)state;
    mp_reader_t content;
    static const uint8_t not_ours[][4] = {{0xc0, 0, 0, 0},
                                          {0x91, 0xc0, 0, 0},
                                          {0x91, 0x7f, 0, 0},
                                          {0x91, 0xff, 0, 0},
                                          {0xdd, 0xff, 0xff, 0xff}};
    assert_int_equal(message_kind(slice_none(), &content), MESSAGE_UNKNOWN);
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++)
        assert_int_equal(message_kind(slice_of(not_ours[i], 4), &content), MESSAGE_UNKNOWN);
}

static void frames_are_known_by_their_mark(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {MESSAGE_FRAMES_MARK, 1, 2};
    mp_reader_t content = content_of(slice_of(bytes, sizeof bytes), MESSAGE_FRAMES);
    assert_ptr_equal(content.at, bytes + 1);
}

static bool read_commands(slice_t bytes)
{
    mp_reader_t content;
    uint32_t n_items = 0;
    if (message_kind(bytes, &content) != MESSAGE_COMMANDS || !batch_open(&content, &n_items))
        return false;
    for (uint32_t i = 0; i < n_items; i++) {
        int64_t number = 0;
        if (!mp_get_int(&content, &number) || number != i)
            return false;
    }
    return n_items > 0 && mp_peek(&content) == MP_END;
}

static void a_batch_counts_its_items(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 1000, 70000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        batch_t batch = {0};
        for (size_t i = 0; i < sizes[s]; i++) {
            batch_begin(&batch, MESSAGE_COMMANDS);
            mp_put_int(&batch.buf, (int64_t)i);
            batch.n_items++;
        }
        message_t message;
        batch_finish(&batch, &message);
        assert_int_equal(batch.n_items, 0);
        assert_int_equal(batch.buf.n_bytes, 0);
        assert_true(read_commands(message_bytes(&message)));
        if (sizes[s] <= 1000)
            assert_cuts_are_refused(message_bytes(&message), read_commands);
        message_fini(&message);
        batch_fini(&batch);
    }
}

/* --- RESULTS --- */

static bool read_result(slice_t bytes)
{
    mp_reader_t reader = mp_reader(bytes);
    result_t result;
    return result_decode(&reader, &result);
}

static result_t pass_on(const result_t *result, buf_t *buf)
{
    result_t read;
    buf_reset(buf);
    result_encode(result, buf);
    mp_reader_t reader = mp_reader(buf_slice(buf));
    assert_true(result_decode(&reader, &read));
    assert_int_equal(mp_peek(&reader), MP_END);
    assert_cuts_are_refused(buf_slice(buf), read_result);
    return read;
}

static void a_good_result_arrives_whole(void **state)
{
    (void)state;
    static const uint8_t body[] = {0x81, 0xa1, 'a', 0x01};
    result_t result = {.tag = UINT64_MAX - 1, .command = id_of(1), .op = OP_TASK_COMPLETE};
    result.outcome = (outcome_t){.is_replay = true,
                                 .stream = id_of(2),
                                 .rev = INT64_MAX,
                                 .task = id_of(3),
                                 .body = slice_of(body, sizeof body)};
    buf_t buf = {0};
    result_t read = pass_on(&result, &buf);
    assert_true(read.tag == result.tag);
    assert_int_equal(read.op, OP_TASK_COMPLETE);
    assert_int_equal(read.outcome.problem.err, ERR_OK);
    assert_same_id(read.command, result.command);
    assert_true(read.outcome.is_replay);
    assert_same_id(read.outcome.stream, id_of(2));
    assert_true(read.outcome.rev == INT64_MAX);
    assert_same_id(read.outcome.task, id_of(3));
    assert_true(slice_eq(read.outcome.body, result.outcome.body));
    assert_null(read.outcome.problem.detail.data);
    assert_null(read.outcome.problem.current.data);
    buf_fini(&buf);
}

static void a_refusal_arrives_with_all_that_is_wrong(void **state)
{
    (void)state;
    static const uint8_t current[] = {0x80};
    result_t result = {.command = id_of(1), .op = OP_COUNT};
    problem_t *problem = &result.outcome.problem;
    problem->err = ERR_PRECONDITION_FAILED;
    problem->detail = slice_str("It was changed.");
    problem->current = slice_of(current, sizeof current);
    for (size_t i = 0; i < LIMIT_PROBLEM_FIELDS; i++)
        problem_add_field(problem, i == 0 ? slice_none() : slice_str("/data/title"),
                          slice_str("no"));
    buf_t buf = {0};
    result_t read = pass_on(&result, &buf);
    assert_int_equal(read.op, OP_COUNT);
    assert_int_equal(read.outcome.problem.err, ERR_PRECONDITION_FAILED);
    assert_true(slice_is(read.outcome.problem.detail, "It was changed."));
    assert_true(slice_eq(read.outcome.problem.current, problem->current));
    assert_int_equal(read.outcome.problem.n_fields, LIMIT_PROBLEM_FIELDS);
    assert_int_equal(read.outcome.problem.fields[0].pointer.n_bytes, 0);
    assert_true(slice_is(read.outcome.problem.fields[15].pointer, "/data/title"));
    assert_true(slice_is(read.outcome.problem.fields[15].detail, "no"));
    assert_null(read.outcome.body.data);
    assert_true(uuid_is_nil(&read.outcome.stream));
    buf_fini(&buf);
}

static void every_error_arrives_as_what_clients_see(void **state)
{
    (void)state;
    buf_t buf = {0};
    for (int err = 0; err < ERR_COUNT; err++) {
        result_t result = {.outcome.problem.err = (err_t)err};
        buf_reset(&buf);
        result_encode(&result, &buf);
        mp_reader_t reader = mp_reader(buf_slice(&buf));
        result_t read;
        assert_true(result_decode(&reader, &read));
        assert_string_equal(err_code(read.outcome.problem.err), err_code((err_t)err));
    }
    buf_fini(&buf);
}

/* --- EVENTS --- */

static bool read_events(slice_t bytes)
{
    mp_reader_t content;
    uint64_t seq = 0;
    uint32_t n_events = 0;
    log_event_t event;
    if (message_kind(bytes, &content) != MESSAGE_EVENTS || !events_open(&content, &seq, &n_events))
        return false;
    for (uint32_t i = 0; i < n_events; i++) {
        if (!events_next(&content, &event))
            return false;
    }
    return mp_peek(&content) == MP_END;
}

static log_event_t sample_event(uint8_t n)
{
    static const uint8_t digest[DIGEST_BYTES] = {1, 2, 3};
    log_event_t event = {.id = INT64_C(1) << 40,
                         .shard = (uint8_t)(N_SHARDS - n),
                         .stream = id_of(n),
                         .rev = n,
                         .type = EVENT_TASK_COMPLETED,
                         .stored_type = EVENT_TASK_COMPLETED,
                         .task = id_of(2),
                         .command = id_of(3),
                         .by = id_of(4),
                         .at_us = -1,
                         .digest = slice_of(digest, sizeof digest),
                         .body = slice_str("body")};
    memcpy(event.epoch, epoch, EPOCH_CHARS);
    return event;
}

static void events_arrive_as_the_log_has_them(void **state)
{
    (void)state;
    batch_t batch = {0};
    log_event_t first = sample_event(1);
    log_event_t second = sample_event(64);
    second.task = UUID_NIL;
    second.body = slice_none();
    second.stored_type = 30000;
    first.trace = slice_str("a trace id, a span, flags");
    events_begin(&batch, UINT64_MAX);
    events_put(&batch, &first);
    events_begin(&batch, 7); /* has begun already */
    events_put(&batch, &second);
    message_t message;
    batch_finish(&batch, &message);
    assert_cuts_are_refused(message_bytes(&message), read_events);
    mp_reader_t content = content_of(message_bytes(&message), MESSAGE_EVENTS);
    uint64_t seq = 0;
    uint32_t n_events = 0;
    assert_true(events_open(&content, &seq, &n_events));
    assert_true(seq == UINT64_MAX);
    assert_int_equal(n_events, 2);
    log_event_t read;
    assert_true(events_next(&content, &read));
    assert_true(read.id == first.id && read.rev == 1 && read.at_us == -1);
    assert_int_equal(read.shard, 63);
    assert_int_equal(read.type, EVENT_TASK_COMPLETED);
    assert_int_equal(read.stored_type, EVENT_TASK_COMPLETED);
    assert_same_id(read.stream, first.stream);
    assert_same_id(read.task, first.task);
    assert_same_id(read.command, first.command);
    assert_same_id(read.by, first.by);
    assert_memory_equal(read.epoch, epoch, EPOCH_CHARS);
    assert_true(slice_eq(read.digest, first.digest));
    assert_true(slice_is(read.body, "body"));
    assert_true(slice_eq(read.trace, first.trace));
    assert_true(events_next(&content, &read));
    assert_int_equal(read.shard, 0);
    assert_int_equal(read.type, EVENT_UNKNOWN);
    assert_int_equal(read.stored_type, 30000);
    assert_true(uuid_is_nil(&read.task));
    assert_null(read.body.data);
    assert_null(read.trace.data);
    assert_false(events_next(&content, &read));
    message_fini(&message);
}

static void an_event_of_no_shard_is_refused(void **state)
{
    (void)state;
    batch_t batch = {0};
    log_event_t event = sample_event(1);
    event.shard = N_SHARDS;
    events_begin(&batch, 1);
    events_put(&batch, &event);
    message_t message;
    batch_finish(&batch, &message);
    assert_false(read_events(message_bytes(&message)));
    message_fini(&message);
}

static bool read_tail(slice_t bytes)
{
    mp_reader_t content;
    uint32_t n_events = 0;
    log_event_t event;
    int64_t before;
    if (message_kind(bytes, &content) != MESSAGE_TAIL || !batch_open(&content, &n_events))
        return false;
    for (uint32_t i = 0; i < n_events; i++) {
        if (!tail_next(&content, &event, &before))
            return false;
    }
    return mp_peek(&content) == MP_END;
}

static void events_out_of_kafka_say_which_was_before_them(void **state)
{
    (void)state;
    batch_t batch = {0};
    message_t message;
    log_event_t event = sample_event(1), read;
    int64_t before = 0;
    uint32_t n_events = 0;
    for (int64_t i = 1; i <= 2; i++) {
        tail_begin(&batch);
        tail_put(&batch, &event, i << 35);
    }
    batch_finish(&batch, &message);
    assert_cuts_are_refused(message_bytes(&message), read_tail);
    mp_reader_t content = content_of(message_bytes(&message), MESSAGE_TAIL);
    assert_true(batch_open(&content, &n_events));
    assert_int_equal(n_events, 2);
    for (int64_t i = 1; i <= 2; i++) {
        assert_true(tail_next(&content, &read, &before));
        assert_true(before == i << 35 && read.id == event.id);
        assert_true(slice_is(read.body, "body"));
    }
    assert_false(tail_next(&content, &read, &before));
    message_fini(&message);
}

/* --- the small ones --- */

static bool read_ack(slice_t bytes)
{
    mp_reader_t content;
    uint32_t actor = 0;
    uint64_t seq = 0;
    uint32_t n_rejects = 0;
    reject_t reject;
    if (message_kind(bytes, &content) != MESSAGE_ACK ||
        !ack_open(&content, &actor, &seq, &n_rejects))
        return false;
    for (uint32_t i = 0; i < n_rejects; i++) {
        if (!ack_next(&content, &reject))
            return false;
    }
    return mp_peek(&content) == MP_END;
}

static void an_ack_names_what_was_rejected(void **state)
{
    (void)state;
    reject_t rejects[20];
    for (int i = 0; i < 20; i++)
        rejects[i] = (reject_t){i, id_of((uint8_t)(i + 1)), i * 10, slice_str("cannot be read")};
    message_t message;
    ack_encode(3, 99, rejects, 20, &message);
    assert_cuts_are_refused(message_bytes(&message), read_ack);
    mp_reader_t content = content_of(message_bytes(&message), MESSAGE_ACK);
    uint32_t actor = 0;
    uint64_t seq = 0;
    uint32_t n_rejects = 0;
    assert_true(ack_open(&content, &actor, &seq, &n_rejects));
    assert_int_equal(actor, 3);
    assert_int_equal(seq, 99);
    assert_int_equal(n_rejects, 20);
    for (int i = 0; i < 20; i++) {
        reject_t read;
        assert_true(ack_next(&content, &read));
        assert_int_equal(read.event_id, i);
        assert_same_id(read.stream, rejects[i].stream);
        assert_int_equal(read.rev, i * 10);
        assert_true(slice_is(read.reason, "cannot be read"));
    }
    message_fini(&message);
    ack_encode(3, 100, NULL, 0, &message);
    assert_true(read_ack(message_bytes(&message)));
    message_fini(&message);
}

static bool read_term(slice_t bytes)
{
    mp_reader_t content;
    bool is_on = false;
    char of[EPOCH_CHARS];
    return message_kind(bytes, &content) == MESSAGE_TERM && term_decode(&content, &is_on, of);
}

static void a_term_is_of_an_epoch(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        message_t message;
        bool is_on = i == 0;
        char of[EPOCH_CHARS] = "";
        term_encode(i == 1, "0123456789abcdef", &message);
        mp_reader_t content = content_of(message_bytes(&message), MESSAGE_TERM);
        assert_true(term_decode(&content, &is_on, of));
        assert_memory_equal(of, "0123456789abcdef", EPOCH_CHARS);
        assert_int_equal(is_on, i == 1);
        assert_cuts_are_refused(message_bytes(&message), read_term);
        message_fini(&message);
    }
}

static bool read_lead(slice_t bytes)
{
    mp_reader_t content;
    bool is_leading = false;
    return message_kind(bytes, &content) == MESSAGE_LEAD && lead_decode(&content, &is_leading);
}

static void leading_is_yes_or_no(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        message_t message;
        bool is_leading = i == 0;
        lead_encode(i == 1, &message);
        mp_reader_t content = content_of(message_bytes(&message), MESSAGE_LEAD);
        assert_true(lead_decode(&content, &is_leading));
        assert_int_equal(is_leading, i == 1);
        assert_cuts_are_refused(message_bytes(&message), read_lead);
        message_fini(&message);
    }
}

static bool read_watch(slice_t bytes)
{
    mp_reader_t content;
    watch_t watch;
    return message_kind(bytes, &content) == MESSAGE_WATCH && watch_decode(&content, &watch);
}

static bool read_watched(slice_t bytes)
{
    mp_reader_t content;
    watched_t watched;
    return message_kind(bytes, &content) == MESSAGE_WATCHED && watched_decode(&content, &watched);
}

static void following_a_stream_is_asked_and_answered(void **state)
{
    (void)state;
    message_t message;
    watch_t watch = {.gateway = UINT32_MAX, .stream = id_of(9), .on = true};
    watch_encode(&watch, &message);
    assert_cuts_are_refused(message_bytes(&message), read_watch);
    mp_reader_t content = content_of(message_bytes(&message), MESSAGE_WATCH);
    watch_t watch_read;
    assert_true(watch_decode(&content, &watch_read));
    assert_true(watch_read.gateway == UINT32_MAX && watch_read.on);
    assert_same_id(watch_read.stream, watch.stream);
    message_fini(&message);

    watched_t watched = {.stream = id_of(9), .first = 5, .next = 0};
    memcpy(watched.epoch, epoch, EPOCH_CHARS);
    watched_encode(&watched, &message);
    assert_cuts_are_refused(message_bytes(&message), read_watched);
    content = content_of(message_bytes(&message), MESSAGE_WATCHED);
    watched_t watched_read;
    assert_true(watched_decode(&content, &watched_read));
    assert_same_id(watched_read.stream, watched.stream);
    assert_memory_equal(watched_read.epoch, epoch, EPOCH_CHARS);
    assert_int_equal(watched_read.first, 5);
    assert_int_equal(watched_read.next, 0);
    message_fini(&message);
}

static bool read_access(slice_t bytes)
{
    mp_reader_t content;
    access_t access;
    return message_kind(bytes, &content) == MESSAGE_ACCESS && access_decode(&content, &access);
}

static bool read_epoch(slice_t bytes)
{
    mp_reader_t content;
    char text[EPOCH_CHARS];
    return message_kind(bytes, &content) == MESSAGE_EPOCH && epoch_decode(&content, text);
}

static bool read_purged(slice_t bytes)
{
    mp_reader_t content;
    uuid_t id;
    return message_kind(bytes, &content) == MESSAGE_PURGED && purged_decode(&content, &id);
}

static void access_epoch_and_purged_arrive(void **state)
{
    (void)state;
    message_t message;
    access_t access = {.account = id_of(1), .list = UUID_NIL, .token = id_of(2)};
    access_encode(&access, &message);
    assert_cuts_are_refused(message_bytes(&message), read_access);
    mp_reader_t content = content_of(message_bytes(&message), MESSAGE_ACCESS);
    access_t access_read;
    assert_true(access_decode(&content, &access_read));
    assert_same_id(access_read.account, access.account);
    assert_true(uuid_is_nil(&access_read.list));
    assert_same_id(access_read.token, access.token);
    message_fini(&message);

    epoch_encode(epoch, &message);
    assert_cuts_are_refused(message_bytes(&message), read_epoch);
    content = content_of(message_bytes(&message), MESSAGE_EPOCH);
    char text[EPOCH_CHARS];
    assert_true(epoch_decode(&content, text));
    assert_memory_equal(text, epoch, EPOCH_CHARS);
    message_fini(&message);

    uuid_t stream = id_of(3);
    uuid_t stream_read;
    purged_encode(&stream, &message);
    assert_cuts_are_refused(message_bytes(&message), read_purged);
    content = content_of(message_bytes(&message), MESSAGE_PURGED);
    assert_true(purged_decode(&content, &stream_read));
    assert_same_id(stream_read, stream);
    message_fini(&message);
}

/* Any change of any byte is refused or read as something else, but never beyond the end. */
static void changed_bytes_never_lead_beyond_the_end(void **state)
{
    (void)state;
    batch_t batch = {0};
    log_event_t event = sample_event(1);
    events_begin(&batch, 1);
    events_put(&batch, &event);
    message_t message;
    batch_finish(&batch, &message);
    slice_t bytes = message_bytes(&message);
    uint8_t *copy = malloc(bytes.n_bytes);
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        for (int value = 0; value < 256; value++) {
            memcpy(copy, bytes.data, bytes.n_bytes);
            copy[i] = (uint8_t)value;
            (void)read_events(slice_of(copy, bytes.n_bytes));
        }
    }
    free(copy);
    message_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_message_has_no_kind),
        cmocka_unit_test(frames_are_known_by_their_mark),
        cmocka_unit_test(a_batch_counts_its_items),
        cmocka_unit_test(a_good_result_arrives_whole),
        cmocka_unit_test(a_refusal_arrives_with_all_that_is_wrong),
        cmocka_unit_test(every_error_arrives_as_what_clients_see),
        cmocka_unit_test(events_arrive_as_the_log_has_them),
        cmocka_unit_test(an_event_of_no_shard_is_refused),
        cmocka_unit_test(events_out_of_kafka_say_which_was_before_them),
        cmocka_unit_test(an_ack_names_what_was_rejected),
        cmocka_unit_test(a_term_is_of_an_epoch),
        cmocka_unit_test(leading_is_yes_or_no),
        cmocka_unit_test(following_a_stream_is_asked_and_answered),
        cmocka_unit_test(access_epoch_and_purged_arrive),
        cmocka_unit_test(changed_bytes_never_lead_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
