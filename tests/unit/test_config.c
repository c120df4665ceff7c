/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: where they come from, which wins, and that every mistake names its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/config.h"
#include "actors/mask.h"

#define DATABASE "TASKWIRE_DATABASE_URL=postgresql:///tasks"
#define DATA_DIR "TASKWIRE_DATA_DIR=/tmp"
#define REQUIRED DATABASE, DATA_DIR
#define ALL (CONFIG_NEEDS_DATABASE | CONFIG_NEEDS_DATA_DIR)

/* A file with this content; to be removed by drop_file. */
static char *make_file(const char *content)
{
    static char path[] = "/tmp/taskwire-config-XXXXXX";
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
    char *copy = strdup(path);
    assert_non_null(copy);
    return copy;
}

static void drop_file(char *path)
{
    unlink(path);
    free(path);
}

static config_t *read_good(char **environment, const char *file)
{
    char error[CONFIG_ERROR_CHARS];
    config_t *config = config_new(environment, file, ALL, error);
    if (config == NULL)
        fail_msg("%s", error);
    assert_string_equal(error, "");
    return config;
}

/* Reads settings that are wrong; the sentence must hold both texts. */
static void assert_refused(char **environment, const char *file, const char *key, const char *words)
{
    char error[CONFIG_ERROR_CHARS] = "";
    config_t *config = config_new(environment, file, ALL, error);
    if (config != NULL || strstr(error, key) == NULL || strstr(error, words) == NULL)
        fail_msg("wanted a complaint of %s with %s, got: %s", key, words, error);
}

static void defaults_are_those_of_the_documentation(void **state)
{
    (void)state;
    char *environment[] = {REQUIRED, "PATH=/bin", "TASKWIRE_HOME=/somewhere", NULL};
    config_t *config = read_good(environment, NULL);
    assert_string_equal(config->listen, "127.0.0.1:8080");
    assert_string_equal(config->admin_listen, "127.0.0.1:8081");
    assert_string_equal(config->database_url, "postgresql:///tasks");
    assert_string_equal(config->data_dir, "/tmp");
    assert_string_equal(config->kafka_brokers, "");
    assert_false(config->kafka_msgpack);
    assert_string_equal(config->kafka_topic_prefix, "");
    assert_string_equal(config->kafka_group, "");
    assert_string_equal(config->kafka_instance, "");
    assert_int_equal(config->kafka_task_events_partitions, 3);
    assert_int_equal(config->kafka_reminders_partitions, 1);
    assert_int_equal(config->kafka_task_updates_partitions, 3);
    assert_int_equal(config->kafka_replication, -1);
    assert_int_equal(config->kafka_settings.n, 0);
    assert_string_equal(config->public_url, "");
    assert_string_equal(config->allowed_origins, "");
    assert_string_equal(config->trusted_proxies, "");
    assert_string_equal(config->tls_cert, "");
    assert_string_equal(config->tls_key, "");
    assert_false(config->is_registration_open);
    assert_int_equal(config->rate_limit, 1000);
    assert_int_equal(config->rate_limit_anonymous, 50);
    assert_int_equal(config->log_level, LOG_INFO);
    assert_false(config->log_json);
    assert_int_equal(config->start_timeout_us, 30000000);
    assert_int_equal(config->gateways, 1);
    assert_true(config->anchor_interval_us >= 1000000);
    assert_true(config->outcome_timeout_us >= 1000000);
    assert_true(config->reminder_max_late_us == 86400 * INT64_C(1000000));
    config_destroy(&config);
    assert_null(config);
    config_destroy(&config);
}

