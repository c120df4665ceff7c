/* SPDX-License-Identifier: Apache-2.0 */
/* The chain as batches make it, and the audit actor with a clock of the tests' own and a relay that
 * only listens. */
#include "tests/db/history.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "actors/audit.h"
#include "actors/chain.h"

static int next_stream = 1000;

/* A stream that no other test has. */
static uuid_t new_stream(void)
{
    return h_stream(next_stream++);
}

/* --- what the chain must be --- */

typedef struct {
    chain_link_t link;
    int64_t rev;
    buf_t links;
} expected_t;

static void expect_event(void *arg, const log_event_t *event)
{
    expected_t *self = arg;
    assert_true(event->rev == self->rev + 1);
    self->rev++;
    self->link = chain_link(&self->link, event);
    buf_append(&self->links, self->link.bytes, LINK_BYTES);
}

typedef struct {
    int64_t rev;
    buf_t links;
    buf_t hash;
} found_t;

static void on_row(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    found_t *self = arg;
    assert_int_equal(fate, PG_OK);
    for (int row = 0; row < pg_rows(result); row++) {
        assert_true(pg_int(result, row, 0) == self->rev + 1);
        self->rev = pg_int(result, row, 1);
        buf_append_slice(&self->links, pg_bytes(result, row, 2));
    }
}

static void on_head_row(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    found_t *self = arg;
    assert_int_equal(fate, PG_OK);
    assert_int_equal(pg_rows(result), 1);
    assert_true(pg_int(result, 0, 0) == self->rev);
    buf_append_slice(&self->hash, pg_bytes(result, 0, 1));
}

/* The stream's chain is whole up to `rev`, with the links that its events have. */
static void assert_chain(const uuid_t *stream, int64_t rev)
{
    static const pg_stmt_t rows = {
        "SELECT first_rev, last_rev, links FROM audit WHERE stream = $1::uuid ORDER BY last_rev"};
    static const pg_stmt_t head = {"SELECT rev, hash FROM audit_head WHERE stream = $1::uuid"};
    expected_t expected = {.link = LINK_GENESIS};
    found_t found = {0};
    const eventlog_reader_t reader = {expect_event, h_on_end, &expected};
    while (expected.rev < rev) {
        int64_t limit = rev - expected.rev > 5000 ? 5000 : rev - expected.rev;
        assert_int_equal(eventlog_read_stream(pg, stream, expected.rev, (int)limit, &reader),
                         ERR_OK);
        assert_true(pg_await(pg, LONG_US));
    }
    pg_params_t params = {0};
    pg_put_uuid(&params, stream);
    assert_int_equal(pg_run(pg, &rows, &params, on_row, &found, LONG_US), PG_OK);
    assert_int_equal(pg_run(pg, &head, &params, on_head_row, &found, LONG_US), PG_OK);
    pg_params_fini(&params);
    assert_int_equal(found.rev, rev);
    assert_true(slice_eq(buf_slice(&found.links), buf_slice(&expected.links)));
    assert_true(slice_eq(buf_slice(&found.hash), slice_of(expected.link.bytes, LINK_BYTES)));
    buf_fini(&expected.links);
    buf_fini(&found.links);
    buf_fini(&found.hash);
}

static int64_t n_rows_of(const uuid_t *stream)
{
    return h_number("SELECT count(*) FROM audit WHERE stream = '%s'", h_text(stream));
}

/* --- batches --- */

static void a_batch_becomes_one_row_per_stream(void **state)
{
    (void)state;
    uuid_t one = new_stream(), other = new_stream();
    batch_t batch = {0};
    h_add(&one, 1, 5, 10);
    h_add(&other, 1, 3, 10);
    h_put_batch(&batch, &one, 1, 2);
    h_put_batch(&batch, &other, 1, 3);
    h_put_batch(&batch, &one, 3, 5);
    audit_batch_result_t result = h_audit_batch(&batch);
    assert_int_equal(result.n_events, 8);
    assert_int_equal(result.n_retries, 0);
    assert_chain(&one, 5);
    assert_chain(&other, 3);
    assert_int_equal(n_rows_of(&one), 1);
}

static void later_batches_go_on_where_the_chain_ends(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 9, 10);
    assert_int_equal(h_audit(&stream, 1, 4).n_events, 4);
    assert_int_equal(h_audit(&stream, 5, 5).n_events, 1);
    assert_int_equal(h_audit(&stream, 6, 9).n_events, 4);
    assert_chain(&stream, 9);
    assert_int_equal(n_rows_of(&stream), 3);
}

