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

static void read_after(reading_t *self)
{
    data_value_t value;
    if (data_get(&self->data, "after", &value) != DATA_GIVEN)
        return;
    if (self->out->is_all) {
        data_map_t afters;
        if (data_map(&value, &afters))
            self->out->afters = value.raw;
        return;
    }
    if (!data_int(&value, &self->out->after))
        return;
    self->out->has_after = self->out->after >= 0;
    if (self->out->after < 0)
        data_refuse(&value, "a revision is not negative");
}

static void read_subscribe(reading_t *self)
{
    data_value_t value;
    read_bool(self, "all", &self->out->is_all);
    if (!self->out->is_all)
        read_stream(self);
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
    {WS_OP_HELLO, read_hello},        {WS_OP_SUBSCRIBE, read_subscribe},
    {WS_OP_UNSUBSCRIBE, read_stream}, {WS_OP_COMMAND, read_command},
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
