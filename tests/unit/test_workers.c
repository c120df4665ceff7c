/* SPDX-License-Identifier: Apache-2.0 */
/* Slow work off the loop: how much of it is taken on, that every taker hears exactly once, and the
 * end. Verifying is played by a function that waits until it is cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sched.h>
#include <sodium.h>
#include <uv.h>

#include "gateway/workers.h"

static uv_loop_t loop;
static workers_t *workers;
static atomic_int n_verifying;

err_t verify_list(const config_t *config, const uuid_t *list, const atomic_bool *is_cancelled,
                  verify_report_t *out)
{
    (void)config;
    (void)list;
    *out = (verify_report_t){.ok = true, .events = 7};
    atomic_fetch_add(&n_verifying, 1);
    while (config == NULL && !atomic_load(is_cancelled))
        sched_yield();
    return atomic_load(is_cancelled) ? ERR_UNAVAILABLE : ERR_OK;
}

typedef struct {
    int n_answers;
    err_t err;
    char hash[200];
    bool is_match;
    int64_t events;
} asker_t;

static asker_t askers[100];

/* Other gateways of the process: more than libuv's pool has threads. */
#define N_OTHERS 8
#define LIMIT_NS UINT64_C(20000000000)

static struct {
    uv_loop_t loop;
    workers_t *workers;
    asker_t asker;
} others[N_OTHERS];

static void on_hash(void *arg, err_t err, const char *hash)
{
    asker_t *self = arg;
    self->n_answers++;
    self->err = err;
    assert_true((err == ERR_OK) == (hash != NULL));
    snprintf(self->hash, sizeof self->hash, "%s", hash == NULL ? "" : hash);
}

static void on_match(void *arg, err_t err, bool is_match)
{
    asker_t *self = arg;
    self->n_answers++;
    self->err = err;
    self->is_match = is_match;
}

static void on_verify(void *arg, err_t err, const verify_report_t *report)
{
    asker_t *self = arg;
    self->n_answers++;
    self->err = err;
    self->events = report == NULL ? 0 : report->events;
}