static void a_replay_adds_nothing(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 6, 10);
    (void)h_audit(&stream, 1, 4);
    assert_int_equal(h_audit(&stream, 1, 4).n_events, 0);
    assert_int_equal(h_audit(&stream, 2, 3).n_events, 0);
    assert_int_equal(h_audit(&stream, 1, 6).n_events, 2);
    assert_chain(&stream, 6);
    assert_int_equal(n_rows_of(&stream), 2);
}

static void a_gap_before_a_batch_is_filled_from_the_log(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 2300, 10);
    assert_int_equal(h_audit(&stream, 2, 3).n_events, 3);
    assert_int_equal(h_audit(&stream, 2299, 2300).n_events, 2297);
    assert_chain(&stream, 2300);
}

/* More than one statement holds: it is done in several, and memory stays bounded. */
static void a_very_long_gap_is_filled_in_several_rows(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    script(database.url,
           "INSERT INTO event (shard, stream, rev, type, command, by, is_answer, at, epoch, digest)"
           " SELECT %u, '%s', i, 2, gen_random_uuid(), gen_random_uuid(), false, now(), '" H_EPOCH
           "',"
           " sha256(i::text::bytea) FROM generate_series(1, 70000) i",
           shard_of(&stream), h_text(&stream));
    assert_int_equal(h_audit(&stream, 70000, 70000).n_events, 70000);
    assert_chain(&stream, 70000);
    assert_int_equal(n_rows_of(&stream), 2);
}

static void purged_events_and_those_of_a_newer_program_are_linked_too(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 4, 10);
    h_tamper("UPDATE event SET type = 30000, task = NULL WHERE stream = '%s' AND rev = 2",
             h_text(&stream));
    script(database.url,
           "UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE stream = '%s' AND "
           "rev = 3",
           h_text(&stream));
    assert_int_equal(h_audit(&stream, 1, 4).n_events, 4);
    assert_chain(&stream, 4);
}

static void a_row_that_nobody_of_us_made_holds_nobody_up(void **state)
{
    (void)state;
    uuid_t one = new_stream(), other = new_stream();
    batch_t batch = {0};
    h_add(&one, 1, 3, 10);
    h_add(&other, 1, 3, 10);
    script(database.url,
           "INSERT INTO audit (stream, first_rev, last_rev, links) VALUES ('%s', 1, 3, 'x')",
           h_text(&one));
    h_put_batch(&batch, &one, 1, 3);
    h_put_batch(&batch, &other, 1, 3);
    assert_int_equal(h_audit_batch(&batch).n_events, 3);
    assert_chain(&other, 3);
}

/* --- somebody else at the same time --- */

/* Runs a batch in a thread of its own, on a connection of its own. */
typedef struct {
    h_worker_t worker;
    slice_t *batches;
    size_t n_batches;
    err_t err;
    size_t n_events;
    size_t n_retries;
    pthread_t thread;
} racer_t;

static void *race(void *arg)
{
    racer_t *self = arg;
    for (size_t i = 0; i < self->n_batches; i++) {
        self->err = h_store(&self->worker, self->batches[i]);
        self->n_events += self->worker.result.n_events;
        self->n_retries += self->worker.result.n_retries;
        if (self->err != ERR_OK && self->n_batches > 1)
            i--; /* as the intray does */
    }
    return NULL;
}

static void start_racer(racer_t *self, slice_t *batches, size_t n_batches)
{
    const pg_options_t options = {
        .url = database.url, .who = "racer", .options = "-c enable_seqscan=off"};
    *self = (racer_t){.batches = batches, .n_batches = n_batches};
    self->worker.pg = pg_new(&options);
    assert_true(pg_await(self->worker.pg, LONG_US));
    self->worker.intray = intray_new(&lone_network, ADDRESS_AUDIT);
    assert_int_equal(pthread_create(&self->thread, NULL, race, self), 0);
}

static void join_racer(racer_t *self)
{
    pthread_join(self->thread, NULL);
    intray_destroy(&self->worker.intray);
    pg_destroy(&self->worker.pg);
}

