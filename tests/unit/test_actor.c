/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of actors: by steps with a made-up time, and as a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/actor.h"
#include "actors/log.h"

#define LIMIT 16
#define A_LONG_TIME_US INT64_C(60000000)

/* An actor that writes down what happens to it. */
typedef struct {
    actor_t *actor;
    err_t open_says;
    int64_t due_says;
    int n_until_drained;
    int fail_at_message; /* 0: never */

    int n_opened;
    int n_received;
    int n_rung;
    uint64_t bits;
    int n_due;
    int n_drains;
    int n_closed;
    char last[32];
    now_t now;
    int n_ready;
    short ready_events;
} probe_t;

static err_t probe_open(void *arg, actor_t *actor)
{
    probe_t *self = arg;
    self->actor = actor;
    self->n_opened++;
    return self->open_says;
}

static void probe_receive(void *arg, slice_t bytes, now_t now)
{
    probe_t *self = arg;
    self->n_received++;
    self->now = now;
    size_t n = bytes.n_bytes < sizeof self->last ? bytes.n_bytes : sizeof self->last - 1;
    memcpy(self->last, bytes.data, n);
    self->last[n] = '\0';
    if (self->n_received == self->fail_at_message)
        actor_fail(self->actor, ERR_UNAVAILABLE, "made to fail");
}

static void probe_rung(void *arg, uint64_t bits, now_t now)
{
    probe_t *self = arg;
    self->n_rung++;
    self->bits |= bits;
    self->now = now;
}

static int64_t probe_due(void *arg, now_t now)
{
    probe_t *self = arg;
    self->n_due++;
    self->now = now;
    return self->due_says;
}

static bool probe_drain(void *arg, now_t now)
{
    probe_t *self = arg;
    (void)now;
    return ++self->n_drains >= self->n_until_drained;
}

static void probe_close(void *arg)
{
    probe_t *self = arg;
    self->n_closed++;
}

static const actor_ops_t probe_ops = {
    .name = "probe",
    .open = probe_open,
    .receive = probe_receive,
    .rung = probe_rung,
    .due = probe_due,
    .drain = probe_drain,
    .close = probe_close,
};

typedef struct {
    post_t *post;
    probe_t probe;
    actor_t *actor;
    port_t *port;
} stage_t;

static void stage_init(stage_t *self, const actor_ops_t *ops)
{
    *self = (stage_t){.probe = {.due_says = ACTOR_SLEEP_MAX_US}};
    self->post = post_new();
    self->actor = actor_new(ops, &self->probe, self->post, "probe", LIMIT);
    self->port = port_new(actor_inbox(self->actor));
}

static void stage_fini(stage_t *self)
{
    port_destroy(&self->port);
    actor_destroy(&self->actor);
    post_destroy(&self->post);
}

static void send_text(port_t *port, const char *text)
{
    message_t message;
    message_init(&message, slice_str(text));
    assert_int_equal(port_send(port, &message), ERR_OK);
}

static now_t at(int64_t us)
{
    return (now_t){.wall_us = 1000000000 + us, .mono_us = us};
}

/* --- steps --- */

static void a_step_receives_all_then_takes_the_bell_then_does_what_is_due(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    send_text(stage.port, "one");
    send_text(stage.port, "two");
    doorbell_ring(actor_bell(stage.actor), 5);
    stage.probe.due_says = 1234;
    assert_int_equal(actor_step(stage.actor, at(7)), 1234);
    assert_int_equal(stage.probe.n_opened, 1);
    assert_int_equal(stage.probe.n_received, 2);
    assert_string_equal(stage.probe.last, "two");
    assert_int_equal(stage.probe.n_rung, 1);
    assert_int_equal(stage.probe.bits, 5);
    assert_int_equal(stage.probe.n_due, 1);
    assert_int_equal(stage.probe.now.mono_us, 7);
    assert_int_equal(stage.probe.now.wall_us, 1000000007);
    actor_step(stage.actor, at(8));
    assert_int_equal(stage.probe.n_opened, 1);
    assert_int_equal(stage.probe.n_rung, 1);
    assert_int_equal(stage.probe.n_due, 2);
    stage_fini(&stage);
    assert_int_equal(stage.probe.n_closed, 1);
}

static void sleep_is_bounded_both_ways(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    stage.probe.due_says = INT64_MAX;
    assert_int_equal(actor_step(stage.actor, at(0)), ACTOR_SLEEP_MAX_US);
    stage.probe.due_says = -5;
    assert_int_equal(actor_step(stage.actor, at(0)), 0);
    stage_fini(&stage);
}

