/* SPDX-License-Identifier: Apache-2.0 */
/* Pages: {"items": […], "next": cursor | null}. What all paged reads share: `limit` and `cursor`,
 * and the envelope. Statements read one row more than the page may have, and say so; where rows may
 * be large they stop after PAGE_MAX_BYTES, so a page may be shorter than its limit and still have a
 * next one. Functions that return false have answered. */
#ifndef TASKWIRE_PAGE_H
#define TASKWIRE_PAGE_H

#include "gateway/call.h"

#define PAGE_MAX_BYTES 4194304
#define PAGE_MAX_BYTES_SQL "4194304"

/* Reads `limit`. Errors: MALFORMED. */
bool page_read_limit(call_t *call, int64_t *limit);

/* Reads `cursor`: where the former page ended, as encoded by page_put_next for the same purpose;
 * absent for the first. Errors: MALFORMED: it is none of ours for this purpose. UNAVAILABLE: the
 * key is not known yet. */
bool page_read_cursor(call_t *call, slice_t purpose, slice_t *place);

/* The same for pages ordered by an id, UUID_NIL for the first, or by a number, which stays as it is
 * for the first. */
bool page_read_cursor_id(call_t *call, slice_t purpose, uuid_t *after);
bool page_read_cursor_number(call_t *call, slice_t purpose, int64_t *after);

/* Says that a cursor is none of ours. Always false. */
bool page_refuse_cursor(call_t *call);

/* A number as a place. */
slice_t page_place_of_number(call_t *call, int64_t number);

/* Ends the array of items and appends "next" for this place, a msgpack value; absent: null. False:
 * UNAVAILABLE. */
bool page_put_next(call_t *call, buf_t *out, slice_t purpose, slice_t place);

/* Answers a page of objects of which row R is made by `put_item`; the rows are in the order of ids,
 * which is column `id_col` (NULL in the first row: there are none), and there is one more than the
 * limit if there is a next page. */
typedef void page_put_item_f(call_t *call, const pg_result_t *result, int row, buf_t *mp);
void page_reply_by_id(call_t *call, const pg_result_t *result, slice_t purpose, int64_t limit,
                      int id_col, page_put_item_f *put_item);

#endif
