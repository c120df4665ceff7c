/* SPDX-License-Identifier: Apache-2.0 */
/* list.create and member.put: two streams at once, roles, and that a list keeps an owner. */
#include "core_test.h"

/* --- list.create --- */

static void a_new_list_is_known_to_its_owner(void **state)
{
    core_t *core = *state;
    uuid_t id = core_id(7);
    core->in = id;
    assert_int_equal(core_do(core, &core->ben, "list.create", NULL, "{'title':'Work'}"), ERR_OK);
    assert_true(uuid_eq(&core->out.stream, &id));
    assert_int_equal(core->out.rev, 1);
    const event_t *created = core_event(core, 1);
    const event_t *joined = core_event(core, 0);
    char ben[64];
    snprintf(ben, sizeof ben, "'%s'", core_text(core, &core->ben));
    assert_int_equal(created->type, EVENT_LIST_CREATED);
    assert_true(uuid_eq(&created->stream, &id));
    assert_int_equal(count_pairs(created->set), 5);
    assert_true(core_has(core, created->set, "title", "'Work'"));
    assert_true(core_has(core, created->set, "archived", "false"));
    assert_true(core_has(core, created->set, "created_at", "'2026-11-23T08:00:00Z'"));
    assert_true(core_has(core, created->set, "created_by", ben));
    assert_true(core_has(core, created->set, "owner", ben));
    assert_int_equal(joined->type, EVENT_LIST_JOINED);
    assert_true(uuid_eq(&joined->stream, &core->ben));
    assert_int_equal(joined->rev, 2);
    assert_true(core_has(core, joined->set, "role", "'owner'"));
    assert_true(core_has(core, joined->set, "title", "'Work'"));
    const list_t *list = state_list(core->state, &id);
    assert_int_equal(list->rev, 1);
    assert_int_equal(list->n_owners, 1);
    assert_true(list->is_new && list->is_dirty);
    assert_true(state_stream(core->state, &id)->is_new);
    assert_int_equal(state_member(core->state, &id, &core->ben)->role, ROLE_OWNER);
    core->in = id;
    assert_int_equal(core_do(core, &core->ben, "task.create", &T1, "{'title':'x'}"), ERR_OK);
}

/* The id is drawn where none is given. */
static void a_list_without_an_id_gets_the_same_one_again(void **state)
{
    core_t *core = *state;
    core_make(core, &core->anna, "list.create", NULL, core_json(core, "{'title':'x'}"));
    core->command.list = UUID_NIL;
    assert_int_equal(core_apply(core), ERR_OK);
    uuid_t id = core->out.stream;
    assert_non_null(state_list(core->state, &id));
    assert_int_equal(core_apply(core), ERR_OK);
    assert_true(core->out.is_replay);
    assert_true(uuid_eq(&core->out.stream, &id));
}

static void an_id_of_any_stream_is_taken(void **state)
{
    core_t *core = *state;
    assert_int_equal(core_do(core, &core->stan, "list.create", NULL, "{}"), ERR_EXISTS);
    core->in = core->anna;
    assert_int_equal(core_do(core, &core->stan, "list.create", NULL, "{}"), ERR_EXISTS);
    core->in = core->stan;
    assert_int_equal(core_do(core, &core->stan, "list.create", NULL, "{}"), ERR_EXISTS);
}

static void who_may_not_create_a_list_is_told(void **state)
{
    core_t *core = *state;
    uuid_t nobody = core_id(998);
    for (int i = 0; i < 4; i++) {
        core->in = core_id(7);
        core->scopes = i == 0 ? SCOPE_READ : SCOPE_READ | SCOPE_WRITE;
        core->lists = i == 1 ? &core->list : NULL;
        core->n_lists = i == 1;
        const uuid_t *author = i == 2 ? &author_reminder : i == 3 ? &nobody : &core->anna;
        assert_int_equal(core_do(core, author, "list.create", NULL, "{}"),
                         i == 3 ? ERR_NOT_FOUND : ERR_FORBIDDEN);
    }
}

static void a_list_needs_a_title_of_one_line(void **state)
{
    core_t *core = *state;
    static const char *const wrong[] = {"{'title':''}", "{'title':null}", "{'title':1}",
                                        "{'title':'a\\nb'}", "{}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        core->in = core_id(7);
        assert_int_equal(core_do(core, &core->anna, "list.create", NULL, wrong[i]), ERR_INVALID);
        assert_string_equal(core_pointer(core), "/title");
    }
    core->in = core_id(7);
    assert_int_equal(
        core_do(core, &core->anna, "list.create", NULL, "{'title':'x','archived':true}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/archived");
    core->in = core_id(7);
    core->expect = 1;
    assert_int_equal(core_do(core, &core->anna, "list.create", NULL, "{'title':'x'}"), ERR_INVALID);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_list_is_known_to_its_owner),
        TEST(a_list_without_an_id_gets_the_same_one_again),
        TEST(an_id_of_any_stream_is_taken),
        TEST(who_may_not_create_a_list_is_told),
        TEST(a_list_needs_a_title_of_one_line),
        TEST(a_new_member_is_told_in_both_streams),
        TEST(a_former_member_joins_anew),
        TEST(a_changed_role_is_an_event_of_the_list_alone),
        TEST(the_same_role_again_is_an_empty_event),
        TEST(a_list_keeps_an_owner),
        TEST(only_owners_put_members),
        TEST(an_archived_list_may_still_get_members),
        TEST(a_member_is_an_account_with_a_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
