/* SPDX-License-Identifier: Apache-2.0 */
/* task.move: what goes where, who may, and what each list is told. That what moved out says no more
 * than that, and what moved in all, is checked behind each command (core_check.h). */
#include "core_test.h"

static const uuid_t T3 = {{3, 3, 3, 3, 3, 3, 0x73, 3, 0x83, 3, 3, 3, 3, 3, 3, 3}};

static err_t move_as(core_t *core, const uuid_t *author, const uuid_t *task, const uuid_t *list)
{
    char json[80];
    snprintf(json, sizeof json, "{'list':'%s'}", core_text(core, list));
    return core_do(core, author, "task.move", task, json);
}

/* Anna is an editor of the other list too. */
static void let_anna_in(core_t *core)
{
    core_add_member(core, &core->other, &core->anna, ROLE_EDITOR);
}

static int64_t n_open(core_t *core, const uuid_t *list)
{
    return state_stream(core->state, list)->n_open;
}

static void a_moved_task_is_in_the_other_list(void **state)
{
    core_t *core = *state;
    let_anna_in(core);
    core->in = core->other;
    assert_int_equal(core_do(core, &core->stan, "task.create", &T2, "{'title':'x'}"), ERR_OK);
    make(core, "{'title':'x','position':'Z9'}");
    int64_t source_rev = state_stream(core->state, &core->list)->head;
    int64_t target_rev = state_stream(core->state, &core->other)->head;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_true(uuid_eq(&task->list, &core->other));
    assert_int_equal(task->rev, target_rev + 1);
    assert_true(slice_cmp(task->position, core_task(core, &T2)->position) > 0);
    assert_true(uuid_eq(&core->out.stream, &core->other));
    assert_int_equal(core->out.rev, target_rev + 1);
    assert_int_equal(core_event(core, 1)->type, EVENT_TASK_MOVED_OUT);
    assert_int_equal(core_event(core, 1)->rev, source_rev + 1);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_MOVED_IN);
    assert_false(core_event(core, 1)->more || core_event(core, 0)->more);
    assert_int_equal(n_open(core, &core->list), 0);
    assert_int_equal(n_open(core, &core->other), 2);
    assert_int_equal(patch(core, "{'title':'y'}"), ERR_NOT_FOUND);
    core->in = core->other;
    assert_int_equal(patch(core, "{'title':'y'}"), ERR_OK);
}

static void its_subtasks_go_along_and_it_leaves_what_it_was_under(void **state)
{
    core_t *core = *state;
    char json[100];
    let_anna_in(core);
    make(core, "{'title':'x'}");
    snprintf(json, sizeof json, "{'title':'x','parent':'%s'}", core_text(core, &T1));
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, json), ERR_OK);
    snprintf(json, sizeof json, "{'title':'x','parent':'%s'}", core_text(core, &T2));
    assert_int_equal(core_do(core, &core->anna, "task.create", &T3, json), ERR_OK);
    uuid_t gone = core_id(0x1000);
    assert_int_equal(core_do(core, &core->anna, "task.create", &gone, json), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &gone, NULL), ERR_OK);
    assert_int_equal(move_as(core, &core->anna, &T2, &core->other), ERR_OK);
    assert_true(uuid_is_nil(&core_task(core, &T2)->parent));
    assert_true(uuid_eq(&core_task(core, &T3)->parent, &T2));
    assert_true(uuid_eq(&core_task(core, &T3)->list, &core->other));
    assert_true(slice_cmp(core_task(core, &T2)->position, core_task(core, &T3)->position) < 0);
    assert_true(uuid_eq(&core_event(core, 0)->task, &T2));
    assert_true(core_event(core, 3)->more && core_event(core, 2)->more);
    assert_int_equal(n_open(core, &core->list), 1);
    assert_int_equal(n_open(core, &core->other), 2);
    /* What was deleted stays where it was, and comes back there, under nothing. */
    assert_int_equal(core_do(core, &core->anna, "task.restore", &gone, NULL), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &gone)->list, &core->list));
    assert_true(uuid_is_nil(&core_task(core, &gone)->parent));
}

static void who_is_not_there_is_dropped(void **state)
{
    core_t *core = *state;
    char json[400];
    let_anna_in(core);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1,
                             "{'title':'x','reminders':[{'at':'2026-11-24T08:00:00Z'}]}"),
                     ERR_OK);
    snprintf(json, sizeof json,
             "{'assignee':'%s','reminders':[{'at':'2026-11-24T08:00:00Z','for':'%s'},"
             "{'at':'2026-11-25T08:00:00Z'},{'at':'2026-11-26T08:00:00Z','for':'all'},"
             "{'at':'2026-11-27T08:00:00Z','for':'assignee'}]}",
             core_text(core, &core->ben), core_text(core, &core->ben));
    assert_int_equal(patch(core, json), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 4);
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_true(uuid_is_nil(&task->assignee));
    assert_int_equal(task->n_reminders, 3);
    assert_true(uuid_eq(&task->reminders[0].account, &core->anna));
    assert_int_equal(task->reminders[1].whom, FOR_ALL);
    assert_int_equal(task->reminders[2].whom, FOR_ASSIGNEE);
}