static void of_several_workers_on_the_same_streams_each_event_is_added_by_one(void **state)
{
    (void)state;
    enum { STREAMS = 8, REVS = 60, STEP = 3, BATCHES = REVS / STEP, RACERS = 3 };
    uuid_t streams[STREAMS];
    message_t messages[BATCHES];
    slice_t batches[BATCHES];
    racer_t racers[RACERS];
    size_t n_events = 0, n_retries = 0;
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = new_stream();
        h_add(&streams[i], 1, REVS, 10);
    }
    for (int n = 0; n < BATCHES; n++) {
        batch_t batch = {0};
        for (int i = 0; i < STREAMS; i++)
            h_put_batch(&batch, &streams[(i * 5 + n) % STREAMS], n * STEP + 1, n * STEP + STEP);
        batch_finish(&batch, &messages[n]);
        batches[n] = message_bytes(&messages[n]);
    }
    for (int i = 0; i < RACERS; i++)
        start_racer(&racers[i], batches, BATCHES);
    for (int i = 0; i < RACERS; i++) {
        join_racer(&racers[i]);
        assert_int_equal(racers[i].err, ERR_OK);
        n_events += racers[i].n_events;
        n_retries += racers[i].n_retries;
    }
    print_message("%zu events, %zu retries\n", n_events, n_retries);
    assert_int_equal(n_events, STREAMS * REVS);
    for (int i = 0; i < STREAMS; i++)
        assert_chain(&streams[i], REVS);
    for (int n = 0; n < BATCHES; n++)
        message_fini(&messages[n]);
}

/* A session of the tests that holds a stream's head. */
static pg_t *hold_head(const uuid_t *stream)
{
    char sql[300];
    pg_t *other = connect_to(database.url, NULL);
    static const pg_stmt_t begin = {"BEGIN"};
    snprintf(sql, sizeof sql, "UPDATE audit_head SET rev = rev WHERE stream = '%s'",
             h_text(stream));
    const pg_stmt_t hold = {sql};
    assert_int_equal(pg_run(other, &begin, NULL, NULL, NULL, LONG_US), PG_OK);
    assert_int_equal(pg_run(other, &hold, NULL, NULL, NULL, LONG_US), PG_OK);
    return other;
}

static void wait_for_lock(void)
{
    while (h_number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'racer' AND "
                    "wait_event_type = "
                    "'Lock' AND datname = current_database()") == 0)
        sched_yield();
}

static void a_head_that_somebody_else_moves_is_not_moved_again(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    racer_t racer;
    batch_t batch = {0};
    message_t message;
    h_add(&stream, 1, 6, 10);
    (void)h_audit(&stream, 1, 2);
    h_put_batch(&batch, &stream, 3, 6);
    batch_finish(&batch, &message);
    slice_t bytes = message_bytes(&message);
    pg_t *other = hold_head(&stream);
    start_racer(&racer, &bytes, 1);
    wait_for_lock();
    /* The other one has done the half of it. */
    h_worker_t worker = {.pg = other, .intray = intray_new(&lone_network, ADDRESS_AUDIT)};
    h_put_batch(&batch, &stream, 3, 4);
    message_t half;
    batch_finish(&batch, &half);
    assert_int_equal(h_store(&worker, message_bytes(&half)), ERR_OK);
    static const pg_stmt_t commit = {"COMMIT"};
    assert_int_equal(pg_run(other, &commit, NULL, NULL, NULL, LONG_US), PG_OK);
    join_racer(&racer);
    assert_int_equal(racer.err, ERR_OK);
    assert_int_equal(racer.n_retries, 1);
    assert_int_equal(racer.n_events, 2);
    assert_int_equal(racer.worker.n_heads, 1);
    assert_chain(&stream, 6);
    intray_destroy(&worker.intray);
    pg_destroy(&other);
    message_fini(&half);
    message_fini(&message);
}

