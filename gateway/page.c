/* SPDX-License-Identifier: Apache-2.0 */
/* Pages go by keyset: a cursor holds the sort key and id of the last row shown, and the next page
 * is what comes behind it. So rows that come and go meanwhile shift nothing. */
#include "gateway/page.h"

#include "gateway/http.h"
#include "gateway/reply.h"
#include "schema/json.h"
#include "schema/limits.h"

bool page_read_limit(call_t *call, int64_t *limit)
{
    problem_t problem = {0};
    *limit = LIMIT_PAGE_DEFAULT;
    if (query_int(&call->query, "limit", 1, LIMIT_PAGE, limit, call->arena, &problem))
        return true;
    reply_problem(call, &problem);
    return false;
}

static bool find_key(call_t *call)
{
    if (call->gateway->http->history.is_known)
        return true;
    reply_err(call, ERR_UNAVAILABLE, NULL);
    return false;
}

bool page_refuse_cursor(call_t *call)
{
    problem_t problem = {0};
    query_refuse("cursor",
                 "is not one of this path and order, or was made before the database was restored",
                 call->arena, &problem);
    reply_problem(call, &problem);
    return false;
}

bool page_read_cursor(call_t *call, slice_t purpose, slice_t *place)
{
    slice_t text = query_get(&call->query, "cursor");
    *place = slice_none();
    if (text.data == NULL)
        return true;
    if (!find_key(call))
        return false;
    return page_token_decode(call->gateway->http->history.page_key, purpose, text, call->arena,
                             place) ||
           page_refuse_cursor(call);
}

bool page_read_cursor_id(call_t *call, slice_t purpose, uuid_t *after)
{
    slice_t place;
    *after = UUID_NIL;
    if (!page_read_cursor(call, purpose, &place))
        return false;
    if (place.data == NULL)
        return true;
    mp_reader_t reader = mp_reader(place);
    return mp_get_uuid(&reader, after) || page_refuse_cursor(call);
}

bool page_read_cursor_number(call_t *call, slice_t purpose, int64_t *after)
{
    slice_t place;
    if (!page_read_cursor(call, purpose, &place))
        return false;
    if (place.data == NULL)
        return true;
    mp_reader_t reader = mp_reader(place);
    return mp_get_int(&reader, after) || page_refuse_cursor(call);
}

bool page_put_next(call_t *call, buf_t *out, slice_t purpose, slice_t place)
{
    buf_append_str(out, "],\"next\":");
    if (place.data == NULL) {
        buf_append_str(out, "null}");
        return true;
    }
    if (!find_key(call))
        return false;
    const uint8_t *key = call->gateway->http->history.page_key;
    json_put_str(out, page_token_encode(key, purpose, place, call->arena));
    buf_append_byte(out, '}');
    return true;
}

slice_t page_place_of_number(call_t *call, int64_t number)
{
    buf_t buf = {0};
    mp_put_int(&buf, number);
    slice_t place = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return place;
}

static slice_t place_of_id(call_t *call, const uuid_t *id)
{
    buf_t buf = {0};
    mp_put_uuid(&buf, id);
    slice_t place = arena_copy(call->arena, buf_slice(&buf));
    buf_fini(&buf);
    return place;
}

void page_reply_by_id(call_t *call, const pg_result_t *result, slice_t purpose, int64_t limit,
                      int id_col, page_put_item_f *put_item)
{
    buf_t *out = reply_buffer(call);
    buf_t item = {0};
    bool is_empty = pg_rows(result) == 0 || pg_is_null(result, 0, id_col);
    bool has_next = pg_rows(result) > limit;
    int n_items = is_empty ? 0 : has_next ? (int)limit : pg_rows(result);
    slice_t place = slice_none();
    buf_append_str(out, "{\"items\":[");
    for (int row = 0; row < n_items; row++) {
        buf_reset(&item);
        put_item(call, result, row, &item);
        if (row > 0)
            buf_append_byte(out, ',');
        json_from_mp(buf_slice(&item), out);
    }
    buf_fini(&item);
    if (has_next) {
        uuid_t last = pg_uuid(result, n_items - 1, id_col);
        place = place_of_id(call, &last);
    }
    if (page_put_next(call, out, purpose, place))
        reply_json(call, 200, buf_slice(out));
}
