/* SPDX-License-Identifier: Apache-2.0 */
/* Files of anchors: written, grown, torn at every length, changed by somebody, on a full disk, by
 * two at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "actors/anchor.h"
#include "schema/buf.h"
#include "schema/instant.h"

#define DAY_US US_PER_DAY
#define FIRST_US (INT64_C(20600) * DAY_US)

static char dir[64];
static char error[400];
static const char epoch[] = "0123456789abcdef";

/* --- files --- */

static const char *path_of(const char *name)
{
    static char paths[4][120];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static buf_t file_bytes(const char *name)
{
    buf_t bytes = {0};
    FILE *file = fopen(path_of(name), "r");
    if (file == NULL)
        return bytes;
    size_t n;
    while ((n = fread(buf_reserve(&bytes, 4096), 1, 4096, file)) > 0)
        bytes.n_bytes += n;
    fclose(file);
    return bytes;
}

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    fclose(file);
}

static void assert_file(const char *name, slice_t wanted)
{
    buf_t bytes = file_bytes(name);
    assert_true(slice_eq(buf_slice(&bytes), wanted));
    buf_fini(&bytes);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/taskwire-anchor-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    DIR *all = opendir(dir);
    struct dirent *entry;
    while ((entry = readdir(all)) != NULL) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(all), entry->d_name, 0);
    }
    closedir(all);
    return rmdir(dir);
}

/* The name of the one file that ends so; empty: there is none. */
static const char *file_like(const char *end)
{
    static char name[256];
    DIR *all = opendir(dir);
    struct dirent *entry;
    name[0] = '\0';
    while ((entry = readdir(all)) != NULL) {
        size_t n = strlen(entry->d_name);
        if (n > strlen(end) && strcmp(entry->d_name + n - strlen(end), end) == 0) {
            assert_string_equal(name, "");
            strcpy(name, entry->d_name);
        }
    }
    closedir(all);
    return name;
}

/* --- anchors --- */

static anchor_head_t head_of(int stream, int64_t rev)
{
    anchor_head_t head = {.rev = rev};
    memset(head.stream.bytes, stream, UUID_BYTES);
    memset(head.link.bytes, (int)rev + stream, LINK_BYTES);
    return head;
}

static anchor_t *open_here(void)
{
    anchor_t *anchor = anchor_open(dir, error, sizeof error);
    if (anchor == NULL)
        fail_msg("%s", error);
    return anchor;
}

static bool append(anchor_t *anchor, int stream, int64_t rev, int n_heads, bool is_part)
{
    anchor_head_t heads[8];
    for (int i = 0; i < n_heads; i++)
        heads[i] = head_of(stream + n_heads - 1 - i, rev);
    const anchor_block_t block = {.heads = heads,
                                  .n_heads = (size_t)n_heads,
                                  .epoch = epoch,
                                  .at_us = FIRST_US + rev * DAY_US,
                                  .is_part = is_part};
    return anchor_append(anchor, &block, error, sizeof error);
}

/* Three blocks: of streams 1 and 2 at rev 1, of stream 1 at rev 2, of streams 1 to 3 at rev 7. */
static void write_three(void)
{
    anchor_t *anchor = open_here();
    assert_true(append(anchor, 1, 1, 2, false));
    assert_true(append(anchor, 1, 2, 1, false));
    assert_true(append(anchor, 1, 7, 3, false));
    anchor_close(&anchor);
}

static anchors_t *read_here(void)
{
    return anchors_read(path_of("anchors"), NULL, error, sizeof error);
}

/* Where the first line and each block end; returns how many there are. */
static size_t find_ends(slice_t text, size_t ends[8])
{
    size_t n = 0;
    for (size_t i = 0; i < text.n_bytes;) {
        const uint8_t *end = memchr(text.data + i, '\n', text.n_bytes - i);
        size_t next = (size_t)(end - text.data) + 1;
        if (n == 0 || memcmp(text.data + i, "signature ", 10) == 0)
            ends[n++] = next;
        i = next;
    }
    return n;
}

