/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a batch: what was put is found again, in its place and in its order, however much
 * there is. */
#include "core_test.h"

#define N_MANY 5000u

static void what_was_never_put_is_not_there(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    assert_null(state_stream(state, &T1));
    assert_null(state_list(state, &T1));
    assert_null(state_member(state, &T1, &T2));
    assert_null(state_account(state, &T1));
    assert_null(state_token(state, &T1));
    assert_null(state_task(state, &T1));
    assert_null(state_seen(state, &T1, &T2));
    assert_false(state_has_occurrence(state, &T1, 1));
    assert_null(state_stream_at(state, 0));
    assert_null(state_event_at(state, 0));
    assert_int_equal(state_n_events(state), 0);
    assert_memory_equal(state_epoch(state), CORE_EPOCH, EPOCH_CHARS);
    assert_ptr_equal(state_arena(state), arena);
    arena_destroy(&arena);
}

static void pointers_stay_valid_while_the_state_grows(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    stream_t *places[N_MANY];
    for (unsigned i = 0; i < N_MANY; i++) {
        stream_t stream = {.id = core_id(i + 1), .head = i};
        places[i] = state_put_stream(state, &stream);
    }
    for (unsigned i = 0; i < N_MANY; i++) {
        uuid_t id = core_id(i + 1);
        assert_ptr_equal(state_stream(state, &id), places[i]);
        assert_ptr_equal(state_stream_at(state, i), places[i]);
        assert_int_equal(places[i]->head, i);
    }
    assert_null(state_stream_at(state, N_MANY));
    uuid_t id = core_id(N_MANY + 1);
    assert_null(state_stream(state, &id));
    arena_destroy(&arena);
}

static void putting_again_replaces_in_place(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    task_t task = {.id = T1, .rev = 1};
    const state_task_t *first = state_put_task(state, &task, true, false);
    task.rev = 2;
    const state_task_t *second = state_put_task(state, &task, false, true);
    assert_ptr_equal(first, second);
    assert_int_equal(first->task.rev, 2);
    assert_true(first->is_dirty && !first->is_new);
    assert_null(state_task_at(state, 1));
    arena_destroy(&arena);
}

static void the_order_within_a_pair_matters(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    member_t member = {.key = {T1, T2}, .role = ROLE_OWNER};
    seen_t seen = {.author = T1, .command = T2, .rev = 7};
    state_put_member(state, &member);
    state_put_seen(state, &seen);
    assert_int_equal(state_member(state, &T1, &T2)->role, ROLE_OWNER);
    assert_null(state_member(state, &T2, &T1));
    assert_null(state_member(state, &T1, &T1));
    assert_int_equal(state_seen(state, &T1, &T2)->rev, 7);
    assert_null(state_seen(state, &T2, &T1));
    arena_destroy(&arena);
}

static void a_series_goes_on_if_any_later_one_is_there(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    assert_false(state_has_occurrence_after(state, &T1, 0));
    state_put_occurrence(state, &T1, 2);
    state_put_occurrence(state, &T1, 5);
    state_put_occurrence(state, &T2, 9);
    assert_true(state_has_occurrence_after(state, &T1, 1));
    assert_true(state_has_occurrence_after(state, &T1, 4));
    assert_false(state_has_occurrence_after(state, &T1, 5));
    state_drop_occurrence(state, &T1, 5);
    assert_false(state_has_occurrence_after(state, &T1, 2));
    state_put_occurrence(state, &T1, 5);
    assert_true(state_has_occurrence_after(state, &T1, 2));
    arena_destroy(&arena);
}

