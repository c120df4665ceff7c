/* SPDX-License-Identifier: Apache-2.0 */
/* Lists made, changed, deleted and restored, and who is told. */
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

/* --- list.patch --- */

static err_t patch_list(core_t *core, const char *json)
{
    return core_do(core, &core->anna, "list.patch", NULL, json);
}

static void a_renamed_list_says_what_changed(void **state)
{
    core_t *core = *state;
    core->now_us += US_PER_S;
    assert_int_equal(patch_list(core, "{'title':'Garden','archived':false}"), ERR_OK);
    const event_t *updated = core_event(core, 0);
    assert_int_equal(state_n_events(core->state), 1);
    assert_int_equal(updated->type, EVENT_LIST_UPDATED);
    assert_int_equal(count_pairs(updated->set), 1);
    assert_true(core_has(core, updated->set, "title", "'Garden'"));
    assert_true(core_has(core, updated->was, "title", "'Home'"));
    assert_int_equal(count_pairs(updated->was), 1);
    const list_t *list = state_list(core->state, &core->list);
    ASSERT_TEXT(list->title, "Garden");
    assert_int_equal(list->rev, 2);
    assert_int_equal(list->updated_at_us, core->now_us);
    assert_true(list->is_dirty);
}

static void a_patch_of_a_list_that_changes_nothing_leaves_its_rev(void **state)
{
    core_t *core = *state;
    core->now_us += US_PER_S;
    assert_int_equal(patch_list(core, "{'title':'Home'}"), ERR_OK);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(core->out.rev, 2);
    assert_int_equal(state_list(core->state, &core->list)->rev, 1);
    assert_int_equal(state_list(core->state, &core->list)->updated_at_us, CORE_NOW_US - US_PER_DAY);
    assert_int_equal(patch_list(core, NULL), ERR_OK);
}

static void an_archived_list_takes_no_tasks_until_it_is_not(void **state)
{
    core_t *core = *state;
    assert_int_equal(patch_list(core, "{'archived':true}"), ERR_OK);
    assert_true(core_has(core, core_event(core, 0)->was, "archived", "false"));
    assert_int_equal(core_do(core, &core->anna, "task.create", &T1, "{'title':'x'}"), ERR_CONFLICT);
    assert_int_equal(patch_list(core, "{'archived':false}"), ERR_OK);
    make(core, "{'title':'x'}");
}

static void a_list_is_expected_by_its_own_rev(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    core->expect = 2; /* the stream's head */
    assert_int_equal(patch_list(core, "{'title':'Attic'}"), ERR_PRECONDITION_FAILED);
    core->expect = 1;
    assert_int_equal(patch_list(core, "{'title':'Garden'}"), ERR_OK);
    core->expect = 1;
    assert_int_equal(patch_list(core, "{'title':'Cellar'}"), ERR_PRECONDITION_FAILED);
    slice_t current = core->out.problem.current;
    assert_int_equal(count_pairs(current), 10);
    assert_true(core_has(core, current, "title", "'Garden'"));
    assert_true(core_has(core, current, "rev", "3"));
    assert_true(core_has(core, current, "head", "3"));
    assert_true(core_has(core, current, "role", "'owner'"));
    assert_true(core_has(core, current, "open", "1"));
    core->expect = 1;
    core->scopes = SCOPE_WRITE;
    assert_int_equal(patch_list(core, "{}"), ERR_PRECONDITION_FAILED);
    assert_null(core->out.problem.current.data);
    static const char *const ops[] = {"list.delete", "list.restore"};
    for (size_t i = 0; i < 2; i++) {
        core->expect = 2;
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, NULL), ERR_PRECONDITION_FAILED);
        core->expect = i == 0 ? 3 : 4;
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, NULL), ERR_OK);
    }
}

static void a_wrong_patch_of_a_list_names_the_place(void **state)
{
    core_t *core = *state;
    static const char *const wrong[][2] = {
        {"{'title':''}", "/title"},
        {"{'title':null}", "/title"},
        {"{'title':'a\\nb'}", "/title"},
        {"{'archived':null}", "/archived"},
        {"{'archived':'yes'}", "/archived"},
        {"{'colour':'red'}", "/colour"},
        {"{'rev':1}", "/rev"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(patch_list(core, wrong[i][0]), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong[i][1]);
    }
}

/* --- list.delete, list.restore --- */

static void a_deleted_list_is_gone_for_all_members(void **state)
{
    core_t *core = *state;
    char list[64];
    make(core, "{'title':'x'}");
    snprintf(list, sizeof list, "'%s'", core_text(core, &core->list));
    assert_int_equal(core_do(core, &core->anna, "list.delete", NULL, NULL), ERR_OK);
    assert_true(uuid_eq(&core->out.stream, &core->list));
    assert_int_equal(core->out.rev, 3);
    const event_t *deleted = core_event(core, 3);
    assert_int_equal(deleted->type, EVENT_LIST_DELETED);
    assert_true(core_has(core, deleted->set, "deleted_at", "'2026-11-23T08:00:00Z'"));
    assert_true(core_has(core, deleted->was, "deleted_at", "null"));
    const uuid_t accounts[] = {core->vera, core->ben, core->anna};
    const char *const roles[] = {"'viewer'", "'editor'", "'owner'"};
    for (size_t i = 0; i < 3; i++) {
        const event_t *left = core_event(core, i);
        assert_int_equal(left->type, EVENT_LIST_LEFT);
        assert_true(uuid_eq(&left->stream, &accounts[i]));
        assert_true(core_has(core, left->set, "list", list));
        assert_true(core_has(core, left->was, "role", roles[i]));
        assert_int_equal(core_do(core, &accounts[i], "task.patch", &T1, "{}"), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &accounts[i], "list.delete", NULL, NULL), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &accounts[i], "list.patch", NULL, NULL), ERR_NOT_FOUND);
    }
}

