/* SPDX-License-Identifier: Apache-2.0 */
/* The reminder actor between real rows, a clock that is made up, and a writer that only receives:
 * what it sends when, and what of it again. */
#include "tests/db/database.h"

#include <stdio.h>
#include <stdlib.h>

#include "actors/message.h"
#include "actors/migrate.h"
#include "actors/reminder.h"

#define NOW_US INT64_C(1800000000000000)
#define EPOCH "0123456789abcdef"
#define MAX_SENT 20000
#define MAX_LATE_US (3600 * US_PER_S)

/* A command that the writer was sent. */
typedef struct {
    uuid_t id;
    uint64_t tag;
    uint32_t task; /* its number */
    int64_t at_us; /* the instant that it names */
} sent_t;

typedef struct {
    network_t network;
    config_t config;
    actor_t *relay;
    actor_t *writer;
    reminder_actor_t *reminder;
    port_t *port;
    arena_t *arena;
    now_t now;
    sent_t *sent;
    size_t n_sent;
} fixture_t;

static database_t database;
static const actor_ops_t receiver = {.name = "receiver"};

static int begin(void **unused)
{
    char error[400];
    (void)unused;
    database_create(&database, "reminder_actor");
    assert_int_equal(migrate_run(database.url, INT64_MAX, error, sizeof error), MIGRATE_OK);
    script(database.url, "UPDATE log_epoch SET epoch = '" EPOCH "'");
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    database_drop(&database);
    return 0;
}

static actor_t *add_receiver(fixture_t *self, address_t address, const char *name)
{
    actor_t *actor = actor_new(&receiver, self, self->network.post, name, 512);
    self->network.actors[address] = actor;
    assert_int_equal(mailbox_open(actor_inbox(actor)), ERR_OK);
    return actor;
}

static int set_up(void **state)
{
    fixture_t *self = calloc(1, sizeof *self);
    self->arena = arena_new();
    self->sent = calloc(MAX_SENT, sizeof *self->sent);
    self->now = (now_t){.wall_us = NOW_US, .mono_us = 1000 * US_PER_S};
    self->config = (config_t){.database_url = database.url, .reminder_max_late_us = MAX_LATE_US};
    self->network.config = &self->config;
    self->network.metrics = metrics_new();
    self->network.post = post_new();
    self->relay = add_receiver(self, ADDRESS_RELAY, "relay");
    self->writer = add_receiver(self, ADDRESS_WRITER, "writer");
    self->reminder = reminder_new(&self->network);
    self->port = network_port(&self->network, ADDRESS_REMINDER);
    script(database.url, "TRUNCATE reminder");
    (void)actor_step(reminder_actor(self->reminder), self->now);
    *state = self;
    return 0;
}

static int tear_down(void **state)
{
    fixture_t *self = *state;
    port_destroy(&self->port);
    reminder_destroy(&self->reminder);
    mailbox_close(actor_inbox(self->relay));
    mailbox_close(actor_inbox(self->writer));
    actor_destroy(&self->relay);
    actor_destroy(&self->writer);
    post_destroy(&self->network.post);
    metrics_destroy(&self->network.metrics);
    arena_destroy(&self->arena);
    free(self->sent);
    free(self);
    return 0;
}

/* --- the clock --- */

/* Steps until the actor would sleep. */
static void settle(fixture_t *self)
{
    for (int i = 0; actor_step(reminder_actor(self->reminder), self->now) <= 0; i++)
        assert_true(i < 1000);
}

/* Time goes by, in steps no longer than the actor sleeps at most. */
static void pass(fixture_t *self, int64_t us)
{
    while (us > 0) {
        int64_t step_us = us < ACTOR_SLEEP_MAX_US ? us : ACTOR_SLEEP_MAX_US;
        self->now.wall_us += step_us;
        self->now.mono_us += step_us;
        us -= step_us;
        settle(self);
    }
}

static void set_clock(fixture_t *self, int64_t wall_us)
{
    self->now.wall_us = wall_us;
    settle(self);
}

/* --- rows --- */

