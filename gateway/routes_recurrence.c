/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule would make of a due date, before there is a task: the same reading, counting and end
 * as that of a series, and where a clock change moved an occurrence, a note. Nothing is stored. */
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/write.h"
#include "schema/data.h"
#include "schema/limits.h"
#include "schema/recur.h"

#define MAX_ITEMS 500
#define DEFAULT_ITEMS 5
#define MAX_TEXT_BYTES 64 /* of due dates and zones */

typedef struct {
    slice_t body;
    rule_t rule;
    due_t due;
    slice_t zone;
    recur_t recur;
    int64_t n_items;
} preview_t;

/* --- what is asked for --- */

static void read_rule(data_map_t *map, preview_t *out)
{
    data_value_t value;
    slice_t text;
    slice_t why;
    if (data_need(map, "rule", &value) && data_str(&value, LIMIT_RULE_BYTES, &text) &&
        !rule_parse(text, &out->rule, map->arena, &why))
        problem_add_field(map->problem, data_pointer(&value), why);
}

/* `otherwise` is the account's. */
static void read_zone(data_map_t *map, slice_t otherwise, preview_t *out)
{
    data_value_t value;
    out->zone = otherwise;
    if (data_get(map, "time_zone", &value) != DATA_GIVEN ||
        !data_str(&value, MAX_TEXT_BYTES, &out->zone) || zone_is_known(out->zone))
        return;
    data_refuse(&value, "this must be the name of a time zone like Europe/Zurich");
}

static void read_due(data_map_t *map, preview_t *out)
{
    data_value_t value;
    slice_t text;
    if (data_need(map, "due", &value) && data_str(&value, MAX_TEXT_BYTES, &text) &&
        !due_resolve(text, out->zone, map->arena, &out->due))
        data_refuse(&value, "this must be a date (2026-11-23), a local time (2026-11-23T09:00) or "
                            "an instant (2026-11-23T08:00:00Z)");
}

static void read_n(data_map_t *map, preview_t *out)
{
    data_value_t value;
    out->n_items = DEFAULT_ITEMS;
    if (data_get(map, "n", &value) == DATA_GIVEN && data_int(&value, &out->n_items) &&
        (out->n_items < 1 || out->n_items > MAX_ITEMS))
        data_refuse_format(&value, "this must be a number from 1 to %d", MAX_ITEMS);
}

/* As for a task to which the rule is given. */
static void start(call_t *call, preview_t *self, problem_t *problem)
{
    slice_t why = slice_none();
    slice_t at = recur_start(&self->rule, &self->due, call->arena, &why);
    if (!rule_allows(&self->rule, 1, &self->due.local, self->due.at_us))
        why = slice_str("the rule ends before this due date");
    else if (at.data != NULL)
        recur_open(&self->rule, &self->due, self->zone, at, &self->recur);
    if (why.data != NULL)
        problem_add_field(problem, slice_str("/rule"), why);
}

static bool read_preview(call_t *call, slice_t zone, preview_t *out)
{
    problem_t problem = {0};
    data_map_t map;
    if (data_open(&map, out->body, call->arena, &problem)) {
        read_rule(&map, out);
        read_zone(&map, zone, out);
        read_due(&map, out);
        read_n(&map, out);
        data_close(&map);
    }
    if (problem.err == ERR_OK)
        start(call, out, &problem);
    if (problem.err == ERR_OK)
        return true;
    reply_problem(call, &problem);
    return false;
}

/* --- the answer --- */

static const char *note_of(zone_fit_t fit)
{
    switch (fit) {
    case ZONE_PLAIN:
        break;
    case ZONE_GAP:
        return "Clocks are set forward over this time on that day: it is due that much later.";
    case ZONE_OVERLAP:
        return "Clocks show this time twice on that day: it is due at the first.";
    }
    return NULL;
}

static void put_item(const due_t *due, zone_fit_t fit, buf_t *out)
{
    const char *note = note_of(fit);
    mp_put_map(out, note == NULL ? 2 : 3);
    mp_put_cstr(out, "due");
    mp_put_str(out, due->text);
    mp_put_cstr(out, "due_at");
    mp_put_instant(out, due->at_us);
    if (note == NULL)
        return;
    mp_put_cstr(out, "note");
    mp_put_cstr(out, note);
}

/* The due date itself, as it was written, then what follows. */
static int64_t put_items(preview_t *preview, arena_t *arena, buf_t *out)
{
    due_t due;
    zone_fit_t fit;
    int64_t n = 1;
    due_of_local(preview->due.kind, &preview->due.local, preview->zone, arena, &due, &fit);
    /* An instant says by itself which of two equal clock readings is meant. */
    put_item(&preview->due, preview->due.kind == DUE_INSTANT ? ZONE_PLAIN : fit, out);
    for (; n < preview->n_items; n++) {
        if (recur_next(&preview->recur, arena, &due, &fit) != RULE_FOUND ||
            !rule_allows(&preview->rule, n + 1, &due.local, due.at_us))
            break;
        put_item(&due, fit, out);
    }
    return n;
}

static void show(call_t *call, slice_t zone)
{
    preview_t *preview = call->state;
    buf_t out = {0};
    if (!read_preview(call, zone, preview))
        return;
    mp_put_map(&out, 1);
    mp_put_cstr(&out, "items");
    size_t place = mp_open(&out);
    mp_close_array(&out, place, (size_t)put_items(preview, call->arena, &out));
    reply_mp(call, 200, buf_slice(&out));
    buf_fini(&out);
}

static void go_on_with_zone(call_t *call, const pg_result_t *result)
{
    show(call, pg_rows(result) > 0 ? pg_bytes(result, 0, 0) : slice_str("UTC"));
}

static bool has_zone(slice_t body)
{
    slice_t value;
    if (!mp_map_find(body, "time_zone", &value))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_peek(&reader) != MP_NIL;
}

void route_recurrence_preview(call_t *call)
{
    preview_t *preview = arena_alloc(call->arena, sizeof *preview);
    call->state = preview;
    if (!write_read_body(call, true, &preview->body))
        return;
    if (has_zone(preview->body)) {
        show(call, slice_str("UTC"));
        return;
    }
    pg_params_t *params = call_params(call);
    pg_put_uuid(params, &call->identity.account);
    call_read(call, &select_time_zone, params, go_on_with_zone);
}
