/* SPDX-License-Identifier: Apache-2.0 */
/* A log to be read, made by the rules that the writer goes by: tasks are created, patched eight
 * times and completed, in lists that take turns at random. Prints rows of `event` for COPY in
 * binary, so that a million of them are there in seconds; digests and fingerprints are as the
 * writer seals them. What else a list consists of is left to who loads the rows. */
#include "bench/load.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema/apply.h"
#include "schema/json.h"

#define PATCHES 8
#define ROUND (1 + PATCHES + 1)
#define POSTGRES_EPOCH_US (INT64_C(946684800) * US_PER_S)
#define STEP_US 10 /* from one event to the next */
#define COLUMNS 15

static const char usage[] =
    "usage: load_log --account ID --epoch EPOCH [--first-id N] [--events N] [--streams N]\n"
    "                [--notes BYTES]\n"
    "\n"
    "Prints `COPY event FROM STDIN (FORMAT binary)`: after an event for each list so many that are "
    "one\n"
    "creation, eight patches and a completion of a task, in lists of the account.\n";

typedef struct {
    uuid_t id;
    int64_t head;
    slice_t tail; /* in `tail_text` */
    char tail_text[LIMIT_POSITION_CHARS];
    int64_t n_open;
    unsigned step; /* of ROUND */
    uuid_t task_id;
    buf_t task; /* encoded */
} list_log_t;

typedef struct {
    uuid_t account;
    char epoch[EPOCH_CHARS];
    int64_t next_id;
    int64_t n_events;
    size_t n_lists;
    size_t n_notes;
    list_log_t *lists;
    int64_t at_us;
    uint64_t random;
    arena_t *arena; /* of one command */
    state_t *state;
    buf_t data;
    buf_t out;
} load_t;

/* --- rows --- */

static void put_be(buf_t *out, uint64_t value, int n_bytes)
{
    for (int i = n_bytes - 1; i >= 0; i--)
        buf_append_byte(out, (uint8_t)(value >> 8 * i));
}

static void put_number(buf_t *out, int64_t value, int n_bytes)
{
    put_be(out, (uint64_t)n_bytes, 4);
    put_be(out, (uint64_t)value, n_bytes);
}

static void put_bytes(buf_t *out, const void *bytes, size_t n_bytes)
{
    put_be(out, n_bytes, 4);
    buf_append(out, bytes, n_bytes);
}

static void put_uuid(buf_t *out, const uuid_t *id)
{
    if (uuid_is_nil(id))
        put_be(out, UINT32_MAX, 4);
    else
        put_bytes(out, id->bytes, UUID_BYTES);
}

static void put_row(load_t *self, const state_event_t *row)
{
    uint8_t salt[SALT_BYTES], digest[DIGEST_BYTES], fingerprint[FINGERPRINT_BYTES];
    const event_t *event = &row->event;
    buf_t *out = &self->out;
    randombytes_buf(salt, sizeof salt);
    event_digest(row->body, salt, digest);
    command_seal_fingerprint(row->fingerprint, salt, fingerprint);
    put_be(out, COLUMNS, 2);
    put_number(out, self->next_id++, 8);
    put_number(out, (int64_t)shard_of(&event->stream), 2);
    put_uuid(out, &event->stream);
    put_number(out, event->rev, 8);
    put_number(out, event->type, 2);
    put_uuid(out, &event->task);
    put_uuid(out, &event->command);
    put_uuid(out, &event->by);
    put_number(out, row->is_answer, 1);
    put_number(out, event->at_us - POSTGRES_EPOCH_US, 8);
    put_bytes(out, self->epoch, EPOCH_CHARS);
    put_bytes(out, digest, sizeof digest);
    put_bytes(out, salt, sizeof salt);
    if (row->is_answer)
        put_bytes(out, fingerprint, sizeof fingerprint);
    else
        put_be(out, UINT32_MAX, 4);
    put_bytes(out, row->body.data, row->body.n_bytes);
}

static void flush(load_t *self)
{
    if (fwrite(self->out.data, 1, self->out.n_bytes, stdout) != self->out.n_bytes)
        load_die("cannot write");
    buf_reset(&self->out);
}

/* --- commands --- */

static void begin(load_t *self, const list_log_t *list)
{
    arena_reset(self->arena);
    self->state = state_new(self->arena, self->epoch);
    state_put_stream(self->state, &(stream_t){.id = self->account, .is_account = true, .head = 1});
    state_put_account(self->state, &(account_t){.id = self->account,
                                                .rev = 1,
                                                .email = slice_str("bench@example.org"),
                                                .time_zone = slice_str("Europe/Zurich"),
                                                .all_day_time = slice_str(ALL_DAY_TIME)});
    if (list->head == 0)
        return;
    state_put_stream(self->state, &(stream_t){.id = list->id,
                                              .head = list->head,
                                              .tail = list->tail,
                                              .n_open = list->n_open});
    state_put_list(self->state, &(list_t){.id = list->id,
                                          .rev = 1,
                                          .title = slice_str("Bench"),
                                          .n_owners = 1,
                                          .n_members = 1,
                                          .created_by = self->account,
                                          .deleted_at_us = INSTANT_NONE});
    state_put_member(self->state,
                     &(member_t){.key = {list->id, self->account}, .role = ROLE_OWNER});
    if (list->task.n_bytes > 0) {
        task_t task;
        if (!task_decode(buf_slice(&list->task), self->arena, &task))
            load_die("a task cannot be read");
        state_put_task(self->state, &task, false, false);
        state_put_node(self->state, &task, &UUID_NIL);
    }
}

