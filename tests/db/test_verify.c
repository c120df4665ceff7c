/* SPDX-License-Identifier: Apache-2.0 */
/* What a superuser may do to a history, and that it is found. Each test has a stream of its own. */
#include "tests/db/history.h"

#include <fcntl.h>

#include "actors/verify.h"

static int next_stream = 5000;

/* A new stream of so many events, all audited. */
static uuid_t audited_stream(int64_t n_events)
{
    uuid_t stream = h_stream(next_stream++);
    h_add(&stream, 1, n_events, 10);
    (void)h_audit(&stream, 1, n_events);
    return stream;
}

static verify_report_t verify_with(const uuid_t *stream, const anchors_t *anchors)
{
    verify_report_t report;
    assert_int_equal(verify_stream(pg, anchors, stream, NULL, &report), ERR_OK);
    return report;
}

static verify_report_t verify(const uuid_t *stream)
{
    return verify_with(stream, NULL);
}

static void assert_fine(const verify_report_t *report, int64_t events, int64_t head)
{
    if (!report->ok)
        fail_msg("rev %lld: %s", (long long)report->first_bad.rev, report->first_bad.why);
    assert_int_equal(report->events, events);
    assert_int_equal(report->head, head);
    assert_int_equal(report->not_yet, events - head);
}

static void assert_bad(const verify_report_t *report, int64_t rev, const char *words)
{
    assert_false(report->ok);
    if (report->first_bad.rev != rev || strstr(report->first_bad.why, words) == NULL)
        fail_msg("rev %lld: %s; wanted %lld: %s", (long long)report->first_bad.rev,
                 report->first_bad.why, (long long)rev, words);
}

static void assert_found(const uuid_t *stream, int64_t rev, const char *words)
{
    verify_report_t report = verify(stream);
    assert_bad(&report, rev, words);
}

/* --- what is fine --- */

static void an_untouched_stream_is_fine(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 5, 5);
    assert_int_equal(report.purged, 0);
}

static void a_stream_that_nobody_knows_is_fine_and_empty(void **state)
{
    (void)state;
    uuid_t stream = h_stream(next_stream++);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 0, 0);
}

static void long_streams_of_many_rows_and_large_bodies_are_read_in_pages(void **state)
{
    (void)state;
    uuid_t stream = h_stream(next_stream++);
    h_add(&stream, 1, 1203, 10);
    h_add(&stream, 1204, 1233, 240 * 1024);
    (void)h_audit(&stream, 1, 700);
    for (int64_t rev = 701; rev <= 1230; rev++) {
        if (rev % 1000 < 250)
            (void)h_audit(&stream, rev, rev);
    }
    (void)h_audit(&stream, 1230, 1233);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 1233, 1233);
    h_tamper("UPDATE event SET at = at + interval '1 us' WHERE stream = '%s' AND rev = 1231",
             h_text(&stream));
    assert_found(&stream, 1231, "columns");
}

static void purged_events_are_counted(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    script(database.url,
           "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE stream = '%s' AND "
           "rev IN (1, 4)",
           h_text(&stream));
    verify_report_t report = verify(&stream);
    assert_fine(&report, 5, 5);
    assert_int_equal(report.purged, 2);
    /* The header of a purged event still counts. */
    h_tamper("UPDATE event SET by = gen_random_uuid() WHERE stream = '%s' AND rev = 4",
             h_text(&stream));
    assert_found(&stream, 4, "chain");
}

static void events_that_are_not_audited_yet_are_counted_and_checked(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(3);
    h_add(&stream, 4, 6, 10);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 6, 3);
    h_tamper("UPDATE event SET type = 3 WHERE stream = '%s' AND rev = 5", h_text(&stream));
    assert_found(&stream, 5, "columns");
    h_tamper("UPDATE event SET type = 2 WHERE stream = '%s' AND rev = 5", h_text(&stream));
    h_tamper("UPDATE event SET body = overlay(body placing '\\x00' from 30) WHERE stream = '%s' "
             "AND rev = 4",
             h_text(&stream));
    assert_found(&stream, 4, "body");
}

