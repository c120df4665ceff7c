/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines, caught where they leave: on stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/log.h"
#include "schema/arena.h"
#include "schema/instant.h"
#include "schema/json.h"

/* What was written to stderr since catch_stderr. */
typedef struct {
    FILE *file;
    int before;
    char text[65536];
} catch_t;

static void catch_stderr(catch_t *self)
{
    self->file = tmpfile();
    assert_non_null(self->file);
    self->before = dup(STDERR_FILENO);
    dup2(fileno(self->file), STDERR_FILENO);
}

static const char *caught(catch_t *self)
{
    dup2(self->before, STDERR_FILENO);
    close(self->before);
    rewind(self->file);
    size_t n = fread(self->text, 1, sizeof self->text - 1, self->file);
    self->text[n] = '\0';
    fclose(self->file);
    return self->text;
}

/* The line behind its time, which must be one. */
static const char *behind_time(const char *line)
{
    const char *space = strchr(line, ' ');
    int64_t at_us = 0;
    assert_non_null(space);
    assert_true(instant_parse(slice_of(line, (size_t)(space - line)), &at_us));
    return space + 1;
}

static void a_line_is_time_level_who_words_and_fields(void **state)
{
    (void)state;
    catch_t catch;
    log_configure(LOG_DEBUG, false);
    catch_stderr(&catch);
    log_line(LOG_INFO, "writer", "connected", "session=%d error=\"%s\"", 3, "it is away");
    assert_string_equal(behind_time(caught(&catch)),
                        "info  writer: connected session=3 error=\"it is away\"\n");
    catch_stderr(&catch);
    log_line(LOG_DEBUG, "main", "no fields", NULL);
    assert_string_equal(behind_time(caught(&catch)), "debug main: no fields\n");
}

static void what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    catch_t catch;
    log_configure(LOG_WARN, false);
    catch_stderr(&catch);
    log_line(LOG_INFO, "x", "quiet", NULL);
    log_line(LOG_WARN, "x", "loud", NULL);
    log_line(LOG_ERROR, "x", "louder", NULL);
    const char *text = caught(&catch);
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, "loud\n"));
    assert_non_null(strstr(text, "louder\n"));
}

/* Checks a line against the JSON that follows its time. */
static void assert_json(const char *line, const char *wanted)
{
    problem_t problem = {0};
    arena_t *arena = arena_new();
    buf_t mp = {0};
    assert_int_equal(json_to_mp(slice_of(line, strlen(line) - 1), &mp, arena, &problem), ERR_OK);
    assert_memory_equal(line, "{\"time\":\"", 9);
    const char *rest = strchr(line, ',');
    assert_non_null(rest);
    assert_string_equal(rest, wanted);
    buf_fini(&mp);
    arena_destroy(&arena);
}

static void json_has_the_fields_with_numbers_as_numbers(void **state)
{
    (void)state;
    catch_t catch;
    log_configure(LOG_INFO, true);
    catch_stderr(&catch);
    log_line(LOG_WARN, "relay", "slow",
             "shard=%d lag=-5 id=007 big=1234567890123456 at=x why=\"%s\" n=1", 63,
             "relation \"task\" is gone");
    assert_json(
        caught(&catch),
        ",\"level\":\"warn\",\"actor\":\"relay\",\"message\":\"slow\",\"shard\":63,\"lag\":-5,"
        "\"id\":\"007\",\"big\":\"1234567890123456\",\"at\":\"x\","
        "\"why\":\"relation \\\"task\\\" is gone\",\"n\":1}\n");
}

static void json_survives_fields_that_are_none(void **state)
{
    (void)state;
    static const char *const odd[][2] = {
        {"", "}\n"},
        {"   ", "}\n"},
        {"word", ",\"word\":\"\"}\n"},
        {"a= b=1", ",\"a\":\"\",\"b\":1}\n"},
        {"a=\"open", ",\"a\":\"open\"}\n"},
        {"a=\"\"", ",\"a\":\"\"}\n"},
        {"a=\"", ",\"a\":\"\"}\n"},
        {"a=-", ",\"a\":\"-\"}\n"},
    };
    log_configure(LOG_INFO, true);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        catch_t catch;
        char wanted[128];
        catch_stderr(&catch);
        log_line(LOG_INFO, "x", "y", "%s", odd[i][0]);
        snprintf(wanted, sizeof wanted, ",\"level\":\"info\",\"actor\":\"x\",\"message\":\"y\"%s",
                 odd[i][1]);
        assert_json(caught(&catch), wanted);
    }
}

static void outside_text_can_forge_no_second_line(void **state)
{
    (void)state;
    for (int as_json = 0; as_json < 2; as_json++) {
        catch_t catch;
        log_configure(LOG_INFO, as_json);
        catch_stderr(&catch);
        log_line(LOG_INFO, "x", "y", "why=\"%s\"", "a\nb\r\x1b[31m\x7f \xff\xc3");
        const char *text = caught(&catch);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
        assert_null(strchr(text, '\x1b'));
        assert_true(utf8_is_valid(slice_str(text)));
    }
}

static void a_long_line_is_cut_but_is_still_one(void **state)
{
    (void)state;
    char *words = malloc(10001);
    memset(words, 'w', 10000);
    words[10000] = '\0';
    for (int as_json = 0; as_json < 2; as_json++) {
        catch_t catch;
        log_configure(LOG_INFO, as_json);
        catch_stderr(&catch);
        log_line(LOG_INFO, "x", "y", "why=\"%s\"", words);
        const char *text = caught(&catch);
        assert_true(strlen(text) < 4096);
        assert_int_equal(text[strlen(text) - 1], '\n');
    }
    free(words);
}

static void a_repeating_warning_speaks_once_until_its_cause_is_gone(void **state)
{
    (void)state;
    log_once_t once = {0};
    assert_false(log_clear(&once));
    assert_true(log_once(&once));
    assert_false(log_once(&once));
    assert_int_equal(once.n_times, 2);
    assert_true(log_clear(&once));
    assert_false(log_clear(&once));
    assert_true(log_once(&once));
}

#define N_LINES 200

static void *write_lines(void *arg)
{
    for (int i = 0; i < N_LINES; i++)
        log_line(LOG_INFO, arg, "counting", "i=%d", i);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    catch_t catch;
    pthread_t threads[2];
    log_configure(LOG_INFO, false);
    catch_stderr(&catch);
    pthread_create(&threads[0], NULL, write_lines, "one");
    pthread_create(&threads[1], NULL, write_lines, "two");
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    char *rest = (char *)(uintptr_t)caught(&catch);
    int n_lines = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        const char *text = behind_time(line);
        assert_true(strncmp(text, "info  one: counting i=", 22) == 0 ||
                    strncmp(text, "info  two: counting i=", 22) == 0);
        n_lines++;
    }
    assert_int_equal(n_lines, 2 * N_LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_time_level_who_words_and_fields),
        cmocka_unit_test(what_is_below_the_level_is_not_written),
        cmocka_unit_test(json_has_the_fields_with_numbers_as_numbers),
        cmocka_unit_test(json_survives_fields_that_are_none),
        cmocka_unit_test(outside_text_can_forge_no_second_line),
        cmocka_unit_test(a_long_line_is_cut_but_is_still_one),
        cmocka_unit_test(a_repeating_warning_speaks_once_until_its_cause_is_gone),
        cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
