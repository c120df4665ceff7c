/* SPDX-License-Identifier: Apache-2.0 */
/* Members come, change and go: roles, both streams at once, and that a list keeps an owner. */
#include "core_test.h"

/* --- member.put --- */

static err_t put_member_as(core_t *core, const uuid_t *author, const uuid_t *account,
                           const char *role)
{
    char json[128];
    snprintf(json, sizeof json, "{'account':'%s','role':'%s'}", core_text(core, account), role);
    return core_do(core, author, "member.put", NULL, json);
}

static err_t put(core_t *core, const uuid_t *account, const char *role)
{
    return put_member_as(core, &core->anna, account, role);
}

static void a_new_member_is_told_in_both_streams(void **state)
{
    core_t *core = *state;
    char stan[64];
    char list[64];
    snprintf(stan, sizeof stan, "'%s'", core_text(core, &core->stan));
    snprintf(list, sizeof list, "'%s'", core_text(core, &core->list));
    assert_int_equal(put(core, &core->stan, "editor"), ERR_OK);
    const event_t *added = core_event(core, 1);
    const event_t *joined = core_event(core, 0);
    assert_int_equal(added->type, EVENT_MEMBER_ADDED);
    assert_true(core_has(core, added->set, "account", stan));
    assert_true(core_has(core, added->set, "role", "'editor'"));
    assert_int_equal(joined->type, EVENT_LIST_JOINED);
    assert_true(uuid_eq(&joined->stream, &core->stan));
    assert_true(core_has(core, joined->set, "list", list));
    assert_true(core_has(core, joined->set, "role", "'editor'"));
    assert_true(state_member(core->state, &core->list, &core->stan)->is_dirty);
    assert_int_equal(core_do(core, &core->stan, "task.create", &T1, "{'title':'x'}"), ERR_OK);
}

static void a_former_member_joins_anew(void **state)
{
    core_t *core = *state;
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    core->now_us += US_PER_S;
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_OK);
    assert_int_equal(core_event(core, 1)->type, EVENT_MEMBER_ADDED);
    assert_int_equal(state_member(core->state, &core->list, &core->ben)->since_us, core->now_us);
}

static void a_changed_role_is_an_event_of_the_list_alone(void **state)
{
    core_t *core = *state;
    core->now_us += US_PER_S;
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_OK);
    assert_int_equal(state_n_events(core->state), 1);
    assert_int_equal(core_event(core, 0)->type, EVENT_MEMBER_CHANGED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 2);
    assert_int_equal(count_pairs(core_event(core, 0)->was), 1);
    assert_true(core_has(core, core_event(core, 0)->was, "role", "'editor'"));
    assert_int_equal(state_member(core->state, &core->list, &core->ben)->since_us, CORE_NOW_US);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_FORBIDDEN);
}

static void the_same_role_again_is_an_empty_event(void **state)
{
    core_t *core = *state;
    assert_int_equal(put(core, &core->ben, "editor"), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_MEMBER_CHANGED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(count_pairs(core_event(core, 0)->was), 0);
    assert_false(state_member(core->state, &core->list, &core->ben)->is_dirty);
    assert_int_equal(put(core, &core->anna, "owner"), ERR_OK);
}

static void a_list_keeps_an_owner(void **state)
{
    core_t *core = *state;
    assert_int_equal(put(core, &core->anna, "editor"), ERR_CONFLICT);
    assert_int_equal(put(core, &core->ben, "owner"), ERR_OK);
    assert_int_equal(state_list(core->state, &core->list)->n_owners, 2);
    assert_true(state_list(core->state, &core->list)->is_dirty);
    assert_int_equal(put(core, &core->anna, "viewer"), ERR_OK);
    assert_int_equal(state_list(core->state, &core->list)->n_owners, 1);
    assert_int_equal(put_member_as(core, &core->ben, &core->ben, "viewer"), ERR_CONFLICT);
    assert_int_equal(put(core, &core->vera, "owner"), ERR_FORBIDDEN);
    assert_int_equal(put_member_as(core, &core->ben, &core->anna, "owner"), ERR_OK);
}

static void only_owners_put_members(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->stan, "member.put", NULL, "{}"), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->ben, "member.put", NULL, "{}"), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &core->vera, "member.put", NULL, "{}"), ERR_FORBIDDEN);
    assert_int_equal(core_do(core, &author_recurrence, "member.put", NULL, "{}"), ERR_FORBIDDEN);
    core->scopes = SCOPE_READ;
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, "{}"), ERR_FORBIDDEN);
    core->lists = &core->list;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, "{}"), ERR_FORBIDDEN);
    core->lists = &core->other;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, "{}"), ERR_NOT_FOUND);
    core->in = core->anna;
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, "{}"), ERR_NOT_FOUND);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, "{}"), ERR_NOT_FOUND);
}

