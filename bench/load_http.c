/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 over keep-alive connections, one request under way on each. Without a rate every answer
 * is followed by the next request (closed loop); with one, requests are due at fixed instants and a
 * latency counts from then, so that a server that falls behind cannot hide it by slowing us down.
 * PATCH writes a title of constant length that carries the instant, or a reminder. */
#include "bench/load.h"
#include "schema/instant.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>

#define MAX_EVENTS 512
#define DRAIN_US 10000000
#define MAX_STATUS 600

static const char usage[] =
    "usage: load_http --port PORT --targets FILE [--host ADDRESS] [--method GET|PATCH]\n"
    "                 [--connections N] [--seconds S] [--rate R] [--seed N] [--body "
    "title|reminder]\n"
    "\n"
    "FILE has lines of `PATH [TOKEN]`; each request takes one at random. Without --rate every\n"
    "connection sends its next request when it has its answer. Prints one line of JSON.\n";

typedef struct {
    wire_t wire;
    bool is_waiting; /* for an answer */
    int64_t due_us; /* when its request should have gone out (monotonic) */
} client_t;

typedef struct {
    const char *host;
    const char *port;
    const char *method;
    char **targets; /* lines */
    size_t n_targets;
    size_t n_clients;
    int64_t seconds;
    int64_t rate;
    bool sets_reminders; /* else titles */
    uint64_t random;
    int epoll;
    client_t *clients;
    client_t **idle; /* those without a request, with a rate */
    size_t n_idle;
    size_t n_waiting;
    int64_t wall_offset_us; /* wall clock less monotonic clock */
    int64_t start_us;
    int64_t end_us;
    uint64_t n_due; /* requests whose instant has come, with a rate */
    uint64_t n_in_time; /* answered before the end */
    uint64_t n_closed; /* connections that ended */
    uint64_t n_unread; /* answers that are none */
    uint64_t n_bytes;
    uint64_t statuses[MAX_STATUS];
    latency_t latency;
} load_t;

/* --- requests --- */

/* A reminder at an instant that no other request names, ten years ahead. */
static void put_reminder(buf_t *out, int64_t wall_us)
{
    char at[INSTANT_TEXT_CHARS + 1];
    instant_format(wall_us + 3652 * US_PER_DAY, at);
    buf_format(out, "{\"reminders\":[{\"at\":\"%s\",\"for\":\"all\"}]}", at);
}

static void put_body(buf_t *out, int64_t wall_us)
{
    buf_append_str(out, "{\"title\":\"");
    stamp_put(out, wall_us);
    buf_append_str(out, "\"}");
}

static void put_request(load_t *self, buf_t *out, int64_t due_us)
{
    bool has_body = strcmp(self->method, "PATCH") == 0;
    const char *target = self->targets[load_random(&self->random) % self->n_targets];
    const char *token = strchrnul(target, ' ');
    buf_format(out, "%s %.*s HTTP/1.1\r\nHost: %s:%s\r\n", self->method, (int)(token - target),
               target, self->host, self->port);
    if (*token != '\0')
        buf_format(out, "Authorization: Bearer %s\r\n", token + 1);
    if (!has_body) {
        buf_append_str(out, "\r\n");
        return;
    }
    buf_t body = {0};
    if (self->sets_reminders)
        put_reminder(&body, due_us + self->wall_offset_us);
    else
        put_body(&body, due_us + self->wall_offset_us);
    buf_format(out, "Content-Type: application/merge-patch+json\r\nContent-Length: %zu\r\n\r\n",
               body.n_bytes);
    buf_append_slice(out, buf_slice(&body));
    buf_fini(&body);
}

static void reopen(load_t *self, client_t *client)
{
    wire_close(&client->wire);
    wire_open(&client->wire, self->epoll, self->host, self->port, client);
}

static void ask(load_t *self, client_t *client, int64_t due_us)
{
    client->is_waiting = true;
    client->due_us = due_us;
    self->n_waiting++;
    put_request(self, &client->wire.out, due_us);
    /* A broken connection is told by the read that follows. */
    (void)wire_flush(&client->wire, self->epoll, client);
}

/* What a client without a request does next. */
static void go_on(load_t *self, client_t *client, int64_t now_us)
{
    if (self->rate > 0)
        self->idle[self->n_idle++] = client;
    else if (now_us < self->end_us)
        ask(self, client, now_us);
}

/* --- answers --- */

