/* SPDX-License-Identifier: Apache-2.0 */
/* Followers over WebSockets, each subscribed to one stream from a revision on, and perhaps a writer
 * beside them. A follower checks of each frame that its rev is the next one, so that a figure never
 * counts what a client could not use.
 *
 * Without a rate the writer keeps a number of writes under way: the next one goes out when every
 * follower has the oldest. That finds the pace that all of them can take, where pushing harder only
 * fills queues until followers are told to resume. With a rate writes are due at fixed instants,
 * and latencies count from then. Without a writer it stays until its input ends. */
#include "bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "schema/uuid.h"

#define MAX_EVENTS 512
#define MAX_OPENING 64
#define MAX_UNDER_WAY 256
#define OPEN_US 30000000
#define DRAIN_US 10000000
#define HEAD_SHOWN 200

static const char usage[] =
    "usage: load_ws --port PORT --token TOKEN [--streams FILE] [--host ADDRESS] [--connections N]\n"
    "               [--record FILE] [--targets FILE [--seconds S] [--window N | --rate R]]\n"
    "\n"
    "streams: lines of `STREAM EPOCH REV`, which connections subscribe to in turn, from REV on "
    "(without:\n"
    "they only log in). targets: lines of `LIST TASK`, which are patched in turn; all streams "
    "must\n"
    "then be the one list. Without targets it prints `ready` and stays until its input ends. "
    "record: a\n"
    "line `STREAM REV RECEIVED_US SENT_US` per frame. Prints one line of JSON.\n";

typedef enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 } opcode_t;

typedef enum {
    PEER_UPGRADING, /* the handshake is under way */
    PEER_ENTERING, /* welcome, or the answer to subscribe, is still to come */
    PEER_LIVE,
    PEER_GONE,
} peer_state_t;

typedef struct {
    char id[UUID_TEXT_CHARS + 1];
    char epoch[64];
    int64_t rev;
} stream_t;

/* A follower, or the writer. */
typedef struct {
    wire_t wire;
    peer_state_t state;
    const stream_t *stream; /* NULL: follows none */
    int64_t next_rev;
    int64_t opened_us;
} peer_t;

typedef struct {
    const char *host;
    const char *port;
    const char *token;
    stream_t *streams;
    size_t n_streams;
    char **targets;
    size_t n_targets;
    size_t n_followers;
    int64_t seconds;
    int64_t window;
    int64_t rate;
    FILE *record;
    int epoll;
    peer_t *peers; /* the last one is the writer */
    size_t n_peers;
    size_t n_opened;
    size_t n_live;
    size_t n_gone;
    int input; /* not a peer: its address marks its events */
    bool has_input;
    int64_t wall_us; /* when the bytes at hand were read */
    int64_t start_us;
    int64_t end_us;
    uint64_t n_sent; /* commands */
    uint64_t n_answered;
    uint64_t n_refused;
    uint32_t *n_have; /* by write: followers that have it */
    size_t have_capacity;
    uint64_t n_everywhere; /* writes that every follower has */
    uint64_t n_deliveries;
    uint64_t n_in_time; /* before the end */
    uint64_t n_bytes;
    uint64_t n_gaps;
    uint64_t n_resets;
    uint64_t n_odd; /* messages that were not expected */
    latency_t opening;
    latency_t latency; /* from a write's due instant to a follower */
} load_t;

/* --- frames to the server --- */

/* A client's frame, masked as RFC 6455 wants it; a mask of zero is one as well. */
static void put_frame(buf_t *out, opcode_t op, slice_t payload)
{
    static const uint8_t mask[4] = {0};
    buf_append_byte(out, (uint8_t)(0x80 | op));
    if (payload.n_bytes < 126) {
        buf_append_byte(out, (uint8_t)(0x80 | payload.n_bytes));
    } else {
        if (payload.n_bytes > UINT16_MAX)
            load_die("a message of %zu bytes is too large", payload.n_bytes);
        buf_append_byte(out, 0x80 | 126);
        buf_append_byte(out, (uint8_t)(payload.n_bytes >> 8));
        buf_append_byte(out, (uint8_t)payload.n_bytes);
    }
    buf_append(out, mask, sizeof mask);
    buf_append_slice(out, payload);
}

static void send_frame(load_t *self, peer_t *peer, opcode_t op, slice_t payload)
{
    put_frame(&peer->wire.out, op, payload);
    /* A broken connection is told by the next read. */
    (void)wire_flush(&peer->wire, self->epoll, peer);
}