static void an_archived_list_may_still_get_members(void **state)
{
    core_t *core = *state;
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(put(core, &core->stan, "viewer"), ERR_OK);
}

static void a_member_is_an_account_with_a_role(void **state)
{
    core_t *core = *state;
    uuid_t nobody = core_id(998);
    assert_int_equal(put(core, &nobody, "viewer"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/account");
    assert_int_equal(put(core, &core->other, "viewer"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/account");
    assert_int_equal(put(core, &core->ben, "none"), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/role");
    assert_int_equal(put(core, &core->ben, "king"), ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, NULL), ERR_INVALID);
    assert_int_equal(core->out.problem.n_fields, 2);
    core->expect = 1;
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_INVALID);
}

static void a_role_may_be_changed_without_adding_anybody(void **state)
{
    core_t *core = *state;
    char json[160];
    snprintf(json, sizeof json, "{'account':'%s','role':'viewer','add':false}",
             core_text(core, &core->stan));
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, json), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL,
                             "{'account':'01935700-0000-7000-8000-00000000ffff','role':'viewer',"
                             "'add':false}"),
                     ERR_NOT_FOUND);
    snprintf(json, sizeof json, "{'account':'%s','role':'viewer','add':false}",
             core_text(core, &core->ben));
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, json), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_MEMBER_CHANGED);
    snprintf(json, sizeof json, "{'account':'%s','role':'viewer','add':1}",
             core_text(core, &core->ben));
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, json), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/add");
}

static void a_list_has_so_many_members_and_no_more(void **state)
{
    core_t *core = *state;
    list_t *list = state_list(core->state, &core->list);
    for (unsigned i = 0; list->n_members < LIMIT_MEMBERS; i++) {
        uuid_t account = core_id(0x10000 + i);
        core_add_member(core, &core->list, &account, ROLE_VIEWER);
    }
    assert_int_equal(put(core, &core->stan, "viewer"), ERR_CONFLICT);
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_OK);
    core_add_member(core, &core->list, &core->vera, ROLE_NONE);
    assert_int_equal(put(core, &core->stan, "viewer"), ERR_OK);
}

/* --- member.remove --- */

static err_t remove_as(core_t *core, const uuid_t *author, const uuid_t *account)
{
    char json[128];
    snprintf(json, sizeof json, "{'account':'%s'}", core_text(core, account));
    return core_do(core, author, "member.remove", NULL, json);
}

static void a_removed_member_is_told_in_both_streams(void **state)
{
    core_t *core = *state;
    char ben[64];
    char list[64];
    snprintf(ben, sizeof ben, "'%s'", core_text(core, &core->ben));
    snprintf(list, sizeof list, "'%s'", core_text(core, &core->list));
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_OK);
    assert_true(uuid_eq(&core->out.stream, &core->list));
    const event_t *removed = core_event(core, 1);
    const event_t *left = core_event(core, 0);
    assert_int_equal(removed->type, EVENT_MEMBER_REMOVED);
    assert_int_equal(removed->rev, core->out.rev);
    assert_true(core_has(core, removed->set, "account", ben));
    assert_true(core_has(core, removed->was, "role", "'editor'"));
    assert_int_equal(left->type, EVENT_LIST_LEFT);
    assert_true(uuid_eq(&left->stream, &core->ben));
    assert_true(core_has(core, left->set, "list", list));
    assert_true(core_has(core, left->was, "role", "'editor'"));
    const member_t *member = state_member(core->state, &core->list, &core->ben);
    assert_true(member->is_dirty);
    assert_int_equal(member->role, ROLE_NONE);
    assert_int_equal(state_list(core->state, &core->list)->n_members, 2);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_NOT_FOUND);
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_NOT_FOUND);
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_OK);
    assert_int_equal(core_event(core, 1)->type, EVENT_MEMBER_ADDED);
}

