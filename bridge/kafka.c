/* SPDX-License-Identifier: Apache-2.0 */
/* Three tables say what librdkafka is told: what is always so, what is so unless the operator says
 * otherwise, and what he must not say because a promise rests on it. What he says that librdkafka
 * does not know is found when it is set.
 *
 * librdkafka 2.0.2 has more features than are safe to use: see the reasons beside the tables. */
#include "bridge/kafka.h"

#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <malloc.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "actors/clock.h"
#include "actors/mask.h"

#define MAX_INSTANCES 64 /* of one DATA_DIR */
#define INSTANCE_BYTES 8
#define LOG_DEBUG_OF_SYSLOG 7
#define END_STEP_US 5000

#define P (1u << KAFKA_PRODUCER)
#define C (1u << KAFKA_CONSUMER)
#define R (1u << KAFKA_READER)
#define A (1u << KAFKA_ADMIN)

typedef struct {
    unsigned roles;
    const char *name;
    const char *value;
} row_t;

#define TEXT_OF(number) #number
#define AS_TEXT(number) TEXT_OF(number)

static const row_t fixed[] = {
    {P, "enable.idempotence", "true"}, /* acks=all, and order kept over retries */
    {P, "enable.gapless.guarantee", "true"}, /* nothing goes out behind what was refused */
    /* A record that is given up in the midst of others is itself a cause of fatal errors: they wait
     * as long as it takes. */
    {P, "message.timeout.ms", "0"},
    {P, "message.max.bytes", AS_TEXT(4194304)},
    {P | C | R | A, "allow.auto.create.topics", "false"},
    {C | R, "enable.auto.offset.store", "false"}, /* stored when everybody has handled it */
    {C, "enable.auto.commit", "true"},
    {R, "enable.auto.commit", "false"},
    /* The library must not decide to begin elsewhere: we know where from the database. */
    {C | R, "auto.offset.reset", "error"},
    /* cooperative-sticky: endless loops, lost assignments, until 2.10. */
    {C, "partition.assignment.strategy", "range"},
    {C | R, "enable.partition.eof", "true"},
    {P | C | R | A, "log.connection.close", "false"},
};

static const row_t usual[] = {
    {P | C | R | A, "client.id", "taskwire"},
    {P | C | R | A, "socket.nagle.disable", "true"},
    {P | C | R | A, "socket.keepalive.enable", "true"},
    {P | C | R | A, "reconnect.backoff.max.ms", "2000"},
    {P | C | R | A, "topic.metadata.refresh.interval.ms", "30000"},
    {P, "linger.ms", "2"},
    {P, "batch.size", "1000000"},
    {P, "compression.type", "lz4"},
    {P, "queue.buffering.max.messages", "200000"},
    {P, "queue.buffering.max.kbytes", "131072"},
    {P, "retry.backoff.ms", "100"},
    {C | R, "fetch.wait.max.ms", "100"},
    {C | R, "fetch.error.backoff.ms", "50"},
    {C | R, "queued.min.messages", "50000"},
    {C | R, "queued.max.messages.kbytes", "32768"},
    {C, "session.timeout.ms", "10000"},
    {C, "heartbeat.interval.ms", "1000"},
    {C, "auto.commit.interval.ms", "1000"},
};

/* What the operator must not say: the names with one of ours for the same, where there is one. */
static const row_t ours[] = {
    {0, "bootstrap.servers", "TASKWIRE_KAFKA_BROKERS"},
    {0, "metadata.broker.list", "TASKWIRE_KAFKA_BROKERS"},
    {0, "group.id", "TASKWIRE_KAFKA_GROUP"},
    {0, "group.instance.id", "TASKWIRE_KAFKA_INSTANCE"},
    {0, "acks", NULL},
    {0, "request.required.acks", NULL},
    {0, "enable.idempotence", NULL},
    {0, "enable.gapless.guarantee", NULL},
    {0, "max.in.flight", NULL},
    {0, "max.in.flight.requests.per.connection", NULL},
    {0, "retries", NULL},
    {0, "message.send.max.retries", NULL},
    {0, "message.timeout.ms", NULL},
    {0, "delivery.timeout.ms", NULL},
    {0, "message.max.bytes", NULL},
    {0, "transactional.id", NULL},
    {0, "partitioner", NULL},
    {0, "allow.auto.create.topics", NULL},
    {0, "enable.auto.commit", NULL},
    {0, "auto.commit.enable", NULL},
    {0, "enable.auto.offset.store", NULL},
    {0, "auto.offset.reset", NULL},
    {0, "offset.store.method", NULL},
    {0, "partition.assignment.strategy", NULL},
    {0, "group.protocol", NULL},
    {0, "enable.partition.eof", NULL},
    {0, "enabled.events", NULL},
    {0, "log.queue", NULL},
    {0, "builtin.features", NULL},
    {0, "test.mock.num.brokers", NULL}, /* it keeps 5 MiB a partition and drops the rest */
};