static void a_connection_that_breaks_in_between_loses_nothing(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    racer_t racer;
    batch_t batch = {0};
    message_t message;
    h_add(&stream, 1, 6, 10);
    (void)h_audit(&stream, 1, 2);
    h_put_batch(&batch, &stream, 3, 6);
    batch_finish(&batch, &message);
    slice_t bytes = message_bytes(&message);
    pg_t *other = hold_head(&stream);
    start_racer(&racer, &bytes, 1);
    wait_for_lock();
    (void)h_number("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
                   "application_name = 'racer'");
    join_racer(&racer);
    pg_destroy(&other);
    assert_int_equal(racer.err, ERR_UNAVAILABLE);
    assert_int_equal(err_action(racer.err), ERR_DO_RETRY);
    assert_chain(&stream, 2);
    h_worker_t worker = {.pg = pg, .intray = intray_new(&lone_network, ADDRESS_AUDIT)};
    assert_int_equal(h_store(&worker, bytes), ERR_OK);
    assert_int_equal(h_store(&worker, bytes),
                     ERR_OK); /* as if the first had not been acknowledged */
    assert_chain(&stream, 6);
    intray_destroy(&worker.intray);
    message_fini(&message);
}

static void what_the_database_refuses_is_tried_again_and_told(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    batch_t batch = {0};
    message_t message;
    h_worker_t worker = {.pg = pg, .intray = intray_new(&lone_network, ADDRESS_AUDIT)};
    h_add(&stream, 1, 2, 10);
    h_put_batch(&batch, &stream, 1, 2);
    batch_finish(&batch, &message);
    script(database.url, "ALTER TABLE audit RENAME TO audit_away");
    assert_int_equal(h_store(&worker, message_bytes(&message)), ERR_UNAVAILABLE);
    assert_non_null(strstr(worker.result.why, "audit"));
    script(database.url, "ALTER TABLE audit_away RENAME TO audit");
    assert_int_equal(h_store(&worker, message_bytes(&message)), ERR_OK);
    assert_chain(&stream, 2);
    intray_destroy(&worker.intray);
    message_fini(&message);
}

/* --- the actor --- */

typedef struct {
    network_t network;
    config_t config;
    audit_t *audit;
    actor_t *relay; /* never runs: its inbox is read by the test */
    port_t *to_audit;
    now_t now;
    uint64_t seq;
} world_t;

static world_t world;

static void world_new(void)
{
    static const actor_ops_t nothing = {.name = "relay"};
    world = (world_t){.now = clock_now()};
    world.config = (config_t){
        .database_url = database.url, .data_dir = data_dir, .anchor_interval_us = 60 * US_PER_S};
    world.network.config = &world.config;
    world.network.metrics = metrics_new();
    world.network.post = post_new();
    world.relay = actor_new(&nothing, NULL, world.network.post, "relay", 64);
    world.network.actors[ADDRESS_RELAY] = world.relay;
    assert_int_equal(mailbox_open(actor_inbox(world.relay)), ERR_OK);
    world.audit = audit_new(&world.network);
    world.to_audit = network_port(&world.network, ADDRESS_AUDIT);
}

/* As a crash: nothing is finished. */
static void world_destroy(void)
{
    port_destroy(&world.to_audit);
    audit_destroy(&world.audit);
    mailbox_close(actor_inbox(world.relay));
    actor_destroy(&world.relay);
    post_destroy(&world.network.post);
    metrics_destroy(&world.network.metrics);
}

static void step(void)
{
    (void)actor_step(audit_actor(world.audit), world.now);
}

static void pass(int64_t us)
{
    world.now.mono_us += us;
    world.now.wall_us += us;
    step();
}

static void begin_term(bool is_on)
{
    message_t message;
    term_encode(is_on, H_EPOCH, &message);
    assert_int_equal(port_send(world.to_audit, &message), ERR_OK);
    step();
}

static void send_events(const uuid_t *stream, int64_t first, int64_t last)
{
    batch_t batch = {0};
    message_t message;
    h_put_batch(&batch, stream, first, last);
    batch_finish(&batch, &message);
    assert_int_equal(port_send(world.to_audit, &message), ERR_OK);
    step();
}

/* Whether a batch was acknowledged; tells what was rejected. */
static bool take_ack(size_t *n_rejects, reject_t *first)
{
    message_t message;
    mp_reader_t content;
    uint32_t actor = 0, n = 0;
    uint64_t seq = 0;
    if (!mailbox_recv(actor_inbox(world.relay), &message))
        return false;
    assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_ACK);
    assert_true(ack_open(&content, &actor, &seq, &n));
    assert_int_equal(actor, ADDRESS_AUDIT);
    if (n_rejects != NULL)
        *n_rejects = n;
    if (n > 0 && first != NULL)
        assert_true(ack_next(&content, first));
    message_fini(&message);
    return true;
}

