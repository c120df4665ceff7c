/* SPDX-License-Identifier: Apache-2.0 */
/* What the load generators share: latencies, the clock, connections, and the title that carries an
 * instant from who writes it to who sees it. One thread, one epoll, no library of the program under
 * test in between. Whatever keeps a generator from measuring ends it with a message. */
#ifndef TASKWIRE_BENCH_LOAD_H
#define TASKWIRE_BENCH_LOAD_H

#include <stdnoreturn.h>

#include "schema/buf.h"

#define LATENCY_SLOTS 2048

/* Latencies counted in slots whose width is 1/32 of their value. */
typedef struct {
    uint64_t n;
    int64_t sum_us;
    int64_t max_us;
    uint64_t slots[LATENCY_SLOTS];
} latency_t;

/* Counts one; what is negative counts as zero. */
void latency_add(latency_t *self, int64_t us);

/* What this share (0 to 1) of all did not exceed. Units: microseconds. */
int64_t latency_at(const latency_t *self, double share);

/* Appends a JSON object: n, mean, p50, p90, p99, p999, max. */
void latency_put_json(const latency_t *self, buf_t *out);

/* Prints what went wrong and ends the program with exit code 1. */
noreturn void load_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wall clock: the same for every process of the machine. Units: microseconds since 1970. */
int64_t load_wall_us(void);

/* For durations. */
int64_t load_mono_us(void);

/* CPU time of this process so far. */
int64_t load_cpu_us(void);

/* The number behind an option; ends the program if it is none or beyond the bounds. */
int64_t load_number(const char *option, const char *text, int64_t min, int64_t max);

/* The lines of a file, without their ends. Owns: the caller, until load_free_lines. */
char **load_lines(const char *file, size_t *n_lines);

/* Frees what load_lines gave. */
void load_free_lines(char **lines, size_t n_lines);

/* A well-spread random number, the same sequence for the same seed (not 0). */
uint64_t load_random(uint64_t *state);

/* As many files as the system lets us open. */
void load_raise_files(void);

/* --- the title that carries an instant --- */

/* Appends the title of a task: words and the instant in 16 digits, 33 bytes whatever it is. */
void stamp_put(buf_t *out, int64_t wall_us);

/* The instant in the first such title in a text; false if there is none. */
bool stamp_find(slice_t text, int64_t *wall_us);

/* --- connections --- */

/* One connection; `in` holds only what is not whole yet, `out` only what the kernel did not take.
 */
typedef struct {
    int fd; /* -1: none */
    buf_t in;
    buf_t out;
    bool wants_out;
} wire_t;

/* Connects to a numeric address and adds the connection to the epoll, with `tag` as its data. */
void wire_open(wire_t *self, int epoll, const char *host, const char *port, void *tag);

/* Closes the connection; what it held is forgotten. */
void wire_close(wire_t *self);

/* Sends what `out` holds, as far as it goes, and asks to be woken for the rest. False: broken. */
bool wire_flush(wire_t *self, int epoll, void *tag);

/* Reads once. What has come and was not taken before, borrowed until the next call for any
 * connection; without bytes if nothing came. False: the connection has ended. */
bool wire_read(wire_t *self, slice_t *got);

/* Keeps what is behind the first `n_taken` bytes of what wire_read gave. */
void wire_keep(wire_t *self, slice_t got, size_t n_taken);

/* Waits for events until the instant at most (monotonic; with microseconds, unlike epoll_wait). */
struct epoll_event;
int load_wait(int epoll, struct epoll_event *events, int max_events, int64_t until_mono_us);

#endif