static void every_setting_can_be_set(void **state)
{
    (void)state;
    char *environment[] = {REQUIRED,
                           "TASKWIRE_LISTEN=[::1]:0",
                           "TASKWIRE_ADMIN_LISTEN=0.0.0.0:65535",
                           "TASKWIRE_PUBLIC_URL=https://tasks.example.org",
                           "TASKWIRE_ALLOWED_ORIGINS=https://a.example, http://b.example:81",
                           "TASKWIRE_TRUSTED_PROXIES=10.0.0.0/8, ::1,fd00::/8,::ffff:1.2.3.0/120",
                           "TASKWIRE_REGISTRATION=open",
                           "TASKWIRE_RATE_LIMIT=0",
                           "TASKWIRE_RATE_LIMIT_ANONYMOUS=7",
                           "TASKWIRE_CONNECTION_LIMIT=8",
                           "TASKWIRE_TLS_CERT=/etc/cert.pem",
                           "TASKWIRE_TLS_KEY=/etc/key.pem",
                           "TASKWIRE_LOG_LEVEL=error",
                           "TASKWIRE_LOG_FORMAT=json",
                           "TASKWIRE_START_TIMEOUT=0",
                           "TASKWIRE_GATEWAYS=16",
                           "TASKWIRE_ANCHOR_INTERVAL=1",
                           "TASKWIRE_OUTCOME_TIMEOUT=300",
                           "TASKWIRE_REMINDER_MAX_LATE=31536000",
                           "TASKWIRE_KAFKA_BROKERS=a, b:1,[::1]:9092",
                           "TASKWIRE_KAFKA_ENCODING=msgpack",
                           "TASKWIRE_KAFKA_TOPIC_PREFIX=prod.",
                           "TASKWIRE_KAFKA_GROUP=g_1",
                           "TASKWIRE_KAFKA_INSTANCE=pod-0",
                           "TASKWIRE_KAFKA_TASK_EVENTS_PARTITIONS=64",
                           "TASKWIRE_KAFKA_REMINDERS_PARTITIONS=2",
                           "TASKWIRE_KAFKA_TASK_UPDATES_PARTITIONS=1",
                           "TASKWIRE_KAFKA_REPLICATION=3",
                           NULL};
    config_t *config = read_good(environment, NULL);
    assert_string_equal(config->listen, "[::1]:0");
    assert_string_equal(config->admin_listen, "0.0.0.0:65535");
    assert_string_equal(config->public_url, "https://tasks.example.org");
    assert_string_equal(config->allowed_origins, "https://a.example, http://b.example:81");
    assert_string_equal(config->trusted_proxies, "10.0.0.0/8, ::1,fd00::/8,::ffff:1.2.3.0/120");
    assert_true(config->is_registration_open);
    assert_int_equal(config->rate_limit, 0);
    assert_int_equal(config->rate_limit_anonymous, 7);
    assert_int_equal(config->connection_limit, 8);
    assert_string_equal(config->tls_cert, "/etc/cert.pem");
    assert_string_equal(config->tls_key, "/etc/key.pem");
    assert_int_equal(config->log_level, LOG_ERROR);
    assert_true(config->log_json);
    assert_int_equal(config->start_timeout_us, 0);
    assert_int_equal(config->gateways, 16);
    assert_int_equal(config->anchor_interval_us, 1000000);
    assert_int_equal(config->outcome_timeout_us, 300000000);
    assert_true(config->reminder_max_late_us == 31536000 * INT64_C(1000000));
    assert_string_equal(config->kafka_brokers, "a, b:1,[::1]:9092");
    assert_true(config->kafka_msgpack);
    assert_string_equal(config->kafka_topic_prefix, "prod.");
    assert_string_equal(config->kafka_group, "g_1");
    assert_string_equal(config->kafka_instance, "pod-0");
    assert_int_equal(config->kafka_task_events_partitions, 64);
    assert_int_equal(config->kafka_reminders_partitions, 2);
    assert_int_equal(config->kafka_task_updates_partitions, 1);
    assert_int_equal(config->kafka_replication, 3);
    config_destroy(&config);
}

static void an_empty_value_means_the_default(void **state)
{
    (void)state;
    char *environment[] = {REQUIRED,
                           "TASKWIRE_RATE_LIMIT=",
                           "TASKWIRE_LISTEN=",
                           "TASKWIRE_KAFKA_BROKERS=",
                           "TASKWIRE_KAFKA_SASL_MECHANISM=",
                           "TASKWIRE_TLS_KEY=",
                           "TASKWIRE_DATABASE_URL_FILE=",
                           NULL};
    config_t *config = read_good(environment, NULL);
    assert_int_equal(config->rate_limit, 1000);
    assert_string_equal(config->listen, "127.0.0.1:8080");
    config_destroy(&config);
}