/* Pending reminders of tasks 1 to n, `apart_us` apart. */
static void add_rows(int n, int64_t first_us, int64_t apart_us)
{
    script(database.url,
           "INSERT INTO reminder (task, reminder, list, event_id, state, fire_at) SELECT "
           "lpad(to_hex(i), 32, '0')::uuid, '00000000-0000-0000-0000-000000000003', "
           "'00000000-0000-0000-0000-000000000002', i, 0, to_timestamp(0) + "
           "(%lld + (i - 1) * %lld) * interval '1 microsecond' FROM generate_series(1, %d) i",
           (long long)first_us, (long long)apart_us, n);
}

static int64_t n_rows(int state)
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM reminder WHERE state = %d", state);
    return number_of(database.url, sql);
}

/* --- messages --- */

static void hand_over(fixture_t *self, message_t *message)
{
    assert_int_equal(port_send(self->port, message), ERR_OK);
    settle(self);
}

static void begin_term(fixture_t *self)
{
    message_t message;
    term_encode(true, EPOCH, &message);
    assert_int_equal(port_send(self->port, &message), ERR_OK);
    lead_encode(true, &message);
    hand_over(self, &message);
}

static void note_sent(fixture_t *self, const command_t *command)
{
    slice_t at;
    assert_int_equal(command->op, OP_TASK_REMIND);
    assert_true(self->n_sent < MAX_SENT);
    sent_t *sent = &self->sent[self->n_sent++];
    *sent = (sent_t){.id = command->id, .tag = command->tag};
    for (size_t i = UUID_BYTES - 4; i < UUID_BYTES; i++)
        sent->task = sent->task << 8 | command->task.bytes[i];
    assert_true(mp_map_find(command->data, "at", &at));
    mp_reader_t reader = mp_reader(at);
    assert_true(mp_get_instant(&reader, &sent->at_us));
    assert_true(sent->at_us <= self->now.wall_us);
}

/* What the writer was sent since this was asked last. */
static size_t sent(fixture_t *self)
{
    message_t message;
    self->n_sent = 0;
    while (mailbox_recv(actor_inbox(self->writer), &message)) {
        mp_reader_t content;
        uint32_t n_items;
        command_t command;
        assert_int_equal(message_kind(message_bytes(&message), &content), MESSAGE_COMMANDS);
        assert_true(batch_open(&content, &n_items));
        for (uint32_t i = 0; i < n_items; i++) {
            arena_reset(self->arena);
            assert_true(command_decode(&content, self->arena, &command));
            note_sent(self, &command);
        }
        message_fini(&message);
    }
    return self->n_sent;
}

/* Answers everything that `sent` has seen last. */
static void answer_as(fixture_t *self, err_t err, bool is_replay)
{
    batch_t batch = {0};
    message_t message;
    batch_begin(&batch, MESSAGE_RESULTS);
    for (size_t i = 0; i < self->n_sent; i++) {
        result_t result = {
            .tag = self->sent[i].tag, .op = OP_TASK_REMIND, .outcome.problem.err = err};
        result.outcome.is_replay = is_replay;
        result_encode(&result, &batch.buf);
        batch.n_items++;
    }
    batch_finish(&batch, &message);
    hand_over(self, &message);
}

static void answer(fixture_t *self, err_t err)
{
    answer_as(self, err, false);
}

/* --- the tests --- */

static void what_is_pending_fires_at_its_instant(void **state)
{
    fixture_t *self = *state;
    add_rows(3, NOW_US + 100 * US_PER_S, 7);
    begin_term(self);
    pass(self, 100 * US_PER_S - 1);
    assert_int_equal(sent(self), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        pass(self, 1);
        assert_int_equal(sent(self), 1);
        assert_int_equal(self->sent[0].task, i);
        assert_true(self->sent[0].at_us == self->now.wall_us);
        pass(self, 6);
        assert_int_equal(sent(self), 0);
    }
}

