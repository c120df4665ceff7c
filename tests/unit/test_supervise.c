/* SPDX-License-Identifier: Apache-2.0 */
/* Supervision of a network of small actors: what ends it, with which code, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "actors/supervise.h"

#define LIMIT 16
#define A_LONG_TIME_US INT64_C(60000000)

typedef struct stage stage_t;

/* An actor that notes when it stopped and may be told to misbehave. */
typedef struct {
    stage_t *stage;
    address_t address;
    actor_t *actor;
    err_t open_says;
    err_t fail_with; /* as soon as it is opened */
    bool makes_ready;
} member_t;

struct stage {
    network_t network;
    member_t members[ADDRESS_COUNT];
    atomic_int n_stopped;
    int stop_order[ADDRESS_COUNT];
    int n_ready;
    int signal_when_ready;
};

static err_t member_open(void *arg, actor_t *actor)
{
    member_t *self = arg;
    if (self->open_says != ERR_OK)
        return self->open_says;
    if (self->fail_with != ERR_OK)
        actor_fail(actor, self->fail_with, "made to fail");
    if (self->makes_ready)
        network_set_ready(&self->stage->network, true, NULL);
    return ERR_OK;
}

static void member_close(void *arg)
{
    member_t *self = arg;
    self->stage->stop_order[self->address] = atomic_fetch_add(&self->stage->n_stopped, 1) + 1;
}

static const actor_ops_t member_ops = {
    .name = "member", .open = member_open, .close = member_close};

static void stage_init(stage_t *self)
{
    static const char *const names[] = {"writer",   "relay",  "consumer",  "tail",     "recurrence",
                                        "reminder", "audit",  "sync",      "peers",    "eraser",
                                        "retime",   "topics", "gateway-0", "gateway-1"};
    *self = (stage_t){0};
    self->network.post = post_new();
    for (int i = 0; i <= ADDRESS_GATEWAY + 1; i++) {
        self->members[i] = (member_t){.stage = self, .address = (address_t)i};
        self->network.actors[i] =
            actor_new(&member_ops, &self->members[i], self->network.post, names[i], LIMIT);
    }
    self->members[ADDRESS_WRITER].makes_ready = true;
}

static void stage_fini(stage_t *self)
{
    for (int i = 0; i < ADDRESS_COUNT; i++)
        actor_destroy(&self->network.actors[i]);
    post_destroy(&self->network.post);
}

static void on_ready(void *arg)
{
    stage_t *self = arg;
    self->n_ready++;
    if (self->signal_when_ready != 0)
        kill(getpid(), self->signal_when_ready);
}

static int run(stage_t *stage, int64_t timeout_us)
{
    supervisor_t *supervisor = supervisor_new();
    int code = supervisor_run(supervisor, &stage->network, clock_now().mono_us + timeout_us,
                              on_ready, stage);
    assert_true(supervisor_is_clean(supervisor));
    supervisor_destroy(&supervisor);
    return code;
}

static void
a_signal_drains_all_from_the_gateways_to_the_writer_and_tells_the_peers_last(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        stage_t stage;
        stage_init(&stage);
        stage.signal_when_ready = signals[i];
        assert_int_equal(run(&stage, A_LONG_TIME_US), 0);
        assert_int_equal(stage.n_ready, 1);
        assert_int_equal(atomic_load(&stage.n_stopped), 14);
        const int *order = stage.stop_order;
        assert_true(order[ADDRESS_GATEWAY] <= 2 && order[ADDRESS_GATEWAY + 1] <= 2);
        assert_true(order[ADDRESS_RELAY] <= 5 && order[ADDRESS_CONSUMER] <= 5);
        assert_true(order[ADDRESS_AUDIT] <= 8);
        assert_int_equal(order[ADDRESS_SYNC], 9);
        assert_int_equal(order[ADDRESS_WRITER], 10);
        assert_true(order[ADDRESS_PEERS] >= 11 && order[ADDRESS_ERASER] >= 11);
        stage_fini(&stage);
    }
}

