/* SPDX-License-Identifier: Apache-2.0 */
/* Other time zone data: that it is noticed, which tasks it concerns, and the command that moves
 * them. */
#include "core_test.h"

#include <ftw.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/retime.h"
#include "schema/zone_data.h"

/* --- the digest --- */

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_dir(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void digest_of(char *out)
{
    assert_true(zone_data_digest(out));
    assert_int_equal(strlen(out), ZONE_DATA_CHARS);
}

static void the_digest_tells_data_apart_and_nothing_else(void **state)
{
    (void)state;
    char one[ZONE_DATA_CHARS + 1], two[ZONE_DATA_CHARS + 1];
    char dir[] = "/tmp/tw-zones-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("TZDIR", dir, 1), 0);
    assert_false(zone_data_digest(one));
    write_file(dir, "UTC", "TZif2 utc");
    make_dir(dir, "Europe");
    write_file(dir, "Europe/Zurich", "TZif2 +1");
    digest_of(one);
    write_file(dir, "tzdata.zi", "# version 2026a");
    make_dir(dir, "right");
    write_file(dir, "right/UTC", "TZif2 with leap seconds");
    digest_of(two);
    assert_string_equal(one, two);
    write_file(dir, "Europe/Zurich", "TZif2 +2");
    digest_of(two);
    assert_string_not_equal(one, two);
    write_file(dir, "Europe/Zurich", "TZif2 +1");
    write_file(dir, "Europe/Bern", "TZif2 +1");
    digest_of(two);
    assert_string_not_equal(one, two);
    assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_false(zone_data_digest(two));
    assert_int_equal(unsetenv("TZDIR"), 0);
    digest_of(two);
}

/* --- which tasks --- */

/* T1, as if its instant had been computed by other data. */
static task_t *make_stale(core_t *core, const char *due)
{
    char json[120];
    snprintf(json, sizeof json,
             "{'title':'x','due':'%s','time_zone':'Europe/Zurich',"
             "'reminders':[{'before':'PT1H'}]}",
             due);
    make(core, json);
    task_t *task = &state_task(core->state, &T1)->task;
    task->due_at_us += 3600 * US_PER_S;
    return task;
}

static void a_task_that_is_due_at_another_instant_is_named(void **state)
{
    core_t *core = *state;
    command_t one, two;
    task_t *task = make_stale(core, "2026-11-24T09:00");
    assert_true(retime_step(task, "abc", core->arena, &one));
    assert_true(retime_step(task, "abc", core->arena, &two));
    assert_true(uuid_eq(&one.id, &two.id));
    assert_memory_equal(one.fingerprint, two.fingerprint, FINGERPRINT_BYTES);
    assert_true(one.is_actor && one.op == OP_TASK_RETIME && uuid_eq(&one.task, &T1));
    assert_true(retime_step(task, "abd", core->arena, &two));
    assert_false(uuid_eq(&one.id, &two.id));
    task->rev++;
    assert_true(retime_step(task, "abc", core->arena, &two));
    assert_false(uuid_eq(&one.id, &two.id));
}

static void tasks_that_are_right_or_closed_or_not_due_are_left_alone(void **state)
{
    core_t *core = *state;
    command_t command;
    task_t *task = make_stale(core, "2026-11-24");
    task->status = STATUS_DONE;
    assert_false(retime_step(task, "abc", core->arena, &command));
    task->status = STATUS_OPEN;
    assert_true(retime_step(task, "abc", core->arena, &command));
    task->due_at_us -= 3600 * US_PER_S;
    assert_false(retime_step(task, "abc", core->arena, &command));
    task->due = slice_none();
    assert_false(retime_step(task, "abc", core->arena, &command));
}

/* --- the command --- */

static err_t retime(core_t *core, const uuid_t *author)
{
    return core_do(core, author, "task.retime", &T1, NULL);
}

static void the_instant_follows_and_everybody_is_told(void **state)
{
    core_t *core = *state;
    make_stale(core, "2026-11-24T09:00");
    int64_t rev = core_task(core, &T1)->rev;
    assert_int_equal(retime(core, &author_retime), ERR_OK);
    const task_t *task = core_task(core, &T1);
    assert_int_equal(task->due_at_us, instant_at("2026-11-24T08:00:00Z"));
    assert_int_equal(task->rev, rev + 1);
    assert_int_equal(task_reminder_at(task, &task->reminders[0]),
                     instant_at("2026-11-24T07:00:00Z"));
    const event_t *event = core_event(core, 0);
    assert_int_equal(event->type, EVENT_TASK_UPDATED);
    assert_int_equal(count_pairs(event->set), 1);
    assert_true(core_has(core, event->set, "due_at", "'2026-11-24T08:00:00Z'"));
    assert_true(core_has(core, event->was, "due_at", "'2026-11-24T09:00:00Z'"));
    assert_int_equal(retime(core, &author_retime), ERR_CONFLICT);
}

static void what_needs_no_new_instant_is_refused(void **state)
{
    core_t *core = *state;
    assert_int_equal(retime(core, &author_retime), ERR_NOT_FOUND);
    make_stale(core, "2026-11-24T09:00");
    assert_int_equal(retime(core, &core->anna), ERR_FORBIDDEN);
    core->expect = 1;
    assert_int_equal(retime(core, &author_retime), ERR_INVALID);
    assert_int_equal(core_do(core, &author_retime, "task.retime", &T1, "{'x':1}"), ERR_INVALID);
    assert_int_equal(core_do(core, &core->anna, "task.complete", &T1, NULL), ERR_OK);
    assert_int_equal(retime(core, &author_retime), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_tells_data_apart_and_nothing_else),
        TEST(a_task_that_is_due_at_another_instant_is_named),
        TEST(tasks_that_are_right_or_closed_or_not_due_are_left_alone),
        TEST(the_instant_follows_and_everybody_is_told),
        TEST(what_needs_no_new_instant_is_refused),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
