/* SPDX-License-Identifier: Apache-2.0 */
/* Writing leaves the choice of the shortest form to msgpack-c's packer. Reading is our own:
 * msgpack-c's unpacker builds a tree of objects, while we want a cursor that allocates nothing and
 * believes no length. All that knows the format when reading is one table and read_head(); no
 * function recurses, so that depth costs no stack. */
#include "schema/mp.h"

#include "schema/instant.h"
#include "schema/limits.h"

#include <assert.h>
#include <msgpack/pack.h>
#include <stdlib.h>

/* What stands in front of a value: its type, its size, and for what needs no more than that, the
 * value. */
typedef struct {
    mp_type_t type;
    uint32_t n; /* bytes of text or binary, items, pairs */
    uint32_t head_bytes; /* before them */
    bool is_shortest;
    int64_t value; /* of an integer or a boolean */
} head_t;

/* The lead bytes C0 to DF. `floor`: a longer form is only right above this (below its negative, if
 * signed). */
typedef struct {
    uint8_t type;
    uint8_t n_size_bytes;
    bool is_signed;
    uint32_t floor;
} form_t;

static const form_t forms[32] = {
    [0x00] = {MP_NIL, 0, false, 0},
    [0x01] = {MP_WRONG, 0, false, 0}, /* never used */
    [0x02] = {MP_BOOL, 0, false, 0},
    [0x03] = {MP_BOOL, 0, false, 0},
    [0x04] = {MP_BIN, 1, false, 0},
    [0x05] = {MP_BIN, 2, false, 0xff},
    [0x06] = {MP_BIN, 4, false, 0xffff},
    [0x07] = {MP_WRONG, 0, false, 0}, /* extensions */
    [0x08] = {MP_WRONG, 0, false, 0},
    [0x09] = {MP_WRONG, 0, false, 0},
    [0x0a] = {MP_WRONG, 0, false, 0}, /* floats */
    [0x0b] = {MP_WRONG, 0, false, 0},
    [0x0c] = {MP_INT, 1, false, 0x7f},
    [0x0d] = {MP_INT, 2, false, 0xff},
    [0x0e] = {MP_INT, 4, false, 0xffff},
    [0x0f] = {MP_INT, 8, false, 0xffffffff},
    [0x10] = {MP_INT, 1, true, 0x20},
    [0x11] = {MP_INT, 2, true, 0x80},
    [0x12] = {MP_INT, 4, true, 0x8000},
    [0x13] = {MP_INT, 8, true, 0x80000000},
    [0x14] = {MP_WRONG, 0, false, 0}, /* extensions of fixed size */
    [0x15] = {MP_WRONG, 0, false, 0},
    [0x16] = {MP_WRONG, 0, false, 0},
    [0x17] = {MP_WRONG, 0, false, 0},
    [0x18] = {MP_WRONG, 0, false, 0},
    [0x19] = {MP_STR, 1, false, 0x1f},
    [0x1a] = {MP_STR, 2, false, 0xff},
    [0x1b] = {MP_STR, 4, false, 0xffff},
    [0x1c] = {MP_ARRAY, 2, false, 0x0f},
    [0x1d] = {MP_ARRAY, 4, false, 0xffff},
    [0x1e] = {MP_MAP, 2, false, 0x0f},
    [0x1f] = {MP_MAP, 4, false, 0xffff},
};

/* --- writing --- */

static int append_packed(void *out, const char *data, size_t n_bytes)
{
    buf_append(out, data, n_bytes);
    return 0;
}

static msgpack_packer packer(buf_t *out)
{
    msgpack_packer self;
    msgpack_packer_init(&self, out, append_packed);
    return self;
}

void mp_put_nil(buf_t *out)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_nil(&pk);
}

void mp_put_bool(buf_t *out, bool value)
{
    msgpack_packer pk = packer(out);
    if (value)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void mp_put_int(buf_t *out, int64_t value)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_int64(&pk, value);
}

