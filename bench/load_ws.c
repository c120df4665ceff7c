/* SPDX-License-Identifier: Apache-2.0 */
/* Followers over WebSockets, each subscribed to one stream from a revision on, and perhaps a writer
 * beside them. A follower checks of each frame that its rev is the next one, so that a figure never
 * counts what a client could not use.
 *
 * Without a rate the writer keeps a number of writes under way: the next one goes out when every
 * follower has the oldest. That finds the pace that all of them can take, where pushing harder only
 * fills queues until followers are told to resume. With a rate writes are due at fixed instants,
 * and latencies count from then. Without a writer it stays until its input ends. */
#include "bench/dialect.h"
#include "bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_EVENTS 512
#define MAX_OPENING 64
#define MAX_UNDER_WAY 256
#define OPEN_US 30000000
#define DRAIN_US 10000000

static const char usage[] =
    "usage: load_ws --port PORT [--token TOKEN] [--streams FILE] [--host ADDRESS] [--connections "
    "N]\n"
    "               [--record FILE] [--targets FILE [--seconds S] [--window N | --rate R]]\n"
    "               [--dialect taskwire|rooms|nats]\n"
    "\n"
    "streams: lines of `STREAM EPOCH REV`, which connections subscribe to in turn, from REV on "
    "(without:\n"
    "they only log in). targets: lines of `LIST TASK`, which are patched in turn; all streams "
    "must\n"
    "then be the one list. Without targets it prints `ready` and stays until its input ends. "
    "record: a\n"
    "line `STREAM REV RECEIVED_US SENT_US` per frame. Prints one line of JSON.\n";

typedef enum {
    PEER_UPGRADING, /* the handshake is under way */
    PEER_ENTERING, /* welcome, or the answer to subscribe, is still to come */
    PEER_LIVE,
    PEER_GONE,
} peer_state_t;

/* A follower, or the writer. */
typedef struct {
    wire_t wire;
    peer_state_t state;
    const stream_t *stream; /* NULL: follows none */
    int64_t next_rev;
    int64_t opened_us;
    buf_t rest; /* the start of a message whose end is in a later frame */
} peer_t;

