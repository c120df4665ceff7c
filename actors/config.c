/* SPDX-License-Identifier: Apache-2.0 */
/* The table below is all that is known about settings. Every source (the environment, the file that
 * --config names, files that hold one value) only fills in texts; the texts are then checked and
 * turned into the fields of config_t by the row's kind. An empty text means the default, because
 * that is what container tools pass for "not set".
 *
 * A wrong setting is told with the key as its author wrote it, so each text remembers its key. */
#include "actors/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "actors/mask.h"
#include "schema/shard.h"

#define PREFIX "TASKWIRE_"
#define FILE_SUFFIX "_FILE"
#define KAFKA_PREFIX "KAFKA_"
#define MAX_NAME_CHARS 200 /* of 249 that Kafka takes, so that there is room for the rest */
#define MAX_FILE_BYTES ((size_t)64 * 1024)
#define MAX_KEY_CHARS 128
#define US INT64_C(1000000)

typedef enum {
    KIND_TEXT,
    KIND_ADDRESS, /* host:port */
    KIND_URL, /* http or https, without a path */
    KIND_ORIGINS, /* of those, separated by commas */
    KIND_ADDRESSES, /* IP addresses and CIDR ranges, separated by commas */
    KIND_SWITCH, /* the first or the second of `words`: false or true */
    KIND_LEVEL, /* one of `words`, in the order of log_level_t */
    KIND_NUMBER,
    KIND_SECONDS, /* the field holds microseconds */
    KIND_BROKERS, /* host or host:port, separated by commas */
    KIND_NAME, /* what Kafka takes as the name of a topic or group, or a part of one */
} kind_t;

typedef struct {
    const char *key;
    kind_t kind;
    size_t field; /* its place in config_t */
    const char *fallback;
    const char *help;
    const char *const *words;
    int64_t min;
    int64_t max;
    unsigned need; /* CONFIG_NEEDS_…: there is no default */
} setting_t;