/* A newer program's type: a number that we do not know beside a name that we do not know. */
static void events_of_a_newer_program_are_fine(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(1);
    static const char known[] = "task.updated";
    static const char newer[] = "task.upraded";
    event_t event = h_event(&stream, 2);
    buf_t body = {0};
    h_encode(&event, 10, &body);
    uint8_t *name = memmem(body.data, body.n_bytes, known, sizeof known - 1);
    assert_non_null(name);
    memcpy(name, newer, sizeof newer - 1);
    h_put_event(&event, buf_slice(&body), 30000);
    assert_true(pg_await(pg, LONG_US));
    h_set_head(&stream, 2);
    (void)h_audit(&stream, 2, 2);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 2, 2);
    h_tamper("UPDATE event SET type = 30001 WHERE stream = '%s' AND rev = 2", h_text(&stream));
    assert_found(&stream, 2, "chain");
    h_tamper("UPDATE event SET type = 3 WHERE stream = '%s' AND rev = 2", h_text(&stream));
    assert_found(&stream, 2, "columns");
    buf_fini(&body);
}

/* --- what was changed --- */

static void every_changed_column_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *change, *words;
    } cases[] = {
        {"id = 1000000000 + id", "chain"},
        {"shard = (shard + 1) % 64", "row"},
        {"type = 3", "columns"},
        {"type = 30000", "columns"},
        {"type = -1", "columns"},
        {"task = NULL", "columns"},
        {"task = gen_random_uuid()", "columns"},
        {"command = gen_random_uuid()", "columns"},
        {"by = gen_random_uuid()", "columns"},
        {"at = at - interval '1 us'", "columns"},
        {"epoch = 'fedcba9876543210'", "columns"},
        {"epoch = 'short'", "row"},
        {"digest = sha256(digest)", "body"},
        {"digest = '\\x00'", "row"},
        {"salt = decode(repeat('00', 16), 'hex')", "body"},
        {"salt = NULL", "body"},
        {"salt = '\\x00'", "body"},
        {"body = ''", "body"},
        {"body = overlay(body placing '\\x00' from octet_length(body))", "body"},
        {"body = body || '\\x00'", "body"},
    };
    uuid_t stream = audited_stream(5);
    h_tamper("CREATE TABLE kept AS SELECT * FROM event WHERE stream = '%s'", h_text(&stream));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h_tamper("UPDATE event SET %s WHERE stream = '%s' AND rev = 3", cases[i].change,
                 h_text(&stream));
        print_message("%s\n", cases[i].change);
        assert_found(&stream, 3, cases[i].words);
        h_tamper("DELETE FROM event WHERE stream = '%s'; INSERT INTO event SELECT * FROM kept",
                 h_text(&stream));
    }
    verify_report_t report = verify(&stream);
    assert_fine(&report, 5, 5);
    script(database.url, "DROP TABLE kept");
}

/* Gives the event another body with all that belongs to it, as the writer would have made it. */
static void rewrite_event(const uuid_t *stream, int64_t rev)
{
    event_t event = h_event(stream, rev);
    buf_t body = {0};
    event.by = h_stream(78);
    h_encode(&event, 20, &body);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev = %lld", h_text(stream),
             (long long)rev);
    h_put_event(&event, buf_slice(&body), (int16_t)event.type);
    assert_true(pg_await(pg, LONG_US));
    buf_fini(&body);
}

static void a_body_with_a_digest_of_its_own_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    rewrite_event(&stream, 3);
    assert_found(&stream, 3, "does not fit into the chain");
}

static void a_missing_event_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev = 1", h_text(&stream));
    assert_found(&stream, 1, "missing");
    stream = audited_stream(5);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev IN (3, 4)", h_text(&stream));
    assert_found(&stream, 3, "missing");
    verify_report_t report = verify(&stream);
    assert_int_equal(report.events, 3);
    stream = audited_stream(5);
    h_tamper("DELETE FROM event WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "missing");
}

