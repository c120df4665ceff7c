/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of tokens, with a database that answers when the test says so: what is believed for how
 * long, that one lookup serves all who ask, and that what must be forgotten is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/auth.h"

/* --- a database in place of reads.c and pg_result.c --- */

typedef struct {
    pg_done_f *done;
    void *arg;
} read_t;

static read_t under_way[64];
static size_t n_under_way;
static int n_reads;
static err_t next_err;
static uuid_t stored_account;
static uuid_t stored_token;
static int64_t stored_expiry_us;
static uuid_t stored_lists[2];
static size_t n_stored_lists;
static int n_rows;

err_t reads_query(reads_t *self, const pg_stmt_t *stmt, const pg_params_t *params, pg_done_f *done,
                  void *arg)
{
    (void)self;
    (void)stmt;
    assert_int_equal(params->n_params, 1);
    assert_int_equal(params->params[0].n_bytes, AUTH_HASH_BYTES);
    n_reads++;
    if (next_err != ERR_OK)
        return next_err;
    under_way[n_under_way++] = (read_t){done, arg};
    return ERR_OK;
}

int pg_rows(const pg_result_t *self)
{
    (void)self;
    return n_rows;
}

int64_t pg_int(const pg_result_t *self, int row, int col)
{
    (void)self;
    (void)row;
    return col == 2 ? TOKEN_API : SCOPE_READ;
}

uuid_t pg_uuid(const pg_result_t *self, int row, int col)
{
    (void)self;
    (void)row;
    return col == 0 ? stored_account : stored_token;
}

int64_t pg_instant(const pg_result_t *self, int row, int col)
{
    (void)self;
    (void)row;
    (void)col;
    return stored_expiry_us;
}

size_t pg_uuid_array(const pg_result_t *self, int row, int col, uuid_t *out, size_t max)
{
    (void)self;
    (void)row;
    (void)col;
    assert_true(max >= n_stored_lists);
    memcpy(out, stored_lists, n_stored_lists * sizeof *out);
    return n_stored_lists;
}

static void answer_one(pg_fate_t fate)
{
    assert_true(n_under_way > 0);
    read_t first = under_way[0];
    memmove(under_way, under_way + 1, --n_under_way * sizeof *under_way);
    first.done(first.arg, fate, NULL);
}

/* --- who asks --- */

typedef struct {
    int n_answers;
    err_t err;
    identity_t identity;
    uuid_t lists[2];
} asker_t;

static void on_answer(void *arg, err_t err, const identity_t *identity)
{
    asker_t *self = arg;
    self->n_answers++;
    self->err = err;
    assert_true((err == ERR_OK) == (identity != NULL));
    if (identity == NULL)
        return;
    self->identity = *identity;
    for (uint32_t i = 0; i < identity->n_lists; i++)
        self->lists[i] = identity->lists[i];
}

static gateway_t gateway;
static char secret[AUTH_SECRET_CHARS + 1];

/* An answer that comes later still has somewhere to go. */
static asker_t ask(const char *text)
{
    static asker_t asker;
    asker = (asker_t){0};
    auth_identify(gateway.auth, slice_str(text), on_answer, &asker);
    return asker;
}

/* Asks, and lets the database answer. */
static asker_t ask_database(const char *text, pg_fate_t fate)
{
    asker_t asker = {0};
    auth_identify(gateway.auth, slice_str(text), on_answer, &asker);
    assert_int_equal(asker.n_answers, 0);
    answer_one(fate);
    assert_int_equal(asker.n_answers, 1);
    return asker;
}

static int set_up(void **state)
{
    (void)state;
    n_under_way = 0;
    n_reads = 0;
    next_err = ERR_OK;
    n_rows = 1;
    n_stored_lists = 0;
    stored_account = uuid_v7(1);
    stored_token = uuid_v7(2);
    stored_expiry_us = INSTANT_NONE;
    gateway.now = (now_t){.wall_us = INT64_C(1795420800000000), .mono_us = 1000};
    gateway.auth = auth_new(&gateway);
    auth_make_secret(secret);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    while (n_under_way > 0)
        answer_one(PG_LOST);
    auth_destroy(&gateway.auth);
    return 0;
}