static const char *const registration_words[] = {"closed", "open", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_words[] = {"text", "json", NULL};
static const char *const encoding_words[] = {"json", "msgpack", NULL};

#define FIELD(name) .field = offsetof(config_t, name)

static const setting_t settings[] = {
    {"LISTEN", KIND_ADDRESS, FIELD(listen), .fallback = "127.0.0.1:8080",
     .help = "Address for HTTP and WebSocket; port 0 picks a free one."},
    {"ADMIN_LISTEN", KIND_ADDRESS, FIELD(admin_listen), .fallback = "127.0.0.1:8081",
     .help = "Address for /metrics, /actors, /healthz and /readyz."},
    {"DATABASE_URL", KIND_TEXT, FIELD(database_url), .fallback = "", .need = CONFIG_NEEDS_DATABASE,
     .help = "PostgreSQL 15 or newer, as a URL or a libpq connection string."},
    {"DATA_DIR", KIND_TEXT, FIELD(data_dir), .fallback = "", .need = CONFIG_NEEDS_DATA_DIR,
     .help = "Directory for what must live outside the database, like the audit anchors."},
    {"REGISTRATION", KIND_SWITCH, FIELD(is_registration_open), .fallback = "closed",
     .words = registration_words,
     .help = "open lets anyone create an account; the first account can always be created."},
    {"PUBLIC_URL", KIND_URL, FIELD(public_url), .fallback = "",
     .help = "Where clients reach this server, if that is not LISTEN (a proxy, a name)."},
    {"ALLOWED_ORIGINS", KIND_ORIGINS, FIELD(allowed_origins), .fallback = "",
     .help = "Other origins that browsers may come from, separated by commas."},
    {"TRUSTED_PROXIES", KIND_ADDRESSES, FIELD(trusted_proxies), .fallback = "",
     .help =
         "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and ranges, "
         "like 10.0.0.0/8, separated by commas."},
    {"RATE_LIMIT", KIND_NUMBER, FIELD(rate_limit), .fallback = "1000", .max = 1000000000,
     .help = "Requests and socket commands a second per token; 0 is no limit."},
    {"RATE_LIMIT_ANONYMOUS", KIND_NUMBER, FIELD(rate_limit_anonymous), .fallback = "50",
     .max = 1000000000, .help = "The same per address, without a token."},
    {"CONNECTION_LIMIT", KIND_NUMBER, FIELD(connection_limit), .fallback = "256", .max = 1000000,
     .help = "Connections at once per address; 0 is no limit. Trusted proxies have none."},
    {"TLS_CERT", KIND_TEXT, FIELD(tls_cert), .fallback = "",
     .help = "File of the certificate and its chain (PEM): LISTEN then speaks HTTPS and WSS."},
    {"TLS_KEY", KIND_TEXT, FIELD(tls_key), .fallback = "",
     .help = "File of the key of TLS_CERT (PEM, without a passphrase)."},
    {"LOG_LEVEL", KIND_LEVEL, FIELD(log_level), .fallback = "info", .words = level_words,
     .help = "The least that is logged: debug, info, warn or error."},
    {"LOG_FORMAT", KIND_SWITCH, FIELD(log_json), .fallback = "text", .words = format_words,
     .help = "text for people, json for programs."},
    {"START_TIMEOUT", KIND_SECONDS, FIELD(start_timeout_us), .fallback = "30", .max = 86400,
     .help = "Seconds to wait for the database at the start."},
    {"GATEWAYS", KIND_NUMBER, FIELD(gateways), .fallback = "1", .min = 1, .max = 16,
     .help = "Threads that serve clients."},
    {"ANCHOR_INTERVAL", KIND_SECONDS, FIELD(anchor_interval_us), .fallback = "60", .min = 1,
     .max = 86400, .help = "Seconds between appends to the file of audit anchors."},
    {"OUTCOME_TIMEOUT", KIND_SECONDS, FIELD(outcome_timeout_us), .fallback = "10", .min = 1,
     .max = 300, .help = "Seconds that a client waits while the database is away."},
    {"REMINDER_MAX_LATE", KIND_SECONDS, FIELD(reminder_max_late_us), .fallback = "86400", .min = 1,
     .max = 31536000,
     .help = "Seconds after which a reminder that could not fire is only marked as missed."},
    {"KAFKA_BROKERS", KIND_BROKERS, FIELD(kafka_brokers), .fallback = "",
     .help = "Kafka, as HOST:PORT separated by commas: events then travel through it."},
    {"KAFKA_ENCODING", KIND_SWITCH, FIELD(kafka_msgpack), .fallback = "json",
     .words = encoding_words,
     .help = "Of the records that are written: json (CloudEvents) or msgpack."},
    {"KAFKA_TOPIC_PREFIX", KIND_NAME, FIELD(kafka_topic_prefix), .fallback = "",
     .help = "Stands before the names of the topics."},
    {"KAFKA_GROUP", KIND_NAME, FIELD(kafka_group), .fallback = "",
     .help = "The consumer group of all processes on one database; else KAFKA_TOPIC_PREFIX and "
             "taskwire."},
    {"KAFKA_INSTANCE", KIND_NAME, FIELD(kafka_instance), .fallback = "",
     .help = "A name of this process in the group that stays the same; else one is kept in "
             "DATA_DIR."},
    {"KAFKA_TASK_EVENTS_PARTITIONS", KIND_NUMBER, FIELD(kafka_task_events_partitions),
     .fallback = "3", .min = 1, .max = N_SHARDS,
     .help = "Partitions of task-events if the topic is made; may be added to later."},
    {"KAFKA_REMINDERS_PARTITIONS", KIND_NUMBER, FIELD(kafka_reminders_partitions), .fallback = "1",
     .min = 1, .max = N_SHARDS, .help = "The same of reminders."},
    {"KAFKA_TASK_UPDATES_PARTITIONS", KIND_NUMBER, FIELD(kafka_task_updates_partitions),
     .fallback = "3", .min = 1, .max = N_SHARDS,
     .help = "The same of task-updates; never to be changed afterwards."},
    {"KAFKA_REPLICATION", KIND_NUMBER, FIELD(kafka_replication), .fallback = "-1", .min = -1,
     .max = 32, .help = "Copies of a topic that is made; -1 is the broker's default."},
};

#define N_SETTINGS (sizeof settings / sizeof *settings)

/* What was said about one setting, and where. */
typedef struct {
    char *text; /* NULL: nothing */
    char key[MAX_KEY_CHARS]; /* as it was written there */
} given_t;

typedef struct {
    given_t given[N_SETTINGS];
    kafka_settings_t kafka;
} source_t;

typedef struct {
    config_t config; /* first, so that a config_t is one of these */
    char *texts[N_SETTINGS];
    char keys[N_SETTINGS][MAX_KEY_CHARS]; /* as they were written */
} full_config_t;

static bool complain(char *error, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says what is wrong with the key; always false. */
static bool complain(char *error, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = snprintf(error, CONFIG_ERROR_CHARS, "%s: ", key);
    if (n >= 0 && n < CONFIG_ERROR_CHARS)
        vsnprintf(error + n, CONFIG_ERROR_CHARS - (size_t)n, format, args);
    va_end(args);
    return false;
}

static char *copy_text(const char *text, size_t n_bytes)
{
    char *copy = strndup(text, n_bytes);
    if (copy == NULL)
        abort();
    return copy;
}

/* --- sources --- */

static void fini_source(source_t *self)
{
    for (size_t i = 0; i < N_SETTINGS; i++)
        free(self->given[i].text);
    kafka_settings_fini(&self->kafka);
}

/* Reads a small file whole, NUL-terminated. NULL, with the reason, if that fails. */
static char *read_file(const char *path, const char **why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        *why = strerror(errno);
        return NULL;
    }
    char *bytes = calloc(1, MAX_FILE_BYTES + 2);
    if (bytes == NULL)
        abort();
    size_t n = fread(bytes, 1, MAX_FILE_BYTES + 1, file);
    *why = ferror(file)         ? strerror(errno)
           : n > MAX_FILE_BYTES ? "it is larger than 64 KiB"
           : strlen(bytes) != n ? "it holds a NUL"
                                : NULL;
    fclose(file);
    if (*why == NULL)
        return bytes;
    free(bytes);
    return NULL;
}

/* The setting of this name (upper or lower case), or N_SETTINGS. */
static size_t find_setting(const char *name, size_t n_chars)
{
    size_t i = 0;
    while (i < N_SETTINGS &&
           (strlen(settings[i].key) != n_chars || strncasecmp(settings[i].key, name, n_chars) != 0))
        i++;
    return i;
}

/* Takes a text for a setting into the source. Owns: `text` is taken in any case. */
static bool give(source_t *self, size_t setting, const char *key, char *text, char *error)
{
    given_t *given = &self->given[setting];
    if (given->text != NULL) {
        free(text);
        return complain(error, key, "it is given twice (also as %s)", given->key);
    }
    given->text = text;
    snprintf(given->key, sizeof given->key, "%s", key);
    for (const char *at = text; *at != '\0'; at++) {
        if (iscntrl((unsigned char)*at))
            return complain(error, key, "it must be one line without control characters");
    }
    return true;
}

/* The text that stands in the named file, without the ends of its last line. NULL: complained. */
static char *read_value(const char *key, const char *path, char *error)
{
    const char *why = NULL;
    char *text = read_file(path, &why);
    if (text == NULL) {
        complain(error, key, "cannot read %s: %s", path, why);
        return NULL;
    }
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = '\0';
    return text;
}

static bool give_from_file(source_t *self, size_t setting, const char *key, const char *path,
                           char *error)
{
    if (*path == '\0')
        return true;
    char *text = read_value(key, path, error);
    return text != NULL && give(self, setting, key, text, error);
}

/* Any other KAFKA_ setting: one of its library's. `name` is without that prefix. */
static bool give_kafka(source_t *self, const char *key, const char *name, const char *value,
                       char *error)
{
    char bare[MAX_KEY_CHARS];
    size_t n_chars = strlen(name);
    size_t n_suffix = strlen(FILE_SUFFIX);
    bool is_in_file = n_chars > n_suffix && strcasecmp(name + n_chars - n_suffix, FILE_SUFFIX) == 0;
    snprintf(bare, sizeof bare, "%.*s", (int)(is_in_file ? n_chars - n_suffix : n_chars), name);
    char *text = NULL;
    if (is_in_file && *value == '\0')
        return true;
    if (is_in_file && (text = read_value(key, value, error)) == NULL)
        return false;
    const char *why = kafka_settings_add(&self->kafka, key, bare, is_in_file ? text : value);
    free(text);
    return why == NULL || complain(error, key, "%s", why);
}

/* Takes KEY=VALUE of a source; `key` as it was written, `name` without the prefix. */
static bool give_named(source_t *self, const char *key, const char *name, const char *value,
                       char *error)
{
    size_t n_chars = strlen(name);
    size_t n_suffix = strlen(FILE_SUFFIX);
    size_t setting = find_setting(name, n_chars);
    if (setting < N_SETTINGS)
        return give(self, setting, key, copy_text(value, strlen(value)), error);
    if (n_chars > n_suffix && strcasecmp(name + n_chars - n_suffix, FILE_SUFFIX) == 0)
        setting = find_setting(name, n_chars - n_suffix);
    if (setting < N_SETTINGS)
        return give_from_file(self, setting, key, value, error);
    if (strncasecmp(name, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) == 0)
        return give_kafka(self, key, name + strlen(KAFKA_PREFIX), value, error);
    return complain(error, key, "there is no such setting (taskwire --help lists them)");
}

/* What the scripts around the program use and the program has no need of. */
static bool is_for_others(const char *name)
{
    return strcmp(name, "HOME") == 0;
}

static bool read_environment(source_t *self, char **environment, char *error)
{
    for (char **at = environment; at != NULL && *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, PREFIX, strlen(PREFIX)) != 0 || equals == NULL)
            continue;
        char key[MAX_KEY_CHARS];
        snprintf(key, sizeof key, "%.*s", (int)(equals - *at), *at);
        const char *name = key + strlen(PREFIX);
        if (!is_for_others(name) && !give_named(self, key, name, equals + 1, error))
            return false;
    }
    return true;
}

