/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a task that are refused, in a new one and in a patch, each with its place. */
#include "core_test.h"

typedef struct {
    const char *json;
    const char *pointer;
} wrong_t;

/* Wrong in a new task and in a patch alike; the title is there so that a new task has one. */
static const wrong_t wrong_values[] = {
    {"{'title':''}", "/title"},
    {"{'title':null}", "/title"},
    {"{'title':7}", "/title"},
    {"{'title':'a\\nb'}", "/title"},
    {"{'title':'a\\u007f'}", "/title"},
    {"{'title':'a\\u0085'}", "/title"},
    {"{'title':'x','notes':7}", "/notes"},
    {"{'title':'x','status':'closed'}", "/status"},
    {"{'title':'x','priority':'none'}", "/priority"},
    {"{'title':'x','priority':3}", "/priority"},
    {"{'title':'x','tags':'a'}", "/tags"},
    {"{'title':'x','tags':['a','']}", "/tags/1"},
    {"{'title':'x','tags':['a',null]}", "/tags/1"},
    {"{'title':'x','tags':['a','b','a']}", "/tags/2"},
    {"{'title':'x','tags':['a\\u001fb']}", "/tags/0"},
    {"{'title':'x','due':'tomorrow'}", "/due"},
    {"{'title':'x','due':'2026-02-30'}", "/due"},
    {"{'title':'x','due':5}", "/due"},
    {"{'title':'x','time_zone':'UTC'}", "/time_zone"},
    {"{'title':'x','due':null,'time_zone':'UTC'}", "/time_zone"},
    {"{'title':'x','due':'2026-11-23','time_zone':'Mars/Base'}", "/time_zone"},
    {"{'title':'x','due':'2026-11-23','time_zone':1}", "/time_zone"},
    {"{'title':'x','recurrence':{'rule':'daily'}}", "/recurrence"},
    {"{'title':'x','recurrence':'daily'}", "/recurrence"},
    {"{'title':'x','due':'2026-11-23','recurrence':{}}", "/recurrence/rule"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':null}}", "/recurrence/rule"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':'FREQ=SECONDLY'}}", "/recurrence/rule"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily','from':'x'}}",
     "/recurrence/from"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily','missed':1}}",
     "/recurrence/missed"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily','x/~y':1}}",
     "/recurrence/x~1~0y"},
    {"{'title':'x','due':'2026-11-23','recurrence':{'rule':'FREQ=DAILY;UNTIL=20261122'}}",
     "/recurrence"},
    {"{'title':'x','reminders':{}}", "/reminders"},
    {"{'title':'x','reminders':[7]}", "/reminders/0"},
    {"{'title':'x','reminders':[{}]}", "/reminders/0"},
    {"{'title':'x','reminders':[{'before':'PT5M'}]}", "/reminders/0/before"},
    {"{'title':'x','due':'2026-11-23','reminders':[{'before':'5m'}]}", "/reminders/0/before"},
    {"{'title':'x','due':'2026-11-23','reminders':[{'before':'P367D'}]}", "/reminders/0/before"},
    {"{'title':'x','due':'2026-11-23','reminders':[{'before':'P1D','at':'2026-11-23T08:00:00Z'}]}",
     "/reminders/0"},
    {"{'title':'x','reminders':[{'at':'2026-11-23T08:00'}]}", "/reminders/0/at"},
    {"{'title':'x','reminders':[{'at':'2026-11-23T08:00:00Z','for':'you'}]}", "/reminders/0/for"},
    {"{'title':'x','reminders':[{'at':'2026-11-23T08:00:00Z','id':'1'}]}", "/reminders/0/id"},
    {"{'title':'x','reminders':[{'at':'2026-11-23T08:00:00Z','x':1}]}", "/reminders/0/x"},
    {"{'title':'x','reminders':[{'at':'2026-11-23T08:00:00Z',"
     "'id':'01010101-0101-7101-8101-010101010101'},{'at':'2026-11-23T09:00:00Z',"
     "'id':'01010101-0101-7101-8101-010101010101'}]}",
     "/reminders/1"},
    {"{'title':'x','assignee':'me'}", "/assignee"},
    {"{'title':'x','assignee':'00000000-0000-0000-0000-000000000000'}", "/assignee"},
    {"{'title':'x','assignee':'01935700-0000-7000-8000-0000000000a4'}", "/assignee"},
    {"{'title':'x','parent':'09090909-0909-7909-8909-090909090909'}", "/parent"},
    {"{'title':'x','position':''}", "/position"},
    {"{'title':'x','position':'a-b'}", "/position"},
    {"{'title':'x','position':1}", "/position"},
    {"{'title':'x','colour':'red'}", "/colour"},
    {"{'title':'x','id':'01010101-0101-7101-8101-010101010101'}", "/id"},
    {"{'title':'x','list':'01010101-0101-7101-8101-010101010101'}", "/list"},
    {"{'title':'x','rev':1}", "/rev"},
    {"{'title':'x','due_at':null}", "/due_at"},
    {"{'title':'x','series':null}", "/series"},
    {"{'title':'x','occurrence':1}", "/occurrence"},
    {"{'title':'x','created_at':null}", "/created_at"},
    {"{'title':'x','created_by':null}", "/created_by"},
    {"{'title':'x','updated_at':null}", "/updated_at"},
    {"{'title':'x','completed_at':null}", "/completed_at"},
    {"{'title':'x','closed_rev':null}", "/closed_rev"},
    {"{'title':'x','deleted_at':null}", "/deleted_at"},
};