static void what_was_found_is_believed_for_five_seconds(void **unused)
{
    (void)unused;
    asker_t asker = ask_database(secret, PG_OK);
    assert_int_equal(asker.err, ERR_OK);
    assert_true(uuid_eq(&asker.identity.account, &stored_account));
    gateway.now.mono_us += AUTH_KNOWN_US - 1;
    assert_int_equal(ask(secret).err, ERR_OK);
    assert_int_equal(n_reads, 1);
    gateway.now.mono_us += 1;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_OK);
    assert_int_equal(n_reads, 2);
}

static void that_there_is_no_such_token_is_believed_for_one(void **unused)
{
    (void)unused;
    n_rows = 0;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_UNAUTHENTICATED);
    assert_int_equal(ask(secret).err, ERR_UNAUTHENTICATED);
    assert_int_equal(n_reads, 1);
    gateway.now.mono_us += AUTH_UNKNOWN_US;
    n_rows = 1;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_OK);
}

static void what_has_no_form_of_a_secret_is_not_even_looked_up(void **unused)
{
    (void)unused;
    char longer[AUTH_SECRET_CHARS + 2];
    snprintf(longer, sizeof longer, "%sx", secret);
    assert_int_equal(ask("").err, ERR_UNAUTHENTICATED);
    assert_int_equal(ask("tw_").err, ERR_UNAUTHENTICATED);
    assert_int_equal(ask(longer).err, ERR_UNAUTHENTICATED);
    secret[0] = 'T';
    assert_int_equal(ask(secret).err, ERR_UNAUTHENTICATED);
    assert_int_equal(n_reads, 0);
}

static void one_lookup_serves_all_who_ask(void **unused)
{
    (void)unused;
    asker_t askers[10] = {0};
    for (int i = 0; i < 10; i++)
        auth_identify(gateway.auth, slice_str(secret), on_answer, &askers[i]);
    assert_int_equal(n_reads, 1);
    answer_one(PG_OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(askers[i].n_answers, 1);
        assert_int_equal(askers[i].err, ERR_OK);
    }
}

static void a_failed_lookup_says_nothing_of_the_token(void **unused)
{
    (void)unused;
    assert_int_equal(ask_database(secret, PG_LOST).err, ERR_UNAVAILABLE);
    assert_int_equal(ask_database(secret, PG_RETRY).err, ERR_UNAVAILABLE);
    next_err = ERR_OVERLOADED;
    assert_int_equal(ask(secret).err, ERR_OVERLOADED);
    next_err = ERR_OK;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_OK);
}

static void the_lists_of_a_token_come_along(void **unused)
{
    (void)unused;
    n_stored_lists = 2;
    stored_lists[0] = uuid_v7(7);
    stored_lists[1] = uuid_v7(8);
    asker_t first = ask_database(secret, PG_OK);
    asker_t again = ask(secret);
    assert_int_equal(first.identity.n_lists, 2);
    assert_int_equal(again.identity.n_lists, 2);
    assert_true(uuid_eq(&again.lists[1], &stored_lists[1]));
}

static void a_token_ends_at_its_time_although_it_is_cached(void **unused)
{
    (void)unused;
    stored_expiry_us = gateway.now.wall_us + 1000;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_OK);
    gateway.now.wall_us += 999;
    assert_int_equal(ask(secret).err, ERR_OK);
    gateway.now.wall_us += 1;
    assert_int_equal(ask(secret).err, ERR_UNAUTHENTICATED);
}

static void a_deleted_token_is_looked_up_again_at_once(void **unused)
{
    (void)unused;
    access_t access = {.account = stored_account, .token = stored_token};
    ask_database(secret, PG_OK);
    auth_forget(gateway.auth, &access);
    n_rows = 0;
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_UNAUTHENTICATED);
}

static void only_what_is_meant_is_forgotten(void **unused)
{
    (void)unused;
    uuid_t other = uuid_v7(9);
    access_t of_other_token = {.account = stored_account, .token = other};
    access_t of_other_account = {.account = other};
    access_t of_a_list = {.account = stored_account, .list = other};
    access_t of_account = {.account = stored_account};
    ask_database(secret, PG_OK);
    auth_forget(gateway.auth, &of_other_token);
    auth_forget(gateway.auth, &of_other_account);
    auth_forget(gateway.auth, &of_a_list);
    assert_int_equal(ask(secret).n_answers, 1);
    auth_forget(gateway.auth, &of_account);
    assert_int_equal(ask(secret).n_answers, 0);
    answer_one(PG_LOST);
}

