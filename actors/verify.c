/* SPDX-License-Identifier: Apache-2.0 */
/* Streams come from everywhere that one may be mentioned, for whoever removes one may forget a
 * place: the streams themselves, the log, the chain and the anchors. The database's are read in
 * order, page by page, and merged with the anchors', which are sorted alike. */
#include "actors/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/clock.h"
#include "schema/instant.h"

#define LIST_LIMIT_US (30 * US_PER_S)
#define CONNECT_US (10 * US_PER_S)
#define CONNECT_STEP_US (US_PER_S / 10)
#define TIMEOUT_US (30 * US_PER_S)
#define PAGE_STREAMS 1000
#define ERROR_CHARS 4400
#define SESSION_OPTIONS                                                                            \
    "-c default_transaction_read_only=on -c statement_timeout=30000 -c jit=off -c "                \
    "enable_seqscan=off"

/* Before all streams. A condition with OR would be no key of an index in a plan for any parameter.
 */
#define NIL "'00000000-0000-0000-0000-000000000000'"

/* The next streams of a table whose key begins with it, without looking at all of its rows. */
#define NEXT_OF(table)                                                                             \
    "(WITH RECURSIVE walk AS ((SELECT stream FROM " table                                          \
    " WHERE stream > coalesce($1::uuid, " NIL ") ORDER BY stream LIMIT 1) UNION ALL SELECT "       \
    "(SELECT t.stream FROM " table " t WHERE t.stream > walk.stream ORDER BY t.stream LIMIT 1) "   \
    "FROM walk WHERE walk.stream IS NOT NULL)"                                                     \
    " SELECT stream FROM walk WHERE stream IS NOT NULL LIMIT $2::bigint)"

static const pg_stmt_t select_streams = {
    "SELECT stream FROM ((SELECT id AS stream FROM stream WHERE id > coalesce($1::uuid, " NIL ") "
    "ORDER BY id"
    " LIMIT $2::bigint) UNION " NEXT_OF("event") " UNION " NEXT_OF(
        "audit") " UNION"
                 " (SELECT stream FROM audit_head WHERE stream > coalesce($1::uuid, " NIL ") "
                 "ORDER BY stream LIMIT $2::bigint)) s"
                 " ORDER BY stream LIMIT $2::bigint"};

static pg_t *connect_to(const config_t *config)
{
    const pg_options_t options = {.url = config->database_url,
                                  .who = "taskwire verify",
                                  .options = SESSION_OPTIONS,
                                  .reply_timeout_us = TIMEOUT_US};
    return pg_new(&options);
}

/* --- one list --- */

static bool is_wanted(void *arg)
{
    const verify_limit_t *limit = arg;
    return clock_now().mono_us < limit->deadline_mono_us &&
           (limit->is_cancelled == NULL || !atomic_load(limit->is_cancelled));
}

/* Keeps the first. */
static void on_bad_list_anchors(void *arg, const char *path, const char *error)
{
    char *why = arg;
    const char *name = strrchr(path, '/');
    if (why[0] == '\0')
        snprintf(why, VERIFY_WHY_CHARS, "a file of anchors is damaged: %.40s: %.80s",
                 name == NULL ? path : name + 1, error);
}

/* Waits in small steps, so that it can be told to give up. */
static bool await_connection(pg_t *pg, verify_limit_t *limit)
{
    while (is_wanted(limit)) {
        if (pg_await(pg, CONNECT_STEP_US))
            return true;
    }
    return false;
}

