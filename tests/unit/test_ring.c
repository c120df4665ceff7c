/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of a stream, the table of streams by id, and the two together as sync keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "actors/recent.h"

static const ring_limits_t limits = {16, 4096};

static uuid_t id_of(unsigned n)
{
    uuid_t id = {{1}};
    id.bytes[14] = (uint8_t)(n >> 8);
    id.bytes[15] = (uint8_t)n;
    return id;
}

static frame_t *new_frame(unsigned stream, int64_t rev, size_t n_payload)
{
    static const char text[4096];
    uuid_t id = id_of(stream);
    return frame_new(&id, rev, 0, slice_of(text, n_payload));
}

static ring_put_t put(ring_t *ring, int64_t rev, size_t n_payload)
{
    frame_t *frame = new_frame(1, rev, n_payload);
    ring_put_t verdict = ring_put(ring, frame);
    frame_release(&frame);
    return verdict;
}

/* --- one ring --- */

static void an_empty_ring_knows_nothing(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    assert_int_equal(ring.next, 0);
    assert_null(ring_at(&ring, 1));
    assert_null(ring_at(&ring, 0));
    assert_null(ring_at(&ring, -1));
    ring_fini(&ring);
}

static void the_first_frame_says_where_the_ring_begins(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    assert_int_equal(put(&ring, 40, 10), RING_RESTARTED);
    assert_int_equal(ring_first(&ring), 40);
    assert_int_equal(ring.next, 41);
    assert_int_equal(frame_rev(ring_at(&ring, 40)), 40);
    assert_null(ring_at(&ring, 39));
    assert_null(ring_at(&ring, 41));
    ring_fini(&ring);
}

static void a_duplicate_is_dropped_and_a_gap_begins_anew(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    put(&ring, 1, 10);
    assert_int_equal(put(&ring, 2, 10), RING_ADDED);
    assert_int_equal(put(&ring, 2, 10), RING_DUPLICATE);
    assert_int_equal(put(&ring, 1, 10), RING_DUPLICATE);
    assert_int_equal(ring.n, 2);
    assert_int_equal(put(&ring, 4, 10), RING_RESTARTED);
    assert_int_equal(ring_first(&ring), 4);
    assert_int_equal(ring.n, 1);
    ring_fini(&ring);
}

static void the_oldest_drop_out_by_count(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    for (int64_t rev = 1; rev <= 40; rev++)
        put(&ring, rev, 1);
    assert_int_equal(ring.n, 16);
    assert_int_equal(ring_first(&ring), 25);
    assert_int_equal(ring.capacity, 16);
    for (int64_t rev = 25; rev <= 40; rev++)
        assert_int_equal(frame_rev(ring_at(&ring, rev)), rev);
    ring_fini(&ring);
}

static void the_oldest_drop_out_by_bytes_but_the_newest_stays(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    for (int64_t rev = 1; rev <= 4; rev++)
        put(&ring, rev, 1000);
    assert_int_equal(ring_first(&ring), 2);
    assert_true(ring.n_bytes <= limits.max_bytes);
    put(&ring, 5, 4096);
    assert_int_equal(ring_first(&ring), 5);
    assert_true(ring.n_bytes > limits.max_bytes);
    put(&ring, 6, 1);
    assert_int_equal(ring_first(&ring), 6);
    ring_fini(&ring);
    assert_int_equal(ring.n_bytes, 0);
}

static void a_dropped_ring_may_know_what_comes_next(void **state)
{
    ring_t ring;
    (void)state;
    ring_init(&ring, &limits);
    put(&ring, 1, 10);
    ring_drop(&ring, 2);
    assert_int_equal(ring_first(&ring), 2);
    assert_int_equal(put(&ring, 2, 10), RING_ADDED);
    ring_drop(&ring, 0);
    assert_int_equal(put(&ring, 2, 10), RING_RESTARTED);
    ring_fini(&ring);
}

