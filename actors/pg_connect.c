/* SPDX-License-Identifier: Apache-2.0 */
/* How a session is opened: the user's URL or keyword string, with what we need on top of it. What
 * the user says of keepalives stands, and of `options` too: ours follow it, so that a limit that
 * correctness rests on cannot be undone. libpq's own connect_timeout means nothing to
 * PQconnectPoll; who connects watches a deadline instead. */
#include "actors/pg_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_LIMIT_US (10 * US_PER_S)
#define SCRIPT_LIMIT_US (3600 * US_PER_S)

/* Before the user's, who may think otherwise. Our statements are short: compiling them costs more
 * than it saves. And all are look-ups by key, but those prepared while a table is young would be
 * planned for that: to read all of it, and so they would stay, for as long as nothing makes the
 * server plan anew, while the table grows. A session whose client's machine has died must not keep
 * its locks for the two hours that a server waits by itself. */
#define OPTIONS_FIRST                                                                              \
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=5 -c "          \
    "tcp_user_timeout=5000 "                                                                       \
    "-c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c "          \
    "enable_bitmapscan=off"
/* A migration must not wait for ever for somebody's lock, and may well read a whole table. */
#define SCRIPT_OPTIONS                                                                             \
    "-c enable_seqscan=on -c enable_hashjoin=on -c enable_mergejoin=on -c enable_bitmapscan=on"    \
    " -c lock_timeout=30s -c statement_timeout=0 -c client_min_messages=warning"

typedef struct {
    const char *keyword;
    const char *value;
    bool yields; /* to what the user says */
} setting_t;

static void append_words(buf_t *out, const char *words)
{
    if (words == NULL || words[0] == '\0')
        return;
    buf_append_byte(out, ' ');
    buf_append_str(out, words);
}

/* All `options` as one C string: first ours that may be overruled, then the user's, then those that
 * may not. */
static void join_options(buf_t *out, const char *users, const char *ours)
{
    if (users == NULL)
        users = getenv("PGOPTIONS");
    buf_append_str(out, OPTIONS_FIRST);
    append_words(out, users);
    append_words(out, ours);
    buf_append_byte(out, '\0');
}

static const char *given_value(const PQconninfoOption *given, const char *keyword)
{
    for (; given->keyword != NULL; given++) {
        if (strcmp(given->keyword, keyword) == 0)
            return given->val;
    }
    return NULL;
}

static bool is_ours(const setting_t *ours, size_t n_ours, const char *keyword)
{
    for (size_t i = 0; i < n_ours; i++) {
        if (!ours[i].yields && strcmp(ours[i].keyword, keyword) == 0)
            return true;
    }
    return false;
}

/* `read-write` looks for a server on which the new session may write, which ours that only read say
 * themselves that they may not. That server is the one that is no standby. */
static const char *value_for_us(const PQconninfoOption *given)
{
    bool is_for_writing = strcmp(given->keyword, "target_session_attrs") == 0 &&
                          strcmp(given->val, "read-write") == 0;
    return is_for_writing ? "primary" : given->val;
}

/* Later entries win in libpq, so those that yield go first. */
static PGconn *start_merged(const PQconninfoOption *given, const setting_t *ours, size_t n_ours)
{
    const char *keywords[64];
    const char *values[64];
    size_t n = 0;
    for (size_t i = 0; i < n_ours; i++) {
        if (ours[i].yields && given_value(given, ours[i].keyword) != NULL)
            continue;
        keywords[n] = ours[i].keyword;
        values[n++] = ours[i].value;
    }
    for (; given->keyword != NULL && n + 1 < sizeof keywords / sizeof keywords[0]; given++) {
        if (given->val == NULL || is_ours(ours, n_ours, given->keyword))
            continue;
        keywords[n] = given->keyword;
        values[n++] = value_for_us(given);
    }
    keywords[n] = NULL;
    values[n] = NULL;
    return PQconnectStartParams(keywords, values, 0);
}

PGconn *pg_connect_start(const pg_options_t *options, char words[PG_WORDS_CHARS])
{
    PQconninfoOption *given = PQconninfoParse(options->url, NULL);
    if (given == NULL) {
        /* libpq would quote the part that it does not understand, and that may be the password. */
        pg_words(words, "the database URL cannot be read");
        return NULL;
    }
    buf_t joined = {0};
    join_options(&joined, given_value(given, "options"), options->options);
    const setting_t ours[] = {
        {"application_name", options->who, false},
        {"client_encoding", "UTF8", false},
        {"options", (const char *)joined.data, false},
        {"keepalives", "1", true},
        {"keepalives_idle", "5", true},
        {"keepalives_interval", "1", true},
        {"keepalives_count", "5", true},
        {"tcp_user_timeout", "5000", true},
    };
    PGconn *conn = start_merged(given, ours, sizeof ours / sizeof ours[0]);
    if (conn == NULL)
        abort(); /* out of memory */
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* for pg_connect_failure */
    buf_fini(&joined);
    PQconninfoFree(given);
    return conn;
}

/* --- failing --- */

/* Whether a line of libpq's words holds one of the codes with which a server says that it has no
 * such login or database, or does not let this one in. */
