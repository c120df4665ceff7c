/* SPDX-License-Identifier: Apache-2.0 */
/* Live sync under whatever order of things: events, reads that are answered late and out of order
 * or not at all, sockets that take little or nothing, inboxes that run full, members that come and
 * go, purges, other histories. Each client follows the protocol as API.md has it and believes
 * nothing: each rev once and in order, nothing that its account may not see, and in the end it has
 * what the database has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/live_world.h"

#define N_CLIENTS 10
#define INBOX_LIMIT 8
/* A request by name is referred to as its number times this, and the rev that it named. */
#define REF_REVS 1000000

typedef enum { FOLLOW_NOT, FOLLOW_ASKED, FOLLOW_SNAPSHOT, FOLLOW_ON } follow_t;

typedef struct {
    follow_t state;
    bool has_position;
    bool must_ask; /* of who follows all: it was let go */
    int64_t answered; /* the last request by name that was */
    int64_t rev; /* seen up to here */
    char epoch[EPOCH_CHARS];
} place_t;

typedef struct {
    socket_t *socket;
    bool is_welcome;
    bool follows_all; /* with one request, and never asks for a list that it has not heard of */
    bool must_ask_all;
    bool must_reconnect;
    int64_t n_asked; /* by name */
    place_t places[W_STREAMS];
} client_t;

static client_t clients[N_CLIENTS];
static struct {
    int n_events;
    int n_snapshots;
    int n_resumed;
    int n_resets;
    int n_removed;
    int n_errors;
    int n_read; /* from event streams */
} tally;

static int roll(int n)
{
    return rand() % n;
}

/* --- what a client reads --- */

typedef struct {
    slice_t map;
    arena_t *arena;
} message_in_t;

static slice_t text_of(const message_in_t *in, const char *key)
{
    slice_t value;
    slice_t text = slice_none();
    if (mp_map_find(in->map, key, &value)) {
        mp_reader_t reader = mp_reader(value);
        (void)mp_get_str(&reader, &text);
    }
    return text;
}

static int64_t int_of(const message_in_t *in, const char *key)
{
    slice_t value;
    int64_t number = -1;
    if (mp_map_find(in->map, key, &value)) {
        mp_reader_t reader = mp_reader(value);
        (void)mp_get_int(&reader, &number);
    }
    return number;
}

static bool flag_of(const message_in_t *in, const char *key)
{
    slice_t value;
    bool flag = false;
    if (mp_map_find(in->map, key, &value)) {
        mp_reader_t reader = mp_reader(value);
        (void)mp_get_bool(&reader, &flag);
    }
    return flag;
}

static int stream_of(const message_in_t *in)
{
    uuid_t id;
    if (!uuid_parse(text_of(in, "stream"), &id))
        return -1;
    return (int)(w_find(&id) - w.streams);
}

static bool is_not_found(const message_in_t *in)
{
    slice_t problem;
    message_in_t inner = {slice_none(), in->arena};
    if (!mp_map_find(in->map, "problem", &problem))
        return false;
    inner.map = problem;
    return int_of(&inner, "status") == 404;
}

/* Nobody is shown what came after its removal. */
static void assert_visible(const client_t *self, int stream, int64_t rev)
{
    int account = self->socket->account;
    const w_stream_t *at = &w.streams[stream];
    if (stream < W_ACCOUNTS)
        assert_int_equal(stream, account);
    else if (!at->is_member[account])
        assert_true(rev < at->removed_rev[account]);
}

static void on_event(client_t *self, const message_in_t *in, int stream)
{
    place_t *place = &self->places[stream];
    int64_t rev = int_of(in, "rev");
    assert_int_equal(place->state, FOLLOW_ON);
    assert_int_equal(rev, place->rev + 1);
    assert_true(slice_eq(text_of(in, "epoch"), slice_of(place->epoch, EPOCH_CHARS)));
    /* What it has not read yet may be of a history in which that rev was something else. */
    if (memcmp(place->epoch, w.epoch, EPOCH_CHARS) == 0)
        assert_visible(self, stream, rev);
    place->rev = rev;
    tally.n_events++;
}

