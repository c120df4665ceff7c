/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics in the text format that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "actors/metrics.h"

/* What the registry writes; it is forgotten afterwards. */
static void assert_writes(metrics_t *metrics, const char *wanted)
{
    buf_t out = {0};
    metrics_write(metrics, &out);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, wanted);
    buf_fini(&out);
}

static void assert_has_line(metrics_t *metrics, const char *line)
{
    buf_t out = {0};
    metrics_write(metrics, &out);
    buf_append_byte(&out, '\0');
    if (strstr((const char *)out.data, line) == NULL)
        fail_msg("no line %s in %s", line, (const char *)out.data);
    buf_fini(&out);
}

static void nothing_registered_is_nothing_written(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    assert_writes(metrics, "");
    metrics_destroy(&metrics);
    assert_null(metrics);
    metrics_destroy(&metrics);
}

static void a_family_is_written_together_whatever_came_between(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    metric_add(metrics_counter(metrics, "requests_total", "route=\"/a\"", "Requests"), 2);
    metric_set(metrics_gauge(metrics, "depth", NULL, "Depth"), -7);
    metric_add(metrics_counter(metrics, "requests_total", "route=\"/b\"", "Requests"), 3);
    assert_writes(metrics, "# HELP requests_total Requests\n"
                           "# TYPE requests_total counter\n"
                           "requests_total{route=\"/a\"} 2\n"
                           "requests_total{route=\"/b\"} 3\n"
                           "# HELP depth Depth\n"
                           "# TYPE depth gauge\n"
                           "depth -7\n");
    metrics_destroy(&metrics);
}

static void registering_again_finds_the_same_series(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    char labels[] = "a=\"1\"";
    metric_t *first = metrics_counter(metrics, "n_total", labels, "N");
    metric_t *bare = metrics_counter(metrics, "n_total", NULL, "N");
    labels[3] = '2'; /* they were copied */
    assert_ptr_equal(metrics_counter(metrics, "n_total", "a=\"1\"", "N"), first);
    assert_ptr_equal(metrics_counter(metrics, "n_total", NULL, "N"), bare);
    assert_ptr_not_equal(first, bare);
    assert_ptr_not_equal(metrics_counter(metrics, "n_total", labels, "N"), first);
    metric_add(first, 1);
    metric_add(first, 4);
    assert_int_equal(metric_value(first), 5);
    metrics_destroy(&metrics);
}

static void sizes_are_counted_by_powers_of_two(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    metric_t *size = metrics_size(metrics, "batch", "q=\"w\"", "Batch");
    static const int64_t values[] = {0, 1, 2, 3, 16384, 16385};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        metric_observe(size, values[i]);
    assert_has_line(metrics, "# TYPE batch histogram\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"1\"} 2\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"2\"} 3\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"4\"} 4\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"8192\"} 4\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"16384\"} 5\n");
    assert_has_line(metrics, "batch_bucket{q=\"w\",le=\"+Inf\"} 6\n");
    assert_has_line(metrics, "batch_sum{q=\"w\"} 32775\n");
    assert_has_line(metrics, "batch_count{q=\"w\"} 6\n");
    metrics_destroy(&metrics);
}

static void durations_are_shown_in_seconds(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    metric_t *took = metrics_duration(metrics, "took_seconds", NULL, "Took");
    static const int64_t values_us[] = {50, 51, 2500000, 10000000, 10000001};
    for (size_t i = 0; i < sizeof values_us / sizeof *values_us; i++)
        metric_observe(took, values_us[i]);
    assert_has_line(metrics, "took_seconds_bucket{le=\"0.00005\"} 1\n");
    assert_has_line(metrics, "took_seconds_bucket{le=\"0.0001\"} 2\n");
    assert_has_line(metrics, "took_seconds_bucket{le=\"1\"} 2\n");
    assert_has_line(metrics, "took_seconds_bucket{le=\"2.5\"} 3\n");
    assert_has_line(metrics, "took_seconds_bucket{le=\"10\"} 4\n");
    assert_has_line(metrics, "took_seconds_bucket{le=\"+Inf\"} 5\n");
    assert_has_line(metrics, "took_seconds_sum 22.500102\n");
    assert_has_line(metrics, "took_seconds_count 5\n");
    metrics_destroy(&metrics);
}

#define N_ADDS 20000

static void *count_up(void *arg)
{
    metrics_t *metrics = arg;
    metric_t *counter = metrics_counter(metrics, "n_total", NULL, "N");
    metric_t *size = metrics_size(metrics, "size", NULL, "Size");
    for (int i = 0; i < N_ADDS; i++) {
        metric_add(counter, 1);
        metric_observe(size, 2);
    }
    return NULL;
}

static void threads_count_together_while_it_is_written(void **state)
{
    (void)state;
    metrics_t *metrics = metrics_new();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, metrics), 0);
    for (int i = 0; i < 50; i++) {
        buf_t out = {0};
        metrics_write(metrics, &out);
        buf_fini(&out);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_has_line(metrics, "n_total 40000\n");
    assert_has_line(metrics, "size_count 40000\n");
    assert_has_line(metrics, "size_sum 80000\n");
    metrics_destroy(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_registered_is_nothing_written),
        cmocka_unit_test(a_family_is_written_together_whatever_came_between),
        cmocka_unit_test(registering_again_finds_the_same_series),
        cmocka_unit_test(sizes_are_counted_by_powers_of_two),
        cmocka_unit_test(durations_are_shown_in_seconds),
        cmocka_unit_test(threads_count_together_while_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