static void ringing_with_no_bits_still_asks_to_look(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    doorbell_ring(actor_bell(stage.actor), 0);
    actor_step(stage.actor, at(0));
    assert_int_equal(stage.probe.n_rung, 1);
    assert_int_equal(stage.probe.bits, 0);
    stage_fini(&stage);
}

static void a_stopped_actor_drains_until_nothing_is_left(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    stage.probe.n_until_drained = 3;
    actor_step(stage.actor, at(0));
    assert_int_equal(stage.probe.n_drains, 0);
    actor_stop(stage.actor);
    for (int i = 1; i <= 3; i++) {
        assert_false(actor_is_done(stage.actor));
        send_text(stage.port, "late");
        actor_step(stage.actor, at(i));
        assert_int_equal(stage.probe.n_drains, i);
        assert_int_equal(stage.probe.n_received, i);
    }
    assert_true(actor_is_done(stage.actor));
    actor_step(stage.actor, at(9));
    assert_int_equal(stage.probe.n_drains, 3);
    stage_fini(&stage);
    assert_int_equal(stage.probe.n_closed, 1);
}

static void an_actor_without_functions_takes_its_mail_and_ends(void **state)
{
    (void)state;
    static const actor_ops_t nothing = {.name = "nothing"};
    stage_t stage;
    stage_init(&stage, &nothing);
    send_text(stage.port, "x");
    assert_int_equal(actor_step(stage.actor, at(0)), ACTOR_SLEEP_MAX_US);
    assert_int_equal(mailbox_depth(actor_inbox(stage.actor)), 0);
    actor_stop(stage.actor);
    actor_step(stage.actor, at(0));
    assert_true(actor_is_done(stage.actor));
    stage_fini(&stage);
}

static void a_failed_actor_handles_nothing_more(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    stage.probe.fail_at_message = 2;
    for (int i = 0; i < 4; i++)
        send_text(stage.port, "x");
    actor_step(stage.actor, at(0));
    assert_true(actor_is_done(stage.actor));
    assert_int_equal(stage.probe.n_received, 2);
    assert_int_equal(stage.probe.n_due, 0);
    actor_step(stage.actor, at(1));
    assert_int_equal(stage.probe.n_received, 2);
    stage_fini(&stage);
}

static void an_actor_that_cannot_open_is_closed_and_done(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    stage.probe.open_says = ERR_INTERNAL;
    actor_step(stage.actor, at(0));
    assert_true(actor_is_done(stage.actor));
    assert_int_equal(stage.probe.n_due, 0);
    stage_fini(&stage);
    assert_int_equal(stage.probe.n_closed, 1);
}

static void when_ready(void *arg, short events, now_t now)
{
    probe_t *self = arg;
    self->n_ready++;
    self->ready_events = events;
    self->now = now;
}