static void an_actor_that_fails_ends_the_program_with_its_code(void **state)
{
    (void)state;
    static const int codes[][2] = {
        {ERR_UNAVAILABLE, 69}, {ERR_INTERNAL, 70}, {ERR_INVALID, 78}, {ERR_OVERLOADED, 70}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        stage_t stage;
        stage_init(&stage);
        stage.members[ADDRESS_AUDIT].fail_with = (err_t)codes[i][0];
        assert_int_equal(run(&stage, A_LONG_TIME_US), codes[i][1]);
        assert_int_equal(atomic_load(&stage.n_stopped), 14);
        stage_fini(&stage);
    }
}

static void an_actor_that_cannot_open_ends_the_start(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    stage.members[ADDRESS_WRITER].makes_ready = false;
    stage.members[ADDRESS_GATEWAY].open_says = ERR_UNAVAILABLE;
    assert_int_equal(run(&stage, A_LONG_TIME_US), 69);
    assert_int_equal(stage.n_ready, 0);
    stage_fini(&stage);
}

static void not_being_ready_in_time_is_an_unavailable_service(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    stage.members[ADDRESS_WRITER].makes_ready = false;
    network_set_ready(&stage.network, false, "the database is away");
    assert_int_equal(run(&stage, 10000), 69);
    assert_int_equal(stage.n_ready, 0);
    assert_int_equal(atomic_load(&stage.n_stopped), 14);
    stage_fini(&stage);
}

static void a_hangup_does_not_stop_it(void **state)
{
    (void)state;
    supervisor_t *supervisor = supervisor_new();
    kill(getpid(), SIGHUP);
    assert_false(supervisor_pause(supervisor, 0));
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGTERM);
    assert_true(supervisor_pause(supervisor, A_LONG_TIME_US));
    supervisor_destroy(&supervisor);
}

static void a_signal_before_it_is_ready_stops_it_too(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    stage.members[ADDRESS_WRITER].makes_ready = false;
    supervisor_t *supervisor = supervisor_new();
    assert_false(supervisor_pause(supervisor, 0));
    kill(getpid(), SIGTERM);
    assert_true(supervisor_pause(supervisor, A_LONG_TIME_US));
    assert_true(supervisor_pause(supervisor, A_LONG_TIME_US));
    int64_t deadline = clock_now().mono_us + A_LONG_TIME_US;
    assert_int_equal(supervisor_run(supervisor, &stage.network, deadline, on_ready, &stage), 0);
    assert_int_equal(stage.n_ready, 0);
    supervisor_destroy(&supervisor);
    stage_fini(&stage);
}

static void note_that_it_ran(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

static void wait_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        (void)poll(NULL, 0, -1);
}

static void what_never_ends_is_waited_for_until_a_signal_comes(void **state)
{
    (void)state;
    static supervisor_t *supervisor; /* what still runs may use it */
    atomic_bool has_run = false;
    supervisor = supervisor_new();
    assert_true(supervisor_await(supervisor, note_that_it_ran, &has_run));
    assert_true(atomic_load(&has_run));
    assert_true(supervisor_is_clean(supervisor));
    kill(getpid(), SIGTERM);
    assert_false(supervisor_await(supervisor, wait_for_ever, NULL));
    assert_false(supervisor_is_clean(supervisor));
}

/* --- the network itself --- */

static void readiness_has_a_reason(void **state)
{
    (void)state;
    network_t network = {0};
    char why[NETWORK_WHY_CHARS] = "x";
    assert_false(network_is_ready(&network, why, sizeof why));
    assert_string_equal(why, "");
    network_set_ready(&network, false, "no database");
    assert_false(network_is_ready(&network, why, sizeof why));
    assert_string_equal(why, "no database");
    network_set_ready(&network, true, NULL);
    assert_true(network_is_ready(&network, why, sizeof why));
    assert_string_equal(why, "");
    assert_true(network_is_ready(&network, NULL, 0));
}