/* It may have read what was before, so it is neither kept nor joined. */
static void a_lookup_that_began_before_is_not_believed_afterwards(void **unused)
{
    (void)unused;
    access_t access = {.account = stored_account, .token = stored_token};
    asker_t before = {0};
    asker_t after = {0};
    auth_identify(gateway.auth, slice_str(secret), on_answer, &before);
    auth_forget(gateway.auth, &access);
    auth_identify(gateway.auth, slice_str(secret), on_answer, &after);
    assert_int_equal(n_reads, 2);
    answer_one(PG_OK);
    assert_int_equal(before.n_answers, 1);
    assert_int_equal(after.n_answers, 0);
    n_rows = 0;
    answer_one(PG_OK);
    assert_int_equal(after.err, ERR_UNAUTHENTICATED);
    assert_int_equal(ask(secret).err, ERR_UNAUTHENTICATED);
}

static void a_lookup_that_began_before_is_not_kept(void **unused)
{
    (void)unused;
    access_t access = {.account = stored_account, .token = stored_token};
    asker_t before = {0};
    for (int rows = 1; rows >= 0; rows--) {
        n_rows = rows;
        auth_identify(gateway.auth, slice_str(secret), on_answer, &before);
        auth_forget(gateway.auth, &access);
        answer_one(PG_OK);
        n_rows = 1 - rows; /* what it is by now */
        assert_int_equal(ask_database(secret, PG_OK).err, rows ? ERR_UNAUTHENTICATED : ERR_OK);
        auth_forget_all(gateway.auth);
    }
    assert_int_equal(before.n_answers, 2);
}

static void a_flood_of_wrong_secrets_pushes_out_no_right_one(void **unused)
{
    (void)unused;
    ask_database(secret, PG_OK);
    n_rows = 0;
    for (int i = 0; i < 3 * AUTH_MAX_UNKNOWN; i++) {
        char wrong[AUTH_SECRET_CHARS + 1];
        auth_make_secret(wrong);
        ask_database(wrong, PG_OK);
    }
    assert_int_equal(ask(secret).err, ERR_OK);
}

static void old_entries_are_dropped_by_the_tick(void **unused)
{
    (void)unused;
    ask_database(secret, PG_OK);
    gateway.now.mono_us += AUTH_KNOWN_US;
    auth_on_tick(gateway.auth);
    assert_int_equal(ask(secret).n_answers, 0);
    answer_one(PG_OK);
    auth_forget_all(gateway.auth);
    assert_int_equal(ask_database(secret, PG_OK).err, ERR_OK);
}

static void secrets_differ_and_have_their_form(void **unused)
{
    (void)unused;
    char other[AUTH_SECRET_CHARS + 1];
    auth_make_secret(other);
    assert_int_equal(strlen(secret), AUTH_SECRET_CHARS);
    assert_memory_equal(secret, "tw_", 3);
    assert_string_not_equal(secret, other);
    assert_int_equal(
        strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        AUTH_SECRET_CHARS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(what_was_found_is_believed_for_five_seconds),
        TEST(that_there_is_no_such_token_is_believed_for_one),
        TEST(what_has_no_form_of_a_secret_is_not_even_looked_up),
        TEST(one_lookup_serves_all_who_ask),
        TEST(a_failed_lookup_says_nothing_of_the_token),
        TEST(the_lists_of_a_token_come_along),
        TEST(a_token_ends_at_its_time_although_it_is_cached),
        TEST(a_deleted_token_is_looked_up_again_at_once),
        TEST(only_what_is_meant_is_forgotten),
        TEST(a_lookup_that_began_before_is_not_believed_afterwards),
        TEST(a_lookup_that_began_before_is_not_kept),
        TEST(a_flood_of_wrong_secrets_pushes_out_no_right_one),
        TEST(old_entries_are_dropped_by_the_tick),
        TEST(secrets_differ_and_have_their_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
