/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a rule, from any day on: whatever it is, reading it and looking for its dates takes
 * at most 10 ms and 1 MB, also in this build; the dates ascend, are days of the rule however one
 * asks for them, and end with the year 9999. The first two bytes are the day. */
#include <stdlib.h>
#include <time.h>

#include "schema/json.h"
#include "schema/limits.h"
#include "schema/rule.h"

#define MAX_NS INT64_C(10000000)
#define MAX_BYTES (1024 * 1024)
#define N_DATES 20
#define LAST_DAY (INSTANT_MAX / US_PER_DAY)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

/* Of this thread alone: a busy machine is nobody's fault. */
static int64_t cpu_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static rule_search_t start_in_time(const rule_t *rule, int64_t day, int64_t *out)
{
    int64_t began = cpu_ns();
    rule_search_t search = rule_start(rule, day, out);
    must(cpu_ns() - began < MAX_NS);
    return search;
}

static rule_search_t next_in_time(const rule_t *rule, int64_t start, int64_t after, int64_t *out)
{
    int64_t began = cpu_ns();
    rule_search_t search = rule_after(rule, start, after, out);
    must(cpu_ns() - began < MAX_NS);
    return search;
}

static void try_dates(const rule_t *rule, int64_t day)
{
    int64_t start = 0;
    int64_t at = 0;
    if (start_in_time(rule, day, &start) != RULE_FOUND)
        return;
    must(start >= day && start <= LAST_DAY);
    must(next_in_time(rule, start, start - 1, &at) == RULE_FOUND && at == start);
    for (int i = 0; i < N_DATES; i++) {
        int64_t next = 0;
        int64_t again = 0;
        if (next_in_time(rule, start, at, &next) != RULE_FOUND)
            return;
        must(next > at && next <= LAST_DAY);
        must(next_in_time(rule, start, next - 1, &again) == RULE_FOUND && again == next);
        must(next_in_time(rule, start, at + (next - at) / 2, &again) == RULE_FOUND);
        must(again == next || at + (next - at) / 2 >= next);
        at = next;
    }
}

static void try_text(const rule_t *rule, size_t n_bytes, arena_t *arena)
{
    rule_t again = {0};
    slice_t why = slice_none();
    slice_t text = rule_format(rule, arena);
    bool is_word = n_bytes <= 8;
    must(is_word || text.n_bytes <= n_bytes);
    must(rule_parse(text, &again, arena, &why));
    must(slice_eq(rule_format(&again, arena), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    rule_t rule;
    slice_t why = slice_none();
    if (n_bytes < 2)
        return 0;
    arena_t *arena = arena_new();
    int64_t began = cpu_ns();
    bool is_rule = rule_parse(slice_of(data + 2, n_bytes - 2), &rule, arena, &why);
    must(cpu_ns() - began < MAX_NS);
    if (is_rule) {
        try_text(&rule, n_bytes - 2, arena);
        try_dates(&rule, -719162 + (data[0] << 8 | data[1]) * INT64_C(55));
    } else {
        must(why.n_bytes > 0 && why.n_bytes < 300 && utf8_is_text(why));
    }
    must(arena_bytes(arena) <= MAX_BYTES);
    arena_destroy(&arena);
    return 0;
}