#define N_ROWS(table) (sizeof(table) / sizeof *(table))

const char *const kafka_topic_names[KAFKA_N_TOPICS] = {
    [KAFKA_TASK_EVENTS] = "task-events",
    [KAFKA_REMINDERS] = "reminders",
    [KAFKA_TASK_UPDATES] = "task-updates",
    [KAFKA_DEAD_LETTER] = "taskwire-dead-letter",
};

bool kafka_is_on(const config_t *config)
{
    return *config->kafka_brokers != '\0';
}

void kafka_topic_name(const config_t *config, const char *topic, char out[KAFKA_NAME_CHARS])
{
    snprintf(out, KAFKA_NAME_CHARS, "%s%s", config->kafka_topic_prefix, topic);
}

void kafka_group(const config_t *config, char out[KAFKA_NAME_CHARS])
{
    if (*config->kafka_group != '\0')
        snprintf(out, KAFKA_NAME_CHARS, "%s", config->kafka_group);
    else
        kafka_topic_name(config, "taskwire", out);
}

const char *kafka_words(int code)
{
    return rd_kafka_err2str((rd_kafka_resp_err_t)code);
}

/* --- its log in ours --- */

static log_level_t level_of(int syslog_level)
{
    if (syslog_level <= 2)
        return LOG_ERROR;
    if (syslog_level <= 4)
        return LOG_WARN;
    return syslog_level <= 6 ? LOG_INFO : LOG_DEBUG;
}

/* Thread: librdkafka's. It tells the same of a broker that is away twice a minute at most. */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    buf_t shown = {0};
    (void)handle;
    /* The same settings are given to producers and consumers: what either does not need it says. */
    if (strcmp(facility, "CONFWARN") == 0)
        level = LOG_DEBUG_OF_SYSLOG;
    mask_secrets(text, &shown);
    log_line(level_of(level), "kafka", "librdkafka", "about=%s words=\"%.*s\"", facility,
             (int)shown.n_bytes, (const char *)shown.data);
    buf_fini(&shown);
}

/* A handle that is made to see whether it can be has nothing to tell. */
static void on_check_log(const rd_kafka_t *handle, int level, const char *facility,
                         const char *text)
{
    (void)handle;
    (void)level;
    (void)facility;
    (void)text;
}

/* --- settings --- */

/* What librdkafka says of a value may show the value. */
static bool refuse(const kafka_setting_t *setting, const char *why, char *error, size_t size)
{
    bool is_secret = kafka_setting_is_secret(setting->name);
    snprintf(error, size, "%s: %s", setting->key, is_secret ? "librdkafka refuses it" : why);
    return false;
}

/* One of ours; a name that this librdkafka does not know is left out, a bad value is a bug. */
static void put(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[KAFKA_ERROR_CHARS];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_INVALID)
        log_line(LOG_ERROR, "kafka", "a setting is refused", "why=\"%s\"", why);
}

static void put_rows(rd_kafka_conf_t *conf, const row_t *rows, size_t n, kafka_role_t role)
{
    for (size_t i = 0; i < n; i++) {
        if ((rows[i].roles >> role & 1) != 0)
            put(conf, rows[i].name, rows[i].value);
    }
}

static bool is_allowed(const kafka_setting_t *setting, char *error, size_t size)
{
    for (size_t i = 0; i < N_ROWS(ours); i++) {
        if (strcmp(ours[i].name, setting->name) != 0)
            continue;
        snprintf(error, size, "%s: taskwire's promises rest on what it says there itself%s%s",
                 setting->key, ours[i].value != NULL ? "; see " : "",
                 ours[i].value != NULL ? ours[i].value : "");
        return false;
    }
    return true;
}

/* Settings of producers are known to consumers too and the other way round: librdkafka takes them
 * and warns only. */