static void watched_fds_are_told_until_they_are_forgotten(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    stage_t stage;
    stage_init(&stage, &probe_ops);
    actor_watch(stage.actor, ends[0], POLLIN, when_ready, &stage.probe);
    actor_step(stage.actor, at(0));
    assert_int_equal(stage.probe.n_ready, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    actor_step(stage.actor, at(1));
    actor_step(stage.actor, at(2));
    assert_int_equal(stage.probe.n_ready, 2); /* nobody read it */
    assert_int_equal(stage.probe.ready_events, POLLIN);
    actor_watch(stage.actor, ends[0], 0, NULL, NULL);
    actor_watch(stage.actor, ends[0], 0, NULL, NULL);
    actor_step(stage.actor, at(3));
    assert_int_equal(stage.probe.n_ready, 2);
    close(ends[0]);
    close(ends[1]);
    stage_fini(&stage);
}

/* Forgets another fd that is ready in the same turn. */
typedef struct {
    actor_t *actor;
    int others[2];
    int n_told;
} rival_t;

static void forget_both(void *arg, short events, now_t now)
{
    rival_t *self = arg;
    (void)events;
    (void)now;
    self->n_told++;
    for (int i = 0; i < 2; i++)
        actor_watch(self->actor, self->others[i], 0, NULL, NULL);
}

static void a_callback_may_forget_fds_that_are_ready_too(void **state)
{
    (void)state;
    int one[2];
    int two[2];
    assert_int_equal(pipe(one), 0);
    assert_int_equal(pipe(two), 0);
    assert_int_equal(write(one[1], "x", 1), 1);
    assert_int_equal(write(two[1], "x", 1), 1);
    stage_t stage;
    stage_init(&stage, &probe_ops);
    rival_t rival = {.actor = stage.actor, .others = {one[0], two[0]}};
    actor_watch(stage.actor, one[0], POLLIN, forget_both, &rival);
    actor_watch(stage.actor, two[0], POLLIN, forget_both, &rival);
    actor_step(stage.actor, at(0));
    assert_int_equal(rival.n_told, 1);
    for (int i = 0; i < 2; i++) {
        close(one[i]);
        close(two[i]);
    }
    stage_fini(&stage);
}

static void an_actor_describes_itself(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    actor_step(stage.actor, at(0));
    actor_note(stage.actor, "queue", 3);
    actor_note(stage.actor, "lag", -1);
    actor_note(stage.actor, "queue", 4);
    send_text(stage.port, "x");
    buf_t out = {0};
    actor_describe(stage.actor, &out);
    assert_true(slice_is(buf_slice(&out),
                         "{\"name\":\"probe\",\"depth\":1,\"limit\":16,\"beats\":1,"
                         "\"notes\":{\"queue\":4,\"lag\":-1}}"));
    buf_fini(&out);
    stage_fini(&stage);
}

/* --- threads --- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_ended;
    err_t reason;
} end_t;

static void end_init(end_t *self)
{
    *self = (end_t){0};
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
}

static void on_end(void *arg, actor_t *actor, err_t reason)
{
    end_t *self = arg;
    (void)actor;
    pthread_mutex_lock(&self->lock);
    self->has_ended = true;
    self->reason = reason;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static err_t await_end(end_t *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->has_ended)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
    return self->reason;
}

static bool join(actor_t *actor)
{
    return actor_join(actor, clock_now().mono_us + A_LONG_TIME_US);
}

/* Answers every message to another inbox. */
typedef struct {
    mailbox_t *answers;
    port_t *port;
} echo_t;

static err_t echo_open(void *arg, actor_t *actor)
{
    echo_t *self = arg;
    (void)actor;
    self->port = port_new(self->answers);
    return ERR_OK;
}

static void echo_receive(void *arg, slice_t bytes, now_t now)
{
    echo_t *self = arg;
    message_t message;
    (void)now;
    message_init(&message, bytes);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
}

static void echo_close(void *arg)
{
    echo_t *self = arg;
    port_destroy(&self->port);
}

static const actor_ops_t echo_ops = {
    .name = "echo", .open = echo_open, .receive = echo_receive, .close = echo_close};

static void a_thread_answers_at_once_and_stops_when_asked(void **state)
{
    (void)state;
    post_t *post = post_new();
    mailbox_t *answers = mailbox_new(post, "answers", LIMIT);
    assert_int_equal(mailbox_open(answers), ERR_OK);
    echo_t echo = {.answers = answers};
    actor_t *actor = actor_new(&echo_ops, &echo, post, "echo", LIMIT);
    port_t *port = port_new(actor_inbox(actor));
    end_t end;
    end_init(&end);
    assert_int_equal(actor_start(actor, on_end, &end), ERR_OK);
    for (int i = 0; i < 100; i++) {
        send_text(port, "hello");
        message_t message;
        while (!mailbox_recv(answers, &message))
            mailbox_poll(answers, NULL, 0, A_LONG_TIME_US);
        assert_true(slice_is(message_bytes(&message), "hello"));
        message_fini(&message);
    }
    assert_false(actor_join(actor, clock_now().mono_us));
    actor_stop(actor);
    assert_true(join(actor));
    assert_int_equal(await_end(&end), ERR_OK);
    port_destroy(&port);
    actor_destroy(&actor);
    mailbox_destroy(&answers);
    post_destroy(&post);
}

static void everything_sent_before_the_stop_is_received(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    for (int i = 0; i < LIMIT / 2; i++)
        send_text(stage.port, "x");
    actor_stop(stage.actor);
    assert_int_equal(actor_start(stage.actor, NULL, NULL), ERR_OK);
    assert_true(join(stage.actor));
    assert_int_equal(stage.probe.n_received, LIMIT / 2);
    assert_int_equal(stage.probe.n_closed, 1);
    stage_fini(&stage);
    assert_int_equal(stage.probe.n_closed, 1);
}

static void a_thread_that_fails_ends_with_its_reason(void **state)
{
    (void)state;
    stage_t stage;
    end_t end;
    end_init(&end);
    stage_init(&stage, &probe_ops);
    stage.probe.fail_at_message = 1;
    assert_int_equal(actor_start(stage.actor, on_end, &end), ERR_OK);
    send_text(stage.port, "x");
    assert_int_equal(await_end(&end), ERR_UNAVAILABLE);
    assert_true(join(stage.actor));
    assert_int_equal(stage.probe.n_closed, 1);
    stage_fini(&stage);
}

static void a_thread_that_cannot_open_ends_with_its_reason(void **state)
{
    (void)state;
    stage_t stage;
    end_t end;
    end_init(&end);
    stage_init(&stage, &probe_ops);
    stage.probe.open_says = ERR_UNAVAILABLE;
    assert_int_equal(actor_start(stage.actor, on_end, &end), ERR_OK);
    assert_int_equal(await_end(&end), ERR_UNAVAILABLE);
    assert_true(join(stage.actor));
    assert_int_equal(stage.probe.n_due, 0);
    assert_int_equal(stage.probe.n_closed, 1);
    stage_fini(&stage);
}

static err_t run_for_a_bell(void *arg, actor_t *actor)
{
    probe_t *self = arg;
    self->n_due++;
    struct pollfd fd = {doorbell_fd(actor_bell(actor)), POLLIN, 0};
    assert_int_equal(poll(&fd, 1, 60000), 1);
    actor_beat(actor);
    return ERR_OK;
}

static void an_actor_with_a_loop_of_its_own_is_opened_and_closed_around_it(void **state)
{
    (void)state;
    static const actor_ops_t ops = {
        .name = "own", .open = probe_open, .close = probe_close, .run = run_for_a_bell};
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        stage_t stage;
        end_t end;
        end_init(&end);
        stage_init(&stage, &ops);
        assert_int_equal(actor_start(stage.actor, on_end, &end), ERR_OK);
        if (is_asked)
            actor_stop(stage.actor);
        else
            doorbell_ring(actor_bell(stage.actor), 1);
        /* One that returns though nobody asked is a bug, even if it says that all is well. */
        assert_int_equal(await_end(&end), is_asked ? ERR_OK : ERR_INTERNAL);
        assert_true(join(stage.actor));
        assert_int_equal(stage.probe.n_opened, 1);
        assert_int_equal(stage.probe.n_closed, 1);
        stage_fini(&stage);
    }
}

