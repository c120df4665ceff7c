/* SPDX-License-Identifier: Apache-2.0 */
/* task.succeed and task.remind: what the program's own actors may do, and all the ways in which
 * they can be out of date. */
#include "core_test.h"

/* --- the next occurrence --- */

/* T1 of a daily series, completed. */
static void make_done(core_t *core)
{
    make(core,
         "{'title':'Water','notes':'n','tags':['home'],'priority':'high','due':'2026-11-23T09:00',"
         "'recurrence':{'rule':'daily','from':'completion','missed':'each'},"
         "'reminders':[{'before':'PT1H'},{'at':'2026-11-23T07:00:00Z'},"
         "{'before':'P1D','for':'all'}]}");
    assert_int_equal(core_do(core, &core->ben, "task.complete", &T1, NULL), ERR_OK);
}

/* Asks for a successor of T1 with that id. */
static err_t succeed_as(core_t *core, const uuid_t *author, const uuid_t *id, int64_t closed_rev)
{
    char json[256];
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}", core_text(core, &T1),
             (long long)closed_rev);
    return core_do(core, author, "task.succeed", id, json);
}

static err_t succeed(core_t *core, int64_t closed_rev)
{
    return succeed_as(core, &author_recurrence, &T2, closed_rev);
}

static void a_successor_inherits_what_is_not_of_the_occurrence(void **state)
{
    core_t *core = *state;
    make_done(core);
    core->now_us += US_PER_S;
    assert_int_equal(succeed(core, 3), ERR_OK);
    const task_t *before = core_task(core, &T1);
    const task_t *task = core_task(core, &T2);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_TASK_CREATED);
    assert_int_equal(count_pairs(event->set), TASK_N_FIELDS);
    assert_true(uuid_eq(&event->by, &author_recurrence));
    assert_true(uuid_eq(&task->created_by, &core->anna));
    assert_int_equal(task->created_at_us, core->now_us);
    assert_int_equal(task->status, STATUS_OPEN);
    assert_int_equal(task->completed_at_us, INSTANT_NONE);
    assert_int_equal(task->occurrence, 2);
    assert_true(uuid_eq(&task->series, &T1));
    ASSERT_TEXT(task->due, "2026-11-24T09:00");
    ASSERT_TEXT(task->time_zone, "Europe/Zurich");
    assert_int_equal(task->due_at_us, instant_at("2026-11-24T08:00:00Z"));
    task_fields_t own = (task_fields_t)1 << TASK_ID | (task_fields_t)1 << TASK_STATUS |
                        (task_fields_t)1 << TASK_DUE | (task_fields_t)1 << TASK_DUE_AT |
                        (task_fields_t)1 << TASK_OCCURRENCE | (task_fields_t)1 << TASK_REMINDERS |
                        (task_fields_t)1 << TASK_CREATED_AT |
                        (task_fields_t)1 << TASK_COMPLETED_AT | (task_fields_t)1 << TASK_CLOSED_REV;
    assert_int_equal(task_diff(before, task), own);
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 1);
    assert_true(core->out.body.data != NULL);
}

static void a_successor_has_the_relative_reminders_with_new_ids(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(succeed(core, 3), ERR_OK);
    const task_t *before = core_task(core, &T1);
    const task_t *task = core_task(core, &T2);
    assert_int_equal(task->n_reminders, 2);
    ASSERT_TEXT(task->reminders[1].before, "P1D");
    uuid_t expected = uuid_derive(&T2, slice_of(before->reminders[2].id.bytes, UUID_BYTES));
    assert_true(uuid_eq(&task->reminders[1].id, &expected));
    assert_int_equal(task_reminder_at(task, &task->reminders[0]),
                     instant_at("2026-11-24T07:00:00Z"));
}

static void a_successor_is_assigned_to_whoever_is_still_a_member(void **state)
{
    core_t *core = *state;
    char json[128];
    make_done(core);
    snprintf(json, sizeof json, "{'assignee':'%s'}", core_text(core, &core->ben));
    assert_int_equal(patch(core, json), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T2)->assignee, &core->ben));
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    uuid_t id = core_id(5);
    int64_t closed_rev = core_task(core, &T1)->closed_rev;
    assert_int_equal(succeed(core, closed_rev), ERR_EXISTS); /* what was taken back has that id */
    assert_int_equal(succeed_as(core, &author_recurrence, &id, closed_rev), ERR_OK);
    assert_true(uuid_is_nil(&core_task(core, &id)->assignee));
}

static void a_completed_occurrence_has_one_successor(void **state)
{
    core_t *core = *state;
    make_done(core);
    uuid_t id = core_id(5);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_true(uuid_eq(&core->out.task, &T1));
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(succeed_as(core, &author_recurrence, &id, 3), ERR_OK);
    assert_null(state_task(core->state, &id));
    core->now_us += US_PER_S;
    assert_int_equal(core_do(core, &core->anna, "task.patch", &T2, "{'notes':'n2'}"), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    int64_t closed_rev = core_task(core, &T1)->closed_rev;
    core->id = core_id(0x900);
    assert_int_equal(succeed_as(core, &author_recurrence, &id, closed_rev), ERR_OK);
    assert_null(state_task(core->state, &id));
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T2, NULL), ERR_OK);
    core->id = core_id(0x900);
    assert_int_equal(succeed_as(core, &author_recurrence, &id, closed_rev), ERR_OK);
    assert_true(core->out.is_replay && state_task(core->state, &id) == NULL);
    assert_int_equal(succeed_as(core, &author_recurrence, &id, closed_rev), ERR_OK);
    assert_null(
        state_task(core->state, &id)); /* nor by another id: it was deleted, not taken back */
}

