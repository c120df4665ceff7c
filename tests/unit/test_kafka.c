/* SPDX-License-Identifier: Apache-2.0 */
/* What librdkafka is told, and what the operator may tell it. No broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/clock.h"
#include "bridge/kafka.h"

#define REQUIRED "TASKWIRE_DATABASE_URL=postgresql:///tasks", "TASKWIRE_DATA_DIR=/tmp"
/* Nobody listens there. */
#define BROKERS "TASKWIRE_KAFKA_BROKERS=127.0.0.1:1"

static config_t *config_of(char **environment)
{
    char error[CONFIG_ERROR_CHARS];
    config_t *config = config_new(environment, NULL, 0, error);
    if (config == NULL)
        fail_msg("%s", error);
    return config;
}

static void assert_value(const rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[512] = "";
    size_t size = sizeof text;
    assert_int_equal(rd_kafka_conf_get(conf, name, text, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(text, value);
}

static rd_kafka_conf_t *conf_of(const config_t *config, kafka_role_t role)
{
    char error[KAFKA_ERROR_CHARS] = "";
    rd_kafka_conf_t *conf = kafka_conf_new(config, role, error, sizeof error);
    if (conf == NULL)
        fail_msg("%s", error);
    return conf;
}

static void a_producer_promises_what_we_promise(void **state)
{
    (void)state;
    char *environment[] = {REQUIRED, BROKERS, "TASKWIRE_KAFKA_LINGER_MS=7", NULL};
    config_t *config = config_of(environment);
    rd_kafka_conf_t *conf = conf_of(config, KAFKA_PRODUCER);
    assert_value(conf, "bootstrap.servers", "127.0.0.1:1");
    assert_value(conf, "enable.idempotence", "true");
    assert_value(conf, "message.timeout.ms", "0");
    assert_value(conf, "allow.auto.create.topics", "false");
    char most[16];
    snprintf(most, sizeof most, "%d", KAFKA_MAX_RECORD_BYTES);
    assert_value(conf, "message.max.bytes", most);
    assert_value(conf, "linger.ms", "7");
    rd_kafka_conf_destroy(conf);
    config_destroy(&config);
}

static void a_consumer_leaves_offsets_to_us(void **state)
{
    (void)state;
    char *environment[] = {REQUIRED, BROKERS, "TASKWIRE_KAFKA_TOPIC_PREFIX=x-", NULL};
    config_t *config = config_of(environment);
    rd_kafka_conf_t *conf = conf_of(config, KAFKA_CONSUMER);
    assert_value(conf, "group.id", "x-taskwire");
    assert_value(conf, "enable.auto.offset.store", "false");
    assert_value(conf, "auto.offset.reset", "error");
    assert_value(conf, "partition.assignment.strategy", "range");
    rd_kafka_conf_destroy(conf);
    conf = conf_of(config, KAFKA_READER);
    assert_value(conf, "group.id", "x-taskwire-reader");
    assert_value(conf, "enable.auto.commit", "false");
    rd_kafka_conf_destroy(conf);
    config_destroy(&config);
}

static void assert_refused(char *setting, const char *words)
{
    char error[KAFKA_ERROR_CHARS] = "";
    char *environment[] = {REQUIRED, BROKERS, setting, NULL};
    config_t *config = config_of(environment);
    bool is_good = kafka_check(config, error, sizeof error);
    char key[128];
    snprintf(key, sizeof key, "%.*s:", (int)strcspn(setting, "="), setting);
    if (is_good || strncmp(error, key, strlen(key)) != 0 || strstr(error, words) == NULL)
        fail_msg("wanted a complaint of %s with %s, got: %s", key, words, error);
    config_destroy(&config);
}

static void what_would_break_a_promise_is_refused(void **state)
{
    (void)state;
    assert_refused("TASKWIRE_KAFKA_ACKS=1", "promises");
    assert_refused("TASKWIRE_KAFKA_ENABLE_IDEMPOTENCE=false", "promises");
    assert_refused("TASKWIRE_KAFKA_MESSAGE_TIMEOUT_MS=1000", "promises");
    assert_refused("TASKWIRE_KAFKA_ENABLE_AUTO_COMMIT=true", "promises");
    assert_refused("TASKWIRE_KAFKA_AUTO_OFFSET_RESET=latest", "promises");
    assert_refused("TASKWIRE_KAFKA_GROUP_ID=x", "TASKWIRE_KAFKA_GROUP");
    assert_refused("TASKWIRE_KAFKA_BOOTSTRAP_SERVERS=a:1", "TASKWIRE_KAFKA_BROKERS");
    assert_refused("TASKWIRE_KAFKA_TEST_MOCK_NUM_BROKERS=3", "promises");
}

static void what_librdkafka_does_not_take_is_refused(void **state)
{
    (void)state;
    assert_refused("TASKWIRE_KAFKA_NONSENSE=x", "no setting nonsense");
    assert_refused("TASKWIRE_KAFKA_LINGER_MS=soon", "Invalid value");
    assert_refused("TASKWIRE_KAFKA_SECURITY_PROTOCOL=tls", "security.protocol");
    assert_refused("TASKWIRE_KAFKA_DR_CB=x", "no setting dr.cb");
    assert_refused("TASKWIRE_KAFKA_OPAQUE=x", "opaque");
}

static void what_only_shows_in_use_is_refused_as_well(void **state)
{
    (void)state;
    char error[KAFKA_ERROR_CHARS] = "";
    char *environment[] = {REQUIRED, BROKERS, "TASKWIRE_KAFKA_SECURITY_PROTOCOL=ssl",
                           "TASKWIRE_KAFKA_SSL_CA_LOCATION=/nonexistent/ca.pem", NULL};
    config_t *config = config_of(environment);
    assert_false(kafka_check(config, error, sizeof error));
    assert_non_null(strstr(error, "TASKWIRE_KAFKA_SSL_CA_LOCATION: "));
    config_destroy(&config);
}

static void a_secret_is_not_told_when_it_is_refused(void **state)
{
    (void)state;
    char error[KAFKA_ERROR_CHARS] = "";
    char *environment[] = {REQUIRED, BROKERS, "TASKWIRE_KAFKA_SECURITY_PROTOCOL=ssl",
                           "TASKWIRE_KAFKA_SSL_KEY_PEM=s3cret", NULL};
    config_t *config = config_of(environment);
    assert_false(kafka_check(config, error, sizeof error));
    assert_non_null(strstr(error, "TASKWIRE_KAFKA_SSL_KEY_PEM"));
    assert_null(strstr(error, "s3cret"));
    config_destroy(&config);
}

static void good_settings_pass_without_a_broker(void **state)
{
    (void)state;
    char error[KAFKA_ERROR_CHARS] = "";
    char *environment[] = {REQUIRED,
                           BROKERS,
                           "TASKWIRE_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT",
                           "TASKWIRE_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
                           "TASKWIRE_KAFKA_SASL_USERNAME=u",
                           "TASKWIRE_KAFKA_SASL_PASSWORD=p",
                           NULL};
    config_t *config = config_of(environment);
    if (!kafka_check(config, error, sizeof error))
        fail_msg("%s", error);
    config_destroy(&config);
    char *local[] = {REQUIRED, NULL};
    config = config_of(local);
    assert_true(kafka_check(config, error, sizeof error));
    assert_false(kafka_is_on(config));
    config_destroy(&config);
}

static void each_process_of_a_data_dir_has_a_name_that_stays(void **state)
{
    (void)state;
    char dir[] = "/tmp/taskwire-kafka-XXXXXX";
    char first[KAFKA_NAME_CHARS], second[KAFKA_NAME_CHARS], path[64];
    assert_non_null(mkdtemp(dir));
    config_t config = {.data_dir = dir, .kafka_instance = "pod-1"};
    assert_int_equal(kafka_instance(&config, first), ERR_OK);
    assert_string_equal(first, "pod-1");
    config.kafka_instance = "";
    int fd = dup(0); /* the lock's fd will be the next one */
    close(fd);
    assert_int_equal(kafka_instance(&config, first), ERR_OK);
    assert_int_equal(kafka_instance(&config, second), ERR_OK);
    assert_string_not_equal(first, second);
    close(fd); /* as the end of the process does */
    assert_int_equal(kafka_instance(&config, second), ERR_OK);
    assert_string_equal(first, second);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/kafka-instance-%u", dir, i);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_promises_what_we_promise),
        cmocka_unit_test(a_consumer_leaves_offsets_to_us),
        cmocka_unit_test(what_would_break_a_promise_is_refused),
        cmocka_unit_test(what_librdkafka_does_not_take_is_refused),
        cmocka_unit_test(what_only_shows_in_use_is_refused_as_well),
        cmocka_unit_test(a_secret_is_not_told_when_it_is_refused),
        cmocka_unit_test(good_settings_pass_without_a_broker),
        cmocka_unit_test(each_process_of_a_data_dir_has_a_name_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
