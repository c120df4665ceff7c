/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as msgpack. What is canonical goes through JSON and comes back the same, written again
 * value by value it has the same bytes, and whatever it is, no reader goes beyond its end. */
#include <stdlib.h>

#include <sodium.h>

#include "schema/command.h"
#include "schema/event.h"
#include "schema/json.h"
#include "schema/task.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

/* Writes what was read: integers and lengths in their shortest form, whatever form they had. */
static void copy_item(const mp_item_t *item, buf_t *out)
{
    switch (item->type) {
    case MP_NIL:
        mp_put_nil(out);
        break;
    case MP_BOOL:
        mp_put_bool(out, item->value != 0);
        break;
    case MP_INT:
        mp_put_int(out, item->value);
        break;
    case MP_STR:
        mp_put_str(out, item->bytes);
        break;
    case MP_BIN:
        mp_put_bin(out, item->bytes);
        break;
    case MP_ARRAY:
        mp_put_array(out, item->n);
        break;
    case MP_MAP:
        mp_put_map(out, item->n);
        break;
    case MP_END:
    case MP_WRONG:
        abort();
    }
}

/* Copies all items up to the first that is wrong; says whether one of them was binary. */
static bool copy_items(slice_t bytes, buf_t *out)
{
    bool has_bin = false;
    mp_reader_t reader = mp_reader(bytes);
    mp_item_t item;
    for (;;) {
        mp_type_t type = mp_peek(&reader);
        if (!mp_next(&reader, &item)) {
            must(type == MP_END || (type == MP_WRONG && reader.is_wrong));
            return has_bin;
        }
        must(type == item.type && reader.at <= reader.end);
        has_bin = has_bin || type == MP_BIN;
        copy_item(&item, out);
    }
}

static void check_canonical(slice_t value, bool has_bin, arena_t *arena)
{
    buf_t text = {0};
    buf_t again = {0};
    problem_t problem = {.err = ERR_OK};
    must(json_from_mp(value, &text) && utf8_is_valid(buf_slice(&text)));
    err_t err = json_to_mp(buf_slice(&text), &again, arena, &problem);
    must(err == ERR_OK ||
         (has_bin && err == ERR_INVALID)); /* base64 is longer than what it stands for */
    if (err == ERR_OK && !has_bin)
        must(slice_eq(value, buf_slice(&again)));
    buf_fini(&text);
    buf_fini(&again);
}

/* Reads the first value by each of the getters: one at most succeeds, and a failure says so for
 * good. */
static void try_getters(slice_t bytes)
{
    bool flag;
    int64_t number;
    uint32_t n;
    slice_t text;
    uuid_t id;
    mp_reader_t r[9];
    for (size_t i = 0; i < 9; i++)
        r[i] = mp_reader(bytes);
    mp_type_t type = mp_peek(&r[0]);
    bool is_nil = mp_get_nil(&r[0]);
    int n_taken = is_nil + mp_get_bool(&r[1], &flag) + mp_get_int(&r[2], &number) +
                  mp_get_str(&r[3], &text) + mp_get_bin(&r[4], &text) + mp_get_array(&r[5], &n) +
                  mp_get_map(&r[6], &n);
    must(n_taken == (type != MP_WRONG && type != MP_END));
    bool is_id = mp_get_uuid(&r[7], &id);
    bool is_instant = mp_get_instant(&r[8], &number);
    must(is_nil ? is_id && is_instant : !(is_id && is_instant));
    for (size_t i = 0; i < 9; i++)
        must(r[i].at <= r[i].end && (!r[i].is_wrong || !mp_skip(&r[i])));
}

static void try_decoders(slice_t bytes, arena_t *arena)
{
    event_t event;
    task_t task;
    command_t command;
    slice_t value;
    problem_t problem = {.err = ERR_OK};
    event_decode(bytes, &event);
    task_decode(bytes, arena, &task);
    if (mp_map_find(bytes, "after", &value))
        task_decode(value, arena, &task);
    if (mp_is_canonical(bytes))
        command_from_client(bytes, arena, &command, &problem);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    slice_t bytes = slice_of(data, n_bytes);
    arena_t *arena = arena_new();
    buf_t copy = {0};
    buf_t text = {0};
    bool has_bin = copy_items(bytes, &copy);
    mp_reader_t reader = mp_reader(bytes);
    bool is_whole = mp_skip(&reader) && reader.at == reader.end;
    if (mp_is_canonical(bytes)) {
        must(is_whole && slice_eq(bytes, buf_slice(&copy)));
        check_canonical(bytes, has_bin, arena);
    } else {
        must(!json_from_mp(bytes, &text) || is_whole);
    }
    try_getters(bytes);
    try_decoders(bytes, arena);
    buf_fini(&copy);
    buf_fini(&text);
    arena_destroy(&arena);
    return 0;
}
