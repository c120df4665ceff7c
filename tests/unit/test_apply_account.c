/* SPDX-License-Identifier: Apache-2.0 */
/* account.create, account.patch, token.create, token.delete: what they do, who may, and that
 * neither names, addresses nor hashes get into the log. */
#include "core_test.h"

#define REGISTRATION                                                                               \
    "{'email':'nora@example.org','time_zone':'Asia/Tokyo','password_hash':'$argon2id$new'}"
#define TOKEN_ID "0a0a0a0a-0a0a-7a0a-8a0a-0a0a0a0a0a0a"
#define TOKEN "'id':'" TOKEN_ID "','name':'script','kind':'api','scopes':['read','write']"

static const uuid_t TOKEN_UUID = {{0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x7a, 0x0a, 0x8a, 0x0a, 0x0a,
                                   0x0a, 0x0a, 0x0a, 0x0a, 0x0a}};

/* A command of an account about itself. */
static err_t own(core_t *core, const uuid_t *account, const char *op, const char *json)
{
    core->in = *account;
    return core_do(core, account, op, NULL, json);
}

/* The same with a hash of 32 bytes, which JSON has no form for, at the front. */
static err_t own_with_hash(core_t *core, const uuid_t *account, const char *json, size_t n_bytes)
{
    static const uint8_t hash[33] = "hash of the secret of this token";
    slice_t map = core_json(core, json);
    mp_reader_t reader = mp_reader(map);
    uint32_t n_pairs = 0;
    assert_true(mp_get_map(&reader, &n_pairs));
    buf_t out = {0};
    mp_put_map(&out, n_pairs + 1);
    mp_put_cstr(&out, "hash");
    mp_put_bin(&out, slice_of(hash, n_bytes));
    buf_append(&out, reader.at, (size_t)(reader.end - reader.at));
    slice_t data = arena_copy(core->arena, buf_slice(&out));
    buf_fini(&out);
    core->in = *account;
    core_make(core, account, "token.create", NULL, data);
    return core_apply(core);
}

static bool body_contains(core_t *core, const char *text)
{
    const state_event_t *event = state_event_at(core->state, state_n_events(core->state) - 1);
    return memmem(event->body.data, event->body.n_bytes, text, strlen(text)) != NULL;
}

/* --- account.create --- */

static void a_new_account_is_told_without_name_or_address(void **state)
{
    core_t *core = *state;
    uuid_t nora = core_id(0xa5);
    core->scopes = 0;
    assert_int_equal(own(core, &nora, "account.create",
                         "{'email':'nora@example.org','name':'Nora','time_zone':'Asia/Tokyo',"
                         "'password_hash':'$argon2id$new'}"),
                     ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_ACCOUNT_CREATED);
    assert_int_equal(event->rev, 1);
    assert_int_equal(count_pairs(event->set), 2);
    assert_true(core_has(core, event->set, "time_zone", "'Asia/Tokyo'"));
    assert_true(core_has(core, event->set, "all_day_reminder_time", "'09:00'"));
    assert_false(body_contains(core, "nora"));
    assert_false(body_contains(core, "Nora"));
    assert_false(body_contains(core, "argon"));
    const account_t *account = state_account(core->state, &nora);
    ASSERT_TEXT(account->email, "nora@example.org");
    ASSERT_TEXT(account->name, "Nora");
    ASSERT_TEXT(account->password_hash, "$argon2id$new");
    assert_true(account->is_new && account->is_dirty);
    assert_int_equal(account->rev, 1);
    assert_true(state_stream(core->state, &nora)->is_account);
    core->in = core_id(7);
    assert_int_equal(core_do(core, &nora, "list.create", NULL, "{'title':'x'}"), ERR_OK);
}

static void an_account_is_made_by_itself_and_once(void **state)
{
    core_t *core = *state;
    uuid_t nora = core_id(0xa5);
    core->in = nora;
    assert_int_equal(core_do(core, &core->anna, "account.create", NULL, REGISTRATION),
                     ERR_NOT_FOUND);
    assert_int_equal(own(core, &core->anna, "account.create", REGISTRATION), ERR_EXISTS);
    assert_int_equal(own(core, &core->list, "account.create", REGISTRATION), ERR_EXISTS);
    assert_int_equal(own(core, &author_reminder, "account.create", REGISTRATION), ERR_FORBIDDEN);
    core->expect = 1;
    assert_int_equal(own(core, &nora, "account.create", REGISTRATION), ERR_INVALID);
}

