/* SPDX-License-Identifier: Apache-2.0 */
/* The peer of the consumer: takes every record of a topic by librdkafka and nothing of the program,
 * in large batches, and looks at sizes only. What it needs is what reading from Kafka costs before
 * anything is done with what was read. */
#include "bench/load.h"

#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 4096
#define WAIT_MS 1000
#define TIMEOUT_MS 10000
#define ERROR_CHARS 512

static const char usage[] =
    "usage: load_kafka --brokers LIST --topic NAME --records N\n"
    "\n"
    "Reads so many records of all partitions from the start. Prints one line of JSON.\n";

typedef struct {
    const char *brokers;
    const char *topic;
    int64_t n_records;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    int64_t n_read;
    int64_t n_bytes;
    int64_t start_us; /* of the first record */
    int64_t start_cpu_us;
} load_t;

static void open_handle(load_t *self)
{
    char error[ERROR_CHARS] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", self->brokers, error, sizeof error) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "group.id", "bench", error, sizeof error) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "enable.auto.commit", "false", error, sizeof error) !=
            RD_KAFKA_CONF_OK)
        load_die("%s", error);
    self->handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (self->handle == NULL)
        load_die("%s", error);
    (void)rd_kafka_poll_set_consumer(self->handle);
    self->queue = rd_kafka_queue_get_consumer(self->handle);
}

static void assign_all(load_t *self)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(self->handle, self->topic, NULL);
    if (rd_kafka_metadata(self->handle, 0, topic, &metadata, TIMEOUT_MS) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0)
        load_die("there is no topic %s", self->topic);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, self->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    if (rd_kafka_assign(self->handle, list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        load_die("the partitions cannot be taken");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
}

static void take(load_t *self, rd_kafka_message_t *message)
{
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        load_die("%s", rd_kafka_message_errstr(message));
    if (self->n_read == 0) {
        self->start_us = load_mono_us();
        self->start_cpu_us = load_cpu_us();
    }
    self->n_read++;
    self->n_bytes += (int64_t)message->len;
    rd_kafka_message_destroy(message);
}

static void read_all(load_t *self)
{
    static rd_kafka_message_t *batch[BATCH];
    int64_t late_us = load_mono_us() + TIMEOUT_MS * INT64_C(1000);
    while (self->n_read < self->n_records) {
        ssize_t n = rd_kafka_consume_batch_queue(self->queue, WAIT_MS, batch, BATCH);
        for (ssize_t i = 0; i < n; i++)
            take(self, batch[i]);
        if (n > 0)
            late_us = load_mono_us() + TIMEOUT_MS * INT64_C(1000);
        else if (load_mono_us() > late_us)
            load_die("only %lld records came", (long long)self->n_read);
    }
}

static void parse(load_t *self, int argc, char **argv)
{
    static const struct option options[] = {{"brokers", required_argument, NULL, 'b'},
                                            {"topic", required_argument, NULL, 't'},
                                            {"records", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'b')
            self->brokers = optarg;
        else if (option == 't')
            self->topic = optarg;
        else if (option == 'n')
            self->n_records = load_number("--records", optarg, 1, INT64_MAX / 2);
        else
            load_die("%s", usage);
    }
    if (self->brokers == NULL || self->topic == NULL || self->n_records == 0 || optind != argc)
        load_die("%s", usage);
}

int main(int argc, char **argv)
{
    load_t self = {0};
    parse(&self, argc, argv);
    open_handle(&self);
    assign_all(&self);
    read_all(&self);
    double seconds = (double)(load_mono_us() - self.start_us) / 1e6;
    double cpu_s = (double)(load_cpu_us() - self.start_cpu_us) / 1e6;
    printf("{\"events\":%lld,\"seconds\":%.3f,\"rate\":%.0f,\"cpu_s\":%.3f,\"bytes_per_event\":%."
           "1f}\n",
           (long long)self.n_read, seconds, (double)self.n_read / seconds, cpu_s,
           (double)self.n_bytes / (double)self.n_read);
    (void)rd_kafka_assign(self.handle, NULL);
    rd_kafka_queue_destroy(self.queue);
    rd_kafka_destroy(self.handle);
    return 0;
}