/* --- the table --- */

#define N_IDS 1000

static void the_table_finds_what_it_holds(void **state)
{
    idmap_t map;
    idnode_t nodes[N_IDS];
    size_t n_walked = 0;
    (void)state;
    idmap_init(&map);
    for (unsigned i = 0; i < N_IDS; i++) {
        uuid_t id = id_of(i);
        assert_null(idmap_find(&map, &id));
        idmap_put(&map, &nodes[i], &id);
    }
    for (const idnode_t *node = idmap_walk(&map, NULL); node != NULL; node = idmap_walk(&map, node))
        n_walked++;
    assert_int_equal(n_walked, N_IDS);
    for (unsigned i = 0; i < N_IDS; i += 2)
        idmap_remove(&map, &nodes[i]);
    for (unsigned i = 0; i < N_IDS; i++) {
        uuid_t id = id_of(i);
        assert_ptr_equal(idmap_find(&map, &id), i % 2 == 0 ? NULL : &nodes[i]);
    }
    assert_int_equal(map.n, N_IDS / 2);
    idmap_fini(&map);
}

static void several_may_have_the_same_id(void **state)
{
    idmap_t map;
    idnode_t nodes[3];
    uuid_t same = id_of(7);
    uuid_t other = id_of(8);
    int n = 0;
    (void)state;
    idmap_init(&map);
    idmap_put(&map, &nodes[0], &same);
    idmap_put(&map, &nodes[1], &other);
    idmap_put(&map, &nodes[2], &same);
    for (const idnode_t *node = idmap_find(&map, &same); node != NULL; node = idmap_find_next(node))
        n++;
    assert_int_equal(n, 2);
    idmap_remove(&map, &nodes[2]);
    assert_ptr_equal(idmap_find(&map, &same), &nodes[0]);
    idmap_remove(&map, &nodes[0]);
    assert_null(idmap_find(&map, &same));
    idmap_fini(&map);
}

/* --- streams --- */

static void put_recent(recent_t *recent, unsigned stream, int64_t rev, size_t n_payload)
{
    uuid_t id = id_of(stream);
    frame_t *frame = new_frame(stream, rev, n_payload);
    recent_put(recent, recent_get(recent, &id), frame);
    frame_release(&frame);
}

static recent_stream_t *find(const recent_t *recent, unsigned stream)
{
    uuid_t id = id_of(stream);
    return recent_find(recent, &id);
}

static void the_stream_that_rested_longest_loses_its_frames_first(void **state)
{
    recent_t recent;
    (void)state;
    recent_init(&recent, &limits, 8000);
    put_recent(&recent, 1, 1, 2000);
    put_recent(&recent, 2, 1, 2000);
    put_recent(&recent, 1, 2, 1);
    put_recent(&recent, 3, 1, 2000);
    put_recent(&recent, 4, 1, 2000);
    assert_null(find(&recent, 2));
    assert_non_null(find(&recent, 1));
    assert_true(recent.n_bytes <= 8000);
    recent_fini(&recent);
    assert_int_equal(recent.n_bytes, 0);
}

static void a_watched_stream_keeps_its_place_when_it_loses_its_frames(void **state)
{
    recent_t recent;
    (void)state;
    recent_init(&recent, &limits, 5000);
    uuid_t id = id_of(1);
    recent_watch(&recent, recent_get(&recent, &id), 3);
    put_recent(&recent, 1, 9, 2000);
    recent_sent(find(&recent, 1));
    put_recent(&recent, 2, 1, 2000);
    put_recent(&recent, 3, 1, 2000);
    recent_stream_t *stream = find(&recent, 1);
    assert_non_null(stream);
    assert_int_equal(stream->ring.n, 0);
    assert_int_equal(stream->ring.next, 10);
    recent_unwatch(&recent, stream, 3);
    assert_null(find(&recent, 1));
    recent_fini(&recent);
}