static void an_account_that_must_be_the_first_is_refused_where_there_is_one(void **unused)
{
    core_t *core = *unused;
    static const char first[] =
        "{'email':'nora@example.org','time_zone':'UTC','password_hash':'h','first':true}";
    uuid_t nora = core_id(0xa5);
    uuid_t otto = core_id(0xa6);
    assert_int_equal(own(core, &nora, "account.create", first), ERR_FORBIDDEN);
    core->state = state_new(core->arena, CORE_EPOCH);
    state_put_any_account(core->state);
    assert_int_equal(own(core, &nora, "account.create", first), ERR_FORBIDDEN);
    assert_null(state_account(core->state, &nora));
    core->state = state_new(core->arena, CORE_EPOCH);
    assert_int_equal(own(core, &nora, "account.create", "{'first':1}"), ERR_INVALID);
    assert_int_equal(own(core, &nora, "account.create", first), ERR_OK);
    assert_int_equal(own(core, &otto, "account.create", first), ERR_FORBIDDEN);
    assert_int_equal(own(core, &otto, "account.create",
                         "{'email':'otto@example.org','time_zone':'UTC','password_hash':'h',"
                         "'first':false}"),
                     ERR_OK);
}

static void an_address_is_plausible(void **state)
{
    core_t *core = *state;
    uuid_t nora = core_id(0xa5);
    char json[600];
    char address[300];
    static const char *const wrong[] = {"",     "x",     "@",     "@x",     "x@",
                                        "a@@b", "a@b@c", "a b@c", "a@b\\nc"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(json, sizeof json, "{'email':'%s','time_zone':'UTC','password_hash':'h'}",
                 wrong[i]);
        assert_int_equal(own(core, &nora, "account.create", json), ERR_INVALID);
        assert_string_equal(core_pointer(core), "/email");
    }
    memset(address, 'x', sizeof address);
    address[1] = '@';
    for (int n = 255; n >= 254; n--) {
        snprintf(json, sizeof json, "{'email':'%.*s','time_zone':'UTC','password_hash':'h'}", n,
                 address);
        assert_int_equal(own(core, &nora, "account.create", json), n == 254 ? ERR_OK : ERR_INVALID);
    }
    nora = core_id(0xa6);
    snprintf(json, sizeof json, "{'email':'%.*sü','time_zone':'UTC','password_hash':'h'}", 253,
             address);
    assert_int_equal(own(core, &nora, "account.create", json), ERR_INVALID);
}

static void what_an_account_needs_is_said(void **state)
{
    core_t *core = *state;
    uuid_t nora = core_id(0xa5);
    assert_int_equal(own(core, &nora, "account.create", NULL), ERR_INVALID);
    assert_int_equal(core->out.problem.n_fields, 3);
    assert_int_equal(own(core, &nora, "account.create",
                         "{'email':'n@x','time_zone':'Nowhere','password_hash':'h'}"),
                     ERR_INVALID);
    assert_string_equal(core_pointer(core), "/time_zone");
    assert_int_equal(
        own(core, &nora, "account.create", "{'email':'n@x','time_zone':'UTC','password_hash':''}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/password_hash");
    assert_int_equal(
        own(core, &nora, "account.create",
            "{'email':'n@x','time_zone':'UTC','password':'secret','password_hash':'h'}"),
        ERR_INVALID);
    assert_string_equal(core_pointer(core), "/password");
}

/* --- account.patch --- */

static void a_changed_account_says_what_but_not_how(void **state)
{
    core_t *core = *state;
    core->now_us += US_PER_S;
    assert_int_equal(own(core, &core->anna, "account.patch",
                         "{'name':'Annabel','time_zone':'UTC','password_hash':'$argon2id$other'}"),
                     ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_ACCOUNT_UPDATED);
    assert_int_equal(count_pairs(event->set), 2);
    assert_true(core_has(core, event->set, "time_zone", "'UTC'"));
    assert_true(core_has(core, event->set, "changed", "['name','password']"));
    assert_true(core_has(core, event->was, "time_zone", "'Europe/Zurich'"));
    assert_false(body_contains(core, "Annabel"));
    assert_false(body_contains(core, "argon"));
    const account_t *account = state_account(core->state, &core->anna);
    ASSERT_TEXT(account->name, "Annabel");
    ASSERT_TEXT(account->time_zone, "UTC");
    ASSERT_TEXT(account->password_hash, "$argon2id$other");
    assert_int_equal(account->rev, 2);
    assert_int_equal(account->updated_at_us, core->now_us);
    assert_true(account->is_dirty);
}

static void a_patch_names_only_what_changed(void **state)
{
    core_t *core = *state;
    assert_int_equal(
        own(core, &core->anna, "account.patch", "{'name':null,'time_zone':'Europe/Zurich'}"),
        ERR_OK);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 1);
    assert_true(core_has(core, core_event(core, 0)->set, "changed", "['name']"));
    assert_int_equal(count_pairs(core_event(core, 0)->was), 0);
    ASSERT_TEXT(state_account(core->state, &core->anna)->name, "");
    assert_int_equal(own(core, &core->anna, "account.patch", NULL), ERR_OK);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 0);
    assert_int_equal(state_account(core->state, &core->anna)->rev, 2);
    assert_int_equal(core->out.rev, 3);
}