static void bad_values_name_their_key(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"TASKWIRE_LISTEN", "8080"},
        {"TASKWIRE_LISTEN", ":8080"},
        {"TASKWIRE_LISTEN", "localhost:"},
        {"TASKWIRE_LISTEN", "localhost:65536"},
        {"TASKWIRE_LISTEN", "localhost:-1"},
        {"TASKWIRE_LISTEN", "::1:8080"},
        {"TASKWIRE_LISTEN", "[]:8080"},
        {"TASKWIRE_ADMIN_LISTEN", "localhost:80x"},
        {"TASKWIRE_PUBLIC_URL", "tasks.example.org"},
        {"TASKWIRE_PUBLIC_URL", "https://"},
        {"TASKWIRE_PUBLIC_URL", "https://tasks.example.org/"},
        {"TASKWIRE_PUBLIC_URL", "ftp://tasks.example.org"},
        {"TASKWIRE_ALLOWED_ORIGINS", "https://a.example,"},
        {"TASKWIRE_ALLOWED_ORIGINS", "*"},
        {"TASKWIRE_TRUSTED_PROXIES", "proxy.example"},
        {"TASKWIRE_TRUSTED_PROXIES", "10.0.0.300"},
        {"TASKWIRE_TRUSTED_PROXIES", "10.0.0.0/33"},
        {"TASKWIRE_TRUSTED_PROXIES", "10.0.0.0/"},
        {"TASKWIRE_TRUSTED_PROXIES", "10.0.0.0/-1"},
        {"TASKWIRE_TRUSTED_PROXIES", "10.0.0.0/8/8"},
        {"TASKWIRE_TRUSTED_PROXIES", "fd00::/129"},
        {"TASKWIRE_TRUSTED_PROXIES", "::ffff:10.0.0.0/8"},
        {"TASKWIRE_REGISTRATION", "OPEN"},
        {"TASKWIRE_RATE_LIMIT", "-1"},
        {"TASKWIRE_RATE_LIMIT", "1e3"},
        {"TASKWIRE_RATE_LIMIT", "99999999999999999999"},
        {"TASKWIRE_RATE_LIMIT", "1000000001"},
        {"TASKWIRE_RATE_LIMIT", " 1"},
        {"TASKWIRE_GATEWAYS", "0"},
        {"TASKWIRE_GATEWAYS", "17"},
        {"TASKWIRE_START_TIMEOUT", "30s"},
        {"TASKWIRE_LOG_LEVEL", "trace"},
        {"TASKWIRE_LOG_FORMAT", "xml"},
        {"TASKWIRE_KAFKA_BROKERS", "localhost:x"},
        {"TASKWIRE_KAFKA_BROKERS", "a:1,"},
        {"TASKWIRE_KAFKA_BROKERS", "SASL://a:1"},
        {"TASKWIRE_KAFKA_ENCODING", "avro"},
        {"TASKWIRE_KAFKA_TOPIC_PREFIX", "a/b"},
        {"TASKWIRE_KAFKA_GROUP", "a b"},
        {"TASKWIRE_KAFKA_TASK_EVENTS_PARTITIONS", "0"},
        {"TASKWIRE_KAFKA_TASK_EVENTS_PARTITIONS", "65"},
        {"TASKWIRE_KAFKA_REPLICATION", "-2"},
        {"TASKWIRE_KAFKA_REPLICATION", "--1"},
        {"TASKWIRE_KAFKA_REPLICATION", "-"},
        {"TASKWIRE_KAFKA_", "x"},
        {"TASKWIRE_KAFKA_SASL_PASSWORD_FILE", "/nonexistent/file"},
        {"TASKWIRE_KAFKA_SASL_PASSWORD", "a\001"},
        {"TASKWIRE_PUBLIC_URL", "https://a\nb"},
        {"TASKWIRE_LISTENN", "x"},
        {"TASKWIRE_", "x"},
        {"TASKWIRE_listen_", "x"},
        {"TASKWIRE_FILE", "x"},
        {"TASKWIRE_RATE_LIMIT_FILE", "/nonexistent/file"},
        {"TASKWIRE_RATE_LIMIT_FILE", "/tmp"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char pair[256];
        snprintf(pair, sizeof pair, "%s=%s", bad[i][0], bad[i][1]);
        char *environment[] = {REQUIRED, pair, NULL};
        assert_refused(environment, NULL, bad[i][0], ":");
    }
}

