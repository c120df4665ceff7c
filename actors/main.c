/* SPDX-License-Identifier: Apache-2.0 */
/* The program: reads the command line and the settings, and for `serve` builds the network out of
 * all actors. The only file that sees every part, and the only one that exits. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/audit.h"
#include "actors/cli.h"
#include "actors/eraser.h"
#include "actors/lineage.h"
#include "actors/migrate.h"
#include "actors/purge.h"
#include "actors/recurrence.h"
#include "actors/reminder.h"
#include "actors/retime.h"
#include "actors/supervise.h"
#include "actors/sync.h"
#include "actors/user_add.h"
#include "actors/verify.h"
#include "actors/writer.h"
#include "bridge/dead_letter.h"
#include "bridge/kafka.h"
#include "bridge/consumer.h"
#include "bridge/peers.h"
#include "bridge/relay.h"
#include "bridge/tail.h"
#include "bridge/topics.h"
#include "gateway/gateway.h"

#define ERROR_CHARS 512
#define CONNECT_US INT64_C(5000000)
#define MIGRATE_PAUSE_MS 200
/* The least time for one try, whatever START_TIMEOUT says. */
#define START_MIN_US INT64_C(1000000)
/* Enough for the clients of one process; libwebsockets keeps tables as large as the limit. */
#define MAX_OPEN_FILES 65536

/* --- serve --- */

typedef struct {
    network_t network;
    listeners_t *listeners;
    writer_t *writer;
    sync_t *sync;
    audit_t *audit;
    recurrence_t *recurrence;
    reminder_actor_t *reminder;
    relay_t *relay;
    peers_t *peers;
    topics_t *topics; /* NULL: local mode */
    consumer_t *consumer; /* the same */
    tail_t *tail; /* the same */
    eraser_t *eraser;
    retime_t *retime;
    gateway_t *gateways[NETWORK_MAX_GATEWAYS];
} program_t;

extern char **environ;

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < MAX_OPEN_FILES ? limit.rlim_max : MAX_OPEN_FILES;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Makes sure that DATA_DIR is a directory that can be written to; the last part of it may be made.
 */
static bool prepare_data_dir(const config_t *config)
{
    const char *path = config->data_dir;
    struct stat info;
    bool is_there = mkdir(path, 0700) == 0 || errno == EEXIST;
    if (is_there && stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode))
            errno = ENOTDIR;
        else if (access(path, R_OK | W_OK | X_OK) == 0)
            return true;
    }
    fprintf(stderr, "taskwire: %s: %s: %s\n", config_key(config, "DATA_DIR"), path,
            strerror(errno));
    return false;
}

static int migrate_code(migrate_result_t result)
{
    switch (result) {
    case MIGRATE_OK:
        return EX_OK;
    case MIGRATE_UNREACHABLE:
        return EX_UNAVAILABLE;
    case MIGRATE_REFUSED: /* no such database or login, a wrong password */
    case MIGRATE_NEWER:
    case MIGRATE_FAILED: /* a right is missing, or something else is in the way */
        return EX_CONFIG;
    }
    abort();
}

/* Bringing the database to this version, in a thread that nobody need wait for. */
typedef struct {
    const config_t *config;
    int64_t deadline_mono_us;
    int code; /* the exit code */
} database_t;

/* Tries until it is done, hopeless, or too late. */
static void await_database(void *arg)
{
    database_t *self = arg;
    char error[ERROR_CHARS] = "";
    log_once_t away = {0};
    for (;;) {
        const char *url = self->config->database_url;
        self->code = migrate_code(migrate_run(url, self->deadline_mono_us, error, sizeof error));
        bool is_over =
            self->code != EX_UNAVAILABLE || clock_now().mono_us >= self->deadline_mono_us;
        if (is_over)
            break;
        if (log_once(&away))
            log_line(LOG_WARN, "main", "waiting for the database", "why=\"%s\"", error);
        (void)poll(NULL, 0, MIGRATE_PAUSE_MS);
    }
    if (self->code != EX_OK)
        log_line(LOG_ERROR, "main", "the database cannot be used", "setting=%s why=\"%s\"",
                 config_key(self->config, "DATABASE_URL"), error);
}