static void an_account_says_when_all_day_tasks_remind(void **state)
{
    core_t *core = *state;
    assert_int_equal(own(core, &core->anna, "account.patch", "{'all_day_reminder_time':'07:30'}"),
                     ERR_OK);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 1);
    assert_true(core_has(core, core_event(core, 0)->set, "all_day_reminder_time", "'07:30'"));
    assert_true(core_has(core, core_event(core, 0)->was, "all_day_reminder_time", "'09:00'"));
    ASSERT_TEXT(state_account(core->state, &core->anna)->all_day_time, "07:30");
}

static void an_account_has_a_revision_of_its_own(void **state)
{
    core_t *core = *state;
    core->in = core_id(7);
    assert_int_equal(core_do(core, &core->anna, "list.create", NULL, "{'title':'x'}"), ERR_OK);
    core->expect = 2;
    assert_int_equal(own(core, &core->anna, "account.patch", "{'x':1}"), ERR_PRECONDITION_FAILED);
    assert_true(core_has(core, core->out.problem.current, "rev", "1"));
    assert_true(core_has(core, core->out.problem.current, "email", "'161@example.org'"));
    core->expect = -1;
    core->scopes = SCOPE_WRITE;
    assert_int_equal(own(core, &core->anna, "account.patch", "{}"), ERR_PRECONDITION_FAILED);
    assert_null(core->out.problem.current.data);
    core->expect = 1;
    assert_int_equal(own(core, &core->anna, "account.patch", "{'name':'A'}"), ERR_OK);
    core->expect = 1;
    assert_int_equal(own(core, &core->anna, "account.patch", "{'name':'A'}"),
                     ERR_PRECONDITION_FAILED);
    core->expect = 3;
    assert_int_equal(own(core, &core->anna, "account.patch", "{'name':'B'}"), ERR_OK);
}

