/* SPDX-License-Identifier: Apache-2.0 */
/* Mailboxes between threads, without sleeping: a waiting receiver is woken by what it waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "actors/clock.h"
#include "actors/mailbox.h"

#define LIMIT 16
#define A_LONG_TIME_US INT64_C(60000000)

typedef struct {
    post_t *post;
    mailbox_t *inbox;
    port_t *port;
} pair_t;

static pair_t pair_new(int limit)
{
    pair_t pair = {0};
    pair.post = post_new();
    pair.inbox = mailbox_new(pair.post, "inbox", limit);
    assert_int_equal(mailbox_open(pair.inbox), ERR_OK);
    pair.port = port_new(pair.inbox);
    return pair;
}

static void pair_fini(pair_t *pair)
{
    port_destroy(&pair->port);
    mailbox_destroy(&pair->inbox);
    post_destroy(&pair->post);
}

static err_t send_text(port_t *port, const char *text)
{
    message_t message;
    message_init(&message, slice_str(text));
    return port_send(port, &message);
}

static err_t send_number(port_t *port, uint64_t number)
{
    message_t message;
    message_init(&message, slice_of(&number, sizeof number));
    return port_send(port, &message);
}

/* The next message as a number; UINT64_MAX if there is none. */
static uint64_t receive_number(mailbox_t *inbox)
{
    uint64_t number = UINT64_MAX;
    message_t message;
    if (!mailbox_recv(inbox, &message))
        return number;
    assert_int_equal(message_bytes(&message).n_bytes, sizeof number);
    memcpy(&number, message_bytes(&message).data, sizeof number);
    message_fini(&message);
    return number;
}

/* --- messages --- */

static void a_message_holds_a_copy_of_its_bytes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 32, 33, 34, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t bytes[5000];
        memset(bytes, 'x', sizeof bytes);
        message_t message;
        message_init(&message, slice_of(bytes, sizes[i]));
        memset(bytes, 'y', sizeof bytes);
        slice_t kept = message_bytes(&message);
        assert_int_equal(kept.n_bytes, sizes[i]);
        for (size_t k = 0; k < kept.n_bytes; k++)
            assert_int_equal(kept.data[k], 'x');
        message_fini(&message);
    }
}

static void a_message_takes_a_buffer_over(void **state)
{
    (void)state;
    buf_t buf = {0};
    buf_append_str(&buf, "a buffer");
    const uint8_t *data = buf.data;
    message_t message;
    message_take(&message, &buf);
    assert_null(buf.data);
    assert_int_equal(buf.n_bytes, 0);
    assert_ptr_equal(message_bytes(&message).data, data);
    message_fini(&message);
    buf_reserve(&buf, 100); /* memory, but nothing in it */
    message_take(&message, &buf);
    assert_null(buf.data);
    assert_int_equal(message_bytes(&message).n_bytes, 0);
    message_fini(&message);
}

static void a_shared_message_lives_as_long_as_its_last_reference(void **state)
{
    (void)state;
    buf_t buf = {0};
    buf_append_str(&buf, "something longer than what fits inside of a message");
    message_t first;
    message_t second;
    message_take(&first, &buf);
    message_share(&second, &first);
    assert_ptr_equal(message_bytes(&first).data, message_bytes(&second).data);
    message_fini(&first);
    assert_int_equal(message_bytes(&second).data[0], 's');
    message_fini(&second);
}

/* --- mailboxes --- */

static void messages_of_a_port_arrive_in_order(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    uint64_t next_in = 0;
    uint64_t next_out = 0;
    for (int round = 0; round < 200; round++) {
        while (send_number(pair.port, next_in) == ERR_OK)
            next_in++;
        for (int i = 0; i < 1 + round % LIMIT; i++) {
            uint64_t number = receive_number(pair.inbox);
            if (number == UINT64_MAX)
                break;
            assert_int_equal(number, next_out);
            next_out++;
        }
    }
    assert_true(next_out > 200);
    pair_fini(&pair);
}

