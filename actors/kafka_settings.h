/* SPDX-License-Identifier: Apache-2.0 */
/* Settings that are Kafka's library's own: TASKWIRE_KAFKA_SASL_MECHANISM is its `sasl.mechanism`.
 * They are only collected here; bridge/kafka.h knows which there are and which are ours to say. */
#ifndef TASKWIRE_KAFKA_SETTINGS_H
#define TASKWIRE_KAFKA_SETTINGS_H

#include "schema/buf.h"

#define KAFKA_SETTINGS_MAX 64
#define KAFKA_SETTING_KEY_CHARS 128

typedef struct {
    char name[KAFKA_SETTING_KEY_CHARS]; /* the library's */
    char key[KAFKA_SETTING_KEY_CHARS]; /* as the operator wrote it */
    char *value;
} kafka_setting_t;

/* Zero-initialised: none. */
typedef struct {
    kafka_setting_t items[KAFKA_SETTINGS_MAX];
    size_t n;
} kafka_settings_t;

void kafka_settings_fini(kafka_settings_t *self);

/* Takes a value for NAME of KAFKA_NAME, in any case. Owns: the value is copied. NULL, or what is
 * wrong with it. */
const char *kafka_settings_add(kafka_settings_t *self, const char *key, const char *name,
                               const char *value);

/* The one of this name of the library's, or NULL. */
const kafka_setting_t *kafka_settings_find(const kafka_settings_t *self, const char *name);

/* Fills `self` with the settings of `first` and those of `second` that it does not name. An empty
 * value says that there is none. */
void kafka_settings_merge(kafka_settings_t *self, const kafka_settings_t *first,
                          const kafka_settings_t *second);

/* Whether the value of a setting of this name must never be shown. */
bool kafka_setting_is_secret(const char *name);

/* Appends the settings as PREFIXKAFKA_NAME=VALUE lines, secrets masked. */
void kafka_settings_print(const kafka_settings_t *self, const char *prefix, buf_t *out);

#endif
