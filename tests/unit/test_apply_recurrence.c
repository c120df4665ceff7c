/* SPDX-License-Identifier: Apache-2.0 */
/* How a task recurs, as clients set and change it: where a rule starts, what moving or skipping an
 * occurrence does to the series, what is refused. */
#include "core_test.h"

/* The successor of a task that is done, as the actor would ask for it. */
static const task_t *succeed(core_t *core, const task_t *before)
{
    char json[256];
    uuid_t id = core_id(0x5000 + core->n_commands);
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}", core_text(core, &before->id),
             (long long)before->closed_rev);
    assert_int_equal(core_do(core, &author_recurrence, "task.succeed", &id, json), ERR_OK);
    return core_task(core, &id);
}

/* Done at that instant, and succeeded. */
static const task_t *next_at(core_t *core, const task_t *task, const char *at)
{
    char json[64];
    snprintf(json, sizeof json, "{'at':'%s'}", at);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &task->id, json), ERR_OK);
    return succeed(core, core_task(core, &task->id));
}

static const task_t *next(core_t *core, const task_t *task)
{
    return next_at(core, task, "2026-11-23T08:00:00Z");
}

static const task_t *made(core_t *core, const char *json)
{
    make(core, json);
    return core_task(core, &T1);
}

static void a_rule_starts_at_the_due_date_or_on_its_first_day_behind_it(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-27','recurrence':{'rule':'FREQ=WEEKLY;BYDAY=MO'}}");
    ASSERT_TEXT(core_task(core, &T1)->due, "2026-11-27");
    ASSERT_TEXT(core_task(core, &T1)->rule_start, "2026-11-30");
    assert_int_equal(patch(core, "{'due':'2026-12-07T09:00','recurrence':{'rule':'weekly'}}"),
                     ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->rule_start, "2026-12-07T09:00");
    assert_null(core_task(core, &T1)->planned.data);
}

static void a_rule_that_is_sent_again_goes_on_as_it_did(void **state)
{
    core_t *core = *state;
    const task_t *task = made(
        core, "{'title':'x','due':'2026-11-30','recurrence':{'rule':'FREQ=WEEKLY;INTERVAL=2'}}");
    task = next(core, task);
    int64_t rev = task->rev;
    ASSERT_TEXT(task->due, "2026-12-14");
    assert_int_equal(core_do(core, &core->anna, "task.patch", &task->id,
                             "{'recurrence':{'rule':'FREQ=WEEKLY;INTERVAL=2'}}"),
                     ERR_OK);
    assert_int_equal(core_task(core, &task->id)->rev, rev);
    ASSERT_TEXT(core_task(core, &task->id)->rule_start, "2026-11-30");
    assert_int_equal(core_do(core, &core->anna, "task.patch", &task->id,
                             "{'due':'2026-12-21','recurrence':{'rule':'FREQ=WEEKLY;INTERVAL=2'}}"),
                     ERR_OK);
    ASSERT_TEXT(core_task(core, &task->id)->rule_start, "2026-12-21");
    assert_int_equal(core_do(core, &core->anna, "task.patch", &task->id,
                             "{'recurrence':{'start':'2026-11-30','missed':'each'}}"),
                     ERR_OK);
    ASSERT_TEXT(core_task(core, &task->id)->rule_start, "2026-11-30");
    assert_int_equal(
        core_do(core, &core->anna, "task.patch", &task->id, "{'recurrence':{'start':null}}"),
        ERR_OK);
    ASSERT_TEXT(core_task(core, &task->id)->rule_start, "2026-12-21");
}

static void an_occurrence_that_is_moved_moves_alone(void **state)
{
    core_t *core = *state;
    const task_t *task =
        made(core, "{'title':'x','due':'2026-12-31T09:00','recurrence':{'rule':'monthly'}}");
    assert_int_equal(patch(core, "{'due':'2027-01-02T15:00'}"), ERR_OK);
    ASSERT_TEXT(task->planned, "2026-12-31");
    ASSERT_TEXT(task->rule_start, "2026-12-31T09:00");
    task = next(core, task);
    ASSERT_TEXT(task->due, "2027-01-31T09:00");
    assert_null(task->planned.data);
    task = next(core, task);
    ASSERT_TEXT(task->due, "2027-02-28T09:00");
    task = next(core, task);
    ASSERT_TEXT(task->due, "2027-03-31T09:00");
}