/* Who follows all is answered for streams that it did not name. If it has named one which appeared
 * by itself before that was heard, the answer to its name begins anew. */
static void expect_answer(client_t *self, place_t *place, const message_in_t *in)
{
    int64_t ref = int_of(in, "ref");
    bool is_named = ref > place->answered;
    if (is_named)
        place->answered = ref;
    if (self->follows_all && (is_named || place->state == FOLLOW_NOT))
        place->state = FOLLOW_ASKED;
    place->must_ask = false;
}

static void on_subscribed(client_t *self, const message_in_t *in, int stream)
{
    place_t *place = &self->places[stream];
    int64_t ref = int_of(in, "ref");
    expect_answer(self, place, in);
    assert_int_equal(place->state, FOLLOW_ASKED);
    if (self->follows_all && ref >= 0) {
        place->has_position = true;
        place->rev = ref % REF_REVS;
    }
    assert_true(place->has_position);
    assert_true(int_of(in, "rev") >= place->rev);
    assert_true(slice_eq(text_of(in, "epoch"), slice_of(place->epoch, EPOCH_CHARS)));
    place->state = FOLLOW_ON;
    tally.n_resumed++;
}

static void on_snapshot(client_t *self, const message_in_t *in, int stream)
{
    place_t *place = &self->places[stream];
    int64_t rev = int_of(in, "rev");
    expect_answer(self, place, in);
    assert_true(place->state == FOLLOW_ASKED || place->state == FOLLOW_SNAPSHOT);
    if (place->state == FOLLOW_SNAPSHOT)
        assert_int_equal(rev, place->rev);
    place->rev = rev;
    place->has_position = true;
    memcpy(place->epoch, text_of(in, "epoch").data, EPOCH_CHARS);
    place->state = flag_of(in, "more") ? FOLLOW_SNAPSHOT : FOLLOW_ON;
    tally.n_snapshots += place->state == FOLLOW_ON;
}

static void on_end(client_t *self, int stream, bool is_reset)
{
    place_t *place = &self->places[stream];
    if (is_reset)
        assert_true(place->state == FOLLOW_ON || place->state == FOLLOW_SNAPSHOT);
    if (place->state == FOLLOW_SNAPSHOT)
        place->has_position = false; /* it has half of a state */
    place->state = FOLLOW_NOT;
}

static void on_message(client_t *self, const message_in_t *in)
{
    slice_t op = text_of(in, "op");
    int stream = stream_of(in);
    if (slice_is(op, "event")) {
        on_event(self, in, stream);
    } else if (slice_is(op, "subscribed")) {
        on_subscribed(self, in, stream);
    } else if (slice_is(op, "snapshot")) {
        on_snapshot(self, in, stream);
    } else if (slice_is(op, "reset")) {
        assert_false(slice_is(text_of(in, "reason"), "the log has a gap"));
        on_end(self, stream, true);
        self->places[stream].must_ask = true;
        tally.n_resets++;
    } else if (slice_is(op, "removed")) {
        assert_true(self->follows_all || self->places[stream].state != FOLLOW_NOT);
        on_end(self, stream, false);
        self->places[stream].must_ask = false;
        self->places[stream].has_position = false;
        tally.n_removed++;
    } else if (slice_is(op, "error") && self->follows_all) {
        if (stream >= 0)
            on_end(self, stream, false);
        if (stream >= W_ACCOUNTS || (stream >= 0 && text_of(in, "ref").data == NULL))
            self->places[stream].must_ask = !is_not_found(in); /* else it appears by itself */
        else
            self->must_reconnect = true; /* perhaps nothing is followed */
        tally.n_errors++;
    } else if (slice_is(op, "error")) {
        assert_true(stream >= 0 && self->places[stream].state == FOLLOW_ASKED);
        on_end(self, stream, false);
        tally.n_errors++;
    } else {
        assert_true(slice_is(op, "welcome"));
        self->is_welcome = true;
    }
}