static void subscribe(load_t *self, peer_t *peer, int64_t after)
{
    buf_t text = {0};
    buf_format(&text, "{\"op\":\"subscribe\",\"stream\":\"%s\",\"epoch\":\"%s\",\"after\":%lld}",
               peer->stream->id, peer->stream->epoch, (long long)after);
    send_frame(self, peer, OP_TEXT, buf_slice(&text));
    buf_fini(&text);
}

static void send_command(load_t *self, int64_t due_us)
{
    const char *target = self->targets[self->n_sent % self->n_targets];
    char id[UUID_TEXT_CHARS];
    uuid_t command = uuid_v7(load_wall_us());
    buf_t text = {0};
    uuid_format(&command, id);
    buf_format(&text, "{\"op\":\"command\",\"command\":{\"id\":\"%.*s\",\"op\":\"task.patch\"",
               UUID_TEXT_CHARS, id);
    buf_format(&text, ",\"list\":\"%.*s\",\"task\":\"%.*s\",\"data\":{\"title\":\"",
               UUID_TEXT_CHARS, target, UUID_TEXT_CHARS, target + UUID_TEXT_CHARS + 1);
    stamp_put(&text, due_us + load_wall_us() - load_mono_us());
    buf_append_str(&text, "\"}}}");
    self->n_sent++;
    send_frame(self, &self->peers[self->n_followers], OP_TEXT, buf_slice(&text));
    buf_fini(&text);
}

/* --- what followers are told --- */

/* One more follower has the write; those that all have are counted in order. */
static void note_progress(load_t *self, int64_t rev)
{
    if (self->targets == NULL || rev <= self->streams[0].rev)
        return;
    size_t write = (size_t)(rev - self->streams[0].rev - 1);
    if (write >= self->have_capacity) {
        size_t capacity = 2 * write + 1024;
        self->n_have = reallocarray(self->n_have, capacity, sizeof *self->n_have);
        if (self->n_have == NULL)
            abort();
        memset(self->n_have + self->have_capacity, 0,
               (capacity - self->have_capacity) * sizeof *self->n_have);
        self->have_capacity = capacity;
    }
    self->n_have[write]++;
    while (self->n_everywhere < self->have_capacity &&
           self->n_have[self->n_everywhere] == self->n_followers)
        self->n_everywhere++;
}

static void note_delivery(load_t *self, const peer_t *peer, slice_t text)
{
    int64_t sent_us = 0;
    self->n_deliveries++;
    if (load_mono_us() < self->end_us)
        self->n_in_time++;
    if (stamp_find(text, &sent_us))
        latency_add(&self->latency, self->wall_us - sent_us);
    if (self->record != NULL)
        fprintf(self->record, "%s %lld %lld %lld\n", peer->stream->id,
                (long long)(peer->next_rev - 1), (long long)self->wall_us, (long long)sent_us);
}

/* The rev of an event; -1 if it names none. Both keys stand at the front. */
static int64_t rev_of(slice_t text)
{
    size_t n_shown = text.n_bytes < HEAD_SHOWN ? text.n_bytes : HEAD_SHOWN;
    const uint8_t *at = memmem(text.data, n_shown, "\"rev\":", 6);
    const uint8_t *end = text.data + text.n_bytes;
    if (at == NULL)
        return -1;
    int64_t rev = 0;
    for (at += 6; at < end && *at >= '0' && *at <= '9'; at++)
        rev = rev * 10 + (*at - '0');
    return rev;
}

static void on_delivery(load_t *self, peer_t *peer, slice_t text)
{
    int64_t rev = rev_of(text);
    if (rev != peer->next_rev)
        self->n_gaps++;
    if (rev < peer->next_rev)
        return;
    peer->next_rev = rev + 1;
    note_delivery(self, peer, text);
    note_progress(self, rev);
}

static bool starts_with(slice_t text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.n_bytes >= n && memcmp(text.data, prefix, n) == 0;
}

static void go_live(load_t *self, peer_t *peer)
{
    if (peer->state != PEER_ENTERING)
        return; /* resumed after a reset */
    peer->state = PEER_LIVE;
    self->n_live++;
    latency_add(&self->opening, load_mono_us() - peer->opened_us);
}

static void on_result(load_t *self, slice_t text)
{
    self->n_answered++;
    if (memmem(text.data, text.n_bytes, "\"ok\":true", 9) != NULL)
        return;
    if (self->n_refused++ == 0)
        fprintf(stderr, "%s: refused: %.*s\n", program_invocation_short_name, (int)text.n_bytes,
                (const char *)text.data);
}

