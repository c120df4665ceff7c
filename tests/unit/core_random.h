/* SPDX-License-Identifier: Apache-2.0 */
/* Random commands of all ops, right and wrong, by all sorts of authors, in the small world of
 * core.h. A run begins with its seed. */
#ifndef TASKWIRE_TESTS_CORE_RANDOM_H
#define TASKWIRE_TESTS_CORE_RANDOM_H

#include "core_test.h"

#include <time.h>

#define N_TASK_IDS 48

typedef struct {
    core_t core;
    uint64_t seed;
    buf_t json;
    unsigned n_accepted[OP_COUNT];
    unsigned n_refused[OP_COUNT];
} run_t;

/* Source: splitmix64 (S. Vigna). */
static uint64_t next_random(run_t *run)
{
    uint64_t z = run->seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t pick(run_t *run, size_t n)
{
    return (size_t)(next_random(run) % n);
}

#define PICK(run, array) ((array)[pick(run, sizeof(array) / sizeof((array)[0]))])

static uuid_t pick_task(run_t *run)
{
    return core_id(0x1000 + (unsigned)pick(run, N_TASK_IDS));
}

/* One that is there, if there is any. */
static uuid_t pick_existing(run_t *run)
{
    for (int i = 0; i < 8; i++) {
        const state_task_t *found = state_task_at(run->core.state, pick(run, N_TASK_IDS));
        if (found != NULL && found->task.deleted_at_us == INSTANT_NONE)
            return found->task.id;
    }
    return pick_task(run);
}

/* Anna the most often, so that most is allowed. */
static const uuid_t *pick_author(run_t *run)
{
    core_t *core = &run->core;
    const uuid_t *authors[] = {&core->anna, &core->anna, &core->anna, &core->anna, &core->ben,
                               &core->ben,  &core->ben,  &core->vera, &core->stan};
    return PICK(run, authors);
}

/* --- values --- */

/* Stands for an id of a task. */
#define PARENT "'parent':'?'"

/* The fields of a task, each mostly right. */
static const char *const fields[] = {
    "'title':'Water the plants'",
    "'title':'Größe 😀'",
    "'notes':'one\\ntwo'",
    "'notes':null",
    "'status':'open'",
    "'status':'in_progress'",
    "'status':'done'",
    "'status':'cancelled'",
    "'priority':'urgent'",
    "'priority':null",
    "'tags':['a','b']",
    "'tags':{'add':['c','d'],'remove':['a']}",
    "'tags':{'remove':['c','d']}",
    "'tags':null",
    "'due':'2026-11-24'",
    "'due':'2026-03-29T02:30'",
    "'due':'2026-11-23T09:00:00+01:00'",
    "'due':null",
    "'time_zone':'Europe/Zurich'",
    "'time_zone':'America/New_York'",
    "'time_zone':null",
    "'recurrence':{'rule':'daily'}",
    "'recurrence':{'rule':'FREQ=MONTHLY;COUNT=3','missed':'each'}",
    "'recurrence':{'from':'completion'}",
    "'recurrence':null",
    "'reminders':[{'before':'PT15M'},{'at':'2026-11-23T07:00:00Z','for':'all'}]",
    "'reminders':[{'before':'PT900S'},{'before':'P1D','for':'assignee'}]",
    "'reminders':[]",
    "'assignee':'01935700-0000-7000-8000-0000000000a2'",
    "'assignee':'01935700-0000-7000-8000-0000000000a4'",
    "'assignee':null",
    "'position':'a5'",
    "'position':'zz'",
    "'position':null",
    "'parent':null",
    PARENT,
    PARENT,
    PARENT,
};

static const char *const wrong_fields[] = {
    "'colour':'red'",
    "'rev':7",
    "'parent':'01935700-0000-7000-8000-0000000000a2'",
    "'parent':7",
};

/* The name of a field with its quotes. */
static size_t name_chars(const char *field)
{
    return (size_t)(strchr(field, ':') - field);
}

/* The given fields and a few more, none of them twice. */
static const char *pick_fields(run_t *run, const char *given)
{
    char name[32];
    buf_reset(&run->json);
    buf_format(&run->json, "{%s", given);
    for (size_t n = pick(run, 4); n > 0; n--) {
        const char *field = pick(run, 16) == 0 ? PICK(run, wrong_fields) : PICK(run, fields);
        snprintf(name, sizeof name, "%.*s", (int)name_chars(field), field);
        if (memmem(run->json.data, run->json.n_bytes, name, strlen(name)) != NULL)
            continue;
        if (slice_is(slice_str(field), PARENT)) {
            uuid_t parent = pick_existing(run);
            field = (const char *)arena_format(run->core.arena, "'parent':'%s'",
                                               core_text(&run->core, &parent))
                        .data;
        }
        buf_format(&run->json, "%s%s", run->json.n_bytes == 1 ? "" : ",", field);
    }
    buf_append_str(&run->json, "}");
    buf_append_byte(&run->json, 0);
    return (const char *)run->json.data;
}

static void count(run_t *run, err_t err)
{
    op_t op = run->core.command.op;
    if (err == ERR_OK && run->core.out.missing == 0)
        run->n_accepted[op]++;
    else
        run->n_refused[op]++;
}

/* Circumstances that any command may have. */
static void vary(run_t *run, const uuid_t *task)
{
    core_t *core = &run->core;
    const state_task_t *found = task == NULL ? NULL : state_task(core->state, task);
    if (pick(run, 16) == 0 && core->n_commands > 0)
        core->id = core_id(0xc0000 + 1 + (unsigned)pick(run, core->n_commands));
    if (pick(run, 10) == 0)
        core->expect =
            found != NULL && pick(run, 2) == 0 ? found->task.rev : 1 + (int64_t)pick(run, 9);
    if (pick(run, 20) == 0)
        core->scopes = (uint32_t)pick(run, 4);
    if (pick(run, 20) == 0) {
        core->lists = pick(run, 2) == 0 ? &core->list : &core->other;
        core->n_lists = 1;
    }
    if (found != NULL && pick(run, 20) != 0)
        core->in = found->task.list;
    core->now_us += (int64_t)pick(run, 3) * US_PER_S * 600;
}

/* --- commands --- */

static void create_task(run_t *run)
{
    static const char *const beginnings[] = {
        "'title':'x'",
        "'title':'x','due':'2026-11-24','recurrence':{'rule':'daily'}",
        "'title':'x','due':'2026-11-23T09:00','reminders':[{'before':'PT1H'},{'before':'PT9H'}]",
        "'title':'x','due':'2026-11-23','recurrence':{'rule':'weekly'},"
        "'reminders':[{'before':'P1D'}]",
    };
    core_t *core = &run->core;
    const uuid_t *author = pick_author(run);
    uuid_t task = pick_task(run);
    vary(run, NULL);
    if (author == &core->stan)
        core->in = core->other;
    count(run,
          core_do(core, author, "task.create", &task, pick_fields(run, PICK(run, beginnings))));
}

static void change_task(run_t *run)
{
    static const char *const ops[] = {"task.patch",    "task.patch",    "task.patch",
                                      "task.complete", "task.complete", "task.reopen",
                                      "task.delete",   "task.snooze",   "reminder.dismiss"};
    core_t *core = &run->core;
    const char *op = PICK(run, ops);
    uuid_t task = pick_existing(run);
    vary(run, &task);
    const uuid_t *author = uuid_eq(&core->in, &core->other) ? &core->stan : pick_author(run);
    const char *json = NULL;
    if (slice_is(slice_str(op), "task.patch"))
        json = pick_fields(run, "");
    else if (slice_is(slice_str(op), "task.snooze"))
        json = pick(run, 4) == 0 ? "{}" : "{'for':'PT1H'}";
    else if (slice_is(slice_str(op), "reminder.dismiss"))
        json = pick(run, 4) == 0 ? "{'at':'2026-11-23T08:00:00Z'}"
                                 : "{'reminder':'01935700-0000-7000-8000-0000000000f1'}";
    count(run, core_do(core, author, op, &task, json));
}

/* One that is deleted, if there is any. */
static void restore_task(run_t *run)
{
    core_t *core = &run->core;
    uuid_t task = pick_task(run);
    for (size_t i = pick(run, N_TASK_IDS); i < N_TASK_IDS; i++) {
        const state_task_t *found = state_task_at(core->state, i);
        if (found != NULL && found->task.deleted_at_us != INSTANT_NONE) {
            task = found->task.id;
            break;
        }
    }
    vary(run, &task);
    const uuid_t *author = uuid_eq(&core->in, &core->other) ? &core->stan : pick_author(run);
    count(run, core_do(core, author, "task.restore", &task, NULL));
}

/* What a deleted task is under, if there is any: it goes without that one. */
static uuid_t pick_leaving(run_t *run)
{
    for (size_t i = pick(run, N_TASK_IDS); i < N_TASK_IDS; i++) {
        const state_task_t *found = state_task_at(run->core.state, i);
        if (found != NULL && found->task.deleted_at_us != INSTANT_NONE &&
            !uuid_is_nil(&found->task.parent))
            return found->task.parent;
    }
    return pick_existing(run);
}

static void move_task(run_t *run)
{
    core_t *core = &run->core;
    char json[80];
    uuid_t task = pick(run, 2) == 0 ? pick_leaving(run) : pick_existing(run);
    vary(run, &task);
    uuid_t target = core->in;
    if (pick(run, 8) != 0)
        target = uuid_eq(&core->in, &core->other) ? core->list : core->other;
    snprintf(json, sizeof json, "{'list':'%s'}", core_text(core, &target));
    if (pick(run, 8) == 0)
        snprintf(json, sizeof json, "{'list':'x'}");
    const uuid_t *author = pick(run, 3) == 0 ? pick_author(run) : &core->ben;
    count(run, core_do(core, author, "task.move", &task, json));
}

/* Mostly as the actor would ask, now and then out of date. */
static void succeed(run_t *run)
{
    core_t *core = &run->core;
    const state_task_t *found = NULL;
    uuid_t id = pick(run, 8) == 0 ? pick_task(run) : core_id(0x4000 + core->n_commands);
    char json[256];
    for (size_t i = pick(run, N_TASK_IDS); i < N_TASK_IDS; i++) {
        found = state_task_at(core->state, i);
        if (found == NULL || (found->task.rule.data != NULL && !task_is_live(&found->task)))
            break;
    }
    if (found == NULL)
        return;
    snprintf(json, sizeof json, "{'succeeds':'%s','closed_rev':%lld}",
             core_text(core, &found->task.id),
             (long long)(found->task.closed_rev + (pick(run, 6) == 0)));
    core->in = found->task.list;
    count(run, core_do(core, &author_recurrence, "task.succeed", &id, json));
}

static void remind(run_t *run)
{
    core_t *core = &run->core;
    const state_task_t *found = state_task_at(core->state, pick(run, N_TASK_IDS));
    if (found == NULL || found->task.n_reminders == 0)
        return;
    const reminder_t *reminder = &found->task.reminders[pick(run, found->task.n_reminders)];
    int64_t at_us = task_reminder_at(&found->task, reminder);
    char at[INSTANT_TEXT_CHARS + 1];
    char json[256];
    instant_format(at_us + (pick(run, 6) == 0), at);
    snprintf(json, sizeof json, "{'reminder':'%s','at':'%s'}", core_text(core, &reminder->id), at);
    core->in = found->task.list;
    count(run, core_do(core, &author_reminder, "task.remind", &found->task.id, json));
}

/* Now and then the instant of a due date is what other zone data made it. */
static void retime(run_t *run)
{
    core_t *core = &run->core;
    state_task_t *found = state_task_at(core->state, pick(run, N_TASK_IDS));
    if (found == NULL)
        return;
    if (found->task.due.data != NULL && pick(run, 3) > 0)
        found->task.due_at_us -= 3600 * US_PER_S;
    core->in = found->task.list;
    count(run, core_do(core, &author_retime, "task.retime", &found->task.id, NULL));
}

static void change_list(run_t *run)
{
    core_t *core = &run->core;
    static const char *const roles[] = {"viewer", "editor", "owner", "king"};
    char json[256];
    vary(run, NULL);
    if (pick(run, 3) == 0) {
        core->in = core_id(0x2000 + (unsigned)pick(run, 8));
        count(run, core_do(core, pick_author(run), "list.create", NULL, "{'title':'Work'}"));
        return;
    }
    snprintf(json, sizeof json, "{'account':'%s','role':'%s'}", core_text(core, pick_author(run)),
             PICK(run, roles));
    count(run, core_do(core, pick_author(run), "member.put", NULL, json));
}

static void change_a_list_itself(run_t *run)
{
    static const char *const ops[] = {"list.patch", "list.patch", "list.delete", "list.restore",
                                      "list.restore"};
    static const char *const patches[] = {
        "{'title':'Garden'}", "{'archived':true}", "{'archived':false,'title':'Home'}", "{}",
        "{'title':null}",     "{'colour':'red'}"};
    core_t *core = &run->core;
    const char *op = PICK(run, ops);
    vary(run, NULL);
    core->n_lists = 0;
    if (pick(run, 8) == 0)
        state_hold(core->state, shard_bit(&core->list));
    bool is_gone = state_list(core->state, &core->list)->deleted_at_us != INSTANT_NONE;
    const uuid_t *author = pick_author(run);
    if (is_gone && pick(run, 4) != 0) {
        op = "list.restore";
        author = &core->anna;
        core_next(core);
    }
    count(run, core_do(core, author, op, NULL,
                       slice_is(slice_str(op), "list.patch") ? PICK(run, patches) : NULL));
    state_hold(core->state, SHARDS_ALL);
}

static void remove_member(run_t *run)
{
    core_t *core = &run->core;
    char json[128];
    snprintf(json, sizeof json, "{'account':'%s'}", core_text(core, pick_author(run)));
    vary(run, NULL);
    count(run, core_do(core, pick_author(run), "member.remove", NULL, json));
}

/* Of a removal that had more tasks to release than one command may: some are left. */
static void release_member(run_t *run)
{
    core_t *core = &run->core;
    const uuid_t *account = pick(run, 3) > 0 ? &core->stan : pick_author(run);
    state_task_t *found = state_task_at(core->state, pick(run, N_TASK_IDS));
    char json[128];
    if (found == NULL)
        return;
    if (found->task.deleted_at_us == INSTANT_NONE && pick(run, 3) > 0)
        found->task.assignee = *account;
    core->in = found->task.list;
    snprintf(json, sizeof json, "{'account':'%s'}", core_text(core, account));
    count(run, core_do(core, &author_recurrence, "member.release", NULL, json));
}

static void change_account(run_t *run)
{
    core_t *core = &run->core;
    static const char *const patches[] = {"{'name':'A'}",
                                          "{'name':null}",
                                          "{'time_zone':'UTC'}",
                                          "{'time_zone':'Asia/Tokyo','password_hash':'$x'}",
                                          "{}",
                                          "{'email':'x@y'}"};
    const uuid_t *author = pick_author(run);
    vary(run, NULL);
    core->in = *author;
    if (pick(run, 6) == 0) {
        uuid_t id = pick(run, 2) == 0 ? core_id(0x3000 + (unsigned)pick(run, 6)) : *author;
        core->in = id;
        count(run, core_do(core, &id, "account.delete", NULL, NULL));
        return;
    }
    if (pick(run, 4) == 0) {
        uuid_t id = core_id(0x3000 + (unsigned)pick(run, 6));
        core->in = id;
        count(run, core_do(core, &id, "account.create", NULL,
                           "{'email':'x@y','time_zone':'UTC','password_hash':'$x'}"));
        return;
    }
    count(run, core_do(core, author, "account.patch", NULL, PICK(run, patches)));
}

/* What no op does yet; and now and then the roles of the beginning, so that somebody may go on. */
static void change_world(run_t *run)
{
    core_t *core = &run->core;
    list_t *list = state_list(core->state, &core->list);
    list->is_archived = !list->is_archived && pick(run, 8) == 0;
    list->deleted_at_us = INSTANT_NONE;
    core_add_member(core, &core->list, &core->anna, ROLE_OWNER);
    core_add_member(core, &core->list, &core->ben, ROLE_EDITOR);
    core_add_member(core, &core->list, &core->vera, ROLE_VIEWER);
    core_add_member(core, &core->list, &core->stan, ROLE_NONE);
    core_add_member(core, &core->other, &core->ben, ROLE_EDITOR);
}

/* One command, or a change of the world. */
static void step(run_t *run)
{
    size_t what = pick(run, 29);
    if (what < 5)
        create_task(run);
    else if (what < 12)
        change_task(run);
    else if (what < 14)
        succeed(run);
    else if (what < 16)
        remind(run);
    else if (what < 17)
        change_list(run);
    else if (what < 19)
        change_account(run);
    else if (what < 21)
        change_a_list_itself(run);
    else if (what < 22)
        remove_member(run);
    else if (what < 24)
        restore_task(run);
    else if (what < 26)
        move_task(run);
    else if (what < 27)
        retime(run);
    else if (what < 28)
        release_member(run);
    else
        change_world(run);
}

/* The seed of this run of the test: TASKWIRE_SEED, or another one each time. It is printed. */
static uint64_t first_seed(void)
{
    const char *text = getenv("TASKWIRE_SEED");
    uint64_t seed = text == NULL ? (uint64_t)time(NULL) : strtoull(text, NULL, 10);
    print_message("TASKWIRE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif
