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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_snoozes_is_reminded_then),
        TEST(the_next_snooze_takes_its_place),
        TEST(a_snooze_is_ahead_and_of_one_kind),
        TEST(a_task_keeps_sixteen_reminders_at_most),
        TEST(a_snooze_may_be_sent_back_as_it_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
