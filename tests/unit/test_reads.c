/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of reading connections, over connections that only write down what they are told:
 * groups, what happens to the neighbours of a failing statement, limits, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "gateway/reads.h"

/* --- connections in place of pg.c --- */

typedef struct {
    const pg_stmt_t *stmt;
    int number; /* its only parameter, below 256 */
    pg_done_f *done;
    void *arg;
    int group;
} query_t;

struct pg {
    query_t queries[256];
    int n_queries;
    int group;
    bool has_open_group;
    bool is_away;
    bool is_full;
};

static pg_t *pgs[READS_CONNECTIONS];
static int n_pgs;

pg_t *pg_new(const pg_options_t *options)
{
    assert_non_null(strstr(options->options, "default_transaction_read_only=on"));
    pg_t *self = calloc(1, sizeof *self);
    pgs[n_pgs++] = self;
    return self;
}

static query_t take_first(pg_t *self)
{
    assert_true(self->n_queries > 0);
    query_t first = self->queries[0];
    self->n_queries--;
    memmove(self->queries, self->queries + 1, (size_t)self->n_queries * sizeof first);
    return first;
}

void pg_destroy(pg_t **self_p)
{
    while ((*self_p)->n_queries > 0) {
        query_t query = take_first(*self_p);
        query.done(query.arg, PG_LOST, NULL);
    }
    free(*self_p);
    *self_p = NULL;
}

bool pg_is_ready(const pg_t *self)
{
    return !self->is_away && !self->is_full;
}

bool pg_is_connected(const pg_t *self)
{
    return !self->is_away && !self->is_full;
}

int pg_in_flight(const pg_t *self)
{
    return self->is_full ? PG_MAX_IN_FLIGHT : self->n_queries;
}

err_t pg_query(pg_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
               void *arg)
{
    query_t query = {.stmt = stmt, .done = done, .arg = arg, .group = self->group};
    assert_int_equal(params->n_params, 1);
    query.number = params->bytes.data[params->params[0].at + 3]; /* big-endian */
    self->queries[self->n_queries++] = query;
    self->has_open_group = true;
    return ERR_OK;
}

err_t pg_sync(pg_t *self)
{
    self->group += self->has_open_group;
    self->has_open_group = false;
    return ERR_OK;
}

int pg_fd(const pg_t *self)
{
    (void)self;
    return -1;
}

int64_t pg_fd_serial(const pg_t *self)
{
    (void)self;
    return 0;
}

short pg_events(const pg_t *self)
{
    (void)self;
    return 0;
}

void pg_step(pg_t *self, now_t now)
{
    (void)self;
    (void)now;
}

int64_t pg_timeout_us(const pg_t *self, now_t now)
{
    (void)self;
    (void)now;
    return INT64_MAX;
}

/* --- who asks --- */

typedef struct {
    int n_answers;
    pg_fate_t fate;
} asker_t;

static void on_answer(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    asker_t *self = arg;
    (void)result;
    self->n_answers++;
    self->fate = fate;
}

/* They outlive the test, whose reads may be answered when it is torn down. */
static asker_t askers[4];

static const pg_stmt_t stmt = {"SELECT $1::int"};
static uv_loop_t loop;
static gateway_t gateway;
static config_t config = {.database_url = "postgresql://nowhere"};
static network_t network = {.config = &config};

static err_t ask(asker_t *asker, int32_t number)
{
    pg_params_t params = {0};
    pg_put_i32(&params, number);
    err_t err = reads_query(gateway.reads, &stmt, &params, on_answer, asker);
    pg_params_fini(&params);
    return err;
}

static void answer_first(pg_t *pg, pg_fate_t fate)
{
    query_t first = take_first(pg);
    first.done(first.arg, fate, NULL);
}

static int set_up(void **state)
{
    (void)state;
    n_pgs = 0;
    memset(askers, 0, sizeof askers);
    uv_loop_init(&loop);
    gateway = (gateway_t){.network = &network, .loop = &loop, .now = clock_now()};
    gateway.reads = reads_new(&gateway, "test");
    pgs[1]->is_away = true; /* where one connection is enough */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reads_stop(gateway.reads);
    uv_run(&loop, UV_RUN_DEFAULT);
    reads_destroy(&gateway.reads);
    return uv_loop_close(&loop);
}

static void what_one_turn_asks_goes_out_as_one_group(void **unused)
{
    (void)unused;
    ask(&askers[0], 1);
    ask(&askers[1], 2);
    assert_true(pgs[0]->has_open_group);
    reads_before_sleep(gateway.reads);
    assert_false(pgs[0]->has_open_group);
    ask(&askers[2], 3);
    reads_before_sleep(gateway.reads);
    assert_int_equal(pgs[0]->queries[0].group, pgs[0]->queries[1].group);
    assert_int_not_equal(pgs[0]->queries[1].group, pgs[0]->queries[2].group);
    answer_first(pgs[0], PG_OK);
    assert_int_equal(askers[0].n_answers, 1);
    assert_int_equal(askers[1].n_answers, 0);
}

