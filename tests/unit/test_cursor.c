/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-over between log and ring. The random test plays a log that grows, a ring that is fed
 * late and loses its old end, and a client that reads when it likes; whatever the order, it must
 * see each rev once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "gateway/cursor.h"

static const ring_limits_t limits = {8, 1024 * 1024};
static const uuid_t stream = {{9}};

static void put(ring_t *ring, int64_t rev)
{
    frame_t *frame = frame_new(&stream, rev, 0, slice_str("{}"));
    ring_put(ring, frame);
    frame_release(&frame);
}

static void put_range(ring_t *ring, int64_t first, int64_t last)
{
    for (int64_t rev = first; rev <= last; rev++)
        put(ring, rev);
}

static void who_is_at_the_head_waits_and_is_live(void **state)
{
    ring_t ring;
    cursor_t cursor;
    (void)state;
    ring_init(&ring, &limits);
    cursor_init(&cursor, 5, 5);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_WAIT);
    assert_true(cursor.is_live);
    put(&ring, 6);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_RING);
    ring_fini(&ring);
}

static void who_is_behind_the_head_reads_the_log_when_the_ring_is_unknown(void **state)
{
    ring_t ring;
    cursor_t cursor;
    (void)state;
    ring_init(&ring, &limits);
    cursor_init(&cursor, 3, 5);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_LOG);
    assert_false(cursor.is_live);
    ring_fini(&ring);
}

static void what_the_ring_holds_is_not_read_from_the_log(void **state)
{
    ring_t ring;
    cursor_t cursor;
    (void)state;
    ring_init(&ring, &limits);
    put_range(&ring, 3, 5);
    cursor_init(&cursor, 2, 5);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_RING);
    cursor_init(&cursor, 1, 5);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_LOG);
    ring_fini(&ring);
}

static void who_was_live_and_fell_off_is_lost(void **state)
{
    ring_t ring;
    cursor_t cursor;
    (void)state;
    ring_init(&ring, &limits);
    cursor_init(&cursor, 0, 0);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_WAIT);
    put_range(&ring, 1, 8);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_RING);
    put(&ring, 9);
    assert_int_equal(cursor_look(&cursor, &ring), CURSOR_LOST);
    ring_fini(&ring);
}

static void a_gap_of_the_ring_sends_those_behind_it_to_the_log(void **state)
{
    ring_t ring;
    cursor_t behind;
    cursor_t level;
    (void)state;
    ring_init(&ring, &limits);
    cursor_init(&behind, 5, 5);
    cursor_init(&level, 7, 7);
    cursor_look(&behind, &ring);
    cursor_look(&level, &ring);
    put(&ring, 8);
    cursor_relapse(&behind, &ring);
    cursor_relapse(&level, &ring);
    assert_int_equal(cursor_look(&behind, &ring), CURSOR_LOG);
    assert_int_equal(cursor_look(&level, &ring), CURSOR_RING);
    ring_fini(&ring);
}

/* --- the random test --- */

typedef struct {
    int64_t head; /* of the log */
    int64_t heard; /* what the ring has been given */
    int64_t page; /* the end of a page that was read and not yet consumed; 0: none */
    bool is_watched; /* the ring is being fed */
    bool is_open; /* a subscription is */
    int64_t seen; /* by the client */
    cursor_t cursor;
    ring_t ring;
    int n_lost;
    int n_pages;
} play_t;

static int roll(int n)
{
    return rand() % n;
}

/* The ring gets what happened, and sometimes misses some. */
static void feed(play_t *self)
{
    if (!self->is_watched || self->heard == self->head)
        return;
    int64_t before = ring_first(&self->ring);
    if (roll(20) == 0 && self->head - self->heard > 1)
        self->heard += 1 + roll((int)(self->head - self->heard) - 1);
    int64_t next = self->ring.next;
    put(&self->ring, ++self->heard);
    if (next != self->heard && self->is_open)
        cursor_relapse(&self->cursor, &self->ring);
    assert_true(ring_first(&self->ring) >= before);
}

/* First followed, then the head is looked up. */
static void subscribe(play_t *self)
{
    if (!self->is_watched) {
        self->is_watched = true;
        self->heard = self->head - roll((int)(self->head < 5 ? self->head : 5) + 1);
        ring_drop(&self->ring, roll(2) == 0 ? 0 : self->heard + 1);
    }
    cursor_init(&self->cursor, self->seen, self->head);
    self->is_open = true;
    self->page = 0;
}

static void deliver(play_t *self, int64_t rev)
{
    assert_int_equal(rev, self->seen + 1);
    assert_true(rev <= self->head);
    self->seen = rev;
    self->cursor.next++;
}

static void take(play_t *self)
{
    if (self->page != 0) {
        deliver(self, self->cursor.next);
        if (self->seen == self->page)
            self->page = 0;
        return;
    }
    switch (cursor_look(&self->cursor, &self->ring)) {
    case CURSOR_WAIT:
        assert_true(self->cursor.next > self->cursor.goal);
        break;
    case CURSOR_RING:
        deliver(self, frame_rev(ring_at(&self->ring, self->cursor.next)));
        break;
    case CURSOR_LOG:
        assert_true(self->head >= self->cursor.next); /* the log always has what it is sent for */
        self->page = self->cursor.next + roll((int)(self->head - self->cursor.next) + 1);
        if (self->page > self->cursor.next + 6)
            self->page = self->cursor.next + 6;
        self->n_pages++;
        break;
    case CURSOR_LOST:
        self->is_open = false;
        self->n_lost++;
        break;
    }
}

static void catch_up(play_t *self)
{
    while (self->heard < self->head)
        feed(self);
    for (int i = 0; i < 10000 && self->seen < self->head; i++) {
        if (!self->is_open)
            subscribe(self);
        take(self);
    }
    assert_int_equal(self->seen, self->head);
}

static void play(play_t *self)
{
    ring_init(&self->ring, &limits);
    int n_steps = 200 + roll(2000);
    int laziness = 1 + roll(12);
    for (int i = 0; i < n_steps; i++) {
        int what = roll(8 + laziness);
        if (what < 3)
            self->head++;
        else if (what < 6)
            feed(self);
        else if (!self->is_open)
            subscribe(self);
        else if (what == 6)
            take(self);
        else if (what == 7 && roll(30) == 0)
            self->is_open = false; /* goes and comes back */
    }
    if (!self->is_open)
        subscribe(self);
    catch_up(self);
    ring_fini(&self->ring);
}

static void each_rev_comes_once_and_in_order_whatever_happens(void **state)
{
    unsigned seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
    int n_lost = 0;
    int n_pages = 0;
    (void)state;
    printf("seed %u\n", seed);
    srand(seed);
    for (int i = 0; i < 500; i++) {
        play_t self = {0};
        play(&self);
        n_lost += self.n_lost;
        n_pages += self.n_pages;
    }
    assert_true(n_lost > 0); /* the test has seen what it is about */
    assert_true(n_pages > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_at_the_head_waits_and_is_live),
        cmocka_unit_test(who_is_behind_the_head_reads_the_log_when_the_ring_is_unknown),
        cmocka_unit_test(what_the_ring_holds_is_not_read_from_the_log),
        cmocka_unit_test(who_was_live_and_fell_off_is_lost),
        cmocka_unit_test(a_gap_of_the_ring_sends_those_behind_it_to_the_log),
        cmocka_unit_test(each_rev_comes_once_and_in_order_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