static void build(program_t *self, const config_t *config)
{
    network_t *network = &self->network;
    network->config = config;
    network->metrics = metrics_new();
    network->lineage = lineage_new(config->data_dir);
    network->post = post_new();
    network->n_gateways = (uint32_t)config->gateways;
    self->writer = writer_new(network);
    network->actors[ADDRESS_WRITER] = writer_actor(self->writer);
    self->sync = sync_new(network);
    network->actors[ADDRESS_SYNC] = sync_actor(self->sync);
    self->audit = audit_new(network);
    network->actors[ADDRESS_AUDIT] = audit_actor(self->audit);
    self->recurrence = recurrence_new(network);
    network->actors[ADDRESS_RECURRENCE] = recurrence_actor(self->recurrence);
    self->reminder = reminder_new(network);
    network->actors[ADDRESS_REMINDER] = reminder_actor(self->reminder);
    if (kafka_is_on(config)) {
        self->topics = topics_new(network);
        network->topics = self->topics;
        network->actors[ADDRESS_TOPICS] = topics_actor(self->topics);
        self->consumer = consumer_new(network);
        network->actors[ADDRESS_CONSUMER] = consumer_actor(self->consumer);
        self->tail = tail_new(network);
        network->actors[ADDRESS_TAIL] = tail_actor(self->tail);
    }
    self->relay = relay_new(network);
    network->actors[ADDRESS_RELAY] = relay_actor(self->relay);
    self->peers = peers_new(network);
    network->actors[ADDRESS_PEERS] = peers_actor(self->peers);
    self->eraser = eraser_new(network);
    network->actors[ADDRESS_ERASER] = eraser_actor(self->eraser);
    self->retime = retime_new(network);
    network->actors[ADDRESS_RETIME] = retime_actor(self->retime);
    for (uint32_t i = 0; i < network->n_gateways; i++) {
        self->gateways[i] = gateway_new(network, self->listeners, i);
        network->actors[ADDRESS_GATEWAY + i] = gateway_actor(self->gateways[i]);
    }
}

static void unbuild(program_t *self)
{
    for (uint32_t i = 0; i < NETWORK_MAX_GATEWAYS; i++)
        gateway_destroy(&self->gateways[i]);
    retime_destroy(&self->retime);
    eraser_destroy(&self->eraser);
    peers_destroy(&self->peers);
    relay_destroy(&self->relay);
    tail_destroy(&self->tail);
    consumer_destroy(&self->consumer);
    topics_destroy(&self->topics);
    reminder_destroy(&self->reminder);
    recurrence_destroy(&self->recurrence);
    audit_destroy(&self->audit);
    sync_destroy(&self->sync);
    writer_destroy(&self->writer);
    post_destroy(&self->network.post);
    lineage_destroy(&self->network.lineage);
    metrics_destroy(&self->network.metrics);
}

static void announce(void *arg)
{
    const program_t *self = arg;
    log_line(LOG_INFO, "main", "started", "version=%s admin=%s", TASKWIRE_VERSION,
             listeners_admin_url(self->listeners));
    printf("listening on %s\n", listeners_url(self->listeners));
    fflush(stdout);
}

/* Runs the network from its start to its end. Returns the exit code. */
static int run_network(supervisor_t *supervisor, program_t *self, const config_t *config,
                       int64_t deadline_mono_us)
{
    database_t database = {.config = config, .deadline_mono_us = deadline_mono_us};
    if (!supervisor_await(supervisor, await_database, &database)) {
        listeners_destroy(&self->listeners);
        _exit(EX_OK); /* what still waits for the database must not find its memory gone */
    }
    int code = database.code;
    if (code != EX_OK)
        return code;
    build(self, config);
    int64_t connect_us = clock_now().mono_us + CONNECT_US;
    if (deadline_mono_us < connect_us)
        deadline_mono_us = connect_us; /* the database is there: that took most of the time */
    code = supervisor_run(supervisor, &self->network, deadline_mono_us, announce, self);
    log_line(LOG_INFO, "main", "stopped", "code=%d", code);
    if (!supervisor_is_clean(supervisor))
        _exit(code); /* what still runs must not find its memory gone */
    unbuild(self);
    if (!kafka_is_clean())
        _exit(code);
    return code;
}

static int serve(const config_t *config)
{
    char error[ERROR_CHARS] = "";
    int64_t start_us =
        config->start_timeout_us > START_MIN_US ? config->start_timeout_us : START_MIN_US;
    int64_t deadline_mono_us = clock_now().mono_us + start_us;
    if (!prepare_data_dir(config))
        return EX_CONFIG;
    if (!kafka_check(config, error, sizeof error)) {
        fprintf(stderr, "taskwire: %s\n", error);
        return EX_CONFIG;
    }
    if (kafka_is_on(config))
        kafka_tune_malloc();
    program_t program = {0};
    program.listeners = listeners_new(config, error, sizeof error);
    if (program.listeners == NULL) {
        fprintf(stderr, "taskwire: %s\n", error);
        return EX_CONFIG;
    }
    supervisor_t *supervisor = supervisor_new();
    int code = run_network(supervisor, &program, config, deadline_mono_us);
    supervisor_destroy(&supervisor);
    listeners_destroy(&program.listeners);
    return code;
}

/* --- the other commands --- */