static void a_restored_list_is_as_it_was(void **state)
{
    core_t *core = *state;
    make(core, "{'title':'x'}");
    assert_int_equal(core_do(core, &core->anna, "list.delete", NULL, NULL), ERR_OK);
    core->now_us += US_PER_S;
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, NULL), ERR_OK);
    const event_t *restored = core_event(core, 3);
    assert_int_equal(restored->type, EVENT_LIST_RESTORED);
    assert_true(core_has(core, restored->set, "title", "'Home'"));
    assert_true(core_has(core, restored->set, "archived", "false"));
    assert_true(core_has(core, restored->set, "deleted_at", "null"));
    assert_true(core_has(core, restored->was, "deleted_at", "'2026-11-23T08:00:00Z'"));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(core_event(core, i)->type, EVENT_LIST_JOINED);
    assert_true(uuid_eq(&core_event(core, 1)->stream, &core->ben));
    assert_true(core_has(core, core_event(core, 1)->set, "role", "'editor'"));
    assert_true(core_has(core, core_event(core, 1)->set, "title", "'Home'"));
    assert_int_equal(core_do(core, &core->ben, "task.patch", &T1, "{'title':'y'}"), ERR_OK);
    assert_int_equal(core_do(core, &core->vera, "task.patch", &T1, "{}"), ERR_FORBIDDEN);
}

static void only_owners_change_lists(void **state)
{
    core_t *core = *state;
    static const char *const ops[] = {"list.patch", "list.delete", "list.restore"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(core_do(core, &core->stan, ops[i], NULL, NULL), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &core->ben, ops[i], NULL, NULL), ERR_FORBIDDEN);
        assert_int_equal(core_do(core, &core->vera, ops[i], NULL, NULL), ERR_FORBIDDEN);
        assert_int_equal(core_do(core, &author_reminder, ops[i], NULL, NULL), ERR_FORBIDDEN);
        core->scopes = SCOPE_READ;
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, NULL), ERR_FORBIDDEN);
        core->in = core->anna;
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, NULL), ERR_NOT_FOUND);
    }
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, NULL), ERR_CONFLICT);
    assert_int_equal(core_do(core, &core->anna, "list.delete", NULL, "{'why':1}"), ERR_INVALID);
}

static void only_owners_find_a_deleted_list(void **state)
{
    core_t *core = *state;
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    assert_int_equal(core_do(core, &core->ben, "list.restore", NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->stan, "list.restore", NULL, NULL), ERR_NOT_FOUND);
    core->scopes = SCOPE_READ;
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, NULL), ERR_FORBIDDEN);
    core->lists = &core->other;
    core->n_lists = 1;
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, "{'why':1}"), ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "list.restore", NULL, NULL), ERR_OK);
}

static void a_token_for_some_lists_renames_them_but_takes_none_away(void **state)
{
    core_t *core = *state;
    static const char *const ops[] = {"list.delete", "list.patch", "list.restore"};
    static const err_t ends[] = {ERR_FORBIDDEN, ERR_OK, ERR_FORBIDDEN};
    for (size_t i = 0; i < 3; i++) {
        if (i == 2)
            state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
        core->lists = &core->list;
        core->n_lists = 1;
        assert_int_equal(core_do(core, &core->anna, ops[i], NULL, NULL), ends[i]);
    }
}

/* Whoever is to be told must be locked; who may not ask learns nothing of it. */
static void a_list_is_not_deleted_without_the_locks_of_its_members(void **state)
{
    core_t *core = *state;
    shard_set_t mine = shard_bit(&core->list) | shard_bit(&core->anna);
    shard_set_t others = (shard_bit(&core->ben) | shard_bit(&core->vera)) & ~mine;
    assert_true(others != 0);
    state_hold(core->state, mine);
    assert_int_equal(core_do(core, &core->ben, "list.delete", NULL, NULL), ERR_FORBIDDEN);
    assert_true(core->out.missing == 0);
    assert_int_equal(core_do(core, &core->anna, "list.delete", NULL, NULL), ERR_OK);
    assert_true(core->out.missing == others);
    assert_int_equal(state_n_events(core->state), 0);
    state_hold(core->state, mine | others);
    assert_int_equal(core_apply(core), ERR_OK);
    assert_false(core->out.is_replay);
    assert_int_equal(state_n_events(core->state), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_list_is_known_to_its_owner),
        TEST(a_list_without_an_id_gets_the_same_one_again),
        TEST(an_id_of_any_stream_is_taken),
        TEST(who_may_not_create_a_list_is_told),
        TEST(a_list_needs_a_title_of_one_line),
        TEST(a_renamed_list_says_what_changed),
        TEST(a_patch_of_a_list_that_changes_nothing_leaves_its_rev),
        TEST(an_archived_list_takes_no_tasks_until_it_is_not),
        TEST(a_list_is_expected_by_its_own_rev),
        TEST(a_wrong_patch_of_a_list_names_the_place),
        TEST(a_deleted_list_is_gone_for_all_members),
        TEST(a_restored_list_is_as_it_was),
        TEST(only_owners_change_lists),
        TEST(only_owners_find_a_deleted_list),
        TEST(a_token_for_some_lists_renames_them_but_takes_none_away),
        TEST(a_list_is_not_deleted_without_the_locks_of_its_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
