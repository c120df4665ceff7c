/* SPDX-License-Identifier: Apache-2.0 */
/* What opening, deleting and succeeding one occurrence does to the others of its series, and to
 * what is under them. */
#include "core_test.h"

static const uuid_t T3 = {{3, 3, 3, 3, 3, 3, 0x73, 3, 0x83, 3, 3, 3, 3, 3, 3, 3}};
static const uuid_t T4 = {{4, 4, 4, 4, 4, 4, 0x74, 4, 0x84, 4, 4, 4, 4, 4, 4, 4}};
static const uuid_t T5 = {{5, 5, 5, 5, 5, 5, 0x75, 5, 0x85, 5, 5, 5, 5, 5, 5, 5}};

static err_t succeed(core_t *core, const uuid_t *before, const uuid_t *id)
{
    char json[256];
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}", core_text(core, before),
             (long long)core_task(core, before)->closed_rev);
    core->now_us += US_PER_S;
    return core_do(core, &author_recurrence, "task.succeed", id, json);
}

static err_t act(core_t *core, const char *op, const uuid_t *task, const char *json)
{
    core->now_us += US_PER_S;
    return core_do(core, &core->anna, op, task, json);
}

static bool is_there(core_t *core, const uuid_t *task)
{
    return state_task(core->state, task) != NULL &&
           core_task(core, task)->deleted_at_us == INSTANT_NONE;
}

static void make_daily(core_t *core)
{
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
}

/* T1 done, T2 after it. */
static void make_two(core_t *core)
{
    make_daily(core);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T2), ERR_OK);
}

static err_t make_under(core_t *core, const uuid_t *task, const uuid_t *parent, const char *more)
{
    char json[300];
    snprintf(json, sizeof json, "{'title':'x','parent':'%s'%s}", core_text(core, parent), more);
    return act(core, "task.create", task, json);
}

static uuid_t copy_id(const uuid_t *next, const uuid_t *subtask)
{
    return uuid_derive(next, slice_of(subtask->bytes, UUID_BYTES));
}

/* --- reopening --- */

static void reopening_takes_an_untouched_successor_back(void **state)
{
    static const char *const ways[][2] = {{"task.reopen", NULL},
                                          {"task.patch", "{'status':'open'}"},
                                          {"task.patch", "{'status':'in_progress'}"}};
    core_t *core = *state;
    make_two(core);
    for (size_t i = 0; i < 3; i++) {
        uuid_t next = core_id(0x5000 + (unsigned)i);
        assert_int_equal(act(core, ways[i][0], &T1, ways[i][1]), ERR_OK);
        uuid_t former = i == 0 ? T2 : core_id(0x5000 + (unsigned)i - 1);
        assert_false(is_there(core, &former));
        assert_true(uuid_is_nil(&core->out.kept));
        assert_int_equal(core_event(core, 0)->type, EVENT_TASK_REOPENED);
        assert_int_equal(core_event(core, 1)->type, EVENT_TASK_DELETED);
        assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
        assert_int_equal(succeed(core, &T1, &next), ERR_OK);
        assert_int_equal(core_task(core, &next)->occurrence, 2);
    }
}

static void a_successor_that_was_touched_stays_and_is_named(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.patch", &T2, "{'title':'y'}"), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T2));
    assert_true(uuid_eq(&core->out.kept, &T2));
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T3), ERR_OK);
    assert_null(state_task(core->state, &T3));
}

static void a_successor_with_a_subtask_of_its_own_stays(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(make_under(core, &T3, &T2, ""), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T2) && is_there(core, &T3));
    assert_true(uuid_eq(&core->out.kept, &T2));
}

static void a_successor_that_is_done_or_elsewhere_stays(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T2));
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    char json[80];
    snprintf(json, sizeof json, "{'list':'%s'}", core_text(core, &core->other));
    core_add_member(core, &core->other, &core->anna, ROLE_EDITOR);
    assert_int_equal(act(core, "task.move", &T2, json), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T2));
    assert_true(uuid_is_nil(&core->out.kept));
}

static void reopening_what_is_open_takes_nothing_back(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.reopen", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.patch", &T1, "{'notes':'n'}"), ERR_OK);
    assert_true(is_there(core, &T2));
}

/* --- deleting --- */