static void assert_acked(void)
{
    size_t n_rejects = 0;
    assert_true(take_ack(&n_rejects, NULL));
    assert_int_equal(n_rejects, 0);
}

static anchors_t *read_anchors(void)
{
    char path[100], error[300];
    snprintf(path, sizeof path, "%s/anchors", data_dir);
    if (access(path, F_OK) != 0)
        return NULL;
    anchors_t *anchors = anchors_read(path, NULL, error, sizeof error);
    if (anchors == NULL)
        fail_msg("%s", error);
    return anchors;
}

static size_t n_blocks(void)
{
    anchors_t *anchors = read_anchors();
    size_t n = anchors == NULL ? 0 : anchors->n_blocks;
    anchors_destroy(&anchors);
    return n;
}

/* The highest anchored revision of a stream; 0: none. */
static int64_t anchored(const uuid_t *stream)
{
    size_t n = 0;
    anchors_t *anchors = read_anchors();
    const anchor_head_t *heads = anchors == NULL ? NULL : anchors_of(anchors, stream, &n);
    int64_t rev = n == 0 ? 0 : heads[n - 1].rev;
    anchors_destroy(&anchors);
    return rev;
}

static int64_t metric_of(const char *name)
{
    buf_t text = {0};
    metrics_write(world.network.metrics, &text);
    buf_append_byte(&text, '\0');
    char wanted[100];
    snprintf(wanted, sizeof wanted, "\n%s ", name);
    const char *at = strstr((const char *)text.data, wanted);
    int64_t value = at == NULL ? -1 : strtoll(at + strlen(wanted), NULL, 10);
    buf_fini(&text);
    return value;
}

static size_t n_files_like(const char *end)
{
    size_t n = 0;
    DIR *dir = opendir(data_dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t n_chars = strlen(entry->d_name);
        n += n_chars > strlen(end) && strcmp(entry->d_name + n_chars - strlen(end), end) == 0;
    }
    closedir(dir);
    return n;
}

static int64_t note(const char *key)
{
    buf_t text = {0};
    char wanted[60];
    actor_describe(audit_actor(world.audit), &text);
    buf_append_byte(&text, '\0');
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    const char *at = strstr((char *)text.data, wanted);
    int64_t value = at == NULL ? -1 : atoll(at + strlen(wanted));
    buf_fini(&text);
    return value;
}

static int start_world(void **state)
{
    (void)state;
    h_empty_dir();
    world_new();
    begin_term(false); /* so that it knows the epoch of what comes */
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    world_destroy();
    return 0;
}

static void an_acknowledged_batch_is_in_the_chain(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    send_events(&stream, 1, 3);
    assert_acked();
    assert_chain(&stream, 3);
    assert_int_equal(n_blocks(), 0); /* there is no term */
}

static void events_behind_a_hole_are_rejected_and_others_go_on(void **state)
{
    (void)state;
    uuid_t stream = new_stream(), other = new_stream();
    batch_t batch = {0};
    message_t message;
    h_add(&stream, 1, 5, 10);
    h_add(&other, 1, 2, 10);
    h_tamper("DELETE FROM event WHERE stream = '%s' AND rev = 3", h_text(&stream));
    h_put_batch(&batch, &stream, 1, 5);
    h_put_batch(&batch, &other, 1, 2);
    batch_finish(&batch, &message);
    assert_int_equal(port_send(world.to_audit, &message), ERR_OK);
    step();
    size_t n_rejects = 0;
    reject_t first;
    assert_true(take_ack(&n_rejects, &first));
    assert_int_equal(n_rejects, 2);
    assert_true(uuid_eq(&first.stream, &stream));
    assert_int_equal(first.rev, 4);
    assert_chain(&stream, 2);
    assert_chain(&other, 2);
}

static void a_damaged_head_holds_up_its_own_stream_only(void **state)
{
    (void)state;
    static const char *const damages[] = {"rev = 0", "rev = -9223372036854775808",
                                          "hash = 'short'"};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        uuid_t stream = new_stream(), other = new_stream();
        batch_t batch = {0};
        message_t message;
        h_add(&stream, 1, 3, 10);
        h_add(&other, 1, 3, 10);
        (void)h_audit(&stream, 1, 1);
        script(database.url, "UPDATE audit_head SET %s WHERE stream = '%s'", damages[i],
               h_text(&stream));
        h_put_batch(&batch, &stream, 2, 3);
        h_put_batch(&batch, &other, 1, 3);
        batch_finish(&batch, &message);
        assert_int_equal(port_send(world.to_audit, &message), ERR_OK);
        step();
        size_t n_rejects = 0;
        reject_t first;
        assert_true(take_ack(&n_rejects, &first));
        assert_int_equal(n_rejects, 2);
        assert_chain(&other, 3);
        script(database.url, "DELETE FROM audit_head WHERE stream = '%s'", h_text(&stream));
    }
}

