/* SPDX-License-Identifier: Apache-2.0 */
/* One walk that checks each value and writes it anew. Its place is kept in an array by depth, which
 * is also the path that a pointer is made of. */
#include "schema/mp_foreign.h"

#include "schema/json.h"
#include "schema/json_scan.h"
#include "schema/keys.h"
#include "schema/mp.h"

typedef struct {
    uint64_t n_left; /* values still to come; in a map every second one is a key */
    size_t first_key; /* of this map, in keys */
} level_t;

typedef struct {
    mp_reader_t reader;
    buf_t *out;
    arena_t *arena;
    problem_t *problem;
    json_path_t path;
    level_t levels[LIMIT_DEPTH + 1]; /* the outermost stands for the whole */
    size_t n_values;
    keys_t keys;
} walk_t;

/* --- refusals --- */

static bool malformed(walk_t *self, const char *detail)
{
    self->problem->err = ERR_MALFORMED;
    self->problem->detail = slice_str(detail);
    return false;
}

static bool invalid(walk_t *self, const char *detail)
{
    problem_add_field(self->problem, json_path_pointer(&self->path, self->arena),
                      slice_str(detail));
    return false;
}

/* What could not be read: a type that JSON does not have, or the end came too early. */
static bool refuse_item(walk_t *self, mp_reader_t before)
{
    uint8_t lead = before.at < before.end ? *before.at : 0;
    bool is_real = lead == 0xca || lead == 0xcb;
    bool is_ext = (lead >= 0xc7 && lead <= 0xc9) || (lead >= 0xd4 && lead <= 0xd8);
    bool is_large = lead == 0xcf && before.end - before.at >= 9;
    if (is_real || is_large)
        return invalid(self, "A number must be an integer of 64 bits.");
    if (is_ext)
        return invalid(self, "Extension types are not taken.");
    return malformed(self, "The message is no msgpack, or is cut off.");
}

/* --- values --- */

static bool take_text(walk_t *self, slice_t text)
{
    if (!utf8_is_valid(text))
        return malformed(self, "A text is not UTF-8.");
    if (text.n_bytes > LIMIT_STRING_BYTES)
        return invalid(self, "A string may have 262144 bytes.");
    if (!utf8_is_text(text))
        return invalid(self, "A string must not contain NUL.");
    mp_put_str(self->out, text);
    return true;
}

static bool take_key(walk_t *self, const mp_item_t *item)
{
    if (item->type != MP_STR)
        return malformed(self, "A key must be text.");
    json_level_t *level = &self->path.levels[self->path.depth - 1];
    level->key = item->bytes;
    level->has_key = true;
    keys_push(&self->keys, item->bytes);
    return take_text(self, item->bytes);
}

static bool open_container(walk_t *self, const mp_item_t *item)
{
    bool is_map = item->type == MP_MAP;
    if (self->path.depth == LIMIT_DEPTH)
        return invalid(self, "Values may be nested 16 deep.");
    if (item->n > LIMIT_ELEMENTS)
        return invalid(self, "There may be 65536 values in all.");
    if (is_map)
        mp_put_map(self->out, item->n);
    else
        mp_put_array(self->out, item->n);
    self->path.levels[self->path.depth++] = (json_level_t){.is_object = is_map};
    self->levels[self->path.depth] =
        (level_t){is_map ? (uint64_t)item->n * 2 : item->n, self->keys.n};
    return true;
}

static bool take_value(walk_t *self, const mp_item_t *item)
{
    if (++self->n_values > LIMIT_ELEMENTS)
        return invalid(self, "There may be 65536 values in all.");
    switch (item->type) {
    case MP_NIL:
        mp_put_nil(self->out);
        return true;
    case MP_BOOL:
        mp_put_bool(self->out, item->value != 0);
        return true;
    case MP_INT:
        mp_put_int(self->out, item->value);
        return true;
    case MP_STR:
        return take_text(self, item->bytes);
    case MP_BIN:
        return invalid(self, "Binary is not taken: write it as text.");
    case MP_ARRAY:
    case MP_MAP:
        return open_container(self, item);
    case MP_END:
    case MP_WRONG:
        break;
    }
    return malformed(self, "The message is no msgpack, or is cut off.");
}

static bool is_in_map(const walk_t *self)
{
    return self->path.depth > 0 && self->path.levels[self->path.depth - 1].is_object;
}

static bool take_next(walk_t *self)
{
    level_t *level = &self->levels[self->path.depth];
    bool is_key = is_in_map(self) && level->n_left % 2 == 0;
    mp_reader_t before = self->reader;
    mp_item_t item;
    level->n_left--;
    if (!mp_next(&self->reader, &item))
        return refuse_item(self, before);
    return is_key ? take_key(self, &item) : take_value(self, &item);
}

/* A value of an array is behind us. */
static void step_on(walk_t *self)
{
    if (self->path.depth > 0 && !is_in_map(self))
        self->path.levels[self->path.depth - 1].index++;
}

static bool end_container(walk_t *self)
{
    bool is_map = is_in_map(self);
    size_t first_key = self->levels[self->path.depth].first_key;
    self->path.depth--;
    if (is_map && !keys_close(&self->keys, first_key))
        return malformed(self, "A key stands twice in a map.");
    step_on(self);
    return true;
}

static bool walk(walk_t *self)
{
    while (self->path.depth > 0 || self->levels[0].n_left > 0) {
        size_t depth = self->path.depth;
        if (self->levels[depth].n_left == 0) {
            if (!end_container(self))
                return false;
            continue;
        }
        if (!take_next(self))
            return false;
        if (self->path.depth == depth)
            step_on(self);
    }
    return self->reader.at == self->reader.end ||
           malformed(self, "There are bytes behind the message.");
}

err_t mp_from_foreign(slice_t bytes, buf_t *out, arena_t *arena, problem_t *problem)
{
    walk_t self; /* not zeroed: it is large and most of it stays unused */
    size_t n_before = out->n_bytes;
    self.reader = mp_reader(bytes);
    self.out = out;
    self.arena = arena;
    self.problem = problem;
    self.path.depth = 0;
    self.path.is_raw = false;
    self.levels[0] = (level_t){1, 0};
    self.n_values = 0;
    keys_init(&self.keys);
    bool is_fine = walk(&self);
    keys_fini(&self.keys);
    if (is_fine)
        return ERR_OK;
    out->n_bytes = n_before;
    return problem->err;
}
