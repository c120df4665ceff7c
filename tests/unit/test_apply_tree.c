/* SPDX-License-Identifier: Apache-2.0 */
/* Subtasks: under what a task may be, what goes with it when it is deleted and comes back when it
 * is restored. That a task that is there is under one that is there, that the events of a command
 * say what happened, and that the last one in its stream is the command's own, is checked behind
 * each command (core_check.h). */
#include "core_test.h"

static const uuid_t T3 = {{3, 3, 3, 3, 3, 3, 0x73, 3, 0x83, 3, 3, 3, 3, 3, 3, 3}};
static const uuid_t T4 = {{4, 4, 4, 4, 4, 4, 0x74, 4, 0x84, 4, 4, 4, 4, 4, 4, 4}};

static err_t make_under(core_t *core, const uuid_t *task, const uuid_t *parent)
{
    char json[120];
    snprintf(json, sizeof json, "{'title':'x','parent':'%s'}", core_text(core, parent));
    return core_do(core, &core->anna, "task.create", task, json);
}

static err_t put_under(core_t *core, const uuid_t *task, const uuid_t *parent)
{
    char json[80] = "{'parent':null}";
    if (parent != NULL)
        snprintf(json, sizeof json, "{'parent':'%s'}", core_text(core, parent));
    return core_do(core, &core->anna, "task.patch", task, json);
}

static err_t remove_one(core_t *core, const uuid_t *task)
{
    return core_do(core, &core->anna, "task.delete", task, NULL);
}

static err_t restore(core_t *core, const uuid_t *task)
{
    return core_do(core, &core->anna, "task.restore", task, NULL);
}

static bool is_deleted(core_t *core, const uuid_t *task)
{
    return core_task(core, task)->deleted_at_us != INSTANT_NONE;
}

/* T1, under it T2, under that T3. */
static void make_three(core_t *core)
{
    make(core, "{'title':'x'}");
    assert_int_equal(make_under(core, &T2, &T1), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T2), ERR_OK);
}

/* --- under what --- */

static void a_task_can_be_under_another_of_its_list(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_true(uuid_eq(&core_task(core, &T3)->parent, &T2));
    assert_int_equal(put_under(core, &T3, &T1), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T3)->parent, &T1));
    assert_int_equal(count_pairs(core_event(core, 0)->set), 1);
    assert_int_equal(put_under(core, &T3, NULL), ERR_OK);
    assert_true(uuid_is_nil(&core_task(core, &T3)->parent));
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 3);
}