static void while_the_database_is_away_nothing_is_acknowledged(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    script(database.url, "ALTER TABLE audit_head RENAME TO audit_head_away");
    send_events(&stream, 1, 3);
    pass(US_PER_S);
    assert_false(take_ack(NULL, NULL));
    script(database.url, "ALTER TABLE audit_head_away RENAME TO audit_head");
    pass(US_PER_S);
    assert_acked();
    assert_chain(&stream, 3);
}

static void heads_are_anchored_once_in_an_interval(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 6, 10);
    begin_term(true);
    step();
    send_events(&stream, 1, 2);
    step();
    size_t n = n_blocks();
    assert_true(n >= 1);
    send_events(&stream, 3, 4);
    send_events(&stream, 5, 5);
    pass(59 * US_PER_S);
    assert_int_equal(n_blocks(), n);
    assert_int_equal(note("not_anchored") > 0, 1);
    pass(2 * US_PER_S);
    assert_int_equal(n_blocks(), n + 1);
    assert_int_equal(anchored(&stream), 5);
    assert_int_equal(note("not_anchored"), 0);
    pass(120 * US_PER_S);
    assert_int_equal(n_blocks(), n + 1); /* nothing moved */
}

static void heads_are_anchored_on_the_way_out(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    send_events(&stream, 1, 1);
    pass(US_PER_S);
    send_events(&stream, 2, 3);
    assert_true(anchored(&stream) < 3);
    actor_stop(audit_actor(world.audit));
    step();
    assert_true(actor_is_done(audit_actor(world.audit)));
    assert_int_equal(anchored(&stream), 3);
}

static void what_a_crash_left_out_is_anchored_at_the_next_start(void **state)
{
    (void)state;
    uuid_t stream = new_stream(), other = new_stream();
    h_add(&stream, 1, 4, 10);
    h_add(&other, 1, 2, 10);
    send_events(&stream, 1, 2); /* never led: no file */
    world_destroy();
    world_new();
    begin_term(true);
    step();
    assert_int_equal(anchored(&stream), 2);
    send_events(&stream, 3, 4);
    send_events(&other, 1, 2);
    assert_int_equal(anchored(&stream), 2);
    size_t n = n_blocks();
    world_destroy();
    world_new();
    begin_term(true);
    step();
    assert_int_equal(anchored(&stream), 4);
    assert_int_equal(anchored(&other), 2);
    assert_int_equal(n_blocks(), n + 1);
}

/* It moved a head and never told: whoever handles the event again takes it up. */
static void heads_that_another_process_moved_are_anchored(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    step();
    assert_int_equal(anchored(&stream), 0);
    (void)h_audit(&stream, 1, 3);
    send_events(&stream, 1, 3);
    pass(61 * US_PER_S);
    assert_int_equal(anchored(&stream), 3);
}

static void who_no_longer_leads_does_not_anchor(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    step();
    size_t n = n_blocks();
    begin_term(false);
    send_events(&stream, 1, 3);
    assert_acked();
    pass(120 * US_PER_S);
    assert_int_equal(n_blocks(), n);
    begin_term(true);
    pass(120 * US_PER_S);
    assert_int_equal(anchored(&stream), 3);
}

