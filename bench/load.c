/* SPDX-License-Identifier: Apache-2.0 */
/* A generator must cost little beside what it measures, since both share the machine: one receive
 * buffer for all connections, no timer per request, and nothing is kept of a message that has come
 * whole. */
#include "bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STAMP_WORDS "Water the plants "
#define STAMP_DIGITS 16
#define READ_BYTES ((size_t)256 * 1024)

/* --- latencies --- */

/* The first 64 slots are one microsecond wide; behind them each power of two has 32. */
static size_t slot_of(int64_t us)
{
    if (us < 64)
        return us < 0 ? 0 : (size_t)us;
    unsigned shift = 58u - (unsigned)__builtin_clzll((uint64_t)us);
    size_t slot = 32 * ((size_t)shift + 1) + ((size_t)(us >> shift) - 32);
    return slot < LATENCY_SLOTS ? slot : LATENCY_SLOTS - 1;
}

/* The largest value that falls into a slot. */
static int64_t slot_end(size_t slot)
{
    if (slot < 64)
        return (int64_t)slot;
    unsigned shift = (unsigned)(slot / 32 - 1);
    return ((int64_t)(slot % 32 + 33) << shift) - 1;
}

void latency_add(latency_t *self, int64_t us)
{
    self->n++;
    self->sum_us += us < 0 ? 0 : us;
    if (us > self->max_us)
        self->max_us = us;
    self->slots[slot_of(us)]++;
}

int64_t latency_at(const latency_t *self, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)self->n + 0.999999);
    uint64_t n = 0;
    for (size_t slot = 0; slot < LATENCY_SLOTS; slot++) {
        n += self->slots[slot];
        if (n >= wanted && n > 0)
            return slot_end(slot) < self->max_us ? slot_end(slot) : self->max_us;
    }
    return self->max_us;
}

void latency_put_json(const latency_t *self, buf_t *out)
{
    buf_format(out, "{\"n\":%llu,\"mean\":%lld,\"p50\":%lld,\"p90\":%lld",
               (unsigned long long)self->n,
               (long long)(self->n == 0 ? 0 : self->sum_us / (int64_t)self->n),
               (long long)latency_at(self, 0.5), (long long)latency_at(self, 0.9));
    buf_format(out, ",\"p99\":%lld,\"p999\":%lld,\"max\":%lld}", (long long)latency_at(self, 0.99),
               (long long)latency_at(self, 0.999), (long long)self->max_us);
}

/* --- clock, arguments, files --- */

noreturn void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int64_t read_clock(clockid_t id)
{
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

int64_t load_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t load_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t load_cpu_us(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t load_number(const char *option, const char *text, int64_t min, int64_t max)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        load_die("%s: a number from %lld to %lld is needed", option, (long long)min,
                 (long long)max);
    return value;
}

char **load_lines(const char *file, size_t *n_lines)
{
    FILE *in = fopen(file, "re");
    char **lines = NULL;
    char *line = NULL;
    size_t capacity = 0;
    size_t n = 0;
    if (in == NULL)
        load_die("%s: %s", file, strerror(errno));
    for (ssize_t n_chars; (n_chars = getline(&line, &capacity, in)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        lines = reallocarray(lines, n + 1, sizeof *lines);
        if (lines == NULL || (lines[n++] = strdup(line)) == NULL)
            abort();
    }
    free(line);
    fclose(in);
    if (n == 0)
        load_die("%s: it has no lines", file);
    *n_lines = n;
    return lines;
}

void load_free_lines(char **lines, size_t n_lines)
{
    for (size_t i = 0; i < n_lines; i++)
        free(lines[i]);
    free(lines);
}

uint64_t load_random(uint64_t *state)
{
    /* Source: Marsaglia, Xorshift RNGs (2003), with the multiplier of Vigna's xorshift64*. */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (x * UINT64_C(0x2545f4914f6cdd1d)) >> 16;
}

void load_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- the title that carries an instant --- */

void stamp_put(buf_t *out, int64_t wall_us)
{
    buf_format(out, STAMP_WORDS "%0*lld", STAMP_DIGITS, (long long)wall_us);
}

bool stamp_find(slice_t text, int64_t *wall_us)
{
    const size_t n_words = strlen(STAMP_WORDS);
    const uint8_t *at = memmem(text.data, text.n_bytes, STAMP_WORDS, n_words);
    if (at == NULL || (size_t)(text.data + text.n_bytes - at) < n_words + STAMP_DIGITS)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i < STAMP_DIGITS; i++) {
        uint8_t digit = at[n_words + i];
        if (digit < '0' || digit > '9')
            return false;
        value = value * 10 + (digit - '0');
    }
    *wall_us = value;
    return true;
}

/* --- connections --- */

static void watch(const wire_t *self, int epoll, int operation, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN | (self->wants_out ? EPOLLOUT : 0u),
                                .data.ptr = tag};
    if (epoll_ctl(epoll, operation, self->fd, &event) != 0)
        load_die("epoll_ctl: %s", strerror(errno));
}

