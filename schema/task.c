/* SPDX-License-Identifier: Apache-2.0 */
/* The codec of tasks. One table says of every key where it lies in the struct and of what kind it
 * is; encoding, decoding, comparing and copying walk that table, so that none of them can forget a
 * field. The order of the table is the order of the encoding, which is canonical and therefore may
 * never change; new keys go to the end.
 *
 * What is decoded was stored by us, but perhaps by another version, or it was damaged: every limit
 * that holds for requests is checked again before anything is kept. */
#include "schema/task.h"

#include <assert.h>

#include "schema/json.h"
#include "schema/position.h"
#include "schema/zone.h"

#define MAX_ZONE_BYTES 64

const char *const task_status_names[STATUS_COUNT + 1] = {
    "open", "in_progress", "done", "cancelled", NULL,
};
const char *const task_priority_names[PRIORITY_COUNT + 1] = {
    "low", "medium", "high", "urgent", NULL,
};
static const char *const from_names[] = {"due", "completion", NULL};
static const char *const missed_names[] = {"next", "each", "keep", NULL};

typedef enum {
    KIND_UUID, /* nil where there is none */
    KIND_REV, /* an integer from 0 */
    KIND_COUNT, /* an integer from 1, nil for 0 */
    KIND_INSTANT, /* nil where there is none */
    KIND_TEXT, /* perhaps empty */
    KIND_OPTIONAL_TEXT, /* nil when absent */
    KIND_STATUS,
    KIND_PRIORITY,
    KIND_TAGS,
    KIND_RECURRENCE,
    KIND_REMINDERS,
} kind_t;

typedef struct {
    const char *name;
    task_field_t field; /* TASK_N_FIELDS: none of those that `set` can name */
    kind_t kind;
    size_t offset; /* in task_t, of the kinds with one value */
} row_t;

static const row_t rows[] = {
    {"id", TASK_ID, KIND_UUID, offsetof(task_t, id)},
    {"list", TASK_LIST, KIND_UUID, offsetof(task_t, list)},
    {"rev", TASK_N_FIELDS, KIND_REV, offsetof(task_t, rev)},
    {"title", TASK_TITLE, KIND_TEXT, offsetof(task_t, title)},
    {"notes", TASK_NOTES, KIND_TEXT, offsetof(task_t, notes)},
    {"status", TASK_STATUS, KIND_STATUS, offsetof(task_t, status)},
    {"priority", TASK_PRIORITY, KIND_PRIORITY, offsetof(task_t, priority)},
    {"tags", TASK_TAGS, KIND_TAGS, offsetof(task_t, tags)},
    {"due", TASK_DUE, KIND_OPTIONAL_TEXT, offsetof(task_t, due)},
    {"time_zone", TASK_TIME_ZONE, KIND_OPTIONAL_TEXT, offsetof(task_t, time_zone)},
    {"due_at", TASK_DUE_AT, KIND_INSTANT, offsetof(task_t, due_at_us)},
    {"recurrence", TASK_RECURRENCE, KIND_RECURRENCE, offsetof(task_t, rule)},
    {"series", TASK_SERIES, KIND_UUID, offsetof(task_t, series)},
    {"occurrence", TASK_OCCURRENCE, KIND_COUNT, offsetof(task_t, occurrence)},
    {"reminders", TASK_REMINDERS, KIND_REMINDERS, offsetof(task_t, reminders)},
    {"assignee", TASK_ASSIGNEE, KIND_UUID, offsetof(task_t, assignee)},
    {"parent", TASK_PARENT, KIND_UUID, offsetof(task_t, parent)},
    {"position", TASK_POSITION, KIND_TEXT, offsetof(task_t, position)},
    {"created_at", TASK_CREATED_AT, KIND_INSTANT, offsetof(task_t, created_at_us)},
    {"created_by", TASK_CREATED_BY, KIND_UUID, offsetof(task_t, created_by)},
    {"updated_at", TASK_N_FIELDS, KIND_INSTANT, offsetof(task_t, updated_at_us)},
    {"completed_at", TASK_COMPLETED_AT, KIND_INSTANT, offsetof(task_t, completed_at_us)},
    {"closed_rev", TASK_CLOSED_REV, KIND_COUNT, offsetof(task_t, closed_rev)},
    {"deleted_at", TASK_DELETED_AT, KIND_INSTANT, offsetof(task_t, deleted_at_us)},
};