/* The value of Content-Length, 0 without one. */
static size_t body_bytes(slice_t head)
{
    static const char name[] = "content-length:";
    const char *at = (const char *)head.data;
    const char *end = at + head.n_bytes;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            return 0;
        if ((size_t)(line_end - at) > sizeof name && strncasecmp(at, name, sizeof name - 1) == 0)
            return strtoul(at + sizeof name - 1, NULL, 10);
        at = line_end + 1;
    }
    return 0;
}

/* The length of the whole answer at the start of the bytes, 0 if more must come. Its status is -1
 * if it is none. */
static size_t answer_bytes(slice_t bytes, int *status)
{
    const uint8_t *end = memmem(bytes.data, bytes.n_bytes, "\r\n\r\n", 4);
    *status = -1;
    if (end == NULL)
        return 0;
    slice_t head = slice_of(bytes.data, (size_t)(end - bytes.data) + 4);
    if (head.n_bytes > 12 && memcmp(head.data, "HTTP/1.1 ", 9) == 0)
        *status = atoi((const char *)head.data + 9);
    if (*status < 200 || *status >= MAX_STATUS) {
        *status = -1;
        return head.n_bytes;
    }
    size_t n_body = *status == 204 || *status == 304 ? 0 : body_bytes(head);
    return bytes.n_bytes - head.n_bytes < n_body ? 0 : head.n_bytes + n_body;
}

static void settle(load_t *self, client_t *client, int64_t now_us)
{
    client->is_waiting = false;
    self->n_waiting--;
    go_on(self, client, now_us);
}

static void on_closed(load_t *self, client_t *client, int64_t now_us)
{
    self->n_closed++;
    reopen(self, client);
    if (client->is_waiting)
        settle(self, client, now_us);
}

static void on_answer(load_t *self, client_t *client, int status, int64_t now_us)
{
    self->statuses[status]++;
    latency_add(&self->latency, now_us - client->due_us);
    if (now_us < self->end_us)
        self->n_in_time++;
    settle(self, client, now_us);
}

static void on_event(load_t *self, client_t *client, uint32_t events)
{
    slice_t got;
    int status;
    if ((events & EPOLLOUT) != 0)
        (void)wire_flush(&client->wire, self->epoll, client);
    bool is_open = wire_read(&client->wire, &got);
    int64_t now_us = load_mono_us();
    if (!is_open) {
        on_closed(self, client, now_us);
        return;
    }
    if (got.n_bytes == 0)
        return;
    size_t n_taken = answer_bytes(got, &status);
    bool is_odd = n_taken > 0 && (status < 0 || n_taken != got.n_bytes || !client->is_waiting);
    if (is_odd) {
        self->n_unread++;
        on_closed(self, client, now_us);
        return;
    }
    wire_keep(&client->wire, got, n_taken);
    if (n_taken > 0) {
        self->n_bytes += n_taken;
        on_answer(self, client, status, now_us);
    }
}

/* --- the run --- */

static int64_t due_us(const load_t *self, uint64_t request)
{
    return self->start_us + (int64_t)(request * 1000000 / (uint64_t)self->rate);
}

/* Sends what is due on whichever connections are free. */
static void send_due(load_t *self, int64_t now_us)
{
    while (self->n_idle > 0) {
        int64_t due = due_us(self, self->n_due);
        if (due > now_us || due >= self->end_us)
            return;
        self->n_due++;
        ask(self, self->idle[--self->n_idle], due);
    }
}

/* The instant to wait for. */
static int64_t next_us(const load_t *self, int64_t now_us)
{
    if (self->rate > 0 && self->n_idle > 0 && due_us(self, self->n_due) < self->end_us)
        return due_us(self, self->n_due);
    return now_us < self->end_us ? self->end_us : self->end_us + DRAIN_US;
}

static bool has_more(const load_t *self, int64_t now_us)
{
    if (now_us < self->end_us)
        return true;
    bool is_behind = self->rate > 0 && due_us(self, self->n_due) < self->end_us;
    return (self->n_waiting > 0 || is_behind) && now_us < self->end_us + DRAIN_US;
}

static void run(load_t *self)
{
    struct epoll_event events[MAX_EVENTS];
    self->wall_offset_us = load_wall_us() - load_mono_us();
    self->start_us = load_mono_us();
    self->end_us = self->start_us + self->seconds * 1000000;
    for (size_t i = 0; i < self->n_clients; i++)
        go_on(self, &self->clients[i], self->start_us);
    for (int64_t now_us = self->start_us; has_more(self, now_us); now_us = load_mono_us()) {
        if (self->rate > 0)
            send_due(self, now_us);
        int n = load_wait(self->epoll, events, MAX_EVENTS, next_us(self, now_us));
        for (int i = 0; i < n; i++)
            on_event(self, events[i].data.ptr, events[i].events);
    }
}

