/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a text, as full text search and the order of titles know them: compatible forms
 * taken apart, case folded, marks dropped, so that "Äpfel", "apfel" and "ＡＰＦＥＬ" are the same.
 * What is stored and what is asked for go through the same function, whatever locale or extensions
 * the database has. A word is a run of letters and digits; a Han or Kana character and a symbol
 * such as an emoji is one by itself. Source: Unicode Standard Annex #15 (NFKD), by utf8proc. */
#ifndef TASKWIRE_WORDS_H
#define TASKWIRE_WORDS_H

#include "schema/buf.h"

/* Of a longer word only the beginning counts. Units: characters. */
#define WORDS_MAX_CHARS 64
/* Of a longer query only the beginning counts. Units: words. */
#define WORDS_MAX_ASKED 32
/* Of a longer title only the beginning is sorted by. */
#define WORDS_MAX_KEY_BYTES 256
/* Of more words than fit into this, the rest is not found: PostgreSQL takes 1 MiB. */
#define WORDS_MAX_DOCUMENT_BYTES ((size_t)768 * 1024)

/* Appends the words of a text as PostgreSQL reads a tsvector: 'milk' 'bread' . All texts here are
 * valid UTF-8; what is not ends them. */
void words_put_document(slice_t text, buf_t *out);

/* Appends what finds the documents that have all words of the text, the last of them perhaps as a
 * beginning only, as PostgreSQL reads a tsquery: 'milk' & 'bre':* . False: there is no word in it.
 */
bool words_put_query(slice_t text, buf_t *out);

/* Appends what a title is sorted by, as bytes. */
void words_put_sort_key(slice_t title, buf_t *out);

#endif
