/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: between threads, from clients, what makes two of them one request, and what each needs
 * loaded. */
#include "core_test.h"

#define ID "01930000-0000-7000-8000-00000000000a"
#define LIST "01930000-0000-7000-8000-00000000000b"
#define TASK "01930000-0000-7000-8000-00000000000c"

static uuid_t id_of(const char *text)
{
    uuid_t id;
    assert_true(uuid_parse(slice_str(text), &id));
    return id;
}

static void every_op_has_a_name_of_its_own(void **unused)
{
    (void)unused;
    for (int op = 0; op < OP_COUNT; op++)
        assert_int_equal(op_of(slice_str(op_name((op_t)op))), op);
    assert_int_equal(op_of(slice_str("task.explode")), OP_COUNT);
    assert_int_equal(op_of(slice_none()), OP_COUNT);
    assert_int_equal(op_from(OP_TASK_PATCH), OP_FROM_CLIENT);
    assert_int_equal(op_from(OP_TOKEN_CREATE), OP_FROM_GATEWAY);
    assert_int_equal(op_from(OP_TASK_REMIND), OP_FROM_ACTOR);
    assert_false(uuid_eq(&author_recurrence, &author_reminder));
}

/* --- between threads --- */

static void make_full(core_t *core, uuid_t lists[2])
{
    lists[0] = core->list;
    lists[1] = core->other;
    core->lists = lists;
    core->n_lists = 2;
    core->expect = -1;
    core_make(core, &core->anna, "task.patch", &T1, core_json(core, "{'title':'x'}"));
    core->command.n_bulk = 1000;
    core->command.reply_to = UINT32_MAX;
    core->command.tag = UINT64_MAX - 3;
}

static void a_command_arrives_as_it_was_sent(void **state)
{
    core_t *core = *state;
    uuid_t lists[2];
    make_full(core, lists);
    buf_t bytes = {0};
    command_t read;
    command_encode(&core->command, &bytes);
    mp_reader_t reader = mp_reader(buf_slice(&bytes));
    assert_true(command_decode(&reader, core->arena, &read));
    assert_int_equal(mp_peek(&reader), MP_END);
    assert_true(uuid_eq(&read.id, &core->command.id));
    assert_true(uuid_eq(&read.author, &core->anna));
    assert_true(uuid_eq(&read.task, &T1));
    assert_true(uuid_eq(&read.list, &core->list));
    assert_int_equal(read.op, OP_TASK_PATCH);
    assert_int_equal(read.expect, -1);
    assert_int_equal(read.scopes, SCOPE_READ | SCOPE_WRITE);
    assert_int_equal(read.n_lists, 2);
    assert_true(uuid_eq(&read.lists[1], &core->other));
    assert_memory_equal(read.fingerprint, core->command.fingerprint, FINGERPRINT_BYTES);
    assert_true(slice_eq(read.data, core->command.data));
    assert_int_equal(read.n_bulk, 1000);
    assert_int_equal(read.reply_to, UINT32_MAX);
    assert_true(read.tag == UINT64_MAX - 3);
    buf_fini(&bytes);
}

static void a_command_without_data_arrives_without(void **state)
{
    core_t *core = *state;
    buf_t bytes = {0};
    command_t read;
    core_make(core, &author_reminder, "task.remind", &T1, slice_none());
    command_encode(&core->command, &bytes);
    mp_reader_t reader = mp_reader(buf_slice(&bytes));
    assert_true(command_decode(&reader, core->arena, &read));
    assert_null(read.data.data);
    assert_null(read.lists);
    assert_true(read.is_actor);
    buf_fini(&bytes);
}

static void bytes_that_are_cut_are_no_command(void **state)
{
    core_t *core = *state;
    uuid_t lists[2];
    command_t read;
    buf_t bytes = {0};
    make_full(core, lists);
    command_encode(&core->command, &bytes);
    for (size_t n = 0; n < bytes.n_bytes; n++) {
        mp_reader_t reader = mp_reader(slice_of(bytes.data, n));
        assert_false(command_decode(&reader, core->arena, &read));
    }
    buf_fini(&bytes);
}

/* --- the fingerprint --- */