static void the_tasks_of_a_series_are_found_in_the_order_in_which_they_came(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    assert_null(state_series(state, &T1));
    for (unsigned i = 0; i < 300; i++) {
        task_t task = {.id = core_id(i), .occurrence = i, .deleted_at_us = INSTANT_NONE};
        state_put_task(state, &task, false, false); /* it does not recur yet */
        task.series = core_id(1000 + i % 3);
        state_put_task(state, &task, false, true);
        state_put_task(state, &task, false, true);
    }
    uuid_t series = core_id(1001);
    int64_t n = 1;
    for (state_task_t *one = state_series(state, &series); one != NULL; one = one->next_of_series) {
        assert_int_equal(one->task.occurrence, n);
        n += 3;
    }
    assert_int_equal(n, 301);
    arena_destroy(&arena);
}

static void an_occurrence_may_come_and_go(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    state_put_occurrence(state, &T1, 2);
    assert_true(state_has_occurrence(state, &T1, 2));
    assert_false(state_has_occurrence(state, &T1, 1));
    assert_false(state_has_occurrence(state, &T2, 2));
    state_drop_occurrence(state, &T1, 2);
    assert_false(state_has_occurrence(state, &T1, 2));
    state_drop_occurrence(state, &T2, 9);
    assert_false(state_has_occurrence(state, &T2, 9));
    state_put_occurrence(state, &T1, 2);
    assert_true(state_has_occurrence(state, &T1, 2));
    arena_destroy(&arena);
}

static void a_task_is_reworded_while_its_words_differ_from_what_is_stored(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    const slice_t tags[] = {slice_str("home"), slice_str("garden")};
    task_t task = {.id = T1, .title = slice_str("milk"), .tags = tags, .n_tags = 2};
    assert_false(state_put_task(state, &task, false, false)->is_reworded);
    task.priority = PRIORITY_HIGH;
    assert_false(state_put_task(state, &task, false, true)->is_reworded);
    task.n_tags = 1;
    assert_true(state_put_task(state, &task, false, true)->is_reworded);
    task.priority = PRIORITY_LOW;
    assert_true(state_put_task(state, &task, false, true)->is_reworded);
    task.id = T2;
    assert_true(state_put_task(state, &task, true, true)->is_reworded);
    arena_destroy(&arena);
}

static void events_keep_their_order(void **unused)
{
    (void)unused;
    arena_t *arena = arena_new();
    state_t *state = state_new(arena, CORE_EPOCH);
    const state_event_t *first = NULL;
    for (unsigned i = 0; i < N_MANY; i++) {
        state_event_t event = {.event = {.rev = i}};
        const state_event_t *place = state_put_event(state, &event);
        first = i == 0 ? place : first;
    }
    assert_int_equal(state_n_events(state), N_MANY);
    assert_ptr_equal(state_event_at(state, 0), first);
    for (unsigned i = 0; i < N_MANY; i++)
        assert_int_equal(state_event_at(state, i)->event.rev, i);
    assert_null(state_event_at(state, N_MANY));
    arena_destroy(&arena);
}

static void every_role_has_a_word(void **unused)
{
    (void)unused;
    for (int role = ROLE_VIEWER; role <= ROLE_OWNER; role++)
        assert_int_equal(role_of(slice_str(role_name((role_t)role))), role);
    assert_string_equal(role_name(ROLE_NONE), "none");
    assert_int_equal(role_of(slice_str("none")), ROLE_NONE);
    assert_int_equal(role_of(slice_str("king")), ROLE_NONE);
    assert_int_equal(role_of(slice_none()), ROLE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_never_put_is_not_there),
        cmocka_unit_test(pointers_stay_valid_while_the_state_grows),
        cmocka_unit_test(putting_again_replaces_in_place),
        cmocka_unit_test(the_order_within_a_pair_matters),
        cmocka_unit_test(an_occurrence_may_come_and_go),
        cmocka_unit_test(a_series_goes_on_if_any_later_one_is_there),
        cmocka_unit_test(the_tasks_of_a_series_are_found_in_the_order_in_which_they_came),
        cmocka_unit_test(a_task_is_reworded_while_its_words_differ_from_what_is_stored),
        cmocka_unit_test(events_keep_their_order),
        cmocka_unit_test(every_role_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
