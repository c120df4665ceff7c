/* SPDX-License-Identifier: Apache-2.0 */
/* Reports come as events on the handle's main queue, many in one, which wakes us by an eventfd.
 * `enable.gapless.guarantee` makes librdkafka end the whole producer rather than deliver what comes
 * behind a record that was refused: otherwise a reader of the topic would see a later event of a
 * stream before an earlier one. */
#include "bridge/kafka_producer.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Three quarters of what kafka.c sets as the library's own bounds. */
#define MAX_DEPTH 150000
#define MAX_QUEUE_BYTES (96 * 1024 * 1024)

struct kafka_producer {
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topics[KAFKA_N_TOPICS];
    int fd;
    int64_t depth;
    int64_t n_bytes; /* of keys and values */
    char why[128]; /* it is broken; "": it is not */
};

static bool open_queue(kafka_producer_t *self)
{
    static const uint64_t one = 1;
    self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->fd < 0)
        return false;
    self->queue = rd_kafka_queue_get_main(self->handle);
    rd_kafka_queue_io_event_enable(self->queue, self->fd, &one, sizeof one);
    return true;
}

kafka_producer_t *kafka_producer_new(const config_t *config, char *error, size_t size)
{
    rd_kafka_conf_t *conf = kafka_conf_new(config, KAFKA_PRODUCER, error, size);
    if (conf == NULL)
        return NULL;
    /* Errors are told here too, so that they are not logged a second time. */
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    kafka_producer_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->fd = -1;
    self->handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, size);
    if (self->handle == NULL)
        rd_kafka_conf_destroy(conf);
    else if (!open_queue(self))
        snprintf(error, size, "no file descriptor is left");
    for (unsigned i = 0; i < KAFKA_N_TOPICS && self->queue != NULL; i++) {
        char name[KAFKA_NAME_CHARS];
        kafka_topic_name(config, kafka_topic_names[i], name);
        self->topics[i] = rd_kafka_topic_new(self->handle, name, NULL);
    }
    if (self->queue == NULL)
        (void)kafka_producer_destroy(&self, 0);
    return self;
}

bool kafka_producer_destroy(kafka_producer_t **self_p, int64_t deadline_mono_us)
{
    kafka_producer_t *self = *self_p;
    if (self == NULL)
        return true;
    *self_p = NULL;
    for (unsigned i = 0; i < KAFKA_N_TOPICS; i++) {
        if (self->topics[i] != NULL)
            rd_kafka_topic_destroy(self->topics[i]);
    }
    if (self->queue != NULL) {
        rd_kafka_queue_io_event_enable(self->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(self->queue);
    }
    if (self->fd >= 0)
        close(self->fd);
    bool is_done = kafka_end(&self->handle, deadline_mono_us);
    free(self);
    return is_done;
}

static rd_kafka_headers_t *headers_of(const record_t *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->n_headers);
    for (size_t i = 0; i < record->n_headers; i++) {
        const record_header_t *header = &record->headers[i];
        rd_kafka_header_add(headers, (const char *)header->name.data, (ssize_t)header->name.n_bytes,
                            header->value.data, (ssize_t)header->value.n_bytes);
    }
    return headers;
}

static void note_broken(kafka_producer_t *self, const char *why)
{
    if (self->why[0] == '\0')
        snprintf(self->why, sizeof self->why, "%s", why);
}

static err_t error_of(kafka_producer_t *self, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return ERR_OVERLOADED;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return ERR_TOO_LARGE;
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        note_broken(self, rd_kafka_err2str(code));
    return ERR_UNAVAILABLE;
}

err_t kafka_producer_send(kafka_producer_t *self, kafka_topic_t topic, int32_t partition,
                          const record_t *record, uint64_t tag)
{
    if (self->why[0] != '\0')
        return ERR_UNAVAILABLE;
    rd_kafka_headers_t *headers = headers_of(record);
    /* An empty value must not become a null one. */
    const void *value = record->value.data;
    rd_kafka_resp_err_t code = rd_kafka_producev(
        self->handle, RD_KAFKA_V_RKT(self->topics[topic]), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(record->key.data, record->key.n_bytes),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, record->value.n_bytes),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE((void *)(uintptr_t)tag), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        self->depth++;
        self->n_bytes += (int64_t)(record->key.n_bytes + record->value.n_bytes);
        return ERR_OK;
    }
    rd_kafka_headers_destroy(headers);
    return error_of(self, code);
}

int kafka_producer_fd(const kafka_producer_t *self)
{
    return self->fd;
}

static delivery_t fate_of(rd_kafka_resp_err_t code)
{
    switch ((int)code) { /* of hundreds these matter */
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return DELIVERY_DONE;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return DELIVERY_REFUSED;
    default:
        return DELIVERY_LOST;
    }
}

static void report(kafka_producer_t *self, rd_kafka_event_t *event, kafka_delivered_f *delivered,
                   void *arg)
{
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)) != NULL) {
        delivery_t fate = fate_of(message->err);
        self->depth--;
        self->n_bytes -= (int64_t)(message->key_len + message->len);
        /* Whatever the library makes of it, we do not go on behind a record that is not there. */
        if (fate != DELIVERY_DONE)
            note_broken(self, rd_kafka_err2str(message->err));
        delivered(arg, (uint64_t)(uintptr_t)message->_private, fate,
                  rd_kafka_err2str(message->err));
    }
}

void kafka_producer_serve(kafka_producer_t *self, kafka_delivered_f *delivered, void *arg)
{
    uint64_t n;
    rd_kafka_event_t *event;
    ssize_t n_bytes = read(self->fd, &n, sizeof n);
    (void)n_bytes; /* only quiets it */
    while ((event = rd_kafka_queue_poll(self->queue, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            report(self, event, delivered, arg);
        rd_kafka_event_destroy(event);
    }
    char why[sizeof self->why];
    if (rd_kafka_fatal_error(self->handle, why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR)
        note_broken(self, why);
}

bool kafka_producer_is_broken(const kafka_producer_t *self, const char **why)
{
    if (why != NULL)
        *why = self->why;
    return self->why[0] != '\0';
}

bool kafka_producer_has_room(const kafka_producer_t *self, int64_t n_records)
{
    return self->depth + n_records <= MAX_DEPTH &&
           self->n_bytes + n_records * (int64_t)RECORD_MAX_VALUE_BYTES <= MAX_QUEUE_BYTES;
}

int64_t kafka_producer_depth(const kafka_producer_t *self)
{
    return self->depth;
}

void kafka_producer_break(kafka_producer_t *self)
{
    rd_kafka_test_fatal_error(self->handle, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                              "a test");
}