static void on_text(load_t *self, peer_t *peer, slice_t text)
{
    if (starts_with(text, "{\"op\":\"event\"") && peer->stream != NULL) {
        on_delivery(self, peer, text);
    } else if (starts_with(text, "{\"op\":\"welcome\"")) {
        if (peer->stream == NULL)
            go_live(self, peer);
    } else if (starts_with(text, "{\"op\":\"subscribed\"")) {
        go_live(self, peer);
    } else if (starts_with(text, "{\"op\":\"result\"")) {
        on_result(self, text);
    } else if (starts_with(text, "{\"op\":\"reset\"") && peer->stream != NULL) {
        self->n_resets++;
        subscribe(self, peer, peer->next_rev - 1);
    } else if (self->n_odd++ == 0) {
        fprintf(stderr, "%s: not expected: %.*s\n", program_invocation_short_name,
                (int)(text.n_bytes < 500 ? text.n_bytes : 500), (const char *)text.data);
    }
}

/* --- frames from the server --- */

/* The length of the whole frame at the start of the bytes, 0 if more must come. */
static size_t frame_bytes(slice_t bytes, slice_t *payload)
{
    const uint8_t *at = bytes.data;
    if (bytes.n_bytes < 2)
        return 0;
    if ((at[0] & 0xf0) != 0x80 || (at[1] & 0x80) != 0)
        load_die("a frame is masked, in fragments or of an extension");
    size_t n_length = at[1] == 127 ? 8 : at[1] == 126 ? 2 : 0;
    if (bytes.n_bytes < 2 + n_length)
        return 0;
    uint64_t n_payload = n_length == 0 ? at[1] : 0;
    for (size_t i = 0; i < n_length; i++)
        n_payload = n_payload << 8 | at[2 + i];
    if (bytes.n_bytes - 2 - n_length < n_payload)
        return 0;
    *payload = slice_of(at + 2 + n_length, (size_t)n_payload);
    return 2 + n_length + (size_t)n_payload;
}

static void on_frame(load_t *self, peer_t *peer, opcode_t op, slice_t payload)
{
    switch (op) {
    case OP_TEXT:
        on_text(self, peer, payload);
        break;
    case OP_PING:
        send_frame(self, peer, OP_PONG, payload);
        break;
    case OP_CLOSE:
        if (payload.n_bytes >= 2)
            fprintf(stderr, "%s: closed with %d\n", program_invocation_short_name,
                    payload.data[0] << 8 | payload.data[1]);
        break;
    case OP_PONG:
        break;
    }
}

/* --- handshake --- */

static void open_peer(load_t *self, peer_t *peer)
{
    peer->opened_us = load_mono_us();
    wire_open(&peer->wire, self->epoll, self->host, self->port, peer);
    buf_t *out = &peer->wire.out;
    buf_format(out, "GET /v1/ws HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n", self->host,
               self->port);
    buf_append_str(out, "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGFza3dpcmUtYmVuY2gtMQ==\r\n"
                        "Sec-WebSocket-Protocol: taskwire.v1.json\r\n");
    buf_format(out, "Authorization: Bearer %s\r\n\r\n", self->token);
    (void)wire_flush(&peer->wire, self->epoll, peer);
}

/* Takes the answer to the handshake; 0 if it is not whole yet. */
static size_t take_handshake(load_t *self, peer_t *peer, slice_t bytes)
{
    const uint8_t *end = memmem(bytes.data, bytes.n_bytes, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (!starts_with(bytes, "HTTP/1.1 101"))
        load_die("no WebSocket: %.*s", (int)(end - bytes.data), (const char *)bytes.data);
    peer->state = PEER_ENTERING;
    if (peer->stream != NULL) {
        peer->next_rev = peer->stream->rev + 1;
        subscribe(self, peer, peer->stream->rev);
    }
    return (size_t)(end - bytes.data) + 4;
}

static size_t take_one(load_t *self, peer_t *peer, slice_t bytes)
{
    slice_t payload;
    if (peer->state == PEER_UPGRADING)
        return take_handshake(self, peer, bytes);
    size_t n_taken = frame_bytes(bytes, &payload);
    if (n_taken > 0)
        on_frame(self, peer, (opcode_t)(bytes.data[0] & 0x0f), payload);
    return n_taken;
}

static void on_gone(load_t *self, peer_t *peer)
{
    if (peer->state != PEER_LIVE)
        load_die("a connection ended before it was open");
    peer->state = PEER_GONE;
    self->n_gone++;
    wire_close(&peer->wire);
}

static void on_event(load_t *self, peer_t *peer, uint32_t events)
{
    slice_t got;
    size_t n_taken = 0;
    if ((events & EPOLLOUT) != 0)
        (void)wire_flush(&peer->wire, self->epoll, peer);
    if (!wire_read(&peer->wire, &got)) {
        on_gone(self, peer);
        return;
    }
    if (got.n_bytes == 0)
        return;
    self->wall_us = load_wall_us();
    for (size_t n; n_taken < got.n_bytes; n_taken += n) {
        n = take_one(self, peer, slice_of(got.data + n_taken, got.n_bytes - n_taken));
        if (n == 0)
            break;
    }
    self->n_bytes += n_taken;
    wire_keep(&peer->wire, got, n_taken);
}

/* --- the run --- */

/* Waits once. True: the input ended. */
static bool turn(load_t *self, int64_t until_us)
{
    struct epoll_event events[MAX_EVENTS];
    bool has_ended = false;
    int n = load_wait(self->epoll, events, MAX_EVENTS, until_us);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &self->input) {
            char bytes[64];
            has_ended = read(STDIN_FILENO, bytes, sizeof bytes) <= 0;
        } else {
            on_event(self, events[i].data.ptr, events[i].events);
        }
    }
    return has_ended;
}