void wire_open(wire_t *self, int epoll, const char *host, const char *port, void *tag)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int yes = 1;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        load_die("%s:%s: %s", host, port, gai_strerror(error));
    self->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd < 0 || connect(self->fd, found->ai_addr, found->ai_addrlen) != 0)
        load_die("cannot connect to %s:%s: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(self, epoll, EPOLL_CTL_ADD, tag);
}

void wire_close(wire_t *self)
{
    if (self->fd >= 0)
        close(self->fd);
    buf_fini(&self->in);
    buf_fini(&self->out);
    *self = (wire_t){.fd = -1};
}

bool wire_flush(wire_t *self, int epoll, void *tag)
{
    size_t n_sent = 0;
    while (n_sent < self->out.n_bytes) {
        ssize_t n = send(self->fd, self->out.data + n_sent, self->out.n_bytes - n_sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        n_sent += (size_t)n;
    }
    self->out.n_bytes -= n_sent;
    if (self->out.n_bytes > 0)
        memmove(self->out.data, self->out.data + n_sent, self->out.n_bytes);
    bool wants_out = self->out.n_bytes > 0;
    if (wants_out != self->wants_out) {
        self->wants_out = wants_out;
        watch(self, epoll, EPOLL_CTL_MOD, tag);
    }
    return true;
}

bool wire_read(wire_t *self, slice_t *got)
{
    static uint8_t shared[READ_BYTES];
    bool is_shared = self->in.n_bytes == 0;
    uint8_t *at = is_shared ? shared : buf_reserve(&self->in, READ_BYTES / 4);
    ssize_t n = recv(self->fd, at, is_shared ? READ_BYTES : READ_BYTES / 4, MSG_DONTWAIT);
    *got = slice_none();
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (is_shared) {
        *got = slice_of(shared, (size_t)n);
    } else {
        self->in.n_bytes += (size_t)n;
        *got = buf_slice(&self->in);
    }
    return n > 0;
}

void wire_keep(wire_t *self, slice_t got, size_t n_taken)
{
    slice_t rest = slice_of(got.data + n_taken, got.n_bytes - n_taken);
    if (self->in.n_bytes == 0) {
        buf_append_slice(&self->in, rest);
        return;
    }
    memmove(self->in.data, rest.data, rest.n_bytes);
    self->in.n_bytes = rest.n_bytes;
}

int load_wait(int epoll, struct epoll_event *events, int max_events, int64_t until_mono_us)
{
    struct pollfd ready = {.fd = epoll, .events = POLLIN};
    int64_t left_us = until_mono_us - load_mono_us();
    if (left_us > 0) {
        const struct timespec left = {.tv_sec = left_us / 1000000,
                                      .tv_nsec = left_us % 1000000 * 1000};
        (void)ppoll(&ready, 1, &left, NULL);
    }
    int n = epoll_wait(epoll, events, max_events, 0);
    if (n < 0 && errno != EINTR)
        load_die("epoll_wait: %s", strerror(errno));
    return n < 0 ? 0 : n;
}
