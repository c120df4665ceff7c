/* SPDX-License-Identifier: Apache-2.0 */
/* task.snooze: one more reminder for whoever asks, in place of their last one of that kind. */
#include "core_test.h"

static err_t snooze(core_t *core, const uuid_t *author, const char *json)
{
    return core_do(core, author, "task.snooze", &T1, json);
}

static void who_snoozes_is_reminded_then(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-24','reminders':[{'before':'PT1H'}]}");
    assert_int_equal(snooze(core, &core->ben, "{'until':'2026-11-23T10:00:00Z'}"), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->n_reminders, 2);
    assert_true(task->reminders[1].is_snooze);
    assert_true(uuid_eq(&task->reminders[1].account, &core->ben));
    assert_int_equal(task->reminders[1].at_us, instant_at("2026-11-23T10:00:00Z"));
    ASSERT_TEXT(task->due, "2026-11-24");
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_SNOOZED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 1);
}

static void the_next_snooze_takes_its_place(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H'}"), ERR_OK);
    assert_int_equal(snooze(core, &core->ben, "{'for':'PT2H'}"), ERR_OK);
    uuid_t first = core_task(core, &T1)->reminders[0].id;
    assert_int_equal(snooze(core, &core->anna, "{'for':'P1D'}"), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->n_reminders, 2);
    assert_true(uuid_eq(&task->reminders[0].account, &core->ben));
    assert_int_equal(task->reminders[1].at_us, core->now_us + US_PER_DAY);
    assert_false(uuid_eq(&task->reminders[1].id, &first));
    assert_int_equal(snooze(core, &core->anna, "{'for':'P1D'}"), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
}

static void a_snooze_is_ahead_and_of_one_kind(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(snooze(core, &core->anna, "{'until':'2026-11-23T08:00:00Z'}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/until");
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT0S'}"), ERR_INVALID);
    assert_int_equal(snooze(core, &core->anna, "{'for':'-PT5M'}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/for");
    assert_int_equal(snooze(core, &core->anna, "{'for':'P1M'}"), ERR_INVALID);
    assert_int_equal(snooze(core, &core->anna, "{'for':7}"), ERR_INVALID);
    assert_int_equal(snooze(core, &core->anna, "{}"), ERR_INVALID);
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H','until':'2026-11-24T08:00:00Z'}"),
                     ERR_INVALID);
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H','x':1}"), ERR_INVALID);
    assert_int_equal(snooze(core, &core->vera, "{'for':'PT1H'}"), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H'}"), ERR_CONFLICT);
}

static void a_task_keeps_sixteen_reminders_at_most(void **state)
{
    core_t *core = *state;
    char json[1200] = "{'title':'x','reminders':[";
    for (int i = 0; i < LIMIT_REMINDERS; i++) {
        size_t n = strlen(json);
        snprintf(json + n, sizeof json - n, "%s{'at':'2026-11-24T08:%02d:00Z'}", i == 0 ? "" : ",",
                 i);
    }
    strcat(json, "]}");
    make(core, json);
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H'}"), ERR_CONFLICT);
    assert_int_equal(patch(core, "{'reminders':[]}"), ERR_OK);
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H'}"), ERR_OK);
}

static void a_snooze_may_be_sent_back_as_it_was_read(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','due':'2026-11-24'}");
    assert_int_equal(snooze(core, &core->anna, "{'until':'2026-11-24T08:00:00Z'}"), ERR_OK);
    uuid_t id = core_task(core, &T1)->reminders[0].id;
    assert_int_equal(patch(core, "{'reminders':[{'at':'2026-11-24T08:00:00Z','snooze':true},"
                                 "{'at':'2026-11-24T08:00:00Z'}]}"),
                     ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 2);
    assert_true(uuid_eq(&core_task(core, &T1)->reminders[0].id, &id));
    assert_int_equal(snooze(core, &core->anna, "{'for':'PT1H'}"), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 2);
    assert_int_equal(patch(core, "{'reminders':[{'before':'PT1H','snooze':true}]}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/reminders/0/snooze");
    assert_int_equal(patch(core, "{'reminders':[{'at':'2026-11-24T08:00:00Z','snooze':1}]}"),
                     ERR_INVALID);
}

/* --- dismissing --- */

#define R1 "01935700-0000-7000-8000-0000000000f1"

static err_t dismiss(core_t *core, const uuid_t *author, const char *json)
{
    return core_do(core, author, "reminder.dismiss", &T1, json);
}

static void who_dismisses_says_so_to_their_own_devices(void **state)
{
    core_t *core = *state;
    make(core,
         "{'title':'x','reminders':[{'id':'" R1 "','at':'2026-11-23T07:00:00Z','for':'all'}]}");
    int64_t rev = core_task(core, &T1)->rev;
    assert_int_equal(dismiss(core, &core->vera, "{'reminder':'" R1 "'}"), ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_REMINDER_DISMISSED);
    assert_true(uuid_eq(&event->stream, &core->vera));
    assert_true(uuid_eq(&core->out.stream, &core->vera));
    assert_true(uuid_eq(&event->task, &T1));
    assert_true(core_has(core, event->reminder, "id", "'" R1 "'"));
    assert_true(core_has(core, event->reminder, "at", "'2026-11-23T08:00:00Z'"));
    assert_int_equal(count_pairs(event->set), 0);
    assert_int_equal(core_task(core, &T1)->rev, rev);
}

static void what_has_not_come_yet_is_not_dismissed(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(
        dismiss(core, &core->anna, "{'reminder':'" R1 "','at':'2026-11-23T08:00:00.000001Z'}"),
        ERR_CONFLICT);
    assert_int_equal(
        dismiss(core, &core->anna, "{'reminder':'" R1 "','at':'2026-11-23T08:00:00Z'}"), ERR_OK);
    assert_true(core_has(core, core_event(core, 0)->reminder, "at", "'2026-11-23T08:00:00Z'"));
}

static void a_dismissal_says_of_which_reminder(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(dismiss(core, &core->anna, "{}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/reminder");
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':7}"), ERR_INVALID);
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':'" R1 "','at':'soon'}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/at");
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':'" R1 "','x':1}"), ERR_INVALID);
    core->expect = 1;
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':'" R1 "'}"), ERR_INVALID);
}

static void who_does_not_see_a_task_dismisses_nothing_of_it(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(dismiss(core, &core->stan, "{'reminder':'" R1 "'}"), ERR_NOT_FOUND);
    core->scopes = SCOPE_READ;
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':'" R1 "'}"), ERR_FORBIDDEN);
    core->lists = &core->other;
    core->n_lists = 1;
    assert_int_equal(dismiss(core, &core->anna, "{'reminder':'" R1 "'}"), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_snoozes_is_reminded_then),
        TEST(the_next_snooze_takes_its_place),
        TEST(a_snooze_is_ahead_and_of_one_kind),
        TEST(a_task_keeps_sixteen_reminders_at_most),
        TEST(a_snooze_may_be_sent_back_as_it_was_read),
        TEST(who_dismisses_says_so_to_their_own_devices),
        TEST(what_has_not_come_yet_is_not_dismissed),
        TEST(a_dismissal_says_of_which_reminder),
        TEST(who_does_not_see_a_task_dismisses_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
