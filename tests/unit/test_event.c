/* SPDX-License-Identifier: Apache-2.0 */
/* The codec of events: one form only, the same bytes after any journey, and what clients are shown
 * of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "schema/event.h"
#include "schema/instant.h"
#include "schema/json.h"
#include "schema/limits.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static arena_t *arena;

static int set_up(void **unused)
{
    (void)unused;
    arena = arena_new();
    return sodium_init() < 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    arena_destroy(&arena);
    return 0;
}

static void seed_random(void)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)random() % n;
}

static slice_t kept(buf_t *bytes)
{
    slice_t copy = arena_copy(arena, buf_slice(bytes));
    buf_fini(bytes);
    return copy;
}

/* JSON text as msgpack. */
static slice_t mp_of(const char *json)
{
    buf_t out = {0};
    problem_t problem = {0};
    assert_int_equal(json_to_mp(slice_str(json), &out, arena, &problem), ERR_OK);
    return kept(&out);
}

static uuid_t random_uuid(void)
{
    uuid_t id;
    for (int i = 0; i < UUID_BYTES; i++)
        id.bytes[i] = (uint8_t)random();
    id.bytes[0] |= 1;
    return id;
}

static slice_t random_map(void)
{
    static const char *const pool[] = {
        "{}",
        "{\"title\":\"水 \\\"🌱\\\"\\u0001\",\"tags\":[\"a\",\"b\"],\"due\":null}",
        "{\"n\":[0,-1,127,128,255,256,65536,-9223372036854775808,9223372036854775807]}",
        "{\"recurrence\":{\"rule\":\"FREQ=DAILY\",\"from\":\"due\"},\"done\":true}",
    };
    uint32_t i = below(COUNT_OF(pool) + 2);
    return i < COUNT_OF(pool) ? mp_of(pool[i]) : slice_none();
}

static event_t random_event(void)
{
    static const int64_t revs[] = {1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, INT64_MAX};
    static const int64_t instants[] = {0, -1, INSTANT_MIN, INSTANT_MAX, 1795420800123450};
    event_t event = {
        .stream = random_uuid(),
        .rev = revs[below(COUNT_OF(revs))],
        .epoch = "0123456789abcdef",
        .type = (event_type_t)(1 + below(EVENT_TYPE_COUNT - 1)),
        .command = random_uuid(),
        .by = random_uuid(),
        .at_us = instants[below(COUNT_OF(instants))],
        .more = below(2) == 0,
        .set = random_map(),
        .was = random_map(),
        .after = random_map(),
        .reminder = random_map(),
    };
    if (below(2) == 0)
        event.task = random_uuid();
    return event;
}

static slice_t encoded(const event_t *event)
{
    buf_t bytes = {0};
    event_encode(event, &bytes);
    return kept(&bytes);
}

/* An event with every key. */
static event_t full_event(void)
{
    return (event_t){
        .stream = {{1}},
        .rev = 300,
        .epoch = "0123456789abcdef",
        .type = EVENT_TASK_UPDATED,
        .task = {{2}},
        .command = {{0xab, 0xcd}},
        .by = {{4}},
        .at_us = INT64_C(1795420800500000),
        .more = true,
        .set = mp_of("{\"title\":\"new\"}"),
        .was = mp_of("{\"title\":\"old\"}"),
        .after = mp_of("{\"id\":\"x\",\"title\":\"new\"}"),
        .reminder = mp_of("{\"id\":\"y\"}"),
    };
}

static const char full_json[] =
    "{\"v\":1,\"stream\":\"01000000-0000-0000-0000-000000000000\",\"rev\":300,"
    "\"epoch\":\"0123456789abcdef\",\"type\":\"task.updated\","
    "\"task\":\"02000000-0000-0000-0000-000000000000\","
    "\"command\":\"abcd0000-0000-0000-0000-000000000000\","
    "\"by\":\"04000000-0000-0000-0000-000000000000\",\"at\":\"2026-11-23T08:00:00.5Z\","
    "\"more\":true,\"set\":{\"title\":\"new\"},\"was\":{\"title\":\"old\"},"
    "\"after\":{\"id\":\"x\",\"title\":\"new\"},\"reminder\":{\"id\":\"y\"}}";

