/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrence alone: how many next due dates a second each kind of rule gives, in a zone with clock
 * changes, from the day that was found last to the instant and the text of the next. Prints JSON.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"
#include "schema/recur.h"

#define ZONE "Europe/Zurich"
#define DUE "2024-02-29T02:30"
/* Then a series begins anew: about as long as people keep one. */
#define MAX_OCCURRENCES 250

typedef struct {
    const char *kind;
    const char *rule;
} kind_t;

static const kind_t kinds[] = {
    {"every day", "FREQ=DAILY"},
    {"Monday to Friday", "weekdays"},
    {"every second week, three days", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE,FR"},
    {"the 31st", "FREQ=MONTHLY;BYMONTHDAY=31"},
    {"monthly, clamped", "monthly"},
    {"the last Friday", "FREQ=MONTHLY;BYDAY=-1FR"},
    {"the last working day", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"},
    {"Friday the 13th", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13"},
    {"29 February", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"},
    {"day 100 of the year", "FREQ=YEARLY;BYYEARDAY=100"},
};

/* The series' due dates, one after the other. Answers how many there were. */
static int64_t run_series(const rule_t *rule, const due_t *due, arena_t *arena)
{
    recur_t recur;
    slice_t why;
    slice_t start = recur_start(rule, due, arena, &why);
    if (start.data == NULL || !recur_open(rule, due, slice_str(ZONE), start, &recur))
        load_die("the rule does not start");
    for (int64_t n = 0; n < MAX_OCCURRENCES; n++) {
        due_t next;
        zone_fit_t fit;
        if (recur_next(&recur, arena, &next, &fit) != RULE_FOUND)
            return n;
    }
    return MAX_OCCURRENCES;
}

static double next_per_s(const char *text, int64_t run_us)
{
    arena_t *arena = arena_new();
    arena_t *scratch = arena_new();
    rule_t rule;
    due_t due;
    slice_t why;
    if (!rule_parse(slice_str(text), &rule, arena, &why) ||
        !due_resolve(slice_str(DUE), slice_str(ZONE), arena, &due))
        load_die("%s is no rule", text);
    int64_t n = 0;
    int64_t start_us = load_mono_us();
    int64_t taken_us = 0;
    while (taken_us < run_us) {
        n += run_series(&rule, &due, scratch);
        arena_reset(scratch);
        taken_us = load_mono_us() - start_us;
    }
    arena_destroy(&scratch);
    arena_destroy(&arena);
    return (double)n * 1e6 / (double)taken_us;
}

int main(int argc, char **argv)
{
    int64_t run_ms = argc > 1 ? load_number("MILLISECONDS", argv[1], 1, 60000) : 300;
    printf("[");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        printf("%s{\"kind\":\"%s\",\"rule\":\"%s\",\"next_per_s\":%.0f}", i == 0 ? "" : ",",
               kinds[i].kind, kinds[i].rule, next_per_s(kinds[i].rule, run_ms * 1000));
    printf("]\n");
    return 0;
}