static bool put_given(rd_kafka_conf_t *conf, const kafka_settings_t *settings, char *error,
                      size_t size)
{
    for (size_t i = 0; i < settings->n; i++) {
        const kafka_setting_t *setting = &settings->items[i];
        char why[KAFKA_ERROR_CHARS] = "";
        if (!is_allowed(setting, error, size))
            return false;
        switch (rd_kafka_conf_set(conf, setting->name, setting->value, why, sizeof why)) {
        case RD_KAFKA_CONF_OK:
            break;
        case RD_KAFKA_CONF_UNKNOWN:
            snprintf(error, size, "%s: librdkafka has no setting %s (taskwire --help lists ours)",
                     setting->key, setting->name);
            return false;
        case RD_KAFKA_CONF_INVALID:
            return refuse(setting, why, error, size);
        }
    }
    return true;
}

rd_kafka_conf_t *kafka_conf_new(const config_t *config, kafka_role_t role, char *error, size_t size)
{
    char group[KAFKA_NAME_CHARS];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    put_rows(conf, usual, N_ROWS(usual), role);
    if (!put_given(conf, &config->kafka_settings, error, size)) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    put_rows(conf, fixed, N_ROWS(fixed), role);
    if (kafka_is_on(config))
        put(conf, "bootstrap.servers", config->kafka_brokers);
    kafka_group(config, group);
    /* Without a group there is no assigning by hand; a reader's is never joined. */
    if (role == KAFKA_READER)
        strncat(group, "-reader", sizeof group - strlen(group) - 1);
    if (role == KAFKA_CONSUMER || role == KAFKA_READER)
        put(conf, "group.id", group);
    return conf;
}

/* The key of the setting that librdkafka's words are about. */
static const char *key_in(const kafka_settings_t *settings, const char *words)
{
    for (size_t i = 0; i < settings->n; i++) {
        if (strstr(words, settings->items[i].name) != NULL)
            return settings->items[i].key;
    }
    return settings->n > 0 ? settings->items[0].key : "TASKWIRE_KAFKA_BROKERS";
}

/* What only shows when a handle is made: files of certificates, settings that contradict each
 * other.
 */
static bool check_role(const config_t *config, kafka_role_t role, char *error, size_t size)
{
    char why[KAFKA_ERROR_CHARS] = "";
    rd_kafka_conf_t *conf = kafka_conf_new(config, role, error, size);
    if (conf == NULL)
        return false;
    rd_kafka_conf_set_log_cb(conf, on_check_log);
    rd_kafka_type_t type =
        role == KAFKA_PRODUCER || role == KAFKA_ADMIN ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    rd_kafka_t *handle = rd_kafka_new(type, conf, why, sizeof why);
    if (handle == NULL) {
        rd_kafka_conf_destroy(conf);
        buf_t shown = {0};
        mask_secrets(why, &shown);
        snprintf(error, size, "%s: %.*s", key_in(&config->kafka_settings, why), (int)shown.n_bytes,
                 (const char *)shown.data);
        buf_fini(&shown);
        return false;
    }
    (void)kafka_end(&handle, clock_now().mono_us + INT64_C(1000000));
    return true;
}

bool kafka_check(const config_t *config, char *error, size_t size)
{
    rd_kafka_conf_t *conf = kafka_conf_new(config, KAFKA_ADMIN, error, size);
    if (conf == NULL)
        return false;
    rd_kafka_conf_destroy(conf);
    /* A handle begins to connect: that without a broker is not looked at. */
    return !kafka_is_on(config) || (check_role(config, KAFKA_PRODUCER, error, size) &&
                                    check_role(config, KAFKA_CONSUMER, error, size));
}

/* --- who we are in the group --- */

/* Reads the name that stands in the file, or writes one. False: it cannot be written. */
static bool read_instance(int fd, char out[KAFKA_NAME_CHARS])
{
    uint8_t bytes[INSTANCE_BYTES];
    char hex[2 * INSTANCE_BYTES + 1];
    ssize_t n = pread(fd, hex, sizeof hex - 1, 0);
    if (n == (ssize_t)sizeof hex - 1 && strspn(hex, "0123456789abcdef") >= sizeof hex - 1) {
        snprintf(out, KAFKA_NAME_CHARS, "taskwire-%.*s", (int)sizeof hex - 1, hex);
        return true;
    }
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(hex, sizeof hex, bytes, sizeof bytes);
    snprintf(out, KAFKA_NAME_CHARS, "taskwire-%s", hex);
    return ftruncate(fd, 0) == 0 && pwrite(fd, hex, sizeof hex - 1, 0) == (ssize_t)sizeof hex - 1 &&
           fsync(fd) == 0;
}

