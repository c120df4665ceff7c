/* SPDX-License-Identifier: Apache-2.0 */
/* Ids: text and bytes, the versions that we make, and the hash that rows are stored by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "schema/shard.h"
#include "schema/uuid.h"

static const char SPACE[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

static uuid_t parsed(const char *text)
{
    uuid_t id;
    assert_true(uuid_parse(slice_str(text), &id));
    return id;
}

static void assert_text(const uuid_t *id, const char *expected)
{
    char text[UUID_TEXT_CHARS];
    uuid_format(id, text);
    assert_memory_equal(text, expected, sizeof text);
}

static void what_is_written_reads_back(void **unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        uuid_t id = uuid_v7(1795420800000000 + i);
        char text[UUID_TEXT_CHARS];
        uuid_format(&id, text);
        uuid_t again;
        assert_true(uuid_parse(slice_of(text, sizeof text), &again));
        assert_true(uuid_eq(&id, &again));
    }
}

static void either_case_is_read_and_lower_case_written(void **unused)
{
    (void)unused;
    uuid_t upper = parsed("0198F3A1-7C2E-7B4D-8A55-0123456789AB");
    assert_text(&upper, "0198f3a1-7c2e-7b4d-8a55-0123456789ab");
}

static void what_is_no_id_is_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "0198f3a1-7c2e-7b4d-8a55-0123456789a",
        "0198f3a1-7c2e-7b4d-8a55-0123456789abc",
        "0198f3a17c2e7b4d8a550123456789ab",
        "{198f3a1-7c2e-7b4d-8a55-0123456789a}",
        "0198f3a17-c2e-7b4d-8a55-0123456789ab",
        "0198f3a1-7c2e-7b4d-8a55+0123456789ab",
        "0198g3a1-7c2e-7b4d-8a55-0123456789ab",
        "0198f3a1-7c2e-7b4d-8a55-0123456789 b",
        "0198f3a1-7c2e-7b4d-8a55-0123456789\xc3\xa4",
        "00000000-0000-0000-0000-000000000000",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uuid_t id = parsed(SPACE);
        assert_false(uuid_parse(slice_str(wrong[i]), &id));
        assert_true(uuid_is_nil(&id));
    }
}

/* A digit is one of 22 characters: every other byte at a digit's place is refused. */
static void only_hexadecimal_digits_are_digits(void **unused)
{
    (void)unused;
    char text[UUID_TEXT_CHARS];
    memcpy(text, SPACE, sizeof text);
    int n_read = 0;
    for (int byte = 0; byte < 256; byte++) {
        text[35] = (char)byte;
        uuid_t id;
        n_read += uuid_parse(slice_of(text, sizeof text), &id);
    }
    assert_int_equal(n_read, 22);
}

/* Where one form counts only what is written is read: at every place. */
static void only_what_is_written_is_read_as_such(void **unused)
{
    (void)unused;
    uuid_t id = parsed("0198f3a1-7c2e-7b4d-8a55-0123456789ab");
    char text[UUID_TEXT_CHARS];
    uuid_format(&id, text);
    for (size_t place = 0; place < sizeof text; place++) {
        char written = text[place];
        int n_read = 0;
        for (int byte = 0; byte < 256; byte++) {
            uuid_t read;
            uuid_t same;
            text[place] = (char)byte;
            if (!uuid_read(slice_of(text, sizeof text), &read))
                continue;
            n_read++;
            assert_true(uuid_parse(slice_of(text, sizeof text), &same) && uuid_eq(&read, &same));
        }
        assert_int_equal(n_read, written == '-' ? 1 : 16);
        text[place] = written;
    }
    uuid_t unchanged = id;
    assert_false(uuid_read(slice_str("00000000-0000-0000-0000-000000000000"), &unchanged));
    assert_false(uuid_read(slice_of(text, sizeof text - 1), &unchanged));
    assert_false(uuid_read(slice_none(), &unchanged));
    assert_true(uuid_eq(&id, &unchanged));
}