/* Cuts white space off both ends, in place. */
static char *trimmed(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    return text;
}

/* Takes one `key = value` line of the config file. */
static bool read_line(source_t *self, char *line, const char *file, int line_number, char *error)
{
    line = trimmed(line);
    if (*line == '\0' || *line == '#')
        return true;
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        snprintf(error, CONFIG_ERROR_CHARS, "%s line %d: it is not `key = value`", file,
                 line_number);
        return false;
    }
    *equals = '\0';
    char key[MAX_KEY_CHARS];
    snprintf(key, sizeof key, "%s", trimmed(line));
    for (const char *at = key; *at != '\0'; at++) {
        if (isupper((unsigned char)*at))
            return complain(error, key, "keys are in lower case in a file");
    }
    return give_named(self, key, key, trimmed(equals + 1), error);
}

static bool read_config_file(source_t *self, const char *file, char *error)
{
    const char *why = NULL;
    char *text = read_file(file, &why);
    if (text == NULL)
        return complain(error, "--config", "cannot read %s: %s", file, why);
    bool is_good = true;
    char *rest = text;
    for (int line_number = 1; is_good && rest != NULL; line_number++) {
        char *line = strsep(&rest, "\n");
        is_good = read_line(self, line, file, line_number, error);
    }
    free(text);
    return is_good;
}

