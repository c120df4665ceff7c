/* SPDX-License-Identifier: Apache-2.0 */
/* One function per op, which is also the list of what that op takes. */
#include "gateway/ws_request.h"

#include "schema/data.h"
#include "schema/json.h"
#include "schema/mp_foreign.h"

#define MAX_EPOCH_BYTES 64

typedef struct {
    data_map_t data;
    arena_t *arena;
    ws_request_t *out;
} reading_t;

/* The ref as JSON: it goes back as it came, and is looked at by nobody. */
static void read_ref(reading_t *self)
{
    data_value_t value;
    if (data_get(&self->data, "ref", &value) != DATA_GIVEN)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    mp_type_t type = mp_peek(&reader);
    if ((type != MP_STR && type != MP_INT) || value.raw.n_bytes > WS_REF_MAX_BYTES) {
        data_refuse(&value, "this must be an integer or a short text");
        return;
    }
    buf_t json = {0};
    if (json_from_mp(value.raw, &json))
        self->out->ref = arena_copy(self->arena, buf_slice(&json));
    buf_fini(&json);
}

static void read_bool(reading_t *self, const char *key, bool *out)
{
    data_value_t value;
    if (data_get(&self->data, key, &value) != DATA_GIVEN)
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (!mp_get_bool(&reader, out))
        data_refuse(&value, "this must be true or false");
}

static void read_hello(reading_t *self)
{
    data_value_t value;
    if (data_need(&self->data, "token", &value))
        data_str(&value, WS_TOKEN_MAX_BYTES, &self->out->token);
}

static void read_stream(reading_t *self)
{
    data_value_t value;
    if (data_need(&self->data, "stream", &value))
        data_uuid(&value, &self->out->stream);
}

/* A stream and the rev that the client has of it; written with the id in lower case, as it is
 * looked up. */
static bool read_place(data_value_t *place, mp_reader_t *reader, buf_t *out)
{
    uuid_t stream;
    int64_t rev;
    if (!mp_get_str(reader, &place->key) || !mp_get_raw(reader, &place->raw))
        return false;
    if (!uuid_parse(place->key, &stream)) {
        data_refuse(place, "a stream is named by its id");
        return true;
    }
    if (!data_int(place, &rev))
        return true;
    if (rev < 0)
        data_refuse(place, "a revision is not negative");
    mp_put_uuid(out, &stream);
    mp_put_int(out, rev);
    return true;
}

static void read_afters(reading_t *self, const data_value_t *value)
{
    data_value_t place = *value;
    buf_t out = {0};
    uint32_t n_pairs = 0;
    mp_reader_t reader = mp_reader(value->raw);
    if (mp_peek(&reader) != MP_MAP || !mp_get_map(&reader, &n_pairs) || n_pairs > WS_MAX_AFTERS) {
        data_refuse(value, "this must be an object of at most 1000 revisions, by stream");
        return;
    }
    place.path = data_pointer(value);
    mp_put_map(&out, n_pairs);
    for (uint32_t i = 0; i < n_pairs; i++) {
        if (!read_place(&place, &reader, &out))
            break;
    }
    self->out->afters = arena_copy(self->arena, buf_slice(&out));
    buf_fini(&out);
}

static void read_after(reading_t *self)
{
    data_value_t value;
    if (data_get(&self->data, "after", &value) != DATA_GIVEN)
        return;
    if (self->out->is_all) {
        read_afters(self, &value);
        return;
    }
    if (!data_int(&value, &self->out->after))
        return;
    self->out->has_after = self->out->after >= 0;
    if (self->out->after < 0)
        data_refuse(&value, "a revision is not negative");
}

static void read_which(reading_t *self)
{
    read_bool(self, "all", &self->out->is_all);
    if (!self->out->is_all)
        read_stream(self);
}

static void read_subscribe(reading_t *self)
{
    data_value_t value;
    read_which(self);
    read_after(self);
    if (data_get(&self->data, "epoch", &value) == DATA_GIVEN)
        data_str(&value, MAX_EPOCH_BYTES, &self->out->epoch);
    read_bool(self, "closed", &self->out->closed);
}

static void read_command(reading_t *self)
{
    data_value_t value;
    if (!data_need(&self->data, "command", &value))
        return;
    mp_reader_t reader = mp_reader(value.raw);
    if (mp_peek(&reader) == MP_MAP)
        self->out->command = value.raw;
    else
        data_refuse(&value, "this must be an object");
}

static void read_nothing(reading_t *self)
{
    (void)self;
}

static const char *const op_words[] = {"hello",   "subscribe", "unsubscribe",
                                       "command", "ping",      NULL};

static const struct {
    ws_op_t op;
    void (*read)(reading_t *self);
} op_rows[] = {
    {WS_OP_HELLO, read_hello},       {WS_OP_SUBSCRIBE, read_subscribe},
    {WS_OP_UNSUBSCRIBE, read_which}, {WS_OP_COMMAND, read_command},
    {WS_OP_PING, read_nothing},
};

err_t ws_request_read(slice_t map, arena_t *arena, ws_request_t *out, problem_t *problem)
{
    reading_t self = {.arena = arena, .out = out};
    data_value_t value;
    int word = 0;
    *out = (ws_request_t){.op = WS_OP_NONE};
    if (!data_open(&self.data, map, arena, problem))
        return problem->err;
    read_ref(&self);
    if (!data_need(&self.data, "op", &value) || !data_word(&value, op_words, &word))
        return problem->err;
    out->op = op_rows[word].op;
    op_rows[word].read(&self);
    data_close(&self.data);
    return problem->err;
}

typedef err_t turn_f(slice_t bytes, buf_t *out, arena_t *arena, problem_t *problem);

static err_t read_as(turn_f *turn, slice_t bytes, arena_t *arena, ws_request_t *out,
                     problem_t *problem)
{
    buf_t map = {0};
    *out = (ws_request_t){.op = WS_OP_NONE};
    err_t err = turn(bytes, &map, arena, problem);
    slice_t kept = err == ERR_OK ? arena_copy(arena, buf_slice(&map)) : slice_none();
    buf_fini(&map);
    return err == ERR_OK ? ws_request_read(kept, arena, out, problem) : err;
}

err_t ws_request_read_json(slice_t text, arena_t *arena, ws_request_t *out, problem_t *problem)
{
    return read_as(json_to_mp, text, arena, out, problem);
}

err_t ws_request_read_msgpack(slice_t bytes, arena_t *arena, ws_request_t *out, problem_t *problem)
{
    return read_as(mp_from_foreign, bytes, arena, out, problem);
}