static void what_is_required_is_asked_for(void **state)
{
    (void)state;
    char *nothing[] = {NULL};
    char *only_database[] = {DATABASE, NULL};
    char *empty[] = {DATABASE, "TASKWIRE_DATA_DIR=", NULL};
    assert_refused(nothing, NULL, "TASKWIRE_DATABASE_URL", "required");
    assert_refused(only_database, NULL, "TASKWIRE_DATA_DIR", "required");
    assert_refused(empty, NULL, "TASKWIRE_DATA_DIR", "required");
    char error[CONFIG_ERROR_CHARS];
    config_t *config = config_new(nothing, NULL, 0, error);
    assert_non_null(config);
    assert_string_equal(config->database_url, "");
    assert_string_equal(error, "");
    config_destroy(&config);
}

static void only_what_is_needed_is_asked_for(void **state)
{
    (void)state;
    char error[CONFIG_ERROR_CHARS];
    char *only_database[] = {DATABASE, NULL};
    char *only_directory[] = {DATA_DIR, NULL};
    config_t *config = config_new(only_database, NULL, CONFIG_NEEDS_DATABASE, error);
    assert_non_null(config);
    assert_string_equal(config->data_dir, "");
    config_destroy(&config);
    assert_null(config_new(only_directory, NULL, CONFIG_NEEDS_DATABASE, error));
    assert_non_null(strstr(error, "TASKWIRE_DATABASE_URL"));
    assert_null(config_new(only_database, NULL, CONFIG_NEEDS_DATA_DIR, error));
    assert_non_null(strstr(error, "TASKWIRE_DATA_DIR"));
}

static void a_key_is_told_as_it_was_written(void **state)
{
    (void)state;
    char *value = make_file("127.0.0.1:1");
    char *file = make_file("listen = 127.0.0.1:2\nlog_level = warn\n");
    char from_file[64];
    snprintf(from_file, sizeof from_file, "TASKWIRE_ADMIN_LISTEN_FILE=%s", value);
    char *environment[] = {REQUIRED, from_file, "TASKWIRE_LOG_LEVEL=info", NULL};
    config_t *config = read_good(environment, file);
    assert_string_equal(config_key(config, "LISTEN"), "listen");
    assert_string_equal(config_key(config, "ADMIN_LISTEN"), "TASKWIRE_ADMIN_LISTEN_FILE");
    assert_string_equal(config_key(config, "LOG_LEVEL"), "TASKWIRE_LOG_LEVEL");
    assert_string_equal(config_key(config, "GATEWAYS"), "TASKWIRE_GATEWAYS");
    config_destroy(&config);
    drop_file(file);
    drop_file(value);
}

static void a_value_may_stand_in_a_file_of_its_own(void **state)
{
    (void)state;
    char *file = make_file("postgresql://u:secret@host/db\r\n\n");
    char pair[256];
    snprintf(pair, sizeof pair, "TASKWIRE_DATABASE_URL_FILE=%s", file);
    char *environment[] = {pair, DATA_DIR, NULL};
    config_t *config = read_good(environment, NULL);
    assert_string_equal(config->database_url, "postgresql://u:secret@host/db");
    config_destroy(&config);
    char *both[] = {pair, REQUIRED, NULL};
    assert_refused(both, NULL, "TASKWIRE_DATABASE_URL", "twice");
    drop_file(file);
    file = make_file("one\ntwo\n");
    snprintf(pair, sizeof pair, "TASKWIRE_DATABASE_URL_FILE=%s", file);
    assert_refused(environment, NULL, "TASKWIRE_DATABASE_URL_FILE", "one line");
    drop_file(file);
}