err_t verify_list(const config_t *config, const uuid_t *list, const atomic_bool *is_cancelled,
                  verify_report_t *out)
{
    verify_limit_t limit = {clock_now().mono_us + LIST_LIMIT_US, is_cancelled};
    char why[VERIFY_WHY_CHARS] = ""; /* a file that is not what it says is a finding too */
    const anchors_want_t want = {list, is_wanted, &limit};
    anchors_t *anchors = anchors_read_dir(config->data_dir, &want, on_bad_list_anchors, why);
    pg_t *pg = connect_to(config);
    err_t err = ERR_UNAVAILABLE;
    if (await_connection(pg, &limit))
        err = verify_stream(pg, anchors, list, &limit, out);
    if (err == ERR_OK && out->ok && why[0] != '\0') {
        out->ok = false;
        out->first_bad.rev = 0;
        memcpy(out->first_bad.why, why, sizeof why);
    }
    pg_destroy(&pg);
    anchors_destroy(&anchors);
    return err;
}

/* --- everything --- */

typedef struct {
    const config_t *config;
    const verify_ask_t *ask;
    pg_t *pg;
    anchors_t *anchors; /* NULL: none */
    size_t next_anchor; /* the first of the streams not checked yet */
    uuid_t page[PAGE_STREAMS];
    int n_page;
    char why[ERROR_CHARS]; /* the server's words, if it refused to answer */
    int64_t n_streams;
    int64_t n_bad;
    int64_t n_events;
    int64_t n_purged;
    int64_t n_not_yet;
    int64_t n_of_others; /* anchored heads of other epochs */
    bool has_bad_anchors;
} run_t;

static bool check_stream(run_t *self, const uuid_t *stream)
{
    verify_report_t report;
    char id[UUID_TEXT_CHARS];
    if (verify_stream(self->pg, self->anchors, stream, NULL, &report) != ERR_OK)
        return false;
    self->n_streams++;
    self->n_events += report.events;
    self->n_purged += report.purged;
    self->n_not_yet += report.not_yet;
    self->n_of_others += report.of_other_epochs;
    if (report.ok)
        return true;
    self->n_bad++;
    uuid_format(stream, id);
    printf("bad stream=%.*s rev=%lld: %s\n", UUID_TEXT_CHARS, id, (long long)report.first_bad.rev,
           report.first_bad.why);
    return true;
}

/* Checks the streams that only the anchors know, up to this one; all if it is NULL. */
static bool check_anchored_before(run_t *self, const uuid_t *stream)
{
    while (self->anchors != NULL && self->next_anchor < self->anchors->n_heads) {
        uuid_t next = self->anchors->heads[self->next_anchor].stream;
        int order = stream == NULL ? -1 : memcmp(next.bytes, stream->bytes, UUID_BYTES);
        if (order > 0)
            return true;
        if (order < 0 && !check_stream(self, &next))
            return false;
        while (self->next_anchor < self->anchors->n_heads &&
               uuid_eq(&self->anchors->heads[self->next_anchor].stream, &next))
            self->next_anchor++;
    }
    return true;
}

static void on_streams(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    run_t *self = arg;
    self->n_page = fate == PG_OK ? pg_rows(result) : 0;
    if (fate == PG_REJECTED)
        snprintf(self->why, sizeof self->why, "%s", pg_message(result));
    for (int row = 0; row < self->n_page && row < PAGE_STREAMS; row++)
        self->page[row] = pg_uuid(result, row, 0);
}

static bool read_page(run_t *self, const uuid_t *after)
{
    pg_params_t params = {0};
    pg_put_uuid(&params, after);
    pg_put_i64(&params, PAGE_STREAMS);
    pg_fate_t fate = pg_run(self->pg, &select_streams, &params, on_streams, self, TIMEOUT_US);
    pg_params_fini(&params);
    return fate == PG_OK;
}

static bool check_all(run_t *self)
{
    uuid_t after = UUID_NIL;
    do {
        if (!read_page(self, &after))
            return false;
        for (int i = 0; i < self->n_page; i++) {
            after = self->page[i];
            if (!check_anchored_before(self, &after) || !check_stream(self, &after))
                return false;
        }
    } while (self->n_page == PAGE_STREAMS);
    return check_anchored_before(self, NULL);
}

/* --- anchors --- */