static void read_all(client_t *self)
{
    const char *at = (const char *)self->socket->received.data;
    arena_t *arena = arena_new();
    for (size_t i = 0; i < self->socket->n_received; i++) {
        problem_t problem = {0};
        buf_t map = {0};
        assert_int_equal(json_to_mp(slice_str(at), &map, arena, &problem), ERR_OK);
        message_in_t in = {buf_slice(&map), arena};
        on_message(self, &in);
        buf_fini(&map);
        at += strlen(at) + 1;
    }
    arena_destroy(&arena);
    w_forget_received(self->socket);
}

/* --- who reads an event stream --- */

#define N_READERS 5

/* It stays with its stream, and resumes by the last id that it had. */
typedef struct {
    socket_t *socket;
    int stream;
    int account;
    bool has_position;
    bool was_asked; /* with a position */
    int64_t rev;
    char epoch[EPOCH_CHARS];
} reader_t;

static reader_t readers[N_READERS];

static void start_reading(reader_t *self)
{
    sse_place_t place = {.after = SSE_FROM_HEAD};
    int at = N_CLIENTS + (int)(self - readers);
    if (self->has_position)
        place = (sse_place_t){self->rev, slice_of(self->epoch, EPOCH_CHARS)};
    self->was_asked = self->has_position;
    self->socket = w_open_feed(at, self->account, &w.streams[self->stream].id, &place);
}

static const char *line_of(const char *block, const char *name)
{
    const char *at = strstr(block, name);
    return at == NULL ? NULL : at + strlen(name);
}

static void take_block(reader_t *self, const char *block)
{
    const char *id = line_of(block, "id: ");
    const char *type = line_of(block, "event: ");
    if (id == NULL) {
        bool is_end =
            type != NULL && (strncmp(type, "reset", 5) == 0 || strncmp(type, "removed", 7) == 0);
        assert_true(block[0] == ':' || is_end);
        tally.n_resets += is_end;
        return;
    }
    int64_t rev = atoll(id + EPOCH_CHARS + 1);
    if (type == NULL) { /* the start */
        assert_true(!self->was_asked || rev == self->rev);
        memcpy(self->epoch, id, EPOCH_CHARS);
        self->has_position = true;
        self->rev = rev;
        return;
    }
    assert_non_null(strstr(block, "data: {\"stream\":"));
    assert_memory_equal(id, self->epoch, EPOCH_CHARS);
    assert_int_equal(rev, ++self->rev);
    const w_stream_t *at = &w.streams[self->stream];
    if (self->stream >= W_ACCOUNTS && memcmp(id, w.epoch, EPOCH_CHARS) == 0)
        assert_true(at->is_member[self->account] || rev < at->removed_rev[self->account]);
    tally.n_read++;
}

static void read_stream(reader_t *self)
{
    buf_t text = self->socket->received;
    self->socket->received = (buf_t){0};
    buf_append_byte(&text, '\0');
    char *block = (char *)text.data;
    for (char *end = strstr(block, "\n\n"); end != NULL; end = strstr(block, "\n\n")) {
        end[1] = '\0';
        take_block(self, block);
        block = end + 2;
    }
    assert_int_equal(*block, 0);
    buf_fini(&text);
}

/* Reads, and comes back if it has ended. */
static void act_as_reader(reader_t *self)
{
    read_stream(self);
    if (self->socket->is_feed && self->socket->status > 200) {
        bool is_known = self->socket->status == 404 || self->socket->status == 503;
        assert_true(is_known || self->socket->status == 410);
        if (self->socket->status == 410)
            self->has_position = false;
        w_close_feed(self->socket);
    }
    if (!self->socket->is_feed)
        start_reading(self);
    else if (roll(60) == 0)
        w_close_feed(self->socket);
}

static void start_readers(void)
{
    memset(readers, 0, sizeof readers);
    for (int i = 0; i < N_READERS; i++) {
        readers[i].account = i % W_ACCOUNTS;
        readers[i].stream = i == 0 ? 0 : W_ACCOUNTS + i % W_LISTS;
        start_reading(&readers[i]);
    }
}

static bool has_read_all(const reader_t *self)
{
    const w_stream_t *stream = &w.streams[self->stream];
    if (!w_may_read(stream, self->account))
        return self->socket->status != 200;
    return self->socket->status == 200 && self->rev == stream->n_events &&
           memcmp(self->epoch, w.epoch, EPOCH_CHARS) == 0;
}