#define N_ROWS (sizeof rows / sizeof rows[0])
_Static_assert(N_ROWS <= 32, "get_pairs keeps a bit per row");

static const void *value_of(const task_t *task, const row_t *row)
{
    return (const char *)task + row->offset;
}

static void *place_of(task_t *task, const row_t *row)
{
    return (char *)task + row->offset;
}

const char *task_field_name(task_field_t field)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].field == field)
            return rows[i].name;
    }
    assert(false && "no such field");
    return NULL;
}

/* --- comparing --- */

static bool same_text(slice_t a, slice_t b)
{
    return (a.data == NULL) == (b.data == NULL) && slice_eq(a, b);
}

static bool same_tags(const task_t *a, const task_t *b)
{
    if (a->n_tags != b->n_tags)
        return false;
    for (uint32_t i = 0; i < a->n_tags; i++) {
        if (!slice_eq(a->tags[i], b->tags[i]))
            return false;
    }
    return true;
}

static bool same_skips(const task_t *a, const task_t *b)
{
    if (a->n_skips != b->n_skips)
        return false;
    for (uint32_t i = 0; i < a->n_skips; i++) {
        if (!slice_eq(a->skips[i], b->skips[i]))
            return false;
    }
    return true;
}

static bool same_recurrence(const task_t *a, const task_t *b)
{
    if (!same_text(a->rule, b->rule))
        return false;
    return a->rule.data == NULL || (a->from == b->from && a->missed == b->missed &&
                                    same_text(a->rule_start, b->rule_start) &&
                                    same_text(a->planned, b->planned) && same_skips(a, b));
}

static bool same_reminder(const reminder_t *a, const reminder_t *b)
{
    if (!uuid_eq(&a->id, &b->id) || !same_text(a->before, b->before) || a->whom != b->whom)
        return false;
    if ((a->before.data == NULL && a->at_us != b->at_us) || a->is_snooze != b->is_snooze ||
        !same_text(a->time, b->time))
        return false;
    return a->whom != FOR_ACCOUNT || uuid_eq(&a->account, &b->account);
}

static bool same_reminders(const task_t *a, const task_t *b)
{
    if (a->n_reminders != b->n_reminders)
        return false;
    for (uint32_t i = 0; i < a->n_reminders; i++) {
        if (!same_reminder(&a->reminders[i], &b->reminders[i]))
            return false;
    }
    return true;
}

static bool same_value(const task_t *a, const task_t *b, const row_t *row)
{
    const void *x = value_of(a, row);
    const void *y = value_of(b, row);
    switch (row->kind) {
    case KIND_UUID:
        return uuid_eq(x, y);
    case KIND_REV:
    case KIND_COUNT:
    case KIND_INSTANT:
        return *(const int64_t *)x == *(const int64_t *)y;
    case KIND_TEXT:
        return slice_eq(*(const slice_t *)x, *(const slice_t *)y);
    case KIND_OPTIONAL_TEXT:
        return same_text(*(const slice_t *)x, *(const slice_t *)y);
    case KIND_STATUS:
        return a->status == b->status;
    case KIND_PRIORITY:
        return a->priority == b->priority;
    case KIND_TAGS:
        return same_tags(a, b);
    case KIND_RECURRENCE:
        return same_recurrence(a, b);
    case KIND_REMINDERS:
        return same_reminders(a, b);
    }
    return false;
}

task_fields_t task_diff(const task_t *before, const task_t *after)
{
    task_fields_t fields = 0;
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].field != TASK_N_FIELDS && !same_value(before, after, &rows[i]))
            fields |= (task_fields_t)1 << rows[i].field;
    }
    return fields;
}

/* --- encoding --- */

static void put_optional_text(buf_t *out, slice_t text)
{
    if (text.data == NULL)
        mp_put_nil(out);
    else
        mp_put_str(out, text);
}

static void put_count(buf_t *out, int64_t count)
{
    if (count == 0)
        mp_put_nil(out);
    else
        mp_put_int(out, count);
}

static void put_tags(buf_t *out, const task_t *task)
{
    mp_put_array(out, task->n_tags);
    for (uint32_t i = 0; i < task->n_tags; i++)
        mp_put_str(out, task->tags[i]);
}

static void put_text_pair(buf_t *out, const char *key, slice_t text)
{
    mp_put_cstr(out, key);
    mp_put_str(out, text);
}