static void assert_reads(size_t n_blocks, bool is_torn)
{
    anchors_t *anchors = read_here();
    if (anchors == NULL)
        fail_msg("%s", error);
    assert_int_equal(anchors->n_blocks, n_blocks);
    assert_int_equal(anchors->is_torn, is_torn);
    anchors_destroy(&anchors);
}

/* The file is refused with these words, and an appender goes on beside it: it is kept as it is
 * under another name. */
static void assert_refused(const char *words)
{
    buf_t before = file_bytes("anchors");
    anchors_t *anchors = read_here();
    assert_null(anchors);
    if (strstr(error, words) == NULL)
        fail_msg("%s: without %s", error, words);
    anchor_finding_t finding;
    anchor_t *anchor = open_here();
    assert_true(anchor_take_finding(anchor, &finding));
    assert_true(finding.is_damaged);
    const char *kept = file_like("-damaged");
    if (strstr(finding.words, words) == NULL || strstr(finding.words, kept) == NULL)
        fail_msg("%s: without %s", finding.words, words);
    assert_false(anchor_take_finding(anchor, &finding));
    assert_file(kept, buf_slice(&before));
    assert_true(anchor_last_us(anchor) == INSTANT_NONE);
    assert_true(append(anchor, 1, 9, 1, false));
    anchor_close(&anchor);
    assert_reads(1, false);
    unlink(path_of(kept));
    buf_fini(&before);
}

/* --- what is written --- */

static void what_was_anchored_can_be_read(void **state)
{
    (void)state;
    write_three();
    anchors_t *anchors = read_here();
    assert_non_null(anchors);
    assert_int_equal(anchors->n_blocks, 3);
    assert_int_equal(anchors->n_heads, 6);
    assert_false(anchors->is_torn);
    size_t n = 0;
    anchor_head_t one = head_of(1, 0);
    const anchor_head_t *heads = anchors_of(anchors, &one.stream, &n);
    assert_int_equal(n, 3);
    static const int64_t revs[] = {1, 2, 7};
    for (size_t i = 0; i < n; i++) {
        anchor_head_t wanted = head_of(1, revs[i]);
        assert_memory_equal(&heads[i], &wanted, sizeof wanted);
    }
    anchor_head_t three = head_of(3, 0);
    assert_non_null(anchors_of(anchors, &three.stream, &n));
    assert_int_equal(n, 1);
    anchor_head_t four = head_of(4, 0);
    assert_null(anchors_of(anchors, &four.stream, &n));
    assert_int_equal(n, 0);
    anchors_destroy(&anchors);
}

static void the_anchors_of_one_stream_can_be_read_alone(void **state)
{
    (void)state;
    write_three();
    anchor_head_t two = head_of(2, 0);
    const anchors_want_t want = {.only = &two.stream};
    anchors_t *anchors = anchors_read(path_of("anchors"), &want, error, sizeof error);
    assert_non_null(anchors);
    assert_int_equal(anchors->n_blocks, 3);
    assert_int_equal(anchors->n_heads, 2);
    assert_true(anchors->heads[0].rev == 1 && anchors->heads[1].rev == 7);
    anchors_destroy(&anchors);
}

static bool count_down(void *arg)
{
    int *left = arg;
    return --*left >= 0;
}

static void a_reading_can_be_given_up(void **state)
{
    (void)state;
    write_three();
    int left = 3;
    const anchors_want_t want = {.go_on = count_down, .arg = &left};
    anchors_t *anchors = anchors_read(path_of("anchors"), &want, error, sizeof error);
    assert_non_null(anchors);
    anchors_destroy(&anchors);
    left = 2;
    assert_null(anchors_read(path_of("anchors"), &want, error, sizeof error));
    assert_non_null(strstr(error, "given up"));
}