static bool same_request(core_t *core, const char *a, const char *b)
{
    command_t one = {.op = OP_TASK_PATCH, .data = core_json(core, a)};
    command_t two = {.op = OP_TASK_PATCH, .data = core_json(core, b)};
    command_fingerprint(&one);
    command_fingerprint(&two);
    return memcmp(one.fingerprint, two.fingerprint, FINGERPRINT_BYTES) == 0;
}

static void the_order_of_fields_makes_no_difference(void **state)
{
    core_t *core = *state;
    assert_true(same_request(core, "{'a':1,'b':{'x':[1,{'p':1,'q':2}],'y':2}}",
                             "{'b':{'y':2,'x':[1,{'q':2,'p':1}]},'a':1}"));
    static const char *const different[] = {
        "{}",
        "{'a':1}",
        "{'a':2}",
        "{'b':1}",
        "{'a':'1'}",
        "{'a':null}",
        "{'a':[1]}",
        "{'a':[1,2]}",
        "{'a':[2,1]}",
        "{'a':[[1],2]}",
        "{'a':[[1,2]]}",
        "{'a':{'1':2}}",
        "{'a':1,'b':2}",
        "{'a':2,'b':1}",
        "{'a':{'b':1}}",
        "{'a':{},'b':1}",
        "{'a':'','b':1}",
        "{'ab':1}",
        "{'a':'b'}",
        "{'a':'bc'}",
    };
    for (size_t i = 0; i < sizeof different / sizeof different[0]; i++) {
        for (size_t j = 0; j < i; j++)
            assert_false(same_request(core, different[i], different[j]));
    }
}

static bool has_same_fingerprint(const command_t *a, command_t b)
{
    command_fingerprint(&b);
    return memcmp(a->fingerprint, b.fingerprint, FINGERPRINT_BYTES) == 0;
}

static void what_was_asked_counts_and_who_asked_does_not(void **state)
{
    core_t *core = *state;
    core_make(core, &core->anna, "task.patch", &T1, core_json(core, "{'a':1}"));
    command_t other = core->command;
    other.author = core->ben;
    other.id = T2;
    other.scopes = 0;
    other.tag = 7;
    assert_true(has_same_fingerprint(&core->command, other));
    other.expect = 1;
    assert_false(has_same_fingerprint(&core->command, other));
    other.expect = 0;
    other.task = T2;
    assert_false(has_same_fingerprint(&core->command, other));
    other.task = T1;
    other.list = core->other;
    assert_false(has_same_fingerprint(&core->command, other));
    other.list = core->list;
    other.op = OP_TASK_COMPLETE;
    assert_false(has_same_fingerprint(&core->command, other));
    other.op = OP_TASK_PATCH;
    other.data = slice_none();
    assert_false(has_same_fingerprint(&core->command, other));
}

static void maps_with_many_fields_have_fingerprints(void **state)
{
    core_t *core = *state;
    buf_t json = {0};
    buf_append_str(&json, "{'x':0");
    for (int i = 0; i < 100; i++)
        buf_format(&json, ",'%d':%d", i, i);
    buf_append_byte(&json, '}');
    buf_append_byte(&json, '\0');
    assert_true(same_request(core, (const char *)json.data, (const char *)json.data));
    assert_false(same_request(core, (const char *)json.data, "{'x':0}"));
    buf_fini(&json);
}

/* --- from clients --- */

static err_t from_client(core_t *core, const char *json)
{
    return command_from_client(core_json(core, json), core->arena, &core->command,
                               &core->out.problem);
}

static void a_clients_command_is_read(void **state)
{
    core_t *core = *state;
    assert_int_equal(from_client(core, "{'id':'" ID "','op':'task.patch','list':'" LIST
                                       "','task':'" TASK "','expect':3,'data':{'title':'x'}}"),
                     ERR_OK);
    uuid_t id = id_of(ID);
    uuid_t list = id_of(LIST);
    uuid_t task = id_of(TASK);
    const command_t *command = &core->command;
    assert_true(uuid_eq(&command->id, &id));
    assert_true(uuid_eq(&command->list, &list));
    assert_true(uuid_eq(&command->task, &task));
    assert_int_equal(command->op, OP_TASK_PATCH);
    assert_int_equal(command->expect, 3);
    assert_true(core_has(core, command->data, "title", "'x'"));
    command_t again = *command;
    assert_true(has_same_fingerprint(command, again));
}