static void a_network_is_described_and_reached_by_address(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    assert_null(network_port(&stage.network, ADDRESS_COUNT));
    assert_null(network_port(&stage.network, ADDRESS_GATEWAY + 2));
    port_t *port = network_port(&stage.network, ADDRESS_SYNC);
    message_t message;
    message_init(&message, slice_str("x"));
    assert_int_equal(port_send(port, &message), ERR_OK);
    buf_t out = {0};
    network_describe(&stage.network, &out);
    buf_append_byte(&out, '\0');
    const char *text = (const char *)out.data;
    assert_memory_equal(text, "{\"actors\":[{\"name\":\"writer\",", 28);
    assert_non_null(strstr(text, "},{\"name\":\"sync\",\"depth\":1,"));
    assert_non_null(strstr(text, "\"gateway-1\""));
    assert_string_equal(text + strlen(text) - 4, "}}]}");
    buf_fini(&out);
    port_destroy(&port);
    stage_fini(&stage);
}

static void growth_of_the_log_wakes_the_relay_and_sync_and_is_told_to_the_peers(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    network_log_grew(&stage.network, 6);
    network_log_grew(&stage.network, 9);
    for (int i = 0; i <= ADDRESS_GATEWAY + 1; i++) {
        bool is_told = i == ADDRESS_RELAY || i == ADDRESS_SYNC || i == ADDRESS_PEERS;
        uint64_t bits = doorbell_take(actor_bell(stage.network.actors[i]));
        assert_int_equal(bits, is_told ? 15 : 0);
    }
    network_t nobody = {0};
    network_log_grew(&nobody, 1);
    stage_fini(&stage);
}

static void what_a_peer_wrote_wakes_the_relay_and_sync_and_is_not_told_again(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    actor_t *tail = stage.network.actors[ADDRESS_TAIL];
    stage.network.actors[ADDRESS_TAIL] = NULL; /* local mode */
    network_peer_grew(&stage.network, 6);
    stage.network.actors[ADDRESS_TAIL] = tail;
    for (int i = 0; i <= ADDRESS_GATEWAY + 1; i++) {
        bool reads = i == ADDRESS_RELAY || i == ADDRESS_SYNC;
        assert_int_equal(doorbell_take(actor_bell(stage.network.actors[i])), reads ? 6 : 0);
    }
    stage_fini(&stage);
}

static void in_kafka_mode_what_a_peer_wrote_is_told_to_tail_in_place_of_sync(void **state)
{
    (void)state;
    stage_t stage;
    stage_init(&stage);
    network_peer_grew(&stage.network, 6);
    for (int i = 0; i <= ADDRESS_GATEWAY + 1; i++) {
        bool is_told = i == ADDRESS_RELAY || i == ADDRESS_TAIL;
        assert_int_equal(doorbell_take(actor_bell(stage.network.actors[i])), is_told ? 6 : 0);
    }
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_signal_drains_all_from_the_gateways_to_the_writer_and_tells_the_peers_last),
        cmocka_unit_test(an_actor_that_fails_ends_the_program_with_its_code),
        cmocka_unit_test(an_actor_that_cannot_open_ends_the_start),
        cmocka_unit_test(not_being_ready_in_time_is_an_unavailable_service),
        cmocka_unit_test(a_hangup_does_not_stop_it),
        cmocka_unit_test(a_signal_before_it_is_ready_stops_it_too),
        cmocka_unit_test(what_never_ends_is_waited_for_until_a_signal_comes),
        cmocka_unit_test(readiness_has_a_reason),
        cmocka_unit_test(a_network_is_described_and_reached_by_address),
        cmocka_unit_test(growth_of_the_log_wakes_the_relay_and_sync_and_is_told_to_the_peers),
        cmocka_unit_test(what_a_peer_wrote_wakes_the_relay_and_sync_and_is_not_told_again),
        cmocka_unit_test(in_kafka_mode_what_a_peer_wrote_is_told_to_tail_in_place_of_sync),
    };
    log_configure(LOG_ERROR + 1, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
