/* SPDX-License-Identifier: Apache-2.0 */
/* SQL put together by the preprocessor. In the order of due dates a task without one comes last,
 * whichever way round: infinity stands for it. Titles are compared without case and accents and
 * then as bytes, so that the order does not depend on the database's locale. The row-wise
 * comparison with key and id is what makes keyset pages exact, and is an index condition where
 * there is an index. */
#include "gateway/task_page.h"

#include "gateway/page.h"
#include "schema/limits.h"

#define NIL_ID "'00000000-0000-0000-0000-000000000000'"
#define MORE_THAN_TITLE_CHARS (LIMIT_TITLE_CHARS + 1)
#define N_PLACE_PARTS 3

const char *const task_sort_names[SORT_COUNT + 1] = {
    "due", "priority", "position", "created_at", "updated_at", "title", NULL,
};

#define LIVE "t.status < 2 AND t.deleted_at IS NULL"
#define CLOSED "NOT (t.status < 2 AND t.deleted_at IS NULL) AND t.deleted_at IS NULL"
#define DELETED "NOT (t.status < 2 AND t.deleted_at IS NULL) AND t.deleted_at IS NOT NULL"

/* The rows of one set behind the place in the lists of `scope`: what is sorted by, what is shown of
 * it, the parameter that it is compared with. Due dates are compared as the index has them. */
#define ROWS(key, shown, param, below, scope, set)                                                 \
    "SELECT t.id, t.body, " key " AS k, " shown " AS key FROM task t WHERE " scope " AND " set     \
    " AND ($4::smallint[] IS NULL OR t.status = ANY($4::smallint[]))"                              \
    " AND ($5::smallint[] IS NULL OR t.priority = ANY($5::smallint[]))"                            \
    " AND ($6::text[] IS NULL OR t.tags && $6::text[])"                                            \
    " AND ($8::uuid[] IS NULL OR t.assignee = ANY($8::uuid[])"                                     \
    " OR ($12::boolean AND t.assignee IS NULL))"                                                   \
    " AND coalesce(t.due_at, 'infinity') >= $13::timestamptz"                                      \
    " AND coalesce(t.due_at, 'infinity') <= coalesce($14::timestamptz, 'infinity')"                \
    " AND (NOT $15::boolean OR t.due_at IS NULL)"                                                  \
    " AND ($16::boolean IS NULL OR t.is_recurring = $16::boolean)"                                 \
    " AND ($17::text IS NULL OR t.words @@ (SELECT $17::text::tsquery))"                           \
    " AND (" key ", t.id) " below " (" param ", coalesce($10::uuid, " NIL_ID "))"

/* Of one list all. */
#define ROWS_OF_ONE(key, shown, param, below, way, set)                                            \
    ROWS(key, shown, param, below, "t.list = $2::uuid", set)

/* Of each of mine as many as the page may have: in the order of an index they come straight out of
 * it, and in any order only the tasks of these lists are read, never the whole table. */
#define MY_LISTS                                                                                   \
    "SELECT m.list FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL"            \
    " WHERE m.account = $1::uuid AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"             \
    " AND ($7::uuid[] IS NULL OR m.list = ANY($7::uuid[]))"
#define ROWS_OF_MINE(key, shown, param, below, way, set)                                           \
    "SELECT x.* FROM (" MY_LISTS ") n CROSS JOIN LATERAL " FIRST_OF(                               \
        ROWS(key, shown, param, below, "t.list = n.list", set), way) " x"

/* The first of the rows, each set in order out of its own index. */
#define FIRST_OF(rows, way) "(" rows " ORDER BY k" way ", id" way " LIMIT $11::bigint)"

/* The page out of them, cut where it gets too large. */
#define PAGE(rows, way)                                                                            \
    "SELECT q.id, q.key, q.body, q.n, q.place FROM (SELECT c.*, count(*) OVER () AS n,"            \
    " row_number() OVER w AS place, sum(octet_length(c.body)) OVER"                                \
    " (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (" rows                  \
    " ORDER BY k" way ", id" way " LIMIT $11::bigint) c"                                           \
    " WINDOW w AS (ORDER BY c.k" way ", c.id" way                                                  \
    ")) q WHERE coalesce(q.before, 0) < " PAGE_MAX_BYTES_SQL

