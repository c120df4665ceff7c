/* SPDX-License-Identifier: Apache-2.0 */
/* How librdkafka 2.0.2 is to be used for this:
 *
 * - Partition queues are un-forwarded before the assignment, so that no record goes to the main
 *   queue. pause and resume would drop what was fetched, and leak.
 * - One eventfd for the main queue and all others. It tells when a queue is no longer empty: so
 *   a queue must be emptied before it is waited for, and each keeps whether it was.
 * - auto.offset.reset=error: where to begin is found out before a partition is assigned. One whose
 *   offset is gone later cannot be sought in any more: a member of the group begins anew with
 *   another handle, who has no group assigns again.
 * - To assign what is just being stopped ends in an assertion of the library: so there is a while
 *   from one assignment to the next, whoever wants it.
 * - Closing may hang: it goes by a queue that is served here until the deadline. */
#include "bridge/kafka_reader.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/clock.h"
#include "actors/log.h"

#define TAKE_MAX 512
#define CLOSE_STEP_MS 20
#define ASK_MS 2000
#define ASSIGN_US                                                                                  \
    INT64_C(1000000) /* from one assignment to the next: what it stops has stopped                 \
                      */

typedef struct {
    int32_t number;
    rd_kafka_queue_t *queue;
    int64_t next; /* the offset behind the last record taken, or one of librdkafka's names */
    bool may_have_more; /* it was not emptied since the fd was last readable */
    bool is_at_end;
    log_once_t trouble;
} partition_t;

struct kafka_reader {
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    char topic_name[KAFKA_NAME_CHARS];
    rd_kafka_queue_t *main;
    int fd;
    bool is_member; /* of the group */
    kafka_from_t from;
    kafka_listener_t listener;
    partition_t *partitions; /* by number, with holes where the queue is NULL */
    int32_t n_partitions;
    bool must_assign; /* again, since a partition is to be begun anew */
    int64_t assigned_mono_us;
    bool is_broken;
    bool is_fenced;
    char why[KAFKA_ERROR_CHARS];
    log_once_t trouble;
};

/* --- partitions --- */

static partition_t *find(const kafka_reader_t *self, int32_t number)
{
    if (number < 0 || number >= self->n_partitions || self->partitions[number].queue == NULL)
        return NULL;
    return &self->partitions[number];
}

static void watch_queue(const kafka_reader_t *self, rd_kafka_queue_t *queue)
{
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(queue, self->fd, &one, sizeof one);
}

static void open_partition(kafka_reader_t *self, int32_t number, int64_t next)
{
    if (number >= self->n_partitions) {
        size_t n = (size_t)number + 1;
        self->partitions = realloc(self->partitions, n * sizeof *self->partitions);
        if (self->partitions == NULL)
            abort();
        memset(self->partitions + self->n_partitions, 0,
               (n - (size_t)self->n_partitions) * sizeof *self->partitions);
        self->n_partitions = number + 1;
    }
    partition_t *partition = &self->partitions[number];
    *partition = (partition_t){.number = number, .next = next, .may_have_more = true};
    partition->queue = rd_kafka_queue_get_partition(self->handle, self->topic_name, number);
    rd_kafka_queue_forward(partition->queue, NULL);
    watch_queue(self, partition->queue);
}