static void wrong_values_are_refused_with_their_place(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    for (size_t i = 0; i < sizeof wrong_values / sizeof wrong_values[0]; i++) {
        const wrong_t *wrong = &wrong_values[i];
        assert_int_equal(core_do(core, &core->anna, "task.create", &T2, wrong->json), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong->pointer);
        assert_int_equal(patch(core, wrong->json), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong->pointer);
    }
}

static void a_new_task_needs_a_title_and_is_open(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, NULL), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/title");
    assert_int_equal(
        core_do(core, &core->anna, "task.create", &T1, "{'title':'x','status':'done'}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/status");
    assert_int_equal(
        core_do(core, &core->anna, "task.create", &T1, "{'title':'x','tags':{'add':['a']}}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/tags");
    core->expect = 2;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_INVALID);
}

static void all_mistakes_are_told_at_once(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1,
                             "{'title':'','notes':1,'due':'x','colour':1,'tags':['','']}"),
                     ERR_INVALID);
    assert_int_equal(core->out.problem.n_fields, 6);
}

/* A JSON string of n times the same text. */
static const char *repeated(core_t *core, const char *before, const char *text, size_t n,
                            const char *after)
{
    buf_t json = {0};
    buf_append_str(&json, before);
    for (size_t i = 0; i < n; i++)
        buf_append_str(&json, text);
    buf_append_str(&json, after);
    slice_t kept = arena_copy(core->arena, buf_slice(&json));
    buf_fini(&json);
    return (const char *)kept.data;
}

static void limits_are_counted_in_characters_or_bytes(void **state)
{
    core_t *core = *state;
    make(core, repeated(core, "{'title':'", "ü", LIMIT_TITLE_CHARS, "'}"));
    assert_int_equal(patch(core, repeated(core, "{'title':'", "x", LIMIT_TITLE_CHARS + 1, "'}")),
                     ERR_INVALID);
    assert_int_equal(patch(core, repeated(core, "{'notes':'", "x", LIMIT_NOTES_BYTES, "'}")),
                     ERR_OK);
    assert_int_equal(patch(core, repeated(core, "{'notes':'", "x", LIMIT_NOTES_BYTES + 1, "'}")),
                     ERR_INVALID);
    assert_int_equal(patch(core, repeated(core, "{'tags':['", "😀", LIMIT_TAG_CHARS, "']}")),
                     ERR_OK);
    assert_int_equal(patch(core, repeated(core, "{'tags':['", "x", LIMIT_TAG_CHARS + 1, "']}")),
                     ERR_INVALID);
    assert_int_equal(patch(core, repeated(core, "{'position':'", "x", LIMIT_POSITION_CHARS, "'}")),
                     ERR_OK);
    assert_int_equal(
        patch(core, repeated(core, "{'position':'", "x", LIMIT_POSITION_CHARS + 1, "'}")),
        ERR_INVALID);
    const char *reminder = "{'at':'2026-11-23T08:00:00Z'},";
    assert_int_equal(patch(core, repeated(core, "{'reminders':[", reminder, LIMIT_REMINDERS - 1,
                                          "{'at':'2026-11-23T09:00:00Z'}]}")),
                     ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 2);
    assert_int_equal(patch(core, repeated(core, "{'reminders':[", reminder, LIMIT_REMINDERS,
                                          "{'at':'2026-11-23T09:00:00Z'}]}")),
                     ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(wrong_values_are_refused_with_their_place),
        TEST(a_new_task_needs_a_title_and_is_open),
        TEST(all_mistakes_are_told_at_once),
        TEST(limits_are_counted_in_characters_or_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
