/* SPDX-License-Identifier: Apache-2.0 */
/* task.create, task.complete, task.reopen, task.delete: what they do, who may, and the order in
 * which they are refused. That every refusal changes nothing and every event says all is checked
 * behind each command (core_check.h). */
#include "core_test.h"

/* --- create --- */

static void a_new_task_has_defaults(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'Water the plants'}");
    const task_t *task = core_task(core, &T1);
    ASSERT_TEXT(task->title, "Water the plants");
    ASSERT_TEXT(task->notes, "");
    ASSERT_TEXT(task->position, "a0");
    assert_int_equal(task->status, STATUS_OPEN);
    assert_int_equal(task->priority, PRIORITY_MEDIUM);
    assert_int_equal(task->rev, 2);
    assert_int_equal(task->n_tags, 0);
    assert_null(task->due.data);
    assert_null(task->time_zone.data);
    assert_true(uuid_is_nil(&task->series));
    assert_true(uuid_eq(&task->created_by, &core->anna));
    assert_int_equal(task->created_at_us, CORE_NOW_US);
    assert_int_equal(task->updated_at_us, CORE_NOW_US);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_CREATED);
    assert_int_equal(count_pairs(core_event(core, 0)->was), 0);
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 1);
    assert_true(state_task(core->state, &T1)->is_new);
}

static void a_new_task_has_what_was_asked(void **state)
{
    core_t *core = *state;
    char json[600];
    snprintf(json, sizeof json,
             "{'title':'Grüße','notes':'a\\nb\\tc','status':'in_progress','priority':'urgent',"
             "'tags':['x','y'],'due':'2026-11-24T09:00','time_zone':'America/New_York',"
             "'recurrence':{'rule':'daily','from':'completion','missed':'each'},"
             "'reminders':[{'before':'PT15M'},{'at':'2026-11-23T10:00:00+01:00','for':'all'}],"
             "'assignee':'%s','parent':null,'position':'m5'}",
             core_text(core, &core->ben));
    make(core, json);
    const task_t *task = core_task(core, &T1);
    ASSERT_TEXT(task->notes, "a\nb\tc");
    ASSERT_TEXT(task->due, "2026-11-24T09:00");
    ASSERT_TEXT(task->rule, "FREQ=DAILY");
    ASSERT_TEXT(task->position, "m5");
    ASSERT_TEXT(task->tags[1], "y");
    assert_int_equal(task->status, STATUS_IN_PROGRESS);
    assert_int_equal(task->priority, PRIORITY_URGENT);
    assert_int_equal(task->due_at_us, instant_at("2026-11-24T14:00:00Z"));
    assert_int_equal(task->from, FROM_COMPLETION);
    assert_int_equal(task->missed, MISSED_EACH);
    assert_true(uuid_eq(&task->series, &T1));
    assert_int_equal(task->occurrence, 1);
    assert_int_equal(task->n_reminders, 2);
    assert_int_equal(task_reminder_at(task, &task->reminders[0]),
                     instant_at("2026-11-24T13:45:00Z"));
    assert_true(uuid_eq(&task->reminders[0].account, &core->anna));
    assert_int_equal(task->reminders[1].at_us, instant_at("2026-11-23T09:00:00Z"));
    assert_int_equal(task->reminders[1].whom, FOR_ALL);
    assert_true(uuid_eq(&task->assignee, &core->ben));
    assert_true(state_has_occurrence(core->state, &T1, 1));
}

static void nulls_are_defaults_in_a_new_task(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','notes':null,'status':null,'priority':null,'tags':null,'due':null,"
               "'time_zone':null,'recurrence':null,'reminders':null,'assignee':null,'parent':null,"
               "'position':null}");
    assert_int_equal(core_task(core, &T1)->status, STATUS_OPEN);
    assert_int_equal(core_task(core, &T1)->priority, PRIORITY_MEDIUM);
    ASSERT_TEXT(core_task(core, &T1)->position, "a0");
}

