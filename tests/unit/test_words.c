/* SPDX-License-Identifier: Apache-2.0 */
/* The words of texts, of what is searched for, and what titles are sorted by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "schema/words.h"

static void assert_document(const char *text, const char *expected)
{
    buf_t out = {0};
    words_put_document(slice_str(text), &out);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void assert_query(const char *text, const char *expected)
{
    buf_t out = {0};
    assert_int_equal(words_put_query(slice_str(text), &out), expected != NULL);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected == NULL ? "" : expected);
    buf_fini(&out);
}

static void assert_key(const char *title, const char *expected)
{
    buf_t out = {0};
    words_put_sort_key(slice_str(title), &out);
    buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void case_accents_and_compatible_forms_do_not_count(void **unused)
{
    (void)unused;
    assert_document("Äpfel", "'apfel' ");
    assert_document("A\u0308pfel", "'apfel' ");
    assert_document("ＡＰＦＥＬ", "'apfel' ");
    assert_document("Straße STRASSE", "'strasse' 'strasse' ");
    assert_document("ﬁn Œuvre Ðađ", "'fin' 'œuvre' 'ðađ' ");
    assert_document("Ελλάδα ς", "'ελλαδα' 'σ' ");
    assert_document("Ёлка й", "'елка' 'и' ");
}

static void words_are_runs_of_letters_and_digits(void **unused)
{
    (void)unused;
    assert_document("milk, 2 l (1.5%); e-mail me@example.org!",
                    "'milk' '2' 'l' '1' '5' 'e' 'mail' 'me' 'example' 'org' ");
    assert_document("it's \\ a'b\"c :* | & ! <->", "'it' 's' 'a' 'b' 'c' ");
    assert_document("x² ½", "'x2' '1' '2' ");
    assert_document("", "");
    assert_document(" \t\n - … ", "");
}

static void a_character_of_a_script_without_blanks_is_a_word(void **unused)
{
    (void)unused;
    assert_document("牛乳を買う", "'牛' '乳' 'を' '買' 'う' ");
    assert_document("Tokyo東京2020", "'tokyo' '東' '京' '2020' ");
    assert_document("party🎉now", "'party' '🎉' 'now' ");
}

static void a_query_asks_for_all_words_and_the_beginning_of_the_last(void **unused)
{
    (void)unused;
    assert_query("milk", "'milk':*");
    assert_query("Fresh  Mil", "'fresh' & 'mil':*");
    assert_query("milk!", "'milk':*");
    assert_query("\"a\" OR -b:* & 'c", "'a' & 'or' & 'b' & 'c':*");
    assert_query("", NULL);
    assert_query("…-!'\\", NULL);
    assert_query("\u0301", NULL);
}

static void long_words_and_long_queries_are_cut(void **unused)
{
    (void)unused;
    char text[3 * WORDS_MAX_ASKED * 2 + 1];
    char expected[WORDS_MAX_CHARS + 8];
    memset(text, 'x', WORDS_MAX_CHARS + 9);
    text[WORDS_MAX_CHARS + 9] = '\0';
    snprintf(expected, sizeof expected, "'%.*s' ", WORDS_MAX_CHARS, text);
    assert_document(text, expected);
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 2 == 0 ? 'y' : ' ';
    text[sizeof text - 1] = '\0';
    buf_t out = {0};
    assert_true(words_put_query(slice_str(text), &out));
    size_t n = 0;
    for (size_t i = 0; i < out.n_bytes; i++)
        n += out.data[i] == 'y';
    assert_int_equal(n, WORDS_MAX_ASKED);
    buf_fini(&out);
}

/* U+FDFA becomes 18 characters, the most of all. */
static void the_largest_notes_fit_into_a_document(void **unused)
{
    (void)unused;
    buf_t text = {0};
    buf_t out = {0};
    while (text.n_bytes < 64 * 1024)
        buf_append_str(&text, "ﷺ");
    words_put_document(buf_slice(&text), &out);
    assert_true(out.n_bytes > 0);
    assert_true(out.n_bytes < WORDS_MAX_DOCUMENT_BYTES + WORDS_MAX_CHARS * 4 + 4);
    buf_fini(&text);
    buf_fini(&out);
}

static void titles_sort_without_case_and_accents(void **unused)
{
    (void)unused;
    assert_key("Äpfel, Ëier", "apfel, eier");
    assert_key("", "");
    char title[WORDS_MAX_KEY_BYTES * 2 + 1] = "";
    for (size_t i = 0; i < sizeof title / 2; i++)
        strcat(title, "я");
    buf_t out = {0};
    words_put_sort_key(slice_str(title), &out);
    assert_int_equal(out.n_bytes % 2, 0);
    assert_in_range(out.n_bytes, WORDS_MAX_KEY_BYTES - 4, WORDS_MAX_KEY_BYTES);
    buf_fini(&out);
}

static void what_is_not_utf8_ends_a_text(void **unused)
{
    (void)unused;
    assert_document("a\xff b", "'a' ");
    assert_query("\xc3", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_accents_and_compatible_forms_do_not_count),
        cmocka_unit_test(words_are_runs_of_letters_and_digits),
        cmocka_unit_test(a_character_of_a_script_without_blanks_is_a_word),
        cmocka_unit_test(a_query_asks_for_all_words_and_the_beginning_of_the_last),
        cmocka_unit_test(long_words_and_long_queries_are_cut),
        cmocka_unit_test(the_largest_notes_fit_into_a_document),
        cmocka_unit_test(titles_sort_without_case_and_accents),
        cmocka_unit_test(what_is_not_utf8_ends_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