#define OF_ONE(page)                                                                               \
    {                                                                                              \
        "SELECT s.head, e.epoch, p.id, p.key, p.body, p.n FROM member m"                           \
        " JOIN list l ON l.id = m.list AND l.deleted_at IS NULL JOIN stream s ON s.id = m.list"    \
        " CROSS JOIN log_epoch e LEFT JOIN LATERAL (" page ") p ON true"                           \
        " WHERE m.account = $1::uuid AND m.list = $2::uuid"                                        \
        " AND ($3::uuid[] IS NULL OR m.list = ANY($3::uuid[]))"                                    \
        " AND $7::uuid[] IS NULL ORDER BY p.place"                                                 \
    }
#define OF_MINE(page)                                                                              \
    {                                                                                              \
        "SELECT 0::bigint, e.epoch, p.id, p.key, p.body, p.n FROM log_epoch e CROSS JOIN (" page   \
        ") p WHERE $2::uuid IS NULL ORDER BY p.place"                                              \
    }

#define SETS(OF, ROWS_OF, key, shown, param, below, way)                                           \
    {                                                                                              \
        [TASKS_LIVE] = OF(PAGE(ROWS_OF(key, shown, param, below, way, LIVE), way)),                \
        [TASKS_CLOSED] = OF(PAGE(ROWS_OF(key, shown, param, below, way, CLOSED), way)),            \
        [TASKS_DELETED] = OF(PAGE(ROWS_OF(key, shown, param, below, way, DELETED), way)),          \
        [TASKS_ANY] = OF(                                                                          \
            PAGE("SELECT * FROM (" FIRST_OF(                                                       \
                     ROWS_OF(key, shown, param, below, way, LIVE),                                 \
                     way) " UNION ALL " FIRST_OF(ROWS_OF(key, shown, param, below, way, CLOSED),   \
                                                 way) ") u",                                       \
                 way)),                                                                            \
    }
#define SCOPES(key, shown, param, below, way)                                                      \
    {                                                                                              \
        SETS(OF_MINE, ROWS_OF_MINE, key, shown, param, below, way),                                \
            SETS(OF_ONE, ROWS_OF_ONE, key, shown, param, below, way)                               \
    }
#define WAYS(key, shown, param)                                                                    \
    {                                                                                              \
        SCOPES(key, shown, param, ">", ""), SCOPES(key, shown, param, "<", " DESC")                \
    }

/* By order, direction (turned round or not), scope (one list or not) and set. */
static const pg_stmt_t statements[SORT_COUNT][2][2][TASKS_SETS] = {
    [SORT_DUE] = {SCOPES("coalesce(t.due_at, 'infinity')", "t.due_at",
                         "coalesce($9::timestamptz, 'infinity')", ">", ""),
                  SCOPES("coalesce(t.due_at, '-infinity')", "t.due_at",
                         "coalesce($9::timestamptz, '-infinity')", "<", " DESC")},
    [SORT_PRIORITY] = WAYS("t.priority", "t.priority", "$9::smallint"),
    [SORT_POSITION] = WAYS("t.position", "t.position", "$9::text COLLATE \"C\""),
    [SORT_CREATED_AT] = WAYS("t.created_at", "t.created_at", "$9::timestamptz"),
    [SORT_UPDATED_AT] = WAYS("t.updated_at", "t.updated_at", "$9::timestamptz"),
    [SORT_TITLE] = WAYS("t.sort_title", "t.sort_title", "$9::text COLLATE \"C\""),
};

const pg_stmt_t *task_page_statement(task_sort_t sort, bool is_descending, bool is_one_list,
                                     task_set_t set)
{
    return &statements[sort][is_descending][is_one_list][set];
}

/* --- places --- */