static void a_disk_that_is_full_for_a_while_costs_nothing(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    struct rlimit before;
    h_add(&stream, 1, 4, 10);
    begin_term(true);
    step();
    assert_int_equal(anchored(&stream), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {10, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    send_events(&stream, 1, 2);
    pass(61 * US_PER_S);
    send_events(&stream, 3, 4);
    pass(61 * US_PER_S);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_acked();
    assert_acked();
    assert_int_equal(anchored(&stream), 0);
    assert_true(note("not_anchored") > 0);
    pass(2 * US_PER_S);
    assert_int_equal(anchored(&stream), 4);
}

static void a_directory_that_is_away_does_not_stop_the_chain(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    char away[80];
    h_add(&stream, 1, 2, 10);
    snprintf(away, sizeof away, "%s.away", data_dir);
    assert_int_equal(rename(data_dir, away), 0);
    begin_term(true);
    send_events(&stream, 1, 2);
    assert_acked();
    pass(US_PER_S);
    assert_int_equal(note("catching_up"), 1);
    assert_int_equal(rename(away, data_dir), 0);
    pass(2 * US_PER_S);
    pass(2 * US_PER_S);
    assert_int_equal(anchored(&stream), 2);
    assert_int_equal(note("catching_up"), 0);
}

static void damage(const char *words, off_t at)
{
    char path[100];
    snprintf(path, sizeof path, "%s/anchors", data_dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    if (at < 0)
        at = lseek(fd, 0, SEEK_END) + at;
    assert_int_equal(pwrite(fd, words, strlen(words), at), (ssize_t)strlen(words));
    close(fd);
}

/* What was in the damaged file is anchored again, though it does not move. */
static void a_damaged_file_is_kept_and_all_is_anchored_anew(void **state)
{
    (void)state;
    uuid_t quiet = new_stream(), stream = new_stream();
    h_add(&quiet, 1, 2, 10);
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    send_events(&quiet, 1, 2);
    send_events(&stream, 1, 2);
    pass(61 * US_PER_S);
    assert_int_equal(anchored(&quiet), 2);
    damage("garbage in the middle\n", 100);
    damage("x", -1); /* another time of change, and no end */
    send_events(&stream, 3, 3);
    pass(61 * US_PER_S);
    pass(2 * US_PER_S);
    assert_int_equal(anchored(&stream), 3);
    assert_int_equal(anchored(&quiet), 2);
    assert_int_equal(metric_of("taskwire_audit_anchor_damages_total"), 1);
    assert_int_equal(n_files_like("-damaged"), 1);
}

static void a_torn_end_costs_nothing(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    send_events(&stream, 1, 2);
    pass(61 * US_PER_S);
    size_t n = n_blocks();
    damage("zblock 20", -1); /* the last line has no end */
    send_events(&stream, 3, 3);
    pass(61 * US_PER_S);
    pass(2 * US_PER_S);
    assert_int_equal(anchored(&stream), 3);
    assert_int_equal(n_blocks(), n);
    assert_int_equal(n_files_like("-damaged"), 0);
}

static void another_epoch_is_anchored_in_a_file_of_its_own(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 3, 10);
    begin_term(true);
    send_events(&stream, 1, 3);
    pass(61 * US_PER_S);
    script(database.url, "UPDATE log_epoch SET epoch = 'fedcba9876543210'");
    begin_term(false);
    begin_term(true);
    pass(2 * US_PER_S);
    script(database.url, "UPDATE log_epoch SET epoch = '" H_EPOCH "'");
    assert_int_equal(n_files_like("-epoch"), 1);
    assert_int_equal(anchored(&stream), 3);
    assert_int_equal(n_blocks(), 1);
}

#define MANY 70000

static void add_many_heads(void)
{
    script(database.url,
           "CREATE TABLE few_heads AS SELECT * FROM audit_head;"
           "INSERT INTO audit_head SELECT md5(i::text)::uuid, i, sha256(i::text::bytea)"
           " FROM generate_series(1, 70000) i");
}

static void remove_many_heads(void)
{
    script(database.url, "TRUNCATE audit_head; INSERT INTO audit_head SELECT * FROM few_heads; "
                         "DROP TABLE few_heads");
}

static void assert_all_anchored(void)
{
    anchors_t *anchors = read_anchors();
    size_t n = 0;
    for (size_t i = 0; i < anchors->n_heads; i++)
        n += i == 0 || !uuid_eq(&anchors->heads[i].stream, &anchors->heads[i - 1].stream);
    assert_int_equal(n, h_number("SELECT count(*) FROM audit_head"));
    anchors_destroy(&anchors);
}

static void more_heads_than_the_table_holds_are_anchored_in_parts(void **state)
{
    (void)state;
    add_many_heads();
    begin_term(true);
    while (n_blocks() == 0)
        step();
    /* A crash between the parts: the part is not taken for the whole. */
    world_destroy();
    world_new();
    begin_term(true);
    while (note("catching_up") != 0)
        step();
    step();
    assert_all_anchored();
    remove_many_heads();
}

static void heads_that_a_full_disk_left_no_room_for_are_looked_up_again(void **state)
{
    (void)state;
    struct rlimit before;
    add_many_heads();
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    begin_term(true); /* the first page; the keys are made */
    struct rlimit limit = {10, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 8; i++)
        pass(2 * US_PER_S);
    assert_int_equal(note("not_anchored"), ANCHOR_MAX_HEADS);
    assert_int_equal(note("catching_up"), 1);
    setrlimit(RLIMIT_FSIZE, &before);
    while (note("catching_up") != 0)
        pass(2 * US_PER_S);
    step();
    assert_all_anchored();
    remove_many_heads();
}

static void a_batch_of_another_epoch_is_not_linked(void **state)
{
    (void)state;
    uuid_t stream = new_stream();
    h_add(&stream, 1, 2, 10);
    script(database.url, "UPDATE log_epoch SET epoch = 'fedcba9876543210'");
    message_t message;
    batch_t batch = {0};
    h_worker_t worker = {.pg = pg, .intray = intray_new(&lone_network, ADDRESS_AUDIT)};
    h_put_batch(&batch, &stream, 1, 2);
    batch_finish(&batch, &message);
    assert_int_equal(h_store(&worker, message_bytes(&message)), ERR_UNAVAILABLE);
    script(database.url, "UPDATE log_epoch SET epoch = '" H_EPOCH "'");
    assert_int_equal(n_rows_of(&stream), 0);
    assert_int_equal(h_store(&worker, message_bytes(&message)), ERR_OK);
    assert_chain(&stream, 2);
    message_fini(&message);
    intray_destroy(&worker.intray);
}

/* --- */

static int begin(void **state)
{
    (void)state;
    h_begin("audit");
    return 0;
}

static int end(void **state)
{
    (void)state;
    h_end();
    return 0;
}

#define OF_ACTOR(name) cmocka_unit_test_setup_teardown(name, start_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_becomes_one_row_per_stream),
        cmocka_unit_test(later_batches_go_on_where_the_chain_ends),
        cmocka_unit_test(a_replay_adds_nothing),
        cmocka_unit_test(a_gap_before_a_batch_is_filled_from_the_log),
        cmocka_unit_test(a_very_long_gap_is_filled_in_several_rows),
        cmocka_unit_test(purged_events_and_those_of_a_newer_program_are_linked_too),
        cmocka_unit_test(a_row_that_nobody_of_us_made_holds_nobody_up),
        cmocka_unit_test(of_several_workers_on_the_same_streams_each_event_is_added_by_one),
        cmocka_unit_test(a_head_that_somebody_else_moves_is_not_moved_again),
        cmocka_unit_test(a_connection_that_breaks_in_between_loses_nothing),
        cmocka_unit_test(what_the_database_refuses_is_tried_again_and_told),
        cmocka_unit_test(a_batch_of_another_epoch_is_not_linked),
        OF_ACTOR(an_acknowledged_batch_is_in_the_chain),
        OF_ACTOR(events_behind_a_hole_are_rejected_and_others_go_on),
        OF_ACTOR(a_damaged_head_holds_up_its_own_stream_only),
        OF_ACTOR(while_the_database_is_away_nothing_is_acknowledged),
        OF_ACTOR(heads_are_anchored_once_in_an_interval),
        OF_ACTOR(heads_are_anchored_on_the_way_out),
        OF_ACTOR(what_a_crash_left_out_is_anchored_at_the_next_start),
        OF_ACTOR(heads_that_another_process_moved_are_anchored),
        OF_ACTOR(who_no_longer_leads_does_not_anchor),
        OF_ACTOR(a_disk_that_is_full_for_a_while_costs_nothing),
        OF_ACTOR(a_directory_that_is_away_does_not_stop_the_chain),
        OF_ACTOR(a_damaged_file_is_kept_and_all_is_anchored_anew),
        OF_ACTOR(a_torn_end_costs_nothing),
        OF_ACTOR(another_epoch_is_anchored_in_a_file_of_its_own),
        OF_ACTOR(more_heads_than_the_table_holds_are_anchored_in_parts),
        OF_ACTOR(heads_that_a_full_disk_left_no_room_for_are_looked_up_again),
    };
    log_configure(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, begin, end);
}