static void version_7_begins_with_the_time_and_differs(void **unused)
{
    (void)unused;
    uuid_t a = uuid_v7(1795420800123456);
    uuid_t b = uuid_v7(1795420800123456);
    static const uint8_t ms[6] = {0x01, 0xa2, 0x07, 0x6b, 0x44, 0x7b};
    assert_memory_equal(a.bytes, ms, sizeof ms);
    assert_memory_equal(b.bytes, ms, sizeof ms);
    assert_int_equal(a.bytes[6] >> 4, 7);
    assert_int_equal(a.bytes[8] >> 6, 2);
    assert_false(uuid_eq(&a, &b));
}

static void ids_of_later_milliseconds_sort_later(void **unused)
{
    (void)unused;
    uuid_t last = uuid_v7(1795420800000000);
    for (int64_t ms = 1; ms < 1000; ms++) {
        uuid_t next = uuid_v7(1795420800000000 + ms * 1000);
        assert_true(memcmp(last.bytes, next.bytes, UUID_BYTES) < 0);
        last = next;
    }
}

/* The expected ids come from Python: blake2b(space + name, digest_size=16), then version and
 * variant. */
static void a_derived_id_follows_from_space_and_name(void **unused)
{
    (void)unused;
    uuid_t space = parsed(SPACE);
    uuid_t named = uuid_derive(&space, slice_str("taskwire"));
    uuid_t nameless = uuid_derive(&space, slice_none());
    assert_text(&named, "89ff795c-3b0b-83e9-85e3-9cbcfce6bd3b");
    assert_text(&nameless, "9d52fd53-6d67-8452-94e7-ee65fe7eb3e6");
    uuid_t elsewhere = uuid_derive(&named, slice_str("taskwire"));
    assert_false(uuid_eq(&named, &elsewhere));
}

/* Rows are stored by these numbers: this test may gain lines, but none of them may change. The
 * expected values come from a Python program that follows the description. */
static void the_hash_never_changes(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        uint64_t hash;
        unsigned shard;
    } known[] = {
        {"00000000-0000-0000-0000-000000000001", UINT64_C(0x41d318d4aeb02b83), 3},
        {"0198f3a1-7c2e-7b4d-8a55-0123456789ab", UINT64_C(0xb68296710e7bad41), 1},
        {"ffffffff-ffff-ffff-ffff-ffffffffffff", UINT64_C(0x47fe8dd84f95892a), 42},
        {"6ba7b810-9dad-11d1-80b4-00c04fd430c8", UINT64_C(0x88bdc482e0824137), 55},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uuid_t id = parsed(known[i].text);
        assert_true(uuid_hash(&id) == known[i].hash);
        assert_int_equal(shard_of(&id), known[i].shard);
        assert_true(shard_bit(&id) == UINT64_C(1) << known[i].shard);
    }
}

/* 64,000 ids made in the same second: each shard gets about 1,000; six standard deviations are 190.
 */
static void shards_are_filled_evenly(void **unused)
{
    (void)unused;
    int n_in[N_SHARDS] = {0};
    for (int i = 0; i < 64000; i++) {
        uuid_t id = uuid_v7(1795420800000000 + i);
        n_in[shard_of(&id)]++;
    }
    for (int shard = 0; shard < N_SHARDS; shard++)
        assert_in_range(n_in[shard], 810, 1190);
}

static void every_bit_of_the_id_reaches_the_hash(void **unused)
{
    (void)unused;
    uuid_t id = parsed("0198f3a1-7c2e-7b4d-8a55-0123456789ab");
    uint64_t hash = uuid_hash(&id);
    for (unsigned bit = 0; bit < 8 * UUID_BYTES; bit++) {
        uuid_t other = id;
        other.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int n_changed = __builtin_popcountll(hash ^ uuid_hash(&other));
        assert_in_range(n_changed, 12, 52);
    }
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(either_case_is_read_and_lower_case_written),
        cmocka_unit_test(what_is_no_id_is_refused),
        cmocka_unit_test(only_hexadecimal_digits_are_digits),
        cmocka_unit_test(only_what_is_written_is_read_as_such),
        cmocka_unit_test(version_7_begins_with_the_time_and_differs),
        cmocka_unit_test(ids_of_later_milliseconds_sort_later),
        cmocka_unit_test(a_derived_id_follows_from_space_and_name),
        cmocka_unit_test(the_hash_never_changes),
        cmocka_unit_test(shards_are_filled_evenly),
        cmocka_unit_test(every_bit_of_the_id_reaches_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