static void compare_keys(const run_t *self)
{
    uint8_t own[ANCHOR_KEY_BYTES];
    if (*self->config->data_dir != '\0' && /* with --anchors it need not be set */
        anchor_read_public_key(self->config->data_dir, own) &&
        memcmp(own, self->anchors->public_key, sizeof own) != 0)
        printf("note: the key of the anchors is not the one in %s\n", self->config->data_dir);
}

static void on_bad_anchors(void *arg, const char *path, const char *error)
{
    run_t *self = arg;
    self->has_bad_anchors = true;
    printf("bad anchors: %s: %s\n", path, error);
}

/* The one file that was named, or all in DATA_DIR. */
static void read_anchors(run_t *self)
{
    const char *path = self->ask->anchors;
    char error[ERROR_CHARS];
    const char *dir = self->config->data_dir;
    if (path == NULL) {
        self->anchors = anchors_read_dir(dir, NULL, on_bad_anchors, self);
        if (self->anchors == NULL && !self->has_bad_anchors)
            printf("note: no anchors yet in %s\n", dir);
    } else {
        self->anchors = anchors_read(path, NULL, error, sizeof error);
        if (self->anchors == NULL)
            on_bad_anchors(self, path, error);
    }
    if (self->anchors != NULL && self->anchors->is_torn)
        printf("note: the last block of the anchors is unfinished\n");
    if (self->anchors != NULL && self->anchors->n_blocks > 0)
        compare_keys(self);
    if (self->anchors != NULL)
        self->anchors->left_epoch = self->ask->restored;
}

/* After a restore this is as it should be; else somebody put another history in place of this one.
 * Only who keeps the copy knows which. */
static bool is_replaced(const run_t *self)
{
    return self->ask->anchors != NULL && self->n_of_others > 0;
}

static void tell_other_epochs(const run_t *self)
{
    if (self->n_of_others == 0)
        return;
    printf("%s: %lld anchored heads are of another epoch and not of this history: the database was "
           "restored from an older backup, or its history was replaced\n",
           is_replaced(self) ? "bad" : "note", (long long)self->n_of_others);
    for (size_t i = 0; is_replaced(self) && i < self->anchors->n_epochs; i++)
        printf("note: if it was restored, say --restored %s\n", self->anchors->epochs[i]);
}

static bool is_fine(const run_t *self)
{
    return self->n_bad == 0 && !self->has_bad_anchors && !is_replaced(self);
}

static void print_summary(const run_t *self)
{
    tell_other_epochs(self);
    printf("%s: streams=%lld bad=%lld events=%lld purged=%lld not_yet_audited=%lld "
           "anchor_blocks=%zu\n",
           is_fine(self) ? "fine" : "NOT FINE", (long long)self->n_streams, (long long)self->n_bad,
           (long long)self->n_events, (long long)self->n_purged, (long long)self->n_not_yet,
           self->anchors == NULL ? (size_t)0 : self->anchors->n_blocks);
}

int verify_run(const config_t *config, const verify_ask_t *ask)
{
    run_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->config = config;
    self->ask = ask;
    self->pg = connect_to(config);
    int code = EX_UNAVAILABLE;
    if (pg_await_connection(self->pg, CONNECT_US)) {
        read_anchors(self);
        if (check_all(self)) {
            print_summary(self);
            code = is_fine(self) ? EX_OK : 1;
        }
    }
    if (pg_is_refused(self->pg))
        code = EX_CONFIG;
    if (code == EX_UNAVAILABLE || code == EX_CONFIG)
        fprintf(stderr, "taskwire: %s: the database cannot be asked: %s\n",
                config_key(config, "DATABASE_URL"),
                self->why[0] != '\0' ? self->why : pg_trouble(self->pg));
    fflush(stdout);
    pg_destroy(&self->pg);
    anchors_destroy(&self->anchors);
    free(self);
    return code;
}
