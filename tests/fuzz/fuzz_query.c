/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a request's line and conditional headers: any bytes as a query, as a cursor, as a
 * path, as If-Match. What is accepted keeps to its limits; a cursor that nobody made is refused. */
#include <stdlib.h>

#include "gateway/due_range.h"
#include "gateway/etag.h"
#include "gateway/origin.h"
#include "gateway/page_token.h"
#include "gateway/query.h"
#include "gateway/router.h"
#include "gateway/task_page.h"
#include "schema/json.h"
#include "schema/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const char epoch[] = "abcdefghijklmnop";
static const uint8_t key[PAGE_TOKEN_KEY_BYTES] = {1, 2, 3};

static const param_t known[] = {
    {"limit", PARAM_ONCE},
    {"tag", PARAM_REPEATS},
    {"list", PARAM_REPEATS},
    {NULL, PARAM_ONCE},
};

static const route_t table[] = {
    {METHOD_GET, "/v1/lists/{list}/members/{account}", ROUTE_FOR_READERS, NULL, NULL},
    {METHOD_GET, "/v1/tasks", ROUTE_FOR_READERS, NULL, NULL},
};

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void try_values(const query_t *query, arena_t *arena)
{
    static const char *const words[] = {"a", "b", NULL};
    problem_t problem = {0};
    int64_t limit = 5;
    uuid_t ids[QUERY_MAX_ITEMS];
    int places[QUERY_MAX_ITEMS];
    size_t n;
    if (query_int(query, "limit", 1, 500, &limit, arena, &problem))
        must(limit >= 1 && limit <= 500);
    else
        must(problem.err == ERR_MALFORMED && limit == 5);
    if (query_uuids(query, "list", QUERY_MAX_ITEMS, ids, &n, arena, &problem))
        must(n <= QUERY_MAX_ITEMS);
    query_words(query, "tag", words, QUERY_MAX_ITEMS, places, &n, arena, &problem);
}

/* Between the quotes of what is searched for stands nothing that ends them. */
static void try_words(slice_t text)
{
    buf_t out = {0};
    bool has_words = words_put_query(text, &out);
    size_t n_quotes = 0;
    must(utf8_is_text(buf_slice(&out)));
    for (size_t i = 0; i < out.n_bytes; i++) {
        n_quotes += out.data[i] == '\'';
        must(n_quotes % 2 == 0 || (out.data[i] != '\\' && out.data[i] > ' '));
    }
    must(n_quotes <= 2 * WORDS_MAX_ASKED && n_quotes % 2 == 0 && has_words == (n_quotes > 0));
    buf_fini(&out);
}

static void try_due(slice_t text)
{
    due_range_t range = {INSTANT_NONE, INSTANT_NONE, false};
    slice_t zone = slice_str("America/Sao_Paulo");
    bool is_from = due_range_add_from(&range, text, zone);
    must(is_from == due_range_add_to(&range, text, zone));
    must(!is_from || range.from_us <= range.to_us);
}

static void try_query(slice_t text, arena_t *arena)
{
    query_t query;
    problem_t problem;
    err_t err = query_parse(text, known, arena, &query, &problem);
    must(err == ERR_OK || err == ERR_MALFORMED);
    if (err != ERR_OK) {
        must(problem.err == err && problem.detail.n_bytes > 0 && utf8_is_text(problem.detail));
        return;
    }
    must(query.n_items <= QUERY_MAX_ITEMS && query_count(&query, "limit") <= 1);
    for (size_t i = 0; i < query.n_items; i++) {
        must(utf8_is_text(query.items[i].value));
        try_words(query.items[i].value);
        try_due(query.items[i].value);
    }
    try_values(&query, arena);
}

static void try_cursor(slice_t text, arena_t *arena)
{
    slice_t place;
    must(!page_token_decode(key, slice_str("tasks"), text, arena, &place));
    if (text.n_bytes > PAGE_TOKEN_MAX_PLACE)
        return;
    slice_t token = page_token_encode(key, slice_str("tasks"), text, arena);
    must(page_token_decode(key, slice_str("tasks"), token, arena, &place));
    must(slice_eq(place, text));
    must(!page_token_decode(key, slice_str("lists"), token, arena, &place));
}

static void try_place(slice_t bytes)
{
    for (int sort = 0; sort < SORT_COUNT; sort++) {
        task_place_t place;
        task_place_decode((task_sort_t)sort, bytes, &place);
    }
}

static void try_headers(slice_t text, arena_t *arena)
{
    uuid_t id = {{1}};
    int64_t rev = etag_expected_task(text, epoch, &id);
    must(rev >= ETAG_NEVER);
    must(etag_expected_list(text, epoch, &id) >= ETAG_NEVER);
    etag_is_known(text, slice_str("\"x\""));
    origin_is_in(text, "https://a.example");
    origin_is_host(text, slice_str("a.example"), false);
    origin_is_forwarded_https(text);
    slice_t client = origin_client_address(slice_str("10.0.0.1"), text, "10.0.0.1", arena);
    uint8_t address_key[ORIGIN_KEY_BYTES];
    origin_address_key(client, address_key);
    origin_address_key(text, address_key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    slice_t text = slice_of(data, n_bytes);
    arena_t *arena = arena_new();
    route_match_t match;
    try_query(text, arena);
    try_cursor(text, arena);
    try_place(text);
    try_headers(text, arena);
    router_match(table, 2, 0, METHOD_GET, text, &match);
    arena_destroy(&arena);
    return 0;
}