static void who_does_not_lead_fires_nothing(void **state)
{
    fixture_t *self = *state;
    message_t message;
    add_rows(2, NOW_US + US_PER_S, 10 * US_PER_S);
    pass(self, 2 * US_PER_S);
    assert_int_equal(sent(self), 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    lead_encode(false, &message);
    hand_over(self, &message);
    pass(self, 20 * US_PER_S);
    assert_int_equal(sent(self), 0);
}

static void overdue_ones_fire_at_once_and_in_order(void **state)
{
    fixture_t *self = *state;
    size_t n = 0;
    add_rows(10000, NOW_US - 1800 * US_PER_S, 1000);
    begin_term(self);
    for (size_t n_more; (n_more = sent(self)) > 0; answer(self, ERR_OK)) {
        for (size_t i = 0; i < n_more; i++)
            assert_int_equal(self->sent[i].task, ++n);
    }
    assert_int_equal(n, 10000);
    pass(self, 5 * US_PER_S);
    assert_int_equal(sent(self), 0);
}

static void what_fired_is_not_sent_again_while_its_row_waits_for_the_event(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US, 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    pass(self, 5 * US_PER_S); /* nor before it is answered */
    assert_int_equal(sent(self), 0);
    self->n_sent = 1;
    answer(self, ERR_OK);
    pass(self, 30 * US_PER_S);
    assert_int_equal(sent(self), 0);
}

/* The event that was to say so is in a history that is gone: the database was restored. */
static void what_fired_in_a_history_that_is_lost_is_sent_again(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US, 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    uuid_t id = self->sent[0].id;
    answer(self, ERR_OK);
    pass(self, 62 * US_PER_S);
    assert_int_equal(sent(self), 1);
    assert_true(uuid_eq(&self->sent[0].id, &id));
    answer(self, ERR_OK);
    begin_term(self); /* of what another term knew, nothing is believed */
    assert_int_equal(sent(self), 1);
    assert_true(uuid_eq(&self->sent[0].id, &id));
}

static void what_is_too_late_is_missed(void **state)
{
    fixture_t *self = *state;
    add_rows(6002, NOW_US - MAX_LATE_US - 6000, 1);
    begin_term(self);
    assert_int_equal(sent(self), 2);
    assert_int_equal(n_rows(3), 6000);
    answer(self, ERR_OK);
    pass(self, 3 * US_PER_S);
    assert_int_equal(sent(self), 0);
}

static void what_is_refused_for_good_is_ended(void **state)
{
    fixture_t *self = *state;
    add_rows(2, NOW_US, 100 * US_PER_S);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    answer(self, ERR_CONFLICT);
    pass(self, 2 * US_PER_S);
    assert_int_equal(n_rows(4), 1);
    assert_int_equal(n_rows(0), 1);
    assert_int_equal(sent(self), 0);
}

/* The event that says so was handled before the row came to wait again. */
static void what_fired_before_is_ended(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US, 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    answer_as(self, ERR_OK, true);
    pass(self, 2 * US_PER_S);
    assert_int_equal(n_rows(4), 1);
}

/* What it remembers may have been moved away and back meanwhile. */
static void who_was_frozen_reads_the_rows_anew(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US + 3 * US_PER_S, 0);
    begin_term(self);
    pass(self, US_PER_S);
    script(database.url, "UPDATE reminder SET state = 2");
    self->now.wall_us += 10 * US_PER_S;
    self->now.mono_us += 10 * US_PER_S;
    settle(self);
    assert_int_equal(sent(self), 0);
}

/* The clock went back between sending and looking. */
static void what_is_refused_as_too_early_comes_again(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US + US_PER_S, 0);
    begin_term(self);
    pass(self, US_PER_S);
    assert_int_equal(sent(self), 1);
    uuid_t id = self->sent[0].id;
    set_clock(self, NOW_US - 60 * US_PER_S);
    self->n_sent = 1;
    answer(self, ERR_PRECONDITION_FAILED);
    assert_int_equal(n_rows(0), 1);
    pass(self, 61 * US_PER_S - 1);
    assert_int_equal(sent(self), 0);
    assert_int_equal(n_rows(0), 1); /* it was not ended meanwhile */
    pass(self, 1);
    assert_int_equal(sent(self), 1);
    assert_true(uuid_eq(&self->sent[0].id, &id));
}