static void every_type_has_a_name_that_finds_it(void **unused)
{
    (void)unused;
    for (int type = EVENT_UNKNOWN + 1; type < EVENT_TYPE_COUNT; type++) {
        slice_t name = slice_str(event_type_name((event_type_t)type));
        assert_int_equal(event_type_of(name), type);
    }
    assert_string_equal(event_type_name(EVENT_TASK_MOVED_OUT), "task.moved_out");
    assert_int_equal(event_type_of(slice_str("task.exploded")), EVENT_UNKNOWN);
    assert_int_equal(event_type_of(slice_str("unknown")), EVENT_UNKNOWN);
    assert_int_equal(event_type_of(slice_none()), EVENT_UNKNOWN);
}

static void an_event_is_the_canonical_form_of_its_json(void **unused)
{
    (void)unused;
    event_t event = full_event();
    assert_true(slice_eq(encoded(&event), mp_of(full_json)));
}

static void absent_values_have_no_key_and_an_empty_set_has_one(void **unused)
{
    (void)unused;
    event_t event = full_event();
    event.task = UUID_NIL;
    event.more = false;
    event.set = mp_of("{}");
    event.was = event.after = event.reminder = slice_none();
    slice_t bytes = encoded(&event);
    slice_t value;
    assert_false(mp_map_find(bytes, "task", &value));
    assert_false(mp_map_find(bytes, "more", &value));
    assert_false(mp_map_find(bytes, "was", &value));
    assert_true(mp_map_find(bytes, "set", &value));
    assert_int_equal(value.n_bytes, 1);
    event_t back;
    assert_true(event_decode(bytes, &back));
    assert_non_null(back.set.data);
    assert_null(back.was.data);
    assert_true(slice_eq(encoded(&back), bytes));
}

static void random_events_come_back_with_the_same_bytes(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 2000; i++) {
        event_t event = random_event();
        slice_t bytes = encoded(&event);
        assert_true(mp_is_canonical(bytes));
        event_t back;
        assert_true(event_decode(bytes, &back));
        assert_int_equal(back.rev, event.rev);
        assert_int_equal(back.type, event.type);
        assert_int_equal(back.at_us, event.at_us);
        assert_int_equal(back.more, event.more);
        assert_true(uuid_eq(&back.task, &event.task));
        assert_true(slice_eq(encoded(&back), bytes));
        arena_reset(arena);
    }
}

static void random_events_travel_as_json(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 500; i++) {
        event_t event = random_event();
        slice_t bytes = encoded(&event);
        buf_t json = {0};
        buf_t back = {0};
        problem_t problem = {0};
        assert_true(json_from_mp(bytes, &json));
        assert_int_equal(json_to_mp(buf_slice(&json), &back, arena, &problem), ERR_OK);
        assert_true(slice_eq(buf_slice(&back), bytes));
        buf_fini(&json);
        buf_fini(&back);
        arena_reset(arena);
    }
}

/* In a block of its own size, so that reading beyond the end is seen. */
static bool decodes(slice_t bytes)
{
    uint8_t *block = malloc(bytes.n_bytes + 1);
    assert_non_null(block);
    memcpy(block + 1, bytes.data, bytes.n_bytes);
    event_t event;
    bool ok = event_decode(slice_of(block + 1, bytes.n_bytes), &event);
    free(block);
    return ok;
}

static void truncated_events_are_refused_at_every_length(void **unused)
{
    (void)unused;
    event_t event = full_event();
    slice_t bytes = encoded(&event);
    assert_true(decodes(bytes));
    for (size_t n_bytes = 0; n_bytes < bytes.n_bytes; n_bytes++)
        assert_false(decodes(slice_of(bytes.data, n_bytes)));
    buf_t longer = {0};
    buf_append_slice(&longer, bytes);
    mp_put_nil(&longer);
    assert_false(decodes(kept(&longer)));
}

static bool has_unknown_keys(slice_t bytes)
{
    static const char *const known[] = {
        "v",  "stream", "rev",  "epoch", "type", "task",  "command",
        "by", "at",     "more", "set",   "was",  "after", "reminder",
    };
    mp_reader_t reader = mp_reader(bytes);
    uint32_t n_pairs = 0;
    assert_true(mp_get_map(&reader, &n_pairs));
    for (; n_pairs > 0; n_pairs--) {
        slice_t name;
        bool is_known = false;
        assert_true(mp_get_str(&reader, &name) && mp_skip(&reader));
        for (size_t i = 0; i < COUNT_OF(known); i++)
            is_known = is_known || slice_is(name, known[i]);
        if (!is_known)
            return true;
    }
    return false;
}

