/* SPDX-License-Identifier: Apache-2.0 */
/* What the locator knows without asking, and that nobody's commands overtake each other in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/writer_locate.h"

#define MAX_LOCATED 16

typedef struct {
    locator_t locator;
    pending_t *located[MAX_LOCATED];
    size_t n_located;
} fixture_t;

static void on_located(void *arg, pending_t *pending)
{
    fixture_t *self = arg;
    assert_true(self->n_located < MAX_LOCATED);
    self->located[self->n_located++] = pending;
}

static void on_not_found(void *arg, pending_t *pending)
{
    (void)arg;
    (void)pending;
    fail();
}

static int set_up(void **state)
{
    static fixture_t self;
    self = (fixture_t){0};
    locator_init(&self.locator, NULL, on_located, on_not_found, &self);
    *state = &self;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *self = *state;
    while (locator_take(&self->locator) != NULL)
        ;
    locator_fini(&self->locator);
    return 0;
}

/* The n-th task that shares its place in the table with the others. */
static uuid_t rival(unsigned n)
{
    uuid_t id = {{1}};
    uint64_t place = uuid_hash(&id) % LOCATOR_SETS;
    for (uint32_t i = 0;; i++) {
        memcpy(id.bytes + 4, &i, sizeof i);
        if (uuid_hash(&id) % LOCATOR_SETS == place && n-- == 0)
            return id;
    }
}

static uuid_t list_of(unsigned n)
{
    return (uuid_t){{2, (uint8_t)n}};
}

static void learn(fixture_t *self, unsigned n)
{
    outcome_t outcome = {.task = rival(n), .stream = list_of(n)};
    command_t command = {.list = list_of(n)};
    locator_learn(&self->locator, &outcome, &command);
}

/* Whether the list of the n-th task is known at once, and right. */
static bool knows(fixture_t *self, unsigned n)
{
    static pending_t pendings[64];
    static size_t n_used;
    pending_t *pending = &pendings[n_used++ % 64];
    uuid_t list = list_of(n);
    size_t before = self->n_located;
    *pending = (pending_t){.command = {.task = rival(n)}};
    memcpy(pending->command.author.bytes, &n_used, sizeof n_used); /* nobody waits for another */
    locator_find(&self->locator, pending);
    if (self->n_located == before)
        return false;
    self->n_located = before;
    assert_true(uuid_eq(&pending->command.list, &list));
    assert_true(pending->is_located);
    return true;
}

static void tasks_of_one_place_in_the_table_are_known_side_by_side(void **state)
{
    fixture_t *self = *state;
    for (unsigned n = 0; n < LOCATOR_WAYS; n++)
        learn(self, n);
    for (unsigned n = 0; n < LOCATOR_WAYS; n++)
        assert_true(knows(self, n));
    assert_false(knows(self, LOCATOR_WAYS));
}

static void who_was_not_heard_of_for_longest_is_forgotten_first(void **state)
{
    fixture_t *self = *state;
    for (unsigned n = 0; n < LOCATOR_WAYS; n++)
        learn(self, n);
    learn(self, 0);
    learn(self, LOCATOR_WAYS);
    assert_true(knows(self, 0));
    assert_false(knows(self, 1));
    for (unsigned n = 2; n <= LOCATOR_WAYS; n++)
        assert_true(knows(self, n));
}

static void a_task_that_moved_is_known_where_it_is_now(void **state)
{
    fixture_t *self = *state;
    outcome_t outcome = {.task = rival(1), .stream = list_of(1)};
    command_t command = {.list = list_of(7)};
    learn(self, 0);
    locator_learn(&self->locator, &outcome, &command);
    assert_true(knows(self, 1));
    assert_true(knows(self, 0));
}

/* What a repeat was answered may be long ago; the list where it was looked for is not. */
static void a_repeat_teaches_where_its_task_was_found(void **state)
{
    fixture_t *self = *state;
    outcome_t outcome = {.task = rival(1), .stream = list_of(7), .is_replay = true};
    command_t command = {.list = list_of(1)};
    locator_learn(&self->locator, &outcome, &command);
    assert_true(knows(self, 1));
}

static void what_is_known_waits_behind_what_its_author_asked_before(void **state)
{
    fixture_t *self = *state;
    pending_t first = {.command = {.task = rival(0), .author = {{1}}}};
    pending_t second = {.command = {.task = rival(1), .author = {{1}}}};
    pending_t other = {.command = {.task = rival(1), .author = {{2}}}};
    learn(self, 1);
    locator_find(&self->locator, &first);
    locator_find(&self->locator, &second);
    locator_find(&self->locator, &other);
    assert_int_equal(locator_n_waiting(&self->locator), 2);
    assert_int_equal(self->n_located, 1);
    assert_ptr_equal(self->located[0], &other);
    assert_ptr_equal(locator_take(&self->locator), &first);
    assert_ptr_equal(locator_take(&self->locator), &second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tasks_of_one_place_in_the_table_are_known_side_by_side),
        TEST(who_was_not_heard_of_for_longest_is_forgotten_first),
        TEST(a_task_that_moved_is_known_where_it_is_now),
        TEST(a_repeat_teaches_where_its_task_was_found),
        TEST(what_is_known_waits_behind_what_its_author_asked_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