static void a_removed_members_tasks_lose_him_first(void **state)
{
    core_t *core = *state;
    char json[256];
    make(core, "{'title':'x','due':'2026-11-24','reminders':[{'before':'PT1H','for':'all'}]}");
    snprintf(json, sizeof json, "{'assignee':'%s'}", core_text(core, &core->ben));
    assert_int_equal(patch(core, json), ERR_OK);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2,
                             "{'title':'y','due':'2026-11-24','reminders':[{'before':'PT2H'},"
                             "{'before':'PT3H','for':'assignee'}]}"),
                     ERR_OK);
    assert_int_equal(core_do(core, &core->ben, "task.complete", &T2, NULL), ERR_OK);
    uuid_t other = core_id(0x77);
    assert_int_equal(core_do(core, &core->ben, "task.create", &other, "{'title':'z'}"), ERR_OK);
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_OK);
    assert_true(uuid_is_nil(&core->out.task));
    assert_null(core->out.body.data);
    const event_t *first = core_event(core, 3);
    const event_t *second = core_event(core, 2);
    assert_int_equal(first->type, EVENT_TASK_UPDATED);
    assert_true(first->more && second->more);
    assert_true(core_has(core, first->set, "assignee", "null"));
    assert_int_equal(count_pairs(first->set), 1);
    assert_int_equal(second->type, EVENT_TASK_UPDATED);
    assert_true(uuid_eq(&second->task, &T2));
    assert_int_equal(count_pairs(second->set), 1);
    assert_int_equal(core_task(core, &T2)->n_reminders, 1);
    assert_int_equal(core_task(core, &T2)->reminders[0].whom, FOR_ASSIGNEE);
    assert_int_equal(core_event(core, 1)->type, EVENT_MEMBER_REMOVED);
    assert_int_equal(core_event(core, 1)->rev, core->out.rev);
    assert_false(core_event(core, 1)->more);
    assert_int_equal(core_task(core, &T1)->n_reminders, 1);
    assert_int_equal(core_task(core, &other)->rev, 6);
}

static void what_is_deleted_or_elsewhere_keeps_who_was_removed(void **state)
{
    core_t *core = *state;
    char json[128];
    snprintf(json, sizeof json, "{'title':'x','assignee':'%s'}", core_text(core, &core->ben));
    make(core, json);
    assert_int_equal(core_do(core, &core->anna, "task.delete", &T1, NULL), ERR_OK);
    core_add_member(core, &core->other, &core->ben, ROLE_EDITOR);
    core->in = core->other;
    assert_int_equal(core_do(core, &core->stan, "task.create", &T2, json), ERR_OK);
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_OK);
    assert_int_equal(core_event(core, 1)->type, EVENT_MEMBER_REMOVED);
    assert_true(uuid_eq(&core_task(core, &T1)->assignee, &core->ben));
    assert_true(uuid_eq(&core_task(core, &T2)->assignee, &core->ben));
}

static void anyone_may_leave_but_only_owners_remove_others(void **state)
{
    core_t *core = *state;
    assert_int_equal(remove_as(core, &core->vera, &core->ben), ERR_FORBIDDEN);
    assert_int_equal(remove_as(core, &core->ben, &core->vera), ERR_FORBIDDEN);
    assert_int_equal(remove_as(core, &core->ben, &core->stan), ERR_NOT_FOUND);
    assert_int_equal(remove_as(core, &core->stan, &core->ben), ERR_NOT_FOUND);
    assert_int_equal(remove_as(core, &author_recurrence, &core->ben), ERR_FORBIDDEN);
    core->scopes = SCOPE_READ;
    assert_int_equal(remove_as(core, &core->vera, &core->vera), ERR_FORBIDDEN);
    core->lists = &core->list;
    core->n_lists = 1;
    assert_int_equal(remove_as(core, &core->vera, &core->vera), ERR_FORBIDDEN);
    assert_int_equal(remove_as(core, &core->vera, &core->vera), ERR_OK);
    assert_int_equal(remove_as(core, &core->ben, &core->ben), ERR_OK);
    state_list(core->state, &core->list)->is_archived = true;
    assert_int_equal(put(core, &core->ben, "viewer"), ERR_OK);
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_OK);
}