static void what_is_not_there_is_no_parent(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    core->in = core->other;
    assert_int_equal(core_do(core, &core->stan, "task.create", &T2, "{'title':'x'}"), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T4), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/parent");
    assert_int_equal(make_under(core, &T3, &T2), ERR_INVALID);
    assert_int_equal(put_under(core, &T1, &T2), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/parent");
    assert_int_equal(core_do(core, &core->anna, "task.create", &T3, "{'title':'x','parent':7}"),
                     ERR_INVALID);
    assert_int_equal(make_under(core, &T3, &T1), ERR_OK);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(make_under(core, &T4, &T1), ERR_INVALID);
    assert_int_equal(make_under(core, &T4, &T3), ERR_INVALID);
}

static void no_task_is_under_itself(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(put_under(core, &T1, &T1), ERR_INVALID);
    assert_int_equal(put_under(core, &T1, &T2), ERR_INVALID);
    assert_int_equal(put_under(core, &T1, &T3), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/parent");
    assert_int_equal(put_under(core, &T2, &T3), ERR_INVALID);
    assert_int_equal(put_under(core, &T3, NULL), ERR_OK);
    assert_int_equal(put_under(core, &T1, &T3), ERR_OK);
    assert_int_equal(put_under(core, &T3, &T2), ERR_INVALID);
}

static void tasks_have_eight_levels(void **state)
{
    core_t *core = *state;
    uuid_t last = core_id(0x1000);
    assert_int_equal(core_do(core, &core->anna, "task.create", &last, "{'title':'x'}"), ERR_OK);
    for (unsigned i = 1; i < LIMIT_TASK_LEVELS; i++) {
        uuid_t next = core_id(0x1000 + i);
        assert_int_equal(make_under(core, &next, &last), ERR_OK);
        last = next;
    }
    assert_int_equal(make_under(core, &T1, &last), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/parent");
    make(core, "{'title':'x'}");
    assert_int_equal(make_under(core, &T2, &T1), ERR_OK);
    uuid_t above = core_id(0x1000 + LIMIT_TASK_LEVELS - 3);
    uuid_t second_last = core_id(0x1000 + LIMIT_TASK_LEVELS - 2);
    assert_int_equal(put_under(core, &T1, &second_last), ERR_INVALID);
    assert_int_equal(put_under(core, &T1, &above), ERR_OK);
    assert_int_equal(make_under(core, &T3, &T2), ERR_INVALID);
}

static void put_many(core_t *core, unsigned n, const uuid_t *parent)
{
    for (unsigned i = 0; i < n; i++) {
        task_t task = *core_task(core, &T1);
        task.id = core_id(0x10000 + i);
        task.parent = *parent;
        state_put_task(core->state, &task, false, false);
        state_put_node(core->state, &task, &UUID_NIL);
        state_stream(core->state, &core->list)->n_open++;
    }
}

static void a_task_has_a_thousand_subtasks_at_most(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    put_many(core, LIMIT_SUBTASKS - 2, &T1);
    uuid_t first = core_id(0x10000);
    assert_int_equal(make_under(core, &T2, &first), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.create", &T3, "{'title':'x'}"), ERR_OK);
    assert_int_equal(make_under(core, &T4, &T3), ERR_OK);
    assert_int_equal(put_under(core, &T3, &T1), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/parent");
    assert_int_equal(put_under(core, &T4, &T2), ERR_OK);
    assert_int_equal(make_under(core, &core->vera, &T1), ERR_INVALID);
    assert_int_equal(put_under(core, &T4, &T1), ERR_OK);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(core_event(core, 0)->rev - core_event(core, LIMIT_SUBTASKS)->rev,
                     LIMIT_SUBTASKS);
    assert_true(core_event(core, LIMIT_SUBTASKS)->more);
}

static void a_finished_task_leaves_its_subtasks_open(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(core_task(core, &T2)->status, STATUS_OPEN);
    assert_int_equal(make_under(core, &T4, &T1), ERR_OK);
}

/* --- deleting --- */

static void a_deleted_task_takes_its_subtasks_along(void **state)
{
    core_t *core = *state;
    make_three(core);
    size_t n_events = state_n_events(core->state);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(state_n_events(core->state), n_events + 3);
    assert_true(is_deleted(core, &T1) && is_deleted(core, &T2) && is_deleted(core, &T3));
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 0);
    for (size_t back = 0; back < 3; back++)
        assert_int_equal(core_event(core, back)->type, EVENT_TASK_DELETED);
    assert_true(uuid_eq(&core_event(core, 0)->task, &T1));
    assert_true(uuid_eq(&core_event(core, 1)->task, &T2));
    assert_true(uuid_eq(&core_event(core, 2)->task, &T3));
    assert_true(core_event(core, 2)->more && core_event(core, 1)->more);
    assert_false(core_event(core, 0)->more);
    assert_true(uuid_eq(&core->out.task, &T1));
    assert_int_equal(core->out.rev, core_event(core, 0)->rev);
    assert_int_equal(remove_one(core, &T2), ERR_NOT_FOUND);
}

static void what_is_not_loaded_puts_a_deletion_off(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    task_t task = *core_task(core, &T1);
    task.id = T2;
    task.parent = T1;
    state_put_node(core->state, &task, &UUID_NIL);
    size_t n_events = state_n_events(core->state);
    core_make(core, &core->anna, "task.delete", &T1, slice_none());
    apply(&core->command, core->state, core->now_us, &core->out);
    assert_true(core->out.is_unready);
    assert_int_equal(core->out.problem.err, ERR_UNAVAILABLE);
    assert_int_equal(state_n_events(core->state), n_events);
    assert_false(is_deleted(core, &T1));
    state_put_task(core->state, &task, false, false);
    apply(&core->command, core->state, core->now_us, &core->out);
    assert_false(core->out.is_unready);
    assert_true(is_deleted(core, &T2));
}

/* --- restoring --- */

static void a_restored_task_is_as_it_was(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x','position':'b7','tags':['a'],'due':'2026-11-24'}");
    task_t before = *core_task(core, &T1);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_int_equal(task_diff(&before, core_task(core, &T1)), 0);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_RESTORED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), TASK_N_FIELDS);
    assert_int_equal(count_pairs(core_event(core, 0)->was), 1);
    assert_int_equal(state_stream(core->state, &core->list)->n_open, 1);
}

static void who_has_left_meanwhile_is_dropped(void **state)
{
    core_t *core = *state;
    char json[200];
    make(core, "{'title':'x'}");
    snprintf(json, sizeof json, "{'title':'x','parent':'%s','assignee':'%s'}", core_text(core, &T1),
             core_text(core, &core->ben));
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, json), ERR_OK);
    assert_int_equal(core_do(core, &core->ben, "task.patch", &T1,
                             "{'reminders':[{'at':'2026-11-24T08:00:00Z'}]}"),
                     ERR_OK);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_int_equal(core_task(core, &T1)->n_reminders, 0);
    assert_true(uuid_is_nil(&core_task(core, &T2)->assignee));
}