static void a_successor_that_was_loaded_counts(void **state)
{
    core_t *core = *state;
    make_done(core);
    state_put_occurrence(core->state, &T1, 2);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_null(state_task(core->state, &T2));
}

static void a_successor_stays_in_its_series_with_another_rule(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_int_equal(
        core_do(core, &core->ben, "task.patch", &T2, "{'recurrence':{'rule':'weekly'}}"), ERR_OK);
    assert_int_equal(core_do(core, &core->ben, "task.patch", &T2, "{'recurrence':null}"), ERR_OK);
    assert_int_equal(
        core_do(core, &core->ben, "task.patch", &T2, "{'recurrence':{'rule':'daily'}}"), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T2)->series, &T1));
    assert_int_equal(core_task(core, &T2)->occurrence, 2);
}

static void a_skipped_occurrence_has_a_successor_too(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
    assert_int_equal(patch(core, "{'status':'cancelled'}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_OK);
}

static void a_task_that_is_not_closed_by_that_event_has_no_successor(void **state)
{
    core_t *core = *state;
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    make_done(core);
    assert_int_equal(succeed(core, 2), ERR_CONFLICT);
    assert_int_equal(succeed(core, 0), ERR_CONFLICT);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(succeed(core, 0), ERR_CONFLICT);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(succeed(core, 5), ERR_OK);
}

static void a_task_that_is_gone_or_does_not_recur_has_no_successor(void **state)
{
    core_t *core = *state;
    make_done(core);
    core->in = core->other;
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'recurrence':null}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'recurrence':{'rule':'daily'}}"), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, "{'series':'all'}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
}

static void a_closed_occurrence_that_was_deleted_still_has_its_successor(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(core_task(core, &T1)->closed_rev, 3);
    assert_int_equal(succeed(core, 3), ERR_OK);
    assert_int_equal(core_task(core, &T2)->deleted_at_us, INSTANT_NONE);
}

static void a_series_ends_where_its_rule_does(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(patch(core, "{'recurrence':{'rule':'FREQ=DAILY;COUNT=1'}}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'recurrence':{'rule':'FREQ=DAILY;UNTIL=20261123'}}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'recurrence':{'rule':'FREQ=DAILY;UNTIL=20261124'}}"), ERR_OK);
    assert_int_equal(succeed(core, 3), ERR_OK);
}

static void an_archived_list_still_gets_its_successor_and_a_deleted_one_does_not(void **state)
{
    core_t *core = *state;
    make_done(core);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    assert_int_equal(succeed(core, 3), ERR_NOT_FOUND);
    state_list(core->state, &core->list)->deleted_at_us = INSTANT_NONE;
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(succeed(core, 3), ERR_OK);
}

static void only_the_actor_makes_successors(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(succeed_as(core, &core->anna, &T2, 3), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &core->stan, "task.remind", &T1, NULL), ERR_FORBIDDEN);
}

static void a_successor_that_is_not_described_is_refused(void **state)
{
    core_t *core = *state;
    make_done(core);
    assert_int_equal(core_do(core, &author_recurrence, "task.succeed", &T2, NULL), ERR_INVALID);
    assert_int_equal(core->out.problem.n_fields, 2);
    assert_int_equal(succeed_as(core, &author_recurrence, NULL, 3), ERR_INVALID);
    assert_int_equal(core_do(core, &author_recurrence, "task.succeed", &T2,
                             "{'succeeds':'01010101-0101-7101-8101-010101010101','closed_rev':3,"
                             "'title':'x'}"),
                     ERR_INVALID);
    assert_string_equal(core_pointer(core), "/title");
    core->expect = 3;
    assert_int_equal(succeed(core, 3), ERR_INVALID);
}

/* --- reminders --- */

static err_t remind(core_t *core, const uuid_t *reminder, const char *at)
{
    char json[256];
    snprintf(json, sizeof json, "{'reminder':'%s','at':'%s'}", core_text(core, reminder), at);
    return core_do(core, &author_reminder, "task.remind", &T1, json);
}

/* T1 with a reminder at 07:50 UTC, ten minutes ago. */
static uuid_t make_reminded(core_t *core)
{
    make(core, "{'title':'x','due':'2026-11-23T09:00','reminders':[{'before':'PT10M'}]}");
    return core_task(core, &T1)->reminders[0].id;
}

#define FIRES_AT "2026-11-23T07:50:00Z"