static void notes_and_depths_can_be_read_while_it_runs(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage, &probe_ops);
    stage.probe.due_says = 0; /* turns without rest */
    assert_int_equal(actor_start(stage.actor, NULL, NULL), ERR_OK);
    for (int i = 0; i < 200; i++) {
        buf_t out = {0};
        actor_describe(stage.actor, &out);
        assert_true(out.n_bytes > 0);
        buf_fini(&out);
    }
    actor_stop(stage.actor);
    assert_true(join(stage.actor));
    stage_fini(&stage);
}

static err_t note_signals(void *arg, actor_t *actor)
{
    (void)actor;
    pthread_sigmask(SIG_BLOCK, NULL, arg);
    return ERR_UNAVAILABLE;
}

static void threads_leave_signals_to_the_main_one(void **state)
{
    (void)state;
    static const actor_ops_t ops = {.name = "signals", .run = note_signals};
    sigset_t mine;
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    sigemptyset(&mine);
    post_t *post = post_new();
    actor_t *actor = actor_new(&ops, &mine, post, "signals", LIMIT);
    assert_int_equal(actor_start(actor, NULL, NULL), ERR_OK);
    assert_true(join(actor));
    assert_true(sigismember(&mine, SIGTERM) && sigismember(&mine, SIGINT));
    assert_false(sigismember(&mine, SIGSEGV));
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    actor_destroy(&actor);
    post_destroy(&post);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_receives_all_then_takes_the_bell_then_does_what_is_due),
        cmocka_unit_test(sleep_is_bounded_both_ways),
        cmocka_unit_test(ringing_with_no_bits_still_asks_to_look),
        cmocka_unit_test(a_stopped_actor_drains_until_nothing_is_left),
        cmocka_unit_test(an_actor_without_functions_takes_its_mail_and_ends),
        cmocka_unit_test(a_failed_actor_handles_nothing_more),
        cmocka_unit_test(an_actor_that_cannot_open_is_closed_and_done),
        cmocka_unit_test(watched_fds_are_told_until_they_are_forgotten),
        cmocka_unit_test(a_callback_may_forget_fds_that_are_ready_too),
        cmocka_unit_test(an_actor_describes_itself),
        cmocka_unit_test(a_thread_answers_at_once_and_stops_when_asked),
        cmocka_unit_test(everything_sent_before_the_stop_is_received),
        cmocka_unit_test(a_thread_that_fails_ends_with_its_reason),
        cmocka_unit_test(a_thread_that_cannot_open_ends_with_its_reason),
        cmocka_unit_test(an_actor_with_a_loop_of_its_own_is_opened_and_closed_around_it),
        cmocka_unit_test(notes_and_depths_can_be_read_while_it_runs),
        cmocka_unit_test(threads_leave_signals_to_the_main_one),
    };
    log_configure(LOG_ERROR + 1, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