static void those_come_back_that_went_with_it(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(make_under(core, &T4, &T1), ERR_OK);
    assert_int_equal(remove_one(core, &T2), ERR_OK);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_false(is_deleted(core, &T1) || is_deleted(core, &T4));
    assert_true(is_deleted(core, &T2) && is_deleted(core, &T3));
    assert_true(core_event(core, 1)->more && uuid_eq(&core_event(core, 1)->task, &T4));
    assert_int_equal(restore(core, &T2), ERR_OK);
    assert_false(is_deleted(core, &T2) || is_deleted(core, &T3));
}

static void what_was_deleted_at_the_same_instant_before_stays_deleted(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(remove_one(core, &T3), ERR_OK);
    assert_int_equal(remove_one(core, &T2), ERR_OK);
    assert_int_equal(restore(core, &T2), ERR_OK);
    assert_true(is_deleted(core, &T3));
}

static void under_a_deleted_task_nothing_is_restored(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(restore(core, &T2), ERR_CONFLICT);
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_false(is_deleted(core, &T2) || is_deleted(core, &T3));
}

static void a_number_that_is_taken_again_is_a_conflict(void **state)
{
    core_t *core = *state;
    char json[200];
    make(core, "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'}}");
    assert_int_equal(make_under(core, &T3, &T1), ERR_OK);
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    state_put_occurrence(core->state, &T1, 1);
    snprintf(json, sizeof json, "%s", "{}");
    assert_int_equal(core_do(core, &core->anna, "task.restore", &T1, json), ERR_CONFLICT);
    assert_true(is_deleted(core, &T3));
    state_drop_occurrence(core->state, &T1, 1);
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_true(state_has_occurrence(core->state, &T1, 1));
}

static void restoring_is_for_editors_and_by_revision(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(remove_one(core, &T1), ERR_OK);
    assert_int_equal(core_do(core, &core->vera, "task.restore", &T1, NULL), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &core->stan, "task.restore", &T1, NULL), ERR_NOT_FOUND);
    assert_int_equal(restore(core, &T2), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->anna, "task.restore", &T1, "{'x':1}"), ERR_INVALID);
    core->expect = 1;
    assert_int_equal(restore(core, &T1), ERR_PRECONDITION_FAILED);
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(restore(core, &T1), ERR_CONFLICT);
    state_list(core->state, &core->list)->is_archived = false;
    core->expect = core_task(core, &T1)->rev;
    assert_int_equal(core_do(core, &core->ben, "task.restore", &T1, "{}"), ERR_OK);
    int64_t rev = core_task(core, &T1)->rev;
    assert_int_equal(restore(core, &T1), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TASK_UPDATED);
    assert_int_equal(core_task(core, &T1)->rev, rev);
}

