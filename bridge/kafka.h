/* SPDX-License-Identifier: Apache-2.0 */
/* What all users of librdkafka need: its settings made of ours, its log in ours, words for its
 * errors, an end that cannot hang.
 *
 * librdkafka's own header is included by kafka*.c and topics.c only. */
#ifndef TASKWIRE_KAFKA_H
#define TASKWIRE_KAFKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/config.h"

struct rd_kafka_s;
struct rd_kafka_conf_s;

#define KAFKA_ERROR_CHARS 512
/* The longest name of a topic, a group or an instance, and the NUL. */
#define KAFKA_NAME_CHARS 250

/* Of a record. Four times the largest event that there can be, for JSON may write one byte as six.
 */
#define KAFKA_MAX_RECORD_BYTES (4 * 1024 * 1024)

typedef enum {
    KAFKA_TASK_EVENTS,
    KAFKA_REMINDERS,
    KAFKA_TASK_UPDATES,
    KAFKA_DEAD_LETTER,
    KAFKA_N_TOPICS,
} kafka_topic_t;

/* Without KAFKA_TOPIC_PREFIX. */
extern const char *const kafka_topic_names[KAFKA_N_TOPICS];

typedef enum {
    KAFKA_PRODUCER, /* idempotent, never gives a record up by itself */
    KAFKA_CONSUMER, /* in the group, by static membership; offsets are stored by hand */
    KAFKA_READER, /* partitions that are assigned by hand; joins no group */
    KAFKA_ADMIN,
} kafka_role_t;

/* The settings for a handle of this role: what must be so for our promises, then what the operator
 * says. The caller sets callbacks and an opaque. Owns: the caller, until rd_kafka_new takes it.
 * NULL: `error` has a sentence that names the setting. */
struct rd_kafka_conf_s *kafka_conf_new(const config_t *config, kafka_role_t role, char *error,
                                       size_t size);

/* Whether the settings are such that every role can be had. False: `error` has a sentence that
 * names the setting. Also without KAFKA_BROKERS: what is given must be right. */
bool kafka_check(const config_t *config, char *error, size_t size);

/* Whether events travel through Kafka. */
bool kafka_is_on(const config_t *config);

/* KAFKA_GROUP, or what stands for it. */
void kafka_group(const config_t *config, char out[KAFKA_NAME_CHARS]);

/* KAFKA_INSTANCE, or a name that is kept in DATA_DIR. Several processes of one DATA_DIR get one
 * each: the name is locked until the program ends. Errors: INTERNAL: DATA_DIR cannot be written. */
err_t kafka_instance(const config_t *config, char out[KAFKA_NAME_CHARS]);

/* PREFIX and the topic's name. */
void kafka_topic_name(const config_t *config, const char *topic, char out[KAFKA_NAME_CHARS]);

/* A sentence for one of librdkafka's error codes. Static. */
const char *kafka_words(int code);

/* Destroys a handle in a thread of its own, which may hang, and waits for that until the deadline
 * of the monotonic clock. False: it still runs; the program can end without it. Records not
 * delivered are gone. Owns: takes the handle, which may be NULL. */
bool kafka_end(struct rd_kafka_s **handle_p, int64_t deadline_mono_us);

/* The same, and what the handle still needs until it is gone is released afterwards, by whoever
 * finds it gone: by that thread if it is late. `then` may be NULL. */
bool kafka_end_then(struct rd_kafka_s **handle_p, int64_t deadline_mono_us, void (*then)(void *arg),
                    void *arg);

/* Has malloc keep what was freed for what comes next: a record is some twenty allocations of
 * librdkafka's, made and freed by the thousand, and giving memory back to the system between them
 * costs more than a tenth of all. For a program that uses librdkafka, before its threads. */
void kafka_tune_malloc(void);

/* Whether no handle is still being destroyed: else the program must end by _exit, for their threads
 * must not find its memory gone. Thread: any. */
bool kafka_is_clean(void);

#endif