/* --- what a client does --- */

static void connect_client(client_t *self, int at)
{
    w.sockets[at].speaks_msgpack = roll(3) == 0;
    if (self->socket == NULL)
        self->socket = w_open(at, at % W_ACCOUNTS);
    else
        self->socket = w_open(at, self->socket->account);
    self->is_welcome = false;
    self->follows_all = roll(3) == 0;
    self->must_ask_all = self->follows_all;
    self->must_reconnect = false;
    for (int i = 0; i < W_STREAMS; i++) {
        on_end(self, i, false);
        self->places[i].must_ask = false;
    }
}

static void disconnect(client_t *self)
{
    w_forget_received(self->socket); /* what it had not read is lost */
    w_finish_close(self->socket);
    for (int i = 0; i < W_STREAMS; i++)
        on_end(self, i, false);
}

/* Positions of one history only can be named. */
static void ask_all(client_t *self)
{
    char id[UUID_TEXT_CHARS];
    buf_t json = {0};
    if (!self->must_ask_all || !self->socket->is_open || self->socket->close_code != 0)
        return;
    self->must_ask_all = false;
    buf_format(&json,
               "{\"op\":\"subscribe\",\"all\":true,\"ref\":\"all\",\"epoch\":\"%.*s\","
               "\"after\":{",
               EPOCH_CHARS, w.epoch);
    const char *comma = "";
    for (int i = 0; i < W_STREAMS; i++) {
        const place_t *place = &self->places[i];
        if (!place->has_position || memcmp(place->epoch, w.epoch, EPOCH_CHARS) != 0)
            continue;
        uuid_format(&w.streams[i].id, id);
        buf_format(&json, "%s\"%.*s\":%lld", comma, UUID_TEXT_CHARS, id, (long long)place->rev);
        comma = ",";
    }
    buf_append_str(&json, "}}");
    buf_append_byte(&json, '\0');
    w_send(self->socket, (const char *)json.data);
    buf_fini(&json);
}

static void ask(client_t *self, int stream)
{
    place_t *place = &self->places[stream];
    char id[UUID_TEXT_CHARS];
    buf_t json = {0};
    if (self->follows_all) {
        ask_all(self);
        if (!place->must_ask)
            return;
    }
    if (!self->socket->is_open || self->socket->close_code != 0 || place->state != FOLLOW_NOT)
        return;
    uuid_format(&w.streams[stream].id, id);
    buf_format(&json, "{\"op\":\"subscribe\",\"stream\":\"%.*s\",\"ref\":%lld", UUID_TEXT_CHARS, id,
               (long long)(++self->n_asked * REF_REVS + place->rev));
    if (place->has_position)
        buf_format(&json, ",\"after\":%lld,\"epoch\":\"%.*s\"", (long long)place->rev, EPOCH_CHARS,
                   place->epoch);
    buf_append_str(&json, "}");
    buf_append_byte(&json, '\0');
    place->state = FOLLOW_ASKED;
    place->must_ask = false;
    w_send(self->socket, (const char *)json.data);
    buf_fini(&json);
}

static void stop_following(client_t *self, int stream)
{
    char json[128];
    char id[UUID_TEXT_CHARS];
    place_t *place = &self->places[stream];
    if (place->state != FOLLOW_ON || self->socket->close_code != 0)
        return;
    read_all(self);
    if (place->state != FOLLOW_ON || self->socket->n_received > 0)
        return;
    uuid_format(&w.streams[stream].id, id);
    snprintf(json, sizeof json, "{\"op\":\"unsubscribe\",\"stream\":\"%.*s\"}", UUID_TEXT_CHARS,
             id);
    disconnect(self); /* with its answer under way it would be hard to tell what is late */
}

/* --- the world goes on --- */

static void change_members(void)
{
    w_stream_t *list = w_list(roll(W_LISTS));
    int account = 1 + roll(W_ACCOUNTS - 1);
    if (list->is_member[account])
        w_commit(list, roll(4) == 0 ? EVENT_MEMBER_CHANGED : EVENT_MEMBER_REMOVED, account);
    else
        w_commit(list, EVENT_MEMBER_ADDED, account);
}