static void events_that_move_up_over_a_missing_one_are_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev = 2", h_text(&stream));
    for (int rev = 3; rev <= 5; rev++)
        h_tamper("UPDATE event SET rev = rev - 1 WHERE stream = '%s' AND rev = %d", h_text(&stream),
                 rev);
    assert_found(&stream, 2, "columns");
}

static void a_shortened_stream_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev > 3", h_text(&stream));
    assert_found(&stream, 4, "missing");
    h_set_head(&stream, 3);
    assert_found(&stream, 4, "the chain goes beyond");
    h_tamper("DELETE FROM audit_head WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "the head of the chain is before");
    /* Not audited yet: only the stream's own head tells. */
    stream = audited_stream(3);
    h_add(&stream, 4, 5, 10);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev = 5", h_text(&stream));
    assert_found(&stream, 5, "shortened");
}

static void a_stream_whose_own_row_is_gone_or_behind_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_set_head(&stream, 4);
    assert_found(&stream, 5, "own head");
    script(database.url, "DELETE FROM stream WHERE id = '%s'", h_text(&stream));
    assert_found(&stream, 1, "own head");
}

static void events_in_another_order_are_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_tamper("UPDATE event SET rev = -1 WHERE stream = '%s' AND rev = 2;"
             "UPDATE event SET rev = 2 WHERE stream = '%s' AND rev = 3;"
             "UPDATE event SET rev = 3 WHERE stream = '%s' AND rev = -1",
             h_text(&stream), h_text(&stream), h_text(&stream));
    assert_found(&stream, 2, "columns");
    /* Purged ones have no body that would tell. */
    stream = audited_stream(5);
    script(database.url,
           "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE stream = '%s'",
           h_text(&stream));
    h_tamper("UPDATE event SET rev = -1 WHERE stream = '%s' AND rev = 2;"
             "UPDATE event SET rev = 2 WHERE stream = '%s' AND rev = 3;"
             "UPDATE event SET rev = 3 WHERE stream = '%s' AND rev = -1",
             h_text(&stream), h_text(&stream), h_text(&stream));
    assert_found(&stream, 2, "chain");
}

static void events_of_no_revision_are_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(2);
    h_tamper("INSERT INTO event SELECT nextval('event_id'), shard, stream, 0, type, task, command, "
             "by, false, at, epoch,"
             " digest, salt, fingerprint, body FROM event WHERE stream = '%s' AND rev = 1",
             h_text(&stream));
    assert_found(&stream, 0, "revision");
    stream = audited_stream(2);
    h_tamper("INSERT INTO event SELECT nextval('event_id'), shard, stream, 9223372036854775807, "
             "type, task, command, by,"
             " false, at, epoch, digest, salt, fingerprint, body FROM event WHERE stream = '%s' "
             "AND rev = 1;"
             "UPDATE audit_head SET rev = 9223372036854775807 WHERE stream = '%s'",
             h_text(&stream), h_text(&stream));
    assert_found(&stream, 3, "");
    h_tamper("UPDATE audit_head SET rev = -9223372036854775808 WHERE stream = '%s'",
             h_text(&stream));
    assert_found(&stream, 1, "");
}