static bool has_refusal(const char *line, size_t n_chars)
{
    static const char *const codes[] = {
        "28000", /* no such login, or none that may come in from here */
        "28P01", /* wrong password */
        "3D000", /* no such database */
    };
    char mark[] = ":  00000: "; /* as it stands behind the severity, in whatever language */
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        memcpy(mark + 3, codes[i], 5);
        if (memmem(line, n_chars, mark, strlen(mark)) != NULL)
            return true;
    }
    return false;
}

/* What libpq finds wrong with the URL before it tries anything. */
static bool is_complaint(const char *words)
{
    return strncmp(words, "invalid ", 8) == 0 || strncmp(words, "could not match ", 16) == 0;
}

/* A password with a slash in it, say, is taken for something else and would be quoted. */
static const char *without_quotes(const char *words)
{
    return strncmp(words, "invalid port ", 13) == 0 ? "its port is no number" : words;
}

/* libpq knows the server's code but has no function that tells it, so it is asked for words that
 * have it. A line is an attempt at an address or a remark about the one before; of several
 * addresses all must refuse. */
bool pg_connect_failure(const PGconn *conn, char words[PG_WORDS_CHARS])
{
    static const char attempt[] = "connection to ";
    const char *line = PQerrorMessage(conn);
    bool is_hopeless = is_complaint(line) || PQconnectionNeedsPassword(conn) == 1;
    size_t n_attempts = 0;
    size_t n_refused = 0;
    buf_t kept = {0};
    while (*line != '\0') {
        size_t n_bytes = strcspn(line, "\n");
        n_bytes += line[n_bytes] == '\n';
        n_attempts += strncmp(line, attempt, strlen(attempt)) == 0;
        n_refused += has_refusal(line, n_bytes);
        if (strncmp(line, "LOCATION:", 9) != 0) /* in the server's source */
            buf_append(&kept, line, n_bytes);
        line += n_bytes;
    }
    buf_append_byte(&kept, '\0');
    pg_words(words, without_quotes((const char *)kept.data));
    buf_fini(&kept);
    return is_hopeless || (n_attempts > 0 && n_refused == n_attempts);
}

/* --- scripts --- */

/* Waits until the socket is ready. False: the time is up. */
static bool wait_ready(PGconn *conn, short events, int64_t deadline_us)
{
    for (;;) {
        int64_t left_us = deadline_us - clock_now().mono_us;
        if (left_us <= 0)
            return false;
        struct pollfd fd = {.fd = PQsocket(conn), .events = events};
        int n_ready = poll(&fd, 1, (int)(left_us / 1000 + 1));
        if (n_ready > 0 || (n_ready < 0 && errno != EINTR))
            return true;
    }
}

static bool connect_wait(PGconn *conn)
{
    int64_t deadline_us = clock_now().mono_us + CONNECT_LIMIT_US;
    PostgresPollingStatusType wants =
        PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (wants == PGRES_POLLING_READING || wants == PGRES_POLLING_WRITING) {
        if (!wait_ready(conn, wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us))
            return false;
        wants = PQconnectPoll(conn);
    }
    return wants == PGRES_POLLING_OK;
}

/* The answer to the next statement of the script, NULL behind the last one or when the time is up.
 */
static PGresult *next_answer(PGconn *conn, int64_t deadline_us, bool *is_late)
{
    while (PQisBusy(conn)) {
        *is_late = !wait_ready(conn, POLLIN, deadline_us);
        if (*is_late)
            return NULL;
        if (!PQconsumeInput(conn))
            break;
    }
    return PQgetResult(conn);
}

static bool run_script(PGconn *conn, const char *sql, char words[PG_WORDS_CHARS])
{
    int64_t deadline_us = clock_now().mono_us + SCRIPT_LIMIT_US;
    bool is_late = false;
    bool is_good = PQsendQuery(conn, sql) == 1;
    if (!is_good)
        pg_words(words, PQerrorMessage(conn));
    PGresult *answer = is_good ? next_answer(conn, deadline_us, &is_late) : NULL;
    while (answer != NULL) {
        /* COPY would wait for data that nobody sends. */
        bool is_copy =
            PQresultStatus(answer) == PGRES_COPY_IN || PQresultStatus(answer) == PGRES_COPY_OUT;
        if (is_good && !pg_answer_is_good(answer)) {
            pg_words(words, is_copy ? "COPY is not possible here" : PQresultErrorMessage(answer));
            is_good = false;
        }
        PQclear(answer);
        answer = is_copy ? NULL : next_answer(conn, deadline_us, &is_late);
    }
    if (is_late)
        pg_words(words, "the script took too long");
    return is_good && !is_late;
}

static void ignore_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

bool pg_script(const char *url, const char *sql, char *error, size_t error_size)
{
    char words[PG_WORDS_CHARS] = "";
    pg_options_t options = {.url = url, .who = "taskwire script", .options = SCRIPT_OPTIONS};
    PGconn *conn = pg_connect_start(&options, words);
    bool is_done = false;
    if (conn != NULL) {
        PQsetNoticeReceiver(conn, ignore_notice, NULL);
        if (connect_wait(conn)) {
            PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
            is_done = run_script(conn, sql, words);
        } else if (PQstatus(conn) == CONNECTION_BAD) {
            (void)pg_connect_failure(conn, words);
        } else {
            pg_words(words, "the server does not answer");
        }
    }
    PQfinish(conn);
    if (error_size > 0)
        snprintf(error, error_size, "%s", words);
    return is_done;
}