static void a_config_file_sets_what_the_environment_does_not(void **state)
{
    (void)state;
    char *file = make_file("# comment\n"
                           "\n"
                           "database_url = postgresql:///from?a=b \r\n"
                           "  data_dir=/var\n"
                           "rate_limit = 5\n"
                           "log_level = debug");
    char *environment[] = {"TASKWIRE_RATE_LIMIT=6", "TASKWIRE_LOG_LEVEL=", NULL};
    config_t *config = read_good(environment, file);
    assert_string_equal(config->database_url, "postgresql:///from?a=b");
    assert_string_equal(config->data_dir, "/var");
    assert_int_equal(config->rate_limit, 6);
    assert_int_equal(config->log_level, LOG_INFO); /* the environment says: the default */
    config_destroy(&config);
    drop_file(file);
}

static void mistakes_in_a_config_file_name_their_key(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"rate_limit = x\n", "rate_limit", "whole number"},
        {"rate_limit = 5\nrate_limit = 5\n", "rate_limit", "twice"},
        {"rate_limt = 5\n", "rate_limt", "no such setting"},
        {"RATE_LIMIT = 5\n", "RATE_LIMIT", "lower case"},
        {"taskwire_rate_limit = 5\n", "taskwire_rate_limit", "no such setting"},
        {"rate_limit 5\n", "line 1", "key = value"},
        {"\n# x\nrate_limit\n", "line 3", "key = value"},
        {"kafka_brokers = a:1:2\n", "kafka_brokers", "HOST:PORT"},
        {"kafka_debug = a\nkafka_debug = b\n", "kafka_debug", "twice"},
        {"home = /x\n", "home", "no such setting"},
        {" = 5\n", "", "no such setting"},
    };
    char *environment[] = {REQUIRED, NULL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *file = make_file(bad[i][0]);
        assert_refused(environment, file, bad[i][1], bad[i][2]);
        drop_file(file);
    }
    assert_refused(environment, "/nonexistent/taskwire.conf", "--config", "cannot read");
}

static void a_config_file_that_is_too_large_is_refused(void **state)
{
    (void)state;
    char *content = malloc(70001);
    memset(content, '#', 70000);
    content[70000] = '\0';
    char *file = make_file(content);
    char *environment[] = {REQUIRED, NULL};
    assert_refused(environment, file, "--config", "64 KiB");
    drop_file(file);
    free(content);
}

static void printing_shows_all_and_masks_secrets(void **state)
{
    (void)state;
    char *environment[] = {"TASKWIRE_DATABASE_URL=postgresql://u:s3cret@host/db?password=s3cret",
                           DATA_DIR, NULL};
    config_t *config = read_good(environment, NULL);
    buf_t out = {0};
    config_print(config, &out);
    buf_append_byte(&out, '\0');
    const char *text = (const char *)out.data;
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "TASKWIRE_LISTEN=127.0.0.1:8080\n"));
    assert_non_null(
        strstr(text, "TASKWIRE_DATABASE_URL=postgresql://u:****@host/db?password=****\n"));
    assert_non_null(strstr(text, "TASKWIRE_START_TIMEOUT=30\n"));
    buf_reset(&out);
    config_help(&out);
    buf_append_byte(&out, '\0');
    assert_non_null(strstr((const char *)out.data, "TASKWIRE_GATEWAYS (default 1)"));
    assert_non_null(strstr((const char *)out.data, "TASKWIRE_DATA_DIR (required)"));
    buf_fini(&out);
    config_destroy(&config);
}