static void a_clock_that_is_set_forward_makes_due_what_it_passes(void **state)
{
    fixture_t *self = *state;
    add_rows(3, NOW_US + 86400 * US_PER_S, US_PER_S);
    begin_term(self);
    set_clock(self, NOW_US + 86401 * US_PER_S);
    assert_int_equal(sent(self), 2);
    answer(self, ERR_OK);
    pass(self, US_PER_S);
    assert_int_equal(sent(self), 1);
}

static void a_clock_that_is_set_back_makes_nothing_early(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US + 10 * US_PER_S, 0);
    begin_term(self);
    set_clock(self, NOW_US - 30 * 86400 * US_PER_S);
    pass(self, 20 * US_PER_S);
    assert_int_equal(sent(self), 0);
    set_clock(self, NOW_US);
    pass(self, 10 * US_PER_S);
    assert_int_equal(sent(self), 1);
}

/* A row that another process wrote while it believed to lead: no event tells of it here. */
static void a_row_that_nobody_told_of_fires_within_a_second(void **state)
{
    fixture_t *self = *state;
    begin_term(self);
    pass(self, US_PER_S);
    add_rows(1, NOW_US + 3 * US_PER_S, 0);
    pass(self, 3 * US_PER_S);
    assert_int_equal(sent(self), 1);
}

/* With Kafka another process may have handled the event that says so. */
static void what_fired_by_its_row_is_not_waited_for(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US, 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    answer(self, ERR_OK);
    script(database.url, "UPDATE reminder SET state = 1");
    pass(self, 2 * US_PER_S);
    script(database.url, "UPDATE reminder SET state = 0"); /* then it would be sent again */
    pass(self, 2 * US_PER_S);
    assert_int_equal(sent(self), 1);
}

static void rows_that_others_write_are_looked_for_ahead(void **state)
{
    fixture_t *self = *state;
    self->config.kafka_brokers = "localhost:9092";
    begin_term(self);
    pass(self, US_PER_S);
    add_rows(1, NOW_US + 3 * US_PER_S + 5, 0);
    pass(self, 2 * US_PER_S + 4);
    assert_int_equal(sent(self), 0);
    pass(self, 1);
    assert_int_equal(sent(self), 1);
}

/* Another history has begun: what this process knows of rows changes none of that. */
static void rows_of_another_history_are_not_ended(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US, 0);
    begin_term(self);
    assert_int_equal(sent(self), 1);
    script(database.url, "UPDATE log_epoch SET epoch = 'fedcba9876543210'");
    answer(self, ERR_CONFLICT);
    pass(self, 2 * US_PER_S);
    script(database.url, "UPDATE log_epoch SET epoch = '" EPOCH "'");
    assert_int_equal(n_rows(0), 1);
}

static void with_the_database_away_nothing_is_lost(void **state)
{
    fixture_t *self = *state;
    add_rows(1, NOW_US + 5 * US_PER_S, 0);
    begin_term(self);
    script(database.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                         "application_name LIKE 'taskwire%%' AND datname = current_database() AND "
                         "pid <> pg_backend_pid()");
    pass(self, 7 * US_PER_S);
    assert_int_equal(sent(self), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_pending_fires_at_its_instant),
        TEST(who_does_not_lead_fires_nothing),
        TEST(overdue_ones_fire_at_once_and_in_order),
        TEST(what_fired_is_not_sent_again_while_its_row_waits_for_the_event),
        TEST(what_fired_in_a_history_that_is_lost_is_sent_again),
        TEST(what_is_too_late_is_missed),
        TEST(what_is_refused_for_good_is_ended),
        TEST(what_fired_before_is_ended),
        TEST(who_was_frozen_reads_the_rows_anew),
        TEST(what_is_refused_as_too_early_comes_again),
        TEST(a_clock_that_is_set_forward_makes_due_what_it_passes),
        TEST(a_clock_that_is_set_back_makes_nothing_early),
        TEST(a_row_that_nobody_told_of_fires_within_a_second),
        TEST(what_fired_by_its_row_is_not_waited_for),
        TEST(rows_that_others_write_are_looked_for_ahead),
        TEST(rows_of_another_history_are_not_ended),
        TEST(with_the_database_away_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