static void what_is_accepted_with_known_keys_encodes_to_the_same_bytes(void **unused)
{
    (void)unused;
    seed_random();
    event_t event = full_event();
    slice_t bytes = encoded(&event);
    uint8_t *changed = arena_alloc(arena, bytes.n_bytes);
    int n_accepted = 0;
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        for (unsigned mask = 1; mask < 256; mask++) {
            memcpy(changed, bytes.data, bytes.n_bytes);
            changed[i] ^= (uint8_t)mask;
            event_t back;
            slice_t text = slice_of(changed, bytes.n_bytes);
            if (!event_decode(text, &back) || back.type == EVENT_UNKNOWN || has_unknown_keys(text))
                continue;
            n_accepted++;
            buf_t again = {0};
            event_encode(&back, &again);
            assert_true(slice_eq(buf_slice(&again), text));
            buf_fini(&again);
        }
    }
    assert_true(n_accepted > 1000); /* other ids and texts */
}

/* The full event as JSON with one piece replaced. */
static slice_t with_piece(const char *piece, const char *replacement)
{
    const char *found = strstr(full_json, piece);
    assert_non_null(found);
    slice_t json = arena_format(arena, "%.*s%s%s", (int)(found - full_json), full_json, replacement,
                                found + strlen(piece));
    return mp_of((const char *)json.data);
}

static void unknown_keys_and_types_are_skipped(void **unused)
{
    (void)unused;
    event_t event = full_event();
    event_t back;
    assert_true(event_decode(with_piece("{\"v\"", "{\"w\":[{}],\"v\""), &back));
    assert_true(slice_eq(encoded(&back), encoded(&event)));
    assert_true(event_decode(with_piece("\"at\"", "\"trace\":{\"id\":7},\"at\""), &back));
    assert_true(slice_eq(encoded(&back), encoded(&event)));
    assert_true(event_decode(with_piece("\"id\":\"y\"}", "\"id\":\"y\"},\"zone\":null"), &back));
    assert_true(slice_eq(encoded(&back), encoded(&event)));
    assert_true(event_decode(with_piece("task.updated", "task.starred"), &back));
    assert_int_equal(back.type, EVENT_UNKNOWN);
    assert_int_equal(back.rev, 300);
}

