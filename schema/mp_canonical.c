/* SPDX-License-Identifier: Apache-2.0 */
/* What makes bytes from outside as good as our own: one walk over them that checks form, text and
 * limits. It keeps its place in an array by depth instead of on the stack. */
#include "schema/mp.h"

#include "schema/json.h"
#include "schema/keys.h"
#include "schema/limits.h"

typedef struct {
    uint64_t n_left; /* values still to come; in a map every second one is a key */
    size_t first_key; /* of this map, in keys */
    bool is_map;
} frame_t;

typedef struct {
    mp_reader_t reader;
    frame_t frames[LIMIT_DEPTH + 1];
    size_t depth;
    size_t n_values;
    keys_t keys;
} check_t;

static bool check_bytes(const mp_item_t *item)
{
    if (item->bytes.n_bytes > LIMIT_STRING_BYTES)
        return false;
    return item->type == MP_BIN || utf8_is_text(item->bytes);
}

static bool check_key(check_t *self, const mp_item_t *item)
{
    if (item->type != MP_STR)
        return false;
    keys_push(&self->keys, item->bytes);
    return check_bytes(item);
}

static bool check_open(check_t *self, const mp_item_t *item)
{
    if (self->depth == LIMIT_DEPTH || item->n > LIMIT_ELEMENTS)
        return false;
    bool is_map = item->type == MP_MAP;
    uint64_t n_left = is_map ? (uint64_t)item->n * 2 : item->n;
    self->frames[++self->depth] = (frame_t){n_left, self->keys.n, is_map};
    return true;
}

static bool check_value(check_t *self, const mp_item_t *item)
{
    if (++self->n_values > LIMIT_ELEMENTS)
        return false;
    if (item->type == MP_ARRAY || item->type == MP_MAP)
        return check_open(self, item);
    if (item->type == MP_STR || item->type == MP_BIN)
        return check_bytes(item);
    return true;
}

/* Checks and takes the next key, scalar, or head of a container. */
static bool check_next(check_t *self)
{
    frame_t *frame = &self->frames[self->depth];
    bool is_key = frame->is_map && frame->n_left % 2 == 0;
    frame->n_left--;
    mp_item_t item;
    if (!mp_next(&self->reader, &item) || !item.is_shortest)
        return false;
    return is_key ? check_key(self, &item) : check_value(self, &item);
}

/* Ends the innermost container. */
static bool check_close(check_t *self)
{
    const frame_t *frame = &self->frames[self->depth--];
    return !frame->is_map || keys_close(&self->keys, frame->first_key);
}

bool mp_is_canonical(slice_t bytes)
{
    check_t check; /* not zeroed: it is large and most of it stays unused */
    check.reader = mp_reader(bytes);
    check.frames[0] = (frame_t){1, 0, false};
    check.depth = 0;
    check.n_values = 0;
    keys_init(&check.keys);
    bool is_fine = true;
    while (is_fine && (check.depth > 0 || check.frames[0].n_left > 0))
        is_fine = check.frames[check.depth].n_left == 0 ? check_close(&check) : check_next(&check);
    keys_fini(&check.keys);
    return is_fine && check.reader.at == check.reader.end;
}