static void a_full_port_refuses_and_counts_nothing_twice(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    uint64_t n_sent = 0;
    while (port_has_room(pair.port)) {
        assert_int_equal(send_number(pair.port, n_sent), ERR_OK);
        n_sent++;
        assert_true(n_sent <= LIMIT);
    }
    assert_int_equal(n_sent, LIMIT);
    assert_int_equal(mailbox_depth(pair.inbox), LIMIT);
    assert_int_equal(send_number(pair.port, 99), ERR_OVERLOADED);
    assert_int_equal(mailbox_depth(pair.inbox), LIMIT);
    for (uint64_t i = 0; i < n_sent; i++)
        assert_int_equal(receive_number(pair.inbox), i);
    assert_int_equal(receive_number(pair.inbox), UINT64_MAX);
    assert_int_equal(mailbox_depth(pair.inbox), 0);
    assert_true(port_has_room(pair.port));
    pair_fini(&pair);
}

static void a_full_port_leaves_the_others_their_room(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    port_t *other = port_new(pair.inbox);
    while (send_text(pair.port, "first") == ERR_OK)
        ;
    assert_true(port_has_room(other));
    assert_int_equal(send_text(other, "second"), ERR_OK);
    assert_int_equal(mailbox_depth(pair.inbox), LIMIT + 1);
    port_destroy(&other);
    pair_fini(&pair);
}

static void room_is_there_again_at_once_after_receiving(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    for (int round = 0; round < 50; round++) {
        while (send_number(pair.port, 1) == ERR_OK)
            ;
        while (receive_number(pair.inbox) != UINT64_MAX)
            ;
        assert_int_equal(send_number(pair.port, 2), ERR_OK);
    }
    pair_fini(&pair);
}

static void a_port_may_send_before_the_mailbox_is_open(void **state)
{
    (void)state;
    post_t *post = post_new();
    mailbox_t *inbox = mailbox_new(post, "late", LIMIT);
    port_t *port = port_new(inbox);
    uint64_t n_sent = 0;
    while (send_number(port, n_sent) == ERR_OK)
        n_sent++;
    assert_true(n_sent >= LIMIT / 2 && n_sent <= LIMIT);
    assert_int_equal(mailbox_open(inbox), ERR_OK);
    for (uint64_t i = 0; i < n_sent; i++)
        assert_int_equal(receive_number(inbox), i);
    for (n_sent = 0; send_number(port, n_sent) == ERR_OK;)
        n_sent++;
    assert_int_equal(n_sent, LIMIT);
    port_destroy(&port);
    mailbox_destroy(&inbox);
    post_destroy(&post);
}

static void what_was_sent_arrives_though_the_port_is_gone(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    assert_int_equal(send_number(pair.port, 1), ERR_OK);
    assert_int_equal(send_number(pair.port, 2), ERR_OK);
    port_destroy(&pair.port);
    assert_int_equal(receive_number(pair.inbox), 1);
    assert_int_equal(receive_number(pair.inbox), 2);
    pair_fini(&pair);
}

static void a_closed_mailbox_refuses_instead_of_blocking(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    assert_int_equal(send_number(pair.port, 1), ERR_OK);
    mailbox_close(pair.inbox);
    assert_int_equal(mailbox_depth(pair.inbox), 0);
    while (port_has_room(pair.port)) /* ZeroMQ closes in a thread of its own */
        sched_yield();
    assert_int_equal(send_number(pair.port, 2), ERR_OVERLOADED);
    pair_fini(&pair);
}

static void a_name_is_free_again_once_its_mailbox_is_closed(void **state)
{
    (void)state;
    post_t *post = post_new();
    for (int round = 0; round < 100; round++) {
        mailbox_t *inbox = mailbox_new(post, "again", LIMIT);
        assert_int_equal(mailbox_open(inbox), ERR_OK);
        mailbox_destroy(&inbox);
    }
    post_destroy(&post);
}

static void a_name_can_be_opened_once_in_a_post_and_again_in_another(void **state)
{
    (void)state;
    pair_t one = pair_new(LIMIT);
    pair_t two = pair_new(LIMIT);
    mailbox_t *same = mailbox_new(one.post, "inbox", LIMIT);
    assert_int_equal(mailbox_open(same), ERR_INTERNAL);
    assert_int_equal(send_number(one.port, 1), ERR_OK);
    assert_int_equal(receive_number(two.inbox), UINT64_MAX);
    assert_int_equal(receive_number(one.inbox), 1);
    mailbox_destroy(&same);
    pair_fini(&one);
    pair_fini(&two);
}