static void who_is_in_both_lists_stays(void **state)
{
    core_t *core = *state;
    char json[100];
    let_anna_in(core);
    core_add_member(core, &core->other, &core->vera, ROLE_VIEWER);
    snprintf(json, sizeof json, "{'title':'x','assignee':'%s'}", core_text(core, &core->vera));
    make(core, json);
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T1)->assignee, &core->vera));
}

static void whose_membership_is_not_known_puts_it_off(void **state)
{
    core_t *core = *state;
    let_anna_in(core);
    make(core, "{'title':'x'}");
    task_t task = *core_task(core, &T1);
    task.assignee = core_id(0xa9);
    state_put_task(core->state, &task, false, true);
    size_t n_events = state_n_events(core->state);
    core_make(core, &core->anna, "task.move", &T1,
              core_json(core, "{'list':'01935700-0000-7000-8000-0000000000b2'}"));
    apply(&core->command, core->state, core->now_us, &core->out);
    assert_true(core->out.is_unready);
    assert_int_equal(state_n_events(core->state), n_events);
}

static void both_lists_must_let_one_do_it(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_NOT_FOUND);
    assert_int_equal(move_as(core, &core->stan, &T1, &core->other), ERR_NOT_FOUND);
    assert_int_equal(move_as(core, &core->anna, &T1, &core->ben), ERR_NOT_FOUND);
    core_add_member(core, &core->other, &core->anna, ROLE_VIEWER);
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_FORBIDDEN);
    let_anna_in(core);
    core_add_member(core, &core->other, &core->vera, ROLE_EDITOR);
    assert_int_equal(move_as(core, &core->vera, &T1, &core->other), ERR_FORBIDDEN);
    state_list(core->state, &core->other)->is_archived = true;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_CONFLICT);
    state_list(core->state, &core->other)->is_archived = false;
    state_list(core->state, &core->other)->deleted_at_us = core->now_us;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_NOT_FOUND);
    state_list(core->state, &core->other)->deleted_at_us = INSTANT_NONE;
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_CONFLICT);
    state_list(core->state, &core->list)->is_archived = false;
    assert_int_equal(core_do(core, &core->anna, "task.move", &T1, "{}"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/list");
    assert_int_equal(core_do(core, &core->anna, "task.move", &T1, NULL), ERR_INVALID);
    core->expect = 1;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_PRECONDITION_FAILED);
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
}

static void a_token_must_be_for_both_lists(void **state)
{
    core_t *core = *state;
    let_anna_in(core);
    make(core, "{'title':'x'}");
    const uuid_t both[] = {core->list, core->other};
    for (size_t i = 0; i < 2; i++) {
        core->lists = &both[i];
        core->n_lists = 1;
        assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_NOT_FOUND);
    }
    core->lists = both;
    core->n_lists = 2;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
}

static void into_its_own_list_nothing_moves(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    int64_t rev = core_task(core, &T1)->rev;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->list), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(core_task(core, &T1)->rev, rev);
    assert_true(uuid_eq(&core->out.stream, &core->list));
}

static void a_successor_goes_where_the_task_before_is(void **state)
{
    core_t *core = *state;
    char json[200];
    let_anna_in(core);
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    int64_t closed_rev = core_task(core, &T1)->closed_rev;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
    assert_int_equal(core_task(core, &T1)->closed_rev, closed_rev);
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}", core_text(core, &T1),
             (long long)closed_rev);
    assert_int_equal(core_do(core, &author_recurrence, "task.succeed", &T2, json), ERR_CONFLICT);
    core->in = core->other;
    assert_int_equal(core_do(core, &author_recurrence, "task.succeed", &T2, json), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T2)->list, &core->other));
    assert_int_equal(core_task(core, &T2)->occurrence, 2);
}

static void there_and_back_again_it_is_the_same_task(void **state)
{
    core_t *core = *state;
    let_anna_in(core);
    make(core, "{'title':'x','tags':['a'],'due':'2026-11-24'}");
    assert_int_equal(move_as(core, &core->anna, &T1, &core->other), ERR_OK);
    core->in = core->other;
    assert_int_equal(move_as(core, &core->anna, &T1, &core->list), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T1)->list, &core->list));
    assert_true(core_task(core, &T1)->n_tags == 1);
    assert_int_equal(n_open(core, &core->list), 1);
    assert_int_equal(n_open(core, &core->other), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_moved_task_is_in_the_other_list),
        TEST(its_subtasks_go_along_and_it_leaves_what_it_was_under),
        TEST(who_is_not_there_is_dropped),
        TEST(who_is_in_both_lists_stays),
        TEST(whose_membership_is_not_known_puts_it_off),
        TEST(both_lists_must_let_one_do_it),
        TEST(a_token_must_be_for_both_lists),
        TEST(into_its_own_list_nothing_moves),
        TEST(a_successor_goes_where_the_task_before_is),
        TEST(there_and_back_again_it_is_the_same_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