static void a_due_date_is_kept_as_it_was_written(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23'}");
    ASSERT_TEXT(core_task(core, &T1)->due, "2026-11-23");
    ASSERT_TEXT(core_task(core, &T1)->time_zone, "Europe/Zurich");
    assert_int_equal(core_task(core, &T1)->due_at_us, instant_at("2026-11-23T22:59:59.999999Z"));
    assert_int_equal(patch(core, "{'due':'2026-11-23T09:30'}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->due, "2026-11-23T09:30");
    assert_int_equal(core_task(core, &T1)->due_at_us, instant_at("2026-11-23T08:30:00Z"));
    assert_int_equal(patch(core, "{'due':'2026-11-23T09:30:00+02:00'}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->due, "2026-11-23T07:30:00Z");
    assert_int_equal(core_task(core, &T1)->due_kind, DUE_INSTANT);
    assert_int_equal(core_task(core, &T1)->due_at_us, instant_at("2026-11-23T07:30:00Z"));
}

static void the_zone_is_the_authors_unless_it_is_said(void **state)
{
    core_t *core = *state;
    assert_int_equal(
        core_do(core, &core->ben, "task.create", &T1, "{'title':'x','due':'2026-11-23T09:00'}"),
        ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->time_zone, "America/New_York");
    assert_int_equal(patch(core, "{'due':'2026-11-23T10:00'}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->time_zone, "America/New_York");
    assert_int_equal(patch(core, "{'time_zone':'Asia/Tokyo'}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->due_at_us, instant_at("2026-11-23T01:00:00Z"));
    assert_int_equal(patch(core, "{'time_zone':null}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->time_zone, "Europe/Zurich");
    assert_int_equal(core_task(core, &T1)->due_at_us, instant_at("2026-11-23T09:00:00Z"));
}

static void without_a_position_a_task_goes_to_the_end(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','position':'b3'}");
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, "{'title':'x'}"), ERR_OK);
    assert_true(slice_cmp(core_task(core, &T2)->position, slice_str("b3")) > 0);
    assert_int_equal(patch(core, "{'position':'a1'}"), ERR_OK);
    assert_true(
        slice_eq(state_stream(core->state, &core->list)->tail, core_task(core, &T2)->position));
    assert_int_equal(patch(core, "{'position':null}"), ERR_OK);
    assert_true(slice_cmp(core_task(core, &T1)->position, core_task(core, &T2)->position) > 0);
}

static void behind_the_highest_position_tasks_still_find_a_place(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','position':"
               "'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz'}");
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, "{'title':'x'}"), ERR_OK);
    assert_true(slice_eq(core_task(core, &T2)->position, core_task(core, &T1)->position));
}

static void a_task_without_an_id_gets_the_same_one_again(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->anna, "task.create", NULL, "{'title':'x'}"), ERR_OK);
    uuid_t id = core->out.task;
    assert_non_null(state_task(core->state, &id));
    assert_true(uuid_eq(&core_event(core, 0)->task, &id));
    core->id = core->command.id;
    assert_int_equal(core_do(core, &core->anna, "task.create", NULL, "{'title':'x'}"), ERR_OK);
    assert_true(core->out.is_replay);
    assert_true(uuid_eq(&core->out.task, &id));
}

static void an_id_that_is_taken_is_refused(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{}"), ERR_EXISTS);
    core->in = core->other;
    assert_int_equal(core_do(core, &core->stan, "task.create", &T1, "{'title':'x'}"), ERR_EXISTS);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_EXISTS);
}

/* --- who may --- */

static const char *const ops[] = {"task.patch", "task.complete", "task.reopen", "task.delete"};

#define N_OPS (sizeof ops / sizeof ops[0])

static void what_one_may_not_see_is_not_found(void **state)
{
    core_t *core = *state;
    uuid_t nowhere = core_id(999);
    make(core, "{'title':'x'}");
    for (size_t i = 0; i < N_OPS; i++) {
        core->expect = -1;
        assert_int_equal(core_do(core, &core->stan, ops[i], &T1, "{'x':1}"), ERR_NOT_FOUND);
        core->in = nowhere;
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, "{'x':1}"), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &core->anna, ops[i], &T2, "{'x':1}"), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, "{'x':1}"), ERR_NOT_FOUND);
        core->in = core->other;
        assert_int_equal(core_do(core, &core->stan, ops[i], &T1, "{'x':1}"), ERR_NOT_FOUND);
        core->lists = &core->other;
        core->n_lists = 1;
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, NULL), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &core->vera, ops[i], &T2, "{'x':1}"), ERR_NOT_FOUND);
    }
    assert_int_equal(core_do(core, &core->stan, "task.create", &T2, "{}"), ERR_NOT_FOUND);
    core->in = nowhere;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, "{}"), ERR_NOT_FOUND);
    core->lists = &core->other;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, "{}"), ERR_NOT_FOUND);
}