static void a_changed_chain_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    h_tamper("UPDATE audit SET links = set_byte(links, 64 + 7, 255 - get_byte(links, 64 + 7)) "
             "WHERE stream = '%s'",
             h_text(&stream));
    assert_found(&stream, 3, "chain");
    stream = audited_stream(5);
    h_tamper("UPDATE audit SET links = substr(links, 1, 32 * 4) WHERE stream = '%s'",
             h_text(&stream));
    assert_found(&stream, 1, "row");
    stream = audited_stream(5);
    h_tamper("UPDATE audit SET first_rev = 2 WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "row");
    stream = audited_stream(5);
    h_tamper("DELETE FROM audit WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "row is missing");
}

static void a_missing_row_of_the_chain_is_found(void **state)
{
    (void)state;
    for (int64_t gone = 1; gone <= 3; gone++) {
        uuid_t stream = h_stream(next_stream++);
        h_add(&stream, 1, 6, 10);
        for (int64_t rev = 2; rev <= 6; rev += 2)
            (void)h_audit(&stream, rev - 1, rev);
        h_tamper("DELETE FROM audit WHERE stream = '%s' AND last_rev = %lld", h_text(&stream),
                 (long long)gone * 2);
        assert_found(&stream, gone * 2 - 1, "row is missing");
    }
}

static void a_changed_head_of_the_chain_is_found(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    script(database.url, "UPDATE audit_head SET hash = sha256(hash) WHERE stream = '%s'",
           h_text(&stream));
    assert_found(&stream, 5, "another hash");
    script(database.url, "UPDATE audit_head SET rev = 4 WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 4, "another hash");
    script(database.url, "UPDATE audit_head SET rev = 7 WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 6, "missing");
    script(database.url, "UPDATE audit_head SET rev = 0 WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "head");
    script(database.url, "DELETE FROM audit_head WHERE stream = '%s'", h_text(&stream));
    assert_found(&stream, 1, "head of the chain is before");
}

/* --- anchors --- */

static const pg_stmt_t select_heads = {"SELECT stream, rev, hash FROM audit_head"};

typedef struct {
    anchor_t *anchor;
    size_t n;
} anchoring_t;

static void anchor_rows(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    anchoring_t *self = arg;
    char error[300];
    assert_int_equal(fate, PG_OK);
    self->n = (size_t)pg_rows(result);
    anchor_head_t *heads = calloc(self->n + 1, sizeof *heads);
    for (size_t i = 0; i < self->n; i++) {
        heads[i].stream = pg_uuid(result, (int)i, 0);
        heads[i].rev = pg_int(result, (int)i, 1);
        memcpy(heads[i].link.bytes, pg_bytes(result, (int)i, 2).data, LINK_BYTES);
    }
    const anchor_block_t block = {
        .heads = heads, .n_heads = self->n, .epoch = H_EPOCH, .at_us = H_START_US};
    if (!anchor_append(self->anchor, &block, error, sizeof error))
        fail_msg("%s", error);
    free(heads);
}

/* Appends a block of all heads to DATA_DIR/anchors. */
static void anchor_all(void)
{
    char error[300];
    anchoring_t anchoring = {.anchor = anchor_open(data_dir, error, sizeof error)};
    if (anchoring.anchor == NULL)
        fail_msg("%s", error);
    assert_int_equal(pg_run(pg, &select_heads, NULL, anchor_rows, &anchoring, LONG_US), PG_OK);
    anchor_close(&anchoring.anchor);
}

static const char *path_of(const char *name)
{
    static char paths[4][120];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", data_dir, name);
    return path;
}

static anchors_t *read_anchors(const char *name)
{
    char error[300];
    anchors_t *anchors = anchors_read(path_of(name), NULL, error, sizeof error);
    if (anchors == NULL)
        fail_msg("%s", error);
    return anchors;
}

/* What only an owner of the database and of the chain's secrets could do: there are none, so
 * anybody who owns it. */
static void rechain(const uuid_t *stream, int64_t n_events)
{
    h_tamper("DELETE FROM audit WHERE stream = '%s'; DELETE FROM audit_head WHERE stream = '%s'",
             h_text(stream), h_text(stream));
    if (n_events > 0)
        (void)h_audit(stream, 1, n_events);
}

static void a_history_rewritten_with_its_chain_is_found_by_the_anchors(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(3);
    anchor_all();
    h_add(&stream, 4, 5, 10);
    (void)h_audit(&stream, 4, 5);
    anchor_all();
    anchors_t *anchors = read_anchors("anchors");
    verify_report_t report = verify_with(&stream, anchors);
    assert_fine(&report, 5, 5);
    rewrite_event(&stream, 2);
    rechain(&stream, 5);
    report = verify(&stream);
    assert_fine(&report, 5, 5); /* nobody could tell by the database alone */
    report = verify_with(&stream, anchors);
    assert_bad(&report, 3, "anchored");
    anchors_destroy(&anchors);
}

static void a_stream_shortened_with_its_chain_is_found_by_the_anchors(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(5);
    anchor_all();
    anchors_t *anchors = read_anchors("anchors");
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev > 3", h_text(&stream));
    h_set_head(&stream, 3);
    rechain(&stream, 3);
    verify_report_t report = verify(&stream);
    assert_fine(&report, 3, 3);
    report = verify_with(&stream, anchors);
    assert_bad(&report, 4, "a later one was anchored");
    /* Put other events in their place, not audited yet. */
    h_add(&stream, 4, 5, 10);
    report = verify_with(&stream, anchors);
    assert_bad(&report, 4, "the chain was shortened");
    h_tamper("DELETE FROM event WHERE stream = '%s'; DELETE FROM stream WHERE id = '%s'",
             h_text(&stream), h_text(&stream));
    rechain(&stream, 0);
    report = verify_with(&stream, anchors);
    assert_bad(&report, 1, "a later one was anchored");
    anchors_destroy(&anchors);
}

static void set_epoch(const char *epoch)
{
    char sql[100];
    h_epoch = epoch;
    snprintf(sql, sizeof sql, "UPDATE log_epoch SET epoch = '%s'", epoch);
    script(database.url, "%s", sql);
}

/* A backup of revision 3 comes back under another epoch, after revision 5 was anchored. */
static void what_was_anchored_behind_a_backup_is_of_another_epoch(void **state)
{
    (void)state;
    uuid_t stream = audited_stream(3);
    anchor_all();
    h_add(&stream, 4, 5, 10);
    (void)h_audit(&stream, 4, 5);
    anchor_all();
    anchors_t *anchors = read_anchors("anchors");
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev > 3", h_text(&stream));
    h_set_head(&stream, 3);
    rechain(&stream, 3);
    verify_report_t report = verify_with(&stream, anchors);
    assert_bad(&report, 4, "a later one was anchored");
    set_epoch("fedcba9876543210");
    report = verify_with(&stream, anchors);
    assert_fine(&report, 3, 3);
    assert_int_equal(report.of_other_epochs, 1);
    /* It goes on another way; what was before the backup is still vouched for. */
    h_add(&stream, 4, 6, 30);
    h_tamper("UPDATE event SET epoch = 'fedcba9876543210' WHERE stream = '%s' AND rev > 3",
             h_text(&stream));
    h_tamper("UPDATE event SET body = NULL, salt = NULL WHERE stream = '%s' AND rev > 3",
             h_text(&stream));
    rechain(&stream, 6);
    report = verify_with(&stream, anchors);
    assert_fine(&report, 6, 6);
    assert_int_equal(report.of_other_epochs, 1);
    rewrite_event(&stream, 2);
    rechain(&stream, 6);
    report = verify_with(&stream, anchors);
    assert_bad(&report, 3, "anchored");
    set_epoch(H_EPOCH);
    anchors_destroy(&anchors);
}

/* --- one list, and everything --- */

static config_t config_here(void)
{
    return (config_t){.database_url = database.url, .data_dir = data_dir};
}

static void a_list_is_checked_with_the_anchors_in_the_directory(void **state)
{
    (void)state;
    config_t config = config_here();
    uuid_t stream = audited_stream(4);
    verify_report_t report;
    assert_int_equal(verify_list(&config, &stream, NULL, &report), ERR_OK);
    assert_fine(&report, 4, 4);
    anchor_all();
    assert_int_equal(verify_list(&config, &stream, NULL, &report), ERR_OK);
    assert_fine(&report, 4, 4);
    rewrite_event(&stream, 2);
    rechain(&stream, 4);
    assert_int_equal(verify_list(&config, &stream, NULL, &report), ERR_OK);
    assert_bad(&report, 4, "anchored");
}

static void damaged_anchors_are_told(void **state)
{
    (void)state;
    config_t config = config_here();
    uuid_t stream = audited_stream(4);
    verify_report_t report;
    anchor_all();
    int fd = open(path_of("anchors"), O_RDWR);
    assert_int_equal(pwrite(fd, "0000", 4, 300), 4);
    close(fd);
    assert_int_equal(verify_list(&config, &stream, NULL, &report), ERR_OK);
    assert_bad(&report, 0, "anchors");
    assert_int_equal(report.events, 4);
}

static void a_check_that_takes_too_long_or_is_not_wanted_ends(void **state)
{
    (void)state;
    config_t config = config_here();
    uuid_t stream = audited_stream(2);
    verify_report_t report;
    const verify_limit_t limit = {clock_now().mono_us - 1, NULL};
    assert_int_equal(verify_stream(pg, NULL, &stream, &limit, &report), ERR_UNAVAILABLE);
    atomic_bool is_cancelled = true;
    const verify_limit_t unwanted = {clock_now().mono_us + LONG_US, &is_cancelled};
    assert_int_equal(verify_stream(pg, NULL, &stream, &unwanted, &report), ERR_UNAVAILABLE);
    assert_int_equal(verify_list(&config, &stream, &is_cancelled, &report), ERR_UNAVAILABLE);
}

/* Runs the command and keeps what it prints. */
static int run_asking(const verify_ask_t *ask, char *out, size_t out_size)
{
    config_t config = config_here();
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    int fd = open(path_of("printed"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(before >= 0 && fd >= 0);
    dup2(fd, STDOUT_FILENO);
    int code = verify_run(&config, ask);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    ssize_t n = pread(fd, out, out_size - 1, 0);
    close(fd);
    out[n < 0 ? 0 : n] = '\0';
    return code;
}

static int run(const char *anchors, char *out, size_t out_size)
{
    return run_asking(&(verify_ask_t){.anchors = anchors}, out, out_size);
}

/* The streams of the tests before are not to be seen. */
static int fresh(void **state)
{
    (void)state;
    h_empty_dir();
    h_tamper("TRUNCATE event, audit; TRUNCATE audit_head, stream");
    return 0;
}

static void copy_file(const char *from, const char *to)
{
    char command[400];
    snprintf(command, sizeof command, "cp %s %s", path_of(from), path_of(to));
    assert_int_equal(system(command), 0);
}

static void all_streams_are_checked_and_the_bad_ones_named(void **state)
{
    (void)state;
    char out[4000], wanted[200];
    uuid_t good = audited_stream(3), bad = audited_stream(4);
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "note: no anchors yet"));
    assert_non_null(
        strstr(out, "fine: streams=2 bad=0 events=7 purged=0 not_yet_audited=0 anchor_blocks=0"));
    anchor_all();
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "anchor_blocks=1"));
    h_tamper("UPDATE event SET digest = sha256(digest) WHERE stream = '%s' AND rev = 2",
             h_text(&bad));
    assert_int_equal(run(NULL, out, sizeof out), 1);
    snprintf(wanted, sizeof wanted, "bad stream=%s rev=2: ", h_text(&bad));
    assert_non_null(strstr(out, wanted));
    assert_null(strstr(out, h_text(&good)));
    assert_non_null(strstr(out, "NOT FINE: streams=2 bad=1 events=7"));
}

static void streams_are_found_wherever_they_are_still_mentioned(void **state)
{
    (void)state;
    char out[4000], wanted[200];
    uuid_t streams[5];
    for (int i = 0; i < 5; i++)
        streams[i] = audited_stream(2);
    h_tamper("DELETE FROM audit_head WHERE stream <> '%s'; DELETE FROM audit WHERE stream <> '%s'",
             h_text(&streams[0]), h_text(&streams[1]));
    h_tamper("DELETE FROM event WHERE stream <> '%s'; DELETE FROM stream WHERE id <> '%s'",
             h_text(&streams[2]), h_text(&streams[3]));
    assert_int_equal(run(NULL, out, sizeof out), 1);
    for (int i = 0; i < 4; i++) {
        snprintf(wanted, sizeof wanted, "bad stream=%s rev=1: ", h_text(&streams[i]));
        assert_non_null(strstr(out, wanted));
    }
    assert_non_null(strstr(out, "streams=4 bad=4"));
}

static void streams_that_only_the_anchors_know_are_named(void **state)
{
    (void)state;
    char out[4000], wanted[200];
    uuid_t streams[3];
    for (int i = 0; i < 3; i++)
        streams[i] = audited_stream(2);
    anchor_all();
    copy_file("anchors", "copy");
    h_tamper("DELETE FROM event WHERE stream <> '%s'; DELETE FROM stream WHERE id <> '%s'",
             h_text(&streams[1]), h_text(&streams[1]));
    h_tamper("DELETE FROM audit WHERE stream <> '%s'; DELETE FROM audit_head WHERE stream <> '%s'",
             h_text(&streams[1]), h_text(&streams[1]));
    assert_int_equal(run(NULL, out, sizeof out), 1);
    for (int i = 0; i < 3; i++) {
        snprintf(wanted, sizeof wanted, "bad stream=%s rev=1: ", h_text(&streams[i]));
        assert_int_equal(strstr(out, wanted) != NULL, i != 1);
    }
}

/* The owner of the database and of the directory rewrites everything, anchors included; a copy
 * tells. */
static void a_copy_of_the_anchors_finds_what_the_file_itself_no_longer_tells(void **state)
{
    (void)state;
    char out[4000], wanted[200];
    uuid_t stream = audited_stream(4);
    anchor_all();
    copy_file("anchors", "copy");
    rewrite_event(&stream, 3);
    rechain(&stream, 4);
    unlink(path_of("anchors"));
    unlink(path_of("anchor.key"));
    unlink(path_of("anchor.pub"));
    anchor_all();
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_int_equal(run(path_of("copy"), out, sizeof out), 1);
    assert_non_null(strstr(out, "note: the key of the anchors is not the one in"));
    snprintf(wanted, sizeof wanted, "bad stream=%s rev=4: the history", h_text(&stream));
    assert_non_null(strstr(out, wanted));
}

static void wrong_anchors_are_told_and_the_rest_is_checked(void **state)
{
    (void)state;
    char out[4000];
    (void)audited_stream(3);
    anchor_all();
    copy_file("anchors", "copy");
    assert_int_equal(run(path_of("absent"), out, sizeof out), 1);
    assert_non_null(strstr(out, "bad anchors: "));
    assert_non_null(strstr(out, "NOT FINE: streams=1 bad=0 events=3"));
    int fd = open(path_of("copy"), O_RDWR | O_APPEND);
    assert_int_equal(write(fd, "block 20", 8), 8);
    close(fd);
    assert_int_equal(run(path_of("copy"), out, sizeof out), 0);
    assert_non_null(strstr(out, "note: the last block of the anchors is unfinished"));
    fd = open(path_of("copy"), O_RDWR | O_APPEND);
    assert_int_equal(write(fd, "\nnonsense\n", 10), 10);
    close(fd);
    assert_int_equal(run(path_of("copy"), out, sizeof out), 1);
    assert_non_null(strstr(out, "block 2"));
}

static void files_beside_the_anchors_are_checked_too(void **state)
{
    (void)state;
    char out[4000];
    uuid_t stream = audited_stream(4);
    anchor_all();
    assert_int_equal(rename(path_of("anchors"), path_of("anchors.1")), 0);
    anchor_all();
    copy_file("anchors", "anchors.2026-damaged");
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "anchor_blocks=3"));
    assert_int_equal(truncate(path_of("anchors"), 0), 0);
    unlink(path_of("anchors.2026-damaged"));
    rewrite_event(&stream, 2);
    rechain(&stream, 4);
    assert_int_equal(run(NULL, out, sizeof out), 1); /* only the former file knew */
    assert_non_null(strstr(out, "rev=4: the history up to this event"));
    int fd = open(path_of("anchors.1"), O_RDWR);
    assert_int_equal(pwrite(fd, "XX", 2, 200), 2);
    close(fd);
    assert_int_equal(run(NULL, out, sizeof out), 1);
    assert_non_null(strstr(out, "anchors.1: line 3: block 1 has a line that is none"));
}