err_t kafka_instance(const config_t *config, char out[KAFKA_NAME_CHARS])
{
    if (*config->kafka_instance != '\0') {
        snprintf(out, KAFKA_NAME_CHARS, "%s", config->kafka_instance);
        return ERR_OK;
    }
    for (unsigned i = 0; i < MAX_INSTANCES; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/kafka-instance-%u", config->data_dir, i);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            break;
        /* The lock goes with the process, so the fd stays open. */
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && read_instance(fd, out))
            return ERR_OK;
        close(fd);
    }
    log_line(LOG_ERROR, "kafka", "no name for the group can be kept", "setting=%s why=\"%s\"",
             config_key(config, "DATA_DIR"), strerror(errno));
    return ERR_INTERNAL;
}

/* --- its threads, under the thread sanitizer --- */

#ifdef __SANITIZE_THREAD__
#include <threads.h>

/* librdkafka starts its threads by C11's functions, which the sanitizer does not know: it then
 * crashes in the first of them that takes memory. These stand before the C library's. */
typedef struct {
    thrd_start_t start;
    void *arg;
} thread_t;

static void *run_thread(void *arg)
{
    thread_t self = *(thread_t *)arg;
    free(arg);
    return (void *)(intptr_t)self.start(self.arg);
}

int thrd_create(thrd_t *out, thrd_start_t start, void *arg)
{
    thread_t *self = malloc(sizeof *self);
    if (self == NULL)
        return thrd_nomem;
    *self = (thread_t){start, arg};
    if (pthread_create(out, NULL, run_thread, self) == 0)
        return thrd_success;
    free(self);
    return thrd_error;
}

int thrd_join(thrd_t thread, int *result)
{
    void *answer = NULL;
    if (pthread_join(thread, &answer) != 0)
        return thrd_error;
    if (result != NULL)
        *result = (int)(intptr_t)answer;
    return thrd_success;
}
#endif

/* --- the end --- */

typedef struct {
    rd_kafka_t *handle;
    atomic_bool is_done;
    atomic_int n_users; /* the thread and who waits for it: the last one frees */
    void (*then)(void *arg);
    void *arg;
} ending_t;

#define KEEP_BYTES (64 * 1024 * 1024)
#define MMAP_BYTES (32 * 1024 * 1024)

/* Without its lists of small pieces malloc has none to put together again each time that something
 * large is freed. */
void kafka_tune_malloc(void)
{
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    mallopt(M_MXFAST, 0);
}

/* Of the library's, not of ours: it may outlive whoever had the handle. */
static atomic_int n_endings;

bool kafka_is_clean(void)
{
    return atomic_load(&n_endings) == 0;
}

static void release(ending_t *self)
{
    if (atomic_fetch_sub(&self->n_users, 1) == 1)
        free(self);
}

static void *end_handle(void *arg)
{
    ending_t *self = arg;
    if (rd_kafka_type(self->handle) == RD_KAFKA_PRODUCER)
        rd_kafka_purge(self->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                         RD_KAFKA_PURGE_F_NON_BLOCKING);
    /* A consumer has been closed by its owner, or is left to its session timeout. */
    rd_kafka_destroy_flags(self->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (self->then != NULL)
        self->then(self->arg);
    atomic_store(&self->is_done, true);
    atomic_fetch_sub(&n_endings, 1);
    release(self);
    return NULL;
}

bool kafka_end(struct rd_kafka_s **handle_p, int64_t deadline_mono_us)
{
    return kafka_end_then(handle_p, deadline_mono_us, NULL, NULL);
}

bool kafka_end_then(struct rd_kafka_s **handle_p, int64_t deadline_mono_us, void (*then)(void *arg),
                    void *arg)
{
    pthread_t thread;
    if (*handle_p == NULL) {
        if (then != NULL)
            then(arg);
        return true;
    }
    ending_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->handle = *handle_p;
    self->then = then;
    self->arg = arg;
    *handle_p = NULL;
    atomic_init(&self->n_users, 2);
    atomic_fetch_add(&n_endings, 1);
    if (pthread_create(&thread, NULL, end_handle, self) != 0) {
        free(self); /* no threads left: better its memory is lost than that we hang */
        return false;
    }
    pthread_detach(thread);
    const struct timespec step = {.tv_nsec = END_STEP_US * 1000};
    while (!atomic_load(&self->is_done) && clock_now().mono_us < deadline_mono_us)
        (void)nanosleep(&step, NULL);
    bool is_done = atomic_load(&self->is_done);
    release(self);
    return is_done;
}