static void a_reminder_that_is_due_leaves_the_task_as_it_is(void **state)
{
    core_t *core = *state;
    uuid_t id = make_reminded(core);
    char json[64];
    core->now_us += US_PER_S;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_REMINDER_DUE);
    assert_int_equal(event->rev, 3);
    assert_int_equal(count_pairs(event->set), 0);
    assert_int_equal(core_task(core, &T1)->rev, 2);
    assert_int_equal(core_task(core, &T1)->updated_at_us, CORE_NOW_US);
    assert_int_equal(state_stream(core->state, &core->list)->head, 3);
    snprintf(json, sizeof json, "'%s'", core_text(core, &id));
    assert_true(core_has(core, event->reminder, "id", json));
    assert_true(core_has(core, event->reminder, "at", "'" FIRES_AT "'"));
    snprintf(json, sizeof json, "'%s'", core_text(core, &core->anna));
    assert_true(core_has(core, event->reminder, "for", json));
}

static void a_reminder_says_whom_it_is_for(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','reminders':[{'at':'2026-11-23T07:50:00Z','for':'all'},"
               "{'at':'2026-11-23T07:50:00Z','for':'assignee'}]}");
    uuid_t one = core_task(core, &T1)->reminders[0].id;
    uuid_t two = core_task(core, &T1)->reminders[1].id;
    assert_int_equal(remind(core, &one, FIRES_AT), ERR_OK);
    assert_true(core_has(core, core_event(core, 0)->reminder, "for", "'all'"));
    assert_int_equal(remind(core, &two, FIRES_AT), ERR_OK);
    assert_true(core_has(core, core_event(core, 0)->reminder, "for", "'assignee'"));
}

static void a_reminder_is_never_early(void **state)
{
    core_t *core = *state;
    uuid_t id = make_reminded(core);
    core->now_us = instant_at(FIRES_AT) - 1;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_PRECONDITION_FAILED);
    core->now_us++;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_OK);
}

static void a_reminder_that_moved_or_went_is_not_fired(void **state)
{
    core_t *core = *state;
    uuid_t id = make_reminded(core);
    assert_int_equal(remind(core, &T2, FIRES_AT), ERR_CONFLICT);
    assert_int_equal(remind(core, &id, "2026-11-23T07:50:01Z"), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'due':'2026-11-23T08:59'}"), ERR_OK);
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_CONFLICT);
    assert_int_equal(remind(core, &id, "2026-11-23T07:49:00Z"), ERR_OK);
    assert_int_equal(patch(core, "{'reminders':[]}"), ERR_OK);
    assert_int_equal(remind(core, &id, "2026-11-23T07:49:00Z"), ERR_CONFLICT);
}

static void a_closed_task_reminds_nobody(void **state)
{
    core_t *core = *state;
    uuid_t id = make_reminded(core);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_CONFLICT);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_CONFLICT);
}

static void a_reminder_of_a_task_elsewhere_is_refused(void **state)
{
    core_t *core = *state;
    assert_int_equal(remind(core, &T2, FIRES_AT), ERR_NOT_FOUND);
    uuid_t id = make_reminded(core);
    core->in = core->other;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_NOT_FOUND);
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_CONFLICT);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    assert_int_equal(remind(core, &id, FIRES_AT), ERR_NOT_FOUND);
}

static void a_reminder_that_is_not_described_is_refused(void **state)
{
    core_t *core = *state;
    make_reminded(core);
    assert_int_equal(core_do(core, &author_reminder, "task.remind", &T1, NULL), ERR_INVALID);
    assert_int_equal(core->out.problem.n_fields, 2);
    assert_int_equal(core_do(core, &author_reminder, "task.remind", &T1, "{'reminder':1,'at':1}"),
                     ERR_INVALID);
    core->expect = 1;
    assert_int_equal(core_do(core, &author_reminder, "task.remind", &T1, "{}"), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_successor_inherits_what_is_not_of_the_occurrence),
        TEST(a_successor_has_the_relative_reminders_with_new_ids),
        TEST(a_successor_is_assigned_to_whoever_is_still_a_member),
        TEST(a_completed_occurrence_has_one_successor),
        TEST(a_successor_that_was_loaded_counts),
        TEST(a_successor_stays_in_its_series_with_another_rule),
        TEST(a_skipped_occurrence_has_a_successor_too),
        TEST(a_task_that_is_not_closed_by_that_event_has_no_successor),
        TEST(a_task_that_is_gone_or_does_not_recur_has_no_successor),
        TEST(a_closed_occurrence_that_was_deleted_still_has_its_successor),
        TEST(a_series_ends_where_its_rule_does),
        TEST(an_archived_list_still_gets_its_successor_and_a_deleted_one_does_not),
        TEST(only_the_actor_makes_successors),
        TEST(a_successor_that_is_not_described_is_refused),
        TEST(a_reminder_that_is_due_leaves_the_task_as_it_is),
        TEST(a_reminder_says_whom_it_is_for),
        TEST(a_reminder_is_never_early),
        TEST(a_reminder_that_moved_or_went_is_not_fired),
        TEST(a_closed_task_reminds_nobody),
        TEST(a_reminder_of_a_task_elsewhere_is_refused),
        TEST(a_reminder_that_is_not_described_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