static void a_former_member_sees_nothing(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    assert_int_equal(core_do(core, &core->ben, "task.complete", &T1, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, "{'title':'x'}"), ERR_NOT_FOUND);
}

static void viewers_and_reading_tokens_may_not_write(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    for (size_t i = 0; i < N_OPS; i++) {
        core->expect = -1;
        assert_int_equal(core_do(core, &core->vera, ops[i], &T1, "{'x':1}"), ERR_FORBIDDEN);
        core->scopes = SCOPE_READ;
        core->expect = -1;
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, "{'x':1}"), ERR_FORBIDDEN);
        assert_int_equal(core_do(core, &author_reminder, ops[i], &T1, NULL), ERR_FORBIDDEN);
    }
    assert_int_equal(core_do(core, &core->vera, "task.create", &T1, "{}"), ERR_FORBIDDEN);
    core->scopes = SCOPE_READ;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, "{}"), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &author_recurrence, "task.create", &T2, "{}"), ERR_FORBIDDEN);
}

static void editors_and_tokens_for_the_list_may_write(void **state)
{
    core_t *core = *state;
    core->lists = &core->list;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    core->scopes = SCOPE_WRITE;
    assert_int_equal(core_do(core, &core->ben, "task.reopen", &T1, NULL), ERR_OK);
    assert_null(core->out.body.data);
}

static void an_archived_list_is_left_alone_and_a_deleted_one_is_gone(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    state_list(core->state, &core->list)->is_archived = true;
    for (size_t i = 0; i < N_OPS; i++) {
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, "{'x':1}"), ERR_CONFLICT);
        assert_int_equal(core_do(core, &core->vera, ops[i], &T1, NULL), ERR_FORBIDDEN);
    }
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, "{}"), ERR_CONFLICT);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    for (size_t i = 0; i < N_OPS; i++)
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, "{}"), ERR_NOT_FOUND);
}

static void an_expected_revision_must_be_the_tasks(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    for (size_t i = 0; i < N_OPS; i++) {
        for (int64_t expect = -1; expect <= 3; expect++) {
            if (expect == 0 || expect == 2)
                continue;
            core->expect = expect;
            assert_int_equal(core_do(core, &core->anna, ops[i], &T1, "{'x':1}"),
                             ERR_PRECONDITION_FAILED);
            assert_true(core_has(core, core->out.problem.current, "rev", "2"));
        }
        core->expect = 1;
        core->scopes = SCOPE_WRITE;
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, NULL), ERR_PRECONDITION_FAILED);
        assert_null(core->out.problem.current.data);
        core->expect = 2;
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, "{'x':1}"), ERR_INVALID);
    }
    core->expect = 2;
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
}

/* What happens beside the task in its stream is no change of it. */
static void a_reminder_or_another_task_keeps_the_expected_revision(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, "{'title':'y'}"), ERR_OK);
    assert_int_equal(patch(core, "{}"), ERR_OK);
    core->expect = 2;
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
}

/* --- complete, reopen, delete --- */

static void a_task_is_completed_once(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(
        core_do(core, &core->ben, "task.complete", &T1, "{'at':'2026-11-22T08:00:00Z'}"), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->status, STATUS_DONE);
    assert_int_equal(task->completed_at_us, instant_at("2026-11-22T08:00:00Z"));
    assert_int_equal(task->closed_rev, 3);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_COMPLETED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 3);
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 0);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(core_task(core, &T1)->closed_rev, 3);
}

static void a_completion_is_not_in_the_future(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(
        core_do(core, &core->anna, "task.complete", &T1, "{'at':'2026-11-23T08:05:00.000001Z'}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/at");
    assert_int_equal(
        core_do(core, &core->anna, "task.complete", &T1, "{'at':'9999-12-31T23:59:59Z'}"),
        ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, "{'at':'noon'}"),
                     ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, "{'on':1}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/on");
    assert_int_equal(
        core_do(core, &core->anna, "task.complete", &T1, "{'at':'2026-11-23T08:05:00Z'}"), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(
        core_do(core, &core->anna, "task.complete", &T1, "{'at':'0001-01-01T00:00:00Z'}"), ERR_OK);
}

static void a_cancelled_task_is_not_completed(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(patch(core, "{'status':'cancelled'}"), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_CONFLICT);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
}

static void a_reopened_task_shows_all_its_fields(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_REOPENED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), TASK_N_FIELDS);
    assert_int_equal(count_pairs(core_event(core, 0)->was), 3);
    assert_int_equal(core_task(core, &T1)->completed_at_us, INSTANT_NONE);
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 1);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, NULL), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(core_do(core, &core->anna, "task.reopen", &T1, "{'x':1}"), ERR_INVALID);
}