void mp_put_uint(buf_t *out, uint64_t value)
{
    assert(value <= INT64_MAX);
    msgpack_packer pk = packer(out);
    msgpack_pack_uint64(&pk, value);
}

void mp_put_str(buf_t *out, slice_t text)
{
    assert(text.n_bytes <= UINT32_MAX);
    msgpack_packer pk = packer(out);
    msgpack_pack_str(&pk, text.n_bytes);
    buf_append_slice(out, text);
}

void mp_put_cstr(buf_t *out, const char *text)
{
    mp_put_str(out, slice_str(text));
}

void mp_put_bin(buf_t *out, slice_t bytes)
{
    assert(bytes.n_bytes <= UINT32_MAX);
    msgpack_packer pk = packer(out);
    msgpack_pack_bin(&pk, bytes.n_bytes);
    buf_append_slice(out, bytes);
}

void mp_put_uuid(buf_t *out, const uuid_t *id)
{
    if (uuid_is_nil(id)) {
        mp_put_nil(out);
        return;
    }
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    mp_put_str(out, slice_of(text, sizeof text));
}

void mp_put_instant(buf_t *out, int64_t at_us)
{
    if (at_us == INSTANT_NONE) {
        mp_put_nil(out);
        return;
    }
    char text[INSTANT_TEXT_CHARS + 1];
    size_t n_chars = instant_format(at_us, text);
    mp_put_str(out, slice_of(text, n_chars));
}

void mp_put_array(buf_t *out, size_t n_items)
{
    assert(n_items <= UINT32_MAX);
    msgpack_packer pk = packer(out);
    msgpack_pack_array(&pk, n_items);
}

void mp_put_map(buf_t *out, size_t n_pairs)
{
    assert(n_pairs <= UINT32_MAX);
    msgpack_packer pk = packer(out);
    msgpack_pack_map(&pk, n_pairs);
}

void mp_put_raw(buf_t *out, slice_t value)
{
    buf_append_slice(out, value);
}

size_t mp_open(buf_t *out)
{
    size_t place = out->n_bytes;
    buf_append_byte(out, 0);
    return place;
}

/* Puts the finished head where one byte was reserved, and moves the content behind it. */
static void replace_head(buf_t *out, size_t place, const buf_t *head)
{
    size_t n_more = head->n_bytes - 1;
    size_t n_content = out->n_bytes - place - 1;
    if (n_more > 0) {
        buf_reserve(out, n_more);
        uint8_t *content = out->data + place + 1;
        memmove(content + n_more, content, n_content);
        out->n_bytes += n_more;
    }
    memcpy(out->data + place, head->data, head->n_bytes);
}

void mp_close_map(buf_t *out, size_t place, size_t n_pairs)
{
    if (n_pairs <= 15) {
        out->data[place] = (uint8_t)(0x80 | n_pairs);
        return;
    }
    buf_t head = {0};
    mp_put_map(&head, n_pairs);
    replace_head(out, place, &head);
    buf_fini(&head);
}

void mp_close_array(buf_t *out, size_t place, size_t n_items)
{
    if (n_items <= 15) {
        out->data[place] = (uint8_t)(0x90 | n_items);
        return;
    }
    buf_t head = {0};
    mp_put_array(&head, n_items);
    replace_head(out, place, &head);
    buf_fini(&head);
}

/* --- reading --- */