static void count_wake(void *arg)
{
    ++*(int *)arg;
}

static void every_send_wakes_the_receiver(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    int n_wakes = 0;
    mailbox_on_wake(pair.inbox, count_wake, &n_wakes);
    uint64_t n_sent = 0;
    while (send_number(pair.port, n_sent) == ERR_OK)
        n_sent++;
    assert_int_equal(n_wakes, n_sent);
    pair_fini(&pair);
}

static void polling_tells_of_mail_and_of_fds(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    doorbell_t *bell = doorbell_new();
    struct pollfd fd = {doorbell_fd(bell), POLLIN, 0};
    assert_false(mailbox_poll(pair.inbox, &fd, 1, 0));
    assert_int_equal(fd.revents, 0);
    doorbell_ring(bell, 0);
    assert_false(mailbox_poll(pair.inbox, &fd, 1, A_LONG_TIME_US));
    assert_int_equal(fd.revents, POLLIN);
    doorbell_take(bell);
    assert_int_equal(send_number(pair.port, 1), ERR_OK);
    assert_int_equal(send_number(pair.port, 2), ERR_OK);
    assert_true(mailbox_poll(pair.inbox, &fd, 1, A_LONG_TIME_US));
    assert_int_equal(fd.revents, 0);
    assert_int_equal(receive_number(pair.inbox), 1);
    /* The socket's fd is quiet by now, but there is more. */
    assert_true(mailbox_poll(pair.inbox, NULL, 0, A_LONG_TIME_US));
    assert_int_equal(receive_number(pair.inbox), 2);
    assert_false(mailbox_poll(pair.inbox, NULL, 0, 0));
    doorbell_destroy(&bell);
    pair_fini(&pair);
}

static void polling_ends_when_the_time_is_up(void **state)
{
    (void)state;
    pair_t pair = pair_new(LIMIT);
    int64_t before = clock_now().mono_us;
    assert_false(mailbox_poll(pair.inbox, NULL, 0, 1500));
    assert_true(clock_now().mono_us - before >= 1500);
    pair_fini(&pair);
}

/* --- threads --- */

#define N_PER_SENDER 20000
#define N_SENDERS 2

typedef struct {
    mailbox_t *to;
    uint64_t name;
    int64_t n_refused;
} sender_t;

static void *send_many(void *arg)
{
    sender_t *self = arg;
    port_t *port = port_new(self->to);
    for (uint64_t i = 0; i < N_PER_SENDER; i++) {
        while (send_number(port, self->name << 32 | i) != ERR_OK) {
            self->n_refused++;
            struct pollfd nothing = {-1, 0, 0};
            poll(&nothing, 1, 1); /* leaves the processor to the receiver */
        }
    }
    port_destroy(&port);
    return NULL;
}

static void two_senders_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    post_t *post = post_new();
    mailbox_t *inbox = mailbox_new(post, "inbox", 64);
    assert_int_equal(mailbox_open(inbox), ERR_OK);
    pthread_t threads[N_SENDERS];
    sender_t senders[N_SENDERS];
    for (uint64_t i = 0; i < N_SENDERS; i++) {
        senders[i] = (sender_t){.to = inbox, .name = i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    uint64_t next[N_SENDERS] = {0};
    for (int n = 0; n < N_SENDERS * N_PER_SENDER; n++) {
        while (!mailbox_poll(inbox, NULL, 0, A_LONG_TIME_US))
            ;
        uint64_t number = receive_number(inbox);
        assert_true(number >> 32 < N_SENDERS);
        assert_int_equal(number & UINT32_MAX, next[number >> 32]++);
    }
    for (int i = 0; i < N_SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mailbox_depth(inbox), 0);
    mailbox_destroy(&inbox);
    post_destroy(&post);
}

#define N_SHARED 2000

static void *read_shared(void *arg)
{
    mailbox_t *inbox = arg;
    assert_int_equal(mailbox_open(inbox), ERR_OK);
    for (int n = 0; n < N_SHARED; n++) {
        while (!mailbox_poll(inbox, NULL, 0, A_LONG_TIME_US))
            ;
        message_t message;
        assert_true(mailbox_recv(inbox, &message));
        slice_t bytes = message_bytes(&message);
        assert_int_equal(bytes.data[0], bytes.data[bytes.n_bytes - 1]);
        message_fini(&message);
    }
    mailbox_close(inbox);
    return NULL;
}

/* The bytes are written by one thread, read by two others and freed by whoever is last. */
static void shared_messages_cross_threads(void **state)
{
    (void)state;
    post_t *post = post_new();
    mailbox_t *inboxes[2] = {mailbox_new(post, "one", 64), mailbox_new(post, "two", 64)};
    port_t *ports[2] = {port_new(inboxes[0]), port_new(inboxes[1])};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_shared, inboxes[i]), 0);
    for (int n = 0; n < N_SHARED; n++) {
        buf_t buf = {0};
        memset(buf_reserve(&buf, 500), n & 0xff, 500);
        buf.n_bytes = 500;
        message_t message;
        message_take(&message, &buf);
        for (int i = 0; i < 2; i++) {
            message_t again;
            struct pollfd nothing = {-1, 0, 0};
            while (!port_has_room(ports[i]))
                poll(&nothing, 1, 1);
            message_share(&again, &message);
            assert_int_equal(port_send(ports[i], &again), ERR_OK);
        }
        message_fini(&message);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        port_destroy(&ports[i]);
        mailbox_destroy(&inboxes[i]);
    }
    post_destroy(&post);
}