static void wrong_values_of_an_account_are_refused(void **state)
{
    core_t *core = *state;
    static const struct {
        const char *json;
        const char *pointer;
    } wrong[] = {
        {"{'name':1}", "/name"},
        {"{'name':'a\\tb'}", "/name"},
        {"{'time_zone':null}", "/time_zone"},
        {"{'time_zone':'UTC+25'}", "/time_zone"},
        {"{'time_zone':1}", "/time_zone"},
        {"{'all_day_reminder_time':null}", "/all_day_reminder_time"},
        {"{'all_day_reminder_time':'24:00'}", "/all_day_reminder_time"},
        {"{'all_day_reminder_time':9}", "/all_day_reminder_time"},
        {"{'password_hash':null}", "/password_hash"},
        {"{'email':'other@example.org'}", "/email"},
        {"{'id':null}", "/id"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(own(core, &core->anna, "account.patch", wrong[i].json), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong[i].pointer);
    }
}

static const char *const own_ops[] = {"account.patch", "token.create", "token.delete"};

static void an_account_is_there_for_itself_only(void **state)
{
    core_t *core = *state;
    uuid_t nobody = core_id(998);
    for (size_t i = 0; i < sizeof own_ops / sizeof own_ops[0]; i++) {
        core->in = core->ben;
        assert_int_equal(core_do(core, &core->anna, own_ops[i], NULL, "{'x':1}"), ERR_NOT_FOUND);
        assert_int_equal(core_do(core, &core->anna, own_ops[i], NULL, "{'x':1}"), ERR_NOT_FOUND);
        assert_int_equal(own(core, &nobody, own_ops[i], "{'x':1}"), ERR_NOT_FOUND);
        core->lists = &core->list;
        core->n_lists = 1;
        assert_int_equal(own(core, &core->anna, own_ops[i], "{'x':1}"), ERR_FORBIDDEN);
        core->scopes = SCOPE_READ;
        assert_int_equal(own(core, &core->anna, own_ops[i], "{'x':1}"), ERR_FORBIDDEN);
        assert_int_equal(own(core, &author_recurrence, own_ops[i], "{'x':1}"), ERR_FORBIDDEN);
        assert_int_equal(own(core, &core->anna, own_ops[i], "{'x':1}"), ERR_INVALID);
    }
}

/* --- tokens --- */

static void a_new_token_is_told_without_its_hash(void **state)
{
    core_t *core = *state;
    char json[512];
    snprintf(json, sizeof json,
             "{" TOKEN ",'lists':['%s'],'expires_at':'2026-12-01T00:00:00+01:00'}",
             core_text(core, &core->list));
    assert_int_equal(own_with_hash(core, &core->anna, json, 32), ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_TOKEN_CREATED);
    assert_int_equal(count_pairs(event->set), 6);
    assert_true(core_has(core, event->set, "token", "'" TOKEN_ID "'"));
    assert_true(core_has(core, event->set, "name", "'script'"));
    assert_true(core_has(core, event->set, "kind", "'api'"));
    assert_true(core_has(core, event->set, "scopes", "['read','write']"));
    assert_true(core_has(core, event->set, "expires_at", "'2026-11-30T23:00:00Z'"));
    assert_false(body_contains(core, "hash"));
    const token_t *token = state_token(core->state, &TOKEN_UUID);
    assert_true(uuid_eq(&token->account, &core->anna));
    assert_int_equal(token->kind, TOKEN_API);
    assert_int_equal(token->scopes, SCOPE_READ | SCOPE_WRITE);
    assert_int_equal(token->n_lists, 1);
    assert_true(uuid_eq(&token->lists[0], &core->list));
    assert_int_equal(token->hash.n_bytes, 32);
    assert_true(token->is_new);
    assert_int_equal(state_account(core->state, &core->anna)->rev, 1);
}

static void a_session_is_for_all_lists_and_ever(void **state)
{
    core_t *core = *state;
    assert_int_equal(
        own_with_hash(core, &core->anna,
                      "{'id':'" TOKEN_ID "','name':'','kind':'session',"
                      "'scopes':['write','read','read'],'lists':null,'expires_at':null}",
                      32),
        ERR_OK);
    const token_t *token = state_token(core->state, &TOKEN_UUID);
    assert_int_equal(token->kind, TOKEN_SESSION);
    assert_int_equal(token->n_lists, 0);
    assert_int_equal(token->expires_at_us, INSTANT_NONE);
    assert_true(core_has(core, core_event(core, 0)->set, "kind", "'session'"));
    assert_true(core_has(core, core_event(core, 0)->set, "lists", "null"));
    assert_true(core_has(core, core_event(core, 0)->set, "expires_at", "null"));
}

static void wrong_values_of_a_token_are_refused(void **state)
{
    core_t *core = *state;
    static const struct {
        const char *json;
        const char *pointer;
    } wrong[] = {
        {"{'id':'x','name':'n','kind':'api','scopes':['read']}", "/id"},
        {"{'id':'" TOKEN_ID "','kind':'api','scopes':['read']}", "/name"},
        {"{'id':'" TOKEN_ID "','name':'n','kind':'web','scopes':['read']}", "/kind"},
        {"{'id':'" TOKEN_ID "','name':'n','kind':'api','scopes':[]}", "/scopes"},
        {"{'id':'" TOKEN_ID "','name':'n','kind':'api','scopes':['read','admin']}", "/scopes/1"},
        {"{" TOKEN ",'lists':[]}", "/lists"},
        {"{" TOKEN ",'lists':[null]}", "/lists/0"},
        {"{" TOKEN ",'expires_at':'2026-11-23T08:00:00Z'}", "/expires_at"},
        {"{" TOKEN ",'expires_at':'never'}", "/expires_at"},
        {"{" TOKEN ",'secret':'x'}", "/secret"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(own_with_hash(core, &core->anna, wrong[i].json, 32), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong[i].pointer);
    }
    assert_int_equal(own_with_hash(core, &core->anna, "{" TOKEN "}", 31), ERR_INVALID);
    assert_string_equal(core_pointer(core), "/hash");
    assert_int_equal(own(core, &core->anna, "token.create", "{" TOKEN ",'hash':'text'}"),
                     ERR_INVALID);
    assert_string_equal(core_pointer(core), "/hash");
    core->expect = 1;
    assert_int_equal(own_with_hash(core, &core->anna, "{" TOKEN "}", 32), ERR_INVALID);
}

static void a_token_is_made_and_deleted_once_by_its_account(void **state)
{
    core_t *core = *state;
    assert_int_equal(own(core, &core->anna, "token.delete", "{'token':'" TOKEN_ID "'}"),
                     ERR_NOT_FOUND);
    assert_int_equal(own_with_hash(core, &core->anna, "{" TOKEN "}", 32), ERR_OK);
    assert_int_equal(own_with_hash(core, &core->anna, "{" TOKEN "}", 32), ERR_EXISTS);
    assert_int_equal(own_with_hash(core, &core->ben, "{" TOKEN "}", 32), ERR_EXISTS);
    assert_int_equal(own(core, &core->ben, "token.delete", "{'token':'" TOKEN_ID "'}"),
                     ERR_NOT_FOUND);
    assert_int_equal(own(core, &core->anna, "token.delete", "{}"), ERR_INVALID);
    core->expect = 1;
    assert_int_equal(own(core, &core->anna, "token.delete", "{'token':'" TOKEN_ID "'}"),
                     ERR_INVALID);
    assert_int_equal(own(core, &core->anna, "token.delete", "{'token':'" TOKEN_ID "'}"), ERR_OK);
    assert_int_equal(core_event(core, 0)->type, EVENT_TOKEN_DELETED);
    assert_int_equal(count_pairs(core_event(core, 0)->set), 1);
    assert_true(core_has(core, core_event(core, 0)->set, "token", "'" TOKEN_ID "'"));
    assert_true(state_token(core->state, &TOKEN_UUID)->is_deleted);
    assert_int_equal(own(core, &core->anna, "token.delete", "{'token':'" TOKEN_ID "'}"),
                     ERR_NOT_FOUND);
}

/* --- account.delete --- */

static void an_erased_account_is_not_there_any_more(void **state)
{
    core_t *core = *state;
    uuid_t token = TOKEN_UUID;
    core_add_member(core, &core->list, &core->vera, ROLE_NONE);
    assert_int_equal(own_with_hash(core, &core->vera, "{" TOKEN "}", 32), ERR_OK);
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_OK);
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_ACCOUNT_DELETED);
    assert_true(uuid_eq(&event->stream, &core->vera));
    assert_int_equal(count_pairs(event->set), 0);
    assert_null(state_account(core->state, &core->vera));
    assert_true(state_token(core->state, &token)->is_deleted);
    assert_int_equal(own(core, &core->vera, "account.patch", "{'name':'V'}"), ERR_NOT_FOUND);
    assert_int_equal(own(core, &core->vera, "list.create", "{'title':'x'}"), ERR_NOT_FOUND);
    char json[128];
    snprintf(json, sizeof json, "{'account':'%s','role':'viewer'}", core_text(core, &core->vera));
    assert_int_equal(core_do(core, &core->anna, "member.put", NULL, json), ERR_INVALID);
}