/* Requests that should have gone out and have no answer. */
static uint64_t unanswered(const load_t *self)
{
    uint64_t n = self->n_waiting;
    for (uint64_t i = self->n_due; self->rate > 0 && due_us(self, i) < self->end_us; i++)
        n++;
    return n;
}

static void print(const load_t *self, int64_t cpu_us)
{
    buf_t out = {0};
    uint64_t n_good = 0;
    for (int status = 200; status < 300; status++)
        n_good += self->statuses[status];
    buf_format(&out, "{\"rate\":%.1f,\"answers\":%llu,\"good\":%llu",
               (double)self->n_in_time / (double)self->seconds, (unsigned long long)self->latency.n,
               (unsigned long long)n_good);
    buf_format(&out, ",\"unanswered\":%llu,\"closed\":%llu,\"unreadable\":%llu",
               (unsigned long long)unanswered(self), (unsigned long long)self->n_closed,
               (unsigned long long)self->n_unread);
    buf_format(&out, ",\"bytes\":%llu,\"cpu_us\":%lld,\"statuses\":{",
               (unsigned long long)self->n_bytes, (long long)cpu_us);
    const char *comma = "";
    for (int status = 0; status < MAX_STATUS; status++) {
        if (self->statuses[status] == 0)
            continue;
        buf_format(&out, "%s\"%d\":%llu", comma, status,
                   (unsigned long long)self->statuses[status]);
        comma = ",";
    }
    buf_append_str(&out, "},\"latency_us\":");
    latency_put_json(&self->latency, &out);
    buf_append_str(&out, "}\n");
    fwrite(out.data, 1, out.n_bytes, stdout);
    buf_fini(&out);
}

static void open_clients(load_t *self)
{
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->clients = calloc(self->n_clients, sizeof *self->clients);
    self->idle = calloc(self->n_clients, sizeof(client_t *));
    if (self->epoll < 0 || self->clients == NULL || self->idle == NULL)
        abort();
    for (size_t i = 0; i < self->n_clients; i++)
        wire_open(&self->clients[i].wire, self->epoll, self->host, self->port, &self->clients[i]);
}

static void close_clients(load_t *self)
{
    for (size_t i = 0; i < self->n_clients; i++)
        wire_close(&self->clients[i].wire);
    free(self->clients);
    free(self->idle);
    load_free_lines(self->targets, self->n_targets);
}

static void take_option(load_t *self, const char *name, const char *value)
{
    if (strcmp(name, "host") == 0)
        self->host = value;
    else if (strcmp(name, "port") == 0)
        self->port = value;
    else if (strcmp(name, "method") == 0)
        self->method = value;
    else if (strcmp(name, "targets") == 0)
        self->targets = load_lines(value, &self->n_targets);
    else if (strcmp(name, "connections") == 0)
        self->n_clients = (size_t)load_number(name, value, 1, 60000);
    else if (strcmp(name, "seconds") == 0)
        self->seconds = load_number(name, value, 1, 86400);
    else if (strcmp(name, "rate") == 0)
        self->rate = load_number(name, value, 1, 10000000);
    else if (strcmp(name, "body") == 0)
        self->sets_reminders = strcmp(value, "reminder") == 0;
    else
        self->random = (uint64_t)load_number(name, value, 1, INT64_MAX);
}

static void read_options(load_t *self, int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'o'},
                                            {"port", required_argument, NULL, 'o'},
                                            {"method", required_argument, NULL, 'o'},
                                            {"targets", required_argument, NULL, 'o'},
                                            {"connections", required_argument, NULL, 'o'},
                                            {"seconds", required_argument, NULL, 'o'},
                                            {"rate", required_argument, NULL, 'o'},
                                            {"seed", required_argument, NULL, 'o'},
                                            {"body", required_argument, NULL, 'o'},
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
    bool is_known = strcmp(self->method, "GET") == 0 || strcmp(self->method, "PATCH") == 0;
    if (self->port == NULL || self->targets == NULL || optind != argc || found != -1 || !is_known) {
        fputs(usage, stderr);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    static load_t self = {
        .host = "127.0.0.1", .method = "GET", .n_clients = 32, .seconds = 5, .random = 1};
    read_options(&self, argc, argv);
    load_raise_files();
    open_clients(&self);
    int64_t cpu_us = load_cpu_us();
    run(&self);
    print(&self, load_cpu_us() - cpu_us);
    close_clients(&self);
    return 0;
}