static void the_text_is_that_of_the_format(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    assert_true(append(anchor, 1, 1, 1, false));
    anchor_close(&anchor);
    buf_t text = file_bytes("anchors");
    buf_append_byte(&text, '\0');
    char key[65], time[40], epoch_read[20], stream[40], hash[70], signature[140];
    int n_heads = 0, rev = 0, n_read = 0;
    int n =
        sscanf((char *)text.data,
               "taskwire-anchors 1 %64s\nblock %39s %19s %d -\n%39s %d %69s\nsignature %139s\n%n",
               key, time, epoch_read, &n_heads, stream, &rev, hash, signature, &n_read);
    assert_int_equal(n, 8);
    assert_int_equal(n_read, text.n_bytes - 1);
    assert_string_equal(time, "2026-05-28T00:00:00Z");
    assert_string_equal(epoch_read, epoch);
    assert_string_equal(stream, "01010101-0101-0101-0101-010101010101");
    assert_true(n_heads == 1 && rev == 1);
    /* The signature is that of Ed25519 over the two lines, by the key of the first one. */
    uint8_t public_key[32], bytes[64];
    sodium_hex2bin(public_key, 32, key, 64, NULL, NULL, NULL);
    sodium_hex2bin(bytes, 64, signature, 128, NULL, NULL, NULL);
    char *from = strstr((char *)text.data, "block ");
    char *to = strstr((char *)text.data, "signature ");
    assert_int_equal(
        crypto_sign_verify_detached(bytes, (uint8_t *)from, (size_t)(to - from), public_key), 0);
    buf_fini(&text);
}

