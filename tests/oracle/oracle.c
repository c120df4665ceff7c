/* SPDX-License-Identifier: Apache-2.0 */
/* What taskwire makes of rules and local times, for comparison with programs of others: a question
 * a line on standard input, an answer a line on standard output.
 *
 *   R RULE DATE N      up to N dates of the rule, given to something due on that date
 *   S RULE             the rule as it is stored
 *   Z ZONE LOCAL       the instant in seconds, and gap, overlap or plain
 *
 * Words are separated by tabs. "refused: …" answers what is no rule, "never" one without dates. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema/due.h"
#include "schema/rule.h"
#include "schema/zone.h"

#define MAX_WORDS 4

static void print_dates(const rule_t *rule, const local_t *due, int n)
{
    int64_t start = 0;
    if (rule_start(rule, days_from_date(due->year, due->month, due->day), &start) != RULE_FOUND) {
        puts("never");
        return;
    }
    int64_t day = start - 1;
    for (int i = 0; i < n && rule_after(rule, start, day, &day) == RULE_FOUND; i++) {
        local_t at = {0};
        date_from_days(day, &at);
        if (!rule_allows(rule, i + 1, &at, 0))
            break;
        printf("%s%04d-%02d-%02d", i == 0 ? "" : " ", at.year, at.month, at.day);
    }
    putchar('\n');
}

static void answer_zone(slice_t zone, slice_t text)
{
    static const char *const fits[] = {"plain", "gap", "overlap"};
    zone_fit_t fit = ZONE_PLAIN;
    local_t local;
    if (!zone_is_known(zone) || due_parse(text, &local) != DUE_LOCAL) {
        puts("unknown");
        return;
    }
    int64_t at_us = zone_to_utc(zone, &local, &fit);
    printf("%" PRId64 " %s\n", at_us / US_PER_S, fits[fit]);
}

static void answer_rule(char **words, int n_words, arena_t *arena)
{
    rule_t rule;
    slice_t why = slice_none();
    local_t due;
    if (!rule_parse(slice_str(words[1]), &rule, arena, &why)) {
        printf("refused: %.*s\n", (int)why.n_bytes, (const char *)why.data);
    } else if (words[0][0] == 'S') {
        slice_t text = rule_format(&rule, arena);
        printf("%.*s\n", (int)text.n_bytes, (const char *)text.data);
    } else if (n_words == MAX_WORDS && due_parse(slice_str(words[2]), &due) == DUE_DATE) {
        print_dates(&rule, &due, atoi(words[3]));
    } else {
        puts("unknown");
    }
}

static void answer(char *line, arena_t *arena)
{
    char *words[MAX_WORDS];
    int n_words = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, "\t\n", &rest); word != NULL && n_words < MAX_WORDS;
         word = strtok_r(NULL, "\t\n", &rest))
        words[n_words++] = word;
    if (n_words == 3 && words[0][0] == 'Z')
        answer_zone(slice_str(words[1]), slice_str(words[2]));
    else if (n_words >= 2)
        answer_rule(words, n_words, arena);
    else
        puts("unknown");
}

int main(void)
{
    char *line = NULL;
    size_t n_bytes = 0;
    arena_t *arena = arena_new();
    while (getline(&line, &n_bytes, stdin) >= 0) {
        answer(line, arena);
        arena_reset(arena);
    }
    arena_destroy(&arena);
    free(line);
    return 0;
}