/* A few at a time, so that none waits in the listener's backlog. */
static void open_all(load_t *self)
{
    int64_t limit_us = load_mono_us() + OPEN_US;
    while (self->n_live < self->n_peers) {
        while (self->n_opened < self->n_peers && self->n_opened - self->n_live < MAX_OPENING)
            open_peer(self, &self->peers[self->n_opened++]);
        (void)turn(self, load_mono_us() + 100000);
        if (load_mono_us() > limit_us)
            load_die("only %zu of %zu connections are subscribed", self->n_live, self->n_peers);
    }
}

static void stay(load_t *self)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &self->input};
    if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        load_die("the input must be a pipe");
    self->start_us = load_mono_us();
    self->end_us = INT64_MAX;
    puts("ready");
    fflush(stdout);
    while (!turn(self, load_mono_us() + 1000000))
        ;
    self->end_us = load_mono_us();
}

static int64_t due_us(const load_t *self)
{
    return self->start_us + (int64_t)(self->n_sent * 1000000 / (uint64_t)self->rate);
}

/* Whether one more write is to go out now. */
static bool may_write(const load_t *self, int64_t now_us)
{
    if (now_us >= self->end_us || self->n_sent - self->n_answered >= MAX_UNDER_WAY)
        return false;
    if (self->rate > 0)
        return due_us(self) <= now_us && due_us(self) < self->end_us;
    return self->n_sent - self->n_everywhere < (uint64_t)self->window;
}

static void write_on(load_t *self)
{
    self->start_us = load_mono_us();
    self->end_us = self->start_us + self->seconds * 1000000;
    for (int64_t now_us = self->start_us; now_us < self->end_us + DRAIN_US;
         now_us = load_mono_us()) {
        while (may_write(self, now_us))
            send_command(self, self->rate > 0 ? due_us(self) : now_us);
        bool is_done = self->n_answered == self->n_sent && self->n_everywhere == self->n_sent;
        if (now_us >= self->end_us && (is_done || self->n_gone > 0))
            break;
        int64_t until_us = now_us < self->end_us ? self->end_us : now_us + 100000;
        bool waits_for_rate = self->rate > 0 && self->n_sent - self->n_answered < MAX_UNDER_WAY;
        (void)turn(self, waits_for_rate && due_us(self) < until_us ? due_us(self) : until_us);
    }
}

static void print(const load_t *self, int64_t cpu_us)
{
    buf_t out = {0};
    double seconds = (double)(self->end_us - self->start_us) / 1e6;
    buf_format(&out, "{\"rate\":%.1f,\"deliveries\":%llu,\"seconds\":%.3f",
               (double)self->n_in_time / seconds, (unsigned long long)self->n_deliveries, seconds);
    buf_format(&out, ",\"writes\":%llu,\"answered\":%llu,\"refused\":%llu,\"everywhere\":%llu",
               (unsigned long long)self->n_sent, (unsigned long long)self->n_answered,
               (unsigned long long)self->n_refused, (unsigned long long)self->n_everywhere);
    buf_format(&out, ",\"gaps\":%llu,\"resets\":%llu,\"odd\":%llu,\"gone\":%zu",
               (unsigned long long)self->n_gaps, (unsigned long long)self->n_resets,
               (unsigned long long)self->n_odd, self->n_gone);
    buf_format(&out,
               ",\"bytes\":%llu,\"cpu_us\":%lld,\"opening_us\":", (unsigned long long)self->n_bytes,
               (long long)cpu_us);
    latency_put_json(&self->opening, &out);
    buf_append_str(&out, ",\"latency_us\":");
    latency_put_json(&self->latency, &out);
    buf_append_str(&out, "}\n");
    fwrite(out.data, 1, out.n_bytes, stdout);
    buf_fini(&out);
}