static void a_deleted_task_is_gone(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, "{'x':1}"), ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_DELETED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 2);
    assert_true(core_has(core, core_event(core, 0)->set, "closed_rev", "3"));
    assert_true(core_has(core, core_event(core, 0)->set, "deleted_at", "'2026-11-23T08:00:00Z'"));
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 0);
    assert_false(state_has_occurrence(core->state, &T1, 1));
    for (size_t i = 0; i < N_OPS; i++)
        assert_int_equal(core_do(core, &core->anna, ops[i], &T1, NULL), ERR_NOT_FOUND);
}

/* --- repeats --- */

static void a_repeat_shows_the_task_as_it_reads_now(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    uuid_t id = core->command.id;
    assert_int_equal(patch(core, "{'title':'y'}"), ERR_OK);
    core->id = id;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_true(core->out.is_replay);
    assert_int_equal(core->out.rev, 2);
    assert_true(core_has(core, core->out.body, "title", "'y'"));
}

static void a_repeat_shows_nothing_to_who_may_not_read(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    uuid_t id = core->command.id;
    core->id = id;
    core->scopes = SCOPE_WRITE;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_null(core->out.body.data);
    core->id = id;
    core->lists = &core->other;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_null(core->out.body.data);
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    core->id = id;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_true(core->out.is_replay);
    assert_true(uuid_eq(&core->out.task, &T1));
    assert_null(core->out.body.data);
}

static void another_authors_equal_id_is_unrelated(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    core->id = core->command.id;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, "{'title':'x'}"), ERR_OK);
    assert_false(core->out.is_replay);
}

static void a_refusal_is_not_remembered(void **state)
{
    core_t *core = *state;
    uuid_t id = core_id(77);
    core->id = id;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{}"), ERR_INVALID);
    core->id = id;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    core->id = id;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'y'}"),
                     ERR_IDEMPOTENCY_MISMATCH);
}

static void a_purged_fingerprint_fits_any_request(void **state)
{
    core_t *core = *state;
    seen_t seen = {.author = core->anna, .command = core_id(77), .stream = core->list, .rev = 1};
    state_put_seen(core->state, &seen);
    core->id = seen.command;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_OK);
    assert_true(core->out.is_replay);
    assert_int_equal(core->out.rev, 1);
    assert_null(core->out.body.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_task_has_defaults),
        TEST(a_new_task_has_what_was_asked),
        TEST(nulls_are_defaults_in_a_new_task),
        TEST(a_due_date_is_kept_as_it_was_written),
        TEST(the_zone_is_the_authors_unless_it_is_said),
        TEST(without_a_position_a_task_goes_to_the_end),
        TEST(behind_the_highest_position_tasks_still_find_a_place),
        TEST(a_task_without_an_id_gets_the_same_one_again),
        TEST(an_id_that_is_taken_is_refused),
        TEST(what_one_may_not_see_is_not_found),
        TEST(a_former_member_sees_nothing),
        TEST(viewers_and_reading_tokens_may_not_write),
        TEST(editors_and_tokens_for_the_list_may_write),
        TEST(an_archived_list_is_left_alone_and_a_deleted_one_is_gone),
        TEST(an_expected_revision_must_be_the_tasks),
        TEST(a_reminder_or_another_task_keeps_the_expected_revision),
        TEST(a_task_is_completed_once),
        TEST(a_completion_is_not_in_the_future),
        TEST(a_cancelled_task_is_not_completed),
        TEST(a_reopened_task_shows_all_its_fields),
        TEST(a_deleted_task_is_gone),
        TEST(a_repeat_shows_the_task_as_it_reads_now),
        TEST(a_repeat_shows_nothing_to_who_may_not_read),
        TEST(another_authors_equal_id_is_unrelated),
        TEST(a_refusal_is_not_remembered),
        TEST(a_purged_fingerprint_fits_any_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