static void the_secret_key_is_for_its_owner_only(void **state)
{
    (void)state;
    mode_t before = umask(0);
    write_three();
    umask(before);
    struct stat info;
    assert_int_equal(stat(path_of("anchor.key"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    uint8_t key[ANCHOR_KEY_BYTES];
    anchors_t *anchors = read_here();
    assert_true(anchor_read_public_key(dir, key));
    assert_memory_equal(key, anchors->public_key, sizeof key);
    anchors_destroy(&anchors);
}

static void a_later_start_goes_on_with_the_same_key(void **state)
{
    (void)state;
    write_three();
    buf_t key = file_bytes("anchor.key");
    anchor_t *anchor = open_here();
    assert_true(anchor_last_us(anchor) == FIRST_US + 7 * DAY_US);
    assert_true(append(anchor, 5, 9, 1, false));
    assert_true(anchor_last_us(anchor) == FIRST_US + 9 * DAY_US);
    anchor_close(&anchor);
    assert_file("anchor.key", buf_slice(&key));
    assert_reads(4, false);
    buf_fini(&key);
}

static void a_part_is_not_the_last_block(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    assert_true(anchor_last_us(anchor) == INSTANT_NONE);
    assert_true(append(anchor, 1, 1, 1, true));
    assert_true(anchor_last_us(anchor) == INSTANT_NONE);
    assert_true(append(anchor, 1, 2, 1, false));
    assert_true(append(anchor, 1, 3, 1, true));
    anchor_close(&anchor);
    anchor = open_here();
    assert_true(anchor_last_us(anchor) == FIRST_US + 2 * DAY_US);
    anchor_close(&anchor);
    assert_reads(3, false);
}

static void two_may_append_to_one_file(void **state)
{
    (void)state;
    anchor_t *one = open_here();
    anchor_t *other = open_here();
    for (int rev = 1; rev <= 6; rev++)
        assert_true(append(rev % 3 == 0 ? one : other, 1, rev, 1, false));
    anchor_close(&one);
    anchor_close(&other);
    assert_reads(6, false);
}

static void a_file_that_was_moved_away_is_begun_anew(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    assert_true(append(anchor, 1, 1, 1, false));
    assert_int_equal(rename(path_of("anchors"), path_of("moved")), 0);
    assert_true(append(anchor, 1, 2, 1, false));
    assert_true(append(anchor, 1, 3, 1, false));
    assert_reads(2, false);
    anchor_close(&anchor);
    anchors_t *moved = anchors_read(path_of("moved"), NULL, error, sizeof error);
    assert_int_equal(moved->n_blocks, 1);
    anchors_destroy(&moved);
}

static void an_epoch_that_would_break_the_format_is_refused(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    anchor_head_t head = head_of(1, 1);
    anchor_block_t block = {
        .heads = &head, .n_heads = 1, .epoch = "0123456 89abcdef", .at_us = FIRST_US};
    assert_false(anchor_append(anchor, &block, error, sizeof error));
    block.epoch = "0123456\n89abcdef";
    assert_false(anchor_append(anchor, &block, error, sizeof error));
    anchor_close(&anchor);
    assert_int_equal(access(path_of("anchors"), F_OK), -1);
}

static void a_file_that_is_begun_with_what_moved_holds_a_part(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    anchor_head_t head = head_of(1, 1);
    const anchor_block_t block = {
        .heads = &head, .n_heads = 1, .epoch = epoch, .at_us = FIRST_US, .is_of_moved = true};
    assert_true(anchor_append(anchor, &block, error, sizeof error));
    assert_true(anchor_last_us(anchor) == INSTANT_NONE);
    assert_true(anchor_append(anchor, &block, error, sizeof error));
    assert_true(anchor_last_us(anchor) == FIRST_US);
    anchor_close(&anchor);
    assert_reads(2, false);
}

static void another_epoch_begins_a_new_file(void **state)
{
    (void)state;
    anchor_finding_t finding;
    write_three();
    buf_t before = file_bytes("anchors");
    anchor_t *anchor = open_here();
    anchor_t *slow = open_here();
    assert_true(anchor_enter(anchor, epoch, error, sizeof error));
    assert_true(anchor_last_us(anchor) != INSTANT_NONE);
    assert_true(anchor_enter(anchor, "fedcba9876543210", error, sizeof error));
    assert_true(anchor_last_us(anchor) == INSTANT_NONE);
    assert_true(anchor_take_finding(anchor, &finding));
    assert_false(finding.is_damaged);
    assert_file(file_like("-epoch"), buf_slice(&before));
    assert_true(append(slow, 1, 9, 1, false)); /* in a file of its own */
    assert_reads(1, false);
    anchor_close(&slow);
    anchor_close(&anchor);
    buf_fini(&before);
}

/* --- files that grow --- */

#define MANY ANCHOR_MAX_HEADS

static void append_many(anchor_t *anchor, int64_t rev)
{
    anchor_head_t *heads = calloc(MANY, sizeof *heads);
    for (uint32_t i = 0; i < MANY; i++) {
        heads[i] = head_of(2, rev);
        memcpy(heads[i].stream.bytes, &i, sizeof i);
    }
    const anchor_block_t block = {
        .heads = heads, .n_heads = MANY, .epoch = epoch, .at_us = FIRST_US + rev};
    assert_true(anchor_append(anchor, &block, error, sizeof error));
    free(heads);
}

static int64_t size_of(const char *name)
{
    struct stat info;
    return stat(path_of(name), &info) == 0 ? info.st_size : -1;
}

static void fail_of_bad(void *arg, const char *path, const char *why)
{
    (void)arg;
    fail_msg("%s: %s", path, why);
}

/* Every stream's newest head, and that of one which never moved again, from all files there are. */
static void assert_nothing_is_lost(int64_t rev)
{
    anchors_t *anchors = anchors_read_dir(dir, NULL, fail_of_bad, NULL);
    anchor_head_t quiet = head_of(1, 1);
    size_t n = 0;
    assert_non_null(anchors_of(anchors, &quiet.stream, &n));
    for (uint32_t i = 0; i < MANY; i += 997) {
        anchor_head_t wanted = head_of(2, rev);
        memcpy(wanted.stream.bytes, &i, sizeof i);
        const anchor_head_t *heads = anchors_of(anchors, &wanted.stream, &n);
        assert_non_null(heads);
        assert_memory_equal(&heads[n - 1], &wanted, sizeof wanted);
    }
    anchors_destroy(&anchors);
}

static void a_file_that_has_grown_goes_on_in_short(void **state)
{
    (void)state;
    anchor_t *anchor = open_here();
    anchor_t *other = open_here();
    int64_t most = 0;
    assert_true(append(anchor, 1, 1, 1, false)); /* never moves again */
    for (int64_t rev = 2; rev < 12; rev++) {
        append_many(rev % 2 == 0 ? anchor : other, rev);
        if (size_of("anchors") > most)
            most = size_of("anchors");
        assert_true(size_of("anchors.new") < 0);
    }
    assert_true(most < 40 * 1024 * 1024);
    assert_true(size_of("anchors.1") > 0);
    assert_nothing_is_lost(11);
    assert_int_equal(unlink(path_of("anchors.1")), 0);
    assert_nothing_is_lost(11); /* the new one vouches for all that the old one did */
    anchor_close(&other);
    anchor_close(&anchor);
    anchor = open_here();
    assert_true(anchor_last_us(anchor) == FIRST_US + 11);
    anchor_close(&anchor);
}

/* --- what was torn --- */

static void a_file_torn_anywhere_is_read_and_gone_on_with(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    size_t ends[8];
    assert_int_equal(find_ends(buf_slice(&whole), ends), 4);
    for (size_t n_bytes = 0; n_bytes <= whole.n_bytes; n_bytes++) {
        size_t n_ends = 0;
        while (n_ends < 4 && ends[n_ends] <= n_bytes)
            n_ends++;
        bool is_whole = n_bytes == 0 || (n_ends > 0 && ends[n_ends - 1] == n_bytes);
        write_file("anchors", whole.data, n_bytes);
        assert_reads(n_ends == 0 ? 0 : n_ends - 1, !is_whole);
        if (n_bytes % 23 != 0 && !is_whole)
            continue; /* a disk takes its time for each */
        anchor_t *anchor = open_here();
        assert_true(append(anchor, 9, 9, 1, false));
        anchor_close(&anchor);
        assert_reads(n_ends == 0 ? 1 : n_ends, false);
    }
    buf_fini(&whole);
}

/* After a power cut a file may be longer than what was written into it. */
static void zeroes_that_a_crash_left_are_cut(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    size_t ends[8];
    find_ends(buf_slice(&whole), ends);
    for (size_t from = ends[2]; from < whole.n_bytes; from += 17) {
        buf_t copy = {0};
        buf_append_slice(&copy, buf_slice(&whole));
        memset(copy.data + from, 0, from + 40 < copy.n_bytes ? 40 : copy.n_bytes - from);
        write_file("anchors", copy.data, copy.n_bytes);
        assert_reads(2, true);
        anchor_t *anchor = open_here();
        assert_true(append(anchor, 9, 9, 1, false));
        anchor_close(&anchor);
        assert_reads(3, false);
        buf_fini(&copy);
    }
    for (int i = 0; i < 5000; i++)
        buf_append_byte(&whole, 0);
    write_file("anchors", whole.data, whole.n_bytes);
    assert_reads(3, true);
    buf_fini(&whole);
}

static void zeroes_in_the_middle_are_no_crash(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    size_t ends[8];
    find_ends(buf_slice(&whole), ends);
    memset(whole.data + ends[0] + 40, 0, 8);
    write_file("anchors", whole.data, whole.n_bytes);
    assert_refused("block 1");
    buf_fini(&whole);
}

/* --- what somebody changed --- */

static void any_changed_byte_is_found(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    for (size_t i = 0; i < whole.n_bytes; i++) {
        for (int bit = (int)(i % 3); bit < 8; bit += 3) {
            whole.data[i] = (uint8_t)(whole.data[i] ^ 1 << bit);
            write_file("anchors", whole.data, whole.n_bytes);
            anchors_t *anchors = read_here();
            assert_true(anchors == NULL || (anchors->n_blocks < 3 && anchors->is_torn));
            anchors_destroy(&anchors);
            whole.data[i] = (uint8_t)(whole.data[i] ^ 1 << bit);
        }
    }
    buf_fini(&whole);
}

/* Puts the file together from these blocks of the whole; 0 is the first line. */
static void compose(slice_t whole, const size_t *parts, size_t n_parts)
{
    size_t ends[8];
    buf_t text = {0};
    find_ends(whole, ends);
    for (size_t i = 0; i < n_parts; i++) {
        size_t from = parts[i] == 0 ? 0 : ends[parts[i] - 1];
        buf_append(&text, whole.data + from, ends[parts[i]] - from);
    }
    write_file("anchors", text.data, text.n_bytes);
    buf_fini(&text);
}

static void blocks_that_were_taken_out_moved_or_repeated_are_found(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    compose(buf_slice(&whole), (size_t[]){0, 2, 3}, 3);
    assert_refused("block 1 does not follow");
    compose(buf_slice(&whole), (size_t[]){0, 1, 3}, 3);
    assert_refused("block 2 does not follow");
    compose(buf_slice(&whole), (size_t[]){0, 2, 1, 3}, 4);
    assert_refused("block 1 does not follow");
    compose(buf_slice(&whole), (size_t[]){0, 1, 3, 2}, 4);
    assert_refused("block 2 does not follow");
    compose(buf_slice(&whole), (size_t[]){0, 1, 2, 2}, 4);
    assert_refused("block 3 does not follow");
    compose(buf_slice(&whole), (size_t[]){1, 2}, 2);
    assert_refused("line 1: it is not that of a file of anchors");
    buf_fini(&whole);
}

static void a_changed_head_is_found_by_the_signature(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    size_t ends[8];
    find_ends(buf_slice(&whole), ends);
    uint8_t *line = memchr(whole.data + ends[1], '\n', whole.n_bytes);
    line[UUID_TEXT_CHARS + 2] = '5'; /* the revision */
    write_file("anchors", whole.data, whole.n_bytes);
    assert_refused("block 2 is not signed");
    buf_fini(&whole);
}

/* Who has no key can write a file of their own, but not pass it off as this one. */
static void blocks_by_another_key_are_found(void **state)
{
    (void)state;
    write_three();
    buf_t ours = file_bytes("anchors");
    assert_int_equal(unlink(path_of("anchors")) | unlink(path_of("anchor.key")) |
                         unlink(path_of("anchor.pub")),
                     0);
    write_three();
    buf_t theirs = file_bytes("anchors");
    size_t ends[8];
    find_ends(buf_slice(&ours), ends);
    memcpy(theirs.data, ours.data, ends[0]);
    write_file("anchors", theirs.data, theirs.n_bytes);
    assert_refused("block 1 is not signed");
    write_file("anchors", ours.data, ours.n_bytes);
    assert_reads(3, false);
    assert_null(anchor_open(dir, error, sizeof error));
    assert_non_null(strstr(error, "another key"));
    buf_fini(&ours);
    buf_fini(&theirs);
}

static void damaged_or_missing_keys_are_not_replaced(void **state)
{
    (void)state;
    write_three();
    buf_t public_key = file_bytes("anchor.pub");
    buf_t key = file_bytes("anchor.key");
    assert_int_equal(unlink(path_of("anchor.key")), 0);
    assert_null(anchor_open(dir, error, sizeof error));
    assert_non_null(strstr(error, "missing"));
    assert_int_equal(access(path_of("anchor.key"), F_OK), -1);
    write_file("anchor.key", key.data, key.n_bytes - 1);
    assert_null(anchor_open(dir, error, sizeof error));
    write_file("anchor.key", public_key.data, public_key.n_bytes);
    assert_null(anchor_open(dir, error, sizeof error));
    write_file("anchor.key", key.data, key.n_bytes);
    write_file("anchor.pub", key.data, key.n_bytes);
    assert_null(anchor_open(dir, error, sizeof error));
    assert_int_equal(unlink(path_of("anchor.pub")), 0);
    anchor_t *anchor = open_here();
    anchor_close(&anchor);
    assert_file("anchor.pub", buf_slice(&public_key));
    buf_fini(&key);
    buf_fini(&public_key);
}

static void no_bytes_break_the_reader(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    write_three();
    buf_t whole = file_bytes("anchors");
    for (int turn = 0; turn < 500; turn++) {
        buf_t copy = {0};
        for (int piece = 0; piece < 4; piece++) {
            size_t from = (size_t)rand_r(&seed) % whole.n_bytes;
            buf_append(&copy, whole.data + from, (size_t)rand_r(&seed) % (whole.n_bytes - from));
            buf_append_byte(&copy, (uint8_t)rand_r(&seed));
        }
        write_file("anchors", copy.data, copy.n_bytes);
        anchors_t *anchors = read_here();
        anchors_destroy(&anchors);
        buf_fini(&copy);
    }
    buf_fini(&whole);
}

/* --- what goes wrong outside --- */

static void a_full_disk_leaves_the_file_as_it_was(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    anchor_t *anchor = open_here();
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room < 300; room += 37) {
        struct rlimit limit = {whole.n_bytes + room, before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
        assert_false(append(anchor, 1, 9, 2, false));
        assert_non_null(strstr(error, "anchors: "));
        setrlimit(RLIMIT_FSIZE, &before);
        assert_file("anchors", buf_slice(&whole));
    }
    assert_true(append(anchor, 1, 9, 2, false));
    anchor_close(&anchor);
    assert_reads(4, false);
    buf_fini(&whole);
}

static void a_lock_that_is_held_for_long_is_not_waited_for(void **state)
{
    (void)state;
    write_three();
    buf_t whole = file_bytes("anchors");
    anchor_t *anchor = open_here();
    int fd = open(path_of("anchors"), O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_false(append(anchor, 1, 9, 1, false));
    assert_file("anchors", buf_slice(&whole));
    close(fd);
    assert_true(append(anchor, 1, 9, 1, false));
    anchor_close(&anchor);
    buf_fini(&whole);
}

static void a_directory_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    assert_null(anchor_open("/nonexistent/here", error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/here"));
    assert_null(anchors_read(path_of("anchors"), NULL, error, sizeof error));
    assert_non_null(strstr(error, "No such file"));
    assert_null(anchors_read(dir, NULL, error, sizeof error));
    anchor_t *anchor = open_here();
    assert_int_equal(mkdir(path_of("anchors"), 0700), 0);
    assert_false(append(anchor, 1, 1, 1, false));
    assert_int_equal(rmdir(path_of("anchors")), 0);
    assert_true(append(anchor, 1, 1, 1, false));
    anchor_close(&anchor);
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    anchor_t *anchor = NULL;
    anchors_t *anchors = NULL;
    anchor_close(&anchor);
    anchors_destroy(&anchors);
}

#define HERE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HERE(what_was_anchored_can_be_read),
        HERE(the_anchors_of_one_stream_can_be_read_alone),
        HERE(a_reading_can_be_given_up),
        HERE(the_text_is_that_of_the_format),
        HERE(the_secret_key_is_for_its_owner_only),
        HERE(a_later_start_goes_on_with_the_same_key),
        HERE(a_part_is_not_the_last_block),
        HERE(two_may_append_to_one_file),
        HERE(a_file_that_was_moved_away_is_begun_anew),
        HERE(an_epoch_that_would_break_the_format_is_refused),
        HERE(a_file_that_is_begun_with_what_moved_holds_a_part),
        HERE(another_epoch_begins_a_new_file),
        HERE(a_file_that_has_grown_goes_on_in_short),
        HERE(a_file_torn_anywhere_is_read_and_gone_on_with),
        HERE(zeroes_that_a_crash_left_are_cut),
        HERE(zeroes_in_the_middle_are_no_crash),
        HERE(any_changed_byte_is_found),
        HERE(blocks_that_were_taken_out_moved_or_repeated_are_found),
        HERE(a_changed_head_is_found_by_the_signature),
        HERE(blocks_by_another_key_are_found),
        HERE(damaged_or_missing_keys_are_not_replaced),
        HERE(no_bytes_break_the_reader),
        HERE(a_full_disk_leaves_the_file_as_it_was),
        HERE(a_lock_that_is_held_for_long_is_not_waited_for),
        HERE(a_directory_that_cannot_be_used_is_named),
        cmocka_unit_test(closing_nothing_is_fine),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