static void the_last_owner_cannot_leave(void **state)
{
    core_t *core = *state;
    assert_int_equal(remove_as(core, &core->anna, &core->anna), ERR_CONFLICT);
    assert_int_equal(put(core, &core->ben, "owner"), ERR_OK);
    assert_int_equal(remove_as(core, &core->anna, &core->anna), ERR_OK);
    assert_int_equal(state_list(core->state, &core->list)->n_owners, 1);
    assert_int_equal(remove_as(core, &core->ben, &core->ben), ERR_CONFLICT);
}

static void a_removal_names_an_account(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->anna, "member.remove", NULL, NULL), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/account");
    assert_int_equal(core_do(core, &core->anna, "member.remove", NULL, "{'account':'x'}"),
                     ERR_INVALID);
    core->expect = 1;
    assert_int_equal(remove_as(core, &core->anna, &core->ben), ERR_INVALID);
}

static err_t release_as(core_t *core, const uuid_t *author, const uuid_t *account)
{
    char json[128];
    snprintf(json, sizeof json, "{'account':'%s'}", core_text(core, account));
    return core_do(core, author, "member.release", NULL, json);
}

static void what_a_removal_has_left_is_released_later(void **state)
{
    core_t *core = *state;
    char json[128];
    snprintf(json, sizeof json, "{'title':'x','assignee':'%s'}", core_text(core, &core->ben));
    make(core, json);
    assert_int_equal(core_do(core, &core->ben, "task.create", &T2, json), ERR_OK);
    uuid_t other = core_id(0x77);
    assert_int_equal(core_do(core, &core->anna, "task.create", &other, "{'title':'z'}"), ERR_OK);
    assert_int_equal(release_as(core, &author_recurrence, &core->ben), ERR_CONFLICT);
    core_add_member(core, &core->list, &core->ben, ROLE_NONE);
    assert_int_equal(release_as(core, &author_recurrence, &core->ben), ERR_OK);
    const event_t *last = core_event(core, 0);
    assert_int_equal(last->type, EVENT_TASK_UPDATED);
    assert_true(uuid_eq(&last->by, &author_recurrence));
    assert_true(core_has(core, last->set, "assignee", "null"));
    assert_int_equal(last->rev, core->out.rev);
    assert_true(core_event(core, 1)->more && !last->more);
    assert_true(uuid_is_nil(&core->out.task));
    assert_true(uuid_is_nil(&core_task(core, &T1)->assignee));
    assert_true(uuid_is_nil(&core_task(core, &T2)->assignee));
    assert_int_equal(core_task(core, &other)->rev, 4);
    assert_int_equal(release_as(core, &author_recurrence, &core->ben), ERR_CONFLICT);
    assert_int_equal(core_do(core, &author_recurrence, "member.release", NULL, "{}"), ERR_INVALID);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    assert_int_equal(release_as(core, &author_recurrence, &core->ben), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_member_is_told_in_both_streams),
        TEST(a_former_member_joins_anew),
        TEST(a_changed_role_is_an_event_of_the_list_alone),
        TEST(the_same_role_again_is_an_empty_event),
        TEST(a_list_keeps_an_owner),
        TEST(only_owners_put_members),
        TEST(an_archived_list_may_still_get_members),
        TEST(a_member_is_an_account_with_a_role),
        TEST(a_role_may_be_changed_without_adding_anybody),
        TEST(a_list_has_so_many_members_and_no_more),
        TEST(a_removed_member_is_told_in_both_streams),
        TEST(a_removed_members_tasks_lose_him_first),
        TEST(what_is_deleted_or_elsewhere_keeps_who_was_removed),
        TEST(anyone_may_leave_but_only_owners_remove_others),
        TEST(the_last_owner_cannot_leave),
        TEST(a_removal_names_an_account),
        TEST(what_a_removal_has_left_is_released_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