static void what_goes_out_survives_the_ring(void **state)
{
    recent_t recent;
    (void)state;
    recent_init(&recent, &limits, 8000);
    uuid_t id = id_of(1);
    recent_watch(&recent, recent_get(&recent, &id), 0);
    for (int64_t rev = 1; rev <= 40; rev++)
        put_recent(&recent, 1, rev, 1);
    recent_stream_t *stream = recent_outgoing(&recent);
    assert_int_equal(stream->n_outgoing, 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(frame_rev(stream->outgoing[i]), i + 1);
    recent_sent(stream);
    assert_null(recent_outgoing(&recent));
    recent_fini(&recent);
}

static void nothing_goes_out_for_a_stream_that_nobody_watches(void **state)
{
    recent_t recent;
    (void)state;
    recent_init(&recent, &limits, 8000);
    put_recent(&recent, 1, 1, 1);
    assert_null(recent_outgoing(&recent));
    recent_fini(&recent);
}

static void another_history_keeps_only_who_watches(void **state)
{
    recent_t recent;
    (void)state;
    recent_init(&recent, &limits, 8000);
    uuid_t id = id_of(1);
    recent_watch(&recent, recent_get(&recent, &id), 2);
    put_recent(&recent, 1, 5, 1);
    put_recent(&recent, 2, 5, 1);
    recent_forget(&recent);
    assert_null(find(&recent, 2));
    assert_int_equal(find(&recent, 1)->ring.next, 0);
    assert_int_equal(find(&recent, 1)->watchers, 1u << 2);
    assert_null(recent_outgoing(&recent));
    recent_fini(&recent);
}

static void streams_come_and_go_without_losing_count(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    recent_t recent;
    (void)state;
    printf("seed %u\n", seed);
    srand(seed);
    recent_init(&recent, &limits, 20000);
    int64_t revs[32] = {0};
    for (int i = 0; i < 20000; i++) {
        unsigned n = (unsigned)rand() % 32;
        uuid_t id = id_of(n);
        recent_stream_t *stream = find(&recent, n);
        unsigned what = (unsigned)rand() % 10;
        if (what == 0)
            recent_watch(&recent, recent_get(&recent, &id), n % 3);
        else if (what == 1 && stream != NULL)
            recent_unwatch(&recent, stream, n % 3);
        else if (what == 2 && recent_outgoing(&recent) != NULL)
            recent_sent(recent_outgoing(&recent));
        else if (what == 3 && i % 100 == 0)
            recent_forget(&recent);
        else
            put_recent(&recent, n, ++revs[n], (unsigned)rand() % 3000);
        /* Only watching may exceed it, until the next frame comes. */
        assert_true(recent.n_bytes <= 20000 + 32 * sizeof(recent_stream_t));
    }
    recent_fini(&recent);
    assert_int_equal(recent.n_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_ring_knows_nothing),
        cmocka_unit_test(the_first_frame_says_where_the_ring_begins),
        cmocka_unit_test(a_duplicate_is_dropped_and_a_gap_begins_anew),
        cmocka_unit_test(the_oldest_drop_out_by_count),
        cmocka_unit_test(the_oldest_drop_out_by_bytes_but_the_newest_stays),
        cmocka_unit_test(a_dropped_ring_may_know_what_comes_next),
        cmocka_unit_test(the_table_finds_what_it_holds),
        cmocka_unit_test(several_may_have_the_same_id),
        cmocka_unit_test(the_stream_that_rested_longest_loses_its_frames_first),
        cmocka_unit_test(a_watched_stream_keeps_its_place_when_it_loses_its_frames),
        cmocka_unit_test(what_goes_out_survives_the_ring),
        cmocka_unit_test(nothing_goes_out_for_a_stream_that_nobody_watches),
        cmocka_unit_test(another_history_keeps_only_who_watches),
        cmocka_unit_test(streams_come_and_go_without_losing_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