/* --- values --- */

static bool is_digits(const char *text, size_t n_chars)
{
    size_t n = 0;
    while (n < n_chars && isdigit((unsigned char)text[n]))
        n++;
    return n == n_chars && n > 0;
}

/* Whether the text is a port number. */
static bool is_port(const char *text)
{
    size_t n = strlen(text);
    return n <= 5 && is_digits(text, n) && strtol(text, NULL, 10) <= 65535;
}

/* host:port, the host of a v6 address in brackets. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || !is_port(colon + 1))
        return false;
    size_t n_host = (size_t)(colon - text);
    if (text[0] == '[')
        return n_host > 2 && colon[-1] == ']';
    return strcspn(text, ":[] \t/") == n_host;
}

/* http://host[:port] or https://…, nothing behind it. */
static bool is_url(const char *text)
{
    size_t n_scheme = strncmp(text, "http://", 7) == 0    ? 7
                      : strncmp(text, "https://", 8) == 0 ? 8
                                                          : 0;
    const char *host = text + n_scheme;
    return n_scheme > 0 && *host != '\0' && strpbrk(host, "/?# \t@\\") == NULL;
}

/* An IP address, or a range in CIDR notation. */
static bool is_ip_range(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    char address[INET6_ADDRSTRLEN];
    size_t n_address = strcspn(text, "/");
    const char *n_bits = text + n_address;
    if (n_address >= sizeof address)
        return false;
    memcpy(address, text, n_address);
    address[n_address] = '\0';
    bool is_v4 = inet_pton(AF_INET, address, bytes) == 1;
    if (!is_v4 && inet_pton(AF_INET6, address, bytes) != 1)
        return false;
    if (*n_bits == '\0')
        return true;
    n_bits++;
    if (strlen(n_bits) > 3 || !is_digits(n_bits, strlen(n_bits)))
        return false;
    long n = strtol(n_bits, NULL, 10);
    bool is_mapped = !is_v4 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)bytes);
    return n <= (is_v4 ? 32 : 128) && (!is_mapped || n >= 96);
}

