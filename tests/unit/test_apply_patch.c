/* SPDX-License-Identifier: Apache-2.0 */
/* task.patch: field by field, and what a change of status or of a due date brings with it. */
#include "core_test.h"

/* --- patch --- */

static void a_patch_changes_just_what_it_names(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','notes':'n','tags':['a'],'priority':'high','due':'2026-11-23'}");
    core->now_us += US_PER_S;
    assert_int_equal(patch(core, "{'notes':null,'priority':null,'title':'y'}"), ERR_OK);
    const task_t *task = core_task(core, &T1);
    const event_t *event = core_event(core, 0);
    ASSERT_TEXT(task->title, "y");
    ASSERT_TEXT(task->notes, "");
    assert_int_equal(task->priority, PRIORITY_MEDIUM);
    assert_int_equal(task->rev, 3);
    assert_int_equal(task->updated_at_us, core->now_us);
    assert_int_equal(event->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(event->set), 3);
    assert_true(core_has(core, event->was, "notes", "'n'"));
    assert_true(core_has(core, event->was, "title", "'x'"));
}

static void a_patch_that_changes_nothing_is_an_empty_event(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23','tags':['a'],'reminders':[{'before':'PT1H'}]}");
    core->now_us += US_PER_S;
    assert_int_equal(patch(core, "{'title':'x','status':'open','tags':{'add':['a'],'remove':['q']},"
                                 "'due':'2026-11-23','reminders':[{'before':'PT1H'}]}"),
                     ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(core_event(core, 0)->rev, 3);
    assert_int_equal(core->out.rev, 3);
    assert_int_equal(core_task(core, &T1)->rev, 2);
    assert_int_equal(core_task(core, &T1)->updated_at_us, CORE_NOW_US);
    assert_int_equal(patch(core, NULL), ERR_OK);
    assert_int_equal(state_stream(core->state, &core->list)->head, 4);
}

static void tags_are_replaced_added_and_removed(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','tags':['a','b']}");
    assert_int_equal(patch(core, "{'tags':{'add':['c','a','c'],'remove':['b','z']}}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_tags, 2);
    ASSERT_TEXT(core_task(core, &T1)->tags[0], "a");
    ASSERT_TEXT(core_task(core, &T1)->tags[1], "c");
    assert_int_equal(patch(core, "{'tags':['z']}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_tags, 1);
    assert_int_equal(patch(core, "{'tags':null}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_tags, 0);
    assert_int_equal(patch(core, "{'tags':{'ad':['x']}}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/tags/ad");
    assert_int_equal(patch(core, "{'tags':{'add':[1]}}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/tags/add/0");
}

static void a_task_has_at_most_32_tags(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    char json[64];
    for (int i = 0; i < LIMIT_TAGS; i++) {
        snprintf(json, sizeof json, "{'tags':{'add':['%d']}}", i);
        assert_int_equal(patch(core, json), ERR_OK);
    }
    assert_int_equal(patch(core, "{'tags':{'add':['x']}}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/tags");
    assert_int_equal(patch(core, "{'tags':{'add':['x'],'remove':['0']}}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_tags, LIMIT_TAGS);
}

static void a_due_date_goes_with_its_zone(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23'}");
    assert_int_equal(patch(core, "{'due':null}"), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_null(task->due.data);
    assert_null(task->time_zone.data);
    assert_int_equal(task->due_at_us, INSTANT_NONE);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 3);
}

static void a_due_date_that_something_needs_stays(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
    assert_int_equal(patch(core, "{'due':null}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/due");
    assert_int_equal(patch(core, "{'recurrence':null,'reminders':[{'before':'PT5M'}]}"), ERR_OK);
    assert_int_equal(patch(core, "{'due':null}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/due");
    assert_int_equal(patch(core, "{'due':null,'reminders':[{'before':'PT5M'}]}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/reminders/0/before");
    assert_int_equal(patch(core, "{'due':null,'recurrence':{'rule':'daily'},'reminders':null}"),
                     ERR_INVALID);
    assert_string_equal(core_pointer(core), "/recurrence");
    assert_int_equal(patch(core, "{'due':null,'reminders':[]}"), ERR_OK);
}

static void status_decides_which_event_a_patch_is(void **state)
{
    static const char *const words[] = {"open", "in_progress", "done", "cancelled"};
    static const event_type_t expected[4][4] = {
        {EVENT_TASK_UPDATED, EVENT_TASK_UPDATED, EVENT_TASK_COMPLETED, EVENT_TASK_CANCELLED},
        {EVENT_TASK_UPDATED, EVENT_TASK_UPDATED, EVENT_TASK_COMPLETED, EVENT_TASK_CANCELLED},
        {EVENT_TASK_REOPENED, EVENT_TASK_REOPENED, EVENT_TASK_UPDATED, EVENT_TASK_CANCELLED},
        {EVENT_TASK_REOPENED, EVENT_TASK_REOPENED, EVENT_TASK_COMPLETED, EVENT_TASK_UPDATED},
    };
    core_t *core = *state;
    char json[64];
    make(core, "{'title':'x'}");
    for (size_t from = 0; from < 4; from++) {
        for (size_t to = 0; to < 4; to++) {
            snprintf(json, sizeof json, "{'status':'%s'}", words[from]);
            assert_int_equal(patch(core, json), ERR_OK);
            int64_t former_rev = core_task(core, &T1)->closed_rev;
            core->now_us += US_PER_S;
            snprintf(json, sizeof json, "{'status':'%s'}", words[to]);
            assert_int_equal(patch(core, json), ERR_OK);
            const task_t *task = core_task(core, &T1);
            assert_int_equal(core_event(core, 0)->type, expected[from][to]);
            assert_int_equal(task->status, to);
            if (to < 2)
                assert_int_equal(task->completed_at_us, INSTANT_NONE);
            else if (from != to)
                assert_int_equal(task->completed_at_us, core->now_us);
            assert_int_equal(task->closed_rev, to < 2       ? 0
                                               : from == to ? former_rev
                                                            : core->out.rev);
        }
    }
    assert_int_equal(patch(core, "{'status':null}"), ERR_INVALID);
}

static void a_recurrence_is_merged_started_and_kept(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-23'}");
    assert_int_equal(patch(core, "{'recurrence':{'rule':'weekly','missed':'keep'}}"), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T1)->series, &T1));
    assert_int_equal(core_task(core, &T1)->occurrence, 1);
    assert_int_equal(patch(core, "{'recurrence':{'from':'completion'}}"), ERR_OK);
    ASSERT_TEXT(core_task(core, &T1)->rule, "FREQ=WEEKLY");
    assert_int_equal(core_task(core, &T1)->missed, MISSED_KEEP);
    assert_int_equal(core_task(core, &T1)->from, FROM_COMPLETION);
    assert_int_equal(patch(core, "{'recurrence':{'from':null,'missed':null}}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->missed, MISSED_NEXT);
    assert_int_equal(core_task(core, &T1)->from, FROM_DUE);
    assert_int_equal(patch(core, "{'recurrence':null}"), ERR_OK);
    assert_null(core_task(core, &T1)->rule.data);
    assert_true(uuid_eq(&core_task(core, &T1)->series, &T1));
    assert_int_equal(patch(core, "{'recurrence':{'from':'due'}}"), ERR_INVALID);
    assert_int_equal(patch(core, "{'recurrence':{'rule':'FREQ=DAILY;UNTIL=20261123'}}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->occurrence, 1);
}

static void the_last_occurrence_may_be_moved_behind_the_end(void **state)
{
    core_t *core = *state;
    make(core,
         "{'title':'x','due':'2026-11-23','recurrence':{'rule':'FREQ=DAILY;UNTIL=20261123'}}");
    assert_int_equal(patch(core, "{'due':'2026-11-30'}"), ERR_OK);
    assert_int_equal(patch(core, "{'recurrence':{'missed':'each'}}"), ERR_INVALID);
}

/* --- reminders --- */

static void reminders_keep_their_ids(void **state)
{
    core_t *core = *state;
    make(core,
         "{'title':'x','due':'2026-11-23','reminders':[{'before':'PT1H'},{'before':'PT2H'}]}");
    uuid_t one = core_task(core, &T1)->reminders[0].id;
    uuid_t two = core_task(core, &T1)->reminders[1].id;
    assert_false(uuid_eq(&one, &two));
    assert_int_equal(patch(core, "{'reminders':[{'before':'PT120M'},{'before':'PT3H'}]}"), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T1)->reminders[0].id, &two));
    uuid_t three = core_task(core, &T1)->reminders[1].id;
    assert_false(uuid_eq(&three, &one));
    char json[256];
    snprintf(json, sizeof json, "{'reminders':[{'id':'%s','before':'PT5H'},{'before':'PT2H'}]}",
             core_text(core, &two));
    assert_int_equal(patch(core, json), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T1)->reminders[0].id, &two));
    assert_false(uuid_eq(&core_task(core, &T1)->reminders[1].id, &two));
    assert_int_equal(patch(core, "{'reminders':null}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 0);
}

static void reminders_that_say_the_same_are_one(void **state)
{
    core_t *core = *state;
    char json[512];
    snprintf(json, sizeof json,
             "{'title':'x','due':'2026-11-23','reminders':[{'before':'PT1H'},"
             "{'before':'PT60M','for':'me'},{'before':'PT1H','for':'%s','id':'%s'},"
             "{'before':'PT1H','for':'all'},{'at':'2026-11-23T08:00:00Z'},"
             "{'at':'2026-11-23T09:00:00+01:00'}]}",
             core_text(core, &core->anna), core_text(core, &T2));
    make(core, json);
    assert_int_equal(core_task(core, &T1)->n_reminders, 3);
    assert_true(uuid_eq(&core_task(core, &T1)->reminders[0].id, &T2));
}

static void nobody_sets_reminders_for_others(void **state)
{
    core_t *core = *state;
    char json[256];
    snprintf(json, sizeof json,
             "{'title':'x','reminders':[{'at':'2026-11-24T08:00:00Z','for':'%s'}]}",
             core_text(core, &core->ben));
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, json), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/reminders/0/for");
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, json), ERR_OK);
    assert_int_equal(patch(core, json), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 1);
    assert_int_equal(patch(core, "{'reminders':[]}"), ERR_OK);
    assert_int_equal(patch(core, json), ERR_INVALID);
}

static void two_people_may_be_reminded_at_the_same_time(void **state)
{
    core_t *core = *state;
    char json[256];
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1,
                             "{'title':'x','reminders':[{'at':'2026-11-24T08:00:00Z'}]}"),
                     ERR_OK);
    uuid_t bens = core_task(core, &T1)->reminders[0].id;
    snprintf(json, sizeof json,
             "{'reminders':[{'at':'2026-11-24T08:00:00Z'},"
             "{'at':'2026-11-24T08:00:00Z','for':'%s'}]}",
             core_text(core, &core->ben));
    assert_int_equal(patch(core, json), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->n_reminders, 2);
    assert_true(uuid_eq(&task->reminders[0].account, &core->anna));
    assert_false(uuid_eq(&task->reminders[0].id, &bens));
    assert_true(uuid_eq(&task->reminders[1].id, &bens));
}

static slice_t time_of(core_t *core, uint32_t i)
{
    return core_task(core, &T1)->reminders[i].time;
}

static void all_day_tasks_remind_at_the_time_of_their_account(void **state)
{
    core_t *core = *state;
    core->in = core->anna;
    assert_int_equal(
        core_do(core, &core->anna, "account.patch", NULL, "{'all_day_reminder_time':'07:30'}"),
        ERR_OK);
    make(core, "{'title':'x','due':'2026-11-24','reminders':[{'before':'PT0S'},"
               "{'before':'P1D','time':'20:00'},{'before':'P1D','time':'08:00'},"
               "{'at':'2026-11-24T08:00:00Z'}]}");
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->n_reminders, 4);
    ASSERT_TEXT(time_of(core, 0), "07:30");
    ASSERT_TEXT(time_of(core, 1), "20:00");
    assert_null(time_of(core, 3).data);
    assert_int_equal(task_reminder_at(task, &task->reminders[0]),
                     instant_at("2026-11-24T06:30:00Z"));
    assert_int_equal(task_reminder_at(task, &task->reminders[1]),
                     instant_at("2026-11-23T19:00:00Z"));
    /* Of another account's hand nothing changes but what is new. */
    assert_int_equal(core_do(core, &core->ben, "task.patch", &T1, "{'title':'y'}"), ERR_OK);
    ASSERT_TEXT(time_of(core, 0), "07:30");
    /* With a time of its own a task needs none; as an all-day one again it takes the author's. */
    assert_int_equal(patch(core, "{'due':'2026-11-24T12:00'}"), ERR_OK);
    assert_null(time_of(core, 0).data);
    assert_null(time_of(core, 1).data);
    uuid_t id = core_task(core, &T1)->reminders[0].id;
    assert_int_equal(core_do(core, &core->ben, "task.patch", &T1,
                             "{'due':'2026-11-25','reminders':[{'before':'PT0S','for':'all'}]}"),
                     ERR_OK);
    ASSERT_TEXT(time_of(core, 0), "09:00");
    assert_false(uuid_eq(&core_task(core, &T1)->reminders[0].id, &id));
    for (size_t i = 0; i < 5; i++) {
        static const char *const wrong[] = {"24:00", "9:00", "09:60", "09:00:00", "ab:cd"};
        char json[100];
        snprintf(json, sizeof json, "{'reminders':[{'before':'PT1H','time':'%s'}]}", wrong[i]);
        assert_int_equal(patch(core, json), ERR_INVALID);
        assert_string_equal(core_pointer(core), "/reminders/0/time");
    }
}

static void a_reminder_may_be_after_the_due_date_or_past(void **state)
{
    core_t *core = *state;
    make(core,
         "{'title':'x','due':'2026-11-23T09:00','reminders':[{'before':'-PT1H','for':'assignee'},"
         "{'at':'2000-01-01T00:00:00Z'}]}");
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task_reminder_at(task, &task->reminders[0]),
                     instant_at("2026-11-23T09:00:00Z"));
    assert_int_equal(task->reminders[0].whom, FOR_ASSIGNEE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_patch_changes_just_what_it_names),
        TEST(a_patch_that_changes_nothing_is_an_empty_event),
        TEST(tags_are_replaced_added_and_removed),
        TEST(a_task_has_at_most_32_tags),
        TEST(a_due_date_goes_with_its_zone),
        TEST(a_due_date_that_something_needs_stays),
        TEST(status_decides_which_event_a_patch_is),
        TEST(a_recurrence_is_merged_started_and_kept),
        TEST(the_last_occurrence_may_be_moved_behind_the_end),
        TEST(reminders_keep_their_ids),
        TEST(reminders_that_say_the_same_are_one),
        TEST(nobody_sets_reminders_for_others),
        TEST(two_people_may_be_reminded_at_the_same_time),
        TEST(all_day_tasks_remind_at_the_time_of_their_account),
        TEST(a_reminder_may_be_after_the_due_date_or_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