static void who_is_in_a_list_is_not_erased(void **state)
{
    core_t *core = *state;
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_CONFLICT);
    state_list(core->state, &core->list)->deleted_at_us = CORE_NOW_US;
    state_account(core->state, &core->vera)->n_lists = 1;
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_CONFLICT);
    state_account(core->state, &core->vera)->n_lists = 0;
    core->expect = 1;
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_INVALID);
    assert_int_equal(own(core, &core->vera, "account.delete", "{'why':1}"), ERR_INVALID);
    core->scopes = SCOPE_READ;
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_FORBIDDEN);
    core->in = core->vera;
    assert_int_equal(core_do(core, &core->anna, "account.delete", NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(own(core, &core->vera, "account.delete", NULL), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_account_is_told_without_name_or_address),
        TEST(an_account_is_made_by_itself_and_once),
        TEST(an_account_that_must_be_the_first_is_refused_where_there_is_one),
        TEST(an_address_is_plausible),
        TEST(what_an_account_needs_is_said),
        TEST(a_changed_account_says_what_but_not_how),
        TEST(a_patch_names_only_what_changed),
        TEST(an_account_says_when_all_day_tasks_remind),
        TEST(an_account_has_a_revision_of_its_own),
        TEST(wrong_values_of_an_account_are_refused),
        TEST(an_account_is_there_for_itself_only),
        TEST(a_new_token_is_told_without_its_hash),
        TEST(an_erased_account_is_not_there_any_more),
        TEST(who_is_in_a_list_is_not_erased),
        TEST(a_session_is_for_all_lists_and_ever),
        TEST(wrong_values_of_a_token_are_refused),
        TEST(a_token_is_made_and_deleted_once_by_its_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
