/* SPDX-License-Identifier: Apache-2.0 */
/* Text is folded character by character, which is exact because marks, the only ones whose order
 * normalising changes, are dropped. Words hold letters, digits and symbols only, so that they need
 * no escape between the quotes of a tsvector. */
#include "schema/words.h"

#include <utf8proc.h>

#define FOLD                                                                                       \
    (UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK |               \
     UTF8PROC_IGNORE)
/* The longest is 18 (U+FDFA). */
#define MAX_FOLDED 32
#define MAX_CHAR_BYTES 4

/* Takes the next character off the text and folds it. Returns how many it became, -1 at the end. */
static int fold_next(slice_t *text, int32_t out[MAX_FOLDED])
{
    if (text->n_bytes == 0)
        return -1;
    uint8_t first = text->data[0];
    int32_t c = first;
    utf8proc_ssize_t n_bytes = 1;
    if (first >= 0x80)
        n_bytes = utf8proc_iterate(text->data, (utf8proc_ssize_t)text->n_bytes, &c);
    if (n_bytes <= 0)
        return -1;
    *text = slice_of(text->data + n_bytes, text->n_bytes - (size_t)n_bytes);
    if (first < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 0x20 : c;
        return 1;
    }
    int bound = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, out, MAX_FOLDED, FOLD, &bound);
    return n < 0 ? 0 : n > MAX_FOLDED ? MAX_FOLDED : (int)n;
}

typedef enum { CHAR_BETWEEN, CHAR_OF_WORD, CHAR_ALONE } char_kind_t;

/* Written without blanks between words: Kana, Han and what is compatible with it. */
static bool is_ideograph(int32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static char_kind_t kind_of(int32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? CHAR_OF_WORD : CHAR_BETWEEN;
    utf8proc_category_t category = utf8proc_category(c);
    bool is_letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    bool is_number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
    if (category == UTF8PROC_CATEGORY_SO || (is_letter && is_ideograph(c)))
        return CHAR_ALONE;
    return is_letter || is_number ? CHAR_OF_WORD : CHAR_BETWEEN;
}

/* --- a walk over the words --- */

typedef struct {
    slice_t text;
    int32_t folded[MAX_FOLDED]; /* characters that are not in a word yet: from `at` to `n` */
    int n;
    int at;
    uint8_t word[WORDS_MAX_CHARS * MAX_CHAR_BYTES];
    size_t n_bytes;
    size_t n_chars;
} walk_t;

/* The next character without taking it; false at the end. */
static bool peek(walk_t *self, int32_t *c)
{
    while (self->at == self->n) {
        self->at = 0;
        self->n = fold_next(&self->text, self->folded);
        if (self->n < 0) {
            self->n = 0;
            return false;
        }
    }
    *c = self->folded[self->at];
    return true;
}

static void add(walk_t *self, int32_t c)
{
    if (self->n_chars == WORDS_MAX_CHARS)
        return;
    self->n_bytes += (size_t)utf8proc_encode_char(c, self->word + self->n_bytes);
    self->n_chars++;
}

/* Finds the next word; false at the end. */
static bool next_word(walk_t *self)
{
    int32_t c;
    self->n_bytes = 0;
    self->n_chars = 0;
    while (peek(self, &c)) {
        char_kind_t kind = kind_of(c);
        if (self->n_chars > 0 && kind != CHAR_OF_WORD)
            return true;
        self->at++;
        if (kind != CHAR_BETWEEN)
            add(self, c);
        if (kind == CHAR_ALONE)
            return true;
    }
    return self->n_chars > 0;
}

static void put_quoted(const walk_t *self, buf_t *out)
{
    buf_append_byte(out, '\'');
    buf_append(out, self->word, self->n_bytes);
    buf_append_byte(out, '\'');
}

/* --- documents, queries, keys --- */

void words_put_document(slice_t text, buf_t *out)
{
    walk_t walk = {.text = text};
    while (out->n_bytes < WORDS_MAX_DOCUMENT_BYTES && next_word(&walk)) {
        put_quoted(&walk, out);
        buf_append_byte(out, ' ');
    }
}

bool words_put_query(slice_t text, buf_t *out)
{
    walk_t walk = {.text = text};
    size_t n_words = 0;
    for (; n_words < WORDS_MAX_ASKED && next_word(&walk); n_words++) {
        if (n_words > 0)
            buf_append_str(out, " & ");
        put_quoted(&walk, out);
    }
    if (n_words == 0)
        return false;
    buf_append_str(out, ":*");
    return true;
}

void words_put_sort_key(slice_t title, buf_t *out)
{
    int32_t folded[MAX_FOLDED];
    size_t end = out->n_bytes + WORDS_MAX_KEY_BYTES - MAX_CHAR_BYTES;
    int n;
    while ((n = fold_next(&title, folded)) >= 0) {
        for (int i = 0; i < n; i++) {
            if (out->n_bytes > end)
                return;
            uint8_t bytes[MAX_CHAR_BYTES];
            size_t n_bytes = (size_t)utf8proc_encode_char(folded[i], bytes);
            buf_append(out, bytes, n_bytes);
        }
    }
}