static void a_tree_that_grew_meanwhile_may_have_no_room(void **state)
{
    core_t *core = *state;
    make_three(core);
    assert_int_equal(remove_one(core, &T2), ERR_OK);
    uuid_t last = core_id(0x1000);
    assert_int_equal(core_do(core, &core->anna, "task.create", &last, "{'title':'x'}"), ERR_OK);
    for (unsigned i = 1; i < LIMIT_TASK_LEVELS - 2; i++) {
        uuid_t next = core_id(0x1000 + i);
        assert_int_equal(make_under(core, &next, &last), ERR_OK);
        last = next;
    }
    assert_int_equal(put_under(core, &T1, &last), ERR_OK);
    assert_int_equal(restore(core, &T2), ERR_CONFLICT);
    assert_int_equal(put_under(core, &T1, NULL), ERR_OK);
    assert_int_equal(restore(core, &T2), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T2)->parent, &T1));
}

/* --- series --- */

/* T1, and under it T2, which recurs. */
static void make_daily_under_another(core_t *core)
{
    char json[200];
    make(core, "{'title':'x'}");
    snprintf(json, sizeof json,
             "{'title':'x','due':'2026-11-23','recurrence':{'rule':'daily'},'parent':'%s'}",
             core_text(core, &T1));
    assert_int_equal(core_do(core, &core->anna, "task.create", &T2, json), ERR_OK);
}

/* T4 comes after T2. */
static err_t succeed(core_t *core)
{
    char json[200];
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}", core_text(core, &T2),
             (long long)core_task(core, &T2)->closed_rev);
    return core_do(core, &author_recurrence, "task.succeed", &T4, json);
}

static void a_successor_is_beside_its_predecessor_without_subtasks(void **state)
{
    core_t *core = *state;
    make_daily_under_another(core);
    assert_int_equal(make_under(core, &T3, &T2), ERR_OK);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T2, NULL), ERR_OK);
    assert_int_equal(succeed(core), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T4)->parent, &T1));
    assert_true(uuid_eq(&core_task(core, &T3)->parent, &T2));
}

/* The event of the deletion may reach the actor late. */
static void a_successor_is_under_nothing_when_that_has_moved_away(void **state)
{
    core_t *core = *state;
    char json[80];
    make_daily_under_another(core);
    core_add_member(core, &core->other, &core->anna, ROLE_EDITOR);
    assert_int_equal(remove_one(core, &T2), ERR_OK);
    snprintf(json, sizeof json, "{'list':'%s'}", core_text(core, &core->other));
    assert_int_equal(core_do(core, &core->anna, "task.move", &T1, json), ERR_OK);
    assert_int_equal(succeed(core), ERR_OK);
    assert_true(uuid_eq(&core_task(core, &T4)->list, &core->list));
    assert_true(uuid_is_nil(&core_task(core, &T4)->parent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_can_be_under_another_of_its_list),
        TEST(what_is_not_there_is_no_parent),
        TEST(no_task_is_under_itself),
        TEST(tasks_have_eight_levels),
        TEST(a_task_has_a_thousand_subtasks_at_most),
        TEST(a_finished_task_leaves_its_subtasks_open),
        TEST(a_deleted_task_takes_its_subtasks_along),
        TEST(what_is_not_loaded_puts_a_deletion_off),
        TEST(a_restored_task_is_as_it_was),
        TEST(who_has_left_meanwhile_is_dropped),
        TEST(those_come_back_that_went_with_it),
        TEST(what_was_deleted_at_the_same_instant_before_stays_deleted),
        TEST(under_a_deleted_task_nothing_is_restored),
        TEST(a_number_that_is_taken_again_is_a_conflict),
        TEST(restoring_is_for_editors_and_by_revision),
        TEST(a_tree_that_grew_meanwhile_may_have_no_room),
        TEST(a_successor_is_beside_its_predecessor_without_subtasks),
        TEST(a_successor_is_under_nothing_when_that_has_moved_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