static void an_open_occurrence_that_is_deleted_has_a_successor(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(act(core, "task.delete", &T1, "{'series':'this'}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->closed_rev, core_event(core, 0)->rev);
    assert_int_equal(succeed(core, &T1, &T2), ERR_OK);
    ASSERT_TEXT(core_task(core, &T2)->due, "2026-11-24");
    assert_int_equal(core_task(core, &T2)->deleted_at_us, INSTANT_NONE);
    assert_int_equal(act(core, "task.delete", &T2, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T2, &T3), ERR_OK);
}

static void restoring_an_occurrence_takes_its_successor_back(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(act(core, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T2), ERR_OK);
    assert_int_equal(act(core, "task.restore", &T1, NULL), ERR_OK);
    assert_false(is_there(core, &T2));
    assert_int_equal(core_task(core, &T1)->closed_rev, 0);
    assert_int_equal(succeed(core, &T1, &T3), ERR_CONFLICT);
}

static void deleting_the_series_deletes_what_is_open_and_keeps_what_is_done(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.patch", &T2, "{'title':'y'}"), ERR_OK);
    assert_int_equal(make_under(core, &T4, &T2, ""), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T1, "{'series':'all'}"), ERR_OK);
    assert_false(is_there(core, &T1) || is_there(core, &T2) || is_there(core, &T4));
    assert_int_equal(core_task(core, &T1)->closed_rev, 0);
    assert_non_null(core_task(core, &T1)->rule.data);
    assert_int_equal(succeed(core, &T1, &T3), ERR_CONFLICT);
}

static void the_last_one_that_is_done_recurs_no_more_when_the_series_is_deleted(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T1, "{'series':'all'}"), ERR_OK);
    assert_true(is_there(core, &T2));
    assert_null(core_task(core, &T2)->rule.data);
    assert_null(core_task(core, &T1)->rule.data);
    assert_int_equal(succeed(core, &T2, &T3), ERR_CONFLICT);
}

static void a_series_that_was_ended_does_not_go_on_before_what_is_done(void **state)
{
    core_t *core = *state;
    make_two(core);
    assert_int_equal(act(core, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T2, &T3), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T3, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T2, "{'series':'all'}"), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    assert_null(state_task(core->state, &T4));
}

static void which_of_the_series_is_one_of_two_words(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(act(core, "task.delete", &T1, "{'series':'some'}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/series");
    assert_int_equal(act(core, "task.delete", &T1, "{'x':1}"), ERR_INVALID);
}

/* Who reopens the one before and completes it again does not want back what was deleted. */
static void an_occurrence_that_was_deleted_is_not_made_again(void **state)
{
    core_t *core = *state;
    make_two(core);
    int64_t closed_rev = core_task(core, &T1)->closed_rev;
    assert_int_equal(act(core, "task.delete", &T2, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T2, &T3), ERR_OK);
    assert_int_equal(core_task(core, &T3)->occurrence, 3);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK); /* late, and by another id */
    assert_int_equal(core_task(core, &T1)->closed_rev, closed_rev);
    assert_null(state_task(core->state, &T4));
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T5), ERR_OK);
    assert_null(state_task(core->state, &T5));
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_true(is_there(core, &T3));
    assert_int_equal(act(core, "task.patch", &T3, "{'recurrence':null}"), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T3, NULL), ERR_OK); /* with nothing behind it too */
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T5), ERR_OK);
    assert_null(state_task(core->state, &T5));
    assert_int_equal(act(core, "task.restore", &T2, NULL), ERR_OK); /* its owner may want it */
    assert_true(is_there(core, &T2));
}