static void heads_of_another_epoch_are_noted(void **state)
{
    (void)state;
    char out[4000];
    uuid_t stream = audited_stream(5);
    anchor_all();
    copy_file("anchors", "copy");
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev > 3", h_text(&stream));
    h_set_head(&stream, 3);
    rechain(&stream, 3);
    set_epoch("fedcba9876543210");
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "note: 1 anchored heads are of another epoch"));
    /* A copy is kept against those who replace a history. */
    assert_int_equal(run(path_of("copy"), out, sizeof out), 1);
    assert_non_null(strstr(out, "bad: 1 anchored heads are of another epoch"));
    assert_non_null(strstr(out, "say --restored " H_EPOCH));
    verify_ask_t ask = {path_of("copy"), "short"};
    assert_int_equal(run_asking(&ask, out, sizeof out), 1);
    ask = (verify_ask_t){path_of("copy"), H_EPOCH};
    assert_int_equal(run_asking(&ask, out, sizeof out), 0);
    set_epoch(H_EPOCH);
    assert_int_equal(run(NULL, out, sizeof out), 1);
    assert_non_null(strstr(out, "shortened"));
}

static void more_streams_than_a_page_are_all_checked(void **state)
{
    (void)state;
    char out[4000];
    script(database.url, "INSERT INTO stream SELECT md5(i::text)::uuid, 0, false, 0, '', 0 FROM "
                         "generate_series(1, 2500) i");
    uuid_t stream = audited_stream(3);
    (void)stream;
    assert_int_equal(run(NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "streams=2501 "));
}