static void what_may_be_left_out_is_left_out(void **state)
{
    core_t *core = *state;
    static const char *const fine[] = {
        "{'id':'" ID "','op':'task.create','list':'" LIST "'}",
        "{'id':'" ID "','op':'task.complete','task':'" TASK
        "','list':null,'expect':null,'data':null}",
        "{'id':'" ID "','op':'list.create','data':{}}",
        "{'id':'" ID "','op':'account.patch','data':{'name':'x'}}",
        "{'id':'" ID "','op':'member.put','list':'" LIST "'}",
        "{'id':'" ID "','op':'list.delete','list':'" LIST "'}",
    };
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_int_equal(from_client(core, fine[i]), ERR_OK);
}

static void a_wrong_command_is_refused_with_its_place(void **state)
{
    core_t *core = *state;
    static const struct {
        const char *json;
        const char *pointer;
    } wrong[] = {
        {"[]", ""},
        {"null", ""},
        {"{'op':'list.create'}", "/id"},
        {"{'id':null,'op':'list.create'}", "/id"},
        {"{'id':'1','op':'list.create'}", "/id"},
        {"{'id':'" ID "'}", "/op"},
        {"{'id':'" ID "','op':7}", "/op"},
        {"{'id':'" ID "','op':'task.explode'}", "/op"},
        {"{'id':'" ID "','op':'task.remind','task':'" TASK "'}", "/op"},
        {"{'id':'" ID "','op':'task.succeed','task':'" TASK "'}", "/op"},
        {"{'id':'" ID "','op':'account.create'}", "/op"},
        {"{'id':'" ID "','op':'token.create'}", "/op"},
        {"{'id':'" ID "','op':'token.delete'}", "/op"},
        {"{'id':'" ID "','op':'account.delete'}", "/op"},
        {"{'id':'" ID "','op':'task.create'}", "/list"},
        {"{'id':'" ID "','op':'task.create','list':'x'}", "/list"},
        {"{'id':'" ID "','op':'member.put'}", "/list"},
        {"{'id':'" ID "','op':'member.remove'}", "/list"},
        {"{'id':'" ID "','op':'list.patch'}", "/list"},
        {"{'id':'" ID "','op':'list.delete'}", "/list"},
        {"{'id':'" ID "','op':'list.restore'}", "/list"},
        {"{'id':'" ID "','op':'task.patch'}", "/task"},
        {"{'id':'" ID "','op':'task.complete','list':'" LIST "'}", "/task"},
        {"{'id':'" ID "','op':'task.reopen','task':1}", "/task"},
        {"{'id':'" ID "','op':'list.create','task':'" TASK "'}", "/task"},
        {"{'id':'" ID "','op':'list.create','expect':0}", "/expect"},
        {"{'id':'" ID "','op':'list.create','expect':'1'}", "/expect"},
        {"{'id':'" ID "','op':'list.create','data':[]}", "/data"},
        {"{'id':'" ID "','op':'list.create','author':'" ID "'}", "/author"},
        {"{'id':'" ID "','op':'list.create','scopes':3}", "/scopes"},
        {"{'id':'" ID "','op':'account.patch','data':{'password_hash':'x'}}",
         "/data/password_hash"},
        {"{'id':'" ID "','op':'account.patch','data':{'password_hash':null}}",
         "/data/password_hash"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(from_client(core, wrong[i].json), ERR_INVALID);
        assert_string_equal(core_pointer(core), wrong[i].pointer);
    }
    assert_int_equal(
        command_from_client(slice_none(), core->arena, &core->command, &core->out.problem),
        ERR_INVALID);
}

static void broken_bytes_are_no_clients_command(void **state)
{
    core_t *core = *state;
    slice_t whole = core_json(core, "{'id':'" ID "','op':'task.patch','task':'" TASK
                                    "','data':{'title':'x','tags':['a']}}");
    for (size_t n = 0; n < whole.n_bytes; n++)
        assert_int_equal(command_from_client(slice_of(whole.data, n), core->arena, &core->command,
                                             &core->out.problem),
                         ERR_INVALID);
}

/* --- ids --- */

static void drawn_ids_depend_on_author_and_command_alone(void **state)
{
    core_t *core = *state;
    command_t command = {.id = id_of(ID), .author = core->anna, .op = OP_TASK_CREATE};
    uuid_t task = command_task(&command);
    assert_int_equal(task.bytes[6] >> 4, 7);
    assert_int_equal(task.bytes[8] >> 6, 2);
    assert_memory_equal(task.bytes, command.id.bytes, 6);
    command.data = core_json(core, "{}");
    command.list = core->list;
    uuid_t again = command_task(&command);
    assert_true(uuid_eq(&task, &again));
    command.author = core->ben;
    again = command_task(&command);
    assert_false(uuid_eq(&task, &again));
    command.op = OP_LIST_CREATE;
    command.author = core->anna;
    command.list = UUID_NIL;
    uuid_t list = command_list(&command);
    assert_false(uuid_eq(&task, &list));
    command.op = OP_TASK_CREATE;
    command.id.bytes[6] = 0x40;
    again = command_task(&command);
    assert_int_equal(again.bytes[6] >> 4, 7);
    assert_memory_not_equal(again.bytes, command.id.bytes, 6);
}

static void ids_that_are_given_are_kept(void **state)
{
    core_t *core = *state;
    for (int op = 0; op < OP_COUNT; op++) {
        command_t command = {.id = id_of(ID), .author = core->anna, .op = (op_t)op};
        uuid_t task = command_task(&command);
        uuid_t list = command_list(&command);
        bool is_own = op == OP_ACCOUNT_CREATE || op == OP_ACCOUNT_PATCH ||
                      op == OP_ACCOUNT_DELETE || op == OP_TOKEN_CREATE || op == OP_TOKEN_DELETE;
        assert_int_equal(uuid_is_nil(&task), op != OP_TASK_CREATE);
        assert_int_equal(uuid_eq(&list, &core->anna), is_own);
        assert_int_equal(uuid_is_nil(&list), !is_own && op != OP_LIST_CREATE);
        command.task = T1;
        command.list = core->other;
        task = command_task(&command);
        list = command_list(&command);
        assert_true(uuid_eq(&task, &T1));
        assert_true(uuid_eq(&list, &core->other));
    }
}

/* --- what is loaded --- */

static bool has_id(const uuid_t *ids, uint32_t n_ids, const uuid_t *id)
{
    for (uint32_t i = 0; i < n_ids; i++) {
        if (uuid_eq(&ids[i], id))
            return true;
    }
    return false;
}

static bool has_member(const command_refs_t *refs, const uuid_t *list, const uuid_t *account)
{
    for (uint32_t i = 0; i < refs->n_members; i++) {
        if (uuid_eq(&refs->members[i].list, list) && uuid_eq(&refs->members[i].account, account))
            return true;
    }
    return false;
}

static command_refs_t refs_of(core_t *core, const uuid_t *author, const char *op,
                              const uuid_t *task, const char *json)
{
    command_refs_t refs;
    core_make(core, author, op, task, core_json(core, json));
    core_next(core);
    command_refs(&core->command, &refs);
    return refs;
}

static void work_on_a_task_needs_list_task_and_author(void **state)
{
    core_t *core = *state;
    static const char *const ops[] = {"task.create", "task.patch", "task.complete", "task.reopen",
                                      "task.delete"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        command_refs_t refs = refs_of(core, &core->anna, ops[i], &T1, "{'assignee':7}");
        assert_int_equal(refs.n_streams, 1);
        assert_true(uuid_eq(&refs.streams[0], &core->list));
        assert_int_equal(refs.n_tasks, 1);
        assert_true(uuid_eq(&refs.tasks[0], &T1));
        assert_int_equal(refs.n_members, 1);
        assert_true(has_member(&refs, &core->list, &core->anna));
        assert_int_equal(refs.n_accounts, 1);
        assert_true(uuid_eq(&refs.accounts[0], &core->anna));
        assert_true(uuid_is_nil(&refs.token) && uuid_is_nil(&refs.series_of));
        assert_true(command_shards(&refs) == shard_bit(&core->list));
    }
}

static void an_assignee_must_be_known(void **state)
{
    core_t *core = *state;
    command_refs_t refs = refs_of(core, &core->anna, "task.create", NULL, "{'assignee':'" ID "'}");
    uuid_t assignee = id_of(ID);
    uuid_t task = command_task(&core->command);
    assert_int_equal(refs.n_members, 2);
    assert_true(has_member(&refs, &core->list, &assignee));
    assert_true(has_id(refs.tasks, refs.n_tasks, &task));
    char json[128];
    snprintf(json, sizeof json, "{'assignee':'%s'}", core_text(core, &core->anna));
    refs = refs_of(core, &core->anna, "task.patch", &T1, json);
    assert_int_equal(refs.n_members, 1);
}

static void actors_need_no_membership(void **state)
{
    core_t *core = *state;
    command_refs_t refs =
        refs_of(core, &author_recurrence, "task.succeed", &T2, "{'succeeds':'" TASK "'}");
    uuid_t before = id_of(TASK);
    assert_int_equal(refs.n_members, 0);
    assert_int_equal(refs.n_accounts, 0);
    assert_int_equal(refs.n_tasks, 2);
    assert_true(has_id(refs.tasks, refs.n_tasks, &T2));
    assert_true(has_id(refs.tasks, refs.n_tasks, &before));
    assert_true(uuid_eq(&refs.series_of, &before));
    refs = refs_of(core, &author_reminder, "task.remind", &T1, "{}");
    assert_int_equal(refs.n_tasks, 1);
    assert_int_equal(refs.n_members, 0);
}

static void ops_on_two_streams_lock_both(void **state)
{
    core_t *core = *state;
    command_refs_t refs = refs_of(core, &core->anna, "list.create", NULL, "{}");
    assert_int_equal(refs.n_streams, 2);
    assert_true(has_id(refs.streams, 2, &core->list) && has_id(refs.streams, 2, &core->anna));
    assert_true(has_id(refs.accounts, refs.n_accounts, &core->anna));
    assert_true(command_shards(&refs) == (shard_bit(&core->list) | shard_bit(&core->anna)));
    refs = refs_of(core, &core->anna, "member.put", NULL, "{'account':'" ID "','role':'viewer'}");
    uuid_t account = id_of(ID);
    assert_int_equal(refs.n_streams, 2);
    assert_true(uuid_eq(&refs.streams[0], &core->list));
    assert_true(uuid_eq(&refs.streams[1], &account));
    assert_true(has_member(&refs, &core->list, &core->anna));
    assert_true(has_member(&refs, &core->list, &account));
    assert_true(has_id(refs.accounts, refs.n_accounts, &account));
    refs = refs_of(core, &core->anna, "member.put", NULL, "{'account':null}");
    assert_int_equal(refs.n_streams, 1);
}

static void what_concerns_a_whole_list_loads_more_of_it(void **state)
{
    core_t *core = *state;
    uuid_t account = id_of(ID);
    static const char *const ops[] = {"list.delete", "list.restore", "list.patch"};
    for (size_t i = 0; i < 3; i++) {
        command_refs_t refs = refs_of(core, &core->anna, ops[i], NULL, "{}");
        assert_int_equal(refs.n_streams, 1);
        assert_true(has_member(&refs, &core->list, &core->anna));
        assert_int_equal(uuid_eq(&refs.members_of, &core->list), i < 2);
        assert_true(uuid_is_nil(&refs.concerns.list));
    }
    command_refs_t refs = refs_of(core, &core->anna, "member.remove", NULL, "{'account':'" ID "'}");
    assert_int_equal(refs.n_streams, 2);
    assert_true(has_member(&refs, &core->list, &account));
    assert_true(uuid_eq(&refs.concerns.list, &core->list));
    assert_true(uuid_eq(&refs.concerns.account, &account));
    assert_true(uuid_is_nil(&refs.members_of));
}

static void ops_on_an_account_need_it_and_the_token(void **state)
{
    core_t *core = *state;
    static const struct {
        const char *op;
        const char *json;
        bool has_token;
    } ops[] = {
        {"account.create", "{}", false},           {"account.patch", "{}", false},
        {"token.create", "{'id':'" ID "'}", true}, {"token.delete", "{'token':'" ID "'}", true},
        {"token.delete", "{'token':1}", false},
    };
    uuid_t token = id_of(ID);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        core->in = core->anna;
        command_refs_t refs = refs_of(core, &core->anna, ops[i].op, NULL, ops[i].json);
        assert_int_equal(refs.n_streams, 1);
        assert_true(uuid_eq(&refs.streams[0], &core->anna));
        assert_int_equal(refs.n_accounts, 1);
        assert_int_equal(refs.n_tasks, 0);
        assert_int_equal(uuid_eq(&refs.token, &token), ops[i].has_token);
    }
}

