/* SPDX-License-Identifier: Apache-2.0 */
/* Both clocks come from the vDSO, so reading them costs some ten nanoseconds and no system call. */
#include "actors/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

now_t clock_now(void)
{
    return (now_t){.wall_us = read_us(CLOCK_REALTIME), .mono_us = read_us(CLOCK_MONOTONIC)};
}