/* HOST or HOST:PORT. */
static bool is_broker(const char *text)
{
    size_t n = strlen(text);
    if (is_address(text))
        return true;
    return n > 0 && strcspn(text, ":[] \t/") == n;
}

static bool is_kafka_name(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (text[n] != '\0' && strchr("._-", text[n]) != NULL))
        n++;
    return text[n] == '\0' && n <= MAX_NAME_CHARS;
}

/* Whether each of the items between commas is right; white space around them does not count. */
static bool is_list_of(const char *text, bool (*is_right)(const char *item))
{
    char *copy = copy_text(text, strlen(text));
    char *rest = copy;
    bool is_good = true;
    while (is_good && rest != NULL)
        is_good = is_right(trimmed(strsep(&rest, ",")));
    free(copy);
    return is_good;
}

static bool take_number(const setting_t *setting, const char *key, const char *text, int64_t *out,
                        char *error)
{
    size_t n_sign = setting->min < 0 && *text == '-' ? 1 : 0;
    size_t n = strlen(text + n_sign);
    bool is_number = n <= 12 && is_digits(text + n_sign, n);
    int64_t value = is_number ? strtoll(text, NULL, 10) : 0;
    if (!is_number || value < setting->min || value > setting->max)
        return complain(error, key, "it must be a whole number from %lld to %lld%s",
                        (long long)setting->min, (long long)setting->max,
                        setting->kind == KIND_SECONDS ? " (seconds)" : "");
    *out = setting->kind == KIND_SECONDS ? value * US : value;
    return true;
}

static void join_words(const char *const *words, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL; i++) {
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%s%s",
                 i == 0                 ? ""
                 : words[i + 1] == NULL ? " or "
                                        : ", ",
                 words[i]);
    }
}

static bool take_word(const setting_t *setting, const char *key, const char *text, int *out,
                      char *error)
{
    for (int i = 0; setting->words[i] != NULL; i++) {
        if (strcmp(text, setting->words[i]) == 0) {
            *out = i;
            return true;
        }
    }
    char words[MAX_KEY_CHARS];
    join_words(setting->words, words, sizeof words);
    return complain(error, key, "it must be %s", words);
}

/* Checks the shape of a value that stays text. */
static bool check_text(const setting_t *setting, const char *key, const char *text, char *error)
{
    bool is_empty = *text == '\0';
    switch (setting->kind) {
    case KIND_TEXT:
        return setting->need == 0 || !is_empty || complain(error, key, "it is required");
    case KIND_ADDRESS:
        return is_address(text) ||
               complain(error, key, "it must be HOST:PORT, like 127.0.0.1:8080 or [::1]:8080");
    case KIND_URL:
        return is_empty || is_url(text) ||
               complain(error, key, "it must be like https://tasks.example.org");
    case KIND_ORIGINS:
        return is_empty || is_list_of(text, is_url) ||
               complain(error, key,
                        "it must be origins like https://tasks.example.org, separated "
                        "by commas");
    case KIND_ADDRESSES:
        return is_empty || is_list_of(text, is_ip_range) ||
               complain(error, key,
                        "it must be IP addresses or ranges like 10.0.0.0/8, separated by commas");
    case KIND_BROKERS:
        return is_empty || is_list_of(text, is_broker) ||
               complain(error, key, "it must be HOST:PORT, separated by commas");
    case KIND_NAME:
        return is_kafka_name(text) ||
               complain(error, key,
                        "it must be letters, digits, dots, underscores and hyphens, "
                        "at most %d of them",
                        MAX_NAME_CHARS);
    case KIND_SWITCH:
    case KIND_LEVEL:
    case KIND_NUMBER:
    case KIND_SECONDS:
        break;
    }
    abort(); /* those are no text */
}

