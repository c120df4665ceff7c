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
#define PATH_CHARS 4096
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

static void anchors_path_of(const config_t *config, char out[PATH_CHARS])
{
    snprintf(out, PATH_CHARS, "%s/anchors", config->data_dir);
}

/* --- one list --- */

static bool is_wanted(void *arg)
{
    const verify_limit_t *limit = arg;
    return clock_now().mono_us < limit->deadline_mono_us &&
           (limit->is_cancelled == NULL || !atomic_load(limit->is_cancelled));
}

/* What DATA_DIR/anchors says of the list; NULL, and `why` is empty, if there is no such file. A
 * file that is not what it says is a finding too. */
static anchors_t *load_anchors(const config_t *config, const uuid_t *list, verify_limit_t *limit,
                               char why[VERIFY_WHY_CHARS])
{
    char path[PATH_CHARS];
    char error[ERROR_CHARS];
    const anchors_want_t want = {list, is_wanted, limit};
    anchors_path_of(config, path);
    why[0] = '\0';
    if (access(path, R_OK) != 0)
        return NULL;
    anchors_t *anchors = anchors_read(path, &want, error, sizeof error);
    if (anchors == NULL)
        snprintf(why, VERIFY_WHY_CHARS, "the file of anchors is damaged: %.100s", error);
    return anchors;
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
    char why[VERIFY_WHY_CHARS];
    anchors_t *anchors = load_anchors(config, list, &limit, why);
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

/* False: they are not what they say. */
static bool read_anchors(run_t *self, const char *path)
{
    char own_path[PATH_CHARS];
    char error[ERROR_CHARS];
    anchors_path_of(self->config, own_path);
    if (path == NULL && access(own_path, F_OK) != 0 && errno == ENOENT) {
        printf("note: no anchors yet in %s\n", self->config->data_dir);
        return true;
    }
    self->anchors = anchors_read(path == NULL ? own_path : path, NULL, error, sizeof error);
    if (self->anchors == NULL) {
        printf("bad anchors: %s: %s\n", path == NULL ? own_path : path, error);
        return false;
    }
    if (self->anchors->is_torn)
        printf("note: the last block of the anchors is unfinished\n");
    if (self->anchors->n_blocks > 0)
        compare_keys(self);
    return true;
}

static void print_summary(const run_t *self, bool has_right_anchors)
{
    bool is_fine = self->n_bad == 0 && has_right_anchors;
    printf("%s: streams=%lld bad=%lld events=%lld purged=%lld not_yet_audited=%lld "
           "anchor_blocks=%zu\n",
           is_fine ? "fine" : "NOT FINE", (long long)self->n_streams, (long long)self->n_bad,
           (long long)self->n_events, (long long)self->n_purged, (long long)self->n_not_yet,
           self->anchors == NULL ? (size_t)0 : self->anchors->n_blocks);
}

int verify_run(const config_t *config, const char *anchors_path)
{
    run_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->config = config;
    self->pg = connect_to(config);
    int code = EX_UNAVAILABLE;
    if (pg_await_connection(self->pg, CONNECT_US)) {
        bool has_right_anchors = read_anchors(self, anchors_path);
        if (check_all(self)) {
            print_summary(self, has_right_anchors);
            code = self->n_bad == 0 && has_right_anchors ? EX_OK : 1;
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