/* --- options --- */

static void read_streams(load_t *self, const char *file)
{
    char **lines = load_lines(file, &self->n_streams);
    self->streams = calloc(self->n_streams, sizeof *self->streams);
    for (size_t i = 0; i < self->n_streams; i++) {
        stream_t *stream = &self->streams[i];
        long long rev;
        if (sscanf(lines[i], "%36s %63s %lld", stream->id, stream->epoch, &rev) != 3)
            load_die("%s: line %zu is not `STREAM EPOCH REV`", file, i + 1);
        stream->rev = rev;
    }
    load_free_lines(lines, self->n_streams);
}

static void read_targets(load_t *self, const char *file)
{
    self->targets = load_lines(file, &self->n_targets);
    for (size_t i = 0; i < self->n_targets; i++) {
        if (strlen(self->targets[i]) != 2 * UUID_TEXT_CHARS + 1)
            load_die("%s: line %zu is not `LIST TASK`", file, i + 1);
    }
}

static void take_option(load_t *self, const char *name, const char *value)
{
    if (strcmp(name, "host") == 0)
        self->host = value;
    else if (strcmp(name, "port") == 0)
        self->port = value;
    else if (strcmp(name, "token") == 0)
        self->token = value;
    else if (strcmp(name, "streams") == 0)
        read_streams(self, value);
    else if (strcmp(name, "targets") == 0)
        read_targets(self, value);
    else if (strcmp(name, "record") == 0)
        self->record = fopen(value, "we");
    else if (strcmp(name, "connections") == 0)
        self->n_followers = (size_t)load_number(name, value, 1, 60000);
    else if (strcmp(name, "seconds") == 0)
        self->seconds = load_number(name, value, 1, 86400);
    else if (strcmp(name, "window") == 0)
        self->window = load_number(name, value, 1, MAX_UNDER_WAY);
    else
        self->rate = load_number(name, value, 1, 1000000);
}

static void read_options(load_t *self, int argc, char **argv)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'o'},    {"port", required_argument, NULL, 'o'},
        {"token", required_argument, NULL, 'o'},   {"streams", required_argument, NULL, 'o'},
        {"targets", required_argument, NULL, 'o'}, {"connections", required_argument, NULL, 'o'},
        {"seconds", required_argument, NULL, 'o'}, {"window", required_argument, NULL, 'o'},
        {"rate", required_argument, NULL, 'o'},    {"record", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int place;
    int found;
    while ((found = getopt_long(argc, argv, "", options, &place)) == 'o')
        take_option(self, options[place].name, optarg);
    if (found == 'h') {
        fputs(usage, stdout);
        exit(0);
    }
    bool has_one_stream = self->targets == NULL || self->n_streams == 1;
    if (self->port == NULL || self->token == NULL || !has_one_stream || optind != argc ||
        found != -1) {
        fputs(usage, stderr);
        exit(64);
    }
}

static void make_peers(load_t *self)
{
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->n_peers = self->n_followers + (self->targets != NULL);
    self->peers = calloc(self->n_peers, sizeof *self->peers);
    if (self->epoll < 0 || self->peers == NULL)
        abort();
    for (size_t i = 0; i < self->n_peers; i++) {
        self->peers[i].wire.fd = -1;
        if (self->n_streams > 0 && i < self->n_followers)
            self->peers[i].stream = &self->streams[i % self->n_streams];
    }
}

static void free_all(load_t *self)
{
    for (size_t i = 0; i < self->n_peers; i++)
        wire_close(&self->peers[i].wire);
    if (self->record != NULL)
        fclose(self->record);
    load_free_lines(self->targets, self->n_targets);
    free(self->streams);
    free(self->peers);
    free(self->n_have);
}

int main(int argc, char **argv)
{
    static load_t self = {.host = "127.0.0.1", .n_followers = 1, .seconds = 5, .window = 32};
    read_options(&self, argc, argv);
    load_raise_files();
    make_peers(&self);
    open_all(&self);
    int64_t cpu_us = load_cpu_us();
    if (self.targets != NULL)
        write_on(&self);
    else
        stay(&self);
    print(&self, load_cpu_us() - cpu_us);
    free_all(&self);
    return 0;
}
