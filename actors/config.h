/* SPDX-License-Identifier: Apache-2.0 */
/* The settings: one table feeds the environment, the config file, --help, `taskwire config` and the
 * docs. */
#ifndef TASKWIRE_CONFIG_H
#define TASKWIRE_CONFIG_H

#include "schema/buf.h"
#include "schema/err.h"
#include "actors/kafka_settings.h"
#include "actors/log.h"

#define CONFIG_ERROR_CHARS 512

typedef struct config config_t;

/* Everything is text and numbers in their final unit; strings are owned by the config and never
 * NULL. */
struct config {
    const void *origin; /* what config_key asks; NULL in tests that make a config by hand */
    const char *listen;
    const char *admin_listen;
    const char *database_url;
    const char *kafka_brokers; /* "": local mode */
    bool kafka_msgpack; /* KAFKA_ENCODING: what records are written in; JSON if not */
    const char *kafka_topic_prefix;
    const char *kafka_group; /* "": see kafka_group */
    const char *kafka_instance; /* "": one is kept in DATA_DIR */
    int64_t kafka_task_events_partitions;
    int64_t kafka_reminders_partitions;
    int64_t kafka_task_updates_partitions;
    int64_t kafka_replication; /* of topics that are made; -1: the broker's default */
    kafka_settings_t kafka_settings; /* further ones, for the library */
    const char *public_url;
    const char *allowed_origins; /* comma-separated */
    const char *trusted_proxies;
    const char *data_dir;
    const char *tls_cert;
    const char *tls_key;
    bool is_registration_open;
    int64_t rate_limit;
    int64_t rate_limit_anonymous;
    int64_t connection_limit; /* of one address; 0: none */
    log_level_t log_level;
    bool log_json;
    int64_t start_timeout_us;
    int64_t gateways; /* GATEWAYS: gateway threads, 1 to 16 */
    int64_t anchor_interval_us; /* ANCHOR_INTERVAL: seconds between appends to the anchor file */
    int64_t reminder_max_late_us; /* REMINDER_MAX_LATE: seconds after which it no longer fires */
    int64_t
        outcome_timeout_us; /* OUTCOME_TIMEOUT: how long a client waits for an unknown outcome */
};

/* Reads the environment (`environ`-like) and the file, which may be NULL; the environment wins. An
 * unknown TASKWIRE_ or file key, a bad value, a missing required one: NULL, with a sentence that
 * names the key in `error`. `needs` says which settings without a default must be there. */
#define CONFIG_NEEDS_DATABASE 1u
#define CONFIG_NEEDS_DATA_DIR 2u
config_t *config_new(char **environment, const char *file, unsigned needs,
                     char error[CONFIG_ERROR_CHARS]);
void config_destroy(config_t **self_p);

/* The setting, like "LISTEN", as the operator wrote it: TASKWIRE_LISTEN, TASKWIRE_LISTEN_FILE, or
 * listen in a config file. For messages about a value that turned out wrong only in use. */
const char *config_key(const config_t *self, const char *name);

/* Appends the effective settings as KEY=VALUE lines; secrets (also passwords inside URLs) are
 * masked. */
void config_print(const config_t *self, buf_t *out);

/* Appends the part of --help about settings: each with its default and one sentence. */
void config_help(buf_t *out);

#endif