static uint64_t load_big_endian(const uint8_t *at, size_t n_bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* The value of an integer whose lead byte is of the given form; false if it is above INT64_MAX. */
static bool read_int(const form_t *form, const uint8_t *at, head_t *out)
{
    uint64_t raw = load_big_endian(at + 1, form->n_size_bytes);
    if (form->is_signed) {
        unsigned shift = 64 - 8 * (unsigned)form->n_size_bytes;
        out->value = (int64_t)(raw << shift) >> shift;
        out->is_shortest = out->value < -(int64_t)form->floor;
        return true;
    }
    out->value = (int64_t)raw;
    out->is_shortest = raw > form->floor;
    return raw <= INT64_MAX;
}

/* The lead bytes C0 to DF. */
static bool read_long_head(const uint8_t *at, size_t n_left, head_t *out)
{
    const form_t *form = &forms[*at & 0x1f];
    if (n_left < (size_t)1 + form->n_size_bytes)
        return false;
    out->type = (mp_type_t)form->type;
    out->head_bytes = 1u + form->n_size_bytes;
    out->is_shortest = true;
    out->n = 0;
    if (out->type == MP_BOOL) {
        out->value = *at & 1;
    } else if (out->type == MP_INT) {
        return read_int(form, at, out);
    } else if (form->n_size_bytes > 0) {
        out->n = (uint32_t)load_big_endian(at + 1, form->n_size_bytes);
        out->is_shortest = out->n > form->floor || (out->type == MP_BIN && form->n_size_bytes == 1);
    }
    return out->type != MP_WRONG;
}

/* Whether as much follows the head as it promises: an item has at least one byte, a pair two. */
static bool is_there(const head_t *head, size_t n_left)
{
    size_t n_behind = n_left - head->head_bytes;
    return head->type == MP_MAP ? head->n <= n_behind / 2 : head->n <= n_behind;
}

/* Reads what stands in front of the next value; false if there is none that we could have written.
 */
static bool read_head(const uint8_t *at, const uint8_t *end, head_t *out)
{
    size_t n_left = (size_t)(end - at);
    if (n_left == 0)
        return false;
    uint8_t lead = *at;
    if (lead >= 0xc0 && lead <= 0xdf)
        return read_long_head(at, n_left, out) && is_there(out, n_left);
    *out = (head_t){.head_bytes = 1, .is_shortest = true};
    if (lead < 0x80 || lead >= 0xe0) {
        out->type = MP_INT;
        out->value = (int8_t)lead;
    } else if (lead < 0x90) {
        out->type = MP_MAP;
        out->n = lead & 0x0f;
    } else if (lead < 0xa0) {
        out->type = MP_ARRAY;
        out->n = lead & 0x0f;
    } else {
        out->type = MP_STR;
        out->n = lead & 0x1f;
    }
    return is_there(out, n_left);
}

/* Takes the head of the next value if it has the wanted type. */
static bool take_head(mp_reader_t *self, mp_type_t type, head_t *out)
{
    if (self->is_wrong || !read_head(self->at, self->end, out) || out->type != type) {
        self->is_wrong = true;
        return false;
    }
    self->at += out->head_bytes;
    return true;
}

static bool take_bytes(mp_reader_t *self, mp_type_t type, slice_t *out)
{
    head_t head;
    if (!take_head(self, type, &head))
        return false;
    *out = slice_of(self->at, head.n);
    self->at += head.n;
    return true;
}

static bool take_count(mp_reader_t *self, mp_type_t type, uint32_t *out)
{
    head_t head;
    if (!take_head(self, type, &head))
        return false;
    *out = head.n;
    return true;
}

/* nil is read as "none" where an id or an instant may be absent. */
static bool take_nil(mp_reader_t *self)
{
    return !self->is_wrong && self->at < self->end && *self->at == 0xc0 && mp_get_nil(self);
}

mp_reader_t mp_reader(slice_t bytes)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes.data != NULL ? bytes.data : nothing;
    return (mp_reader_t){at, at + bytes.n_bytes, false};
}

mp_type_t mp_peek(const mp_reader_t *self)
{
    head_t head;
    if (self->is_wrong)
        return MP_WRONG;
    if (self->at == self->end)
        return MP_END;
    return read_head(self->at, self->end, &head) ? head.type : MP_WRONG;
}

bool mp_get_nil(mp_reader_t *self)
{
    head_t head;
    return take_head(self, MP_NIL, &head);
}

