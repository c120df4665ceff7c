/* SPDX-License-Identifier: Apache-2.0 */
/* Words choose the command, options may stand anywhere. Each option says which command takes it, so
 * that one given to the wrong command is refused and not ignored. */
#include "actors/cli.h"

#include <stdio.h>

#include "actors/config.h"

#define ANY (-1)
#define MAX_WORDS 3

typedef struct {
    const char *first;
    const char *second; /* NULL: one word only */
    cli_command_t command;
    size_t word; /* where in cli_t a last word goes; 0: it takes none */
    const char *arguments;
    const char *help;
} form_t;

static const form_t forms[] = {
    {"serve", NULL, CLI_SERVE, 0, "", "run everything; what no word means too"},
    {"migrate", NULL, CLI_MIGRATE, 0, "", "bring the database to this version and end"},
    {"verify", NULL, CLI_VERIFY, 0, " [--anchors FILE [--restored EPOCH]]",
     "check the audit chain, also against an earlier copy of the anchors, made perhaps before a\n"
     "      restore, in that epoch"},
    {"config", NULL, CLI_CONFIG, 0, "", "print the effective settings, secrets masked"},
    {"user", "add", CLI_USER_ADD, offsetof(cli_t, email), " EMAIL [--time-zone ZONE]",
     "create an account; its password is asked for, read from stdin or made up"},
    {"purge", NULL, CLI_PURGE, 0, " --stream ID | --task ID | --account ID",
     "drop what events say, and what is deleted with it; the audit chain still verifies"},
    {"dead-letter", "list", CLI_DEAD_LETTER_LIST, 0, " [--limit N]",
     "print what could not be handled, the newest first"},
    {"dead-letter", "show", CLI_DEAD_LETTER_SHOW, offsetof(cli_t, letter), " ID",
     "print one of them, with all that is known of it"},
    {"version", NULL, CLI_VERSION, 0, "", "print the version"},
    {"help", NULL, CLI_HELP, 0, "", "print this"},
};

#define N_FORMS (sizeof forms / sizeof *forms)

typedef struct {
    const char *name;
    int command; /* or ANY */
    size_t field; /* of its value in cli_t */
} option_t;

static const option_t options[] = {
    {"--config", ANY, offsetof(cli_t, config_file)},
    {"--anchors", CLI_VERIFY, offsetof(cli_t, anchors)},
    {"--restored", CLI_VERIFY, offsetof(cli_t, restored)},
    {"--time-zone", CLI_USER_ADD, offsetof(cli_t, time_zone)},
    {"--stream", CLI_PURGE, offsetof(cli_t, stream)},
    {"--task", CLI_PURGE, offsetof(cli_t, task)},
    {"--account", CLI_PURGE, offsetof(cli_t, account)},
    {"--limit", CLI_DEAD_LETTER_LIST, offsetof(cli_t, limit)},
};

#define N_OPTIONS (sizeof options / sizeof *options)

typedef struct {
    char **next; /* the argument to read next */
    const char *words[MAX_WORDS];
    size_t n_words;
    const char *values[N_OPTIONS];
    char *error;
    size_t error_size;
} parser_t;

/* Says what is wrong with an argument; always false. */
static bool refuse(parser_t *self, const char *argument, const char *why)
{
    snprintf(self->error, self->error_size, "%s: %s (see taskwire --help)", argument, why);
    return false;
}

/* The option that this argument names, with a value behind `=` or not, or N_OPTIONS. */
static size_t find_option(const char *argument)
{
    size_t i = 0;
    for (; i < N_OPTIONS; i++) {
        size_t n = strlen(options[i].name);
        if (strncmp(argument, options[i].name, n) == 0 &&
            (argument[n] == '\0' || argument[n] == '='))
            break;
    }
    return i;
}

static bool take_option(parser_t *self, const char *argument)
{
    size_t i = find_option(argument);
    if (i == N_OPTIONS)
        return refuse(self, argument, "no such option");
    if (self->values[i] != NULL)
        return refuse(self, options[i].name, "given twice");
    const char *equals = strchr(argument, '=');
    const char *value = equals != NULL ? equals + 1 : *self->next;
    if (value == NULL || *value == '\0')
        return refuse(self, options[i].name, "its value is missing");
    if (equals == NULL)
        self->next++;
    self->values[i] = value;
    return true;
}

