/* SPDX-License-Identifier: Apache-2.0 */
/* What is decoded was stored by us, but perhaps by another version, or it was damaged: every limit
 * that holds for requests is checked again before anything is kept. */
#include "schema/task_row.h"

#include "schema/json.h"
#include "schema/position.h"

#define MAX_ZONE_BYTES 64

_Static_assert(TASK_N_ROWS <= 32, "get_pairs keeps a bit per row");

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

static bool get_title_notes_or_position(mp_reader_t *reader, const task_row_t *row, slice_t *out)
{
    if (row->field == TASK_TITLE)
        return get_chars(reader, LIMIT_TITLE_CHARS, out);
    if (row->field == TASK_NOTES)
        return get_text(reader, LIMIT_NOTES_BYTES, out);
    return mp_get_str(reader, out) && (out->n_bytes == 0 || position_is_valid(*out));
}

static bool get_due_or_zone(mp_reader_t *reader, const task_row_t *row, task_t *out)
{
    slice_t *place = task_place_of(out, row);
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
        bool ok = get_word(reader, task_from_names, &word);
        out->from = (recurrence_from_t)word;
        return ok;
    }
    if (slice_is(key, "missed")) {
        bool ok = get_word(reader, task_missed_names, &word);
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

static bool get_value(mp_reader_t *reader, const task_row_t *row, arena_t *arena, task_t *out)
{
    void *place = task_place_of(out, row);
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

/* The row of a key, looked for from where the canonical order would have it; TASK_N_ROWS: a key of
 * a newer program. */
static size_t row_of(slice_t key, size_t expected)
{
    for (size_t i = 0; i < TASK_N_ROWS; i++) {
        size_t row = (expected + i) % TASK_N_ROWS;
        if (slice_is(key, task_rows[row].name))
            return row;
    }
    return TASK_N_ROWS;
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
        if (row == TASK_N_ROWS) {
            if (!mp_skip(reader))
                return false;
            continue;
        }
        if ((seen >> row & 1) != 0 || !get_value(reader, &task_rows[row], arena, out))
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
