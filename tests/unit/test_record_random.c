/* SPDX-License-Identifier: Apache-2.0 */
/* The events of random commands, through both encodings. The seed is printed; TASKWIRE_SEED repeats
 * a run. */
#include "core_random.h"
#include "record_sample.h"

#define N_ROUNDS 4
#define N_COMMANDS 300

typedef struct {
    record_coder_t *json;
    record_coder_t *msgpack;
    unsigned n_of[EVENT_TYPE_COUNT];
    int64_t id;
} trip_t;

/* Read by the coder of the other encoding, as in a deployment whose setting was changed. */
static void there_and_back(record_coder_t *out, record_coder_t *in, const log_event_t *row)
{
    record_t record;
    record_position_t place;
    log_event_t back;
    const char *why = "";
    record_of_event(out, row, row->id - 1, &record);
    if (record_read(in, &record, &place, &back, &why) != RECORD_EVENT)
        fail_msg("%s: %s", event_type_name(row->type), why);
    assert_true(sample_same(row, &back));
    assert_int_equal(place.id, row->id);
    assert_int_equal(place.before, row->id - 1);
    assert_int_equal(place.shard, row->shard);
    assert_memory_equal(place.epoch, SAMPLE_EPOCH, EPOCH_CHARS);
}

static void travel(trip_t *trip, const state_event_t *stored, uint64_t random)
{
    trip->id += 1 + (int64_t)(random % 1000);
    log_event_t row = sample_row(&stored->event, stored->body, trip->id);
    if (random % 3 == 0)
        row.trace = slice_of(sample_trace, TRACE_BYTES);
    there_and_back(trip->json, trip->msgpack, &row);
    there_and_back(trip->msgpack, trip->json, &row);
    there_and_back(trip->json, trip->json, &row);
    trip->n_of[row.type]++;
}

static void every_event_comes_back_with_its_very_bytes(void **unused)
{
    (void)unused;
    run_t run = {.seed = first_seed()};
    trip_t trip = {.json = sample_coder(RECORD_JSON), .msgpack = sample_coder(RECORD_MSGPACK)};
    for (int round = 0; round < N_ROUNDS; round++) {
        core_init(&run.core);
        for (int i = 0; i < N_COMMANDS; i++)
            step(&run);
        for (size_t i = 0; i < state_n_events(run.core.state); i++)
            travel(&trip, state_event_at(run.core.state, i), next_random(&run));
        core_fini(&run.core);
    }
    static const event_type_t common[] = {EVENT_TASK_CREATED,   EVENT_TASK_UPDATED,
                                          EVENT_TASK_COMPLETED, EVENT_TASK_DELETED,
                                          EVENT_TASK_MOVED_OUT, EVENT_REMINDER_DUE};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        assert_true(trip.n_of[common[i]] > 0);
    record_coder_destroy(&trip.json);
    record_coder_destroy(&trip.msgpack);
    buf_fini(&run.json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_comes_back_with_its_very_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