static bool take_word(parser_t *self, const char *argument)
{
    if (self->n_words == MAX_WORDS)
        return refuse(self, argument, "one argument too many");
    self->words[self->n_words++] = argument;
    return true;
}

/* The form that the words have, or NULL. */
static const form_t *find_form(const parser_t *self)
{
    for (size_t i = 0; i < N_FORMS; i++) {
        const form_t *form = &forms[i];
        size_t n_wanted = 1u + (form->second != NULL ? 1u : 0u) + (form->word != 0 ? 1u : 0u);
        if (self->n_words == n_wanted && strcmp(self->words[0], form->first) == 0 &&
            (form->second == NULL || strcmp(self->words[1], form->second) == 0))
            return form;
    }
    return NULL;
}

/* Puts the options' values where they belong. */
static bool place_options(parser_t *self, cli_t *out)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (self->values[i] == NULL)
            continue;
        if (options[i].command != ANY && options[i].command != (int)out->command)
            return refuse(self, options[i].name, "not an option of this command");
        *(const char **)(void *)((char *)out + options[i].field) = self->values[i];
    }
    return true;
}

static bool place_words(parser_t *self, cli_t *out)
{
    const form_t *form = self->n_words == 0 ? &forms[0] : find_form(self);
    if (form == NULL)
        return refuse(self, self->words[0], "not a command with these arguments");
    out->command = form->command;
    if (form->word != 0)
        *(const char **)(void *)((char *)out + form->word) = self->words[self->n_words - 1];
    return true;
}

/* One thing at a time: what is taken out does not come back. */
static bool check_purge(parser_t *self, const cli_t *cli)
{
    int n = (cli->stream != NULL) + (cli->task != NULL) + (cli->account != NULL);
    if (cli->command != CLI_PURGE || n == 1)
        return true;
    return refuse(self, "purge", "needs one of --stream, --task and --account");
}

/* --help and --version are answered whatever else is asked for. */
static bool is_question(const char *argument, cli_command_t *out)
{
    bool is_help = strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
    *out = is_help ? CLI_HELP : CLI_VERSION;
    return is_help || strcmp(argument, "--version") == 0;
}

bool cli_parse(int argc, char **argv, cli_t *out, char *error, size_t error_size)
{
    *out = (cli_t){.time_zone = "UTC"};
    for (int i = 1; i < argc; i++) {
        if (is_question(argv[i], &out->command))
            return true;
    }
    parser_t parser = {.next = argv + (argc > 0), .error = error, .error_size = error_size};
    while (*parser.next != NULL) {
        const char *argument = *parser.next++;
        bool is_good =
            argument[0] == '-' ? take_option(&parser, argument) : take_word(&parser, argument);
        if (!is_good)
            return false;
    }
    return place_words(&parser, out) && place_options(&parser, out) && check_purge(&parser, out);
}

void cli_help(buf_t *out)
{
    buf_append_str(out, "taskwire " TASKWIRE_VERSION ": the back end of a task app in one process"
                        "\n\nusage: taskwire [COMMAND] [--config FILE]\n\n");
    for (size_t i = 0; i < N_FORMS; i++) {
        const form_t *form = &forms[i];
        buf_format(out, "  %s%s%s%s\n      %s\n", form->first, form->second != NULL ? " " : "",
                   form->second != NULL ? form->second : "", form->arguments, form->help);
    }
    buf_append_str(out, "\nSettings come from the environment, or in lower case and without "
                        "TASKWIRE_ from `key = value` lines of\nthe file of --config; "
                        "TASKWIRE_X_FILE names a file that holds the value of X.\n\n");
    config_help(out);
    buf_append_str(out, "\nExit codes: 0 stopped by a signal, 64 bad command line, 69 the database "
                        "stayed away, 70 a bug,\n78 bad setting, also one that names a database, "
                        "login or address that cannot be used.\n");
}