static void put_skips(buf_t *out, const task_t *task)
{
    mp_put_cstr(out, "skip");
    mp_put_array(out, task->n_skips);
    for (uint32_t i = 0; i < task->n_skips; i++)
        mp_put_str(out, task->skips[i]);
}

static void put_recurrence(buf_t *out, const task_t *task)
{
    if (task->rule.data == NULL) {
        mp_put_nil(out);
        return;
    }
    bool has_start = task->rule_start.data != NULL;
    bool is_moved = task->planned.data != NULL;
    mp_put_map(out, 3 + (size_t)has_start + (size_t)is_moved + (size_t)(task->n_skips > 0));
    mp_put_cstr(out, "rule");
    mp_put_str(out, task->rule);
    mp_put_cstr(out, "from");
    mp_put_cstr(out, from_names[task->from]);
    mp_put_cstr(out, "missed");
    mp_put_cstr(out, missed_names[task->missed]);
    if (has_start)
        put_text_pair(out, "start", task->rule_start);
    if (is_moved)
        put_text_pair(out, "planned", task->planned);
    if (task->n_skips > 0)
        put_skips(out, task);
}

static void put_whom(buf_t *out, const reminder_t *reminder)
{
    switch (reminder->whom) {
    case FOR_ACCOUNT:
        mp_put_uuid(out, &reminder->account);
        break;
    case FOR_ASSIGNEE:
        mp_put_cstr(out, "assignee");
        break;
    case FOR_ALL:
        mp_put_cstr(out, "all");
        break;
    }
}

static void put_reminder(buf_t *out, const reminder_t *reminder)
{
    bool has_time = reminder->time.data != NULL;
    mp_put_map(out, (size_t)3 + reminder->is_snooze + has_time);
    mp_put_cstr(out, "id");
    mp_put_uuid(out, &reminder->id);
    if (reminder->before.data != NULL) {
        mp_put_cstr(out, "before");
        mp_put_str(out, reminder->before);
    } else {
        mp_put_cstr(out, "at");
        mp_put_instant(out, reminder->at_us);
    }
    mp_put_cstr(out, "for");
    put_whom(out, reminder);
    if (reminder->is_snooze) {
        mp_put_cstr(out, "snooze");
        mp_put_bool(out, true);
    }
    if (has_time) {
        mp_put_cstr(out, "time");
        mp_put_str(out, reminder->time);
    }
}

static void put_reminders(buf_t *out, const task_t *task)
{
    mp_put_array(out, task->n_reminders);
    for (uint32_t i = 0; i < task->n_reminders; i++)
        put_reminder(out, &task->reminders[i]);
}

static void put_value(buf_t *out, const task_t *task, const row_t *row)
{
    const void *value = value_of(task, row);
    switch (row->kind) {
    case KIND_UUID:
        mp_put_uuid(out, value);
        break;
    case KIND_REV:
        mp_put_int(out, *(const int64_t *)value);
        break;
    case KIND_COUNT:
        put_count(out, *(const int64_t *)value);
        break;
    case KIND_INSTANT:
        mp_put_instant(out, *(const int64_t *)value);
        break;
    case KIND_TEXT:
        mp_put_str(out, *(const slice_t *)value);
        break;
    case KIND_OPTIONAL_TEXT:
        put_optional_text(out, *(const slice_t *)value);
        break;
    case KIND_STATUS:
        mp_put_cstr(out, task_status_names[task->status]);
        break;
    case KIND_PRIORITY:
        mp_put_cstr(out, task_priority_names[task->priority]);
        break;
    case KIND_TAGS:
        put_tags(out, task);
        break;
    case KIND_RECURRENCE:
        put_recurrence(out, task);
        break;
    case KIND_REMINDERS:
        put_reminders(out, task);
        break;
    }
}

static void put_pair(buf_t *out, const task_t *task, const row_t *row)
{
    mp_put_cstr(out, row->name);
    put_value(out, task, row);
}

void task_encode(const task_t *task, buf_t *out)
{
    mp_put_map(out, N_ROWS);
    for (size_t i = 0; i < N_ROWS; i++)
        put_pair(out, task, &rows[i]);
}

