/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is understood, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/cli.h"

#define MAX_ARGS 8

/* Parses the words of a line. */
static bool parse(const char *line, cli_t *out, char error[256])
{
    static char copy[256];
    char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t) "taskwire"};
    int argc = 1;
    assert_true(strlen(line) < sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    for (char *rest = copy, *word; argc <= MAX_ARGS && (word = strsep(&rest, " ")) != NULL;) {
        if (*word != '\0')
            argv[argc++] = word;
    }
    error[0] = '\0';
    return cli_parse(argc, argv, out, error, 256);
}

static cli_t parse_good(const char *line)
{
    cli_t cli;
    char error[256];
    if (!parse(line, &cli, error))
        fail_msg("%s", error);
    return cli;
}

static void each_command_is_understood(void **state)
{
    (void)state;
    assert_int_equal(parse_good("").command, CLI_SERVE);
    assert_int_equal(parse_good("serve").command, CLI_SERVE);
    assert_int_equal(parse_good("migrate").command, CLI_MIGRATE);
    assert_int_equal(parse_good("verify").command, CLI_VERIFY);
    assert_int_equal(parse_good("config").command, CLI_CONFIG);
    assert_int_equal(parse_good("version").command, CLI_VERSION);
    assert_int_equal(parse_good("--version").command, CLI_VERSION);
    assert_int_equal(parse_good("help").command, CLI_HELP);
    assert_int_equal(parse_good("-h").command, CLI_HELP);
    assert_int_equal(parse_good("user add --nonsense --help").command, CLI_HELP);
    assert_int_equal(parse_good("dead-letter list").command, CLI_DEAD_LETTER_LIST);
    assert_string_equal(parse_good("dead-letter list --limit 3").limit, "3");
    assert_string_equal(parse_good("dead-letter show 17").letter, "17");
    cli_t cli = parse_good("user add a@b.example");
    assert_int_equal(cli.command, CLI_USER_ADD);
    assert_string_equal(cli.email, "a@b.example");
    assert_string_equal(cli.time_zone, "UTC");
}

static void options_may_stand_anywhere(void **state)
{
    (void)state;
    cli_t cli = parse_good("--config /etc/t.conf");
    assert_int_equal(cli.command, CLI_SERVE);
    assert_string_equal(cli.config_file, "/etc/t.conf");
    cli = parse_good("verify --anchors=/tmp/a --config=/tmp/c=d");
    assert_string_equal(cli.anchors, "/tmp/a");
    assert_string_equal(cli.config_file, "/tmp/c=d");
    cli = parse_good("verify --restored 0123456789abcdef --anchors a");
    assert_string_equal(cli.restored, "0123456789abcdef");
    cli = parse_good("user --time-zone Europe/Zurich add x@y");
    assert_string_equal(cli.time_zone, "Europe/Zurich");
    assert_string_equal(cli.email, "x@y");
    assert_null(cli.config_file);
    assert_null(cli.anchors);
}

static void everything_else_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "dead-letter",
        "dead-letter show",
        "dead-letter show 1 2",
        "dead-letter show 1 --limit 2",
        "serv",
        "serve now",
        "user",
        "user add",
        "user remove x@y",
        "user add x@y z",
        "user add x@y z a",
        "--config",
        "--config=",
        "--config /a --config /b",
        "--configuration /a",
        "-x",
        "-",
        "serve --anchors /a",
        "config --time-zone UTC",
        "--anchors /a",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cli_t cli;
        char error[256];
        if (parse(bad[i], &cli, error))
            fail_msg("understood: %s", bad[i]);
        assert_non_null(strstr(error, "taskwire --help"));
    }
}

static void help_names_every_command_and_setting(void **state)
{
    (void)state;
    static const char *const wanted[] = {"serve",    "migrate", "verify",          "config",
                                         "user add", "version", "TASKWIRE_LISTEN", "78"};
    buf_t out = {0};
    cli_help(&out);
    buf_append_byte(&out, '\0');
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_non_null(strstr((const char *)out.data, wanted[i]));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_is_understood),
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(everything_else_is_refused_with_a_sentence),
        cmocka_unit_test(help_names_every_command_and_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
