/* SPDX-License-Identifier: Apache-2.0 */
/* Password hashes: what matches, and that nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>

#include "actors/password.h"

static void a_password_matches_its_own_hash_only(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_CHARS];
    char other[PASSWORD_HASH_CHARS];
    assert_true(password_hash(slice_str("correct horse"), hash));
    assert_true(password_hash(slice_str("correct horse"), other));
    assert_string_not_equal(hash, other); /* salted */
    assert_non_null(strstr(hash, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_true(password_matches(slice_str("correct horse"), slice_str(hash)));
    assert_false(password_matches(slice_str("correct horsf"), slice_str(hash)));
    assert_false(password_matches(slice_str(""), slice_str(hash)));
    /* as an empty text of a request comes */
    assert_false(password_matches((slice_t){0}, slice_str(hash)));
}

static void what_is_no_hash_matches_nothing(void **state)
{
    (void)state;
    static const char *const none[] = {"", "x", "$argon2id$",
                                       "$argon2i$v=19$m=8,t=1,p=1$c2FsdA$aA"};
    char too_long[300];
    memset(too_long, '$', sizeof too_long);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(password_matches(slice_str("x"), slice_str(none[i])));
    assert_false(password_matches(slice_str("x"), slice_none()));
    assert_false(password_matches(slice_str("x"), slice_of(too_long, sizeof too_long)));
}

static void made_up_passwords_differ(void **state)
{
    (void)state;
    char one[PASSWORD_MADE_CHARS + 1];
    char two[PASSWORD_MADE_CHARS + 1];
    password_make(one);
    password_make(two);
    assert_int_equal(strlen(one), PASSWORD_MADE_CHARS);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_matches_its_own_hash_only),
        cmocka_unit_test(what_is_no_hash_matches_nothing),
        cmocka_unit_test(made_up_passwords_differ),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