bool mp_get_bool(mp_reader_t *self, bool *out)
{
    head_t head;
    if (!take_head(self, MP_BOOL, &head))
        return false;
    *out = head.value != 0;
    return true;
}

bool mp_get_int(mp_reader_t *self, int64_t *out)
{
    head_t head;
    if (!take_head(self, MP_INT, &head))
        return false;
    *out = head.value;
    return true;
}

bool mp_get_str(mp_reader_t *self, slice_t *out)
{
    return take_bytes(self, MP_STR, out);
}

bool mp_get_bin(mp_reader_t *self, slice_t *out)
{
    return take_bytes(self, MP_BIN, out);
}

bool mp_get_array(mp_reader_t *self, uint32_t *n_items)
{
    return take_count(self, MP_ARRAY, n_items);
}

bool mp_get_map(mp_reader_t *self, uint32_t *n_pairs)
{
    return take_count(self, MP_MAP, n_pairs);
}

bool mp_get_uuid(mp_reader_t *self, uuid_t *out)
{
    if (take_nil(self)) {
        *out = UUID_NIL;
        return true;
    }
    slice_t text;
    uuid_t id;
    if (!mp_get_str(self, &text))
        return false;
    if (!uuid_parse(text, &id)) {
        self->is_wrong = true;
        return false;
    }
    *out = id;
    return true;
}

bool mp_get_instant(mp_reader_t *self, int64_t *out)
{
    if (take_nil(self)) {
        *out = INSTANT_NONE;
        return true;
    }
    slice_t text;
    int64_t at_us;
    if (!mp_get_str(self, &text))
        return false;
    if (!instant_parse(text, &at_us)) {
        self->is_wrong = true;
        return false;
    }
    *out = at_us;
    return true;
}

bool mp_get_raw(mp_reader_t *self, slice_t *out)
{
    uint64_t n_open[LIMIT_DEPTH + 1] = {1}; /* values still to come, by depth */
    size_t depth = 0;
    const uint8_t *start = self->at;
    const uint8_t *at = self->at;
    while (!self->is_wrong) {
        while (n_open[depth] == 0 && depth > 0)
            depth--;
        if (n_open[depth] == 0) {
            self->at = at;
            *out = slice_of(start, (size_t)(at - start));
            return true;
        }
        n_open[depth]--;
        head_t head;
        bool is_head = read_head(at, self->end, &head);
        bool is_container = is_head && (head.type == MP_ARRAY || head.type == MP_MAP);
        self->is_wrong = !is_head || (is_container && depth == LIMIT_DEPTH);
        if (self->is_wrong)
            break;
        at += head.head_bytes;
        if (is_container)
            n_open[++depth] = head.type == MP_MAP ? (uint64_t)head.n * 2 : head.n;
        else
            at += head.n;
    }
    return false;
}

bool mp_skip(mp_reader_t *self)
{
    slice_t value;
    return mp_get_raw(self, &value);
}

bool mp_next(mp_reader_t *self, mp_item_t *out)
{
    head_t head;
    if (self->is_wrong || !read_head(self->at, self->end, &head)) {
        self->is_wrong = self->is_wrong || self->at < self->end;
        return false;
    }
    self->at += head.head_bytes;
    *out = (mp_item_t){head.type, head.is_shortest, head.n, head.value, slice_none()};
    if (head.type == MP_STR || head.type == MP_BIN) {
        out->bytes = slice_of(self->at, head.n);
        self->at += head.n;
    }
    return true;
}

bool mp_map_find(slice_t map, const char *key, slice_t *value)
{
    mp_reader_t reader = mp_reader(map);
    slice_t wanted = slice_str(key);
    uint32_t n_pairs;
    if (!mp_get_map(&reader, &n_pairs))
        return false;
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t name;
        if (!mp_get_str(&reader, &name))
            return false;
        if (slice_eq(name, wanted))
            return mp_get_raw(&reader, value);
        if (!mp_skip(&reader))
            return false;
    }
    return false;
}