static int set_up(void **state)
{
    (void)state;
    memset(askers, 0, sizeof askers);
    n_verifying = 0;
    uv_loop_init(&loop);
    workers = workers_new(&loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    workers_stop(workers);
    uv_run(&loop, UV_RUN_DEFAULT);
    workers_destroy(&workers);
    return uv_loop_close(&loop);
}

static void run_until_answered(const asker_t *asker)
{
    uint64_t end_ns = uv_hrtime() + LIMIT_NS;
    while (asker->n_answers == 0) {
        assert_true(uv_hrtime() < end_ns);
        uv_run(&loop, UV_RUN_NOWAIT);
        sched_yield();
    }
}

static bool matches(const char *password, const char *hash)
{
    memset(&askers[1], 0, sizeof askers[1]);
    assert_int_equal(
        workers_match(workers, slice_str(password), slice_str(hash), on_match, &askers[1]), ERR_OK);
    run_until_answered(&askers[1]);
    assert_int_equal(askers[1].err, ERR_OK);
    return askers[1].is_match;
}

static void what_was_hashed_matches_and_nothing_else_does(void **unused)
{
    (void)unused;
    assert_int_equal(workers_hash(workers, slice_str("correct horse"), on_hash, &askers[0]),
                     ERR_OK);
    assert_int_equal(askers[0].n_answers, 0);
    run_until_answered(&askers[0]);
    assert_int_equal(askers[0].err, ERR_OK);
    assert_true(matches("correct horse", askers[0].hash));
    assert_false(matches("wrong horse", askers[0].hash));
    assert_false(matches("correct horse", ""));
}

static void a_queue_that_is_full_takes_no_more(void **unused)
{
    (void)unused;
    int n_taken = 0;
    while (workers_match(workers, slice_str("x"), slice_str(""), on_match, &askers[n_taken]) ==
           ERR_OK)
        assert_true(++n_taken < 100);
    assert_int_equal(n_taken, WORKERS_PASSWORDS_AT_ONCE + WORKERS_PASSWORDS_WAITING);
    assert_false(workers_has_room(workers));
    assert_int_equal(workers_hash(workers, slice_str("x"), on_hash, &askers[99]), ERR_OVERLOADED);
    assert_int_equal(askers[99].n_answers, 0);
}

static void who_waits_when_it_stops_hears_so_and_who_runs_ends(void **unused)
{
    (void)unused;
    for (int i = 0; i < 5; i++)
        workers_match(workers, slice_str("x"), slice_str(""), on_match, &askers[i]);
    workers_stop(workers);
    for (int i = WORKERS_PASSWORDS_AT_ONCE; i < 5; i++) {
        assert_int_equal(askers[i].n_answers, 1);
        assert_int_equal(askers[i].err, ERR_UNAVAILABLE);
    }
    assert_int_equal(workers_match(workers, slice_str("x"), slice_str(""), on_match, &askers[9]),
                     ERR_OVERLOADED);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(workers_is_idle(workers));
    assert_int_equal(askers[0].n_answers, 1);
    assert_int_equal(askers[1].n_answers, 1);
}

static void verifying_keeps_nobody_from_logging_in(void **unused)
{
    (void)unused;
    uuid_t list = uuid_v7(1);
    for (int i = 0; i < WORKERS_VERIFIES_AT_ONCE + WORKERS_VERIFIES_WAITING; i++)
        assert_int_equal(workers_verify(workers, NULL, &list, on_verify, &askers[10 + i]), ERR_OK);
    assert_int_equal(workers_verify(workers, NULL, &list, on_verify, &askers[9]), ERR_OVERLOADED);
    assert_false(matches("x", ""));
    assert_true(atomic_load(&n_verifying) <= WORKERS_VERIFIES_AT_ONCE);
    assert_int_equal(askers[10].n_answers, 0);
}

static void verify_at_others(void)
{
    uuid_t list = uuid_v7(1);
    uint64_t end_ns = uv_hrtime() + LIMIT_NS;
    for (int i = 0; i < N_OTHERS; i++) {
        others[i].asker = (asker_t){0};
        uv_loop_init(&others[i].loop);
        others[i].workers = workers_new(&others[i].loop);
        workers_verify(others[i].workers, NULL, &list, on_verify, &others[i].asker);
    }
    while (atomic_load(&n_verifying) < N_OTHERS && uv_hrtime() < end_ns)
        sched_yield();
}

static void end_others(void)
{
    for (int i = 0; i < N_OTHERS; i++) {
        workers_stop(others[i].workers);
        uv_run(&others[i].loop, UV_RUN_DEFAULT);
        workers_destroy(&others[i].workers);
        assert_int_equal(uv_loop_close(&others[i].loop), 0);
        assert_int_equal(others[i].asker.n_answers, 1);
        assert_int_equal(others[i].asker.err, ERR_UNAVAILABLE);
    }
}

static void verifying_at_every_gateway_keeps_nobody_from_logging_in(void **unused)
{
    (void)unused;
    verify_at_others();
    assert_int_equal(atomic_load(&n_verifying), N_OTHERS);
    assert_false(matches("x", ""));
    for (int i = 0; i < N_OTHERS; i++)
        assert_int_equal(others[i].asker.n_answers, 0);
    end_others();
}

static void a_verdict_comes_back(void **unused)
{
    (void)unused;
    config_t config = {.data_dir = "/nowhere"};
    uuid_t list = uuid_v7(1);
    workers_verify(workers, &config, &list, on_verify, &askers[0]);
    run_until_answered(&askers[0]);
    assert_int_equal(askers[0].err, ERR_OK);
    assert_int_equal(askers[0].events, 7);
}

static void what_nobody_wants_to_know_is_cut_short(void **unused)
{
    (void)unused;
    uuid_t list = uuid_v7(1);
    workers_verify(workers, NULL, &list, on_verify, &askers[0]);
    workers_verify(workers, NULL, &list, on_verify, &askers[1]);
    workers_cancel(workers, &askers[0]);
    run_until_answered(&askers[0]);
    assert_int_equal(askers[0].err, ERR_UNAVAILABLE);
    assert_int_equal(askers[1].n_answers, 0);
    workers_cancel(workers, &askers[1]);
    run_until_answered(&askers[1]);
    assert_true(workers_is_idle(workers));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(what_was_hashed_matches_and_nothing_else_does),
        TEST(a_queue_that_is_full_takes_no_more),
        TEST(who_waits_when_it_stops_hears_so_and_who_runs_ends),
        TEST(verifying_keeps_nobody_from_logging_in),
        TEST(verifying_at_every_gateway_keeps_nobody_from_logging_in),
        TEST(a_verdict_comes_back),
        TEST(what_nobody_wants_to_know_is_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