/* However often the connection itself is seen to in between. */
static void no_group_is_left_open_over_a_sleep(void **unused)
{
    (void)unused;
    ask(&askers[0], 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    reads_before_sleep(gateway.reads);
    assert_false(pgs[0]->has_open_group);
    ask(&askers[1], 2);
    answer_first(pgs[0], PG_OK);
    reads_before_sleep(gateway.reads);
    assert_false(pgs[0]->has_open_group);
}

static void a_group_does_not_grow_for_ever(void **unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        ask(&askers[0], i);
    assert_true(pgs[0]->queries[99].group >= 3);
}

static void the_neighbours_of_a_failing_statement_are_asked_again_alone(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++)
        ask(&askers[i], i);
    reads_before_sleep(gateway.reads);
    answer_first(pgs[0], PG_OK);
    answer_first(pgs[0], PG_REJECTED);
    answer_first(pgs[0], PG_SKIPPED);
    answer_first(pgs[0], PG_SKIPPED);
    assert_int_equal(askers[0].fate, PG_OK);
    assert_int_equal(askers[1].fate, PG_REJECTED);
    assert_int_equal(askers[2].n_answers + askers[3].n_answers, 0);
    assert_int_equal(pgs[0]->n_queries, 2);
    assert_int_equal(pgs[0]->queries[0].number, 2);
    assert_int_equal(pgs[0]->queries[1].number, 3);
    assert_int_not_equal(pgs[0]->queries[0].group, pgs[0]->queries[1].group);
    assert_false(pgs[0]->has_open_group);
    answer_first(pgs[0], PG_OK);
    answer_first(pgs[0], PG_RETRY);
    assert_int_equal(askers[2].fate, PG_OK);
    assert_int_equal(askers[3].fate, PG_RETRY);
    assert_int_equal(askers[3].n_answers, 1);
}

static void one_asked_again_stays_apart_from_what_is_new(void **unused)
{
    (void)unused;
    ask(&askers[0], 0);
    ask(&askers[1], 1);
    reads_before_sleep(gateway.reads);
    ask(&askers[2], 2);
    answer_first(pgs[0], PG_RETRY);
    answer_first(pgs[0], PG_SKIPPED);
    assert_int_equal(pgs[0]->queries[0].number, 2);
    assert_int_equal(pgs[0]->queries[1].number, 1);
    assert_int_not_equal(pgs[0]->queries[0].group, pgs[0]->queries[1].group);
}

static void a_full_pool_is_overloaded(void **unused)
{
    (void)unused;
    pgs[0]->is_full = true;
    assert_int_equal(ask(&askers[0], 1), ERR_OVERLOADED);
    assert_int_equal(askers[0].n_answers, 0);
}

static void the_least_busy_connection_is_asked(void **unused)
{
    (void)unused;
    pgs[1]->is_away = false;
    for (int32_t i = 0; i < 10; i++)
        ask(&askers[0], i);
    assert_int_equal(pgs[0]->n_queries, 5);
    assert_int_equal(pgs[1]->n_queries, 5);
    assert_int_equal(reads_in_flight(gateway.reads), 10);
}

static void without_a_connection_nothing_can_be_asked(void **unused)
{
    (void)unused;
    pgs[0]->is_away = true;
    assert_int_equal(ask(&askers[0], 1), ERR_UNAVAILABLE);
    assert_int_equal(askers[0].n_answers, 0);
}

static void who_waits_when_it_stops_hears_that_it_is_lost(void **unused)
{
    (void)unused;
    ask(&askers[0], 1);
    reads_stop(gateway.reads);
    assert_int_equal(askers[0].n_answers, 1);
    assert_int_equal(askers[0].fate, PG_LOST);
    assert_int_equal(ask(&askers[0], 1), ERR_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_turn_asks_goes_out_as_one_group),
        TEST(no_group_is_left_open_over_a_sleep),
        TEST(a_group_does_not_grow_for_ever),
        TEST(the_neighbours_of_a_failing_statement_are_asked_again_alone),
        TEST(one_asked_again_stays_apart_from_what_is_new),
        TEST(a_full_pool_is_overloaded),
        TEST(the_least_busy_connection_is_asked),
        TEST(without_a_connection_nothing_can_be_asked),
        TEST(who_waits_when_it_stops_hears_that_it_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