/* Turns the text of a setting into its field. */
static bool take(full_config_t *self, size_t i, const char *key, char *error)
{
    const setting_t *setting = &settings[i];
    const char *text = self->texts[i];
    char *field = (char *)&self->config + setting->field;
    int place = 0;
    switch (setting->kind) {
    case KIND_NUMBER:
    case KIND_SECONDS:
        return take_number(setting, key, text, (int64_t *)(void *)field, error);
    case KIND_SWITCH:
        if (!take_word(setting, key, text, &place, error))
            return false;
        *(bool *)(void *)field = place != 0;
        return true;
    case KIND_LEVEL:
        if (!take_word(setting, key, text, &place, error))
            return false;
        *(log_level_t *)(void *)field = (log_level_t)place;
        return true;
    case KIND_TEXT:
    case KIND_ADDRESS:
    case KIND_URL:
    case KIND_ORIGINS:
    case KIND_ADDRESSES:
    case KIND_BROKERS:
    case KIND_NAME:
        *(const char **)(void *)field = text;
        return check_text(setting, key, text, error);
    }
    abort();
}

/* The first source that says something about the setting, else NULL. */
static const given_t *pick(const source_t *first, const source_t *second, size_t i)
{
    if (first->given[i].text != NULL)
        return &first->given[i];
    return second->given[i].text != NULL ? &second->given[i] : NULL;
}

/* Takes all settings from the sources; those that are missing get their defaults. */
static bool take_all(full_config_t *self, const source_t *environment, const source_t *file,
                     unsigned needs, char *error)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const given_t *given = pick(environment, file, i);
        bool is_given = given != NULL && *given->text != '\0';
        const char *text = is_given ? given->text : settings[i].fallback;
        char *key = self->keys[i];
        if (given != NULL)
            snprintf(key, MAX_KEY_CHARS, "%s", given->key);
        else
            snprintf(key, MAX_KEY_CHARS, PREFIX "%s", settings[i].key);
        self->texts[i] = copy_text(text, strlen(text));
        bool is_excused = !is_given && settings[i].need != 0 && (settings[i].need & needs) == 0;
        if (!take(self, i, key, error) && !is_excused)
            return false;
    }
    kafka_settings_merge(&self->config.kafka_settings, &environment->kafka, &file->kafka);
    error[0] = '\0';
    return true;
}

config_t *config_new(char **environment, const char *file, unsigned needs,
                     char error[CONFIG_ERROR_CHARS])
{
    error[0] = '\0';
    source_t from_environment = {0};
    source_t from_file = {0};
    full_config_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    config_t *config = &self->config;
    config->origin = self;
    if ((file != NULL && !read_config_file(&from_file, file, error)) ||
        !read_environment(&from_environment, environment, error) ||
        !take_all(self, &from_environment, &from_file, needs, error))
        config_destroy(&config);
    fini_source(&from_environment);
    fini_source(&from_file);
    return config;
}

void config_destroy(config_t **self_p)
{
    full_config_t *self = (full_config_t *)(void *)*self_p;
    if (self == NULL)
        return;
    for (size_t i = 0; i < N_SETTINGS; i++)
        free(self->texts[i]);
    kafka_settings_fini(&self->config.kafka_settings);
    free(self);
    *self_p = NULL;
}

/* --- showing them --- */

const char *config_key(const config_t *self, const char *name)
{
    const full_config_t *full = self->origin;
    size_t i = find_setting(name, strlen(name));
    return full == NULL || i == N_SETTINGS ? name : full->keys[i];
}

void config_print(const config_t *self, buf_t *out)
{
    const full_config_t *full = (const full_config_t *)(const void *)self;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        buf_format(out, PREFIX "%s=", settings[i].key);
        mask_secrets(full->texts[i], out);
        buf_append_byte(out, '\n');
    }
    kafka_settings_print(&self->kafka_settings, PREFIX, out);
}

void config_help(buf_t *out)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const char *fallback = settings[i].fallback;
        buf_format(out, "  " PREFIX "%s", settings[i].key);
        if (settings[i].need != 0)
            buf_append_str(out, " (required)");
        else if (*fallback != '\0')
            buf_format(out, " (default %s)", fallback);
        buf_format(out, "\n      %s\n", settings[i].help);
    }
    buf_append_str(out, "  " PREFIX KAFKA_PREFIX "X_Y\n"
                        "      Any other: the setting x.y of librdkafka, like SASL_MECHANISM or "
                        "SSL_CA_LOCATION.\n");
}