static void close_partition(partition_t *partition)
{
    if (partition->queue == NULL)
        return;
    rd_kafka_queue_io_event_enable(partition->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(partition->queue);
    partition->queue = NULL;
}

static void close_partitions(kafka_reader_t *self)
{
    for (int32_t i = 0; i < self->n_partitions; i++)
        close_partition(&self->partitions[i]);
}

/* --- the group --- */

/* Fills in where to go on: at what is stored, if that exists; else at the start. What cannot be
 * found out now is left to the library. */
static void find_offsets(kafka_reader_t *self, rd_kafka_topic_partition_list_t *list)
{
    if (rd_kafka_committed(self->handle, list, ASK_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *partition = &list->elems[i];
        int64_t low = 0, high = 0;
        bool is_there = partition->offset >= 0;
        if (is_there &&
            rd_kafka_query_watermark_offsets(self->handle, self->topic_name, partition->partition,
                                             &low, &high, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
            is_there = partition->offset >= low && partition->offset <= high;
        if (is_there)
            continue;
        log_line(LOG_INFO, "kafka", "no offset to go on from: beginning at the start",
                 "topic=%s partition=%d", self->topic_name, (int)partition->partition);
        partition->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
}

static void take_assignment(kafka_reader_t *self, rd_kafka_topic_partition_list_t *list)
{
    size_t n = (size_t)list->cnt;
    int32_t *numbers = calloc(n + 1, sizeof *numbers);
    if (numbers == NULL)
        abort();
    close_partitions(self);
    find_offsets(self, list);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = list->elems[i].partition;
        open_partition(self, numbers[i], list->elems[i].offset);
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(self->handle, list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_line(LOG_WARN, "kafka", "partitions could not be taken", "why=\"%s\"",
                 kafka_words(err));
    self->listener.assigned(self->listener.arg, numbers, n);
    free(numbers);
}

static void on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    kafka_reader_t *self = opaque;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        take_assignment(self, list);
        return;
    }
    self->listener.revoked(self->listener.arg, rd_kafka_assignment_lost(handle) != 0);
    close_partitions(self);
    (void)rd_kafka_assign(handle, NULL); /* commits what is stored, unless it is lost */
}

static void check_fatal(kafka_reader_t *self)
{
    char why[KAFKA_ERROR_CHARS];
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(self->handle, why, sizeof why);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    self->is_broken = true;
    self->is_fenced = err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    snprintf(self->why, sizeof self->why, "%s", why);
}

/* --- making and ending --- */

static kafka_reader_t *make(const config_t *config, kafka_topic_t topic, rd_kafka_conf_t *conf,
                            char *error, size_t size)
{
    kafka_reader_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    kafka_topic_name(config, kafka_topic_names[topic], self->topic_name);
    rd_kafka_conf_set_opaque(conf, self);
    self->handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, size);
    if (self->handle == NULL) {
        rd_kafka_conf_destroy(conf);
        close(self->fd);
        free(self);
        return NULL;
    }
    (void)rd_kafka_poll_set_consumer(self->handle);
    self->topic = rd_kafka_topic_new(self->handle, self->topic_name, NULL);
    self->main = rd_kafka_queue_get_consumer(self->handle);
    watch_queue(self, self->main);
    return self;
}

static bool subscribe(kafka_reader_t *self, char *error, size_t size)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, self->topic_name, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(self->handle, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        snprintf(error, size, "%s", kafka_words(err));
    return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

kafka_reader_t *kafka_reader_join(const config_t *config, kafka_topic_t topic, const char *instance,
                                  const kafka_listener_t *listener, char *error, size_t size)
{
    rd_kafka_conf_t *conf = kafka_conf_new(config, KAFKA_CONSUMER, error, size);
    if (conf == NULL)
        return NULL;
    if (instance != NULL &&
        rd_kafka_conf_set(conf, "group.instance.id", instance, error, size) != RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    kafka_reader_t *self = make(config, topic, conf, error, size);
    if (self == NULL)
        return NULL;
    self->is_member = true;
    self->listener = *listener;
    if (!subscribe(self, error, size))
        (void)kafka_reader_destroy(&self, clock_now().mono_us + INT64_C(1000000));
    return self;
}

kafka_reader_t *kafka_reader_new(const config_t *config, kafka_topic_t topic, kafka_from_t from,
                                 char *error, size_t size)
{
    rd_kafka_conf_t *conf = kafka_conf_new(config, KAFKA_READER, error, size);
    if (conf == NULL)
        return NULL;
    kafka_reader_t *self = make(config, topic, conf, error, size);
    if (self != NULL)
        self->from = from;
    return self;
}

/* Where to begin without an offset. */
static int64_t beginning(const kafka_reader_t *self)
{
    return self->from == KAFKA_FROM_END ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
}

/* Assigns all partitions that are open, each where it is; soon, if that was done just now. */
static void assign(kafka_reader_t *self)
{
    int64_t now_us = clock_now().mono_us;
    self->must_assign = self->assigned_mono_us != 0 && now_us - self->assigned_mono_us < ASSIGN_US;
    if (self->must_assign)
        return;
    self->assigned_mono_us = now_us;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(self->n_partitions);
    for (int32_t i = 0; i < self->n_partitions; i++) {
        const partition_t *partition = &self->partitions[i];
        if (partition->queue != NULL)
            rd_kafka_topic_partition_list_add(list, self->topic_name, i)->offset = partition->next;
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(self->handle, list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        log_line(LOG_WARN, "kafka", "partitions could not be taken", "why=\"%s\"",
                 kafka_words(err));
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_reader_assign(kafka_reader_t *self, int32_t n_partitions)
{
    for (int32_t i = 0; i < self->n_partitions || i < n_partitions; i++) {
        if (i >= n_partitions)
            close_partition(&self->partitions[i]);
        else if (find(self, i) == NULL)
            open_partition(self, i, beginning(self));
    }
    assign(self);
}

/* Leaves the group as far as that can be had until the deadline: commits, and tells `revoked`. */
static void leave(kafka_reader_t *self, int64_t deadline_mono_us)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(self->handle);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(self->handle, queue);
    while (error == NULL && !rd_kafka_consumer_closed(self->handle) &&
           clock_now().mono_us < deadline_mono_us)
        (void)rd_kafka_queue_poll_callback(queue, CLOSE_STEP_MS);
    if (error != NULL)
        rd_kafka_error_destroy(error);
    rd_kafka_queue_destroy(queue);
}

/* The library's threads have both until the handle is gone. */
static void free_reader(void *arg)
{
    kafka_reader_t *self = arg;
    close(self->fd);
    free(self->partitions);
    free(self);
}

bool kafka_reader_destroy(kafka_reader_t **self_p, int64_t deadline_mono_us)
{
    kafka_reader_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL)
        return true;
    rd_kafka_queue_io_event_enable(self->main, -1, NULL, 0);
    int64_t now_us = clock_now().mono_us;
    if (rd_kafka_fatal_error(self->handle, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
        leave(self, now_us + (deadline_mono_us - now_us) / 2);
    close_partitions(self);
    rd_kafka_queue_destroy(self->main);
    rd_kafka_topic_destroy(self->topic);
    return kafka_end_then(&self->handle, deadline_mono_us, free_reader, self);
}

int kafka_reader_fd(const kafka_reader_t *self)
{
    return self->fd;
}

/* --- serving --- */

/* What the main queue brings beside callbacks: errors, which pass by themselves. */
static void take_error(kafka_reader_t *self, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR || !log_once(&self->trouble))
        return;
    log_line(LOG_WARN, "kafka", "reading is in trouble", "topic=%s why=\"%s\"", self->topic_name,
             rd_kafka_message_errstr(message));
}

void kafka_reader_serve(kafka_reader_t *self)
{
    uint64_t n;
    rd_kafka_message_t *message;
    while (read(self->fd, &n, sizeof n) > 0)
        ;
    for (int32_t i = 0; i < self->n_partitions; i++)
        self->partitions[i].may_have_more = true;
    while ((message = rd_kafka_consumer_poll(self->handle, 0)) != NULL) {
        take_error(self, message);
        rd_kafka_message_destroy(message);
    }
    check_fatal(self);
    if (self->must_assign)
        assign(self);
}

bool kafka_reader_is_broken(const kafka_reader_t *self, bool *is_fenced, const char **why)
{
    *is_fenced = self->is_fenced;
    *why = self->why;
    return self->is_broken;
}

void kafka_reader_refresh(kafka_reader_t *self, int timeout_ms)
{
    const struct rd_kafka_metadata *metadata = NULL;
    if (rd_kafka_metadata(self->handle, 0, self->topic, &metadata, timeout_ms) ==
        RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(metadata);
}

/* --- records --- */

/* The offset to read from does not exist (any more). */
static void start_over(kafka_reader_t *self, partition_t *partition)
{
    if (self->is_member) {
        self->is_broken = true;
        snprintf(self->why, sizeof self->why, "the offset in partition %d is gone",
                 (int)partition->number);
        return;
    }
    if (self->must_assign && partition->next == beginning(self))
        return; /* told twice */
    log_line(LOG_INFO, "kafka", "no offset to go on from: beginning anew",
             "topic=%s partition=%d at=%s", self->topic_name, (int)partition->number,
             self->from == KAFKA_FROM_END ? "end" : "start");
    partition->next = beginning(self);
    self->must_assign = true;
}

/* What comes in place of a record. */
static void take_partition_error(kafka_reader_t *self, partition_t *partition,
                                 const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        partition->is_at_end = true;
        if (partition->next < 0)
            partition->next = message->offset;
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
        message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        start_over(self, partition);
        return;
    }
    if (log_once(&partition->trouble))
        log_line(LOG_WARN, "kafka", "a partition is in trouble", "topic=%s partition=%d why=\"%s\"",
                 self->topic_name, (int)partition->number, rd_kafka_message_errstr(message));
}

/* Whether it is the next one, and not one that was fetched before the last assignment as well. */
static bool take_record(partition_t *partition, const rd_kafka_message_t *message)
{
    if (partition->next >= 0 && message->offset < partition->next)
        return false;
    partition->is_at_end = false;
    partition->next = message->offset + 1;
    (void)log_clear(&partition->trouble);
    return true;
}

static kafka_message_t borrow(rd_kafka_message_t *raw)
{
    rd_kafka_timestamp_type_t kind;
    return (kafka_message_t){
        .raw = raw,
        .offset = raw->offset,
        .at_ms = rd_kafka_message_timestamp(raw, &kind),
        .n_bytes = raw->key_len + raw->len,
    };
}

size_t kafka_reader_take(kafka_reader_t *self, int32_t number, kafka_message_t *out, size_t max)
{
    partition_t *partition = find(self, number);
    rd_kafka_message_t *raw[TAKE_MAX];
    size_t n = 0;
    if (max > TAKE_MAX)
        max = TAKE_MAX;
    while (partition != NULL && partition->may_have_more && n == 0) {
        ssize_t n_raw = rd_kafka_consume_batch_queue(partition->queue, 0, raw, max);
        partition->may_have_more = n_raw > 0;
        for (ssize_t i = 0; i < n_raw; i++) {
            if (raw[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR)
                take_partition_error(self, partition, raw[i]);
            else if (take_record(partition, raw[i])) {
                out[n++] = borrow(raw[i]);
                continue;
            }
            rd_kafka_message_destroy(raw[i]);
        }
    }
    return n;
}

void kafka_message_record(const kafka_message_t *message, record_t *out)
{
    rd_kafka_message_t *raw = message->raw;
    rd_kafka_headers_t *headers = NULL;
    const char *name;
    const void *value;
    size_t size;
    record_begin(out, slice_of(raw->key, raw->key_len), slice_of(raw->payload, raw->len));
    if (rd_kafka_message_headers(raw, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++)
        record_add(out, slice_str(name), slice_of(value, size));
}

void kafka_message_release(kafka_message_t *message)
{
    if (message->raw != NULL)
        rd_kafka_message_destroy(message->raw);
    message->raw = NULL;
}

bool kafka_reader_is_at_end(const kafka_reader_t *self, int32_t number)
{
    const partition_t *partition = find(self, number);
    return partition != NULL && partition->is_at_end;
}

int64_t kafka_reader_lag(const kafka_reader_t *self, int32_t number)
{
    const partition_t *partition = find(self, number);
    int64_t low = 0, high = 0;
    if (partition == NULL || partition->next < 0 ||
        rd_kafka_get_watermark_offsets(self->handle, self->topic_name, number, &low, &high) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        high < 0)
        return -1;
    return high > partition->next ? high - partition->next : 0;
}

bool kafka_reader_store(kafka_reader_t *self, int32_t number, int64_t offset)
{
    if (find(self, number) == NULL)
        return false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic_name, number)->offset = offset;
    rd_kafka_resp_err_t err = rd_kafka_offsets_store(self->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}
