/* SPDX-License-Identifier: Apache-2.0 */
/* A family is a name with its help and type; its series differ in labels. Registering takes a lock
 * and walks lists, counting is one relaxed atomic add. What is written is therefore no snapshot:
 * but a histogram's count is made of the very buckets that are shown, so that it always agrees. */
#include "actors/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef enum { KIND_COUNTER, KIND_GAUGE, KIND_DURATION, KIND_SIZE } kind_t;

static const char *const kind_types[] = {
    [KIND_COUNTER] = "counter",
    [KIND_GAUGE] = "gauge",
    [KIND_DURATION] = "histogram",
    [KIND_SIZE] = "histogram",
};

#define MAX_BOUNDS 17

static const int64_t duration_bounds[MAX_BOUNDS] = {
    50,    100,    250,    500,    1000,    2500,    5000,    10000,    25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

static const int64_t size_bounds[] = {1,   2,   4,    8,    16,   32,   64,   128,
                                      256, 512, 1024, 2048, 4096, 8192, 16384};

typedef struct {
    const int64_t *bounds;
    size_t n;
} bounds_t;

struct metric {
    metric_t *next;
    char *labels; /* NULL: none */
    bounds_t bounds;
    atomic_int_least64_t value; /* of a histogram: the sum */
    atomic_int_least64_t buckets[]; /* one per bound, and one for what is above all */
};

typedef struct family family_t;
struct family {
    family_t *next;
    const char *name;
    const char *help;
    kind_t kind;
    metric_t *first;
    metric_t *last;
};

struct metrics {
    pthread_mutex_t lock;
    family_t *first;
    family_t *last;
};

static bounds_t bounds_of(kind_t kind)
{
    switch (kind) {
    case KIND_COUNTER:
    case KIND_GAUGE:
        return (bounds_t){NULL, 0};
    case KIND_DURATION:
        return (bounds_t){duration_bounds, sizeof duration_bounds / sizeof *duration_bounds};
    case KIND_SIZE:
        return (bounds_t){size_bounds, sizeof size_bounds / sizeof *size_bounds};
    }
    abort();
}

static void *allocate(size_t n_bytes)
{
    void *memory = calloc(1, n_bytes);
    if (memory == NULL)
        abort();
    return memory;
}

metrics_t *metrics_new(void)
{
    metrics_t *self = allocate(sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    return self;
}

static void destroy_family(family_t *family)
{
    metric_t *next = NULL;
    for (metric_t *metric = family->first; metric != NULL; metric = next) {
        next = metric->next;
        free(metric->labels);
        free(metric);
    }
    free(family);
}

void metrics_destroy(metrics_t **self_p)
{
    metrics_t *self = *self_p;
    if (self == NULL)
        return;
    family_t *next = NULL;
    for (family_t *family = self->first; family != NULL; family = next) {
        next = family->next;
        destroy_family(family);
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}

static bool same_labels(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static metric_t *find_metric(const family_t *family, const char *labels)
{
    metric_t *metric = family->first;
    while (metric != NULL && !same_labels(metric->labels, labels))
        metric = metric->next;
    return metric;
}

static metric_t *add_metric(family_t *family, const char *labels)
{
    bounds_t bounds = bounds_of(family->kind);
    metric_t *metric = allocate(sizeof *metric + (bounds.n + 1) * sizeof *metric->buckets);
    metric->bounds = bounds;
    if (labels != NULL && (metric->labels = strdup(labels)) == NULL)
        abort();
    if (family->last == NULL)
        family->first = metric;
    else
        family->last->next = metric;
    family->last = metric;
    return metric;
}

static family_t *find_family(const metrics_t *self, const char *name)
{
    family_t *family = self->first;
    while (family != NULL && strcmp(family->name, name) != 0)
        family = family->next;
    return family;
}

static family_t *add_family(metrics_t *self, const char *name, kind_t kind, const char *help)
{
    family_t *family = allocate(sizeof *family);
    *family = (family_t){.name = name, .help = help, .kind = kind};
    if (self->last == NULL)
        self->first = family;
    else
        self->last->next = family;
    self->last = family;
    return family;
}

static metric_t *register_metric(metrics_t *self, const char *name, kind_t kind, const char *labels,
                                 const char *help)
{
    pthread_mutex_lock(&self->lock);
    family_t *family = find_family(self, name);
    if (family == NULL)
        family = add_family(self, name, kind, help);
    assert(family->kind == kind);
    metric_t *metric = find_metric(family, labels);
    if (metric == NULL)
        metric = add_metric(family, labels);
    pthread_mutex_unlock(&self->lock);
    return metric;
}

metric_t *metrics_counter(metrics_t *self, const char *name, const char *labels, const char *help)
{
    return register_metric(self, name, KIND_COUNTER, labels, help);
}

metric_t *metrics_gauge(metrics_t *self, const char *name, const char *labels, const char *help)
{
    return register_metric(self, name, KIND_GAUGE, labels, help);
}

metric_t *metrics_duration(metrics_t *self, const char *name, const char *labels, const char *help)
{
    return register_metric(self, name, KIND_DURATION, labels, help);
}

metric_t *metrics_size(metrics_t *self, const char *name, const char *labels, const char *help)
{
    return register_metric(self, name, KIND_SIZE, labels, help);
}

void metric_add(metric_t *self, int64_t n)
{
    atomic_fetch_add_explicit(&self->value, n, memory_order_relaxed);
}

void metric_set(metric_t *self, int64_t value)
{
    atomic_store_explicit(&self->value, value, memory_order_relaxed);
}

int64_t metric_value(const metric_t *self)
{
    return atomic_load_explicit(&self->value, memory_order_relaxed);
}

void metric_observe(metric_t *self, int64_t value)
{
    size_t i = 0;
    while (i < self->bounds.n && value > self->bounds.bounds[i])
        i++;
    atomic_fetch_add_explicit(&self->buckets[i], 1, memory_order_relaxed);
    metric_add(self, value);
}

/* --- the text format --- */

/* A value of a family: microseconds are shown as seconds, without trailing zeros. */
static void put_value(buf_t *out, kind_t kind, int64_t value)
{
    if (kind != KIND_DURATION) {
        buf_format(out, "%lld", (long long)value);
        return;
    }
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    buf_format(out, "%s%llu.%06llu", value < 0 ? "-" : "", (unsigned long long)(size / 1000000),
               (unsigned long long)(size % 1000000));
    while (out->data[out->n_bytes - 1] == '0')
        out->n_bytes--;
    if (out->data[out->n_bytes - 1] == '.')
        out->n_bytes--;
}

/* NAMESUFFIX{labels} and a space. */
static void put_series(buf_t *out, const family_t *family, const char *suffix, const char *labels)
{
    buf_format(out, "%s%s", family->name, suffix);
    if (labels != NULL)
        buf_format(out, "{%s}", labels);
    buf_append_byte(out, ' ');
}

static void put_bucket(buf_t *out, const family_t *family, const metric_t *metric, size_t i,
                       int64_t n)
{
    const char *labels = metric->labels != NULL ? metric->labels : "";
    buf_format(out, "%s_bucket{%s%sle=\"", family->name, labels, *labels != '\0' ? "," : "");
    if (i < metric->bounds.n)
        put_value(out, family->kind, metric->bounds.bounds[i]);
    else
        buf_append_str(out, "+Inf");
    buf_format(out, "\"} %lld\n", (long long)n);
}

static void put_histogram(buf_t *out, const family_t *family, const metric_t *metric)
{
    int64_t n = 0;
    for (size_t i = 0; i <= metric->bounds.n; i++) {
        n += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        put_bucket(out, family, metric, i, n);
    }
    put_series(out, family, "_sum", metric->labels);
    put_value(out, family->kind, metric_value(metric));
    buf_append_byte(out, '\n');
    put_series(out, family, "_count", metric->labels);
    buf_format(out, "%lld\n", (long long)n);
}

static void put_metric(buf_t *out, const family_t *family, const metric_t *metric)
{
    if (metric->bounds.n > 0) {
        put_histogram(out, family, metric);
        return;
    }
    put_series(out, family, "", metric->labels);
    buf_format(out, "%lld\n", (long long)metric_value(metric));
}

void metrics_write(metrics_t *self, buf_t *out)
{
    pthread_mutex_lock(&self->lock);
    for (const family_t *family = self->first; family != NULL; family = family->next) {
        buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   kind_types[family->kind]);
        for (const metric_t *metric = family->first; metric != NULL; metric = metric->next)
            put_metric(out, family, metric);
    }
    pthread_mutex_unlock(&self->lock);
}
