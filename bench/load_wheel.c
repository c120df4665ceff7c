/* SPDX-License-Identifier: Apache-2.0 */
/* The timing wheel alone: how many timers a second can be set, found due, and cancelled, when as
 * many as asked for lie in it at random instants of an hour. Prints JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/wheel.h"

#define HOUR_US INT64_C(3600000000)
#define TICK_US 1000

static double now_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static size_t n_fired;

static void on_due(wheel_timer_t *timer, void *arg)
{
    (void)timer;
    (void)arg;
    n_fired++;
}

/* Source: splitmix64 (S. Vigna). */
static uint64_t draw(void)
{
    static uint64_t seed = 1;
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double set_all(wheel_t *wheel, wheel_timer_t *timers, size_t n)
{
    double start_s = now_s();
    for (size_t i = 0; i < n; i++) {
        timers[i].fire = on_due;
        wheel_set(wheel, &timers[i], 1 + (int64_t)(draw() % (uint64_t)HOUR_US));
    }
    return now_s() - start_s;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : 1000000;
    wheel_timer_t *timers = calloc(n, sizeof *timers);
    wheel_t *wheel = wheel_new(0, TICK_US, NULL);
    if (n == 0 || timers == NULL) {
        fprintf(stderr, "usage: load_wheel [TIMERS]\n");
        return 64;
    }
    double set_s = set_all(wheel, timers, n);
    double start_s = now_s();
    for (size_t i = 0; i < n; i++)
        wheel_cancel(wheel, &timers[i]);
    double cancel_s = now_s() - start_s;
    (void)set_all(wheel, timers, n);
    start_s = now_s();
    for (int64_t at_us = 0; n_fired < n; at_us += TICK_US)
        wheel_turn(wheel, at_us);
    double fire_s = now_s() - start_s;
    printf("{\"timers\":%zu,\"set_per_s\":%.0f,\"cancel_per_s\":%.0f,\"fire_per_s\":%.0f,"
           "\"bytes_per_timer\":%zu}\n",
           n, (double)n / set_s, (double)n / cancel_s, (double)n / fire_s, sizeof *timers);
    wheel_destroy(&wheel);
    free(timers);
    return 0;
}