typedef struct {
    const dialect_t *dialect;
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

/* --- to the server --- */

static void send_frame(load_t *self, peer_t *peer, ws_opcode_t op, slice_t payload)
{
    ws_put_frame(&peer->wire.out, op, payload);
    /* A broken connection is told by the next read. */
    (void)wire_flush(&peer->wire, self->epoll, peer);
}

static void enter(load_t *self, peer_t *peer, int64_t after)
{
    buf_t text = {0};
    self->dialect->enter(&text, peer->stream, after);
    send_frame(self, peer, self->dialect->opcode, buf_slice(&text));
    buf_fini(&text);
}

static void send_write(load_t *self, int64_t due_us)
{
    const char *target = self->targets[self->n_sent % self->n_targets];
    buf_t text = {0};
    self->n_sent++;
    self->dialect->write(&text, &self->streams[0], target,
                         self->streams[0].rev + (int64_t)self->n_sent,
                         due_us + load_wall_us() - load_mono_us());
    if (!self->dialect->has_answers)
        self->n_answered = self->n_sent;
    send_frame(self, &self->peers[self->n_followers], self->dialect->opcode, buf_slice(&text));
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

static void on_delivery(load_t *self, peer_t *peer, int64_t rev, slice_t text)
{
    if (rev != peer->next_rev)
        self->n_gaps++;
    if (rev < peer->next_rev)
        return;
    peer->next_rev = rev + 1;
    note_delivery(self, peer, text);
    note_progress(self, rev);
}

static void go_live(load_t *self, peer_t *peer)
{
    if (peer->state != PEER_ENTERING)
        return; /* resumed after a reset */
    peer->state = PEER_LIVE;
    self->n_live++;
    latency_add(&self->opening, load_mono_us() - peer->opened_us);
}

static void complain(const char *words, uint64_t n_before, slice_t text)
{
    if (n_before == 0)
        fprintf(stderr, "%s: %s: %.*s\n", program_invocation_short_name, words,
                (int)(text.n_bytes < 500 ? text.n_bytes : 500), (const char *)text.data);
}

static void on_message(load_t *self, peer_t *peer, const message_t *message)
{
    switch (message->what) {
    case SAID_EVENT:
        if (peer->stream != NULL)
            on_delivery(self, peer, message->rev, message->text);
        break;
    case SAID_WELCOME:
        if (peer->stream == NULL)
            go_live(self, peer);
        break;
    case SAID_LIVE:
        go_live(self, peer);
        break;
    case SAID_REFUSED:
        complain("refused", self->n_refused++, message->text);
        self->n_answered++;
        break;
    case SAID_DONE:
        self->n_answered++;
        break;
    case SAID_RESET:
        self->n_resets++;
        enter(self, peer, peer->next_rev - 1);
        break;
    case SAID_PING:
        send_frame(self, peer, self->dialect->opcode, slice_str(self->dialect->pong));
        break;
    case SAID_ODD:
        complain("not expected", self->n_odd++, message->text);
        break;
    case SAID_NOTHING:
        break;
    }
}

/* Takes the messages that are whole; returns the bytes that they took. */
static size_t take_messages(load_t *self, peer_t *peer, slice_t bytes)
{
    size_t n_taken = 0;
    while (n_taken < bytes.n_bytes) {
        message_t message;
        size_t n =
            self->dialect->read(slice_of(bytes.data + n_taken, bytes.n_bytes - n_taken), &message);
        if (n == 0)
            break;
        n_taken += n;
        on_message(self, peer, &message);
    }
    return n_taken;
}

static void on_data(load_t *self, peer_t *peer, slice_t payload)
{
    bool has_rest = peer->rest.n_bytes > 0;
    if (has_rest) {
        buf_append_slice(&peer->rest, payload);
        payload = buf_slice(&peer->rest);
    }
    size_t n_taken = take_messages(self, peer, payload);
    slice_t rest = slice_of(payload.data + n_taken, payload.n_bytes - n_taken);
    if (has_rest) {
        memmove(peer->rest.data, rest.data, rest.n_bytes);
        peer->rest.n_bytes = rest.n_bytes;
    } else {
        buf_append_slice(&peer->rest, rest);
    }
}

static void on_frame(load_t *self, peer_t *peer, ws_opcode_t op, slice_t payload)
{
    switch (op) {
    case WS_TEXT:
    case WS_BINARY:
    case WS_MORE:
        on_data(self, peer, payload);
        break;
    case WS_PING:
        send_frame(self, peer, WS_PONG, payload);
        break;
    case WS_CLOSE:
        if (payload.n_bytes >= 2)
            fprintf(stderr, "%s: closed with %d\n", program_invocation_short_name,
                    payload.data[0] << 8 | payload.data[1]);
        break;
    case WS_PONG:
        break;
    }
}

/* --- handshake --- */

static void open_peer(load_t *self, peer_t *peer)
{
    peer->opened_us = load_mono_us();
    wire_open(&peer->wire, self->epoll, self->host, self->port, peer);
    ws_put_handshake(&peer->wire.out, self->host, self->port, self->dialect->path,
                     self->dialect->protocol, self->token);
    (void)wire_flush(&peer->wire, self->epoll, peer);
}

/* Takes the answer to the handshake; 0 if it is not whole yet. */
static size_t take_handshake(load_t *self, peer_t *peer, slice_t bytes)
{
    size_t n_taken = ws_take_handshake(bytes);
    if (n_taken == 0)
        return 0;
    peer->state = PEER_ENTERING;
    if (peer->stream != NULL) {
        peer->next_rev = peer->stream->rev + 1;
        enter(self, peer, peer->stream->rev);
    } else if (!self->dialect->has_welcome) {
        go_live(self, peer);
    }
    return n_taken;
}

static size_t take_one(load_t *self, peer_t *peer, slice_t bytes)
{
    ws_opcode_t op;
    slice_t payload;
    if (peer->state == PEER_UPGRADING)
        return take_handshake(self, peer, bytes);
    size_t n_taken = ws_take_frame(bytes, &op, &payload);
    if (n_taken > 0)
        on_frame(self, peer, op, payload);
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
            send_write(self, self->rate > 0 ? due_us(self) : now_us);
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
    else if (strcmp(name, "dialect") == 0)
        self->dialect = dialect_find(value);
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
    static const struct option options[] = {{"host", required_argument, NULL, 'o'},
                                            {"port", required_argument, NULL, 'o'},
                                            {"token", required_argument, NULL, 'o'},
                                            {"streams", required_argument, NULL, 'o'},
                                            {"targets", required_argument, NULL, 'o'},
                                            {"connections", required_argument, NULL, 'o'},
                                            {"seconds", required_argument, NULL, 'o'},
                                            {"window", required_argument, NULL, 'o'},
                                            {"rate", required_argument, NULL, 'o'},
                                            {"record", required_argument, NULL, 'o'},
                                            {"dialect", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int place;
    int found;
    while ((found = getopt_long(argc, argv, "", options, &place)) == 'o')
        take_option(self, options[place].name, optarg);
    if (found == 'h') {
        fputs(usage, stdout);
        exit(0);
    }
    bool has_one_stream = self->targets == NULL || self->n_streams == 1;
    if (self->port == NULL || self->dialect == NULL || !has_one_stream || optind != argc ||
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
    for (size_t i = 0; i < self->n_peers; i++) {
        wire_close(&self->peers[i].wire);
        buf_fini(&self->peers[i].rest);
    }
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
    self.dialect = dialect_find("taskwire");
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
