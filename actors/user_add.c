/* SPDX-License-Identifier: Apache-2.0 */
/* There is one way to change anything, a command through the writer, so that is what happens here
 * too: a network of a writer alone, and an inbox in the place of a gateway that takes the result.
 * It works beside a running server, whose shard locks it respects. */
#include "actors/user_add.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "actors/lineage.h"
#include "actors/message.h"
#include "actors/network.h"
#include "actors/password.h"
#include "actors/writer.h"
#include "schema/json.h"
#include "schema/limits.h"

#define STOP_US INT64_C(5000000)
#define INBOX_LIMIT 16
#define LINE_BYTES (LIMIT_PASSWORD_BYTES + 2)

/* --- the password --- */

/* Reads a line without its end; false at the end of input without any. */
static bool read_line(char line[LINE_BYTES])
{
    if (fgets(line, LINE_BYTES, stdin) == NULL)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

/* Waits until a line was typed. False if a signal came first; it stays pending. */
static bool await_line(const sigset_t *signals)
{
    int signal_fd = signalfd(-1, signals, SFD_CLOEXEC);
    struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    close(signal_fd);
    return fds[1].revents == 0;
}

/* Asks on the terminal without showing what is typed. A signal takes effect only when the terminal
 * is as it was. */
static bool ask(const char *question, char line[LINE_BYTES])
{
    sigset_t signals;
    sigset_t before;
    struct termios shown;
    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return false;
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGQUIT);
    sigprocmask(SIG_BLOCK, &signals, &before);
    fputs(question, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    bool is_read = await_line(&signals) && read_line(line);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return is_read;
}

/* Whether a password of this form may be used; says why not. */
static bool is_acceptable(const char *password)
{
    slice_t text = slice_str(password);
    if (!utf8_is_text(text) || utf8_count(text) < LIMIT_PASSWORD_MIN_CHARS ||
        text.n_bytes > LIMIT_PASSWORD_BYTES) {
        fprintf(stderr, "taskwire: a password has %d characters or more and at most %d bytes\n",
                LIMIT_PASSWORD_MIN_CHARS, LIMIT_PASSWORD_BYTES);
        return false;
    }
    return true;
}

/* Gets the password from the terminal, twice, or from stdin; an empty one is made up. */
static bool get_password(char out[LINE_BYTES], bool *is_made)
{
    char again[LINE_BYTES] = "";
    out[0] = '\0';
    if (isatty(STDIN_FILENO)) {
        if (!ask("Password (empty: one is made up): ", out))
            return false;
        if (*out != '\0' && (!ask("Once more: ", again) || strcmp(out, again) != 0)) {
            fputs("taskwire: the two differ\n", stderr);
            return false;
        }
    } else {
        (void)read_line(out);
    }
    *is_made = *out == '\0';
    if (*is_made)
        password_make(out);
    return is_acceptable(out);
}

/* --- the command --- */

static void put_pair(buf_t *out, const char *key, const char *text)
{
    mp_put_cstr(out, key);
    mp_put_cstr(out, text);
}

static void send_command(network_t *network, const char *email, const char *time_zone,
                         const char *hash)
{
    buf_t data = {0};
    mp_put_map(&data, 3);
    put_pair(&data, "email", email);
    put_pair(&data, "time_zone", time_zone);
    put_pair(&data, "password_hash", hash);
    int64_t now_us = clock_now().wall_us;
    command_t command = {.id = uuid_v7(now_us),
                         .author = uuid_v7(now_us),
                         .op = OP_ACCOUNT_CREATE,
                         .data = buf_slice(&data),
                         .reply_to = ADDRESS_GATEWAY};
    command.list = command.author;
    command_fingerprint(&command);
    batch_t batch = {0};
    batch_begin(&batch, MESSAGE_COMMANDS);
    command_encode(&command, &batch.buf);
    batch.n_items = 1;
    message_t message;
    batch_finish(&batch, &message);
    port_t *port = network_port(network, ADDRESS_WRITER);
    (void)port_send(port, &message); /* the first one: there is room */
    port_destroy(&port);
    buf_fini(&data);
}

static void print_refusal(const problem_t *problem)
{
    slice_t words =
        problem->detail.data != NULL ? problem->detail : slice_str(err_title(problem->err));
    fprintf(stderr, "taskwire: %s: %.*s\n", err_code(problem->err), (int)words.n_bytes,
            (const char *)words.data);
    for (size_t i = 0; i < problem->n_fields; i++) {
        const err_field_t *field = &problem->fields[i];
        fprintf(stderr, "  %.*s: %.*s\n", (int)field->pointer.n_bytes,
                (const char *)field->pointer.data, (int)field->detail.n_bytes,
                (const char *)field->detail.data);
    }
}

/* Says what the writer answered. Returns the exit code. */
static int tell_result(slice_t bytes)
{
    mp_reader_t content;
    uint32_t n_items = 0;
    result_t result;
    if (message_kind(bytes, &content) != MESSAGE_RESULTS || !batch_open(&content, &n_items) ||
        n_items != 1 || !result_decode(&content, &result))
        return EX_SOFTWARE;
    const outcome_t *outcome = &result.outcome;
    if (outcome->problem.err == ERR_OK) {
        char id[UUID_TEXT_CHARS];
        uuid_format(&outcome->stream, id);
        printf("account %.*s\n", UUID_TEXT_CHARS, id);
        return EX_OK;
    }
    print_refusal(&outcome->problem);
    return err_action(outcome->problem.err) == ERR_DO_RETRY ? EX_UNAVAILABLE : 1;
}

/* Waits for the answer. Returns the exit code. */
static int await_result(mailbox_t *inbox, const config_t *config)
{
    /* The writer itself gives up after OUTCOME_TIMEOUT and says so. */
    int64_t deadline = clock_now().mono_us + config->outcome_timeout_us + STOP_US;
    int64_t left_us = 0;
    message_t message;
    while (!mailbox_recv(inbox, &message)) {
        left_us = deadline - clock_now().mono_us;
        if (left_us <= 0) {
            fputs("taskwire: no answer from the database\n", stderr);
            return EX_UNAVAILABLE;
        }
        mailbox_poll(inbox, NULL, 0, left_us);
    }
    int code = tell_result(message_bytes(&message));
    message_fini(&message);
    return code;
}

/* The network of one command. */
typedef struct {
    network_t network;
    writer_t *writer;
    actor_t *user; /* never runs: its inbox is read by the main thread */
} crew_t;

static crew_t *crew_new(const config_t *config)
{
    static const actor_ops_t nothing = {.name = "user"};
    crew_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    network_t *network = &self->network;
    network->config = config;
    network->metrics = metrics_new();
    network->lineage = lineage_new(config->data_dir);
    network->post = post_new();
    self->writer = writer_new(network);
    network->actors[ADDRESS_WRITER] = writer_actor(self->writer);
    self->user = actor_new(&nothing, NULL, network->post, "user", INBOX_LIMIT);
    network->actors[ADDRESS_GATEWAY] = self->user;
    return self;
}

static void crew_destroy(crew_t *self)
{
    mailbox_close(actor_inbox(self->user));
    actor_destroy(&self->user);
    writer_destroy(&self->writer);
    post_destroy(&self->network.post);
    lineage_destroy(&self->network.lineage);
    metrics_destroy(&self->network.metrics);
    free(self);
}

/* Runs the command through a writer of its own. Returns the exit code. */
static int run_command(const config_t *config, const char *email, const char *time_zone,
                       const char *hash, bool *is_clean)
{
    crew_t *crew = crew_new(config);
    actor_t *writer = writer_actor(crew->writer);
    mailbox_t *inbox = actor_inbox(crew->user);
    int code = EX_OSERR;
    if (mailbox_open(inbox) == ERR_OK && actor_start(writer, NULL, NULL) == ERR_OK) {
        send_command(&crew->network, email, time_zone, hash);
        code = await_result(inbox, config);
        actor_stop(writer);
    }
    *is_clean = actor_join(writer, clock_now().mono_us + STOP_US);
    if (*is_clean)
        crew_destroy(crew);
    return code;
}

int user_add_run(const config_t *config, const char *email, const char *time_zone, bool *is_clean)
{
    char password[LINE_BYTES];
    char hash[PASSWORD_HASH_CHARS];
    bool is_made = false;
    *is_clean = true;
    if (!get_password(password, &is_made))
        return 1;
    if (!password_hash(slice_str(password), hash)) {
        fputs("taskwire: not enough memory for hashing the password\n", stderr);
        return EX_OSERR;
    }
    int code = run_command(config, email, time_zone, hash, is_clean);
    if (code == EX_OK && is_made)
        printf("password %s\n", password);
    explicit_bzero(password, sizeof password);
    return code;
}