static void a_plain_task_that_is_deleted_is_closed_by_nothing(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(act(core, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(core_task(core, &T1)->closed_rev, 0);
    assert_int_equal(succeed(core, &T1, &T2), ERR_CONFLICT);
}

/* --- subtasks --- */

static void a_successor_has_open_copies_of_the_subtasks(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(make_under(core, &T2, &T1,
                                ",'due':'2026-11-22T09:00','tags':['a'],"
                                "'reminders':[{'before':'PT1H'}]"),
                     ERR_OK);
    assert_int_equal(make_under(core, &T3, &T2, ""), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T3, NULL), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    uuid_t two = copy_id(&T4, &T2);
    uuid_t three = copy_id(&T4, &T3);
    const task_t *copy = core_task(core, &two);
    assert_true(uuid_eq(&copy->parent, &T4));
    ASSERT_TEXT(copy->due, "2026-11-23T09:00");
    assert_int_equal(copy->due_at_us, instant_at("2026-11-23T08:00:00Z"));
    assert_int_equal(copy->n_tags, 1);
    assert_int_equal(copy->n_reminders, 1);
    assert_false(uuid_eq(&copy->reminders[0].id, &core_task(core, &T2)->reminders[0].id));
    copy = core_task(core, &three);
    assert_true(uuid_eq(&copy->parent, &two));
    assert_int_equal(copy->status, STATUS_OPEN);
    assert_int_equal(copy->completed_at_us, INSTANT_NONE);
    assert_true(uuid_eq(&core_event(core, 0)->task, &T4));
    assert_true(uuid_eq(&core_task(core, &T2)->parent, &T1));
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_false(is_there(core, &T4) || is_there(core, &two) || is_there(core, &three));
}

static void a_copy_that_was_touched_keeps_the_successor(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(make_under(core, &T2, &T1, ""), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    uuid_t copy = copy_id(&T4, &T2);
    assert_int_equal(act(core, "task.complete", &copy, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T4) && is_there(core, &copy));
    assert_true(uuid_eq(&core->out.kept, &T4));
}

static void a_copy_that_was_deleted_or_moved_away_keeps_the_successor(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(make_under(core, &T2, &T1, ""), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T1, ""), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    uuid_t copy = copy_id(&T4, &T2);
    assert_int_equal(act(core, "task.delete", &copy, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T4));
    assert_true(uuid_eq(&core->out.kept, &T4));
    assert_int_equal(act(core, "task.restore", &copy, NULL), ERR_OK);
    copy = copy_id(&T4, &T3);
    assert_int_equal(act(core, "task.patch", &copy, "{'parent':null}"), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_true(is_there(core, &T4));
}

static void what_came_under_an_occurrence_later_was_not_to_be_copied(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(make_under(core, &T2, &T1, ""), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T1, ""), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.reopen", &T1, NULL), ERR_OK);
    assert_false(is_there(core, &T4));
    assert_true(uuid_is_nil(&core->out.kept));
}

static void a_subtask_that_recurs_begins_a_series_of_its_own(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(
        make_under(core, &T2, &T1, ",'due':'2026-11-23','recurrence':{'rule':'weekly'}"), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T2, &T3), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    uuid_t closed = copy_id(&T4, &T2);
    uuid_t open = copy_id(&T4, &T3);
    assert_null(state_task(core->state, &closed));
    const task_t *copy = core_task(core, &open);
    assert_true(uuid_eq(&copy->series, &open));
    assert_int_equal(copy->occurrence, 1);
    ASSERT_TEXT(copy->due, "2026-12-01");
    ASSERT_TEXT(copy->rule_start, "2026-12-01");
}

static void a_deleted_occurrence_is_copied_with_what_went_with_it(void **state)
{
    core_t *core = *state;
    make_daily(core);
    assert_int_equal(make_under(core, &T2, &T1, ""), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T1, ""), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T3, NULL), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T1, &T4), ERR_OK);
    uuid_t two = copy_id(&T4, &T2);
    uuid_t three = copy_id(&T4, &T3);
    assert_true(is_there(core, &two));
    assert_null(state_task(core->state, &three));
}

static void what_goes_with_its_parent_has_no_successor(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(
        make_under(core, &T2, &T1, ",'due':'2026-11-23','recurrence':{'rule':'weekly'}"), ERR_OK);
    assert_int_equal(act(core, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(act(core, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, &T2, &T5), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reopening_takes_an_untouched_successor_back),
        TEST(a_successor_that_was_touched_stays_and_is_named),
        TEST(a_successor_with_a_subtask_of_its_own_stays),
        TEST(a_successor_that_is_done_or_elsewhere_stays),
        TEST(reopening_what_is_open_takes_nothing_back),
        TEST(an_open_occurrence_that_is_deleted_has_a_successor),
        TEST(restoring_an_occurrence_takes_its_successor_back),
        TEST(deleting_the_series_deletes_what_is_open_and_keeps_what_is_done),
        TEST(the_last_one_that_is_done_recurs_no_more_when_the_series_is_deleted),
        TEST(a_series_that_was_ended_does_not_go_on_before_what_is_done),
        TEST(which_of_the_series_is_one_of_two_words),
        TEST(an_occurrence_that_was_deleted_is_not_made_again),
        TEST(a_plain_task_that_is_deleted_is_closed_by_nothing),
        TEST(a_successor_has_open_copies_of_the_subtasks),
        TEST(a_copy_that_was_touched_keeps_the_successor),
        TEST(a_copy_that_was_deleted_or_moved_away_keeps_the_successor),
        TEST(what_came_under_an_occurrence_later_was_not_to_be_copied),
        TEST(a_subtask_that_recurs_begins_a_series_of_its_own),
        TEST(a_deleted_occurrence_is_copied_with_what_went_with_it),
        TEST(what_goes_with_its_parent_has_no_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