void task_encode_fields(const task_t *task, task_fields_t fields, buf_t *out)
{
    fields &= TASK_FIELDS_ALL;
    mp_put_map(out, (size_t)__builtin_popcount(fields));
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].field != TASK_N_FIELDS && (fields >> rows[i].field & 1) != 0)
            put_pair(out, task, &rows[i]);
    }
}

/* --- decoding --- */

static bool get_word(mp_reader_t *reader, const char *const *names, int *out)
{
    slice_t word;
    if (!mp_get_str(reader, &word))
        return false;
    for (int i = 0; names[i] != NULL; i++) {
        if (slice_is(word, names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool get_text(mp_reader_t *reader, size_t max_bytes, slice_t *out)
{
    return mp_get_str(reader, out) && out->n_bytes <= max_bytes && utf8_is_text(*out);
}

static bool get_chars(mp_reader_t *reader, size_t max_chars, slice_t *out)
{
    return get_text(reader, max_chars * 4, out) && utf8_count(*out) <= max_chars;
}

static bool get_rev(mp_reader_t *reader, int64_t *out)
{
    return mp_get_int(reader, out) && *out >= 0;
}

static bool get_count(mp_reader_t *reader, int64_t *out)
{
    if (mp_peek(reader) == MP_NIL) {
        *out = 0;
        return mp_get_nil(reader);
    }
    return mp_get_int(reader, out) && *out > 0;
}

static bool get_title_notes_or_position(mp_reader_t *reader, const row_t *row, slice_t *out)
{
    if (row->field == TASK_TITLE)
        return get_chars(reader, LIMIT_TITLE_CHARS, out);
    if (row->field == TASK_NOTES)
        return get_text(reader, LIMIT_NOTES_BYTES, out);
    return mp_get_str(reader, out) && (out->n_bytes == 0 || position_is_valid(*out));
}

static bool get_due_or_zone(mp_reader_t *reader, const row_t *row, task_t *out)
{
    slice_t *place = place_of(out, row);
    if (mp_peek(reader) == MP_NIL) {
        *place = slice_none();
        return mp_get_nil(reader);
    }
    if (row->field == TASK_TIME_ZONE)
        return get_text(reader, MAX_ZONE_BYTES, place) && place->n_bytes > 0;
    local_t ignored;
    if (!mp_get_str(reader, place))
        return false;
    out->due_kind = due_parse(*place, &ignored);
    return out->due_kind != DUE_NONE;
}

static bool get_status(mp_reader_t *reader, task_t *out)
{
    int word = 0;
    bool ok = get_word(reader, task_status_names, &word);
    out->status = (task_status_t)word;
    return ok;
}

static bool get_priority(mp_reader_t *reader, task_t *out)
{
    int word = 0;
    bool ok = get_word(reader, task_priority_names, &word);
    out->priority = (task_priority_t)word;
    return ok;
}

static bool get_tags(mp_reader_t *reader, arena_t *arena, task_t *out)
{
    uint32_t n_tags = 0;
    if (!mp_get_array(reader, &n_tags) || n_tags > LIMIT_TAGS)
        return false;
    slice_t *tags = arena_alloc(arena, n_tags * sizeof *tags);
    for (uint32_t i = 0; i < n_tags; i++) {
        if (!get_chars(reader, LIMIT_TAG_CHARS, &tags[i]))
            return false;
    }
    out->tags = tags;
    out->n_tags = n_tags;
    return true;
}

static bool get_date(mp_reader_t *reader, slice_t *out)
{
    local_t ignored;
    return mp_get_str(reader, out) && due_parse(*out, &ignored) == DUE_DATE;
}

static bool get_start(mp_reader_t *reader, slice_t *out)
{
    local_t ignored;
    if (!mp_get_str(reader, out))
        return false;
    due_kind_t kind = due_parse(*out, &ignored);
    return kind == DUE_DATE || kind == DUE_LOCAL;
}

static bool get_skips(mp_reader_t *reader, arena_t *arena, task_t *out)
{
    uint32_t n_skips = 0;
    if (!mp_get_array(reader, &n_skips) || n_skips > LIMIT_SKIPS)
        return false;
    slice_t *skips = arena_alloc(arena, n_skips * sizeof *skips);
    for (uint32_t i = 0; i < n_skips; i++) {
        if (!get_date(reader, &skips[i]))
            return false;
    }
    out->skips = skips;
    out->n_skips = n_skips;
    return true;
}

static bool get_recurrence_part(mp_reader_t *reader, slice_t key, arena_t *arena, task_t *out)
{
    int word = 0;
    if (slice_is(key, "start"))
        return get_start(reader, &out->rule_start);
    if (slice_is(key, "planned"))
        return get_date(reader, &out->planned);
    if (slice_is(key, "skip"))
        return get_skips(reader, arena, out);
    if (slice_is(key, "rule"))
        return get_text(reader, LIMIT_RULE_BYTES, &out->rule) && out->rule.n_bytes > 0;
    if (slice_is(key, "from")) {
        bool ok = get_word(reader, from_names, &word);
        out->from = (recurrence_from_t)word;
        return ok;
    }
    if (slice_is(key, "missed")) {
        bool ok = get_word(reader, missed_names, &word);
        out->missed = (recurrence_missed_t)word;
        return ok;
    }
    return mp_skip(reader);
}

static bool get_recurrence(mp_reader_t *reader, arena_t *arena, task_t *out)
{
    out->rule = slice_none();
    if (mp_peek(reader) == MP_NIL)
        return mp_get_nil(reader);
    uint32_t n_pairs = 0;
    if (!mp_get_map(reader, &n_pairs))
        return false;
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t key;
        if (!mp_get_str(reader, &key) || !get_recurrence_part(reader, key, arena, out))
            return false;
    }
    return out->rule.data != NULL;
}

static bool get_whom(mp_reader_t *reader, reminder_t *out)
{
    slice_t word;
    if (!mp_get_str(reader, &word))
        return false;
    if (slice_is(word, "assignee"))
        out->whom = FOR_ASSIGNEE;
    else if (slice_is(word, "all"))
        out->whom = FOR_ALL;
    else
        return uuid_parse(word, &out->account);
    return true;
}

static bool get_reminder_part(mp_reader_t *reader, slice_t key, reminder_t *out)
{
    int minutes;
    if (slice_is(key, "id"))
        return mp_get_uuid(reader, &out->id);
    if (slice_is(key, "before"))
        return mp_get_str(reader, &out->before) && duration_parse(out->before, &out->before_us);
    if (slice_is(key, "at"))
        return mp_get_instant(reader, &out->at_us);
    if (slice_is(key, "for"))
        return get_whom(reader, out);
    if (slice_is(key, "snooze"))
        return mp_get_bool(reader, &out->is_snooze);
    if (slice_is(key, "time"))
        return mp_get_str(reader, &out->time) && time_of_day_parse(out->time, &minutes);
    return mp_skip(reader);
}

/* Exactly one of `before` and `at`, and somebody to tell. */
static bool reminder_is_whole(const reminder_t *reminder)
{
    bool is_relative = reminder->before.data != NULL;
    bool is_absolute = reminder->at_us != INSTANT_NONE;
    bool has_whom = reminder->whom != FOR_ACCOUNT || !uuid_is_nil(&reminder->account);
    return is_relative != is_absolute && has_whom && !uuid_is_nil(&reminder->id);
}

static bool get_reminder(mp_reader_t *reader, reminder_t *out)
{
    uint32_t n_pairs = 0;
    if (!mp_get_map(reader, &n_pairs))
        return false;
    *out = (reminder_t){.at_us = INSTANT_NONE};
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t key;
        if (!mp_get_str(reader, &key) || !get_reminder_part(reader, key, out))
            return false;
    }
    return reminder_is_whole(out);
}

static bool get_reminders(mp_reader_t *reader, task_t *out)
{
    uint32_t n_reminders = 0;
    if (!mp_get_array(reader, &n_reminders) || n_reminders > LIMIT_REMINDERS)
        return false;
    for (uint32_t i = 0; i < n_reminders; i++) {
        if (!get_reminder(reader, &out->reminders[i]))
            return false;
    }
    out->n_reminders = n_reminders;
    return true;
}

static bool get_value(mp_reader_t *reader, const row_t *row, arena_t *arena, task_t *out)
{
    void *place = place_of(out, row);
    switch (row->kind) {
    case KIND_UUID:
        return mp_get_uuid(reader, place);
    case KIND_REV:
        return get_rev(reader, place);
    case KIND_COUNT:
        return get_count(reader, place);
    case KIND_INSTANT:
        return mp_get_instant(reader, place);
    case KIND_TEXT:
        return get_title_notes_or_position(reader, row, place);
    case KIND_OPTIONAL_TEXT:
        return get_due_or_zone(reader, row, out);
    case KIND_STATUS:
        return get_status(reader, out);
    case KIND_PRIORITY:
        return get_priority(reader, out);
    case KIND_TAGS:
        return get_tags(reader, arena, out);
    case KIND_RECURRENCE:
        return get_recurrence(reader, arena, out);
    case KIND_REMINDERS:
        return get_reminders(reader, out);
    }
    return false;
}

/* The row of a key, looked for from where the canonical order would have it; N_ROWS: a key of a
 * newer program. */
static size_t row_of(slice_t key, size_t expected)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        size_t row = (expected + i) % N_ROWS;
        if (slice_is(key, rows[row].name))
            return row;
    }
    return N_ROWS;
}