static void put_data(load_t *self, unsigned step)
{
    buf_t text = {0};
    problem_t problem = {0};
    buf_append_str(&text, "{\"title\":\"");
    stamp_put(&text, self->at_us);
    buf_append_byte(&text, '"');
    if (step == 0 && self->n_notes > 0) {
        buf_append_str(&text, ",\"notes\":\"");
        for (size_t i = 0; i < self->n_notes; i++)
            buf_append_byte(&text, i % 6 == 5 ? ' ' : (uint8_t)('a' + i % 26));
        buf_append_byte(&text, '"');
    }
    buf_append_byte(&text, '}');
    buf_reset(&self->data);
    if (json_to_mp(buf_slice(&text), &self->data, self->arena, &problem) != ERR_OK)
        load_die("the data of a command is wrong");
    buf_fini(&text);
}

/* Keeps what the next command in this list needs. */
static void keep(load_t *self, list_log_t *list, const outcome_t *outcome)
{
    const stream_t *stream = state_stream(self->state, &list->id);
    list->head = stream->head;
    list->n_open = stream->n_open;
    if (stream->tail.n_bytes > sizeof list->tail_text)
        load_die("a position is too long");
    if (stream->tail.n_bytes > 0)
        memcpy(list->tail_text, stream->tail.data, stream->tail.n_bytes);
    list->tail = slice_of(list->tail_text, stream->tail.n_bytes);
    buf_reset(&list->task);
    if (outcome->body.data != NULL)
        buf_append_slice(&list->task, outcome->body);
}

static void run(load_t *self, list_log_t *list, command_t *command)
{
    outcome_t outcome;
    command->id = uuid_v7(self->at_us / 1000 * 1000);
    command->author = self->account;
    command->scopes = SCOPE_READ | SCOPE_WRITE;
    command->list = list->id;
    command_fingerprint(command);
    apply(command, self->state, self->at_us, &outcome);
    if (outcome.problem.err != ERR_OK)
        load_die("%s is refused: %s", op_name(command->op), err_code(outcome.problem.err));
    const state_event_t *row;
    for (size_t i = 0; (row = state_event_at(self->state, i)) != NULL; i++) {
        if (uuid_eq(&row->event.stream, &list->id)) /* not what the account is told */
            put_row(self, row);
    }
    keep(self, list, &outcome);
    self->at_us += STEP_US;
}

static void make_list(load_t *self, list_log_t *list)
{
    list->id = uuid_v7(self->at_us / 1000 * 1000);
    begin(self, list);
    put_data(self, 1);
    command_t command = {.op = OP_LIST_CREATE, .data = buf_slice(&self->data)};
    run(self, list, &command);
}

static void take_step(load_t *self, list_log_t *list)
{
    unsigned step = list->step;
    list->step = (step + 1) % ROUND;
    if (step == 0) {
        list->task_id = uuid_v7(self->at_us / 1000 * 1000);
        buf_reset(&list->task);
    }
    begin(self, list);
    put_data(self, step);
    command_t command = {.op = step == 0           ? OP_TASK_CREATE
                               : step == ROUND - 1 ? OP_TASK_COMPLETE
                                                   : OP_TASK_PATCH,
                         .task = list->task_id};
    if (command.op != OP_TASK_COMPLETE)
        command.data = buf_slice(&self->data);
    run(self, list, &command);
}

static void make_log(load_t *self)
{
    static const char head[] = "PGCOPY\n\377\r\n";
    buf_append(&self->out, head, sizeof head);
    put_be(&self->out, 0, 8);
    for (size_t i = 0; i < self->n_lists; i++)
        make_list(self, &self->lists[i]);
    for (int64_t i = 0; i < self->n_events; i++) {
        take_step(self, &self->lists[load_random(&self->random) % self->n_lists]);
        if (self->out.n_bytes > 1024 * 1024)
            flush(self);
    }
    put_be(&self->out, UINT16_MAX, 2);
    flush(self);
}

static void parse(load_t *self, int argc, char **argv)
{
    static const struct option options[] = {{"account", required_argument, NULL, 'a'},
                                            {"epoch", required_argument, NULL, 'e'},
                                            {"first-id", required_argument, NULL, 'i'},
                                            {"events", required_argument, NULL, 'n'},
                                            {"streams", required_argument, NULL, 's'},
                                            {"notes", required_argument, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'a' && uuid_parse(slice_str(optarg), &self->account))
            continue;
        if (option == 'e' && strlen(optarg) == EPOCH_CHARS)
            memcpy(self->epoch, optarg, EPOCH_CHARS);
        else if (option == 'i')
            self->next_id = load_number("--first-id", optarg, 1, INT64_MAX / 2);
        else if (option == 'n')
            self->n_events = load_number("--events", optarg, 1, 1000000000);
        else if (option == 's')
            self->n_lists = (size_t)load_number("--streams", optarg, 1, 1000000);
        else if (option == 'b')
            self->n_notes = (size_t)load_number("--notes", optarg, 0, 10000);
        else
            load_die("%s", usage);
    }
    if (uuid_is_nil(&self->account) || self->epoch[0] == '\0' || optind != argc)
        load_die("%s", usage);
}

int main(int argc, char **argv)
{
    load_t self = {.next_id = 1, .n_events = 100000, .n_lists = 10000, .random = 1};
    if (sodium_init() < 0)
        load_die("libsodium does not start");
    parse(&self, argc, argv);
    self.at_us = load_wall_us() - (self.n_events + (int64_t)self.n_lists) * STEP_US;
    self.arena = arena_new();
    self.lists = calloc(self.n_lists, sizeof *self.lists);
    if (self.lists == NULL)
        abort();
    make_log(&self);
    for (size_t i = 0; i < self.n_lists; i++)
        buf_fini(&self.lists[i].task);
    free(self.lists);
    buf_fini(&self.data);
    buf_fini(&self.out);
    arena_destroy(&self.arena);
    return 0;
}