static void a_first_account_locks_everything(void **state)
{
    core_t *core = *state;
    core->in = core->anna;
    command_refs_t refs = refs_of(core, &core->anna, "account.create", NULL, "{'first':true}");
    assert_true(refs.any_account);
    assert_true(command_shards(&refs) == SHARDS_ALL);
    static const char *const others[] = {"{'first':false}", "{'first':1}", "{}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        core->in = core->anna;
        refs = refs_of(core, &core->anna, "account.create", NULL, others[i]);
        assert_false(refs.any_account);
        assert_true(command_shards(&refs) == shard_bit(&core->anna));
    }
}

static void who_goes_is_asked_for_lists(void **state)
{
    core_t *core = *state;
    core->in = core->anna;
    command_refs_t refs = refs_of(core, &core->anna, "account.delete", NULL, "{}");
    assert_true(uuid_eq(&refs.leaving, &core->anna));
    assert_true(has_id(refs.accounts, refs.n_accounts, &core->anna));
    core->in = core->anna;
    refs = refs_of(core, &core->anna, "account.patch", NULL, "{}");
    assert_true(uuid_is_nil(&refs.leaving));
}

static void a_sealed_fingerprint_tells_requests_apart_but_not_which(void **state)
{
    (void)state;
    uint8_t asked[2][FINGERPRINT_BYTES] = {{1}, {2}};
    uint8_t salts[2][SALT_BYTES] = {{3}, {4}};
    uint8_t sealed[3][FINGERPRINT_BYTES];
    command_seal_fingerprint(asked[0], salts[0], sealed[0]);
    command_seal_fingerprint(asked[1], salts[0], sealed[1]);
    command_seal_fingerprint(asked[0], salts[1], sealed[2]);
    assert_memory_not_equal(sealed[0], asked[0], FINGERPRINT_BYTES);
    assert_memory_not_equal(sealed[0], sealed[1], FINGERPRINT_BYTES);
    assert_memory_not_equal(sealed[0], sealed[2], FINGERPRINT_BYTES);
    command_seal_fingerprint(asked[0], salts[0], sealed[1]);
    assert_memory_equal(sealed[0], sealed[1], FINGERPRINT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_op_has_a_name_of_its_own),
        TEST(a_command_arrives_as_it_was_sent),
        TEST(a_command_without_data_arrives_without),
        TEST(bytes_that_are_cut_are_no_command),
        TEST(the_order_of_fields_makes_no_difference),
        TEST(what_was_asked_counts_and_who_asked_does_not),
        TEST(maps_with_many_fields_have_fingerprints),
        TEST(a_clients_command_is_read),
        TEST(what_may_be_left_out_is_left_out),
        TEST(a_wrong_command_is_refused_with_its_place),
        TEST(broken_bytes_are_no_clients_command),
        TEST(drawn_ids_depend_on_author_and_command_alone),
        TEST(ids_that_are_given_are_kept),
        TEST(work_on_a_task_needs_list_task_and_author),
        TEST(an_assignee_must_be_known),
        TEST(actors_need_no_membership),
        TEST(ops_on_two_streams_lock_both),
        TEST(who_goes_is_asked_for_lists),
        TEST(a_sealed_fingerprint_tells_requests_apart_but_not_which),
        TEST(what_concerns_a_whole_list_loads_more_of_it),
        TEST(ops_on_an_account_need_it_and_the_token),
        TEST(a_first_account_locks_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
