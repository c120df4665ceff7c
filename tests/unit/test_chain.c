/* SPDX-License-Identifier: Apache-2.0 */
/* The links of the chain, against values that Python's hashlib.blake2b made of the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "actors/chain.h"

static uuid_t id_of(int byte)
{
    uuid_t id;
    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static uint8_t counting[DIGEST_BYTES];
static uint8_t full[DIGEST_BYTES];

static log_event_t first_event(void)
{
    log_event_t event = {.id = INT64_C(1) << 40,
                         .shard = 63,
                         .stream = id_of(1),
                         .rev = 1,
                         .type = EVENT_TASK_COMPLETED,
                         .stored_type = 3,
                         .task = id_of(2),
                         .command = id_of(3),
                         .by = id_of(4),
                         .at_us = INT64_C(1795427755123456),
                         .digest = slice_of(counting, DIGEST_BYTES)};
    memcpy(event.epoch, "0123456789abcdef", EPOCH_CHARS);
    return event;
}

static log_event_t second_event(void)
{
    log_event_t event = {.id = -1,
                         .stream = id_of(1),
                         .rev = 2,
                         .type = EVENT_UNKNOWN,
                         .stored_type = 30000,
                         .command = id_of(5),
                         .by = id_of(6),
                         .at_us = -1,
                         .digest = slice_of(full, DIGEST_BYTES)};
    memcpy(event.epoch, "fedcba9876543210", EPOCH_CHARS);
    return event;
}

static int prepare(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        counting[i] = (uint8_t)i;
        full[i] = 0xff;
    }
    return sodium_init() < 0;
}

static void assert_link(const chain_link_t *link, const char *wanted)
{
    char hex[2 * LINK_BYTES + 1];
    sodium_bin2hex(hex, sizeof hex, link->bytes, LINK_BYTES);
    assert_string_equal(hex, wanted);
}

static void links_have_the_values_that_another_program_computes(void **state)
{
    (void)state;
    chain_link_t genesis = LINK_GENESIS;
    log_event_t event = first_event();
    chain_link_t link = chain_link(&genesis, &event);
    assert_link(&link, "cda55a4eee836f01621e01fe1e9808a3fc2f5a9584a9496d9fcb7b075ad3d687");
    event = second_event();
    link = chain_link(&link, &event);
    assert_link(&link, "959576a3d852365db8a346b37d7017db14329603768f2cd8d38da5af4fccca59");
    event.rev = 3;
    event.id = 0;
    event.stored_type = -5;
    event.at_us = 0;
    event.digest = slice_none(); /* a row that no writer wrote counts as zeroes */
    link = chain_link(&link, &event);
    assert_link(&link, "e93f8c6f6502e994568eba2939d8606cf8e4cea7c2dfab44b8c03dacfb77237d");
}

static void the_body_is_no_part_of_a_link(void **state)
{
    (void)state;
    chain_link_t genesis = LINK_GENESIS;
    log_event_t event = first_event();
    chain_link_t link = chain_link(&genesis, &event);
    event.body = slice_str("purged some day");
    chain_link_t other = chain_link(&genesis, &event);
    assert_true(link_eq(&link, &other));
}

/* Changes one thing; -1 when there is no further one. */
static int change(log_event_t *event, chain_link_t *before, int what)
{
    switch (what) {
    case 0:
        return event->id++, 0;
    case 1:
        return event->shard--, 0;
    case 2:
        return event->stream.bytes[15]++, 0;
    case 3:
        return event->rev++, 0;
    case 4:
        return event->stored_type++, 0;
    case 5:
        return event->task.bytes[0]++, 0;
    case 6:
        return event->command.bytes[0]++, 0;
    case 7:
        return event->by.bytes[0]++, 0;
    case 8:
        return event->at_us++, 0;
    case 9:
        return event->epoch[15]++, 0;
    case 10:
        return event->digest = slice_of(full, DIGEST_BYTES), 0;
    case 11:
        return before->bytes[31]++, 0;
    default:
        return -1;
    }
}

static void every_field_of_the_header_counts(void **state)
{
    (void)state;
    chain_link_t genesis = LINK_GENESIS;
    log_event_t event = first_event();
    chain_link_t link = chain_link(&genesis, &event);
    int what = 0;
    for (;; what++) {
        chain_link_t before = LINK_GENESIS;
        log_event_t changed = first_event();
        if (change(&changed, &before, what) != 0)
            break;
        chain_link_t other = chain_link(&before, &changed);
        assert_false(link_eq(&link, &other));
    }
    assert_int_equal(what, 12);
}

/* What this program knows of a type may change; the number that is stored does not. */
static void the_number_of_the_type_counts_not_its_meaning(void **state)
{
    (void)state;
    chain_link_t genesis = LINK_GENESIS;
    log_event_t event = second_event();
    chain_link_t link = chain_link(&genesis, &event);
    event.type = EVENT_LIST_LEFT;
    chain_link_t other = chain_link(&genesis, &event);
    assert_true(link_eq(&link, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_have_the_values_that_another_program_computes),
        cmocka_unit_test(the_body_is_no_part_of_a_link),
        cmocka_unit_test(every_field_of_the_header_counts),
        cmocka_unit_test(the_number_of_the_type_counts_not_its_meaning),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