static void without_a_database_nothing_is_claimed(void **state)
{
    (void)state;
    char out[400];
    database_t before = database;
    snprintf(database.url, sizeof database.url, "host=/nonexistent connect_timeout=1");
    int code = run(NULL, out, sizeof out);
    database = before;
    assert_int_equal(code, 69);
    assert_string_equal(out, "");
}

static int begin(void **state)
{
    (void)state;
    h_begin("verify");
    return 0;
}

static int end(void **state)
{
    (void)state;
    h_end();
    return 0;
}

#define FRESH(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_stream_is_fine),
        cmocka_unit_test(a_stream_that_nobody_knows_is_fine_and_empty),
        cmocka_unit_test(long_streams_of_many_rows_and_large_bodies_are_read_in_pages),
        cmocka_unit_test(purged_events_are_counted),
        cmocka_unit_test(events_that_are_not_audited_yet_are_counted_and_checked),
        cmocka_unit_test(events_of_a_newer_program_are_fine),
        cmocka_unit_test(every_changed_column_is_found),
        cmocka_unit_test(a_body_with_a_digest_of_its_own_is_found),
        cmocka_unit_test(a_missing_event_is_found),
        cmocka_unit_test(events_that_move_up_over_a_missing_one_are_found),
        cmocka_unit_test(a_shortened_stream_is_found),
        cmocka_unit_test(a_stream_whose_own_row_is_gone_or_behind_is_found),
        cmocka_unit_test(events_in_another_order_are_found),
        cmocka_unit_test(events_of_no_revision_are_found),
        cmocka_unit_test(a_changed_chain_is_found),
        cmocka_unit_test(a_missing_row_of_the_chain_is_found),
        cmocka_unit_test(a_changed_head_of_the_chain_is_found),
        FRESH(a_history_rewritten_with_its_chain_is_found_by_the_anchors),
        FRESH(a_stream_shortened_with_its_chain_is_found_by_the_anchors),
        FRESH(what_was_anchored_behind_a_backup_is_of_another_epoch),
        FRESH(a_list_is_checked_with_the_anchors_in_the_directory),
        FRESH(damaged_anchors_are_told),
        cmocka_unit_test(a_check_that_takes_too_long_or_is_not_wanted_ends),
        FRESH(all_streams_are_checked_and_the_bad_ones_named),
        FRESH(streams_are_found_wherever_they_are_still_mentioned),
        FRESH(streams_that_only_the_anchors_know_are_named),
        FRESH(a_copy_of_the_anchors_finds_what_the_file_itself_no_longer_tells),
        FRESH(wrong_anchors_are_told_and_the_rest_is_checked),
        FRESH(files_beside_the_anchors_are_checked_too),
        FRESH(heads_of_another_epoch_are_noted),
        FRESH(more_streams_than_a_page_are_all_checked),
        FRESH(without_a_database_nothing_is_claimed),
    };
    log_configure(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, begin, end);
}