static void settings_of_kafka_s_library_are_kept_for_it(void **state)
{
    (void)state;
    char *secret = make_file("s3cret\n");
    char *key = make_file("-----BEGIN KEY-----\ns3cret\n-----END KEY-----\n");
    char *file = make_file("kafka_sasl_mechanism = PLAIN\nkafka_linger_ms = 9\n"
                           "kafka_debug = all\nkafka_ssl_ca_location = /etc/ca\n");
    char password[64], pem[64];
    snprintf(password, sizeof password, "TASKWIRE_KAFKA_SASL_PASSWORD_FILE=%s", secret);
    snprintf(pem, sizeof pem, "TASKWIRE_KAFKA_SSL_KEY_PEM_FILE=%s", key);
    char *environment[] = {REQUIRED,
                           password,
                           pem,
                           "TASKWIRE_KAFKA_LINGER_MS=1",
                           "TASKWIRE_KAFKA_DEBUG=",
                           "TASKWIRE_KAFKA_SSL_CERTIFICATE_PEM=one\ntwo",
                           NULL};
    config_t *config = read_good(environment, file);
    const kafka_settings_t *settings = &config->kafka_settings;
    assert_int_equal(settings->n, 6);
    assert_string_equal(kafka_settings_find(settings, "sasl.password")->value, "s3cret");
    assert_string_equal(kafka_settings_find(settings, "linger.ms")->value, "1");
    assert_string_equal(kafka_settings_find(settings, "linger.ms")->key,
                        "TASKWIRE_KAFKA_LINGER_MS");
    assert_string_equal(kafka_settings_find(settings, "sasl.mechanism")->key,
                        "kafka_sasl_mechanism");
    assert_null(kafka_settings_find(settings, "debug")); /* the environment says: the default */
    assert_non_null(strstr(kafka_settings_find(settings, "ssl.key.pem")->value, "\ns3cret\n"));
    buf_t out = {0};
    config_print(config, &out);
    buf_append_byte(&out, '\0');
    const char *text = (const char *)out.data;
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "TASKWIRE_KAFKA_SASL_PASSWORD=****\n"));
    assert_non_null(strstr(text, "TASKWIRE_KAFKA_SSL_KEY_PEM=****\n"));
    assert_non_null(strstr(text, "TASKWIRE_KAFKA_SSL_CERTIFICATE_PEM=one two\n"));
    assert_non_null(strstr(text, "TASKWIRE_KAFKA_SSL_CA_LOCATION=/etc/ca\n"));
    buf_fini(&out);
    config_destroy(&config);
    char *twice[] = {REQUIRED, password, "TASKWIRE_KAFKA_SASL_PASSWORD=x", NULL};
    assert_refused(twice, NULL, "TASKWIRE_KAFKA_SASL_PASSWORD", "twice");
    drop_file(secret);
    drop_file(key);
    drop_file(file);
}

static void passwords_are_masked_wherever_they_stand(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"postgresql:///db", "postgresql:///db"},
        {"postgresql://user@host:5432/db", "postgresql://user@host:5432/db"},
        {"postgresql://user:pw@host:5432/db", "postgresql://user:****@host:5432/db"},
        {"postgresql://user:p/w@x@host/db", "postgresql://user:****@host/db"},
        {"postgresql://user:pw@h/db?sslmode=x&password=pw&a=b",
         "postgresql://user:****@h/db?sslmode=x&password=****&a=b"},
        {"postgresql:///db?options=a:b@c", "postgresql:///db?options=a:b@c"},
        {"host=/run user=u password=pw dbname=d", "host=/run user=u password=**** dbname=d"},
        {"password = 'p \\' w' dbname=d", "password = **** dbname=d"},
        {"PASSWORD='open", "PASSWORD=****"},
        {"sslpassword=pw password=pw", "sslpassword=**** password=****"},
        {"password=", "password=****"},
        {"host=password-db dbname=d", "host=password-db dbname=d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_t out = {0};
        mask_secrets(cases[i][0], &out);
        buf_append_byte(&out, '\0');
        assert_string_equal((const char *)out.data, cases[i][1]);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_documentation),
        cmocka_unit_test(every_setting_can_be_set),
        cmocka_unit_test(an_empty_value_means_the_default),
        cmocka_unit_test(bad_values_name_their_key),
        cmocka_unit_test(what_is_required_is_asked_for),
        cmocka_unit_test(only_what_is_needed_is_asked_for),
        cmocka_unit_test(a_key_is_told_as_it_was_written),
        cmocka_unit_test(a_value_may_stand_in_a_file_of_its_own),
        cmocka_unit_test(a_config_file_sets_what_the_environment_does_not),
        cmocka_unit_test(mistakes_in_a_config_file_name_their_key),
        cmocka_unit_test(a_config_file_that_is_too_large_is_refused),
        cmocka_unit_test(printing_shows_all_and_masks_secrets),
        cmocka_unit_test(settings_of_kafka_s_library_are_kept_for_it),
        cmocka_unit_test(passwords_are_masked_wherever_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