static void purge_something(void)
{
    w_stream_t *stream = &w.streams[roll(W_STREAMS)];
    if (stream->n_events > 0)
        w_purge(stream, 1 + roll(stream->n_events));
}

/* Another history: some of the newest events never happened. */
static void restore_backup(void)
{
    w.epoch[EPOCH_CHARS - 1] = (char)('0' + (w.epoch[EPOCH_CHARS - 1] - '0' + 1) % 10);
    w.session++;
    for (int i = W_ACCOUNTS; i < W_STREAMS; i++) {
        w_stream_t *stream = &w.streams[i];
        for (int n = roll(5); n > 0 && stream->n_events > 0; n--)
            buf_fini(&stream->events[--stream->n_events].body);
        for (int account = 0; account < W_ACCOUNTS; account++)
            stream->removed_rev[account] = INT64_MAX; /* of the other history */
    }
}

static void answer_some_read(void)
{
    if (w.n_reads == 0)
        return;
    int at = roll(w.n_reads);
    w_read_t *read = w.reads;
    for (int i = 0; i < at; i++)
        read = read->next;
    if (roll(3) == 0 && read->result == NULL)
        read->result = w_execute(read->sql, &read->params); /* now; the answer comes later */
    else
        w_answer(at, roll(40) == 0 ? PG_LOST : PG_OK);
}

static void act_for(client_t *self, int at)
{
    if (!self->socket->is_open) {
        connect_client(self, at);
        return;
    }
    if (self->socket->close_code != 0 || self->must_reconnect) {
        disconnect(self);
        return;
    }
    int what = roll(20);
    if (what < 8)
        ask(self, roll(W_STREAMS));
    else if (what == 8)
        stop_following(self, roll(W_STREAMS));
    else if (what == 9 && roll(10) == 0)
        disconnect(self);
    else
        read_all(self);
}

typedef struct {
    int write_weight; /* how eagerly sockets take */
    int commit_weight;
    bool has_epochs;
    bool has_purges;
} mood_t;

static void commit_something(void)
{
    int n = 1 + (roll(20) == 0 ? roll(60) : 0);
    int list = roll(W_LISTS);
    if (roll(15) == 0)
        change_members();
    else if (roll(15) == 0)
        w_commit(&w.streams[roll(W_ACCOUNTS)], EVENT_LIST_JOINED, -1);
    else
        while (n-- > 0)
            w_change(list);
}

static void step(const mood_t *mood)
{
    int at = roll(N_CLIENTS);
    int what = roll(100);
    if (what < mood->commit_weight)
        commit_something();
    else if (what < 40)
        w_step_sync();
    else if (what < 50 && w.asks != NULL)
        w_answer_sync(roll(30) == 0 ? PG_LOST : PG_OK);
    else if (what < 62)
        w_receive();
    else if (what < 74)
        answer_some_read();
    else if (what < 74 + mood->write_weight && clients[at].socket->is_open)
        w_write(clients[at].socket, (size_t)(1 + roll(4000)));
    else if (what < 76 + mood->write_weight)
        w_write(&w.sockets[N_CLIENTS + roll(N_READERS)], (size_t)(1 + roll(4000)));
    else if (what < 94)
        act_for(&clients[at], at);
    else if (what < 97)
        act_as_reader(&readers[roll(N_READERS)]);
    else if (what == 97)
        w.reads_limit = 1 + roll(8);
    else if (what == 98 && roll(5) == 0)
        ws_on_tick(&w.gateway);
    else if (what == 99 && roll(20) == 0 && mood->has_purges)
        purge_something();
    else if (what == 99 && roll(40) == 0 && mood->has_epochs)
        restore_backup();
    w_touch(roll(20000));
}