static void what_is_missing_wrong_or_out_of_order_is_refused(void **unused)
{
    (void)unused;
    static const char *const rows[][2] = {
        {"\"v\":1,", ""},
        {"\"v\":1,", "\"v\":2,"},
        {"\"v\":1,", "\"v\":0,"},
        {"\"v\":1,", "\"v\":\"1\","},
        {"\"stream\":\"01000000-0000-0000-0000-000000000000\",", ""},
        {"\"stream\":\"01000000-0000-0000-0000-000000000000\",", "\"stream\":null,"},
        {"\"rev\":300,", ""},
        {"\"rev\":300", "\"rev\":0"},
        {"\"rev\":300", "\"rev\":-300"},
        {"\"rev\":300", "\"rev\":\"300\""},
        {"\"epoch\":\"0123456789abcdef\",", ""},
        {"0123456789abcdef", "0123456789abcde"},
        {"0123456789abcdef", "0123456789abcdef0"},
        {"\"epoch\":\"0123456789abcdef\"", "\"epoch\":null"},
        {"\"type\":\"task.updated\",", ""},
        {"\"type\":\"task.updated\"", "\"type\":2"},
        {"\"task\":\"02000000-0000-0000-0000-000000000000\"", "\"task\":null"},
        {"\"task\":\"02000000-0000-0000-0000-000000000000\"", "\"task\":{}"},
        {"\"command\":\"abcd0000-0000-0000-0000-000000000000\",", ""},
        {"abcd0000", "ABCD0000"},
        {"abcd0000", "abcd000g"},
        {"\"by\":\"04000000-0000-0000-0000-000000000000\",", ""},
        {"\"at\":\"2026-11-23T08:00:00.5Z\",", ""},
        {"08:00:00.5Z", "08:00:00.50Z"},
        {"08:00:00.5Z", "08:00:00.5z"},
        {"T08:00:00.5Z", "T09:00:00.5+01:00"},
        {"T08:00:00.5Z", ""},
        {"\"at\":\"2026-11-23T08:00:00.5Z\"", "\"at\":null"},
        {"\"more\":true", "\"more\":false"},
        {"\"more\":true", "\"more\":1"},
        {"\"set\":{\"title\":\"new\"}", "\"set\":null"},
        {"\"set\":{\"title\":\"new\"}", "\"set\":[]"},
        {"\"was\":{\"title\":\"old\"}", "\"was\":\"old\""},
        {"\"v\":1,\"stream\":\"01000000-0000-0000-0000-000000000000\"",
         "\"stream\":\"01000000-0000-0000-0000-000000000000\",\"v\":1"},
        {"\"set\":{\"title\":\"new\"},\"was\":{\"title\":\"old\"}",
         "\"was\":{\"title\":\"old\"},\"set\":{\"title\":\"new\"}"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (decodes(with_piece(rows[i][0], rows[i][1])))
            fail_msg("accepted: %s for %s", rows[i][1], rows[i][0]);
    }
    assert_false(decodes(mp_of("[]")));
    assert_false(decodes(mp_of("null")));
    assert_false(decodes(slice_str("")));
}

/* The bytes with a run of them replaced. */
static slice_t respelled(slice_t bytes, size_t at, size_t n_old, const char *spelling, size_t n_new)
{
    buf_t out = {0};
    buf_append(&out, bytes.data, at);
    buf_append(&out, spelling, n_new);
    buf_append(&out, bytes.data + at + n_old, bytes.n_bytes - at - n_old);
    return kept(&out);
}

static size_t place_of(slice_t bytes, const char *text)
{
    const uint8_t *found = memmem(bytes.data, bytes.n_bytes, text, strlen(text));
    assert_non_null(found);
    return (size_t)(found - bytes.data);
}

static void longer_forms_of_the_same_values_are_refused(void **unused)
{
    (void)unused;
    event_t event = full_event();
    slice_t bytes = encoded(&event);
    assert_int_equal(bytes.data[0], 0x8e);
    assert_false(decodes(respelled(bytes, 0, 1, "\xde\x00\x0e", 3)));
    assert_false(decodes(respelled(bytes, 0, 1, "\xdf\x00\x00\x00\x0e", 5)));
    size_t v = place_of(bytes, "\xa1v");
    assert_false(decodes(respelled(bytes, v, 1, "\xd9\x01", 2)));
    assert_false(decodes(respelled(bytes, v + 2, 1, "\xcc\x01", 2)));
    assert_false(decodes(respelled(bytes, v + 2, 1, "\xd0\x01", 2)));
    size_t rev = place_of(bytes, "rev") + 3;
    assert_int_equal(bytes.data[rev], 0xcd);
    assert_true(decodes(respelled(bytes, rev, 3, "\xcd\x01\x2d", 3)));
    assert_false(decodes(respelled(bytes, rev, 3, "\xd1\x01\x2d", 3)));
    assert_false(decodes(respelled(bytes, rev, 3, "\xce\x00\x00\x01\x2d", 5)));
    assert_false(decodes(respelled(bytes, rev, 3, "\xd3\0\0\0\0\0\0\x01\x2d", 9)));
    assert_false(decodes(respelled(bytes, rev, 3, "\xcf\xff\0\0\0\0\0\x01\x2d", 9)));
    size_t stream = place_of(bytes, "01000000-") - 2;
    assert_false(decodes(respelled(bytes, stream, 2, "\xda\x00\x24", 3)));
    size_t type = place_of(bytes, "task.updated") - 1;
    assert_false(decodes(respelled(bytes, type, 1, "\xd9\x0c", 2)));
}

static void an_event_over_the_limit_is_refused(void **unused)
{
    (void)unused;
    size_t n_notes = LIMIT_EVENT_BYTES / 2;
    uint8_t *notes = arena_alloc(arena, n_notes);
    memset(notes, 'x', n_notes);
    buf_t map = {0};
    mp_put_map(&map, 1);
    mp_put_cstr(&map, "notes");
    mp_put_str(&map, slice_of(notes, n_notes));
    event_t event = full_event();
    event.was = kept(&map);
    assert_true(decodes(encoded(&event)));
    event.after = event.was;
    assert_false(decodes(encoded(&event)));
}

static void assert_json(buf_t *json, const char *expected)
{
    buf_append_byte(json, '\0');
    assert_string_equal((const char *)json->data, expected);
    buf_fini(json);
}

static void history_shows_all_but_the_version(void **unused)
{
    (void)unused;
    event_t event = full_event();
    buf_t json = {0};
    event_put_json(&event, &json);
    slice_t expected = arena_format(arena, "{%s", full_json + strlen("{\"v\":1,"));
    assert_json(&json, (const char *)expected.data);
}

static void clients_do_not_see_version_was_and_after(void **unused)
{
    (void)unused;
    event_t event = full_event();
    buf_t json = {0};
    buf_append_str(&json, "{\"op\":\"event\",");
    event_put_client_json(&event, &json);
    buf_append_byte(&json, '}');
    assert_json(&json, "{\"op\":\"event\",\"stream\":\"01000000-0000-0000-0000-000000000000\","
                       "\"rev\":300,\"epoch\":\"0123456789abcdef\",\"type\":\"task.updated\","
                       "\"task\":\"02000000-0000-0000-0000-000000000000\","
                       "\"command\":\"abcd0000-0000-0000-0000-000000000000\","
                       "\"by\":\"04000000-0000-0000-0000-000000000000\","
                       "\"at\":\"2026-11-23T08:00:00.5Z\",\"more\":true,"
                       "\"set\":{\"title\":\"new\"},\"reminder\":{\"id\":\"y\"}}");
}

static void random_events_are_shown_as_their_bytes_say(void **unused)
{
    (void)unused;
    seed_random();
    for (int i = 0; i < 300; i++) {
        event_t event = random_event();
        buf_t shown = {0};
        buf_t whole = {0};
        event_put_json(&event, &shown);
        assert_true(json_from_mp(encoded(&event), &whole));
        size_t n_version = strlen("\"v\":1,");
        assert_int_equal(shown.n_bytes + n_version, whole.n_bytes);
        assert_memory_equal(shown.data + 1, whole.data + 1 + n_version, shown.n_bytes - 1);
        buf_fini(&shown);
        buf_fini(&whole);
        arena_reset(arena);
    }
}

static void damaged_values_do_not_spoil_the_json_around_them(void **unused)
{
    (void)unused;
    event_t event = full_event();
    event.set = slice_of("\x81\xa5title\xc1", 8);
    buf_t json = {0};
    buf_t back = {0};
    problem_t problem = {0};
    event_put_json(&event, &json);
    assert_int_equal(json_to_mp(buf_slice(&json), &back, arena, &problem), ERR_OK);
    slice_t value;
    assert_true(mp_map_find(buf_slice(&back), "set", &value));
    assert_int_equal(*value.data, 0xc0);
    buf_fini(&json);
    buf_fini(&back);
}

static void the_digest_depends_on_body_and_salt(void **unused)
{
    (void)unused;
    static const uint8_t salt[SALT_BYTES] = {1, 2, 3};
    static const uint8_t other_salt[SALT_BYTES] = {1, 2, 4};
    /* Python: hashlib.blake2b(b"body", digest_size=32, key=bytes([1, 2, 3]) + bytes(13)) */
    static const char expected[] =
        "50aa1c41452752126df4958b80bba805b7dbc5dc25ffd08fa1eda4134936babb";
    uint8_t digest[DIGEST_BYTES];
    uint8_t other[DIGEST_BYTES];
    char hex[DIGEST_BYTES * 2 + 1];
    event_digest(slice_str("body"), salt, digest);
    assert_string_equal(sodium_bin2hex(hex, sizeof hex, digest, sizeof digest), expected);
    event_digest(slice_str("body"), other_salt, other);
    assert_memory_not_equal(digest, other, sizeof digest);
    event_digest(slice_str("bodz"), salt, other);
    assert_memory_not_equal(digest, other, sizeof digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_a_name_that_finds_it),
        cmocka_unit_test(an_event_is_the_canonical_form_of_its_json),
        cmocka_unit_test(absent_values_have_no_key_and_an_empty_set_has_one),
        cmocka_unit_test(random_events_come_back_with_the_same_bytes),
        cmocka_unit_test(random_events_travel_as_json),
        cmocka_unit_test(truncated_events_are_refused_at_every_length),
        cmocka_unit_test(what_is_accepted_with_known_keys_encodes_to_the_same_bytes),
        cmocka_unit_test(unknown_keys_and_types_are_skipped),
        cmocka_unit_test(what_is_missing_wrong_or_out_of_order_is_refused),
        cmocka_unit_test(longer_forms_of_the_same_values_are_refused),
        cmocka_unit_test(an_event_over_the_limit_is_refused),
        cmocka_unit_test(history_shows_all_but_the_version),
        cmocka_unit_test(clients_do_not_see_version_was_and_after),
        cmocka_unit_test(random_events_are_shown_as_their_bytes_say),
        cmocka_unit_test(damaged_values_do_not_spoil_the_json_around_them),
        cmocka_unit_test(the_digest_depends_on_body_and_salt),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