static void an_occurrence_that_is_moved_back_was_not_moved(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-30','recurrence':{'rule':'weekly'}}");
    assert_int_equal(patch(core, "{'due':'2026-12-01'}"), ERR_OK);
    assert_int_equal(patch(core, "{'due':'2026-12-02'}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->planned, "2026-11-30");
    assert_int_equal(patch(core, "{'due':'2026-11-30'}"), ERR_OK);
    assert_null(core_task(core, &T1)->planned.data);
}

static void an_occurrence_pulled_forward_does_not_come_again(void **state)
{
    core_t *core = *state;
    const task_t *task =
        made(core, "{'title':'x','due':'2026-11-30','recurrence':{'rule':'FREQ=WEEKLY;BYDAY=MO'}}");
    assert_int_equal(patch(core, "{'due':'2026-11-25'}"), ERR_OK);
    ASSERT_TEXT(next(core, task)->due, "2026-12-07");
}

static void dates_that_are_skipped_have_no_occurrence_and_do_not_count(void **state)
{
    core_t *core = *state;
    const task_t *task =
        made(core, "{'title':'x','due':'2026-11-24','recurrence':{'rule':'FREQ=DAILY;COUNT=3',"
                   "'skip':['2026-11-28','2026-11-25','2026-11-26','2026-11-25']}}");
    assert_int_equal(task->n_skips, 3);
    ASSERT_TEXT(task->skips[0], "2026-11-25");
    task = next(core, task);
    ASSERT_TEXT(task->due, "2026-11-27");
    assert_int_equal(task->occurrence, 2);
    assert_int_equal(task->n_skips, 1);
    task = next(core, task);
    ASSERT_TEXT(task->due, "2026-11-29");
    assert_int_equal(task->n_skips, 0);
    assert_int_equal(core_do(core, &core->anna, "task.patch", &task->id,
                             "{'recurrence':{'skip':['2026-12-24']}}"),
                     ERR_OK);
    assert_int_equal(
        core_do(core, &core->anna, "task.patch", &task->id, "{'recurrence':{'skip':null}}"),
        ERR_OK);
    assert_int_equal(core_task(core, &task->id)->n_skips, 0);
}

static void what_was_read_may_be_sent_back(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-30','recurrence':{'rule':'weekly',"
               "'skip':['2026-12-14']}}");
    assert_int_equal(patch(core, "{'due':'2026-12-01'}"), ERR_OK);
    int64_t rev = core_task(core, &T1)->rev;
    assert_int_equal(patch(core, "{'recurrence':{'rule':'FREQ=WEEKLY','from':'due',"
                                 "'missed':'next','start':'2026-11-30','planned':'2026-11-30',"
                                 "'skip':['2026-12-14']}}"),
                     ERR_OK);
    assert_int_equal(core_task(core, &T1)->rev, rev);
}

static void a_clock_reading_that_was_passed_over_comes_back(void **state)
{
    core_t *core = *state;
    const task_t *task = made(core, "{'title':'x','due':'2027-03-27T02:30:00+01:00',"
                                    "'recurrence':{'rule':'daily'}}");
    ASSERT_TEXT(task->rule_start, "2027-03-27T02:30");
    task = next(core, task);
    ASSERT_TEXT(task->due, "2027-03-28T01:30:00Z");
    task = next(core, task);
    ASSERT_TEXT(task->due, "2027-03-29T00:30:00Z");
}

static void from_completion_starts_anew_each_time(void **state)
{
    core_t *core = *state;
    const task_t *task = made(core, "{'title':'x','due':'2026-11-23T09:00',"
                                    "'recurrence':{'rule':'FREQ=DAILY;INTERVAL=3',"
                                    "'from':'completion'}}");
    task = next_at(core, task, "2026-11-22T23:30:00Z");
    ASSERT_TEXT(task->due, "2026-11-26T09:00");
    ASSERT_TEXT(task->rule_start, "2026-11-23T09:00");
    task = next_at(core, task, "2026-11-20T10:00:00Z");
    ASSERT_TEXT(task->due, "2026-11-23T09:00");
}

static void a_rule_without_dates_is_refused_when_it_is_set(void **state)
{
    static const char *const wrong[][2] = {
        {"{'rule':'FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6'}", "/recurrence"},
        {"{'rule':'FREQ=YEARLY;BYMONTH=2'}", "/recurrence"},
        {"{'rule':'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30'}", "/recurrence/rule"},
        {"{'rule':'daily','start':'2026-11-23T09:00Z'}", "/recurrence/start"},
        {"{'rule':'FREQ=YEARLY;BYMONTH=2','start':'2026-11-30'}", "/recurrence/start"},
        {"{'rule':'daily','planned':'2026-11-23T09:00'}", "/recurrence/planned"},
        {"{'rule':'daily','skip':['2026-11-23','soon']}", "/recurrence/skip/1"},
        {"{'rule':'daily','skip':['2026-11-23T09:00']}", "/recurrence/skip/0"},
        {"{'rule':'daily','skip':'2026-11-23'}", "/recurrence/skip"},
    };
    core_t *core = *state;
    char json[256];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(json, sizeof json, "{'title':'x','due':'2026-11-30','recurrence':%s}",
                 wrong[i][0]);
        assert_int_equal(core_do(core, &core->anna, "task.create", &T1, json), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong[i][1]);
    }
}

static void a_task_from_before_rules_had_a_start_counts_from_its_due_date(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-30','recurrence':{'rule':'weekly'}}");
    state_task(core->state, &T1)->task.rule_start = slice_none();
    assert_int_equal(patch(core, "{'due':'2026-12-01'}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->rule_start, "2026-11-30");
    state_task(core->state, &T1)->task.rule_start = slice_none();
    state_task(core->state, &T1)->task.planned = slice_none();
    ASSERT_TEXT(next(core, core_task(core, &T1))->due, "2026-12-08");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rule_starts_at_the_due_date_or_on_its_first_day_behind_it),
        TEST(a_rule_that_is_sent_again_goes_on_as_it_did),
        TEST(an_occurrence_that_is_moved_moves_alone),
        TEST(an_occurrence_that_is_moved_back_was_not_moved),
        TEST(an_occurrence_pulled_forward_does_not_come_again),
        TEST(dates_that_are_skipped_have_no_occurrence_and_do_not_count),
        TEST(what_was_read_may_be_sent_back),
        TEST(a_clock_reading_that_was_passed_over_comes_back),
        TEST(from_completion_starts_anew_each_time),
        TEST(a_rule_without_dates_is_refused_when_it_is_set),
        TEST(a_task_from_before_rules_had_a_start_counts_from_its_due_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