/* --- doorbells --- */

static void rings_add_up_until_they_are_taken(void **state)
{
    (void)state;
    doorbell_t *bell = doorbell_new();
    assert_false(doorbell_is_rung(bell));
    doorbell_ring(bell, 1);
    doorbell_ring(bell, (uint64_t)1 << 63);
    assert_true(doorbell_is_rung(bell));
    assert_true(doorbell_take(bell) == (1 | (uint64_t)1 << 63));
    assert_false(doorbell_is_rung(bell));
    struct pollfd fd = {doorbell_fd(bell), POLLIN, 0};
    assert_int_equal(poll(&fd, 1, 0), 0);
    doorbell_ring(bell, 0);
    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_true(doorbell_take(bell) == 0);
    assert_true(doorbell_take(bell) == 0);
    doorbell_destroy(&bell);
}

#define N_RINGS 64

static void *ring_all(void *arg)
{
    for (int i = 0; i < N_RINGS; i++)
        doorbell_ring(arg, (uint64_t)1 << i);
    return NULL;
}

static void no_ring_is_lost_between_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        doorbell_t *bell = doorbell_new();
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, ring_all, bell), 0);
        uint64_t seen = 0;
        while (seen != UINT64_MAX) {
            struct pollfd fd = {doorbell_fd(bell), POLLIN, 0};
            assert_int_equal(poll(&fd, 1, 60000), 1);
            uint64_t bits = doorbell_take(bell);
            assert_true((seen & bits) == 0);
            seen |= bits;
        }
        pthread_join(thread, NULL);
        doorbell_destroy(&bell);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_holds_a_copy_of_its_bytes),
        cmocka_unit_test(a_message_takes_a_buffer_over),
        cmocka_unit_test(a_shared_message_lives_as_long_as_its_last_reference),
        cmocka_unit_test(messages_of_a_port_arrive_in_order),
        cmocka_unit_test(a_full_port_refuses_and_counts_nothing_twice),
        cmocka_unit_test(a_full_port_leaves_the_others_their_room),
        cmocka_unit_test(room_is_there_again_at_once_after_receiving),
        cmocka_unit_test(a_port_may_send_before_the_mailbox_is_open),
        cmocka_unit_test(what_was_sent_arrives_though_the_port_is_gone),
        cmocka_unit_test(a_closed_mailbox_refuses_instead_of_blocking),
        cmocka_unit_test(a_name_is_free_again_once_its_mailbox_is_closed),
        cmocka_unit_test(a_name_can_be_opened_once_in_a_post_and_again_in_another),
        cmocka_unit_test(every_send_wakes_the_receiver),
        cmocka_unit_test(polling_tells_of_mail_and_of_fds),
        cmocka_unit_test(polling_ends_when_the_time_is_up),
        cmocka_unit_test(two_senders_lose_nothing_and_keep_their_order),
        cmocka_unit_test(shared_messages_cross_threads),
        cmocka_unit_test(rings_add_up_until_they_are_taken),
        cmocka_unit_test(no_ring_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