typedef enum { KEY_TEXT, KEY_SMALL, KEY_INSTANT } key_kind_t;

static key_kind_t kind_of(task_sort_t sort)
{
    switch (sort) {
    case SORT_POSITION:
    case SORT_TITLE:
        return KEY_TEXT;
    case SORT_PRIORITY:
        return KEY_SMALL;
    case SORT_DUE:
    case SORT_CREATED_AT:
    case SORT_UPDATED_AT:
    case SORT_COUNT:
        break;
    }
    return KEY_INSTANT;
}

/* Behind every title there can be: more of the highest character than a title may have. */
static slice_t highest_text(arena_t *arena)
{
    static const uint8_t highest[] = {0xf4, 0x8f, 0xbf, 0xbf};
    uint8_t *text = arena_alloc(arena, MORE_THAN_TITLE_CHARS * sizeof highest);
    for (size_t i = 0; i < MORE_THAN_TITLE_CHARS; i++)
        memcpy(text + i * sizeof highest, highest, sizeof highest);
    return slice_of(text, MORE_THAN_TITLE_CHARS * sizeof highest);
}

void task_place_first(task_sort_t sort, bool is_descending, arena_t *arena, task_place_t *out)
{
    *out = (task_place_t){0};
    if (is_descending)
        memset(out->id.bytes, 0xff, UUID_BYTES);
    switch (kind_of(sort)) {
    case KEY_TEXT:
        out->text = is_descending ? highest_text(arena) : slice_str("");
        break;
    case KEY_SMALL:
        out->number = is_descending ? INT16_MAX : INT16_MIN;
        break;
    case KEY_INSTANT:
        out->number = is_descending ? INSTANT_MAX + 1 : INSTANT_MIN - 1;
        break;
    }
}

void task_place_of_row(task_sort_t sort, const pg_result_t *result, int row, task_place_t *out)
{
    *out = (task_place_t){.id = pg_uuid(result, row, 2)};
    switch (kind_of(sort)) {
    case KEY_TEXT:
        out->text = pg_bytes(result, row, 3);
        break;
    case KEY_SMALL:
        out->number = pg_int(result, row, 3);
        break;
    case KEY_INSTANT:
        out->number = pg_instant(result, row, 3);
        break;
    }
}

void task_place_put(task_sort_t sort, const task_place_t *place, pg_params_t *params)
{
    switch (kind_of(sort)) {
    case KEY_TEXT:
        pg_put_text(params, place->text);
        break;
    case KEY_SMALL:
        pg_put_i16(params, (int16_t)place->number);
        break;
    case KEY_INSTANT:
        pg_put_instant(params, place->number);
        break;
    }
    pg_put_uuid(params, &place->id);
}

void task_place_encode(task_sort_t sort, const task_place_t *place, buf_t *out)
{
    mp_put_array(out, N_PLACE_PARTS);
    if (kind_of(sort) == KEY_TEXT)
        mp_put_str(out, place->text);
    else
        mp_put_int(out, place->number);
    mp_put_uuid(out, &place->id);
    mp_put_int(out, place->asked_at_us);
}

static bool is_number_of(task_sort_t sort, int64_t number)
{
    if (kind_of(sort) == KEY_SMALL)
        return number >= INT16_MIN && number <= INT16_MAX;
    return number == INSTANT_NONE || (number >= INSTANT_MIN && number <= INSTANT_MAX);
}

bool task_place_decode(task_sort_t sort, slice_t bytes, task_place_t *out)
{
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_items;
    *out = (task_place_t){0};
    if (!mp_get_array(&reader, &n_items) || n_items != N_PLACE_PARTS)
        return false;
    bool ok = kind_of(sort) == KEY_TEXT
                  ? mp_get_str(&reader, &out->text)
                  : mp_get_int(&reader, &out->number) && is_number_of(sort, out->number);
    return ok && mp_get_uuid(&reader, &out->id) && mp_get_int(&reader, &out->asked_at_us) &&
           mp_peek(&reader) == MP_END;
}