static bool get_pairs(mp_reader_t *reader, uint32_t n_pairs, arena_t *arena, task_t *out)
{
    uint32_t seen = 0;
    size_t expected = 0;
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t key;
        if (!mp_get_str(reader, &key))
            return false;
        size_t row = row_of(key, expected);
        if (row == N_ROWS) {
            if (!mp_skip(reader))
                return false;
            continue;
        }
        if ((seen >> row & 1) != 0 || !get_value(reader, &rows[row], arena, out))
            return false;
        seen |= UINT32_C(1) << row;
        expected = row + 1;
    }
    return true;
}

bool task_decode(slice_t bytes, arena_t *arena, task_t *out)
{
    *out = (task_t){
        .due_at_us = INSTANT_NONE,
        .created_at_us = INSTANT_NONE,
        .updated_at_us = INSTANT_NONE,
        .completed_at_us = INSTANT_NONE,
        .deleted_at_us = INSTANT_NONE,
    };
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_pairs = 0;
    if (bytes.n_bytes > LIMIT_EVENT_BYTES || !mp_get_map(&reader, &n_pairs) ||
        !get_pairs(&reader, n_pairs, arena, out))
        return false;
    return mp_peek(&reader) == MP_END && !uuid_is_nil(&out->id) && !uuid_is_nil(&out->list);
}