static int migrate(const config_t *config)
{
    char error[ERROR_CHARS] = "";
    migrate_result_t result = migrate_run(config->database_url, INT64_MAX, error, sizeof error);
    if (result != MIGRATE_OK)
        fprintf(stderr, "taskwire: %s: %s\n", config_key(config, "DATABASE_URL"), error);
    int code = migrate_code(result);
    return code;
}

static int purge_what(const config_t *config, const cli_t *cli)
{
    if (cli->stream != NULL)
        return purge_run(config, PURGE_STREAM, cli->stream);
    if (cli->task != NULL)
        return purge_run(config, PURGE_TASK, cli->task);
    return purge_run(config, PURGE_ACCOUNT, cli->account);
}

static int add_user(const config_t *config, const cli_t *cli)
{
    bool is_clean = true;
    int code = migrate(config);
    if (code == EX_OK)
        code = user_add_run(config, cli->email, cli->time_zone, &is_clean);
    fflush(stdout);
    if (!is_clean)
        _exit(code);
    return code;
}

/* Prints what was appended and frees it. Returns 0, or 74 if it cannot be written. */
static int print(buf_t *text)
{
    size_t n = fwrite(text->data, 1, text->n_bytes, stdout);
    int code = n == text->n_bytes && fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    buf_fini(text);
    return code;
}

/* The commands that need no settings. */
static int run_without_config(const cli_t *cli)
{
    buf_t text = {0};
    if (cli->command == CLI_HELP)
        cli_help(&text);
    else
        buf_append_str(&text, "taskwire " TASKWIRE_VERSION "\n");
    return print(&text);
}

static int run(const cli_t *cli, const config_t *config)
{
    buf_t text = {0};
    switch (cli->command) {
    case CLI_SERVE:
        return serve(config);
    case CLI_MIGRATE:
        return migrate(config);
    case CLI_VERIFY:
        return verify_run(config, &(verify_ask_t){cli->anchors, cli->restored});
    case CLI_CONFIG:
        config_print(config, &text);
        return print(&text);
    case CLI_USER_ADD:
        return add_user(config, cli);
    case CLI_PURGE:
        return purge_what(config, cli);
    case CLI_DEAD_LETTER_LIST:
        return dead_letter_list_run(config, cli->limit);
    case CLI_DEAD_LETTER_SHOW:
        return dead_letter_show_run(config, cli->letter);
    case CLI_VERSION:
    case CLI_HELP:
        break;
    }
    return run_without_config(cli);
}

/* The settings without which the command cannot do its work. */
static unsigned needs_of(const cli_t *cli)
{
    switch (cli->command) {
    case CLI_SERVE:
        return CONFIG_NEEDS_DATABASE | CONFIG_NEEDS_DATA_DIR;
    case CLI_VERIFY: /* a copy of the anchors stands for those in DATA_DIR */
        return CONFIG_NEEDS_DATABASE | (cli->anchors == NULL ? CONFIG_NEEDS_DATA_DIR : 0u);
    case CLI_MIGRATE:
    case CLI_USER_ADD:
    case CLI_PURGE:
    case CLI_DEAD_LETTER_LIST:
    case CLI_DEAD_LETTER_SHOW:
        return CONFIG_NEEDS_DATABASE;
    case CLI_CONFIG:
    case CLI_VERSION:
    case CLI_HELP:
        return 0;
    }
    abort();
}

static int run_with_config(const cli_t *cli)
{
    char error[CONFIG_ERROR_CHARS];
    config_t *config = config_new(environ, cli->config_file, needs_of(cli), error);
    if (config == NULL) {
        fprintf(stderr, "taskwire: %s\n", error);
        return EX_CONFIG;
    }
    /* What a command has to say it says itself; of the actors' lines only errors matter there. */
    bool is_brief = cli->command == CLI_USER_ADD || cli->command == CLI_VERIFY ||
                    cli->command == CLI_PURGE || cli->command == CLI_DEAD_LETTER_LIST ||
                    cli->command == CLI_DEAD_LETTER_SHOW;
    log_configure(is_brief ? LOG_ERROR : config->log_level, config->log_json);
    int code = run(cli, config);
    config_destroy(&config);
    return code;
}

int main(int argc, char **argv)
{
    cli_t cli;
    char error[ERROR_CHARS];
    mallopt(M_ARENA_MAX, 2); /* an arena per thread would multiply the memory at rest */
    if (sodium_init() < 0)
        return EX_OSERR;
    if (!cli_parse(argc, argv, &cli, error, sizeof error)) {
        fprintf(stderr, "taskwire: %s\n", error);
        return EX_USAGE;
    }
    if (cli.command == CLI_VERSION || cli.command == CLI_HELP)
        return run_without_config(&cli);
    raise_file_limit();
    return run_with_config(&cli);
}
