/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and histograms in the Prometheus text format. Registered at start, then only
 * touched by atomic adds, from any thread. Source: Prometheus exposition format 0.0.4. */
#ifndef TASKWIRE_METRICS_H
#define TASKWIRE_METRICS_H

#include "schema/buf.h"

typedef struct metrics metrics_t;
typedef struct metric metric_t;

metrics_t *metrics_new(void);
void metrics_destroy(metrics_t **self_p);

/* Registers, or finds again, a series. `labels` is NULL or like `route="/v1/tasks",status="2xx"`.
 * Names carry their unit: _total, _seconds, _bytes. The texts must outlive the registry, labels are
 * copied. Thread: any. */
metric_t *metrics_counter(metrics_t *self, const char *name, const char *labels, const char *help);
metric_t *metrics_gauge(metrics_t *self, const char *name, const char *labels, const char *help);
/* A histogram of durations; observed in microseconds, shown in seconds, from 50 µs to 10 s. */
metric_t *metrics_duration(metrics_t *self, const char *name, const char *labels, const char *help);
/* A histogram of sizes: powers of two from 1 to 16384. */
metric_t *metrics_size(metrics_t *self, const char *name, const char *labels, const char *help);

void metric_add(metric_t *self, int64_t n);
void metric_set(metric_t *self, int64_t value);
int64_t metric_value(const metric_t *self);
void metric_observe(metric_t *self, int64_t value);

/* Appends everything in the text format. Thread: any. */
void metrics_write(metrics_t *self, buf_t *out);

#endif