/* --- the rest --- */

void task_copy(const task_t *task, arena_t *arena, task_t *out)
{
    *out = *task;
    slice_t *tags = arena_alloc(arena, task->n_tags * sizeof *tags);
    for (uint32_t i = 0; i < task->n_tags; i++)
        tags[i] = arena_copy(arena, task->tags[i]);
    out->tags = tags;
    out->rule = arena_copy(arena, task->rule);
    out->rule_start = arena_copy(arena, task->rule_start);
    out->planned = arena_copy(arena, task->planned);
    slice_t *skips = arena_alloc(arena, task->n_skips * sizeof *skips);
    for (uint32_t i = 0; i < task->n_skips; i++)
        skips[i] = arena_copy(arena, task->skips[i]);
    out->skips = skips;
    for (uint32_t i = 0; i < task->n_reminders; i++) {
        out->reminders[i].before = arena_copy(arena, task->reminders[i].before);
        out->reminders[i].time = arena_copy(arena, task->reminders[i].time);
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].kind != KIND_TEXT && rows[i].kind != KIND_OPTIONAL_TEXT)
            continue;
        slice_t *text = place_of(out, &rows[i]);
        *text = arena_copy(arena, *text);
    }
}

static int64_t all_day_reminder_at(const task_t *task, const reminder_t *reminder)
{
    local_t local;
    zone_fit_t fit;
    int minutes = 0;
    if (due_parse(task->due, &local) != DUE_DATE)
        return INSTANT_NONE;
    slice_t time = reminder->time.data == NULL ? slice_str(ALL_DAY_TIME) : reminder->time;
    (void)time_of_day_parse(time, &minutes);
    local_from_utc_us(
        instant_clamp(local_as_utc_us(&local) + minutes * 60 * US_PER_S - reminder->before_us),
        &local);
    return instant_clamp(zone_to_utc(task->time_zone, &local, &fit));
}

int64_t task_reminder_at(const task_t *task, const reminder_t *reminder)
{
    if (reminder->before.data == NULL)
        return reminder->at_us;
    if (task->due_at_us == INSTANT_NONE)
        return INSTANT_NONE;
    if (task->due_kind == DUE_DATE)
        return all_day_reminder_at(task, reminder);
    return instant_clamp(task->due_at_us - reminder->before_us);
}