static bool is_settled(void)
{
    for (int i = 0; i < N_CLIENTS; i++) {
        for (int stream = 0; stream < W_STREAMS; stream++) {
            const place_t *place = &clients[i].places[stream];
            bool may = w_may_read(&w.streams[stream], clients[i].socket->account);
            if (may && (place->state != FOLLOW_ON || place->rev != w.streams[stream].n_events ||
                        memcmp(place->epoch, w.epoch, EPOCH_CHARS) != 0))
                return false;
            if (!may && place->state != FOLLOW_NOT)
                return false;
        }
    }
    for (int i = 0; i < N_READERS; i++) {
        if (!has_read_all(&readers[i]))
            return false;
    }
    return true;
}

/* Everything works again and everybody asks for all that they may have. */
static void settle(void)
{
    w.reads_limit = 1000;
    for (int turn = 0; turn < 40; turn++) {
        for (int i = 0; i < N_CLIENTS; i++) {
            client_t *self = &clients[i];
            if (self->socket->is_open && (self->socket->close_code != 0 || self->must_reconnect))
                disconnect(self);
            if (!self->socket->is_open)
                connect_client(self, i);
            for (int stream = 0; stream < W_STREAMS; stream++)
                ask(self, stream);
        }
        for (int i = 0; i < N_READERS; i++)
            act_as_reader(&readers[i]);
        w_tick();
        for (int i = 0; i < N_CLIENTS; i++)
            read_all(&clients[i]);
        for (int i = 0; i < N_READERS; i++)
            read_stream(&readers[i]);
        if (turn > 4 && is_settled())
            break;
        /* Who may not follow has been told so by now; who asks again would be told again. */
    }
}

static void assert_settled(void)
{
    for (int i = 0; i < N_CLIENTS; i++) {
        for (int stream = 0; stream < W_STREAMS; stream++) {
            const place_t *place = &clients[i].places[stream];
            if (!w_may_read(&w.streams[stream], clients[i].socket->account)) {
                assert_int_equal(place->state, FOLLOW_NOT);
                continue;
            }
            assert_int_equal(place->state, FOLLOW_ON);
            assert_int_equal(place->rev, w.streams[stream].n_events);
        }
    }
    for (int i = 0; i < N_READERS; i++)
        assert_true(has_read_all(&readers[i]));
    assert_int_equal(w.gateway.hub->n_pages, 0);
    assert_int_equal(w.gateway.hub->n_loading, 0);
    assert_int_equal(w.gateway.hub->n_snapshot_bytes, 0);
    assert_int_equal(w.gateway.hub->n_outbox_bytes, 0);
}

static void play(unsigned seed, int n_steps)
{
    srand(seed);
    mood_t mood = {
        .write_weight = 1 + roll(14),
        .commit_weight = 5 + roll(20),
        .has_epochs = roll(3) == 0,
        .has_purges = roll(3) == 0,
    };
    w_begin(INBOX_LIMIT + roll(3) * 32);
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < N_CLIENTS; i++)
        connect_client(&clients[i], i);
    start_readers();
    for (int i = 0; i < n_steps; i++)
        step(&mood);
    settle();
    assert_settled();
    for (int i = 0; i < N_CLIENTS; i++)
        disconnect(&clients[i]);
    for (int i = 0; i < N_READERS; i++)
        w_close_feed(readers[i].socket);
    w_tick();
    assert_int_equal(w.gateway.hub->n_feeds, 0);
    assert_int_equal(hub_n_streams(w.gateway.hub), 0);
    w_end();
}

static unsigned base_seed(void)
{
    const char *text = getenv("SEED");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
}

static void every_client_ends_with_what_the_database_has(void **state)
{
    unsigned seed = base_seed();
    int n_plays = getenv("SEED") != NULL ? 1 : 4;
    (void)state;
    for (int i = 0; i < n_plays; i++) {
        printf("seed %u\n", seed + (unsigned)i);
        fflush(stdout);
        play(seed + (unsigned)i, 4000);
    }
    printf("events %d snapshots %d resumed %d resets %d removed %d errors %d read %d\n",
           tally.n_events, tally.n_snapshots, tally.n_resumed, tally.n_resets, tally.n_removed,
           tally.n_errors, tally.n_read);
    if (n_plays > 1)
        assert_true(tally.n_resumed > 0 && tally.n_removed > 0 && tally.n_read > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_client_ends_with_what_the_database_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
